"""Wrong calls: NumPy's functions on traced arrays."""

from __future__ import annotations

import numpy as np
from numpy.exceptions import AxisError

import ebmlib as ebm
from ebmlib.errors import ShapeError, StateError
from tests.python.bad_input.case import cases

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)

INTEGERS = np.arange(3)

KEPT = []

ebm.jit(lambda x: KEPT.append(x) or x)(X)


def on(function, *arrays):
    """The function of traced arrays."""
    return ebm.jit(function)(*arrays)


CASES = [
    *cases(
        "np.exp",
        lambda: on(np.exp, X),
        (
            lambda: on(lambda x: np.exp(x, out=np.empty((3, 4))), X),
            TypeError,
            (
                r"np\.exp: a traced array cannot be written into another array "
                r"\(out=, or an in-place operator such as \+=\): write a = a \+ "
                "b"
            ),
        ),
        (
            lambda: on(lambda x: np.exp(x, where=x > 0), X),
            TypeError,
            (
                r"np\.exp: where: got a mask, expected True: use "
                r"np\.where\(mask, np\.exp\(\.\.\.\), other\)"
            ),
        ),
        (
            lambda: on(lambda x: np.exp(x, dtype="f4"), X),
            TypeError,
            r"np\.exp\(\) got an unexpected keyword argument 'dtype'",
        ),
        (
            lambda: on(lambda x: np.exp(KEPT[0]), X),
            StateError,
            (
                "a traced array escaped: it belongs to a function, or to a "
                "step of a repeat, that has ended; return it from there "
                "instead of storing it"
            ),
        ),
    ),
    *cases(
        "np.add",
        lambda: on(np.add, X, X),
        (
            lambda: on(lambda x: x + np.ones(5), X),
            ShapeError,
            r"add: shapes do not broadcast: \(3, 4\) and \(5,\)",
        ),
        (
            lambda: on(lambda x: x + "text", X),
            TypeError,
            (
                r"np\.add: dtype <U4 is not supported: float32, float64, int32, "
                "bool and uint8 are supported"
            ),
        ),
        (
            lambda: on(lambda x: None + x, X),
            TypeError,
            r"np\.add: got NoneType, expected an array or a number",
        ),
        (
            lambda: on(lambda x: x + np.ones(4, complex), X),
            TypeError,
            (
                r"np\.add: dtype complex128 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: on(lambda x: x + np.int64(2**40), INTEGERS),
            ValueError,
            r"np\.add: the integer 1099511627776 does not fit into int32",
        ),
        (
            lambda: on(lambda x: np.add.at(x, 0, 1), X),
            TypeError,
            (
                r"np\.add\.at cannot be traced: traced arrays cannot be written "
                r"into: use x = x\.at\[index\]\.add\(v\)"
            ),
        ),
        (
            lambda: on(lambda x: np.add.reduceat(x, [0, 1]), X),
            TypeError,
            (
                r"np\.add\.reduceat cannot be traced: near names that work: "
                r"np\.add, np\.pad, np\.rad2deg, np\.logaddexp; see "
                r"ebmlib\.supported_functions\(\) for all, or compute it "
                "outside of the function"
            ),
        ),
        (
            lambda: on(lambda x: x * [[1.0], [1.0, 2.0]], X),
            ValueError,
            (
                r"np\.multiply: setting an array element with a sequence\. The "
                "requested array has an inhomogeneous shape after 1 "
                r"dimensions\. The detected shape was \(2,\) \+ inhomogeneous "
                r"part\."
            ),
        ),
        (
            lambda: on(lambda x: x + {"a": 1}, X),
            TypeError,
            r"np\.add: got dict, expected an array or a number",
        ),
    ),
    *cases(
        "np.multiply",
        lambda: on(np.multiply, X, X),
        (
            lambda: on(lambda x: np.multiply(x), X),
            TypeError,
            (
                r"multiply\(\) takes from 2 to 3 positional arguments but 1 was "
                "given"
            ),
        ),
    ),
    *cases(
        "np.power",
        lambda: on(np.power, X, 2),
        (
            lambda: on(lambda x: x**-2, INTEGERS),
            TypeError,
            (
                r"np\.power: got int32 and the exponent -2, expected one int >= "
                "0: make the base a float"
            ),
        ),
        (
            lambda: on(lambda x: x ** "two", X),
            TypeError,
            (
                r"np\.power: dtype <U3 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "np.bitwise_and",
        lambda: on(lambda x: (x > 0) & (x < 1), X),
        (
            lambda: on(lambda x: x & 1, X),
            TypeError,
            r"np\.bitwise_and: got float64, expected bool or int",
        ),
    ),
    *cases(
        "np.invert",
        lambda: on(lambda x: ~(x > 0), X),
        (
            lambda: on(lambda x: ~x, X),
            TypeError,
            r"np\.invert: got float64, expected bool or int",
        ),
    ),
    *cases(
        "np.where",
        lambda: on(lambda x: np.where(x > 0, x, 0), X),
        (
            lambda: on(lambda x: np.where(x > 0), X),
            TypeError,
            (
                r"np\.where\(condition\) of a traced array: the size of the "
                r"result would depend on values: use np\.where\(condition, x, "
                r"y\)"
            ),
        ),
        (
            lambda: on(lambda x: np.where(x > 0, x, np.ones(5)), X),
            ShapeError,
            (
                r"np\.where: select: shapes do not broadcast: \(3, 4\) and "
                r"\(5,\)"
            ),
        ),
        (
            lambda: on(lambda x: np.where(x > 0, x, "text"), X),
            TypeError,
            (
                r"np\.where: dtype <U4 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "np.clip",
        lambda: on(lambda x: np.clip(x, 0, 1), X),
        (
            lambda: on(lambda x: np.clip(x, 0, np.ones(5)), X),
            ShapeError,
            (
                r"np\.clip: minimum: shapes do not broadcast: \(3, 4\) and "
                r"\(5,\)"
            ),
        ),
        (
            lambda: on(lambda x: np.clip(x, "low", 1), X),
            TypeError,
            (
                r"np\.clip: dtype <U3 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "np.round",
        lambda: on(np.round, X),
    ),
    *cases(
        "np.sum",
        lambda: on(np.sum, X),
        (
            lambda: on(lambda x: np.sum(x, axis=2), X),
            AxisError,
            r"np\.sum: axis 2 is out of bounds for array of dimension 2",
        ),
        (
            lambda: on(lambda x: np.sum(x, axis=(0, 0)), X),
            ValueError,
            r"np\.sum: axis: got \(0, 0\), expected each axis once",
        ),
        (
            lambda: on(lambda x: np.sum(x, axis="rows"), X),
            TypeError,
            r"np\.sum: axis: got 'rows', expected an int or a tuple of ints",
        ),
        (
            lambda: on(lambda x: np.sum(x, axis=0.5), X),
            TypeError,
            r"np\.sum: axis: got 0\.5, expected an int or a tuple of ints",
        ),
        (
            lambda: on(lambda x: np.sum(x, dtype="complex64"), X),
            TypeError,
            (
                r"np\.sum: dtype complex64 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: on(lambda x: x.sum(axis=x), X),
            TypeError,
            (
                r"np\.sum: axis: got TracedArray\(float64, \(3, 4\)\), expected an "
                "int or a tuple of ints"
            ),
        ),
    ),
    *cases(
        "np.max",
        lambda: on(np.max, X),
        (
            lambda: on(lambda x: np.max(x[:0], axis=0), X),
            ShapeError,
            r"max: an empty axis has no maximum: \(0, 4\), axis 0",
        ),
    ),
    *cases(
        "np.mean",
        lambda: on(np.mean, X),
        (
            lambda: on(lambda x: np.mean(x, dtype="int32"), X),
            TypeError,
            r"np\.mean: div: got i32, expected a float type",
        ),
        (
            lambda: on(lambda x: np.mean(x, out=np.empty(())), X),
            TypeError,
            (
                r"np\.mean: out: got an array, expected None: traced arrays "
                "cannot be written into others: use the result"
            ),
        ),
    ),
    *cases(
        "np.var",
        lambda: on(np.var, X),
        (
            lambda: on(lambda x: np.var(x, ddof="one"), X),
            TypeError,
            (
                r"np\.var: '>' not supported between instances of 'int' and "
                "'str'"
            ),
        ),
    ),
    *cases(
        "np.std",
        lambda: on(np.std, X),
        (
            lambda: on(lambda x: np.std(x, axis=-3), X),
            AxisError,
            r"np\.std: axis -3 is out of bounds for array of dimension 2",
        ),
    ),
    *cases(
        "np.argmax",
        lambda: on(np.argmax, X),
        (
            lambda: on(lambda x: np.argmax(x, axis=(0, 1)), X),
            TypeError,
            r"np\.argmax: axis: got \(0, 1\), expected an int",
        ),
        (
            lambda: on(lambda x: np.argmax(x[:0], axis=0), X),
            ShapeError,
            "argmax: an empty axis has no maximum: axis 0",
        ),
    ),
    *cases(
        "np.cumsum",
        lambda: on(np.cumsum, X),
        (
            lambda: on(lambda x: np.cumsum(x, axis=(0, 1)), X),
            TypeError,
            r"np\.cumsum: axis: got \(0, 1\), expected an int",
        ),
        (
            lambda: on(lambda x: np.cumsum(x, dtype="U3"), X),
            TypeError,
            (
                r"np\.cumsum: dtype <U3 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "np.prod",
        lambda: on(np.prod, X),
        (
            lambda: on(lambda x: np.prod(x, axis=(1, -1)), X),
            ValueError,
            r"np\.prod: axis: got \(1, -1\), expected each axis once",
        ),
    ),
    *cases(
        "np.median",
        lambda: on(np.median, X),
        (
            lambda: on(lambda x: np.median(x[:0], axis=0), X),
            ValueError,
            r"median: of nothing: shape \(0, 4\), axis 0",
        ),
        (
            lambda: on(lambda x: np.median(x, overwrite_input=True), X),
            TypeError,
            (
                r"np\.median\(\) got an unexpected keyword argument "
                "'overwrite_input'"
            ),
        ),
    ),
    *cases(
        "np.quantile",
        lambda: on(lambda x: np.quantile(x, 0.5), X),
        (
            lambda: on(lambda x: np.quantile(x, 1.5), X),
            ValueError,
            r"np\.quantile: q: got 1\.5, expected 0 <= q <= 1",
        ),
        (
            lambda: on(lambda x: np.quantile(x, np.nan), X),
            ValueError,
            r"np\.quantile: q: got nan, expected 0 <= q <= 1",
        ),
        (
            lambda: on(lambda x: np.quantile(x, x[0, 0]), X),
            TypeError,
            r"np\.quantile of a traced array: q must not be traced",
        ),
        (
            lambda: on(lambda x: np.quantile(x, 0.5, method="nearest"), X),
            TypeError,
            (
                r"np\.quantile of a traced array: only method='linear', got "
                "'nearest'"
            ),
        ),
        (
            lambda: on(lambda x: np.quantile(x, "half"), X),
            ValueError,
            r"np\.quantile: could not convert string to float: 'half'",
        ),
    ),
    *cases(
        "np.percentile",
        lambda: on(lambda x: np.percentile(x, 50), X),
        (
            lambda: on(lambda x: np.percentile(x, 101), X),
            ValueError,
            r"np\.percentile: q: got 101, expected 0 <= q <= 100",
        ),
    ),
    *cases(
        "np.sort",
        lambda: on(np.sort, X),
        (
            lambda: on(lambda x: np.sort(x, axis=2), X),
            AxisError,
            r"np\.sort: axis 2 is out of bounds for array of dimension 2",
        ),
        (
            lambda: on(lambda x: np.sort(x, order="name"), X),
            TypeError,
            r"np\.sort\(\) got an unexpected keyword argument 'order'",
        ),
    ),
    *cases(
        "np.argsort",
        lambda: on(np.argsort, X),
        (
            lambda: on(lambda x: np.argsort(x, axis="last"), X),
            TypeError,
            r"np\.argsort: axis: got 'last', expected an int",
        ),
    ),
    *cases(
        "np.take_along_axis",
        lambda: on(lambda x: np.take_along_axis(x, np.zeros((3, 1), int), 1), X),
        (
            lambda: on(lambda x: np.take_along_axis(x, np.zeros(3, int), 1), X),
            ValueError,
            (
                r"take_along_axis: got shapes \(3, 4\) and \(3,\), expected the "
                "same number of axes"
            ),
        ),
        (
            lambda: on(lambda x: np.take_along_axis(x, np.zeros((3, 1)), 1), X),
            IndexError,
            "take_along_axis: indices must be integers, got float64",
        ),
        (
            lambda: on(lambda x: np.take_along_axis(x, np.full((3, 1), 9), 1), X),
            IndexError,
            (
                r"np\.take_along_axis: index 9 is out of bounds for axis 1 with "
                "size 4"
            ),
        ),
        (
            lambda: on(lambda x: np.take_along_axis(x, np.zeros((2, 1), int), 1), X),
            ShapeError,
            (
                r"np\.take_along_axis: take_along: shapes do not broadcast: "
                r"\(3, 1\) and \(2, 1\)"
            ),
        ),
    ),
    *cases(
        "np.atleast_1d",
        lambda: on(np.atleast_1d, X),
        (
            lambda: on(lambda x: np.atleast_1d(x, "text"), X),
            TypeError,
            (
                r"np\.atleast_1d: dtype <U4 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "np.size",
        lambda: on(lambda x: x * np.size(x), X),
        (
            lambda: on(lambda x: x * np.size(x, 2), X),
            AxisError,
            r"np\.size: axis 2 is out of bounds for array of dimension 2",
        ),
    ),
]
