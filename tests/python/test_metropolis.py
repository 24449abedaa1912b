"""MALA and HMC: laws that stay, formulas of one step, adaptation, and the bits of parts."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core, estimators, networks, samplers
from ebmlib._core import ops
from ebmlib._trace import need
from ebmlib.errors import NumericalError

PRECISION = np.array([0.5, 1.0, 4.0])

# A mixture of two Gaussians in the plane, with the same deviation in all directions.
WEIGHTS, MEANS, SIGMA = np.array([0.3, 0.7]), np.array([[-1.2, 0.5], [1.0, -0.3]]), 0.6


def gaussian(x):
    return 0.5 * np.sum(PRECISION * x**2, axis=1)


def mixture(x):
    squares = np.sum((x[:, None] - MEANS) ** 2, axis=2) / (2 * SIGMA**2)
    logits = np.log(WEIGHTS) - squares
    top = np.max(logits, axis=1)
    return -top - np.log(np.sum(np.exp(logits - top[:, None]), axis=1))


def exact(law, n, seed):
    rng = np.random.default_rng(seed)
    if law is gaussian:
        return rng.normal(size=(n, 3)) / np.sqrt(PRECISION)
    centres = MEANS[rng.choice(2, n, p=WEIGHTS)]
    return centres + SIGMA * rng.normal(size=(n, 2))


def features(law, x):
    """Functions whose means tell a wrong law: moments, and the energy with its square."""
    e = law(x)
    parts = [x, x**2, x[:, :1] * x[:, 1:], np.tanh(3 * x), e[:, None], e[:, None] ** 2]
    return np.concatenate(parts, axis=1)


def largest_error(law, x):
    """The largest difference of the means of features from exact ones, in standard errors.

    The reference has 40 times the rows, so its own error, which is added, hardly counts.
    """
    reference = features(law, exact(law, 40 * len(x), 99))
    f = features(law, x)
    errors = np.sqrt(f.var(0) / len(f) + reference.var(0) / len(reference))
    return np.max(np.abs(f.mean(0) - reference.mean(0)) / errors)


# At most 14 means, each nearly normal: 14 x 6e-7 is one false alarm in 100,000 a law.
ERRORS = 5.0
N = 20_000

WALKS = [
    samplers.MALA(step_size=0.2, n_steps=12),
    samplers.MALA(step_size=0.2, noise=0.9, n_steps=12),
    samplers.MALA(step_size=0.05, noise=0.6, n_steps=12),
    samplers.HMC(step_size=0.5, n_leapfrog=3, n_steps=6),
    samplers.HMC(step_size=0.5, n_leapfrog=3, n_steps=6, noise=1.5),
    samplers.HMC(step_size=0.5, n_leapfrog=2, mass=2.0, n_steps=6),
    samplers.HMC(step_size=0.6, n_leapfrog=18, n_steps=3),
]


@pytest.mark.parametrize("law", [gaussian, mixture])
@pytest.mark.parametrize("walk", WALKS, ids=repr)
def test_exact_samples_stay_exact(walk, law):
    x, info = walk.sample(law, exact(law, N, 1), random_state=2, return_info=True)
    assert 0.02 < info["accepted"].mean() < 0.98
    assert largest_error(law, x) < ERRORS
    # The decisions are those of the probabilities: their difference has a known variance.
    a, p = info["accepted"], info["acceptance"]
    error = np.sqrt(np.sum(p * (1 - p)))
    assert abs(np.sum(a - p)) < ERRORS * error


@pytest.mark.parametrize("law", [gaussian, mixture])
def test_float32_too(law):
    for walk in (WALKS[1], WALKS[3]):
        start = exact(law, N, 3).astype(np.float32)
        x = walk.sample(law, start, random_state=4)
        assert x.dtype == np.float32
        assert largest_error(law, x.astype(np.float64)) < ERRORS


# ---- one step in NumPy -----------------------------------------------------------------------


def draws(key, step, purpose, shape):
    """What a step draws: (n, u)."""

    def both(words):
        g = need().graph
        words = ops.fold_in(g, words, ops.scalar(g, np.dtype(np.int32), step))
        f64 = np.dtype(np.float64)
        return ops.normal(g, words, purpose, f64, shape), ops.uniform(
            g, words, 0x6D657472, f64, shape[:1]
        )

    return ebm.jit(both)(np.asarray(key))


def gradient(law, x):
    return ebm.grad(lambda x: np.sum(law(x)))(x)


def mala_step(law, x, n, u, step, noise, wrong=None):
    """MALA as it is written in books: two densities, no algebra."""
    forward = x - step * gradient(law, x)
    to = forward + noise * n
    back = to - step * gradient(law, to)
    q_to = -np.sum((to - forward) ** 2, axis=1) / (2 * noise**2)
    q_back = -np.sum((x - back) ** 2, axis=1) / (2 * noise**2)
    if wrong == "inverted":
        q_to, q_back = q_back, q_to
    ratio = law(x) - law(to) + (0 if wrong == "none" else q_back - q_to)
    p = np.minimum(1, np.exp(np.minimum(ratio, 0)))
    accepted = u < p
    return np.where(accepted[:, None], to, x), p, accepted


@pytest.mark.parametrize("noise", [None, 0.9])
@pytest.mark.parametrize("law", [gaussian, mixture])
def test_a_step_of_mala_is_its_formula(law, noise):
    x = exact(law, 300, 5)
    key = ebm.random.key(6)
    walk = samplers.MALA(step_size=0.3, noise=noise)
    state, info = walk.step(law, samplers.ChainState(x, key, 4))
    n, u = draws(key, 4, 0x6D616C61, x.shape)
    want, p, accepted = mala_step(law, x, n, u, 0.3, noise or np.sqrt(0.6))
    np.testing.assert_allclose(state.x, want, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(info["acceptance"], p, rtol=1e-10)
    np.testing.assert_array_equal(info["accepted"], accepted)
    np.testing.assert_allclose(info["energy"], law(x), rtol=1e-13)
    assert (info["step_size"] == 0.3).all()
    assert 0.2 < accepted.mean() < 0.98


@pytest.mark.parametrize("options", [{}, {"mass": 2.0}, {"noise": 1.4}, {"n_leapfrog": 20}])
def test_a_step_of_hmc_is_its_formula(options):
    walk = samplers.HMC(**{"step_size": 0.4, "n_leapfrog": 3, **options})
    x = exact(mixture, 300, 5)
    key = ebm.random.key(6)
    state, info = walk.step(mixture, samplers.ChainState(x, key, 4))
    n, u = draws(key, 4, 0x686D6300, x.shape)
    noise = walk.noise or np.sqrt(walk.mass)
    p, to = noise * n, x
    before = mixture(x) + np.sum(p**2, axis=1) / (2 * noise**2)
    for _ in range(walk.n_leapfrog):
        p = p - 0.2 * gradient(mixture, to)
        to = to + 0.4 / walk.mass * p
        p = p - 0.2 * gradient(mixture, to)
    error = mixture(to) + np.sum(p**2, axis=1) / (2 * noise**2) - before
    accepted = u < np.exp(-error)
    np.testing.assert_allclose(state.x, np.where(accepted[:, None], to, x), rtol=1e-10)
    np.testing.assert_allclose(info["energy_error"], error, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(info["acceptance"], np.minimum(1, np.exp(-error)), rtol=1e-8)
    np.testing.assert_array_equal(info["accepted"], accepted)


@pytest.mark.parametrize("wrong", [None, "inverted", "none"])
def test_the_test_of_laws_finds_a_wrong_ratio(wrong):
    x, rng = exact(mixture, N, 1), np.random.default_rng(2)
    for _ in range(12):
        n, u = rng.normal(size=x.shape), rng.random(len(x))
        x, _, _ = mala_step(mixture, x, n, u, 0.2, 0.9, wrong)
    assert (largest_error(mixture, x) > 2 * ERRORS) == (wrong is not None)


# ---- adaptation ------------------------------------------------------------------------------


def dual_averaging(acceptance, first, target):
    """Hoffman and Gelman 2014, algorithm 5, for one chain: the size of each step."""
    mu, error, average, sizes = np.log(10 * first), 0.0, 0.0, [first]
    for t, a in enumerate(acceptance, 1):
        error = (1 - 1 / (t + 10)) * error + (target - a) / (t + 10)
        size = mu - np.sqrt(t) / 0.05 * error
        average = t**-0.75 * size + (1 - t**-0.75) * average
        sizes.append(np.exp(size))
    return [*sizes[:-1], np.exp(average)]


def paper(acceptance, first, target):
    return list(np.cumprod([first, *(1 + 0.02 * (np.asarray(acceptance) - target))]))


@pytest.mark.parametrize(
    ("adapt", "rule"), [("dual_averaging", dual_averaging), ("paper", paper)]
)
@pytest.mark.parametrize("kind", [samplers.MALA, samplers.HMC])
def test_the_size_follows_its_rule_and_then_stays(kind, adapt, rule):
    walk = kind(step_size=0.3, adapt=adapt, n_adapt=40, n_steps=60)
    targets = {("mala", "dual_averaging"): 0.574, ("mala", "paper"): 0.57}
    targets |= {("hmc", "dual_averaging"): 0.8, ("hmc", "paper"): 0.67}
    target = targets[walk._kind, adapt]
    _, info = walk.sample(mixture, exact(mixture, 5, 0), random_state=1, return_info=True)
    for k in range(5):
        want = rule(info["acceptance"][:40, k], 0.3, target)
        np.testing.assert_allclose(info["step_size"][:41, k], want, rtol=1e-9)
        assert (info["step_size"][40:, k] == info["step_size"][40, k]).all()
    other = kind(step_size=0.3, adapt=adapt, n_adapt=40, target=0.3, n_steps=60)
    _, info = other.sample(mixture, exact(mixture, 5, 0), random_state=1, return_info=True)
    np.testing.assert_allclose(
        info["step_size"][:41, 0], rule(info["acceptance"][:40, 0], 0.3, 0.3), rtol=1e-9
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("walk", "target", "tolerance"),
    [
        (samplers.MALA(adapt="dual_averaging"), 0.574, 0.03),
        (samplers.MALA(adapt="paper"), 0.57, 0.03),
        (samplers.HMC(adapt="dual_averaging"), 0.8, 0.1),  # sizes scatter: averages are safer
        (samplers.HMC(adapt="paper"), 0.67, 0.03),
    ],
)
def test_acceptance_reaches_its_target(walk, target, tolerance, dtype):
    # 400 chains, 100 steps: the mean's standard error is below 0.01 even if a chain had no more
    # than five independent steps.
    walk.set_params(step_size=0.4)
    state = walk.init(exact(gaussian, 400, 0).astype(dtype), random_state=1)
    state, info = walk.run(gaussian, state, 500)
    assert abs(info["acceptance"][250:].mean() - target) < 0.03
    state, info = walk.run(gaussian, state, 100)
    assert abs(info["acceptance"].mean() - target) < tolerance
    assert (info["step_size"] == info["step_size"][0]).all()
    assert state.carry["step_size"].dtype == dtype


def test_a_size_does_not_run_away():
    for adapt in ("dual_averaging", "paper"):
        walk = samplers.HMC(adapt=adapt, n_steps=200)
        _, info = walk.sample(
            lambda x: 0.0 * x[:, 0],
            np.zeros((3, 2), np.float32),
            random_state=0,
            return_info=True,
        )
        assert np.isfinite(info["step_size"]).all()


# ---- bits ------------------------------------------------------------------------------------

ADAPTING = [
    samplers.MALA(step_size=0.3, adapt="dual_averaging", n_adapt=7, n_steps=12),
    samplers.HMC(step_size=0.3, adapt="paper", n_adapt=7, n_steps=12, n_leapfrog=3),
    samplers.HMC(step_size=0.05, adapt="dual_averaging", n_adapt=7, n_steps=12, n_leapfrog=17),
]


@pytest.fixture(scope="module")
def net():
    return networks.MLP((16, 80)).bind(3, random_state=0)


@pytest.mark.parametrize("walk", ADAPTING, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_have_the_bits_of_the_whole(walk, dtype, net, rng):
    x0 = rng.normal(size=(203, 3)).astype(dtype)
    energy = net if dtype == np.float32 else gaussian
    end, trace, info = walk.sample(
        energy, x0, random_state=3, return_trace=True, return_info=True
    )
    np.testing.assert_array_equal(walk.sample(energy, x0, random_state=3), end)
    np.testing.assert_array_equal(walk.sample(energy, x0, random_state=3, block_rows=64), end)
    # A chain is the same whatever stands beside it.
    np.testing.assert_array_equal(walk.sample(energy, x0[:140], random_state=3), end[:140])
    state, reports = walk.init(x0, random_state=3), []
    for i in range(12):
        state, report = walk.step(energy, state)
        reports.append(report)
        np.testing.assert_array_equal(state.x, trace[i])
    for name, values in info.items():
        np.testing.assert_array_equal(values, [report[name] for report in reports])
    parts = walk.init(x0, random_state=3)
    for n, block in ((0, None), (3, 64), (5, None), (4, 128)):
        parts, _ = walk.run(energy, parts, n, block_rows=block)
    assert parts.step == 12
    np.testing.assert_array_equal(parts.x, end)
    for name, values in state.carry.items():
        np.testing.assert_array_equal(parts.carry[name], values)
    threads = ebm.num_threads()
    try:
        for n in (1, 2, 3):
            ebm.set_num_threads(n)
            np.testing.assert_array_equal(walk.sample(energy, x0, random_state=3), end)
    finally:
        ebm.set_num_threads(threads)


def test_a_run_gives_trace_and_reports():
    walk = samplers.MALA(step_size=0.1)
    state = walk.init(exact(gaussian, 4, 0), random_state=0)
    end, trace, info = walk.run(gaussian, state, 7, thin=3, return_trace=True)
    assert trace.shape == (2, 4, 3)
    assert info["energy"].shape == (2, 4)
    x, same = walk.sample(gaussian, state.x, 7, random_state=0, return_trace=True, thin=3)
    np.testing.assert_array_equal(end.x, x)
    np.testing.assert_array_equal(trace, same)
    langevin = samplers.Langevin()
    moved, info = langevin.run(gaussian, langevin.init(state.x, 0), 3)
    assert moved.carry is None
    assert sorted(info) == ["energy", "grad_norm"]


def test_a_chain_may_go_on_with_another_energy():
    walk = samplers.MALA(step_size=0.2, noise=0.9)
    state, _ = walk.run(gaussian, walk.init(exact(gaussian, 50, 0), 1), 5)
    state, info = walk.step(lambda x: 3 * gaussian(x), state)
    begun, same = walk.step(lambda x: 3 * gaussian(x), state._replace(carry=None))
    again, info = walk.step(lambda x: 3 * gaussian(x), state)
    np.testing.assert_array_equal(begun.x, again.x)
    np.testing.assert_array_equal(same["energy"], info["energy"])


def test_states_of_others_are_refused():
    walk = samplers.MALA()
    state, _ = walk.step(gaussian, walk.init(np.ones((4, 3)), 0))
    with pytest.raises(ValueError, match=r"state.carry: got \['a'\], expected \['average'"):
        walk.step(gaussian, state._replace(carry={"a": 1}))
    with pytest.raises(
        ebm.errors.ShapeError, match=r"step_size: shape \(2,\), expected \(4,\)"
    ):
        walk.step(gaussian, state._replace(carry={**state.carry, "step_size": np.ones(2)}))
    with pytest.raises(TypeError, match=r"state.carry: got int, expected a dict or None"):
        walk.step(gaussian, state._replace(carry=3))


# ---- where numbers end -----------------------------------------------------------------------


@pytest.mark.parametrize("walk", [WALKS[0], WALKS[3]], ids=repr)
@pytest.mark.parametrize("outside", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_entered(walk, outside):
    def half(x):
        return np.where(x[:, 0] > 0, gaussian(x), outside)

    x0 = exact(gaussian, N, 7)
    x0[:, 0] = abs(x0[:, 0])
    x, info = walk.sample(half, x0, random_state=8, return_info=True)
    assert (x[:, 0] > 0).all()
    assert np.isfinite(info["acceptance"]).all()
    x[:, 0] *= np.random.default_rng(9).choice([-1, 1], N)
    assert largest_error(gaussian, x) < ERRORS


@pytest.mark.parametrize("walk", [WALKS[1], WALKS[4]], ids=repr)
def test_bounds_cut_the_law_off(walk):
    bounded = type(walk)(**{**walk.get_params(), "clip": (-0.7, 0.9)})

    def draws(n, seed):
        x = exact(mixture, n, seed)
        return x[((x > -0.7) & (x < 0.9)).all(axis=1)]

    start = draws(12 * N, 1)[:N]
    x = bounded.sample(mixture, start, random_state=2)
    assert (abs(x - 0.1) <= 0.8).all()
    assert (x != start).mean() > 0.2
    fresh = features(mixture, draws(400 * N, 3))
    f = features(mixture, x)
    errors = np.sqrt(f.var(0) / len(f) + fresh.var(0) / len(fresh))
    assert np.all(abs(f.mean(0) - fresh.mean(0)) < ERRORS * errors)
    # From outside chains come in, and stay.
    bounded = type(walk)(step_size=0.1, clip=(-0.7, 0.9))
    end = bounded.sample(mixture, np.full((200, 2), 1.0), 300, random_state=2)
    assert (abs(end - 0.1) <= 0.8).all()


def test_the_law_is_right_after_adaptation():
    for kind in (samplers.MALA, samplers.HMC):
        walk = kind(step_size=0.1, adapt="dual_averaging", n_adapt=100)
        state, _ = walk.run(mixture, walk.init(exact(mixture, N, 1), 2), 100, thin=100)
        state, _ = walk.run(mixture, state, 80, thin=80)
        assert largest_error(mixture, state.x) < ERRORS


@pytest.mark.parametrize("walk", [WALKS[0], WALKS[3]], ids=repr)
def test_a_start_that_is_not_finite_says_which(walk):
    x0 = np.ones((70, 3))
    x0[67] = 0
    with pytest.raises(
        NumericalError,
        match=f"{walk._kind}: the energy or its gradient is not finite where chain 67 stands",
    ):
        walk.sample(lambda x: np.sum(np.log(abs(x)), axis=1), x0, block_rows=64)
    x = walk.sample(lambda x: np.sum(x**2, axis=1), x0, random_state=0)
    assert np.isfinite(x).all()


def test_training_may_walk_with_them(rng):
    x = rng.normal(size=(64, 2))
    for walk in (samplers.MALA(0.01, n_steps=3), samplers.HMC(0.1, n_steps=2)):
        est = estimators.PCD(
            networks.MLP((8,)), walk, max_steps=3, batch_size=16, buffer_size=64, random_state=0
        )
        assert np.isfinite(est.fit(x).energy(x)).all()
        assert (est.history_["acceptance"] > 0.5).all()
        assert est.sample(5, random_state=0).shape == (5, 2)


def test_steps_too_large_to_be_accepted_are_found(rng):
    net = networks.Function(
        lambda p, x: 0.5 * np.sum((x - p["mean"]) ** 2, axis=1), {"mean": np.ones(2)}
    )
    walk = samplers.MALA(30.0)
    est = estimators.PCD(net, walk, max_steps=30, buffer_size=64, random_state=0)
    report = est.fit(rng.normal(size=(64, 2))).diagnose()
    assert "low_acceptance" in [finding.code for finding in report.findings]


def test_defaults_are_those_of_the_core():
    for walk in (samplers.MALA(), samplers.HMC()):
        table = _core.options("sampler", walk._kind)
        own = walk.get_params()
        assert own.pop("clip") is None
        assert (table.pop("clip_low")[0], table.pop("clip_high")[0]) == (-np.inf, np.inf)
        assert {name: value for name, (value, _) in table.items()} == own


def test_tied_langevin_has_temperature_one():
    walk = samplers.Langevin.tied(0.1, n_steps=20, clip=(-1, 1))
    assert walk == samplers.Langevin(0.1**2 / 2, 0.1, 20, (-1, 1))
    assert walk.temperature == pytest.approx(1.0, rel=1e-15)
    for bad in (True, "x", None):
        with pytest.raises(TypeError, match="noise: got"):
            samplers.Langevin.tied(bad)


# ---- several arrays --------------------------------------------------------------------------


def joint(p):
    scaled = np.sum(p["x"] ** 2, axis=(1, 2)) * 0.5
    return scaled + 2.0 * (p["y"] - 1.0) ** 2 + 0.5 * np.sum(p["z"][0] ** 2, axis=1)


def test_chains_walk_in_several_arrays_at_once(rng):
    x0 = {"x": rng.normal(size=(6, 2, 3)), "y": rng.normal(size=6), "z": (np.ones((6, 1)),)}
    walk = samplers.MALA(step_size=0.1, n_steps=8)
    end, trace, _ = walk.sample(
        joint, x0, random_state=0, return_trace=True, return_info=True, thin=4
    )
    assert list(end) == ["x", "y", "z"]
    assert end["x"].shape == (6, 2, 3)
    assert end["z"][0].shape == (6, 1)
    assert trace["x"].shape == (2, 6, 2, 3)
    assert trace["y"].shape == (2, 6)
    packed = np.concatenate([x0["x"].reshape(6, 6), x0["y"][:, None], x0["z"][0]], axis=1)
    want = walk.sample(
        lambda a: joint({"x": a[:, :6].reshape(-1, 2, 3), "y": a[:, 6], "z": (a[:, 7:],)}),
        packed,
        random_state=0,
    )
    np.testing.assert_array_equal(end["x"].reshape(6, 6), want[:, :6])
    np.testing.assert_array_equal(end["y"], want[:, 6])
    state = walk.init(x0, random_state=0)
    for _ in range(3):
        state, _ = walk.step(joint, state)
    state, _ = walk.run(joint, state, 5)
    np.testing.assert_array_equal(state.x["x"], end["x"])
    pair = (x0["x"][:, 0].astype(np.float32), x0["y"].astype(np.float32))
    moved = walk.sample(
        lambda p, k: k * (np.sum(p[0] ** 2, axis=1) + p[1] ** 2), pair, args=(2.0,)
    )
    assert isinstance(moved, tuple)
    assert moved[0].dtype == np.float32


def test_bad_sets_of_arrays_say_why(net):
    walk, x = samplers.MALA(), np.ones((4, 3))
    with pytest.raises(ebm.errors.ShapeError, match=r"x0\['b'\]: got 2 rows, expected 4 as x0"):
        walk.sample(joint, {"a": x, "b": x[:2]})
    with pytest.raises(ebm.errors.ShapeError, match=r"x0\[1\]: got a scalar, expected rows"):
        walk.sample(joint, (x, np.float64(1)))
    with pytest.raises(TypeError, match=r"x0\['a'\]: .*expected numbers"):
        walk.sample(joint, {"a": np.array(["b"])})
    with pytest.raises(ebm.errors.ShapeError, match="x0: got no arrays"):
        walk.sample(joint, {})
    with pytest.raises(TypeError, match="x0: got a dict, expected an array"):
        walk.sample(net, {"x": x})
    # What a network walks on is one array, as NumPy makes it of a tuple of rows.
    with pytest.raises(ebm.errors.ShapeError, match=r"x0: shape \(2, 4, \d+\), expected \(N, "):
        walk.sample(net, (x, x))
    with pytest.raises(ValueError, match="out: got an array, expected None for chains over"):
        walk.sample(joint, {"x": x}, return_trace=True, out=np.zeros((60, 4, 3)))
    # A tuple of numbers is one array still.
    y = samplers.Langevin(0.1, 0.0, 1).sample(gaussian, ((1.0, 2.0, 3.0), (0.0, 0.0, 0.0)))
    assert y.shape == (2, 3)
