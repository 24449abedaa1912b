"""Wrong calls: NumPy's functions that move values."""

from __future__ import annotations

import numpy as np
from numpy.exceptions import AxisError

import ebmlib as ebm
from ebmlib.errors import ShapeError
from tests.python.bad_input.case import cases

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)

KEPT = []

ebm.jit(lambda x: KEPT.append(x) or x)(X)


def on(function, *arrays):
    """The function of traced arrays."""
    return ebm.jit(function)(*arrays)


CASES = [
    *cases(
        "np.reshape",
        lambda: on(lambda x: np.reshape(x, (4, 3)), X),
        (
            lambda: on(lambda x: np.reshape(x, (5, 5)), X),
            ShapeError,
            r"reshape: sizes differ: \(3, 4\) into \(5, 5\)",
        ),
        (
            lambda: on(lambda x: np.reshape(x, (5, -1)), X),
            ValueError,
            (
                r"np\.reshape: cannot reshape an array of shape \(3, 4\) into "
                r"\(5, -1\)"
            ),
        ),
        (
            lambda: on(lambda x: np.reshape(x, (-1, -1)), X),
            ValueError,
            (
                r"np\.reshape: cannot reshape an array of shape \(3, 4\) into "
                r"\(-1, -1\)"
            ),
        ),
        (
            lambda: on(lambda x: np.reshape(x, (4, 3), order="F"), X),
            TypeError,
            r"np\.reshape of a traced array: order must be 'C', got 'F'",
        ),
        (
            lambda: on(lambda x: np.reshape(x, "all"), X),
            TypeError,
            r"np\.reshape: 'str' object cannot be interpreted as an integer",
        ),
        (
            lambda: on(lambda x: np.reshape(x, (2.0, 6.0)), X),
            TypeError,
            (
                r"np\.reshape: 'float' object cannot be interpreted as an "
                "integer"
            ),
        ),
        (
            lambda: on(lambda x: np.reshape(x, (-2, -6)), X),
            ValueError,
            (
                r"np\.reshape: cannot reshape an array of shape \(3, 4\) into "
                r"\(-2, -6\)"
            ),
        ),
        (
            lambda: on(lambda x: np.reshape(x, (12,) + (1,) * 8), X),
            ValueError,
            "reshape: got 9 axes, expected at most 8",
        ),
        (
            lambda: on(lambda x: x.reshape(x), X),
            TypeError,
            (
                r"np\.reshape: the truth value of a traced array: while a "
                "function is traced, arrays have a shape and a dtype but no "
                r"values: use np\.where instead of if, ebm\.repeat instead of a "
                "loop that ends by a value, or compute this outside of the "
                "function"
            ),
        ),
    ),
    *cases(
        "np.transpose",
        lambda: on(np.transpose, X),
        (
            lambda: on(lambda x: np.transpose(x, (0, 0)), X),
            ValueError,
            r"np\.transpose: axis: got \(0, 0\), expected each axis once",
        ),
        (
            lambda: on(lambda x: np.transpose(x, (0,)), X),
            ValueError,
            r"np\.transpose: permute: 2 numbers are expected, got 1",
        ),
        (
            lambda: on(lambda x: np.transpose(x, (0, 2)), X),
            AxisError,
            (
                r"np\.transpose: axis 2 is out of bounds for array of dimension "
                "2"
            ),
        ),
    ),
    *cases(
        "np.swapaxes",
        lambda: on(lambda x: np.swapaxes(x, 0, 1), X),
        (
            lambda: on(lambda x: np.swapaxes(x, 0, 2), X),
            AxisError,
            r"np\.swapaxes: axis 2 is out of bounds for array of dimension 2",
        ),
    ),
    *cases(
        "np.moveaxis",
        lambda: on(lambda x: np.moveaxis(x, 0, 1), X),
        (
            lambda: on(lambda x: np.moveaxis(x, (0, 1), 0), X),
            ValueError,
            (
                r"np\.moveaxis: source and destination must have the same "
                "number of axes"
            ),
        ),
        (
            lambda: on(lambda x: np.moveaxis(x, 0, 5), X),
            AxisError,
            r"np\.moveaxis: axis 5 is out of bounds for array of dimension 2",
        ),
    ),
    *cases(
        "np.expand_dims",
        lambda: on(lambda x: np.expand_dims(x, 0), X),
        (
            lambda: on(lambda x: np.expand_dims(x, 3), X),
            AxisError,
            (
                r"np\.expand_dims: axis 3 is out of bounds for array of "
                "dimension 3"
            ),
        ),
        (
            lambda: on(lambda x: np.expand_dims(x, (0, 0)), X),
            ValueError,
            r"np\.expand_dims: axis: got \(0, 0\), expected each axis once",
        ),
        (
            lambda: on(lambda x: np.expand_dims(x, tuple(range(7))), X),
            ValueError,
            r"np\.expand_dims: reshape: got 9 axes, expected at most 8",
        ),
    ),
    *cases(
        "np.squeeze",
        lambda: on(lambda x: np.squeeze(x[:1]), X),
        (
            lambda: on(lambda x: np.squeeze(x, 0), X),
            ValueError,
            r"np\.squeeze: an axis of 0 is not of size 1 in \(3, 4\)",
        ),
    ),
    *cases(
        "np.broadcast_to",
        lambda: on(lambda x: np.broadcast_to(x, (2, 3, 4)), X),
        (
            lambda: on(lambda x: np.broadcast_to(x, (3, 5)), X),
            ShapeError,
            r"np\.broadcast_to: broadcast: \(3, 4\) into \(3, 5\)",
        ),
        (
            lambda: on(lambda x: np.broadcast_to(x, (-1, 3, 4)), X),
            ValueError,
            (
                r"broadcast_to: shape: got \(-1, 3, 4\), expected no negative "
                "size"
            ),
        ),
        (
            lambda: on(lambda x: np.broadcast_to(x, (4,)), X),
            ShapeError,
            r"np\.broadcast_to: broadcast: \(3, 4\) into \(4,\)",
        ),
    ),
    *cases(
        "np.broadcast_arrays",
        lambda: on(lambda x: np.broadcast_arrays(x, np.ones(4)), X),
        (
            lambda: on(lambda x: np.broadcast_arrays(x, np.ones(5)), X),
            ValueError,
            (
                r"np\.broadcast_arrays: shape mismatch: objects cannot be "
                r"broadcast to a single shape\. Mismatch is between arg 0 with "
                r"shape \(3, 4\) and arg 1 with shape \(5,\)\."
            ),
        ),
    ),
    *cases(
        "np.concatenate",
        lambda: on(lambda x: np.concatenate([x, x]), X),
        (
            lambda: on(lambda x: np.concatenate([x, np.ones((2, 3))]), X),
            ShapeError,
            (
                r"np\.concatenate: concat: shapes differ off axis 0: \(3, 4\) "
                r"and \(2, 3\)"
            ),
        ),
        (
            lambda: on(lambda x: np.concatenate([x, x[0]]), X),
            ShapeError,
            (
                r"np\.concatenate: concat: shapes differ off axis 0: \(3, 4\) "
                r"and \(4,\)"
            ),
        ),
        (
            lambda: on(lambda x: np.concatenate([x, x], axis=2), X),
            AxisError,
            (
                r"np\.concatenate: axis 2 is out of bounds for array of "
                "dimension 2"
            ),
        ),
        (
            lambda: on(lambda x: np.concatenate([x, x], dtype="f4"), X),
            TypeError,
            r"np\.concatenate\(\) got an unexpected keyword argument 'dtype'",
        ),
        (
            lambda: on(lambda x: np.concatenate([x[0, 0], x[0, 1]]), X),
            AxisError,
            (
                r"np\.concatenate: axis 0 is out of bounds for array of "
                "dimension 0"
            ),
        ),
    ),
    *cases(
        "np.stack",
        lambda: on(lambda x: np.stack([x, x]), X),
        (
            lambda: on(lambda x: np.stack([x, x[:2]]), X),
            ShapeError,
            (
                r"np\.stack: concat: shapes differ off axis 0: \(1, 3, 4\) and "
                r"\(1, 2, 4\)"
            ),
        ),
        (
            lambda: on(lambda x: np.stack([x, x], axis=3), X),
            AxisError,
            r"np\.stack: axis 3 is out of bounds for array of dimension 3",
        ),
    ),
    *cases(
        "np.vstack",
        lambda: on(lambda x: np.vstack([x, x]), X),
        (
            lambda: on(lambda x: np.vstack([x, x[:, :2]]), X),
            ShapeError,
            (
                r"np\.vstack: concat: shapes differ off axis 0: \(3, 4\) and "
                r"\(3, 2\)"
            ),
        ),
    ),
    *cases(
        "np.hstack",
        lambda: on(lambda x: np.hstack([x, x]), X),
        (
            lambda: on(lambda x: np.hstack([x, x[:2]]), X),
            ShapeError,
            (
                r"np\.hstack: concat: shapes differ off axis 1: \(3, 4\) and "
                r"\(2, 4\)"
            ),
        ),
    ),
    *cases(
        "np.column_stack",
        lambda: on(lambda x: np.column_stack([x, x]), X),
        (
            lambda: on(lambda x: np.column_stack([x, np.ones(2)]), X),
            ShapeError,
            (
                r"np\.column_stack: concat: shapes differ off axis 1: \(3, 4\) "
                r"and \(2, 1\)"
            ),
        ),
    ),
    *cases(
        "np.split",
        lambda: on(lambda x: np.split(x, 3)[0], X),
        (
            lambda: on(lambda x: np.split(x, 2), X),
            ValueError,
            r"np\.split: 3 is no multiple of 2",
        ),
        (
            lambda: on(lambda x: np.split(x, 0), X),
            ValueError,
            (
                r"np\.split: indices_or_sections: got 0, expected a whole "
                "number of at least 1"
            ),
        ),
        (
            lambda: on(lambda x: np.split(x, 3, axis=2), X),
            AxisError,
            r"np\.split: axis 2 is out of bounds for array of dimension 2",
        ),
        (
            lambda: on(lambda x: np.split(x, 1.5), X),
            ValueError,
            (
                r"np\.split: indices_or_sections: got 1\.5, expected a whole "
                "number of at least 1"
            ),
        ),
    ),
    *cases(
        "np.array_split",
        lambda: on(lambda x: np.array_split(x, 2)[0], X),
        (
            lambda: on(lambda x: np.array_split(x, 0), X),
            ValueError,
            (
                r"np\.array_split: indices_or_sections: got 0, expected a whole "
                "number of at least 1"
            ),
        ),
        (
            lambda: on(lambda x: np.array_split(x, -1), X),
            ValueError,
            (
                r"np\.array_split: indices_or_sections: got -1, expected a "
                "whole number of at least 1"
            ),
        ),
        (
            lambda: on(lambda x: np.array_split(x, ["a"]), X),
            ValueError,
            r"np\.array_split: invalid literal for int\(\) with base 10: 'a'",
        ),
    ),
    *cases(
        "np.flip",
        lambda: on(np.flip, X),
        (
            lambda: on(lambda x: np.flip(x, 2), X),
            AxisError,
            r"np\.flip: axis 2 is out of bounds for array of dimension 2",
        ),
    ),
    *cases(
        "np.roll",
        lambda: on(lambda x: np.roll(x, 1), X),
        (
            lambda: on(lambda x: np.roll(x, 1.5), X),
            TypeError,
            r"np\.roll: 'float' object cannot be interpreted as an integer",
        ),
        (
            lambda: on(lambda x: np.roll(x, 1, axis=2), X),
            AxisError,
            r"np\.roll: axis 2 is out of bounds for array of dimension 2",
        ),
        (
            lambda: on(lambda x: np.roll(x, (1, 2, 3), axis=(0, 1)), X),
            ValueError,
            (
                r"np\.roll: shape mismatch: objects cannot be broadcast to a "
                r"single shape\. Mismatch is between arg 0 with shape \(3,\) "
                r"and arg 1 with shape \(2,\)\."
            ),
        ),
    ),
    *cases(
        "np.repeat",
        lambda: on(lambda x: np.repeat(x, 2), X),
        (
            lambda: on(lambda x: np.repeat(x, -1), X),
            ValueError,
            (
                r"np\.repeat: repeats: got -1, expected a whole number of at "
                "least 0"
            ),
        ),
        (
            lambda: on(lambda x: np.repeat(x, [1, 2], axis=0), X),
            ValueError,
            (
                r"np\.repeat: operands could not be broadcast together with "
                r"shape \(3,\) \(2,\)"
            ),
        ),
        (
            lambda: on(lambda x: np.repeat(x, 2, axis=2), X),
            AxisError,
            r"np\.repeat: axis 2 is out of bounds for array of dimension 2",
        ),
    ),
    *cases(
        "np.tile",
        lambda: on(lambda x: np.tile(x, 2), X),
        (
            lambda: on(lambda x: np.tile(x, -1), X),
            ValueError,
            r"np\.tile: reps: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: on(lambda x: np.tile(x, 1.5), X),
            ValueError,
            (
                r"np\.tile: reps: got 1\.5, expected a whole number of at least "
                "0"
            ),
        ),
        (
            lambda: on(lambda x: np.tile(x, "2"), X),
            TypeError,
            r"np\.tile: reps: got '2', expected a whole number of at least 0",
        ),
    ),
    *cases(
        "np.pad",
        lambda: on(lambda x: np.pad(x, 1), X),
        (
            lambda: on(lambda x: np.pad(x, -1), X),
            ValueError,
            (
                r"np\.pad: pad_width: got -1, expected a whole number of at "
                "least 0"
            ),
        ),
        (
            lambda: on(lambda x: np.pad(x, 1, mode="mirror"), X),
            TypeError,
            (
                r"np\.pad: mode: got 'mirror', expected one of \['constant', "
                r"'edge', 'reflect', 'symmetric', 'wrap'\]"
            ),
        ),
        (
            lambda: on(lambda x: np.pad(x, (1, 2, 3)), X),
            ValueError,
            (
                r"np\.pad: operands could not be broadcast together with "
                r"remapped shapes \[original->remapped\]: \(3,\) and requested "
                r"shape \(2,2\)"
            ),
        ),
        (
            lambda: on(lambda x: np.pad(x, 1.5), X),
            ValueError,
            (
                r"np\.pad: pad_width: got 1\.5, expected a whole number of at "
                "least 0"
            ),
        ),
    ),
    *cases(
        "np.diff",
        lambda: on(np.diff, X),
        (
            lambda: on(lambda x: np.diff(x, n=-1), X),
            ValueError,
            r"np\.diff: n: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: on(lambda x: np.diff(x, axis=2), X),
            AxisError,
            r"np\.diff: axis 2 is out of bounds for array of dimension 2",
        ),
        (
            lambda: on(lambda x: np.diff(x, n=1.5), X),
            ValueError,
            r"np\.diff: n: got 1\.5, expected a whole number of at least 0",
        ),
        (
            lambda: on(lambda x: np.diff(x, prepend=0), X),
            TypeError,
            r"np\.diff\(\) got an unexpected keyword argument 'prepend'",
        ),
    ),
    *cases(
        "np.take",
        lambda: on(lambda x: np.take(x, 0), X),
        (
            lambda: on(lambda x: np.take(x, 99), X),
            IndexError,
            r"np\.take: index 99 is out of bounds for axis 0 with size 12",
        ),
        (
            lambda: on(lambda x: np.take(x, 0.5), X),
            IndexError,
            r"np\.take: index: ndarray cannot be an index: array\(0\.5\)",
        ),
        (
            lambda: on(lambda x: np.take(x, 0, axis=2), X),
            AxisError,
            r"np\.take: axis 2 is out of bounds for array of dimension 2",
        ),
        (
            lambda: on(lambda x: np.take(x, 0, mode="wrap"), X),
            TypeError,
            r"np\.take\(\) got an unexpected keyword argument 'mode'",
        ),
        (
            lambda: on(lambda x, i: np.take(x, i), X, np.int32(99)),
            IndexError,
            r"take: index out of range: got 99, expected 0 \.\. 11",
        ),
    ),
    *cases(
        "np.diagonal",
        lambda: on(np.diagonal, X),
        (
            lambda: on(lambda x: np.diagonal(x[0]), X),
            AxisError,
            r"np\.diagonal: axis 1 is out of bounds for array of dimension 1",
        ),
        (
            lambda: on(lambda x: np.diagonal(x, axis1=0, axis2=0), X),
            ValueError,
            r"np\.diagonal: axis: got \(0, 0\), expected each axis once",
        ),
    ),
    *cases(
        "np.diag",
        lambda: on(np.diag, X),
        (
            lambda: on(lambda x: np.diag(x[None]), X),
            ValueError,
            r"np\.diag: v: got shape \(1, 3, 4\), expected one axis or two",
        ),
        (
            lambda: on(lambda x: np.diag(x[0, 0]), X),
            ValueError,
            r"np\.diag: v: got shape \(\), expected one axis or two",
        ),
        (
            lambda: on(lambda x: np.diag(x, 1.5), X),
            ValueError,
            r"np\.diag: k: got 1\.5, expected a whole number",
        ),
    ),
    *cases(
        "np.trace",
        lambda: on(np.trace, X),
        (
            lambda: on(lambda x: np.trace(x, axis1=2), X),
            AxisError,
            r"np\.trace: axis 2 is out of bounds for array of dimension 2",
        ),
    ),
    *cases(
        "np.tril",
        lambda: on(np.tril, X),
        (
            lambda: on(lambda x: np.tril(x[0]), X),
            ValueError,
            r"np\.tril: m: got shape \(4,\), expected at least two axes",
        ),
        (
            lambda: on(lambda x: np.tril(x, "k"), X),
            TypeError,
            r"np\.tril: k: got 'k', expected a whole number",
        ),
    ),
    *cases(
        "np.triu",
        lambda: on(np.triu, X),
        (
            lambda: on(lambda x: np.triu(x[0, 0]), X),
            ValueError,
            r"np\.triu: m: got shape \(\), expected at least two axes",
        ),
    ),
    *cases(
        "np.zeros_like",
        lambda: on(np.zeros_like, X),
        (
            lambda: on(lambda x: np.zeros_like(x, dtype="complex64"), X),
            TypeError,
            (
                r"np\.zeros_like: dtype complex64 is not supported: float32, "
                "float64, int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: on(lambda x: np.zeros_like(x, shape=(-1,)), X),
            ValueError,
            (
                r"np\.zeros_like: full: shape: got \(-1,\), expected no "
                "negative size"
            ),
        ),
    ),
    *cases(
        "np.ones_like",
        lambda: on(np.ones_like, X),
        (
            lambda: on(lambda x: np.ones_like(x, order="F"), X),
            TypeError,
            r"np\.ones_like\(\) got an unexpected keyword argument 'order'",
        ),
    ),
    *cases(
        "np.full_like",
        lambda: on(lambda x: np.full_like(x, 2), X),
        (
            lambda: on(lambda x: np.full_like(x, np.ones(5)), X),
            ShapeError,
            r"np\.full_like: broadcast: \(5,\) into \(3, 4\)",
        ),
        (
            lambda: on(lambda x: np.full_like(x, "text"), X),
            TypeError,
            (
                r"np\.full_like: dtype <U4 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
    ),
]
