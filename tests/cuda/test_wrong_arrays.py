"""Wrong arrays on a device: capsules that lie, processes that lost it, impossible shapes.
Nothing is leaked.  Offsets beyond 2^31 are right.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core, estimators, networks, samplers
from ebmlib import functional as F
from ebmlib.errors import DeviceError, ShapeError

NAMES = ["gpu", "CPU", "", "cuda:0", "cuda:1", "cuda:99", "cuda ", "cuda\0", "cuda-host\0x"]


# ---- names -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_wrong_name_is_told_wherever_one_can_be_given(device, name):
    x = np.zeros((4, 2), np.float32)
    a = ebm.asarray(x, device=device)
    for call in (
        lambda: ebm.device(name),
        lambda: ebm.jit(np.exp, device=name),
        lambda: networks.MLP((3,)).bind(2, device=name),
        lambda: networks.MLPGenerator(2, (3,)).bind(2, device=name),
        lambda: samplers.Langevin().sample(lambda x: np.sum(x, axis=1), x, device=name),
        lambda: estimators.CD(device=name).fit(x),
        lambda: ebm.asarray(x, device=name),
        lambda: ebm.asarray(a, device=name),
        lambda: ebm.Array(x, name),
        lambda: a.to(name),
        lambda: _core.set_device(name),
    ):
        with pytest.raises(ValueError, match=r"device: got .*, expected cpu or cuda"):
            call()
    np.testing.assert_array_equal(a.numpy(), x)


# ---- capsules --------------------------------------------------------------------------------
class Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("kind", ctypes.c_int32),
        ("number", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class Producer:
    """Another library's array, at an address, as its capsule says; ``deleted`` counts."""

    def __init__(self, device, address, shape, strides=None, code=1, bits=8, **wrong):
        self.place = (2 if device == "cuda" else 12, 0)
        self.deleted = 0

        @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        def delete(_):
            self.deleted += 1

        def words(numbers):
            return (ctypes.c_int64 * len(numbers))(*numbers)

        self.kept = delete, words(shape), strides and words(strides)
        given = {
            "data": address,
            "kind": self.place[0],
            "rank": len(shape),
            "code": code,
            "bits": bits,
            "lanes": 1,
            "shape": self.kept[1],
            "strides": self.kept[2],
            "deleter": ctypes.cast(delete, ctypes.c_void_p),
        }
        self.tensor = Tensor(**given | wrong)

    def __dlpack_device__(self):
        return self.place

    def __dlpack__(self, *, stream=None, max_version=None):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return new(ctypes.addressof(self.tensor), b"dltensor", None)


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((2,), {"kind": 1}, DeviceError, r"memory of device \(1, 0\), expected cuda"),
        ((2,), {"number": 1}, DeviceError, r"memory of device \(\d+, 1\), expected cuda"),
        ((2,), {"code": 5, "bits": 64}, TypeError, "type code 5 of 64 bits"),
        ((2,), {"bits": 16}, TypeError, "type code 1 of 16 bits"),
        ((2,), {"lanes": 4}, TypeError, "type code 1 of 8 bits"),
        ((1,) * 9, {}, ValueError, "got 9 axes, expected at most 8"),
        ((2,), {"rank": -1}, ValueError, "got -1 axes"),
        ((3, -1), {}, ShapeError, r"impossible shape \(3, -1\)"),
        ((2**21, 2**20), {}, ShapeError, "impossible shape"),
        ((2**40, 2**40, 2**40), {}, ShapeError, "impossible shape"),
    ],
)
def test_a_capsule_that_cannot_be_taken_stays_its_owner_s(
    device, shape, options, error, message
):
    memory = np.arange(6, dtype=np.uint8)
    for _ in range(2):
        producer = Producer(device, memory.ctypes.data, shape, **options)
        with pytest.raises(error, match=f"from_dlpack: .*{message}"):
            ebm.from_dlpack(producer)
        gc.collect()
        assert producer.deleted == 0


