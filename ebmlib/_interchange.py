"""Arrays of other libraries, as NumPy arrays over the same memory.

Whatever has the buffer protocol, ``__array__`` or DLPack is read where it lies: NumPy, PyTorch
and JAX on the CPU, pandas, ``memoryview``, ``array.array``.  Results are NumPy arrays, which
have all three themselves.

Who takes rows converts them: networks to their dtype, chains of a function to float32 (float16,
float32) or float64, estimators feed uint8, float32 and float64 as they are and convert the rest
like chains.  ``jit`` and its kin keep dtypes, by the table of ``csrc/python/convert.h``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_array", "as_numbers"]


def as_array(given: Any, what: str) -> NDArray[Any]:
    """``given`` as an array; TypeError, with the argument's name ``what``, if it is none."""
    if type(given) is np.ndarray:
        return given
    if hasattr(given, "toarray") and not hasattr(given, "__array__"):
        raise TypeError(
            f"{what}: Sparse data was passed, but dense data is required. Use X.toarray() to "
            "convert it."
        )
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{what}: got a masked array, expected one without a mask: .filled()")
    if isinstance(given, str | bytes):
        raise TypeError(f"{what}: got {type(given).__name__}, expected numbers")
    if getattr(given, "requires_grad", False):
        raise TypeError(
            f"{what}: got a tensor that requires grad, expected one without: .detach()"
        )
    try:
        if hasattr(given, "__dlpack__") and not hasattr(given, "__array__"):
            return np.from_dlpack(given)
        return np.asarray(given)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        reason = str(error).strip().partition("\n")[0]
        raise kind(f"{what}: got {type(given).__name__}: {reason}") from None


def as_numbers(given: Any, what: str) -> NDArray[Any]:
    """The same; TypeError also for what is not made of real numbers."""
    array = as_array(given, what)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what}: got {array.dtype}, expected numbers")
    return array
