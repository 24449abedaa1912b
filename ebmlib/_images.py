"""Functions of images (N, H, W, C): pooling, resizing, blurring.  Public in `functional`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _numpy as table
from ._checks import whole
from ._compile import also_concrete
from ._core import ops
from ._trace import as_float, as_node, need
from .errors import ShapeError

Size = int | tuple[int, int]


def pair(value: Any, name: str, least: int) -> tuple[int, int]:
    """One whole number for rows and columns, or one for each."""
    one = type(value) is int or isinstance(value, str)
    if one or not isinstance(value, Sequence | np.ndarray):
        number = whole(value, name, least)
        return number, number
    if len(value) != 2:
        raise ValueError(f"{name}: got {value!r}, expected an int or a pair")
    return whole(value[0], name, least), whole(value[1], name, least)


def _window(size: Size, stride: Size | None, padding: Size) -> tuple[int, ...]:
    """The six ints of a window: size, stride, padding."""
    steps = pair(size if stride is None else stride, "stride", 1)
    return (*pair(size, "size", 1), *steps, *pair(padding, "padding", 0))


@also_concrete("x")
def max_pool(x: Any, size: Size = 2, stride: Size | None = None, padding: Size = 0) -> Any:
    """The maxima of windows of x (N, H, W, C); the stride is the size if it is not given.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.max_pool(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    window = _window(size, stride, padding)
    return ops.max_pool(need().graph, as_float(x), window)


@also_concrete("x")
def avg_pool(x: Any, size: Size = 2, stride: Size | None = None, padding: Size = 0) -> Any:
    """The means of windows of x (N, H, W, C); the stride is the size if it is not given.  Zeros
    of the padding count.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.avg_pool(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    x = as_float(x)
    blocks = isinstance(size, int) and size > 0 and stride in (None, size) and padding == 0
    if (
        blocks
        and x.ndim == 4
        and all(side % pair(size, "size", 1)[0] == 0 for side in x.shape[1:3])
    ):
        return ops.avg_pool(need().graph, x, pair(size, "size", 1)[0])
    window = _window(size, stride, padding)
    return ops.avg_pool_window(need().graph, x, window)


def _rows_of_channels(x: Any) -> Any:
    node = as_float(x)
    if node.ndim < 2:
        raise ShapeError(f"x: got shape {node.shape}, expected (N, ..., C)")
    return node


@also_concrete("x")
def global_avg_pool(x: Any) -> Any:
    """The mean of each row and channel: x (N, ..., C) -> (N, C).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.global_avg_pool(np.arange(4.0).reshape(1, 2, 2, 1))
    array([[1.5]])
    """
    x = _rows_of_channels(x)
    return table.mean(x, tuple(range(1, x.ndim - 1)))


@also_concrete("x")
def global_max_pool(x: Any) -> Any:
    """The maximum of each row and channel: x (N, ..., C) -> (N, C).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.global_max_pool(np.arange(4.0).reshape(1, 2, 2, 1))
    array([[3.]])
    """
    x = _rows_of_channels(x)
    return ops.max(need().graph, x, tuple(range(1, x.ndim - 1)), False)


@also_concrete("x")
def upsample(x: Any, factor: int = 2) -> Any:
    """Images x (N, H, W, C) with each pixel repeated factor x factor times.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.upsample(np.array([[[[1.0], [2.0]]]]))[0, :, :, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
    """
    return ops.upsample(need().graph, as_node(x), whole(factor, "factor", 1))


@also_concrete("x")
def resize(x: Any, size: Size, method: str = "nearest") -> Any:
    """Images x (N, H, W, C) at another size (h, w).

    method : "nearest", pixel i from floor(i H / h); or "bilinear", between the pixels around
        (i + 1/2) H / h - 1/2 (PyTorch's ``align_corners=False``, without antialiasing).

    >>> import numpy as np, ebmlib as ebm
    >>> x = np.array([[[[0.0], [4.0]]]])
    >>> ebm.functional.resize(x, (1, 4), "bilinear")[0, 0, :, 0]
    array([0., 1., 3., 4.])
    """
    if method not in ("nearest", "bilinear"):
        raise ValueError(f"resize: method: got {method!r}, expected nearest or bilinear")
    if method == "nearest":
        return ops.resize_nearest(need().graph, as_node(x), *pair(size, "size", 1))
    return ops.resize_bilinear(need().graph, as_float(x), *pair(size, "size", 1))


@also_concrete("x")
def blur(x: Any, size: int = 3, padding: str = "reflect") -> Any:
    """Images x (N, H, W, C), each channel with the binomial filter of odd ``size``: for 3 the
    outer product of (1, 2, 1) / 4 with itself.

    padding : "reflect", mirrored at the border pixels, or "zero".

    >>> import numpy as np, ebmlib as ebm
    >>> x = np.zeros((1, 3, 3, 1))
    >>> x[0, 1, 1, 0] = 16
    >>> ebm.functional.blur(x, padding="zero")[0, :, :, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    if padding not in ("reflect", "zero"):
        raise ValueError(f"blur: padding: got {padding!r}, expected reflect or zero")
    return ops.blur(need().graph, as_float(x), whole(size, "size", 1), padding == "reflect")


@also_concrete("x")
def depth_to_space(x: Any, block: int = 2) -> Any:
    """Channels as pixels: (N, H, W, block block C) -> (N, block H, block W, C), the channels in
    the order (row, column, C).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.depth_to_space(np.arange(4.0).reshape(1, 1, 1, 4))[0, :, :, 0]
    array([[0., 1.],
           [2., 3.]])
    """
    return ops.depth_to_space(need().graph, as_node(x), whole(block, "block", 1))


@also_concrete("x")
def space_to_depth(x: Any, block: int = 2) -> Any:
    """Pixels as channels: (N, H, W, C) -> (N, H / block, W / block, block block C); undoes
    ``depth_to_space``.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.space_to_depth(np.arange(4.0).reshape(1, 2, 2, 1)).ravel()
    array([0., 1., 2., 3.])
    """
    return ops.space_to_depth(need().graph, as_node(x), whole(block, "block", 1))
