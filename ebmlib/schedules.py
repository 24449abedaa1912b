"""Schedules: how the learning rate changes with the step.

An estimator's ``learning_rate`` is a number or one of these.  The rate of a step is a function
of its number alone, counted over the life of the estimator and computed in C in each step: a
fit in parts, or one that is resumed, has the rates of the whole.

    rate(t) = rate * min(1, (t + 1) / warmup) * decay(t),    t = 0, 1, ...

>>> import numpy as np
>>> from ebmlib import estimators, schedules
>>> rate = schedules.Cosine(1e-3, steps=30, warmup=10)
>>> est = estimators.CD(learning_rate=rate, max_steps=3)
>>> est.fit(np.zeros((8, 2))).history_["learning_rate"].shape
(3,)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._checks import real
from ._interchange import as_numbers
from ._params import Specification, from_json
from .transforms import jit

__all__ = ["Constant", "Cosine", "Exponential", "Linear", "Piecewise"]


class Schedule(Specification):
    """What all schedules share."""

    _family = "schedule"
    rate: float

    @classmethod
    def _from_json(cls, text: dict[str, Any]) -> Specification:
        return from_json(text, (Constant, Cosine, Exponential, Linear, Piecewise))

    def _spec(self) -> tuple[str, dict[str, Any]]:
        """(kind, options) for the core; the rate itself is not among them."""
        options = self.get_params(deep=False)
        del options["rate"]
        return self._kind, options

    def __call__(self, step: ArrayLike) -> NDArray[np.float64]:
        """The rates of steps, numbered from 0: float64, in the shape of ``step``."""
        given = as_numbers(step, "step")
        if given.dtype.kind not in "iu":
            raise TypeError(f"step: got {given.dtype}, expected whole numbers")
        if given.size and not 0 <= given.min() <= given.max() < 2**31:
            raise ValueError(f"step: got {step!r}, expected 0 to 2^31 - 1")
        real(self.rate, f"{self._kind}: rate")
        steps = given.astype(np.int32)
        factor = jit(lambda t: _core.schedule_factor(self._spec(), t))(steps)
        return np.asarray(self.rate * factor)


class Constant(Schedule):
    """One rate, with a linear rise at the start: decay(t) = 1.

    Parameters
    ----------
    rate : float, default 1e-3
    warmup : int, default 0
        Steps until the rate is reached; 0: at once.

    Examples
    --------
    >>> from ebmlib import schedules
    >>> schedules.Constant(0.1, warmup=4)([0, 1, 2, 3, 4])
    array([0.025, 0.05 , 0.075, 0.1  , 0.1  ])
    """

    _kind = "constant"

    def __init__(self, rate: float = 1e-3, warmup: int = 0) -> None:
        self.rate = rate
        self.warmup = warmup


class Cosine(Schedule):
    """Half a cosine from the rate to its floor (Loshchilov and Hutter 2017, one period).

    decay(t) = floor + (1 - floor) (1 + cos(pi min(1, t / steps))) / 2

    Parameters
    ----------
    rate : float, default 1e-3
    steps : int, default 1000
        Steps until the floor is reached.
    floor : float, default 0
        The last rate as a share of the first.
    warmup : int, default 0
        As in `Constant`.

    Examples
    --------
    >>> from ebmlib import schedules
    >>> schedules.Cosine(1.0, steps=4, floor=0.5)([0, 2, 4, 100])
    array([1.  , 0.75, 0.5 , 0.5 ])
    """

    _kind = "cosine"

    def __init__(
        self, rate: float = 1e-3, steps: int = 1000, floor: float = 0.0, warmup: int = 0
    ) -> None:
        self.rate = rate
        self.steps = steps
        self.floor = floor
        self.warmup = warmup


class Linear(Schedule):
    """A straight line from the rate to its floor.

    decay(t) = 1 - (1 - floor) min(1, t / steps)

    Parameters
    ----------
    rate, steps, floor, warmup
        As in `Cosine`.

    Examples
    --------
    >>> from ebmlib import schedules
    >>> schedules.Linear(1.0, steps=4)([0, 1, 2, 3, 4, 5])
    array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ])
    """

    _kind = "linear"

    def __init__(
        self, rate: float = 1e-3, steps: int = 1000, floor: float = 0.0, warmup: int = 0
    ) -> None:
        self.rate = rate
        self.steps = steps
        self.floor = floor
        self.warmup = warmup


class Exponential(Schedule):
    """The rate times a factor in so many steps: decay(t) = factor^(t / steps).

    Parameters
    ----------
    rate : float, default 1e-3
    factor : float, default 0.5
    steps : int, default 1000
        Steps for one factor.
    warmup : int, default 0
        As in `Constant`.

    Examples
    --------
    >>> from ebmlib import schedules
    >>> schedules.Exponential(1.0, factor=0.25, steps=10)([0, 5, 10]).round(12)
    array([1.  , 0.5 , 0.25])
    """

    _kind = "exponential"

    def __init__(
        self, rate: float = 1e-3, factor: float = 0.5, steps: int = 1000, warmup: int = 0
    ) -> None:
        self.rate = rate
        self.factor = factor
        self.steps = steps
        self.warmup = warmup


class Piecewise(Schedule):
    """A constant rate that is multiplied at milestones.

    decay(t) = factor^(number of milestones <= t)

    Parameters
    ----------
    rate : float, default 1e-3
    milestones : tuple of int, default ()
        At most 16 steps.
    factor : float, default 0.1
    warmup : int, default 0
        As in `Constant`.

    Examples
    --------
    >>> from ebmlib import schedules
    >>> schedules.Piecewise(1.0, milestones=(2, 4), factor=0.5)([0, 1, 2, 3, 4])
    array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """

    _kind = "piecewise"

    def __init__(
        self,
        rate: float = 1e-3,
        milestones: Sequence[int] = (),
        factor: float = 0.1,
        warmup: int = 0,
    ) -> None:
        self.rate = rate
        self.milestones = milestones
        self.factor = factor
        self.warmup = warmup
