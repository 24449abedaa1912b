"""Networks that are Python functions: trained, sampled, saved as text, and refused."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ebmlib as ebm
from ebmlib import estimators, layers, networks, samplers
from ebmlib._core import testing
from ebmlib._function import Template, fill_template
from ebmlib.networks import Function, _network_from_json
from tests.python.files import try_mutants

MEAN = np.array([0.5, -1.0])
PRECISION = np.array([[2.0, 0.6], [0.6, 1.0]])
TABLE = np.linspace(-1, 1, 12).reshape(3, 4)


def mlp(p, x):
    return layers.head(p, layers.flatten(x), (16,))


def gaussian(p, x):
    y = x - p["mean"]
    return 0.5 * np.einsum("ni,ij,nj->n", y, p["precision"], y)


def images(p, x):
    h = layers.activate(layers.conv(p, "c", x, 4, 3, 2, 1))
    pixels = h.reshape(x.shape[0] * h.shape[1] * h.shape[2], 4)
    pixels = layers.dense(p, "d", pixels, 3)
    return np.sum(pixels.reshape(x.shape[0], -1), axis=1)


def pixel_attention(p, x):
    places = x.reshape(x.shape[0], -1, x.shape[-1])
    return np.sum(layers.attention(p, "a", places, 1), axis=(1, 2))


def closed_over(p, x):
    h = np.tanh(layers.flatten(x) @ p.param("w", (x.size // len(x), 3), (0, 1)) @ TABLE)
    return np.sum(h * np.arange(4.0), axis=1)


def with_loop_and_slope(p, x):
    w = p.param("w", x.shape[1:], 0.3)
    y = ebm.repeat(lambda i, y: y - 0.1 * np.tanh(w * y), 3, x)
    slope = ebm.grad(lambda z: np.sum(np.cos(w * z)))(y)
    return np.sum(layers.flatten(y * slope), axis=1)


def nested_starts(rng, row):
    return {"a": {"w": rng.normal(size=row)}, "b": np.float64(0.5)}


def from_nested(p, x):
    return np.sum(layers.flatten((x - p["a"]["w"]) ** 2), axis=1) * p["b"]


CASES = {
    "mlp": (Function(mlp), (3,)),
    "images": (Function(images), (6, 6, 2)),
    "attention": (Function(pixel_attention), (3, 3, 2)),
    "closed_over": (Function(closed_over), (2, 2)),
    "loop": (Function(with_loop_and_slope), (4,)),
    "starts": (Function(gaussian, {"mean": MEAN, "precision": PRECISION}), (2,)),
    "nested": (Function(from_nested, nested_starts), (3,)),
    "coupled": (
        Function(
            lambda p, x: np.sum(x * p.param("w", 3), 1) - x[:1, 0], rows_independent=False
        ),
        (3,),
    ),
}
cases = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)


def small(network, cls=estimators.PCD, **changes):
    options = {
        "sampler": samplers.Langevin(step_size=0.05, n_steps=4),
        "max_steps": 8,
        "batch_size": 32,
        "random_state": 0,
    }
    return cls(network, **(options | changes))


def same_parameters(one, other):
    a, b = one.parameters(), other.parameters()
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# ---- training --------------------------------------------------------------------------------


def test_pcd_recovers_a_gaussian():
    x = np.random.default_rng(1).multivariate_normal(MEAN, np.linalg.inv(PRECISION), 4000)
    est = estimators.PCD(
        Function(gaussian, {"mean": np.zeros(2), "precision": np.eye(2)}),
        samplers.Langevin(step_size=0.1, n_steps=20),
        buffer_init="normal",
        buffer_size=2000,
        batch_size=500,
        l2=0.0,
        data_noise=0.0,
        learning_rate=2e-2,
        ema=0.99,
        max_steps=800,
        random_state=0,
    ).fit(x)
    # In the long run a walk of step h has the precision P (I - h P / 2): that is what fits the
    # data.  Chains and the last steps of Adam leave the rest.
    p = est.energy_.parameters()
    np.testing.assert_allclose(p["mean"], x.mean(0), atol=0.08)
    symmetric = (p["precision"] + p["precision"].T) / 2
    walked = symmetric @ (np.eye(2) - 0.05 * symmetric)
    np.testing.assert_allclose(walked, np.linalg.inv(np.cov(x.T)), atol=0.1)


@pytest.mark.parametrize("cls", [estimators.CD, estimators.PCD])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_training_gives_the_bits_of_the_core_network(cls, ema, rows):
    ours = small(Function(mlp), cls, ema=ema).fit(rows)
    theirs = small(networks.MLP((16,)), cls, ema=ema).fit(rows)
    same_parameters(ours.energy_, theirs.energy_)
    np.testing.assert_array_equal(ours.history_["loss"], theirs.history_["loss"])
    np.testing.assert_array_equal(ours.sample(5), theirs.sample(5))


def test_samplers_walk_on_functions_as_on_the_core_network(rows):
    nets = [spec.bind(3, random_state=1) for spec in (Function(mlp), networks.MLP((16,)))]
    walk = samplers.Langevin(step_size=0.1, n_steps=9)
    ends = [walk.sample(net, rows, random_state=2) for net in nets]
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_start_values_are_where_training_starts(ema):
    x = np.random.default_rng(0).normal(size=(50, 2))
    starts = {"mean": MEAN, "precision": PRECISION}
    est = small(Function(gaussian, starts), ema=ema, max_steps=0, dtype="float64").fit(x)
    for name, array in starts.items():
        np.testing.assert_array_equal(est.energy_.parameters()[name], array)
    drawn = small(Function(from_nested, nested_starts), max_steps=0).fit(x)
    again = small(Function(from_nested, nested_starts), max_steps=0, random_state=1).fit(x)
    w = [e.energy_.parameters()["a.w"] for e in (drawn, again)]
    assert (w[0] != w[1]).any()
    same_parameters(
        small(Function(from_nested, nested_starts), max_steps=0).fit(x).energy_, drawn.energy_
    )


def test_gradients_in_a_dict_are_those_of_torch(torch, rng):
    x = rng.standard_normal((7, 2))
    p = {"mean": MEAN, "precision": PRECISION}
    got = ebm.grad(lambda p: np.mean(gaussian(p, x)))(p)
    t = {k: torch.tensor(v, requires_grad=True) for k, v in p.items()}
    y = torch.tensor(x) - t["mean"]
    loss = (0.5 * torch.einsum("ni,ij,nj->n", y, t["precision"], y)).mean()
    for name, want in zip(t, torch.autograd.grad(loss, list(t.values())), strict=True):
        np.testing.assert_allclose(got[name], want.numpy(), rtol=1e-12)


# ---- dropout ---------------------------------------------------------------------------------

DROPOUT = 0x64726F70  # what is folded into a step's key for it
SITE = 3775669363 & 0x7FFFFFFF  # FNV-1a of "d", a purpose


def dropped(p, x):
    h = layers.dropout(p, "l0", layers.activate(layers.dense(p, "l0", x, 16)), 0.3)
    return layers.dense(p, "l1", h, 1, init="swish")[:, 0]


def test_dropout_in_the_loss_is_its_formula(rng):
    def energy(p, x):
        return np.sum(layers.dropout(p, "d", x, 0.25) * p.param("w", 3, (0, 1)), axis=1)

    options = {"optimizer": "sgd", "betas": (0, 0), "learning_rate": 1.0, "dtype": "float64"}
    walk = samplers.Langevin(n_steps=0)
    begin, est = (
        small(
            Function(energy), estimators.CD, sampler=walk, l2=0.0, data_noise=0.0, max_steps=n
        )
        .set_params(**options)
        .fit(rng.normal(size=(12, 3)))
        for n in (0, 1)
    )
    x = est._get_trainer().get("batch")["x"]
    key = ebm.random.fold_in(ebm.random.fold_in(est._key, 0), DROPOUT)
    both = ebm.functional.dropout(np.concatenate([x, x]), key, 0.25, purpose=SITE)
    slope = both[: len(x)].mean(0) - both[len(x) :].mean(0)
    moved = begin.energy_.parameters()["w"] - est.energy_.parameters()["w"]
    np.testing.assert_allclose(moved, slope, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(est.energy(x), x @ est.energy_.parameters()["w"], rtol=1e-9)


@pytest.mark.parametrize(
    ("cls", "changes"),
    [
        (estimators.PCD, {}),
        (estimators.VERA, {}),
        (estimators.VERA, {"gradient_penalty": 0.0}),
        (estimators.ScoreMatching, {"kind": "sliced", "n_projections": 3}),
        (estimators.ScoreMatching, {"kind": "denoising"}),
    ],
)
def test_dropout_is_that_of_the_core_network(cls, changes, rows):
    def fitted(network):
        options = {"max_steps": 4, "batch_size": 32, "random_state": 0} | changes
        return cls(network, **options).fit(rows)

    theirs, ours = fitted(networks.MLP((16,), dropout=0.3)), fitted(Function(dropped))
    same_parameters(ours.energy_, theirs.energy_)
    saved = pickle.loads(pickle.dumps(ours)).network
    same_parameters(fitted(saved).energy_, theirs.energy_)
    whole = fitted(networks.MLP((16,)))
    assert (whole.energy_.parameters()["l0.w"] != ours.energy_.parameters()["l0.w"]).any()
    plain = networks.MLP((16,)).bind(3).set_parameters(ours.energy_.parameters())
    np.testing.assert_array_equal(ours.energy(rows), plain(rows))  # evaluation drops nothing


def test_a_critic_drops_too(rows):
    losses = []
    for share in (0.0, 0.5):
        critic = networks.MLP((8,), dropout=share)
        est = estimators.MEG(
            networks.MLP((8,)),
            entropy=ebm.entropy.MutualInformation(critic=critic),
            max_steps=2,
            random_state=0,
        ).fit(rows)
        losses.append(est.history_["entropy_loss"])
    assert (losses[0] != losses[1]).all()


# ---- scikit-learn ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Estimator .* does not inherit from")
def test_the_contract_of_scikit_learn():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    est = small(Function(mlp), max_steps=2, buffer_size=100, dtype="float64")
    results = checks.check_estimator(est, on_skip=None, on_fail=None)
    assert len(results) > 30
    assert not [r["check_name"] for r in results if r["status"] == "failed"]


def test_clones_and_grid_search(rows):
    base = pytest.importorskip("sklearn.base")
    search = pytest.importorskip("sklearn.model_selection")
    spec = Function(gaussian, {"mean": np.zeros(3), "precision": np.eye(3)})
    cloned = base.clone(small(spec))
    assert cloned.network.energy is gaussian
    same_parameters(cloned.fit(rows).energy_, small(spec).fit(rows).energy_)
    grid = {"network": [spec, Function(mlp)], "learning_rate": [1e-3]}
    found = search.GridSearchCV(small(spec, max_steps=2), grid, cv=2).fit(rows)
    assert len(found.cv_results_["params"]) == 2


def test_specifications_compare_print_and_list():
    spec = Function(mlp)
    assert spec == Function(mlp)
    assert spec != Function(images)
    assert spec != Function(mlp, rows_independent=False)
    starts = {"mean": MEAN}
    assert Function(gaussian, starts) == Function(gaussian, dict(starts))
    assert repr(spec) == "Function(mlp)"
    assert repr(Function(from_nested, nested_starts)) == (
        "Function(from_nested, parameters=nested_starts)"
    )
    assert spec.get_params() == {
        "energy": mlp,
        "parameters": None,
        "rows_independent": True,
        "normalized": False,
    }
    assert "mlp" in spec.bind(2, random_state=0).summary()


def test_changed_parameters_are_seen():
    spec = Function(mlp)
    assert len(spec.bind(2, random_state=0).parameters()) == 4
    spec.set_params(energy=gaussian, parameters={"mean": MEAN, "precision": PRECISION})
    assert list(spec.bind(2).parameters()) == ["mean", "precision"]


# ---- saved -----------------------------------------------------------------------------------


@cases
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies_are_text_and_give_the_same_bits(case, dtype, rng):
    spec, row = CASES[case]
    net = spec.bind(row, random_state=3, dtype=dtype)
    data = pickle.dumps(net)
    assert b"test_functions_as_networks" not in data  # no reference to code
    for other in (
        pickle.loads(data),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(pickle.loads(data))),
    ):
        assert isinstance(other.network.energy, Template)
        same_parameters(net, other)
        for n in (1, 2, 5, 7, 64, 100):
            x = rng.standard_normal((n, *row))
            np.testing.assert_array_equal(net(x), other(x))
        x = x.astype(dtype)
        slopes = [ebm.grad(lambda y, e=e: np.sum(e(y)))(x) for e in (net, other)]
        np.testing.assert_array_equal(*slopes)
        if spec.rows_independent:
            walk = samplers.Langevin(step_size=0.01, n_steps=3)
            ends = [walk.sample(e, x, random_state=0) for e in (net, other)]
            np.testing.assert_array_equal(*ends)


@cases
def test_json_and_arrays_hold_the_network(case, rng):
    import json

    spec, row = CASES[case]
    net = spec.bind(row, random_state=3)
    text = spec._to_json(row, "float32")
    arrays = text.pop("arrays")
    assert set(text) == {"kind", "template", "parameters", "starts", "rows_independent"}
    assert text["parameters"] == [[k, list(a.shape)] for k, a in net.parameters().items()]
    loaded = _network_from_json(json.loads(json.dumps(text)) | {"arrays": arrays})
    assert loaded._shapes(row) == {k: a.shape for k, a in net.parameters().items()}
    again = loaded.bind(row, random_state=3)
    if case != "nested":  # a function of rng gives its values for seed 0 once it is saved
        same_parameters(again, net)
    x = rng.standard_normal((9, *row))
    np.testing.assert_array_equal(again.set_parameters(net.parameters())(x), net(x))


def test_a_function_is_saved_with_its_rows():
    with pytest.raises(
        ValueError, match="function 'mlp': it is saved as the text of its graph"
    ):
        Function(mlp)._to_json(None, None)
    saved = Function(mlp)._saved((3,), "float32")
    assert saved._to_json(None, None)["parameters"][0] == ["l0.w", [3, 16]]
    assert pickle.loads(pickle.dumps(Function(mlp))) == Function(mlp)  # by its name


def test_networks_of_the_core_are_kind_and_options():
    spec = networks.ConvNet((8,), norm="layer")
    text = spec._to_json((4, 4, 1), "float32")
    assert set(text) == {"kind", "options"}
    assert _network_from_json(text) == spec
    for bad in (
        {},
        {"kind": "nothing", "options": {}},
        {"kind": "mlp"},
        {"kind": "mlp", "options": {"width": 3}},
    ):
        with pytest.raises(ValueError, match="expected"):
            _network_from_json(bad)


@pytest.mark.parametrize("cls", [estimators.CD, estimators.PCD])
def test_a_pickled_run_goes_on_to_the_same_bits(cls, rows):
    whole = small(Function(mlp), cls, max_steps=8, ema=0.9).fit(rows)
    part = small(Function(mlp), cls, max_steps=4, ema=0.9).fit(rows)
    data = pickle.dumps(part)
    assert b"test_functions_as_networks" not in data
    loaded = pickle.loads(data)
    assert isinstance(loaded.network.energy, Template)
    np.testing.assert_array_equal(part.energy(rows), loaded.energy(rows))
    np.testing.assert_array_equal(part.sample(7), loaded.sample(7))
    loaded.partial_fit(rows, n_steps=4)
    same_parameters(whole.energy_, loaded.energy_)
    np.testing.assert_array_equal(whole.sample(7), loaded.sample(7))
    fresh = small(Function(mlp), cls).fit(rows[:50])
    same_parameters(
        loaded.set_params(max_steps=8, ema=0.0).fit(rows[:50]).energy_, fresh.energy_
    )


def test_templates_say_what_grows_with_rows():
    spec, row = CASES["images"]
    text = spec._saved(row, "float32").energy.text
    assert '%1 = input f32 ({1 N + 0}, 6, 6, 2) "x"' in text
    assert "({9 N + 0}, 4)" in text
    assert "(45, 4)" in fill_template(text, 5)


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (lambda p, x: np.sum(x, 1) * p.param("w", ()) * len(x) ** 2, "cannot be written down"),
        (
            lambda p, x: np.sum(x, 1) * p.param("w", ()) + np.arange(float(len(x))),
            "closes over",
        ),
        (
            lambda p, x: np.sum(x if len(x) < 12 else np.tanh(x), 1) * p.param("w", ()),
            "cannot be",
        ),
    ],
)
def test_what_is_no_family_of_graphs_cannot_be_saved(energy, message):
    net = Function(energy).bind(2, random_state=0)
    with pytest.raises(ValueError, match=message):
        pickle.dumps(net)


def test_what_cannot_be_saved_can_be_trained(rows):
    def energy(p, x):
        return np.sum(x if len(x) < 12 else np.tanh(x), 1) * p.param("w", (), 0.1)

    est = small(Function(energy), max_steps=2).fit(rows)
    est.set_params(l2=0.1).partial_fit(rows, n_steps=2)  # a new trainer, with the old arrays
    assert est.n_steps_ == 4
    with pytest.raises(ValueError, match="cannot be written down"):
        pickle.dumps(est)


def test_a_saved_function_is_for_its_rows():
    net = pickle.loads(pickle.dumps(Function(mlp).bind(3, random_state=0)))
    with pytest.raises(ebm.errors.ShapeError, match="saved function: got rows float32"):
        net.network.bind(4)
    with pytest.raises(ebm.errors.ShapeError, match="saved function: got rows float64"):
        net.network.bind(3, dtype="float64")


def hostile_texts():
    spec, row = CASES["closed_over"]
    good = spec._to_json(row, "float32")
    text = good["template"]
    yield "empty", good | {"template": ""}
    yield "no text", good | {"template": 3}
    yield "cut", good | {"template": text[: len(text) // 2]}
    yield "unknown op", good | {"template": text.replace("tanh", "system")}
    yield (
        "arity",
        good
        | {
            "template": text.replace(
                "= tanh f32 ({1 N + 0}, 4) %", "= tanh f32 ({1 N + 0}, 4) %1 %"
            )
        },
    )
    yield "huge", good | {"template": text.replace("{1 N + 0}", "{999999999999999999 N + 0}")}
    yield "huge row", good | {"template": text.replace("(3, 4)", "(3000000000, 4000000000)")}
    yield "negative", good | {"template": text.replace("{1 N + 0}", "{-1 N + 0}")}
    yield "later", good | {"template": text.replace("%1 ", "%99 ")}
    yield "rows", good | {"template": text.replace("{1 N + 0}", "7")}
    yield "name", good | {"template": text.replace("params.w", "params.v")}
    yield "deep", good | {"template": text.replace("out", "%9 = repeat f32 () {" * 999 + "out")}
    yield "no starts", good | {"starts": []}
    yield "bad starts", good | {"starts": [[0.0, float("nan")]]}
    yield "shape", good | {"parameters": [["w", [4, 4]]]}
    yield "no constants", good | {"arrays": {}}
    yield (
        "other constants",
        good | {"arrays": {"constant.0": np.ones(3), "constant.1": np.ones(2)}},
    )
    yield "foreign array", good | {"arrays": good["arrays"] | {"else": np.ones(3)}}
    yield "foreign start", good | {"arrays": good["arrays"] | {"start.v": np.ones(3)}}
    yield "rows_independent", good | {"rows_independent": 1}
    yield "key", good | {"code": "print()"}


HOSTILE = dict(hostile_texts())


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_text_is_an_error(what):
    with pytest.raises((ValueError, TypeError)):
        _network_from_json(HOSTILE[what]).bind((2, 2))


def test_mutated_texts_never_crash(rng):
    for case in ("images", "loop"):
        spec, row = CASES[case]

        def use(loaded, row=row):
            loaded.bind(row, random_state=0)(np.zeros((3, *row)))

        try_mutants(spec._to_json(row, "float32"), 150, rng, use)


# ---- refused ---------------------------------------------------------------------------------


def batch_norm(p, x):
    return np.sum(ebm.functional.batch_norm(x, p.param("g", 2), p.param("b", 2)), axis=1)


COUPLED = {
    "batch_norm": batch_norm,
    "mean": lambda p, x: np.sum(x - x.mean(axis=0), axis=1) * p.param("w", (), 0.0),
    "others": lambda p, x: np.sum(x, axis=1) + x[::-1, 0] * p.param("w", ()),
    "pairs": lambda p, x: np.sum(x @ x.T, axis=1) + p.param("w", ()),
    "first": lambda p, x: np.sum(x * x[:1], axis=1) + p.param("w", ()),
    "hidden": lambda p, x: np.sum(x + np.maximum(x.mean(0) - 99, 0), 1) + p.param("w", ()),
    "below": lambda p, x: np.sum(x + np.minimum(x, 0).mean(0), axis=1) + p.param("w", ()),
}


@pytest.mark.parametrize("case", COUPLED)
def test_coupled_rows_are_refused(case, rng):
    energy = COUPLED[case]
    x = rng.standard_normal((50, 2)).astype(np.float32)
    with pytest.raises(ValueError, match=r"function '.*': its rows depend on one another"):
        Function(energy).bind(2)
    with pytest.raises(ValueError, match="rows depend on one another"):
        small(Function(energy)).fit(x)
    declared = Function(energy, rows_independent=False)
    name = energy.__name__
    with pytest.raises(
        ValueError, match=rf"langevin: energy: got function '{name}', whose rows"
    ):
        samplers.Langevin().sample(declared.bind(2), x)
    with pytest.raises(ValueError, match=rf"pcd: energy: got function '{name}', whose rows"):
        small(declared).fit(x)


def test_labels_in_rows_are_no_coupling(rng):
    """The check of rows gives numbers that are no labels, too."""

    def energy(p, x):
        return np.sum(layers.embedding(p, "e", x[:, 0].astype(np.int32), 2, 3), axis=1)

    net = Function(energy).bind(1, random_state=0)
    p = net.parameters()["e.w"]
    np.testing.assert_allclose(net(np.array([[1.0], [0.0]])), p.sum(1)[[1, 0]], rtol=1e-6)


def test_coupled_rows_may_be_called(rng):
    net = Function(batch_norm, rows_independent=False).bind(2, dtype="float64")
    net.set_parameters({"g": np.ones(2), "b": np.zeros(2)})
    x = rng.standard_normal((5, 2))
    want = np.sum((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), axis=1)
    np.testing.assert_allclose(net(x), want, rtol=1e-12, atol=1e-14)


def test_impure_functions_are_errors(rows):
    def noisy(p, x):
        return np.sum(x * p.param("w", 3) * np.random.default_rng().normal(size=3), axis=1)

    calls = []

    def counting(p, x):
        calls.append(0)
        return np.sum(x * p.param("w", 3), axis=1) * float(len(calls))

    for energy in (noisy, counting):
        with pytest.raises(ValueError, match="impure function"):
            Function(energy).bind(3)
        with pytest.raises(ValueError, match=r"impure function(.|\n)*np.random"):
            small(Function(energy)).fit(rows)
    with pytest.raises(ValueError, match="impure function"):
        samplers.Langevin().sample(
            lambda x: np.sum(x * np.random.default_rng().normal(size=3), axis=1), rows
        )


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (lambda: Function(3), TypeError, "energy: got int, expected a function"),
        (lambda: Function(mlp, 3), TypeError, "parameters: got int, expected a dict"),
        (lambda: Function(mlp, {1: np.ones(2)}), TypeError, "got the name 1, expected a word"),
        (lambda: Function(mlp, {"w": "text"}), TypeError, "parameter 'w': got <U4, expected"),
        (
            lambda: Function(mlp, {"a": {"b": np.ones(1)}, "a.b": np.ones(1)}),
            ValueError,
            "'a.b' stands there twice",
        ),
        (
            lambda: Function(lambda p, x: x * p.param("w", ())),
            ebm.errors.ShapeError,
            r"function '<lambda>': energies of x \(2, 3\): got \(2, 3\), expected one number",
        ),
        (lambda: Function(lambda p, x: 1 / 0), ZeroDivisionError, "division"),
        (lambda: Function(lambda x: x), TypeError, "positional argument"),
        (lambda: Function(lambda p, x: "text"), TypeError, "not supported"),
    ],
)
def test_bad_functions_say_why(spec, error, message):
    with pytest.raises(error, match=message):
        spec().bind(3)
    with pytest.raises(error, match=message):
        small(spec()).fit(np.ones((20, 3)))


def test_a_function_without_parameters_cannot_be_fitted(rows):
    with pytest.raises(ValueError, match="without parameters, expected some to fit"):
        small(Function(lambda p, x: np.sum(x, axis=1))).fit(rows)


def test_an_error_while_a_plan_is_made_is_the_function_s(rows):
    """Energies of many rows are compiled late, where C has let go of the GIL."""

    def picky(p, x):
        if len(x) > 4:
            raise LookupError("mine")
        return np.sum(x * p.param("w", 3), axis=1)

    net = Function(picky).bind(3)
    assert net(rows[:4]).shape == (4,)
    with pytest.raises(LookupError, match="mine"):
        net(rows)
    with pytest.raises(LookupError, match="mine"):
        small(Function(picky)).fit(rows)


def test_every_failed_allocation_is_survived():
    def everything():
        net = Function(with_loop_and_slope).bind(2, random_state=0)
        other = pickle.loads(pickle.dumps(net))
        return other(np.ones((3, 2)))

    expected = everything()
    gc.collect()
    live = testing.alloc_live()
    n = 0
    while n < 100_000:
        testing.alloc_fail_after(n)
        try:
            got = everything()
        except MemoryError:
            n += 1 + n // 5  # all of the first, then some of thousands
            continue
        finally:
            testing.alloc_fail_after(-1)
            gc.collect()
            assert testing.alloc_live() == live, n
        break
    assert n > 100
    np.testing.assert_array_equal(got, expected)


def test_a_cycle_through_a_function_is_collected(rows):
    class Owner:
        def __init__(self):
            self.est = small(Function(lambda p, x: self.energy(p, x)), max_steps=1)

        def energy(self, p, x):
            return np.sum(x * p.param("w", 3), axis=1)

    owner = Owner()
    owner.est.fit(rows)
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_threads_may_share_a_function(rows):
    net = Function(mlp).bind(3, random_state=0)
    want = networks.MLP((16,)).bind(3, random_state=0)(rows)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: net(rows), range(8)):
            np.testing.assert_array_equal(got, want)
