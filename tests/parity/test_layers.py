"""A network of layers against PyTorch in float64: energies, and gradients in all parameters."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import functional as F
from ebmlib import layers, networks

ROW = (6, 6, 3)


def energy(p, x):
    """A strided convolution, group norm, a residual attention block, pooling, dense layers."""
    h = layers.conv(p, "stem", x, 8, 3, 2, 1)
    h = F.mish(layers.group_norm(p, "norm", h, 4))
    h = layers.depthwise_conv(p, "depth", h, 3, padding=1)
    places = h.reshape(x.shape[0], 9, 8)
    places = layers.residual(
        p,
        "block",
        lambda p, x: layers.attention(p, "a", layers.layer_norm(p, "n", x), 2),
        places,
    )
    up = layers.conv_transpose(p, "up", places.reshape(x.shape[0], 3, 3, 8), 4, 4, 2, 1)
    rows = F.global_avg_pool(F.softplus(up))
    rows = layers.rms_norm(p, "rms", layers.weight_norm_dense(p, "wn", rows, 5))
    return layers.dense(p, "out", rows, 1)[:, 0]


def torch_energy(t, p, x):
    f = t.nn.functional

    def image(w):
        return w.permute(3, 2, 0, 1)

    h = f.conv2d(x.permute(0, 3, 1, 2), image(p["stem.w"]), p["stem.b"], 2, 1)
    h = f.mish(f.group_norm(h, 4, p["norm.g"], p["norm.b"], 1e-5))
    h = f.conv2d(h, image(p["depth.w"]), p["depth.b"], 1, 1, groups=8)
    places = h.permute(0, 2, 3, 1).reshape(-1, 9, 8)
    y = f.layer_norm(places, (8,), p["block.n.g"], p["block.n.b"], 1e-5)
    q, k, v = (
        (y @ p[f"block.a.{leaf}.w"]).reshape(-1, 9, 2, 4).transpose(1, 2) for leaf in "qkv"
    )
    y = f.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, 9, 8)
    places = places + y @ p["block.a.o.w"]
    h = places.reshape(-1, 3, 3, 8).permute(0, 3, 1, 2)
    h = f.conv_transpose2d(h, image(p["up.w"]), p["up.b"], 2, 1)
    rows = f.softplus(h).mean((2, 3))
    rows = rows @ t._weight_norm(p["wn.v"], p["wn.g"][None], 1) + p["wn.b"]
    rows = f.rms_norm(rows, (5,), p["rms.g"], 1e-5)
    return (rows @ p["out.w"] + p["out.b"])[:, 0]


@pytest.fixture
def net(rng):
    net = networks.Function(energy).bind(ROW, random_state=0, dtype="float64")
    p = net.parameters()
    return net.set_parameters({k: a + 0.1 * rng.standard_normal(a.shape) for k, a in p.items()})


def test_energies_and_gradients(torch, net, rng):
    x = rng.standard_normal((5, *ROW))
    p = {k: torch.tensor(v, requires_grad=True) for k, v in net.parameters().items()}
    at = torch.tensor(x, requires_grad=True)
    want = torch_energy(torch, p, at)
    np.testing.assert_allclose(net(x), want.detach().numpy(), rtol=1e-11)
    wanted = torch.autograd.grad(want.sum(), [at, *p.values()])
    slope = ebm.grad(lambda x: np.sum(net(x)))(x)
    grads = ebm.grad(lambda p: np.sum(energy(p, x)))(net.parameters())
    for got, wanted_one in zip([slope, *(grads[k] for k in p)], wanted, strict=True):
        scale = 1e-3 + float(wanted_one.abs().max())
        np.testing.assert_allclose(got, wanted_one.numpy(), rtol=0, atol=1e-10 * scale)
