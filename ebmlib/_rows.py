"""Data as users give it: checked, and as contiguous rows of numbers."""

from __future__ import annotations

import mmap
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import sizes
from ._interchange import as_array

__all__ = [
    "check_names",
    "check_rows",
    "feature_names",
    "in_parts",
    "mark_rows",
    "parts",
    "read_at_random",
]

_MARKED = 64  # rows
_PART = 1 << 22  # elements looked at or converted at once


def check_rows(
    given: Any,
    who: str,
    row: tuple[int, ...] | None = None,
    image_shape: tuple[int, ...] | None = None,
    lazy: bool = False,
) -> NDArray[Any]:
    """The data as an array (N, ...) of uint8, float32 or float64 with only finite values.

    A memory map of one of these types stays where it lies.

    row: the shape that rows must have, once an estimator has seen data.
    image_shape: what flat rows are reshaped to.
    lazy: a memory map is not read here; who reads its rows looks at them (`in_parts`, and the
        feed of a training run).
    """
    x = _as_rows(given)
    _check_shape(x, who)
    if image_shape is not None:
        image_shape = sizes(image_shape, f"{who}: image_shape")
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
    if not lazy or _mapping(x) is None:
        for part in parts(x):
            _check_finite(x[part], who, part.start)
    return x


def _check_shape(x: NDArray[Any], who: str) -> None:
    if x.ndim == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array instead: {who} takes rows (n_samples, ...). "
            "Reshape your data: x.reshape(-1, 1) for one feature, x.reshape(1, -1) for one "
            "sample."
        )
    if x.ndim == 0:
        raise ValueError(f"Expected 2D array, got scalar array instead: {x!r}")
    missing = "sample" if x.shape[0] == 0 else "feature"
    if 0 in x.shape:
        raise ValueError(
            f"Found array with 0 {missing}(s) (shape={x.shape}) while a minimum of 1 is "
            f"required by {who}."
        )


def _as_rows(given: Any) -> NDArray[Any]:
    x = as_array(given, "X")
    if x.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {x.dtype}")
    if x.dtype.kind == "O":
        try:
            x = np.asarray(x, np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(f"X: {error}: expected an array of numbers") from None
    if x.dtype.kind not in "fiub":
        raise ValueError(f"X: got dtype {x.dtype}, expected numbers")
    if x.dtype not in (np.uint8, np.float32, np.float64) or not x.dtype.isnative:
        x = np.asarray(x, np.float32 if x.dtype == np.float16 else np.float64)
    rows_are_whole = x.ndim < 2 or x[:1].flags.c_contiguous
    return x if rows_are_whole else np.ascontiguousarray(x)


def _mapping(x: Any) -> mmap.mmap | None:
    """The memory map that an array lies in, if it does."""
    while x is not None and not isinstance(x, mmap.mmap):
        x = x.obj if isinstance(x, memoryview) else getattr(x, "base", None)
    return x


@contextmanager
def read_at_random(x: NDArray[Any]) -> Iterator[None]:
    """While rows are read here and there, a memory map reads no pages ahead."""
    mapping = _mapping(x)
    if mapping is None or not hasattr(mmap, "MADV_RANDOM"):
        yield
        return
    mapping.madvise(mmap.MADV_RANDOM)
    try:
        yield
    finally:
        mapping.madvise(mmap.MADV_NORMAL)


def parts(x: NDArray[Any]) -> Iterator[slice]:
    """The rows of x in parts of some million elements; the last part is the largest."""
    rows = max(1, _PART // max(1, x[:1].size))
    count = max(1, len(x) // rows)
    for k in range(count):
        yield slice(k * rows, (k + 1) * rows if k + 1 < count else len(x))


def in_parts(
    function: Callable[[NDArray[Any]], NDArray[Any]], x: NDArray[Any], who: str
) -> NDArray[Any]:
    """function(x), a number a row; of a memory map part by part, each looked at before."""
    if _mapping(x) is None:
        return function(x)
    values = []
    for part in parts(x):
        _check_finite(x[part], who, part.start)
        values.append(function(x[part]))
    return np.concatenate(values)


def _check_finite(x: NDArray[Any], who: str, first: int) -> None:
    if x.dtype.kind != "f" or np.isfinite(x).all():
        return
    bad = "NaN" if np.isnan(x).any() else f"infinity or a value too large for {x.dtype}"
    row = first + int(np.nonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))[0][0])
    raise ValueError(
        f"Input X contains {bad} (first in row {row}); {who} needs finite numbers."
    )


# ---- names of features -----------------------------------------------------------------------


def mark_rows(x: NDArray[Any]) -> dict[str, int]:
    """What rows are known by: their number, and a checksum of 64 of them as float64."""
    some = np.linspace(0, len(x) - 1, min(len(x), _MARKED)).astype(int)
    values = np.ascontiguousarray(x[some], np.float64)
    return {"rows": len(x), "crc": zlib.crc32(values.tobytes())}


def feature_names(x: Any) -> NDArray[Any] | None:
    """The names of a data frame's columns if all are strings; None if none is."""
    columns = getattr(x, "columns", None)
    if columns is None:
        return None
    kinds = sorted(
        {"str" if isinstance(name, str) else type(name).__name__ for name in columns}
    )
    if "str" in kinds and len(kinds) > 1:
        raise TypeError(
            "Feature names are only supported if all input features have string names, but "
            f"your input has {kinds} as feature name / column name types."
        )
    return np.asarray(columns, dtype=object) if kinds == ["str"] else None


def check_names(x: Any, fitted: NDArray[Any] | None, who: str) -> None:
    """ValueError if the columns of x are not those seen in ``fit``; scikit-learn's messages."""
    names = feature_names(x)
    if names is None and fitted is None:
        return
    if fitted is None:
        warnings.warn(
            f"X has feature names, but {who} was fitted without feature names", stacklevel=4
        )
    elif names is None:
        warnings.warn(
            f"X does not have valid feature names, but {who} was fitted with feature names",
            stacklevel=4,
        )
    elif len(names) != len(fitted) or (names != fitted).any():
        raise ValueError(_different_names(list(names), list(fitted)))


def _different_names(names: list[str], fitted: list[str]) -> str:
    message = "The feature names should match those that were passed during fit.\n"
    unseen, missing = sorted(set(names) - set(fitted)), sorted(set(fitted) - set(names))
    if unseen:
        message += "Feature names unseen at fit time:\n" + _listed(unseen)
    if missing:
        message += "Feature names seen at fit time, yet now missing:\n" + _listed(missing)
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    return message


def _listed(names: list[str]) -> str:
    shown = names if len(names) <= 5 else [*names[:5], "..."]
    return "".join(f"- {name}\n" for name in shown)
