"""Writes coverage.md: what can be traced, of what it is made, and its derivatives.

    python docs/coverage.py             writes docs/coverage.md
    python docs/coverage.py --check     exits with 1 if that would change it

Nothing in the tables is written by hand: each function is traced on a specimen, and the graph
says which ops it has; the graph is differentiated three times, and that says the rest.
"""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ebmlib as ebm
from ebmlib import _core, functional
from ebmlib._trace import Trace

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "coverage.md"
ORDERS = 3
Call = Callable[..., Any]

# The arrays that a specimen takes, by the name of the parameter.
ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "x": ("float64", (3, 4)),
    "y": ("float64", (3, 4)),
    "v": ("float64", (4,)),
    "w": ("float64", (4,)),
    "s": ("float64", (4, 4)),
    "c": ("float64", (3, 3)),
    "t": ("float64", (4, 4, 4)),
    "i": ("int32", (3, 4)),
    "j": ("int32", (4,)),
    "m": ("bool", (3, 4)),
}
# Tried in this order where nothing is said below.
FORMS: list[Callable[[Call], Call]] = [
    lambda f: lambda x: f(x),
    lambda f: lambda v: f(v),
    lambda f: lambda s: f(s),
    lambda f: lambda t: f(t),
    lambda f: lambda x, y: f(x, y),
    lambda f: lambda v, w: f(v, w),
    lambda f: lambda s, v: f(s, v),
    lambda f: lambda x, y: f([x, y]),
    lambda f: lambda i, j: f(i, j),
]
CALLS: dict[str, Call] = {
    "apply_along_axis": lambda x: np.apply_along_axis(np.sum, 1, x),
    "arange": lambda x: np.arange(3, like=x),
    "array": lambda x, v: np.array([v, v], like=x),
    "asanyarray": lambda x: np.asanyarray(x, like=x),
    "asarray": lambda x: np.asarray(x, like=x),
    "ascontiguousarray": lambda x: np.ascontiguousarray(x, like=x),
    "astype": lambda x: np.astype(x, "float32"),
    "array_split": lambda x: np.array_split(x, 2),
    "bitwise_and": lambda i, j: np.bitwise_and(i, j),
    "bitwise_or": lambda i, j: np.bitwise_or(i, j),
    "bitwise_xor": lambda i, j: np.bitwise_xor(i, j),
    "block": lambda x, y: np.block([[x], [y]]),
    "atleast_1d": lambda x: np.atleast_1d(x[0, 0]),
    "atleast_2d": lambda v: np.atleast_2d(v),
    "broadcast_arrays": lambda x, v: np.broadcast_arrays(x, v),
    "broadcast_to": lambda v: np.broadcast_to(v, (3, 4)),
    "choose": lambda j, v, w: np.choose(j, [v, w], mode="clip"),
    "clip": lambda x: np.clip(x, -1, 1),
    "cross": lambda c: np.cross(c, c[0]),
    "delete": lambda v: np.delete(v, 1),
    "diagonal": lambda s: np.diagonal(s),
    "digitize": lambda x: np.digitize(x, [0.0, 1.0]),
    "dsplit": lambda t: np.dsplit(t, 2),
    "einsum": lambda s, v: np.einsum("ij,j->i", s, v),
    "empty": lambda x: np.empty(3, like=x),
    "expand_dims": lambda x: np.expand_dims(x, 0),
    "eye": lambda x: np.eye(3, like=x),
    "fliplr": lambda x: np.fliplr(x),
    "full": lambda x: np.full((2, 2), x[0, 0], like=x),
    "full_like": lambda x, y: np.full_like(x, y[0, 0]),
    "hsplit": lambda x: np.hsplit(x, 2),
    "identity": lambda x: np.identity(3, like=x),
    "insert": lambda v: np.insert(v, 1, v[0]),
    "interp": lambda x, v, w: np.interp(x, v, w),
    "invert": lambda i: np.invert(i),
    "isin": lambda i: np.isin(i, [1, 2]),
    "ix_": lambda j: np.ix_(j, j),
    "left_shift": lambda i: np.left_shift(i, 2),
    "linalg.cross": lambda c: np.linalg.cross(c, c[0]),
    "linalg.eigh": lambda s: np.linalg.eigh(s),
    "linalg.eigvalsh": lambda s: np.linalg.eigvalsh(s),
    "linalg.matmul": lambda x, s: np.linalg.matmul(x, s),
    "linalg.matrix_power": lambda s: np.linalg.matrix_power(s, 3),
    "linalg.multi_dot": lambda x, s, v: np.linalg.multi_dot([x, s, v]),
    "linalg.solve": lambda s, v: np.linalg.solve(s, v),
    "linalg.tensordot": lambda s, v: np.linalg.tensordot(s, v, axes=1),
    "matmul": lambda x, s: np.matmul(x, s),
    "matvec": lambda s, v: np.matvec(s, v),
    "moveaxis": lambda t: np.moveaxis(t, 0, 2),
    "pad": lambda x: np.pad(x, 1),
    "percentile": lambda x: np.percentile(x, 30),
    "piecewise": lambda x: np.piecewise(x, [x < 0], [np.negative, np.exp]),
    "polyval": lambda v, x: np.polyval(v, x),
    "quantile": lambda x: np.quantile(x, 0.3),
    "repeat": lambda x: np.repeat(x, 2),
    "reshape": lambda x: np.reshape(x, (4, 3)),
    "right_shift": lambda i: np.right_shift(i, 2),
    "roll": lambda x: np.roll(x, 1),
    "rollaxis": lambda t: np.rollaxis(t, 2),
    "searchsorted": lambda v, x: np.searchsorted(v, x),
    "select": lambda x, y: np.select([x > 0], [x], y),
    "split": lambda x: np.split(x, 3),
    "squeeze": lambda x: np.squeeze(x[None]),
    "swapaxes": lambda t: np.swapaxes(t, 0, 2),
    "take_along_axis": lambda x, i: np.take_along_axis(x, i, 0),
    "take": lambda x, j: np.take(x, j),
    "tensordot": lambda s, v: np.tensordot(s, v, 1),
    "tile": lambda x: np.tile(x, 2),
    "tri": lambda x: np.tri(3, like=x),
    "vecmat": lambda v, s: np.vecmat(v, s),
    "vsplit": lambda x: np.vsplit(x, 3),
    "where": lambda m, x, y: np.where(m, x, y),
    "ones": lambda x: np.ones(3, like=x),
    "zeros": lambda x: np.zeros(3, like=x),
    "x.T": lambda x: x.T,
    "x.astype": lambda x: x.astype("float32"),
    "x.clip": lambda x: x.clip(-1, 1),
    "x.dot": lambda x, v: x.dot(v),
    "x.imag": lambda x: x.imag,
    "x.mT": lambda x: x.mT,
    "x.real": lambda x: x.real,
    "x.repeat": lambda x: x.repeat(2),
    "x.reshape": lambda x: x.reshape(4, 3),
    "x.squeeze": lambda x: x[None].squeeze(),
    "x.swapaxes": lambda x: x.swapaxes(0, 1),
    "x.take": lambda x, j: x.take(j),
}
ATTRIBUTES = ("T", "mT", "real", "imag")
KINDS = {  # families of ops.def, as a person would say them
    "ELEMENTWISE": "elementwise",
    "REDUCE": "reduction",
    "INDEX": "indexing",
    "MATMUL": "product",
    "CONV": "convolution",
    "LINALG": "linear algebra",
    "SORT": "order",
}
HIDDEN = {"input", "constant", "mark", "broadcast", "reshape", "item"}  # in every other trace


