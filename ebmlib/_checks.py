"""Checks of arguments, and messages that name the place: ``where: what: got, expected``."""

from __future__ import annotations

import math
import numbers
import operator
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.exceptions import AxisError
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple
from numpy.linalg import LinAlgError
from numpy.typing import NDArray

from ._interchange import as_numbers
from .errors import ShapeError

WRONG = (TypeError, ValueError, IndexError, OverflowError, MemoryError)  # by an argument
_CLASSES = (ShapeError, AxisError, LinAlgError, TypeError, IndexError, MemoryError)


def placed(error: Exception, where: str) -> Exception:
    """The error with ``where`` in front of its message, unless it begins with it."""
    text = " ".join(str(error).split())
    if re.match(rf"({re.escape(where)}|{re.escape(where.rpartition('.')[2])})\b", text):
        return error
    kind = next((kind for kind in _CLASSES if isinstance(error, kind)), ValueError)
    made: Exception = kind(f"{where}: {text}")
    return made.with_traceback(error.__traceback__)


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def whole(value: Any, name: str, least: int | None = None) -> int:
    """``value`` as an int; an error unless it is a whole number of at least ``least``."""
    if type(value) is int and (least or 0) <= value < 1 << 62:
        return value  # as nearly always
    expected = "a whole number" if least is None else f"a whole number of at least {least}"
    if not _is_real(value):
        raise TypeError(f"{name}: got {value!r}, expected {expected}")
    is_whole = isinstance(value, numbers.Integral) or float(value).is_integer()
    if not is_whole or (least is not None and value < least):
        raise ValueError(f"{name}: got {value}, expected {expected}")
    if abs(value) >= 1 << 62:
        raise ValueError(f"{name}: got {value}, expected less than 2^62")
    return int(value)


def function(value: Any, where: str) -> None:
    """TypeError unless ``value`` can be called."""
    if not callable(value):
        raise TypeError(f"{where}: function: got {type(value).__name__}, expected a function")


def positions(value: Any, where: str) -> tuple[int, ...]:
    """The positions of arguments: one, or several."""
    many = isinstance(value, list | tuple)
    try:
        return tuple(operator.index(k) for k in (value if many else (value,)))
    except TypeError:
        raise TypeError(f"{where}: got {value!r}, expected an int or a tuple of ints") from None


def real(value: Any, name: str) -> float:
    """``value`` as a float; an error unless it is a finite number."""
    if not _is_real(value):
        raise TypeError(f"{name}: got {value!r}, expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name}: got {value}, expected a finite number")
    return number


def sizes(value: Any, name: str, least: int = 1) -> tuple[int, ...]:
    """A shape: one whole number, or several."""
    many = value if isinstance(value, list | tuple | np.ndarray) else (value,)
    return tuple(whole(size, name, least) for size in many)


def float_dtype(value: Any, name: str) -> np.dtype[Any]:
    """float32 or float64; TypeError for another."""
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except TypeError:
        dtype = np.dtype(object)
    if value is None or dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: got {value!r}, expected float32 or float64")
    return dtype


def floats(value: Any, name: str) -> NDArray[np.float64]:
    """An array of float64; TypeError for what is not made of real numbers."""
    return np.asarray(as_numbers(value, name), np.float64)


def preset(
    presets: Mapping[str, Callable[[], dict[str, Any]]], name: str, setting: Any
) -> dict[str, Any]:
    """The parameters of a setting of a paper, made anew."""
    if not isinstance(setting, str) or setting not in presets:
        raise ValueError(f"{name}: setting: got {setting!r}, expected one of {list(presets)}")
    return presets[setting]()


def path_of(value: Any, name: str) -> str:
    """A path as text."""
    try:
        return os.fsdecode(value)
    except TypeError:
        raise TypeError(f"{name}: got {value!r}, expected a path") from None


def pair(value: Any, name: str) -> tuple[float, float]:
    """(low, high), finite and in this order."""
    if not isinstance(value, list | tuple | np.ndarray) or len(value) != 2:
        raise ValueError(f"{name}: got {value!r}, expected low < high")
    low, high = (real(end, name) for end in value)
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(f"{name}: got {value!r}, expected low < high")
    return low, high


def axis_index(axis: Any, ndim: int) -> int:
    """The axis counted from the front."""
    try:
        at = operator.index(axis)
    except TypeError:
        raise TypeError(f"axis: got {axis!r}, expected an int") from None
    return normalize_axis_index(at, ndim)


def axis_indices(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes, one or several, counted from the front."""
    try:
        return normalize_axis_tuple(axis, ndim)
    except TypeError:
        raise TypeError(f"axis: got {axis!r}, expected an int or a tuple of ints") from None
    except AxisError:
        raise
    except ValueError:
        raise ValueError(f"axis: got {axis!r}, expected each axis once") from None
