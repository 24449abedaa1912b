"""Contrastive divergence: what it learns, and scikit-learn's contract."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core, estimators, networks, samplers

MEAN = np.array([0.5, -0.5])
COVARIANCE = np.array([[1.0, 0.6], [0.6, 1.0]])
BOTH = [estimators.CD, estimators.PCD]


@pytest.fixture(scope="module")
def gaussian_rows():
    return (
        np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 4000).astype(np.float32)
    )


def small(cls, **changes):
    options = {
        "network": networks.MLP((16,)),
        "sampler": samplers.Langevin(step_size=0.05, n_steps=4),
        "max_steps": 12,
        "batch_size": 32,
        "random_state": 0,
    }
    return cls(**(options | changes))


# ---- what is learned ----


def test_pcd_learns_a_gaussian(gaussian_rows):
    est = estimators.PCD(
        networks.MLP((64, 64)),
        samplers.Langevin(step_size=0.05, n_steps=20),
        buffer_init="normal",
        buffer_size=2000,
        l2=1e-3,
        data_noise=0.0,
        learning_rate=2e-3,
        ema=0.99,
        max_steps=1500,
        random_state=0,
    ).fit(gaussian_rows)
    # On a grid, where the density can be normalised.
    axis = np.linspace(-5, 5, 121)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    density = np.exp(est.score_samples(points).astype(np.float64))
    density /= density.sum()
    mean = density @ points
    covariance = (density[:, None] * (points - mean)).T @ (points - mean)
    np.testing.assert_allclose(mean, MEAN, atol=0.12)
    np.testing.assert_allclose(covariance, COVARIANCE, atol=0.15)
    samples = est.sample(4000, n_steps=100)
    np.testing.assert_allclose(samples.mean(0), MEAN, atol=0.12)
    np.testing.assert_allclose(np.cov(samples.T), COVARIANCE, atol=0.2)
    assert abs(est.history_["gap"][-200:].mean()) < 0.1


def test_cd_learns_the_mean_of_a_quadratic(gaussian_rows):
    est = estimators.CD(
        networks.MLP((64,), activation="softplus"),
        samplers.Langevin(step_size=0.1, n_steps=10),
        l2=1e-3,
        data_noise=0.0,
        learning_rate=3e-3,
        max_steps=800,
        random_state=0,
    ).fit(gaussian_rows)
    inside, outside = est.energy(gaussian_rows).mean(), est.energy(gaussian_rows * 3 + 4).mean()
    assert inside < outside - 1


def reference_pcd(est, rows, order, draws):
    """The loss's terms at the first step, in NumPy, for chains that never walk."""
    net = networks.MLP((16,)).bind(2, random_state=0, dtype=np.float64)
    net.set_parameters(draws)
    e_data, e_samples = net(rows[order]), net(rows[order])
    gap = e_data.mean() - e_samples.mean()
    return gap, gap + est.l2 * (np.mean(e_data**2) + np.mean(e_samples**2))


