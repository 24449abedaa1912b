"""Which NumPy functions can be traced, and how: from the function to builders of the core.

To add one, write a function with NumPy's name and arguments (leave out arguments that cannot be
supported: Python then says so) and put ``@ufunc(np.f)`` or ``@function(np.f)`` in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ._checks import axis_index, axis_indices
from ._core import Graph, Node, ops
from ._trace import (
    BOOL,
    FLOAT64,
    INT,
    UINT8,
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

    from ._array import TracedArray

F = TypeVar("F", bound=Callable[..., Any])
Axis = int | Sequence[int] | None
Unary = Callable[[Value], "TracedArray"]

UFUNCS: dict[np.ufunc, Callable[..., TracedArray]] = {}
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


def _float_unary(build: Callable[..., TracedArray]) -> Unary:
    def call(x: Value) -> TracedArray:
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
    np.fabs: ops.abs,
    np.rint: ops.round,
}.items():
    ufunc(_ufunc)(_float_unary(_build))


def _number(x: Value) -> TracedArray:
    """The value as a node that arithmetic takes: bools and uint8 as int32."""
    node = as_node(x)
    return node if node.dtype.kind == "f" or node.dtype == INT else as_node(node, INT)


def _cut(build: Callable[..., TracedArray]) -> Callable[..., TracedArray]:
    """The builder also for uint8: in int32, of which the low eight bits are kept."""

    def of_any(graph: Graph, *nodes: TracedArray) -> TracedArray:
        if nodes[0].dtype != UINT8:
            return build(graph, *nodes)
        wide = [ops.cast(graph, node, INT) for node in nodes]
        return ops.cast(graph, build(graph, *wide), UINT8)

    return of_any


def _no_bools(name: str, node: TracedArray, cure: str) -> None:
    if node.dtype == BOOL:
        raise TypeError(f"np.{name}: got bool, expected numbers: use {cure}")


def _number_unary(ufunc: np.ufunc, build: Callable[..., TracedArray], cure: str = "") -> Unary:
    """Of numbers; also of bools, as int32, unless there is something better to use."""
    build = _cut(build)

    def call(x: Value) -> TracedArray:
        node = as_node(x)
        if cure:
            _no_bools(ufunc.__name__, node, cure)
        result = build(need().graph, as_node(node, INT) if node.dtype == BOOL else node)
        return result.as_weak() if node.weak else result

    return call


negative = ufunc(np.negative)(_number_unary(np.negative, ops.neg, "~x or np.logical_not"))
square = ufunc(np.square)(_number_unary(np.square, ops.square))
sign = ufunc(np.sign)(_number_unary(np.sign, ops.sign, "x.astype(int)"))


@ufunc(np.absolute)
def absolute(x: Value) -> TracedArray:
    node = as_node(x)
    if node.dtype in (BOOL, UINT8):
        return node
    result = ops.abs(need().graph, node)
    return result.as_weak() if node.weak else result


def _rounding(build: Callable[..., TracedArray]) -> Unary:
    def call(x: Value) -> TracedArray:
        node = as_node(x)
        return build(need().graph, node) if node.dtype.kind == "f" else node

    return call


floor = ufunc(np.floor)(_rounding(ops.floor))
ceil = ufunc(np.ceil)(_rounding(ops.ceil))
_round = _rounding(ops.round)


@ufunc(np.trunc)
@function(np.fix)
def trunc(x: Value) -> TracedArray:
    return where(less(x, 0), ceil(x), floor(x))


@function(np.round, np.around)
def round(a: Value, decimals: int = 0) -> TracedArray:
    node = as_node(a)
    if decimals == 0 or (node.dtype.kind != "f" and decimals > 0):
        return _round(node)
    if node.dtype.kind != "f":
        raise TypeError(f"np.round: decimals: got {decimals} for {node.dtype}, expected >= 0")
    scale = 10.0 ** abs(decimals)
    if decimals > 0:
        return divide(_round(multiply(node, scale)), scale)
    return multiply(_round(divide(node, scale)), scale)


@ufunc(np.positive, np.conjugate)
@function(np.copy, np.real, np.real_if_close)
def positive(x: Value) -> TracedArray:
    return as_node(x)


@ufunc(np.reciprocal)
def reciprocal(x: Value) -> TracedArray:
    node = as_node(x)
    if node.dtype.kind != "f":
        raise TypeError(f"np.reciprocal: got {node.dtype}, expected a float type: use 1 / x")
    return ops.recip(need().graph, node)


@ufunc(np.isfinite)
def isfinite(x: Value) -> TracedArray:
    node = as_node(x)
    if node.dtype.kind == "f":
        return ops.isfinite(need().graph, node)
    return ops.full(need().graph, BOOL, node.shape, True)


@ufunc(np.isnan)
def isnan(x: Value) -> TracedArray:
    return not_equal(x, x)


@ufunc(np.isinf)
def isinf(x: Value) -> TracedArray:
    return equal(absolute(x), np.inf) if as_node(x).dtype.kind == "f" else not_equal(x, x)


# ---- elementwise: two arguments --------------------------------------------------------------


def is_weak(value: Value) -> bool:
    """Whether the value is, or was, a Python number: it takes the dtype of the others."""
    return value.weak if isinstance(value, Node) else type(value) is float or type(value) is int


def _binary(
    build: Callable[..., TracedArray], of_bools: Callable[..., TracedArray] | None = None
) -> Callable[[Value, Value], TracedArray]:
    """Arithmetic in the common dtype; two Python numbers stay one."""
    build = _cut(build)

    def call(a: Value, b: Value) -> TracedArray:
        x, y = promote(a, b)
        if x.dtype == BOOL and of_bools is not None:
            return of_bools(need().graph, x, y)
        result = build(need().graph, x, y)
        return result.as_weak() if is_weak(a) and is_weak(b) else result

    return call


def _subtract(graph: Graph, x: TracedArray, y: TracedArray) -> TracedArray:
    _no_bools("subtract", x, "^ or np.logical_xor")
    return ops.sub(graph, x, y)


add = ufunc(np.add)(_binary(ops.add, ops.logical_or))
subtract = ufunc(np.subtract)(_binary(_subtract))
multiply = ufunc(np.multiply)(_binary(ops.mul, ops.logical_and))
maximum = ufunc(np.maximum)(_binary(ops.maximum, ops.logical_or))
minimum = ufunc(np.minimum)(_binary(ops.minimum, ops.logical_and))


@ufunc(np.true_divide)
def divide(a: Value, b: Value) -> TracedArray:
    result = ops.div(need().graph, *promote_float(a, b, of_small=FLOAT64))
    return result.as_weak() if is_weak(a) and is_weak(b) else result


@ufunc(np.arctan2)
def arctan2(a: Value, b: Value) -> TracedArray:
    return ops.atan2(need().graph, *promote_float(a, b))


@ufunc(np.logaddexp)
def logaddexp(a: Value, b: Value) -> TracedArray:
    a, b = promote_float(a, b)
    top = maximum(a, b)
    below = add(subtract(a, top), subtract(b, top))  # symmetric: right derivatives at ties
    return add(top, ops.softplus(need().graph, where(isfinite(top), below, -np.inf)))


@ufunc(np.power)
def power(a: Value, b: Value) -> TracedArray:
    x, y = promote(a, b)
    exponent = None if isinstance(b, Node) or np.ndim(b) else float(b)
    if x.dtype.kind != "f":
        result = _integer_power(as_node(x, INT) if x.dtype == BOOL else x, exponent)
    elif exponent in _POWERS:
        result = _POWERS[exponent](x)
    else:
        result = ops.pow(need().graph, x, y)
    return result.as_weak() if is_weak(a) and is_weak(b) else result


_POWERS = {
    1.0: positive,
    2.0: square,
    3.0: lambda x: multiply(x, square(x)),
    4.0: lambda x: square(square(x)),
    0.5: UFUNCS[np.sqrt],
    -1.0: reciprocal,
}


def _integer_power(x: TracedArray, exponent: float | None) -> TracedArray:
    """By repeated squaring, wrapping as integer products do."""
    if exponent is None or exponent < 0:
        got = "a traced exponent" if exponent is None else f"the exponent {exponent:.0f}"
        raise TypeError(
            f"np.power: got {x.dtype} and {got}, expected one int >= 0: make the base a float"
        )
    if exponent == 0:
        return ops.full(need().graph, x.dtype, x.shape, 1)
    if exponent == 1:
        return x
    even = square(_integer_power(x, exponent // 2))
    return multiply(x, even) if exponent % 2 else even


@ufunc(np.float_power)
def float_power(a: Value, b: Value) -> TracedArray:
    return power(*promote_float(a, b, of_small=FLOAT64))


@ufunc(np.floor_divide)
def floor_divide(a: Value, b: Value) -> TracedArray:
    """Of floats floor(a / b); NumPy's differs by one where a / b is rounded to an integer."""
    x, y = promote(a, b)
    if x.dtype.kind == "f":
        return floor(divide(x, y))
    x = as_node(x, INT) if x.dtype == BOOL else x
    return _cut(ops.floordiv)(need().graph, x, as_node(y, x.dtype))


