"""What all samplers share: runs of chains, and where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._chains import Target, checked_start
from .._checks import whole
from .._params import Specification, from_json
from ..errors import NumericalError
from ..random import key

__all__ = ["ChainState", "Sampler"]

MAX_LEG = 1 << 16  # steps compiled as one loop, which takes four bytes a step


class ChainState(NamedTuple):
    """Where chains stand: positions x (N, ...), the key, the number of the next step, and what
    else the sampler carries along, such as adapted step sizes; None before the first step.

    >>> import numpy as np
    >>> from ebmlib import samplers
    >>> samplers.Langevin().init(np.zeros((3, 2)), random_state=0).step
    0
    """

    x: Any
    key: NDArray[np.int32]
    step: int
    carry: dict[str, NDArray[Any]] | None = None


class Sampler(Specification):
    """What all samplers share."""

    _family = "sampler"
    n_steps: int

    @classmethod
    def _from_json(cls, text: dict[str, Any]) -> Specification:
        from .kinds import HMC, MALA, Langevin

        return from_json(text, (Langevin, MALA, HMC))

    def _spec(self) -> tuple[str, dict[str, Any]]:
        options = self.get_params(deep=False)
        clip = options.pop("clip")
        if clip is not None:
            if np.shape(clip) != (2,):
                raise ValueError(
                    f"{self._kind}: clip: got {clip!r}, expected (low, high) or None"
                )
            options["clip_low"], options["clip_high"] = clip
        return self._kind, options

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
        x0 : array (N, ...), or a tuple or dict of them
            Starts of N chains.  A network's chains take its dtype; others float32 if x0 is
            float32 or float16, else float64.  A function is called with what x0 is: with a
            tuple or dict of arrays, of N rows each, chains walk in all of them at once, and
            results are such tuples or dicts.  (A list is one array, as NumPy has it.)
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
            If one of MALA's or HMC's begins where the energy or its gradient is not finite.

        Notes
        -----
        Compiled chains are kept for the next call.  A function is traced at each call, so
        arrays and numbers that it closes over may change between calls.
        """
        if out is not None and not return_trace:
            raise ValueError("out: got an array, expected return_trace=True with it")
        start = ChainState(x0, key(random_state), 0)
        state, trace, info = self._walk(
            energy,
            start,
            n_steps,
            thin,
            args,
            return_trace,
            return_info,
            out,
            block_rows,
            device,
        )
        results = [state.x] + [trace] * return_trace + [info] * return_info
        return tuple(results) if len(results) > 1 else state.x

    def init(self, x0: Any, random_state: Any = None) -> ChainState:
        """The state of chains that stand at x0: an array, or a tuple or dict of them."""
        return ChainState(checked_start(x0), key(random_state), 0)

    def step(
        self, energy: Any, state: ChainState, args: Sequence[Any] = ()
    ) -> tuple[ChainState, dict[str, NDArray[Any]]]:
        """One step: the new state, and a dict of what it reports, arrays (N,)."""
        _check_state(state)
        state, _, info = self._walk(energy, state, 1, 1, args, False, True, finite=False)
        return state, {name: a[0] for name, a in info.items()}

    def run(
        self,
        energy: Any,
        state: ChainState,
        n_steps: int | None = None,
        args: Sequence[Any] = (),
        *,
        thin: int = 1,
        return_trace: bool = False,
        block_rows: int | None = None,
        device: str | None = None,
    ) -> Any:
        """Go on from a state: the bits are those of one walk, and adapted steps go on.

        Energies and gradients at the state's positions are computed anew, so the energy may
        have changed since.

        Parameters
        ----------
        energy, n_steps, args, thin, return_trace, block_rows, device
            As in `sample`.
        state : ChainState
            From `init`, `step` or `run` of a sampler of this kind.

        Returns
        -------
        state : ChainState
        trace : array (n_steps // thin, N, ...), only with ``return_trace``
        info : dict of arrays (n_steps // thin, N)

        Examples
        --------
        >>> import numpy as np
        >>> from ebmlib import samplers
        >>> def energy(x):
        ...     return 0.5 * np.sum(x**2, axis=1)
        >>> walk = samplers.MALA(step_size=0.1, adapt="dual_averaging", n_adapt=200)
        >>> state = walk.init(np.zeros((100, 2)), random_state=0)
        >>> state, info = walk.run(energy, state, 200, thin=200)
        >>> state, info = walk.run(energy, state, 100)  # with the step sizes found
        >>> bool(abs(info["acceptance"].mean() - 0.574) < 0.05)
        True
        """
        _check_state(state)
        state, trace, info = self._walk(
            energy, state, n_steps, thin, args, return_trace, True, None, block_rows, device
        )
        return (state, trace, info) if return_trace else (state, info)

    def _walk(
        self,
        energy: Any,
        state: ChainState,
        n_steps: int | None,
        thin: int,
        args: Sequence[Any],
        want_trace: bool,
        want_info: bool,
        out: NDArray[Any] | None = None,
        block_rows: int | None = None,
        device: str | None = None,
        finite: bool = True,
    ) -> tuple[ChainState, Any, Any]:
        """(state, trace or None, infos or None) after n_steps from a state."""
        n_steps = whole(self.n_steps if n_steps is None else n_steps, "n_steps", 0)
        thin = whole(thin, "thin", 1)
        leg = thin if want_trace or want_info else max(1, min(n_steps, MAX_LEG))
        legs, rest = divmod(n_steps, leg)
        target = Target(energy, state.x, args)
        if finite and not np.isfinite(target.x0).all():
            raise ValueError("x0: got NaN or infinity, expected finite numbers")
        if out is not None and target.packing is not None:
            raise ValueError("out: got an array, expected None for chains over several arrays")
        trace = out
        if want_trace and out is None:
            trace = np.empty((legs, *target.x0.shape), target.x0.dtype)
        block = -1 if block_rows is None else whole(block_rows, "block_rows", 1)
        with target.chain(self._spec(), leg, rest, want_info, block, device) as chain:
            carry = _in_order(state.carry, chain.carry)
            x, infos, carries = chain(target.x0, state.key, state.step, legs, trace, carry)
            info = dict(zip(chain.info, infos, strict=True)) if want_info else None
            kept = dict(zip(chain.carry, carries, strict=True)) or None
        if finite:
            self._check_finite(x, n_steps)
        end = ChainState(target.unpack(x), state.key, state.step + n_steps, kept)
        return end, None if trace is None else target.unpack(trace), info

    def _check_finite(self, x: NDArray[Any], n_steps: int) -> None:
        finite = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
        if not finite.all():
            raise NumericalError(
                f"{self._kind}: {np.count_nonzero(~finite)} of {len(x)} chains are not finite "
                f"after {n_steps} steps: take a smaller step_size, or bounds (clip)"
            )


def _check_state(state: Any) -> None:
    if not isinstance(state, ChainState):
        raise TypeError(
            f"state: got {type(state).__name__}, expected a ChainState, as init gives it"
        )
    words: NDArray[Any] = np.asarray(state.key)
    if words.shape != (2,) or words.dtype.kind not in "iu":
        raise ValueError(f"state.key: got {state.key!r}, expected two words")
    if whole(state.step, "state.step", 0) >= 2**31 - 1:
        raise ValueError(f"state.step: got {state.step}, expected less than 2^31 - 1")
    if state.carry is not None and not isinstance(state.carry, dict):
        raise TypeError(
            f"state.carry: got {type(state.carry).__name__}, expected a dict or None"
        )


def _in_order(carry: dict[str, Any] | None, names: tuple[str, ...]) -> list[Any] | None:
    """What a state carries in the order of the core; of None for chains that begin."""
    if carry is None or not names:
        return None
    if carry.keys() != set(names):
        raise ValueError(
            f"state.carry: got {sorted(carry)}, expected {sorted(names)}: it is that of "
            "another sampler"
        )
    return [carry[name] for name in names]
