"""Memory: data larger than it, chains in blocks, traces in files."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ebmlib import _core, estimators, networks, samplers


def energy(x):
    return 0.5 * np.sum(x**2, axis=1)


def run(script):
    """What the script prints.  It starts with a limit: 300 MiB more than what is in use.

    RLIMIT_DATA counts private memory and not the pages of a file: a copy of a large file is a
    MemoryError there, and reading it is not.
    """
    head = """
        import resource, sys
        import numpy as np
        from ebmlib import estimators, networks, samplers
        np.ones((300, 300)) @ np.ones((300, 300))  # the threads of BLAS are there from now on
        def anonymous():
            fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
            return int(fields["RssAnon"].split()[0]) << 10
        def in_use():
            fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
            return int(fields["VmData"].split()[0]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (in_use() + (300 << 20),) * 2)
    """
    script = textwrap.dedent(head) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"EBMLIB_NUM_THREADS": "2"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sparse_file(path, shape, dtype):
    """A memory map of zeros that takes no room on the disk, but for what is written."""
    with open(path, "wb") as file:
        file.truncate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    return np.memmap(path, dtype, "r+", shape=shape)


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")


@needs_proc
def test_the_limit_of_these_tests_is_felt(tmp_path):
    sparse_file(tmp_path / "rows", (1 << 30,), "u1")
    script = f"""
        x = np.memmap({str(tmp_path / "rows")!r}, "u1", "r")
        try:
            x.astype(np.float32)
        except MemoryError:
            print("felt")
    """
    assert run(script) == "felt\n"


@needs_proc
def test_training_reads_rows_where_they_lie(tmp_path):
    # 8 GiB of bytes: images 64 x 64.  The permutation takes 12 bytes a row, 24 MiB, which
    # come and go.
    shape = (1 << 21, 64 * 64)
    sparse_file(tmp_path / "rows", shape, "u1")
    script = f"""
        x = np.memmap({str(tmp_path / "rows")!r}, "u1", "r", shape={shape})
        est = estimators.PCD(networks.MLP((8,)), samplers.Langevin(n_steps=2), max_steps=20,
                             buffer_size=200, batch_size=64, random_state=0)
        est.fit(x)
        after_fit = anonymous()
        est.partial_fit(x, n_steps=20)
        print(est.n_steps_, anonymous() - after_fit < 64 << 20)
        e = est.energy(x[:100_000])  # 0.4 GB, as f32 1.6 GB
        print(e.shape, np.ptp(e) == 0)
        print(est.sample(3, init=x[:3]).shape)
    """
    assert run(script) == "40 True\n(100000,) True\n(3, 4096)\n"


@needs_proc
def test_energies_of_a_map_take_flat_memory(tmp_path):
    rows = sparse_file(tmp_path / "rows", (400_000, 512), "f4")  # 0.8 GB
    rows[123_456, 7] = 1.0
    rows.flush()
    script = f"""
        x = np.memmap({str(tmp_path / "rows")!r}, "f4", "r", shape=(400_000, 512))
        est = estimators.CD(networks.MLP((4,)), samplers.Langevin(n_steps=1), max_steps=2,
                            batch_size=32, random_state=0).fit(x)
        before = anonymous()
        e = est.score_samples(x)
        print(anonymous() - before < 16 << 20, np.flatnonzero(e != e[0]).tolist())
        wide = networks.MLP((4,)).bind(256, random_state=0)
        e = wide(x[:, ::2])  # strided, and
        print(e.shape, np.ptp(e) == 0)
        double = networks.MLP((4,)).bind(512, random_state=0, dtype="float64")
        print(double(x).dtype)
    """
    assert run(script) == "True [123456]\n(400000,) True\nfloat64\n"


def test_parts_have_the_bits_of_the_whole(rng, monkeypatch):
    from ebmlib import _rows

    net = networks.MLP((16, 16)).bind(3, random_state=0, dtype=np.float64)
    x = rng.normal(size=(5000, 3)).astype(np.float32)
    whole = net(x)
    monkeypatch.setattr(_rows, "_PART", 3 * 1024)
    assert [part.stop for part in _rows.parts(x)] == [1024, 2048, 3072, 5000]
    np.testing.assert_array_equal(net(x), whole)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_numbers_of_a_map_are_found_where_they_are_read(tmp_path, bad, rng):
    rows = sparse_file(tmp_path / "rows", (1000, 3), "f4")
    rows[:] = rng.normal(size=(1000, 3))
    est = estimators.PCD(
        networks.MLP((8,), activation="tanh"),
        samplers.Langevin(n_steps=2),
        batch_size=10,
        max_steps=100,
        random_state=0,
    )
    est.fit(rows)
    rows[321, 1] = bad
    with pytest.raises(ValueError, match="feed: row 321 of the data: got numbers that are not"):
        est.partial_fit(rows)
    done = est.n_steps_
    assert 100 <= done < 200  # up to the batch with the row
    with pytest.raises(ValueError, match=r"first in row 321"):
        est.energy(rows)
    rows[321, 1] = 0
    assert est.partial_fit(rows).n_steps_ == done + 100
    assert np.isfinite(est.energy(rows)).all()
    # The same where rows are gathered by several threads.
    wide = sparse_file(tmp_path / "wide", (200, 1000), "f4")
    wide[123, 999] = bad
    with pytest.raises(ValueError, match="feed: row 123 of the data"):
        est.set_params(batch_size=200, max_steps=1).fit(wide)
    # What is finite in f64 need not be in f32.
    huge = sparse_file(tmp_path / "huge", (20, 3), "f8")
    huge[:] = 1e300
    with pytest.raises(ValueError, match="not finite in f32"):
        est.fit(huge)


@needs_proc
def test_large_arenas_are_zero_when_new_and_given_back():
    """16 MiB and more come from the system in large pages, and go back there."""
    out = run("""
        import ebmlib as ebm
        def f(x):
            return ebm.repeat(lambda i, y: np.cumsum(y[::-1]) * 0.5, 3, x).sum()
        x = np.full(1 << 21, 1e-7)
        want, before = None, anonymous()
        for _ in range(10):
            got = ebm.jit(lambda x: f(x))(x)
            assert want is None or got == want
            want = got
        print((anonymous() - before) >> 20)
    """)
    assert int(out) < 80


# ---- chains ----------------------------------------------------------------------------------

NETWORKS = [
    (networks.MLP((32, 32)), (3,)),
    (networks.MLP(()), (2,)),
    (networks.MLP((5,)), (1,)),
    (networks.ConvNet((4, 8), kernels=(3,), strides=(2,)), (9, 9, 1)),
    (networks.ConvNet((8,), norm="group"), (6, 6, 3)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", range(len(NETWORKS)))
def test_blocks_of_rows_have_the_same_bits(case, dtype, rng):
    spec, row = NETWORKS[case]
    net = spec.bind(row, random_state=0, dtype=dtype)
    walk = samplers.Langevin(step_size=0.05, n_steps=5)
    for n in (65, 128, 301):
        x0 = rng.normal(size=(n, *row)).astype(dtype)

        def sample(block_rows, x0=x0):
            return walk.sample(
                net, x0, random_state=0, return_trace=True, return_info=True, thin=2,
                block_rows=block_rows,
            )  # fmt: skip

        x, trace, info = sample(10**6)
        for block_rows in (1, 128, 192):
            other_x, other_trace, other_info = sample(block_rows)
            np.testing.assert_array_equal(other_x, x)
            np.testing.assert_array_equal(other_trace, trace)
            for name in info:
                np.testing.assert_array_equal(other_info[name], info[name])


@pytest.mark.parametrize("columns", [1, 2, 7, 8, 33])
def test_blocks_of_a_function_have_the_same_bits(columns, rng):
    def wave(x):
        return np.sum(np.cos(x), axis=1) + np.exp(-np.abs(x).sum(1))

    x0 = rng.normal(size=(333, columns))
    walk = samplers.Langevin(step_size=0.05, n_steps=4)
    np.testing.assert_array_equal(
        walk.sample(wave, x0, random_state=0, block_rows=64),
        walk.sample(wave, x0, random_state=0),
    )


def test_blocks_are_refused_where_they_would_change_the_result(rng):
    import ebmlib as ebm

    def noisy(x):
        return np.sum(x**2, axis=1) + ebm.random.normal(ebm.random.key(0), (len(x),))

    walk = samplers.Langevin(n_steps=2)
    x0 = rng.normal(size=(100, 2))
    assert walk.sample(noisy, x0).shape == x0.shape
    with pytest.raises(ValueError, match="block: the energy draws random numbers"):
        walk.sample(noisy, x0, block_rows=64)
    with pytest.raises(ValueError, match="block_rows: got 0"):
        walk.sample(energy, x0, block_rows=0)


def test_many_rows_walk_in_blocks_by_themselves():
    net = networks.MLP((128, 128)).bind(2, random_state=0)
    x0 = np.zeros((300_000, 2), np.float32)
    chain = _core.Chain(
        samplers.Langevin()._spec(), net._core, np.float32, x0.shape, 1, block=-1
    )
    assert chain.block % 64 == 0
    assert chain.block < len(x0)
    assert 1 << 23 < chain.bytes < (1 << 24) + (1 << 20)
    few = _core.Chain(samplers.Langevin()._spec(), net._core, np.float32, (50, 2), 1, block=-1)
    assert few.block == 50


@needs_proc
def test_a_million_chains_take_bounded_memory():
    script = """
        net = networks.MLP((64, 64)).bind(2, random_state=0)
        x0 = np.zeros((1_000_000, 2), np.float32)  # whole, the layers take 1 GB
        x = samplers.Langevin(n_steps=1).sample(net, x0, random_state=0)
        print(x.shape, round(float(x.std()), 1))
    """
    assert run(script) == "(1000000, 2) 0.1\n"


@needs_proc
def test_a_trace_may_go_to_a_file(tmp_path):
    script = f"""
        out = np.memmap({str(tmp_path / "trace")!r}, "f8", "w+", shape=(600, 500, 256))
        def energy(x):
            return 0.5 * np.sum(x**2, axis=1)
        before = anonymous()
        walk = samplers.Langevin(step_size=0.1, n_steps=600)
        x, trace = walk.sample(energy, np.zeros((500, 256)), random_state=0,
                               return_trace=True, out=out)
        print(trace is out, anonymous() - before < 32 << 20, (trace[-1] == x).all())
    """
    assert run(script) == "True True True\n"  # 0.6 GB


def test_out_is_exactly_the_trace():
    walk, x0 = samplers.Langevin(n_steps=4), np.zeros((5, 2))
    want = walk.sample(energy, x0, random_state=0, return_trace=True, thin=2)[1]
    out = np.empty((2, 5, 2))
    assert walk.sample(energy, x0, random_state=0, return_trace=True, thin=2, out=out)[1] is out
    np.testing.assert_array_equal(out, want)
    read_only = np.empty((4, 5, 2))
    read_only.flags.writeable = False
    for bad, error, message in (
        (np.empty((4, 5, 2), np.float32), TypeError, "out: .* float64"),
        (np.empty((5, 4, 2)).swapaxes(0, 1), TypeError, "contiguous, writable"),
        (read_only, TypeError, "contiguous, writable"),
        (np.empty((4, 5, 2), ">f8"), TypeError, "contiguous, writable"),
        ([[0.0]], TypeError, "contiguous, writable"),
        (np.empty((4, 5)), ValueError, r"out: shape \(4, 5\), expected \(4, 5, 2\)"),
        (np.empty((3, 5, 2)), ValueError, r"out: shape"),
    ):
        with pytest.raises(error, match=message):
            walk.sample(energy, x0, return_trace=True, out=bad)
    with pytest.raises(ValueError, match="expected return_trace=True with it"):
        walk.sample(energy, x0, out=out)
