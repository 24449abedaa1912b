"""Networks whose density is known: log Z = 0, and samples are exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._network import BoundGenerator, BoundNetwork, Energy, Generator
from ._rows import check_rows

__all__ = ["NICE", "BoundLinear", "GaussianMixture", "LinearGenerator"]


class NICE(Energy):
    """Additive couplings: a flow whose density and samples are exact (Dinh et al. 2015).

    Rows are split into a, their even places, and b, their odd ones; then in turn b += m_0(a),
    a += m_1(b), ... (Eq. 3.1), and y = (a, b) exp(s):

        E(x) = -log p(x) = -log N(y; 0, I) - sum s

    or with the logistic density, -sum log(2 + exp(y) + exp(-y)), in the normal one's place.
    The m_i are MLPs, the log-scales s a parameter.  What ``sample`` and ``generate`` give is
    the inverse.  The last layer of each m_i starts at zero: with all couplings the identity.

    The default is the model of VERA's likelihood experiment (Grathwohl et al. 2021, appendix
    B.3), on MNIST after ``Dequantize(centred=True)`` and ``Logit(0.0, clip=1e-3)`` of
    `preprocessing`.

    Parameters
    ----------
    couplings : int, default 4
    layers : int, default 5
        Hidden layers of each coupling.
    width : int, default 1000
        Of the hidden layers.
    activation : str, default "softplus"
        See `MLP`.
    prior : {"normal", "logistic"}, default "normal"
        Of y: normal in VERA's experiment; Dinh et al. take the logistic, whose tails are
        heavier, for pictures.  ``generate`` takes normal z for both.

    Examples
    --------
    >>> from ebmlib import networks
    >>> net = networks.NICE(couplings=2, layers=1, width=16).bind(4, random_state=0)
    >>> x = net.sample(3, random_state=0)
    >>> net.log_prob(x).shape, net.log_z_
    ((3,), 0.0)
    """

    _kind = "nice"

    def __init__(
        self,
        couplings: int = 4,
        layers: int = 5,
        width: int = 1000,
        activation: str = "softplus",
        prior: str = "normal",
    ) -> None:
        self.couplings = couplings
        self.layers = layers
        self.width = width
        self.activation = activation
        self.prior = prior


class GaussianMixture(Energy):
    """A mixture of Gaussians with diagonal covariances.

    p(x) = sum_k softmax(logits)_k N(x; means_k, diag exp(2 log_std_k)).  As in VERA's code
    (Grathwohl et al. 2021) means start as N(0, 1), logits and log_std at zero.

    ``generate`` takes z (N, 1 + D): Phi(z_0) chooses the component by the cumulative weights,
    the others are the noise.  The choice has no derivative.

    Parameters
    ----------
    components : int, default 100

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import networks
    >>> net = networks.GaussianMixture(2).bind(1, dtype="float64")
    >>> net = net.set_parameters({"means": np.array([[-2.0], [2.0]])})
    >>> net.log_prob(np.array([[0.0]])).round(6)
    array([-2.918939])
    """

    _kind = "mixture"

    def __init__(self, components: int = 100) -> None:
        self.components = components


class LinearGenerator(Generator):
    """Probabilistic PCA (Tipping and Bishop 1999), x = W z + mu + sigma eps.

    Its density is N(mu, C), C = W W' + sigma^2 I, so that score, entropy and likelihood are
    exact: what estimators of these are held against.  Bound it is a `BoundLinear`; an
    estimator trains it as an energy.

    Parameters
    ----------
    latent : int, default 2
        The width of z.
    sigma : float, default 1.0
        Start of the deviation of the noise.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import networks
    >>> g = networks.LinearGenerator(latent=3).bind(5, random_state=0)
    >>> g(np.zeros((4, 3))).shape, g.energy(np.zeros((4, 5))).shape
    ((4, 5), (4,))
    """

    _kind = "linear"

    def __init__(self, latent: int = 2, sigma: float = 1.0) -> None:
        self.latent = latent
        self.sigma = sigma

    def bind(
        self,
        shape: int | Sequence[int],
        random_state: Any = None,
        dtype: DTypeLike = np.float32,
        device: str | None = None,
    ) -> BoundLinear:
        """A generator with its own arrays, of rows of ``shape``; see `MLPGenerator.bind`."""
        return BoundLinear(self, shape, random_state, dtype, device)

    def bind_data(
        self, X: Any, dtype: DTypeLike = np.float32, device: str | None = None
    ) -> BoundLinear:
        """The most likely one for data (Tipping and Bishop 1999, Eqs. 7 and 8).

        W = U (L - sigma^2 I)^(1/2) of the largest eigenvalues L and eigenvectors U of the
        data's covariance, sigma^2 the mean of the other eigenvalues, mu the mean.

        Parameters
        ----------
        X : array (N, ...)
            Rows.
        dtype, device
            As in ``bind``.

        Raises
        ------
        ValueError
            No directions are left for the noise.

        Examples
        --------
        >>> import numpy as np
        >>> from ebmlib import networks
        >>> X = np.random.default_rng(0).normal(size=(500, 1)) * np.array([[3.0, 3.0, 3.0]])
        >>> X = X + 0.1 * np.random.default_rng(1).normal(size=X.shape)
        >>> round(networks.LinearGenerator(latent=1).bind_data(X).sigma, 2)
        0.1
        """
        self._check()
        x = check_rows(X, "LinearGenerator")
        flat = x.reshape(len(x), -1).astype(np.float64)
        size, latent = flat.shape[1], int(self.latent)
        mean = flat.mean(axis=0)
        _, roots, vectors = np.linalg.svd(flat - mean, full_matrices=False)
        values = roots**2 / len(flat)  # all others are zero
        directions = int(np.sum(values > 1e-12 * max(values[0], 1e-300)))
        if latent >= directions:
            raise ValueError(
                f"LinearGenerator: latent: got {latent} for data of {directions} directions, "
                "expected fewer: the noise needs one"
            )
        rest = values[latent:].sum() / (size - latent)
        bound = self.bind(x.shape[1:], random_state=0, dtype=dtype, device=device)
        arrays = {
            "w": vectors[:latent].T * np.sqrt(values[:latent] - rest),
            "mu": mean,
            "log_sigma": 0.5 * np.log(rest),
        }
        return bound.set_parameters(arrays)


class BoundLinear(BoundGenerator):
    """A `LinearGenerator` with its arrays.

    Attributes
    ----------
    energy : BoundNetwork
        -log N(x; mu, C) over the same arrays: ``energy(x)``, ``energy.log_prob(x)``.

    Examples
    --------
    Of independent directions the entropy is a sum:

    >>> import numpy as np
    >>> from ebmlib import networks
    >>> g = networks.LinearGenerator(latent=1, sigma=1.0).bind(2, dtype="float64")
    >>> g = g.set_parameters({"w": np.array([[0.0], [2.0]])})
    >>> bool(np.isclose(g.entropy(), np.log(2 * np.pi * np.e) + 0.5 * np.log(5)))
    True
    >>> g.entropy_gradient()
    array([[0. ],
           [0.4]])
    """

    def _check_kind(self) -> None:
        if not isinstance(self.network, LinearGenerator):
            raise ValueError(f"bind: network: got {self.network!r}, expected a LinearGenerator")

    @property
    def energy(self) -> BoundNetwork:
        view = BoundNetwork.__new__(BoundNetwork)
        vars(view).update(vars(self))
        return view

    def score(self, x: Any) -> Any:
        """Grad log p(x) = -C^-1 (x - mu), (N, ...) of rows x (N, ...)."""
        return self.energy.score(x)

    def entropy(self) -> float:
        """H = D / 2 log(2 pi e) + 1 / 2 log |C|."""
        arrays = self.parameters()
        at_mean = self.energy(arrays["mu"].reshape(1, *self.shape))
        return float(at_mean[0]) + arrays["mu"].size / 2

    def entropy_gradient(self) -> NDArray[Any]:
        """dH/dW = C^-1 W, (D, latent)."""
        arrays = self.parameters()
        columns = (arrays["mu"] + arrays["w"].T).reshape(-1, *self.shape)
        gradient: NDArray[Any] = -self.score(columns).reshape(len(columns), -1).T
        return gradient
