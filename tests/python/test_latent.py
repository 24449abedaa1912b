"""Chains in the latents of generators: posteriors, and the refinement of samples."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import networks, samplers
from ebmlib.errors import ShapeError
from tests.python.test_metropolis import MEANS, SIGMA, WEIGHTS, mixture

# At most 30 means, each nearly normal: 30 x 6e-7 is one false alarm in 50,000.
ERRORS = 5.0
N = 20_000


class Curve:
    """A generator of bent rows: z (N, 2) to (N, 2)."""

    sigma, latent = 0.5, 2

    def __call__(self, z):
        return np.stack([z[:, 0] + 0.5 * z[:, 1] ** 2, np.tanh(z[:, 1]) - z[:, 0]], axis=1)


class Line:
    """A generator of exactly N(0, 1)."""

    sigma, latent = np.sqrt(0.5), 1

    def __call__(self, z):
        return np.sqrt(0.5) * z


def largest_error(a, b):
    """The largest difference of the means of features of two independent sets, in errors."""

    def features(x):
        i, j = np.triu_indices(x.shape[1])
        pairs = x[:, i] * x[:, j]
        return np.concatenate([x, pairs, np.tanh(2 * x)], axis=1)

    a, b = features(a), features(b)
    errors = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
    return np.max(np.abs(a.mean(0) - b.mean(0)) / errors)


def joint_draws(g, n, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, g.latent))
    mean = g(z)
    return z, mean + g.sigma * rng.normal(size=mean.shape)


# ---- posteriors ------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["full", "prior"])
@pytest.mark.parametrize(
    "walk",
    [
        samplers.HMC(0.2, 3, n_steps=8),
        samplers.MALA(0.05, n_steps=12),
        samplers.MALA(0.05, noise=0.5, n_steps=12),
    ],
    ids=repr,
)
def test_posterior_chains_leave_the_joint_law(walk, gradient):
    # z of (z, x) is an exact draw of q(z|x): so are the ends of chains that begin there.
    g = Curve()
    z, x = joint_draws(g, N, 0)
    end, info = walk.sample(
        samplers.posterior(g, x, gradient), z, random_state=1, return_info=True
    )
    assert 0.05 < info["accepted"].mean() < 0.99
    moved = np.concatenate([end, x], axis=1)
    fresh = np.concatenate(joint_draws(g, 20 * N, 2), axis=1)
    assert largest_error(moved, fresh) < ERRORS
    # The same test sees a posterior that is not the right one.
    wrong = walk.sample(samplers.posterior(g, x + 0.2, gradient), z, random_state=1)
    assert largest_error(np.concatenate([wrong, x], axis=1), fresh) > 2 * ERRORS


def test_the_gradients_are_the_full_one_and_the_prior_s():
    g = Curve()
    z, x = joint_draws(g, 50, 0)
    full, prior = samplers.posterior(g, x), samplers.posterior(g, x, "prior")
    want = 0.5 * np.sum(z**2, axis=1) + np.sum((x - g(z)) ** 2, axis=1) / (2 * g.sigma**2)
    np.testing.assert_allclose(full(z), want, rtol=1e-14)
    np.testing.assert_allclose(ebm.jit(prior)(z), want, rtol=1e-14)
    np.testing.assert_allclose(ebm.grad(lambda z: np.sum(prior(z)))(z), z, rtol=1e-14)
    one = np.ones(50)
    jacobian = np.array([[one, z[:, 1]], [-one, np.cosh(z[:, 1]) ** -2]])  # of x_i in z_j
    by_hand = z + np.einsum("ni,ijn->nj", (g(z) - x) / g.sigma**2, jacobian)
    np.testing.assert_allclose(ebm.grad(lambda z: np.sum(full(z)))(z), by_hand, rtol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_linear_posteriors_have_their_closed_form(dtype):
    g = networks.LinearGenerator(latent=2, sigma=0.7).bind(3, random_state=0, dtype=dtype)
    w = g.parameters()["w"].astype(float)
    w = w if w.shape == (3, 2) else w.T
    x = np.repeat(g.sample(1, random_state=1), N, axis=0)
    walk = samplers.HMC(0.3, 5, n_steps=40)
    z = walk.sample(samplers.posterior(g, x), np.zeros((N, 2), dtype), random_state=0)
    assert z.dtype == dtype
    precision = np.eye(2) + w.T @ w / g.sigma**2
    offset = x[0].astype(float) - g(np.zeros((1, 2)))[0]
    mean = np.linalg.solve(precision, w.T @ offset) / g.sigma**2
    fresh = np.random.default_rng(3).multivariate_normal(mean, np.linalg.inv(precision), 20 * N)
    assert largest_error(z.astype(float), fresh) < ERRORS


def test_latents_of_another_dtype_are_taken():
    g = networks.MLPGenerator(latent=2, sigma=0.5).bind(3, random_state=0)
    x, z = g.sample(5, random_state=0, return_latent=True)
    energy = samplers.posterior(g, x)
    np.testing.assert_allclose(energy(z.astype(float)), energy(z), rtol=1e-5)
    assert samplers.MALA().sample(energy, z.astype(float), random_state=0).dtype == float
    want = 3 * np.log(0.5 * np.sqrt(2 * np.pi)) + np.log(2 * np.pi)
    np.testing.assert_allclose(-g.log_joint(x, z), energy(z) + want, rtol=1e-5)


# ---- refinement ------------------------------------------------------------------------------


def normal(x):
    return 0.5 * np.sum(x**2, axis=1)


@pytest.mark.parametrize(
    ("target", "variance"), [("exact", 1.0), ("flat", 1.0), ("tilted", 0.5)]
)
def test_targets_of_a_perfect_generator(target, variance):
    # Grathwohl's p = q = N(0, 1): refinement must keep it, and the tilted law is N(0, 1/2).
    walk = samplers.HMC(0.4, 4, n_steps=60)
    x, latent, info = samplers.refine(
        normal, Line(), N, target, walk, random_state=0, return_latent=True, return_info=True
    )
    assert info["acceptance"].mean() > 0.8
    assert abs(x.var() / variance - 1) < ERRORS * np.sqrt(2 / N)
    assert abs(x.mean()) < ERRORS * np.sqrt(variance / N)
    np.testing.assert_array_equal(x, Line()(latent["z"]) + Line.sigma * latent["eps"])
    if target == "exact":
        assert abs(latent["z"].var() - 1) < ERRORS * np.sqrt(2 / N)
        assert abs(np.corrcoef(latent["z"][:, 0], x[:, 0])[0, 1]) < ERRORS / np.sqrt(N)


@pytest.mark.parametrize(
    "walk",
    [
        samplers.MALA.tied(0.3, n_steps=12),
        samplers.MALA.as_printed(0.3, n_steps=12),
        samplers.HMC(0.2, 3, n_steps=8),
    ],
    ids=repr,
)
def test_refinement_leaves_its_exact_law(walk):
    # Under "exact" z ~ N(0, I) and x ~ p are independent; eps = (x - g(z)) / sigma.
    def draws(n, seed):
        rng = np.random.default_rng(seed)
        x = MEANS[rng.choice(2, n, p=WEIGHTS)] + SIGMA * rng.normal(size=(n, 2))
        return rng.normal(size=(n, 2)), x

    g = Curve()
    z, x = draws(N, 0)
    start = {"z": z, "eps": (x - g(z)) / g.sigma}
    end, info = walk.sample(
        samplers.refinement(mixture, g), start, random_state=1, return_info=True
    )
    assert 0.05 < info["accepted"].mean() < 0.99
    x = g(end["z"]) + g.sigma * end["eps"]
    fresh = np.concatenate(draws(20 * N, 2), axis=1)
    assert largest_error(np.concatenate([end["z"], x], axis=1), fresh) < ERRORS


def test_an_imperfect_generator_gets_better():
    rng = np.random.default_rng(4)
    exact = MEANS[rng.choice(2, 5000, p=WEIGHTS)] + SIGMA * rng.normal(size=(5000, 2))
    before = samplers.refine(mixture, Curve(), 5000, n_steps=0, random_state=0)
    after = samplers.refine(mixture, Curve(), 5000, random_state=0)
    far = largest_error(before, exact)
    assert far > 20
    assert largest_error(after, exact) < far / 4
    again = samplers.refine(mixture, Curve(), 5000, random_state=0)
    np.testing.assert_array_equal(again, after)


def test_networks_are_refined_in_their_dtype():
    net = networks.MLP((8,)).bind((2, 2, 1), random_state=0)
    g = networks.MLPGenerator(latent=3, sigma=0.5).bind((2, 2, 1), random_state=0)
    x, latent = samplers.refine(net, g, 7, n_steps=3, random_state=0, return_latent=True)
    assert x.shape == (7, 2, 2, 1)
    assert x.dtype == np.float32
    assert latent["eps"].shape == (7, 2, 2, 1)
    joint = samplers.refinement(net, g, "tilted")
    want = net(x) + 0.5 * np.sum(latent["z"] ** 2, axis=1)
    want = want + 0.5 * np.sum(latent["eps"] ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(joint(latent), want, rtol=1e-5)


def test_generators_that_do_not_fit_say_why():
    g = networks.MLPGenerator(latent=3).bind(2, random_state=0)
    walk = samplers.MALA(n_steps=2)
    with pytest.raises(ShapeError, match=r"z: shape \(4, 2\), expected \(N, 3,\)"):
        walk.sample(samplers.posterior(g, np.zeros((4, 2))), np.zeros((4, 2)))
    with pytest.raises(ShapeError, match=r"x: shape \(4, 3\), expected \(N, 2,\)"):
        samplers.posterior(g, np.zeros((4, 3)))
    net = networks.MLP((8,)).bind(3, random_state=0)
    with pytest.raises(ShapeError, match=r"x: shape \(5, 2\), expected \(N, 3,\)"):
        samplers.refine(net, g, 5, n_steps=2)
