"""The API reference has every public name; the pages themselves are built by `make docs`."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import ebmlib

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def reference():
    """docs/reference.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_in_a_file_of_the_package_is_in_the_reference(reference):
    """Each module without an underscore has a page, or all its names are the package's."""
    listed = reference.modules()
    for file in pkgutil.iter_modules(ebmlib.__path__):
        name = f"ebmlib.{file.name}"
        if not file.name.startswith("_") and name not in listed:
            offered = importlib.import_module(name).__all__
            assert set(offered) <= set(ebmlib.__all__), name


def test_each_name_has_an_entry(reference):
    for name in reference.modules():
        module = importlib.import_module(name)
        lines = reference.page(module).splitlines()
        entries = [line.split(":: ")[1] for line in lines if line.startswith(".. auto")]
        assert entries == [name, *(public for public, _ in reference.names(module))]


def test_a_name_without_an_entry_is_found(reference):
    known = {
        f"{name}.{public}"
        for name in reference.modules()
        for public, _ in reference.names(importlib.import_module(name))
    }
    assert "ebmlib.grad" in known
    assert "ebmlib.estimators.PCD" in known
    for lost in (set(), {"ebmlib.grad"}, {"ebmlib.estimators.PCD", "ebmlib.random.key"}):
        domains = SimpleNamespace(python_domain=SimpleNamespace(objects=known - lost))
        assert set(reference.missing(SimpleNamespace(domains=domains))) == lost
