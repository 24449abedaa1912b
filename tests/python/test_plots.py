"""ebmlib.plots: what is drawn, and bad arguments."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import stats

from ebmlib import datasets, plots, samplers

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


def test_lines_differ_in_grey(rng):
    energies = {name: rng.normal(size=20) for name in "abcd"}
    patches = plots.energy_histogram(energies).patches
    outlines = [patch.get_linestyle() for patch in patches if not patch.get_fill()]
    assert len(set(outlines)) == 4
    lines = plots.training_history(energies, window=1).get_lines()
    assert len({line.get_linestyle() for line in lines}) == 4


def test_what_is_no_number_is_white(images):
    images[0, 1, 2] = np.nan
    images[1, 1, 2] = np.inf
    shown = picture(plots.image_grid(images, n_columns=7))
    assert shown[1, 2] == shown[1, 7 + 2] == 1
    colours = np.repeat(images, 3, axis=-1)
    assert (picture(plots.image_grid(colours, n_columns=7))[1, 2] == 1).all()


# ---- densities -------------------------------------------------------------------------------


@pytest.mark.parametrize("log", [False, True])
def test_density_comparison(log):
    """KL between two Gaussians, and the outline at the radius that holds half of one."""
    law = datasets.GaussianMixture([[0.0, 0.0]], 0.5)
    model = datasets.GaussianMixture([[0.2, 0.0]], 0.75)
    box = (-4, 4, -4, 4)
    ax = plots.density_comparison(
        law, lambda x: 3 - model.log_density(x), 160, log=log, extent=box
    )
    kl = 2 * np.log(1.5) + (2 * 0.25 + 0.04) / (2 * 0.75**2) - 1
    assert ax.get_title() == f"KL(law || model) = {kl:.3f} nats"
    points, _ = datasets.grid(box, 160)
    expected = model.log_density(points).reshape(160, 160)
    np.testing.assert_allclose(
        picture(ax), expected if log else np.exp(expected), rtol=1e-4, atol=1e-6
    )
    for lines, share in zip(ax.collections, (0.5, 0.95), strict=True):
        (path,) = lines.get_paths()
        radius = np.linalg.norm(path.vertices, axis=1)
        np.testing.assert_allclose(radius, 0.5 * np.sqrt(stats.chi2(2).ppf(share)), atol=0.03)


def test_density_comparison_of_a_board():
    board = datasets.checkerboard()
    ax = plots.density_comparison(board, lambda x: np.zeros(len(x)), 90)
    assert ax.get_title() == f"KL(law || model) = {np.log(81 / 32):.3f} nats"
    vertices = ax.collections[0].get_paths()[0].vertices
    assert np.abs(vertices).max() == pytest.approx(4, abs=0.06)
    perfect = plots.density_comparison(board, lambda x: -board.log_density(x), 90, log=True)
    assert perfect.get_title() == "KL(law || model) = 0.000 nats"
    perfect.figure.canvas.draw()


# ---- chains ----------------------------------------------------------------------------------


def test_density_panels():
    law, board = datasets.gaussians8(), datasets.checkerboard()
    energies = {
        "law": lambda x: 7 - law.log_density(x),
        "board": lambda x: -board.log_density(x),
        "flat": lambda x: 0 * x[:, 0],
    }
    dots = {"flat": [[1.0, 2.0]]}
    ax = plots.density_panels(energies, law.extent, 40, samples=dots, columns=2)
    ax.figure.canvas.draw()
    points, area = datasets.grid(law.extent, 40)
    expected = np.exp(law.log_density(points)).reshape(40, 40)
    first, *others = (panel.images[0] for panel in ax.child_axes)
    np.testing.assert_allclose(first.get_array(), expected, rtol=1e-3, atol=1e-9)
    for image in others:
        assert image.get_array().sum() * area == pytest.approx(1.0)
        assert image.get_clim() == first.get_clim()
    corners = [panel.get_position().bounds[:2] for panel in ax.child_axes]
    assert corners[0][1] == corners[1][1] > corners[2][1]
    assert corners[0][0] == corners[2][0] < corners[1][0]
    *bare, dotted = [len(panel.collections) for panel in ax.child_axes]
    assert (bare, dotted) == ([0, 0], 1)


def test_trace(rng):
    x = rng.normal(size=(30, 6, 2, 3))
    ax = plots.trace(x, 3, coordinate=4, steps=np.arange(30) * 10)
    ax.figure.canvas.draw()
    lines = ax.get_lines()
    assert len(lines) == 3
    for k, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_ydata(), x[:, k, 1, 1])
        np.testing.assert_array_equal(line.get_xdata(), np.arange(30) * 10)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "coordinate 4")
    x[3, 0] = np.nan
    assert np.isnan(plots.trace(x[..., 0, 0]).get_lines()[0].get_ydata()[3])


def test_autocorrelation_against_its_sum(rng):
    x = rng.normal(size=(40, 3)).cumsum(axis=0)
    line = plots.autocorrelation(x, max_lag=39).get_lines()[0]
    away = x - x.mean(axis=0)
    expected = [
        ((away[: 40 - k] * away[k:]).sum(axis=0) / (away**2).sum(axis=0)).mean()
        for k in range(40)
    ]
    np.testing.assert_allclose(line.get_ydata(), expected, atol=1e-12)


def test_autocorrelation_of_a_known_chain():
    """An AR(1) chain has r_k = 0.9^k; the standard error of the mean of 200 is below 0.01."""
    rng = np.random.default_rng(0)
    x = np.zeros((4000, 200))
    for t in range(1, len(x)):
        x[t] = 0.9 * x[t - 1] + rng.normal(size=200)
    line = plots.autocorrelation(x).get_lines()[0]
    assert len(line.get_ydata()) == 101
    np.testing.assert_allclose(line.get_ydata(), 0.9 ** np.arange(101), atol=0.05)


def test_chains_that_do_not_move_are_counted(rng):
    x = np.stack([np.ones(50), rng.normal(size=50), np.zeros(50)], axis=1)
    ax = plots.autocorrelation(x)
    assert ax.get_legend().get_texts()[0].get_text() == "2 chains do not move"
    assert ax.get_lines()[0].get_ydata()[0] == pytest.approx(1)
    plots.trace(np.ones((50, 2))).figure.canvas.draw()


@pytest.mark.parametrize("plot", [plots.trace, plots.autocorrelation])
def test_diagnostics_are_those_of_arviz(plot, rng, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "arviz", None)
        with pytest.raises(ImportError, match="arviz is not installed"):
            plot(np.ones((9, 4)) * np.arange(9)[:, None], diagnostics=True)
    pytest.importorskip("arviz", reason="arviz is not installed", exc_type=ImportError)
    title = plot(rng.normal(size=(500, 4)), diagnostics=True).get_title()
    assert title.startswith("ESS ")
    assert title.endswith(" of 2,000, R-hat 1.00")
    ess = float(title.split()[1].replace(",", ""))
    assert 1500 < ess < 2600  # independent draws; 2,000 expected


def test_chain_paths():
    trace = np.array([[[0.0, 0.0], [5, 5]], [[1, 2], [5, 5]], [[4, 2], [5, 5]]])
    trace[1, 1] = np.nan
    ax = plots.chain_paths(trace, lambda x: x[:, 0])
    ax.figure.canvas.draw()
    _, path, start, end = ax.get_lines()[:4]
    assert path.get_xydata().tolist() == trace[:, 0].tolist()
    assert start.get_xydata().tolist() == [[0, 0]]
    assert end.get_xydata().tolist() == [[4, 2]]
    assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((-0.5, 5.5, -0.5, 5.5))
    assert len(ax.images) == 1
    bare = plots.chain_paths(trace, n_chains=1, extent=(0, 9, 0, 3))
    assert not bare.images
    assert len(bare.get_lines()) == 4
    assert (*bare.get_xlim(), *bare.get_ylim()) == (0, 9, 0, 3)
    assert plots.chain_paths(np.ones((3, 1, 2))).get_xlim() == (0, 2)


def test_infos_of_a_sampler():
    """What calls of `step` gave, drawn as the mean energy over the chains."""

    def energy(x):
        return np.sum(x**2, axis=1)

    walk = samplers.Langevin(step_size=0.1)
    state, infos = walk.init(np.full((20, 2), 5.0), random_state=0), []
    for _ in range(10):
        state, info = walk.step(energy, state)
        infos.append(info)
    ax = plots.sampler_info(infos, "energy")
    want = [info["energy"].mean() for info in infos]
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), want)
    assert len(ax.collections) == 1


def test_acceptance_against_a_schedule(rng):
    infos = {
        "accepted": rng.random((50, 8)) < 0.5,
        "step_size": np.geomspace(1, 0.01, 50),
    }
    ax = plots.sampler_info(infos, "accepted", "step_size", window=5, log_other=True)
    ax.figure.canvas.draw()
    rate = infos["accepted"].mean(axis=1)
    assert ax.get_lines()[0].get_ydata()[-1] == pytest.approx(rate[-5:].mean())
    assert ax.get_ylim() == (0, 1)
    assert not ax.collections
    (twin,) = [other for other in ax.figure.axes if other is not ax]
    np.testing.assert_allclose(twin.get_lines()[0].get_ydata(), infos["step_size"])
    assert twin.get_yscale() == "log"
    assert ax.get_xlim() == (0, 49)


def test_infos_that_are_not_finite():
    series = [[1.0, 3.0], [np.nan, 5.0], [np.inf, np.nan], [4.0, 4.0]]
    ax = plots.sampler_info({"energy": series}, "energy")
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), [2, 5, np.nan, 4])
    ax.figure.canvas.draw()


# ---- all -------------------------------------------------------------------------------------


def test_nothing_global_is_changed(images, rng):
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.image_grid(images)
    plots.trace(rng.normal(size=(9, 2)))
    plots.density_comparison(datasets.gaussians8(), lambda x: x[:, 0], 20)
    assert dict(matplotlib.rcParams) == before


def test_given_axes_are_used(images):
    figure, axes = pyplot.subplots(2, 6)
    x = np.arange(20.0).reshape(10, 2)
    law = datasets.gaussians8()
    drawn = [
        plots.image_grid(images, ax=axes[0, 0]),
        plots.chain_strip(images[None], ax=axes[0, 1]),
        plots.nearest_neighbours(images, images[:, None], ax=axes[0, 2]),
        plots.energy_map(lambda x: x[:, 0], law.extent, 5, ax=axes[1, 0]),
        plots.energy_histogram({"data": [1.0, 2.0]}, ax=axes[1, 1]),
        plots.training_history({"loss": [1.0, 2.0]}, ax=axes[1, 2]),
        plots.density_comparison(law, lambda x: x[:, 0], 5, ax=axes[0, 3]),
        plots.trace(x, ax=axes[0, 4]),
        plots.autocorrelation(x, ax=axes[0, 5]),
        plots.chain_paths(x[..., None] * [1, 2], ax=axes[1, 3]),
        plots.chain_paths(x[..., None] * [1, 2], lambda x: x[:, 0], ax=axes[1, 4]),
        plots.sampler_info({"energy": x}, "energy", ax=axes[1, 5]),
    ]
    assert {id(ax) for ax in drawn} == {id(ax) for ax in axes.flat}
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
        (
            lambda x: plots.energy_map(lambda p: p[:, 0] + np.nan, (0, 1, 0, 1)),
            ValueError,
            "energy_map: energies: got no finite one",
        ),
        (
            lambda x: plots.energy_map(lambda p: p[:, 0] + np.nan, (0, 1, 0, 1), density=True),
            ValueError,
            "log_z: energy: got none or a NaN",
        ),
        (
            lambda x: plots.density_comparison(datasets.moons(), lambda p: p, 3),
            ValueError,
            "density_comparison: energies of 9",
        ),
        (lambda x: plots.trace([1, 2]), ValueError, r"trace: shape: got \(2,\)"),
        (lambda x: plots.trace(np.zeros((0, 3))), ValueError, r"trace: shape: got \(0, 3\)"),
        (lambda x: plots.trace([[np.nan]]), ValueError, "trace: values: got no finite"),
        (lambda x: plots.trace([[1.0]], 0), ValueError, "n_chains: got 0"),
        (lambda x: plots.trace([[1.0]], coordinate=1), ValueError, "coordinate: got 1"),
        (lambda x: plots.trace([[1.0]], steps=[1, 2]), ValueError, r"steps: got \(2,\)"),
        (lambda x: plots.autocorrelation([[1], [1]]), ValueError, "none of 1 chains moves"),
        (lambda x: plots.autocorrelation([[1], [np.nan]]), ValueError, "not finite"),
        (lambda x: plots.autocorrelation([[1], [2]], 2), ValueError, "max_lag: got 2"),
        (lambda x: plots.chain_paths(np.ones((3, 2))), ValueError, "shape of trace"),
        (lambda x: plots.chain_paths(np.ones((0, 3, 2))), ValueError, "shape of trace"),
        (lambda x: plots.chain_paths(np.ones((3, 3, 2)), n_chains=0), ValueError, "n_chains"),
        (lambda x: plots.chain_paths([[[np.nan, 1]]]), ValueError, "no finite position"),
        (lambda x: plots.sampler_info([], "energy"), ValueError, "infos: got none"),
        (lambda x: plots.sampler_info({"a": [1]}, "energy"), KeyError, "got 'energy'"),
        (lambda x: plots.sampler_info({"a": [np.nan]}, "a"), ValueError, "'a': got no finite"),
        (lambda x: plots.sampler_info({"a": x}, "a"), ValueError, "shape of 'a'"),
        (lambda x: plots.sampler_info({"a": [1]}, "a", window=0), ValueError, "window: got 0"),
        (
            lambda x: plots.sampler_info({"a": [1], "b": [1, 2]}, "a", "b"),
            ValueError,
            "length of 'b': got 2, expected 1",
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
