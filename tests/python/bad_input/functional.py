"""Wrong calls: functions that NumPy has not got."""

from __future__ import annotations

import numpy as np
from numpy.exceptions import AxisError

import ebmlib as ebm
from ebmlib import functional as F
from ebmlib.errors import ShapeError
from tests.python.bad_input.case import cases

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)

C = np.ones(4)

IMAGES = np.linspace(0, 1, 2 * 6 * 6 * 4).reshape(2, 6, 6, 4)

KEY = ebm.random.key(0)

CASES = [
    *cases(
        "functional.relu",
        lambda: F.relu(X),
        (lambda: F.relu(), TypeError, "relu: missing a required argument: 'x'"),
        (lambda: F.relu(None), TypeError, "relu: x: got None, expected an array"),
        (
            lambda: F.relu("text"),
            TypeError,
            (
                "relu: argument x: dtype <U4 is not supported: float32, "
                "float64, int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: F.relu(X, slope=1),
            TypeError,
            r"relu\(\) got an unexpected keyword argument 'slope'",
        ),
        (
            lambda: F.relu(np.zeros((1,) * 9)),
            ValueError,
            "relu: argument x: input: got 9 axes, expected at most 8",
        ),
        (
            lambda: F.relu([[1.0], [1.0, 2.0]]),
            ValueError,
            (
                r"relu: setting an array element with a sequence\. The "
                "requested array has an inhomogeneous shape after 1 "
                r"dimensions\. The detected shape was \(2,\) \+ inhomogeneous "
                r"part\."
            ),
        ),
    ),
    *cases(
        "functional.swish",
        lambda: F.swish(X),
        (
            lambda: F.swish(X.astype(complex)),
            TypeError,
            (
                "swish: argument x: dtype complex128 is not supported: "
                "float32, float64, int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "functional.gelu",
        lambda: F.gelu(X),
        (
            lambda: F.gelu(np.array(["2020-01-01"], "M8[D]")),
            TypeError,
            (
                r"gelu: argument x: dtype datetime64\[D\] is not supported: "
                "float32, float64, int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "functional.sigmoid",
        lambda: F.sigmoid(X),
        (
            lambda: F.sigmoid(np.array([object()])),
            TypeError,
            (
                "sigmoid: argument x: dtype object is not supported: float32, "
                "float64, int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "functional.softplus",
        lambda: F.softplus(X),
        (
            lambda: F.softplus(X.astype(np.float16)),
            TypeError,
            (
                "softplus: argument x: dtype float16 is not supported: "
                "float32, float64, int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "functional.erf",
        lambda: F.erf(X),
        (
            lambda: F.erf({"x": X}),
            TypeError,
            (
                "erf: argument x: dtype object is not supported: float32, "
                "float64, int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "functional.leaky_relu",
        lambda: F.leaky_relu(X, 0.2),
        (
            lambda: F.leaky_relu(X, "steep"),
            TypeError,
            "leaky_relu: slope: got 'steep', expected a number",
        ),
        (
            lambda: F.leaky_relu(X, np.nan),
            ValueError,
            "leaky_relu: slope: got nan, expected a finite number",
        ),
        (
            lambda: F.leaky_relu(X, 10**400),
            ValueError,
            ("leaky_relu: slope: got 10+, expected a finite number"),
        ),
        (
            lambda: F.leaky_relu(X, X),
            TypeError,
            "leaky_relu: got ndarray, expected an option: numbers or words",
        ),
    ),
    *cases(
        "functional.elu",
        lambda: F.elu(X),
        (lambda: F.elu(X, None), TypeError, "elu: alpha: got None, expected a number"),
        (
            lambda: F.elu(X, alpha=[1.0]),
            TypeError,
            r"elu: alpha: got \[1\.0\], expected a number",
        ),
    ),
    *cases(
        "functional.logsumexp",
        lambda: F.logsumexp(X, 1),
        (
            lambda: F.logsumexp(X, 2),
            AxisError,
            "logsumexp: axis 2 is out of bounds for array of dimension 2",
        ),
        (
            lambda: F.logsumexp(X, (0, 0)),
            ValueError,
            r"logsumexp: axis: got \(0, 0\), expected each axis once",
        ),
        (
            lambda: F.logsumexp(X, 1.0),
            TypeError,
            r"logsumexp: axis: got 1\.0, expected an int or a tuple of ints",
        ),
        (
            lambda: F.logsumexp(X[:, :0], 1),
            ShapeError,
            r"logsumexp: max: an empty axis has no maximum: \(3, 0\), axis 1",
        ),
    ),
    *cases(
        "functional.softmax",
        lambda: F.softmax(X),
        (
            lambda: F.softmax(X, 2),
            AxisError,
            "softmax: axis 2 is out of bounds for array of dimension 2",
        ),
        (lambda: F.softmax(X, "rows"), TypeError, "softmax: axis: got 'rows', expected an int"),
        (lambda: F.softmax(X, None), TypeError, "softmax: axis: got None, expected an int"),
        (
            lambda: F.softmax(np.float64(1.0)),
            AxisError,
            "softmax: axis -1 is out of bounds for array of dimension 0",
        ),
    ),
    *cases(
        "functional.log_softmax",
        lambda: F.log_softmax(X),
        (
            lambda: F.log_softmax(X, axis=(0, 1)),
            TypeError,
            r"log_softmax: axis: got \(0, 1\), expected an int",
        ),
        (
            lambda: F.log_softmax(X, axis=-3),
            AxisError,
            "log_softmax: axis -3 is out of bounds for array of dimension 2",
        ),
    ),
    *cases(
        "functional.one_hot",
        lambda: F.one_hot(np.array([0, 1]), 3),
        (
            lambda: F.one_hot(np.array([0.5]), 3),
            TypeError,
            "one_hot: labels: got float64, expected integers",
        ),
        (
            lambda: F.one_hot(np.array([0, 1]), -1),
            ValueError,
            ("one_hot: classes: got -1, expected a whole number of at least 0"),
        ),
        (
            lambda: F.one_hot(np.array([0, 1]), 2.5),
            ValueError,
            (
                r"one_hot: classes: got 2\.5, expected a whole number of at "
                "least 0"
            ),
        ),
        (
            lambda: F.one_hot(np.array([0, 1]), 3, "text"),
            TypeError,
            "one_hot: data type 'text' not understood",
        ),
        (
            lambda: F.one_hot(np.array([0, 1]), 3, "complex64"),
            TypeError,
            (
                "one_hot: dtype complex64 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: F.one_hot(np.array([0, 1]), 2**40),
            ShapeError,
            r"one_hot: iota: got 1099511627776 places, expected less than 2\^31: they are i32",
        ),
        (
            lambda: F.one_hot(np.array([2**31]), 3),
            ValueError,
            ("one_hot: argument 0: integers become int32: 2147483648 does not fit"),
        ),
    ),
    *cases(
        "functional.standardize",
        lambda: F.standardize(X),
        (
            lambda: F.standardize(X, epsilon=-1.0),
            ValueError,
            "standardize: epsilon: got -1, expected at least 0",
        ),
        (
            lambda: F.standardize(X, epsilon=np.nan),
            ValueError,
            "standardize: epsilon: got nan, expected a finite number",
        ),
        (
            lambda: F.standardize(X, axis=5),
            AxisError,
            "standardize: axis 5 is out of bounds for array of dimension 2",
        ),
        (
            lambda: F.standardize(X, epsilon="small"),
            TypeError,
            "standardize: epsilon: got 'small', expected a number",
        ),
    ),
    *cases(
        "functional.batch_norm",
        lambda: F.batch_norm(X, C, C),
        (
            lambda: F.batch_norm(X, C[:3], C),
            ShapeError,
            r"batch_norm: gain: got \(3,\), expected \(4,\)",
        ),
        (
            lambda: F.batch_norm(X, C, C[:3]),
            ShapeError,
            r"batch_norm: bias: got \(3,\), expected \(4,\)",
        ),
        (
            lambda: F.batch_norm(C, C, C),
            ShapeError,
            "batch_norm: rank: got 1, expected at least 2",
        ),
        (
            lambda: F.batch_norm(X, C),
            TypeError,
            "batch_norm: missing a required argument: 'bias'",
        ),
    ),
    *cases(
        "functional.layer_norm",
        lambda: F.layer_norm(X, C, C),
        (
            lambda: F.layer_norm(X, np.ones((1, 4)), C),
            ShapeError,
            r"layer_norm: gain: got \(1, 4\), expected \(4,\)",
        ),
        (
            lambda: F.layer_norm(X, C, None),
            TypeError,
            "layer_norm: bias: got None, expected an array",
        ),
        (
            lambda: F.layer_norm(np.float64(1), C, C),
            IndexError,
            "layer_norm: sum: axis out of range for rank 0",
        ),
    ),
    *cases(
        "functional.group_norm",
        lambda: F.group_norm(X, C, C, 2),
        (
            lambda: F.group_norm(X, C, C, 3),
            ShapeError,
            "group_norm: 3 groups do not divide the channels",
        ),
        (
            lambda: F.group_norm(X, C, C, 0),
            ValueError,
            ("group_norm: groups: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: F.group_norm(X, C, C, -1),
            ValueError,
            ("group_norm: groups: got -1, expected a whole number of at least 1"),
        ),
        (
            lambda: F.group_norm(X, C, C),
            TypeError,
            (
                r"group_norm\(\) missing 1 required positional argument: "
                "'groups'"
            ),
        ),
    ),
    *cases(
        "functional.silu",
        lambda: F.silu(X),
        (lambda: F.silu(), TypeError, "silu: missing a required argument: 'x'"),
    ),
    *cases(
        "functional.relu6",
        lambda: F.relu6(X),
        (
            lambda: F.relu6("text"),
            TypeError,
            (
                "relu6: argument x: dtype <U4 is not supported: float32, "
                "float64, int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "functional.hard_tanh",
        lambda: F.hard_tanh(X),
        (
            lambda: F.hard_tanh(X.astype(complex)),
            TypeError,
            (
                "hard_tanh: argument x: dtype complex128 is not supported: "
                "float32, float64, int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "functional.mish",
        lambda: F.mish(X),
        (lambda: F.mish(None), TypeError, "mish: x: got None, expected an array"),
    ),
    *cases(
        "functional.selu",
        lambda: F.selu(X),
        (
            lambda: F.selu([[1.0], []]),
            ValueError,
            (
                r"selu: setting an array element with a sequence\. The "
                "requested array has an inhomogeneous shape after 1 "
                r"dimensions\. The detected shape was \(2,\) \+ inhomogeneous "
                r"part\."
            ),
        ),
    ),
    *cases(
        "functional.celu",
        lambda: F.celu(X),
        (lambda: F.celu(X, 0.0), ValueError, "celu: alpha: got 0, expected > 0"),
        (
            lambda: F.celu(X, np.inf),
            ValueError,
            "celu: alpha: got inf, expected a finite number",
        ),
        (lambda: F.celu(X, "one"), TypeError, "celu: alpha: got 'one', expected a number"),
    ),
    *cases(
        "functional.softsign",
        lambda: F.softsign(X),
        (
            lambda: F.softsign(object()),
            TypeError,
            (
                "softsign: argument x: dtype object is not supported: float32, "
                "float64, int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "functional.log_sigmoid",
        lambda: F.log_sigmoid(X),
        (
            lambda: F.log_sigmoid(b"text"),
            TypeError,
            (
                r"log_sigmoid: argument x: dtype \|S4 is not supported: "
                "float32, float64, int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "functional.glu",
        lambda: F.glu(X),
        (
            lambda: F.glu(X[:, :3]),
            ShapeError,
            r"glu: axis -1 of \(3, 3\): expected an even size",
        ),
        (lambda: F.glu(X, 2), ShapeError, r"glu: axis 2 of \(3, 4\): expected an even size"),
        (
            lambda: F.glu(X, "rows"),
            TypeError,
            "glu: 'str' object cannot be interpreted as an integer",
        ),
    ),
    *cases(
        "functional.instance_norm",
        lambda: F.instance_norm(IMAGES, C, C),
        (
            lambda: F.instance_norm(X[0], C, C),
            ShapeError,
            "instance_norm: rank: got 1, expected at least 2",
        ),
        (
            lambda: F.instance_norm(IMAGES, C[:2], C),
            ShapeError,
            r"instance_norm: gain: got \(2,\), expected \(4,\)",
        ),
        (
            lambda: F.instance_norm(IMAGES, C, C, epsilon=-1.0),
            ValueError,
            ("instance_norm: standardize: epsilon: got -1, expected at least 0"),
        ),
    ),
    *cases(
        "functional.rms_norm",
        lambda: F.rms_norm(X, C),
        (
            lambda: F.rms_norm(X, C[:3]),
            ShapeError,
            r"rms_norm: mul: shapes do not broadcast: \(3, 4\) and \(3,\)",
        ),
        (
            lambda: F.rms_norm(X, C, epsilon=-1.0),
            ValueError,
            r"rms_norm: epsilon: got -1\.0, expected at least 0",
        ),
        (
            lambda: F.rms_norm(np.float64(1), C),
            IndexError,
            "rms_norm: sum: axis out of range for rank 0",
        ),
    ),
    *cases(
        "functional.weight_norm",
        lambda: F.weight_norm(X, C),
        (
            lambda: F.weight_norm(X, C[:3]),
            ShapeError,
            r"weight_norm: div: shapes do not broadcast: \(3,\) and \(4,\)",
        ),
        (
            lambda: F.weight_norm(X, None),
            TypeError,
            "weight_norm: gain: got None, expected an array",
        ),
    ),
    *cases(
        "functional.spectral_norm",
        lambda: F.spectral_norm(X, C),
        (
            lambda: F.spectral_norm(X, C[:3]),
            ShapeError,
            r"spectral_norm: u: got \(3,\), expected \(4,\)",
        ),
        (
            lambda: F.spectral_norm(X, C, -1),
            ValueError,
            ("spectral_norm: n_iterations: got -1, expected a whole number of at least 0"),
        ),
        (
            lambda: F.spectral_norm(X, C, 1.5),
            ValueError,
            (
                r"spectral_norm: n_iterations: got 1\.5, expected a whole "
                "number of at least 0"
            ),
        ),
        (
            lambda: F.spectral_norm(C, C),
            ShapeError,
            ("spectral_norm: power_iteration: weight: rank: got 1, expected at least 2"),
        ),
    ),
    *cases(
        "functional.dropout",
        lambda: F.dropout(X, KEY, 0.5, purpose=0),
        (
            lambda: F.dropout(X, KEY, 1.5, purpose=0),
            ValueError,
            r"dropout: rate: got 1\.5, expected 0 <= rate < 1",
        ),
        (
            lambda: F.dropout(X, KEY, "half", purpose=0),
            TypeError,
            "dropout: rate: got 'half', expected a number",
        ),
        (
            lambda: F.dropout(X, KEY, 0.5),
            TypeError,
            (
                r"dropout\(\) missing 1 required keyword-only argument: "
                "'purpose'"
            ),
        ),
        (
            lambda: F.dropout(X, KEY, 0.5, purpose=-1),
            ValueError,
            ("dropout: purpose: got -1, expected a whole number of at least 0"),
        ),
        (
            lambda: F.dropout(X, 7, 0.5, purpose=0),
            ShapeError,
            r"dropout: uniform: key: got i32 \(\), expected i32 \(2,\)",
        ),
    ),
    *cases(
        "functional.huber",
        lambda: F.huber(X),
        (lambda: F.huber(X, -1.0), ValueError, "huber: delta: got -1, expected > 0"),
        (
            lambda: F.huber(X, np.nan),
            ValueError,
            "huber: delta: got nan, expected a finite number",
        ),
        (lambda: F.huber(X, "one"), TypeError, "huber: delta: got 'one', expected a number"),
    ),
    *cases(
        "functional.cross_entropy",
        lambda: F.cross_entropy(X, np.array([0, 1, 2])),
        (
            lambda: F.cross_entropy(X, np.array([0, 1])),
            ShapeError,
            (
                r"cross_entropy: logits \(3, 4\), labels \(2,\): expected "
                r"\(\.\.\., K\) and \(\.\.\.\)"
            ),
        ),
        (
            lambda: F.cross_entropy(X, np.array([0.0, 1.0, 2.0])),
            TypeError,
            "cross_entropy: labels: got float64, expected integers",
        ),
        (
            lambda: F.cross_entropy(np.float64(1), np.array(0)),
            ShapeError,
            (
                r"cross_entropy: logits \(\), labels \(\): expected \(\.\.\., "
                r"K\) and \(\.\.\.\)"
            ),
        ),
    ),
    *cases(
        "functional.bce_with_logits",
        lambda: F.bce_with_logits(X, X),
        (
            lambda: F.bce_with_logits(X, np.ones(5)),
            ShapeError,
            (
                r"bce_with_logits: mul: shapes do not broadcast: \(3, 4\) and "
                r"\(5,\)"
            ),
        ),
        (
            lambda: F.bce_with_logits(X),
            TypeError,
            "bce_with_logits: missing a required argument: 'targets'",
        ),
    ),
    *cases(
        "functional.kl_normal",
        lambda: F.kl_normal(X, X),
        (
            lambda: F.kl_normal(X, np.ones(5)),
            ShapeError,
            r"kl_normal: add: shapes do not broadcast: \(5,\) and \(3, 4\)",
        ),
        (
            lambda: F.kl_normal(np.float64(1), np.float64(1)),
            ShapeError,
            r"kl_normal: got scalars, expected \(\.\.\., D\)",
        ),
    ),
]
