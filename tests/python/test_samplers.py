"""Samplers against closed forms on Gaussians, and their contracts."""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import signal
import warnings

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _chains, _core, networks, samplers

PRECISION = np.array([0.5, 1.0, 4.0])


def gaussian(x):
    return 0.5 * np.sum(PRECISION * x**2, axis=1)


# One false alarm in 6e-7 a comparison: five standard errors of what is exactly normal.
ERRORS = 5.0


@pytest.mark.parametrize(
    ("step_size", "noise"), [(0.02, None), (0.1, None), (0.3, None), (0.1, 0.1), (0.2, 1.5)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_langevin_has_the_stationary_variance_of_its_recursion(step_size, noise, dtype):
    # x' = (1 - a k) x + s n is linear, so x is normal with variance s^2 / (1 - (1 - a k)^2).
    chains, n_steps = 10_000, 400 if step_size >= 0.1 else 1200
    sampler = samplers.Langevin(step_size=step_size, noise=noise, n_steps=n_steps)
    x = sampler.sample(gaussian, np.zeros((chains, 3), dtype), random_state=7)
    s = np.sqrt(2 * step_size) if noise is None else noise
    shrink = (1 - step_size * PRECISION) ** 2
    variance = s**2 * (1 - shrink**n_steps) / (1 - shrink)
    assert x.dtype == dtype
    assert np.all(np.abs(x.var(0) / variance - 1) < ERRORS * np.sqrt(2 / chains))
    assert np.all(np.abs(x.mean(0)) < ERRORS * np.sqrt(variance / chains))
    # Chains and coordinates are independent: correlations are normal with deviation 1/sqrt(N).
    correlation = np.corrcoef(x.T)[np.triu_indices(3, 1)]
    assert np.all(np.abs(correlation) < ERRORS / np.sqrt(chains))


def test_small_steps_sample_the_density_at_its_temperature():
    sampler = samplers.Langevin(step_size=0.01, noise=0.2)
    assert sampler.temperature == pytest.approx(2.0)
    x = sampler.sample(gaussian, np.zeros((10_000, 3)), 2000, random_state=1)
    assert np.all(np.abs(x.var(0) * PRECISION / 2.0 - 1) < 0.02 + ERRORS * np.sqrt(2 / 10_000))


def test_one_step_is_its_formula():
    x = np.array([[1.0, -2.0, 0.5]])
    plain = samplers.Langevin(step_size=0.1, noise=0.0, n_steps=1)
    np.testing.assert_allclose(plain.sample(gaussian, x), x - 0.1 * PRECISION * x, rtol=1e-15)
    clipped = samplers.Langevin(0.1, 0.0, 1, clip=(-1.0, 0.4), clip_grad=0.3)
    want = np.clip(x - 0.1 * np.clip(PRECISION * x, -0.3, 0.3), -1.0, 0.4)
    np.testing.assert_allclose(clipped.sample(gaussian, x), want, rtol=1e-15)


def test_steps_are_the_chain_and_the_trace_passes_through():
    sampler = samplers.Langevin(step_size=0.1, n_steps=11)
    x0 = np.ones((6, 3))
    end, trace = sampler.sample(gaussian, x0, random_state=3, return_trace=True, thin=4)
    assert trace.shape == (2, 6, 3)
    state = sampler.init(x0, random_state=3)
    for i in range(11):
        before = state.x
        state, info = sampler.step(gaussian, state)
        np.testing.assert_allclose(info["energy"], gaussian(before), rtol=1e-14)
        want = np.sqrt(np.sum((PRECISION * before) ** 2, axis=1))
        np.testing.assert_allclose(info["grad_norm"], want, rtol=1e-14)
        if i in (3, 7):
            np.testing.assert_array_equal(state.x, trace[i // 4])
    np.testing.assert_array_equal(state.x, end)
    np.testing.assert_array_equal(sampler.sample(gaussian, x0, random_state=3), end)
    assert (sampler.sample(gaussian, x0, random_state=4) != end).all()


def test_reports_of_a_run_are_those_of_its_steps():
    sampler = samplers.Langevin(step_size=0.1, n_steps=11)
    x0 = np.ones((6, 3))
    end, trace, info = sampler.sample(
        gaussian, x0, random_state=3, return_trace=True, return_info=True, thin=4
    )
    alone, same = sampler.sample(gaussian, x0, random_state=3, return_info=True, thin=4)
    np.testing.assert_array_equal(alone, end)
    state = sampler.init(x0, random_state=3)
    assert sorted(info) == ["energy", "grad_norm"]
    for i in range(11):
        state, report = sampler.step(gaussian, state)
        if i in (3, 7):
            np.testing.assert_array_equal(state.x, trace[i // 4])
            for name, values in report.items():
                np.testing.assert_array_equal(info[name][i // 4], values)
                np.testing.assert_array_equal(same[name], info[name])
    every = sampler.sample(gaussian, x0, random_state=3, return_info=True)[1]
    assert every["energy"].shape == (11, 6)
    np.testing.assert_array_equal(every["energy"][[3, 7]], info["energy"])
    none = sampler.sample(gaussian, x0, 0, return_trace=True, return_info=True)
    assert none[1].shape == (0, 6, 3)
    assert none[2]["energy"].shape == (0, 6)


def test_no_steps_is_no_move():
    x0 = np.ones((2, 3))
    np.testing.assert_array_equal(samplers.Langevin(n_steps=0).sample(gaussian, x0), x0)


def test_energies_may_be_networks_and_take_arguments(rng):
    net = networks.MLP((8,)).bind(3, random_state=0)
    x0 = rng.normal(size=(5, 3))
    sampler = samplers.Langevin(step_size=0.1, noise=0.0, n_steps=3)
    x = sampler.sample(net, x0)
    assert x.dtype == np.float32
    np.testing.assert_allclose(
        sampler.sample(lambda x: net(x), x0.astype(np.float32)), x, rtol=1e-6
    )
    shifted = sampler.sample(
        lambda x, m, k: 0.5 * k * np.sum((x - m) ** 2, axis=1), x0, args=(np.ones(3), 2.0)
    )
    np.testing.assert_allclose(shifted - 1, (x0 - 1) * 0.8**3, rtol=1e-12)


def test_images_walk_too(rng):
    net = networks.ConvNet((4,), kernels=(3,), strides=(2,)).bind((6, 6, 1), random_state=0)
    x0 = rng.uniform(-1, 1, size=(4, 6, 6, 1))
    x = samplers.Langevin(1.0, 0.01, 5, clip=(-1, 1)).sample(net, x0, random_state=0)
    assert x.shape == x0.shape
    assert np.abs(x).max() <= 1


# ---- kept chains -----------------------------------------------------------------------------


@pytest.fixture
def compiled(monkeypatch):
    """The arguments of the chains that are compiled; none is kept from before."""
    made, chain = [], _core.Chain

    def count(*arguments):
        made.append(arguments)
        return chain(*arguments)

    monkeypatch.setattr(_chains._core, "Chain", count)
    _chains._kept.clear()
    return made


def test_chains_are_compiled_once(compiled):
    walk, x0 = samplers.Langevin(n_steps=3), np.ones((4, 3))
    net = networks.MLP((8,)).bind(3, random_state=0, dtype="float64")
    for energy in (gaussian, net, lambda x: net(x)):
        for seed in range(3):
            walk.sample(energy, x0, random_state=seed)
        state = walk.init(x0, random_state=0)
        for _ in range(3):
            state, _ = walk.step(energy, state)
    assert len(compiled) == 6
    # The same function written anew is the same energy; what differs is compiled.
    walk.sample(lambda x: 0.5 * np.sum(PRECISION * x**2, axis=1), x0)
    assert len(compiled) == 6
    for changes in (
        {"energy": lambda x: np.sum(PRECISION * x**2, axis=1)},
        {"x0": x0[:2]},
        {"x0": x0.astype(np.float32)},
        {"n_steps": 4},
        {"return_info": True},
    ):
        before = len(compiled)
        walk.sample(**({"energy": gaussian, "x0": x0} | changes))
        assert len(compiled) == before + 1, changes
    samplers.Langevin(step_size=0.5, n_steps=3).sample(gaussian, x0)
    assert len(compiled) == 12


def test_few_and_small_chains_are_kept(compiled):
    walk = samplers.Langevin(n_steps=1)
    for n in range(1, 20):
        walk.sample(gaussian, np.zeros((n, 3)))
    assert len(_chains._kept) == _chains.MAX_KEPT
    before = list(_chains._kept)
    walk.sample(gaussian, np.zeros((2 * 10**6, 3)))
    large = np.zeros((3, 1_600_000))
    walk.sample(lambda x: np.sum(x @ large, axis=1), np.zeros((2, 3)))
    assert list(_chains._kept) == before
    assert max(chain.bytes for chain, _ in _chains._kept.values()) <= _chains.MAX_KEPT_BYTES


def test_what_an_energy_closes_over_may_change(rng):
    walk, x0 = samplers.Langevin(step_size=0.5, noise=0.0, n_steps=1), rng.normal(size=(5, 3))
    m, k = np.zeros(3), 1.0
    net = networks.MLP((8,)).bind(3, random_state=0, dtype=np.float64)
    other = networks.MLP((8,)).bind(3, random_state=0, dtype=np.float64)
    nets = [net]

    def pull(x):
        return 0.5 * k * np.sum((x - m) ** 2, axis=1)

    def through(x):
        return nets[0](x)

    np.testing.assert_allclose(walk.sample(pull, x0), x0 - 0.5 * x0)
    m += 1.0  # in place
    np.testing.assert_allclose(walk.sample(pull, x0), x0 - 0.5 * (x0 - 1))
    k = 2.0
    np.testing.assert_allclose(walk.sample(pull, x0), x0 - (x0 - 1), atol=1e-15)
    first = walk.sample(through, x0)
    np.testing.assert_array_equal(walk.sample(net, x0), first)
    # The kept chain reads the arrays of `net`: it must not be taken for `other`, equal so far.
    nets[0] = other
    np.testing.assert_array_equal(walk.sample(through, x0), first)
    doubled = {name: 2 * a for name, a in net.parameters().items()}
    net.set_parameters(doubled)
    np.testing.assert_array_equal(walk.sample(through, x0), first)
    second = walk.sample(net, x0)
    assert (second != first).all()
    nets[0] = net
    np.testing.assert_array_equal(walk.sample(through, x0), second)


def test_threads_may_walk_at_once(rng):
    walk, x0 = samplers.Langevin(n_steps=200), rng.normal(size=(100, 3))
    want = [walk.sample(gaussian, x0, random_state=seed) for seed in range(8)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(walk.sample, gaussian, x0, random_state=seed) for seed in range(8)
        ] * 3
        for k, job in enumerate(jobs):
            np.testing.assert_array_equal(job.result(), want[k % 8])


# ---- functions as energies -------------------------------------------------------------------


class Quadratic:
    """An energy with a method, and callable itself."""

    def __init__(self, k):
        self.k = k

    def energy(self, x):
        return 0.5 * self.k * np.sum(x**2, axis=1)

    __call__ = energy


def scaled(x, k, m=0.0):
    return 0.5 * k * np.sum((x - m) ** 2, axis=1)


@pytest.mark.parametrize(
    "energy",
    [
        lambda x: scaled(x, 3.0),
        functools.partial(scaled, k=3.0),
        functools.partial(scaled, k=3.0, m=np.zeros(3)),
        Quadratic(3.0),
        Quadratic(3.0).energy,
        ebm.jit(functools.partial(scaled, k=3.0)),
    ],
)
def test_callables_are_energies(energy, rng):
    x0 = rng.normal(size=(5, 3))
    x = samplers.Langevin(0.1, 0.0, 2).sample(energy, x0)
    np.testing.assert_allclose(x, x0 * 0.7**2, rtol=1e-12)


def test_arguments_may_be_arrays_for_each_chain(rng):
    x0, k, m = rng.normal(size=(5, 3)), rng.uniform(1, 2, 5), rng.normal(size=(5, 3))
    x = samplers.Langevin(0.1, 0.0, 1).sample(
        lambda x, k, by: 0.5 * k * np.sum((x - by["mean"]) ** 2, axis=1),
        x0,
        args=(k, {"mean": m}),
    )
    np.testing.assert_allclose(x, x0 - 0.1 * k[:, None] * (x0 - m), rtol=1e-12)


def test_impure_energies_are_refused():
    generator, calls = np.random.default_rng(0), itertools.count()

    def noisy(x):
        return np.sum((x - generator.normal(size=3)) ** 2, axis=1)

    def counting(x):
        return next(calls) * np.sum(x**2, axis=1)

    for energy in (noisy, counting, functools.partial(noisy), Callable(noisy)):
        with pytest.raises(ValueError, match="impure function: two traces of it differ"):
            samplers.Langevin(n_steps=2).sample(energy, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="noisy: impure function"):
        samplers.Langevin(n_steps=2).sample(functools.partial(noisy), np.zeros((4, 3)))


class Callable:
    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(x)


# ---- interrupts ------------------------------------------------------------------------------


def test_a_long_chain_is_many_legs(monkeypatch):
    walk, x0 = samplers.Langevin(step_size=0.1), np.ones((3, 3))
    want = walk.sample(gaussian, x0, 1000, random_state=0)
    for leg in (1, 7, 999, 1000):
        monkeypatch.setattr(samplers.sampler, "MAX_LEG", leg)
        np.testing.assert_array_equal(walk.sample(gaussian, x0, 1000, random_state=0), want)


@pytest.mark.parametrize(
    "options", [{}, {"return_trace": True, "thin": 10**6}, {"return_info": True, "thin": 100}]
)
def test_ctrl_c_stops_a_long_chain(options):
    walk, x0 = samplers.Langevin(n_steps=10**9), np.zeros((1, 1))

    def interrupt(signum, frame):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            walk.sample(lambda x: x[:, 0] ** 2, x0, random_state=0, **options)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    # The chain that was stopped is as good as new.
    x = walk.sample(lambda x: x[:, 0] ** 2, x0, 5, random_state=0)
    np.testing.assert_array_equal(x, walk.sample(lambda x: x[:, 0] ** 2, x0, 5, random_state=0))


# ---- ArviZ -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("arviz")


def test_inference_data_has_the_chains_and_what_they_report(arviz, rng):
    net = networks.MLP((8,)).bind(3, random_state=0)
    _, trace, info = samplers.Langevin(n_steps=6).sample(
        net, rng.normal(size=(4, 3)), random_state=0, return_trace=True, return_info=True
    )
    data = samplers.to_inference_data(
        trace, info, net, name="z", dims=["axis"], coords={"axis": ["a", "b", "c"]}
    )
    assert data.posterior.z.dims == ("chain", "draw", "axis")
    assert data.posterior.z.shape == (4, 6, 3)
    np.testing.assert_array_equal(data.posterior.z, trace.swapaxes(0, 1))
    np.testing.assert_array_equal(data.posterior.z.sel(axis="b"), trace[:, :, 1].T)
    energies = net(trace.reshape(-1, 3)).reshape(6, 4).T
    np.testing.assert_allclose(data.sample_stats.energy, energies, rtol=1e-5)
    np.testing.assert_allclose(data.sample_stats.lp, -energies, rtol=1e-5)
    np.testing.assert_array_equal(data.sample_stats.grad_norm, info["grad_norm"].T)
    assert data.attrs["inference_library"] == "ebmlib"
    plain = samplers.to_inference_data(trace)
    assert plain.groups() == ["posterior"]
    reports = samplers.to_inference_data(trace, info)
    np.testing.assert_array_equal(reports.sample_stats.energy, info["energy"].T)
    with pytest.raises(ValueError, match=r"info\['a'\]: got shape \(4, 6\), expected \(6, 4\)"):
        samplers.to_inference_data(trace, {"a": np.zeros((4, 6))})
    with pytest.raises(ValueError, match=r"expected \(draws, chains, ...\)"):
        samplers.to_inference_data(np.zeros(3))
    with pytest.raises(TypeError, match="expected a function"):
        samplers.to_inference_data(trace, energy=3)


def test_diagnostics_of_a_gaussian_are_as_computed(arviz):
    # x' = c x + s n, c = 1 - a, has autocorrelation c^t: n (1 - c) / (1 + c) effective draws.
    # The estimate's relative error is a few times 1 / sqrt(effective draws), here 1/77: 0.1 is
    # eight of them.  R-hat of equal chains is 1 + O(1 / effective draws a chain).
    a, draws, chains = 0.4, 3000, 8
    start = np.random.default_rng(0).normal(size=(chains, 1)) / np.sqrt(1 - a / 2)
    _, trace = samplers.Langevin(step_size=a, n_steps=draws).sample(
        lambda x: 0.5 * x[:, 0] ** 2, start, random_state=1, return_trace=True
    )
    data = samplers.to_inference_data(trace, energy=lambda x: 0.5 * x[:, 0] ** 2)
    effective = chains * draws * a / (2 - a)
    assert float(arviz.ess(data).x[0]) == pytest.approx(effective, rel=0.1)
    assert float(arviz.rhat(data).x[0]) == pytest.approx(1.0, abs=0.01)
    thin = samplers.to_inference_data(trace[9::10])
    assert float(arviz.ess(thin).x[0]) == pytest.approx(chains * draws / 10, rel=0.15)
    apart = samplers.to_inference_data(trace + np.arange(chains)[:, None])
    assert float(arviz.rhat(apart).x[0]) > 1.5


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (
            samplers.Langevin(step_size=0),
            "langevin: step_size: got 0, expected a number above 0",
        ),
        (samplers.Langevin(step_size=np.inf), "step_size: got inf"),
        (samplers.Langevin(step_size=None), "step_size: got None"),
        (
            samplers.Langevin(noise=-1),
            "noise: got -1, expected a number of at least 0 or nothing",
        ),
        (samplers.Langevin(clip=(1, 0)), r"clip: got \(1, 0\), expected low < high"),
        (samplers.Langevin(clip=3), "expected .low, high. or None"),
        (samplers.Langevin(clip_grad=0), "clip_grad: got 0"),
        (samplers.Langevin(n_steps=-1), "n_steps: got -1"),
        (samplers.Langevin(n_steps=2.5), "n_steps: got 2.5"),
        (samplers.Langevin(n_steps=2**31), "n_steps: got 2.14748365e.09"),
    ],
)
def test_bad_options_say_why(sampler, message):
    with pytest.raises(ValueError, match=message):
        sampler.sample(gaussian, np.zeros((2, 3)))


def test_bad_energies_and_starts_say_why():
    sampler = samplers.Langevin(n_steps=1)
    x0 = np.zeros((2, 3))
    with pytest.raises(ValueError, match="n_steps: got steps up to 2147483648, expected 2"):
        sampler.sample(gaussian, x0, 2**31)
    with pytest.raises(ebm.errors.ShapeError, match=r"got \(2, 3\), expected one number a row"):
        sampler.sample(lambda x: x, x0)
    with pytest.raises(TypeError, match="bind it to a shape first"):
        sampler.sample(networks.MLP(), x0)
    with pytest.raises(TypeError, match="expected a function"):
        sampler.sample(3, x0)
    with pytest.raises(ZeroDivisionError):
        sampler.sample(lambda x: 1 / 0, x0)
    with pytest.raises(ValueError, match="got a scalar, expected rows"):
        sampler.sample(gaussian, np.float64(1))
    with pytest.raises(TypeError, match="expected numbers"):
        sampler.sample(gaussian, np.array(["a"]))
    with pytest.raises(ValueError, match=r"x: shape|rows|expected"):
        sampler.sample(networks.MLP().bind(2), x0)
    with pytest.raises(TypeError, match="no further arguments"):
        sampler.sample(networks.MLP().bind(3), x0, args=(1,))
    with pytest.raises(TypeError, match="seed: got str, expected an int"):
        sampler.sample(gaussian, x0, random_state="x")
    with pytest.raises(ValueError, match="at most 64 bits"):
        sampler.sample(gaussian, x0, random_state=1 << 64)
    with pytest.raises(ValueError, match="thin: got 0"):
        sampler.sample(gaussian, x0, return_trace=True, thin=0)


def test_defaults_are_those_of_the_core():
    table = _core.options("sampler", "langevin")
    own = samplers.Langevin().get_params()
    assert own.pop("clip") is None
    assert (table.pop("clip_low")[0], table.pop("clip_high")[0]) == (-np.inf, np.inf)
    assert {name: value for name, (value, _) in table.items()} == own


def test_replay_buffer_draws_distinct_slots_and_begins_anew():
    buffer = samplers.ReplayBuffer(
        capacity=50, reinit=0.0, init=lambda rng, shape: np.full(shape, 9.0)
    )
    for i in range(40):
        slots, x = buffer.draw(20, (3,), random_state=i)
        assert len(set(slots.tolist())) == 20
        assert set(np.unique(x)) <= {9.0, 1.0}
        buffer.put(slots, np.ones_like(x))
    assert len(buffer) == 50
    assert (buffer.draw(50, (3,))[1] == 1.0).all()
    buffer.reinit = 1.0
    assert (buffer.draw(50, (3,))[1] == 9.0).all()
    with pytest.raises(ValueError, match="1 to the capacity, 50"):
        buffer.draw(51, (3,))
    with pytest.raises(ValueError, match="reinit: got 2"):
        samplers.ReplayBuffer(reinit=2)


def test_chains_that_run_away_are_no_samples():
    x0 = np.array([[0.1], [0.2], [9.0]])
    walk = samplers.Langevin(step_size=0.5, noise=0.0, n_steps=30)
    path = np.zeros((30, 3, 1))
    with pytest.raises(
        ebm.errors.NumericalError, match="1 of 3 chains are not finite after 30"
    ):
        walk.sample(lambda x: np.sum(x**4, 1), x0, random_state=0, return_trace=True, out=path)
    assert np.isfinite(path[:, :2]).all()
    assert not np.isfinite(path[-1, 2]).any()
    bounded = samplers.Langevin(step_size=0.5, noise=0.0, n_steps=30, clip=(-9, 9))
    assert np.isfinite(bounded.sample(lambda x: np.sum(x**4, 1), x0, random_state=0)).all()
