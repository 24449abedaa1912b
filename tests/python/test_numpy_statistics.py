"""Reductions with all their arguments, samples, curves: values, derivatives, edges."""

import numpy as np
import pytest

import ebmlib as ebm
from tests.python.numpy_check import FLOATS, check, check_derivatives, in_dtype, row

rng = np.random.default_rng(0)
A = rng.standard_normal((3, 4))
B = rng.standard_normal((3, 4))
P = rng.uniform(0.5, 2.0, (3, 4))
ROW = rng.standard_normal(4)
LINE = rng.standard_normal(7)
CUBE = rng.standard_normal((2, 3, 4))
INT = rng.integers(-9, 10, (3, 4)).astype(np.int32)
BOOL = A > 0
MASK = np.array(
    [[True, False, True, True], [False, True, True, False], [True, True, False, True]]
)
HOLES = np.where(MASK, A, np.nan)
GRID = np.array([0.0, 0.5, 0.7, 1.5, 2.5, 3.0, 4.0])
INSIDE = rng.uniform(-0.5, 4.5, (3, 4))

ROWS = [
    # where=, initial=
    row(lambda x: np.sum(x, where=MASK) + np.sum(x, 0, where=MASK), A),
    row(lambda x: np.sum(x, axis=1, initial=2.0, keepdims=True), A),
    row(lambda x: np.sum(x, where=x > 0), A),
    row(lambda x: np.mean(x, axis=1, where=MASK), A),
    row(lambda x: np.mean(x, axis=0, where=MASK[:, :1], keepdims=True), A),
    row(lambda x: np.var(x, axis=1, where=MASK, ddof=1), A),
    row(lambda x: np.std(x, where=MASK), A),
    row(lambda x: np.max(x, axis=1, initial=0.0, where=MASK), A),
    row(lambda x: np.min(x, axis=1, initial=0.0, where=MASK), A),
    row(lambda x: np.max(x, initial=0.3) + np.min(x, initial=-0.2), A),
    row(lambda x: np.max(x, axis=0, initial=3) - np.min(x, axis=0, initial=-1), INT),
    row(lambda x: [np.any(x, axis=0, where=MASK), np.all(x, axis=0, where=MASK)], BOOL),
    row(lambda x: [np.max(x, 0), np.min(x, 0), np.max(x), np.min(x)], BOOL),
    row(lambda x: np.var(x, axis=0, correction=1) + np.std(x, axis=0, correction=1), A),
    row(lambda x: np.add.reduce(x, axis=(0, 1)) + np.add.accumulate(x, 1), A),
    row(lambda x: np.minimum.reduce(x) + np.add.accumulate(x)[-1], A),
    row(lambda x, y: [np.multiply.outer(x, y), np.subtract.outer(x, y)], A, ROW),
    row(lambda x: np.sum(x, axis=(-1, 0)) + np.max(x, axis=(0, -1)), CUBE),
    row(lambda x: np.sum(x, axis=()) + np.mean(x, axis=()), A),
    # NaN left out
    row(lambda x: [np.nansum(x, 0), np.nansum(x), np.nanmean(x, 1, keepdims=True)], HOLES),
    row(lambda x: [np.nanvar(x, 1), np.nanstd(x, 0, ddof=1), np.nanvar(x)], HOLES),
    row(lambda x: [np.nanmax(x, 1), np.nanmin(x, 0), np.nanmax(x), np.nanmin(x)], HOLES),
    row(lambda x: [np.nanargmax(x, 1), np.nanargmin(x, 0), np.nancumsum(x, 1)], HOLES),
    row(lambda x: [np.nansum(x), np.nanmax(x, 0), np.nanmin(x, 0), np.nanargmax(x)], INT),
    # means and spreads
    row(lambda x: np.average(x) + np.average(x, 0), A),
    row(lambda x, w: np.average(x, weights=w), A, P),
    row(lambda x, w: np.average(x, 1, weights=w), A, ROW + 3),
    row(lambda x, w: np.average(x, 0, weights=w, keepdims=True), A, P),
    row(lambda x: np.ptp(x) + np.ptp(x, axis=1, keepdims=True), A),
    # curves
    row(lambda y: np.trapezoid(y) + np.trapezoid(y, dx=0.1), LINE),
    row(lambda y, x: np.trapezoid(y, x), LINE, GRID),
    row(lambda y: np.trapezoid(y, GRID[:3], axis=0), A),
    row(lambda y, x: np.trapezoid(y, x, axis=1), A, B),
    row(lambda y: np.gradient(y), LINE),
    row(lambda y: np.gradient(y, 0.5), A),
    row(lambda y: np.gradient(y, 0.5, 2.0), A),
    row(lambda y: np.gradient(y, axis=1), A),
    row(lambda y: np.gradient(y, GRID), LINE),
    row(lambda y: np.gradient(y, GRID[:3], GRID[:4]), A),
    row(lambda x: np.diff(x, axis=0) + np.ediff1d(x)[:4], A),
    row(lambda x: np.interp(x, GRID, LINE), INSIDE),
    row(lambda x, f: np.interp(x, GRID, f, left=-1.0, right=2.0), INSIDE, LINE),
    row(lambda x, f: np.interp(x, [1.0], f[:1]), INSIDE, LINE),
    row(lambda x: [np.searchsorted(GRID, x), np.searchsorted(GRID, x, side="right")], INSIDE),
    row(lambda a: np.searchsorted(a, [0.5, 0.6, 9.0, -1.0]), GRID),
    row(lambda x: [np.digitize(x, GRID), np.digitize(x, GRID, right=True)], INSIDE),
    row(lambda p, x: np.polyval(p, x), ROW, A),
    row(lambda x: np.polyval([1, 0, -2], x), A),
    row(lambda x: np.polyval([1, 0, -2], x), INT),
    row(lambda x: np.apply_along_axis(lambda r: r * np.sum(r), 1, x), A),
    row(lambda x: np.apply_along_axis(np.sum, 0, x), A),
    row(lambda x: np.apply_along_axis(lambda r: np.outer(r, r), 1, x), CUBE),
]


