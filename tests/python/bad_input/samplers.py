"""Wrong calls: samplers, chains, buffers."""

from __future__ import annotations

import functools

import numpy as np

from ebmlib import estimators, networks, samplers
from ebmlib.errors import NotFittedError, ShapeError, StateError
from tests.python.bad_input.case import cases

X0 = np.zeros((5, 2))


def energy(x):
    return 0.5 * np.sum(x**2, axis=1)


@functools.cache
def net():
    return networks.MLP((4,)).bind(2, random_state=0)


@functools.cache
def walk():
    return samplers.Langevin(n_steps=3)


def pcd(kind=estimators.PCD, **options):
    """An estimator that fits in a moment."""
    own = {"buffer_size": 64} if kind is estimators.PCD else {}
    return kind(
        networks.MLP((4,)),
        samplers.Langevin(n_steps=2),
        **{**own, "max_steps": 2, "batch_size": 8, "random_state": 0, **options},
    )


def draw():
    return samplers.ReplayBuffer(8).draw(3, (2,), random_state=0)


def bad_energy(x):
    raise KeyError("in the energy")


RNG = np.random.default_rng(0)


def noisy(x):
    return energy(x) * RNG.normal()


@functools.cache
def buffer():
    made = samplers.ReplayBuffer(8)
    made.draw(3, (2,), random_state=0)
    return made


