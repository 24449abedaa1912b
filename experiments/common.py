"""What experiments share: repeats with their own seeds, means with spreads, tables, files.

An experiment is a program: `python experiments/vera/NAME.py` prints a Markdown table; with
`--json` and `--figure` it leaves its figures in files, with `--quick` it does the same at a
size for tests. Seeds are fixed, so a second run gives the same figures but for the seconds.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

import ebmlib


def arguments(doc, repeats=3):
    """The options that all have; `doc` is the program's docstring."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small size, for tests")
    parser.add_argument("--repeats", type=int, default=repeats, help="with seeds 0, 1, ...")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--figure", type=Path, help="draw them here")
    return parser


def progress(text):
    """A line of what is going on, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def gather(repeats):
    """Of dicts with the same keys, one a repeat: {key: {"mean", "spread", "values"}}.

    The spread is the standard deviation between repeats.
    """
    gathered = {}
    for key in repeats[0]:
        values = [float(found[key]) for found in repeats]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        gathered[key] = {"mean": float(np.mean(values)), "spread": spread, "values": values}
    return gathered


def cell(figure, digits=2):
    """Mean ± spread of one that `gather` made; nothing for a NaN."""
    if np.isnan(figure["mean"]):
        return ""
    return f"{figure['mean']:.{digits}f} ± {figure['spread']:.{digits}f}"


def table(head, rows):
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def seconds(call, times=5):
    """The median of some calls, after a first one that plans."""
    call()
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        spans.append(time.perf_counter() - start)
    return float(np.median(spans))


def save(path, name, settings, results):
    """All figures as JSON, with what they were made by."""
    record = {
        "experiment": name,
        "ebmlib": ebmlib.__version__,
        "machine": platform.machine(),
        "threads": ebmlib.num_threads(),
        "settings": settings,
        "results": results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
