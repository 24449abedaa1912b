"""Functions, networks, samplers and estimators on a device, held against the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core, estimators, layers, networks, samplers
from ebmlib.errors import DeviceError


def energy(x):
    return np.sum(0.25 * x**4 - x**2 + 0.1 * np.sin(3 * x), axis=1)


# ---- where things run ------------------------------------------------------------------------
def test_the_innermost_scope_counts(device):
    x = np.arange(3.0)
    assert isinstance(ebm.jit(np.exp)(x), np.ndarray)
    with ebm.device(device):
        assert ebm.jit(np.exp)(x).device == device
        with ebm.device("cpu"):
            assert isinstance(ebm.jit(np.exp)(x), np.ndarray)
        assert ebm.jit(np.exp)(x).device == device
    assert isinstance(ebm.jit(np.exp)(x), np.ndarray)


def test_a_scope_ends_with_an_error_and_can_be_entered_again(device):
    scope = ebm.device(device)
    for _ in range(2):
        with pytest.raises(KeyError), scope:
            raise KeyError
        assert _core.device() == _core.device_scope.get() or _core.device() != device


def test_a_scope_is_of_its_thread(device):
    seen = []
    with ebm.device(device):
        thread = threading.Thread(target=lambda: seen.append(ebm.jit(np.exp)(np.zeros(1))))
        thread.start()
        thread.join()
    assert isinstance(seen[0], np.ndarray)


def test_a_decorated_function_runs_there(device):
    @ebm.device(device)
    def run():
        return ebm.jit(np.exp)(np.zeros(2))

    assert run().device == device


def test_a_program_that_knows_nothing_of_devices(device):
    program = """
        import numpy as np, ebmlib as ebm
        from ebmlib import networks, samplers
        net = networks.MLP((8,)).bind(2, random_state=0)
        x = samplers.Langevin(n_steps=3).sample(net, np.zeros((4, 2)), random_state=0)
        y = ebm.jit(np.exp)(x)
        print(net.device, type(x).__name__, type(y).__name__, np.isfinite(y).all())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "EBMLIB_DEVICE": device},
    )
    assert done.stdout == f"{device} ndarray ndarray True\n", done.stderr


def test_a_name_is_a_string():
    with pytest.raises(TypeError, match="expected a str"):
        ebm.device(0)


# ---- functions -------------------------------------------------------------------------------
def test_jit_runs_where_its_arguments_lie(device):
    a = ebm.asarray(np.arange(4.0), device=device)
    got = ebm.jit(lambda x, y: (x + y, [np.sum(x)]))(a, np.ones(4))
    assert got[0].device == got[1][0].device == device
    np.testing.assert_array_equal(got[0].numpy(), [1, 2, 3, 4])


def test_derivatives_are_those_of_the_cpu(device, rng):
    def f(p, x):
        return np.sum(np.tanh(x @ p["w"] + p["b"]) ** 2)

    p = {"w": rng.normal(size=(5, 3)), "b": rng.normal(size=3)}
    x, v = rng.normal(size=(7, 5)), rng.normal(size=(7, 5))
    there = ebm.jit(ebm.grad(f), device=device)(p, x)
    here = ebm.grad(f)(p, x)
    for name in p:
        np.testing.assert_allclose(there[name].numpy(), here[name], rtol=1e-12)

    def hvp(x):
        return ebm.hvp(lambda x: f(p, x), (x,), (v,))

    np.testing.assert_allclose(
        np.asarray(ebm.jit(hvp, device=device)(x)), np.asarray(ebm.jit(hvp)(x)), rtol=1e-11
    )


def test_a_plan_called_again_sees_new_numbers(device, rng):
    """The third call replays what the second one recorded."""
    step = ebm.jit(lambda x, y: np.sum(x * y, axis=1), device=device)
    for _ in range(5):
        x, y = rng.normal(size=(2, 6, 4))
        np.testing.assert_allclose(step(x, y).numpy(), np.sum(x * y, axis=1), rtol=1e-13)


def test_loops_of_any_length(device):
    def walk(x, n):
        return ebm.repeat(lambda i, x: x * 0.5 + i, n, x)

    for n in (0, 1, 3, 40):
        for _ in range(3):
            f = ebm.jit(walk, static_argnums=1, device=device)
            x = np.arange(3.0)
            got = f(x, n)
            for i in range(n):
                x = x * 0.5 + i
            np.testing.assert_allclose(got.numpy(), x, rtol=1e-14)