@dataclass(frozen=True)
class Entry:
    """A row of the page."""

    name: str
    kind: str
    ops: str
    derivative: str


# ---- what a graph says -----------------------------------------------------------------------


def families() -> dict[str, str]:
    """The family of each op, from ops.def; rows EW1, EW2 have none: they are elementwise."""
    text = (ROOT / "csrc" / "graph" / "ops.def").read_text()
    named = re.findall(r"^[A-Z]+\((\w+),\s*-?\d+,\s*(\w+)\)", text, re.M)
    plain = re.findall(r"^EW[12]\((\w+),", text, re.M)
    return {**dict.fromkeys(plain, "ELEMENTWISE"), **dict(named)}


FAMILIES = families()


def ops_of(text: str) -> list[str]:
    """The ops of a printed graph, each once, in order."""
    return list(dict.fromkeys(re.findall(r"^\s*%\d+ = (\w+)", text, re.M)))


def kind_of(ops: list[str]) -> str:
    """What the ops do; movement only where nothing else is done."""
    here = [FAMILIES[op] for op in ops if op not in HIDDEN]
    kinds = dict.fromkeys(
        KINDS.get(family, family.lower()) for family in here if family != "MOVE"
    )
    if kinds:
        return ", ".join(kinds)
    if "mark" not in ops:
        return "constant"
    return "movement" if here or {"broadcast", "reshape"} & set(ops) else "identity"


