"""Generators: rows against NumPy, noise, joint densities, training mode, files, refusals."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.stats

import ebmlib as ebm
from ebmlib import _core, networks
from ebmlib.errors import ShapeError
from tests.python.files import Text, refused

SPECS = [networks.MLPGenerator(), networks.NICE(), networks.GaussianMixture()]


def randomised(bound, rng):
    """Arrays that are nowhere at a special start; variances stay positive."""
    return bound.set_parameters(
        {k: rng.uniform(0.2, 1.2, np.shape(a)) for k, a in bound.parameters().items()}
    )


def reference(g, z):
    """g(z) in NumPy, in evaluation."""
    p, spec, h = g.parameters(), g.network, z
    for i in range(len(spec.hidden)):
        h = h @ p[f"l{i}.w"] + p[f"l{i}.b"]
        if spec.norm == "batch":
            h = (h - p[f"n{i}.mean"]) / np.sqrt(p[f"n{i}.var"] + 1e-5)
        elif spec.norm == "layer":
            h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
        if spec.norm != "none":
            h = h * p[f"n{i}.g"] + p[f"n{i}.b"]
        h = np.maximum(h, 0)
    h = h @ p[f"l{len(spec.hidden)}.w"] + p[f"l{len(spec.hidden)}.b"]
    return h.reshape(len(z), *g.shape)


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("row", [(3,), (2, 3, 1)])
def test_generator_is_its_formula(norm, row, rng):
    g = networks.MLPGenerator(4, (7, 5), norm=norm).bind(row, dtype=np.float64)
    randomised(g, rng)
    z = rng.normal(size=(33, 4))
    np.testing.assert_allclose(g(z), reference(g, z), rtol=1e-12, atol=1e-12)
    g32 = networks.MLPGenerator(4, (7, 5), norm=norm).bind(row)
    g32.set_parameters(g.parameters())
    assert g32(z).dtype == np.float32
    np.testing.assert_allclose(g32(z), g(z), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("n", [0, 1, 5, 1025])
def test_rows_do_not_know_their_chunk(n, rng):
    g = networks.MLPGenerator(3, (6,)).bind(2, random_state=0, dtype=np.float64)
    z = rng.normal(size=(n, 3))
    assert g(z).shape == (n, 2)
    np.testing.assert_allclose(g(z), reference(g, z), rtol=1e-12, atol=1e-13)


def test_samples_are_mean_and_noise():
    g = networks.MLPGenerator(3, (6,), sigma=0.3).bind((2, 2), random_state=0, dtype=np.float64)
    x, z = g.sample(20000, random_state=1, return_latent=True)
    eps = (x - g(z)) / g.sigma
    assert g.sigma == pytest.approx(0.3, rel=1e-12)
    # 5 standard errors of means and variances: false alarms 1e-6 each for a fresh seed.
    for draws in (eps, z):
        assert abs(draws.mean()) < 5 / np.sqrt(draws.size)
        assert abs(draws.var() - 1) < 5 * np.sqrt(2 / draws.size)
    assert abs(np.corrcoef(z[:, 0], eps[:, 0, 0])[0, 1]) < 5 / np.sqrt(len(z))
    np.testing.assert_array_equal(g.sample(9, random_state=4), g.sample(9, random_state=4))
    assert (g.sample(9, random_state=4) != g.sample(9, random_state=5)).all()
    assert g.sample(0).shape == (0, 2, 2)


def test_joint_density_is_scipys(rng):
    g = networks.MLPGenerator(3, (6,), sigma=0.3).bind((2, 2), random_state=0, dtype=np.float64)
    x, z = rng.normal(size=(7, 2, 2)), rng.normal(size=(7, 3))
    normal = scipy.stats.norm
    expected = normal.logpdf(x, g(z), 0.3).sum((1, 2)) + normal.logpdf(z).sum(1)
    np.testing.assert_allclose(g.log_joint(x, z), expected, rtol=1e-12)


def test_generators_stand_in_traced_functions(rng):
    g = networks.MLPGenerator(3, (6,), sigma=0.3).bind(2, random_state=0, dtype=np.float64)
    x, z = rng.normal(size=(5, 2)), rng.normal(size=(5, 3))
    np.testing.assert_array_equal(ebm.jit(g)(z), g(z))
    np.testing.assert_array_equal(ebm.jit(g.log_joint)(x, z), g.log_joint(x, z))
    slope = ebm.grad(lambda z: np.sum(g.log_joint(x, z)))(z)
    step = 1e-6 * rng.normal(size=z.shape)
    difference = (g.log_joint(x, z + step) - g.log_joint(x, z - step)).sum()
    assert np.sum(slope * 2 * step) == pytest.approx(difference, rel=1e-6)
    compiled = ebm.jit(g)
    compiled(z)
    g.set_parameters({"l1.b": np.array([5.0, 6.0])})
    np.testing.assert_array_equal(compiled(z), g(z))


def test_dropout_drops_in_training_only(rng):
    spec = networks.MLPGenerator(1, (4000,), norm="none", dropout=0.25, sigma=0.0)
    g = spec.bind(1, random_state=0, dtype=np.float64)
    g.set_parameters({"l0.b": np.ones(4000), "l1.w": np.ones((4000, 1))})
    z = np.zeros((10, 1))
    np.testing.assert_array_equal(g(z), 4000)
    np.testing.assert_array_equal(g.in_training(z)[0], 4000)
    kept = g.in_training(z, ebm.random.key(3))[0] * 0.75 / 4000
    # 5 standard errors of a binomial of 40,000: a false alarm 6e-7 for a fresh key.
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / 40000)
    assert len(np.unique(kept)) > 5  # each row has coins of its own


@pytest.mark.parametrize(
    "bound",
    [
        lambda: networks.MLPGenerator(3, (4,), sigma=0.5).bind((2, 1), random_state=1),
        lambda: networks.LinearGenerator(2).bind(4, random_state=1, dtype=np.float64),
        lambda: networks.NICE(2, 1, 8).bind(4, random_state=1),
        lambda: networks.GaussianMixture(3).bind((2, 2), random_state=1),
    ],
)
def test_bound_objects_are_copied_and_saved_whole(bound, tmp_path):
    one = bound()
    one.save(tmp_path / "bound.safetensors")
    for other in (
        pickle.loads(pickle.dumps(one)),
        copy.deepcopy(one),
        ebm.load(tmp_path / "bound.safetensors"),
    ):
        assert type(other) is type(one)
        assert other.network == one.network
        np.testing.assert_array_equal(
            other.sample(5, random_state=2), one.sample(5, random_state=2)
        )
        assert {k: a.dtype for k, a in other.parameters().items()} == {
            k: a.dtype for k, a in one.parameters().items()
        }
    one.network.save(tmp_path / "specification.safetensors")
    assert ebm.load(tmp_path / "specification.safetensors") == one.network


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        ("object", "networks.BoundNetwork", ["network", "a generator, expected an energy"]),
        ("object", "networks.BoundLinear", ["network", "expected a LinearGenerator"]),
        ("network.kind", "nice", ["network"]),
        ("network.options.sigma", 0.0, ["params.log_sigma"]),
        ("network.options.latent", 1 << 23, ["params.l0.w"]),
    ],
)
def test_forged_files_are_refused(at, value, words, tmp_path):
    path = tmp_path / "generator.safetensors"
    networks.MLPGenerator(3, (4,)).bind(2, random_state=1).save(path)
    text = Text(path.read_bytes())
    if at == "object":
        text[at] = value
    else:
        network = text["network"]
        inner = network["options"] if "options" in at else network
        inner[at.rpartition(".")[2]] = value
        text["network"] = network
    refused(path, text.seal().bytes(), *words)


@pytest.mark.parametrize("spec", [*SPECS, networks.LinearGenerator()])
def test_defaults_are_those_of_the_core(spec):
    table = _core.options("network", spec._kind)
    assert {name: value for name, (value, _) in table.items()} == spec.get_params()
    assert all(doc for _, doc in table.values())


@pytest.mark.parametrize(
    ("spec", "row"),
    [
        (networks.MLPGenerator(), (2,)),
        (networks.MLPGenerator(100, (500, 500), activation="softplus"), (196,)),
        (networks.MLPGenerator(128, (500, 500, 500), activation="softplus"), (14, 14, 1)),
        (networks.NICE(width=20), (14, 14, 1)),
        (networks.GaussianMixture(), (2,)),
        (networks.LinearGenerator(50), (784,)),
    ],
)
def test_shapes_are_known_without_arrays(spec, row):
    bound = spec.bind(row, random_state=0)
    shapes = {name: array.shape for name, array in bound.parameters().items()}
    assert spec._shapes(row) == shapes
    assert bound.sample(2, random_state=0).shape == (2, *row)


def test_weight_norm_and_presets_of_energies(rng):
    spec = networks.MLP((5, 4), "leaky_relu", weight_norm=True)
    net = spec.bind(3, random_state=0, dtype=np.float64)
    p = randomised(net, rng).parameters()
    x = rng.normal(size=(9, 3))
    h = x
    for i in range(2):
        w = p[f"l{i}.g"] * p[f"l{i}.v"] / np.sqrt((p[f"l{i}.v"] ** 2).sum(0))
        h = h @ w + p[f"l{i}.b"]
        h = np.where(h > 0, h, 0.2 * h)
    np.testing.assert_allclose(net(x), (h @ p["l2.w"] + p["l2.b"])[:, 0], rtol=1e-12)
    vera = networks.MLP((1000, 500, 500, 250, 250, 250), "leaky_relu", weight_norm=True)
    x = rng.normal(size=(256, 196))
    assert 0.02 < np.mean(vera.bind(196, random_state=0)(x) ** 2) < 20


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: networks.MLPGenerator(0).bind(2), ValueError, "latent: got 0, expected"),
        (lambda: networks.MLPGenerator(norm="group").bind(2), ValueError, "norm: got 'group'"),
        (lambda: networks.MLPGenerator(sigma=-1).bind(2), ValueError, "sigma: got -1"),
        (lambda: networks.LinearGenerator(sigma=0).bind(2), ValueError, "sigma: got 0"),
        (
            lambda: networks.NICE().bind(1),
            ShapeError,
            "nice: got rows of 1 number.*expected at least 2",
        ),
        (
            lambda: networks.MLPGenerator().bind(2)(np.zeros((5, 3))),
            ShapeError,
            r"z: shape \(5, 3\)",
        ),
        (
            lambda: (
                networks.MLPGenerator().bind(2).log_joint(np.zeros((5, 2)), np.zeros((4, 2)))
            ),
            ShapeError,
            "z: got 4 rows, expected 5, as x",
        ),
        (
            lambda: (
                networks.MLPGenerator(sigma=0.0)
                .bind(2)
                .log_joint(np.zeros((5, 2)), np.zeros((5, 2)))
            ),
            ValueError,
            "a generator without noise",
        ),
        (
            lambda: networks.BoundNetwork(networks.MLPGenerator(), 2),
            ValueError,
            "a generator, expected an energy",
        ),
        (
            lambda: networks.BoundGenerator(networks.MLP(), 2),
            ValueError,
            "an energy, expected a generator",
        ),
        (
            lambda: ebm.estimators.PCD(networks.MLPGenerator()).fit(np.zeros((9, 2))),
            ValueError,
            "mlp_generator: got a generator, expected an energy",
        ),
        (
            lambda: ebm.samplers.Langevin(n_steps=2).sample(
                networks.MLPGenerator().bind(2), np.zeros((3, 2), np.float32)
            ),
            ValueError,
            "one number a row",
        ),
        (lambda: networks.MLP().bind(2).sample(3), ValueError, "an exact sampler"),
        (lambda: networks.MLP().bind(2).log_prob(np.zeros((3, 2))), ValueError, "normaliser"),
        (lambda: networks.MLPGenerator().bind(2).sample(-1), ValueError, "sample: n: got -1"),
    ],
)
def test_bad_generators_say_why(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_only_known_densities_have_log_z():
    assert not hasattr(networks.MLP().bind(2), "log_z_")
    assert not hasattr(networks.MLP().bind(2), "latent")
    assert networks.NICE(1, 1, 4).bind(2).log_z_ == 0.0
    assert networks.LinearGenerator().bind(2).energy.log_z_ == 0.0
