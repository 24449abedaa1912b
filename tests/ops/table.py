"""A row for each op and composite: how to build it, and what NumPy or SciPy says it is.

A row is all that a new op must bring to be tested: `test_ops.py` derives from it the value in
both float types, planned and node by node, edge points, the adjoint identity, and derivatives
of orders 1 to 3 in every mode.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.special

from ebmlib import _core

OPS_DEF = Path(__file__).parents[2] / "csrc" / "graph" / "ops.def"
ops = _core.ops


@dataclass(frozen=True)
class In:
    """An input: its shape, and how its values are drawn."""

    shape: tuple[int, ...]
    low: float = -1.5
    high: float = 1.5
    dtype: str = "float"  # "float" is the type under test; else "int32", "bool", "uint8"
    away: float = 0.0  # keep |x| above this: derivatives near a kink are no derivatives

    def draw(self, rng: np.random.Generator, float_type: type) -> np.ndarray:
        if self.dtype == "bool":
            return rng.random(self.shape) < 0.5
        if self.dtype != "float":
            return rng.integers(int(self.low), int(self.high), self.shape).astype(self.dtype)
        x = rng.uniform(self.low, self.high, self.shape)
        x = np.where(np.abs(x) < self.away, np.copysign(self.away, x) + x, x)
        return x.astype(float_type)


@dataclass(frozen=True)
class Row:
    op: str  # the row of ops.def, or the composite
    build: Callable
    inputs: Sequence[In]
    ref: Callable[..., np.ndarray]
    name: str = ""
    differentiable: bool = True
    linear_in: tuple[int, ...] = ()  # inputs in which the op is linear (or multilinear)
    ulp: float = 4.0  # of the largest value of the result, for float32 and float64 alike
    edges: bool = False  # elementwise: also at 0, -0, inf, nan, huge and tiny

    @property
    def id(self) -> str:
        return f"{self.op}{'-' + self.name if self.name else ''}"


def ids_of_ops_def() -> set[str]:
    """Every op of the list."""
    text = OPS_DEF.read_text()
    rows = re.findall(r"^(?:EW1|EW2|LIN|MULTI|NON|GEN|OWN|SPECIAL)\((\w+)\s*,", text, re.M)
    return set(rows)


def shaped(*shape: int, **kwargs) -> In:
    return In(shape, **kwargs)


V = (37,)
ROWS: list[Row] = []


def row(op: str, build, inputs, ref, **kwargs) -> None:
    ROWS.append(Row(op, build, tuple(inputs), ref, **kwargs))


def elementwise(op: str, ref, *domains: In, **kwargs) -> None:
    inputs = domains or (In(V),)
    builder = getattr(ops, op)
    row(op, lambda g, *x: builder(g, *x), inputs, ref, edges=True, **kwargs)


# ---- elementwise -----------------------------------------------------------------------------
positive = In(V, 0.2, 3.0)
elementwise("neg", np.negative)
elementwise("exp", np.exp)
elementwise("log", np.log, positive)
elementwise("sqrt", np.sqrt, positive)
elementwise("sin", np.sin)
elementwise("cos", np.cos)
elementwise("tanh", np.tanh)
elementwise("sigmoid", scipy.special.expit)
elementwise("softplus", lambda x: np.logaddexp(0, x))
elementwise("erf", scipy.special.erf)
elementwise("log1p", np.log1p, In(V, -0.7, 2.0))
elementwise("expm1", np.expm1)
elementwise("abs", np.abs, In(V, away=0.1))
elementwise("square", np.square)
elementwise("recip", np.reciprocal, In(V, away=0.4))
elementwise("add", np.add, In(V), In(V))
elementwise("sub", np.subtract, In(V), In(V))
elementwise("mul", np.multiply, In(V), In(V))
elementwise("div", np.divide, In(V), In(V, away=0.4))
elementwise("maximum", np.maximum, In(V), In(V, 2.0, 3.0))
elementwise("minimum", np.minimum, In(V), In(V, 2.0, 3.0))
row("maximum", ops.maximum, (In((6, 5)), In((5,), -3.0, -2.0)), np.maximum, name="broadcast")
elementwise("pow", np.power, positive, In(V))
elementwise("atan2", np.arctan2, In(V, away=0.3), In(V, away=0.3))
elementwise("sign", np.sign, differentiable=False)
elementwise("floor", np.floor, differentiable=False)
elementwise("ceil", np.ceil, differentiable=False)
elementwise("round", np.rint, differentiable=False)
elementwise("isfinite", np.isfinite, differentiable=False)
elementwise("equal", np.equal, In(V), In(V), differentiable=False)
elementwise("less", np.less, In(V), In(V), differentiable=False)
elementwise("less_equal", np.less_equal, In(V), In(V), differentiable=False)
for op, ref in (
    ("logical_and", np.logical_and),
    ("logical_or", np.logical_or),
    ("logical_xor", np.logical_xor),
):
    row(
        op,
        getattr(ops, op),
        (In(V, dtype="bool"), In(V, dtype="bool")),
        ref,
        differentiable=False,
    )
row(
    "logical_not", ops.logical_not, (In(V, dtype="bool"),), np.logical_not, differentiable=False
)
integers = In(V, -50, 50, dtype="int32")
for op, ref in (
    ("add", np.add),
    ("sub", np.subtract),
    ("mul", np.multiply),
    ("maximum", np.maximum),
    ("minimum", np.minimum),
    ("bit_and", np.bitwise_and),
    ("equal", np.equal),
    ("less", np.less),
    ("less_equal", np.less_equal),
):
    row(op, getattr(ops, op), (integers, integers), ref, name="int32", differentiable=False)
for op, ref in (("floordiv", np.floor_divide), ("mod", np.mod)):

    def with_zero(a, b, ref=ref):
        return np.where(b == 0, 0, ref(a, np.where(b == 0, 1, b)))

    row(
        op,
        getattr(ops, op),
        (integers, In(V, -5, 6, dtype="int32")),
        with_zero,
        differentiable=False,
    )
row(
    "select",
    ops.select,
    (In(V, dtype="bool"), In(V), In(V)),
    np.where,
    linear_in=(1, 2),
)
row(
    "cast",
    lambda g, x: ops.cast(g, x, "float64"),
    (In(V),),
    lambda x: x.astype(np.float64),
    ulp=0,
)
row(
    "cast",
    lambda g, x: ops.cast(g, x, "int32"),
    (In(V, -9, 9),),
    lambda x: np.trunc(x).astype(np.int32),
    name="int32",
    differentiable=False,
)

# ---- reductions ------------------------------------------------------------------------------
cube = In((3, 4, 5))
for axes in (None, 0, 2, (0, 2), (1,)):
    tag = str(axes).replace(" ", "")
    row(
        "sum",
        lambda g, x, a=axes: ops.sum(g, x, a, False),
        (cube,),
        lambda x, a=axes: np.sum(x, a),
        name=tag,
        linear_in=(0,),
        ulp=16,  # of the sum; the terms are larger
    )
    row(
        "max",
        lambda g, x, a=axes: ops.max(g, x, a, True),
        (cube,),
        lambda x, a=axes: np.max(x, a, keepdims=True),
        name=tag,
    )
row(
    "max",
    lambda g, x: ops.max(g, x, 0, False),
    (In((5, 4), dtype="bool"),),
    lambda x: x.max(0),
    name="bool",
    differentiable=False,
)
row(
    "argmax",
    lambda g, x: ops.argmax(g, x, 1),
    (cube,),
    lambda x: np.argmax(x, 1),
    differentiable=False,
)
row(
    "cumsum",
    lambda g, x: ops.cumsum(g, x, 1, False),
    (cube,),
    lambda x: np.cumsum(x, 1),
    linear_in=(0,),
)
row(
    "cumsum",
    lambda g, x: ops.cumsum(g, x, 2, True),
    (cube,),
    lambda x: np.cumsum(x[..., ::-1], 2)[..., ::-1],
    name="reverse",
    linear_in=(0,),
)

# ---- movement --------------------------------------------------------------------------------
row(
    "broadcast",
    lambda g, x: ops.broadcast_to(g, x, (2, 3, 4)),
    (In((3, 1)),),
    lambda x: np.broadcast_to(x, (2, 3, 4)),
    linear_in=(0,),
)
row(
    "broadcast",
    lambda g, x: ops.broadcast_axes(g, x, (3, 2, 4), (0, 2)),
    (In((3, 4)),),
    lambda x: np.broadcast_to(x[:, None, :], (3, 2, 4)),
    name="axes",
    linear_in=(0,),
)
row(
    "reshape",
    lambda g, x: ops.reshape(g, x, (5, 12)),
    (cube,),
    lambda x: x.reshape(5, 12),
    linear_in=(0,),
)
row(
    "permute",
    lambda g, x: ops.permute(g, x, (2, 0, 1)),
    (cube,),
    lambda x: x.transpose(2, 0, 1),
    linear_in=(0,),
)
row(
    "slice",
    lambda g, x: ops.slice(g, x, (0, 3, 4), (2, -1, -2), (2, 3, 2)),
    (cube,),
    lambda x: x[0::2, 3:0:-1, 4:1:-2],
    linear_in=(0,),
)


def padded(x):
    y = np.zeros((7, 4), x.dtype)
    y[1:6:2, ::-1] = x
    return y


row(
    "pad",
    lambda g, x: ops.pad(g, x, (1, 3), (2, -1), (7, 4)),
    (In((3, 4)),),
    padded,
    linear_in=(0,),
)
row(
    "concat",
    lambda g, x, y: ops.concat(g, (x, y, x), 1),
    (In((3, 2)), In((3, 4))),
    lambda x, y: np.concatenate((x, y, x), 1),
    linear_in=(0, 1),
)
row("mark", ops.mark, (cube,), lambda x: x, linear_in=(0,))
row(
    "graft",
    lambda g, x: ops.graft(g, ops.square(g, x), x, ops.scale(g, x, 2.0)),
    (cube,),
    np.square,
)
row("stop", ops.stop, (cube,), lambda x: x, differentiable=False)
row(
    "iota",
    lambda g, x: ops.add(g, x, ops.cast(g, ops.iota(g, "int32", (3, 4, 5), 1), x.dtype)),
    (cube,),
    lambda x: x + np.arange(4)[:, None].astype(x.dtype),
)
row(
    "constant",
    lambda g, x: ops.add(g, x, ops.full(g, x.dtype, (3, 4, 5), 0.1)),
    (cube,),
    lambda x: x + x.dtype.type(0.1),
)

# ---- index -----------------------------------------------------------------------------------
rows5 = In((4, 2), 0, 5, dtype="int32")
row(
    "take",
    lambda g, x, i: ops.take(g, x, i, 1),
    (In((3, 5, 2)), rows5),
    lambda x, i: np.take(x, i, 1),
    linear_in=(0,),
)


def scattered(v, i):
    y = np.zeros((3, 6, 2), v.dtype)
    for k in np.ndindex(i.shape):
        y[:, i[k]] += v[(slice(None), *k)]
    return y


row(
    "scatter_add",
    lambda g, v, i: ops.scatter_add(g, v, i, 1, 6),
    (In((3, 4, 2, 2)), rows5),
    scattered,
    linear_in=(0,),
)


def put_rows(x, i, v):
    y = x.copy()
    for k, place in enumerate(i):
        y[place] = v[k]
    return y


row(
    "put",
    ops.put,
    (In((6, 3)), In((5,), 0, 4, dtype="int32"), In((5, 3))),
    put_rows,
    linear_in=(0, 2),
)

image = In((2, 6, 5, 3))


def windows(x, kh, kw, sh, sw, ph, pw):
    """Every window of x (N, H, W, C), (N, oh, ow, kh kw, C); padding is -inf."""
    full = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)), constant_values=-np.inf)
    view = np.lib.stride_tricks.sliding_window_view(full, (kh, kw), (1, 2))[:, ::sh, ::sw]
    return view.transpose(0, 1, 2, 4, 5, 3).reshape(*view.shape[:3], kh * kw, x.shape[3])


WINDOW = (3, 2, 2, 2, 1, 1)


def window_argmax(x):
    _, kw, sh, sw, ph, pw = WINDOW
    inside = windows(x, *WINDOW).argmax(3)
    oh, ow = inside.shape[1:3]
    h = np.arange(oh)[None, :, None, None] * sh - ph + inside // kw
    w = np.arange(ow)[None, None, :, None] * sw - pw + inside % kw
    return (h * x.shape[2] + w).astype(np.int32)


row(
    "window_argmax",
    lambda g, x: ops.window_argmax(g, x, WINDOW),
    (image,),
    window_argmax,
    differentiable=False,
)
row(
    "max_pool",
    lambda g, x: ops.max_pool(g, x, WINDOW),
    (image,),
    lambda x: windows(x, *WINDOW).max(3),
)
places = In((2, 3, 4, 3), 0, 30, dtype="int32")


def window_take(x, i):
    flat = x.reshape(x.shape[0], -1, x.shape[3])
    return np.take_along_axis(flat, i.reshape(i.shape[0], -1, i.shape[3]), 1).reshape(i.shape)


def window_put(v, i):
    y = np.zeros((2, 30, 3), v.dtype)
    for n, h, w, c in np.ndindex(i.shape):
        y[n, i[n, h, w, c], c] += v[n, h, w, c]
    return y.reshape(2, 6, 5, 3)


row("window_take", ops.window_take, (image, places), window_take, linear_in=(0,))
row(
    "window_put",
    lambda g, v, i: ops.window_put(g, v, i, 6, 5),
    (In((2, 3, 4, 3)), places),
    window_put,
    linear_in=(0,),
)

# ---- products --------------------------------------------------------------------------------
row("matmul", ops.matmul, (In((7, 5)), In((5, 6))), np.matmul, linear_in=(0, 1), ulp=16)
row(
    "matmul",
    ops.matmul,
    (In((2, 3, 4, 5)), In((3, 5, 2))),
    np.matmul,
    name="batch",
    linear_in=(0, 1),
    ulp=16,
)
row(
    "matmul",
    ops.matmul,
    (In((3, 4, 5)), In((5, 2))),
    np.matmul,
    name="stacked",
    linear_in=(0, 1),
    ulp=16,
)
for ta, tb in ((True, False), (False, True), (True, True)):
    a, b = ((5, 7) if ta else (7, 5)), ((6, 5) if tb else (5, 6))
    row(
        "matmul",
        lambda g, x, y, ta=ta, tb=tb: ops.matmul_ex(g, x, y, ta, tb),
        (In(a), In(b)),
        lambda x, y, ta=ta, tb=tb: (x.T if ta else x) @ (y.T if tb else y),
        name=f"{'T' if ta else 'N'}{'T' if tb else 'N'}",
        linear_in=(0, 1),
        ulp=16,
    )


def conv(x, w, geometry):
    """Cross-correlation, by a loop over taps."""
    sh, sw, top, bottom, left, right, dh, dw, groups = geometry
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    kh, kw, ci, co = w.shape
    oh = (x.shape[1] - dh * (kh - 1) - 1) // sh + 1
    ow = (x.shape[2] - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((x.shape[0], oh, ow, co), x.dtype)
    per = co // groups
    for g in range(groups):
        for i, j in np.ndindex(kh, kw):
            part = x[:, i * dh :, j * dw :, g * ci : (g + 1) * ci]
            part = part[:, : (oh - 1) * sh + 1 : sh, : (ow - 1) * sw + 1 : sw]
            y[..., g * per : (g + 1) * per] += part @ w[i, j, :, g * per : (g + 1) * per]
    return y


def adjoint(forward: Callable, shape: tuple[int, ...], ct: np.ndarray) -> np.ndarray:
    """The transpose of a linear map, from its columns."""
    out = np.zeros(int(np.prod(shape)), ct.dtype)
    for k in range(out.size):
        unit = np.zeros(out.size, ct.dtype)
        unit[k] = 1
        out[k] = np.sum(forward(unit.reshape(shape)) * ct)
    return out.reshape(shape)


GEOMETRIES = {
    "same": ((2, 5, 4, 3), (3, 3, 3, 4), (1, 1, 1, 1, 1, 1, 1, 1, 1)),
    "stride": ((1, 6, 7, 2), (3, 2, 2, 3), (2, 3, 1, 0, 0, 1, 1, 1, 1)),
    "dilation": ((1, 7, 6, 2), (3, 2, 2, 2), (1, 2, 1, 2, 0, 1, 2, 3, 1)),
    "groups": ((2, 4, 4, 4), (3, 3, 2, 6), (1, 1, 1, 1, 1, 1, 1, 1, 2)),
    "depthwise": ((1, 5, 5, 3), (3, 3, 1, 3), (2, 2, 1, 1, 1, 1, 1, 1, 3)),
    "system5": ((1, 8, 8, 3), (4, 4, 3, 5), (2, 2, 1, 1, 1, 1, 1, 1, 1)),
}
for tag, (xs, ws, geo) in GEOMETRIES.items():
    qs = conv(np.zeros(xs), np.zeros(ws), geo).shape
    row(
        "conv",
        lambda g, x, w, geo=geo: ops.conv(g, x, w, geo),
        (In(xs), In(ws)),
        lambda x, w, geo=geo: conv(x, w, geo),
        name=tag,
        linear_in=(0, 1),
        ulp=32,
    )
    row(
        "conv_data",
        lambda g, q, w, geo=geo, xs=xs: ops.conv_data(g, q, w, geo, xs[1], xs[2]),
        (In(qs), In(ws)),
        lambda q, w, geo=geo, xs=xs: adjoint(lambda x: conv(x, w, geo), xs, q),
        name=tag,
        linear_in=(0, 1),
        ulp=32,
    )
    row(
        "conv_weight",
        lambda g, x, q, geo=geo, ws=ws: ops.conv_weight(g, x, q, geo, ws[0], ws[1]),
        (In(xs), In(qs)),
        lambda x, q, geo=geo, ws=ws: adjoint(lambda w: conv(x, w, geo), ws, q),
        name=tag,
        linear_in=(0, 1),
        ulp=32,
    )


# ---- matrices and order ----------------------------------------------------------------------
def spread_matrices(g, a):
    """Matrices with 3 more on the diagonal: far from singular."""
    n = a.shape[-1]
    eye = ops.cast(
        g,
        ops.equal(g, ops.iota(g, "int32", (n, n), 0), ops.iota(g, "int32", (n, n), 1)),
        a.dtype,
    )
    return ops.add(g, a, ops.scale(g, eye, 3.0))


def positive_matrices(g, a):
    """Symmetric and positive definite."""
    a = ops.add(g, ops.matmul_ex(g, a, a, False, True), ops.transpose(g, ops.scale(g, a, 0.1)))
    return spread_matrices(g, ops.add(g, a, ops.transpose(g, a)))


def spread_reference(a):
    return a + 3 * np.eye(a.shape[-1])


def positive_reference(a):
    a = a @ np.swapaxes(a, -1, -2) + 0.1 * np.swapaxes(a, -1, -2)
    return spread_reference(a + np.swapaxes(a, -1, -2))


MATRICES = {"batch": (2, 3, 3), "one": (5, 5), "size1": (3, 1, 1), "none": (0, 4, 4)}
for tag, shape in MATRICES.items():
    right = (*shape[:-1], 2)
    row(
        "cholesky",
        lambda g, a: ops.cholesky(g, positive_matrices(g, a)),
        (In(shape),),
        lambda a: np.linalg.cholesky(positive_reference(a)),
        name=tag,
        ulp=16,
    )
    row(
        "solve",
        lambda g, a, b: ops.solve(g, spread_matrices(g, a), b),
        (In(shape, -1, 1), In(right)),
        lambda a, b: np.linalg.solve(spread_reference(a), b),
        name=tag,
        ulp=16,
    )
    row(
        "inv",
        lambda g, a: ops.inv(g, spread_matrices(g, a)),
        (In(shape, -1, 1),),
        lambda a: np.linalg.inv(spread_reference(a)),
        name=tag,
        ulp=16,
    )
    row(
        "slogdet",
        lambda g, a: ops.slogdet(g, ops.neg(g, spread_matrices(g, a))),
        (In(shape, -1, 1),),
        lambda a: np.stack(np.linalg.slogdet(-spread_reference(a)), -1),
        name=tag,
        ulp=16,
    )
    row(
        "det",
        lambda g, a: ops.det(g, spread_matrices(g, ops.scale(g, a, -1.0))),
        (In(shape, -1, 1),),
        lambda a: np.linalg.det(spread_reference(-a)),
        name=tag,
        ulp=32,
    )
row(
    "cholesky",
    lambda g, a: ops.cholesky(g, positive_matrices(g, ops.permute(g, a, (2, 1, 0)))),
    (In((3, 3, 2)),),
    lambda a: np.linalg.cholesky(positive_reference(a.T)),
    name="strided",
    ulp=16,
)
row(
    "sort",
    lambda g, x: ops.sort(g, ops.slice(g, x, (5, 0), (-2, 1), (3, 4)), 0),
    (In((6, 4)),),
    lambda x: np.sort(x[5::-2], 0),
    name="strided",
)
row(
    "solve",
    lambda g, a, b: ops.solve(g, ops.transpose(g, spread_matrices(g, a)), b),
    (In((3, 3), -1, 1), In((2, 2, 3, 2))),
    lambda a, b: np.linalg.solve(spread_reference(a).T, b),
    name="side-by-side",
    ulp=16,
)
row(
    "solve",
    lambda g, a, b: ops.solve(g, ops.flip(g, spread_matrices(g, a), 2), b),
    (In((2, 1, 3, 3), -1, 1), In((4, 3, 1))),
    lambda a, b: np.linalg.solve(spread_reference(a)[..., ::-1, :], b),
    name="pivots",
    ulp=16,
    differentiable=False,
)
for lower, transposed in ((True, False), (True, True), (False, False), (False, True)):

    def triangular_reference(a, b, lower=lower, transposed=transposed):
        a = (np.tril if lower else np.triu)(spread_reference(a))
        return np.linalg.solve(np.swapaxes(a, -1, -2) if transposed else a, b)

    row(
        "solve_triangular",
        lambda g, a, b, lower=lower, transposed=transposed: ops.solve_triangular(
            g, spread_matrices(g, a), b, lower, transposed
        ),
        (In((2, 4, 4)), In((2, 4, 3))),
        triangular_reference,
        name=("lower" if lower else "upper") + ("-transposed" if transposed else ""),
        linear_in=(1,),
        ulp=64,
    )
row(
    "eigh",
    lambda g, a: ops.slice_axis(g, ops.eigh(g, positive_matrices(g, a)), 1, 0, 1),
    (In((3, 5, 5)),),
    lambda a: np.linalg.eigvalsh(positive_reference(a))[:, None],
    ulp=16,
    differentiable=False,
)


def rebuilt(g, a):
    """V diag(w) V' of the eigenvalues and vectors."""
    both = ops.eigh(g, positive_matrices(g, a))
    w, v = ops.slice_axis(g, both, 1, 0, 1), ops.slice_axis(g, both, 1, 1, a.shape[-1])
    return ops.matmul_ex(g, ops.mul(g, v, w), v, False, True)


