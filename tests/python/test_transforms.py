"""Derivatives and loops: against closed forms, differences, NumPy loops, and each other."""

import functools
import gc
import threading
import weakref
from collections import namedtuple

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import functional as F

rng = np.random.default_rng(1)
X = rng.standard_normal((4, 3))
W = rng.standard_normal((3, 5))


def close(got, expected, rtol=1e-12, atol=1e-12):
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


def numeric_grad(f, x, h=1e-6):
    """The gradient of a NumPy function of one array by central differences."""
    x = np.array(x, dtype=float)
    slope = np.empty_like(x)
    for place in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[place] += h
        behind[place] -= h
        slope[place] = (f(ahead) - f(behind)) / (2 * h)
    return slope


# ---- first derivatives -----------------------------------------------------------------------

SCALAR_FUNCTIONS = [
    lambda x: np.sum(np.exp(-(x**2)) * np.sin(x)),
    lambda x: np.sum(np.tanh(x @ W) ** 2),
    lambda x: np.sum(np.log1p(np.exp(x))) + np.prod(x.shape),
    lambda x: np.mean(np.sqrt(1 + x**2), axis=0) @ np.arange(3.0),
    lambda x: np.max(x) * np.min(x) + np.sum(np.max(x, axis=1) * np.min(x, axis=0)[0]),
    lambda x: np.var(x) + np.std(x, axis=0).sum(),
    lambda x: np.sum(np.cumsum(x, axis=1) ** 2),
    lambda x: np.sum(np.where(x > 0, x**2, np.expm1(x))),
    lambda x: np.sum(np.arctan2(x, 1 + x[0] ** 2) + np.arctan(x)),
    lambda x: np.sum(abs(x) ** 1.7 + np.cosh(x) + np.sinh(x) + np.tan(x / 4)),
    lambda x: np.sum(x[1:, ::2] * x[:-1, ::-2]) + x[0, 1] * x[-1, -1],
    lambda x: np.sum(x[[2, 0, 2]] ** 3) + np.sum(x[np.arange(3), [1, 1, 2]] ** 2),
    lambda x: np.sum(np.concatenate([x, x[:1] ** 2]) ** 2) + np.sum(np.stack([x, x**3])),
    lambda x: np.sum(np.pad(np.flip(x, 1), 1)[1:3] ** 2) + np.sum(np.roll(x, 1, 0) * x),
    lambda x: np.einsum("ij,kj,k->", x, x**2, x[:, 0]),
    lambda x: np.linalg.norm(x) + np.sum(np.linalg.norm(x, axis=1)),
    lambda x: np.sum(np.logaddexp(x, x[0])) + np.sum(np.log2(2 + x**2)),
    lambda x: np.sum(np.tensordot(x, x, axes=((0,), (0,))) ** 2),
    lambda x: np.sum(np.clip(x, -0.5, 0.7) ** 2) + np.sum(x / (1 + x**2)),
    lambda x: np.trace(x[:3] @ x[:3]) + np.sum(np.tril(x) * np.diag(x[:3])),
    lambda x: np.sum(np.repeat(x, 2, 0) * 3) + np.sum(np.tile(x, (1, 2)) ** 2),
    lambda x: np.sum((x - np.mean(x, 0)) / np.sqrt(np.var(x, 0) + 1)) + np.sum(x % 1.5),
]


