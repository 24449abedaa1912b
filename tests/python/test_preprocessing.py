"""ebmlib.preprocessing: inverses, log-determinants, scikit-learn's contract, bad input."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from scipy import integrate, special, stats

import ebmlib as ebm
from ebmlib import datasets, estimators, networks, preprocessing
from ebmlib.preprocessing import (
    Chain,
    Dequantize,
    Flatten,
    Logit,
    Scale,
    Standardize,
    Whiten,
    bits_per_dim,
)

# Name: (transform, rows it takes). Rows are float64, away from the ends of intervals.
SMOOTH = {
    "logit": (Logit(1e-6), lambda rng: rng.uniform(0.01, 0.99, (20, 5))),
    "logit .05": (Logit(0.05), lambda rng: rng.uniform(0.0, 1.0, (20, 5))),
    "logit, open": (Logit(0.0), lambda rng: rng.uniform(0.1, 0.9, (20, 5))),
    "logit, clip": (Logit(0.0, clip=1e-3), lambda rng: rng.uniform(0.1, 0.9, (20, 5))),
    "scale": (Scale(-1, 3), lambda rng: rng.normal(size=(20, 5))),
    "scale, source": (Scale(0, 1, source=(0, 255)), lambda rng: rng.normal(size=(20, 5))),
    "standardize": (Standardize(), lambda rng: rng.normal(size=(20, 5)) * [1, 2, 3, 4, 5]),
    "zca": (Whiten("zca"), lambda rng: rng.normal(size=(20, 5)) @ rng.normal(size=(5, 5))),
    "pca": (Whiten("pca"), lambda rng: rng.normal(size=(20, 5)) @ rng.normal(size=(5, 5))),
    "zca, epsilon": (Whiten(epsilon=0.3), lambda rng: rng.normal(size=(4, 5))),
    "flatten": (Flatten(), lambda rng: rng.normal(size=(20, 5))),
    "empty chain": (Chain(), lambda rng: rng.normal(size=(20, 5))),
    "chain": (
        Chain([Scale(0, 1, source=(-9, 9)), Logit(0.05), Flatten(), Standardize(), Whiten()]),
        lambda rng: rng.normal(size=(20, 5)),
    ),
    "images": (
        Chain([Standardize(), Flatten(), Whiten("pca", epsilon=1e-3)]),
        lambda rng: rng.normal(size=(20, 2, 2, 2)),
    ),
}


@pytest.fixture(params=SMOOTH, ids=str)
def fitted(request, rng):
    """A fitted transform, and its rows."""
    transform, rows = SMOOTH[request.param]
    x = rows(rng)
    return copy.deepcopy(transform).fit(x), x


def jacobian(transform, row):
    """DT/dx at a row, by central differences in float64."""
    step = 1e-6 * np.eye(row.size).reshape(row.size, *row.shape)
    ahead, behind = transform.transform(row + step), transform.transform(row - step)
    return ((ahead - behind) / 2e-6).reshape(row.size, -1).T


def test_inverse(fitted):
    transform, x = fitted
    y = transform.transform(x)
    back = transform.inverse_transform(y)
    assert back.shape == x.shape
    assert y.dtype == back.dtype == np.float64
    np.testing.assert_allclose(back, x, atol=1e-9)


def test_log_det_against_differences(fitted):
    transform, x = fitted
    got = transform.log_det(x)
    assert (got.shape, got.dtype) == ((len(x),), np.float64)
    want = [np.linalg.slogdet(jacobian(transform, row))[1] for row in x]
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_float32_is_close_to_float64(fitted):
    transform, x = fitted
    single = x.astype(np.float32)
    y = transform.transform(single)
    assert y.dtype == transform.inverse_transform(y).dtype == np.float32
    exact = transform.transform(single.astype(np.float64))
    np.testing.assert_allclose(y, exact, rtol=1e-4, atol=1e-4)
    want = transform.log_det(single.astype(np.float64))
    np.testing.assert_allclose(transform.log_det(single), want, rtol=1e-5, atol=1e-5)


def test_logit_against_forward_derivatives():
    """The slope by the core's own jvp of the formula."""
    x = np.random.default_rng(0).uniform(0, 1, (6, 4))

    def formula(x):
        s = 0.05 + 0.9 * x
        return np.log(s) - np.log(1 - s)

    y, slope = ebm.jvp(formula, (x,), (np.ones_like(x),))
    logit = Logit(0.05).fit(x)
    np.testing.assert_allclose(logit.transform(x), y, rtol=1e-12)
    np.testing.assert_allclose(logit.log_det(x), np.log(slope).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(y, special.logit(0.05 + 0.9 * x), rtol=1e-12)


def test_change_of_variables_on_the_line():
    """If y = T(x) is normal, exp(log p(T(x)) + log_det(x)) is a density of x."""
    law = stats.norm(0.3, 0.7)
    for alpha in (0.0, 1e-6, 0.05):
        logit = Logit(alpha).fit([[0.5]])

        def density(x, logit=logit):
            log_p = law.logpdf(logit.transform([[x]])[0]) + logit.log_det([[x]])
            return float(np.exp(log_p)[0])

        total = integrate.quad(density, 1e-12, 1 - 1e-12, points=[0.01, 0.5, 0.99])[0]
        ends = logit.transform([[1e-12], [1 - 1e-12]])[:, 0]
        assert total == pytest.approx(np.diff(law.cdf(ends))[0], abs=1e-8)


def test_change_of_variables_on_the_plane():
    """The density of a planar set, from that of its whitened points, integrates to one."""
    law = datasets.moons()
    x = law.sample(4000, 0).astype(np.float64)
    for kind in ("zca", "pca"):
        chain = Chain([Standardize(), Whiten(kind)]).fit(x)
        rows, area = datasets.grid(law.extent, 150)
        rows = rows.astype(np.float64)
        gaussian = stats.multivariate_normal(np.zeros(2), np.eye(2))
        log_p = gaussian.logpdf(chain.transform(rows)) + chain.log_det(rows)
        # The Gaussian with the moments of the points is what that must be.
        want = stats.multivariate_normal(x.mean(axis=0), np.cov(x.T, bias=True)).logpdf(rows)
        np.testing.assert_allclose(log_p, want, atol=1e-9)
        mass = np.exp(log_p).sum() * area
        assert mass == pytest.approx(np.exp(want).sum() * area)


# ---- dequantisation --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("levels", [2, 17, 255, 256])
def test_levels_come_back(levels, centred, dtype, rng):
    x = rng.integers(0, levels, (300, 40)).astype(dtype)
    x[0, :2] = 0, levels - 1
    dequantize = Dequantize(levels, centred, random_state=0).fit(x)
    y = dequantize.transform(x)
    assert y.dtype == (np.float64 if dtype == np.float64 else np.float32)
    back = dequantize.inverse_transform(y)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, x)
    middle = x / (levels - 1) if centred else (x + 0.5) / levels
    noise = (y - middle) * levels
    assert np.abs(noise).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(dequantize.log_det(x), np.full(300, -40 * np.log(levels)))


