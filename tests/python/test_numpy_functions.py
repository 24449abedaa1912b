"""Every NumPy function that can be traced gives what NumPy gives: values, shapes and dtypes."""

from pathlib import Path

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _numpy as table
from tests.python.numpy_check import FLOATS, check, check_derivatives, in_dtype, row

rng = np.random.default_rng(0)
A = rng.standard_normal((3, 4))
B = rng.standard_normal((3, 4))
P = rng.uniform(0.5, 2.0, (3, 4))
ROW = rng.standard_normal(4)
CUBE = rng.standard_normal((2, 3, 4))
SQUARE = rng.standard_normal((4, 4))
BOOL = A > 0
BOOL2 = B > 0
INT = rng.integers(-5, 6, (3, 4)).astype(np.int32)
INT2 = rng.integers(1, 4, (3, 4)).astype(np.int32)
TIES = np.array([[1.0, 2.0, 2.0], [3.0, 3.0, -1.0]])
SPECIAL = np.array([0.0, -0.0, 1.5, -2.5, 0.5, np.inf, -np.inf, np.nan])


FLOAT_UNARY = [
    np.exp, np.log, np.log1p, np.expm1, np.sqrt, np.sin, np.cos, np.tan, np.tanh, np.sinh,
    np.cosh, np.arctan, np.exp2, np.log2, np.log10, np.reciprocal, np.square, np.absolute,
    np.fabs, np.negative, np.positive, np.sign, np.floor, np.ceil, np.rint, np.trunc,
    np.round,
    np.isfinite, np.isnan, np.isinf, np.logical_not, np.conjugate, np.real, np.copy,
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FLOAT_UNARY, ids=lambda f: f.__name__)
def test_float_unary(function, dtype):
    check(function, (P.astype(dtype),))


@pytest.mark.parametrize("function", FLOAT_UNARY, ids=lambda f: f.__name__)
def test_derivatives_of_unary(function):
    check_derivatives(function, (P / 2,))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FLOAT_UNARY, ids=lambda f: f.__name__)
def test_special_values(function, dtype):
    x = SPECIAL.astype(dtype)
    if function in (np.sin, np.cos, np.tan):
        x = x[np.isfinite(x)]
    with np.errstate(all="ignore"):
        check(function, (x,))


