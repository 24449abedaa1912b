"""How cost grows: chains, dimensions, steps, depth, training batches, threads.

    python benchmarks/growth.py                            two minutes; a table a curve
    python benchmarks/growth.py --json build/bench.json --merge --figure build/growth.png
    python benchmarks/growth.py --draw build/bench.json --figure benchmarks/growth.png

The work is that of W1: Langevin steps of size .01 on an MLP of two layers of 128, swish, with
1024 chains on the plane, and one of these numbers grows. What is reported is the cost of a unit
of work, which is flat where cost grows as the work does: a chain's step, a multiply-add of its
products (so that one layer, which has no hidden product, is dear), a row in a step of training,
or a chain's step times threads.

A point is flagged where a unit costs a quarter more than at the curve's best point: as start-up
if the whole call takes less than a millisecond, since calls have a fixed cost, and else as not
flat.

Before a point is timed, its first chains must have the bits that a few chains have alone, and
these must agree with NumPy in float64; on several threads, all bits must be those of one.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import record
from report import lines

TITLE = "Growth"
FEW, STEP = 16, 0.005  # chains of a check; step_size, half of W1's step
FLAT, SHORT = 1.25, 0.001  # times the least cost; seconds of a call
LEAST, MOST = 5, 0.8  # repetitions, and the seconds after which they end


# ---- work ------------------------------------------------------------------------------------


def network(dim=2, hidden=(128, 128)):
    from ebmlib import networks

    return networks.MLP(hidden).bind(dim, random_state=0)


def starts(chains, dim=2):
    import numpy as np

    return np.random.default_rng(0).standard_normal((chains, dim), dtype=np.float32)


def walk(energy, x, steps):
    from ebmlib import samplers

    return samplers.Langevin(STEP).sample(energy, x, n_steps=steps, random_state=0)


def products(energy):
    """Multiply-adds of a chain's step: each weight is met on the way there and back."""
    return 2 * sum(a.size for name, a in energy.parameters().items() if name.endswith("w"))


