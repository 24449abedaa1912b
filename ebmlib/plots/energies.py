"""Pictures of energies: maps of the plane, histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._checks import floats, function, whole
from .._interchange import as_numbers
from ..datasets import PlanarSet, grid, log_z
from ..datasets.planar import Extent
from .axes import COLOURS, LINES, Array, Energy, mapping, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        `energy` gives another number of values, or none that is finite, or `samples` are not
        points of the plane.

    Examples
    --------
    >>> from ebmlib import datasets, plots
    >>> law = datasets.moons()
    >>> ax = plots.energy_map(lambda x: -law.log_density(x), law.extent, density=True)
    """
    function(energy, "energy_map")
    points, area = grid(extent, n)
    dots = None if samples is None else _dots("energy_map", samples)
    values = _energies("energy_map", energy, points)
    if not density:
        finite = values[np.isfinite(values)]
        if not len(finite):
            raise ValueError("energy_map: energies: got no finite one")
        limits = (finite.min(), np.quantile(finite, 0.95))
        ax = _map(ax, values, extent, limits, "viridis_r", "max", "energy")
    else:
        p = np.exp(-values - log_z(values, area))
        ax = _map(ax, p, extent, (0.0, p.max()), "viridis", "neither", "density")
    if dots is not None:
        ax.scatter(dots[:, 0], dots[:, 1], s=6, c="white", edgecolors="black", linewidths=0.4)
    return ax


