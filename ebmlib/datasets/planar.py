"""Laws on the plane: what all share, and mixtures of Gaussians."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import floats, real, whole

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
RandomState: TypeAlias = int | np.random.Generator | None
Extent: TypeAlias = tuple[float, float, float, float]

_CHUNK = 1 << 16  # distances held at once


class PlanarSet:
    """A law on the plane.

    Attributes
    ----------
    extent : tuple of float
        (left, right, bottom, top) of a box that holds nearly all of it: for pictures and grids.
    """

    extent: Extent

    def sample(self, n_samples: int, random_state: RandomState = None) -> Float32:
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
        n = whole(n_samples, "sample: n_samples", 0)
        if n >= 1 << 50:
            raise MemoryError(f"sample: n_samples: got {n}, expected fewer")
        return self._draw(generator(random_state, "sample"), n).astype(np.float32)

    def log_density(self, x: ArrayLike) -> Float64:
        """The log density, exact to rounding.

        Parameters
        ----------
        x : array_like, shape (n, 2)

        Returns
        -------
        ndarray of float64, shape (n,)

        Raises
        ------
        ValueError
            `x` has another shape.

        Examples
        --------
        >>> from ebmlib import datasets
        >>> datasets.checkerboard().log_density([[1.0, 1.0], [1.0, -1.0]]).round(4).tolist()
        [-3.4657, -inf]
        """
        at = floats(x, "log_density: x")
        if at.ndim != 2 or at.shape[1] != 2:
            raise ValueError(f"log_density: shape of x: got {at.shape}, expected (n, 2)")
        return self._log_density(at)

    def _draw(self, rng: np.random.Generator, n: int) -> Float64:
        raise NotImplementedError(f"{type(self).__name__}: _draw: got none, expected one")

    def _log_density(self, at: Float64) -> Float64:
        raise NotImplementedError(
            f"{type(self).__name__}: _log_density: got none, expected one"
        )


def log_sum_exp(a: Float64) -> Float64:
    """Log-sum-exp over the last axis; -inf where all terms are."""
    top = a.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(a - top).sum(axis=-1)) + top[..., 0])


def positive(name: str, value: float) -> float:
    if not real(value, name) > 0:
        raise ValueError(f"{name}: got {value}, expected a positive number")
    return float(value)


def generator(random_state: RandomState, who: str) -> np.random.Generator:
    """NumPy's generator of a seed."""
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise TypeError(
            f"{who}: random_state: got {random_state!r}, expected an int of at least 0, a "
            "Generator or None"
        ) from None


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
        self.means: Float64 = floats(means, "means").copy()
        if self.means.ndim != 2 or self.means.shape[1] != 2 or not len(self.means):
            raise ValueError(f"means: shape: got {self.means.shape}, expected (K, 2)")
        if not np.isfinite(self.means).all():
            raise ValueError("means: got NaN or infinity, expected finite numbers")
        self.sigma = positive("sigma", sigma)
        share = np.ones(len(self.means)) if weights is None else floats(weights, "weights")
        good = share.shape == (len(self.means),) and (share >= 0).all()
        if not good or not 0 < share.sum() < np.inf:
            raise ValueError(f"weights: got {weights!r}, expected {len(self.means)} shares")
        self.weights: Float64 = share / share.sum()
        left, bottom = self.means.min(axis=0) - 5 * self.sigma
        right, top = self.means.max(axis=0) + 5 * self.sigma
        self.extent = (float(left), float(right), float(bottom), float(top))

    def _draw(self, rng: np.random.Generator, n: int) -> Float64:
        component = rng.choice(len(self.means), size=n, p=self.weights)
        return self.means[component] + self.sigma * rng.standard_normal((n, 2))

    def _log_density(self, at: Float64) -> Float64:
        with np.errstate(divide="ignore"):
            constant = np.log(self.weights) - np.log(2 * np.pi * self.sigma**2)
        out = np.empty(len(at))
        step = max(1, _CHUNK // len(self.means))
        for start in range(0, len(at), step):
            first, second = at[start : start + step].T[:, :, None]
            squares = (first - self.means[:, 0]) ** 2 + (second - self.means[:, 1]) ** 2
            out[start : start + step] = log_sum_exp(constant - squares / (2 * self.sigma**2))
        return out


def gaussians_grid(
    rows: int = 5, columns: int = 5, spacing: float = 2.0, sigma: float = 0.05
) -> GaussianMixture:
    """Gaussians on a grid, centred at 0.

        p(x) = 1/(rows columns) sum_ij N(x; spacing (i, j), sigma^2 I)

    The defaults are the grid of the GAN literature (VEEGAN, Srivastava et al. 2017; PacGAN, Lin
    et al. 2018).

    Parameters
    ----------
    rows, columns : int
        Modes along the second and the first coordinate.
    spacing : float
        Between neighbouring modes.
    sigma : float
        Standard deviation of each coordinate within a mode.

    Returns
    -------
    GaussianMixture

    Raises
    ------
    ValueError
        No rows or columns, or a width that is not positive.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.gaussians_grid(rows=2, columns=3).means[:3].tolist()
    [[-2.0, -1.0], [0.0, -1.0], [2.0, -1.0]]
    """
    rows, columns = whole(rows, "rows", 1), whole(columns, "columns", 1)
    spacing = positive("spacing", spacing)
    x = spacing * (np.arange(columns) - (columns - 1) / 2)
    y = spacing * (np.arange(rows) - (rows - 1) / 2)
    return GaussianMixture([(a, b) for b in y for a in x], sigma)


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
    return gaussians_grid(5, 5, spacing, sigma)


def gaussians8(radius: float = 2.829, sigma: float = 0.3536) -> GaussianMixture:
    """Eight Gaussians on a circle.

        p(x) = 1/8 sum_k N(x; radius (cos k pi/4, sin k pi/4), sigma^2 I)

    Parameters
    ----------
    radius, sigma : float
        Of the circle, and of each mode. The defaults are 4 and 0.5, over 1.414, as in FFJORD's
        and VERA's code; the GAN literature has ``gaussians8(2 / 1.414, 0.02 / 1.414)``.

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
    radius = positive("radius", radius)
    return GaussianMixture(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), sigma)
