"""Generators that are Python functions: the bits of the core's, saved as text, and refused."""

from __future__ import annotations

import gc
import json
import pickle

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import entropy, estimators, layers, networks, optimizers, samplers
from ebmlib._core import testing
from ebmlib._function import Template
from ebmlib.errors import ShapeError
from ebmlib.networks import Function, FunctionGenerator, MLPGenerator, _network_from_json
from tests.python.files import Text, refused, try_mutants

HIDDEN = (6, 5)
ROWS = np.random.default_rng(0).normal(size=(60, 2))


def written(norm="batch", dropout=0.0, latent=3, sigma=0.2):
    """`MLPGenerator` of rows (2,) as a function."""

    def mlp(p, z):
        h, init = z, 1.0
        for i, width in enumerate(HIDDEN):
            h = layers.dense(p, f"l{i}", h, width, init=init)
            if norm == "batch":
                h = layers.batch_norm(p, f"n{i}", h)
            h = layers.dropout(p, f"l{i}", layers.activate(h, "relu"), dropout)
            init = "relu"
        return layers.dense(p, f"l{len(HIDDEN)}", h, 2, init=init)

    return FunctionGenerator(mlp, latent, sigma=sigma)


def of_core(norm="batch", dropout=0.0, latent=3, sigma=0.2):
    return MLPGenerator(latent, HIDDEN, norm=norm, dropout=dropout, sigma=sigma)


def pair(norm="batch", dropout=0.0, **changes):
    return written(norm, dropout, **changes), of_core(norm, dropout, **changes)


def vera(generator, how="importance", **changes):
    options = {
        "entropy": how,
        "batch_size": 16,
        "max_steps": 4,
        "random_state": 0,
        "learning_rate": 1e-2,
        "generator_optimizer": optimizers.Adam(1e-2),
    }
    return estimators.VERA(networks.MLP((8,)), generator, **(options | changes))


def same(one, other):
    """Equal dicts of arrays, to the bits."""
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def same_fits(one, other):
    same(one.energy_.parameters(), other.energy_.parameters())
    same(one.generator_.parameters(), other.generator_.parameters())
    same(one.history_, other.history_)
    for method in one._methods():
        draws = [est.sample(3, n_steps=2, method=method) for est in (one, other)]
        np.testing.assert_array_equal(*draws)


# ---- the bits of the core's generator --------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_are_those_of_the_core(norm, dtype, rng):
    mine, theirs = (s.bind(2, random_state=3, dtype=dtype) for s in pair(norm, 0.3))
    saved = pickle.loads(pickle.dumps(mine))
    z, x = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    for one in (mine, saved):
        same(one.parameters(), theirs.parameters())
        for n in (1, 7, 9):
            np.testing.assert_array_equal(one(z[:n]), theirs(z[:n]))
        np.testing.assert_array_equal(one.log_joint(x, z), theirs.log_joint(x, z))
        np.testing.assert_array_equal(one.sample(5, random_state=1), theirs.sample(5, 1))
        for key in (None, ebm.random.key(4)):
            made, expected = one.in_training(z, key), theirs.in_training(z, key)
            np.testing.assert_array_equal(made[0], expected[0])
            same(made[1], expected[1])
        slopes = [
            ebm.grad(lambda z, g=g: np.sum(g.in_training(z)[0] ** 2)) for g in (one, theirs)
        ]
        np.testing.assert_array_equal(*[slope(z.astype(dtype)) for slope in slopes])


@pytest.mark.parametrize(
    "how",
    [
        entropy.Importance(draws=3),
        entropy.Importance(draws=3, statistics="batch"),
        entropy.Importance(draws=1, statistics="running"),
        entropy.HMC(burn_in=1, n_leapfrog=2),
        entropy.GaussNewton(pool=1),
        entropy.MutualInformation(critic=networks.MLP((5,))),
        None,
    ],
    ids=str,
)
def test_vera_trains_it_as_the_core_s(how):
    mine, theirs = (vera(spec, how).fit(ROWS) for spec in pair("batch", 0.3))
    same_fits(mine, theirs)
    again = vera(pickle.loads(pickle.dumps(mine)).generator, how).fit(ROWS)
    same_fits(again, theirs)  # from the text


