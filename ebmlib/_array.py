"""Array: a value of a trace that behaves as a NumPy array without numbers.

Operators, methods and NumPy's own functions (``np.exp(x)``, ``np.sum(x, axis=1)``) write into
the current trace.  The tables of what works are in _numpy.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _core, _indexing, _linalg
from . import _numpy as table
from . import _shapes as shapes
from . import _sorting as sorting
from ._core import ops
from ._trace import as_node, need
from .errors import StateError

_HELP = (
    "while a function is traced, arrays have a shape and a dtype but no values: "
    "use np.where instead of if, ebm.repeat instead of a loop that ends by a value, "
    "or compute this outside of the function"
)


def _has_no_value(what: str) -> Any:
    def method(self: Array, *args: Any) -> Any:
        raise TypeError(f"{what} of a traced array: {_HELP}")

    return method


def _binary(ufunc: np.ufunc) -> tuple[Any, Any]:
    implementation = table.UFUNCS[ufunc]

    def method(self: Array, other: Any) -> Array:
        return implementation(self, other)

    def reflected(self: Array, other: Any) -> Array:
        return implementation(other, self)

    return method, reflected


def _unary(ufunc: np.ufunc) -> Any:
    implementation = table.UFUNCS[ufunc]

    def method(self: Array) -> Array:
        return implementation(self)

    return method


def _function(function: Callable[..., Any]) -> Any:
    implementation = table.FUNCTIONS[function]

    def method(self: Array, *args: Any, **kwargs: Any) -> Any:
        return implementation(self, *args, **kwargs)

    method.__name__ = function.__name__
    method.__doc__ = f"numpy.{function.__name__} of the array."
    return method


def _missing(kind: str, name: str, names: list[str]) -> TypeError:
    """The TypeError for a NumPy function that has no implementation."""
    import difflib

    near = difflib.get_close_matches(name, names, n=4, cutoff=0.4)
    hint = f"; near names that work: {', '.join(f'np.{n}' for n in near)}" if near else ""
    return TypeError(
        f"np.{name}{kind} cannot be traced{hint}; see ebmlib.supported_functions() for all, "
        "or apply it to values outside of the traced function"
    )


class Array(_core.Node):
    """A value of the function that is being traced: a dtype and a shape, no numbers.

    >>> import numpy as np, ebmlib as ebm
    >>> def f(x):
    ...     print(x)
    ...     return np.exp(x).sum()
    >>> ebm.grad(f)(np.zeros(2))  # traced twice, to see that f is pure
    Array(float64, (2,))
    Array(float64, (2,))
    array([1., 1.])
    """

    __slots__ = ()
    __array_priority__ = 1000.0
    __hash__ = None  # type: ignore[assignment]

    # ---- NumPy's protocols

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any
    ) -> Any:
        if out is not None:
            raise TypeError(
                f"np.{ufunc.__name__}: a traced array cannot be written into another array "
                "(out=, or an in-place operator such as +=): write a = a + b"
            )
        if method == "reduce":
            return self._reduce(ufunc, *inputs, **kwargs)
        calls = sorting.ACCUMULATIONS if method == "accumulate" else table.UFUNCS
        implementation = calls.get(ufunc)
        if method not in ("__call__", "accumulate") or implementation is None:
            kind = "" if method == "__call__" else f".{method}"
            raise _missing(kind, ufunc.__name__, [u.__name__ for u in calls])
        return implementation(*inputs, **kwargs)

    def _reduce(
        self, ufunc: np.ufunc, x: Any, axis: Any = 0, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        function = table.REDUCTIONS.get(ufunc)
        if function is None:
            raise _missing(".reduce", ufunc.__name__, [u.__name__ for u in table.REDUCTIONS])
        extra = {} if dtype is None else {"dtype": dtype}
        return table.FUNCTIONS[function](x, axis=axis, keepdims=keepdims, **extra)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        implementation = table.FUNCTIONS.get(function)
        if implementation is None:
            raise _missing(
                "", table.name_of(function), [table.name_of(f) for f in table.FUNCTIONS]
            )
        return implementation(*args, **kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            f"np.array or np.asarray of a traced array (use np.stack to join several): {_HELP}"
        )

    # ---- what would need a value

    __bool__ = _has_no_value("the truth value")
    __float__ = _has_no_value("float()")
    __int__ = _has_no_value("int()")
    __index__ = _has_no_value("an index or a size")
    __complex__ = _has_no_value("complex()")
    item = _has_no_value(".item()")
    tolist = _has_no_value(".tolist()")

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "traced arrays cannot be written into: use np.where, np.concatenate "
            "or ebm.functional.put"
        )

    # ---- operators

    __add__, __radd__ = _binary(np.add)
    __sub__, __rsub__ = _binary(np.subtract)
    __mul__, __rmul__ = _binary(np.multiply)
    __truediv__, __rtruediv__ = _binary(np.true_divide)
    __floordiv__, __rfloordiv__ = _binary(np.floor_divide)
    __mod__, __rmod__ = _binary(np.remainder)
    __pow__, __rpow__ = _binary(np.power)
    __matmul__, __rmatmul__ = _binary(np.matmul)
    __and__, __rand__ = _binary(np.bitwise_and)
    __or__, __ror__ = _binary(np.bitwise_or)
    __xor__, __rxor__ = _binary(np.bitwise_xor)
    __eq__, _ = _binary(np.equal)
    __ne__, _ = _binary(np.not_equal)
    __lt__, _ = _binary(np.less)
    __le__, _ = _binary(np.less_equal)
    __gt__, _ = _binary(np.greater)
    __ge__, _ = _binary(np.greater_equal)
    __neg__ = _unary(np.negative)
    __pos__ = _unary(np.positive)
    __abs__ = _unary(np.absolute)
    __invert__ = _unary(np.invert)
    del _

    # ---- as a sequence of rows

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Array]:
        if self.ndim == 0:
            raise TypeError("iteration over an array without axes")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, index: Any) -> Array:
        return _indexing.get(self, index)

    # ---- methods

    sum = _function(np.sum)
    mean = _function(np.mean)
    var = _function(np.var)
    std = _function(np.std)
    max = _function(np.max)
    min = _function(np.min)
    argmax = _function(np.argmax)
    argmin = _function(np.argmin)
    argsort = _function(np.argsort)
    prod = _function(np.prod)
    cumsum = _function(np.cumsum)
    cumprod = _function(np.cumprod)
    any = _function(np.any)
    all = _function(np.all)
    clip = _function(np.clip)
    dot = _function(np.dot)
    ravel = _function(np.ravel)
    flatten = _function(np.ravel)
    squeeze = _function(np.squeeze)
    swapaxes = _function(np.swapaxes)
    take = _function(np.take)

    def reshape(self, *shape: Any) -> Array:
        """The values in another shape; one size may be -1."""
        return shapes.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Array:
        """The axes in another order; reversed if none is given."""
        return shapes.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def astype(self, dtype: Any, copy: bool = True) -> Array:
        """The values in another dtype."""
        return ops.cast(need().graph, as_node(self), dtype)

    def sort(self, *args: Any, **kwargs: Any) -> None:
        """Refused: it would sort in place."""
        raise TypeError(
            "x.sort() of a traced array: it sorts in place, and traced arrays cannot be "
            "written into: use np.sort(x)"
        )

    def copy(self, order: str = "C") -> Array:
        """The array itself: it cannot change."""
        return self

    T = property(transpose, doc="The axes reversed.")

    @property
    def mT(self) -> Array:
        """The last two axes swapped."""
        return shapes.swapaxes(self, -1, -2)

    def __repr__(self) -> str:
        try:
            return f"Array({self.dtype}, {self.shape})"
        except StateError:
            return "Array(escaped)"


del _linalg  # imported for its entries in the tables
_core.set_array_type(Array)
