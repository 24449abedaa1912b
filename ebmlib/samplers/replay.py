"""A buffer of chains."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .._checks import float_dtype, real, sizes, whole
from .._files import Arrays, File, Savable
from .._interchange import as_numbers
from .._params import to_plain
from ..errors import ShapeError, StateError
from ..random import key

__all__ = ["ReplayBuffer", "generator"]


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


def generator(random_state: Any) -> np.random.Generator:
    """A NumPy generator; unlike ``numpy.random.default_rng`` it never shares its state."""
    return np.random.default_rng(key(random_state).view(np.uint32))
