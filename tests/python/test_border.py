"""The extension module itself: conversion, ownership, threads, signals, failing allocations."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core, errors
from ebmlib._core import Graph, Plan, ops, testing

rng = np.random.default_rng(2)


def doubled(dtype="float64", shape=(3,)):
    graph = Graph()
    x = graph.input("x", dtype, shape, False)
    return Plan(graph, [ops.add(graph, x, x)])


# ---- graphs and nodes ------------------------------------------------------------------------


def test_nodes_know_what_they_are():
    graph = Graph()
    x = graph.input("x", np.float32, (2, 3), False)
    y = ops.exp(graph, x)
    assert isinstance(y, ebm.TracedArray)
    assert (y.dtype, y.shape, y.ndim, y.size, y.op) == (
        np.dtype("float32"),
        (2, 3),
        2,
        6,
        "exp",
    )
    assert y.graph is graph
    assert y.ref == ops.exp(graph, x).ref
    assert not y.weak
    assert y.as_weak().weak
    assert graph.parent is None
    assert graph.count == 2
    assert repr(y) == "TracedArray(float32, (2, 3))"
    graph.verify()


def test_inputs_and_captured_arrays():
    graph = Graph()
    x = graph.input("x", "i4", 5, True)
    assert x.weak
    assert graph.input("x", "i4", 5, False).ref == x.ref
    with pytest.raises(errors.StateError, match="input 'x'"):
        graph.input("x", "f4", 5, False)
    array = np.arange(3.0)
    graph.capture(array)
    array[:] = 0  # the graph has a copy
    (name, node, value), (none, _, captured) = graph.inputs
    assert (name, node.ref, value, none) == ("x", x.ref, None, None)
    assert captured.tolist() == [0, 1, 2]
    assert not captured.flags.writeable
    del graph, x, node
    assert captured.sum() == 3


def test_text_goes_round():
    graph = Graph()
    x = graph.input("x", "f8", (4,), False)
    out = ops.sum(graph, ops.square(graph, x), None, False)
    text = graph.print([out])
    again, outs = Graph.parse(text)
    assert again.print(outs) == text
    assert Plan(again, outs)(np.arange(4.0))[0] == 14
    with pytest.raises(ValueError, match=r"\S"):
        Graph.parse("nonsense(")


def test_builders_check_their_arguments():
    graph, other = Graph(), Graph()
    x = graph.input(None, "f8", (2, 3), False)
    y = other.input(None, "f8", (2, 3), False)
    cases = [
        (TypeError, "exp: a graph and 1 arguments", lambda: ops.exp(graph)),
        (TypeError, "a Graph is expected", lambda: ops.exp(x, x)),
        (TypeError, "a traced array is expected, got float", lambda: ops.exp(graph, 1.0)),
        (errors.StateError, "escaped", lambda: ops.add(graph, x, y)),
        (IndexError, "axis 2 of an array with 2 axes", lambda: ops.sum(graph, x, 2, False)),
        (ValueError, "axis -1 twice", lambda: ops.sum(graph, x, (1, -1), False)),
        (ValueError, "2 numbers are expected, got 1", lambda: ops.permute(graph, x, [0])),
        (ValueError, "9 axes, expected at most 8", lambda: ops.reshape(graph, x, [1] * 9)),
        (ValueError, "no negative size", lambda: ops.reshape(graph, x, (-2, -3))),
        (ValueError, "does not fit into int32", lambda: ops.expand_dims(graph, x, 2**40)),
        (TypeError, "real number", lambda: ops.scale(graph, x, "2")),
        (TypeError, "not supported", lambda: ops.cast(graph, x, "f2")),
        (TypeError, "None", lambda: ops.cast(graph, x, None)),
        (TypeError, "sequence", lambda: ops.concat(graph, 3, 0)),
        (errors.ShapeError, "matmul", lambda: ops.matmul(graph, x, x)),
        (TypeError, r"4 arguments, got 1", lambda: graph.input("x")),
        (ValueError, "1 values go with 2", lambda: graph.jvp([x], [x, x], [x])),
        (TypeError, "not the body of a repeat", lambda: graph.repeat_close([], [], False)),
        (TypeError, "a subclass of Node", lambda: _core.set_array_type(int)),
        (TypeError, "cannot create|No constructor", lambda: _core.Node()),
        (TypeError, r"Graph\(\)", lambda: Graph(1)),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()
    graph.verify()  # and is still good
    assert Plan(graph, [ops.add(graph, x, x)])(np.ones((2, 3)))[0].sum() == 12


def test_a_graph_lives_as_long_as_its_nodes():
    graph = Graph()
    x = graph.input(None, "f8", (), False)
    body, i, (c,), _ = graph.repeat_open(3, [x], [])
    assert body.parent is graph
    out = body.repeat_close([ops.add(body, c, c)], [], False)[0][0]
    del graph, body, i
    gc.collect()
    assert c.shape == ()
    assert out.graph.count > 1
    assert Plan(out.graph, [out])(1.0)[0] == 8


# ---- plans -----------------------------------------------------------------------------------


def test_plans_take_what_fits_and_nothing_else():
    plan = doubled()
    assert plan([1, 2.0, 3])[0].tolist() == [2, 4, 6]
    assert plan(np.arange(6.0)[::2])[0].tolist() == [0, 4, 8]
    assert plan(np.arange(3.0).astype(">f8"))[0].tolist() == [0, 2, 4]
    unaligned = np.frombuffer(b"\0" + np.arange(3.0).tobytes(), np.uint8)[1:].view("f8")
    assert plan(unaligned)[0].tolist() == [0, 2, 4]
    read_only = np.arange(3.0)
    read_only.flags.writeable = False
    assert plan(read_only)[0].tolist() == [0, 2, 4]
    with pytest.raises(TypeError, match="argument 0: dtype float32, expected float64"):
        plan(np.ones(3, "f4"))
    with pytest.raises(TypeError, match="argument 0: dtype int64, expected float64"):
        plan(np.ones(3, int))
    with pytest.raises(errors.ShapeError, match=r"argument 0: shape \(4,\), expected \(3,\)"):
        plan(np.ones(4))
    with pytest.raises(TypeError, match="takes 1 arguments, got 2"):
        plan(1, 2)
    with pytest.raises(TypeError, match="no keyword"):
        plan(x=1)
    assert plan.n_kernels >= 1
    assert plan.arena_bytes >= 0


@pytest.mark.parametrize("dtype", ["i1", "i2", "i8", "u2", "u4", "u8", ">i4"])
def test_integers_of_every_width(dtype):
    plan = doubled("i4")
    assert plan(np.array([1, 2, 100], dtype))[0].tolist() == [2, 4, 200]
    if np.dtype(dtype).itemsize == 8:
        with pytest.raises(
            ValueError, match="argument 0: integers become int32: 2147483648 does"
        ):
            plan(np.array([0, 2**31, 0], dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "?", "u1"])
def test_dtypes_come_back(dtype):
    graph = Graph()
    x = graph.input(None, dtype, (2,), False)
    value = np.array([1, 0], dtype)
    (out,) = Plan(graph, [x])(value)
    assert out.dtype == np.dtype(dtype)
    assert out.tolist() == value.tolist()
    assert out is not value


def test_results_are_fresh_and_writable():
    plan = doubled()
    x = np.ones(3)
    a, b = plan(x)[0], plan(x)[0]
    a[:] = 7
    assert b.tolist() == [2, 2, 2]
    assert a.flags.owndata
    assert a.flags.writeable


def test_the_plan_outlives_its_graph_and_captured_arrays():
    graph = Graph()
    out = ops.exp(graph, graph.capture(np.zeros(1000)))
    plan = Plan(graph, [out])
    del graph, out
    gc.collect()
    assert plan()[0].sum() == 1000


def test_unfused_plans_agree():
    graph = Graph()
    x = graph.input(None, "f4", (50,), False)
    y = ops.mul(graph, ops.exp(graph, x), ops.tanh(graph, x))
    value = rng.standard_normal(50).astype("f4")
    fused, plain = Plan(graph, [y]), Plan(graph, [y], fuse=False)
    assert np.array_equal(fused(value)[0], plain(value)[0])
    assert fused.n_kernels < plain.n_kernels


def test_an_output_twice_and_an_input_as_output():
    graph = Graph()
    x = graph.input(None, "f8", (3,), False)
    y = ops.exp(graph, x)
    a, b, c = Plan(graph, [y, y, x])(np.zeros(3))
    a[:] = 5
    assert b.tolist() == [1, 1, 1]
    assert c.tolist() == [0, 0, 0]


# ---- ownership -------------------------------------------------------------------------------


def references(*objects):
    return [sys.getrefcount(o) for o in objects]


def test_references_are_balanced():
    graph = Graph()
    x = graph.input(None, "f8", (3,), False)
    y = ops.exp(graph, x)
    plan = Plan(graph, [y])
    value, longer = np.ones(3), np.ones(4)
    dtype, shape = np.dtype("f8"), (3,)
    objects = (graph, x, y, plan, value, dtype, shape, None, _core, Graph, ebm.TracedArray)
    calls = [
        lambda: ops.add(graph, x, y),
        lambda: ops.concat(graph, [x, y], 0),
        lambda: ops.sum(graph, x, (0,), True),
        lambda: ops.cast(graph, x, dtype),
        lambda: graph.input("named", dtype, shape, False),
        lambda: graph.lift(x),
        lambda: graph.vjp([y], None, [x]),
        lambda: graph.jvp([y], [x], [x]),
        lambda: graph.print([y]),
        lambda: Graph.parse(graph.print([y])),
        lambda: (x.graph, x.dtype, x.shape, x.ndim, x.size, x.op, x.weak, x.as_weak()),
        lambda: (graph.parent, graph.count, graph.inputs, graph.verify()),
        lambda: plan(value),
        lambda: plan(value[::-1]),
        lambda: Plan(graph, [y, x]),
        lambda: Plan(graph, [y, x], alias=(0, -1)),
        lambda: graph.repeat_open(3, [x], [x]),
        lambda: testing.energy_text(lambda x: np.sum(x, axis=1), dtype, True),
    ]
    wrong = [
        lambda: ops.matmul(graph, x, graph),
        lambda: ops.concat(graph, [x, None], 0),
        lambda: ops.concat(graph, [x, graph.input(None, dtype, (2, 2), False)], 0),
        lambda: plan(value.astype("f4")),
        lambda: plan(longer),
        lambda: plan(object()),
        lambda: Plan(graph, [x, 3]),
        lambda: Plan(graph, [y], alias=()),
        lambda: Plan(graph, [y], alias=(1,)),
        lambda: Plan(graph, [y, y], alias=(0, 0)),
        lambda: Plan(graph, [y], alias=(0, None)),
        lambda: graph.vjp([y], [x, x], [x]),
        lambda: Graph.parse("?"),
        lambda: graph.repeat_open(-1, [x], []),
        lambda: testing.energy_text(lambda x: 1 / 0, dtype, False),
    ]
    for call in calls + wrong:
        for _ in range(3):  # caches fill
            try_call(call)
        gc.collect()
        before = references(*objects)
        for _ in range(50):
            try_call(call)
        gc.collect()
        after = references(*objects)
        # a graph may keep a few bodies alive; 50 calls that leak would show as 50
        assert all(abs(a - b) < 25 for a, b in zip(before, after, strict=True)), (before, after)


def try_call(call):
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
        call()


def workload():
    f = ebm.jit(lambda x, w: ebm.repeat(lambda i, c: np.tanh(c @ w) + x, 3, x))
    f(np.ones((2, 2)), np.eye(2))
    ebm.grad(lambda x: np.sum(np.exp(x) * np.arange(4.0)))(np.ones(4))
    with pytest.raises(errors.ShapeError):
        ebm.jit(lambda x: x @ x)(np.ones(3)[None])
    ebm.vjp(np.sin, np.ones(3))[1](np.ones(3))


def test_nothing_leaks():
    for _ in range(3):
        workload()
    gc.collect()
    live = testing.alloc_live()
    tracemalloc.start()
    workload()
    gc.collect()
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(20):
        workload()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert testing.alloc_live() == live
    assert grown < 10_000


def test_every_failing_allocation_is_a_memory_error():
    """Fail the n-th allocation, for every n, of trace, derivative, compilation and run."""

    def everything():
        graph = Graph()
        x = graph.input("x", "f8", (4, 4), False)
        body, _, (c,), _ = graph.repeat_open(3, [x], [])
        w = body.capture(np.eye(4))
        (last,), _ = body.repeat_close([ops.tanh(body, ops.matmul(body, c, w))], [], False)
        out = ops.sum(graph, last, None, False)
        (slope,) = graph.vjp([out], None, [x])
        plan = Plan(graph, [slope])
        return plan(np.ones((4, 4)))[0]

    expected = everything()
    live = testing.alloc_live()
    for n in range(10_000):
        testing.alloc_fail_after(n)
        try:
            got = everything()
        except MemoryError:
            continue
        finally:
            testing.alloc_fail_after(-1)
            gc.collect()
            assert testing.alloc_live() == live, n
        break
    assert n > 50
    assert np.array_equal(got, expected)


# ---- energies that C calls -------------------------------------------------------------------


@pytest.mark.parametrize("in_body", [False, True])
def test_energy_is_traced_into_a_graph_of_c(in_body):
    scale = np.array([1.0, 2.0, 3.0])

    def energy(x):
        return 0.5 * np.sum(x**2 * scale, axis=1)

    text = testing.energy_text(energy, "f4", in_body)
    assert "f64" not in text  # closed-over constants take the dtype of the run
    graph, outs = Graph.parse(text)
    values = [
        np.ones((2, 3), "f4") if name == "x" else scale.astype("f4")
        for name, _, _ in graph.inputs
    ]
    (got,) = Plan(graph, outs)(*values)
    assert got.dtype == np.float32
    assert got.tolist() == ([[3, 3]] * 4 if in_body else [3, 3])


def test_energy_with_its_own_gradient_and_loop():
    def energy(x):
        inner = ebm.repeat(lambda i, y: y - 0.1 * ebm.grad(lambda z: np.sum(z**4))(y), 3, x)
        return np.sum(inner, axis=1)

    for in_body in (False, True):
        assert "repeat" in testing.energy_text(energy, "f8", in_body)


def test_energy_that_raises_and_energy_that_leaks():
    kept = []

    def bad(x):
        kept.append(ebm.repeat(lambda i, y: kept.append(y) or y, 2, x))
        raise LookupError("mine")

    for in_body in (False, True):
        with pytest.raises(LookupError, match="mine"):
            testing.energy_text(bad, "f8", in_body)
    for node in kept:
        with pytest.raises(errors.StateError, match="escaped"):
            _ = node.shape
        with pytest.raises(errors.StateError, match="escaped"):
            ebm.jit(lambda x, node=node: x + node)(1.0)
        assert repr(node) == "TracedArray(escaped)"
    with pytest.raises(errors.ShapeError):
        testing.energy_text(lambda x: x @ x, "f8", True)
    with pytest.raises(TypeError, match="must be callable"):
        testing.energy_text(3, "f8", True)
    with pytest.raises(TypeError, match="not supported"):
        testing.energy_text(lambda x: "text", "f8", True)


def test_energy_cannot_see_a_trace_that_its_graph_is_no_part_of():
    def f(a):
        return testing.energy_text(lambda x: np.sum(x * a, axis=1), "f8", True)

    with pytest.raises(errors.StateError, match="escaped"):
        ebm.jit(f)(1.0)


# ---- threads and signals ---------------------------------------------------------------------

LONG = "ebm.jit(lambda x: ebm.repeat(lambda i, c: np.tanh(c @ x), {n}, x))"


def test_runs_release_the_lock_and_share_the_pool_of_workspaces():
    x = rng.standard_normal((200, 200)).astype("f4")
    f = eval(LONG.format(n=150))
    expected = f(x)
    results, ticks = [], 0
    threads = [threading.Thread(target=lambda: results.append(f(x))) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        ticks += 1
        time.sleep(0.001)
    assert ticks > 3
    assert len(results) == 3
    assert all(np.array_equal(result, expected) for result in results)


def test_ctrl_c_stops_a_run_and_the_plan_stays_usable():
    code = f"""