@pytest.mark.parametrize("how", [entropy.Importance(3), entropy.GaussNewton(), entropy.HMC()])
def test_estimates_by_themselves(how, rng):
    mine, theirs = (s.bind(2, random_state=3) for s in pair())
    x, z0 = mine.sample(20, random_state=0, return_latent=True)
    scores = [how.score(g, x, z0, random_state=1) for g in (mine, theirs)]
    np.testing.assert_array_equal(*scores)


def test_chains_in_its_latents():
    net = networks.MLP((4,)).bind(2, random_state=0)
    mine, theirs = (s.bind(2, random_state=3) for s in pair())
    x, z = mine.sample(20, random_state=0, return_latent=True)
    walk = samplers.HMC(step_size=0.1, n_steps=3)
    ends = [walk.sample(samplers.posterior(g, x), z, random_state=0) for g in (mine, theirs)]
    np.testing.assert_array_equal(*ends)
    made = [samplers.refine(net, g, 10, n_steps=3, random_state=0) for g in (mine, theirs)]
    np.testing.assert_array_equal(*made)


# ---- parameters ------------------------------------------------------------------------------


def starts(rng, row):
    return {
        "in": {"w": rng.normal(size=(3, 4)), "b": np.zeros(4)},
        "n": {
            "g": np.full(4, 2.0),
            "b": np.ones(4),
            "mean": np.full(4, 0.5),
            "var": np.ones(4),
        },
        "out": rng.normal(size=(4, *row)),
    }


def from_starts(p, z):
    h = layers.dropout(p, "d", layers.dense(p, "in", z, 4), 0.25)
    h = layers.batch_norm(p, "n", h)
    return np.einsum("ni,ijk->njk", np.tanh(h), p["out"])


def test_start_values_are_where_training_starts(rng):
    spec = FunctionGenerator(from_starts, 3, starts)
    g = spec.bind((2, 2), random_state=1, dtype="float64")
    p, z = g.parameters(), rng.normal(size=(7, 3))
    assert list(p) == ["in.w", "in.b", "n.g", "n.b", "n.mean", "n.var", "out", "log_sigma"]
    h = (z @ p["in.w"] - 0.5) / np.sqrt(1 + 1e-5) * 2 + 1
    np.testing.assert_allclose(g(z), np.einsum("ni,ijk->njk", np.tanh(h), p["out"]), 1e-12)
    np.testing.assert_allclose(g(z), from_starts(layers.nested(p), z), 1e-12)  # with a dict
    h = z @ p["in.w"]
    seen = g.in_training(z)[1]
    np.testing.assert_allclose(seen["n.mean"], h.mean(0), 1e-12)
    np.testing.assert_allclose(seen["n.var"], h.var(0), 1e-12)

    x = rng.normal(size=(40, 2, 2))
    adam = optimizers.Adam(1e-2, ema=0.5)
    still = vera(spec, None, generator_optimizer=adam, max_steps=0).fit(x)
    same(still.generator_.parameters(), still._get_trainer().get("parts.generator"))
    np.testing.assert_array_equal(still.generator_.parameters()["n.mean"], np.float32(0.5))
    est = vera(spec, None, generator_optimizer=adam, max_steps=8).fit(x)
    lasting = est._lasting()
    assert (lasting["parts.generator.n.mean"] != np.float32(0.5)).all()  # statistics follow
    assert "adam.m.parts.generator.n.g" in lasting
    assert "adam.m.parts.generator.n.mean" not in lasting
    whole, part = (vera(spec, None, generator_optimizer=adam, max_steps=k) for k in (8, 3))
    loaded = pickle.loads(pickle.dumps(part.fit(x)))
    same_fits(loaded.partial_fit(x, n_steps=5), whole.fit(x))