@ufunc(np.remainder)
def remainder(a: Value, b: Value) -> TracedArray:
    """Of floats a - floor(a / b) b, which is a where the quotient is 0."""
    x, y = promote(a, b)
    if x.dtype.kind == "f":
        whole = floor(divide(x, y))
        return subtract(x, where(equal(whole, 0), 0, multiply(whole, y)))
    x = as_node(x, INT) if x.dtype == BOOL else x
    return _cut(ops.mod)(need().graph, x, as_node(y, x.dtype))


# ---- comparisons and logic -------------------------------------------------------------------


@ufunc(np.equal)
def equal(a: Value, b: Value) -> TracedArray:
    return ops.equal(need().graph, *promote(a, b))


@ufunc(np.not_equal)
def not_equal(a: Value, b: Value) -> TracedArray:
    return ops.logical_not(need().graph, equal(a, b))


@ufunc(np.less)
def less(a: Value, b: Value) -> TracedArray:
    x, y = promote(a, b)
    return ops.less(need().graph, _number(x), _number(y))


@ufunc(np.less_equal)
def less_equal(a: Value, b: Value) -> TracedArray:
    x, y = promote(a, b)
    return ops.less_equal(need().graph, _number(x), _number(y))


@ufunc(np.greater)
def greater(a: Value, b: Value) -> TracedArray:
    return less(b, a)


