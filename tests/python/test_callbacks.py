"""Callbacks: when they are called, with what, and that training does not see them."""

from __future__ import annotations

import csv
import pickle

import numpy as np
import pytest

from ebmlib import callbacks, estimators, networks, samplers

HOOKS = ["on_begin", "on_step", "on_validation", "on_epoch", "on_end"]


@pytest.fixture
def rows(rng):
    return rng.normal(size=(100, 2)).astype(np.float32)


def small(*called, cls=estimators.PCD, **changes):
    options = {
        "network": networks.MLP((8,)),
        "sampler": samplers.Langevin(step_size=0.05, n_steps=2),
        "max_steps": 10,
        "batch_size": 30,
        "random_state": 0,
    }
    return cls(callbacks=list(called), **(options | changes))


class Recorder(callbacks.Callback):
    """Writes down every call, and what the estimator is at that moment."""

    def __init__(self, every=1, x=None):
        self.every, self.x, self.calls = every, x, []

    def note(self, hook, est, *args):
        energy = None if self.x is None else est.energy(self.x)
        self.calls.append((hook, est.n_steps_, energy, *args))

    def on_begin(self, est):
        self.note("on_begin", est)

    def on_step(self, est, step, metrics):
        self.note("on_step", est, step, metrics)

    def on_validation(self, est, step, metrics):
        self.note("on_validation", est, step, metrics)

    def on_epoch(self, est, epoch, metrics):
        self.note("on_epoch", est, epoch, metrics)

    def on_end(self, est):
        self.note("on_end", est)

    def of(self, hook):
        return [call[1:] for call in self.calls if call[0] == hook]


def test_hooks_are_called_at_their_steps(rows):
    told = Recorder(every=4)
    est = small(told).fit(rows, X_val=rows[:20])
    assert [n for n, _ in told.of("on_begin")] == [0]
    assert [step for *_, step, _ in told.of("on_step")] == [4, 8]
    assert [step for *_, step, _ in told.of("on_validation")] == list(range(1, 11))
    # 100 rows by 30: passes end in steps 4, 7 and 10.
    assert [(n, epoch) for n, _, epoch, _ in told.of("on_epoch")] == [(4, 1), (7, 2), (10, 3)]
    assert [n for n, _ in told.of("on_end")] == [10]
    assert [call[0] for call in told.calls[-2:]] == ["on_epoch", "on_end"]
    told.calls.clear()
    est.partial_fit(rows, n_steps=4)
    assert [n for n, _ in told.of("on_begin")] == [10]
    assert [step for *_, step, _ in told.of("on_step")] == [12]
    assert [epoch for *_, epoch, _ in told.of("on_epoch")] == [4]
    assert told.of("on_validation") == []


def test_metrics_are_the_rows_of_the_history(rows):
    told = Recorder()
    history = small(told).fit(rows, X_val=rows[:20]).history_
    for n, _, step, metrics in told.of("on_step"):
        assert n == step
        assert metrics == {name: history[name][step - 1] for name in metrics}
        assert set(metrics) == set(history) - {"val_step", "val_gap"}
    gaps = [metrics["val_gap"] for *_, metrics in told.of("on_validation")]
    assert gaps == history["val_gap"].tolist()
    means = [metrics["loss"] for *_, metrics in told.of("on_epoch")]
    parts = np.split(history["loss"], [4, 7])
    np.testing.assert_allclose(means, [part.mean() for part in parts], rtol=1e-12)


def test_the_estimator_is_fitted_to_the_step(rows):
    told = Recorder(every=3, x=rows)
    small(told).fit(rows)
    for _, energy, step, _ in told.of("on_step"):
        want = small(max_steps=step).fit(rows).energy(rows)
        np.testing.assert_array_equal(energy, want)


def sample_and_pickle(est, step, metrics):
    est.sample(5)
    pickle.dumps(est)


@pytest.mark.parametrize("cls", [estimators.CD, estimators.PCD])
def test_bits_are_those_of_a_run_without_them(cls, rows, tmp_path):
    plain = small(cls=cls, max_steps=30).fit(rows)
    called = [
        Recorder(x=rows),
        sample_and_pickle,
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.EarlyStopping(tolerance=100),
    ]
    busy = small(*called, cls=cls, max_steps=30).fit(rows, X_val=rows[:20])
    np.testing.assert_array_equal(busy.energy(rows), plain.energy(rows))
    np.testing.assert_array_equal(busy.sample(7), plain.sample(7))
    for name, values in plain.history_.items():
        np.testing.assert_array_equal(busy.history_[name], values)


def test_functions_and_objects_of_any_class(rows):
    class Plain:
        def __init__(self):
            self.epochs = []

        def on_epoch(self, est, epoch, metrics):
            self.epochs.append(epoch)

    steps, plain = [], Plain()

    def every_third(est, step, metrics):
        steps.append(step)

    every_third.every = 3
    small(every_third, plain, lambda est, step, metrics: steps.append(-step)).fit(rows)
    assert [step for step in steps if step > 0] == [3, 6, 9]
    assert [-step for step in steps if step < 0] == list(range(1, 11))
    assert plain.epochs == [1, 2, 3]


# ---- ends ----


def stopping(hook):
    class Stopping(Recorder):
        def note(self, name, est, *args):
            super().note(name, est, *args)
            if name == hook and est.n_steps_ in (0, 7):
                raise callbacks.StopTraining("seven" if est.n_steps_ else "at once")

    return Stopping()


