"""What the experiments share: repeats that are kept as they come, spreads, tables.

A run is named by a key, and what it found is written to a JSON file at once: a script that was
stopped goes on where it was, and ``--fresh`` begins anew. Runs are seeded by their key alone,
so that their order does not matter.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / "build" / "experiments"


def parser(doc, name, seeds=3):
    """The options of a script; ``doc`` is its docstring."""
    options = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seeds", type=int, default=seeds, help=f"repeats ({seeds})")
    options.add_argument("--quick", action="store_true", help="a minute: that it runs")
    options.add_argument("--only", default="", help="keys with one of these texts, a,b")
    options.add_argument("--until", type=float, help="start no run after so many seconds")
    options.add_argument("--fresh", action="store_true", help="forget earlier runs")
    options.add_argument("--report", action="store_true", help="no new runs")
    options.add_argument("--out", type=Path, default=BUILD / name, help="JSON, table, plot")
    return options


class Runs:
    """What runs found, by key, in a file; quick ones have a folder of their own."""

    def __init__(self, options, suffix=""):
        if options.quick:
            options.out /= "quick"
        name = f"runs{suffix}.json"
        self.path, self._options = options.out / name, options
        self._end = time.monotonic() + (options.until or float("inf"))
        options.out.mkdir(parents=True, exist_ok=True)
        known = self.path.exists() and not options.fresh
        self.found = json.loads(self.path.read_text()) if known else {}

    def run(self, key, function):
        """The numbers of ``function()``, a dict, from the file if they are there; else None
        where no new runs are asked for.
        """
        if key in self.found:
            return self.found[key]
        late = time.monotonic() > self._end
        asked = any(text in key for text in self._options.only.split(","))
        if late or self._options.report or not asked:
            return None
        start = time.perf_counter()
        result = function()
        self.found[key] = result | {"wall": time.perf_counter() - start}
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.found, indent=1, default=float))
        part.replace(self.path)
        shown = {
            k: f"{v:.3g}" for k, v in self.found[key].items() if isinstance(v, int | float)
        }
        print(key, *(f"{k} {v}" for k, v in shown.items()), sep="  ", flush=True)
        return self.found[key]

    def values(self, start, name):
        """``name`` of all runs whose key is ``start`` and a seed, in the order of seeds."""
        keys = [key for key in self.found if key.rpartition("/")[0] == start]
        keys.sort(key=lambda key: int(key.rpartition("/")[2]))
        return [self.found[key][name] for key in keys if name in self.found[key]]


def seconds(call, times=3):
    """The median of some calls, after a first one that plans."""
    call()
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        spans.append(time.perf_counter() - start)
    return statistics.median(spans)


def spread(values, digits=2):
    """Mean and standard deviation over repeats, as text."""
    if not values:
        return ""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def table(header, rows):
    """A Markdown table; the first column is left, the others right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    wide = [max(len(row[i]) for row in cells) for i in range(len(header))]
    rule = ["-" * wide[0], *("-" * (w - 1) + ":" for w in wide[1:])]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, wide, strict=True)) + " |"
        for row in (cells[0], rule, *cells[1:])
    ]
    return "\n".join(lines)


def verdict(text, holds):
    """A line on something that must hold."""
    return f"- {'holds' if holds else 'DOES NOT HOLD'}: {text}"
