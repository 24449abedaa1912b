"""Random draws against Philox4x32-10 written out in NumPy, and against their distributions.

The statistical tests have fixed seeds: they cannot fail by chance once they have passed; their
thresholds are five standard errors, a false-alarm rate of 6e-7 a comparison for a fresh seed.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core
from tests.ops.table import OPS_DEF, ops

HEADER = (OPS_DEF.parents[1] / "formulas" / "philox.h").read_text()


def philox(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Salmon et al. 2011, ten rounds: counters (n, 4) uint32 -> (n, 4) uint32."""
    c = [column.astype(np.uint64) for column in counter.T]
    k = [np.uint64(word) for word in key]
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [
            (p1 >> np.uint64(32)) ^ c[1] ^ k[0],
            p1 & low,
            (p0 >> np.uint64(32)) ^ c[3] ^ k[1],
            p0 & low,
        ]
        k = [(k[0] + np.uint64(0x9E3779B9)) & low, (k[1] + np.uint64(0xBB67AE85)) & low]
    return np.stack(c, 1).astype(np.uint32)


def tag(name: str) -> int:
    """The value of a tag in the shared header."""
    found = re.search(rf"\b{name}\s*=\s*(0x[0-9a-fA-F]+|\d+)", HEADER)
    assert found, f"philox.h names no {name}"
    return int(found[1], 0)


def words(key: np.ndarray, purpose: int, kind: int, n: int) -> np.ndarray:
    """Element e is word (e / 16) % 4 of counter block e / 64 * 16 + e % 16."""
    e = np.arange(n)
    block = e // 64 * 16 + e % 16
    counter = np.zeros((n, 4), np.uint32)
    counter[:, 0], counter[:, 2], counter[:, 3] = block, purpose, kind
    return philox(counter, key)[e, e // 16 % 4]


def unit(bits: np.ndarray) -> np.ndarray:
    """(x >> 8) 2^-24 + 2^-25, rounded once: never 0; 1 for the largest word."""
    return ((bits >> np.uint32(8)).astype(np.float64) * 2.0**-24 + 2.0**-25).astype(np.float32)


KEY = np.array([123456789, -987654321], np.int32)


def draw(build, *arrays):
    graph = _core.Graph()
    nodes = [graph.input(None, a.dtype, a.shape, False) for a in arrays]
    (value,) = _core.Plan(graph, [build(graph, *nodes)])(*arrays)
    return value


def test_reference_knows_the_published_answer():
    got = philox(np.zeros((1, 4), np.uint32), np.zeros(2, np.uint32))
    assert [f"{w:08x}" for w in got[0]] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 1000, 70_001])
def test_bits(n):
    got = draw(lambda g, k: ops.random_bits(g, k, 5, (n,)), KEY)
    want = words(KEY.view(np.uint32), 5, tag("EBM_PHILOX_BITS"), n)
    np.testing.assert_array_equal(got.view(np.uint32), want)


def test_uniform_and_randint_are_functions_of_the_bits():
    bits = draw(lambda g, k: ops.random_bits(g, k, 9, (501, 3)), KEY).view(np.uint32)
    uniform = draw(lambda g, k: ops.uniform(g, k, 9, "float32", (501, 3)), KEY)
    below_one = np.nextafter(np.float32(1), np.float32(0))
    np.testing.assert_array_equal(uniform, np.minimum(unit(bits), below_one))
    integers = draw(lambda g, k: ops.randint(g, k, 9, 77, (501, 3)), KEY)
    np.testing.assert_array_equal(integers, (bits.astype(np.uint64) * 77) >> np.uint64(32))


def test_normal_is_box_muller_of_its_words():
    n = 100_000
    got = draw(lambda g, k: ops.normal(g, k, 3, "float32", (n,)), KEY)
    w = words(KEY.view(np.uint32), 3, tag("EBM_PHILOX_NORMAL"), 64 * (n // 64 + 1))
    w = w.reshape(-1, 4, 16).astype(np.float64)
    want = np.empty_like(w)
    for pair in (0, 2):
        u = unit(w[:, pair].astype(np.uint32)).astype(np.float64)
        radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * w[:, pair + 1] * 2.0**-32
        want[:, pair], want[:, pair + 1] = radius * np.cos(angle), radius * np.sin(angle)
    np.testing.assert_allclose(got, want.reshape(-1)[:n], atol=2e-6)


def test_draws_are_the_same_in_both_float_types():
    for op in ("normal", "uniform"):
        single = draw(lambda g, k, op=op: getattr(ops, op)(g, k, 1, "float32", (300,)), KEY)
        double = draw(lambda g, k, op=op: getattr(ops, op)(g, k, 1, "float64", (300,)), KEY)
        np.testing.assert_array_equal(single.astype(np.float64), double)


def test_fold_in():
    for data in (0, 1, -1, 2**31 - 1):
        got = draw(lambda g, k, d: ops.fold_in(g, k, d), KEY, np.array(data, np.int32))
        counter = np.array([[data & 0xFFFFFFFF, 0, 0, tag("EBM_PHILOX_FOLD_IN")]], np.uint32)
        want = philox(counter, KEY.view(np.uint32))[0, :2]
        np.testing.assert_array_equal(got.view(np.uint32), want)


def test_purposes_and_keys_give_unrelated_draws():
    n = 20_000
    draws = [
        draw(lambda g, k, p=p: ops.normal(g, k, p, "float64", (n,)), KEY + np.int32(shift))
        for p in (0, 1)
        for shift in (0, 1)
    ]
    correlation = np.corrcoef(draws) - np.eye(4)
    assert np.max(np.abs(correlation)) < 5 / np.sqrt(n)


def test_moments():
    n = 1_000_000
    x = draw(lambda g, k: ops.normal(g, k, 0, "float64", (n,)), KEY)
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(x**power) - mean) < 5 * np.sqrt(variance / n)
    beyond = np.mean(np.abs(x) > 3)
    assert abs(beyond - 0.0026998) < 5 * np.sqrt(0.0027 / n)
    u = draw(lambda g, k: ops.uniform(g, k, 0, "float64", (n,)), KEY)
    assert u.min() > 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 5 * np.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / n)


def test_a_key_has_two_words():
    for draw in (ebm.random.normal, ebm.random.uniform, ebm.random.bits, ebm.random.randint):
        for bad in (np.zeros(3, np.int32), np.zeros((2, 2), np.int32), np.int32(0)):
            with pytest.raises(
                ebm.errors.ShapeError, match=r"key: got shape .*, expected \(2,\)"
            ):
                draw(bad, (4,))
    with pytest.raises(ebm.errors.ShapeError, match="key: got shape"):
        ebm.random.fold_in(np.zeros(3, np.int32), 1)
