"""Pickle, copy, deepcopy and clone of every public class, found by introspection."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import (
    callbacks,
    datasets,
    diagnosis,
    entropy,
    errors,
    estimators,
    layers,
    metrics,
    networks,
    optimizers,
    samplers,
    schedules,
)

ROWS = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)


def small(cls, **changes):
    options = {
        "network": networks.MLP((3,)),
        "sampler": samplers.Langevin(n_steps=2),
        "learning_rate": schedules.Linear(1e-3, steps=10),
        "batch_size": 8,
        "max_steps": 3,
        "random_state": 0,
    }
    if cls is estimators.MaximumLikelihood:
        options["network"] = networks.GaussianMixture(2)
    if issubclass(cls, estimators.VERA):
        options["generator"] = networks.MLPGenerator(2, (3,))
    if cls is estimators.MEG:
        options["entropy"] = entropy.MutualInformation(critic=networks.MLP((3,)))
    return cls(**(options | changes))


def interrupted(cls):
    """With the memories of a fit that is to be resumed."""

    def stop(est, step, metrics):
        if step == 5:
            raise RuntimeError("at five")

    est = small(cls, max_steps=9, on_divergence="rollback", callbacks=[stop], snapshot_every=2)
    with pytest.raises(RuntimeError, match="at five"):
        est.fit(ROWS)
    return est.set_params(callbacks=None)


def used_buffer():
    buffer = samplers.ReplayBuffer(9, init="normal")
    slots, x = buffer.draw(4, (2,), random_state=0)
    buffer.put(slots, x)
    return buffer


def finding():
    return diagnosis.Finding("gap", "warning", "the gap grows", {"gap": 2.0}, "lower the rate")


def chain_state():
    walk = samplers.Langevin(n_steps=2)
    return walk.step(lambda x: np.sum(x**2, axis=1), walk.init(ROWS, random_state=0))[0]


def log_z():
    return samplers.annealed_importance_sampling(
        lambda x: np.sum(x**2, axis=1), shape=2, n_temperatures=3, n_chains=4, random_state=0
    )


def adapted_state():
    walk = samplers.MALA(adapt="paper")
    start = {"a": ROWS, "b": ROWS[:, 0]}
    return walk.step(lambda p: np.sum(p["a"] ** 2, axis=1) + p["b"] ** 2, walk.init(start, 0))[
        0
    ]


def estimator(cls):
    return [
        lambda: small(cls),
        lambda: small(cls).fit(ROWS, X_val=ROWS[:9]),
        lambda: interrupted(cls),
    ]


ESTIMATORS = tuple(getattr(estimators, name) for name in estimators.__all__)
LIKELIHOOD = metrics.Likelihood(-2.0, 0.1, 100, "nats")


# Examples of each class; a class that is not here is made without arguments.
def quadratic(p, x):
    return 0.5 * np.sum((x - p["mean"]) ** 2, axis=1)


def spread(p, z):
    return layers.dropout(p, "d", layers.batch_norm(p, "n", layers.dense(p, "l", z, 2)), 0.2)


def function_network():
    return networks.Function(quadratic, {"mean": np.ones(2)})


EXAMPLES = {
    ebm.TracedArray: [],  # see below
    ebm.Array: [],  # where there is a device: tests/cuda
    ebm.device: [lambda: ebm.device("cpu")],
    ebm.set_precision: [lambda: ebm.set_precision("ieee")],
    networks.BoundNetwork: [
        lambda: networks.MLP((3,)).bind(2, random_state=0),
        lambda: function_network().bind(2, random_state=0),
    ],
    metrics.ChainDiagnostics: [lambda: metrics.ChainDiagnostics(np.ones(2), ROWS[0], ROWS[1])],
    metrics.Comparison: [lambda: metrics.Comparison(LIKELIHOOD, LIKELIHOOD, 0.0, 0.1)],
    metrics.Distance: [lambda: metrics.Distance(0.5, 0.01)],
    metrics.Likelihood: [lambda: LIKELIHOOD],
    metrics.ScoreError: [lambda: metrics.ScoreError(1.0, 2.0, 0.5)],
    networks.Function: [lambda: function_network()],
    networks.FunctionGenerator: [lambda: networks.FunctionGenerator(spread, 3)],
    networks.BoundGenerator: [
        lambda: networks.MLPGenerator(3, (4,)).bind(2, random_state=0),
        lambda: networks.FunctionGenerator(spread, 3).bind(2, random_state=0),
    ],
    networks.BoundLinear: [lambda: networks.LinearGenerator(3).bind(4, random_state=0)],
    layers.Scope: [],  # lives while a network is traced
    samplers.LogZ: [log_z],
    samplers.ChainState: [chain_state, adapted_state],
    samplers.ReplayBuffer: [samplers.ReplayBuffer, used_buffer],
    samplers.Langevin: [lambda: samplers.Langevin(clip=(-1, 1))],
    samplers.MALA: [lambda: samplers.MALA(noise=0.3, adapt="paper")],
    samplers.HMC: [lambda: samplers.HMC(n_leapfrog=3, target=0.7)],
    **{cls: estimator(cls) for cls in ESTIMATORS},
    entropy.HMC: [lambda: entropy.HMC(burn_in=5, step_size=0.1, gradient="prior")],
    entropy.Importance: [lambda: entropy.Importance(draws=3, statistics="batch")],
    entropy.MutualInformation: [
        entropy.MutualInformation,
        lambda: entropy.MutualInformation("donsker_varadhan", networks.MLP((3,))),
    ],
    optimizers.Adam: [lambda: optimizers.Adam(schedules.Cosine(1e-3), (0.0, 0.9), every=2)],
    optimizers.SGD: [lambda: optimizers.SGD(0.1, momentum=0.9, clip_norm=1.0)],
    callbacks.CSVLogger: [lambda: callbacks.CSVLogger("log.csv", every=3)],
    diagnosis.Finding: [finding],
    diagnosis.Report: [lambda: small(estimators.PCD).fit(ROWS).diagnose()],
    datasets.NoisyCurves: [datasets.moons, datasets.rings, datasets.spirals],
    datasets.GaussianMixture: [datasets.gaussians8],
    datasets.PlanarSet: list(datasets.PLANAR.values()),
}


def public_classes():
    for found in pkgutil.iter_modules(ebm.__path__, "ebmlib."):
        if not found.name.rpartition(".")[2].startswith("_"):
            module = importlib.import_module(found.name)
            yield from (getattr(module, name) for name in getattr(module, "__all__", ()))
    yield from (getattr(ebm, name) for name in ebm.__all__)


CLASSES = sorted(
    {c for c in public_classes() if inspect.isclass(c)}, key=lambda c: c.__qualname__
)


def made(cls):
    if issubclass(cls, BaseException):
        return [cls("what: got 1, expected 2")]
    return [example() for example in EXAMPLES.get(cls, [cls])]


def alike(a, b):
    """The same in all parts, as far as pickle knows them."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray) and a.dtype != object:
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if a is b or isinstance(a, int | float | complex | str | bytes | np.dtype | type):
        return bool(a == b)
    one, other = a.__reduce_ex__(4), b.__reduce_ex__(4)
    return one if isinstance(one, str) else alike(list(one[1:3]), list(other[1:3]))


WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "pickle 2": lambda thing: pickle.loads(pickle.dumps(thing, protocol=2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def test_what_alike_sees():
    a = small(estimators.PCD).fit(ROWS)
    b = small(estimators.PCD).fit(ROWS)
    assert alike(a, b)
    assert not alike(a, b.partial_fit(ROWS, n_steps=1))
    assert not alike(networks.MLP((3,)), networks.MLP((4,)))
    assert not alike(used_buffer(), samplers.ReplayBuffer(9, init="normal"))
    assert len(CLASSES) > 20
    assert {estimators.PCD, networks.BoundNetwork, errors.ShapeError} <= set(CLASSES)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__qualname__)
def test_copies_are_alike(cls, way):
    for thing in made(cls):
        copied = WAYS[way](thing)
        assert type(copied) is type(thing)
        assert alike(copied, thing)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__qualname__)
def test_clones_have_the_parameters(cls):
    base = pytest.importorskip("sklearn.base")
    for thing in made(cls):
        if hasattr(thing, "get_params"):
            cloned = base.clone(thing)
            assert type(cloned) is type(thing)
            assert alike(cloned.get_params(), thing.get_params())
            assert not [name for name in vars(cloned) if name.endswith("_")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cls", ESTIMATORS)
def test_copies_of_estimators_go_on_by_themselves(cls, way):
    for example in estimator(cls)[1:]:
        est = example()
        copied, before = WAYS[way](est), est.energy(ROWS)
        np.testing.assert_array_equal(copied.energy(ROWS), before)
        np.testing.assert_array_equal(copied.sample(5), est.sample(5))
        copied.partial_fit(ROWS, n_steps=4)
        assert (copied.energy(ROWS) != before).any()
        np.testing.assert_array_equal(est.energy(ROWS), before)
        np.testing.assert_array_equal(
            est.partial_fit(ROWS, n_steps=4).energy(ROWS), copied.energy(ROWS)
        )
    est = interrupted(cls)
    copied = WAYS[way](est)
    assert copied.resume(ROWS).n_steps_ == 9
    assert alike(est.resume(ROWS), copied)


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_copies_have_arrays_of_their_own(way):
    bound = networks.MLP((3,)).bind(2, random_state=0)
    copied, before = WAYS[way](bound), bound(ROWS)
    copied.set_parameters({"l1.b": [7.0]})
    np.testing.assert_array_equal(bound(ROWS), before)
    np.testing.assert_allclose(copied(ROWS), before + 7, rtol=1e-5)
    buffer = used_buffer()
    copied = WAYS[way](buffer)
    copied.put(np.arange(9), np.ones((9, 2)))
    assert (len(buffer), len(copied)) == (4, 9)


def test_laws_draw_the_same_points():
    for name, law in datasets.PLANAR.items():
        law = law()
        for way in WAYS.values():
            again = way(law).sample(7, random_state=1)
            np.testing.assert_array_equal(again, law.sample(7, random_state=1), err_msg=name)


def test_traced_arrays_are_copied_but_not_pickled():
    def function(x):
        with pytest.raises(TypeError, match="cannot pickle 'TracedArray' object"):
            pickle.dumps(x)
        return copy.copy(x) + copy.deepcopy(x)

    np.testing.assert_array_equal(ebm.jit(function)(ROWS), 2 * ROWS)


@ebm.jit
def square(x):
    return x * x


def test_compiled_functions():
    """As functions: by name where they have one, and never two of them."""
    square(ROWS)
    assert pickle.loads(pickle.dumps(square)) is square
    assert copy.deepcopy(square) is square
    with pytest.raises((pickle.PicklingError, AttributeError), match=r"[Cc]an't pickle"):
        pickle.dumps(ebm.grad(lambda x: np.sum(x)))
