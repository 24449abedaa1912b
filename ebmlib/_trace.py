"""Traces: the graph that NumPy calls are written into, and how values get there.

A trace is a graph and where it stands in the nesting of ``repeat``.  Each thread has a stack of
them; every operation on a traced array writes into the top one.  Values of the graphs below are
lifted by the core; arrays met on the way are captured, numbers become constants.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ._core import Graph, Node, ops
from .errors import StateError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from ._array import TracedArray

Value = Any  # an array, traced or concrete, or a number
DType = np.dtype[Any]
Kind = DType | type[int] | type[float]

INT = np.dtype(np.int32)
BOOL = np.dtype(np.bool_)
UINT8 = np.dtype(np.uint8)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)

SUPPORTED = "float32, float64, int32, bool and uint8 are supported"


class _Stack(threading.local):
    def __init__(self) -> None:
        self.traces: list[Trace] = []


_stack = _Stack()


class Trace:
    """A graph that is being written; use as a context.

    dtype: if given, the float type of everything that has none of its own: captured float
        arrays, and integers that meet a function of floats.  Without it NumPy's promotion
        holds.
    """

    __slots__ = ("constants", "dtype", "graph", "purpose", "root")
    root: Trace
    dtype: DType | None
    constants: dict[int, tuple[NDArray[Any], TracedArray]]

    def __init__(
        self, graph: Graph, parent: Trace | None = None, dtype: DType | None = None
    ) -> None:
        self.graph = graph
        self.root = self if parent is None else parent.root
        self.dtype = dtype if parent is None or dtype is not None else parent.dtype
        self.purpose = 0  # of the root: the number of the next drawing site
        self.constants = {}  # of the root: id of a captured array -> (the array, its node)

    def __enter__(self) -> Trace:
        _stack.traces.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _stack.traces.pop()

    def next_purpose(self) -> int:
        root = self.root
        root.purpose += 1
        return root.purpose - 1

    def capture(self, array: NDArray[Any]) -> TracedArray:
        """The node of a concrete array; the same array gives the same node."""
        constants = self.root.constants
        known = constants.get(id(array))
        if known is None:
            known = constants[id(array)] = (array, self.root.graph.capture(self.cast(array)))
        return known[1]

    def cast(self, array: NDArray[Any]) -> NDArray[Any]:
        if self.dtype is None or array.dtype.kind != "f":
            return array
        return array.astype(self.dtype, copy=False)


def current() -> Trace | None:
    """The trace being written in this thread, or None."""
    traces = _stack.traces
    return traces[-1] if traces else None


def need() -> Trace:
    """The trace being written; StateError without one."""
    traces = _stack.traces
    if traces:
        return traces[-1]
    raise StateError(
        "a traced array escaped: the function that it belongs to has ended; "
        "return it from there instead of storing it"
    )


# ---- dtypes ----------------------------------------------------------------------------------


@functools.cache
def canonical(dtype: DType) -> DType:
    """The dtype that arrays of this dtype have in a graph; TypeError if there is none."""
    dtype = dtype.newbyteorder("=")
    if dtype in (FLOAT32, FLOAT64, INT, BOOL, UINT8):
        return np.dtype(dtype.type)
    if dtype.kind in "iu":
        return INT
    raise TypeError(f"dtype {dtype} is not supported: {SUPPORTED}")


@functools.cache
def _common(kinds: tuple[Kind, ...], default: DType | None) -> DType:
    """NumPy's promotion of dtypes, and of int, float for Python's numbers; see Trace.dtype."""
    if default is not None:
        floats = [kind for kind in kinds if isinstance(kind, np.dtype) and kind.kind == "f"]
        if floats:
            return np.result_type(*floats)
    dtype = np.result_type(*[kind if isinstance(kind, np.dtype) else kind(1) for kind in kinds])
    if dtype.kind == "f" and default is not None:
        return default
    return canonical(dtype)


@functools.cache
def to_float(dtype: DType, default: DType | None, of_small: DType) -> DType:
    """The float dtype that a function gives: the own of a float; of int32 float64, of smaller
    ones ``of_small``: NumPy's exp, sin, ... give float16 there, which is float32 here, but its
    quotients and means are float64.
    """
    if dtype.kind == "f":
        return dtype
    return default or (FLOAT64 if dtype == INT else of_small)


# ---- values as nodes -------------------------------------------------------------------------


def _kind(trace: Trace, value: Value) -> tuple[Value, Kind]:
    """(value, kind): the kind is a dtype, or int or float for what is weak."""
    if isinstance(value, Node):
        dtype = value.dtype
        if value.weak:
            return value, float if dtype.kind == "f" else int
        return value, dtype
    if isinstance(value, bool):
        return value, BOOL
    if type(value) is float or type(value) is int:
        return value, type(value)
    array = value if isinstance(value, np.ndarray | np.generic) else np.asarray(value)
    if array.dtype.kind == "O" and array is not value:
        raise TypeError(f"got {type(value).__name__}, expected an array or a number")
    dtype = canonical(array.dtype)
    return array, trace.dtype if trace.dtype is not None and dtype.kind == "f" else dtype


def _node(trace: Trace, value: Value, kind: Kind, dtype: DType) -> TracedArray:
    """The value as a node of this dtype."""
    graph = trace.graph
    if isinstance(value, Node):
        return cast("TracedArray", value) if kind == dtype else ops.cast(graph, value, dtype)
    if isinstance(value, np.ndarray) and value.ndim:
        node = trace.capture(value)
        return node if kind == dtype else ops.cast(graph, node, dtype)
    if dtype.kind in "iu":
        value = _checked_int(value, dtype)
    elif dtype.kind == "b":
        value = bool(value)
    return ops.scalar(graph, dtype, value)


def _checked_int(value: Value, dtype: DType) -> int:
    limits = np.iinfo(dtype)
    if not limits.min <= int(value) <= limits.max:
        raise ValueError(f"the integer {value} does not fit into {dtype}")
    return int(value)


def as_node(value: Value, dtype: DTypeLike | None = None) -> TracedArray:
    """The value as a node of the current trace; of ``dtype`` if that is given."""
    if isinstance(value, Node) and dtype is None:
        return cast("TracedArray", value)
    trace = need()
    value, kind = _kind(trace, value)
    if dtype is not None:
        return _node(trace, value, kind, np.dtype(dtype))
    node = _node(trace, value, kind, _common((kind,), trace.dtype))
    return node.as_weak() if kind is int or kind is float else node


def as_float(value: Value, of_small: DType = FLOAT32) -> TracedArray:
    """The value as a node of a float dtype: see to_float."""
    if isinstance(value, Node) and not value.weak and value.dtype.kind == "f":
        return cast("TracedArray", value)
    trace = need()
    value, kind = _kind(trace, value)
    dtype = to_float(_common((kind,), trace.dtype), trace.dtype, of_small)
    return _node(trace, value, kind, dtype)


def _alike(values: Sequence[Value]) -> list[TracedArray] | None:
    """The values as nodes if they are nodes of one float dtype, and numbers: nearly always."""
    dtype = None
    for value in values:
        if isinstance(value, Node) and not value.weak:
            if dtype is None:
                dtype = value.dtype
            if value.dtype is not dtype:
                return None
        elif type(value) is not float and type(value) is not int:
            return None
    if dtype is None or dtype.kind != "f":
        return None
    graph = need().graph
    nodes = [v if isinstance(v, Node) else ops.scalar(graph, dtype, v) for v in values]
    return cast("list[TracedArray]", nodes)


def promote(*values: Value) -> list[TracedArray]:
    """The values as nodes of their common dtype."""
    if (nodes := _alike(values)) is not None:
        return nodes
    trace = need()
    pairs = [_kind(trace, value) for value in values]
    dtype = _common(tuple([kind for _, kind in pairs]), trace.dtype)
    return [_node(trace, value, kind, dtype) for value, kind in pairs]


def promote_float(*values: Value, of_small: DType = FLOAT32) -> list[TracedArray]:
    """The values as nodes of their common float dtype: see to_float."""
    if (nodes := _alike(values)) is not None:
        return nodes
    trace = need()
    pairs = [_kind(trace, value) for value in values]
    common = _common(tuple([kind for _, kind in pairs]), trace.dtype)
    dtype = to_float(common, trace.dtype, of_small)
    return [_node(trace, value, kind, dtype) for value, kind in pairs]


def as_index(value: Value, what: str = "index") -> TracedArray:
    """The value, of integers or bools, as a node of int32."""
    node = as_node(value)
    if node.dtype.kind == "f":
        raise TypeError(f"{what}: got {node.dtype}, expected integers")
    return as_node(node, INT)


def as_bool(value: Value) -> TracedArray:
    """The value as a node of bools: whether it is not zero."""
    return as_node(value, BOOL)


# ---- called from C ---------------------------------------------------------------------------


def call_in(
    graph: Graph, dtype: DType, function: Callable[..., Value], nodes: Sequence[Node]
) -> TracedArray:
    """function(*nodes), written into a graph that C is building; the result is a node of it.

    Networks have a `_core.Scope` before the nodes.
    """
    parent = current()
    trace = Trace(graph, dtype=dtype)
    if parent is not None:
        trace.purpose = parent.root.purpose
    with trace:
        result = function(*nodes)
        try:
            result = as_node(result)
        except TypeError as error:
            raise TypeError(f"energy: result: {error}") from None
    if parent is not None:
        parent.root.purpose = trace.purpose
        return result
    from ._compile import check_called

    check_called(function, dtype, nodes)
    return result
