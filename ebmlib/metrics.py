"""How good a model, a set of samples, or an estimate is; each figure with its standard error.

A model is given as what has an `energy` of rows, an estimator or a bound network, as a law with
`log_density`, such as the planar sets, or as a function of rows that returns log densities:

>>> from ebmlib import datasets, metrics
>>> law = datasets.gaussians8()
>>> truth = metrics.log_likelihood(law, law.sample(1000, random_state=0))
>>> print(f"{truth.mean:.1f} nats, give or take {truth.error:.1f}")
-2.9 nats, give or take 0.0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import datasets
from ._arviz import library
from ._checks import floats, whole
from .datasets.planar import Extent, generator
from .errors import NotFittedError, ShapeError
from .networks import BoundNetwork

__all__ = [
    "ChainDiagnostics",
    "Comparison",
    "Distance",
    "Likelihood",
    "ScoreError",
    "chain_diagnostics",
    "compare_likelihoods",
    "effective_sample_size",
    "energy_distance",
    "gradient_share",
    "kl_divergence",
    "log_likelihood",
    "log_z",
    "mmd",
    "score_error",
]

Float64: TypeAlias = NDArray[np.float64]
Density: TypeAlias = Callable[[Any], Float64]


class Likelihood(NamedTuple):
    """A mean log density.

    Attributes
    ----------
    mean : float
        In `unit`.
    error : float
        Its standard error over rows; NaN for one row.
    n : int
        Rows.
    unit : str
        "nats", or "bits/dim", of which fewer are better.

    Examples
    --------
    >>> from ebmlib import datasets, metrics
    >>> law = datasets.moons()
    >>> metrics.log_likelihood(law, law.sample(50, random_state=0)).n
    50
    """

    mean: float
    error: float
    n: int
    unit: str


class Comparison(NamedTuple):
    """Mean log densities of two sets of rows under one model.

    Attributes
    ----------
    samples, exact : Likelihood
    gap : float
        ``samples.mean - exact.mean``.
    error : float
        The standard error of the gap.

    Examples
    --------
    >>> from ebmlib import datasets, metrics
    >>> law = datasets.GaussianMixture([[0, 0]], 1.0)
    >>> x = law.sample(50, random_state=0)
    >>> metrics.compare_likelihoods(law, 0.1 * x, x).gap > 0.0
    True
    """

    samples: Likelihood
    exact: Likelihood
    gap: float
    error: float


class ScoreError(NamedTuple):
    """Differences of an estimate to the exact values, over all numbers.

    Attributes
    ----------
    mean_abs, rms : float
    signed : float
        The mean of the differences: what is left where errors cancel.

    Examples
    --------
    >>> from ebmlib import metrics
    >>> metrics.score_error([[1.0, -1.0]], [[0.0, 0.0]]).signed
    0.0
    """

    mean_abs: float
    rms: float
    signed: float


class ChainDiagnostics(NamedTuple):
    """Effective sample sizes and R-hat, each of the shape of one state.

    Attributes
    ----------
    ess_bulk, ess_tail : ndarray
        Of the mean and the quantiles within, and of the 5% and 95% quantiles.
    r_hat : ndarray
        Near 1 where chains agree.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import metrics
    >>> apart = np.random.default_rng(0).normal(size=(100, 2)) + [0.0, 9.0]
    >>> bool(metrics.chain_diagnostics(apart).r_hat > 1.5)
    True
    """

    ess_bulk: Float64
    ess_tail: Float64
    r_hat: Float64


class Distance(NamedTuple):
    """A distance between two sets of rows.

    Attributes
    ----------
    value : float
    p_value : float or None
        Of the permutations, where there were any.

    Examples
    --------
    >>> from ebmlib import metrics
    >>> metrics.energy_distance([[0.0]], [[1.0]])
    Distance(value=2.0, p_value=None)
    """

    value: float
    p_value: float | None


# ---- likelihoods -----------------------------------------------------------------------------


def log_likelihood(
    model: Any,
    X: Any,
    log_z: float | None = None,
    transform: Any = None,
    unit: str = "nats",
) -> Likelihood:
    """Mean log likelihood of rows, log p(x) = -E(x) - log Z, with its standard error.

    A likelihood belongs to a space: with `transform`, whose output the model was trained on, it
    is that of the rows as they are given, log p(x) = log p_y(T(x)) + log |det dT(x)/dx|.

    Parameters
    ----------
    model : estimator, bound network, law, or function
        With `energy`, with `log_density`, or a function of rows (n, ...) to log densities (n,).
    X : array_like, shape (n, ...)
    log_z : float or None
        The log of the integral of exp(-E). None: the model's `log_z_` (0 for models that are
        normalised); a law or a function is taken as normalised.
    transform : preprocessing.Transform or None
        A fitted one; `X` is in the space that it starts from.
    unit : {"nats", "bits/dim"}
        "bits/dim": -log_2 p(x) / D with D numbers in a row of `X`.

    Returns
    -------
    Likelihood

    Raises
    ------
    ValueError
        The model has no `log_z_` and none is given, there are no rows, or the unit is unknown.
    TypeError
        `model` is none.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import metrics, preprocessing
    >>> x = np.random.default_rng(0).normal(2.0, 3.0, size=(1000, 1))
    >>> def normal(y):
    ...     return -0.5 * np.sum(y**2, axis=1) - 0.5 * np.log(2 * np.pi)
    >>> scale = preprocessing.Standardize().fit(x)
    >>> print(f"{metrics.log_likelihood(normal, x, transform=scale).mean:.2f}")
    -2.49
    """
    who = "log_likelihood"
    if unit not in ("nats", "bits/dim"):
        raise ValueError(f"{who}: unit: got {unit!r}, expected one of ['nats', 'bits/dim']")
    x = floats(X, f"{who}: X")
    if x.ndim < 2 or not x.size:
        raise ShapeError(f"{who}: X: got shape {x.shape}, expected rows (n, ...)")
    density = _density(model, who, log_z)
    if transform is None:
        values = density(X)
    else:
        if not hasattr(transform, "log_det"):
            raise TypeError(
                f"{who}: transform: got {type(transform).__name__}, expected a Transform"
            )
        values = density(transform.transform(X)) + transform.log_det(X)
    if values.shape != x.shape[:1]:
        raise ShapeError(f"{who}: model: got shape {values.shape}, expected {x.shape[:1]}")
    if unit == "bits/dim":
        values = -values / (np.prod(x.shape[1:]) * np.log(2.0))
    return _likelihood(values, unit)


def log_z(model: Any, extent: Extent, n: int = 400) -> float:
    """The log Z of an energy on the plane, the log of the integral of exp(-E) over a box.

    The midpoint rule on `datasets.grid`: exact to rounding for a smooth energy whose mass is
    inside the box and whose narrowest standard deviation is a cell or more.

    Parameters
    ----------
    model : estimator, bound network, or function
        With `energy`, or a function of rows (n, 2) to -E (n,), as log densities are.
    extent : tuple of float
        (left, right, bottom, top).
    n : int
        Cells a side.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        An empty box, no cells, or an energy that is not a number.
    TypeError
        `model` is none.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import metrics
    >>> def gaussian(x):
    ...     return -0.5 * np.sum(x**2, axis=1)
    >>> print(f"{metrics.log_z(gaussian, (-8, 8, -8, 8)) - np.log(2 * np.pi):.4f}")
    0.0000
    """
    points, area = datasets.grid(extent, n)
    return datasets.log_z(-_density(model, "log_z", 0.0)(points), area)


def kl_divergence(
    law: Any,
    model: Any,
    log_z: float | None = None,
    extent: Extent | None = None,
    n: int = 400,
) -> float:
    """KL(law || model) on the plane: what the model's test likelihood lacks to the truth's.

    The integral of p (log p - log q) by the midpoint rule, without the noise of a test set.
    Both laws should lie in the box; p is normalised over it.

    Parameters
    ----------
    law : law or function
        The truth p: a planar set, or a function of rows (n, 2) to log densities (n,).
    model : estimator, bound network, law, or function
        The model q.
    log_z : float or None
        The model's. None: its `log_z_`; the sum over the same grid where it has none.
    extent : tuple of float or None
        (left, right, bottom, top). None: the law's.
    n : int
        Cells a side.

    Returns
    -------
    float
        Nats; infinite where q is 0 and p is not.

    Raises
    ------
    ValueError
        There is no box, it is empty, or there are no cells.
    TypeError
        `law` or `model` is none.

    Examples
    --------
    >>> from ebmlib import datasets, metrics
    >>> truth = datasets.GaussianMixture([[0, 0]], 1.0)
    >>> shifted = datasets.GaussianMixture([[1, 0]], 1.0)
    >>> print(f"{metrics.kl_divergence(truth, shifted, extent=(-8, 8, -8, 8)):.3f}")
    0.500
    """
    who = "kl_divergence"
    truth = _density(law, who, None, "law")
    extent = getattr(law, "extent", None) if extent is None else extent
    points, area = datasets.grid(extent, n)  # type: ignore[arg-type]
    log_p = truth(points)
    if log_z is None and _has_energy(model) and _log_z_of(model) is None:
        log_q = _density(model, who, 0.0)(points)
        log_q = log_q - datasets.log_z(-log_q, area)
    else:
        log_q = _density(model, who, log_z)(points)
    log_p = log_p - datasets.log_z(-log_p, area)
    there = np.isfinite(log_p)
    return float(np.sum(np.exp(log_p[there]) * (log_p[there] - log_q[there])) * area)


def compare_likelihoods(
    model: Any, samples: Any, exact: Any, log_z: float | None = None
) -> Comparison:
    """Log likelihood of a sampler's rows under a model, beside that of exact samples.

    A gap of zero is what a right sampler has; below, it puts mass where the model has little;
    above, it stays near modes. Where log Z is not known, ``log_z=0`` gives the right gap.

    Parameters
    ----------
    model : estimator, bound network, law, or function
        As in `log_likelihood`.
    samples : array_like, shape (n, ...)
        Of the sampler that is judged, independent of each other.
    exact : array_like, shape (m, ...)
        Of the model.
    log_z : float or None
        As in `log_likelihood`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        As of `log_likelihood`.

    Examples
    --------
    >>> from ebmlib import datasets, metrics
    >>> law = datasets.moons()
    >>> x, y = law.sample(500, random_state=0), law.sample(500, random_state=1)
    >>> found = metrics.compare_likelihoods(law, x, y)
    >>> bool(abs(found.gap) < 3 * found.error)
    True
    """
    one, other = log_likelihood(model, samples, log_z), log_likelihood(model, exact, log_z)
    return Comparison(
        one, other, one.mean - other.mean, float(np.hypot(one.error, other.error))
    )


# ---- samples ---------------------------------------------------------------------------------


def effective_sample_size(log_weights: ArrayLike, axis: int = -1) -> Float64 | np.float64:
    """Of importance weights: (sum w)^2 / sum w^2, between 1 and their number.

    Parameters
    ----------
    log_weights : array_like
        Up to a constant along `axis`.
    axis : int

    Returns
    -------
    ndarray or float

    Raises
    ------
    ValueError
        There are no weights along the axis.

    References
    ----------
    Kong (1992), A note on importance sampling using standardized weights.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import metrics
    >>> metrics.effective_sample_size(np.log([[1, 1, 1, 1], [1, 0.5, 0.1, 0.1]])).round(1)
    array([4. , 2.3])
    """
    who = "effective_sample_size"
    logs = floats(log_weights, f"{who}: log_weights")
    axis = whole(axis, f"{who}: axis")
    if not -logs.ndim <= axis < logs.ndim or not logs.shape[axis]:
        raise ShapeError(f"{who}: log_weights: got shape {logs.shape}, axis {axis}: no weights")
    weights = np.exp(logs - logs.max(axis=axis, keepdims=True))
    found: Float64 | np.float64 = weights.sum(axis=axis) ** 2 / (weights**2).sum(axis=axis)
    return found


def chain_diagnostics(trace: ArrayLike) -> ChainDiagnostics:
    """Effective sample sizes and R-hat of chains, by ArviZ (rank-normalised, split chains).

    Parameters
    ----------
    trace : array_like, shape (draws, chains, ...)
        As a sampler's ``return_trace=True`` gives it; four draws or more.

    Returns
    -------
    ChainDiagnostics

    Raises
    ------
    ValueError
        `trace` has too few draws or axes.
    ImportError
        ArviZ is not installed.

    References
    ----------
    Vehtari et al. (2021), Rank-normalization, folding, and localization: an improved R-hat.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import metrics
    >>> independent = np.random.default_rng(0).normal(size=(500, 4, 2))
    >>> found = metrics.chain_diagnostics(independent)
    >>> found.r_hat.round(1).tolist(), (found.ess_bulk > 1500).tolist()
    ([1.0, 1.0], [True, True])
    """
    who = "chain_diagnostics"
    x = floats(trace, f"{who}: trace")
    if x.ndim < 2 or not x.size or len(x) < 4:
        raise ShapeError(
            f"{who}: trace: got shape {x.shape}, expected (draws, chains, ...), draws 4 or more"
        )
    arviz = library(who)
    data = arviz.convert_to_dataset(x.swapaxes(0, 1))
    figures = (
        arviz.ess(data, method="bulk"),
        arviz.ess(data, method="tail"),
        arviz.rhat(data),
    )
    return ChainDiagnostics(*(np.asarray(found["x"].values, np.float64) for found in figures))


def energy_distance(
    X: ArrayLike, Y: ArrayLike, n_permutations: int = 0, random_state: Any = None
) -> Distance:
    """2 E|x - y| - E|x - x'| - E|y - y'|: zero if, and only if, the two laws are the same.

    The expectations are means over all pairs (a V statistic), so the value is never negative.
    The p-value is the share of random splits of all rows into two sets, the one at hand among
    them, whose distance is as large: a test that is exact at any size.

    Parameters
    ----------
    X : array_like, shape (n, ...)
    Y : array_like, shape (m, ...)
        Memory is that of (n + m)^2 numbers.
    n_permutations : int
        0: no p-value. The smallest p-value is 1 / (n_permutations + 1).
    random_state : int, numpy.random.Generator or None

    Returns
    -------
    Distance

    Raises
    ------
    ValueError
        Rows of different shapes, or no rows.
    ImportError
        SciPy is not installed.

    References
    ----------
    Székely and Rizzo (2013), Energy statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import metrics
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + 0.5
    >>> metrics.energy_distance(x, y, n_permutations=99, random_state=0).p_value
    0.01
    """
    who = "energy_distance"
    pairs, n = _distances(X, Y, who, "euclidean")
    return _split(-pairs, n, n_permutations, random_state, who)


def mmd(
    X: ArrayLike,
    Y: ArrayLike,
    scale: float | None = None,
    n_permutations: int = 0,
    random_state: Any = None,
) -> Distance:
    """Squared maximum mean discrepancy of the kernel exp(-|x - y|^2 / (2 scale^2)).

    E k(x, x') + E k(y, y') - 2 E k(x, y), means over all pairs (a V statistic); the p-value as
    that of `energy_distance`, of which it is the kin that sees features of one size.

    Parameters
    ----------
    X : array_like, shape (n, ...)
    Y : array_like, shape (m, ...)
    scale : float or None
        None: the median of all distances between two rows.
    n_permutations : int
    random_state : int, numpy.random.Generator or None

    Returns
    -------
    Distance

    Raises
    ------
    ValueError
        Rows of different shapes, no rows, or a scale that is not positive.
    ImportError
        SciPy is not installed.

    References
    ----------
    Gretton et al. (2012), A kernel two-sample test.

    Examples
    --------
    >>> from ebmlib import datasets, metrics
    >>> law = datasets.moons()
    >>> x, y = law.sample(300, random_state=0), law.sample(300, random_state=1)
    >>> metrics.mmd(x, y, n_permutations=99, random_state=0).p_value > 0.05
    True
    """
    who = "mmd"
    squares, n = _distances(X, Y, who, "sqeuclidean")
    if scale is None:
        scale = float(np.sqrt(np.median(squares[np.triu_indices(len(squares), 1)]))) or 1.0
    else:
        datasets.planar.positive(f"{who}: scale", scale)
    return _split(np.exp(squares / (-2.0 * scale**2)), n, n_permutations, random_state, who)


# ---- estimates -------------------------------------------------------------------------------


def score_error(estimate: ArrayLike, exact: ArrayLike) -> ScoreError:
    """Mean absolute, root mean square and mean signed difference, over rows and dimensions.

    Parameters
    ----------
    estimate : array_like, shape (..., n, D)
        Of scores; average repeated estimates first, as appendix B.4 of VERA (Grathwohl et al.
        2021) does, or leave an axis of repeats in front to judge single ones.
    exact : array_like, shape (n, D)

    Returns
    -------
    ScoreError

    Raises
    ------
    ValueError
        The shapes do not fit.

    Examples
    --------
    >>> from ebmlib import metrics
    >>> metrics.score_error([[1.0, -1.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    ScoreError(mean_abs=1.25, rms=1.6583123951777, signed=0.75)
    """
    a, b = floats(estimate, "score_error: estimate"), floats(exact, "score_error: exact")
    if a.shape[a.ndim - b.ndim :] != b.shape or not a.size:
        raise ShapeError(
            f"score_error: estimate: got shape {a.shape}, expected that of exact, {b.shape}"
        )
    e = a - b
    return ScoreError(
        float(np.abs(e).mean()), float(np.sqrt(np.square(e).mean())), float(e.mean())
    )


def gradient_share(estimate: Any, exact: Any) -> float:
    """The share of a gradient that an estimate recovers, <estimate, exact> / <exact, exact>.

    1 for an estimate that is right along the exact gradient; an estimate of dH/dphi that leans
    on the latent z0 of each sample, as importance sampling around z0 does, has a smaller one.

    Parameters
    ----------
    estimate, exact : array_like, or dict or sequence of them
        The gradient, in one array or one a parameter.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        The shapes do not fit, or the exact gradient is zero.

    Examples
    --------
    >>> from ebmlib import metrics
    >>> metrics.gradient_share({"W": [1.0, 2.0]}, {"W": [2.0, 2.0]})
    0.75
    """
    a, b = _flat(estimate, "estimate"), _flat(exact, "exact")
    if a.shape != b.shape:
        raise ShapeError(f"gradient_share: estimate: got {a.size} numbers, expected {b.size}")
    square = float(b @ b)
    if not square > 0.0:
        raise ValueError("gradient_share: exact: got zero, expected a gradient")
    return float(a @ b) / square


# ---- what they share -------------------------------------------------------------------------


def _density(model: Any, who: str, log_z: float | None, name: str = "model") -> Density:
    """Log densities of rows as float64; `log_z` None: what the model says."""
    function: Callable[[Any], Any]
    offset: Any = 0.0
    if hasattr(model, "log_density"):
        function = model.log_density
    elif _has_energy(model):
        energy = model if isinstance(model, BoundNetwork) else model.energy
        function, offset = (lambda x: -energy(x)), _log_z_of(model)
    elif callable(model):
        function = model
    else:
        raise TypeError(f"{who}: {name}: got {type(model).__name__}, expected a model")
    if log_z is not None:
        if np.ndim(log_z):
            raise TypeError(f"{who}: log_z: got {log_z!r}, expected a number")
        offset = float(floats(log_z, f"{who}: log_z"))
    if offset is None:
        raise ValueError(f"{who}: {name}: got one without log_z_, expected log_z")
    return lambda x: floats(function(x), f"{who}: {name}") - float(offset)


def _has_energy(model: Any) -> bool:
    return isinstance(model, BoundNetwork) or hasattr(model, "energy")


def _log_z_of(model: Any) -> float | None:
    """What the model, or the network that is its energy, says of log Z."""
    owners: tuple[Any, ...] = (model, getattr(model, "energy", None))
    for owner in owners:
        try:
            return float(owner.log_z_)
        except NotFittedError:
            raise
        except AttributeError:
            continue
    return None


def _likelihood(values: Float64, unit: str) -> Likelihood:
    n = len(values)
    error = float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Likelihood(float(values.mean()), error, n, unit)


def _distances(X: ArrayLike, Y: ArrayLike, who: str, kind: str) -> tuple[Float64, int]:
    """Distances between all rows of both, (n + m, n + m), and n."""
    x, y = floats(X, f"{who}: X"), floats(Y, f"{who}: Y")
    if x.ndim < 2 or x.shape[1:] != y.shape[1:] or not (x.size and y.size):
        raise ShapeError(
            f"{who}: Y: got shape {y.shape}, X {x.shape}: expected rows of one shape"
        )
    try:
        from scipy.spatial.distance import cdist
    except ImportError as error:
        raise ImportError(f"{who}: SciPy is not installed: pip install scipy") from error
    both = np.concatenate([x.reshape(len(x), -1), y.reshape(len(y), -1)])
    return np.asarray(cdist(both, both, kind), np.float64), len(x)


def _split(
    kernel: Float64, n: int, n_permutations: int, random_state: Any, who: str
) -> Distance:
    """Of a' K a with a = 1/n on the first n rows, -1/m on the others, and its permutations."""
    n_permutations = whole(n_permutations, f"{who}: n_permutations", 0)
    rng = generator(random_state, who)
    a = np.full(len(kernel), -1.0 / (len(kernel) - n))
    a[:n] = 1.0 / n
    value = float(a @ kernel @ a)
    if not n_permutations:
        return Distance(max(value, 0.0), None)
    as_large, slack = (
        1,
        1e-12 * float(np.abs(kernel).max()),
    )  # ties count, whatever their rounding
    for start in range(
        0, n_permutations, 64
    ):  # many at once share the kernel's way through cache
        count = min(64, n_permutations - start)
        rows = rng.permuted(np.tile(a, (count, 1)), axis=1)
        as_large += int(np.sum(np.sum(rows @ kernel * rows, axis=1) >= value - slack))
    return Distance(max(value, 0.0), as_large / (n_permutations + 1))


def _flat(tree: Any, name: str) -> Float64:
    """All numbers of an array, or of a dict or sequence of arrays, in a row."""
    who = f"gradient_share: {name}"
    if isinstance(tree, Mapping):
        leaves: Sequence[Any] = [tree[key] for key in sorted(tree)]
    elif isinstance(tree, list | tuple) and any(np.ndim(leaf) for leaf in tree):
        leaves = tree
    else:
        leaves = [tree]
    return np.concatenate([floats(leaf, who).ravel() for leaf in leaves])