def test_many_levels():
    x = np.arange(1 << 16).reshape(-1, 4)
    dequantize = Dequantize(1 << 16, random_state=0)
    back = dequantize.inverse_transform(dequantize.fit_transform(x))
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("centred", [False, True])
def test_noise_is_uniform_and_keyed(centred):
    """Kolmogorov and Smirnov's test; a right one fails for one seed in a million."""
    x = np.full((500, 40), 7, np.uint8)
    dequantize = Dequantize(centred=centred, random_state=3).fit(x)
    y = dequantize.transform(x)
    u = y.astype(np.float64) * 256 - (7 * 256 / 255 - 0.5 if centred else 7)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-6
    np.testing.assert_array_equal(y, dequantize.transform(x))
    np.testing.assert_array_equal(y, Dequantize(256, centred, 3).fit_transform(x))
    assert not np.array_equal(y, Dequantize(256, centred, 4).fit_transform(x))
    fresh = Dequantize(centred=centred)
    one, two = fresh.fit_transform(x), fresh.fit_transform(x)
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(two, fresh.transform(x))


def test_samples_beyond_the_ends_take_the_nearest_level():
    for centred in (False, True):
        dequantize = Dequantize(centred=centred).fit([[0, 255]])
        assert dequantize.inverse_transform([[-0.5, 1.5]]).tolist() == [[0, 255]]


