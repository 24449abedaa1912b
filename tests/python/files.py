"""Estimators to save, and an independent reader and writer of files, from the description of
the format.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import entropy, estimators, networks, optimizers, samplers
from ebmlib.errors import FormatError

ROWS = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)


def small(cls=estimators.PCD, **changes):
    options = {
        "network": networks.MLP((3,)),
        "sampler": samplers.Langevin(step_size=0.05, n_steps=2),
        "max_steps": 4,
        "batch_size": 8,
        "ema": 0.9,
        "random_state": 0,
    }
    if cls is estimators.PCD:
        options["buffer_size"] = 8
    if cls is estimators.MaximumLikelihood:
        options["network"] = networks.GaussianMixture(2)
    if issubclass(cls, estimators.VERA):
        options["generator"] = networks.MLPGenerator(2, (3,))
        options["generator_optimizer"] = optimizers.Adam(2e-4, betas=(0.0, 0.9), ema=0.5)
    if cls is estimators.MEG:
        options["entropy"] = entropy.MutualInformation(critic=networks.MLP((3,)))
    return cls(**(options | changes))


def state(est):
    """All that an estimator knows, as a dict that `same` compares."""
    saved = est.__getstate__()
    names = ("history_", "n_steps_", "n_features_in_", "_saved", "_row", "_fit")
    return {
        "params": {k: v for k, v in est.get_params().items() if k != "checkpoint"},
        **{name: getattr(est, name).parameters() for name in est._learned},
        "key": saved["_key"],
        **{name: saved[name] for name in names},
    }


def same(a, b):
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


def there_and_back(thing, path):
    thing.save(path)
    return ebm.load(path)


class Text(dict):
    """A file taken apart: the metadata as values, the table and the bytes of the arrays."""

    def __init__(self, data):
        n = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + n])
        texts = header.pop("__metadata__")
        super().__init__({key: json.loads(text) for key, text in texts.items()})
        self.table, self.body = header, data[8 + n :]

    def bytes_of(self, name):
        begin, end = self.table[name]["data_offsets"]
        return self.body[begin:end]

    def seal(self, arrays=True):
        """Digests that fit."""
        if arrays:
            for name in self["arrays"]:
                if name in self.table:
                    entry = self.table[name]
                    head = f"{name}|{entry['dtype']}|{entry['shape']}|".encode()
                    digest = hashlib.blake2b(head + self.bytes_of(name), digest_size=8)
                    self["arrays"][name] = digest.hexdigest()
        self["digest"] = digest_of({key: json.dumps(value) for key, value in self.items()})
        return self

    def bytes(self):
        texts = {key: json.dumps(value) for key, value in self.items()}
        return pack({"__metadata__": texts, **self.table}, self.body)


def digest_of(texts):
    whole = "".join(f"{key}|{texts[key]}|" for key in sorted(texts) if key != "digest")
    return hashlib.blake2b(whole.encode(), digest_size=8).hexdigest()


def pack(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def refused(path, data, *words):
    """The message of the FormatError for a file with this content."""
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        ebm.load(path)
    assert type(caught.value) is FormatError
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


def try_mutants(good, times, rng, use):
    """Letters of a network's template are changed at random, a few at a time: what is loaded
    and used then is an error that is one of ours, or a network.
    """
    for _ in range(times):
        letters = list(good["template"])
        for place in rng.integers(0, len(letters), rng.integers(1, 4)):
            letters[place] = "0123456789 %()[]{}-N+xabf\n"[rng.integers(26)]
        try:
            use(networks._network_from_json(good | {"template": "".join(letters)}))
        except (ValueError, TypeError, NotImplementedError, IndexError, KeyError):
            continue
