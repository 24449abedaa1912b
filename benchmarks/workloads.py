"""Sizes, data, initial weights and random numbers of every workload.

One place, NumPy only, so that every system gets the same numbers. Layouts
here are neutral and each system converts them once, before the clock starts:
linear weights are [out, in], convolution weights [out, in, kh, kw], images
[batch, channels, height, width]; everything is float32. The mathematics of
W1..W8 is written out in README.md.
"""

from dataclasses import dataclass

import numpy as np

SIZES = {
    "W1": dict(chains=1024, dim=2, hidden=(128, 128), steps=100, step=1e-2),
    "W2": dict(
        batch=256,
        dim=2,
        hidden=(128, 128),
        buffer=8192,
        reinit=0.05,
        langevin_steps=20,
        step=1e-2,
        reg=1e-3,
        lr=1e-3,
        data=8192,
        train_steps=50,
    ),
    "W3": dict(
        batch=100,
        dim=2,
        latent=2,
        hidden=(100, 100),
        k=20,
        penalty=0.1,
        entropy=1.0,
        lr=1e-3,
        betas=(0.0, 0.9),
        data=8192,
        train_steps=50,
    ),
    "W4": dict(
        batch=64,
        energy=(2352, 2000, 1000, 500, 250, 250, 1),
        generator=(128, 500, 1000, 2000, 2352),
        lobpcg=8,
        weight=0.001 / 128,
        lr=2e-4,
        betas=(0.0, 0.9),
        data=1024,
        train_steps=3,
    ),
    "W5": dict(
        batch=128,
        shape=(1, 28, 28),
        steps=60,
        step=1.0,
        noise=0.01,
        convs=((1, 64, 3, 1), (64, 64, 4, 2), (64, 128, 4, 2), (128, 128, 4, 2)),
        hidden=128,
    ),
    "W6": dict(
        batch=16,
        shape=(3, 32, 32),
        scales=(32, 16, 8),
        steps=20,
        step=10.0,
        noise=0.005,
        bank=100,
        groups=8,
        lr=1e-4,
        train_steps=1,
    ),
    "W7": dict(batch=16, shape=(3, 32, 32), latent=64, steps=10, step=8e-5, clamp=(-4.0, 1.0)),
    "W8": dict(chains=1024, dim=2, hidden=(128, 128), iterations=100, leapfrog=10, step=0.1),
}

# How often one `run()` repeats the unit that `noise` describes.
UNITS = {"W2": "train_steps", "W3": "train_steps", "W4": "train_steps", "W6": "train_steps"}


@dataclass
class Case:
    """One workload: its sizes, weights, fixed inputs and random numbers.

    params  network name -> parameter name -> array
    inputs  name -> array: start states, data sets, buffers
    noise   name -> (kind, shape): the random numbers of one unit of work (a
            whole chain, or one training step); kind is "normal", "uniform" or
            an int n for integers below n. Drawing them is part of the work.
    """

    name: str
    sizes: dict
    params: dict
    inputs: dict
    noise: dict

    @property
    def units(self):
        """Number of units (training steps) in one timed call."""
        return self.sizes[UNITS[self.name]] if self.name in UNITS else 1

    def draw(self, seed=0):
        """The noise of one unit as NumPy arrays; integers without repeats."""
        rng = np.random.default_rng(seed)
        return {k: _draw(rng, kind, shape) for k, (kind, shape) in self.noise.items()}


def _draw(rng, kind, shape):
    if kind == "normal":
        return rng.standard_normal(shape, dtype=np.float32)
    if kind == "uniform":
        return rng.random(shape, dtype=np.float32)
    return rng.permutation(kind)[: shape[0]].astype(np.int32)


# ---------------------------------------------------------------- weights


def linear(rng, n_in, n_out, gain=1.0):
    """Weights N(0, gain^2 / n_in), biases N(0, 0.1^2)."""
    w = rng.standard_normal((n_out, n_in), dtype=np.float32) * gain / n_in**0.5
    return {"w": w.astype(np.float32), "b": _bias(rng, n_out)}


def conv(rng, n_in, n_out, size, gain=1.0):
    """Weights N(0, gain^2 / fan_in), biases N(0, 0.1^2)."""
    shape = (n_out, n_in, size, size)
    w = rng.standard_normal(shape, dtype=np.float32) * gain / (n_in * size * size) ** 0.5
    return {"w": w.astype(np.float32), "b": _bias(rng, n_out)}


