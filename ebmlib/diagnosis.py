"""What is wrong with a fit: findings with their figures and cures.

``est.diagnose()`` looks at the history of a fitted estimator, at its arrays and gradients, and
at a few chains that it walks; it changes nothing and prints nothing.  The codes of findings:

- error: diverged, lost_chains, exploding_gap, exploding_gradient (not finite), coupled_rows,
  no_curvature;
- warning: negative_gap, saturated_chains, stuck_chains, far_chains, low_acceptance,
  young_buffer, exploding_gradient (growing), vanishing_gradient, data_noise, overfitting,
  low_learning_rate, collapsed_energy; with a generator: generator_apart, few_draws,
  entropy_acceptance, sigma_at_bound;
- info: rollbacks, kept_best, high_acceptance, old_buffer, temperature; with a generator:
  no_entropy, low_trust, sigma_bounds.

>>> import numpy as np
>>> from ebmlib import estimators, networks, samplers
>>> x = np.random.default_rng(0).normal(size=(500, 2))
>>> walk = samplers.Langevin(step_size=0.05, n_steps=10)
>>> est = estimators.CD(networks.MLP((32,)), walk, max_steps=100, random_state=0).fit(x)
>>> print(est.diagnose())
CD after 100 steps: nothing to report
>>> still = samplers.Langevin(step_size=1e-9, n_steps=10)
>>> print(est.set_params(sampler=still).diagnose())
CD after 100 steps: 1 finding
warning: stuck_chains: in 10 steps chains move by 0.0001... of the data's deviation
    take a larger step_size and noise, or more n_steps
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._rows import check_rows
from .errors import NumericalError

if TYPE_CHECKING:
    from ._estimator import EnergyEstimator

__all__ = ["Finding", "Report"]

_ROWS = 256  # of the data, and chains, that are looked at


class Finding(NamedTuple):
    """One thing that is wrong, or may be.

    Parameters
    ----------
    code : str
        Its name, such as ``"stuck_chains"``.
    severity : {"info", "warning", "error"}
    message : str
    figures : dict of float
        What it was found by.
    cure : str

    Examples
    --------
    >>> from ebmlib import diagnosis
    >>> diagnosis.Finding("stuck_chains", "warning", "they stand", {"move": 0.0}, "walk").code
    'stuck_chains'
    """

    code: str
    severity: str
    message: str
    figures: dict[str, float]
    cure: str


class Report:
    """What ``est.diagnose()`` gives: true if it has a warning or an error, printed as text.

    Parameters
    ----------
    title : str
    findings : list of Finding
        The worst first.

    Attributes
    ----------
    title, findings
        As given.
    codes : list of str

    Examples
    --------
    >>> from ebmlib import diagnosis
    >>> cold = diagnosis.Finding("temperature", "info", "it is cold", {"temperature": 0.01}, "")
    >>> report = diagnosis.Report("PCD after 10 steps", [cold])
    >>> bool(report), report.codes
    (False, ['temperature'])
    """

    def __init__(self, title: str, findings: list[Finding]) -> None:
        self.title = title
        self.findings = findings

    @property
    def codes(self) -> list[str]:
        return [finding.code for finding in self.findings]

    def __bool__(self) -> bool:
        return any(finding.severity != "info" for finding in self.findings)

    def __str__(self) -> str:
        n = len(self.findings)
        lines = [
            f"{self.title}: {f'{n} finding' + 's' * (n > 1) if n else 'nothing to report'}"
        ]
        for finding in self.findings:
            lines.append(f"{finding.severity}: {finding.code}: {finding.message}")
            lines.append(f"    {finding.cure}")
        return "\n".join(lines)

    __repr__ = __str__


# ---- what is looked at -----------------------------------------------------------------------


class Facts:
    """An estimator as the checks see it; what is not known is None or empty.

    rows (n, D): of the last batch, or as given.
    starts, ends (n, D): chains before and after a walk of the sampler.
    """

    def __init__(self, est: EnergyEstimator, given: Any) -> None:
        self.est = est
        self.history = est.history_
        self.sampler = est._sampler
        trainer = vars(est).get("_trainer") or est._get_trainer()
        self.guard = int(trainer.get("guard")["step"])
        tried = est.n_steps_ > 0 or self.guard > 0
        self.norms = trainer.get("metrics.norms").get("params") if tried else None
        self.parameters = est.energy_.parameters()
        buffer = trainer.get("buffer") if est.n_steps_ else {}
        self.ages = buffer["age"] if buffer else None
        batch = trainer.get("batch").get("x") if given is None and est.n_steps_ else given
        rows = None if batch is None else batch[:_ROWS]
        starts = rows if self.ages is None else buffer["x"][self.ages > 0][:_ROWS]
        self.rows = _flat(rows)
        self.starts, self.ends = _flat(starts), None
        self.lost = ""  # why chains do not arrive
        if self.walks and starts is not None and len(starts):
            try:
                ends = self.sampler.sample(est.energy_, starts, random_state=int(est._key[0]))
                self.ends = _flat(ends)
            except NumericalError as error:
                self.lost = str(error).partition(": take")[0]
        self.energies = _energies(est, rows)
        self.half = None if rows is None else _energies(est, rows[: (len(rows) + 1) // 2])

    @property
    def walks(self) -> bool:
        """Whether the estimator learns from chains."""
        return "energy_samples" in self.history and not self.generates

    @property
    def generates(self) -> bool:
        """Whether it learns from a generator."""
        return "generator_" in self.est._learned

    @property
    def spread(self) -> float | None:
        """The deviation of the rows, as one number."""
        return None if self.rows is None else float(np.sqrt(self.rows.var(axis=0).mean()))

    @property
    def temperature(self) -> float | None:
        return getattr(self.sampler, "temperature", None) if self.walks else None


def _flat(rows: NDArray[Any] | None) -> NDArray[np.float64] | None:
    if rows is None:
        return None
    return np.asarray(rows, np.float64).reshape(len(rows), math.prod(rows.shape[1:]))


def _energies(est: EnergyEstimator, rows: NDArray[Any] | None) -> NDArray[np.float64] | None:
    """Those of the rows, if they are finite."""
    if rows is None:
        return None
    energies = np.asarray(est.energy_(rows), np.float64)
    return energies if np.isfinite(energies).all() else None


def _tail(values: NDArray[Any]) -> NDArray[Any]:
    """The last tenth, and ten values at least."""
    return values[-max(10, len(values) // 10) :]


# ---- the checks ------------------------------------------------------------------------------


def _diverged(facts: Facts) -> Iterator[Finding]:
    if facts.guard:
        yield Finding(
            "diverged",
            "error",
            f"step {facts.guard} was not finite or too large; the arrays are those before it",
            {"step": facts.guard},
            "lower learning_rate or step_size, more l2, or on_divergence='rollback'",
        )


def _rollbacks(facts: Facts) -> Iterator[Finding]:
    steps = facts.history.get("rollback_step", np.empty(0, np.int64))
    if len(steps):
        rate = float(facts.history["rollback_rate"][-1])
        yield Finding(
            "rollbacks",
            "info",
            f"{len(steps)} bad steps were taken back, the last at step {steps[-1]}; "
            f"the learning rate came down to {rate:.3g}",
            {"rollbacks": len(steps), "step": int(steps[-1]), "rate": rate},
            "start with that learning_rate",
        )


def _best_step(facts: Facts) -> int | None:
    """The step whose parameters `callbacks.KeepBest` has put back in the last fit."""
    steps, fit = facts.history.get("best_step", np.empty(0, np.int64)), facts.est._fit
    if not len(steps) or fit is None or steps[-1] <= fit["first"]:
        return None
    return int(steps[-1])


def _kept_best(facts: Facts) -> Iterator[Finding]:
    step = _best_step(facts)
    if step is not None and step < facts.est.n_steps_:
        value = float(facts.history["best_value"][-1])
        yield Finding(
            "kept_best",
            "info",
            f"what was learned is that of step {step} of {facts.est.n_steps_}, whose "
            f"validation was the best with {value:.4g}",
            {"step": step, "value": value, "steps": facts.est.n_steps_},
            "fewer steps would do, or a learning_rate that falls",
        )


def _gap(facts: Facts) -> Iterator[Finding]:
    """E(data) - E(samples): near zero where samples follow the model, but for the learning."""
    gap = facts.history.get("gap", np.empty(0))
    if len(gap) < 20:
        return
    first = float(np.median(np.abs(gap[: len(gap) // 4])))
    last = float(np.median(np.abs(_tail(gap))))
    # The energies of a Gaussian in D dimensions have the deviation sqrt(D / 2).
    scale = max(1.0, math.sqrt(facts.est.n_features_in_ / 2))
    if last > 5 * scale and last > 3 * first:
        yield Finding(
            "exploding_gap",
            "error",
            f"|energy_data - energy_samples| went from {first:.3g} to {last:.3g}",
            {"first": first, "last": last},
            "lower learning_rate, more l2, a clip_norm, or "
            + ("a faster generator_optimizer" if facts.generates else "longer chains"),
        )
        return
    if facts.generates:
        yield from _apart(facts, gap)
        return
    half = gap[len(gap) // 2 :]
    mean, share, now = float(half.mean()), float((half < 0).mean()), float(_tail(gap).mean())
    spread = 1.0 if facts.energies is None else float(facts.energies.std())
    # Learning itself leaves chains behind; then the gap closes as the rate of change falls.
    if share >= 0.95 and mean < -0.75 * spread and now < 0.95 * mean:
        yield Finding(
            "negative_gap",
            "warning",
            f"samples lie higher than data in {share:.0%} of the last {len(half)} steps, by "
            f"{-mean:.3g} on average: chains do not come down to where the energy is low",
            {"share": share, "mean": mean, "last": now, "spread": spread},
            "longer chains, a larger step_size, or a lower learning_rate",
        )


def _apart(facts: Facts, gap: NDArray[Any]) -> Iterator[Finding]:
    """Samples of a generator that have not found where the energy of data is."""
    last, mean = _tail(gap), float(_tail(gap).mean())
    spread = 0.0 if facts.energies is None else float(facts.energies.std())
    if spread > 0 and abs(mean) > 2 * spread and not _is_collapsed(facts):
        yield Finding(
            "generator_apart",
            "warning",
            f"the generator's samples lie {'higher' if mean < 0 else 'lower'} than data by "
            f"{abs(mean) / spread:.3g} deviations of the data's energies in the last "
            f"{len(last)} steps: energy and generator do not keep up with each other",
            {"gap": mean, "spread": spread, "deviations": abs(mean) / spread},
            "a lower learning_rate, a faster generator_optimizer or update_every of 2 and more"
            if mean < 0
            else "more entropy_weight, a higher learning_rate, or more steps",
        )


def _entropy(facts: Facts) -> Iterator[Finding]:
    """Whether the entropy of a generator is climbed, and how well its slope is known."""
    if not facts.generates:
        return
    entropy, weight = facts.est._entropy(), float(getattr(facts.est, "entropy_weight", 1.0))
    if entropy is None or weight == 0:
        yield Finding(
            "no_entropy",
            "info",
            "the generator is drawn to low energies alone, without its entropy: it ends "
            "narrower than the data, and the energy flat",
            {"entropy_weight": 0.0},
            "an entropy, with an entropy_weight of 1 and then less until training is stable",
        )
        return
    draws = _tail(facts.history.get("ess", np.empty(0)))
    if len(draws) and draws.mean() < 1.5:
        yield Finding(
            "few_draws",
            "warning",
            f"of {getattr(entropy, 'draws', 1)} draws {draws.mean():.3g} count in the last "
            f"{len(draws)} steps: importance sampling finds a small share of the entropy's "
            "gradient, and the energy ends too flat where the data are broad",
            {"ess": float(draws.mean()), "draws": int(getattr(entropy, "draws", 1))},
            "entropy='gauss_newton' or 'hmc', more draws, or a larger sigma",
        )
    yield from _entropy_acceptance(facts, getattr(entropy, "target", None))
    yield from _trust(facts, int(getattr(entropy, "pool", 0)))


def _trust(facts: Facts, pool: int) -> Iterator[Finding]:
    """Gauss-Newton steps that gain less than they promise; they are believed as far."""
    values = facts.history.get("trust", np.empty(0))
    if len(values) < 20 or (trust := float(_tail(values).mean())) >= 0.5:
        return
    yield Finding(
        "low_trust",
        "info",
        f"Gauss-Newton steps gain {trust:.0%} of what they promise in the last "
        f"{len(_tail(values))} steps: the generator bends where a latent of x may lie, and its "
        f"score rests on the pool of {pool} draws, few of which count in many dimensions",
        {"trust": trust, "pool": pool},
        "a larger pool of entropy.GaussNewton (20 halves the error of 4), a smoother "
        "generator, or entropy='hmc' to compare",
    )


def _entropy_acceptance(facts: Facts, target: float | None) -> Iterator[Finding]:
    values = facts.history.get("acceptance", np.empty(0))
    if target is None or len(values) < 20:
        return
    rate = float(_tail(values).mean())
    if not target / 2 < rate < (1 + target) / 2:
        yield Finding(
            "entropy_acceptance",
            "warning",
            f"chains of the entropy accept {rate:.0%} of their steps, the aim is {target:.0%}: "
            + ("they stay where they began" if rate < target else "their steps are short"),
            {"acceptance": rate, "target": float(target)},
            f"a {'smaller' if rate < target else 'larger'} step_size or a higher rate of "
            "entropy.HMC",
        )


def _sigma(facts: Facts) -> Iterator[Finding]:
    """The noise of a generator, where it is bounded."""
    values = _tail(facts.history.get("sigma", np.empty(0)))
    bounds = {name: getattr(facts.est, name, None) for name in ("sigma_min", "sigma_max")}
    kept = {name: float(bound) for name, bound in bounds.items() if bound is not None}
    if not kept or not len(values):
        return
    low, high = kept.get("sigma_min", 0.0), kept.get("sigma_max", math.inf)
    text = f"sigma, {values[-1]:.3g}, is kept within [{low:g}, {high:g}]"
    figures = {"sigma": float(values[-1])} | kept
    share = {k: float(np.isclose(values, bound, rtol=1e-4).mean()) for k, bound in kept.items()}
    name = max(share, key=lambda k: share[k])
    if share[name] <= 0.5 or low == high:
        yield Finding("sigma_bounds", "info", text, figures, "None leaves it free")
        return
    yield Finding(
        "sigma_at_bound",
        "warning",
        f"{text}, and lies at {name} in {share[name]:.0%} of the last {len(values)} steps",
        figures | {"share": share[name]},
        "a larger sigma_max, or None"
        if name == "sigma_max"
        else "a smaller sigma_min, or more entropy_weight",
    )


def _chains(facts: Facts) -> Iterator[Finding]:
    if facts.lost:
        yield Finding(
            "lost_chains",
            "error",
            facts.lost,
            {"n_steps": facts.sampler.n_steps},
            "a smaller step_size, bounds (clip), or more l2",
        )
    if facts.ends is None or facts.starts is None:
        return
    yield from _saturated(facts, facts.ends)
    if not facts.spread:
        return
    move = float(np.sqrt(np.mean((facts.ends - facts.starts) ** 2))) / facts.spread
    if move < 0.01:
        yield Finding(
            "stuck_chains",
            "warning",
            f"in {facts.sampler.n_steps} steps chains move by {move:.3g} of the data's "
            "deviation",
            {"move": move, "n_steps": facts.sampler.n_steps},
            "take a larger step_size and noise, or more n_steps",
        )
    yield from _far(facts, facts.ends)


def _saturated(facts: Facts, ends: NDArray[np.float64]) -> Iterator[Finding]:
    clip = getattr(facts.sampler, "clip", None)
    if clip is None:
        return
    share = _share_at(clip, ends)
    of_data = 0.0 if facts.rows is None else _share_at(clip, facts.rows)
    if share > of_data + 0.25:
        yield Finding(
            "saturated_chains",
            "warning",
            f"{share:.0%} of the chains' coordinates lie at the bounds of clip, "
            f"{of_data:.0%} of the data's",
            {"share": share, "data": of_data},
            "a smaller step_size, more l2, or wider bounds",
        )


def _share_at(clip: tuple[float, float], x: NDArray[np.float64]) -> float:
    return float((np.isclose(x, clip[0]) | np.isclose(x, clip[1])).mean())


def _far(facts: Facts, ends: NDArray[np.float64]) -> Iterator[Finding]:
    """Chains outside of the data's range, widened by as much again on each side."""
    if facts.rows is None or facts.spread is None:
        return
    low, high = facts.rows.min(axis=0), facts.rows.max(axis=0)
    width = np.maximum(high - low, facts.spread)
    inside = (ends >= low - width) & (ends <= high + width)
    share = float(1 - inside.all(axis=1).mean())
    if share > 0.1:
        yield Finding(
            "far_chains",
            "warning",
            f"{share:.0%} of the chains lie further outside the data's range than it is wide",
            {"share": share},
            "a smaller step_size, buffer_init='data', more l2, or data of unit scale",
        )


