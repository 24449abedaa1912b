"""Checkpoints while training, and fits that are killed and go on to the same bits."""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

import ebmlib as ebm
from ebmlib import callbacks, estimators, networks, optimizers, samplers, schedules
from ebmlib._estimator import EnergyEstimator
from ebmlib._loop import Event
from ebmlib.errors import ShapeError, StateError

ROWS = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
HELD_OUT = ROWS[:30] + np.float32(0.25)


def small(cls=estimators.PCD, **changes):
    options = {
        "network": networks.MLP((8,)),
        "sampler": samplers.Langevin(step_size=0.05, n_steps=2),
        "learning_rate": schedules.Cosine(1e-2, steps=40, warmup=3),
        "max_steps": 30,
        "batch_size": 32,
        "ema": 0.9,
        "random_state": 0,
        "checkpoint_every": 7,
    }
    if cls is estimators.PCD:
        options["buffer_size"] = 50
    if cls is estimators.VERA:
        options["generator"] = networks.MLPGenerator(2, (8,))
        rate = schedules.Cosine(1e-2, steps=40)
        options["generator_optimizer"] = optimizers.SGD(rate, momentum=0.5, ema=0.5, every=2)
    return cls(**(options | changes))


class Interrupt(Event):
    """Ends a fit at a step, once."""

    def __init__(self, step, error=KeyboardInterrupt):
        self.step, self.error = step, error

    def next(self, step):
        return self.step if step < self.step else None

    def act(self, fit):
        if self.error is None:
            fit.stop("enough")
        else:
            raise self.error


@pytest.fixture
def interrupt(monkeypatch):
    """A function after which fits end at a step."""
    events = EnergyEstimator._events

    def at(step, error=KeyboardInterrupt):
        def interrupted(self, fit):
            return [*events(self, fit), Interrupt(step, error)]

        monkeypatch.setattr(EnergyEstimator, "_events", interrupted)

    def never():
        monkeypatch.setattr(EnergyEstimator, "_events", events)

    at.never = never
    return at


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def same_arrays(path, other):
    """The arrays of two files are the same, byte by byte."""
    a, b = load_file(path), load_file(other)
    assert set(a) == set(b)
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].tobytes() == b[name].tobytes(), name


# ---- resume ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cls", [estimators.CD, estimators.PCD, estimators.ScoreMatching, estimators.VERA]
)
@pytest.mark.parametrize("step", [1, 7, 12, 29])
def test_an_interrupted_fit_goes_on_to_the_same_bits(cls, step, interrupt, path, tmp_path):
    whole = tmp_path / "whole.safetensors"
    small(cls, checkpoint=whole).fit(ROWS, X_val=HELD_OUT)
    interrupt(step)
    est = small(cls, checkpoint=path)
    with pytest.raises(KeyboardInterrupt):
        est.fit(ROWS, X_val=HELD_OUT)
    assert est.n_steps_ == step == int(load_file(path)["step"])  # written on Ctrl-C
    interrupt.never()
    loaded = ebm.load(path)
    assert loaded.checkpoint == str(path)
    assert loaded.resume(ROWS, X_val=HELD_OUT) is loaded
    same_arrays(path, whole)
    est.set_params(checkpoint=None).resume(ROWS, X_val=HELD_OUT)  # in memory
    est.save(path)
    same_arrays(path, whole)
    assert len(est.history_["val_gap"]) == 20
    assert est.n_steps_ == 30


@pytest.fixture
def every_checkpoint(path, tmp_path, monkeypatch):
    """A function that fits an estimator and gives the files that were written on the way."""

    def fit(est, **data):
        kept, replace = [], os.replace

        def keep(source, target):
            replace(source, target)
            kept.append(tmp_path / f"{len(kept)}.safetensors")
            shutil.copy(target, kept[-1])

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", keep)
            est.set_params(checkpoint=path).fit(ROWS, **data)
        return kept

    return fit


