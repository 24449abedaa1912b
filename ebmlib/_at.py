"""x.at[index].set(v) and its kin: a new array that differs from x at an index.

Slices become a padded copy of v and a mask; index arrays become positions in the flat array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _indexing
from . import _numpy as table
from . import _shapes as shapes
from ._core import Node, ops
from ._trace import BOOL, INT, UINT8, Value, as_node, need
from .errors import ShapeError

if TYPE_CHECKING:
    from ._array import TracedArray

Combine = Callable[[Value, Value], "TracedArray"]  # of what was there, and v


class At:
    """x.at: index it to say where."""

    __slots__ = ("_array",)

    def __init__(self, array: TracedArray) -> None:
        self._array = array

    def __getitem__(self, index: Any) -> Place:
        return Place(self._array, index)


class Place:
    """x.at[index]: each method gives a new array; x stays as it is.

    index: what ``x[index]`` takes, or a traced mask.
    v: broadcast to the shape of ``x[index]``; for a traced mask to that of x.
    """

    __slots__ = ("_array", "_index")

    def __init__(self, array: TracedArray, index: Any) -> None:
        self._array = array
        self._index = index

    def get(self) -> TracedArray:
        """x[index]."""
        return self._array[self._index]

    def set(self, v: Value) -> TracedArray:
        """With v there; where places are named several times the last one holds."""
        return self._update("set", v, lambda old, v: as_node(v))

    def add(self, v: Value) -> TracedArray:
        """With v added; where places are named several times each of them counts."""
        return self._update("add", v, table.add)

    def subtract(self, v: Value) -> TracedArray:
        """As ``add`` of -v."""
        return self._update("add", table.negative(v), table.add)

    def multiply(self, v: Value) -> TracedArray:
        """With the values there times v; no place twice."""
        return self._update("multiply", v, table.multiply)

    def divide(self, v: Value) -> TracedArray:
        """With the values there divided by v, floats; no place twice."""
        if self._array.dtype.kind != "f":
            raise TypeError(f"at.divide: got {self._array.dtype}, expected a float type")
        return self._update("divide", v, table.divide)

    def min(self, v: Value) -> TracedArray:
        """With the smaller ones of what is there and v; no place twice."""
        return self._update("min", v, table.minimum)

    def max(self, v: Value) -> TracedArray:
        """With the larger ones of what is there and v; no place twice."""
        return self._update("max", v, table.maximum)

    def _update(self, name: str, v: Value, combine: Combine) -> TracedArray:
        x, index = self._array, self._index
        v = _fitting(x, v, name)
        if isinstance(index, Node) and index.dtype == BOOL:
            return _update_masked(x, as_node(index), v, combine)
        if _is_plain(index):
            return _update_slices(x, index, v, combine)
        return _update_places(x, index, v, combine, name)


def _fitting(x: TracedArray, v: Value, name: str) -> TracedArray:
    """The value v in the dtype of x, if that is of its kind."""
    node = as_node(v)
    if not np.can_cast(node.dtype, x.dtype, "same_kind"):
        small = node.weak and node.dtype.kind == "i" and x.dtype.kind != "b"
        if not small:
            raise TypeError(
                f"at.{name}: got {node.dtype}, expected what goes into {x.dtype}: use astype"
            )
    return as_node(v, x.dtype)


def _is_plain(index: Any) -> bool:
    """Whether it has only ints, slices, None and '...'."""
    return all(
        item is None
        or item is Ellipsis
        or isinstance(item, slice)
        or (isinstance(item, int | np.integer) and not isinstance(item, bool))
        for item in _items(index)
    )


def _update_masked(
    x: TracedArray, mask: TracedArray, v: TracedArray, combine: Combine
) -> TracedArray:
    if mask.shape != x.shape[: mask.ndim]:
        raise ShapeError(f"at: mask: got shape {mask.shape} for an array of shape {x.shape}")
    rest = x.ndim - mask.ndim
    if v.ndim > rest and v.size > 1:
        raise ShapeError(
            f"at: got values of shape {v.shape} for a traced mask, expected one that "
            f"broadcasts to {x.shape[mask.ndim :]}: use np.where"
        )
    mask = shapes.reshape(mask, mask.shape + (1,) * rest)
    return table.where(mask, as_node(combine(x, v), x.dtype), x)


def _update_slices(x: TracedArray, index: Any, v: TracedArray, combine: Combine) -> TracedArray:
    """The new values of the part, padded to the shape of x, where the part is."""
    graph = need().graph
    starts, steps, counts, shape = _indexing.extent(x, index)
    new = combine(_indexing.get(x, index), shapes.broadcast_to(v, shape))
    part = ops.reshape(graph, as_node(new, x.dtype), counts)
    placed = ops.pad(graph, part, starts, steps, x.shape)
    inside = ops.pad(graph, ops.full(graph, INT, counts, 1), starts, steps, x.shape)
    return table.where(inside, placed, x)


def _update_places(
    x: TracedArray, index: Any, v: TracedArray, combine: Combine, name: str
) -> TracedArray:
    """By the positions in the flat array."""
    graph = need().graph
    if name not in ("set", "add"):
        _refuse_repeats(x, index, name)
    places = _positions(x, index)
    flat, places_flat = shapes.ravel(x), shapes.ravel(places)
    v = shapes.ravel(shapes.broadcast_to(v, places.shape))
    if name == "add" and x.dtype != BOOL:
        total = ops.scatter_add(graph, _wide(v), places_flat, 0, x.size)
        new = table.add(_wide(flat), total)
    else:
        old = ops.take(graph, flat, places_flat, 0)
        new = ops.put(graph, flat, places_flat, as_node(combine(old, v), x.dtype))
    return shapes.reshape(as_node(new, x.dtype), x.shape)


def _wide(x: TracedArray) -> TracedArray:
    return as_node(x, INT) if x.dtype == UINT8 else x


def _items(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _positions(x: TracedArray, index: Any) -> TracedArray:
    """Of an array with its own positions what the index takes."""
    if any(isinstance(item, Node) for item in _items(index)):
        every = ops.iota(need().graph, INT, (x.size,), 0)
        return _indexing.get(shapes.reshape(every, x.shape), index)
    return as_node(np.arange(x.size, dtype=np.int32).reshape(x.shape)[index])


def _refuse_repeats(x: TracedArray, index: Any, name: str) -> None:
    items = _items(index)
    if any(isinstance(item, Node) and item.ndim for item in items):
        raise TypeError(
            f"at.{name}: got a traced index array, which may name a place twice: "
            "expected concrete ones, or set or add"
        )
    concrete = tuple(0 if isinstance(item, Node) else item for item in items)
    places = np.arange(x.size).reshape(x.shape)[concrete]
    if np.unique(places).size < places.size:
        raise ValueError(f"at.{name}: the index names a place twice: expected set or add")
