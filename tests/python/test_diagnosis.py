"""Diagnosis: each pathology is planted, and found alone."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from ebmlib import diagnosis, entropy, estimators, networks, optimizers, samplers
from ebmlib.errors import NumericalError

WALK = {"step_size": 0.05, "n_steps": 10}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.multivariate_normal([0.5, -0.5], [[1, 0.6], [0.6, 1]], 1000).astype(np.float32)


@pytest.fixture(scope="module")
def trained(rows):
    """A healthy estimator as bytes: each test spoils its own copy."""
    return pickle.dumps(make().fit(rows, X_val=rows[:200]))


def make(cls=estimators.PCD, **changes):
    options = {
        "network": networks.MLP((32,)),
        "sampler": samplers.Langevin(**WALK),
        "batch_size": 64,
        "learning_rate": 3e-3,
        "max_steps": 200,
        "random_state": 0,
    }
    if cls is estimators.PCD:
        options |= {"buffer_size": 500, "buffer_init": "normal"}
    return cls(**(options | changes))


@pytest.fixture
def healthy(trained):
    return pickle.loads(trained)


def write(est, **arrays):
    """Writes parameters of the energy and of the trainer."""
    est.energy_.set_parameters(arrays)
    arrays = {name: np.asarray(a, np.float32) for name, a in arrays.items()}
    est._get_trainer().set({f"params.{name}": a for name, a in arrays.items()})


def history(est, **columns):
    n = est.n_steps_
    for name, column in columns.items():
        est.history_[name] = np.asarray(column(np.arange(n)), np.float64)


# ---- nothing ----


@pytest.mark.parametrize("cls", [estimators.CD, estimators.PCD, estimators.ScoreMatching])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_healthy_run_has_no_findings(cls, dtype, rows, capsys):
    est = make(cls, dtype=dtype).fit(rows, X_val=rows[:200])
    before = pickle.dumps(est._trainer.get())
    report = est.diagnose()
    assert report.codes == []
    assert not report
    assert str(report) == f"{cls.__name__} after 200 steps: nothing to report"
    assert pickle.dumps(est._trainer.get()) == before
    assert est.diagnose(rows).codes == []
    assert pickle.loads(pickle.dumps(est)).diagnose().codes == []
    assert capsys.readouterr() == ("", "")


def test_the_default_estimator_is_healthy(rows):
    est = estimators.PCD(max_steps=100, buffer_size=500, random_state=0).fit(rows)
    assert est.diagnose().codes == []


def test_an_untrained_estimator_can_be_asked(rows):
    assert make(max_steps=0).fit(rows).diagnose().codes == []
    assert made(rows, max_steps=0).diagnose().codes == []
    with pytest.raises(ValueError, match="not fitted yet"):
        make().diagnose()


# ---- planted in an estimator that is healthy otherwise ----


def no_progress(est):
    est.set_params(sampler=samplers.Langevin(step_size=1e-8, n_steps=10))


def no_steps(est):
    est.set_params(sampler=samplers.Langevin(step_size=0.05, n_steps=0))


def narrow_clip(est):
    est.set_params(sampler=samplers.Langevin(**WALK, clip=(-0.5, 0.5)))


def slope(est):
    # E = swish(u) + swish(-u) = u tanh(u / 2) falls where its last weights are negative.
    write(est, **{"l1.w": -np.abs(est.energy_.parameters()["l1.w"]) * 100})


def coupled(est):
    energy = est.energy_
    est.energy_ = Coupled(energy)


class Coupled:
    """An energy that takes the mean over the batch away, as batch normalisation does."""

    def __init__(self, energy):
        self.energy, self.parameters = energy, energy.parameters

    def __call__(self, x):
        e = self.energy(x)
        return e - e.mean()


def constant(est):
    write(est, **{"l1.w": np.zeros((32, 1))})


def flat(est):
    history(
        est,
        learning_rate=lambda n: 1e-7 + 0 * n,
        loss=lambda n: np.sin(n),
    )


def low_rate_of_sgd(est):
    est.set_params(optimizer="sgd", betas=(0.9, 0.0))
    history(
        est,
        learning_rate=lambda n: 1e-7 + 0 * n,
        grad_norm=lambda n: 1 + 0 * n,
        loss=lambda n: np.sin(n),
    )


def ages(number):
    def plant(est):
        trainer = est._get_trainer()
        trainer.set({"buffer.age": np.full(500, number, np.int32)})

    return plant


def old(est):
    est.set_params(reinit=0.0)
    ages(3000)(est)


def norms(**changes):
    """Gradients of the last step: 1, but for some parameters."""

    def plant(est):
        values = dict.fromkeys(est.energy_.parameters(), 1.0)
        values |= {name.replace("_", "."): value for name, value in changes.items()}
        trainer = est._trainer
        assert list(values) == list(trainer.get("params"))
        trainer.set({"metrics.norms.params": np.array(list(values.values()), np.float32)})

    return plant


def guard(est):
    est._get_trainer().set({"guard.step": np.int32(201)})


def rolled_back(est):
    est.history_ |= {
        "rollback_step": np.array([12, 17]),
        "rollback_to": np.array([10, 10]),
        "rollback_rate": np.array([5e-4, 2.5e-4]),
    }


def column(name, form):
    return lambda est: history(est, **{name: form})


def val_gap(est):
    est.history_["val_gap"] = np.linspace(0, 5, 20)


def changed(**changes):
    return lambda est: est.set_params(**changes)


def sampler(**changes):
    return lambda est: est.set_params(sampler=samplers.Langevin(**(WALK | changes)))


PLANTED = {
    "exploding_gap": ("error", column("gap", lambda n: -0.1 - 20.0 * (n / 200) ** 4)),
    "negative_gap": ("warning", column("gap", lambda n: -3 - 0.1 * np.sin(n))),
    "saturated_chains": ("warning", narrow_clip),
    "stuck_chains": ("warning", no_progress),
    "stuck_chains of no steps": ("warning", no_steps),
    "far_chains": ("warning", slope),
    "low_acceptance": ("warning", column("acceptance", lambda n: 0.1 + 0 * n)),
    "high_acceptance": ("info", column("acceptance", lambda n: 0.999 + 0 * n)),
    "young_buffer": ("warning", ages(10)),
    "old_buffer": ("info", old),
    "exploding_gradient": ("warning", column("grad_norm", lambda n: np.exp(n / 20))),
    "exploding_gradient of the last step": ("error", norms(l0_b=np.inf)),
    "vanishing_gradient": ("warning", norms(l0_w=1e-9)),
    "coupled_rows": ("error", coupled),
    "temperature": ("info", sampler(noise=0.05)),
    "data_noise": ("warning", changed(data_noise=0.9)),
    "overfitting": ("warning", val_gap),
    "low_learning_rate": ("warning", flat),
    "low_learning_rate of sgd": ("warning", low_rate_of_sgd),
    "collapsed_energy": ("warning", constant),
    "diverged": ("error", guard),
    "rollbacks": ("info", rolled_back),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found_alone(name, rows):
    severity, plant = PLANTED[name]
    est = make().fit(rows, X_val=rows[:200])
    plant(est)
    report = est.diagnose(rows)
    assert report.codes == [name.partition(" ")[0]]
    finding = report.findings[0]
    assert finding.severity == severity
    assert bool(report) == (severity != "info")
    assert finding.figures
    assert all(isinstance(value, int | float) for value in finding.figures.values())
    assert finding.cure
    assert str(report).startswith(f"PCD after 200 steps: 1 finding\n{severity}: {finding.code}")


def test_figures_are_what_they_say(healthy, rows):
    trainer = healthy._get_trainer()
    no_progress(healthy)
    trainer.set({"buffer.age": np.full(500, 20, np.int32)})
    healthy._trainer = trainer
    found = {one.code: one.figures for one in healthy.diagnose(rows).findings}
    # Ten steps of noise sqrt(2e-8), in units of the data's deviation.
    want = np.sqrt(10 * 2e-8) / np.sqrt(rows[:256].var(axis=0).mean())
    assert found["stuck_chains"]["move"] == pytest.approx(want, rel=0.1)
    assert found["young_buffer"]["visits"] == 2
    assert found["young_buffer"]["expected"] == pytest.approx(np.log(2) / 0.05)
    norms(l0_w=1e-9)(healthy)
    found = {one.code: one.figures for one in healthy.diagnose(rows).findings}
    size = np.linalg.norm(healthy.energy_.parameters()["l1.w"])
    assert found["vanishing_gradient"]["l1.w"] == pytest.approx(1 / size, rel=1e-6)


# ---- with a generator ----


def made(rows, **changes):
    options = {
        "network": networks.MLP((32,), "leaky_relu"),
        "generator": networks.MLPGenerator(2, (32,), sigma=0.3),
        "batch_size": 64,
        "learning_rate": 3e-3,
        "generator_optimizer": optimizers.Adam(3e-3, betas=(0.0, 0.9)),
        "max_steps": 200,
        "random_state": 0,
    }
    return estimators.VERA(**(options | changes)).fit(rows, X_val=rows[:200])


def without_entropy(est):
    est.set_params(entropy_weight=0.0)


def bounded(low, high, sigma):
    def plant(est):
        est.set_params(sigma_min=low, sigma_max=high)
        history(est, sigma=lambda n: sigma(n))

    return plant


HMC = {"entropy": entropy.HMC(draws=1)}
GAUSS_NEWTON = {"entropy": "gauss_newton"}
GENERATED = {
    "generator_apart": ("warning", {}, column("gap", lambda n: -4 + 0.01 * n)),
    "generator_apart below": ("warning", {}, column("gap", lambda n: 4 - 0.01 * n)),
    "few_draws": ("warning", {}, column("ess", lambda n: 1.1 + 0 * n)),
    "entropy_acceptance": ("warning", HMC, column("acceptance", lambda n: 0.2 + 0 * n)),
    "entropy_acceptance high": ("warning", HMC, column("acceptance", lambda n: 0.99 + 0 * n)),
    "low_trust": ("info", GAUSS_NEWTON, column("trust", lambda n: 0.4 + 0 * n)),
    "no_entropy": ("info", {}, without_entropy),
    "sigma_at_bound": ("warning", {}, bounded(0.01, 0.3, lambda n: np.minimum(n / 100, 0.3))),
    "sigma_at_bound low": ("warning", {}, bounded(0.3, None, lambda n: 0.3 + n % 4 // 3)),
    "sigma_bounds": ("info", {}, bounded(0.01, 0.3, lambda n: 0.2 + 0 * n)),
    "sigma_bounds fixed": ("info", {}, bounded(0.3, 0.3, lambda n: 0.3 + 0 * n)),
}


@pytest.mark.parametrize("name", GENERATED)
def test_what_is_planted_beside_a_generator_is_found_alone(name, rows):
    severity, changes, plant = GENERATED[name]
    est = made(rows, **changes)
    # Chains are no part of its training: what they would do is not looked at.
    est.set_params(sampler=samplers.Langevin(step_size=1e-9, noise=0.0, n_steps=1))
    assert est.diagnose().codes == []
    plant(est)
    report = est.diagnose(rows)
    assert report.codes == [name.partition(" ")[0]]
    (finding,) = report.findings
    assert finding.severity == severity
    assert finding.cure
    assert finding.figures


def test_bounds_in_use_are_named(rows):
    est = made(rows, sigma_max=0.31, max_steps=300)
    report = est.diagnose()
    (bound,) = [one for one in report.findings if one.code == "sigma_at_bound"]
    assert "within [0, 0.31], and lies at sigma_max in 100% of the last 30 steps" in str(report)
    assert bound.figures["sigma_max"] == 0.31


def test_noise_that_hides_from_importance_sampling(rows):
    """Of 20 draws from a posterior that is much narrower than the proposal few count."""
    generator = networks.MLPGenerator(2, (32,), sigma=0.01)
    report = made(rows, generator=generator).diagnose()
    assert "few_draws" in report.codes
    assert made(rows, entropy=None).diagnose().codes == ["no_entropy"]


@pytest.mark.parametrize(("waves", "found"), [(1.0, False), (30.0, True)])
def test_a_generator_that_bends_is_trusted_little(waves, found):
    mixing = np.random.default_rng(0).normal(size=(4, 4))

    def wavy(p, z):
        return np.sin(waves * (z @ mixing) / 2) + p.param("shift", 4)

    generator = networks.FunctionGenerator(wavy, latent=4, sigma=1.0)
    x = np.random.default_rng(1).normal(size=(300, 4))
    bounds = {"sigma_min": 1.0, "sigma_max": 1.0, "max_steps": 50}
    report = made(x, generator=generator, **GAUSS_NEWTON, **bounds).diagnose()
    assert ("low_trust" in report.codes) == found


# ---- real ones ----


def test_a_run_that_diverged(rows):
    est = make(learning_rate=1e30)
    with pytest.raises(NumericalError):
        est.fit(rows)
    report = est.diagnose(rows)
    assert {"diverged", "exploding_gradient"} & set(report.codes)
    assert report.findings[0].severity == "error"


def test_chains_that_cannot_follow(rows):
    # Chains in a far corner that hardly move: data go down, samples up.
    est = make(
        sampler=samplers.Langevin(step_size=1e-7, n_steps=2),
        buffer_init="uniform",
        reinit=0.0,
        learning_rate=1e-2,
        l2=1e-4,
    )
    report = est.fit(rows + 8).diagnose()
    assert {"stuck_chains", "exploding_gap"} <= set(report.codes)
    order = [finding.severity for finding in report.findings]
    assert order == sorted(order, key=["error", "warning", "info"].index)


def test_a_network_that_is_dead(rows):
    est = make(network=networks.MLP((8,), activation="relu"), max_steps=0).fit(rows)
    write(est, **{"l0.b": np.full(8, -1e3)})
    est.partial_fit(rows, n_steps=5)
    assert "collapsed_energy" in est.diagnose().codes


@pytest.mark.parametrize("kind", ["sliced", "curvature", "exact"])
def test_an_energy_without_curvature(kind, rows):
    straight = networks.MLP((8,), activation="leaky_relu")
    est = make(estimators.ScoreMatching, network=straight, kind=kind).fit(rows)
    assert est.diagnose().codes[0] == "no_curvature"
    for network, name in ((straight, "denoising"), (networks.MLP((8,)), kind)):
        est = make(estimators.ScoreMatching, network=network, kind=name, sigma=0.5).fit(rows)
        assert not est.diagnose(), est.diagnose()


def test_other_rows_can_be_given(healthy, rows):
    with pytest.raises(ValueError, match="X has 3 features"):
        healthy.diagnose(np.zeros((4, 3)))
    far = rows[:50] * 1e-3
    assert "data_noise" in healthy.diagnose(far).codes


def test_report_is_public():
    finding = diagnosis.Finding("a", "info", "b", {"c": 1.0}, "d")
    report = diagnosis.Report("PCD after 1 steps", [finding, finding])
    assert str(report) == repr(report)
    assert report.codes == ["a", "a"]
    assert str(report).splitlines() == [
        "PCD after 1 steps: 2 findings",
        "info: a: b",
        "    d",
        "info: a: b",
        "    d",
    ]


def quartic(p, x):
    return p["a"] * np.sum(x**4, axis=1)


def test_chains_that_run_away(rows):
    slow = samplers.Langevin(step_size=1e-4, n_steps=2)
    network = networks.Function(quartic, {"a": np.ones(())})
    est = make(network=network, sampler=slow, max_steps=20).fit(rows)
    assert "lost_chains" not in est.diagnose(rows).codes
    est.set_params(sampler=samplers.Langevin(step_size=10.0, noise=0.0, n_steps=50))
    (lost,) = [f for f in est.diagnose(rows).findings if f.code == "lost_chains"]
    assert lost.severity == "error"
    assert "chains are not finite after 50 steps" in lost.message
