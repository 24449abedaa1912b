"""Functions for energies that NumPy has not got: activations, norms, convolutions, pooling,
attention.

They take traced arrays, and concrete ones.  Images are (N, H, W, C), weights (kh, kw, in, out).

>>> import numpy as np
>>> from ebmlib import functional as F
>>> F.relu(np.array([-1.0, 2.0]))
array([0., 2.])
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from . import _linalg
from . import _numpy as table
from . import _shapes as shapes
from ._compile import also_concrete
from ._core import ops
from ._trace import INT, as_float, as_node, need, promote, promote_float

if TYPE_CHECKING:
    from ._array import Array

Axis = int | tuple[int, ...] | None
Size = int | tuple[int, int]

__all__ = [
    "attention",
    "avg_pool",
    "batch_norm",
    "conv",
    "conv_transpose",
    "elu",
    "erf",
    "gelu",
    "group_norm",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsumexp",
    "max_pool",
    "one_hot",
    "put",
    "relu",
    "scatter_add",
    "sigmoid",
    "softmax",
    "softplus",
    "solve_triangular",
    "standardize",
    "swish",
    "upsample",
]


# ---- activations -----------------------------------------------------------------------------


@also_concrete("x")
def relu(x: Any) -> Any:
    """The positive part, max(x, 0).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return ops.relu(need().graph, as_float(x))


@also_concrete("x")
def swish(x: Any) -> Any:
    """The function x sigmoid(x).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.swish(np.array([0.0, 1.0]))
    array([0.        , 0.73105858])
    """
    return ops.swish(need().graph, as_float(x))


@also_concrete("x")
def gelu(x: Any) -> Any:
    """The function x Phi(x), Phi the normal distribution function.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.gelu(np.array([0.0, 1.0]))
    array([0.        , 0.84134475])
    """
    return ops.gelu(need().graph, as_float(x))


@also_concrete("x")
def sigmoid(x: Any) -> Any:
    """The logistic function, 1 / (1 + exp(-x)).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.sigmoid(np.array([0.0, 1.0]))
    array([0.5       , 0.73105858])
    """
    return ops.sigmoid(need().graph, as_float(x))


@also_concrete("x")
def softplus(x: Any) -> Any:
    """The function log(1 + exp(x)).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.softplus(np.array([0.0, 1.0]))
    array([0.69314718, 1.31326169])
    """
    return ops.softplus(need().graph, as_float(x))


@also_concrete("x")
def erf(x: Any) -> Any:
    """The error function.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.erf(np.array([0.0, 1.0]))
    array([0.        , 0.84270079])
    """
    return ops.erf(need().graph, as_float(x))


@also_concrete("x")
def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """The function that is x where x is positive, else slope * x.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.leaky_relu(np.array([-1.0, 2.0]), 0.2)
    array([-0.2,  2. ])
    """
    return ops.leaky_relu(need().graph, as_float(x), slope)


@also_concrete("x")
def elu(x: Any, alpha: float = 1.0) -> Any:
    """The function that is x where x is positive, else alpha (exp(x) - 1).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.elu(np.array([-1.0, 2.0]))
    array([-0.63212056,  2.        ])
    """
    return ops.elu(need().graph, as_float(x), alpha)


# ---- softmax and its kin ---------------------------------------------------------------------


def _axes(axis: Axis, node: Array) -> tuple[int, ...] | None:
    return None if axis is None else normalize_axis_tuple(axis, node.ndim)


@also_concrete("x")
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The logarithm of sum(exp(x)) over the axes, without overflow.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.logsumexp(np.array([1000.0, 1000.0]))
    array(1000.69314718)
    """
    node = as_float(x)
    return ops.logsumexp(need().graph, node, _axes(axis, node), keepdims)


@also_concrete("x")
def softmax(x: Any, axis: int = -1) -> Any:
    """Exponentials that sum to one, exp(x) / sum(exp(x)), along an axis.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.softmax(np.array([0.0, np.log(3)]))
    array([0.25, 0.75])
    """
    node = as_float(x)
    return ops.softmax(need().graph, node, normalize_axis_index(axis, node.ndim))


@also_concrete("x")
def log_softmax(x: Any, axis: int = -1) -> Any:
    """The logarithm of softmax.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.log_softmax(np.array([0.0, 0.0]))
    array([-0.69314718, -0.69314718])
    """
    node = as_float(x)
    return ops.log_softmax(need().graph, node, normalize_axis_index(axis, node.ndim))


@also_concrete("labels")
def one_hot(labels: Any, classes: int, dtype: str = "float32") -> Any:
    """Zeros (..., classes) with a one at each label.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    labels = as_node(labels, INT)
    shape = (*labels.shape, classes)
    places = ops.iota(need().graph, INT, shape, len(shape) - 1)
    return as_node(table.equal(shapes.expand_dims(labels, -1), places), dtype)