def test_every_checkpoint_leads_to_the_same_bits(every_checkpoint, path):
    """What a kill would leave: each file that the fit has written, resumed."""
    kept = every_checkpoint(small(), X_val=HELD_OUT)
    assert [int(load_file(file)["step"]) for file in kept] == [0, 7, 14, 21, 28, 30]
    for file in kept:
        ebm.load(file).resume(ROWS, X_val=HELD_OUT)
        same_arrays(file, path)


def distance(est, x):
    return -abs(est.n_steps_ - 13)


@pytest.mark.parametrize("stops", [False, True])
def test_a_selected_model_is_that_of_every_checkpoint(stops, every_checkpoint, path):
    called = [
        callbacks.Validate({"distance": distance}, every=3),
        callbacks.KeepBest("val_distance", mode="max"),
        callbacks.EarlyStopping(4, metric="val_distance", mode="max", restore_best=False),
    ]
    called = called if stops else called[:2]
    kept = every_checkpoint(small(callbacks=called), X_val=HELD_OUT)
    assert len(kept) == (5 if stops else 6)
    end = load_file(path)
    assert end["history.best_step"].tolist() == [12]
    assert int(end["step"]) == (24 if stops else 30)
    for file in kept:
        est = ebm.load(file)
        if est.n_steps_ not in (0, int(end["step"])):
            with pytest.raises(ValueError, match="callbacks, on_divergence: got nothing"):
                est.resume(ROWS, X_val=HELD_OUT)
        est = ebm.load(file).set_params(callbacks=called)
        est.resume(ROWS, X_val=HELD_OUT)
        est.set_params(callbacks=None).save(file)
        same_arrays(file, path)


@pytest.mark.filterwarnings("ignore::ebmlib.errors.DivergenceWarning")
def test_rollbacks_go_on_too(every_checkpoint, path):
    """Also to snapshots of steps before the checkpoint."""
    options = {"learning_rate": 100.0, "optimizer": "sgd", "betas": (0, 0), "max_steps": 30}
    est = small(on_divergence="rollback", snapshot_every=5, checkpoint_every=1, **options)
    kept = every_checkpoint(est, X_val=HELD_OUT)
    back = est.history_["rollback_to"]
    assert len(back) > 3
    steps = [int(load_file(file)["step"]) for file in kept]
    assert any(after < before for before, after in itertools.pairwise(steps))
    for file in kept[::7]:
        ebm.load(file).resume(ROWS, X_val=HELD_OUT)
        same_arrays(file, path)
    with pytest.raises(ValueError, match=r"got nothing that goes on with rollback\.0"):
        ebm.load(kept[1]).set_params(on_divergence="raise").resume(ROWS, X_val=HELD_OUT)


def test_early_stopping_goes_on_too(every_checkpoint, path):
    far = ROWS[:30] - 3
    gaps = small().fit(ROWS, X_val=far).history_["val_gap"]
    stop = callbacks.EarlyStopping(patience=4, tolerance=float(gaps[9]))
    est = small(callbacks=[stop], checkpoint_every=2)
    kept = every_checkpoint(est, X_val=far)
    assert "went back to step" in est.stop_reason_
    assert est.n_steps_ < 30
    with pytest.raises(ValueError, match=r"got nothing that goes on with early_stopping\.0"):
        ebm.load(kept[0]).resume(ROWS, X_val=far)
    for file in kept:
        loaded = ebm.load(file).set_params(callbacks=[stop]).resume(ROWS, X_val=far)
        assert loaded.stop_reason_ == est.stop_reason_
        same_arrays(file, path)


def test_the_target_is_that_of_the_interrupted_call(interrupt, path):
    est = small(max_steps=10).fit(ROWS)
    interrupt(13)
    with pytest.raises(KeyboardInterrupt):
        est.partial_fit(ROWS, n_steps=8)
    est.save(path)
    interrupt.never()
    loaded = ebm.load(path)
    assert loaded.checkpoint is None
    assert loaded.resume(ROWS).n_steps_ == 18
    np.testing.assert_array_equal(
        loaded.energy(ROWS), small(max_steps=18).fit(ROWS).energy(ROWS)
    )


