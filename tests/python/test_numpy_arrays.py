"""Traced arrays as arrays: operators, methods, attributes, and x.at[index]."""

import copy
import operator

import numpy as np
import pytest

import ebmlib as ebm
from tests.python.numpy_check import check, check_derivatives, row

rng = np.random.default_rng(0)
A = rng.standard_normal((3, 4))
B = rng.standard_normal((3, 4))
P = rng.uniform(0.5, 2.0, (3, 4))
CUBE = rng.standard_normal((2, 3, 4))
SQUARE = rng.standard_normal((3, 3))
INT = rng.integers(-9, 10, (3, 4)).astype(np.int32)
INT2 = rng.integers(1, 4, (3, 4)).astype(np.int32)
BYTES = rng.integers(0, 256, (3, 4)).astype(np.uint8)
BOOL = A > 0

# ---- operators -------------------------------------------------------------------------------

ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"]
OTHERS = ["eq", "ne", "lt", "le", "gt", "ge"]
BITS = ["and_", "or_", "xor"]
IN_PLACE = ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow"]


@pytest.mark.parametrize("name", ARITHMETIC + OTHERS)
def test_operators(name):
    function = getattr(operator, name)
    check(function, (P, P[::-1].copy()))
    check(lambda x: function(x, 1.5), (P,))
    check(lambda x: function(1.5, x), (P,))
    check(lambda x: function(P, x), (P + 0.1,))
    check(lambda x: function(np.float64(1.5), x), (P,))
    if name != "pow":
        check(function, (INT, INT2))
        check(lambda x: function(x, 3), (INT,))
        check(lambda x: function(7, x), (INT2,))


@pytest.mark.parametrize("name", BITS)
def test_bit_operators(name):
    function = getattr(operator, name)
    check(function, (BOOL, ~BOOL))
    check(function, (INT, INT2))
    check(lambda x: function(x, True), (BOOL,))
    check(lambda x: function(6, x), (INT,))
    with pytest.raises(TypeError, match="got float64, expected bool or int"):
        ebm.jit(function)(A, B)


@pytest.mark.parametrize("name", IN_PLACE)
def test_operators_in_place_bind_a_new_value(name):
    function = getattr(operator, name)

    def rebinds(x, y):
        z = x
        z = function(z, y)
        return z * x  # x is what it was

    kept = P.copy()
    expected = getattr(operator, name[1:])(P, P.T.reshape(3, 4)) * P
    np.testing.assert_allclose(ebm.jit(rebinds)(P, P.T.reshape(3, 4)), expected, rtol=1e-13)
    np.testing.assert_array_equal(P, kept)


OPERATOR_ROWS = [
    row(lambda x: [-x, +x, abs(x), *divmod(x, 0.7), *divmod(2.0, x)], A),
    row(lambda x: [*divmod(x, 4), *divmod(50, x)], INT2),
    row(lambda x: [x << 2, x >> 1, ~x], INT),
    row(lambda x: [A @ x.T, x @ x.T, x.T @ A], B),
    row(lambda x: [r.sum() for r in x] + [len(x), *reversed(x)], A),
    row(lambda x, y: [a * b for a, b in zip(x, y, strict=True)], A, B),
]

# ---- methods and attributes ------------------------------------------------------------------

METHOD_ROWS = [
    row(lambda x: [x.sum(), x.sum(0), x.sum(axis=1, keepdims=True), x.sum(where=BOOL)], A),
    row(lambda x: [x.mean(), x.mean(0), x.std(0), x.var(1, ddof=1), x.var(axis=(0, 1))], A),
    row(lambda x: [x.max(), x.max(1), x.min(0), x.min(initial=-9.0), x.max(-1)], A),
    row(lambda x: [x.argmax(), x.argmax(0), x.argmin(1), x.argmin(axis=-1, keepdims=True)], A),
    row(lambda x: [x.cumsum(), x.cumsum(0), x.cumsum(axis=1)], A),
    row(lambda x: [x.clip(-0.5, 0.5), x.clip(max=0), x.clip(0), x.round(), x.copy()], A),
    row(lambda x: [x.round(1)], A, gradient=False),
    row(lambda x, y: [x.dot(y.T), x.dot(2.5), x[0].dot(y[0])], A, B),
    row(lambda x: [x.reshape(2, 6), x.reshape((6, -1)), x.ravel(), x.flatten()], A),
    row(lambda x: [x.squeeze(), x[None].squeeze(0), x[..., None].squeeze(axis=-1)], A),
    row(lambda x: [x.swapaxes(0, 2), x.transpose(1, 2, 0), x.transpose(), x.T, x.mT], CUBE),
    row(
        lambda x: [x.take([0, 5]), x.take([1, 0], axis=1), x.repeat(2), x.repeat(3, axis=1)], A
    ),
    row(lambda x: [x.diagonal(), x.diagonal(1), x.trace(), x.trace(offset=-1)], SQUARE),
    row(lambda x: [x.any(), x.all(), x.any(0), x.all(axis=1, keepdims=True)], BOOL),
    row(lambda x: [x.astype(np.float64), x.astype(bool), x.astype("uint8")], INT2),
    row(lambda x: [x.real, x.imag, x.conj(), x.conjugate()], A),
    row(lambda x: [x.nbytes, x.itemsize, x.size, x.ndim, len(x), *x.shape], A),
    row(lambda x: [x.nbytes, x.itemsize, x.sum(), x.mean(), x.max(), x.cumsum()], BYTES),
    row(lambda x: [copy.copy(x), copy.deepcopy(x)], A),
]