@ufunc(np.greater_equal)
def greater_equal(a: Value, b: Value) -> TracedArray:
    return less_equal(b, a)


def _logical(build: Callable[..., TracedArray]) -> Callable[..., TracedArray]:
    def call(*values: Value) -> TracedArray:
        return build(need().graph, *map(as_bool, values))

    return call


logical_and = ufunc(np.logical_and)(_logical(ops.logical_and))
logical_or = ufunc(np.logical_or)(_logical(ops.logical_or))
logical_xor = ufunc(np.logical_xor)(_logical(ops.logical_xor))
logical_not = ufunc(np.logical_not)(_logical(ops.logical_not))


def _bit_or(graph: Graph, x: TracedArray, y: TracedArray) -> TracedArray:
    return ops.sub(graph, ops.add(graph, x, y), ops.bit_and(graph, x, y))


def _bit_xor(graph: Graph, x: TracedArray, y: TracedArray) -> TracedArray:
    return ops.sub(graph, _bit_or(graph, x, y), ops.bit_and(graph, x, y))


def _bitwise(
    ufunc: np.ufunc, of_bools: Callable[..., TracedArray], of_ints: Callable[..., TracedArray]
) -> Callable[..., TracedArray]:
    def call(*values: Value) -> TracedArray:
        nodes = promote(*values)
        if nodes[0].dtype.kind == "f":
            raise TypeError(f"np.{ufunc.__name__}: got {nodes[0].dtype}, expected bool or int")
        build = of_bools if nodes[0].dtype == BOOL else _cut(of_ints)
        return build(need().graph, *nodes)

    return call


def _flipped(graph: Graph, x: TracedArray) -> TracedArray:
    return ops.sub(graph, ops.full_like(graph, x, -1), x)


ufunc(np.bitwise_and)(_bitwise(np.bitwise_and, ops.logical_and, ops.bit_and))
ufunc(np.bitwise_or)(_bitwise(np.bitwise_or, ops.logical_or, _bit_or))
ufunc(np.bitwise_xor)(_bitwise(np.bitwise_xor, ops.logical_xor, _bit_xor))
ufunc(np.invert)(_bitwise(np.invert, ops.logical_not, _flipped))


def _shift(name: str, a: Value, by: Value) -> tuple[TracedArray, int]:
    """(a, the number of places), which must be known: 0 to 31."""
    node = _number(a)
    if not isinstance(by, int | np.integer) or node.dtype.kind == "f":
        raise TypeError(
            f"np.{name}: got {node.dtype} and {type(by).__name__}, expected traced integers "
            "and one concrete int"
        )
    if not 0 <= by <= 31:
        raise ValueError(f"np.{name}: got {by} places, expected 0 to 31")
    return node, int(by)


