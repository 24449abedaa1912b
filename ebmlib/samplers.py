"""Markov chains on energies.

An energy is a NumPy function of rows x (N, ...) that gives (N,), a bound network, or a fitted
estimator.  All N chains walk at once, in C, and the random numbers are a function of the key
and the step alone: ten calls of ``step`` give the bits of one ``sample`` of ten steps.

>>> import numpy as np
>>> from ebmlib import samplers
>>> def energy(x):
...     return 0.5 * np.sum(x**2, axis=1)
>>> walk = samplers.Langevin(step_size=0.1, n_steps=100)
>>> x = walk.sample(energy, np.zeros((1000, 2)), random_state=0)
>>> bool(abs(x.std() - 1) < 0.1)
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._arviz import inference_data
from ._chains import Target, as_arguments, as_energy
from ._checks import float_dtype, real, sizes
from ._checks import whole as whole
from ._files import Arrays, File, Savable
from ._interchange import as_numbers
from ._params import Specification, from_json, to_plain
from .errors import NumericalError, ShapeError, StateError
from .networks import BoundNetwork
from .random import key

__all__ = ["ChainState", "Langevin", "ReplayBuffer", "to_inference_data"]

MAX_LEG = 1 << 16  # steps compiled as one loop, which takes four bytes a step


class ChainState(NamedTuple):
    """Where chains stand: positions x (N, ...), the key, and the number of the next step.

    >>> import numpy as np
    >>> from ebmlib import samplers
    >>> samplers.Langevin().init(np.zeros((3, 2)), random_state=0).step
    0
    """

    x: NDArray[Any]
    key: NDArray[np.int32]
    step: int


class Sampler(Specification):
    """What all samplers share."""

    _family = "sampler"
    n_steps: int

    @classmethod
    def _from_json(cls, text: dict[str, Any]) -> Specification:
        return from_json(text, (Langevin,))

    def sample(
        self,
        energy: Any,
        x0: Any,
        n_steps: int | None = None,
        random_state: Any = None,
        return_trace: bool = False,
        thin: int = 1,
        args: Sequence[Any] = (),
        *,
        return_info: bool = False,
        out: NDArray[Any] | None = None,
        block_rows: int | None = None,
        device: str | None = None,
    ) -> Any:
        """Walk from x0.

        Parameters
        ----------
        energy : callable, BoundNetwork or fitted estimator
            ``E(x, *args)``: (N, ...) -> (N,), rows independent of one another.
        x0 : array (N, ...)
            Starts of N chains.  A network's chains take its dtype; others float32 if x0 is
            float32 or float16, else float64.
        n_steps : int or None
            None: the sampler's own.
        random_state : int, numpy.random.Generator or None
        return_trace : bool, default False
            Also give the positions after every ``thin``-th step.
        thin : int, default 1
        args : tuple
            Further arguments of the energy, the same for all blocks.
        return_info : bool, default False
            Also give what every ``thin``-th step reports, such as the energy before it.
        out : array (n_steps // thin, N, ...) or None
            Where the trace goes, with ``return_trace``: contiguous and of the chains' dtype,
            for example a ``numpy.memmap`` that is larger than memory.
        block_rows : int or None
            Chains that walk at once, rounded up to a multiple of 64; it bounds the memory and
            changes no bit.  None: for a network as many as fit into 16 MiB, for a function
            all, since it may hold an array with a number for each of the N chains.
        device : {"cpu", "cuda"} or None
            Where the chains walk; None: where the network's arrays lie, for a function as
            `ebmlib.device` says.

        Returns
        -------
        x : array (N, ...)
        trace : array (n_steps // thin, N, ...), only with ``return_trace``
        info : dict of arrays (n_steps // thin, N), only with ``return_info``

        Raises
        ------
        NumericalError
            If a chain ran away, to where numbers end; a trace given as ``out`` has its path.

        Notes
        -----
        Compiled chains are kept for the next call.  A function is traced at each call, so
        arrays and numbers that it closes over may change between calls.
        """
        n_steps = whole(self.n_steps if n_steps is None else n_steps, "n_steps", 0)
        thin = whole(thin, "thin", 1)
        keep = return_trace or return_info
        leg = thin if keep else max(1, min(n_steps, MAX_LEG))
        legs, rest = divmod(n_steps, leg)
        if out is not None and not return_trace:
            raise ValueError("out: got an array, expected return_trace=True with it")
        target = Target(energy, x0, args)
        if not np.isfinite(target.x0).all():
            raise ValueError("x0: got NaN or infinity, expected finite numbers")
        trace = out
        if return_trace and out is None:
            trace = np.empty((legs, *target.x0.shape), target.x0.dtype)
        block = -1 if block_rows is None else whole(block_rows, "block_rows", 1)
        with target.chain(self._spec(), leg, rest, return_info, block, device) as chain:
            x, infos = chain(target.x0, key(random_state), 0, legs, trace)
            info = dict(zip(chain.info, infos, strict=True)) if return_info else None
        self._check_finite(x, n_steps)
        results = [x] + [trace] * return_trace + [info] * return_info
        return tuple(results) if len(results) > 1 else x

    def _check_finite(self, x: NDArray[Any], n_steps: int) -> None:
        finite = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
        if not finite.all():
            raise NumericalError(
                f"{self._kind}: {np.count_nonzero(~finite)} of {len(x)} chains are not finite "
                f"after {n_steps} steps: take a smaller step_size, or bounds (clip)"
            )

    def init(self, x0: Any, random_state: Any = None) -> ChainState:
        """The state of chains that stand at x0."""
        return ChainState(as_numbers(x0, "x0"), key(random_state), 0)

    def step(
        self, energy: Any, state: ChainState, args: Sequence[Any] = ()
    ) -> tuple[ChainState, dict[str, NDArray[Any]]]:
        """One step: the new state, and a dict of what it reports, arrays (N,)."""
        if not isinstance(state, ChainState):
            raise TypeError(
                f"state: got {type(state).__name__}, expected a ChainState, as init gives it"
            )
        words: NDArray[Any] = np.asarray(state.key)
        if words.shape != (2,) or words.dtype.kind not in "iu":
            raise ValueError(f"state.key: got {state.key!r}, expected two words")
        if whole(state.step, "state.step", 0) >= 2**31 - 1:
            raise ValueError(f"state.step: got {state.step}, expected less than 2^31 - 1")
        target = Target(energy, state.x, args)
        with target.chain(self._spec(), 1, 0, True, -1) as chain:
            x, infos = chain(target.x0, state.key, state.step, 1)
            info = {name: a[0] for name, a in zip(chain.info, infos, strict=True)}
        return ChainState(x, state.key, state.step + 1), info


class Langevin(Sampler):
    """Unadjusted Langevin dynamics.

    x' = x - step_size * grad E(x) + noise * n,  n ~ N(0, I)

    As the step goes to 0 it samples exp(-E / T) at temperature T = noise^2 / (2 step_size).
    Papers with a half in front of the gradient have step_size = eta / 2: CEBM's (alpha 2, sigma
    0.0075, 60 steps) is ``Langevin(step_size=1.0, noise=0.0075, n_steps=60)``.

    Parameters
    ----------
    step_size : float, default 0.01
    noise : float or None, default None
        None: sqrt(2 step_size), temperature 1.
    n_steps : int, default 60
        As CEBM (Wu et al. 2021) and IGEBM (Du and Mordatch 2019).
    clip : (float, float) or None
        Bounds of x after each step.
    clip_grad : float or None
        Bound of each element of the gradient (IGEBM: 0.01).

    Examples
    --------
    >>> from ebmlib import samplers
    >>> samplers.Langevin(step_size=1.0, noise=0.01).temperature
    5e-05
    """

    _kind = "langevin"

    def __init__(
        self,
        step_size: float = 0.01,
        noise: float | None = None,
        n_steps: int = 60,
        clip: tuple[float, float] | None = None,
        clip_grad: float | None = None,
    ) -> None:
        self.step_size = step_size
        self.noise = noise
        self.n_steps = n_steps
        self.clip = clip
        self.clip_grad = clip_grad

    def _spec(self) -> tuple[str, dict[str, Any]]:
        options = self.get_params(deep=False)
        clip = options.pop("clip")
        if clip is not None:
            if np.shape(clip) != (2,):
                raise ValueError(f"langevin: clip: got {clip!r}, expected (low, high) or None")
            options["clip_low"], options["clip_high"] = clip
        return self._kind, options

    @property
    def temperature(self) -> float:
        """noise^2 / (2 step_size)."""
        return 1.0 if self.noise is None else self.noise**2 / (2 * self.step_size)


class ReplayBuffer(Savable):
    """Chains to go on from, for training loops of one's own; `estimators.PCD` has its own in C.

    A batch draws distinct slots, walks, and is put back.  A slot begins anew when it is drawn
    for the first time, and with probability ``reinit`` after that.

    Parameters
    ----------
    capacity : int, default 10_000
        As VERA (Grathwohl et al. 2021) and IGEBM.
    reinit : float, default 0.05
        As VERA, IGEBM and JEM; improved CD has 0.001 to 0.01.
    init : "uniform", "normal" or callable
        Where chains begin: on (-1, 1), at N(0, 1), or at ``init(rng, shape)``.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import samplers
    >>> buffer = samplers.ReplayBuffer(capacity=500, init="normal")
    >>> slots, x = buffer.draw(8, (2,), random_state=0)
    >>> walk = samplers.Langevin(n_steps=5)
    >>> x = walk.sample(lambda x: np.sum(x**2, axis=1), x, random_state=0)
    >>> buffer.put(slots, x)
    >>> len(buffer)
    8
    """

    def __init__(
        self,
        capacity: int = 10_000,
        reinit: float = 0.05,
        init: str | Callable[..., Any] = "uniform",
    ) -> None:
        self.capacity = whole(capacity, "capacity", 1)
        if not 0 <= real(reinit, "reinit") <= 1:
            raise ValueError(f"reinit: got {reinit}, expected a number from 0 to 1")
        if not callable(init) and not (isinstance(init, str) and init in ("uniform", "normal")):
            got = repr(init) if isinstance(init, str) else type(init).__name__
            raise ValueError(f"init: got {got}, expected uniform, normal or a function")
        self.reinit, self.init = reinit, init
        self._x: NDArray[Any] | None = None
        self._used = np.zeros(self.capacity, bool)

    def draw(
        self,
        n: int,
        shape: Sequence[int],
        random_state: Any = None,
        dtype: DTypeLike = np.float32,
    ) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """(slots, starts) of n chains, the slots distinct; ``shape`` is that of a row."""
        if not 1 <= whole(n, "draw: n") <= self.capacity:
            raise ValueError(f"draw: n: got {n}, expected 1 to the capacity, {self.capacity}")
        rng = generator(random_state)
        row = sizes(shape, "draw: shape")
        if self._x is None:
            kept = float_dtype(dtype, "draw: dtype")
            if self.capacity * math.prod(row) * kept.itemsize >= 2**63:
                raise MemoryError(
                    f"draw: shape: got {row}, too large for {self.capacity} slots"
                )
            self._x = np.zeros((self.capacity, *row), kept)
        if self._x.shape[1:] != row:
            raise ShapeError(
                f"draw: shape: got {row}, expected that of the kept chains, {self._x.shape[1:]}"
            )
        slots = rng.choice(self.capacity, n, replace=False)
        anew = ~self._used[slots] | (rng.random(n) < self.reinit)
        x = self._x[slots]
        x[anew] = self._starts(rng, (int(anew.sum()), *x.shape[1:]))
        return slots, x

    def put(self, slots: NDArray[np.intp], x: Any) -> None:
        """Keep positions x (n, ...) in their slots."""
        if self._x is None:
            raise StateError("put: no chains have been drawn")
        places: NDArray[Any] = np.asarray(slots)
        kind = places.dtype.kind
        if kind not in "iu" or places.ndim != 1:
            raise TypeError(
                f"put: slots: got {places.dtype} {places.shape}, expected integers (n,)"
            )
        if places.size and not 0 <= places.min() <= places.max() < self.capacity:
            raise IndexError(f"put: slots: got {slots!r}, expected 0 to {self.capacity - 1}")
        if len(np.unique(places)) < len(places):
            raise ValueError(f"put: slots: got {slots!r}, expected each once")
        chains = as_numbers(x, "put: x")
        if chains.shape != (len(places), *self._x.shape[1:]):
            raise ShapeError(
                f"put: x: shape {chains.shape}, expected {(len(places), *self._x.shape[1:])}"
            )
        if not np.isfinite(chains).all():
            raise ValueError("put: x: got NaN or infinity, expected finite numbers")
        self._x[places] = chains
        self._used[places] = True

    def _starts(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        if callable(self.init):
            made = as_numbers(self.init(rng, shape), "init: result")
            if made.shape != shape or not np.isfinite(made).all():
                raise ShapeError(
                    f"init: result: got {made.shape}, expected finite numbers {shape}"
                )
            return made
        return (
            rng.uniform(-1, 1, shape) if self.init == "uniform" else rng.standard_normal(shape)
        )

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        options = {name: getattr(self, name) for name in ("capacity", "reinit", "init")}
        arrays = {"used": self._used}
        if self._x is not None:
            arrays["x"] = self._x
        return {"options": {k: to_plain(v, k) for k, v in options.items()}}, arrays

    @classmethod
    def _unpack(cls, file: File) -> ReplayBuffer:
        file.expect_keys("options")
        options = file.fields(
            "options", file.get("options", dict), ("capacity", "reinit", "init")
        )
        capacity = file.whole("capacity", options["capacity"], 1, 2**62)
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {"used": ("BOOL", (capacity,))}
        if "x" in file.shapes:
            dtype, shape = file.shapes["x"]
            shapes["x"] = dtype, (capacity, *shape[1:])
        file.expect_arrays(shapes)
        arrays = file.arrays()
        with file.checking("options"):
            buffer = cls(**options)
        buffer._used = arrays["used"].copy()
        buffer._x = arrays["x"].copy() if "x" in arrays else None
        return buffer

    def __len__(self) -> int:
        """How many slots have been used."""
        return int(self._used.sum())

    def __repr__(self) -> str:
        return f"ReplayBuffer({self.capacity}, reinit={self.reinit}, init={self.init!r})"


def to_inference_data(
    trace: Any,
    info: Mapping[str, Any] | None = None,
    energy: Any = None,
    args: Sequence[Any] = (),
    *,
    name: str = "x",
    dims: Sequence[str] | None = None,
    coords: Mapping[str, Any] | None = None,
) -> Any:
    """Chains of any sampler for ArviZ: effective sample sizes, R-hat, plots.

    Parameters
    ----------
    trace : array (draws, chains, ...)
        As ``sample(..., return_trace=True)`` gives it; not copied.
    info : dict of arrays (draws, chains) or None
        As ``return_info=True`` gives it: goes to ``sample_stats``.
    energy : callable, BoundNetwork, fitted estimator or None
        If given, ``sample_stats`` has ``energy``, E(x) of the draws, and ``lp``, -E(x).
    args : tuple
        Further arguments of the energy.
    name : str, default "x"
        Of the variable in ``posterior``.
    dims : list of str or None
        Names of the axes of a position.
    coords : dict or None
        Values along the axes named in ``dims``.

    Returns
    -------
    arviz.InferenceData
        Groups ``posterior`` and ``sample_stats``, both with dims chain and draw.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import samplers
    >>> def energy(x):
    ...     return 0.5 * np.sum(x**2, axis=1)
    >>> walk = samplers.Langevin(step_size=0.2, n_steps=50)
    >>> x, trace, info = walk.sample(energy, np.zeros((4, 2)), random_state=0,
    ...                              return_trace=True, return_info=True)
    >>> data = samplers.to_inference_data(trace, info, energy, dims=["axis"])
    >>> dict(data.posterior.sizes)
    {'chain': 4, 'draw': 50, 'axis': 2}
    """
    if energy is not None:
        as_energy(energy, args)
        fitted = getattr(energy, "energy_", None)
        energy = fitted if isinstance(fitted, BoundNetwork) else energy
    return inference_data(trace, info, energy, as_arguments(args), name, dims, coords)


def generator(random_state: Any) -> np.random.Generator:
    """A NumPy generator; unlike ``numpy.random.default_rng`` it never shares its state."""
    return np.random.default_rng(key(random_state).view(np.uint32))