row(
    "eigh",
    rebuilt,
    (In((2, 6, 6)),),
    positive_reference,
    name="vectors",
    ulp=32,
    differentiable=False,
)
for axis in (0, 1, 2):
    row(
        "argsort",
        lambda g, x, axis=axis: ops.argsort(g, x, axis),
        (In((3, 40, 2)),),
        lambda x, axis=axis: np.argsort(x, axis, kind="stable"),
        name=str(axis),
        differentiable=False,
    )
    row(
        "sort",
        lambda g, x, axis=axis: ops.sort(g, x, axis),
        (In((3, 6, 2)),),
        lambda x, axis=axis: np.sort(x, axis),
        name=str(axis),
    )
for dtype, low, high in (("int32", -9, 9), ("uint8", 0, 9), ("bool", 0, 2)):
    row(
        "argsort",
        lambda g, x: ops.argsort(g, x, -1),
        (In((2, 300), low, high, dtype=dtype),),
        lambda x: np.argsort(x, -1, kind="stable"),
        name=dtype,
        differentiable=False,
    )
row(
    "argsort",
    lambda g, x: ops.argsort(g, ops.sqrt(g, ops.round(g, x)), 0),  # NaN, -0, 0 and ties
    (In((200,), -3, 3),),
    lambda x: np.argsort(np.sqrt(np.where(x < -0.5, np.nan, np.rint(x))), kind="stable"),
    name="nan",
    differentiable=False,
)
row(
    "argsort",
    lambda g, x: ops.argsort(g, x, 1),
    (In((0, 4)),),
    lambda x: np.argsort(x, 1),
    name="none",
    differentiable=False,
)
row(
    "take_along",
    lambda g, x, i: ops.take_along(g, x, i, 1),
    (In((3, 5, 2)), In((1, 7, 2), 0, 5, dtype="int32")),
    lambda x, i: np.take_along_axis(x, np.broadcast_to(i, (3, 7, 2)), 1),
    linear_in=(0,),
)
for axes in (None, 1, (0, 2)):
    row(
        "prod",
        lambda g, x, a=axes: ops.prod(g, x, a, False),
        (In((2, 5, 3)),),
        lambda x, a=axes: np.prod(x, a),
        name=str(axes).replace(" ", ""),
        ulp=64,
    )
