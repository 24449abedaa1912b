"""Pictures of data, chains, energies and training; matplotlib comes in when one is drawn.

Every function takes `ax`, the axes to draw on (new ones of a fitting size if None), and returns
the axes. Images are arrays of shape (n, height, width, channels) with one channel (grey) or
three, and `value_range` says which numbers are black and white.

>>> from ebmlib import datasets, plots
>>> X, y = datasets.load_digits()
>>> ax = plots.image_grid(X[:64])
>>> ax.figure.savefig("digits.png")  # doctest: +SKIP
"""

from __future__ import annotations

from .chains import autocorrelation, chain_paths, sampler_info, trace
from .energies import density_comparison, density_panels, energy_histogram, energy_map
from .images import chain_strip, image_grid, nearest_neighbours
from .training import training_history

__all__ = [
    "autocorrelation",
    "chain_paths",
    "chain_strip",
    "density_comparison",
    "density_panels",
    "energy_histogram",
    "energy_map",
    "image_grid",
    "nearest_neighbours",
    "sampler_info",
    "trace",
    "training_history",
]
