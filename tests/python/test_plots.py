"""ebmlib.plots: what is drawn, and bad arguments."""

from __future__ import annotations

import numpy as np
import pytest

from ebmlib import datasets, plots

pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture
def images(rng):
    return rng.uniform(-1, 1, size=(7, 4, 6, 1)).astype(np.float32)


def picture(ax):
    """The drawn picture, drawn for real once so that errors of drawing show."""
    ax.figure.canvas.draw()
    return np.asarray(ax.images[0].get_array())


def test_image_grid_places_every_image(images):
    shown = picture(plots.image_grid(images, n_columns=3))
    assert shown.shape == (3 * 5 - 1, 3 * 7 - 1)
    for k, image in enumerate(images):
        top, left = 5 * (k // 3), 7 * (k % 3)
        cell = shown[top : top + 4, left : left + 6]
        np.testing.assert_allclose(cell, (image[..., 0] + 1) / 2, atol=1e-6)
    assert (shown[10:, 7:] == 1).all()  # what is left over stays white
    assert (shown[4] == 1).all()


def test_image_grid_is_about_square(images):
    assert picture(plots.image_grid(images)).shape == (3 * 5 - 1, 3 * 7 - 1)
    assert picture(plots.image_grid(images[:1])).shape == (4, 6)
    assert picture(plots.image_grid(images[:2], n_columns=9)).shape == (4, 13)


def test_colours_and_range(rng):
    images = rng.integers(0, 256, size=(4, 5, 5, 3), dtype=np.uint8)
    shown = picture(plots.image_grid(images, value_range=(0, 255)))
    assert shown.shape == (11, 11, 3)
    np.testing.assert_allclose(shown[:5, :5], images[0] / 255, atol=1e-6)
    assert picture(plots.image_grid(images, value_range=(0, 1))).max() <= 1


def test_chain_strip_shows_first_and_last(rng):
    trace = rng.uniform(-1, 1, size=(21, 5, 4, 4, 1))
    ax = plots.chain_strip(trace, n_chains=3, n_steps=5, steps=range(0, 210, 10))
    shown = picture(ax)
    assert shown.shape == (14, 24)
    np.testing.assert_allclose(shown[:4, :4], (trace[0, 0, ..., 0] + 1) / 2)
    np.testing.assert_allclose(shown[10:, 20:], (trace[20, 2, ..., 0] + 1) / 2)
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["0", "50", "100", "150", "200"]


def test_short_trace_shows_each_step_once(rng):
    ax = plots.chain_strip(rng.uniform(size=(3, 2, 4, 4, 1)), n_steps=10)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "2"]


