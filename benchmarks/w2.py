"""W2, persistent contrastive divergence: 50 training steps on the network of W1.

Start states come from a buffer of 8192 at random slots, each new with probability .05; 20
Langevin steps as W1; they are put back.  Descend with Adam

    mean E(x+) - mean E(x-) + 1e-3 (mean E(x+)^2 + mean E(x-)^2).
"""

import numpy as np
from ours import Workload, langevin, swish_energy

import ebmlib as ebm
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
