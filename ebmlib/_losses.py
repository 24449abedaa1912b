"""Losses of an element or a row, not reduced.  Public in `functional`."""

from __future__ import annotations

from typing import Any

from ._checks import real
from ._compile import also_concrete
from ._core import ops
from ._trace import as_float, as_index, need, promote_float


@also_concrete("x")
def huber(x: Any, delta: float = 1.0) -> Any:
    """Huber's loss of a residual: x^2 / 2 where |x| <= delta, else delta (|x| - delta / 2).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.huber(np.array([0.5, -3.0]))
    array([0.125, 2.5  ])
    """
    return ops.huber(need().graph, as_float(x), real(delta, "delta"))


@also_concrete("logits", "labels")
def cross_entropy(logits: Any, labels: Any) -> Any:
    """Cross-entropy, -log softmax(logits) at labels: (..., K) and integers (...) to (...).

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.cross_entropy(np.zeros((1, 4)), np.array([2]))
    array([1.38629436])
    """
    return ops.cross_entropy(need().graph, as_float(logits), as_index(labels, "labels"))


@also_concrete("logits", "targets")
def bce_with_logits(logits: Any, targets: Any) -> Any:
    """Binary cross-entropy, -y log sigmoid(x) - (1 - y) log sigmoid(-x), of logits x and
    targets y from 0 to 1.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.bce_with_logits(np.zeros(1), np.ones(1))
    array([0.69314718])
    """
    return ops.bce_with_logits(need().graph, *promote_float(logits, targets))


@also_concrete("mean", "log_var", "other_mean", "other_log_var")
def kl_normal(mean: Any, log_var: Any, other_mean: Any = 0.0, other_log_var: Any = 0.0) -> Any:
    """KL(N(mean, exp(log_var)) || N(other_mean, exp(other_log_var))) of diagonal normal
    distributions, summed over the last axis: (..., D) -> (...).  The other one is N(0, I) if
    it is not given.

    >>> import numpy as np, ebmlib as ebm
    >>> ebm.functional.kl_normal(np.array([1.0, 1.0]), np.zeros(2))
    array(1.)
    """
    other_mean = 0.0 if other_mean is None else other_mean
    other_log_var = 0.0 if other_log_var is None else other_log_var
    nodes = promote_float(mean, log_var, other_mean, other_log_var)
    return ops.kl_normal(need().graph, *nodes)
