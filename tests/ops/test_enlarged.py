"""Convolutions of images whose pixels repeat, which csrc/ops/conv.c does not write out."""

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import functional as F


def both_ways(kernel, times, pad, seed=0):
    """A convolution of an enlarged image, known as such and hidden by a product with ones: the
    values of a function of it and its gradients, and the FLOPs of both.
    """
    rng = np.random.default_rng(seed)
    h, w = rng.standard_normal((2, 8, 9, 3)), rng.standard_normal((*kernel, 3, 4))
    ones = np.ones((2, 8 * times, 9 * times, 3))

    def known(h, w, ones):
        return np.sin(F.conv(F.upsample(h, times), w, 1, pad)).sum()

    def hidden(h, w, ones):
        return np.sin(F.conv(F.upsample(h, times) * ones, w, 1, pad)).sum()

    found = []
    for f in (known, hidden):
        with ebm.profile() as profile:
            value, grads = ebm.value_and_grad(f, argnums=(0, 1))(h, w, ones)
            curved = ebm.hvp(lambda h, f=f: f(h, w, ones), (h,), (np.cos(h),))
        flops = sum(row.flops for row in profile.rows("op") if row.name.startswith("conv"))
        found.append(((value, *grads, curved), flops))
    return found


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (5, 3)])
@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("pad", [0, 1])
def test_convolution_of_an_enlarged_image(kernel, times, pad):
    (known, less), (hidden, more) = both_ways(kernel, times, pad)
    for a, b in zip(known, hidden, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    assert less < more


def test_convolution_behind_an_average_goes_back_small():
    """The cotangent of avg_pool repeats pixels: nobody looks at the large one."""
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 6, 6, 3)), rng.standard_normal((3, 3, 3, 4))
    ones = np.ones((2, 6, 6, 4))

    def slope(f):
        with ebm.profile() as profile:
            g = ebm.grad(f)(x)
        return g, sum(row.flops for row in profile.rows("op") if row.name == "conv_data")

    ct = rng.standard_normal((2, 3, 3, 4))
    known, less = slope(lambda x: (ct * F.avg_pool(F.conv(x, w, 1, 1), 2)).sum())
    hidden, more = slope(lambda x: (ct * F.avg_pool(F.conv(x, w, 1, 1) * ones, 2)).sum())
    np.testing.assert_allclose(known, hidden, rtol=1e-12, atol=1e-12)
    assert less < 0.7 * more
