"""W3, VERA on 2-D data: 50 training steps (Grathwohl et al. 2021).

Energy 2-100-100-1, generator 2-100-100-2 with batch norm; batch 100, k = 20 importance samples.
(1) the posterior's eta, (2) the energy with a gradient penalty of .1, (3) the score of the
generator by importance sampling, (4) generator and log sigma.
"""

import dataclasses

import numpy as np
from ours import Workload, leaky_energy, linear, neutral, value_and_grad, weight

import ebmlib as ebm
from ebmlib import entropy, estimators, networks, optimizers
from ebmlib import functional as F
from ebmlib._core import ops
from ebmlib._trace import as_node, need


def generator(p, z):
    """(B, latent) to (B, d), batch norm with the statistics of the batch."""
    for i in range(2):
        z = F.relu(F.batch_norm(linear(p, f"l{i}", z), p[f"n{i}.g"], p[f"n{i}.b"]))
    return linear(p, "l2", z)


def log_q(x, mean, log_sigma):
    """Log N(x; mean, sigma^2 I) over the last axis, without the 2 pi."""
    d = (x - mean) * np.exp(-log_sigma)
    return -0.5 * np.square(d).sum(-1) - x.shape[-1] * log_sigma


class W3(Workload):
    keep, trained = "loss_g", ("posterior", "energy", "generator")

    def posterior_loss(self, post, g, x_g, z0, n1):
        z = z0 + np.exp(post["log_eta"]) * n1
        joint = log_q(x_g, generator(g, z), g["log_sigma"]) - 0.5 * np.square(z).sum(1)
        return -(joint.mean() + post["log_eta"].sum())

    def energy_loss(self, p, x, x_g):
        e, slope = value_and_grad(lambda x: leaky_energy(p, x), x)
        penalty = self.s["penalty"] * np.square(slope).sum(1).mean()
        return e.mean() - leaky_energy(p, x_g).mean() + penalty

    def score(self, g, log_eta, x_g, z0, n2):
        """Grad log q(x_g), (B, d), from n2 (k, B, z)."""
        z = z0 + np.exp(log_eta) * n2
        mean = generator(g, z.reshape(-1, z.shape[-1])).reshape(*z.shape[:2], -1)
        log_w = (
            log_q(x_g, mean, g["log_sigma"])
            - 0.5 * np.square(z).sum(-1)
            + 0.5 * np.square(n2).sum(-1)
        )
        w = F.softmax(log_w, 0)[..., None]
        return (w * (mean - x_g)).sum(0) * np.exp(-2 * g["log_sigma"])

    def unit(self, const, state, noise):
        g, z0 = state["generator"], noise["z0"]

        def sample(g):
            return generator(g, z0) + np.exp(g["log_sigma"]) * noise["eps"]

        x_g, pull = ebm.vjp(sample, g)
        loss_q, grad_q = ebm.value_and_grad(self.posterior_loss)(
            state["posterior"], g, x_g, z0, noise["n1"]
        )
        state = self.update(state, "posterior", grad_q)
        x = np.take(const["data"], noise["data_index"], 0)
        loss_e, grad_e = ebm.value_and_grad(self.energy_loss)(state["energy"], x, x_g)
        state = self.update(state, "energy", grad_e)
        s = self.score(g, state["posterior"]["log_eta"], x_g, z0, noise["n2"])
        e, slope = value_and_grad(lambda x: leaky_energy(state["energy"], x), x_g)
        loss_g = (e + self.s["entropy"] * (s * x_g).sum(1)).mean()
        (grad_g,) = pull((slope + self.s["entropy"] * s) / len(x_g))
        state = self.update(state, "generator", grad_g)
        return state, {
            "loss_q": loss_q,
            "loss_e": loss_e,
            "loss_g": loss_g,
            "score": s,
            "grad_q": grad_q,
            "grad_e": grad_e,
            "grad_g": grad_g,
        }


class W3Sampler:
    """The same training by `estimators.VERA`.

    It differs in this: minibatches are parts of permutations, not independent draws; weights
    start as the networks' own; batch norm keeps running statistics; the posterior's loss lacks
    a constant; and each step measures what goes into ``history_``, and is undone if something
    is not finite.
    """

    unseen = ("score",)  # no result of a training; it shows in the gradient of the generator

    def __init__(self, case):
        self.case, self.s = case, case.sizes
        self.data = case.inputs["data"]
        self.est = self.estimator(batch_size=self.s["batch"])

    def estimator(self, **options):
        s = self.s
        optimizer = optimizers.Adam(s["lr"], s["betas"])
        return estimators.VERA(
            networks.MLP(s["hidden"], "leaky_relu"),
            networks.MLPGenerator(s["latent"], s["hidden"], "relu", norm="batch", sigma=0.1),
            entropy=entropy.Importance(s["k"], eta=0.1),
            entropy_weight=s["entropy"],
            gradient_penalty=s["penalty"],
            learning_rate=s["lr"],
            betas=s["betas"],
            generator_optimizer=optimizer,
            entropy_optimizer=optimizer,
            **options,
        )

    def run(self):
        self.est.partial_fit(self.data, n_steps=self.s["train_steps"])
        return self.est.history_["generator_loss"][-1]

    def check(self, seed):
        """One step on all rows of the data: its start weights and its draws go to the
        reference.  Gradients are the optimiser's means, which remember nothing (beta 0).
        """
        s, rows = self.s, np.arange(self.s["batch"])

        def fitted(max_steps):
            est = self.estimator(max_steps=max_steps, batch_size=len(rows), random_state=seed)
            return est.fit(self.data[rows])

        before, est = fitted(0)._lasting(), fitted(1)
        after = est._lasting()
        parts = {
            "energy": "params",
            "generator": "parts.generator",
            "posterior": "parts.posterior",
        }
        params, grads = {}, {}
        for name, prefix in parts.items():
            moments = below(after, f"adam.m.{prefix}")
            grads[name] = moments
            params[name] = {
                k: weight(a) for k, a in below(before, prefix).items() if k in moments
            }
        last = {name: column[-1] for name, column in est.history_.items()}
        constants = 0.5 * (s["dim"] * np.log(2 * np.pi) - s["latent"])  # which log_q leaves out
        results = {
            "loss_q": last["entropy_loss"] - constants,
            "loss_e": last["loss"],
            "loss_g": last["generator_loss"],
            "grad_q": grads["posterior"],
            "grad_e": grads["energy"],
            "grad_g": grads["generator"],
        }
        noise = {"data_index": rows} | self.draws(ebm.random.fold_in(ebm.random.key(seed), 0))
        return dataclasses.replace(self.case, params=params), noise, neutral(results)

    def draws(self, key):
        """What a step draws (csrc/estimators/vera.c, entropy.c), by the sites of the draws."""
        fit, score = (ebm.random.fold_in(key, word) for word in (2, 3))
        n, z, d, k = (self.s[name] for name in ("batch", "latent", "dim", "k"))
        return {
            "z0": normal(key, 0x76657A30, n, z),
            "eps": normal(key, 0x76657065, n, d),
            "n1": normal(fit, 0x65746100, n, z),
            "n2": normal(score, 0x696D706F, k * n, z).reshape(k, n, z),
        }


def below(arrays, prefix):
    """The arrays called "<prefix>.<name>", by name."""
    return {k[len(prefix) + 1 :]: a for k, a in arrays.items() if k.startswith(f"{prefix}.")}


def normal(key, site, *shape):
    """What the core draws at a site."""
    draw = ebm.jit(lambda key: ops.normal(need().graph, as_node(key), site, np.float32, shape))
    return np.asarray(draw(key))
