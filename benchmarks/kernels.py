"""The kernels of M1: their cases, arrays and checks, and how each library is asked for them.

A library's function gives triples for a case, none where it has nothing: the call; what makes a
NumPy array of its result, channels last; and how many times the case's work a call does.
"""

import math

import dense
import numpy as np
from micro import COUNTED

CONVS = ("conv", "conv data", "conv weight")  # and its two adjoints
PRODUCT_SIZES = ((256, 1024, 1024), (128, 128, 128), (64, 784, 500), (64, 100, 100))  # M, N, K
# Images, their side, channels in and out, side of the kernel, stride; padding 1.
CONV_SIZES = ((32, 16, 128, 128, 3, 1), (32, 28, 64, 64, 3, 1), (32, 28, 64, 64, 4, 2))

CASES = [("matmul", size) for size in PRODUCT_SIZES]
CASES += [(kind, size) for size in CONV_SIZES for kind in CONVS]
CASES += [("swish", (256, 1024)), ("normal", (1_000_000,))]


# ---- arrays, and what is to come out ---------------------------------------------------------


def conv_shapes(size):
    """Of images, weights and results, channels last."""
    batch, side, channels, out, kernel, stride = size
    high = (side + 2 - kernel) // stride + 1
    images, results = (batch, side, side, channels), (batch, high, high, out)
    return images, (kernel, kernel, channels, out), results


def shapes_of(kind, size):
    """Of the operands."""
    if kind == "normal":
        return ()
    if kind == "swish":
        return size, size[-1:]
    if kind == "matmul":
        m, n, k = size
        return (m, k), (k, n)
    x, w, q = conv_shapes(size)
    return {"conv": (x, w), "conv data": (q, w), "conv weight": (x, q)}[kind]


def arrays_of(kind, size):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s, dtype=np.float32) for s in shapes_of(kind, size)]


def work(kind, size):
    """Of a call: 10^9 operations, or 10^6 numbers."""
    if kind in COUNTED:
        return math.prod(size) / 1e6
    if kind == "matmul":
        return 2e-9 * math.prod(size)
    _, w, q = conv_shapes(size)
    return 2e-9 * math.prod(w[:3]) * math.prod(q)


def expect(kind, size, arrays, got):
    """SystemExit if a result is not what it should be."""
    if kind == "normal":
        mean, variance = got.mean(), got.var()
        if abs(mean) > 5e-3 or abs(variance - 1) > 1e-2:
            raise SystemExit(f"normal: mean {mean:.3g}, variance {variance:.3g}")
        return
    a, b = arrays
    if kind == "matmul":
        want = a.astype(np.float64) @ b
    elif kind == "swish":
        want = swish(a.astype(np.float64), b)
    else:
        x, w = (np.zeros(shape, np.float32) for shape in conv_shapes(size)[:2])
        given = {"conv": (a, b, None), "conv data": (x, b, a), "conv weight": (a, w, b)}
        x, w, q = given[kind]
        q = None if q is None else q.astype(np.float64)
        want = dense.conv_reference(x, w, size[-1], q)[CONVS.index(kind)]
    dense.check(got, want, kind)


def swish(a, b):
    """Of a + b."""
    x = a + b
    return x / (1 + np.exp(-x))


# ---- the libraries ---------------------------------------------------------------------------


def ebmlib_calls(kind, size, arrays):
    import ebmlib as ebm
    from ebmlib._core import ops

    def build(g, *nodes):
        if kind == "normal":
            return ops.normal(g, *nodes, 0, np.float32, size)
        if kind == "matmul":
            return ops.matmul(g, *nodes)
        if kind == "swish":
            a, b = nodes
            return ops.swish(g, ops.add(g, a, ops.broadcast_to(g, b, size)))
        _, side, _, _, kernel, stride = size
        sides = {"conv": (), "conv data": (side, side), "conv weight": (kernel, kernel)}[kind]
        op = {"conv": ops.conv, "conv data": ops.conv_data, "conv weight": ops.conv_weight}
        return op[kind](g, *nodes, dense.geometry(stride), *sides)

    given = arrays or [ebm.random.key(0)]
    call = dense.plan(build, *given)
    yield lambda: call(*given), lambda result: result[0], 1


