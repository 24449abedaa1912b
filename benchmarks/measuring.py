"""Times of a workload: each system in a process of its own, asked for one call at a time.

The calls go round, so that a slow spell of the machine hits all systems, and who is not asked
is stopped. The first call of a process, with tracing and compiling in it, is reported apart,
and the second is warm-up. A short call is repeated for a quarter of a second, for which the
median stands: threads that were stopped take some milliseconds to find their processors.

Memory is counted from the resident size after the system has been imported, up to the peak from
the moment when its weights are converted: neither the imports nor the conversion count, while
what a system sets up at its first call does.
"""

import ctypes
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import systems

SPELL = 0.25  # seconds for which short calls are repeated


def resident_mib(field):
    """VmRSS, the memory of this process, or VmHWM, its peak (getrusage counts the parent's)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


def forget_peak():
    """From here on VmHWM is the peak; left as it is where the kernel does not allow it. First
    what the conversion has freed goes back to the system, where the C library can do that.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        print(f"the peak includes the conversion of weights: {error}", file=sys.stderr)


def child(name, workload, threads, sizes):
    """Answers each line of standard input with the seconds of a call."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the system prints goes to standard error
    systems.set_threads(name, threads)
    systems.use_device(name)
    base = resident_mib("VmRSS")
    run = systems.make(name, workload, **sizes)
    forget_peak()
    reply = {"supported": run is not None, "version": systems.version(name), "base_mib": base}
    print(json.dumps(reply), file=answer, flush=True)
    for turn, _ in enumerate(sys.stdin):
        times = []
        while not times or (turn > 0 and sum(times) < SPELL):
            start = time.perf_counter()
            systems.finish(name, run())
            times.append(time.perf_counter() - start)
        reply = {"seconds": statistics.median(times), "peak_mib": resident_mib("VmHWM")}
        print(json.dumps(reply), file=answer, flush=True)


def why_not(system):
    """Why a system cannot compute on the device of this process; None if it can."""
    process = Process(__file__, "--device", systems.name_of(system))
    try:
        process.read()
    except RuntimeError as error:
        return str(error).removeprefix("RuntimeError: ")
    finally:
        process.close()
    return None


def device_child(name):
    """Answers if a system can use the device."""
    systems.use_device(name)
    print(json.dumps({}), flush=True)


def peak_child(threads):
    """Answers each line with the multiply-add peak of so many threads in GFLOP/s."""
    systems.set_threads("ebmlib", threads)
    import dense

    for _ in sys.stdin:
        print(json.dumps(dense.peak(threads)), flush=True)


def environment(**more):
    """Without settings of threads and of BLAS, which would hold some systems and not others."""
    return {
        name: text
        for name, text in os.environ.items()
        if not name.endswith("_NUM_THREADS") and not name.startswith("OPENBLAS_")
    } | more


class Process:
    """A Python program that answers each line with a line of JSON; RuntimeError if it ends.

    Between its answers it is stopped: the threads of some libraries spin for a while when they
    have nothing to do, and others that are timed meanwhile would wait for them.
    """

    def __init__(self, *command, **more):
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=environment(**more),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(["died", *self.errors.read().strip().splitlines()][-1])
        return json.loads(line)

    def ask(self, line=""):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.read()
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            pipe.close()
        self.process.wait()


class Worker:
    """One system on one workload, in its own process."""

    def __init__(self, system, workload, threads, **sizes):
        self.system, self.calls = system, []
        self.threads = int(system.partition("@")[2] or threads)
        self.scratch = tempfile.TemporaryDirectory()
        self.process = Process(
            __file__,
            systems.name_of(system),
            workload,
            self.threads,
            json.dumps(sizes),
            # An empty compiler cache, so that the first call is a first call.
            TORCHINDUCTOR_CACHE_DIR=self.scratch.name,
            XLA_PYTHON_CLIENT_PREALLOCATE="false",  # a card's memory is for all systems
        )
        try:
            self.info = self.process.read()
        except RuntimeError:
            self.close()
            raise

    def call(self):
        self.calls.append(self.process.ask())

    def close(self):
        self.process.close()
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
    """A row for each system that has the workload, in the order in which they are wanted; and
    the processors' multiply-add peak of each round, since the clock of a machine changes: none
    on a device.
    """
    workers = list(start(wanted, workload, threads))
    on_cpu = systems.device() == "cpu"
    clocks = [Process(__file__, "--peak", threads)] if on_cpu else []
    peaks = []
    try:
        for _ in range(repeat):
            peaks += [clock.ask() for clock in clocks]
            for worker in workers:
                worker.call()
        return [worker.row() for worker in workers], peaks
    finally:
        for process in (*workers, *clocks):
            process.close()


if __name__ == "__main__":
    if sys.argv[1] == "--peak":
        peak_child(int(sys.argv[2]))
    elif sys.argv[1] == "--device":
        device_child(sys.argv[2])
    else:
        child(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
