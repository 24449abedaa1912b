"""Estimates of a generator's score by themselves, against closed forms and quadrature."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import entropy, networks

ESTIMATES = [entropy.GaussNewton(), entropy.HMC(), entropy.Importance(draws=5)]
N = 512


def linear(latent, width=12, sigma=0.3, dtype=np.float64):
    g = networks.LinearGenerator(latent, sigma).bind(width, random_state=0, dtype=dtype)
    return g, *g.sample(N, random_state=1, return_latent=True)


def share(g, z0, score):
    """Of the exact dH/dW = (W W' + sigma^2 I)^-1 W that -E[score z0'] has."""
    exact = g.entropy_gradient()
    found = -score.T @ z0 / len(z0)
    return (found * exact).sum() / (exact**2).sum()


def noise_of_share(g, x, z0):
    """The deviation of that share for the exact score, over draws of (z0, eps)."""
    each = -np.einsum("ni,nj,ij->n", g.score(x), z0, g.entropy_gradient())
    return each.std() / np.sqrt(len(z0)) / (g.entropy_gradient() ** 2).sum()


# ---- a linear generator: all is known ----


@pytest.mark.parametrize("latent", [1, 2, 10])
def test_gauss_newton_is_exact_on_a_linear_generator(latent):
    """Of a row alone, where there is no pool; as many conjugate gradients as there are latents
    solve the system, however it is preconditioned.
    """
    g, x, z0 = linear(latent)
    how, own = entropy.GaussNewton(n_steps=1, n_cg=latent, pool=0), None
    for k in range(5):
        row = slice(k, k + 1)
        made, trust, own = how.score(g, x[row], z0[row], 0, own=own, return_info=True)
        np.testing.assert_allclose(made, g.score(x[row]), rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(trust, 1.0, atol=1e-9)
    assert own["count"] == 5


def test_gauss_newton_learns_its_preconditioner():
    """The mean of (J'eps)(J'eps)' is J'J: within 5 standard errors of its largest element."""
    g, x, z0 = linear(10)
    how = entropy.GaussNewton(pool=0, decay=0.5)
    own = how.score(g, x, z0, 0, return_info=True)[2]
    w = g.parameters()["w"]
    want = w.T @ w
    error = np.sqrt(2 / N) * np.diag(want).max()  # of a diagonal element
    np.testing.assert_allclose(own["fisher"] / (1 - how.decay), want, atol=5 * error)


@pytest.mark.parametrize("latent", [2, 10])
@pytest.mark.parametrize(
    "how", [entropy.GaussNewton(), entropy.HMC(burn_in=60, step_size=0.3)], ids=str
)
def test_the_whole_gradient_is_found(how, latent):
    """Within 5 standard errors of the exact score's share, and a tenth of it (false alarms:
    one in a million a case).
    """
    g, x, z0 = linear(latent)
    found, exact = (share(g, z0, s) for s in (how.score(g, x, z0, 2), g.score(x)))
    noise = noise_of_share(g, x, z0)
    assert abs(exact - 1) < 5 * noise  # the sign, above all
    assert abs(found - exact) < 5 * noise + 0.1


def test_importance_leans_on_z0_and_less_so_with_more_draws():
    g, x, z0 = linear(10)
    own = {"log_eta": np.full(10, np.log(0.3))}
    errors = []
    for draws in (1, 20, 400):
        how = entropy.Importance(draws)
        made, ess, _ = how.score(g, x, z0, 3, own=own, return_info=True)
        errors.append(np.sqrt(np.mean((made - g.score(x)) ** 2)))
        assert ess.min() >= 1 - 1e-6
        assert ess.max() <= draws
    assert errors[0] > errors[1] > errors[2]
    assert share(g, z0, entropy.Importance(20).score(g, x, z0, 3, own=own)) < 0.6


def test_the_authors_gradient_of_the_prior_stays_at_z0():
    g, x, z0 = linear(10)
    full, prior = (
        share(g, z0, entropy.HMC(burn_in=60, step_size=0.3, gradient=which).score(g, x, z0, 4))
        for which in ("full", "prior")
    )
    assert prior < 0.5 < full


def test_what_is_kept_goes_on():
    g, x, z0 = linear(10)
    how, own = entropy.HMC(step_size=5.0), None
    acceptance = []
    for k in range(150):
        _, info, own = how.score(g, x, z0, k, own=own, return_info=True)
        acceptance.append(info.mean())
    assert acceptance[0] < 0.01
    assert np.mean(acceptance[-20:]) == pytest.approx(how.target, abs=0.1)


# ---- a generator that is not linear ----


def curved(sigma):
    """A curve in the plane, that folds."""
    g = networks.MLPGenerator(1, (16,), "tanh", norm="none", sigma=sigma)
    bound = g.bind(2, random_state=3, dtype=np.float64)
    p = bound.parameters()
    return bound.set_parameters(p | {"l0.w": 2 * p["l0.w"], "l1.w": 1.5 * p["l1.w"]})


@pytest.mark.parametrize("sigma", [0.1, 0.3])
@pytest.mark.parametrize("how", [entropy.GaussNewton(), entropy.HMC(burn_in=100)], ids=str)
def test_the_gradient_of_a_curve_is_that_of_quadrature(how, sigma):
    """Of all parameters of g: on the direction of the exact one, within 5 standard errors and
    0.1 of its length (false alarms: one in a million a case).
    """
    g = curved(sigma)
    x, z0 = g.sample(4 * N, random_state=5, return_latent=True)
    z = np.linspace(-6, 6, 4001)[:, None]
    means = g(z)
    square = ((x[:, None] - means) ** 2).sum(2)
    log_w = -square / (2 * sigma**2) - z[:, 0] ** 2 / 2
    w = np.exp(log_w - log_w.max(1, keepdims=True))
    exact = ((w / w.sum(1, keepdims=True)) @ means - x) / sigma**2
    parts = [how.score(g, x[k : k + N], z0[k : k + N], k) for k in range(0, len(x), N)]
    found = np.concatenate(parts)

    def pulled(score):
        """-score' dx/dp of each row, (n, parameters)."""
        p = {k: a for k, a in g.parameters().items() if k != "log_sigma"}

        def along(p, z, s):
            h = np.tanh(z @ p["l0.w"] + p["l0.b"])
            return -np.sum(s * (h @ p["l1.w"] + p["l1.b"]))

        rows = []
        for i in range(0, len(score), 8):
            grads = ebm.grad(along)(p, z0[i : i + 8], score[i : i + 8])
            rows.append(np.concatenate([np.ravel(a) for a in grads.values()]) / 8)
        return np.array(rows)

    want, got = pulled(exact), pulled(found)
    direction = want.mean(0) / np.linalg.norm(want.mean(0))
    length, off = np.linalg.norm(want.mean(0)), (got - want) @ direction
    assert abs(off.mean()) < 5 * off.std() / np.sqrt(len(off)) + 0.1 * length


