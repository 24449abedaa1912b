"""The exceptions of ebmlib.

The C core raises these and the built-in ones: ``MemoryError``, ``ValueError``, ``TypeError``
(wrong dtype), ``IndexError``, ``NotImplementedError`` (no kernel), ``OSError``, ``SystemError``
(a bug).
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = [
    "DeviceError",
    "DivergenceWarning",
    "FormatError",
    "NotFittedError",
    "NumericalError",
    "ShapeError",
    "StateError",
]


class ShapeError(ValueError):
    """Shapes do not fit; the message prints them."""


class StateError(RuntimeError):
    """Not possible now: a traced array outside its trace, a name given twice."""


class FormatError(ValueError):
    """A file is damaged, of another kind, or newer; the message names the file and the key."""


class DeviceError(RuntimeError):
    """A device or its driver failed."""


class NumericalError(ArithmeticError):
    """A value that should be finite is not; the message names the step and the term."""


class DivergenceWarning(UserWarning):
    """A training run diverged and was taken back; the message names the step and the term."""


class NotFittedError(ValueError, AttributeError):
    """An estimator was used before ``fit``.

    Where scikit-learn is loaded, what is raised is also its ``NotFittedError``.
    """


def not_fitted(message: str) -> NotFittedError:
    """The error to raise for an estimator that is not fitted."""
    loaded = sys.modules.get("sklearn.exceptions")
    if loaded is None:
        return NotFittedError(message)
    return _joint_class(loaded.NotFittedError)(message)


def _joint_class(theirs: type[Exception]) -> type[NotFittedError]:
    def reduce(self: Any) -> tuple[Any, ...]:
        return not_fitted, self.args

    body = {"__doc__": NotFittedError.__doc__, "__module__": __name__, "__reduce__": reduce}
    return type("NotFittedError", (NotFittedError, theirs), body)
