"""What the eight workloads share: layouts, random numbers, networks, chains, Adam.

A workload is written as a *unit*, a NumPy function of constants, a state and random numbers;
the library compiles it. ``run`` draws the numbers itself, as part of the work; ``check`` hands
them out, so that every system can be fed the same. Chains are also written with the library's
networks and samplers. Weights are [in, out] and (kh, kw, in, out), images (N, H, W, C): the
neutral layouts of workloads.py are converted once, before the clock.
"""

import numpy as np
import systems
import workloads

import ebmlib as ebm
from ebmlib import functional as F
from ebmlib import samplers

VERSION = f"ebmlib {ebm.__version__}"


# ---- devices ---------------------------------------------------------------------------------


def there(arrays):
    """Nested dictionaries of arrays on the device of the process; as they are on the CPU."""
    if systems.device() == "cpu":
        return arrays
    if isinstance(arrays, dict):
        return {name: there(a) for name, a in arrays.items()}
    return ebm.asarray(arrays, device=systems.device())


def finish(out):
    """A copy to the host waits; what samplers and estimators return is there already."""
    if isinstance(out, ebm.Array):
        out.numpy()


# ---- layouts ---------------------------------------------------------------------------------


def weight(a):
    """[out, in] to [in, out], [out, in, kh, kw] to (kh, kw, in, out); a copy."""
    axes = {2: (1, 0), 4: (2, 3, 1, 0)}.get(a.ndim)
    return np.array(a if axes is None else a.transpose(axes), order="C")


def image(a):
    """(..., C, H, W) to (..., H, W, C); a copy."""
    return np.array(np.moveaxis(a, -3, -1) if a.ndim >= 4 else a, order="C")


def back(name, a):
    """The inverse: of ``weight`` for gradients, of ``image`` for samples."""
    if name.startswith("grad"):
        axes = {2: (1, 0), 4: (3, 2, 0, 1)}.get(a.ndim)
        return a if axes is None else a.transpose(axes)
    return np.moveaxis(a, -1, -3) if a.ndim >= 4 else a


def neutral(results):
    """Results of a unit by name, in the layouts of workloads.py."""
    return {k: back(k, np.asarray(a)) for k, a in workloads.flatten(results).items()}


# ---- random numbers --------------------------------------------------------------------------


def draw(key, spec):
    """The random numbers of one unit (workloads.Case.noise)."""
    drawn = {}
    for name, (kind, shape) in spec.items():
        if len(shape) >= 4:
            shape = (*shape[:-3], *shape[-2:], shape[-3])
        if kind == "normal":
            drawn[name] = ebm.random.normal(key, shape)
        elif kind == "uniform":
            drawn[name] = ebm.random.uniform(key, shape)
        else:
            drawn[name] = ebm.random.randint(key, shape, 0, kind)
    return drawn


# ---- layers and networks ---------------------------------------------------------------------


def sub(p, prefix):
    """The entries below ``prefix``, without it."""
    return {name[len(prefix) :]: a for name, a in p.items() if name.startswith(prefix)}


def linear(p, name, x):
    return x @ p[f"{name}.w"] + p[f"{name}.b"]


