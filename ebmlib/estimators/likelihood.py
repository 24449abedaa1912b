"""Maximum likelihood, for networks whose density is known."""

from __future__ import annotations

from .._estimator import EnergyEstimator
from ..networks import GaussianMixture, Network

__all__ = ["MaximumLikelihood"]


class MaximumLikelihood(EnergyEstimator):
    """Maximum likelihood, for networks whose density is known: log Z is 0.

    loss = mean E(x) = -mean log p(x), in nats a row.  `score_samples` and `score` are exact
    log-likelihoods then, in the space of the rows as given: a transform before adds its
    log-determinant (`preprocessing`).

    Parameters
    ----------
    network : NICE, GaussianMixture, LinearGenerator, Function or None
        One whose energy is -log p(x), all terms kept; an `ebmlib.networks.Function` says so by
        ``normalized=True``.  None: ``GaussianMixture()``.
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
    >>> x = np.random.default_rng(0).normal(3.0, 0.5, size=(200, 2))
    >>> mixture = networks.GaussianMixture(1)
    >>> est = estimators.MaximumLikelihood(mixture, learning_rate=0.1, max_steps=200).fit(x)
    >>> bool(np.allclose(est.energy_.parameters()["means"], x.mean(axis=0), atol=0.1))
    True
    >>> est.log_z_
    0.0
    """

    _kind = "maximum_likelihood"
    _own = ()
    _shown = ("loss", "grad_norm")

    @property
    def _network(self) -> Network:
        return GaussianMixture() if self.network is None else self.network
