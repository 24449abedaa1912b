"""Pictures of data, chains, energies and training; matplotlib comes in when one is drawn.

Every function takes `ax`, the axes to draw on (new ones of a fitting size if None), and returns
the axes. Images are arrays of shape (n, height, width, channels) with one channel (grey) or
three, and `value_range` says which numbers are black and white.

>>> from ebmlib import datasets, plots
>>> X, y = datasets.load_digits()
>>> ax = plots.image_grid(X[:64])
>>> ax.figure.savefig("digits.png")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .datasets import grid, log_z
from .datasets.planar import Extent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "chain_strip",
    "energy_histogram",
    "energy_map",
    "image_grid",
    "nearest_neighbours",
    "training_history",
]

Array: TypeAlias = NDArray[Any]
Energy: TypeAlias = Callable[[Array], ArrayLike]

# Okabe and Ito's colours, which all eyes tell apart; yellow is left out, too faint on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GAP = 1  # pixels between images


# ---- axes and images -------------------------------------------------------------------------


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    """`ax`, or the axes of a new figure of this size in inches."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "plots: matplotlib is not installed: pip install 'ebmlib[plots]'"
        ) from error
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def _plain(ax: Axes) -> None:
    """Leaves the two spines that carry numbers."""
    ax.spines[["top", "right"]].set_visible(False)


def _images(name: str, images: ArrayLike, ndim: int = 4) -> Array:
    """`images` as an array of rank `ndim` that ends in height, width, channels."""
    array = np.asarray(images)
    if array.ndim != ndim or array.shape[-1] not in (1, 3) or 0 in array.shape:
        leading = ("n", "m")[: ndim - 3]
        expected = f"({', '.join(leading)}, height, width, 1 or 3)"
        raise ValueError(f"{name}: shape: got {array.shape}, expected {expected}")
    return array


def _tile(cells: Array, value_range: tuple[float, float]) -> Array:
    """(rows, columns, H, W, C) -> one picture with values in [0, 1] and white gaps."""
    rows, columns, height, width, channels = cells.shape
    low, high = value_range
    if not low < high:
        raise ValueError(f"value_range: got {value_range}, expected low < high")
    picture = np.ones(
        (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, channels)
    )
    for i in range(rows):
        for j in range(columns):
            top, left = i * (height + _GAP), j * (width + _GAP)
            cell = (cells[i, j].astype(np.float64) - low) / (high - low)
            picture[top : top + height, left : left + width] = np.clip(cell, 0, 1)
    return picture


def _show(ax: Axes | None, cells: Array, value_range: tuple[float, float], inch: float) -> Axes:
    """Draws a table of images, `inch` wide each on new axes."""
    picture = _tile(cells, value_range)
    rows, columns, height, width, channels = cells.shape
    ax = _axes(ax, max(1.5, columns * inch), max(1.0, rows * inch * height / width))
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
    columns = int(np.ceil(np.sqrt(len(x)))) if n_columns is None else n_columns
    if columns < 1:
        raise ValueError(f"image_grid: n_columns: got {columns}, expected at least 1")
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
    if n_chains < 1 or n_steps < 1:
        raise ValueError(
            f"chain_strip: n_chains, n_steps: got {n_chains}, {n_steps}, expected at least 1"
        )
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
    if near.shape[0] != len(x) or near.shape[2:] != x.shape[1:]:
        raise ValueError(
            f"nearest_neighbours: shapes: got {x.shape} and {near.shape}, "
            "expected (n, ...) and (n, k, ...)"
        )
    ax = _show(ax, np.concatenate([x[:, None], near], axis=1).swapaxes(0, 1), value_range, 0.6)
    rows = ["sample", "nearest", *(f"{k}." for k in range(2, near.shape[1] + 1))]
    ax.set_yticks(_centres(len(rows), x.shape[1]), rows)
    ax.axhline(x.shape[1] - 0.5 + _GAP / 2, color=_COLOURS[1], linewidth=1.5)
    if distances is not None:
        apart = np.asarray(distances, dtype=np.float64)
        if apart.shape != near.shape[:2]:
            raise ValueError(
                f"nearest_neighbours: distances: got {apart.shape}, expected {near.shape[:2]}"
            )
        ax.set_xticks(_centres(len(x), x.shape[2]), [f"{d:.2f}" for d in apart[:, 0]])
        ax.set_xlabel("distance to the nearest")
    return ax


# ---- energies --------------------------------------------------------------------------------


