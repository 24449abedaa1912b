"""The samplers."""

from __future__ import annotations

from typing import Any

from .._checks import real
from .sampler import Sampler

__all__ = ["HMC", "MALA", "Langevin"]


class Langevin(Sampler):
    """Unadjusted Langevin dynamics.

    x' = x - step_size * grad E(x) + noise * n,  n ~ N(0, I)

    As the step goes to 0 it samples exp(-E / T) at temperature T = noise^2 / (2 step_size).
    Papers with a half in front of the gradient have step_size = eta / 2: CEBM's (alpha 2, sigma
    0.0075, 60 steps) is ``Langevin(step_size=1.0, noise=0.0075, n_steps=60)``.

    Parameters
    ----------
    step_size : float, default 0.01
    noise : float or None, default None
        None: sqrt(2 step_size), temperature 1.
    n_steps : int, default 60
        As CEBM (Wu et al. 2021) and IGEBM (Du and Mordatch 2019).
    clip : (float, float) or None
        Bounds of x after each step.
    clip_grad : float or None
        Bound of each element of the gradient (IGEBM: 0.01).

    Examples
    --------
    >>> from ebmlib import samplers
    >>> samplers.Langevin(step_size=1.0, noise=0.01).temperature
    5e-05
    """

    _kind = "langevin"

    def __init__(
        self,
        step_size: float = 0.01,
        noise: float | None = None,
        n_steps: int = 60,
        clip: tuple[float, float] | None = None,
        clip_grad: float | None = None,
    ) -> None:
        self.step_size = step_size
        self.noise = noise
        self.n_steps = n_steps
        self.clip = clip
        self.clip_grad = clip_grad

    @classmethod
    def tied(
        cls,
        noise: float,
        n_steps: int = 60,
        clip: tuple[float, float] | None = None,
        clip_grad: float | None = None,
    ) -> Langevin:
        """With step_size = noise^2 / 2, temperature 1: how VERA (Grathwohl et al. 2021) and its
        code tie the two for PCD.

        >>> from ebmlib import samplers
        >>> samplers.Langevin.tied(0.1).step_size
        0.005000000000000001
        """
        noise = real(noise, "noise")
        return cls(noise**2 / 2, noise, n_steps, clip, clip_grad)

    @property
    def temperature(self) -> float:
        """noise^2 / (2 step_size)."""
        return 1.0 if self.noise is None else self.noise**2 / (2 * self.step_size)


class MALA(Sampler):
    """The Metropolis-adjusted Langevin algorithm (Roberts and Tweedie 1996).

    x' = x - step_size * grad E(x) + noise * n,  n ~ N(0, I)

    is accepted with probability min(1, exp(E(x) - E(x')) q(x|x') / q(x'|x)), where q(x'|x) is
    N(x'; x - step_size * grad E(x), noise^2 I); else the chain stays.  So it samples exp(-E)
    for every step and noise, whether they are tied or not.  A proposal of which the energy or
    the gradient is not finite is rejected.  A step costs one energy and one gradient.

    A step reports ``energy`` (before it), ``acceptance`` (the probability), ``accepted`` (0 or
    1) and ``step_size``.

    Parameters
    ----------
    step_size : float, default 0.01
        The first, if it is adapted.
    noise : float or None, default None
        None: sqrt(2 step_size).  As the step is adapted, noise^2 / step_size stays.
    n_steps : int, default 60
    clip : (float, float) or None
        Proposals outside are rejected: the law is that of exp(-E) within.
    adapt : {"none", "dual_averaging", "paper"}, default "none"
        How the step size of each chain follows its acceptance a: dual averaging (Hoffman and
        Gelman 2014, section 3.2; gamma 0.05, t0 10, kappa 0.75; at last the average), or
        ``step_size *= 1 + rate (a - target)`` as in PresGAN (Dieng et al. 2019) and VERA.
    target : float or None, default None
        The acceptance aimed at; None: 0.574 (Roberts and Rosenthal 1998), with "paper" 0.57
        (VERA, appendix B.6.1).
    rate : float, default 0.02
        Of ``adapt="paper"``; PresGAN and VERA.
    n_adapt : int, default 500
        Steps of adaptation, after which the step size stays; the 500 burn-in steps of VERA's
        study of HMC.  Until then a chain is no exact sampler.  (Walks of a training loop all
        begin at ``step_size`` again.)

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import samplers
    >>> def energy(x):
    ...     return 0.5 * np.sum(x**2, axis=1)
    >>> walk = samplers.MALA(step_size=0.5, n_steps=50)
    >>> x, info = walk.sample(energy, np.zeros((500, 2)), random_state=0, return_info=True)
    >>> sorted(info)
    ['acceptance', 'accepted', 'energy', 'step_size']
    """

    _kind = "mala"

    def __init__(
        self,
        step_size: float = 0.01,
        noise: float | None = None,
        n_steps: int = 60,
        clip: tuple[float, float] | None = None,
        adapt: str = "none",
        target: float | None = None,
        rate: float = 0.02,
        n_adapt: int = 500,
    ) -> None:
        self.step_size = step_size
        self.noise = noise
        self.n_steps = n_steps
        self.clip = clip
        self.adapt = adapt
        self.target = target
        self.rate = rate
        self.n_adapt = n_adapt

    @classmethod
    def tied(cls, noise: float, n_steps: int = 60, **options: Any) -> MALA:
        """With step_size = noise^2 / 2, as `Langevin.tied`.

        >>> from ebmlib import samplers
        >>> samplers.MALA.tied(0.5, adapt="paper").step_size
        0.125
        """
        noise = real(noise, "noise")
        return cls(noise**2 / 2, noise, n_steps, **options)

    @classmethod
    def as_printed(cls, delta: float, n_steps: int = 100, **options: Any) -> MALA:
        """With drift delta / 2 and deviation delta, as VERA's paper prints the proposal of its
        refinement (Grathwohl et al. 2021, appendix B.6.1); to repeat its figures.

        The two belong together only at delta = 1; the Metropolis ratio is the right one all the
        same, where the paper has it inverted.

        >>> from ebmlib import samplers
        >>> samplers.MALA.as_printed(0.1)
        MALA(step_size=0.05, noise=0.1, n_steps=100)
        """
        delta = real(delta, "delta")
        return cls(delta / 2, delta, n_steps, **options)


