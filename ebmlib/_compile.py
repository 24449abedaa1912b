"""From a Python function to a plan, and the caches of plans.

A function is compiled once for each signature: the structure of its arguments, and the dtype
and shape of every array.  Plans are kept with the function (weakly) for each transformation of
it, so that ``ebm.grad(f)(x)`` in a loop compiles once.
"""

from __future__ import annotations

import array
import functools
import inspect
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from . import _core, _tree
from ._checks import WRONG, placed
from ._core import Node
from ._device import from_dlpack, is_foreign, place_of
from ._interchange import as_array
from ._trace import BOOL, FLOAT64, INT, Trace, as_node, canonical, current
from .errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._array import TracedArray

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)
Spec = tuple[np.dtype[Any], tuple[int, ...], bool]  # dtype, shape, weak


class Compiled:
    """A plan and the structure of its results."""

    __slots__ = ("plan", "structure")

    def __init__(self, plan: _core.Plan, structure: Any) -> None:
        self.plan = plan
        self.structure = structure

    def __call__(self, values: Sequence[Any]) -> Any:
        return _tree.unflatten(self.structure, self.plan(*values))


class Traced:
    """A graph with its results: what tracing a function gives."""

    __slots__ = ("graph", "outs", "structure")

    def __init__(
        self, function: Function, structure: Any, specs: Sequence[Spec], dtype: Any = None
    ) -> None:
        self.graph = _core.Graph()
        with Trace(self.graph, dtype=dtype):
            inputs = [self._input(structure, k, spec) for k, spec in enumerate(specs)]
            args, kwargs = _tree.unflatten(structure, inputs)
            leaves, self.structure = _tree.flatten(function(*args, **kwargs))
            self.outs = [_result(leaf) for leaf in leaves]

    def _input(self, structure: Any, k: int, spec: Spec) -> TracedArray:
        try:
            return self.graph.input(None, *spec)
        except WRONG as error:
            raise placed(error, f"argument {_name(structure, k)}") from None

    def text(self) -> str:
        return self.graph.print(self.outs)

    def constants(self) -> list[NDArray[Any]]:
        return [array for _, _, array in self.graph.inputs if array is not None]


def _result(leaf: Any) -> TracedArray:
    try:
        return as_node(leaf)
    except TypeError as error:
        raise TypeError(f"a traced function returned {type(leaf).__name__}: {error}") from None


# ---- signatures ------------------------------------------------------------------------------

_NUMBERS = {bool: (BOOL, (), False), int: (INT, (), True), float: (FLOAT64, (), True)}


def signature(leaves: list[Any], structure: Any) -> tuple[list[Any], tuple[Spec, ...]]:
    """(values, specs): arrays for a plan, and (dtype, shape, weak) of each."""
    values, specs = [], []
    for k, leaf in enumerate(leaves):
        spec = _NUMBERS.get(type(leaf))
        if spec is not None:
            leaf = np.asarray(leaf)
        else:
            if not isinstance(leaf, np.ndarray | _core.DeviceArray):
                leaf = _as_array(leaf, structure, k)
            spec = (_canonical(leaf.dtype, structure, k), leaf.shape, False)
        values.append(leaf)
        specs.append(spec)
    return values, tuple(specs)


def _as_array(leaf: Any, structure: Any, k: int) -> NDArray[Any]:
    if isinstance(leaf, Node):
        raise StateError("a traced array escaped: the function that it belongs to has ended")
    if is_foreign(leaf):
        array: NDArray[Any] = from_dlpack(leaf)
        return array
    if not isinstance(leaf, np.generic) and not _is_array(leaf):
        raise TypeError(
            f"argument {_name(structure, k)}: got {type(leaf).__name__}, expected an array: "
            "close over it, or name it in static_argnums of ebm.jit"
        )
    return as_array(leaf, f"argument {_name(structure, k)}")


def _is_array(leaf: Any) -> bool:
    if hasattr(leaf, "__array__") or hasattr(leaf, "__dlpack__"):
        return True
    return isinstance(leaf, memoryview | array.array)


def _canonical(dtype: np.dtype[Any], structure: Any, k: int) -> np.dtype[Any]:
    try:
        return canonical(dtype)
    except TypeError as error:
        raise TypeError(f"argument {_name(structure, k)}: {error}") from None


def _name(structure: Any, k: int) -> str:
    """How a caller would write leaf k of (args, kwargs)."""
    path = _tree.paths(structure)[k]
    part, _, rest = path[1:].partition("]")
    place, _, deeper = rest[1:].partition("]")
    return place + deeper if part == "0" else place.strip("'") + deeper


