"""W3, VERA on 2-D data: 50 training steps (Grathwohl et al. 2021).

Energy 2-100-100-1, generator 2-100-100-2 with batch norm; batch 100, k = 20 importance samples.
(1) the posterior's eta, (2) the energy with a gradient penalty of .1, (3) the score of the
generator by importance sampling, (4) generator and log sigma.
"""

import numpy as np
from ours import Workload, leaky_energy, linear, value_and_grad

import ebmlib as ebm
from ebmlib import functional as F


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
