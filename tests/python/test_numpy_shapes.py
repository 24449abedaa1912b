"""Moving, joining, cutting, filling; constants; products: beyond what test_numpy_functions.py
has.
"""

import numpy as np
import pytest

import ebmlib as ebm
from tests.python.numpy_check import FLOATS, check, check_derivatives, in_dtype, row

rng = np.random.default_rng(0)
A = rng.standard_normal((3, 4))
B = rng.standard_normal((3, 4))
ROW = rng.standard_normal(4)
LINE = rng.standard_normal(7)
THREE = rng.standard_normal(3)
CUBE = rng.standard_normal((2, 3, 4))
SQUARE = rng.standard_normal((4, 4))
INT = rng.integers(-9, 10, (3, 4)).astype(np.int32)
BYTES = rng.integers(0, 256, (3, 4)).astype(np.uint8)
BOOL = A > 0
MODES = ("edge", "reflect", "symmetric", "wrap")

ROWS = [
    # moving
    row(lambda x: [np.atleast_2d(x), np.atleast_3d(x), np.atleast_2d(x[0])], A),
    row(lambda x, y: np.atleast_2d(x, y), A, ROW),
    row(lambda x: [np.atleast_3d(x[0]), np.atleast_3d(x[0, 0]), np.atleast_1d(x[0, 0])], A),
    row(lambda x: [np.fliplr(x), np.flipud(x)], A),
    row(lambda x: [np.rot90(x, k) for k in range(-1, 5)], A),
    row(lambda x: [np.rot90(x, 1, (1, 2)), np.rot90(x, 3, (2, 0))], CUBE),
    row(lambda x: [np.rollaxis(x, 2), np.rollaxis(x, 0, 3), np.rollaxis(x, 1, -1)], CUBE),
    row(lambda x: [np.permute_dims(x, (1, 0)), np.matrix_transpose(x)], A),
    # joining, cutting
    row(lambda x, y: np.dstack([x, y, x[:, :, None]]), A, B),
    row(lambda x: np.dstack([x, x]), ROW),
    row(lambda x: np.hsplit(x, 2) + np.vsplit(x, 3) + np.hsplit(x[0], [1]), A),
    row(lambda x: np.dsplit(x, [1, 3]), CUBE),
    row(lambda x, y: np.block([[x, y], [2 * y, x]]), A, B),
    row(lambda x, y: np.block([x, y]), ROW, LINE),
    row(lambda x, y: np.block([[np.ones((1, 4)), y[:1]], [x, x]]), A, B),
    row(lambda x, y: [np.append(x, y), np.append(x, y, axis=1)], A, B),
    row(lambda x: [np.insert(x, 1, 7.0), np.insert(x, [0, 2], 7.0)], ROW),
    row(lambda x: np.insert(x, 2, x[:2]), ROW),
    row(lambda x, y: [np.insert(x, 1, y, axis=0), np.insert(x, [1, 3], y, 0)], A, ROW),
    row(lambda x, y: np.insert(x, 1, y, axis=1), A, THREE),
    row(lambda x: [np.delete(x, 1), np.delete(x, [0, -1]), np.delete(x, slice(1, 3))], ROW),
    row(lambda x: [np.delete(x, 1, 0), np.delete(x, [0, 2], axis=1), np.delete(x, 5)], A),
    row(lambda x: [np.repeat(x, [1, 0, 2], axis=0), np.repeat(x, [2], 1), x.repeat(2, 0)], A),
    row(lambda x: np.array_split(x, 5), LINE),
    row(lambda x: np.array_split(x, [2, 2, 9]), LINE),
    # filling
    *[row(lambda x, m=m: np.pad(x, ((1, 2), (0, 3)), m), A, name=f"pad {m}") for m in MODES],
    row(lambda x: np.pad(x, 2, constant_values=1.5), A),
    row(lambda x, y: np.pad(x, (1, 0), constant_values=y[0]), A, ROW),
    row(lambda x: np.pad(x, ((1, 0), (0, 1))), INT),
    row(lambda x: [np.diagflat(x), np.diagflat(x[:2], -1)], ROW),
    row(lambda x: [np.diagonal(x, 2), np.diag(x, -5), np.trace(x, 1)], SQUARE),
    row(lambda x: [np.tril(x, -1), np.triu(x, 2)], CUBE),
    # grids and constants
    row(lambda x, y: np.meshgrid(x, y), ROW, LINE),
    row(lambda x, y: np.meshgrid(x, y, x[:2], indexing="ij"), ROW, LINE),
    row(lambda x, y: np.meshgrid(x, y, sparse=True), ROW, LINE),
    row(lambda x: np.meshgrid(x), ROW),
    row(lambda i, j, x: x[np.ix_(i, j)], np.array([0, 2]), np.array([1, 3, 0]), A),
    row(lambda x, y: np.linspace(x, y, 5), np.float64(-1.0), np.float64(2.0)),
    row(lambda x, y: np.linspace(x, y, 5, endpoint=False, axis=-1), A, B),
    row(lambda x: [np.zeros(3, like=x), np.ones((2, 2), like=x), np.eye(3, like=x)], A),
    row(lambda x: [np.arange(1, 9, 2, like=x), np.identity(2, like=x), np.tri(3, like=x)], A),
    row(lambda x: [np.full((2, 3), 2.0, like=x), np.full(2, x[0, 0], like=x)], A),
    row(lambda x: [np.asarray([1, 2.5], like=x), np.asarray(A, like=x)], A, name="asarray"),
    row(lambda x: [np.asanyarray(B, like=x), np.ascontiguousarray(B, like=x)], A),
    row(lambda x: np.empty((2, 0), like=x), A),
    row(lambda x: np.array([[1.0, 2.0], [3.0, 4.0]], like=x) * x[0, 0], A),
    row(lambda x: [np.zeros_like(x), np.ones_like(x, shape=3), np.full_like(x, 2.5)], INT),
    row(lambda x: np.astype(x, np.float64), INT),
    # products
    row(lambda x, y: [np.kron(x, y), np.kron(y, x)], A, ROW),
    row(lambda x: np.kron(x, x[:2, :2]), A),
    row(lambda x, y: np.cross(x, y), A.T.copy(), THREE),
    row(lambda x, y: np.cross(x, y, axis=0), A, B),
    row(lambda x, y: np.vecdot(x, y), A, ROW),
    row(lambda x, y: np.vecdot(x, y, axis=0), A, B),
    *[
        row(lambda x, y, f=f, m=m: [f(x, y, m), f(y, x, m), f(x, x, m)], *args, name=name)
        for f in (np.convolve, np.correlate)
        for m in ("full", "same", "valid")
        for args in ((LINE, ROW), (INT[0], INT.ravel()), (LINE, THREE))
        for name in [f"{f.__name__} {m} {args[0].dtype} {args[1].size}"]
    ],
    row(lambda x: np.einsum("ii->i", x), SQUARE),
    row(lambda x: np.einsum("ii", x) + np.einsum("ij->", x), SQUARE),
    row(lambda x, y: np.einsum("iij,j->i", x, y), CUBE[:, :2], ROW),
    row(lambda x, y: np.einsum("iii,i", x, y), CUBE[:2, :2, :2], ROW[:2]),
    row(lambda x, y: np.einsum("...ii->...i", x) * np.einsum("...i,...i", y, y), SQUARE, ROW),
    row(lambda x, y: np.einsum("ij...,jk->ik...", x, y), CUBE[0][:, :, None], SQUARE),
    row(lambda x, y: np.einsum("i...,i...", x, y), A, B),
    row(lambda x, y: np.einsum("ba,cb", x, y), A, A.T.copy()),
    row(lambda x: np.einsum("ba", x), A),
    row(lambda x, y: np.einsum("ij,kj->ijk", x, y, optimize=True), A, B),
    *[
        row(
            lambda x, y, z, o=o: np.einsum("ab,bc,cd,ad->b", x, y, z, x, optimize=o),
            A, SQUARE, SQUARE, name=f"einsum optimize={o}",
        )
        for o in (False, True, "greedy", "optimal", ["einsum_path", (1, 2), (0, 1), (0, 1)])
    ],
    row(lambda x, y: np.einsum("ij,jk,kl->il", x, y, y, optimize=True), INT, INT.T @ INT),
    row(lambda x, y: [x @ y, np.dot(x, y), np.einsum("ij,jk", x, y)], BYTES, BYTES.T.copy()),
    row(lambda x, y: [x @ y, np.inner(x, x)], BOOL, BOOL.T.copy()),
    row(lambda x: [np.linalg.norm(x, p, axis=1) for p in (1, 2, 3, 2.5, 0)], A),
    row(lambda x: [np.linalg.norm(x, p, axis=1) for p in (np.inf, -np.inf)], A),
    row(lambda x: [np.linalg.norm(x, p) for p in (1, -1, np.inf, -np.inf, "fro", None)], A),
    row(lambda x: np.linalg.norm(x, 1, axis=(0, 2), keepdims=True), CUBE),
    row(lambda x: np.linalg.norm(x, np.inf, axis=(2, 0)), CUBE),
    row(lambda x: np.linalg.norm(x), CUBE),
]  # fmt: skip
if hasattr(np, "unstack"):
    ROWS.append(row(lambda x: [*np.unstack(x), *np.unstack(x, axis=1)], A))
