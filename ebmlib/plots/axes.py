"""Axes, colours and lines that all pictures share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array: TypeAlias = NDArray[Any]
Energy: TypeAlias = Callable[[Array], ArrayLike]

# Okabe and Ito's colours, which all eyes tell apart; yellow is left out, too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")  # what tells lines apart in grey


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """`ax`, or the axes of a new figure of this size in inches."""
    if ax is not None:
        if not hasattr(ax, "plot"):
            raise TypeError(f"plots: ax: got {type(ax).__name__}, expected Axes of matplotlib")
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "plots: matplotlib is not installed: pip install 'ebmlib[plots]'"
        ) from error
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """TypeError unless the value is a mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: got {type(value).__name__}, expected a dict of series")
    return value


def plain(ax: Axes) -> None:
    """Leaves the two spines that carry numbers."""
    ax.spines[["top", "right"]].set_visible(False)


def running_mean(values: Array, window: int) -> Array:
    """The mean over the last `window` values (fewer at the start) that are finite."""
    good = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(good, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(good)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    number = count[end] - count[start]
    return np.where(number > 0, (total[end] - total[start]) / np.maximum(number, 1), np.nan)
