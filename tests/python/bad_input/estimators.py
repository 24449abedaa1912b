"""Wrong calls: estimators and parameters."""

from __future__ import annotations

import functools

import numpy as np

import ebmlib as ebm
from ebmlib import estimators, layers, networks, samplers
from ebmlib.errors import NumericalError, ShapeError
from tests.python.bad_input.case import cases

X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)


def energy(x):
    return 0.5 * np.sum(x**2, axis=1)


@functools.cache
def net():
    return networks.MLP((4,)).bind(2, random_state=0)


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


def matching(network=None, **options):
    """A fit of score matching in a moment."""
    own = {"max_steps": 2, "batch_size": 8, "random_state": 0, **options}
    return estimators.ScoreMatching(network or networks.MLP((4,)), **own).fit(X)


def likelihood(network):
    """A fit of maximum likelihood in a moment."""
    return estimators.MaximumLikelihood(network, max_steps=2, random_state=0).fit(X)


def coupled(**facts):
    def centred(p, x):
        return np.sum((x - x.mean(axis=0)) ** 2, axis=1) * layers.param(p, "w", (), init=1.0)

    return networks.Function(centred, rows_independent=False, **facts)


def looped(p, x):
    y = ebm.repeat(lambda i, y: np.tanh(y), 3, x * layers.param(p, "w", (), init=0.5))
    return np.sum(y**2, axis=1)


