"""Linear algebra of (batches of) matrices, as np.linalg has it.

For traced arrays nothing is raised for values: a matrix that NumPy refuses with LinAlgError
(singular, not positive definite) gives NaN in its place of the batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.linalg import LinAlgError

from . import _contract as contract
from . import _shapes as shapes
from ._core import ops
from ._numpy import function
from ._trace import Value, as_float, as_node, need, promote_float

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ._array import TracedArray

EighResult: Any = type(np.linalg.eigh(np.eye(1)))
SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))


def _square(node: TracedArray, what: str) -> TracedArray:
    """The node, whose last two axes must be equal."""
    if node.ndim < 2 or node.shape[-1] != node.shape[-2]:
        raise LinAlgError(f"{what}: got shape {node.shape}, expected (..., n, n)")
    return node


# ---- systems ---------------------------------------------------------------------------------


def solve_with(build: Callable[..., TracedArray], a: Value, b: Value, what: str) -> TracedArray:
    """The solution x of a x = b; like NumPy a ``b`` with one axis is a vector."""
    left, right = promote_float(a, b)
    _square(left, what)
    vector = right.ndim == 1
    if vector:
        right = shapes.expand_dims(right, 1)
    if right.ndim < 2 or right.shape[-2] != left.shape[-1]:
        raise ValueError(
            f"{what}: got shapes {left.shape} and {np.shape(b)}, "
            "expected (..., n, n) and (..., n, m) or (n,)"
        )
    x = build(need().graph, left, right)
    return shapes.squeeze(x, -1) if vector else x


@function(np.linalg.solve)
def solve(a: Value, b: Value) -> TracedArray:
    """NaN where ``a`` is singular."""
    return solve_with(ops.solve, a, b, "solve")


@function(np.linalg.inv)
def inv(a: Value) -> TracedArray:
    """NaN where ``a`` is singular."""
    return ops.inv(need().graph, _square(as_float(a), "inv"))


@function(np.linalg.cholesky)
def cholesky(a: Value, /, *, upper: bool = False) -> TracedArray:
    """NaN where ``a`` is not positive definite; gradients are symmetric."""
    node = _square(as_float(a), "cholesky")
    if upper:
        lower = ops.cholesky(need().graph, shapes.matrix_transpose(node))
        return shapes.matrix_transpose(lower)
    return ops.cholesky(need().graph, node)


# ---- determinants and eigenvalues ------------------------------------------------------------


@function(np.linalg.slogdet)
def slogdet(a: Value) -> tuple[TracedArray, TracedArray]:
    both = ops.slogdet(need().graph, _square(as_float(a), "slogdet"))
    return SlogdetResult(both[..., 0], both[..., 1])  # type: ignore[no-any-return]


@function(np.linalg.det)
def det(a: Value) -> TracedArray:
    """The derivative is NaN where ``a`` is singular."""
    return ops.det(need().graph, _square(as_float(a), "det"))


@function(np.linalg.eigh)
def eigh(a: Value, UPLO: str = "L") -> tuple[TracedArray, TracedArray]:
    """Values and vectors without derivative: an error, unless under ebm.stop_gradient."""
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise ValueError(f"eigh: UPLO: got {UPLO!r}, expected 'L' or 'U'")
    node = _square(as_float(a), "eigh")
    if UPLO.upper() == "U":
        node = shapes.matrix_transpose(node)
    both = ops.eigh(need().graph, node)
    return EighResult(both[..., 0, :], both[..., 1:, :])  # type: ignore[no-any-return]


@function(np.linalg.eigvalsh)
def eigvalsh(a: Value, UPLO: str = "L") -> TracedArray:
    return eigh(a, UPLO)[0]


# ---- products --------------------------------------------------------------------------------


@function(np.linalg.matrix_power)
def matrix_power(a: Value, n: int) -> TracedArray:
    if not isinstance(n, int | np.integer):
        raise TypeError(f"matrix_power: exponent: got {n!r}, expected an int")
    node = _square(as_node(a), "matrix_power")
    if n < 0:
        node, n = inv(node), -n
    power, result = node, None
    while n:
        if n % 2:
            result = power if result is None else contract.matmul(result, power)
        n //= 2
        power = contract.matmul(power, power) if n else power
    if result is None:
        return shapes.broadcast_to(np.eye(node.shape[-1], dtype=node.dtype), node.shape)
    return result


@function(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Value]) -> TracedArray:
    """The product in the order that takes the fewest multiplications."""
    nodes = [as_node(a) for a in arrays]
    if len(nodes) < 2:
        raise ValueError(f"multi_dot: got {len(nodes)} arrays, expected two or more")
    row, column = nodes[0].ndim == 1, nodes[-1].ndim == 1
    if row:
        nodes[0] = shapes.expand_dims(nodes[0], 0)
    if column:
        nodes[-1] = shapes.expand_dims(nodes[-1], 1)
    if any(node.ndim != 2 for node in nodes):
        raise LinAlgError("multi_dot: all arrays but the first and the last must be matrices")
    sizes = (nodes[0].shape[0], *[node.shape[1] for node in nodes])

    def product(first: int, end: int) -> TracedArray:
        if end - first == 1:
            return nodes[first]
        cut = _cheapest(sizes[first : end + 1])[1] + first
        return contract.matmul(product(first, cut), product(cut, end))

    gone = (0,) * row + (1,) * column
    return shapes.squeeze(product(0, len(nodes)), gone) if gone else product(0, len(nodes))


@functools.cache
def _cheapest(sizes: tuple[int, ...]) -> tuple[int, int]:
    """(multiplications, where to cut) of a chain of matrices (sizes[k], sizes[k + 1])."""
    if len(sizes) == 2:
        return 0, 0
    return min(
        (
            _cheapest(sizes[: k + 1])[0]
            + _cheapest(sizes[k:])[0]
            + sizes[0] * sizes[k] * sizes[-1],
            k,
        )
        for k in range(1, len(sizes) - 1)
    )


# ---- names that np.linalg shares with np -----------------------------------------------------


@function(np.linalg.matmul)
def matmul(x1: Value, x2: Value, /) -> TracedArray:
    return contract.matmul(x1, x2)


@function(np.linalg.outer)
def outer(x1: Value, x2: Value, /) -> TracedArray:
    return contract.outer(x1, x2)


@function(np.linalg.tensordot)
def tensordot(x1: Value, x2: Value, /, *, axes: Any = 2) -> TracedArray:
    return contract.tensordot(x1, x2, axes)


@function(np.linalg.matrix_transpose)
def matrix_transpose(x: Value, /) -> TracedArray:
    return shapes.matrix_transpose(x)


@function(np.linalg.diagonal)
def diagonal(x: Value, /, *, offset: int = 0) -> TracedArray:
    return shapes.diagonal(x, offset, -2, -1)


@function(np.linalg.trace)
def trace(x: Value, /, *, offset: int = 0, dtype: DTypeLike | None = None) -> TracedArray:
    return shapes.trace(x if dtype is None else as_node(x, dtype), offset, -2, -1)