def is_zero(graph: _core.Graph, node: ebm.TracedArray) -> bool:
    """Whether a derivative is zero by its structure."""
    text = graph.print([node])
    return "input" not in text and set(re.findall(r"constant \w+ \(\) (\S+)", text)) <= {
        "0x0p+0",
        "-0x0p+0",
    }


def examined(name: str, call: Call, specs: list[tuple[str, tuple[int, ...]]]) -> Entry:
    """The entry of a function of arrays of these dtypes and shapes."""
    graph = _core.Graph()
    with Trace(graph):
        inputs = [graph.input(None, np.dtype(d), shape, False) for d, shape in specs]
        marks = [_core.ops.mark(graph, node) for node in inputs]
        leaves = [leaf for leaf in flattened(call(*marks)) if isinstance(leaf, _core.Node)]
        if not leaves:
            return Entry(name, "known when traced", "", "none")
        ops = ops_of(graph.print(leaves))
        derivative = derivative_of(graph, leaves, marks)
    shown = ", ".join(op for op in ops if op not in HIDDEN)
    return Entry(name, kind_of(ops), shown, derivative)


def derivative_of(
    graph: _core.Graph, leaves: list[ebm.TracedArray], marks: list[ebm.TracedArray]
) -> str:
    """In words: of which orders, and from which on it is zero."""
    outs = [leaf for leaf in leaves if leaf.dtype.kind == "f"]
    if not outs:
        return f"none: gives {leaves[0].dtype}"
    if "mark" not in ops_of(graph.print(outs)):
        return "none: constant"
    marks = [mark for mark in marks if mark.dtype.kind == "f"]
    if not marks:
        return "none: takes no floats"
    zeros = []
    for order in range(1, ORDERS + 1):
        cts = [graph.input(None, out.dtype, out.shape, False) for out in outs]
        try:
            outs = graph.vjp(outs, cts, marks)
        except NotImplementedError:
            return f"order {order - 1}" if order > 1 else "refused"
        zeros.append(all(is_zero(graph, out) for out in outs))
    if zeros[0]:
        return "zero almost everywhere"
    return "any order, zero from order 2" if zeros[1] else "any order"


def flattened(result: Any) -> Iterator[Any]:
    if isinstance(result, list | tuple):
        for item in result:
            yield from flattened(item)
    else:
        yield result


# ---- specimens -------------------------------------------------------------------------------


def entry_of(name: str, function: Call) -> Entry:
    """Of the call that is written above, or of the first form that fits."""
    if name in CALLS:
        return examined_by_names(name, CALLS[name])
    for form in FORMS:
        with contextlib.suppress(TypeError, ValueError, IndexError):
            return examined_by_names(name, form(function))
    raise LookupError(f"docs/coverage.py: no form fits np.{name}: add it to CALLS")


def examined_by_names(name: str, call: Call) -> Entry:
    return examined(name, call, [ARRAYS[p] for p in inspect.signature(call).parameters])


def numpy_function(name: str) -> Call:
    place: Any = np
    for part in name.split("."):
        place = getattr(place, part)
    return place  # type: ignore[no-any-return]


def methods() -> list[str]:
    """What traced arrays share with NumPy's, besides what every object has."""
    return [
        name
        for name in sorted(vars(ebm.TracedArray))
        if not name.startswith("_")
        and hasattr(np.ndarray, name)
        and (name in ATTRIBUTES or callable(getattr(ebm.TracedArray, name)))
    ]


