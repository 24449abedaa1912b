"""Wrong calls: samplers with a Metropolis step, runs, chains over several arrays."""

from __future__ import annotations

import functools

import numpy as np

from ebmlib import networks, samplers
from ebmlib.errors import NumericalError, ShapeError
from tests.python.bad_input.case import cases

X0 = np.zeros((5, 2))


def energy(x):
    return 0.5 * np.sum(x**2, axis=1)


@functools.cache
def walk():
    return samplers.MALA(n_steps=3)


def begun():
    return walk().init(X0, random_state=0)


def sizes(state, n):
    return state._replace(carry={**state.carry, "step_size": np.ones(n)})


@functools.cache
def net():
    return networks.MLP((4,)).bind(2, random_state=0)


@functools.cache
def generator():
    return networks.MLPGenerator(3, (4,), sigma=0.5).bind(2, random_state=0)


@functools.cache
def quiet():
    """A generator without noise."""
    return networks.MLPGenerator(3, (4,), sigma=0).bind(2, random_state=0)


def annealed(**options):
    """An estimate in a moment."""
    given = {"shape": 2, "n_temperatures": 4, "n_chains": 5, "sampler": samplers.HMC(0.3, 2)}
    given |= {"energy": energy, "random_state": 0} | options
    return samplers.annealed_importance_sampling(**given)


def adapting(kind, name):
    """The options that MALA and HMC share."""
    return (
        (
            lambda: kind(adapt="fast").sample(energy, X0),
            ValueError,
            f"{name}: adapt: got 'fast', expected one of: none dual_averaging paper",
        ),
        (
            lambda: kind(target=1.5).sample(energy, X0),
            ValueError,
            f"{name}: target: got 1.5, expected a number above 0 and up to 1 or nothing",
        ),
        (
            lambda: kind(rate=0).sample(energy, X0),
            ValueError,
            f"{name}: rate: got 0, expected a number .*",
        ),
        (
            lambda: kind(n_adapt=-1).sample(energy, X0),
            ValueError,
            f"{name}: n_adapt: got -1, expected a whole number from 0 to .*",
        ),
        (
            lambda: kind(noise=0).sample(energy, X0),
            ValueError,
            f"{name}: noise: got 0, expected a number above 0 or nothing",
        ),
        (
            lambda: kind(clip=(1, 0)).sample(energy, X0),
            ValueError,
            rf"{name}: clip: got \(1, 0\), expected low < high",
        ),
        (
            lambda: kind(clip=3).sample(energy, X0),
            ValueError,
            rf"{name}: clip: got 3, expected \(low, high\) or None",
        ),
        (
            lambda: kind(step_size=0).sample(energy, X0),
            ValueError,
            f"{name}: step_size: got 0, expected a number above 0",
        ),
        (
            lambda: kind().sample(lambda x: np.sum(np.log(x), axis=1), X0),
            NumericalError,
            f"{name}: the energy or its gradient is not finite where chain 0 stands",
        ),
    )


