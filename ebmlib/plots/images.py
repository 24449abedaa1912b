"""Pictures of images: grids, chains, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._checks import floats, pair, whole
from .._interchange import as_numbers
from .axes import COLOURS, Array, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP = 1  # pixels between images


def _images(name: str, images: ArrayLike, ndim: int = 4) -> Array:
    """`images` as an array of rank `ndim` that ends in height, width, channels."""
    array = as_numbers(images, name)
    if array.ndim != ndim or array.shape[-1] not in (1, 3) or 0 in array.shape:
        leading = ("n", "m")[: ndim - 3]
        expected = f"({', '.join(leading)}, height, width, 1 or 3)"
        raise ValueError(f"{name}: shape: got {array.shape}, expected {expected}")
    return array


def _tile(cells: Array, value_range: tuple[float, float]) -> Array:
    """(rows, columns, H, W, C) -> one picture in [0, 1]; gaps and NaN are white."""
    rows, columns, height, width, channels = cells.shape
    low, high = value_range
    picture = np.ones(
        (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, channels)
    )
    for i in range(rows):
        for j in range(columns):
            top, left = i * (height + _GAP), j * (width + _GAP)
            cell = (cells[i, j].astype(np.float64) - low) / (high - low)
            shown = np.where(np.isnan(cell), 1, np.clip(cell, 0, 1))
            picture[top : top + height, left : left + width] = shown
    return picture


def _show(ax: Axes | None, cells: Array, value_range: tuple[float, float], inch: float) -> Axes:
    """Draws a table of images, `inch` wide each on new axes."""
    picture = _tile(cells, value_range)
    rows, columns, height, width, channels = cells.shape
    ax = new_axes(ax, max(1.5, columns * inch), max(1.0, rows * inch * height / width))
    shown = picture[..., 0] if channels == 1 else picture
    ax.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.tick_params(length=0, labelsize=8)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return ax


def _centres(count: int, size: int) -> Array:
    """Where the middle of each of `count` images of `size` pixels lies on a tiled picture."""
    return np.arange(count) * (size + _GAP) + (size - 1) / 2


def image_grid(
    images: ArrayLike,
    n_columns: int | None = None,
    *,
    value_range: tuple[float, float] = (-1.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """Images side by side, row by row.

    Parameters
    ----------
    images : array_like, shape (n, height, width, channels)
    n_columns : int, optional
        By default the grid is about square.
    value_range : tuple of float
        The values shown as black and white; others are clipped.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Not images, or no columns.

    Examples
    --------
    >>> from ebmlib import datasets, plots
    >>> ax = plots.image_grid(datasets.load_digits()[0][:20], n_columns=10)
    """
    x = _images("image_grid", images)
    columns = int(np.ceil(np.sqrt(len(x))))
    if n_columns is not None:
        columns = whole(n_columns, "image_grid: n_columns", 1)
    value_range = pair(value_range, "image_grid: value_range")
    columns = min(columns, len(x))
    rows = -(-len(x) // columns)
    cells = np.full((rows * columns, *x.shape[1:]), value_range[1], dtype=np.float64)
    cells[: len(x)] = x
    return _show(ax, cells.reshape(rows, columns, *x.shape[1:]), value_range, 0.6)


def chain_strip(
    trace: ArrayLike,
    n_chains: int = 8,
    n_steps: int = 10,
    *,
    steps: Sequence[int] | None = None,
    value_range: tuple[float, float] = (-1.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """Chains of images as they walk: a row a chain, from left to right.

    Parameters
    ----------
    trace : array_like, shape (m, n, height, width, channels)
        m positions of n chains.
    n_chains : int
        The first chains to show.
    n_steps : int
        How many of the m positions to show, from the first to the last at even distances.
    steps : sequence of int, optional
        The step each of the m positions was taken at, for the labels; 0 .. m - 1 by default.
    value_range : tuple of float
        The values shown as black and white.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Not a trace of images, or nothing to show.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import plots
    >>> ax = plots.chain_strip(np.zeros((60, 16, 8, 8, 1)), n_chains=4)
    """
    x = _images("chain_strip", trace, ndim=5)
    n_chains = whole(n_chains, "chain_strip: n_chains", 1)
    n_steps = whole(n_steps, "chain_strip: n_steps", 1)
    value_range = pair(value_range, "chain_strip: value_range")
    labels = range(len(x)) if steps is None else steps
    if len(labels) != len(x):
        raise ValueError(f"chain_strip: steps: got {len(labels)}, expected {len(x)}")
    shown = np.unique(np.linspace(0, len(x) - 1, n_steps).round().astype(int))
    ax = _show(ax, x[shown, :n_chains].swapaxes(0, 1), value_range, 0.6)
    ax.set_xticks(_centres(len(shown), x.shape[3]), [str(labels[i]) for i in shown])
    ax.set_xlabel("step")
    return ax


def nearest_neighbours(
    samples: ArrayLike,
    neighbours: ArrayLike,
    distances: ArrayLike | None = None,
    *,
    value_range: tuple[float, float] = (-1.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """Samples, and below each its nearest rows of the data: are they more than copies?

    Parameters
    ----------
    samples : array_like, shape (n, height, width, channels)
    neighbours : array_like, shape (n, k, height, width, channels)
        Of each sample, the nearest first.
    distances : array_like, shape (n, k), optional
        The nearest one's is written below its column.
    value_range : tuple of float
        The values shown as black and white.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        The shapes do not fit.

    Examples
    --------
    >>> from ebmlib import datasets, plots
    >>> X, y = datasets.load_digits()
    >>> ax = plots.nearest_neighbours(X[:5], X[5:20].reshape(5, 3, 8, 8, 1))
    """
    x = _images("nearest_neighbours", samples)
    near = _images("nearest_neighbours", neighbours, ndim=5)
    value_range = pair(value_range, "nearest_neighbours: value_range")
    if near.shape[0] != len(x) or near.shape[2:] != x.shape[1:]:
        raise ValueError(
            f"nearest_neighbours: shapes: got {x.shape} and {near.shape}, "
            "expected (n, ...) and (n, k, ...)"
        )
    ax = _show(ax, np.concatenate([x[:, None], near], axis=1).swapaxes(0, 1), value_range, 0.6)
    rows = ["sample", "nearest", *(f"{k}." for k in range(2, near.shape[1] + 1))]
    ax.set_yticks(_centres(len(rows), x.shape[1]), rows)
    ax.axhline(x.shape[1] - 0.5 + _GAP / 2, color=COLOURS[1], linewidth=1.5)
    if distances is not None:
        apart = floats(distances, "nearest_neighbours: distances")
        if apart.shape != near.shape[:2]:
            raise ValueError(
                f"nearest_neighbours: distances: got {apart.shape}, expected {near.shape[:2]}"
            )
        ax.set_xticks(_centres(len(x), x.shape[2]), [f"{d:.2f}" for d in apart[:, 0]])
        ax.set_xlabel("distance to the nearest")
    return ax
