"""Data to try things on: real digits, and laws on the plane with known densities.

A planar set is an object with `sample`; those whose density is known (all but the pinwheel)
have `log_density` too, so that a learned energy can be judged against the truth:

>>> from ebmlib import datasets
>>> law = datasets.gaussians25()
>>> x = law.sample(1000, random_state=0)
>>> x.shape, x.dtype
((1000, 2), dtype('float32'))
>>> truth = law.log_density(x).mean()

The scalings of moons, circles, rings, eight Gaussians, pinwheel, checkerboard and swiss roll
are those of the toy sets that went from FFJORD's code (Grathwohl et al. 2019) into many others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    "grid",
    "load_digits",
    "log_z",
    "moons",
    "pinwheel",
    "rings",
    "spirals",
    "swiss_roll",
]

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
RandomState: TypeAlias = int | np.random.Generator | None
Extent: TypeAlias = tuple[float, float, float, float]

_CHUNK = 1 << 16  # distances held at once


# ---- images ----------------------------------------------------------------------------------


def load_digits(
    split: Literal["all", "train", "test"] = "all",
) -> tuple[Float32, NDArray[np.int64]]:
    """1,797 handwritten digits of 8 by 8 pixels, which come with scikit-learn.

    Parameters
    ----------
    split : {"all", "train", "test"}
        The rows come in the order of their writers, so the split is by position: the first
        1,437 to train, the last 360 to test, and one writer at most stands on both sides.

    Returns
    -------
    X : ndarray of float32, shape (n, 8, 8, 1)
        The 17 levels of ink, scaled to [-1, 1].
    y : ndarray of int64, shape (n,)
        The digits.

    Raises
    ------
    ImportError
        scikit-learn is not there (``pip install 'ebmlib[data]'``).
    ValueError
        No such split.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> X, y = datasets.load_digits()
    >>> X.shape, y.shape, float(X.min()), float(X.max())
    ((1797, 8, 8, 1), (1797,), -1.0, 1.0)
    >>> datasets.load_digits("test")[0].shape
    (360, 8, 8, 1)
    """
    rows = {"all": slice(None), "train": slice(None, 1437), "test": slice(1437, None)}
    if split not in rows:
        raise ValueError(f"load_digits: split: got {split!r}, expected one of {list(rows)}")
    try:
        from sklearn import datasets as sklearn_datasets
    except ImportError as error:
        raise ImportError(
            "load_digits: scikit-learn is not installed: pip install 'ebmlib[data]'"
        ) from error
    bunch: Any = sklearn_datasets.load_digits()
    x = (bunch.images[..., None] / 8.0 - 1.0).astype(np.float32)
    return x[rows[split]], bunch.target.astype(np.int64)[rows[split]]


# ---- the plane: what all sets share ----------------------------------------------------------


class PlanarSet:
    """A law on the plane.

    Attributes
    ----------
    extent : tuple of float
        (left, right, bottom, top) of a box that holds nearly all of it: for pictures and grids.
    """

    extent: Extent

    def sample(self, n_samples: int, *, random_state: RandomState = None) -> Float32:
        """Draws independent points.

        Parameters
        ----------
        n_samples : int
        random_state : int, numpy.random.Generator or None
            The same integer gives the same points; None gives new ones each time.

        Returns
        -------
        ndarray of float32, shape (n_samples, 2)

        Raises
        ------
        ValueError
            `n_samples` is negative.

        Examples
        --------
        >>> from ebmlib import datasets
        >>> datasets.moons().sample(5, random_state=0).shape
        (5, 2)
        """
        if n_samples < 0:
            raise ValueError(f"sample: n_samples: got {n_samples}, expected at least 0")
        return self._draw(np.random.default_rng(random_state), n_samples).astype(np.float32)

    def _draw(self, rng: np.random.Generator, n: int) -> Float64:
        raise NotImplementedError


def _points(x: ArrayLike) -> Float64:
    """`x` as float64 of shape (n, 2)."""
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"log_density: shape of x: got {points.shape}, expected (n, 2)")
    return points


def _log_sum_exp(a: Float64) -> Float64:
    """Log-sum-exp over the last axis; -inf where all terms are."""
    top = a.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(a - top).sum(axis=-1)) + top[..., 0])


def _positive(name: str, value: float) -> float:
    if not value > 0 or not np.isfinite(value):
        raise ValueError(f"{name}: got {value}, expected a positive number")
    return float(value)


# ---- Gaussians -------------------------------------------------------------------------------


class GaussianMixture(PlanarSet):
    """A mixture of round Gaussians of one width.

        p(x) = sum_k w_k N(x; mean_k, sigma^2 I)

    Parameters
    ----------
    means : array_like, shape (K, 2)
    sigma : float
        Standard deviation of each coordinate.
    weights : array_like, shape (K,), optional
        Not negative; they are divided by their sum. Equal by default.

    Raises
    ------
    ValueError
        Bad shapes, widths or weights.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import datasets
    >>> law = datasets.GaussianMixture([[0.0, 0.0]], sigma=1.0)
    >>> bool(np.isclose(law.log_density([[0.0, 0.0]])[0], -np.log(2 * np.pi)))
    True
    """

    def __init__(
        self, means: ArrayLike, sigma: float, weights: ArrayLike | None = None
    ) -> None:
        self.means = np.array(means, dtype=np.float64)
        if self.means.ndim != 2 or self.means.shape[1] != 2 or not len(self.means):
            raise ValueError(f"means: shape: got {self.means.shape}, expected (K, 2)")
        self.sigma = _positive("sigma", sigma)
        share = np.ones(len(self.means)) if weights is None else np.asarray(weights, float)
        if share.shape != (len(self.means),) or (share < 0).any() or not share.sum() > 0:
            raise ValueError(f"weights: got {weights!r}, expected {len(self.means)} shares")
        self.weights: Float64 = share / share.sum()
        left, bottom = self.means.min(axis=0) - 5 * self.sigma
        right, top = self.means.max(axis=0) + 5 * self.sigma
        self.extent = (float(left), float(right), float(bottom), float(top))

    def _draw(self, rng: np.random.Generator, n: int) -> Float64:
        component = rng.choice(len(self.means), size=n, p=self.weights)
        return self.means[component] + self.sigma * rng.standard_normal((n, 2))

    def log_density(self, x: ArrayLike) -> Float64:
        """The exact log density.

        Parameters
        ----------
        x : array_like, shape (n, 2)

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        at = _points(x)
        with np.errstate(divide="ignore"):
            constant = np.log(self.weights) - np.log(2 * np.pi * self.sigma**2)
        out = np.empty(len(at))
        step = max(1, _CHUNK // len(self.means))
        for start in range(0, len(at), step):
            first, second = at[start : start + step].T[:, :, None]
            squares = (first - self.means[:, 0]) ** 2 + (second - self.means[:, 1]) ** 2
            out[start : start + step] = _log_sum_exp(constant - squares / (2 * self.sigma**2))
        return out


def gaussians25(spacing: float = 2.0, sigma: float = 0.0839) -> GaussianMixture:
    """25 Gaussians on a 5 by 5 grid, centred at 0.

        p(x) = 1/25 sum_ij N(x; spacing (i, j), sigma^2 I),   i, j = -2 .. 2

    While the modes stand apart, the mean log density of the truth is
    -log 25 - log(2 pi e sigma^2), whatever the spacing. The default width gives -1.10, the
    value that VAEBM's paper (Xiao et al. 2021, section 5.4) states for its own set, whose width
    it does not state; the spacing is that of the set's origin, the GAN literature. There, and
    in the code of "Bounds all around" (Geng et al. 2021), the set is
    ``gaussians25(spacing=2 / 2.828, sigma=0.05 / 2.828)``, whose truth is 2.01.

    Parameters
    ----------
    spacing : float
        Between neighbouring modes.
    sigma : float
        Standard deviation of each coordinate within a mode.

    Returns
    -------
    GaussianMixture

    Examples
    --------
    >>> from ebmlib import datasets
    >>> law = datasets.gaussians25()
    >>> x = law.sample(100_000, random_state=0)
    >>> print(f"{law.log_density(x).mean():.2f}")
    -1.10
    """
    side = _positive("spacing", spacing) * np.arange(-2, 3)
    return GaussianMixture([(a, b) for a in side for b in side], sigma)


def gaussians8(radius: float = 2.829, sigma: float = 0.3536) -> GaussianMixture:
    """Eight Gaussians on a circle.

        p(x) = 1/8 sum_k N(x; radius (cos k pi/4, sin k pi/4), sigma^2 I)

    Parameters
    ----------
    radius, sigma : float
        Of the circle, and of each mode. The defaults are 4 and 0.5, over 1.414.

    Returns
    -------
    GaussianMixture

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.gaussians8().means.shape
    (8, 2)
    """
    angle = np.arange(8) * (np.pi / 4)
    radius = _positive("radius", radius)
    return GaussianMixture(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), sigma)


