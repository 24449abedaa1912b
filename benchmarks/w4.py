"""W4, bidirectional bounds: 3 training steps on flat images (Geng et al. 2021).

Energy MLP 2352-2000-1000-500-250-250-1, generator 128-500-1000-2000-2352 with tanh, leaky ReLU
.2; batch 64.  The generator descends mean E(G(z)) - mean d log s1(z), where s1 = |J v| for the
direction v that the generator's Jacobian J shrinks most, from 8 iterations of LOBPCG on J' J;
the energy descends mean E(x) - mean E(G(z)) + [w mean (dE/dx . J v' - z . v')^2 - 1]_+.
"""

import numpy as np
from ours import Workload, leaky, leaky_energy, mlp

import ebmlib as ebm
from ebmlib import functional as F


def generator(p, z):
    """(B, d) to (B, D)."""
    return np.tanh(mlp(p, z, leaky))


def norm(x):
    return np.sqrt(np.square(x).sum(1, keepdims=True))


def ritz(basis, images):
    """Coefficients (B, m) of the unit vector in the span of basis (B, m, d) whose image under
    J is smallest; images (B, m, D) = J basis.
    """
    gram = basis @ np.swapaxes(basis, 1, 2) + 1e-6 * np.eye(basis.shape[1], dtype=np.float32)
    inverse = np.linalg.inv(np.linalg.cholesky(gram))
    small = inverse @ (images @ np.swapaxes(images, 1, 2)) @ np.swapaxes(inverse, 1, 2)
    _, vectors = np.linalg.eigh(small)
    return (np.swapaxes(inverse, 1, 2) @ vectors[:, :, :1])[:, :, 0]


def combine(c, basis):
    """Rows sum over m of c[b, m] basis[b, m]."""
    return (c[:, None] @ basis)[:, 0]


def lobpcg(jvp, vjp, v, iterations):
    """Unit v (B, d) with small |J v|: the basis is v, the residual, the previous direction."""
    v = v / norm(v)
    jv, p, jp = jvp(v), None, None
    for _ in range(iterations):
        r = vjp(jv) - np.square(jv).sum(1, keepdims=True) * v
        r = r / norm(r)
        basis = np.stack([v, r] if p is None else [v, r, p], 1)
        images = np.stack([jv, jvp(r)] if p is None else [jv, jvp(r), jp], 1)
        c = ritz(basis, images)
        p, jp = combine(c[:, 1:], basis[:, 1:]), combine(c[:, 1:], images[:, 1:])
        v, jv = c[:, :1] * v + p, c[:, :1] * jv + jp
        size = norm(p)
        p, jp = p / size, jp / size
    return v / norm(v)


class W4(Workload):
    keep, trained = "loss_e", ("generator", "energy")

    def smallest_direction(self, g, z, v0):
        def image(z):
            return generator(g, z)

        _, pull = ebm.vjp(image, z)
        v = lobpcg(
            lambda v: ebm.jvp(image, (z,), (v,))[1], lambda u: pull(u)[0], v0, self.s["lobpcg"]
        )
        return ebm.stop_gradient(v)

    def generator_loss(self, g, p, z, v):
        x, jv = ebm.jvp(lambda z: generator(g, z), (z,), (v,))
        log_s1 = 0.5 * np.log(np.square(jv).sum(1))
        return (leaky_energy(p, x) - z.shape[1] * log_s1).mean(), log_s1

    def energy_loss(self, p, g, x, z, v):
        x_g, jv = ebm.jvp(lambda z: generator(g, z), (z,), (v,))
        e_g, de = ebm.jvp(lambda x: leaky_energy(p, x), (x_g,), (jv,))
        slope = de - (z * v).sum(1)
        hinge = F.relu(self.s["weight"] * np.square(slope).mean() - 1)
        return leaky_energy(p, x).mean() - e_g.mean() + hinge

    def unit(self, const, state, noise):
        g = state["generator"]
        v = self.smallest_direction(g, noise["z_g"], noise["v0"])
        (loss_g, log_s1), grad_g = ebm.value_and_grad(self.generator_loss, has_aux=True)(
            g, state["energy"], noise["z_g"], v
        )
        state = self.update(state, "generator", grad_g)
        x = np.take(const["data"], noise["data_index"], 0)
        loss_e, grad_e = ebm.value_and_grad(self.energy_loss)(
            state["energy"], state["generator"], x, noise["z_e"], noise["v_e"]
        )
        state = self.update(state, "energy", grad_e)
        return state, {
            "log_s1": log_s1,
            "loss_g": loss_g,
            "loss_e": loss_e,
            "grad_g": grad_g,
            "grad_e": grad_e,
        }
