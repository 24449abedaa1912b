"""The eight workloads against PyTorch, torch.compile and JAX: checked, then timed.

    python benchmarks/run.py                                 all that is installed
    python benchmarks/run.py --workloads W1,W5 --systems torch,jax,jax@1 --repeat 9
    python benchmarks/run.py --json new.json --markdown benchmarks/RESULTS.md

Each system gets the same weights and the same random numbers for one unit of work, and must
hand back the same results and gradients, before anything is timed. Every (system, workload)
pair then lives in a fresh process; the processes are asked for one call at a time, in turn,
so that a slow spell of the machine hits all of them. The first call is reported apart
(tracing and compiling are in it), the second is warm-up. `name@1` has one processor. Ratios
are medians of the ratios of neighbouring calls.
"""

import argparse
import importlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE / "opponents")]

MODULES = {
    "torch": "torch_eager",
    "compile": "torch_compiled",
    "jax": "jax_jit",
    "torchebm": "torchebm_peer",
    "ebmkit": "ebmkit_peer",
    "blackjax": "blackjax_peer",
}
# GFLOP of a call: matrix products and convolutions alone, padding counted, nothing recomputed.
GFLOP = {"W1": 6.9, "W2": 20, "W3": 3.7, "W4": 104, "W5": 683, "W6": 410, "W7": 626, "W8": 69}

