"""Every row of the table: values, edges, the adjoint identity, derivatives of orders 1 to 3."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ebmlib import _core
from tests.ops.table import DRAWS, ROWS, Row, ids_of_ops_def, ops

TYPES = {"f32": np.float32, "f64": np.float64}
MODES = ["".join(m) for n in (1, 2, 3) for m in itertools.product("fr", repeat=n)]
rows = pytest.mark.parametrize("row", ROWS, ids=lambda r: r.id)
smooth_rows = pytest.mark.parametrize(
    "row", [r for r in ROWS if r.differentiable], ids=lambda r: r.id
)


def draw(row: Row, float_type: type, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng([seed, len(row.op), *row.op.encode()])
    return [spec.draw(rng, float_type) for spec in row.inputs]


def run(build, arrays, fuse: bool = True) -> np.ndarray:
    """The value of build(graph, *nodes) at the arrays."""
    graph = _core.Graph()
    nodes = [graph.input(f"x{k}", a.dtype, a.shape, False) for k, a in enumerate(arrays)]
    out = build(graph, *nodes)
    graph.verify()
    (value,) = _core.Plan(graph, [out], fuse=fuse)(*arrays)
    return value


def close(got: np.ndarray, want: np.ndarray, ulp: float) -> None:
    """Equal shape, and equal to `ulp` units in the last place of the largest value."""
    assert got.shape == want.shape
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    scale = max(1.0, np.max(np.abs(want), initial=0))
    np.testing.assert_allclose(got, want, rtol=0, atol=ulp * np.finfo(got.dtype).eps * scale)


def test_every_op_has_a_row():
    covered = {row.op for row in ROWS} | DRAWS | {"poison"}
    assert ids_of_ops_def() <= covered


@rows
@pytest.mark.parametrize("dtype", TYPES)
def test_value(row, dtype):
    arrays = draw(row, TYPES[dtype])
    exact = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    close(run(row.build, arrays), np.asarray(row.ref(*exact)), row.ulp)


@rows
@pytest.mark.parametrize("dtype", TYPES)
def test_planned_equals_node_by_node(row, dtype):
    arrays = draw(row, TYPES[dtype], seed=1)
    planned, alone = run(row.build, arrays, True), run(row.build, arrays, False)
    assert planned.tobytes() == alone.tobytes()


EDGES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-30,
    -1e-30,
    1e30,
    -1e30,
    88.0,
    -88.0,
    np.inf,
    -np.inf,
    np.nan,
]


@pytest.mark.parametrize("row", [r for r in ROWS if r.edges], ids=lambda r: r.id)
@pytest.mark.parametrize("dtype", TYPES)
def test_edges(row, dtype):
    points = np.array(list(itertools.product(EDGES, repeat=len(row.inputs))), TYPES[dtype])
    arrays = [np.ascontiguousarray(column) for column in points.T]
    got = run(row.build, arrays)
    with np.errstate(all="ignore"):
        want = np.asarray(row.ref(*arrays))
    eps = np.finfo(TYPES[dtype]).eps
    tiny = np.finfo(TYPES[dtype]).tiny
    np.testing.assert_allclose(got, want, rtol=8 * eps, atol=tiny)


@pytest.mark.parametrize("row", [r for r in ROWS if r.edges], ids=lambda r: r.id)
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0, 2), (511,), (513,), (1025, 3)], ids=str)
def test_shapes(row, shape):
    """Empty, of size one, and around the block of the elementwise kernels."""
    rng = np.random.default_rng(3)
    arrays = [
        rng.uniform(max(spec.low, spec.away or spec.low), spec.high, shape).astype(np.float32)
        for spec in row.inputs
    ]
    exact = [a.astype(np.float64) for a in arrays]
    close(run(row.build, arrays), np.asarray(row.ref(*exact)), row.ulp)


# ---- derivatives -----------------------------------------------------------------------------
def floats(arrays) -> list[int]:
    return [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]


def forward(build, where, tangents):
    """Build -> its directional derivative along constant tangents, as another build."""

    def derivative(graph, *nodes):
        nodes = list(nodes)
        for k in where:
            nodes[k] = ops.mark(graph, nodes[k])
        out = build(graph, *nodes)
        constants = [graph.capture(t) for t in tangents]
        return graph.jvp([out], [nodes[k] for k in where], constants)[0]

    return derivative


def reverse(build, where, cotangent, tangents):
    """Build -> <gradient of <cotangent, build>, tangents>, as another build."""

    def derivative(graph, *nodes):
        nodes = list(nodes)
        for k in where:
            nodes[k] = ops.mark(graph, nodes[k])
        out = build(graph, *nodes)
        grads = graph.vjp([out], [graph.capture(cotangent)], [nodes[k] for k in where])
        total = None
        for grad, tangent in zip(grads, tangents, strict=True):
            part = ops.sum(graph, ops.mul(graph, grad, graph.capture(tangent)), None, False)
            total = part if total is None else ops.add(graph, total, part)
        return total

    return derivative


def along(build, arrays, where, tangents, step) -> np.ndarray:
    """d/dt build(x + t tangents) at 0 by the five-point rule, error O(step^4)."""

    def at(t):
        moved = list(arrays)
        for k, tangent in zip(where, tangents, strict=True):
            moved[k] = arrays[k] + t * tangent
        return run(build, moved)

    h = step
    return (at(-2 * h) - 8 * at(-h) + 8 * at(h) - at(2 * h)) / (12 * h)


@smooth_rows
def test_adjoint_identity(row):
    """<u, J v> = <J' u, v>, without finite differences."""
    arrays = draw(row, np.float64)
    rng = np.random.default_rng(5)
    where = floats(arrays)
    tangents = [rng.standard_normal(arrays[k].shape) for k in where]
    out = run(row.build, arrays)
    u = rng.standard_normal(out.shape)
    left = np.sum(u * run(forward(row.build, where, tangents), arrays))
    right = run(reverse(row.build, where, u, tangents), arrays)
    scale = max(1.0, np.abs(left))
    assert abs(left - right) <= 1e-10 * scale


