"""Wrong calls: devices and arrays on them, where there may be none."""

from __future__ import annotations

import numpy as np

import ebmlib as ebm
from ebmlib import _core
from ebmlib.errors import DeviceError
from tests.python.bad_input.case import cases

X = np.arange(3.0)


class Elsewhere:
    """An array on a device of another kind."""

    def __dlpack_device__(self):
        return (10, 0)

    def __dlpack__(self, **options):
        raise BufferError("not called")


CASES = [
    *cases(
        "device",
        lambda: ebm.device("cpu").name,
        (lambda: ebm.device("gpu"), ValueError, "device: got 'gpu', expected cpu or cuda"),
        (
            lambda: ebm.device("cuda:7"),
            ValueError,
            "device: got 'cuda:7', expected cpu or cuda",
        ),
        (lambda: ebm.device(0), TypeError, "device: got int, expected a str: 'cpu' or 'cuda'"),
        (
            lambda: _core.set_device("tpu"),
            ValueError,
            "device: got 'tpu', expected cpu or cuda",
        ),
    ),
    *cases(
        "precision",
        lambda: ebm.precision(),
        (
            lambda: ebm.precision("tf32"),
            TypeError,
            r"ebmlib\._core\.precision\(\) takes no arguments \(1 given\)",
        ),
    ),
    *cases(
        "set_precision",
        lambda: ebm.precision(),
        (
            lambda: ebm.set_precision("bf16"),
            ValueError,
            "set_precision: name: got 'bf16', expected 'ieee' or 'tf32'",
        ),
        (
            lambda: ebm.set_precision("TF32"),
            ValueError,
            "set_precision: name: got 'TF32', expected 'ieee' or 'tf32'",
        ),
        (
            lambda: ebm.set_precision(None),
            TypeError,
            "set_precision: name: got NoneType, expected a str: 'ieee' or 'tf32'",
        ),
        (
            lambda: ebm.set_precision(32),
            TypeError,
            "set_precision: name: got int, expected a str: 'ieee' or 'tf32'",
        ),
    ),
    *cases(
        "asarray",
        lambda: ebm.asarray(X, device="cpu"),
        (lambda: ebm.asarray("x"), TypeError, "values: got str, expected numbers"),
        (
            lambda: ebm.asarray(X, device="gpu"),
            ValueError,
            "device: got 'gpu', expected cpu or cuda",
        ),
    ),
    *cases(
        "from_dlpack",
        lambda: ebm.from_dlpack(X),
        (
            lambda: ebm.from_dlpack([1.0]),
            TypeError,
            "from_dlpack: got list, expected an array with __dlpack__",
        ),
        (
            lambda: ebm.from_dlpack(Elsewhere()),
            DeviceError,
            r"from_dlpack: got device \(10, 0\), expected the CPU or cuda:0",
        ),
        (
            lambda: ebm.jit(np.exp)(Elsewhere()),
            DeviceError,
            r"from_dlpack: got device \(10, 0\), expected the CPU or cuda:0",
        ),
    ),
    *cases(
        "Array",
        lambda: ebm.asarray(X),
        (lambda: ebm.Array(X, "cpu"), ValueError, "device: arrays on the CPU are NumPy's"),
        (lambda: ebm.Array(X, "gpu"), ValueError, "device: got 'gpu', expected cpu or cuda"),
        (
            lambda: ebm.Array(X, 1),
            TypeError,
            "device: got int, expected a str: 'cpu' or 'cuda'",
        ),
    ),
]
