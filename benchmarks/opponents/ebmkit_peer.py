"""ebmkit (`import ebm`), used the way its README does: W1, W2 and W8.

Its Langevin update is x - eps dE/dx + sqrt(2 eps) n, the same as ours with
eps = step / 2. Its replay buffer and loss are those of W2: 5% restarts from
N(0, I), samples written back to the slots they came from. What differs: the
Trainer reads four metrics back in each step, positive and negative energies
are two passes, the optimiser is plain Adam. HMC computes the energy and
gradient of the current state anew in each iteration.
"""

import ebm
import torch
import workloads
from torch import nn

VERSION = f"ebmkit {ebm.__version__}"
set_threads = torch.set_num_threads


def energy_model(params):
    """The swish network of W1 as the library's MLPEnergy, [B, 2] -> [B]."""
    energy = ebm.nets.MLPEnergy(dim=2, hidden=(128, 128))
    layers = [m for m in energy.modules() if isinstance(m, nn.Linear)]
    for i, layer in enumerate(layers):
        layer.weight.data = torch.from_numpy(params[f"l{i}.w"].copy())
        layer.bias.data = torch.from_numpy(params[f"l{i}.b"].copy())
    return energy


def w1():
    case = workloads.make("W1")
    s, x = case.sizes, torch.from_numpy(case.inputs["x"])
    energy = energy_model(case.params["energy"])
    sampler = ebm.LangevinDynamics(step_size=s["step"] / 2, steps=s["steps"])
    return lambda: sampler.sample(energy, x)


def w2():
    case = workloads.make("W2")
    s, data = case.sizes, torch.from_numpy(case.inputs["data"])
    energy = energy_model(case.params["energy"])
    sampler = ebm.LangevinDynamics(step_size=s["step"] / 2, steps=s["langevin_steps"])
    buffer = ebm.ReplayBuffer(s["buffer"], (s["dim"],), reinit_prob=s["reinit"])
    loss = ebm.ContrastiveDivergence(sampler, buffer=buffer, energy_reg=s["reg"])
    trainer = ebm.Trainer(energy, loss, lr=s["lr"])
    return lambda: trainer.fit(
        data, steps=s["train_steps"], batch_size=s["batch"], verbose=False
    )


def w8():
    case = workloads.make("W8")
    s, x = case.sizes, torch.from_numpy(case.inputs["x"])
    energy = energy_model(case.params["energy"])
    sampler = ebm.HMC(s["step"], s["leapfrog"], s["iterations"])
    return lambda: sampler.sample(energy, x)


WORKLOADS = {"W1": w1, "W2": w2, "W8": w8}
