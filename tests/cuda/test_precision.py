"""Products by cuBLAS, and set_precision: on a card, or on the host by the shim's cuBLAS, which
rounds in TF32 mode as a card does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import networks, samplers


def run(device: str, program: str, setting: str = "1") -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"device = {device!r}\n{textwrap.dedent(program)}"],
        capture_output=True,
        text=True,
        env={**os.environ, "EBMLIB_SHIM_CUBLAS": setting},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Products of every form against float64; each is run, recorded and replayed in each precision.
PRODUCTS = """
    import itertools
    import numpy as np, ebmlib as ebm

    rng = np.random.default_rng(0)
    forms = itertools.product((0, 1), (0, 1), ((128, 96, 80), (70, 65, 81)), ((), (3,)))
    for ta, tb, (m, k, n), batch in forms:
        a = rng.normal(size=batch + ((k, m) if ta else (m, k)))
        b = rng.normal(size=batch + ((n, k) if tb else (k, n)))

        def product(a, b):
            left = np.swapaxes(a, -1, -2) if ta else a
            return left @ (np.swapaxes(b, -1, -2) if tb else b)

        for dtype in (np.float32, np.float64):
            f = ebm.jit(product, device=device)
            for precision in ("ieee", "tf32", "tf32", "tf32", "ieee"):
                ebm.set_precision(precision)
                for _ in range(2):
                    got = f(a.astype(dtype), b.astype(dtype)).numpy()
                worst = np.abs(got - product(a, b)).max() / k**0.5
                shows = dtype == np.float32 and precision == "tf32"
                most = 1e-2 if shows else 2e-5 if dtype == np.float32 else 1e-13
                assert worst < most, (ta, tb, m, dtype, precision, worst)
                if shows and m == 128:  # an odd size may have no faster kernel
                    assert worst > 1e-4, (ta, tb, worst)
    print("right")
"""


def test_products_by_cublas(device):
    assert run(device, PRODUCTS) == "right\n"


# What was compiled, recorded and replayed in one precision is computed in the other when asked.
PLANS = """
    import numpy as np, ebmlib as ebm
    from ebmlib import estimators, networks, samplers

    x0 = np.random.default_rng(0).normal(size=(70, 64)).astype(np.float32)

    def made():
        return networks.MLP((96, 96)).bind(64, random_state=0, device=device)

    def results(net, est):
        walk = samplers.Langevin(step_size=0.1, noise=0.0, n_steps=3)
        step = ebm.jit(ebm.grad(lambda x: np.sum(net(x))), device=device)
        est.partial_fit(x0, n_steps=4)
        x = [walk.sample(net, x0, random_state=0) for _ in "123"]
        g = [np.asarray(step(x0)) for _ in "123"]
        assert all(np.array_equal(a, b) for many in (x, g) for a, b in zip(many, many[1:]))
        return x[0], g[0], net(x0)

    def training():
        return estimators.PCD(
            networks.MLP((96, 96)), samplers.Langevin(0.1, n_steps=2), device=device,
            batch_size=70, random_state=0,
        )

    net, est = made(), training()
    first = results(net, est)
    with ebm.set_precision("tf32"):
        assert ebm.precision() == "tf32"
        rounded = results(net, est)
        fresh = results(made(), training())
    assert ebm.precision() == "ieee"
    again = results(net, est)
    for a, b, c, d in zip(first, rounded, fresh, again):
        assert np.array_equal(b, c) and np.array_equal(a, d)
        assert 1e-7 < np.abs(a - b).max() / np.abs(a).max() < 1e-2

    # Steps of training too: the same four, in one precision and in the other.
    losses = {}
    for name in ("ieee", "tf32"):
        with ebm.set_precision(name):
            losses[name] = training().partial_fit(x0, n_steps=4).history_["energy_data"]
    assert 0 < np.abs(losses["ieee"] - losses["tf32"]).max() < 1e-2
    print("right")
"""


def test_a_precision_holds_for_plans_and_recordings_of_another(device):
    assert run(device, PLANS) == "right\n"


def test_without_cublas_a_product_says_how_to_get_it(device):
    if device == "cuda":
        pytest.skip("there is one here")
    program = """
        import numpy as np, ebmlib as ebm
        x = np.ones((128, 128), np.float32)
        for _ in range(2):
            try:
                ebm.jit(lambda x: x @ x, device=device)(x)
            except ebm.errors.DeviceError as error:
                print(error)
        print(ebm.jit(lambda x: x[:9] @ x[:, :9], device=device)(x).numpy()[0, 0])
    """
    first, second, small = run(device, program, "missing").splitlines()
    assert first == second
    assert first.startswith("cuda: products need cuBLAS: pip install nvidia-cublas")
    assert small == "128.0"


@pytest.mark.parametrize("where", ["cpu", "device"])
def test_tf32_changes_nothing_where_no_unit_computes_in_it(where, request):
    if where == "device" and (where := request.getfixturevalue("device")) == "cuda":
        pytest.skip("a card does")
    x0 = np.random.default_rng(0).normal(size=(70, 64)).astype(np.float32)

    def results():
        net = networks.MLP((96, 96)).bind(64, random_state=0, device=where)
        walk = samplers.Langevin(step_size=0.1, n_steps=3)
        return walk.sample(net, x0, random_state=0), net(x0)

    with ebm.set_precision("tf32") as scope:
        assert repr(scope) == "set_precision('tf32')"
        rounded = results()
    for a, b in zip(results(), rounded, strict=True):
        np.testing.assert_array_equal(a, b)
    ebm.set_precision("tf32")
    with pytest.raises(KeyError), ebm.set_precision("ieee"):
        raise KeyError
    assert ebm.precision() == "tf32"
    ebm.set_precision("ieee")
