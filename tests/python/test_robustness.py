"""Processes, threads, signals, and the end of the interpreter, in the midst of a run."""

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from ebmlib import _core, errors, estimators, networks, samplers

rng = np.random.default_rng(1)
X = rng.standard_normal((256, 2)).astype("f4")


def small(seed=0, **options):
    sampler = samplers.Langevin(step_size=0.05, n_steps=5)
    options = {"max_steps": 20, "batch_size": 64, "random_state": seed, **options}
    return estimators.PCD(networks.MLP((32,)), sampler, buffer_size=200, **options)


def fit_energies(seed):
    return small(seed).fit(X).energy(X[:50])


class Started:
    """A call in a thread of its own, under way when this is made; `end` waits for it."""

    def __init__(self, call, *args):
        self.result = self.error = None
        self.thread = threading.Thread(target=self._run, args=(call, args), daemon=True)
        self.thread.start()
        time.sleep(0.2)

    def _run(self, call, args):
        try:
            self.result = call(*args)
        except BaseException as error:  # handed to the test
            self.error = error

    def end(self):
        self.thread.join(60)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.result


def run_script(*code, timeout=60):
    """A fresh interpreter; its output, once it ended as it should."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    prelude = """
        import os, signal, sys, threading, time
        import numpy as np
        import ebmlib as ebm
        from ebmlib import estimators, networks, samplers
        from tests.python.test_robustness import X, small, fit_energies
    """
    done = subprocess.run(
        [sys.executable, "-c", "".join(textwrap.dedent(part) for part in (prelude, *code))],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


# ---- processes -------------------------------------------------------------------------------
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_in_the_midst_of_a_run():
    """The child trains anew with a pool of its own, and what was running there says so."""
    out = run_script(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, on purpose
        ebm.set_num_threads(2)
        want = fit_energies(3)
        big = estimators.PCD(networks.MLP((256, 256)), max_steps=10**6, random_state=0)
        threading.Thread(target=big.fit, args=(X,), daemon=True).start()
        time.sleep(0.5)
        for _ in range(5):
            child = os.fork()
            if child == 0:
                same = np.array_equal(fit_energies(3), want)
                try:
                    big.fit(X)
                    told = False
                except ebm.errors.StateError:
                    told = True
                os._exit(0 if same and told else 1)
            _, status = os.waitpid(child, 0)
            print(status, end=" ")
        sys.stdout.flush()
        os._exit(0)
        """
    )
    assert out.split() == ["0"] * 5


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pools_of_processes(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    out = run_script(
        f"""
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        if __name__ == "__main__":
            want = [fit_energies(seed) for seed in range(3)]  # the pool of threads is awake
            with multiprocessing.get_context({method!r}).Pool(2) as pool:
                got = pool.map(fit_energies, range(3))
            print(all(np.array_equal(a, b) for a, b in zip(got, want)))
        """
    )
    assert out.split() == ["True"]


def test_joblib():
    out = run_script(
        """
        import joblib
        want = [fit_energies(seed) for seed in range(3)]
        for backend in ("loky", "threading"):
            work = (joblib.delayed(fit_energies)(seed) for seed in range(3))
            got = joblib.Parallel(n_jobs=2, backend=backend)(work)
            print(all(np.array_equal(a, b) for a, b in zip(got, want)))
        """
    )
    assert out.split() == ["True", "True"]


# ---- threads ---------------------------------------------------------------------------------
def test_two_threads_train_at_once():
    """Each gets the bits that it gets alone."""
    want = [fit_energies(0), fit_energies(1)]
    for _ in range(3):
        runs = [Started(fit_energies, seed) for seed in (0, 1)]
        for run, expected in zip(runs, want, strict=True):
            np.testing.assert_array_equal(run.end(), expected)


def test_training_beside_sampling():
    network = networks.MLP((32,)).bind((2,), random_state=0)
    walk = samplers.Langevin(n_steps=200)
    want = walk.sample(network, X, random_state=0)
    run = Started(small(max_steps=500).fit, X)
    for _ in range(5):
        np.testing.assert_array_equal(walk.sample(network, X, random_state=0), want)
    np.testing.assert_array_equal(run.end().energy(X), small(max_steps=500).fit(X).energy(X))


def test_an_estimator_that_is_running_says_so():
    out = run_script(
        """
        est = small(max_steps=10**7)
        threading.Thread(target=est.fit, args=(X,), daemon=True).start()
        time.sleep(0.5)
        calls = [
            lambda: est.fit(X),
            lambda: est.partial_fit(X),
            lambda: est.sample(3),
            lambda: est.__getstate__(),
            lambda: est._trainer.metrics(),
            lambda: est._trainer.set({}),
            lambda: est._trainer.clear(),
        ]
        for call in calls:
            try:
                call()
            except ebm.errors.StateError as error:
                print("running" in str(error), end=" ")
        steps = est._trainer.steps
        time.sleep(0.3)
        print(est._trainer.steps > steps, np.isfinite(est.energy(X)).all())  # it goes on
        sys.stdout.flush()
        os._exit(0)
        """
    )
    assert out.split() == ["True"] * 9


def test_a_bound_network_is_shared():
    """Energies from four threads at once, of sizes whose plans are not made yet."""
    network = networks.MLP((32,)).bind((2,), random_state=0)
    other = networks.MLP((32,)).bind((2,), random_state=0)
    sizes = [1, 3, 20, 100, 256]
    want = [other(X[:n]) for n in sizes]
    runs = [Started(lambda: [network(X[:n]) for n in sizes * 20]) for _ in range(4)]
    for run in runs:
        for got, expected in zip(run.end(), want * 20, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_a_chain_that_is_entered_again_says_so():
    """The conversion of an argument runs Python code, which starts the same chain."""
    network = networks.MLP((4,)).bind((2,), random_state=0)
    n = 2_000_000
    chain = _core.Chain(("langevin", {"n_steps": n}), network._core, "f4", (2, 2), n)
    key = np.array([1, 2], "u4")
    inner = []

    class Starter:
        def __array__(self, dtype=None, copy=None):
            inner.append(Started(chain, np.zeros((2, 2), "f4"), key, 0, 1))
            return np.zeros((2, 2), "f4")

    with pytest.raises(errors.StateError, match="running"):
        chain(Starter(), key, 0, 1)
    inner[0].end()


# ---- signals ---------------------------------------------------------------------------------
LONG_RUNS = {
    "fit": "small(max_steps=10**7).fit(X)",
    "sample": "samplers.Langevin(n_steps=10**7).sample(energy, X)",
    "sample a function": "samplers.Langevin().sample(lambda x: (x**4).sum(1), X, 10**7)",
    "energy": "wide(np.ones((2_000_000, 2), 'f4'))",
    "repeat": "ebm.repeat(lambda i, c: np.tanh(c @ c), 10**7, np.eye(50))",
}
SET_UP = """
energy = networks.MLP((32,)).bind((2,), random_state=0)
wide = networks.MLP((512, 512, 512)).bind((2,), random_state=0)
def run():
    {}
"""


@pytest.mark.parametrize("name", LONG_RUNS)
def test_ctrl_c(name):
    """KeyboardInterrupt soon, and what was interrupted works afterwards."""
    out = run_script(
        SET_UP.format(LONG_RUNS[name]),
        """
        threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            run()
        except KeyboardInterrupt:
            print("interrupted")
        print(np.isfinite(energy(X)).all(), fit_energies(0).shape)
        """,
    )
    assert out.split() == ["interrupted", "True", "(50,)"]


@pytest.mark.parametrize("name", LONG_RUNS)
def test_ctrl_c_beside_a_run(name):
    """The main thread gets it, and the run of the other thread goes on."""
    out = run_script(
        SET_UP.format(LONG_RUNS[name]),
        """
        beside = threading.Thread(target=run, daemon=True)
        beside.start()
        threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            time.sleep(30)
        except KeyboardInterrupt:
            print("interrupted", beside.is_alive())
        print(np.isfinite(energy(X)).all(), fit_energies(0).shape)
        sys.stdout.flush()
        os._exit(0)
        """,
    )
    assert out.split() == ["interrupted", "True", "True", "(50,)"]


def test_an_interrupted_fit_is_fitted_to_its_last_whole_step():
    out = run_script(
        """
        est = small(max_steps=10**7)
        threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            est.fit(X)
        except KeyboardInterrupt:
            n = est.n_steps_
            want = small(max_steps=n).fit(X)
            print(n > 0, np.array_equal(est.energy(X), want.energy(X)))
            est.partial_fit(X, n_steps=3)
            print(est.n_steps_ == n + 3)
        """
    )
    assert out.split() == ["True"] * 3


# ---- the interpreter -------------------------------------------------------------------------
@pytest.mark.parametrize("name", LONG_RUNS)
def test_exit_in_the_midst_of_a_run(name):
    """A thread that runs when the interpreter ends neither crashes it nor holds it up."""
    out = run_script(
        SET_UP.format(LONG_RUNS[name]),
        """
        threading.Thread(target=run, daemon=True).start()
        time.sleep(0.7)
        print("ends")
        """,
    )
    assert out.split() == ["ends"]


def test_subinterpreters_refuse_or_work():
    out = run_script(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        code = "\\n".join((
            "try:",
            "    import numpy as np, ebmlib as ebm",
            "    assert ebm.jit(lambda x: x + 1)(np.ones(3)).sum() == 6",
            "except ImportError:",
            "    pass",
        ))
        for _ in range(2):
            one = interpreters.create()
            interpreters.run_string(one, code)
            print("done")
            interpreters.destroy(one)
        print(fit_energies(0).shape)
        """
    )
    assert out.split() == ["done", "done", "(50,)"]