row(
    "prod",
    lambda g, x, y: ops.prod(g, ops.mul(g, x, ops.cast(g, y, x.dtype)), 1, True),
    (In((3, 4)), In((3, 4), 0, 2, dtype="bool")),
    lambda x, y: np.prod(x * y, 1, keepdims=True),
    name="zeros",
)
row(
    "cumprod",
    lambda g, x: ops.cumprod(g, x, 1),
    (In((2, 7, 3)),),
    lambda x: np.cumprod(x, 1),
    ulp=16,
)
row(
    "cummax",
    lambda g, x: ops.cummax(g, x, 1),
    (In((2, 7, 3)),),
    lambda x: np.maximum.accumulate(x, 1),
)


# ---- repeat ----------------------------------------------------------------------------------
def scan(g, x, w, s, reverse=False):
    """Tanh steps with a trace: carry, captured value, xs and ys at once."""
    body, i, (xi,), (si,) = g.repeat_open(4, [x], [s])
    inner = ops.tanh(body, ops.matmul(body, xi, body.lift(w)))
    number = ops.cast(body, i, x.dtype)
    step = ops.add(body, inner, ops.mul(body, si, ops.shift(body, number, 1.0)))
    (last,), (trace,) = body.repeat_close([step], [ops.square(body, xi)], reverse)
    return ops.add(g, last, ops.sum(g, trace, 0, False))


