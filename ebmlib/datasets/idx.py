"""The idx format of MNIST and its relatives.

Two zero bytes, a byte for the type, a byte for the rank, the sizes as big-endian 32-bit
numbers, then the elements, big-endian, the last axis fastest.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .._checks import path_of

_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_BLOCK = 1 << 20


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in an idx file, plain or gzipped.

    Parameters
    ----------
    path : path
        What the file is packed with is told by its first bytes, not by its name.

    Returns
    -------
    ndarray
        Of the file's own type. That of a plain file is a read-only ``numpy.memmap``.

    Raises
    ------
    ValueError
        Not an idx file, or shorter or longer than its header says.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import pathlib
    >>> from ebmlib import datasets
    >>> path = pathlib.Path("labels-idx1-ubyte")
    >>> path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    11
    >>> datasets.read_idx(path).tolist()
    [7, 8, 9]
    """
    with open(path_of(path, "read_idx: path"), "rb") as file:
        if file.read(2) == b"\x1f\x8b":
            file.seek(0)
            return _read_packed(path, file)
        file.seek(0)
        dtype, shape, size = _header(path, file)
        start = file.tell()
        found = file.seek(0, os.SEEK_END) - start
        if found != size:
            raise ValueError(f"{path}: bytes of elements: got {found}, expected {size}")
        return np.memmap(file, dtype, "r", start, shape)


def _read_packed(path: Any, file: BinaryIO) -> NDArray[Any]:
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            dtype, shape, size = _header(path, unpacked)
            blocks, found = [], 0
            while found <= size and (block := unpacked.read(_BLOCK)):
                blocks.append(block)
                found += len(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip file: {error}") from error
    if found != size:
        got = f"{found}" if found < size else f"more than {size}"
        raise ValueError(f"{path}: bytes of elements: got {got}, expected {size}")
    return np.frombuffer(bytearray().join(blocks), dtype).reshape(shape)


def _header(path: Any, file: Any) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """The type, the shape and the number of bytes that an idx file claims to have."""
    magic = file.read(4)
    known = len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _TYPES
    if not known or not 1 <= magic[3] <= 32:
        raise ValueError(f"{path}: magic: got {magic.hex() or 'nothing'}, not an idx file")
    rank = magic[3]
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise ValueError(f"{path}: header: got {4 + len(sizes)} bytes, expected {4 + 4 * rank}")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    if 0 in shape:
        raise ValueError(f"{path}: shape: got {shape}, expected elements")
    dtype = np.dtype(_TYPES[magic[2]])
    return dtype, shape, math.prod(shape) * dtype.itemsize