def reference(energy, x, steps):
    """The walk in NumPy, float64, with the numbers that the chain draws."""
    import numpy as np
    from ours import draws_of_chain

    p = energy.parameters()
    weights = [p[f"l{i}.w"].astype(np.float64) for i in range(len(p) // 2)]
    biases = [p[f"l{i}.b"] for i in range(len(p) // 2)]
    for n in draws_of_chain(x.shape, steps, 0):
        slopes, h = [], x.astype(np.float64)
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            a = h @ w + b
            s = 1 / (1 + np.exp(-a))
            h = a * s
            slopes.append(s + h * (1 - s))
        g = np.broadcast_to(weights[-1][:, 0], h.shape)
        for w, slope in zip(weights[-2::-1], slopes[::-1], strict=True):
            g = (g * slope) @ w.T
        x = x - STEP * g + (2 * STEP) ** 0.5 * n
    return x


def check_chains(energy, dim, chains, steps):
    """SystemExit if the chains of a point are not what they should be."""
    import numpy as np

    few, known = starts(FEW, dim), min(steps, 10)
    gap = np.abs(walk(energy, few, known) - reference(energy, few, known)).max()
    if not gap < 1e-4:
        raise SystemExit(f"{energy}: wrong by {gap:.1e}")
    many = np.resize(starts(1, dim), (chains, dim))
    many[:FEW] = few
    if not np.array_equal(walk(energy, many, steps)[:FEW], walk(energy, few, steps)):
        raise SystemExit(f"{energy}: chains depend on the number of chains")


# ---- curves ----------------------------------------------------------------------------------


def times_of(call):
    """Seconds of the calls after the first."""
    call()
    times = []
    while len(times) < LEAST and sum(times) < MOST:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def chain_point(x, units, chains=1024, dim=2, hidden=(128, 128), steps=20):
    """A point of a curve of chains; ``units`` is of a chain's step."""
    energy = network(dim, hidden)
    check_chains(energy, dim, chains, steps)
    begin = starts(chains, dim)
    times = times_of(lambda: walk(energy, begin, steps))
    return {"x": x, "seconds": times, "units": chains * steps * units(energy)}


def one(energy):
    return 1


def chains_curve():
    for n in (100, 1000, 10_000, 100_000, 1_000_000):
        yield chain_point(n, one, chains=n, steps=10)


def dimension_curve():
    for dim in (2, 10, 100, 1000, 10_000):
        yield chain_point(dim, products, dim=dim, steps=10)


def steps_curve():
    for steps in (10, 100, 1000, 10_000):
        yield chain_point(steps, one, chains=256, steps=steps)


def depth_curve():
    for depth in (1, 2, 4, 8, 16):
        yield chain_point(depth, products, hidden=(128,) * depth)


def trainer(batch):
    from ebmlib import estimators, networks, samplers

    return estimators.PCD(
        networks.MLP((128, 128)),
        samplers.Langevin(STEP, n_steps=20),
        buffer_size=8192,
        batch_size=batch,
        random_state=0,
    )


def batch_curve():
    data = starts(8192)
    for batch in (16, 64, 256, 1024, 4096):
        est, steps = trainer(batch), max(4, 8192 // batch)
        times = times_of(lambda est=est, steps=steps: est.partial_fit(data, n_steps=steps))
        yield {"x": batch, "seconds": times, "units": batch * steps}


def threads_of_machine():
    """1, 2, 4, ... and all."""
    most = len(os.sched_getaffinity(0))
    return sorted({2**k for k in range(most.bit_length())} | {most})


def threads_curve(make, x, steps):
    """A new network for each number: a compiled chain keeps the lanes that it was made with."""
    import numpy as np

    import ebmlib as ebm

    before, want = ebm.num_threads(), None
    for threads in threads_of_machine():
        ebm.set_num_threads(threads)
        energy = make()
        got = walk(energy, x, steps)
        want = got if want is None else want
        if not np.array_equal(got, want):
            raise SystemExit(f"{energy}: {threads} threads change bits")
        times = times_of(lambda energy=energy: walk(energy, x, steps))
        yield {"x": threads, "seconds": times, "units": len(x) * steps / threads}
    ebm.set_num_threads(before)


def mlp_threads_curve():
    return threads_curve(network, starts(1024), 100)


def conv_threads_curve():
    import numpy as np

    from ebmlib import networks

    def make():
        return networks.ConvNet((64, 64, 128, 128)).bind((28, 28, 1), random_state=0)

    x = np.random.default_rng(0).uniform(-1, 1, (128, 28, 28, 1)).astype(np.float32)
    return threads_curve(make, x, 2)


CURVES = {  # what grows, the unit, how many of it a second has, the points
    "chains": ("chains", "ns a chain's step", 1e9, chains_curve),
    "dimension": ("dimension", "ps a multiply-add", 1e12, dimension_curve),
    "steps": ("steps, 256 chains", "ns a chain's step", 1e9, steps_curve),
    "depth": ("layers of 128", "ps a multiply-add", 1e12, depth_curve),
    "batch": ("training batch, PCD", "us a row", 1e6, batch_curve),
    "threads": ("threads", "thread-ns a chain's step", 1e9, mlp_threads_curve),
    "conv threads": (
        "threads, images of W5",
        "thread-us a chain's step",
        1e6,
        conv_threads_curve,
    ),
}


# ---- reports ---------------------------------------------------------------------------------


def costs(name, points):
    """[(x, cost of a unit, flag)]."""
    scale = CURVES[name][2]
    medians = [statistics.median(point["seconds"]) for point in points]
    found = [scale * m / point["units"] for m, point in zip(medians, points, strict=True)]
    flags = ["" if cost < FLAT * min(found) else "not flat" for cost in found]
    flags = [
        "start-up" if flag and seconds < SHORT else flag
        for flag, seconds in zip(flags, medians, strict=True)
    ]
    return list(zip([point["x"] for point in points], found, flags, strict=True))


def number(cost):
    """Three figures, without powers of ten."""
    return f"{cost:.0f}" if cost >= 100 else f"{cost:.3g}"


def tables(section):
    """For the page of all results."""
    pages = ["![Cost of a unit of work as the work grows](growth.png)"]
    for name, points in section["curves"].items():
        what, unit = CURVES[name][:2]
        row = [unit]
        for _, cost, flag in costs(name, points):
            row.append(f"**{number(cost)}** {flag}" if flag else number(cost))
        pages.append(lines([what, *(f"{point['x']:,}" for point in points)], [row]))
    return pages


def draw(section, machine, path):
    """A page of small multiples; NumPy's users have matplotlib, but need not."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("no matplotlib: no figure")
        return
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.6), layout="constrained")
    for ax in axes.flat[len(section["curves"]) :]:
        ax.set_axis_off()
    for ax, (name, points) in zip(axes.flat, section["curves"].items(), strict=False):
        what, unit = CURVES[name][:2]
        xs, ys, flags = zip(*costs(name, points), strict=True)
        ax.plot(xs, ys, color="0.35", lw=1.2, zorder=1)
        for flag, face in (("", "0.35"), ("start-up", "white"), ("not flat", "tab:red")):
            dots = [(x, y) for x, y, f in zip(xs, ys, flags, strict=True) if f == flag]
            if dots:
                ax.scatter(*zip(*dots, strict=True), c=face, edgecolors="0.35", zorder=2)
        ax.set_xscale("log", base=10 if max(xs) > 5000 and name != "batch" else 2)
        if ax.get_xscale() == "log" and len(xs) <= 5:
            ax.set_xticks(
                xs, [f"{x:,}" if x < 10_000 else f"$10^{len(str(x)) - 1}$" for x in xs]
            )
            ax.minorticks_off()
        ax.set_ylim(0, 1.15 * max(ys))
        ax.set(xlabel=what, ylabel=unit)
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"Cost of a unit of work. {machine['processor']}, {machine['processors']} processors, "
        f"{machine['isa']}.\nWhite: start-up (a call of less than {1e3 * SHORT:.0f} ms); "
        f"red: not flat (over {FLAT} times the least).",
        fontsize=10,
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--curves", default=",".join(CURVES), help="comma")
    parser.add_argument("--figure", help="a PNG of all curves")
    parser.add_argument("--draw", metavar="JSON", help="only draw what was measured before")
    record.arguments(parser)
    return parser.parse_args()


def main():
    args = parse()
    if args.draw:
        kept = record.load(args.draw)
        draw(kept["growth"], kept["machine"], args.figure or "growth.png")
        return
    kept = record.begin(args.json, args.merge)
    section = kept["growth"] = {**record.stamp(), "curves": {}}
    for name in args.curves.split(","):
        begin = time.perf_counter()
        section["curves"][name] = points = list(CURVES[name][3]())
        print(f"{name}, {CURVES[name][1]} ({time.perf_counter() - begin:.0f} s)")
        for x, cost, flag in costs(name, points):
            print(f"  {x:>9,}  {number(cost):>8}  {flag}", flush=True)
        record.save(args.json, kept)
    if args.figure:
        draw(section, kept["machine"], args.figure)


if __name__ == "__main__":
    main()
