"""Sums over the plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._checks import floats, real, whole
from .planar import Extent, Float32, log_sum_exp, positive


def box(extent: Extent, who: str) -> Extent:
    """The four sides, checked."""
    many = isinstance(extent, list | tuple | np.ndarray)
    if not many or len(extent) != 4:
        raise ValueError(f"{who}: extent: got {extent!r}, expected (left, right, bottom, top)")
    left, right, bottom, top = (real(side, f"{who}: extent") for side in extent)
    if not (left < right and bottom < top):
        raise ValueError(f"{who}: extent: got {extent}, expected left < right and bottom < top")
    return left, right, bottom, top


def grid(extent: Extent, n: int = 400) -> tuple[Float32, float]:
    """The centres of n by n cells that fill a box, for sums over the plane.

    Parameters
    ----------
    extent : tuple of float
        (left, right, bottom, top), such as the `extent` of a planar set.
    n : int
        Cells a side. A cell should be no wider than the narrowest feature's standard deviation.

    Returns
    -------
    points : ndarray of float32, shape (n * n, 2)
        Row by row from the bottom: ``values.reshape(n, n)[j, i]`` belongs to column i, row j.
    area : float
        Of one cell.

    Raises
    ------
    ValueError
        An empty box, or no cells.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> points, area = datasets.grid((0.0, 2.0, 0.0, 4.0), n=2)
    >>> points.tolist(), area
    ([[0.5, 1.0], [1.5, 1.0], [0.5, 3.0], [1.5, 3.0]], 2.0)
    """
    left, right, bottom, top = box(extent, "grid")
    n = whole(n, "grid: n", 1)
    middle = (np.arange(n) + 0.5) / n
    x, y = np.meshgrid(left + (right - left) * middle, bottom + (top - bottom) * middle)
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    return points, (right - left) * (top - bottom) / n**2


def log_z(energy: ArrayLike, area: float) -> float:
    """The log of the integral of exp(-E), from E at the points of `grid`.

    Parameters
    ----------
    energy : array_like
        E(points).
    area : float
        Of one cell.

    Returns
    -------
    float
        log sum exp(-E) area.

    Raises
    ------
    ValueError
        There is no energy, or one of them is a NaN.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> law = datasets.gaussians8()
    >>> points, area = datasets.grid(law.extent)
    >>> print(f"{abs(datasets.log_z(-law.log_density(points), area)):.3f}")
    0.000
    """
    values = floats(energy, "log_z: energy").ravel()
    positive("log_z: area", area)
    if not values.size or np.isnan(values).any():
        raise ValueError("log_z: energy: got none or a NaN, expected numbers")
    return float(log_sum_exp(-values) + np.log(area))