@pytest.mark.parametrize("how", ["end", "stop"])
def test_a_fit_that_has_ended_stays_as_it_is(how, interrupt, path):
    if how == "stop":
        interrupt(12, error=None)
    est = small(checkpoint=path).fit(ROWS)
    interrupt.never()
    before = est.n_steps_
    assert before == (30 if how == "end" else 12)
    for now in (est, ebm.load(path)):
        assert now.resume(ROWS).n_steps_ == before


def test_a_moved_checkpoint_goes_on_where_it_is(interrupt, path, tmp_path):
    interrupt(12)
    with pytest.raises(KeyboardInterrupt):
        small(checkpoint=path).fit(ROWS)
    interrupt.never()
    moved = tmp_path / "moved"
    os.replace(path, moved)
    ebm.load(moved).resume(ROWS)
    assert int(load_file(moved)["step"]) == 30
    assert not path.exists()


def test_rows_that_are_equal_are_the_same_data(interrupt, path):
    interrupt(12)
    est = small()
    with pytest.raises(KeyboardInterrupt):
        est.fit(ROWS)
    est.save(path)
    interrupt.never()
    want = small().fit(ROWS).energy(ROWS)
    strided = np.asfortranarray(ROWS.astype(np.float64))
    np.testing.assert_array_equal(ebm.load(path).resume(strided).energy(ROWS), want)


@pytest.mark.parametrize(
    ("x", "val", "error", "message"),
    [
        (ROWS[:99], HELD_OUT, ShapeError, r"PCD.resume: X: got \(99, 2\), expected \(100, 2\)"),
        (np.zeros((100, 3)), HELD_OUT, ShapeError, r"X: got \(100, 3\), expected \(100, 2\)"),
        (ROWS, HELD_OUT[:5], ShapeError, r"X_val: got \(5, 2\), expected \(30, 2\)"),
        (ROWS[::-1], HELD_OUT, ValueError, "X: got other values than in that fit"),
        (ROWS, -HELD_OUT, ValueError, "X_val: got other values"),
        (ROWS, None, ValueError, "X_val: got none, expected 30 rows"),
        (np.full((100, 2), np.nan), HELD_OUT, ValueError, "NaN"),
    ],
)
def test_other_data_is_refused(x, val, error, message, interrupt, path):
    interrupt(12)
    est = small()
    with pytest.raises(KeyboardInterrupt):
        est.fit(ROWS, X_val=HELD_OUT)
    interrupt.never()
    with pytest.raises(error, match=message):
        est.resume(x, X_val=val)
    assert est.n_steps_ == 12
    assert est.resume(ROWS, X_val=HELD_OUT).n_steps_ == 30


def test_without_a_fit_there_is_nothing_to_resume():
    with pytest.raises(ebm.errors.NotFittedError):
        small().resume(ROWS)
    est = small(buffer_size=8)  # a batch does not fit: bound to data, but never run
    with pytest.raises(ValueError, match="buffer of 8"):
        est.fit(ROWS)
    with pytest.raises(StateError, match="no fit to go on with"):
        est.resume(ROWS)


# ---- checkpoints -----------------------------------------------------------------------------