def energy_map(
    energy: Energy,
    extent: Extent,
    n: int = 200,
    *,
    samples: ArrayLike | None = None,
    density: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """An energy on the plane: dark where it is high.

    Parameters
    ----------
    energy : callable
        Takes points, float32 of shape (m, 2), gives m energies: an estimator's `energy`, say.
    extent : tuple of float
        (left, right, bottom, top).
    n : int
        Points a side.
    samples : array_like, shape (s, 2), optional
        Drawn on top, as dots.
    density : bool
        Show exp(-E) / Z, normalised over the box, instead of E. Energies are cut off at the
        highest twentieth, which is often far above all that matters.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        `energy` gives another number of values, or `samples` are not points of the plane.

    Examples
    --------
    >>> from ebmlib import datasets, plots
    >>> law = datasets.moons()
    >>> ax = plots.energy_map(lambda x: -law.log_density(x), law.extent, density=True)
    """
    points, area = grid(extent, n)
    values = np.asarray(energy(points), dtype=np.float64)
    if values.shape != (len(points),):
        raise ValueError(
            f"energy_map: energies of {len(points)} points: got {values.shape}, "
            f"expected ({len(points)},)"
        )
    shown = np.exp(-values - log_z(values, area)) if density else values
    finite = shown[np.isfinite(shown)]
    low, high = (0.0, finite.max()) if density else (finite.min(), np.quantile(finite, 0.95))
    width, height = extent[1] - extent[0], extent[3] - extent[2]
    inch = 3.6 / max(width, height)
    ax = _axes(ax, width * inch + 1.2, height * inch + 0.4)
    image = ax.imshow(
        shown.reshape(n, n),
        extent=extent,
        origin="lower",
        cmap="viridis" if density else "viridis_r",
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    if samples is not None:
        dots = np.asarray(samples)
        if dots.ndim != 2 or dots.shape[1] != 2:
            raise ValueError(f"energy_map: samples: got {dots.shape}, expected (s, 2)")
        ax.scatter(dots[:, 0], dots[:, 1], s=4, c="white", edgecolors="black", linewidths=0.3)
    ax.set_xlim(extent[:2])
    ax.set_ylim(extent[2:])
    bar = ax.figure.colorbar(image, ax=ax, extend="neither" if density else "max")
    bar.set_label("density" if density else "energy")
    bar.outline.set_visible(False)
    return ax


def energy_histogram(
    energies: Mapping[str, ArrayLike], bins: int = 50, *, ax: Axes | None = None
) -> Axes:
    """Histograms of several sets of energies on common bins, such as data, samples and noise.

    Parameters
    ----------
    energies : mapping of str to array_like
        A name and the energies of each set. What is not finite is left out and counted in the
        legend.
    bins : int
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        There is no finite energy.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import plots
    >>> e = np.random.default_rng(0).normal(size=1000)
    >>> ax = plots.energy_histogram({"data": e, "samples": e + 1})
    """
    sets = {name: np.asarray(e, dtype=np.float64).ravel() for name, e in energies.items()}
    kept = {name: e[np.isfinite(e)] for name, e in sets.items()}
    if not sum(map(len, kept.values())):
        raise ValueError("energy_histogram: energies: got no finite one")
    edges = np.histogram_bin_edges(np.concatenate(list(kept.values())), bins).tolist()
    ax = _axes(ax, 5.0, 3.2)
    for k, (name, e) in enumerate(kept.items()):
        lost = len(sets[name]) - len(e)
        label = f"{name} ({lost} not finite)" if lost else name
        share = np.full(len(e), 1 / max(len(e), 1))
        colour = _COLOURS[k % len(_COLOURS)]
        ax.hist(e, edges, weights=share, histtype="stepfilled", color=colour, alpha=0.25)
        ax.hist(
            e, edges, weights=share, histtype="step", color=colour, linewidth=1.5, label=label
        )
    ax.set_xlabel("energy")
    ax.set_ylabel("share")
    ax.legend(frameon=False)
    _plain(ax)
    return ax


# ---- training --------------------------------------------------------------------------------


def _running_mean(values: Array, window: int) -> Array:
    """The mean over the last `window` values (fewer at the start) that are finite."""
    good = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(good, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(good)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    number = count[end] - count[start]
    return np.where(number > 0, (total[end] - total[start]) / np.maximum(number, 1), np.nan)


def _steps(history: Mapping[str, ArrayLike], key: str, length: int) -> Array:
    """The steps at which the values of `key` were taken."""
    for name in (f"{key.partition('_')[0]}_step", "step"):
        if name in history:
            return np.asarray(history[name])
    return np.arange(length)


def training_history(
    history: Mapping[str, ArrayLike],
    keys: Sequence[str] | None = None,
    *,
    window: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """What was recorded while training: faint as it was, strong as its running mean.

    Parameters
    ----------
    history : mapping of str to array_like
        Named series, such as an estimator's `history_`. A series "val_gap" is drawn over the
        series "val_step" if there is one, else over "step" if there is one, else over 0, 1, ...
    keys : sequence of str, optional
        The series to show; by default "energy_data" and "energy_samples" if they are there,
        else all.
    window : int, optional
        Of the running mean; a fiftieth of the length by default.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    KeyError
        There is no such series.
    ValueError
        A series is not as long as its steps.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import plots
    >>> ax = plots.training_history({"loss": np.exp(-np.linspace(0, 3, 500))})
    """
    usual = [key for key in ("energy_data", "energy_samples") if key in history]
    series = [key for key in history if key != "step" and not key.endswith("_step")]
    chosen = (usual or series) if keys is None else list(keys)
    missing = [key for key in chosen if key not in history]
    if missing or not chosen:
        raise KeyError(f"training_history: keys: got {missing}, expected some of {series}")
    ax = _axes(ax, 5.0, 3.2)
    for k, key in enumerate(chosen):
        values = np.asarray(history[key], dtype=np.float64).ravel()
        step = _steps(history, key, len(values))
        if len(step) != len(values):
            raise ValueError(
                f"training_history: length of {key!r}: got {len(values)}, expected {len(step)}"
            )
        width = max(1, len(values) // 50 if window is None else window)
        colour = _COLOURS[k % len(_COLOURS)]
        if width > 1:
            ax.plot(step, values, color=colour, alpha=0.2, linewidth=0.6)
        ax.plot(step, _running_mean(values, width), color=colour, linewidth=1.5, label=key)
    ax.set_xlabel("step")
    ax.margins(x=0)
    if len(chosen) == 1:
        ax.set_ylabel(chosen[0])
    else:
        ax.legend(frameon=False)
    _plain(ax)
    return ax
