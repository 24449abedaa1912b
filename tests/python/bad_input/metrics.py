"""Wrong calls: metrics."""

from __future__ import annotations

import numpy as np

from ebmlib import datasets, metrics, networks
from ebmlib.errors import ShapeError
from tests.python.bad_input.case import cases

X = np.random.default_rng(0).normal(size=(12, 2))
LAW = datasets.GaussianMixture([[0, 0]], 1.0)
BOX = (-1, 1, -1, 1)


def network():
    return networks.MLP((3,)).bind(2, random_state=0)


CASES = [
    *cases(
        "metrics.log_likelihood",
        lambda: metrics.log_likelihood(LAW, X),
        (
            lambda: metrics.log_likelihood(network(), X),
            ValueError,
            "log_likelihood: model: got one without log_z_, expected log_z",
        ),
        (
            lambda: metrics.log_likelihood(3, X),
            TypeError,
            "log_likelihood: model: got int, expected a model",
        ),
        (
            lambda: metrics.log_likelihood(LAW, X[0]),
            ShapeError,
            r"log_likelihood: X: got shape \(2,\), expected rows \(n, \.\.\.\)",
        ),
        (
            lambda: metrics.log_likelihood(np.sum, X),
            ShapeError,
            r"log_likelihood: model: got shape \(\), expected \(12,\)",
        ),
        (
            lambda: metrics.log_likelihood(LAW, X, log_z="1"),
            TypeError,
            "log_likelihood: log_z: got str, expected numbers",
        ),
        (
            lambda: metrics.log_likelihood(LAW, X, log_z=[0.0, 1.0]),
            TypeError,
            r"log_likelihood: log_z: got \[0\.0, 1\.0\], expected a number",
        ),
        (
            lambda: metrics.log_likelihood(LAW, X, transform=np.log),
            TypeError,
            "log_likelihood: transform: got ufunc, expected a Transform",
        ),
        (
            lambda: metrics.log_likelihood(LAW, X, unit="bits"),
            ValueError,
            r"log_likelihood: unit: got 'bits', expected one of \['nats', 'bits/dim'\]",
        ),
    ),
    *cases(
        "metrics.log_z",
        lambda: metrics.log_z(LAW, BOX, n=4),
        (
            lambda: metrics.log_z(LAW, (1, 1, 0, 1)),
            ValueError,
            r"grid: extent: got \(1, 1, 0, 1\), expected left < right and bottom < top",
        ),
        (
            lambda: metrics.log_z(lambda x: np.full(len(x), np.nan), BOX, n=4),
            ValueError,
            "log_z: energy: got none or a NaN, expected numbers",
        ),
        (lambda: metrics.log_z(None, BOX), TypeError, "log_z: model: got NoneType, .*"),
    ),
    *cases(
        "metrics.kl_divergence",
        lambda: metrics.kl_divergence(LAW, LAW, extent=BOX, n=4),
        (
            lambda: metrics.kl_divergence("moons", LAW, extent=BOX),
            TypeError,
            "kl_divergence: law: got str, expected a model",
        ),
        (
            lambda: metrics.kl_divergence(LAW.log_density, LAW),
            ValueError,
            "grid: extent: got None, expected .left, right, bottom, top.",
        ),
        (
            lambda: metrics.kl_divergence(LAW, LAW, n=0),
            ValueError,
            "grid: n: got 0, expected a whole number of at least 1",
        ),
    ),
    *cases(
        "metrics.compare_likelihoods",
        lambda: metrics.compare_likelihoods(LAW, X, X),
        (
            lambda: metrics.compare_likelihoods(network(), X, X),
            ValueError,
            "log_likelihood: model: got one without log_z_, expected log_z",
        ),
    ),
    *cases(
        "metrics.effective_sample_size",
        lambda: metrics.effective_sample_size(X),
        (
            lambda: metrics.effective_sample_size(X, axis=2),
            ShapeError,
            r"effective_sample_size: log_weights: got shape \(12, 2\), axis 2: no weights",
        ),
        (
            lambda: metrics.effective_sample_size([]),
            ShapeError,
            r"effective_sample_size: log_weights: got shape \(0,\), axis -1: no weights",
        ),
    ),
    *cases(
        "metrics.chain_diagnostics",
        lambda: metrics.chain_diagnostics(X),
        (
            lambda: metrics.chain_diagnostics(X[:3]),
            ShapeError,
            r"chain_diagnostics: trace: got shape \(3, 2\), expected \(draws, chains, .*",
        ),
    ),
    *cases(
        "metrics.energy_distance",
        lambda: metrics.energy_distance(X, X),
        (
            lambda: metrics.energy_distance(X, X[:, :1]),
            ShapeError,
            r"energy_distance: Y: got shape \(12, 1\), X \(12, 2\): expected rows of one shape",
        ),
        (
            lambda: metrics.energy_distance(X, X, n_permutations=-1),
            ValueError,
            "energy_distance: n_permutations: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: metrics.energy_distance(X, X, 9, random_state="a"),
            TypeError,
            "energy_distance: random_state: got 'a', .*",
        ),
    ),
    *cases(
        "metrics.mmd",
        lambda: metrics.mmd(X, X),
        (
            lambda: metrics.mmd(X, X, scale=0.0),
            ValueError,
            "mmd: scale: got 0.0, expected a positive number",
        ),
    ),
    *cases(
        "metrics.score_error",
        lambda: metrics.score_error(X, X),
        (
            lambda: metrics.score_error(X, X[1:]),
            ShapeError,
            r"score_error: estimate: got shape \(12, 2\), expected that of exact, \(11, 2\)",
        ),
    ),
    *cases(
        "metrics.gradient_share",
        lambda: metrics.gradient_share(X, X),
        (
            lambda: metrics.gradient_share(X, X[1:]),
            ShapeError,
            "gradient_share: estimate: got 24 numbers, expected 22",
        ),
        (
            lambda: metrics.gradient_share(X, 0 * X),
            ValueError,
            "gradient_share: exact: got zero, expected a gradient",
        ),
    ),
]
