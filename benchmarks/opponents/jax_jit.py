"""JAX: every unit of work (a whole chain, a whole training step) in one jit.

Chains are lax.scan over noise drawn in one call, training state is donated,
images are NHWC. XLA's CPU backend is slow on the gradient of a strided
convolution (W5: 2.2 times), so those are written as patches times matrix;
on a card convolutions are XLA's.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import workloads

VERSION = f"jax {jax.__version__}"
ON_CARD = False


def set_threads(n):
    """XLA sizes its pool by the CPUs this process may use (see bench.py)."""


def use_device(name):
    """A card; float32 is float32 there too. A run waits by itself."""
    global ON_CARD
    if jax.default_backend() != "gpu":
        raise RuntimeError(f"JAX has no GPU backend: its devices are {jax.devices()}")
    jax.config.update("jax_default_matmul_precision", "highest")
    ON_CARD = True


# ---------------------------------------------------------------- conversion


def weight(a):
    """[out, in] -> [in, out], [out, in, kh, kw] -> [kh, kw, in, out]."""
    return jnp.asarray(np.transpose(a, {2: (1, 0), 4: (2, 3, 1, 0)}.get(a.ndim, range(a.ndim))))


def image(a):
    """[..., C, H, W] -> [..., H, W, C] for arrays of four or five axes."""
    return jnp.asarray(np.moveaxis(a, -3, -1) if a.ndim >= 4 else a)


def back(name, a):
    """The inverse of weight() for gradients and of image() for samples."""
    a = np.asarray(a)
    if name.startswith("grad"):
        return np.transpose(a, {2: (1, 0), 4: (3, 2, 0, 1)}.get(a.ndim, range(a.ndim)))
    return np.moveaxis(a, -1, -3) if a.ndim >= 4 else a


def draw(key, spec):
    """Random numbers of one unit, see workloads.Case.noise; images are NHWC."""
    out = {}
    for (name, (kind, shape)), k in zip(spec.items(), jax.random.split(key, len(spec))):
        shape = (*shape[:-3], *shape[-2:], shape[-3]) if len(shape) >= 4 else shape
        if kind == "normal":
            out[name] = jax.random.normal(k, shape)
        elif kind == "uniform":
            out[name] = jax.random.uniform(k, shape)
        else:
            out[name] = jax.random.randint(k, shape, 0, kind)
    return out


# ---------------------------------------------------------------- networks


def lin(p, name, x):
    return x @ p[name + ".w"] + p[name + ".b"]


def conv(p, name, x, stride=1):
    """Convolution with padding 1 (0 for 1x1), NHWC and HWIO."""
    w, b = p[name + ".w"], p[name + ".b"]
    if ON_CARD:
        return xla_conv(x, w, stride, w.shape[0] // 2 if stride == 1 else 1) + b
    return (same_conv(x, w) if stride == 1 else patch_conv(x, w, stride)) + b


def xla_conv(x, w, stride, pad):
    return jax.lax.conv_general_dilated(
        x, w, (stride,) * 2, [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.custom_vjp
def same_conv(x, w):
    """Stride 1, sizes kept; the weight gradient is patches times matrix."""
    return xla_conv(x, w, 1, w.shape[0] // 2)


def same_conv_backward(saved, dy):
    x, w = saved
    dx = same_conv(dy, w[::-1, ::-1].swapaxes(2, 3))
    cols = patches(x, w.shape[0], w.shape[0] // 2, 1)
    dw = cols.reshape(-1, cols.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
    return dx, dw.reshape(w.shape)


same_conv.defvjp(lambda x, w: (same_conv(x, w), (x, w)), same_conv_backward)


def patches(x, size, pad, stride):
    """[B, H, W, C] -> [B, H', W', size * size * C]."""
    n, side, _, c = x.shape
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    end = stride * ((side + 2 * pad - size) // stride) + 1
    taps = [
        jax.lax.slice(x, (0, i, j, 0), (n, i + end, j + end, c), (1, stride, stride, 1))
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(taps, -1)


def patch_conv(x, w, stride):
    """Padding 1, any stride, as patches times matrix."""
    cols = patches(x, w.shape[0], 1, stride)
    y = cols.reshape(-1, cols.shape[-1]) @ w.reshape(-1, w.shape[-1])
    return y.reshape(*cols.shape[:3], -1)


def avg_pool(x):
    """2x2 average pooling, [B, H, W, C]."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def mlp(p, x, act):
    """[B, widths[0]] -> [B, widths[-1]]; layers l0, l1, ..."""
    last = sum(k.endswith(".w") for k in p) - 1
    for i in range(last):
        x = act(lin(p, f"l{i}", x))
    return lin(p, f"l{last}", x)


