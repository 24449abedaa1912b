"""The library's own networks, and a whole training step, against PyTorch in float64."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import estimators, networks, samplers

STEP_SIZE, LANGEVIN_STEPS, RATE, L2 = 0.05, 5, 0.3, 0.01

SPECS = {
    "mlp": (networks.MLP(hidden=(9, 7), activation="swish"), (3,)),
    "mlp-tanh": (networks.MLP(hidden=(8,), activation="tanh"), (5,)),
    "convnet": (
        networks.ConvNet(channels=(4, 5), kernels=(3, 4), strides=(1, 2), head=(6,)),
        (6, 6, 2),
    ),
    "system5": (networks.ConvNet(channels=(4, 4, 6, 6)), (8, 8, 1)),
}


def torch_energy(torch, spec, p, x):
    """The network of `spec` with parameters p at x, in PyTorch."""
    functional = torch.nn.functional
    act = {"swish": functional.silu, "tanh": torch.tanh}[spec.activation]
    layer = 0
    while f"c{layer}.w" in p:
        w = p[f"c{layer}.w"].permute(3, 2, 0, 1)
        stride = spec.strides[min(layer, len(spec.strides) - 1)]
        x = functional.conv2d(x.permute(0, 3, 1, 2), w, p[f"c{layer}.b"], stride, 1)
        x = act(x.permute(0, 2, 3, 1))
        layer += 1
    x = x.flatten(1)
    layer = 0
    while f"l{layer + 1}.w" in p:
        x = act(x @ p[f"l{layer}.w"] + p[f"l{layer}.b"])
        layer += 1
    return (x @ p[f"l{layer}.w"] + p[f"l{layer}.b"])[:, 0]


def leaves(torch, parameters):
    return {k: torch.tensor(v, requires_grad=True) for k, v in parameters.items()}


@pytest.mark.parametrize("case", SPECS)
def test_energy_and_data_gradient(torch, rng, case):
    spec, row = SPECS[case]
    net = spec.bind(row, random_state=3, dtype=np.float64)
    x = rng.uniform(-1, 1, (7, *row))
    at = torch.tensor(x, requires_grad=True)
    want = torch_energy(torch, spec, leaves(torch, net.parameters()), at)
    (slope,) = torch.autograd.grad(want.sum(), at)
    np.testing.assert_allclose(net(x), want.detach().numpy(), rtol=1e-11, atol=1e-13)
    got = ebm.grad(lambda y: np.sum(net(y)))(x)
    np.testing.assert_allclose(got, slope.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("case", SPECS)
def test_one_step_of_contrastive_divergence(torch, rng, case):
    """Noiseless Langevin steps, the regularised loss, its gradients, one SGD step."""
    spec, row = SPECS[case]
    x = rng.uniform(-1, 1, (6, *row))
    est = estimators.CD(
        spec,
        samplers.Langevin(step_size=STEP_SIZE, noise=0.0, n_steps=LANGEVIN_STEPS),
        l2=L2,
        data_noise=0.0,
        learning_rate=RATE,
        optimizer="sgd",
        betas=(0.0, 0.0),
        batch_size=len(x),
        max_steps=0,
        dtype=np.float64,
        random_state=0,
    ).fit(x)
    before = est.energy_.parameters()
    est.partial_fit(x, n_steps=1)
    after = est.energy_.parameters()

    p = leaves(torch, before)
    negative = torch.tensor(x)
    for _ in range(LANGEVIN_STEPS):
        negative.requires_grad_()
        (g,) = torch.autograd.grad(torch_energy(torch, spec, p, negative).sum(), negative)
        negative = (negative - STEP_SIZE * g).detach()
    e_data = torch_energy(torch, spec, p, torch.tensor(x))
    e_samples = torch_energy(torch, spec, p, negative)
    gap = e_data.mean() - e_samples.mean()
    loss = gap + L2 * (e_data.square().mean() + e_samples.square().mean())
    grads = torch.autograd.grad(loss, list(p.values()))

    np.testing.assert_allclose(est.history_["gap"][-1], gap.item(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(est.history_["loss"][-1], loss.item(), rtol=1e-9, atol=1e-12)
    for (name, old), grad in zip(before.items(), grads, strict=True):
        moved = (old - after[name]) / RATE
        scale = 1e-3 + float(grad.abs().max())
        np.testing.assert_allclose(moved, grad.numpy(), rtol=0, atol=1e-9 * scale, err_msg=name)
