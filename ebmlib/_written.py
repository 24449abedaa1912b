"""Networks that are Python functions: energies, and generators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._checks import real, whole
from ._function import NOISE, Call, Record, Template, flat
from ._network import Bound, Energy, Generator, Network

__all__ = ["WRITTEN", "Function", "FunctionGenerator", "Written", "written_from_json"]

Self = TypeVar("Self", bound="Written")
Row = tuple[int, ...]


class Written(Network):
    """What all of them share."""

    _holds: ClassVar[str]  # the parameter that is the function
    _of: ClassVar[str]  # what that is a function of

    parameters: Any

    @property
    def _function(self) -> Any:
        return getattr(self, self._holds)

    def _rows(self, row: Row) -> tuple[Row, Row | None]:
        """Shapes of what the function takes, and of what a generator makes, for such data."""
        raise NotImplementedError

    def _facts(self) -> dict[str, Any]:
        """The parameters beside the function and its own."""
        raise NotImplementedError

    @property
    def _call(self) -> Call:
        """The same object as long as the parameters are the same: the core compares it."""
        call: Call | None = vars(self).get("_made")
        if (
            call is None
            or call.function is not self._function
            or call.parameters is not self.parameters
        ):
            self._check()
            call = self._made = Call(self._function, self.parameters)
        return call

    def _check(self) -> None:
        """ValueError or TypeError for a bad parameter."""
        if not callable(self._function):
            raise TypeError(
                f"{type(self).__name__}: {self._holds}: got {type(self._function).__name__}, "
                f"expected a function of {self._of}"
            )
        if not (self.parameters is None or callable(self.parameters)):
            Call(self._function, self.parameters).tree(())

    @property
    def _name(self) -> str:
        function = self._function
        return f"function '{getattr(function, '__name__', type(function).__name__)}'"

    def _spec(self) -> tuple[str, dict[str, Any]]:
        return self._kind, {"build": self._call, "name": self._name, **self._facts()}

    def _starts(self, row: Row, words: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return self._call.arrays(row, np.random.default_rng(words.view(np.uint32)))

    def _shapes(self, row: Row) -> dict[str, Row]:
        """{name: shape} of the parameters for rows of this shape."""
        own = self._function
        dtype = own.dtype if isinstance(own, Template) else np.float32
        rows, made = self._rows(tuple(row))
        found = Record(self._call, rows, dtype, 2, made).found
        return {name: node.shape for name, (node, _) in found.items()}

    def _find_coupled(self, bound: Bound, cure: str) -> None:
        """ValueError if what is made of a row depends on other rows."""
        own = bound.parameters()
        rng = np.random.default_rng(0)
        bound.set_parameters({k: a + rng.uniform(0.1, 0.3, a.shape) for k, a in own.items()})
        near = rng.uniform(0, 1, (5, 4, *self._rows(bound.shape)[0]))  # these have logarithms
        wide = 6 * near - 3
        coupled = any(
            _is_coupled(bound, x, others)
            for x, others in (
                (near[0], near[1:]),
                (wide[0], wide[1:]),
                (near[0], np.full_like(near[1:], np.nan)),  # passes through zeros and maxima
            )
        )
        bound.set_parameters(own)
        if coupled:
            raise ValueError(
                f"{self._name}: its rows depend on one another, expected independent rows "
                f"{cure}"
            )

    def _saved(self: Self, row: Row | None, dtype: DTypeLike) -> Self:
        if isinstance(self._function, Template):
            return self
        if row is None:
            raise ValueError(
                f"{self._name}: it is saved as the text of its graph, which needs the shape of "
                "rows: save the bound network or the fitted estimator"
            )
        rows, made = self._rows(tuple(row))
        template = Template.of(self._name, self._call, rows, np.dtype(dtype), made)
        starts = None
        if self.parameters is not None:
            starts = dict(flat(self._call.tree(tuple(row), np.random.default_rng(0))))
        own = {self._holds: template, "parameters": starts}
        return type(self)(**self.get_params(deep=False) | own)

    def _to_json(self, row: Row | None, dtype: DTypeLike) -> dict[str, Any]:
        """``{"kind", "template", "parameters", "starts", "arrays"}``, "layers" where there are
        some, and the facts of the kind.
        """
        saved = self._saved(row, dtype)
        template = saved._function
        assert isinstance(template, Template)
        arrays = {f"constant.{k}": array for k, array in enumerate(template.constants)}
        if saved.parameters is not None:
            assert isinstance(saved.parameters, Mapping)
            arrays |= {f"start.{name}": array for name, array in saved.parameters.items()}
        layers = {"layers": [list(layer) for layer in template.layers]}
        return {
            "kind": self._kind,
            "template": template.text,
            "parameters": [[name, list(shape)] for name, shape in template.shapes().items()],
            "starts": [list(start) for start in template.starts],
            "arrays": arrays,
            **(layers if template.layers else {}),
        }

    def __repr__(self) -> str:
        function = self._function
        words = [getattr(function, "__name__", type(function).__name__)]
        if callable(self.parameters):
            words.append(f"parameters={getattr(self.parameters, '__name__', '...')}")
        return f"{type(self).__name__}({', '.join([*words, *self._words()])})"

    def _words(self) -> list[str]:
        """What else ``repr`` shows."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_made"}


