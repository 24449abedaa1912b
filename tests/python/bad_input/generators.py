"""Wrong calls: generators, and networks whose density is known."""

from __future__ import annotations

import functools

import numpy as np

from ebmlib import networks
from ebmlib.errors import ShapeError
from tests.python.bad_input.case import cases

X = np.random.default_rng(0).normal(size=(40, 3))
Z = np.random.default_rng(1).normal(size=(40, 2))


@functools.cache
def g():
    return networks.MLPGenerator(2, (4,)).bind(3, random_state=0)


@functools.cache
def linear():
    return networks.LinearGenerator(2).bind(3, random_state=0)


@functools.cache
def mixture():
    return networks.GaussianMixture(2).bind(3, random_state=0)


@functools.cache
def energy():
    return networks.MLP((4,)).bind(3, random_state=0)


def coupled():
    def mean(p, x):
        return np.sum(x - np.mean(x, axis=0), axis=1)

    return networks.Function(mean, rows_independent=False).bind(3)


def shifted(p, z):
    return z + p.param("b", 3)


def start(spec):
    return lambda: spec.bind(3, random_state=0).parameters()


def takes_one(name):
    return rf"\w+\.{name}\(\) takes 1 positional argument but 2 were given"


CASES = [
    *cases(
        "networks.MLPGenerator",
        start(networks.MLPGenerator(2, (4,))),
        (
            lambda: networks.MLPGenerator(0).bind(3),
            ValueError,
            "mlp_generator: latent: got 0, expected a whole number from 1 to 16777216",
        ),
        (
            lambda: networks.MLPGenerator(norm="group").bind(3),
            ValueError,
            "mlp_generator: norm: got 'group', expected one of: none batch layer",
        ),
        (
            lambda: networks.MLPGenerator(sigma=-0.1).bind(3),
            ValueError,
            r"mlp_generator: sigma: got -0\.1, expected .*",
        ),
    ),
    *cases(
        "networks.FunctionGenerator",
        start(networks.FunctionGenerator(shifted, 3)),
        (
            lambda: networks.FunctionGenerator(3, 3).bind(3),
            TypeError,
            r"FunctionGenerator: generator: got int, expected a function of \(p, z\)",
        ),
        (
            lambda: networks.FunctionGenerator(shifted, 0).bind(3),
            ValueError,
            "FunctionGenerator: latent: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: networks.FunctionGenerator(shifted, 3, sigma=-0.1).bind(3),
            ValueError,
            r"FunctionGenerator: sigma: got -0\.1, expected 0 \(no noise\) or more",
        ),
        (
            lambda: networks.FunctionGenerator(shifted, 3).bind(2),
            ShapeError,
            r"function 'shifted': rows: got \(2, 3\), expected \(2, 2\)",
        ),
        (
            lambda: networks.FunctionGenerator(lambda p, z: z - z.mean(0), 3).bind(3),
            ValueError,
            r"function '<lambda>': its rows depend on one another, expected independent .*",
        ),
    ),
    *cases(
        "networks.NICE",
        start(networks.NICE(2, 1, 4)),
        (
            lambda: networks.NICE(0).bind(3),
            ValueError,
            "nice: couplings: got 0, expected a whole number from 1 to 1024",
        ),
        (
            lambda: networks.NICE(2, 1, 4, prior="uniform").bind(3),
            ValueError,
            "nice: prior: got 'uniform', expected one of: normal logistic",
        ),
        (
            lambda: networks.NICE(2, 1, 4).bind(1),
            ShapeError,
            "nice: got rows of 1 numbers?, expected at least 2",
        ),
    ),
    *cases(
        "networks.GaussianMixture",
        start(networks.GaussianMixture(2)),
        (
            lambda: networks.GaussianMixture(0).bind(3),
            ValueError,
            "mixture: components: got 0, expected a whole number from 1 to 1048576",
        ),
    ),
    *cases(
        "networks.LinearGenerator",
        start(networks.LinearGenerator(2)),
        (
            lambda: networks.LinearGenerator(2.5).bind(3),
            ValueError,
            r"linear: latent: got 2\.5, expected a whole number from 1 to 65536",
        ),
        (
            lambda: networks.LinearGenerator(sigma=0.0).bind(3),
            ValueError,
            "linear: sigma: got 0, expected .*",
        ),
    ),
    *cases(
        "LinearGenerator.bind",
        start(networks.LinearGenerator(2)),
        (
            lambda: networks.LinearGenerator(2).bind(()),
            ValueError,
            r"bind: shape: got \(\), expected at least one size",
        ),
    ),
    *cases(
        "LinearGenerator.bind_data",
        lambda: networks.LinearGenerator(2).bind_data(X).parameters(),
        (
            lambda: networks.LinearGenerator(3).bind_data(X),
            ValueError,
            (
                "LinearGenerator: latent: got 3 for data of 3 directions, expected fewer: the "
                "noise needs one"
            ),
        ),
        (
            lambda: networks.LinearGenerator(0).bind_data(X),
            ValueError,
            "linear: latent: got 0, expected a whole number from 1 to 65536",
        ),
        (
            lambda: networks.LinearGenerator(2).bind_data(np.full((5, 3), np.nan)),
            ValueError,
            ".*contains NaN.*",
        ),
    ),
    *cases(
        "Generator.bind",
        start(networks.MLPGenerator(2, (4,))),
        (
            lambda: networks.MLPGenerator().bind(-1),
            ValueError,
            "bind: shape: got -1, expected a whole number of at least 1",
        ),
    ),
    *cases(
        "networks.BoundGenerator",
        lambda: g().parameters(),
        (
            lambda: networks.BoundGenerator(networks.MLP((4,)), 3),
            ValueError,
            r"bind: network: got MLP\(hidden=\(4,\)\), an energy, expected a generator",
        ),
        (
            lambda: networks.BoundGenerator("mlp", 3),
            TypeError,
            r"bind: network: got str, expected a specification such as networks\.MLP\(\)",
        ),
    ),
    *cases(
        "networks.BoundLinear",
        lambda: linear().parameters(),
        (
            lambda: networks.BoundLinear(networks.MLP((4,)), 3),
            ValueError,
            r"bind: network: got MLP\(hidden=\(4,\)\), expected a LinearGenerator",
        ),
    ),
    *cases(
        "BoundGenerator.__call__",
        lambda: g()(Z),
        (lambda: g()(X), ShapeError, r"z: shape \(40, 3\), expected \(40, 2\)"),
        (lambda: g()(np.float64(1)), ShapeError, r"z: got a scalar, expected rows \(N, 2,\)"),
        (lambda: g()("z"), TypeError, "z: got str, expected numbers"),
    ),
    *cases(
        "BoundGenerator.sample",
        lambda: g().sample(3, random_state=0),
        (
            lambda: g().sample(-1),
            ValueError,
            "sample: n: got -1, expected a whole number of at least 0",
        ),
        (lambda: g().sample("3"), TypeError, "sample: n: got '3', expected .*"),
    ),
    *cases(
        "BoundGenerator.log_joint",
        lambda: g().log_joint(X, Z),
        (lambda: g().log_joint(Z, X), ShapeError, r"x: shape \(40, 2\), expected \(40, 3\)"),
        (
            lambda: g().log_joint(X, Z[:5]),
            ShapeError,
            "z: got 5 rows, expected 40, as x",
        ),
        (
            lambda: networks.MLPGenerator(sigma=0.0).bind(3).log_joint(X, Z),
            ValueError,
            (
                r"log_joint: got MLPGenerator\(sigma=0\.0\), a generator without noise, "
                "expected a sigma"
            ),
        ),
    ),
    *cases(
        "BoundGenerator.in_training",
        lambda: g().in_training(Z)[0],
        (lambda: g().in_training(X), ShapeError, r"z: shape \(40, 3\), expected \(N, 2,\)"),
        (
            lambda: g().in_training(Z, np.zeros(5, np.int32)),
            ShapeError,
            r".*key.*\(5,?\).*",
        ),
    ),
    *cases(
        "BoundNetwork.score",
        lambda: energy().score(X),
        (lambda: energy().score(Z), ShapeError, r"x: shape \(40, 2\), expected \(40, 3\)"),
        (
            lambda: coupled().score(X),
            ValueError,
            (
                r"score: got Function\(mean, rows_independent=False\), whose rows depend on "
                r"one another, expected independent rows \(no batch normalisation\)"
            ),
        ),
    ),
    *cases(
        "BoundNetwork.log_prob",
        lambda: mixture().log_prob(X),
        (lambda: mixture().log_prob(Z), ShapeError, r"x: shape \(40, 2\), expected \(40, 3\)"),
        (
            lambda: energy().log_prob(X),
            ValueError,
            r"log_prob: got MLP\(hidden=\(4,\)\), whose normaliser is not known, expected .*",
        ),
    ),
    *cases(
        "BoundNetwork.generate",
        lambda: mixture().generate(np.zeros((3, 4))),
        (lambda: mixture().generate(X), ShapeError, r"z: shape \(40, 3\), expected \(40, 4\)"),
        (
            lambda: energy().generate(X),
            ValueError,
            r"generate: got MLP\(hidden=\(4,\)\), expected a network with an exact sampler: .*",
        ),
    ),
    *cases(
        "BoundNetwork.sample",
        lambda: mixture().sample(3, random_state=0),
        (
            lambda: energy().sample(3),
            ValueError,
            r"sample: got MLP\(hidden=\(4,\)\), expected a network with an exact sampler: .*",
        ),
        (
            lambda: mixture().sample(2.5),
            ValueError,
            r"sample: n: got 2\.5, expected a whole number of at least 0",
        ),
    ),
    *cases(
        "BoundLinear.score",
        lambda: linear().score(X),
        (lambda: linear().score(Z), ShapeError, r"x: shape \(40, 2\), expected \(40, 3\)"),
    ),
    *cases(
        "BoundLinear.entropy",
        lambda: linear().entropy(),
        (lambda: linear().entropy(X), TypeError, takes_one("entropy")),
    ),
    *cases(
        "BoundLinear.entropy_gradient",
        lambda: linear().entropy_gradient(),
        (lambda: linear().entropy_gradient(X), TypeError, takes_one("entropy_gradient")),
    ),
]