def scan_reference(x, w, s, reverse=False):
    total = np.zeros_like(x)
    for i in range(3, -1, -1) if reverse else range(4):
        total = total + x * x
        x = np.tanh(x @ w) + s[i] * x.dtype.type(i + 1)
    return x + total


SCAN = (In((3, 2)), In((2, 2)), In((4, 3, 2), -0.3, 0.3))
row("repeat", scan, SCAN, scan_reference, ulp=64)
row(
    "repeat",
    lambda g, x, w, s: scan(g, x, w, s, True),
    SCAN,
    lambda x, w, s: scan_reference(x, w, s, True),
    name="reverse",
    ulp=64,
)


def nested(g, x, w):
    """A repeat in a repeat, the inner one around a value of the outermost graph."""
    body, _, (xi,), () = g.repeat_open(3, [x], [])
    inner, _, (yi,), () = body.repeat_open(2, [ops.mul(body, xi, body.lift(w))], [])
    step = ops.add(inner, ops.sin(inner, yi), inner.lift(w))
    (y,), () = inner.repeat_close([step], [], False)
    (last,), () = body.repeat_close([y], [], False)
    return last


def nested_reference(x, w):
    for _ in range(3):
        x = x * w
        for _ in range(2):
            x = np.sin(x) + w
    return x