def _is_coupled(bound: Any, x: NDArray[Any], others: NDArray[Any]) -> bool:
    """Whether what a row of x (n, ...) gives changes where the rest of its batch is that of
    others (n, n, ...); False where the network does not take such numbers.
    """
    try:
        results = bound(x)
        for i in range(len(x)):
            batch = others[i].copy()
            batch[i] = x[i]
            if not np.array_equal(bound(batch)[i], results[i], equal_nan=True):
                return True
    except IndexError:
        return False
    return False


class Function(Written, Energy):
    """A network that is a Python function of its parameters and of rows.

    E(x) = energy(p, x): NumPy code, and `layers`, on rows x (N, ...), that gives (N,).  It is
    traced, so it runs and trains at the speed of the core's own networks.

    Parameters
    ----------
    energy : callable
        ``energy(p, x)``.  It must be pure, and each energy must depend on its own row alone;
        `layers.dropout` drops in the loss that it is trained by, and nowhere else.
    parameters : dict of arrays, callable or None, default None
        What p is.  None: a `layers.Scope`, which the function asks for parameters by name and
        shape.  A dict, which may have dicts in it: a dict of the same keys, with these start
        values.  A callable: ``parameters(rng, row_shape)`` gives such a dict.
    rows_independent : bool, default True
        False: rows are coupled (batch norm), and samplers and estimators refuse the network.
        True is checked when it is bound.
    normalized : bool, default False
        True: the integral of exp(-E) is 1, whatever the parameters are, and log Z is 0.  It is
        not checked.

    Notes
    -----
    Saved, pickled or copied after it was bound or fitted, it is a template: the text of its
    graph, without code.  That works where all sizes are alpha N + beta in the number of rows N,
    and holds for the shape and dtype of rows that it was bound to.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import networks
    >>> def energy(p, x):
    ...     return 0.5 * np.sum(((x - p["mean"]) / p["scale"]) ** 2, axis=1)
    >>> net = networks.Function(energy, {"mean": np.zeros(2), "scale": np.ones(2)})
    >>> net
    Function(energy)
    >>> net.bind(2)(np.array([[1.0, 1.0]]))
    array([1.], dtype=float32)
    """

    _kind = "function"
    _holds = "energy"
    _of = "(p, x)"

    def __init__(
        self,
        energy: Callable[..., Any],
        parameters: Mapping[str, Any] | Callable[..., Any] | None = None,
        *,
        rows_independent: bool = True,
        normalized: bool = False,
    ) -> None:
        self.energy = energy
        self.parameters = parameters
        self.rows_independent = rows_independent
        self.normalized = normalized

    def _rows(self, row: Row) -> tuple[Row, Row | None]:
        return row, None

    def _facts(self) -> dict[str, Any]:
        return {
            "rows_independent": bool(self.rows_independent),
            "normalized": bool(self.normalized),
        }

    def _check_rows(self, bound: Bound) -> None:
        if self.rows_independent:
            self._find_coupled(
                bound,
                "(no batch normalisation, no mean over axis 0); rows_independent=False is for "
                "networks that are only called",
            )

    def _to_json(self, row: Row | None, dtype: DTypeLike) -> dict[str, Any]:
        facts = self._facts()
        if not self.normalized:
            del facts["normalized"]
        return super()._to_json(row, dtype) | facts

    def _words(self) -> list[str]:
        words = [] if self.rows_independent else ["rows_independent=False"]
        return [*words, "normalized=True"] if self.normalized else words


