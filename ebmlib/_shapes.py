"""NumPy functions that move values: shapes, axes, joining, splitting; constants of a shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ._checks import axis_index, axis_indices, whole
from ._core import Node, ops
from ._numpy import Axis, add, flat_or_axis, function, multiply, subtract, sum, where
from ._trace import (
    BOOL,
    FLOAT64,
    Value,
    as_node,
    canonical,
    need,
    promote,
    promote_float,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ._array import TracedArray


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
    return node.size if axis is None else node.shape[axis_index(axis, node.ndim)]


@function(np.result_type)
def result_type(*values: Value) -> np.dtype[Any]:
    return np.result_type(*[v.dtype if isinstance(v, Node) else v for v in values])


@function(np.iscomplexobj)
def iscomplexobj(x: Value) -> bool:
    return False


@function(np.reshape)
def reshape(a: Value, shape: Any, order: str = "C") -> TracedArray:
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
def ravel(a: Value, order: str = "C") -> TracedArray:
    return reshape(a, -1, order)


@function(np.transpose)
def transpose(a: Value, axes: Any = None) -> TracedArray:
    node = as_node(a)
    if axes is None:
        axes = range(node.ndim)[::-1]
    return ops.permute(need().graph, node, axis_indices(axes, node.ndim))


@function(np.matrix_transpose)
def matrix_transpose(x: Value) -> TracedArray:
    return swapaxes(x, -1, -2)


@function(np.swapaxes)
def swapaxes(a: Value, axis1: int, axis2: int) -> TracedArray:
    node = as_node(a)
    order = list(range(node.ndim))
    i, j = (axis_index(axis, node.ndim) for axis in (axis1, axis2))
    order[i], order[j] = j, i
    return ops.permute(need().graph, node, order)


@function(np.moveaxis)
def moveaxis(a: Value, source: Any, destination: Any) -> TracedArray:
    node = as_node(a)
    source = axis_indices(source, node.ndim)
    destination = axis_indices(destination, node.ndim)
    if len(source) != len(destination):
        raise ValueError(
            "np.moveaxis: source and destination must have the same number of axes"
        )
    order = [axis for axis in range(node.ndim) if axis not in source]
    for to, axis in sorted(zip(destination, source, strict=True)):
        order.insert(to, axis)
    return ops.permute(need().graph, node, order)


@function(np.expand_dims)
def expand_dims(a: Value, axis: int | Sequence[int]) -> TracedArray:
    node = as_node(a)
    count = len(axis) if isinstance(axis, Sequence) else 1
    axes = axis_indices(axis, node.ndim + count)
    sizes = iter(node.shape)
    new = [1 if k in axes else next(sizes) for k in range(node.ndim + count)]
    return ops.reshape(need().graph, node, new)


@function(np.squeeze)
def squeeze(a: Value, axis: Axis = None) -> TracedArray:
    node = as_node(a)
    if axis is None:
        axis = [k for k, s in enumerate(node.shape) if s == 1]
    axes = axis_indices(axis, node.ndim)
    if any(node.shape[k] != 1 for k in axes):
        raise ValueError(f"np.squeeze: an axis of {axis} is not of size 1 in {node.shape}")
    return ops.reshape(
        need().graph, node, [s for k, s in enumerate(node.shape) if k not in axes]
    )


def _one_or_all(made: tuple[TracedArray, ...]) -> Any:
    return made[0] if len(made) == 1 else made


@function(np.atleast_1d)
def atleast_1d(*arys: Value) -> Any:
    return _one_or_all(tuple(as_node(a) if np.ndim(a) else reshape(a, 1) for a in arys))


@function(np.atleast_2d)
def atleast_2d(*arys: Value) -> Any:
    return _one_or_all(
        tuple(as_node(a) if np.ndim(a) > 1 else reshape(a, (1, -1)) for a in arys)
    )


@function(np.atleast_3d)
def atleast_3d(*arys: Value) -> Any:
    def grown(a: Value) -> TracedArray:
        node = as_node(a)
        if node.ndim == 2:
            return expand_dims(node, 2)
        return reshape(node, (1, -1, 1)) if node.ndim < 2 else node

    return _one_or_all(tuple(grown(a) for a in arys))


@function(np.broadcast_to)
def broadcast_to(array: Value, shape: Any) -> TracedArray:
    return ops.broadcast_to(need().graph, as_node(array), shape)


@function(np.broadcast_arrays)
def broadcast_arrays(*args: Value) -> tuple[TracedArray, ...]:
    sizes = np.broadcast_shapes(*[np.shape(a) for a in args])
    return tuple(broadcast_to(a, sizes) for a in args)


# ---- putting together, taking apart ----------------------------------------------------------


@function(np.concatenate)
def concatenate(arrays: Sequence[Value], axis: int | None = 0) -> TracedArray:
    nodes = promote(*arrays)
    if axis is None:
        nodes, axis = [reshape(node, -1) for node in nodes], 0
    return ops.concat(need().graph, nodes, axis_index(axis, nodes[0].ndim))


@function(np.stack)
def stack(arrays: Sequence[Value], axis: int = 0) -> TracedArray:
    arrays = [as_node(a) for a in arrays]
    at = axis_index(axis, arrays[0].ndim + 1)
    return concatenate([expand_dims(a, at) for a in arrays], at)


@function(np.vstack)
def vstack(tup: Sequence[Value]) -> TracedArray:
    return concatenate([atleast_2d(a) for a in tup], 0)


@function(np.dstack)
def dstack(tup: Sequence[Value]) -> TracedArray:
    return concatenate([atleast_3d(a) for a in tup], 2)


@function(np.hstack)
def hstack(tup: Sequence[Value]) -> TracedArray:
    arrays = [atleast_1d(a) for a in tup]
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1)


@function(np.column_stack)
def column_stack(tup: Sequence[Value]) -> TracedArray:
    return concatenate([reshape(a, (-1, 1)) if np.ndim(a) < 2 else a for a in tup], 1)


def piece(node: TracedArray, axis: int, start: int, stop: int) -> TracedArray:
    """The places start to stop - 1 along an axis."""
    size = node.shape[axis]
    start, stop = min(start, size), min(stop, size)
    return ops.slice_axis(need().graph, node, axis, start, max(stop - start, 0))


@function(np.array_split)
def array_split(ary: Value, indices_or_sections: Any, axis: int = 0) -> list[TracedArray]:
    node = as_node(ary)
    at = axis_index(axis, node.ndim)
    total = node.shape[at]
    if np.ndim(indices_or_sections) == 0:
        sections = whole(indices_or_sections, "indices_or_sections", 1)
        each, more = divmod(total, sections)
        sizes = [each + (k < more) for k in range(sections)]
        cuts = np.cumsum([0, *sizes]).tolist()
    else:
        cuts = [0, *[int(k) for k in indices_or_sections], total]
    return [piece(node, at, a, b) for a, b in pairwise(cuts)]


@function(np.split)
def split(ary: Value, indices_or_sections: Any, axis: int = 0) -> list[TracedArray]:
    if np.ndim(indices_or_sections) == 0:
        node = as_node(ary)
        total = node.shape[axis_index(axis, node.ndim)]
        if total % whole(indices_or_sections, "indices_or_sections", 1):
            raise ValueError(f"np.split: {total} is no multiple of {indices_or_sections}")
    return array_split(ary, indices_or_sections, axis)


@function(np.hsplit)
def hsplit(ary: Value, indices_or_sections: Any) -> list[TracedArray]:
    return split(ary, indices_or_sections, 0 if np.ndim(ary) == 1 else 1)


@function(np.vsplit)
def vsplit(ary: Value, indices_or_sections: Any) -> list[TracedArray]:
    return split(ary, indices_or_sections, 0)


@function(np.dsplit)
def dsplit(ary: Value, indices_or_sections: Any) -> list[TracedArray]:
    return split(ary, indices_or_sections, 2)


if hasattr(np, "unstack"):  # NumPy >= 2.1

    @function(np.unstack)
    def unstack(x: Value, /, *, axis: int = 0) -> tuple[TracedArray, ...]:
        return tuple(moveaxis(x, axis, 0))


@function(np.block)
def block(arrays: Any) -> TracedArray:
    """Lists within lists: the innermost are joined along the last axis."""

    def depth(part: Any) -> int:
        return 1 + depth(part[0]) if isinstance(part, list) else 0

    def leaves(part: Any) -> list[Any]:
        if not isinstance(part, list):
            return [part]
        return [leaf for item in part for leaf in leaves(item)]

    ndim = max(depth(arrays), *[np.ndim(leaf) for leaf in leaves(arrays)])

    def joined(part: Any, deep: int) -> TracedArray:
        if isinstance(part, list):
            return concatenate([joined(item, deep - 1) for item in part], -deep)
        node = as_node(part)
        return reshape(node, (1,) * (ndim - node.ndim) + node.shape)

    return joined(arrays, depth(arrays))


@function(np.append)
def append(arr: Value, values: Value, axis: int | None = None) -> TracedArray:
    return concatenate([arr, values], axis)


@function(np.insert)
def insert(arr: Value, obj: Any, values: Value, axis: int | None = None) -> TracedArray:
    """The positions must be concrete."""
    node, at = flat_or_axis(as_node(arr), axis)
    places = _concrete(obj, "np.insert: obj", node.shape[at])
    new = as_node(values, node.dtype)
    new = reshape(new, (1,) * (node.ndim - new.ndim) + new.shape)
    if places.ndim == 0:
        new = moveaxis(new, 0, at)
    count = new.shape[at] if places.size == 1 else places.size
    new = broadcast_to(new, (*node.shape[:at], count, *node.shape[at + 1 :]))
    old = np.arange(node.shape[at])
    order = np.insert(old, places, old.size + np.arange(count))
    return take(concatenate([node, new], at), order, at)


@function(np.delete)
def delete(arr: Value, obj: Any, axis: int | None = None) -> TracedArray:
    """The positions must be concrete."""
    node, at = flat_or_axis(as_node(arr), axis)
    places = _concrete(obj, "np.delete: obj", node.shape[at])
    return take(node, np.delete(np.arange(node.shape[at]), places), at)


def _concrete(obj: Any, what: str, size: int) -> Any:
    """Positions along an axis of this size; a slice as the positions that it takes."""
    if isinstance(obj, Node):
        raise TypeError(f"{what}: got a traced array, expected concrete positions")
    return np.arange(size)[obj] if isinstance(obj, slice) else np.asarray(obj)


@function(np.flip)
def flip(m: Value, axis: Axis = None) -> TracedArray:
    node = as_node(m)
    for k in range(node.ndim) if axis is None else axis_indices(axis, node.ndim):
        node = ops.flip(need().graph, node, k)
    return node


@function(np.fliplr)
def fliplr(m: Value) -> TracedArray:
    return flip(m, 1)


@function(np.flipud)
def flipud(m: Value) -> TracedArray:
    return flip(m, 0)


@function(np.rot90)
def rot90(m: Value, k: int = 1, axes: Sequence[int] = (0, 1)) -> TracedArray:
    first, second = axis_indices(axes, np.ndim(m))
    turns = k % 4
    if turns in (0, 2):
        return flip(m, (first, second)) if turns else as_node(m)
    if turns == 1:
        return swapaxes(flip(m, second), first, second)
    return flip(swapaxes(m, first, second), second)


@function(np.roll)
def roll(a: Value, shift: Any, axis: Axis = None) -> TracedArray:
    node = as_node(a)
    if axis is None:
        return reshape(roll(reshape(node, -1), shift, 0), node.shape)
    shifts, axes = np.broadcast_arrays(shift, axis_indices(axis, node.ndim))
    for by, at in zip(shifts.tolist(), axes.tolist(), strict=True):
        total = node.shape[at]
        by = by % total if total else 0
        if by:
            parts = [piece(node, at, total - by, total), piece(node, at, 0, total - by)]
            node = concatenate(parts, at)
    return node


@function(np.rollaxis)
def rollaxis(a: Value, axis: int, start: int = 0) -> TracedArray:
    ndim = np.ndim(a)
    at = axis_index(axis, ndim)
    start = start + ndim if start < 0 else start
    return moveaxis(a, at, start - 1 if start > at else start)


@function(np.repeat)
def repeat(a: Value, repeats: Any, axis: int | None = None) -> TracedArray:
    node, at = flat_or_axis(as_node(a), axis)
    if np.ndim(repeats):
        counts = _concrete(repeats, "np.repeat: repeats", node.shape[at])
        return take(node, np.repeat(np.arange(node.shape[at]), counts), at)
    repeats = whole(repeats, "repeats", 0)
    wide = (*node.shape[: at + 1], repeats, *node.shape[at + 1 :])
    spread = broadcast_to(expand_dims(node, at + 1), wide)
    return reshape(spread, (*node.shape[:at], node.shape[at] * repeats, *node.shape[at + 1 :]))


@function(np.tile)
def tile(A: Value, reps: Any) -> TracedArray:
    node = as_node(A)
    reps = tuple(reps) if isinstance(reps, list | tuple) else (reps,)
    for count in reps:
        whole(count, "reps", 0)
    ndim = max(node.ndim, len(reps))
    reps = (1,) * (ndim - len(reps)) + reps
    sizes = (1,) * (ndim - node.ndim) + node.shape
    node = reshape(node, [s for size in sizes for s in (1, size)])
    node = broadcast_to(node, [s for pair in zip(reps, sizes, strict=True) for s in pair])
    return reshape(node, [r * s for r, s in zip(reps, sizes, strict=True)])


_PAD_MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


@function(np.pad)
def pad(
    array: Value, pad_width: Any, mode: str = "constant", *, constant_values: Value = 0
) -> TracedArray:
    if mode not in _PAD_MODES:
        raise TypeError(f"np.pad: mode: got {mode!r}, expected one of {list(_PAD_MODES)}")
    node = as_node(array)
    widths = np.broadcast_to(pad_width, (node.ndim, 2)).tolist()
    for width in np.ravel(widths).tolist():
        whole(width, "pad_width", 0)
    if mode == "constant":
        return _pad_constant(node, widths, constant_values)
    for axis, (n, width) in enumerate(zip(node.shape, widths, strict=True)):
        if width != [0, 0]:
            node = take(node, np.pad(np.arange(n), width, mode), axis)  # type: ignore[call-overload]
    return node


def _pad_constant(node: TracedArray, widths: list[list[int]], value: Value) -> TracedArray:
    if np.ndim(value):
        raise TypeError("np.pad: constant_values: got an array, expected one number")
    before = [low for low, _ in widths]
    total = [low + n + high for n, (low, high) in zip(node.shape, widths, strict=True)]
    padded = ops.pad(need().graph, node, before, [1] * node.ndim, total)
    if not isinstance(value, Node) and value == 0:
        return padded
    inside = np.pad(np.ones(node.shape, np.bool_), widths)
    return where(inside, padded, as_node(value, node.dtype))


def without_ends(node: TracedArray, axis: int, first: int, last: int) -> TracedArray:
    """Less so many places at the beginning and at the end of an axis."""
    return piece(node, axis, first, max(node.shape[axis] - last, first))


@function(np.diff)
def diff(a: Value, n: int = 1, axis: int = -1) -> TracedArray:
    node = as_node(a)
    at = axis_index(axis, node.ndim)
    for _ in range(whole(n, "n", 0)):
        node = subtract(without_ends(node, at, 1, 0), without_ends(node, at, 0, 1))
    return node


@function(np.ediff1d)
def ediff1d(ary: Value) -> TracedArray:
    return diff(ravel(ary))


@function(np.take)
def take(a: Value, indices: Value, axis: int | None = None) -> TracedArray:
    node, at = flat_or_axis(as_node(a), axis)
    indices = indices if isinstance(indices, Node) else np.asarray(indices)
    return node[(slice(None),) * at + (indices,)]


@function(np.diagonal)
def diagonal(a: Value, offset: int = 0, axis1: int = 0, axis2: int = 1) -> TracedArray:
    node = moveaxis(a, (axis1, axis2), (-2, -1))
    rows, columns = node.shape[-2:]
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    i = np.arange(count)
    return node[..., i + max(-offset, 0), i + max(offset, 0)]


@function(np.diag)
def diag(v: Value, k: int = 0) -> TracedArray:
    node = as_node(v)
    k = whole(k, "k")
    if node.ndim == 2:
        return diagonal(node, k)
    if node.ndim != 1:
        raise ValueError(f"v: got shape {node.shape}, expected one axis or two")
    n = node.shape[0] + abs(k)
    row = pad(node, (max(k, 0), max(-k, 0)))  # what each column has on the diagonal
    return where(np.eye(n, k=k, dtype=bool), row, 0)


@function(np.diagflat)
def diagflat(v: Value, k: int = 0) -> TracedArray:
    return diag(ravel(v), k)


@function(np.trace)
def trace(a: Value, offset: int = 0, axis1: int = 0, axis2: int = 1) -> TracedArray:
    return sum(diagonal(a, offset, axis1, axis2), -1)


def _below(m: Value, k: int) -> Any:
    node = as_node(m)
    if node.ndim < 2:
        raise ValueError(f"m: got shape {node.shape}, expected at least two axes")
    rows, columns = node.shape[-2:]
    return np.tri(rows, columns, whole(k, "k"), dtype=np.bool_)


@function(np.tril)
def tril(m: Value, k: int = 0) -> TracedArray:
    return where(_below(m, k), m, 0)


@function(np.triu)
def triu(m: Value, k: int = 0) -> TracedArray:
    return where(_below(m, k - 1), 0, m)


# ---- grids and constants ---------------------------------------------------------------------


@function(np.meshgrid)
def meshgrid(
    *xi: Value, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[TracedArray, ...]:
    if indexing not in ("xy", "ij"):
        raise ValueError(f"np.meshgrid: indexing: got {indexing!r}, expected 'xy' or 'ij'")
    n = len(xi)
    places = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else range(n)
    open_grid = [
        reshape(x, [-1 if k == place else 1 for k in range(n)])
        for x, place in zip(xi, places, strict=True)
    ]
    return tuple(open_grid) if sparse else broadcast_arrays(*open_grid)


@function(np.ix_)
def ix_(*args: Value) -> tuple[TracedArray, ...]:
    nodes = [as_node(a) for a in args]
    if any(node.dtype == BOOL for node in nodes):
        raise TypeError("np.ix_: got a traced mask, expected positions: use np.where")
    n = len(nodes)
    return tuple(
        reshape(node, [-1 if j == k else 1 for j in range(n)]) for k, node in enumerate(nodes)
    )


@function(np.linspace)
def linspace(
    start: Value, stop: Value, num: int = 50, endpoint: bool = True, *, axis: int = 0
) -> TracedArray:
    start, stop = promote_float(start, stop, of_small=FLOAT64)
    start, stop = broadcast_arrays(start, stop)
    share = as_node(np.linspace(0, 1, num, endpoint), start.dtype)
    share = reshape(share, [num] + [1] * start.ndim)
    grid = add(multiply(start, subtract(1, share)), multiply(stop, share))
    return moveaxis(grid, 0, axis)


def _full(a: Value, shape: Any, dtype: DTypeLike | None, value: float) -> TracedArray:
    node = as_node(a)
    dtype = node.dtype if dtype is None else canonical(np.dtype(dtype))
    return ops.full(need().graph, dtype, node.shape if shape is None else shape, value)


@function(np.zeros_like, np.empty_like)
def zeros_like(a: Value, dtype: DTypeLike | None = None, *, shape: Any = None) -> TracedArray:
    return _full(a, shape, dtype, 0.0)


@function(np.imag)
def imag(val: Value) -> TracedArray:
    return zeros_like(val)


@function(np.ones_like)
def ones_like(a: Value, dtype: DTypeLike | None = None, *, shape: Any = None) -> TracedArray:
    return _full(a, shape, dtype, 1.0)


@function(np.full_like)
def full_like(
    a: Value, fill_value: Value, dtype: DTypeLike | None = None, *, shape: Any = None
) -> TracedArray:
    sizes = as_node(a).shape if shape is None else shape
    return broadcast_to(
        as_node(fill_value, as_node(a).dtype if dtype is None else dtype), sizes
    )


# ---- constants that are asked for with like= -------------------------------------------------


def _constant(make: Callable[..., Any]) -> None:
    """A concrete array as a value of the trace: of the dtype of a run, where that is given."""

    def call(*args: Any, **options: Any) -> TracedArray:
        return as_node(make(*args, **options))

    function(make)(call)


for _make in (np.zeros, np.ones, np.empty, np.eye, np.identity, np.arange, np.tri):
    _constant(_make)


@function(np.full)
def full(
    shape: Any,
    fill_value: Value,
    dtype: DTypeLike | None = None,
    order: str = "C",
    device: str | None = None,
) -> TracedArray:
    return broadcast_to(as_node(fill_value, dtype), shape)


@function(np.array, np.asarray, np.asanyarray, np.ascontiguousarray)
def array(object: Any, dtype: DTypeLike | None = None) -> TracedArray:
    """Of a list too: its items are stacked."""
    if isinstance(object, list | tuple):
        object = stack([array(item) for item in object])
    return as_node(object, dtype)
