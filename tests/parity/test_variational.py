"""Whole training steps of VERA and MEG, with everything they draw, against JAX in float64.

JAX gets the start values and the draws of each step, and computes the losses of the paper by
automatic differentiation of its own: the posterior (or critic), the energy, the generator, in
this order, each with the parameters that the one before has left.
"""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import entropy, estimators, layers, networks, optimizers
from ebmlib._core import ops
from ebmlib._trace import as_node, need

jax = pytest.importorskip("jax")
jnp = jax.numpy

N, D, LATENT, HIDDEN = 12, 3, 2, 5
SITES = {
    "z0": 0x76657A30,
    "eps": 0x76657065,
    "fit": 0x65746100,
    "draws": 0x696D706F,
    "pool": 0x706F6F6C,
}
PARTS = "params", "parts.generator"
FIT, SCORE = 2, 3  # what is folded into the step's key


@pytest.fixture(autouse=True)
def wide():
    with jax.enable_x64(True):
        yield


def normal(key, site, *shape):
    """What the core draws at a site, in float64."""
    draw = ebm.jit(
        lambda key: ops.normal(need().graph, as_node(key), SITES[site], np.float64, shape)
    )
    return np.asarray(draw(key))


# ---- the step in JAX -------------------------------------------------------------------------


def energy(p, x):
    h = jax.nn.leaky_relu(x @ p["l0.w"] + p["l0.b"], 0.2)
    return (h @ p["l1.w"] + p["l1.b"])[:, 0]


def generator(p, z, statistics=None):
    """(mean, statistics of this batch)."""
    h = z @ p["l0.w"] + p["l0.b"]
    own = h.mean(0), h.var(0)
    mean, var = own if statistics is None else statistics
    h = (h - mean) / jnp.sqrt(var + 1e-5) * p["n0.g"] + p["n0.b"]
    return jax.nn.relu(h) @ p["l1.w"] + p["l1.b"], own


def log_joint(p, x, mean, z):
    """Log q(x, z) without constants."""
    fit = jnp.square(x - mean).sum(-1) * jnp.exp(-2 * p["log_sigma"])
    return -0.5 * (fit + jnp.square(z).sum(-1))


def chosen(which, p, own):
    return {"own": None, "batch": own, "running": (p["n0.mean"], p["n0.var"])}[which]


def posterior_loss(q, p, x, z0, n, statistics):
    z = z0 + jnp.exp(q["log_eta"]) * n
    return -(log_joint(p, x, generator(p, z, statistics)[0], z).mean() + q["log_eta"].sum())


def importance(q, p, x, z0, n, statistics):
    z = z0 + jnp.exp(q["log_eta"]) * n
    mean = generator(p, z.reshape(-1, LATENT), statistics)[0].reshape(*z.shape[:2], D)
    log_w = log_joint(p, x, mean, z) + 0.5 * jnp.square(n).sum(-1)
    w = jax.nn.softmax(log_w, 0)
    score = (w[..., None] * (mean - x)).sum(0) * jnp.exp(-2 * p["log_sigma"])
    return score, (1 / jnp.square(w).sum(0)).mean()


