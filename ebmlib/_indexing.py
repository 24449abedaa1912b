"""x[index] of traced arrays, by NumPy's rules: ints, slices, None, ..., integer arrays."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _trace
from ._core import Graph, Node, ops

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._array import TracedArray


def get(x: TracedArray, index: Any) -> TracedArray:
    """x[index]: slices and axes first, then one ``take`` for all integer arrays together."""
    graph = _trace.need().graph
    _check_masks(x, index if isinstance(index, tuple) else (index,))
    items = _expand(x, _as_items(index))
    x, items = _add_axes(graph, x, items)
    if any(_is_array(item) for item in items):
        items = [item if isinstance(item, slice) else _as_index(item) for item in items]
    x = _slice(graph, x, items)
    if any(_is_array(item) for item in items):
        return _take(graph, x, items)
    kept = [size for size, item in zip(x.shape, items, strict=True) if isinstance(item, slice)]
    return ops.reshape(graph, x, kept)


def _check_masks(x: TracedArray, index: tuple[Any, ...]) -> None:
    """IndexError for a mask whose shape is not that of the axes it stands for."""
    widths = [_width(item) for item in index]
    at = 0
    for k, item in enumerate(index):
        if item is Ellipsis:
            at = x.ndim - sum(widths[k + 1 :])
        mask = np.asarray(item) if isinstance(item, np.ndarray | list) else None
        if mask is not None and mask.dtype == np.bool_:
            axes = x.shape[at : at + mask.ndim]
            if mask.shape != axes:
                raise IndexError(f"mask: got shape {mask.shape}, expected {axes}")
        at += widths[k]


def _width(item: Any) -> int:
    """How many axes an item of an index takes."""
    if item is None or item is Ellipsis:
        return 0
    array = np.asarray(item) if isinstance(item, np.ndarray | list) else None
    return array.ndim if array is not None and array.dtype == np.bool_ else 1


def _is_array(item: Any) -> bool:
    return isinstance(item, np.ndarray | Node)


def _as_items(index: Any) -> list[Any]:
    """The index as a list of ints, slices, None, ... and integer arrays."""
    items: list[Any] = []
    for item in index if isinstance(index, tuple) else (index,):
        if item is None or item is Ellipsis or isinstance(item, slice):
            items.append(item)
        elif isinstance(item, Node):
            items.append(_traced_index(item))
        elif isinstance(item, bool | np.bool_ | list) or np.ndim(item):
            items.extend(_concrete_index(np.asarray(item)))
        else:
            items.append(_as_int(item))
    return items


def _as_int(item: Any) -> int:
    try:
        return operator.index(item)
    except TypeError:
        raise IndexError(f"{type(item).__name__} cannot be an index: {item!r}") from None


def _traced_index(item: Node) -> TracedArray:
    if item.dtype == _trace.BOOL:
        raise TypeError(
            "a traced mask as an index: the result's size would depend on values: "
            "use np.where(mask, x, other), or x.at[mask].set(v)"
        )
    if item.dtype.kind not in "iu":
        raise IndexError(f"arrays used as indices must be of integers, got {item.dtype}")
    return _trace.as_node(item, _trace.INT)


def _concrete_index(array: NDArray[Any]) -> list[NDArray[Any]]:
    """Integer arrays for an array: itself, or the places where a mask is true."""
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int32)
    if array.dtype.kind == "b" and array.ndim:
        return list(np.nonzero(array))
    if array.dtype.kind not in "iu":
        raise IndexError(f"arrays used as indices must be of integers, got {array.dtype}")
    return [array]


def _as_index(item: Any) -> Any:
    return item if _is_array(item) else np.asarray(item)


def _expand(x: TracedArray, items: list[Any]) -> list[Any]:
    """Exactly one item an axis of x, and None where an axis is new."""
    used = sum(item is not None and item is not Ellipsis for item in items)
    if used > x.ndim:
        raise IndexError(f"too many indices: {used} for an array with {x.ndim} axes")
    n_ellipsis = sum(item is Ellipsis for item in items)
    if n_ellipsis > 1:
        raise IndexError("an index can have only one '...'")
    if not n_ellipsis:
        items = [*items, Ellipsis]
    expanded = []
    for item in items:
        expanded += [slice(None)] * (x.ndim - used) if item is Ellipsis else [item]
    return expanded


def _add_axes(graph: Graph, x: TracedArray, items: list[Any]) -> tuple[TracedArray, list[Any]]:
    """Gives x an axis of size 1, kept whole, for each None."""
    if not any(item is None for item in items):
        return x, items
    sizes = iter(x.shape)
    x = ops.reshape(graph, x, [1 if item is None else next(sizes) for item in items])
    return x, [slice(None) if item is None else item for item in items]


def extent(
    x: TracedArray, index: Any
) -> tuple[list[int], list[int], list[int], tuple[int, ...]]:
    """Of an index without arrays: (start, step, count of each axis of x, shape of x[index])."""
    items = _expand(x, _as_items(index))
    starts, steps, counts = _ranges(x.shape, [item for item in items if item is not None])
    sizes = iter(counts)
    kept = [(1, None) if item is None else (next(sizes), item) for item in items]
    shape = tuple(size for size, item in kept if item is None or isinstance(item, slice))
    return starts, steps, counts, shape


def _slice(graph: Graph, x: TracedArray, items: list[Any]) -> TracedArray:
    """Takes the slices, and of an int its one place; axes of arrays stay whole."""
    starts, steps, counts = _ranges(x.shape, items)
    whole = all(
        start == 0 and step == 1 and count == size
        for start, step, count, size in zip(starts, steps, counts, x.shape, strict=True)
    )
    return x if whole else ops.slice(graph, x, starts, steps, counts)


def _ranges(shape: tuple[int, ...], items: list[Any]) -> tuple[list[int], list[int], list[int]]:
    """(start, step, count) of each axis."""
    starts, steps, counts = [], [], []
    for axis, (size, item) in enumerate(zip(shape, items, strict=True)):
        if isinstance(item, slice):
            start, stop, step = item.indices(size)
            counts.append(len(range(start, stop, step)))
        elif _is_array(item):
            start, step = 0, 1
            counts.append(size)
        else:
            start, step = _in_range(item, axis, size), 1
            counts.append(1)
        starts.append(start if counts[-1] else 0)
        steps.append(step)
    return starts, steps, counts


def _in_range(i: int, axis: int, size: int) -> int:
    if not -size <= i < size:
        raise IndexError(f"index {i} is out of bounds for axis {axis} with size {size}")
    return i + size if i < 0 else i


def wrapped(graph: Graph, index: Any, axis: int, size: int) -> Any:
    """The index with negative places counted from the end."""
    if isinstance(index, np.ndarray):
        if index.size and not (-size <= index.min() and index.max() < size):
            bad = index.min() if index.min() < -size else index.max()
            raise IndexError(f"index {bad} is out of bounds for axis {axis} with size {size}")
        return np.where(index < 0, index + size, index).astype(np.int32)
    zero, total = (ops.scalar(graph, _trace.INT, value) for value in (0, size))
    return ops.select(graph, ops.less(graph, index, zero), ops.add(graph, index, total), index)


def _take(graph: Graph, x: TracedArray, items: list[Any]) -> TracedArray:
    """The integer arrays' part: their axes are brought together and indexed as one."""
    axes = [axis for axis, item in enumerate(items) if _is_array(item)]
    together = axes == list(range(axes[0], axes[0] + len(axes)))
    at = axes[0] if together else 0
    if not together:
        rest = [axis for axis in range(x.ndim) if axis not in axes]
        x, items = ops.permute(graph, x, axes + rest), [items[axis] for axis in axes + rest]
    sizes = x.shape[at : at + len(axes)]
    index = None
    for axis, size in enumerate(sizes, at):
        place = wrapped(graph, items[axis], axis, size)
        index = place if index is None else index * size + place
    if len(axes) > 1:
        shape = [*x.shape[:at], math.prod(sizes), *x.shape[at + len(axes) :]]
        x = ops.reshape(graph, x, shape)
    return ops.take(graph, x, _trace.as_node(index, _trace.INT), at)
