"""Wrong calls: estimators with a generator, its entropy, and optimisers."""

from __future__ import annotations

import functools

import numpy as np

from ebmlib import entropy, estimators, networks, optimizers
from ebmlib.errors import NumericalError, ShapeError
from tests.python.bad_input.case import cases

X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)


def options(changes):
    return {
        "network": networks.MLP((4,)),
        "generator": networks.MLPGenerator(2, (4,)),
        "batch_size": 8,
        "max_steps": 1,
        "random_state": 0,
    } | changes


def vera(**changes):
    return estimators.VERA(**options(changes)).fit(X)


def meg(**changes):
    critic = entropy.MutualInformation(critic=networks.MLP((4,)))
    return estimators.MEG(**options({"entropy": critic} | changes)).fit(X)


def centred(p, x):
    return np.sum(x - np.mean(x, axis=0), axis=1)


def nan(p, x):
    return np.log(-np.sum(x**2, axis=1)) * p["a"]


@functools.cache
def generator(**changes):
    return networks.MLPGenerator(2, (4,), **changes).bind(3, random_state=0)


@functools.cache
def draws():
    return generator().sample(5, random_state=0, return_latent=True)


def score(how, g=None, **changes):
    x, z0 = draws()
    given = {"generator": g or generator(), "x": x, "z0": z0, "random_state": 0} | changes
    return how.score(**given)


def scores(name, how, *rows):
    """The cases that all estimates of a score share, and their own."""
    return cases(
        name,
        lambda: score(how()),
        (
            lambda: score(how(), networks.MLPGenerator(2)),
            TypeError,
            r"\w+: generator: got MLPGenerator, expected a bound one: \.bind\(shape\)",
        ),
        (
            lambda: score(how(), generator(sigma=0.0)),
            ValueError,
            r"\w+: generator: got mlp_generator, which adds no noise: its density has no score",
        ),
        *rows,
    )


