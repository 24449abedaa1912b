"""W1, unadjusted Langevin: 1024 chains of 100 steps on an MLP 2-128-128-1, swish.

x' = x - step / 2 dE/dx + sqrt(step) n,  step .01
"""

from ours import Chain, Workload, langevin, swish_energy

from ebmlib import networks, samplers


class W1(Workload):
    keep = "x"

    def unit(self, const, state, noise):
        s, p = self.s, const["energy"]
        x = langevin(
            lambda x: swish_energy(p, x),
            const["x"],
            noise["n"],
            s["step"] / 2,
            s["step"] ** 0.5,
        )
        return state, {"x": x}


class W1Sampler(Chain):
    def network(self):
        return networks.MLP(self.s["hidden"], "swish")

    def sampler(self):
        return samplers.Langevin(step_size=self.s["step"] / 2, n_steps=self.s["steps"])
