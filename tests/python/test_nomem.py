"""Memory: each public call survives every allocation that fails, and none of them leaks."""

import gc
import pickle
from pathlib import Path

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _chains, estimators, networks, samplers
from ebmlib._core import testing

rng = np.random.default_rng(1)
X = rng.standard_normal((40, 2)).astype("f4")


def small(**options):
    sampler = samplers.Langevin(step_size=0.05, n_steps=2)
    options = {"max_steps": 2, "batch_size": 8, "random_state": 0, **options}
    return estimators.PCD(networks.MLP((4,)), sampler, buffer_size=16, **options)


def quartic(x):
    return np.sum(x**4, axis=1)


def bound():
    return networks.MLP((4,)).bind((2,), random_state=0)


def fitted():
    return small().fit(X)


def looped(x):
    return ebm.repeat(lambda i, c: np.tanh(c * 1.5) + i, 3, x)


def leaves(tree):
    """All arrays of a result."""
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        return [leaf for part in tree for leaf in leaves(part)]
    return [np.asarray(tree)]


def set_again(net):
    net.set_parameters({name: array + 1 for name, array in bound().parameters().items()})
    return net(X)


# name: (makes what is used, uses it).  A use gives the same result each time.
CALLS = {
    "jit": (lambda: ebm.jit(lambda x: np.sum(np.exp(x) @ x.T)), lambda f: f(X)),
    "grad": (lambda: ebm.grad(lambda x: np.sum(np.tanh(x))), lambda f: f(X)),
    "value_and_grad": (lambda: ebm.value_and_grad(lambda x: np.sum(x**3)), lambda f: f(X)),
    "vjp": (lambda: np.sin, lambda f: ebm.vjp(f, X)[1](X)),
    "jvp": (lambda: np.sin, lambda f: ebm.jvp(f, (X,), (X,))),
    "hvp": (lambda: lambda x: np.sum(x**3), lambda f: ebm.hvp(f, (X,), (X,))),
    "repeat": (lambda: ebm.jit(lambda x: looped(x) + x), lambda f: f(X)),
    "repeat at once": (lambda: None, lambda _: looped(X)),
    "grad of repeat": (lambda: ebm.grad(lambda x: np.sum(looped(x))), lambda f: f(X)),
    "random": (
        lambda: ebm.jit(lambda key: ebm.random.normal(key, (3, 4))),
        lambda f: f(ebm.random.key(3)),
    ),
    "bind": (lambda: networks.MLP((4,)), lambda n: n.bind((2,), random_state=0)(X)),
    "bind images": (
        lambda: networks.ConvNet((4, 8)),
        lambda n: n.bind((8, 8, 1), random_state=0)(np.ones((2, 8, 8, 1), "f4")),
    ),
    "bound energy": (bound, lambda net: net(X)),
    "grad of bound energy": (bound, lambda net: ebm.grad(lambda x: np.sum(net(x)))(X)),
    "set_parameters": (bound, set_again),
    "pickle a bound network": (bound, lambda net: pickle.loads(pickle.dumps(net))(X)),
    "sample": (
        lambda: samplers.Langevin(n_steps=3),
        lambda s: s.sample(quartic, X, random_state=0),
    ),
    "sample a network": (
        bound,
        lambda net: samplers.Langevin(n_steps=3).sample(net, X, random_state=0),
    ),
    "step": (
        lambda: samplers.Langevin(),
        lambda s: s.step(quartic, s.init(X, random_state=0))[0].x,
    ),
    "fit": (small, lambda est: est.fit(X).energy(X)),
    "fit CD": (
        lambda: estimators.CD(networks.MLP((4,)), max_steps=2, random_state=0),
        lambda est: est.fit(X).energy(X),
    ),
    "fit held out": (lambda: small(ema=0.5), lambda est: est.fit(X, X_val=X).energy(X)),
    "refit": (fitted, lambda est: est.fit(X).energy(X)),
    "energy": (fitted, lambda est: est.energy(X)),
    "score": (fitted, lambda est: est.score(X)),
    "estimator sample": (fitted, lambda est: est.sample(5, n_steps=2, random_state=0)),
    "pickle an estimator": (fitted, lambda est: pickle.loads(pickle.dumps(est)).energy(X)),
}  # fmt: skip


def fails(use, thing, n):
    """True if allocation n of the use failed; that is a MemoryError, or it does not matter."""
    testing.alloc_fail_after(n)
    try:
        use(thing)
    except MemoryError:
        return True
    finally:
        testing.alloc_fail_after(-1)
    return False


@pytest.mark.parametrize("name", CALLS)
def test_every_failing_allocation(name):
    """MemoryError, nothing left behind, and then the same object gives the same result.

    Each of the first 500 allocations, then one in 16 of those that follow.
    """
    make, use = CALLS[name]
    want = leaves(use(make()))
    _chains._kept.clear()
    gc.collect()
    blocks = testing.alloc_live()
    n, failed = 0, 0
    thing = make()
    while fails(use, thing, n):
        failed += 1
        for got, expected in zip(leaves(use(thing)), want, strict=True):
            np.testing.assert_array_equal(got, expected)
        thing = make()
        n += 1 if n < 500 else 16
        assert n < 20_000
    assert failed > 0
    del thing
    _chains._kept.clear()
    gc.collect()
    assert testing.alloc_live() == blocks


def test_partial_fit_goes_on_after_a_failed_allocation():
    n = 0
    est = small()
    while fails(lambda e: e.partial_fit(X, n_steps=2), est, n):
        n += 1 + n // 8
        est.partial_fit(X, n_steps=2)
        assert np.isfinite(est.energy(X)).all()
        est = small()
    assert n > 50


# ---- leaks -----------------------------------------------------------------------------------
def resident():
    """Bytes of memory in use by the process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", CALLS)
def test_calls_leave_nothing_behind(name):
    """After a warm-up a thousand calls (fewer of slow ones) hold no block more, and no memory:
    a leak grows in each of three rounds, the holes that tests before it have left in one.
    """
    make, use = CALLS[name]
    times = 100 if "fit" in name or "estimator" in name or name.startswith("bind") else 1000
    thing = make()
    for _ in range(10):
        use(thing)
    gc.collect()
    blocks, grown = testing.alloc_live(), []
    while len(grown) < 3 and not (grown and grown[-1] < 4 << 20):
        bytes_before = resident()
        for _ in range(times):
            use(thing)
        gc.collect()
        assert testing.alloc_live() == blocks
        grown.append(resident() - bytes_before)
    assert min(grown) < 4 << 20


def test_long_training_is_flat():
    """10^5 small steps: not one block more than after the first 1000."""
    est = small(max_steps=1000).fit(X)
    gc.collect()
    before = testing.alloc_live(), resident()
    est.partial_fit(X, n_steps=100_000)
    gc.collect()
    assert testing.alloc_live() == before[0]
    assert resident() - before[1] < 64 << 20  # the history grows by 100,000 rows of metrics
