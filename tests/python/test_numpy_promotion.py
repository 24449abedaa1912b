"""NumPy's broadcasting and promotion, on drawn dtypes and shapes; and where ours differs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ebmlib as ebm
from ebmlib import _core
from ebmlib._trace import Trace
from tests.python.numpy_check import expected_dtype

DTYPES = ("bool", "uint8", "int32", "float32", "float64")
QUICK = settings(derandomize=True, deadline=None, max_examples=20, database=None)

BINARY = [
    np.add, np.subtract, np.multiply, np.divide, np.floor_divide, np.remainder, np.fmod,
    np.maximum, np.minimum, np.fmax, np.equal, np.not_equal, np.less, np.less_equal, np.greater,
    np.greater_equal, np.logical_and, np.logical_or, np.logical_xor, np.bitwise_and,
    np.bitwise_or, np.bitwise_xor, np.arctan2, np.hypot, np.copysign, np.logaddexp,
    np.heaviside, np.isclose,
]  # fmt: skip
UNARY = [
    np.negative, np.absolute, np.square, np.sign, np.exp, np.sqrt, np.sin, np.arctan, np.rint,
    np.floor, np.fabs, np.isfinite, np.logical_not, np.invert, np.sum, np.mean, np.std, np.max,
    np.min, np.any, np.cumsum, np.argmax, np.sinc, np.signbit, np.nan_to_num, np.cbrt,
]  # fmt: skip


def numbers(dtype):
    """Small ones of a dtype: quarters, so that quotients are not rounded to integers."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return st.booleans()
    low = 0 if kind == "u" else -12
    whole = st.integers(low, 12)
    return whole if kind in "iu" else whole.map(lambda k: k / 4)


@st.composite
def arrays(draw, shape):
    dtype = draw(st.sampled_from(DTYPES))
    return draw(hnp.arrays(dtype, shape, elements=numbers(dtype)))


scalars = st.one_of(
    st.integers(0, 12),
    st.integers(-48, 48).map(lambda k: k / 4),
    st.booleans(),
    numbers("float32").map(np.float32),
    numbers("float64").map(np.float64),
    numbers("int32").map(np.int32),
    numbers("int64").map(np.int64),
    numbers("uint8").map(np.uint8),
    numbers("bool").map(np.bool_),
)


@st.composite
def pairs(draw):
    """Two arrays of shapes that fit, or an array and a number on either side."""
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3))
    a, b = (draw(arrays(shape)) for shape in shapes.input_shapes)
    which = draw(st.sampled_from(["arrays", "left", "right"]))
    number = draw(scalars)
    return (number, b) if which == "left" else (a, number) if which == "right" else (a, b)


def outcome(function, *args):
    """The result, or TypeError."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(*args))
    except TypeError:
        return TypeError


def widened(value):
    """As float32 where NumPy would calculate in float16."""
    small = isinstance(value, bool | np.bool_ | np.uint8) or (
        isinstance(value, np.ndarray) and value.dtype in (bool, np.uint8)
    )
    return np.asarray(value, np.float32) if small else value


def check_same(function, args, got):
    expected = outcome(function, *args)
    if expected is TypeError:
        assert got is TypeError
        return
    assert got is not TypeError
    assert got.dtype == expected_dtype(expected.dtype)
    assert got.shape == expected.shape
    if expected.dtype == np.float16:
        expected = outcome(function, *map(widened, args))
    tolerance = 1e-13 if got.dtype == np.float64 else 4e-6
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
@QUICK
@given(args=pairs())
def test_binary(function, args):
    a, b = args
    check_same(function, args, outcome(ebm.jit(lambda a, b: function(a, b)), a, b))
    if isinstance(a, np.ndarray):
        check_same(function, args, outcome(ebm.jit(lambda a: function(a, b)), a))
    if isinstance(b, np.ndarray):
        check_same(function, args, outcome(ebm.jit(lambda b: function(a, b)), b))


@pytest.mark.parametrize("function", UNARY, ids=lambda f: f.__name__)
@QUICK
@given(x=hnp.array_shapes(max_dims=3, max_side=3).flatmap(arrays))
def test_unary(function, x):
    if function is np.square and x.dtype == bool:
        return  # int8 in NumPy
    check_same(function, (x,), outcome(ebm.jit(lambda x: function(x)), x))


@QUICK
@given(args=pairs(), mask=st.booleans())
def test_choices(args, mask):
    a, b = args
    functions = [
        lambda a, b: np.where(np.asarray(mask), a, b),
        lambda a, b: np.where(a > b, a, b),
    ]
    if isinstance(a, np.ndarray):  # NumPy's clip of a Python number makes an array of it
        functions.append(lambda a, b: np.clip(a, b, None))
    for function in functions:
        check_same(function, args, outcome(ebm.jit(lambda a, b, f=function: f(a, b)), a, b))


# ---- where it differs ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int64", "uint64", "uint32"])
def test_integers_are_int32(dtype):
    """All but uint8: there is no int64, so sums and indices are int32 too, and wrap."""
    x = np.array([1, 2, 3], dtype)
    got = ebm.jit(lambda x: [x + 1, x * x, np.sum(x), np.cumsum(x), np.argmax(x), x // 2])(x)
    assert [g.dtype for g in got] == [np.int32] * 6
    assert got[2] == 6
    assert ebm.jit(lambda y: y * x)(np.float32(2)).dtype == np.float64  # as NumPy's int32
    assert ebm.jit(lambda x: x / 2)(x).dtype == np.float64
    big = np.array([2**31 - 1, 1], np.int32)
    assert ebm.jit(np.sum)(big) == -(2**31)
    if np.iinfo(dtype).max > 2**31:
        with pytest.raises(ValueError, match="integers become int32: 2147483648 does not fit"):
            ebm.jit(np.sum)(np.array([2**31], dtype))


def test_no_float16_and_no_complex():
    """NumPy's functions of bool and uint8 that give float16 give float32."""
    assert ebm.jit(np.exp)(np.uint8(1)).dtype == np.float32
    for dtype in ("float16", "complex64", "complex128"):
        with pytest.raises(TypeError, match="not supported: float32, float64, int32"):
            ebm.jit(np.sum)(np.ones(2, dtype))
    with pytest.raises(TypeError, match="not supported"):
        ebm.jit(lambda x: x * 1j)(np.ones(2))