def test_the_first_loss_is_its_formula(rng):
    # One batch of all rows, chains of no steps from the data: the gap is zero by hand.
    rows = rng.normal(size=(32, 2))
    est = small(
        estimators.CD,
        sampler=samplers.Langevin(n_steps=0),
        data_noise=0.0,
        l2=0.25,
        max_steps=1,
        dtype="float64",
    ).fit(rows)
    start = small(estimators.CD, max_steps=0, dtype="float64").fit(rows).energy_
    gap, loss = reference_pcd(est, rows, np.arange(32), start.parameters())
    assert est.history_["gap"][0] == pytest.approx(gap, abs=1e-15)
    assert est.history_["loss"][0] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_optimizers_are_their_formulas(optimizer, rng):
    # CD without steps or noise: the loss is l2 * 2 mean E^2, whose gradient NumPy can follow.
    rows, rate, l2, steps = rng.normal(size=(16, 3)), 0.01, 0.5, 5
    est = small(
        estimators.CD,
        network=networks.MLP(()),
        sampler=samplers.Langevin(n_steps=0),
        optimizer=optimizer,
        betas=(0.8, 0.95),
        weight_decay=0.1,
        clip_norm=0.5,
        ema=0.9,
        learning_rate=rate,
        l2=l2,
        data_noise=0.0,
        dtype="float64",
        max_steps=steps,
    )
    start = small(estimators.CD, network=networks.MLP(()), max_steps=0, dtype="float64").fit(
        rows
    )
    p = {k: a.copy() for k, a in start.energy_.parameters().items()}
    average = {k: a.copy() for k, a in p.items()}
    m = {k: 0 * a for k, a in p.items()}
    v = {k: 0 * a for k, a in p.items()}
    for t in range(1, steps + 1):
        e = rows @ p["l0.w"][:, 0] + p["l0.b"]
        slope = 4 * l2 * e / len(rows)
        g = {"l0.w": rows.T @ slope[:, None], "l0.b": slope.sum(keepdims=True)}
        norm = np.sqrt(sum((a**2).sum() for a in g.values()))
        for k in p:
            d = g[k] * min(1, 0.5 / norm) + 0.1 * p[k]
            m[k] = 0.8 * m[k] + (0.2 * d if optimizer == "adam" else d)
            v[k] = 0.95 * v[k] + 0.05 * d**2
            if optimizer == "adam":
                p[k] -= rate * m[k] / (1 - 0.8**t) / (np.sqrt(v[k] / (1 - 0.95**t)) + 1e-8)
            else:
                p[k] -= rate * m[k]
            average[k] = 0.9 * average[k] + 0.1 * p[k]
    est.fit(rows)
    for k, a in est.energy_.parameters().items():
        np.testing.assert_allclose(a, average[k], rtol=1e-9)
    for k, a in est._trainer.get("params").items():
        np.testing.assert_allclose(a, p[k], rtol=1e-9)


def test_presets_of_pcd(gaussian_rows):
    """SGLD as equation 12 of VERA's paper: step sigma^2 / 2, temperature 1."""
    for setting, n_steps, rate in (("toy", 20, 1e-3), ("nice", 40, 3e-6)):
        est = estimators.PCD.paper(setting)
        assert (est.sampler.n_steps, est.learning_rate) == (n_steps, rate)
        assert est.sampler.temperature == pytest.approx(1.0)
        assert (est.buffer_size, est.reinit, est.l2, est.data_noise) == (10_000, 0.05, 0, 0)
    assert estimators.PCD.paper(max_steps=2).fit(gaussian_rows).n_steps_ == 2


def test_averages_follow_the_parameters(gaussian_rows):
    est = small(estimators.PCD, ema=0.5, max_steps=1).fit(gaussian_rows)
    start = small(estimators.PCD, max_steps=0).fit(gaussian_rows).energy_.parameters()
    live = est._trainer.get("params")
    for k, a in est.energy_.parameters().items():
        np.testing.assert_allclose(a, 0.5 * start[k] + 0.5 * live[k], rtol=1e-6, atol=1e-7)


def test_images(rng):
    rows = rng.uniform(-1, 1, size=(40, 36)).astype(np.float32)
    net = networks.ConvNet((8,), kernels=(3,), strides=(2,), head=(8,))
    walk = samplers.Langevin(1.0, 0.01, 3, clip=(-1, 1))
    est = small(estimators.PCD, network=net, sampler=walk, image_shape=(6, 6, 1)).fit(rows)
    assert est.energy(rows).shape == (40,)
    assert est.n_features_in_ == 36
    assert est.sample(5).shape == (5, 36)
    assert est.buffer_.shape[1:] == (6, 6, 1)
    whole = small(estimators.PCD, network=net, sampler=walk).fit(rows.reshape(40, 6, 6, 1))
    np.testing.assert_array_equal(whole.energy(rows.reshape(40, 6, 6, 1)), est.energy(rows))


# ---- bits ----

SCRIPT = """
import sys, numpy as np
from ebmlib import estimators, networks, samplers
x = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
est = estimators.PCD(networks.MLP((64, 64)), samplers.Langevin(n_steps=10), max_steps=30,
                     batch_size=200, random_state=5).fit(x)
sys.stdout.buffer.write(b"".join(a.tobytes() for a in est.energy_.parameters().values()))
sys.stdout.buffer.write(est.sample(100).tobytes())
"""