# ---- curves with noise -----------------------------------------------------------------------


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
        panels = int(speed / (6 * sigma)) + 1
        nodes, weights = np.polynomial.legendre.leggauss(16)
        t = (np.arange(panels)[:, None] + (nodes + 1) / 2).ravel() / panels
        return t, np.tile(weights / panels, panels) * self.share(t)


def _even(at: Callable[[Float64], Float64]) -> _Curve:
    return _Curve(at, np.ones_like, lambda u: u)


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
        self._curves = curves
        nodes = [curve.nodes(_positive("sigma", sigma)) for curve in curves]
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

    def log_density(self, x: ArrayLike) -> Float64:
        """The log density, exact to rounding.

        Parameters
        ----------
        x : array_like, shape (n, 2)

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        return self._law.log_density(x)


def _arc(
    radius: float, start: float, end: float, centre: tuple[float, float] = (0.0, 0.0)
) -> _Curve:
    def at(t: Float64) -> Float64:
        angle = start + (end - start) * t
        x, y = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
        return np.stack([x, y], axis=1)

    return _even(at)


def moons(sigma: float = 0.2) -> NoisyCurves:
    """Two half circles that reach into each other.

    The arcs 2 (cos a, sin a) - (1, 0.2) and 2 (1 - cos a, 1/2 - sin a) - (1, 0.2), with a
    uniform in [0, pi].

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
    if not radii:
        raise ValueError("radii: got none, expected at least one")
    return NoisyCurves([_arc(_positive("radii", r), 0.0, 2 * np.pi) for r in radii], sigma)


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

    def arm(sign: float) -> _Curve:
        def at(t: Float64) -> Float64:
            angle = 3 * np.pi * t
            return sign / 3 * np.stack([-angle * np.cos(angle), angle * np.sin(angle)], axis=1)

        return _Curve(at, lambda t: 2 * t, np.sqrt)

    return NoisyCurves([arm(1.0), arm(-1.0)], sigma)


