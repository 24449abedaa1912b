"""Random programs: what a device plans and runs is what the CPU computes node by node.

Everything is float64, so that another order of sums shows far below the tolerance.
"""

from __future__ import annotations

import numpy as np
import pytest

from ebmlib import _core

ops = _core.ops
PROGRAMS = 150
SHAPES = [(5,), (4, 5), (3, 4, 5), (33,), (2, 33)]


class Program:
    """A graph that grows by random ops over the values it has."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = _core.Graph()
        self.inputs: list[np.ndarray] = []
        self.values: list = []
        for shape in SHAPES:
            for _ in range(2):
                self.inputs.append(self.rng.uniform(-1, 1, shape))
                k = len(self.inputs)
                self.values.append(self.graph.input(f"x{k}", np.float64, shape, False))
        self.inputs.append(self.rng.integers(0, 2**31, 2).astype(np.int32))
        self.key = self.graph.input("key", np.int32, (2,), False)
        for purpose in range(self.rng.integers(6, 25)):
            self.grow(purpose)
        self.outs = [self.values[k] for k in self.rng.integers(0, len(self.values), 4)]
        self.outs.append(self.values[-1])

    def pick(self, fits=lambda value: True):
        found = [value for value in self.values if fits(value)]
        return found[self.rng.integers(len(found))] if found else None

    def grow(self, purpose: int) -> None:
        kinds = [self.one, self.one, self.two, self.two, self.reduced, self.moved, self.looped]
        kinds += [self.drawn, self.multiplied, self.derived]
        value = kinds[self.rng.integers(len(kinds))](purpose)
        if value is not None:
            self.values.append(value)

    def one(self, _):
        op = self.rng.choice(["tanh", "sigmoid", "sin", "neg", "softplus", "abs"])
        return getattr(ops, op)(self.graph, self.pick())

    def two(self, _):
        a = self.pick()
        b = self.pick(lambda value: value.shape == a.shape)
        op = self.rng.choice(["add", "sub", "mul", "maximum"])
        return ops.tanh(self.graph, getattr(ops, op)(self.graph, a, b))

    def reduced(self, _):
        a = self.pick(lambda value: len(value.shape) > 1)
        total = ops.sum(self.graph, a, (int(self.rng.integers(len(a.shape))),), True)
        return ops.tanh(
            self.graph, ops.sub(self.graph, a, ops.broadcast_to(self.graph, total, a.shape))
        )

    def moved(self, _):
        a = self.pick(lambda value: len(value.shape) == 3)
        if self.rng.random() < 0.5:
            back = ops.permute(self.graph, a, (2, 0, 1))
            return ops.permute(self.graph, ops.sin(self.graph, back), (1, 2, 0))
        return ops.cumsum(self.graph, a, int(self.rng.integers(3)), bool(self.rng.integers(2)))

    def drawn(self, purpose):
        shape = SHAPES[self.rng.integers(len(SHAPES))]
        return ops.normal(self.graph, self.key, purpose, np.float64, shape)

    def multiplied(self, _):
        a = self.pick(lambda value: value.shape == (4, 5))
        b = self.pick(lambda value: value.shape == (3, 4, 5))
        b = ops.reshape(self.graph, b, (12, 5))
        product = ops.matmul_ex(self.graph, a, b, False, True)
        return ops.tanh(self.graph, ops.matmul(self.graph, product, b))

    def derived(self, _):
        a = self.pick()
        mark = ops.mark(self.graph, a)
        y = ops.sum(
            self.graph, ops.tanh(self.graph, ops.mul(self.graph, mark, mark)), None, False
        )
        return self.graph.vjp([y], None, [mark])[0]

    def looped(self, _):
        a = self.pick()
        b = self.pick(lambda value: value.shape == a.shape)
        n = int(self.rng.integers(0, 5))
        body, _, (x,), _ = self.graph.repeat_open(n, [a], [])
        x = ops.tanh(body, ops.add(body, x, body.lift(b)))
        (last,), _ = body.repeat_close([x], [], False)
        return last


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_a_program_computes_the_same_there(device, seed):
    p = Program(seed)
    want = _core.Plan(p.graph, p.outs, fuse=False, device="cpu")(*p.inputs)
    plan = _core.Plan(p.graph, p.outs, device=device)
    alone = _core.Plan(p.graph, p.outs, fuse=False, device=device)(*p.inputs)
    for _ in range(3):  # as it stands, recorded, replayed
        got = plan(*p.inputs)
        for a, b, c in zip(got, want, alone, strict=True):
            assert a.tobytes() == c.tobytes()
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
