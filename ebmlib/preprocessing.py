"""Transforms of data with inverses and log-determinants.

A density learned on transformed data y = T(x) gives one of the data themselves,

    log p_x(x) = log p_y(T(x)) + log_det(x),   log_det(x) = log |det dT(x)/dx|.

Transforms are scikit-learn's kind of object (they work in a ``Pipeline``, and ``clone`` copies
them), take rows of any shape, and give float64 for float64 and float32 for all else.

>>> from ebmlib import datasets, preprocessing
>>> X, y = datasets.load_digits(value_range=None)
>>> to_logits = preprocessing.Chain(
...     [preprocessing.Dequantize(levels=17, random_state=0), preprocessing.Logit(alpha=0.05)]
... )
>>> Y = to_logits.fit_transform(X)
>>> bool((to_logits.inverse_transform(Y) == X).all())
True

What papers do with images of 256 levels:

- Real NVP (Dinh et al. 2017), and MAF (Papamakarios et al. 2017) on CIFAR-10:
  ``Chain([Dequantize(), Logit(0.05)])``;
- MAF on MNIST: ``Chain([Dequantize(), Logit(1e-6)])``;
- NICE (Dinh et al. 2015) on MNIST: ``Dequantize()``; on SVHN and CIFAR-10 ``Whiten("zca")``
  after it;
- the NICE models of VERA (Grathwohl et al. 2021) and of sliced score matching (Song et al.
  2020): ``Chain([Dequantize(centred=True), Logit(0.0, clip=1e-3)])``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import floats, real, whole
from ._params import Parameters
from ._rows import check_rows, feature_names
from .errors import ShapeError, not_fitted
from .random import key, uniform

__all__ = [
    "Chain",
    "Dequantize",
    "Flatten",
    "Logit",
    "Scale",
    "Standardize",
    "Transform",
    "Whiten",
    "bits_per_dim",
]

Array = NDArray[Any]
Float64 = NDArray[np.float64]
Self = TypeVar("Self", bound="Transform")


def bits_per_dim(
    log_prob: ArrayLike, n_dims: int, log_det: ArrayLike = 0.0
) -> Float64 | np.float64:
    """Nats as bits a dimension, -(log_prob + log_det) / (n_dims log 2).

    The bits belong to the space that `log_det` starts from. For a chain that begins with
    `Dequantize` that is the space of the integer levels: the number that papers print, and a
    bound of the code length of the levels themselves. A density of pixels on [0, 1] is
    brought there by ``log_det=-n_dims * log(256)``; without `log_det` the bits are those of
    `log_prob`'s own space, and not to be compared.

    Parameters
    ----------
    log_prob : array_like
        log p_y(T(x)), in nats.
    n_dims : int
        Numbers in a row of the data.
    log_det : array_like
        ``T.log_det(x)``.

    Returns
    -------
    ndarray or float
        Of the shape of the two together.

    Raises
    ------
    ValueError
        No dimensions.

    Examples
    --------
    The uniform density on images of 256 levels takes 8 bits:

    >>> import numpy as np
    >>> from ebmlib import preprocessing
    >>> float(preprocessing.bits_per_dim(0.0, 784, log_det=-784 * np.log(256)))
    8.0
    """
    n_dims = whole(n_dims, "bits_per_dim: n_dims", 1)
    nats, more = (
        floats(log_prob, "bits_per_dim: log_prob"),
        floats(log_det, "bits_per_dim: log_det"),
    )
    try:
        np.broadcast_shapes(nats.shape, more.shape)
    except ValueError:
        raise ShapeError(
            f"bits_per_dim: log_det: got shape {more.shape}, expected that of log_prob, "
            f"{nats.shape}"
        ) from None
    nats = nats + more
    return -nats / (n_dims * math.log(2))


class Transform(Parameters):
    """What all transforms share: `fit` learns from rows and remembers their shape.

    One of your own has `_forward`, `_backward` and `_log_slope`, and `_learn` if it learns.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import preprocessing
    >>> class Cube(preprocessing.Transform):
    ...     def _forward(self, x):
    ...         return x**3
    ...     def _backward(self, y):
    ...         return np.cbrt(y)
    ...     def _log_slope(self, x):
    ...         return np.log(3 * x**2).reshape(len(x), -1).sum(axis=1)
    >>> cube = Cube().fit([[1.0, 2.0]])
    >>> cube.transform([[1.0, 3.0]]).tolist(), cube.log_det([[1.0, 3.0]]).round(4).tolist()
    ([[1.0, 27.0]], [4.3944])
    """

    def __init__(self) -> None:
        """Nothing to set."""

    def fit(self: Self, X: Any, y: Any = None) -> Self:
        """Learn from rows X (N, ...); y is ignored."""
        x = check_rows(X, type(self).__name__)
        for name in [name for name in vars(self) if name.endswith("_") or name == "_row"]:
            delattr(self, name)
        self._learn(x)
        self._row = x.shape[1:]
        self.n_features_in_ = math.prod(self._row)
        names = feature_names(X)
        if names is not None:
            self.feature_names_in_ = names
        return self

    def transform(self, X: Any) -> Array:
        """T(x) of rows X (N, ...)."""
        return self._forward(self._rows(X))

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """`fit`, then `transform`."""
        return self.fit(X, y).transform(X)

    def inverse_transform(self, X: Any) -> Array:
        """The rows x with T(x) = X."""
        return self._backward(self._rows(X, after=True))

    def log_det(self, X: Any) -> Float64:
        """The (N,) numbers log |det dT(x)/dx| at rows X (N, ...), not yet transformed."""
        return self._log_slope(self._rows(X))

    def _rows(self, X: Any, after: bool = False) -> Array:
        who = type(self).__name__
        if not self.__sklearn_is_fitted__():
            raise not_fitted(
                f"This {who} instance is not fitted yet. Call 'fit' with appropriate arguments "
                "before using this transform."
            )
        x = check_rows(X, who, self._row_after() if after else self._row)
        return x.astype(np.float64 if x.dtype == np.float64 else np.float32, copy=False)

    def _row_after(self) -> tuple[int, ...]:
        """The shape of transformed rows."""
        return self._row

    def _learn(self, x: Array) -> None:
        """Checks the parameters, and sets what is learned from rows x."""

    def _forward(self, x: Array) -> Array:
        raise self._lacks("_forward")

    def _backward(self, y: Array) -> Array:
        raise self._lacks("_backward")

    def _log_slope(self, x: Array) -> Float64:
        raise self._lacks("_log_slope")

    def _lacks(self, name: str) -> NotImplementedError:
        return NotImplementedError(
            f"{type(self).__name__}: {name}: got none, expected a method"
        )

    def __sklearn_is_fitted__(self) -> bool:
        return "_row" in vars(self)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float64", "float32"]),
            input_tags=InputTags(),
        )


def _sum_rows(terms: Array) -> Float64:
    return np.asarray(terms.reshape(len(terms), -1).sum(axis=1, dtype=np.float64))


def _pair(who: str, name: str, low: Any, high: Any) -> tuple[float, float]:
    low, high = real(low, f"{who}: {name}"), real(high, f"{who}: {name}")
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(f"{who}: {name}: got {low:g}, {high:g}, expected low < high")
    return low, high


class Dequantize(Transform):
    """Levels 0, 1, ... as numbers on [0, 1]: noise makes a density of a mass.

    y = (x + u) / levels, u uniform in (0, 1), or with `centred` y = x / (levels - 1) +
    (u - 1/2) / levels. Either way

        log P(x) >= E_u[log p(y)] + log_det,   log_det = -D log(levels)

    (Theis et al. 2016). The noise is drawn from a key that `fit` takes from `random_state`:
    until the next `fit`, the n-th row of every array gets the same noise. The inverse finds
    the level that a number belongs to, as uint8 or int32; numbers beyond the ends belong to
    the first or the last. It is exact; behind a logit in float32, one level in a million may
    be one off.

    Parameters
    ----------
    levels : int, default 256
    centred : bool, default False
        Noise around x / (levels - 1), which leaves [0, 1] by 1 / (2 levels): VERA's and
        sliced score matching's.
    random_state : int, numpy.random.Generator or None

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import preprocessing
    >>> dequantize = preprocessing.Dequantize(random_state=0)
    >>> y = dequantize.fit_transform(np.array([[0, 255]], dtype=np.uint8))
    >>> dequantize.inverse_transform(y).tolist()
    [[0, 255]]
    """

    def __init__(
        self, levels: int = 256, centred: bool = False, random_state: Any = None
    ) -> None:
        self.levels = levels
        self.centred = centred
        self.random_state = random_state

    def _learn(self, x: Array) -> None:
        if not 2 <= whole(self.levels, "Dequantize: levels") <= 1 << 16:
            raise ValueError(f"Dequantize: levels: got {self.levels}, expected 2 to 65536")
        self._check(x)
        self.key_ = key(self.random_state)

    def _check(self, x: Array) -> None:
        bad = (x < 0) | (x >= self.levels) | (x != np.floor(x))
        if bad.any():
            raise ValueError(
                f"Dequantize: X: got {x[bad][0]}, expected whole numbers 0 to {self.levels - 1}"
            )

    def _forward(self, x: Array) -> Array:
        self._check(x)
        u: Array = np.asarray(uniform(self.key_, x.shape, x.dtype))
        if self.centred:
            u -= 0.5
            u /= self.levels
            u += x / (self.levels - 1)
            return u
        u += x
        # A hair inside of each level, so that rounding cannot move a number to the next one.
        hair = 4 * np.finfo(x.dtype).eps
        np.clip(u, x * (1 + hair), (x + 1) * (1 - hair), out=u)
        u /= self.levels
        return u

    def _backward(self, y: Array) -> Array:
        level: Array = y * (self.levels - 1 if self.centred else self.levels)
        level = np.rint(level) if self.centred else np.floor(level)
        level = np.clip(level, 0, self.levels - 1)
        return level.astype("u1" if self.levels <= 256 else "i4")

    def _log_slope(self, x: Array) -> Float64:
        self._check(x)
        return np.full(len(x), -self.n_features_in_ * math.log(self.levels))


class Logit(Transform):
    """From [0, 1] to the line: y = log(s / (1 - s)), s = alpha + (1 - 2 alpha) x.

        log_det = D log(1 - 2 alpha) - sum log(s (1 - s))

    The inverse is that of the formula: numbers beyond the images of 0 and 1 leave [0, 1] by
    alpha / (1 - 2 alpha) at most.

    Parameters
    ----------
    alpha : float, default 1e-6
        Keeps 0 and 1 finite; not negative, below 1/2. MAF (Papamakarios et al. 2017): 1e-6 for
        MNIST, 0.05 for CIFAR-10; Real NVP (Dinh et al. 2017): 0.05, with (1 - alpha) x in its
        text.
    clip : float, default 0
        If positive, x is first clamped to [clip, 1 - clip]. What is clamped is lost: there
        the slope is 0 and log_det -inf. VERA (Grathwohl et al. 2021) has alpha 0, clip 0.001.

    Examples
    --------
    >>> from ebmlib import preprocessing
    >>> logit = preprocessing.Logit(alpha=0.05).fit([[0.0, 0.5]])
    >>> logit.transform([[0.0, 0.5]]).round(3).tolist()
    [[-2.944, 0.0]]
    """

    def __init__(self, alpha: float = 1e-6, clip: float = 0.0) -> None:
        self.alpha = alpha
        self.clip = clip

    def _learn(self, x: Array) -> None:
        for name in ("alpha", "clip"):
            if not 0 <= real(getattr(self, name), f"Logit: {name}") < 0.5:
                raise ValueError(
                    f"Logit: {name}: got {getattr(self, name)}, expected at least 0, below 0.5"
                )
        self._parts(x)

    def _parts(self, x: Array) -> tuple[Array, Array]:
        """(s, 1 - s), both to full precision."""
        if self.clip > 0:
            x = np.clip(x, self.clip, 1 - self.clip)
        ends = self.alpha > 0 or self.clip > 0
        bad = (x < 0) | (x > 1) if ends else (x <= 0) | (x >= 1)
        if bad.any():
            interval = "[0, 1]" if ends else "(0, 1)"
            raise ValueError(f"Logit: X: got {x[bad][0]}, expected numbers in {interval}")
        alpha = float(self.alpha)
        slope = 1 - 2 * alpha
        return alpha + slope * x, alpha + slope * (1 - x)

    def _forward(self, x: Array) -> Array:
        s, rest = self._parts(x)
        return np.asarray(np.log(s) - np.log(rest))

    def _backward(self, y: Array) -> Array:
        alpha = float(self.alpha)
        return np.asarray((0.5 + 0.5 * np.tanh(0.5 * y) - alpha) / (1 - 2 * alpha))

    def _log_slope(self, x: Array) -> Float64:
        s, rest = self._parts(x)
        terms = math.log(1 - 2 * self.alpha) - np.log(s) - np.log(rest)
        if self.clip > 0:
            terms[(x < self.clip) | (x > 1 - self.clip)] = -np.inf
        return _sum_rows(terms)


class Scale(Transform):
    """One straight line for all numbers: `source` goes to [low, high].

        y = low + (x - a) slope,  slope = (high - low) / (b - a),  log_det = D log(slope)

    Parameters
    ----------
    low, high : float, default -1 and 1
    source : (float, float) or None
        (a, b); None: the least and the greatest number that `fit` sees.

    Examples
    --------
    >>> from ebmlib import preprocessing
    >>> scale = preprocessing.Scale(-1, 1, source=(0, 255)).fit([[0, 51, 255]])
    >>> scale.transform([[0, 51, 255]]).round(3).tolist()
    [[-1.0, -0.6, 1.0]]
    """

    def __init__(
        self, low: float = -1.0, high: float = 1.0, source: tuple[float, float] | None = None
    ) -> None:
        self.low = low
        self.high = high
        self.source = source

    def _learn(self, x: Array) -> None:
        low, high = _pair("Scale", "low, high", self.low, self.high)
        given = (x.min(), x.max()) if self.source is None else self.source
        if np.shape(given) != (2,):
            raise ValueError(f"Scale: source: got {given!r}, expected (a, b) or None")
        name = "least and greatest of X" if self.source is None else "source"
        self.source_ = _pair("Scale", name, *given)
        self.slope_ = (high - low) / (self.source_[1] - self.source_[0])

    def _forward(self, x: Array) -> Array:
        return np.asarray((x - self.source_[0]) * self.slope_ + float(self.low))

    def _backward(self, y: Array) -> Array:
        return np.asarray((y - float(self.low)) / self.slope_ + self.source_[0])

    def _log_slope(self, x: Array) -> Float64:
        return np.full(len(x), self.n_features_in_ * math.log(self.slope_))


class Standardize(Transform):
    """Each feature with mean 0 and variance 1: y = (x - mean) / scale.

    log_det = -sum log(scale); a feature that never changes is only moved to 0, with scale 1.

    Attributes
    ----------
    mean_, scale_ : ndarray of float64, of the shape of a row
        Over the rows that `fit` saw.

    Examples
    --------
    >>> from ebmlib import preprocessing
    >>> preprocessing.Standardize().fit_transform([[1.0, 7.0], [3.0, 7.0]]).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    def _learn(self, x: Array) -> None:
        self.mean_ = x.mean(axis=0, dtype=np.float64)
        self.scale_ = x.std(axis=0, dtype=np.float64)
        self.scale_[x.max(axis=0) == x.min(axis=0)] = 1

    def _forward(self, x: Array) -> Array:
        return np.asarray((x - self.mean_.astype(x.dtype)) / self.scale_.astype(x.dtype))

    def _backward(self, y: Array) -> Array:
        return np.asarray(y * self.scale_.astype(y.dtype) + self.mean_.astype(y.dtype))

    def _log_slope(self, x: Array) -> Float64:
        return np.full(len(x), -np.log(self.scale_).sum())


