"""Damaged, foreign, forged and hostile files: refused in one line, nothing half-loaded."""

from __future__ import annotations

import gc
import json
import random

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import estimators, samplers, schedules
from ebmlib.errors import FormatError
from tests.python.files import ROWS, Text, digest_of, pack, refused, same, small, state


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# ---- damaged files ---------------------------------------------------------------------------


def truncate(pick, data):
    return data[: pick.randrange(len(data))]


def flip(pick, data):
    at = pick.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << pick.randrange(8)]) + data[at + 1 :]


def flip_header(pick, data):
    n = 8 + int.from_bytes(data[:8], "little")
    return flip(pick, data[:n]) + data[n:]


def splice(pick, data):
    """A piece is copied over another, put in, or taken out."""
    begin, at = pick.randrange(len(data)), pick.randrange(len(data))
    piece = data[begin : begin + pick.randrange(1, 200)]
    behind = at + pick.choice([0, len(piece), len(piece)])
    return data[:at] + pick.choice([piece, b"", piece]) + data[behind:]


def swap_words(pick, data):
    """A number or a word of the header becomes another; lengths fit."""
    n = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + n].decode()
    starts = [i for i, c in enumerate(text) if c.isalnum()]
    at = pick.choice(starts)
    text = text[:at] + pick.choice('0179aeEntf-[{}],:\\" ') + text[at + 1 :]
    return pack(text.encode(), data[8 + n :])


def edit_entry(pick, data):
    """An entry of the header goes, comes twice, or gets another value."""
    text = Text(data)
    table = text.table
    name, other = pick.sample(list(table), 2)
    what = pick.randrange(4)
    if what == 0:
        del table[name]
    elif what == 1:
        table[name], table[other] = table[other], table[name]
    elif what == 2:
        entry = table[name]
        key = pick.choice(list(entry))
        entry[key] = pick.choice([0, -1, 1 << 40, None, [], [1] * 9, "F64", [0, 1 << 40], {}])
    else:
        table[name + "x"] = dict(table[name])
    return text.bytes()


MUTATIONS = {
    truncate: 1000,
    flip: 2500,
    flip_header: 2500,
    splice: 1500,
    swap_words: 1500,
    edit_entry: 1000,
}


def test_ten_thousand_damaged_files(path):
    """Each is refused, or loads as what was saved (blanks of the header are no part of it)."""
    est = small(max_steps=1).fit(ROWS)
    est.save(path)
    data, want, pick = path.read_bytes(), state(est), random.Random(0)
    loaded = tried = 0
    messages = set()
    for mutate, times in MUTATIONS.items():
        for _ in range(times):
            damaged = mutate(pick, data)
            path.write_bytes(damaged)
            tried += 1
            try:
                found = ebm.load(path)
            except FormatError as error:
                messages.add(str(error))
            else:
                loaded += 1
                assert same(state(found), want), mutate
    assert tried == 10_000
    assert loaded < tried / 20
    assert all(message.startswith(f"{path}: ") for message in messages)


VALUES = [None, True, -1, 0, 1, 3, 1 << 70, 1e308, -0.5, "", "x", "mlp", "float64", [], [[]]]
VALUES += [[2], [1 << 40, 1 << 40], {}, {"kind": "mlp"}, "/etc/passwd", [0.5, 0.5], "params"]


def places(value, at=()):
    """The paths to all values inside a value."""
    yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


@pytest.mark.parametrize("cls", [estimators.PCD, estimators.VERA, estimators.MEG])
def test_forged_files_with_digests_that_fit(cls, path):
    """Whoever can compute digests can write any values: they are refused or make sense."""
    est = small(cls, max_steps=1, learning_rate=schedules.Cosine(1e-3))
    est.fit(ROWS, X_val=ROWS[:9]).save(path)
    data, pick = path.read_bytes(), random.Random(1)
    free = {"format", "digest", "arrays", "package"}
    loaded = 0
    for _ in range(1500):
        text = Text(data)
        key = pick.choice([key for key in text if key not in free])
        spots = list(places(text[key]))
        spot = pick.choice(spots)
        inside = text
        for step in (key, *spot)[:-1]:
            inside = inside[step]
        inside[(key, *spot)[-1]] = pick.choice(VALUES)
        path.write_bytes(text.seal(arrays=False).bytes())
        try:
            found = ebm.load(path)
        except FormatError:
            continue
        loaded += 1
        assert np.isfinite(found.energy_(np.zeros((4, *found._row)))).all()
        if cls is not estimators.PCD:
            assert np.isfinite(found.sample(4, method="generator")).all()
        assert found.checkpoint in (None, str(path))
        found.save(path)
        assert same(state(ebm.load(path)), state(found))
    assert 0 < loaded < 1000