def _acceptance(facts: Facts) -> Iterator[Finding]:
    """Where a sampler rejects steps, its estimator has the metric ``acceptance``."""
    values = facts.history.get("acceptance", np.empty(0))
    if not len(values) or facts.generates:
        return
    rate = float(np.mean(_tail(values)))
    if rate < 0.2:
        yield Finding(
            "low_acceptance",
            "warning",
            f"{rate:.0%} of the proposed steps are accepted",
            {"acceptance": rate},
            "a smaller step_size",
        )
    elif rate > 0.98:
        yield Finding(
            "high_acceptance",
            "info",
            f"{rate:.1%} of the proposed steps are accepted: they could be larger",
            {"acceptance": rate},
            "a larger step_size",
        )


def _buffer(facts: Facts) -> Iterator[Finding]:
    """How often the chain of a slot has been walked on since it began."""
    walk = facts.sampler.n_steps
    if facts.ages is None or walk == 0:
        return
    visits = float(np.median(facts.ages)) / walk
    reinit: float = getattr(facts.est, "reinit", 0.0)
    # After many draws, the median of a geometric law with this probability of ending.
    expected = math.log(2) / reinit if reinit > 0 else math.inf
    figures = {"age": visits * walk, "visits": visits, "reinit": reinit, "expected": expected}
    if visits < 3:
        yield Finding(
            "young_buffer",
            "warning",
            f"the median chain of the buffer has walked {visits * walk:g} steps, {visits:.2g} "
            f"times {walk}, with {len(facts.ages)} chains and reinit = {reinit:g}",
            figures,
            "a smaller buffer_size, a lower reinit, or more steps of training",
        )
    elif visits > 200 and (reinit == 0 or visits > 5 * expected):
        yield Finding(
            "old_buffer",
            "info",
            f"the median chain of the buffer has walked {visits * walk:g} steps without "
            f"beginning anew, with reinit = {reinit:g}",
            figures,
            "a reinit of 0.01 to 0.05, so that chains are not lost in one mode",
        )