def test_donated_arguments(device):
    step = ebm.jit(lambda s, x: s + x, donate_argnums=0, device=device)
    s = ebm.asarray(np.zeros(4), device=device)
    for _ in range(4):
        s = step(s, np.ones(4))
    np.testing.assert_array_equal(s.numpy(), [4, 4, 4, 4])


def test_devices_do_not_mix(device):
    a = ebm.asarray(np.zeros(3), device=device)
    with ebm.device("cpu"), pytest.raises(DeviceError, match="several devices"):
        ebm.jit(np.exp)(a)
    with pytest.raises(DeviceError, match="several devices"):
        ebm.jit(np.exp, device="cpu")(a)


def test_a_bad_index_is_an_error_when_the_result_is_wanted(device):
    take = ebm.jit(lambda x, i: x[i], device=device)
    x = np.arange(5.0)
    with pytest.raises(IndexError, match=r"take: index out of range: got 7, expected 0 \.\. 4"):
        np.asarray(take(x, np.array([1, 7])))
    np.testing.assert_array_equal(take(x, np.array([1, 4])).numpy(), [1, 4])


def test_threads_share_the_device(device, rng):
    x = rng.normal(size=(8, 16, 5))
    results: list = [None] * 8

    def run(k: int) -> None:
        f = ebm.jit(lambda x: np.cumsum(np.exp(x), axis=0), device=device)
        for _ in range(4):
            results[k] = f(x[k]).numpy()

    threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(8):
        np.testing.assert_allclose(results[k], np.cumsum(np.exp(x[k]), axis=0), rtol=1e-13)


# ---- networks --------------------------------------------------------------------------------
def twins(device: str, network, shape, **options):
    """The same network here and there."""
    here = network.bind(shape, random_state=0, **options)
    there = network.bind(shape, random_state=0, device=device, **options)
    assert (here.device, there.device) == ("cpu", device)
    for name, array in here.parameters().items():
        np.testing.assert_array_equal(there.parameters()[name], array)
    return here, there


@pytest.mark.parametrize("rows", [0, 1, 5, 70])
def test_a_network_s_energies(device, rows, rng):
    here, there = twins(device, networks.MLP((16, 16)), 3)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    np.testing.assert_allclose(there(x), here(x), rtol=2e-6, atol=2e-6)


