"""VERA and MEG: what they learn, what they keep, and what they refuse."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import datasets, entropy, estimators, networks, optimizers, samplers, schedules

HOW = {
    "gauss_newton": entropy.GaussNewton(pool=2),
    "importance": entropy.Importance(draws=3),
    "hmc": entropy.HMC(draws=1, burn_in=1, n_leapfrog=2),
    "mutual_information": entropy.MutualInformation(critic=networks.MLP((8,), "leaky_relu")),
    "none": None,
}


@pytest.fixture
def rows(rng):
    return rng.normal(size=(200, 2)).astype(np.float32)


def small(how="importance", **changes):
    options = {
        "network": networks.MLP((8,), "leaky_relu"),
        "generator": networks.MLPGenerator(2, (8,), sigma=0.2),
        "entropy": HOW[how],
        "learning_rate": 1e-3,
        "generator_optimizer": optimizers.Adam(1e-3, betas=(0.0, 0.9), ema=0.5),
        "batch_size": 32,
        "max_steps": 12,
        "random_state": 0,
    }
    return estimators.VERA(**(options | changes))


def arrays_of(est):
    return {
        f"{network}.{name}": array
        for network in ("energy_", "generator_")
        for name, array in getattr(est, network).parameters().items()
    }


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


# ---- what is learned ----


@pytest.mark.parametrize(
    ("how", "within"),
    [
        (entropy.GaussNewton(), 0.04),
        (entropy.HMC(burn_in=15, step_size=0.3), 0.04),
        (entropy.Importance(draws=500), 0.06),
    ],
    ids=str,
)
def test_it_learns_a_gaussian(how, within):
    """Both families hold the truth.  An estimate that finds only a share of the entropy's
    gradient ends at an energy that is too flat (20 draws: 1.09 for 1).
    """
    sigma = np.array([1.0, 0.5])
    x = (np.random.default_rng(0).normal(size=(20_000, 2)) * sigma).astype(np.float32)
    est = estimators.VERA(
        networks.Function(
            lambda p, x: 0.5 * np.sum(np.exp(2 * p["a"]) * x**2, 1),
            {"a": np.array([-1.0, 1.0])},
        ),
        networks.LinearGenerator(2, sigma=0.3),
        entropy=how,
        gradient_penalty=0.0,
        sigma_min=0.2,
        learning_rate=schedules.Cosine(1e-2, steps=3000),
        generator_optimizer=optimizers.Adam(
            schedules.Cosine(1e-2, steps=3000), betas=(0.0, 0.9)
        ),
        entropy_optimizer=optimizers.Adam(4e-3),
        max_steps=3000,
        random_state=0,
    ).fit(x)
    learned = np.exp(-est.energy_.parameters()["a"])
    np.testing.assert_allclose(learned, sigma, rtol=within)
    np.testing.assert_allclose(est.sample(20_000).std(0), sigma, rtol=0.04)


def test_without_entropy_the_generator_is_narrower():
    x = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32)
    width = {
        weight: small(
            entropy=entropy.HMC(burn_in=15, step_size=0.3),
            entropy_weight=weight,
            generator=networks.LinearGenerator(2, sigma=0.1),
            network=networks.Function(
                lambda p, x: np.exp(p["s"]) * np.sum(x**2, 1) / 2, {"s": np.zeros(())}
            ),
            learning_rate=1e-8,
            sigma_min=0.1,
            sigma_max=0.1,
            generator_optimizer=optimizers.Adam(5e-3, betas=(0.0, 0.9)),
            max_steps=2000,
        )
        .fit(x)
        .sample(5000)
        .std()
        for weight in (0.0, 1.0)
    }
    # The energy stays that of N(0, I): the best q is N(0, I) with the entropy, a point without.
    assert width[0.0] < 0.3
    assert width[1.0] == pytest.approx(1.0, abs=0.15)


# ---- what is kept ----


@pytest.mark.parametrize("how", HOW)
def test_two_fits_of_half_are_one(rows, how):
    whole = small(how).fit(rows)
    halves = small(how, max_steps=6, warm_start=True).fit(rows).fit(rows)
    same(arrays_of(whole), arrays_of(halves))
    assert whole.history_.keys() == halves.history_.keys()
    for name, values in whole.history_.items():
        assert len(values) == 12
        np.testing.assert_array_equal(values, halves.history_[name], err_msg=name)


@pytest.mark.parametrize("how", HOW)
def test_a_file_goes_on_to_the_same_bits(rows, how, tmp_path):
    whole = small(how, max_steps=20).fit(rows)
    path = tmp_path / "vera.safetensors"

    def stop(est, step, metrics):
        if step == 11:
            raise KeyboardInterrupt

    interrupted = small(
        how, max_steps=20, checkpoint=path, checkpoint_every=5, callbacks=[stop]
    )
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(rows)
    resumed = ebm.load(path).resume(rows)
    same(arrays_of(whole), arrays_of(resumed))
    np.testing.assert_array_equal(whole.sample(7), resumed.sample(7))


@pytest.mark.parametrize("how", HOW)
def test_copies_and_files_give_the_same(rows, how, tmp_path):
    est = small(how).fit(rows)
    est.save(tmp_path / "vera.safetensors")
    for other in (
        ebm.load(tmp_path / "vera.safetensors"),
        pickle.loads(pickle.dumps(est)),
        copy.copy(est),
        copy.deepcopy(est),
    ):
        same(arrays_of(est), arrays_of(other))
        assert repr(other) == repr(est)
        np.testing.assert_array_equal(est.sample(5), other.sample(5))
        other.partial_fit(rows, n_steps=1)
    assert est.n_steps_ == 12  # whatever the copies did


def test_averages_are_what_is_evaluated(rows):
    est = small().fit(rows)
    state = est._lasting()
    same(
        est.generator_.parameters(),
        {
            name.removeprefix("ema.parts.generator."): array
            for name, array in state.items()
            if name.startswith("ema.parts.")
        },
    )
    assert (state["ema.parts.generator.l0.w"] != state["parts.generator.l0.w"]).any()
    assert "adam.m.parts.generator.n0.mean" not in state


def test_updates_come_every_so_many_steps(rows):
    seen = []

    def look(est, step, metrics):
        state = est._trainer.get()
        seen.append((state["params.l0.w"].copy(), state["parts.generator.l0.w"].copy()))

    optimizer = optimizers.Adam(1e-3, every=3)
    small(update_every=2, generator_optimizer=optimizer, max_steps=7, callbacks=[look]).fit(
        rows
    )
    changed = [
        [bool((one[k] != other[k]).any()) for one, other in itertools.pairwise(seen)]
        for k in (0, 1)
    ]
    # Step number t (from 0) updates where every divides t; `seen` begins after step 0.
    assert changed[0] == [False, True, False, True, False, True]
    assert changed[1] == [False, False, True, False, False, True]


def test_sigma_stays_within_its_bounds(rows):
    fast = optimizers.Adam(0.5)
    for low, high in ((0.19, 0.21), (0.19, None), (None, 0.21)):
        est = small(sigma_min=low, sigma_max=high, generator_optimizer=fast).fit(rows)
        sigma = est.history_["sigma"]
        assert low is None or sigma.min() >= low * (1 - 1e-6)
        assert high is None or sigma.max() <= high * (1 + 1e-6)
        assert sigma.std() > 0


def test_history_tells_what_matters(rows):
    common = {
        *("energy_data", "energy_samples", "gap", "loss", "gradient_norm", "grad_norm"),
        *("learning_rate", "generator_loss", "sigma", "generator_grad_norm"),
        "generator_learning_rate",
    }
    own = {
        "importance": {"ess", "eta", "score_norm", "entropy_loss", "posterior_grad_norm"}
        | {"posterior_learning_rate"},
        "hmc": {"acceptance", "step_size", "score_norm"},
        "gauss_newton": {"trust", "score_norm"},
        "mutual_information": {"entropy_loss", "critic_grad_norm", "critic_learning_rate"},
        "none": set(),
    }
    for how, names in own.items():
        assert set(small(how).fit(rows).history_) == common | names
    ess = small().fit(rows).history_["ess"]
    assert ess.min() >= 1
    assert ess.max() <= 3


def test_batch_statistics_run_along(rows):
    est = small(momentum=0.25, max_steps=1, generator_optimizer=optimizers.Adam(1e-3)).fit(rows)
    p = est.generator_.parameters()
    assert (p["n0.mean"] != 0).any()
    assert (p["n0.var"] != 1).all()


def test_meg_is_vera_with_mutual_information(rows):
    options = {"entropy": HOW["mutual_information"], "max_steps": 5, "random_state": 0}
    one = estimators.MEG(networks.MLP((8,)), networks.MLPGenerator(2, (8,)), **options).fit(
        rows
    )
    other = estimators.VERA(networks.MLP((8,)), networks.MLPGenerator(2, (8,)), **options)
    same(arrays_of(one), arrays_of(other.fit(rows)))
    assert estimators.MEG().entropy == "mutual_information"


def test_presets():
    assert estimators.VERA.paper("nice").network == networks.NICE()
    assert estimators.VERA.code("toy", max_steps=3).max_steps == 3
    assert (
        estimators.VERA.code().gradient_penalty == estimators.VERA.paper().gradient_penalty / 2
    )
    with pytest.raises(ValueError, match="setting: got 'mnist', expected one of"):
        estimators.VERA.paper("mnist")


def test_images_and_ways_to_sample(rng):
    x = rng.uniform(-1, 1, (64, 4, 4, 1)).astype(np.float32)
    est = small(
        network=networks.ConvNet(channels=(4,), kernels=(3,), strides=(1,), head=()),
        sampler=samplers.Langevin(step_size=0.01, n_steps=3),
        max_steps=3,
    ).fit(x)
    assert est.sample(5).shape == est.sample(5, method="chain").shape == (5, 4, 4, 1)
    np.testing.assert_array_equal(est.sample(5), est.sample(5, method="generator"))
    nice = small(network=networks.NICE(2, 1, 8), max_steps=3).fit(x.reshape(64, 16))
    assert nice.sample(5, method="exact").shape == (5, 16)
    assert nice.log_z_ == 0.0


# ---- what is refused ----


def test_a_divergence_is_named(rows):
    est = small(generator_optimizer=optimizers.Adam(1e30), max_steps=20)
    with pytest.raises(ebm.errors.NumericalError, match=r"vera: step \d+: got a "):
        est.fit(rows)
    assert all(np.isfinite(array).all() for array in arrays_of(est).values())


def test_toy_densities_are_learned():
    """Eight Gaussians: no mode is lost, and the likelihood is near the truth's."""
    data = datasets.gaussians8()
    x = data.sample(20_000, random_state=0)
    est = estimators.VERA.code("toy", max_steps=3000, random_state=0).fit(x)
    made = est.sample(4000).astype(np.float64)
    centres = 2.829 * np.stack(
        [np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1
    )
    near = np.linalg.norm(made[:, None] - centres, axis=2).argmin(1)
    assert (np.bincount(near, minlength=8) > 200).all()
