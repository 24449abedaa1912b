"""Random numbers in traced functions: keys, sites, loops, moments."""

import numpy as np

import ebmlib as ebm


def test_keys():
    assert ebm.random.key(5).tolist() == [5, 0]
    assert ebm.random.key(-1).tolist() == [-1, -1]
    assert ebm.random.key(2**32).tolist() == [0, 1]
    one, two = (ebm.random.key(np.random.default_rng(3)) for _ in range(2))
    assert one.dtype == np.int32
    assert np.array_equal(one, two)
    assert ebm.random.key(np.random.RandomState(0)).shape == (2,)
    assert not np.array_equal(ebm.random.key(), ebm.random.key())


def test_draws_depend_on_key_and_site_only():
    key = ebm.random.key(0)

    def two(key):
        return ebm.random.normal(key, (5,)), ebm.random.normal(key, (5,))

    a, b = ebm.jit(two)(key)
    assert a.dtype == np.float32
    assert not np.array_equal(a, b)
    assert np.array_equal(a, ebm.random.normal(key, (5,)))
    again = ebm.jit(two)(key)
    assert np.array_equal(a, again[0])
    assert np.array_equal(b, again[1])
    assert not np.array_equal(a, ebm.random.normal(ebm.random.key(1), (5,)))


def test_a_draw_in_repeat_wants_a_folded_key():
    key = ebm.random.key(0)

    def step(i, c):
        return c, (
            ebm.random.normal(key, ()),
            ebm.random.normal(ebm.random.fold_in(key, i), ()),
        )

    _, (same, different) = ebm.repeat(step, 4, 0.0, stack=True)
    assert len(set(same.tolist())) == 1
    assert len(set(different.tolist())) == 4
    # sites are numbered over the whole function, so no site of the body is one of the root

    def f(key):
        first = ebm.random.normal(key, ())
        return first, ebm.repeat(lambda i, c: ebm.random.normal(key, ()), 1, np.float32(0))

    a, b = ebm.jit(f)(key)
    assert a != b


def test_pullback_in_a_repeat_draws_what_the_function_drew():
    def f(x, key):
        noisy = lambda y: np.sum(y * ebm.random.normal(key, (3,), dtype="float64"))  # noqa: E731
        _, pullback = ebm.vjp(noisy, x)
        return pullback(1.0)[0], ebm.repeat(lambda i, c: pullback(c[0])[0], 1, np.ones(3))

    a, b = ebm.jit(f)(np.random.default_rng(1).standard_normal(3), ebm.random.key(0))
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_moments_and_ranges():
    key = ebm.random.key(11)
    n = ebm.random.normal(key, (20_000,), dtype="float64")
    assert abs(n.mean()) < 0.03
    assert abs(n.var() - 1) < 0.04
    u = ebm.random.uniform(key, (20_000,), low=-1, high=3)
    assert u.min() > -1
    assert u.max() < 3
    assert abs(u.mean() - 1) < 0.03
    i = ebm.random.randint(key, (20_000,), -2, 3)
    assert sorted(set(i.tolist())) == [-2, -1, 0, 1, 2]
    counts = np.bincount(i + 2)
    assert (abs(counts - 4000) < 300).all()
    assert ebm.random.bits(key, (3,)).dtype == np.int32


def test_split_keys_are_independent():
    keys = ebm.random.split(ebm.random.key(0), 1000)
    assert keys.shape == (1000, 2)
    assert len({tuple(k) for k in keys.tolist()}) == 1000
    assert np.array_equal(keys[:2], ebm.random.split(ebm.random.key(0)))
    folded = ebm.random.fold_in(ebm.random.key(0), 7)
    assert np.array_equal(folded, ebm.jit(ebm.random.fold_in)(ebm.random.key(0), 7))
