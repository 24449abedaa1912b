"""W5, convolutional SGLD: 60 steps on 128 images 28x28x1.

Four convolutions (3x3 to 64; 4x4 stride 2 to 64, 128, 128), two dense layers, swish.

    x' = clip(x - dE/dx + .01 n, -1, 1)
"""

from ours import Chain, Workload, conv, langevin, linear

from ebmlib import functional as F
from ebmlib import networks, samplers


def energy(p, x, strides=(1, 2, 2, 2)):
    """(B, 28, 28, 1) to (B,)."""
    for i, stride in enumerate(strides):
        x = F.swish(conv(p, f"c{i}", x, stride))
    x = F.swish(linear(p, "l0", x.reshape(len(x), -1)))
    return linear(p, "l1", x)[:, 0]


class W5(Workload):
    keep = "x"

    def unit(self, const, state, noise):
        s, p = self.s, const["energy"]
        x = langevin(
            lambda x: energy(p, x), const["x"], noise["n"], s["step"], s["noise"], (-1, 1)
        )
        return state, {"x": x}


class W5Sampler(Chain):
    def network(self):
        _, channels, kernels, strides = zip(*self.s["convs"], strict=True)
        return networks.ConvNet(channels, kernels, strides, 1, (self.s["hidden"],), "swish")

    def sampler(self):
        s = self.s
        return samplers.Langevin(s["step"], s["noise"], s["steps"], clip=(-1, 1))