class FunctionGenerator(Written, Generator):
    """A generator that is a Python function of its parameters and of latents.

    x = g(z) + sigma eps with g(z) = generator(p, z): NumPy code, and `layers`, on latents z
    (N, latent), that gives rows (N, ...) of the shape that it is bound to.  It is traced, so it
    runs and trains, in `estimators.VERA`, at the speed of `MLPGenerator`.

    Parameters
    ----------
    generator : callable
        ``generator(p, z)``.  It must be pure, and each row must depend on its own latent alone,
        but for `layers.batch_norm`, which couples rows in training; `layers.dropout` drops
        there.
    latent : int
        The width of z.
    parameters : dict of arrays, callable or None, default None
        What p is, as in `Function`; a callable gets the shape of the rows that are made.
    sigma : float, default 0.1
        Start of the deviation of the noise, which is trained as its logarithm "log_sigma";
        0: no noise.

    Notes
    -----
    Saved, pickled or copied after it was bound or fitted, it is a template, as `Function` is.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import layers, networks
    >>> def ring(p, z):
    ...     h = layers.batch_norm(p, "n0", layers.dense(p, "l0", z, 32))
    ...     h = layers.activate(h, "relu")
    ...     angle, radius = np.split(layers.dense(p, "l1", h, 2, init="relu"), 2, axis=1)
    ...     return np.concatenate([np.cos(angle), np.sin(angle)], axis=1) * (1 + radius)
    >>> g = networks.FunctionGenerator(ring, latent=3).bind(2, random_state=0)
    >>> g.network
    FunctionGenerator(ring, latent=3)
    >>> g.sample(4, random_state=0).shape, round(g.sigma, 3)
    ((4, 2), 0.1)
    """

    _kind = "function_generator"
    _holds = "generator"
    _of = "(p, z)"

    def __init__(
        self,
        generator: Callable[..., Any],
        latent: int,
        parameters: Mapping[str, Any] | Callable[..., Any] | None = None,
        *,
        sigma: float = 0.1,
    ) -> None:
        self.generator = generator
        self.latent = latent
        self.parameters = parameters
        self.sigma = sigma

    def _rows(self, row: Row) -> tuple[Row, Row | None]:
        return (int(self.latent),), row

    def _facts(self) -> dict[str, Any]:
        return {"latent": int(self.latent), "sigma": float(self.sigma)}

    def _check(self) -> None:
        super()._check()
        whole(self.latent, "FunctionGenerator: latent", 1)
        sigma = real(self.sigma, "FunctionGenerator: sigma")
        if not 0 <= sigma < np.inf:
            raise ValueError(
                f"FunctionGenerator: sigma: got {sigma:g}, expected 0 (no noise) or more"
            )

    def _check_rows(self, bound: Bound) -> None:
        self._find_coupled(
            bound, "(no mean over axis 0; layers.batch_norm in the place of functional's)"
        )

    def _shapes(self, row: Row) -> dict[str, Row]:
        return super()._shapes(row) | ({NOISE: ()} if self.sigma > 0 else {})

    def _to_json(self, row: Row | None, dtype: DTypeLike) -> dict[str, Any]:
        return super()._to_json(row, dtype) | self._facts()

    def _words(self) -> list[str]:
        words = [f"latent={self.latent}"]
        return words if self.sigma == 0.1 else [*words, f"sigma={self.sigma!r}"]


# ---- from files ------------------------------------------------------------------------------

WRITTEN: Mapping[str, type[Written]] = {cls._kind: cls for cls in (Function, FunctionGenerator)}
_KNOWN = {"kind", "template", "parameters", "starts"}
_OPTIONAL = {"arrays", "layers"}


def written_from_json(text: dict[str, Any]) -> Network:
    """What ``Written._to_json`` gave; ValueError or TypeError where it did not."""
    if text["kind"] == Function._kind:
        _expect_keys(text, {"rows_independent"}, {"normalized"})
        facts = {name: text.get(name, False) for name in ("rows_independent", "normalized")}
        for name, fact in facts.items():
            if type(fact) is not bool:
                raise TypeError(f"network: function: {name}: expected true or false")
        return Function(*_template(text, None), **facts)
    _expect_keys(text, {"latent", "sigma"}, set())
    latent = whole(text["latent"], "network: latent", 1)
    template, starts = _template(text, latent)
    return FunctionGenerator(template, latent, starts, sigma=real(text["sigma"], "sigma"))


def _expect_keys(text: dict[str, Any], own: set[str], optional: set[str]) -> None:
    known = _KNOWN | own
    if set(text) - _OPTIONAL - optional != known:
        raise ValueError(
            f"network: {text['kind']}: got {sorted(text)}, expected {sorted(known)}"
        )


def _template(text: dict[str, Any], latent: int | None) -> tuple[Template, Any]:
    """The template of a file, of rows or of latents of that width, and its start values."""
    arrays = dict(text.get("arrays", {}))
    constants: list[NDArray[Any]] = []
    while f"constant.{len(constants)}" in arrays:
        constants.append(arrays.pop(f"constant.{len(constants)}"))
    start = {name.removeprefix("start."): array for name, array in arrays.items()}
    if any(not name.startswith("start.") for name in arrays):
        raise ValueError(f"network: {text['kind']}: got arrays {sorted(arrays)}")
    template = Template.checked(
        text["template"],
        text["parameters"],
        text["starts"],
        constants,
        start,
        text.get("layers", []),
        latent,
    )
    return template, start or None