def density_comparison(
    law: PlanarSet,
    energy: Energy,
    n: int = 200,
    *,
    log: bool = False,
    extent: Extent | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The density of an energy on the plane, with the outlines of the true one.

    Both are normalised over the box. The lines hold the half and 95% of the true law where it
    is densest; the title has KL(law || model), from the sum over the box.

    Parameters
    ----------
    law : PlanarSet
        What has `log_density` and `extent`.
    energy : callable
        Takes points, float32 of shape (m, 2), gives m energies.
    n : int
        Points a side.
    log : bool
        Show the log density, down to ten nats below the highest.
    extent : tuple of float, optional
        (left, right, bottom, top); by default that of the law.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        `energy` gives another number of values, or a NaN.

    Examples
    --------
    >>> from ebmlib import datasets, plots
    >>> law = datasets.moons()
    >>> wider = datasets.moons(sigma=0.4)
    >>> ax = plots.density_comparison(law, lambda x: -wider.log_density(x), n=50)
    >>> ax.get_title()
    'KL(law || model) = 0.320 nats'
    """
    function(energy, "density_comparison")
    if not hasattr(law, "log_density"):
        raise TypeError(
            f"density_comparison: law: got {type(law).__name__}, expected one with log_density"
        )
    extent = law.extent if extent is None else extent
    points, area = grid(extent, n)
    values = _energies("density_comparison", energy, points)
    model = -values - log_z(values, area)
    truth = law.log_density(points)
    truth = truth - log_z(-truth, area)
    top = float(model.max())
    if log:
        ax = _map(ax, model, extent, (top - 10, top), "viridis", "min", "log density")
    else:
        ax = _map(
            ax, np.exp(model), extent, (0.0, np.exp(top)), "viridis", "neither", "density"
        )
    _outline(ax, np.exp(truth), area, extent)
    held = np.isfinite(truth)
    kl = area * np.sum(np.exp(truth[held]) * (truth[held] - model[held]))
    ax.set_xlabel("lines: 50% (solid) and 95% (dashed) of the law", fontsize="small")
    ax.set_title(f"KL(law || model) = {kl:.3f} nats", fontsize="medium")
    return ax


def density_panels(
    energies: Mapping[str, Energy],
    extent: Extent,
    n: int = 150,
    *,
    samples: Mapping[str, ArrayLike] | None = None,
    columns: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Densities of several energies on one part of the plane, side by side.

    Each is exp(-E) / Z, normalised over the box.  All have the colours of the first, the truth
    or what the others are compared with: brighter than its highest is as bright.

    Parameters
    ----------
    energies : mapping of str to callable
        A name, which is the title, and what takes points, float32 of shape (m, 2), and gives m
        energies.
    extent : tuple of float
        (left, right, bottom, top).
    n : int
        Points a side.
    samples : mapping of str to array_like, shape (s, 2), optional
        Dots on the panels of these names.
    columns : int, optional
        Panels in a row; all of them by default.
    ax : matplotlib.axes.Axes, optional
        What the panels share; they are its ``child_axes``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        There are no energies, one gives another number of values or a NaN, `samples` are not
        points of the plane, or have a name that no energy has.

    Examples
    --------
    >>> from ebmlib import datasets, plots
    >>> law = datasets.moons()
    >>> wider = datasets.moons(sigma=0.4)
    >>> ax = plots.density_panels(
    ...     {"truth": lambda x: -law.log_density(x), "model": lambda x: -wider.log_density(x)},
    ...     law.extent, n=50, samples={"model": wider.sample(100, random_state=0)})
    >>> [panel.get_title() for panel in ax.child_axes]
    ['truth', 'model']
    """
    who = "density_panels"
    mapping(energies, f"{who}: energies")
    dots = {} if samples is None else mapping(samples, f"{who}: samples")
    if not energies:
        raise ValueError(f"{who}: energies: got none, expected some")
    if unknown := [name for name in dots if name not in energies]:
        raise ValueError(
            f"{who}: samples: got {unknown[0]!r}, expected some of {list(energies)}"
        )
    points, area = grid(extent, n)
    densities = {}
    for name, energy in energies.items():
        function(energy, f"{who}: {name!r}")
        values = _energies(who, energy, points)
        densities[name] = np.exp(-values - log_z(values, area)).reshape(n, n)
    places = {name: _dots(who, rows) for name, rows in dots.items()}
    across = len(energies) if columns is None else whole(columns, f"{who}: columns", 1)
    across = min(across, len(energies))
    down = -(-len(energies) // across)
    tall = (extent[3] - extent[2]) / (extent[1] - extent[0])
    ax = new_axes(ax, 1.6 * across, (1.6 * tall + 0.3) * down)
    ax.set_axis_off()
    top = float(next(iter(densities.values())).max())
    for k, (name, density) in enumerate(densities.items()):
        row, column = divmod(k, across)
        corner = column / across, 1 - (row + 1) / down
        panel = ax.inset_axes((*corner, 0.96 / across, 0.86 / down))
        panel.imshow(density, extent=extent, origin="lower", cmap="magma", vmin=0.0, vmax=top)
        if name in places:
            at = places[name]
            panel.scatter(at[:, 0], at[:, 1], s=1.5, c="#56B4E9", linewidths=0, alpha=0.7)
        panel.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
        panel.spines[:].set_visible(False)
        panel.set_title(name, fontsize="small", pad=3)
    return ax


def _dots(who: str, samples: ArrayLike) -> Array:
    dots = as_numbers(samples, f"{who}: samples")
    if dots.ndim != 2 or dots.shape[1] != 2:
        raise ValueError(f"{who}: samples: got {dots.shape}, expected (s, 2)")
    return dots


def _energies(who: str, energy: Energy, points: Array) -> Array:
    values = floats(energy(points), f"{who}: energies")
    if values.shape != (len(points),):
        raise ValueError(
            f"{who}: energies of {len(points)} points: got {values.shape}, "
            f"expected ({len(points)},)"
        )
    return values


def _map(
    ax: Axes | None,
    values: Array,
    extent: Extent,
    limits: tuple[float, float],
    colours: str,
    extend: str,
    label: str,
) -> Axes:
    """Values at the points of a grid as a picture with a bar."""
    n = math.isqrt(len(values))
    width, height = extent[1] - extent[0], extent[3] - extent[2]
    inch = 3.6 / max(width, height)
    ax = new_axes(ax, width * inch + 1.2, height * inch + 0.4)
    image = ax.imshow(
        values.reshape(n, n),
        extent=extent,
        origin="lower",
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    ax.set_xlim(extent[:2])
    ax.set_ylim(extent[2:])
    side = ax.inset_axes((1.03, 0, 0.05, 1))  # as high as the map, whatever its shape
    bar = ax.figure.colorbar(image, cax=side, extend=extend)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return ax


def _outline(ax: Axes, density: Array, area: float, extent: Extent) -> None:
    """Lines around the densest places that hold 50% and 95%: white on black, on any ground."""
    from matplotlib import patheffects

    n = math.isqrt(len(density))
    x = extent[0] + (np.arange(n) + 0.5) * (extent[1] - extent[0]) / n
    y = extent[2] + (np.arange(n) + 0.5) * (extent[3] - extent[2]) / n
    falling: Array = np.sort(density)[::-1]
    held = np.cumsum(falling) * area
    casing = [patheffects.Stroke(linewidth=2.2, foreground="black"), patheffects.Normal()]
    for share, line in ((0.5, "-"), (0.95, "--")):
        level = falling[min(int(np.searchsorted(held, share)), len(falling) - 1)]
        lines = ax.contour(  # a hair lower: a plateau has an outline, too
            x,
            y,
            density.reshape(n, n),
            [0.999 * level],
            colors="white",
            linestyles=line,
            linewidths=1.1,
        )
        lines.set_path_effects(casing)


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
    mapping(energies, "energy_histogram: energies")
    sets = {
        name: floats(e, f"energy_histogram: {name!r}").ravel() for name, e in energies.items()
    }
    bins = whole(bins, "energy_histogram: bins", 1)
    kept = {name: e[np.isfinite(e)] for name, e in sets.items()}
    if not sum(map(len, kept.values())):
        raise ValueError("energy_histogram: energies: got no finite one")
    edges = np.histogram_bin_edges(np.concatenate(list(kept.values())), bins).tolist()
    ax = new_axes(ax, 5.0, 3.2)
    for k, (name, e) in enumerate(kept.items()):
        lost = len(sets[name]) - len(e)
        label = f"{name} ({lost} not finite)" if lost else name
        share = np.full(len(e), 1 / max(len(e), 1))
        colour = COLOURS[k % len(COLOURS)]
        ax.hist(e, edges, weights=share, histtype="stepfilled", color=colour, alpha=0.25)
        ax.hist(
            e,
            edges,
            weights=share,
            histtype="step",
            color=colour,
            linestyle=LINES[k % len(LINES)],
            linewidth=1.5,
            label=label,
        )
    ax.set_xlabel("energy")
    ax.set_ylabel("share")
    ax.legend(frameon=False)
    plain(ax)
    return ax
