"""The loop of a fit: runs in C from one step at which something acts to the next."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._progress import Progress

if TYPE_CHECKING:
    from ._estimator import EnergyEstimator

__all__ = ["Event", "Fit", "ShowProgress", "Validation"]

_VALIDATIONS = 20  # in a fit
_VALIDATION_ROWS = 1024


class Event:
    """Something that acts between steps; every method does nothing as it stands.

    Steps are counted over the life of the estimator: "at step n" is after n good steps.  What
    an event does must not change how training goes on, unless it is there for that.
    """

    def begin(self, fit: Fit) -> None:
        """Before the first step."""

    def next(self, step: int) -> int | None:
        """The first step after ``step`` at which to act; None: never again."""
        return None

    def act(self, fit: Fit) -> None:
        """At a step that ``next`` named; arrays may be read and written."""

    def poll(self, fit: Fit) -> None:
        """About every 50 ms in a run, between two steps; metrics may be read, arrays not."""

    def undone(self, fit: Fit) -> None:
        """The steps after ``fit.step`` have been taken back."""

    def history(self) -> dict[str, NDArray[Any]]:
        """What the event adds to ``history_``; asked at any time."""
        return {}

    def end(self, fit: Fit) -> None:
        """After the last step, and after whatever else ended the fit."""


class Fit:
    """One call of fit.

    Attributes
    ----------
    estimator : EnergyEstimator
    trainer : _core.Trainer
    x, val : arrays
        The rows, and the held-out ones or None.
    first, last : int
        The step before the first one, and the one to end at.
    events : list of Event
    reason : str or None
        Why the fit ends before ``last``.
    """

    def __init__(
        self,
        estimator: EnergyEstimator,
        trainer: _core.Trainer,
        x: NDArray[Any],
        val: NDArray[Any] | None,
        n_steps: int,
    ) -> None:
        self.estimator, self.trainer, self.x, self.val = estimator, trainer, x, val
        self.first = trainer.steps
        self.last = self.first + n_steps
        self.events: Sequence[Event] = ()
        self.reason: str | None = None
        self._rows = trainer.n_rows
        self._before = dict(estimator.history_)

    @property
    def step(self) -> int:
        """Good steps so far."""
        return self.trainer.steps

    def stop(self, reason: str) -> None:
        """End the fit; the first reason counts."""
        if self.reason is None:
            self.reason = reason

    def metrics(self) -> dict[str, NDArray[Any]]:
        """{name: values of the steps from ``first`` on}."""
        return self.trainer.metrics(self._rows)

    def latest(self) -> dict[str, float]:
        """{name: value at the last step}; empty before the first one."""
        rows = self.trainer.metrics(max(self._rows, self.trainer.n_rows - 1))
        return {name: float(values[0]) for name, values in rows.items() if len(values)}

    def history(self) -> dict[str, NDArray[Any]]:
        """What ``history_`` is after the steps so far."""
        history = dict(self._before)
        for new in (self.metrics(), *(event.history() for event in self.events)):
            _extend(history, new)
        return history

    def run(self, events: Sequence[Event]) -> None:
        """Train up to ``last``, or until a stop; each event acts where it wants to."""
        self.events = events
        try:
            for event in events:
                event.begin(self)
            while self.reason is None and (step := self.step) < self.last:
                wanted = [(event.next(step), event) for event in events]
                to = min([at for at, _ in wanted if at is not None], default=self.last)
                to = min(to, self.last)
                self.trainer.run(to - step, self._poll)
                for at, event in wanted:
                    if at == self.step:
                        event.act(self)
        finally:
            for event in events:
                event.end(self)

    def _poll(self) -> bool:
        for event in self.events:
            event.poll(self)
        return self.reason is None


def _extend(history: dict[str, NDArray[Any]], new: Mapping[str, NDArray[Any]]) -> None:
    for name, values in new.items():
        old = history.get(name)
        history[name] = values if old is None else np.concatenate([old, values])


class ShowProgress(Event):
    """A progress bar, or lines."""

    def __init__(self, fit: Fit, shown: Sequence[str], verbose: int) -> None:
        self._first = fit.first
        title = type(fit.estimator).__name__
        self._progress = Progress(title, fit.last - fit.first, shown, verbose)

    def poll(self, fit: Fit) -> None:
        self._progress.update(fit.step - self._first, fit.latest())

    def end(self, fit: Fit) -> None:
        self.poll(fit)
        self._progress.close()


class Validation(Event):
    """The held-out gap, 20 times in a fit: mean E of held-out rows minus that of others."""

    def __init__(self, fit: Fit) -> None:
        n = fit.last - fit.first
        count = min(n, _VALIDATIONS)
        self._at = [fit.first + -(-n * k // count) for k in range(1, count + 1)]
        self._found: list[tuple[int, float]] = []

    def next(self, step: int) -> int | None:
        index = bisect_right(self._at, step)
        return self._at[index] if index < len(self._at) else None

    def act(self, fit: Fit) -> None:
        assert fit.val is not None
        n = min(len(fit.x), len(fit.val), _VALIDATION_ROWS)
        energy = fit.estimator._store()
        gap = float(energy(fit.val[:n]).mean() - energy(fit.x[:n]).mean())
        self._found.append((fit.step, gap))

    def undone(self, fit: Fit) -> None:
        self._found = [(step, gap) for step, gap in self._found if step <= fit.step]

    def history(self) -> dict[str, NDArray[Any]]:
        steps, gaps = zip(*self._found, strict=True) if self._found else ((), ())
        return {"val_step": np.array(steps, np.int64), "val_gap": np.array(gaps, np.float64)}
