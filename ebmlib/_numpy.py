"""Which NumPy functions can be traced, and how: from the function to builders of the core.

To add one, write a function with NumPy's name and arguments (leave out arguments that cannot be
supported: Python then says so) and put ``@ufunc(np.f)`` or ``@function(np.f)`` in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ._core import Node, ops
from ._trace import (
    BOOL,
    INT,
    Value,
    as_bool,
    as_float,
    as_node,
    need,
    promote,
    promote_float,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ._array import Array

F = TypeVar("F", bound=Callable[..., Any])
Axis = int | Sequence[int] | None
Unary = Callable[[Value], "Array"]

UFUNCS: dict[np.ufunc, Callable[..., Array]] = {}
FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}
REDUCTIONS: dict[np.ufunc, Callable[..., Any]] = {  # ufunc -> the function that its .reduce is
    np.add: np.sum,
    np.maximum: np.max,
    np.minimum: np.min,
    np.logical_or: np.any,
    np.logical_and: np.all,
}


def _give_name(implementation: Callable[..., Any], name: str) -> None:
    """Python names a function in what it says about wrong arguments."""
    implementation.__name__ = implementation.__qualname__ = f"np.{name}"


def ufunc(*ufuncs: np.ufunc) -> Callable[[F], F]:
    def register(implementation: F) -> F:
        _give_name(implementation, ufuncs[0].__name__)
        UFUNCS.update(dict.fromkeys(ufuncs, implementation))
        return implementation

    return register


def function(*functions: Callable[..., Any]) -> Callable[[F], F]:
    def register(implementation: F) -> F:
        _give_name(implementation, name_of(functions[0]))
        FUNCTIONS.update(dict.fromkeys(functions, implementation))
        return implementation

    return register


def name_of(numpy_function: Callable[..., Any]) -> str:
    """Its name from numpy on: linalg.norm."""
    module = getattr(numpy_function, "__module__", None) or "numpy"
    return f"{module}.{numpy_function.__name__}".removeprefix("numpy.")


def supported_functions() -> list[str]:
    """The names of the NumPy functions that can be traced, sorted.

    >>> import ebmlib as ebm
    >>> "einsum" in ebm.supported_functions()
    True
    """
    names = {u.__name__ for u in UFUNCS} | {name_of(f) for f in FUNCTIONS}
    return sorted(names)


# ---- elementwise: one argument ---------------------------------------------------------------


def _float_unary(build: Callable[..., Array]) -> Unary:
    def call(x: Value) -> Array:
        return build(need().graph, as_float(x))

    return call


for _ufunc, _build in {
    np.exp: ops.exp,
    np.log: ops.log,
    np.log1p: ops.log1p,
    np.expm1: ops.expm1,
    np.sqrt: ops.sqrt,
    np.sin: ops.sin,
    np.cos: ops.cos,
    np.tanh: ops.tanh,
}.items():
    ufunc(_ufunc)(_float_unary(_build))


def _number(x: Value) -> Array:
    """The value as a node that arithmetic takes: bools and uint8 as int32."""
    node = as_node(x)
    return node if node.dtype.kind == "f" or node.dtype == INT else as_node(node, INT)


def _number_unary(build: Callable[..., Array]) -> Unary:
    def call(x: Value) -> Array:
        node = _number(x)
        result = build(need().graph, node)
        return result.as_weak() if node.weak else result

    return call


ufunc(np.negative)(_number_unary(ops.neg))
ufunc(np.absolute, np.fabs)(_number_unary(ops.abs))
ufunc(np.square)(_number_unary(ops.square))
ufunc(np.sign)(_number_unary(ops.sign))


def _rounding(build: Callable[..., Array]) -> Unary:
    def call(x: Value) -> Array:
        node = as_node(x)
        return build(need().graph, node) if node.dtype.kind == "f" else node

    return call


ufunc(np.floor)(_rounding(ops.floor))
ufunc(np.ceil)(_rounding(ops.ceil))
ufunc(np.rint)(_rounding(ops.round))


@ufunc(np.trunc)
def trunc(x: Value) -> Array:
    return where(less(x, 0), UFUNCS[np.ceil](x), UFUNCS[np.floor](x))


@function(np.round, np.around)
def round(a: Value, decimals: int = 0) -> Array:
    if decimals:
        raise TypeError(f"np.round of a traced array: decimals must be 0, got {decimals}")
    return UFUNCS[np.rint](a)


@ufunc(np.positive, np.conjugate)
@function(np.copy, np.real)
def positive(x: Value) -> Array:
    return as_node(x)


@ufunc(np.reciprocal)
def reciprocal(x: Value) -> Array:
    return ops.recip(need().graph, as_float(x))


@ufunc(np.tan)
def tan(x: Value) -> Array:
    return divide(UFUNCS[np.sin](x), UFUNCS[np.cos](x))


@ufunc(np.arctan)
def arctan(x: Value) -> Array:
    return arctan2(x, 1.0)


@ufunc(np.cosh)
def cosh(x: Value) -> Array:
    x = as_float(x)
    return multiply(0.5, add(UFUNCS[np.exp](x), UFUNCS[np.exp](negative(x))))


@ufunc(np.sinh)
def sinh(x: Value) -> Array:
    x = as_float(x)
    return multiply(0.5, subtract(UFUNCS[np.expm1](x), UFUNCS[np.expm1](negative(x))))


@ufunc(np.exp2)
def exp2(x: Value) -> Array:
    return UFUNCS[np.exp](multiply(as_float(x), math.log(2)))


@ufunc(np.log2)
def log2(x: Value) -> Array:
    return multiply(UFUNCS[np.log](x), 1 / math.log(2))


@ufunc(np.log10)
def log10(x: Value) -> Array:
    return multiply(UFUNCS[np.log](x), 1 / math.log(10))


@ufunc(np.isfinite)
def isfinite(x: Value) -> Array:
    node = as_node(x)
    if node.dtype.kind == "f":
        return ops.isfinite(need().graph, node)
    return ops.full(need().graph, BOOL, node.shape, True)


@ufunc(np.isnan)
def isnan(x: Value) -> Array:
    return not_equal(x, x)


@ufunc(np.isinf)
def isinf(x: Value) -> Array:
    return equal(absolute(x), np.inf) if as_node(x).dtype.kind == "f" else not_equal(x, x)


# ---- elementwise: two arguments --------------------------------------------------------------


def _is_weak(value: Value) -> bool:
    return value.weak if isinstance(value, Node) else type(value) is float or type(value) is int


def _binary(
    build: Callable[..., Array], of_bools: Callable[..., Array] | None = None
) -> Callable[[Value, Value], Array]:
    """Arithmetic in the common dtype; two Python numbers stay one."""

    def call(a: Value, b: Value) -> Array:
        graph = need().graph
        x, y = promote(a, b)
        if of_bools is not None and x.dtype == BOOL:
            return of_bools(graph, x, y)
        result = build(graph, x, y)
        return result.as_weak() if _is_weak(a) and _is_weak(b) else result

    return call


add = ufunc(np.add)(_binary(ops.add, ops.logical_or))
subtract = ufunc(np.subtract)(_binary(ops.sub))
multiply = ufunc(np.multiply)(_binary(ops.mul, ops.logical_and))
maximum = ufunc(np.maximum)(_binary(ops.maximum, ops.logical_or))
minimum = ufunc(np.minimum)(_binary(ops.minimum, ops.logical_and))
negative, absolute = UFUNCS[np.negative], UFUNCS[np.absolute]


@ufunc(np.true_divide)
def divide(a: Value, b: Value) -> Array:
    result = ops.div(need().graph, *promote_float(a, b))
    return result.as_weak() if _is_weak(a) and _is_weak(b) else result


@ufunc(np.arctan2)
def arctan2(a: Value, b: Value) -> Array:
    return ops.atan2(need().graph, *promote_float(a, b))


@ufunc(np.logaddexp)
def logaddexp(a: Value, b: Value) -> Array:
    a, b = promote_float(a, b)
    top = maximum(a, b)
    below = add(subtract(a, top), subtract(b, top))  # symmetric: right derivatives at ties
    return add(top, ops.softplus(need().graph, where(isfinite(top), below, -np.inf)))


@ufunc(np.power, np.float_power)
def power(a: Value, b: Value) -> Array:
    if not isinstance(b, Node) and np.ndim(b) == 0 and float(b) in _POWERS:
        return _POWERS[float(b)](_number(a))
    x, y = promote(a, b)
    if x.dtype.kind != "f":
        raise TypeError("np.power of traced integers: only the exponents 1, 2, 3 and 4 work")
    return ops.pow(need().graph, x, y)


_POWERS = {
    1.0: positive,
    2.0: UFUNCS[np.square],
    3.0: lambda x: multiply(x, UFUNCS[np.square](x)),
    4.0: lambda x: UFUNCS[np.square](UFUNCS[np.square](x)),
    0.5: UFUNCS[np.sqrt],
    -1.0: reciprocal,
}


@ufunc(np.floor_divide)
def floor_divide(a: Value, b: Value) -> Array:
    graph = need().graph
    x, y = promote(a, b)
    if x.dtype.kind == "f":
        return ops.floor(graph, ops.div(graph, x, y))
    return ops.floordiv(graph, _number(x), _number(y))


@ufunc(np.remainder)
def remainder(a: Value, b: Value) -> Array:
    graph = need().graph
    x, y = promote(a, b)
    if x.dtype.kind == "f":
        return subtract(x, multiply(ops.floor(graph, ops.div(graph, x, y)), y))
    return ops.mod(graph, _number(x), _number(y))


# ---- comparisons and logic -------------------------------------------------------------------


@ufunc(np.equal)
def equal(a: Value, b: Value) -> Array:
    return ops.equal(need().graph, *promote(a, b))


@ufunc(np.not_equal)
def not_equal(a: Value, b: Value) -> Array:
    return ops.logical_not(need().graph, equal(a, b))


@ufunc(np.less)
def less(a: Value, b: Value) -> Array:
    x, y = promote(a, b)
    return ops.less(need().graph, _number(x), _number(y))


@ufunc(np.less_equal)
def less_equal(a: Value, b: Value) -> Array:
    x, y = promote(a, b)
    return ops.less_equal(need().graph, _number(x), _number(y))


@ufunc(np.greater)
def greater(a: Value, b: Value) -> Array:
    return less(b, a)


@ufunc(np.greater_equal)
def greater_equal(a: Value, b: Value) -> Array:
    return less_equal(b, a)


def _logical(build: Callable[..., Array]) -> Callable[..., Array]:
    def call(*values: Value) -> Array:
        return build(need().graph, *map(as_bool, values))

    return call


def _bitwise(name: str, build: Callable[..., Array]) -> Callable[..., Array]:
    def call(*values: Value) -> Array:
        nodes = promote(*values)
        if nodes[0].dtype != BOOL:
            raise TypeError(f"np.{name} of traced arrays works on bools, got {nodes[0].dtype}")
        return build(need().graph, *nodes)

    return call


for _name in ("and", "or", "xor"):
    _logic = getattr(ops, f"logical_{_name}")
    ufunc(getattr(np, f"logical_{_name}"))(_logical(_logic))
    ufunc(getattr(np, f"bitwise_{_name}"))(_bitwise(f"bitwise_{_name}", _logic))
ufunc(np.logical_not)(_logical(ops.logical_not))
ufunc(np.invert)(_bitwise("invert", ops.logical_not))


@function(np.where)
def where(condition: Value, x: Value, y: Value) -> Array:
    return ops.select(need().graph, as_bool(condition), *promote(x, y))


@function(np.clip)
def clip(
    a: Value, a_min: Value = None, a_max: Value = None, *, min: Value = None, max: Value = None
) -> Array:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    if low is not None:
        a = maximum(a, low)
    return as_node(a) if high is None else minimum(a, high)


# ---- reductions ------------------------------------------------------------------------------


def _axes(axis: Axis, ndim: int) -> tuple[int, ...] | None:
    return None if axis is None else normalize_axis_tuple(axis, ndim)


def _reduction(
    build: Callable[..., Array], prepare: Callable[[Value], Array]
) -> Callable[..., Array]:
    def call(a: Value, axis: Axis = None, keepdims: bool = False) -> Array:
        node = prepare(a)
        return build(need().graph, node, _axes(axis, node.ndim), keepdims)

    return call


function(np.max)(_reduction(ops.max, as_node))
function(np.min)(_reduction(ops.min, as_node))
function(np.any)(_reduction(ops.any, as_bool))
function(np.all)(_reduction(ops.all, as_bool))


@function(np.sum)
def sum(
    a: Value, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
) -> Array:
    node = _number(a) if dtype is None else as_node(a, dtype)
    return ops.sum(need().graph, node, _axes(axis, node.ndim), keepdims)


@function(np.count_nonzero)
def count_nonzero(a: Value, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return sum(as_bool(a), axis, keepdims=keepdims)


@function(np.mean)
def mean(
    a: Value, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
) -> Array:
    node = as_float(a) if dtype is None else as_node(a, dtype)
    return ops.mean(need().graph, node, _axes(axis, node.ndim), keepdims)


@function(np.var)
def var(
    a: Value,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
) -> Array:
    node = as_float(a) if dtype is None else as_node(a, dtype)
    axes = _axes(axis, node.ndim)
    value = ops.variance(need().graph, node, axes, keepdims)
    if ddof == 0:
        return value
    n = math.prod(node.shape if axes is None else [node.shape[k] for k in axes])
    return multiply(value, n / (n - ddof) if n != ddof else math.inf)


@function(np.std)
def std(
    a: Value,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
) -> Array:
    return UFUNCS[np.sqrt](var(a, axis, dtype, ddof=ddof, keepdims=keepdims))


def flat_or_axis(node: Array, axis: int | None) -> tuple[Array, int]:
    """(node, axis) to work along; the whole array as one axis for None."""
    if axis is None:
        return ops.reshape(need().graph, node, node.size), 0
    return node, normalize_axis_index(axis, node.ndim)


@function(np.argmax)
def argmax(a: Value, axis: int | None = None, *, keepdims: bool = False) -> Array:
    node, at = flat_or_axis(_number(a), axis)
    result = ops.argmax(need().graph, node, at)
    if not keepdims:
        return result
    graph, kept = need().graph, [1] * np.ndim(a)
    return ops.reshape(graph, result, kept if axis is None else _with_one(node.shape, at))


def _with_one(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], 1, *shape[axis + 1 :])


@function(np.argmin)
def argmin(a: Value, axis: int | None = None, *, keepdims: bool = False) -> Array:
    return argmax(negative(a), axis, keepdims=keepdims)


@function(np.cumsum)
def cumsum(a: Value, axis: int | None = None, dtype: DTypeLike | None = None) -> Array:
    node, at = flat_or_axis(_number(a) if dtype is None else as_node(a, dtype), axis)
    return ops.cumsum(need().graph, node, at, False)
