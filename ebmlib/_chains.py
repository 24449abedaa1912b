"""Chains compiled for an energy, and kept for the next call."""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._compile import Traced, same_constants, trace_rows
from ._device import scope
from ._interchange import as_array, as_numbers
from ._tree import flatten, paths, unflatten
from .errors import ShapeError, not_fitted
from .networks import BoundNetwork, Network

__all__ = [
    "Packing",
    "Target",
    "as_arguments",
    "as_energy",
    "checked_start",
    "kept",
    "made_of",
]

BLOCK_UNIT = 64  # rows: blocks are multiples of it, so that draws begin at whole groups
MAX_KEPT = 8  # chains kept for the next call
MAX_KEPT_BYTES = 1 << 25  # of each: larger ones take far longer to run than to compile

_kept: OrderedDict[Hashable, tuple[Any, Sequence[Any]]] = OrderedDict()  # newest last
T = TypeVar("T")


@contextmanager
def kept(
    place: Hashable, energies: Sequence[Any], make: Callable[[], T], size: Callable[[T], int]
) -> Iterator[T]:
    """What ``make`` has made for this place, for the time of a run: a kept one if its energies,
    as `made_of` gives them, are the same now.

    It is taken out while it runs, so that two threads do not meet in it.
    """
    place = (place, *(e.text() if isinstance(e, Traced) else id(e) for e in energies))
    thing, own = _kept.pop(place, (None, energies))
    for old, new in zip(own, energies, strict=True):
        if old is not new and isinstance(new, Traced) and not same_constants(old, new):
            thing = None
    if thing is None:
        thing, own = make(), energies
    try:
        yield thing
    finally:  # its traces have the arrays that it reads
        constants = (a for e in own if isinstance(e, Traced) for a in e.constants())
        if size(thing) + sum(a.nbytes for a in constants) <= MAX_KEPT_BYTES:
            _kept[place] = (thing, own)
            if len(_kept) > MAX_KEPT:
                _kept.popitem(last=False)


def made_of(energy: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    """What tells an energy of such rows from others: a network's core, a function's trace."""
    if isinstance(energy, _core.Bound):
        return energy
    if not shape:
        raise ShapeError("x0: got a scalar, expected rows (N, ...)")
    return trace_rows(energy, [(dtype, shape, False)], dtype)


class Packing:
    """Several arrays of N rows as one: a row has the numbers of all of them."""

    def __init__(self, x0: Any) -> None:
        leaves, self.structure = flatten(x0)
        names = [f"x0{path}" for path in paths(self.structure)]
        arrays = [as_numbers(leaf, name) for leaf, name in zip(leaves, names, strict=True)]
        if not arrays:
            raise ShapeError("x0: got no arrays, expected some (N, ...)")
        for a, name in zip(arrays, names, strict=True):
            if a.ndim == 0:
                raise ShapeError(f"{name}: got a scalar, expected rows (N, ...)")
            if len(a) != len(arrays[0]):
                raise ShapeError(
                    f"{name}: got {len(a)} rows, expected {len(arrays[0])} as {names[0]} has"
                )
        self.arrays = arrays
        self.shapes = [a.shape[1:] for a in arrays]
        ends = np.cumsum([0, *(math.prod(shape) for shape in self.shapes)]).tolist()
        self.slices = [slice(*ends[k : k + 2]) for k in range(len(arrays))]

    def pack(self) -> NDArray[Any]:
        """The arrays as rows (N, D)."""
        n = len(self.arrays[0])
        rows = [a.reshape(n, math.prod(shape)) for a, shape in self._pairs()]
        return np.concatenate(rows, axis=1)

    def checked(self) -> Any:
        """What was given, as NumPy's arrays."""
        return unflatten(self.structure, self.arrays)

    def unpack(self, x: Any) -> Any:
        """The arrays of (..., D), traced ones too."""
        lead = x.shape[:-1]
        return unflatten(
            self.structure,
            [
                x[..., part].reshape((*lead, *shape))
                for part, shape in zip(self.slices, self.shapes, strict=True)
            ],
        )

    def _pairs(self) -> Iterator[tuple[NDArray[Any], tuple[int, ...]]]:
        return zip(self.arrays, self.shapes, strict=True)


def _is_several(x0: Any) -> bool:
    """Whether x0 is a dict, or a tuple of arrays; a list is an array, as NumPy has it."""
    if isinstance(x0, tuple):
        return all(_is_several(part) or hasattr(part, "shape") for part in x0)
    return isinstance(x0, dict)


def checked_start(x0: Any) -> Any:
    """x0 as NumPy's arrays: one, or a tuple or dict of them."""
    return Packing(x0).checked() if _is_several(x0) else as_numbers(x0, "x0")


class Target:
    """What chains walk on: an energy and where they start."""

    def __init__(self, energy: Any, x0: Any, args: Sequence[Any]) -> None:
        self.energy, dtype = as_energy(energy, args)
        network = getattr(energy, "energy_", energy)
        is_network = isinstance(network, BoundNetwork)
        self.device = network.device if is_network else None
        # A network's rows are one array: a tuple of them is what NumPy makes of it.
        several = isinstance(x0, dict) if is_network else _is_several(x0)
        self.packing = Packing(x0) if several else None
        if self.packing is not None:
            if is_network:
                raise TypeError("x0: got a dict, expected an array (N, ...)")
            self.energy = functools.partial(_call_unpacked, self.energy, self.packing)
            functools.update_wrapper(self.energy, energy, updated=())
            x0 = self.packing.pack()
        else:
            x0 = as_numbers(x0, "x0")
        if is_network and (not x0.ndim or x0.shape[1:] != network.shape):
            raise ShapeError(f"x0: shape {x0.shape}, expected (N, {str(network.shape)[1:]}")
        if dtype is None:
            narrow = x0.dtype in (np.float16, np.float32)
            dtype = np.dtype(np.float32 if narrow else np.float64)
        self.x0: NDArray[Any] = x0.astype(dtype, copy=False)

    def unpack(self, x: NDArray[Any]) -> Any:
        """Positions, or a trace of them, as x0 was given."""
        return x if self.packing is None else self.packing.unpack(x)

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
        """A compiled chain for the time of a run; see `kept`."""
        x0, is_network = self.x0, isinstance(self.energy, _core.Bound)
        if block > 0:
            block = -(-block // BLOCK_UNIT) * BLOCK_UNIT
        elif not is_network:
            block = 0
        rows = x0.shape[:1] if is_network or not block else (min(block, *x0.shape[:1]),)
        energy = made_of(self.energy, x0.dtype, (*rows, *x0.shape[1:]))
        named = self.device if device is None else device
        where = _core.device() if named is None else named

        def make() -> _core.Chain:
            with scope(where):
                return _core.Chain(
                    spec, self.energy, x0.dtype, x0.shape, leg, rest, info, block
                )

        place = (repr(spec), x0.dtype, x0.shape, leg, rest, info, block, where)
        with kept(place, [energy], make, lambda chain: chain.bytes) as chain:
            yield chain


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


def _call_unpacked(energy: Any, packing: Packing, x: Any) -> Any:
    return energy(packing.unpack(x))


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
