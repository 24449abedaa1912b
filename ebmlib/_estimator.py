"""What all estimators of an energy share: scikit-learn's contract around a trainer."""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core
from ._checkpoint import Checkpoint, Durable
from ._checks import float_dtype, path_of, whole
from ._device import scope
from ._loop import Event, Fit, Memory, Rollback, ShowProgress, Validation, lasting
from ._params import Parameters
from ._rows import check_names, check_rows, feature_names, in_parts, read_at_random
from .callbacks import asked, callback_events, check_callbacks
from .diagnosis import Report, diagnose
from .entropy import Entropy
from .errors import StateError, not_fitted
from .networks import MLP, BoundNetwork, Network
from .optimizers import Optimizer
from .random import key
from .samplers import Langevin, Sampler, generator
from .schedules import Constant, Schedule

__all__ = ["EnergyEstimator"]

Self = TypeVar("Self", bound="EnergyEstimator")

_HIDDEN = ("_trainer", "_made_of", "_row", "_key", "_saved", "_fit", "_memories")
_NOISE_STEPS = 500  # CEBM: samples from noise


_OF_PARTS = re.compile(r"(?:ema\.|\w+\.[mv]\.)?(parts\..+)|rate\.\w+")  # names in the state
_running: set[int] = set()  # ids of the estimators whose fits have not come to their ends


def _is_wanted(name: str, known: Container[str]) -> bool:
    """Whether an old array is not of a part that a trainer of these arrays does not have."""
    found = _OF_PARTS.fullmatch(name)
    return found is None or (found[1] or name) in known


