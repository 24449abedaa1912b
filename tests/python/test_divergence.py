"""Divergence: bad steps planted one by one."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ebmlib import estimators, networks, samplers
from ebmlib.errors import NumericalError

BATCH = 8


def linear(**changes):
    """A linear energy and chains that stay where the buffer is; fitted for three steps."""
    options = {
        "network": networks.MLP(()),
        "sampler": samplers.Langevin(n_steps=0),
        "optimizer": "sgd",
        "betas": (0, 0),
        "learning_rate": 1e-6,
        "data_noise": 0.0,
        "batch_size": BATCH,
        "buffer_size": BATCH,
        "reinit": 0.0,
        "max_steps": 3,
        "random_state": 0,
    }
    return estimators.PCD(**(options | changes))


def planted(est, rows, chains, **params):
    """The estimator after three good steps, with other chains and parameters written in."""
    est.fit(np.zeros((BATCH, 1), np.float32))
    trainer = est._trainer
    arrays = {f"params.{k}": np.full_like(a, 0) for k, a in trainer.get("params").items()}
    for name, value in params.items():
        key = f"params.{name.replace('_', '.')}"
        arrays[key] = np.full_like(arrays[key], value)
    trainer.set(arrays)
    trainer.set({"buffer.x": np.full_like(trainer.get("buffer")["x"], chains)})
    trainer.set({"buffer.age": np.full_like(trainer.get("buffer")["age"], 1)})
    return est, np.full((BATCH, 1), rows, np.float32)


def message_of(est, rows):
    """What the fourth step says; it must leave everything as the third one left it."""
    before = est._trainer.get()
    with pytest.raises(NumericalError) as caught:
        est.partial_fit(rows, n_steps=2)
    for name, array in est._trainer.get().items():
        if not name.startswith(("guard.", "metrics.", "batch.", "rate")):
            np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert est.n_steps_ == len(est.history_["loss"]) == 3
    text = str(caught.value)
    assert "the arrays are those of step 3 " in text
    return re.search(r"pcd: step 4: got a (.*) that is not finite or too large", text).group(1)


TERMS = {
    "sample": {"rows": 0, "chains": np.inf},
    "mean energy of data": {"rows": 10, "chains": 0, "l0_w": 3e38},
    "mean energy of samples": {"rows": 0, "chains": 10, "l0_w": 3e38},
    "loss": {"rows": 1, "chains": 0, "l0_w": 2e8},
    "gradient of l0.w": {"rows": 1e30, "chains": 0},
}


@pytest.mark.parametrize("term", TERMS)
def test_each_term_is_named(term):
    assert message_of(*planted(linear(), **TERMS[term])) == term


# E = l1.b + l1.w swish(l0.b + x l0.w), and at swish(0) = 0 its slopes in l0.b, l0.w are
# l1.w / 2, x l1.w / 2, and in l1.w 0.  The loss 2 l2 E^2 multiplies them with 4 l2 E.
GRADIENTS = {
    "l0.w": {"rows": 1, "chains": 1, "l1_w": 1e30, "l1_b": 1},
    "l0.b": {"rows": 0, "chains": 0, "l1_w": 1e30, "l1_b": 1},
    "l1.w": {"rows": 0, "chains": 0, "l0_b": 1e30, "l1_b": 1},
    "l1.b": {"rows": 0, "chains": 0, "l1_b": 1e-14},
}


@pytest.mark.parametrize("param", GRADIENTS)
def test_the_parameter_with_the_bad_gradient_is_named(param):
    est, rows = planted(linear(network=networks.MLP((1,))), **GRADIENTS[param])
    est.set_params(l2=1e34 if param == "l1.b" else 0.1)
    assert message_of(est, rows) == f"gradient of {param}"
    names = list(est.energy_.parameters())
    bad = ~np.isfinite(est._trainer.get("metrics.norms")["params"])
    assert names[int(np.argmax(bad))] == param


PARAMETERS = {
    "l0.w": {"rows": 1, "chains": 1, "l1_w": 1, "l1_b": 1},
    "l0.b": {"rows": 0, "chains": 0, "l1_w": 1, "l1_b": 1},
    "l1.w": {"rows": 0, "chains": 0, "l0_b": 1, "l1_b": 1},
    "l1.b": {"rows": 0, "chains": 0, "l1_b": 1},
}


@pytest.mark.parametrize("param", PARAMETERS)
def test_the_parameter_with_the_bad_value_is_named(param):
    est, rows = planted(linear(network=networks.MLP((1,)), l2=10.0), **PARAMETERS[param])
    est.set_params(learning_rate=1e38)
    assert message_of(est, rows) == f"parameter {param}"


def test_norms_are_those_of_the_last_gradients():
    # E = w x + b without chains that walk: with l2 = 0 the gradient is (mean x - mean x-, 0).
    est, rows = planted(linear(l2=0.0), rows=3.0, chains=1.0)
    est.partial_fit(rows, n_steps=1)
    norms = est._trainer.get("metrics.norms")["params"]
    assert list(est.energy_.parameters()) == ["l0.w", "l0.b"]
    np.testing.assert_allclose(norms, [2.0, 0.0], atol=1e-6)
    assert est.history_["grad_norm"][-1] == pytest.approx(2.0)