class Whiten(Transform):
    """Features without correlation, of variance 1: y = (x - mean) W, W' C W = I.

    With C = V diag(l) V' the covariance of the rows (divided by their number), W is
    V diag(l + epsilon)^-1/2 for "pca", whose features are in the order of their variance, and
    that times V' for "zca", which moves the data least. log_det = -1/2 sum log(l + epsilon).

    Parameters
    ----------
    kind : {"zca", "pca"}
    epsilon : float, default 0
        For data that do not fill their space, such as images with a border.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (D,)
    matrix_ : ndarray of float64, shape (D, D)
        W.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import preprocessing
    >>> x = np.random.default_rng(0).normal(size=(100, 2)) @ [[2.0, 1.0], [0.0, 1.0]]
    >>> y = preprocessing.Whiten().fit_transform(x)
    >>> bool(np.allclose(np.cov(y.T, bias=True), np.eye(2)))
    True
    """

    def __init__(self, kind: str = "zca", epsilon: float = 0.0) -> None:
        self.kind = kind
        self.epsilon = epsilon

    def _learn(self, x: Array) -> None:
        if not isinstance(self.kind, str) or self.kind not in ("zca", "pca"):
            raise ValueError(f"Whiten: kind: got {self.kind!r}, expected 'zca' or 'pca'")
        if not real(self.epsilon, "Whiten: epsilon") >= 0:
            raise ValueError(f"Whiten: epsilon: got {self.epsilon}, expected at least 0")
        rows = x.reshape(len(x), -1).astype(np.float64)
        mean = rows.mean(axis=0)
        rows -= mean
        variance, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        variance, axes = variance[::-1], axes[:, ::-1]
        rank = int((variance > variance[0] * len(mean) * np.finfo(np.float64).eps).sum())
        if rank < len(mean) and self.epsilon == 0:
            raise ValueError(
                f"Whiten: {_samples(len(x))}: rank of the covariance: got {rank}, expected "
                f"{len(mean)}; epsilon > 0 helps"
            )
        axes = axes * np.where(axes.sum(axis=0) < 0, -1.0, 1.0)  # of the two signs, always one
        root = np.sqrt(np.maximum(variance, 0) + self.epsilon)
        turn = axes.T if self.kind == "zca" else np.eye(len(mean))
        self.mean_, self.matrix_ = mean, axes / root @ turn
        self._inverse, self._log_root = turn.T @ (root[:, None] * axes.T), np.log(root).sum()

    def _forward(self, x: Array) -> Array:
        rows = x.reshape(len(x), -1) - self.mean_.astype(x.dtype)
        return np.asarray((rows @ self.matrix_.astype(x.dtype)).reshape(x.shape))

    def _backward(self, y: Array) -> Array:
        rows = y.reshape(len(y), -1) @ self._inverse.astype(y.dtype)
        return np.asarray((rows + self.mean_.astype(y.dtype)).reshape(y.shape))

    def _log_slope(self, x: Array) -> Float64:
        return np.full(len(x), -self._log_root)


