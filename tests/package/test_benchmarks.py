"""The workloads of benchmarks/ compute what PyTorch computes, at a small size; its reports and
comparisons say what the figures say.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ebmlib import _core
from ebmlib.errors import DeviceError

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
    [(["W1", "W2", "W3", "W8"], "W1 W2 W3"), (["W4"], ""), (["W5", "W6", "W7"], "W5")],
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
        "peaks": [200.0 / machine] * 5,
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


MICRO = {
    "kind": "matmul",
    "size": [256, 1024, 1024],
    "threads": 1,
    "isa": "avx2",
    "rates": {"ebmlib": [90.0, 80.0, 45.0], "numpy": [40.0, 41.0, 39.0], "jax": [60.0] * 3},
    "peaks": [100.0, 100.0, 50.0],
}
STARTUP = {
    "import_ms": [10.0, 30.0, 12.0],
    "first_calls": {"W4": {"first": [1.9, 1.05], "later": [1.2, 1.0, 1.5]}},
    "plan_us": {"empty": 2.5},
    "kernel_us": {"tiny": 0.1},
    "allocations": {"W1": 0, "W2": 3},
    "extension_mb": 2.5,
    "build_s": None,
    "build_processors": 2,
}
POINTS = [(100, 0.0005, 1e4), (1000, 0.004, 1e5), (10_000, 0.06, 1e6), (100_000, 0.4, 1e7)]


def test_the_report_has_all_sections(tmp_path):
    stamp = {"commit": "abc", "date": "2026-01-01"}
    curve = [{"x": x, "seconds": [t, t, 9.0], "units": units} for x, t, units in POINTS]
    kept = record(1.0) | {
        "micro": stamp | {"rows": [MICRO]},
        "startup": stamp | STARTUP,
        "growth": stamp | {"curves": {"chains": curve}},
    }
    page = run(str(BENCHMARKS / "report.py"), *written(tmp_path, run=kept)).splitlines()
    assert "| product 256 x 1024 x 1024 | 1 | 80 | 40 | 60 | 1.33 | 90 % / 88 % |" in page
    text = "| import of ebmlib beyond NumPy's | 12.0 ms / 20.0 ms | 3 processes, best 10.0 |"
    assert text in page
    assert "| first call of W4 beyond one run | **50.0 ms** / 30.0 ms | 1 s |" in page
    assert "| a plan, called from Python | **2.50 us** / 2.00 us | empty |" in page
    assert "| allocations in a run, at most | **3** / 0 | W1, W2 |" in page
    assert "| ns a chain's step | **50** start-up | 40 | **60** not flat | 40 |" in page
    (summary,) = (line for line in page if line.startswith("| W4 | 1.60"))
    assert "**50 ms** / 30 ms" in summary  # of several processes, not of one


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


# ---- devices ---------------------------------------------------------------------------------


def has_device(name: str) -> bool:
    try:
        _core.check_device(name)
    except DeviceError:
        return False
    return True


cuda_host = pytest.mark.skipif(not has_device("cuda-host"), reason="cuda-host is not built")


@cuda_host
def test_ours_are_checked_on_a_device(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "new.json"
    options = ["--device", "cuda-host", "--workloads", "W1,W3", "--json", str(path)]
    lines = run(str(BENCHMARKS / "run.py"), *options).splitlines()
    lines = [line for line in lines if not line.startswith("not installed")]
    for name, line in zip(("W1", "W1", "W3", "W3"), lines, strict=False):
        assert line.startswith(f"{name} ebmlib")
        assert "agrees with torch" in line
    assert lines[4:] == ["nothing is timed on cuda-host: it is the host"]
    assert not path.exists()


TIMED = """
import os, sys
sys.path.insert(0, {folder!r})
import measuring, systems
systems.set_device("cuda-host")
worker = measuring.Worker("ebmlib", "W2", 1, batch=8, langevin_steps=2, train_steps=2)
for _ in range(3):
    worker.call()
print(len(worker.row()["seconds"]), worker.row()["first"] > 0)
worker.close()
print(measuring.why_not("torch"))
systems.set_device("cuda")
print(measuring.why_not("torch"))
"""


@cuda_host
def test_calls_on_a_device_are_timed_and_who_cannot_run_there_is_named():
    torch = pytest.importorskip("torch")
    out = run("-c", TIMED.format(folder=str(BENCHMARKS))).splitlines()
    assert out[:2] == ["1 True", "it is not written for cuda-host"]
    wanted = "None" if torch.cuda.is_available() else "torch.cuda is not available: "
    assert out[2].startswith(wanted)


def test_the_program_says_which_device_is_missing():
    if has_device("cuda"):
        pytest.skip("it is here")
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), "--device", "cuda"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("--device cuda: device 'cuda': ")


def test_the_report_has_a_section_of_its_own_for_a_device(tmp_path):
    kept = record(1.0)
    there = {**kept["workloads"]["W4"], "peaks": [], "commit": "def"}
    there["rows"] = [row("ebmlib", [0.1] * 3), row("torch", [0.3] * 3)]
    section = {
        "card": "NVIDIA H100",
        "left_out": {"jax": "JAX has no GPU backend: its devices are [CpuDevice(id=0)]"},
        "workloads": {"W4": there},
    }
    paths = written(tmp_path, old=kept, new=kept | {"devices": {"cuda": section}})
    before, page = (run(str(BENCHMARKS / "report.py"), path) for path in paths)
    head, _, own = page.partition("## W1 to W8 on cuda: NVIDIA H100\n")
    assert head.replace(", def of 2026-01-01", "").strip() == before.strip()
    assert "| W4 | torch | 0.3 | 0.3 | 3.00 | 200 |" in own
    assert "Not on this device: jax: JAX has no GPU backend" in own
    assert "commit abc of 2026-01-01, def of 2026-01-01" in head
    lines = run(str(BENCHMARKS / "compare.py"), paths[1], paths[1]).splitlines()
    assert any(line.startswith("W4 cuda  ebmlib") for line in lines)
