"""Life with scikit-learn: every estimator in its checks, pipelines, searches and pools."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest

from ebmlib import entropy, estimators, networks, samplers
from ebmlib._params import Parameters

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

# scikit-learn asks for its base class, which would be a dependency.
pytestmark = pytest.mark.filterwarnings("ignore:Estimator .* does not inherit from")

X = np.random.default_rng(0).normal([3, -1], [2, 0.5], size=(120, 2))


def every_estimator():
    """All public classes with a ``fit``; a new one is checked too, or this file fails."""
    found = [
        value
        for name, value in vars(estimators).items()
        if inspect.isclass(value)
        and issubclass(value, Parameters)
        and hasattr(value, "fit")
        and not name.startswith("_")
        and hasattr(value, "_kind")
    ]
    return sorted(found, key=lambda cls: cls.__name__)


EVERY = every_estimator()


def quick(cls, **changes):
    """An estimator that is fitted in a moment, by the parameters that it has."""
    options = {
        "network": networks.MLP((8,)),
        "sampler": samplers.Langevin(step_size=0.05, n_steps=2),
        "max_steps": 4,
        "batch_size": 32,
        "random_state": 0,
    }
    if cls is estimators.MaximumLikelihood:
        options["network"] = networks.GaussianMixture(2)
    if issubclass(cls, estimators.VERA):
        options["generator"] = networks.MLPGenerator(2, (8,))
    if cls is estimators.MEG:
        options["entropy"] = entropy.MutualInformation(critic=networks.MLP((8,)))
    known = cls().get_params(deep=False)
    return cls(**{name: value for name, value in (options | changes).items() if name in known})


def test_every_public_estimator_is_found():
    assert {cls.__name__ for cls in EVERY} == set(estimators.__all__)


@pytest.mark.parametrize("cls", EVERY)
def test_scikit_learn_agrees(cls):
    results = estimator_checks.check_estimator(quick(cls), on_skip=None, on_fail=None)
    assert len(results) > 30
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed
    passed = {r["check_name"] for r in results if r["status"] == "passed"}
    # A few that would be skipped, silently, if the tags were wrong.
    assert passed >= {
        "check_estimators_nan_inf",
        "check_fit2d_1feature",
        "check_n_features_in_after_fitting",
        "check_estimators_pickle",
        "check_readonly_memmap_input",
        "check_fit_idempotent",
        "check_dict_unchanged",
        "check_dtype_object",
        "check_complex_data",
        "check_estimator_sparse_array",
    }


@pytest.mark.parametrize("cls", EVERY)
def test_names_of_columns_are_kept_and_asked_for(cls):
    pytest.importorskip("pandas")
    estimator_checks.check_dataframe_column_names_consistency(cls.__name__, quick(cls))


@pytest.mark.parametrize("cls", EVERY)
def test_clones_and_copies_are_equal(cls):
    est = quick(cls)
    assert repr(clone(est)) == repr(est)
    assert clone(est).get_params(deep=False).keys() == est.get_params(deep=False).keys()
    est.fit(X)
    assert not [name for name in vars(clone(est)) if name.endswith("_")]
    np.testing.assert_array_equal(clone(est).fit(X).energy(X), est.energy(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(est)).energy(X), est.energy(X))


@pytest.mark.parametrize("cls", EVERY)
def test_nested_parameters(cls):
    est = quick(cls, network=networks.MLP((8,)))
    deep = est.get_params()
    assert deep["network__hidden"] == (8,)
    est.set_params(network__hidden=(4, 4), network=networks.MLP((2,), "tanh"))
    assert est.network == networks.MLP((4, 4), "tanh")
    if "generator" in deep:
        assert est.set_params(generator__latent=3).generator.latent == 3
    if "sampler" in deep:
        assert est.set_params(sampler__step_size=0.5).sampler.step_size == 0.5
    for bad in ({"depth": 3}, {"network__depth": 3}):
        with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
            est.set_params(**bad)


@pytest.mark.parametrize("cls", EVERY)
def test_pipelines(cls):
    pipe = make_pipeline(StandardScaler(), quick(cls)).fit(X)
    scaled = StandardScaler().fit_transform(X)
    want = quick(cls).fit(scaled).score_samples(scaled)
    np.testing.assert_array_equal(pipe.score_samples(X), want)
    assert pipe.score(X) == pytest.approx(want.mean(), rel=1e-6)
    assert pipe[-1].n_features_in_ == 2
    deeper = make_pipeline(StandardScaler(), PCA(1), quick(cls)).fit(X)
    assert deeper[-1].sample(5).shape == (5, 1)
    assert deeper.score_samples(X).shape == (len(X),)


def test_set_output_gives_names_to_the_estimator():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["height", "width"])
    columns = ColumnTransformer([("scale", StandardScaler(), ["width", "height"])])
    pipe = Pipeline([("columns", columns), ("model", quick(estimators.PCD))])
    pipe.set_output(transform="pandas").fit(frame)
    assert pipe[-1].feature_names_in_.tolist() == ["scale__width", "scale__height"]
    assert np.isfinite(pipe.score_samples(frame)).all()
    with pytest.raises(ValueError, match="missing"):
        pipe.score_samples(frame[["width"]])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_searches(n_jobs):
    # With two jobs scikit-learn's loky starts processes, each with a pool of threads.
    pipe = Pipeline([("scale", StandardScaler()), ("model", quick(estimators.PCD))])
    grid = {"model__network__hidden": [(4,), (8,)], "model__sampler__step_size": [0.01, 0.1]}
    search = GridSearchCV(
        pipe, grid, cv=KFold(2), error_score="raise", n_jobs=n_jobs, return_train_score=True
    ).fit(X)
    assert len(search.cv_results_["params"]) == 4
    best = search.best_estimator_["model"]
    assert best.network.hidden == search.best_params_["model__network__hidden"]
    assert best.sampler.step_size == search.best_params_["model__sampler__step_size"]
    # Each score is that of a fit by hand, whatever process it came from.
    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["split1_test_score"], strict=True
    ):
        by_hand = clone(pipe).set_params(**params).fit(X[:60])
        assert score == by_hand.score(X[60:])


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_cross_validation(n_jobs):
    est = quick(estimators.CD, max_steps=20)
    scores = cross_val_score(est, X, cv=KFold(4), n_jobs=n_jobs)
    want = [clone(est).fit(X[a]).score(X[b]) for a, b in KFold(4).split(X)]
    np.testing.assert_array_equal(scores, want)


def test_sparse_data_is_refused():
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.csr_matrix(X), sparse.csr_array(X), sparse.coo_array(X)):
        for call in (quick(estimators.PCD).fit, quick(estimators.PCD).fit(X).score_samples):
            with pytest.raises(TypeError, match="Sparse data was passed, but dense data"):
                call(matrix)
