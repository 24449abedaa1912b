"""How much of the entropy's gradient do estimates of a generator's score recover?

VERA (Grathwohl et al. 2021), appendix B.4: the generator x = W z + mu + sigma eps is fitted to
digits by PCA, so the score -C^-1 (x - mu), C = W W' + sigma^2 I, and dH/dW = C^-1 W are exact.

    share     <estimate, exact> / <exact, exact> of dH/dW = -E[score z0'], over fresh (z0, eps)
    mean abs, signed    B.4: at 10 fixed x (and the z0 that made each), n estimates are averaged
              and compared with the exact score; over dimensions and x. Noise alone makes a mean
              abs of 0.8 RMS / sqrt(n)
    RMS       of a single estimate at fresh (z0, eps)
    ESS       effective number of importance draws

The share uses that an estimate and the exact score see the same draws: it is 1 + <difference,
exact> / <exact, exact>, whose noise is that of the difference alone. Averaging at a fixed z0
shows what does not go away: an estimate that leans on z0 is not better for being repeated.

Smaller than in the paper: 5,000 digits instead of 60,000 (sigma is their PCA's), fewer
estimates where each is dear, and importance's eta is set to the optimum that 500 steps of Adam
approach, eta_j^2 = 1 / (W'W / sigma^2 + I)_jj. The paper states neither the latent size nor how
pixels are scaled, here on [0, 1]; on [-1, 1] errors are half as large and shares the same.

The paper's figures: HMC with 2 burn-in steps .48, with 500 .20, VERA with k = 20 .12. Its code
has leapfrog follow the gradient of the prior alone, "prior" here.
"""

import functools
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

import ebmlib as ebm
from ebmlib import datasets, entropy, metrics, networks

PAPER = {"HMC 2 prior": "0.48", "HMC 500 prior": "0.20", "importance 20": "0.12"}
ROWS = 128  # a training batch
FIXED = 10  # samples of B.4
DRAWS = (1, 20, 200, 2000)  # of importance sampling


