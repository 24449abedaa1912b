"""Devices: where a computation runs, and arrays that lie there.

What names no device runs on the one of the innermost ``with ebm.device(...)``, else on the
process's own: EBMLIB_DEVICE in the environment, or the CPU.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, _tree
from .errors import DeviceError

if TYPE_CHECKING:
    from contextvars import Token

    from numpy.typing import DTypeLike, NDArray

__all__ = [
    "Array",
    "asarray",
    "device",
    "from_dlpack",
    "is_foreign",
    "place_of",
    "scope",
    "set_precision",
]

_CPU, _CUDA, _EXTENSION = 1, 2, 12  # types of devices in DLPack


# ---- where things run ------------------------------------------------------------------------


def checked(name: str) -> str:
    """The name of a device that can be used; for CUDA's, products will find cuBLAS."""
    if name == "cuda" and not os.environ.get("EBMLIB_CUBLAS"):
        place = find_cublas()
        if place is not None:
            os.environ["EBMLIB_CUBLAS"] = str(place)
    return _core.check_device(name)


def find_cublas() -> Path | None:
    """The folder of libcublas in the Python package nvidia-cublas, if that is installed."""
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(Path(root).glob("*/lib/libcublas.so.*"), reverse=True):
            return found.parent
    return None


class device(ContextDecorator):
    """Run on a device what is made inside a ``with`` and names none itself.

    Parameters
    ----------
    name : {"cpu", "cuda"}

    Raises
    ------
    DeviceError
        If the device cannot be used here: ebmlib was built without CUDA, or there is no driver
        or no card.

    Notes
    -----
    It holds for the current thread (and context, of asyncio).  Results of ``ebm.jit`` and its
    kin stay on the device, as arrays that NumPy functions take; samplers and estimators give
    NumPy arrays.

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> with ebm.device("cpu"):
    ...     ebm.jit(np.sum)(np.arange(3.0))
    array(3.)
    """

    def __init__(self, name: str) -> None:
        self.name = checked(name)
        self._tokens: list[Token[str | None]] = []

    def __enter__(self) -> device:
        self._tokens.append(_core.device_scope.set(self.name))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        _core.device_scope.reset(self._tokens.pop())

    def __repr__(self) -> str:
        return f"device({self.name!r})"


def scope(name: str | None) -> device | nullcontext[None]:
    """`device(name)`; of None nothing changes."""
    return nullcontext() if name is None else device(name)