def leaky(x):
    return jax.nn.leaky_relu(x, 0.2)


def swish_energy(p, x):
    """[B, d] -> [B]."""
    return mlp(p, x, jax.nn.silu)[:, 0]


def leaky_energy(p, x):
    """[B, d] -> [B]."""
    return mlp(p, x, leaky)[:, 0]


def batch_norm(x, g, b, eps=1e-5):
    return (x - x.mean(0)) * jax.lax.rsqrt(x.var(0) + eps) * g + b


def toy_generator(p, z):
    """[B, latent] -> [B, d]; batch norm with batch statistics."""
    for i in range(2):
        z = jax.nn.relu(batch_norm(lin(p, f"l{i}", z), p[f"n{i}.g"], p[f"n{i}.b"]))
    return lin(p, "l2", z)


def tanh_generator(p, z):
    """[B, latent] -> [B, D]."""
    return jnp.tanh(mlp(p, z, leaky))


def cnn_energy(p, x, strides=(1, 2, 2, 2)):
    """[B, 28, 28, 1] -> [B]."""
    for i, stride in enumerate(strides):
        x = jax.nn.silu(conv(p, f"c{i}", x, stride))
    x = jax.nn.silu(lin(p, "l0", x.reshape(len(x), -1)))
    return lin(p, "l1", x)[:, 0]


def group_norm(x, g, b, groups=8, eps=1e-5):
    n, h, w, c = x.shape
    y = x.reshape(n, h, w, groups, c // groups)
    mean, var = y.mean((1, 2, 4), keepdims=True), y.var((1, 2, 4), keepdims=True)
    return ((y - mean) * jax.lax.rsqrt(var + eps)).reshape(x.shape) * g + b


def normed_block(p, x):
    """swish(gn(conv(swish(gn(conv x)))) + skip x), 8 groups."""
    h = jax.nn.silu(group_norm(conv(p, "c1", x), p["n1.g"], p["n1.b"]))
    h = group_norm(conv(p, "c2", h), p["n2.g"], p["n2.b"])
    return jax.nn.silu(h + (conv(p, "skip", x) if "skip.w" in p else x))


def attention(p, x):
    """Single-head self-attention over pixels with a skip, [B, H, W, C]."""
    q, k, v = (conv(p, n, x).reshape(x.shape[0], -1, x.shape[3]) for n in "qkv")
    a = jax.nn.softmax(q @ k.swapaxes(1, 2) * x.shape[3] ** -0.5)
    return x + conv(p, "o", (a @ v).reshape(x.shape))


def sub(p, prefix):
    """The entries below `prefix`, without it."""
    return {k[len(prefix) :]: v for k, v in p.items() if k.startswith(prefix)}


def scale_energy(p, x):
    """One scale of W6, [B, s, s, 3] -> [B]."""
    h = normed_block(sub(p, "b0."), conv(p, "c0", x))
    h = attention(sub(p, "att."), normed_block(sub(p, "b1."), avg_pool(h)))
    h = normed_block(sub(p, "b2."), avg_pool(h) if x.shape[1] > 8 else h)
    return lin(p, "l", h.sum((1, 2)))[:, 0]


def multiscale_energy(p, x, scales=(32, 16, 8)):
    """Sum over the resolutions, [B, 32, 32, 3] -> [B]."""
    total = 0
    for s in scales:
        total = total + scale_energy(sub(p, f"s{s}."), x)
        x = avg_pool(x)
    return total


def upsample(x):
    """Nearest neighbour, twice the size (a broadcast: jnp.repeat is a gather)."""
    n, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (n, h, 2, w, 2, c))
    return x.reshape(n, 2 * h, 2 * w, c)


