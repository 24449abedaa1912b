"""Refinement: do chains on what a generator's samples are made of give the law exp(-E)?

    python experiments/vera/refinement.py            three seeds, some minutes
    python experiments/vera/refinement.py --quick    a minute

First where all is known: a perfect generator x = w z + σ ε of N(0, 1), w² + σ² = 1, and the
energy x² / 2. The targets exact and flat must leave the variance of x at 1, tilted must bring
it to 1/2 (VERA, Grathwohl et al. 2021, appendix B.6.1; VAEBM, Xiao et al. 2021).

Then eight Gaussians, whose density is the energy, and VERA's generators of them that are not
good: stopped early, or trained without entropy. How far are 2,000 samples from exact ones
before and after refinement, by energy distance, by mean log density, and by how unequal the
eight modes are? The exact target is walked in two ways: on (z, ε), as `samplers.refine` does,
and on (z, u) with u = σ ε, the same law of x, in which a step is as long in u as in x.

All chains are MALA's, with steps tuned in the first half, 50 steps at most, to an acceptance of
.57, the paper's.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import common

from ebmlib import datasets, estimators, metrics, networks, samplers

STEPS = (0, 10, 100, 1000)
TARGETS = {
    "exact": "exact, (z, ε)",
    "scaled": "exact, (z, σε)",
    "flat": "flat, (z, ε)",
    "tilted": "tilted, (z, ε)",
}
SIGMAS = (0.6, 0.1)
GENERATORS = {
    "early": "λ = 1, 1,000 steps",
    "wide": "λ = 1, 1,000 steps, σ kept",
    "none": "λ = 0, 3,000 steps",
}
LAW = datasets.gaussians8()


def mala(n_steps):
    adapt = min(50, max(n_steps // 2, 1))
    return samplers.MALA(
        0.5, n_steps=n_steps, adapt="dual_averaging", target=0.57, n_adapt=adapt
    )


def refine(energy, g, n, target, n_steps, seed):
    """Rows x (n, ...), and the mean acceptance of the last step."""
    if n_steps == 0:
        return samplers.refine(energy, g, n, n_steps=0, random_state=seed), np.nan
    scaled = target == "scaled"
    x, info = samplers.refine(
        energy,
        g,
        n,
        "exact" if scaled else target,
        mala(n_steps),
        scaled=scaled,
        random_state=seed,
        return_info=True,
    )
    return x, info["acceptance"][-1].mean()


def gaussian(sigma, target, n_steps, n, seed):
    """The variance of x, from a perfect generator of N(0, 1)."""
    g = networks.LinearGenerator(1, sigma).bind(1, random_state=0)
    g.set_parameters({"w": [[np.sqrt(1 - sigma**2)]]})

    def energy(x):
        return 0.5 * np.sum(x**2, axis=1)

    x, acceptance = refine(energy, g, n, target, n_steps, seed)
    return {"variance": x.var(dtype=np.float64), "acceptance": acceptance}


# ---- eight Gaussians -------------------------------------------------------------------------


def law_as_energy():
    """-log density of the law, as a network of the core."""
    k = len(LAW.means)
    return (
        networks.GaussianMixture(k)
        .bind(2, random_state=0)
        .set_parameters({"means": LAW.means, "log_std": np.full((k, 2), np.log(LAW.sigma))})
    )


def train(which, seed, quick):
    """A generator of the law that is not good."""
    options = {"max_steps": 3000 if which == "none" else 1000, "random_state": seed}
    if which == "none":
        options |= {"entropy": None, "entropy_weight": 0.0}
    if which == "wide":
        generator = networks.MLPGenerator(2, (100, 100), sigma=0.3)
        options |= {"generator": generator, "sigma_min": 0.3}
    if quick:
        options["max_steps"] //= 5
    x = LAW.sample(20_000, random_state=seed)
    return estimators.VERA.code("toy", **options).fit(x).generator_


def judge(x, seed):
    """How far rows are from the law."""
    exact = LAW.sample(len(x), random_state=1000 + seed)
    mode = np.argmin(np.sum((x[:, None] - LAW.means) ** 2, axis=2), axis=1)
    shares = np.bincount(mode, minlength=len(LAW.means)) / len(x)
    return {
        "distance": metrics.energy_distance(x, exact).value,
        "log_density": LAW.log_density(x).mean(),
        "unequal": 0.5 * np.abs(shares - LAW.weights).sum(),
    }


# ---- runs ------------------------------------------------------------------------------------


def run(options):
    runs = common.Runs(options)
    seeds, n = (1, 500) if options.quick else (options.seeds, 2000)
    steps = STEPS[:-1] if options.quick else STEPS
    energy = law_as_energy()
    for seed in range(seeds):
        for sigma in SIGMAS:
            for target in TARGETS:
                for k in steps:
                    runs.run(
                        f"gaussian/{sigma:g}/{target}/{k}/{seed}",
                        lambda a=(sigma, target, k, 10 * n, seed): gaussian(*a),
                    )
        runs.run(
            f"mixture/law/{seed}", lambda s=seed: judge(LAW.sample(n, random_state=2000 + s), s)
        )
        for which in GENERATORS:
            made = {}
            for target in list(TARGETS)[:3]:
                for k in steps:

                    def found(which=which, target=target, k=k, seed=seed, made=made):
                        if not made:
                            made["g"] = train(which, seed, options.quick)
                        x, acceptance = refine(energy, made["g"], n, target, k, seed)
                        if seed == 0:
                            np.save(options.out / f"{which} {target} {k}.npy", x)
                        sigma = made["g"].sigma
                        return judge(x, seed) | {"acceptance": acceptance, "sigma": sigma}

                    runs.run(f"mixture/{which}/{target}/{k}/{seed}", found)
    return runs, steps


def report(runs, steps):
    """Tables and verdicts, as Markdown."""
    texts = ["Variance of x on N(0, 1), from a perfect generator:"]
    rows = [
        [f"σ = {sigma:g}: {TARGETS[target]}"]
        + [
            common.spread(runs.values(f"gaussian/{sigma:g}/{target}/{k}", "variance"), 3)
            for k in steps
        ]
        for sigma in SIGMAS
        for target in TARGETS
    ]
    header = ["steps", *map(str, steps)]
    texts.append(common.table(header, rows))
    texts.append("\n".join(verdicts(runs, steps)))
    for name, title, digits in (
        ("distance", "Energy distance to exact samples", 4),
        ("log_density", "Mean log density of the samples under the law", 2),
        ("unequal", "Half the summed difference of the modes' shares to 1/8", 3),
    ):
        law = common.spread(runs.values("mixture/law", name), digits)
        rows = []
        for which, label in GENERATORS.items():
            sigma = np.mean(runs.values(f"mixture/{which}/exact/0", "sigma") or [np.nan])
            for target in list(TARGETS)[:3]:
                cells = [
                    common.spread(runs.values(f"mixture/{which}/{target}/{k}", name), digits)
                    for k in steps
                ]
                rows.append([f"{label}, σ = {sigma:.2f}: {TARGETS[target]}", *cells])
        texts.append(f"{title}; of exact samples {law}:")
        texts.append(common.table(header, rows))
    return "\n\n".join(texts)


def verdicts(runs, steps):
    """What must hold on the Gaussian, at σ = .6 after most steps."""
    last = steps[-1]
    for target, expected in (("exact", 1.0), ("scaled", 1.0), ("flat", 1.0), ("tilted", 0.5)):
        found = np.array(runs.values(f"gaussian/{SIGMAS[0]:g}/{target}/{last}", "variance"))
        if len(found):
            yield common.verdict(  # three deviations of the variance of 20,000 numbers
                f"{TARGETS[target]}: variance {expected:g} within .03 on every seed "
                f"({found.min():.3f} to {found.max():.3f})",
                np.abs(found - expected).max() < 0.03,
            )


def draw(options, steps):
    """Samples of the first seed on the law's density: a row a generator and target."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    where = LAW.extent
    points, _ = datasets.grid(where, 150)
    density = np.exp(LAW.log_density(points)).reshape(150, 150)
    rows = [(which, target) for which in ("early", "none") for target in list(TARGETS)[:3]]
    figure, axes = plt.subplots(
        len(rows), len(steps), figsize=(2 * len(steps), 2.05 * len(rows)), layout="constrained"
    )
    for (which, target), line in zip(rows, axes, strict=True):
        for k, ax in zip(steps, line, strict=True):
            ax.imshow(
                density, origin="lower", extent=where, cmap="Greys", vmax=2 * density.max()
            )
            file = options.out / f"{which} {target} {k}.npy"
            if file.exists():
                x = np.load(file)[:1500]
                ax.plot(*x.T, ".", color="#D55E00", markersize=2.2, alpha=0.5, mew=0)
            ax.set(xticks=[], yticks=[], xlim=where[:2], ylim=where[2:])
            ax.spines[:].set_visible(False)
            if (which, target) == rows[0]:
                ax.set_title(f"{k} steps", fontsize=9)
        name = GENERATORS[which].split(",")[0]
        line[0].set_ylabel(f"{name}\n{TARGETS[target]}", fontsize=8)
    figure.savefig(options.out / "refinement.png", dpi=130)


def main():
    options = common.parser(__doc__, "refinement").parse_args()
    runs, steps = run(options)
    text = report(runs, steps)
    (options.out / "refinement.md").write_text(text + "\n")
    print(text)
    draw(options, steps)


if __name__ == "__main__":
    main()