CASES = [
    *cases(
        "estimators.VERA",
        lambda: vera().energy(X),
        (
            lambda: vera(entropy="ais"),
            ValueError,
            (
                r"VERA: entropy: got 'ais', expected None, an object of ebmlib\.entropy, or "
                r"one of \[.*\]"
            ),
        ),
        (
            lambda: vera(entropy_weight=-1.0),
            ValueError,
            "vera: entropy_weight: got -1, expected a number of at least 0",
        ),
        (
            lambda: vera(gradient_penalty=np.nan),
            ValueError,
            "vera: gradient_penalty: got nan, expected a number of at least 0",
        ),
        (
            lambda: vera(generator=networks.MLP()),
            ValueError,
            (
                r"bind: network: got MLP\(\), an energy, expected a generator|"
                "mlp: got an energy, expected a generator"
            ),
        ),
        (
            lambda: vera(network=networks.MLPGenerator()),
            ValueError,
            "mlp_generator: got a generator, expected an energy",
        ),
        (
            lambda: vera(generator=3),
            ValueError,
            (
                r"VERA: generator: got 3, expected a specification such as networks\."
                r"MLPGenerator\(\)"
            ),
        ),
        (
            lambda: vera(generator=networks.MLPGenerator(sigma=0.0)),
            ValueError,
            (
                "vera: generator: got mlp_generator, which adds no noise, expected one whose "
                "density has a score"
            ),
        ),
        (
            lambda: vera(generator=networks.MLPGenerator(0)),
            ValueError,
            "mlp_generator: latent: got 0, expected a whole number from 1 to 16777216",
        ),
        (
            lambda: vera(generator_optimizer="adam"),
            ValueError,
            r"VERA: generator_optimizer: got 'adam', expected one such as optimizers\.Adam\(\)",
        ),
        (
            lambda: vera(sigma_min=0.5, sigma_max=0.1),
            ValueError,
            "vera: sigma_min: got 0.5, expected at most sigma_max, 0.1",
        ),
        (
            lambda: vera(update_every=0),
            ValueError,
            r"training: every: got 0, expected a whole number from 1 to 1048576",
        ),
        (
            lambda: vera(network=networks.Function(centred, rows_independent=False)),
            ValueError,
            (
                "vera: energy: got function 'centred', whose rows depend on one another, "
                r"expected independent rows \(no batch normalisation\)"
            ),
        ),
        (
            lambda: vera(network=networks.Function(nan, {"a": np.ones(())})),
            NumericalError,
            r"vera: step 1: got a .* that is not finite or too large; .*",
        ),
        (
            lambda: vera().sample(method="exact"),
            ValueError,
            (
                r"VERA\.sample: method: got 'exact', expected one of "
                r"\['generator', 'refined', 'chain'\]"
            ),
        ),
        (
            lambda: vera().sample(init="noise"),
            ValueError,
            r"VERA\.sample: init: got 'noise', expected it for chains only",
        ),
    ),
    *cases(
        "VERA.paper",
        lambda: repr(estimators.VERA.paper()),
        (
            lambda: estimators.VERA.paper("mnist"),
            ValueError,
            r"paper: setting: got 'mnist', expected one of \['toy', 'nice', 'images'\]",
        ),
    ),
    *cases(
        "VERA.code",
        lambda: repr(estimators.VERA.code()),
        (
            lambda: estimators.VERA.code(1),
            ValueError,
            r"code: setting: got 1, expected one of \['toy', 'nice', 'images'\]",
        ),
    ),
    *cases(
        "estimators.MEG",
        lambda: meg().energy(X),
        (
            lambda: meg(entropy=entropy.MutualInformation("nwj")),
            ValueError,
            (
                "mutual_information: bound: got 'nwj', expected one of: jensen_shannon "
                "donsker_varadhan"
            ),
        ),
        (
            lambda: meg(
                entropy=entropy.MutualInformation(critic=networks.MLPGenerator(2, (4,)))
            ),
            ValueError,
            "mlp_generator: got a generator, expected an energy",
        ),
        (
            lambda: meg(entropy=entropy.MutualInformation(critic="mlp")),
            ValueError,
            (
                "mutual_information: critic: got 'mlp', expected a specification such as "
                r"networks\.MLP\(\)"
            ),
        ),
    ),
    *cases(
        "entropy.Importance",
        lambda: score(entropy.Importance()),
        (
            lambda: score(entropy.Importance(draws=0)),
            ValueError,
            "importance: draws: got 0, expected a whole number from 1 to 1048576",
        ),
        (
            lambda: score(entropy.Importance(statistics="none")),
            ValueError,
            "importance: statistics: got 'none', expected one of: own batch running",
        ),
    ),
    *cases(
        "entropy.HMC",
        lambda: score(entropy.HMC()),
        (
            lambda: score(entropy.HMC(gradient="none")),
            ValueError,
            "hmc: gradient: got 'none', expected one of: full prior",
        ),
        (
            lambda: score(entropy.HMC(draws=0)),
            ValueError,
            "hmc: draws: got 0, expected a whole number from 1 to 1048576",
        ),
    ),
    *cases(
        "entropy.MutualInformation",
        lambda: repr(entropy.MutualInformation()),
        (
            lambda: entropy.MutualInformation(draws=3),
            TypeError,
            r"MutualInformation\.__init__\(\) got an unexpected keyword argument 'draws'",
        ),
    ),
    *scores(
        "Estimate.score",
        entropy.Importance,
        (
            lambda: score(entropy.Importance(), x=np.zeros((5, 2))),
            ShapeError,
            r"entropy: x: got \(5, 2\), expected \(5, 3\)",
        ),
        (
            lambda: score(entropy.Importance(), z0=np.zeros((4, 2))),
            ShapeError,
            r"entropy: x: got \(5, 3\), expected \(4, 3\)",
        ),
        (
            lambda: score(entropy.HMC(), z0=np.zeros((5, 3))),
            ShapeError,
            r"mlp_generator: z: .*",
        ),
        (
            lambda: score(entropy.Importance(), own={}),
            ValueError,
            "importance: own: got no log_eta",
        ),
    ),
    *cases(
        "Estimate.loss",
        lambda: entropy.Importance().loss(generator(), *draws(), 0),
        (
            lambda: entropy.HMC().loss(generator(), *draws(), 0),
            ValueError,
            "hmc: loss: it has nothing to fit",
        ),
    ),
    *cases(
        "Importance.start",
        lambda: entropy.Importance().start(generator()),
        (
            lambda: entropy.Importance().start(),
            TypeError,
            r"Importance\.start\(\) missing 1 required positional argument: 'generator'",
        ),
    ),
    *cases(
        "entropy.GaussNewton",
        lambda: score(entropy.GaussNewton()),
        (
            lambda: score(entropy.GaussNewton(n_cg=0)),
            ValueError,
            "gauss_newton: n_cg: got 0, expected a whole number from 1 to 1024",
        ),
        (
            lambda: score(entropy.GaussNewton(pool=-1)),
            ValueError,
            "gauss_newton: pool: got -1, expected a whole number from 0 to 1048576",
        ),
        (
            lambda: score(entropy.GaussNewton(decay=1.0)),
            ValueError,
            r"gauss_newton: decay: got 1, expected a number .*",
        ),
    ),
    *cases(
        "GaussNewton.start",
        lambda: entropy.GaussNewton().start(generator()),
        (
            lambda: entropy.GaussNewton().start(),
            TypeError,
            r"GaussNewton\.start\(\) missing 1 required positional argument: 'generator'",
        ),
    ),
    *cases(
        "HMC.start",
        lambda: entropy.HMC().start(generator()),
        (
            lambda: entropy.HMC().start(),
            TypeError,
            r"HMC\.start\(\) missing 1 required positional argument: 'generator'",
        ),
    ),
    *cases(
        "optimizers.Adam",
        lambda: vera(generator_optimizer=optimizers.Adam(1e-3)).n_steps_,
        (
            lambda: vera(generator_optimizer=optimizers.Adam(-1.0)),
            ValueError,
            "training: learning_rate: got -1, expected a number above 0",
        ),
        (
            lambda: vera(generator_optimizer=optimizers.Adam(betas=(0.5,))),
            ValueError,
            r"adam: betas: got \(0\.5,\), expected two numbers",
        ),
        (
            lambda: vera(generator_optimizer=optimizers.Adam(every=0)),
            ValueError,
            r"training: every: got 0, expected a whole number from 1 to 1048576",
        ),
    ),
    *cases(
        "optimizers.SGD",
        lambda: vera(generator_optimizer=optimizers.SGD(1e-3)).n_steps_,
        (
            lambda: vera(generator_optimizer=optimizers.SGD(momentum=1.0)),
            ValueError,
            r"sgd: momentum: got 1, expected a number from 0 to .*",
        ),
    ),
]
