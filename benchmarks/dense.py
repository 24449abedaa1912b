"""Products and convolutions: checked against NumPy, then timed as a share of the FMA peak.

    python benchmarks/dense.py [threads]

The peak is measured in the same run, from registers alone. Each kernel runs through a
plan, as in real use; the cases take turns, and the median of the calls is reported.
"""

import sys
import time

import numpy as np

import ebmlib
from ebmlib import _core

ops = _core.ops
TURNS = 20


def peak(threads: int) -> float:
    """GFLOP/s of multiply-adds from registers; leaves that number of threads set."""
    ebmlib.set_num_threads(threads)
    return ebmlib.profile().peak[0] / 1e9


def plan(build, *arrays):
    graph = _core.Graph()
    nodes = [graph.input(None, a.dtype, a.shape, False) for a in arrays]
    return _core.Plan(graph, [build(graph, *nodes)])


def rates(cases, rounds: int = 4) -> list[float]:
    """GFLOP/s of each case: the median call. The cases take turns, since clocks change."""
    times: list[list[float]] = [[] for _ in cases]
    for _ in range(rounds):
        for (_, _, call, arrays), taken in zip(cases, times, strict=True):
            call(*arrays)
            end, least = time.perf_counter() + 0.1, len(taken) + 3
            while len(taken) < least or time.perf_counter() < end:
                start = time.perf_counter()
                call(*arrays)
                taken.append(time.perf_counter() - start)
    return [
        flops / float(np.median(taken)) / 1e9
        for (_, flops, _, _), taken in zip(cases, times, strict=True)
    ]


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


def matmul(m, n, k, rng, left="N", right="N", batch=1):
    """Products of (m, k) and (k, n); an operand "T" lies in memory transposed."""
    shapes = ((k, m) if left == "T" else (m, k), (n, k) if right == "T" else (k, n))
    a, b = (
        rng.standard_normal((batch, *s) if batch > 1 else s, dtype=np.float32) for s in shapes
    )
    call = plan(lambda g, x, y: ops.matmul_ex(g, x, y, left == "T", right == "T"), a, b)
    whole_a = a.astype(np.float64)
    want = (whole_a.swapaxes(-1, -2) if left == "T" else whole_a) @ (
        b.swapaxes(-1, -2) if right == "T" else b
    )
    check(call(a, b)[0], want, "matmul")
    name = f"{batch} x {m}x{n}x{k}" if batch > 1 else f"{m}x{n}x{k}"
    yield f"matmul {left}{right} {name}", 2.0 * batch * m * n * k, call, (a, b)


def loop(build, x, w):
    """TURNS times x = build(x, w), in a loop that may lay w out once."""
    graph = _core.Graph()
    start, weight = (graph.input(None, v.dtype, v.shape, False) for v in (x, w))
    body, _, (carry,), _ = graph.repeat_open(TURNS, [start], [])
    (last,), _ = body.repeat_close([build(body, carry, body.lift(weight))], [], False)
    return _core.Plan(graph, [last])


def matmul_in_loop(m, n, rng):
    x = rng.standard_normal((m, n), dtype=np.float32)
    w = rng.standard_normal((n, n), dtype=np.float32) / np.float32(np.sqrt(n))
    call = loop(ops.matmul, x, w)
    want = x.astype(np.float64)
    for _ in range(TURNS):
        want = want @ w
    check(call(x, w)[0], want, "matmul in a loop")
    yield f"{TURNS} turns of matmul {m}x{n}x{n}", 2.0 * TURNS * m * n * n, call, (x, w)


def conv_in_loop(batch, side, channels, rng):
    x = rng.standard_normal((batch, side, side, channels), dtype=np.float32)
    w = rng.standard_normal((3, 3, channels, channels), dtype=np.float32)
    w /= np.float32(np.sqrt(9 * channels))
    geo = geometry(1)
    forward = loop(lambda g, x, w: ops.conv(g, x, w, geo), x, w)
    data = loop(lambda g, q, w: ops.conv_data(g, q, w, geo, side, side), x, w)
    y = dx = x.astype(np.float64)
    for _ in range(TURNS):
        y, dx = conv_reference(y, w, 1)[0], conv_reference(x, w, 1, dx)[1]
    check(forward(x, w)[0], y, "conv in a loop")
    check(data(x, w)[0], dx, "conv_data in a loop")
    flops = 2.0 * TURNS * x.size * 9 * channels
    name = f"3x3 {channels}->{channels}, {batch} of {side}x{side}"
    yield f"{TURNS} turns of conv {name}", flops, forward, (x, w)
    yield "  data", flops, data, (x, w)


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
    groups = (
        matmul(256, 1024, 1024, rng),
        matmul(128, 128, 128, rng),
        matmul(64, 784, 500, rng),
        matmul(64, 2352, 2000, rng),
        matmul(64, 2000, 2352, rng, right="T"),
        matmul(2000, 2352, 64, rng, left="T"),
        matmul(100, 100, 2000, rng, left="T"),
        matmul(256, 128, 256, rng, batch=16),
        matmul(256, 256, 128, rng, right="T", batch=16),
        matmul_in_loop(64, 128, rng),
        matmul_in_loop(100, 100, rng),
        matmul_in_loop(2000, 100, rng),
        conv_in_loop(2, 32, 128, rng),
        conv_in_loop(1, 8, 256, rng),
        conv_in_loop(2, 4, 256, rng),
        conv(32, 16, 128, 128, 3, 1, rng),
        conv(32, 28, 64, 64, 3, 1, rng),
        conv(32, 28, 64, 64, 4, 2, rng),
        conv(32, 14, 64, 128, 4, 2, rng),
        conv(32, 28, 1, 64, 3, 1, rng),
        conv(16, 32, 3, 128, 3, 1, rng),
        conv(16, 32, 64, 6, 3, 1, rng),
    )
    cases = [case for group in groups for case in group]
    for (name, *_), rate in zip(cases, rates(cases), strict=True):
        print(f"{name:44s} {rate:7.1f} GFLOP/s {100 * rate / ceiling:5.0f} % of peak")


if __name__ == "__main__":
    main()