def recorded(name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments in the example of a function of ebm.functional."""
    function = getattr(functional, name)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def record(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return function(*args, **kwargs)

    setattr(functional, name, record)
    try:
        for example in doctest.DocTestParser().get_examples(function.__doc__ or ""):
            with contextlib.redirect_stdout(io.StringIO()):
                exec(example.source, SCOPE)
    finally:
        setattr(functional, name, function)
    if not calls:
        raise LookupError(
            f"docs/coverage.py: the example of functional.{name} does not call it"
        )
    return calls[0]


SCOPE: dict[str, Any] = {}


def functional_entry(name: str) -> Entry:
    args, kwargs = recorded(name)
    given = {**{str(k): arg for k, arg in enumerate(args)}, **kwargs}
    arrays = {key: arg for key, arg in given.items() if isinstance(arg, np.ndarray)}
    function = getattr(functional, name)

    def call(*nodes: Any) -> Any:
        now = {**given, **dict(zip(arrays, nodes, strict=True))}
        return function(
            *[now[str(k)] for k in range(len(args))], **{key: now[key] for key in kwargs}
        )

    specs = [(str(array.dtype), array.shape) for array in arrays.values()]
    specs = [("int32" if dtype == "int64" else dtype, shape) for dtype, shape in specs]
    return examined(name, call, specs)


# ---- the page --------------------------------------------------------------------------------

HEAD = """# What can be traced

Written by `docs/coverage.py` from the code: change that, not this.

Each function was traced on a specimen. *Made of* lists the ops of its graph, but no constants,
broadcasts and reshapes. *Derivative*: *any order*, forward, reverse and mixed; *zero almost
everywhere*, of steps; *none*, where results are no floats or do not depend on the arguments;
*refused*, an error unless it is under `ebm.stop_gradient`.
`array`, `zeros`, `eye` and their kin are traced where `like=x` names a traced array.
What differs from NumPy is in [numpy.md](numpy.md).
"""


def section(title: str, entries: list[Entry]) -> str:
    rows = [
        f"| `{e.name}` | {e.kind} | {e.ops or '-'} | {e.derivative} |"
        for e in sorted(entries, key=lambda e: e.name.lower())
    ]
    head = ["| name | kind | made of | derivative |", "|---|---|---|---|"]
    return "\n".join([f"## {title}", "", *head, *rows, ""])


def page() -> str:
    """The text of coverage.md."""
    functions = {name: numpy_function(name) for name in ebm.supported_functions()}
    ufuncs = {name: f for name, f in functions.items() if isinstance(f, np.ufunc)}
    others = {name: f for name, f in functions.items() if name not in ufuncs}
    by_title = {
        "Functions of elements (`np.`)": [
            entry_of(name, of_arity(f)) for name, f in ufuncs.items()
        ],
        "Functions of arrays (`np.`)": [entry_of(name, f) for name, f in others.items()],
        "Methods and attributes of arrays (`x.`)": list(method_entries()),
        "Functions of the library (`ebm.functional.`)": [
            functional_entry(name) for name in functional.__all__
        ],
    }
    count = sum(len(entries) for entries in by_title.values())
    sections = [section(title, entries) for title, entries in by_title.items()]
    return "\n".join([HEAD, f"{count} names.\n", *sections])


def of_arity(ufunc: np.ufunc) -> Call:
    """The ufunc with as many arguments as it takes, so that no other form fits."""
    return (lambda x: ufunc(x)) if ufunc.nin == 1 else (lambda x, y: ufunc(x, y))


def plain_call(name: str) -> Call:
    return lambda x: getattr(x, name)()


def method_entries() -> Iterator[Entry]:
    """Of methods that are there to refuse (item, tolist) none."""
    for name in methods():
        call = CALLS.get(f"x.{name}") or plain_call(name)
        try:
            yield examined_by_names(name, call)
        except TypeError as error:
            if "of a traced array" not in str(error):
                raise


def main() -> int:
    """Writes the page, or says whether it is current."""
    text = page()
    if "--check" in sys.argv:
        return int(PAGE.read_text() != text)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
