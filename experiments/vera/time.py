"""Time of a step: VERA against PCD with 20 steps of Langevin dynamics, by the generator's size.

    python experiments/vera/time.py            some minutes
    python experiments/vera/time.py --quick    some seconds

The energy stays, two hidden layers of 256 on rows of 196 features (14 x 14 pixels); the
generator, latent 64, grows from two hidden layers of 16 to two of 512. Its *share* is that of
its forward pass among the FLOPs of both forward passes on a row. Systems take turns, 10 steps
of training each, and what is reported is the ratio to PCD's time in the same turn: its median,
and the quartiles of all turns. FLOPs of a step are counted kernel by kernel (``ebm.profile``).

The paper (Grathwohl et al. 2021) says of its toy networks, 2 x 100 each, that 20 steps make the
time of PCD that of VERA (appendix B.2), and that VERA trains 2.8 times faster than JEM's PCD,
a WideResNet with 20 steps, on CIFAR10 (section 5.4). The networks here are smaller than those:
two processors, and no images. Rows are random: what is learned does not change the time.
"""

import functools
import itertools
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import common

import ebmlib as ebm
from ebmlib import entropy, estimators, networks, samplers

FEATURES, HIDDEN, LATENT, BATCH = 196, (256, 256), 64, 128
WIDTHS = (16, 64, 128, 256, 512)
STEPS, TURNS = 10, 11
KINDS = {
    "none": None,
    "importance, k = 20": entropy.Importance(draws=20),
    "Gauss-Newton": entropy.GaussNewton(),
    "HMC, 2 burn-in": entropy.HMC(draws=2, burn_in=2),
    "HMC, 20 burn-in": entropy.HMC(draws=2, burn_in=20),
}


# ---- the systems -----------------------------------------------------------------------------


def pcd(hidden):
    walk = samplers.Langevin.tied(0.1, n_steps=20)
    network = networks.MLP(hidden, "leaky_relu")
    return estimators.PCD.paper("toy", network=network, sampler=walk, batch_size=BATCH)


def vera(hidden, latent, widths, how):
    return estimators.VERA(
        networks.MLP(hidden, "leaky_relu"),
        networks.MLPGenerator(latent, widths, "relu", norm="batch", sigma=0.1),
        entropy=how,
        batch_size=BATCH,
    )


def passes(sizes):
    """FLOPs of a dense network on a row."""
    return 2 * sum(a * b for a, b in itertools.pairwise(sizes))


def share(features, hidden, latent, widths):
    """Of the generator among the forward passes of both."""
    own = passes((latent, *widths, features))
    return own / (own + passes((features, *hidden, 1)))


# ---- times -----------------------------------------------------------------------------------


def flops(est, x, steps):
    """Of a step, from the shapes of all kernels."""
    with ebm.profile() as profile:
        est.partial_fit(x, n_steps=steps)
    return sum(row.flops for row in profile.rows("op")) / steps


def measure(systems, x, steps, turns):
    """{name: {"ms", "low", "high" (of the ratio to PCD), "ratio", "flops"}}."""
    spans = {name: [] for name in systems}
    for est in systems.values():
        est.set_params(random_state=0).partial_fit(x, n_steps=2)  # planned
    for _ in range(turns):
        for name, est in systems.items():
            start = time.perf_counter()
            est.partial_fit(x, n_steps=steps)
            spans[name].append((time.perf_counter() - start) / steps)
    base, found = np.array(spans["pcd"]), {}
    cost = {name: flops(est, x, 2) for name, est in systems.items()}
    for name, own in spans.items():
        low, ratio, high = np.quantile(np.array(own) / base, (0.25, 0.5, 0.75))
        found[name] = {
            "ms": 1e3 * float(np.median(own)),
            "ratio": float(ratio),
            "low": float(low),
            "high": float(high),
            "flops": cost[name] / cost["pcd"],
        }
    return found


def settings(widths):
    """{label: (features, hidden, latent, the generator's widths)}"""
    grown = [(FEATURES, HIDDEN, LATENT, (w, w)) for w in widths]
    return {
        f"{features} features, generator {own[0]} x {len(own)}": (features, hidden, latent, own)
        for features, hidden, latent, own in [(2, (100, 100), 2, (100, 100)), *grown]
    }


def compare(features, hidden, latent, own, steps, turns):
    """One setting: the generator's share, and what `measure` finds."""
    x = np.random.default_rng(0).normal(size=(2048, features)).astype(np.float32)
    systems = {name: vera(hidden, latent, own, how) for name, how in KINDS.items()}
    found = measure({"pcd": pcd(hidden)} | systems, x, steps, turns)
    return {"share": share(features, hidden, latent, own), "systems": found}


# ---- what is shown ---------------------------------------------------------------------------


def row(label, result):
    found = result["systems"]
    cells = [
        f"{found[name]['ratio']:.2f} ({found[name]['low']:.2f} to {found[name]['high']:.2f}), "
        f"{found[name]['flops']:.2f}"
        for name in KINDS
    ]
    return [label, f"{result['share']:.0%}", f"{found['pcd']['ms']:.2f}", *cells]


def draw(path, results):
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(7, 4), layout="constrained")
    ax = drawn.subplots()
    grown = results[1:]
    for name in KINDS:
        line = [result["systems"][name] for result in grown]
        ratio = np.array([one["ratio"] for one in line])
        below, above = (np.array([one[end] for one in line]) for end in ("low", "high"))
        shares = [result["share"] for result in grown]
        ax.errorbar(
            shares, ratio, (ratio - below, above - ratio), marker="o", capsize=3, label=name
        )
    ax.axhline(1, color="grey", linewidth=0.8)
    ax.set(xlabel="generator's share of a forward pass", ylabel="time of a step / PCD's")
    ax.set(yscale="log", title="VERA against PCD with 20 steps")
    ax.legend(title="entropy")
    drawn.savefig(path, dpi=120)


def main():
    options = common.parser(__doc__, "time").parse_args()
    quick, runs = options.quick, common.Runs(options)
    results = {}
    for label, setting in settings(WIDTHS[:2] if quick else WIDTHS).items():
        ask = functools.partial(compare, *setting, *((2, 2) if quick else (STEPS, TURNS)))
        found = runs.run(f"{label}/0", ask)
        if found:
            results[label] = found
    head = ["setting", "share", "PCD, ms", *(f"{name}: time, FLOPs" for name in KINDS)]
    text = "A step of VERA as a multiple of PCD's: time (quartiles), and FLOPs.\n\n"
    text += common.table(head, [row(*result) for result in results.items()])
    (options.out / "time.md").write_text(text + "\n")
    print(text)
    draw(options.out / "time.png", list(results.values()))


if __name__ == "__main__":
    main()