def decode(p, z, clamp):
    """W7 decoder, [B, 64] -> mu, sigma, each [B, 32, 32, 3]."""
    h = jax.nn.silu(lin(p, "l", z)).reshape(len(z), 4, 4, 256)
    for i in range(3):
        h = jax.nn.silu(conv(p, f"c{i}", upsample(h)))
    mu, log_sigma = jnp.split(conv(p, "head", h), 2, -1)
    return mu, jnp.exp(jnp.clip(log_sigma, *clamp))


def cifar_energy(p, x):
    """W7 energy, [B, 32, 32, 3] -> [B]."""
    h = conv(p, "c0", x)
    for i, (_, _, down) in enumerate(workloads.CIFAR_BLOCKS):
        b = sub(p, f"b{i}.")
        y = conv(b, "c2", jax.nn.silu(conv(b, "c1", jax.nn.silu(h))))
        h = y + (conv(b, "skip", h) if "skip.w" in b else h)
        h = avg_pool(h) if down else h
    return lin(p, "l", jax.nn.silu(h).sum((1, 2)))[:, 0]


# ---------------------------------------------------------------- gradients


def energy_grad(energy, x):
    """dE/dx [B, ...] of energy(x) [B]."""
    return jax.grad(lambda x: energy(x).sum())(x)


def value_and_grad(energy, x):
    e, pull = jax.vjp(energy, x)
    return e, pull(jnp.ones_like(e))[0]


def langevin(energy, x, noise, drift, sd, clip=None):
    """K Langevin steps, x [B, ...], noise [K, B, ...]."""

    def step(x, n):
        x = x - drift * energy_grad(energy, x) + sd * n
        return (jnp.clip(x, *clip) if clip else x), None

    return jax.lax.scan(step, x, noise)[0]


def ritz(basis, images):
    """Coefficients [B, m] of the unit vector in the span that J shrinks most.

    basis [B, m, d], images [B, m, D] = J basis.
    """
    eye = 1e-6 * jnp.eye(basis.shape[1])
    inv = jnp.linalg.inv(jnp.linalg.cholesky(basis @ basis.mT + eye))
    _, vecs = jnp.linalg.eigh(inv @ (images @ images.mT) @ inv.mT)
    return (inv.mT @ vecs[:, :, :1])[:, :, 0]


def lobpcg(jvp, vjp, v, iterations):
    """Unit v [B, d] with small |J v|: basis v, residual, previous direction."""
    v = v / jnp.linalg.norm(v, axis=1, keepdims=True)
    jv, p, jp = jvp(v), None, None
    for _ in range(iterations):
        r = vjp(jv) - jnp.square(jv).sum(1, keepdims=True) * v
        r = r / jnp.linalg.norm(r, axis=1, keepdims=True)
        basis = jnp.stack([v, r] if p is None else [v, r, p], 1)
        images = jnp.stack([jv, jvp(r)] if p is None else [jv, jvp(r), jp], 1)
        c = ritz(basis, images)
        p, jp = (jnp.einsum("bm,bmd->bd", c[:, 1:], a[:, 1:]) for a in (basis, images))
        v, jv = c[:, :1] * v + p, c[:, :1] * jv + jp
        size = jnp.linalg.norm(p, axis=1, keepdims=True)
        p, jp = p / size, jp / size
    return v / jnp.linalg.norm(v, axis=1, keepdims=True)


# ---------------------------------------------------------------- workloads


