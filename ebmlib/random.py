"""Random numbers as functions of a key: the same on every machine, for any number of threads.

A key is an int32 array of two words.  A draw depends on its key, on its shape, and inside a
traced function on its place there: the second draw of a function differs from the first, with
the same key.  Split a key, or fold a number into it, to have independent ones.

>>> import ebmlib as ebm
>>> key = ebm.random.key(0)
>>> ebm.random.normal(key, (2,)).shape
(2,)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _numpy as table
from ._checks import real, whole
from ._compile import also_concrete
from ._core import Node, ops
from ._trace import FLOAT32, as_index, as_node, need
from .errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

Shape = int | tuple[int, ...]

__all__ = ["bits", "fold_in", "key", "normal", "randint", "split", "uniform"]

_SPLIT = 2**31 - 1  # the purpose of the draws that are new keys; sites count up from 0


def key(seed: Any = None) -> NDArray[np.int32]:
    """A key from an int (64 bits count), a ``numpy.random.Generator`` or ``RandomState`` (draws
    from it), or None (fresh entropy).

    >>> import ebmlib as ebm
    >>> ebm.random.key(7)
    array([7, 0], dtype=int32)
    """
    if seed is None:
        seed = np.random.default_rng()
    if isinstance(seed, np.random.Generator):
        return seed.integers(-(2**31), 2**31, size=2, dtype=np.int32)
    if isinstance(seed, np.random.RandomState):
        return seed.randint(-(2**31), 2**31, size=2, dtype=np.int32)
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(
            f"key: seed: got {type(seed).__name__}, expected an int, a numpy Generator or None"
        )
    seed = seed.__index__()
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"key: seed: got {seed}, expected at most 64 bits")
    words = [seed >> shift & 0xFFFFFFFF for shift in (0, 32)]
    return np.array(words, dtype=np.uint32).view(np.int32)


def _key(key: Any) -> Any:
    """The node of a key: two words, while a sampler's may have a row behind them."""
    node = as_node(key)
    if node.shape != (2,):
        raise ShapeError(f"key: got shape {node.shape}, expected (2,)")
    return node


@also_concrete("key")
def split(key: Any, n: int = 2) -> Any:
    """New keys, n of them, as an array (n, 2).

    >>> import ebmlib as ebm
    >>> ebm.random.split(ebm.random.key(0), 3).shape
    (3, 2)
    """
    return ops.random_bits(need().graph, _key(key), _SPLIT, (whole(n, "n", 0), 2))


@also_concrete("key", "data")
def _fold_in(key: Any, data: Any) -> Any:
    return ops.fold_in(need().graph, _key(key), as_index(data, "data"))


def fold_in(key: Any, data: Any) -> Any:
    """A new key from a key and an integer: a step number, say.

    >>> import ebmlib as ebm
    >>> ebm.random.fold_in(ebm.random.key(0), 5).shape
    (2,)
    """
    return _fold_in(key, data)


def _draw_dtype(dtype: DTypeLike | None) -> DTypeLike:
    return dtype if dtype is not None else need().dtype or FLOAT32


@also_concrete("key")
def normal(key: Any, shape: Shape = (), dtype: DTypeLike | None = None) -> Any:
    """Draws from N(0, 1), as float32 if no dtype is given.

    >>> import ebmlib as ebm
    >>> ebm.random.normal(ebm.random.key(0), (2, 3), dtype="float64").dtype
    dtype('float64')
    """
    trace = need()
    return ops.normal(trace.graph, _key(key), trace.next_purpose(), _draw_dtype(dtype), shape)


@also_concrete("key")
def uniform(
    key: Any,
    shape: Shape = (),
    dtype: DTypeLike | None = None,
    low: float = 0.0,
    high: float = 1.0,
) -> Any:
    """Draws from the open interval (low, high), as float32 if no dtype is given.

    >>> import ebmlib as ebm
    >>> bool((ebm.random.uniform(ebm.random.key(0), (100,), low=2, high=3) > 2).all())
    True
    """
    if not any(isinstance(bound, Node) for bound in (low, high)):
        low, high = real(low, "low"), real(high, "high")
        if not low < high:
            raise ValueError(f"low, high: got {low}, {high}, expected low < high")
    trace = need()
    u = ops.uniform(trace.graph, _key(key), trace.next_purpose(), _draw_dtype(dtype), shape)
    return u if low == 0 and high == 1 else table.add(table.multiply(u, high - low), low)


@also_concrete("key")
def randint(key: Any, shape: Shape = (), low: int = 0, high: int = 2) -> Any:
    """Integers from low to high - 1, each equally likely, as int32.

    >>> import ebmlib as ebm
    >>> ebm.random.randint(ebm.random.key(0), (4,), 0, 10).dtype
    dtype('int32')
    """
    low, high = whole(low, "low"), whole(high, "high")
    if not -(2**31) <= low < high <= 2**31:
        raise ValueError(
            f"low, high: got {low}, {high}, expected low < high within the range of int32"
        )
    trace = need()
    drawn = ops.randint(trace.graph, _key(key), trace.next_purpose(), high - low, shape)
    return drawn if low == 0 else table.add(drawn, low)


@also_concrete("key")
def bits(key: Any, shape: Shape = ()) -> Any:
    """Random 32-bit words, as int32.

    >>> import ebmlib as ebm
    >>> ebm.random.bits(ebm.random.key(0), (4,)).dtype
    dtype('int32')
    """
    trace = need()
    return ops.random_bits(trace.graph, _key(key), trace.next_purpose(), shape)
