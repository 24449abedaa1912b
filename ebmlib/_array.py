"""TracedArray: a value of a trace that behaves as a NumPy array without numbers.

Operators, methods and NumPy's own functions (``np.exp(x)``, ``np.sum(x, axis=1)``) write into
the current trace.  The tables of what works are in _numpy.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numpy as np

from . import _at, _core, _elementwise, _indexing, _linalg, _statistics
from . import _numpy as table
from . import _shapes as shapes
from . import _sorting as sorting
from ._checks import WRONG, placed
from ._core import ops
from ._trace import as_node, need
from .errors import StateError

F = TypeVar("F", bound=Callable[..., Any])

_HELP = (
    "while a function is traced, arrays have a shape and a dtype but no values: "
    "use np.where instead of if, ebm.repeat instead of a loop that ends by a value, "
    "or compute this outside of the function"
)


def _named(where: str) -> Callable[[F], F]:
    """What a method says of its arguments begins with ``where``."""

    def decorate(method: F) -> F:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except WRONG as error:
                raise placed(error, where) from None

        return cast(F, call)

    return decorate


def _has_no_value(what: str) -> Any:
    def method(self: TracedArray, *args: Any) -> Any:
        raise TypeError(f"{what} of a traced array: {_HELP}")

    return method


def _binary(ufunc: np.ufunc) -> tuple[Any, Any]:
    implementation = table.UFUNCS[ufunc]

    @_named(f"np.{ufunc.__name__}")
    def method(self: TracedArray, other: Any) -> TracedArray:
        return implementation(self, other)

    @_named(f"np.{ufunc.__name__}")
    def reflected(self: TracedArray, other: Any) -> TracedArray:
        return implementation(other, self)

    return method, reflected


def _unary(ufunc: np.ufunc) -> Any:
    implementation = table.UFUNCS[ufunc]

    @_named(f"np.{ufunc.__name__}")
    def method(self: TracedArray) -> TracedArray:
        return implementation(self)

    return method


def _function(function: Callable[..., Any]) -> Any:
    implementation = table.FUNCTIONS[function]

    @_named(f"np.{function.__name__}")
    def method(self: TracedArray, *args: Any, out: None = None, **kwargs: Any) -> Any:
        if out is not None:
            raise TypeError(f".{method.__name__}: out: got an array, expected None")
        return implementation(self, *args, **kwargs)

    method.__name__ = function.__name__
    method.__doc__ = f"numpy.{function.__name__} of the array."
    return method


def _outer(function: Callable[..., Any], a: Any, b: Any) -> Any:
    """The function of each element of a with each of b."""
    a, b = as_node(a), as_node(b)
    return function(shapes.reshape(a, a.shape + (1,) * b.ndim), b)


def _reduced(function: Callable[..., Any], x: Any, axis: Any = 0, **options: Any) -> Any:
    given = {name: value for name, value in options.items() if value is not None}
    return function(x, axis=axis, **given)


class TracedArray(_core.Node):
    """A value of the function that is being traced: a dtype and a shape, no numbers.

    >>> import numpy as np, ebmlib as ebm
    >>> def f(x):
    ...     print(x)
    ...     return np.exp(x).sum()
    >>> ebm.grad(f)(np.zeros(2))  # traced twice, to see that f is pure
    TracedArray(float64, (2,))
    TracedArray(float64, (2,))
    array([1., 1.])
    """

    __slots__ = ()
    __array_priority__ = 1000.0
    __hash__ = None  # type: ignore[assignment]

    # ---- NumPy's protocols

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any
    ) -> Any:
        try:
            return self._call_ufunc(ufunc, method, *inputs, **options)
        except WRONG as error:
            raise placed(error, f"np.{ufunc.__name__}") from None

    def _call_ufunc(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        name = ufunc.__name__
        if out is not None:
            raise TypeError(
                f"np.{name}: a traced array cannot be written into another array "
                "(out=, or an in-place operator such as +=): write a = a + b"
            )
        if method == "reduce" and ufunc in table.REDUCTIONS:
            return _reduced(table.FUNCTIONS[table.REDUCTIONS[ufunc]], *inputs, **options)
        if method == "accumulate" and ufunc in sorting.ACCUMULATIONS:
            return sorting.ACCUMULATIONS[ufunc](*inputs, **options)
        implementation = table.UFUNCS.get(ufunc)
        if implementation is None or method not in ("__call__", "outer"):
            from ._missing import missing

            kind = "" if method == "__call__" else f".{method}"
            raise missing(name, kind, table.supported_functions())
        if options.pop("where", True) is not True:
            raise TypeError(
                f"np.{name}: where: got a mask, expected True: use "
                f"np.where(mask, np.{name}(...), other)"
            )
        if method == "outer":
            return _outer(implementation, *inputs, **options)
        return implementation(*inputs, **options)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        try:
            return self._call_function(function, args, kwargs)
        except WRONG as error:
            raise placed(error, f"np.{table.name_of(function)}") from None

    def _call_function(
        self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        name = table.name_of(function)
        implementation = table.FUNCTIONS.get(function)
        if implementation is None:
            from ._missing import missing

            raise missing(name, "", map(table.name_of, table.FUNCTIONS))
        if kwargs.get("out") is not None:
            raise TypeError(
                f"np.{name}: out: got an array, expected None: traced arrays cannot be written "
                "into others: use the result"
            )
        kwargs = {key: given for key, given in kwargs.items() if key != "out"}
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
            "traced arrays cannot be written into: use x = x.at[index].set(v) "
            "(or .add, .multiply, .min, .max), or np.where(mask, v, x)"
        )

    # ---- operators

    __add__, __radd__ = _binary(np.add)
    __sub__, __rsub__ = _binary(np.subtract)
    __mul__, __rmul__ = _binary(np.multiply)
    __truediv__, __rtruediv__ = _binary(np.true_divide)
    __floordiv__, __rfloordiv__ = _binary(np.floor_divide)
    __mod__, __rmod__ = _binary(np.remainder)
    __divmod__, __rdivmod__ = _binary(np.divmod)
    __pow__, __rpow__ = _binary(np.power)
    __matmul__, __rmatmul__ = _binary(np.matmul)
    __and__, __rand__ = _binary(np.bitwise_and)
    __or__, __ror__ = _binary(np.bitwise_or)
    __xor__, __rxor__ = _binary(np.bitwise_xor)
    __lshift__, __rlshift__ = _binary(np.left_shift)
    __rshift__, __rrshift__ = _binary(np.right_shift)
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

    def __iter__(self) -> Iterator[TracedArray]:
        if self.ndim == 0:
            raise TypeError("iteration over an array without axes")
        return (self[i] for i in range(self.shape[0]))

    @_named("index")
    def __getitem__(self, index: Any) -> TracedArray:
        return _indexing.get(self, index)

    @property
    def at(self) -> _at.At:
        """``x.at[index].set(v)`` and .add, .subtract, .multiply, .divide, .min, .max: a new
        array that differs from x there; ``.get()`` is x[index].
        """
        return _at.At(self)

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
    round = _function(np.round)
    repeat = _function(np.repeat)
    diagonal = _function(np.diagonal)
    trace = _function(np.trace)
    conj = _unary(np.conjugate)
    conjugate = _unary(np.conjugate)

    @_named("np.reshape")
    def reshape(self, *shape: Any) -> TracedArray:
        """The values in another shape; one size may be -1."""
        return shapes.reshape(self, shape[0] if len(shape) == 1 else shape)

    @_named("np.transpose")
    def transpose(self, *axes: Any) -> TracedArray:
        """The axes in another order; reversed if none is given."""
        return shapes.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    @_named("astype")
    def astype(self, dtype: Any, copy: bool = True) -> TracedArray:
        """The values in another dtype."""
        return ops.cast(need().graph, as_node(self), dtype)

    def sort(self, *args: Any, **kwargs: Any) -> None:
        """Refused: it would sort in place."""
        raise TypeError(
            "x.sort() of a traced array: it sorts in place, and traced arrays cannot be "
            "written into: use np.sort(x)"
        )

    def copy(self, order: str = "C") -> TracedArray:
        """The array itself: it cannot change."""
        return self

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> TracedArray:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(np.ndarray, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        from ._missing import missing_method

        raise missing_method(name, table.supported_functions())

    T = property(transpose, doc="The axes reversed.")

    @property
    @_named("mT")
    def mT(self) -> TracedArray:
        """The last two axes swapped."""
        return shapes.swapaxes(self, -1, -2)

    @property
    def real(self) -> TracedArray:
        """The array itself."""
        return self

    @property
    def imag(self) -> TracedArray:
        """Zeros."""
        return shapes.zeros_like(self)

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        try:
            return f"TracedArray({self.dtype}, {self.shape})"
        except StateError:
            return "TracedArray(escaped)"


del _elementwise, _linalg, _statistics  # imported for their entries in the tables
_core.set_array_type(TracedArray)
