"""One wrong call, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Call = Callable[[], Any]


class Case(NamedTuple):
    """A wrong call of a public function, and a right one that must give the same around it."""

    name: str  # of the function; a method is Class.method, by the class that defines it
    good: Call
    bad: Call
    error: type[Exception]
    message: str  # what the whole message must match


def cases(name: str, good: Call, *rows: tuple[Call, type[Exception], str]) -> list[Case]:
    """The cases of one function: (wrong call, error, message) each."""
    return [Case(name, good, *row) for row in rows]
