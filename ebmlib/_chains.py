"""Chains compiled for an energy, and kept for the next call."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._compile import Traced, same_constants, trace_rows
from ._device import scope
from ._interchange import as_array, as_numbers
from .errors import ShapeError, not_fitted
from .networks import BoundNetwork, Network

__all__ = ["Target", "as_arguments", "as_energy"]

BLOCK_UNIT = 64  # rows: blocks are multiples of it, so that draws begin at whole groups
MAX_KEPT = 8  # chains kept for the next call
MAX_KEPT_BYTES = 1 << 25  # of each: larger ones take far longer to run than to compile

_kept: OrderedDict[Hashable, tuple[_core.Chain, Any]] = OrderedDict()  # newest last


class Target:
    """What chains walk on: an energy and where they start."""

    def __init__(self, energy: Any, x0: Any, args: Sequence[Any]) -> None:
        self.energy, dtype = as_energy(energy, args)
        x0 = as_numbers(x0, "x0")
        network = getattr(energy, "energy_", energy)
        self.device = network.device if isinstance(network, BoundNetwork) else None
        if isinstance(network, BoundNetwork) and (not x0.ndim or x0.shape[1:] != network.shape):
            raise ShapeError(f"x0: shape {x0.shape}, expected (N, {str(network.shape)[1:]}")
        if dtype is None:
            narrow = x0.dtype in (np.float16, np.float32)
            dtype = np.dtype(np.float32 if narrow else np.float64)
        self.x0: NDArray[Any] = x0.astype(dtype, copy=False)

    @contextmanager
    def chain(
        self,
        spec: tuple[str, dict[str, Any]],
        leg: int,
        rest: int,
        info: bool,
        block: int,
        device: str | None = None,
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
        where = device or self.device or _core.device()
        place = (repr(spec), name, x0.dtype, x0.shape, leg, rest, info, block, where)
        kept = _kept.pop(place, None)
        if kept is not None and (is_network or same_constants(kept[1], made_of)):
            chain, made_of = kept  # its trace has the arrays that the chain reads
        else:
            with scope(where):
                chain = _core.Chain(
                    spec, self.energy, x0.dtype, x0.shape, leg, rest, info, block
                )
        try:
            yield chain
        finally:
            held = 0 if is_network else sum(a.nbytes for a in made_of.constants())
            if chain.bytes + held <= MAX_KEPT_BYTES:
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


# ---- energies ------------------------------------------------------------------------------


def as_energy(energy: Any, args: Sequence[Any] = ()) -> tuple[Any, np.dtype[Any] | None]:
    """(what the core takes, dtype of the run or None) of what a user calls an energy."""
    if not isinstance(args, list | tuple):
        raise TypeError(f"args: got {type(args).__name__}, expected a tuple")
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
    bound = functools.partial(_call_with, energy, as_arguments(args))
    functools.update_wrapper(bound, energy, updated=())
    return bound, None


def _call_with(energy: Any, args: Sequence[Any], x: Any) -> Any:
    return energy(x, *args)


def as_arguments(args: Sequence[Any]) -> list[Any]:
    """Arrays of other libraries as NumPy's; the rest as it is."""
    return [
        as_array(value, f"args[{k}]")
        if hasattr(value, "__array__") or hasattr(value, "__dlpack__")
        else value
        for k, value in enumerate(args)
    ]
