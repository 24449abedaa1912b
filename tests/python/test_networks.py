"""Networks: values against NumPy, initial weights, binding, and what they refuse."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core, networks

ACTIVATIONS = {
    "swish": lambda x: x / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(0, x),
    "tanh": np.tanh,
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(__import__("math").erf)(x / np.sqrt(2))),
}


def mlp_reference(net, x):
    p = net.parameters()
    depth = len(p) // 2
    h = x.reshape(len(x), p["l0.w"].shape[0])
    for i in range(depth):
        h = h @ p[f"l{i}.w"] + p[f"l{i}.b"]
        if i < depth - 1:
            h = ACTIVATIONS[net.network.activation](h)
    return h[:, 0]


def conv_reference(x, w, b, stride, padding):
    n, _, _, _ = x.shape
    k, _, _, out = w.shape
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height = (x.shape[1] - k) // stride + 1
    width = (x.shape[2] - k) // stride + 1
    y = np.empty((n, height, width, out))
    for i in range(height):
        for j in range(width):
            patch = x[:, i * stride : i * stride + k, j * stride : j * stride + k]
            y[:, i, j] = np.tensordot(patch, w, 3) + b
    return y


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_is_its_formula(activation, rng):
    net = networks.MLP((7, 5), activation=activation).bind(3, random_state=1, dtype=np.float64)
    net.set_parameters({k: rng.normal(size=a.shape) for k, a in net.parameters().items()})
    x = rng.normal(size=(33, 3))
    np.testing.assert_allclose(net(x), mlp_reference(net, x), rtol=1e-12, atol=1e-12)


def test_mlp_flattens_rows_and_may_be_linear(rng):
    net = networks.MLP(()).bind((2, 3), random_state=1, dtype=np.float64)
    x = rng.normal(size=(4, 2, 3))
    w = net.parameters()["l0.w"]
    assert w.shape == (6, 1)
    np.testing.assert_allclose(net(x), x.reshape(4, 6) @ w[:, 0], rtol=1e-12)


def test_convnet_is_its_formula(rng):
    spec = networks.ConvNet((4, 6, 5), kernels=(3, 4), strides=(1, 2), head=(7,))
    net = spec.bind((9, 8, 2), random_state=1, dtype=np.float64)
    p = net.parameters()
    x = rng.normal(size=(3, 9, 8, 2))
    h = x
    for i, stride in enumerate((1, 2, 2)):  # the last stride goes on
        assert p[f"c{i}.w"].shape[:2] == ((3, 3) if i == 0 else (4, 4))
        h = ACTIVATIONS["swish"](conv_reference(h, p[f"c{i}.w"], p[f"c{i}.b"], stride, 1))
    h = ACTIVATIONS["swish"](h.reshape(3, -1) @ p["l0.w"] + p["l0.b"])
    np.testing.assert_allclose(net(x), (h @ p["l1.w"] + p["l1.b"])[:, 0], rtol=1e-10)


@pytest.mark.parametrize(("norm", "groups"), [("layer", 1), ("group", 8)])
def test_convnet_normalises_rows(norm, groups, rng):
    spec = networks.ConvNet((16,), kernels=(3,), strides=(1,), head=(), norm=norm)
    net = spec.bind((4, 4, 1), random_state=1, dtype=np.float64)
    net.set_parameters({k: rng.normal(size=a.shape) for k, a in net.parameters().items()})
    p = net.parameters()
    x = rng.normal(size=(5, 4, 4, 1))
    h = conv_reference(x, p["c0.w"], p["c0.b"], 1, 1).reshape(5, 4, 4, groups, 16 // groups)
    mean, var = h.mean((1, 2, 4), keepdims=True), h.var((1, 2, 4), keepdims=True)
    h = ((h - mean) / np.sqrt(var + 1e-5)).reshape(5, 4, 4, 16) * p["n0.g"] + p["n0.b"]
    h = ACTIVATIONS["swish"](h).reshape(5, -1)
    np.testing.assert_allclose(net(x), (h @ p["l0.w"] + p["l0.b"])[:, 0], rtol=1e-9)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 17, 1000, 4097])
def test_rows_do_not_know_their_chunk(n, rng):
    net = networks.MLP((16,)).bind(2, random_state=0, dtype=np.float64)
    x = rng.normal(size=(n, 2))
    energies = net(x)
    assert energies.shape == (n,)
    np.testing.assert_allclose(energies, mlp_reference(net, x), rtol=1e-12, atol=1e-14)


def test_initial_weights_have_the_stated_variance():
    net = networks.MLP((400, 300), activation="relu").bind(500, random_state=3)
    p = net.parameters()
    # 5 standard errors of a variance of at least 100,000 normals: false alarms 6e-7 each.
    for name, variance in [("l0.w", 1 / 500), ("l1.w", 2 / 400)]:
        n = p[name].size
        assert abs(p[name].var() / variance - 1) < 5 * np.sqrt(2 / n)
        assert abs(p[name].mean()) < 5 * np.sqrt(variance / n)
    assert not p["l0.b"].any()


def test_energies_keep_their_scale_with_depth(rng):
    x = rng.normal(size=(512, 64))
    for activation in ACTIVATIONS:
        net = networks.MLP((256,) * 6, activation=activation).bind(64, random_state=0)
        # The mean square of the last layer's input is near one: so is that of the energy.
        assert 0.02 < np.mean(net(x) ** 2) < 20, activation


def test_same_seed_same_bits_and_another_seed_others():
    def weights(seed):
        return networks.MLP((5,)).bind(3, random_state=seed).parameters()["l0.w"]

    np.testing.assert_array_equal(weights(4), weights(4))
    assert (weights(4) != weights(5)).all()
    np.testing.assert_array_equal(
        weights(np.random.default_rng(1)), weights(np.random.default_rng(1))
    )


def test_bound_networks_stand_in_traced_functions(rng):
    net = networks.MLP((9,)).bind(4, random_state=0, dtype=np.float64)
    x = rng.normal(size=(3, 4))
    gradient = ebm.grad(lambda x: np.sum(net(x)))(x)
    step = 1e-6 * rng.normal(size=x.shape)
    difference = net(x + step).sum() - net(x - step).sum()
    assert np.sum(gradient * 2 * step) == pytest.approx(difference, rel=1e-6)


def test_compiled_functions_see_new_parameters(rng):
    net = networks.MLP((9,)).bind(4, random_state=0, dtype=np.float64)
    x = rng.normal(size=(3, 4))
    compiled = ebm.jit(lambda x: 2 * net(x))
    before = compiled(x)
    net.set_parameters({"l1.b": np.array([5.0])})
    np.testing.assert_allclose(compiled(x), before + 10, rtol=1e-12)


def test_bound_networks_are_copied_whole(rng):
    net = networks.ConvNet((8,), kernels=(3,)).bind((5, 5, 1), random_state=0)
    x = rng.normal(size=(3, 5, 5, 1))
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        np.testing.assert_array_equal(other(x), net(x))
        assert other.network == net.network
        other.set_parameters({"l1.b": np.array([1.0])})
    assert not net.parameters()["l1.b"].any()


def test_specifications_compare_print_and_list():
    spec = networks.MLP([100, 100], activation="relu")
    assert spec == networks.MLP((100, 100), "relu")
    assert spec != networks.MLP((100, 100))
    assert spec != networks.ConvNet()
    assert repr(networks.MLP()) == "MLP()"
    assert spec.get_params() == {
        "hidden": [100, 100],
        "activation": "relu",
        "weight_norm": False,
        "dropout": 0.0,
    }
    assert spec.set_params(activation="tanh").activation == "tanh"
    with pytest.raises(ValueError, match="Invalid parameter 'width'"):
        spec.set_params(width=3)


def test_summary_counts():
    net = networks.MLP((8,)).bind(2, random_state=0)
    assert net.n_parameters == 2 * 8 + 8 + 8 + 1
    text = net.summary()
    assert "l0.w   (2, 8)" in text
    assert text.splitlines()[-1].split() == ["total", "33"]


@pytest.mark.parametrize("spec", [networks.MLP(), networks.ConvNet()])
def test_defaults_are_those_of_the_core(spec):
    table = _core.options("network", spec._kind)
    assert {name: value for name, (value, _) in table.items()} == spec.get_params()
    assert all(doc for _, doc in table.values())


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (networks.MLP((0,)), 2, "mlp: hidden: got 0, expected a whole number from 1"),
        (networks.MLP((3.5,)), 2, r"mlp: hidden: got \(3.5,\), expected a list"),
        (
            networks.MLP(activation="mish"),
            2,
            "mlp: activation: got 'mish', expected one of: swish",
        ),
        (networks.MLP(activation=3), 2, "mlp: activation: got a number, expected a word"),
        (networks.ConvNet(norm="batch"), (8, 8, 1), "norm: got 'batch', expected one of: none"),
        (networks.ConvNet(), 5, r"convnet: x: got \(2, 5\), expected images \(N, H, W, C\)"),
        (networks.ConvNet(strides=(4,)), (8, 8, 1), r"layer 'c2': got a \(1, 1\) image"),
        (
            networks.ConvNet((9,), norm="group"),
            (8, 8, 1),
            "9 channels, expected a multiple of 8",
        ),
        (networks.MLP(), (-1,), "bind: shape: got -1"),
    ],
)
def test_bad_networks_say_why(spec, shape, message):
    with pytest.raises((ValueError, TypeError), match=message):
        spec.bind(shape)


def test_bad_rows_and_arrays_say_why():
    net = networks.MLP((4,)).bind(3, random_state=0)
    with pytest.raises(ebm.errors.ShapeError, match=r"x: shape \(5, 2\), expected \(5, 3\)"):
        net(np.zeros((5, 2)))
    with pytest.raises(TypeError, match="expected numbers"):
        net(np.array([["a", "b", "c"]]))
    with pytest.raises(ValueError, match=r"set_parameters: got 'l7.w', expected some of"):
        net.set_parameters({"l7.w": np.zeros(3)})
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(4,\)"):
        net.set_parameters({"l0.b": np.zeros(3)})
    with pytest.raises(TypeError, match="expected float32 or float64"):
        networks.MLP().bind(2, dtype=np.int32)


@pytest.mark.parametrize(
    ("spec", "row"),
    [
        (networks.MLP((5, 3)), (2,)),
        (networks.MLP(()), (2, 3)),
        (networks.ConvNet((4, 6), norm="layer"), (8, 8, 2)),
    ],
)
def test_shapes_are_known_without_arrays(spec, row):
    bound = spec.bind(row, random_state=0).parameters()
    assert spec._shapes(row) == {name: array.shape for name, array in bound.items()}


def test_shapes_that_cannot_be(rng):
    with pytest.raises(ValueError, match="mlp: hidden: got -1"):
        networks.MLP((-1,))._shapes((2,))
    with pytest.raises(ebm.errors.ShapeError, match="expected images"):
        networks.ConvNet()._shapes((2,))
    with pytest.raises(ebm.errors.ShapeError, match="impossible shape"):
        networks.MLP()._shapes((2**62, 2**62))
    huge = networks.MLP((2**19,) * 3)  # of 2 TB, which nobody allocates
    assert huge._shapes((2,))["l1.w"] == (2**19, 2**19)
    with pytest.raises(ebm.errors.ShapeError, match="impossible shape"):
        networks.MLP((2**24,) * 3)._shapes((2,))


def test_a_bound_network_keeps_its_specification(rng):
    spec = networks.MLP((5,))
    bound = spec.bind(2, random_state=0)
    spec.hidden = (7,)
    assert bound.network == networks.MLP((5,))