CASES = [
    *cases(
        "samplers.Langevin",
        lambda: samplers.Langevin(n_steps=3).sample(energy, X0, random_state=0),
        (
            lambda: samplers.Langevin(step_size=0).sample(energy, X0),
            ValueError,
            "langevin: step_size: got 0, expected a number above 0",
        ),
        (
            lambda: samplers.Langevin(step_size=np.nan).sample(energy, X0),
            ValueError,
            "langevin: step_size: got nan, expected a number above 0",
        ),
        (
            lambda: samplers.Langevin(step_size=np.inf).sample(energy, X0),
            ValueError,
            "langevin: step_size: got inf, expected a number above 0",
        ),
        (
            lambda: samplers.Langevin(step_size="small").sample(energy, X0),
            ValueError,
            "langevin: step_size: got 'small', expected a number",
        ),
        (
            lambda: samplers.Langevin(step_size=None).sample(energy, X0),
            ValueError,
            "langevin: step_size: got None, expected a value",
        ),
        (
            lambda: samplers.Langevin(step_size=True).sample(energy, X0),
            TypeError,
            "langevin: step_size: got True, expected a number",
        ),
        (
            lambda: samplers.Langevin(step_size=[0.1]).sample(energy, X0),
            TypeError,
            "langevin: step_size: got list, expected a number",
        ),
        (
            lambda: samplers.Langevin(noise=-1.0).sample(energy, X0),
            ValueError,
            ("langevin: noise: got -1, expected a number of at least 0 or nothing"),
        ),
        (
            lambda: samplers.Langevin(n_steps=2.5).sample(energy, X0),
            ValueError,
            r"n_steps: got 2\.5, expected a whole number of at least 0",
        ),
        (
            lambda: samplers.Langevin(n_steps=-1).sample(energy, X0),
            ValueError,
            "n_steps: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: samplers.Langevin(n_steps=2**40).sample(energy, X0),
            ValueError,
            (
                r"langevin: n_steps: got 1\.09951163e\+12, expected a whole "
                r"number from 0 to 2\.14748365e\+09"
            ),
        ),
        (
            lambda: samplers.Langevin(clip=1.0).sample(energy, X0),
            ValueError,
            r"langevin: clip: got 1\.0, expected \(low, high\) or None",
        ),
        (
            lambda: samplers.Langevin(clip=(1, -1)).sample(energy, X0),
            ValueError,
            r"langevin: clip: got \(1, -1\), expected low < high",
        ),
        (
            lambda: samplers.Langevin(clip=("a", "b")).sample(energy, X0),
            ValueError,
            "langevin: clip_low: got 'a', expected a number",
        ),
        (
            lambda: samplers.Langevin(clip=(np.nan, 1)).sample(energy, X0),
            ValueError,
            ("langevin: clip_low: got nan, expected a number of at least -inf"),
        ),
        (
            lambda: samplers.Langevin(clip_grad=0).sample(energy, X0),
            ValueError,
            ("langevin: clip_grad: got 0, expected a number above 0 or nothing"),
        ),
        (
            lambda: samplers.Langevin(rate=0.1),
            TypeError,
            (
                r"Langevin\.__init__\(\) got an unexpected keyword argument "
                "'rate'"
            ),
        ),
    ),
    *cases(
        "Sampler.sample",
        lambda: walk().sample(energy, X0, random_state=0),
        (
            lambda: walk().sample(None, X0),
            TypeError,
            "energy: got NoneType, expected a function of rows",
        ),
        (
            lambda: walk().sample(3, X0),
            TypeError,
            "energy: got int, expected a function of rows",
        ),
        (
            lambda: walk().sample(networks.MLP(), X0),
            TypeError,
            (
                r"energy: got the specification MLP\(\); bind it to a shape "
                r"first: \.bind\(shape\)"
            ),
        ),
        (
            lambda: walk().sample(pcd(), X0),
            NotFittedError,
            "energy: this PCD is not fitted yet",
        ),
        (
            lambda: walk().sample(net(), X0, args=(1,)),
            TypeError,
            "energy: a network takes no further arguments, got 1",
        ),
        (lambda: walk().sample(energy, "starts"), TypeError, "x0: got str, expected numbers"),
        (lambda: walk().sample(energy, None), TypeError, "x0: got object, expected numbers"),
        (
            lambda: walk().sample(energy, np.float64(1)),
            ShapeError,
            r"x0: got a scalar, expected rows \(N, \.\.\.\)",
        ),
        (
            lambda: walk().sample(energy, X0.astype(complex)),
            TypeError,
            "x0: got complex128, expected numbers",
        ),
        (
            lambda: walk().sample(energy, np.zeros((1,) * 9)),
            ValueError,
            "argument 0: input: got 9 axes, expected at most 8",
        ),
        (
            lambda: walk().sample(net(), np.zeros((5, 3))),
            ShapeError,
            r"x0: shape \(5, 3\), expected \(N, 2,\)",
        ),
        (
            lambda: walk().sample(energy, np.full((5, 2), np.nan)),
            ValueError,
            "x0: got NaN or infinity, expected finite numbers",
        ),
        (
            lambda: walk().sample(energy, X0, n_steps=-1),
            ValueError,
            "n_steps: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: walk().sample(energy, X0, n_steps=2.5),
            ValueError,
            r"n_steps: got 2\.5, expected a whole number of at least 0",
        ),
        (
            lambda: walk().sample(energy, X0, n_steps="many"),
            TypeError,
            "n_steps: got 'many', expected a whole number of at least 0",
        ),
        (
            lambda: walk().sample(energy, X0, n_steps=True),
            TypeError,
            "n_steps: got True, expected a whole number of at least 0",
        ),
        (
            lambda: walk().sample(energy, X0, n_steps=2**40),
            ValueError,
            (
                "langevin: n_steps: got steps up to 1099511627776, expected "
                r"2\^31 - 1 at most"
            ),
        ),
        (
            lambda: walk().sample(energy, X0, return_trace=True, thin=0),
            ValueError,
            "thin: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: walk().sample(energy, X0, return_trace=True, thin=1.5),
            ValueError,
            r"thin: got 1\.5, expected a whole number of at least 1",
        ),
        (
            lambda: walk().sample(energy, X0, random_state="seed"),
            TypeError,
            "key: seed: got str, expected an int, a numpy Generator or None",
        ),
        (
            lambda: walk().sample(energy, X0, random_state=1.5),
            TypeError,
            ("key: seed: got float, expected an int, a numpy Generator or None"),
        ),
        (
            lambda: walk().sample(energy, X0, args=3),
            TypeError,
            "args: got int, expected a tuple",
        ),
        (
            lambda: walk().sample(energy, X0, args=(1, 2)),
            TypeError,
            r"energy\(\) takes 1 positional argument but 3 were given",
        ),
        (
            lambda: walk().sample(lambda x: np.sum(x**2), X0),
            ShapeError,
            (
                r"energy: energies of x \(5, 2\): got \(\), expected one number "
                "a row"
            ),
        ),
        (
            lambda: walk().sample(lambda x: x**2, X0),
            ShapeError,
            (
                r"energy: energies of x \(5, 2\): got \(5, 2\), expected one "
                "number a row"
            ),
        ),
        (
            lambda: walk().sample(lambda x: np.sum(x > 0, axis=1), X0),
            TypeError,
            "energy: energies: got i32, expected f64",
        ),
        (
            lambda: walk().sample(lambda x: 1.0, X0),
            ShapeError,
            (
                r"energy: energies of x \(5, 2\): got \(\), expected one number "
                "a row"
            ),
        ),
        (
            lambda: walk().sample(lambda x: None, X0),
            TypeError,
            "energy: result: got NoneType, expected an array or a number",
        ),
        (
            lambda: walk().sample(lambda x: "low", X0),
            TypeError,
            (
                "a traced function returned str: dtype <U3 is not supported: "
                "float32, float64, int32, bool and uint8 are supported"
            ),
        ),
        (
            lambda: walk().sample(lambda x: (energy(x), 1), X0),
            TypeError,
            (
                r"energy: result: np\.array or np\.asarray of a traced array "
                r"\(use np\.stack to join several\): while a function is "
                "traced, arrays have a shape and a dtype but no values: use "
                r"np\.where instead of if, ebm\.repeat instead of a loop that "
                "ends by a value, or compute this outside of the function"
            ),
        ),
        (
            lambda: walk().sample(lambda: 1, X0),
            TypeError,
            r".*<lambda>\(\) takes 0 positional arguments but 1 was given",
        ),
        (lambda: walk().sample(bad_energy, X0), KeyError, "'in the energy'"),
        (
            lambda: walk().sample(noisy, X0),
            ValueError,
            (
                "noisy: impure function: two traces of it differ, first at .* "
                r"and .*: the usual cause is np\.random in it: draw with "
                r"ebm\.random and a key, or pass the numbers as an argument "
                r"\(counters, clocks and files are other causes\)"
            ),
        ),
        (
            lambda: walk().sample(lambda x: energy(x) if x.sum() > 0 else energy(-x), X0),
            TypeError,
            (
                "the truth value of a traced array: while a function is "
                "traced, arrays have a shape and a dtype but no values: use "
                r"np\.where instead of if, ebm\.repeat instead of a loop that "
                "ends by a value, or compute this outside of the function"
            ),
        ),
    ),
    *cases(
        "Sampler.init",
        lambda: walk().init(X0, random_state=0),
        (lambda: walk().init("starts"), TypeError, "x0: got str, expected numbers"),
        (
            lambda: walk().init(X0.astype(complex)),
            TypeError,
            "x0: got complex128, expected numbers",
        ),
        (
            lambda: walk().init(X0, random_state=1.5),
            TypeError,
            ("key: seed: got float, expected an int, a numpy Generator or None"),
        ),
        (lambda: walk().init(None), TypeError, "x0: got object, expected numbers"),
    ),
    *cases(
        "Sampler.step",
        lambda: walk().step(energy, walk().init(X0, random_state=0)),
        (
            lambda: walk().step(energy, X0),
            TypeError,
            "state: got ndarray, expected a ChainState, as init gives it",
        ),
        (
            lambda: walk().step(energy, None),
            TypeError,
            "state: got NoneType, expected a ChainState, as init gives it",
        ),
        (
            lambda: walk().step(energy, samplers.ChainState(X0, np.zeros(3, np.int32), 0)),
            ValueError,
            (
                r"state\.key: got array\(\[0, 0, 0\], dtype=int32\), expected "
                "two words"
            ),
        ),
        (
            lambda: walk().step(energy, samplers.ChainState(X0, "key", 0)),
            ValueError,
            r"state\.key: got 'key', expected two words",
        ),
        (
            lambda: walk().step(energy, samplers.ChainState(X0, np.zeros(2), 0)),
            ValueError,
            r"state\.key: got array\(\[0\., 0\.\]\), expected two words",
        ),
        (
            lambda: walk().step(energy, samplers.ChainState(X0, np.zeros(2, np.int32), -1)),
            ValueError,
            r"state\.step: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: walk().step(energy, samplers.ChainState(X0, np.zeros(2, np.int32), 2**40)),
            ValueError,
            r"state\.step: got 1099511627776, expected less than 2\^31 - 1",
        ),
        (
            lambda: walk().step(energy, samplers.ChainState(X0, np.zeros(2, np.int32), "one")),
            TypeError,
            r"state\.step: got 'one', expected a whole number of at least 0",
        ),
        (
            lambda: walk().step(
                net(), samplers.ChainState(np.zeros((5, 3)), np.zeros(2, np.int32), 0)
            ),
            ShapeError,
            r"x0: shape \(5, 3\), expected \(N, 2,\)",
        ),
    ),
    *cases(
        "samplers.ChainState",
        lambda: samplers.ChainState(X0, np.zeros(2, np.int32), 0),
        (
            lambda: samplers.ChainState(X0),
            TypeError,
            (
                r"ChainState\.__new__\(\) missing 2 required positional "
                "arguments: 'key' and 'step'"
            ),
        ),
    ),
    *cases(
        "samplers.ReplayBuffer",
        lambda: draw(),
        (
            lambda: samplers.ReplayBuffer(0),
            ValueError,
            "capacity: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: samplers.ReplayBuffer(2.5),
            ValueError,
            r"capacity: got 2\.5, expected a whole number of at least 1",
        ),
        (
            lambda: samplers.ReplayBuffer("big"),
            TypeError,
            "capacity: got 'big', expected a whole number of at least 1",
        ),
        (
            lambda: samplers.ReplayBuffer(None),
            TypeError,
            "capacity: got None, expected a whole number of at least 1",
        ),
        (
            lambda: samplers.ReplayBuffer(True),
            TypeError,
            "capacity: got True, expected a whole number of at least 1",
        ),
        (
            lambda: samplers.ReplayBuffer(reinit=1.5),
            ValueError,
            r"reinit: got 1\.5, expected a number from 0 to 1",
        ),
        (
            lambda: samplers.ReplayBuffer(reinit=np.nan),
            ValueError,
            "reinit: got nan, expected a finite number",
        ),
        (
            lambda: samplers.ReplayBuffer(reinit="often"),
            TypeError,
            "reinit: got 'often', expected a number",
        ),
        (
            lambda: samplers.ReplayBuffer(init="zeros"),
            ValueError,
            "init: got 'zeros', expected uniform, normal or a function",
        ),
        (
            lambda: samplers.ReplayBuffer(init=None),
            ValueError,
            "init: got NoneType, expected uniform, normal or a function",
        ),
        (
            lambda: samplers.ReplayBuffer(init=X0),
            ValueError,
            "init: got ndarray, expected uniform, normal or a function",
        ),
        (
            lambda: samplers.ReplayBuffer(2**62),
            ValueError,
            r"capacity: got 4611686018427387904, expected less than 2\^62",
        ),
    ),
    *cases(
        "ReplayBuffer.draw",
        lambda: buffer().draw(3, (2,), random_state=0)[0],
        (
            lambda: buffer().draw(0, (2,)),
            ValueError,
            "draw: n: got 0, expected 1 to the capacity, 8",
        ),
        (
            lambda: buffer().draw(9, (2,)),
            ValueError,
            "draw: n: got 9, expected 1 to the capacity, 8",
        ),
        (
            lambda: buffer().draw(2.5, (2,)),
            ValueError,
            r"draw: n: got 2\.5, expected a whole number",
        ),
        (
            lambda: buffer().draw("few", (2,)),
            TypeError,
            "draw: n: got 'few', expected a whole number",
        ),
        (
            lambda: buffer().draw(3, (5,)),
            ShapeError,
            (
                r"draw: shape: got \(5,\), expected that of the kept chains, "
                r"\(2,\)"
            ),
        ),
        (
            lambda: samplers.ReplayBuffer(8).draw(3, (2.5,)),
            ValueError,
            r"draw: shape: got 2\.5, expected a whole number of at least 1",
        ),
        (
            lambda: samplers.ReplayBuffer(8).draw(3, (-1,)),
            ValueError,
            "draw: shape: got -1, expected a whole number of at least 1",
        ),
        (
            lambda: samplers.ReplayBuffer(8).draw(3, (2**60,)),
            MemoryError,
            (
                r"draw: shape: got \(1152921504606846976,\), too large for 8 "
                "slots"
            ),
        ),
        (
            lambda: samplers.ReplayBuffer(8).draw(3, (2,), dtype="complex64"),
            TypeError,
            "draw: dtype: got 'complex64', expected float32 or float64",
        ),
        (
            lambda: samplers.ReplayBuffer(8).draw(3, (2,), dtype="word"),
            TypeError,
            "draw: dtype: got 'word', expected float32 or float64",
        ),
        (
            lambda: buffer().draw(3, (2,), random_state=0.5),
            TypeError,
            ("key: seed: got float, expected an int, a numpy Generator or None"),
        ),
        (
            lambda: samplers.ReplayBuffer(8, init=lambda rng, shape: np.zeros((3, 5))).draw(
                3, (2,)
            ),
            ShapeError,
            r"init: result: got \(3, 5\), expected finite numbers \(3, 2\)",
        ),
        (
            lambda: samplers.ReplayBuffer(8, init=lambda rng, shape: None).draw(3, (2,)),
            TypeError,
            "init: result: got object, expected numbers",
        ),
        (
            lambda: samplers.ReplayBuffer(
                8, init=lambda rng, shape: np.full(shape, np.nan)
            ).draw(3, (2,)),
            ShapeError,
            r"init: result: got \(3, 2\), expected finite numbers \(3, 2\)",
        ),
    ),
    *cases(
        "ReplayBuffer.put",
        lambda: buffer().put(*buffer().draw(3, (2,), random_state=0)),
        (
            lambda: samplers.ReplayBuffer(8).put([0], np.zeros((1, 2))),
            StateError,
            "put: no chains have been drawn",
        ),
        (
            lambda: buffer().put([8], np.zeros((1, 2))),
            IndexError,
            r"put: slots: got \[8\], expected 0 to 7",
        ),
        (
            lambda: buffer().put([-1], np.zeros((1, 2))),
            IndexError,
            r"put: slots: got \[-1\], expected 0 to 7",
        ),
        (
            lambda: buffer().put([0.5], np.zeros((1, 2))),
            TypeError,
            r"put: slots: got float64 \(1,\), expected integers \(n,\)",
        ),
        (
            lambda: buffer().put([0, 0], np.zeros((2, 2))),
            ValueError,
            r"put: slots: got \[0, 0\], expected each once",
        ),
        (
            lambda: buffer().put([0, 1], np.zeros((1, 2))),
            ShapeError,
            r"put: x: shape \(1, 2\), expected \(2, 2\)",
        ),
        (
            lambda: buffer().put([0], np.zeros((1, 3))),
            ShapeError,
            r"put: x: shape \(1, 3\), expected \(1, 2\)",
        ),
        (lambda: buffer().put([0], "chain"), TypeError, "put: x: got str, expected numbers"),
        (
            lambda: buffer().put([0], np.full((1, 2), np.nan)),
            ValueError,
            "put: x: got NaN or infinity, expected finite numbers",
        ),
    ),
]
