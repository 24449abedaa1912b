"""W2, persistent contrastive divergence: 50 training steps on the network of W1.

Start states come from a buffer of 8192 at random slots, each new with probability .05; 20
Langevin steps as W1; they are put back.  Descend with Adam

    mean E(x+) - mean E(x-) + 1e-3 (mean E(x+)^2 + mean E(x-)^2).
"""

import dataclasses

import numpy as np
from ours import Workload, langevin, neutral, swish_energy, weight

import ebmlib as ebm
from ebmlib import estimators, networks, samplers
from ebmlib import functional as F


class W2(Workload):
    trained, moving = ("energy",), ("buffer",)

    def loss(self, p, x_pos, x_neg):
        e_pos, e_neg = np.split(swish_energy(p, np.concatenate([x_pos, x_neg])), 2)
        squares = np.mean(np.square(e_pos)) + np.mean(np.square(e_neg))
        return e_pos.mean() - e_neg.mean() + self.s["reg"] * squares

    def unit(self, const, state, noise):
        s, p, index = self.s, state["energy"], noise["index"]
        new = noise["reinit"] < s["reinit"]
        x = np.where(new[:, None], noise["fresh"], np.take(state["buffer"], index, 0))
        x = langevin(
            lambda x: swish_energy(p, x), x, noise["n"], s["step"] / 2, s["step"] ** 0.5
        )
        x_pos = np.take(const["data"], noise["data_index"], 0)
        loss, grads = ebm.value_and_grad(self.loss)(p, x_pos, x)
        state = self.update(state, "energy", grads)
        state["buffer"] = F.put(state["buffer"], index, x)
        return state, {"x": x, "loss": loss, "grad": grads}


class W2Sampler:
    """The same training by `estimators.PCD`: batch, steps, buffer, loss and optimiser.

    It differs in this: minibatches are parts of permutations, not independent draws; the slots
    of a batch are distinct, and one begins with N(0, I) when it is drawn for the first time;
    weights start as the network's own; and each step measures what goes into ``history_``, and
    is undone if something is not finite.
    """

    def __init__(self, case):
        self.case, self.s = case, case.sizes
        self.data = case.inputs["data"]
        walk = samplers.Langevin(self.s["step"] / 2, n_steps=self.s["langevin_steps"])
        self.est = self.estimator(walk, batch_size=self.s["batch"], learning_rate=self.s["lr"])

    def estimator(self, walk, **options):
        s = self.s
        return estimators.PCD(
            networks.MLP(s["hidden"], "swish"),
            walk,
            buffer_size=s["buffer"],
            reinit=s["reinit"],
            buffer_init="normal",
            l2=s["reg"],
            data_noise=0.0,
            **options,
        )

    def run(self):
        self.est.partial_fit(self.data, n_steps=self.s["train_steps"])
        return self.est.history_["loss"][-1]

    def check(self, seed):
        """One step on all rows of the data, chains without noise: its start weights, and where
        its chains begin, go to the reference; plain descent shows the gradient.
        """
        s, rows = self.s, np.arange(self.s["batch"])

        def fitted(step_size, n_steps, max_steps=1):
            return self.estimator(
                samplers.Langevin(step_size, noise=0.0, n_steps=n_steps),
                max_steps=max_steps,
                batch_size=len(rows),
                optimizer="sgd",
                betas=(0.0, 0.999),
                learning_rate=1.0,
                random_state=seed,
            ).fit(self.data[rows])

        before = fitted(s["step"] / 2, s["langevin_steps"], max_steps=0).energy_.parameters()
        est = fitted(s["step"] / 2, s["langevin_steps"])
        after = est.energy_.parameters()
        starts = fitted(1e-30, 1).buffer_  # a step that does not move
        noise = {
            "data_index": rows,
            "index": rows,
            "reinit": np.zeros(len(rows), np.float32),  # all begin anew, as in a new buffer
            "fresh": starts,
            "n": np.zeros((s["langevin_steps"], *starts.shape), np.float32),
        }
        weights = {name: weight(a) for name, a in before.items()}  # its own inverse
        case = dataclasses.replace(self.case, params={"energy": weights})
        grads = {name: before[name] - after[name] for name in before}
        results = {"x": est.buffer_, "loss": est.history_["loss"][-1], "grad": grads}
        return case, noise, neutral(results)
