"""BlackJAX: HMC with its kernel vmapped over the chains, one jit (W8).

BlackJAX carries one key per chain, so the random numbers come from 1024
vmapped generators, and it returns its whole diagnostic record, which XLA
drops here because nothing reads it.
"""

import blackjax
import jax
import jax.numpy as jnp
import workloads
from jax_jit import swish_energy, weight

VERSION = f"blackjax {blackjax.__version__}, jax {jax.__version__}"


def w8():
    case = workloads.make("W8")
    s, x = case.sizes, jnp.asarray(case.inputs["x"])
    p = {k: weight(a) for k, a in case.params["energy"].items()}
    kernel = blackjax.hmc.build_kernel()

    @jax.jit
    def chain(p, x, key):
        def log_density(x):
            return -swish_energy(p, x[None])[0]

        def step(key, state):
            return kernel(key, state, log_density, s["step"], jnp.ones(s["dim"]), s["leapfrog"])

        def iteration(states, key):
            states, info = jax.vmap(step)(jax.random.split(key, len(x)), states)
            return states, info.is_accepted.mean()

        start = jax.vmap(lambda x: blackjax.hmc.init(x, log_density))(x)
        states, accept = jax.lax.scan(iteration, start, jax.random.split(key, s["iterations"]))
        return states.position, accept.mean()

    keys = iter(range(10**9))
    return lambda: jax.block_until_ready(chain(p, x, jax.random.key(next(keys))))


WORKLOADS = {"W8": w8}
