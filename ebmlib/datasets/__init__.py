"""Data to try things on: real images, and laws on the plane with known densities.

A planar set has `sample`, `log_density` and `extent`, so that a learned energy can be judged
against the truth:

>>> from ebmlib import datasets
>>> law = datasets.gaussians25()
>>> x = law.sample(1000, random_state=0)
>>> x.shape, x.dtype
((1000, 2), dtype('float32'))
>>> truth = law.log_density(x).mean()

The scalings of moons, circles, rings, eight Gaussians, pinwheel, spirals, checkerboard and
swiss roll are those of the toy sets that went from FFJORD's code (Grathwohl et al. 2019) into
many others, VERA's (Grathwohl et al. 2021) among them.

Images are arrays (N, height, width, channels). Every loader takes `value_range`: (-1, 1), the
default, (0, 1) or any two numbers are what black and white become, as float32; None gives the
stored levels, as uint8. `ebmlib.plots` takes the same pair.
"""

from __future__ import annotations

from collections.abc import Callable

from .curves import NoisyCurves, circles, moons, rings, spirals, swiss_roll
from .grids import grid, log_z
from .idx import read_idx
from .images import (
    load_digits,
    load_fashion_mnist,
    load_mnist,
    load_mnist5000,
    stack_digits,
)
from .planar import (
    GaussianMixture,
    PlanarSet,
    gaussians8,
    gaussians25,
    gaussians_grid,
)
from .shapes import Checkerboard, Funnel, Pinwheel, checkerboard, funnel, pinwheel

__all__ = [
    "PLANAR",
    "Checkerboard",
    "Funnel",
    "GaussianMixture",
    "NoisyCurves",
    "Pinwheel",
    "PlanarSet",
    "checkerboard",
    "circles",
    "funnel",
    "gaussians8",
    "gaussians25",
    "gaussians_grid",
    "grid",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    "load_mnist5000",
    "log_z",
    "moons",
    "pinwheel",
    "read_idx",
    "rings",
    "spirals",
    "stack_digits",
    "swiss_roll",
]

PLANAR: dict[str, Callable[[], PlanarSet]] = {
    "checkerboard": checkerboard,
    "circles": circles,
    "funnel": funnel,
    "gaussians8": gaussians8,
    "gaussians25": gaussians25,
    "gaussians_grid": gaussians_grid,
    "moons": moons,
    "pinwheel": pinwheel,
    "rings": rings,
    "spirals": spirals,
    "swiss_roll": swiss_roll,
}
"""Every planar set by name, with its defaults."""