def _samples(n: int) -> str:
    return "1 sample" if n == 1 else f"{n} samples"


class Flatten(Transform):
    """Rows of any shape as flat rows: (N, H, W, C) -> (N, H W C); log_det = 0.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import preprocessing
    >>> flatten = preprocessing.Flatten().fit(np.zeros((5, 8, 8, 1)))
    >>> y = flatten.transform(np.zeros((3, 8, 8, 1)))
    >>> y.shape, flatten.inverse_transform(y).shape
    ((3, 64), (3, 8, 8, 1))
    """

    def _row_after(self) -> tuple[int, ...]:
        return (self.n_features_in_,)

    def _forward(self, x: Array) -> Array:
        return x.reshape(len(x), -1)

    def _backward(self, y: Array) -> Array:
        return y.reshape(len(y), *self._row)

    def _log_slope(self, x: Array) -> Float64:
        return np.zeros(len(x))


class Chain(Transform):
    """One transform after the other; their log-determinants add up.

    Parameters
    ----------
    steps : sequence of transforms
        They are copied by `fit`, and left as they are.

    Attributes
    ----------
    steps_ : list of transforms
        The fitted copies.

    Examples
    --------
    >>> from ebmlib import preprocessing
    >>> chain = preprocessing.Chain([preprocessing.Scale(0, 1), preprocessing.Logit(0.05)])
    >>> chain.fit_transform([[0.0, 5.0, 10.0]]).round(3).tolist()
    [[-2.944, 0.0, 2.944]]
    """

    def __init__(self, steps: Sequence[Any] = ()) -> None:
        self.steps = steps

    def _learn(self, x: Array) -> None:
        if not isinstance(self.steps, list | tuple):
            raise TypeError(
                f"Chain: steps: got {type(self.steps).__name__}, expected a list of transforms"
            )
        steps = []
        for number, step in enumerate(self.steps):
            if not hasattr(step, "log_det") or isinstance(step, type):
                raise TypeError(
                    f"Chain: steps[{number}]: got {type(step).__name__}, expected a transform"
                )
            steps.append(copy.deepcopy(step))
            x = steps[-1].fit_transform(x)
        self.steps_ = steps
        self._after = x.shape[1:]

    def _row_after(self) -> tuple[int, ...]:
        return self._after

    def _forward(self, x: Array) -> Array:
        for step in self.steps_:
            x = step.transform(x)
        return x

    def _backward(self, y: Array) -> Array:
        for step in reversed(self.steps_):
            y = step.inverse_transform(y)
        return y

    def _log_slope(self, x: Array) -> Float64:
        total = np.zeros(len(x))
        for step in self.steps_:
            total += step.log_det(x)
            x = step.transform(x)
        return total
