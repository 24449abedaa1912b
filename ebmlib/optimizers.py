"""Optimisers: how the parameters of one network follow their gradients.

An estimator that trains several networks (`ebmlib.estimators.VERA`) takes one for each beside
the energy, whose options are the estimator's own.

>>> from ebmlib import optimizers, schedules
>>> optimizers.Adam(schedules.Cosine(2e-4, steps=10_000), betas=(0.0, 0.9))
Adam(learning_rate=Cosine(rate=0.0002, steps=10000), betas=(0.0, 0.9))
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from . import _core
from ._params import Specification, from_json
from .schedules import Constant, Schedule

__all__ = ["SGD", "Adam"]


class Optimizer(Specification):
    """What all optimisers share."""

    _family = "optimizer"
    _nested: ClassVar = {"learning_rate": Schedule}
    _updating = ("weight_decay", "clip_norm", "ema", "every")

    learning_rate: float | Schedule

    def _options(self) -> dict[str, float]:
        """Of the kind itself."""
        raise NotImplementedError

    @property
    def _schedule(self) -> Schedule:
        rate = self.learning_rate
        return rate if isinstance(rate, Schedule) else Constant(rate)

    def _spec(self) -> tuple[str, dict[str, Any]]:
        return self._kind, self._options()

    def _update(self) -> tuple[Any, Any, dict[str, Any]]:
        """(optimizer, schedule, options) for the core."""
        options = {name: getattr(self, name) for name in self._updating}
        options["learning_rate"] = self._schedule.rate
        return self._spec(), self._schedule._spec(), options

    def _check(self) -> None:
        optimizer, schedule, options = self._update()
        _core.check_options("optimizer", *optimizer)
        _core.check_options("schedule", *schedule)
        _core.check_options("update", "", options)

    @classmethod
    def _from_json(cls, text: dict[str, Any]) -> Specification:
        return from_json(text, (Adam, SGD))


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    Parameters
    ----------
    learning_rate : float or schedule, default 1e-3
        Schedules are in ``ebmlib.schedules``.
    betas : (float, float), default (0.9, 0.999)
        Memories of the mean and of the squared gradient; VERA and EBM-BB have (0, 0.9) where a
        generator trains against an energy.
    epsilon : float, default 1e-8
    weight_decay : float, default 0
        Added to the gradient, times the parameter.
    clip_norm : float or None
        Bound of the gradient's norm.
    ema : float, default 0
        Memory of the averaged parameters, with which the network is evaluated; 0: none.
    every : int, default 1
        Steps of the training from one update to the next.

    Examples
    --------
    >>> from ebmlib import optimizers
    >>> optimizers.Adam(2e-4, betas=(0.0, 0.9)).learning_rate
    0.0002
    """

    _kind = "adam"

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        ema: float = 0.0,
        every: int = 1,
    ) -> None:
        self.learning_rate = learning_rate
        self.betas = betas
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.ema = ema
        self.every = every

    def _options(self) -> dict[str, float]:
        if np.shape(self.betas) != (2,):
            raise ValueError(f"adam: betas: got {self.betas!r}, expected two numbers")
        return {"beta1": self.betas[0], "beta2": self.betas[1], "epsilon": self.epsilon}


class SGD(Optimizer):
    """Gradient descent with momentum: v' = momentum v + grad, p' = p - learning_rate v'.

    Parameters
    ----------
    learning_rate : float or schedule, default 1e-3
    momentum : float, default 0
        Share of the last update that is kept.
    weight_decay, clip_norm, ema, every
        As in `Adam`.

    Examples
    --------
    >>> from ebmlib import optimizers
    >>> optimizers.SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9)
    """

    _kind = "sgd"

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        ema: float = 0.0,
        every: int = 1,
    ) -> None:
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.ema = ema
        self.every = every

    def _options(self) -> dict[str, float]:
        return {"momentum": self.momentum}
