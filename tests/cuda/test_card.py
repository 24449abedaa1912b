"""What runs on `cuda-host` in every test run, once more on a card, where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SUITES = {
    "kernels": [
        "tests/ops/test_ops.py",
        "tests/ops/test_devices.py",
        "tests/ops/test_random.py",
    ],
    "networks": ["tests/python/test_networks.py"],
    "samplers": ["tests/python/test_samplers.py"],
    "estimators": ["tests/python/test_estimators.py", "-k", "not learns"],
}


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_tests_of_the_cpu_pass_on_the_card(suite):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITES[suite]],
        cwd=ROOT,
        env={**os.environ, "EBMLIB_TEST_DEVICE": "cuda"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
