"""Energy networks: specifications that hold options, and networks bound to a shape.

A network maps rows x (N, ...) to energies E (N,), one number a row; the density is
p(x) = exp(-E(x)) / Z.  ``MLP`` and ``ConvNet`` are specifications without arrays, and so is a
``Function`` that a person writes: an estimator binds them to the shape of its data, or ``bind``
does.

>>> import numpy as np
>>> from ebmlib import networks
>>> net = networks.MLP(hidden=(64, 64)).bind(2, random_state=0)
>>> net(np.zeros((5, 2))).shape
(5,)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._function import Call, Record, Template, flat
from ._network import BoundGenerator, BoundNetwork, Energy, Generator
from ._network import Network as Network
from ._network import bind_arrays as bind_arrays
from ._params import from_json
from ._tractable import NICE, BoundLinear, GaussianMixture, LinearGenerator

__all__ = [
    "MLP",
    "NICE",
    "BoundGenerator",
    "BoundLinear",
    "BoundNetwork",
    "ConvNet",
    "Function",
    "GaussianMixture",
    "LinearGenerator",
    "MLPGenerator",
]


class MLP(Energy):
    """Dense layers on flattened rows.

    E(x) = w_L f(... f(x W_0 + b_0) ...) + b_L.  Weights start as N(0, g^2 / fan in) with g^2 =
    1 / E[f(n)^2] of the activation before them (for relu: He et al. 2015), biases as zero.

    Parameters
    ----------
    hidden : tuple of int, default (128, 128)
        Widths of the hidden layers.
    activation : str, default "swish"
        f: swish, relu, leaky_relu (slope 0.2), elu, softplus, tanh or gelu.
    weight_norm : bool, default False
        Each hidden layer's w is g v / |v| (Salimans and Kingma 2016), with "l0.v" and "l0.g".
    dropout : float, default 0.0
        Share dropped behind each activation, in training.

    Notes
    -----
    The energies of VERA (Grathwohl et al. 2021) are ``MLP((100, 100), "leaky_relu")`` for toy
    densities and ``MLP((1000, 500, 500, 250, 250, 250), "leaky_relu", weight_norm=True)`` for
    images as tables (its code; for tabular data without weight norm).

    Examples
    --------
    >>> from ebmlib import networks
    >>> net = networks.MLP(hidden=(100, 100), activation="leaky_relu")
    >>> net
    MLP(hidden=(100, 100), activation='leaky_relu')
    >>> net.bind(2, random_state=0).n_parameters
    10501
    """

    _kind = "mlp"

    def __init__(
        self,
        hidden: Sequence[int] = (128, 128),
        activation: str = "swish",
        weight_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.weight_norm = weight_norm
        self.dropout = dropout


class ConvNet(Energy):
    """Convolutions on images (N, H, W, C), then dense layers.

    The default is the network of the conjugate EBM (Wu et al. 2021, after Nijkamp et al. 2020).
    The lists of kernels and strides go on with their last number where they are shorter than
    ``channels``, and may be longer.  Batch normalisation is not offered: it couples the rows of
    a batch, and a gradient of the sum of energies would be wrong.

    Parameters
    ----------
    channels : tuple of int, default (32, 32, 64, 64)
    kernels : tuple of int, default (3, 4, 4, 4)
        Sides of the square kernels.
    strides : tuple of int, default (1, 2, 2, 2)
    padding : int, default 1
        Zeros around each image.
    head : tuple of int, default (128,)
        Widths of the dense layers before the energy.
    activation : str, default "swish"
        After each layer but the last; see `MLP`.
    norm : str, default "none"
        Before the activation of each convolution: none, layer, or group (8 groups).

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import networks
    >>> net = networks.ConvNet(channels=(16, 32)).bind((8, 8, 1), random_state=0)
    >>> net(np.zeros((3, 8, 8, 1))).shape
    (3,)
    """

    _kind = "convnet"

    def __init__(
        self,
        channels: Sequence[int] = (32, 32, 64, 64),
        kernels: Sequence[int] = (3, 4, 4, 4),
        strides: Sequence[int] = (1, 2, 2, 2),
        padding: int = 1,
        head: Sequence[int] = (128,),
        activation: str = "swish",
        norm: str = "none",
    ) -> None:
        self.channels = channels
        self.kernels = kernels
        self.strides = strides
        self.padding = padding
        self.head = head
        self.activation = activation
        self.norm = norm


class MLPGenerator(Generator):
    """Dense layers from a latent to rows of any shape, and noise: x = g(z) + sigma eps.

    g(z) = f(norm(... f(norm(z W_0 + b_0)) ...)) W_L + b_L, z and eps standard normal.  Weights
    start as those of `MLP`.  sigma is a parameter, as its logarithm "log_sigma".

    The generators of VERA (Grathwohl et al. 2021):

    - toy densities (appendix B.2): ``MLPGenerator()``;
    - the NICE experiment (B.3): ``MLPGenerator(100, (500, 500), activation="softplus")``;
    - large ones of its code: ``MLPGenerator(128, (500, 500, 500), activation="softplus")``.

    Parameters
    ----------
    latent : int, default 2
        The width of z.
    hidden : tuple of int, default (100, 100)
        Widths of the hidden layers.
    activation : str, default "relu"
        f; see `MLP`.
    norm : {"batch", "layer", "none"}, default "batch"
        Before each activation.  Batch norm (Ioffe and Szegedy 2015) keeps running statistics,
        the arrays "n0.mean", "n0.var", ..., which are not trained.
    dropout : float, default 0.0
        Share dropped behind each activation, in training.
    sigma : float, default 0.01
        Start of the deviation of the noise, as in VERA's code; 0: no noise.

    Examples
    --------
    >>> from ebmlib import networks
    >>> g = networks.MLPGenerator(latent=10, hidden=(64,)).bind((8, 8, 1), random_state=0)
    >>> g.sample(3, random_state=0).shape
    (3, 8, 8, 1)
    """

    _kind = "mlp_generator"

    def __init__(
        self,
        latent: int = 2,
        hidden: Sequence[int] = (100, 100),
        activation: str = "relu",
        norm: str = "batch",
        dropout: float = 0.0,
        sigma: float = 0.01,
    ) -> None:
        self.latent = latent
        self.hidden = hidden
        self.activation = activation
        self.norm = norm
        self.dropout = dropout
        self.sigma = sigma


class Function(Energy):
    """A network that is a Python function of its parameters and of rows.

    E(x) = energy(p, x): NumPy code, and `layers`, on rows x (N, ...), that gives (N,).  It is
    traced, so it runs and trains at the speed of the core's own networks.

    Parameters
    ----------
    energy : callable
        ``energy(p, x)``.  It must be pure, and each energy must depend on its own row alone.
    parameters : dict of arrays, callable or None, default None
        What p is.  None: a `layers.Scope`, which the function asks for parameters by name and
        shape.  A dict, which may have dicts in it: a dict of the same keys, with these start
        values.  A callable: ``parameters(rng, row_shape)`` gives such a dict.
    rows_independent : bool, default True
        False: rows are coupled (batch norm), and samplers and estimators refuse the network.
        True is checked when it is bound.
    normalized : bool, default False
        True: the integral of exp(-E) is 1, whatever the parameters are, and log Z is 0.  It is
        not checked.

    Notes
    -----
    Saved, pickled or copied after it was bound or fitted, it is a template: the text of its
    graph, without code.  That works where all sizes are alpha N + beta in the number of rows N,
    and holds for the shape and dtype of rows that it was bound to.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import networks
    >>> def energy(p, x):
    ...     return 0.5 * np.sum(((x - p["mean"]) / p["scale"]) ** 2, axis=1)
    >>> net = networks.Function(energy, {"mean": np.zeros(2), "scale": np.ones(2)})
    >>> net
    Function(energy)
    >>> net.bind(2)(np.array([[1.0, 1.0]]))
    array([1.], dtype=float32)
    """

    _kind = "function"

    def __init__(
        self,
        energy: Callable[..., Any],
        parameters: Mapping[str, Any] | Callable[..., Any] | None = None,
        *,
        rows_independent: bool = True,
        normalized: bool = False,
    ) -> None:
        self.energy = energy
        self.parameters = parameters
        self.rows_independent = rows_independent
        self.normalized = normalized

    @property
    def _call(self) -> Call:
        """The same object as long as the parameters are the same: the core compares it."""
        call: Call | None = vars(self).get("_made")
        if (
            call is None
            or call.energy is not self.energy
            or call.parameters is not self.parameters
        ):
            self._check()
            call = self._made = Call(self.energy, self.parameters)
        return call

    def _check(self) -> None:
        """ValueError or TypeError for a bad parameter."""
        if not callable(self.energy):
            raise TypeError(
                f"Function: energy: got {type(self.energy).__name__}, expected a function of "
                "(p, x)"
            )
        if not (self.parameters is None or callable(self.parameters)):
            Call(self.energy, self.parameters).tree(())

    @property
    def _name(self) -> str:
        return f"function '{getattr(self.energy, '__name__', type(self.energy).__name__)}'"

    def _spec(self) -> tuple[str, dict[str, Any]]:
        return self._kind, {
            "build": self._call,
            "name": self._name,
            "rows_independent": bool(self.rows_independent),
            "normalized": bool(self.normalized),
        }

    def _starts(self, row: tuple[int, ...], words: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return self._call.arrays(row, np.random.default_rng(words.view(np.uint32)))

    def _shapes(self, row: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """{name: shape} of the parameters for rows of this shape."""
        dtype = self.energy.dtype if isinstance(self.energy, Template) else np.float32
        found = Record(self._call, tuple(row), dtype, 2).found
        return {name: node.shape for name, (node, _) in found.items()}

    def _check_rows(self, bound: BoundNetwork) -> None:
        if not self.rows_independent:
            return
        own = bound.parameters()
        rng = np.random.default_rng(0)
        bound.set_parameters({k: a + rng.uniform(0.1, 0.3, a.shape) for k, a in own.items()})
        near = rng.uniform(0, 1, (5, 4, *bound.shape))  # numbers that have logarithms
        wide = 6 * near - 3
        coupled = any(
            _is_coupled(bound, x, others)
            for x, others in (
                (near[0], near[1:]),
                (wide[0], wide[1:]),
                (near[0], np.full_like(near[1:], np.nan)),  # passes through zeros and maxima
            )
        )
        bound.set_parameters(own)
        if coupled:
            raise ValueError(
                f"{self._name}: its rows depend on one another, expected independent rows (no "
                "batch normalisation, no mean over axis 0); rows_independent=False is for "
                "networks that are only called"
            )

    def _saved(self, row: tuple[int, ...] | None, dtype: DTypeLike) -> Function:
        if isinstance(self.energy, Template):
            return self
        if row is None:
            raise ValueError(
                f"{self._name}: it is saved as the text of its graph, which needs the shape of "
                "rows: save the bound network or the fitted estimator"
            )
        template = Template.of(self._name, self._call, tuple(row), np.dtype(dtype))
        starts = None
        if self.parameters is not None:
            starts = dict(flat(self._call.tree(tuple(row), np.random.default_rng(0))))
        return Function(
            template,
            starts,
            rows_independent=self.rows_independent,
            normalized=self.normalized,
        )

    def _to_json(self, row: tuple[int, ...] | None, dtype: DTypeLike) -> dict[str, Any]:
        """``{"kind", "template", "parameters", "starts", "rows_independent", "arrays"}``, and
        "normalized" where it is.
        """
        saved = self._saved(row, dtype)
        template = saved.energy
        assert isinstance(template, Template)
        arrays = {f"constant.{k}": array for k, array in enumerate(template.constants)}
        if saved.parameters is not None:
            assert isinstance(saved.parameters, Mapping)
            arrays |= {f"start.{name}": array for name, array in saved.parameters.items()}
        return {
            "kind": self._kind,
            "template": template.text,
            "parameters": [[name, list(shape)] for name, shape in template.shapes().items()],
            "starts": [list(start) for start in template.starts],
            "rows_independent": bool(self.rows_independent),
            "arrays": arrays,
            **({"normalized": True} if self.normalized else {}),
        }

    def __repr__(self) -> str:
        words = [getattr(self.energy, "__name__", type(self.energy).__name__)]
        if callable(self.parameters):
            words.append(f"parameters={getattr(self.parameters, '__name__', '...')}")
        if not self.rows_independent:
            words.append("rows_independent=False")
        if self.normalized:
            words.append("normalized=True")
        return f"Function({', '.join(words)})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_made"}


def _is_coupled(bound: BoundNetwork, x: NDArray[Any], others: NDArray[Any]) -> bool:
    """Whether the energy of a row of x (n, ...) changes where the rest of its batch is that of
    others (n, n, ...); False where the network does not take such numbers.
    """
    try:
        energies = bound(x)
        for i in range(len(x)):
            batch = others[i].copy()
            batch[i] = x[i]
            if not np.array_equal(bound(batch)[i], energies[i], equal_nan=True):
                return True
    except IndexError:
        return False
    return False


_KINDS = (MLP, ConvNet, MLPGenerator, NICE, GaussianMixture, LinearGenerator)


def _network_from_json(text: dict[str, Any]) -> Network:
    """The network of ``Network._to_json``; ValueError or TypeError where it is none."""
    if isinstance(text, dict) and text.get("kind") == Function._kind:
        return _function_from_json(text)
    network = from_json(text, _KINDS)
    assert isinstance(network, Network)
    return network


def _function_from_json(text: dict[str, Any]) -> Function:
    known = {"kind", "template", "parameters", "starts", "rows_independent"}
    if set(text) - {"arrays", "normalized"} != known:
        raise ValueError(f"network: function: got {sorted(text)}, expected {sorted(known)}")
    arrays = dict(text.get("arrays", {}))
    constants: list[NDArray[Any]] = []
    while f"constant.{len(constants)}" in arrays:
        constants.append(arrays.pop(f"constant.{len(constants)}"))
    start = {name.removeprefix("start."): array for name, array in arrays.items()}
    if any(not name.startswith("start.") for name in arrays):
        raise ValueError(f"network: function: got arrays {sorted(arrays)}")
    template = Template.checked(
        text["template"], text["parameters"], text["starts"], constants, start
    )
    facts = {name: text.get(name, False) for name in ("rows_independent", "normalized")}
    for name, fact in facts.items():
        if type(fact) is not bool:
            raise TypeError(f"network: function: {name}: expected true or false")
    return Function(template, start or None, **facts)
