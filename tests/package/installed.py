"""What an installed package must do, away from its sources: run with any Python that has it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

import ebmlib as ebm
from ebmlib import estimators, networks, samplers


def main() -> None:
    folder = Path(ebm.__file__).parent
    assert not (folder.parent / "csrc").exists(), f"{folder} is the tree of the sources"
    assert (folder / "py.typed").exists()
    assert (folder / "_core.pyi").exists()

    x0 = np.zeros((2000, 2))
    walk = samplers.Langevin(step_size=0.1, n_steps=100)
    x = walk.sample(lambda x: 0.5 * np.sum(x**2, axis=1), x0, random_state=0)
    # The variance is 1 / (1 - 0.1 / 2), its standard error 0.023: five of them.
    assert abs(x.var() - 1 / 0.95) < 0.12
    assert ebm.grad(lambda x: np.sum(x**3))(np.array([2.0])) == 12.0

    est = estimators.PCD(networks.MLP((16,)), max_steps=3, random_state=0).fit(x)
    assert np.array_equal(pickle.loads(pickle.dumps(est)).energy(x), est.energy(x))
    print(f"ebmlib {ebm.__version__} in {folder} works")


if __name__ == "__main__":
    main()