def test_any_number_of_threads_gives_the_same_bits():
    def run(threads):
        environment = os.environ | {"EBMLIB_NUM_THREADS": str(threads)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    one = run(1)
    assert len(one) > 1000
    assert run(2) == one
    assert run(3) == one


@pytest.mark.parametrize("cls", BOTH)
def test_a_run_in_parts_has_the_bits_of_the_whole(cls, gaussian_rows):
    whole = small(cls, max_steps=20).fit(gaussian_rows)
    parts = small(cls, max_steps=7).fit(gaussian_rows)
    parts = pickle.loads(pickle.dumps(parts))
    parts.partial_fit(gaussian_rows, n_steps=5)
    parts.set_params(warm_start=True, max_steps=8).fit(gaussian_rows)
    np.testing.assert_array_equal(parts.energy(gaussian_rows), whole.energy(gaussian_rows))
    for name, values in whole.history_.items():
        np.testing.assert_array_equal(parts.history_[name], values)
    assert parts.n_steps_ == 20
    again = small(cls, max_steps=20).fit(gaussian_rows)
    np.testing.assert_array_equal(again.energy(gaussian_rows), whole.energy(gaussian_rows))
    other = small(cls, max_steps=20, random_state=1).fit(gaussian_rows)
    assert (other.energy(gaussian_rows) != whole.energy(gaussian_rows)).any()


# ---- divergence ----


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("rate", [1e12, 1e38])
def test_a_diverging_run_stops_at_the_last_good_step(cls, rate, gaussian_rows):
    est = small(cls, learning_rate=rate, optimizer="sgd", betas=(0, 0), max_steps=2000)
    with pytest.raises(ebm.errors.NumericalError, match=r"cd: step \d+: got a .* not finite"):
        est.fit(gaussian_rows)
    assert est.n_steps_ < 2000
    assert len(est.history_["loss"]) == est.n_steps_
    for name, array in est._trainer.get().items():
        assert name.startswith("metrics.") or np.isfinite(array).all(), name
    est.set_params(learning_rate=1e-6)  # a good step from a bad place may still not be possible
    assert np.isfinite(est._trainer.get("params")["l0.w"]).all()


def test_a_diverging_run_can_go_on_with_other_settings(gaussian_rows):
    est = small(estimators.PCD, learning_rate=1e30, max_steps=100)
    with pytest.raises(ebm.errors.NumericalError):
        est.fit(gaussian_rows)
    assert est.n_steps_ < 100
    est.set_params(learning_rate=1e-3, warm_start=False, max_steps=5).fit(gaussian_rows)
    assert est.n_steps_ == 5


# ---- stopping ----

STOPPED = """
import os, sys, threading, time, numpy as np
from ebmlib import estimators, networks, samplers
x = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
est = estimators.PCD(networks.MLP((32,)), samplers.Langevin(n_steps=5), max_steps=10**9,
                     random_state=5)
print("ready", flush=True)
try:
    est.fit(x)
except KeyboardInterrupt:
    stopped = time.time()
    n = est.n_steps_
    assert n > 0 and len(est.history_["gap"]) == n
    before = est.energy(x)
    assert np.isfinite(before).all()
    whole = estimators.PCD(networks.MLP((32,)), samplers.Langevin(n_steps=5), max_steps=n,
                           random_state=5).fit(x)
    assert (whole.energy(x) == before).all()
    est.partial_fit(x, n_steps=3)
    assert est.n_steps_ == n + 3
    print("stopped", stopped, flush=True)
"""


def test_ctrl_c_stops_between_steps():
    child = subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.5)
    sent = time.time()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert out.startswith("stopped"), err
    # 0.2 s, or ten times that on a machine that is busy with other tests.
    assert float(out.split()[1]) - sent < 2.0


# ---- contracts ----


@pytest.mark.parametrize("cls", [*BOTH, estimators.ScoreMatching])
def test_defaults_are_those_of_the_core(cls):
    own = cls().get_params()
    for name, (value, doc) in (
        _core.options("estimator", cls._kind) | _core.options("training", "")
    ).items():
        assert doc
        if name != "max_loss":
            assert own[name] == value, name
    adam = _core.options("optimizer", "adam")
    assert own["betas"] == (adam["beta1"][0], adam["beta2"][0])