@pytest.mark.parametrize(("function", "args", "gradient"), OPERATOR_ROWS + METHOD_ROWS)
def test_row(function, args, gradient):
    check(function, args)
    if gradient:
        check_derivatives(function, args)


def test_dtype_and_shape_are_known():
    def f(x):
        assert x.dtype == np.float64
        assert (x.shape, x.ndim, x.size, x.nbytes) == ((3, 4), 2, 12, 96)
        assert np.shape(x) == (3, 4)
        assert np.ndim(x) == 2
        assert np.size(x, 1) == 4
        assert hasattr(x, "sum")
        assert not hasattr(x, "fill")
        assert not hasattr(x, "no_such_thing")
        return x

    ebm.jit(f)(A)


REFUSED = {
    "fill": r"np\.full_like", "flat": r"x\.ravel", "resize": r"x\.reshape",
    "put": r"x\.at\[index\]\.set", "nonzero": r"np\.where",
    "view": r"x\.astype", "strides": "no memory", "flags": "no memory", "data": "no memory",
    "tobytes": "outside", "tofile": "outside", "searchsorted": r"np\.searchsorted",
    "compress": r"np\.where", "choose": r"np\.choose", "byteswap": "outside",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_methods_without_a_meaning_say_what_to_use(name):
    with pytest.raises(
        AttributeError, match=rf"a traced array has no \.{name}: .*{REFUSED[name]}"
    ):
        ebm.jit(lambda x: getattr(x, name)())(A)


@pytest.mark.parametrize("what", ["item", "tolist", "__bool__", "__float__", "__int__"])
def test_values_are_not_known(what):
    with pytest.raises(TypeError, match=r"traced array: .*np\.where.*ebm\.repeat"):
        ebm.jit(lambda x: getattr(x[0, 0], what)())(A)


# ---- x.at ------------------------------------------------------------------------------------


def written(x, index, v, write):
    y = x.copy()
    write(y, index, v)
    return y


def set_(y, index, v):
    y[index] = v


WRITES = {
    "set": set_,
    "add": np.add.at,
    "subtract": np.subtract.at,
    "multiply": np.multiply.at,
    "divide": np.divide.at,
    "min": np.minimum.at,
    "max": np.maximum.at,
}
INDICES = [
    0,
    -1,
    (1, 2),
    (slice(None), 2),
    slice(1, None),
    slice(None, None, 2),
    slice(None, None, -1),
    (slice(2, 0, -1), slice(3, None, -2)),
    (Ellipsis, 1),
    (None, 1),
    (slice(0, 2), None, slice(1, 3)),
    Ellipsis,
    slice(5, 9),
    [2, 0],
    (slice(None), [3, 1]),
    ([0, 2, 1], [3, 3, 0]),
    (np.array([[0], [2]]), np.array([1, 3])),
    (None, [0, 1], slice(1, 3)),
    BOOL,
    [True, False, True],
    (slice(None), np.array([True, False, False, True])),
    np.zeros(0, np.int64),
]


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_at(index, method):
    shape = A[index].shape
    v = rng.uniform(0.5, 2.0, shape)
    for value in (v, 1.5, v[..., :1] if v.ndim else v):
        expected = written(A, index, value, WRITES[method])
        got = ebm.jit(lambda x, v: getattr(x.at[index], method)(v))(A, value)
        np.testing.assert_allclose(got, expected, rtol=1e-13)
    for dtype in (np.int32, np.float32) if method != "divide" else (np.float32,):
        x, w = (9 * A).astype(dtype), np.ceil(v).astype(dtype)
        got = ebm.jit(lambda x, v: getattr(x.at[index], method)(v))(x, w)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, written(x, index, w, WRITES[method]), rtol=1e-6)
    np.testing.assert_array_equal(ebm.jit(lambda x: x.at[index].get())(A), A[index])


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_derivatives_of_at(index, method):
    """Against differences of NumPy's assignments."""
    v, weight = rng.uniform(0.5, 2.0, A[index].shape), rng.standard_normal(A.shape)

    def f(x, v):
        if isinstance(x, ebm.TracedArray):
            y = getattr(x.at[index], method)(np.sin(v))
        else:
            y = written(x, index, np.sin(v), WRITES[method])
        return np.sum(y**3 * weight)

    slopes = ebm.grad(f, (0, 1))(A, v)
    h, along_x, along_v = 1e-5, rng.standard_normal(A.shape), rng.standard_normal(v.shape)
    ahead = f(A + h * along_x, v + h * along_v)
    behind = f(A - h * along_x, v - h * along_v)
    slope = np.sum(slopes[0] * along_x) + np.sum(slopes[1] * along_v)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-7)


