"""Wrong calls: networks and their arrays."""

from __future__ import annotations

import functools

import numpy as np

import ebmlib as ebm
from ebmlib import networks
from ebmlib.errors import ShapeError
from tests.python.bad_input.case import cases

X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)


def energy(x):
    return 0.5 * np.sum(x**2, axis=1)


@functools.cache
def net():
    return networks.MLP((4,)).bind(2, random_state=0)


CASES = [
    *cases(
        "networks.MLP",
        lambda: networks.MLP((4,)).bind(2, random_state=0).parameters(),
        (
            lambda: networks.MLP((0,)).bind(2),
            ValueError,
            "mlp: hidden: got 0, expected a whole number from 1 to 16777216",
        ),
        (
            lambda: networks.MLP((-4,)).bind(2),
            ValueError,
            ("mlp: hidden: got -4, expected a whole number from 1 to 16777216"),
        ),
        (
            lambda: networks.MLP((4.5,)).bind(2),
            TypeError,
            r"mlp: hidden: got \(4\.5,\), expected a list of whole numbers",
        ),
        (
            lambda: networks.MLP(4).bind(2),
            TypeError,
            "mlp: hidden: got 4, expected a list of whole numbers",
        ),
        (
            lambda: networks.MLP(("wide",)).bind(2),
            TypeError,
            r"mlp: hidden: got \('wide',\), expected a list of whole numbers",
        ),
        (
            lambda: networks.MLP(None).bind(2),
            ValueError,
            "mlp: hidden: got None, expected a value",
        ),
        (
            lambda: networks.MLP((4,) * 99).bind(2),
            ValueError,
            "mlp: hidden: got 99 numbers, expected at most 16",
        ),
        (
            lambda: networks.MLP((2**40,)).bind(2),
            ValueError,
            (
                r"mlp: hidden: got 1\.09951163e\+12, expected a whole number "
                "from 1 to 16777216"
            ),
        ),
        (
            lambda: networks.MLP((2**70,)).bind(2),
            ValueError,
            r"mlp: hidden: got 1180591620717411303424, expected numbers below 2\^63",
        ),
        (
            lambda: networks.MLP("wide").bind(2),
            ValueError,
            "mlp: hidden: got 'wide', expected a list of whole numbers",
        ),
        (
            lambda: networks.MLP((4,), activation="swisch").bind(2),
            ValueError,
            (
                "mlp: activation: got 'swisch', expected one of: swish relu "
                "leaky_relu elu softplus tanh gelu"
            ),
        ),
        (
            lambda: networks.MLP((4,), activation=3).bind(2),
            ValueError,
            "mlp: activation: got a number, expected a word",
        ),
        (
            lambda: networks.MLP((4,), activation=None).bind(2),
            ValueError,
            "mlp: activation: got None, expected a value",
        ),
        (
            lambda: networks.MLP((4,), activation="größe").bind(2),
            ValueError,
            (
                "mlp: activation: got 'größe', expected one of: swish relu "
                "leaky_relu elu softplus tanh gelu"
            ),
        ),
        (
            lambda: networks.MLP(width=4),
            TypeError,
            r"MLP\.__init__\(\) got an unexpected keyword argument 'width'",
        ),
    ),
    *cases(
        "networks.ConvNet",
        lambda: networks.ConvNet((4,), head=(4,)).bind((8, 8, 1), random_state=0).n_parameters,
        (
            lambda: networks.ConvNet((4,)).bind(2),
            ShapeError,
            r"convnet: x: got \(2, 2\), expected images \(N, H, W, C\)",
        ),
        (
            lambda: networks.ConvNet((4,)).bind((8, 8)),
            ShapeError,
            r"convnet: x: got \(2, 8, 8\), expected images \(N, H, W, C\)",
        ),
        (
            lambda: networks.ConvNet((4,), kernels=(0,)).bind((8, 8, 1)),
            ValueError,
            ("convnet: kernels: got 0, expected a whole number from 1 to 1024"),
        ),
        (
            lambda: networks.ConvNet((4,), kernels=(99,)).bind((8, 8, 1)),
            ShapeError,
            (
                r"layer 'c0': got a \(8, 8\) image with padding 1, expected "
                r"room for a \(99, 99\) kernel: leave out layers or strides"
            ),
        ),
        (
            lambda: networks.ConvNet((4,), strides=(0,)).bind((8, 8, 1)),
            ValueError,
            ("convnet: strides: got 0, expected a whole number from 1 to 1024"),
        ),
        (
            lambda: networks.ConvNet((4,), padding=-1).bind((8, 8, 1)),
            ValueError,
            ("convnet: padding: got -1, expected a whole number from 0 to 1024"),
        ),
        (
            lambda: networks.ConvNet((4,), padding=0.5).bind((8, 8, 1)),
            ValueError,
            (
                r"convnet: padding: got 0\.5, expected a whole number from 0 to "
                "1024"
            ),
        ),
        (
            lambda: networks.ConvNet((4,), padding=(1, 1)).bind((8, 8, 1)),
            TypeError,
            "convnet: padding: got tuple, expected a number",
        ),
        (
            lambda: networks.ConvNet((4,), norm="batch").bind((8, 8, 1)),
            ValueError,
            "convnet: norm: got 'batch', expected one of: none layer group",
        ),
        (
            lambda: networks.ConvNet((4,), norm="group").bind((8, 8, 1)),
            ShapeError,
            "layer 'n0': got 4 channels, expected a multiple of 8 groups",
        ),
    ),
    *cases(
        "Energy.bind",
        lambda: networks.MLP((4,)).bind(2, random_state=0).parameters(),
        (
            lambda: networks.MLP((4,)).bind(0),
            ValueError,
            "bind: shape: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: networks.MLP((4,)).bind(-2),
            ValueError,
            "bind: shape: got -2, expected a whole number of at least 1",
        ),
        (
            lambda: networks.MLP((4,)).bind(2.5),
            ValueError,
            r"bind: shape: got 2\.5, expected a whole number of at least 1",
        ),
        (
            lambda: networks.MLP((4,)).bind(()),
            ValueError,
            r"bind: shape: got \(\), expected at least one size",
        ),
        (
            lambda: networks.MLP((4,)).bind("two"),
            TypeError,
            "bind: shape: got 'two', expected a whole number of at least 1",
        ),
        (
            lambda: networks.MLP((4,)).bind(None),
            TypeError,
            "bind: shape: got None, expected a whole number of at least 1",
        ),
        (
            lambda: networks.MLP((4,)).bind((2,) * 9),
            ValueError,
            "shape: got 9 axes, expected at most 8",
        ),
        (
            lambda: networks.MLP((4,)).bind(2**40),
            ShapeError,
            r"input: impossible shape \(2, 1099511627776\)",
        ),
        (
            lambda: networks.MLP((4,)).bind((2**40, 2**40)),
            ShapeError,
            r"input: impossible shape \(2, 1099511627776, 1099511627776\)",
        ),
        (
            lambda: networks.MLP((4,)).bind(True),
            TypeError,
            "bind: shape: got True, expected a whole number of at least 1",
        ),
        (
            lambda: networks.MLP((4,)).bind(2, random_state="seed"),
            TypeError,
            "key: seed: got str, expected an int, a numpy Generator or None",
        ),
        (
            lambda: networks.MLP((4,)).bind(2, random_state=-(2**70)),
            ValueError,
            ("key: seed: got -1180591620717411303424, expected at most 64 bits"),
        ),
        (
            lambda: networks.MLP((4,)).bind(2, dtype="int32"),
            TypeError,
            "bind: dtype: got 'int32', expected float32 or float64",
        ),
        (
            lambda: networks.MLP((4,)).bind(2, dtype="float16"),
            TypeError,
            "bind: dtype: got 'float16', expected float32 or float64",
        ),
        (
            lambda: networks.MLP((4,)).bind(2, dtype="word"),
            TypeError,
            "bind: dtype: got 'word', expected float32 or float64",
        ),
        (
            lambda: networks.MLP((4,)).bind(2, dtype=None),
            TypeError,
            "bind: dtype: got None, expected float32 or float64",
        ),
    ),
    *cases(
        "networks.BoundNetwork",
        lambda: networks.BoundNetwork(networks.MLP((4,)), 2, random_state=0).parameters(),
        (
            lambda: networks.BoundNetwork(None, 2),
            TypeError,
            (
                "bind: network: got NoneType, expected a specification such as "
                r"networks\.MLP\(\)"
            ),
        ),
        (
            lambda: networks.BoundNetwork(networks.MLP, 2),
            TypeError,
            (
                "bind: network: got type, expected a specification such as "
                r"networks\.MLP\(\)"
            ),
        ),
        (
            lambda: networks.BoundNetwork(energy, 2),
            TypeError,
            (
                "bind: network: got function, expected a specification such as "
                r"networks\.MLP\(\)"
            ),
        ),
    ),
    *cases(
        "BoundNetwork.__call__",
        lambda: net()(X),
        (lambda: net()(np.zeros((5, 3))), ShapeError, r"x: shape \(5, 3\), expected \(5, 2\)"),
        (lambda: net()(np.zeros(2)), ShapeError, r"x: shape \(2,\), expected \(2, 2\)"),
        (lambda: net()(np.float64(1)), ShapeError, r"x: got a scalar, expected rows \(N, 2,\)"),
        (lambda: net()("rows"), TypeError, "x: got str, expected numbers"),
        (lambda: net()(X.astype(complex)), TypeError, "x: got complex128, expected numbers"),
        (
            lambda: net()(np.array([[object()] * 2])),
            TypeError,
            "x: got object, expected numbers",
        ),
        (
            lambda: net()([[1.0, 2.0], [3.0]]),
            ValueError,
            (
                r"x: got list: setting an array element with a sequence\. The "
                "requested array has an inhomogeneous shape after 1 "
                r"dimensions\. The detected shape was \(2,\) \+ inhomogeneous "
                r"part\."
            ),
        ),
        (lambda: net()(None), TypeError, "x: got object, expected numbers"),
        (
            lambda: ebm.jit(net())(np.zeros((5, 3))),
            ShapeError,
            r"x: shape \(5, 3\), expected \(N, 2,\)",
        ),
        (
            lambda: ebm.jit(net())(np.zeros(2)),
            ShapeError,
            r"x: shape \(2,\), expected \(N, 2,\)",
        ),
    ),
    *cases(
        "Bound.parameters",
        lambda: net().parameters(),
        (
            lambda: net().parameters("l0.w"),
            TypeError,
            (
                r"Bound\.parameters\(\) takes 1 positional argument but "
                "2 were given"
            ),
        ),
    ),
    *cases(
        "Bound.summary",
        lambda: net().summary(),
        (
            lambda: net().summary(True),
            TypeError,
            (
                r"Bound\.summary\(\) takes 1 positional argument but 2 "
                "were given"
            ),
        ),
    ),
    *cases(
        "Bound.set_parameters",
        lambda: net().parameters(),
        (
            lambda: net().set_parameters({"l9.w": np.zeros((2, 4))}),
            ValueError,
            (
                r"set_parameters: got 'l9\.w', expected some of \['l0\.w', "
                r"'l0\.b', 'l1\.w', 'l1\.b'\]"
            ),
        ),
        (
            lambda: net().set_parameters({"l0.w": np.zeros((4, 2))}),
            ShapeError,
            r"set_parameters: l0\.w: shape \(4, 2\), expected \(2, 4\)",
        ),
        (
            lambda: net().set_parameters({"l0.b": np.zeros(4), "l0.w": np.zeros((4, 2))}),
            ShapeError,
            r"set_parameters: l0\.w: shape \(4, 2\), expected \(2, 4\)",
        ),
        (
            lambda: net().set_parameters({"l0.w": "weights"}),
            TypeError,
            r"set_parameters: l0\.w: got str, expected numbers",
        ),
        (
            lambda: net().set_parameters({"l0.w": np.zeros((2, 4), complex)}),
            TypeError,
            r"set_parameters: l0\.w: got complex128, expected numbers",
        ),
        (
            lambda: net().set_parameters({"l0.w": np.full((2, 4), 1e300)}),
            ValueError,
            r"set_parameters: l0\.w: got a number too large for float32",
        ),
        (
            lambda: net().set_parameters({0: np.zeros((2, 4))}),
            ValueError,
            (
                r"set_parameters: got 0, expected some of \['l0\.w', 'l0\.b', "
                r"'l1\.w', 'l1\.b'\]"
            ),
        ),
        (
            lambda: net().set_parameters([np.zeros((2, 4))]),
            TypeError,
            "set_parameters: got list, expected a dict of arrays",
        ),
        (
            lambda: net().set_parameters(None),
            TypeError,
            "set_parameters: got NoneType, expected a dict of arrays",
        ),
    ),
]