import signal, threading, time, os, numpy as np, ebmlib as ebm
x = np.eye(128, dtype="f4")
f = {LONG.format(n=50_000_000)}
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
started = time.monotonic()
try:
    f(x)
except KeyboardInterrupt:
    print("stopped", time.monotonic() - started)
print(ebm.jit(lambda x: x.sum())(x))
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    word, seconds, total = done.stdout.split()
    assert word == "stopped", done.stderr
    assert float(seconds) < 1.5
    assert float(total) == 128


def test_signal_handlers_run_during_a_run():
    seen = []
    previous = signal.signal(signal.SIGALRM, lambda *_: seen.append(time.monotonic()))
    f = eval(LONG.format(n=3000))
    x = rng.standard_normal((128, 128)).astype("f4")
    f(x[:, :])  # compiled
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        f(x)
        ended = time.monotonic()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(seen) == 1
    assert seen[0] < ended


# ---- the module ------------------------------------------------------------------------------


def test_import_is_light():
    code = (
        "import sys, numpy; before = set(sys.modules); import ebmlib;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(new & {'sklearn', 'scipy', 'matplotlib', 'torch', 'jax', 'inspect'}));"
        "print(sorted(m for m in sys.modules if m.startswith('ebmlib.')))"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    heavy, modules = done.stdout.splitlines()
    assert heavy == "[]"
    assert "ebmlib.networks" not in modules
    assert "ebmlib.random" not in modules


def test_public_names():
    for name in ebm.__all__:
        if name not in {"networks", "samplers", "estimators", "metrics", "plots", "datasets"}:
            assert getattr(ebm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ebm.nothing
    assert "functional" in dir(ebm)
    assert ebm.random.normal.__doc__


def test_isa_can_be_chosen():
    before = _core.isa()
    assert before in ("baseline", "avx2", "avx512")
    _core.set_isa("baseline")
    assert _core.isa() == "baseline"
    _core.set_isa(before)
    with pytest.raises(ValueError, match="unknown instruction set"):
        _core.set_isa("vax")
