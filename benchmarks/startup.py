"""What it costs to begin: imports, first calls, empty plans, a kernel, the extension.

    python benchmarks/startup.py
    python benchmarks/startup.py --build                   and a build from scratch
    python benchmarks/startup.py --workloads W1,W2 --json build/bench.json --merge

Imports are medians over fresh processes. A first call is counted by what it takes beyond the
calls after it: tracing, planning, the first touch of memory. It is a small difference of large
numbers. So workloads have fewer steps here, which changes neither the functions nor the kernels
of their plans, but leaves out the first touch of some draws; and the best first call of some
processes stands against the best of all later calls: a slow spell of the machine only adds.

The cost of a kernel is the slope of a chain of tiny kernels that cannot be fused over its
length; their own work, some nanoseconds, is in it. Allocations are those of the core in a third
run, when all that is kept from run to run is there: it is run again and again with one more
allowed to succeed, until it ends well.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record
import systems
from measuring import Worker, environment
from report import GOALS, against, beyond_ms, lines

TITLE = "Start-up"

IMPORTS, RUNS = 40, 7
PROCESSES, CALLS = 5, 2  # for first calls, and calls after each
SHORTER = {  # chains and trainings of fewer steps, for the sake of first calls
    "W2": {"train_steps": 10},
    "W3": {"train_steps": 10},
    "W4": {"train_steps": 2},
    "W5": {"steps": 4},
    "W6": {"steps": 3},
    "W7": {"steps": 2},
    "W8": {"iterations": 10},
}
CHAIN = (1, 400)

IMPORT = """
import time
import numpy
start = time.perf_counter()
import ebmlib
print(time.perf_counter() - start)
"""


def import_ms():
    """Of ebmlib when NumPy is there, in fresh processes; Python keeps what it has compiled."""
    times, env = [], environment()
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    for _ in range(IMPORTS + 1):
        done = subprocess.run(
            [sys.executable, "-c", IMPORT],
            cwd=systems.HERE.parent,
            env=env,
            text=True,
            capture_output=True,
            check=True,
        )
        times.append(1e3 * float(done.stdout))
    return times[1:]  # the first one may have compiled the sources


def first_calls(workload, threads):
    """Seconds of the first calls of fresh processes, and of those after them."""
    first, later = [], []
    for _ in range(PROCESSES):
        worker = Worker("ebmlib", workload, threads, **SHORTER.get(workload, {}))
        for _ in range(1 + CALLS):
            worker.call()
        worker.close()
        first.append(worker.calls[0]["seconds"])
        later += [call["seconds"] for call in worker.calls[1:]]
    return {"first": first, "later": later}


def call_us(call, *args, calls=2000):
    """Of one call from Python, the median of batches."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        for _ in range(calls):
            call(*args)
        times.append(1e6 * (time.perf_counter() - start) / calls)
    return statistics.median(times[1:])


def chain(build, n, array):
    """A plan of n kernels one after another."""
    import dense

    def repeated(g, x):
        for _ in range(n):
            x = build(g, x)
        return x

    plan = dense.plan(repeated, array)
    if plan.n_kernels != n:
        raise SystemExit(f"a chain of {n} has {plan.n_kernels} kernels")
    return plan


def kernel_us():
    """{name: microseconds a kernel}."""
    import numpy as np

    from ebmlib._core import ops

    makers = {
        "running sum of 4": (lambda g, x: ops.cumsum(g, x, 0, False), np.ones(4, np.float32)),
        "product 4 x 4 x 4": (lambda g, x: ops.matmul(g, x, x), np.eye(4, dtype=np.float32)),
    }
    found = {}
    for name, (build, array) in makers.items():
        short, long = (call_us(chain(build, n, array), array) for n in CHAIN)
        found[name] = (long - short) / (CHAIN[1] - CHAIN[0])
    return found