@pytest.mark.parametrize("hook", HOOKS[:-1])
def test_stop_training_ends_the_fit(hook, rows):
    told, other = stopping(hook), Recorder()
    est = small(told, other).fit(rows, X_val=rows[:20])
    n, reason = (0, "at once") if hook == "on_begin" else (7, "seven")
    assert (est.n_steps_, est.stop_reason_) == (n, reason)
    assert len(est.history_["loss"]) == n
    assert [n for n, _ in other.of("on_end")] == [n]
    assert len(other.of("on_step")) == n
    np.testing.assert_array_equal(est.energy(rows), small(max_steps=n).fit(rows).energy(rows))
    est.set_params(callbacks=None).partial_fit(rows, n_steps=10 - n)
    assert est.stop_reason_ is None
    np.testing.assert_array_equal(est.energy(rows), small().fit(rows).energy(rows))


@pytest.mark.parametrize("hook", HOOKS)
def test_an_exception_leaves_the_last_whole_step(hook, rows):
    class Failing(Recorder):
        def note(self, name, est, *args):
            super().note(name, est, *args)
            if name == hook and est.n_steps_ in (0, 7, 10):
                raise ZeroDivisionError(hook)

    failing, other = Failing(), Recorder()
    est = small(other, failing)
    with pytest.raises(ZeroDivisionError, match=hook):
        est.fit(rows, X_val=rows[:20])
    n = {"on_begin": 0, "on_end": 10}.get(hook, 7)
    assert est.n_steps_ == len(est.history_["loss"]) == n
    assert [n for n, _ in other.of("on_end")] == [n]
    np.testing.assert_array_equal(est.energy(rows), small(max_steps=n).fit(rows).energy(rows))


def test_early_stopping_goes_back_to_before_the_gap(rng):
    # Twelve rows and a large network: training learns the rows by heart.
    x = rng.normal(size=(112, 2)).astype(np.float32)
    options = {
        "network": networks.MLP((64,)),
        "sampler": samplers.Langevin(step_size=0.05, n_steps=10),
        "learning_rate": 1e-4,
        "data_noise": 0.0,
        "max_steps": 400,
    }
    free = small(**options).fit(x[:12], X_val=x[12:])
    gaps, steps = free.history_["val_gap"], free.history_["val_step"]
    bad = gaps > 0.9
    runs = [k for k in range(2, 20) if bad[k - 2 : k + 1].all()]
    stopped, good = steps[runs[0]], steps[: runs[0] + 1][~bad[: runs[0] + 1]][-1]
    stop = callbacks.EarlyStopping(patience=3, tolerance=0.9, restore_best=False)
    est = small(stop, **options).fit(x[:12], X_val=x[12:])
    assert est.n_steps_ == stopped < 400
    assert est.stop_reason_.startswith("val_gap was above 0.9 at 3 validations, ")
    best = callbacks.EarlyStopping(patience=3, tolerance=0.9)
    est = small(best, **options).fit(x[:12], X_val=x[12:])
    assert est.n_steps_ == len(est.history_["loss"]) == good < stopped
    assert est.stop_reason_.endswith(f"at step {stopped}; went back to step {good}")
    assert est.history_["val_step"][-1] == good
    want = small(**(options | {"max_steps": int(good)})).fit(x[:12])
    np.testing.assert_array_equal(est.energy(x), want.energy(x))
    est.set_params(callbacks=None).partial_fit(x[:12], n_steps=5)
    want.partial_fit(x[:12], n_steps=5)
    np.testing.assert_array_equal(est.energy(x), want.energy(x))


def test_csv_logger_writes_what_history_has(rows, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old\n")
    est = small(callbacks.CSVLogger(path, every=3)).fit(rows)
    est.partial_fit(rows, n_steps=4)
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["step"]) for line in lines] == [3, 6, 9, 12]
    for line in lines:
        for name, values in est.history_.items():
            assert float(line[name]) == values[int(line["step"]) - 1]


# ---- contracts ----


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (print, "PCD: callbacks: got <built-in function print>, expected a list"),
        ([3], r"PCD: callbacks: got 3, expected f\(est, step, metrics\) or an object with"),
        (
            [callbacks.CSVLogger],
            "callbacks: got <class 'ebmlib.callbacks.CSVLogger'>",
        ),
        ([Recorder(every=0)], "every: got 0, expected a whole number of at least 1"),
        ([callbacks.EarlyStopping()], "EarlyStopping: X_val: got None, expected held-out rows"),
    ],
)
def test_bad_callbacks_say_why(given, message, rows):
    est = small().fit(rows)
    before = est.energy(rows)
    with pytest.raises(ValueError, match=message):
        est.set_params(callbacks=given).fit(rows)
    np.testing.assert_array_equal(est.energy(rows), before)


def test_bad_patience_says_why(rows):
    with pytest.raises(ValueError, match="EarlyStopping: patience: got 0"):
        small(callbacks.EarlyStopping(patience=0)).fit(rows, X_val=rows)


def test_estimators_with_callbacks_are_cloned_and_pickled(rows):
    base = pytest.importorskip("sklearn.base")
    stop = callbacks.EarlyStopping(patience=2)
    est = small(stop, callbacks.CSVLogger("log.csv"))
    copy = base.clone(est)
    assert repr(copy) == repr(est)
    assert "EarlyStopping(patience=2)" in repr(est)
    assert copy.callbacks[0] is not stop
    again = pickle.loads(pickle.dumps(small(Recorder()).fit(rows)))
    assert len(again.callbacks[0].of("on_step")) == 10