WIDENED = [  # NumPy gives float64 of float32, and here it stays float32
    row(lambda x: np.cov(x), A),
    row(lambda x, y: np.cov(x, y, rowvar=False, bias=True), A, B),
    row(lambda x: np.cov(x) + np.cov(x, ddof=2), LINE),
    row(lambda x: np.corrcoef(x), A),
    row(lambda x, y: np.corrcoef(x, y, rowvar=False), A, B),
    row(lambda x: np.corrcoef(x), LINE),
    row(lambda x: np.vander(x) + np.vander(x, 4, increasing=True), ROW),
    row(lambda x, p, f: np.interp(x, p, f), INSIDE, GRID, LINE),
    row(lambda x: np.float_power(x, 3) + np.float_power(x, 1.5), P),
    row(lambda x: np.dot(x, 2.0), A),
]


@pytest.mark.parametrize(("function", "args", "gradient"), WIDENED)
def test_what_numpy_widens_stays_float32(function, args, gradient):
    check(function, args)
    got = ebm.jit(lambda *xs: function(*xs))(*in_dtype(args, "float32"))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, function(*args), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("function", "args", "gradient"), ROWS)
def test_row(function, args, gradient, dtype):
    check(function, in_dtype(args, dtype))


@pytest.mark.parametrize(("function", "args", "gradient"), ROWS + WIDENED)
def test_derivatives(function, args, gradient):
    if gradient:
        check_derivatives(function, args)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,), (1, 1), (1, 0, 2)])
def test_empty_and_small(shape):
    x = np.ones(shape)
    check(lambda x: [np.sum(x), np.sum(x, 0), np.sum(x, -1, keepdims=True)], (x,))
    check(lambda x: [np.any(x), np.all(x), np.any(x, 0), np.all(x, -1, keepdims=True)], (x,))
    check(lambda x: [np.max(x, initial=-1.0), np.min(x, 0, initial=7.0)], (x,))
    check(lambda x: [np.cumsum(x, 0), np.exp(x) + x, np.count_nonzero(x), x.reshape(-1)], (x,))
    check(lambda x: [np.concatenate([x, x]), np.flip(x), np.transpose(x), x[:0]], (x,))
    check(lambda x: [np.max(x, 0, initial=False), np.min(x, initial=True)], (x.astype(bool),))


def test_reductions_of_nothing_are_refused():
    x = np.ones((0, 3))
    for function in (np.max, np.min, np.argmax, np.argmin, np.mean, np.var):
        with pytest.raises(ValueError, match=r"nothing|empty"):
            ebm.jit(lambda x, f=function: f(x))(x)


def test_special_values_in_reductions():
    x = np.array([[np.nan, 1.0, 2.0], [np.inf, -np.inf, 0.0], [-0.0, -0.0, 5e-324]])
    with np.errstate(invalid="ignore"):
        check(lambda x: [np.sum(x, 1), np.max(x, 1), np.min(x, 0), np.mean(x, 0)], (x,))
        check(lambda x: [np.argmax(x, 1), np.argmin(x, 1), np.cumsum(x, 1)], (x,))
        check(lambda x: [np.nanmax(x, 1), np.nanmin(x, 1), np.nansum(x[2])], (x,))
    all_nan = np.full((2, 2), np.nan)
    assert np.isnan(ebm.jit(np.nanmax)(all_nan))
    assert np.isnan(ebm.jit(np.nanmean)(all_nan))


def test_derivatives_at_ties_are_shared():
    x = np.array([1.0, 3.0, 3.0])
    assert ebm.grad(np.max)(x).tolist() == [0, 0.5, 0.5]
    assert ebm.grad(np.ptp)(x).tolist() == [-1, 0.5, 0.5]
    assert ebm.grad(lambda x: np.max(x, initial=9.0))(x).tolist() == [0, 0, 0]


def test_masked_values_have_no_derivative():
    """Not even where they are NaN."""
    x = np.array([4.0, 6.0, np.nan, np.inf])
    mask = np.array([True, True, False, False])
    for function, slopes in ((np.sum, [1, 1]), (np.mean, [0.5, 0.5]), (np.var, [-1, 1])):
        slope = ebm.grad(lambda x, f=function: f(x, where=mask))(x)
        assert slope.tolist() == [*slopes, 0, 0]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: np.max(x, where=x > 0), "max: where: .* expected initial="),
        (lambda x: np.average(x, 0, weights=np.ones(7)), "average: weights: got shape"),
        (lambda x: np.cov(x[:, :1]), "cov: got 1 observations"),
        (lambda x: np.gradient(x[:1]), "gradient: got shape"),
        (lambda x: np.select([x > 0], [x, x]), "select: got 1 conditions and 2 choices"),
        (lambda x: np.piecewise(x, [x > 0], [1, 2, 3]), "piecewise: got 1 conditions"),
        (lambda x: np.convolve(x, x), "convolve: got shapes"),
        (lambda x: np.cross(x, x), "cross: got shapes"),
    ],
)
def test_wrong_values_are_refused(function, words):
    with pytest.raises(ValueError, match=words):
        ebm.jit(function)(A)
