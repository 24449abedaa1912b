"""Wrong calls: the loop, schedules, callbacks, files."""

from __future__ import annotations

import functools
import pathlib
import tempfile

import numpy as np

import ebmlib as ebm
from ebmlib import callbacks, diagnosis, estimators, networks, samplers, schedules
from ebmlib.errors import FormatError, NotFittedError, ShapeError, StateError
from tests.python.bad_input.case import cases

X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)

HOME = tempfile.TemporaryDirectory(prefix="bad_input")

TRACE = np.random.default_rng(1).normal(size=(20, 3, 2))


def pcd(**options):
    """An estimator that fits in a moment."""
    own = {"max_steps": 2, "batch_size": 8, "buffer_size": 64, "random_state": 0, **options}
    return estimators.PCD(networks.MLP((4,)), samplers.Langevin(n_steps=2), **own)


def refit(**options):
    """What a fit with these parameters comes to."""
    return pcd(**options).fit(X).energy(X)


@functools.cache
def fitted():
    return pcd().fit(X)


def path(name, content=None):
    """A path of the test's own folder; with content, of a file that has it."""
    made = pathlib.Path(HOME.name) / name
    if content is not None:
        made.write_bytes(content)
    return made


def saved():
    """The energies of an estimator that was saved and loaded."""
    fitted().save(path("model"))
    return ebm.load(path("model")).energy(X)


def raises(est, step, metrics):
    raise KeyError("in the callback")


class Meddler(callbacks.Callback):
    """Uses its estimator in a way that a run does not allow."""

    def __init__(self, meddle):
        self.meddle = meddle

    def on_step(self, est, step, metrics):
        self.meddle(est)


def one(est, x):
    return 1.0


def asked(*more, metric=None, every=1):
    """The energies after a fit with a metric of held-out rows."""
    ask = callbacks.Validate({"one": one} if metric is None else metric, every)
    return pcd(callbacks=[ask, *more]).fit(X, X_val=X).energy(X)


