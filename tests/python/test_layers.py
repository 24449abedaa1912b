"""Layers: the networks they make, their initial weights, scopes and dicts, and bad use."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import layers, networks

ACTIVATION = "leaky_relu"


def convnet(p, x):
    """`networks.ConvNet` in layers: two convolutions with groups normalised, and a head."""
    gain = 1.0
    for k, (channels, kernel, stride) in enumerate(((8, 3, 1), (16, 4, 2))):
        x = layers.conv(p, f"c{k}", x, channels, kernel, stride, 1, init=gain)
        x = layers.activate(layers.group_norm(p, f"n{k}", x, 8), ACTIVATION)
        gain = ACTIVATION
    return layers.head(p, layers.flatten(x), (6,), ACTIVATION, init=gain)


def mlp(p, x):
    return layers.head(p, layers.flatten(x), (9, 7))


def everything(p, x):
    """Every layer once, on images (N, 4, 4, 2)."""
    images = layers.conv(p, "conv", x, 4, 3, padding="same")
    images = layers.instance_norm(p, "instance", images)
    images = layers.depthwise_conv(p, "depth", images, 3, padding=1, multiplier=2)
    images = layers.weight_norm_conv(p, "wconv", images, 4, 1)
    images = layers.spectral_conv(p, "sconv", images, 4, 3, padding=1)
    images = layers.conv_transpose(p, "up", images, 3, 2, 2)
    places = images.reshape(x.shape[0], 64, 3)
    places = layers.dense(p, "dense", places, 4)
    places = places + layers.attention(p, "attention", layers.layer_norm(p, "ln", places), 2)
    places = layers.residual(p, "block", block, places)
    rows = layers.rms_norm(p, "rms", places).mean(axis=1)
    rows = layers.spectral_dense(p, "sdense", layers.weight_norm_dense(p, "wdense", rows, 5), 3)
    label = layers.embedding(p, "labels", (x[:, 0, 0, 0] > 0).astype(np.int32), 2, 3)
    own = layers.param(p, "own", 3, init=0.5)
    return np.sum(own * rows * label, axis=1) + np.sum(rows**2, axis=1)


def block(p, x):
    return layers.dense(p, "one", np.tanh(layers.dense(p, "two", x, 7)), 6)


PAIRS = {
    "convnet": (
        convnet,
        networks.ConvNet(
            (8, 16), (3, 4), (1, 2), head=(6,), activation=ACTIVATION, norm="group"
        ),
        (6, 6, 2),
    ),
    "mlp": (mlp, networks.MLP((9, 7)), (2, 2)),
}


@pytest.mark.parametrize("case", PAIRS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_make_the_networks_of_the_core(case, dtype, rng):
    energy, spec, row = PAIRS[case]
    ours = networks.Function(energy).bind(row, random_state=5, dtype=dtype)
    theirs = spec.bind(row, random_state=5, dtype=dtype)
    assert list(ours.parameters()) == list(theirs.parameters())
    for name, array in theirs.parameters().items():
        np.testing.assert_array_equal(ours.parameters()[name], array)
    x = rng.standard_normal((21, *row)).astype(dtype)
    np.testing.assert_array_equal(ours(x), theirs(x))
    other = {k: rng.standard_normal(a.shape) for k, a in theirs.parameters().items()}
    np.testing.assert_array_equal(
        ours.set_parameters(other)(x), theirs.set_parameters(other)(x)
    )
    slope = [ebm.grad(lambda y, net=net: np.sum(net(y)))(x) for net in (ours, theirs)]
    np.testing.assert_array_equal(*slope)


@pytest.mark.parametrize("energy", [mlp, convnet, everything])
def test_an_energy_is_the_same_function_of_a_dict(energy, rng):
    row = (4, 4, 2)
    net = networks.Function(energy).bind(row, random_state=1, dtype="float64")
    p = {k: a + 0.1 for k, a in net.parameters().items()}
    net.set_parameters(p)
    x = rng.standard_normal((5, *row))
    np.testing.assert_array_equal(ebm.jit(energy)(p, x), ebm.jit(net)(x))
    np.testing.assert_array_equal(ebm.jit(energy)(layers.nested(p), x), ebm.jit(net)(x))
    grads = ebm.grad(lambda p: np.sum(energy(p, x)))(p)
    step = {k: rng.standard_normal(a.shape) for k, a in p.items()}
    h = 1e-5
    ends = [np.sum(ebm.jit(energy)({k: p[k] + s * h * step[k] for k in p}, x)) for s in (1, -1)]
    # The gradient of a spectral norm stops at u and v: at convergence that is exact, here it is
    # as good as 8 rounds of the power method.
    along = sum(np.sum(grads[k] * step[k]) for k in p)
    assert along == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=3e-2)


def test_everything_has_the_parameters_it_says():
    net = networks.Function(everything).bind((4, 4, 2), random_state=0)
    shapes = {name: array.shape for name, array in net.parameters().items()}
    assert shapes["depth.w"] == (3, 3, 1, 8)
    assert shapes["up.w"] == (2, 2, 3, 4)
    assert shapes["block.two.w"] == (4, 7)
    assert shapes["block.skip.w"] == (4, 6)
    assert shapes["attention.q.w"] == (4, 4)
    assert "attention.q.b" not in shapes
    assert shapes["wconv.v"] == (1, 1, 8, 4)
    np.testing.assert_array_equal(net.parameters()["own"], np.full(3, 0.5, np.float32))
    np.testing.assert_array_equal(net.parameters()["ln.g"], np.ones(4, np.float32))
    assert "block.skip.w" in net.summary()


def test_initial_weights_have_the_stated_variance():
    def energy(p, x):
        y = layers.conv(p, "c", x, 300, 3, groups=2, padding=1, init="relu")
        y = layers.conv_transpose(p, "t", y, 40, 4, 2, init=2.0)
        y = layers.weight_norm_dense(p, "w", y, 50, init=3.0)
        p.param("own", 40_000, (1.0, 0.5))
        return np.sum(y, axis=(1, 2, 3))

    p = networks.Function(energy).bind((4, 4, 64), random_state=2).parameters()
    # 5 standard errors of a variance: false alarms 6e-7 each.
    for name, mean, variance in (
        ("c.w", 0, 2 / (9 * 32)),
        ("t.w", 0, 4 * 4 / (16 * 300)),
        ("own", 1, 0.25),
    ):
        n = p[name].size
        assert abs(p[name].var() / variance - 1) < 5 * np.sqrt(2 / n)
        assert abs(p[name].mean() - mean) < 5 * np.sqrt(variance / n)
    np.testing.assert_array_equal(p["w.g"], np.full(50, 3, np.float32))
    assert not p["c.b"].any()


def test_scopes_nest_and_share():
    def energy(p, x):
        block = p.scope("a").scope("b")
        w = block.param("w", x.shape[1:])
        assert "w" in block
        assert "v" not in block
        assert block["w"].shape == block.param("w", x.shape[1:]).shape
        assert layers.scope(p, "a")["b.w"].shape == w.shape
        return np.sum((x - w) ** 2, axis=1)

    net = networks.Function(energy).bind(3)
    assert list(net.parameters()) == ["a.b.w"]


def test_dicts_are_looked_up_flat_and_nested():
    w = np.ones((2, 3))
    x = np.ones((1, 2))
    for p in ({"a.b.w": w}, {"a": {"b.w": w}}, {"a": {"b": {"w": w}}}, {"a.b": {"w": w}}):
        np.testing.assert_array_equal(layers.dense(p, "a.b", x, 3, bias=False), [[2, 2, 2]])
        inner = layers.scope(layers.scope(p, "a"), "b") if "a.b" not in p else p["a.b"]
        np.testing.assert_array_equal(layers.param(inner, "w", (2, 3)), w)
    assert layers.nested({"a.b.c": 1, "a.d": 2, "e": 3}) == {
        "a": {"b": {"c": 1}, "d": 2},
        "e": 3,
    }


def test_spectral_layers_have_norm_one(rng):
    w = rng.standard_normal((40, 30))
    y = layers.spectral_dense({"l.w": w}, "l", np.eye(40), 30, bias=False, n_iterations=200)
    assert np.linalg.norm(y, 2) == pytest.approx(1, rel=1e-9)
    rough = layers.spectral_dense({"l.w": w}, "l", np.eye(40), 30, bias=False)
    assert 1 <= np.linalg.norm(rough, 2) < 1.2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda p, x: layers.dense({}, "l0", x, 3),
            KeyError,
            "parameter 'l0.w' is missing",
        ),
        (
            lambda p, x: layers.dense({"l0.w": np.ones((3, 3))}, "l0", x, 3),
            ebm.errors.ShapeError,
            r"parameter 'l0.w': got \(3, 3\), expected \(2, 3\)",
        ),
        (lambda p, x: p["w"], KeyError, r"its shape is not known: ask for it by p.param\('w'"),
        (lambda p, x: layers.activate(x, "sin"), ValueError, "got 'sin', expected one of"),
        (
            lambda p, x: layers.dense(p, "l0", x, 3, init="sin"),
            ValueError,
            "init: got 'sin', expected a number or one of: swish",
        ),
        (lambda p, x: layers.attention(p, "a", x[:, None], 3), ValueError, "3 heads do not"),
        (
            lambda p, x: layers.residual(p, "r", lambda p, x: x[:1], x),
            ValueError,
            "residual 'r': the block made",
        ),
        (
            lambda p, x: layers.dense(p, "a", layers.dense(p, "a", x, 3), 3),
            ebm.errors.ShapeError,
            r"parameter 'a.w': got \(3, 3\), expected \(2, 3\)",
        ),
        (lambda p, x: p.param("w" * 200, 3), ValueError, "the name is too long"),
        (lambda p, x: p.param("w", -3), ValueError, "shape: got -3"),
    ],
)
def test_bad_use_says_why(call, error, message):
    with pytest.raises(error, match=message):
        networks.Function(lambda p, x: np.sum(call(p, x), axis=1)).bind(2)


def test_a_scope_does_not_outlive_its_network():
    kept = []
    networks.Function(
        lambda p, x: (kept.append(p), np.sum(x * p.param("w", 2), axis=1))[1]
    ).bind(2, random_state=0)
    with pytest.raises(ebm.errors.StateError, match="escaped"):
        kept[0].param("w", 2)
