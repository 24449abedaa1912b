"""Files: what they hold, what others read in them, and that they are written whole."""

from __future__ import annotations

import copy
import errno
import inspect
import os
import resource
import threading

import numpy as np
import pytest
from safetensors.numpy import load_file

import ebmlib as ebm
from ebmlib import _files, estimators, networks, samplers, schedules
from ebmlib._params import Specification
from tests.python.files import ROWS, Text, same, small, state, there_and_back

ESTIMATORS = [getattr(estimators, name) for name in estimators.__all__]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# ---- there and back --------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize(
    "changes", [{}, {"ema": 0.0, "dtype": "float64"}, {"optimizer": "sgd"}]
)
def test_a_loaded_estimator_goes_on_to_the_same_bits(cls, changes, path):
    est = small(cls, **changes).fit(ROWS, X_val=ROWS[:9])
    loaded = there_and_back(est, path)
    assert type(loaded) is cls
    assert same(state(loaded), state(est))
    for now in (est, loaded):
        now.partial_fit(ROWS, n_steps=5)
    assert same(state(loaded), state(est))
    np.testing.assert_array_equal(loaded.energy(ROWS), est.energy(ROWS))
    np.testing.assert_array_equal(loaded.sample(7), est.sample(7))
    assert same(state(there_and_back(loaded, path)), state(est))


def test_unfitted_estimators_keep_their_parameters(path):
    est = small(
        network=networks.ConvNet((4,), kernels=[3], norm="layer"),
        sampler=samplers.Langevin(clip=(-1, 1), noise=np.float32(0.5)),
        learning_rate=schedules.Piecewise(1e-2),
        image_shape=(4, 4, 1),
        dtype=np.float64,
        clip_norm=0.5,
    )
    loaded = there_and_back(est, path)
    assert not loaded.__sklearn_is_fitted__()
    assert loaded.network == networks.ConvNet((4,), kernels=(3,), norm="layer")
    assert loaded.sampler == samplers.Langevin(clip=(-1, 1), noise=0.5)
    assert loaded.learning_rate == est.learning_rate
    assert (loaded.dtype, loaded.image_shape) == ("float64", (4, 4, 1))
    with pytest.raises(ebm.errors.NotFittedError):
        loaded.resume(ROWS)
    rows = np.random.default_rng(1).uniform(-1, 1, (20, 16))
    np.testing.assert_array_equal(loaded.fit(rows).energy(rows), est.fit(rows).energy(rows))
    assert there_and_back(estimators.CD(), path).get_params() == estimators.CD().get_params()


def test_generators_as_random_state(path):
    est = small(random_state=np.random.default_rng(3))
    loaded = there_and_back(est, path)
    assert same(state(loaded.fit(ROWS))["energy_"], state(est.fit(ROWS))["energy_"])
    assert loaded.random_state.integers(1 << 30) == est.random_state.integers(1 << 30)


def test_what_was_changed_after_the_fit_comes_back(path):
    """Parameters may be set, and the energy written to, without a fit in between."""
    est = small().fit(ROWS)
    before = est.energy(ROWS)
    est.set_params(network__hidden=(5,), l2=0.25, ema=0.0)
    loaded = there_and_back(est, path)
    assert (loaded.network.hidden, loaded.l2) == ((5,), 0.25)
    np.testing.assert_array_equal(loaded.energy(ROWS), before)
    est.energy_.set_parameters({"l0.w": np.ones((2, 3))})
    loaded = there_and_back(est, path)
    np.testing.assert_array_equal(loaded.energy(ROWS), est.energy(ROWS))
    assert (loaded.energy(ROWS) != before).any()
    assert "energy.l0.w" in load_file(path)


