"""The device under test: a CUDA card where there is one, else the kernels on the host."""

from __future__ import annotations

import pytest

from ebmlib import _core
from ebmlib.errors import DeviceError


def _find() -> tuple[str | None, str]:
    """(name, why not) of the first device that opens."""
    reasons = []
    for name in ("cuda", "cuda-host"):
        try:
            return _core.check_device(name), ""
        except DeviceError as error:
            reasons.append(str(error))
    return None, "; ".join(reasons)


@pytest.fixture(scope="session")
def device() -> str:
    name, reason = _find()
    if name is None:
        pytest.skip(f"no CUDA device: {reason}")
    return name


@pytest.fixture
def real_card(device: str) -> str:
    """A real GPU."""
    if device != "cuda":
        pytest.skip("no GPU here: this runs on machines that have one")
    return device
