"""M1: products, convolutions, activations and normals, against NumPy, PyTorch and JAX.

    python benchmarks/micro.py                      one thread, and two
    python benchmarks/micro.py --threads 1 --cases matmul,normal
    python benchmarks/micro.py --json build/bench.json --merge

Each library has a fresh process with as many processors as threads, without settings of threads
or of BLAS, and is asked for one batch of calls at a time, in turn; who is not asked is stopped.
Arrays are the same for all, and each result is checked against float64 before it is timed. Ours
runs through a plan, as in use.

    matmul       C = A B, A (M, K), B (K, N), in GFLOP/s
    conv         and its two adjoints, data and weight, in GFLOP/s, padding counted; PyTorch in
                 the faster of its two layouts of images, JAX by lax, as its users write it
    swish        of a sum with a bias, one elementwise region, in million values a second
    normal       float32 N(0, 1), a million to a call, in million values a second

NumPy has no convolutions.
"""

import argparse
import json
import os
import statistics
import sys
import time

import record
import systems
from measuring import Process
from report import against, lines

TITLE = "M1: products, convolutions, activations, normals"
TEXT = """GFLOP/s, and million activations or normals a second. The share is that of the
multiply-add peak of as many threads, measured in the same rounds."""

LIBRARIES = {"ebmlib": "numpy", "numpy": "numpy", "torch": "torch", "jax": "optax"}
COUNTED = ("swish", "normal")  # in numbers and beside NumPy, not in operations and of the peak
BATCHES, BATCH_SECONDS = 9, 0.02


def goal(kind, size, threads, isa):
    """Share of the peak in percent, or for normals times NumPy; None where there is none."""
    if kind == "normal":
        return {"avx2": 6, "avx512": 12}.get(isa) if threads == 1 else None
    if kind == "swish":
        return None
    if kind == "matmul":
        return {1: 88, 2: 85}.get(threads) if tuple(size) == (256, 1024, 1024) else None
    return 75 if size[4] == 4 else 80 if kind == "conv weight" else 85


# ---- a process a library ---------------------------------------------------------------------


def batch(f, count):
    """Calls a second."""
    start = time.perf_counter()
    for _ in range(count):
        f()
    return count / (time.perf_counter() - start)


def rate(f, count, work):
    """Work a second, once its threads are awake."""
    batch(f, max(1, count // 4))
    return batch(f, count) * work


def count_of(f):
    """How many calls make a batch."""
    count = 1
    while count / batch(f, count) < BATCH_SECONDS:
        count *= 2
    return count


def prepare(library, kind, size):
    """[(call, calls to a batch, work of a call)], each checked; none if it cannot."""
    import kernels

    arrays, ready = kernels.arrays_of(kind, size), []
    for f, result, times in kernels.CALLS[library](kind, size, arrays):
        kernels.expect(kind, size, arrays, result(f()))
        ready.append((f, count_of(f), times * kernels.work(kind, size)))
    return ready


def child(library, threads):
    """Answers a case with its number of forms, an empty line with the fastest one's rate."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # before a BLAS looks
    if library in systems.OPPONENTS:
        systems.set_threads(library, threads)
    import dense

    forms = []
    for line in sys.stdin:
        if line.strip():
            forms = prepare(library, *json.loads(line))
            reply = {"forms": len(forms)}
        else:
            reply = {"rate": max(rate(*form) for form in forms)}
            if library == "ebmlib":
                reply["peak"] = dense.peak(threads)
        print(json.dumps(reply), flush=True)


def measure(case, workers):
    """{library: rates}, and the peaks of the same rounds; ``workers`` is {library: Process}."""
    able = {
        library: worker
        for library, worker in workers.items()
        if worker.ask(json.dumps(case))["forms"]
    }
    rates, peaks = {library: [] for library in able}, []
    for _ in range(BATCHES):
        for library, worker in able.items():
            reply = worker.ask()
            rates[library].append(reply["rate"])
            peaks += [reply["peak"]] if "peak" in reply else []
    return rates, peaks


# ---- report ----------------------------------------------------------------------------------


def describe(row):
    kind, size = row["kind"], row["size"]
    if kind == "normal":
        return f"normals, {size[0]:,}"
    if kind == "swish":
        return "swish of a sum, " + " x ".join(map(str, size))
    if kind == "matmul":
        return "product " + " x ".join(map(str, size))
    count, side, channels, out, kernel, stride = size
    return f"{kind} {kernel}x{kernel}/{stride} {channels}-{out}, {count} of {side}x{side}"


def marks(row):
    """(times the best other, share of the peak in percent or for normals times NumPy)."""
    medians = {name: statistics.median(rates) for name, rates in row["rates"].items()}
    own = medians.pop("ebmlib")
    times = own / max(medians.values()) if medians else None
    if row["kind"] in COUNTED:
        return times, own / medians["numpy"] if "numpy" in medians else None
    pairs = zip(row["rates"]["ebmlib"], row["peaks"], strict=True)
    return times, statistics.median(100 * rate / peak for rate, peak in pairs)


def table_row(row, names):
    times, mark = marks(row)
    form = "{:.1f} x NumPy" if row["kind"] in COUNTED else "{:.0f} %"
    rates = [row["rates"].get(name) for name in names]
    return [
        describe(row),
        str(row["threads"]),
        *(f"{statistics.median(r):.0f}" if r else "-" for r in rates),
        f"{times:.2f}" if times else "-",
        against(mark, goal(row["kind"], row["size"], row["threads"], row["isa"]), form),
    ]


def tables(section):
    """For the page of all results."""
    rows = section["rows"]
    names = [name for name in LIBRARIES if any(name in row["rates"] for row in rows)]
    head = ["", "threads", *names, "times the best other", "share of peak"]
    return [TEXT, lines(head, [table_row(row, names) for row in rows])]


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--cases", default="", help="only those whose names begin so, comma")
    parser.add_argument("--libraries", default="numpy,torch,jax", help="beside ours, comma")
    record.arguments(parser)
    return parser.parse_args()


def main():
    args = parse()
    kept = record.begin(args.json, args.merge)
    section = kept["micro"] = {**record.stamp(), "rows": []}
    import kernels

    libraries = [n for n in args.libraries.split(",") if n and systems.has(LIBRARIES[n])]
    cases = [case for case in kernels.CASES if case[0].startswith(tuple(args.cases.split(",")))]
    for threads in map(int, args.threads.split(",")):
        workers = {
            library: Process(__file__, "--child", library, threads)
            for library in ("ebmlib", *libraries)
        }
        for kind, size in cases:
            rates, peaks = measure((kind, size), workers)
            row = {"kind": kind, "size": size, "threads": threads, "isa": record.isa()}
            section["rows"].append(row | {"rates": rates, "peaks": peaks})
            medians = (f"{name} {statistics.median(r):.0f}" for name, r in rates.items())
            print(f"{describe(row)}, {threads} thread(s): {', '.join(medians)}", flush=True)
        for worker in workers.values():
            worker.close()
        record.save(args.json, kept)
    print("\n\n".join(tables(section)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main()
