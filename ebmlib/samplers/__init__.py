"""Markov chains on energies.

An energy is a NumPy function of rows x (N, ...) that gives (N,), a bound network, or a fitted
estimator.  All N chains walk at once, in C, and the random numbers are a function of the key
and the step alone: ten calls of ``step`` give the bits of one ``sample`` of ten steps.

>>> import numpy as np
>>> from ebmlib import samplers
>>> def energy(x):
...     return 0.5 * np.sum(x**2, axis=1)
>>> walk = samplers.Langevin(step_size=0.1, n_steps=100)
>>> x = walk.sample(energy, np.zeros((1000, 2)), random_state=0)
>>> bool(abs(x.std() - 1) < 0.1)
True
"""

from __future__ import annotations

from .._checks import whole as whole
from .annealed import LogZ, annealed_importance_sampling
from .inference import to_inference_data
from .kinds import HMC, MALA, Langevin
from .latent import posterior, refine, refinement
from .replay import ReplayBuffer
from .replay import generator as generator
from .sampler import ChainState
from .sampler import Sampler as Sampler

__all__ = [
    "HMC",
    "MALA",
    "ChainState",
    "Langevin",
    "LogZ",
    "ReplayBuffer",
    "annealed_importance_sampling",
    "posterior",
    "refine",
    "refinement",
    "to_inference_data",
]

# Where people and files know them: the file that a class is written in is nobody's business.
for _name in __all__:
    globals()[_name].__module__ = __name__
