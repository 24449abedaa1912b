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

import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core
from ._compile import Traced, same_constants, trace_rows
from ._interchange import as_array, as_numbers
from ._params import Specification
from .errors import ShapeError, StateError, not_fitted
from .networks import BoundNetwork, Network
from .random import key

__all__ = ["ChainState", "Langevin", "ReplayBuffer"]

BLOCK_UNIT = 64  # rows: blocks are multiples of it, so that draws begin at whole groups


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

    _kind: str
    n_steps: int

    def _spec(self) -> tuple[str, dict[str, Any]]:
        """(kind, options) for the core."""
        return self._kind, self.get_params(deep=False)

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
    ) -> Any:
        """Walk from x0.

        Parameters
        ----------
        energy : callable, BoundNetwork or fitted estimator
            E(x, *args): (N, ...) -> (N,), rows independent of one another.
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
            changes no bit.  None: for a network as many as fit into 64 MiB, for a function
            all, since it may hold an array with a number for each of the N chains.

        Returns
        -------
        x : array (N, ...)
        trace : array (n_steps // thin, N, ...), only with ``return_trace``
        info : dict of arrays (n_steps // thin, N), only with ``return_info``

        Notes
        -----
        Compiled chains are kept for the next call.  A function is traced at each call, so
        arrays and numbers that it closes over may change between calls.
        """
        n_steps = whole(self.n_steps if n_steps is None else n_steps, "n_steps", 0)
        thin = whole(thin, "thin", 1)
        keep = return_trace or return_info
        legs, rest = divmod(n_steps, thin) if keep else (1, 0)
        leg = thin if keep else n_steps
        if out is not None and not return_trace:
            raise ValueError("out: got an array, expected return_trace=True with it")
        target = Target(energy, x0, args)
        trace = out
        if return_trace and out is None:
            trace = np.empty((legs, *target.x0.shape), target.x0.dtype)
        block = -1 if block_rows is None else whole(block_rows, "block_rows", 1)
        with target.chain(self._spec(), leg, rest, return_info, block) as chain:
            x, infos = chain(target.x0, key(random_state), 0, legs, trace)
            info = dict(zip(chain.info, infos, strict=True)) if return_info else None
        results = [x] + [trace] * return_trace + [info] * return_info
        return tuple(results) if len(results) > 1 else x

    def init(self, x0: Any, random_state: Any = None) -> ChainState:
        """The state of chains that stand at x0."""
        return ChainState(as_numbers(x0, "x0"), key(random_state), 0)

    def step(
        self, energy: Any, state: ChainState, args: Sequence[Any] = ()
    ) -> tuple[ChainState, dict[str, NDArray[Any]]]:
        """One step: the new state, and a dict of what it reports, arrays (N,)."""
        target = Target(energy, state.x, args)
        with target.chain(self._spec(), 1, 0, True, -1) as chain:
            x, infos = chain(target.x0, state.key, state.step, 1)
            info = {name: a[0] for name, a in zip(chain.info, infos, strict=True)}
        return ChainState(x, state.key, state.step + 1), info


# ---- compiled chains ------------------------------------------------------------------------

MAX_KEPT = 8  # chains kept for the next call
MAX_KEPT_BYTES = 1 << 24  # of one of them: larger ones take far longer to run than to compile

_kept: OrderedDict[Hashable, tuple[_core.Chain, Any]] = OrderedDict()  # newest last


