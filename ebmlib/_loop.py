"""The loop of a fit: runs in C from one step at which something acts to the next."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._progress import Progress
from ._rows import mark_rows
from .errors import DivergenceWarning, NumericalError
from .random import fold_in

if TYPE_CHECKING:
    from ._estimator import EnergyEstimator

__all__ = ["Event", "Fit", "Memory", "Rollback", "ShowProgress", "Validation", "lasting"]

_VOLATILE = ("batch", "metrics")  # above arrays that a step makes anew
_COUNTING = ("key", "step", "rate", "backoff", "guard")  # what tells steps apart, or speeds
_SNAPSHOTS = 4  # that are kept for rollbacks
_SOUND, _LOST = 5, 50  # gaps of runs worth keeping, and of runs that nothing brings back
_VALIDATIONS = 20  # in a fit
_VALIDATION_ROWS = 1024


class Memory(NamedTuple):
    """What an event knows in the middle of a fit, as files keep it.

    numbers: lists of numbers, all of one length; snapshots: {slot: (step, arrays)}.
    """

    numbers: list[list[float]]
    snapshots: dict[int, tuple[int, dict[str, NDArray[Any]]]]


class Event:
    """Something that acts between steps; every method does nothing as it stands.

    Steps are counted over the life of the estimator: "at step n" is after n good steps.  What
    an event does must not change how training goes on, unless it is there for that: then it has
    a name, and a memory, so that the fit can be resumed.
    """

    name: str | None = None

    def memory(self) -> Memory:
        """What it knows; the event may go on, the memory stays."""
        return Memory([], {})

    def recall(self, memory: Memory) -> None:
        """Go on as the event whose memory it is; before ``begin``."""

    def begin(self, fit: Fit) -> None:
        """Before the first step."""

    def next(self, step: int) -> int | None:
        """The first step after ``step`` at which to act; None: never again."""
        return None

    def act(self, fit: Fit) -> None:
        """At a step that ``next`` named; arrays may be read and written."""

    def poll(self, fit: Fit) -> None:
        """About every 50 ms in a run, between two steps; metrics may be read, arrays not."""

    def rescue(self, fit: Fit, error: NumericalError) -> bool:
        """A step was bad, and the state is that of the step before; True: it can go on."""
        return False

    def undone(self, fit: Fit) -> None:
        """The steps after ``fit.step`` have been taken back."""

    def history(self) -> dict[str, NDArray[Any]]:
        """What the event adds to ``history_``; asked at any time."""
        return {}

    def finish(self, fit: Fit) -> None:
        """The fit has come to its end, by itself or by a stop; arrays may be written."""

    def end(self, fit: Fit) -> None:
        """After the last step, or whatever else ended the fit; the estimator is fitted."""


class Fit:
    """One call of fit.

    Attributes
    ----------
    estimator : EnergyEstimator
    trainer : _core.Trainer
    x, val : arrays
        The rows, and the held-out ones or None.
    held_out : array like
        The held-out ones as they were given.
    first, last : int
        The step before the first one, and the one to end at; ``first`` is given where an
        interrupted fit goes on.
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
        first: int | None = None,
        held_out: Any = None,
    ) -> None:
        self.estimator, self.trainer, self.x, self.val = estimator, trainer, x, val
        self.held_out = val if held_out is None else held_out
        self.first = trainer.steps if first is None else first
        self.last = trainer.steps + n_steps
        self.events: Sequence[Event] = ()
        self.reason: str | None = None
        self._finished = False
        self._rows, self._rows_from = trainer.n_rows, trainer.steps
        self._before = dict(estimator.history_)
        self._memories = {} if first is None else estimator._memories
        self._marks = [None if rows is None else mark_rows(rows) for rows in (x, val)]

    @property
    def step(self) -> int:
        """Good steps so far."""
        return self.trainer.steps

    @property
    def over(self) -> bool:
        """Whether there is no further step."""
        return self.reason is not None or self.step == self.last

    def stop(self, reason: str) -> None:
        """End the fit; the first reason counts."""
        if self.reason is None:
            self.reason = reason

    def metrics(self, since: int | None = None) -> dict[str, NDArray[Any]]:
        """{name: values of the steps after ``since``}; None: of all that were run here."""
        skipped = 0 if since is None else max(since - self._rows_from, 0)
        return self.trainer.metrics(self._rows + skipped)

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

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that last, by their names."""
        return lasting(self.trainer.get())

    def go_back(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """To a state of this fit; the metrics of the steps after it are dropped."""
        self.trainer.set(dict(snapshot))
        self.trainer.clear()
        if self.step < self._rows_from:
            self._forget()
        for event in self.events:
            event.undone(self)

    def put_back(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """What is learned and what goes with it, as in a snapshot; the steps still count."""
        kept = {k: a for k, a in snapshot.items() if k.partition(".")[0] not in _COUNTING}
        self.trainer.set(kept)

    def _forget(self) -> None:
        """Drop what ``history_`` had of steps that are undone now: the fit was resumed."""
        undone = self._rows_from - self.step
        for name in self._before.keys() & self.trainer.metrics().keys():
            self._before[name] = self._before[name][:-undone]
        if "val_step" in self._before:
            kept = self._before["val_step"] <= self.step
            for name in self._before:
                if name.startswith("val_"):
                    self._before[name] = self._before[name][kept]
        self._rows, self._rows_from = self.trainer.n_rows, self.step

    def run(self, events: Sequence[Event]) -> None:
        """Train up to ``last``, or until a stop; each event acts where it wants to.

        Whatever happens, the estimator is left fitted to the last whole step.
        """
        self.events = events
        self._recall()
        with ExitStack() as ends:
            try:
                for event in events:
                    event.begin(self)
                    ends.callback(event.end, self)
                while not self.over:
                    self._advance()
                for event in events:
                    event.finish(self)
                self._finished = True
            finally:
                self.store()

    def _advance(self) -> None:
        """Go on to where the next event acts, and let it."""
        step = self.step
        wanted = [(event.next(step), event) for event in self.events]
        to = min([self.last, *(at for at, _ in wanted if at is not None)])
        try:
            self.trainer.run(to - step, self._poll)
        except NumericalError as error:
            if not any(event.rescue(self, error) for event in self.events):
                raise
            return
        for at, event in wanted:
            if at == self.step:
                event.act(self)

    def store(self) -> None:
        """Give the estimator what the fit has come to."""
        over = self.over
        self.estimator.history_ = self.history()
        self.estimator.stop_reason_ = self.reason
        going_on = {} if self._finished else self._named()
        self.estimator._memories = {name: e.memory() for name, e in going_on.items()}
        self.estimator._fit = {
            "first": self.first,
            "last": self.step if over else self.last,
            "reason": self.reason,
            "data": self._marks[0],
            "held_out": self._marks[1],
        }
        self.estimator._store()

    def _named(self) -> dict[str, Event]:
        """The events that have memories; those of one name are numbered."""
        found: dict[str, Event] = {}
        for event in self.events:
            if event.name is not None:
                number = sum(other.name == event.name for other in found.values())
                found[f"{event.name}.{number}"] = event
        return found

    def _recall(self) -> None:
        """Give the events of a resumed fit the memories that it left."""
        events = self._named()
        for name, memory in self._memories.items():
            if name not in events:
                raise ValueError(
                    f"{type(self.estimator).__name__}: callbacks, on_divergence: got nothing "
                    f"that goes on with {name} of the interrupted fit"
                )
            events[name].recall(memory)

    def _poll(self) -> bool:
        for event in self.events:
            event.poll(self)
        return self.reason is None


def lasting(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Those of a trainer's arrays that a step does not make anew."""
    return {k: a for k, a in arrays.items() if k.partition(".")[0] not in _VOLATILE}


