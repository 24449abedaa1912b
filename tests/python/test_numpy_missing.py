"""What cannot be traced says what to use instead, and what it says works."""

import re

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _missing

A = np.random.default_rng(0).standard_normal((3, 4))


def raises(function, words, error=TypeError):
    with pytest.raises(error, match=words) as caught:
        ebm.jit(function)(A)
    assert "\n" not in str(caught.value)


CALLS = {
    "nonzero": lambda x: np.nonzero(x),
    "argwhere": lambda x: np.argwhere(x > 0),
    "extract": lambda x: np.extract(x > 0, x),
    "unique": lambda x: np.unique(x),
    "unique_values": lambda x: np.unique_values(x),
    "histogram": lambda x: np.histogram(x),
    "bincount": lambda x: np.bincount(x.astype(int)),
    "trim_zeros": lambda x: np.trim_zeros(x),
    "union1d": lambda x: np.union1d(x, x),
    "compress": lambda x: np.compress([True, False], x, 0),
    "copyto": lambda x: np.copyto(x, 1.0),
    "put": lambda x: np.put(x, [0], 1.0),
    "putmask": lambda x: np.putmask(x, x > 0, 1.0),
    "place": lambda x: np.place(x, x > 0, 1.0),
    "put_along_axis": lambda x: np.put_along_axis(x, np.zeros((3, 1), int), 1.0, 1),
    "fill_diagonal": lambda x: np.fill_diagonal(x, 1.0),
    "fft.fft": lambda x: np.fft.fft(x),
    "angle": lambda x: np.angle(x),
    "roots": lambda x: np.roots(x[0]),
    "linalg.eig": lambda x: np.linalg.eig(x @ x.T),
    "i0": lambda x: np.i0(x),
    "unwrap": lambda x: np.unwrap(x),
    "ldexp": lambda x: np.ldexp(x, 2),
    "frexp": lambda x: np.frexp(x),
    "nextafter": lambda x: np.nextafter(x, 0),
    "gcd": lambda x: np.gcd(x.astype(int), 2),
    "apply_over_axes": lambda x: np.apply_over_axes(np.sum, x, [0]),
    "resize": lambda x: np.resize(x, (6, 6)),
    "geomspace": lambda x: np.geomspace(x[0], x[1]),
    "einsum_path": lambda x: np.einsum_path("ij->i", x),
    "add.reduceat": lambda x: np.add.reduceat(x, [0, 1]),
    "add.at": lambda x: np.add.at(x, [0], 1.0),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    known = _missing.CURES.get(name.split(".")[0] if "unique" not in name else "unique", "")
    raises(CALLS[name], rf"^np\.{re.escape(name)} cannot be traced: {re.escape(known)}")


def test_size_of_the_result():
    for name in ("nonzero", "argwhere", "extract", "unique", "histogram", "bincount"):
        raises(CALLS[name], "the size of the result would depend on values")


def test_near_names():
    """Of what nothing is written, the names that are nearest."""
    raises(lambda x: np.linalg.svd(x), r"near names that work: np\.linalg\.")
    raises(lambda x: np.divide.reduce(x), r"np\.divide\.reduce cannot be traced: near names")


@pytest.mark.parametrize("name", _missing.CURES)
def test_cures_are_of_functions_that_are_missing(name):
    assert name not in ebm.supported_functions()
    if name in ("erf", "erfc", "expit", "log_ndtr"):
        return  # of scipy.special
    place = np
    for part in name.split("."):
        place = getattr(place, part)
    assert callable(place)


@pytest.mark.parametrize("text", sorted({*_missing.CURES.values(), *_missing.METHODS.values()}))
def test_cures_name_what_works(text):
    known = {*ebm.supported_functions(), "finfo"}
    for name in re.findall(r"\bnp\.([a-z_.0-9]+)", text):
        assert name in known, name
    for name in re.findall(r"ebm\.functional\.([a-z_]+)", text):
        assert name in ebm.functional.__all__
    for name in re.findall(r"\bx\.([a-z_]+)", text):
        assert name in ("dtype", "at") or hasattr(ebm.TracedArray, name), name


@pytest.mark.parametrize("name", _missing.METHODS)
def test_methods_that_are_missing(name):
    assert hasattr(np.ndarray, name)
    assert not hasattr(ebm.TracedArray, name)


def test_scipy_says_what_to_use():
    special = pytest.importorskip("scipy.special")
    raises(lambda x: special.erf(x), r"np\.erf cannot be traced: use ebm\.functional\.erf")
    raises(lambda x: special.expit(x), r"use ebm\.functional\.sigmoid")


def test_results_cannot_be_written_elsewhere():
    out = np.empty(4)
    raises(lambda x: np.sum(x, 0, out=out), r"np\.sum: out: got an array, expected None")
    raises(lambda x: x.sum(0, out=out), r"\.sum: out: got an array, expected None")
    raises(lambda x: np.exp(x, out=A), r"np\.exp: .*out=.*write a = a \+ b")
    raises(lambda x: np.clip(x, 0, 1, out=A), r"np\.clip: out: got an array")
    raises(lambda x: np.add.reduce(x, out=out), "out=")
    assert ebm.jit(lambda x: np.sum(x, out=None) + x.sum(out=None))(A).shape == ()


def test_masks_of_ufuncs():
    raises(
        lambda x: np.exp(x, where=x > 0), r"exp: where: .*np\.where\(mask, np\.exp\(\.\.\.\)"
    )
    assert ebm.jit(lambda x: np.exp(x, where=True))(A).shape == (3, 4)


def test_what_would_need_values():
    raises(lambda x: x if np.allclose(x, 0) else -x, r"truth value.*np\.where")
    raises(lambda x: [1][np.argmax(x)], "an index or a size")
    raises(lambda x: np.vectorize(lambda a: a + 1)(x), "np.array or np.asarray of a traced")
    raises(lambda x: np.where(x > 0), r"np\.where\(condition, x, y\)")


def test_writing_says_at():
    def assign(x):
        x[0] = 1.0

    def add(x):
        x[0] += 1.0

    def remove(x):
        del x[0]

    for function in (assign, add):
        raises(function, r"x = x\.at\[index\]\.set\(v\) \(or \.add, .*np\.where")
    raises(remove, "__delitem__", AttributeError)
