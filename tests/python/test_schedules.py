"""Schedules: closed forms, PyTorch's, and the rates that training has used."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from ebmlib import _core, estimators, networks, samplers, schedules

STEPS = np.arange(60)


def cosine(t, steps, floor):
    return floor + (1 - floor) * (1 + np.cos(np.pi * np.minimum(1, t / steps))) / 2


FORMS = [
    (schedules.Constant(0.3), lambda t: 1.0 + 0 * t),
    (schedules.Constant(0.3, warmup=7), lambda t: np.minimum(1, (t + 1) / 7)),
    (schedules.Cosine(0.3, 40, 0.2), lambda t: cosine(t, 40, 0.2)),
    (
        schedules.Cosine(0.3, 40, 0.2, warmup=5),
        lambda t: cosine(t, 40, 0.2) * np.minimum(1, (t + 1) / 5),
    ),
    (schedules.Linear(0.3, 25, 0.1), lambda t: 1 - 0.9 * np.minimum(1, t / 25)),
    (schedules.Exponential(0.3, 0.7, 9), lambda t: 0.7 ** (t / 9)),
    (
        schedules.Piecewise(0.3, (10, 11, 40), 0.5),
        lambda t: 0.5 ** ((t >= 10) + 1.0 * (t >= 11) + (t >= 40)),
    ),
    (schedules.Piecewise(0.3), lambda t: 1.0 + 0 * t),
]
NAMES = [str(schedule)[:40] for schedule, _ in FORMS]


@pytest.fixture
def rows(rng):
    return rng.normal(size=(50, 2)).astype(np.float32)


def small(rate, **changes):
    options = {
        "network": networks.MLP((8,)),
        "sampler": samplers.Langevin(step_size=0.05, n_steps=2),
        "max_steps": 60,
        "batch_size": 16,
        "random_state": 0,
    }
    return estimators.PCD(learning_rate=rate, **(options | changes))


@pytest.mark.parametrize(("schedule", "form"), FORMS, ids=NAMES)
def test_schedules_are_their_closed_forms(schedule, form):
    np.testing.assert_allclose(schedule(STEPS), 0.3 * form(STEPS), rtol=1e-13, atol=1e-16)
    assert schedule(5).shape == ()
    assert schedule(STEPS).dtype == np.float64


@pytest.mark.parametrize(("schedule", "form"), FORMS, ids=NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_uses_and_records_them(schedule, form, dtype, rows):
    est = small(schedule, dtype=dtype).fit(rows)
    used = est.history_["learning_rate"]
    tolerance = 1e-13 if dtype == "float64" else 2e-7
    np.testing.assert_allclose(used, 0.3 * form(STEPS), rtol=tolerance, atol=1e-16)


def test_sgd_moves_by_the_rate_of_the_step(rows):
    # All rows, chains that do not walk: each gradient is that of l2 (2 mean E^2).
    schedule = schedules.Linear(0.05, 4, 0.5, warmup=2)
    still = {"network": networks.MLP(()), "sampler": samplers.Langevin(n_steps=0)}
    options = still | {"data_noise": 0.0, "l2": 0.5, "batch_size": 50, "dtype": "float64"}

    def cd(steps):
        est = estimators.CD(
            learning_rate=schedule,
            optimizer="sgd",
            betas=(0, 0),
            max_steps=steps,
            random_state=0,
            **options,
        )
        return est.fit(rows).energy_.parameters()

    p = cd(0)
    for t in range(6):
        e = rows @ p["l0.w"][:, 0] + p["l0.b"]
        slope = 2 * e / len(rows)
        rate = schedule(t)
        p["l0.w"] = p["l0.w"] - rate * rows.T.astype(float) @ slope[:, None]
        p["l0.b"] = p["l0.b"] - rate * slope.sum(keepdims=True)
    got = cd(6)
    for name, array in p.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-11)


def test_they_are_those_of_pytorch(torch):
    named = torch.optim.lr_scheduler
    pairs = [
        (
            schedules.Cosine(0.1, 40, 0.2),
            lambda sgd: named.CosineAnnealingLR(sgd, 40, eta_min=0.02),
        ),
        (
            schedules.Linear(0.1, 25, 0.1),
            lambda sgd: named.LinearLR(sgd, 1.0, 0.1, total_iters=25),
        ),
        (schedules.Exponential(0.1, 0.9, 1), lambda sgd: named.ExponentialLR(sgd, 0.9)),
        (
            schedules.Piecewise(0.1, (10, 20), 0.5),
            lambda sgd: named.MultiStepLR(sgd, [10, 20], 0.5),
        ),
    ]
    for ours, theirs in pairs:
        sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        scheduler = theirs(sgd)
        rates = []
        for _ in range(40):
            rates.append(sgd.param_groups[0]["lr"])
            sgd.step()
            scheduler.step()
        np.testing.assert_allclose(ours(np.arange(40)), rates, rtol=1e-9, err_msg=repr(ours))


def test_runs_in_parts_have_the_rates_and_bits_of_the_whole(rows):
    rate = schedules.Cosine(1e-2, 50, warmup=10)
    whole = small(rate, max_steps=40).fit(rows)
    parts = small(rate, max_steps=7).fit(rows)
    parts.partial_fit(rows, n_steps=6)
    parts = pickle.loads(pickle.dumps(parts))
    parts.partial_fit(rows, n_steps=27)
    for name, values in whole.history_.items():
        np.testing.assert_array_equal(parts.history_[name], values)
    np.testing.assert_array_equal(parts.energy(rows), whole.energy(rows))


def test_a_constant_schedule_is_the_number(rows):
    plain, constant = small(1e-2).fit(rows), small(schedules.Constant(1e-2)).fit(rows)
    np.testing.assert_array_equal(constant.energy(rows), plain.energy(rows))


def test_another_rate_from_the_next_part_on(rows):
    est = small(1e-2, max_steps=3).fit(rows)
    est.set_params(learning_rate=2e-2).partial_fit(rows, n_steps=2)
    est.set_params(learning_rate=schedules.Linear(1e-1, 10)).partial_fit(rows, n_steps=2)
    np.testing.assert_allclose(
        est.history_["learning_rate"], [0.01] * 3 + [0.02] * 2 + [0.05, 0.04], rtol=1e-6
    )


def test_defaults_are_those_of_the_core():
    for name in schedules.__all__:
        schedule = getattr(schedules, name)()
        table = _core.options("schedule", schedule._kind)
        assert schedule._spec()[1] == {key: value for key, (value, _) in table.items()}


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (schedules.Constant(0.0), "training: learning_rate: got 0"),
        (schedules.Constant(warmup=-1), "constant: warmup: got -1"),
        (schedules.Cosine(steps=0), "cosine: steps: got 0"),
        (schedules.Linear(floor=2), "linear: floor: got 2, expected a number from 0 to 1"),
        (schedules.Exponential(factor=0), "exponential: factor: got 0"),
        (schedules.Piecewise(milestones=(0,)), "piecewise: milestones: got 0"),
        (schedules.Piecewise(factor=np.nan), "piecewise: factor: got nan"),
    ],
)
def test_bad_options_say_why(schedule, message, rows):
    with pytest.raises(ValueError, match=message):
        small(schedule).fit(rows)


def test_they_are_parameters_of_parameters(rows):
    base = pytest.importorskip("sklearn.base")
    est = base.clone(small(schedules.Cosine(steps=10)))
    est.set_params(learning_rate__steps=20, learning_rate__rate=0.5)
    assert est.learning_rate == schedules.Cosine(0.5, steps=20)