class Workload:
    """One case.

    `unit(const, state, noise)` is pure: it returns the new state and a
    dictionary of results. `const` is the weights and inputs that do not
    change, `state` the ones that do (donated). `keep` names the result that a
    timed call hands back; XLA drops the others.
    """

    keep, trained, moving = "loss", (), ()

    def __init__(self, case):
        self.case, self.s = case, case.sizes
        p = {k: {n: weight(a) for n, a in v.items()} for k, v in case.params.items()}
        inputs = {k: image(a) for k, a in case.inputs.items()}
        self.const = {
            k: v for k, v in (p | inputs).items() if k not in self.trained + self.moving
        }
        self.adam = optax.adam(case.sizes.get("lr", 0), *case.sizes.get("betas", ()))
        self.state = {k: (p | inputs)[k] for k in self.trained + self.moving}
        self.state |= {f"{k}_adam": self.adam.init(p[k]) for k in self.trained}
        self.state["key"] = jax.random.key(0)
        self.fast = jax.jit(self.unit_with_key, donate_argnums=1)

    def unit_with_key(self, const, state):
        key, use = jax.random.split(state["key"])
        state, out = self.unit(const, state, draw(use, self.case.noise))
        return state | {"key": key}, out[self.keep]

    def update(self, state, name, grads):
        """One Adam step on one network."""
        step, moments = self.adam.update(grads, state[f"{name}_adam"])
        return state | {name: optax.apply_updates(state[name], step), f"{name}_adam": moments}

    def run(self):
        for _ in range(self.case.units):
            self.state, out = self.fast(self.const, self.state)
        return jax.block_until_ready(out)

    def check(self, noise):
        """The results of one unit with given random numbers, as arrays."""
        noise = {k: image(a) for k, a in noise.items()}
        _, out = jax.jit(self.unit)(self.const, self.state, noise)
        out = workloads.flatten(out)
        return {k: back(k, v) for k, v in out.items()}


class W1(Workload):
    keep = "x"

    def unit(self, const, state, noise):
        s, p = self.s, const["energy"]
        x = langevin(
            lambda x: swish_energy(p, x),
            const["x"],
            noise["n"],
            s["step"] / 2,
            s["step"] ** 0.5,
        )
        return state, {"x": x}


class W2(Workload):
    trained, moving = ("energy",), ("buffer",)

    def loss(self, p, x_pos, x_neg):
        e_pos, e_neg = jnp.split(swish_energy(p, jnp.concatenate([x_pos, x_neg])), 2)
        return (
            e_pos.mean()
            - e_neg.mean()
            + self.s["reg"] * (jnp.square(e_pos).mean() + jnp.square(e_neg).mean())
        )

    def unit(self, const, state, noise):
        s, p, index = self.s, state["energy"], noise["index"]
        restart = (noise["reinit"] < s["reinit"])[:, None]
        x = jnp.where(restart, noise["fresh"], state["buffer"][index])
        x = langevin(
            lambda x: swish_energy(p, x), x, noise["n"], s["step"] / 2, s["step"] ** 0.5
        )
        x_pos = const["data"][noise["data_index"]]
        loss, grads = jax.value_and_grad(self.loss)(p, x_pos, x)
        state = self.update(state, "energy", grads)
        state["buffer"] = state["buffer"].at[index].set(x)
        return state, {"x": x, "loss": loss, "grad": grads}


def log_q(x, mean, log_sigma):
    """log N(x; mean, sigma^2 I) summed over the last axis, without the 2 pi."""
    d = (x - mean) * jnp.exp(-log_sigma)
    return -0.5 * jnp.square(d).sum(-1) - x.shape[-1] * log_sigma


