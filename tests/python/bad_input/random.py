"""Wrong calls: random numbers."""

from __future__ import annotations

import numpy as np

import ebmlib as ebm
from ebmlib.errors import ShapeError
from tests.python.bad_input.case import cases

KEY = ebm.random.key(0)

CASES = [
    *cases(
        "random.key",
        lambda: ebm.random.key(3),
        (
            lambda: ebm.random.key(1.5),
            TypeError,
            ("key: seed: got float, expected an int, a numpy Generator or None"),
        ),
        (
            lambda: ebm.random.key(True),
            TypeError,
            ("key: seed: got bool, expected an int, a numpy Generator or None"),
        ),
        (
            lambda: ebm.random.key(2**64),
            ValueError,
            "key: seed: got 18446744073709551616, expected at most 64 bits",
        ),
        (
            lambda: ebm.random.key("seed"),
            TypeError,
            "key: seed: got str, expected an int, a numpy Generator or None",
        ),
    ),
    *cases(
        "random.split",
        lambda: ebm.random.split(KEY),
        (
            lambda: ebm.random.split(KEY, -1),
            ValueError,
            "split: n: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: ebm.random.split(KEY, 2.5),
            ValueError,
            r"split: n: got 2\.5, expected a whole number of at least 0",
        ),
        (
            lambda: ebm.random.split(np.zeros(3, np.int32)),
            ShapeError,
            r"split: key: got shape \(3,\), expected \(2,\)",
        ),
        (
            lambda: ebm.random.split(np.zeros(2)),
            ShapeError,
            r"split: bits: key: got f64 \(2,\), expected i32 \(2,\)",
        ),
        (
            lambda: ebm.random.split(7),
            ShapeError,
            r"split: key: got shape \(\), expected \(2,\)",
        ),
        (
            lambda: ebm.random.split(KEY, 2**40),
            ShapeError,
            r"split: bits: impossible shape \(1099511627776, 2\)",
        ),
        (
            lambda: ebm.random.split(KEY, True),
            TypeError,
            "split: n: got True, expected a whole number of at least 0",
        ),
    ),
    *cases(
        "random.fold_in",
        lambda: ebm.random.fold_in(KEY, 1),
        (
            lambda: ebm.random.fold_in(KEY, 1.5),
            TypeError,
            "fold_in: data: got float64, expected integers",
        ),
        (
            lambda: ebm.random.fold_in(KEY, np.array([1, 2])),
            TypeError,
            r"fold_in: data: got i32 \(2,\), expected an i32 scalar",
        ),
        (
            lambda: ebm.random.fold_in(KEY, 2**40),
            ValueError,
            ("fold_in: argument 0: integers become int32: 1099511627776 does not fit"),
        ),
        (
            lambda: ebm.random.fold_in(KEY, None),
            TypeError,
            "fold_in: data: got None, expected an array",
        ),
        (
            lambda: ebm.random.fold_in(KEY[:1], 1),
            ShapeError,
            r"fold_in: key: got shape \(1,\), expected \(2,\)",
        ),
    ),
    *cases(
        "random.normal",
        lambda: ebm.random.normal(KEY, (2,)),
        (
            lambda: ebm.random.normal(None, (2,)),
            TypeError,
            "normal: key: got None, expected an array",
        ),
        (
            lambda: ebm.random.normal(KEY, (-1,)),
            ValueError,
            r"normal: shape: got \(-1,\), expected no negative size",
        ),
        (
            lambda: ebm.random.normal(KEY, (2.5,)),
            TypeError,
            "normal: 'float' object cannot be interpreted as an integer",
        ),
        (
            lambda: ebm.random.normal(KEY, "2"),
            TypeError,
            "normal: 'str' object cannot be interpreted as an integer",
        ),
        (
            lambda: ebm.random.normal(KEY, (2,), "int32"),
            TypeError,
            "normal: got i32, expected a float type",
        ),
        (
            lambda: ebm.random.normal(KEY, (2,), "float128"),
            TypeError,
            (
                "normal: dtype float128 is not supported: float32, float64, "
                "int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: ebm.random.normal(KEY, (2,), "word"),
            TypeError,
            "normal: data type 'word' not understood",
        ),
        (
            lambda: ebm.random.normal(KEY, (1,) * 9),
            ValueError,
            "normal: got 9 axes, expected at most 8",
        ),
        (
            lambda: ebm.random.normal(KEY, (2**40, 2**40)),
            ShapeError,
            r"normal: impossible shape \(1099511627776, 1099511627776\)",
        ),
    ),
    *cases(
        "random.uniform",
        lambda: ebm.random.uniform(KEY, (2,)),
        (
            lambda: ebm.random.uniform(KEY, (2,), low=1.0, high=0.0),
            ValueError,
            r"uniform: low, high: got 1\.0, 0\.0, expected low < high",
        ),
        (
            lambda: ebm.random.uniform(KEY, (2,), low=np.nan),
            ValueError,
            "uniform: low: got nan, expected a finite number",
        ),
        (
            lambda: ebm.random.uniform(KEY, (2,), high=np.inf),
            ValueError,
            "uniform: high: got inf, expected a finite number",
        ),
        (
            lambda: ebm.random.uniform(KEY, (2,), low="a"),
            TypeError,
            "uniform: low: got 'a', expected a number",
        ),
        (
            lambda: ebm.random.uniform(KEY, (2**62,)),
            ShapeError,
            r"uniform: impossible shape \(4611686018427387904,\)",
        ),
    ),
    *cases(
        "random.randint",
        lambda: ebm.random.randint(KEY, (2,), 0, 5),
        (
            lambda: ebm.random.randint(KEY, (2,), 3, 3),
            ValueError,
            ("randint: low, high: got 3, 3, expected low < high within the range of int32"),
        ),
        (
            lambda: ebm.random.randint(KEY, (2,), 0, 2**40),
            ValueError,
            (
                "randint: low, high: got 0, 1099511627776, expected low < high "
                "within the range of int32"
            ),
        ),
        (
            lambda: ebm.random.randint(KEY, (2,), 0, 2.5),
            ValueError,
            r"randint: high: got 2\.5, expected a whole number",
        ),
        (
            lambda: ebm.random.randint(KEY, (2,), "a", "b"),
            TypeError,
            "randint: low: got 'a', expected a whole number",
        ),
        (
            lambda: ebm.random.randint(KEY, (2,), 2**40, 2**40 + 1),
            ValueError,
            (
                "randint: low, high: got 1099511627776, 1099511627777, "
                "expected low < high within the range of int32"
            ),
        ),
    ),
    *cases(
        "random.bits",
        lambda: ebm.random.bits(KEY, (2,)),
        (
            lambda: ebm.random.bits(KEY, None),
            TypeError,
            "bits: 'NoneType' object is not iterable",
        ),
        (
            lambda: ebm.random.bits(np.zeros((2, 2), np.int32), (2,)),
            ShapeError,
            r"bits: key: got shape \(2, 2\), expected \(2,\)",
        ),
        (
            lambda: ebm.random.bits(KEY, shape=(2,), dtype="int8"),
            TypeError,
            r"bits\(\) got an unexpected keyword argument 'dtype'",
        ),
    ),
]