def test_a_checkpoint_does_not_change_the_bits(path):
    with_it = small(checkpoint=path, checkpoint_every=1).fit(ROWS)
    np.testing.assert_array_equal(with_it.energy(ROWS), small().fit(ROWS).energy(ROWS))
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"random_state": np.random.RandomState(0)}, TypeError, "cannot hold"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every: got 0"),
        ({"checkpoint": "/no/such/folder/run"}, FileNotFoundError, "/no/such/folder/run"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_first_step(changes, error, message, path):
    est = small(**({"checkpoint": path} | changes))
    with pytest.raises(error, match=message):
        est.fit(ROWS)
    assert getattr(est, "n_steps_", 0) == 0
    assert not list(path.parent.iterdir())


def test_a_full_disk_leaves_the_last_checkpoint(path, monkeypatch):
    replace, calls = os.replace, []

    def fill_up(source, target):
        calls.append(target)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "no space")
        replace(source, target)

    est = small(checkpoint=path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill_up)
        with pytest.raises(OSError, match="No space left") as caught:
            est.fit(ROWS)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert len(calls) == 3  # and no further try at the same step
    assert est.n_steps_ == 14
    assert list(path.parent.iterdir()) == [path]
    want = small().fit(ROWS).energy(ROWS)
    for now in (est, ebm.load(path)):
        np.testing.assert_array_equal(now.resume(ROWS).energy(ROWS), want)


# ---- killed processes ------------------------------------------------------------------------

SCRIPT = """
import os, sys, time
import numpy as np
import ebmlib as ebm
from ebmlib import callbacks, estimators, networks, samplers

path, stall = sys.argv[1], int(sys.argv[2])
calls, fsync = 0, os.fsync

def stalled(handle):
    global calls
    calls += 1
    if calls == stall:
        print("writing", flush=True)
        time.sleep(600)
    fsync(handle)

os.fsync = stalled
x = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
if os.path.exists(path):
    est = ebm.load(path)
    print("from", est.n_steps_, flush=True)
    est.resume(x, X_val=x[:50])
else:
    est = estimators.PCD(networks.MLP((32,)), samplers.Langevin(n_steps=5), max_steps=3000,
                         ema=0.9, buffer_size=200, random_state=5, checkpoint=path,
                         checkpoint_every=50)
    print("from", 0, flush=True)
    est.fit(x, X_val=x[:50])
print("done", flush=True)
"""


def start(path, stall=0):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path), str(stall)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(path):
    child = start(path)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    assert out.endswith("done\n")
    return int(out.split()[1])


def kill(child):
    """True if it was alive until then."""
    child.send_signal(signal.SIGKILL)
    out, err = child.communicate()
    killed = child.returncode == -signal.SIGKILL
    assert killed or out.endswith("done\n"), err
    return killed


def writes(path):
    """Which file stands there: another number after each write."""
    return path.stat().st_ino if path.exists() else None


def test_killed_at_random_moments_and_resumed(path, tmp_path):
    whole = tmp_path / "whole.safetensors"
    assert finish(whole) == 0
    pick, killed = random.Random(3), 0
    for _ in range(5):
        child = start(path)
        for _ in range(pick.randint(1, 4)):
            seen = writes(path)
            while writes(path) == seen and child.poll() is None:
                time.sleep(1e-4)
        time.sleep(pick.uniform(0, 0.01))
        killed += kill(child)
    assert killed >= 3  # all, where the machine is not so busy that this test is late
    assert finish(path) > 0
    same_arrays(path, whole)
    assert set(tmp_path.iterdir()) == {path, whole}


def test_killed_in_the_middle_of_writing(path, tmp_path):
    whole = tmp_path / "whole.safetensors"
    finish(whole)
    # fsync is called twice a write, for the file and for the folder: killed in the first write,
    # of step 0; in the third, of step 100; and behind the fourth, of steps 50, 100, 150, 200.
    for stall in (1, 5, 8):
        old = path.read_bytes() if path.exists() else None
        child = start(path, stall)
        assert child.stdout.readline().startswith("from")
        assert child.stdout.readline() == "writing\n"
        left = [file for file in tmp_path.iterdir() if file.suffix == ".tmp"]
        assert len(left) == stall % 2
        assert kill(child)
        if stall == 1:
            assert old is None
            assert not path.exists()
        else:
            ebm.load(path)
    assert finish(path) == 200
    same_arrays(path, whole)
    assert set(tmp_path.iterdir()) == {path, whole}
