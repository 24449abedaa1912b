"""PyTorch, eager mode: the workloads as a careful user would write them.

dE/dx comes from autograd.grad with the weights frozen, images and kernels are
channels_last where that is faster (W6, W7), Adam is the fused CPU kernel, all
random numbers of a unit are drawn in one call each. `torch_compiled.py` replaces the hot functions.
"""

import numpy as np
import torch
import torch.autograd.forward_ad as fwd
import torch.nn.functional as F
import workloads

VERSION = f"torch {torch.__version__}"
DEVICE = "cpu"  # where tensors are made


def set_threads(n):
    torch.set_num_threads(n)


def use_device(name):
    """A card; float32 is float32 there too, and cuDNN looks for its fastest algorithms."""
    global DEVICE
    if not torch.cuda.is_available():
        lacks = "no driver or card" if torch.version.cuda else "it was built without CUDA"
        raise RuntimeError(f"torch.cuda is not available: {lacks}")
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    DEVICE = name


def finish(out):
    if DEVICE != "cpu":
        torch.cuda.synchronize()


# ---------------------------------------------------------------- conversion


def tensor(a, channels_last=True):
    """NumPy -> tensor; 4-D arrays become channels_last if asked."""
    t = torch.from_numpy(np.array(a)).to(DEVICE)
    channels_last = channels_last and t.dim() == 4
    return t.contiguous(memory_format=torch.channels_last) if channels_last else t


def tensors(arrays, channels_last=True):
    return {k: tensor(v, channels_last) for k, v in arrays.items()}


def arrays(tree, prefix=""):
    """Nested dictionaries of tensors -> flat dictionary of NumPy arrays."""
    out = {}
    for k, v in tree.items():
        if isinstance(v, dict):
            out |= arrays(v, f"{prefix}{k}.")
        else:
            out[prefix + k] = v.detach().contiguous().cpu().numpy()
    return out


def draw(spec):
    """Random numbers of one unit, see workloads.Case.noise."""
    out = {}
    for name, (kind, shape) in spec.items():
        if kind == "normal":
            out[name] = torch.randn(shape, device=DEVICE)
        elif kind == "uniform":
            out[name] = torch.rand(shape, device=DEVICE)
        else:
            out[name] = torch.randint(kind, shape, device=DEVICE)
    return out


# ---------------------------------------------------------------- networks


def lin(p, name, x):
    return F.linear(x, p[name + ".w"], p[name + ".b"])


def conv(p, name, x, stride=1, pad=1):
    return F.conv2d(x, p[name + ".w"], p[name + ".b"], stride, pad)


def mlp(p, x, act):
    """[B, widths[0]] -> [B, widths[-1]]; layers l0, l1, ..."""
    last = sum(k.endswith(".w") for k in p) - 1
    for i in range(last):
        x = act(lin(p, f"l{i}", x))
    return lin(p, f"l{last}", x)


def leaky(x):
    return F.leaky_relu(x, 0.2)


def swish_energy(p, x):
    """[B, d] -> [B]."""
    return mlp(p, x, F.silu).squeeze(1)


def leaky_energy(p, x):
    """[B, d] -> [B]."""
    return mlp(p, x, leaky).squeeze(1)


def toy_generator(p, z):
    """[B, latent] -> [B, d]; batch norm with batch statistics."""
    for i in range(2):
        z = F.batch_norm(lin(p, f"l{i}", z), None, None, p[f"n{i}.g"], p[f"n{i}.b"], True)
        z = F.relu(z)
    return lin(p, "l2", z)


def tanh_generator(p, z):
    """[B, latent] -> [B, D]."""
    return torch.tanh(mlp(p, z, leaky))


def cnn_energy(p, x, strides=(1, 2, 2, 2)):
    """[B, 1, 28, 28] -> [B]; the flattening order is height, width, channel."""
    for i, stride in enumerate(strides):
        x = F.silu(conv(p, f"c{i}", x, stride))
    x = F.silu(lin(p, "l0", x.permute(0, 2, 3, 1).flatten(1)))
    return lin(p, "l1", x).squeeze(1)


def normed_block(p, x):
    """swish(gn(conv(swish(gn(conv x)))) + skip x), 8 groups."""
    h = F.silu(F.group_norm(conv(p, "c1", x), 8, p["n1.g"], p["n1.b"]))
    h = F.group_norm(conv(p, "c2", h), 8, p["n2.g"], p["n2.b"])
    return F.silu(h + (conv(p, "skip", x, pad=0) if "skip.w" in p else x))


