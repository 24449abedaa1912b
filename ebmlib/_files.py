"""Files: one safetensors file an object, written whole or not at all, checked before it is
believed.

Any reader of safetensors finds the arrays by name:

>>> from safetensors.numpy import load_file
>>> from ebmlib import networks
>>> networks.MLP((8,)).bind(2, random_state=0).save("net.safetensors")
>>> sorted(load_file("net.safetensors"))
['params.l0.b', 'params.l0.w', 'params.l1.b', 'params.l1.w']

The format, version 1
---------------------
The metadata are JSON texts, one a key:

    format      "ebmlib"
    version     1; a reader refuses a larger one
    package     the version of ebmlib that wrote the file
    object      the class: "estimators.PCD", "networks.BoundNetwork", "samplers.Langevin", ...
    arrays      {name: digest}, in the order in which they were saved
    digest      of all other keys, so that no change goes unseen

and what the object adds.  A *specification* is {"kind": "mlp", "options": {"hidden": [8],
...}}: numbers, words and lists of them; nothing is pickled, no code is run.

Networks, samplers, schedules, entropies and optimisers: ``specification``, no arrays.

``BoundNetwork``, ``BoundGenerator`` and ``BoundLinear``: ``network`` (a specification), ``row``
(the shape of a row), ``dtype``; arrays ``params.<parameter>``, named and shaped as in
``parameters()``.

``ReplayBuffer``: ``options``; arrays ``used`` (capacity,), and ``x`` (capacity, ...) once
chains have been drawn.

An estimator:

    parameters  what get_params(deep=False) gives, with specifications; without ``callbacks``,
                and ``checkpoint``, a path of the machine that wrote the file
    checkpoint  true: written by a fit with ``checkpoint=``; loaded, that is the file's own path
    fitted      null before fit, else {"network": a specification, or null if it is that of the
                parameters; "row"; "dtype"; "key": two words; "energy": prefix of the arrays
                that the energy has; "features": null or names}
    fit         null, or the last fit: {"first": the step before it, "last": the step it goes
                to, "reason": why it ended early, or null; "data" and "held_out": {"rows": how
                many, "crc": of 64 of them}, or null; "events": what must be known to resume it,
                {"rollback.0": {"numbers": lists of numbers, "snapshots": {slot: step}}, ...}}

    params.<parameter>      float32 or float64, the live parameters of the energy
    parts.<part>.<parameter>       those of a generator and what else is trained; below, too,
                                   all that is said of params.<parameter> holds for them
    ema.params.<parameter>  their running averages, if they are kept
    energy.<parameter>      what ``energy_`` has, where that is neither of them
    learned.<part>.<parameter>     as much of ``generator_``
    adam.m.params.<...>, adam.v.params.<...>, sgd.v.params.<...>   moments
    buffer.x, buffer.age    the replay buffer (n, ...) and the steps of each chain (n,)
    key, step               two words, and the number of good steps so far
    rate, rate.<part>, backoff     the learning rates, and a factor of them
    guard.step, guard.term, guard.param    0, or the first bad step, its term and parameter
    history.<metric>        rows of ``history_``
    events.<event>.<slot>.<...>    the arrays of a snapshot, all above but energy and history

A specification that comes with arrays (the constants of a function) has them as
``<where it stands>.<name>``, ``network.constant.0`` say.

A digest is BLAKE2b of 8 bytes, in hexadecimal digits.  That of an array is taken of the text
``name|dtype|shape|``, dtype and shape as in ``F32`` and ``[2, 8]``, and its bytes; that of the
metadata of ``key|text|`` of all other keys in alphabetic order.  Digests show damage, and no
more: whoever forges a file can make them fit, and then what is checked is every value.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import json
import math
import os
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ._checks import path_of
from .errors import FormatError

__all__ = [
    "Arrays",
    "File",
    "Savable",
    "class_name",
    "dtype_name",
    "load",
    "remove_leftovers",
    "write",
]

VERSION = 1
_HEADER_MAX = 1 << 24  # bytes; some hundred are needed an array
_SIZE_MAX = 1 << 62
_RANK_MAX = 8
_COMMON = ("format", "version", "package", "object", "arrays", "digest")
_DTYPES = {"F32": 4, "F64": 8, "I32": 4, "I64": 8, "BOOL": 1, "U8": 1}
_NAMES = {
    np.dtype(np.float32): "F32",
    np.dtype(np.float64): "F64",
    np.dtype(np.int32): "I32",
    np.dtype(np.int64): "I64",
    np.dtype(np.bool_): "BOOL",
    np.dtype(np.uint8): "U8",
}
# Whose classes can be loaded.
_MODULES = ("entropy", "estimators", "networks", "optimizers", "samplers", "schedules")

Path = str | os.PathLike[str]
Arrays = Mapping[str, NDArray[Any]]
Shape = tuple[int, ...]


class Savable:
    """An object that can be written to a file.

    ``_pack`` gives its metadata and arrays; ``_unpack`` makes it again from a checked `File`,
    and looks at everything before it builds anything.
    """

    def save(self, path: Path) -> None:
        """Write to a file that ``ebm.load`` reads.

        The file is written beside and renamed: whoever looks sees the old one or the new one,
        whole.  Nothing is pickled.

        Parameters
        ----------
        path : str or path
            By custom ``.safetensors``; any reader of that format finds the arrays.

        Raises
        ------
        OSError
            With its errno, when the disk is full, say; what was there is untouched.
        TypeError, ValueError
            For what a file cannot hold, a function as a parameter, say.
        """
        write(path_of(path, "save: path"), class_name(type(self)), *self._pack())

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        raise NotImplementedError

    @classmethod
    def _unpack(cls, file: File) -> Any:
        raise NotImplementedError


def load(path: Path) -> Any:
    """The object that ``save`` wrote, or the estimator of a checkpoint.

    It goes on to the same bits: energies, samples, ``partial_fit``, ``resume``.  Nothing is
    unpickled, no code of the file is run, and all of it is checked before anything is built.
    A checkpoint has ``path`` as its parameter ``checkpoint``, so that it goes on in place.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    an estimator, network, sampler or buffer

    Raises
    ------
    FormatError
        The file is damaged, not one of ebmlib's, or newer; the message names the key.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import ebmlib as ebm
    >>> from ebmlib import networks
    >>> networks.MLP((8, 8)).bind(2, random_state=0).save("net.safetensors")
    >>> ebm.load("net.safetensors")
    <MLP(hidden=(8, 8)) bound to (2,), float32>
    """
    name = path_of(path, "load: path")
    with open(path, "rb") as stream:
        try:
            file = File(name, stream)
            return _find_class(file)._unpack(file)
        except RecursionError:
            raise FormatError(f"{name}: metadata: nested too deeply") from None


# ---- which class -----------------------------------------------------------------------------


def class_name(cls: type) -> str:
    for name, known in _classes().items():
        if known is cls:
            return name
    raise TypeError(f"save: got {cls.__qualname__}, expected a class of ebmlib")


def _classes() -> dict[str, type[Savable]]:
    found = {}
    for module in _MODULES:
        loaded = importlib.import_module(f".{module}", __package__)
        for name in loaded.__all__:
            cls = getattr(loaded, name)
            if isinstance(cls, type) and issubclass(cls, Savable):
                found[f"{module}.{name}"] = cls
    return found


def _find_class(file: File) -> type[Savable]:
    name, known = file.get("object", str), _classes()
    if name not in known:
        raise file.error("object", f"got {name!r}, expected one of {sorted(known)}")
    return known[name]


# ---- writing ---------------------------------------------------------------------------------


def write(path: Path, name: str, metadata: Mapping[str, Any], arrays: Arrays) -> None:
    """Write the object ``name`` ("estimators.PCD") to a file."""
    from . import __version__

    arrays = {key: _dense(key, array) for key, array in arrays.items()}
    digests = {
        key: _array_digest(key, _NAMES[array.dtype], array) for key, array in arrays.items()
    }
    head = {"format": "ebmlib", "version": VERSION, "package": __version__, "object": name}
    texts = {
        key: json.dumps(value, allow_nan=False)
        for key, value in {**head, **metadata, "arrays": digests}.items()
    }
    texts["digest"] = json.dumps(_metadata_digest(texts))
    _replace(os.path.realpath(path), _safetensors().save(dict(arrays), texts))


def _dense(name: str, array: Any) -> NDArray[Any]:
    dense = np.asarray(array, order="C")
    if dense.dtype not in _NAMES:
        raise TypeError(f"save: {name}: got {dense.dtype}, expected floats, integers or bools")
    return dense


def _replace(path: str, data: bytes) -> None:
    """Put the bytes where ``path`` is, whole or not at all."""
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
        _sync_folder(folder)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        if isinstance(error, OSError):
            raise OSError(error.errno, os.strerror(error.errno or errno.EIO), path) from error
        raise


def _sync_folder(folder: str) -> None:
    """Make the new name last; some network file systems know no such thing."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while it wrote ``path`` has left beside it."""
    folder, name = os.path.split(os.path.realpath(path))
    ours = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.tmp")
    with contextlib.suppress(FileNotFoundError):
        for entry in filter(ours.fullmatch, os.listdir(folder)):
            os.unlink(os.path.join(folder, entry))


