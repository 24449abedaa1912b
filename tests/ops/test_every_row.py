"""What `test_ops.py` asks of each row, asked again of other types, layouts and sizes.

Every row goes through every test; what a row cannot do has its reason here.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from tests.ops.table import (
    OPS_DEF,
    ROWS,
    In,
    Row,
    adjoint,
    conv,
    ops,
    power_iteration,
    put_rows,
    scan,
    scan_reference,
    spectral_norm,
    standard,
)
from tests.ops.test_ops import (
    MODES,
    TYPES,
    close,
    draw,
    floats,
    forward,
    reverse,
    rows,
    run,
    smooth_rows,
)


# ---- float32 ---------------------------------------------------------------------------------
def nest(row: Row, modes: str, float_type: type) -> tuple[np.ndarray, np.ndarray]:
    """A nest of derivatives of the row along fixed random lines, and the size of its terms."""
    arrays = draw(row, float_type, seed=2)
    where = floats(arrays)
    rng = np.random.default_rng(11)
    build, size = row.build, 1.0
    for mode in modes:
        tangents = [rng.standard_normal(arrays[k].shape).astype(float_type) for k in where]
        value = run(build, arrays)
        u = rng.standard_normal(value.shape).astype(value.dtype)
        size = max(size, np.max(np.abs(value), initial=0))
        if mode == "f":
            build = forward(build, where, tangents)
        else:
            build = reverse(build, where, u, tangents)
    return run(build, arrays), size


@smooth_rows
@pytest.mark.parametrize("modes", MODES)
def test_derivatives_in_f32_are_those_in_f64(row, modes):
    got, size = nest(row, modes, np.float32)
    want, _ = nest(row, modes, np.float64)
    if row.op != "cast":
        assert got.dtype == np.float32
    scale = max(size, np.max(np.abs(want), initial=0))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * scale)


# ---- strided operands ------------------------------------------------------------------------
def turned(build, arrays):
    """The same function of inputs that lie backwards with their axes reversed."""

    def of_turned(graph, *nodes):
        straight = []
        for node in nodes:
            if node.ndim:
                back = [size - 1 for size in node.shape]
                node = ops.slice(graph, node, back, [-1] * node.ndim, node.shape)
                node = ops.permute(graph, node, range(node.ndim)[::-1])
            straight.append(node)
        return build(graph, *straight)

    return of_turned, [
        np.ascontiguousarray(a.T[(slice(None, None, -1),) * a.ndim]) for a in arrays
    ]


def strided(array: np.ndarray) -> np.ndarray:
    """The same values in every second place of a larger array, backwards."""
    room = np.zeros([2 * size + 1 for size in array.shape], array.dtype)
    view = room[tuple(slice(2 * size - 1, None if size else 0, -2) for size in array.shape)]
    view = view[tuple(slice(size) for size in array.shape)]
    view[...] = array
    return view


@rows
@pytest.mark.parametrize("dtype", TYPES)
def test_strided(row, dtype):
    """Views in the graph and views in NumPy give the bits of contiguous operands."""
    arrays = draw(row, TYPES[dtype], seed=3)
    want = run(row.build, arrays)
    for fuse in (True, False):
        assert run(*turned(row.build, arrays), fuse).tobytes() == want.tobytes()
    assert run(row.build, [strided(a) for a in arrays]).tobytes() == want.tobytes()


@smooth_rows
@pytest.mark.parametrize("mode", ["f", "r"])
def test_strided_derivatives(row, mode):
    arrays = draw(row, np.float64, seed=3)
    rng = np.random.default_rng(13)
    where = floats(arrays)
    tangents = [rng.standard_normal(arrays[k].shape) for k in where]
    u = rng.standard_normal(run(row.build, arrays).shape)
    build, lying = turned(row.build, arrays)
    _, turned_tangents = turned(row.build, tangents)
    if mode == "f":
        want = run(forward(row.build, where, tangents), arrays)
        got = run(forward(build, where, turned_tangents), lying)
    else:
        want = run(reverse(row.build, where, u, tangents), arrays)
        got = run(reverse(build, where, u, turned_tangents), lying)
    scale = 1 + np.sum(np.abs(u))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13 * scale)


# ---- sizes 0 and 1 ---------------------------------------------------------------------------
REFUSALS = (ValueError, IndexError)  # ShapeError is a ValueError


def small_rows(n: int) -> list[Row]:
    """Small forms of the ops whose rows have their sizes written into them."""
    same = (1, 1, 1, 1, 1, 1, 1, 1, 1)
    images, kernel, window = (n, 4, 5, 2), (3, 3, 2, 3), (n, 2, 3, 3)
    maps = (n, 4, 5, 3)
    places = In(window, 0, 30, dtype="int32")
    index = In((n,), 0, 6, dtype="int32")

    def window_take(x, i):
        flat = x.reshape(n, 30, 3)
        return np.take_along_axis(flat, i.reshape(n, 6, 3), 1).reshape(i.shape)

    def window_put(v, i):
        y = np.zeros((n, 30, 3), v.dtype)
        for k in np.ndindex(i.shape):
            y[k[0], i[k], k[3]] += v[k]
        return y.reshape(n, 6, 5, 3)

    def padded(x):
        y = np.zeros((2 * n + 1, 4), x.dtype)
        y[1::2, ::-1] = x
        return y

    def scattered(v, i):
        y = np.zeros((2, 6, 3), v.dtype)
        np.add.at(y, (slice(None), i), v)
        return y

    def conv_weight(x, q):
        return adjoint(lambda w: conv(x, w, same), kernel, q)

    def conv_data(q, w):
        return adjoint(lambda x: conv(x, w, same), images, q)

    def pooled(x):
        return x.reshape(n, 2, 2, 3, 2, 3).mean((2, 4))

    def normed(x, a, b):
        split = x.reshape(n, 9, 2, 2)
        return standard(split, (1, 3)).reshape(x.shape) * a + b

    return [
        Row("broadcast", lambda g, x: ops.broadcast_to(g, x, (2, n, 4)), (In((n, 1)),),
            lambda x: np.broadcast_to(x, (2, n, 4))),
        Row("broadcast", lambda g, x: ops.broadcast_axes(g, x, (n, 2, 4), (0, 2)),
            (In((n, 4)),), lambda x: np.broadcast_to(x[:, None], (n, 2, 4)), "axes"),
        Row("reshape", lambda g, x: ops.reshape(g, x, (2, 2 * n)), (In((n, 4)),),
            lambda x: x.reshape(2, 2 * n)),
        Row("slice", lambda g, x: ops.slice(g, x, (0, 4), (1, -2), (n, 3)), (In((n, 5)),),
            lambda x: x[:, ::-2]),
        Row("slice", lambda g, x: ops.slice(g, x, (0, 4), (1, -2), (n, n)), (In((3, 5)),),
            lambda x: x[:n, ::-2][:, :n], "out"),
        Row("pad", lambda g, x: ops.pad(g, x, (1, 3), (2, -1), (2 * n + 1, 4)), (In((n, 4)),),
            padded),
        Row("iota", lambda g, x: ops.add(g, x, ops.cast(g, ops.iota(g, "int32", (n, 3), 1),
            x.dtype)), (In((n, 3)),), lambda x: x + np.arange(3, dtype=x.dtype)),
        Row("constant", lambda g, x: ops.add(g, x, ops.full(g, x.dtype, (n, 3), 0.1)),
            (In((n, 3)),), lambda x: x + x.dtype.type(0.1)),
        Row("scatter_add", lambda g, v, i: ops.scatter_add(g, v, i, 1, 6),
            (In((2, n, 3)), index), scattered),
        Row("put", ops.put, (In((6, 3)), index, In((n, 3))), put_rows),
        Row("window_take", ops.window_take, (In((n, 6, 5, 3)), places), window_take),
        Row("window_put", lambda g, v, i: ops.window_put(g, v, i, 6, 5), (In(window), places),
            window_put),
        Row("conv_data", lambda g, q, w: ops.conv_data(g, q, w, same, 4, 5),
            (In(maps), In(kernel)), conv_data, ulp=32),
        Row("conv_weight", lambda g, x, q: ops.conv_weight(g, x, q, same, 3, 3),
            (In(images), In(maps)), conv_weight, ulp=32),
        Row("avg_pool", lambda g, x: ops.avg_pool(g, x, 2), (In((n, 4, 6, 3)),), pooled),
        Row("weight_norm", ops.weight_norm, (In((n + 1, 3, 4), away=0.2), In((4,))),
            lambda v, a: a * v / np.sqrt((v * v).sum((0, 1))), ulp=8),
        Row("power_iteration", lambda g, w, u: ops.power_iteration(g, w, u, 3),
            (In((n + 1, 3, 4)), In((4,))), lambda w, u: power_iteration(w, u, 3),
            differentiable=False, ulp=64),
        Row("spectral_norm", ops.spectral_norm, (In((n + 1, 3, 4)), In((4,), 0.2, 1.0)),
            spectral_norm, differentiable=False, ulp=64),
        Row("depth_to_space", lambda g, x: ops.depth_to_space(g, x, 2), (In((n, 3, 2, 12)),),
            lambda x: x.reshape(n, 3, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5)
            .reshape(n, 6, 4, 3)),
        Row("space_to_depth", lambda g, x: ops.space_to_depth(g, x, 2), (In((n, 6, 4, 3)),),
            lambda x: x.reshape(n, 3, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5)
            .reshape(n, 3, 2, 12)),
        Row("cross_entropy", ops.cross_entropy, (In((n, 6)), In((n,), 0, 6, dtype="int32")),
            lambda x, y: -special.log_softmax(x, 1)[np.arange(n), y], ulp=8),
        Row("group_norm", lambda g, x, a, b: ops.group_norm(g, x, 2, a, b, 1e-3),
            (In((n, 3, 3, 4)), In((4,)), In((4,))), normed, ulp=16),
        Row("sort", lambda g, x: ops.sort(g, x, 0), (In((n, 4)),), lambda x: np.sort(x, 0)),
        Row("take_along", lambda g, x, i: ops.take_along(g, x, i, 1),
            (In((n, 6)), In((n, 3), 0, 6, dtype="int32")),
            lambda x, i: np.take_along_axis(x, i, 1)),
        Row("repeat", scan, (In((n, 2)), In((2, 2)), In((4, n, 2), -0.3, 0.3)), scan_reference,
            ulp=64),
    ]  # fmt: skip


SIZED = {row.op for row in small_rows(1)}


def resized(row: Row, size: int) -> list[list[In]]:
    """The inputs with one of the sizes that occur, or all of them, replaced everywhere."""
    sizes = sorted({n for spec in row.inputs for n in spec.shape})
    groups = [{n} for n in sizes] + ([set(sizes)] if len(sizes) > 1 else [])
    return [
        [
            replace(spec, shape=tuple(size if n in group else n for n in spec.shape))
            for spec in row.inputs
        ]
        for group in groups
    ]


def check_values(row: Row, specs: list[In], float_type: type) -> bool:
    """Value and adjoint for these inputs; False if only the reference takes their shapes."""
    rng = np.random.default_rng(17)
    arrays = [spec.draw(rng, float_type) for spec in specs]
    exact = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    try:
        got = run(row.build, arrays)
    except REFUSALS:
        return reference(row, exact) is None
    close(got, np.asarray(reference(row, exact)), row.ulp)
    assert run(row.build, arrays, fuse=False).tobytes() == got.tobytes()
    if row.differentiable and float_type is np.float64 and np.isfinite(got).all():
        check_adjoint(row, arrays)
    return True


def reference(row: Row, arrays: list[np.ndarray]) -> np.ndarray | None:
    """None if it refuses the arrays."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # for means of nothing
            return row.ref(*arrays)
    except REFUSALS:
        return None