def test_specifications_compare_print_and_list():
    spec = written()
    assert spec == FunctionGenerator(spec.generator, 3, sigma=0.2)
    assert spec != FunctionGenerator(spec.generator, 4, sigma=0.2)
    assert repr(spec) == "FunctionGenerator(mlp, latent=3, sigma=0.2)"
    assert spec._shapes((2,)) == {k: a.shape for k, a in spec.bind(2).parameters().items()}
    base = pytest.importorskip("sklearn.base")
    est = vera(spec)
    cloned = base.clone(est)
    assert cloned.generator.generator is spec.generator
    same_fits(cloned.fit(ROWS), est.fit(ROWS))
    assert written(sigma=0).bind(2).sigma == 0.0


# ---- saved -----------------------------------------------------------------------------------


def test_files_hold_the_text_and_go_on_to_the_same_bits(tmp_path):
    path = tmp_path / "est.safetensors"
    whole, part = (vera(written("batch", 0.3), max_steps=n).fit(ROWS) for n in (8, 4))
    part.save(path)
    assert b"test_functions" not in path.read_bytes()
    loaded = ebm.load(path)
    assert isinstance(loaded.generator.generator, Template)
    same_fits(loaded.partial_fit(ROWS, n_steps=4), whole)

    class Stop(Exception):
        pass

    def stop(est, step, metrics):
        if step == 5:
            raise Stop

    est = vera(written("batch", 0.3), max_steps=8, callbacks=[stop], checkpoint=path)
    with pytest.raises(Stop):
        est.set_params(checkpoint_every=1).fit(ROWS)
    same_fits(ebm.load(path).resume(ROWS), whole)
    g = whole.generator_
    g.save(path)
    same(ebm.load(path).parameters(), g.parameters())


def test_layers_stand_in_the_text():
    spec = FunctionGenerator(from_starts, 3, starts)
    text = spec._to_json((2, 2), "float32")
    assert text["layers"] == [["dropout", "d", 0.25], ["batch_norm", "n", 0.0]]
    assert (text["kind"], text["latent"], text["sigma"]) == ("function_generator", 3, 0.1)
    arrays = text.pop("arrays")
    loaded = _network_from_json(json.loads(json.dumps(text)) | {"arrays": arrays})
    assert loaded._shapes((2, 2)) == spec._shapes((2, 2))
    assert loaded.bind((2, 2)).in_training(np.ones((4, 3)))[1].keys() == {"n.mean", "n.var"}


def test_loops_and_branches_around_layers_are_saved(rng):
    def looped(p, z):
        z = ebm.repeat(lambda i, y: y - 0.1 * np.tanh(y), 3, z)
        side = np.cos(z[:, :2])  # made before the layers, needed behind them
        h = layers.batch_norm(p, "n", layers.dense(p, "a", z, 4))
        h = ebm.repeat(lambda i, y: y - 0.1 * np.tanh(y), 3, h)
        return layers.dense(p, "b", layers.batch_norm(p, "m", h), 2) + side

    g = FunctionGenerator(looped, 3).bind(2, random_state=0)
    saved, z = pickle.loads(pickle.dumps(g)), rng.normal(size=(8, 3))
    np.testing.assert_array_equal(g(z), saved(z))
    made, expected = saved.in_training(z), g.in_training(z)
    np.testing.assert_array_equal(made[0], expected[0])
    same(made[1], expected[1])


@pytest.mark.parametrize(
    "layer",
    [lambda p, h: layers.dropout(p, "d", h), lambda p, h: layers.batch_norm(p, "n", h)],
)
def test_derivatives_through_a_layer_can_be_trained_not_saved(layer):
    def sloped(p, z):
        h = layers.dense(p, "l", z, 2)
        return ebm.grad(lambda h: np.sum(np.tanh(layer(p, np.tanh(h)))))(h)

    est = vera(FunctionGenerator(sloped, 2, sigma=0.3)).fit(ROWS)
    with pytest.raises(ValueError, match="cannot be written down: it takes a derivative thr"):
        pickle.dumps(est)


