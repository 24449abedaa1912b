"""Arrays on a device: copies, views, NumPy's functions, DLPack."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core
from ebmlib.errors import DeviceError

DTYPES = (np.float32, np.float64, np.int32, np.uint8, np.bool_)


def values(dtype, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, shape).astype(dtype)


# ---- to and fro ------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 4), (2, 0, 3), (5, 1, 2, 3)], ids=str)
def test_a_copy_there_and_back(device, dtype, shape):
    x = values(dtype, *shape)
    a = ebm.asarray(x, device=device)
    assert (a.shape, a.dtype, a.device, a.ndim) == (x.shape, x.dtype, device, x.ndim)
    assert (a.size, a.nbytes) == (x.size, x.nbytes)
    np.testing.assert_array_equal(a.numpy(), x)
    np.testing.assert_array_equal(np.asarray(a), x)
    np.testing.assert_array_equal(a.to("cpu"), x)
    assert a.to(device) is a
    assert ebm.asarray(a) is a


def test_a_copy_is_a_copy(device):
    x = np.zeros(3)
    a = ebm.asarray(x, device=device)
    x[0] = 1
    assert a.numpy()[0] == 0


def test_integers_become_i32_and_other_types_are_refused(device):
    assert ebm.asarray(np.arange(3), device=device).dtype == np.int32
    with pytest.raises(ValueError, match="int32"):
        ebm.asarray(np.array([2**40]), device=device)
    with pytest.raises(TypeError, match="complex"):
        ebm.asarray(np.zeros(2, complex), device=device)


def test_pickle_and_copies_keep_the_device(device):
    a = ebm.asarray(np.arange(6.0).reshape(2, 3), device=device)
    for b in (pickle.loads(pickle.dumps(a)), copy.copy(a), copy.deepcopy(a[:, 1:])):
        assert b.device == device
    np.testing.assert_array_equal(b.numpy(), a.numpy()[:, 1:])


def test_what_an_array_says_and_is(device):
    a = ebm.asarray(np.array([[1.5]]), device=device)
    assert repr(a) == f"array([[1.5]]) on {device}"
    assert float(a) == 1.5
    assert int(a) == 1
    assert bool(a)
    assert a.item() == 1.5
    assert len(a) == 1
    with pytest.raises(TypeError, match="len"):
        len(a[0, 0])
    with pytest.raises(TypeError, match="unhashable"):
        hash(a)


# ---- views -----------------------------------------------------------------------------------
KEYS = [
    np.s_[1],
    np.s_[-1],
    np.s_[:, 2],
    np.s_[..., 0],
    np.s_[1:3],
    np.s_[::-1],
    np.s_[:, ::2, 1:],
    np.s_[5:2:-2, ..., ::-1],
    np.s_[None, 0],
    np.s_[:, None, 1],
    np.s_[2:2],
    np.s_[...],
    np.s_[0, 1, 2],
    np.s_[np.int64(1), -2:],
]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_slices_are_those_of_numpy(device, key, dtype):
    x = np.arange(6 * 4 * 3).reshape(6, 4, 3).astype(dtype)
    view = ebm.asarray(x, device=device)[key]
    assert view.shape == x[key].shape
    np.testing.assert_array_equal(view.numpy(), x[key])
    np.testing.assert_array_equal((view + view).numpy(), x[key] + x[key])


def test_a_view_keeps_its_memory_alive(device):
    view = ebm.asarray(np.arange(1000.0), device=device)[10:13]
    gc.collect()
    for _ in range(20):
        ebm.asarray(np.full(1000, -1.0), device=device)
    np.testing.assert_array_equal(view.numpy(), [10, 11, 12])


def test_iteration_gives_rows(device):
    x = np.arange(6.0).reshape(3, 2)
    rows = [row.numpy() for row in ebm.asarray(x, device=device)]
    np.testing.assert_array_equal(rows, x)


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (6, IndexError, "got 6, expected -6 to 5"),
        (np.s_[0, 0, 0, 0], IndexError, "4 indices for 3 axes"),
        (np.s_[..., ...], IndexError, "two ellipses"),
        ([0, 1], TypeError, "ebm.jit"),
        ("a", TypeError, "got str"),
    ],
)
def test_wrong_indices(device, key, error, message):
    with pytest.raises(error, match=message):
        ebm.asarray(np.zeros((6, 4, 3)), device=device)[key]


# ---- NumPy's functions -----------------------------------------------------------------------
@pytest.mark.parametrize(
    "function",
    [
        lambda a: a + 1,
        lambda a: 2.0 * a - a / 3,
        lambda a: -(a**2),
        lambda a: a > 0.5,
        lambda a: np.exp(a) + np.tanh(a),
        lambda a: np.sum(a, axis=1),
        lambda a: np.mean(a),
        lambda a: np.where(a > 0, a, 0.0),
        lambda a: np.concatenate([a, a], axis=1),
        lambda a: np.transpose(a),
        lambda a: np.sort(a, axis=0),
        lambda a: np.clip(a, -0.5, 0.5),
    ],
)
def test_numpy_runs_there(device, function, rng):
    x = rng.normal(size=(5, 3)).astype(np.float32)
    got = function(ebm.asarray(x, device=device))
    assert isinstance(got, type(ebm.asarray(x, device=device)))
    want = function(x)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-6, atol=1e-6)


def test_an_array_meets_numpy_s(device):
    a = ebm.asarray(np.ones(3, np.float32), device=device)
    b = np.arange(3, dtype=np.float32)
    for got in (a + b, b + a, np.maximum(b, a)):
        assert got.device == device
    np.testing.assert_array_equal((b - a).numpy(), [-1, 0, 1])


def test_an_array_in_a_function_that_is_traced_is_a_constant(device):
    x = np.arange(3.0)
    a = ebm.asarray(x + 1, device=device)
    for f in (lambda y: y - a, lambda y: np.stack([a, y])[0] - y, lambda y: np.subtract(a, y)):
        got = ebm.jit(f, device=device)(x)
        assert got.device == device
        np.testing.assert_array_equal(got.numpy(), np.asarray(f(x)))


def test_out_is_refused(device):
    a, x = ebm.asarray(np.ones(3), device=device), np.zeros(3)
    with pytest.raises(TypeError, match="out: got an array, expected None"):
        np.add(a, a, out=x)
    with pytest.raises(TypeError, match="such as"):
        x += a
    with pytest.raises(TypeError, match="such as"):
        a += x
    with pytest.raises(ValueError, match="copied"):
        np.asarray(a, copy=False)


# ---- DLPack ----------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", [None, (1, 0), (2, 5)], ids=str)
def test_dlpack_both_ways_without_a_copy(device, dtype, version):
    class Old:
        """As a library that asks for a version, or knows of none."""

        def __init__(self, array):
            self.array = array

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

        def __dlpack__(self, *, stream=None, max_version=None):
            return self.array.__dlpack__(stream=stream, max_version=version)

    x = values(dtype, 4, 3)
    a = ebm.asarray(x, device=device)
    b = ebm.from_dlpack(Old(a[1:, ::-1]))
    assert b._address == a[1:, ::-1]._address
    assert b.dtype == x.dtype
    del a
    gc.collect()
    np.testing.assert_array_equal(b.numpy(), x[1:, ::-1])


def test_jit_takes_the_arrays_of_others(device):
    class Foreign:
        def __init__(self, array):
            self.array = array
            self.__dlpack__ = array.__dlpack__
            self.__dlpack_device__ = array.__dlpack_device__

    a = ebm.asarray(np.arange(3.0), device=device)
    got = ebm.jit(lambda x: x * 2)(Foreign(a))
    assert got.device == device
    np.testing.assert_array_equal(got.numpy(), [0, 2, 4])


def test_a_capsule_is_taken_once(device):
    a = ebm.asarray(np.arange(3.0), device=device)
    capsule = a.__dlpack__()
    b = _core.take_dlpack(capsule, device)
    with pytest.raises(ValueError, match="used before"):
        _core.take_dlpack(capsule, device)
    np.testing.assert_array_equal(b.numpy(), [0, 1, 2])


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("version", [None, (1, 0)], ids=str)
def test_a_capsule_lets_go_of_the_array(device, taken, version):
    class Counted(type(ebm.asarray(np.zeros(1), device=device))):
        gone = 0

        def __del__(self):
            Counted.gone += 1

    a = Counted(np.arange(3.0), device)
    capsule = a.__dlpack__(max_version=version)
    held = [_core.take_dlpack(capsule, device)] if taken else []
    del a, capsule
    gc.collect()
    assert Counted.gone == (0 if taken else 1)
    held.clear()
    gc.collect()
    assert Counted.gone == 1


def test_arrays_that_cannot_be_taken(device):
    with pytest.raises(TypeError, match="__dlpack__"):
        ebm.from_dlpack([1.0])
    with pytest.raises(TypeError):
        _core.take_dlpack("capsule", device)
    a = ebm.asarray(np.zeros(2), device=device)
    with pytest.raises(BufferError, match=f"lies on {device}"):
        a.__dlpack__(dl_device=(1, 0))

    class Elsewhere:
        def __dlpack__(self, **options):
            raise AssertionError

        def __dlpack_device__(self):
            return (10, 0)

    with pytest.raises(DeviceError, match="got device"):
        ebm.from_dlpack(Elsewhere())


def test_dlpack_of_the_cpu_is_numpy_s(torch):
    t = torch.arange(3, dtype=torch.float32)
    x = ebm.from_dlpack(t)
    assert isinstance(x, np.ndarray)
    t[0] = 7
    assert x[0] == 7


def test_cuda_array_interface(device):
    a = ebm.asarray(np.zeros((2, 3), np.float32), device=device)
    if device != "cuda":
        with pytest.raises(AttributeError, match="not in CUDA's memory"):
            a.__cuda_array_interface__  # noqa: B018
        return
    interface = a[:, 1:].__cuda_array_interface__
    assert interface["shape"] == (2, 2)
    assert interface["typestr"] == "<f4"
    assert interface["strides"] == (12, 4)
    assert interface["data"] == (a._address + 4, False)


@pytest.mark.gpu
def test_pytorch_on_the_card_both_ways(torch):
    a = ebm.asarray(np.arange(6, dtype=np.float32).reshape(2, 3), device="cuda")
    t = torch.from_dlpack(a * 2)
    assert t.is_cuda
    b = ebm.from_dlpack(t + 1)
    np.testing.assert_array_equal(b.numpy(), 2 * a.numpy() + 1)
    interface = torch.as_tensor(a[:, 1:], device="cuda")
    np.testing.assert_array_equal(interface.cpu().numpy(), a.numpy()[:, 1:])
    np.testing.assert_array_equal(ebm.jit(np.exp)(t).numpy(), np.exp(2 * a).numpy())


@pytest.mark.gpu
def test_streams_of_others_wait_and_are_waited_for(torch):
    """Long work on either side, handed over in the midst of it."""
    x = torch.ones(1 << 22, device="cuda")
    slow = ebm.jit(lambda x: ebm.repeat(lambda i, x: x + 1, 500, x))
    for _ in range(5):
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            y = x.clone()
            for _ in range(500):
                y += 1
            a = slow(ebm.from_dlpack(y))
            back = torch.from_dlpack(a) + 1
        side.synchronize()
        assert torch.all(back == 1002)


@pytest.mark.gpu
def test_a_stream_of_a_second_card_is_waited_for_too(torch):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    a = ebm.asarray(np.ones(8), device="cuda")
    a.__dlpack__(stream=torch.cuda.Stream(device=1).cuda_stream)
    with pytest.raises(DeviceError, match=r"got device \(2, 1\)"):
        ebm.from_dlpack(torch.ones(2, device="cuda:1"))


# ---- memory ----------------------------------------------------------------------------------
def test_out_of_memory_says_what_was_asked_and_is_survived(device):
    if device == "cuda":
        a = ebm.asarray(np.zeros(1), device=device)
        with pytest.raises(MemoryError, match=r"asked for \d+ bytes, \d+ of \d+ are free"):
            ebm.jit(lambda x: np.broadcast_to(x, (1 << 20, 1 << 20)) + 1.0)(a)
        return
    program = """
        import numpy as np, ebmlib as ebm
        kept = ebm.asarray(np.zeros(1 << 20, np.float32), device="cuda-host")
        held = []
        try:
            while True:
                held.append(ebm.asarray(np.zeros(1 << 20, np.float32), device="cuda-host"))
        except MemoryError as error:
            print(error)
        held.clear()
        again = [ebm.asarray(np.zeros(1 << 20, np.float32), device="cuda-host") for _ in "12"]
        print((kept + again[1]).numpy().sum())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "EBMLIB_SHIM_BYTES": str(40 << 20)},
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("cuda: out of memory: asked for 4194304 bytes, ")
    assert first.endswith("of 41943040 are free")
    assert second == "0.0"


def test_memory_is_given_back(device):
    def use() -> None:
        a = ebm.asarray(np.ones((64, 64), np.float32), device=device)
        for _ in range(20):
            a = a * 1.0 + 0.5

    use()
    gc.collect()
    before = _core.testing.alloc_live()
    for _ in range(5):
        use()
    gc.collect()
    assert _core.testing.alloc_live() == before