def test_dequantised_mass():
    """E_u[p(y)] prod(1/levels) is the mass of a level: over all levels it sums to one."""
    x = np.arange(16, dtype=np.uint8)[:, None]
    dequantize = Dequantize(16).fit(x)
    inside, weight = np.polynomial.legendre.leggauss(20)
    u = (inside + 1) / 2
    density = stats.beta(2.5, 4).pdf((x + u) / 16) @ (weight / 2)
    mass = density * np.exp(dequantize.log_det(x))
    want = np.diff(stats.beta(2.5, 4).cdf(np.arange(17) / 16))
    np.testing.assert_allclose(mass, want, atol=1e-6)


# ---- each one --------------------------------------------------------------------------------


def test_moments(rng):
    x = rng.normal(size=(200, 3, 2)) @ [[2.0, 0.5], [0.0, 0.1]] + 5
    for transform in (Standardize(), Whiten("zca"), Whiten("pca")):
        y = transform.fit_transform(x)
        assert y.shape == x.shape
        flat = y.reshape(200, 6)
        np.testing.assert_allclose(flat.mean(axis=0), 0, atol=1e-9)
        covariance = np.cov(flat.T, bias=True)
        np.testing.assert_allclose(np.diag(covariance), 1, atol=1e-9)
        if isinstance(transform, Whiten):
            np.testing.assert_allclose(covariance, np.eye(6), atol=1e-8)


def test_whitening_against_scikit_learn(rng):
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = rng.normal(size=(100, 4)) @ rng.normal(size=(4, 4))
    theirs = decomposition.PCA(whiten=True).fit_transform(x) * np.sqrt(100 / 99)
    ours = Whiten("pca").fit_transform(x)
    sign = np.sign((theirs * ours).sum(axis=0))
    np.testing.assert_allclose(ours, theirs * sign, atol=1e-9)
    zca = Whiten("zca").fit(x)
    np.testing.assert_allclose(zca.matrix_, zca.matrix_.T, atol=1e-12)


def test_constant_features_are_only_moved():
    standardize = Standardize().fit([[0.1, 1.0], [0.1, 3.0], [0.1, 8.0]])
    assert standardize.scale_[0] == 1
    assert standardize.log_det([[5.0, 5.0]])[0] == pytest.approx(-np.log(standardize.scale_[1]))


def test_clamped_numbers_have_no_density():
    logit = Logit(0.0, clip=1e-3).fit([[0.5, 0.5]])
    x = [[0.5, 0.4], [0.5, 0.0], [1.1, -0.2]]
    assert np.isfinite(logit.transform(x)).all()
    assert np.isfinite(logit.log_det(x)).tolist() == [True, False, False]
    assert logit.log_det(x)[1] == -np.inf
    np.testing.assert_allclose(
        logit.inverse_transform(logit.transform(x)), np.clip(x, 1e-3, 0.999), atol=1e-12
    )


def test_ends_of_the_interval_are_finite():
    for dtype in (np.float32, np.float64):
        x = np.array([[0, 1]], dtype)
        y = Logit(1e-6).fit_transform(x)
        want = special.logit(1e-6)
        np.testing.assert_allclose(y, [[want, -want]], rtol=1e-6)


def test_chain_is_what_its_steps_are(rng):
    x = rng.integers(0, 256, (30, 4, 4, 1), dtype=np.uint8)
    steps = [Dequantize(random_state=1), Logit(0.05), Flatten(), Standardize()]
    chain = Chain(steps).fit(x)
    assert not any(hasattr(step, "_row") for step in steps)
    now, total = x, 0.0
    for step in steps:
        step.fit(now)
        total = total + step.log_det(now)
        now = step.transform(now)
    np.testing.assert_array_equal(chain.transform(x), now)
    np.testing.assert_array_equal(chain.log_det(x), total)
    assert chain.transform(x).shape == (30, 16)
    np.testing.assert_array_equal(chain.inverse_transform(now), x)
    other = pickle.loads(pickle.dumps(chain))
    np.testing.assert_array_equal(other.transform(x), now)