def hostile():
    good = FunctionGenerator(from_starts, 3, starts)._to_json((2, 2), "float32")
    text = good["template"]
    yield "kind", good | {"kind": "function"}
    yield "latent", good | {"latent": 4}
    yield "no latent", {k: v for k, v in good.items() if k != "latent"}
    yield "sigma", good | {"sigma": -1.0}
    yield "word", good | {"sigma": "loud"}
    yield "no layers", {k: v for k, v in good.items() if k != "layers"}
    yield "fewer layers", good | {"layers": good["layers"][:1]}
    yield "rate", good | {"layers": [["dropout", "d", 1.0], good["layers"][1]]}
    yield "unknown", good | {"layers": [["system", "d", 0.1], good["layers"][1]]}
    yield "other name", good | {"layers": [good["layers"][0], ["batch_norm", "m", 0.0]]}
    yield "twice", good | {"layers": [good["layers"][0], ["dropout", "d", 0.1]]}
    yield (
        "swapped",
        good | {"template": text.replace("layer.0", "layer.9").replace("layer.1", "layer.0")},
    )
    out = text.splitlines()[-1].split()
    yield (
        "later",
        good | {"template": text.replace(" ".join(out), f"out {out[1]} {out[3]} {out[2]}")},
    )
    yield "fewer outs", good | {"template": text.replace(" ".join(out), " ".join(out[:3]))}


HOSTILE = dict(hostile())


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_text_is_an_error(what):
    with pytest.raises((ValueError, TypeError)):
        _network_from_json(HOSTILE[what]).bind((2, 2))


def test_mutated_texts_never_crash(rng):
    def use(loaded):
        loaded.bind((2, 2), random_state=0).in_training(np.zeros((3, 3)))

    good = FunctionGenerator(from_starts, 3, starts)._to_json((2, 2), "float32")
    try_mutants(good, 100, rng, use)


def test_forged_files_are_refused(tmp_path):
    path = tmp_path / "generator.safetensors"
    written().bind(2, random_state=1).save(path)
    text = Text(path.read_bytes())
    network = text["network"]
    network["sigma"] = 0.0
    text["network"] = network
    refused(path, text.seal().bytes(), "params.log_sigma")


# ---- refused ---------------------------------------------------------------------------------


def in_a_loop(p, z):
    return ebm.repeat(lambda i, y: layers.batch_norm(p, "n", y), 3, z)


def twice(p, z):
    return layers.dropout(p, "d", layers.dropout(p, "d", z))


def functional_norm(p, z):
    return ebm.functional.batch_norm(z, p.param("g", 2), p.param("b", 2))


def plain(p, z):
    return z + p.param("b", 2)


