"""The workloads of benchmarks/ compute what PyTorch computes, at a small size; its reports and
comparisons say what the figures say.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

CHECK = """
import sys
sys.path.insert(0, {folder!r})
from checking import TOLERANCE, check
from systems import OURS, ours
for workload in {workloads}:
    for form in OURS:
        if ours(workload, form):
            gap, name = check(workload, "torch", form)
            print(workload, form, gap < TOLERANCE[workload], gap, name)
"""

WRONG = """
import sys
sys.path.insert(0, {folder!r})
import checking, w1, w2
w1.W1Sampler.sampler = lambda self: w1.samplers.Langevin(self.s["step"], n_steps=100)
loss = w2.W2.loss
w2.W2.loss = lambda self, p, x, y: loss(self, p, x, y) + 0.01 * p["l2.b"][0] ** 2
for workload, form in (("W1", "sampler"), ("W2", "ebmlib")):
    print(checking.check(workload, "torch", form)[0] > checking.TOLERANCE[workload])
"""


def run(*command: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("workloads", "both"),
    [(["W1", "W2", "W3", "W8"], "W1 W2"), (["W4"], ""), (["W5", "W6", "W7"], "W5")],
)
def test_workloads_agree_with_torch(workloads, both):
    """In both forms: NumPy functions, and samplers or estimators where there are some."""
    pytest.importorskip("torch")
    out = run("-c", CHECK.format(folder=str(BENCHMARKS), workloads=workloads))
    wanted = []
    for workload in workloads:
        wanted.append([workload, "ebmlib", "True"])
        if workload in both:
            wanted.append([workload, "sampler", "True"])
    assert [line.split()[:3] for line in out.splitlines()] == wanted


def test_what_is_wrong_does_not_agree():
    pytest.importorskip("torch")
    assert run("-c", WRONG.format(folder=str(BENCHMARKS))).split() == ["True", "True"]


def row(system: str, seconds: list[float], first: float = 0.5, peak: float = 200.0) -> dict:
    return {
        "system": system,
        "threads": 1 if system.endswith("@1") else 2,
        "version": system,
        "first": first,
        "seconds": seconds,
        "base_mib": 100.0,
        "peak_mib": peak,
    }


def record(own: float, machine: float = 1.0) -> dict:
    """Figures of W4: ours, and opponents on a machine that is slower by a factor."""

    def near(seconds: float) -> list[float]:
        return [seconds * machine * x for x in (1.0, 1.01, 0.99, 1.0, 1.02)]

    rows = [
        row("ebmlib", near(own), own * machine + 0.02, 140.0),
        row("ebmlib@1", near(1.5 * own)),
        row("torch", near(3.0)),
        row("torch@1", near(4.0)),
        row("jax", near(2.0)),
        row("jax@1", near(1.6), peak=180.0),
    ]
    part = {
        "commit": "abc",
        "date": "2026-01-01",
        "threads": 2,
        "peak_gflops": 200.0,
        "reference": "torch",
        "check": {"ebmlib": [1e-6, "x"]},
        "rows": rows,
    }
    machine_of = {
        "processor": "P",
        "processors": 2,
        "isa": "avx2",
        "python": "3",
        "system": "S",
    }
    return {"machine": machine_of, "workloads": {"W4": part}}


def written(folder: Path, **records: dict) -> list[str]:
    paths = []
    for name, kept in records.items():
        paths.append(str(folder / f"{name}.json"))
        Path(paths[-1]).write_text(json.dumps(kept))
    return paths


def test_the_report_takes_the_best_opponent_at_its_best_number_of_threads(tmp_path):
    page = run(str(BENCHMARKS / "report.py"), *written(tmp_path, run=record(1.0)))
    (summary,) = (line for line in page.splitlines() if line.startswith("| W4 | 1.60"))
    assert [cell.strip() for cell in summary.strip("|").split("|")] == [
        "W4",
        "1.60 / 1.50",
        "jax@1",
        "3.00 / 2.20",
        "**52 %** / 72 %",
        "20 ms / 30 ms",
        "0.50 / 0.50",
        "jax@1",
        "**1.50** / 1.80",
    ]
    assert "commit abc of 2026-01-01" in page


@pytest.mark.parametrize(
    ("own", "machine", "word", "code"),
    [
        (1.0, 1.0, "same", 0),
        (1.0, 1.7, "same", 0),  # the machine was slower, not ours
        (1.3, 1.0, "slower", 1),
        (1.3, 0.6, "slower", 1),  # a faster machine hides it
        (0.7, 1.0, "faster", 0),
    ],
)
def test_compare_takes_out_the_machine(tmp_path, own, machine, word, code):
    paths = written(tmp_path, old=record(1.0), new=record(own, machine))
    lines = run(str(BENCHMARKS / "compare.py"), *paths, code=code).splitlines()
    assert [line.split()[1] for line in lines] == ["ebmlib", "ebmlib@1"]
    assert all(line.endswith(word) for line in lines)


def test_figures_of_two_machines_do_not_mix(tmp_path):
    (path,) = written(tmp_path, old=record(1.0))
    begin = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import record; record.begin("
    done = subprocess.run(
        [sys.executable, "-c", f"{begin}{path!r}, True)"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "of another machine" in done.stderr
    assert run("-c", f"{begin}{path!r}, False)") == ""