@smooth_rows
@pytest.mark.parametrize("modes", MODES)
def test_derivative_along_a_line(row, modes):
    """The last of a nest of derivatives against differences of the nest without it."""
    arrays = draw(row, np.float64, seed=2)
    where = floats(arrays)
    rng = np.random.default_rng(7)
    build = row.build
    for depth, mode in enumerate(modes):
        tangents = [rng.standard_normal(arrays[k].shape) for k in where]
        value = run(build, arrays)
        u = rng.standard_normal(value.shape)
        if mode == "f":
            inner, build = build, forward(build, where, tangents)
            weight = np.ones(())
        else:
            inner, build = build, reverse(build, where, u, tangents)
            weight = u
        if depth < len(modes) - 1:
            continue
        want = along(inner, arrays, where, tangents, 4e-4)
        want = np.sum(weight * want) if mode == "r" else want
        got = run(build, arrays)
        scale = max(1.0, np.max(np.abs(want), initial=0), np.max(np.abs(value), initial=0))
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-7 * scale)


@pytest.mark.parametrize("row", [r for r in ROWS if r.linear_in], ids=lambda r: r.id)
def test_linear_rows_are_linear(row):
    """f(2 x - 3 y) = 2 f(x) - 3 f(y), in each input or in all at once."""
    arrays, others = draw(row, np.float64, 1), draw(row, np.float64, 2)
    groups = [[k] for k in row.linear_in] if row.op in MULTILINEAR else [list(row.linear_in)]
    for group in groups:
        second = [others[k] if k in group else a for k, a in enumerate(arrays)]
        mixed = [
            2 * a - 3 * b if k in group else a
            for k, (a, b) in enumerate(zip(arrays, second, strict=True))
        ]
        want = 2 * run(row.build, arrays) - 3 * run(row.build, second)
        np.testing.assert_allclose(
            run(row.build, mixed), want, atol=1e-12 * (1 + np.max(np.abs(want)))
        )


MULTILINEAR = {"matmul", "conv", "conv_data", "conv_weight"}