# ---- how it is called ----


@pytest.mark.parametrize("how", ESTIMATES, ids=str)
def test_traced_or_not_it_is_the_same(how):
    g, x, z0 = linear(3, dtype=np.float32)
    plain = how.score(g, x, z0, 7)
    assert plain.shape == x.shape
    assert plain.dtype == np.float32

    def traced(x, z0, key):
        return how.score(g, x, z0, key, how.start(g))

    np.testing.assert_array_equal(ebm.jit(traced)(x, z0, ebm.random.key(7)), plain)
    slope = ebm.grad(lambda x: np.sum(traced(x, z0, ebm.random.key(7))))(x)
    np.testing.assert_array_equal(slope, 0)  # a constant, as the gradient wants it


def test_the_loss_of_importance_is_its_bound():
    """Equation 9, negated: -E log q(x|z) - E log N(z) - H(xi)."""
    g, x, z0 = linear(3)
    eta = np.array([0.2, 0.3, 0.4])
    own = {"log_eta": np.log(eta)}
    losses = [entropy.Importance().loss(g, x, z0, k, own=own) for k in range(200)]
    # E |x - g(z0 + eta n)|^2 and E |z0 + eta n|^2 are known.
    w = g.parameters()["w"]
    fit = ((x - g(z0)) ** 2).sum(1) + eta**2 @ (w**2).sum(0)
    prior = (z0**2).sum(1) + (eta**2).sum()
    want = 0.5 * np.mean(fit / g.sigma**2 + prior) - np.log(eta).sum()
    want += 12 * np.log(g.sigma) + 0.5 * (12 * np.log(2 * np.pi) - 3)
    assert np.mean(losses) == pytest.approx(want, abs=5 * np.std(losses) / np.sqrt(200))