@pytest.mark.parametrize("k", range(len(SCALAR_FUNCTIONS)))
def test_grad_against_differences(k):
    f = SCALAR_FUNCTIONS[k]
    close(ebm.grad(f)(X), numeric_grad(f, X), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("k", range(len(SCALAR_FUNCTIONS)))
def test_modes_agree_to_third_order(k):
    """<v, Hu> from every nesting of forward and reverse, and the third derivative along u, u,
    u.
    """
    f = SCALAR_FUNCTIONS[k]
    u, v = rng.standard_normal((2, *X.shape))

    def along(g, t):
        return lambda x: ebm.jvp(g, (x,), (t,))[1]

    slope = along(f, u)(X)
    close(slope, np.sum(ebm.grad(f)(X) * u))
    forward_twice = along(along(f, u), v)(X)
    close(np.sum(ebm.hvp(f, (X,), (u,)) * v), forward_twice, rtol=1e-10, atol=1e-10)
    reverse_over_forward = np.sum(ebm.grad(along(f, u))(X) * v)
    close(reverse_over_forward, forward_twice, rtol=1e-10, atol=1e-10)
    inner = ebm.grad(lambda x: np.sum(ebm.grad(f)(x) * u))
    close(np.sum(inner(X) * v), forward_twice, rtol=1e-10, atol=1e-10)
    third = along(along(along(f, u), u), u)(X)
    reverse_last = np.sum(ebm.grad(along(along(f, u), u))(X) * u)
    close(reverse_last, third, rtol=1e-9, atol=1e-9)


def test_hvp_against_differences():
    f = SCALAR_FUNCTIONS[0]
    v = rng.standard_normal(X.shape)
    h = 1e-6
    expected = (ebm.grad(f)(X + h * v) - ebm.grad(f)(X - h * v)) / (2 * h)
    close(ebm.hvp(f, (X,), (v,)), expected, rtol=1e-6, atol=1e-7)


def test_grad_in_float32_stays_float32():
    g = ebm.grad(lambda x: np.sum(x**2 * 0.5 + 1))(np.ones(3, np.float32))
    assert g.dtype == np.float32


def test_argnums_trees_and_kwargs():
    def loss(p, x, *, scale=1.0):
        return scale * np.sum((x @ p["w"] + p["b"][0]) ** 2)

    p = {"w": W, "b": [np.zeros(5)]}
    g = ebm.grad(loss)(p, X, scale=2.0)
    assert set(g) == {"w", "b"}
    assert isinstance(g["b"], list)
    close(g["w"], 4 * X.T @ X @ W)
    close(g["b"][0], 4 * (X @ W).sum(0))
    gp, gx = ebm.grad(loss, argnums=(0, 1))(p, X)
    close(gx, 2 * X @ W @ W.T)
    close(gp["w"], 2 * X.T @ X @ W)
    close(ebm.grad(loss, argnums=-1)(p, X), gx)
    value, (again,) = ebm.value_and_grad(loss, argnums=(1,))(p, X)
    close(value, np.sum((X @ W) ** 2))
    close(again, gx)


def test_has_aux():
    def f(x):
        return np.sum(x**2), {"n": np.int32(3), "y": x + 1}

    g, aux = ebm.grad(f, has_aux=True)(X)
    close(g, 2 * X)
    close(aux["y"], X + 1)
    (value, aux), g = ebm.value_and_grad(f, has_aux=True)(X)
    close(value, np.sum(X**2))
    assert aux["n"] == 3
    out, pullback, aux = ebm.vjp(f, X, has_aux=True)
    close(pullback(2.0)[0], 4 * X)
    out, tangent, aux = ebm.jvp(f, (X,), (X,), has_aux=True)
    close(tangent, 2 * np.sum(X**2))
    assert out == value


Pair = namedtuple("Pair", "a b")


def test_trees_of_every_kind():
    def f(t):
        return {"z": Pair(t["p"].a * 2, [t["p"].b, None]), "a": (t["q"][0],)}

    got = ebm.jit(f)({"q": [np.arange(2)], "p": Pair(1.0, np.float32(3))})
    assert isinstance(got["z"], Pair)
    assert list(got) == ["a", "z"]
    assert got["z"].a == 2
    assert got["z"].b[0] == 3
    assert got["z"].b[1] is None
    assert isinstance(got["a"], tuple)


def test_independent_variables_have_zero_gradient():
    g = ebm.grad(lambda x, y: np.sum(x**2), argnums=(0, 1))(X, X)
    close(g[1], np.zeros_like(X))
    _, tangent = ebm.jvp(lambda x: np.ones(3), (X,), (X,))
    close(tangent, np.zeros(3))


def test_identity_and_constant_functions():
    close(ebm.grad(lambda x: x)(2.0), 1.0)
    close(ebm.grad(lambda x: 3.0)(2.0), 0.0)
    out, pullback = ebm.vjp(lambda x: x, X)
    close(out, X)
    close(pullback(W[:1, :1] * X)[0], W[0, 0] * X)


def test_vjp_and_jvp_are_adjoint():
    def f(x, w):
        return np.tanh(x @ w), {"n": np.sum(x**2, axis=1)}

    x_t, w_t = rng.standard_normal(X.shape), rng.standard_normal(W.shape)
    out, tangent = ebm.jvp(f, (X, W), (x_t, w_t))
    same, pullback = ebm.vjp(f, X, W)
    close(same[0], out[0])
    ct = (rng.standard_normal(out[0].shape), {"n": rng.standard_normal(4)})
    x_ct, w_ct = pullback(ct)
    left = np.sum(ct[0] * tangent[0]) + ct[1]["n"] @ tangent[1]["n"]
    close(left, np.sum(x_ct * x_t) + np.sum(w_ct * w_t))


def test_ties_share_nothing_twice():
    """At a tie of logaddexp each side has half; a maximum has one winner."""
    a = np.array([1.0, -np.inf, 2.0])
    ga, gb = ebm.grad(lambda a, b: np.sum(np.logaddexp(a, b)), (0, 1))(
        a, np.array([1.0, 0.0, -np.inf])
    )
    close(ga, [0.5, 0.0, 1.0])
    close(gb, [0.5, 1.0, 0.0])
    close(
        sum(g.sum() for g in ebm.grad(lambda a, b: np.sum(np.maximum(a, b)), (0, 1))(X, X)),
        X.size,
    )


# ---- nesting and perturbation confusion ------------------------------------------------------


def test_perturbation_confusion():
    d = ebm.grad
    assert d(lambda x: x * d(lambda y: x + y)(1.0))(1.0) == 1.0
    assert d(lambda x: x * d(lambda y: x * y)(1.0))(3.0) == 6.0
    assert d(lambda x: d(lambda y: x * d(lambda z: z * y)(2.0))(5.0))(7.0) == 1.0
    assert d(lambda x: d(lambda y: y**3 * x**2)(x) * 1.0)(2.0) == pytest.approx(12 * 2.0**3)


def jvp1(f, x):
    return ebm.jvp(f, (x,), (1.0,))[1]


@pytest.mark.parametrize("outer", ["grad", "jvp"])
@pytest.mark.parametrize("inner", ["grad", "jvp"])
def test_perturbation_confusion_in_mixed_modes(outer, inner):
    d = {"grad": lambda f, x: ebm.grad(f)(x), "jvp": jvp1}
    first, second = d[outer], d[inner]
    assert first(lambda x: x * second(lambda y: x + y, 1.0), 1.0) == 1.0
    assert first(lambda x: x * second(lambda y: x * y, x), 3.0) == 6.0
    assert first(lambda x: second(lambda y: x * y * y, x * x), 2.0) == pytest.approx(6 * 2.0**2)
    two = first(
        lambda x: second(lambda y: np.sin(x * y), x) * second(lambda y: x * y**2, x), 0.7
    )
    f = lambda x: np.cos(x * x) * x * 2 * x**2  # noqa: E731
    close(two, (f(0.7 + 1e-6) - f(0.7 - 1e-6)) / 2e-6, rtol=1e-8)


def test_amazing_bug():
    """Manzyuk and others, 2019: a function returned through the derivative of another."""

    def shift(u):
        return lambda f: lambda x: f(x + u)

    def d(f):
        return lambda x: ebm.jvp(f, (x,), (1.0,))[1]

    def d_shift(g):  # the derivative of shift at 0, at the function g, as a function of x
        return lambda x: ebm.jvp(lambda u: shift(u)(g)(x), (0.0,), (1.0,))[1]

    close(d_shift(d_shift(np.exp))(0.3), np.exp(0.3))
    close(d(d(np.exp))(0.3), np.exp(0.3))


def test_sibling_derivatives_at_one_point_stay_apart():
    def f(x):
        first = ebm.grad(lambda y: y**3)(x)  # 3 x^2, a constant for what follows
        return ebm.grad(lambda y: y * first)(x)  # 3 x^2

    close(ebm.jit(f)(2.0), 12.0)
    close(ebm.grad(f)(2.0), 12.0)


def test_closed_over_values_in_every_nesting():
    """d/da of a gradient penalty that closes over a, three ways, against differences."""

    def penalty(a):
        energy = lambda x: np.sum(np.tanh(a * x) ** 2 + a * x)  # noqa: E731
        return np.sum(ebm.grad(energy)(X[0]) ** 2)

    close(ebm.grad(penalty)(0.7), numeric_grad(ebm.jit(penalty), 0.7), rtol=1e-6)
    close(jvp1(penalty, 0.7), ebm.grad(penalty)(0.7))
    close(ebm.jit(ebm.grad(ebm.jit(penalty)))(0.7), ebm.grad(penalty)(0.7))


def test_vjp_inside_of_grad_and_back():
    def f(x):
        out, pullback = ebm.vjp(lambda y: np.sin(x * y), x)
        return np.sum(pullback(out)[0])

    g = lambda x: np.sum(np.sin(x * x) * np.cos(x * x) * x)  # noqa: E731
    close(ebm.jit(f)(X), g(X))
    close(ebm.grad(f)(X), numeric_grad(g, X), rtol=1e-7, atol=1e-8)


def test_pullback_used_twice_and_inside_of_repeat():
    def f(x):
        out, pullback = ebm.vjp(np.sin, x)
        power = ebm.repeat(lambda i, v: pullback(v)[0], 3, out)
        return power + pullback(np.ones(3))[0]

    x = X[0]
    close(ebm.jit(f)(x), np.sin(x) * np.cos(x) ** 3 + np.cos(x))
    close(
        ebm.grad(lambda x: np.sum(f(x)))(x),
        numeric_grad(lambda x: np.sum(np.sin(x) * np.cos(x) ** 3 + np.cos(x)), x),
        rtol=1e-7,
        atol=1e-8,
    )


def test_pullback_from_outside_used_in_a_trace():
    _, pullback = ebm.vjp(np.sin, X)
    close(ebm.jit(lambda ct: pullback(ct)[0] * 2)(X), 2 * np.cos(X) * X)
    close(ebm.grad(lambda ct: np.sum(pullback(ct)[0]))(X), np.cos(X))


def test_jit_inside_of_everything():
    f = ebm.jit(lambda x: np.sum(np.sin(x)))
    close(ebm.grad(f)(X), np.cos(X))
    close(ebm.jit(lambda x: f(x) + f(2 * x))(X), np.sum(np.sin(X)) + np.sum(np.sin(2 * X)))
    close(ebm.hvp(f, (X,), (X,)), -np.sin(X) * X)


def test_hvp_of_several_primals():
    f = lambda x, w: np.sum((x @ w) ** 2)  # noqa: E731
    hx, hw = ebm.hvp(f, (X, W), (X, np.zeros_like(W)))
    close(hx, 2 * X @ W @ W.T)
    close(hw, 4 * X.T @ X @ W)


def test_stop_gradient():
    close(ebm.grad(lambda x: x * ebm.stop_gradient(x))(3.0), 3.0)
    close(ebm.jvp(lambda x: ebm.stop_gradient({"a": x})["a"] * x, (3.0,), (1.0,))[1], 3.0)
    assert ebm.stop_gradient(X) is X


# ---- repeat ----------------------------------------------------------------------------------


def python_repeat(body, n, carry, xs=None, stack=False, reverse=False):
    """The definition, for one array as carry, x and out."""
    outs = [None] * n
    for i in reversed(range(n)) if reverse else range(n):
        result = body(i, carry, *(() if xs is None else (xs[i],)))
        carry, outs[i] = result if stack else (result, None)
    return (carry, np.stack(outs)) if stack else carry


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("with_xs", [False, True])
def test_repeat_is_the_loop(reverse, with_xs):
    xs = rng.standard_normal((5, 3)) if with_xs else None

    def body(i, c, x=1.0):
        c = np.sin(c * (i + 1)) + x * W[:, 0]
        return c, c**2 + i

    args = (body, 5, X[0])
    options = {"xs": xs, "stack": True, "reverse": reverse}
    for got, want in zip(
        ebm.repeat(*args, **options), python_repeat(*args, **options), strict=True
    ):
        close(got, want)


@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_through_repeat(reverse):
    xs = rng.standard_normal((4, 3))

    def run(loop, x, xs, w):
        def body(i, c, x):
            c = np.tanh(c @ w + x) + 0.1 * i
            return c, np.sum(c**2)

        carry, outs = loop(body, 4, x, xs=xs, stack=True, reverse=reverse)
        return np.sum(carry**2) + np.sum(outs * np.arange(4.0))

    args = (X[0], xs, rng.standard_normal((3, 3)))
    mine = functools.partial(run, ebm.repeat)
    loop = functools.partial(run, python_repeat)
    for k, g in enumerate(ebm.grad(mine, (0, 1, 2))(*args)):
        unrolled = ebm.grad(loop, k)(*args)
        close(g, unrolled)
        one = lambda v, k=k: loop(*args[:k], v, *args[k + 1 :])  # noqa: E731
        close(g, numeric_grad(one, args[k]), rtol=1e-6, atol=1e-7)
    t = tuple(rng.standard_normal(np.shape(a)) for a in args)
    close(ebm.jvp(mine, args, t)[1], ebm.jvp(loop, args, t)[1])
    for got, want in zip(ebm.hvp(mine, args, t), ebm.hvp(loop, args, t), strict=True):
        close(got, want, rtol=1e-10, atol=1e-11)
    twice = lambda f: lambda *a: ebm.jvp(lambda *b: ebm.jvp(f, b, t)[1], a, t)[1]  # noqa: E731
    close(twice(mine)(*args), twice(loop)(*args), rtol=1e-10)


def test_gradient_steps_inside_of_repeat_and_outside():
    """Langevin without noise: grad in the body, then the gradient in a parameter."""

    def walk(loop, a, x):
        energy = lambda x: np.sum(0.25 * x**4 + a * x**2)  # noqa: E731
        return loop(lambda i, x: x - 0.1 * ebm.grad(energy)(x), 6, x)

    f = lambda loop: lambda a: np.sum(walk(loop, a, X[0]) ** 2)  # noqa: E731
    close(ebm.grad(f(ebm.repeat))(0.3), ebm.grad(f(python_repeat))(0.3))
    close(ebm.hvp(f(ebm.repeat), (0.3,), (1.0,)), ebm.hvp(f(python_repeat), (0.3,), (1.0,)))
    close(ebm.jvp(f(ebm.repeat), (0.3,), (1.0,))[1], ebm.grad(f(python_repeat))(0.3))


def test_nested_repeat_with_values_of_both_outer_graphs():
    def f(loop, a):
        def outer(i, c):
            b = c * a

            def inner(j, d):
                return d * 0.5 + a * b + i * 0.1 + j

            return loop(inner, 3, c)

        return loop(outer, 2, a + 1.0)

    mine, plain = functools.partial(f, ebm.repeat), functools.partial(f, python_repeat)
    close(ebm.jit(mine)(0.7), plain(0.7))
    close(ebm.grad(mine)(0.7), ebm.grad(plain)(0.7))
    close(jvp1(mine, 0.7), ebm.grad(plain)(0.7))
    close(ebm.grad(ebm.grad(mine))(0.7), ebm.grad(ebm.grad(plain))(0.7))
    close(jvp1(ebm.grad(mine), 0.7), ebm.grad(ebm.grad(plain))(0.7))


def test_repeat_with_trees_numbers_and_weak_carries():
    def body(i, c, x):
        return {"s": c["s"] + np.sum(x["a"]), "n": c["n"] + 1}, (c["s"], i)

    xs = {"a": np.ones((4, 2), np.float32)}
    carry, (sums, steps) = ebm.repeat(body, 4, {"s": 0.0, "n": 0}, xs=xs, stack=True)
    assert carry["s"].dtype == np.float32
    assert carry["n"].dtype == np.int32
    assert carry["s"] == 8
    assert carry["n"] == 4
    assert sums.tolist() == [0, 2, 4, 6]
    assert steps.tolist() == [0, 1, 2, 3]
    half = ebm.jit(lambda x: ebm.repeat(lambda i, c: c * 0.5 + i, 3, x))(np.float32(1))
    assert half.dtype == np.float32


def test_repeat_zero_times():
    carry, outs = ebm.repeat(lambda i, c: (c + 1, c), 0, X, stack=True)
    close(carry, X)
    assert outs.shape == (0, 4, 3)
    close(ebm.grad(lambda x: np.sum(ebm.repeat(lambda i, c: c**2, 0, x)))(X), np.ones_like(X))


# ---- jit, caches, threads --------------------------------------------------------------------


def counting(f):
    def g(*args):
        g.traces += 1
        return f(*args)

    g.traces = 0
    return g


def test_compiled_once_for_a_signature():
    f = counting(lambda x: np.sum(x))
    g = ebm.jit(f)
    for _ in range(3):
        g(X)
    assert f.traces == 2  # twice, to see that it is pure
    g(X.astype("float32"))
    g(X[0])
    assert f.traces == 6
    for _ in range(3):
        ebm.grad(f)(X)
    assert f.traces == 8
    g({"a": X}["a"])
    assert f.traces == 8


def test_numbers_do_not_compile_anew():
    f = counting(lambda x, s: x * s)
    g = ebm.jit(f)
    assert g(X[0].astype("float32"), 2.0).dtype == np.float32
    close(g(X[0], 3.0), 3 * X[0])
    close(g(X[0], 4.0), 4 * X[0])
    assert f.traces == 4


def test_static_arguments():
    f = ebm.jit(lambda x, n, kind: x * n if kind == "mul" else x + n, static_argnums=(1, -1))
    close(f(X, 3, "mul"), 3 * X)
    close(f(X, 3, "add"), 3 + X)
    loop = ebm.jit(lambda x, n: ebm.repeat(lambda i, c: 2 * c, n, x), static_argnums=1)
    assert loop(1.0, 5) == 32


def test_what_derivatives_share_is_computed_once():
    """Each names its variable anew, and the plan sees through the names."""
    w = rng.standard_normal((3, 3))

    def f(x):
        return np.tanh(np.tanh(x @ w) @ w)

    def both(x, t, u):
        first, second = (ebm.jvp(f, (x,), (v,))[1] for v in (t, u))
        return f(x), first, second, ebm.vjp(f, x)[1](u)[0]

    with ebm.profile() as profile:
        y, first, second, back = ebm.jit(both)(X, X + 1, X - 1)
    products = sum(row.calls for row in profile.rows() if row.name.startswith("matmul"))
    assert products == 2 + 2 * 2 + 2
    close(first, ebm.jvp(f, (X,), (X + 1,))[1])
    close(second, ebm.jvp(f, (X,), (X - 1,))[1])
    close(back, ebm.vjp(f, X)[1](X - 1)[0])
    close(y, np.tanh(np.tanh(X @ w) @ w))


# ---- arguments that are given away -----------------------------------------------------------


def momentum(state, slope):
    """A step whose new position needs the old one after the velocity has changed."""
    v = 0.5 * state["v"] + slope
    return {"x": state["x"] - v, "v": v, "n": state["n"] + 1}, (state["x"] * v).sum()


def momentum_state():
    return {"x": X.copy(), "v": np.ones_like(X), "n": np.zeros((), np.int32)}


def test_donated_arrays_become_results():
    step = ebm.jit(momentum, donate_argnums=0)
    want, want_sum = momentum(momentum_state(), X)
    state = momentum_state()
    got, total = step(state, X)
    for name in want:
        assert got[name] is state[name]
        close(got[name], want[name])
    close(total, want_sum)
    assert step(got, X)[0]["x"] is state["x"]  # and once more, in the same memory


def test_donation_copies_what_is_not_the_callers_to_give():
    step = ebm.jit(momentum, donate_argnums=0)
    want = momentum(momentum_state(), X)[0]

    def gives(state, slope, kept):
        before = kept.copy()
        got = step(state, slope)[0]
        assert got["x"] is not kept
        np.testing.assert_array_equal(kept, before)
        for name in want:
            close(got[name], want[name])

    frozen, shared = X.copy(), X.copy()
    frozen.flags.writeable = False
    gives(momentum_state() | {"x": frozen}, X, frozen)
    gives(momentum_state() | {"x": shared}, shared, shared)
    longer = np.concatenate([X, X])
    gives(momentum_state() | {"x": longer[: len(X)]}, longer[: len(X)], longer)
    one = np.ones_like(X)
    got = ebm.jit(lambda a, b: (a + b, a - b), donate_argnums=(0, 1))(one, one)
    close(got[0], 2 * np.ones_like(X))
    close(got[1], np.zeros_like(X))


def test_donation_with_static_and_traced_arguments():
    step = ebm.jit(lambda n, x: n * x, static_argnums=0, donate_argnums=-1)
    x = X.copy()
    assert step(3, x) is x
    close(x, 3 * X)
    close(ebm.grad(lambda x: step(2, x).sum())(X), np.full_like(X, 2))
    grown = ebm.jit(lambda x: np.concatenate([x, x]), donate_argnums=0)(X)  # no result fits
    close(grown, np.concatenate([X, X]))


def test_plans_go_with_their_function():
    def make():
        f = lambda x: np.sum(x**2)  # noqa: E731
        ebm.grad(f)(X)
        ebm.jit(f)(X)
        ebm.vjp(f, X)[1](1.0)
        ebm.hvp(f, (X,), (X,))
        return weakref.ref(f)

    made = [make() for _ in range(3)]
    gc.collect()
    assert all(f() is None for f in made)


def test_methods_and_partials():
    class Model:
        def __init__(self, a):
            self.a = a

        def energy(self, x):
            return self.a * np.sum(x**2)

        def __call__(self, x):
            return self.energy(x)

    close(ebm.grad(Model(2.0).energy)(X), 4 * X)
    close(ebm.grad(Model(3.0).energy)(X), 6 * X)
    close(ebm.grad(Model(3.0))(X), 6 * X)
    close(ebm.grad(functools.partial(lambda a, x: a * np.sum(x**2), 4.0))(X), 8 * X)


def test_threads_trace_and_run_side_by_side():
    f = ebm.jit(lambda x: ebm.repeat(lambda i, c: np.tanh(c @ np.eye(64)) + i, 20, x))
    x = rng.standard_normal((64, 64))
    expected = f(x)
    failures = []

    def work(k):
        for _ in range(20):
            if not np.array_equal(f(x), expected):
                failures.append(k)
        own = lambda y: np.sum(y**2) * k  # noqa: E731
        if not np.allclose(ebm.grad(own)(x), 2 * k * x):
            failures.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_wrappers_have_names():
    def energy(x):
        """The energy."""
        return np.sum(x)

    assert ebm.jit(energy).__name__ == "energy"
    assert ebm.grad(energy).__name__ == "grad(energy)"
    assert ebm.jit(energy).__doc__ == "The energy."


# ---- functions beyond NumPy ------------------------------------------------------------------


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def standardize(x, axis):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)


