"""The profile of plans."""

import threading

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib.errors import StateError


def test_counts_kernels_flops_and_bytes():
    f = ebm.jit(lambda x, w: np.exp(x @ w))
    x, w = np.ones((8, 16), np.float32), np.ones((16, 4), np.float32)
    f(x, w)
    with ebm.profile() as profile:
        for _ in range(3):
            f(x, w)
    f(x, w)
    rows = {row.name.split()[0]: row for row in profile.rows()}
    assert rows["matmul"].calls == rows["region"].calls == 3
    assert rows["matmul"].flops == 3 * 2 * 8 * 16 * 4
    assert rows["matmul"].bytes == 3 * 4 * (8 * 16 + 16 * 4 + 8 * 4)
    assert rows["region"].flops == 3 * 8 * 4
    assert 0 < rows["matmul"].seconds < profile.seconds
    assert "exp" in rows["region"].name


def test_groups():
    f = ebm.jit(lambda x: np.exp(x).sum(0))
    g = ebm.jit(lambda x: np.exp(x[:2]).sum(0))
    with ebm.profile() as profile:
        f(np.ones((4, 3)))
        g(np.ones((4, 3)))
    assert {row.name for row in profile.rows("op")} == {"region", "sum"}
    assert [row.calls for row in profile.rows("plan")] == [2, 2]
    assert len(profile.rows()) == 4
    with pytest.raises(ValueError, match="rows: by: got 'day'"):
        profile.rows("day")


def test_table_has_peaks():
    with ebm.profile() as profile:
        ebm.jit(np.exp)(np.ones(10))
    flops, moved = profile.peak
    assert flops > 1e8
    assert moved > 1e7
    assert "GFLOP/s" in profile.table()
    assert "region exp" in repr(profile)
    assert repr(ebm.profile()) == "<Profile: nothing ran>"


def test_one_at_a_time():
    with ebm.profile(), pytest.raises(StateError, match="another one is on"), ebm.profile():
        pass
    with ebm.profile():
        pass


def test_counts_of_all_threads_and_after_the_end():
    f = ebm.jit(lambda x: x * 2 + 1)
    f(np.ones(1000))

    def work(f):
        for _ in range(50):
            f(np.ones(1000))

    with ebm.profile() as profile:
        workers = [threading.Thread(target=work, args=(f,)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    del f
    (row,) = profile.rows()
    assert row.calls == 200
