"""Whole losses and their parameter gradients against PyTorch, in float64.

The same network is written twice, once in NumPy for ebmlib and once in PyTorch, with the same
parameters; the losses are those of the five systems: energies, a gradient penalty, sliced score
matching, and a loss through five differentiated Langevin steps.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import functional as F

MLP_WIDTHS = (3, 16, 12, 1)
CONVS = ((3, 1), (4, 2), (4, 2))  # kernel, stride
CHANNELS = (2, 5, 6, 4)


@pytest.fixture
def mlp(rng):
    parameters = {}
    for k, (a, b) in enumerate(itertools.pairwise(MLP_WIDTHS)):
        parameters[f"w{k}"] = rng.standard_normal((a, b)) / np.sqrt(a)
        parameters[f"b{k}"] = 0.1 * rng.standard_normal(b)
    return parameters, rng.standard_normal((7, MLP_WIDTHS[0]))


@pytest.fixture
def convnet(rng):
    parameters = {}
    pairs = zip(CONVS, CHANNELS, CHANNELS[1:], strict=False)
    for k, ((size, _), a, b) in enumerate(pairs):
        parameters[f"w{k}"] = rng.standard_normal((size, size, a, b)) / np.sqrt(size * size * a)
        parameters[f"b{k}"] = 0.1 * rng.standard_normal(b)
    parameters["w"] = rng.standard_normal((16, 1)) / 4
    return parameters, rng.uniform(-1, 1, (3, 8, 8, CHANNELS[0]))


# ---- the networks, twice ---------------------------------------------------------------------
def mlp_energy(p, x):
    for k in range(len(MLP_WIDTHS) - 2):
        x = F.swish(x @ p[f"w{k}"] + p[f"b{k}"])
    k = len(MLP_WIDTHS) - 2
    return (x @ p[f"w{k}"] + p[f"b{k}"])[:, 0]


def conv_energy(p, x):
    for k, (_, stride) in enumerate(CONVS):
        x = F.leaky_relu(F.conv(x, p[f"w{k}"], stride, 1) + p[f"b{k}"], 0.2)
    return (x.reshape(x.shape[0], 16) @ p["w"])[:, 0]


def torch_mlp_energy(p, x):
    from torch.nn.functional import silu

    for k in range(len(MLP_WIDTHS) - 2):
        x = silu(x @ p[f"w{k}"] + p[f"b{k}"])
    k = len(MLP_WIDTHS) - 2
    return (x @ p[f"w{k}"] + p[f"b{k}"])[:, 0]


def torch_conv_energy(p, x):
    from torch.nn.functional import conv2d, leaky_relu

    x = x.permute(0, 3, 1, 2)
    for k, (_, stride) in enumerate(CONVS):
        w = p[f"w{k}"].permute(3, 2, 0, 1)
        x = leaky_relu(conv2d(x, w, p[f"b{k}"], stride, 1), 0.2)
    return (x.permute(0, 2, 3, 1).flatten(1) @ p["w"])[:, 0]


CASES = {
    "mlp": (mlp_energy, torch_mlp_energy),
    "convnet": (conv_energy, torch_conv_energy),
}
STEP, NOISE, STEPS = 0.1, 0.05, 5


# ---- the losses, twice -----------------------------------------------------------------------
def mean_energy(energy, p, x, noise):
    return np.mean(energy(p, x))


def gradient_penalty(energy, p, x, noise):
    g = ebm.grad(lambda y: np.sum(energy(p, y)))(x)
    return np.mean(energy(p, x)) + 0.1 * np.sum(g**2) / x.shape[0]


def sliced_score_matching(energy, p, x, noise):
    """Mean of v' H v + 1/2 |grad E|^2, from a jvp of the gradient."""

    def score(y):
        return -ebm.grad(lambda z: np.sum(energy(p, z)))(y)

    v = noise[0]
    s, sv = ebm.jvp(score, (x,), (v,))
    return (np.sum(v * sv) + 0.5 * np.sum(s**2)) / x.shape[0]


def through_langevin(energy, p, x, noise):
    """The mean energy after five Langevin steps, differentiated through all of them."""
    grad = ebm.grad(lambda y: np.sum(energy(p, y)))

    def step(i, y, n):
        return y - STEP * grad(y) + NOISE * n

    return np.mean(energy(p, ebm.repeat(step, STEPS, x, xs=noise)))


def torch_mean_energy(torch, energy, p, x, noise):
    return energy(p, x).mean()


def torch_gradient_penalty(torch, energy, p, x, noise):
    x = x.requires_grad_()
    e = energy(p, x)
    (g,) = torch.autograd.grad(e.sum(), x, create_graph=True)
    return e.mean() + 0.1 * g.square().sum() / len(x)


def torch_sliced_score_matching(torch, energy, p, x, noise):
    x, v = x.requires_grad_(), noise[0]
    (g,) = torch.autograd.grad(energy(p, x).sum(), x, create_graph=True)
    (hv,) = torch.autograd.grad((g * v).sum(), x, create_graph=True)
    return (-(v * hv).sum() + 0.5 * g.square().sum()) / len(x)


def torch_through_langevin(torch, energy, p, x, noise):
    x = x.requires_grad_()
    for n in noise:
        (g,) = torch.autograd.grad(energy(p, x).sum(), x, create_graph=True)
        x = x - STEP * g + NOISE * n
    return energy(p, x).mean()


LOSSES = {
    "mean_energy": (mean_energy, torch_mean_energy),
    "gradient_penalty": (gradient_penalty, torch_gradient_penalty),
    "sliced_score_matching": (sliced_score_matching, torch_sliced_score_matching),
    "through_langevin": (through_langevin, torch_through_langevin),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", CASES)
def test_loss_and_parameter_gradients(torch, request, rng, network, loss):
    parameters, x = request.getfixturevalue(network)
    noise = rng.standard_normal((STEPS, *x.shape))
    energy, torch_energy = CASES[network]
    ours, theirs = LOSSES[loss]

    value, grads = ebm.value_and_grad(lambda p: ours(energy, p, x, noise))(parameters)

    tensors = {k: torch.tensor(v, requires_grad=True) for k, v in parameters.items()}
    want = theirs(torch, torch_energy, tensors, torch.tensor(x), torch.tensor(noise))
    wanted = torch.autograd.grad(want, list(tensors.values()), allow_unused=True)

    np.testing.assert_allclose(value, want.item(), rtol=1e-11)
    for name, expected in zip(tensors, wanted, strict=True):
        got = grads[name]
        expected = np.zeros_like(got) if expected is None else expected.numpy()
        scale = np.max(np.abs(expected)) + 1e-3
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * scale, err_msg=name)


@pytest.mark.parametrize("network", CASES)
def test_gradient_and_hessian_in_the_data(torch, request, rng, network):
    parameters, x = request.getfixturevalue(network)
    energy, torch_energy = CASES[network]
    v = rng.standard_normal(x.shape)

    def total(y):
        return np.sum(energy(parameters, y))

    tensors = {k: torch.tensor(w) for k, w in parameters.items()}

    def torch_total(y):
        return torch_energy(tensors, y).sum()

    _, want = torch.autograd.functional.hvp(torch_total, torch.tensor(x), torch.tensor(v))
    got = ebm.hvp(total, (x,), (v,))
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-9, atol=1e-11)
    forward_over_reverse = ebm.jvp(ebm.grad(total), (x,), (v,))[1]
    np.testing.assert_allclose(forward_over_reverse, got, rtol=1e-10, atol=1e-12)