class W3(Workload):
    keep, trained = "loss_g", ("posterior", "energy", "generator")

    def posterior_loss(self, post, g, x_g, z0, n1):
        z = z0 + jnp.exp(post["log_eta"]) * n1
        joint = log_q(x_g, toy_generator(g, z), g["log_sigma"]) - 0.5 * jnp.square(z).sum(1)
        return -(joint.mean() + post["log_eta"].sum())

    def energy_loss(self, p, x, x_g):
        e, g = value_and_grad(lambda x: leaky_energy(p, x), x)
        return (
            e.mean()
            - leaky_energy(p, x_g).mean()
            + self.s["penalty"] * jnp.square(g).sum(1).mean()
        )

    def score(self, g, log_eta, x_g, z0, n2):
        """Importance-sampled score of the generator at x_g [B, d]; n2 [k, B, z]."""
        z = z0 + jnp.exp(log_eta) * n2
        mean = toy_generator(g, z.reshape(-1, z.shape[-1])).reshape(*z.shape[:2], -1)
        log_w = (
            log_q(x_g, mean, g["log_sigma"])
            - 0.5 * jnp.square(z).sum(-1)
            + 0.5 * jnp.square(n2).sum(-1)
        )
        w = jax.nn.softmax(log_w, 0)[..., None]
        return (w * (mean - x_g)).sum(0) * jnp.exp(-2 * g["log_sigma"])

    def unit(self, const, state, noise):
        g, z0 = state["generator"], noise["z0"]

        def sample(g):
            return toy_generator(g, z0) + jnp.exp(g["log_sigma"]) * noise["eps"]

        x_g, pull = jax.vjp(sample, g)
        loss_q, grad_q = jax.value_and_grad(self.posterior_loss)(
            state["posterior"], g, x_g, z0, noise["n1"]
        )
        state = self.update(state, "posterior", grad_q)
        loss_e, grad_e = jax.value_and_grad(self.energy_loss)(
            state["energy"], const["data"][noise["data_index"]], x_g
        )
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


class W4(Workload):
    keep, trained = "loss_e", ("generator", "energy")

    def smallest_direction(self, g, z, v0):
        """Right singular vector estimate v [B, d] of the generator at z."""
        _, jvp = jax.linearize(lambda z: tanh_generator(g, z), z)
        vjp = jax.linear_transpose(jvp, z)
        return lobpcg(jvp, lambda u: vjp(u)[0], v0, self.s["lobpcg"])

    def generator_loss(self, g, p, z, v):
        x, jv = jax.jvp(lambda z: tanh_generator(g, z), (z,), (v,))
        log_s1 = 0.5 * jnp.log(jnp.square(jv).sum(1))
        return (leaky_energy(p, x) - z.shape[1] * log_s1).mean(), log_s1

    def energy_loss(self, p, g, x, z, v):
        x_g, jv = jax.jvp(lambda z: tanh_generator(g, z), (z,), (v,))
        e_g, de = jax.jvp(lambda x: leaky_energy(p, x), (x_g,), (jv,))
        slope = de - (z * v).sum(1)
        hinge = jax.nn.relu(self.s["weight"] * jnp.square(slope).mean() - 1)
        return leaky_energy(p, x).mean() - e_g.mean() + hinge

    def unit(self, const, state, noise):
        v = self.smallest_direction(state["generator"], noise["z_g"], noise["v0"])
        (loss_g, log_s1), grad_g = jax.value_and_grad(self.generator_loss, has_aux=True)(
            state["generator"], state["energy"], noise["z_g"], v
        )
        state = self.update(state, "generator", grad_g)
        loss_e, grad_e = jax.value_and_grad(self.energy_loss)(
            state["energy"],
            state["generator"],
            const["data"][noise["data_index"]],
            noise["z_e"],
            noise["v_e"],
        )
        state = self.update(state, "energy", grad_e)
        return state, {
            "log_s1": log_s1,
            "loss_g": loss_g,
            "loss_e": loss_e,
            "grad_g": grad_g,
            "grad_e": grad_e,
        }


class W5(Workload):
    keep = "x"

    def unit(self, const, state, noise):
        s, p = self.s, const["energy"]
        x = langevin(
            lambda x: cnn_energy(p, x), const["x"], noise["n"], s["step"], s["noise"], (-1, 1)
        )
        return state, {"x": x}