# ---- compiling -------------------------------------------------------------------------------


def compile_function(
    function: Function,
    name: str,
    structure: Any,
    specs: Sequence[Spec],
    pure: bool,
    donated: Sequence[int] = (),
    place: tuple[str | None, bool] = (None, False),
) -> Compiled:
    """Traces and compiles; unless known to be ``pure``, traces twice and compares.

    donated: the leaves of the arguments whose arrays results may overwrite; place: the device,
    and whether results stay on it.
    """
    traced = Traced(function, structure, specs)
    if not pure:
        _check_purity(traced, Traced(function, structure, specs), name)
    alias = _overwrites(traced.outs, specs, donated) if donated else None
    device, keep = place
    plan = _core.Plan(traced.graph, traced.outs, alias=alias, device=device, keep=keep)
    return Compiled(plan, traced.structure)


def _overwrites(outs: list[Any], specs: Sequence[Spec], donated: Sequence[int]) -> list[int]:
    """For each result the first donated leaf of its dtype and shape that is left, or -1."""
    left = list(donated)
    alias = []
    for out in outs:
        fits = (k for k in left if specs[k][:2] == (out.dtype, out.shape))
        alias.append(next(fits, -1))
        if alias[-1] >= 0:
            left.remove(alias[-1])
    return alias


def trace_rows(function: Function, specs: Sequence[Spec], dtype: Any) -> Traced:
    """A function of arrays as samplers and estimators trace it; see `Trace` for the dtype."""
    _, structure = _tree.flatten((tuple(range(len(specs))), {}))
    return Traced(function, structure, specs, dtype)


def same_constants(first: Traced, second: Traced) -> bool:
    """Whether two traces with the same text have the same constants, as they are now."""
    return _different_constant(first.constants(), second.constants()) is None


class _Called(Traced):
    """What a function that C calls writes into a graph of its own."""

    def __init__(self, function: Function, dtype: Any, args: Sequence[Any]) -> None:
        self.graph = _core.Graph()
        own = [self._own(k, arg, dtype) for k, arg in enumerate(args)]
        with Trace(self.graph, dtype=dtype):
            self.outs = [_result(function(*own))]
        self.outs += [into for scope in own for into in getattr(scope, "into", ())]

    def _own(self, k: int, arg: Any, dtype: Any) -> Any:
        if isinstance(arg, Node):
            return self.graph.input(f"x{k}", arg.dtype, arg.shape, False)
        from ._function import Recorder

        return Recorder(self.graph, dtype, arg.row)


def check_called(function: Function, dtype: Any, args: Sequence[Any]) -> None:
    """ValueError if a function that C is about to call is impure; known once for each shape."""
    specs = tuple((arg.dtype, arg.shape) for arg in args if isinstance(arg, Node))
    known = cache_of(function, "pure")
    if (dtype, specs) not in known:
        first, second = (_Called(function, dtype, args) for _ in range(2))
        _check_purity(first, second, name_of(getattr(function, "function", function)))
        known[dtype, specs] = None


def _different_line(first: Traced, second: Traced) -> tuple[str, str] | None:
    if first.graph.same(first.outs, second.graph, second.outs):
        return None  # as nearly always; texts, of what the results need alone, take longer
    lines = [traced.text().splitlines() for traced in (first, second)]
    difference = next(((a, b) for a, b in zip(*lines, strict=False) if a != b), None)
    if difference is None and len(lines[0]) != len(lines[1]):
        shorter, longer = sorted(lines, key=len)
        difference = ("(the end)", longer[len(shorter)])
    return difference


def _check_purity(first: Traced, second: Traced, name: str) -> None:
    difference = _different_line(first, second)
    if difference is None:
        difference = _different_constant(first.constants(), second.constants())
    if difference is not None:
        raise ValueError(
            f"{name}: impure function: two traces of it differ, first at "
            f"{difference[0].strip()!r} and {difference[1].strip()!r}: the usual cause is "
            "np.random in it: draw with ebm.random and a key, or pass the numbers as an "
            "argument (counters, clocks and files are other causes)"
        )


def _different_constant(
    first: list[NDArray[Any]], second: list[NDArray[Any]]
) -> tuple[str, str] | None:
    for a, b in zip(first, second, strict=True):
        if a.tobytes() != b.tobytes():
            places = np.flatnonzero(a.reshape(-1) != b.reshape(-1))
            at = int(places[0]) if places.size else 0
            kind = f"a constant array, {a.dtype} {a.shape}, with"
            one, other = (f"{kind} {c.reshape(-1)[at]!r} at place {at}" for c in (a, b))
            return one, other
    return None