def test_what_was_changed_beside_the_energy_comes_back(path):
    est = small(estimators.VERA).fit(ROWS)
    est.generator_.set_parameters({"l0.b": np.ones(3)})
    loaded = there_and_back(est, path)
    assert same(state(loaded), state(est))
    assert "learned.generator.l0.b" in load_file(path)
    for how in ("hmc", None):  # a file has what the entropy of now trains
        loaded = there_and_back(est.set_params(entropy=how), path)
        for now in (est, loaded):
            now.partial_fit(ROWS, n_steps=2)
        assert same(state(loaded), state(est))
    old = path.read_bytes()
    with pytest.raises(ValueError, match="save: generator: got one of other arrays than gener"):
        est.set_params(generator__hidden=(5,)).save(path)
    assert path.read_bytes() == old


def test_feature_names(path):
    class Frame(np.ndarray):
        columns = ("left", "right \ud800\u2603")

    est = small().fit(ROWS.view(Frame))
    assert there_and_back(est, path).feature_names_in_.tolist() == list(Frame.columns)


def test_networks_samplers_buffers(path):
    net = networks.ConvNet((4,), kernels=(3,), strides=(2,), head=())
    bound = net.bind((5, 5, 2), random_state=1, dtype=np.float64)
    loaded = there_and_back(bound, path)
    assert (loaded.network, loaded.shape, loaded.dtype) == (net, (5, 5, 2), np.float64)
    assert same(loaded.parameters(), bound.parameters())
    buffer = samplers.ReplayBuffer(20, reinit=0.25, init="normal")
    assert repr(there_and_back(buffer, path)) == repr(buffer)
    slots, x = buffer.draw(6, (3, 1), random_state=0)
    buffer.put(slots, x)
    loaded = there_and_back(buffer, path)
    assert len(loaded) == 6
    for now in (buffer, loaded):
        slots, x = now.draw(6, (3, 1), random_state=1)
        now.put(slots, x + 1)
    np.testing.assert_array_equal(loaded._x, buffer._x)


SPECIFICATIONS = [
    cls
    for cls in _files._classes().values()
    if issubclass(cls, Specification)
    and inspect.Parameter.empty not in cls._defaults().values()
]


@pytest.mark.parametrize("cls", SPECIFICATIONS)
def test_every_specification_can_be_saved(cls, path):
    assert there_and_back(cls(), path) == cls()
    assert len(SPECIFICATIONS) > 6


@pytest.mark.parametrize(
    "thing",
    [
        small(random_state=np.random.RandomState(0)),
        small(random_state=np.random.Generator(np.random.MT19937(0))),
        samplers.ReplayBuffer(init=lambda rng, shape: rng.normal(size=shape)),
        networks.MLP(hidden={3}),
        type("Own", (estimators.PCD,), {})(),
    ],
    ids=["RandomState", "MT19937", "function", "set", "class"],
)
def test_what_a_file_cannot_hold_is_said(thing, path):
    with pytest.raises((TypeError, ValueError), match=r"cannot hold|set|class of ebmlib"):
        thing.save(path)
    assert not path.exists()


@pytest.mark.parametrize("changes", [{"l2": -1.0}, {"l2": np.nan}, {"max_steps": 1.5}])
def test_bad_parameters_are_not_written(changes, path):
    with pytest.raises(ValueError, match=r"l2|max_steps"):
        small(**changes).save(path)
    assert not path.exists()


# ---- what others read ------------------------------------------------------------------------