row("repeat", nested, (In((4,)), In((4,))), nested_reference, name="nested", ulp=64)
row("item", nested, (In((2, 2)), In((2, 2))), nested_reference, ulp=64)
row("input", lambda g, x: x, (cube,), lambda x: x, linear_in=(0,))

# ---- composites ------------------------------------------------------------------------------
matrix = In((5, 6))
special = scipy.special


def standard(x, axis, epsilon=1e-3):
    x = x - x.mean(axis, keepdims=True)
    return x / np.sqrt((x * x).mean(axis, keepdims=True) + epsilon)


def attention(q, k, v):
    logits = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    return special.softmax(logits, -1) @ v


def grouped(x, a, b, groups=2, epsilon=1e-3):
    split = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    return standard(split, (1, 3), epsilon).reshape(x.shape) * a + b


row("swish", ops.swish, (In(V),), lambda x: x * special.expit(x))
row("relu", ops.relu, (In(V, away=0.1),), lambda x: np.maximum(x, 0))
row(
    "leaky_relu",
    lambda g, x: ops.leaky_relu(g, x, 0.2),
    (In(V, away=0.1),),
    lambda x: np.where(x > 0, x, x.dtype.type(0.2) * x),
)
row(
    "elu",
    lambda g, x: ops.elu(g, x, 1.5),
    (In(V, away=0.1),),
    lambda x: np.where(x > 0, x, 1.5 * np.expm1(x)),
)
row("gelu", ops.gelu, (In(V),), lambda x: 0.5 * x * (1 + special.erf(x / np.sqrt(2))), ulp=8)
row("clip", lambda g, x: ops.clip(g, x, -0.5, 0.7), (In(V),), lambda x: np.clip(x, -0.5, 0.7))
row(
    "mean",
    lambda g, x: ops.mean(g, x, (0, 2), True),
    (cube,),
    lambda x: x.mean((0, 2), keepdims=True),
    linear_in=(0,),
)
row("min", lambda g, x: ops.min(g, x, 1, False), (cube,), lambda x: x.min(1))
row(
    "min",
    lambda g, x: ops.min(g, x, 1, False),
    (In((5, 3), np.iinfo(np.int32).min, np.iinfo(np.int32).min + 3, dtype="int32"),),
    lambda x: x.min(1),
    name="int32",
    differentiable=False,
)
row("variance", lambda g, x: ops.variance(g, x, 1, False), (cube,), lambda x: x.var(1), ulp=8)
row(
    "logsumexp",
    lambda g, x: ops.logsumexp(g, x, 1, False),
    (matrix,),
    lambda x: special.logsumexp(x, 1),
    ulp=8,
)
row(
    "softmax",
    lambda g, x: ops.softmax(g, x, -1),
    (matrix,),
    lambda x: special.softmax(x, -1),
    ulp=8,
)
row(
    "log_softmax",
    lambda g, x: ops.log_softmax(g, x, 0),
    (matrix,),
    lambda x: special.log_softmax(x, 0),
    ulp=8,
)
row(
    "batch_norm",
    lambda g, x, a, b: ops.batch_norm(g, x, a, b, 1e-3),
    (In((7, 3)), In((3,)), In((3,))),
    lambda x, a, b: standard(x, 0) * a + b,
    ulp=16,
)
row(
    "layer_norm",
    lambda g, x, a, b: ops.layer_norm(g, x, a, b, 1e-3),
    (In((4, 6)), In((6,)), In((6,))),
    lambda x, a, b: standard(x, 1) * a + b,
    ulp=16,
)
row(
    "group_norm",
    lambda g, x, a, b: ops.group_norm(g, x, 2, a, b, 1e-3),
    (In((2, 3, 3, 4)), In((4,)), In((4,))),
    grouped,
    ulp=16,
)
row(
    "attention", ops.attention, (In((2, 4, 3)), In((2, 5, 3)), In((2, 5, 2))), attention, ulp=16
)
row(
    "avg_pool",
    lambda g, x: ops.avg_pool(g, x, 2),
    (In((2, 4, 6, 3)),),
    lambda x: x.reshape(2, 2, 2, 3, 2, 3).mean((2, 4)),
    linear_in=(0,),
)
row(
    "upsample",
    lambda g, x: ops.upsample(g, x, 2),
    (In((2, 2, 3, 2)),),
    lambda x: x.repeat(2, 1).repeat(2, 2),
    linear_in=(0,),
)
row("linear", ops.linear, (In((4, 3)), In((3, 5)), In((5,))), lambda x, w, b: x @ w + b, ulp=16)

