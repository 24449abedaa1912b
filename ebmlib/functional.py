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
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _linalg
from . import _numpy as table
from . import _shapes as shapes
from ._checks import axis_index, axis_indices, real, whole
from ._compile import also_concrete
from ._core import ops
from ._images import (
    Size,
    avg_pool,
    blur,
    depth_to_space,
    global_avg_pool,
    global_max_pool,
    max_pool,
    pair,
    resize,
    space_to_depth,
    upsample,
)
from ._losses import bce_with_logits, cross_entropy, huber, kl_normal
from ._trace import INT, as_float, as_index, as_node, need, promote, promote_float
from .errors import ShapeError

if TYPE_CHECKING:
    from ._array import TracedArray

Axis = int | tuple[int, ...] | None

__all__ = [
    "attention",
    "avg_pool",
    "batch_norm",
    "bce_with_logits",
    "blur",
    "celu",
    "conv",
    "conv_transpose",
    "cross_entropy",
    "depth_to_space",
    "dropout",
    "elu",
    "erf",
    "gelu",
    "global_avg_pool",
    "global_max_pool",
    "glu",
    "group_norm",
    "hard_tanh",
    "huber",
    "instance_norm",
    "kl_normal",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "max_pool",
    "mish",
    "one_hot",
    "put",
    "relu",
    "relu6",
    "resize",
    "rms_norm",
    "scatter_add",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "solve_triangular",
    "space_to_depth",
    "spectral_norm",
    "standardize",
    "swish",
    "upsample",
    "weight_norm",
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
    return ops.leaky_relu(need().graph, as_float(x), real(slope, "slope"))


@also_concrete("x")
def elu(x: Any, alpha: float = 1.0) -> Any:
    """The function that is x where x is positive, else alpha (exp(x) - 1).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.elu(np.array([-1.0, 2.0]))
    array([-0.63212056,  2.        ])
    """
    return ops.elu(need().graph, as_float(x), real(alpha, "alpha"))


@also_concrete("x")
def silu(x: Any) -> Any:
    """The function x sigmoid(x), another name of ``swish``.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.silu(np.array([0.0, 1.0]))
    array([0.        , 0.73105858])
    """
    return ops.swish(need().graph, as_float(x))


@also_concrete("x")
def relu6(x: Any) -> Any:
    """The positive part up to 6, min(max(x, 0), 6).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.relu6(np.array([-1.0, 2.0, 7.0]))
    array([0., 2., 6.])
    """
    return ops.relu6(need().graph, as_float(x))


@also_concrete("x")
def hard_tanh(x: Any) -> Any:
    """The value within -1 and 1.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.hard_tanh(np.array([-3.0, 0.5]))
    array([-1. ,  0.5])
    """
    return ops.hard_tanh(need().graph, as_float(x))


@also_concrete("x")
def mish(x: Any) -> Any:
    """The function x tanh(log(1 + exp(x))).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.mish(np.array([0.0, 1.0]))
    array([0.        , 0.86509839])
    """
    return ops.mish(need().graph, as_float(x))


@also_concrete("x")
def selu(x: Any) -> Any:
    """The scaled elu that keeps mean 0 and variance 1 (Klambauer et al. 2017).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.selu(np.array([0.0, 1.0]))
    array([0.        , 1.05070099])
    """
    return ops.selu(need().graph, as_float(x))


@also_concrete("x")
def celu(x: Any, alpha: float = 1.0) -> Any:
    """The function that is x where x is positive, else alpha (exp(x / alpha) - 1).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.celu(np.array([-1.0, 2.0]))
    array([-0.63212056,  2.        ])
    """
    return ops.celu(need().graph, as_float(x), real(alpha, "alpha"))


@also_concrete("x")
def softsign(x: Any) -> Any:
    """The function x / (1 + abs(x)).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.softsign(np.array([-1.0, 3.0]))
    array([-0.5 ,  0.75])
    """
    return ops.softsign(need().graph, as_float(x))


@also_concrete("x")
def log_sigmoid(x: Any) -> Any:
    """The logarithm of the logistic function.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.log_sigmoid(np.array([0.0]))
    array([-0.69314718])
    """
    return ops.log_sigmoid(need().graph, as_float(x))


@also_concrete("x")
def glu(x: Any, axis: int = -1) -> Any:
    """Gated linear unit, a sigmoid(b), of the halves a and b of x along an axis.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.glu(np.array([3.0, 0.0]))
    array([1.5])
    """
    return ops.glu(need().graph, as_float(x), axis)


# ---- softmax and its kin ---------------------------------------------------------------------


def _axes(axis: Axis, node: TracedArray) -> tuple[int, ...] | None:
    return None if axis is None else axis_indices(axis, node.ndim)


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
    return ops.softmax(need().graph, node, axis_index(axis, node.ndim))


@also_concrete("x")
def log_softmax(x: Any, axis: int = -1) -> Any:
    """The logarithm of softmax.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.log_softmax(np.array([0.0, 0.0]))
    array([-0.69314718, -0.69314718])
    """
    node = as_float(x)
    return ops.log_softmax(need().graph, node, axis_index(axis, node.ndim))


@also_concrete("labels")
def one_hot(labels: Any, classes: int, dtype: str = "float32") -> Any:
    """Zeros (..., classes) with a one at each label.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    labels, classes = as_index(labels, "labels"), whole(classes, "classes", 0)
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
    return ops.standardize(need().graph, node, _axes(axis, node), real(epsilon, "epsilon"))


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
    return ops.batch_norm(need().graph, x, gain, bias, real(epsilon, "epsilon"))


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
    return ops.layer_norm(need().graph, x, gain, bias, real(epsilon, "epsilon"))


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
    count = whole(groups, "groups", 1)
    return ops.group_norm(need().graph, x, count, gain, bias, real(epsilon, "epsilon"))


@also_concrete("x", "gain", "bias")
def instance_norm(x: Any, gain: Any, bias: Any, epsilon: float = 1e-5) -> Any:
    """Instance norm: x (N, ..., C) standardized for each row and channel, times gain, plus bias
    (C,).

    >>> import numpy as np, ebmlib as ebm
    >>> x = np.array([[[1.0], [3.0]]])
    >>> ebm.functional.instance_norm(x, np.ones(1), np.zeros(1), epsilon=0).ravel()
    array([-1.,  1.])
    """
    x, gain, bias = promote_float(x, gain, bias)
    return ops.instance_norm(need().graph, x, gain, bias, real(epsilon, "epsilon"))


def _positive_or_zero(epsilon: Any) -> float:
    if real(epsilon, "epsilon") < 0:
        raise ValueError(f"epsilon: got {epsilon}, expected at least 0")
    return float(epsilon)


@also_concrete("x", "gain")
def rms_norm(x: Any, gain: Any, epsilon: float = 1e-5) -> Any:
    """RMS norm: x (..., C) / sqrt(mean(x^2) + epsilon) along its last axis, times gain (C,).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.rms_norm(np.array([1.0, 7.0]), np.ones(2), epsilon=0)
    array([0.2, 1.4])
    """
    x, gain = promote_float(x, gain)
    return ops.rms_norm(need().graph, x, gain, _positive_or_zero(epsilon))


@also_concrete("direction", "gain")
def weight_norm(direction: Any, gain: Any) -> Any:
    """Weight norm: v (..., O) with the length gain (O,) for each output, gain v / |v| (Salimans
    and Kingma 2016).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.weight_norm(np.array([[3.0], [4.0]]), np.ones(1))
    array([[0.6],
           [0.8]])
    """
    return ops.weight_norm(need().graph, *promote_float(direction, gain))


@also_concrete("weight", "u")
def spectral_norm(weight: Any, u: Any, n_iterations: int = 1) -> Any:
    """Spectral norm: (weight / sigma, u) for a weight (..., O), a matrix W (I, O), and u (O,).

    sigma = v' W u estimates the largest singular value after ``n_iterations`` of the power
    method from u (not zero): give the new u to the next call, as Miyato et al. (2018) do.  u
    and v are constants to derivatives.

    >>> import numpy as np, ebmlib as ebm
    >>> weight, u = ebm.functional.spectral_norm(np.diag([2.0, 1.0]), np.ones(2), 20)
    >>> weight.round(6)
    array([[1. , 0. ],
           [0. , 0.5]])
    """
    weight, u = promote_float(weight, u)
    graph = need().graph
    u = ops.power_iteration(graph, weight, u, whole(n_iterations, "n_iterations", 0))
    return ops.spectral_norm(graph, weight, u), u


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


def _padding(value: Any) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of an int, a pair, or a pair of pairs."""
    if isinstance(value, str):
        raise ValueError(f"padding: got {value!r}, expected 'valid', 'same' or numbers")
    sides = value if isinstance(value, Sequence | np.ndarray) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"padding: got {value!r}, expected an int, a pair or two pairs")
    return (*pair(sides[0], "padding", 0), *pair(sides[1], "padding", 0))


