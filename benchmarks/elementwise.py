"""What is not a product: checked against NumPy in float64, then timed.

    python benchmarks/elementwise.py [threads]

Kernels are timed inside their plans, as `ebmlib.profile` does; the median of seven rounds is
reported, in ns an element and as a share of the memory's speed (arrays that stay in a cache
may have more than all of it). At the end, what a step of a loop over a few numbers costs.
"""

import sys
import time

import numpy as np

import ebmlib as ebm
from ebmlib import _core
from ebmlib import functional as F


def check(got, want, what: str) -> None:
    for a, b in zip(got, want, strict=True):
        error = np.max(np.abs(a - b)) / np.max(np.abs(b))
        if not error < 1e-5:
            raise SystemExit(f"{what}: wrong by {error:.1e}")


def kernel_time(call, arrays) -> tuple[float, float]:
    """Median seconds of a call's kernels, and the bytes they move."""
    seconds, moved, calls = [], 0.0, 1
    while len(seconds) < 7:
        with ebm.profile() as profile:
            for _ in range(calls):
                call(*arrays)
        if profile.seconds < 0.02 and calls < 1000:
            calls *= 4
            continue
        seconds.append(profile.seconds / calls)
        moved = sum(row.bytes for row in profile.rows("op")) / calls
    return float(np.median(seconds)), moved


# ---- cases: a function, its value in float64, its arrays ------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def with_slope(activation):
    """The value of activation(h + b), and its slope there times ct."""

    def run(h, b, ct):
        y, pull = ebm.vjp(lambda x: activation(x), h + b)
        return y, *pull(ct)

    return run


def swish_exact(h, b, ct):
    x = h + b
    s = sigmoid(x)
    return x * s, ct * (s + x * s * (1 - s))


def leaky_exact(h, b, ct):
    x = h + b
    return np.where(x > 0, x, 0.2 * x), ct * np.where(x > 0, 1, 0.2)


def softplus_exact(h, b, ct):
    return np.logaddexp(0, h + b), ct * sigmoid(h + b)


def tanh_exact(h, b, ct):
    y = np.tanh(h + b)
    return y, ct * (1 - y * y)


def batch_norm(x, gain, bias):
    return (F.relu(F.batch_norm(x, gain, bias)),)


def batch_norm_exact(x, gain, bias):
    y = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * gain + bias
    return (np.maximum(y, 0),)


def adam_step(p, g, m, v):
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return p - 1e-3 * m / (np.sqrt(v) + 1e-8), m, v


def adam(p, g, m, v):
    """Ten steps, in place as in training."""
    return ebm.repeat(lambda i, c: adam_step(c[0], g, c[1], c[2]), 10, (p, m, v))


def adam_exact(p, g, m, v):
    for _ in range(10):
        p, m, v = adam_step(p, g, m, v)
    return p, m, v


def cases(rng):
    def draw(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    hidden = draw(64, 128), draw(128), draw(64, 128)
    yield "swish and slope", with_slope(F.swish), swish_exact, hidden, 1
    leaky = with_slope(lambda x: F.leaky_relu(x, 0.2))
    yield "leaky ReLU and slope", leaky, leaky_exact, hidden, 1
    yield "softplus and slope", with_slope(F.softplus), softplus_exact, hidden, 1
    yield "tanh and slope", with_slope(np.tanh), tanh_exact, hidden, 1
    for rows in 100, 2000:
        arrays = draw(rows, 100), draw(100), draw(100)
        yield "batch norm and ReLU", batch_norm, batch_norm_exact, arrays, 1
    for n in 1 << 14, 1 << 22:
        arrays = draw(n), draw(n), draw(n), draw(n) ** 2
        yield "Adam", adam, adam_exact, arrays, 10
    for n in 1 << 13, 1 << 22:
        copy = lambda x: (x[::-1][::-1],)  # noqa: E731
        yield "copy", copy, copy, (draw(n),), 1
    for shape in (100, 100), (2000, 100):
        for axis in 0, 1:
            total = lambda x, axis=axis: (np.sum(np.square(x), axis),)  # noqa: E731
            yield f"sum of squares, axis {axis}", total, total, (draw(*shape),), 1
    for f in np.exp, np.tanh, np.sin, np.log1p:
        alone = lambda x, f=f: (f(x),)  # noqa: E731
        yield f.__name__, alone, alone, (np.abs(draw(1 << 13)),), 1


def normals(n: int) -> tuple[float, float]:
    """Seconds of n normals, ours and those of NumPy's fastest generator on one thread."""
    key = ebm.random.key(1)
    x = np.asarray(ebm.jit(lambda: ebm.random.normal(key, (n,)))())
    if abs(x.mean()) > 5 / n**0.5 or abs(x.var() - 1) > 10 / n**0.5:
        raise SystemExit("normals: wrong mean or variance")
    ours, _ = kernel_time(ebm.jit(lambda: ebm.random.normal(key, (n,))), ())
    rng, out, theirs = np.random.Generator(np.random.PCG64(1)), np.empty(n, np.float32), []
    for _ in range(30):
        start = time.perf_counter()
        rng.standard_normal(out=out, dtype=np.float32)
        theirs.append(time.perf_counter() - start)
    return ours, float(np.median(theirs))


def step_time(n: int) -> float:
    """Seconds of one turn of a loop with one region over n numbers."""
    x = np.full(n, 0.5, np.float32)
    times = {}
    for steps in 1000, 5000:
        call = ebm.jit(lambda x, k=steps: ebm.repeat(lambda i, c: 1.9 * c - c * c, k, x))
        call(x)
        times[steps] = []
        for _ in range(15):
            start = time.perf_counter()
            call(x)
            times[steps].append(time.perf_counter() - start)
    return (np.median(times[5000]) - np.median(times[1000])) / 4000


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    ebm.set_num_threads(threads)
    memory = ebm.profile().peak[1]
    print(f"{threads} thread(s), {_core.isa()}, memory {memory / 1e9:.0f} GB/s")
    for name, function, exact, arrays, turns in cases(np.random.default_rng(0)):
        call = ebm.jit(function)
        check(call(*arrays), exact(*(a.astype(np.float64) for a in arrays)), name)
        seconds, moved = kernel_time(call, arrays)
        what = f"{name} of {'x'.join(map(str, arrays[0].shape))}"
        each = 1e9 * seconds / turns / arrays[0].size
        print(f"{what:40s} {each:7.3f} ns {100 * moved / seconds / memory:5.0f} % of memory")
    ours, theirs = normals(204800)
    print(f"{'normals, 204800':40s} {1e9 * ours / 204800:7.3f} ns {theirs / ours:5.1f} x NumPy")
    for n in 16, 128, 1024:
        print(f"{f'a step of a loop over {n}':40s} {1e9 * step_time(n):7.0f} ns")


if __name__ == "__main__":
    main()
