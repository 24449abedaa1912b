"""Wrong calls: data."""

from __future__ import annotations

import functools
import pathlib
import tempfile

import numpy as np

from ebmlib import datasets
from tests.python.bad_input.case import cases

X = np.random.default_rng(0).normal(size=(40, 2))

IMAGES = np.zeros((6, 8, 8, 1))

HOME = tempfile.TemporaryDirectory(prefix="bad_input")


def path(name, content):
    """A file of the test's own folder."""
    made = pathlib.Path(HOME.name) / name
    made.write_bytes(content)
    return made


@functools.cache
def law():
    return datasets.moons()


CASES = [
    *cases(
        "datasets.GaussianMixture",
        lambda: datasets.GaussianMixture([[0, 0]], 1.0).sample(3, random_state=0),
        (
            lambda: datasets.GaussianMixture([0, 0], 1.0),
            ValueError,
            r"means: shape: got \(2,\), expected \(K, 2\)",
        ),
        (
            lambda: datasets.GaussianMixture([], 1.0),
            ValueError,
            r"means: shape: got \(0,\), expected \(K, 2\)",
        ),
        (
            lambda: datasets.GaussianMixture("means", 1.0),
            TypeError,
            "means: got str, expected numbers",
        ),
        (
            lambda: datasets.GaussianMixture([[np.nan, 0]], 1.0),
            ValueError,
            "means: got NaN or infinity, expected finite numbers",
        ),
        (
            lambda: datasets.GaussianMixture([[0, 0]], 0.0),
            ValueError,
            r"sigma: got 0\.0, expected a positive number",
        ),
        (
            lambda: datasets.GaussianMixture([[0, 0]], "wide"),
            TypeError,
            "sigma: got 'wide', expected a number",
        ),
        (
            lambda: datasets.GaussianMixture([[0, 0]], None),
            TypeError,
            "sigma: got None, expected a number",
        ),
        (
            lambda: datasets.GaussianMixture([[0, 0]], True),
            TypeError,
            "sigma: got True, expected a number",
        ),
        (
            lambda: datasets.GaussianMixture([[0, 0]], [1.0]),
            TypeError,
            r"sigma: got \[1\.0\], expected a number",
        ),
        (
            lambda: datasets.GaussianMixture([[0, 0]], 1.0, [1, 1]),
            ValueError,
            r"weights: got \[1, 1\], expected 1 shares",
        ),
        (
            lambda: datasets.GaussianMixture([[0, 0]], 1.0, [-1]),
            ValueError,
            r"weights: got \[-1\], expected 1 shares",
        ),
        (
            lambda: datasets.GaussianMixture([[0, 0]], 1.0, [np.nan]),
            ValueError,
            r"weights: got \[nan\], expected 1 shares",
        ),
        (
            lambda: datasets.GaussianMixture([[0, 0]], 1.0, [np.inf]),
            ValueError,
            r"weights: got \[inf\], expected 1 shares",
        ),
        (
            lambda: datasets.GaussianMixture([[0, 0]], 1.0, "even"),
            TypeError,
            "weights: got str, expected numbers",
        ),
    ),
    *cases(
        "PlanarSet.sample",
        lambda: law().sample(3, random_state=0),
        (
            lambda: law().sample(-1),
            ValueError,
            ("sample: n_samples: got -1, expected a whole number of at least 0"),
        ),
        (
            lambda: law().sample(2.5),
            ValueError,
            (
                r"sample: n_samples: got 2\.5, expected a whole number of at "
                "least 0"
            ),
        ),
        (
            lambda: law().sample("few"),
            TypeError,
            ("sample: n_samples: got 'few', expected a whole number of at least 0"),
        ),
        (
            lambda: law().sample(None),
            TypeError,
            ("sample: n_samples: got None, expected a whole number of at least 0"),
        ),
        (
            lambda: law().sample(True),
            TypeError,
            ("sample: n_samples: got True, expected a whole number of at least 0"),
        ),
        (
            lambda: law().sample(3, random_state="seed"),
            TypeError,
            (
                "sample: random_state: got 'seed', expected an int of at least "
                "0, a Generator or None"
            ),
        ),
        (
            lambda: law().sample(3, random_state=-1),
            TypeError,
            (
                "sample: random_state: got -1, expected an int of at least 0, "
                "a Generator or None"
            ),
        ),
        (
            lambda: law().sample(3, random_state=0.5),
            TypeError,
            (
                r"sample: random_state: got 0\.5, expected an int of at least "
                "0, a Generator or None"
            ),
        ),
        (
            lambda: law().sample(2**60),
            MemoryError,
            "sample: n_samples: got 1152921504606846976, expected fewer",
        ),
    ),
    *cases(
        "datasets.PlanarSet",
        lambda: law().sample(3, random_state=0),
        (
            lambda: datasets.PlanarSet().sample(3),
            NotImplementedError,
            "PlanarSet: _draw: got none, expected one",
        ),
        (
            lambda: datasets.PlanarSet().log_density(X),
            NotImplementedError,
            "PlanarSet: _log_density: got none, expected one",
        ),
    ),
    *cases(
        "PlanarSet.log_density",
        lambda: law().log_density(X),
        (
            lambda: law().log_density([0.0, 0.0]),
            ValueError,
            r"log_density: shape of x: got \(2,\), expected \(n, 2\)",
        ),
        (
            lambda: law().log_density(np.zeros((3, 3))),
            ValueError,
            r"log_density: shape of x: got \(3, 3\), expected \(n, 2\)",
        ),
        (
            lambda: law().log_density("points"),
            TypeError,
            "log_density: x: got str, expected numbers",
        ),
        (
            lambda: law().log_density(None),
            TypeError,
            "log_density: x: got object, expected numbers",
        ),
        (
            lambda: law().log_density(X.astype(complex)),
            TypeError,
            "log_density: x: got complex128, expected numbers",
        ),
        (
            lambda: law().log_density([[0.0, 0.0], [1.0]]),
            ValueError,
            (
                "log_density: x: got list: setting an array element with a "
                r"sequence\. The requested array has an inhomogeneous shape "
                r"after 1 dimensions\. The detected shape was \(2,\) \+ "
                r"inhomogeneous part\."
            ),
        ),
    ),
    *cases(
        "datasets.moons",
        lambda: law().sample(3, random_state=0),
        (
            lambda: datasets.moons(sigma=0),
            ValueError,
            "sigma: got 0, expected a positive number",
        ),
        (
            lambda: datasets.moons(sigma=1e-300),
            ValueError,
            "sigma: got 1e-300, expected at least a millionth of the curve",
        ),
    ),
    *cases(
        "datasets.circles",
        lambda: datasets.circles().sample(3, random_state=0),
        (
            lambda: datasets.circles(sigma=np.nan),
            ValueError,
            "sigma: got nan, expected a finite number",
        ),
    ),
    *cases(
        "datasets.rings",
        lambda: datasets.rings().sample(3, random_state=0),
        (
            lambda: datasets.rings(radii=()),
            ValueError,
            "radii: got none, expected at least one",
        ),
        (
            lambda: datasets.rings(radii=(1.0, -1.0)),
            ValueError,
            r"radii: got -1\.0, expected a positive number",
        ),
        (
            lambda: datasets.rings(radii=1.0),
            TypeError,
            r"radii: got 1\.0, expected a list of numbers",
        ),
        (
            lambda: datasets.rings(radii="ab"),
            TypeError,
            "radii: got 'ab', expected a list of numbers",
        ),
    ),
    *cases(
        "datasets.spirals",
        lambda: datasets.spirals().sample(3, random_state=0),
        (
            lambda: datasets.spirals(sigma=-1),
            ValueError,
            "sigma: got -1, expected a positive number",
        ),
    ),
    *cases(
        "datasets.swiss_roll",
        lambda: datasets.swiss_roll().sample(3, random_state=0),
        (
            lambda: datasets.swiss_roll(scale=0),
            ValueError,
            "scale: got 0, expected a positive number",
        ),
        (
            lambda: datasets.swiss_roll(sigma=np.inf),
            ValueError,
            "sigma: got inf, expected a finite number",
        ),
    ),
    *cases(
        "datasets.funnel",
        lambda: datasets.funnel().sample(3, random_state=0),
        (
            lambda: datasets.funnel(scale=0),
            ValueError,
            "scale: got 0, expected a positive number",
        ),
        (
            lambda: datasets.funnel(scale="wide"),
            TypeError,
            "scale: got 'wide', expected a number",
        ),
    ),
    *cases(
        "datasets.Funnel",
        lambda: datasets.Funnel().sample(3, random_state=0),
        (
            lambda: datasets.Funnel(-3.0),
            ValueError,
            r"scale: got -3\.0, expected a positive number",
        ),
    ),
    *cases(
        "datasets.pinwheel",
        lambda: datasets.pinwheel().sample(3, random_state=0),
        (
            lambda: datasets.pinwheel(arms=0),
            ValueError,
            "arms: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: datasets.pinwheel(arms=2.5),
            ValueError,
            r"arms: got 2\.5, expected a whole number of at least 1",
        ),
        (
            lambda: datasets.pinwheel(arms="five"),
            TypeError,
            "arms: got 'five', expected a whole number of at least 1",
        ),
    ),
    *cases(
        "datasets.Pinwheel",
        lambda: datasets.Pinwheel().sample(3, random_state=0),
        (
            lambda: datasets.Pinwheel(None),
            TypeError,
            "arms: got None, expected a whole number of at least 1",
        ),
    ),
    *cases(
        "datasets.checkerboard",
        lambda: datasets.checkerboard().sample(3, random_state=0),
        (
            lambda: datasets.checkerboard(4),
            TypeError,
            r"checkerboard\(\) takes 0 positional arguments but 1 was given",
        ),
    ),
    *cases(
        "datasets.Checkerboard",
        lambda: datasets.Checkerboard().sample(3, random_state=0),
        (
            lambda: datasets.Checkerboard(squares=4),
            TypeError,
            r"Checkerboard\(\) takes no arguments",
        ),
    ),
    *cases(
        "datasets.NoisyCurves",
        lambda: datasets.circles().sample(3, random_state=0),
        (
            lambda: datasets.NoisyCurves([], 0.1),
            ValueError,
            r"curves: got \[\], expected a list of curves",
        ),
        (
            lambda: datasets.NoisyCurves(None, 0.1),
            ValueError,
            "curves: got None, expected a list of curves",
        ),
    ),
    *cases(
        "datasets.gaussians8",
        lambda: datasets.gaussians8().sample(3, random_state=0),
        (
            lambda: datasets.gaussians8(radius=0),
            ValueError,
            "radius: got 0, expected a positive number",
        ),
        (
            lambda: datasets.gaussians8(sigma=0),
            ValueError,
            "sigma: got 0, expected a positive number",
        ),
    ),
    *cases(
        "datasets.gaussians25",
        lambda: datasets.gaussians25().sample(3, random_state=0),
        (
            lambda: datasets.gaussians25(spacing=-1),
            ValueError,
            "spacing: got -1, expected a positive number",
        ),
    ),
    *cases(
        "datasets.gaussians_grid",
        lambda: datasets.gaussians_grid(2, 2).sample(3, random_state=0),
        (
            lambda: datasets.gaussians_grid(rows=0),
            ValueError,
            "rows: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: datasets.gaussians_grid(rows=2.5),
            ValueError,
            r"rows: got 2\.5, expected a whole number of at least 1",
        ),
        (
            lambda: datasets.gaussians_grid(columns="two"),
            TypeError,
            "columns: got 'two', expected a whole number of at least 1",
        ),
    ),
    *cases(
        "datasets.grid",
        lambda: datasets.grid((0, 1, 0, 1), 2),
        (
            lambda: datasets.grid((1, 0, 0, 1), 2),
            ValueError,
            (
                r"grid: extent: got \(1, 0, 0, 1\), expected left < right and "
                "bottom < top"
            ),
        ),
        (
            lambda: datasets.grid((0, 1), 2),
            ValueError,
            (
                r"grid: extent: got \(0, 1\), expected \(left, right, bottom, "
                r"top\)"
            ),
        ),
        (
            lambda: datasets.grid("box", 2),
            ValueError,
            r"grid: extent: got 'box', expected \(left, right, bottom, top\)",
        ),
        (
            lambda: datasets.grid((0, np.nan, 0, 1), 2),
            ValueError,
            "grid: extent: got nan, expected a finite number",
        ),
        (
            lambda: datasets.grid((0, np.inf, 0, 1), 2),
            ValueError,
            "grid: extent: got inf, expected a finite number",
        ),
        (
            lambda: datasets.grid((0, 1, 0, 1), 0),
            ValueError,
            "grid: n: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: datasets.grid((0, 1, 0, 1), 2.5),
            ValueError,
            r"grid: n: got 2\.5, expected a whole number of at least 1",
        ),
        (
            lambda: datasets.grid((0, 1, 0, 1), "fine"),
            TypeError,
            "grid: n: got 'fine', expected a whole number of at least 1",
        ),
        (
            lambda: datasets.grid(None),
            ValueError,
            r"grid: extent: got None, expected \(left, right, bottom, top\)",
        ),
    ),
    *cases(
        "datasets.log_z",
        lambda: datasets.log_z([0.0, 1.0], 0.1),
        (
            lambda: datasets.log_z([], 0.1),
            ValueError,
            "log_z: energy: got none or a NaN, expected numbers",
        ),
        (
            lambda: datasets.log_z([np.nan], 0.1),
            ValueError,
            "log_z: energy: got none or a NaN, expected numbers",
        ),
        (
            lambda: datasets.log_z("energies", 0.1),
            TypeError,
            "log_z: energy: got str, expected numbers",
        ),
        (
            lambda: datasets.log_z([0.0], 0.0),
            ValueError,
            r"log_z: area: got 0\.0, expected a positive number",
        ),
        (
            lambda: datasets.log_z([0.0], np.nan),
            ValueError,
            "log_z: area: got nan, expected a finite number",
        ),
        (
            lambda: datasets.log_z([0.0], "area"),
            TypeError,
            "log_z: area: got 'area', expected a number",
        ),
    ),
    *cases(
        "datasets.load_digits",
        lambda: datasets.load_digits("test")[1],
        (
            lambda: datasets.load_digits("valid"),
            ValueError,
            (
                r"load_digits: split: got 'valid', expected one of \['all', "
                r"'train', 'test'\]"
            ),
        ),
        (
            lambda: datasets.load_digits(None),
            ValueError,
            (
                r"load_digits: split: got None, expected one of \['all', "
                r"'train', 'test'\]"
            ),
        ),
        (
            lambda: datasets.load_digits(["train"]),
            ValueError,
            (
                r"load_digits: split: got \['train'\], expected one of \['all', "
                r"'train', 'test'\]"
            ),
        ),
        (
            lambda: datasets.load_digits(value_range=(1, 0)),
            ValueError,
            r"load_digits: value_range: got \(1, 0\), expected low < high",
        ),
        (
            lambda: datasets.load_digits(value_range=(0, np.inf)),
            ValueError,
            "load_digits: value_range: got inf, expected a finite number",
        ),
        (
            lambda: datasets.load_digits(value_range=("a", "b")),
            TypeError,
            "load_digits: value_range: got 'a', expected a number",
        ),
        (
            lambda: datasets.load_digits(value_range=3),
            ValueError,
            "load_digits: value_range: got 3, expected low < high",
        ),
    ),
    *cases(
        "datasets.load_mnist5000",
        lambda: datasets.load_mnist5000()[1],
        (
            lambda: datasets.load_mnist5000((0, 0)),
            ValueError,
            r"load_mnist5000: value_range: got \(0, 0\), expected low < high",
        ),
    ),
    *cases(
        "datasets.load_mnist",
        lambda: datasets.load_digits("test")[1],
        (
            lambda: datasets.load_mnist("valid"),
            ValueError,
            (
                r"load_mnist: split: got 'valid', expected one of \['all', "
                r"'train', 'test'\]"
            ),
        ),
        (
            lambda: datasets.load_mnist(path=HOME.name),
            FileNotFoundError,
            (
                "load_mnist: no such file: /.*/train-images-idx3-ubyte, plain "
                r"or \.gz"
            ),
        ),
        (
            lambda: datasets.load_mnist(path=3.5),
            TypeError,
            r"load_mnist: path: got 3\.5, expected a path",
        ),
    ),
    *cases(
        "datasets.load_fashion_mnist",
        lambda: datasets.load_digits("test")[1],
        (
            lambda: datasets.load_fashion_mnist("valid"),
            ValueError,
            (
                "load_fashion_mnist: split: got 'valid', expected one of "
                r"\['all', 'train', 'test'\]"
            ),
        ),
        (
            lambda: datasets.load_fashion_mnist(path=path("file", b"")),
            FileNotFoundError,
            (
                "load_fashion_mnist: no such file: "
                r"/.*/file/train-images-idx3-ubyte, plain or \.gz"
            ),
        ),
    ),
    *cases(
        "datasets.stack_digits",
        lambda: datasets.stack_digits(IMAGES, np.arange(6), 4, 0),
        (
            lambda: datasets.stack_digits(IMAGES[..., 0], np.arange(6)),
            ValueError,
            (
                r"stack_digits: shape of X: got \(6, 8, 8\), expected \(n, "
                r"height, width, 1\)"
            ),
        ),
        (
            lambda: datasets.stack_digits(IMAGES, np.arange(5)),
            ValueError,
            r"stack_digits: y: got int64 \(5,\), expected 6 integers",
        ),
        (
            lambda: datasets.stack_digits(IMAGES, np.arange(6.0)),
            ValueError,
            r"stack_digits: y: got float64 \(6,\), expected 6 integers",
        ),
        (
            lambda: datasets.stack_digits(IMAGES, np.arange(6) + 9),
            ValueError,
            "stack_digits: y: got 9 to 14, expected 0 to 9",
        ),
        (
            lambda: datasets.stack_digits(IMAGES, np.arange(6), -1),
            ValueError,
            ("stack_digits: n_samples: got -1, expected a whole number of at least 0"),
        ),
        (
            lambda: datasets.stack_digits(IMAGES, np.arange(6), 2.5),
            ValueError,
            (
                r"stack_digits: n_samples: got 2\.5, expected a whole number of "
                "at least 0"
            ),
        ),
        (
            lambda: datasets.stack_digits(IMAGES, np.arange(6), "many"),
            TypeError,
            ("stack_digits: n_samples: got 'many', expected a whole number of at least 0"),
        ),
        (
            lambda: datasets.stack_digits(IMAGES, np.arange(6), 4, "seed"),
            TypeError,
            (
                "stack_digits: random_state: got 'seed', expected an int of at "
                "least 0, a Generator or None"
            ),
        ),
        (
            lambda: datasets.stack_digits(IMAGES[:0], np.arange(0)),
            ValueError,
            (
                r"stack_digits: shape of X: got \(0, 8, 8, 1\), expected \(n, "
                r"height, width, 1\)"
            ),
        ),
    ),
    *cases(
        "datasets.read_idx",
        lambda: datasets.read_idx(path("good", bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))),
        (
            lambda: datasets.read_idx(path("empty", b"")),
            ValueError,
            "/.*/empty: magic: got nothing, not an idx file",
        ),
        (
            lambda: datasets.read_idx(path("magic", b"PNG....")),
            ValueError,
            "/.*/magic: magic: got 504e472e, not an idx file",
        ),
        (
            lambda: datasets.read_idx(path("header", bytes([0, 0, 8, 3, 0, 0]))),
            ValueError,
            "/.*/header: header: got 6 bytes, expected 16",
        ),
        (
            lambda: datasets.read_idx(path("zero", bytes([0, 0, 8, 1, 0, 0, 0, 0]))),
            ValueError,
            r"/.*/zero: shape: got \(0,\), expected elements",
        ),
        (
            lambda: datasets.read_idx(path("short", bytes([0, 0, 8, 1, 0, 0, 0, 9, 7]))),
            ValueError,
            "/.*/short: bytes of elements: got 1, expected 9",
        ),
        (
            lambda: datasets.read_idx(path("long", bytes([0, 0, 8, 1, 0, 0, 0, 1, 7, 8]))),
            ValueError,
            "/.*/long: bytes of elements: got 2, expected 1",
        ),
        (
            lambda: datasets.read_idx(path("packed", b"\x1f\x8b\x08\0broken")),
            ValueError,
            (
                "/.*/packed: damaged gzip file: Compressed file ended before "
                "the end-of-stream marker was reached"
            ),
        ),
        (
            lambda: datasets.read_idx(pathlib.Path(HOME.name) / "no such file"),
            FileNotFoundError,
            r"\[Errno 2\] No such file or directory: '/.*/no such file'",
        ),
        (
            lambda: datasets.read_idx(None),
            TypeError,
            "read_idx: path: got None, expected a path",
        ),
        (
            lambda: datasets.read_idx(path("huge", bytes([0, 0, 8, 4] + [255] * 16))),
            ValueError,
            (
                "/.*/huge: bytes of elements: got 0, expected "
                "340282366604025813516997721482669850625"
            ),
        ),
    ),
]
