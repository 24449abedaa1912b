"""The same mathematics? Results and gradients of one unit of work, against a reference system.

The reference computes on the CPU, ours on the device. Both get the same weights and the same
random numbers. The library's samplers and estimators draw by themselves; what they draw is a
function of a key, so it is asked for and handed to the reference.
"""

import systems

# Shorter chains and smaller batches for the check; a weight that makes the hinge of W4 active
# and a step that lets the gradient of W7 show.
OVERRIDES = {
    "W4": {"weight": 0.05},
    "W5": {"batch": 8, "steps": 5},
    "W6": {"batch": 4, "steps": 3},
    "W7": {"batch": 2, "steps": 3, "step": 0.5},
    "W8": {"iterations": 10},
}
# Where kernels of a card run on the host, thousands of times slower, for the path alone.
SMALL = {
    "W1": {"chains": 32, "steps": 5},
    "W4": {"batch": 4, "lobpcg": 2},
    "W5": {"batch": 2, "steps": 2},
    "W6": {"batch": 1, "steps": 2},
    "W7": {"batch": 1, "steps": 2},
    "W8": {"chains": 32, "iterations": 2},
}
# W4: the energy's gradients follow the generator's first Adam step, whose size is the learning
# rate even where the gradient is rounding noise (of a saturated tanh); the generator's agree to
# 1e-5.
TOLERANCE = {
    "W1": 1e-5,
    "W2": 1e-4,
    "W3": 1e-3,
    "W4": 1e-2,
    "W5": 1e-5,
    "W6": 1e-3,
    "W7": 1e-5,
    "W8": 1e-4,
}
ZERO = 1e-5  # exactly zero in exact arithmetic: only the size is looked at


def distance(a, b):
    """Relative distance of a from b in the Frobenius norm; 0 when both vanish."""
    import numpy as np

    size = np.linalg.norm(b)
    gap = np.linalg.norm(np.asarray(a, np.float64) - b)
    return 0.0 if max(gap, size) < ZERO * np.sqrt(b.size) else gap / max(size, 1e-30)


def check(workload, reference, system="ebmlib"):
    """The worst distance of our results from a reference system's, and of which array."""
    import workloads

    sizes = OVERRIDES.get(workload, {})
    if systems.device() == "cuda-host":
        sizes = sizes | SMALL.get(workload, {})
    case = workloads.make(workload, **sizes)
    form = systems.ours(workload, system)
    case, noise, got = form(case).check(seed=1)
    want = systems.module(reference).check(workload, case, noise)
    want = {name: a for name, a in want.items() if name not in getattr(form, "unseen", ())}
    if got.keys() != want.keys():
        return float("inf"), str(got.keys() ^ want.keys())
    gaps = {name: distance(got[name], want[name]) for name in want}
    worst = max(gaps, key=lambda name: float("inf") if gaps[name] != gaps[name] else gaps[name])
    return float(gaps[worst]), worst
