"""Chains in the latent space of a generator x = g(z) + sigma eps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import random
from .._chains import as_energy
from .._checks import real, whole
from .._interchange import as_numbers
from ..errors import ShapeError
from ..networks import BoundNetwork
from ..transforms import stop_gradient
from .kinds import MALA
from .sampler import ChainState, Sampler

__all__ = ["posterior", "refine", "refinement"]

TARGETS = ("exact", "flat", "tilted")


def posterior(generator: Any, x: Any, gradient: str = "full") -> Callable[[Any], Any]:
    """The energy of the latents z that may have made x = g(z) + sigma eps.

    E(z) = |z|^2 / 2 + |x - g(z)|^2 / (2 sigma^2)

    so that exp(-E(z)) is q(z|x) up to a constant: what VERA(HMC) walks on (Grathwohl et al.
    2021, section 3 and appendix B.4).

    Parameters
    ----------
    generator : BoundGenerator, or a function with ``sigma``
        g: (N, latent) -> (N, ...).
    x : array (N, ...)
        Each chain has its row.
    gradient : {"full", "prior"}, default "full"
        "prior": the value is the whole, but its gradient is z alone, as in the authors' code
        (VERA's and PresGAN's), whose chains go where the prior pulls them and leave the rest to
        the Metropolis step.  To repeat their figures only.

    Returns
    -------
    callable
        Of z (N, latent), for samplers and traced functions; it holds all rows of x, so its
        chains walk all at once.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import networks, samplers
    >>> g = networks.MLPGenerator(latent=3, sigma=0.5).bind(2, random_state=0)
    >>> x, z = g.sample(100, random_state=0, return_latent=True)
    >>> walk = samplers.HMC(step_size=0.1, n_steps=20)
    >>> walk.sample(samplers.posterior(g, x), z, random_state=0).shape
    (100, 3)
    """
    if gradient not in ("full", "prior"):
        raise ValueError(f"gradient: got {gradient!r}, expected full or prior")
    g = _Generator(generator, "posterior")
    g.need_noise("posterior")
    rows = as_numbers(x, "x")
    if g.shape is not None and rows.shape[1:] != g.shape:
        raise ShapeError(f"x: shape {rows.shape}, expected (N, {str(g.shape)[1:]}")

    def energy(z: Any) -> Any:
        fit = _half_squares((rows - g(z)) / g.sigma)
        return _half_squares(z) + (fit if gradient == "full" else stop_gradient(fit))

    return energy


def refinement(
    energy: Any, generator: Any, target: str = "exact", scaled: bool = False
) -> Callable[[Any], Any]:
    """The energy of what makes a generator's samples, {"z", "eps"}, with x = g(z) + sigma eps.

    - "exact", E(x) + |z|^2 / 2: for every z the law of x is exp(-E), so x has it;
    - "flat", E(x): VERA's (Grathwohl et al. 2021, appendix B.6.1), improper in z; x has the law
      exp(-E) in the limit, while z drifts;
    - "tilted", E(x) + |z|^2 / 2 + |eps|^2 / 2: x has the law q(x) exp(-E(x)), q the
      generator's: the model of VAEBM (Xiao et al. 2021), not VERA's.

    Parameters
    ----------
    energy : callable, BoundNetwork or fitted estimator
        Of rows x (N, ...).
    generator : BoundGenerator, or a function with ``sigma``
        g: (N, latent) -> (N, ...).
    target : {"exact", "flat", "tilted"}, default "exact"
    scaled : bool, default False
        "eps" holds sigma eps, the noise in units of x.  The law of x is the same; but chains of
        one step size for all move x as easily where sigma is small.

    Returns
    -------
    callable
        Of a dict of "z" (N, latent) and "eps" (N, ...).

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import networks, samplers
    >>> net = networks.MLP((8,)).bind(2, random_state=0)
    >>> g = networks.MLPGenerator(latent=3).bind(2, random_state=0)
    >>> joint = samplers.refinement(net, g)
    >>> joint({"z": np.zeros((5, 3), "float32"), "eps": np.zeros((5, 2), "float32")}).shape
    (5,)
    """
    if target not in TARGETS:
        raise ValueError(f"target: got {target!r}, expected one of {sorted(TARGETS)}")
    as_energy(energy)
    fitted = getattr(energy, "energy_", None)
    of_x = fitted if isinstance(fitted, BoundNetwork) else energy
    g = _Generator(generator, "refinement")
    g.need_noise(f"refinement: target {target!r}")

    def joint(p: Any) -> Any:
        noise = p["eps"] if scaled else g.sigma * p["eps"]
        e = of_x(g(p["z"]) + noise)
        if target != "flat":
            e = e + _half_squares(p["z"])
        return e + _half_squares(noise / g.sigma) if target == "tilted" else e

    return joint


def refine(
    energy: Any,
    generator: Any,
    n_samples: int,
    target: str = "exact",
    sampler: Sampler | None = None,
    *,
    scaled: bool | None = None,
    n_steps: int | None = None,
    random_state: Any = None,
    return_latent: bool = False,
    return_info: bool = False,
) -> Any:
    """Samples of a generator, made better by chains on what they are made of.

    z and eps begin at N(0, I), walk on `refinement`, and x = g(z) + sigma eps comes of where
    they end; with ``n_steps=0`` it is the generator's own, from the same draws.

    Parameters
    ----------
    energy, generator, target
        As in `refinement`.
    n_samples : int
    sampler : MALA, HMC, Langevin or None
        None: VERA's 100 steps and its acceptance, with its code's first size, as ``MALA(1 /
        latent, n_steps=100, adapt="dual_averaging", target=0.57, n_adapt=50)``.  `MALA.tied`
        has drift delta^2 / 2 and deviation delta, `MALA.as_printed` what the paper prints.
    scaled : bool or None
        Chains walk on sigma eps; False: on eps, as the paper, where a small sigma keeps x from
        moving (experiments/vera/RESULTS.md).  None: on sigma eps, but for "tilted", whose eps
        stay N(0, I)-like.
    n_steps : int or None
        None: the sampler's own.
    random_state : int, numpy.random.Generator or None
    return_latent : bool, default False
        Also give {"z", "eps"}.
    return_info : bool, default False
        Also give what the steps report.

    Returns
    -------
    x : array (n_samples, ...)
    latent : dict of arrays, only with ``return_latent``
    info : dict of arrays (n_steps, n_samples), only with ``return_info``

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import networks, samplers
    >>> g = networks.MLPGenerator(latent=3, sigma=0.5).bind(2, random_state=0)
    >>> def energy(x):
    ...     return 0.5 * np.sum(x**2, axis=1)
    >>> samplers.refine(energy, g, 100, random_state=0).shape
    (100, 2)
    """
    scaled = target != "tilted" if scaled is None else bool(scaled)
    joint = refinement(energy, generator, target, scaled)
    g = _Generator(generator, "refine")
    n = whole(n_samples, "n_samples", 1)
    if sampler is None:
        sampler = MALA(
            1 / g.latent, n_steps=100, adapt="dual_averaging", target=0.57, n_adapt=50
        )
    if not isinstance(sampler, Sampler):
        raise TypeError(
            f"sampler: got {type(sampler).__name__}, expected one such as samplers.MALA()"
        )
    words = random.key(random_state)
    z = random.normal(random.fold_in(words, 0), (n, g.latent), dtype=g.dtype)
    row = np.shape(g(z))[1:]
    eps = random.normal(random.fold_in(words, 1), (n, *row), dtype=g.dtype)
    sigma = g.dtype.type(g.sigma)
    unit = sigma if scaled else g.dtype.type(1)  # of what is walked on
    start = ChainState({"z": z, "eps": unit * eps}, random.fold_in(words, 2), 0)
    state, infos = sampler.run(joint, start, n_steps)
    latent = {"z": state.x["z"], "eps": state.x["eps"] / unit}
    x = g(latent["z"]) + sigma * latent["eps"]
    results = [x] + [latent] * return_latent + [infos] * return_info
    return tuple(results) if len(results) > 1 else x


class _Generator:
    """A generator as chains use it: its function, in the dtype of z, and its noise."""

    def __init__(self, generator: Any, who: str) -> None:
        if not callable(generator) or not hasattr(generator, "sigma"):
            raise TypeError(
                f"{who}: generator: got {type(generator).__name__}, expected a bound generator"
            )
        self._call = generator
        self.sigma = real(generator.sigma, f"{who}: generator: sigma")
        self.shape: tuple[int, ...] | None = getattr(generator, "shape", None)
        self._own: np.dtype[Any] | None = getattr(generator, "dtype", None)
        self.dtype = np.dtype(np.float64 if self._own is None else self._own)

    @property
    def latent(self) -> int:
        return whole(self._call.latent, "generator: latent", 1)

    def need_noise(self, who: str) -> None:
        if not self.sigma > 0:
            raise ValueError(
                f"{who}: generator: got sigma {self.sigma}, expected noise: x has no density"
            )

    def __call__(self, z: Any) -> Any:
        if self._own is None or z.dtype == self._own:
            return self._call(z)
        return self._call(z.astype(self._own)).astype(z.dtype)


def _half_squares(x: Any) -> Any:
    return 0.5 * np.sum(x**2, axis=tuple(range(1, x.ndim)))
