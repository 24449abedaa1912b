"""What is said when a NumPy function, or a method of arrays, cannot be traced: what to use."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SIZE = "the size of the result would depend on values: use "
_WRITE = "traced arrays cannot be written into: use "
_COMPLEX = "complex numbers are not supported: compute it outside of the function"
_OUTSIDE = "compute it outside of the function"
_SET = "x = x.at[index].set(v)"

CURES: dict[str, str] = {
    "angle": _COMPLEX,
    "apply_over_axes": "use np.sum(x, axis) or another reduction with a tuple of axes",
    "argwhere": _SIZE + "np.where(mask, x, other)",
    "argpartition": "use np.argsort",
    "bincount": _SIZE + "ebm.functional.scatter_add(weights, index, size)",
    "bitwise_count": _OUTSIDE,
    "compress": _SIZE + "np.where(mask, x, other), or np.take for concrete positions",
    "copyto": _WRITE + "np.where(mask, v, x)",
    "cumulative_sum": "use np.cumsum",
    "einsum_path": "use np.einsum(..., optimize=True)",
    "expit": "use ebm.functional.sigmoid",
    "erf": "use ebm.functional.erf",
    "erfc": "use 1 - ebm.functional.erf(x)",
    "extract": _SIZE + "np.where(mask, x, other)",
    "fill_diagonal": _WRITE + "np.where(np.eye(n, dtype=bool), v, x)",
    "flatnonzero": _SIZE + "np.where(mask, x, other)",
    "frexp": "use np.log2 and np.floor",
    "gcd": _OUTSIDE,
    "geomspace": "use np.exp(np.linspace(np.log(a), np.log(b), num))",
    "histogram": _SIZE + "ebm.functional.scatter_add of np.digitize",
    "histogram2d": _SIZE + "ebm.functional.scatter_add of np.digitize",
    "histogramdd": _SIZE + "ebm.functional.scatter_add of np.digitize",
    "i0": _OUTSIDE,
    "intersect1d": _SIZE + "np.isin",
    "lcm": _OUTSIDE,
    "ldexp": "use x * 2.0**n",
    "lexsort": _OUTSIDE,
    "linalg.cond": _OUTSIDE,
    "linalg.eig": _COMPLEX,
    "linalg.eigvals": _COMPLEX,
    "linalg.matrix_rank": _OUTSIDE,
    "log_ndtr": "use np.log(0.5 * (1 + ebm.functional.erf(x / np.sqrt(2))))",
    "logspace": "use base ** np.linspace(a, b, num)",
    "nextafter": _OUTSIDE,
    "nonzero": _SIZE + "np.where(mask, x, other)",
    "packbits": _OUTSIDE,
    "partition": "use np.sort",
    "place": _WRITE + "np.where(mask, v, x)",
    "put": _WRITE + _SET,
    "put_along_axis": _WRITE + _SET,
    "putmask": _WRITE + "np.where(mask, v, x)",
    "resize": "use np.tile and a slice",
    "roots": _COMPLEX,
    "setdiff1d": _SIZE + "np.isin",
    "setxor1d": _SIZE + "np.isin",
    "sort_complex": _COMPLEX,
    "spacing": "use np.finfo(x.dtype).eps * abs(x)",
    "trim_zeros": _SIZE + "np.where(mask, x, other)",
    "union1d": _SIZE + "np.concatenate",
    "unique": _SIZE + "np.sort, or " + _OUTSIDE,
    "unpackbits": _OUTSIDE,
    "unwrap": "use np.remainder(x, period)",
}

METHODS: dict[str, str] = {
    "byteswap": _OUTSIDE,
    "choose": "use np.choose",
    "compress": CURES["compress"],
    "ctypes": "it has no memory",
    "data": "it has no memory",
    "fill": _WRITE + "np.full_like(x, v)",
    "flags": "it has no memory",
    "flat": "use x.ravel()",
    "nonzero": CURES["nonzero"],
    "partition": _WRITE + "np.sort",
    "put": CURES["put"],
    "resize": _WRITE + "x.reshape",
    "searchsorted": "use np.searchsorted",
    "setfield": _WRITE + _SET,
    "strides": "it has no memory",
    "view": "use x.astype, or x.reshape",
}


def cure_for(name: str, names: Iterable[str]) -> str:
    """What to use instead of np.<name>: as written above, or the names that are nearest."""
    if name.startswith(("fft.", "emath.")):
        return _COMPLEX
    if name.startswith("unique"):
        name = "unique"
    if name in CURES:
        return CURES[name]
    near = difflib.get_close_matches(name, list(names), n=4, cutoff=0.4)
    hint = f"near names that work: {', '.join(f'np.{n}' for n in near)}; " if near else ""
    return hint + "see ebmlib.supported_functions() for all, or " + _OUTSIDE


def missing(name: str, kind: str, names: Iterable[str]) -> TypeError:
    """The error for np.<name>, or for its method ``kind`` such as .reduceat."""
    if kind == ".at":
        return TypeError(f"np.{name}.at cannot be traced: {_WRITE}x = x.at[index].add(v)")
    return TypeError(f"np.{name}{kind} cannot be traced: {cure_for(name, names)}")


def missing_method(name: str, names: Iterable[str]) -> AttributeError:
    """The error for a method or attribute that NumPy's arrays have."""
    cure = METHODS.get(name) or (f"use np.{name}" if name in names else cure_for(name, names))
    return AttributeError(f"a traced array has no .{name}: {cure}")
