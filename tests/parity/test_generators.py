"""Generators and batch norm, in training and evaluation, against PyTorch in float64."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import networks


def torch_twin(torch, g):
    """The generator as a PyTorch module with the same arrays."""
    spec, p, layers, width = g.network, g.parameters(), [], g.latent
    act = {"relu": torch.nn.ReLU, "softplus": torch.nn.Softplus}[spec.activation]
    for hidden in spec.hidden:
        layers += [torch.nn.Linear(width, hidden), torch.nn.BatchNorm1d(hidden), act()]
        width = hidden
    layers.append(torch.nn.Linear(width, int(np.prod(g.shape))))
    twin = torch.nn.Sequential(*layers).double()
    for i, layer in enumerate(layers):
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data = torch.tensor(p[f"l{i // 3}.w"].T.copy())
            layer.bias.data = torch.tensor(p[f"l{i // 3}.b"])
        elif isinstance(layer, torch.nn.BatchNorm1d):
            layer.weight.data = torch.tensor(p[f"n{i // 3}.g"])
            layer.bias.data = torch.tensor(p[f"n{i // 3}.b"])
            layer.running_mean = torch.tensor(p[f"n{i // 3}.mean"])
            layer.running_var = torch.tensor(p[f"n{i // 3}.var"])
    return twin


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("training", [False, True])
def test_rows_slopes_and_statistics(torch, rng, activation, training):
    spec = networks.MLPGenerator(3, (7, 5), activation=activation)
    g = spec.bind((2, 2), random_state=3, dtype=np.float64)
    g.set_parameters({k: rng.uniform(0.2, 1, a.shape) for k, a in g.parameters().items()})
    z, u = rng.normal(size=(8, 3)), rng.normal(size=(8, 2, 2))
    twin = torch_twin(torch, g).train(training)
    for layer in twin:
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.momentum = 1.0  # the running statistics become those of the batch
    at = torch.tensor(z, requires_grad=True)
    rows = twin(at).reshape(8, 2, 2)
    (slope,) = torch.autograd.grad((rows * torch.tensor(u)).sum(), at)

    mine = (lambda z: g.in_training(z)[0]) if training else g
    np.testing.assert_allclose(mine(z), rows.detach().numpy(), rtol=1e-11, atol=1e-12)
    got = ebm.grad(lambda z: np.sum(u * mine(z)))(z)
    np.testing.assert_allclose(got, slope.numpy(), rtol=1e-9, atol=1e-11)
    if training:
        seen = g.in_training(z)[1]
        assert set(seen) == {f"n{i}.{leaf}" for i in range(2) for leaf in ("mean", "var")}
        for i in range(2):
            layer = twin[3 * i + 1]
            biased = layer.running_var.numpy() * 7 / 8  # PyTorch keeps the unbiased one
            np.testing.assert_allclose(
                seen[f"n{i}.mean"], layer.running_mean.numpy(), rtol=1e-11
            )
            np.testing.assert_allclose(seen[f"n{i}.var"], biased, rtol=1e-11)
