"""Order, quantiles, taking along an axis; products and running values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _numpy as table
from . import _shapes as shapes
from ._checks import axis_index, axis_indices
from ._core import Node, ops
from ._indexing import wrapped
from ._numpy import Axis, flat_or_axis, function
from ._trace import BOOL, INT, Value, as_float, as_node, need, promote_float

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ._array import TracedArray


# ---- order -----------------------------------------------------------------------------------


@function(np.sort)
def sort(
    a: Value, axis: int | None = -1, kind: str | None = None, *, stable: bool | None = None
) -> TracedArray:
    """Every kind is stable; NaN last."""
    node, at = flat_or_axis(as_node(a), axis)
    return ops.sort(need().graph, node, at)


@function(np.argsort)
def argsort(
    a: Value, axis: int | None = -1, kind: str | None = None, *, stable: bool | None = None
) -> TracedArray:
    """Every kind is stable; NaN last."""
    node, at = flat_or_axis(as_node(a), axis)
    return ops.argsort(need().graph, node, at)


@function(np.take_along_axis)
def take_along_axis(arr: Value, indices: Value, axis: int | None = -1) -> TracedArray:
    node, at = flat_or_axis(as_node(arr), axis)
    index = indices if isinstance(indices, Node) else np.asarray(indices)
    if index.ndim != node.ndim:
        raise ValueError(
            f"take_along_axis: got shapes {node.shape} and {index.shape}, "
            "expected the same number of axes"
        )
    if index.dtype.kind not in "iu":
        raise IndexError(f"take_along_axis: indices must be integers, got {index.dtype}")
    graph = need().graph
    index = wrapped(graph, index, at, node.shape[at])
    return ops.take_along(graph, node, as_node(index, INT), at)


# ---- quantiles -------------------------------------------------------------------------------


def _sorted_rows(
    a: Value, axis: Axis, what: str
) -> tuple[TracedArray, tuple[int, ...], list[int]]:
    """The axes joined into one, the last, and sorted; the shape of the others; with ones."""
    node = as_node(a)
    axes = axis_indices(range(node.ndim) if axis is None else axis, node.ndim)
    rest = [k for k in range(node.ndim) if k not in axes]
    count = math.prod(node.shape[k] for k in axes)
    if count == 0:
        raise ValueError(f"{what}: of nothing: shape {node.shape}, axis {axis}")
    outer = tuple(node.shape[k] for k in rest)
    rows = shapes.reshape(shapes.transpose(node, [*rest, *axes]), (*outer, count))
    kept = [1 if k in axes else size for k, size in enumerate(node.shape)]
    return ops.sort(need().graph, rows, -1), outer, kept


def _nan_if_any(result: TracedArray, rows: TracedArray) -> TracedArray:
    """NaN stands last in its row, and makes every quantile of it NaN."""
    last = rows[..., -1:]
    return table.where(table.not_equal(last, last), np.nan, result)


@function(np.median)
def median(a: Value, axis: Axis = None, *, keepdims: bool = False) -> TracedArray:
    rows, outer, kept = _sorted_rows(as_float(a), axis, "median")
    n = rows.shape[-1]
    low, high = rows[..., (n - 1) // 2], rows[..., n // 2]
    middle = low if n % 2 else table.multiply(0.5, table.add(low, high))
    result = _nan_if_any(shapes.expand_dims(middle, -1), rows)
    return shapes.reshape(result, kept if keepdims else outer)


@function(np.quantile)
def quantile(
    a: Value, q: Any, axis: Axis = None, *, method: str = "linear", keepdims: bool = False
) -> TracedArray:
    return _quantile(a, q, 1, axis, method, keepdims, "quantile")


@function(np.percentile)
def percentile(
    a: Value, q: Any, axis: Axis = None, *, method: str = "linear", keepdims: bool = False
) -> TracedArray:
    return _quantile(a, q, 100, axis, method, keepdims, "percentile")


def _quantile(
    a: Value, q: Any, whole: int, axis: Axis, method: str, keepdims: bool, what: str
) -> TracedArray:
    """Between its neighbours in order, at place q / whole * (n - 1), linearly."""
    if method != "linear":
        raise TypeError(f"np.{what} of a traced array: only method='linear', got {method!r}")
    if isinstance(q, Node):
        raise TypeError(f"np.{what} of a traced array: q must not be traced")
    share = np.asarray(q, np.float64) / whole
    if not np.all((share >= 0) & (share <= 1)):
        raise ValueError(f"np.{what}: q: got {q!r}, expected 0 <= q <= {whole}")
    node = promote_float(a, q)[0]  # in the common dtype with q, as NumPy
    rows, outer, kept = _sorted_rows(node, axis, what)
    place = share.ravel() * (rows.shape[-1] - 1)
    below = np.floor(place).astype(np.int32)
    weight = (place - below).astype(node.dtype)
    low, high = rows[..., below], rows[..., np.minimum(below + 1, rows.shape[-1] - 1)]
    step = table.subtract(high, low)
    result = table.where(
        weight < 0.5,
        table.add(low, table.multiply(step, weight)),
        table.subtract(high, table.multiply(step, 1 - weight)),
    )
    result = shapes.moveaxis(_nan_if_any(result, rows), -1, 0)
    return shapes.reshape(result, (*share.shape, *(kept if keepdims else outer)))


# ---- products and running values -------------------------------------------------------------


def _product_node(a: Value, dtype: DTypeLike | None) -> TracedArray:
    """The value as a node that can be multiplied: bools and uint8 as int32."""
    node = as_node(a, dtype)
    return node if node.dtype.kind == "f" else as_node(node, INT)


@function(np.prod)
def prod(
    a: Value, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
) -> TracedArray:
    node = _product_node(a, dtype)
    axes = None if axis is None else axis_indices(axis, node.ndim)
    return ops.prod(need().graph, node, axes, keepdims)


@function(np.cumprod)
def cumprod(a: Value, axis: int | None = None, dtype: DTypeLike | None = None) -> TracedArray:
    node, at = flat_or_axis(_product_node(a, dtype), axis)
    return ops.cumprod(need().graph, node, at)


def _running_maximum(array: Value, axis: int = 0) -> TracedArray:
    node = as_node(array)
    if node.dtype == BOOL:
        return as_node(_running_maximum(as_node(node, INT), axis), BOOL)
    return ops.cummax(need().graph, node, axis_index(axis, node.ndim))


def _running(running: Callable[..., TracedArray]) -> Callable[..., TracedArray]:
    def call(array: Value, axis: int = 0, dtype: DTypeLike | None = None) -> TracedArray:
        return running(array, axis, dtype)

    return call


table.REDUCTIONS[np.multiply] = np.prod
ACCUMULATIONS: dict[np.ufunc, Callable[..., TracedArray]] = {  # what ufunc.accumulate is
    np.add: _running(table.FUNCTIONS[np.cumsum]),
    np.multiply: _running(cumprod),
    np.maximum: _running_maximum,
}
