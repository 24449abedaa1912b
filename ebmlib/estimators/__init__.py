"""Estimators: ways to fit an energy network to data, with scikit-learn's contract.

``fit`` returns the estimator; what is learned ends in an underscore.  A run never leaves C:
Ctrl-C stops it between two steps and leaves the estimator fitted to the last whole one.

>>> import numpy as np
>>> from ebmlib import estimators, networks, samplers
>>> x = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
>>> est = estimators.PCD(networks.MLP((32,)), samplers.Langevin(step_size=0.05, n_steps=10),
...                      max_steps=20, random_state=0).fit(x)
>>> est.energy(x).shape, est.sample(10).shape
((500,), (10, 2))
"""

from .contrastive import CD, PCD
from .likelihood import MaximumLikelihood
from .score_matching import ScoreMatching
from .variational import MEG, VERA

__all__ = ["CD", "MEG", "PCD", "VERA", "MaximumLikelihood", "ScoreMatching"]
