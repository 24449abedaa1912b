"""Python functions as networks: how they are called, checked, and written down for good.

A function that is saved becomes a template: the text of its graph, in which every number that
grows with the rows N is written ``{alpha N + beta}``.  It is found by tracing the function for
7 and for 11 rows, and must foretell the text for 13.  Layers that training sees in another way
are not in the text: what goes into each is one more result, and what comes out one more input.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import real
from ._core import Graph, Node, Plan
from ._trace import Trace, as_node, need
from .errors import ShapeError
from .layers import NORM, Given, Scope, batch_norm, dropout, kept_norm, lookup

Arrays = dict[str, NDArray[Any]]
Row = tuple[int, ...]
Start = tuple[float, float]  # constant, scale: constant + scale * N(0, 1)
Layer = tuple[str, str, float]  # kind, name, rate: one that training sees in another way

NOISE = "log_sigma"  # of a generator, beside what its function asks for
_COUNTS = 7, 11, 13  # rows; primes, so that a product with them shows
_MOST = 1 << 28  # elements of an array of 13 rows, in a file: more is no network


class Recorder:
    """What `_core.Scope` is to a build in C, for a graph of its own: parameters are inputs.

    So is what comes out of a layer that training sees in another way (batch norm, dropout):
    whoever builds the network makes it of what went in.
    """

    def __init__(self, graph: Graph, dtype: Any, row: Row | None = None) -> None:
        self.graph, self.dtype, self.row = graph, dtype, row
        self.found: dict[str, tuple[Any, Start]] = {}
        self.layers: list[Layer] = []
        self.into: list[Node] = []  # of each layer

    def param(self, name: str, shape: Sequence[int], constant: float, scale: float) -> Any:
        if name == NOISE and self.row is not None:
            raise ValueError(
                f"parameter '{NOISE}': it is that of the noise, expected another name"
            )
        if name not in self.found:
            node = self.graph.input(f"params.{name}", self.dtype, tuple(shape), False)
            self.found[name] = node, (constant, scale)
        node, _ = self.found[name]
        if node.shape != tuple(shape):
            raise ShapeError(f"parameter '{name}': got {tuple(shape)}, expected {node.shape}")
        return node

    def batch_norm(self, name: str, x: Any) -> Any:
        for leaf, start in NORM.items():
            self.param(f"{name}.{leaf}", x.shape[-1:], start, 0.0)
        return self._layer(("batch_norm", name, 0.0), x)

    def dropout(self, name: str, x: Any, rate: float) -> Any:
        return self._layer(("dropout", name, rate), x)

    def _layer(self, layer: Layer, x: Any) -> Any:
        kind, name, _ = layer
        if x.graph is not self.graph:
            raise ValueError(
                f"layer '{name}': got rows of a step of a repeat, expected it outside of loops"
            )
        if layer[:2] in [known[:2] for known in self.layers]:
            raise ValueError(f"{kind} '{name}': it stands there twice, expected two names")
        self.layers.append(layer)
        self.into.append(x)
        return self.graph.input(f"layer.{len(self.layers) - 1}", x.dtype, x.shape, False)


class Evaluation(Recorder):
    """One that makes the layers as they are outside of training."""

    def batch_norm(self, name: str, x: Any) -> Any:
        shape = x.shape[-1:]
        return kept_norm(
            x, *(self.param(f"{name}.{leaf}", shape, v, 0.0) for leaf, v in NORM.items())
        )

    def dropout(self, name: str, x: Any, rate: float) -> Any:
        return x


class Call:
    """A network function as the core calls it: with the scope, and rows or latents.

    function: of (p, x); parameters: as `networks.Function` has it.
    """

    def __init__(self, function: Callable[..., Any], parameters: Any) -> None:
        self.function, self.parameters = function, parameters
        self._shapes: dict[Row, Mapping[str, Any]] = {}

    def __call__(self, scope: Any, x: Any) -> Any:
        if self.parameters is None:
            return self.function(Scope(scope), x)
        row = x.shape[1:] if scope.row is None else scope.row
        return self.function(_nodes(scope, self.tree(row), ""), x)

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


def _nodes(scope: Any, tree: Mapping[str, Any], prefix: str) -> Given:
    nodes = {
        key: _nodes(scope, value, f"{prefix}{key}.")
        if isinstance(value, Mapping)
        else scope.param(prefix + key, np.shape(value), 0.0, 0.0)
        for key, value in tree.items()
    }
    return Given(nodes, scope, prefix)


# ---- tracing ---------------------------------------------------------------------------------


class Record:
    """The graph of a call for n rows: its result, parameters, constants and layers.

    row: of what the function takes; made: of what it makes, of a generator.
    """

    def __init__(
        self,
        call: Call,
        row: Row,
        dtype: Any,
        n: int,
        made: Row | None = None,
        recorder: type[Recorder] = Recorder,
    ) -> None:
        graph = Graph()
        scope = recorder(graph, dtype, made)
        x = graph.input("x", dtype, (n, *row), False)
        with Trace(graph, dtype=np.dtype(dtype)):
            result = as_node(call(scope, x))
        self.graph, self.outs, self.found = graph, [result, *scope.into], scope.found
        self.layers = scope.layers

    def text(self) -> str:
        """The graph with all of its inputs, in order, whether they are used or not."""
        nodes = [node for _, node, _ in self.graph.inputs]
        lines = self.graph.print([*self.outs, *nodes]).splitlines()
        kept = lines[-1].split()[: 1 + len(self.outs)]
        return "\n".join([*lines[:-1], " ".join(kept)]) + "\n"

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

    def __init__(
        self,
        text: str,
        names: Sequence[str],
        starts: Any,
        constants: Any,
        layers: Sequence[Layer] = (),
    ) -> None:
        self.text = text
        self.names = list(names)
        self.starts = list(starts)
        self.constants = list(constants)
        self.layers = list(layers)
        self.__name__ = "saved"

    @classmethod
    def of(cls, name: str, call: Call, row: Row, dtype: Any, made: Row | None) -> Template:
        """Of a network function of rows of this shape and dtype; made: as of `Record`."""
        if isinstance(call.function, Template):
            return call.function
        records = [Record(call, row, dtype, n, made) for n in _COUNTS]
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
        template = cls(text, list(found), starts, constants[0], records[0].layers)
        if template.layers and not _same_evaluation(call, template, row, dtype, made):
            kind, layer, _ = template.layers[0]
            raise ValueError(
                f"{name} cannot be written down: it takes a derivative through {kind} "
                f"'{layer}', or another layer that training sees in another way"
            )
        return template

    def __call__(self, p: Any, x: Any) -> Any:
        graph, outs = self._graph(x.shape[0])
        given = self._given(graph, p, x)
        own = graph.inputs[0][1]
        if x.shape != own.shape or x.dtype != own.dtype:
            raise ShapeError(
                f"saved function: got rows {x.dtype} {x.shape[1:]}, expected those that it was "
                f"saved for, {own.dtype} {own.shape[1:]}"
            )
        places = [k for k, (name, _, _) in enumerate(graph.inputs) if _is_layer(name)]
        made = [
            (place, out, functools.partial(_apply, layer, p))
            for layer, place, out in zip(self.layers, places, outs[1:], strict=True)
        ]
        return need().graph.inline(graph, outs[:1], given, made)[0]

    def _given(self, graph: Graph, p: Any, x: Any) -> list[Any]:
        """A node for each input, None for what layers make."""
        params = iter(
            lookup(p, name, node.shape, start)
            for name, node, start in zip(
                self.names, self._params(graph), self.starts, strict=True
            )
        )
        constants = iter(self.constants)
        values = (
            x if name == "x" else next(constants if name is None else params)
            for name, _, _ in graph.inputs
            if not _is_layer(name)
        )
        return [
            None if _is_layer(name) else as_node(next(values)) for name, _, _ in graph.inputs
        ]

    def _graph(self, n: int) -> tuple[Graph, list[Any]]:
        return Graph.parse(fill_template(self.text, n))

    @staticmethod
    def _params(graph: Graph) -> list[Any]:
        return [
            node
            for name, node, _ in graph.inputs
            if name not in (None, "x") and not _is_layer(name)
        ]

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
        cls,
        text: Any,
        parameters: Any,
        starts: Any,
        constants: Sequence[Any],
        start: Arrays,
        layers: Any,
        latent: int | None,
    ) -> Template:
        """Of what a file holds; ValueError or TypeError where that is no network function, of
        rows or of latents of that width.
        """
        if not isinstance(text, str) or not isinstance(parameters, list):
            raise TypeError("template: expected a text, and a list of parameters")
        template = cls(
            text,
            [name for name, _ in parameters],
            _starts(starts),
            constants,
            _layers(layers, [name for name, _ in parameters]),
        )
        template._check(latent)
        shapes = template.shapes()
        if [[name, list(shape)] for name, shape in shapes.items()] != parameters:
            raise ValueError(f"template: parameters: got {parameters}, expected {shapes}")
        if len(template.starts) != len(parameters):
            raise ValueError("template: starts: expected one for each parameter")
        if start and {name: np.shape(array) for name, array in start.items()} != shapes:
            raise ValueError("template: start values are not those of the parameters")
        return template

    def _check(self, latent: int | None) -> None:
        """ValueError unless the text is a network function, for 1, 2 and 13 rows."""
        for n in (1, 2, _COUNTS[2]):
            text = fill_template(self.text, n)
            graph, outs = Graph.parse(text)
            _check_sizes(text)
            names = [name for name, _, _ in graph.inputs]
            wanted = ["x", *(f"params.{name}" for name in self.names)]
            named = [name for name in names if name is not None]
            if [name for name in named if not _is_layer(name)] != wanted:
                raise ValueError(f"template: got the inputs {names}, expected {wanted}")
            self._check_layers(graph, outs)
            unnamed = [node for name, node, _ in graph.inputs if name is None]
            if [(c.dtype, c.shape) for c in self.constants] != [
                (node.dtype, node.shape) for node in unnamed
            ]:
                raise ValueError("template: its constants are not those that came with it")
            x = graph.inputs[0][1]
            if (
                names[0] != "x"
                or x.shape[:1] != (n,)
                or outs[0].shape[:1] != (n,)
                or (latent is None and outs[0].shape != (n,))
                or (latent is not None and (x.shape != (n, latent) or outs[0].ndim < 2))
            ):
                what = "energy" if latent is None else "row"
                raise ValueError(f"template: expected one {what} for each row")
            if outs[0].dtype != x.dtype or x.dtype.kind != "f":
                raise ValueError(f"template: got {outs[0].dtype} results of {x.dtype} rows")

    def _check_layers(self, graph: Graph, outs: Sequence[Node]) -> None:
        """ValueError unless each layer is made of what there is before it."""
        made = {name: node for name, node, _ in graph.inputs if _is_layer(name)}
        if len(outs) != 1 + len(self.layers) or list(made) != [
            f"layer.{k}" for k in range(len(self.layers))
        ]:
            raise ValueError("template: its layers are not those that came with it")
        for k, into in enumerate(outs[1:]):
            own = made[f"layer.{k}"]
            if (own.dtype, own.shape) != (into.dtype, into.shape) or into.ndim < 2:
                raise ValueError(f"template: layer {k}: its rows are of another shape")
            known = re.findall(r'"layer\.(\d+)"', graph.print([into]))
            if any(int(number) >= k for number in known):
                raise ValueError(f"template: layer {k}: it is made of what comes later")


def _same_evaluation(
    call: Call, template: Template, row: Row, dtype: Any, made: Row | None
) -> bool:
    """Whether the two give the same, outside of training, at some rows and parameters."""
    rng = np.random.default_rng(0)
    given: dict[str, NDArray[Any]] = {}
    results: list[NDArray[Any]] = []
    for way in (call, Call(template, None)):
        record = Record(way, row, dtype, _COUNTS[0], made, Evaluation)
        for name, node, array in record.graph.inputs:
            if array is None and name is not None and name not in given:
                given[name] = rng.uniform(0.1, 0.9, node.shape).astype(dtype)
        plan = Plan(record.graph, record.outs)
        inputs = [
            given[name] for name, _, array in record.graph.inputs if array is None and name
        ]
        results += plan(*inputs)
    return np.allclose(results[0], results[1], rtol=1e-3, equal_nan=True)


def _apply(layer: Layer, p: Any, x: Any) -> Any:
    kind, name, rate = layer
    return as_node(
        batch_norm(p, name, x) if kind == "batch_norm" else dropout(p, name, x, rate)
    )


def _is_layer(name: str | None) -> bool:
    return name is not None and name.startswith("layer.")


def _layers(given: Any, names: Sequence[str]) -> list[Layer]:
    """The layers of a file, whose parameters have these names."""
    found: list[Layer] = []
    if not isinstance(given, list):
        raise TypeError("template: layers: expected a list")
    for layer in given:
        if not isinstance(layer, list) or len(layer) != 3 or not isinstance(layer[1], str):
            raise ValueError("template: layers: expected (kind, name, rate) of each")
        kind, name, rate = layer[0], layer[1], real(layer[2], "template: layers: rate")
        if kind not in ("batch_norm", "dropout") or not 0 <= rate < 1:
            raise ValueError(f"template: layers: got {layer}, expected batch_norm or dropout")
        own = [f"{name}.{leaf}" for leaf in NORM] if kind == "batch_norm" else []
        if not set(own) <= set(names) or (kind, name) in [known[:2] for known in found]:
            raise ValueError(f"template: layers: got {layer} without parameters, or twice")
        found.append((kind, name, rate))
    return found


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
