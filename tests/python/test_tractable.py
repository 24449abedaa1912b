"""Networks with a known density: against NumPy and SciPy, integrals, samples, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats

import ebmlib as ebm
from ebmlib import estimators, networks, preprocessing, samplers

KINDS = {
    "nice": networks.NICE(couplings=3, layers=2, width=12),
    "logistic": networks.NICE(couplings=3, layers=2, width=12, prior="logistic"),
    "mixture": networks.GaussianMixture(4),
    "linear": networks.LinearGenerator(2, sigma=0.7),
}


def bind(spec, row, rng, dtype=np.float64):
    """As an energy, with random arrays."""
    bound = networks.BoundNetwork(spec, row, random_state=0, dtype=dtype)
    return bound.set_parameters(
        {k: 0.6 * rng.normal(size=np.shape(a)) for k, a in bound.parameters().items()}
    )


def nice_forward(net, x):
    """Y of one row x, in NumPy."""
    p, spec = net.parameters(), net.network
    parts = [x[0::2].copy(), x[1::2].copy()]
    for i in range(spec.couplings):
        h = parts[i % 2]
        for k in range(spec.layers):
            h = np.logaddexp(0, h @ p[f"c{i}.l{k}.w"] + p[f"c{i}.l{k}.b"])
        parts[1 - i % 2] += h @ p[f"c{i}.l{spec.layers}.w"] + p[f"c{i}.l{spec.layers}.b"]
    return np.concatenate(parts) * np.exp(p["log_scale"])


@pytest.mark.parametrize("kind", KINDS)
def test_densities_integrate_to_one(kind, rng):
    net = bind(KINDS[kind], 2, rng)
    x = net.sample(4000, random_state=0)
    low, high = x.min(0) - 12 * x.std(0), x.max(0) + 12 * x.std(0)
    axes = [np.linspace(a, b, 1201) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    assert np.exp(net.log_prob(grid)).sum() * cell == pytest.approx(1, abs=1e-6)


PRIORS = {"nice": scipy.stats.norm, "logistic": scipy.stats.logistic}


@pytest.mark.parametrize("kind", PRIORS)
@pytest.mark.parametrize("row", [(2,), (5,), (2, 3, 1)])
def test_nice_is_its_change_of_variables(row, kind, rng):
    net = bind(KINDS[kind], row, rng)
    x = rng.normal(size=(4, *row))
    for one, got in zip(x.reshape(4, -1), net.log_prob(x), strict=True):
        y = nice_forward(net, one)
        steps = 1e-5 * np.eye(len(one))
        jacobian = [
            (nice_forward(net, one + h) - nice_forward(net, one - h)) / 2e-5 for h in steps
        ]
        log_det = np.linalg.slogdet(np.array(jacobian))[1]
        assert got == pytest.approx(PRIORS[kind].logpdf(y).sum() + log_det, rel=1e-8)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-4)])
@pytest.mark.parametrize("row", [(2,), (7,), (2, 3, 1)])
@pytest.mark.parametrize("kind", PRIORS)
def test_nice_generates_its_inverse(row, dtype, tolerance, kind, rng):
    net = bind(KINDS[kind], row, rng, dtype)
    z = rng.normal(size=(6, net.latent))
    x = net.generate(z)
    assert x.dtype == dtype
    assert x.shape == (6, *row)
    back = [nice_forward(net, one.astype(np.float64)) for one in x.reshape(6, -1)]
    if kind == "logistic":
        z, tolerance = scipy.special.log_ndtr(z) - scipy.special.log_ndtr(-z), 10 * tolerance
    np.testing.assert_allclose(back, z, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", PRIORS)
def test_nice_starts_as_its_prior(kind, rng):
    prior = "normal" if kind == "nice" else kind
    net = networks.NICE(2, 2, 8, prior=prior).bind(5, random_state=3, dtype=np.float64)
    x = 9 * rng.normal(size=(9, 5))
    np.testing.assert_allclose(net.log_prob(x), PRIORS[kind].logpdf(x).sum(1), rtol=1e-13)
    x = net.sample(4000, random_state=1)
    # A false alarm in 1e-6 for a fresh seed.
    assert scipy.stats.kstest(x.ravel(), PRIORS[kind].cdf).pvalue > 1e-6


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 2e-9), (np.float32, 3e-6)])
def test_logistic_numbers_are_made_of_normal_ones(dtype, tolerance):
    net = networks.NICE(1, 1, 2, prior="logistic").bind(2, dtype=dtype)
    z = np.concatenate([np.linspace(-12, 12, 4001), [0, -3, 3, 1e-3, -1e-6]]).reshape(-1, 2)
    z = z.astype(dtype)
    exact = np.float64(z)
    expected = scipy.special.log_ndtr(exact) - scipy.special.log_ndtr(-exact)
    np.testing.assert_allclose(net.generate(z), expected, rtol=tolerance, atol=tolerance)
    slope = ebm.grad(lambda z: np.sum(net.generate(z)))(z)
    log_cdf = scipy.special.log_ndtr(exact) + scipy.special.log_ndtr(-exact)
    want = np.exp(scipy.stats.norm.logpdf(exact) - log_cdf)
    np.testing.assert_allclose(slope, want, rtol=1e-6 if dtype == np.float64 else 3e-4)


@pytest.mark.parametrize("components", [1, 4])
def test_mixture_is_scipys(components, rng):
    net = bind(networks.GaussianMixture(components), (3, 1), rng)
    p = net.parameters()
    x = rng.normal(size=(20, 3, 1))
    each = [
        scipy.stats.multivariate_normal.logpdf(x[:, :, 0], m, np.diag(np.exp(2 * s)))
        for m, s in zip(p["means"], p["log_std"], strict=True)
    ]
    weights = scipy.special.log_softmax(p["logits"])[:, None]
    expected = scipy.special.logsumexp(np.array(each) + weights, axis=0)
    np.testing.assert_allclose(net.log_prob(x), expected, rtol=1e-12)
    far = np.full((1, 3, 1), 60.0)  # where every density is zero in floats
    assert np.isfinite(net.log_prob(far)).all()
    assert np.isfinite(net.score(far)).all()


def test_mixture_draws_its_components():
    net = networks.GaussianMixture(4).bind(2, dtype=np.float64)
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    means = 100.0 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    log_std = np.log([[1, 2], [3, 4], [5, 6], [7, 8]])
    net.set_parameters({"means": means, "log_std": log_std, "logits": np.log(weights)})
    x = net.sample(20000, random_state=0)
    which = np.argmin(((x[:, None] - means) ** 2).sum(2), axis=1)
    counts = np.bincount(which, minlength=4)
    # Each statistic within 5 standard errors: false alarms 6e-7 each, 20 of them.
    assert (abs(counts - 20000 * weights) < 5 * np.sqrt(20000 * weights * (1 - weights))).all()
    for k in range(4):
        u = (x[which == k] - means[k]) / np.exp(log_std[k])
        assert (abs(u.mean(0)) < 5 / np.sqrt(len(u))).all()
        assert (abs(u.var(0) - 1) < 5 * np.sqrt(2 / len(u))).all()


def linear(size, latent, rng, sigma=0.7, dtype=np.float64):
    g = networks.LinearGenerator(latent).bind(size, dtype=dtype)
    return g.set_parameters(
        {
            "w": rng.normal(size=(size, latent)),
            "mu": rng.normal(size=size),
            "log_sigma": np.log(sigma),
        }
    )


def covariance(g):
    p = {name: array.astype(np.float64) for name, array in g.parameters().items()}
    size = len(p["mu"])
    return p["w"] @ p["w"].T + np.exp(2 * p["log_sigma"]) * np.eye(size), p


@pytest.mark.parametrize(("size", "latent"), [(6, 2), (3, 3), (2, 4), (1, 1)])
def test_linear_generator_has_its_closed_forms(size, latent, rng):
    g = linear(size, latent, rng)
    c, p = covariance(g)
    x = rng.normal(size=(9, size))
    law = scipy.stats.multivariate_normal(p["mu"], c)
    np.testing.assert_allclose(g.energy.log_prob(x), law.logpdf(x).reshape(9), rtol=1e-11)
    np.testing.assert_allclose(g.score(x), -np.linalg.solve(c, (x - p["mu"]).T).T, rtol=1e-10)
    assert g.entropy() == pytest.approx(law.entropy(), rel=1e-12)
    np.testing.assert_allclose(g.entropy_gradient(), np.linalg.solve(c, p["w"]), rtol=1e-10)


def test_linear_entropy_gradient_is_that_of_the_entropy(rng):
    g = linear(5, 2, rng)
    w, step = g.parameters()["w"], 1e-6 * rng.normal(size=(5, 2))
    slope = np.sum(g.entropy_gradient() * 2 * step)
    after = g.set_parameters({"w": w + step}).entropy()
    before = g.set_parameters({"w": w - step}).entropy()
    assert slope == pytest.approx(after - before, rel=1e-6)


def test_linear_energies_keep_their_digits_in_float32(rng):
    """On the plane and near it, where |r|^2 / sigma^2 alone is a hundred million."""
    g = linear(50, 5, rng, sigma=1e-3, dtype=np.float32)
    c, p = covariance(g)
    x = rng.normal(size=(20, 5)) @ p["w"].T + p["mu"] + 1e-3 * rng.normal(size=(20, 50))
    x = x.astype(np.float32)
    centred = x.astype(np.float64) - p["mu"]
    expected = 0.5 * np.einsum("ni,ij,nj->n", centred, np.linalg.inv(c), centred)
    expected += 0.5 * np.linalg.slogdet(2 * np.pi * c)[1]
    np.testing.assert_allclose(g.energy(x), expected, atol=0.3)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_slopes(kind, rng):
    net = bind(KINDS[kind], (2, 2), rng)
    x = rng.normal(size=(5, 2, 2))
    step = 1e-6 * rng.normal(size=x.shape)
    difference = net.log_prob(x + step) - net.log_prob(x - step)
    np.testing.assert_allclose((net.score(x) * 2 * step).sum((1, 2)), difference, rtol=1e-5)
    np.testing.assert_allclose(ebm.jit(net.score)(x), net.score(x), rtol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_density(kind, rng):
    """E[f(x)] of 40,000 samples against quadrature: within 5 standard errors, so false alarms
    are 6e-7 each, of 5 functions.
    """
    net = bind(KINDS[kind], 2, rng)
    x = net.sample(40000, random_state=7)
    low, high = x.min(0) - 8 * x.std(0), x.max(0) + 8 * x.std(0)
    axes = [np.linspace(a, b, 1001) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    weight = np.exp(net.log_prob(grid))
    weight /= weight.sum()
    for f in (
        lambda x: x[:, 0],
        lambda x: x[:, 1],
        lambda x: x[:, 0] * x[:, 1],
        lambda x: np.tanh(x[:, 0]) ** 2,
        lambda x: np.cos(3 * x[:, 1]),
    ):
        drawn = f(x)
        assert abs(drawn.mean() - weight @ f(grid)) < 5 * drawn.std() / np.sqrt(len(x))
    assert abs((-net.log_prob(x)).mean() - weight @ net(grid)) < 5 * net(x).std() / 200


def test_bind_data_is_the_most_likely(rng):
    x = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 8)) + 0.3 * rng.normal(size=(300, 8))
    g = networks.LinearGenerator(3).bind_data(x.reshape(300, 4, 2), dtype=np.float64)
    assert g.shape == (4, 2)
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    assert g.sigma**2 == pytest.approx(values[:5].mean(), rel=1e-10)
    rows, arrays = x.reshape(300, 4, 2), g.parameters()
    best = g.energy(rows).mean()
    # Where all slopes are zero, steps both ways change the energy by the same.
    for name, array in arrays.items():
        step = 1e-4 * rng.normal(size=array.shape)
        up, down = (
            g.set_parameters({name: array + sign * step}).energy(rows).mean()
            for sign in (1, -1)
        )
        g.set_parameters(arrays)
        assert min(up, down) > best, name
        assert abs(up - down) < 1e-2 * (up + down - 2 * best), name
    for bad in (np.ones((5, 3)), rng.normal(size=(3, 8)), x[:, :3]):
        with pytest.raises(ValueError, match="latent: got 3 for data of"):
            networks.LinearGenerator(3).bind_data(bad)


def test_a_likelihood_of_the_data_before_a_transform(rng):
    x = rng.uniform(0.05, 0.95, (6, 3))
    logit = preprocessing.Logit(0.0).fit(x)
    net = bind(KINDS["mixture"], 3, rng)
    slopes = np.log(x) + np.log1p(-x)
    expected = net.log_prob(np.log(x) - np.log1p(-x)) - slopes.sum(1)
    np.testing.assert_allclose(net.log_prob(x, logit), expected, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_estimators_train_them(kind, rng):
    x = rng.normal(size=(60, 2)).astype(np.float32)
    walk = samplers.Langevin(n_steps=2)
    est = estimators.PCD(KINDS[kind], walk, max_steps=3, batch_size=16, random_state=0).fit(x)
    assert est.energy_.log_z_ == 0.0
    assert est.energy_.sample(4, random_state=0).shape == (4, 2)
    start = networks.BoundNetwork(KINDS[kind], 2, random_state=0)
    assert any((a != start.parameters()[k]).any() for k, a in est.energy_.parameters().items())
