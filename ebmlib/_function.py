"""Python functions as networks: how they are called, checked, and written down for good.

A function that is saved becomes a template: the text of its graph, in which every number that
grows with the rows N is written ``{alpha N + beta}``.  It is found by tracing the function for
7 and for 11 rows, and must foretell the text for 13.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core import Graph, Node
from ._trace import Trace, as_node, need
from .errors import ShapeError
from .layers import Scope, lookup

Arrays = dict[str, NDArray[Any]]
Row = tuple[int, ...]
Start = tuple[float, float]  # constant, scale: constant + scale * N(0, 1)

_COUNTS = 7, 11, 13  # rows; primes, so that a product with them shows
_MOST = 1 << 28  # elements of an array of 13 rows, in a file: more is no network


class Recorder:
    """What `_core.Scope` is to a build in C, for a graph of its own: parameters are inputs."""

    def __init__(self, graph: Graph, dtype: Any) -> None:
        self.graph, self.dtype = graph, dtype
        self.found: dict[str, tuple[Node, Start]] = {}

    def param(self, name: str, shape: Sequence[int], constant: float, scale: float) -> Any:
        node = self.graph.input(f"params.{name}", self.dtype, tuple(shape), False)
        self.found.setdefault(name, (node, (constant, scale)))
        return node


class Call:
    """A network function as the core calls it: with the scope and the rows.

    energy: function(p, x); parameters: as `networks.Function` has it.
    """

    def __init__(self, energy: Callable[..., Any], parameters: Any) -> None:
        self.energy, self.parameters = energy, parameters
        self._shapes: dict[Row, Mapping[str, Any]] = {}

    def __call__(self, scope: Any, x: Any) -> Any:
        if self.parameters is None:
            return self.energy(Scope(scope), x)
        return self.energy(_nodes(scope, self.tree(x.shape[1:]), ""), x)

    def tree(self, row: Row, rng: np.random.Generator | None = None) -> Mapping[str, Any]:
        """The given start values, or what a function of (rng, row) makes of them."""
        if not callable(self.parameters):
            return _checked(self.parameters)
        if rng is not None:
            return _checked(self.parameters(rng, row))
        if row not in self._shapes:
            self._shapes[row] = self.tree(row, np.random.default_rng(0))
        return self._shapes[row]

    def arrays(self, row: Row, rng: np.random.Generator) -> Arrays:
        """Start values that are written over what the core draws."""
        if self.parameters is None:
            return {}
        return dict(flat(self.tree(row, rng)))


def _checked(tree: Any) -> Mapping[str, Any]:
    if not isinstance(tree, Mapping):
        raise TypeError(f"parameters: got {type(tree).__name__}, expected a dict of arrays")
    names = [name for name, _ in flat(tree)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"parameters: {twice[0]!r} stands there twice")
    return tree


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """(name, array) of a dict of dicts, names joined with dots."""
    for key, value in tree.items():
        if not isinstance(key, str):
            raise TypeError(f"parameters: got the name {key!r}, expected a word")
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"parameter '{prefix}{key}': got {array.dtype}, expected numbers")
        yield prefix + key, array


def _nodes(scope: Any, tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        key: _nodes(scope, value, f"{prefix}{key}.")
        if isinstance(value, Mapping)
        else scope.param(prefix + key, np.shape(value), 0.0, 0.0)
        for key, value in tree.items()
    }


# ---- tracing ---------------------------------------------------------------------------------


class Record:
    """The graph of a call for n rows: its result, parameters and constants."""

    def __init__(self, call: Call, row: Row, dtype: Any, n: int) -> None:
        graph = Graph()
        recorder = Recorder(graph, dtype)
        x = graph.input("x", dtype, (n, *row), False)
        with Trace(graph, dtype=np.dtype(dtype)):
            energy = as_node(call(recorder, x))
        self.graph, self.outs, self.found = graph, [energy], recorder.found

    def text(self) -> str:
        """The graph with all of its inputs, in order, whether they are used or not."""
        nodes = [node for _, node, _ in self.graph.inputs]
        lines = self.graph.print([*self.outs, *nodes]).splitlines()
        return "\n".join([*lines[:-1], " ".join(lines[-1].split()[:2])]) + "\n"

    def constants(self) -> list[NDArray[Any]]:
        return [np.array(array) for _, _, array in self.graph.inputs if array is not None]


# ---- templates -------------------------------------------------------------------------------

_NUMBER = re.compile(r"(?<![\w.%-])-?\d+(?![\w.])")
_FIELD = re.compile(r"\{(-?\d{1,18}) N \+ (-?\d{1,18})\}")


def make_template(name: str, texts: Sequence[str]) -> str:
    """The template of the texts for 7, 11 and 13 rows; ValueError if they are no family."""
    first, second, third = texts
    places = [list(_NUMBER.finditer(text)) for text in (first, second)]
    skeletons = [_NUMBER.sub("#", text) for text in (first, second)]
    if skeletons[0] != skeletons[1]:
        raise _no_template(name, first, second)
    pieces, at = [], 0
    for a, b in zip(*places, strict=True):
        pieces += [first[at : a.start()], _affine(int(a[0]), int(b[0])) or a[0]]
        at = a.end()
    template = "".join([*pieces, first[at:]])
    if fill_template(template, _COUNTS[2]) != third:
        raise _no_template(name, second, third)
    return template


def _affine(a: int, b: int) -> str | None:
    """The number that is a for 7 rows and b for 11; None where it is constant."""
    alpha, rest = divmod(b - a, _COUNTS[1] - _COUNTS[0])
    if a == b or rest:
        return None  # a wrong constant shows at 13 rows
    return f"{{{alpha} N + {a - alpha * _COUNTS[0]}}}"


def _no_template(name: str, one: str, other: str) -> ValueError:
    lines = zip(one.splitlines(), other.splitlines(), strict=False)
    different = ((a, b) for a, b in lines if _NUMBER.sub("#", a) != _NUMBER.sub("#", b))
    a, b = next(different, ("", ""))
    where = f": {a.strip()!r} became {b.strip()!r}" if a else ""
    return ValueError(
        f"{name} cannot be written down for any number of rows: its graphs for 7, 11 and 13 "
        f"rows are not one of sizes alpha N + beta{where}"
    )


def fill_template(template: str, n: int) -> str:
    """The text for n rows."""
    return _FIELD.sub(lambda match: str(int(match[1]) * n + int(match[2])), template)


class Template:
    """A network function that was saved: text instead of code.  Called as the function was."""

    def __init__(self, text: str, names: Sequence[str], starts: Any, constants: Any) -> None:
        self.text = text
        self.names = list(names)
        self.starts = list(starts)
        self.constants = list(constants)
        self.__name__ = "saved"

    @classmethod
    def of(cls, name: str, call: Call, row: Row, dtype: Any) -> Template:
        """Of a network function, for rows of this shape and dtype."""
        if isinstance(call.energy, Template):
            return call.energy
        records = [Record(call, row, dtype, n) for n in _COUNTS]
        constants = [record.constants() for record in records]
        for one, other in ((constants[0], constants[1]), (constants[1], constants[2])):
            if [c.tobytes() for c in one] != [c.tobytes() for c in other]:
                raise ValueError(
                    f"{name} cannot be written down for any number of rows: an array that it "
                    "closes over, or makes, depends on the number of rows"
                )
        text = make_template(name, [record.text() for record in records])
        found = records[0].found
        starts = [start for _, start in found.values()]
        return cls(text, list(found), starts, constants[0])

    def __call__(self, p: Any, x: Any) -> Any:
        graph, (energy,) = self._graph(x.shape[0])
        params = iter(
            lookup(p, name, node.shape, start)
            for name, node, start in zip(
                self.names, self._params(graph), self.starts, strict=True
            )
        )
        constants = iter(self.constants)
        given = [
            as_node(x if name == "x" else next(constants) if name is None else next(params))
            for name, _, _ in graph.inputs
        ]
        own = graph.inputs[0][1]
        if x.shape != own.shape or x.dtype != own.dtype:
            raise ShapeError(
                f"saved function: got rows {x.dtype} {x.shape[1:]}, expected those that it was "
                f"saved for, {own.dtype} {own.shape[1:]}"
            )
        return need().graph.inline(graph, [energy], given)[0]

    def _graph(self, n: int) -> tuple[Graph, list[Any]]:
        return Graph.parse(fill_template(self.text, n))

    @staticmethod
    def _params(graph: Graph) -> list[Any]:
        return [node for name, node, _ in graph.inputs if name not in (None, "x")]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its rows."""
        dtype: np.dtype[Any] = self._graph(2)[0].inputs[0][1].dtype
        return dtype

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """{name: shape} of the parameters."""
        nodes = self._params(self._graph(2)[0])
        return {name: node.shape for name, node in zip(self.names, nodes, strict=True)}

    @classmethod
    def checked(
        cls, text: Any, parameters: Any, starts: Any, constants: Sequence[Any], start: Arrays
    ) -> Template:
        """Of what a file holds; ValueError or TypeError where that is no network function."""
        if not isinstance(text, str) or not isinstance(parameters, list):
            raise TypeError("template: expected a text, and a list of parameters")
        template = cls(text, [name for name, _ in parameters], _starts(starts), constants)
        template._check()
        shapes = template.shapes()
        if [[name, list(shape)] for name, shape in shapes.items()] != parameters:
            raise ValueError(f"template: parameters: got {parameters}, expected {shapes}")
        if len(template.starts) != len(parameters):
            raise ValueError("template: starts: expected one for each parameter")
        if start and {name: np.shape(array) for name, array in start.items()} != shapes:
            raise ValueError("template: start values are not those of the parameters")
        return template

    def _check(self) -> None:
        """ValueError unless the text is a network function, for 1, 2 and 13 rows."""
        for n in (1, 2, _COUNTS[2]):
            text = fill_template(self.text, n)
            graph, outs = Graph.parse(text)
            _check_sizes(text)
            names = [name for name, _, _ in graph.inputs]
            wanted = ["x", *(f"params.{name}" for name in self.names)]
            if [name for name in names if name is not None] != wanted:
                raise ValueError(f"template: got the inputs {names}, expected {wanted}")
            unnamed = [node for name, node, _ in graph.inputs if name is None]
            if [(c.dtype, c.shape) for c in self.constants] != [
                (node.dtype, node.shape) for node in unnamed
            ]:
                raise ValueError("template: its constants are not those that came with it")
            x = graph.inputs[0][1]
            if (
                names[0] != "x"
                or len(outs) != 1
                or x.shape[:1] != (n,)
                or outs[0].shape != (n,)
            ):
                raise ValueError("template: expected one energy for each row")
            if outs[0].dtype != x.dtype or x.dtype.kind != "f":
                raise ValueError(f"template: got {outs[0].dtype} energies of {x.dtype} rows")


def _starts(given: Any) -> list[Start]:
    good = isinstance(given, list) and all(
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(type(v) in (int, float) and math.isfinite(v) for v in pair)
        for pair in given
    )
    if not good:
        raise ValueError("template: starts: expected pairs of finite numbers")
    return [(float(constant), float(scale)) for constant, scale in given]


_SHAPE = re.compile(r"^ *%\d+ = \w+ \w+ \(([^)]*)\)", re.M)


def _check_sizes(text: str) -> None:
    """ValueError for an array that no network has: nothing of that size is allocated."""
    for match in _SHAPE.finditer(text):
        sizes = [int(size) for size in match[1].replace(" ", "").split(",") if size]
        if math.prod(sizes) > _MOST:
            raise ValueError(
                f"template: got an array of shape ({match[1]}), which is too large"
            )
