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
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._checks import path_of, real, whole
from ._loop import Event, Fit, Memory, Validation
from ._params import Parameters

if TYPE_CHECKING:
    from ._estimator import EnergyEstimator

__all__ = ["CSVLogger", "Callback", "EarlyStopping", "StopTraining"]

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
        """After a validation (``fit(X, X_val=...)``): metrics of the step, and ``val_gap``."""

    def on_epoch(self, est: EnergyEstimator, epoch: int, metrics: Metrics) -> None:
        """After the step in which a pass over the data ends.

        epoch: passes over data of this size, from 1.
        metrics: {name: mean over the steps of the epoch in this fit}.
        """

    def on_end(self, est: EnergyEstimator) -> None:
        """After the last step, also one that failed: ``history_`` is complete."""

    def _check(self, validated: bool) -> None:
        """ValueError for bad options; validated: there are held-out rows."""

    def _event(self, fit: Fit, validation: Validation | None) -> Event:
        return _Calls(self, fit, validation)


class EarlyStopping(Parameters, Callback):
    """Ends a fit that overfits: needs ``fit(X, X_val=...)``.

    ``val_gap`` is the mean energy of held-out rows minus that of training rows: by how many
    nats training rows are more likely on average, for log Z drops out.  Means over n rows of
    each differ by chance, with the deviation std(E) sqrt(2 / n).

    Parameters
    ----------
    patience : int, default 3
        The fit ends after so many validations in a row with a gap above ``tolerance``.
    tolerance : float, default 0.5
        In nats.
    restore_best : bool, default True
        Go back to the last validation whose gap was not above it, if there was one: to the
        whole state of that step, so that training could go on from there.

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
        self, patience: int = 3, tolerance: float = 0.5, restore_best: bool = True
    ) -> None:
        self.patience = patience
        self.tolerance = tolerance
        self.restore_best = restore_best

    def _check(self, validated: bool) -> None:
        if not validated:
            raise ValueError(
                "EarlyStopping: X_val: got None, expected held-out rows: fit(X, X_val=)"
            )
        whole(self.patience, "EarlyStopping: patience", 1)
        real(self.tolerance, "EarlyStopping: tolerance")

    def _event(self, fit: Fit, validation: Validation | None) -> Event:
        assert validation is not None
        return _StopEarly(self, validation)


class _StopEarly(Event):
    """The state of an `EarlyStopping` in one fit."""

    name = "early_stopping"

    def __init__(self, options: EarlyStopping, validation: Validation) -> None:
        self._options, self._validation = options, validation
        self._best: tuple[int, dict[str, Any]] | None = None
        self._bad = 0

    def memory(self) -> Memory:
        return Memory([[self._bad]], {} if self._best is None else {0: self._best})

    def recall(self, memory: Memory) -> None:
        self._bad, self._best = int(sum(map(sum, memory.numbers))), memory.snapshots.get(0)

    def next(self, step: int) -> int | None:
        return self._validation.next(step)

    def act(self, fit: Fit) -> None:
        options = self._options
        step, gap = self._validation.found[-1]
        if gap <= options.tolerance:
            self._bad = 0
            if options.restore_best:
                self._best = step, fit.snapshot()
            return
        self._bad += 1
        if self._bad < options.patience:
            return
        reason = f"val_gap was above {options.tolerance:g} at {self._bad} validations, "
        reason += f"{gap:.3g} at step {step}"
        if self._best is not None:
            to, snapshot = self._best
            fit.go_back(snapshot)
            reason += f"; went back to step {to}"
        fit.stop(reason)

    def undone(self, fit: Fit) -> None:
        self._bad = 0


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

    def _check(self, validated: bool) -> None:
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
            at, gap = self._validation.found[-1] if self._validation.found else (-1, 0.0)
            if at == step:
                self._call(self._validated, fit, step, latest | {"val_gap": gap})
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
        whole(getattr(callback, "every", 1), f"{type(callback).__name__}: every", 1)
        if isinstance(callback, Callback):
            callback._check(validated)


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
