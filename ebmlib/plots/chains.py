"""Pictures of chains: traces, autocorrelations, paths, and what samplers report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import floats, whole
from .._interchange import as_numbers
from ..datasets.grids import box as checked_box
from ..datasets.planar import Extent
from .axes import COLOURS, Array, Energy, new_axes, plain, running_mean
from .energies import energy_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def trace(
    values: ArrayLike,
    n_chains: int = 4,
    *,
    coordinate: int = 0,
    steps: ArrayLike | None = None,
    diagnostics: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """A number of each chain against the steps: do the chains mix?

    Parameters
    ----------
    values : array_like, shape (m, n) or (m, n, ...)
        m positions or energies of n chains.
    n_chains : int
        The first chains to show.
    coordinate : int
        Which number of a position of more than one, counted along its flat row.
    steps : array_like, shape (m,), optional
        The step each was taken at; 0 .. m - 1 by default.
    diagnostics : bool
        Write effective sample size and R-hat of all the chains above, by ArviZ.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Not chains, none to show, or no finite number.
    ImportError
        `diagnostics`, and ArviZ is not there.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import plots
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> ax = plots.trace(x)
    """
    x = _series("trace", values, coordinate)
    n_chains = whole(n_chains, "trace: n_chains", 1)
    at = np.arange(len(x)) if steps is None else np.asarray(steps)
    if at.shape != (len(x),):
        raise ValueError(f"trace: steps: got {at.shape}, expected ({len(x)},)")
    title = _diagnostics("trace", x) if diagnostics else ""
    ax = new_axes(ax, 5.0, 3.2)
    for k, chain in enumerate(x.T[:n_chains]):
        colour = COLOURS[k % len(COLOURS)]
        ax.plot(at, chain, color=colour, linewidth=0.8, alpha=0.8, label=f"chain {k}")
    ax.set_xlabel("step")
    ax.set_ylabel("value" if np.ndim(values) == 2 else f"coordinate {coordinate}")
    ax.margins(x=0)
    if title:
        ax.set_title(title, fontsize="medium")
    plain(ax)
    return ax


def autocorrelation(
    values: ArrayLike,
    max_lag: int | None = None,
    *,
    coordinate: int = 0,
    diagnostics: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Autocorrelation against the lag: after how many steps is a chain a new draw?

        r_k = sum_t (x_t - mean) (x_t+k - mean) / sum_t (x_t - mean)^2

    The line is the mean over the chains, the band their middle 80%. Chains that do not move
    have no autocorrelation: they are left out and counted in the legend.

    Parameters
    ----------
    values : array_like, shape (m, n) or (m, n, ...)
        m positions or energies of n chains.
    max_lag : int, optional
        At most m - 1; by default 100, or half of m.
    coordinate : int
        Which number of a position of more than one, counted along its flat row.
    diagnostics : bool
        Write effective sample size and R-hat of all the chains above, by ArviZ.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Not chains, a number that is not finite, a bad lag, or no chain that moves.
    ImportError
        `diagnostics`, and ArviZ is not there.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import plots
    >>> x = np.random.default_rng(0).normal(size=(200, 3)).cumsum(axis=0)
    >>> ax = plots.autocorrelation(x, max_lag=50)
    """
    x = _series("autocorrelation", values, coordinate)
    if not np.isfinite(x).all():
        raise ValueError("autocorrelation: values: got one that is not finite")
    lags = (
        min(100, len(x) // 2) if max_lag is None else whole(max_lag, "autocorrelation: max_lag")
    )
    if not 0 <= lags < len(x):
        raise ValueError(f"autocorrelation: max_lag: got {lags}, expected 0 to {len(x) - 1}")
    moving = x[:, x.max(axis=0) > x.min(axis=0)]
    still = x.shape[1] - moving.shape[1]
    if not moving.size:
        raise ValueError(f"autocorrelation: values: none of {still} chains moves")
    title = _diagnostics("autocorrelation", x) if diagnostics else ""
    r = _autocorrelations(moving)[: lags + 1]
    ax = new_axes(ax, 5.0, 3.2)
    if r.shape[1] > 1:
        low, high = np.quantile(r, [0.1, 0.9], axis=1)
        ax.fill_between(range(lags + 1), low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
    label = f"{still} chains do not move" if still else None
    ax.plot(range(lags + 1), r.mean(axis=1), color=COLOURS[0], linewidth=1.5, label=label)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set_xlabel("lag")
    ax.set_ylabel("autocorrelation")
    ax.margins(x=0)
    if still:
        ax.legend(frameon=False)
    if title:
        ax.set_title(title, fontsize="medium")
    plain(ax)
    return ax


def chain_paths(
    trace: ArrayLike,
    energy: Energy | None = None,
    extent: Extent | None = None,
    *,
    n_chains: int = 4,
    density: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """The ways of chains on the plane, from a ring to a dot, over the map of their energy.

    Parameters
    ----------
    trace : array_like, shape (m, n, 2)
        m positions of n chains.
    energy : callable, optional
        Takes points, float32 of shape (m, 2), gives m energies; no map without it.
    extent : tuple of float, optional
        (left, right, bottom, top); by default a box around the ways.
    n_chains : int
        The first chains to show.
    density : bool
        The map shows exp(-E) / Z.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Not a trace on the plane, none to show, or no finite position.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import plots
    >>> steps = np.random.default_rng(0).normal(size=(50, 3, 2))
    >>> ax = plots.chain_paths(steps.cumsum(axis=0), lambda x: (x**2).sum(axis=1))
    """
    x = floats(trace, "chain_paths: trace")
    if x.ndim != 3 or x.shape[2] != 2 or not x.size:
        raise ValueError(f"chain_paths: shape of trace: got {x.shape}, expected (m, n, 2)")
    n_chains = whole(n_chains, "chain_paths: n_chains", 1)
    x = x[:, :n_chains]
    box = _box(x) if extent is None else checked_box(extent, "chain_paths")
    if energy is None:
        ax = new_axes(ax, 4.0, 4.0)
        ax.set_aspect("equal")
        ax.set_xlim(box[:2])
        ax.set_ylim(box[2:])
        plain(ax)
    else:
        ax = energy_map(energy, box, density=density, ax=ax)
    _draw_paths(ax, x)
    return ax


def sampler_info(
    infos: Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]],
    key: str,
    other: str | None = None,
    *,
    window: int = 1,
    log_other: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """What a sampler reports, step by step: acceptance against step size, energy, a schedule.

    The line is the mean over the chains; numbers, unlike truths (accepted or not), have a band
    that holds the middle 80% of the chains. What is not finite is left out.

    Parameters
    ----------
    infos : mapping of str to array_like, or sequence of mappings
        Series of shape (m,) or (m, n) by name, or what m calls of a sampler's `step` gave.
    key : str
        What is drawn on the left.
    other : str, optional
        What is drawn on an axis of its own on the right, as a dashed line.
    window : int
        Steps that the line of `key` is averaged over.
    log_other : bool
        A logarithmic axis on the right.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The left one.

    Raises
    ------
    KeyError
        Not reported.
    ValueError
        Nothing finite was reported, series of other shapes or lengths, or a bad window.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import plots
    >>> rng = np.random.default_rng(0)
    >>> accepted, step_size = rng.random((100, 16)) < 0.6, np.geomspace(1, 0.1, 100)
    >>> infos = {"accepted": accepted, "step_size": step_size}
    >>> ax = plots.sampler_info(infos, "accepted", "step_size", window=10)
    """
    left = _info(infos, key)
    right = None if other is None else _info(infos, other)
    if right is not None and len(right) != len(left):
        raise ValueError(
            f"sampler_info: length of {other!r}: got {len(right)}, expected {len(left)}"
        )
    window = whole(window, "sampler_info: window", 1)
    ax = new_axes(ax, 5.0, 3.2)
    at = np.arange(len(left))
    if left.dtype != bool and left.shape[1] > 1:
        some = np.isfinite(left).any(axis=1)
        shown = np.where(np.isfinite(left), left, np.nan)[some]
        low, high = np.nanquantile(shown, [0.1, 0.9], axis=1)
        ax.fill_between(at[some], low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
    ax.plot(at, running_mean(_mean(left), window), color=COLOURS[0], linewidth=1.5)
    ax.set_xlabel("step")
    ax.set_ylabel(key, color=COLOURS[0])
    if left.dtype == bool:
        ax.set_ylim(0, 1)
    ax.margins(x=0)
    plain(ax)
    if other is not None and right is not None:
        twin = ax.twinx()
        twin.plot(at, _mean(right), color=COLOURS[1], linestyle="--")
        twin.set_ylabel(f"{other} (dashed)", color=COLOURS[1])
        twin.set_yscale("log" if log_other else "linear")
        twin.spines[["top", "left"]].set_visible(False)
        twin.margins(x=0)
    return ax


# ---- what they share -------------------------------------------------------------------------


def _series(who: str, values: ArrayLike, coordinate: int) -> Array:
    """(m, n) numbers of n chains: `values`, or one coordinate of them."""
    x = floats(values, f"{who}: values")
    if x.ndim < 2 or not x.size:
        raise ValueError(f"{who}: shape: got {x.shape}, expected (m, n) or (m, n, ...)")
    rows = x.reshape(*x.shape[:2], -1)
    if not 0 <= whole(coordinate, f"{who}: coordinate") < rows.shape[2]:
        raise ValueError(
            f"{who}: coordinate: got {coordinate}, expected 0 to {rows.shape[2] - 1}"
        )
    series: Array = rows[:, :, coordinate]
    if not np.isfinite(series).any():
        raise ValueError(f"{who}: values: got no finite one")
    return series


def _diagnostics(who: str, x: Array) -> str:
    from .._arviz import library  # which a plot without it need not load

    arviz = library(who)
    ess, r_hat = float(arviz.ess(x.T)), float(arviz.rhat(x.T))
    return f"ESS {ess:,.0f} of {x.size:,}, R-hat {r_hat:.2f}"


def _autocorrelations(x: Array) -> Array:
    """(m, n) chains -> (m, n) autocorrelations at lags 0 .. m - 1."""
    m = len(x)
    waves = np.fft.rfft(x - x.mean(axis=0), 2 * m, axis=0)  # zeros keep the ends apart
    products = np.fft.irfft(np.abs(waves) ** 2, 2 * m, axis=0)[:m]
    return np.asarray(products / products[0])


def _box(x: Array) -> Extent:
    """A box with a margin around points (m, n, 2), those that are finite."""
    points = x[np.isfinite(x).all(axis=2)]
    if not len(points):
        raise ValueError("chain_paths: trace: got no finite position")
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low).max() or 1.0
    (left, bottom), (right, top) = low - margin, high + margin
    return float(left), float(right), float(bottom), float(top)


def _draw_paths(ax: Axes, x: Array) -> None:
    for k, chain in enumerate(x.swapaxes(0, 1)):
        colour = COLOURS[k % len(COLOURS)]
        ax.plot(*chain.T, color="white", linewidth=2.2, alpha=0.7)  # to stand out on any ground
        ax.plot(*chain.T, color=colour, linewidth=1.1)
        finite = chain[np.isfinite(chain).all(axis=1)]
        ends: dict[str, Any] = {"markersize": 7, "zorder": 3}
        ax.plot(*finite[:1].T, "o", mfc="white", mec=colour, markeredgewidth=1.8, **ends)
        ax.plot(*finite[-1:].T, "o", mfc=colour, mec="white", **ends)


def _info(infos: Any, key: str) -> Array:
    """(m, n) values of `key`, n = 1 for a series without chains."""
    steps = not isinstance(infos, Mapping)
    if steps and not isinstance(infos, list | tuple):
        raise TypeError(
            f"sampler_info: infos: got {type(infos).__name__}, expected a dict of series, or a "
            "list of dicts"
        )
    if steps and not len(infos):
        raise ValueError("sampler_info: infos: got none")
    names = infos[0] if steps else infos
    if key not in names:
        raise KeyError(f"sampler_info: key: got {key!r}, expected one of {list(names)}")
    series = np.asarray([info[key] for info in infos] if steps else infos[key])
    if series.ndim not in (1, 2) or not series.size:
        raise ValueError(
            f"sampler_info: shape of {key!r}: got {series.shape}, expected (m,) or (m, n)"
        )
    if not np.isfinite(as_numbers(series, f"sampler_info: {key!r}")).any():
        raise ValueError(f"sampler_info: {key!r}: got no finite value")
    return series.reshape(len(series), -1)


def _mean(x: Array) -> Array:
    """The mean over the chains (m, n) -> (m,) of what is finite; NaN where nothing is."""
    good = np.isfinite(x)
    count = good.sum(axis=1)
    total = np.where(good, x, 0).sum(axis=1, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
