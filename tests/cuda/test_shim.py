"""The host shim finds what it should: kernels with one mistake each (planted.cu)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDERS = (0, 1, 2, 3)

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="no g++: the shim is its")


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    """The program, with AddressSanitizer."""
    program = tmp_path_factory.mktemp("shim") / "planted"
    host = ROOT / "cuda" / "host"
    sources = ["-xc++", ROOT / "tests" / "cuda" / "planted.cu", *sorted(host.glob("*.cc"))]
    flags = ["-std=c++17", "-O1", "-g1", "-fsanitize=address,undefined", "-pthread"]
    done = subprocess.run(["g++", *flags, f"-I{host}", *sources, "-o", program])
    assert done.returncode == 0
    return program


def run(program: Path, name: str, order: int = 0) -> tuple[int, str]:
    done = subprocess.run(
        [program, name, str(order)],
        capture_output=True,
        text=True,
        env={"ASAN_OPTIONS": "detect_leaks=0"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("order", ORDERS)
def test_a_right_kernel_is_right_in_every_order(planted, order):
    assert run(planted, "right", order) == (0, "0 NaN, 64 reversed\n")


@pytest.mark.parametrize("order", ORDERS)
def test_a_missing_barrier_shows_in_every_order(planted, order):
    code, text = run(planted, "missing_barrier", order)
    assert code == 0
    assert text != "0 NaN, 64 reversed\n"


def test_uninitialised_shared_memory_is_nan(planted):
    assert run(planted, "uninitialised") == (0, "1 NaN, 1 reversed\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("write_past_the_end", "heap-buffer-overflow"),
        ("shared_too_small", "index 63 out of bounds|heap-buffer-overflow"),
        ("read_by_the_host", "use-after-poison"),
        ("divergent_barrier", "ended before a barrier that others reached"),
        ("two_barriers", "wait at different barriers"),
        ("lanes_disagree", "disagree on the mask"),
        ("lane_outside", "not in its own mask"),
        ("barrier_where_none_was_promised", "launched as one without"),
        ("too_many_threads", "too many threads"),
    ],
)
def test_a_mistake_ends_the_program(planted, name, message):
    code, text = run(planted, name)
    assert any(part in text for part in message.split("|")), text
    assert code != 0 or "out of bounds" in text


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("read_too_early", "-1 before, 3 after\n"),
        ("waited_for_an_event", "3, -1, 5\n"),
        ("wrong_direction", "invalid argument\n"),
        ("freed_twice", "invalid argument\n"),
        ("synchronised_while_captured", "not permitted while a stream is captured\n"),
        ("replayed_three_times", "63\n"),
    ],
)
def test_what_the_runtime_answers(planted, name, output):
    assert run(planted, name) == (0, output)
