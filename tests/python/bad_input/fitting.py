"""Wrong calls: fits, and what is asked of a fitted estimator."""

from __future__ import annotations

import functools

import numpy as np

from ebmlib import estimators, networks, samplers
from ebmlib.errors import NotFittedError
from tests.python.bad_input.case import cases

X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)


@functools.cache
def walk():
    return samplers.Langevin(n_steps=3)


@functools.cache
def fitted(kind=estimators.PCD):
    return pcd(kind).fit(X)


def pcd(kind=estimators.PCD, **options):
    """An estimator that fits in a moment."""
    own = {"buffer_size": 64} if kind is estimators.PCD else {}
    return kind(
        networks.MLP((4,)),
        samplers.Langevin(n_steps=2),
        **{**own, "max_steps": 2, "batch_size": 8, "random_state": 0, **options},
    )


def refit(**options):
    """A fit of an estimator with these parameters."""
    return pcd(**options).fit(X)


CASES = [
    *cases(
        "EnergyEstimator.fit",
        lambda: refit().energy(X),
        (
            lambda: pcd().fit(None),
            ValueError,
            r"Expected 2D array, got scalar array instead: array\(nan\)",
        ),
        (lambda: pcd().fit("rows"), TypeError, "X: got str, expected numbers"),
        (
            lambda: pcd().fit(X[:, 0]),
            ValueError,
            (
                "Expected 2D array, got 1D array instead: PCD takes rows "
                r"\(n_samples, \.\.\.\)\. Reshape your data: x\.reshape\(-1, "
                r"1\) for one feature, x\.reshape\(1, -1\) for one sample\."
            ),
        ),
        (
            lambda: pcd().fit(np.float32(1)),
            ValueError,
            (
                r"Expected 2D array, got scalar array instead: array\(1\., "
                r"dtype=float32\)"
            ),
        ),
        (
            lambda: pcd().fit(X[:0]),
            ValueError,
            (
                r"Found array with 0 sample\(s\) \(shape=\(0, 2\)\) while a "
                r"minimum of 1 is required by PCD\."
            ),
        ),
        (
            lambda: pcd().fit(X[:, :0]),
            ValueError,
            (
                r"Found array with 0 feature\(s\) \(shape=\(40, 0\)\) while a "
                r"minimum of 1 is required by PCD\."
            ),
        ),
        (
            lambda: pcd().fit(np.where(X > 2, np.nan, X) * np.array([np.nan, 1])),
            ValueError,
            (
                r"Input X contains NaN \(first in row 0\); PCD needs finite "
                r"numbers\."
            ),
        ),
        (
            lambda: pcd().fit(X * np.inf),
            ValueError,
            (
                "Input X contains infinity or a value too large for float32 "
                r"\(first in row 0\); PCD needs finite numbers\."
            ),
        ),
        (
            lambda: pcd().fit(X.astype(complex)),
            ValueError,
            "Complex data not supported: complex128",
        ),
        (
            lambda: pcd().fit(np.array([["a", "b"]])),
            ValueError,
            "X: got dtype <U1, expected numbers",
        ),
        (
            lambda: pcd().fit(np.array([[object(), 1]])),
            TypeError,
            (
                r"X: float\(\) argument must be a string or a real number, not "
                "'object': expected an array of numbers"
            ),
        ),
        (
            lambda: pcd().fit(np.zeros((4, 2), "M8[s]")),
            ValueError,
            r"X: got dtype datetime64\[s\], expected numbers",
        ),
        (
            lambda: pcd().fit([[1.0, 2.0], [3.0]]),
            ValueError,
            (
                r"X: got list: setting an array element with a sequence\. The "
                "requested array has an inhomogeneous shape after 1 "
                r"dimensions\. The detected shape was \(2,\) \+ inhomogeneous "
                r"part\."
            ),
        ),
        (
            lambda: pcd().fit(np.zeros((4,) + (1,) * 9)),
            ValueError,
            "shape: got 9 axes, expected at most 8",
        ),
        (
            lambda: pcd().fit(X, X_val=X[:, :1]),
            ValueError,
            (
                "X has 1 features, but PCD: X_val is expecting 2 features as "
                r"input\."
            ),
        ),
        (
            lambda: pcd().fit(X, X_val=X * np.nan),
            ValueError,
            (
                r"Input X contains NaN \(first in row 0\); PCD: X_val needs "
                r"finite numbers\."
            ),
        ),
        (lambda: pcd().fit(X, X_val="rows"), TypeError, "X: got str, expected numbers"),
        (
            lambda: pcd().fit(),
            TypeError,
            (
                r"EnergyEstimator\.fit\(\) missing 1 required positional "
                "argument: 'X'"
            ),
        ),
        (
            lambda: pcd().fit(X, n_steps=3),
            TypeError,
            (
                r"EnergyEstimator\.fit\(\) got an unexpected keyword argument "
                "'n_steps'"
            ),
        ),
    ),
    *cases(
        "EnergyEstimator.partial_fit",
        lambda: fitted().n_features_in_,
        (
            lambda: fitted().partial_fit(np.zeros((8, 3))),
            ValueError,
            r"X has 3 features, but PCD is expecting 2 features as input\.",
        ),
        (
            lambda: fitted().partial_fit(X * np.nan),
            ValueError,
            (
                r"Input X contains NaN \(first in row 0\); PCD needs finite "
                r"numbers\."
            ),
        ),
        (
            lambda: fitted().partial_fit(X, n_steps=-1),
            ValueError,
            "PCD: n_steps: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: fitted().partial_fit(X, n_steps=1.5),
            ValueError,
            r"PCD: n_steps: got 1\.5, expected a whole number of at least 0",
        ),
        (
            lambda: fitted().partial_fit(X, n_steps="one"),
            TypeError,
            "PCD: n_steps: got 'one', expected a whole number of at least 0",
        ),
        (
            lambda: fitted().partial_fit(X[0]),
            ValueError,
            (
                "Expected 2D array, got 1D array instead: PCD takes rows "
                r"\(n_samples, \.\.\.\)\. Reshape your data: x\.reshape\(-1, "
                r"1\) for one feature, x\.reshape\(1, -1\) for one sample\."
            ),
        ),
    ),
    *cases(
        "EnergyEstimator.energy",
        lambda: fitted().energy(X),
        (
            lambda: pcd().energy(X),
            NotFittedError,
            (
                r"This PCD instance is not fitted yet\. Call 'fit' with "
                r"appropriate arguments before using this estimator\."
            ),
        ),
        (
            lambda: fitted().energy(np.zeros((5, 3))),
            ValueError,
            r"X has 3 features, but PCD is expecting 2 features as input\.",
        ),
        (
            lambda: fitted().energy(X[0]),
            ValueError,
            (
                "Expected 2D array, got 1D array instead: PCD takes rows "
                r"\(n_samples, \.\.\.\)\. Reshape your data: x\.reshape\(-1, "
                r"1\) for one feature, x\.reshape\(1, -1\) for one sample\."
            ),
        ),
        (
            lambda: fitted().energy(X * np.nan),
            ValueError,
            (
                r"Input X contains NaN \(first in row 0\); PCD needs finite "
                r"numbers\."
            ),
        ),
        (
            lambda: fitted().energy(None),
            ValueError,
            r"Expected 2D array, got scalar array instead: array\(nan\)",
        ),
        (
            lambda: fitted().energy(X.astype(complex)),
            ValueError,
            "Complex data not supported: complex128",
        ),
    ),
    *cases(
        "EnergyEstimator.score_samples",
        lambda: fitted().score_samples(X),
        (
            lambda: pcd().score_samples(X),
            NotFittedError,
            (
                r"This PCD instance is not fitted yet\. Call 'fit' with "
                r"appropriate arguments before using this estimator\."
            ),
        ),
        (
            lambda: fitted().score_samples(np.zeros((5, 2, 1))),
            ValueError,
            r"PCD: got rows of shape \(2, 1\), expected \(2,\)",
        ),
    ),
    *cases(
        "EnergyEstimator.score",
        lambda: fitted().score(X),
        (
            lambda: pcd().score(X),
            NotFittedError,
            (
                r"This PCD instance is not fitted yet\. Call 'fit' with "
                r"appropriate arguments before using this estimator\."
            ),
        ),
        (
            lambda: fitted().score(X[:0]),
            ValueError,
            (
                r"Found array with 0 sample\(s\) \(shape=\(0, 2\)\) while a "
                r"minimum of 1 is required by PCD\."
            ),
        ),
    ),
    *cases(
        "EnergyEstimator.sample",
        lambda: fitted().sample(3),
        (
            lambda: pcd().sample(),
            NotFittedError,
            (
                r"This PCD instance is not fitted yet\. Call 'fit' with "
                r"appropriate arguments before using this estimator\."
            ),
        ),
        (
            lambda: fitted().sample(0),
            ValueError,
            ("sample: n_samples: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: fitted().sample(-1),
            ValueError,
            ("sample: n_samples: got -1, expected a whole number of at least 1"),
        ),
        (
            lambda: fitted().sample(2.5),
            ValueError,
            (
                r"sample: n_samples: got 2\.5, expected a whole number of at "
                "least 1"
            ),
        ),
        (
            lambda: fitted().sample("few"),
            TypeError,
            ("sample: n_samples: got 'few', expected a whole number of at least 1"),
        ),
        (
            lambda: fitted().sample(None),
            TypeError,
            ("sample: n_samples: got None, expected a whole number of at least 1"),
        ),
        (
            lambda: fitted().sample(3, n_steps=-1),
            ValueError,
            "n_steps: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: fitted().sample(3, n_steps=0.5),
            ValueError,
            r"n_steps: got 0\.5, expected a whole number of at least 0",
        ),
        (
            lambda: fitted().sample(3, init="zeros"),
            ValueError,
            (
                r"PCD\.sample: init: got 'zeros', expected noise, uniform, "
                "normal, an array, or buffer where chains have been kept"
            ),
        ),
        (
            lambda: fitted().sample(3, init=X[:2]),
            ValueError,
            r"PCD\.sample: init: got 2 rows, expected n_samples = 3",
        ),
        (
            lambda: fitted().sample(3, init=np.zeros((3, 5))),
            ValueError,
            (
                r"X has 5 features, but PCD\.sample is expecting 2 features as "
                r"input\."
            ),
        ),
        (
            lambda: fitted().sample(3, init=np.full((3, 2), np.nan)),
            ValueError,
            (
                r"Input X contains NaN \(first in row 0\); PCD\.sample needs "
                r"finite numbers\."
            ),
        ),
        (
            lambda: fitted().sample(3, init=3),
            ValueError,
            r"Expected 2D array, got scalar array instead: array\(3\.\)",
        ),
        (
            lambda: fitted(estimators.CD).sample(3, init="buffer"),
            ValueError,
            (
                r"CD\.sample: init: got 'buffer', expected noise, uniform, "
                "normal, an array, or buffer where chains have been kept"
            ),
        ),
        (
            lambda: fitted().sample(3, random_state="seed"),
            TypeError,
            "key: seed: got str, expected an int, a numpy Generator or None",
        ),
    ),
    *cases(
        "PCD.buffer_",
        lambda: fitted().buffer_,
        (
            lambda: pcd().buffer_,
            NotFittedError,
            (
                r"This PCD instance is not fitted yet\. Call 'fit' with "
                r"appropriate arguments before using this estimator\."
            ),
        ),
    ),
    *cases(
        "Parameters.set_params",
        lambda: fitted().get_params(deep=False),
        (
            lambda: fitted().set_params(rate=0.1),
            ValueError,
            (
                "Invalid parameter 'rate' for estimator "
                r"PCD\(network=MLP\(hidden=\(4,\)\), "
                r"sampler=Langevin\(n_steps=2\), buffer_size=64, batch_size=8, "
                r"max_steps=2, random_state=0\)\. Valid parameters are: "
                r"\['batch_size', 'betas', 'buffer_init', 'buffer_size', "
                "'callbacks', 'checkpoint', 'checkpoint_every', 'clip_norm', "
                "'data_noise', 'device', 'dtype', 'ema', 'image_shape', 'l2', "
                "'learning_rate', 'max_rollbacks', 'max_steps', 'network', "
                "'on_divergence', 'optimizer', 'random_state', 'reinit', "
                "'sampler', 'snapshot_every', 'verbose', 'warm_start', "
                r"'weight_decay'\]\."
            ),
        ),
        (
            lambda: fitted().set_params(network__width=4),
            ValueError,
            (
                "Invalid parameter 'width' for estimator "
                r"MLP\(hidden=\(4,\)\)\. Valid parameters are: \['activation', "
                r"'dropout', 'hidden', 'weight_norm'\]\."
            ),
        ),
        (
            lambda: fitted().set_params(max_steps__deep=1),
            ValueError,
            (
                "set_params: max_steps: got max_steps__deep, expected a value: "
                "it has no parameters"
            ),
        ),
        (
            lambda: fitted().set_params(3),
            TypeError,
            (
                r"Parameters\.set_params\(\) takes 1 positional argument but 2 "
                "were given"
            ),
        ),
        (
            lambda: fitted().set_params(größe=1),
            ValueError,
            (
                "Invalid parameter 'größe' for estimator "
                r"PCD\(network=MLP\(hidden=\(4,\)\), "
                r"sampler=Langevin\(n_steps=2\), buffer_size=64, batch_size=8, "
                r"max_steps=2, random_state=0\)\. Valid parameters are: "
                r"\['batch_size', 'betas', 'buffer_init', 'buffer_size', "
                "'callbacks', 'checkpoint', 'checkpoint_every', 'clip_norm', "
                "'data_noise', 'device', 'dtype', 'ema', 'image_shape', 'l2', "
                "'learning_rate', 'max_rollbacks', 'max_steps', 'network', "
                "'on_divergence', 'optimizer', 'random_state', 'reinit', "
                "'sampler', 'snapshot_every', 'verbose', 'warm_start', "
                r"'weight_decay'\]\."
            ),
        ),
        (
            lambda: walk().set_params(step=1),
            ValueError,
            (
                "Invalid parameter 'step' for estimator "
                r"Langevin\(n_steps=3\)\. Valid parameters are: \['clip', "
                r"'clip_grad', 'n_steps', 'noise', 'step_size'\]\."
            ),
        ),
    ),
    *cases(
        "Parameters.get_params",
        lambda: fitted().get_params(deep=False),
        (
            lambda: fitted().get_params(True, 1),
            TypeError,
            (
                r"Parameters\.get_params\(\) takes from 1 to 2 positional "
                "arguments but 3 were given"
            ),
        ),
    ),
]