def _gradients(facts: Facts) -> Iterator[Finding]:
    norms = facts.history.get("grad_norm", np.empty(0))
    names = list(facts.parameters)
    if facts.norms is not None and not np.isfinite(facts.norms).all():
        bad = names[int(np.argmin(np.isfinite(facts.norms)))]
        yield Finding(
            "exploding_gradient",
            "error",
            f"the last gradient of {bad} was not finite",
            dict(zip(names, facts.norms.astype(float).tolist(), strict=True)),
            "a lower learning_rate, or a clip_norm",
        )
        return
    if len(norms) >= 20:
        first, last = float(np.median(norms[: len(norms) // 2])), float(np.median(_tail(norms)))
        if last > 100 * first:
            yield Finding(
                "exploding_gradient",
                "warning",
                f"the gradient's norm went from {first:.3g} to {last:.3g}",
                {"first": first, "last": last},
                "a lower learning_rate, or a clip_norm",
            )
    yield from _vanishing(facts, names)


def _vanishing(facts: Facts, names: list[str]) -> Iterator[Finding]:
    """Weights, not biases, whose gradient is nothing beside the others, relative to them."""
    if facts.norms is None or _is_collapsed(facts):
        return
    share = {}
    for name, norm in zip(names, facts.norms.astype(float), strict=True):
        size = float(np.linalg.norm(facts.parameters[name]))
        if facts.parameters[name].ndim >= 2 and size > 0:
            share[name] = float(norm) / size
    most = max(share.values(), default=0.0)
    weak = [name for name, value in share.items() if value <= 1e-5 * most]
    if weak:
        yield Finding(
            "vanishing_gradient",
            "warning",
            f"the gradient of {', '.join(weak)} is less than 1e-5 of the largest, each as a "
            "share of its parameter",
            share,
            "fewer layers, normalisation, or another activation",
        )


def _straight(facts: Facts) -> Iterator[Finding]:
    """Score matching of an energy without second derivatives has no data term."""
    trace = _tail(facts.history.get("trace", np.ones(1)))
    if not trace.any():
        yield Finding(
            "no_curvature",
            "error",
            f"tr ds/dx is zero in the last {len(trace)} steps: the energy is straight between "
            "its edges, and only |s|^2 is left to learn from",
            {"trace": 0.0, "steps": len(trace)},
            "an activation that bends, such as softplus or swish, or kind='denoising'",
        )


def _coupled(facts: Facts) -> Iterator[Finding]:
    """A row's energy must not depend on the other rows."""
    if facts.energies is None or facts.half is None:
        return
    change = float(np.abs(facts.energies[: len(facts.half)] - facts.half).max())
    scale = float(np.abs(facts.energies).max())
    if change > 1e-3 * scale:
        yield Finding(
            "coupled_rows",
            "error",
            f"energies of rows change by up to {change:.3g} with the other rows of a batch",
            {"change": change, "scale": scale},
            "layer or group normalisation in place of batch normalisation",
        )


def _temperature(facts: Facts) -> Iterator[Finding]:
    t = facts.temperature
    if t is not None and not 0.1 <= t <= 10:
        yield Finding(
            "temperature",
            "info",
            f"step and noise make samples of exp(-E / T) with T = noise^2 / (2 step_size) = "
            f"{t:.3g}",
            {"temperature": t},
            "noise=None for T = 1; for images a low T is usual",
        )


def _noise(facts: Facts) -> Iterator[Finding]:
    noise: float = getattr(facts.est, "data_noise", 0.0)
    if facts.spread is not None and noise > 0.5 * facts.spread:
        yield Finding(
            "data_noise",
            "warning",
            f"the noise on the data is {noise:.3g}, their deviation {facts.spread:.3g}",
            {"noise": noise, "spread": facts.spread},
            "a smaller data_noise, or data of unit scale",
        )


def _overfitting(facts: Facts) -> Iterator[Finding]:
    gaps, best = facts.history.get("val_gap", np.empty(0)), _best_step(facts)
    if best is not None:
        gaps = gaps[facts.history["val_step"] <= best]
    if not len(gaps) or facts.energies is None:
        return
    gap, spread = float(np.mean(gaps[-3:])), float(facts.energies.std())
    if gap > 0.5 * spread:
        yield Finding(
            "overfitting",
            "warning",
            f"held-out rows lie {gap:.3g} higher than rows of the training, where energies "
            f"have a deviation of {spread:.3g}",
            {"val_gap": gap, "spread": spread},
            "more data or data_noise, a smaller network, or callbacks.EarlyStopping",
        )


def _rate(facts: Facts) -> Iterator[Finding]:
    """By how much the parameters can have moved, at the most, as a share of their size."""
    loss = facts.history.get("loss", np.empty(0))
    rates = facts.history.get("learning_rate", np.empty(0))
    weights = [a for a in facts.parameters.values() if a.ndim >= 2]
    if len(loss) < 100 or len(loss) != len(rates) or not weights:
        return
    if facts.est.optimizer == "adam":  # at most the rate a step, each number of them
        sizes = [float(np.sqrt(np.mean(np.square(a, dtype=np.float64)))) for a in weights]
        moved = float(rates.sum()) / float(np.median(sizes))
    else:
        norms = facts.history["grad_norm"]
        if facts.est.clip_norm is not None:
            norms = np.minimum(norms, facts.est.clip_norm)
        size = math.sqrt(sum(float(np.sum(np.square(a, dtype=np.float64))) for a in weights))
        moved = float((rates * norms).sum()) / (1 - facts.est.betas[0]) / size
    quarter = len(loss) // 4
    change = abs(float(loss[-quarter:].mean() - loss[:quarter].mean()))
    if moved < 0.01 and change < float(loss.std()):
        yield Finding(
            "low_learning_rate",
            "warning",
            f"in {len(loss)} steps parameters can have moved by {moved:.2g} of their size, and "
            f"the loss changed by {change:.2g} where its deviation is {loss.std():.2g}",
            {"moved": moved, "change": change, "deviation": float(loss.std())},
            "a higher learning_rate, or more steps",
        )


def _is_collapsed(facts: Facts) -> bool:
    if facts.energies is None:
        return False
    t = 1.0 if facts.temperature is None else facts.temperature
    return bool(facts.energies.std() < 1e-3 * min(max(t, 1e-6), 1.0))


def _collapsed(facts: Facts) -> Iterator[Finding]:
    if _is_collapsed(facts) and facts.energies is not None:
        spread = float(facts.energies.std())
        yield Finding(
            "collapsed_energy",
            "warning",
            f"the energies of the data are one number, up to {spread:.2g}",
            {"spread": spread},
            "less l2 or weight_decay, or another activation or start of the network",
        )


_CHECKS = (
    _diverged,
    _rollbacks,
    _kept_best,
    _gap,
    _entropy,
    _sigma,
    _chains,
    _acceptance,
    _buffer,
    _gradients,
    _straight,
    _coupled,
    _temperature,
    _noise,
    _overfitting,
    _rate,
    _collapsed,
)
_ORDER = ("error", "warning", "info")


def diagnose(est: EnergyEstimator, X: Any) -> Report:
    """All checks on a fitted estimator."""
    who = type(est).__name__
    rows = None if X is None else check_rows(X, who, est._row, est.image_shape)
    with np.errstate(over="ignore", invalid="ignore"):  # chains that have run away
        facts = Facts(est, rows)
        findings = [finding for check in _CHECKS for finding in check(facts)]
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return Report(f"{who} after {est.n_steps_} steps", findings)
