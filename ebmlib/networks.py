"""Energy networks: specifications that hold options, and networks bound to a shape.

A network maps rows x (N, ...) to energies E (N,), one number a row; the density is
p(x) = exp(-E(x)) / Z.  ``MLP`` and ``ConvNet`` are specifications without arrays: an estimator
binds them to the shape of its data, or ``bind`` does.

>>> import numpy as np
>>> from ebmlib import networks
>>> net = networks.MLP(hidden=(64, 64)).bind(2, random_state=0)
>>> net(np.zeros((5, 2))).shape
(5,)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core
from ._files import Arrays, File, Savable, dtype_name
from ._interchange import as_numbers
from ._params import Specification, from_json, pack_specification
from ._rows import parts
from ._trace import as_node
from .errors import ShapeError
from .random import key

__all__ = ["MLP", "BoundNetwork", "ConvNet"]


class Network(Specification):
    """What all specifications share."""

    _family = "network"

    def _shapes(self, row: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """{name: shape} of the parameters for rows of this shape."""
        return _core.parameter_shapes(self._spec(), row)

    @classmethod
    def _from_json(cls, text: dict[str, Any]) -> Network:
        return _network_from_json(text)

    def bind(
        self,
        shape: int | Sequence[int],
        random_state: Any = None,
        dtype: DTypeLike = np.float32,
    ) -> BoundNetwork:
        """A network with its own arrays, for rows of ``shape``.

        Parameters
        ----------
        shape : int or tuple of int
            Of one row, without N: ``2``, or ``(28, 28, 1)`` for images.
        random_state : int, numpy.random.Generator or None
            Where the initial weights come from.
        dtype : float32 or float64

        Returns
        -------
        BoundNetwork
        """
        return BoundNetwork(self, shape, random_state=random_state, dtype=dtype)


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


def _network_from_json(text: dict[str, Any]) -> Network:
    """The network of ``Network._to_json``."""
    network = from_json(text, (MLP, ConvNet))
    assert isinstance(network, Network)
    return network


class BoundNetwork(Savable):
    """A network with its arrays: called with rows it gives their energies.

    Also inside functions that ebmlib traces (``jit``, ``grad``, energies of samplers), where
    the arrays are captured; a later ``set_parameters`` is seen there too.

    Parameters
    ----------
    network : MLP or ConvNet
    shape : int or tuple of int
        Of one row.
    random_state, dtype
        As in ``Network.bind``.

    Attributes
    ----------
    network, shape, dtype
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
    ) -> None:
        self.network = copy.copy(network)  # a parameter of the given one may be set later
        self.shape = tuple(int(size) for size in np.atleast_1d(np.asarray(shape, int)))
        self.dtype = np.dtype(dtype)
        self._core = _core.Bound(network._spec(), self.shape, self.dtype, key(random_state))

    def __call__(self, x: Any) -> Any:
        """Energies (N,) of rows x (N, ...) of the bound shape."""
        if isinstance(x, _core.Node):
            return self._core.build(as_node(x, self.dtype))
        rows = as_numbers(x, "x")
        if rows.ndim == 0:
            raise ShapeError(f"x: got a scalar, expected rows (N, {str(self.shape)[1:]}")
        return np.concatenate(
            [self._core.run(rows[part].astype(self.dtype, copy=False)) for part in parts(rows)]
        )

    def parameters(self) -> dict[str, NDArray[Any]]:
        """A dict of copies of the arrays."""
        return self._core.get()

    def set_parameters(self, arrays: Mapping[str, Any]) -> BoundNetwork:
        """Write arrays by name: all of them, or some.  Returns self."""
        self._core.set(
            {
                name: as_numbers(a, name).astype(self.dtype, copy=False)
                for name, a in arrays.items()
            }
        )
        return self

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
        return bind_arrays, (self.network, self.shape, self.dtype, self.parameters())


def bind_arrays(
    network: Network, shape: tuple[int, ...], dtype: DTypeLike, arrays: Mapping[str, Any]
) -> BoundNetwork:
    """The network with the given arrays."""
    return BoundNetwork(network, shape, random_state=0, dtype=dtype).set_parameters(arrays)
