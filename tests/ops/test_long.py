"""Sizes at which kernels go another way: long rows, many indices, large matrices."""

import numpy as np
import pytest

from tests.ops.table import ops
from tests.ops.test_ops import TYPES, run

#: shape, axis: work of one thread, a warp, a block, several blocks; along rows and columns
ALONG = [
    ((16,), 0),
    ((3, 17), 1),
    ((9, 1000), 1),
    ((3, 4097), 1),
    ((70001,), 0),
    ((65, 3), 0),
    ((3000, 3), 0),
    ((300, 40), 0),
    ((2, 700, 33), 1),
    ((2, 20000, 3), 1),
]
along = pytest.mark.parametrize(("shape", "axis"), ALONG, ids=str)
types = pytest.mark.parametrize("dtype", [*TYPES.values(), np.int32], ids=lambda t: t.__name__)


def whole(rng, shape, dtype) -> np.ndarray:
    """Whole numbers, whose sums are exact in every order."""
    return rng.integers(-40, 40, shape).astype(dtype)


@along
@types
def test_along_an_axis(rng, shape, axis, dtype):
    x = whole(rng, shape, dtype)
    total = run(lambda g, x: ops.sum(g, x, [axis], False), [x])
    np.testing.assert_array_equal(total, x.sum(axis, dtype=dtype))
    for back in (False, True):
        turned = np.flip(x, axis) if back else x
        want = np.cumsum(turned, axis, dtype=dtype)
        got = run(lambda g, x, back=back: ops.cumsum(g, x, axis, back), [x])
        np.testing.assert_array_equal(got, np.flip(want, axis) if back else want)
    for nans in (0, 2) if dtype != np.int32 else (0,):
        x[rng.random(shape) < nans / shape[axis]] = np.nan if nans else 0
        largest = run(lambda g, x: ops.max(g, x, [axis], False), [x])
        place = run(lambda g, x: ops.argmax(g, x, axis), [x])
        np.testing.assert_array_equal(largest, x.max(axis))
        np.testing.assert_array_equal(place, x.argmax(axis))


def test_several_axes(rng):
    x = rng.standard_normal((6, 5, 40, 3, 70))
    for axes in ([0, 2, 4], [1, 3], [0, 1, 2, 3, 4], [2, 3], []):
        total = run(lambda g, x, axes=axes: ops.sum(g, x, axes, False), [x])
        np.testing.assert_allclose(total, x.sum(tuple(axes)), rtol=0, atol=1e-11)


@pytest.mark.parametrize("op", ["sum", "cumsum"])
def test_a_row_has_the_same_bits_in_any_batch(rng, op):
    build = {
        "sum": lambda g, x: ops.sum(g, x, [1], False),
        "cumsum": lambda g, x: ops.cumsum(g, x, 1, False),
    }[op]
    for n in (20, 500, 5000):
        x = rng.standard_normal((50, n)).astype(np.float32)
        assert run(build, [x])[7].tobytes() == run(build, [x[7:8]])[0].tobytes()


@along
@pytest.mark.parametrize(
    "dtype", [*TYPES.values(), np.int32, np.uint8], ids=lambda t: t.__name__
)
def test_argsort(rng, shape, axis, dtype):
    x = rng.integers(0, 200, shape).astype(dtype)
    if x.dtype.kind == "f":
        x[rng.random(shape) < 0.01] = np.nan
        x[x == 0] *= -1
    order = run(lambda g, x: ops.argsort(g, x, axis), [x])
    np.testing.assert_array_equal(order, np.argsort(x, axis, kind="stable"))


#: axes before, size of the axis, axes behind, shape of the indices
INDEXED = [
    ((), 300, (), (2000,)),
    ((2,), 40, (3,), (50, 41)),
    ((), 1, (8,), (1500,)),
    ((), 2000, (2,), (3,)),
    ((5,), 9, (), ()),
    ((3,), 6, (4,), (2, 3)),
]


@pytest.mark.parametrize(("before", "size", "behind", "places"), INDEXED, ids=str)
@types
def test_indices(rng, before, size, behind, places, dtype):
    """The same bits as a loop over the indices; a bad one is named."""
    axis = len(before)
    x = whole(rng, (*before, size, *behind), dtype)
    i = np.asarray(rng.integers(0, size, places, np.int32))
    v = (rng.standard_normal((*before, *places, *behind)) * 30).astype(dtype)

    def take(g, x, i):
        return ops.take(g, x, i, axis)

    def add(g, v, i):
        return ops.scatter_add(g, v, i, axis, size)

    np.testing.assert_array_equal(run(take, [x, i]), np.take(x, i, axis))
    want = np.zeros_like(x)
    to = want.reshape(-1, size, *behind)
    for k, row in enumerate(i.ravel()):
        to[:, row] += v.reshape(-1, i.size, *behind)[:, k]
    assert run(add, [v, i]).tobytes() == want.tobytes()
    for bad in (-1, size, -(2**31), 2**31 - 1):
        wrong = i.copy()
        wrong[np.unravel_index(rng.integers(i.size), i.shape)] = bad
        for build, array in ((take, x), (add, v)):
            with pytest.raises(IndexError, match=f"got {bad},"):
                run(build, [array, wrong])


@pytest.mark.parametrize("row", [(), (3,), (2, 8)], ids=str)
@pytest.mark.parametrize("m", [0, 20, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8], ids=lambda t: t.__name__)
def test_put_of_equal_indices(rng, row, m, dtype):
    x, v = rng.integers(0, 99, (60, *row)), rng.integers(0, 99, (m, *row))
    x, v, i = x.astype(dtype), v.astype(dtype), rng.integers(0, 60, m, np.int32)
    want = x.copy()
    for k, place in enumerate(i):
        want[place] = v[k]
    np.testing.assert_array_equal(run(ops.put, [x, i, v]), want)


@pytest.mark.parametrize("n", [1, 9, 33, 81])
@pytest.mark.parametrize("dtype", TYPES)
def test_matrices(rng, n, dtype):
    eps = np.finfo(TYPES[dtype]).eps
    half = rng.standard_normal((2, n, n))
    a = (half @ np.swapaxes(half, -1, -2) / n + np.eye(n)).astype(TYPES[dtype])
    b, exact = rng.standard_normal((2, n, 3)).astype(TYPES[dtype]), a.astype(np.float64)
    triangle = np.linalg.cholesky(exact)

    def near(got, want, ulps=64):
        scale = max(1, np.max(np.abs(want)))
        np.testing.assert_allclose(got, want, rtol=0, atol=ulps * eps * scale)

    near(run(ops.cholesky, [a]), triangle)
    near(run(ops.solve, [a, b]), np.linalg.solve(exact, b))
    near(run(ops.slogdet, [a]), np.stack(np.linalg.slogdet(exact), -1), 64 * n)
    lower = triangle.astype(TYPES[dtype])
    solved = run(lambda g, a, b: ops.solve_triangular(g, a, b, True, False), [lower, b])
    near(solved, np.linalg.solve(lower.astype(np.float64), b))
    both = run(ops.eigh, [a])
    values, vectors = both[:, :1].astype(np.float64), both[:, 1:].astype(np.float64)
    near(values[:, 0], np.linalg.eigvalsh(exact))
    near((vectors * values) @ np.swapaxes(vectors, -1, -2), exact)