def plan_us():
    """{what: microseconds of a call from Python}."""
    import dense
    import numpy as np

    from ebmlib import _core

    copy, array = dense.plan(lambda g, x: x, np.ones(4, np.float32)), np.ones(4, np.float32)
    return {
        "no kernel, nothing in or out": call_us(_core.Plan(_core.Graph(), []), calls=20_000),
        "one kernel, an array in and one out": call_us(copy, array, calls=20_000),
    }


def allocations(run, most=1000):
    """How many blocks of memory the core asks for in a run."""
    from ebmlib._core import testing

    for allowed in range(most):
        testing.alloc_fail_after(allowed)
        try:
            run()
        except MemoryError:
            continue
        finally:
            testing.alloc_fail_after(-1)
        return allowed
    return most


def workload_allocations(workload):
    """In a run of a workload, at the sizes of its check."""
    import workloads
    from checking import OVERRIDES

    case = workloads.make(workload, **OVERRIDES.get(workload, {}))
    unit = systems.ours(workload)(case)
    unit.run()
    unit.run()
    return allocations(unit.run)


def extension_mb():
    from ebmlib import _core

    return os.path.getsize(_core.__file__) / 1e6


def build_seconds():
    """The extension from its sources alone, in a folder of its own."""
    root = systems.HERE.parent
    with tempfile.TemporaryDirectory() as folder:
        for name in ("csrc", "ebmlib"):
            ignored = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(root / name, Path(folder) / name, ignore=ignored)
        for path in (root / name for name in ("setup.py", "pyproject.toml", "README.md")):
            shutil.copy(path, folder)
        shutil.copy(root / "LICENSE", folder)
        start = time.perf_counter()
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        without = {**os.environ, "EBMLIB_CUDA": "0"}  # the card's library is another one
        subprocess.run(command, cwd=folder, env=without, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def tables(section):
    """For the page of all results."""

    def row(name, value, goal, form, note=""):
        return [name, against(value, goal, form, smaller=True), note]

    imports = section["import_ms"]
    rows = [
        row(
            "import of ebmlib beyond NumPy's",
            statistics.median(imports),
            20,
            "{:.1f} ms",
            f"{len(imports)} processes, best {min(imports):.1f}",
        )
    ]
    for workload, found in section["first_calls"].items():
        beyond, goal = beyond_ms(found), GOALS[workload].first_ms
        name, note = f"first call of {workload} beyond one run", f"{min(found['later']):.3g} s"
        rows.append(row(name, beyond, goal, "{:.1f} ms", note))
    for what, cost in section["plan_us"].items():
        rows.append(row("a plan, called from Python", cost, 2, "{:.2f} us", what))
    for name, cost in section["kernel_us"].items():
        rows.append(row("a kernel", cost, 0.3, "{:.3f} us", name))
    worst = max(section["allocations"].values())
    which = ", ".join(section["allocations"])
    rows.append(row("allocations in a run, at most", worst, 0, "{:.0f}", which))
    rows.append(row("extension", section["extension_mb"], 5, "{:.2f} MB"))
    if section["build_s"] is not None:
        note = f"{section['build_processors']} processors"
        rows.append(row("build from scratch", section["build_s"], 180, "{:.0f} s", note))
    return [lines(["", "measured / at most", ""], rows)]


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workloads", default=",".join(GOALS), help="of first calls, comma")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build", action="store_true", help="time a build from scratch too")
    record.arguments(parser)
    return parser.parse_args()


def main():
    args = parse()
    kept = record.begin(args.json, args.merge)
    workloads = [name for name in args.workloads.split(",") if name]
    section = kept["startup"] = {
        **record.stamp(),
        "import_ms": import_ms(),
        "first_calls": {name: first_calls(name, args.threads) for name in workloads},
        "plan_us": plan_us(),
        "kernel_us": kernel_us(),
        "allocations": {name: workload_allocations(name) for name in GOALS},
        "extension_mb": extension_mb(),
        "build_s": build_seconds() if args.build else None,
        "build_processors": len(os.sched_getaffinity(0)),
    }
    print("\n\n".join(tables(section)))
    record.save(args.json, kept)


if __name__ == "__main__":
    main()
