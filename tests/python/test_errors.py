"""Every failure is an exception of the right class, with a message that says what to do."""

import pickle
import sys
import types

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core, errors
from ebmlib import functional as F

X = np.ones((3, 4))
CLASSES = {
    "NOMEM": MemoryError,
    "VALUE": ValueError,
    "SHAPE": errors.ShapeError,
    "DTYPE": TypeError,
    "INDEX": IndexError,
    "STATE": errors.StateError,
    "NOTFITTED": errors.NotFittedError,
    "UNSUPPORTED": NotImplementedError,
    "DEVICE": errors.DeviceError,
    "NUMERIC": errors.NumericalError,
    "IO": OSError,
    "FORMAT": errors.FormatError,
    "CANCELLED": KeyboardInterrupt,
    "INTERNAL": SystemError,
}


def test_every_status_has_a_class():
    assert set(_core.testing.status_names()) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_class_and_message(name, monkeypatch):
    monkeypatch.delitem(sys.modules, "sklearn.exceptions", raising=False)
    with pytest.raises(CLASSES[name], match="matmul: bad thing: got 1") as caught:
        _core.testing.raise_status(name, "matmul: bad thing: got 1, expected 2")
    assert caught.type is CLASSES[name]


def test_bases():
    assert issubclass(errors.ShapeError, ValueError)
    assert issubclass(errors.FormatError, ValueError)
    assert issubclass(errors.StateError, RuntimeError)
    assert issubclass(errors.DeviceError, RuntimeError)
    assert issubclass(errors.NumericalError, ArithmeticError)
    assert issubclass(errors.NotFittedError, ValueError)
    assert issubclass(errors.NotFittedError, AttributeError)


def test_not_fitted_is_also_scikit_learns(monkeypatch):
    class NotFittedError(ValueError, AttributeError):
        pass

    fake = types.ModuleType("sklearn.exceptions")
    fake.NotFittedError = NotFittedError
    monkeypatch.setitem(sys.modules, "sklearn.exceptions", fake)
    with pytest.raises(NotFittedError, match="call fit") as caught:
        _core.testing.raise_status("NOTFITTED", "call fit first")
    assert isinstance(caught.value, errors.NotFittedError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, errors.NotFittedError)
    assert str(again) == "call fit first"


# ---- what cannot be traced -------------------------------------------------------------------


def fails(function, *args, error=TypeError, match=r"\S"):
    with pytest.raises(error, match=match):
        ebm.jit(function)(*args)


def test_values_that_are_not_known():
    fails(lambda x: x if x.sum() > 0 else -x, X, match=r"truth value.*np\.where.*ebm\.repeat")
    fails(lambda x: float(x[0, 0]), X, match=r"float\(\) of a traced array")
    fails(lambda x: int(x[0, 0]), X, match=r"int\(\) of a traced array")
    fails(lambda x: [0, 1][x], 1, match="an index or a size")
    fails(lambda x: range(x), 1, match="an index or a size")
    fails(lambda x: np.asarray(x), X, match=r"np\.stack")
    fails(lambda x: np.array([x[0], x[1]]), X, match=r"np\.stack")
    fails(lambda x: x.tolist(), X, match="tolist")
    fails(lambda x: x[0].item(), X, match="item")
    fails(lambda x: 3 in x, X, match="truth value")
    fails(lambda x: ebm.repeat(lambda i, c: c, x, 1.0), 3, match="static_argnums")


def test_missing_functions_name_others():
    fails(lambda x: np.lexsort(x), X, match=r"np\.lexsort cannot be traced")
    fails(lambda x: np.i0(x), X, match=r"np\.i0 cannot be traced")
    fails(lambda x: np.linalg.svd(x), X, match=r"np\.linalg\.svd cannot be traced")
    fails(lambda x: np.divide.reduce(x), X, match=r"np\.divide\.reduce cannot be traced")
    fails(lambda x: np.pad(x, 1, end_values=1), X, match=r"np\.pad\(\) got .* 'end_values'")
    fails(lambda x: np.exp(x, dtype="f4"), X, match=r"np\.exp\(\) got .* 'dtype'")
    assert "linalg.norm" in ebm.supported_functions()


def test_writing_into_traced_arrays():
    def assign(x):
        x[0] = 1.0
        return x

    def in_place(x):
        y = np.ones((3, 4))
        y += x
        return y

    fails(assign, X, match=r"cannot be written into.*x\.at\[index\]\.set\(v\).*np\.where")
    fails(in_place, X, match=r"cannot be written into another array.*a = a \+ b")
    fails(lambda x: np.exp(x, out=np.empty((3, 4))), X, match="out=")


