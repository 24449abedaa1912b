"""Score matching: the slope of the data's log density, without samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

from .._estimator import EnergyEstimator
from ..networks import Network
from ..samplers import Sampler
from ..schedules import Schedule

__all__ = ["ScoreMatching"]


class ScoreMatching(EnergyEstimator):
    """Score matching: s(x) = -grad E(x) becomes the slope of the data's log density.

    No chains are walked and log Z drops out.  The loss is the mean over a batch of

    - "exact": tr ds/dx + |s|^2 / 2 (Hyvarinen 2005, theorem 1), the trace by D Hessian-vector
      products for rows of D numbers;
    - "sliced": v' ds/dx v + (v' s)^2 / 2 (SSM of Song et al. 2019);
    - "sliced_vr": v' ds/dx v + |s|^2 / 2, of less variance (their SSM-VR; VERA's code
      has it, with normal v);
    - "curvature": exact, with the trace estimated by curvature propagation (Martens et al.
      2012): signs times roots of each unit's own second derivative are propagated backwards
      to x, and the sum of their squares is an unbiased estimate of the trace;
    - "denoising": w |s(x + sigma n) + n / sigma|^2 / 2 (J_DSM of Vincent 2011).

    The first four agree in expectation: to half the mean square of s minus the data's slope,
    plus a constant.  Denoising fits the data with normal noise of deviation sigma added.

    Parameters
    ----------
    network : MLP, ConvNet, Function or None
        The specification of the energy; None: ``MLP()``.  All kinds but "denoising" need one
        that bends: of relu or leaky_relu ds/dx is zero, and nothing is learned.
    sampler : Langevin or None
        What `sample` walks with; training needs none.  None: ``Langevin()``.
    kind : {"sliced", "sliced_vr", "denoising", "curvature", "exact"}, default "sliced"
    projection : {"rademacher", "gaussian"}, default "rademacher"
        The law of v: signs (the code of Song et al.), or normal (VERA's code).
    n_projections : int, default 1
        Directions v, or estimates of the trace by curvature, for a row.
    sigma : float, default 0.1
        Deviation of the noise, for "denoising".  Song et al. choose it on held-out rows.
    weight : {"one", "sigma2", "sigma4"}, default "one"
        w of "denoising": 1 (Vincent), sigma^2 (Song and Ermon 2019), or sigma^4 (the code of
        Song et al. 2019).  With one sigma it only rescales the gradient, which "sgd" and
        ``clip_norm`` see and "adam" does not.
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
        For each step: loss, trace (the mean of tr ds/dx, or of its estimate; not of
        "denoising"), score_norm (the root of the mean of |s|^2, or of (v' s)^2 for "sliced"),
        grad_norm, learning_rate; and what `CD` has for validations and rollbacks.

    Notes
    -----
    Where all rows are finite the loss may be negative, and is no measure across data sets.  On
    rows that lie on a surface of fewer dimensions it has no minimum: add noise, or use
    "denoising".

    "curvature" works on any energy without a loop in it.  For elementwise functions F is a
    square root, complex where the second derivative is negative; for a product of two values
    that both depend on x (attention, say) it is (v, M v), which is sliced's estimate on the
    spot.  The variance is 2 times the sum of |M_k M_l| (dy_k/dx . dy_l/dx)^2 over pairs of
    units k != l whose own curvatures M_k have one sign: none for one unit.  Gradients in
    parameters have 1 / sqrt|M_k| in them and are heavy-tailed where units are nearly straight.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import estimators, networks
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> est = estimators.ScoreMatching(networks.MLP((16,)), kind="sliced_vr", max_steps=10)
    >>> est.fit(x).history_["trace"].shape
    (10,)
    """

    _kind = "score_matching"
    _own = ("kind", "projection", "n_projections", "sigma", "weight")
    _shown = ("loss", "score_norm", "grad_norm")

    def __init__(
        self,
        network: Network | None = None,
        sampler: Sampler | None = None,
        *,
        kind: str = "sliced",
        projection: str = "rademacher",
        n_projections: int = 1,
        sigma: float = 0.1,
        weight: str = "one",
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
        self.kind = kind
        self.projection = projection
        self.n_projections = n_projections
        self.sigma = sigma
        self.weight = weight
