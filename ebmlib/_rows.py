"""Data as users give it: checked, and as contiguous rows of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_rows", "feature_names"]

_CHUNK = 1 << 22  # elements looked at at once: a memory map is never read whole


def check_rows(
    given: Any,
    who: str,
    row: tuple[int, ...] | None = None,
    image_shape: tuple[int, ...] | None = None,
) -> NDArray[Any]:
    """The data as an array (N, ...) of uint8, float32 or float64 with only finite values.

    row: the shape that rows must have, once an estimator has seen data.
    image_shape: what flat rows are reshaped to.
    """
    x = _as_array(given)
    if x.ndim == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array instead: {who} takes rows (n_samples, ...). "
            "Reshape your data: x.reshape(-1, 1) for one feature, x.reshape(1, -1) for one "
            "sample."
        )
    if x.ndim == 0:
        raise ValueError(f"Expected 2D array, got scalar array instead: {x!r}")
    if x.shape[0] == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={x.shape}) while a minimum of 1 is required "
            f"by {who}."
        )
    if 0 in x.shape:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={x.shape}) while a minimum of 1 is required "
            f"by {who}."
        )
    if image_shape is not None and x.shape[1:] != tuple(image_shape):
        if np.prod(x.shape[1:]) != np.prod(image_shape):
            raise ValueError(
                f"{who}: image_shape: got rows of {int(np.prod(x.shape[1:]))} numbers, "
                f"expected {tuple(image_shape)}"
            )
        x = x.reshape(len(x), *image_shape)
    if row is not None and x.shape[1:] != tuple(row):
        if x.ndim == 2 and len(row) == 1:
            raise ValueError(
                f"X has {x.shape[1]} features, but {who} is expecting {row[0]} features as "
                "input."
            )
        raise ValueError(f"{who}: got rows of shape {x.shape[1:]}, expected {tuple(row)}")
    _check_finite(x, who)
    return x


def _as_array(given: Any) -> NDArray[Any]:
    if hasattr(given, "toarray") and not isinstance(given, np.ndarray):
        raise TypeError(
            "Sparse data was passed, but dense data is required. Use X.toarray() to convert it."
        )
    x: NDArray[Any] = np.asarray(given)
    if x.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {x.dtype}")
    if x.dtype.kind == "O":
        try:
            x = np.asarray(x, np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(f"X: {error}: expected an array of numbers") from None
    if x.dtype.kind not in "fiub":
        raise ValueError(f"X: got dtype {x.dtype}, expected numbers")
    kept = x
    if x.dtype not in (np.uint8, np.float32, np.float64) or not x.dtype.isnative:
        kept = np.asarray(x, np.float32 if x.dtype == np.float16 else np.float64)
    rows_are_whole = kept.ndim < 2 or kept[:1].flags.c_contiguous
    return kept if rows_are_whole else np.ascontiguousarray(kept)


def _check_finite(x: NDArray[Any], who: str) -> None:
    if x.dtype.kind != "f":
        return
    rows = max(1, _CHUNK // max(1, x[0].size))
    for at in range(0, len(x), rows):
        part = x[at : at + rows]
        if np.isfinite(part).all():
            continue
        bad = "NaN" if np.isnan(part).any() else f"infinity or a value too large for {x.dtype}"
        row = at + int(np.nonzero(~np.isfinite(part).reshape(len(part), -1).all(axis=1))[0][0])
        raise ValueError(
            f"Input X contains {bad} (first in row {row}); {who} needs finite numbers."
        )


def feature_names(x: Any) -> NDArray[Any] | None:
    """The names of a data frame's columns if all are strings, else None."""
    columns = getattr(x, "columns", None)
    if columns is None or not all(isinstance(name, str) for name in columns):
        return None
    return np.asarray(columns, dtype=object)
