"""Energy networks: specifications that hold options, and networks bound to a shape.

A network maps rows x (N, ...) to energies E (N,), one number a row; the density is
p(x) = exp(-E(x)) / Z.  ``MLP`` and ``ConvNet`` are specifications without arrays, and so is a
``Function`` that a person writes: an estimator binds them to the shape of its data, or ``bind``
does.  Generators map latents z (N, latent) to rows: ``MLPGenerator``, ``FunctionGenerator``.

>>> import numpy as np
>>> from ebmlib import networks
>>> net = networks.MLP(hidden=(64, 64)).bind(2, random_state=0)
>>> net(np.zeros((5, 2))).shape
(5,)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._network import BoundGenerator, BoundNetwork, Energy, Generator
from ._network import Network as Network
from ._network import bind_arrays as bind_arrays
from ._params import from_json
from ._tractable import NICE, BoundLinear, GaussianMixture, LinearGenerator
from ._written import WRITTEN, Function, FunctionGenerator, written_from_json

__all__ = [
    "MLP",
    "NICE",
    "BoundGenerator",
    "BoundLinear",
    "BoundNetwork",
    "ConvNet",
    "Function",
    "FunctionGenerator",
    "GaussianMixture",
    "LinearGenerator",
    "MLPGenerator",
]


class MLP(Energy):
    """Dense layers on flattened rows.

    E(x) = w_L f(... f(x W_0 + b_0) ...) + b_L.  Weights start as N(0, g^2 / fan in) with g^2 =
    1 / E[f(n)^2] of the activation before them (for relu: He et al. 2015), biases as zero.

    Parameters
    ----------
    hidden : tuple of int, default (128, 128)
        Widths of the hidden layers.
    activation : str, default "swish"
        f: swish, relu, leaky_relu (slope 0.2), elu, softplus, tanh or gelu.
    weight_norm : bool, default False
        Each hidden layer's w is g v / |v| (Salimans and Kingma 2016), with "l0.v" and "l0.g".
    dropout : float, default 0.0
        Share dropped behind each activation where an estimator learns: in the loss of the
        energy.  Chains, generators and evaluation see the whole network.

    Notes
    -----
    The energies of VERA (Grathwohl et al. 2021) are ``MLP((100, 100), "leaky_relu")`` for toy
    densities and ``MLP((1000, 500, 500, 250, 250, 250), "leaky_relu", weight_norm=True)`` for
    images as tables (its code; for tabular data without weight norm).

    Examples
    --------
    >>> from ebmlib import networks
    >>> net = networks.MLP(hidden=(100, 100), activation="leaky_relu")
    >>> net
    MLP(hidden=(100, 100), activation='leaky_relu')
    >>> net.bind(2, random_state=0).n_parameters
    10501
    """

    _kind = "mlp"

    def __init__(
        self,
        hidden: Sequence[int] = (128, 128),
        activation: str = "swish",
        weight_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.weight_norm = weight_norm
        self.dropout = dropout


class ConvNet(Energy):
    """Convolutions on images (N, H, W, C), then dense layers.

    The default is the network of the conjugate EBM (Wu et al. 2021, after Nijkamp et al. 2020).
    The lists of kernels and strides go on with their last number where they are shorter than
    ``channels``, and may be longer.  Batch normalisation is not offered: it couples the rows of
    a batch, and a gradient of the sum of energies would be wrong.

    Parameters
    ----------
    channels : tuple of int, default (32, 32, 64, 64)
    kernels : tuple of int, default (3, 4, 4, 4)
        Sides of the square kernels.
    strides : tuple of int, default (1, 2, 2, 2)
    padding : int, default 1
        Zeros around each image.
    head : tuple of int, default (128,)
        Widths of the dense layers before the energy.
    activation : str, default "swish"
        After each layer but the last; see `MLP`.
    norm : str, default "none"
        Before the activation of each convolution: none, layer, or group (8 groups).

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import networks
    >>> net = networks.ConvNet(channels=(16, 32)).bind((8, 8, 1), random_state=0)
    >>> net(np.zeros((3, 8, 8, 1))).shape
    (3,)
    """

    _kind = "convnet"

    def __init__(
        self,
        channels: Sequence[int] = (32, 32, 64, 64),
        kernels: Sequence[int] = (3, 4, 4, 4),
        strides: Sequence[int] = (1, 2, 2, 2),
        padding: int = 1,
        head: Sequence[int] = (128,),
        activation: str = "swish",
        norm: str = "none",
    ) -> None:
        self.channels = channels
        self.kernels = kernels
        self.strides = strides
        self.padding = padding
        self.head = head
        self.activation = activation
        self.norm = norm


class MLPGenerator(Generator):
    """Dense layers from a latent to rows of any shape, and noise: x = g(z) + sigma eps.

    g(z) = f(norm(... f(norm(z W_0 + b_0)) ...)) W_L + b_L, z and eps standard normal.  Weights
    start as those of `MLP`.  sigma is a parameter, as its logarithm "log_sigma".

    The generators of VERA (Grathwohl et al. 2021):

    - toy densities (appendix B.2): ``MLPGenerator()``;
    - the NICE experiment (B.3): ``MLPGenerator(100, (500, 500), activation="softplus")``;
    - large ones of its code: ``MLPGenerator(128, (500, 500, 500), activation="softplus")``.

    Parameters
    ----------
    latent : int, default 2
        The width of z.
    hidden : tuple of int, default (100, 100)
        Widths of the hidden layers.
    activation : str, default "relu"
        f; see `MLP`.
    norm : {"batch", "layer", "none"}, default "batch"
        Before each activation.  Batch norm (Ioffe and Szegedy 2015) keeps running statistics,
        the arrays "n0.mean", "n0.var", ..., which are not trained.
    dropout : float, default 0.0
        Share dropped behind each activation, in training.
    sigma : float, default 0.01
        Start of the deviation of the noise, as in VERA's code; 0: no noise.  So small a start
        is hard: posteriors of z are narrow, their estimates poor, and Adam takes thousands of
        steps to where sigma ends.  For data of unit scale 0.1 to 0.3 is calmer.

    Examples
    --------
    >>> from ebmlib import networks
    >>> g = networks.MLPGenerator(latent=10, hidden=(64,)).bind((8, 8, 1), random_state=0)
    >>> g.sample(3, random_state=0).shape
    (3, 8, 8, 1)
    """

    _kind = "mlp_generator"

    def __init__(
        self,
        latent: int = 2,
        hidden: Sequence[int] = (100, 100),
        activation: str = "relu",
        norm: str = "batch",
        dropout: float = 0.0,
        sigma: float = 0.01,
    ) -> None:
        self.latent = latent
        self.hidden = hidden
        self.activation = activation
        self.norm = norm
        self.dropout = dropout
        self.sigma = sigma


_KINDS = (MLP, ConvNet, MLPGenerator, NICE, GaussianMixture, LinearGenerator)


def _network_from_json(text: dict[str, Any]) -> Network:
    """The network of ``Network._to_json``; ValueError or TypeError where it is none."""
    if isinstance(text, dict) and text.get("kind") in list(WRITTEN):
        return written_from_json(text)
    network = from_json(text, _KINDS)
    assert isinstance(network, Network)
    return network
