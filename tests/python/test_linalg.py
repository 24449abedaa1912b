"""Matrices, order, quantiles and products: traced functions give what NumPy gives."""

import numpy as np
import pytest
import scipy.linalg

import ebmlib as ebm
from ebmlib import _core
from ebmlib import functional as F
from tests.python.test_numpy_functions import check

rng = np.random.default_rng(1)
A = rng.standard_normal((5, 5)) + 3 * np.eye(5)
STACK = rng.standard_normal((2, 3, 4, 4)) + 3 * np.eye(4)
SPD = STACK @ np.swapaxes(STACK, -1, -2)
B = rng.standard_normal((2, 3, 4, 2))
PLACES = np.array([[[0, -1]], [[2, 1]], [[7, -8]]])
V = rng.standard_normal(4)
X = rng.standard_normal((6, 7))
CUBE = rng.standard_normal((3, 8, 2))
INT = rng.integers(-3, 4, (5, 6)).astype(np.int32)
TIES = np.array([[0.0, np.nan, -0.0, 1.0, 0.0], [np.inf, -np.inf, np.nan, np.nan, -1.0]])


def cases(*rows):
    """A test for each (function, arrays...), in both float types."""
    return pytest.mark.parametrize(
        ("function", "args"), [(f, args) for f, *args in rows], ids=range(len(rows))
    )


MATRICES = cases(
    (lambda a: np.linalg.cholesky(a), SPD),
    (lambda a: np.linalg.cholesky(a, upper=True), SPD[0, 0]),
    (lambda a: np.linalg.cholesky(np.tril(a)), SPD),  # only this triangle is read
    (lambda a: np.linalg.cholesky(np.triu(a), upper=True), SPD),
    (lambda a, b: np.linalg.solve(a, b), STACK, B),
    (lambda a, b: np.linalg.solve(a, b), STACK, V),
    (lambda a, b: np.linalg.solve(a, b), STACK[0, 0], B),
    (lambda a, b: np.linalg.solve(a, b), STACK, B[1, 2]),
    (lambda a, b: np.linalg.solve(a, b), A, A[:, 0]),
    (lambda a: np.linalg.solve(a.T, a[:, ::2]), A),
    (lambda a: np.linalg.inv(a), STACK),
    (lambda a: np.linalg.det(a), STACK),
    (lambda a: np.linalg.det(-a), A),
    (lambda a: np.linalg.slogdet(a), -STACK[:, :, :3, :3]),
    (lambda a: np.linalg.eigvalsh(a), SPD),
    (lambda a: np.linalg.eigvalsh(np.triu(a), UPLO="U"), SPD),
    (lambda a: np.linalg.matrix_power(a, 5), STACK),
    (lambda a: np.linalg.matrix_power(a, 0), STACK),
    (lambda a: np.linalg.matrix_power(a, -3), A),
    (lambda a, b: np.linalg.multi_dot([a, b.T, b, a[:, 0]]), A, X[:, :5]),
    (lambda a: np.linalg.multi_dot([a[0], a, a[1]]), A),
    (lambda a: np.linalg.multi_dot([a, a]), A),
    (lambda a: np.linalg.trace(a) + np.linalg.trace(a, offset=1), STACK),
    (lambda a: np.linalg.diagonal(a, offset=-1), STACK),
    (lambda a: np.linalg.matrix_transpose(a), STACK),
    (lambda a, b: np.linalg.matmul(a, b), STACK, B),
    (lambda a: np.linalg.outer(a, a), V),
    (lambda a: np.linalg.tensordot(a, a, axes=1), A),
)


@MATRICES
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_matrices(function, args, dtype):
    check(function, [a.astype(dtype) for a in args], rtol=1e-11 if dtype == "float64" else 3e-4)


@pytest.mark.parametrize("n", [0, 1])
def test_matrices_without_elements_and_of_size_one(n):
    for batch in ((), (0,), (3,)):
        a = np.full((*batch, n, n), 4.0)
        check(lambda a: np.linalg.cholesky(a), (a,))
        check(lambda a: np.linalg.inv(a), (a,))
        check(lambda a: np.linalg.slogdet(a), (a,))
        check(lambda a: np.linalg.solve(a, np.ones((n, 0))), (a,))
        check(lambda a: np.linalg.eigvalsh(a), (a,))