# ---- composites: activations, norms, images, losses ------------------------------------------
kinked = In(V, -3.0, 3.0, away=0.1)
row("relu6", ops.relu6, (In(V, 0.2, 5.8),), lambda x: np.clip(x, 0, 6))
row("relu6", ops.relu6, (In(V, 6.2, 9.0),), lambda x: np.clip(x, 0, 6), name="above")
row("hard_tanh", ops.hard_tanh, (In(V, -0.9, 0.9),), lambda x: np.clip(x, -1, 1))
row("hard_tanh", ops.hard_tanh, (In(V, -9.0, -1.2),), lambda x: np.clip(x, -1, 1), name="below")
row("mish", ops.mish, (In(V),), lambda x: x * np.tanh(np.logaddexp(0, x)), ulp=8)
row(
    "selu",
    ops.selu,
    (kinked,),
    lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
)
row(
    "celu",
    lambda g, x: ops.celu(g, x, 0.7),
    (kinked,),
    lambda x: np.where(x > 0, x, 0.7 * np.expm1(x / 0.7)),
)
row("softsign", ops.softsign, (kinked,), lambda x: x / (1 + np.abs(x)))
row("log_sigmoid", ops.log_sigmoid, (In(V),), special.log_expit)
row(
    "glu",
    lambda g, x: ops.glu(g, x, 1),
    (In((3, 4, 2)),),
    lambda x: x[:, :2] * special.expit(x[:, 2:]),
)
row(
    "instance_norm",
    lambda g, x, a, b: ops.instance_norm(g, x, a, b, 1e-3),
    (In((2, 3, 3, 4)), In((4,)), In((4,))),
    lambda x, a, b: standard(x, (1, 2)) * a + b,
    ulp=16,
)
row(
    "rms_norm",
    lambda g, x, a: ops.rms_norm(g, x, a, 1e-3),
    (In((4, 6)), In((6,))),
    lambda x, a: x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-3) * a,
    ulp=8,
)
row(
    "weight_norm",
    ops.weight_norm,
    (In((2, 3, 4), away=0.2), In((4,))),
    lambda v, a: a * v / np.sqrt((v * v).sum((0, 1))),
    ulp=8,
)