# ---- hostile files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        bytes(8),
        b"\xff" * 8,
        (1 << 62).to_bytes(8, "little") + b"{}",
        (100_000_001).to_bytes(8, "little") + b"{}",
        pack(b"\xff\xfe"),
        pack(b"[" * 100_000),
        pack(b'{"a":' * 100_000),
        pack(b'{"__metadata__": {"format": "' + b"[" * 100_000 + b'"}}'),
        pack(b"1" * 100_000),
        pack(b'{"a": 1e999}'),
        pack(b'{"a": NaN}'),
        pack(b"[]"),
        pack(b"null"),
        pack(b'{"a": "\\ud800"}'),
    ],
)
def test_headers_that_are_none(data, path):
    refused(path, data)


def test_files_of_others(path):
    from safetensors.numpy import save

    arrays = {"a": np.zeros(3, np.float32)}
    refused(path, save(arrays), "metadata: got none, expected those of ebmlib")
    refused(path, save(arrays, {"format": "pt"}), "format")
    refused(path, save(arrays, {"format": '"pt"'}), "format: got 'pt', expected 'ebmlib'")
    refused(path, save(arrays, {"format": '"ebmlib"'}), "version: missing")
    refused(path, b"\x80\x05" + b"pickle of somebody" * 20, "not a safetensors file")
    refused(path, b"PK\x03\x04" + bytes(100), "not a safetensors file")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bytes of a fitted estimator."""
    path = tmp_path_factory.mktemp("saved") / "a"
    small(max_steps=1).fit(ROWS, X_val=ROWS[:9]).save(path)
    return path.read_bytes()


def test_newer_files_say_so(saved, path):
    text = Text(saved)
    text["version"], text["package"] = 2, "9.0"
    refused(path, text.seal().bytes(), "version: got 2 of ebmlib 9.0, expected at most 1")


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        ("object", "estimators.Own", ["object", "estimators.Own"]),
        ("object", "os.system", ["object"]),
        ("object", "networks.MLP", ["metadata", "'specification'"]),
        ("object", ["estimators.PCD"], ["object", "list", "str"]),
        ("parameters.l2", -1, ["parameters", "l2: got -1"]),
        ("parameters.l2", "much", ["parameters", "l2"]),
        ("parameters.l2", {"kind": "x"}, ["parameters", "l2"]),
        ("parameters.betas", [0.9, 1.5], ["parameters", "beta2"]),
        ("parameters.optimizer", "lion", ["parameters", "optimizer", "lion"]),
        ("parameters.max_steps", 1.5, ["parameters", "max_steps"]),
        ("parameters.max_steps", None, ["parameters"]),
        ("parameters.checkpoint", "/etc/passwd", ["parameters", "checkpoint", "unknown"]),
        ("parameters.checkpoint_every", 0, ["parameters", "checkpoint_every"]),
        ("parameters.no_such", 1, ["parameters", "no_such", "unknown"]),
        ("parameters.dtype", "int32", ["parameters", "dtype"]),
        ("parameters.dtype", "O", ["parameters", "dtype"]),
        ("parameters.image_shape", [0, 1], ["parameters", "image_shape"]),
        ("parameters.random_state", 1 << 64, ["parameters", "64 bits"]),
        ("parameters.random_state", {"generator": [1, 2, 3]}, ["random_state"]),
        ("parameters.random_state", {"generator": [1 << 128, 1, 0, 0]}, ["random_state"]),
        ("parameters.network.kind", "resnet", ["network", "kind", "resnet"]),
        ("parameters.network.kind", [], ["network", "kind"]),
        ("parameters.network.options.hidden", [-3], ["network", "hidden"]),
        ("parameters.network.options.hidden", [1 << 24], ["params.l0.w"]),
        ("parameters.network.options.activation", "exec", ["network", "activation"]),
        ("parameters.network.options.more", 1, ["network", "more", "unknown"]),
        ("parameters.network.more", 1, ["network", "kind"]),
        ("parameters.network", {"kind": "langevin", "options": {}}, ["network", "kind"]),
        ("parameters.sampler.options.n_steps", -1, ["sampler", "n_steps"]),
        ("parameters.sampler.options.clip", [1], ["sampler", "clip"]),
        ("checkpoint", "/etc/passwd", ["checkpoint", "str", "bool"]),
        ("fitted.row", [3], ["params.l0.w"]),
        ("fitted.row", [1 << 30], ["params.l0.w"]),
        ("fitted.row", [1 << 50], ["fitted.network", "impossible shape"]),
        ("fitted.row", [1 << 20, 1 << 20], ["fitted.network", "impossible shape"]),
        ("fitted.row", [1] * 100, ["fitted.network"]),
        ("fitted.row", [2.0], ["fitted.row"]),
        ("fitted.dtype", "float64", ["params.l0.w", "F32", "F64"]),
        ("fitted.dtype", "object", ["fitted.dtype"]),
        ("fitted.key", [1], ["fitted.key"]),
        ("fitted.key", [1 << 31, 0], ["fitted.key"]),
        ("fitted.energy", "buffer", ["fitted.energy"]),
        ("fitted.energy", "energy", ["fitted.energy"]),
        ("fitted.energy", [], ["fitted.energy"]),
        ("fitted.features", "ab", ["fitted.features"]),
        ("fitted.features", [1, 2], ["fitted.features"]),
        ("fitted.features", ["a"], ["fitted.features"]),
        ("fitted.network", {"kind": "mlp", "options": {}}, ["arrays"]),
        ("fitted", None, ["arrays: not expected"]),
        ("fitted", {}, ["fitted: missing"]),
        ("fit.last", 0, ["fit.last"]),
        ("fit.last", 1 << 31, ["fit.last"]),
        ("fit.first", 2, ["fit.first"]),
        ("fit.data.rows", 0, ["fit.data.rows"]),
        ("fit.data", None, ["fit.data"]),
        ("fit.held_out.crc", -1, ["fit.held_out.crc"]),
        ("fit", [], ["fit"]),
        ("more", 1, ["metadata: not expected: 'more'"]),
        ("more\nlines", 1, ["'more"]),
        ("object", "a\nb\ud800", ["object"]),
        ("object", "x" * 10_000, ["object", "..."]),
        ("parameters.network.options.activation", "a\nb", ["network", "activation"]),
    ],
)
def test_forged_metadata_names_the_key(at, value, words, saved, path):
    text = Text(saved)
    *outer, last = at.split(".")
    inside = text
    for name in outer:
        inside = inside[name]
    inside[last] = value
    refused(path, text.seal().bytes(), *words)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        ("generator", "mlp", ["parameters: VERA: generator: got 'mlp'"]),
        ("generator.kind", "adam", ["generator: kind: got 'adam'"]),
        ("generator", {"kind": "mlp", "options": {}}, ["mlp: got an energy, expected a gen"]),
        ("generator.options.hidden", [1 << 24], ["parts.generator.l0.w: got F32 (2, 3)"]),
        ("generator.options.norm", "none", ["not expected: 'parts.generator.n0.g'"]),
        ("generator.options.sigma", 0.0, ["parameters: vera: generator: got mlp_generator"]),
        ("entropy", "ais", ["parameters: VERA: entropy: got 'ais'"]),
        ("entropy", "hmc", ["arrays: missing: 'parts.posterior.step_size'"]),
        ("entropy", {"kind": "importance", "options": {"draws": 0}}, ["draws: got 0"]),
        ("generator_optimizer.options.every", 0, ["generator_optimizer: training: every"]),
        ("generator_optimizer.kind", "mlp", ["generator_optimizer: kind: got 'mlp'"]),
    ],
)
def test_forged_parts_name_the_key(at, value, words, path):
    small(estimators.VERA, max_steps=1).fit(ROWS).save(path)
    text = Text(path.read_bytes())
    *outer, last = at.split(".")
    inside = text["parameters"]
    for name in outer:
        inside = inside[name]
    inside[last] = value
    refused(path, text.seal().bytes(), *words)


@pytest.mark.parametrize("depth", [100, 300, 480, 700, 950])
@pytest.mark.parametrize(
    "at",
    [
        *("format", "version", "object", "arrays", "parameters", "fitted", "fit", "checkpoint"),
        *("parameters.l2", "parameters.image_shape", "parameters.network.options.hidden"),
        *("fitted.dtype", "fitted.row", "fitted.energy", "fit.reason", "fit.events"),
    ],
)
def test_nested_metadata(at, depth, saved, path):
    text = Text(saved)
    *outer, last = at.split(".")
    inside = text
    for name in outer:
        inside = inside[name]
    inside[last] = "here"
    nested = "[" * depth + "]" * depth
    texts = {key: json.dumps(value).replace('"here"', nested) for key, value in text.items()}
    texts["digest"] = json.dumps(digest_of(texts))
    refused(path, pack({"__metadata__": texts, **text.table}, text.body))


def test_a_fit_needs_a_fitted_estimator(saved, path):
    small().save(path)
    text = Text(path.read_bytes())
    text["fit"] = Text(saved)["fit"]
    refused(path, text.seal().bytes(), "fit: got one of an estimator that is not fitted")


def test_missing_metadata_name_the_key(saved, path):
    for key in Text(saved):
        text = Text(saved)
        del text[key]
        if key != "digest":
            text.seal(arrays=False)
        refused(path, text.bytes(), key)


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("name", "to", "words"),
    [
        ("step", entry("I64", [], 0, 8), ["step", "I64"]),
        ("step", entry("I32", [2], 0, 8), ["step", "I32 (2,)", "I32 ()"]),
        ("step", entry("BF16", [2], 0, 4), ["step", "dtype", "BF16"]),
        ("step", entry("I32", [1] * 9, 0, 4), ["step", "rank"]),
        ("step", entry("I32", [1 << 61, 8, 1], 0, 4), ["step", "bytes"]),
        ("step", entry("I32", [-1], 0, 4), ["step"]),
        ("step", entry("I32", [1.0], 0, 4), ["step"]),
        ("step", entry("I32", [], 4, 0), ["step"]),
        ("step", entry("I32", [], 0, 4), ["header"]),  # over another array
        ("step", entry("I32", [], 1 << 40, (1 << 40) + 4), ["header"]),
        ("step", {"dtype": "I32", "shape": []}, ["step: missing: 'data_offsets'"]),
        ("step", entry("I32", [], 0, 4) | {"more": 1}, ["step: not expected: 'more'"]),
        ("step", None, ["step"]),
        ("buffer.x", entry("F32", [1 << 33, 0], 0, 0), ["buffer"]),
    ],
)
def test_forged_tables_name_the_array(name, to, words, saved, path):
    text = Text(saved)
    text.table[name] = to
    refused(path, text.bytes(), *words)


def test_names_that_stand_twice(saved, path):
    n = int.from_bytes(saved[:8], "little")
    header, body = saved[8 : 8 + n].rstrip(), saved[8 + n :]
    step = json.dumps({"step": Text(saved).table["step"]})[1:-1].encode()
    refused(path, pack(header[:-1] + b"," + step + b"}", body), "header", "twice")
    twice = header.replace(b'"__metadata__":{', b'"__metadata__":{"fit":"null",')
    refused(path, pack(twice, body), "header", "twice")


@pytest.mark.parametrize("name", ["params.l0.w", "adam.v.params.l1.b", "step", "buffer.age"])
def test_arrays_that_are_missing_or_too_many(name, saved, path):
    text = Text(saved)
    begin, end = text.table[name]["data_offsets"]
    del text.table[name], text["arrays"][name]
    text.body = text.body[:begin] + text.body[end:]
    for other in text.table.values():
        if other["data_offsets"][0] >= end:
            other["data_offsets"] = [at - (end - begin) for at in other["data_offsets"]]
    refused(path, text.seal().bytes(), f"arrays: missing: '{name}'")

    text = Text(saved)
    more = "adam.n." + name
    text.table[more] = entry("I32", [], len(text.body), len(text.body) + 4)
    text["arrays"][more] = ""
    text.body += bytes(4)
    refused(path, text.seal().bytes(), f"arrays: not expected: '{more}'")
    del text["arrays"][more]
    refused(path, text.seal().bytes(), f"arrays: missing: '{more}'")


@pytest.mark.parametrize(
    ("name", "value", "word"), [("step", -1, "negative"), ("buffer.age", -5, "negative")]
)
def test_forged_values_of_arrays(name, value, word, saved, path):
    text = Text(saved)
    begin = text.table[name]["data_offsets"][0]
    number = value.to_bytes(4, "little", signed=True)
    text.body = text.body[:begin] + number + text.body[begin + 4 :]
    refused(path, text.bytes(), name, "not those that were saved")
    refused(path, text.seal().bytes(), name, word)


def test_forged_buffers(path):
    samplers.ReplayBuffer(4).save(path)
    saved = path.read_bytes()
    for name, value, word in (
        ("capacity", 1 << 40, "used"),
        ("capacity", True, "capacity"),
        ("reinit", 2, "reinit"),
        ("init", "here", "init"),
    ):
        text = Text(saved)
        text["options"][name] = value
        refused(path, text.seal().bytes(), word)
    text = Text(saved)
    text.body = b"\x02" + text.body[1:]
    refused(path, text.seal().bytes(), "used", "neither true nor false")


def test_forged_memories_of_an_interrupted_fit(path):
    def stop(est, step, metrics):
        if step == 5:
            raise RuntimeError("at five")

    est = small(max_steps=9, on_divergence="rollback", snapshot_every=2, callbacks=[stop])
    with pytest.raises(RuntimeError, match="at five"):
        est.fit(ROWS)
    est.save(path)
    saved = path.read_bytes()
    assert Text(saved)["fit"]["events"]["rollback.0"]["snapshots"] == {"0": 2, "1": 4, "3": 0}
    assert ebm.load(path).resume(ROWS).n_steps_ == 9
    memory = {"numbers": [], "snapshots": {}}
    for change, word in (
        ({"rollback.0": memory}, "not expected: 'events.rollback.0.3.key"),
        ({"rollback.0": memory | {"numbers": [[1, 2]]}}, "got 2 numbers, expected 3"),
        ({"rollback.0": memory | {"numbers": [[1, 2, "x"]]}}, "expected numbers"),
        ({"rollback.0": memory | {"snapshots": {"01": 2}}}, "snapshot '01'"),
        ({"rollback.0": memory | {"snapshots": {"0": -2}}}, "got -2"),
        (
            {"rollback.0": memory | {"snapshots": {"2": 2}}},
            "arrays: missing: 'events.rollback.0.2.key",
        ),
        ({"rollback.x": memory}, "expected one of"),
        ({"../rollback.0": memory}, "expected one of"),
        ({"rollback.0": None}, "got NoneType"),
    ):
        text = Text(saved)
        text["fit"]["events"] = change
        refused(path, text.seal().bytes(), word)


def test_every_failed_allocation_is_survived(path):
    """Nothing is lost on the way, and the next try gives the whole."""
    testing = ebm._core.testing
    est = small().fit(ROWS)
    est.save(path)
    gc.collect()
    live = testing.alloc_live()
    for n in range(10_000):
        testing.alloc_fail_after(n)
        try:
            found = ebm.load(path)
        except MemoryError:
            continue
        finally:
            testing.alloc_fail_after(-1)
        break
    assert n > 50
    assert same(state(found), state(est))
    del found
    gc.collect()
    assert testing.alloc_live() == live