def test_matrices_of_integers_are_float64():
    a = np.array([[2, 1], [1, 3]], np.int32)
    check(lambda a: np.linalg.inv(a), (a,))
    check(lambda a: np.linalg.matrix_power(a, 3), (a,))
    check(lambda a: np.linalg.solve(a, np.array([1, 2], np.int32)), (a,))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_eigh(dtype):
    a = SPD.astype(dtype)
    w, v = ebm.jit(lambda a: np.linalg.eigh(a))(a)
    assert w.dtype == v.dtype == a.dtype
    exact = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(w, np.linalg.eigvalsh(SPD), rtol=exact)
    np.testing.assert_allclose(
        v @ (w[..., None] * np.swapaxes(v, -1, -2)), SPD, atol=40 * exact
    )
    np.testing.assert_allclose(
        np.swapaxes(v, -1, -2) @ v, np.broadcast_to(np.eye(4), v.shape), atol=exact
    )


def whitened(a):
    """Sum (V' a)^2 / w with constant w, V: the gradient is 2 V diag(1/w) V' a, which is 2."""
    w, v = ebm.stop_gradient(np.linalg.eigh(a))
    return np.sum((np.swapaxes(v, -1, -2) @ a) ** 2 / w[..., None])


def test_eigh_has_no_derivative():
    for f in (lambda a: np.linalg.eigh(a)[0].sum(), lambda a: np.linalg.eigh(a)[1][0, 0]):
        with pytest.raises(NotImplementedError, match=r"eigh: .* wrap .* ebm\.stop_gradient"):
            ebm.grad(f)(SPD[0, 0])
        with pytest.raises(NotImplementedError, match=r"eigh: .* wrap .* ebm\.stop_gradient"):
            ebm.jvp(f, (SPD[0, 0],), (SPD[0, 0],))
    a = SPD[0, 0]
    np.testing.assert_allclose(ebm.grad(whitened)(a), 2 * np.eye(4), atol=1e-12)
    v = np.linalg.eigh(a)[1]
    inside = ebm.grad(lambda a: np.sum(a * np.linalg.eigh(ebm.stop_gradient(a))[1]))(a)
    np.testing.assert_allclose(np.abs(inside), np.abs(v), atol=1e-12)


def test_solve_triangular_is_scipys():
    for lower in (False, True):
        for trans in (False, True):
            got = F.solve_triangular(A, X[:5], lower=lower, trans=trans)
            want = scipy.linalg.solve_triangular(A, X[:5], trans=int(trans), lower=lower)
            np.testing.assert_allclose(got, want, rtol=1e-12)
            traced = ebm.jit(lambda a, b, lo=lower, t=trans: F.solve_triangular(a, b, lo, t))
            np.testing.assert_array_equal(traced(A, X[:5]), got)
            vector = F.solve_triangular(A, X[:5, 0], lower=lower, trans=trans)
            np.testing.assert_allclose(vector, want[:, 0], rtol=1e-12)


def test_what_has_no_value_is_nan():
    """One bad matrix of a batch, and the others as if it were not there."""
    spd, regular = SPD[0].copy(), STACK[0].copy()
    spd[1, 2, 2] = -1
    regular[1, :, 3] = regular[1, :, 0]
    regular[1] = np.round(4 * regular[1]) / 4  # elimination leaves an exact zero
    for f, a in (
        (np.linalg.cholesky, spd),
        (np.linalg.inv, regular),
        (lambda a: np.linalg.solve(a, V), regular),
    ):
        got = ebm.jit(lambda a, f=f: f(a))(a)
        assert np.isnan(got[1]).all()
        for k in (0, 2):
            np.testing.assert_allclose(got[k], f(a[k]), rtol=1e-12, atol=1e-14)
    sign, size = ebm.jit(lambda a: np.linalg.slogdet(a))(regular)
    assert (sign[1], size[1]) == (0, -np.inf)
    assert ebm.jit(lambda a: np.linalg.det(a))(regular)[1] == 0


def test_matrices_in_a_loop():
    """Newton's steps towards the inverse, and a Cholesky factor in each step."""

    def loop(a):
        def body(i, x):
            return x + np.linalg.solve(a + i * np.eye(4), np.linalg.cholesky(a) - x)

        return ebm.repeat(body, 3, a)

    def unrolled(a):
        x = a
        for i in range(3):
            x = x + np.linalg.solve(a + i * np.eye(4), np.linalg.cholesky(a) - x)
        return x

    a = SPD[0, 0]
    np.testing.assert_allclose(ebm.jit(loop)(a), unrolled(a), rtol=1e-11)
    np.testing.assert_allclose(
        ebm.grad(lambda a: np.sum(loop(a) ** 2))(a),
        ebm.grad(lambda a: np.sum(unrolled(a) ** 2))(a),
        rtol=1e-10,
    )


