"""Elementwise NumPy functions that are made of others, and choices among several arrays.

Where a formula would overflow, lose digits or have no derivative on the side that is not taken,
that side is computed at a harmless place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _numpy as table
from ._core import ops
from ._numpy import (
    UFUNCS,
    absolute,
    add,
    arctan2,
    divide,
    equal,
    floor_divide,
    function,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    remainder,
    square,
    subtract,
    trunc,
    ufunc,
    where,
)
from ._trace import FLOAT64, INT, Value, as_float, as_node, need, promote, promote_float

if TYPE_CHECKING:
    from ._array import TracedArray

exp, log, log1p, expm1, sqrt, sin, cos = (
    UFUNCS[f] for f in (np.exp, np.log, np.log1p, np.expm1, np.sqrt, np.sin, np.cos)
)


# ---- trigonometric and hyperbolic ------------------------------------------------------------


@ufunc(np.tan)
def tan(x: Value) -> TracedArray:
    return divide(sin(x), cos(x))


@ufunc(np.arctan)
def arctan(x: Value) -> TracedArray:
    return arctan2(as_float(x), 1.0)


def _beside(x: TracedArray) -> TracedArray:
    """The other leg of a right triangle: sqrt(1 - x^2)."""
    return sqrt(multiply(subtract(1.0, x), add(1.0, x)))


@ufunc(np.arcsin)
def arcsin(x: Value) -> TracedArray:
    x = as_float(x)
    return arctan2(x, _beside(x))


@ufunc(np.arccos)
def arccos(x: Value) -> TracedArray:
    x = as_float(x)
    return arctan2(_beside(x), x)


@ufunc(np.cosh)
def cosh(x: Value) -> TracedArray:
    x = as_float(x)
    return multiply(0.5, add(exp(x), exp(negative(x))))


@ufunc(np.sinh)
def sinh(x: Value) -> TracedArray:
    x = as_float(x)
    return multiply(0.5, subtract(expm1(x), expm1(negative(x))))


def _odd(half: Callable[[TracedArray], TracedArray], x: Value) -> TracedArray:
    """The odd function that is ``half`` for x >= 0, with its derivatives also at 0."""
    x = as_float(x)
    below = less(x, 0)
    result = half(where(below, negative(x), x))
    return where(below, negative(result), result)


@ufunc(np.arcsinh)
def arcsinh(x: Value) -> TracedArray:
    return _odd(_arcsinh_half, x)


def _arcsinh_half(x: TracedArray) -> TracedArray:
    large = less(1e9, x)  # log 2x is exact there, and x^2 still finite below
    small = where(large, 1.0, x)
    root = sqrt(add(1.0, square(small)))
    below = log1p(multiply(small, add(1.0, divide(small, add(1.0, root)))))
    return where(large, add(log(where(large, x, 1.0)), math.log(2)), below)


@ufunc(np.arccosh)
def arccosh(x: Value) -> TracedArray:
    over = subtract(as_float(x), 1.0)
    return log1p(add(over, multiply(sqrt(over), sqrt(add(over, 2.0)))))


@ufunc(np.arctanh)
def arctanh(x: Value) -> TracedArray:
    x = as_float(x)
    return multiply(0.5, subtract(log1p(x), log1p(negative(x))))


@ufunc(np.deg2rad, np.radians)
def deg2rad(x: Value) -> TracedArray:
    return multiply(as_float(x), math.pi / 180)


@ufunc(np.rad2deg, np.degrees)
def rad2deg(x: Value) -> TracedArray:
    return multiply(as_float(x), 180 / math.pi)


@function(np.sinc)
def sinc(x: Value) -> TracedArray:
    """sin(pi x) / (pi x); near 0 its series."""
    y = multiply(as_float(x, FLOAT64), math.pi)
    near = less(absolute(y), 0.05)
    s, far = square(where(near, y, 0.0)), where(near, 1.0, y)
    series: Value = 1.0
    for k in (4, 3, 2, 1):
        series = subtract(1.0, multiply(divide(s, 2 * k * (2 * k + 1)), series))
    return where(near, series, divide(sin(far), far))


# ---- powers, roots, logarithms ---------------------------------------------------------------


@ufunc(np.exp2)
def exp2(x: Value) -> TracedArray:
    return exp(multiply(as_float(x), math.log(2)))


@ufunc(np.log2)
def log2(x: Value) -> TracedArray:
    return multiply(log(x), 1 / math.log(2))


@ufunc(np.log10)
def log10(x: Value) -> TracedArray:
    return multiply(log(x), 1 / math.log(10))


@ufunc(np.logaddexp2)
def logaddexp2(a: Value, b: Value) -> TracedArray:
    a, b = (multiply(x, math.log(2)) for x in promote_float(a, b))
    return multiply(table.logaddexp(a, b), 1 / math.log(2))


@ufunc(np.cbrt)
def cbrt(x: Value) -> TracedArray:
    return _odd(lambda x: power(x, 1 / 3), x)


@ufunc(np.hypot)
def hypot(a: Value, b: Value) -> TracedArray:
    """sqrt(a^2 + b^2), scaled by the larger one so that no square overflows."""
    a, b = (absolute(x) for x in promote_float(a, b))
    top = ops.stop(need().graph, maximum(a, b))
    usual = logical_not(logical_or(equal(top, 0), isinf(top)))
    scale = where(usual, top, 1.0)
    length = multiply(scale, sqrt(add(square(divide(a, scale)), square(divide(b, scale)))))
    infinite = logical_or(isinf(a), isinf(b))
    return where(infinite, np.inf, length)


# ---- signs and parts -------------------------------------------------------------------------


@ufunc(np.signbit)
def signbit(x: Value) -> TracedArray:
    node = as_node(x)
    if node.dtype.kind != "f":
        return less(node, 0)
    minus_zero = less(ops.recip(need().graph, where(equal(node, 0), node, 1.0)), 0)
    return logical_or(less(node, 0), minus_zero)


@ufunc(np.copysign)
def copysign(a: Value, b: Value) -> TracedArray:
    a, b = promote_float(a, b)
    size = absolute(a)
    return where(signbit(b), negative(size), size)


@ufunc(np.heaviside)
def heaviside(x: Value, at_zero: Value) -> TracedArray:
    x, at_zero = promote_float(x, at_zero)
    step = where(less(x, 0), 0.0, where(equal(x, 0), at_zero, 1.0))
    return where(isnan(x), np.nan, step)


@ufunc(np.fmax)
def fmax(a: Value, b: Value) -> TracedArray:
    return where(isnan(a), b, where(isnan(b), a, maximum(a, b)))


@ufunc(np.fmin)
def fmin(a: Value, b: Value) -> TracedArray:
    return where(isnan(a), b, where(isnan(b), a, minimum(a, b)))


@ufunc(np.fmod)
def fmod(a: Value, b: Value) -> TracedArray:
    """The rest with the sign of a; of floats a - trunc(a / b) b."""
    x, y = promote(a, b)
    if x.dtype.kind == "f":
        whole = trunc(divide(x, y))
        return subtract(x, where(equal(whole, 0), 0, multiply(whole, y)))
    rest = remainder(x, y)
    across = logical_xor(less(x, 0), less(y, 0))
    return where(logical_and(across, rest), subtract(rest, y), rest)


@ufunc(np.divmod)
def divmod(a: Value, b: Value) -> tuple[TracedArray, TracedArray]:
    return floor_divide(a, b), remainder(a, b)


@ufunc(np.modf)
def modf(x: Value) -> tuple[TracedArray, TracedArray]:
    x = as_float(x)
    whole = trunc(x)
    return copysign(where(isinf(x), 0.0, subtract(x, whole)), x), whole


@function(np.nan_to_num)
def nan_to_num(
    x: Value,
    copy: bool = True,
    nan: Value = 0.0,
    posinf: Value = None,
    neginf: Value = None,
) -> TracedArray:
    node = as_node(x)
    if node.dtype.kind != "f":
        return node
    limits = np.finfo(node.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    at_infinity = where(less(node, 0), low, high)
    other = where(isnan(node), nan, at_infinity)
    return where(isfinite(node), node, as_node(other, node.dtype))


@function(np.isposinf)
def isposinf(x: Value) -> TracedArray:
    return equal(x, np.inf)


@function(np.isneginf)
def isneginf(x: Value) -> TracedArray:
    return equal(x, -np.inf)


if hasattr(np, "astype"):  # NumPy >= 2.1

    @function(np.astype)
    def astype(x: Value, dtype: Any, /, *, copy: bool = True) -> TracedArray:
        return ops.cast(need().graph, as_node(x), dtype)


# ---- nearly equal ----------------------------------------------------------------------------


@function(np.isclose)
def isclose(
    a: Value, b: Value, rtol: Value = 1e-5, atol: Value = 1e-8, equal_nan: bool = False
) -> TracedArray:
    a, b = promote_float(a, b)
    near = less_equal(absolute(subtract(a, b)), add(atol, multiply(rtol, absolute(b))))
    close = logical_or(logical_and(near, isfinite(b)), equal(a, b))
    return where(logical_and(isnan(a), isnan(b)), True, close) if equal_nan else close


@function(np.allclose)
def allclose(
    a: Value, b: Value, rtol: Value = 1e-5, atol: Value = 1e-8, equal_nan: bool = False
) -> TracedArray:
    """One traced bool: to choose by it use np.where."""
    return table.all(isclose(a, b, rtol, atol, equal_nan))


@function(np.array_equal)
def array_equal(a1: Value, a2: Value) -> TracedArray:
    """One traced bool: to choose by it use np.where."""
    if np.shape(a1) != np.shape(a2):
        return as_node(False)
    return table.all(equal(a1, a2))


# ---- choosing --------------------------------------------------------------------------------


@function(np.select)
def select(
    condlist: Sequence[Value], choicelist: Sequence[Value], default: Value = 0
) -> TracedArray:
    if len(condlist) != len(choicelist):
        raise ValueError(
            f"np.select: got {len(condlist)} conditions and {len(choicelist)} choices"
        )
    *choices, result = promote(*choicelist, default)
    for condition, choice in zip(condlist[::-1], choices[::-1], strict=True):
        result = where(condition, choice, result)
    return result


@function(np.choose)
def choose(a: Value, choices: Sequence[Value], *, mode: str = "raise") -> TracedArray:
    if mode == "raise":
        raise TypeError("np.choose: mode: got 'raise', expected 'clip' or 'wrap'")
    node, last = as_node(a, INT), len(choices) - 1
    index = table.clip(node, 0, last) if mode == "clip" else remainder(node, last + 1)
    return select([equal(index, k) for k in range(last)], choices[:-1], choices[-1])


@function(np.piecewise)
def piecewise(
    x: Value, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any
) -> TracedArray:
    """Each function sees the whole of x; what the conditions do not choose is left out."""
    node = as_node(x)
    if not isinstance(condlist, list | tuple) or np.ndim(condlist[0]) < node.ndim:
        condlist = [condlist]
    values = [f(node, *args, **kw) if callable(f) else f for f in funclist]
    if len(values) == len(condlist) + 1:
        *values, rest = values
    else:
        rest = 0
    if len(values) != len(condlist):
        raise ValueError(
            f"np.piecewise: got {len(condlist)} conditions and {len(funclist)} functions"
        )
    result = as_node(rest, node.dtype)
    for condition, value in zip(condlist, values, strict=True):  # of several the last wins
        result = where(condition, as_node(value, node.dtype), result)
    return ops.broadcast_to(need().graph, result, node.shape)


@function(np.isin)
def isin(element: Value, test_elements: Value, *, invert: bool = False) -> TracedArray:
    node, others = as_node(element), as_node(test_elements)
    others = ops.reshape(need().graph, others, [1] * node.ndim + [others.size])
    hit = table.any(equal(node[..., None], others), -1)
    return logical_not(hit) if invert else hit
