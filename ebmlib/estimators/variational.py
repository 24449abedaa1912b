"""Variational training: a generator stands in for the energy's samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .._checks import preset
from .._estimator import EnergyEstimator
from ..entropy import KINDS, Entropy
from ..networks import MLP, NICE, BoundGenerator, MLPGenerator, Network
from ..optimizers import Adam, Optimizer
from ..samplers import Sampler, refine
from ..schedules import Schedule

__all__ = ["MEG", "VERA"]

Self = TypeVar("Self", bound="VERA")

_WORDS = {cls._kind: cls for cls in KINDS}


class VERA(EnergyEstimator):
    """Variational entropy regularised approximate maximum likelihood (Grathwohl et al. 2021).

    A generator x- = g(z) + sigma eps is trained against the energy, in place of a sampler, by
    log Z = max_q E_q[-E(x)] + H(q) (equation 3).  A step, on a batch x+ and as many draws x-
    (algorithm 1), is

    - of the entropy's own part, where it has one: eta of `ebmlib.entropy.Importance` or
      the critic of `ebmlib.entropy.MutualInformation`;
    - energy: down mean E(x+) - mean E(x-) + gradient_penalty mean |grad E(x+)|^2
      + l2 (mean E(x+)^2 + mean E(x-)^2);
    - generator: down mean E(x-) + entropy_weight mean <s, x->, s the score of q at x-, a
      constant, since -grad H = E[s' grad x-] (equation 6, with the sign that it lacks).

    Parameters
    ----------
    network : network or None
        The energy.  None: `networks.MLP`.
    generator : network or None
        None: `networks.MLPGenerator`.
    entropy : str, object of `ebmlib.entropy` or None
        How the entropy's gradient is estimated: "importance" (VERA's), "hmc",
        "gauss_newton" (our own), "mutual_information" (MEG's), or an object with options.
        None: no entropy (VERA with lambda 0).
    entropy_weight : float, default 1.0
        lambda: where the paper's search begins; 1e-4 on large images.
    gradient_penalty : float, default 0.1
        gamma of the paper (table 7); its code has half of the square: 0.05 here.
    l2 : float, default 0
        The code's p and n.
    data_noise : float, default 0
        Deviation of noise on the data; VERA needs none.
    sigma_min, sigma_max : float or None
        Bounds of sigma after each step; the code has 0.01 and 0.3 (``VERA.code``).
    momentum : float, default 0.1
        Share of a batch in the running statistics of batch norm.
    learning_rate : float or schedule, default 1e-4
        Of the energy (table 7).
    optimizer, betas, weight_decay, clip_norm, ema
        Of the energy, as in `CD`; betas are (0, 0.9), as is standard against a generator.
    update_every : int, default 1
        Steps from one update of the energy to the next.
    generator_optimizer : object of `ebmlib.optimizers` or None
        None: Adam(2e-4, betas=(0, 0.9)), twice the energy's rate (table 7).
    entropy_optimizer : object of `ebmlib.optimizers` or None
        Of the entropy's own part.  None: Adam(2e-4), the default betas, as the code.
    sampler : sampler or None
        For ``sample(method="chain")``, and "refined"; training takes none.
    batch_size, max_steps, image_shape, warm_start, random_state, verbose, dtype
        As in `CD`.
    callbacks, on_divergence, snapshot_every, max_rollbacks, checkpoint, checkpoint_every
        As in `CD`.
    device
        As in `CD`.

    Attributes
    ----------
    energy_, n_steps_, n_features_in_, stop_reason_
        As in `CD`.
    generator_ : BoundGenerator
    history_ : dict of arrays
        For each step: energy_data, energy_samples, gap, loss, gradient_norm (of the penalty),
        grad_norm, learning_rate; generator_loss, sigma, generator_grad_norm,
        generator_learning_rate; score_norm where the entropy's score is estimated, with ess
        (effective draws of z for an x) and the mean eta, acceptance and step_size, or trust;
        entropy_loss and the part's own.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import estimators, networks
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> generator = networks.MLPGenerator(2, (16,))
    >>> est = estimators.VERA(networks.MLP((16,)), generator, max_steps=10).fit(x)
    >>> est.sample(5).shape, est.history_["ess"].shape
    ((5, 2), (10,))
    """

    _kind = "vera"
    _own = (
        "entropy_weight",
        "gradient_penalty",
        "l2",
        "data_noise",
        "sigma_min",
        "sigma_max",
        "momentum",
    )
    _shown = ("gap", "generator_loss", "sigma")
    _learned: ClassVar = {**EnergyEstimator._learned, "generator_": "generator"}

    generator_: BoundGenerator

    def __init__(
        self,
        network: Network | None = None,
        generator: Network | None = None,
        *,
        entropy: str | Entropy | None = "importance",
        entropy_weight: float = 1.0,
        gradient_penalty: float = 0.1,
        l2: float = 0.0,
        data_noise: float = 0.0,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        momentum: float = 0.1,
        learning_rate: float | Schedule = 1e-4,
        optimizer: str = "adam",
        betas: tuple[float, float] = (0.0, 0.9),
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        ema: float = 0.0,
        update_every: int = 1,
        generator_optimizer: Optimizer | None = None,
        entropy_optimizer: Optimizer | None = None,
        sampler: Sampler | None = None,
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
        self.generator = generator
        self.entropy = entropy
        self.entropy_weight = entropy_weight
        self.gradient_penalty = gradient_penalty
        self.l2 = l2
        self.data_noise = data_noise
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.momentum = momentum
        self.update_every = update_every
        self.generator_optimizer = generator_optimizer
        self.entropy_optimizer = entropy_optimizer

    @classmethod
    def paper(cls: type[Self], setting: str = "toy", **changes: Any) -> Self:
        """The settings of the paper's experiments, as far as it states them.

        Parameters
        ----------
        setting : {"toy", "nice", "images"}
            Appendix B.2: 2-D data, energy and generator of 2 x 100, all rates 1e-3, 100,000
            steps.  B.3: NICE as energy, generator of 2 x 500 with a latent of 100, rates 3e-6
            and 3e-4, batches of 128.  Table 7: rates 1e-4 and 2e-4, lambda 1e-4.
        **changes
            Parameters that are set otherwise.

        Examples
        --------
        >>> from ebmlib import estimators
        >>> estimators.VERA.paper("toy", max_steps=1000).learning_rate
        0.001
        """
        return cls(**(preset(_PAPER, "paper", setting) | changes))

    @classmethod
    def code(cls: type[Self], setting: str = "toy", **changes: Any) -> Self:
        """The settings of the paper's code: those of ``paper``, with sigma kept within
        [0.01, 0.3] and half the penalty.

        Examples
        --------
        >>> from ebmlib import estimators
        >>> estimators.VERA.code("toy").sigma_max
        0.3
        """
        bounds = {"sigma_min": 0.01, "sigma_max": 0.3, "gradient_penalty": 0.05}
        return cls(**(preset(_PAPER, "code", setting) | bounds | changes))

    @property
    def _generator(self) -> Network:
        return MLPGenerator() if self.generator is None else self.generator

    def _entropy(self) -> Entropy | None:
        given = self.entropy
        if given is None or isinstance(given, Entropy):
            return given
        if not isinstance(given, str) or given not in _WORDS:
            raise ValueError(
                f"{type(self).__name__}: entropy: got {given!r}, expected None, an object of "
                f"ebmlib.entropy, or one of {sorted(_WORDS)}"
            )
        return _WORDS[given]()

    def _every(self) -> dict[str, Any]:
        return {"every": self.update_every}

    def _parts(self) -> dict[str, tuple[Network | None, Optimizer]]:
        who = type(self).__name__
        if not isinstance(self._generator, Network):
            raise ValueError(
                f"{who}: generator: got {self.generator!r}, expected a specification such as "
                "networks.MLPGenerator()"
            )
        for name in ("generator_optimizer", "entropy_optimizer"):
            value = getattr(self, name)
            if not (value is None or isinstance(value, Optimizer)):
                raise ValueError(
                    f"{who}: {name}: got {value!r}, expected one such as optimizers.Adam()"
                )
        default = Adam(2e-4, betas=(0.0, 0.9))
        parts: dict[str, tuple[Network | None, Optimizer]] = {
            "generator": (self._generator, self.generator_optimizer or default)
        }
        entropy = self._entropy()
        if entropy is not None and entropy._part is not None:
            optimizer = self.entropy_optimizer or Adam(2e-4)
            parts[entropy._part] = (entropy._network(), optimizer)
        return parts

    def _bind(self, row: tuple[int, ...], dtype: DTypeLike) -> dict[str, Any]:
        bound = BoundGenerator(self._generator, row, random_state=0, dtype=dtype)
        return super()._bind(row, dtype) | {"generator_": bound}

    def _methods(self) -> tuple[str, ...]:
        return ("generator", "refined", *super()._methods())

    def _draw(
        self, method: str, n: int, n_steps: int | None, rng: np.random.Generator, init: Any
    ) -> NDArray[Any]:
        if method == "generator":
            return np.asarray(self.generator_.sample(n, random_state=rng))
        if method == "refined":
            return np.asarray(refine(self.energy_, self.generator_, n, random_state=rng))
        return super()._draw(method, n, n_steps, rng, init)


def _toy() -> dict[str, Any]:
    return {
        "network": MLP((100, 100), "leaky_relu"),
        "generator": MLPGenerator(2, (100, 100), "relu", norm="batch"),
        "learning_rate": 1e-3,
        "generator_optimizer": Adam(1e-3, betas=(0.0, 0.9)),
        "entropy_optimizer": Adam(1e-3),
        "batch_size": 100,
        "max_steps": 100_000,
    }


def _nice() -> dict[str, Any]:
    return {
        "network": NICE(),
        "generator": MLPGenerator(100, (500, 500), "softplus", norm="batch"),
        "learning_rate": 3e-6,
        "generator_optimizer": Adam(3e-4, betas=(0.0, 0.9)),
        "entropy_optimizer": Adam(3e-4),
        "batch_size": 128,
    }


def _images() -> dict[str, Any]:
    return {"entropy_weight": 1e-4, "batch_size": 64}


_PAPER = {"toy": _toy, "nice": _nice, "images": _images}


class MEG(VERA):
    """Maximum entropy generators (Kumar et al. 2019), as VERA's baseline.

    `VERA` with ``entropy="mutual_information"``: the entropy is climbed through a critic's
    bound on the mutual information of x and z.  Parameters and attributes are those of `VERA`.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import entropy, estimators, networks
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> information = entropy.MutualInformation(critic=networks.MLP((16,), "leaky_relu"))
    >>> generator = networks.MLPGenerator(2, (16,))
    >>> est = estimators.MEG(networks.MLP((16,)), generator, entropy=information, max_steps=10)
    >>> est = est.fit(x)
    >>> est.history_["entropy_loss"].shape
    (10,)
    """

    def __init__(
        self,
        network: Network | None = None,
        generator: Network | None = None,
        *,
        entropy: str | Entropy = "mutual_information",
        entropy_weight: float = 1.0,
        gradient_penalty: float = 0.1,
        l2: float = 0.0,
        data_noise: float = 0.0,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        momentum: float = 0.1,
        learning_rate: float | Schedule = 1e-4,
        optimizer: str = "adam",
        betas: tuple[float, float] = (0.0, 0.9),
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        ema: float = 0.0,
        update_every: int = 1,
        generator_optimizer: Optimizer | None = None,
        entropy_optimizer: Optimizer | None = None,
        sampler: Sampler | None = None,
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
        super().__init__(**VERA._taken(locals()))
