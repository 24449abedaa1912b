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

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core
from ._checks import float_dtype, sizes
from ._device import scope
from ._files import Arrays, File, Savable, dtype_name
from ._function import Call, Record, Template, flat
from ._interchange import as_numbers
from ._params import Specification, from_json, pack_specification
from ._rows import parts
from ._trace import as_node
from .errors import ShapeError
from .random import key

__all__ = ["MLP", "BoundNetwork", "ConvNet", "Function"]


class Network(Specification):
    """What all specifications share."""

    _family = "network"

    def _shapes(self, row: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """{name: shape} of the parameters for rows of this shape."""
        return _core.parameter_shapes(self._spec(), row)

    @classmethod
    def _from_json(cls, text: dict[str, Any]) -> Network:
        return _network_from_json(text)

    def _starts(self, row: tuple[int, ...], words: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Start values that are written over what the core draws from the same key."""
        return {}

    def _check_rows(self, bound: BoundNetwork) -> None:
        """ValueError if a row's energy depends on other rows and nobody said so."""

    def _saved(self, row: tuple[int, ...] | None, dtype: DTypeLike) -> Network:
        """An equal network without code, for rows of this shape and dtype."""
        return self

    def bind(
        self,
        shape: int | Sequence[int],
        random_state: Any = None,
        dtype: DTypeLike = np.float32,
        device: str | None = None,
    ) -> BoundNetwork:
        """A network with its own arrays, for rows of ``shape``.

        Parameters
        ----------
        shape : int or tuple of int
            Of one row, without N: ``2``, or ``(28, 28, 1)`` for images.
        random_state : int, numpy.random.Generator or None
            Where the initial weights come from.
        dtype : float32 or float64
        device : {"cpu", "cuda"} or None
            Where its arrays lie and its energies are computed; None: as `ebmlib.device` says.

        Returns
        -------
        BoundNetwork
        """
        return BoundNetwork(self, shape, random_state, dtype, device)


class MLP(Network):
    """Dense layers on flattened rows.

    E(x) = w_L f(... f(x W_0 + b_0) ...) + b_L.  Weights start as N(0, g^2 / fan in) with g^2 =
    1 / E[f(n)^2] of the activation before them (for relu: He et al. 2015), biases as zero.

    Parameters
    ----------
    hidden : tuple of int, default (128, 128)
        Widths of the hidden layers.
    activation : str, default "swish"
        f: swish, relu, leaky_relu (slope 0.2), elu, softplus, tanh or gelu.

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

    def __init__(self, hidden: Sequence[int] = (128, 128), activation: str = "swish") -> None:
        self.hidden = hidden
        self.activation = activation


class ConvNet(Network):
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


class Function(Network):
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
    ) -> None:
        self.energy = energy
        self.parameters = parameters
        self.rows_independent = rows_independent

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
        return Function(template, starts, rows_independent=self.rows_independent)

    def _to_json(self, row: tuple[int, ...] | None, dtype: DTypeLike) -> dict[str, Any]:
        """``{"kind", "template", "parameters", "starts", "rows_independent", "arrays"}``."""
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
        }

    def __repr__(self) -> str:
        words = [getattr(self.energy, "__name__", type(self.energy).__name__)]
        if callable(self.parameters):
            words.append(f"parameters={getattr(self.parameters, '__name__', '...')}")
        if not self.rows_independent:
            words.append("rows_independent=False")
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


def _network_from_json(text: dict[str, Any]) -> Network:
    """The network of ``Network._to_json``; ValueError or TypeError where it is none."""
    if isinstance(text, dict) and text.get("kind") == Function._kind:
        return _function_from_json(text)
    network = from_json(text, (MLP, ConvNet))
    assert isinstance(network, Network)
    return network


def _function_from_json(text: dict[str, Any]) -> Function:
    known = {"kind", "template", "parameters", "starts", "rows_independent"}
    if set(text) - {"arrays"} != known:
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
    if type(text["rows_independent"]) is not bool:
        raise TypeError("network: function: rows_independent: expected true or false")
    return Function(template, start or None, rows_independent=text["rows_independent"])


class BoundNetwork(Savable):
    """A network with its arrays: called with rows it gives their energies.

    Also inside functions that ebmlib traces (``jit``, ``grad``, energies of samplers), where
    the arrays are captured; a later ``set_parameters`` is seen there too.

    Parameters
    ----------
    network : MLP, ConvNet or Function
    shape : int or tuple of int
        Of one row.
    random_state, dtype, device
        As in ``Network.bind``.

    Attributes
    ----------
    network, shape, dtype, device
        What it was made of.
    n_parameters : int
        Numbers in all arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import networks
    >>> net = networks.MLP(hidden=(8,)).bind(2, random_state=0)
    >>> sorted(net.parameters())
    ['l0.b', 'l0.w', 'l1.b', 'l1.w']
    >>> net.parameters()["l0.w"].shape
    (2, 8)
    """

    def __init__(
        self,
        network: Network,
        shape: int | Sequence[int],
        random_state: Any = None,
        dtype: DTypeLike = np.float32,
        device: str | None = None,
    ) -> None:
        if not isinstance(network, Network):
            raise TypeError(
                f"bind: network: got {type(network).__name__}, expected a specification such "
                "as networks.MLP()"
            )
        self.network = copy.copy(network)  # a parameter of the given one may be set later
        self.shape = sizes(shape, "bind: shape")
        if not self.shape:
            raise ValueError("bind: shape: got (), expected at least one size")
        self.dtype = float_dtype(dtype, "bind: dtype")
        words = key(random_state)
        with scope(device):
            self._core = _core.Bound(network._spec(), self.shape, self.dtype, words)
            self.device = _core.device()
        self.set_parameters(network._starts(self.shape, words))
        network._check_rows(self)

    def __call__(self, x: Any) -> Any:
        """Energies (N,) of rows x (N, ...) of the bound shape."""
        if isinstance(x, _core.Node):
            self._expect_rows(x.shape)
            return self._core.build("energy", as_node(x, self.dtype))
        rows = as_numbers(x, "x")
        if rows.ndim == 0:
            raise ShapeError(f"x: got a scalar, expected rows (N, {str(self.shape)[1:]}")
        if not getattr(self.network, "rows_independent", True):
            return self._run_together(rows.astype(self.dtype, copy=False))
        return np.concatenate(
            [
                self._core.run("energy", rows[part].astype(self.dtype, copy=False))
                for part in parts(rows)
            ]
        )

    def _run_together(self, x: NDArray[Any]) -> NDArray[Any]:
        """Energies of coupled rows: of exactly these, in a plan of their number."""
        graph = _core.Graph()
        node = self._core.build("energy", graph.input("x", self.dtype, x.shape, False))
        energies: NDArray[Any] = _core.Plan(graph, [node], device=self.device)(x)[0]
        return energies

    def _expect_rows(self, shape: tuple[int, ...]) -> None:
        if shape[1:] != self.shape or not shape:
            raise ShapeError(f"x: shape {shape}, expected (N, {str(self.shape)[1:]}")

    def parameters(self) -> dict[str, NDArray[Any]]:
        """A dict of copies of the arrays."""
        return self._core.get()

    def set_parameters(self, arrays: Mapping[str, Any]) -> BoundNetwork:
        """Write arrays by name: all of them, or some.  Returns self.

        Nothing is written if one of them does not fit.
        """
        if not isinstance(arrays, Mapping):
            raise TypeError(
                f"set_parameters: got {type(arrays).__name__}, expected a dict of arrays"
            )
        own = self.parameters() if arrays else {}
        self._core.set({name: self._fitting(name, a, own) for name, a in arrays.items()})
        return self

    def _fitting(self, name: Any, array: Any, own: Mapping[str, Any]) -> NDArray[Any]:
        """The array as parameter ``name``."""
        if name not in own:
            raise ValueError(f"set_parameters: got {name!r}, expected some of {list(own)}")
        where = f"set_parameters: {name}"
        given = as_numbers(array, where)
        if given.shape != own[name].shape:
            raise ShapeError(f"{where}: shape {given.shape}, expected {own[name].shape}")
        with np.errstate(over="ignore"):
            kept: NDArray[Any] = given.astype(self.dtype, copy=False)
        if np.isinf(kept).any() and not np.isinf(given).any():
            raise ValueError(f"{where}: got a number too large for {self.dtype}")
        return kept

    @property
    def n_parameters(self) -> int:
        return sum(array.size for array in self.parameters().values())

    def summary(self) -> str:
        """The parameters as text: name, shape and size of each, and the sum."""
        arrays = self.parameters()
        rows = [(name, str(array.shape), f"{array.size:,}") for name, array in arrays.items()]
        rows.append(("total", "", f"{self.n_parameters:,}"))
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = [f"{self.network!r} on rows {self.shape}, {self.dtype}"]
        for name, shape, size in rows:
            lines.append(f"  {name:<{widths[0]}}  {shape:<{widths[1]}}  {size:>{widths[2]}}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<{self.network!r} bound to {self.shape}, {self.dtype}>"

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        text, arrays = pack_specification(self.network, "network", self.shape, self.dtype)
        metadata = {"network": text, "row": list(self.shape), "dtype": self.dtype.name}
        return metadata, arrays | {f"params.{k}": a for k, a in self.parameters().items()}

    @classmethod
    def _unpack(cls, file: File) -> BoundNetwork:
        file.expect_keys("network", "row", "dtype")
        network = Network._from_file(file, "network", file.get("network", dict))
        row = file.row("row", file.get("row", list))
        dtype = file.dtype("dtype", file.get("dtype", str))
        with file.checking("network"):
            shapes = network._shapes(row)
        file.expect_arrays(
            {f"params.{name}": (dtype_name(dtype), shape) for name, shape in shapes.items()},
            file.names("network"),
        )
        return bind_arrays(network, row, dtype, file.below("params"))

    def __reduce__(self) -> tuple[Any, ...]:
        network = self.network._saved(self.shape, self.dtype)
        return bind_arrays, (network, self.shape, self.dtype, self.parameters())


def bind_arrays(
    network: Network, shape: tuple[int, ...], dtype: DTypeLike, arrays: Mapping[str, Any]
) -> BoundNetwork:
    """The network with the given arrays."""
    return BoundNetwork(network, shape, random_state=0, dtype=dtype).set_parameters(arrays)
