"""Layers for networks that are Python functions, with their parameters by name.

The first argument ``p`` is where parameters come from.  While `networks.Function` lists them it
is a `Scope`, which takes up each name, shape and start; given a dict of arrays instead
(``net.parameters()``), the same function looks them up, so it can be differentiated in them.

>>> import numpy as np
>>> from ebmlib import layers, networks
>>> def energy(p, x):
...     h = layers.activate(layers.dense(p, "l0", x, 16), "swish")
...     return layers.dense(p, "l1", h, 1, init="swish")[:, 0]
>>> net = networks.Function(energy).bind(2, random_state=0)
>>> x = np.zeros((3, 2))
>>> bool(np.allclose(net(x), energy(net.parameters(), x)))
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from . import functional as F
from ._checks import function, real, sizes, whole
from ._core import Node
from ._images import Size, pair
from ._interchange import as_numbers
from ._trace import as_node
from .errors import ShapeError

__all__ = [
    "Scope",
    "activate",
    "attention",
    "batch_norm",
    "conv",
    "conv_transpose",
    "dense",
    "depthwise_conv",
    "dropout",
    "embedding",
    "flatten",
    "group_norm",
    "head",
    "instance_norm",
    "layer_norm",
    "nested",
    "param",
    "residual",
    "rms_norm",
    "scope",
    "spectral_conv",
    "spectral_dense",
    "weight_norm_conv",
    "weight_norm_dense",
]

Init = float | tuple[float, float]  # a constant, or (mean, deviation) of a normal distribution
Gain = float | str  # a number, or the name of the activation before the layer
Start = tuple[float, float]

# ---- parameters ------------------------------------------------------------------------------


class Scope:
    """Where a network function gets its parameters while ebmlib builds it.

    ``p.param(name, shape, init)`` is a parameter of one's own, ``p.scope(name)`` the same scope
    with a prefix, ``p[name]`` one that was asked for before.

    >>> import numpy as np
    >>> from ebmlib import networks
    >>> def energy(p, x):
    ...     block = p.scope("block")
    ...     return np.sum((x - block.param("mean", x.shape[1:], init=1.0)) ** 2, axis=1)
    >>> networks.Function(energy).bind(2).parameters()
    {'block.mean': array([1., 1.], dtype=float32)}
    """

    def __init__(self, core: Any, prefix: str = "", asked: Any = None) -> None:
        self._core, self._prefix = core, prefix
        self._asked: dict[str, Any] = {} if asked is None else asked

    def param(self, name: str, shape: int | Sequence[int], init: Init = 0.0) -> Any:
        """The parameter of that name: it starts as a constant, or as N(mean, deviation^2)."""
        return self._ask(name, _shape(shape), _start(init))

    def scope(self, name: str) -> Scope:
        """The scope of names that begin with ``name`` and a dot."""
        return Scope(self._core, f"{self._prefix}{_check_name(name)}.", self._asked)

    def _ask(self, name: str, shape: tuple[int, ...], start: Start) -> Any:
        _check_name(name)
        sizes(shape, f"parameter '{self._prefix}{name}': shape")
        node = self._core.param(self._prefix + name, shape, *start)
        self._asked[self._prefix + name] = node
        return node

    def __getitem__(self, name: str) -> Any:
        full = self._prefix + name
        if full not in self._asked:
            raise KeyError(
                f"parameter '{full}': its shape is not known: ask for it by "
                f"p.param({name!r}, shape), or give start values to networks.Function"
            )
        return self._asked[full]

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._asked


class Given(dict[str, Any]):
    """The parameters of a function that has start values: it knows its scope, too."""

    def __init__(self, nodes: Mapping[str, Any], core: Any, prefix: str) -> None:
        super().__init__(nodes)
        self._core, self._prefix = core, prefix


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return sizes(shape, "param: shape")


def _start(init: Init) -> Start:
    if not isinstance(init, list | tuple):
        return real(init, "init"), 0.0
    if len(init) != 2:
        raise ValueError(f"init: got {init!r}, expected a number or (mean, deviation)")
    mean, deviation = (real(number, "init") for number in init)
    if deviation < 0:
        raise ValueError(f"init: got {init!r}, expected a deviation of at least 0")
    return mean, deviation


def _check_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError(f"parameters: got the name {name!r}, expected a word")
    return name


def _check_parameters(p: Any) -> None:
    if not isinstance(p, Mapping):
        raise TypeError(
            f"parameters: got {type(p).__name__}, expected a scope or a dict of arrays"
        )


def lookup(p: Any, name: str, shape: tuple[int, ...], start: Start) -> Any:
    """The parameter of a scope or a dict; ShapeError if it has another shape there."""
    if isinstance(p, Scope):
        return p._ask(name, shape, start)
    _check_parameters(p)
    value = _find(p, name)
    if value is None:
        raise KeyError(f"parameter '{name}' is missing: got {sorted(p)}")
    if np.shape(value) != tuple(shape):
        raise ShapeError(f"parameter '{name}': got {np.shape(value)}, expected {tuple(shape)}")
    return value


def _find(tree: Any, name: str) -> Any:
    """``tree["a.b"]``, or ``tree["a"]["b"]``; None if there is neither."""
    if name in tree:
        return tree[name]
    parts = name.split(".")
    for k in range(1, len(parts)):
        inner = tree.get(".".join(parts[:k]))
        found = _find(inner, ".".join(parts[k:])) if isinstance(inner, Mapping) else None
        if found is not None:
            return found
    return None


def param(p: Any, name: str, shape: int | Sequence[int], init: Init = 0.0) -> Any:
    """A parameter of a scope, or of a dict of arrays.

    init : a number that it starts as, or (mean, deviation) of normal draws.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> layers.param({"a": {"b": np.ones(2)}}, "a.b", 2)
    array([1., 1.])
    """
    return lookup(p, name, _shape(shape), _start(init))


def scope(p: Any, name: str) -> Any:
    """The part of a scope, or of a dict of arrays, whose names begin with ``name`` and a dot.

    >>> from ebmlib import layers
    >>> layers.scope({"a.w": 1, "b.w": 2}, "b")
    {'w': 2}
    """
    if isinstance(p, Scope):
        return p.scope(name)
    _check_parameters(p)
    if isinstance(p.get(name), Mapping):
        return p[name]
    part = {key[len(name) + 1 :]: p[key] for key in p if key.startswith(f"{name}.")}
    return Given(part, p._core, f"{p._prefix}{name}.") if isinstance(p, Given) else part


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """A dict of dicts from names with dots: what an energy written for ``p["a"]["w"]`` takes.

    >>> from ebmlib import layers
    >>> layers.nested({"a.w": 1, "a.b": 2})
    {'a': {'w': 1, 'b': 2}}
    """
    tree: dict[str, Any] = {}
    _check_parameters(arrays)
    for name, array in arrays.items():
        *path, last = _check_name(name).split(".")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ValueError(f"nested: got {name!r} below an array, expected other names")
        inner[last] = array
    return tree


# ---- dense -----------------------------------------------------------------------------------

_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "swish": F.swish,
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": F.elu,
    "softplus": F.softplus,
    "tanh": np.tanh,
    "gelu": F.gelu,
}


def activate(x: Any, activation: str = "swish") -> Any:
    """The activation of that name: swish, relu, leaky_relu (slope 0.2), elu, softplus, tanh or
    gelu, as in `networks.MLP`.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> layers.activate(np.array([-1.0, 2.0]), "relu")
    array([0., 2.])
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"activate: got {activation!r}, expected one of: {' '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[activation](x)


