"""The figures of a JSON as tables in markdown.

    python benchmarks/report.py build/bench.json > build/bench.md

Ratios are medians of the ratios of neighbouring calls: how many times longer a system took than
ours. The best opponent is the one with the smallest ratio, on all processors or on one; PyTorch
eager is looked at in the same way. A share of the peak counts matrix products and convolutions
alone, padding counted, nothing recomputed, against the multiply-add peak of all threads,
measured in the same rounds. In a cell with two figures the second, after the stroke, is the
goal.
"""

import importlib
import statistics
import sys
from typing import NamedTuple

import record
from systems import is_ours, label, name_of


class Goal(NamedTuple):
    """What a workload is, and what it should reach."""

    gflop: float  # of a call
    best: float  # times the best opponent
    eager: float  # times PyTorch eager
    share: int  # percent of the multiply-add peak with AVX2; ten less with AVX-512
    first_ms: int  # the first call beyond one run
    memory: float | None = None  # at most this share of the leanest opponent's
    scaling: float | None = None  # one thread against two


GOALS = {
    "W1": Goal(6.9, 1.7, 3, 65, 10),
    "W2": Goal(20, 2.2, 5, 60, 10),
    "W3": Goal(3.7, 3, 10, 45, 10),
    "W4": Goal(104, 1.5, 2.2, 72, 30, 0.5, 1.8),
    "W5": Goal(683, 2.5, 2.5, 75, 30, 0.5, 1.8),
    "W6": Goal(410, 1.6, 1.6, 74, 30, 0.5, 1.8),
    "W7": Goal(626, 1.35, 1.35, 88, 30, 0.5, 1.8),
    "W8": Goal(69, 1.7, 3.3, 65, 10),
}


PROGRAMS = ("micro", "startup", "growth")  # each with a section, TITLE and tables(section)


# ---- figures of rows -------------------------------------------------------------------------


def median(row):
    return statistics.median(row["seconds"])


def ratio(row, own):
    """How many times longer than ours, by neighbouring calls."""
    pairs = zip(row["seconds"], own["seconds"], strict=True)
    return statistics.median(a / b for a, b in pairs)


def share(row, name, part):
    """Of the multiply-add peak, in percent, by the peaks of the same rounds."""
    pairs = zip(row["seconds"], part["peaks"], strict=True)
    return 100 * statistics.median(GOALS[name].gflop / (t * peak) for t, peak in pairs)


def first_ms(row):
    """What the first call costs beyond one run."""
    return 1e3 * (row["first"] - median(row))


def beyond_ms(calls):
    """The same, by the first and the later calls of several processes (startup.py)."""
    return 1e3 * (min(calls["first"]) - min(calls["later"]))


def memory(row):
    """MiB above what was there after the import."""
    return row["peak_mib"] - row["base_mib"]


def find(rows, system):
    return next((row for row in rows if row["system"] == system), None)


def opponents(rows, name=None):
    return [
        row
        for row in rows
        if not is_ours(row["system"]) and name in (None, name_of(row["system"]))
    ]


def nearest(rows, own, name=None):
    """(system, ratio) of the opponent that comes nearest to ours, or beats it most."""
    pairs = [(row["system"], ratio(row, own)) for row in opponents(rows, name)]
    return min(pairs, key=lambda pair: pair[1], default=None)


# ---- tables ----------------------------------------------------------------------------------