CASES = [
    *cases(
        "callbacks.Callback",
        lambda: refit(),
        (
            lambda: refit(callbacks=3),
            ValueError,
            "PCD: callbacks: got 3, expected a list of callbacks",
        ),
        (
            lambda: refit(callbacks=[3]),
            ValueError,
            (
                r"PCD: callbacks: got 3, expected f\(est, step, metrics\) or an "
                "object with some of on_begin, on_step, on_validation, "
                "on_epoch, on_end"
            ),
        ),
        (
            lambda: refit(callbacks=callbacks.Callback),
            ValueError,
            (
                r"PCD: callbacks: got <class 'ebmlib\.callbacks\.Callback'>, "
                "expected a list of callbacks"
            ),
        ),
        (
            lambda: refit(callbacks=[callbacks.Callback]),
            ValueError,
            (
                r"PCD: callbacks: got <class 'ebmlib\.callbacks\.Callback'>, "
                r"expected f\(est, step, metrics\) or an object with some of "
                "on_begin, on_step, on_validation, on_epoch, on_end"
            ),
        ),
        (lambda: refit(callbacks=[raises]), KeyError, "'in the callback'"),
        (
            lambda: refit(callbacks=[lambda: None]),
            TypeError,
            r".*<lambda>\(\) takes 0 positional arguments but 3 were given",
        ),
        (
            lambda: refit(callbacks=[Meddler(lambda est: est.fit(X))]),
            StateError,
            "PCD: it is running, expected the end of its fit",
        ),
        (
            lambda: refit(callbacks=[Meddler(lambda est: est.partial_fit(X))]),
            StateError,
            "PCD: it is running, expected the end of its fit",
        ),
        (
            lambda: refit(callbacks="print"),
            ValueError,
            "PCD: callbacks: got 'print', expected a list of callbacks",
        ),
        (lambda: callbacks.Callback(every=2), TypeError, r"Callback\(\) takes no arguments"),
    ),
    *cases(
        "callbacks.EarlyStopping",
        lambda: refit(),
        (
            lambda: refit(callbacks=[callbacks.EarlyStopping()]),
            ValueError,
            (
                "EarlyStopping: X_val: got None, expected held-out rows: "
                r"fit\(X, X_val=\)"
            ),
        ),
        (
            lambda: pcd(callbacks=[callbacks.EarlyStopping(patience=0)]).fit(X, X_val=X),
            ValueError,
            ("EarlyStopping: patience: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: pcd(callbacks=[callbacks.EarlyStopping(patience=1.5)]).fit(X, X_val=X),
            ValueError,
            (
                r"EarlyStopping: patience: got 1\.5, expected a whole number of "
                "at least 1"
            ),
        ),
        (
            lambda: pcd(callbacks=[callbacks.EarlyStopping(patience="long")]).fit(X, X_val=X),
            TypeError,
            ("EarlyStopping: patience: got 'long', expected a whole number of at least 1"),
        ),
        (
            lambda: pcd(callbacks=[callbacks.EarlyStopping(tolerance="some")]).fit(X, X_val=X),
            TypeError,
            "EarlyStopping: tolerance: got 'some', expected a number",
        ),
        (
            lambda: pcd(callbacks=[callbacks.EarlyStopping(tolerance=np.nan)]).fit(X, X_val=X),
            ValueError,
            "EarlyStopping: tolerance: got nan, expected a finite number",
        ),
        (
            lambda: callbacks.EarlyStopping(best=True),
            TypeError,
            (
                r"EarlyStopping\.__init__\(\) got an unexpected keyword "
                "argument 'best'"
            ),
        ),
    ),
    *cases(
        "callbacks.EarlyStopping",
        lambda: refit(),
        (
            lambda: asked(callbacks.EarlyStopping(metric="loss")),
            ValueError,
            r"EarlyStopping: metric: got 'loss', expected one of \['val_gap', 'val_one'\]",
        ),
        (
            lambda: asked(callbacks.EarlyStopping(metric="val_one", mode="best")),
            ValueError,
            r"EarlyStopping: mode: got 'best', expected one of \['min', 'max'\]",
        ),
    ),
    *cases(
        "callbacks.Validate",
        lambda: asked(),
        (
            lambda: refit(callbacks=[callbacks.Validate()]),
            ValueError,
            r"Validate: X_val: got None, expected held-out rows: fit\(X, X_val=\)",
        ),
        (
            lambda: asked(metric=one),
            TypeError,
            r"Validate: metric: got <function one at .*>, expected \{name: f\(est, X_val\)\}",
        ),
        (
            lambda: asked(metric={"one": 1}),
            TypeError,
            r"Validate: metric: got 'one': 1, expected a name and f\(est, X_val\)",
        ),
        (
            lambda: asked(metric={1: one}),
            TypeError,
            "Validate: metric: got 1: <function one at .*>, expected a name and .*",
        ),
        (
            lambda: asked(metric={"gap": one}),
            ValueError,
            "Validate: metric: got the name 'gap', expected another",
        ),
        (
            lambda: asked(metric={"": one}),
            ValueError,
            "Validate: metric: got the name '', expected another",
        ),
        (
            lambda: asked(metric={"one": lambda est, x: "much"}),
            TypeError,
            "Validate: metric: one: got 'much', expected a number",
        ),
        (
            lambda: asked(metric={"one": lambda est: 1.0}),
            TypeError,
            r".*<lambda>\(\) takes 1 positional argument but 2 were given",
        ),
        (
            lambda: asked(every=0),
            ValueError,
            "Validate: every: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: asked(every="often"),
            TypeError,
            "Validate: every: got 'often', expected a whole number of at least 1",
        ),
        (
            lambda: asked(callbacks.Validate()),
            ValueError,
            "PCD: callbacks: got two Validate, expected one at most",
        ),
    ),
    *cases(
        "callbacks.KeepBest",
        lambda: asked(callbacks.KeepBest("val_one", mode="max")),
        (
            lambda: refit(callbacks=[callbacks.KeepBest()]),
            ValueError,
            r"KeepBest: X_val: got None, expected held-out rows: fit\(X, X_val=\)",
        ),
        (
            lambda: asked(callbacks.KeepBest("one")),
            ValueError,
            r"KeepBest: metric: got 'one', expected one of \['val_gap', 'val_one'\]",
        ),
        (
            lambda: asked(callbacks.KeepBest(None)),
            ValueError,
            r"KeepBest: metric: got None, expected one of \['val_gap', 'val_one'\]",
        ),
        (
            lambda: asked(callbacks.KeepBest(mode="most")),
            ValueError,
            r"KeepBest: mode: got 'most', expected one of \['min', 'max'\]",
        ),
        (
            lambda: asked(callbacks.KeepBest(), callbacks.KeepBest()),
            ValueError,
            "PCD: callbacks: got two KeepBest, expected one at most",
        ),
    ),
    *cases(
        "callbacks.CSVLogger",
        lambda: refit(),
        (
            lambda: refit(callbacks=[callbacks.CSVLogger(path("no/such/folder.csv"))]),
            FileNotFoundError,
            (
                r"\[Errno 2\] No such file or directory: "
                r"'/.*/no/such/folder\.csv'"
            ),
        ),
        (
            lambda: refit(callbacks=[callbacks.CSVLogger(3.5)]),
            TypeError,
            r"CSVLogger: path: got 3\.5, expected a path",
        ),
        (
            lambda: refit(callbacks=[callbacks.CSVLogger(path("log.csv"), every=0)]),
            ValueError,
            "CSVLogger: every: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: callbacks.CSVLogger(),
            TypeError,
            (
                r"CSVLogger\.__init__\(\) missing 1 required positional "
                "argument: 'path'"
            ),
        ),
    ),
    *cases(
        "schedules.Constant",
        lambda: schedules.Constant(0.1)(3),
        (
            lambda: refit(learning_rate=schedules.Constant(-1.0)),
            ValueError,
            "training: learning_rate: got -1, expected a number above 0",
        ),
        (
            lambda: refit(learning_rate=schedules.Constant("fast")),
            ValueError,
            "training: learning_rate: got 'fast', expected a number",
        ),
        (
            lambda: refit(learning_rate=schedules.Constant(warmup=-1)),
            ValueError,
            (
                "constant: warmup: got -1, expected a whole number from 0 to "
                r"2\.14748365e\+09"
            ),
        ),
        (
            lambda: refit(learning_rate=schedules.Constant(warmup=0.5)),
            ValueError,
            (
                r"constant: warmup: got 0\.5, expected a whole number from 0 to "
                r"2\.14748365e\+09"
            ),
        ),
        (
            lambda: refit(learning_rate=schedules.Constant),
            TypeError,
            "training: learning_rate: got type, expected a number",
        ),
    ),
    *cases(
        "schedules.Cosine",
        lambda: schedules.Cosine(0.1)(3),
        (
            lambda: refit(learning_rate=schedules.Cosine(steps=0)),
            ValueError,
            (
                "cosine: steps: got 0, expected a whole number from 1 to "
                r"2\.14748365e\+09"
            ),
        ),
        (
            lambda: refit(learning_rate=schedules.Cosine(steps=None)),
            ValueError,
            "cosine: steps: got None, expected a value",
        ),
        (
            lambda: refit(learning_rate=schedules.Cosine(floor=2.0)),
            ValueError,
            "cosine: floor: got 2, expected a number from 0 to 1",
        ),
    ),
    *cases(
        "Schedule.__call__",
        lambda: schedules.Cosine(0.1)([1, 2]),
        (lambda: schedules.Cosine(0.1)("three"), TypeError, "step: got str, expected numbers"),
        (
            lambda: schedules.Cosine(0.1)(2**40),
            ValueError,
            r"step: got 1099511627776, expected 0 to 2\^31 - 1",
        ),
        (
            lambda: schedules.Cosine(0.1)(-1),
            ValueError,
            r"step: got -1, expected 0 to 2\^31 - 1",
        ),
        (
            lambda: schedules.Cosine(0.1)(0.5),
            TypeError,
            "step: got float64, expected whole numbers",
        ),
        (
            lambda: schedules.Cosine("fast")(1),
            TypeError,
            "cosine: rate: got 'fast', expected a number",
        ),
    ),
    *cases(
        "schedules.Linear",
        lambda: schedules.Linear(0.1)(3),
        (
            lambda: refit(learning_rate=schedules.Linear(floor=-0.1)),
            ValueError,
            r"linear: floor: got -0\.1, expected a number from 0 to 1",
        ),
        (
            lambda: refit(learning_rate=schedules.Linear(steps="many")),
            ValueError,
            "linear: steps: got 'many', expected a whole number",
        ),
    ),
    *cases(
        "schedules.Exponential",
        lambda: schedules.Exponential(0.1)(3),
        (
            lambda: refit(learning_rate=schedules.Exponential(factor=0.0)),
            ValueError,
            ("exponential: factor: got 0, expected a number above 0 and up to 1"),
        ),
        (
            lambda: refit(learning_rate=schedules.Exponential(factor=np.nan)),
            ValueError,
            ("exponential: factor: got nan, expected a number above 0 and up to 1"),
        ),
        (
            lambda: schedules.Exponential(decay=1),
            TypeError,
            (
                r"Exponential\.__init__\(\) got an unexpected keyword argument "
                "'decay'"
            ),
        ),
    ),
    *cases(
        "schedules.Piecewise",
        lambda: schedules.Piecewise(0.1, (2,))(3),
        (
            lambda: refit(learning_rate=schedules.Piecewise(milestones=(-1,))),
            ValueError,
            (
                "piecewise: milestones: got -1, expected a whole number from 1 "
                r"to 2\.14748365e\+09"
            ),
        ),
        (
            lambda: refit(learning_rate=schedules.Piecewise(milestones=3)),
            TypeError,
            "piecewise: milestones: got 3, expected a list of whole numbers",
        ),
        (
            lambda: refit(learning_rate=schedules.Piecewise(milestones=("a",))),
            TypeError,
            (
                r"piecewise: milestones: got \('a',\), expected a list of whole "
                "numbers"
            ),
        ),
    ),
    *cases(
        "EnergyEstimator.loop",
        lambda: refit(),
        (
            lambda: refit(on_divergence="ignore"),
            ValueError,
            "PCD: on_divergence: got 'ignore', expected raise or rollback",
        ),
        (
            lambda: refit(snapshot_every=0),
            ValueError,
            ("PCD: snapshot_every: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: refit(max_rollbacks=-1),
            ValueError,
            ("PCD: max_rollbacks: got -1, expected a whole number of at least 0"),
        ),
        (
            lambda: refit(checkpoint_every=0),
            ValueError,
            ("PCD: checkpoint_every: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: refit(checkpoint_every=True),
            TypeError,
            ("PCD: checkpoint_every: got True, expected a whole number of at least 1"),
        ),
        (
            lambda: refit(checkpoint=3.5),
            TypeError,
            r"PCD: checkpoint: got 3\.5, expected a path",
        ),
        (
            lambda: refit(checkpoint=path("no/such/folder")),
            FileNotFoundError,
            r"\[Errno 2\] No such file or directory: '/.*/no/such/folder'",
        ),
        (
            lambda: refit(verbose="loud"),
            TypeError,
            "PCD: verbose: got 'loud', expected a number",
        ),
    ),
    *cases(
        "EnergyEstimator.diagnose",
        lambda: fitted().diagnose(X).codes,
        (
            lambda: pcd().diagnose(),
            NotFittedError,
            (
                r"This PCD instance is not fitted yet\. Call 'fit' with "
                r"appropriate arguments before using this estimator\."
            ),
        ),
        (
            lambda: fitted().diagnose(np.zeros((5, 3))),
            ValueError,
            r"X has 3 features, but PCD is expecting 2 features as input\.",
        ),
        (
            lambda: fitted().diagnose(X * np.nan),
            ValueError,
            (
                r"Input X contains NaN \(first in row 0\); PCD needs finite "
                r"numbers\."
            ),
        ),
        (lambda: fitted().diagnose("rows"), TypeError, "X: got str, expected numbers"),
    ),
    *cases(
        "diagnosis.Report",
        lambda: str(diagnosis.Report("fit", [])),
        (
            lambda: diagnosis.Report(),
            TypeError,
            (
                r"Report\.__init__\(\) missing 2 required positional arguments: "
                "'title' and 'findings'"
            ),
        ),
    ),
    *cases(
        "Durable.resume",
        lambda: fitted().n_steps_,
        (
            lambda: pcd().resume(X),
            NotFittedError,
            (
                r"This PCD instance is not fitted yet\. Call 'fit' with "
                r"appropriate arguments before using this estimator\."
            ),
        ),
        (
            lambda: fitted().resume(X[:5]),
            ShapeError,
            (
                r"PCD\.resume: X: got \(5, 2\), expected \(40, 2\) as in that "
                "fit"
            ),
        ),
        (
            lambda: fitted().resume(np.zeros((40, 3))),
            ShapeError,
            (
                r"PCD\.resume: X: got \(40, 3\), expected \(40, 2\) as in that "
                "fit"
            ),
        ),
        (
            lambda: fitted().resume(None),
            ValueError,
            r"Expected 2D array, got scalar array instead: array\(nan\)",
        ),
    ),
    *cases(
        "Savable.save",
        lambda: saved(),
        (
            lambda: fitted().save(path("no/such/folder")),
            FileNotFoundError,
            r"\[Errno 2\] No such file or directory: '/.*/no/such/folder'",
        ),
        (lambda: fitted().save(3.5), TypeError, r"save: path: got 3\.5, expected a path"),
        (lambda: fitted().save(None), TypeError, "save: path: got None, expected a path"),
        (
            lambda: fitted().save(pathlib.Path(HOME.name)),
            IsADirectoryError,
            r"\[Errno 21\] Is a directory: '/.*'",
        ),
    ),
    *cases(
        "load",
        lambda: saved(),
        (
            lambda: ebm.load(path("nothing")),
            FileNotFoundError,
            r"\[Errno 2\] No such file or directory: '/.*/nothing'",
        ),
        (
            lambda: ebm.load(pathlib.Path(HOME.name)),
            IsADirectoryError,
            r"\[Errno 21\] Is a directory: '/.*'",
        ),
        (lambda: ebm.load(3.5), TypeError, r"load: path: got 3\.5, expected a path"),
        (
            lambda: ebm.load(path("empty", b"")),
            FormatError,
            ("/.*/empty: header: got 0 bytes in a file of 0: not a safetensors file"),
        ),
        (
            lambda: ebm.load(path("short", b"1234567")),
            FormatError,
            (
                "/.*/short: header: got 15540725856023089 bytes in a file of "
                "7: not a safetensors file"
            ),
        ),
        (
            lambda: ebm.load(path("garbage", b"\xff" * 64)),
            FormatError,
            (
                "/.*/garbage: header: got 18446744073709551615 bytes in a file "
                "of 64: not a safetensors file"
            ),
        ),
        (
            lambda: ebm.load(path("other", b"\x02\0\0\0\0\0\0\0{}")),
            FormatError,
            "/.*/other: metadata: got none, expected those of ebmlib",
        ),
        (
            lambda: ebm.load(path("huge", (2**62).to_bytes(8, "little") + b"{}")),
            FormatError,
            (
                "/.*/huge: header: got 4611686018427387904 bytes in a file of "
                "10: not a safetensors file"
            ),
        ),
        (
            lambda: ebm.load(path("größe")),
            FileNotFoundError,
            r"\[Errno 2\] No such file or directory: '/.*/größe'",
        ),
    ),
    *cases(
        "profile",
        lambda: sorted(name for name in dir(ebm.profile()) if name[0] != "_"),
        (
            lambda: ebm.profile(3),
            TypeError,
            r"profile\(\) takes 0 positional arguments but 1 was given",
        ),
        (
            lambda: ebm.profile().__enter__().__enter__(),
            StateError,
            "profile: another one is on, expected one at a time",
        ),
    ),
    *cases(
        "samplers.to_inference_data",
        lambda: samplers.to_inference_data(TRACE).posterior["x"].shape,
        (
            lambda: samplers.to_inference_data("trace"),
            TypeError,
            "trace: got str, expected numbers",
        ),
        (
            lambda: samplers.to_inference_data(np.zeros(3)),
            ShapeError,
            r"trace: got shape \(3,\), expected \(draws, chains, \.\.\.\)",
        ),
        (
            lambda: samplers.to_inference_data(np.zeros((0, 3, 2))),
            ShapeError,
            (
                r"trace: got shape \(0, 3, 2\), expected \(draws, chains, "
                r"\.\.\.\)"
            ),
        ),
        (
            lambda: samplers.to_inference_data(TRACE.astype(complex)),
            TypeError,
            "trace: got complex128, expected numbers",
        ),
        (
            lambda: samplers.to_inference_data(TRACE, info=3),
            TypeError,
            "info: got int, expected a dict",
        ),
        (
            lambda: samplers.to_inference_data(TRACE, info={"energy": np.zeros((5, 3))}),
            ShapeError,
            (
                r"info\['energy'\]: got shape \(5, 3\), expected \(20, 3\), "
                "that of the trace"
            ),
        ),
        (
            lambda: samplers.to_inference_data(TRACE, energy=3),
            TypeError,
            "energy: got int, expected a function of rows",
        ),
        (
            lambda: samplers.to_inference_data(TRACE, name=3),
            TypeError,
            "name: got 3, expected a word",
        ),
        (
            lambda: samplers.to_inference_data(TRACE, dims=("a", "b")),
            ValueError,
            r"dims: got \('a', 'b'\), expected 1 names",
        ),
        (
            lambda: samplers.to_inference_data(TRACE, dims=3),
            ValueError,
            "dims: got 3, expected 1 names",
        ),
        (
            lambda: samplers.to_inference_data(TRACE, coords=3),
            TypeError,
            "coords: got int, expected a dict",
        ),
    ),
    *cases(
        "Sampler.sample",
        lambda: samplers.Langevin(n_steps=4).sample(
            lambda x: np.sum(x**2, axis=1), X, random_state=0
        ),
        (
            lambda: samplers.Langevin(n_steps=4).sample(
                lambda x: np.sum(x**2, axis=1), X, out=np.empty((4, 40, 2), np.float32)
            ),
            ValueError,
            "out: got an array, expected return_trace=True with it",
        ),
        (
            lambda: samplers.Langevin(n_steps=4).sample(
                lambda x: np.sum(x**2, axis=1),
                X,
                return_trace=True,
                out=np.empty((3, 40, 2), np.float32),
            ),
            ShapeError,
            r"out: shape \(3, 40, 2\), expected \(4, 40, 2\)",
        ),
        (
            lambda: samplers.Langevin(n_steps=4).sample(
                lambda x: np.sum(x**2, axis=1), X, return_trace=True, out=np.empty((4, 40, 2))
            ),
            TypeError,
            "out: expected a contiguous, writable array of float32",
        ),
        (
            lambda: samplers.Langevin(n_steps=4).sample(
                lambda x: np.sum(x**2, axis=1),
                X,
                return_trace=True,
                out=np.empty((4, 2, 40), np.float32).swapaxes(1, 2),
            ),
            TypeError,
            "out: expected a contiguous, writable array of float32",
        ),
        (
            lambda: samplers.Langevin(n_steps=4).sample(
                lambda x: np.sum(x**2, axis=1),
                X,
                return_trace=True,
                out=np.broadcast_to(np.float32(0), (4, 40, 2)),
            ),
            TypeError,
            "out: expected a contiguous, writable array of float32",
        ),
        (
            lambda: samplers.Langevin(n_steps=4).sample(
                lambda x: np.sum(x**2, axis=1), X, return_trace=True, out="file"
            ),
            TypeError,
            "out: expected a contiguous, writable array of float32",
        ),
        (
            lambda: samplers.Langevin(n_steps=4).sample(
                lambda x: np.sum(x**2, axis=1), X, block_rows=0
            ),
            ValueError,
            "block_rows: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: samplers.Langevin(n_steps=4).sample(
                lambda x: np.sum(x**2, axis=1), X, block_rows=1.5
            ),
            ValueError,
            r"block_rows: got 1\.5, expected a whole number of at least 1",
        ),
    ),
]
