"""Elementwise functions that are made of others, choices, roundings: values, special values,
derivatives, and the derivative at the places where a formula would lose it.
"""

import numpy as np
import pytest

import ebmlib as ebm
from tests.python.numpy_check import (
    FLOATS,
    check,
    check_derivatives,
    expected_dtype,
    in_dtype,
    row,
)

rng = np.random.default_rng(0)
A = rng.standard_normal((3, 4))
B = rng.standard_normal((3, 4))
P = rng.uniform(0.5, 2.0, (3, 4))
UNIT = rng.uniform(-0.9, 0.9, (3, 4))
ROW = rng.standard_normal(4)
INT = rng.integers(-9, 10, (3, 4)).astype(np.int32)
INT2 = rng.integers(1, 4, (3, 4)).astype(np.int32)
BYTES = rng.integers(0, 256, (3, 4)).astype(np.uint8)
BYTES2 = rng.integers(1, 256, (3, 4)).astype(np.uint8)
BOOL = A > 0
SPECIAL = np.array([0.0, -0.0, 1.5, -2.5, 0.5, np.inf, -np.inf, np.nan, 5e-324, -1e-310, 1e300])

ROWS = [
    row(lambda x: np.arcsin(x) + np.arccos(x) ** 2, UNIT),
    row(lambda x: np.arctanh(x), UNIT),
    row(lambda x: np.arcsinh(x), 3 * A),
    row(lambda x: np.arccosh(1 + x), P),
    row(lambda x: np.deg2rad(x) + np.radians(x), 90 * A),
    row(lambda x: np.rad2deg(x) + np.degrees(x), A),
    row(lambda x: np.sinc(x), A),
    row(lambda x: np.sinc(x), 0.02 * A),
    row(lambda x: np.cbrt(x), 3 * A),
    row(lambda x, y: np.hypot(x, y), A, B),
    row(lambda x, y: np.hypot(x, y), A, ROW),
    row(lambda x, y: np.logaddexp2(x, y), A, B),
    row(lambda x, y: np.copysign(x, y), A, B),
    row(lambda x: np.signbit(x), A),
    row(lambda x: np.heaviside(x, 0.5) * x, A),
    row(lambda x, y: np.fmax(x, y) + np.fmin(x, 2 * y), A, B),
    row(lambda x, y: np.fmod(x, y), 5 * A, P),
    row(lambda x, y: np.divmod(x, y), 5 * A, P),
    row(lambda x: np.divmod(x, 0.7), A),
    row(lambda x: np.modf(x), 3 * A),
    row(lambda x: np.fix(x) + np.trunc(x), 3 * A),
    row(lambda x: np.round(x, 1), 3 * A, gradient=False),
    row(lambda x: np.round(x, -1) + np.around(x, 0), 30 * A),
    row(lambda x: np.nan_to_num(x), A),
    row(lambda x, y: np.isclose(x, y, rtol=0.5), A, B),
    row(lambda x, y: np.allclose(x, y) | np.allclose(x, x), A, B),
    row(lambda x, y: np.array_equal(x, y) | np.array_equal(x, x), A, B),
    row(lambda x: np.isin(x, [1, 2, 3]), INT),
    row(lambda x: np.isin(x, np.arange(3), invert=True), INT),
    row(lambda x, y: np.select([x > 1, x > 0], [x, y], 0.5), A, B),
    row(lambda x: np.select([x > 1, x > 0], [x**2, -x]), A),
    row(lambda i, x, y: np.choose(i, [x, y, 3.0], mode="clip"), INT, A, B),
    row(lambda i, x, y: np.choose(i, [x, y, 3.0], mode="wrap"), INT, A, B),
    row(lambda x: np.piecewise(x, [x < 0, x > 1], [np.negative, np.exp, np.square]), A),
    row(lambda x: np.piecewise(x, [x < 0, x > 1], [lambda x: -x, 2.0]), A),
    row(lambda x: np.power(x, 3) + x**7 + x**0 + x**1, INT),
    row(lambda x: np.trunc(x) + np.floor(x) + np.ceil(x) + np.fix(x), INT),
    row(lambda x: np.signbit(x) | (np.sign(x) > 0), INT),
    row(lambda x, y: np.fmod(x, y) + np.remainder(x, -y), INT, INT2),
    row(lambda x, y: np.divmod(x, y), INT, INT2),
    # bits
    row(lambda x, y: [x & y, x | y, x ^ y, ~x, x & 5, 3 | x], INT, INT2),
    row(lambda x: [x << 3, x >> 2, x << 31, x >> 31, x << 0], INT),
    row(lambda x: [np.left_shift(x, 1), np.right_shift(x, 1)], BYTES),
    row(lambda x, y: [np.bitwise_and(x, y), np.bitwise_or(x, y), np.invert(x)], BYTES, BYTES2),
    row(lambda x, y: [x & y, x | y, x ^ y, ~x], BOOL, ~BOOL.T.reshape(3, 4)),
    row(lambda x: [np.isposinf(x), np.isneginf(x)], A),
    row(lambda x: [np.real_if_close(x), np.imag(x), x.real, x.imag, x.conj()], A),
    # uint8 wraps
    row(lambda x, y: [x + y, x - y, x * y, x // y, x % y, x**3, -x, abs(x)], BYTES, BYTES2),
    row(lambda x, y: [np.maximum(x, y), np.minimum(x, y), np.sign(x), x * x], BYTES, BYTES2),
    row(lambda x: [np.max(x, 0), np.min(x, 0), np.clip(x, 3, 200), np.ptp(x, 1)], BYTES),
    row(lambda x: [x / 255, x + 1, 2 * x, x * 0.5, x < 100, x.sum(0), x.mean(0)], BYTES),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("function", "args", "gradient"), ROWS)
def test_row(function, args, gradient, dtype):
    check(function, in_dtype(args, dtype))


@pytest.mark.parametrize(("function", "args", "gradient"), ROWS)
def test_derivatives(function, args, gradient):
    if gradient:
        check_derivatives(function, args)


UNARY = [
    np.arcsin, np.arccos, np.arctan, np.arctanh, np.arcsinh, np.arccosh, np.cbrt, np.signbit,
    np.deg2rad, np.trunc, np.fix, np.isposinf, np.isneginf, np.fabs, np.cosh, np.sinh, np.log2,
    np.log10, np.exp2, np.nan_to_num, np.sign, np.rint, np.reciprocal, np.square, np.modf,
]  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", UNARY, ids=lambda f: f.__name__)
def test_special_values(function, dtype):
    with np.errstate(all="ignore"):
        x = SPECIAL.astype(dtype)
        check(function, (x,))
        mine, theirs = np.asarray(ebm.jit(function)(x)), np.asarray(function(x))
        if theirs.dtype.kind == "f" and function is not np.cbrt:  # 0 of -0
            zero = theirs == 0
            np.testing.assert_array_equal(np.signbit(mine)[zero], np.signbit(theirs)[zero])


BINARY = [
    np.hypot, np.copysign, np.fmax, np.fmin, np.heaviside, np.logaddexp, np.maximum, np.minimum,
    np.arctan2, np.add, np.multiply, np.divide, np.less, np.equal, np.logaddexp2,
]  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
def test_special_pairs(function, dtype):
    with np.errstate(all="ignore"):
        x = SPECIAL.astype(dtype)
        check(function, (x[:, None], x))


@pytest.mark.parametrize("divisor", [0.7, -0.7, np.inf, 0.0, np.nan], ids=lambda d: f"by {d}")
@pytest.mark.parametrize(
    "function", [np.remainder, np.floor_divide, np.fmod], ids=lambda f: f.__name__
)
def test_rest_of_special_values(function, divisor):
    """Of +-0, infinities and NaN; see test_numpy_promotion.py for what differs."""
    x = np.array([0.0, 1.5, -2.5, 0.5, np.inf, -np.inf, np.nan])
    with np.errstate(all="ignore"):
        expected = function(x, divisor)
        got = ebm.jit(lambda x: function(x, divisor))(x)
    same = np.ones(x.shape, bool)
    if np.isinf(divisor):
        same = x >= 0  # NumPy: -2.5 % inf is inf, and -2.5 // inf is -1
    if function is np.floor_divide:
        same &= np.isfinite(x)  # NumPy: inf // 0.7 is nan
    np.testing.assert_allclose(got[same], expected[same], rtol=1e-13, atol=1e-13)


ODD = [np.arcsinh, np.arctanh, np.arcsin, np.arctan, np.sinh, np.tan, np.sin, np.tanh]


@pytest.mark.parametrize("function", ODD, ids=lambda f: f.__name__)
def test_derivatives_at_zero(function):
    """Each of them is x + O(x^3)."""
    assert ebm.grad(function)(0.0) == 1
    assert ebm.grad(ebm.grad(function))(0.0) == 0


def test_sinc_at_zero():
    slope = ebm.grad(np.sinc)
    assert slope(0.0) == 0
    np.testing.assert_allclose(ebm.grad(slope)(0.0), -(np.pi**2) / 3, rtol=1e-14)
    fourth = ebm.grad(ebm.grad(ebm.grad(slope)))(0.0)
    np.testing.assert_allclose(fourth, np.pi**4 / 5, rtol=1e-13)


def test_large_arguments_do_not_overflow():
    for dtype, big in (("float32", 1e30), ("float64", 1e200)):
        x = np.array([big, -big], dtype)
        check(np.arcsinh, (x,))
        check(np.arccosh, (x[:1],))
        check(np.hypot, (x, x))
        slopes = ebm.grad(lambda x: np.sum(np.arcsinh(x) + np.hypot(x, x)))(x)
        assert np.isfinite(slopes).all()


def test_replacements_of_nan_and_infinity():
    x = np.array([np.nan, np.inf, -np.inf, 1.0])
    check(lambda x: np.nan_to_num(x, nan=1.0, posinf=2.0, neginf=-3.0), (x,))
    assert ebm.grad(lambda x: np.sum(np.nan_to_num(x) ** 2))(x).tolist() == [0, 0, 0, 2]


def test_close_to_nan_and_infinity():
    a = np.array([np.nan, np.inf, -np.inf, 1.0, np.inf])
    b = np.array([np.nan, np.inf, np.inf, 1.0 + 1e-9, 1.0])
    check(lambda a, b: np.isclose(a, b), (a, b))
    check(lambda a, b: np.isclose(a, b, equal_nan=True), (a, b))


SMALL = [BOOL, BYTES2, INT2]
OF_INTEGERS = [
    np.exp, np.arctan, np.fabs, np.rint, np.cbrt, np.deg2rad, np.sinc, np.sqrt, np.isfinite,
    np.mean, np.std, np.sum, np.max, np.min, np.cumsum, np.argmax, np.argmin, np.absolute,
    np.floor, np.trunc, np.any, np.all, np.count_nonzero, np.nanmean, np.nan_to_num,
]  # fmt: skip


@pytest.mark.parametrize("x", SMALL, ids=lambda x: str(x.dtype))
@pytest.mark.parametrize("function", OF_INTEGERS, ids=lambda f: f.__name__)
def test_functions_of_small_integers(function, x):
    """As NumPy, but with float32 for float16, which it gives of bool and uint8."""
    with np.errstate(over="ignore"):
        theirs = function(x)
        precise = function(x.astype(np.float32))
    mine = ebm.jit(lambda x: function(x))(x)
    assert mine.dtype == expected_dtype(np.asarray(theirs).dtype)
    if np.asarray(theirs).dtype != np.float16:
        np.testing.assert_allclose(mine, theirs, rtol=1e-13)
    else:
        np.testing.assert_allclose(mine, precise, rtol=2e-6)


def test_the_lowest_integer():
    low = np.array([[-(2**31), 0], [5, -(2**31)]], np.int32)
    check(lambda x: [np.min(x), np.min(x, 0), np.max(x, 1)], (low,))
    check(lambda x: [np.argmin(x), np.argmin(x, 0), np.argmax(x, 1)], (low,))