def test_a_convolutional_network_s_energies(device, rng):
    here, there = twins(device, networks.ConvNet(channels=(4, 8)), (8, 8, 1))
    x = rng.normal(size=(3, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(there(x), here(x), rtol=1e-5, atol=1e-5)


def test_new_parameters_are_seen(device, rng):
    here, there = twins(device, networks.MLP((8,)), 2)
    x = rng.normal(size=(4, 2)).astype(np.float32)
    f = ebm.jit(lambda x: there(x), device=device)
    f(x), f(x), f(x)
    arrays = {name: 2 * array for name, array in here.parameters().items()}
    here.set_parameters(arrays)
    there.set_parameters(arrays)
    np.testing.assert_allclose(f(x).numpy(), here(x), rtol=2e-6, atol=2e-6)


def test_a_network_is_used_where_it_lies(device):
    _, there = twins(device, networks.MLP((8,)), 2)
    with pytest.raises(DeviceError, match="an array of a network lies on"):
        ebm.jit(lambda x: there(x), device="cpu")(np.zeros((2, 2), np.float32))


# ---- samplers --------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_chain_follows_the_cpu_s(device, dtype):
    walk = samplers.Langevin(step_size=0.05, noise=0.1, n_steps=20)
    x0 = np.linspace(-1, 1, 70, dtype=dtype).reshape(35, 2)
    here = walk.sample(energy, x0, random_state=3, return_trace=True, return_info=True)
    there = walk.sample(
        energy, x0, random_state=3, return_trace=True, return_info=True, device=device
    )
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for a, b in zip(here[:2], there[:2], strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance)
    for name in here[2]:
        np.testing.assert_allclose(there[2][name], here[2][name], rtol=0, atol=10 * tolerance)


def test_chains_of_a_network_walk_where_it_lies(device):
    here, there = twins(device, networks.MLP((16, 16)), 2)
    walk = samplers.Langevin(step_size=0.05, noise=0.1, n_steps=15)
    x0 = np.linspace(-1, 1, 40, dtype=np.float32).reshape(20, 2)
    got, want = (walk.sample(e, x0, random_state=1) for e in (there, here))
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)


def test_steps_one_by_one(device):
    walk = samplers.Langevin(step_size=0.05, noise=0.1)
    x0 = np.zeros((5, 2))
    whole = walk.sample(energy, x0, n_steps=4, random_state=2, device=device)
    with ebm.device(device):
        state = walk.init(x0, random_state=2)
        for _ in range(4):
            state, _ = walk.step(energy, state)
    np.testing.assert_array_equal(state.x, whole)


# ---- estimators ------------------------------------------------------------------------------
def moons(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    t = rng.uniform(0, np.pi, n)
    side = rng.integers(0, 2, n)
    x = np.stack([np.cos(t) + side - 0.5, np.sin(t) * (1 - 2 * side) + side * 0.5 - 0.25], 1)
    return (x + rng.normal(0, 0.05, x.shape)).astype(np.float32)


def test_annealing_follows_the_cpu(device):
    def found(law, **options):
        return samplers.annealed_importance_sampling(
            law, shape=2, n_temperatures=5, n_chains=20, random_state=0, **options
        )

    net = networks.MLP((8,)).bind(2, random_state=0, dtype="float64")
    with ebm.device(device):
        same = networks.MLP((8,)).bind(2, random_state=0, dtype="float64")
    for here, there in (
        (found(energy), found(energy, device=device)),
        (found(net), found(same)),
    ):
        assert isinstance(there.log_weights, np.ndarray)
        np.testing.assert_allclose(there.log_weights, here.log_weights, rtol=1e-9, atol=1e-9)


def test_a_generator_of_one_s_own_trains_as_on_the_cpu(device):
    def generator(p, z):
        h = layers.batch_norm(p, "n", layers.dense(p, "l", z, 8))
        return layers.dense(p, "o", layers.dropout(p, "d", np.tanh(h), 0.2), 2)

    spec = networks.FunctionGenerator(generator, 3, sigma=0.3)
    options = {"max_steps": 5, "batch_size": 32, "random_state": 0, "dtype": "float64"}
    here, there = (
        estimators.VERA(networks.MLP((8,)), spec, device=where, **options).fit(moons(100))
        for where in (None, device)
    )
    assert there.generator_.device == device
    for name, value in here.history_.items():
        np.testing.assert_allclose(there.history_[name], value, rtol=1e-8, err_msg=name)


def small(cls, **options):
    return cls(
        networks.MLP((16, 16)),
        samplers.Langevin(step_size=0.1, noise=0.05, n_steps=5),
        batch_size=32,
        random_state=0,
        **options,
    )


@pytest.mark.parametrize("cls", [estimators.CD, estimators.PCD])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_begins_as_on_the_cpu(device, cls, optimizer):
    x = moons(100)
    here = small(cls, max_steps=5, optimizer=optimizer).fit(x)
    there = small(cls, max_steps=5, optimizer=optimizer, device=device).fit(x)
    assert there.energy_.device == device
    for name in ("energy_data", "energy_samples", "loss", "grad_norm"):
        np.testing.assert_allclose(
            there.history_[name], here.history_[name], rtol=2e-4, atol=2e-5
        )


def test_200_steps_of_pcd_follow_the_cpu(device):
    x = moons(300)
    here = small(estimators.PCD, max_steps=200).fit(x)
    there = small(estimators.PCD, max_steps=200, device=device).fit(x)
    assert there.n_steps_ == 200
    a, b = (est.history_["energy_data"] for est in (here, there))
    spread = np.std(a)
    assert np.max(np.abs(a[:50] - b[:50])) < 0.02 * spread
    assert abs(np.mean(a[150:]) - np.mean(b[150:])) < 0.2 * spread
    grid = np.stack(np.meshgrid(*[np.linspace(-1.5, 1.5, 12)] * 2), -1).reshape(-1, 2)
    e, f = (est.energy(grid) - est.energy(grid).mean() for est in (here, there))
    assert np.corrcoef(e, f)[0, 1] > 0.99


def test_a_run_goes_on_elsewhere(device, tmp_path):
    x = moons(100)
    path = tmp_path / "run.safetensors"
    small(estimators.PCD, max_steps=10, device=device, checkpoint=path).fit(x)
    est = ebm.load(path)
    assert est.n_steps_ == 10
    est.set_params(device=None, max_steps=2, warm_start=True, checkpoint=None)
    assert est.fit(x).n_steps_ == 12
    assert est.energy_.device == "cpu"


def test_divergence_is_seen_there(device):
    est = small(estimators.CD, max_steps=400, learning_rate=1e18, device=device)
    with pytest.raises(ebm.errors.NumericalError, match="step"):
        est.fit(moons(64))