# ---- reading ---------------------------------------------------------------------------------


class File:
    """A file whose header has been checked.

    Attributes
    ----------
    path : str
    shapes : dict
        {name: (dtype, shape)} of its arrays, in the order in which they were saved.
    """

    def __init__(self, path: str, stream: IO[bytes]) -> None:
        self.path, self._stream = path, stream
        self._size = os.fstat(stream.fileno()).st_size
        self._arrays: dict[str, NDArray[Any]] | None = None
        header = self._header()
        texts = header.pop("__metadata__", None)
        if not isinstance(texts, dict) or not all(isinstance(t, str) for t in texts.values()):
            raise self.error("metadata", "got none, expected those of ebmlib")
        self._metadata = {key: self._parse(text, key) for key, text in texts.items()}
        self._check_origin(texts)
        self._digests: dict[str, str] = self.get("arrays", dict)
        self.expect("arrays", self._digests, header)
        self.shapes = {name: self._entry(name, header[name]) for name in self._digests}

    def error(self, key: str, text: str) -> FormatError:
        """The error to raise; what strangers wrote stays one line that can be read."""
        text = f"{key}: {text}"
        if not text.isprintable():
            text = text.encode("unicode_escape").decode()
        return FormatError(f"{self.path}: {text if len(text) <= 400 else text[:400] + '...'}")

    @contextlib.contextmanager
    def checking(self, key: str) -> Iterator[None]:
        """What is refused inside is a fault of the file's ``key``."""
        try:
            yield
        except FormatError:
            raise
        except (ValueError, TypeError, OverflowError, KeyError) as error:
            raise self.error(key, str(error)) from None

    def get(self, key: str, kind: type) -> Any:
        """The value of a key of the metadata, which must be of that type."""
        return self.typed(key, self.value(key), kind)

    def value(self, key: str) -> Any:
        """The value of a key of the metadata."""
        if key not in self._metadata:
            raise self.error(key, "missing")
        return self._metadata[key]

    def typed(self, key: str, value: Any, kind: type) -> Any:
        """The value, which must be of exactly that type."""
        if type(value) is not kind:
            raise self.error(key, f"got {type(value).__name__}, expected {kind.__name__}")
        return value

    def fields(self, key: str, value: Any, names: Collection[str]) -> dict[str, Any]:
        """A dict that must have exactly these names."""
        self.expect(key, self.typed(key, value, dict), names)
        return dict(value)

    def whole(self, key: str, value: Any, low: int, high: int) -> int:
        """An integer from low to high."""
        if not low <= self.typed(key, value, int) <= high:
            raise self.error(key, f"got {value}, expected {low} to {high}")
        return int(value)

    def row(self, key: str, value: Any) -> Shape:
        """The shape of a row."""
        return tuple(
            self.whole(key, size, 1, _SIZE_MAX) for size in self.typed(key, value, list)
        )

    def dtype(self, key: str, value: Any) -> np.dtype[Any]:
        if value not in ("float32", "float64"):
            raise self.error(key, f"got {value!r}, expected float32 or float64")
        dtype: np.dtype[Any] = np.dtype(value)
        return dtype

    def expect(self, key: str, got: Collection[str], expected: Collection[str]) -> None:
        """The names must be the expected ones."""
        expected = dict.fromkeys(expected)
        for what, names in (
            ("missing", [name for name in expected if name not in got]),
            ("not expected", [name for name in got if name not in expected]),
        ):
            if names:
                raise self.error(key, f"{what}: {', '.join(map(repr, names[:5]))}")

    def expect_keys(self, *keys: str) -> None:
        """The metadata must have exactly these keys beside the common ones."""
        self.expect("metadata", self._metadata, {*_COMMON, *keys})

    def names(self, prefix: str) -> list[str]:
        """The arrays called "<prefix>.<name>"."""
        return [name for name in self.shapes if name.startswith(f"{prefix}.")]

    def expect_arrays(
        self, shapes: Mapping[str, tuple[str, Shape]], others: Collection[str] = ()
    ) -> None:
        """The arrays must have these names, dtypes ("F32") and shapes; beside the others."""
        self.expect("arrays", self.shapes, [*shapes, *others])
        for name, (dtype, shape) in shapes.items():
            if self.shapes[name] != (dtype, shape):
                got = "{} {}".format(*self.shapes[name])
                raise self.error(name, f"got {got}, expected {dtype} {shape}")

    def below(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The arrays called "<prefix>.<name>", by name."""
        arrays = self.arrays()
        return {name[len(prefix) + 1 :]: arrays[name] for name in self.names(prefix)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays, each checked against its digest."""
        if self._arrays is None:
            self._arrays = self._read()
        return self._arrays

    def _read(self) -> dict[str, NDArray[Any]]:
        self._stream.seek(0)
        data = self._stream.read(self._size + 1)
        if len(data) != self._size:
            raise self.error("file", f"got {len(data)} bytes, expected {self._size}")
        try:
            found = _safetensors().load(data)
        except Exception as error:
            raise self.error("header", str(error)) from None
        for name, digest in self._digests.items():
            if _array_digest(name, self.shapes[name][0], found[name]) != digest:
                raise self.error(name, "the bytes are not those that were saved")
            if self.shapes[name][0] == "BOOL" and (found[name].view(np.uint8) > 1).any():
                raise self.error(name, "got bytes that are neither true nor false")
        return {name: found[name] for name in self._digests}

    # ---- the header ----

    def _header(self) -> dict[str, Any]:
        length = self._stream.read(8)
        n = int.from_bytes(length, "little")
        if len(length) < 8 or not 2 <= n <= min(self._size - 8, _HEADER_MAX):
            raise self.error(
                "header", f"got {n} bytes in a file of {self._size}: not a safetensors file"
            )
        raw = self._stream.read(n)
        with self.checking("header"):
            return dict(self.typed("header", self._parse(raw.decode(), "header"), dict))

    def _parse(self, text: str, key: str) -> Any:
        try:
            return json.loads(
                text,
                object_pairs_hook=_unique,
                parse_constant=_finite,
                parse_float=_finite,
            )
        except (ValueError, RecursionError) as error:
            raise self.error(key, f"not the JSON of a file: {error}") from None

    def _check_origin(self, texts: Mapping[str, str]) -> None:
        if self._metadata.get("format") != "ebmlib":
            raise self.error(
                "format", f"got {self._metadata.get('format')!r}, expected 'ebmlib'"
            )
        version = self.get("version", int)
        if not 1 <= version <= VERSION:
            package = self._metadata.get("package")
            raise self.error(
                "version", f"got {version} of ebmlib {package}, expected at most {VERSION}"
            )
        if self.get("digest", str) != _metadata_digest(texts):
            raise self.error("digest", "the metadata are not those that were saved")
        self.get("package", str)

    def _entry(self, name: str, entry: Any) -> tuple[str, Shape]:
        """(dtype, shape) of an array, which must fill its bytes."""
        entry = self.fields(name, entry, ("dtype", "shape", "data_offsets"))
        dtype = entry["dtype"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise self.error(name, f"dtype: got {dtype!r}, expected one of {list(_DTYPES)}")
        sizes = [
            self.whole(name, size, 0, _SIZE_MAX)
            for key in ("shape", "data_offsets")
            for size in self.typed(name, entry[key], list)
        ]
        shape, offsets = tuple(sizes[:-2]), sizes[-2:]
        if len(entry["data_offsets"]) != 2 or len(shape) > _RANK_MAX:
            raise self.error(name, "data_offsets: expected two, and a shape of rank 8 at most")
        if offsets[1] - offsets[0] != math.prod(shape) * _DTYPES[dtype]:
            raise self.error(name, f"got {offsets[1] - offsets[0]} bytes for {dtype} {shape}")
        return dtype, shape


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The dtype as safetensors calls it."""
    return _NAMES[dtype]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text}: expected finite numbers")
    return value


def _array_digest(name: str, dtype: str, array: NDArray[Any]) -> str:
    digest = hashlib.blake2b(_utf8(f"{name}|{dtype}|{list(array.shape)}|"), digest_size=8)
    digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _metadata_digest(texts: Mapping[str, str]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for key in sorted(texts):
        if key != "digest":
            digest.update(_utf8(f"{key}|{texts[key]}|"))
    return digest.hexdigest()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "save and load: the package safetensors is not installed: pip install safetensors"
        ) from None
    return safetensors.numpy