def test_a_plain_reader_finds_the_documented_arrays(path):
    est = small(dtype="float64", checkpoint=None).fit(ROWS)
    est.save(path)
    arrays = load_file(path)
    params = {"l0.w", "l0.b", "l1.w", "l1.b"}
    groups = {"params", "ema.params", "adam.m.params", "adam.v.params"}
    metrics = {f"history.{name}" for name in est.history_}
    assert set(arrays) == {
        f"{group}.{name}" for group in groups for name in params
    } | metrics | {
        *("buffer.x", "buffer.age", "key", "step", "rate", "backoff"),
        *("guard.step", "guard.term", "guard.param"),
    }
    text = Text(path.read_bytes())
    assert (text["format"], text["version"], text["object"]) == ("ebmlib", 1, "estimators.PCD")
    assert (text["package"], text["checkpoint"]) == (ebm.__version__, False)
    assert text["parameters"]["network"] == {
        "kind": "mlp",
        "options": {
            "hidden": [3],
            "activation": "swish",
            "weight_norm": False,
            "dropout": 0.0,
        },
    }
    assert text["parameters"]["l2"] == est.l2
    assert text["fit"]["last"] == 4
    p = {name: arrays[f"{text['fitted']['energy']}.{name}"] for name in params}
    hidden = ROWS @ p["l0.w"] + p["l0.b"]
    energy = (hidden / (1 + np.exp(-hidden))) @ p["l1.w"] + p["l1.b"]
    np.testing.assert_allclose(est.energy(ROWS), energy[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(arrays["buffer.x"][arrays["buffer.age"] > 0], est.buffer_)
    assert arrays["step"] == 4


def test_the_digests_are_those_described(path):
    small().fit(ROWS).save(path)
    text = Text(path.read_bytes())
    saved = copy.deepcopy(dict(text))
    assert dict(text.seal()) == saved
    path.write_bytes(text.bytes())
    ebm.load(path)


def test_without_safetensors_the_message_names_it(path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match="package safetensors is not installed"):
        networks.MLP().save(path)
    assert os.listdir(path.parent) == []


# ---- whole or not at all ---------------------------------------------------------------------


def no_space(*args):
    raise OSError(errno.ENOSPC, "no space")


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(step, path, monkeypatch):
    small(max_steps=1).fit(ROWS).save(path)
    old = path.read_bytes()
    est = small().fit(ROWS)
    expected = errno.ENOSPC
    with monkeypatch.context() as patch:
        if step == "write":  # a limit on the size of files, as a full disk in mid-write
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
            expected = errno.EFBIG
        else:
            patch.setattr(os, step, no_space)
        try:
            with pytest.raises(OSError, match=r"model\.safetensors") as caught:
                est.save(path)
        finally:
            if step == "write":
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.errno, caught.value.filename) == (expected, str(path))
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]
    est.save(path)
    assert same(state(ebm.load(path)), state(est))


def test_ctrl_c_in_a_write_leaves_the_old_file(path, monkeypatch):
    networks.MLP((2,)).save(path)
    old = path.read_bytes()

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        networks.MLP((3,)).save(path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


def test_places_that_cannot_be_written_or_read(tmp_path):
    net = networks.MLP((2,))
    for use in (net.save, ebm.load):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            use(tmp_path / "nowhere" / "a.safetensors")
        with pytest.raises(IsADirectoryError):
            use(tmp_path)
    assert os.listdir(tmp_path) == []


def test_links_and_modes_stay(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    mask = os.umask(0o027)
    try:
        networks.MLP((2,)).save(link)
    finally:
        os.umask(mask)
    assert link.is_symlink()
    assert ebm.load(target) == networks.MLP((2,))
    assert target.stat().st_mode & 0o777 == 0o640


def test_readers_see_the_old_or_the_new_file(path):
    buffers = [samplers.ReplayBuffer(50_000 + k) for k in range(2)]
    buffers[0].save(path)
    done = threading.Event()

    def write():
        for k in range(100):
            buffers[k % 2].save(path)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(ebm.load(path).capacity)
    writer.join()
    assert seen <= {50_000, 50_001}
    assert seen


def test_leftovers_of_killed_writers_are_removed(path):
    path.touch()
    keep = [
        path.parent / name for name in ("other.tmp", ".other.1234.tmp", "model.safetensors~")
    ]
    for kept in keep:
        kept.touch()
    (path.parent / f".{path.name}.0123abcd.tmp").touch()
    _files.remove_leftovers(path)
    assert set(path.parent.iterdir()) == {path, *keep}