def lines(head, rows):
    """A table in markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def against(value, goal, form="{:.2f}", smaller=False):
    """A figure and its goal, marked where it is missed."""
    if value is None:
        return "-"
    text = form.format(value)
    if goal is None:
        return text
    missed = value > goal if smaller else value < goal
    return f"{'**' + text + '**' if missed else text} / {form.format(goal)}"


def times(name, row, own):
    """What each table of systems begins with."""
    return [
        name,
        label(row["system"]),
        f"{median(row):.4g}",
        f"{min(row['seconds']):.4g}",
        f"{ratio(row, own):.2f}" if own else "-",
    ]


TIMES = ["", "system", "median s", "best s", "times ours"]


def workload_table(name, part):
    """All systems on one workload."""
    own = find(part["rows"], "ebmlib")
    rows = [
        [
            *times(name, row, own),
            f"{share(row, name, part):.0f} %",
            f"{first_ms(row):.0f}",
            f"{memory(row):.0f}",
        ]
        for row in part["rows"]
    ]
    return lines([*TIMES, "of peak", "first ms", "MiB"], rows)


def device_table(parts):
    """All systems on all workloads of a device."""
    rows = []
    for name, part in parts.items():
        own = find(part["rows"], "ebmlib")
        rows += [[*times(name, row, own), f"{first_ms(row):.0f}"] for row in part["rows"]]
    return lines([*TIMES, "first ms"], rows)


def summary_row(name, part, isa, calls=None):
    """Ours on one workload, beside the goals; ``calls`` of startup.py, if there are some."""
    goal, rows = GOALS[name], part["rows"]
    own, alone = find(rows, "ebmlib"), find(rows, "ebmlib@1")
    best, eager = nearest(rows, own), nearest(rows, own, "torch")
    first = beyond_ms(calls) if calls else first_ms(own)
    lean = min(opponents(rows), key=memory, default=None)
    return [
        name,
        against(best and best[1], goal.best),
        label(best[0]) if best else "-",
        against(eager and eager[1], goal.eager),
        against(share(own, name, part), goal.share - 10 * (isa == "avx512"), "{:.0f} %"),
        against(first, goal.first_ms, "{:.0f} ms", smaller=True),
        against(lean and memory(own) / memory(lean), goal.memory, smaller=True),
        label(lean["system"]) if lean else "-",
        against(alone and ratio(alone, own), goal.scaling),
    ]


def summary_table(kept):
    """Ours on all workloads, beside the goals."""
    parts, isa = dict(sorted(kept["workloads"].items())), kept["machine"]["isa"]
    calls = kept.get("startup", {}).get("first_calls", {})
    head = [
        "",
        "times the best opponent",
        "which",
        "times PyTorch eager",
        "share of peak",
        "first call beyond one run",
        "memory of the leanest",
        "which",
        "one thread to two",
    ]
    return lines(
        head,
        [
            summary_row(name, part, isa, calls.get(name))
            for name, part in parts.items()
            if find(part["rows"], "ebmlib")
        ],
    )


def distances(part):
    """Of our forms from the reference."""
    return ", ".join(
        f"{gap:.0e}" + (f" ({label(form)})" if form != "ebmlib" else "")
        for form, (gap, _) in part["check"].items()
    )


def checks(parts):
    """What was found before anything was timed."""
    found = [f"{name} {distances(part)}" for name, part in parts.items() if part["check"]]
    if not found:
        return "Not checked: PyTorch is not installed."
    return (
        "Checked before anything was timed, with PyTorch's weights and random numbers: the "
        f"largest relative distance of a result or a gradient is {', '.join(found)}."
    )


def versions(parts):
    """Of all systems."""
    found = {row["version"] for part in parts.values() for row in part["rows"]}
    return f"{', '.join(sorted(found))}."


# ---- pages -----------------------------------------------------------------------------------


def workload_pages(kept):
    """The summary and all rows."""
    parts = dict(sorted(kept["workloads"].items()))
    peaks = [statistics.median(part["peaks"]) for part in parts.values()]
    threads = sorted({part["threads"] for part in parts.values()})
    yield (
        f"## W1 to W8, {' and '.join(map(str, threads))} threads\n\n"
        f"Multiply-add peak {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s from workload to "
        "workload. In a cell with two figures the second is the goal, and a first one in bold "
        "misses it."
    )
    yield summary_table(kept)
    yield checks(parts)
    for name, part in parts.items():
        yield workload_table(name, part)
    yield versions(parts)


def device_pages(device, section):
    """All rows of a device, apart from those of the CPU."""
    parts = dict(sorted(section["workloads"].items()))
    yield (
        f"## W1 to W8 on {device}: {section['card']}\n\n"
        "Each call is waited for, and TF32 is off everywhere. There are no goals for a device."
    )
    yield device_table(parts)
    yield checks(parts)
    out = "; ".join(f"{label(name)}: {why}" for name, why in section["left_out"].items())
    if out:
        yield f"Not on this device: {out}."
    yield versions(parts)


def markdown(kept):
    """The whole page."""
    info = kept["machine"]
    commits = sorted({f"{part['commit']} of {part['date']}" for part in sections(kept)})
    where = (
        f"{info['processor']}, {info['processors']} processors, {info['isa']}; Python "
        f"{info['python']}, {info['system']}; commit {', '.join(commits)}."
    )
    pages = ["# Results", where]
    if "workloads" in kept:
        pages += workload_pages(kept)
    for device, section in kept.get("devices", {}).items():
        pages += device_pages(device, section)
    for name in PROGRAMS:
        if name in kept:
            program = importlib.import_module(name)
            pages += [f"## {program.TITLE}", *program.tables(kept[name])]
    return "\n\n".join(pages) + "\n"


def sections(kept):
    yield from kept.get("workloads", {}).values()
    for section in kept.get("devices", {}).values():
        yield from section["workloads"].values()
    yield from (kept[name] for name in PROGRAMS if name in kept)


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    print(markdown(record.load(sys.argv[1])), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
