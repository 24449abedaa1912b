"""Products of arrays, each one batched matrix product: matmul, dot, tensordot, einsum, norm."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _numpy as table
from . import _shapes as shapes
from ._checks import axis_indices
from ._core import ops
from ._numpy import Axis, function, ufunc
from ._trace import FLOAT64, INT, UINT8, DType, Value, as_float, as_node, need, promote

if TYPE_CHECKING:
    from ._array import TracedArray

Label = str | int  # a letter, or the number of an axis of '...'


def _floats(a: Value, b: Value) -> tuple[TracedArray, TracedArray, DType]:
    """(a, b, their common dtype): integers are multiplied as float64, exactly."""
    x, y = promote(a, b)
    if x.dtype.kind == "f":
        return x, y, x.dtype
    return as_node(x, np.float64), as_node(y, np.float64), x.dtype


def _restored(node: TracedArray, dtype: DType) -> TracedArray:
    """The result in the dtype of the operands; of uint8 the low eight bits."""
    return as_node(as_node(node, INT) if dtype == UINT8 else node, dtype)


@ufunc(np.matmul)
def matmul(a: Value, b: Value) -> TracedArray:
    a, b, dtype = _floats(a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul: a number cannot be an operand: use *")
    x = shapes.expand_dims(a, 0) if a.ndim == 1 else a
    y = shapes.expand_dims(b, 1) if b.ndim == 1 else b
    product = ops.matmul(need().graph, x, y)
    gone = [-2] * (a.ndim == 1) + [-1] * (b.ndim == 1)
    return _restored(shapes.squeeze(product, tuple(gone)) if gone else product, dtype)


@ufunc(np.vecdot)
def vecdot(a: Value, b: Value, axis: int = -1) -> TracedArray:
    x, y = (shapes.moveaxis(v, axis, -1) for v in promote(a, b))
    product = matmul(shapes.expand_dims(x, -2), shapes.expand_dims(y, -1))
    return shapes.squeeze(product, (-2, -1))


if hasattr(np, "matvec"):  # NumPy >= 2.2

    @ufunc(np.matvec)
    def matvec(a: Value, b: Value) -> TracedArray:
        return shapes.squeeze(matmul(a, shapes.expand_dims(b, -1)), -1)

    @ufunc(np.vecmat)
    def vecmat(a: Value, b: Value) -> TracedArray:
        return shapes.squeeze(matmul(shapes.expand_dims(a, -2), b), -2)


@function(np.dot)
def dot(a: Value, b: Value) -> TracedArray:
    a, b = promote(a, b)
    if a.ndim == 0 or b.ndim == 0:
        return table.multiply(a, b)
    return tensordot(a, b, (-1, max(b.ndim - 2, 0)))


@function(np.inner)
def inner(a: Value, b: Value) -> TracedArray:
    a, b = promote(a, b)
    if a.ndim == 0 or b.ndim == 0:
        return table.multiply(a, b)
    return tensordot(a, b, (-1, -1))


@function(np.vdot)
def vdot(a: Value, b: Value) -> TracedArray:
    return dot(shapes.ravel(a), shapes.ravel(b))


@function(np.outer)
def outer(a: Value, b: Value) -> TracedArray:
    return table.multiply(shapes.reshape(a, (-1, 1)), shapes.reshape(b, (1, -1)))


@function(np.kron)
def kron(a: Value, b: Value) -> TracedArray:
    x, y = promote(a, b)
    ndim = max(x.ndim, y.ndim)
    in_x, in_y = ((1,) * (ndim - node.ndim) + node.shape for node in (x, y))
    outer_x = shapes.reshape(x, [size for n in in_x for size in (n, 1)])
    inner_y = shapes.reshape(y, [size for n in in_y for size in (1, n)])
    product = table.multiply(outer_x, inner_y)
    return shapes.reshape(product, [n * m for n, m in zip(in_x, in_y, strict=True)])


@function(np.cross)
def cross(
    a: Value,
    b: Value,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> TracedArray:
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = (
        shapes.moveaxis(v, at, -1) for v, at in zip(promote(a, b), (axisa, axisb), strict=True)
    )
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise ValueError(f"np.cross: got shapes {x.shape} and {y.shape}, expected 3 components")

    def term(i: int, j: int) -> TracedArray:
        left, right = (table.multiply(x[..., p], y[..., q]) for p, q in ((i, j), (j, i)))
        return table.subtract(left, right)

    return shapes.stack([term(1, 2), term(2, 0), term(0, 1)], axisc)


def _convolved(a: Value, v: Value, flip: bool, name: str) -> tuple[TracedArray, DType]:
    """(the full sum of products, dtype); ``flip``: v backwards, as np.convolve has it."""
    x, y, dtype = _floats(a, v)
    if x.ndim != 1 or y.ndim != 1 or not x.size or not y.size:
        raise ValueError(
            f"np.{name}: got shapes {x.shape} and {y.shape}, expected two that are not empty, "
            "of one axis each"
        )
    graph, n, m = need().graph, x.shape[0], y.shape[0]
    image = ops.reshape(graph, x, (1, 1, n, 1))
    kernel = ops.reshape(graph, ops.flip(graph, y, 0) if flip else y, (1, m, 1, 1))
    full = ops.conv(graph, image, kernel, (1, 1, 0, 0, m - 1, m - 1, 1, 1, 1))
    return ops.reshape(graph, full, n + m - 1), dtype


def _middle(full: TracedArray, n: int, m: int, mode: str, name: str) -> TracedArray:
    """What the mode takes of all n + m - 1 places."""
    short, long = min(n, m), max(n, m)
    if mode == "full":
        return full
    if mode == "valid":
        return shapes.piece(full, 0, short - 1, long)
    if mode == "same":
        start = short - 1 - short // 2
        return shapes.piece(full, 0, start, start + long)
    raise ValueError(f"np.{name}: mode: got {mode!r}, expected 'full', 'same' or 'valid'")


@function(np.convolve)
def convolve(a: Value, v: Value, mode: str = "full") -> TracedArray:
    full, dtype = _convolved(a, v, True, "convolve")
    return _restored(_middle(full, np.size(a), np.size(v), mode, "convolve"), dtype)


@function(np.correlate)
def correlate(a: Value, v: Value, mode: str = "valid") -> TracedArray:
    n, m = np.size(a), np.size(v)
    full, dtype = _convolved(a, v, False, "correlate")
    if n >= m:
        return _restored(_middle(full, n, m, mode, "correlate"), dtype)
    backwards = _middle(shapes.flip(full), n, m, mode, "correlate")  # NumPy swaps a and v
    return _restored(shapes.flip(backwards), dtype)


@function(np.tensordot)
def tensordot(a: Value, b: Value, axes: Any = 2) -> TracedArray:
    a, b, dtype = _floats(a, b)
    if isinstance(axes, int):
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    in_a, in_b = (
        axis_indices(tuple(of) if isinstance(of, Sequence) else of, x.ndim)
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
    return _restored(ops.reshape(graph, ops.matmul(graph, x, y), rows + columns), dtype)


# ---- einsum ----------------------------------------------------------------------------------


@function(np.einsum)
def einsum(subscripts: str, *operands: Value, optimize: Any = False) -> TracedArray:
    """Contracts two operands at a time: from left to right, or in NumPy's order if
    ``optimize`` asks for one.
    """
    if not isinstance(subscripts, str):
        raise TypeError("np.einsum: subscripts: got an array, expected a string")
    nodes = promote(*operands)
    inputs, output = _parse(subscripts, nodes)
    terms = [_diagonal(node, labels) for node, labels in zip(nodes, inputs, strict=True)]
    for places in _order(subscripts, nodes, optimize):
        chosen = [terms.pop(k) for k in sorted(places, reverse=True)][::-1]
        while len(chosen) > 1:
            (a, a_labels), (b, b_labels), *rest = chosen
            later = set(output).union(*[labels for _, labels in rest + terms])
            chosen = [_contract(a, a_labels, b, b_labels, later), *rest]
        terms += chosen
    node, labels = _sum_out(*terms[0], set(output))
    return shapes.transpose(node, [labels.index(letter) for letter in output])


def _order(subscripts: str, nodes: list[TracedArray], optimize: Any) -> list[tuple[int, ...]]:
    """Which operands meet, one tuple after the other; the results go to the end."""
    if optimize is False or len(nodes) < 3:
        return [tuple(range(len(nodes)))]
    shaped = [np.broadcast_to(np.float32(0), node.shape) for node in nodes]
    path, _ = np.einsum_path(subscripts, *shaped, optimize=optimize)
    return [tuple(places) for places in path[1:]]


def _diagonal(node: TracedArray, labels: list[Label]) -> tuple[TracedArray, list[Label]]:
    """Each label once: of axes with one label the diagonal."""
    while len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        first = labels.index(twice)
        second = labels.index(twice, first + 1)
        if node.shape[first] != node.shape[second]:
            raise ValueError(
                f"einsum: label {twice!r} has the sizes {node.shape[first]} and "
                f"{node.shape[second]}"
            )
        node = shapes.diagonal(node, 0, first, second)
        labels = [label for k, label in enumerate(labels) if k not in (first, second)]
        labels.append(twice)
    return node, labels


def _parse(subscripts: str, nodes: list[TracedArray]) -> tuple[list[list[Label]], list[Label]]:
    """Lists of labels for each operand and the result; the axes of '...' get names of their
    own.
    """
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    for term in (*left.split(","), right):
        strange = set(term.replace("...", "", 1)) - set(string.ascii_letters)
        if strange:
            raise ValueError(
                f"einsum: {subscripts!r}: got {min(strange)!r}, "
                "expected letters, '...' and '->'"
            )
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
        inputs.append(labels)
    if arrow:
        if widest and "..." not in right:
            raise ValueError(
                f"einsum: {subscripts!r} has '...' in an operand, but not in the result"
            )
        return inputs, _checked_result(_labels(right, widest), inputs)
    every = [label for labels in inputs for label in labels]
    once = sorted(
        label for label in set(every) if isinstance(label, str) and every.count(label) == 1
    )
    return inputs, [*range(-widest, 0), *once]


def _checked_result(output: list[Label], inputs: list[list[Label]]) -> list[Label]:
    for label in output:
        if output.count(label) > 1:
            raise ValueError(f"einsum: label {label!r} is twice in the result")
        if not any(label in labels for labels in inputs):
            raise ValueError(f"einsum: label {label!r} of the result is in no operand")
    return output


def _labels(term: str, hidden: int) -> list[Label]:
    """Letters, and the numbers -hidden .. -1 for the axes of '...'."""
    before, dots, after = term.partition("...")
    return [*before, *(range(-hidden, 0) if dots else ()), *after]


def _sum_out(
    node: TracedArray, labels: list[Label], keep: set[Label]
) -> tuple[TracedArray, list[Label]]:
    gone = tuple(k for k, label in enumerate(labels) if label not in keep)
    if gone:
        node = table.sum(node, gone)
    return node, [label for label in labels if label in keep]


def _contract(
    a: TracedArray,
    a_labels: list[Label],
    b: TracedArray,
    b_labels: list[Label],
    keep: set[Label],
) -> tuple[TracedArray, list[Label]]:
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
    node: TracedArray,
    labels: list[Label],
    groups: Sequence[Sequence[Label | None]],
    size: dict[Label, int] | None,
) -> TracedArray:
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
def norm(x: Value, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> TracedArray:
    x = as_float(x, FLOAT64)
    axes = table.axes_of(axis, x.ndim)
    count = x.ndim if axes is None else len(axes)
    if ord is None or (count == 1 and ord == 2) or (count == 2 and ord == "fro"):
        return table.UFUNCS[np.sqrt](table.sum(table.square(x), axes, keepdims=keepdims))
    if count == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if count == 2 and not isinstance(ord, str) and abs(ord) in (1, math.inf):
        return _matrix_norm(x, ord, (0, 1) if axes is None else axes, keepdims)
    raise TypeError(
        f"np.linalg.norm: ord: got {ord!r} for {count} axes, expected None"
        + (", 'fro', 1, -1, inf or -inf" if count == 2 else "")
    )


def _vector_norm(x: TracedArray, ord: Any, axis: Axis, keepdims: bool) -> TracedArray:
    if isinstance(ord, str):
        raise TypeError(f"np.linalg.norm: ord: got {ord!r} for one axis, expected a number")
    size = table.absolute(x)
    if abs(ord) == math.inf:
        best = table.max if ord > 0 else table.min
        return best(size, axis, keepdims=keepdims)
    if ord == 0:
        return as_node(table.count_nonzero(x, axis, keepdims=keepdims), x.dtype)
    total = table.sum(table.power(size, ord), axis, keepdims=keepdims)
    return table.power(total, 1 / ord)


def _matrix_norm(
    x: TracedArray, ord: float, axes: tuple[int, ...], keepdims: bool
) -> TracedArray:
    """The largest (smallest, for a negative ord) sum of a column for 1, of a row for inf."""
    summed, compared = axes if abs(ord) == 1 else axes[::-1]
    totals = table.sum(table.absolute(x), summed, keepdims=True)
    best = table.max if ord > 0 else table.min
    found = best(totals, compared, keepdims=True)
    return found if keepdims else shapes.squeeze(found, axes)