def test_escaped_arrays():
    kept = []
    ebm.jit(lambda x: kept.append(x) or x)(X)
    with pytest.raises(errors.StateError, match="escaped"):
        kept[0] + 1
    with pytest.raises(errors.StateError, match="escaped"):
        ebm.jit(lambda x: x + 1)(kept[0])
    with pytest.raises(errors.StateError, match="escaped"):
        ebm.jit(lambda x: x + kept[0])(X)
    with pytest.raises(errors.StateError, match="escaped"):
        F.relu(kept[0])
    with pytest.raises(errors.StateError, match="escaped"):
        kept[0][0]
    assert kept[0].shape == (3, 4)

    def leaks(x):
        inside = []
        ebm.repeat(lambda i, c: inside.append(c) or c, 3, x)
        return inside[0] + x

    fails(leaks, X, error=errors.StateError, match="repeat, that has ended")


def test_arguments_that_are_no_arrays():
    fails(lambda x: x, "text", match="argument 0: got str, expected an array")
    fails(lambda p: p, {"a": [object()]}, match=r"argument 0\['a'\]\[0\]: got object")
    with pytest.raises(TypeError, match="argument scale: got str"):
        ebm.jit(lambda x, scale: x)(X, scale="big")


@pytest.mark.parametrize("dtype", ["float16", "complex64", "longdouble", "U3", "M8[s]", "O"])
def test_dtypes_that_are_not_supported(dtype):
    x = np.zeros(3, dtype)
    fails(
        lambda x: x, x, match=r"argument 0: dtype .* is not supported: float32, float64, int32"
    )
    fails(lambda y: np.where(y > 0, y, x), X[0, :3], match="dtype .* is not supported")


def test_integers_that_do_not_fit():
    fails(lambda i: i, np.array([2**31]), error=ValueError, match="2147483648 does not fit")
    fails(lambda i: i, np.array([2**63], np.uint64), error=ValueError, match="does not fit")
    fails(lambda x: x + np.int64(2**40), np.int32(1), error=ValueError, match="does not fit")
    fails(lambda x: x[np.array([2**33])], X, error=IndexError, match="out of bounds")


def test_messages_of_the_core_come_through():
    fails(lambda x: x + np.ones(5), X, error=errors.ShapeError, match=r"\(3, 4\) and \(5,\)")
    fails(lambda x: x @ x, X, error=errors.ShapeError, match="matmul")
    fails(
        lambda x: np.concatenate([x, np.ones((2, 3))]),
        X,
        error=errors.ShapeError,
        match="concat",
    )
    fails(lambda x: x.reshape(5, 5), X, error=ValueError, match="reshape")
    fails(lambda x: x.reshape(5, -1), X, error=ValueError, match="reshape")
    fails(lambda x: np.sum(x, axis=2), X, error=np.exceptions.AxisError, match="axis 2")
    fails(lambda x: np.max(x[:0]), X, error=ValueError)
    fails(
        lambda x: x[5],
        X,
        error=IndexError,
        match="index 5 is out of bounds for axis 0 with size 3",
    )
    fails(lambda x: x[0, 0, 0], X, error=IndexError, match="too many indices")
    fails(lambda x: x["a"], X, error=IndexError, match="str")
    fails(lambda x: x[1.5], X, error=IndexError, match="float")
    fails(lambda x: x[x > 0], X, match=r"mask.*np\.where")
    fails(lambda x, i: x[i], X, np.int32(9), error=IndexError)
    fails(lambda x: F.conv(x, x), X, error=ValueError, match="conv")


def test_a_caught_error_leaves_the_trace_usable():
    def f(x):
        with pytest.raises(errors.ShapeError):
            x + np.ones(5)
        with pytest.raises(TypeError):
            bool(x)
        with pytest.raises(ZeroDivisionError):
            ebm.repeat(lambda i, c: 1 / 0, 3, x)
        with pytest.raises(TypeError):
            ebm.repeat(lambda i, c: c > 0, 3, x)
        return x * 2

    np.testing.assert_array_equal(ebm.jit(f)(X), 2 * X)
    assert ebm.jit(lambda x: x + 1)(1.0) == 2


# ---- derivatives -----------------------------------------------------------------------------