def test_nearest_neighbours(images):
    near = np.stack([images[::-1], images], axis=1)
    apart = np.arange(14.0).reshape(7, 2)
    ax = plots.nearest_neighbours(images, near, apart)
    shown = picture(ax)
    assert shown.shape == (14, 7 * 7 - 1)
    np.testing.assert_allclose(shown[:4, :6], (images[0, ..., 0] + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(shown[5:9, :6], (images[6, ..., 0] + 1) / 2, atol=1e-6)
    assert [label.get_text() for label in ax.get_xticklabels()][:2] == ["0.00", "2.00"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["sample", "nearest", "2."]


def test_energy_map_is_the_right_way_up():
    ax = plots.energy_map(lambda x: x[:, 1], (0, 2, -1, 3), n=8, samples=[[1.0, 1.0]])
    values = picture(ax)
    expected = np.broadcast_to(np.arange(8) * 0.5 - 0.75, (8, 8)).T
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert ax.images[0].origin == "lower"
    assert ax.get_xlim() == (0, 2)
    assert ax.get_ylim() == (-1, 3)
    assert ax.collections[0].get_offsets().tolist() == [[1.0, 1.0]]


def test_energy_map_of_a_density():
    law = datasets.gaussians8()
    ax = plots.energy_map(lambda x: 7 - law.log_density(x), law.extent, n=50, density=True)
    points, _ = datasets.grid(law.extent, 50)
    expected = np.exp(law.log_density(points)).reshape(50, 50)
    np.testing.assert_allclose(picture(ax), expected, rtol=1e-3, atol=1e-9)


def test_energy_map_of_a_board_with_infinite_walls():
    board = datasets.checkerboard()
    for density in (False, True):
        picture(
            plots.energy_map(lambda x: -board.log_density(x), board.extent, 20, density=density)
        )


def test_energy_histogram(rng):
    energies = {"data": rng.normal(size=100), "samples": [1.0, np.nan, np.inf, 2.0]}
    ax = plots.energy_histogram(energies, bins=10)
    ax.figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["data", "samples (2 not finite)"]


def test_training_history(rng):
    loss = np.arange(100.0)
    loss[3] = np.nan
    history = {"step": np.arange(100) * 5, "loss": loss, "gap": rng.normal(size=100)}
    ax = plots.training_history(history, ["loss"], window=4)
    ax.figure.canvas.draw()
    faint, mean = ax.get_lines()
    np.testing.assert_array_equal(faint.get_xdata(), history["step"])
    np.testing.assert_array_equal(faint.get_ydata(), loss)
    assert mean.get_ydata()[:6].tolist() == [0, 0.5, 1, 1, 7 / 3, 11 / 3]
    assert mean.get_ydata()[-1] == 97.5
    labels = plots.training_history(history).get_legend().get_texts()
    assert [label.get_text() for label in labels] == ["loss", "gap"]


def test_training_history_of_an_estimator():
    history = {
        "energy_data": np.zeros(6),
        "energy_samples": np.ones(6),
        "gap": np.full(6, -1.0),
        "val_step": np.array([2, 4]),
        "val_gap": np.array([0.5, 0.25]),
    }
    lines = plots.training_history(history).get_lines()
    assert [line.get_label() for line in lines] == ["energy_data", "energy_samples"]
    (line,) = plots.training_history(history, ["val_gap"]).get_lines()
    assert line.get_xdata().tolist() == [2, 4]
    assert line.get_ydata().tolist() == [0.5, 0.25]


def test_given_axes_are_used(images):
    figure, axes = pyplot.subplots(2, 3)
    law = datasets.gaussians8()
    drawn = [
        plots.image_grid(images, ax=axes[0, 0]),
        plots.chain_strip(images[None], ax=axes[0, 1]),
        plots.nearest_neighbours(images, images[:, None], ax=axes[0, 2]),
        plots.energy_map(lambda x: x[:, 0], law.extent, 5, ax=axes[1, 0]),
        plots.energy_histogram({"data": [1.0, 2.0]}, ax=axes[1, 1]),
        plots.training_history({"loss": [1.0, 2.0]}, ax=axes[1, 2]),
    ]
    assert drawn == list(axes.flat)
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: plots.image_grid(x[0]), ValueError, r"got \(4, 6, 1\)"),
        (lambda x: plots.image_grid(x[:0]), ValueError, r"got \(0, 4, 6, 1\)"),
        (lambda x: plots.image_grid(x, 0), ValueError, "n_columns: got 0"),
        (lambda x: plots.image_grid(x, value_range=(1, 1)), ValueError, "value_range"),
        (lambda x: plots.chain_strip(x), ValueError, "expected .n, m, height"),
        (lambda x: plots.chain_strip(x[None], n_steps=0), ValueError, "at least 1"),
        (lambda x: plots.chain_strip(x[None], steps=[1, 2]), ValueError, "got 2, expected 1"),
        (lambda x: plots.nearest_neighbours(x, x[None]), ValueError, "shapes: got"),
        (lambda x: plots.nearest_neighbours(x, x[:, None], [1]), ValueError, "distances"),
        (lambda x: plots.energy_map(lambda p: p, (0, 1, 0, 1), 3), ValueError, "energies of 9"),
        (
            lambda x: plots.energy_map(lambda p: p[:, 0], (0, 1, 0, 1), samples=[1]),
            ValueError,
            "samples: got",
        ),
        (lambda x: plots.energy_histogram({"a": [np.nan]}), ValueError, "no finite"),
        (lambda x: plots.training_history({"loss": [1]}, ["gap"]), KeyError, "gap"),
        (lambda x: plots.training_history({}), KeyError, "expected some of"),
        (
            lambda x: plots.training_history({"step": [1], "gap": [1, 2]}),
            ValueError,
            "length of 'gap'",
        ),
    ],
)
def test_bad_arguments(images, call, error, words):
    with pytest.raises(error, match=words):
        call(images)
