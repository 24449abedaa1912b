"""NumPy functions of samples (what leaves NaN out, averages, covariances) and of sampled curves
(slopes, integrals, interpolation, polynomials).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _contract as contract
from . import _numpy as table
from . import _shapes as shapes
from ._checks import axis_index
from ._numpy import (
    UFUNCS,
    Axis,
    add,
    divide,
    function,
    isnan,
    less,
    less_equal,
    logical_not,
    multiply,
    subtract,
    where,
)
from ._trace import FLOAT64, Value, as_float, as_node, promote, promote_float

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ._array import TracedArray


# ---- without NaN -----------------------------------------------------------------------------


@function(np.nansum)
def nansum(
    a: Value, axis: Axis = None, dtype: DTypeLike | None = None, *, keepdims: bool = False
) -> TracedArray:
    return table.sum(where(isnan(a), 0, a), axis, dtype, keepdims=keepdims)


@function(np.nancumsum)
def nancumsum(a: Value, axis: int | None = None, dtype: DTypeLike | None = None) -> TracedArray:
    return table.cumsum(where(isnan(a), 0, a), axis, dtype)


@function(np.nanmean)
def nanmean(
    a: Value, axis: Axis = None, dtype: DTypeLike | None = None, *, keepdims: bool = False
) -> TracedArray:
    return table.mean(a, axis, dtype, keepdims=keepdims, where=logical_not(isnan(a)))


@function(np.nanvar)
def nanvar(
    a: Value,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
) -> TracedArray:
    here = logical_not(isnan(a))
    return table.var(a, axis, dtype, ddof=ddof, keepdims=keepdims, where=here)


@function(np.nanstd)
def nanstd(
    a: Value, axis: Axis = None, dtype: DTypeLike | None = None, **options: Any
) -> TracedArray:
    return UFUNCS[np.sqrt](nanvar(a, axis, dtype, **options))


def _nan_extremum(best: Callable[..., TracedArray], worst: float) -> Callable[..., TracedArray]:
    def call(a: Value, axis: Axis = None, *, keepdims: bool = False) -> TracedArray:
        node = as_node(a)
        if node.dtype.kind != "f":
            return best(node, axis, keepdims=keepdims)
        missing = isnan(node)
        found = best(where(missing, worst, node), axis, keepdims=keepdims)
        return where(table.all(missing, axis, keepdims=keepdims), np.nan, found)

    return call


function(np.nanmax)(_nan_extremum(table.max, -math.inf))
function(np.nanmin)(_nan_extremum(table.min, math.inf))


@function(np.nanargmax)
def nanargmax(a: Value, axis: int | None = None, *, keepdims: bool = False) -> TracedArray:
    return table.argmax(where(isnan(a), -math.inf, as_float(a)), axis, keepdims=keepdims)


@function(np.nanargmin)
def nanargmin(a: Value, axis: int | None = None, *, keepdims: bool = False) -> TracedArray:
    return table.argmin(where(isnan(a), math.inf, as_float(a)), axis, keepdims=keepdims)


# ---- means and spreads -----------------------------------------------------------------------


@function(np.average)
def average(
    a: Value, axis: Axis = None, weights: Value = None, *, keepdims: bool = False
) -> TracedArray:
    if weights is None:
        return table.mean(a, axis, keepdims=keepdims)
    node, weights = promote_float(a, weights, of_small=FLOAT64)
    at = axis_index(axis, node.ndim) if isinstance(axis, int) else 0
    if isinstance(axis, int) and weights.shape == node.shape[at : at + 1]:
        weights = shapes.reshape(weights, [-1] + [1] * (node.ndim - 1 - at))
    elif weights.shape != node.shape:
        raise ValueError(
            f"np.average: weights: got shape {weights.shape}, expected {node.shape}, or one "
            "axis and an int as axis"
        )
    total = table.sum(multiply(node, weights), axis, keepdims=keepdims)
    weights = shapes.broadcast_to(weights, node.shape)
    return divide(total, table.sum(weights, axis, keepdims=keepdims))


@function(np.ptp)
def ptp(a: Value, axis: Axis = None, *, keepdims: bool = False) -> TracedArray:
    high, low = (best(a, axis, keepdims=keepdims) for best in (table.max, table.min))
    return subtract(high, low)


@function(np.cov)
def cov(
    m: Value,
    y: Value = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
) -> TracedArray:
    rows = _variables(m, rowvar)
    if y is not None:
        rows = shapes.concatenate([rows, _variables(y, rowvar)])
    less_by = (0 if bias else 1) if ddof is None else ddof
    n = rows.shape[1] - less_by
    if n <= 0:
        raise ValueError(f"np.cov: got {rows.shape[1]} observations, expected > {less_by}")
    away = subtract(rows, table.mean(rows, 1, keepdims=True))
    return shapes.squeeze(divide(contract.matmul(away, shapes.transpose(away)), n))


def _variables(m: Value, rowvar: bool) -> TracedArray:
    """A row for each variable."""
    node = as_float(m, FLOAT64)
    if node.ndim > 2:
        raise ValueError(f"np.cov: got an array with {node.ndim} axes, expected at most 2")
    rows = shapes.atleast_2d(node)
    return rows if rowvar or node.ndim < 2 else shapes.transpose(rows)


@function(np.corrcoef)
def corrcoef(x: Value, y: Value = None, rowvar: bool = True) -> TracedArray:
    c = cov(x, y, rowvar)
    if c.ndim == 0:
        return divide(c, c)
    deviation = UFUNCS[np.sqrt](shapes.diagonal(c))
    scaled = divide(divide(c, deviation[:, None]), deviation[None, :])
    return table.clip(scaled, -1, 1)


# ---- curves ----------------------------------------------------------------------------------


@function(np.trapezoid)
def trapezoid(y: Value, x: Value = None, dx: Value = 1.0, axis: int = -1) -> TracedArray:
    node = as_float(y, FLOAT64)
    at = axis_index(axis, node.ndim)
    widths = dx
    if x is not None:
        widths = shapes.diff(x, axis=at if np.ndim(x) == node.ndim else -1)
        if widths.ndim == 1:
            widths = shapes.reshape(widths, [-1] + [1] * (node.ndim - 1 - at))
    right, left = shapes.without_ends(node, at, 1, 0), shapes.without_ends(node, at, 0, 1)
    return table.sum(multiply(widths, multiply(0.5, add(right, left))), at)


@function(np.gradient)
def gradient(f: Value, *varargs: Value, axis: Axis = None, edge_order: int = 1) -> Any:
    if edge_order != 1:
        raise TypeError(f"np.gradient: edge_order: got {edge_order}, expected 1")
    node = as_float(f, FLOAT64)
    axes = table.axes_of(axis, node.ndim)
    axes = tuple(range(node.ndim)) if axes is None else axes
    spacings = list(varargs) if varargs else [1.0]
    spacings = spacings * len(axes) if len(spacings) == 1 else spacings
    if len(spacings) != len(axes):
        raise TypeError(f"np.gradient: got {len(spacings)} spacings for {len(axes)} axes")
    slopes = tuple(_slope(node, at, h) for at, h in zip(axes, spacings, strict=True))
    return slopes[0] if len(slopes) == 1 else slopes


def _slope(node: TracedArray, at: int, spacing: Value) -> TracedArray:
    """Along one axis: from the three points around each, and from two at the ends."""
    if node.shape[at] < 2:
        raise ValueError(f"np.gradient: got shape {node.shape}, expected 2 along axis {at}")
    steps = shapes.diff(node, axis=at)
    if np.ndim(spacing):
        widths = shapes.reshape(shapes.diff(spacing), [-1] + [1] * (node.ndim - 1 - at))
    else:
        widths = shapes.broadcast_to(spacing, [node.shape[at] - 1] + [1] * (node.ndim - 1 - at))
    widths = as_node(widths, node.dtype)
    sided = divide(steps, widths)
    before, after = shapes.without_ends(sided, at, 0, 1), shapes.without_ends(sided, at, 1, 0)
    left, right = shapes.without_ends(widths, 0, 0, 1), shapes.without_ends(widths, 0, 1, 0)
    middle = divide(add(multiply(before, right), multiply(after, left)), add(left, right))
    first = shapes.piece(sided, at, 0, 1)
    last = shapes.piece(sided, at, node.shape[at] - 2, node.shape[at] - 1)
    return shapes.concatenate([first, middle, last], at)


@function(np.searchsorted)
def searchsorted(a: Value, v: Value, side: str = "left", sorter: Value = None) -> TracedArray:
    """The number of elements of a below v, counted: a comparison with each of them."""
    if sorter is not None:
        raise TypeError("np.searchsorted: sorter: got an array, expected None: sort a first")
    a, v = promote(a, v)
    below = less if side == "left" else less_equal
    return table.sum(below(a, shapes.expand_dims(v, -1)), -1)


@function(np.digitize)
def digitize(x: Value, bins: Value, right: bool = False) -> TracedArray:
    """As np.searchsorted; the bins must increase."""
    return searchsorted(bins, x, "left" if right else "right")


@function(np.interp)
def interp(
    x: Value, xp: Value, fp: Value, left: Value = None, right: Value = None, period: Any = None
) -> TracedArray:
    if period is not None:
        raise TypeError("np.interp: period: got a number, expected None: use x % period")
    x, xp, fp = promote_float(x, xp, fp, of_small=FLOAT64)
    n = xp.shape[0]
    if n == 1:
        inside = shapes.broadcast_to(fp[0], x.shape)
    else:
        at = table.clip(searchsorted(xp, x, "right"), 1, n - 1)
        x0, x1, f0, f1 = (shapes.take(of, subtract(at, k)) for of in (xp, fp) for k in (1, 0))
        share = divide(subtract(x, x0), subtract(x1, x0))
        inside = add(f0, multiply(share, subtract(f1, f0)))
    below, above = less(x, xp[0]), less(xp[n - 1], x)
    inside = where(below, fp[0] if left is None else left, inside)
    return where(above, fp[n - 1] if right is None else right, inside)


@function(np.polyval)
def polyval(p: Value, x: Value) -> TracedArray:
    """By Horner's rule."""
    coefficients, point = promote(p, x)
    result = shapes.zeros_like(point)
    for k in range(coefficients.shape[0]):
        result = add(multiply(result, point), coefficients[k])
    return result


@function(np.vander)
def vander(x: Value, N: int | None = None, increasing: bool = False) -> TracedArray:
    node = table.positive(x)
    power, columns = shapes.ones_like(node), []
    for _ in range(node.shape[0] if N is None else N):
        columns.append(power)
        power = multiply(power, node)
    return shapes.stack(columns if increasing else columns[::-1], 1)


@function(np.apply_along_axis)
def apply_along_axis(
    func1d: Callable[..., Value], axis: int, arr: Value, *args: Any, **kwargs: Any
) -> TracedArray:
    """Each row is traced of its own: a function of the whole array is shorter."""
    rows = shapes.moveaxis(arr, axis, -1)
    outer = rows.shape[:-1]
    rows = shapes.reshape(rows, (math.prod(outer), rows.shape[-1]))
    results = shapes.stack([func1d(row, *args, **kwargs) for row in rows])
    inner = results.shape[1:]
    results = shapes.reshape(results, outer + inner)
    at = axis_index(axis, len(outer) + 1)
    ends = range(len(outer), len(outer) + len(inner))
    return shapes.moveaxis(results, tuple(ends), tuple(range(at, at + len(inner))))