# ---- normalisation ---------------------------------------------------------------------------


@also_concrete("x")
def standardize(x: Any, axis: Axis = -1, epsilon: float = 1e-5) -> Any:
    """Moments 0 and 1: (x - mean) / sqrt(var + epsilon) over the axes.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.standardize(np.array([1.0, 3.0]), epsilon=0)
    array([-1.,  1.])
    """
    node = as_float(x)
    return ops.standardize(need().graph, node, _axes(axis, node), epsilon)


@also_concrete("x", "gain", "bias")
def batch_norm(x: Any, gain: Any, bias: Any, epsilon: float = 1e-5) -> Any:
    """Batch norm: x (N, ..., C) standardized for each channel over the batch, times gain (C,),
    plus bias (C,).

    >>> import numpy as np, ebmlib as ebm
    >>> x = np.array([[1.0, 5.0], [3.0, 9.0]])
    >>> ebm.functional.batch_norm(x, np.ones(2), np.zeros(2), epsilon=0)
    array([[-1., -1.],
           [ 1.,  1.]])
    """
    x, gain, bias = promote_float(x, gain, bias)
    return ops.batch_norm(need().graph, x, gain, bias, epsilon)


@also_concrete("x", "gain", "bias")
def layer_norm(x: Any, gain: Any, bias: Any, epsilon: float = 1e-5) -> Any:
    """Layer norm: x (..., C) standardized along its last axis, times gain (C,), plus bias (C,).

    >>> import numpy as np, ebmlib as ebm
    >>> x = np.array([[1.0, 3.0], [5.0, 9.0]])
    >>> ebm.functional.layer_norm(x, np.ones(2), np.zeros(2), epsilon=0)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    x, gain, bias = promote_float(x, gain, bias)
    return ops.layer_norm(need().graph, x, gain, bias, epsilon)


@also_concrete("x", "gain", "bias")
def group_norm(x: Any, gain: Any, bias: Any, groups: int, epsilon: float = 1e-5) -> Any:
    """Group norm: x (N, ..., C) standardized for each row and group of channels, times gain,
    plus bias (C,).

    >>> import numpy as np, ebmlib as ebm
    >>> x = np.array([[1.0, 3.0, 5.0, 9.0]])
    >>> ebm.functional.group_norm(x, np.ones(4), np.zeros(4), groups=2, epsilon=0)
    array([[-1.,  1., -1.,  1.]])
    """
    x, gain, bias = promote_float(x, gain, bias)
    return ops.group_norm(need().graph, x, groups, gain, bias, epsilon)


# ---- layers ----------------------------------------------------------------------------------


@also_concrete("x", "weight", "bias")
def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """The layer x (N, I) @ weight (I, O) + bias (O,).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.linear(np.ones((1, 2)), np.ones((2, 3)), np.ones(3))
    array([[3., 3., 3.]])
    """
    if bias is None:
        x, weight = promote_float(x, weight)
        return ops.linear(need().graph, x, weight, None)
    return ops.linear(need().graph, *promote_float(x, weight, bias))


def _pair(value: Any) -> tuple[Any, Any]:
    one, two = (value, value) if isinstance(value, int) else value
    return one, two


def _geometry(
    shape: tuple[int, ...], stride: Any, padding: Any, dilation: Any, groups: int
) -> tuple[int, ...]:
    """The nine ints of a convolution: stride, top, bottom, left, right, dilation, groups."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        spans = [(k - 1) * d for k, d in zip(shape[:2], _pair(dilation), strict=True)]
        padding = tuple((span // 2, span - span // 2) for span in spans)
    rows, columns = (_pair(side) for side in _pair(padding))
    return (*_pair(stride), *rows, *columns, *_pair(dilation), groups)


@also_concrete("x", "weight")
def conv(
    x: Any,
    weight: Any,
    stride: Size = 1,
    padding: Any = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """The convolution of x (N, H, W, I) with weight (kh, kw, I / groups, O).

    stride, dilation: an int or a pair.  padding: an int, a pair (rows, columns), a pair of
        pairs ((top, bottom), (left, right)), "valid", or "same" (same size at stride 1).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.conv(np.ones((1, 8, 8, 3)), np.ones((3, 3, 3, 5)), padding="same").shape
    (1, 8, 8, 5)
    """
    x, weight = promote_float(x, weight)
    geometry = _geometry(weight.shape, stride, padding, dilation, groups)
    return ops.conv(need().graph, x, weight, geometry)


@also_concrete("x", "weight")
def conv_transpose(
    x: Any,
    weight: Any,
    stride: Size = 1,
    padding: Any = 0,
    dilation: Size = 1,
    groups: int = 1,
    output_padding: Size = 0,
) -> Any:
    """The adjoint of ``conv``: x (N, h, w, O), weight (kh, kw, I / groups, O) to (N, H, W, I)
    with H = (h - 1) stride - top - bottom + dilation (kh - 1) + 1 + output_padding.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.conv_transpose(np.ones((1, 4, 4, 5)), np.ones((2, 2, 3, 5)), 2).shape
    (1, 8, 8, 3)
    """
    x, weight = promote_float(x, weight)
    geometry = _geometry(weight.shape, stride, padding, dilation, groups)
    (sh, sw, top, bottom, left, right, dh, dw, _), more = geometry, _pair(output_padding)
    height = (x.shape[1] - 1) * sh - top - bottom + dh * (weight.shape[0] - 1) + 1 + more[0]
    width = (x.shape[2] - 1) * sw - left - right + dw * (weight.shape[1] - 1) + 1 + more[1]
    return ops.conv_data(need().graph, x, weight, geometry, height, width)


@also_concrete("x")
def max_pool(x: Any, size: Size = 2, stride: Size | None = None, padding: Size = 0) -> Any:
    """The maxima of windows of x (N, H, W, C); the stride is the size if it is not given.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.max_pool(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    window = (*_pair(size), *_pair(size if stride is None else stride), *_pair(padding))
    return ops.max_pool(need().graph, as_float(x), window)


@also_concrete("x")
def avg_pool(x: Any, size: int = 2) -> Any:
    """The means of size x size blocks of x (N, H, W, C).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.avg_pool(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    return ops.avg_pool(need().graph, as_float(x), size)


@also_concrete("x")
def upsample(x: Any, factor: int = 2) -> Any:
    """Images x (N, H, W, C) with each pixel repeated factor x factor times.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.upsample(np.array([[[[1.0], [2.0]]]]))[0, :, :, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
    """
    return ops.upsample(need().graph, as_node(x), factor)


@also_concrete("q", "k", "v")
def attention(q: Any, k: Any, v: Any) -> Any:
    """Attention, softmax(q k' / sqrt(d)) v, for q (..., T, d), k (..., S, d), v (..., S, e).

    >>> import numpy as np, ebmlib as ebm
    >>> q = k = np.zeros((2, 4))
    >>> ebm.functional.attention(q, k, np.array([[1.0], [3.0]]))
    array([[2.],
           [2.]])
    """
    return ops.attention(need().graph, *promote_float(q, k, v))


# ---- matrices --------------------------------------------------------------------------------


@also_concrete("a", "b")
def solve_triangular(a: Any, b: Any, lower: bool = False, trans: bool = False) -> Any:
    """The solution x of a x = b, or of a' x = b with ``trans``, for triangular matrices.

    Parameters
    ----------
    a : array (..., n, n)
        Only the upper triangle is read, or the lower one with ``lower``.
    b : array (..., n, m) or (n,)
        Right-hand sides, as columns; leading axes of a and b broadcast.
    lower, trans : bool
        Which triangle, and whether the transposed system is solved.

    Examples
    --------
    The squared Mahalanobis length of a row x under a covariance is that of L^-1 x:

    >>> import numpy as np, ebmlib as ebm
    >>> L = np.linalg.cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
    >>> ebm.functional.solve_triangular(L, np.array([2.0, 5.0]), lower=True)
    array([1., 2.])
    """
    build = functools.partial(_solve_triangular, bool(lower), bool(trans))
    return _linalg.solve_with(build, a, b, "solve_triangular")


def _solve_triangular(lower: bool, trans: bool, graph: Any, a: Any, b: Any) -> Any:
    return ops.solve_triangular(graph, a, b, lower, trans)


# ---- rows ------------------------------------------------------------------------------------


@also_concrete("x", "index", "rows")
def put(x: Any, index: Any, rows: Any) -> Any:
    """An x with the rows at ``index`` (m,) replaced by ``rows`` (m, ...); of equal indices the
    last wins.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.put(np.zeros(4), np.array([1, 3]), np.array([5.0, 6.0]))
    array([0., 5., 0., 6.])
    """
    x, rows = promote(x, rows)
    return ops.put(need().graph, x, as_node(index, INT), rows)


@also_concrete("values", "index")
def scatter_add(values: Any, index: Any, size: int, axis: int = 0) -> Any:
    """Zeros with ``size`` places along an axis, and the values added up at ``index``: the
    adjoint of ``np.take``.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.scatter_add(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 0]), 3)
    array([5., 0., 2.])
    """
    node = as_node(values)
    at = normalize_axis_index(axis, node.ndim)
    return ops.scatter_add(need().graph, node, as_node(index, INT), at, size)
