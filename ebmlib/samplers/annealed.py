"""Log Z by annealed importance sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _core, random
from .._chains import as_energy, kept, made_of
from .._checks import floats, real, sizes, whole
from .._compile import Compiled, compile_function, signature
from .._device import scope
from .._interchange import as_numbers
from .._tree import flatten
from ..errors import NumericalError, ShapeError
from ..networks import BoundNetwork
from .kinds import HMC
from .sampler import Sampler

__all__ = ["LogZ", "annealed_importance_sampling"]

PILOT = 100  # chains that find the step sizes
_FLOAT64 = np.dtype(np.float64)
SIGMOID = 4.0  # as the code of sliced score matching (Song et al. 2019), after Grosse et al.


class LogZ(NamedTuple):
    """What annealed importance sampling has found: log Z, and how well.

    log_z : float
        The forward estimate.  Its exponential is right on average, so it is below log Z on
        average, and above log Z + b with probability exp(-b) at most.
    error : float
        Its standard error, by the scatter of the weights: too small where they scatter much.
    ess : float
        Effective number of the weights, (sum w)^2 / sum w^2, of as many as there are chains.
    log_z_reverse, error_reverse, ess_reverse : float or None
        The same from exact samples: on average above log Z.
    log_weights, log_weights_reverse : array (N,); the latter may be None
        log Z = log mean exp(log_weights) = -log mean exp(log_weights_reverse).
    x : array (N, ...)
        Where the chains end: rows of exp(-E) with these weights.
    acceptance : float or None
        The mean of all steps; None of a sampler without.

    >>> import numpy as np
    >>> from ebmlib import samplers
    >>> samplers.annealed_importance_sampling(  # from the base to itself
    ...     lambda x: 0.5 * np.sum(x**2, axis=1), shape=2, n_temperatures=3, random_state=0
    ... ).log_z.__round__(3)
    1.838
    """

    log_z: float
    error: float
    ess: float
    log_z_reverse: float | None
    error_reverse: float | None
    ess_reverse: float | None
    log_weights: NDArray[Any]
    log_weights_reverse: NDArray[Any] | None
    x: NDArray[Any]
    acceptance: float | None = None


def annealed_importance_sampling(
    energy: Any,
    base: Any = None,
    *,
    shape: int | tuple[int, ...] | None = None,
    n_temperatures: int = 1000,
    schedule: str | Sequence[float] = "sigmoid",
    sampler: Sampler | None = None,
    n_steps: int = 1,
    n_chains: int = 1000,
    x_exact: Any = None,
    args: Sequence[Any] = (),
    random_state: Any = None,
    device: str | None = None,
) -> LogZ:
    """Log Z of exp(-E(x)) by annealed importance sampling (Neal 2001).

    Chains go from a base whose Z is known to the target through the energies

    E_b = (1 - b) E_base + b E,  b = b_0 = 0, b_1, ..., b_T = 1

    at each of which they take ``n_steps`` that leave exp(-E_b) as it is, and

    log w = sum_t (b_t - b_{t-1}) (E_base(x_{t-1}) - E(x_{t-1})),  Z = Z_base mean w

    From exact samples of the target the same way backwards gives 1 / Z: with both ends log Z
    lies between two estimates, each wrong to its own side (Grosse, Ancha and Roy 2016).

    Parameters
    ----------
    energy : callable, BoundNetwork or fitted estimator
        As `Langevin.sample` takes it.
    base : None, (mean, scale), or an energy that can be sampled
        N(mean, scale^2) of each coordinate, None: N(0, 1); numbers or arrays of the shape of a
        row.  Or a function of rows with ``sample(n, random_state=)``, such as a bound
        `networks.GaussianMixture`; its log Z is its ``log_z_``, 0 if it has none.
    shape : int, tuple of int or None
        Of a row; None: the network's, that of x_exact, of the mean or of the base.
    n_temperatures : int, default 1000
        T.
    schedule : {"sigmoid", "linear"} or sequence of float
        The b_t: s(4 (2 t / T - 1)), s the sigmoid scaled to 0 .. 1, as the code of sliced score
        matching (Song et al. 2019); t / T; or all T + 1, from 0 to 1.
    sampler : MALA, HMC, Langevin or None
        None: ``HMC(0.1, n_leapfrog=10, adapt="paper", target=0.65)``, as that code.  With
        ``adapt="paper"`` a hundred chains find the size of the steps at each temperature first,
        for sizes that follow the acceptance of the very chain would make the weights wrong.
        Langevin has no Metropolis step: its bias goes into the estimate.
    n_steps : int, default 1
        At each temperature, 64 at most.
    n_chains : int, default 1000
    x_exact : array (M, ...) or None
        Exact samples of exp(-E), for the reverse estimate.
    args : tuple
        Further arguments of the energy.
    random_state : int, numpy.random.Generator or None
    device : {"cpu", "cuda"} or None
        Where the chains go; None: where the network's arrays lie, for functions as
        `ebmlib.device` says.

    Returns
    -------
    LogZ

    Raises
    ------
    NumericalError
        A weight is NaN, or all are zero.

    Notes
    -----
    What was compiled is kept for the next call with the same energies, shapes and options, as
    that of `Langevin.sample` is.

    Examples
    --------
    >>> import numpy as np
    >>> from ebmlib import samplers
    >>> def energy(x):  # log Z = log 2 pi 0.25
    ...     return 2.0 * np.sum((x - 1.0) ** 2, axis=1)
    >>> found = samplers.annealed_importance_sampling(
    ...     energy, shape=2, n_temperatures=200, random_state=0)
    >>> bool(abs(found.log_z - np.log(0.5 * np.pi)) < 4 * found.error)
    True
    """
    made = HMC(0.1, 10, adapt="paper", target=0.65) if sampler is None else sampler
    _check_sampler(made)
    betas = _betas(schedule, whole(n_temperatures, "n_temperatures", 1))
    n_steps, n_chains = whole(n_steps, "n_steps", 1), whole(n_chains, "n_chains", 1)
    exact = None if x_exact is None else as_numbers(x_exact, "x_exact")
    row = _row(energy, base, shape, exact)
    start = _Base(base, row)
    target, dtype = as_energy(energy, args)
    walk = _Annealing(made, start.energy, target, n_steps, dtype or start.dtype or _FLOAT64)
    walk.device = device
    if device is None:
        walk.device = _device_of(energy) or _device_of(base) or _core.device()
    words = [random.fold_in(random.key(random_state), k) for k in range(5)]
    if getattr(made, "adapt", "none") == "paper":
        walk.find_sizes(start.sample(PILOT, words[0]), betas, words[1])
    x, weights, acceptance = walk(start.sample(n_chains, words[2]), betas, words[3], False)
    log_z, error, ess = _estimate(weights)
    found = LogZ(
        log_z + start.log_z, error, ess, None, None, None, weights + start.log_z, None, x
    )
    if hasattr(made, "adapt"):
        found = found._replace(acceptance=float(acceptance.mean()))
    if exact is None:
        return found
    _, reverse, _ = walk(exact, betas[::-1].copy(), words[4], True)
    log_inverse, error, ess = _estimate(reverse - start.log_z)
    return found._replace(
        log_z_reverse=-log_inverse,
        error_reverse=error,
        ess_reverse=ess,
        log_weights_reverse=reverse - start.log_z,
    )


class _Annealing:
    """Chains through the temperatures, with the sizes of their steps once they are known."""

    def __init__(
        self, sampler: Sampler, base: Any, target: Any, n_steps: int, dtype: np.dtype[Any]
    ) -> None:
        self.sampler, self.base, self.target = sampler, base, target
        self.n_steps, self.dtype = n_steps, dtype
        self.sizes: NDArray[Any] | None = None  # at each of the betas
        self.device: str | None = None

    def find_sizes(self, x: NDArray[Any], betas: NDArray[Any], words: Any) -> None:
        _, options = self.sampler._spec()
        options["n_adapt"] = (len(betas) - 1) * self.n_steps
        sizes = self._run(options, x, betas, words, None)[3]
        self.sizes = np.concatenate([sizes[:1], sizes])

    def __call__(
        self, x: NDArray[Any], betas: NDArray[Any], words: Any, backwards: bool
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """(x, log weights in float64, acceptance)."""
        _, options = self.sampler._spec()
        sizes = self.sizes
        if sizes is not None:
            options["adapt"] = "none"
            sizes = (sizes[::-1] if backwards else sizes)[1:].copy()
        x, weights, acceptance, _ = self._run(options, x, betas, words, sizes)
        if np.isnan(weights).any() or not np.isfinite(weights).any():
            raise NumericalError(
                f"annealed_importance_sampling: {np.count_nonzero(np.isnan(weights))} of "
                f"{len(weights)} weights are NaN, {np.count_nonzero(weights == -np.inf)} are "
                "zero: take smaller steps, or a base that lies within the energy's domain"
            )
        return x, weights.astype(np.float64), acceptance

    def _run(
        self,
        options: dict[str, Any],
        x: NDArray[Any],
        betas: NDArray[Any],
        words: Any,
        sizes: NDArray[Any] | None,
    ) -> Any:
        spec = (self.sampler._kind, options)

        def anneal(x: Any, words: Any, betas: Any, sizes: Any) -> Any:
            return _core.annealed(
                spec, self.base, self.target, self.n_steps, x, words, betas, sizes
            )

        x, betas = (np.asarray(a, self.dtype) for a in (x, betas))
        sizes = None if sizes is None else np.asarray(sizes, self.dtype)
        leaves, structure = flatten(((x, words, betas, sizes), {}))
        values, specs = signature(leaves, structure)
        energies = [made_of(e, self.dtype, x.shape) for e in (self.base, self.target)]
        place = ("annealed", repr(spec), self.n_steps, structure, specs, self.device)

        def make() -> Compiled:
            where = self.device, False  # results come back
            with scope(self.device):
                return compile_function(
                    anneal, "annealed", structure, specs, False, place=where
                )

        with kept(place, energies, make, lambda made: made.plan.arena_bytes) as compiled:
            return compiled(values)


def _device_of(energy: Any) -> str | None:
    network = getattr(energy, "energy_", energy)
    return network.device if isinstance(network, BoundNetwork) else None


class _Base:
    """Where chains begin: an energy, its log Z, and samples."""

    def __init__(self, base: Any, row: tuple[int, ...]) -> None:
        self.dtype: np.dtype[Any] | None = None
        self.log_z = 0.0
        if base is None or isinstance(base, tuple):
            base = _Normal((0.0, 1.0) if base is None else base, row)
        elif not callable(base) or not hasattr(base, "sample"):
            raise TypeError(
                f"base: got {type(base).__name__}, expected None, (mean, scale), or a function "
                "of rows with a method sample"
            )
        self.energy, self.dtype = as_energy(base)
        self.row, self._base = row, base
        if not isinstance(base, BoundNetwork):  # of these sample says whether log Z = 0
            self.log_z = real(getattr(base, "log_z_", 0.0), "base: log_z_")

    def sample(self, n: int, words: NDArray[Any]) -> NDArray[Any]:
        rng = np.random.default_rng(words.view(np.uint32))
        x = as_numbers(self._base.sample(n, random_state=rng), "base: sample")
        if x.shape != (n, *self.row):
            raise ShapeError(f"base: sample: shape {x.shape}, expected {(n, *self.row)}")
        return x


class _Normal:
    """N(mean, scale^2), coordinates independent."""

    def __init__(self, base: tuple[Any, ...], row: tuple[int, ...]) -> None:
        if len(base) != 2:
            raise ValueError(f"base: got {len(base)} numbers, expected (mean, scale)")
        try:
            self.mean, self.scale = (
                np.broadcast_to(floats(value, f"base: {name}"), row)
                for value, name in zip(base, ("mean", "scale"), strict=True)
            )
        except ValueError:
            raise ShapeError(f"base: mean, scale: expected numbers, or arrays {row}") from None
        if not (np.isfinite(self.mean).all() and (self.scale > 0).all()):
            raise ValueError("base: mean, scale: expected finite numbers, and scale above 0")

    def __call__(self, x: Any) -> Any:
        constant = float(np.sum(np.log(self.scale) + 0.5 * np.log(2 * np.pi)))
        axes = tuple(range(1, x.ndim))
        return 0.5 * np.sum(((x - self.mean) / self.scale) ** 2, axis=axes) + constant

    def sample(self, n: int, random_state: np.random.Generator) -> NDArray[Any]:
        return self.mean + self.scale * random_state.standard_normal((n, *self.mean.shape))


def _check_sampler(sampler: Any) -> None:
    if not isinstance(sampler, Sampler):
        raise TypeError(
            f"sampler: got {type(sampler).__name__}, expected one such as samplers.HMC()"
        )
    sampler._check()
    if getattr(sampler, "adapt", "none") == "dual_averaging":
        raise ValueError(
            "sampler: adapt: got 'dual_averaging', expected none or paper: the size has to "
            "follow the temperature"
        )


def _betas(schedule: Any, n: int) -> NDArray[np.float64]:
    t = np.linspace(0, 1, n + 1)
    if isinstance(schedule, str):
        if schedule == "linear":
            return t
        if schedule != "sigmoid":
            raise ValueError(f"schedule: got {schedule!r}, expected sigmoid, linear or numbers")
        s = np.tanh(SIGMOID / 2 * (2 * t - 1))  # sigmoid(a) = (1 + tanh(a / 2)) / 2
        betas: NDArray[np.float64] = (s - s[0]) / (s[-1] - s[0])
        return betas
    betas = floats(schedule, "schedule")
    rising = betas.ndim == 1 and len(betas) > 1 and bool((np.diff(betas) > 0).all())
    if not rising or betas[0] != 0 or betas[-1] != 1:
        raise ValueError("schedule: got other numbers, expected some that rise from 0 to 1")
    return betas


def _row(energy: Any, base: Any, shape: Any, exact: NDArray[Any] | None) -> tuple[int, ...]:
    """The shape of a row."""
    known: list[tuple[int, ...] | None] = [None if shape is None else sizes(shape, "shape")]
    known.append(None if exact is None else exact.shape[1:])
    for network in (getattr(energy, "energy_", energy), base):
        known.append(network.shape if isinstance(network, BoundNetwork) else None)
    if isinstance(base, tuple):
        known.extend(np.shape(value) or None for value in base)
    rows = [row for row in known if row is not None]
    if not rows:
        raise ValueError("shape: got None, expected that of a row")
    for row in rows:
        if row != rows[0]:
            raise ShapeError(f"shape: got rows of {row} and of {rows[0]}, expected one shape")
    return rows[0]


def _estimate(log_w: NDArray[np.float64]) -> tuple[float, float, float]:
    """(log mean w, its standard error, effective number) of weights."""
    top = log_w.max()
    w = np.exp(log_w - top)
    mean = w.mean()
    error = w.std(ddof=1) / mean / np.sqrt(len(w)) if len(w) > 1 else np.inf
    return float(top + np.log(mean)), float(error), float(w.sum() ** 2 / np.sum(w**2))
