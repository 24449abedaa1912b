"""Held-out rows: what is asked of them, and models selected by the answers."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import callbacks, estimators, networks, samplers

ROWS = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
HELD_OUT = ROWS[:30] + np.float32(0.25)


def small(*called, cls=estimators.PCD, **changes):
    options = {
        "network": networks.MLP((8,)),
        "sampler": samplers.Langevin(step_size=0.05, n_steps=2),
        "max_steps": 20,
        "batch_size": 32,
        "random_state": 0,
    }
    return cls(callbacks=list(called), **(options | changes))


class Closeness:
    """A metric that is best at a step, so that tests know which."""

    def __init__(self, target):
        self.target = target

    def __call__(self, est, x):
        return -abs(est.n_steps_ - self.target)


def select(target, every=4, **changes):
    ask = callbacks.Validate({"closeness": Closeness(target)}, every=every)
    best = callbacks.KeepBest("val_closeness", mode="max")
    return small(ask, best, **changes)


# ---- metrics ---------------------------------------------------------------------------------


def test_metrics_are_asked_of_the_estimator_as_it_is():
    seen = []

    def energy(est, x):
        seen.append(x)
        return est.energy(x).mean()

    ask = callbacks.Validate({"energy": energy, "steps": lambda est, x: est.n_steps_}, every=6)
    given = HELD_OUT.tolist()
    est = small(ask).fit(ROWS, X_val=given)
    assert est.history_["val_step"].tolist() == [6, 12, 18, 20]
    assert est.history_["val_steps"].tolist() == [6, 12, 18, 20]
    assert est.history_["val_gap"].shape == (4,)
    assert all(x is given for x in seen)
    for step, value in zip(
        *(est.history_[f"val_{n}"] for n in ("step", "energy")), strict=True
    ):
        want = small(max_steps=int(step)).fit(ROWS).energy(HELD_OUT).mean()
        assert value == pytest.approx(want, rel=1e-6)
    plain = small().fit(ROWS)
    np.testing.assert_array_equal(est.energy(ROWS), plain.energy(ROWS))
    np.testing.assert_array_equal(est.buffer_, plain.buffer_)


def test_without_every_there_are_twenty_and_callbacks_are_told():
    told = []

    class Told(callbacks.Callback):
        def on_validation(self, est, step, metrics):
            told.append((step, metrics["val_steps"], metrics["val_gap"]))

    ask = callbacks.Validate({"steps": lambda est, x: est.n_steps_})
    est = small(ask, Told(), max_steps=50).fit(ROWS, X_val=HELD_OUT)
    assert len(est.history_["val_steps"]) == 20
    names = ("val_step", "val_steps", "val_gap")
    assert told == list(zip(*(est.history_[name].tolist() for name in names), strict=True))


def test_metrics_that_come_and_go_are_nan_in_between():
    def with_metrics(*names):
        return [callbacks.Validate({name: lambda est, x: 1.0 for name in names}, every=2)]

    est = small(max_steps=4, warm_start=True)
    for names in ((), ("a",), ("a", "b"), ("b",)):
        est.set_params(callbacks=with_metrics(*names)).fit(ROWS, X_val=HELD_OUT)
    est.set_params(callbacks=None).partial_fit(ROWS, n_steps=1)
    nan = np.nan
    assert est.history_["val_step"].tolist() == [2, 4, 6, 8, 10, 12, 14, 16]
    np.testing.assert_array_equal(est.history_["val_a"], [nan, nan, 1, 1, 1, 1, nan, nan])
    np.testing.assert_array_equal(est.history_["val_b"], [nan, nan, nan, nan, 1, 1, 1, 1])
    assert np.isfinite(est.history_["val_gap"]).all()


def test_frames_keep_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, columns=["a", "b"])
    ask = callbacks.Validate({"score": lambda est, x: est.score(x)})
    est = small(ask).fit(frame, X_val=frame[:20])  # a warning would be an error
    assert np.isfinite(est.history_["val_score"]).all()


@pytest.mark.parametrize("value", ["much", [1.0, 2.0], None, 1j])
def test_what_is_no_number_ends_the_fit_between_steps(value):
    est = small(callbacks.Validate({"bad": lambda est, x: value}, every=5))
    with pytest.raises(TypeError, match=r"Validate: metric: bad: got .*, expected a number"):
        est.fit(ROWS, X_val=HELD_OUT)
    assert est.n_steps_ == 5
    assert est.energy(ROWS).shape == (100,)


# ---- selection -------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [estimators.PCD, estimators.ScoreMatching])
@pytest.mark.parametrize("target", [1, 12, 20])
def test_what_is_kept_is_that_of_the_best_step(cls, target):
    est = select(target, cls=cls, ema=0.9).fit(ROWS, X_val=HELD_OUT)
    best = {1: 4, 12: 12, 20: 20}[target]
    want = small(cls=cls, ema=0.9, max_steps=best).fit(ROWS)
    np.testing.assert_array_equal(est.energy(ROWS), want.energy(ROWS))
    np.testing.assert_array_equal(est.sample(5), want.sample(5))
    for name, array in want._trainer.get().items():
        if name.startswith(("params", "ema", "adam", "buffer")):
            np.testing.assert_array_equal(est._trainer.get()[name], array, err_msg=name)
    # The steps still count, and nothing of the history is lost.
    assert est.n_steps_ == len(est.history_["loss"]) == 20
    assert est.history_["val_step"].tolist() == [4, 8, 12, 16, 20]
    assert est.history_["best_step"].tolist() == [best]
    assert est.history_["best_value"].tolist() == [-abs(best - target)]
    assert ("kept_best" in est.diagnose().codes) == (best < 20)


def test_a_fit_goes_on_from_what_was_kept():
    est = select(12).fit(ROWS, X_val=HELD_OUT)
    copies = [pickle.loads(pickle.dumps(est)), copy.copy(est)]
    est.partial_fit(ROWS, n_steps=6, X_val=HELD_OUT)
    assert est.history_["best_step"].tolist() == [12, 24]
    assert est.n_steps_ == 26
    for other in copies:
        other.partial_fit(ROWS, n_steps=6, X_val=HELD_OUT)
        np.testing.assert_array_equal(other.energy(ROWS), est.energy(ROWS))


def test_values_that_are_not_finite_are_never_the_best():
    values = iter([np.nan, 3.0, np.inf, 5.0, -np.inf])
    ask = callbacks.Validate({"odd": lambda est, x: next(values)}, every=4)
    est = small(ask, callbacks.KeepBest("val_odd", mode="max")).fit(ROWS, X_val=HELD_OUT)
    assert est.history_["best_step"].tolist() == [16]
    nothing = callbacks.Validate({"odd": lambda est, x: np.nan}, every=4)
    est = small(nothing, callbacks.KeepBest("val_odd")).fit(ROWS, X_val=HELD_OUT)
    assert "best_step" not in est.history_
    np.testing.assert_array_equal(est.energy(ROWS), small().fit(ROWS).energy(ROWS))


def test_a_stop_keeps_the_best_too_and_an_error_does_not():
    def stop(est, step, metrics):
        if step == 15:
            raise callbacks.StopTraining("enough")

    def fail(est, step, metrics):
        if step == 15:
            raise RuntimeError("at fifteen")

    est = select(8)
    est.callbacks.append(stop)
    est.fit(ROWS, X_val=HELD_OUT)
    assert (est.n_steps_, est.stop_reason_) == (15, "enough")
    want = small(max_steps=8).fit(ROWS).energy(ROWS)
    np.testing.assert_array_equal(est.energy(ROWS), want)
    est = select(8)
    est.callbacks.append(fail)
    with pytest.raises(RuntimeError, match="at fifteen"):
        est.fit(ROWS, X_val=HELD_OUT)
    np.testing.assert_array_equal(est.energy(ROWS), small(max_steps=15).fit(ROWS).energy(ROWS))
    est.callbacks.pop()
    est.resume(ROWS, X_val=HELD_OUT)
    assert est.n_steps_ == 20
    np.testing.assert_array_equal(est.energy(ROWS), want)


def test_an_error_at_the_last_step_leaves_the_choice_to_resume():
    def fail(est, step, metrics):
        if step == 20:
            raise KeyboardInterrupt

    est = select(8)
    est.callbacks.append(fail)
    with pytest.raises(KeyboardInterrupt):
        est.fit(ROWS, X_val=HELD_OUT)
    assert "best_step" not in est.history_
    est.callbacks.pop()
    est.resume(ROWS, X_val=HELD_OUT)
    assert est.history_["best_step"].tolist() == [8]
    np.testing.assert_array_equal(est.energy(ROWS), small(max_steps=8).fit(ROWS).energy(ROWS))


def test_a_likelihood_selects_a_mixture():
    # Thirty components of thirty rows: training goes on to their single rows.
    best = callbacks.KeepBest("val_likelihood", mode="max")
    ask = callbacks.Validate({"likelihood": lambda est, x: est.score(x)}, every=10)
    options = {"cls": estimators.MaximumLikelihood, "network": networks.GaussianMixture(30)}
    options |= {"learning_rate": 0.05, "max_steps": 600}
    chosen = small(ask, best, **options).fit(ROWS[:30], X_val=ROWS[30:])
    found = chosen.history_["val_likelihood"]
    assert chosen.score(ROWS[30:]) == pytest.approx(found.max(), abs=1e-5)
    assert found[-1] < found.max() - 0.5
    report = chosen.diagnose()
    finding = report.findings[report.codes.index("kept_best")]
    assert finding.figures["step"] == chosen.history_["val_step"][found.argmax()]


# ---- early stopping by a metric --------------------------------------------------------------


@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping_watches_any_metric(restore):
    ask = callbacks.Validate({"closeness": Closeness(8)}, every=2)
    stop = callbacks.EarlyStopping(3, None, restore, metric="val_closeness", mode="max")
    est = small(ask, stop).fit(ROWS, X_val=HELD_OUT)
    assert est.n_steps_ == (8 if restore else 14)
    reason = "val_closeness was not better than 0 at 3 validations, -6 at step 14"
    assert est.stop_reason_ == reason + ("; went back to step 8" if restore else "")
    want = small(max_steps=est.n_steps_).fit(ROWS).energy(ROWS)
    np.testing.assert_array_equal(est.energy(ROWS), want)
    # Steps of two are not enough where three are asked for.
    stop = callbacks.EarlyStopping(3, 3.0, True, metric="val_closeness", mode="max")
    est = small(ask, stop).fit(ROWS, X_val=HELD_OUT)
    assert est.stop_reason_.startswith("val_closeness was not better than -2 at 3 validations")
    assert est.n_steps_ == 6


def test_stopping_and_keeping_agree():
    ask = callbacks.Validate({"closeness": Closeness(8)}, every=2)
    stop = callbacks.EarlyStopping(2, metric="val_closeness", mode="max")
    best = callbacks.KeepBest("val_closeness", mode="max")
    for called in ((ask, stop, best), (best, stop, ask)):
        est = small(*called).fit(ROWS, X_val=HELD_OUT)
        assert est.n_steps_ == est.history_["best_step"][-1] == 8
        assert est.history_["val_step"].tolist() == [2, 4, 6, 8]
        want = small(max_steps=8).fit(ROWS).energy(ROWS)
        np.testing.assert_array_equal(est.energy(ROWS), want)


def test_files_have_what_was_asked(tmp_path):
    est = select(12).fit(ROWS, X_val=HELD_OUT)
    est.save(tmp_path / "est")
    again = ebm.load(tmp_path / "est")
    for name, values in est.history_.items():
        np.testing.assert_array_equal(again.history_[name], values)
    np.testing.assert_array_equal(again.energy(ROWS), est.energy(ROWS))
    assert "kept_best" in again.diagnose().codes
