"""The CUDA library as nvcc made it: what it exports, needs and uses of a card."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ebmlib._core
from ebmlib import _device

ROOT = Path(__file__).parents[2]
LIBRARY = Path(ebmlib._core.__file__).parent / "devices" / "libebm-cuda.so"
RESOURCES = sorted((ROOT / "build" / "cuda").glob("*.resources"))

built = pytest.mark.skipif(not LIBRARY.exists(), reason="ebmlib was built without nvcc")

# Most registers a thread, and bytes of stack a thread and of static shared memory a block, of
# the kernels of a source.  None spills.
LIMITS = {
    "conv": (128, 0, 37888),
    "elementwise": (64, 96, 0),
    "index": (64, 0, 0),
    "linalg": (80, 0, 64),
    "matmul": (128, 0, 33792),
    "move": (64, 0, 16896),
    "peak": (32, 0, 0),
    "random": (32, 0, 0),
    "reduce": (80, 0, 4096),
    "sort": (64, 0, 0),
}


@built
@pytest.mark.skipif(not shutil.which("nm"), reason="no nm")
def test_it_exports_one_symbol():
    text = subprocess.run(
        ["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[-1] for line in text.splitlines()] == ["ebm_device_open"]


@built
def test_it_loads_without_a_driver_and_a_toolkit():
    """In a process of its own: libraries of CUDA that are here already do not count."""
    program = f"import ctypes; ctypes.CDLL({str(LIBRARY)!r}).ebm_device_open"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    needed = subprocess.run(["ldd", LIBRARY], capture_output=True, text=True).stdout
    assert "not found" not in needed
    assert not re.search(r"libcu|libnv", needed)


def test_cublas_is_found_in_the_package_that_brings_it(tmp_path, monkeypatch):
    for version in ("cu12", "cu13"):
        folder = tmp_path / "nvidia" / version / "lib"
        folder.mkdir(parents=True)
        (folder / f"libcublas.so.{version[2:]}").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    assert _device.find_cublas() == folder


def test_importing_ebmlib_loads_no_device():
    program = (
        "import ebmlib, sys; "
        "maps = open('/proc/self/maps').read(); "
        "sys.exit('libebm-cuda' in maps or 'libcuda' in maps)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.skipif(not RESOURCES, reason="ebmlib was built without nvcc, or elsewhere")
@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_kernels_keep_within_their_registers_and_memory(path):
    text = path.read_text()
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", text)
    assert all(pair == ("0", "0") for pair in spills)
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", text)]
    stack = [int(n) for n in re.findall(r"(\d+) bytes stack frame", text)]
    shared = [int(n) for n in re.findall(r"(\d+) bytes smem", text)]
    used = max(registers, default=0), max(stack, default=0), max(shared, default=0)
    limit = LIMITS.get(path.stem, (0, 0, 0))
    assert all(a <= b for a, b in zip(used, limit, strict=True)), f"{used}, at most {limit}"
