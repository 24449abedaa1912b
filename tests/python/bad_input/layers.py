"""Wrong calls: layers, and networks that are functions."""

from __future__ import annotations

import numpy as np

import ebmlib as ebm
from ebmlib import layers, networks
from ebmlib.errors import ShapeError
from tests.python.bad_input.case import cases

X = np.linspace(-1, 1, 12).reshape(3, 4)

IMAGES = np.zeros((3, 6, 6, 2))


def made(energy, x=X, parameters=None, **options):
    """The energies of rows by a network that is this function."""
    return networks.Function(energy, parameters, **options).bind(x.shape[1:], 0)(x)


def layer(use, x=X):
    """The energies of a network that begins with this layer."""
    return made(lambda p, x: np.sum(layers.flatten(use(p, x)), axis=1), x)


def generated(function):
    """What a generator of rows (2,) from latents (2,) gives in training."""
    g = networks.FunctionGenerator(function, 2).bind(2, random_state=0)
    return g.in_training(np.ones((3, 2)), ebm.random.key(0))[0]


def raises(p, x):
    raise KeyError("in the network")


RNG = np.random.default_rng(0)


def noisy(p, x):
    return np.sum(x, axis=1) * RNG.normal()


CASES = [
    *cases(
        "networks.Function",
        lambda: layer(lambda p, x: layers.dense(p, "d", x, 2)),
        (
            lambda: made(3),
            TypeError,
            r"Function: energy: got int, expected a function of \(p, x\)",
        ),
        (
            lambda: made(None),
            TypeError,
            (
                r"Function: energy: got NoneType, expected a function of \(p, "
                r"x\)"
            ),
        ),
        (
            lambda: made(lambda p, x: x),
            ShapeError,
            (
                r"function '<lambda>': energies of x \(2, 4\): got \(2, 4\), "
                "expected one number a row"
            ),
        ),
        (
            lambda: made(lambda p, x: 1.0),
            ShapeError,
            (
                r"function '<lambda>': energies of x \(2, 4\): got \(\), "
                "expected one number a row"
            ),
        ),
        (
            lambda: made(lambda p, x: None),
            TypeError,
            "energy: result: got NoneType, expected an array or a number",
        ),
        (
            lambda: made(lambda p, x: "low"),
            TypeError,
            (
                "energy: result: dtype <U3 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: made(lambda p, x: x[:, 0] > 0),
            TypeError,
            "function '<lambda>': energies: got bool, expected f32",
        ),
        (
            lambda: made(lambda p: p),
            TypeError,
            r".*<lambda>\(\) takes 1 positional argument but 2 were given",
        ),
        (lambda: made(raises), KeyError, "'in the network'"),
        (
            lambda: made(noisy),
            ValueError,
            (
                "noisy: impure function: two traces of it differ, first at .* "
                r"and .*: the usual cause is np\.random in it: draw with "
                r"ebm\.random and a key, or pass the numbers as an argument "
                r"\(counters, clocks and files are other causes\)"
            ),
        ),
        (
            lambda: made(lambda p, x: x[:, 0] - np.mean(x)),
            ValueError,
            (
                "function '<lambda>': its rows depend on one another, expected "
                r"independent rows \(no batch normalisation, no mean over axis "
                r"0\); rows_independent=False is for networks that are only "
                "called"
            ),
        ),
        (
            lambda: made(lambda p, x: x[:, 0], parameters=3),
            TypeError,
            "parameters: got int, expected a dict of arrays",
        ),
        (
            lambda: made(lambda p, x: x[:, 0], parameters={"w": "text"}),
            TypeError,
            "parameter 'w': got <U4, expected numbers",
        ),
        (
            lambda: made(lambda p, x: x[:, 0], parameters={3: np.zeros(2)}),
            TypeError,
            "parameters: got the name 3, expected a word",
        ),
        (
            lambda: made(lambda p, x: x[:, 0], parameters=lambda rng, row: None),
            TypeError,
            "parameters: got NoneType, expected a dict of arrays",
        ),
        (
            lambda: made(lambda p, x: x @ p["lost"], parameters={"w": np.zeros(4)}),
            KeyError,
            "'lost'",
        ),
        (
            lambda: made(lambda p, x: x @ p["w"], parameters={"w": np.zeros(5)}),
            ShapeError,
            r"matmul: inner sizes differ: \(2, 4\) @ \(5, 1\)",
        ),
        (
            lambda: made(lambda p, x: x[:, 0] if x.sum() > 0 else x[:, 1]),
            TypeError,
            (
                "the truth value of a traced array: while a function is "
                "traced, arrays have a shape and a dtype but no values: use "
                r"np\.where instead of if, ebm\.repeat instead of a loop that "
                "ends by a value, or compute this outside of the function"
            ),
        ),
        (
            lambda: networks.Function(),
            TypeError,
            (
                r"Function\.__init__\(\) missing 1 required positional "
                "argument: 'energy'"
            ),
        ),
    ),
    *cases(
        "layers.param",
        lambda: layer(lambda p, x: x + layers.param(p, "b", (4,))),
        (
            lambda: layer(lambda p, x: x + layers.param(p, "b", (5,))),
            ShapeError,
            r"add: shapes do not broadcast: \(2, 4\) and \(5,\)",
        ),
        (
            lambda: layer(lambda p, x: x + layers.param(p, "b", (-4,))),
            ValueError,
            "param: shape: got -4, expected a whole number of at least 1",
        ),
        (
            lambda: layer(lambda p, x: x + layers.param(p, "b", (0.5,))),
            ValueError,
            r"param: shape: got 0\.5, expected a whole number of at least 1",
        ),
        (
            lambda: layer(lambda p, x: x + layers.param(p, "b", "four")),
            TypeError,
            ("param: shape: got 'four', expected a whole number of at least 1"),
        ),
        (
            lambda: layer(lambda p, x: x + layers.param(p, 3, (4,))),
            TypeError,
            "parameters: got the name 3, expected a word",
        ),
        (
            lambda: layer(lambda p, x: x + layers.param(p, "", (4,))),
            TypeError,
            "parameters: got the name '', expected a word",
        ),
        (
            lambda: layer(
                lambda p, x: x + layers.param(p, "b", (4,)) + layers.param(p, "b", (1,))
            ),
            ShapeError,
            r"parameter 'b': got \(1,\), expected \(4,\)",
        ),
        (
            lambda: layer(lambda p, x: x + layers.param(p, "b", (4,), "ones")),
            TypeError,
            "init: got 'ones', expected a number",
        ),
        (
            lambda: layer(lambda p, x: x + layers.param(p, "b", (4,), (0, -1))),
            ValueError,
            r"init: got \(0, -1\), expected a deviation of at least 0",
        ),
        (
            lambda: layer(lambda p, x: x + layers.param(p, "b", (4,), np.nan)),
            ValueError,
            "init: got nan, expected a finite number",
        ),
        (
            lambda: layer(lambda p, x: x + layers.param(p, "b", (4,), np.zeros(3))),
            TypeError,
            r"init: got array\(\[0\., 0\., 0\.\]\), expected a number",
        ),
        (
            lambda: layers.param({}, "b", (4,)),
            KeyError,
            r"\"parameter 'b' is missing: got \[\]\"",
        ),
        (
            lambda: layers.param({"b": np.zeros(3)}, "b", (4,)),
            ShapeError,
            r"parameter 'b': got \(3,\), expected \(4,\)",
        ),
        (
            lambda: layers.param(None, "b", (4,)),
            TypeError,
            "parameters: got NoneType, expected a scope or a dict of arrays",
        ),
    ),
    *cases(
        "layers.scope",
        lambda: layer(lambda p, x: layers.dense(layers.scope(p, "s"), "d", x, 2)),
        (
            lambda: layer(lambda p, x: layers.dense(layers.scope(p, 3), "d", x, 2)),
            TypeError,
            "parameters: got the name 3, expected a word",
        ),
        (
            lambda: layers.scope(None, "s"),
            TypeError,
            "parameters: got NoneType, expected a scope or a dict of arrays",
        ),
    ),
    *cases(
        "layers.Scope",
        lambda: layer(lambda p, x: x + p.param("b", (4,))),
        (
            lambda: layers.Scope(),
            TypeError,
            (
                r"Scope\.__init__\(\) missing 1 required positional argument: "
                "'core'"
            ),
        ),
    ),
    *cases(
        "Scope.param",
        lambda: layer(lambda p, x: x + p.param("b", (4,))),
        (
            lambda: layer(lambda p, x: x + p.param("b", None)),
            TypeError,
            "param: shape: got None, expected a whole number of at least 1",
        ),
    ),
    *cases(
        "Scope.scope",
        lambda: layer(lambda p, x: x + p.scope("s").param("b", (4,))),
        (
            lambda: layer(lambda p, x: x + p.scope(None).param("b", (4,))),
            TypeError,
            "parameters: got the name None, expected a word",
        ),
    ),
    *cases(
        "layers.activate",
        lambda: layers.activate(X, "relu"),
        (
            lambda: layers.activate(X, "reelu"),
            ValueError,
            (
                "activate: got 'reelu', expected one of: swish relu leaky_relu "
                "elu softplus tanh gelu"
            ),
        ),
        (
            lambda: layers.activate(X, None),
            ValueError,
            (
                "activate: got None, expected one of: swish relu leaky_relu "
                "elu softplus tanh gelu"
            ),
        ),
        (
            lambda: layers.activate("text"),
            TypeError,
            (
                "swish: argument x: dtype <U4 is not supported: float32, "
                "float64, int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "layers.dense",
        lambda: layer(lambda p, x: layers.dense(p, "d", x, 2)),
        (
            lambda: layer(lambda p, x: layers.dense(p, "d", x, 0)),
            ValueError,
            "dense: n: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: layer(lambda p, x: layers.dense(p, "d", x, 2.5)),
            ValueError,
            r"dense: n: got 2\.5, expected a whole number of at least 1",
        ),
        (
            lambda: layer(lambda p, x: layers.dense(p, "d", x, "wide")),
            TypeError,
            "dense: n: got 'wide', expected a whole number of at least 1",
        ),
        (
            lambda: layer(lambda p, x: layers.dense(p, "d", x[0, 0], 2)),
            ShapeError,
            r"dense: x: got shape \(\), expected at least 1 axes",
        ),
        (
            lambda: layer(lambda p, x: layers.dense(p, "d", x, 2, init="big")),
            ValueError,
            (
                "init: got 'big', expected a number or one of: swish relu "
                "leaky_relu elu softplus tanh gelu"
            ),
        ),
    ),
    *cases(
        "layers.conv",
        lambda: layer(lambda p, x: layers.conv(p, "c", x, 2), IMAGES),
        (
            lambda: layer(lambda p, x: layers.conv(p, "c", x, 0), IMAGES),
            ValueError,
            (
                r"parameter 'c\.w': shape: got 0, expected a whole number of at "
                "least 1"
            ),
        ),
        (
            lambda: layer(lambda p, x: layers.conv(p, "c", x, 2, kernel=9), IMAGES),
            ShapeError,
            (
                r"conv: the kernel is larger than the padded image: \(2, 6, 6, "
                r"2\) and \(9, 9, 2, 2\)"
            ),
        ),
        (
            lambda: layer(lambda p, x: layers.conv(p, "c", x, 2, kernel=(3,)), IMAGES),
            ValueError,
            r"kernel: got \(3,\), expected an int or a pair",
        ),
        (
            lambda: layer(lambda p, x: layers.conv(p, "c", x, 2, stride=0), IMAGES),
            ValueError,
            "conv: stride: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: layer(lambda p, x: layers.conv(p, "c", x, 2, padding="full"), IMAGES),
            ValueError,
            "conv: padding: got 'full', expected 'valid', 'same' or numbers",
        ),
        (
            lambda: layer(lambda p, x: layers.conv(p, "c", x, 2, groups=3), IMAGES),
            ValueError,
            (
                r"parameter 'c\.w': shape: got 0, expected a whole number of at "
                "least 1"
            ),
        ),
        (
            lambda: layer(lambda p, x: layers.conv(p, "c", x, 2)),
            ShapeError,
            (
                r"conv: got x \(2, 4\) and weight \(3, 3, 4, 2\), expected \(N, "
                r"H, W, C\) and \(kh, kw, in, out\)"
            ),
        ),
    ),
    *cases(
        "layers.conv_transpose",
        lambda: layer(lambda p, x: layers.conv_transpose(p, "c", x, 2), IMAGES),
        (
            lambda: layer(lambda p, x: layers.conv_transpose(p, "c", x, -1), IMAGES),
            ValueError,
            (
                r"parameter 'c\.w': shape: got -1, expected a whole number of "
                "at least 1"
            ),
        ),
        (
            lambda: layer(lambda p, x: layers.conv_transpose(p, "c", x, 2)),
            ShapeError,
            (
                r"conv_transpose: got x \(2, 4\) and weight \(3, 3, 2, 4\), "
                r"expected \(N, H, W, C\) and \(kh, kw, in, out\)"
            ),
        ),
    ),
    *cases(
        "layers.depthwise_conv",
        lambda: layer(lambda p, x: layers.depthwise_conv(p, "c", x), IMAGES),
        (
            lambda: layer(lambda p, x: layers.depthwise_conv(p, "c", x, multiplier=0), IMAGES),
            ValueError,
            (
                r"parameter 'c\.w': shape: got 0, expected a whole number of at "
                "least 1"
            ),
        ),
        (
            lambda: layer(lambda p, x: layers.depthwise_conv(p, "c", x)),
            ShapeError,
            (
                r"conv: got x \(2, 4\) and weight \(3, 3, 1, 4\), expected \(N, "
                r"H, W, C\) and \(kh, kw, in, out\)"
            ),
        ),
    ),
    *cases(
        "layers.spectral_dense",
        lambda: layer(lambda p, x: layers.spectral_dense(p, "d", x, 2)),
        (
            lambda: layer(lambda p, x: layers.spectral_dense(p, "d", x, 2, n_iterations=-1)),
            ValueError,
            ("spectral_norm: n_iterations: got -1, expected a whole number of at least 0"),
        ),
    ),
    *cases(
        "layers.spectral_conv",
        lambda: layer(lambda p, x: layers.spectral_conv(p, "c", x, 2), IMAGES),
        (
            lambda: layer(
                lambda p, x: layers.spectral_conv(p, "c", x, 2, n_iterations=0.5), IMAGES
            ),
            ValueError,
            (
                r"spectral_norm: n_iterations: got 0\.5, expected a whole "
                "number of at least 0"
            ),
        ),
    ),
    *cases(
        "layers.weight_norm_dense",
        lambda: layer(lambda p, x: layers.weight_norm_dense(p, "d", x, 2)),
        (
            lambda: layer(lambda p, x: layers.weight_norm_dense(p, "d", x, -2)),
            ValueError,
            (
                r"parameter 'd\.v': shape: got -2, expected a whole number of "
                "at least 1"
            ),
        ),
    ),
    *cases(
        "layers.weight_norm_conv",
        lambda: layer(lambda p, x: layers.weight_norm_conv(p, "c", x, 2), IMAGES),
        (
            lambda: layer(lambda p, x: layers.weight_norm_conv(p, "c", x, "two"), IMAGES),
            TypeError,
            (
                r"parameter 'c\.v': shape: got 'two', expected a whole number "
                "of at least 1"
            ),
        ),
    ),
    *cases(
        "layers.attention",
        lambda: layer(lambda p, x: layers.attention(p, "a", x), IMAGES[:, 0]),
        (
            lambda: layer(lambda p, x: layers.attention(p, "a", x, heads=3), IMAGES[:, 0]),
            ShapeError,
            "attention 'a': 3 heads do not divide 2 channels",
        ),
        (
            lambda: layer(lambda p, x: layers.attention(p, "a", x, heads=0), IMAGES[:, 0]),
            ValueError,
            "attention: heads: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: layer(lambda p, x: layers.attention(p, "a", x[:, 0])),
            ShapeError,
            r"attention: x: got shape \(2,\), expected \(N, T, C\)",
        ),
    ),
    *cases(
        "layers.embedding",
        lambda: layer(lambda p, x: layers.embedding(p, "e", (x > 0).astype("int32"), 2, 3)),
        (
            lambda: layer(lambda p, x: layers.embedding(p, "e", x, 2, 3)),
            IndexError,
            (
                r"np\.take: index: arrays used as indices must be of integers, "
                "got float32"
            ),
        ),
        (
            lambda: layer(lambda p, x: layers.embedding(p, "e", (x > 0).astype("int32"), 0, 3)),
            ValueError,
            (
                r"parameter 'e\.w': shape: got 0, expected a whole number of at "
                "least 1"
            ),
        ),
    ),
    *cases(
        "layers.flatten",
        lambda: layers.flatten(IMAGES),
        (
            lambda: layers.flatten(np.float64(1)),
            ShapeError,
            r"flatten: x: got shape \(\), expected at least 1 axes",
        ),
        (lambda: layers.flatten("text"), TypeError, "flatten: x: got str, expected numbers"),
    ),
    *cases(
        "layers.batch_norm",
        lambda: generated(lambda p, z: layers.batch_norm(p, "n", z)),
        (
            lambda: layer(lambda p, x: layers.batch_norm(p, "n", x)),
            ValueError,
            (
                r"batch_norm 'n': got an energy, expected a generator: it couples the rows of "
                r"a batch \(layer_norm and group_norm do not\)"
            ),
        ),
        (
            lambda: generated(lambda p, z: layers.batch_norm(p, "n", z[:, 0])),
            ShapeError,
            r"batch_norm: x: got shape \(2,\), expected at least 2 axes",
        ),
        (
            lambda: generated(lambda p, z: layers.batch_norm({}, "n", z)),
            KeyError,
            r"\"parameter 'n\.g' is missing: got \[\]\"",
        ),
    ),
    *cases(
        "layers.dropout",
        lambda: generated(lambda p, z: layers.dropout(p, "d", z, 0.2)),
        (
            lambda: generated(lambda p, z: layers.dropout(p, "d", z, 1.0)),
            ValueError,
            "dropout 'd': rate: got 1, expected 0 <= rate < 1",
        ),
        (
            lambda: generated(lambda p, z: layers.dropout(p, "d", z, "half")),
            TypeError,
            "dropout: rate: got 'half', expected a number",
        ),
        (
            lambda: generated(lambda p, z: layers.dropout(p, "", z)),
            TypeError,
            "parameters: got the name '', expected a word",
        ),
    ),
    *cases(
        "layers.group_norm",
        lambda: layer(lambda p, x: layers.group_norm(p, "n", x, 2)),
        (
            lambda: layer(lambda p, x: layers.group_norm(p, "n", x, 3)),
            ShapeError,
            "group_norm: 3 groups do not divide the channels",
        ),
        (
            lambda: layer(lambda p, x: layers.group_norm(p, "n", x, 2, epsilon=-1.0)),
            ValueError,
            "group_norm: standardize: epsilon: got -1, expected at least 0",
        ),
    ),
    *cases(
        "layers.instance_norm",
        lambda: layer(lambda p, x: layers.instance_norm(p, "n", x), IMAGES),
        (
            lambda: layer(lambda p, x: layers.instance_norm(p, "n", x[0, 0]), IMAGES),
            ShapeError,
            (
                r"function '<lambda>': energies of x \(2, 6, 6, 2\): got "
                r"\(6,\), expected one number a row"
            ),
        ),
    ),
    *cases(
        "layers.layer_norm",
        lambda: layer(lambda p, x: layers.layer_norm(p, "n", x)),
        (
            lambda: layer(lambda p, x: layers.layer_norm(p, "n", x, epsilon="small")),
            TypeError,
            "layer_norm: epsilon: got 'small', expected a number",
        ),
    ),
    *cases(
        "layers.rms_norm",
        lambda: layer(lambda p, x: layers.rms_norm(p, "n", x)),
        (
            lambda: layer(lambda p, x: layers.rms_norm(p, "n", x, epsilon=np.nan)),
            ValueError,
            "rms_norm: epsilon: got nan, expected a finite number",
        ),
    ),
    *cases(
        "layers.head",
        lambda: made(lambda p, x: layers.head(p, x, (3,))),
        (
            lambda: made(lambda p, x: layers.head(p, x, (0,))),
            ValueError,
            "head: hidden: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: made(lambda p, x: layers.head(p, x, "wide")),
            TypeError,
            ("head: hidden: got 'wide', expected a whole number of at least 1"),
        ),
        (
            lambda: made(lambda p, x: layers.head(p, x, (3,), "reelu")),
            ValueError,
            (
                "activate: got 'reelu', expected one of: swish relu leaky_relu "
                "elu softplus tanh gelu"
            ),
        ),
    ),
    *cases(
        "layers.residual",
        lambda: layer(
            lambda p, x: layers.residual(p, "r", lambda p, x: layers.dense(p, "d", x, 4), x)
        ),
        (
            lambda: layer(lambda p, x: layers.residual(p, "r", 3, x)),
            TypeError,
            "residual: function: got int, expected a function",
        ),
    ),
    *cases(
        "layers.nested",
        lambda: layers.nested({"a.b": 1}),
        (
            lambda: layers.nested(3),
            TypeError,
            "parameters: got int, expected a scope or a dict of arrays",
        ),
        (
            lambda: layers.nested({3: 1}),
            TypeError,
            "parameters: got the name 3, expected a word",
        ),
        (
            lambda: layers.nested({"a": 1, "a.b": 2}),
            ValueError,
            r"nested: got 'a\.b' below an array, expected other names",
        ),
    ),
]
