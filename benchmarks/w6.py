"""W6, improved contrastive divergence: one training step (Du et al. 2021).

The energy is a sum of three residual networks with group norm and attention, on 32x32x3 images
and their averages of 16x16 and 8x8.  20 steps x' = clip(x - 10 dE/dx + .005 n, 0, 1); the
last keeps its graph into the weights.  Descend with Adam

    mean E(x+) - mean E(sg x^) + mean E_sg(x^) - mean log min_j |x^ - b_j|.
"""

import numpy as np
from ours import Workload, conv, langevin, linear, sub, value_and_grad

import ebmlib as ebm
from ebmlib import functional as F


def block(p, x):
    """swish(gn(conv(swish(gn(conv x)))) + skip x), 8 groups."""
    h = F.swish(F.group_norm(conv(p, "c1", x), p["n1.g"], p["n1.b"], 8))
    h = F.group_norm(conv(p, "c2", h), p["n2.g"], p["n2.b"], 8)
    return F.swish(h + (conv(p, "skip", x) if "skip.w" in p else x))


def attention(p, x):
    """Over pixels, one head, with a skip."""
    q, k, v = (conv(p, n, x).reshape(len(x), -1, x.shape[3]) for n in "qkv")
    return x + conv(p, "o", F.attention(q, k, v).reshape(x.shape))


def scale_energy(p, x):
    """One scale, (B, s, s, 3) to (B,)."""
    h = block(sub(p, "b0."), conv(p, "c0", x))
    h = attention(sub(p, "att."), block(sub(p, "b1."), F.avg_pool(h)))
    h = block(sub(p, "b2."), F.avg_pool(h) if x.shape[1] > 8 else h)
    return linear(p, "l", h.sum((1, 2)))[:, 0]


def energy(p, x, scales=(32, 16, 8)):
    """The sum over scales, (B, 32, 32, 3) to (B,)."""
    total = 0
    for s in scales:
        total = total + scale_energy(sub(p, f"s{s}."), x)
        x = F.avg_pool(x) if s != scales[-1] else x
    return total


class W6(Workload):
    trained = ("energy",)

    def loss(self, p, const, x, n):
        """Through the last Langevin step; x is its start, n its noise."""
        s, frozen = self.s, ebm.stop_gradient(p)
        slope = value_and_grad(lambda x: energy(p, x), x)[1]
        x_hat = np.clip(x - s["step"] * slope + s["noise"] * n, 0, 1)
        flat, bank = x_hat.reshape(len(x), 1, -1), const["bank"].reshape(s["bank"], -1)
        near = 0.5 * np.log(np.square(flat - bank).sum(2).min(1))
        kl = (energy(frozen, x_hat) - near).mean()
        both = np.concatenate([const["data"], ebm.stop_gradient(x_hat)])
        e_pos, e_neg = np.split(energy(p, both), 2)
        return e_pos.mean() - e_neg.mean() + kl, x_hat

    def unit(self, const, state, noise):
        s, p = self.s, state["energy"]
        x = langevin(
            lambda x: energy(p, x), const["x"], noise["n"][:-1], s["step"], s["noise"], (0, 1)
        )
        (loss, x_hat), grads = ebm.value_and_grad(self.loss, has_aux=True)(
            p, const, x, noise["n"][-1]
        )
        return self.update(state, "energy", grads), {"x": x_hat, "loss": loss, "grad": grads}
