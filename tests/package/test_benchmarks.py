"""The workloads of benchmarks/ compute what PyTorch computes, at a small size."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

CHECK = """
import sys
sys.argv = ["run.py"]
sys.path.insert(0, {folder!r})
import run
for workload in {workloads}:
    gap, name = run.check(workload, "torch")
    print(workload, gap < run.TOLERANCE[workload], gap, name)
"""


@pytest.mark.parametrize("workloads", [["W1", "W2", "W3", "W8"], ["W4"], ["W5", "W6", "W7"]])
def test_workloads_agree_with_torch(workloads):
    pytest.importorskip("torch")
    script = CHECK.format(folder=str(BENCHMARKS), workloads=workloads)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [[workload, "True"] for workload in workloads]