# ---- bits ------------------------------------------------------------------------------------


def test_bits_against_the_formula_of_maf(rng):
    """MAF's b(x) for logits y of x in [0, 1], its appendix on bits per pixel (2017)."""
    x = rng.uniform(0.02, 0.98, (5, 12))
    alpha, d = 0.05, 12
    levels = 256 * x
    chain = Chain([Scale(0, 1, source=(0, 256)), Logit(alpha)]).fit(levels)
    log_p = rng.normal(size=5) * 10
    sigmoid = special.expit(chain.transform(levels))
    want = -log_p / (d * np.log(2)) - np.log2(1 - 2 * alpha) + 8
    want += (np.log2(sigmoid) + np.log2(1 - sigmoid)).mean(axis=1)
    np.testing.assert_allclose(bits_per_dim(log_p, d, chain.log_det(levels)), want, rtol=1e-9)


def test_bits():
    assert bits_per_dim(np.log(0.5) * 3, 3) == pytest.approx(1.0)
    assert bits_per_dim(np.zeros((2, 3)), 4).shape == (2, 3)
    with pytest.raises(ValueError, match="bits_per_dim: n_dims: got 0"):
        bits_per_dim(0.0, 0)


# ---- scikit-learn ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [
        Scale(),
        Scale(source=(0, 1)),
        Standardize(),
        Whiten(),
        Whiten("pca", epsilon=1e-3),
        Flatten(),
        Logit(0.0, clip=1e-3),
        Chain(),
        Chain([Standardize(), Whiten(), Flatten()]),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:.*does not inherit from:UserWarning")
def test_scikit_learn_agrees(transform):
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    results = checks.check_estimator(transform, on_skip=None, on_fail=None)
    assert len(results) > 30
    assert not [r["check_name"] for r in results if r["status"] == "failed"]


@pytest.mark.parametrize("transform", [Logit(), Dequantize()], ids=repr)
@pytest.mark.filterwarnings("ignore:.*does not inherit from:UserWarning")
def test_scikit_learn_agrees_on_what_has_a_domain(transform):
    """Its checks fit normal numbers: they fail only because these are refused."""
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    results = checks.check_estimator(transform, on_skip=None, on_fail=None)
    assert sum(r["status"] == "passed" for r in results) > 15
    for result in results:
        if result["status"] == "failed":
            told, causes = result["exception"], []
            while told is not None:
                causes.append(str(told))
                told = told.__cause__ or told.__context__
            assert any(f"{type(transform).__name__}: X: got" in text for text in causes)


def test_pipeline_and_grid_search(rng):
    pipeline = pytest.importorskip("sklearn.pipeline")
    selection = pytest.importorskip("sklearn.model_selection")
    x = rng.integers(0, 256, (40, 3), dtype=np.uint8)
    chain = Chain([Dequantize(random_state=0), Logit(0.05)])
    est = estimators.CD(networks.MLP((4,)), max_steps=2, random_state=0)
    pipe = pipeline.Pipeline([("logits", chain), ("energy", est)])
    search = selection.GridSearchCV(
        pipe,
        {"logits": [chain, Chain([Scale(-1, 1, source=(0, 255))])]},
        cv=2,
        error_score="raise",
    )
    search.fit(x)
    assert pipe[:-1].fit(x).inverse_transform(pipe[:-1].transform(x)).dtype == np.uint8
    assert np.isfinite(search.best_estimator_.score_samples(x)).all()