def norm(rng, n):
    """Gain around 1 and bias around 0."""
    return {"g": 1 + _bias(rng, n), "b": _bias(rng, n)}


def _bias(rng, n):
    return (0.1 * rng.standard_normal(n)).astype(np.float32)


def flatten(tree, prefix=""):
    """Nested dictionaries -> {"a.b.w": array}."""
    out = {}
    for k, v in tree.items():
        out.update(flatten(v, f"{prefix}{k}.") if isinstance(v, dict) else {prefix + k: v})
    return out


def mlp(rng, widths, gain=1.5):
    """Layers l0, l1, ...: widths[i] -> widths[i + 1]."""
    return flatten(
        {f"l{i}": linear(rng, a, b, gain) for i, (a, b) in enumerate(zip(widths, widths[1:]))}
    )


def swish_mlp(rng, dim, hidden):
    """dim-hidden-1 with positive last weights, so that exp(-E) is a density."""
    p = mlp(rng, (dim, *hidden, 1))
    last = f"l{len(hidden)}.w"
    return p | {last: np.abs(p[last])}


def toy_generator(rng, latent, hidden, dim):
    """latent-100-100-dim with batch norm n0, n1 after the hidden layers."""
    p = mlp(rng, (latent, *hidden, dim))
    return p | flatten({f"n{i}": norm(rng, h) for i, h in enumerate(hidden)})


def cnn(rng, convs, flat, hidden):
    """The 4-layer network of W5: c0..c3, linear l0 (flat -> hidden), l1."""
    p = {f"c{i}": conv(rng, a, b, size, 1.5) for i, (a, b, size, _) in enumerate(convs)}
    return flatten(p | {"l0": linear(rng, flat, hidden, 1.5), "l1": linear(rng, hidden, 1)})


def res_block(rng, n_in, n_out, normed):
    """Two 3x3 convolutions, optional group norms, 1x1 skip if widths differ."""
    gain = 1.0 if normed else 1.5
    p = {"c1": conv(rng, n_in, n_out, 3, gain), "c2": conv(rng, n_out, n_out, 3, gain)}
    if normed:
        p |= {"n1": norm(rng, n_out), "n2": norm(rng, n_out)}
    if n_in != n_out:
        p["skip"] = conv(rng, n_in, n_out, 1)
    return p


def scale_net(rng):
    """One scale of W6; the same shape at every resolution."""
    return flatten(
        {
            "c0": conv(rng, 3, 64, 3),
            "b0": res_block(rng, 64, 64, True),
            "b1": res_block(rng, 64, 128, True),
            "att": {k: conv(rng, 128, 128, 1) for k in "qkvo"},
            "b2": res_block(rng, 128, 128, True),
            "l": linear(rng, 128, 1, 0.2),
        }
    )


def decoder(rng, latent):
    """W7: z -> 256x4x4 -> three (upsample, conv) -> mu and log sigma."""
    return flatten(
        {
            "l": linear(rng, latent, 256 * 16, 1.5),
            "c0": conv(rng, 256, 256, 3, 1.5),
            "c1": conv(rng, 256, 128, 3, 1.5),
            "c2": conv(rng, 128, 64, 3, 1.5),
            "head": conv(rng, 64, 6, 3),
        }
    )


CIFAR_BLOCKS = (
    (128, 128, True),
    (128, 128, False),
    (128, 256, True),
    (256, 256, False),
    (256, 256, True),
    (256, 256, False),
)


def cifar_net(rng):
    """W7 energy: c0, blocks b0..b5 of CIFAR_BLOCKS (in, out, down), linear l."""
    p = {"c0": conv(rng, 3, 128, 3), "l": linear(rng, 256, 1)}
    p |= {f"b{i}": res_block(rng, a, b, False) for i, (a, b, _) in enumerate(CIFAR_BLOCKS)}
    return flatten(p)


# ---------------------------------------------------------------- data


def ring(rng, n):
    """n points on a noisy ring of radius 2, [n, 2]."""
    t = rng.uniform(0, 2 * np.pi, n)
    x = 2 * np.stack([np.cos(t), np.sin(t)], 1) + 0.1 * rng.standard_normal((n, 2))
    return x.astype(np.float32)


