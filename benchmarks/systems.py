"""The systems that are compared: how each is found, loaded and told its threads and device.

``ebmlib`` is a workload's NumPy functions, compiled; ``sampler`` is the same work written with
the library's networks, samplers and estimators. The others are the modules of opponents/, each
with ``WORKLOADS`` {name: make}, where ``make()`` gives a zero-argument ``run()``, and perhaps
``VERSION``, ``set_threads(n)`` and ``check(name, case, noise)``. ``name@1`` has one processor.
One that runs on a card has ``use_device(name)``, which raises a RuntimeError that says why it
cannot, and ``finish(out)``, which waits for what a run put on it.

The device is that of the process: EBMLIB_DEVICE, which makes it ebmlib's default too.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE / "opponents")]

OURS = {"ebmlib": "", "sampler": "Sampler"}  # and what the class of w1.py ... ends with
OPPONENTS = {  # its module, and the package that must be installed
    "torch": ("torch_eager", "torch"),
    "compile": ("torch_compiled", "torch"),
    "jax": ("jax_jit", "optax"),
    "torchebm": ("torchebm_peer", "torchebm"),
    "ebmkit": ("ebmkit_peer", "ebm"),
    "blackjax": ("blackjax_peer", "blackjax"),
}
LABELS = {"sampler": "ebmlib sampler", "compile": "torch.compile"}
# All but torch.compile, whose first calls take minutes.
USUAL = "sampler,ebmlib@1,torch,torch@1,jax,jax@1,torchebm,ebmkit,blackjax"
ALL = f"{USUAL},compile"
USUAL_THERE = "sampler,torch,jax"  # on a device, whose own programs use one thread
ALL_THERE = f"{USUAL_THERE},compile"


def name_of(system):
    """Without the number of processors."""
    return system.partition("@")[0]


def label(system):
    name, at, limit = system.partition("@")
    return LABELS.get(name, name) + at + limit


def is_ours(system):
    return name_of(system) in OURS


def has(package):
    return importlib.util.find_spec(package) is not None


def installed(system):
    name = name_of(system)
    return name in OURS or has(OPPONENTS[name][1])


def module(name):
    return importlib.import_module("ours" if name in OURS else OPPONENTS[name][0])


def ours(workload, name="ebmlib"):
    """The class of a workload; None if it is not written in that way."""
    return getattr(importlib.import_module(workload.lower()), workload + OURS[name], None)


def make(name, workload, **sizes):
    """A zero-argument run() of one timed call; None if the system has not got the workload.
    Ours may be given other sizes.
    """
    import workloads

    if name in OURS:
        made = ours(workload, name)
        return made and alone(made(workloads.make(workload, **sizes)).run)
    maker = module(name).WORKLOADS.get(workload)
    return maker and alone(maker())


def alone(run):
    """The run, without the case's neutral arrays, which are the benchmark's own."""
    case = getattr(getattr(run, "__self__", None), "case", None)
    if case:
        case.params = case.inputs = {}
    return run


def version(name):
    return getattr(module(name), "VERSION", "")


def device():
    """Where everybody computes: "cpu", "cuda" or "cuda-host"."""
    return os.environ.get("EBMLIB_DEVICE") or "cpu"


def set_device(name):
    """For this process and those that it starts, before ebmlib is imported."""
    os.environ["EBMLIB_DEVICE"] = name


def use_device(name):
    """Before anything is computed: RuntimeError with the reason if a system cannot use it."""
    if name in OURS or device() == "cpu":
        return
    use = getattr(module(name), "use_device", None)
    if use is None or device() != "cuda":
        raise RuntimeError(f"it is not written for {device()}")
    use(device())


def finish(name, out):
    """Waits until what a run returned is there."""
    getattr(module(name), "finish", lambda out: None)(out)


def set_threads(name, threads):
    """Before anything is computed: pools are sized by the processors that a process may use."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    getattr(module(name), "set_threads", lambda n: None)(threads)
