"""Wrong calls: transformations of functions, settings."""

from __future__ import annotations

import numpy as np

import ebmlib as ebm
from ebmlib.errors import ShapeError, StateError
from tests.python.bad_input.case import cases

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)

INTEGERS = np.arange(3)


def square(x):
    return np.sum(x**2)


RNG = np.random.default_rng(0)

CALLS = iter(range(1000))


def impure(x):
    return x * next(CALLS)


def noisy(x):
    return x + RNG.normal()


def raises(x):
    raise KeyError("in the body")


def escape():
    kept = []
    ebm.jit(lambda x: kept.append(x) or x)(X)
    return kept[0]


KEPT = escape()


def leak(x):
    inside = []
    ebm.repeat(lambda i, c: inside.append(c) or c, 3, x)
    return inside[0] + x


CASES = [
    *cases(
        "jit",
        lambda: ebm.jit(square)(X),
        (lambda: ebm.jit(3)(X), TypeError, "jit: function: got int, expected a function"),
        (
            lambda: ebm.jit(square, static_argnums="x")(X),
            TypeError,
            ("jit: static_argnums: got 'x', expected an int or a tuple of ints"),
        ),
        (
            lambda: ebm.jit(lambda x, n: x * n, static_argnums=2)(X, 3),
            ValueError,
            ("jit: static_argnums: got 2, expected the position of one of 2 arguments"),
        ),
        (
            lambda: ebm.jit(lambda x, n: x, static_argnums=1)(X, INTEGERS),
            TypeError,
            (
                "jit: argument 1: got ndarray, expected something hashable, "
                "since static_argnums names it"
            ),
        ),
        (
            lambda: ebm.jit(lambda x, n: x, static_argnums=0)(),
            ValueError,
            ("jit: static_argnums: got 0, expected the position of one of 0 arguments"),
        ),
        (
            lambda: ebm.jit(lambda x, n: x, static_argnums=1.5)(X, 3),
            TypeError,
            (
                r"jit: static_argnums: got 1\.5, expected an int or a tuple of "
                "ints"
            ),
        ),
        (
            lambda: ebm.jit(square, 1)(X),
            TypeError,
            r"jit\(\) takes 1 positional argument but 2 were given",
        ),
        (
            lambda: ebm.jit(square)("text"),
            TypeError,
            (
                "argument 0: got str, expected an array: close over it, or "
                r"name it in static_argnums of ebm\.jit"
            ),
        ),
        (
            lambda: ebm.jit(square, donate_argnums=None)(X),
            TypeError,
            "jit: donate_argnums: got None, expected an int or a tuple of ints",
        ),
        (
            lambda: ebm.jit(square, donate_argnums=1)(X),
            ValueError,
            "jit: donate_argnums: got 1, expected the position of one of 1 arguments",
        ),
        (
            lambda: ebm.jit(lambda x, n: x * n, static_argnums=1, donate_argnums=-1)(X, 3),
            ValueError,
            "jit: donate_argnums: argument 1 is static",
        ),
        (
            lambda: ebm.jit(square)({"a": [object()]}),
            TypeError,
            (
                r"argument 0\['a'\]\[0\]: got object, expected an array: close "
                r"over it, or name it in static_argnums of ebm\.jit"
            ),
        ),
        (
            lambda: ebm.jit(square)(X.astype(complex)),
            TypeError,
            (
                "argument 0: dtype complex128 is not supported: float32, "
                "float64, int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: ebm.jit(square)(np.array([2**31])),
            ValueError,
            "argument 0: integers become int32: 2147483648 does not fit",
        ),
        (
            lambda: ebm.jit(square)(np.zeros((1,) * 9)),
            ValueError,
            "argument 0: input: got 9 axes, expected at most 8",
        ),
        (
            lambda: ebm.jit(square)(KEPT),
            StateError,
            ("a traced array escaped: the function that it belongs to has ended"),
        ),
        (
            lambda: ebm.jit(square)(X, X),
            TypeError,
            r"square\(\) takes 1 positional argument but 2 were given",
        ),
        (
            lambda: ebm.jit(lambda x: "text")(X),
            TypeError,
            (
                "a traced function returned str: dtype <U4 is not supported: "
                "float32, float64, int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: ebm.jit(lambda x: x if x.sum() > 0 else -x)(X),
            TypeError,
            (
                "the truth value of a traced array: while a function is "
                "traced, arrays have a shape and a dtype but no values: use "
                r"np\.where instead of if, ebm\.repeat instead of a loop that "
                "ends by a value, or compute this outside of the function"
            ),
        ),
        (
            lambda: ebm.jit(impure)(X),
            ValueError,
            (
                "impure: impure function: two traces of it differ, first at .* "
                r"and .*: the usual cause is np\.random in it: draw with "
                r"ebm\.random and a key, or pass the numbers as an argument "
                r"\(counters, clocks and files are other causes\)"
            ),
        ),
        (
            lambda: ebm.jit(noisy)(X),
            ValueError,
            (
                "noisy: impure function: two traces of it differ, first at .* "
                r"and .*: the usual cause is np\.random in it: draw with "
                r"ebm\.random and a key, or pass the numbers as an argument "
                r"\(counters, clocks and files are other causes\)"
            ),
        ),
        (lambda: ebm.jit(raises)(X), KeyError, "'in the body'"),
        (
            lambda: ebm.jit(leak)(X),
            StateError,
            (
                "a traced array escaped: it belongs to a function, or to a "
                "step of a repeat, that has ended; return it from there "
                "instead of storing it"
            ),
        ),
        (
            lambda: ebm.jit(lambda x: x + KEPT)(X),
            StateError,
            (
                "a traced array escaped: it belongs to a function, or to a "
                "step of a repeat, that has ended; return it from there "
                "instead of storing it"
            ),
        ),
    ),
    *cases(
        "grad",
        lambda: ebm.grad(square)(X),
        (lambda: ebm.grad(3)(X), TypeError, "grad: function: got int, expected a function"),
        (
            lambda: ebm.grad(lambda x: x**2)(X),
            ShapeError,
            (
                r"grad: the function must return one number, got shape \(3, "
                r"4\): sum over it, or use vjp"
            ),
        ),
        (
            lambda: ebm.grad(lambda x: (x.sum(), 1))(X),
            TypeError,
            "grad: the function must return one number, got tuple",
        ),
        (
            lambda: ebm.grad(square)(INTEGERS),
            TypeError,
            (
                "grad: argument 0 is int32: only floats can be differentiated; "
                "convert it with astype, or keep it out of the variables"
            ),
        ),
        (
            lambda: ebm.grad(lambda x: np.argmax(x))(X),
            TypeError,
            (
                "grad: result is int32: only floats have a derivative; return "
                "other values as has_aux"
            ),
        ),
        (
            lambda: ebm.grad(square, argnums=1)(X),
            ValueError,
            ("grad: argnums: got 1, expected the position of one of 1 arguments"),
        ),
        (
            lambda: ebm.grad(square, argnums="x")(X),
            TypeError,
            "grad: argnums: got 'x', expected an int or a tuple of ints",
        ),
        (
            lambda: ebm.grad(square, argnums=1.5)(X),
            TypeError,
            r"grad: argnums: got 1\.5, expected an int or a tuple of ints",
        ),
        (
            lambda: ebm.grad(lambda x, y: square(x) + square(y), argnums=(0, 0))(X, X),
            ValueError,
            r"grad: argnums: got \(0, 0\), expected each argument once",
        ),
        (
            lambda: ebm.grad(lambda x, y: square(x) + square(y), argnums=(0, -2))(X, X),
            ValueError,
            r"grad: argnums: got \(0, -2\), expected each argument once",
        ),
        (
            lambda: ebm.grad(square, argnums=())(X),
            ValueError,
            "grad: argnums: got none, expected at least one",
        ),
        (
            lambda: ebm.grad(square)(),
            ValueError,
            ("grad: argnums: got 0, expected the position of one of 0 arguments"),
        ),
        (
            lambda: ebm.grad(square, has_aux=True)(X),
            TypeError,
            (
                r"grad: with has_aux=True the function must return \(result, "
                r"aux\)"
            ),
        ),
        (
            lambda: ebm.grad(lambda x: 1.0 if x > 0 else 2.0)(1.0),
            TypeError,
            (
                "the truth value of a traced array: while a function is "
                "traced, arrays have a shape and a dtype but no values: use "
                r"np\.where instead of if, ebm\.repeat instead of a loop that "
                "ends by a value, or compute this outside of the function"
            ),
        ),
        (
            lambda: ebm.grad(lambda x: None)(X),
            TypeError,
            "grad: the function must return one number, got NoneType",
        ),
        (
            lambda: ebm.grad(ebm.grad(square))(X),
            ShapeError,
            (
                r"grad: the function must return one number, got shape \(3, "
                r"4\): sum over it, or use vjp"
            ),
        ),
        (
            lambda: ebm.grad(lambda x: np.sum(np.linalg.eigvalsh(x)))(np.eye(3)),
            NotImplementedError,
            (
                "eigh: eigenvalues and vectors have no derivative: wrap them, "
                r"or the matrix, in ebm\.stop_gradient"
            ),
        ),
    ),
    *cases(
        "value_and_grad",
        lambda: ebm.value_and_grad(square)(X),
        (
            lambda: ebm.value_and_grad(None)(X),
            TypeError,
            "value_and_grad: function: got NoneType, expected a function",
        ),
        (
            lambda: ebm.value_and_grad(lambda x: {"loss": x.sum()})(X),
            TypeError,
            "value_and_grad: the function must return one number, got dict",
        ),
        (
            lambda: ebm.value_and_grad(square, argnums=[5])(X),
            ValueError,
            ("value_and_grad: argnums: got 5, expected the position of one of 1 arguments"),
        ),
        (
            lambda: ebm.value_and_grad(lambda x: (x.sum(), 1, 2), has_aux=True)(X),
            TypeError,
            (
                "value_and_grad: with has_aux=True the function must return "
                r"\(result, aux\)"
            ),
        ),
    ),
    *cases(
        "vjp",
        lambda: ebm.vjp(np.sin, X)[1](X),
        (lambda: ebm.vjp(3, X), TypeError, "vjp: function: got int, expected a function"),
        (
            lambda: ebm.vjp(np.sin),
            TypeError,
            (
                r"sin\(\) takes from 1 to 2 positional arguments but 0 were "
                "given"
            ),
        ),
        (
            lambda: ebm.vjp(np.sin, X)[1](X[0]),
            ShapeError,
            r"vjp: cotangent: shape \(4,\), expected \(3, 4\)",
        ),
        (
            lambda: ebm.vjp(np.sin, X)[1]([X]),
            ShapeError,
            r"vjp: cotangent: structure \[\*\], expected \*",
        ),
        (
            lambda: ebm.vjp(np.sin, X)[1](),
            TypeError,
            (
                r"vjp\.<locals>\.pullback\(\) missing 1 required positional "
                "argument: 'cotangent'"
            ),
        ),
        (
            lambda: ebm.vjp(np.sin, X)[1]("text"),
            TypeError,
            (
                "argument cotangent: got str, expected an array: close over "
                r"it, or name it in static_argnums of ebm\.jit"
            ),
        ),
        (
            lambda: ebm.vjp(np.sin, X)[1](None),
            ShapeError,
            r"vjp: cotangent: structure None, expected \*",
        ),
        (
            lambda: ebm.vjp(np.sin, X)[1](X.astype(complex)),
            TypeError,
            (
                "argument cotangent: dtype complex128 is not supported: "
                "float32, float64, int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: ebm.vjp(lambda x: x, X > 0)[1](X),
            TypeError,
            (
                r"vjp: primals\[0\] is bool: only floats can be differentiated; "
                "convert it with astype, or keep it out of the variables"
            ),
        ),
        (
            lambda: ebm.vjp(np.sin, X, has_aux=True),
            TypeError,
            (
                r"vjp: with has_aux=True the function must return \(result, "
                r"aux\)"
            ),
        ),
        (
            lambda: ebm.vjp(lambda x: x > 0, X)[1](X),
            TypeError,
            (
                "vjp: result is bool: only floats have a derivative; return "
                "other values as has_aux"
            ),
        ),
    ),
    *cases(
        "jvp",
        lambda: ebm.jvp(np.sin, (X,), (X,)),
        (
            lambda: ebm.jvp(np.sin, X, X),
            TypeError,
            "jvp: primals: got ndarray, expected a tuple of arrays",
        ),
        (
            lambda: ebm.jvp(np.sin, (X,), (X, X)),
            ShapeError,
            r"jvp: tangents: structure \(\*, \*\), expected \(\*,\)",
        ),
        (
            lambda: ebm.jvp(np.sin, (X,), (X[:, 0],)),
            ShapeError,
            r"jvp: tangents\[0\]: shape \(3,\), expected \(3, 4\)",
        ),
        (
            lambda: ebm.jvp(np.sin, (X,), X),
            TypeError,
            "jvp: tangents: got ndarray, expected a tuple of arrays",
        ),
        (
            lambda: ebm.jvp(np.sin, 3, 3),
            TypeError,
            "jvp: primals: got int, expected a tuple of arrays",
        ),
        (
            lambda: ebm.jvp(np.sin, (INTEGERS,), (INTEGERS,)),
            TypeError,
            (
                r"jvp: primals\[0\] is int32: only floats can be "
                "differentiated; convert it with astype, or keep it out of the "
                "variables"
            ),
        ),
        (
            lambda: ebm.jvp(lambda x: (x, x > 0), (X,), (X,)),
            TypeError,
            (
                r"jvp: result\[1\] is bool: only floats have a derivative; "
                "return other values as has_aux"
            ),
        ),
        (
            lambda: ebm.jvp("sin", (X,), (X,)),
            TypeError,
            "jvp: function: got str, expected a function",
        ),
        (
            lambda: ebm.jvp(np.sin, (X,)),
            TypeError,
            r"jvp\(\) missing 1 required positional argument: 'tangents'",
        ),
    ),
    *cases(
        "hvp",
        lambda: ebm.hvp(square, (X,), (X,)),
        (
            lambda: ebm.hvp(square, (), ()),
            ValueError,
            "hvp: primals: got none, expected at least one",
        ),
        (
            lambda: ebm.hvp(np.sin, (X,), (X,)),
            ShapeError,
            (
                r"hvp: the function must return one number, got shape \(3, 4\): "
                "sum over it, or use vjp"
            ),
        ),
        (
            lambda: ebm.hvp(square, (X,), ()),
            ValueError,
            "hvp: tangents: got none, expected at least one",
        ),
        (
            lambda: ebm.hvp(square, X, X),
            TypeError,
            "hvp: primals: got ndarray, expected a tuple of arrays",
        ),
        (
            lambda: ebm.hvp(square, (X,), (X.T,)),
            ShapeError,
            r"hvp: tangents\[0\]: shape \(4, 3\), expected \(3, 4\)",
        ),
        (
            lambda: ebm.hvp(square, 1.0, 1.0),
            TypeError,
            "hvp: primals: got float, expected a tuple of arrays",
        ),
        (
            lambda: ebm.hvp(None, (X,), (X,)),
            TypeError,
            "hvp: function: got NoneType, expected a function",
        ),
    ),
    *cases(
        "repeat",
        lambda: ebm.repeat(lambda i, c: c + i, 3, X),
        (
            lambda: ebm.repeat(None, 3, X),
            TypeError,
            "repeat: function: got NoneType, expected a function",
        ),
        (
            lambda: ebm.repeat(lambda i, c: c, -1, X),
            ValueError,
            r"repeat: number of steps: got -1, expected 0 \.\. 2\^31 - 1",
        ),
        (
            lambda: ebm.repeat(lambda i, c: c, 1.5, X),
            TypeError,
            (
                "repeat: n: got float, expected an int; an argument of a "
                "jitted function is one if static_argnums names it"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: c, True, X),
            TypeError,
            (
                "repeat: n: got bool, expected an int; an argument of a jitted "
                "function is one if static_argnums names it"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: c, 2**40, X),
            ValueError,
            (
                r"repeat: number of steps: got 1099511627776, expected 0 \.\. "
                r"2\^31 - 1"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: c, "3", X),
            TypeError,
            (
                "repeat: n: got str, expected an int; an argument of a jitted "
                "function is one if static_argnums names it"
            ),
        ),
        (
            lambda: ebm.jit(lambda n: ebm.repeat(lambda i, c: c, n, X))(3),
            TypeError,
            (
                "repeat: n: got TracedArray, expected an int; an argument of a "
                "jitted function is one if static_argnums names it"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: c[:, 0], 3, X),
            ShapeError,
            (
                r"repeat: the carry enters a step as float64 \(3, 4\) and "
                r"leaves it as float64 \(3,\)"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: c > 0, 3, X),
            TypeError,
            (
                r"repeat: the carry enters a step as float64 \(3, 4\) and "
                r"leaves it as bool \(3, 4\)"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: (c, c), 3, X),
            ShapeError,
            (
                r"repeat: the carry that leaves a step: structure \(\*, \*\), "
                r"expected \*"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: None, 3, X),
            ShapeError,
            (
                "repeat: the carry that leaves a step: structure None, "
                r"expected \*"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: "text", 3, X),
            TypeError,
            (
                "repeat: the carry that leaves a step: dtype <U4 is not "
                "supported: float32, float64, int32, bool and uint8 are "
                "supported"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: c, 3, X, stack=True),
            TypeError,
            r"repeat: with stack=True the body must return \(carry, out\)",
        ),
        (
            lambda: ebm.repeat(lambda i, c, x: c, 3, X, xs=np.ones((4, 2))),
            ShapeError,
            (
                r"repeat: leading axis of xs: got shape \(4, 2\), expected \(3, "
                r"\.\.\.\)"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c, x: c, 3, X, xs=np.float64(1)),
            ShapeError,
            (
                r"repeat: leading axis of xs: got shape \(\), expected \(3, "
                r"\.\.\.\)"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: c, 3, X, xs=np.ones((3, 2))),
            TypeError,
            r".*<lambda>\(\) takes 2 positional arguments but 3 were given",
        ),
        (
            lambda: ebm.repeat(lambda i: i, 3, X),
            TypeError,
            r".*<lambda>\(\) takes 1 positional argument but 2 were given",
        ),
        (
            lambda: ebm.repeat(lambda i, c: (c, "text"), 3, X, stack=True),
            TypeError,
            (
                "repeat: out: dtype <U4 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
        (lambda: ebm.repeat(lambda i, c: 1 / 0, 3, X), ZeroDivisionError, "division by zero"),
        (
            lambda: ebm.repeat(lambda i, c: c, 3, "text"),
            TypeError,
            (
                "argument 0: got str, expected an array: close over it, or "
                r"name it in static_argnums of ebm\.jit"
            ),
        ),
        (
            lambda: ebm.repeat(lambda i, c: c, 3, X, reverse=True, unroll=2),
            TypeError,
            r"repeat\(\) got an unexpected keyword argument 'unroll'",
        ),
        (
            lambda: ebm.repeat(lambda i, c: c + RNG.normal(), 3, X),
            ValueError,
            (
                r"repeat\(<lambda>\): impure function: two traces of it differ, "
                r"first at .* and .*: the usual cause is np\.random in it: draw "
                r"with ebm\.random and a key, or pass the numbers as an "
                r"argument \(counters, clocks and files are other causes\)"
            ),
        ),
    ),
    *cases(
        "stop_gradient",
        lambda: ebm.grad(lambda x: x * ebm.stop_gradient(x))(3.0),
        (
            lambda: ebm.jit(lambda x: ebm.stop_gradient("text"))(X),
            TypeError,
            (
                "stop_gradient: dtype <U4 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: ebm.jit(lambda x: ebm.stop_gradient(KEPT))(X),
            StateError,
            (
                "a traced array escaped: it belongs to a function, or to a "
                "step of a repeat, that has ended; return it from there "
                "instead of storing it"
            ),
        ),
        (
            lambda: ebm.stop_gradient(),
            TypeError,
            (
                r"stop_gradient\(\) missing 1 required positional argument: "
                "'tree'"
            ),
        ),
    ),
    *cases(
        "num_threads",
        lambda: ebm.num_threads(),
        (
            lambda: ebm.num_threads(2),
            TypeError,
            r"ebmlib\._core\.num_threads\(\) takes no arguments \(1 given\)",
        ),
    ),
    *cases(
        "set_num_threads",
        lambda: ebm.num_threads(),
        (
            lambda: ebm.set_num_threads(-1),
            ValueError,
            r"set_num_threads: n: got -1, expected 0 \(the default\) or more",
        ),
        (
            lambda: ebm.set_num_threads(2**70),
            ValueError,
            (
                "set_num_threads: n: got 1180591620717411303424, expected 0 "
                r"\(the default\) or more"
            ),
        ),
        (
            lambda: ebm.set_num_threads(1.5),
            TypeError,
            r"set_num_threads: n: got 1\.5, expected an int",
        ),
        (
            lambda: ebm.set_num_threads("all"),
            TypeError,
            "set_num_threads: n: got 'all', expected an int",
        ),
        (
            lambda: ebm.set_num_threads(None),
            TypeError,
            "set_num_threads: n: got None, expected an int",
        ),
        (
            lambda: ebm.set_num_threads(True),
            TypeError,
            "set_num_threads: n: got True, expected an int",
        ),
    ),
    *cases(
        "supported_functions",
        lambda: ebm.supported_functions(),
        (
            lambda: ebm.supported_functions("linalg"),
            TypeError,
            (
                r"supported_functions\(\) takes 0 positional arguments but 1 "
                "was given"
            ),
        ),
    ),
    *cases(
        "TracedArray",
        lambda: ebm.jit(lambda x: x + 1)(X),
        (lambda: ebm.TracedArray(), TypeError, "cannot create 'TracedArray' instances"),
        (lambda: ebm.TracedArray(X), TypeError, "cannot create 'TracedArray' instances"),
    ),
]