# Shorter chains and smaller batches for the check; a weight that makes the hinge of W4 active
# and a step that lets the gradient of W7 show.
OVERRIDES = {
    "W4": {"weight": 0.05},
    "W5": {"batch": 8, "steps": 5},
    "W6": {"batch": 4, "steps": 3},
    "W7": {"batch": 2, "steps": 3, "step": 0.5},
    "W8": {"iterations": 10},
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


# ---- systems ---------------------------------------------------------------------------------


def ours(workload):
    return getattr(importlib.import_module(workload.lower()), workload)


def make(system, workload):
    """A zero-argument run() of one timed call; None if the system has not got the workload."""
    import workloads

    if system == "ebmlib":
        return ours(workload)(workloads.make(workload)).run
    module = importlib.import_module(MODULES[system])
    maker = module.WORKLOADS.get(workload)
    return maker() if maker else None


def version(system):
    module = importlib.import_module("ours" if system == "ebmlib" else MODULES[system])
    return getattr(module, "VERSION", "")


def set_threads(system, threads):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if system != "ebmlib":
        module = importlib.import_module(MODULES[system])
        getattr(module, "set_threads", lambda n: None)(threads)


# ---- the same mathematics? -------------------------------------------------------------------


def distance(a, b):
    """Relative distance of a from b in the Frobenius norm; 0 when both vanish."""
    import numpy as np

    size = np.linalg.norm(b)
    gap = np.linalg.norm(np.asarray(a, np.float64) - b)
    return 0.0 if max(gap, size) < ZERO * np.sqrt(b.size) else gap / max(size, 1e-30)


def check(workload, reference):
    """The worst distance of our results from a reference system's, and of which array."""
    import workloads

    def case():
        return workloads.make(workload, **OVERRIDES.get(workload, {}))

    noise = case().draw(1)
    want = importlib.import_module(MODULES[reference]).check(workload, case(), noise)
    got = ours(workload)(case()).check(noise)
    if got.keys() != want.keys():
        return float("inf"), str(got.keys() ^ want.keys())
    gaps = {name: distance(got[name], want[name]) for name in want}
    worst = max(gaps, key=lambda name: float("inf") if gaps[name] != gaps[name] else gaps[name])
    return gaps[worst], worst


# ---- a process a pair ------------------------------------------------------------------------


def peak_mib():
    """Peak memory of this process; getrusage would count what its parent had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


def child(system, workload, threads):
    """Answers each line of standard input with the seconds of one call."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the system prints goes to standard error
    set_threads(system, threads)
    base, run = peak_mib(), make(system, workload)
    reply = {"supported": run is not None, "version": version(system)}
    print(json.dumps(reply), file=answer, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        print(
            json.dumps({"seconds": seconds, "peak": peak_mib(), "base": base}),
            file=answer,
            flush=True,
        )


class Worker:
    """One system on one workload, in its own process."""

    def __init__(self, system, workload, threads):
        self.system, self.calls = system, []
        name, _, limit = system.partition("@")
        self.scratch = tempfile.TemporaryDirectory()
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        # An empty compiler cache, so that the first call is a first call.
        env = os.environ | {"TORCHINDUCTOR_CACHE_DIR": self.scratch.name}
        command = [sys.executable, __file__, "--child", name, workload, limit or str(threads)]
        self.process = subprocess.Popen(
            command,
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )
        self.info = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(["died", *self.errors.read().strip().splitlines()][-1])
        return json.loads(line)

    def call(self):
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        self.calls.append(self.read())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.scratch.cleanup()

    def result(self):
        seconds = [call["seconds"] for call in self.calls[2:]]
        return {
            "system": self.system,
            "version": self.info["version"],
            "first": self.calls[0]["seconds"],
            "median": statistics.median(seconds),
            "best": min(seconds),
            "peak_mib": self.calls[-1]["peak"],
            "base_mib": self.calls[-1]["base"],
            "seconds": seconds,
        }


def measure(systems, workload, threads, repeat):
    """Results of all systems that have the workload; ours first."""
    workers = []
    for system in systems:
        try:
            worker = Worker(system, workload, threads)
            if worker.info["supported"]:
                worker.call()
                worker.call()
                workers.append(worker)
            else:
                worker.close()
        except RuntimeError as error:
            print(f"{workload} {system}: left out: {error}", flush=True)
    for _ in range(repeat):
        for worker in workers:
            worker.call()
    for worker in workers:
        worker.close()
    return [{"workload": workload, **worker.result()} for worker in workers]


def add_ratios(rows):
    """How many times longer than ours each call took, by neighbouring calls."""
    own = next(row for row in rows if row["system"] == "ebmlib")
    for row in rows:
        pairs = zip(row["seconds"], own["seconds"], strict=True)
        row["ratio"] = statistics.median(a / b for a, b in pairs)


# ---- reports ---------------------------------------------------------------------------------


def machine(threads):
    """What the figures were measured on."""
    import dense

    import ebmlib
    from ebmlib import _core

    name = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, text=True, capture_output=True
    ).stdout.strip()
    return {
        "processor": name,
        "threads": threads,
        "isa": _core.isa(),
        "commit": commit,
        "peak_gflops": dense.peak(threads),
        "python": platform.python_version(),
        "ebmlib": ebmlib.__version__,
        "system": platform.platform(),
    }


def table(rows, info):
    lines = [
        "| | system | median s | best s | times ours | share of peak | first call s | MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        share = GFLOP[row["workload"]] / row["median"] / info["peak_gflops"]
        lines.append(
            f"| {row['workload']} | {row['system']} | {row['median']:.4g} | {row['best']:.4g} "
            f"| {row['ratio']:.2f} | {share:.0%} | {row['first']:.3g} "
            f"| {row['peak_mib'] - row['base_mib']:.0f} |"
        )
    return "\n".join(lines)


def markdown(rows, info):
    versions = sorted({row["version"] for row in rows})
    return (
        "# Results\n\n"
        f"{info['processor']}, {info['threads']} threads, {info['isa']}, multiply-add peak "
        f"{info['peak_gflops']:.0f} GFLOP/s; {', '.join(versions)}; Python {info['python']}; "
        f"commit {info['commit']}.\n\n"
        "Each workload was checked against PyTorch with the same weights and random numbers "
        "before it was timed. Calls of all systems are interleaved; *times ours* is the median "
        "of the ratios of neighbouring calls. The share of the peak counts matrix products and "
        "convolutions alone. MiB are above the process's own after import.\n\n"
        f"{table(rows, info)}\n\n"
        "    python benchmarks/run.py --markdown benchmarks/RESULTS.md\n"
    )


def installed(name):
    package = {"torch": "torch", "compile": "torch", "jax": "optax"}.get(name, name)
    return importlib.util.find_spec(package) is not None


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(GFLOP))
    parser.add_argument("--systems", default="torch,compile,jax", help="opponents")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="all figures, for compare.py")
    parser.add_argument("--markdown", help="the table, with the machine")
    return parser.parse_args()


def main():
    args = parse()
    systems = [s for s in args.systems.split(",") if s and installed(s.partition("@")[0])]
    missing = set(filter(None, args.systems.split(","))) - set(systems)
    if missing:
        print(f"not installed, left out: {', '.join(sorted(missing))}")
    info, rows, wrong = machine(args.threads), [], []
    for workload in args.workloads.split(","):
        if "torch" in systems:
            gap, name = check(workload, "torch")
            good = gap < TOLERANCE[workload]
            print(
                f"{workload} {'agrees' if good else 'DIFFERS'}: {gap:.1e} ({name})", flush=True
            )
            if not good:
                wrong.append(workload)
                continue
        found = measure(["ebmlib", *systems], workload, args.threads, args.repeat)
        add_ratios(found)
        print(table(found, info), flush=True)
        rows += found
        if args.json:
            Path(args.json).write_text(json.dumps({"machine": info, "rows": rows}, indent=1))
    if args.markdown and rows:
        Path(args.markdown).write_text(markdown(rows, info))
    return bool(wrong)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        sys.exit(main())