def test_what_has_no_gradient():
    with pytest.raises(errors.ShapeError, match=r"grad: .*one number, got shape \(3, 4\).*vjp"):
        ebm.grad(lambda x: x**2)(X)
    with pytest.raises(TypeError, match="one number, got tuple"):
        ebm.grad(lambda x: (x.sum(), 1))(X)
    with pytest.raises(TypeError, match="grad: argument 0 is int32: only floats"):
        ebm.grad(lambda i: i)(3)
    with pytest.raises(TypeError, match=r"argument 1\['n'\] is int32.*astype"):
        ebm.grad(lambda x, p: x.sum(), argnums=1)(X, {"n": np.int32(1)})
    with pytest.raises(TypeError, match="result is int32"):
        ebm.grad(lambda x: np.argmax(x))(X)
    with pytest.raises(TypeError, match=r"vjp: primals\[0\] is bool"):
        ebm.vjp(lambda x: x, X > 0)[1](X)
    with pytest.raises(TypeError, match=r"jvp: result\[1\] is bool"):
        ebm.jvp(lambda x: (x, x > 0), (X,), (X,))
    with pytest.raises(
        ValueError, match="argnums: got 2, expected the position of one of 1 arguments"
    ):
        ebm.grad(lambda x: x, argnums=2)(1.0)
    with pytest.raises(TypeError, match=r"has_aux=True"):
        ebm.grad(lambda x: x, has_aux=True)(1.0)


def test_trees_that_do_not_match():
    with pytest.raises(
        errors.ShapeError, match=r"jvp: tangents: structure \(\*, \*\), expected \(\*,\)"
    ):
        ebm.jvp(np.sin, (X,), (X, X))
    with pytest.raises(
        errors.ShapeError, match=r"jvp: tangents\[0\]: shape \(3,\), expected \(3, 4\)"
    ):
        ebm.jvp(np.sin, (X,), (X[:, 0],))
    with pytest.raises(
        errors.ShapeError, match=r"vjp: cotangent: structure \[\*\], expected \*"
    ):
        ebm.vjp(np.sin, X)[1]([X])


def test_repeat_explains_carries():
    def run(body, carry=X, **options):
        ebm.repeat(body, 3, carry, **options)

    with pytest.raises(
        errors.ShapeError, match=r"enters a step as float64 \(3, 4\) and leaves it as .*\(3,\)"
    ):
        run(lambda i, c: c[:, 0])
    with pytest.raises(TypeError, match=r"carry\['a'\] enters a step as float32 .* float64"):
        run(lambda i, c: {"a": c["a"] + np.ones(3)}, {"a": np.ones(3, np.float32)})
    with pytest.raises(errors.ShapeError, match=r"structure \(\*, \*\), expected \*"):
        run(lambda i, c: (c, c))
    with pytest.raises(TypeError, match=r"must return \(carry, out\)"):
        run(lambda i, c: c, stack=True)
    with pytest.raises(errors.ShapeError, match="leading axis"):
        run(lambda i, c, x: c, xs=np.ones((4, 2)))
    with pytest.raises(ValueError, match="number of steps: got -1"):
        ebm.repeat(lambda i, c: c, -1, X)


# ---- purity ----------------------------------------------------------------------------------


def test_impure_functions():
    rng = np.random.default_rng(0)
    calls = []

    def counts(x):
        calls.append(1)
        return x * len(calls)

    with pytest.raises(ValueError, match=r"impure function.*a constant array.*np\.random"):
        ebm.jit(lambda x: x + rng.standard_normal(3))(np.ones(3))
    with pytest.raises(ValueError, match=r"counts: impure function.*first at.*np\.random"):
        ebm.jit(counts)(X)
    with pytest.raises(ValueError, match="impure"):
        ebm.grad(lambda x: x * rng.uniform())(1.0)
    more = iter(range(100))
    with pytest.raises(ValueError, match="impure"):
        ebm.jit(lambda x: sum([x] * next(more)))(1.0)


# ---- random ----------------------------------------------------------------------------------


def test_seeds_and_keys():
    with pytest.raises(TypeError, match=r"key: seed: got .*, expected an int"):
        ebm.random.key(1.5)
    with pytest.raises(TypeError, match=r"key: seed: got .*, expected an int"):
        ebm.random.key(True)
    with pytest.raises(ValueError, match=r"key: seed: got .*, expected at most 64 bits"):
        ebm.random.key(2**64)
    with pytest.raises(errors.ShapeError, match="key"):
        ebm.random.normal(np.zeros(3, np.int32), (2,))
    with pytest.raises(TypeError, match="float"):
        ebm.random.normal(ebm.random.key(0), (2,), dtype="int32")
    with pytest.raises(ValueError, match="randint"):
        ebm.random.randint(ebm.random.key(0), (2,), 3, 3)
