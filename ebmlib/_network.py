"""What all specifications of networks share, and networks with arrays."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core
from ._checks import float_dtype, sizes, whole
from ._device import scope
from ._files import Arrays, File, Savable, dtype_name
from ._interchange import as_numbers
from ._params import Specification, pack_specification
from ._rows import parts
from ._trace import as_node
from .errors import ShapeError
from .random import key, normal, split
from .transforms import jit

__all__ = [
    "Bound",
    "BoundGenerator",
    "BoundNetwork",
    "Energy",
    "Generator",
    "Network",
    "bind_arrays",
]

Self = TypeVar("Self", bound="Bound")


class Network(Specification):
    """What all specifications share."""

    _family = "network"

    def _shapes(self, row: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """{name: shape} of the parameters for rows of this shape."""
        return _core.parameter_shapes(self._spec(), row)

    @classmethod
    def _from_json(cls, text: dict[str, Any]) -> Network:
        from . import networks  # which knows them all

        return networks._network_from_json(text)

    def _starts(self, row: tuple[int, ...], words: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Start values that are written over what the core draws from the same key."""
        return {}

    def _check_rows(self, bound: Bound) -> None:
        """ValueError if what is made of a row depends on other rows and nobody said so."""

    def _saved(self, row: tuple[int, ...] | None, dtype: DTypeLike) -> Network:
        """An equal network without code, for rows of this shape and dtype."""
        return self


class Energy(Network):
    """A specification that is bound as an energy."""

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


class Generator(Network):
    """A specification that is bound as a generator."""

    def bind(
        self,
        shape: int | Sequence[int],
        random_state: Any = None,
        dtype: DTypeLike = np.float32,
        device: str | None = None,
    ) -> BoundGenerator:
        """A generator with its own arrays, of rows of ``shape``.

        Parameters
        ----------
        shape : int or tuple of int
            Of one row, without N: ``2``, or ``(28, 28, 1)`` for images.
        random_state : int, numpy.random.Generator or None
            Where the initial weights come from.
        dtype : float32 or float64
        device : {"cpu", "cuda"} or None
            Where its arrays lie and its rows are computed; None: as `ebmlib.device` says.

        Returns
        -------
        BoundGenerator
        """
        return BoundGenerator(self, shape, random_state, dtype, device)


