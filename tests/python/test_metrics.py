"""Metrics against closed forms, SciPy and scikit-learn.

Statistical tests have fixed seeds; with others each would fail in less than 1 run of 1,000.
"""

from __future__ import annotations

import numpy as np
import pytest

from ebmlib import datasets, errors, estimators, metrics, networks, preprocessing

LOG_2PI = np.log(2.0 * np.pi)


def normal(x, mean=0.0):
    """Log density of N(mean, I)."""
    return -0.5 * np.sum((np.asarray(x) - mean) ** 2, axis=1) - 0.5 * x.shape[1] * LOG_2PI


def rows(n, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


class Tractable:
    """An energy that says its log Z, as estimators do."""

    log_z_ = LOG_2PI

    def energy(self, x):
        return 0.5 * np.sum(x**2, axis=1)


def test_log_likelihood_is_a_mean_with_its_error():
    x = rows(4000)
    found = metrics.log_likelihood(Tractable(), x)
    values = normal(x)
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(4000), rel=1e-12)
    assert (found.n, found.unit) == (4000, "nats")
    assert abs(found.mean + 1.0 + LOG_2PI) < 4 * found.error  # E log N = -(1 + log 2 pi)
    assert metrics.log_likelihood(normal, x) == found
    shifted = metrics.log_likelihood(Tractable(), x, log_z=LOG_2PI + 3.0)
    assert shifted.mean == pytest.approx(found.mean - 3.0, abs=1e-12)
    assert np.isnan(metrics.log_likelihood(normal, x[:1]).error)


def test_log_likelihood_is_of_the_space_of_its_rows():
    x = 3.0 * rows(500, 3) + 2.0
    scale = preprocessing.Standardize().fit(x)
    slope = -np.log(x.std(axis=0)).sum()
    inner, outer = normal(scale.transform(x)), metrics.log_likelihood(normal, x, None, scale)
    assert outer.mean == pytest.approx(inner.mean() + slope, rel=1e-6)
    bits = metrics.log_likelihood(normal, x, transform=scale, unit="bits/dim")
    assert bits.mean == pytest.approx(-outer.mean / (3 * np.log(2)), rel=1e-12)
    assert bits.mean == pytest.approx(
        preprocessing.bits_per_dim(inner, 3, scale.log_det(x)).mean(), rel=1e-6
    )


def test_sums_over_the_plane():
    box = (-9, 9, -9, 9)
    assert metrics.log_z(lambda x: normal(x) + 2.5, box) == pytest.approx(2.5, abs=1e-5)
    assert metrics.log_z(Tractable(), box) == pytest.approx(LOG_2PI, abs=1e-5)
    truth, other = (
        datasets.GaussianMixture([[0, 0]], 1.0),
        datasets.GaussianMixture([[1, 2]], 2.0),
    )
    exact = 2 * np.log(2.0) + (2 * 1.0 + 5.0) / (2 * 4.0) - 1.0  # KL of two Gaussians
    assert metrics.kl_divergence(truth, other, extent=box) == pytest.approx(exact, abs=1e-4)
    assert metrics.kl_divergence(normal, Tractable(), extent=box) == pytest.approx(0, abs=1e-5)
    wrong = metrics.kl_divergence(normal, Tractable(), log_z=LOG_2PI + 1, extent=box)
    assert wrong == pytest.approx(1.0, abs=1e-4)  # a log Z too large costs what it is too large
    assert metrics.kl_divergence(datasets.checkerboard(), truth) > 0.5  # p has holes


def test_kl_divergence_is_the_gap_of_likelihoods():
    law, other = datasets.gaussians8(), datasets.GaussianMixture([[0, 0], [1, 1]], 2.0)
    x = law.sample(4000, random_state=0)
    values = law.log_density(x) - other.log_density(x)
    gap, error = values.mean(), values.std() / np.sqrt(len(x))
    exact = metrics.kl_divergence(law, other, extent=(-6, 6, -6, 6))
    assert abs(gap - exact) < 4 * error


def test_energies_are_models():
    network = networks.MLP((8,)).bind(2, random_state=0)
    est = estimators.CD(networks.MLP((8,)), max_steps=2, random_state=0).fit(rows(64))
    x = rows(20).astype(np.float32)
    for model, energy in ((network, network), (est, est.energy)):
        found = metrics.log_likelihood(model, x, log_z=0.0)
        assert found.mean == pytest.approx(-energy(x).mean(), rel=1e-6)
        on_grid = metrics.log_z(model, (-2, 2, -2, 2), n=50)
        points, area = datasets.grid((-2, 2, -2, 2), 50)
        assert on_grid == datasets.log_z(energy(points), area)
        assert metrics.kl_divergence(normal, model, extent=(-2, 2, -2, 2), n=50) > 0.0


def test_log_z_is_the_models_own():
    g = networks.LinearGenerator(latent=1, sigma=0.7).bind(2, random_state=0)
    x = g.sample(200, random_state=0)
    exact = g.energy.log_prob(x).mean()
    for model in (g, g.energy):
        assert metrics.log_likelihood(model, x).mean == pytest.approx(exact, rel=1e-6)
    with pytest.raises(errors.NotFittedError):
        metrics.log_likelihood(estimators.MaximumLikelihood(), x)


