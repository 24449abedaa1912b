"""The CUDA kernels, on the host, against the CPU's.

Every op goes through `cuda-host` with the rows of the table (EBMLIB_TEST_DEVICE); here are
draws, whose bits are the same on both, and the sizes at the edges of tiles.
"""

from __future__ import annotations

import numpy as np
import pytest

from ebmlib import _core
from ebmlib.errors import DeviceError
from tests.ops.table import ops
from tests.ops.test_ops import close


@pytest.fixture(scope="module", autouse=True)
def library():
    try:
        _core.Plan(_core.Graph(), [], device="cuda-host")
    except DeviceError as missing:
        pytest.skip(str(missing))


def on(device, build, *arrays) -> np.ndarray:
    """The value of build(graph, *nodes) at the arrays, node by node."""
    graph = _core.Graph()
    nodes = [graph.input(None, a.dtype, a.shape, False) for a in arrays]
    plan = _core.Plan(graph, [build(graph, *nodes)], fuse=False, device=device)
    return plan(*arrays)[0]


def check_same(build, *arrays) -> None:
    """Both devices give the same bits."""
    want, got = (on(device, build, *arrays) for device in ("cpu", "cuda-host"))
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert got.tobytes() == want.tobytes()


# ---- draws -----------------------------------------------------------------------------------
def draws(purpose, shape):
    """A build of every draw, by name."""
    return {
        "bits": lambda g, k: ops.random_bits(g, k, purpose, shape),
        "randint": lambda g, k: ops.randint(g, k, purpose, 1000003, shape),
        "uniform-f32": lambda g, k: ops.uniform(g, k, purpose, "float32", shape),
        "uniform-f64": lambda g, k: ops.uniform(g, k, purpose, "float64", shape),
        "normal-f32": lambda g, k: ops.normal(g, k, purpose, "float32", shape),
        "normal-f64": lambda g, k: ops.normal(g, k, purpose, "float64", shape),
    }


each_draw = pytest.mark.parametrize("name", draws(0, ()))


@each_draw
@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (15,), (17,), (63,), (64,), (65, 3), (100_003,)], ids=str
)
def test_draws(name, shape):
    for key in ([123456789, -987654321], [0, 0], [-1, 2**31 - 1]):
        check_same(draws(7, shape)[name], np.array(key, np.int32))


@each_draw
@pytest.mark.parametrize("row", [0, 2, 5, 2**31 - 1])
def test_draws_of_a_row(name, row):
    """A key of three words: the draw begins with that row."""
    check_same(draws(-3, (6, 64))[name], np.array([5, -6, row], np.int32))


def test_draws_of_a_row_inside_a_group_are_refused():
    for device, error in (("cpu", ValueError), ("cuda-host", IndexError)):
        with pytest.raises(error):
            on(device, draws(0, (6, 7))["bits"], np.array([5, -6, 3], np.int32))


@pytest.mark.parametrize("data", [0, 1, -1, 2**31 - 1])
def test_fold_in(data):
    for key in ([3, -4], [3, -4, 17]):
        check_same(ops.fold_in, np.array(key, np.int32), np.array(data, np.int32))


