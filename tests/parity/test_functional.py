"""Composites against PyTorch in float64: values, and gradients in every array."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import functional as F

N = 3


def nchw(function):
    """A PyTorch function of (N, C, H, W) as one of (N, H, W, C)."""
    return lambda t, x, *args: function(t, x.permute(0, 3, 1, 2), *args).permute(0, 2, 3, 1)


def shuffled(t, x):
    """depth_to_space by pixel_shuffle, whose channels are in the order (C, row, column)."""
    n, c, h, w = x.shape
    x = x.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 1, 2, 4, 5).reshape(n, c, h, w)
    return t.nn.functional.pixel_shuffle(x, 2)


def spectral(t, w, u):
    matrix = w.reshape(-1, w.shape[-1])
    with t.no_grad():
        u = u.detach()
        for _ in range(3):
            v = t.nn.functional.normalize(matrix @ u, dim=0)
            u = t.nn.functional.normalize(matrix.T @ v, dim=0)
        v = t.nn.functional.normalize(matrix @ u, dim=0)
    return w / (v @ matrix @ u)


def kl(t, m, l, n, k):  # noqa: E741
    normal = t.distributions.Normal
    one, other = normal(m, (0.5 * l).exp()), normal(n, (0.5 * k).exp())
    return t.distributions.kl_divergence(one, other).sum(-1)


def norm(name):
    def of(t, x, gain, bias):
        functional = t.nn.functional
        if name == "group":
            return functional.group_norm(x, 2, gain, bias, 1e-3)
        if name == "instance":
            return functional.instance_norm(x, weight=gain, bias=bias, eps=1e-3)
        return functional.batch_norm(x, None, None, gain, bias, True, 0.0, 1e-3)

    return nchw(of)


IMAGE, EACH = (N, 6, 5, 4), (4,)
ACTIVATIONS = {
    "relu": "relu",
    "swish": "silu",
    "silu": "silu",
    "gelu": "gelu",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
    "relu6": "relu6",
    "hard_tanh": "hardtanh",
    "mish": "mish",
    "selu": "selu",
    "celu": "celu",
    "softsign": "softsign",
    "log_sigmoid": "logsigmoid",
    "glu": "glu",
}
# name: (shapes, ebmlib's, PyTorch's)
CASES = {
    name: (
        ((4, 6),),
        lambda x, name=name: getattr(F, name)(3 * x),
        lambda t, x, other=other: getattr(t.nn.functional, other)(3 * x),
    )
    for name, other in ACTIVATIONS.items()
}
CASES |= {
    "softmax": (((4, 6),), F.softmax, lambda t, x: t.softmax(x, -1)),
    "log_softmax": (((4, 6),), F.log_softmax, lambda t, x: t.log_softmax(x, -1)),
    "logsumexp": (((4, 6),), lambda x: F.logsumexp(x, 1), lambda t, x: t.logsumexp(x, 1)),
    "layer_norm": (
        ((N, 5), (5,), (5,)),
        lambda x, a, b: F.layer_norm(x, a, b, 1e-3),
        lambda t, x, a, b: t.nn.functional.layer_norm(x, (5,), a, b, 1e-3),
    ),
    "rms_norm": (
        ((N, 5), (5,)),
        lambda x, a: F.rms_norm(x, a, 1e-3),
        lambda t, x, a: t.nn.functional.rms_norm(x, (5,), a, 1e-3),
    ),
    "group_norm": (
        (IMAGE, EACH, EACH),
        lambda x, a, b: F.group_norm(x, a, b, 2, 1e-3),
        norm("group"),
    ),
    "instance_norm": (
        (IMAGE, EACH, EACH),
        lambda x, a, b: F.instance_norm(x, a, b, 1e-3),
        norm("instance"),
    ),
    "batch_norm": (
        (IMAGE, EACH, EACH),
        lambda x, a, b: F.batch_norm(x, a, b, 1e-3),
        norm("batch"),
    ),
    "attention": (
        ((N, 4, 3), (N, 5, 3), (N, 5, 2)),
        F.attention,
        lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v),
    ),
    "weight_norm": (
        ((2, 3, 4), EACH),
        F.weight_norm,
        lambda t, v, g: t._weight_norm(v, g.reshape(1, 1, 4), 2),
    ),
    "spectral_norm": (
        ((2, 3, 4), EACH),
        lambda w, u: F.spectral_norm(w, u, 3)[0],
        spectral,
    ),
    "max_pool": (
        (IMAGE,),
        lambda x: F.max_pool(x, 3, 2, 1),
        nchw(lambda t, x: t.nn.functional.max_pool2d(x, 3, 2, 1)),
    ),
    "avg_pool": (
        (IMAGE,),
        lambda x: F.avg_pool(x, (3, 2), 2, 1),
        nchw(lambda t, x: t.nn.functional.avg_pool2d(x, (3, 2), 2, 1)),
    ),
    "avg_pool-blocks": (
        ((N, 6, 4, 2),),
        F.avg_pool,
        nchw(lambda t, x: t.nn.functional.avg_pool2d(x, 2)),
    ),
    "global_avg_pool": ((IMAGE,), F.global_avg_pool, lambda t, x: x.mean((1, 2))),
    "global_max_pool": ((IMAGE,), F.global_max_pool, lambda t, x: x.amax((1, 2))),
    "upsample": (
        (IMAGE,),
        F.upsample,
        nchw(lambda t, x: t.nn.functional.interpolate(x, scale_factor=2)),
    ),
    "resize-nearest": (
        (IMAGE,),
        lambda x: F.resize(x, (9, 2)),
        nchw(lambda t, x: t.nn.functional.interpolate(x, (9, 2))),
    ),
    "resize-up": (
        (IMAGE,),
        lambda x: F.resize(x, (13, 8), "bilinear"),
        nchw(lambda t, x: t.nn.functional.interpolate(x, (13, 8), mode="bilinear")),
    ),
    "resize-down": (
        (IMAGE,),
        lambda x: F.resize(x, (2, 3), "bilinear"),
        nchw(lambda t, x: t.nn.functional.interpolate(x, (2, 3), mode="bilinear")),
    ),
    "blur": (
        (IMAGE,),
        F.blur,
        nchw(
            lambda t, x: t.nn.functional.conv2d(
                t.nn.functional.pad(x, (1, 1, 1, 1), "reflect"),
                (lambda k: t.outer(k, k).expand(4, 1, 3, 3))(
                    t.tensor([0.25, 0.5, 0.25], dtype=t.float64)
                ),
                groups=4,
            )
        ),
    ),
    "depth_to_space": ((IMAGE,), F.depth_to_space, nchw(shuffled)),
    "huber": (
        ((4, 6),),
        lambda x: F.huber(x, 0.4),
        lambda t, x: t.nn.functional.huber_loss(
            x, t.zeros_like(x), reduction="none", delta=0.4
        ),
    ),
    "cross_entropy": (
        ((4, 6),),
        lambda x: F.cross_entropy(x, np.array([5, 0, 2, 2])),
        lambda t, x: t.nn.functional.cross_entropy(x, t.tensor([5, 0, 2, 2]), reduction="none"),
    ),
    "bce_with_logits": (
        ((4, 6),),
        lambda x: F.bce_with_logits(x, np.full((4, 6), 0.3)),
        lambda t, x: t.nn.functional.binary_cross_entropy_with_logits(
            x, t.full_like(x, 0.3), reduction="none"
        ),
    ),
    "kl_normal": (((4, 6),) * 4, F.kl_normal, kl),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients(torch, rng, name):
    shapes, ours, theirs = CASES[name]
    arrays = [rng.standard_normal(shape) for shape in shapes]
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    want = theirs(torch, *tensors)
    weights = rng.standard_normal(tuple(want.shape))
    wanted = torch.autograd.grad(
        (want * torch.tensor(weights)).sum(), tensors, allow_unused=True
    )
    np.testing.assert_allclose(ours(*arrays), want.detach().numpy(), rtol=1e-11, atol=1e-12)
    got = ebm.grad(lambda *a: np.sum(ours(*a) * weights), argnums=tuple(range(len(arrays))))(
        *arrays
    )
    for g, w in zip(got, wanted, strict=True):
        w = np.zeros_like(g) if w is None else w.numpy()
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("size", [(7, 7), (1, 1), (28, 3)])
def test_resize_keeps_constants_and_edges(size, rng):
    x = np.broadcast_to(rng.standard_normal((1, 1, 1, 2)), (1, 5, 4, 2))
    for method in ("nearest", "bilinear"):
        y = F.resize(x, size, method)
        np.testing.assert_allclose(y, np.broadcast_to(x[:, :1, :1], (1, *size, 2)), rtol=1e-15)


def test_dropout_is_inverted_keyed_and_has_its_purpose(rng):
    x, key = np.ones((200, 500)), ebm.random.key(3)
    y = F.dropout(x, key, 0.3, purpose=1)
    assert set(np.unique(y)) == {0.0, 1 / 0.7}
    # 5 standard errors of 10^5 draws: false alarms 6e-7.
    assert abs((y == 0).mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / y.size)
    np.testing.assert_array_equal(y, F.dropout(x, key, 0.3, purpose=1))
    assert (y != F.dropout(x, key, 0.3, purpose=2)).any()
    assert (y != F.dropout(x, ebm.random.key(4), 0.3, purpose=1)).any()
    gradient = ebm.grad(lambda x: np.sum(F.dropout(x, key, 0.3, purpose=1)))(x)
    np.testing.assert_array_equal(gradient, y)
    np.testing.assert_array_equal(F.dropout(x, key, 0.0, purpose=1), x)


def test_spectral_norm_goes_on_from_u(rng):
    w = rng.standard_normal((3, 3, 4, 5))
    u = rng.standard_normal(5)
    for _ in range(200):
        scaled, u = F.spectral_norm(w, u)
    assert np.linalg.norm(scaled.reshape(36, 5), 2) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.resize(np.ones((1, 2, 2, 1)), (0, 3)), "resize: size: got 0"),
        (lambda: F.resize(np.ones((1, 2, 2, 1)), 3, "cubic"), "got 'cubic', expected nearest"),
        (lambda: F.resize(np.ones((2, 2)), 3), r"resize: x: got \(2, 2\), expected images"),
        (lambda: F.blur(np.ones((1, 9, 9, 1)), 4), "blur: size: got 4, expected an odd number"),
        (lambda: F.blur(np.ones((1, 2, 9, 1)), 5), "blur: got 2 pixels, expected more than 2"),
        (lambda: F.blur(np.ones((1, 2, 9, 1)), 3, "wrap"), "padding: got 'wrap'"),
        (lambda: F.glu(np.ones(3)), r"glu: axis -1 of \(3,\): expected an even size"),
        (lambda: F.celu(np.ones(3), 0.0), "celu: alpha: got 0, expected > 0"),
        (lambda: F.huber(np.ones(3), -1.0), "huber: delta: got -1, expected > 0"),
        (lambda: F.dropout(np.ones(3), ebm.random.key(0), 1.0, purpose=0), "rate: got 1"),
        (lambda: F.depth_to_space(np.ones((1, 1, 1, 6))), r"got 6 channels.*multiple of 2\^2"),
        (lambda: F.space_to_depth(np.ones((1, 3, 2, 6))), "divisible by 2"),
        (lambda: F.cross_entropy(np.ones((2, 3)), np.ones(3, int)), r"labels \(3,\): expected"),
        (lambda: F.kl_normal(1.0, 1.0), "got scalars"),
        (lambda: F.weight_norm(np.ones(3), np.ones(3)), "rank: got 1, expected at least 2"),
        (
            lambda: F.spectral_norm(np.ones((2, 3)), np.ones(2)),
            r"u: got \(2,\), expected \(3,\)",
        ),
        (lambda: F.spectral_norm(np.ones((2, 3)), np.ones(3), -1), "n_iterations: got -1"),
        (lambda: F.instance_norm(np.ones(3), np.ones(3), np.ones(3)), "rank: got 1"),
        (lambda: F.avg_pool(np.ones((1, 3, 3, 1)), 0), "avg_pool"),
    ],
)
def test_bad_arguments_say_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()