def images(rng, n, shape, low=0.0):
    """n smooth random images in [low, 1], [n, *shape]."""
    channels, height, width = shape
    coarse = rng.uniform(low, 1, (n, channels, -(-height // 4), -(-width // 4)))
    fine = coarse.repeat(4, 2).repeat(4, 3)[:, :, :height, :width]
    return np.ascontiguousarray(fine, dtype=np.float32)


def normal(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


# ---------------------------------------------------------------- cases


def _w1(rng, s):
    x = normal(rng, s["chains"], s["dim"])
    return (
        {"energy": swish_mlp(rng, s["dim"], s["hidden"])},
        {"x": x},
        {"n": ("normal", (s["steps"], *x.shape))},
    )


def _w2(rng, s):
    b, d = s["batch"], s["dim"]
    params = {"energy": swish_mlp(rng, d, s["hidden"])}
    inputs = {"data": ring(rng, s["data"]), "buffer": normal(rng, s["buffer"], d)}
    noise = {
        "data_index": (s["data"], (b,)),
        "index": (s["buffer"], (b,)),
        "reinit": ("uniform", (b,)),
        "fresh": ("normal", (b, d)),
        "n": ("normal", (s["langevin_steps"], b, d)),
    }
    return params, inputs, noise


def _w3(rng, s):
    b, d, z = s["batch"], s["dim"], s["latent"]
    params = {
        "energy": mlp(rng, (d, *s["hidden"], 1)),
        "generator": toy_generator(rng, z, s["hidden"], d)
        | {"log_sigma": np.log(np.float32(0.1)).reshape(())},
        "posterior": {"log_eta": np.full(z, np.log(0.1), np.float32)},
    }
    noise = {
        "data_index": (s["data"], (b,)),
        "z0": ("normal", (b, z)),
        "eps": ("normal", (b, d)),
        "n1": ("normal", (b, z)),
        "n2": ("normal", (s["k"], b, z)),
    }
    return params, {"data": ring(rng, s["data"])}, noise


def _w4(rng, s):
    b, d = s["batch"], s["generator"][0]
    params = {"energy": mlp(rng, s["energy"], 1.3), "generator": mlp(rng, s["generator"], 1.3)}
    data = images(rng, s["data"], (3, 28, 28), -1.0).reshape(s["data"], -1)
    noise = {"data_index": (s["data"], (b,))}
    noise |= {k: ("normal", (b, d)) for k in ("z_g", "v0", "z_e", "v_e")}
    return params, {"data": data}, noise


def _w5(rng, s):
    shape = (s["batch"], *s["shape"])
    params = {"energy": cnn(rng, s["convs"], 3 * 3 * 128, s["hidden"])}
    x = rng.uniform(-1, 1, shape).astype(np.float32)
    return params, {"x": x}, {"n": ("normal", (s["steps"], *shape))}


def _w6(rng, s):
    shape = (s["batch"], *s["shape"])
    params = {
        "energy": {f"s{side}.{k}": v for side in s["scales"] for k, v in scale_net(rng).items()}
    }
    inputs = {
        "x": rng.uniform(0, 1, shape).astype(np.float32),
        "data": images(rng, s["batch"], s["shape"]),
        "bank": images(rng, s["bank"], s["shape"]),
    }
    return params, inputs, {"n": ("normal", (s["steps"], *shape))}


def _w7(rng, s):
    b = s["batch"]
    params = {"decoder": decoder(rng, s["latent"]), "energy": cifar_net(rng)}
    inputs = {"eps_z": normal(rng, b, s["latent"]), "eps_x": normal(rng, b, *s["shape"])}
    noise = {
        "n_z": ("normal", (s["steps"], b, s["latent"])),
        "n_x": ("normal", (s["steps"], b, *s["shape"])),
    }
    return params, inputs, noise


def _w8(rng, s):
    x = normal(rng, s["chains"], s["dim"])
    noise = {
        "p": ("normal", (s["iterations"], *x.shape)),
        "u": ("uniform", (s["iterations"], s["chains"])),
    }
    return {"energy": swish_mlp(rng, s["dim"], s["hidden"])}, {"x": x}, noise


_MAKERS = {
    "W1": _w1,
    "W2": _w2,
    "W3": _w3,
    "W4": _w4,
    "W5": _w5,
    "W6": _w6,
    "W7": _w7,
    "W8": _w8,
}


def make(name, **overrides):
    """The Case called `name`; `overrides` replace sizes (for small checks)."""
    sizes = SIZES[name] | overrides
    rng = np.random.default_rng([17, int(name[1:])])
    return Case(name, sizes, *_MAKERS[name](rng, sizes))
