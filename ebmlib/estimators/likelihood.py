"""Maximum likelihood, for networks whose density is known."""

from __future__ import annotations

from .._estimator import EnergyEstimator

__all__ = ["MaximumLikelihood"]


class MaximumLikelihood(EnergyEstimator):
    """Maximum likelihood, for networks whose density is known: log Z is 0.

    loss = mean E(x) = -mean log p(x), in nats a row.  `score_samples` and `score` are exact
    log-likelihoods then, in the space of the rows as given: a transform before adds its
    log-determinant (`preprocessing`).

    Parameters
    ----------
    network : Function
        One whose energy is -log p(x), all terms kept.  A `Function` says so by
        ``normalized=True``.
    sampler : Langevin or None
        What chains of `sample` walk with; training needs none.  None: ``Langevin()``.
    learning_rate, optimizer, betas, weight_decay, clip_norm, ema, batch_size, max_steps
        As in `CD`.
    image_shape, warm_start, random_state, verbose, dtype, callbacks, on_divergence
        As in `CD`.
    snapshot_every, max_rollbacks, checkpoint, checkpoint_every, device
        As in `CD`.

    Attributes
    ----------
    energy_, n_steps_, n_features_in_, stop_reason_
        As in `CD`.
    history_ : dict of arrays
        For each step: loss, grad_norm, learning_rate; and what `CD` has for validations and
        rollbacks.
    log_z_ : float
        0.0.

    Raises
    ------
    ValueError
        In `fit`: the network's log Z is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import estimators, networks
    >>> def energy(p, x):
    ...     z = (x - p["mean"]) * np.exp(-p["log_scale"])
    ...     return np.sum(0.5 * z**2 + p["log_scale"] + 0.5 * np.log(2 * np.pi), axis=1)
    >>> start = {"mean": np.zeros(2), "log_scale": np.zeros(2)}
    >>> gaussian = networks.Function(energy, start, normalized=True)
    >>> x = np.random.default_rng(0).normal(3.0, size=(200, 2))
    >>> est = estimators.MaximumLikelihood(gaussian, learning_rate=0.1, max_steps=200).fit(x)
    >>> est.energy_.parameters()["mean"].round(1), est.log_z_
    (array([3., 3.], dtype=float32), 0.0)
    """

    _kind = "maximum_likelihood"
    _own = ()
    _shown = ("loss", "grad_norm")

    @property
    def log_z_(self) -> float:
        self._fitted()
        return 0.0