def test_devices_of_other_numbers_are_refused_before_anything_is_asked_of_them(device):
    class Second:
        def __dlpack__(self, **options):
            raise AssertionError

        def __dlpack_device__(self):
            return (2, 1)

    for call in (ebm.from_dlpack, ebm.asarray, ebm.jit(np.exp, device=device)):
        with pytest.raises(
            DeviceError, match=r"got device \(2, 1\), expected the CPU or cuda:0"
        ):
            call(Second())


@pytest.mark.parametrize("stream", [0, -2, 1.5, "s", True, 2**63, 2**70], ids=str)
def test_streams_that_are_none(device, stream):
    a = ebm.asarray(np.zeros(2), device=device)
    with pytest.raises(ValueError, match=r"stream: got .*, expected None, -1, 1, 2 or"):
        a.__dlpack__(stream=stream)


# ---- a device that is gone -------------------------------------------------------------------
def run(device: str, program: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            f"device = {device!r}\n{textwrap.dedent(program)}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_forked_process_has_lost_the_device(device):
    """All that it can do with arrays is to let go of them; its parent does not notice."""
    program = """
        import gc, os, numpy as np, ebmlib as ebm
        from ebmlib import networks

        net = networks.MLP((3,)).bind(2, random_state=0, device=device)
        x = np.ones((4, 2), np.float32)
        a = ebm.asarray(x, device=device)
        double = ebm.jit(lambda x: 2 * x)
        want = [net(x), double(a).numpy(), double(a).numpy(), double(a).numpy()]
        child = os.fork()
        if child == 0:
            calls = (
                a.numpy, lambda: a[:, ::2].numpy(), lambda: a.to("cpu"), a.__dlpack__,
                lambda: double(a), lambda: net(x), lambda: ebm.asarray(x, device=device),
            )
            said = set()
            for call in calls:
                try:
                    call()
                except ebm.errors.DeviceError as error:
                    said.add(str(error))
                else:
                    said.add("no error")
            print(*said, sep="\\n", flush=True)
            np.testing.assert_array_equal(ebm.jit(np.exp)(np.zeros(2)), 1)
            del a, net, double
            gc.collect()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        for y, z in zip(want, [net(x), *(double(a).numpy() for _ in "123")]):
            np.testing.assert_array_equal(y, z)
        print("right")
    """
    said, right = run(device, program).splitlines()
    assert said == (
        f"device '{device}': a forked process cannot use what its parent has opened: start "
        "processes with 'spawn'"
    )
    assert right == "right"


def test_arrays_outlive_the_interpreter(device):
    """Held by modules, cycles, threads and functions that run at the very end."""
    program = """
        import atexit, sys, threading, numpy as np, ebmlib as ebm
        a = ebm.asarray(np.ones(3), device=device)
        cycle = [a[1:]]
        cycle.append(cycle)
        sys.kept = a * 2
        class Last:
            def __del__(self, a=a):
                assert a.shape == (3,)
        sys.last = Last()
        atexit.register(lambda: print(np.asarray(a + 1).sum()))
        threading.Thread(target=lambda held=[a + 2]: None).start()
        capsule = a.__dlpack__()
    """
    assert run(device, program) == "6.0\n"


# ---- sizes -----------------------------------------------------------------------------------
SIZES = [
    (2**41, ShapeError, "impossible shape"),
    (2**62, ShapeError, "impossible shape"),
    (2**63, ValueError, "got 9223372036854775808, expected numbers below"),
    (2**100, ValueError, "expected numbers below"),
]


@pytest.mark.parametrize(
    ("n", "error", "message"), SIZES, ids=["2^41", "2^62", "2^63", "2^100"]
)
def test_shapes_beyond_all_memory(device, n, error, message):
    a = ebm.asarray(np.ones(1, np.float32), device=device)
    functions = (
        lambda x: np.broadcast_to(x, (n,)) + 1,
        lambda x: np.sum(np.broadcast_to(x, (3, n))),
        lambda x: ebm.random.normal(ebm.random.key(0), (n,)) + x,
    )
    for f in functions:
        with pytest.raises(error, match=message):
            ebm.jit(f)(a)
    assert a.numpy() == 1


def test_arrays_beyond_the_memory_of_the_device(device):
    """2^40 elements are a shape, but of 4 TiB: what was held is given back."""
    a = ebm.asarray(np.ones(1 << 20, np.float32), device=device)
    column = ebm.jit(lambda x: np.broadcast_to(x[:1], (1 << 40,)) + 1)
    outer = ebm.jit(lambda x: x[:, None] * x[None, :] + 1)
    product = ebm.jit(lambda x: x[:, None] @ x[None, :])
    loop = ebm.jit(lambda x: ebm.repeat(lambda i, x: (x + i, x), 1 << 20, x, stack=True))

    def use() -> None:
        for f in (column, outer, product, loop):
            with pytest.raises(MemoryError, match=r"asked for \d+ bytes, \d+ of \d+ are free"):
                f(a)
        gc.collect()

    use()
    live = _core.testing.alloc_live()
    use()
    assert _core.testing.alloc_live() == live
    np.testing.assert_array_equal(ebm.jit(lambda x: x[:9] + 1)(a).numpy(), 2)


def test_slices_of_views_with_more_than_2_to_the_31_elements(device):
    a = ebm.asarray(np.arange(3.0, dtype=np.float32), device=device)
    view = a._view(0, (2**33 + 5, 3), (0, 1))
    assert view.size == 3 * (2**33 + 5)
    assert view.nbytes == 12 * (2**33 + 5)
    assert len(view) == 2**33 + 5
    np.testing.assert_array_equal(view[2**33 + 2 :, ::-1].numpy(), [[2, 1, 0]] * 3)
    np.testing.assert_array_equal((view[-2:] + view[: 2**32 : 2**31]).numpy(), [[0, 2, 4]] * 2)
    with pytest.raises(IndexError, match="got 8589934597"):
        view[2**33 + 5]
    with pytest.raises(MemoryError):
        view.numpy()


def test_offsets_beyond_2_to_the_31(device):
    """Of 12 GiB of addresses, of which a few pages are there."""
    if device == "cuda":
        pytest.skip("memory of the host; a card has pages for all of it")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    try:
        memory = mmap.mmap(-1, 12 << 30, flags=flags)
    except (OSError, ValueError) as error:
        pytest.skip(f"no such addresses here: {error}")
    values = np.frombuffer(memory, np.uint8)
    rows, step = 5, (2**31 + 7)
    want = np.arange(2 * rows, dtype=np.uint8).reshape(rows, 2) + 1
    for r in range(rows):
        values[r * step : r * step + 2] = want[r]
    producer = Producer(device, values.ctypes.data, (rows, 2), (step, 1))
    a = ebm.from_dlpack(producer)
    for key in (np.s_[:], np.s_[::-1], np.s_[3:, ::-1], np.s_[:, 1], np.s_[::3, None]):
        np.testing.assert_array_equal(a[key].numpy(), want[key])
        np.testing.assert_array_equal((a[key].to("cpu")), want[key])
        np.testing.assert_array_equal((a[key] + a[key]).numpy(), 2 * want[key])
    del a
    gc.collect()
    assert producer.deleted == 1
    del values
    memory.close()


PLACES = {
    "argmax": lambda x, i: np.argmax(np.broadcast_to(x, (3, 2**31)), axis=1),
    "argsort": lambda x, i: np.sort(np.broadcast_to(x, (2**31,))),
    "window_argmax": lambda x, i: F.max_pool(np.broadcast_to(x, (1, 2**16, 2**15, 1)), 2),
    "put": lambda x, i: F.put(
        np.broadcast_to(x, (5, 1)), np.broadcast_to(i, (2**31,)), np.broadcast_to(x, (2**31, 1))
    ),
    "scatter_add": ebm.grad(lambda x, i: np.sum(x[np.broadcast_to(i, (2**31,))])),
}


@pytest.mark.parametrize("op", PLACES)
@pytest.mark.parametrize("where", ["cpu", "device"])
def test_more_places_than_an_i32_tells_apart(where, op, request):
    name = request.getfixturevalue("device") if where == "device" else "cpu"
    x, i = np.ones(1, np.float32), np.zeros(1, np.int32)
    with pytest.raises(ShapeError, match=rf"{op}: got 2147483648 places, expected less"):
        ebm.jit(PLACES[op], device=name)(x, i)
