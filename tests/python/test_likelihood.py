"""Maximum likelihood: what it finds, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import estimators, networks, schedules

LOG_2PI = np.log(2 * np.pi)


def gaussian():
    """-log N(x; mean, (root root')^-1), root upper triangular."""
    start = {"mean": np.zeros(2), "root": np.zeros((2, 2)), "log": np.zeros(2)}

    def energy(p, x):
        upper = np.array([[0.0, 1.0], [0.0, 0.0]])
        z = (x - p["mean"]) @ (p["root"] * upper + np.diag(np.exp(p["log"])))
        return np.sum(0.5 * z**2 - p["log"] + 0.5 * LOG_2PI, axis=1)

    return networks.Function(energy, start, normalized=True)


@pytest.fixture(scope="module")
def rows():
    cov = [[1.0, 0.6], [0.6, 1.5]]
    return np.random.default_rng(1).multivariate_normal([0.5, -0.5], cov, 800)


def fit(rows, **options):
    own = {
        "learning_rate": schedules.Cosine(0.05, steps=1500),
        "batch_size": len(rows),
        "max_steps": 1500,
        "dtype": "float64",
        "random_state": 0,
    }
    return estimators.MaximumLikelihood(gaussian(), **(own | options)).fit(rows)


def log_density(mean, cov, x):
    away = x - mean
    mahalanobis = np.sum(away @ np.linalg.inv(cov) * away, axis=1)
    return -0.5 * (mahalanobis + np.log(np.linalg.det(cov)) + 2 * LOG_2PI)


def test_a_gaussian_has_the_moments_of_the_sample(rows):
    est = fit(rows)
    want = log_density(rows.mean(0), np.cov(rows.T, ddof=0), rows)
    np.testing.assert_allclose(est.score_samples(rows), want, atol=1e-5)
    assert est.log_z_ == 0.0
    assert est.score(rows) == pytest.approx(want.mean(), abs=1e-9)
    assert est.history_["loss"][-1] == pytest.approx(-want.mean(), abs=1e-9)


def test_the_core_s_tractable_networks(rows):
    options = {"batch_size": len(rows), "dtype": "float64", "random_state": 0}
    rate = schedules.Cosine(0.05, steps=1500)
    one = estimators.MaximumLikelihood(
        networks.GaussianMixture(1), learning_rate=rate, max_steps=1500, **options
    ).fit(rows)
    want = log_density(rows.mean(0), np.diag(rows.var(0)), rows)
    np.testing.assert_allclose(one.score_samples(rows), want, atol=1e-5)
    linear = networks.LinearGenerator(1, sigma=0.5)
    pca = estimators.MaximumLikelihood(
        linear, learning_rate=rate, max_steps=1500, **options
    ).fit(rows)
    best = linear.bind_data(rows, dtype="float64")  # in closed form
    assert pca.score(rows) == pytest.approx(-best.energy(rows).mean(), abs=1e-6)
    nice = estimators.MaximumLikelihood(
        networks.NICE(4, 1, 16), learning_rate=3e-3, max_steps=1500, **options
    ).fit(rows)
    truth = log_density(rows.mean(0), np.cov(rows.T, ddof=0), rows)
    assert nice.score(rows) > truth.mean() - 0.02
    for est in (one, pca, nice):
        assert est.log_z_ == est.energy_.log_z_ == 0.0
    assert estimators.CD(networks.NICE(2, 1, 4), max_steps=2).fit(rows).log_z_ == 0.0
    assert not hasattr(estimators.CD(max_steps=2).fit(rows), "log_z_")


def test_the_gradient_is_that_of_the_mean_energy(rows):
    options = {"learning_rate": 0.1, "optimizer": "sgd", "betas": (0, 0)}
    est = fit(rows, max_steps=1, **options)
    start = gaussian().bind(2, dtype="float64")

    def loss(p):
        return np.mean(gaussian().energy(p, rows))

    slope = ebm.grad(loss)(start.parameters())
    for name, value in est.energy_.parameters().items():
        want = start.parameters()[name] - 0.1 * slope[name]
        np.testing.assert_allclose(value, want, rtol=1e-10, err_msg=name)


@pytest.mark.parametrize("network", [networks.MLP((4,)), networks.Function(gaussian().energy)])
def test_other_networks_are_refused(network, rows):
    est = estimators.MaximumLikelihood(network)
    with pytest.raises(ValueError, match=r"maximum_likelihood: network: got .* not normalised"):
        est.fit(rows)
    assert not hasattr(est, "energy_")
    assert not hasattr(est, "log_z_")


def test_it_is_saved_with_what_it_knows(rows, tmp_path):
    est = fit(rows, max_steps=5)
    est.save(tmp_path / "gaussian")
    again = ebm.load(tmp_path / "gaussian")
    np.testing.assert_array_equal(again.score_samples(rows), est.score_samples(rows))
    assert again.network.normalized
    again.partial_fit(rows, n_steps=3)
    est.partial_fit(rows, n_steps=3)
    np.testing.assert_array_equal(again.score_samples(rows), est.score_samples(rows))
