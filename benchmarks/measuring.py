"""Times of a workload: each system in a process of its own, asked for one call at a time.

The calls go round, so that a slow spell of the machine hits all systems. The first call of a
process, with tracing and compiling in it, is reported apart, and the second is warm-up.

Memory is counted from the resident size after the system has been imported, up to the peak from
the moment when its weights are converted: neither the imports nor the conversion count, while
what a system sets up at its first call does.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import systems


def resident_mib(field):
    """VmRSS, the memory of this process, or VmHWM, its peak (getrusage counts the parent's)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


def forget_peak():
    """From here on VmHWM is the peak; left as it is where the kernel does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        print(f"the peak includes the conversion of weights: {error}", file=sys.stderr)


def child(name, workload, threads):
    """Answers each line of standard input with the seconds of one call."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the system prints goes to standard error
    systems.set_threads(name, threads)
    base = resident_mib("VmRSS")
    run = systems.make(name, workload)
    forget_peak()
    reply = {"supported": run is not None, "version": systems.version(name), "base_mib": base}
    print(json.dumps(reply), file=answer, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        reply = {"seconds": seconds, "peak_mib": resident_mib("VmHWM")}
        print(json.dumps(reply), file=answer, flush=True)


def environment(**more):
    """Without settings of threads and of BLAS, which would hold some systems and not others."""
    return {
        name: text
        for name, text in os.environ.items()
        if not name.endswith("_NUM_THREADS") and not name.startswith("OPENBLAS_")
    } | more


class Worker:
    """One system on one workload, in its own process."""

    def __init__(self, system, workload, threads):
        self.system, self.calls = system, []
        self.threads = int(system.partition("@")[2] or threads)
        self.scratch = tempfile.TemporaryDirectory()
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [
                sys.executable,
                __file__,
                systems.name_of(system),
                workload,
                str(self.threads),
            ],
            # An empty compiler cache, so that the first call is a first call.
            env=environment(TORCHINDUCTOR_CACHE_DIR=self.scratch.name),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )
        try:
            self.info = self.read()
        except RuntimeError:
            self.close()
            raise

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
        self.process.stdout.close()
        self.errors.close()
        self.scratch.cleanup()

    def row(self):
        """All that was measured; medians and ratios are the report's."""
        seconds = [call["seconds"] for call in self.calls]
        return {
            "system": self.system,
            "threads": self.threads,
            "version": self.info["version"],
            "first": seconds[0],
            "seconds": seconds[2:],
            "base_mib": self.info["base_mib"],
            "peak_mib": self.calls[-1]["peak_mib"],
        }


def start(wanted, workload, threads):
    """Workers of all systems that have the workload, after two calls each."""
    for system in wanted:
        try:
            worker = Worker(system, workload, threads)
        except RuntimeError as error:
            print(f"{workload} {systems.label(system)}: left out: {error}", flush=True)
            continue
        if not worker.info["supported"]:
            worker.close()
            continue
        try:
            worker.call()
            worker.call()
            yield worker
        except (RuntimeError, OSError) as error:
            print(f"{workload} {systems.label(system)}: left out: {error}", flush=True)
            worker.close()


def measure(wanted, workload, threads, repeat):
    """A row for each system that has the workload, in the order in which they are wanted."""
    workers = list(start(wanted, workload, threads))
    try:
        for _ in range(repeat):
            for worker in workers:
                worker.call()
        return [worker.row() for worker in workers]
    finally:
        for worker in workers:
            worker.close()


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], int(sys.argv[3]))
