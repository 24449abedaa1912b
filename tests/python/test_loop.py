"""The loop of a fit: when events act, and that training does not see them."""

from __future__ import annotations

import numpy as np
import pytest

from ebmlib import estimators, networks, samplers
from ebmlib._loop import Event
from ebmlib.errors import StateError


@pytest.fixture
def rows(rng):
    return rng.normal(size=(100, 2)).astype(np.float32)


class Watched(estimators.PCD):
    """PCD with further events."""

    extra: tuple[Event, ...] = ()

    def _events(self, fit):
        return [*super()._events(fit), *self.extra]


def small(*extra, **changes):
    options = {
        "network": networks.MLP((8,)),
        "sampler": samplers.Langevin(step_size=0.05, n_steps=2),
        "max_steps": 30,
        "batch_size": 32,
        "random_state": 0,
    }
    est = Watched(**(options | changes))
    est.extra = extra
    return est


class Every(Event):
    """Acts at each n-th step, and writes down what it is told."""

    def __init__(self, n, stop_at=None):
        self.n, self.stop_at, self.said = n, stop_at, []

    def begin(self, fit):
        self.said.append(("begin", fit.first, fit.last))

    def next(self, step):
        return step // self.n * self.n + self.n

    def act(self, fit):
        self.said.append(fit.step)
        if fit.step == self.stop_at:
            fit.stop("enough")

    def end(self, fit):
        self.said.append(("end", fit.step, fit.reason))


class Raising(Event):
    def next(self, step):
        return 7

    def act(self, fit):
        raise RuntimeError("at seven")


class Polled(Event):
    def __init__(self):
        self.seen = []

    def poll(self, fit):
        self.seen.append((fit.step, fit.latest()))
        if len(self.seen) == 3:
            fit.stop("polled three times")


def test_events_act_at_their_steps(rows):
    every = Every(8)
    est = small(every).fit(rows)
    assert every.said == [("begin", 0, 30), 8, 16, 24, ("end", 30, None)]
    every.said.clear()
    est.partial_fit(rows, n_steps=10)
    assert every.said == [("begin", 30, 40), 32, 40, ("end", 40, None)]


def test_training_has_the_same_bits_whatever_the_events_are(rows):
    plain = small().fit(rows)
    busy = small(Every(1), Every(7), Event()).fit(rows, X_val=rows[:10])
    np.testing.assert_array_equal(busy.energy(rows), plain.energy(rows))
    for name, values in plain.history_.items():
        np.testing.assert_array_equal(busy.history_[name], values)
    trained = [est._trainer.get() for est in (plain, busy)]
    assert trained[0].keys() == trained[1].keys()
    for name, array in trained[0].items():
        np.testing.assert_array_equal(trained[1][name], array)


def test_a_stop_ends_at_a_whole_step(rows):
    every, other = Every(4, stop_at=12), Every(5)
    est = small(every, other).fit(rows)
    assert every.said[-2:] == [12, ("end", 12, "enough")]
    assert other.said[1:] == [5, 10, ("end", 12, "enough")]
    assert est.n_steps_ == len(est.history_["loss"]) == 12
    whole = small(max_steps=12).fit(rows)
    np.testing.assert_array_equal(est.energy(rows), whole.energy(rows))


def test_an_error_leaves_the_last_whole_step(rows):
    every = Every(5)
    est = small(every, Raising())
    with pytest.raises(RuntimeError, match="at seven"):
        est.fit(rows)
    assert every.said[1:] == [5, ("end", 7, None)]
    assert est.n_steps_ == len(est.history_["gap"]) == 7
    whole = small(max_steps=7).fit(rows)
    np.testing.assert_array_equal(est.energy(rows), whole.energy(rows))


def test_polls_come_between_steps_and_may_stop(rows):
    polled = Polled()
    est = small(polled, max_steps=10**7).fit(rows)
    steps = [step for step, _ in polled.seen]
    assert 0 < steps[0] < steps[1] < steps[2] == est.n_steps_
    for step, latest in polled.seen:
        assert latest == {name: est.history_[name][step - 1] for name in latest}
        assert "gap" in latest


def test_validations_are_spread_over_the_run(rows):
    est = small(max_steps=50).fit(rows, X_val=rows[:10])
    assert len(est.history_["val_step"]) == 20
    assert est.history_["val_step"][[0, -1]].tolist() == [3, 50]
    est.partial_fit(rows, n_steps=2, X_val=rows[:10])
    assert est.history_["val_step"][-3:].tolist() == [50, 51, 52]
    few = small(max_steps=3).fit(rows, X_val=rows[:10])
    assert few.history_["val_step"].tolist() == [1, 2, 3]


def test_arrays_belong_to_the_run_while_it_runs(rows):
    class Greedy(Event):
        def poll(self, fit):
            fit.trainer.get()

    with pytest.raises(StateError, match="running"):
        small(Greedy(), max_steps=10**7).fit(rows)