def _extend(history: dict[str, NDArray[Any]], new: Mapping[str, NDArray[Any]]) -> None:
    """Validations have a value of each metric for each step: NaN where it was not asked for."""
    before, more = (len(rows.get("val_step", ())) for rows in (history, new))
    for name in [*new, *(n for n in history if more and n.startswith("val_") and n not in new)]:
        of = name.startswith("val_")
        old = history.get(name, np.full(before if of else 0, np.nan))
        values = new.get(name, np.full(more, np.nan))
        history[name] = np.concatenate([old, values]) if len(old) else values


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
    """What a fit asks of held-out rows: `val_gap`, and metrics f(est, X_val) by their names.

    It is asked ``every`` so many steps and at the end, or 20 times in a fit.  The gap is the
    mean E of held-out rows minus that of others.
    """

    def __init__(
        self, fit: Fit, metrics: Mapping[str, Callable[..., Any]], every: int | None
    ) -> None:
        n = fit.last - fit.first
        count = min(n, _VALIDATIONS)
        self._at = [fit.first + -(-n * k // count) for k in range(1, count + 1)]
        if every is not None:
            begin = fit.first // every * every + every
            self._at = sorted({*range(begin, fit.last, every), *([fit.last] if n else [])})
        self._metrics = dict(metrics)
        self.found: list[tuple[int, dict[str, float]]] = []  # (step, values by name)

    def next(self, step: int) -> int | None:
        index = bisect_right(self._at, step)
        return self._at[index] if index < len(self._at) else None

    def act(self, fit: Fit) -> None:
        assert fit.val is not None
        n = min(len(fit.x), len(fit.val), _VALIDATION_ROWS)
        energy = fit.estimator._store()
        values = {"val_gap": float(energy(fit.val[:n]).mean() - energy(fit.x[:n]).mean())}
        for name, metric in self._metrics.items():
            values[f"val_{name}"] = _number(metric(fit.estimator, fit.held_out), name)
        self.found.append((fit.step, values))

    def undone(self, fit: Fit) -> None:
        self.found = [(step, values) for step, values in self.found if step <= fit.step]

    def history(self) -> dict[str, NDArray[Any]]:
        history = {"val_step": np.array([step for step, _ in self.found], np.int64)}
        for name in ("gap", *self._metrics):
            values = [values[f"val_{name}"] for _, values in self.found]
            history[f"val_{name}"] = np.array(values, np.float64)
        return history


def _number(value: Any, name: str) -> float:
    """A metric's value; it may be NaN."""
    if np.ndim(value) == 0 and np.asarray(value).dtype.kind in "fiub":
        return float(value)
    raise TypeError(f"Validate: metric: {name}: got {value!r}, expected a number")


class Rollback(Event):
    """Keeps snapshots, and goes back to one after a bad step.

    Of the snapshots, one every ``every`` steps, four last: the newest, and others that are up
    to eight times as old.  A rollback uses up the newest, unless it is the only one, so that
    the next goes further back if no progress was made in between.  The rate is halved and the
    key changed each time.

    Chains that run away take the gap with them long before a loss is too large.  So a snapshot
    is kept only of a run whose gap is small, and a large gap is a bad step too.
    """

    name = "rollback"

    def __init__(self, fit: Fit, every: int, limit: int) -> None:
        self._first, self._every, self._limit = fit.first, every, limit
        self._known = 0  # of what was found, in history_ already
        self._kept: dict[int, tuple[int, dict[str, NDArray[Any]]]] = {}
        self._found: list[tuple[int, int, float]] = []  # (bad step, to, rate)

    def memory(self) -> Memory:
        return Memory([list(found) for found in self._found], dict(self._kept))

    def recall(self, memory: Memory) -> None:
        self._found = [(int(bad), int(to), rate) for bad, to, rate in memory.numbers]
        self._known, self._kept = len(self._found), dict(memory.snapshots)

    def begin(self, fit: Fit) -> None:
        if not self._kept:
            self.act(fit)

    def next(self, step: int) -> int | None:
        return step + self._every - (step - self._first) % self._every

    def act(self, fit: Fit) -> None:
        gap = self._gap(fit)
        if self._kept and gap > _LOST:
            error = NumericalError(
                f"{type(fit.estimator).__name__}: step {fit.step}: chains have run away: "
                f"|energy_data - energy_samples| is {gap:.3g} deviations of a Gaussian's energy"
            )
            if not self.rescue(fit, error):
                raise error
        elif not self._kept or gap <= _SOUND:
            number = (fit.step - self._first) // self._every
            slot = min(_zeros(number), _SNAPSHOTS - 1)
            self._kept[slot] = fit.step, fit.snapshot()

    def _gap(self, fit: Fit) -> float:
        """The gap of late, in units of sqrt(D / 2), a Gaussian's deviation in D dimensions."""
        gap = fit.metrics(fit.step - self._every).get("gap", np.empty(0))
        size = float(np.median(np.abs(gap))) if len(gap) else 0.0
        return size / max(1.0, math.sqrt(fit.x[0].size / 2))

    def rescue(self, fit: Fit, error: NumericalError) -> bool:
        if len(self._found) == self._limit:
            return False
        bad = fit.step + 1
        slot, (to, snapshot) = max(self._kept.items(), key=lambda item: item[1][0])
        if len(self._kept) > 1:
            del self._kept[slot]
        now = fit.trainer.get()
        backoff = now["backoff"] / 2
        # Steps are folded in as they are: a negative number is none of them.
        key = fold_in(now["key"], -len(self._found) - 1)
        fit.go_back(snapshot | {"key": key, "backoff": backoff})
        rate = float(fit.estimator._schedule(to) * backoff)
        self._found.append((bad, to, rate))
        text = str(error).partition("; the arrays")[0]
        warnings.warn(
            f"{text}; went back to step {to}, with another key and a learning rate of {rate:g}",
            DivergenceWarning,
            stacklevel=2,
        )
        return True

    def history(self) -> dict[str, NDArray[Any]]:
        if len(self._found) == self._known:
            return {}
        steps, to, rates = zip(*self._found[self._known :], strict=True)
        return {
            "rollback_step": np.array(steps, np.int64),
            "rollback_to": np.array(to, np.int64),
            "rollback_rate": np.array(rates, np.float64),
        }


def _zeros(number: int) -> int:
    """How often two divides a number; of zero, more often than any."""
    return (number & -number).bit_length() - 1 if number else 64
