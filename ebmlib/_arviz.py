"""Traces of chains as ArviZ has them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._interchange import as_numbers
from .errors import ShapeError
from .networks import BoundNetwork
from .transforms import jit

__all__ = ["inference_data", "library"]


def library(who: str) -> Any:
    """The package, for a function that is called so; ImportError with the cure."""
    try:
        with warnings.catch_warnings():  # ArviZ announces its next version at import
            warnings.simplefilter("ignore", FutureWarning)
            import arviz
    except ImportError as error:
        raise ImportError(f"{who}: arviz is not installed: pip install arviz") from error
    return arviz


def inference_data(
    trace: Any,
    info: Mapping[str, Any] | None,
    energy: Any,
    args: Sequence[Any],
    name: str,
    dims: Sequence[str] | None,
    coords: Mapping[str, Any] | None,
) -> Any:
    """See `samplers.to_inference_data`; energy is a network, a function, or None."""
    try:
        import arviz
    except ImportError as error:
        raise ImportError("to_inference_data: it needs ArviZ: pip install 'arviz<1'") from error
    trace = as_numbers(trace, "trace")
    if trace.ndim < 2 or not trace.size:
        raise ShapeError(f"trace: got shape {trace.shape}, expected (draws, chains, ...)")
    for what, given in (("info", info), ("coords", coords)):
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"{what}: got {type(given).__name__}, expected a dict")
    if not isinstance(name, str):
        raise TypeError(f"name: got {name!r}, expected a word")
    if dims is not None and (isinstance(dims, str) or np.shape(dims) != (trace.ndim - 2,)):
        raise ValueError(f"dims: got {dims!r}, expected {trace.ndim - 2} names")
    stats = {key: as_numbers(value, f"info[{key!r}]") for key, value in (info or {}).items()}
    for key, value in stats.items():
        if value.shape != trace.shape[:2]:
            raise ShapeError(
                f"info[{key!r}]: got shape {value.shape}, expected {trace.shape[:2]}, that of "
                "the trace"
            )
    if energy is not None:
        stats["energy"] = _energies(trace, energy, args)
        stats["lp"] = -stats["energy"]
    return arviz.from_dict(
        posterior={name: trace.swapaxes(0, 1)},
        sample_stats={key: value.T for key, value in stats.items()} or None,
        dims=None if dims is None else {name: list(dims)},
        coords=None if coords is None else dict(coords),
        attrs={"inference_library": "ebmlib"},
    )


def _energies(trace: NDArray[Any], energy: Any, args: Sequence[Any]) -> NDArray[Any]:
    function = energy if isinstance(energy, BoundNetwork) else jit(energy)
    return np.stack([function(np.ascontiguousarray(x), *args) for x in trace])