def test_compare_likelihoods():
    exact, narrow = rows(5000, seed=1), 0.5 * rows(3000, seed=2)
    found = metrics.compare_likelihoods(normal, narrow, exact)
    assert abs(found.gap - 0.75) < 4 * found.error  # (1 - 1/4) d / 2
    assert found.error == pytest.approx(
        np.hypot(found.samples.error, found.exact.error), rel=1e-12
    )
    same = metrics.compare_likelihoods(Tractable(), rows(5000, seed=3), exact, log_z=0.0)
    assert abs(same.gap) < 4 * same.error


def test_effective_sample_size():
    weights = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        logs = np.log(weights) + np.array([[-900.0], [900.0], [0.0]])
    np.testing.assert_allclose(metrics.effective_sample_size(logs), [36 / 14, 3, 1])
    np.testing.assert_allclose(metrics.effective_sample_size(logs.T, axis=0), [36 / 14, 3, 1])


def test_chain_diagnostics():
    pytest.importorskip("arviz")
    rng, rho = np.random.default_rng(0), 0.9
    x = np.zeros((4000, 4, 2))
    for t in range(1, len(x)):  # an autoregression beside independent draws
        x[t, :, 0] = rho * x[t - 1, :, 0] + np.sqrt(1 - rho**2) * rng.normal(size=4)
        x[t, :, 1] = rng.normal(size=4)
    found = metrics.chain_diagnostics(x)
    assert found.ess_bulk.shape == (2,)
    assert found.ess_bulk[0] == pytest.approx(16000 * (1 - rho) / (1 + rho), rel=0.25)
    assert found.ess_bulk[1] == pytest.approx(16000, rel=0.1)
    assert found.r_hat.max() < 1.02
    x[:, 0] += 3.0
    assert metrics.chain_diagnostics(x).r_hat.min() > 1.2


def test_distances_are_their_double_sums():
    x, y = rows(30, 3), rows(20, 3, seed=1) + 0.3
    pairs = lambda a, b: np.linalg.norm(a[:, None] - b[None], axis=2)  # noqa: E731
    exact = 2 * pairs(x, y).mean() - pairs(x, x).mean() - pairs(y, y).mean()
    assert metrics.energy_distance(x, y).value == pytest.approx(exact, rel=1e-10)
    rbf = pytest.importorskip("sklearn.metrics.pairwise").rbf_kernel
    k = lambda a, b: rbf(a, b, gamma=1 / (2 * 0.7**2)).mean()  # noqa: E731
    exact = k(x, x) + k(y, y) - 2 * k(x, y)
    assert metrics.mmd(x, y, scale=0.7).value == pytest.approx(exact, rel=1e-10)
    both = np.concatenate([x, y])
    median = np.median(pairs(both, both)[np.triu_indices(50, 1)])
    assert metrics.mmd(x, y).value == pytest.approx(metrics.mmd(x, y, scale=median).value)
    a, b = np.sort(x[:, 0]), np.sort(y[:, 0])
    scipy = pytest.importorskip("scipy.stats").energy_distance  # in one dimension: its square
    found = metrics.energy_distance(a[:, None], b[:, None]).value
    assert found == pytest.approx(scipy(a, b) ** 2, rel=1e-8)


@pytest.mark.parametrize("distance", [metrics.energy_distance, metrics.mmd])
def test_p_values(distance):
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):  # of two sets of one law: uniform on k/20
        x, y = rng.normal(size=(15, 2)), rng.normal(size=(10, 2))
        p.append(distance(x, y, n_permutations=19, random_state=rng).p_value)
    assert 2 <= np.sum(np.array(p) <= 0.05 + 1e-9) <= 24  # Binomial(200, 1/20): 4 deviations
    assert abs(np.mean(p) - 0.525) < 4 * 0.29 / np.sqrt(200)
    x, y = rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) * 1.8
    assert distance(x, y, n_permutations=99, random_state=0).p_value == 0.01
    assert distance(x, x, n_permutations=9, random_state=0).p_value == 1.0  # ties count
    one, other = (distance(x, y, n_permutations=50, random_state=7) for _ in range(2))
    assert one == other


def test_errors_of_estimates():
    exact = rows(5, 3)
    estimate = np.stack([exact + 1.0, exact - 3.0])  # two repeats
    found = metrics.score_error(estimate, exact)
    assert found == pytest.approx((2.0, np.sqrt(5.0), -1.0))
    assert metrics.score_error(estimate.mean(axis=0), exact) == pytest.approx((1, 1, -1))
    gradient = {"b": exact[0], "W": exact}
    half = {"W": 0.5 * exact, "b": 0.5 * exact[0]}
    assert metrics.gradient_share(half, gradient) == pytest.approx(0.5)
    assert metrics.gradient_share([exact, exact[0]], [exact, exact[0]]) == pytest.approx(1.0)
    assert metrics.gradient_share([0.0, 1.0], [1.0, 0.0]) == 0.0
