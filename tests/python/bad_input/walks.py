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
            TypeError,
            r"x0: got a tuple, expected an array \(N, \.\.\.\)",
        ),
        (
            lambda: walk().run(lambda x: energy(x["a"]), begun()),
            IndexError,
            r".*",
        ),
    ),
]