def gauss_newton(how, q, p, x, z0, pool, statistics):
    """(score, trust, what is kept), row by row and with matrices."""
    g = lambda z: generator(p, z[None], statistics)[0][0]  # noqa: E731
    jac, s2 = jax.vmap(jax.jacobian(g)), jnp.exp(2 * p["log_sigma"])
    values = jax.vmap(g)
    y0, eye = values(z0), jnp.eye(LATENT)
    slope = jnp.einsum("bij,bi->bj", jac(z0), x - y0)
    fisher = how.decay * q["fisher"] + (1 - how.decay) * slope.T @ slope / (N * s2)
    count = q["count"] + 1
    mean = jnp.linalg.inv(fisher / ((1 - how.decay**count) * s2) + eye)
    z, first = z0, None
    for _ in range(how.n_steps):
        y, j = values(z), jac(z)
        r = jnp.einsum("bij,bi->bj", j, x - y) / s2 - z
        precision = jnp.einsum("bij,bik->bjk", j, j) / s2 + eye
        d, towards = jnp.zeros_like(z), r @ mean
        rq = (r * towards).sum(1)
        for _ in range(how.n_cg):
            bent = jnp.einsum("bij,bj->bi", precision, towards)
            length = (rq / (towards * bent).sum(1))[:, None]
            d, r = d + length * towards, r - length * bent
            q_next = r @ mean
            rq, old = (r * q_next).sum(1), rq
            towards = q_next + (rq / old)[:, None] * towards
        z, linear = z + d, y + jnp.einsum("bij,bj->bi", j, d)
        first = (z, linear) if first is None else first
    log_q = lambda z, y: log_joint(p, x, y, z)  # noqa: E731
    before = log_q(z0, y0)
    gained, promised = log_q(first[0], values(first[0])) - before, log_q(*first) - before
    trust = jnp.clip(gained / promised, 0, 1)
    local = y0 + trust[:, None] * (linear - y0)
    score = []
    for i in range(N):
        others, mean = jnp.concatenate([y0[:i], y0[i + 1 :], values(pool)]), 0
        for own in (y0[i], 2 * local[i] - y0[i]):
            all_of_them = jnp.concatenate([own[None], others])
            log_w = -jnp.square(all_of_them - x[i]).sum(1) / (2 * s2)
            mean += jax.nn.softmax(log_w) @ all_of_them / 2
        score.append((mean - x[i]) / s2)
    return jnp.stack(score), trust.mean(), {"fisher": fisher, "count": count}


def information(q, x, z, bound):
    joint, apart = (energy(q, jnp.concatenate([x, z], 1)) for z in (z, jnp.roll(z, -1, 0)))
    if bound == "jensen_shannon":
        return -jax.nn.softplus(-joint).mean() - jax.nn.softplus(apart).mean()
    return joint.mean() - jax.nn.logsumexp(apart) + jnp.log(len(z))


def adam(state, p, grads, t, rate, betas):
    m, v = state
    for k, g in grads.items():
        m[k] = betas[0] * m.get(k, 0) + (1 - betas[0]) * g
        v[k] = betas[1] * v.get(k, 0) + (1 - betas[1]) * g**2
        step = rate * (m[k] / (1 - betas[0] ** t))
        p[k] = p[k] - step / (jnp.sqrt(v[k] / (1 - betas[1] ** t)) + 1e-8)


class Reference:
    """A run of VERA in JAX, from the start of an estimator."""

    def __init__(self, est, state, x):
        self.est, self.x = est, x
        self.p, self.g, self.q = (
            {
                name.removeprefix(f"{part}."): jnp.asarray(array)
                for name, array in state.items()
                if name.startswith(f"{part}.")
            }
            for part in (*PARTS, f"parts.{est._entropy()._part}" if est.entropy else "none")
        )
        self.moments = {name: ({}, {}) for name in "pgq"}
        self.metrics = []

    def step(self, key, number):
        est, x, g = self.est, self.x, self.g
        key = ebm.random.fold_in(key, number)
        fold = [ebm.random.fold_in(key, word) for word in (FIT, SCORE)]
        z0, eps = normal(key, "z0", N, LATENT), normal(key, "eps", N, D)
        statistics = [g["n0.mean"], g["n0.var"]]
        seen = generator(g, z0)[1]

        def sample(g):
            return generator(g, z0)[0] + jnp.exp(g["log_sigma"]) * eps

        x_g, found, ent = sample(g), {}, est._entropy()
        kind = ent and ent._kind
        if kind == "importance":
            draws = chosen(ent.statistics, g, seen)
            n = normal(fold[0], "fit", N, LATENT)
            self.descend("q", posterior_loss, g, x_g, z0, n, draws, t=number + 1)
            n = normal(fold[1], "draws", ent.draws * N, LATENT).reshape(-1, N, LATENT)
            score, found["ess"] = importance(self.q, g, x_g, z0, n, draws)
        elif kind == "gauss_newton":
            pool = normal(fold[1], "pool", ent.pool * N, LATENT)
            draws = chosen(ent.statistics, g, seen)
            score, found["trust"], self.q = gauss_newton(ent, self.q, g, x_g, z0, pool, draws)
        elif kind:
            loss = lambda q: -information(q, x_g, z0, ent.bound)  # noqa: E731
            self.descend("q", loss, t=number + 1)

        def energy_loss(p):
            slope = jax.grad(lambda x: energy(p, x).sum())(x)
            penalty = est.gradient_penalty * jnp.square(slope).sum(1).mean()
            squares = jnp.square(energy(p, x)).mean() + jnp.square(energy(p, x_g)).mean()
            return energy(p, x).mean() - energy(p, x_g).mean() + penalty + est.l2 * squares

        def generator_loss(g):
            made = sample(g)
            loss = energy(self.p, made).mean()
            if kind in ("importance", "gauss_newton"):
                loss += est.entropy_weight * (score * made).sum(1).mean()
            elif kind:
                bound = information(self.q, made, z0, ent.bound) + D * g["log_sigma"]
                loss -= est.entropy_weight * bound
            return loss

        found["loss"] = self.descend("p", energy_loss, t=number + 1)
        found["generator_loss"] = self.descend("g", generator_loss, t=number + 1)
        bounds = [None if b is None else np.log(b) for b in (est.sigma_min, est.sigma_max)]
        g["log_sigma"] = jnp.clip(g["log_sigma"], *bounds)
        for name, old, new in zip(("n0.mean", "n0.var"), statistics, seen, strict=True):
            g[name] = old + est.momentum * (new - old)
        self.metrics.append(found)

    def descend(self, which, loss, *args, t):
        p = getattr(self, which)
        rate, betas = {
            "p": (0.01, (0, 0.9)),
            "g": (0.02, (0.3, 0.9)),
            "q": (0.03, (0.9, 0.99)),
        }[which]
        value, grads = jax.value_and_grad(loss)(dict(p), *args)
        grads = {k: grad for k, grad in grads.items() if k not in ("n0.mean", "n0.var")}
        adam(self.moments[which], p, grads, t, rate, betas)
        return value


