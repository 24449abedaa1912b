"""Objects that hold parameters: scikit-learn's conventions, without scikit-learn."""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeVar

import numpy as np

__all__ = ["Parameters", "Specification"]

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
            else:
                setattr(self, name, value)
        for outer, changes in nested.items():
            getattr(self, outer).set_params(**changes)
        return self

    def __repr__(self) -> str:
        changed = []
        for name, default in self._defaults().items():
            value = getattr(self, name)
            if not _same(value, default):
                changed.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"


class Specification(Parameters):
    """Parameters and nothing else: equal if the parameters are."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Specification) or type(other) is not type(self):
            return NotImplemented
        mine, theirs = self.get_params(False), other.get_params(False)
        return all(_same(mine[name], theirs[name]) for name in mine)

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))


def _same(a: Any, b: Any) -> bool:
    """Equality that does not trip over arrays, NaN or lists against tuples."""
    if a is b:
        return True
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return False
    return type(a) is type(b) and bool(a == b)