def numpy_calls(kind, size, arrays):
    if kind == "normal":
        rng, out = np.random.default_rng(0), np.empty(size, np.float32)
        yield lambda: rng.standard_normal(out=out, dtype=np.float32), np.array, 1
    elif kind == "matmul":
        a, b = arrays
        out = np.empty((len(a), b.shape[1]), np.float32)
        yield lambda: np.matmul(a, b, out=out), np.array, 1
    elif kind == "swish":
        yield lambda: swish(*arrays), np.array, 1


def torch_calls(kind, size, arrays):
    import torch

    torch.set_grad_enabled(False)
    if kind == "normal":
        out = torch.empty(size)
        yield out.normal_, torch.Tensor.numpy, 1
        yield lambda: torch.randn(size), torch.Tensor.numpy, 1
    elif kind == "matmul":
        a, b = map(torch.from_numpy, arrays)
        out = torch.empty(len(a), b.shape[1])
        yield lambda: torch.mm(a, b, out=out), torch.Tensor.numpy, 1
    elif kind == "swish":
        a, b = map(torch.from_numpy, arrays)
        yield lambda: torch.nn.functional.silu(a + b), torch.Tensor.numpy, 1
    else:
        for layout in (torch.contiguous_format, torch.channels_last):
            yield torch_conv(kind, size, arrays, layout)


def torch_conv(kind, size, arrays, layout):
    import torch

    stride = size[-1]

    def tensor(a):
        """(N, H, W, C) as N, C, H, W; (kh, kw, in, out) as out, in, kh, kw."""
        return torch.from_numpy(a).contiguous(memory_format=layout)

    def images(a):
        return tensor(a.transpose(0, 3, 1, 2))

    def weights(a):
        return tensor(a.transpose(3, 2, 0, 1))

    def adjoint(q, x, w, which):
        mask = [which == 0, which == 1, False]
        pairs = [stride] * 2, [1, 1], [1, 1]
        return torch.ops.aten.convolution_backward(
            q, x, w, None, *pairs, False, [0, 0], 1, mask
        )[which]

    a, b = arrays
    x_shape, w_shape, _ = conv_shapes(size)
    if kind == "conv weight":
        x, q, w = images(a), images(b), weights(np.zeros(w_shape, np.float32))
        return lambda: adjoint(q, x, w, 1), lambda t: t.numpy().transpose(2, 3, 1, 0), 1
    w = weights(b)
    if kind == "conv":
        x = images(a)
        call = lambda: torch.nn.functional.conv2d(x, w, None, stride, 1)  # noqa: E731
    else:
        q, x = images(a), images(np.zeros(x_shape, np.float32))
        call = lambda: adjoint(q, x, w, 0)  # noqa: E731
    return call, lambda t: t.numpy().transpose(0, 2, 3, 1), 1


def jax_calls(kind, size, arrays):
    import jax

    if kind == "normal":
        for name in ("threefry2x32", "rbg"):
            key = jax.random.key(0, impl=name)
            yield waiting(jax.jit(lambda key: jax.random.normal(key, size)), key), np.array, 1
        return
    a, b = map(jax.numpy.asarray, arrays)
    if kind == "matmul":
        more = 50  # products to a dispatch, each depending on the one before

        def many(a, b):
            return jax.lax.fori_loop(0, more, lambda _, c: (a + 0 * c[:, :1]) @ b, a @ b)

        yield waiting(jax.jit(many), a, b), np.array, more + 1
    elif kind == "swish":
        yield waiting(jax.jit(lambda a, b: jax.nn.swish(a + b)), a, b), np.array, 1
    else:
        yield waiting(jax.jit(jax_conv(kind, size)), a, b), np.array, 1


def jax_conv(kind, size):
    import jax

    x, w = (jax.ShapeDtypeStruct(shape, np.float32) for shape in conv_shapes(size)[:2])

    def conv(x, w):
        names = ("NHWC", "HWIO", "NHWC")
        pairs = (size[-1],) * 2, ((1, 1), (1, 1))
        return jax.lax.conv_general_dilated(x, w, *pairs, dimension_numbers=names)

    return {
        "conv": conv,
        "conv data": lambda q, w: jax.linear_transpose(lambda x: conv(x, w), x)(q)[0],
        "conv weight": lambda x, q: jax.linear_transpose(lambda w: conv(x, w), w)(q)[0],
    }[kind]


def waiting(f, *args):
    return lambda: f(*args).block_until_ready()


CALLS = {
    "ebmlib": ebmlib_calls,
    "numpy": numpy_calls,
    "torch": torch_calls,
    "jax": jax_calls,
}