def written(p, z):
    """The generator as a person writes it."""
    h = layers.batch_norm(p, "n0", layers.dense(p, "l0", z, HIDDEN))
    return layers.dense(p, "l1", layers.activate(h, "relu"), D, init="relu")


GENERATORS = {
    "core": networks.MLPGenerator(LATENT, (HIDDEN,), norm="batch", sigma=0.3),
    "function": networks.FunctionGenerator(written, LATENT, sigma=0.3),
}


@pytest.mark.parametrize("of", GENERATORS)
@pytest.mark.parametrize(
    "how",
    [
        entropy.Importance(draws=4, eta=0.3),
        entropy.Importance(draws=4, eta=0.3, statistics="batch"),
        entropy.Importance(draws=1, eta=0.3, statistics="running"),
        entropy.GaussNewton(n_cg=1, pool=2),
        entropy.GaussNewton(n_steps=3, n_cg=1, pool=0, decay=0.5, statistics="running"),
        entropy.MutualInformation(critic=networks.MLP((5,), "leaky_relu")),
        entropy.MutualInformation("donsker_varadhan", networks.MLP((5,), "leaky_relu")),
        None,
    ],
    ids=str,
)
def test_three_steps_are_those_of_jax(how, of, rng):
    x = rng.normal(size=(N, D))
    est = estimators.VERA(
        networks.MLP((HIDDEN,), "leaky_relu"),
        GENERATORS[of],
        entropy=how,
        entropy_weight=0.7,
        l2=0.02,
        sigma_max=0.31,
        momentum=0.25,
        learning_rate=0.01,
        generator_optimizer=optimizers.Adam(0.02, betas=(0.3, 0.9)),
        entropy_optimizer=optimizers.Adam(0.03, betas=(0.9, 0.99)),
        batch_size=N,
        max_steps=3,
        dtype="float64",
        random_state=1,
    )
    start = ebm.estimators.VERA(**est.get_params(False) | {"max_steps": 0}).fit(x)
    reference = Reference(est, start._lasting(), x)
    for number in range(3):
        reference.step(start._key, number)
    est.fit(x)
    made = est._lasting()
    for part, arrays in zip(PARTS, (reference.p, reference.g), strict=True):
        for name, array in arrays.items():
            # Rounding is all the gradient of biases before batch norm, and of a critic's last.
            np.testing.assert_allclose(made[f"{part}.{name}"], array, 1e-9, 1e-8, err_msg=name)
    for name, array in reference.q.items():
        np.testing.assert_allclose(made[f"parts.{how._part}.{name}"], array, 1e-9, 1e-8)
    for number, found in enumerate(reference.metrics):
        for name, value in found.items():
            np.testing.assert_allclose(est.history_[name][number], value, 1e-8, err_msg=name)
