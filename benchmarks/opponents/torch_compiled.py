"""PyTorch with torch.compile on the hot functions of torch_eager.

Gradients are torch.func.grad inside the compiled function, so that forward
and backward form one graph. Chains of the 2-D problems are unrolled ten steps
to a graph. Not compiled: W4, whose time is matrix products and whose
linearisation by autograd.grad does not trace in one graph; the last step and
the loss of W6 (the gradient of its chain alone takes 100 s to compile).
"""

import torch
import torch_eager as eager
import workloads
from torch.func import grad, grad_and_value

VERSION = eager.VERSION + ", inductor"
UNROLL = 10
set_threads = eager.set_threads
use_device, finish = eager.use_device, eager.finish


def compiled(f):
    """f as one graph, called without autograd around it."""
    return torch.no_grad()(torch.compile(f, fullgraph=True, dynamic=False))


def langevin_steps(energy, step):
    """Compiled (p, x [B, d], noise [K, B, d]) -> x after K Langevin steps."""

    def steps(p, x, noise):
        for n in noise.unbind(0):
            g = grad(lambda x: energy(p, x).sum())(x)
            x = x - step / 2 * g + step**0.5 * n
        return x

    return compiled(steps)


class W1(eager.W1):
    def setup(self):
        super().setup()
        self.steps = langevin_steps(self.energy, self.s["step"])

    def chain(self, x, noise, step):
        p = self.frozen("energy")
        for part in noise.split(UNROLL):
            x = self.steps(p, x, part)
        return x


class W2(W1, eager.W2):
    def setup(self):
        super().setup()
        self.grads_and_loss = compiled(grad_and_value(self.loss))

    def train(self, x_pos, x_neg):
        grads, loss = self.grads_and_loss(self.frozen("energy"), x_pos, x_neg)
        return loss, self.update("energy", self.opt, grads.values())


class W3(eager.W3):
    def setup(self):
        super().setup()
        self.sample = compiled(sample)
        self.posterior = compiled(grad_and_value(posterior_loss))
        self.critic = compiled(grad_and_value(self.energy_of))
        self.gen = compiled(self.generator_grads)

    def energy_of(self, p, x, x_g):
        g = grad(lambda x: eager.leaky_energy(p, x).sum())(x)
        return (
            eager.leaky_energy(p, x).mean()
            - eager.leaky_energy(p, x_g).mean()
            + self.s["penalty"] * g.square().sum(1).mean()
        )

    def generator_grads(self, g, log_eta, p, x_g, z0, eps, n2):
        """Score, and gradients and value of the generator's loss."""
        z = z0 + log_eta.exp() * n2
        mean = eager.toy_generator(g, z.flatten(0, 1)).unflatten(0, z.shape[:2])
        log_w = (
            eager.log_q(x_g, mean, g["log_sigma"])
            - 0.5 * z.square().sum(-1)
            + 0.5 * n2.square().sum(-1)
        )
        w = torch.softmax(log_w, 0).unsqueeze(-1)
        score = (w * (mean - x_g)).sum(0) * torch.exp(-2 * g["log_sigma"])

        def loss(g):
            x = sample(g, z0, eps)
            return (eager.leaky_energy(p, x) + self.s["entropy"] * (score * x).sum(1)).mean()

        return score, grad_and_value(loss)(g)

    def unit(self, noise):
        g, z0, eps = self.frozen("generator"), noise["z0"], noise["eps"]
        post, p = self.frozen("posterior"), self.frozen("energy")
        x_g, x = self.sample(g, z0, eps), self.inputs["data"][noise["data_index"]]
        grad_q, loss_q = self.posterior(post, g, x_g, z0, noise["n1"])
        self.update("posterior", self.opt["posterior"], grad_q.values())
        grad_e, loss_e = self.critic(p, x, x_g)
        self.update("energy", self.opt["energy"], grad_e.values())
        score, (grad_g, loss_g) = self.gen(g, post["log_eta"], p, x_g, z0, eps, noise["n2"])
        self.update("generator", self.opt["generator"], grad_g.values())
        return {
            "loss_q": loss_q,
            "loss_e": loss_e,
            "loss_g": loss_g,
            "score": score,
            "grad_q": grad_q,
            "grad_e": grad_e,
            "grad_g": grad_g,
        }


def sample(g, z0, eps):
    """x_g = g(z0) + sigma eps, [B, d]."""
    return eager.toy_generator(g, z0) + g["log_sigma"].exp() * eps


def posterior_loss(post, g, x_g, z0, n1):
    z = z0 + post["log_eta"].exp() * n1
    joint = eager.log_q(x_g, eager.toy_generator(g, z), g["log_sigma"])
    return -((joint - 0.5 * z.square().sum(1)).mean() + post["log_eta"].sum())


class W5(eager.W5):
    def setup(self):
        def step(p, x, n):
            g = grad(lambda x: eager.cnn_energy(p, x).sum())(x)
            return (x - self.s["step"] * g + self.s["noise"] * n).clamp(-1, 1)

        self.step = compiled(step)

    def chain(self, x, noise):
        for n in noise:
            x = self.step(self.p["energy"], x, n)
        return x


class W6(eager.W6):
    def setup(self):
        super().setup()
        self.fast = compiled(
            lambda p, x: grad(lambda x: eager.multiscale_energy(p, x).sum())(x)
        )

    def grad(self, x):
        return self.fast(self.frozen("energy"), x)


class W7(eager.W7):
    def setup(self):
        self.fast = compiled(grad(lambda *eps: self.potential(*eps).sum(), argnums=(0, 1)))

    def grad(self, eps_z, eps_x):
        return self.fast(eps_z, eps_x)


class W8(eager.W8):
    def setup(self):
        self.fast = compiled(self.iteration)

    def iteration(self, w, x, e, g, p0, u):
        """One whole HMC iteration, ten leapfrog steps unrolled."""
        step, last = self.s["step"], self.s["leapfrog"] - 1
        y, p = x, p0 - 0.5 * step * g
        for i in range(last + 1):
            y = y + step * p
            g_y, e_y = grad(lambda x: sum_and_each(w, x), has_aux=True)(y)
            p = p - (step if i < last else 0.5 * step) * g_y
        accept = u.log() < e - e_y + 0.5 * (p0.square().sum(1) - p.square().sum(1))
        keep = accept.unsqueeze(1)
        return (
            torch.where(keep, y, x),
            torch.where(accept, e_y, e),
            torch.where(keep, g_y, g),
            accept.float().mean(),
        )

    def unit(self, noise):
        w, x, accepted = self.p["energy"], self.inputs["x"], 0.0
        e, g = eager.value_and_grad(lambda x: eager.swish_energy(w, x), x)
        for p0, u in zip(noise["p"], noise["u"]):
            x, e, g, rate = self.fast(w, x, e, g, p0, u)
            accepted = accepted + rate
        return {"x": x, "accept": accepted / len(noise["u"])}


def sum_and_each(w, x):
    e = eager.swish_energy(w, x)
    return e.sum(), e


CLASSES = {c.__name__: c for c in (W1, W2, W3, W5, W6, W7, W8)}


def build(name):
    """A zero-argument run() for one workload."""
    return CLASSES[name](workloads.make(name)).run


def check(name, case, noise):
    """Results of one unit as a flat dictionary of arrays in neutral layout."""
    return CLASSES[name](case).check(noise)


WORKLOADS = {name: (lambda name=name: build(name)) for name in CLASSES}