def power_iteration(w, u, n):
    w = w.reshape(-1, w.shape[-1])
    for _ in range(n):
        v = w @ u
        u = w.T @ (v / np.linalg.norm(v))
        u = u / np.linalg.norm(u)
    return u


row(
    "power_iteration",
    lambda g, w, u: ops.power_iteration(g, w, u, 3),
    (In((2, 3, 4)), In((4,))),
    lambda w, u: power_iteration(w, u, 3),
    differentiable=False,
    ulp=64,
)


def spectral_norm(w, u):
    matrix = w.reshape(-1, w.shape[-1])
    v = matrix @ u
    return w / (v / np.linalg.norm(v) @ matrix @ u)


row(
    "spectral_norm",
    ops.spectral_norm,
    (In((2, 3, 4)), In((4,), 0.2, 1.0)),
    spectral_norm,
    differentiable=False,  # u and v are constants: tests/parity has its gradient
    ulp=64,
)


def avg_windows(x, kh, kw, sh, sw, ph, pw):
    full = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(full, (kh, kw), (1, 2))
    return view[:, ::sh, ::sw].mean((-2, -1))


row(
    "avg_pool_window",
    lambda g, x: ops.avg_pool_window(g, x, WINDOW),
    (image,),
    lambda x: avg_windows(x, *WINDOW),
    linear_in=(0,),
    ulp=8,
)


