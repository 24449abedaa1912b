"""Every public name has a docstring with an example, and the example runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import ebmlib

MODULES = ["ebmlib"] + [
    f"ebmlib.{module.name}"
    for module in pkgutil.iter_modules(ebmlib.__path__)
    if not module.name.startswith("_")
]


def public(module):
    """(name, object) of the functions and classes that a module offers."""
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if callable(thing) and not inspect.ismodule(thing):
            yield name, thing


NAMES = [
    (f"{module}.{name}", thing)
    for module in MODULES
    for name, thing in public(importlib.import_module(module))
]


@pytest.mark.parametrize("module", MODULES)
def test_modules_say_what_is_public(module):
    loaded = importlib.import_module(module)
    assert loaded.__doc__
    assert getattr(loaded, "__all__", None)


@pytest.mark.parametrize(("name", "thing"), NAMES, ids=[name for name, _ in NAMES])
def test_examples(name, thing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert thing.__doc__, f"{name} has no docstring"
    tests = doctest.DocTestFinder().find(thing, name, module=False)
    is_error = inspect.isclass(thing) and issubclass(thing, Exception)
    assert is_error or any(test.examples for test in tests), f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    for test in tests:
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) == 2
    program = "".join(blocks)
    assert program.count("max_steps=2_000") == 1
    names: dict[str, object] = {}
    exec(program.replace("max_steps=2_000", "max_steps=3"), names)
    assert names["samples"].shape == (64, 8, 8, 1)
    assert names["gradient"].shape == names["x"].shape
    assert {path.name for path in tmp_path.iterdir()} == {"digits.png", "training.png"}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")
