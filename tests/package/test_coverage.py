"""docs/coverage.md is what docs/coverage.py writes, and it says what derivatives are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ebmlib as ebm
from docs import coverage

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.skipif(not hasattr(np, "matvec"), reason="the page is of NumPy >= 2.2")
def test_the_page_is_current():
    assert coverage.PAGE == DOCS / "coverage.md"
    assert coverage.page() == coverage.PAGE.read_text(), "run python docs/coverage.py"


def test_the_page_has_every_name():
    text = coverage.PAGE.read_text()
    for name in (*ebm.supported_functions(), *ebm.functional.__all__):
        assert f"| `{name}` |" in text


@pytest.mark.parametrize(
    ("call", "kind", "derivative"),
    [
        (lambda x: x * x, "elementwise", "any order"),
        (lambda x: x + x, "elementwise", "any order, zero from order 2"),
        (lambda x: (x > 0) * 2.0, "elementwise", "zero almost everywhere"),
        (lambda x: x > 0, "elementwise", "none: gives bool"),
        (lambda x: np.zeros_like(x), "constant", "none: constant"),
        (lambda x: x.sum(), "reduction", "any order, zero from order 2"),
        (lambda x: x @ x.T, "product", "any order"),
        (lambda x: x.T, "movement", "any order, zero from order 2"),
        (lambda x: x, "identity", "any order, zero from order 2"),
        (lambda x: ebm.stop_gradient(x), "movement", "zero almost everywhere"),
        (lambda x: x.shape, "known when traced", "none"),
    ],
)
def test_what_a_graph_says(call, kind, derivative):
    entry = coverage.examined("f", call, [("float64", (3, 4))])
    assert (entry.kind, entry.derivative) == (kind, derivative)


def test_what_fits_no_form_is_named():
    with pytest.raises(LookupError, match=r"no form fits np\.f: add it to CALLS"):
        coverage.entry_of("f", lambda a, b, c, d: a)