def _gain(init: Gain) -> float:
    return _core.activation_gain(init) if isinstance(init, str) else float(init)


def _weight(p: Any, name: str, shape: tuple[int, ...], fan_in: float, init: Gain) -> Any:
    return lookup(p, f"{name}.w", shape, (0.0, _gain(init) / math.sqrt(max(fan_in, 1))))


def _bias(p: Any, name: str, y: Any, bias: bool) -> Any:
    return y + lookup(p, f"{name}.b", (y.shape[-1],), (0.0, 0.0)) if bias else y


def _check_axes(x: Any, least: int, where: str) -> None:
    if x.ndim < least:
        raise ShapeError(f"{where}: x: got shape {x.shape}, expected at least {least} axes")


def flatten(x: Any) -> Any:
    """Rows x (N, ...) as (N, D).

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> layers.flatten(np.zeros((5, 2, 3))).shape
    (5, 6)
    """
    x = x if isinstance(x, Node) else as_numbers(x, "flatten: x")
    _check_axes(x, 1, "flatten")
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def dense(p: Any, name: str, x: Any, n: int, bias: bool = True, init: Gain = 1.0) -> Any:
    """A dense layer, x (..., I) w + b (..., n), with "<name>.w" (I, n) and "<name>.b" (n,).

    init : gain g of N(0, g^2 / I), or the name of the activation before (He et al. 2015).

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"l0.w": np.ones((2, 3)), "l0.b": np.zeros(3)}
    >>> layers.dense(p, "l0", np.ones((1, 2)), 3)
    array([[2., 2., 2.]])
    """
    _check_axes(x, 1, "dense")
    n = whole(n, "dense: n", 1)
    return _bias(p, name, x @ _weight(p, name, (x.shape[-1], n), x.shape[-1], init), bias)


