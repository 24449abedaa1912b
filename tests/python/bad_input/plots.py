"""Wrong calls: pictures."""

from __future__ import annotations

import functools

import matplotlib.pyplot as plt
import numpy as np

from ebmlib import datasets, plots
from tests.python.bad_input.case import cases

X = np.random.default_rng(0).normal(size=(40, 2))

IMAGES = np.zeros((6, 8, 8, 1))

STEPS = np.random.default_rng(1).normal(size=(20, 3, 2)).cumsum(axis=0)

CHAINS = STEPS[:, :, 0]


def energy(x):
    return np.sum(x**2, axis=1)


def drawn(function, *arguments, **options):
    """How many things a plot has; its figure is closed."""
    try:
        return len(function(*arguments, **options).get_children())
    finally:
        plt.close("all")


@functools.cache
def law():
    return datasets.moons()


CASES = [
    *cases(
        "plots.trace",
        lambda: drawn(plots.trace, CHAINS),
        (
            lambda: plots.trace([1.0, 2.0]),
            ValueError,
            (
                r"trace: shape: got \(2,\), expected \(m, n\) or \(m, n, "
                r"\.\.\.\)"
            ),
        ),
        (lambda: plots.trace("chains"), TypeError, "trace: values: got str, expected numbers"),
        (lambda: plots.trace(CHAINS * np.nan), ValueError, "trace: values: got no finite one"),
        (
            lambda: plots.trace(CHAINS[:0]),
            ValueError,
            (
                r"trace: shape: got \(0, 3\), expected \(m, n\) or \(m, n, "
                r"\.\.\.\)"
            ),
        ),
        (
            lambda: plots.trace(CHAINS, n_chains=0),
            ValueError,
            "trace: n_chains: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: plots.trace(CHAINS, n_chains="all"),
            TypeError,
            ("trace: n_chains: got 'all', expected a whole number of at least 1"),
        ),
        (
            lambda: plots.trace(STEPS, coordinate=2),
            ValueError,
            "trace: coordinate: got 2, expected 0 to 1",
        ),
        (
            lambda: plots.trace(STEPS, coordinate=-1),
            ValueError,
            "trace: coordinate: got -1, expected 0 to 1",
        ),
        (
            lambda: plots.trace(CHAINS, steps=[0, 1]),
            ValueError,
            r"trace: steps: got \(2,\), expected \(20,\)",
        ),
        (
            lambda: plots.trace(CHAINS, ax="axes"),
            TypeError,
            "plots: ax: got str, expected Axes of matplotlib",
        ),
    ),
    *cases(
        "plots.autocorrelation",
        lambda: drawn(plots.autocorrelation, CHAINS),
        (
            lambda: plots.autocorrelation([1.0]),
            ValueError,
            (
                r"autocorrelation: shape: got \(1,\), expected \(m, n\) or \(m, "
                r"n, \.\.\.\)"
            ),
        ),
        (
            lambda: plots.autocorrelation(CHAINS * np.nan),
            ValueError,
            "autocorrelation: values: got no finite one",
        ),
        (
            lambda: plots.autocorrelation(CHAINS, max_lag=20),
            ValueError,
            "autocorrelation: max_lag: got 20, expected 0 to 19",
        ),
        (
            lambda: plots.autocorrelation(CHAINS, max_lag=-1),
            ValueError,
            "autocorrelation: max_lag: got -1, expected 0 to 19",
        ),
        (
            lambda: plots.autocorrelation(CHAINS, max_lag=1.5),
            ValueError,
            r"autocorrelation: max_lag: got 1\.5, expected a whole number",
        ),
        (
            lambda: plots.autocorrelation(np.ones((5, 3))),
            ValueError,
            "autocorrelation: values: none of 3 chains moves",
        ),
    ),
    *cases(
        "plots.chain_paths",
        lambda: drawn(plots.chain_paths, STEPS),
        (
            lambda: plots.chain_paths(CHAINS),
            ValueError,
            (
                r"chain_paths: shape of trace: got \(20, 3\), expected \(m, n, "
                r"2\)"
            ),
        ),
        (
            lambda: plots.chain_paths(STEPS, n_chains=0),
            ValueError,
            ("chain_paths: n_chains: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: plots.chain_paths(STEPS, energy=3),
            TypeError,
            "energy_map: function: got int, expected a function",
        ),
        (
            lambda: plots.chain_paths(STEPS * np.nan),
            ValueError,
            "chain_paths: trace: got no finite position",
        ),
        (
            lambda: plots.chain_paths(STEPS, energy, extent=(0, 1)),
            ValueError,
            (
                r"chain_paths: extent: got \(0, 1\), expected \(left, right, "
                r"bottom, top\)"
            ),
        ),
    ),
    *cases(
        "plots.sampler_info",
        lambda: drawn(plots.sampler_info, {"energy": CHAINS}, "energy"),
        (
            lambda: plots.sampler_info({"energy": CHAINS}, "accepted"),
            KeyError,
            (
                r"\"sampler_info: key: got 'accepted', expected one of "
                r"\['energy'\]\""
            ),
        ),
        (
            lambda: plots.sampler_info({"energy": CHAINS}, "energy", window=0),
            ValueError,
            ("sampler_info: window: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: plots.sampler_info({"energy": CHAINS, "b": CHAINS[:5]}, "energy", "b"),
            ValueError,
            "sampler_info: length of 'b': got 5, expected 20",
        ),
        (
            lambda: plots.sampler_info({"energy": CHAINS * np.nan}, "energy"),
            ValueError,
            "sampler_info: 'energy': got no finite value",
        ),
        (lambda: plots.sampler_info([], "energy"), ValueError, "sampler_info: infos: got none"),
        (
            lambda: plots.sampler_info({"energy": "text"}, "energy"),
            ValueError,
            (
                r"sampler_info: shape of 'energy': got \(\), expected \(m,\) or "
                r"\(m, n\)"
            ),
        ),
        (
            lambda: plots.sampler_info(3, "energy"),
            TypeError,
            ("sampler_info: infos: got int, expected a dict of series, or a list of dicts"),
        ),
    ),
    *cases(
        "plots.energy_map",
        lambda: drawn(plots.energy_map, energy, (-1, 1, -1, 1), 8),
        (
            lambda: plots.energy_map(3, (-1, 1, -1, 1), 8),
            TypeError,
            "energy_map: function: got int, expected a function",
        ),
        (
            lambda: plots.energy_map(energy, (1, -1, -1, 1), 8),
            ValueError,
            (
                r"grid: extent: got \(1, -1, -1, 1\), expected left < right and "
                "bottom < top"
            ),
        ),
        (
            lambda: plots.energy_map(energy, (-1, 1, -1, 1), 0),
            ValueError,
            "grid: n: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: plots.energy_map(lambda x: x, (-1, 1, -1, 1), 8),
            ValueError,
            (
                r"energy_map: energies of 64 points: got \(64, 2\), expected "
                r"\(64,\)"
            ),
        ),
        (
            lambda: plots.energy_map(lambda x: x[:, 0] * np.nan, (-1, 1, -1, 1), 8),
            ValueError,
            "energy_map: energies: got no finite one",
        ),
        (
            lambda: plots.energy_map(lambda x: None, (-1, 1, -1, 1), 8),
            TypeError,
            "energy_map: energies: got object, expected numbers",
        ),
        (
            lambda: plots.energy_map(lambda x: "low", (-1, 1, -1, 1), 8),
            TypeError,
            "energy_map: energies: got str, expected numbers",
        ),
        (
            lambda: plots.energy_map(energy, (-1, 1, -1, 1), 8, samples=[1.0]),
            ValueError,
            r"energy_map: samples: got \(1,\), expected \(s, 2\)",
        ),
        (
            lambda: plots.energy_map(
                lambda x: x[:, 0] * np.nan, (-1, 1, -1, 1), 8, density=True
            ),
            ValueError,
            "log_z: energy: got none or a NaN, expected numbers",
        ),
    ),
    *cases(
        "plots.density_comparison",
        lambda: drawn(plots.density_comparison, law(), energy, 8),
        (
            lambda: plots.density_comparison(3, energy, 8),
            TypeError,
            ("density_comparison: law: got int, expected one with log_density"),
        ),
        (
            lambda: plots.density_comparison(law(), lambda x: x, 8),
            ValueError,
            (
                r"density_comparison: energies of 64 points: got \(64, 2\), "
                r"expected \(64,\)"
            ),
        ),
        (
            lambda: plots.density_comparison(law(), lambda x: x[:, 0] * np.nan, 8),
            ValueError,
            "log_z: energy: got none or a NaN, expected numbers",
        ),
        (
            lambda: plots.density_comparison(law(), energy, 0),
            ValueError,
            "grid: n: got 0, expected a whole number of at least 1",
        ),
    ),
    *cases(
        "plots.density_panels",
        lambda: drawn(plots.density_panels, {"a": energy}, (-1, 1, -1, 1), 8),
        (
            lambda: plots.density_panels({}, (-1, 1, -1, 1), 8),
            ValueError,
            "density_panels: energies: got none, expected some",
        ),
        (
            lambda: plots.density_panels(energy, (-1, 1, -1, 1), 8),
            TypeError,
            "density_panels: energies: got function, expected a dict of series",
        ),
        (
            lambda: plots.density_panels({"a": 3}, (-1, 1, -1, 1), 8),
            TypeError,
            "density_panels: 'a': function: got int, expected a function",
        ),
        (
            lambda: plots.density_panels({"a": lambda x: x}, (-1, 1, -1, 1), 8),
            ValueError,
            r"density_panels: energies of 64 points: got \(64, 2\), expected \(64,\)",
        ),
        (
            lambda: plots.density_panels({"a": energy}, (-1, 1, -1, 1), 8, samples={"b": X}),
            ValueError,
            r"density_panels: samples: got 'b', expected some of \['a'\]",
        ),
        (
            lambda: plots.density_panels({"a": energy}, (-1, 1, -1, 1), 8, columns=0),
            ValueError,
            "density_panels: columns: got 0, expected a whole number of at least 1",
        ),
    ),
    *cases(
        "plots.energy_histogram",
        lambda: drawn(plots.energy_histogram, {"data": X[:, 0]}),
        (
            lambda: plots.energy_histogram({}),
            ValueError,
            "energy_histogram: energies: got no finite one",
        ),
        (
            lambda: plots.energy_histogram({"data": [np.nan]}),
            ValueError,
            "energy_histogram: energies: got no finite one",
        ),
        (
            lambda: plots.energy_histogram({"data": "text"}),
            TypeError,
            "energy_histogram: 'data': got str, expected numbers",
        ),
        (
            lambda: plots.energy_histogram([1.0]),
            TypeError,
            ("energy_histogram: energies: got list, expected a dict of series"),
        ),
        (
            lambda: plots.energy_histogram({"data": X[:, 0]}, bins=0),
            ValueError,
            ("energy_histogram: bins: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: plots.energy_histogram({"data": X[:, 0]}, bins=2.5),
            ValueError,
            (
                r"energy_histogram: bins: got 2\.5, expected a whole number of "
                "at least 1"
            ),
        ),
        (
            lambda: plots.energy_histogram({"data": X[:, 0]}, bins="many"),
            TypeError,
            ("energy_histogram: bins: got 'many', expected a whole number of at least 1"),
        ),
    ),
    *cases(
        "plots.image_grid",
        lambda: drawn(plots.image_grid, IMAGES),
        (
            lambda: plots.image_grid(IMAGES[0]),
            ValueError,
            (
                r"image_grid: shape: got \(8, 8, 1\), expected \(n, height, "
                r"width, 1 or 3\)"
            ),
        ),
        (
            lambda: plots.image_grid(np.zeros((6, 8, 8, 2))),
            ValueError,
            (
                r"image_grid: shape: got \(6, 8, 8, 2\), expected \(n, height, "
                r"width, 1 or 3\)"
            ),
        ),
        (
            lambda: plots.image_grid(IMAGES[:0]),
            ValueError,
            (
                r"image_grid: shape: got \(0, 8, 8, 1\), expected \(n, height, "
                r"width, 1 or 3\)"
            ),
        ),
        (
            lambda: plots.image_grid("images"),
            TypeError,
            "image_grid: got str, expected numbers",
        ),
        (
            lambda: plots.image_grid(IMAGES, n_columns=0),
            ValueError,
            ("image_grid: n_columns: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: plots.image_grid(IMAGES, n_columns=1.5),
            ValueError,
            (
                r"image_grid: n_columns: got 1\.5, expected a whole number of "
                "at least 1"
            ),
        ),
        (
            lambda: plots.image_grid(IMAGES, value_range=(1, 0)),
            ValueError,
            r"image_grid: value_range: got \(1, 0\), expected low < high",
        ),
        (
            lambda: plots.image_grid(IMAGES, value_range=3),
            ValueError,
            "image_grid: value_range: got 3, expected low < high",
        ),
    ),
    *cases(
        "plots.chain_strip",
        lambda: drawn(plots.chain_strip, IMAGES[None]),
        (
            lambda: plots.chain_strip(IMAGES),
            ValueError,
            (
                r"chain_strip: shape: got \(6, 8, 8, 1\), expected \(n, m, "
                r"height, width, 1 or 3\)"
            ),
        ),
        (
            lambda: plots.chain_strip(IMAGES[None], n_chains=0),
            ValueError,
            ("chain_strip: n_chains: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: plots.chain_strip(IMAGES[None], n_steps=0),
            ValueError,
            ("chain_strip: n_steps: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: plots.chain_strip(IMAGES[None], n_steps=1.5),
            ValueError,
            (
                r"chain_strip: n_steps: got 1\.5, expected a whole number of at "
                "least 1"
            ),
        ),
        (
            lambda: plots.chain_strip(IMAGES[None], steps=[1, 2]),
            ValueError,
            "chain_strip: steps: got 2, expected 1",
        ),
    ),
    *cases(
        "plots.nearest_neighbours",
        lambda: drawn(plots.nearest_neighbours, IMAGES, IMAGES[:, None]),
        (
            lambda: plots.nearest_neighbours(IMAGES, IMAGES),
            ValueError,
            (
                r"nearest_neighbours: shape: got \(6, 8, 8, 1\), expected \(n, "
                r"m, height, width, 1 or 3\)"
            ),
        ),
        (
            lambda: plots.nearest_neighbours(IMAGES, IMAGES[:5, None]),
            ValueError,
            (
                r"nearest_neighbours: shapes: got \(6, 8, 8, 1\) and \(5, 1, 8, "
                r"8, 1\), expected \(n, \.\.\.\) and \(n, k, \.\.\.\)"
            ),
        ),
        (
            lambda: plots.nearest_neighbours(IMAGES, IMAGES[:, None], distances=[1.0]),
            ValueError,
            r"nearest_neighbours: distances: got \(1,\), expected \(6, 1\)",
        ),
        (
            lambda: plots.nearest_neighbours(IMAGES, IMAGES[:, None], distances="far"),
            TypeError,
            "nearest_neighbours: distances: got str, expected numbers",
        ),
    ),
    *cases(
        "plots.training_history",
        lambda: drawn(plots.training_history, {"loss": CHAINS[:, 0]}),
        (
            lambda: plots.training_history({}),
            KeyError,
            r"'training_history: keys: got \[\], expected some of \[\]'",
        ),
        (
            lambda: plots.training_history({"loss": CHAINS[:, 0]}, keys=["gap"]),
            KeyError,
            (
                r"\"training_history: keys: got \['gap'\], expected some of "
                r"\['loss'\]\""
            ),
        ),
        (
            lambda: plots.training_history({"loss": CHAINS[:, 0], "step": [0, 1]}),
            ValueError,
            "training_history: length of 'loss': got 20, expected 2",
        ),
        (
            lambda: plots.training_history({"loss": "text"}),
            TypeError,
            "training_history: 'loss': got str, expected numbers",
        ),
        (
            lambda: plots.training_history({"loss": CHAINS[:, 0]}, window=0),
            ValueError,
            ("training_history: window: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: plots.training_history({"loss": CHAINS[:, 0]}, window="wide"),
            TypeError,
            ("training_history: window: got 'wide', expected a whole number of at least 1"),
        ),
        (
            lambda: plots.training_history(3),
            TypeError,
            "training_history: history: got int, expected a dict of series",
        ),
    ),
]
