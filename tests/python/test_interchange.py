"""Arrays of other libraries, in and out: every public call that takes data takes them all."""

from __future__ import annotations

import array
import ctypes

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import estimators, networks, samplers
from ebmlib._interchange import as_array
from ebmlib._rows import check_rows

ROWS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def energy(x):
    return 0.5 * np.sum(x**2, axis=1)


class OnlyDLPack:
    """An array of a library that knows DLPack alone."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self, **options):
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


class OnlyArray:
    def __init__(self, x):
        self.x = x

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.x, dtype)


def as_torch(x):
    return pytest.importorskip("torch").from_numpy(x)


def as_jax(x):
    return pytest.importorskip("jax").numpy.asarray(x)


def as_frame(x):
    return pytest.importorskip("pandas").DataFrame(x)


def as_ctypes(x):
    return np.ctypeslib.as_ctypes(x)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def strided(x):
    wide = np.zeros((len(x), 2 * x.shape[1] + 1), x.dtype)
    wide[:, 1::2] = x
    return wide[:, 1::2]


# What is read where it lies, and what is copied.
ZERO_COPY = {
    "numpy": lambda x: x,
    "read_only": read_only,
    "memoryview": memoryview,
    "ctypes": as_ctypes,
    "dlpack": OnlyDLPack,
    "__array__": OnlyArray,
    "torch": as_torch,
    "jax": as_jax,
}
COPIED = {
    "list": lambda x: x.tolist(),
    "tuple of rows": tuple,
    "fortran": np.asfortranarray,
    "negative strides": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "strided": strided,
    "big-endian": lambda x: x.astype(">f4"),
    "f64": lambda x: x.astype(np.float64),
    "longdouble": lambda x: x.astype(np.longdouble),
    "frame": as_frame,
    "torch f64": lambda x: as_torch(x).double(),
    "torch transposed": lambda x: as_torch(np.ascontiguousarray(x.T)).T,
}
ALL = ZERO_COPY | COPIED


def address(x):
    return x.__array_interface__["data"][0]


@pytest.mark.parametrize("kind", ZERO_COPY)
def test_what_fits_is_read_where_it_lies(kind):
    given = ZERO_COPY[kind](ROWS)
    rows = as_array(given, "x")
    np.testing.assert_array_equal(rows, ROWS)
    # Reading twice gives the same memory: the giver's own.
    assert address(rows) == address(as_array(given, "x")) == address(check_rows(given, "PCD"))
    if kind not in ("read_only", "jax"):
        assert address(rows) == address(ROWS)


@pytest.fixture(scope="module")
def fitted():
    return estimators.PCD(
        networks.MLP((8,)), samplers.Langevin(n_steps=2), max_steps=3, random_state=0
    ).fit(ROWS)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("kind", ALL)
def test_every_call_takes_every_array(kind, fitted):
    given = ALL[kind](ROWS)
    net, walk = fitted.energy_, samplers.Langevin(n_steps=3)
    np.testing.assert_array_equal(net(given), net(ROWS))
    np.testing.assert_array_equal(fitted.energy(given), fitted.energy(ROWS))
    np.testing.assert_array_equal(fitted.score_samples(given), fitted.score_samples(ROWS))
    np.testing.assert_array_equal(
        fitted.sample(40, 2, init=given), fitted.sample(40, 2, init=ROWS)
    )
    np.testing.assert_array_equal(
        walk.sample(net, given, random_state=0), walk.sample(net, ROWS, random_state=0)
    )
    state, _ = walk.step(net, walk.init(given, random_state=0))
    np.testing.assert_array_equal(state.x, walk.step(net, walk.init(ROWS, 0))[0].x)
    again = estimators.PCD(
        networks.MLP((8,)), samplers.Langevin(n_steps=2), max_steps=2, random_state=0
    )
    again.fit(given, X_val=given).partial_fit(given, n_steps=1)
    np.testing.assert_array_equal(again.energy(ROWS), fitted.energy(ROWS))


@pytest.mark.parametrize(
    "kind", [k for k in ALL if k not in ("list", "tuple of rows", "ctypes")]
)
def test_jit_takes_every_array_but_lists(kind):
    # Lists and tuples are trees of arguments there.
    given = ALL[kind](ROWS)
    if kind == "longdouble":
        with pytest.raises(TypeError, match=r"longdouble|float128"):
            ebm.jit(energy)(given)
        return
    np.testing.assert_allclose(ebm.jit(energy)(given), energy(ROWS), rtol=1e-5)
    np.testing.assert_allclose(ebm.grad(lambda x: np.sum(energy(x)))(given), ROWS, rtol=1e-6)


@pytest.mark.parametrize("kind", ["numpy", "list", "torch", "jax", "f64", "memoryview"])
def test_parameters_and_arguments_take_every_array(kind):
    net = networks.MLP((4,)).bind(3, random_state=0)
    w = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    net.set_parameters({"l0.w": ALL[kind](w)})
    np.testing.assert_array_equal(net.parameters()["l0.w"], w)
    if kind in ("list", "memoryview"):
        return
    walk = samplers.Langevin(step_size=0.5, noise=0.0, n_steps=1)
    x = walk.sample(
        lambda x, m: 0.5 * np.sum((x - m) ** 2, axis=1), ROWS, args=(ALL[kind](ROWS),)
    )
    np.testing.assert_array_equal(x, ROWS)


def test_flat_buffers_are_flat_arrays():
    flat = array.array("d", [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(ebm.jit(np.square)(flat), [1, 4, 9])
    assert address(as_array(flat, "x")) == flat.buffer_info()[0]
    np.testing.assert_array_equal(as_array((ctypes.c_float * 2)(1, 2), "x"), [1, 2])
    np.testing.assert_array_equal(as_array(bytearray(b"\x01\x02"), "x"), [1, 2])


@pytest.mark.parametrize("dtype", ["f2", "i1", "i8", "u2", "u8", "?"])
def test_other_numbers_are_converted(dtype, fitted):
    rows = (ROWS > 0).astype(dtype)
    want = rows.astype(np.float32)
    net, walk = fitted.energy_, samplers.Langevin(n_steps=2)
    np.testing.assert_array_equal(net(rows), net(want))
    np.testing.assert_array_equal(fitted.energy(rows), fitted.energy(want))
    x = walk.sample(energy, rows, random_state=0)
    # Chains of a function: float32 from float16 and float32, else float64.
    assert x.dtype == (np.float32 if dtype == "f2" else np.float64)
    np.testing.assert_array_equal(x, walk.sample(energy, rows.astype(x.dtype), random_state=0))


def test_empty_and_scalar_data(fitted):
    net, walk = fitted.energy_, samplers.Langevin(n_steps=2)
    assert net(np.zeros((0, 3))).shape == (0,)
    assert walk.sample(energy, np.zeros((0, 3))).shape == (0, 3)
    x, trace, info = walk.sample(energy, np.zeros((0, 3)), return_trace=True, return_info=True)
    assert (x.shape, trace.shape, info["energy"].shape) == ((0, 3), (2, 0, 3), (2, 0))
    with pytest.raises(ValueError, match=r"got a scalar, expected rows \(N, 3,?\)"):
        net(1.0)
    with pytest.raises(ValueError, match="got a scalar, expected rows"):
        walk.sample(energy, 1.0)


def bad_arrays():
    cases = {
        "text": ("rows", "got str"),
        "bytes": (b"rows", "got bytes"),
        "objects": (np.array([[None, 1.0, 2.0]]), "object"),
        "strings": (np.array([["a", "b", "c"]]), "<U1"),
        "complex": (ROWS + 1j, "[Cc]omplex"),
        "dates": (np.zeros((2, 3), "M8[s]"), "datetime64"),
        "nothing": (None, "object|NoneType|got"),
        "dict": ({"a": 1}, "object|dict|got"),
        "masked": (np.ma.masked_invalid(ROWS), "masked array, expected one without a mask"),
    }
    scipy_sparse = pytest.importorskip("scipy.sparse")
    cases["sparse"] = (scipy_sparse.csr_matrix(ROWS), "Sparse data was passed")
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(ROWS)
    cases["torch grad"] = (tensor.clone().requires_grad_(), r"requires grad.*\.detach\(\)")
    cases["torch bfloat16"] = (tensor.bfloat16(), "Tensor: .*BFloat16")
    cases["torch meta"] = (tensor.to("meta"), "Tensor: .*meta")
    jax = pytest.importorskip("jax")
    cases["jax bfloat16"] = (jax.numpy.asarray(ROWS).astype("bfloat16"), "bfloat16")
    return cases


@pytest.mark.parametrize(
    "kind",
    [
        "text",
        "bytes",
        "objects",
        "strings",
        "complex",
        "dates",
        "nothing",
        "dict",
        "masked",
        "sparse",
        "torch grad",
        "torch bfloat16",
        "torch meta",
        "jax bfloat16",
    ],
)
def test_what_is_no_array_of_numbers_is_refused(kind, fitted):
    given, message = bad_arrays()[kind]
    before = fitted.energy(ROWS)
    calls = [fitted.energy_, lambda x: fitted.energy_.set_parameters({"l0.w": x})]
    if kind != "dict":  # chains over several arrays
        calls += [
            lambda x: samplers.Langevin(n_steps=1).sample(energy, x),
            lambda x: samplers.Langevin(n_steps=1).init(x),
        ]
    for call in calls:
        with pytest.raises(TypeError, match=message):
            call(given)
    # Estimators follow scikit-learn, which has ValueError for text and complex numbers.
    for call in (fitted.energy, fitted.partial_fit, lambda x: fitted.sample(1, init=[x])):
        with pytest.raises((TypeError, ValueError)):
            call(given)
    np.testing.assert_array_equal(fitted.energy(ROWS), before)


def test_results_go_to_other_libraries_without_a_copy(fitted):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    walk = samplers.Langevin(n_steps=2)
    x, trace = walk.sample(energy, ROWS, random_state=0, return_trace=True)
    for result in (x, trace, fitted.energy(ROWS), fitted.sample(3), ebm.jit(energy)(ROWS)):
        tensor = torch.from_dlpack(result)
        assert tensor.data_ptr() == address(result)
        np.testing.assert_array_equal(tensor.numpy(), result)
        np.testing.assert_array_equal(np.asarray(jax.dlpack.from_dlpack(result)), result)
        np.testing.assert_array_equal(np.from_dlpack(result), result)


def test_frames_give_names(fitted):
    frame = as_frame(ROWS).rename(columns={0: "a", 1: "b", 2: "c"})
    est = estimators.CD(networks.MLP((4,)), samplers.Langevin(n_steps=1), max_steps=1)
    assert est.fit(frame).feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(est.energy(frame), est.energy_(ROWS))
    assert not hasattr(est.fit(ROWS), "feature_names_in_")
    est.fit(frame)
    with pytest.raises(ValueError, match="same order as they were in fit"):
        est.energy(frame[["c", "b", "a"]])
    with pytest.raises(ValueError, match="unseen at fit time:\n- z"):
        est.partial_fit(frame.rename(columns={"a": "z"}))
    with pytest.raises(TypeError, match="all input features have string names"):
        est.fit(frame.rename(columns={"a": 7}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        est.energy(ROWS)
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        fitted.energy(frame)