def swiss_roll(sigma: float = 0.2) -> NoisyCurves:
    """A roll, (a cos a, a sin a) / 5 with a uniform in [1.5 pi, 4.5 pi].

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
    >>> datasets.swiss_roll().sample(100, random_state=0).shape
    (100, 2)
    """

    def at(t: Float64) -> Float64:
        angle = 1.5 * np.pi * (1 + 2 * t)
        return np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 5

    return NoisyCurves([_even(at)], sigma)


# ---- others ----------------------------------------------------------------------------------


class Checkerboard(PlanarSet):
    """Uniform on the dark squares of a board of 4 by 4 squares with side 2.

        p(x) = 1/32 where floor(x_1 / 2) + floor(x_2 / 2) is even and |x_i| < 4, else 0

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.Checkerboard().log_density([[1.0, 1.0], [1.0, -1.0]]).round(4).tolist()
    [-3.4657, -inf]
    """

    extent = (-4.5, 4.5, -4.5, 4.5)

    def _draw(self, rng: np.random.Generator, n: int) -> Float64:
        column = rng.integers(-2, 2, size=n)
        row = 2 * rng.integers(-1, 1, size=n) + column % 2
        return 2 * (np.stack([column, row], axis=1) + rng.random((n, 2)))

    def log_density(self, x: ArrayLike) -> Float64:
        """The exact log density: log(1/32), or -inf.

        Parameters
        ----------
        x : array_like, shape (n, 2)

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        square = np.floor(_points(x) / 2)
        dark = (square.sum(axis=1) % 2 == 0) & (np.abs(square + 0.5) < 2).all(axis=1)
        return np.where(dark, -np.log(32.0), -np.inf)


def checkerboard() -> Checkerboard:
    """The dark squares of a board.

    Returns
    -------
    Checkerboard

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.checkerboard().sample(100, random_state=0).shape
    (100, 2)
    """
    return Checkerboard()


class Funnel(PlanarSet):
    """Neal's funnel: hard for samplers, since its width changes by orders of magnitude.

        x_1 ~ N(0, scale^2),   x_2 | x_1 ~ N(0, exp(x_1))

    Parameters
    ----------
    scale : float
        Standard deviation of the first coordinate.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.Funnel(scale=1.0).log_density([[0.0, 0.0]]).round(4).tolist()
    [-1.8379]
    """

    def __init__(self, scale: float = 3.0) -> None:
        self.scale = _positive("scale", scale)
        reach = 3 * self.scale
        self.extent = (-reach, reach, -reach, reach)

    def _draw(self, rng: np.random.Generator, n: int) -> Float64:
        x = rng.standard_normal((n, 2))
        x[:, 0] *= self.scale
        x[:, 1] *= np.exp(x[:, 0] / 2)
        return x

    def log_density(self, x: ArrayLike) -> Float64:
        """The exact log density.

        Parameters
        ----------
        x : array_like, shape (n, 2)

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        first, second = _points(x).T
        across = (first / self.scale) ** 2 + first + second**2 * np.exp(-first)
        return np.asarray(-across / 2 - np.log(2 * np.pi * self.scale))