class HMC(Sampler):
    """Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011).

    From p ~ N(0, noise^2 I) the leapfrog

    p -= step_size / 2 * grad E(x);  x += step_size * p / mass;  p -= step_size / 2 * grad E(x)

    goes n_leapfrog times, and where it ends is accepted with probability min(1, exp(H - H')),
    H = E(x) + |p|^2 / (2 noise^2).  That samples exp(-E) for every noise; it accepts most where
    noise^2 = mass, the default.  A proposal of which the energy or the gradient is not finite
    is rejected.

    A step reports ``energy`` (before it), ``acceptance`` (the probability), ``accepted`` (0 or
    1), ``step_size`` and ``energy_error``, H' - H.

    Parameters
    ----------
    step_size : float, default 0.1
        Of the leapfrog; the first, if it is adapted.
    n_leapfrog : int, default 5
        As VERA's code.
    mass : float, default 1.0
    n_steps : int, default 60
    noise : float or None, default None
        Deviation of the momentum; None: sqrt(mass).
    clip : (float, float) or None
        As in `MALA`.
    adapt : {"none", "dual_averaging", "paper"}, default "none"
        How the step size of each chain follows its acceptance a: dual averaging (Hoffman and
        Gelman 2014, section 3.2; gamma 0.05, t0 10, kappa 0.75; at last the average), or
        ``step_size *= 1 + rate (a - target)`` as in PresGAN (Dieng et al. 2019) and VERA.
    target : float or None, default None
        The acceptance aimed at; None: 0.8 (Hoffman and Gelman), with "paper" 0.67 (PresGAN,
        VERA).
    rate : float, default 0.02
        Of ``adapt="paper"``; PresGAN and VERA.
    n_adapt : int, default 500
        Steps of adaptation, after which the step size stays; the 500 burn-in steps of VERA's
        study of HMC.  Until then a chain is no exact sampler.  (Walks of a training loop all
        begin at ``step_size`` again.)

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import samplers
    >>> def energy(x):
    ...     return 0.5 * np.sum(x**2, axis=1)
    >>> walk = samplers.HMC(step_size=0.5, n_leapfrog=4, n_steps=50)
    >>> x, info = walk.sample(energy, np.zeros((500, 2)), random_state=0, return_info=True)
    >>> bool(abs(x.std() - 1) < 0.1), bool(info["acceptance"].mean() > 0.9)
    (True, True)
    """

    _kind = "hmc"

    def __init__(
        self,
        step_size: float = 0.1,
        n_leapfrog: int = 5,
        mass: float = 1.0,
        n_steps: int = 60,
        noise: float | None = None,
        clip: tuple[float, float] | None = None,
        adapt: str = "none",
        target: float | None = None,
        rate: float = 0.02,
        n_adapt: int = 500,
    ) -> None:
        self.step_size = step_size
        self.n_leapfrog = n_leapfrog
        self.mass = mass
        self.n_steps = n_steps
        self.noise = noise
        self.clip = clip
        self.adapt = adapt
        self.target = target
        self.rate = rate
        self.n_adapt = n_adapt
