"""How far each op of a device may be from the CPU's, in units in the last place.

Elementwise ops are held to it element by element, at numbers of all sizes, the others by the
largest value of their result, at the rows of tests/ops/table.py; the CPU on each of its
instruction sets. What is not listed is the CPU's to the bit, and so are draws
(tests/ops/test_devices.py). A card's own functions of float64 add `CARD`.

    python -m tests.cuda.test_ulps     measures anew
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from ebmlib import _core
from tests.ops.table import DRAWS, ROWS, Row, ids_of_ops_def
from tests.ops.test_ops import draw

CARD = 4.0  # CUDA C++ Programming Guide, mathematical functions: 2, of two functions
TYPES = (np.float32, np.float64)
SEEDS = 5
POINTS = 1 << 16

# op: (float32, float64).
ULPS = {
    "cholesky": (4, 4),
    "conv": (4, 4),
    "conv_data": (4, 4),
    "conv_weight": (4, 4),
    "cos": (1, 0),
    "eigh": (4, 16),
    "erf": (1, 0),
    "exp": (1, 0),
    "expm1": (2, 0),
    "log": (1, 0),
    "log1p": (1, 0),
    "matmul": (2, 2),
    "repeat": (4, 4),
    "sigmoid": (2, 0),
    "sin": (1, 0),
    "softplus": (2, 0),
    "solve": (2, 2),
    "solve_triangular": (2, 2),
    "sum": (16, 8),
    "tanh": (2, 0),
}


def on(device: str, build, arrays) -> np.ndarray:
    """Node by node."""
    graph = _core.Graph()
    nodes = [graph.input(None, a.dtype, a.shape, False) for a in arrays]
    return _core.Plan(graph, [build(graph, *nodes)], fuse=False, device=device)(*arrays)[0]


def on_every_isa(build, arrays) -> Iterator[np.ndarray]:
    """What the CPU gives on each instruction set of this machine."""
    usual = _core.isa()
    for name in ("baseline", "avx2", "avx512"):
        try:
            _core.set_isa(name)
            yield on("cpu", build, arrays)
        except NotImplementedError:
            continue
        finally:
            _core.set_isa(usual)


def sizes(row: Row, dtype: type) -> list[np.ndarray]:
    """Numbers of all sizes, and of the domain of the row."""
    rng = np.random.default_rng(1)
    arrays = []
    for spec in row.inputs:
        wide = rng.normal(size=POINTS) * np.exp(4 * rng.normal(size=POINTS))
        near = rng.uniform(spec.low, spec.high, POINTS)
        arrays.append(np.concatenate([wide, near]).astype(dtype))
    return arrays


def distance(row: Row, got: np.ndarray, want: np.ndarray) -> float:
    """In ulps; of what is no float 0 or inf."""
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    if got.tobytes() == want.tobytes():
        return 0.0
    if got.dtype.kind != "f":
        return np.inf
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    got, want = got[finite].astype(np.float64), want[finite]
    unit = np.spacing(np.abs(want)) if row.edges else np.spacing(np.max(np.abs(want)))
    return float(np.max(np.abs(got - want.astype(np.float64)) / unit))


def measure(device: str, op: str, dtype: type) -> float:
    """The largest distance of the op from any of the CPU's instruction sets."""
    largest = 0.0
    for row in (row for row in ROWS if row.op == op):
        cases: Iterator[list[np.ndarray]] = (draw(row, dtype, seed) for seed in range(SEEDS))
        for arrays in [*cases, *([sizes(row, dtype)] if row.edges else [])]:
            got = on(device, row.build, arrays)
            for want in on_every_isa(row.build, arrays):
                largest = max(largest, distance(row, got, want))
    return largest


OPS = sorted(ids_of_ops_def() - DRAWS - {"poison", "input", "constant"})


@pytest.mark.parametrize("op", OPS)
def test_an_op_is_within_its_ulps_of_the_cpu(device, op):
    for dtype, stated in zip(TYPES, ULPS.get(op, (0, 0)), strict=True):
        allowed = stated + (CARD if device == "cuda" and dtype is np.float64 else 0)
        assert measure(device, op, dtype) <= allowed


if __name__ == "__main__":
    for op in OPS:
        found = [measure("cuda-host", op, dtype) for dtype in TYPES]
        if any(found):
            print(f'    "{op}": ({found[0]:.4g}, {found[1]:.4g}),')