FUNCTIONAL = [
    (F.relu, lambda x: np.maximum(x, 0)),
    (F.swish, lambda x: x * sigmoid(x)),
    (F.sigmoid, sigmoid),
    (F.softplus, softplus),
    (lambda x: F.leaky_relu(x, 0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    (F.elu, lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)),
    (F.softmax, softmax),
    (lambda x: F.softmax(x, axis=0), lambda x: softmax(x, 0)),
    (F.log_softmax, lambda x: np.log(softmax(x))),
    (F.logsumexp, lambda x: np.log(np.sum(np.exp(x)))),
    (lambda x: F.logsumexp(x, 1, keepdims=True), lambda x: np.log(np.exp(x).sum(1))[:, None]),
    (lambda x: F.standardize(x, axis=(0, 1)), lambda x: standardize(x, (0, 1))),
    (lambda x: F.linear(x, W), lambda x: x @ W),
    (lambda x: F.linear(x, W, W[0]), lambda x: x @ W + W[0]),
    (lambda x: F.batch_norm(x, X[0], X[1]), lambda x: standardize(x, 0) * X[0] + X[1]),
    (lambda x: F.layer_norm(x, X[0], X[1]), lambda x: standardize(x, 1) * X[0] + X[1]),
    (lambda x: F.attention(x, X + 1, W.T[:4]),
     lambda x: softmax(x @ (X + 1).T / 3**0.5) @ W.T[:4]),
    (lambda x: F.put(x, [1, 3], x[:2]), lambda x: np.stack([x[0], x[0], x[2], x[1]])),
    (lambda x: F.scatter_add(x, [1, 3, 1, 0], 4),
     lambda x: np.stack([x[3], x[0] + x[2], x[0] * 0, x[1]])),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(FUNCTIONAL)))