def test_text_of_the_graph_is_read_back():
    graph = _core.Graph()
    ops = _core.ops
    a = graph.input("a", np.float64, (2, 4, 4), False)
    low = ops.cholesky(graph, a)
    outs = [
        ops.solve_triangular(graph, low, a, True, True),
        ops.inv(graph, a),
        ops.slogdet(graph, a),
        ops.eigh(graph, a),
        ops.sort(graph, a, 1),
        *graph.vjp([low], None, [a]),
    ]
    text = graph.print(outs)
    again, outs_again = _core.Graph.parse(text)
    assert again.print(outs_again) == text
    want, got = _core.Plan(graph, outs)(SPD[0, :2]), _core.Plan(again, outs_again)(SPD[0, :2])
    for x, y in zip(want, got, strict=True):
        np.testing.assert_array_equal(x, y)


def test_results_do_not_depend_on_threads():
    def f(a):
        w = np.linalg.solve(a, np.linalg.cholesky(a @ np.swapaxes(a, -1, -2)))
        return np.sort(w, 0), np.linalg.eigvalsh(w)

    a = rng.standard_normal((300, 6, 6))
    threads = ebm.num_threads()
    try:
        ebm.set_num_threads(1)
        one = ebm.jit(f)(a)
        ebm.set_num_threads(3)
        three = ebm.jit(f)(a)
    finally:
        ebm.set_num_threads(threads)
    for x, y in zip(one, three, strict=True):
        np.testing.assert_array_equal(x, y)


def fails(f, error, match, *args):
    with pytest.raises(error, match=match):
        ebm.jit(f)(*args)


def test_refusals():
    error = np.linalg.LinAlgError
    fails(lambda a: np.linalg.inv(a), error, r"inv: got shape \(6, 7\), expected \(", X)
    fails(lambda a: np.linalg.cholesky(a), error, r"cholesky: got shape \(4,\)", V)
    fails(
        lambda a: np.linalg.solve(a, np.ones(3)), ValueError, r"solve: .*\(5, 5\) and \(3,\)", A
    )
    fails(lambda a: np.linalg.eigh(a, "X"), ValueError, "UPLO", A)
    fails(lambda a: np.linalg.matrix_power(a, 1.5), TypeError, "exponent", A)
    fails(lambda a: np.linalg.multi_dot([a]), ValueError, "two or more", A)
    fails(lambda a: np.linalg.multi_dot([a, STACK, a]), error, "must be matrices", A)
    fails(lambda x: x.sort(), TypeError, r"in place.*np\.sort\(x\)", X)
    fails(lambda x: np.quantile(x, 1.5), ValueError, "0 <= q <= 1", X)
    fails(lambda x: np.percentile(x, -1), ValueError, "0 <= q <= 100", X)
    fails(lambda x: np.quantile(x, 0.5, method="hazen"), TypeError, "hazen", X)
    fails(lambda x: np.quantile(x[:, 0], x[0, 0]), TypeError, "q must not be traced", X)
    fails(lambda x: np.median(x[:0]), ValueError, "of nothing", X)
    index = np.zeros((6, 1), np.int32)
    fails(lambda x: np.take_along_axis(x, index[0], 1), ValueError, "number of axes", X)
    fails(lambda x: np.take_along_axis(x, index + 7, 1), IndexError, "7", X)
    fails(lambda x: np.take_along_axis(x, index + 0.5, 1), IndexError, "integers", X)
    fails(lambda x, i: np.take_along_axis(x, i, 1), IndexError, "7", X, index + 7)