CASES = [
    *cases(
        "samplers.MALA",
        lambda: samplers.MALA(n_steps=3).sample(energy, X0, random_state=0),
        *adapting(samplers.MALA, "mala"),
    ),
    *cases(
        "samplers.HMC",
        lambda: samplers.HMC(n_steps=3).sample(energy, X0, random_state=0),
        (
            lambda: samplers.HMC(n_leapfrog=0).sample(energy, X0),
            ValueError,
            r"hmc: n_leapfrog: got 0, expected a whole number from 1 to 1048576",
        ),
        (
            lambda: samplers.HMC(mass=-1).sample(energy, X0),
            ValueError,
            "hmc: mass: got -1, expected a number above 0",
        ),
    ),
    *cases(
        "Sampler.run",
        lambda: walk().run(energy, begun(), 2)[0].x,
        (
            lambda: walk().run(energy, X0),
            TypeError,
            "state: got ndarray, expected a ChainState, as init gives it",
        ),
        (
            lambda: walk().run(energy, begun(), -1),
            ValueError,
            "n_steps: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: walk().run(energy, begun(), thin=0),
            ValueError,
            "thin: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: walk().run(energy, begun()._replace(carry=3)),
            TypeError,
            r"state\.carry: got int, expected a dict or None",
        ),
        (
            lambda: walk().run(energy, begun()._replace(carry={"v": X0})),
            ValueError,
            (
                r"state\.carry: got \['v'\], expected \['average', 'count', 'error', "
                r"'step_size'\]: it is that of another sampler"
            ),
        ),
        (
            lambda: walk().run(energy, sizes(walk().step(energy, begun())[0], 2)),
            ShapeError,
            r"step_size: shape \(2,\), expected \(5,\)",
        ),
        (
            lambda: walk().run(energy, begun()._replace(x={"a": X0, "b": X0[:2]})),
            ShapeError,
            r"x0\['b'\]: got 2 rows, expected 5 as x0\['a'\] has",
        ),
        (
            lambda: walk().run(energy, begun()._replace(x=(X0, np.float64(1)))),
            ShapeError,
            r"x0\[1\]: got a scalar, expected rows \(N, \.\.\.\)",
        ),
        (
            lambda: walk().run(energy, begun()._replace(x={})),
            ShapeError,
            r"x0: got no arrays, expected some \(N, \.\.\.\)",
        ),
        (
            lambda: walk().run(networks.MLP((4,)).bind(2), begun()._replace(x=(X0, X0))),
            ShapeError,
            r"x0: shape \(2, \d+, 2\), expected \(N, 2,\)",
        ),
        (
            lambda: walk().run(lambda x: energy(x["a"]), begun()),
            IndexError,
            r".*",
        ),
    ),
    *cases(
        "samplers.annealed_importance_sampling",
        lambda: annealed().log_z,
        (
            lambda: annealed(base=3),
            TypeError,
            (
                r"base: got int, expected None, \(mean, scale\), or a function of rows with a "
                "method sample"
            ),
        ),
        (
            lambda: annealed(base=(0.0, 0.0)),
            ValueError,
            "base: mean, scale: expected finite numbers, and scale above 0",
        ),
        (
            lambda: annealed(base=(0.0, 1.0, 2.0)),
            ValueError,
            r"base: got 3 numbers, expected \(mean, scale\)",
        ),
        (
            lambda: annealed(base=(np.zeros(3), 1.0)),
            ShapeError,
            r"shape: got rows of \(3,\) and of \(2,\), expected one shape",
        ),
        (
            lambda: annealed(shape=None),
            ValueError,
            "shape: got None, expected that of a row",
        ),
        (
            lambda: annealed(base=networks.MLP((4,)).bind(2)),
            ValueError,
            r"sample: got MLP\(hidden=\(4,\)\), expected a network with an exact sampler: .*",
        ),
        (
            lambda: annealed(device="gpu"),
            ValueError,
            "device: got 'gpu', expected cpu or cuda",
        ),
        (
            lambda: annealed(schedule="cosine"),
            ValueError,
            "schedule: got 'cosine', expected sigmoid, linear or numbers",
        ),
        (
            lambda: annealed(schedule=[0.0, 0.5]),
            ValueError,
            "schedule: got other numbers, expected some that rise from 0 to 1",
        ),
        (
            lambda: annealed(sampler="hmc"),
            TypeError,
            r"sampler: got str, expected one such as samplers\.HMC\(\)",
        ),
        (
            lambda: annealed(sampler=samplers.HMC(adapt="dual_averaging")),
            ValueError,
            (
                "sampler: adapt: got 'dual_averaging', expected none or paper: the size has to "
                "follow the temperature"
            ),
        ),
        (
            lambda: annealed(sampler=samplers.HMC(step_size=0)),
            ValueError,
            "hmc: step_size: got 0, expected a number above 0",
        ),
        (
            lambda: annealed(n_temperatures=0),
            ValueError,
            "n_temperatures: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: annealed(n_chains=0),
            ValueError,
            "n_chains: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: annealed(n_steps=65),
            ValueError,
            "annealed: n_steps: got 65, expected 1 to 64",
        ),
        (
            lambda: annealed(energy=lambda x: energy(x) * np.nan),
            NumericalError,
            "annealed_importance_sampling: 5 of 5 weights are NaN, 0 are zero: take smaller .*",
        ),
        (
            lambda: annealed(energy=lambda x: x),
            ShapeError,
            r"energy: energies of x \(5, 2\): got \(5, 2\), expected one number a row",
        ),
    ),
    *cases(
        "samplers.posterior",
        lambda: samplers.posterior(generator(), X0)(np.zeros((5, 3), np.float32)),
        (
            lambda: samplers.posterior(networks.MLP(), X0),
            TypeError,
            "posterior: generator: got MLP, expected a bound generator",
        ),
        (
            lambda: samplers.posterior(net(), X0),
            TypeError,
            "posterior: generator: got BoundNetwork, expected a bound generator",
        ),
        (
            lambda: samplers.posterior(generator(), X0, "half"),
            ValueError,
            "gradient: got 'half', expected full or prior",
        ),
        (
            lambda: samplers.posterior(generator(), "x"),
            TypeError,
            "x: got str, expected numbers",
        ),
        (
            lambda: samplers.posterior(generator(), np.zeros((5, 4))),
            ShapeError,
            r"x: shape \(5, 4\), expected \(N, 2,\)",
        ),
        (
            lambda: samplers.posterior(quiet(), X0),
            ValueError,
            r"posterior: generator: got sigma 0\.0, expected noise: x has no density",
        ),
    ),
    *cases(
        "samplers.refinement",
        lambda: samplers.refinement(energy, generator())({"z": np.zeros((5, 3)), "eps": X0}),
        (
            lambda: samplers.refinement(energy, generator(), "sharp"),
            ValueError,
            r"target: got 'sharp', expected one of \['exact', 'flat', 'tilted'\]",
        ),
        (
            lambda: samplers.refinement(3, generator()),
            TypeError,
            "energy: got int, expected a function of rows",
        ),
        (
            lambda: samplers.refinement(energy, None),
            TypeError,
            "refinement: generator: got NoneType, expected a bound generator",
        ),
        (
            lambda: samplers.refinement(energy, quiet()),
            ValueError,
            (
                r"refinement: target 'exact': generator: got sigma 0\.0, expected noise: "
                "x has no density"
            ),
        ),
    ),
    *cases(
        "samplers.refine",
        lambda: samplers.refine(energy, generator(), 4, n_steps=2, random_state=0),
        (
            lambda: samplers.refine(energy, generator(), 0),
            ValueError,
            "n_samples: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: samplers.refine(energy, generator(), 4, sampler="mala"),
            TypeError,
            r"sampler: got str, expected one such as samplers\.MALA\(\)",
        ),
        (
            lambda: samplers.refine(energy, generator(), 4, n_steps=-1),
            ValueError,
            "n_steps: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: samplers.refine(networks.MLP((4,)).bind(3), generator(), 4, n_steps=1),
            ShapeError,
            r"x: shape \(4, 2\), expected \(N, 3,\)",
        ),
        (
            lambda: samplers.refine(energy, generator(), 4, random_state="seed"),
            TypeError,
            "key: seed: got str, expected an int, a numpy Generator or None",
        ),
    ),
]
