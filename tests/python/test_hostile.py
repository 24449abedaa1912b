"""Every builder of the core, given anything: a Python error of the right kind, or a value.

What is built is run too, so that an address sanitizer sees it (`make py-asan`).
"""

import numpy as np
import pytest

from ebmlib import _core
from ebmlib._core import ops

ERRORS = (ValueError, TypeError, IndexError, OverflowError, NotImplementedError)
SHAPES = [(), (2,), (3,), (1,), (3, 4), (0, 3), (2, 3, 4), (2, 6, 5, 4), (3, 3, 4, 2)]
HUGE = [2**31 - 1, -(2**31), 2**40, 2**62, -(2**62), 2**63 - 1]
BUILDERS = [name for name in dir(ops) if not name.startswith("_")]


class Arguments:
    """Random arguments by the letters of a builder's signature (csrc/python/builders.def)."""

    def __init__(self, seed, wild):
        self.rng = np.random.default_rng(seed)
        self.wild = wild  # the share of integers that are out of all range
        self.graph = _core.Graph()
        self.nodes, self.arrays = [], []
        for shape in SHAPES:
            for dtype in ("f4", "f8", "i4", "?", "u1"):
                name = f"x{len(self.nodes)}"
                self.nodes.append(self.graph.input(name, dtype, shape, False))
                self.arrays.append((self.rng.random(shape) * 4 - 1).astype(dtype))

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def node(self):
        floats = [x for x in self.nodes if x.dtype == np.float32]
        return self.one_of(*(floats if self.rng.random() < 0.6 else self.nodes))

    def words(self, n):
        low, high = (-2, 5) if self.rng.random() < 0.2 else (0, 4)
        wild = self.rng.random(n) < self.wild
        return tuple(
            int(self.one_of(*HUGE)) if w else int(self.rng.integers(low, high)) for w in wild
        )

    def like_first(self, args):
        rank = args[0].ndim if self.rng.random() < 0.9 else self.rng.integers(0, 5)
        if self.rng.random() < 0.3:
            return tuple(range(rank))
        return (1,) * rank if self.rng.random() < 0.3 else self.words(rank)

    def make(self, signature):
        args = []
        for letter in signature:
            args.append(
                {
                    "r": self.node,
                    "o": lambda: self.one_of(None, self.node()),
                    "R": lambda: [self.node() for _ in range(self.rng.integers(0, 4))],
                    "d": lambda: self.one_of(0.0, 1.0, -1.5, np.inf, np.nan, 1e300),
                    "i": lambda: self.words(1)[0],
                    "b": lambda: bool(self.rng.integers(2)),
                    "t": lambda: self.one_of("f4", "f8", "i4", "?", "u1"),
                    "s": lambda: self.words(self.rng.integers(0, 9)),
                    "m": lambda: self.one_of(None, 0, 1, -1, (0, 1), 7, (0, 0)),
                    "A": lambda: self.like_first(args),
                    "g": lambda: self.one_of((1, 1, 1, 1, 1, 1, 1, 1, 1), self.words(9)),
                    "w": lambda: self.one_of((2, 2, 1, 1, 0, 0), self.words(6)),
                }[letter]()
            )
        return args


def build_and_run(name, given):
    builder = getattr(ops, name)
    try:
        value = builder(given.graph, *given.make(builder.__doc__))
    except ERRORS:
        return False
    if value.size <= 100_000:
        for fuse in (True, False):
            plan = _core.Plan(given.graph, [value], fuse=fuse)
            try:
                (got,) = plan(*given.arrays)
            except IndexError:  # an index out of range
                return True
            assert got.shape == value.shape
    return True


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("wild", [0.0, 0.2])
def test_builder_takes_anything(name, wild):
    for seed in range(20):
        given = Arguments([seed, *name.encode()], wild)
        build_and_run(name, given)
        given.graph.verify()


@pytest.mark.parametrize(
    "shape", [(2**32, 2**32), (2**62, 4, 0), (2**21, 2**20), (2**63 - 1,)], ids=str
)
def test_sizes_that_overflow_are_refused(shape):
    graph = _core.Graph()
    x = graph.input("x", "f4", (1,), False)
    with pytest.raises(ValueError, match="impossible shape"):
        ops.broadcast_to(graph, x, shape)
    with pytest.raises(ValueError, match="impossible shape"):
        _core.Graph().input("x", "f4", shape, False)
    with pytest.raises(ValueError, match=r"impossible shape|they are i32"):
        ops.iota(_core.Graph(), "i4", shape, 0)


def test_a_step_may_not_wrap_around():
    """4 * 2**62 is 0 in 64 bits: the last of 5 places would seem to be the first."""
    graph = _core.Graph()
    x = graph.input("x", "f4", (3,), False)
    with pytest.raises(IndexError, match="slice: axis 0"):
        ops.slice(graph, x, (0,), (2**62,), (5,))
    other = _core.Graph()
    y = other.input("x", "f4", (5,), False)
    with pytest.raises(IndexError, match="pad: axis 0"):
        ops.pad(other, y, (0,), (2**62,), (3,))
