"""Divergence: bad steps planted one by one, and taken back."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from ebmlib import callbacks, estimators, networks, random, samplers, schedules
from ebmlib._loop import Event, Rollback
from ebmlib.errors import DivergenceWarning, NumericalError

BATCH = 8


def linear(**changes):
    """A linear energy and chains that stay where the buffer is; fitted for three steps."""
    options = {
        "network": networks.MLP(()),
        "sampler": samplers.Langevin(n_steps=0),
        "optimizer": "sgd",
        "betas": (0, 0),
        "learning_rate": 1e-6,
        "data_noise": 0.0,
        "batch_size": BATCH,
        "buffer_size": BATCH,
        "reinit": 0.0,
        "max_steps": 3,
        "random_state": 0,
    }
    return estimators.PCD(**(options | changes))


def planted(est, rows, chains, **params):
    """The estimator after three good steps, with other chains and parameters written in."""
    est.fit(np.zeros((BATCH, 1), np.float32))
    trainer = est._trainer
    arrays = {f"params.{k}": np.full_like(a, 0) for k, a in trainer.get("params").items()}
    for name, value in params.items():
        key = f"params.{name.replace('_', '.')}"
        arrays[key] = np.full_like(arrays[key], value)
    trainer.set(arrays)
    trainer.set({"buffer.x": np.full_like(trainer.get("buffer")["x"], chains)})
    trainer.set({"buffer.age": np.full_like(trainer.get("buffer")["age"], 1)})
    return est, np.full((BATCH, 1), rows, np.float32)


def message_of(est, rows):
    """What the fourth step says; it must leave everything as the third one left it."""
    before = est._trainer.get()
    with pytest.raises(NumericalError) as caught:
        est.partial_fit(rows, n_steps=2)
    for name, array in est._trainer.get().items():
        if not name.startswith(("guard.", "metrics.", "batch.", "rate")):
            np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert est.n_steps_ == len(est.history_["loss"]) == 3
    text = str(caught.value)
    assert "the arrays are those of step 3 " in text
    return re.search(r"pcd: step 4: got a (.*) that is not finite or too large", text).group(1)


TERMS = {
    "sample": {"rows": 0, "chains": np.inf},
    "mean energy of data": {"rows": 10, "chains": 0, "l0_w": 3e38},
    "mean energy of samples": {"rows": 0, "chains": 10, "l0_w": 3e38},
    "loss": {"rows": 1, "chains": 0, "l0_w": 2e8},
    "gradient of l0.w": {"rows": 1e30, "chains": 0},
}


@pytest.mark.parametrize("term", TERMS)
def test_each_term_is_named(term):
    assert message_of(*planted(linear(), **TERMS[term])) == term


# E = l1.b + l1.w swish(l0.b + x l0.w), and at swish(0) = 0 its slopes in l0.b, l0.w are
# l1.w / 2, x l1.w / 2, and in l1.w 0.  The loss 2 l2 E^2 multiplies them with 4 l2 E.
GRADIENTS = {
    "l0.w": {"rows": 1, "chains": 1, "l1_w": 1e30, "l1_b": 1},
    "l0.b": {"rows": 0, "chains": 0, "l1_w": 1e30, "l1_b": 1},
    "l1.w": {"rows": 0, "chains": 0, "l0_b": 1e30, "l1_b": 1},
    "l1.b": {"rows": 0, "chains": 0, "l1_b": 1e-14},
}


@pytest.mark.parametrize("param", GRADIENTS)
def test_the_parameter_with_the_bad_gradient_is_named(param):
    est, rows = planted(linear(network=networks.MLP((1,))), **GRADIENTS[param])
    est.set_params(l2=1e34 if param == "l1.b" else 0.1)
    assert message_of(est, rows) == f"gradient of {param}"
    names = list(est.energy_.parameters())
    bad = ~np.isfinite(est._trainer.get("metrics.norms")["params"])
    assert names[int(np.argmax(bad))] == param


PARAMETERS = {
    "l0.w": {"rows": 1, "chains": 1, "l1_w": 1, "l1_b": 1},
    "l0.b": {"rows": 0, "chains": 0, "l1_w": 1, "l1_b": 1},
    "l1.w": {"rows": 0, "chains": 0, "l0_b": 1, "l1_b": 1},
    "l1.b": {"rows": 0, "chains": 0, "l1_b": 1},
}


@pytest.mark.parametrize("param", PARAMETERS)
def test_the_parameter_with_the_bad_value_is_named(param):
    est, rows = planted(linear(network=networks.MLP((1,)), l2=10.0), **PARAMETERS[param])
    est.set_params(learning_rate=1e38)
    assert message_of(est, rows) == f"parameter {param}"


def test_norms_are_those_of_the_last_gradients():
    # E = w x + b without chains that walk: with l2 = 0 the gradient is (mean x - mean x-, 0).
    est, rows = planted(linear(l2=0.0), rows=3.0, chains=1.0)
    est.partial_fit(rows, n_steps=1)
    norms = est._trainer.get("metrics.norms")["params"]
    assert list(est.energy_.parameters()) == ["l0.w", "l0.b"]
    np.testing.assert_allclose(norms, [2.0, 0.0], atol=1e-6)
    assert est.history_["grad_norm"][-1] == pytest.approx(2.0)


# ---- rollback ----


@pytest.fixture
def rows(rng):
    return rng.normal(size=(100, 2)).astype(np.float32)


class Spoiler(Event):
    """Writes NaN into the chains at a step, so often."""

    def __init__(self, at, times):
        self.at, self.left = at, times

    def next(self, step):
        return self.at if step < self.at else None

    def act(self, fit):
        if self.left > 0:
            self.left -= 1
            chains = fit.trainer.get("buffer")["x"]
            fit.trainer.set({"buffer.x": np.full_like(chains, np.nan)})


class Spoiled(estimators.PCD):
    """PCD with a spoiler."""

    spoiler: Event | None = None

    def _events(self, fit):
        return [*super()._events(fit), *([self.spoiler] if self.spoiler else [])]


def small(spoiler=None, **changes):
    options = {
        "network": networks.MLP((8,)),
        "sampler": samplers.Langevin(step_size=0.05, n_steps=2),
        "max_steps": 60,
        "batch_size": 30,
        "buffer_size": 30,
        "reinit": 0.0,
        "random_state": 0,
        "on_divergence": "rollback",
        "snapshot_every": 20,
    }
    est = Spoiled(**(options | changes))
    est.spoiler = spoiler
    return est


def test_a_bad_step_is_taken_back(rows):
    with pytest.warns(DivergenceWarning, match="pcd: step 31: got a sample that is not finite"):
        est = small(Spoiler(30, 1)).fit(rows)
    assert est.history_["rollback_step"].tolist() == [31]
    assert est.history_["rollback_to"].tolist() == [20]
    np.testing.assert_allclose(est.history_["rollback_rate"], [5e-4])
    assert est.n_steps_ == len(est.history_["loss"]) == 60
    np.testing.assert_allclose(est.history_["learning_rate"], [1e-3] * 20 + [5e-4] * 40)
    # The same by hand: what was learned in 20 steps, another key, half the rate.
    hand = small(max_steps=20).fit(rows)
    key = hand._trainer.get()["key"]
    backoff = np.asarray(0.5, np.float32)
    hand._trainer.set({"key": random.fold_in(key, -1), "backoff": backoff})
    hand.partial_fit(rows, n_steps=40)
    np.testing.assert_array_equal(est.energy(rows), hand.energy(rows))
    for name in ("loss", "gap", "grad_norm"):
        np.testing.assert_array_equal(est.history_[name], hand.history_[name])
    plain = small().fit(rows)
    assert (plain.history_["loss"][20:] != est.history_["loss"][20:]).all()


def test_rollbacks_go_further_back_until_they_give_up(rows):
    est = small(Spoiler(30, 9), max_rollbacks=4)
    with (
        pytest.warns(DivergenceWarning) as said,
        pytest.raises(NumericalError, match="step 31"),
    ):
        est.fit(rows)
    assert est.history_["rollback_step"].tolist() == [31] * 4
    assert est.history_["rollback_to"].tolist() == [20, 0, 20, 0]
    np.testing.assert_allclose(
        est.history_["rollback_rate"], 1e-3 * 0.5 ** np.arange(1, 5), rtol=1e-6
    )
    assert [str(one.message).rpartition(" ")[2] for one in said] == [
        "0.0005",
        "0.00025",
        "0.000125",
        "6.25e-05",
    ]
    assert est.n_steps_ == len(est.history_["loss"]) == 30
    assert np.isfinite(est.energy(rows)).all()


def test_a_rate_that_is_too_high_is_lowered_until_training_holds(rows):
    options = {"learning_rate": 100.0, "optimizer": "sgd", "betas": (0, 0), "max_steps": 300}
    with pytest.raises(NumericalError):
        small(on_divergence="raise", **options).fit(rows)
    with pytest.warns(DivergenceWarning):
        est = small(**options).fit(rows)
    rates = est.history_["rollback_rate"]
    np.testing.assert_allclose(rates, 100 * 0.5 ** np.arange(1, len(rates) + 1))
    assert est.history_["learning_rate"][-1] == rates[-1]
    assert est.n_steps_ == len(est.history_["loss"]) == 300
    for name, values in est.history_.items():
        assert np.isfinite(values).all(), name
    assert (est.history_["rollback_to"] < est.history_["rollback_step"]).all()


def test_chains_that_run_away_are_taken_back_to_where_they_were_sound(rows):
    """The loss is too large only long after all is lost: the gap says it in time."""
    options = {
        "network": networks.MLP((64, 64)),
        "sampler": samplers.Langevin(step_size=0.3, n_steps=20),
        "learning_rate": 1e-2,
        "l2": 0.0,
        "reinit": 0.05,
        "max_steps": 600,
    }
    with pytest.raises(NumericalError, match="too large"):
        small(on_divergence="raise", **options).fit(rows)
    with pytest.warns(DivergenceWarning, match="chains have run away"):
        est = small(**options).fit(rows)
    assert est.n_steps_ == 600
    assert np.abs(est.history_["gap"]).max() < 500


def test_the_lower_rate_lasts_and_is_pickled(rows):
    rate = schedules.Linear(1e-3, 100)
    with pytest.warns(DivergenceWarning):
        est = small(Spoiler(30, 1), learning_rate=rate, max_steps=50).fit(rows)
    assert est.history_["rollback_rate"][0] == pytest.approx(0.5 * rate(20))
    est.spoiler = None
    again = pickle.loads(pickle.dumps(est))
    for each in (est, again):
        each.partial_fit(rows, n_steps=10)
        np.testing.assert_allclose(
            each.history_["learning_rate"][50:], 0.5 * rate(np.arange(50, 60)), rtol=1e-6
        )
    np.testing.assert_array_equal(est.energy(rows), again.energy(rows))
    assert est.fit(rows).history_["learning_rate"][0] == pytest.approx(1e-3)


def test_snapshots_do_not_change_the_bits(rows):
    plain = small(on_divergence="raise").fit(rows)
    safe = small(snapshot_every=1).fit(rows)
    np.testing.assert_array_equal(safe.energy(rows), plain.energy(rows))
    assert safe.history_.keys() == plain.history_.keys()


def test_undone_validations_and_epochs_come_again(rows):
    told = []

    class Epochs(callbacks.Callback):
        def on_epoch(self, est, epoch, metrics):
            told.append((est.n_steps_, epoch))

    with pytest.warns(DivergenceWarning):
        est = small(Spoiler(30, 1), callbacks=[Epochs()]).fit(rows, X_val=rows[:20])
    assert est.history_["val_step"].tolist() == list(range(3, 61, 3))
    ends = [(4, 1), (7, 2), (10, 3), (14, 4), (17, 5), (20, 6), (24, 7), (27, 8), (30, 9)]
    assert told[:12] == [*ends, *ends[6:]]


def test_four_snapshots_last_of_them_all():
    class Fake:
        first = step = 100
        estimator = None
        x = np.zeros((1, 2))

        def snapshot(self):
            return {}

        def metrics(self, since):
            return {"gap": np.zeros(10)}

    fit = Fake()
    rollback = Rollback(fit, every=10, limit=3)
    rollback.begin(fit)
    for number in range(1, 200):
        assert rollback.next(fit.step) == fit.step + 10
        fit.step += 10
        rollback.act(fit)
        back = sorted(number - (step - 100) // 10 for step, _ in rollback._kept.values())
        assert back[0] == 0
        assert number % 8 in back
        assert len(back) <= 4
        assert number < 8 or 4 <= back[-1] < 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"on_divergence": "ignore"},
            "on_divergence: got 'ignore', expected raise or",
        ),
        ({"snapshot_every": 0}, "snapshot_every: got 0, expected a whole number of at least 1"),
        ({"max_rollbacks": -1}, "max_rollbacks: got -1"),
    ],
)
def test_bad_options_say_why(changes, message, rows):
    with pytest.raises(ValueError, match=message):
        small(**changes).fit(rows)