def head(
    p: Any, x: Any, hidden: Sequence[int] = (), activation: str = "swish", init: Gain = 1.0
) -> Any:
    """Energies (N,) of features x (N, D): dense layers "l0", "l1", ... with the activation
    between them, and one output, as `networks.MLP` has.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> layers.head({"l0.w": np.ones((2, 1)), "l0.b": np.ones(1)}, np.ones((3, 2)))
    array([3., 3., 3.])
    """
    hidden = sizes(hidden, "head: hidden")
    for k, width in enumerate(hidden):
        x = activate(dense(p, f"l{k}", x, width, init=init), activation)
        init = activation
    return dense(p, f"l{len(hidden)}", x, 1, init=init).reshape(x.shape[0])


def embedding(p: Any, name: str, index: Any, n: int, width: int, init: Init = (0, 1)) -> Any:
    """Rows of a table: "<name>.w" (n, width) at integers (...) from 0 to n - 1, (..., width).

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> layers.embedding({"e.w": np.eye(3)}, "e", np.array([2, 0]), 3, 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    return np.take(lookup(p, f"{name}.w", (n, width), _start(init)), index, axis=0)


# ---- convolutions ----------------------------------------------------------------------------


def conv(
    p: Any,
    name: str,
    x: Any,
    channels: int,
    kernel: Size = 3,
    stride: Size = 1,
    padding: Any = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: bool = True,
    init: Gain = 1.0,
) -> Any:
    """A convolution of images (N, H, W, I), with "<name>.w" (kh, kw, I / groups, channels) and
    "<name>.b" (channels,).  stride, padding, dilation: as in `functional.conv`; init: as in
    `dense`, for kh kw I / groups inputs.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"c0.w": np.ones((3, 3, 1, 2)), "c0.b": np.zeros(2)}
    >>> layers.conv(p, "c0", np.ones((1, 5, 5, 1)), 2).shape
    (1, 3, 3, 2)
    """
    shape = (
        *pair(kernel, "kernel", 1),
        x.shape[-1] // whole(groups, "conv: groups", 1),
        channels,
    )
    weight = _weight(p, name, shape, math.prod(shape[:3]), init)
    return _bias(p, name, F.conv(x, weight, stride, padding, dilation, groups), bias)


def depthwise_conv(
    p: Any,
    name: str,
    x: Any,
    kernel: Size = 3,
    stride: Size = 1,
    padding: Any = 0,
    multiplier: int = 1,
    bias: bool = True,
    init: Gain = 1.0,
) -> Any:
    """A convolution of each channel by itself: (N, H, W, C) -> (N, h, w, C multiplier), with
    "<name>.w" (kh, kw, 1, C multiplier) and "<name>.b".

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"d.w": np.ones((3, 3, 1, 4))}
    >>> layers.depthwise_conv(p, "d", np.ones((1, 5, 5, 4)), bias=False).shape
    (1, 3, 3, 4)
    """
    c = x.shape[-1]
    return conv(p, name, x, c * multiplier, kernel, stride, padding, 1, c, bias, init)


def conv_transpose(
    p: Any,
    name: str,
    x: Any,
    channels: int,
    kernel: Size = 3,
    stride: Size = 1,
    padding: Any = 0,
    output_padding: Size = 0,
    bias: bool = True,
    init: Gain = 1.0,
) -> Any:
    """A transposed convolution of images (N, h, w, I), with "<name>.w" (kh, kw, channels, I)
    and "<name>.b" (channels,); see `functional.conv_transpose`.  A pixel of the result has
    about kh kw I / stride^2 inputs, for which ``init`` is the gain.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"t.w": np.ones((2, 2, 3, 1)), "t.b": np.zeros(3)}
    >>> layers.conv_transpose(p, "t", np.ones((1, 4, 4, 1)), 3, kernel=2, stride=2).shape
    (1, 8, 8, 3)
    """
    shape = (*pair(kernel, "kernel", 1), channels, x.shape[-1])
    fan_in = shape[0] * shape[1] * shape[3] / math.prod(pair(stride, "stride", 1))
    weight = _weight(p, name, shape, fan_in, init)
    y = F.conv_transpose(x, weight, stride, padding, output_padding=output_padding)
    return _bias(p, name, y, bias)


# ---- normalisation ---------------------------------------------------------------------------


def _gain_and_bias(p: Any, name: str, x: Any) -> tuple[Any, Any]:
    each = (x.shape[-1],)
    return lookup(p, f"{name}.g", each, (1.0, 0.0)), lookup(p, f"{name}.b", each, (0.0, 0.0))


def layer_norm(p: Any, name: str, x: Any, epsilon: float = 1e-5) -> Any:
    """Layer norm of x (..., C) along its last axis, with "<name>.g" and "<name>.b" (C,).

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"n.g": np.ones(2), "n.b": np.ones(2)}
    >>> layers.layer_norm(p, "n", np.array([[1.0, 3.0]]), epsilon=0)
    array([[0., 2.]])
    """
    return F.layer_norm(x, *_gain_and_bias(p, name, x), epsilon)


def group_norm(p: Any, name: str, x: Any, groups: int, epsilon: float = 1e-5) -> Any:
    """Group norm of x (N, ..., C) over each row and group of channels, with "<name>.g" and
    "<name>.b" (C,).  One group is the layer norm of `networks.ConvNet`.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"n.g": np.ones(4), "n.b": np.zeros(4)}
    >>> layers.group_norm(p, "n", np.array([[1.0, 3.0, 5.0, 9.0]]), 2, epsilon=0)
    array([[-1.,  1., -1.,  1.]])
    """
    gain, bias = _gain_and_bias(p, name, x)
    return F.group_norm(x, gain, bias, groups, epsilon)


def instance_norm(p: Any, name: str, x: Any, epsilon: float = 1e-5) -> Any:
    """Instance norm of x (N, ..., C) over the places of each row and channel, with "<name>.g"
    and "<name>.b" (C,).

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"n.g": np.ones(1), "n.b": np.zeros(1)}
    >>> layers.instance_norm(p, "n", np.array([[[1.0], [3.0]]]), epsilon=0)
    array([[[-1.],
            [ 1.]]])
    """
    return F.instance_norm(x, *_gain_and_bias(p, name, x), epsilon)


def rms_norm(p: Any, name: str, x: Any, epsilon: float = 1e-5) -> Any:
    """RMS norm of x (..., C) along its last axis, with "<name>.g" (C,).

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> layers.rms_norm({"n.g": np.ones(2)}, "n", np.array([[3.0, 3.0]]), 0)
    array([[1., 1.]])
    """
    return F.rms_norm(x, lookup(p, f"{name}.g", (x.shape[-1],), (1.0, 0.0)), epsilon)


NORM = {"g": 1.0, "b": 0.0, "mean": 0.0, "var": 1.0}  # arrays of a batch norm, as they start


def kept_norm(x: Any, gain: Any, bias: Any, mean: Any, var: Any) -> Any:
    """Batch norm by statistics that are given."""
    return (x - mean) * (1.0 / np.sqrt(var + 1e-5) * gain) + bias


def batch_norm(p: Any, name: str, x: Any) -> Any:
    """Batch norm of x (N, ..., C) for each channel, of a `networks.FunctionGenerator`, with
    "<name>.g" and "<name>.b" (C,), and running statistics "<name>.mean" and "<name>.var" (C,),
    which are kept beside the parameters and not trained (Ioffe and Szegedy 2015).

    In training it takes the mean and variance of the batch, and those kept follow it; else it
    takes those kept, as with a dict of arrays.  An energy has none: its rows would be coupled.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"n.g": np.ones(1), "n.b": np.ones(1), "n.mean": np.zeros(1), "n.var": np.ones(1)}
    >>> layers.batch_norm(p, "n", np.array([[2.0]])).round(4)
    array([[3.]])
    """
    _check_axes(x, 2, "batch_norm")
    core, full = _core_of(p, name)
    if core is not None and core.row is None:
        raise ValueError(
            f"batch_norm '{full}': got an energy, expected a generator: it couples the rows of "
            "a batch (layer_norm and group_norm do not)"
        )
    if isinstance(p, Scope):
        return core.batch_norm(full, as_node(x))
    arrays = [lookup(p, f"{name}.{leaf}", x.shape[-1:], (v, 0.0)) for leaf, v in NORM.items()]
    return kept_norm(x, *arrays) if core is None else core.batch_norm(full, as_node(x))


def dropout(p: Any, name: str, x: Any, rate: float = 0.5) -> Any:
    """x, of whose numbers training drops a share ``rate`` and divides the others by 1 - rate
    (Srivastava et al. 2014).  Outside of training, and with a dict of arrays, it is x.

    Of an energy, training is the loss that it learns from: chains walk on the whole network.
    The name tells the draws from those of others; it has no parameters.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> layers.dropout({}, "d", np.ones(2), 0.25)
    array([1., 1.])
    """
    rate = real(rate, "dropout: rate")
    if not 0 <= rate < 1:
        raise ValueError(f"dropout '{name}': rate: got {rate:g}, expected 0 <= rate < 1")
    core, full = _core_of(p, name)
    return x if core is None or rate == 0 else core.dropout(full, as_node(x), rate)


def _core_of(p: Any, name: str) -> tuple[Any, str]:
    """(what builds the network, the full name); None where p is a dict of arrays."""
    _check_name(name)
    if isinstance(p, Scope | Given):
        return p._core, f"{p._prefix}{name}"
    _check_parameters(p)
    return None, name


def _weight_norm(p: Any, name: str, shape: tuple[int, ...], init: Gain) -> Any:
    direction = lookup(p, f"{name}.v", shape, (0.0, 1.0))
    return F.weight_norm(direction, lookup(p, f"{name}.g", shape[-1:], (_gain(init), 0.0)))


def weight_norm_dense(
    p: Any, name: str, x: Any, n: int, bias: bool = True, init: Gain = 1.0
) -> Any:
    """A dense layer with w = g v / |v| for each output (Salimans and Kingma 2016), with
    "<name>.v" (I, n), "<name>.g" (n,) and "<name>.b" (n,).

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"l.v": np.array([[3.0], [4.0]]), "l.g": np.array([5.0])}
    >>> layers.weight_norm_dense(p, "l", np.ones((1, 2)), 1, bias=False)
    array([[7.]])
    """
    return _bias(p, name, x @ _weight_norm(p, name, (x.shape[-1], n), init), bias)


def weight_norm_conv(
    p: Any,
    name: str,
    x: Any,
    channels: int,
    kernel: Size = 3,
    stride: Size = 1,
    padding: Any = 0,
    bias: bool = True,
    init: Gain = 1.0,
) -> Any:
    """A convolution with w = g v / |v| for each channel of the result, with "<name>.v"
    (kh, kw, I, channels), "<name>.g" and "<name>.b" (channels,).

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"c.v": np.ones((2, 2, 1, 1)), "c.g": np.ones(1)}
    >>> layers.weight_norm_conv(p, "c", np.ones((1, 2, 2, 1)), 1, kernel=2, bias=False).item()
    2.0
    """
    weight = _weight_norm(p, name, (*pair(kernel, "kernel", 1), x.shape[-1], channels), init)
    return _bias(p, name, F.conv(x, weight, stride, padding), bias)


def _spectral(weight: Any, n_iterations: int) -> Any:
    u = np.random.default_rng(0).standard_normal(weight.shape[-1])
    return F.spectral_norm(weight, u.astype(weight.dtype), n_iterations)[0]


def spectral_dense(
    p: Any,
    name: str,
    x: Any,
    n: int,
    bias: bool = True,
    init: Gain = 1.0,
    n_iterations: int = 8,
) -> Any:
    """A dense layer with its weight divided by its spectral norm (Miyato et al. 2018).

    Nothing is carried from step to step: each time the power iteration begins at the same
    vector, so it takes more rounds than the one of the paper.  Parameters as in `dense`.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> layers.spectral_dense({"l.w": np.diag([4.0, 1.0])}, "l", np.eye(2), 2, False).round(3)
    array([[1.  , 0.  ],
           [0.  , 0.25]])
    """
    weight = _weight(p, name, (x.shape[-1], n), x.shape[-1], init)
    return _bias(p, name, x @ _spectral(weight, n_iterations), bias)


def spectral_conv(
    p: Any,
    name: str,
    x: Any,
    channels: int,
    kernel: Size = 3,
    stride: Size = 1,
    padding: Any = 0,
    bias: bool = True,
    init: Gain = 1.0,
    n_iterations: int = 8,
) -> Any:
    """A convolution with its weight, as a matrix (kh kw I, channels), divided by its spectral
    norm; see `spectral_dense`.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {"c.w": 3 * np.ones((1, 1, 1, 1))}
    >>> layers.spectral_conv(p, "c", np.ones((1, 1, 1, 1)), 1, kernel=1, bias=False).item()
    1.0
    """
    shape = (*pair(kernel, "kernel", 1), x.shape[-1], channels)
    weight = _weight(p, name, shape, math.prod(shape[:3]), init)
    return _bias(p, name, F.conv(x, _spectral(weight, n_iterations), stride, padding), bias)


# ---- blocks ----------------------------------------------------------------------------------


def attention(p: Any, name: str, x: Any, heads: int = 1, init: Gain = 1.0) -> Any:
    """Self-attention of each row over its places: x (N, T, C) -> (N, T, C), with dense layers
    "<name>.q", ".k", ".v", ".o" without bias (Vaswani et al. 2017).

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> p = {f"a.{leaf}.w": np.eye(2) for leaf in "qkvo"}
    >>> layers.attention(p, "a", np.ones((1, 3, 2)))[0, 0]
    array([1., 1.])
    """
    if x.ndim != 3:
        raise ShapeError(f"attention: x: got shape {x.shape}, expected (N, T, C)")
    n, t, c = x.shape
    heads = whole(heads, "attention: heads", 1)
    if c % heads:
        raise ShapeError(f"attention '{name}': {heads} heads do not divide {c} channels")

    def part(leaf: str) -> Any:
        y = dense(p, f"{name}.{leaf}", x, c, bias=False, init=init)
        return y.reshape(n, t, heads, c // heads).transpose(0, 2, 1, 3)

    y = F.attention(part("q"), part("k"), part("v"))
    y = y.transpose(0, 2, 1, 3).reshape(n, t, c)
    return dense(p, f"{name}.o", y, c, bias=False, init=init)


def residual(p: Any, name: str, block: Callable[[Any, Any], Any], x: Any) -> Any:
    """A block with its input added, x + block(p', x), p' the scope "<name>".

    Where the block changes the channels, the input goes through the dense layer "<name>.skip"
    without bias.

    >>> import numpy as np
    >>> from ebmlib import layers
    >>> layers.residual({}, "r", lambda p, x: 2 * x, np.ones((1, 2)))
    array([[3., 3.]])
    """
    function(block, "residual")
    y = block(scope(p, name), x)
    if y.shape[:-1] != x.shape[:-1]:
        raise ShapeError(f"residual '{name}': the block made {y.shape} of {x.shape}")
    if y.shape != x.shape:
        x = dense(p, f"{name}.skip", x, y.shape[-1], bias=False)
    return x + y