def check_adjoint(row: Row, arrays: list[np.ndarray]) -> None:
    rng = np.random.default_rng(19)
    where = floats(arrays)
    tangents = [rng.standard_normal(arrays[k].shape) for k in where]
    u = rng.standard_normal(run(row.build, arrays).shape)
    along = run(forward(row.build, where, tangents), arrays)
    assert along.shape == u.shape
    against = run(reverse(row.build, where, u, tangents), arrays)
    np.testing.assert_allclose(np.sum(u * along), against, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("row", [r for r in ROWS if r.op not in SIZED], ids=lambda r: r.id)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [0, 1])
def test_sizes(row, dtype, size):
    """Every op takes arrays with an axis of this size, or refuses them; some are taken."""
    taken = [check_values(row, specs, TYPES[dtype]) for specs in resized(row, size)]
    assert any(taken), f"{row.id} takes no size {size}: give it a row in small_rows"


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("dtype", TYPES)
def test_sizes_of_sized_rows(size, dtype):
    for row in small_rows(size):
        assert check_values(row, row.inputs, TYPES[dtype]), row.id


def test_small_rows_are_of_the_table():
    assert {row.op for row in ROWS} >= SIZED


WITHOUT = set(re.findall(r"^NON\((\w+),", OPS_DEF.read_text(), re.M))
ROWS_WITHOUT = [row for row in ROWS if row.op in WITHOUT and not row.differentiable]


# ---- what has no derivative ------------------------------------------------------------------
@pytest.mark.parametrize("row", ROWS_WITHOUT, ids=lambda r: r.id)
def test_no_derivative_is_zero(row):
    """Rows without a derivative have zeros for it, in both modes, not an error."""
    arrays = draw(row, np.float64)
    where = floats(arrays)
    if not where or run(row.build, arrays).dtype.kind != "f":
        return
    ones = [np.ones(arrays[k].shape) for k in where]
    u = np.ones(run(row.build, arrays).shape)
    assert not run(forward(row.build, where, ones), arrays).any()
    assert not run(reverse(row.build, where, u, ones), arrays).any()
