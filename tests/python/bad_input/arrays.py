"""Wrong calls: traced arrays, products, linear algebra."""

from __future__ import annotations

import numpy as np
from numpy.exceptions import AxisError
from numpy.linalg import LinAlgError

import ebmlib as ebm
from ebmlib.errors import ShapeError
from tests.python.bad_input.case import cases

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)

A = np.eye(3) + 0.1

INTEGERS = np.arange(3)

KEPT = []

ebm.jit(lambda x: KEPT.append(x) or x)(X)


def on(function, *arrays):
    """The function of traced arrays."""
    return ebm.jit(function)(*arrays)


CASES = [
    *cases(
        "np.matmul",
        lambda: on(np.matmul, A, A),
        (
            lambda: on(lambda x: x @ x, X),
            ShapeError,
            r"matmul: inner sizes differ: \(3, 4\) @ \(3, 4\)",
        ),
        (
            lambda: on(lambda x: x @ 2.0, X),
            ValueError,
            r"matmul: a number cannot be an operand: use \*",
        ),
        (
            lambda: on(lambda x: "text" @ x, X),
            TypeError,
            (
                r"np\.matmul: dtype <U4 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
    ),
    *cases(
        "np.dot",
        lambda: on(lambda x: np.dot(x, x.T), X),
        (
            lambda: on(lambda x: np.dot(x, x), X),
            ValueError,
            (
                r"np\.dot: tensordot: the shapes \(3, 4\) and \(3, 4\) do not "
                r"fit along \(-1, 0\)"
            ),
        ),
    ),
    *cases(
        "np.inner",
        lambda: on(np.inner, X, X),
        (
            lambda: on(lambda x: np.inner(x, x.T), X),
            ValueError,
            (
                r"np\.inner: tensordot: the shapes \(3, 4\) and \(4, 3\) do not "
                r"fit along \(-1, -1\)"
            ),
        ),
    ),
    *cases(
        "np.vdot",
        lambda: on(np.vdot, X, X),
        (
            lambda: on(lambda x: np.vdot(x, x[0]), X),
            ValueError,
            (
                r"np\.vdot: tensordot: the shapes \(12,\) and \(4,\) do not fit "
                r"along \(-1, 0\)"
            ),
        ),
    ),
    *cases(
        "np.tensordot",
        lambda: on(lambda x: np.tensordot(x, x, 2), X),
        (
            lambda: on(lambda x: np.tensordot(x, x, 1), X),
            ValueError,
            (
                r"tensordot: the shapes \(3, 4\) and \(3, 4\) do not fit along "
                r"\(range\(1, 2\), range\(0, 1\)\)"
            ),
        ),
        (
            lambda: on(lambda x: np.tensordot(x, x, 3), X),
            ValueError,
            r"np\.tensordot: axis: got \(-1, 0, 1\), expected each axis once",
        ),
        (
            lambda: on(lambda x: np.tensordot(x, x, ((0, 0), (0, 1))), X),
            ValueError,
            r"np\.tensordot: axis: got \(0, 0\), expected each axis once",
        ),
        (
            lambda: on(lambda x: np.tensordot(x, x, ((0,), (0, 1))), X),
            ValueError,
            (
                r"tensordot: the shapes \(3, 4\) and \(3, 4\) do not fit along "
                r"\(\(0,\), \(0, 1\)\)"
            ),
        ),
        (
            lambda: on(lambda x: np.tensordot(x, x, "ij"), X),
            TypeError,
            (
                r"np\.tensordot: axis: got \('i',\), expected an int or a tuple "
                "of ints"
            ),
        ),
    ),
    *cases(
        "np.einsum",
        lambda: on(lambda x: np.einsum("ij,ij->i", x, x), X),
        (
            lambda: on(lambda x: np.einsum("ij", x, x), X),
            ValueError,
            "einsum: 'ij' has 1 terms for 2 operands",
        ),
        (
            lambda: on(lambda x: np.einsum("ijk", x), X),
            ValueError,
            "einsum: 'ijk' does not fit an operand with 2 axes",
        ),
        (
            lambda: on(lambda x: np.einsum("ii", x), X),
            ValueError,
            "einsum: label 'i' has the sizes 3 and 4",
        ),
        (
            lambda: on(lambda x: np.einsum("ij->k", x), X),
            ValueError,
            "einsum: label 'k' of the result is in no operand",
        ),
        (
            lambda: on(lambda x: np.einsum("ij->ii", x), X),
            ValueError,
            "einsum: label 'i' is twice in the result",
        ),
        (
            lambda: on(lambda x: np.einsum("ij,ij", x, x.T), X),
            ValueError,
            "einsum: label 'i' has the sizes 3 and 4",
        ),
        (
            lambda: on(lambda x: np.einsum("i?,j", x, x[0]), X),
            ValueError,
            r"einsum: 'i\?,j': got '\?', expected letters, '\.\.\.' and '->'",
        ),
        (
            lambda: on(lambda x: np.einsum("i..j", x), X),
            ValueError,
            (
                r"einsum: 'i\.\.j': got '\.', expected letters, '\.\.\.' and "
                "'->'"
            ),
        ),
        (
            lambda: on(lambda x: np.einsum(x, [0, 1]), X),
            TypeError,
            r"np\.einsum: subscripts: got an array, expected a string",
        ),
        (
            lambda: on(lambda x: np.einsum("...ij->ij", x[None]), X),
            ValueError,
            (
                r"einsum: '\.\.\.ij->ij' has '\.\.\.' in an operand, but not in "
                "the result"
            ),
        ),
        (
            lambda: on(lambda x: np.einsum("ij->j->i", x), X),
            ValueError,
            (
                r"einsum: 'ij->j->i': got '-', expected letters, '\.\.\.' and "
                "'->'"
            ),
        ),
        (
            lambda: on(lambda x: np.einsum(""), X),
            ValueError,
            ("must specify the einstein sum subscripts string and at least one operand"),
        ),
        (
            lambda: on(lambda x: np.einsum("", x), X),
            ValueError,
            "einsum: '' does not fit an operand with 2 axes",
        ),
    ),
    *cases(
        "np.linalg.norm",
        lambda: on(np.linalg.norm, X),
        (
            lambda: on(lambda x: np.linalg.norm(x, ord=3), X),
            TypeError,
            (
                r"np\.linalg\.norm: ord: got 3 for 2 axes, expected None, "
                "'fro', 1, -1, inf or -inf"
            ),
        ),
        (
            lambda: on(lambda x: np.linalg.norm(x, ord="nuc"), X),
            TypeError,
            (
                r"np\.linalg\.norm: ord: got 'nuc' for 2 axes, expected None, "
                "'fro', 1, -1, inf or -inf"
            ),
        ),
        (
            lambda: on(lambda x: np.linalg.norm(x, axis=2), X),
            AxisError,
            (
                r"np\.linalg\.norm: axis 2 is out of bounds for array of "
                "dimension 2"
            ),
        ),
    ),
    *cases(
        "np.linalg.solve",
        lambda: on(np.linalg.solve, A, INTEGERS),
        (
            lambda: on(lambda x: np.linalg.solve(x, x), X),
            LinAlgError,
            r"solve: got shape \(3, 4\), expected \(\.\.\., n, n\)",
        ),
        (
            lambda: on(lambda x: np.linalg.solve(x, np.ones(4)), A),
            ValueError,
            (
                r"solve: got shapes \(3, 3\) and \(4,\), expected \(\.\.\., n, "
                r"n\) and \(\.\.\., n, m\) or \(n,\)"
            ),
        ),
    ),
    *cases(
        "np.linalg.inv",
        lambda: on(np.linalg.inv, A),
        (
            lambda: on(np.linalg.inv, X),
            LinAlgError,
            r"inv: got shape \(3, 4\), expected \(\.\.\., n, n\)",
        ),
        (
            lambda: on(np.linalg.inv, INTEGERS),
            LinAlgError,
            r"inv: got shape \(3,\), expected \(\.\.\., n, n\)",
        ),
    ),
    *cases(
        "np.linalg.cholesky",
        lambda: on(np.linalg.cholesky, A),
        (
            lambda: on(np.linalg.cholesky, X),
            LinAlgError,
            r"cholesky: got shape \(3, 4\), expected \(\.\.\., n, n\)",
        ),
    ),
    *cases(
        "np.linalg.slogdet",
        lambda: on(np.linalg.slogdet, A),
        (
            lambda: on(np.linalg.slogdet, X),
            LinAlgError,
            r"slogdet: got shape \(3, 4\), expected \(\.\.\., n, n\)",
        ),
    ),
    *cases(
        "np.linalg.det",
        lambda: on(np.linalg.det, A),
        (
            lambda: on(np.linalg.det, X),
            LinAlgError,
            r"det: got shape \(3, 4\), expected \(\.\.\., n, n\)",
        ),
    ),
    *cases(
        "np.linalg.eigh",
        lambda: on(np.linalg.eigh, A),
        (
            lambda: on(np.linalg.eigh, X),
            LinAlgError,
            r"eigh: got shape \(3, 4\), expected \(\.\.\., n, n\)",
        ),
        (
            lambda: on(lambda x: np.linalg.eigh(x, UPLO="X"), A),
            ValueError,
            "eigh: UPLO: got 'X', expected 'L' or 'U'",
        ),
        (
            lambda: on(lambda x: np.linalg.eigh(x, UPLO=1), A),
            ValueError,
            "eigh: UPLO: got 1, expected 'L' or 'U'",
        ),
    ),
    *cases(
        "np.linalg.eigvalsh",
        lambda: on(np.linalg.eigvalsh, A),
        (
            lambda: on(np.linalg.eigvalsh, X),
            LinAlgError,
            (
                r"np\.linalg\.eigvalsh: eigh: got shape \(3, 4\), expected "
                r"\(\.\.\., n, n\)"
            ),
        ),
    ),
    *cases(
        "np.linalg.matrix_power",
        lambda: on(lambda x: np.linalg.matrix_power(x, 2), A),
        (
            lambda: on(lambda x: np.linalg.matrix_power(x, 2), X),
            LinAlgError,
            r"matrix_power: got shape \(3, 4\), expected \(\.\.\., n, n\)",
        ),
        (
            lambda: on(lambda x: np.linalg.matrix_power(x, 0.5), A),
            TypeError,
            r"matrix_power: exponent: got 0\.5, expected an int",
        ),
    ),
    *cases(
        "np.linalg.multi_dot",
        lambda: on(lambda x: np.linalg.multi_dot([x, x]), A),
        (
            lambda: on(lambda x: np.linalg.multi_dot([x]), A),
            ValueError,
            "multi_dot: got 1 arrays, expected two or more",
        ),
        (
            lambda: on(lambda x: np.linalg.multi_dot([x, x, x[None]]), A),
            LinAlgError,
            ("multi_dot: all arrays but the first and the last must be matrices"),
        ),
        (
            lambda: on(lambda x: np.linalg.multi_dot([x, np.ones((2, 2))]), A),
            ShapeError,
            (
                r"np\.linalg\.multi_dot: matmul: inner sizes differ: \(3, 3\) @ "
                r"\(2, 2\)"
            ),
        ),
    ),
    *cases(
        "np.linalg.diagonal",
        lambda: on(np.linalg.diagonal, A),
        (
            lambda: on(np.linalg.diagonal, INTEGERS),
            AxisError,
            (
                r"np\.linalg\.diagonal: axis -2 is out of bounds for array of "
                "dimension 1"
            ),
        ),
    ),
    *cases(
        "np.linalg.matrix_transpose",
        lambda: on(np.linalg.matrix_transpose, A),
        (
            lambda: on(np.linalg.matrix_transpose, INTEGERS),
            AxisError,
            (
                r"np\.linalg\.matrix_transpose: axis -2 is out of bounds for "
                "array of dimension 1"
            ),
        ),
    ),
    *cases(
        "np.linalg.svd",
        lambda: on(np.sin, X),
        (
            lambda: on(lambda x: np.linalg.svd(x), X),
            TypeError,
            (
                r"np\.linalg\.svd cannot be traced: near names that work: "
                r"np\.linalg\.solve, np\.linalg\.inv, np\.linalg\.det, "
                r"np\.linalg\.slogdet; see ebmlib\.supported_functions\(\) for "
                "all, or compute it outside of the function"
            ),
        ),
        (
            lambda: on(lambda x: np.fft.fft(x), X),
            TypeError,
            (
                r"np\.fft\.fft cannot be traced: complex numbers are not "
                "supported: compute it outside of the function"
            ),
        ),
    ),
    *cases(
        "TracedArray.astype",
        lambda: on(lambda x: x.astype("float32"), X),
        (
            lambda: on(lambda x: x.astype("complex64"), X),
            TypeError,
            (
                "astype: dtype complex64 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: on(lambda x: x.astype("word"), X),
            TypeError,
            "astype: data type 'word' not understood",
        ),
        (
            lambda: on(lambda x: x.astype(None), X),
            TypeError,
            "astype: a dtype is expected, got None",
        ),
    ),
    *cases(
        "TracedArray.reshape",
        lambda: on(lambda x: x.reshape(4, 3), X),
        (
            lambda: on(lambda x: x.reshape(), X),
            ShapeError,
            r"reshape: sizes differ: \(3, 4\) into \(\)",
        ),
        (
            lambda: on(lambda x: x.reshape(4, "3"), X),
            TypeError,
            r"np\.reshape: 'str' object cannot be interpreted as an integer",
        ),
    ),
    *cases(
        "TracedArray.transpose",
        lambda: on(lambda x: x.T, X),
        (
            lambda: on(lambda x: x.transpose(1, 1), X),
            ValueError,
            r"np\.transpose: axis: got \(1, 1\), expected each axis once",
        ),
    ),
    *cases(
        "TracedArray.item",
        lambda: on(lambda x: x[0], X),
        (
            lambda: on(lambda x: x.item(), X),
            TypeError,
            (
                r"\.item\(\) of a traced array: while a function is traced, "
                r"arrays have a shape and a dtype but no values: use np\.where "
                r"instead of if, ebm\.repeat instead of a loop that ends by a "
                "value, or compute this outside of the function"
            ),
        ),
    ),
    *cases(
        "TracedArray.tolist",
        lambda: on(lambda x: x[0], X),
        (
            lambda: on(lambda x: x.tolist(), X),
            TypeError,
            (
                r"\.tolist\(\) of a traced array: while a function is traced, "
                r"arrays have a shape and a dtype but no values: use np\.where "
                r"instead of if, ebm\.repeat instead of a loop that ends by a "
                "value, or compute this outside of the function"
            ),
        ),
    ),
    *cases(
        "TracedArray.sort",
        lambda: on(lambda x: np.sort(x), X),
        (
            lambda: on(lambda x: x.sort(), X),
            TypeError,
            (
                r"x\.sort\(\) of a traced array: it sorts in place, and traced "
                r"arrays cannot be written into: use np\.sort\(x\)"
            ),
        ),
    ),
    *cases(
        "TracedArray.conj",
        lambda: on(lambda x: x.conj(), X),
        (
            lambda: on(lambda x: x.conj(1), X),
            TypeError,
            (
                r"np\.conjugate: _unary\.<locals>\.method\(\) takes 1 "
                "positional argument but 2 were given"
            ),
        ),
    ),
    *cases(
        "TracedArray.flatten",
        lambda: on(lambda x: x.flatten(), X),
        (
            lambda: on(lambda x: x.flatten("F"), X),
            TypeError,
            (
                r"np\.ravel: np\.reshape of a traced array: order must be 'C', "
                "got 'F'"
            ),
        ),
    ),
    *cases(
        "TracedArray.copy",
        lambda: on(lambda x: x.copy(), X),
        (
            lambda: on(lambda x: x.copy("K", 1), X),
            TypeError,
            (
                r"TracedArray\.copy\(\) takes from 1 to 2 positional arguments but 3 "
                "were given"
            ),
        ),
    ),
    *cases(
        "TracedArray.__getitem__",
        lambda: on(lambda x: x[0, 1:], X),
        (
            lambda: on(lambda x: x[5], X),
            IndexError,
            "index 5 is out of bounds for axis 0 with size 3",
        ),
        (
            lambda: on(lambda x: x[0, 0, 0], X),
            IndexError,
            "index: too many indices: 3 for an array with 2 axes",
        ),
        (lambda: on(lambda x: x["a"], X), IndexError, "index: str cannot be an index: 'a'"),
        (lambda: on(lambda x: x[1.5], X), IndexError, r"index: float cannot be an index: 1\.5"),
        (
            lambda: on(lambda x: x[x > 0], X),
            TypeError,
            (
                "index: a traced mask as an index: the result's size would "
                r"depend on values: use np\.where\(mask, x, other\), or "
                r"x\.at\[mask\]\.set\(v\)"
            ),
        ),
        (
            lambda: on(lambda x: x[x], X),
            IndexError,
            "index: arrays used as indices must be of integers, got float64",
        ),
        (
            lambda: on(lambda x: x[..., ...], X),
            IndexError,
            r"index: an index can have only one '\.\.\.'",
        ),
        (
            lambda: on(lambda x: x[np.zeros((2, 2), bool)], X),
            IndexError,
            r"index: mask: got shape \(2, 2\), expected \(3, 4\)",
        ),
        (
            lambda: on(lambda x: x[np.array([9])], X),
            IndexError,
            "index 9 is out of bounds for axis 0 with size 3",
        ),
        (
            lambda: on(lambda x: x[np.array([0.5])], X),
            IndexError,
            "index: arrays used as indices must be of integers, got float64",
        ),
        (lambda: on(lambda x: x[::0], X), ValueError, "index: slice step cannot be zero"),
        (
            lambda: on(lambda x: x["a":], X),
            TypeError,
            ("index: slice indices must be integers or None or have an __index__ method"),
        ),
        (
            lambda: on(lambda x: x[[0, 1], [0, 1, 2]], X),
            ValueError,
            (
                "index: operands could not be broadcast together with shapes "
                r"\(2,\) \(3,\)"
            ),
        ),
        (
            lambda: on(lambda x, i: x[i], X, np.int32(9)),
            IndexError,
            r"take: index out of range: got 9, expected 0 \.\. 2",
        ),
        (
            lambda: on(lambda x: x[2**70], X),
            IndexError,
            ("index 1180591620717411303424 is out of bounds for axis 0 with size 3"),
        ),
        (
            lambda: on(lambda x: x[(None,) * 7], X),
            ValueError,
            "index: reshape: got 9 axes, expected at most 8",
        ),
    ),
    *cases(
        "TracedArray.__setitem__",
        lambda: on(lambda x: x + 1, X),
        (
            lambda: on(lambda x: x.__setitem__(0, 1.0), X),
            TypeError,
            (
                "traced arrays cannot be written into: use x = "
                r"x\.at\[index\]\.set\(v\) \(or \.add, \.multiply, \.min, "
                r"\.max\), or np\.where\(mask, v, x\)"
            ),
        ),
    ),
    *cases(
        "TracedArray.__bool__",
        lambda: on(lambda x: x > 0, X),
        (
            lambda: on(lambda x: bool(x), X),
            TypeError,
            (
                "the truth value of a traced array: while a function is "
                "traced, arrays have a shape and a dtype but no values: use "
                r"np\.where instead of if, ebm\.repeat instead of a loop that "
                "ends by a value, or compute this outside of the function"
            ),
        ),
        (
            lambda: on(lambda x: 3 in x, X),
            TypeError,
            (
                "the truth value of a traced array: while a function is "
                "traced, arrays have a shape and a dtype but no values: use "
                r"np\.where instead of if, ebm\.repeat instead of a loop that "
                "ends by a value, or compute this outside of the function"
            ),
        ),
        (
            lambda: on(lambda x: 0 < x < 1, X),
            TypeError,
            (
                "the truth value of a traced array: while a function is "
                "traced, arrays have a shape and a dtype but no values: use "
                r"np\.where instead of if, ebm\.repeat instead of a loop that "
                "ends by a value, or compute this outside of the function"
            ),
        ),
    ),
    *cases(
        "TracedArray.__float__",
        lambda: on(lambda x: x[0, 0], X),
        (
            lambda: on(lambda x: float(x[0, 0]), X),
            TypeError,
            (
                r"float\(\) of a traced array: while a function is traced, "
                r"arrays have a shape and a dtype but no values: use np\.where "
                r"instead of if, ebm\.repeat instead of a loop that ends by a "
                "value, or compute this outside of the function"
            ),
        ),
        (
            lambda: on(lambda x: complex(x[0, 0]), X),
            TypeError,
            (
                r"complex\(\) of a traced array: while a function is traced, "
                r"arrays have a shape and a dtype but no values: use np\.where "
                r"instead of if, ebm\.repeat instead of a loop that ends by a "
                "value, or compute this outside of the function"
            ),
        ),
    ),
    *cases(
        "TracedArray.__int__",
        lambda: on(lambda x: x[0, 0], X),
        (
            lambda: on(lambda x: int(x[0, 0]), X),
            TypeError,
            (
                r"int\(\) of a traced array: while a function is traced, arrays "
                r"have a shape and a dtype but no values: use np\.where instead "
                r"of if, ebm\.repeat instead of a loop that ends by a value, or "
                "compute this outside of the function"
            ),
        ),
        (
            lambda: on(lambda x: range(x), 1),
            TypeError,
            (
                "an index or a size of a traced array: while a function is "
                "traced, arrays have a shape and a dtype but no values: use "
                r"np\.where instead of if, ebm\.repeat instead of a loop that "
                "ends by a value, or compute this outside of the function"
            ),
        ),
    ),
    *cases(
        "TracedArray.__array__",
        lambda: on(lambda x: np.stack([x, x]), X),
        (
            lambda: on(lambda x: np.asarray(x), X),
            TypeError,
            (
                r"np\.array or np\.asarray of a traced array \(use np\.stack to "
                r"join several\): while a function is traced, arrays have a "
                r"shape and a dtype but no values: use np\.where instead of if, "
                r"ebm\.repeat instead of a loop that ends by a value, or "
                "compute this outside of the function"
            ),
        ),
        (
            lambda: on(lambda x: np.array([x[0], x[1]]), X),
            TypeError,
            (
                r"np\.array or np\.asarray of a traced array \(use np\.stack to "
                r"join several\): while a function is traced, arrays have a "
                r"shape and a dtype but no values: use np\.where instead of if, "
                r"ebm\.repeat instead of a loop that ends by a value, or "
                "compute this outside of the function"
            ),
        ),
    ),
    *cases(
        "TracedArray.__len__",
        lambda: on(lambda x: x * len(x), X),
        (lambda: on(lambda x: len(x[0, 0]), X), TypeError, r"len\(\) of an array without axes"),
    ),
    *cases(
        "TracedArray.__iter__",
        lambda: on(lambda x: sum(x), X),
        (
            lambda: on(lambda x: sum(x[0, 0]), X),
            TypeError,
            "iteration over an array without axes",
        ),
    ),
    *cases(
        "TracedArray.__iadd__",
        lambda: on(lambda x: x + 1, X),
        (
            lambda: on(lambda x: np.ones((3, 4)).__iadd__(x), X),
            TypeError,
            (
                r"np\.add: a traced array cannot be written into another array "
                r"\(out=, or an in-place operator such as \+=\): write a = a \+ "
                "b"
            ),
        ),
    ),
    *cases(
        "TracedArray.__hash__",
        lambda: on(lambda x: x + 1, X),
        (lambda: on(lambda x: {x: 1}, X), TypeError, "unhashable type: 'TracedArray'"),
    ),
    *cases(
        "TracedArray.mT",
        lambda: on(lambda x: x.mT, X),
        (
            lambda: on(lambda x: x[0].mT, X),
            AxisError,
            "mT: axis -2 is out of bounds for array of dimension 1",
        ),
    ),
]
