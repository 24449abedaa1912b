"""torchebm, used the way its README does: W1, W2 and W8.

Its Langevin update is x - eta dE/dx + sqrt(2 eta) n, the same as ours with
eta = step / 2. Its persistent chains differ from W2: the buffer starts at
0.01 N(0, I); start points are stratified over the buffer (a stride plus a
random offset) and written back first-in first-out instead of to their own
slots; "new" samples are old ones plus 0.01 N(0, I), not fresh draws; the
weights keep requires_grad during sampling. The optimiser is plain Adam. HMC
computes the energy and gradient of the current state anew in each iteration.
"""

import torch
import torchebm
import workloads
from torch import nn
from torchebm.core import BaseModel
from torchebm.losses import ContrastiveDivergence
from torchebm.samplers import HamiltonianMonteCarlo, LangevinDynamics

VERSION = f"torchebm {torchebm.__version__}"
set_threads = torch.set_num_threads


def linears(params):
    """nn.Linear layers holding the weights l0, l1, ..."""
    layers = []
    for i in range(len(params) // 2):
        w, b = (torch.from_numpy(params[f"l{i}.{k}"].copy()) for k in "wb")
        layer = nn.Linear(w.shape[1], w.shape[0])
        layer.weight.data, layer.bias.data = w, b
        layers.append(layer)
    return layers


class Energy(BaseModel):
    """The swish network of W1, [B, 2] -> [B]."""

    def __init__(self, params):
        super().__init__()
        l0, l1, l2 = linears(params)
        self.net = nn.Sequential(l0, nn.SiLU(), l1, nn.SiLU(), l2)

    def forward(self, x):
        return self.net(x).squeeze(-1)


def w1():
    case = workloads.make("W1")
    s, x = case.sizes, torch.from_numpy(case.inputs["x"])
    energy = Energy(case.params["energy"])
    sampler = LangevinDynamics(model=energy, step_size=s["step"] / 2, noise_scale=1.0)
    return lambda: sampler.sample(x=x, n_steps=s["steps"])


def w2():
    case = workloads.make("W2")
    s, data = case.sizes, torch.from_numpy(case.inputs["data"])
    energy = Energy(case.params["energy"])
    sampler = LangevinDynamics(model=energy, step_size=s["step"] / 2, noise_scale=1.0)
    cd = ContrastiveDivergence(
        model=energy,
        sampler=sampler,
        k_steps=s["langevin_steps"],
        persistent=True,
        buffer_size=s["buffer"],
        new_sample_ratio=s["reinit"],
        init_steps=0,
        energy_reg_weight=s["reg"],
    )
    opt = torch.optim.Adam(energy.parameters(), lr=s["lr"])

    def run():
        for _ in range(s["train_steps"]):
            loss, _ = cd(data[torch.randint(len(data), (s["batch"],))])
            opt.zero_grad()
            loss.backward()
            opt.step()

    return run


def w8():
    case = workloads.make("W8")
    s, x = case.sizes, torch.from_numpy(case.inputs["x"])
    sampler = HamiltonianMonteCarlo(
        Energy(case.params["energy"]), step_size=s["step"], n_leapfrog_steps=s["leapfrog"]
    )
    return lambda: sampler.sample(x=x, n_steps=s["iterations"])


WORKLOADS = {"W1": w1, "W2": w2, "W8": w8}
