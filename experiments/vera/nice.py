"""NICE on pictures of 14 by 14: how likely is what an estimator without a normaliser learns?

    python experiments/vera/nice.py               three seeds of both sets
    python experiments/vera/nice.py --quick       a minute

The energy is -log p of a normalising flow (VERA, Grathwohl et al. 2021, section 5.1, table 2),
trained as if that were not known, so that the held-out log-likelihood is exact. Nats are of a
row of 196 numbers in logit space: pixels are means of 2 by 2, rounded to 256 levels, then
``Dequantize(centred=True)`` and ``Logit(0, clip=.001)`` as in the paper. What ``to pixels``
adds turns them into nats of numbers on [0, 1], before what the clamp takes.

Learning rates (and sigma, where there is one) are chosen from a grid for every method alike, by
the likelihood of validation data after a shorter run of another seed. Then each method is
trained for as many steps, and for as many seconds, as VERA with lambda 1: seconds are those of
one processor, a step's being measured beside the others' before the runs.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ebmlib import (
    datasets,
    entropy,
    estimators,
    networks,
    optimizers,
    preprocessing,
    samplers,
)

SIDE, BATCH, STEPS, CHOICE = 14, 100, 2000, 800
NETWORK = networks.NICE(couplings=4, layers=2, width=128)
GENERATOR = networks.MLPGenerator(50, (128, 128), "softplus", norm="batch", sigma=0.3)
CRITIC = networks.MLP((128, 128, 128), "leaky_relu")
BETAS = (0.0, 0.9)  # of all, as in the paper
VERSUS = "vera 1"  # whose seconds the others get

PAPER = {  # table 2: MNIST, 28 by 28
    "ml": -791,
    "vera 1": -1138,
    "vera 0": -1214,
    "hmc": -1165,
    "meg": -1219,
    "pcd": -4207,
    "ssm": -2039,
    "dsm": -4363,
    "cp": -1517,
}
NAMES = {
    "ml": "maximum likelihood",
    "vera 1": "VERA, λ = 1",
    "vera 0": "VERA, λ = 0",
    "hmc": "VERA (HMC), λ = 1",
    "meg": "MEG, λ = 1",
    "pcd": "PCD, the best of its grid",
    "pcd worst": "PCD, the worst of its grid",
    "ssm": "sliced score matching",
    "dsm": "denoising score matching",
    "cp": "curvature propagation",
    "equal": "VERA, λ = 1, equal rates",
}


# ---- data ------------------------------------------------------------------------------------


def pictures(name):
    """Levels (N, 196) of training, validation and test data."""
    if name == "fashion":
        x = np.concatenate(
            [datasets.load_fashion_mnist(s, value_range=None)[0] for s in ("train", "test")]
        )
        cuts = (55_000, 60_000)
    else:
        x = datasets.load_mnist5000(value_range=None)[0]
        x = x[np.random.default_rng(0).permutation(len(x))]
        cuts = (3500, 4000)
    small = x.reshape(len(x), SIDE, 2, SIDE, 2).sum(axis=(2, 4), dtype=np.int64)
    return np.split(((small + 2) // 4).reshape(len(x), -1), cuts)


def rows(name):
    """{"train", "validation", "test"}: rows in logit space; "to pixels": nats to add."""
    found = {}
    for seed, (part, x) in enumerate(
        zip(("train", "validation", "test"), pictures(name), strict=True)
    ):
        noisy = preprocessing.Dequantize(centred=True, random_state=seed).fit_transform(x)
        logit = preprocessing.Logit(0.0, clip=1e-3).fit(noisy)
        found[part] = logit.transform(noisy).astype(np.float32)
    inside = np.clip(noisy, 1.001e-3, 1 - 1.001e-3)
    found["to pixels"] = float(logit.log_det(inside).mean())
    return found


# ---- methods ---------------------------------------------------------------------------------


def likelihood(rate):
    return estimators.MaximumLikelihood(NETWORK, learning_rate=rate)


def vera(weight, kind="importance"):
    """VERA with an estimate of the entropy; weight 0: with none."""

    def make(rate, generator_rate):
        return estimators.VERA.paper(
            "nice",
            network=NETWORK,
            generator=GENERATOR,
            entropy=kind if weight else None,
            entropy_weight=weight,
            learning_rate=rate,
            generator_optimizer=optimizers.Adam(generator_rate, betas=BETAS),
            entropy_optimizer=optimizers.Adam(generator_rate),
        )

    return make


def pcd(rate, sigma, n_steps):
    return estimators.PCD(
        NETWORK,
        samplers.Langevin.tied(sigma, n_steps=n_steps),
        learning_rate=rate,
        l2=0.0,
        data_noise=0.0,
    )


def score_matching(kind):
    def make(rate, sigma=0.1):
        return estimators.ScoreMatching(NETWORK, kind=kind, learning_rate=rate, sigma=sigma)

    return make


PAIRS = [(e, g) for e in (1e-3, 3e-4, 1e-4) for g in (3e-3, 1e-3)]
RATES = [(e,) for e in (3e-3, 1e-3, 3e-4, 1e-4)]
# One more estimate of the entropy is one more row here, and in NAMES.
METHODS = {  # how it is made, and the grid
    "ml": (likelihood, RATES),
    "vera 1": (vera(1.0), PAIRS),
    "vera 0": (vera(0.0), PAIRS),
    "hmc": (vera(1.0, entropy.HMC()), PAIRS),
    "meg": (vera(1.0, entropy.MutualInformation(critic=CRITIC)), PAIRS),
    "pcd": (
        pcd,
        [(e, s, n) for e in (1e-3, 1e-4) for s, n in ((0.1, 20), (0.1, 40), (1.0, 20))],
    ),
    "ssm": (score_matching("sliced_vr"), RATES),
    "dsm": (score_matching("denoising"), [(e, s) for (e,) in RATES[:3] for s in (0.1, 0.3)]),
    "cp": (score_matching("curvature"), RATES),
}


# ---- runs ------------------------------------------------------------------------------------


def train(data, method, setting, seed, steps, seconds=0.0, legs=10):
    """One run of so many steps, and of so many seconds: likelihoods at the ends of its legs."""
    est = METHODS[method.partition(" at")[0]][0](*setting)
    est.set_params(betas=BETAS, batch_size=BATCH, random_state=seed, max_steps=0)
    est.fit(data["train"])
    found = {"steps": [0], "seconds": [0.0], "setting": list(setting)}
    found |= {part: [est.score(data[part])] for part in ("validation", "test")}
    try:
        while found["steps"][-1] < steps or found["seconds"][-1] < seconds:
            start = time.process_time()
            est.partial_fit(data["train"], n_steps=steps // legs)
            found["seconds"].append(found["seconds"][-1] + time.process_time() - start)
            found["steps"].append(est.n_steps_)
            for part in ("validation", "test"):
                found[part].append(est.score(data[part]))
    except ArithmeticError as error:
        found["error"] = str(error)
    last = {
        f"last {name}": float(v[-100:].mean())
        for name, v in est.history_.items()
        if name in ("sigma", "ess")
    }
    return found | last | {"final": found["validation"][-1]}
