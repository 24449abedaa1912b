"""The programs of experiments/ run at a small size, and find there what they find at large."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def run(name, tmp_path, *options):
    """The figures that `name --quick` leaves, by run; its table and its plot are there."""
    for package in ("sklearn", "matplotlib"):
        pytest.importorskip(package)
    command = [sys.executable, ROOT / f"experiments/{name}.py", "--quick", "--out", tmp_path]
    command += options
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("|") > 20, "no table"
    left = tmp_path / "quick"
    assert all(drawn.stat().st_size > 10_000 for drawn in left.glob("*.png"))
    assert list(left.glob("*.png"))
    return json.loads(next(left.glob("runs*.json")).read_text())


def test_entropy_gradient(tmp_path):
    found = run("vera/entropy_gradient", tmp_path)
    for d in (2, 20):
        share = {
            name: np.mean([found[f"{d}/{name}/{seed}"]["share"] for seed in range(2)])
            for name in ("importance 20", "importance 200", "HMC 2 prior", "HMC 2 full")
        }
        exact = [found[f"{d}/Gauss-Newton/{seed}"]["share"] for seed in range(2)]
        assert abs(np.mean(exact) - 1.0) < 0.1
        assert share["importance 20"] < share["importance 200"] < 1.1
        assert share["HMC 2 prior"] < share["HMC 2 full"] < 1.1
    assert share["importance 20"] < 0.6


def test_time(tmp_path):
    """FLOPs are counted, so they are what is looked at; times are those of a busy machine."""
    results = list(run("vera/time", tmp_path).values())
    assert [round(result["share"], 2) for result in results] == [0.5, 0.04, 0.15]
    for result in results:
        flops = {name: found["flops"] for name, found in result["systems"].items()}
        assert flops["none"] < flops["importance, k = 20"] < flops["HMC, 20 burn-in"]
        assert all(found["ms"] > 0 for found in result["systems"].values())
    none = [result["systems"]["none"]["flops"] for result in results]
    assert max(none) < 0.5  # the energy's part: 3 passes and a penalty, for 20 steps of 3


@pytest.mark.parametrize(
    ("name", "only"),
    [("mixture", "moons/ml,moons/gn,moons/pcd 0.1,moons/ssm"), ("nice", "ml,vera 1,dsm")],
)
def test_likelihoods(name, only, tmp_path):
    found = run(f"vera/{name}", tmp_path, "--only", only)
    assert len(found) > 3
    assert not any("error" in numbers for numbers in found.values())


def test_refinement(tmp_path):
    assert len(run("vera/refinement", tmp_path)) > 3
