"""W8, Hamiltonian Monte Carlo on the network and chains of W1.

100 iterations of 10 leapfrog steps of .1 with unit mass, then accept or reject.
"""

import numpy as np
from ours import Workload, swish_energy, value_and_grad

import ebmlib as ebm


class W8(Workload):
    keep = "x"

    def unit(self, const, state, noise):
        w, step, count = const["energy"], self.s["step"], self.s["leapfrog"]

        def slope(x):
            return value_and_grad(lambda x: swish_energy(w, x), x)

        def leapfrog(_, carry):
            x, p, _, g = carry
            p = p - 0.5 * step * g
            x = x + step * p
            e, g = slope(x)
            return x, p - 0.5 * step * g, e, g

        def iteration(_, carry, draws):
            (x, e, g, accepted), (p0, u) = carry, draws
            y, p, e_y, g_y = ebm.repeat(leapfrog, count, (x, p0, e, g))
            log_ratio = e - e_y + 0.5 * (np.square(p0) - np.square(p)).sum(1)
            accept = np.log(u) < log_ratio
            x, g = (np.where(accept[:, None], a, b) for a, b in ((y, x), (g_y, g)))
            return x, np.where(accept, e_y, e), g, accepted + np.mean(accept.astype(np.float32))

        start = const["x"], *slope(const["x"]), np.float32(0)
        n = len(noise["u"])
        x, _, _, accepted = ebm.repeat(iteration, n, start, xs=(noise["p"], noise["u"]))
        return state, {"x": x, "accept": accepted / n}
