"""Annealed importance sampling: log Z of laws where it is known, from both sides."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core, networks, samplers
from ebmlib.errors import NumericalError, ShapeError

PRECISION, MEAN = np.array([0.5, 1.0, 4.0]), np.array([1.0, -1.0, 0.5])
CENTRES, WEIGHTS, SIGMA = np.array([[-1.5, 0.5], [1.2, -0.3]]), np.array([0.3, 0.7]), 0.5

ais = samplers.annealed_importance_sampling
# Nearly normal errors: one false alarm in 6e-7 a comparison.
ERRORS = 5.0


def gaussian(x):
    return 0.5 * np.sum(PRECISION * (x - MEAN) ** 2, axis=1) + 2.0


def mixture(x):
    squares = np.sum((x[:, None] - CENTRES) ** 2, axis=2) / (2 * SIGMA**2)
    logits = np.log(WEIGHTS) - squares
    top = np.max(logits, axis=1)
    return 3.0 - top - np.log(np.sum(np.exp(logits - top[:, None]), axis=1))


LOG_Z = {
    gaussian: 1.5 * np.log(2 * np.pi) - 0.5 * np.log(PRECISION).sum() - 2.0,
    mixture: np.log(2 * np.pi * SIGMA**2) - 3.0,
}


def exact(law, n):
    rng = np.random.default_rng(5)
    if law is gaussian:
        return MEAN + rng.normal(size=(n, 3)) / np.sqrt(PRECISION)
    return CENTRES[rng.choice(2, n, p=WEIGHTS)] + SIGMA * rng.normal(size=(n, 2))


@pytest.mark.parametrize("law", [gaussian, mixture])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampler": samplers.HMC(0.4, 3), "schedule": "linear", "base": (0.2, 1.5)},
        {"sampler": samplers.MALA(0.1, adapt="paper"), "n_steps": 2},
        {"sampler": samplers.MALA(0.1, noise=0.5), "n_steps": 2},
    ],
)
def test_the_estimates_bracket_log_z(law, options):
    found = ais(
        law,
        n_temperatures=300,
        n_chains=500,
        x_exact=exact(law, 500),
        random_state=0,
        **options,
    )
    assert abs(found.log_z - LOG_Z[law]) < ERRORS * found.error
    assert abs(found.log_z_reverse - LOG_Z[law]) < ERRORS * found.error_reverse
    assert found.error < 0.1
    assert found.ess > 100
    # The means of the logarithms are bounds: below by Jensen's inequality, and above.
    low, high = found.log_weights.mean(), -found.log_weights_reverse.mean()
    assert low < LOG_Z[law] < high
    assert low < found.log_z
    assert high > found.log_z_reverse
    assert 0.2 < found.acceptance <= 1


def test_few_temperatures_are_bounds_still():
    # With two temperatures the weights scatter: the estimates lie far off, each on its side.
    x = exact(mixture, 200)
    options = {"n_temperatures": 2, "n_chains": 200, "x_exact": x, "base": (0.0, 4.0)}
    found = [ais(mixture, random_state=k, **options) for k in range(10)]
    assert np.mean([f.log_weights.mean() for f in found]) < LOG_Z[mixture] - 0.5
    assert np.mean([-f.log_weights_reverse.mean() for f in found]) > LOG_Z[mixture] + 0.5
    errors = [np.exp(f.log_z - LOG_Z[mixture]) for f in found]
    assert abs(np.mean(errors) - 1) < ERRORS * np.std(errors) / np.sqrt(10)


def test_the_ends_are_rows_of_the_target():
    found = ais(gaussian, shape=3, n_temperatures=300, n_chains=4000, random_state=1)
    w = np.exp(found.log_weights - found.log_weights.max())
    mean = np.sum(w[:, None] * found.x, axis=0) / w.sum()
    assert np.all(abs(mean - MEAN) < ERRORS / np.sqrt(PRECISION * found.ess))


def step_by_step(betas, x, key):
    """The same in Python: log w of chains that walk with `run`, one temperature at a time."""
    walk, log_w = samplers.HMC(0.4, 3), np.zeros(len(x))

    def base(x):
        return 0.5 * np.sum(x**2, axis=1) + 1.5 * np.log(2 * np.pi)

    for t in range(1, len(betas)):
        log_w += (betas[t] - betas[t - 1]) * (base(x) - gaussian(x))
        words = ebm.random.fold_in(key, t - 1)
        # A chain folds in the number of its step: 0.
        state = samplers.ChainState(x, words, 0)
        b = betas[t]
        state, _ = walk.step(lambda x, b=b: base(x) + b * (gaussian(x) - base(x)), state)
        x = state.x
    return x, log_w, base


def test_it_is_its_definition():
    betas = np.array([0.0, 0.1, 0.4, 1.0])
    x0, key = np.random.default_rng(0).normal(size=(50, 3)), ebm.random.key(3)
    x, log_w, base = step_by_step(betas, x0, key)
    spec = samplers.HMC(0.4, 3)._spec()
    run = ebm.jit(lambda x, k, b: _core.annealed(spec, base, gaussian, 1, x, k, b, None)[:2])
    got_x, got_w = run(x0, key, betas)
    np.testing.assert_allclose(got_x, x, rtol=1e-10)
    np.testing.assert_allclose(got_w, log_w, rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_networks_may_be_base_and_target(dtype):
    base = networks.GaussianMixture(3).bind(2, random_state=0, dtype=dtype)
    net = networks.GaussianMixture(5).bind(2, random_state=1, dtype=dtype)
    found = ais(
        net,
        base,
        n_temperatures=200,
        n_chains=300,
        x_exact=net.sample(300, random_state=0),
        random_state=0,
    )
    assert abs(found.log_z) < ERRORS * found.error
    assert abs(found.log_z_reverse) < ERRORS * found.error_reverse
    assert found.x.dtype == dtype
    again = ais(net, base, n_temperatures=200, n_chains=300, random_state=0)
    assert again.log_z == found.log_z
    assert again.log_z_reverse is None
    shifted = ais(lambda x, c: net(x) + c, base, args=(1.5,), n_temperatures=50, random_state=0)
    assert abs(shifted.log_z + 1.5) < ERRORS * shifted.error


def test_what_is_compiled_is_kept(monkeypatch):
    from ebmlib.samplers import annealed

    made, centre = [], np.zeros(2)

    def energy(x):
        return np.sum((x - centre) ** 2, axis=1)

    def found(law=energy, **changes):
        options = {"shape": 2, "n_temperatures": 3, "n_chains": 9, "random_state": 0}
        return ais(law, **options | {"x_exact": np.zeros((4, 2))} | changes)

    compile_function = annealed.compile_function
    monkeypatch.setattr(
        annealed,
        "compile_function",
        lambda *a, **k: made.append(0) or compile_function(*a, **k),
    )
    first = found()
    assert len(made) == 3  # the sizes, there, and back
    again = found(device="cpu")
    np.testing.assert_array_equal(first.log_weights, again.log_weights)
    found(random_state=1)
    assert len(made) == 3
    centre += 1.0  # which the function closes over
    moved = found()
    assert len(made) == 6
    fresh = found(lambda x: np.sum((x - 1.0) ** 2, axis=1))
    np.testing.assert_allclose(moved.log_weights, fresh.log_weights, rtol=1e-9)
    net = networks.MLP((4,)).bind(2, random_state=0)
    before = len(made)
    values = [found(net).log_weights]
    net.set_parameters({"l1.b": np.ones(1)})  # seen without a new plan
    values.append(found(net).log_weights)
    assert len(made) == before + 3
    np.testing.assert_allclose(values[1], values[0] - 1, rtol=1e-5, atol=1e-5)


def test_langevin_is_allowed_and_biased_little():
    found = ais(gaussian, shape=3, sampler=samplers.Langevin(0.02), random_state=0)
    assert abs(found.log_z - LOG_Z[gaussian]) < 0.1
    assert found.acceptance is None


def test_bits_do_not_depend_on_threads():
    threads = ebm.num_threads()
    try:
        found = []
        for n in (1, 3):
            ebm.set_num_threads(n)
            found.append(ais(mixture, shape=2, n_temperatures=20, random_state=0).log_weights)
    finally:
        ebm.set_num_threads(threads)
    np.testing.assert_array_equal(*found)


def test_weights_of_walls_and_holes():
    walled = ais(
        lambda x: np.where(x[:, 0] > 0, gaussian(x), np.inf),
        shape=3,
        n_temperatures=50,
        random_state=0,
    )
    assert np.isneginf(walled.log_weights).any()
    assert np.isfinite(walled.log_z)
    with pytest.raises(NumericalError, match="of 1000 weights are NaN"):
        ais(lambda x: np.sum(np.log(x), axis=1), shape=3, n_temperatures=5, random_state=0)
    with pytest.raises(ShapeError, match=r"got rows of \(3,\) and of \(2,\)"):
        ais(gaussian, shape=2, x_exact=np.zeros((4, 3)))
