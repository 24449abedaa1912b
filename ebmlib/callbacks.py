"""Callbacks: what a fit calls between its steps.

An estimator's ``callbacks`` is a sequence of functions ``f(est, step, metrics)``, called after
every step, and of objects with methods named as in `Callback`.  The estimator that they get is
fitted to the step they are told of, so ``est.energy(X)`` and ``est.sample(n)`` work; its
``history_`` has the rows of this fit from ``on_end`` on.  Callbacks do not change the bits of
training.  Each call cuts the run in C: one that is wanted now and then says so by ``every``.
Steps that a rollback has undone come again.

`StopTraining` ends the fit.  Any other exception ends it too, and is raised; the estimator is
fitted to the last whole step then.

>>> import numpy as np
>>> from ebmlib import callbacks, estimators
>>> def stop_at_five(est, step, metrics):
...     if step == 5:
...         raise callbacks.StopTraining("five are enough")
>>> est = estimators.CD(max_steps=10, callbacks=[stop_at_five]).fit(np.zeros((8, 2)))
>>> est.n_steps_, est.stop_reason_
(5, 'five are enough')

Loggers are callbacks; `CSVLogger` is one.  This one writes for TensorBoard::

    class TensorBoard(callbacks.Callback):
        every = 10

        def on_begin(self, est):
            self.writer = torch.utils.tensorboard.SummaryWriter()

        def on_step(self, est, step, metrics):
            for name, value in metrics.items():
                self.writer.add_scalar(name, value, step)

        def on_end(self, est):
            self.writer.close()
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._checks import path_of, real, whole
from ._loop import Event, Fit, Memory, Validation
from ._params import Parameters

if TYPE_CHECKING:
    from ._estimator import EnergyEstimator

__all__ = ["CSVLogger", "Callback", "EarlyStopping", "KeepBest", "StopTraining", "Validate"]

Metrics = dict[str, float]


class StopTraining(Exception):
    """Raised in a callback: the fit ends at this step, and ``stop_reason_`` is the message."""


class Callback:
    """The methods that a fit calls; each does nothing as it stands.

    Attributes
    ----------
    every : int, default 1
        ``on_step`` is called at the multiples of this number.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import callbacks, estimators
    >>> class Gaps(callbacks.Callback):
    ...     every = 2
    ...     def on_begin(self, est):
    ...         self.gaps = []
    ...     def on_step(self, est, step, metrics):
    ...         self.gaps.append((step, metrics["gap"]))
    >>> gaps = Gaps()
    >>> est = estimators.CD(max_steps=4, callbacks=[gaps]).fit(np.zeros((8, 2)))
    >>> [step for step, gap in gaps.gaps]
    [2, 4]
    """

    every: int = 1

    def on_begin(self, est: EnergyEstimator) -> None:
        """Before the first step of a fit."""

    def on_step(self, est: EnergyEstimator, step: int, metrics: Metrics) -> None:
        """After a step.

        step: of the estimator's life, from 1.
        metrics: {name: value at this step}, the columns of ``history_``.
        """

    def on_validation(self, est: EnergyEstimator, step: int, metrics: Metrics) -> None:
        """After a validation (``fit(X, X_val=...)``): metrics of the step, ``val_gap``, and
        those of `Validate`.
        """

    def on_epoch(self, est: EnergyEstimator, epoch: int, metrics: Metrics) -> None:
        """After the step in which a pass over the data ends.

        epoch: passes over data of this size, from 1.
        metrics: {name: mean over the steps of the epoch in this fit}.
        """

    def on_end(self, est: EnergyEstimator) -> None:
        """After the last step, also one that failed: ``history_`` is complete."""

    def _check(self, metrics: Collection[str]) -> None:
        """ValueError for bad options; metrics: what validations find, none without X_val."""

    def _event(self, fit: Fit, validation: Validation | None) -> Event:
        return _Calls(self, fit, validation)


class Validate(Parameters, Callback):
    """Asks held-out rows for more than the gap: needs ``fit(X, X_val=...)``.

    ``history_["val_<name>"]`` has the values, at the steps of ``val_step``; `EarlyStopping` and
    `KeepBest` can watch them.

    Parameters
    ----------
    metric : dict of callables, or None
        ``{name: f}`` with ``f(est, X_val)``, a number: est is fitted to the step, X_val as it
        was given to the fit.
    every : int or None, default None
        Steps between two validations, of which the last is after the last step.  None: 20
        times in a fit.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import callbacks, estimators, networks
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> def log_likelihood(est, x):
    ...     return est.score(x)
    >>> ask = callbacks.Validate({"log_likelihood": log_likelihood}, every=4)
    >>> est = estimators.MaximumLikelihood(
    ...     networks.GaussianMixture(3), max_steps=10, callbacks=[ask], random_state=0)
    >>> history = est.fit(x[:100], X_val=x[100:]).history_
    >>> history["val_step"], history["val_log_likelihood"].shape
    (array([ 4,  8, 10]), (3,))
    """

    def __init__(
        self, metric: Mapping[str, Callable[..., Any]] | None = None, every: int | None = None
    ) -> None:
        self.metric = metric
        self.every = every  # type: ignore[assignment]

    def _check(self, metrics: Collection[str]) -> None:
        _need_rows("Validate", metrics)

    def _event(self, fit: Fit, validation: Validation | None) -> Event:
        return Event()  # the loop's own validation asks


class EarlyStopping(Parameters, Callback):
    """Ends a fit that overfits: needs ``fit(X, X_val=...)``.

    ``val_gap`` is the mean energy of held-out rows minus that of training rows: by how many
    nats training rows are more likely on average, for log Z drops out.  Means over n rows of
    each differ by chance, with the deviation std(E) sqrt(2 / n).

    Parameters
    ----------
    patience : int, default 3
        The fit ends after so many validations in a row with a gap above ``tolerance``; of
        another metric, with none that is better than the best before by more than that.
    tolerance : float or None, default None
        None: 0.5 (nats) for ``val_gap``, 0 for others.
    restore_best : bool, default True
        Go back to the last validation whose gap was not above it, or to the best, if there was
        one: to the whole state of that step, so that training could go on from there.
    metric : str, default "val_gap"
        What is watched: a metric of `Validate` as "val_<name>".
    mode : {"min", "max"}, default "min"
        Which values of another metric than ``val_gap`` are good.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import callbacks, estimators
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> stop = callbacks.EarlyStopping(patience=2, tolerance=0.2)
    >>> est = estimators.PCD(max_steps=40, callbacks=[stop], random_state=0)
    >>> est.fit(x[:100], X_val=x[100:]).n_steps_
    40
    """

    def __init__(
        self,
        patience: int = 3,
        tolerance: float | None = None,
        restore_best: bool = True,
        metric: str = "val_gap",
        mode: str = "min",
    ) -> None:
        self.patience = patience
        self.tolerance = tolerance
        self.restore_best = restore_best
        self.metric = metric
        self.mode = mode

    def _check(self, metrics: Collection[str]) -> None:
        _need_rows("EarlyStopping", metrics)
        whole(self.patience, "EarlyStopping: patience", 1)
        if self.tolerance is not None:
            real(self.tolerance, "EarlyStopping: tolerance")
        _check_metric("EarlyStopping", self.metric, self.mode, metrics)

    def _event(self, fit: Fit, validation: Validation | None) -> Event:
        assert validation is not None
        return _StopEarly(self, validation)


class _StopEarly(Event):
    """The state of an `EarlyStopping` in one fit."""

    name = "early_stopping"

    def __init__(self, options: EarlyStopping, validation: Validation) -> None:
        self._options, self._validation = options, validation
        self._of_gap = options.metric == "val_gap"
        default = 0.5 if self._of_gap else 0.0
        self._tolerance = default if options.tolerance is None else options.tolerance
        self._best: tuple[int, dict[str, Any]] | None = None
        self._best_value = math.nan  # NaN: none yet
        self._bad = 0

    def memory(self) -> Memory:
        known = [] if math.isnan(self._best_value) else [[self._best_value]]
        return Memory([[self._bad], *known], {} if self._best is None else {0: self._best})

    def recall(self, memory: Memory) -> None:
        bad, value, *_ = [*(number for row in memory.numbers for number in row), 0, math.nan]
        self._bad, self._best = int(bad), memory.snapshots.get(0)
        self._best_value = value if len(memory.numbers) > 1 else math.nan

    def next(self, step: int) -> int | None:
        return self._validation.next(step)

    def act(self, fit: Fit) -> None:
        options = self._options
        step, found = self._validation.found[-1]
        if self._is_good(found[options.metric]):
            self._bad = 0
            if options.restore_best:
                self._best = step, fit.snapshot()
            return
        self._bad += 1
        if self._bad < options.patience:
            return
        reason = self._reason(found[options.metric], step)
        if self._best is not None:
            to, snapshot = self._best
            fit.go_back(snapshot)
            reason += f"; went back to step {to}"
        fit.stop(reason)

    def _is_good(self, value: float) -> bool:
        if self._of_gap:
            return value <= self._tolerance
        good = _is_better(value, self._best_value, self._options.mode, self._tolerance)
        self._best_value = value if good else self._best_value
        return good

    def _reason(self, value: float, step: int) -> str:
        was = f"above {self._tolerance:g}"
        if not self._of_gap:
            known = not math.isnan(self._best_value)
            was = f"not better than {self._best_value:.3g}" if known else "not a number"
        name, n = self._options.metric, self._bad
        return f"{name} was {was} at {n} validations, {value:.3g} at step {step}"

    def undone(self, fit: Fit) -> None:
        self._bad = 0


class KeepBest(Parameters, Callback):
    """Model selection: when the fit is over, what was learned is that of its best validation.

    Needs ``fit(X, X_val=...)``.  Parameters, averages, moments of the optimiser and kept chains
    are put back; ``n_steps_`` and ``history_`` stay whole, and training that goes on takes new
    batches and draws.  ``history_["best_step"]`` and ``["best_value"]`` have a row for each
    fit.  A fit that was interrupted is left as it is, and goes on with what it knows.  The best
    may be of a step that a rollback has undone since.

    Parameters
    ----------
    metric : str, default "val_gap"
        What is compared: ``val_gap``, or a metric of `Validate` as "val_<name>".
    mode : {"min", "max"}, default "min"

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import callbacks, estimators, networks
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> ask = callbacks.Validate({"log_likelihood": lambda est, x: est.score(x)})
    >>> best = callbacks.KeepBest(metric="val_log_likelihood", mode="max")
    >>> est = estimators.MaximumLikelihood(
    ...     networks.GaussianMixture(50), learning_rate=0.1, max_steps=200,
    ...     callbacks=[ask, best], random_state=0).fit(x[:100], X_val=x[100:])
    >>> bool(np.isclose(est.score(x[100:]), est.history_["val_log_likelihood"].max()))
    True
    """

    def __init__(self, metric: str = "val_gap", mode: str = "min") -> None:
        self.metric = metric
        self.mode = mode

    def _check(self, metrics: Collection[str]) -> None:
        _need_rows("KeepBest", metrics)
        _check_metric("KeepBest", self.metric, self.mode, metrics)

    def _event(self, fit: Fit, validation: Validation | None) -> Event:
        assert validation is not None
        return _Selection(self, validation)


class _Selection(Event):
    """The state of a `KeepBest` in one fit."""

    name = "keep_best"

    def __init__(self, options: KeepBest, validation: Validation) -> None:
        self._options, self._validation = options, validation
        self._best: tuple[int, dict[str, Any]] | None = None
        self._value = math.nan  # NaN: none yet
        self._over = False

    def memory(self) -> Memory:
        return (
            Memory([], {}) if self._best is None else Memory([[self._value]], {0: self._best})
        )

    def recall(self, memory: Memory) -> None:
        if memory.numbers and 0 in memory.snapshots:
            (self._value,), self._best = memory.numbers[0], memory.snapshots[0]

    def next(self, step: int) -> int | None:
        return self._validation.next(step)

    def act(self, fit: Fit) -> None:
        step, found = self._validation.found[-1]
        value = found[self._options.metric]
        if _is_better(value, self._value, self._options.mode):
            self._best, self._value = (step, fit.snapshot()), value

    def finish(self, fit: Fit) -> None:
        if self._best is not None:
            self._over = True
            fit.put_back(self._best[1])

    def history(self) -> dict[str, NDArray[Any]]:
        if not self._over or self._best is None:
            return {}
        return {
            "best_step": np.array([self._best[0]], np.int64),
            "best_value": np.array([self._value], np.float64),
        }


def _need_rows(who: str, metrics: Collection[str]) -> None:
    if not metrics:
        raise ValueError(f"{who}: X_val: got None, expected held-out rows: fit(X, X_val=)")


def _check_metric(who: str, metric: Any, mode: Any, metrics: Collection[str]) -> None:
    for name, got, known in (("metric", metric, metrics), ("mode", mode, ("min", "max"))):
        if not isinstance(got, str) or got not in known:
            raise ValueError(f"{who}: {name}: got {got!r}, expected one of {list(known)}")


def _is_better(value: float, best: float, mode: str, by: float = 0.0) -> bool:
    """Whether a value beats the best one, NaN for none, by more than so much."""
    if not math.isfinite(value):
        return False
    return math.isnan(best) or (best - value if mode == "min" else value - best) > by


class CSVLogger(Parameters, Callback):
    """Writes metrics as lines of a CSV file, with a header.

    A fit that starts anew begins a new file, one that goes on appends to it.  Lines of steps
    that a rollback has undone stay: a log tells what happened.

    Parameters
    ----------
    path : str or path
    every : int, default 10
        Steps between two lines.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import callbacks, estimators
    >>> log = callbacks.CSVLogger("log.csv", every=2)
    >>> est = estimators.CD(max_steps=4, callbacks=[log]).fit(np.zeros((8, 2)))
    >>> with open("log.csv") as file:
    ...     [line.split(",")[0] for line in file]
    ['step', '2', '4']
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 10) -> None:
        self.path = path
        self.every = every

    def _check(self, metrics: Collection[str]) -> None:
        path_of(self.path, "CSVLogger: path")

    def on_begin(self, est: EnergyEstimator) -> None:
        if est.n_steps_ == 0:
            Path(self.path).write_text("")

    def on_step(self, est: EnergyEstimator, step: int, metrics: Metrics) -> None:
        with open(self.path, "a", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(["step", *metrics])
            writer.writerow([step, *metrics.values()])


# ---- in the loop -----------------------------------------------------------------------------


class _Calls(Event):
    """A callback in one fit: calls the methods that it has made its own."""

    def __init__(self, callback: Any, fit: Fit, validation: Validation | None) -> None:
        self._callback, self._validation = callback, validation
        self._step = callback if _is_function(callback) else self._own("on_step")
        self._epoch = self._own("on_epoch")
        self._validated = self._own("on_validation") if validation is not None else None
        self._every = int(getattr(callback, "every", 1))
        self._rows = len(fit.x)
        self._batch = min(fit.estimator.batch_size, self._rows)
        self._epoch_began = fit.first

    def _own(self, name: str) -> Callable[..., Any] | None:
        method: Callable[..., Any] | None = getattr(self._callback, name, None)
        inherited = getattr(method, "__func__", None) is getattr(Callback, name)
        return None if inherited else method

    def begin(self, fit: Fit) -> None:
        if (on_begin := self._own("on_begin")) is not None:
            self._call(on_begin, fit)

    def next(self, step: int) -> int | None:
        wanted: list[int | None] = []
        if self._step is not None:
            wanted.append(step // self._every * self._every + self._every)
        if self._epoch is not None:
            wanted.append(self._epoch_end(self._epochs(step) + 1))
        if self._validated is not None and self._validation is not None:
            wanted.append(self._validation.next(step))
        return min([at for at in wanted if at is not None], default=None)

    def act(self, fit: Fit) -> None:
        step, latest = fit.step, fit.latest()
        fit.estimator._store()
        if self._step is not None and step % self._every == 0:
            self._call(self._step, fit, step, latest)
        if self._validated is not None and self._validation is not None:
            at, found = self._validation.found[-1] if self._validation.found else (-1, {})
            if at == step:
                self._call(self._validated, fit, step, latest | found)
        epoch = self._epochs(step)
        if self._epoch is not None and step == self._epoch_end(epoch):
            rows = fit.metrics(since=self._epoch_began)
            means = {name: float(values.mean()) for name, values in rows.items()}
            self._epoch_began = step
            self._call(self._epoch, fit, epoch, means)

    def undone(self, fit: Fit) -> None:
        last_end = self._epoch_end(self._epochs(fit.step))
        self._epoch_began = max(fit.first, min(self._epoch_began, last_end))

    def end(self, fit: Fit) -> None:
        if (on_end := self._own("on_end")) is not None:
            on_end(fit.estimator)

    def _call(self, method: Callable[..., Any], fit: Fit, *args: Any) -> None:
        try:
            method(fit.estimator, *args)
        except StopTraining as stop:
            fit.stop(str(stop) or f"{method} raised StopTraining")

    def _epochs(self, step: int) -> int:
        """Passes over the data that are over after so many steps."""
        return step * self._batch // self._rows

    def _epoch_end(self, epoch: int) -> int:
        """The step in which a pass ends."""
        return -(-epoch * self._rows // self._batch)


def _is_function(callback: Any) -> bool:
    return callable(callback) and not hasattr(callback, "on_step")


def check_callbacks(who: str, callbacks: Any, validated: bool) -> None:
    """ValueError unless these are callbacks that a fit can call, with held-out rows or not."""
    if callbacks is None:
        return
    if not isinstance(callbacks, list | tuple):
        raise ValueError(f"{who}: callbacks: got {callbacks!r}, expected a list of callbacks")
    hooks = [name for name in vars(Callback) if name.startswith("on_")]
    for callback in callbacks:
        known = callable(callback) or any(hasattr(callback, name) for name in hooks)
        if isinstance(callback, type) or not known:
            raise ValueError(
                f"{who}: callbacks: got {callback!r}, expected f(est, step, metrics) or an "
                f"object with some of {', '.join(hooks)}"
            )
        every = getattr(callback, "every", 1)
        if not (isinstance(callback, Validate) and every is None):
            whole(every, f"{type(callback).__name__}: every", 1)
    for cls in (Validate, KeepBest):
        if sum(isinstance(callback, cls) for callback in callbacks) > 1:
            raise ValueError(f"{who}: callbacks: got two {cls.__name__}, expected one at most")
    metrics = ["val_gap", *(f"val_{name}" for name in asked(callbacks)[0])]
    for callback in callbacks:
        if isinstance(callback, Callback):
            callback._check(metrics if validated else [])


def asked(callbacks: Iterable[Any] | None) -> tuple[dict[str, Callable[..., Any]], int | None]:
    """(metrics of held-out rows by their names, steps between two validations)."""
    for callback in callbacks or ():
        if isinstance(callback, Validate):
            every: int | None = callback.every
            return _metrics(callback.metric), None if every is None else int(every)
    return {}, None


def _metrics(given: Any) -> dict[str, Callable[..., Any]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"Validate: metric: got {given!r}, expected {{name: f(est, X_val)}}")
    for name, metric in given.items():
        if not isinstance(name, str) or not callable(metric):
            raise TypeError(
                f"Validate: metric: got {name!r}: {metric!r}, expected a name and f(est, X_val)"
            )
        if name in ("", "gap", "step"):
            raise ValueError(f"Validate: metric: got the name {name!r}, expected another")
    return dict(given)


def callback_events(
    callbacks: Iterable[Any] | None, fit: Fit, validation: Validation | None
) -> list[Event]:
    """The events of an estimator's callbacks."""
    return [
        callback._event(fit, validation)
        if isinstance(callback, Callback)
        else _Calls(callback, fit, validation)
        for callback in callbacks or ()
    ]