# ---- caches ----------------------------------------------------------------------------------

_caches: dict[
    int, tuple[Any, dict[Hashable, dict[Any, Compiled]]]
] = {}  # id of a function -> (a weak reference to it, {transformation: {signature: Compiled}})


def cache_of(function: Function, transformation: Hashable) -> dict[Any, Any]:
    """The dict of plans of a transformation of a function; a new one where none can be kept."""
    key = id(function)
    known = _caches.get(key)
    if known is None:
        try:
            if hasattr(function, "__self__"):
                return {}  # a bound method: a new object each time it is looked up
            reference = weakref.ref(function, lambda _: _caches.pop(key, None))
        except TypeError:
            return {}
        known = _caches[key] = (reference, {})
    return known[1].setdefault(transformation, {})


def transformed(
    inline: Function, function: Function, transformation: Hashable, name: str
) -> Function:
    """``inline`` as a public function: written into the current trace if there is one, else
    compiled for its arguments and run.

    transformation: what ``inline`` makes of ``function``, hashable; the two name its plans.
    """
    cache = cache_of(function, transformation)

    def call(*args: Any, **kwargs: Any) -> Any:
        if current() is not None:
            return inline(*args, **kwargs)
        leaves, structure = _tree.flatten((args, kwargs))
        values, specs = signature(leaves, structure)
        place = place_of(values)
        compiled = cache.get((structure, specs, place))
        if compiled is None:
            compiled = compile_function(inline, name, structure, specs, False, place=place)
            cache[structure, specs, place] = compiled
        return compiled(values)

    functools.update_wrapper(call, function, updated=())
    call.__name__ = call.__qualname__ = name
    return call


def name_of(function: Function) -> str:
    if isinstance(function, functools.partial) and not hasattr(function, "__name__"):
        return name_of(function.func)
    return getattr(function, "__name__", type(function).__name__)


MAX_CONCRETE = 256  # plans kept for one function of this package


def also_concrete(*arrays: str) -> Callable[[F], F]:
    """For a function of this package that traces: the named parameters may be concrete arrays,
    and then it is compiled for them and run.  All other parameters are options, hashable.

    The parameters named come first, in this order.
    """

    def decorate(function: F) -> F:
        cache: dict[Any, Compiled] = {}
        parameters = inspect.signature(function).parameters
        needed = [
            name for name in arrays if parameters[name].default is inspect.Parameter.empty
        ]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return checked(*args, **kwargs)
            except WRONG as error:
                raise placed(error, function.__name__.lstrip("_")) from None

        def checked(*args: Any, **kwargs: Any) -> Any:
            if current() is not None:
                return function(*args, **kwargs)
            given = dict(zip(arrays, args, strict=False))
            given.update({name: kwargs[name] for name in arrays if name in kwargs})
            missing = [name for name in needed if given.get(name) is None]
            if missing:
                inspect.signature(function).bind(*args, **kwargs)
                raise TypeError(f"{missing[0]}: got None, expected an array")
            given = {name: _concrete(v) for name, v in given.items() if v is not None}
            kwargs = {name: v for name, v in kwargs.items() if name not in arrays}
            options = args[len(arrays) :]
            key = options_key((options, sorted(kwargs.items())))
            leaves, structure = _tree.flatten(((), given))
            values, specs = signature(leaves, structure)
            place = place_of(values)
            compiled = cache.get((structure, specs, key, place))
            if compiled is None:

                def inline(**traced: Any) -> Any:
                    traced = {name: traced.get(name) for name in arrays}
                    return function(*traced.values(), *options, **kwargs)

                if len(cache) == MAX_CONCRETE:
                    cache.clear()
                compiled = compile_function(
                    inline, function.__name__, structure, specs, True, place=place
                )
                cache[structure, specs, key, place] = compiled
            return compiled(values)

        return cast(F, call)

    return decorate


def options_key(value: Any) -> Any:
    """What tells options apart, hashable: 1, 1.0 and True are three; a list is a tuple."""
    if isinstance(value, list | tuple):
        return (tuple, *map(options_key, value))
    if getattr(type(value), "__hash__", None) is None:
        raise TypeError(f"got {type(value).__name__}, expected an option: numbers or words")
    return type(value), value


def _concrete(value: Any) -> Any:
    kinds = Node | np.ndarray | _core.DeviceArray | float | int
    return value if isinstance(value, kinds) else np.asarray(value)
