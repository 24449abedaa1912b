"""How often the host waits for a device: never inside a chain or a training step.

The shim counts, so these run on cuda-host: waits that leave the device nothing to do, and waits
for an earlier place in its stream while it has more to do.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import _core, estimators, networks, samplers

TURN, TURNS = 1 << 20, 4  # bytes of page-locked memory that results come by: cuda/device.cu


@pytest.fixture(autouse=True)
def host_device(device: str) -> None:
    if device != "cuda-host":
        pytest.skip("waits are counted by the shim, on cuda-host only")


class Waits:
    """Counts those inside of a `with`."""

    def __init__(self) -> None:
        folder = Path(_core.__file__).parent / "devices"
        self._count = ctypes.CDLL(str(folder / "libebm-cuda-host.so")).ebm_shim_waits
        self._count.restype = ctypes.c_long

    def _now(self) -> np.ndarray:
        return np.array([self._count(0), self._count(1)])

    def __enter__(self) -> Waits:
        self._before = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.idle, self.busy = (self._now() - self._before).tolist()


def energy(x):
    return np.sum(0.25 * x**4 - x**2, axis=1)


# ---- chains ----------------------------------------------------------------------------------
@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("n_steps", [10, 500])
def test_a_chain_is_waited_for_once(device, n_steps, trace):
    walk = samplers.Langevin(step_size=0.01)
    x0 = np.zeros((64, 2), np.float32)
    with Waits() as waits:
        walk.sample(
            energy,
            x0,
            n_steps,
            random_state=0,
            thin=5,
            return_trace=trace,
            return_info=trace,
            device=device,
        )
    assert (waits.idle, waits.busy) == (1, 0)


def test_a_long_trace_comes_in_turns_while_the_chain_goes_on(device):
    walk = samplers.Langevin(step_size=0.01)
    x0 = np.zeros((512, 64), np.float32)
    legs, nbytes = 100, 512 * 64 * 4
    with Waits() as waits:
        _, trace = walk.sample(
            energy, x0, legs, random_state=0, return_trace=True, device=device
        )
    assert trace.nbytes == legs * nbytes > 10 * TURN
    assert (waits.idle, waits.busy) == (1, trace.nbytes // TURN - TURNS + 1)
    want = walk.sample(energy, x0, legs, random_state=0, return_trace=True)[1]
    np.testing.assert_allclose(trace, want, rtol=0, atol=1e-4)


def test_a_start_that_is_checked_is_waited_for(device):
    """MALA says where its energy is not finite before it walks."""
    with Waits() as waits:
        samplers.MALA(step_size=0.01).sample(
            energy, np.zeros((64, 2)), 50, random_state=0, return_trace=True, device=device
        )
    assert (waits.idle, waits.busy) == (2, 0)


# ---- training --------------------------------------------------------------------------------
def trainer_of(device: str, rows: np.ndarray) -> _core.Trainer:
    """Trained for a step: its plans are made."""
    est = estimators.PCD(
        networks.MLP((8,)),
        samplers.Langevin(step_size=0.1, n_steps=2),
        batch_size=32,
        random_state=0,
        device=device,
        max_steps=1,
    ).fit(rows)
    return est._trainer


@pytest.mark.parametrize("n", [1, 400])
def test_training_is_waited_for_at_its_beginning_and_its_end(device, rng, n):
    """Three times, in however many epochs (of two steps); metrics come while it goes on."""
    trainer = trainer_of(device, rng.normal(size=(64, 2)).astype(np.float32))
    with Waits() as waits:
        trainer.run(n)
    assert waits.idle == 3
    assert waits.busy <= n
    if n > 1:
        assert waits.busy > 0
    assert trainer.n_rows == trainer.steps == n + 1
    metrics = trainer.metrics()
    assert all(np.isfinite(values).all() for values in metrics.values())
    assert len(np.unique(metrics["loss"])) > 0.9 * n


def test_who_asks_while_it_runs_does_not_wait(device, rng):
    trainer = trainer_of(device, rng.normal(size=(64, 2)).astype(np.float32))
    seen = []

    def look() -> bool:
        seen.append((trainer.steps, trainer.n_rows))
        return len(seen) < 3

    with Waits() as waits:
        assert trainer.run(10000, look) is False
    assert waits.idle == 3
    assert all(steps == rows for steps, rows in seen)
    assert seen[0][0] <= seen[1][0] <= seen[2][0] <= trainer.steps == trainer.n_rows


def test_a_bad_step_is_seen_and_none_after_it_counts(device, rng):
    trainer = trainer_of(device, rng.normal(size=(64, 2)).astype(np.float32))
    name, array = next(iter(trainer.get("params").items()))
    trainer.set({f"params.{name}": np.full_like(array, np.nan)})
    with pytest.raises(ebm.errors.NumericalError, match="step 2"):
        trainer.run(300)
    assert trainer.steps == trainer.n_rows == 1
