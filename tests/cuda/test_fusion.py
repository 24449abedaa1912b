"""What a plan makes one kernel of on a device that says so, and that it changes no bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core

ops = _core.ops
ROOT = Path(__file__).parents[2]


def compiled(device: str, build, arrays, fuse: bool, alias=None) -> _core.Plan:
    """A plan of build(graph, *nodes), a list of outputs."""
    graph = _core.Graph()
    nodes = [graph.input(None, a.dtype, a.shape, False) for a in arrays]
    return _core.Plan(graph, build(graph, *nodes), fuse=fuse, device=device, alias=alias)


def check_planned(device: str, build, *arrays, alias=None) -> _core.Plan:
    """The plan, which has the bits of node by node."""
    plan = compiled(device, build, arrays, True, alias)
    want = compiled(device, build, arrays, False)(*arrays)
    for _ in range(3):  # the second run is recorded, the third replayed
        got = plan(*[a.copy() for a in arrays])
        for one, other in zip(got, want, strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert one.tobytes() == other.tobytes()
    return plan


def names(device: str, build, *arrays, fuse: bool = True) -> list[str]:
    """The kernels of a run."""
    plan = compiled(device, build, arrays, fuse)
    with ebm.profile() as profile:
        plan(*arrays)
    return [row.name for row in profile.rows() for _ in range(row.calls)]


# ---- draws -----------------------------------------------------------------------------------
def energy_gradient(g, x):
    """Of 0.25 x^4 - x^2 + 0.1 sin 3x."""
    cube = ops.mul(g, ops.square(g, x), x)
    return ops.add(g, ops.sub(g, cube, ops.scale(g, x, 2.0)), ops.cos(g, ops.scale(g, x, 3.0)))


def langevin(g, x, key, draw=ops.normal):
    """One step."""
    noise = draw(g, key, 3, x.dtype, x.shape)
    step = ops.sub(g, x, ops.scale(g, energy_gradient(g, x), 0.05))
    return ops.add(g, step, ops.scale(g, noise, 0.1))


def chain(g, x, key):
    """Seven steps with keys of their own."""
    body, i, (xi,), () = g.repeat_open(7, [x], [])
    after = langevin(body, xi, ops.fold_in(body, body.lift(key), i))
    (last,), () = body.repeat_close([after], [], False)
    return last


KEYS = {2: np.array([11, -22], np.int32), 3: np.array([11, -22, 2], np.int32)}
SHAPES = [(), (1,), (15,), (64,), (65, 3), (128, 64), (1, 64, 2), (4099,), (70_001,)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("draw", [ops.normal, ops.uniform], ids=["normal", "uniform"])
def test_a_langevin_step_draws_its_noise(device, rng, shape, dtype, draw):
    x = rng.normal(size=shape).astype(dtype)
    plan = check_planned(device, lambda g, x, k: [langevin(g, x, k, draw)], x, KEYS[2])
    assert plan.n_kernels == 1


@pytest.mark.parametrize("shape", [(6, 64), (3, 2, 32), (128, 128)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_of_the_key_is_where_the_draw_begins(device, rng, shape, dtype):
    x = rng.normal(size=shape).astype(dtype)
    plan = check_planned(device, lambda g, x, k: [langevin(g, x, k)], x, KEYS[3])
    assert plan.n_kernels == 1
    rows = np.concatenate([np.zeros_like(x), np.zeros_like(x), x])[: len(x) + 2]
    rows[2:] = x[: len(rows) - 2]
    whole = check_planned(device, lambda g, x, k: [langevin(g, x, k)], rows, KEYS[2])
    want, got = whole(rows, KEYS[2])[0][2:], plan(x, KEYS[3])[0]
    assert want.tobytes() == got[: len(want)].tobytes()


def test_a_row_inside_a_group_is_refused(device):
    def build(g, x, k):
        return [langevin(g, x, k)]

    x = np.zeros((6, 7), np.float32)
    with pytest.raises(IndexError):
        compiled(device, build, [x, KEYS[3]], True)(x, KEYS[3])


@pytest.mark.parametrize("n", [1, 65, 1000])
def test_integers_are_drawn_too(device, n):
    def build(g, key):
        bits = ops.random_bits(g, key, 1, (n,))
        rolled = ops.randint(g, key, 2, 6, (n,))
        return [ops.add(g, bits, ops.mul(g, rolled, rolled))]

    assert check_planned(device, build, KEYS[2]).n_kernels == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [7, 64, 2000])
def test_a_chain_folds_its_key_and_does_the_rest_in_one(device, rng, n, dtype):
    x = rng.normal(size=(n, 2)).astype(dtype)
    plan = check_planned(device, lambda g, x, k: [chain(g, x, k)], x, KEYS[2], alias=[0])
    assert plan.n_kernels <= 2 * 7 + 1  # and the numbers of the steps, once
    run = names(device, lambda g, x, k: [chain(g, x, k)], x, KEYS[2])
    assert sum(name.startswith("region normal ") for name in run) == 7
    assert not any(name.startswith("normal") for name in run)
    plain = names(device, lambda g, x, k: [chain(g, x, k)], x, KEYS[2], fuse=False)
    assert len(plain) > 5 * len(run)


def test_a_draw_that_others_read_is_written(device):
    """An output, a reduction, a transposition, a part: none of them can draw."""

    def build(g, key):
        drawn = [ops.normal(g, key, k, "float32", (33, 65)) for k in range(4)]
        part = ops.slice(g, drawn[3], (0, 0), (1, 2), (33, 33))
        return [
            drawn[0],
            ops.exp(g, drawn[0]),
            ops.sum_all(g, ops.add(g, drawn[1], ops.sum_all(g, drawn[1]))),
            ops.exp(g, ops.permute(g, drawn[2], (1, 0))),
            ops.exp(g, part),
        ]

    check_planned(device, build, KEYS[2])
    run = names(device, build, KEYS[2])
    assert sum(name.startswith("normal") for name in run) == 4


def test_two_regions_may_make_the_same_draw(device):
    """One of them waits for a sum over the other."""

    def build(g, key, x):
        noise = ops.normal(g, key, 5, "float32", x.shape)
        first = ops.exp(g, ops.add(g, x, noise))
        total = ops.broadcast_axes(g, ops.sum_all(g, first), x.shape, ())
        return [first, ops.mul(g, ops.sub(g, noise, total), x)]

    x = np.linspace(-1, 1, 777, dtype=np.float32)
    check_planned(device, build, KEYS[2], x)
    run = names(device, build, KEYS[2], x)
    assert sum(name.startswith("region normal ") for name in run) == 2
    assert not any(name.startswith("normal") for name in run)


def test_a_key_is_not_overwritten_by_what_is_drawn_with_it(device):
    """The new key, of the same shape as a draw, takes the place of the old one."""

    def build(g, key):
        return [
            ops.bit_and(g, ops.random_bits(g, key, 1, (2,)), ops.random_bits(g, key, 2, (2,)))
        ]

    check_planned(device, build, KEYS[2], alias=[0])


def test_many_registers_and_many_draws(device, rng):
    """Blocks shrink until the registers of four elements a thread fit."""

    def build(g, key, x):
        drawn = [ops.normal(g, key, k, "float64", x.shape) for k in range(20)]
        kept = [ops.exp(g, ops.mul(g, x, one)) for one in drawn]
        total = x
        for one in kept + drawn:
            total = ops.add(g, total, one)
        return [total, *kept[:8]]

    check_planned(device, build, KEYS[2], rng.normal(size=321))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_is_the_cpus(device, rng, dtype):
    """But for the last bits of a cosine in float64."""
    x = rng.normal(size=(65, 3)).astype(dtype)
    got, want = (
        compiled(where, lambda g, x, k: [langevin(g, x, k)], [x, KEYS[2]], True)(x, KEYS[2])[0]
        for where in (device, "cpu")
    )
    np.testing.assert_array_max_ulp(got, want, 4)


# ---- regions beside one another --------------------------------------------------------------
def adam(g, p, slope, m, v, rate):
    """Parameter, moments, rate (a scalar): what they become."""
    m = ops.add(g, ops.scale(g, m, 0.9), ops.scale(g, slope, 0.1))
    v = ops.add(g, ops.scale(g, v, 0.999), ops.scale(g, ops.square(g, slope), 0.001))
    root = ops.shift(g, ops.sqrt(g, v), 1e-8)
    step = ops.mul(g, ops.broadcast_axes(g, rate, p.shape, ()), ops.div(g, m, root))
    return [ops.sub(g, p, step), m, v]


def adam_over(sizes):
    """(build, make): one step over parameters of these shapes, and arrays for it."""

    def build(g, rate, *arrays):
        each = [arrays[k : k + 4] for k in range(0, len(arrays), 4)]
        return [out for one in each for out in adam(g, *one, rate)]

    def make(rng, dtype):
        arrays = [rng.normal(size=shape).astype(dtype) for shape in sizes for _ in range(4)]
        return [np.array(0.01, dtype), *[np.abs(a) for a in arrays]]

    return build, make


def in_place(n):
    """The alias of `adam_over` n parameters: each output overwrites what it is the next of."""
    return [1 + 4 * k + i for k in range(n) for i in (0, 2, 3)]


ODD = [(65, 33), (33,), (33, 1), (1,), (70_001,)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("over", [True, False], ids=["in place", "apart"])
def test_adam_over_all_parameters_is_one_kernel(device, rng, dtype, over):
    build, make = adam_over(ODD)
    arrays, alias = make(rng, dtype), in_place(len(ODD)) if over else None
    assert check_planned(device, build, *arrays, alias=alias).n_kernels == 1
    (name,) = names(device, build, *arrays)
    assert name.startswith("regions ")


@pytest.mark.parametrize("n", [2, 63, 64, 65, 150])
def test_more_parts_than_a_kernel_takes(device, rng, n):
    """Seven arrays and the rate are 8 views a part: 64 parts are 512 views."""
    build, make = adam_over([(k % 7, 3) if k % 5 else (k,) for k in range(1, n + 1)])
    arrays = make(rng, "float32")
    plan = check_planned(device, build, *arrays, alias=in_place(n))
    used = sum(k % 5 == 0 or k % 7 > 0 for k in range(1, n + 1))
    assert plan.n_kernels == (used + 63) // 64


def test_what_waits_is_not_joined(device):
    """The same program three times, each over the sum of the one before."""

    def build(g, x):
        for _ in range(3):
            total = ops.broadcast_axes(g, ops.sum_all(g, x), x.shape, ())
            x = ops.exp(g, ops.sub(g, x, total))
        return [x]

    assert check_planned(device, build, np.linspace(-1, 0, 777)).n_kernels == 6


def test_crossed_programs_are_joined_once(device):
    """A waits for B here and B for A there: joining both would be a circle."""

    def shrink(g, x):
        return ops.sum_all(g, ops.exp(g, ops.neg(g, x)))

    def spread(g, x, number):
        return ops.tanh(g, ops.add(g, x, ops.broadcast_axes(g, number, x.shape, ())))

    def build(g, x, y):
        zero = ops.sum_all(g, x)
        return [spread(g, x, shrink(g, x)), shrink(g, spread(g, y, zero))]

    check_planned(device, build, np.linspace(0, 1, 65), np.linspace(1, 2, 33))


@pytest.mark.parametrize("turned", [False, True])
def test_what_a_part_reads_is_not_overwritten_by_another(device, rng, turned):
    """Both add; the first overwrites an operand of the second."""

    def build(g, x, y, z):
        outs = [ops.add(g, x, y), ops.add(g, x, z)]
        return outs[::-1] if turned else outs

    arrays = [rng.normal(size=5000).astype(np.float32) for _ in range(3)]
    for alias in ([0, 1], [0, 2], [1, 0], [2, 1], [0, -1], [-1, 0]):
        check_planned(device, build, *arrays, alias=alias)


def test_a_part_takes_no_place_of_what_another_reads(device, rng):
    """Two parts read one array, in shapes of their own; nobody needs it afterwards."""

    def build(g, x, y):
        shared, other = (ops.cumsum(g, one, 0, False) for one in (x, y))
        shapes = [
            shared,
            ops.reshape(g, shared, (7, 143)),
            ops.reshape(g, shared, (143, 7)),
            other,
        ]
        return [ops.cumsum(g, ops.sin(g, one), 0, True) for one in shapes]

    arrays = [rng.normal(size=1001) for _ in range(2)]
    assert check_planned(device, build, *arrays).n_kernels == 7


def test_an_input_is_a_number_for_some_parts(device, rng):
    def build(g, x, y, one):
        spread = ops.broadcast_axes(g, one, x.shape, ())
        return [ops.mul(g, x, spread), ops.mul(g, y, y), ops.mul(g, spread, x)]

    arrays = [rng.normal(size=(33, 5)), rng.normal(size=(7, 64)), np.array(0.5)]
    assert check_planned(device, build, *arrays).n_kernels <= 2


def test_regions_are_joined_inside_a_loop(device, rng):
    def build(g, *arrays):
        body, _, carry, () = g.repeat_open(5, list(arrays), [])
        after = [ops.sub(body, x, ops.scale(body, ops.sin(body, x), 0.1)) for x in carry]
        return body.repeat_close(after, [], False)[0]

    arrays = [rng.normal(size=n).astype(np.float32) for n in (3, 64, 1001)]
    plan = check_planned(device, build, *arrays, alias=[0, 1, 2])
    assert plan.n_kernels == 5


def test_large_arrays_have_kernels_of_their_own(device):
    """But outputs, which need no memory of the plan."""
    x = np.zeros((1 << 20) + 1, np.float32)

    def between(g, x, y):
        return [ops.sum_all(g, ops.exp(g, one)) for one in (x, y)]

    def last(g, x, y):
        return [ops.exp(g, x), ops.exp(g, y)]

    assert compiled(device, between, [x, x], True).n_kernels == 4
    assert compiled(device, last, [x, x], True).n_kernels == 1


# ---- reductions beside one another -----------------------------------------------------------
WHOLE = [(1,), (16,), (17, 1), (1, 33, 5), (1024,), (1025,), (4096,), (4097,), (9, 1000, 3)]


def norms_and_checks(g, *arrays):
    """Of each array the sum of its squares, and whether all of it is finite."""
    squares = [ops.sum_all(g, ops.square(g, x)) for x in arrays]
    return [*squares, *(ops.all(g, ops.isfinite(g, x), None, False) for x in arrays)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_and_checks_of_all_arrays_are_a_kernel_each(device, rng, dtype):
    """And one of regions before and behind each."""
    arrays = [rng.normal(size=shape).astype(dtype) for shape in WHOLE]
    check_planned(device, norms_and_checks, *arrays)
    run = names(device, norms_and_checks, *arrays)
    assert [name.split()[0] for name in run].count("sum") == 1
    assert [name.split()[0] for name in run].count("max") == 1
    assert len(run) <= 5
    plain = names(device, norms_and_checks, *arrays, fuse=False)
    assert sum(name.split()[0] in ("sum", "max") for name in plain) == 2 * len(WHOLE)


@pytest.mark.parametrize("n", [64, 65, 150])
def test_more_reductions_than_a_kernel_takes(device, rng, n):
    def build(g, *arrays):
        return [ops.sum_all(g, x) for x in arrays]

    arrays = [rng.integers(-9, 9, size=k).astype(np.int32) for k in range(1, n + 1)]
    assert check_planned(device, build, *arrays).n_kernels == (n + 63) // 64


def test_reductions_that_wait_large_ones_and_parts_of_arrays_stay_alone(device, rng):
    def build(g, x, y, z):
        total = ops.sum_all(g, x)
        scaled = ops.mul(g, y, ops.broadcast_axes(g, total, y.shape, ()))
        return [total, ops.sum_all(g, scaled), ops.sum_all(g, z), ops.sum(g, y, (0,), False)]

    arrays = [rng.normal(size=n).astype(np.float32) for n in (65, (33, 2), (1 << 20) + 1)]
    check_planned(device, build, *arrays)
    run = names(device, build, *arrays)
    assert sum(name.startswith("sum") for name in run) == 4


# ---- a training step -------------------------------------------------------------------------
def energy(p, x):
    """Of sums and elementwise ops; five parameters."""
    row = x.shape[1:]
    wave = p.param("a", row, 0.3) * np.tanh(x - p.param("b", row, 0.1))
    well = np.square(x) * np.exp(p.param("c", row, 0.2)) + np.cos(x * p.param("d", row, 0.5))
    return np.sum(wave + well, axis=1) * p.param("e", row, 1.0)[0]


def trained(where, steps):
    """(parameters, kernels) after `steps` of PCD with 10 steps of Langevin each."""
    x = np.random.default_rng(0).normal(size=(640, 3)).astype(np.float32)
    with ebm.device(where), ebm.profile() as profile:
        est = ebm.estimators.PCD(
            network=ebm.networks.Function(energy),
            sampler=ebm.samplers.Langevin(n_steps=10),
            batch_size=64,
            buffer_size=256,
            max_steps=steps,
            random_state=0,
            ema=0.9,
        ).fit(x)
        parameters = {k: np.asarray(v) for k, v in est.energy_.parameters().items()}
    return parameters, sum(row.calls for row in profile.rows())


def kernels_of_a_step(where):
    return trained(where, 3)[1] - trained(where, 2)[1]


def test_kernels_of_a_training_step(device, monkeypatch):
    planned, after = kernels_of_a_step(device), trained(device, 3)[0]
    monkeypatch.setenv("EBMLIB_PLAN", "none")
    plain, before = kernels_of_a_step(device), trained(device, 3)[0]
    assert {k: v.tobytes() for k, v in after.items()} == {
        k: v.tobytes() for k, v in before.items()
    }
    assert (plain, planned) == (754, 80)  # of what a step is today
    for name, want in trained("cpu", 3)[0].items():
        np.testing.assert_allclose(after[name], want, rtol=2e-5, atol=1e-6)


def test_a_training_step_is_listed(device):
    """An update of chains is one kernel with its noise, Adam one over all parameters."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "step.py", device],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    head, *lines = done.stdout.splitlines()
    assert head == f"a training step on {device}: 775 kernels node by node, 151 planned"
    kernels = {text: int(calls) for calls, text in (line.split(maxsplit=1) for line in lines)}
    assert sum(kernels.values()) <= 151  # those whose texts begin alike stand in one line here

    def count(*parts: str) -> int:
        return sum(n for text, n in kernels.items() if all(part in text for part in parts))

    assert count("region normal mul sub mul add: ") == 10
    assert count("regions square", "sqrt add div sub") == count("sqrt add div sub") == 1
    assert count("sum f32(2, 64), f32(1,), f32(64, 1)") == 1  # norms of all gradients
    assert count("max bool", "bool(64, 64), bool(64,), bool(2, 64)") == 1  # and their checks


def test_a_profile_is_printed(device):
    with ebm.device(device):
        with ebm.profile() as profile:
            ebm.jit(lambda x, y: (np.exp(x), np.exp(y)))(np.zeros(3), np.zeros(5))
        flops, moved = profile.peak
        assert flops > 0
        assert moved > 0
        assert "regions exp: f64(3,), f64(5,) -> f64(3,), f64(5,)" in profile.table()
