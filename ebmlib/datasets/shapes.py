"""Laws on the plane: a board, a funnel, a wheel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._checks import whole
from .planar import Float64, PlanarSet, positive


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

    def _log_density(self, at: Float64) -> Float64:
        square = np.floor(at / 2)
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
        self.scale = positive("scale", scale)
        reach = 3 * self.scale
        self.extent = (-reach, reach, -reach, reach)

    def _draw(self, rng: np.random.Generator, n: int) -> Float64:
        x = rng.standard_normal((n, 2))
        x[:, 0] *= self.scale
        x[:, 1] *= np.exp(x[:, 0] / 2)
        return x

    def _log_density(self, at: Float64) -> Float64:
        first, second = at.T
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
    """Arms that wind around 0.

    f ~ N((1, 0), diag(0.3, 0.1)^2) is turned by -(2 pi k / arms + 0.25 exp(f_1)), k uniform,
    and doubled. In polar coordinates f = r (cos a, sin a) the turn leaves r alone, so that

        p(x) = 1/arms sum_a N(f) / (4 |1 + 0.25 r sin(a) exp(r cos a)|)

    over the angles a, found by bisection, at which one of the turns takes f to x.

    Parameters
    ----------
    arms : int

    Notes
    -----
    Beyond |x| = 8, ten standard deviations out, the log density is given as -inf. Where the
    plane folds over itself, beyond six of them, angles that nearly meet may be missed.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> datasets.Pinwheel(arms=3).sample(100, random_state=0).shape
    (100, 2)
    """

    extent = (-4.5, 4.5, -4.5, 4.5)

    def __init__(self, arms: int = 5) -> None:
        self.arms = whole(arms, "arms", 1)

    def _draw(self, rng: np.random.Generator, n: int) -> Float64:
        f = rng.standard_normal((n, 2)) * (0.3, 0.1) + (1.0, 0.0)
        angle = 2 * np.pi / self.arms * rng.integers(self.arms, size=n) + 0.25 * np.exp(f[:, 0])
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = cos * f[:, 0] + sin * f[:, 1], cos * f[:, 1] - sin * f[:, 0]
        return 2 * np.stack([x, y], axis=1)

    def _log_density(self, at: Float64) -> Float64:
        out = np.full(len(at), -np.inf)
        near = np.flatnonzero(np.hypot(*at.T) <= 8)
        step = max(1, (1 << 20) // (64 * self.arms))
        for start in range(0, len(near), step):
            rows = near[start : start + step]
            out[rows] = self._log_density_near(at[rows])
        return out

    def _log_density_near(self, at: Float64) -> Float64:
        r, goal = np.hypot(*at.T) / 2, np.arctan2(at[:, 1], at[:, 0])
        row, angle = self._angles(r, goal)
        r = r[row]
        f, g = r * np.cos(angle), r * np.sin(angle)
        slope = np.abs(1 + 0.25 * g * np.exp(f))
        term = -(((f - 1) / 0.3) ** 2 + (g / 0.1) ** 2) / 2 - np.log(2 * np.pi * 0.3 * 0.1)
        out = np.full(len(at), -np.inf)
        np.logaddexp.at(out, row, term - np.log(4 * self.arms * slope))
        return out

    def _angles(self, r: Float64, goal: Float64) -> tuple[NDArray[np.intp], Float64]:
        """(rows, angles a) where `turns`, the turns from f to x in arms, are whole."""

        def turns(a: Float64, r: Float64, goal: Float64) -> Float64:
            return (a - 0.25 * np.exp(r * np.cos(a)) - goal) * (self.arms / (2 * np.pi))

        # Between neighbours of these nodes `turns` changes by less than one.
        nodes = np.linspace(-np.pi, np.pi, 64 * self.arms + 1)
        whole = np.floor(turns(nodes, r[:, None], goal[:, None]))
        row, left = np.nonzero(whole[:, 1:] != whole[:, :-1])
        root = np.maximum(whole[row, left], whole[row, left + 1])
        rising = whole[row, left] < root
        low = np.where(rising, nodes[left], nodes[left + 1])  # where turns < root
        high = np.where(rising, nodes[left + 1], nodes[left])
        for _ in range(50):
            middle = (low + high) / 2
            below = turns(middle, r[row], goal[row]) < root
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return row, (low + high) / 2


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
