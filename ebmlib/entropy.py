"""Entropy of a generator x = g(z) + sigma eps: estimates of its gradient.

    grad_phi H = -E[ score(x)' grad_phi x ],   score(x) = grad_x log q(x)
                                                        = E[ (g(z) - x) / sigma^2 | x ]

(VERA, Grathwohl et al. 2021, equations 6 and 7, whose sign this is the mended one of.)  An
object of this module is a way to estimate the score, for `ebmlib.estimators.VERA` or by itself.

>>> from ebmlib import entropy
>>> entropy.Importance(draws=50)
Importance(draws=50)
"""

from __future__ import annotations

from typing import Any, ClassVar

from ._params import Specification, from_json
from .networks import MLP, Network

__all__ = ["Importance", "MutualInformation"]


class Entropy(Specification):
    """What all of them share."""

    _family = "entropy"
    _part: str | None = None  # the parameters that it trains beside the generator

    @classmethod
    def _from_json(cls, text: dict[str, Any]) -> Specification:
        return from_json(text, (Importance, MutualInformation))

    def _network(self) -> Network | None:
        """The network of its part."""
        return None


class Importance(Entropy):
    """Self-normalised importance sampling (VERA, equation 8).

    score = sum_i w_i (g(z_i) - x) / sigma^2,   z_i = z0 + eta n_i,
    log w_i = log q(x, z_i) - log N(z_i; z0, eta^2) + const

    from the z0 that made x.  ``eta``, one for each latent, is trained beside the generator on
    the evidence lower bound (equation 9).

    Parameters
    ----------
    draws : int, default 20
        k, of z for each x.
    eta : float, default 0.1
        Where eta starts, as in the authors' code.
    statistics : {"own", "batch", "running"}
        By which a generator with batch norm sees the draws: by their own (as the authors'
        code), by those of the batch that x belongs to, or by the running ones.

    Examples
    --------
    >>> from ebmlib import entropy
    >>> entropy.Importance(draws=5).draws
    5
    """

    _kind = "importance"
    _part = "posterior"

    def __init__(self, draws: int = 20, eta: float = 0.1, statistics: str = "own") -> None:
        self.draws = draws
        self.eta = eta
        self.statistics = statistics


class MutualInformation(Entropy):
    """The mutual information of x and z, climbed in the place of the entropy (MEG, Kumar et al.
    2019): H(q) = I(x; z) + H(x|z), with H(x|z) = D log sigma + const.

    A critic T(x, z) tells pairs (x_i, z_i) from pairs (x_i, z_{i+1}):

    - jensen_shannon: I ~ -mean softplus(-T) - mean softplus(T'), as Deep InfoMax;
    - donsker_varadhan: I >= mean T - log mean exp T', as MINE.

    Parameters
    ----------
    bound : {"jensen_shannon", "donsker_varadhan"}
    critic : network or None
        An energy network on rows of x and z as one; None: as VERA's baseline, an `networks.MLP`
        of three layers of 500 with leaky_relu.

    Examples
    --------
    >>> from ebmlib import entropy
    >>> entropy.MutualInformation().bound
    'jensen_shannon'
    """

    _kind = "mutual_information"
    _part = "critic"
    _nested: ClassVar = {"critic": Network}

    def __init__(self, bound: str = "jensen_shannon", critic: Network | None = None) -> None:
        self.bound = bound
        self.critic = critic

    def _spec(self) -> tuple[str, dict[str, Any]]:
        return self._kind, {"bound": self.bound}

    def _network(self) -> Network:
        return MLP((500, 500, 500), "leaky_relu") if self.critic is None else self.critic