def nearest(x, h, w):
    return x[:, np.arange(h) * x.shape[1] // h][:, :, np.arange(w) * x.shape[2] // w]


def bilinear(x, h, w):
    for axis, size in ((1, h), (2, w)):
        at = np.maximum((np.arange(size) + 0.5) * (x.shape[axis] / size) - 0.5, 0)
        low = at.astype(int)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        share = (at - low).reshape(-1, *(1,) * (3 - axis))
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


for h, w in ((9, 3), (6, 5), (1, 11)):
    row(
        "resize_nearest",
        lambda g, x, h=h, w=w: ops.resize_nearest(g, x, h, w),
        (image,),
        lambda x, h=h, w=w: nearest(x, h, w),
        name=f"{h}x{w}",
        linear_in=(0,),
    )
    row(
        "resize_bilinear",
        lambda g, x, h=h, w=w: ops.resize_bilinear(g, x, h, w),
        (image,),
        lambda x, h=h, w=w: bilinear(x, h, w),
        name=f"{h}x{w}",
        linear_in=(0,),
        ulp=16,
    )


def blurred(x, size, mode):
    taps = special.binom(size - 1, np.arange(size)) / 2 ** (size - 1)
    b = size // 2
    full = np.pad(x, ((0, 0), (b, b), (b, b), (0, 0)), mode)
    view = np.lib.stride_tricks.sliding_window_view(full, (size, size), (1, 2))
    return np.einsum("nhwcij,i,j->nhwc", view, taps, taps)


for size, reflect in ((3, True), (5, False)):
    row(
        "blur",
        lambda g, x, size=size, reflect=reflect: ops.blur(g, x, size, reflect),
        (image,),
        lambda x, size=size, reflect=reflect: blurred(
            x, size, "reflect" if reflect else "constant"
        ),
        name=f"{size}{'-reflect' if reflect else ''}",
        linear_in=(0,),
        ulp=8,
    )
row(
    "depth_to_space",
    lambda g, x: ops.depth_to_space(g, x, 2),
    (In((2, 3, 2, 12)),),
    lambda x: x.reshape(2, 3, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 4, 3),
    linear_in=(0,),
)
row(
    "space_to_depth",
    lambda g, x: ops.space_to_depth(g, x, 2),
    (In((2, 6, 4, 3)),),
    lambda x: x.reshape(2, 3, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 3, 2, 12),
    linear_in=(0,),
)
row("huber", lambda g, x: ops.huber(g, x, 2.0), (In(V, -1.9, 1.9),), lambda x: 0.5 * x * x)
row(
    "huber",
    lambda g, x: ops.huber(g, x, 0.5),
    (In(V, away=0.6),),
    lambda x: 0.5 * (np.abs(x) - 0.25),
    name="outside",
)
row(
    "cross_entropy",
    ops.cross_entropy,
    (In((5, 6)), In((5,), 0, 6, dtype="int32")),
    lambda x, y: -special.log_softmax(x, 1)[np.arange(5), y],
    ulp=8,
)
row(
    "bce_with_logits",
    ops.bce_with_logits,
    (In(V), In(V, 0.0, 1.0)),
    lambda x, y: -y * special.log_expit(x) - (1 - y) * special.log_expit(-x),
    ulp=8,
)
row(
    "kl_normal",
    ops.kl_normal,
    (In((3, 4)), In((3, 4)), In((3, 4)), In((3, 4))),
    lambda m, l, n, k: 0.5 * np.sum(np.exp(l - k) - 1 - l + k + (m - n) ** 2 / np.exp(k), 1),  # noqa: E741
    ulp=8,
)

# Random draws have no NumPy reference: tests/ops/test_random.py holds them to Philox itself.
DRAWS = {"fold_in", "bits", "uniform", "normal", "randint"}
