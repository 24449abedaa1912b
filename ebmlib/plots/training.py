"""Pictures of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._checks import floats, whole
from .axes import COLOURS, LINES, Array, mapping, new_axes, plain, running_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    mapping(history, "training_history: history")
    if window is not None:
        window = whole(window, "training_history: window", 1)
    usual = [key for key in ("energy_data", "energy_samples") if key in history]
    series = [key for key in history if key != "step" and not key.endswith("_step")]
    chosen = (usual or series) if keys is None else list(keys)
    missing = [key for key in chosen if key not in history]
    if missing or not chosen:
        raise KeyError(f"training_history: keys: got {missing}, expected some of {series}")
    ax = new_axes(ax, 5.0, 3.2)
    for k, key in enumerate(chosen):
        values = floats(history[key], f"training_history: {key!r}").ravel()
        step = _steps(history, key, len(values))
        if len(step) != len(values):
            raise ValueError(
                f"training_history: length of {key!r}: got {len(values)}, expected {len(step)}"
            )
        width = max(1, len(values) // 50 if window is None else window)
        colour = COLOURS[k % len(COLOURS)]
        if width > 1:
            ax.plot(step, values, color=colour, alpha=0.2, linewidth=0.6)
        mean, line = running_mean(values, width), LINES[k % len(LINES)]
        ax.plot(step, mean, color=colour, linestyle=line, linewidth=1.5, label=key)
    ax.set_xlabel("step")
    ax.margins(x=0)
    if len(chosen) == 1:
        ax.set_ylabel(chosen[0])
    else:
        ax.legend(frameon=False)
    plain(ax)
    return ax
