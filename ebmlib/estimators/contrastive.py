"""Contrastive divergence: data against chains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from numpy.typing import DTypeLike, NDArray

from .._checks import preset
from .._estimator import EnergyEstimator
from ..networks import MLP, NICE, Network
from ..samplers import Langevin, Sampler
from ..schedules import Schedule

__all__ = ["CD", "PCD"]

Self = TypeVar("Self", bound="PCD")


class CD(EnergyEstimator):
    """Contrastive divergence: chains that start at the data (Hinton 2002).

    loss = mean E(x+) - mean E(sg x-) + l2 (mean E(x+)^2 + mean E(x-)^2),
    x+ = x + data_noise n, and x- is x+ after the sampler's steps.

    Parameters
    ----------
    network : MLP, ConvNet or None
        The specification of the energy; None: ``MLP()``.
    sampler : Langevin or None
        None: ``Langevin()``, made for data of unit scale.
    l2 : float, default 0.005
        As CEBM's code (IGEBM and improved CD: 1).
    data_noise : float, default 0.03
        As CEBM's code and JEM.
    learning_rate : float or schedule, default 1e-3
        CEBM has 1e-4, for 90,000 steps.  Schedules are in ``ebmlib.schedules``.
    optimizer : {"adam", "sgd"}
    betas : (float, float), default (0.9, 0.999)
        Of adam; of sgd the first is the momentum.
    weight_decay : float, default 0
    clip_norm : float or None
        Bound of the gradient's norm (improved CD: 0.5).
    ema : float, default 0
        Memory of the averaged parameters that ``energy_`` then has (improved CD: 0.99 to
        0.9999).
    batch_size : int, default 128
    max_steps : int, default 1000
    image_shape : (H, W, C) or None
        What flat rows are reshaped to.
    warm_start : bool, default False
        ``fit`` goes on instead of starting anew.
    random_state : int, numpy.random.Generator or None
    verbose : int, default 0
    dtype : {"float32", "float64"}
    callbacks : sequence or None
        Functions ``f(est, step, metrics)`` and objects, called between steps; see
        ``ebmlib.callbacks``.
    on_divergence : {"raise", "rollback"}, default "raise"
        What to do when a loss, gradient, parameter or sample is not finite: raise
        ``NumericalError``, or go back to a snapshot and on from there with another key and
        half the learning rate (with a ``DivergenceWarning``).
    snapshot_every : int, default 100
        Steps between two snapshots in memory; four of them last.
    max_rollbacks : int, default 10
        In a fit; the next bad step raises.
    checkpoint : str, path or None
        A file that a fit writes itself to, at its start, every ``checkpoint_every`` steps, and
        in the end: ``ebm.load(path).resume(X)`` goes on to the same bits.
    checkpoint_every : int, default 1000
    device : {"cpu", "cuda"} or None
        Where it trains; None: as `ebmlib.device` says.

    Attributes
    ----------
    energy_ : BoundNetwork
    history_ : dict of arrays
        For each step: energy_data, energy_samples, gap, loss, grad_norm, learning_rate; with
        X_val also val_step, val_gap.  For each rollback: rollback_step (the bad one),
        rollback_to, rollback_rate; the rows of the steps that were undone are gone.
    n_steps_, n_features_in_ : int
    stop_reason_ : str or None
        Why the last fit ended early, if it did.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import estimators, networks, samplers
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> est = estimators.CD(networks.MLP((16,)), samplers.Langevin(n_steps=5), max_steps=10)
    >>> est.fit(x).history_["gap"].shape
    (10,)
    """

    _kind = "cd"
    _own = ("l2", "data_noise")

    def __init__(
        self,
        network: Network | None = None,
        sampler: Sampler | None = None,
        *,
        l2: float = 5e-3,
        data_noise: float = 0.03,
        learning_rate: float | Schedule = 1e-3,
        optimizer: str = "adam",
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        ema: float = 0.0,
        batch_size: int = 128,
        max_steps: int = 1000,
        image_shape: tuple[int, ...] | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        dtype: DTypeLike = "float32",
        callbacks: Sequence[Any] | None = None,
        on_divergence: str = "raise",
        snapshot_every: int = 100,
        max_rollbacks: int = 10,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1000,
        device: str | None = None,
    ) -> None:
        super().__init__(**EnergyEstimator._taken(locals()))
        self.l2 = l2
        self.data_noise = data_noise


class PCD(EnergyEstimator):
    """Persistent contrastive divergence: chains that go on from a replay buffer.

    loss = mean E(x+) - mean E(sg x-) + l2 (mean E(x+)^2 + mean E(x-)^2),
    x+ = x + data_noise n, and x- is where the sampler's steps from a batch of the buffer end
    (Tieleman 2008; short chains on images: Du and Mordatch 2019).

    Parameters
    ----------
    buffer_size : int, default 10_000
        Kept chains; as VERA and IGEBM (CEBM's code 5000).
    reinit : float, default 0.05
        Probability that a chain begins anew; as VERA, IGEBM and CEBM.
    buffer_init : str, default "uniform"
        Where chains begin: "uniform" on (-1, 1), "normal", or "data".
    network, sampler, l2, data_noise, learning_rate, optimizer, betas, weight_decay, clip_norm
        As in `CD`.
    ema, batch_size, max_steps, image_shape, warm_start, random_state, verbose, dtype
        As in `CD`.
    callbacks, on_divergence, snapshot_every, max_rollbacks, checkpoint, checkpoint_every
        As in `CD`.
    device
        As in `CD`.

    Attributes
    ----------
    energy_, history_, n_steps_, n_features_in_, stop_reason_
        As in `CD`.
    buffer_ : array (used, ...)
        The kept chains that have been used.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import estimators, networks, samplers
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> est = estimators.PCD(networks.MLP((16,)), samplers.Langevin(n_steps=5), max_steps=10,
    ...                      random_state=0)
    >>> est.fit(x).score_samples(x).shape
    (200,)
    """

    _kind = "pcd"
    _own = (*CD._own, "buffer_size", "reinit", "buffer_init")
    _own_arrays: ClassVar = {"buffer.x": ("real", "n", "row"), "buffer.age": ("I32", "n")}

    def __init__(
        self,
        network: Network | None = None,
        sampler: Sampler | None = None,
        *,
        buffer_size: int = 10_000,
        reinit: float = 0.05,
        buffer_init: str = "uniform",
        l2: float = 5e-3,
        data_noise: float = 0.03,
        learning_rate: float | Schedule = 1e-3,
        optimizer: str = "adam",
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        ema: float = 0.0,
        batch_size: int = 128,
        max_steps: int = 1000,
        image_shape: tuple[int, ...] | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        dtype: DTypeLike = "float32",
        callbacks: Sequence[Any] | None = None,
        on_divergence: str = "raise",
        snapshot_every: int = 100,
        max_rollbacks: int = 10,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1000,
        device: str | None = None,
    ) -> None:
        super().__init__(**EnergyEstimator._taken(locals()))
        self.l2 = l2
        self.data_noise = data_noise
        self.buffer_size = buffer_size
        self.reinit = reinit
        self.buffer_init = buffer_init

    @classmethod
    def paper(cls: type[Self], setting: str = "toy", **changes: Any) -> Self:
        """The baseline of VERA's paper (Grathwohl et al. 2021), as far as it states it.

        Chains are `ebmlib.samplers.Langevin.tied`, sigma 0.1 (equation 12), from a buffer of
        10,000 of which 5% begin anew; without noise on the data and without l2.

        Parameters
        ----------
        setting : {"toy", "nice"}
            Appendix B.2: 2-D data, energy of 2 x 100, 20 steps, rate 1e-3, 100,000 steps of
            training; figure 1 shows several sigma, and batches of 100 are its code's.  B.3:
            NICE, 40 steps, rate 3e-6, batches of 128, betas of (0, 0.9): the best it found of
            rates 3e-4 to 3e-6, 20 or 40 steps, and sigma 1 or 0.1.
        **changes
            Parameters that are set otherwise.

        Examples
        --------
        >>> from ebmlib import estimators
        >>> estimators.PCD.paper("nice").sampler.n_steps
        40
        """
        return cls(**(preset(_PAPER, "paper", setting) | changes))

    @property
    def buffer_(self) -> NDArray[Any]:
        self._fitted()
        return self._buffer()


def _toy() -> dict[str, Any]:
    return {
        "network": MLP((100, 100), "leaky_relu"),
        "sampler": Langevin.tied(0.1, n_steps=20),
        "learning_rate": 1e-3,
        "batch_size": 100,
        "max_steps": 100_000,
        "l2": 0.0,
        "data_noise": 0.0,
    }


def _nice() -> dict[str, Any]:
    return {
        "network": NICE(),
        "sampler": Langevin.tied(0.1, n_steps=40),
        "learning_rate": 3e-6,
        "betas": (0.0, 0.9),
        "batch_size": 128,
        "l2": 0.0,
        "data_noise": 0.0,
    }


_PAPER = {"toy": _toy, "nice": _nice}
