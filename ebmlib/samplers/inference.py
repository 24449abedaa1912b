"""Chains for ArviZ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._arviz import inference_data
from .._chains import as_arguments, as_energy
from ..networks import BoundNetwork

__all__ = ["to_inference_data"]


def to_inference_data(
    trace: Any,
    info: Mapping[str, Any] | None = None,
    energy: Any = None,
    args: Sequence[Any] = (),
    *,
    name: str = "x",
    dims: Sequence[str] | None = None,
    coords: Mapping[str, Any] | None = None,
) -> Any:
    """Chains of any sampler for ArviZ: effective sample sizes, R-hat, plots.

    Parameters
    ----------
    trace : array (draws, chains, ...)
        As ``sample(..., return_trace=True)`` gives it; not copied.
    info : dict of arrays (draws, chains) or None
        As ``return_info=True`` gives it: goes to ``sample_stats``.
    energy : callable, BoundNetwork, fitted estimator or None
        If given, ``sample_stats`` has ``energy``, E(x) of the draws, and ``lp``, -E(x).
    args : tuple
        Further arguments of the energy.
    name : str, default "x"
        Of the variable in ``posterior``.
    dims : list of str or None
        Names of the axes of a position.
    coords : dict or None
        Values along the axes named in ``dims``.

    Returns
    -------
    arviz.InferenceData
        Groups ``posterior`` and ``sample_stats``, both with dims chain and draw.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import samplers
    >>> def energy(x):
    ...     return 0.5 * np.sum(x**2, axis=1)
    >>> walk = samplers.Langevin(step_size=0.2, n_steps=50)
    >>> x, trace, info = walk.sample(energy, np.zeros((4, 2)), random_state=0,
    ...                              return_trace=True, return_info=True)
    >>> data = samplers.to_inference_data(trace, info, energy, dims=["axis"])
    >>> dict(data.posterior.sizes)
    {'chain': 4, 'draw': 50, 'axis': 2}
    """
    if energy is not None:
        as_energy(energy, args)
        fitted = getattr(energy, "energy_", None)
        energy = fitted if isinstance(fitted, BoundNetwork) else energy
    return inference_data(trace, info, energy, as_arguments(args), name, dims, coords)
