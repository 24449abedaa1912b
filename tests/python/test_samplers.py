"""Samplers against closed forms on Gaussians, and their contracts."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core, networks, samplers

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


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (
            samplers.Langevin(step_size=0),
            "langevin: step_size: got 0, expected a number above 0",
        ),
        (samplers.Langevin(step_size=np.inf), "step_size: got inf"),
        (samplers.Langevin(step_size=None), "step_size: got nan"),
        (
            samplers.Langevin(noise=-1),
            "noise: got -1, expected a number of at least 0 or nothing",
        ),
        (samplers.Langevin(clip=(1, 0)), r"clip: got \(1, 0\), expected low < high"),
        (samplers.Langevin(clip=3), "expected .low, high. or None"),
        (samplers.Langevin(clip_grad=0), "clip_grad: got 0"),
        (samplers.Langevin(n_steps=-1), "n_steps: got -1"),
        (samplers.Langevin(n_steps=2.5), "n_steps: got 2.5"),
    ],
)
def test_bad_options_say_why(sampler, message):
    with pytest.raises(ValueError, match=message):
        sampler.sample(gaussian, np.zeros((2, 3)))


def test_bad_energies_and_starts_say_why():
    sampler = samplers.Langevin(n_steps=1)
    x0 = np.zeros((2, 3))
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
    with pytest.raises(TypeError, match="a seed is an int"):
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
