"""ebmlib: energy-based models on a C core.

Transformations of NumPy functions are here (``jit``, ``grad``, ``vjp``, ``jvp``, ``hvp``,
``repeat``); models, samplers and training are in the modules ``networks``, ``samplers``,
``estimators``; ``load`` reads what they ``save``.  Modules are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import errors
from ._array import TracedArray
from ._core import num_threads, precision, set_num_threads
from ._device import Array, asarray, device, from_dlpack, set_precision
from ._numpy import supported_functions
from ._profile import profile
from .transforms import grad, hvp, jit, jvp, repeat, stop_gradient, value_and_grad, vjp

__version__ = "0.1.0"

_MODULES = {
    "callbacks",
    "datasets",
    "diagnosis",
    "entropy",
    "estimators",
    "functional",
    "layers",
    "metrics",
    "networks",
    "optimizers",
    "plots",
    "preprocessing",
    "random",
    "samplers",
    "schedules",
}

__all__ = [
    "Array",
    "TracedArray",
    "asarray",
    "device",
    "errors",
    "from_dlpack",
    "grad",
    "hvp",
    "jit",
    "jvp",
    "load",
    "num_threads",
    "precision",
    "profile",
    "repeat",
    "set_num_threads",
    "set_precision",
    "stop_gradient",
    "supported_functions",
    "value_and_grad",
    "vjp",
    *sorted(_MODULES),
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name == "load":
        from ._files import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, "load"})
