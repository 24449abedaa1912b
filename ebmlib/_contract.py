"""Products of arrays, each one batched matrix product: matmul, dot, tensordot, einsum, norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from . import _numpy as table
from . import _shapes as shapes
from ._core import ops
from ._numpy import Axis, function, ufunc
from ._trace import Value, as_float, as_node, need, promote

if TYPE_CHECKING:
    from ._array import Array

Label = str | int  # a letter, or the number of an axis of '...'


def _floats(a: Value, b: Value) -> tuple[Array, Array, type[np.int32] | None]:
    """The operands in their common dtype; integers are multiplied as float64, exactly."""
    x, y = promote(a, b)
    if x.dtype.kind == "f":
        return x, y, None
    return as_node(x, np.float64), as_node(y, np.float64), np.int32


def _restored(node: Array, dtype: type[np.int32] | None) -> Array:
    return node if dtype is None else as_node(node, dtype)


@ufunc(np.matmul)
def matmul(a: Value, b: Value) -> Array:
    a, b, integer = _floats(a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul: a number cannot be an operand: use *")
    x = shapes.expand_dims(a, 0) if a.ndim == 1 else a
    y = shapes.expand_dims(b, 1) if b.ndim == 1 else b
    product = ops.matmul(need().graph, x, y)
    gone = [-2] * (a.ndim == 1) + [-1] * (b.ndim == 1)
    return _restored(shapes.squeeze(product, tuple(gone)) if gone else product, integer)


@function(np.dot)
def dot(a: Value, b: Value) -> Array:
    a, b = promote(a, b)
    if a.ndim == 0 or b.ndim == 0:
        return table.multiply(a, b)
    return tensordot(a, b, (-1, max(b.ndim - 2, 0)))


@function(np.inner)
def inner(a: Value, b: Value) -> Array:
    a, b = promote(a, b)
    if a.ndim == 0 or b.ndim == 0:
        return table.multiply(a, b)
    return tensordot(a, b, (-1, -1))


@function(np.vdot)
def vdot(a: Value, b: Value) -> Array:
    return dot(shapes.ravel(a), shapes.ravel(b))


@function(np.outer)
def outer(a: Value, b: Value) -> Array:
    return table.multiply(shapes.reshape(a, (-1, 1)), shapes.reshape(b, (1, -1)))


@function(np.tensordot)
def tensordot(a: Value, b: Value, axes: Any = 2) -> Array:
    a, b, integer = _floats(a, b)
    if isinstance(axes, int):
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    in_a, in_b = (
        normalize_axis_tuple(tuple(of) if isinstance(of, Sequence) else of, x.ndim)
        for of, x in zip(axes, (a, b), strict=True)
    )
    if [a.shape[k] for k in in_a] != [b.shape[k] for k in in_b]:
        raise ValueError(
            f"tensordot: the shapes {a.shape} and {b.shape} do not fit along {axes}"
        )
    from_a = [k for k in range(a.ndim) if k not in in_a]
    from_b = [k for k in range(b.ndim) if k not in in_b]
    inner_size = math.prod(a.shape[k] for k in in_a)
    rows, columns = [a.shape[k] for k in from_a], [b.shape[k] for k in from_b]
    graph = need().graph
    x = ops.reshape(
        graph, ops.permute(graph, a, [*from_a, *in_a]), (math.prod(rows), inner_size)
    )
    y = ops.reshape(
        graph, ops.permute(graph, b, [*in_b, *from_b]), (inner_size, math.prod(columns))
    )
    return _restored(ops.reshape(graph, ops.matmul(graph, x, y), rows + columns), integer)


# ---- einsum ----------------------------------------------------------------------------------


@function(np.einsum)
def einsum(subscripts: str, *operands: Value, optimize: Any = False) -> Array:
    """Contracts from left to right; no diagonals (a letter twice in one operand)."""
    if not isinstance(subscripts, str):
        raise TypeError("np.einsum of traced arrays: subscripts must be a string")
    nodes = promote(*operands)
    inputs, output = _parse(subscripts, nodes)
    node, labels = nodes[0], inputs[0]
    for k in range(1, len(nodes)):
        later = set(output).union(*inputs[k + 1 :])
        node, labels = _contract(node, labels, nodes[k], inputs[k], later)
    node, labels = _sum_out(node, labels, set(output))
    return shapes.transpose(node, [labels.index(letter) for letter in output])


def _parse(subscripts: str, nodes: list[Array]) -> tuple[list[list[Label]], list[Label]]:
    """Lists of labels for each operand and the result; the axes of '...' get names of their
    own.
    """
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(nodes):
        raise ValueError(
            f"einsum: {subscripts!r} has {len(terms)} terms for {len(nodes)} operands"
        )
    widest = 0
    inputs = []
    for term, node in zip(terms, nodes, strict=True):
        hidden = node.ndim - len(term.replace("...", ""))
        widest = max(widest, hidden)
        if hidden < 0 or (hidden and "..." not in term):
            raise ValueError(f"einsum: {term!r} does not fit an operand with {node.ndim} axes")
        labels = _labels(term, hidden)
        if len(set(labels)) < len(labels):
            raise TypeError(
                f"np.einsum of traced arrays: no diagonals: a letter twice in {term!r}"
            )
        inputs.append(labels)
    if arrow:
        if widest and "..." not in right:
            raise ValueError(
                f"einsum: {subscripts!r} has '...' in an operand, but not in the result"
            )
        return inputs, _labels(right, widest)
    every = [label for labels in inputs for label in labels]
    once = sorted(
        label for label in set(every) if isinstance(label, str) and every.count(label) == 1
    )
    return inputs, [*range(-widest, 0), *once]


def _labels(term: str, hidden: int) -> list[Label]:
    """Letters, and the numbers -hidden .. -1 for the axes of '...'."""
    before, dots, after = term.partition("...")
    return [*before, *(range(-hidden, 0) if dots else ()), *after]


def _sum_out(node: Array, labels: list[Label], keep: set[Label]) -> tuple[Array, list[Label]]:
    gone = tuple(k for k, label in enumerate(labels) if label not in keep)
    if gone:
        node = table.sum(node, gone)
    return node, [label for label in labels if label in keep]


def _contract(
    a: Array, a_labels: list[Label], b: Array, b_labels: list[Label], keep: set[Label]
) -> tuple[Array, list[Label]]:
    """The product of two operands, summed over shared labels that nobody needs later."""
    a, a_labels = _sum_out(a, a_labels, keep | set(b_labels))
    b, b_labels = _sum_out(b, b_labels, keep | set(a_labels))
    shared = [label for label in a_labels if label in b_labels]
    batch = [label for label in shared if label in keep]
    summed = [label for label in shared if label not in keep]
    only_a = [label for label in a_labels if label not in shared]
    only_b = [label for label in b_labels if label not in shared]
    size = dict(zip(a_labels, a.shape, strict=True))
    for label, n in zip(b_labels, b.shape, strict=True):
        if size.setdefault(label, n) != n and 1 not in (n, size[label]):
            raise ValueError(f"einsum: label {label!r} has the sizes {size[label]} and {n}")
        size[label] = max(size[label], n)
    if not summed:
        x = _arranged(a, a_labels, [batch, only_a, [None] * len(only_b)], None)
        y = _arranged(b, b_labels, [batch, [None] * len(only_a), only_b], None)
        return table.multiply(x, y), batch + only_a + only_b
    x = _arranged(a, a_labels, [batch, only_a, summed], size)
    y = _arranged(b, b_labels, [batch, summed, only_b], size)
    product = matmul(x, y)
    labels = batch + only_a + only_b
    return shapes.reshape(product, [size[label] for label in labels]), labels


def _arranged(
    node: Array,
    labels: list[Label],
    groups: Sequence[Sequence[Label | None]],
    size: dict[Label, int] | None,
) -> Array:
    """The axes in the order of the groups (None: a new one); with sizes each group one axis."""
    present = [label for group in groups for label in group if label is not None]
    node = shapes.transpose(node, [labels.index(label) for label in present])
    sizes = dict(zip(present, node.shape, strict=True))
    if size is None:
        shape = [1 if label is None else sizes[label] for group in groups for label in group]
        return shapes.reshape(node, shape)
    node = shapes.broadcast_to(node, [size[label] for label in present])
    blocks = [[size[label] for label in group if label is not None] for group in groups]
    return shapes.reshape(node, [math.prod(block) for block in blocks])


# ---- norms -----------------------------------------------------------------------------------


@function(np.linalg.norm)
def norm(x: Value, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Array:
    x = as_float(x)
    vector = axis is not None and not isinstance(axis, Sequence)
    if ord is None or ord == "fro" or (ord == 2 and (vector or (axis is None and x.ndim == 1))):
        return table.UFUNCS[np.sqrt](table.sum(table.power(x, 2), axis, keepdims=keepdims))
    if not vector and not (axis is None and x.ndim == 1):
        raise TypeError(
            f"np.linalg.norm of a traced array: ord={ord!r} works along one axis only"
        )
    size = table.absolute(x)
    if ord == 1:
        return table.sum(size, axis, keepdims=keepdims)
    if ord == np.inf:
        return size.max(axis, keepdims=keepdims)  # type: ignore[no-any-return]
    raise TypeError(
        f"np.linalg.norm of a traced array: ord={ord!r} does not work: None, 1, 2, inf"
    )