def funnel(scale: float = 3.0) -> Funnel:
    """Neal's funnel.

    Parameters
    ----------
    scale : float
        Standard deviation of the first coordinate.

    Returns
    -------
    Funnel

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.funnel().sample(100, random_state=0).shape
    (100, 2)
    """
    return Funnel(scale)


class Pinwheel(PlanarSet):
    """Arms that wind around 0; its density has no simple form.

    f ~ N((1, 0), diag(0.3, 0.1)^2) is turned by 2 pi k / arms + 0.25 exp(f_1), k uniform, and
    doubled.

    Parameters
    ----------
    arms : int

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.Pinwheel(arms=3).sample(100, random_state=0).shape
    (100, 2)
    """

    extent = (-4.5, 4.5, -4.5, 4.5)

    def __init__(self, arms: int = 5) -> None:
        if arms < 1:
            raise ValueError(f"arms: got {arms}, expected at least 1")
        self.arms = arms

    def _draw(self, rng: np.random.Generator, n: int) -> Float64:
        f = rng.standard_normal((n, 2)) * (0.3, 0.1) + (1.0, 0.0)
        angle = 2 * np.pi / self.arms * rng.integers(self.arms, size=n) + 0.25 * np.exp(f[:, 0])
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = cos * f[:, 0] - sin * f[:, 1], sin * f[:, 0] + cos * f[:, 1]
        return 2 * np.stack([x, y], axis=1)


def pinwheel(arms: int = 5) -> Pinwheel:
    """Arms that wind around 0.

    Parameters
    ----------
    arms : int

    Returns
    -------
    Pinwheel

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.pinwheel().sample(100, random_state=0).shape
    (100, 2)
    """
    return Pinwheel(arms)


PLANAR: dict[str, Callable[[], PlanarSet]] = {
    "checkerboard": checkerboard,
    "circles": circles,
    "funnel": funnel,
    "gaussians8": gaussians8,
    "gaussians25": gaussians25,
    "moons": moons,
    "pinwheel": pinwheel,
    "rings": rings,
    "spirals": spirals,
    "swiss_roll": swiss_roll,
}
"""Every planar set by name, with its defaults."""


# ---- normalisation on a grid -----------------------------------------------------------------


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
    left, right, bottom, top = map(float, extent)
    if not (left < right and bottom < top):
        raise ValueError(f"grid: extent: got {extent}, expected left < right and bottom < top")
    if n < 1:
        raise ValueError(f"grid: n: got {n}, expected at least 1")
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
    values = np.asarray(energy, dtype=np.float64).ravel()
    if not values.size or np.isnan(values).any():
        raise ValueError("log_z: energy: got none or a NaN, expected numbers")
    return float(_log_sum_exp(-values) + np.log(area))
