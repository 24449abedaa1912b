"""Products and convolutions: checked against NumPy, then timed as a share of the FMA peak.

    python benchmarks/dense.py [threads]

The peak is measured in the same run, from registers alone. Each kernel runs through a
plan, as in real use; the median of the calls is reported.
"""

import sys
import time

import numpy as np

import ebmlib
from ebmlib import _core

ops = _core.ops


def peak(threads: int) -> float:
    """GFLOP/s of multiply-adds from registers; leaves that number of threads set."""
    ebmlib.set_num_threads(threads)
    return ebmlib.profile().peak[0] / 1e9


def plan(build, *arrays):
    graph = _core.Graph()
    nodes = [graph.input(None, a.dtype, a.shape, False) for a in arrays]
    return _core.Plan(graph, [build(graph, *nodes)])


def median_time(call, *arrays) -> float:
    call(*arrays)
    times = []
    while len(times) < 7 or (sum(times) < 1.0 and len(times) < 200):
        start = time.perf_counter()
        call(*arrays)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def geometry(stride: int) -> tuple[int, ...]:
    return (stride, stride, 1, 1, 1, 1, 1, 1, 1)


def conv_reference(x, w, stride, ct=None):
    """The convolution, and with ct its two adjoints, by taps, in float64."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    k = w.shape[0]
    size = (padded.shape[1] - k) // stride + 1
    y = 0.0
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    for i, j in np.ndindex(k, k):
        where = (
            slice(None),
            slice(i, i + (size - 1) * stride + 1, stride),
            slice(j, j + (size - 1) * stride + 1, stride),
        )
        y = y + padded[where] @ w[i, j]
        if ct is not None:
            dx[where] += ct @ w[i, j].T
            dw[i, j] = np.tensordot(padded[where], ct, ([0, 1, 2], [0, 1, 2]))
    return y, dx[:, 1:-1, 1:-1], dw


def check(got, want, what) -> None:
    error = np.max(np.abs(got - want)) / np.max(np.abs(want))
    if not error < 2e-5:
        raise SystemExit(f"{what}: wrong by {error:.1e}")


def matmul(m, n, k, rng):
    a, b = (rng.standard_normal(s, dtype=np.float32) for s in ((m, k), (k, n)))
    call = plan(ops.matmul, a, b)
    check(call(a, b)[0], a.astype(np.float64) @ b, "matmul")
    yield f"matmul {m}x{n}x{k}", 2.0 * m * n * k, call, (a, b)


def conv(batch, side, channels, out, kernel, stride, rng):
    x = rng.standard_normal((batch, side, side, channels), dtype=np.float32)
    w = rng.standard_normal((kernel, kernel, channels, out), dtype=np.float32)
    geo = geometry(stride)
    forward = plan(lambda g, x, w: ops.conv(g, x, w, geo), x, w)
    q = rng.standard_normal(forward(x, w)[0].shape, dtype=np.float32)
    data = plan(lambda g, q, w: ops.conv_data(g, q, w, geo, side, side), q, w)
    weight = plan(lambda g, x, q: ops.conv_weight(g, x, q, geo, kernel, kernel), x, q)
    y, dx, dw = conv_reference(x, w, stride, q.astype(np.float64))
    check(forward(x, w)[0], y, "conv")
    check(data(q, w)[0], dx, "conv_data")
    check(weight(x, q)[0], dw, "conv_weight")
    flops = 2.0 * q.size * channels * kernel * kernel
    name = f"{kernel}x{kernel}/{stride} {channels}->{out}, {batch} of {side}x{side}"
    yield f"conv {name}", flops, forward, (x, w)
    yield "  data", flops, data, (q, w)
    yield "  weight", flops, weight, (x, q)


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    rng = np.random.default_rng(0)
    ceiling = peak(threads)
    print(f"{threads} thread(s), {_core.isa()}, FMA peak {ceiling:.0f} GFLOP/s")
    for case in (
        matmul(256, 1024, 1024, rng),
        matmul(128, 128, 128, rng),
        matmul(64, 784, 500, rng),
        conv(32, 16, 128, 128, 3, 1, rng),
        conv(32, 28, 64, 64, 3, 1, rng),
        conv(32, 28, 64, 64, 4, 2, rng),
        conv(32, 28, 1, 64, 3, 1, rng),
    ):
        for name, flops, call, arrays in case:
            rate = flops / median_time(call, *arrays) / 1e9
            print(f"{name:44s} {rate:7.1f} GFLOP/s {100 * rate / ceiling:5.0f} % of peak")


if __name__ == "__main__":
    main()