class Bound(Savable):
    """A network with its arrays."""

    _is: ClassVar[str]  # what it must be: an energy or a generator

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
        self._traits = self._core.traits()
        self._check_kind()
        self.set_parameters(network._starts(self.shape, words))
        network._check_rows(self)

    def _check_kind(self) -> None:
        """ValueError for a generator where an energy is meant, and the reverse."""
        raise NotImplementedError

    # ---- functions of rows ----

    def _run(self, face: str, given: Mapping[str, Any], rows: Mapping[str, Any]) -> Any:
        """A function of the core, of arrays by name, whose rows have these shapes; traced if
        one of them is.
        """
        if any(isinstance(x, _core.Node) for x in given.values()):
            nodes = [as_node(x, self.dtype) for x in given.values()]
            for name, node in zip(given, nodes, strict=True):
                _expect_rows(name, node.shape, rows[name], traced=True)
            return self._core.build(face, *nodes)
        arrays = {name: as_numbers(x, name) for name, x in given.items()}
        for name, array in arrays.items():
            _expect_rows(name, array.shape, rows[name])
        first = next(iter(arrays))
        for name, array in arrays.items():
            if len(array) != len(arrays[first]):
                raise ShapeError(
                    f"{name}: got {len(array)} rows, expected {len(arrays[first])}, as {first}"
                )
        return np.concatenate(
            [
                self._core.run(
                    face, *(a[part].astype(self.dtype, copy=False) for a in arrays.values())
                )
                for part in parts(arrays[first])
            ]
        )

    def _sample(self, n: int, random_state: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """N rows and their latents."""
        n = whole(n, "sample: n", 0)
        of_z, of_eps = split(key(random_state))
        given = {"z": normal(of_z, (n, self._traits["latent"]), self.dtype)}
        if self._traits["noisy"]:
            given["eps"] = normal(of_eps, (n, *self.shape), self.dtype)
        rows = {"z": (self._traits["latent"],), "eps": self.shape}
        return self._run("sample", given, rows), given["z"]

    # ---- arrays ----

    def parameters(self) -> dict[str, NDArray[Any]]:
        """A dict of copies of the arrays."""
        return self._core.get()

    def set_parameters(self: Self, arrays: Mapping[str, Any]) -> Self:
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
    def _unpack(cls, file: File) -> Any:
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
        with file.checking("network"):
            return bind_arrays(network, row, dtype, file.below("params"), cls)

    def __reduce__(self) -> tuple[Any, ...]:
        network = self.network._saved(self.shape, self.dtype)
        return bind_arrays, (network, self.shape, self.dtype, self.parameters(), type(self))


class BoundNetwork(Bound):
    """A network with its arrays: called with rows it gives their energies.

    Also inside functions that ebmlib traces (``jit``, ``grad``, energies of samplers), where
    the arrays are captured; a later ``set_parameters`` is seen there too.

    Parameters
    ----------
    network : MLP, ConvNet, NICE, GaussianMixture, LinearGenerator or Function
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
    log_z_ : float
        0.0 for the networks whose density is known; the others have no such attribute.

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

    def _check_kind(self) -> None:
        if not self._traits["energy"]:
            raise ValueError(
                f"bind: network: got {self.network!r}, a generator, expected an energy"
            )

    def __call__(self, x: Any) -> Any:
        """Energies (N,) of rows x (N, ...) of the bound shape."""
        if self._coupled and not isinstance(x, _core.Node):
            x = as_numbers(x, "x")
            _expect_rows("x", x.shape, self.shape)
            return self._run_together(x.astype(self.dtype, copy=False))
        return self._run("energy", {"x": x}, {"x": self.shape})

    def score(self, x: Any) -> Any:
        """Grad log p(x) = -grad E(x) (N, ...) of rows x (N, ...), for each row.

        >>> import numpy as np
        >>> from ebmlib import networks
        >>> net = networks.LinearGenerator(sigma=1.0).bind(2, dtype="float64").energy
        >>> net.set_parameters({"w": np.zeros((2, 2))}).score(np.array([[1.0, 2.0]]))
        array([[-1., -2.]])
        """
        if self._coupled:
            raise ValueError(
                f"score: got {self.network!r}, whose rows depend on one another, expected "
                "independent rows (no batch normalisation)"
            )
        return self._run("score", {"x": x}, {"x": self.shape})

    @property
    def _coupled(self) -> bool:
        return not getattr(self.network, "rows_independent", True)

    def _run_together(self, x: NDArray[Any]) -> NDArray[Any]:
        """Energies of coupled rows: of exactly these, in a plan of their number."""
        graph = _core.Graph()
        node = self._core.build("energy", graph.input("x", self.dtype, x.shape, False))
        energies: NDArray[Any] = _core.Plan(graph, [node], device=self.device)(x)[0]
        return energies

    # ---- where the density is known ----

    @property
    def log_z_(self) -> float:
        if not self._traits["normalized"]:
            raise AttributeError(f"log_z_: got {self.network!r}, whose normaliser is not known")
        return 0.0

    def log_prob(self, x: Any, transform: Any = None) -> Any:
        """Log-densities (N,) in nats, of a network whose density is known: -E(x).

        Parameters
        ----------
        x : array (N, ...)
            Rows of the bound shape; with a `transform` rows as they are before it.
        transform : preprocessing.Transform or None
            Fitted.  The density is then one in the space of x, log p(T(x)) + log |det dT/dx|,
            and without it one in the network's own space.

        Raises
        ------
        ValueError
            The network's normaliser is not known.

        Examples
        --------
        >>> import numpy as np
        >>> from ebmlib import networks, preprocessing
        >>> x = np.array([[0.0, 10.0], [2.0, 30.0]])
        >>> net = networks.GaussianMixture(5).bind(2, random_state=0, dtype="float64")
        >>> scale = preprocessing.Standardize().fit(x)  # by 1 and by 10
        >>> of_y = net.log_prob(scale.transform(x))
        >>> bool(np.allclose(net.log_prob(x, scale), of_y - np.log(10)))
        True
        """
        if not self._traits["normalized"]:
            raise ValueError(
                f"log_prob: got {self.network!r}, whose normaliser is not known, expected "
                "NICE, GaussianMixture or LinearGenerator"
            )
        if transform is None:
            return -self(x)
        return transform.log_det(x) - self(transform.transform(x))

    @property
    def latent(self) -> int:
        """The width of z, of a network that has one."""
        if not self._traits["latent"]:
            raise AttributeError(f"latent: got {self.network!r}, which generates nothing")
        return int(self._traits["latent"])

    def generate(self, z: Any) -> Any:
        """Rows x (N, ...) of z (N, latent): of z ~ N(0, I) they have the network's density
        (`LinearGenerator`: but for the noise).
        """
        self._check_exact("generate")
        return self._run("mean", {"z": z}, {"z": (self.latent,)})

    def sample(self, n: int, random_state: Any = None) -> NDArray[Any]:
        """Rows (n, ...) drawn from the density itself, where that is known.

        Raises
        ------
        ValueError
            There is no exact sampler: chains (`samplers`) draw from other networks.

        Examples
        --------
        >>> from ebmlib import networks
        >>> networks.GaussianMixture(5).bind(2, random_state=0).sample(3, random_state=1).shape
        (3, 2)
        """
        self._check_exact("sample")
        return self._sample(n, random_state)[0]

    def _check_exact(self, where: str) -> None:
        if not self._traits["exact"]:
            raise ValueError(
                f"{where}: got {self.network!r}, expected a network with an exact sampler: "
                "NICE, GaussianMixture or LinearGenerator"
            )


class BoundGenerator(Bound):
    """A generator with its arrays: called with latents it gives rows, x = g(z).

    Layers are in evaluation: batch norm uses its running statistics, and nothing is dropped.
    Also inside functions that ebmlib traces, where the arrays are captured.

    Parameters
    ----------
    network : MLPGenerator, FunctionGenerator, LinearGenerator, NICE or GaussianMixture
    shape : int or tuple of int
        Of one row of x.
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
    >>> g = networks.MLPGenerator(latent=3).bind(2, random_state=0)
    >>> g(np.zeros((5, 3))).shape
    (5, 2)
    >>> x, z = g.sample(4, random_state=1, return_latent=True)
    >>> x.shape, z.shape, round(g.sigma, 3)
    ((4, 2), (4, 3), 0.01)
    """

    def _check_kind(self) -> None:
        if not self._traits["latent"]:
            raise ValueError(
                f"bind: network: got {self.network!r}, an energy, expected a generator"
            )

    def __call__(self, z: Any) -> Any:
        """Rows g(z) (N, ...) of latents z (N, latent), without noise."""
        return self._run("mean", {"z": z}, {"z": (self.latent,)})

    @property
    def latent(self) -> int:
        """The width of z."""
        return int(self._traits["latent"])

    def in_training(self, z: Any, key: Any = None) -> tuple[Any, dict[str, Any]]:
        """Rows g(z) as training makes them, and the batch's statistics by their names.

        Batch norm uses the mean and variance of these rows, which couples them, and what it
        has seen comes back; with a key (`ebmlib.random.key`) dropout drops.

        Parameters
        ----------
        z : array (N, latent)
        key : array (2,) or None
            None: nothing is dropped.

        Examples
        --------
        >>> from ebmlib import networks
        >>> g = networks.MLPGenerator(hidden=(8,)).bind(2, random_state=0)
        >>> x, seen = g.in_training(g.sample(5, random_state=0, return_latent=True)[1])
        >>> x.shape, sorted(seen)
        ((5, 2), ['n0.mean', 'n0.var'])
        """
        if key is not None and np.shape(key) != (2,):
            raise ShapeError(f"key: got shape {np.shape(key)}, expected (2,)")
        if not isinstance(z, _core.Node):
            z = as_numbers(z, "z").astype(self.dtype, copy=False)
            rows, seen = jit(self.in_training)(z, key)
            return rows, seen
        _expect_rows("z", z.shape, (self.latent,), traced=True)
        rows, seen = self._core.train(
            as_node(z, self.dtype), None if key is None else as_node(key)
        )
        return rows, seen

    @property
    def sigma(self) -> float:
        """The deviation of the noise; 0.0 for a generator without."""
        if not self._traits["noisy"]:
            return 0.0
        return float(np.exp(self.parameters()["log_sigma"]))

    def sample(self, n: int, random_state: Any = None, return_latent: bool = False) -> Any:
        """Rows x = g(z) + sigma eps (n, ...), z and eps standard normal.

        Parameters
        ----------
        n : int
        random_state : int, numpy.random.Generator or None
        return_latent : bool, default False
            (x, z) instead of x.
        """
        x, z = self._sample(n, random_state)
        return (x, z) if return_latent else x

    def log_joint(self, x: Any, z: Any) -> Any:
        """Log N(x; g(z), sigma^2 I) + log N(z; 0, I), (N,), with both constants.

        Raises
        ------
        ValueError
            The generator has no noise.
        """
        if not self._traits["noisy"]:
            raise ValueError(
                f"log_joint: got {self.network!r}, a generator without noise, expected a sigma"
            )
        rows = {"x": self.shape, "z": (self.latent,)}
        return self._run("log_joint", {"x": x, "z": z}, rows)


def _expect_rows(
    name: str, shape: tuple[int, ...], row: tuple[int, ...], traced: bool = False
) -> None:
    """ShapeError unless the shape is (N, *row)."""
    if not shape:
        raise ShapeError(f"{name}: got a scalar, expected rows (N, {str(row)[1:]}")
    if shape[1:] != row:
        expected = f"(N, {str(row)[1:]}" if traced else (shape[0], *row)
        raise ShapeError(f"{name}: shape {shape}, expected {expected}")


def bind_arrays(
    network: Network,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    arrays: Mapping[str, Any],
    cls: type[Bound] | None = None,
) -> Any:
    """The network with the given arrays, as a `BoundNetwork` if no class is named."""
    cls = BoundNetwork if cls is None else cls
    return cls(network, shape, random_state=0, dtype=dtype).set_parameters(arrays)
