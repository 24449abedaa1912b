"""Loops over independent rows, which plans run block by block: the bits of node by node."""

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core
from ebmlib import functional as F
from ebmlib._compile import Traced
from ebmlib._trace import as_node, need
from ebmlib._tree import flatten

RNG = np.random.default_rng(0)


def draw(*shape, scale=1.0):
    return (scale * RNG.normal(size=shape)).astype(np.float32)


W = {
    "a": draw(2, 64),
    "b": draw(64, 64, scale=0.125),
    "c": draw(64, scale=0.1),
    "k": draw(3, 3, 4, 32, scale=0.2),
    "d": draw(32 * 16, 1, scale=0.05),
}


def mlp(x, w):
    h = np.tanh(x @ w["a"])
    return F.swish(h @ w["b"] + w["c"]).sum(1)


def images(x, w):
    h = F.swish(F.conv(x, w["k"], 2, 1))
    return (F.group_norm(h, np.ones(32), np.zeros(32), 4).reshape(len(x), -1) @ w["d"])[:, 0]


def walk(energy, steps, noisy):
    def chain(x, w, key):
        def step(i, x):
            slope = ebm.grad(lambda x: energy(x, w).sum())(x)
            n = ebm.random.normal(ebm.random.fold_in(key, i), x.shape) if noisy else 0.0
            return np.clip(x - 0.1 * slope + 0.01 * n, -3, 3)

        return ebm.repeat(step, steps, x)

    return chain


def stacked(x, w, key):
    """Slices with rows, slices that all rows share, and stacked results."""
    noise = ebm.random.normal(key, (5, *x.shape))
    rates = np.arange(5, dtype=np.float32)

    def step(i, carry, xs):
        (x, e), (n, rate) = carry, xs
        e, pull = ebm.vjp(lambda x: mlp(x, w), x)
        x = x - rate * 0.01 * pull(np.ones_like(e))[0] + 0.1 * n
        return (x, e), (x * i, e)

    start = (x, np.zeros(len(x), np.float32))
    return ebm.repeat(step, 5, start, xs=(noise, rates), stack=True)


def reversed_sum(x, w, key):
    def step(i, carry, x):
        return np.tanh(carry @ w["b"] + x), np.sum(carry, 1)

    xs = np.broadcast_to(w["c"], (4, len(x), 64))
    return ebm.repeat(step, 4, np.repeat(x, 32, 1), xs=xs, stack=True, reverse=True)


CASES = {
    "mlp": (walk(mlp, 4, False), draw(512, 2), True),
    "draws": (walk(mlp, 4, True), draw(512, 2), True),
    "images": (walk(images, 2, True), draw(48, 8, 8, 4), True),
    "stacked": (stacked, draw(384, 2), True),
    "reverse": (reversed_sum, draw(512, 2), True),
    "prime": (walk(mlp, 2, True), draw(509, 2), True),
    "rest": (walk(mlp, 2, False), draw(1000, 2), True),
    "few images": (walk(images, 2, True), draw(23, 8, 8, 4), True),
    "stacked rest": (stacked, draw(1000, 2), True),
    "reverse rest": (reversed_sum, draw(1000, 2), True),
    "tiny": (walk(mlp, 2, True), draw(4, 2), False),
    "coupled": (walk(lambda x, w: mlp(x - x.mean(0), w), 2, True), draw(512, 2), False),
}


def run(function, args, fuse):
    leaves, structure = flatten((args, {}))
    specs = [(np.asarray(leaf).dtype, np.shape(leaf), False) for leaf in leaves]
    traced = Traced(function, structure, specs)
    plan = _core.Plan(traced.graph, traced.outs, fuse=fuse)
    with ebm.profile() as profile:
        outs = plan(*leaves)
    names = [row.name for row in profile.rows()]
    n = args[0].shape[0]
    whole = any(name.startswith("matmul") and f"({n}," in name for name in names)
    return outs, not whole


@pytest.mark.parametrize("name", CASES)
def test_blocks_have_the_bits_of_the_whole(name):
    function, x, is_cut = CASES[name]
    args = (x, W, ebm.random.key(3))
    want, _ = run(function, args, False)
    threads = ebm.num_threads()
    try:
        for n in (1, 2, 5):
            ebm.set_num_threads(n)
            got, cut = run(function, args, True)
            assert cut == is_cut
            for a, b in zip(got, want, strict=True):
                np.testing.assert_array_equal(a, b)
    finally:
        ebm.set_num_threads(threads)


def test_turns_without_carries_run_beside_one_another():
    def body(i, carry, x):
        y = ebm.repeat(lambda j, y: np.tanh(y @ W["b"]) + j, 3, x)
        return (), y + ebm.random.normal(ebm.random.fold_in(ebm.random.key(1), i), y.shape)

    def function(xs):
        return ebm.repeat(body, 12, (), xs=xs, stack=True)[1]

    xs = draw(12, 20, 64)
    (want,), _ = run(function, (xs,), False)
    threads = ebm.num_threads()
    try:
        for n in (1, 2, 5, 30):
            ebm.set_num_threads(n)
            (got,), _ = run(function, (xs,), True)
            np.testing.assert_array_equal(got, want)
    finally:
        ebm.set_num_threads(threads)


def test_an_error_in_a_lane_reaches_the_caller():
    table = np.arange(8.0, dtype=np.float32)

    def function(table, index):
        def body(i, carry, k):
            return (), np.take(table, k, 0)

        return ebm.repeat(body, 64, (), xs=index, stack=True)[1]

    index = np.zeros((64, 5), np.int32)
    index[40, 3] = 9
    run_it = ebm.jit(function)
    with pytest.raises(IndexError, match="take"):
        run_it(table, index)
    np.testing.assert_array_equal(run_it(table, np.ones((64, 5), np.int32)), np.ones((64, 5)))


def test_a_key_with_a_row_of_its_own():
    """Blocks of a block: rows 128 .. 383 of a draw of 512."""

    def noisy(x, w, key):
        def step(i, x):
            here = need().graph
            key_i = _core.ops.fold_in(here, as_node(key), i)
            return mlp(x, w)[:, None] * 0.1 + _core.ops.normal(here, key_i, 1, "f4", x.shape)

        return ebm.repeat(step, 4, x)

    key = np.append(ebm.random.key(3), np.int32(128))
    x = draw(256, 2)
    want, _ = run(noisy, (x, W, key), False)
    got, cut = run(noisy, (x, W, key), True)
    assert cut
    np.testing.assert_array_equal(got[0], want[0])