def test_history_and_held_out_gap(gaussian_rows):
    est = small(estimators.PCD, max_steps=600).fit(
        gaussian_rows[:500], X_val=gaussian_rows[500:600]
    )
    for name in ("energy_data", "energy_samples", "gap", "loss", "grad_norm"):
        assert est.history_[name].shape == (600,)
    difference = est.history_["energy_data"] - est.history_["energy_samples"]
    np.testing.assert_allclose(est.history_["gap"], difference, atol=1e-5)
    assert est.history_["val_step"][-1] == 600
    assert len(est.history_["val_gap"]) == 20
    want = est.energy(gaussian_rows[500:600]).mean() - est.energy(gaussian_rows[:100]).mean()
    assert est.history_["val_gap"][-1] == pytest.approx(want, abs=1e-6)


def test_samples_start_where_they_are_told(gaussian_rows):
    est = small(estimators.PCD, buffer_size=64).fit(gaussian_rows)
    assert est.sample(3, n_steps=0, init="noise").min() >= -1
    start = gaussian_rows[:7]
    np.testing.assert_array_equal(est.sample(7, n_steps=0, init=start), start)
    kept = est.sample(100, n_steps=0, init="buffer")
    assert {tuple(row) for row in kept} <= {tuple(row) for row in est.buffer_}
    np.testing.assert_array_equal(est.sample(5), est.sample(5))
    assert (est.sample(5) != est.sample(5, random_state=1)).any()
    with pytest.raises(ValueError, match="expected n_samples = 3"):
        est.sample(3, init=start)
    with pytest.raises(ValueError, match="init: got 'here'"):
        est.sample(3, init="here")
    with pytest.raises(ValueError, match="buffer where chains have been kept"):
        small(estimators.CD).fit(gaussian_rows).sample(3, init="buffer")


def test_small_data_shrinks_the_batch_and_rows_may_lie_anywhere(gaussian_rows, tmp_path):
    few = small(estimators.PCD, batch_size=128).fit(gaussian_rows[:10])
    assert few.n_steps_ == 12
    few.partial_fit(gaussian_rows)  # the batch grows
    few.partial_fit(gaussian_rows[:5])
    path = tmp_path / "rows.npy"
    np.save(path, gaussian_rows)
    mapped = np.load(path, mmap_mode="r")
    want = small(estimators.PCD).fit(gaussian_rows).energy(gaussian_rows)
    np.testing.assert_array_equal(small(estimators.PCD).fit(mapped).energy(gaussian_rows), want)
    wide = np.zeros((4000, 5), np.float32)
    wide[:, 1:3] = gaussian_rows
    for rows in (
        wide[:, 1:3],
        np.asfortranarray(gaussian_rows),
        gaussian_rows.astype(np.float64),
    ):
        np.testing.assert_array_equal(
            small(estimators.PCD).fit(rows).energy(gaussian_rows), want
        )
    bytes_ = np.arange(60, dtype=np.uint8).reshape(20, 3) % 7
    np.testing.assert_array_equal(
        small(estimators.CD).fit(bytes_).energy(bytes_),
        small(estimators.CD).fit(bytes_.astype(np.float32)).energy(bytes_),
    )