@ufunc(np.left_shift)
def left_shift(a: Value, by: Value) -> TracedArray:
    node, places = _shift("left_shift", a, by)
    shifted = multiply(multiply(node, 1 << places // 2), 1 << (places - places // 2))
    return as_node(shifted, UINT8) if as_node(a).dtype == UINT8 else shifted


@ufunc(np.right_shift)
def right_shift(a: Value, by: Value) -> TracedArray:
    node, places = _shift("right_shift", a, by)
    shifted = floor_divide(floor_divide(node, 1 << places // 2), 1 << (places - places // 2))
    return as_node(shifted, UINT8) if as_node(a).dtype == UINT8 else shifted


@function(np.where)
def where(condition: Value, x: Value = None, y: Value = None) -> TracedArray:
    if x is None or y is None:
        raise TypeError(
            "np.where(condition) of a traced array: the size of the result would depend on "
            "values: use np.where(condition, x, y)"
        )
    return ops.select(need().graph, as_bool(condition), *promote(x, y))


@function(np.clip)
def clip(
    a: Value, a_min: Value = None, a_max: Value = None, *, min: Value = None, max: Value = None
) -> TracedArray:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    if low is not None:
        a = maximum(a, low)
    return as_node(a) if high is None else minimum(a, high)


# ---- reductions ------------------------------------------------------------------------------


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...] | None:
    """The axes, none of them negative; None for all."""
    return None if axis is None else axis_indices(axis, ndim)


def count(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements a reduction over the axes takes together."""
    axes = axes_of(axis, len(shape))
    return math.prod(shape if axes is None else [shape[k] for k in axes])


def reduced_shape(shape: tuple[int, ...], axis: Axis, keepdims: bool) -> tuple[int, ...]:
    """The shape that a reduction over the axes leaves."""
    axes = axes_of(axis, len(shape))
    gone = range(len(shape)) if axes is None else axes
    sizes = [1 if k in gone else size for k, size in enumerate(shape)]
    return tuple(size for k, size in enumerate(sizes) if keepdims or k not in gone)


def _masked(node: TracedArray, mask: Value, other: Value) -> TracedArray:
    """The node, with ``other`` where the mask of a reduction is false."""
    return node if mask is True else where(mask, node, other)


@function(np.sum)
def sum(
    a: Value,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    *,
    keepdims: bool = False,
    initial: Value = None,
    where: Value = True,
) -> TracedArray:
    node = _number(a) if dtype is None else as_node(a, dtype)
    node = _masked(node, where, 0)
    total = ops.sum(need().graph, node, axes_of(axis, node.ndim), keepdims)
    return total if initial is None else add(total, initial)


def _extremum(
    name: str,
    build: Callable[..., TracedArray],
    of_bools: Callable[..., TracedArray],
    pair: Callable[..., TracedArray],
) -> Callable[..., TracedArray]:
    def call(
        a: Value,
        axis: Axis = None,
        *,
        keepdims: bool = False,
        initial: Value = None,
        where: Value = True,
    ) -> TracedArray:
        node = as_node(a)
        if initial is None:
            if where is not True:
                raise ValueError(f"np.{name}: where: got a mask, expected initial= beside it")
            return best_of(node, axis, keepdims)
        node = _masked(node, where, initial)
        shape = reduced_shape(node.shape, axis, keepdims)
        if count(node.shape, axis) == 0:
            return ops.broadcast_to(need().graph, as_node(initial, node.dtype), shape)
        return pair(best_of(node, axis, keepdims), initial)

    def best_of(node: TracedArray, axis: Axis, keepdims: bool) -> TracedArray:
        axes = axes_of(axis, node.ndim)
        if node.dtype == BOOL:
            return of_bools(need().graph, node, axes, keepdims)
        return _cut(lambda graph, x: build(graph, x, axes, keepdims))(need().graph, node)

    return call


max = function(np.max)(_extremum("max", ops.max, ops.any, maximum))
min = function(np.min)(_extremum("min", ops.min, ops.all, minimum))


def _quantifier(build: Callable[..., TracedArray], outside: bool) -> Callable[..., TracedArray]:
    """np.any, np.all; ``outside``: what stands where ``where`` is false."""

    def call(
        a: Value, axis: Axis = None, *, keepdims: bool = False, where: Value = True
    ) -> TracedArray:
        node = _masked(as_bool(a), where, outside)
        if count(node.shape, axis) == 0:
            shape = reduced_shape(node.shape, axis, keepdims)
            return ops.full(need().graph, BOOL, shape, outside)
        return build(need().graph, node, axes_of(axis, node.ndim), keepdims)

    return call


any = function(np.any)(_quantifier(ops.any, False))
all = function(np.all)(_quantifier(ops.all, True))


@function(np.count_nonzero)
def count_nonzero(a: Value, axis: Axis = None, *, keepdims: bool = False) -> TracedArray:
    return sum(as_bool(a), axis, keepdims=keepdims)


def _mean_dtype(a: Value, dtype: DTypeLike | None) -> TracedArray:
    return as_float(a, FLOAT64) if dtype is None else as_node(a, dtype)


@function(np.mean)
def mean(
    a: Value,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    *,
    keepdims: bool = False,
    where: Value = True,
) -> TracedArray:
    node = _mean_dtype(a, dtype)
    if where is True:
        return ops.mean(need().graph, node, axes_of(axis, node.ndim), keepdims)
    total = sum(node, axis, keepdims=keepdims, where=where)
    return divide(total, as_node(_counted(node, axis, keepdims, where), node.dtype))


def _counted(node: TracedArray, axis: Axis, keepdims: bool, where: Value) -> TracedArray:
    """How many elements ``where`` leaves."""
    mask = ops.broadcast_to(need().graph, as_bool(where), node.shape)
    return sum(mask, axis, keepdims=keepdims)


@function(np.var)
def var(
    a: Value,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    *,
    ddof: float = 0,
    correction: float | None = None,
    keepdims: bool = False,
    where: Value = True,
) -> TracedArray:
    node = _mean_dtype(a, dtype)
    ddof = ddof if correction is None else correction
    if where is not True:
        return _masked_variance(node, axis, ddof, keepdims, where)
    value = ops.variance(need().graph, node, axes_of(axis, node.ndim), keepdims)
    n = count(node.shape, axis)
    if ddof == 0:
        return value
    return multiply(value, n / (n - ddof)) if n > ddof else divide(multiply(value, n), 0.0)


def _masked_variance(
    node: TracedArray, axis: Axis, ddof: float, keepdims: bool, mask: Value
) -> TracedArray:
    node = _masked(node, mask, 0)  # now, for a NaN there would come back by derivatives
    away = subtract(node, mean(node, axis, keepdims=True, where=mask))
    total = sum(square(away), axis, keepdims=keepdims, where=mask)
    n = as_node(_counted(node, axis, keepdims, mask), node.dtype)
    return divide(total, maximum(subtract(n, ddof), 0))


@function(np.std)
def std(
    a: Value, axis: Axis = None, dtype: DTypeLike | None = None, **options: Any
) -> TracedArray:
    return UFUNCS[np.sqrt](var(a, axis, dtype, **options))


def flat_or_axis(node: TracedArray, axis: int | None) -> tuple[TracedArray, int]:
    """(node, axis) to work along; the whole array as one axis for None."""
    if axis is None:
        return ops.reshape(need().graph, node, node.size), 0
    return node, axis_index(axis, node.ndim)


@function(np.argmax)
def argmax(a: Value, axis: int | None = None, *, keepdims: bool = False) -> TracedArray:
    node, at = flat_or_axis(_number(a), axis)
    result = ops.argmax(need().graph, node, at)
    if not keepdims:
        return result
    graph, kept = need().graph, [1] * np.ndim(a)
    return ops.reshape(graph, result, kept if axis is None else _with_one(node.shape, at))


def _with_one(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], 1, *shape[axis + 1 :])


@function(np.argmin)
def argmin(a: Value, axis: int | None = None, *, keepdims: bool = False) -> TracedArray:
    node = _number(a)  # -1 - x, as -x is no order of integers: the lowest stays where it is
    opposite = negative(node) if node.dtype.kind == "f" else subtract(-1, node)
    return argmax(opposite, axis, keepdims=keepdims)


@function(np.cumsum)
def cumsum(a: Value, axis: int | None = None, dtype: DTypeLike | None = None) -> TracedArray:
    node, at = flat_or_axis(_number(a) if dtype is None else as_node(a, dtype), axis)
    return ops.cumsum(need().graph, node, at, False)
