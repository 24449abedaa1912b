"""What all tests share."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

# A shell lets its background jobs ignore Ctrl-C, and so would the processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The device of whatever names none: `cuda-host` runs the CUDA kernels on the host.
if os.environ.get("EBMLIB_TEST_DEVICE"):
    from ebmlib import _core

    _core.set_device(os.environ["EBMLIB_TEST_DEVICE"])


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20260101)


@pytest.fixture(scope="session")
def torch():
    """PyTorch, an oracle for losses and gradients; a test that asks is skipped without it."""
    return pytest.importorskip("torch", reason="the oracle torch is not installed")