if hasattr(np, "matvec"):
    ROWS.append(row(lambda x, y: [np.matvec(x, y), np.vecmat(y, x)], SQUARE, ROW))
    ROWS.append(row(lambda x, y: np.matvec(x, y), CUBE, B[:2]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("function", "args", "gradient"), ROWS)
def test_row(function, args, gradient, dtype):
    check(function, in_dtype(args, dtype))


@pytest.mark.parametrize(("function", "args", "gradient"), ROWS)
def test_derivatives(function, args, gradient):
    if gradient:
        check_derivatives(function, args)


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda x: np.pad(x, 1, "mean"), TypeError, r"pad: mode: got 'mean', expected one of"),
        (lambda x: np.insert(x, x.astype(int), 1.0), TypeError, "insert: obj: got a traced"),
        (lambda x: np.delete(x, x.astype(int)), TypeError, "delete: obj: got a traced"),
        (lambda x: np.repeat(x, x.astype(int)), TypeError, "repeat: repeats: got a traced"),
        (lambda x: np.ix_(x[0] > 0), TypeError, r"ix_: got a traced mask"),
        (lambda x: np.einsum("ij->ii", x), ValueError, "'i' is twice in the result"),
        (lambda x: np.einsum("ij->k", x), ValueError, "'k' of the result is in no operand"),
        (lambda x: np.einsum("ii", x), ValueError, "'i' has the sizes 3 and 4"),
        (lambda x: np.einsum(x, [0, 1]), TypeError, "einsum: subscripts"),
        (lambda x: np.linalg.norm(x, 2), TypeError, r"norm: ord: got 2 for 2 axes"),
        (lambda x: np.linalg.norm(x, "nuc"), TypeError, "norm: ord: got 'nuc'"),
        (lambda x: np.linalg.norm(x, "nuc", 0), TypeError, "norm: ord: got 'nuc' for one axis"),
        (lambda x: np.convolve(x[0], x[0], "half"), ValueError, "convolve: mode: got 'half'"),
        (lambda x: np.meshgrid(x[0], indexing="yx"), ValueError, "meshgrid: indexing"),
        (lambda x: np.split(x, 5), ValueError, "no multiple"),
    ],
)
def test_what_does_not_work_says_so(function, error, words):
    with pytest.raises(error, match=words):
        ebm.jit(function)(A)