def test_progress_is_text_on_stderr(gaussian_rows, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    small(estimators.PCD, verbose=1).fit(gaussian_rows)
    said = capsys.readouterr()
    assert said.out == ""
    assert "PCD: step 12/12  energy_data" in said.err
    assert "gap" in said.err


def test_progress_is_a_bar_where_tqdm_is(gaussian_rows, capsys):
    pytest.importorskip("tqdm")
    small(estimators.PCD, verbose=1).fit(gaussian_rows)
    said = capsys.readouterr()
    assert said.out == ""
    assert "12/12" in said.err
    assert "energy_data" in said.err


def not_rows(rng):
    good = rng.normal(size=(10, 2))
    bad, huge = good.copy(), good.copy()
    bad[3, 1], huge[4, 0] = np.nan, np.inf
    return [
        (bad, r"contains NaN \(first in row 3\)"),
        (huge, r"contains infinity.*row 4"),
        (good[:0], r"0 sample\(s\)"),
        (good[:, :0], r"0 feature\(s\)"),
        (good[:, 0], "Expected 2D array, got 1D array"),
        (np.float64(3), "got scalar array"),
        (good + 1j, "Complex data not supported"),
        (np.array([["a", "b"]]), "expected numbers"),
    ]


@pytest.mark.parametrize("case", range(8))
def test_bad_data_says_why(case, rng):
    rows, message = not_rows(rng)[case]
    est = small(estimators.PCD)
    with pytest.raises(ValueError, match=message):
        est.fit(rows)
    assert not hasattr(est, "energy_")
    est.fit(rng.normal(size=(10, 2)))
    before = est.energy([[0.0, 0.0]])
    with pytest.raises(ValueError, match=message):
        est.energy(rows)
    with pytest.raises(ValueError, match=message):
        est.fit(rows)
    np.testing.assert_array_equal(est.energy([[0.0, 0.0]]), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"l2": -1}, "pcd: l2: got -1, expected a number of at least 0"),
        ({"learning_rate": 0}, "training: learning_rate: got 0"),
        ({"learning_rate": np.nan}, "learning_rate: got nan"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"ema": 1.0}, "ema: got 1"),
        ({"buffer_size": 8}, "batches of 32 from a buffer of 8"),
        ({"reinit": 1.5}, "reinit: got 1.5, expected a number from 0 to 1"),
        (
            {"buffer_init": "here"},
            "buffer_init: got 'here', expected one of: uniform normal data",
        ),
        ({"optimizer": "lion"}, "optimizer: got 'lion', expected one of: adam sgd"),
        ({"betas": (0.9, 1.0)}, "adam: beta2: got 1"),
        ({"betas": 0.9}, "betas: got 0.9, expected two numbers"),
        ({"network": lambda x: x}, "has no parameters to fit"),
        ({"sampler": "langevin"}, "sampler: got 'langevin'"),
        ({"dtype": "float16"}, "float16"),
        ({"max_steps": -1}, "max_steps: got -1"),
        ({"max_steps": 1.5}, "max_steps: got 1.5"),
        ({"image_shape": (3, 3, 1)}, "rows of 2 numbers, expected .3, 3, 1."),
        ({"network": networks.ConvNet()}, "expected images"),
    ],
)
def test_bad_parameters_say_why_in_fit(changes, message, gaussian_rows):
    est = small(estimators.PCD, **changes)
    with pytest.raises((ValueError, TypeError), match=message):
        est.fit(gaussian_rows)


@pytest.mark.parametrize("cls", BOTH)
def test_before_fit(cls):
    for use in (
        lambda est: est.energy([[0.0]]),
        lambda est: est.score_samples([[0.0]]),
        lambda est: est.sample(3),
        lambda est: samplers.Langevin().sample(est, np.zeros((2, 2))),
    ):
        with pytest.raises(ebm.errors.NotFittedError, match="not fitted yet"):
            use(cls())
    assert not hasattr(estimators.PCD(), "buffer_")


def test_wrong_number_of_features(gaussian_rows):
    est = small(estimators.PCD).fit(gaussian_rows)
    with pytest.raises(ValueError, match="X has 3 features, but PCD is expecting 2 features"):
        est.energy(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="X has 3 features"):
        est.partial_fit(np.zeros((4, 3)))
    np.testing.assert_allclose(est.score_samples(gaussian_rows), -est.energy(gaussian_rows))
    assert est.score(gaussian_rows) == pytest.approx(
        -est.energy(gaussian_rows).mean(), rel=1e-5
    )


def test_fitted_estimators_are_energies(gaussian_rows):
    est = small(estimators.PCD).fit(gaussian_rows)
    walk = samplers.Langevin(n_steps=2)
    x = walk.sample(est, gaussian_rows[:5], random_state=0)
    np.testing.assert_array_equal(
        x, walk.sample(est.energy_, gaussian_rows[:5], random_state=0)
    )