class W6(Workload):
    trained = ("energy",)

    def loss(self, p, const, x, n):
        """Loss through the last Langevin step; x is its start, n its noise."""
        s, frozen = self.s, jax.lax.stop_gradient(p)
        g = energy_grad(lambda x: multiscale_energy(p, x), x)
        x_hat = jnp.clip(x - s["step"] * g + s["noise"] * n, 0, 1)
        flat, bank = x_hat.reshape(len(x), 1, -1), const["bank"].reshape(s["bank"], -1)
        near = 0.5 * jnp.log(jnp.square(flat - bank).sum(2).min(1))
        kl = (multiscale_energy(frozen, x_hat) - near).mean()
        both = jnp.concatenate([const["data"], jax.lax.stop_gradient(x_hat)])
        e_pos, e_neg = jnp.split(multiscale_energy(p, both), 2)
        return e_pos.mean() - e_neg.mean() + kl, x_hat

    def unit(self, const, state, noise):
        s, p = self.s, state["energy"]
        x = langevin(
            lambda x: multiscale_energy(p, x),
            const["x"],
            noise["n"][:-1],
            s["step"],
            s["noise"],
            (0, 1),
        )
        (loss, x_hat), grads = jax.value_and_grad(self.loss, has_aux=True)(
            p, const, x, noise["n"][-1]
        )
        return self.update(state, "energy", grads), {"x": x_hat, "loss": loss, "grad": grads}


class W7(Workload):
    keep = "eps_x"

    def unit(self, const, state, noise):
        step, sd = self.s["step"], self.s["step"] ** 0.5

        def potential(eps):
            mu, sigma = decode(const["decoder"], eps[0], self.s["clamp"])
            e = cifar_energy(const["energy"], mu + sigma * eps[1])
            return e.sum() + 0.5 * sum(jnp.square(a).sum() for a in eps)

        def body(eps, ns):
            grads = jax.grad(potential)(eps)
            return jax.tree.map(lambda e, g, n: e - step / 2 * g + sd * n, eps, grads, ns), None

        eps = (const["eps_z"], const["eps_x"])
        eps, _ = jax.lax.scan(body, eps, (noise["n_z"], noise["n_x"]))
        return state, {"eps_z": eps[0], "eps_x": eps[1]}


class W8(Workload):
    keep = "x"

    def unit(self, const, state, noise):
        w, step, count = const["energy"], self.s["step"], self.s["leapfrog"]

        def value_grad(x):
            return value_and_grad(lambda x: swish_energy(w, x), x)

        def leapfrog(_, carry):
            x, p, _, g = carry
            p = p - 0.5 * step * g
            x = x + step * p
            e, g = value_grad(x)
            return x, p - 0.5 * step * g, e, g

        def iteration(carry, draws):
            (x, e, g), (p0, u) = carry, draws
            y, p, e_y, g_y = jax.lax.fori_loop(0, count, leapfrog, (x, p0, e, g))
            log_ratio = e - e_y + 0.5 * (jnp.square(p0) - jnp.square(p)).sum(1)
            accept = jnp.log(u) < log_ratio
            x, g = (jnp.where(accept[:, None], a, b) for a, b in ((y, x), (g_y, g)))
            return (x, jnp.where(accept, e_y, e), g), accept.mean()

        start = const["x"], *value_grad(const["x"])
        (x, _, _), accept = jax.lax.scan(iteration, start, (noise["p"], noise["u"]))
        return state, {"x": x, "accept": accept.mean()}


CLASSES = {c.__name__: c for c in (W1, W2, W3, W4, W5, W6, W7, W8)}


def build(name):
    """A zero-argument run() for one workload."""
    return CLASSES[name](workloads.make(name)).run


def check(name, case, noise):
    """Results of one unit as a flat dictionary of arrays in neutral layout."""
    return CLASSES[name](case).check(noise)


WORKLOADS = {name: (lambda name=name: build(name)) for name in CLASSES}
