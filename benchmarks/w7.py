"""W7, VAEBM: 10 Langevin steps in (eps_z, eps_x) through a decoder (Xiao et al. 2021).

U = E(mu(z) + sigma(z) eps_x) + |eps|^2 / 2,  eps' = eps - step / 2 dU + sqrt(step) n
"""

import numpy as np
import workloads
from ours import Workload, conv, linear, sub

import ebmlib as ebm
from ebmlib import functional as F


def decode(p, z, clamp):
    """(B, 64) to mu and sigma, (B, 32, 32, 3) each."""
    h = F.swish(linear(p, "l", z)).reshape(len(z), 4, 4, 256)
    for i in range(3):
        h = F.swish(conv(p, f"c{i}", F.upsample(h)))
    mu, log_sigma = np.split(conv(p, "head", h), 2, -1)
    return mu, np.exp(np.clip(log_sigma, *clamp))


def energy(p, x):
    """(B, 32, 32, 3) to (B,)."""
    h = conv(p, "c0", x)
    for i, (_, _, down) in enumerate(workloads.CIFAR_BLOCKS):
        b = sub(p, f"b{i}.")
        y = conv(b, "c2", F.swish(conv(b, "c1", F.swish(h))))
        h = y + (conv(b, "skip", h) if "skip.w" in b else h)
        h = F.avg_pool(h) if down else h
    return linear(p, "l", F.swish(h).sum((1, 2)))[:, 0]


class W7(Workload):
    keep = "eps_x"

    def potential(self, const, eps_z, eps_x):
        mu, sigma = decode(const["decoder"], eps_z, self.s["clamp"])
        e = energy(const["energy"], mu + sigma * eps_x)
        return e.sum() + 0.5 * (np.square(eps_z).sum() + np.square(eps_x).sum())

    def unit(self, const, state, noise):
        step, sd = self.s["step"], self.s["step"] ** 0.5

        def body(_, eps, ns):
            slopes = ebm.grad(self.potential, argnums=(1, 2))(const, *eps)
            return tuple(
                e - step / 2 * g + sd * n for e, g, n in zip(eps, slopes, ns, strict=True)
            )

        z, x = ebm.repeat(
            body,
            len(noise["n_z"]),
            (const["eps_z"], const["eps_x"]),
            xs=(noise["n_z"], noise["n_x"]),
        )
        return state, {"eps_z": z, "eps_x": x}
