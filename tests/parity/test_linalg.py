"""Gradients and Hessian products of matrix functions, sorting and products, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import functional as F

EYE = np.eye(4)
ZEROS = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0] * 4, [0.0, 1.0, 1.0, 0.0]])


PAIRS = {
    "cholesky": (
        lambda a: np.linalg.cholesky(a @ np.swapaxes(a, -1, -2) + EYE),
        lambda torch, a: torch.linalg.cholesky(a @ a.mT + torch.tensor(EYE)),
    ),
    "solve": (
        lambda a: np.linalg.solve(a + 4 * EYE, a[..., :2] ** 2),
        lambda torch, a: torch.linalg.solve(a + 4 * torch.tensor(EYE), a[..., :2] ** 2),
    ),
    "solve_triangular": (
        lambda a: F.solve_triangular(a + 4 * EYE, a, lower=True, trans=True),
        lambda torch, a: torch.linalg.solve_triangular(
            (a + 4 * torch.tensor(EYE)).tril().mT, a, upper=True
        ),
    ),
    "inv": (
        lambda a: np.linalg.inv(a + 4 * EYE),
        lambda torch, a: torch.linalg.inv(a + 4 * torch.tensor(EYE)),
    ),
    "slogdet": (
        lambda a: np.linalg.slogdet(a)[1],
        lambda torch, a: torch.linalg.slogdet(a)[1],
    ),
    "det": (lambda a: np.linalg.det(a), lambda torch, a: torch.linalg.det(a)),
    "matrix_power": (
        lambda a: np.linalg.matrix_power(a, 3),
        lambda torch, a: torch.linalg.matrix_power(a, 3),
    ),
    "sort": (lambda a: np.sort(a**3, axis=1), lambda torch, a: torch.sort(a**3, dim=1)[0]),
    "median": (
        lambda a: np.median(a[:, 1:] ** 2, axis=1),
        lambda torch, a: torch.median(a[:, 1:] ** 2, dim=1)[0],
    ),
    "quantile": (
        lambda a: np.quantile(a**3, [0.1, 0.45], axis=(1, 2)),
        lambda torch, a: torch.quantile(
            (a**3).flatten(1), torch.tensor([0.1, 0.45], dtype=a.dtype), dim=1
        ),
    ),
    "prod": (lambda a: np.prod(a, axis=1), lambda torch, a: torch.prod(a, 1)),
    "prod_with_zeros": (
        lambda a: np.prod(a * ZEROS, axis=1),
        lambda torch, a: torch.prod(a * torch.tensor(ZEROS), 1),
    ),
    "cumprod": (lambda a: np.cumprod(a, axis=2), lambda torch, a: torch.cumprod(a, 2)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_gradient_and_hessian_product(torch, rng, name):
    ours, theirs = PAIRS[name]
    a, v = rng.standard_normal((2, 3, 4, 4))
    weight = np.cos(np.arange(ebm.jit(ours)(a).size)).reshape(ebm.jit(ours)(a).shape)

    def total(x):
        y = ours(x)
        return np.sum(weight * y + y * y)

    def torch_total(x):
        y = theirs(torch, x)
        return torch.sum(torch.tensor(weight) * y + y * y)

    x = torch.tensor(a, requires_grad=True)
    want = torch_total(x)
    (slope,) = torch.autograd.grad(want, x, create_graph=True)
    (curve,) = torch.autograd.grad(torch.sum(slope * torch.tensor(v)), x)

    value, gradient = ebm.value_and_grad(total)(a)
    np.testing.assert_allclose(value, want.item(), rtol=1e-12)
    close(gradient, slope.detach().numpy())
    close(ebm.hvp(total, (a,), (v,)), curve.numpy())
    close(ebm.jvp(ebm.grad(total), (a,), (v,))[1], curve.numpy())


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * (1 + np.max(np.abs(want))))


def test_cholesky_gradient_of_the_matrix_itself(torch, rng):
    """PyTorch's convention: the gradient in a symmetric matrix is symmetric."""
    a = rng.standard_normal((4, 4))
    a = a @ a.T + EYE
    weight = rng.standard_normal((4, 4))
    x = torch.tensor(a, requires_grad=True)
    (want,) = torch.autograd.grad((torch.linalg.cholesky(x) * torch.tensor(weight)).sum(), x)
    close(ebm.grad(lambda a: np.sum(np.linalg.cholesky(a) * weight))(a), want.numpy())