def test_python_numbers_are_weak_everywhere():
    """Also where NumPy makes arrays of them first."""
    x = np.ones(3, np.float32)
    for function in (
        lambda x: np.dot(x, 2.0),
        lambda x: np.polyval([1.0, 2.0], x[0]) * x,
        lambda x: np.interp(x, x, x, left=0.0),
    ):
        assert ebm.jit(function)(x).dtype in (np.float32, np.float64)
    assert ebm.jit(lambda x: np.dot(x, 2.0))(x).dtype == np.float32


def test_floor_of_rounded_quotients():
    """1 / 0.1 rounds to 10, and so does the floor; NumPy's 1 // 0.1 is 9."""
    quotient, rest = ebm.jit(lambda x: divmod(x, 0.1))(1.0)
    assert (quotient, rest) == (10, 0)
    assert np.divmod(1.0, 0.1)[0] == 9
    assert ebm.jit(lambda x: x % np.inf)(-2.5) == -2.5  # inf in NumPy
    assert ebm.jit(lambda x: x // 0.7)(np.inf) == np.inf  # nan in NumPy


def test_bools_are_no_small_integers():
    """int8 in NumPy."""
    mask = np.array([True, False])
    got = ebm.jit(lambda x: [np.square(x), x**2, x // True, x % True, x << 1])(mask)
    assert [g.dtype for g in got] == [np.int32] * 5


def test_integers_to_powers():
    i = np.array([2, -3], np.int32)
    np.testing.assert_array_equal(ebm.jit(lambda i: i**5)(i), i**5)
    assert ebm.jit(lambda i: i**2.0)(i).dtype == np.float64
    assert ebm.jit(lambda i: 2.0**i)(i).dtype == np.float64
    with pytest.raises(TypeError, match="power: got int32 and the exponent -1, expected"):
        ebm.jit(lambda i: i**-1)(i)
    with pytest.raises(TypeError, match="power: got int32 and a traced exponent, expected"):
        ebm.jit(lambda i: 2**i)(i)
    with pytest.raises(TypeError, match="reciprocal: got int32, expected a float"):
        ebm.jit(np.reciprocal)(i)
    assert ebm.jit(lambda x: x ** np.float64(2))(np.float32(3)).dtype == np.float64
    for wrong in (lambda i: i << i, lambda i: i << 1.5):
        with pytest.raises(TypeError, match="left_shift"):
            ebm.jit(wrong)(i)
    with pytest.raises(ValueError, match="right_shift: got 32 places, expected 0 to 31"):
        ebm.jit(lambda i: i >> 32)(i)


def test_numbers_that_do_not_fit():
    """OverflowError in NumPy."""
    with pytest.raises(ValueError, match="300 does not fit into uint8"):
        ebm.jit(lambda x: x + 300)(np.uint8([1]))


# ---- in a run of float32 ---------------------------------------------------------------------

GRID = np.linspace(0, 1, 4)
MASK = GRID > 0.5
CONSTANTS = [
    lambda x: x * np.float64(2) + np.pi + GRID,
    lambda x: x ** np.float64(2) + 2**x + np.float_power(x, 2),
    lambda x: np.interp(x, GRID, GRID**2) + np.polyval(GRID, x),
    lambda x: np.mean(x > 0) * x + np.sum(x > 0) / 3 + np.std(x > 0),
    lambda x: np.mean(x, where=MASK) + np.var(x, where=MASK, ddof=1) + x,
    lambda x: np.linspace(0, 1, 4) * x + np.linspace(x, 1, 4)[0],
    lambda x: np.arange(4.0, like=x) * x + np.eye(4, like=x) @ x,
    lambda x: np.full(4, 1.5, like=x) * x + np.zeros(4, like=x) + np.arange(4, like=x),
    lambda x: np.cov(x) * x + np.average(x, weights=GRID),
    lambda x: np.gradient(x, GRID) + np.trapezoid(x, GRID),
    lambda x: np.select([x > 0], [1.0], 2.0) * x + np.heaviside(x, 0.5),
    lambda x: np.choose(x > 0, [1.0, 2.0], mode="clip") * x + np.argmax(x) / 3,
    lambda x: np.sinc(x) + np.hypot(x, 2) + np.linalg.norm(x, 3) + np.isclose(x, GRID),
    lambda x: np.convolve(x, GRID, "same") + np.quantile(x, 0.1) + np.median(x),
    lambda x: x.at[0].set(GRID[1]).at[MASK].add(GRID[2:]),
    lambda x: np.nan_to_num(x, nan=np.float64(3)) + np.exp(np.argmax(x)),
    lambda x: np.pad(x, 1, constant_values=np.float64(2.0))[:4] * np.cosh(np.float64(1.0)),
]


@pytest.mark.parametrize("function", CONSTANTS)
def test_constants_take_the_dtype_of_a_run(function):
    """As in estimators and samplers: nothing in the graph is float64."""
    graph = _core.Graph()
    with Trace(graph, dtype=np.dtype(np.float32)):
        out = function(graph.input(None, np.float32, (4,), False))
        assert out.dtype == np.float32
        assert "f64" not in graph.print([out])
