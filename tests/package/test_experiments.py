"""The programs of experiments/ run at a small size, and find there what they find at large."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(program, tmp_path, *options):
    """The figures that `program --quick` leaves."""
    found = tmp_path / "found.json"
    command = [sys.executable, ROOT / "experiments" / program, "--quick", "--json", found]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("|") > 20, "no table"
    return json.loads(found.read_text())["results"]


def test_entropy_gradient(tmp_path):
    for package in ("sklearn", "matplotlib"):
        pytest.importorskip(package)
    drawn = tmp_path / "figure.png"
    results = run("vera/entropy_gradient.py", tmp_path, "--figure", drawn, "--repeats", "2")
    assert drawn.stat().st_size > 10_000
    share = {(row["d"], row["method"]): row["share"]["mean"] for row in results}
    for d in (2, 20):
        assert abs(share[d, "Gauss-Newton"] - 1.0) < 0.1
        assert share[d, "importance 20"] < share[d, "importance 200"] < 1.1
        assert share[d, "HMC 2 prior"] < share[d, "HMC 2 full"] < 1.1
    assert share[20, "importance 20"] < 0.6


def test_time(tmp_path):
    """FLOPs are counted, so they are what is looked at; times are those of a busy machine."""
    pytest.importorskip("matplotlib")
    drawn = tmp_path / "figure.png"
    results = run("vera/time.py", tmp_path, "--figure", drawn)
    assert drawn.stat().st_size > 10_000
    assert [round(result["share"], 2) for result in results] == [0.5, 0.04, 0.15]
    for result in results:
        flops = {name: found["flops"] for name, found in result["systems"].items()}
        assert flops["none"] < flops["importance, k = 20"] < flops["HMC, 20 burn-in"]
        assert all(found["ms"] > 0 for found in result["systems"].values())
    none = [result["systems"]["none"]["flops"] for result in results]
    assert max(none) < 0.5  # the energy's part: 3 passes and a penalty, for 20 steps of 3