class Target:
    """What chains walk on: an energy and where they start."""

    def __init__(self, energy: Any, x0: Any, args: Sequence[Any]) -> None:
        self.energy, dtype = as_energy(energy, args)
        x0 = as_numbers(x0, "x0")
        if dtype is None:
            narrow = x0.dtype in (np.float16, np.float32)
            dtype = np.dtype(np.float32 if narrow else np.float64)
        self.x0: NDArray[Any] = x0.astype(dtype, copy=False)

    @contextmanager
    def chain(
        self, spec: tuple[str, dict[str, Any]], leg: int, rest: int, info: bool, block: int
    ) -> Iterator[_core.Chain]:
        """A compiled chain for the time of a run: a kept one if its energy is the same now.

        It is taken out while it runs, so that two threads do not meet in it.
        """
        x0, is_network = self.x0, isinstance(self.energy, _core.Bound)
        if block > 0:
            block = -(-block // BLOCK_UNIT) * BLOCK_UNIT
        elif not is_network:
            block = 0
        made_of: Any = self.energy if is_network else self._trace(block)
        name = id(self.energy) if is_network else made_of.text()
        place = (repr(spec), name, x0.dtype, x0.shape, leg, rest, info, block)
        chain, old = _kept.pop(place, (None, None))
        if chain is None or not (is_network or same_constants(old, made_of)):
            chain = _core.Chain(
                spec, self.energy, x0.dtype, x0.shape, leg, rest, info, block
            )
        try:
            yield chain
        finally:
            if chain.bytes <= MAX_KEPT_BYTES:
                _kept[place] = (chain, made_of)
                if len(_kept) > MAX_KEPT:
                    _kept.popitem(last=False)

    def _trace(self, block: int) -> Traced:
        shape = self.x0.shape
        if not shape:
            raise ShapeError("x0: got a scalar, expected rows (N, ...)")
        rows = min(block, shape[0]) if block else shape[0]
        return trace_rows(
            self.energy, [(self.x0.dtype, (rows, *shape[1:]), False)], self.x0.dtype
        )


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


class ReplayBuffer:
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
        if not 0 <= reinit <= 1:
            raise ValueError(f"reinit: got {reinit}, expected a number from 0 to 1")
        if init not in ("uniform", "normal") and not callable(init):
            raise ValueError(f"init: got {init!r}, expected uniform, normal or a function")
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
        if not 1 <= n <= self.capacity:
            raise ValueError(f"draw: n: got {n}, expected 1 to the capacity, {self.capacity}")
        rng = generator(random_state)
        if self._x is None:
            self._x = np.zeros((self.capacity, *shape), dtype)
        slots = rng.choice(self.capacity, n, replace=False)
        anew = ~self._used[slots] | (rng.random(n) < self.reinit)
        x = self._x[slots]
        x[anew] = self._starts(rng, (int(anew.sum()), *x.shape[1:]))
        return slots, x

    def put(self, slots: NDArray[np.intp], x: Any) -> None:
        """Keep positions x (n, ...) in their slots."""
        if self._x is None:
            raise StateError("put: no chains have been drawn")
        self._x[slots] = x
        self._used[slots] = True

    def _starts(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        if callable(self.init):
            return self.init(rng, shape)
        return (
            rng.uniform(-1, 1, shape) if self.init == "uniform" else rng.standard_normal(shape)
        )

    def __len__(self) -> int:
        """How many slots have been used."""
        return int(self._used.sum())

    def __repr__(self) -> str:
        return f"ReplayBuffer({self.capacity}, reinit={self.reinit}, init={self.init!r})"


def as_energy(energy: Any, args: Sequence[Any] = ()) -> tuple[Any, np.dtype[Any] | None]:
    """(what the core takes, dtype of the run or None) of what a user calls an energy."""
    fitted = getattr(energy, "energy_", None)
    if isinstance(fitted, BoundNetwork):
        energy = fitted
    if isinstance(energy, BoundNetwork):
        if args:
            raise TypeError(f"energy: a network takes no further arguments, got {len(args)}")
        return energy._core, energy.dtype
    if isinstance(energy, Network):
        raise TypeError(
            f"energy: got the specification {energy!r}; bind it to a shape first: .bind(shape)"
        )
    if not callable(energy):
        if hasattr(energy, "fit"):
            raise not_fitted(f"energy: this {type(energy).__name__} is not fitted yet")
        raise TypeError(f"energy: got {type(energy).__name__}, expected a function of rows")
    if not args:
        return energy, None
    args = [_as_argument(value, k) for k, value in enumerate(args)]
    bound = functools.partial(_call_with, energy, args)
    functools.update_wrapper(bound, energy, updated=())
    return bound, None


def _call_with(energy: Any, args: Sequence[Any], x: Any) -> Any:
    return energy(x, *args)


def _as_argument(value: Any, k: int) -> Any:
    """Arrays of other libraries as NumPy's."""
    is_array = hasattr(value, "__array__") or hasattr(value, "__dlpack__")
    return as_array(value, f"args[{k}]") if is_array else value


def generator(random_state: Any) -> np.random.Generator:
    """A NumPy generator; unlike ``numpy.random.default_rng`` it never shares its state."""
    return np.random.default_rng(key(random_state).view(np.uint32))


def whole(value: Any, name: str, least: int) -> int:
    """``value`` as an int; ValueError unless it is a whole number of at least ``least``."""
    number = int(value)
    if number != value or number < least:
        raise ValueError(f"{name}: got {value}, expected a whole number of at least {least}")
    return number