def conv(p, name, x, stride=1):
    """Padding 1, none for kernels of 1x1."""
    w = p[f"{name}.w"]
    return F.conv(x, w, stride, w.shape[0] // 2 if w.shape[0] != 4 else 1) + p[f"{name}.b"]


def leaky(x):
    return F.leaky_relu(x, 0.2)


def mlp(p, x, activation):
    """Layers l0, l1, ...: (B, widths[0]) to (B, widths[-1])."""
    last = sum(name.endswith(".w") for name in p) - 1
    for i in range(last):
        x = activation(linear(p, f"l{i}", x))
    return linear(p, f"l{last}", x)


def swish_energy(p, x):
    """(B, d) to (B,)."""
    return mlp(p, x, F.swish)[:, 0]


def leaky_energy(p, x):
    """(B, d) to (B,)."""
    return mlp(p, x, leaky)[:, 0]


# ---- steps -----------------------------------------------------------------------------------


def value_and_grad(energy, x):
    """Energies (B,) and their gradients in x, rows being independent."""
    e, pull = ebm.vjp(energy, x)
    return e, pull(np.ones_like(e))[0]


def langevin(energy, x, noise, drift, sd, clip=None):
    """Steps x - drift grad E + sd n, one for each of noise (K, B, ...)."""

    def step(_, x, n):
        x = x - drift * value_and_grad(energy, x)[1] + sd * n
        return np.clip(x, *clip) if clip else x

    return ebm.repeat(step, len(noise), x, xs=noise)


def adam_start(p):
    zeros = {name: np.zeros_like(a) for name, a in p.items()}
    return {"m": zeros, "v": dict(zeros), "t": np.zeros((), np.float32)}


def adam(p, grads, moments, lr, betas=(0.9, 0.999), eps=1e-8):
    """One step: the new parameters and moments (Kingma and Ba 2015)."""
    b1, b2 = betas
    t = moments["t"] + 1
    m = {k: b1 * moments["m"][k] + (1 - b1) * g for k, g in grads.items()}
    v = {k: b2 * moments["v"][k] + (1 - b2) * np.square(g) for k, g in grads.items()}
    rate, scale = lr / (1 - b1**t), 1 / np.sqrt(1 - b2**t)
    new = {k: a - rate * m[k] / (np.sqrt(v[k]) * scale + eps) for k, a in p.items()}
    return new, {"m": m, "v": v, "t": t}


# ---- a workload ------------------------------------------------------------------------------


class Workload:
    """One case.  ``unit(const, state, noise)`` gives (new state, results); ``trained`` names
    the networks and ``moving`` the inputs that change; ``keep`` is what a timed call returns.
    """

    keep, trained, moving = "loss", (), ()

    def __init__(self, case):
        self.case, self.s = case, case.sizes
        arrays = {k: {n: weight(a) for n, a in p.items()} for k, p in case.params.items()}
        arrays |= {k: image(a) for k, a in case.inputs.items()}
        changing = self.trained + self.moving
        self.const = {k: a for k, a in arrays.items() if k not in changing}
        self.state = {k: arrays[k] for k in changing}
        self.state |= {f"{k}.adam": adam_start(arrays[k]) for k in self.trained}
        self.const, self.state = there(self.const), there(self.state)
        self.key = ebm.random.key(0)
        self.calls = 0
        self.fast = ebm.jit(self.whole, donate_argnums=1)

    def unit(self, const, state, noise):
        raise NotImplementedError

    def update(self, state, name, grads):
        s = self.s
        p, moments = adam(
            state[name], grads, state[f"{name}.adam"], s["lr"], s.get("betas", (0.9, 0.999))
        )
        return state | {name: p, f"{name}.adam": moments}

    def whole(self, const, state, key):
        """All units of a timed call."""

        def step(i, state):
            noise = draw(ebm.random.fold_in(key, i), self.case.noise)
            state, out = self.unit(const, state, noise)
            return state, out[self.keep]

        if self.case.units == 1:
            return step(0, state)
        state, kept = ebm.repeat(step, self.case.units, state, stack=True)
        return state, kept[-1]

    def run(self):
        self.calls += 1
        self.state, out = self.fast(self.const, self.state, ebm.random.key(self.calls))
        return out

    def check(self, seed):
        """The case, random numbers, and what one unit makes of them, in neutral layouts."""
        noise = self.case.draw(seed)
        given = {k: image(a) for k, a in noise.items()}
        _, out = ebm.jit(self.unit)(self.const, self.state, given)
        return self.case, noise, neutral(out)


# ---- the library's own samplers --------------------------------------------------------------


class Chain:
    """One case of a chain, by the library's networks and samplers."""

    def network(self):
        """The specification of the energy."""
        raise NotImplementedError

    def sampler(self):
        raise NotImplementedError

    def __init__(self, case):
        self.case, self.s = case, case.sizes
        self.x = image(case.inputs["x"])
        weights = {name: weight(a) for name, a in case.params["energy"].items()}
        self.energy = self.network().bind(self.x.shape[1:], random_state=0)
        self.energy.set_parameters(weights)
        self.walk = self.sampler()
        self.calls = 0

    def run(self):
        self.calls += 1
        return self.walk.sample(self.energy, self.x, random_state=self.calls)

    def check(self, seed):
        """As of ``Workload``, with the numbers that the chain draws."""
        noise = {"n": draws_of_chain(self.x.shape, self.s["steps"], seed)}
        x = self.walk.sample(self.energy, self.x, random_state=seed)
        return self.case, {k: back(k, a) for k, a in noise.items()}, neutral({"x": x})


def draws_of_chain(shape, steps, seed):
    """The normals (steps, N, ...) of a Langevin chain: its steps from zero on a flat energy."""
    drawn = samplers.Langevin(noise=1.0)
    start = drawn.init(np.zeros(shape, np.float32), random_state=seed)

    def flat(x):
        return 0 * np.sum(x, axis=tuple(range(1, x.ndim)))

    return np.stack([drawn.step(flat, start._replace(step=i))[0].x for i in range(steps)])