class set_precision:
    """How products of float32 may be computed, in the whole process: a function, or a ``with``.

    Parameters
    ----------
    name : {"ieee", "tf32"}
        "ieee", which holds unless something else is asked for, is float32 throughout. "tf32"
        is a permission to round what a product reads to 11 bits of mantissa, a relative error
        of at most 2^-11 in each factor; sums stay float32.

    Raises
    ------
    ValueError, TypeError
        Of a name that is none.

    Notes
    -----
    On ``cuda`` it chooses cuBLAS's math mode for products of float32, those of derivatives
    included, that are large enough for cuBLAS (more than 64^3 multiplications, and sums of
    more than 16 terms). It does not touch float64, small products and convolutions, whose
    kernels are ebmlib's own, nor anything that is no product. On the CPU, and on
    ``cuda-host``, no unit multiplies in TF32, so results stay the same to the bit.

    A change holds for every run that begins after it, also of functions, networks and
    estimators that were compiled or recorded before; what is running ends as it began. Files do
    not keep it.

    At the end of a ``with`` comes back what was there when it was made.

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> with ebm.set_precision("tf32"):
    ...     ebm.precision()
    'tf32'
    >>> ebm.precision()
    'ieee'
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._before = _core.set_precision(name)

    def __enter__(self) -> set_precision:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        _core.set_precision(self._before)

    def __repr__(self) -> str:
        return f"set_precision({self.name!r})"


def place_of(values: Sequence[Any]) -> tuple[str, bool]:
    """(device, whether results stay on it) of a computation with arguments ``values``."""
    scoped = _core.device_scope.get()
    arrays = {value.device for value in values if isinstance(value, Array)}
    if not arrays:
        return (scoped, scoped != "cpu") if scoped else (_core.device(), False)
    if len(arrays) > 1 or (scoped is not None and arrays != {scoped}):
        where = ", ".join(sorted(arrays | ({scoped} if scoped else set())))
        raise DeviceError(
            f"arrays of several devices meet: {where}: move some with .to(device)"
        )
    return arrays.pop(), True


# ---- arrays on a device ----------------------------------------------------------------------


def _index(key: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """(offset, shape, strides) of x[key] for integers, slices, None and an ellipsis."""
    keys = list(key) if isinstance(key, tuple) else [key]
    for k in keys:
        if not (k is None or k is Ellipsis or isinstance(k, int | np.integer | slice)):
            raise TypeError(
                f"index: got {type(k).__name__}, expected integers, slices, None or ...: "
                "take rows by their numbers inside of a function: ebm.jit(lambda x, i: x[i])"
            )
    if sum(k is Ellipsis for k in keys) > 1:
        raise IndexError("index: got two ellipses, expected at most one")
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > len(shape):
        raise IndexError(f"index: got {used} indices for {len(shape)} axes")
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    at = next(n for n, k in enumerate(keys) if k is Ellipsis)
    keys[at : at + 1] = [slice(None)] * (len(shape) - used)
    offset, axis = 0, 0
    sizes: list[int] = []
    steps: list[int] = []
    for k in keys:
        if k is None:
            sizes.append(1)
            steps.append(0)
            continue
        size, stride = shape[axis], strides[axis]
        axis += 1
        if isinstance(k, slice):
            start, stop, step = k.indices(size)
            count = len(range(start, stop, step))
            offset += start * stride if count else 0
            sizes.append(count)
            steps.append(step * stride)
        else:
            if not -size <= k < size:
                raise IndexError(f"index: got {k}, expected {-size} to {size - 1}")
            offset += (int(k) % size) * stride
    return offset, tuple(sizes), tuple(steps)


class Array(_core.DeviceArray, np.lib.mixins.NDArrayOperatorsMixin):
    """An array in the memory of a device.

    NumPy's operators and functions run there and give more of its kind; ``np.asarray`` copies
    to the host and waits.  Slices are views.  Other libraries take it without a copy, by DLPack
    or ``__cuda_array_interface__``.

    Parameters
    ----------
    values : array
        Of the host; copied.
    device : str or None
        None: as `ebmlib.device` says.

    Attributes
    ----------
    shape, dtype, ndim, size, nbytes
        As NumPy's.
    device : str

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> try:
    ...     x = ebm.Array(np.arange(3.0), "cuda")
    ... except ebm.errors.DeviceError:
    ...     x = np.arange(3.0)  # there is no card
    >>> np.asarray(2 * x[1:])
    array([2., 4.])
    """

    __slots__ = ()
    __array_priority__ = 900.0
    __hash__ = None  # type: ignore[assignment]

    # ---- looking ----

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a scalar array")
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        view: Array = self._view(*_index(key, self.shape, self._strides))
        return view

    def __iter__(self) -> Any:
        return (self[k] for k in range(len(self)))

    def item(self) -> Any:
        return self.numpy().item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __repr__(self) -> str:
        return f"{self.numpy()!r} on {self.device}"

    def __reduce__(self) -> Any:
        return _restore, (self.numpy(), self.device)

    # ---- computing ----

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        if copy is False:
            raise ValueError("an array on a device is copied when it becomes NumPy's")
        values = self.numpy()
        return values if dtype is None else values.astype(dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if options.get("out") is not None:
            raise TypeError(
                f"np.{ufunc.__name__}: out: got an array, expected None (an in-place operator "
                "such as += has one too): arrays on a device are not written into: a = a + b"
            )
        if method != "__call__" or _has_node(inputs):
            return NotImplemented
        return _compute(ufunc, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(issubclass(kind, _core.Node) for kind in types):
            return NotImplemented
        return _compute(function, args, kwargs)

    # ---- other libraries ----

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if dl_device is not None and dl_device != self.__dlpack_device__():
            raise BufferError(
                f"__dlpack__: the array lies on {self.device}, not on {dl_device}"
            )
        array: Array = np.positive(self) if copy else self  # type: ignore[assignment]
        versioned = max_version is not None and max_version[0] >= 1
        return array._dlpack(_stream(stream), versioned)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.device != "cuda":
            raise AttributeError(f"an array on {self.device} is not in CUDA's memory")
        itemsize = self.dtype.itemsize
        return {
            "shape": self.shape,
            "strides": tuple(stride * itemsize for stride in self._strides),
            "typestr": self.dtype.str,
            "data": (self._address, False),
            "version": 3,
            "stream": _core.device_queue(self.device),
        }


_core.set_device_array_type(Array)


def _has_node(inputs: tuple[Any, ...]) -> bool:
    """Whether a traced array is among them, which then writes into its trace."""
    return any(isinstance(x, _core.Node) for x in inputs)


def _stream(stream: Any) -> int:
    """What DLPack's ``stream`` asks for: the consumer's queue, or -1 for nothing."""
    if stream is None:
        return 1  # the legacy default stream
    if type(stream) is not int or stream == 0 or not -1 <= stream < 2**63:
        raise ValueError(
            f"__dlpack__: stream: got {stream!r}, expected None, -1, 1, 2 or a stream"
        )
    return stream


def _restore(values: NDArray[Any], name: str) -> Array:
    return Array(values, name)


def asarray(values: Any, device: str | None = None) -> Any:
    """An array on a device: ``values`` itself if they lie there, else a copy.

    Parameters
    ----------
    values : array
        NumPy's, a device's, or of another library (by DLPack).
    device : str or None
        None: where it would be computed with.

    Returns
    -------
    numpy.ndarray or Array

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> ebm.asarray([1.0, 2.0], device="cpu")
    array([1., 2.])
    """
    from ._interchange import as_array

    if is_foreign(values):
        values = from_dlpack(values)
    where = place_of([values])[0] if device is None else checked(device)
    if isinstance(values, Array):
        return values.to(where)
    values = as_array(values, "values")
    return values if where == "cpu" else Array(values, where)


def is_foreign(values: Any) -> bool:
    """Whether another library has the array on a device of ours."""
    if isinstance(values, np.ndarray | Array) or not hasattr(values, "__dlpack_device__"):
        return False
    return bool(values.__dlpack_device__()[0] != _CPU)


def from_dlpack(values: Any) -> Any:
    """The array of another library, over the same memory.

    Parameters
    ----------
    values : object with ``__dlpack__``

    Returns
    -------
    numpy.ndarray or Array

    Raises
    ------
    DeviceError
        If it lies on a device that ebmlib has not got.
    ValueError, TypeError
        Of types or shapes that ebmlib has not got; of a capsule used before.

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> ebm.from_dlpack(np.arange(2.0))
    array([0., 1.])
    """
    if not hasattr(values, "__dlpack__"):
        raise TypeError(
            f"from_dlpack: got {type(values).__name__}, expected an array with __dlpack__"
        )
    kind, number = values.__dlpack_device__()
    if kind == _CPU:
        return np.from_dlpack(values)
    names = {_CUDA: "cuda", _EXTENSION: "cuda-host"}
    if kind not in names or number != 0:
        raise DeviceError(
            f"from_dlpack: got device {(kind, number)}, expected the CPU or cuda:0"
        )
    name = checked(names[kind])
    stream = _core.device_queue(name)
    try:
        capsule = values.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # of a library from before DLPack 1.0
        capsule = values.__dlpack__(stream=stream)
    return _core.take_dlpack(capsule, name)


# ---- NumPy's functions of device arrays ------------------------------------------------------

_compiled: dict[Any, Any] = {}
_MAX_COMPILED = 512


def _compute(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, compiled for its arrays; the rest are options."""
    from . import _compile

    leaves, structure = _tree.flatten((tuple(args), dict(kwargs)))
    arrays = [k for k, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray | Array)]
    options = {k: leaf for k, leaf in enumerate(leaves) if k not in arrays}
    values, specs = _compile.signature([leaves[k] for k in arrays], None)
    where, _ = place_of(values)
    names = _compile.options_key(sorted(options.items()))
    key = (function, structure, names, specs, where)
    compiled = _compiled.get(key)
    if compiled is None:

        def inline(*traced: Any) -> Any:
            nodes = iter(traced)
            merged = [options[k] if k in options else next(nodes) for k in range(len(leaves))]
            args, kwargs = _tree.unflatten(structure, merged)
            return function(*args, **kwargs)

        _, flat = _tree.flatten((tuple(range(len(values))), {}))
        if len(_compiled) >= _MAX_COMPILED:
            _compiled.clear()
        compiled = _compile.compile_function(
            inline, function.__name__, flat, specs, pure=True, place=(where, True)
        )
        _compiled[key] = compiled
    return compiled(values)


if os.environ.get("EBMLIB_DEVICE"):
    _core.set_device(checked(os.environ["EBMLIB_DEVICE"]))