# ---- order, quantiles, products --------------------------------------------------------------
ORDER = cases(
    (lambda x: np.sort(x), X),
    (lambda x: np.sort(x, axis=0), X),
    (lambda x: np.sort(x, None, stable=True), CUBE),
    (lambda x: np.sort(x, 1, kind="stable"), TIES),
    (lambda x: np.sort(x), INT),
    (lambda x: np.sort(x > 0, 0), X),
    (lambda x: np.sort(x[::2, ::-3]), X),
    (lambda x: np.argsort(x, 1), CUBE),
    (lambda x: np.argsort(x, axis=None, kind="stable"), INT),
    (lambda x: np.argsort(x, kind="stable"), TIES),
    (lambda x: x.argsort(0), X),
    (lambda x: np.take_along_axis(x, np.argsort(x, 0), 0), X),
    (lambda x, i: np.take_along_axis(x, i, axis=1), CUBE, PLACES),
    (lambda x: np.take_along_axis(x, np.array([[3], [-1]]), 0), X),
    (lambda x: np.take_along_axis(x, np.array([3, -1]), None), X),
    (lambda x: np.median(x), X),
    (lambda x: np.median(x, axis=1), X),
    (lambda x: np.median(x, axis=(0, 2), keepdims=True), CUBE),
    (lambda x: np.median(x, axis=1), TIES),
    (lambda x: np.median(x), np.array([np.inf, np.inf, 1.0, np.inf])),
    (lambda x: np.quantile(x, 0.3), X),
    (lambda x: np.quantile(x, [0.0, 0.25, 1.0], axis=1), X),
    (lambda x: np.quantile(x, [[0.1, 0.9], [0.4, 0.5]], axis=(0, 1), keepdims=True), CUBE),
    (lambda x: np.quantile(x, 0.4, axis=1), TIES[:1]),
    (lambda x: np.percentile(x, 35, axis=0), X),
    (lambda x: np.percentile(x, np.array([5.0, 95.0])), X),
    (lambda x: np.prod(x), X),
    (lambda x: np.prod(x, axis=(0, 2), keepdims=True), CUBE),
    (lambda x: x.prod(1), INT),
    (lambda x: np.prod(x > -1, 0), X),
    (lambda x: np.prod(x[:0], 0), X),
    (lambda x: np.multiply.reduce(x, 1), X),
    (lambda x: np.cumprod(x, 1), X),
    (lambda x: x.cumprod(), INT[:2]),
    (lambda x: np.multiply.accumulate(x), X),
    (lambda x: np.add.accumulate(x, 1), X),
    (lambda x: np.maximum.accumulate(x, axis=1), X),
    (lambda x: np.maximum.accumulate(x > 1), X),
)  # fmt: skip


@ORDER
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_order(function, args, dtype):
    args = [a.astype(dtype) if a.dtype == np.float64 else a for a in args]
    check(function, args, rtol=2e-5 if dtype == "float32" else None)


def test_quantile_has_the_dtype_of_array_and_q():
    x = X.astype(np.float32)
    for q in (0.5, np.float64(0.5), np.array([0.5]), np.array([0.5], np.float32)):
        check(lambda x, q=q: np.quantile(x, q), (x,), rtol=1e-6)
    check(lambda x: np.median(x), (INT,))


def test_order_in_a_loop_and_on_edges():
    sizes = ebm.jit(lambda x: ebm.repeat(lambda i, y: np.sort(y, 0) * 2.0, 2, x))(X)
    np.testing.assert_array_equal(sizes, 4 * np.sort(X, 0))
    for shape in ((0,), (1,), (3, 0), (0, 3)):
        check(lambda x: np.sort(x), (np.ones(shape),))
        check(lambda x: np.argsort(x), (np.ones(shape),))
        check(lambda x: np.prod(x, -1), (np.ones(shape),))
        check(lambda x: np.cumprod(x, -1), (np.ones(shape),))


def test_gradient_of_a_median_goes_to_the_middle():
    x = np.array([5.0, 1.0, 4.0, 2.0])
    np.testing.assert_array_equal(ebm.grad(np.median)(x), [0, 0, 0.5, 0.5])
    np.testing.assert_array_equal(ebm.grad(np.median)(x[:3]), [0, 0, 1])


def test_hessian_of_a_product_with_zeros():
    """Of x y z at (0, 2, 0) and (3, 2, 0): the products of the others, exactly."""
    for x, y, z in ((0.0, 2.0, 0.0), (3.0, 2.0, 0.0)):
        point = np.array([x, y, z])
        np.testing.assert_array_equal(ebm.grad(np.prod)(point), [y * z, x * z, x * y])
        rows = [ebm.hvp(np.prod, (point,), (e,)) for e in np.eye(3)]
        np.testing.assert_array_equal(rows, [[0, z, y], [z, 0, x], [y, x, 0]])
