"""The device under test: a CUDA card where there is one, else the kernels on the host.

A test with the mark `gpu` needs a real one; the summary says how many of them ran, and on which
card, or why they were skipped.
"""

from __future__ import annotations

import pytest

from ebmlib import _core
from ebmlib.errors import DeviceError


def _find() -> tuple[str | None, list[str]]:
    """The name of the first device that opens, and why others do not."""
    reasons = []
    for name in ("cuda", "cuda-host"):
        try:
            return _core.check_device(name), reasons
        except DeviceError as error:
            reasons.append(str(error))
    return None, reasons


@pytest.fixture(scope="session")
def device() -> str:
    name, reasons = _find()
    if name is None:
        pytest.skip(f"no CUDA device: {'; '.join(reasons)}")
    return name


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        name, reasons = _find()
        if name != "cuda":
            pytest.skip(f"needs a real GPU: {reasons[0]}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, also where reasons of skips are not shown."""
    counts = {
        word: sum(
            "gpu" in getattr(report, "keywords", ()) and report.when in (when, "setup")
            for report in terminalreporter.stats.get(word, ())
        )
        for word, when in (("passed", "call"), ("failed", "call"), ("skipped", "setup"))
    }
    if not any(counts.values()):
        return
    name, reasons = _find()
    where = f"on {_core.device_model(name)}" if name == "cuda" else f"no GPU here: {reasons[0]}"
    said = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    terminalreporter.write_line(f"tests that need a real GPU: {said} ({where})")