@pytest.mark.parametrize(
    "function",
    [np.exp, np.log1p, np.sqrt, np.tanh, np.sin, np.square, np.absolute, np.negative, np.sign,
     np.floor, np.isfinite, np.isnan, np.isinf, np.mean, np.std, np.var],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_int_unary(function):
    check(function, (INT2,))


BINARY = [
    np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, np.arctan2, np.power,
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.logaddexp,
    np.logical_and, np.logical_or, np.logical_xor, np.floor_divide, np.remainder,
]  # fmt: skip


def without(functions, *others):
    return [f for f in functions if f not in others]


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("other", ["array", "row", "number"])
def test_binary(function, other):
    y = {"array": P[::-1].copy(), "row": P[0], "number": 1.5}[other]
    check(function, (P, y))
    check(lambda x: function(x, y), (P,))
    check(lambda x: function(y, x), (P,))
    check(function, (P.astype("float32"), y if other == "number" else y.astype("float32")))


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
def test_derivatives_of_binary(function):
    check_derivatives(function, (P, P[::-1] + 0.1))
    check_derivatives(lambda x: function(x, 1.7), (P,))


@pytest.mark.parametrize("function", without(BINARY, np.power), ids=lambda f: f.__name__)
def test_binary_of_ints(function):
    check(function, (INT, INT2))


@pytest.mark.parametrize(
    "function",
    [np.add, np.multiply, np.maximum, np.minimum, np.equal, np.less, np.logical_and,
     np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.logical_or, np.logical_xor],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_binary_of_bools(function):
    check(function, (BOOL, BOOL2))


KINDS = [np.ones(3, d) for d in ("float32", "float64", "int32", "bool")]
NUMBERS = [2, 2.0, True, np.float32(2), np.float64(2), np.int32(2), np.int64(2)]


@pytest.mark.parametrize("function", [np.add, np.divide, np.maximum], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "b", KINDS + NUMBERS, ids=lambda b: f"{type(b).__name__}-{np.dtype(np.asarray(b).dtype)}"
)
@pytest.mark.parametrize("a", KINDS, ids=lambda a: str(a.dtype))
def test_promotion_is_numpys(function, a, b):
    if function is np.divide and {a.dtype, np.asarray(b).dtype} == {np.dtype(bool)}:
        a = a.astype("int32")  # of two bools NumPy makes float64, and here it is float32
    check(lambda a: function(a, b), (a,))
    check(lambda a: function(b, a), (a,))
    check(function, (a, b))


ROWS = [
    # operators
    row(lambda x, y: x + y - x * y / 2 + 3, A, B),
    row(lambda x: (2 - x) * (1 / x) - (x % 2) + (x // 2), P),
    row(lambda x: x**2 + x**3 + x**0.5 + x**-1 + x**1.7 + x**4 + 2**x, P),
    row(lambda x, y: x**y, P, B),
    row(lambda x: x**2 + x**3 + x % 3 + x // 2 + abs(-x), INT),
    row(lambda x, y: x @ y.T, A, B),
    row(lambda x: ~(x > 0) & (x < 1) | (x == 0) ^ (x >= 0.5), A),
    row(lambda x: +x + -x, A),
    row(lambda x: 5 // x + 7 % x, INT2),
    # reductions
    row(lambda x: np.sum(x), A),
    row(lambda x: np.sum(x, axis=1), A),
    row(lambda x: np.sum(x, axis=(0, -1), keepdims=True), CUBE),
    row(lambda x: np.sum(x, axis=()), A),
    row(lambda x: np.sum(x, axis=0), BOOL),
    row(lambda x: np.sum(x, axis=0, dtype=np.float32), INT),
    row(lambda x: np.mean(x, axis=0), A),
    row(lambda x: np.mean(x, axis=0), INT),
    row(lambda x: np.max(x, axis=1), A),
    row(lambda x: np.min(x, axis=1, keepdims=True), A),
    row(lambda x: np.max(x), INT),
    row(lambda x: np.var(x, axis=0), A),
    row(lambda x: np.var(x, ddof=1), A),
    row(lambda x: np.std(x, axis=1, keepdims=True, ddof=1), A),
    row(lambda x: np.argmax(x), TIES),
    row(lambda x: np.argmax(x, axis=1), TIES),
    row(lambda x: np.argmin(x, axis=0, keepdims=True), TIES),
    row(lambda x: np.cumsum(x), A),
    row(lambda x: np.cumsum(x, axis=1), A),
    row(lambda x: np.any(x, axis=1), BOOL),
    row(lambda x: np.all(x > -2), A),
    row(lambda x: np.count_nonzero(x, axis=0), INT),
    row(lambda x: np.add.reduce(x, axis=1) + np.maximum.reduce(x, 1), A),
    row(lambda x: x.sum() + x.mean(0) + x.max(axis=0) - x.min() + x.std() + x.var(), A),
    # shapes
    row(lambda x: np.reshape(x, (4, -1)), A),
    row(lambda x: x.reshape(2, 6) + x.reshape((2, -1)), A),
    row(lambda x: x.ravel() + x.flatten() + np.ravel(x), A),
    row(lambda x: np.transpose(x), CUBE),
    row(lambda x: np.transpose(x, (1, 2, 0)), CUBE),
    row(lambda x: x.T @ x + x.transpose() @ x, A),
    row(lambda x: x.mT, CUBE),
    row(lambda x: np.moveaxis(x, 0, -1), CUBE),
    row(lambda x: np.moveaxis(x, (0, 1), (-1, 0)), CUBE),
    row(lambda x: np.swapaxes(x, 0, 2), CUBE),
    row(lambda x: np.expand_dims(x, (0, -1)), A),
    row(lambda x: np.squeeze(np.expand_dims(x, 1)), A),
    row(lambda x: np.squeeze(x[:, None], axis=1), A),
    row(lambda x: np.broadcast_to(x, (5, 4)), ROW),
    row(lambda x, y: np.broadcast_arrays(x, y), A, ROW),
    row(lambda x: np.atleast_1d(np.sum(x)), A),
    # putting together, taking apart
    row(lambda x, y: np.concatenate([x, y, A]), A, B),
    row(lambda x, y: np.concatenate([x, y], axis=-1), A, B),
    row(lambda x, y: np.concatenate([x, y], axis=None), A, B),
    row(lambda x, y: np.concatenate([x, y]), A, INT),
    row(lambda x, y: np.stack([x, y]), A, B),
    row(lambda x, y: np.stack([x, y], axis=-1), A, B),
    row(lambda x, y: np.vstack([x, y, x[0]]), A, B),
    row(lambda x, y: np.hstack([x, y]), A, B),
    row(lambda x: np.hstack([x, x]), ROW),
    row(lambda x: np.column_stack([x, x]), ROW),
    row(lambda x: np.split(x, 2, axis=1), A),
    row(lambda x: np.split(x, [1, 3], axis=1), A),
    row(lambda x: np.array_split(x, 3, axis=1), A),
    row(lambda x: np.flip(x), A),
    row(lambda x: np.flip(x, axis=1), A),
    row(lambda x: np.roll(x, 1), A),
    row(lambda x: np.roll(x, (1, -2), axis=(0, 1)), A),
    row(lambda x: np.repeat(x, 3, axis=0), A),
    row(lambda x: np.repeat(x, 2), A),
    row(lambda x: np.tile(x, (2, 1, 3)), A),
    row(lambda x: np.pad(x, ((1, 0), (2, 3))), A),
    row(lambda x: np.pad(x, 1), A),
    row(lambda x: np.diff(x), A),
    row(lambda x: np.diff(x, n=2, axis=0), A),
    row(lambda x: np.take(x, [2, 0, -1], axis=1), A),
    row(lambda x: np.take(x, [[0, 5], [7, 2]]), A),
    row(lambda x, i: np.take(x, i, axis=0), A, np.array([2, -1, 0, 0])),
    row(lambda x: np.diagonal(x), SQUARE),
    row(lambda x: np.diagonal(x, 1, 1, 2), CUBE),
    row(lambda x: np.diagonal(x, -1), A),
    row(lambda x: np.diag(x), SQUARE),
    row(lambda x: np.diag(x), ROW),
    row(lambda x: np.diag(x, 2), ROW),
    row(lambda x: np.diag(x, -2), ROW),
    row(lambda x: np.trace(x), SQUARE),
    row(lambda x: np.tril(x, 1) + np.triu(x, -1), A),
    # choosing
    row(lambda x, y: np.where(x > y, x, y), A, B),
    row(lambda x: np.where(x > 0, x, 0.0), A),
    row(lambda x: np.where(x > 0, 1, 0), A),
    row(lambda x: np.clip(x, -0.5, 0.5), A),
    row(lambda x: np.clip(x, None, 0.5), A),
    row(lambda x: x.clip(min=-0.5), A),
    row(lambda x, y: np.clip(x, -abs(y), abs(y)), A, B),
    row(lambda x: np.clip(x, -2, 2), INT),
    # constants
    row(lambda x: np.zeros_like(x) + np.ones_like(x) + np.full_like(x, 3), A),
    row(lambda x: np.zeros_like(x, dtype=np.int32), A),
    row(lambda x: np.ones_like(x, shape=(2, 2)), A),
    row(lambda x: np.linspace(0, 1, 4) * x + np.eye(4)[0], A),
    row(lambda x: x.astype(np.float32), A, gradient=False),
    row(lambda x: x.astype(int), A),
    row(lambda x: x.astype(bool), INT),
    row(lambda x: x * np.shape(x)[0] + np.size(x) + np.ndim(x) + len(x), A),
    # products
    row(lambda x, y: np.matmul(x, y), A, A.T.copy()),
    row(lambda x, y: np.matmul(x, y), A, ROW),
    row(lambda x, y: np.matmul(x, y), ROW, A.T.copy()),
    row(lambda x, y: x @ y, ROW, ROW),
    row(lambda x, y: x @ y, CUBE, SQUARE),
    row(lambda x, y: x @ y, INT, INT.T.copy()),
    row(lambda x, y: np.dot(x, y), A, ROW),
    row(lambda x, y: np.dot(x, y), CUBE, SQUARE),
    row(lambda x, y: np.dot(x, y), CUBE, CUBE.swapaxes(1, 2).copy()),
    row(lambda x: np.dot(x, x[0, 0]), A),
    row(lambda x, y: np.inner(x, y), A, CUBE),
    row(lambda x, y: np.vdot(x, y), A, B),
    row(lambda x, y: np.outer(x, y), A, ROW),
    row(lambda x, y: np.tensordot(x, y), A, B),
    row(lambda x, y: np.tensordot(x, y, axes=1), CUBE, SQUARE),
    row(lambda x, y: np.tensordot(x, y, axes=((0, 2), (1, 2))), CUBE, CUBE.swapaxes(0, 1)),
    row(lambda x, y: np.tensordot(x, y, axes=0), ROW, ROW),
    row(lambda x, y: np.einsum("ij,kj->ik", x, y), A, B),
    row(lambda x, y: np.einsum("ij,ij->i", x, y), A, B),
    row(lambda x, y: np.einsum("ij,ij", x, y), A, B),
    row(lambda x: np.einsum("ij->ji", x), A),
    row(lambda x: np.einsum("ijk->j", x), CUBE),
    row(lambda x, y: np.einsum("bij,jk->bik", x, y), CUBE, SQUARE),
    row(lambda x, y: np.einsum("i,j->ij", x, y), ROW, ROW),
    row(lambda x, y: np.einsum("...ij,jk", x, y), CUBE, SQUARE),
    row(lambda x, y: np.einsum("b...,b...->b...", x, y), A, B),
    row(lambda x, y, z: np.einsum("ij,jk,ik->i", x, y, z), A, SQUARE, B),
    row(lambda x, y: np.einsum("bij,bkj->bik", x, y), CUBE, CUBE),
    row(lambda x: np.linalg.norm(x), A),
    row(lambda x: np.linalg.norm(x, axis=1), A),
    row(lambda x: np.linalg.norm(x, axis=(1, 2), keepdims=True), CUBE),
    row(lambda x: np.linalg.norm(x, ord=1, axis=0) + np.linalg.norm(x, np.inf, axis=0), A),
    # indexing
    row(lambda x: x[0], A),
    row(lambda x: x[-1, 2], A),
    row(lambda x: x[1:, ::2], A),
    row(lambda x: x[::-1, 3:0:-2], A),
    row(lambda x: x[..., 0] + x[:, 1], A),
    row(lambda x: x[:, None] + x[None, :, :], A),
    row(lambda x: x[0, ..., None, 1:], CUBE),
    row(lambda x: x[5:], A),
    row(lambda x: x[[2, 0, -1]], A),
    row(lambda x: x[:, [3, 1]], A),
    row(lambda x: x[np.array([[0, 1], [2, 0]])], A),
    row(lambda x: x[np.arange(3), [3, -1, 0]], A),
    row(lambda x: x[:, [0, 2], [1, 3]], CUBE),
    row(lambda x: x[[0, 1], :, [1, 3]], CUBE),
    row(lambda x: x[0, :, [1, 3]], CUBE),
    row(lambda x: x[:, 1, [1, 3]], CUBE),
    row(lambda x: x[np.arange(2)[:, None], [2, 0]], CUBE),
    row(lambda x: x[[True, False, True]], A),
    row(lambda x: x[BOOL], A),
    row(lambda x, i: x[i], A, np.int32(-1)),
    row(lambda x, i: x[np.arange(3), i], A, np.array([1, 0, -2])),
    row(lambda x, i: x[i, None, 1:], A, np.array([1, 0, -2])),
    row(lambda x: [r * 2 for r in x], A),
    row(lambda x: np.result_type(x, np.float64) == x.dtype, A),
]  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("function", "args", "gradient"), ROWS)
def test_row(function, args, gradient, dtype):
    check(function, in_dtype(args, dtype))


@pytest.mark.parametrize(("function", "args", "gradient"), ROWS)
def test_derivatives(function, args, gradient):
    if gradient:
        check_derivatives(function, args)


@pytest.mark.parametrize("size", [0, 1])
def test_small_sizes(size):
    x = np.ones((size, 3))
    check(lambda x: np.sum(np.exp(x) * 2, axis=1), (x,))
    check(lambda x: np.concatenate([x, x[:0]]) @ np.ones((3, 2)), (x,))


def test_strided_arguments_are_read_right():
    x = np.arange(24.0).reshape(4, 6)
    for view in (x[::2, ::-3], x.T, np.broadcast_to(x[0], (3, 6)), x[1:1]):
        check(lambda v: np.exp(-v) + v, (view,))


def test_int64_arguments_become_int32():
    got = ebm.jit(lambda i: i + 1)(np.array([1, 2**31 - 2]))
    assert got.dtype == np.int32
    assert got.tolist() == [2, 2**31 - 1]


def test_every_supported_function_is_tested():
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for name in ebm.supported_functions():
        assert f"np.{name}" in here or name == "iscomplexobj", name


def test_table_has_the_names_of_numpy():
    for implementation, name in [(f, table.name_of(f)) for f in table.FUNCTIONS]:
        assert callable(implementation)
        place = np
        for part in name.split("."):
            place = getattr(place, part)
        assert place is implementation
