"""Laws on the plane: points on curves, with noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from .planar import Float64, GaussianMixture, PlanarSet, positive


@dataclass(frozen=True)
class _Curve:
    """A curve t -> (x, y) for t in [0, 1], whose points have the density `share(t)` in t."""

    at: Callable[[Float64], Float64]  # (n,) -> (n, 2)
    share: Callable[[Float64], Float64]
    draw: Callable[[Float64], Float64]  # uniform numbers -> t, distributed as `share`

    def nodes(self, sigma: float) -> tuple[Float64, Float64]:
        """Where to take an integral along the curve, and the weights, with noise `sigma`."""
        fine = self.at(np.linspace(0, 1, 1001))
        speed = np.linalg.norm(np.diff(fine, axis=0), axis=1).max() * 1000
        if speed > 1e6 * sigma:
            raise ValueError(f"sigma: got {sigma}, expected at least a millionth of the curve")
        panels = int(speed / (6 * sigma)) + 1
        nodes, weights = np.polynomial.legendre.leggauss(16)
        t = (np.arange(panels)[:, None] + (nodes + 1) / 2).ravel() / panels
        return t, np.tile(weights / panels, panels) * self.share(t)


def _even(at: Callable[[Float64], Float64]) -> _Curve:
    return _Curve(at, np.ones_like, np.positive)


class NoisyCurves(PlanarSet):
    """Points on curves, each curve as likely, plus round Gaussian noise.

        p(x) = 1/C sum_c integral_0^1 share(t) N(x; curve_c(t), sigma^2 I) dt

    The integral is taken by Gauss and Legendre's rule, on nodes as dense as the noise is
    narrow, which is exact to rounding around the curves. Made by `moons`, `circles`, `rings`,
    `spirals` and `swiss_roll`.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> law = datasets.rings()
    >>> law.log_density(law.sample(10, random_state=0)).shape
    (10,)
    """

    def __init__(self, curves: list[_Curve], sigma: float) -> None:
        if not isinstance(curves, list) or not curves:
            raise ValueError(f"curves: got {curves!r}, expected a list of curves")
        self._curves = curves
        nodes = [curve.nodes(positive("sigma", sigma)) for curve in curves]
        self._law = GaussianMixture(
            np.concatenate([curve.at(t) for curve, (t, _) in zip(curves, nodes, strict=True)]),
            sigma,
            np.concatenate([weights for _, weights in nodes]),
        )
        self.sigma = self._law.sigma
        self.extent = self._law.extent

    def _draw(self, rng: np.random.Generator, n: int) -> Float64:
        which = rng.integers(len(self._curves), size=n)
        u = rng.random(n)
        on_curve = np.empty((n, 2))
        for k, curve in enumerate(self._curves):
            on_curve[which == k] = curve.at(curve.draw(u[which == k]))
        return on_curve + self.sigma * rng.standard_normal((n, 2))

    def _log_density(self, at: Float64) -> Float64:
        return self._law._log_density(at)


def _arc(
    radius: float, start: float, end: float, centre: tuple[float, float] = (0.0, 0.0)
) -> _Curve:
    return _even(partial(_on_arc, radius, start, end, centre))


def _on_arc(
    radius: float, start: float, end: float, centre: tuple[float, float], t: Float64
) -> Float64:
    angle = start + (end - start) * t
    x, y = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
    return np.stack([x, y], axis=1)


def moons(sigma: float = 0.2) -> NoisyCurves:
    """Two half circles that reach into each other.

    The arcs 2 (cos a, sin a) - (1, 0.2) and 2 (1 - cos a, 1/2 - sin a) - (1, 0.2), with a
    uniform in [0, pi]: scikit-learn's moons with noise 0.1, doubled and centred.

    Parameters
    ----------
    sigma : float
        Of the noise.

    Returns
    -------
    NoisyCurves

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.moons().sample(100, random_state=0).shape
    (100, 2)
    """
    upper = _arc(2.0, 0.0, np.pi, (-1.0, -0.2))
    lower = _arc(2.0, np.pi, 2 * np.pi, (1.0, 0.8))
    return NoisyCurves([upper, lower], sigma)


def rings(
    radii: tuple[float, ...] = (0.75, 1.5, 2.25, 3.0), sigma: float = 0.08
) -> NoisyCurves:
    """Circles around 0, each as likely.

    Parameters
    ----------
    radii : tuple of float
    sigma : float
        Of the noise.

    Returns
    -------
    NoisyCurves

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.rings().sample(100, random_state=0).shape
    (100, 2)
    """
    if not isinstance(radii, list | tuple | np.ndarray):
        raise TypeError(f"radii: got {radii!r}, expected a list of numbers")
    if not len(radii):
        raise ValueError("radii: got none, expected at least one")
    return NoisyCurves([_arc(positive("radii", r), 0.0, 2 * np.pi) for r in radii], sigma)


def circles(sigma: float = 0.24) -> NoisyCurves:
    """Two circles around 0, of radii 1.5 and 3.

    Parameters
    ----------
    sigma : float
        Of the noise.

    Returns
    -------
    NoisyCurves

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.circles().sample(100, random_state=0).shape
    (100, 2)
    """
    return rings((1.5, 3.0), sigma)


def spirals(sigma: float = 0.1) -> NoisyCurves:
    """Two spirals, +- (-a cos a, a sin a) / 3 with a = 3 pi sqrt(u), u uniform in [0, 1].

    FFJORD's code also shifts each point by up to 1/6 in both directions; here the noise is all.

    Parameters
    ----------
    sigma : float
        Of the noise.

    Returns
    -------
    NoisyCurves

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.spirals().sample(100, random_state=0).shape
    (100, 2)
    """
    arms = [_Curve(partial(_on_spiral, sign), _double, np.sqrt) for sign in (1.0, -1.0)]
    return NoisyCurves(arms, sigma)


def _on_spiral(sign: float, t: Float64) -> Float64:
    angle = 3 * np.pi * t
    return sign / 3 * np.stack([-angle * np.cos(angle), angle * np.sin(angle)], axis=1)


def _double(t: Float64) -> Float64:
    return 2 * t


def swiss_roll(sigma: float = 0.2, scale: float = 0.2) -> NoisyCurves:
    """A roll, (a cos a, a sin a) scale with a uniform in [1.5 pi, 4.5 pi].

    The defaults are those of FFJORD's and VERA's code and of "Bounds all around" (Geng et al.
    2021); the GAN literature (Gulrajani et al. 2017) has ``swiss_roll(0.25 / 7.5, 1 / 7.5)``.

    Parameters
    ----------
    sigma : float
        Of the noise.
    scale : float

    Returns
    -------
    NoisyCurves

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.swiss_roll().sample(100, random_state=0).shape
    (100, 2)
    """
    return NoisyCurves([_even(partial(_on_roll, positive("scale", scale)))], sigma)


def _on_roll(scale: float, t: Float64) -> Float64:
    angle = 1.5 * np.pi * (1 + 2 * t)
    return scale * np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1)
