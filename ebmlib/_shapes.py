"""NumPy functions that move values: shapes, axes, joining, splitting; constants of a shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ._core import Node, ops
from ._numpy import Axis, flat_or_axis, function, subtract, sum, where
from ._trace import Value, as_node, canonical, need, promote

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ._array import Array


# ---- shapes ----------------------------------------------------------------------------------


@function(np.shape)
def shape(a: Value) -> tuple[int, ...]:
    return as_node(a).shape


@function(np.ndim)
def ndim(a: Value) -> int:
    return as_node(a).ndim


@function(np.size)
def size(a: Value, axis: int | None = None) -> int:
    node = as_node(a)
    return node.size if axis is None else node.shape[axis]


@function(np.result_type)
def result_type(*values: Value) -> np.dtype[Any]:
    return np.result_type(*[v.dtype if isinstance(v, Node) else v for v in values])


@function(np.iscomplexobj)
def iscomplexobj(x: Value) -> bool:
    return False


@function(np.reshape)
def reshape(a: Value, shape: Any, order: str = "C") -> Array:
    if order != "C":
        raise TypeError(f"np.reshape of a traced array: order must be 'C', got {order!r}")
    node = as_node(a)
    sizes = list(shape) if isinstance(shape, Sequence) else [shape]
    if -1 in sizes:
        rest = math.prod(s for s in sizes if s != -1)
        if rest and node.size % rest == 0:
            sizes[sizes.index(-1)] = node.size // rest
    if any(s < 0 for s in sizes if isinstance(s, int)):
        raise ValueError(f"cannot reshape an array of shape {node.shape} into {tuple(shape)}")
    return ops.reshape(need().graph, node, sizes)


@function(np.ravel)
def ravel(a: Value, order: str = "C") -> Array:
    return reshape(a, -1, order)


@function(np.transpose)
def transpose(a: Value, axes: Any = None) -> Array:
    node = as_node(a)
    if axes is None:
        axes = range(node.ndim)[::-1]
    return ops.permute(need().graph, node, normalize_axis_tuple(axes, node.ndim))


@function(np.matrix_transpose)
def matrix_transpose(x: Value) -> Array:
    return swapaxes(x, -1, -2)


@function(np.swapaxes)
def swapaxes(a: Value, axis1: int, axis2: int) -> Array:
    node = as_node(a)
    order = list(range(node.ndim))
    i, j = (normalize_axis_index(axis, node.ndim) for axis in (axis1, axis2))
    order[i], order[j] = j, i
    return ops.permute(need().graph, node, order)


@function(np.moveaxis)
def moveaxis(a: Value, source: Any, destination: Any) -> Array:
    node = as_node(a)
    source = normalize_axis_tuple(source, node.ndim, "source")
    destination = normalize_axis_tuple(destination, node.ndim, "destination")
    if len(source) != len(destination):
        raise ValueError(
            "np.moveaxis: source and destination must have the same number of axes"
        )
    order = [axis for axis in range(node.ndim) if axis not in source]
    for to, axis in sorted(zip(destination, source, strict=True)):
        order.insert(to, axis)
    return ops.permute(need().graph, node, order)


@function(np.expand_dims)
def expand_dims(a: Value, axis: int | Sequence[int]) -> Array:
    node = as_node(a)
    count = len(axis) if isinstance(axis, Sequence) else 1
    axes = normalize_axis_tuple(axis, node.ndim + count)
    sizes = iter(node.shape)
    new = [1 if k in axes else next(sizes) for k in range(node.ndim + count)]
    return ops.reshape(need().graph, node, new)


@function(np.squeeze)
def squeeze(a: Value, axis: Axis = None) -> Array:
    node = as_node(a)
    if axis is None:
        axis = [k for k, s in enumerate(node.shape) if s == 1]
    axes = normalize_axis_tuple(axis, node.ndim)
    if any(node.shape[k] != 1 for k in axes):
        raise ValueError(f"np.squeeze: an axis of {axis} is not of size 1 in {node.shape}")
    return ops.reshape(
        need().graph, node, [s for k, s in enumerate(node.shape) if k not in axes]
    )


@function(np.atleast_1d)
def atleast_1d(*arrays: Sequence[Value]) -> Any:
    made = tuple(as_node(a) if np.ndim(a) else reshape(a, 1) for a in arrays)
    return made[0] if len(made) == 1 else made


@function(np.broadcast_to)
def broadcast_to(array: Value, shape: Any) -> Array:
    return ops.broadcast_to(need().graph, as_node(array), shape)


@function(np.broadcast_arrays)
def broadcast_arrays(*args: Value) -> tuple[Array, ...]:
    sizes = np.broadcast_shapes(*[np.shape(a) for a in args])
    return tuple(broadcast_to(a, sizes) for a in args)


# ---- putting together, taking apart ----------------------------------------------------------


@function(np.concatenate)
def concatenate(arrays: Sequence[Value], axis: int | None = 0) -> Array:
    nodes = promote(*arrays)
    if axis is None:
        nodes, axis = [reshape(node, -1) for node in nodes], 0
    return ops.concat(need().graph, nodes, normalize_axis_index(axis, nodes[0].ndim))


@function(np.stack)
def stack(arrays: Sequence[Value], axis: int = 0) -> Array:
    arrays = [as_node(a) for a in arrays]
    at = normalize_axis_index(axis, arrays[0].ndim + 1)
    return concatenate([expand_dims(a, at) for a in arrays], at)


@function(np.vstack)
def vstack(tup: Sequence[Value]) -> Array:
    return concatenate([reshape(a, (1, -1)) if np.ndim(a) < 2 else a for a in tup], 0)


@function(np.hstack)
def hstack(tup: Sequence[Value]) -> Array:
    arrays = [atleast_1d(a) for a in tup]
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1)


@function(np.column_stack)
def column_stack(tup: Sequence[Value]) -> Array:
    return concatenate([reshape(a, (-1, 1)) if np.ndim(a) < 2 else a for a in tup], 1)


def _piece(node: Array, axis: int, start: int, stop: int) -> Array:
    size = node.shape[axis]
    start, stop = min(start, size), min(stop, size)
    return ops.slice_axis(need().graph, node, axis, start, max(stop - start, 0))


@function(np.array_split)
def array_split(ary: Value, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    node = as_node(ary)
    at = normalize_axis_index(axis, node.ndim)
    total = node.shape[at]
    if isinstance(indices_or_sections, int | np.integer):
        each, more = divmod(total, int(indices_or_sections))
        sizes = [each + (k < more) for k in range(indices_or_sections)]
        cuts = np.cumsum([0, *sizes]).tolist()
    else:
        cuts = [0, *[int(k) for k in indices_or_sections], total]
    return [_piece(node, at, a, b) for a, b in pairwise(cuts)]


@function(np.split)
def split(ary: Value, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    if isinstance(indices_or_sections, int | np.integer):
        total = as_node(ary).shape[axis]
        if total % indices_or_sections:
            raise ValueError(f"np.split: {total} is no multiple of {indices_or_sections}")
    return array_split(ary, indices_or_sections, axis)


@function(np.flip)
def flip(m: Value, axis: Axis = None) -> Array:
    node = as_node(m)
    for k in range(node.ndim) if axis is None else normalize_axis_tuple(axis, node.ndim):
        node = ops.flip(need().graph, node, k)
    return node


@function(np.roll)
def roll(a: Value, shift: Any, axis: Axis = None) -> Array:
    node = as_node(a)
    if axis is None:
        return reshape(roll(reshape(node, -1), shift, 0), node.shape)
    shifts, axes = np.broadcast_arrays(shift, normalize_axis_tuple(axis, node.ndim))
    for by, at in zip(shifts.tolist(), axes.tolist(), strict=True):
        total = node.shape[at]
        by = by % total if total else 0
        if by:
            parts = [_piece(node, at, total - by, total), _piece(node, at, 0, total - by)]
            node = concatenate(parts, at)
    return node


@function(np.repeat)
def repeat(a: Value, repeats: int, axis: int | None = None) -> Array:
    if not isinstance(repeats, int | np.integer):
        raise TypeError("np.repeat of a traced array: repeats must be one int")
    node, at = flat_or_axis(as_node(a), axis)
    wide = (*node.shape[: at + 1], repeats, *node.shape[at + 1 :])
    spread = broadcast_to(expand_dims(node, at + 1), wide)
    return reshape(spread, (*node.shape[:at], node.shape[at] * repeats, *node.shape[at + 1 :]))


@function(np.tile)
def tile(A: Value, reps: Any) -> Array:
    node = as_node(A)
    reps = tuple(reps) if isinstance(reps, Sequence) else (reps,)
    ndim = max(node.ndim, len(reps))
    reps = (1,) * (ndim - len(reps)) + reps
    sizes = (1,) * (ndim - node.ndim) + node.shape
    node = reshape(node, [s for size in sizes for s in (1, size)])
    node = broadcast_to(node, [s for pair in zip(reps, sizes, strict=True) for s in pair])
    return reshape(node, [r * s for r, s in zip(reps, sizes, strict=True)])


@function(np.pad)
def pad(
    array: Value, pad_width: Any, mode: str = "constant", constant_values: Any = 0
) -> Array:
    if mode != "constant" or np.ndim(constant_values) or constant_values != 0:
        raise TypeError("np.pad of a traced array: only mode='constant' with zeros works")
    node = as_node(array)
    widths = np.broadcast_to(pad_width, (node.ndim, 2)).tolist()
    before = [low for low, _ in widths]
    total = [low + n + high for n, (low, high) in zip(node.shape, widths, strict=True)]
    return ops.pad(need().graph, node, before, [1] * node.ndim, total)


@function(np.diff)
def diff(a: Value, n: int = 1, axis: int = -1) -> Array:
    node = as_node(a)
    at = normalize_axis_index(axis, node.ndim)
    for _ in range(n):
        total = node.shape[at]
        node = subtract(_piece(node, at, 1, total), _piece(node, at, 0, total - 1))
    return node


@function(np.take)
def take(a: Value, indices: Value, axis: int | None = None) -> Array:
    node, at = flat_or_axis(as_node(a), axis)
    indices = indices if isinstance(indices, Node) else np.asarray(indices)
    return node[(slice(None),) * at + (indices,)]


@function(np.diagonal)
def diagonal(a: Value, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    node = moveaxis(a, (axis1, axis2), (-2, -1))
    rows, columns = node.shape[-2:]
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    i = np.arange(count)
    return node[..., i + max(-offset, 0), i + max(offset, 0)]


@function(np.diag)
def diag(v: Value, k: int = 0) -> Array:
    node = as_node(v)
    if node.ndim == 2:
        return diagonal(node, k)
    n = node.shape[0] + abs(k)
    row = pad(node, (max(k, 0), max(-k, 0)))  # what each column has on the diagonal
    return where(np.eye(n, k=k, dtype=bool), row, 0)


@function(np.trace)
def trace(a: Value, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    return sum(diagonal(a, offset, axis1, axis2), -1)


def _below(m: Value, k: int) -> Any:
    rows, columns = as_node(m).shape[-2:]
    return np.tri(rows, columns, k, dtype=np.bool_)


@function(np.tril)
def tril(m: Value, k: int = 0) -> Array:
    return where(_below(m, k), m, 0)


@function(np.triu)
def triu(m: Value, k: int = 0) -> Array:
    return where(_below(m, k - 1), 0, m)


# ---- constants of a shape --------------------------------------------------------------------


def _full(a: Value, shape: Any, dtype: DTypeLike | None, value: float) -> Array:
    node = as_node(a)
    dtype = node.dtype if dtype is None else canonical(np.dtype(dtype))
    return ops.full(need().graph, dtype, node.shape if shape is None else shape, value)


@function(np.zeros_like, np.empty_like)
def zeros_like(a: Value, dtype: DTypeLike | None = None, *, shape: Any = None) -> Array:
    return _full(a, shape, dtype, 0.0)


@function(np.ones_like)
def ones_like(a: Value, dtype: DTypeLike | None = None, *, shape: Any = None) -> Array:
    return _full(a, shape, dtype, 1.0)


@function(np.full_like)
def full_like(
    a: Value, fill_value: Value, dtype: DTypeLike | None = None, *, shape: Any = None
) -> Array:
    sizes = as_node(a).shape if shape is None else shape
    return broadcast_to(
        as_node(fill_value, as_node(a).dtype if dtype is None else dtype), sizes
    )