def _geometry(
    x: TracedArray, weight: TracedArray, stride: Any, padding: Any, dilation: Any, groups: int
) -> tuple[int, ...]:
    """The nine ints of a convolution: stride, top, bottom, left, right, dilation, groups."""
    if x.ndim != 4 or weight.ndim != 4:
        raise ShapeError(
            f"got x {x.shape} and weight {weight.shape}, expected (N, H, W, C) and "
            "(kh, kw, in, out)"
        )
    spread = pair(dilation, "dilation", 1)
    if isinstance(padding, str) and padding == "same":
        spans = [(k - 1) * d for k, d in zip(weight.shape[:2], spread, strict=True)]
        padding = tuple((span // 2, span - span // 2) for span in spans)
    sides = _padding(0 if isinstance(padding, str) and padding == "valid" else padding)
    return (*pair(stride, "stride", 1), *sides, *spread, whole(groups, "groups", 1))


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
    geometry = _geometry(x, weight, stride, padding, dilation, groups)
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
    geometry = _geometry(x, weight, stride, padding, dilation, groups)
    sh, sw, top, bottom, left, right, dh, dw, _ = geometry
    more = pair(output_padding, "output_padding", 0)
    height = (x.shape[1] - 1) * sh - top - bottom + dh * (weight.shape[0] - 1) + 1 + more[0]
    width = (x.shape[2] - 1) * sw - left - right + dw * (weight.shape[1] - 1) + 1 + more[1]
    if height < 1 or width < 1:
        raise ShapeError(f"size of the result: got {(height, width)}, expected at least (1, 1)")
    return ops.conv_data(need().graph, x, weight, geometry, height, width)


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


@also_concrete("x", "key")
def dropout(x: Any, key: Any, rate: float = 0.5, *, purpose: int) -> Any:
    """Dropout: zeros with probability ``rate``, else x / (1 - rate) (Srivastava et al. 2014).

    A pure function of the key (see `ebmlib.random`) and of ``purpose``, the number of this
    place: two dropouts with one key need two purposes.

    >>> import numpy as np, ebmlib as ebm
    >>> y = ebm.functional.dropout(np.ones(1000), ebm.random.key(0), 0.25, purpose=0)
    >>> np.unique(y)
    array([0.        , 1.33333333])
    """
    return ops.dropout(
        need().graph,
        as_float(x),
        as_node(key),
        real(rate, "rate"),
        whole(purpose, "purpose", 0),
    )


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
    for name, value in (("lower", lower), ("trans", trans)):
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name}: got {value!r}, expected True or False")
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
    return ops.put(need().graph, x, as_index(index), rows)


@also_concrete("values", "index")
def scatter_add(values: Any, index: Any, size: int, axis: int = 0) -> Any:
    """Zeros with ``size`` places along an axis, and the values added up at ``index``: the
    adjoint of ``np.take``.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.scatter_add(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 0]), 3)
    array([5., 0., 2.])
    """
    node = as_node(values)
    at = axis_index(axis, node.ndim)
    return ops.scatter_add(need().graph, node, as_index(index), at, whole(size, "size", 0))