BAD = [
    (lambda: FunctionGenerator(3, 2), TypeError, "generator: got int, expected a function of"),
    (lambda: FunctionGenerator(plain, 0), ValueError, "latent: got 0, expected a whole number"),
    (lambda: FunctionGenerator(plain, "2"), TypeError, "latent: got '2', expected"),
    (lambda: FunctionGenerator(plain, 2, sigma=-1), ValueError, "sigma: got -1, expected 0"),
    (lambda: FunctionGenerator(plain, 2, sigma=np.inf), ValueError, "sigma: got inf"),
    (lambda: FunctionGenerator(plain, 2, 3), TypeError, "parameters: got int, expected a dict"),
    (
        lambda: FunctionGenerator(lambda p, z: z[:, :1] * p.param("b", ()), 2),
        ShapeError,
        r"function '<lambda>': rows: got \(2, 1\), expected \(2, 2\)",
    ),
    (
        lambda: FunctionGenerator(lambda p, z: z - z.mean(0) + p.param("b", 2), 2),
        ValueError,
        "its rows depend on one another, expected independent rows",
    ),
    (
        lambda: FunctionGenerator(functional_norm, 2),
        ValueError,
        r"rows depend on one another.*layers\.batch_norm in the place of functional",
    ),
    (
        lambda: FunctionGenerator(lambda p, z: z * p.param("log_sigma", ()), 2),
        ValueError,
        "parameter 'log_sigma': it is that of the noise, expected another name",
    ),
    (
        lambda: FunctionGenerator(in_a_loop, 2),
        ValueError,
        "layer 'n': got rows of a step of a repeat, expected it outside of loops",
    ),
    (lambda: FunctionGenerator(twice, 2), ValueError, "dropout 'd': it stands there twice"),
    (
        lambda: FunctionGenerator(
            lambda p, z: plain(p, z) * np.random.default_rng().normal(size=2), 2
        ),
        ValueError,
        "impure function",
    ),
    (
        lambda: FunctionGenerator(
            lambda p, z: layers.batch_norm(p, "n", z), 2, {"n.g": np.ones(2)}
        ),
        KeyError,
        "parameter 'n.b' is missing",
    ),
]


@pytest.mark.parametrize(("spec", "error", "message"), BAD)
def test_bad_generators_say_why(spec, error, message):
    with pytest.raises(error, match=message):
        spec().bind(2)
    with pytest.raises(error, match=message):
        vera(spec(), None).fit(ROWS)


def normed(p, x):
    return layers.batch_norm(p, "n", x)[:, 0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: Function(normed).bind(2),
            ValueError,
            "batch_norm 'n': got an energy, expected a generator: it couples the rows",
        ),
        (
            lambda: Function(normed, rows_independent=False).bind(2),
            ValueError,
            "batch_norm 'n': got an energy",
        ),
        (
            lambda: vera(Function(lambda p, z: z[:, 0] * p.param("w", ()))).fit(ROWS),
            ValueError,
            "function '<lambda>': got an energy, expected a generator",
        ),
        (
            lambda: estimators.PCD(FunctionGenerator(plain, 2)).fit(ROWS),
            ValueError,
            "function 'plain': got a generator, expected an energy",
        ),
        (
            lambda: networks.BoundNetwork(FunctionGenerator(plain, 2), 2),
            ValueError,
            "a generator, expected an energy",
        ),
        (
            lambda: vera(FunctionGenerator(plain, 2, sigma=0)).fit(ROWS),
            ValueError,
            "function 'plain', which adds no noise",
        ),
        (
            lambda: vera(FunctionGenerator(plain, 2)).fit(np.ones((9, 3))),
            ShapeError,
            r"function 'plain': rows: got \(2, 2\), expected \(2, 3\)",
        ),
        (
            lambda: FunctionGenerator(plain, 2)._to_json(None, None),
            ValueError,
            "function 'plain': it is saved as the text of its graph",
        ),
        (
            lambda: vera(
                written(), entropy.MutualInformation(critic=Function(plain)), max_steps=1
            ).fit(ROWS),
            ValueError,
            "critic: got Function",
        ),
    ],
)
def test_what_is_refused_elsewhere(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_every_failed_allocation_is_survived():
    spec = FunctionGenerator(from_starts, 3, starts)

    def everything():
        g = spec.bind((2, 2), random_state=0)
        other = pickle.loads(pickle.dumps(g))
        return other.in_training(np.ones((3, 3)), ebm.random.key(1))[0]

    expected = everything()
    gc.collect()
    live = testing.alloc_live()
    n = 0
    while n < 100_000:
        testing.alloc_fail_after(n)
        try:
            got = everything()
        except MemoryError:
            n += 1 + n // 3
            continue
        finally:
            testing.alloc_fail_after(-1)
            gc.collect()
            assert testing.alloc_live() == live, n
        break
    assert n > 100
    np.testing.assert_array_equal(got, expected)