def test_functional_value_and_gradient(k):
    mine, plain = FUNCTIONAL[k]
    close(mine(X), plain(X), rtol=1e-11)
    close(ebm.jit(mine)(X), plain(X), rtol=1e-11)
    weights = rng.standard_normal(plain(X).shape)
    g = ebm.grad(lambda x: np.sum(mine(x) * weights))(X)
    close(g, numeric_grad(lambda x: np.sum(plain(x) * weights), X), rtol=1e-5, atol=1e-7)


def naive_conv(x, w, stride, padding, dilation):
    (sh, sw), (dh, dw) = (stride, stride), (dilation, dilation)
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    kh, kw = w.shape[:2]
    oh = (x.shape[1] - dh * (kh - 1) - 1) // sh + 1
    ow = (x.shape[2] - dw * (kw - 1) - 1) // sw + 1
    out = np.zeros((x.shape[0], oh, ow, w.shape[3]))
    for i in range(kh):
        for j in range(kw):
            part = x[:, i * dh :, j * dw :][
                :, : (oh - 1) * sh + 1 : sh, : (ow - 1) * sw + 1 : sw
            ]
            out += part @ w[i, j]
    return out


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 1)]
)
def test_conv_and_its_adjoint(stride, padding, dilation):
    x, w = rng.standard_normal((2, 7, 8, 3)), rng.standard_normal((3, 2, 3, 4))
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    expected = naive_conv(x, w, stride, padding, dilation)
    got = F.conv(x, w, **options)
    close(got, expected, atol=1e-11)
    q = rng.standard_normal(expected.shape)
    x_ct, w_ct = ebm.vjp(lambda x, w: F.conv(x, w, **options), x, w)[1](q)
    x_t, w_t = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
    close(np.sum(x_ct * x_t), np.sum(naive_conv(x_t, w, stride, padding, dilation) * q))
    close(np.sum(w_ct * w_t), np.sum(naive_conv(x, w_t, stride, padding, dilation) * q))
    back = F.conv_transpose(q, w, **options)
    rest = (slice(None), slice(0, back.shape[1]), slice(0, back.shape[2]))
    close(back, x_ct[rest], atol=1e-11)


def test_pooling_resizing_and_one_hot():
    x = rng.standard_normal((2, 6, 4, 3))
    blocks = x.reshape(2, 3, 2, 2, 2, 3)
    close(F.max_pool(x, 2), blocks.max(axis=(2, 4)))
    close(F.avg_pool(x, 2), blocks.mean(axis=(2, 4)))
    close(F.upsample(x, 2), x.repeat(2, 1).repeat(2, 2))
    close(F.group_norm(x, np.ones(3), np.zeros(3), 3), standardize(x, (1, 2)))
    assert F.one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    w = rng.standard_normal((3, 3, 3, 2))
    assert F.conv(x, w, padding="same").shape == (2, 6, 4, 2)
    g = ebm.grad(lambda x: np.sum(F.max_pool(x, 3, 2, 1) ** 2))(x)
    close(
        g, numeric_grad(lambda x: np.sum(F.max_pool(x, 3, 2, 1) ** 2), x), rtol=1e-5, atol=1e-7
    )