def methods(d, quick):
    """{name: (estimate, estimates a fixed x for B.4, fresh draws for the share)}.

    An error lies in the d directions of W, so the fewer they are the noisier is the share.
    """
    found = {}
    sizes = {1: (2000, 4096), 20: (1000, 4096), 200: (200, 1024), 2000: (20, 128)}
    for k in (20, 200) if quick else sizes:
        found[f"importance {k}"] = (entropy.Importance(draws=k), *sizes[k])
    for burn_in in (2,) if quick else (2, 500):
        for gradient in ("full", "prior"):
            made = entropy.HMC(draws=2, burn_in=burn_in, gradient=gradient)
            size = (1000, 4096) if burn_in == 2 else (50, 512 * min(8, max(1, 100 // d)))
            found[f"HMC {burn_in} {gradient}"] = (made, *size)
    found["Gauss-Newton"] = (entropy.GaussNewton(), 100, 4096)
    if quick:
        found = {name: (made, 30, 256) for name, (made, *_) in found.items()}
    return found


def own_arrays(estimate, generator, seed):
    """The best eta; a step size (500 calls, as B.4) or a preconditioner as training has it."""
    if isinstance(estimate, entropy.Importance):
        w = generator.parameters()["w"]
        precision = np.square(w).sum(axis=0) / generator.sigma**2 + 1.0
        return {"log_eta": (-0.5 * np.log(precision)).astype(np.float32)}
    own = estimate.start(generator)
    calls, rows = (50, ROWS) if isinstance(estimate, entropy.GaussNewton) else (500, 16)
    if isinstance(estimate, entropy.HMC):  # tuned at the default, as B.4
        estimate = entropy.HMC(gradient=estimate.gradient)
    go = ebm.jit(lambda x, z0, k, own: estimate.score(generator, x, z0, k, own, True)[2])
    for i in range(calls):
        x, z0 = generator.sample(rows, random_state=1000 * seed + i, return_latent=True)
        own = go(x, z0, ebm.random.key(1000 * seed + i), own)
    return own


def in_batches(score, x, z0, rows, seed):
    """Scores and reports of many rows, a batch at a time."""
    parts = []
    for i, start in enumerate(range(0, len(x), rows)):
        take = np.arange(start, start + rows) % len(x)  # the last batch is filled up
        found = score(x[take], z0[take], ebm.random.key(10_000 * seed + i))
        parts.append([part[: len(x) - start] for part in found])
    return (np.concatenate(part) for part in zip(*parts, strict=True))


def among_others(score, x, z0, others, others_z0, n_estimates, seed):
    """Means of scores of some rows, each time in a batch with others."""
    total, rng = 0.0, np.random.default_rng(seed)
    for i in range(n_estimates):
        take = rng.choice(len(others), ROWS - len(x), replace=False)
        both = (np.concatenate(p) for p in ((x, others[take]), (z0, others_z0[take])))
        total = total + score(*both, ebm.random.key(20_000 * seed + i))[0][: len(x)]
    return total / n_estimates


def judge(estimate, generator, n_estimates, n_fresh, seed):
    """One repeat of one method."""
    own = own_arrays(estimate, generator, seed)
    score = ebm.jit(
        lambda x, z0, key: estimate.score(generator, x, z0, key, own, return_info=True)[:2]
    )
    draws = getattr(estimate, "draws", 1)
    rows = max(1, min(ROWS, 40_000 // draws))  # memory is that of rows times draws
    exact = generator.entropy_gradient()

    x, z0 = generator.sample(n_fresh, random_state=seed, return_latent=True)
    made, report = in_batches(score, x, z0, rows, seed)
    lacks = made - generator.score(x)
    gradient = exact - lacks.T @ z0 / n_fresh
    alone = metrics.score_error(made, generator.score(x))

    fixed = generator.sample(FIXED, random_state=500 + seed, return_latent=True)
    if isinstance(estimate, entropy.GaussNewton):  # rows of a batch have to be independent
        x, z0 = generator.sample(n_fresh, random_state=900 + seed, return_latent=True)
        mean = among_others(score, *fixed, x, z0, n_estimates, seed)
    else:
        tiled = (np.tile(a, (n_estimates, 1)) for a in fixed)
        repeated, _ = in_batches(score, *tiled, rows, 77 + seed)
        mean = repeated.reshape(n_estimates, FIXED, -1).mean(axis=0)
    bias = metrics.score_error(mean, generator.score(fixed[0]))

    key = ebm.random.key(0)
    span = common.seconds(lambda: score(x[:rows], z0[:rows], key), 3)
    return {
        "share": metrics.gradient_share(gradient, exact),
        "mean abs": bias.mean_abs,
        "signed": bias.signed,
        "RMS": alone.rms,
        "ms": 1e3 * span * ROWS / rows,
        **({"ESS": report.mean()} if isinstance(estimate, entropy.Importance) else {}),
    }


def draw(path, runs, sizes, names):
    """Share against latent size, a line a method."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(7, 4), layout="constrained")
    ax = drawn.subplots()
    for name in names:
        shares = {d: runs.values(f"{d}/{name}", "share") for d in sizes}
        shares = {d: found for d, found in shares.items() if found}
        means = [np.mean(found) for found in shares.values()]
        ax.errorbar(
            list(shares),
            means,
            [np.std(found) for found in shares.values()],
            marker="o",
            capsize=3,
            label=name,
        )
    ax.axhline(1.0, color="0.7", zorder=0)
    ax.set(xscale="log", xlabel="latent size", ylabel="share of dH/dW recovered")
    drawn.legend(fontsize="small", loc="outside right upper")
    drawn.savefig(path, dpi=150)


def row(runs, d, name, count):
    """A line of the table."""

    def of(key, digits=2):
        return common.spread(runs.values(f"{d}/{name}", key), digits)

    spans = runs.values(f"{d}/{name}", "ms")
    median = f"{np.median(spans):.1f}" if spans else ""
    figures = [of("share"), of("mean abs"), of("RMS"), of("signed", 3), of("ESS", 1)]
    return [d, name, *figures, count, median, PAPER.get(name, "")]


def verdicts(runs, sizes):
    """What the method has to show."""
    for d in sizes:
        share, error = (
            {name: runs.values(f"{d}/{name}", key) for name in methods(d, False)}
            for key in ("share", "mean abs")
        )
        for name, within in (("HMC 500 full", 0.05), ("Gauss-Newton", 0.05)):
            if share[name]:
                off = abs(np.mean(share[name]) - 1)
                yield common.verdict(f"d = {d}, {name}: 1 within .05 ({off:.2f})", off < within)
        drawn = [np.mean(error[f"importance {k}"]) for k in DRAWS if error[f"importance {k}"]]
        if len(drawn) > 1:
            yield common.verdict(
                f"d = {d}: importance's error falls with k", drawn == sorted(drawn)[::-1]
            )
        if error["importance 20"] and error["HMC 2 prior"]:
            yield common.verdict(
                f"d = {d}: importance 20 is below HMC 2 with the prior's gradient",
                np.mean(error["importance 20"]) < np.mean(error["HMC 2 prior"]),
            )


def main():
    options = common.parser(__doc__, "entropy_gradient").parse_args()
    sizes = (2, 20) if options.quick else (2, 10, 50, 100)
    seeds = min(options.seeds, 2) if options.quick else options.seeds
    load = datasets.load_digits if options.quick else datasets.load_mnist5000
    X = load(value_range=(0, 1))[0]
    runs, rows, sigmas = common.Runs(options), [], []
    for d in sizes:
        generator = networks.LinearGenerator(latent=d).bind_data(X.reshape(len(X), -1))
        sigmas.append(f"{generator.sigma:.3f}")
        for name, (estimate, *counts) in methods(d, options.quick).items():
            for seed in range(seeds):
                ask = functools.partial(judge, estimate, generator, *counts, seed)
                runs.run(f"{d}/{name}/{seed}", ask)
            rows.append(row(runs, d, name, counts[0]))
    head = ["d", "method", "share", "mean abs", "RMS", "signed", "ESS", "n", "ms", "paper"]
    text = f"sigma {', '.join(sigmas)}\n\n{common.table(head, rows)}\n\n"
    if not options.quick:
        text += "\n".join(verdicts(runs, sizes))
    (options.out / "entropy_gradient.md").write_text(text + "\n")
    print(text)
    draw(options.out / "entropy_gradient.png", runs, sizes, methods(2, options.quick))


if __name__ == "__main__":
    main()
