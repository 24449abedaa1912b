"""`import ebmlib` is cheap, and brings in nothing but NumPy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import json, sys, time
t0 = time.process_time()
import numpy
t1 = time.process_time()
before = set(sys.modules)
import ebmlib
t2 = time.process_time()
new = {name.partition(".")[0] for name in set(sys.modules) - before}
new -= sys.stdlib_module_names
print(json.dumps({"numpy": t1 - t0, "ebmlib": t2 - t1, "new": sorted(new)}))
"""


def import_it() -> dict:
    command = [sys.executable, "-c", PROGRAM]
    keep = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, cwd=ROOT, env=keep, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_import_brings_in_nothing_else():
    assert set(import_it()["new"]) <= {"ebmlib", "numpy"}


def test_import_adds_at_most_30_ms():
    """The best of ten, in processor time; a slow machine is known by what NumPy takes."""
    runs = [import_it() for _ in range(10)]
    best = min(run["ebmlib"] for run in runs)
    numpy = min(run["numpy"] for run in runs)
    assert best < max(0.030, 0.3 * numpy)