def test_images_of_real_digits():
    x, _ = datasets.load_digits(value_range=None)
    chain = Chain([Dequantize(17, random_state=0), Logit(0.05), Whiten(epsilon=1e-3)])
    y = chain.fit_transform(x)
    assert (y.shape, y.dtype) == (x.shape, np.float32)
    assert np.isfinite(chain.log_det(x)).all()
    assert (chain.inverse_transform(y) != x).mean() < 1e-3  # rounding in float32


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Logit(0.5).fit([[0.5]]), ValueError, "Logit: alpha: got 0.5"),
        (lambda: Logit(-1).fit([[0.5]]), ValueError, "Logit: alpha: got -1"),
        (lambda: Logit(clip=np.nan).fit([[0.5]]), ValueError, "Logit: clip: got nan"),
        (lambda: Logit().fit([[1.5]]), ValueError, r"Logit: X: got 1.5, .* \[0, 1\]"),
        (lambda: Logit(0).fit([[1.0]]), ValueError, r"Logit: X: got 1.0, .* \(0, 1\)"),
        (lambda: Dequantize(1).fit([[0]]), ValueError, "Dequantize: levels: got 1"),
        (lambda: Dequantize(2.5).fit([[0]]), ValueError, "Dequantize: levels: got 2.5"),
        (
            lambda: Dequantize().fit([[256]]),
            ValueError,
            "got 256.0, .* 0 to 255",
        ),
        (lambda: Dequantize(17).fit(np.uint8([[17]])), ValueError, "got 17, .* 0 to 16"),
        (lambda: Dequantize().fit([[0.5]]), ValueError, "Dequantize: X: got 0.5"),
        (lambda: Dequantize().fit([[-1]]), ValueError, "Dequantize: X: got -1"),
        (
            lambda: Dequantize(random_state="a").fit([[1]]),
            TypeError,
            "seed: got str, expected an int",
        ),
        (lambda: Scale(1, 1).fit([[1, 2]]), ValueError, "Scale: low, high: got 1, 1"),
        (lambda: Scale(source=(2, 1)).fit([[1]]), ValueError, "Scale: source: got 2, 1"),
        (lambda: Scale(source=3).fit([[1]]), ValueError, "Scale: source: got 3"),
        (lambda: Scale().fit([[4, 4]]), ValueError, "least and greatest of X: got 4, 4"),
        (lambda: Scale(0, np.inf).fit([[1, 2]]), ValueError, "Scale: low, high"),
        (lambda: Whiten("pc").fit([[1]]), ValueError, "Whiten: kind: got 'pc'"),
        (lambda: Whiten(epsilon=-1).fit([[1]]), ValueError, "Whiten: epsilon: got -1"),
        (lambda: Whiten().fit([[1, 2], [3, 4]]), ValueError, "got 1, expected 2; epsilon > 0"),
        (lambda: Whiten().fit([[1, 2]]), ValueError, "Whiten: 1 sample"),
        (lambda: Chain([3]).fit([[1]]), TypeError, r"Chain: steps\[0\]: got int"),
        (lambda: Flatten().fit([1]), ValueError, "Expected 2D array"),
        (lambda: Standardize().fit([[np.nan]]), ValueError, "NaN"),
        (lambda: Standardize().fit(np.zeros((0, 2))), ValueError, "0 sample"),
        (lambda: Scale().transform([[1]]), ebm.errors.NotFittedError, "Scale instance is not"),
        (lambda: Chain().log_det([[1]]), ebm.errors.NotFittedError, "Chain instance is not"),
        (lambda: Flatten().fit([[1, 2]]).transform([[1]]), ValueError, "X has 1 features"),
        (
            lambda: Flatten().fit(np.zeros((2, 2, 2, 1))).inverse_transform([[1]]),
            ValueError,
            "X has 1 features, but Flatten is expecting 4",
        ),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_refused_fit_leaves_it_unfitted():
    scale = Scale().fit([[0.0, 2.0]])
    with pytest.raises(ValueError, match="least and greatest"):
        scale.fit([[1.0, 1.0]])
    with pytest.raises(ebm.errors.NotFittedError):
        scale.transform([[0.0, 2.0]])
    assert scale.fit([[0.0, 2.0]]).transform([[1.0, 1.0]]).tolist() == [[0, 0]]


def test_repr_and_parameters():
    chain = preprocessing.Chain([Logit(0.05), Flatten()])
    assert repr(chain) == "Chain(steps=[Logit(alpha=0.05), Flatten()])"
    assert Logit().set_params(alpha=0.1).get_params() == {"alpha": 0.1, "clip": 0.0}
