"""A row is a NumPy function of arrays; what it must be: NumPy's value, shape and dtype in both
float types, and in float64 NumPy's differences of orders 1 and 2 along a line.
"""

import inspect

import numpy as np
import pytest

import ebmlib as ebm

FLOATS = ("float32", "float64")


def row(function, *args, gradient=True, name=None):
    """A test of ``function(*args)``: all arrays among the arguments are traced.

    gradient: False where differences of NumPy's values are no derivatives.
    """
    if name is None:
        lines = inspect.getsource(function) if function.__name__ == "<lambda>" else ""
        name = lines.strip().split("lambda", 1)[-1][:60] or function.__name__
    return pytest.param(function, args, gradient, id=name)


def in_dtype(args, dtype):
    """The arguments with all float arrays in this dtype."""
    return tuple(a.astype(dtype) if is_float(a) else a for a in args)


def is_float(value):
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f"


def expected_dtype(dtype):
    """What a trace has for NumPy's dtype: one kind of integers, no float16."""
    if dtype == np.float16:
        return np.dtype(np.float32)
    return np.dtype(np.int32) if dtype.kind in "iu" and dtype != np.uint8 else dtype


def leaves(value):
    return list(value) if isinstance(value, list | tuple) else [value]


def check(function, args, rtol=None):
    """Traced, the function gives what NumPy gives."""
    expected = leaves(function(*args))
    got = leaves(ebm.jit(lambda *xs: function(*xs))(*args))
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        theirs = np.asarray(theirs)
        assert mine.shape == theirs.shape
        assert mine.dtype == expected_dtype(theirs.dtype)
        single = theirs.dtype in (np.float32, np.float16)
        tolerance = rtol or (2e-3 if theirs.dtype == np.float16 else 2e-5 if single else 1e-13)
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


def check_derivatives(function, args, step=1e-5, step2=2e-4):
    """The first two derivatives of a weighted sum of the results along a line, against central
    differences of NumPy's values.
    """
    rng = np.random.default_rng(1)
    args = in_dtype(args, "float64")
    places = [k for k, a in enumerate(args) if is_float(a)]
    results = [np.asarray(r) for r in leaves(function(*args))]
    if not places or not any(r.dtype.kind == "f" for r in results):
        return
    directions = {k: rng.standard_normal(args[k].shape) for k in places}
    weights = [rng.standard_normal(r.shape) for r in results]

    def along(t):
        given = [a + t * directions[k] if k in directions else a for k, a in enumerate(args)]
        values = zip(leaves(function(*given)), results, weights, strict=True)
        return sum(np.sum(v * w) for v, r, w in values if r.dtype.kind == "f")

    def slope(t):
        return ebm.jvp(along, (t,), (1.0,))[1]

    reverse = float(ebm.grad(along)(0.0))
    second = float(ebm.grad(slope)(0.0))
    first_difference = (along(step) - along(-step)) / (2 * step)
    second_difference = (along(step2) - 2 * along(0.0) + along(-step2)) / step2**2
    scale = 1 + abs(first_difference) + abs(second_difference)
    np.testing.assert_allclose(reverse, first_difference, atol=1e-6 * scale)
    np.testing.assert_allclose(float(slope(0.0)), reverse, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(second, second_difference, atol=2e-5 * scale)
