"""The kernels of one training step, before and after planning.

    python benchmarks/step.py [cpu | cuda | cuda-host]

PCD on 2-D data: an MLP of two layers, ten steps of Langevin a training step, Adam, an average
of the parameters. The step is run node by node and planned, which must give the same bits; the
kernels of the latter are listed, with how often each is started.
"""

import os
import sys
from collections import Counter

import numpy as np

import ebmlib as ebm

WIDTH = 96  # of a line


def train(steps: int, device: str) -> tuple[Counter[str], dict[str, bytes]]:
    """(kernels by what they do, parameters) of a fit."""
    x = np.random.default_rng(0).normal(size=(640, 2)).astype(np.float32)
    with ebm.profile() as profile:
        est = ebm.estimators.PCD(
            ebm.networks.MLP((64, 64)),
            ebm.samplers.Langevin(n_steps=10),
            batch_size=64,
            ema=0.999,
            max_steps=steps,
            random_state=0,
            device=device,
        ).fit(x)
    kernels = Counter[str]()
    for row in profile.rows():
        kernels[row.name] += row.calls
    parameters = est.energy_.parameters()
    return kernels, {name: np.asarray(a).tobytes() for name, a in parameters.items()}


def step(device: str, plan: str) -> tuple[Counter[str], dict[str, bytes]]:
    """(kernels of the third step, parameters after it) with EBMLIB_PLAN=plan."""
    os.environ["EBMLIB_PLAN"] = plan
    longer, parameters = train(3, device)
    return longer - train(2, device)[0], parameters


def main(device: str) -> None:
    before, plain = step(device, "none")
    after, planned = step(device, "")
    assert planned == plain, "planned and node by node differ"
    print(f"a training step on {device}: {before.total()} kernels node by node, ", end="")
    print(f"{after.total()} planned")
    for name, calls in after.most_common():
        line = f"{calls:4d}  {name}"
        print(line if len(line) <= WIDTH else line[: WIDTH - 3] + "...")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