def test_traced_indices():
    i, rows = np.int32(1), np.array([2, 0], np.int32)
    check_at = [
        (lambda x, i: x.at[i].set(7.0), i, "set"),
        (lambda x, i: x.at[i, 1:].add(7.0), i, "add"),
        (lambda x, i: x.at[:, i].multiply(2.0), i, "multiply"),
        (lambda x, i: x.at[i].set(x[0]), rows, "set"),
        (lambda x, i: x.at[i, i].add(1.0), rows, "add"),
        (lambda x, i: x.at[-i].set(0.5), rows, "set"),
    ]
    wanted = [
        written(A, 1, 7.0, set_),
        written(A, (1, slice(1, None)), 7.0, np.add.at),
        written(A, (slice(None), 1), 2.0, np.multiply.at),
        written(A, [2, 0], A[0], set_),
        written(A, ([2, 0], [2, 0]), 1.0, np.add.at),
        written(A, [-2, 0], 0.5, set_),
    ]
    for (function, index, _), expected in zip(check_at, wanted, strict=True):
        np.testing.assert_allclose(ebm.jit(function)(A, index), expected, rtol=1e-13)


def test_places_named_twice():
    index = np.array([1, 1, 0, 1])
    v = np.array([1.0, 2.0, 4.0, 8.0])
    x = np.zeros(3)
    assert ebm.jit(lambda x, v: x.at[index].add(v))(x, v).tolist() == [4, 11, 0]
    assert ebm.jit(lambda x, v: x.at[index].set(v))(x, v).tolist() == [4, 8, 0]
    slopes = ebm.grad(lambda x, v: np.sum(x.at[index].set(v) ** 2), (0, 1))(x + 1, v)
    assert [s.tolist() for s in slopes] == [[0, 0, 2], [0, 0, 8, 16]]
    for method in ("multiply", "min", "max", "divide"):
        with pytest.raises(ValueError, match=f"at.{method}: the index names a place twice"):
            ebm.jit(lambda x, v, m=method: getattr(x.at[index], m)(v))(x, v)
        with pytest.raises(TypeError, match=f"at.{method}: got a traced index array"):
            ebm.jit(lambda x, v, i, m=method: getattr(x.at[i], m)(v))(x, v, index)


def test_traced_masks():
    """They are np.where."""
    for v in (0.0, B[0]):
        got = ebm.jit(lambda x, v: x.at[x > 0].set(v))(A, v[0] if np.ndim(v) else v)
        np.testing.assert_array_equal(got, np.where(A > 0, v[0] if np.ndim(v) else v, A))
    rows = A[:, 0] > 0
    got = ebm.jit(lambda x, m, v: x.at[m].add(v))(A, rows, B[0])
    np.testing.assert_allclose(got, np.where(rows[:, None], A + B[0], A))
    assert ebm.grad(lambda x: np.sum(x.at[x < 0].set(0.0) ** 2))(
        np.array([-1.0, 2.0])
    ).tolist() == [0, 4]


def test_dtypes_of_at():
    got = ebm.jit(lambda x: x.at[0].set(2))(BYTES)
    assert got.dtype == np.uint8
    got = ebm.jit(lambda x: x.at[[0, 0]].add(100))(BYTES)
    np.testing.assert_array_equal(got[0], BYTES[0] + np.uint8(200))
    got = ebm.jit(lambda x: x.at[0].set(True).at[1].add(True))(BOOL)
    assert got.dtype == bool
    assert got[:2].all()
    assert ebm.jit(lambda x: x.at[0].set(1))(A).dtype == np.float64


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda x: x.astype(int).at[0].set(1.5), TypeError, r"at.set: got float64, expected"),
        (lambda x: (x > 0).at[0].set(1.0), TypeError, r"at.set: got float64, expected"),
        (lambda x: x.at[0].set(np.ones(3)), ValueError, "broadcast"),
        (lambda x: x.at[5].set(1.0), IndexError, "index 5 is out of bounds"),
        (lambda x: x.at[[5]].set(1.0), IndexError, "index 5 is out of bounds"),
        (lambda x: x.at[0, 0, 0].set(1.0), IndexError, "too many indices"),
        (lambda x: x.at[1.5].set(1.0), IndexError, "valid indices"),
        (lambda x: x.astype(int).at[0].divide(2), TypeError, "at.divide: got int32"),
        (lambda x: x.at[x > 0].set(np.ones(12)), ValueError, r"traced mask.*np\.where"),
        (lambda x: x.at[(x > 0).T].set(1.0), ValueError, "at: mask: got shape"),
        (lambda x: x.at[:, x[0] > 0].set(1.0), TypeError, r"a traced mask.*np\.where"),
        (lambda x: x[x > 0], TypeError, r"a traced mask.*np\.where.*x\.at\[mask\]\.set"),
    ],
)
def test_wrong_updates(function, error, words):
    with pytest.raises(error, match=words):
        ebm.jit(function)(A)