CASES = [
    *cases(
        "estimators.PCD",
        lambda: refit().n_steps_,
        (
            lambda: refit(buffer_size=0),
            ValueError,
            (
                "pcd: buffer_size: got 0, expected a whole number from 1 to "
                r"1\.07374182e\+09"
            ),
        ),
        (
            lambda: refit(buffer_size=4),
            ValueError,
            (
                "replay: got batches of 8 from a buffer of 4, expected "
                r"distinct rows \(and batch x buffer below 2\^31\)"
            ),
        ),
        (
            lambda: refit(buffer_size=2.5),
            ValueError,
            (
                r"pcd: buffer_size: got 2\.5, expected a whole number from 1 to "
                r"1\.07374182e\+09"
            ),
        ),
        (
            lambda: refit(buffer_size="big"),
            ValueError,
            "pcd: buffer_size: got 'big', expected a whole number",
        ),
        (
            lambda: refit(buffer_size=2**40),
            ValueError,
            (
                r"pcd: buffer_size: got 1\.09951163e\+12, expected a whole "
                r"number from 1 to 1\.07374182e\+09"
            ),
        ),
        (
            lambda: refit(reinit=-0.1),
            ValueError,
            r"pcd: reinit: got -0\.1, expected a number from 0 to 1",
        ),
        (
            lambda: refit(reinit=np.nan),
            ValueError,
            "pcd: reinit: got nan, expected a number from 0 to 1",
        ),
        (
            lambda: refit(buffer_init="zeros"),
            ValueError,
            ("pcd: buffer_init: got 'zeros', expected one of: uniform normal data"),
        ),
        (
            lambda: refit(buffer_init=0),
            ValueError,
            "pcd: buffer_init: got a number, expected a word",
        ),
        (
            lambda: estimators.PCD(buffer=3),
            TypeError,
            r"PCD\.__init__\(\) got an unexpected keyword argument 'buffer'",
        ),
    ),
    *cases(
        "PCD.paper",
        lambda: repr(estimators.PCD.paper()),
        (
            lambda: estimators.PCD.paper("mnist"),
            ValueError,
            r"paper: setting: got 'mnist', expected one of \['toy', 'nice'\]",
        ),
        (
            lambda: estimators.PCD.paper(["toy"]),
            ValueError,
            r"paper: setting: got \['toy'\], expected one of \['toy', 'nice'\]",
        ),
    ),
    *cases(
        "estimators.CD",
        lambda: pcd(estimators.CD).fit(X).n_steps_,
        (
            lambda: pcd(estimators.CD, l2=-1).fit(X),
            ValueError,
            "cd: l2: got -1, expected a number of at least 0",
        ),
        (
            lambda: pcd(estimators.CD, l2=np.nan).fit(X),
            ValueError,
            "cd: l2: got nan, expected a number of at least 0",
        ),
        (
            lambda: pcd(estimators.CD, l2="some").fit(X),
            ValueError,
            "cd: l2: got 'some', expected a number",
        ),
        (
            lambda: pcd(estimators.CD, data_noise=-0.1).fit(X),
            ValueError,
            r"cd: data_noise: got -0\.1, expected a number of at least 0",
        ),
        (
            lambda: pcd(estimators.CD, data_noise=np.inf).fit(X),
            ValueError,
            "cd: data_noise: got inf, expected a number of at least 0",
        ),
        (
            lambda: pcd(estimators.CD, learning_rate=0).fit(X),
            ValueError,
            "training: learning_rate: got 0, expected a number above 0",
        ),
        (
            lambda: pcd(estimators.CD, learning_rate="fast").fit(X),
            ValueError,
            "training: learning_rate: got 'fast', expected a number",
        ),
        (
            lambda: pcd(estimators.CD, learning_rate=None).fit(X),
            ValueError,
            "training: learning_rate: got None, expected a value",
        ),
        (
            lambda: pcd(estimators.CD, learning_rate=[0.1]).fit(X),
            TypeError,
            "training: learning_rate: got list, expected a number",
        ),
        (
            lambda: pcd(estimators.CD, optimizer="adamw").fit(X),
            ValueError,
            "optimizer: got 'adamw', expected one of: adam sgd",
        ),
        (
            lambda: pcd(estimators.CD, optimizer=None).fit(X),
            TypeError,
            "CD: optimizer: got None, expected a word",
        ),
        (
            lambda: pcd(estimators.CD, betas=(0.9,)).fit(X),
            ValueError,
            r"CD: betas: got \(0\.9,\), expected two numbers",
        ),
        (
            lambda: pcd(estimators.CD, betas=(0.9, 1.0)).fit(X),
            ValueError,
            r"adam: beta2: got 1, expected a number from 0 to 0\.9999999",
        ),
        (
            lambda: pcd(estimators.CD, betas="ab").fit(X),
            ValueError,
            "CD: betas: got 'ab', expected two numbers",
        ),
        (
            lambda: pcd(estimators.CD, weight_decay=-1).fit(X),
            ValueError,
            ("training: weight_decay: got -1, expected a number of at least 0"),
        ),
        (
            lambda: pcd(estimators.CD, clip_norm=0).fit(X),
            ValueError,
            ("training: clip_norm: got 0, expected a number above 0 or nothing"),
        ),
        (
            lambda: pcd(estimators.CD, ema=1).fit(X),
            ValueError,
            r"training: ema: got 1, expected a number from 0 to 0\.9999999",
        ),
        (
            lambda: pcd(estimators.CD, batch_size=0).fit(X),
            ValueError,
            ("training: batch_size: got 0, expected a whole number from 1 to 16777216"),
        ),
        (
            lambda: pcd(estimators.CD, batch_size=2.5).fit(X),
            ValueError,
            (
                r"training: batch_size: got 2\.5, expected a whole number from "
                "1 to 16777216"
            ),
        ),
        (
            lambda: pcd(estimators.CD, batch_size=True).fit(X),
            TypeError,
            "training: batch_size: got True, expected a number",
        ),
        (
            lambda: pcd(estimators.CD, batch_size=2**40).fit(X),
            ValueError,
            (
                r"training: batch_size: got 1\.09951163e\+12, expected a whole "
                "number from 1 to 16777216"
            ),
        ),
        (
            lambda: pcd(estimators.CD, max_steps=-1).fit(X),
            ValueError,
            "CD: max_steps: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: pcd(estimators.CD, max_steps=1.5).fit(X),
            ValueError,
            r"CD: max_steps: got 1\.5, expected a whole number of at least 0",
        ),
        (
            lambda: pcd(estimators.CD, max_steps="many").fit(X),
            TypeError,
            ("CD: max_steps: got 'many', expected a whole number of at least 0"),
        ),
        (
            lambda: pcd(estimators.CD, max_steps=None).fit(X),
            TypeError,
            "CD: max_steps: got None, expected a whole number of at least 0",
        ),
        (
            lambda: pcd(estimators.CD, max_steps=np.inf).fit(X),
            ValueError,
            "CD: max_steps: got inf, expected a whole number of at least 0",
        ),
        (
            lambda: pcd(estimators.CD, random_state=0.5).fit(X),
            TypeError,
            ("key: seed: got float, expected an int, a numpy Generator or None"),
        ),
        (
            lambda: pcd(estimators.CD, dtype="int32").fit(X),
            TypeError,
            "CD: dtype: got 'int32', expected float32 or float64",
        ),
        (
            lambda: pcd(estimators.CD, dtype="word").fit(X),
            TypeError,
            "CD: dtype: got 'word', expected float32 or float64",
        ),
        (
            lambda: pcd(estimators.CD, image_shape=(2, 2, 1)).fit(X),
            ValueError,
            r"CD: image_shape: got rows of 2 numbers, expected \(2, 2, 1\)",
        ),
        (
            lambda: pcd(estimators.CD, image_shape="8x8").fit(X),
            TypeError,
            ("CD: image_shape: got '8x8', expected a whole number of at least 1"),
        ),
        (
            lambda: pcd(estimators.CD, image_shape=(-1, 2)).fit(X),
            ValueError,
            "CD: image_shape: got -1, expected a whole number of at least 1",
        ),
        (
            lambda: pcd(estimators.CD, image_shape=(0.5, 4)).fit(X),
            ValueError,
            (
                r"CD: image_shape: got 0\.5, expected a whole number of at "
                "least 1"
            ),
        ),
        (
            lambda: estimators.CD("mlp").fit(X),
            ValueError,
            (
                "CD: network: got 'mlp', which has no parameters to fit, "
                r"expected a specification such as networks\.MLP\(\)"
            ),
        ),
        (
            lambda: estimators.CD(energy).fit(X),
            ValueError,
            (
                "CD: network: got <function energy at 0x[0-9a-f]+>, which has "
                "no parameters to fit, expected a specification such as "
                r"networks\.MLP\(\)"
            ),
        ),
        (
            lambda: estimators.CD(net()).fit(X),
            ValueError,
            (
                r"CD: network: got <MLP\(hidden=\(4,\)\) bound to \(2,\), "
                "float32>, which has no parameters to fit, expected a "
                r"specification such as networks\.MLP\(\)"
            ),
        ),
        (
            lambda: estimators.CD(networks.ConvNet()).fit(X),
            ShapeError,
            r"convnet: x: got \(2, 2\), expected images \(N, H, W, C\)",
        ),
        (
            lambda: estimators.CD(sampler="langevin").fit(X),
            ValueError,
            (
                "CD: sampler: got 'langevin', expected one such as "
                r"samplers\.Langevin\(\)"
            ),
        ),
        (
            lambda: estimators.CD(sampler=samplers.Langevin).fit(X),
            ValueError,
            (
                r"CD: sampler: got <class 'ebmlib\.samplers\.Langevin'>, "
                r"expected one such as samplers\.Langevin\(\)"
            ),
        ),
        (
            lambda: estimators.CD(networks.MLP((4,)), samplers.Langevin(step_size=-1)).fit(X),
            ValueError,
            "langevin: step_size: got -1, expected a number above 0",
        ),
        (
            lambda: estimators.CD(
                networks.MLP((4,)),
                samplers.Langevin(step_size=1e30, n_steps=20),
                max_steps=20,
                random_state=0,
            ).fit(X),
            NumericalError,
            (
                "cd: step 1: got a loss that is not finite or too large; the "
                r"arrays are those of step 0 \(try a lower learning_rate, a "
                r"smaller step_size, or more l2\)"
            ),
        ),
    ),
    *cases(
        "estimators.ScoreMatching",
        lambda: matching().n_steps_,
        (
            lambda: matching(kind="slices"),
            ValueError,
            (
                "score_matching: kind: got 'slices', expected one of: sliced sliced_vr "
                "denoising curvature exact"
            ),
        ),
        (
            lambda: matching(kind=1),
            ValueError,
            "score_matching: kind: got a number, expected a word",
        ),
        (
            lambda: matching(projection="sphere"),
            ValueError,
            ("score_matching: projection: got 'sphere', expected one of: rademacher gaussian"),
        ),
        (
            lambda: matching(n_projections=0),
            ValueError,
            ("score_matching: n_projections: got 0, expected a whole number from 1 to 1048576"),
        ),
        (
            lambda: matching(kind="denoising", sigma=0),
            ValueError,
            "score_matching: sigma: got 0, expected a number above 0",
        ),
        (
            lambda: matching(sigma=np.nan),
            ValueError,
            "score_matching: sigma: got nan, expected a number above 0",
        ),
        (
            lambda: matching(weight=2),
            ValueError,
            "score_matching: weight: got a number, expected a word",
        ),
        (
            lambda: matching(weight="sigma"),
            ValueError,
            "score_matching: weight: got 'sigma', expected one of: one sigma2 sigma4",
        ),
        (
            lambda: matching(network=coupled()),
            ValueError,
            (
                "score_matching: energy: got function 'centred', whose rows depend on one "
                r"another, expected independent rows \(no batch normalisation\)"
            ),
        ),
        (
            lambda: matching(network=networks.Function(looped), kind="curvature"),
            NotImplementedError,
            (
                r"curvature: energy: got one with a loop, expected none \(sliced_vr takes any "
                r"energy\)"
            ),
        ),
        (
            lambda: estimators.ScoreMatching(l2=1.0),
            TypeError,
            r"ScoreMatching\.__init__\(\) got an unexpected keyword argument 'l2'",
        ),
    ),
    *cases(
        "estimators.MaximumLikelihood",
        lambda: likelihood(networks.GaussianMixture(2)).n_steps_,
        (
            lambda: likelihood(networks.MLP((4,))),
            ValueError,
            (
                "maximum_likelihood: network: got mlp, whose density is not normalised, "
                r"expected a tractable one \(log Z = 0\)"
            ),
        ),
        (
            lambda: likelihood(networks.Function(looped)),
            ValueError,
            (
                "maximum_likelihood: network: got function 'looped', whose density is not "
                r"normalised, expected a tractable one \(log Z = 0\)"
            ),
        ),
        (
            lambda: likelihood(coupled(normalized=True)),
            ValueError,
            (
                "maximum_likelihood: energy: got function 'centred', whose rows depend on one "
                r"another, expected independent rows \(no batch normalisation\)"
            ),
        ),
        (
            lambda: estimators.MaximumLikelihood(kind="exact"),
            TypeError,
            r"EnergyEstimator\.__init__\(\) got an unexpected keyword argument 'kind'",
        ),
    ),
]