# ---- movement --------------------------------------------------------------------------------
MOVES = {
    "permute": lambda g, x: ops.permute(g, x, (1, 0, 2)),
    "turn": lambda g, x: ops.permute(g, x, (2, 1, 0)),
    "turn-inner": lambda g, x: ops.permute(g, x, (0, 2, 1)),
    "rotate": lambda g, x: ops.permute(g, x, (2, 0, 1)),
    "backwards": lambda g, x: ops.slice(g, x, [n - 1 for n in x.shape], (-1, -1, -1), x.shape),
    "every-second": lambda g, x: ops.slice(
        g, x, (0, 0, 0), (1, 2, 2), (x.shape[0], (x.shape[1] + 1) // 2, (x.shape[2] + 1) // 2)
    ),
    "inner": lambda g, x: ops.slice(
        g, x, (0, 1, 1), (1, 1, 1), (x.shape[0], x.shape[1] - 2, x.shape[2] - 2)
    ),
    "border": lambda g, x: ops.pad(
        g, x, (0, 2, 1), (1, 1, 1), (x.shape[0], x.shape[1] + 3, x.shape[2] + 2)
    ),
    "spread": lambda g, x: ops.pad(
        g,
        x,
        (1, 0, 2 * x.shape[2]),
        (2, 1, -2),
        (2 * x.shape[0], *x.shape[1:-1], 2 * x.shape[2] + 1),
    ),
    "concat": lambda g, x: ops.concat(g, (x, x), 1),
    "concat-inner": lambda g, x: ops.concat(g, (x, x), 2),
    "repeat": lambda g, x: ops.broadcast_axes(g, x, (*x.shape, 5), (0, 1, 2)),
    "repeat-outer": lambda g, x: ops.broadcast_axes(g, x, (3, *x.shape), (1, 2, 3)),
    "reshape": lambda g, x: ops.reshape(g, x, (x.size,)),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("shape", [(5, 4, 4), (3, 33, 65), (32, 64, 8), (1, 40, 31)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool", "uint8"])
def test_moves(move, shape, dtype):
    x = np.arange(np.prod(shape)).reshape(shape) * 7 % 251
    check_same(MOVES[move], x.astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_iota(dtype, axis):
    check_same(lambda g: ops.iota(g, dtype, (7, 300, 2), axis))


# ---- products --------------------------------------------------------------------------------
def check_close(build, *arrays, terms: int) -> None:
    """Right to a unit in the last place of the largest value for every term of a sum."""
    want = on("cpu", build, *(a.astype(np.float64) for a in arrays))
    got = on("cuda-host", build, *arrays)
    assert got.dtype == arrays[0].dtype
    close(got, want, terms + 4)


PRODUCTS = [  # batch axes, M, N, K: elements, tiles and parts of K, and their edges
    ((), 1, 1, 1),
    ((), 300, 5, 16),
    ((7, 3), 3, 4, 64),
    ((), 64, 64, 64),
    ((2,), 65, 63, 17),
    ((), 130, 1, 100),
    ((), 1, 130, 47),
    ((3,), 5, 70, 700),
    ((), 33, 20, 2049),
    ((2,), 20, 20, 0),
]


@pytest.mark.parametrize("case", PRODUCTS, ids=str)
@pytest.mark.parametrize("stored", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products(case, stored, dtype):
    batch, m, n, k = case
    ta, tb = stored
    rng = np.random.default_rng(m + n + k)
    a = rng.standard_normal((*batch, k, m) if ta else (*batch, m, k)).astype(dtype)
    b = rng.standard_normal((*batch, n, k) if tb else (*batch, k, n)).astype(dtype)
    check_close(lambda g, x, y: ops.matmul_ex(g, x, y, ta, tb), a, b, terms=k)


# ---- convolutions ----------------------------------------------------------------------------
# x (N, H, W, C), kh, kw, O, and strides, top, bottom, left, right, dilations, groups.
CONVOLUTIONS = {
    "plain": ((2, 9, 7, 5), 3, 3, 20, (1, 1, 1, 1, 1, 1, 1, 1, 1)),
    "strides": ((2, 12, 11, 20), 4, 3, 33, (2, 3, 1, 1, 0, 2, 1, 1, 1)),
    "dilations": ((1, 14, 15, 17), 3, 2, 18, (1, 2, 2, 0, 1, 3, 3, 2, 1)),
    "strides-and-dilations": ((3, 17, 16, 3), 3, 3, 6, (4, 2, 3, 3, 3, 3, 2, 4, 1)),
    "few-taps": ((2, 8, 8, 3), 1, 1, 40, (3, 2, 0, 0, 0, 0, 1, 1, 1)),
    "one-tap": ((2, 9, 8, 19), 1, 1, 21, (1, 1, 0, 0, 0, 0, 1, 1, 1)),
    "groups": ((2, 6, 7, 24), 3, 3, 12, (1, 1, 1, 1, 1, 1, 1, 1, 3)),
    "wide-groups": ((1, 6, 6, 80), 2, 3, 70, (1, 2, 0, 1, 1, 1, 1, 1, 2)),
    "depthwise": ((2, 9, 8, 5), 3, 4, 5, (2, 1, 1, 2, 0, 3, 1, 2, 5)),
    "parts": ((8, 16, 15, 130), 3, 3, 17, (1, 1, 1, 1, 1, 1, 1, 1, 1)),
    "depthwise-parts": ((8, 16, 15, 3), 2, 2, 3, (1, 1, 1, 1, 1, 1, 1, 1, 3)),
    "far-border": ((1, 3, 4, 2), 3, 3, 3, (1, 1, 5, 4, 6, 7, 1, 1, 1)),
    "large": ((5, 32, 30, 65), 3, 3, 100, (1, 1, 1, 1, 1, 1, 1, 1, 1)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("op", ["conv", "conv_data", "conv_weight"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolutions(case, op, dtype):
    (n, height, width, c), kh, kw, o, geometry = CONVOLUTIONS[case]
    sh, sw, top, bottom, left, right, dh, dw, groups = geometry
    oh = (height + top + bottom - dh * (kh - 1) - 1) // sh + 1
    ow = (width + left + right - dw * (kw - 1) - 1) // sw + 1
    rng = np.random.default_rng(len(case))
    x = rng.standard_normal((n, height, width, c)).astype(dtype)
    w = rng.standard_normal((kh, kw, c // groups, o)).astype(dtype)
    q = rng.standard_normal((n, oh, ow, o)).astype(dtype)
    if op == "conv":
        check_close(lambda g, x, w: ops.conv(g, x, w, geometry), x, w, terms=kh * kw * c)
    elif op == "conv_data":
        check_close(
            lambda g, q, w: ops.conv_data(g, q, w, geometry, height, width),
            q,
            w,
            terms=kh * kw * o,
        )
    else:
        check_close(
            lambda g, x, q: ops.conv_weight(g, x, q, geometry, kh, kw), x, q, terms=n * oh * ow
        )
