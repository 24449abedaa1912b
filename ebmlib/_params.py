"""Objects that hold parameters: scikit-learn's conventions, without scikit-learn."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from . import _core
from ._files import Arrays, File, Savable

__all__ = [
    "Parameters",
    "Specification",
    "from_json",
    "from_plain",
    "pack_specification",
    "to_plain",
]

Self = TypeVar("Self", bound="Parameters")


class Parameters:
    """A class whose ``__init__`` stores its arguments, unchanged and under their own names.

    ``get_params``, ``set_params`` and ``__repr__`` are those of scikit-learn's
    ``BaseEstimator``, so that ``clone``, ``GridSearchCV`` and nested names
    (``sampler__step_size``) work.
    """

    @classmethod
    @functools.cache
    def _defaults(cls) -> dict[str, Any]:
        parameters = inspect.signature(cls.__init__).parameters.values()
        return {p.name: p.default for p in parameters if p.name != "self"}

    @classmethod
    def _taken(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Of the ``locals()`` of a subclass's ``__init__``, the arguments of this class's."""
        return {name: given[name] for name in cls._defaults()}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; with ``deep`` also those of parameters, as ``outer__inner``."""
        params: dict[str, Any] = {}
        for name in self._defaults():
            value = getattr(self, name)
            params[name] = value
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                params.update((f"{name}__{k}", v) for k, v in value.get_params().items())
        return params

    def set_params(self: Self, **params: Any) -> Self:
        """Change parameters by name, nested ones too; returns self."""
        known = self._defaults()
        nested: dict[str, dict[str, Any]] = {}
        for name, value in params.items():
            outer, _, inner = name.partition("__")
            if outer not in known:
                raise ValueError(
                    f"Invalid parameter {outer!r} for estimator {self}. "
                    f"Valid parameters are: {sorted(known)!r}."
                )
            if inner:
                nested.setdefault(outer, {})[inner] = value
        for name in params.keys() & known.keys():
            setattr(self, name, params[name])
        for outer, changes in nested.items():
            if not hasattr(getattr(self, outer), "set_params"):
                raise ValueError(
                    f"set_params: {outer}: got {outer}__{min(changes)}, expected a value: "
                    "it has no parameters"
                )
            getattr(self, outer).set_params(**changes)
        return self

    def __repr__(self) -> str:
        changed = []
        for name, default in self._defaults().items():
            value = getattr(self, name)
            if not _same(value, default):
                changed.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"


class Specification(Parameters, Savable):
    """Parameters and nothing else: equal if the parameters are."""

    _family: str  # of the core's tables of options
    _kind: str
    _nested: ClassVar[Mapping[str, type[Specification]]] = {}  # parameters that may be such

    def _spec(self) -> tuple[str, dict[str, Any]]:
        """(kind, options) for the core."""
        return self._kind, self.get_params(deep=False)

    def _check(self) -> None:
        """ValueError or TypeError for a bad option."""
        _core.check_options(self._family, *self._spec())

    def _to_json(self, row: tuple[int, ...] | None, dtype: Any) -> dict[str, Any]:
        """``{"kind", "options"}`` as files have it; with "arrays" {name: array} where arrays
        belong to it.  row, dtype: of the data it is used on, None where there are none yet.
        """
        options = self.get_params(deep=False)
        return {
            "kind": self._kind,
            "options": {
                name: value._to_json(row, dtype)
                if name in self._nested and isinstance(value, Specification)
                else to_plain(value, name)
                for name, value in options.items()
            },
        }

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        self._check()
        text, arrays = pack_specification(self, "specification", None, None)
        return {"specification": text}, arrays

    @classmethod
    def _unpack(cls, file: File) -> Specification:
        file.expect_keys("specification")
        found = cls._from_file(file, "specification", file.get("specification", dict))
        if not isinstance(found, cls):
            raise file.error("specification", f"got {found!r}, expected {cls.__name__}")
        file.expect_arrays({}, file.names("specification"))
        return found

    @classmethod
    def _from_json(cls, text: dict[str, Any]) -> Specification:
        """What ``_to_json`` gave; ValueError or TypeError where it did not."""
        raise NotImplementedError

    @classmethod
    def _from_file(cls, file: File, key: str, text: Any) -> Any:
        """A specification that stands at ``key`` of a file, checked."""
        with file.checking(key):
            if file.names(key):
                text = {**file.typed(key, text, dict), "arrays": file.below(key)}
            found = cls._from_json(text)
            found._check()
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Specification) or type(other) is not type(self):
            return NotImplemented
        mine, theirs = self.get_params(False), other.get_params(False)
        return all(_same(mine[name], theirs[name]) for name in mine)

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))


# ---- in files --------------------------------------------------------------------------------


def pack_specification(
    specification: Specification, key: str, row: tuple[int, ...] | None, dtype: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The text of a specification that is to stand at ``key``, and its arrays by full names."""
    text = specification._to_json(row, dtype)
    arrays = text.pop("arrays", {})
    return text, {f"{key}.{name}": array for name, array in arrays.items()}


def from_json(text: Any, classes: Iterable[type[Specification]]) -> Specification:
    """The specification ``{"kind", "options"}`` of one of the classes."""
    if not isinstance(text, dict) or set(text) != {"kind", "options"}:
        raise ValueError('expected {"kind", "options"} and nothing else')
    kinds = {cls._kind: cls for cls in classes}
    kind, options = text["kind"], text["options"]
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"kind: got {kind!r}, expected one of {sorted(kinds)}")
    cls = kinds[kind]
    if not isinstance(options, dict):
        raise TypeError(f"got {type(options).__name__}, expected parameters by name")
    inner = {
        name: family._from_json(options[name])
        for name, family in cls._nested.items()
        if isinstance(options.get(name), dict)
    }
    plain = {name: value for name, value in options.items() if name not in inner}
    return cls(**inner, **from_plain(plain, cls._defaults()))


def to_plain(value: Any, name: str) -> Any:
    """A parameter as JSON can hold it."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence):
        return [to_plain(item, name) for item in value]
    raise TypeError(
        f"{name}: got {type(value).__name__}, which a file cannot hold: "
        "expected a number, a word or a list of them"
    )


def from_plain(values: Any, known: Collection[str]) -> dict[str, Any]:
    """Parameters from JSON: lists are tuples again; ValueError for an unknown name."""
    if not isinstance(values, dict):
        raise TypeError(f"got {type(values).__name__}, expected parameters by name")
    for name in values:
        if name not in known:
            raise ValueError(f"{name}: unknown, expected one of {sorted(known)}")
    return {name: _tuples(value, name) for name, value in values.items()}


def _tuples(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        raise TypeError(f"{name}: got names and values, expected a number, a word or a list")
    return tuple(_tuples(item, name) for item in value) if isinstance(value, list) else value


def _same(a: Any, b: Any) -> bool:
    """Equality that does not trip over arrays, NaN or lists against tuples."""
    if a is b:
        return True
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return False
    return type(a) is type(b) and bool(a == b)