def attention(p, x):
    """Single-head self-attention over pixels with a skip, [B, C, H, W]."""
    q, k, v = (conv(p, n, x, pad=0).flatten(2) for n in "qkv")
    a = torch.softmax(q.transpose(1, 2) @ k * x.shape[1] ** -0.5, -1)
    y = (a @ v.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
    return x + conv(p, "o", y.contiguous(memory_format=torch.channels_last), pad=0)


def sub(p, prefix):
    """The entries below `prefix`, without it."""
    return {k[len(prefix) :]: v for k, v in p.items() if k.startswith(prefix)}


def scale_energy(p, x):
    """One scale of W6, [B, 3, s, s] -> [B]."""
    h = normed_block(sub(p, "b0."), conv(p, "c0", x))
    h = normed_block(sub(p, "b1."), F.avg_pool2d(h, 2))
    h = attention(sub(p, "att."), h)
    h = normed_block(sub(p, "b2."), F.avg_pool2d(h, 2) if x.shape[2] > 8 else h)
    return lin(p, "l", h.sum((2, 3))).squeeze(1)


def multiscale_energy(p, x, scales=(32, 16, 8)):
    """Sum over the resolutions, [B, 3, 32, 32] -> [B]."""
    total = 0
    for s in scales:
        total = total + scale_energy(sub(p, f"s{s}."), x)
        x = F.avg_pool2d(x, 2)
    return total


def decode(p, z, clamp):
    """W7 decoder, [B, 64] -> mu, sigma, each [B, 3, 32, 32]."""
    h = F.silu(lin(p, "l", z)).unflatten(1, (4, 4, 256)).permute(0, 3, 1, 2)
    for i in range(3):
        h = F.silu(conv(p, f"c{i}", F.interpolate(h, scale_factor=2)))
    mu, log_sigma = conv(p, "head", h).chunk(2, 1)
    return mu, log_sigma.clamp(*clamp).exp()


def cifar_energy(p, x):
    """W7 energy, [B, 3, 32, 32] -> [B]."""
    h = conv(p, "c0", x)
    for i, (_, _, down) in enumerate(workloads.CIFAR_BLOCKS):
        b = sub(p, f"b{i}.")
        y = conv(b, "c2", F.silu(conv(b, "c1", F.silu(h))))
        h = y + (conv(b, "skip", h, pad=0) if "skip.w" in b else h)
        h = F.avg_pool2d(h, 2) if down else h
    return lin(p, "l", F.silu(h).sum((2, 3))).squeeze(1)


# ---------------------------------------------------------------- gradients


def energy_grad(energy, x):
    """dE/dx [B, ...] of energy(x) [B]."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(energy(x).sum(), x)[0]


def value_and_grad(energy, x):
    x = x.detach().requires_grad_()
    e = energy(x)
    return e.detach(), torch.autograd.grad(e.sum(), x)[0]


def jvp(f, x, v):
    """f(x) and J v by forward mode; both stay differentiable."""
    with fwd.dual_level():
        return fwd.unpack_dual(f(fwd.make_dual(x, v)))


def linearize(f, z):
    """J v and J^T u of f at z as functions that do not evaluate f again.

    J v uses reverse mode twice: the vector-Jacobian product is linear in u.
    """
    z = z.detach().requires_grad_()
    x = f(z)
    u = torch.zeros_like(x, requires_grad=True)
    (w,) = torch.autograd.grad(x, z, u, create_graph=True)
    return (
        lambda v: torch.autograd.grad(w, u, v, retain_graph=True)[0],
        lambda u: torch.autograd.grad(x, z, u, retain_graph=True)[0],
    )


def langevin_step(x, g, n, drift, sd, clip):
    x = x.sub(g, alpha=drift).add_(n, alpha=sd)
    return x.clamp_(*clip) if clip else x


def ritz(basis, images):
    """Coefficients [B, m] of the unit vector in the span that J shrinks most.

    basis [B, m, d], images [B, m, D] = J basis.
    """
    eye = 1e-6 * torch.eye(basis.shape[1], device=DEVICE)
    low = torch.linalg.cholesky(basis @ basis.mT + eye)
    inv = torch.linalg.inv(low)
    _, vecs = torch.linalg.eigh(inv @ (images @ images.mT) @ inv.mT)
    return (inv.mT @ vecs[:, :, :1]).squeeze(2)


def lobpcg(jvp, vjp, v, iterations):
    """Unit v [B, d] with small |J v|: basis v, residual, previous direction."""
    v = v / v.norm(dim=1, keepdim=True)
    jv, p, jp = jvp(v), None, None
    for _ in range(iterations):
        r = vjp(jv) - jv.square().sum(1, keepdim=True) * v
        r = r / r.norm(dim=1, keepdim=True)
        basis = torch.stack([v, r] if p is None else [v, r, p], 1)
        images = torch.stack([jv, jvp(r)] if p is None else [jv, jvp(r), jp], 1)
        c = ritz(basis, images)
        p, jp = combine(c[:, 1:], basis[:, 1:]), combine(c[:, 1:], images[:, 1:])
        v, jv = c[:, :1] * v + p, c[:, :1] * jv + jp
        size = p.norm(dim=1, keepdim=True)
        p, jp = p / size, jp / size
    return v / v.norm(dim=1, keepdim=True)


def combine(c, basis):
    """Rows sum_m c[b, m] basis[b, m, :]."""
    return (c.unsqueeze(1) @ basis).squeeze(1)


# ---------------------------------------------------------------- workloads


class Workload:
    """One case. `unit(noise)` does one unit of work and returns its results."""

    channels_last = True

    def __init__(self, case):
        self.case, self.s = case, case.sizes
        self.p = {k: tensors(v, self.channels_last) for k, v in case.params.items()}
        self.inputs = tensors(case.inputs, self.channels_last)
        self.setup()

    def setup(self):
        pass

    def adam(self, name):
        """Fused Adam over one network; switches its gradients on."""
        for t in self.p[name].values():
            t.requires_grad_()
        return torch.optim.Adam(
            self.p[name].values(), self.s["lr"], self.s.get("betas", (0.9, 0.999)), fused=True
        )

    def frozen(self, name):
        """The same weights without gradients."""
        return {k: t.detach() for k, t in self.p[name].items()}

    def descend(self, name, optimizer, loss):
        """One optimiser step on `loss`; returns the gradients."""
        return self.update(name, optimizer, self.grads(name, loss))

    def grads(self, name, loss):
        return torch.autograd.grad(loss, list(self.p[name].values()))

    def update(self, name, optimizer, grads):
        for t, g in zip(self.p[name].values(), grads):
            t.grad = g
        optimizer.step()
        return dict(zip(self.p[name], grads))

    def run(self):
        for _ in range(self.case.units):
            out = self.unit(draw(self.case.noise))
        return out

    def check(self, noise):
        """The results of one unit with given random numbers, as arrays."""
        return arrays(self.unit(tensors(noise)))


class W1(Workload):
    energy = staticmethod(swish_energy)

    def chain(self, x, noise, step):
        """Unadjusted Langevin, x [B, d], noise [K, B, d]."""
        p = self.frozen("energy")
        for n in noise:
            g = energy_grad(lambda x: self.energy(p, x), x)
            x = langevin_step(x, g, n, step / 2, step**0.5, None)
        return x

    def unit(self, noise):
        return {"x": self.chain(self.inputs["x"], noise["n"], self.s["step"])}


class W2(W1):
    def setup(self):
        self.opt = self.adam("energy")

    def loss(self, p, x_pos, x_neg):
        """Contrastive divergence with an energy-magnitude term."""
        e_pos, e_neg = self.energy(p, torch.cat([x_pos, x_neg])).chunk(2)
        return (
            e_pos.mean()
            - e_neg.mean()
            + self.s["reg"] * (e_pos.square().mean() + e_neg.square().mean())
        )

    def train(self, x_pos, x_neg):
        """One optimiser step; returns the loss and the gradients."""
        loss = self.loss(self.p["energy"], x_pos, x_neg)
        return loss, self.descend("energy", self.opt, loss)

    def unit(self, noise):
        buffer, index = self.inputs["buffer"], noise["index"]
        restart = (noise["reinit"] < self.s["reinit"]).unsqueeze(1)
        x = torch.where(restart, noise["fresh"], buffer[index])
        x = self.chain(x, noise["n"], self.s["step"])
        buffer[index] = x
        loss, grads = self.train(self.inputs["data"][noise["data_index"]], x)
        return {"x": x, "loss": loss, "grad": grads}


def log_q(x, mean, log_sigma):
    """log N(x; mean, sigma^2 I) summed over the last axis, without the 2 pi."""
    d = (x - mean) * torch.exp(-log_sigma)
    return -0.5 * d.square().sum(-1) - x.shape[-1] * log_sigma


class W3(Workload):
    def setup(self):
        self.opt = {k: self.adam(k) for k in ("posterior", "energy", "generator")}

    def posterior_loss(self, x_g, z0, n1):
        g, log_eta = self.frozen("generator"), self.p["posterior"]["log_eta"]
        z = z0 + log_eta.exp() * n1
        joint = log_q(x_g, toy_generator(g, z), g["log_sigma"]) - 0.5 * z.square().sum(1)
        return -(joint.mean() + log_eta.sum())

    def energy_loss(self, x, x_g):
        p = self.p["energy"]
        x = x.requires_grad_()
        e = leaky_energy(p, x)
        (g,) = torch.autograd.grad(e.sum(), x, create_graph=True)
        return (
            e.mean()
            - leaky_energy(p, x_g).mean()
            + self.s["penalty"] * g.square().sum(1).mean()
        )

    @torch.no_grad()
    def score(self, x_g, z0, n2):
        """Importance-sampled score of the generator at x_g [B, d]; n2 [k, B, z]."""
        g = self.p["generator"]
        z = z0 + self.p["posterior"]["log_eta"].exp() * n2
        mean = toy_generator(g, z.flatten(0, 1)).unflatten(0, z.shape[:2])
        log_w = (
            log_q(x_g, mean, g["log_sigma"])
            - 0.5 * z.square().sum(-1)
            + 0.5 * n2.square().sum(-1)
        )
        w = torch.softmax(log_w, 0).unsqueeze(-1)
        return (w * (mean - x_g)).sum(0) * torch.exp(-2 * g["log_sigma"])

    def unit(self, noise):
        g, z0 = self.p["generator"], noise["z0"]
        x_g = toy_generator(g, z0) + g["log_sigma"].exp() * noise["eps"]
        x_gd, x = x_g.detach(), self.inputs["data"][noise["data_index"]]
        loss_q = self.posterior_loss(x_gd, z0, noise["n1"])
        grad_q = self.descend("posterior", self.opt["posterior"], loss_q)
        loss_e = self.energy_loss(x, x_gd)
        grad_e = self.descend("energy", self.opt["energy"], loss_e)
        s = self.score(x_gd, z0, noise["n2"])
        e = leaky_energy(self.frozen("energy"), x_g)
        loss_g = (e + self.s["entropy"] * (s * x_g).sum(1)).mean()
        grad_g = self.descend("generator", self.opt["generator"], loss_g)
        return {
            "loss_q": loss_q,
            "loss_e": loss_e,
            "loss_g": loss_g,
            "score": s,
            "grad_q": grad_q,
            "grad_e": grad_e,
            "grad_g": grad_g,
        }


class W4(Workload):
    def setup(self):
        self.opt = {k: self.adam(k) for k in ("generator", "energy")}

    def smallest_direction(self, z, v0):
        """Right singular vector estimate v [B, d] of the generator at z."""
        g = self.frozen("generator")
        return lobpcg(*linearize(lambda z: tanh_generator(g, z), z), v0, self.s["lobpcg"])

    def generator_loss(self, z, v):
        x, jv = jvp(lambda z: tanh_generator(self.p["generator"], z), z, v)
        log_s1 = 0.5 * jv.square().sum(1).log()
        return (leaky_energy(self.frozen("energy"), x) - z.shape[1] * log_s1).mean(), log_s1

    def energy_loss(self, x, z, v):
        with torch.no_grad():
            x_g, jv = jvp(lambda z: tanh_generator(self.frozen("generator"), z), z, v)
        e_g, de = jvp(lambda x: leaky_energy(self.p["energy"], x), x_g, jv)
        slope = de - (z * v).sum(1)
        hinge = F.relu(self.s["weight"] * slope.square().mean() - 1)
        return leaky_energy(self.p["energy"], x).mean() - e_g.mean() + hinge

    def unit(self, noise):
        v = self.smallest_direction(noise["z_g"], noise["v0"])
        loss_g, log_s1 = self.generator_loss(noise["z_g"], v)
        grad_g = self.descend("generator", self.opt["generator"], loss_g)
        x = self.inputs["data"][noise["data_index"]]
        loss_e = self.energy_loss(x, noise["z_e"], noise["v_e"])
        grad_e = self.descend("energy", self.opt["energy"], loss_e)
        return {
            "log_s1": log_s1,
            "loss_g": loss_g,
            "loss_e": loss_e,
            "grad_g": grad_g,
            "grad_e": grad_e,
        }


class W5(Workload):
    channels_last = False  # the strided convolutions are faster this way

    def chain(self, x, noise):
        """SGLD, x [B, 1, 28, 28], noise [K, B, 1, 28, 28]."""
        p = self.frozen("energy")
        for n in noise:
            g = energy_grad(lambda x: cnn_energy(p, x), x)
            x = langevin_step(x, g, n, self.s["step"], self.s["noise"], (-1, 1))
        return x

    def unit(self, noise):
        return {"x": self.chain(self.inputs["x"], noise["n"])}


class W6(Workload):
    def setup(self):
        self.opt = self.adam("energy")

    def grad(self, x):
        p = self.frozen("energy")
        return energy_grad(lambda x: multiscale_energy(p, x), x)

    def step(self, x, g, n):
        return langevin_step(x, g, n, self.s["step"], self.s["noise"], (0, 1))

    def last_step(self, x, n):
        """The final Langevin step with its graph into the weights."""
        x = x.detach().requires_grad_()
        e = multiscale_energy(self.p["energy"], x)
        (g,) = torch.autograd.grad(e.sum(), x, create_graph=True)
        return (x.detach() - self.s["step"] * g + self.s["noise"] * n).clamp(0, 1)

    def kl(self, x_hat):
        """Energy of x_hat under frozen weights minus log distance to the bank."""
        bank = self.inputs["bank"].flatten(1)
        square = (x_hat.flatten(1).unsqueeze(1) - bank).square().sum(2)
        near = 0.5 * square.min(1).values.log()
        return (multiscale_energy(self.frozen("energy"), x_hat) - near).mean()

    def loss(self, x_pos, x_hat):
        x_neg = x_hat.detach()
        e_pos, e_neg = multiscale_energy(self.p["energy"], torch.cat([x_pos, x_neg])).chunk(2)
        return e_pos.mean() - e_neg.mean() + self.kl(x_hat)

    def unit(self, noise):
        x = self.inputs["x"]
        for n in noise["n"][:-1]:
            x = self.step(x, self.grad(x), n)
        x_hat = self.last_step(x, noise["n"][-1])
        loss = self.loss(self.inputs["data"], x_hat)
        grads = self.descend("energy", self.opt, loss)
        return {"x": x_hat, "loss": loss, "grad": grads}


class W7(Workload):
    def potential(self, eps_z, eps_x):
        """U(eps) = E(x(eps)) + |eps|^2 / 2, [B]."""
        mu, sigma = decode(self.p["decoder"], eps_z, self.s["clamp"])
        e = cifar_energy(self.p["energy"], mu + sigma * eps_x)
        return e + 0.5 * (eps_z.square().sum(1) + eps_x.square().sum((1, 2, 3)))

    def grad(self, eps_z, eps_x):
        z, x = eps_z.detach().requires_grad_(), eps_x.detach().requires_grad_()
        return torch.autograd.grad(self.potential(z, x).sum(), (z, x))

    def unit(self, noise):
        eps, step = (self.inputs["eps_z"], self.inputs["eps_x"]), self.s["step"]
        for ns in zip(noise["n_z"], noise["n_x"]):
            grads = self.grad(*eps)
            eps = [
                langevin_step(e, g, n, step / 2, step**0.5, None)
                for e, g, n in zip(eps, grads, ns)
            ]
        return {"eps_z": eps[0], "eps_x": eps[1]}


class W8(Workload):
    def leapfrog(self, x, p, g):
        """10 leapfrog steps; returns position, momentum, energy, gradient."""
        w, step = self.p["energy"], self.s["step"]
        p = p - 0.5 * step * g
        for i in range(self.s["leapfrog"]):
            x = x + step * p
            e, g = value_and_grad(lambda x: swish_energy(w, x), x)
            p = p - (step if i < self.s["leapfrog"] - 1 else 0.5 * step) * g
        return x, p, e, g

    def unit(self, noise):
        w = self.p["energy"]
        x, accepted = self.inputs["x"], 0.0
        e, g = value_and_grad(lambda x: swish_energy(w, x), x)
        for p0, u in zip(noise["p"], noise["u"]):
            y, p, e_y, g_y = self.leapfrog(x, p0, g)
            log_ratio = e - e_y + 0.5 * (p0.square().sum(1) - p.square().sum(1))
            accept = u.log() < log_ratio
            x = torch.where(accept.unsqueeze(1), y, x)
            g = torch.where(accept.unsqueeze(1), g_y, g)
            e = torch.where(accept, e_y, e)
            accepted = accepted + accept.float().mean()
        return {"x": x, "accept": accepted / len(noise["u"])}


CLASSES = {c.__name__: c for c in (W1, W2, W3, W4, W5, W6, W7, W8)}


def build(name):
    """A zero-argument run() for one workload."""
    return CLASSES[name](workloads.make(name)).run


def check(name, case, noise):
    """Results of one unit as a flat dictionary of arrays in neutral layout."""
    return CLASSES[name](case).check(noise)


WORKLOADS = {name: (lambda name=name: build(name)) for name in CLASSES}
