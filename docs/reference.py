"""A Sphinx extension: the pages of the API reference, written from what the package offers.

A public module is one that stands in ``ebmlib.__all__``, a public name one that stands in the
``__all__`` of the package or of such a module.  Each module has a page, docs/api/<module>.rst,
with its docstring and an entry for each name.  A name that has no entry when all pages are read
is an error.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import ebmlib

logger = logging.getLogger(__name__)


def modules() -> list[str]:
    """The package and its public modules."""
    offered = {name: getattr(ebmlib, name) for name in ebmlib.__all__}
    return ["ebmlib", *(m.__name__ for m in offered.values() if inspect.ismodule(m))]


def names(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public names of a module, each with its object: functions, then classes."""
    things = [(name, getattr(module, name)) for name in module.__all__]
    for name, thing in sorted(things, key=lambda pair: inspect.isclass(pair[1])):
        if not inspect.ismodule(thing):
            yield name, thing


def entry(name: str, thing: Any) -> str:
    """One entry of a page."""
    if not callable(thing):
        return f".. autodata:: {name}\n"
    if not inspect.isclass(thing):
        return f".. autofunction:: {name}\n"
    if issubclass(thing, BaseException):
        return f".. autoexception:: {name}\n"
    members = "" if issubclass(thing, tuple) else "   :members:\n   :inherited-members:\n"
    return f".. autoclass:: {name}\n{members}"


def page(module: ModuleType) -> str:
    """The page of a module."""
    title = module.__name__
    head = f"{title}\n{'=' * len(title)}\n\n.. automodule:: {title}\n\n"
    head += f".. currentmodule:: {title}\n"
    return "\n".join([head, *(entry(name, thing) for name, thing in names(module))])


def write_pages(app: Sphinx) -> None:
    """Write docs/api; pages that have not changed are left as they are."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    pages = {name: page(importlib.import_module(name)) for name in modules()}
    listed = "\n".join(f"   {name}" for name in pages)
    pages["index"] = (
        f"API reference\n=============\n\n.. toctree::\n   :maxdepth: 2\n\n{listed}\n"
    )
    for old in folder.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def missing(env: BuildEnvironment) -> list[str]:
    """The public names without an entry."""
    known = env.domains.python_domain.objects
    return [
        f"{module}.{name}"
        for module in modules()
        for name, _ in names(importlib.import_module(module))
        if f"{module}.{name}" not in known
    ]


def check(app: Sphinx, env: BuildEnvironment) -> None:
    for name in missing(env):
        logger.warning("the reference has no entry for %s", name)


def escape_bars(app: Sphinx, what: str, name: str, thing: Any, opts: Any, lines: Any) -> None:
    """Keep the bars of formulas, |x| say, which reStructuredText takes for substitutions."""
    example = False
    for k, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            parts = re.split(r"(``.*?``)", line)
            kept = [p if p.startswith("``") else p.replace("|", r"\|") for p in parts]
            lines[k] = "".join(kept)


def find_in_package(app: Sphinx, env: BuildEnvironment, node: Any, content: Any) -> Any:
    """A link to `networks.MLP`, as docstrings of all modules may write it."""
    target = f"ebmlib.{node.get('reftarget')}"
    if node.get("refdomain") != "py" or target not in env.domains.python_domain.objects:
        return None
    place = env, node["refdoc"], app.builder
    return env.domains.python_domain.resolve_xref(*place, "obj", target, node, content)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("env-check-consistency", check)
    app.connect("missing-reference", find_in_package)
    return {"parallel_read_safe": True}