class EnergyEstimator(Parameters, Durable):
    """What all estimators of an energy share."""

    _kind: str
    _own: tuple[str, ...]  # parameters that are options of the estimator's kind
    _shown: tuple[str, ...] = ("energy_data", "energy_samples", "gap")
    _training = ("batch_size",)  # parameters that are options of the loop
    # Parameters that are options of the energy's update; the learning rate is one more.
    _updating: tuple[str, ...] = ("weight_decay", "clip_norm", "ema")

    _learned: ClassVar[Mapping[str, str]] = {"energy_": "energy"}  # attributes, of which parts

    _fit: dict[str, Any] | None
    _memories: dict[str, Memory]
    _saved: dict[str, NDArray[Any]]
    energy_: BoundNetwork
    history_: dict[str, NDArray[Any]]
    n_steps_: int
    stop_reason_: str | None
    _row: tuple[int, ...]

    def __init__(
        self,
        network: Network | None = None,
        sampler: Sampler | None = None,
        *,
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
        self.network = network
        self.sampler = sampler
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.betas = betas
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.ema = ema
        self.batch_size = batch_size
        self.max_steps = max_steps
        self.image_shape = image_shape
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.dtype = dtype
        self.callbacks = callbacks
        self.on_divergence = on_divergence
        self.snapshot_every = snapshot_every
        self.max_rollbacks = max_rollbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.device = device

    # ---- fitting ----

    def fit(self: Self, X: Any, y: Any = None, X_val: Any = None) -> Self:
        """Train for ``max_steps`` steps.

        Parameters
        ----------
        X : array (n_samples, ...)
            Rows, or images (N, H, W, C).  uint8, float32 and float64 are read where they lie (a
            memory map is neither copied nor read whole: numbers that are not finite are found
            when a batch has them); other numbers are converted.
        y : ignored
        X_val : array like X, or None
            Held-out rows: their mean energy minus that of as many training rows goes to
            ``history_["val_gap"]``, 20 times in the run.  Near zero: no overfitting.  Other
            figures, model selection and early stopping: `callbacks.Validate`,
            `callbacks.KeepBest`, `callbacks.EarlyStopping`.

        Returns
        -------
        self
        """
        n_steps = whole(self.max_steps, f"{type(self).__name__}: max_steps", 0)
        return self._train(X, X_val, n_steps, fresh=not self.warm_start)

    def partial_fit(
        self: Self, X: Any, y: Any = None, n_steps: int | None = None, X_val: Any = None
    ) -> Self:
        """Go on from where the last call ended: ``n_steps``, or one pass over X."""
        return self._train(X, X_val, n_steps, fresh=False)

    def _train(self: Self, X: Any, X_val: Any, n_steps: int | None, fresh: bool) -> Self:
        who = type(self).__name__
        self._check_idle()
        fresh = fresh or not self.__sklearn_is_fitted__()
        if not fresh:
            self._check_names(X)
        x = check_rows(X, who, None if fresh else self._row, self.image_shape, lazy=True)
        val = None
        if X_val is not None:
            val = check_rows(X_val, f"{who}: X_val", x.shape[1:], self.image_shape)
        if n_steps is None:
            n_steps = -(-len(x) // self.batch_size)
        n_steps = whole(n_steps, f"{who}: n_steps", 0)
        self._check_loop()
        check_callbacks(who, self.callbacks, val is not None)
        trainer = self._start(x, feature_names(X)) if fresh else self._get_trainer()
        trainer.set_rate("energy", self._schedule.rate)
        for name, (_, optimizer) in self._parts().items():
            trainer.set_rate(name, optimizer._schedule.rate)
        self._run(trainer, x, val, n_steps, held_out=X_val)
        return self

    def _run(
        self,
        trainer: _core.Trainer,
        x: NDArray[Any],
        val: NDArray[Any] | None,
        n_steps: int,
        first: int | None = None,
        held_out: Any = None,
    ) -> None:
        self._check_idle()
        trainer.clear()
        trainer.feed(x)
        fit = Fit(self, trainer, x, val, n_steps, first, held_out)
        _running.add(id(self))
        try:
            with read_at_random(x):
                fit.run(self._events(fit))
        finally:
            _running.discard(id(self))

    def _check_idle(self) -> None:
        if id(self) in _running:
            raise StateError(
                f"{type(self).__name__}: it is running, expected the end of its fit"
            )

    def _check_loop(self) -> None:
        who = type(self).__name__
        if self.on_divergence not in ("raise", "rollback"):
            raise ValueError(
                f"{who}: on_divergence: got {self.on_divergence!r}, expected raise or rollback"
            )
        if not isinstance(self.verbose, int | np.integer):
            raise TypeError(f"{who}: verbose: got {self.verbose!r}, expected a number")
        if self.checkpoint is not None:
            path_of(self.checkpoint, f"{who}: checkpoint")
        whole(self.snapshot_every, f"{who}: snapshot_every", 1)
        whole(self.max_rollbacks, f"{who}: max_rollbacks", 0)
        whole(self.checkpoint_every, f"{who}: checkpoint_every", 1)

    def _start(self, x: NDArray[Any], names: NDArray[Any] | None) -> _core.Trainer:
        """The first data: bind the network, and forget what was learned before."""
        old: _core.Trainer | None = vars(self).get("_trainer")
        if old is not None:
            old.get("-")  # StateError while another thread runs it
        float_dtype(self.dtype, f"{type(self).__name__}: dtype")
        row, words, spec = x.shape[1:], key(self.random_state), self._spec()
        with scope(self.device):
            trainer = _core.Trainer(**spec, shape=row, dtype=self.dtype, key=words)
            networks = self._bind(row, self.dtype)
        self._write_starts(trainer, row, words)
        for name in [name for name in vars(self) if name.endswith("_") or name in _HIDDEN]:
            delattr(self, name)
        vars(self).update(networks)
        self.history_ = {}
        self.n_steps_ = 0
        self.n_features_in_ = math.prod(row)
        if names is not None:
            self.feature_names_in_ = names
        self._trainer, self._made_of, self._row, self._key = trainer, spec, row, words
        self._fit, self._memories = None, {}
        return trainer

    def _write_starts(
        self, trainer: _core.Trainer, row: tuple[int, ...], words: NDArray[Any]
    ) -> None:
        """Start values that networks bring with them, and averages, which begin there."""
        networks: dict[str, Network | None] = {"params": self._network}
        networks |= {f"parts.{name}": network for name, (network, _) in self._parts().items()}
        for k, (prefix, network) in enumerate(networks.items()):
            if network is None:
                continue
            of_part = (words.view(np.uint32) + np.array([k, 0], np.uint32)).view(words.dtype)
            starts = network._starts(row, of_part)
            arrays = {f"{prefix}.{name}": a.astype(self.dtype) for name, a in starts.items()}
            averages = {f"ema.{name}": array for name, array in arrays.items()}
            known = trainer.get(f"ema.{prefix}") if averages else {}
            trainer.set(arrays | (averages if known else {}))

    def _get_trainer(self) -> _core.Trainer:
        """The trainer: at hand, or made again after unpickling or a change of parameters."""
        spec = self._spec()
        if "_trainer" in vars(self) and spec == self._made_of:
            return self._trainer
        arrays = self._lasting()
        starts = {f"ema.{name}": array for name, array in arrays.items()}
        with scope(self.device):
            trainer = _core.Trainer(
                **spec, shape=self._row, dtype=self.energy_.dtype, key=self._key
            )
        known = trainer.get()
        arrays = {name: array for name, array in arrays.items() if _is_wanted(name, known)}
        trainer.set({name: array for name, array in starts.items() if name in known} | arrays)
        self._trainer, self._made_of = trainer, spec
        vars(self).pop("_saved", None)
        return trainer

    @property
    def _network(self) -> Network:
        return MLP() if self.network is None else self.network

    @property
    def _sampler(self) -> Sampler:
        return Langevin() if self.sampler is None else self.sampler

    @property
    def _schedule(self) -> Schedule:
        rate = self.learning_rate
        return rate if isinstance(rate, Schedule) else Constant(rate)

    def _spec(self) -> dict[str, Any]:
        """What the trainer is made of: (kind, options) of its parts, and options of its own."""
        who = type(self).__name__
        if not isinstance(self._network, Network):
            raise ValueError(
                f"{who}: network: got {self.network!r}, which has no parameters to fit, "
                "expected a specification such as networks.MLP()"
            )
        if not isinstance(self._sampler, Sampler):
            raise ValueError(
                f"{who}: sampler: got {self.sampler!r}, expected one such as "
                "samplers.Langevin()"
            )
        entropy = self._entropy()
        update = {name: getattr(self, name) for name in self._updating} | self._every()
        return {
            "network": self._network._spec(),
            "estimator": (self._kind, {name: getattr(self, name) for name in self._own}),
            "update": (
                (self.optimizer, self._optimizer_options()),
                self._schedule._spec(),
                update | {"learning_rate": self._schedule.rate},
            ),
            "sampler": self._sampler._spec(),
            "entropy": None if entropy is None else entropy._spec(),
            "parts": {
                name: (None if network is None else network._spec(), optimizer._update())
                for name, (network, optimizer) in self._parts().items()
            },
            "training": {name: getattr(self, name) for name in self._training},
        }

    def _every(self) -> dict[str, Any]:
        """{"every": steps from one update of the energy to the next}, where it is an option."""
        return {}

    def _parts(self) -> dict[str, tuple[Network | None, Optimizer]]:
        """What is trained beside the energy, and how."""
        return {}

    def _entropy(self) -> Entropy | None:
        """Of the generator, where there is one."""
        return None

    def _bind(self, row: tuple[int, ...], dtype: DTypeLike) -> dict[str, Any]:
        """The attributes that hold what is learned, {"energy_": bound network}."""
        return {"energy_": BoundNetwork(self._network, row, random_state=0, dtype=dtype)}

    def _optimizer_options(self) -> dict[str, float]:
        if not isinstance(self.optimizer, str):
            raise TypeError(
                f"{type(self).__name__}: optimizer: got {self.optimizer!r}, expected a word"
            )
        if np.shape(self.betas) != (2,):
            raise ValueError(
                f"{type(self).__name__}: betas: got {self.betas!r}, expected two numbers"
            )
        if self.optimizer == "adam":
            return {"beta1": self.betas[0], "beta2": self.betas[1]}
        return {"momentum": self.betas[0]}

    def _events(self, fit: Fit) -> list[Event]:
        """What acts in a fit, in this order where several act at one step."""
        events: list[Event] = []
        validation = None if fit.val is None else Validation(fit, *asked(self.callbacks))
        if validation is not None:
            events.append(validation)
        if self.on_divergence == "rollback":
            events.append(Rollback(fit, self.snapshot_every, self.max_rollbacks))
        events += callback_events(self.callbacks, fit, validation)
        if self.verbose:
            events.append(ShowProgress(fit, self._shown, self.verbose))
        if self.checkpoint is not None:
            events.append(Checkpoint(self.checkpoint, self.checkpoint_every))
        return events

    def _store(self) -> BoundNetwork:
        """Give the estimator what the trainer has learned so far; returns ``energy_``."""
        trainer = self._trainer
        for attribute, part in self._learned.items():
            bound: BoundNetwork = getattr(self, attribute)
            bound.set_parameters(trainer.get(trainer.prefix(part)))
        self.n_steps_ = trainer.steps
        return self.energy_

    # ---- what is learned ----

    @property
    def log_z_(self) -> float:
        """Log of the normaliser, where it is known: 0.0 for a tractable network.  Then
        ``score_samples`` gives log-likelihoods.
        """
        return self._fitted().log_z_

    def energy(self, X: Any) -> NDArray[Any]:
        """E (n_samples,) of rows; low where data is likely."""
        energy, who = self._fitted(), type(self).__name__
        self._check_names(X)
        x = check_rows(X, who, self._row, self.image_shape, lazy=True)
        return in_parts(energy, x, who)

    def score_samples(self, X: Any) -> NDArray[Any]:
        """-E(X), the log density up to a constant: log p(x) + log Z."""
        return -self.energy(X)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of ``score_samples``; comparable between rows, not between models."""
        return float(self.score_samples(X).mean())

    def sample(
        self,
        n_samples: int = 1,
        n_steps: int | None = None,
        random_state: Any = None,
        init: Any = None,
        method: str | None = None,
    ) -> NDArray[Any]:
        """New samples.

        Parameters
        ----------
        n_samples : int, default 1
        n_steps : int or None
            Of chains.  None: the sampler's own from the buffer, 500 from noise (as CEBM).
        random_state : int, numpy.random.Generator or None
            None: the estimator's own, so that two calls give the same.
        init : "buffer", "noise", "uniform", "normal", array (n_samples, ...), or None
            Where chains start.  None: the buffer if there is one; "noise": uniform on (-1, 1),
            or what new chains of the buffer begin with.
        method : str or None
            "chain": walked on the energy by the sampler.  "generator": drawn from the
            estimator's generator.  "refined": those walked on in the generator's latents, as
            `ebmlib.samplers.refine` does.  "exact": drawn from a tractable density.  None:
            "generator" where there is one, else "chain".

        Returns
        -------
        array (n_samples, ...)
        """
        self._fitted()
        n = whole(n_samples, "sample: n_samples", 1)
        known = self._methods()
        method = known[0] if method is None else method
        if method not in known:
            raise ValueError(
                f"{type(self).__name__}.sample: method: got {method!r}, expected one of "
                f"{list(known)}"
            )
        if method != "chain" and init is not None:
            raise ValueError(
                f"{type(self).__name__}.sample: init: got {init!r}, expected it for chains only"
            )
        if random_state is None:
            random_state = int(self._key.view(np.uint64)[0])
        x = self._draw(method, n, n_steps, generator(random_state), init)
        return x.reshape(n, -1) if self.image_shape is not None else x

    def _methods(self) -> tuple[str, ...]:
        """The ways to sample, the usual one first."""
        return ("chain", "exact") if self.energy_._traits["exact"] else ("chain",)

    def _draw(
        self, method: str, n: int, n_steps: int | None, rng: np.random.Generator, init: Any
    ) -> NDArray[Any]:
        if method == "exact":
            return np.asarray(self.energy_.sample(n, random_state=rng))
        x0, default = self._starts(n, init, rng)
        n_steps = default if n_steps is None else n_steps
        return np.asarray(self._sampler.sample(self.energy_, x0, n_steps, random_state=rng))

    def diagnose(self, X: Any = None) -> Report:
        """What is wrong with the fit: findings with their figures and cures.

        Parameters
        ----------
        X : array (n_samples, ...) or None
            Rows to compare chains and energies with.  None: the last batch of the training,
            which an estimator that was unpickled has not; checks that need it are left out.

        Returns
        -------
        `ebmlib.diagnosis.Report`
            True if there is a warning or an error; printed as text.
        """
        self._fitted()
        return diagnose(self, X)

    def _starts(self, n: int, init: Any, rng: np.random.Generator) -> tuple[NDArray[Any], int]:
        """(starts, default number of steps)."""
        who, shape = f"{type(self).__name__}.sample", (n, *self._row)
        walk = self._sampler.n_steps
        buffer = self._buffer()
        if init is None:
            init = "buffer" if len(buffer) else "noise"
        if not isinstance(init, str):
            self._check_names(init)
            starts = check_rows(init, who, self._row, self.image_shape)
            if len(starts) != n:
                raise ValueError(
                    f"{who}: init: got {len(starts)} rows, expected n_samples = {n}"
                )
            return starts, walk
        if init == "buffer" and len(buffer):
            return buffer[rng.choice(len(buffer), n, replace=n > len(buffer))], walk
        if init == "normal" or (
            init == "noise" and getattr(self, "buffer_init", "") == "normal"
        ):
            return rng.standard_normal(shape), _NOISE_STEPS
        if init in ("noise", "uniform"):
            return rng.uniform(-1, 1, shape), _NOISE_STEPS
        raise ValueError(
            f"{who}: init: got {init!r}, expected noise, uniform, normal, an array, or buffer "
            "where chains have been kept"
        )

    def _buffer(self) -> NDArray[Any]:
        """The kept chains that have been used; none for an estimator without a buffer."""
        arrays = self._get_trainer().get("buffer")
        return arrays["x"][arrays["age"] > 0] if arrays else np.empty((0, *self._row))

    def _check_names(self, X: Any) -> None:
        check_names(X, getattr(self, "feature_names_in_", None), type(self).__name__)

    def _fitted(self) -> BoundNetwork:
        if not self.__sklearn_is_fitted__():
            raise not_fitted(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with "
                "appropriate arguments before using this estimator."
            )
        return self.energy_

    # ---- contracts ----

    def _lasting(self) -> dict[str, NDArray[Any]]:
        """The arrays of the trainer, or of the one that there was before pickling."""
        if "_trainer" in vars(self):
            return lasting(self._trainer.get())
        saved: dict[str, NDArray[Any]] = vars(self)["_saved"]
        return saved

    def _without_trainer(self) -> dict[str, Any]:
        """What there is, with arrays in the place of the trainer."""
        state = dict(vars(self))
        state.pop("_made_of", None)
        if state.pop("_trainer", None) is not None:
            state["_saved"] = self._lasting()
        return state

    def __getstate__(self) -> dict[str, Any]:
        state = self._without_trainer()
        if self.__sklearn_is_fitted__():
            for name, value in self.get_params(deep=False).items():
                if isinstance(value, Network):
                    state[name] = value._saved(self._row, self.energy_.dtype)
        return state

    def __copy__(self: Self) -> Self:
        """A copy that trains on its own, with the same objects as parameters."""
        copied = type(self).__new__(type(self))
        vars(copied).update(self._without_trainer())
        if self.__sklearn_is_fitted__():
            for attribute in self._learned:
                setattr(copied, attribute, copy.copy(getattr(self, attribute)))
        return copied

    def __sklearn_is_fitted__(self) -> bool:
        return "energy_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="density_estimator",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(),
            non_deterministic=False,
        )
