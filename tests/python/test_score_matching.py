"""Score matching: its losses and gradients, that the kinds agree, and what they learn."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import ebmlib as ebm
import ebmlib.functional as F
from ebmlib import _core, estimators, layers, networks, schedules
from ebmlib._trace import as_node, need

KINDS = ["sliced", "sliced_vr", "denoising", "curvature", "exact"]

# The drawing sites and folds of csrc/estimators/score_matching.c.
DENOISING, DIRECTION = 0x646E6F69, 0x64697265
FOLD_LOOKS = 1


def draw(law, key, purpose, shape):
    """The numbers that the core draws at a site."""

    @ebm.jit
    def drawn(key):
        graph, node = need().graph, as_node(key)
        if law == "gaussian":
            return _core.ops.normal(graph, node, purpose, np.float64, shape)
        return _core.ops.random_bits(graph, node, purpose, shape)

    found = np.asarray(drawn(key))
    return found if law == "gaussian" else 2.0 * (found & 1) - 1.0


def step_key(seed, step):
    return ebm.random.fold_in(ebm.random.key(seed), step)


# ---- losses and gradients against PyTorch ----------------------------------------------------

D, N, HIDDEN = 3, 6, (5, 4)
ROWS = np.random.default_rng(0).normal(size=(N, D))


def one_step(kind, activation, **options):
    """(estimator after one step of size one, parameters before it)."""
    est = estimators.ScoreMatching(
        networks.MLP(HIDDEN, activation),
        kind=kind,
        optimizer="sgd",
        betas=(0.0, 0.0),
        learning_rate=1.0,
        dtype="float64",
        random_state=7,
        **options,
    )
    start = est.set_params(max_steps=0).fit(ROWS).energy_.parameters()
    return est.set_params(max_steps=1).fit(ROWS), start


def activations(torch):
    return {"swish": torch.nn.functional.silu, "softplus": torch.nn.functional.softplus}


def layers_of(torch, p, f, x):
    """(E of one row, what enters the activations)."""
    before, h = [], x
    for k in range(len(HIDDEN)):
        before.append(h @ p[f"l{k}.w"] + p[f"l{k}.b"])
        h = f(before[-1])
    last = len(HIDDEN)
    return (h @ p[f"l{last}.w"] + p[f"l{last}.b"])[..., 0], before


def score_and_hessian(torch, p, f, x):
    def energy(row):
        return layers_of(torch, p, f, row)[0]

    s = -torch.func.vmap(torch.func.grad(energy))(x)
    return s, -torch.func.vmap(torch.func.jacrev(torch.func.grad(energy)))(x)


def sliced(torch, p, f, x, kind, law, n):
    s, h = score_and_hessian(torch, p, f, x)
    key = ebm.random.fold_in(step_key(7, 0), FOLD_LOOKS)
    v = np.stack([draw(law, ebm.random.fold_in(key, k), DIRECTION, (N, D)) for k in range(n)])
    v = torch.tensor(v)
    trace = torch.einsum("knd,nde,kne->kn", v, h, v).mean(0)
    along = torch.einsum("knd,nd->kn", v, s).square().mean(0)
    square = along if kind == "sliced" else s.square().sum(1)
    return (trace + 0.5 * square).mean(), trace.mean()


def exact(torch, p, f, x):
    s, h = score_and_hessian(torch, p, f, x)
    trace = torch.einsum("ndd->n", h)
    return (trace + 0.5 * s.square().sum(1)).mean(), trace.mean()


def denoising(torch, p, f, x, sigma, power):
    n = torch.tensor(draw("gaussian", step_key(7, 0), DENOISING, (N, D)))
    s, _ = score_and_hessian(torch, p, f, x + sigma * n)
    return sigma**power * 0.5 * (s + n / sigma).square().sum(1).mean(), None


def curvature(torch, p, f, x, n):
    """S as complex numbers, from Jacobians of what enters each activation."""
    s, _ = score_and_hessian(torch, p, f, x)
    key = ebm.random.fold_in(step_key(7, 0), FOLD_LOOKS)
    total = 0.0
    for k in range(n):
        own = ebm.random.fold_in(key, k)
        row_sum = 0.0
        for i in range(N):
            row = x[i]

            def before(row):
                return layers_of(torch, p, f, row)[1]

            jacobians = torch.func.jacrev(before)(row)
            bent = before(row)
            # The adjoint of each activation: from the last one back.
            adjoint = [None, p["l2.w"][:, 0]]
            slope = torch.func.vmap(torch.func.grad(f))(bent[1])
            adjoint[0] = p["l1.w"] @ (slope * adjoint[1])
            total_s = 0.0
            for layer in range(2):
                bend = torch.func.vmap(torch.func.grad(torch.func.grad(f)))(bent[layer])
                m = (adjoint[layer] * bend).to(torch.complex128)
                v = draw("signs", own, layer, (N, HIDDEN[layer]))[i]
                total_s = total_s + (m.sqrt() * torch.tensor(v)) @ jacobians[layer].to(
                    torch.complex128
                )
            row_sum = row_sum + (total_s**2).sum().real
        total = total - row_sum / N / n
    return total + 0.5 * s.square().sum(1).mean(), total


CASES = [
    ("sliced", {"projection": "rademacher"}),
    ("sliced", {"projection": "gaussian", "n_projections": 3}),
    ("sliced_vr", {"projection": "gaussian"}),
    ("sliced_vr", {"projection": "rademacher", "n_projections": 4}),
    ("exact", {}),
    ("denoising", {"sigma": 0.3}),
    ("denoising", {"sigma": 0.3, "weight": "sigma2"}),
    ("denoising", {"sigma": 0.3, "weight": "sigma4"}),
    ("curvature", {}),
    ("curvature", {"n_projections": 2}),
]


@pytest.mark.parametrize("activation", ["swish", "softplus"])
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_losses_and_gradients_are_those_of_pytorch(kind, options, activation, torch):
    est, start = one_step(kind, activation, **options)
    p = {name: torch.tensor(a, requires_grad=True) for name, a in start.items()}
    x = torch.tensor(est._trainer.get("batch")["x"])  # in the order of the batch
    f, n = activations(torch)[activation], options.get("n_projections", 1)
    if kind == "denoising":
        power = {"one": 0, "sigma2": 2, "sigma4": 4}[options.get("weight", "one")]
        loss, trace = denoising(torch, p, f, x, options["sigma"], power)
    elif kind == "curvature":
        loss, trace = curvature(torch, p, f, x, n)
    elif kind == "exact":
        loss, trace = exact(torch, p, f, x)
    else:
        loss, trace = sliced(torch, p, f, x, kind, options["projection"], n)
    assert est.history_["loss"][0] == pytest.approx(loss.item(), rel=1e-10)
    assert ("trace" in est.history_) == (trace is not None)
    if trace is not None:
        assert est.history_["trace"][0] == pytest.approx(trace.item(), rel=1e-10)
    wanted = torch.autograd.grad(loss, list(p.values()), allow_unused=True)
    for (name, before), want in zip(start.items(), wanted, strict=True):
        got = before - est.energy_.parameters()[name]
        want = np.zeros_like(got) if want is None else want.numpy()
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-9, err_msg=name)


# ---- that the kinds agree --------------------------------------------------------------------


def attention(p, x):
    """Products of values that depend on x, exponentials, a norm, a maximum of several."""
    y = layers.dense(p, "in", x, 8)
    z = F.layer_norm(y, np.ones(8), np.zeros(8)).reshape(len(x), 2, 4)
    mixed = F.attention(z, z * z, np.tanh(z)).reshape(len(x), 8)
    rest = F.logsumexp(mixed, axis=1) + np.max(np.sin(y), axis=1)
    return rest + np.sum(y / (2 + np.cos(x[:, :1])), axis=1) * np.exp(0.3 * x[:, 0])


def powers(p, x):
    scale = layers.param(p, "scale", 3, init=0.7)
    return np.sum((1 + x**2) ** (0.5 + 0.1 * np.sin(x * scale)), axis=1) + x[:, 0] * x[:, 1]


ENERGIES = {
    "mlp": networks.MLP((16, 8)),
    "relu": networks.MLP((16, 8), "leaky_relu"),
    "attention": networks.Function(attention),
    "powers": networks.Function(powers),
}


def frozen(network, kind, steps, **options):
    """Losses over many keys, for parameters that do not move; all rows in each."""
    x = np.random.default_rng(3).normal(size=(32, 3))
    est = estimators.ScoreMatching(
        network,
        kind=kind,
        optimizer="sgd",
        betas=(0, 0),
        learning_rate=1e-300,
        max_steps=steps,
        dtype="float64",
        random_state=11,
        **options,
    )
    return est.fit(x).history_


@pytest.mark.parametrize("name", ENERGIES)
def test_sliced_variance_reduced_and_curvature_agree_with_exact(name):
    # Means over 1000 keys.  With 5 standard errors each of these 40 comparisons is a false
    # alarm with probability 6e-7.
    want = frozen(ENERGIES[name], "exact", 1)
    for kind, options in (
        ("sliced", {}),
        ("sliced", {"projection": "gaussian"}),
        ("sliced_vr", {}),
        ("sliced_vr", {"projection": "gaussian", "n_projections": 3}),
        ("curvature", {}),
    ):
        got = frozen(ENERGIES[name], kind, 1000, **options)
        for term in ("loss", "trace"):
            error = got[term].std() / np.sqrt(1000)
            assert abs(got[term].mean() - want[term][0]) < 5 * error + 1e-9, (kind, term)
    assert got["score_norm"][0] == pytest.approx(want["score_norm"][0], rel=1e-12)


def test_curvature_has_no_variance_where_each_unit_bends_alone():
    def apart(p, x):  # each number of x by itself
        w = layers.param(p, "w", 3, init=1.3)
        return np.sum(F.softplus(w * x) + np.cos(x) - np.exp(-0.5 * x**2), axis=1)

    def ridge(p, x):  # one unit
        return layers.dense(p, "out", F.softplus(layers.dense(p, "in", x, 1)), 1)[:, 0]

    for energy in (ridge, apart):
        got = frozen(networks.Function(energy), "curvature", 20)
        want = frozen(networks.Function(energy), "exact", 1)
        if energy is ridge:
            np.testing.assert_allclose(got["trace"], want["trace"][0], rtol=1e-12)
        else:  # three units bend at one x: pairs of them count
            assert got["trace"].std() > 0


def test_the_variance_of_curvature_is_that_of_its_header():
    rng = np.random.default_rng(4)
    w, b, c = rng.normal(size=(3, 6)), rng.normal(size=6), rng.normal(size=6)

    def units(p, x):
        return np.sum(layers.param(p, "one", (), init=1.0) * c * F.softplus(x @ w + b), axis=1)

    steps, x = 8000, rng.normal(size=(1, 3))
    est = estimators.ScoreMatching(
        networks.Function(units),
        kind="curvature",
        optimizer="sgd",
        betas=(0, 0),
        learning_rate=1e-300,
        max_steps=steps,
        dtype="float64",
        random_state=5,
    )
    got = est.fit(x).history_["trace"]
    s = 1 / (1 + np.exp(-(x[0] @ w + b)))
    m, h = c * s * (1 - s), w.T @ w
    pairs = np.maximum(np.outer(m, m), 0) * h**2
    want = 2 * (pairs.sum() - np.trace(pairs))
    # Five standard errors of a variance: a false alarm with probability 6e-7.
    error = np.std((got - got.mean()) ** 2) / np.sqrt(steps)
    assert abs(got.var() - want) < 5 * error
    assert abs(got.mean() + m @ np.diag(h)) < 5 * got.std() / np.sqrt(steps)


def test_signs_have_less_variance_than_normal_directions():
    spread = [
        frozen(ENERGIES["mlp"], "sliced_vr", 500, projection=law)["loss"].std()
        for law in ("rademacher", "gaussian")
    ]
    assert spread[0] < 0.9 * spread[1]


def test_a_loop_in_the_energy_is_refused_by_curvature_alone():
    def looped(p, x):
        w = layers.param(p, "w", (), init=0.5)
        return np.sum(ebm.repeat(lambda i, y: np.tanh(w * y), 3, x) ** 2, axis=1)

    network = networks.Function(looped)
    assert np.isfinite(frozen(network, "sliced_vr", 3)["loss"]).all()
    with pytest.raises(NotImplementedError, match="curvature: energy: got one with a loop"):
        frozen(network, "curvature", 3)


# ---- what is learned -------------------------------------------------------------------------


def quadratic(p, x):
    return 0.5 * np.sum(((x - p["mean"]) @ p["root"]) ** 2, axis=1)


def gaussian_network(d=2):
    return networks.Function(quadratic, {"mean": np.zeros(d), "root": np.eye(d)})


def fit_gaussian(x, kind, **options):
    est = estimators.ScoreMatching(
        gaussian_network(),
        kind=kind,
        batch_size=len(x),
        dtype="float64",
        random_state=0,
        **options,
    ).fit(x)
    p = est.energy_.parameters()
    return p["mean"], np.linalg.inv(p["root"] @ p["root"].T)


@pytest.fixture(scope="module")
def gaussian_rows():
    cov = [[1.0, 0.6], [0.6, 1.5]]
    return np.random.default_rng(1).multivariate_normal([0.5, -0.5], cov, 1000)


def test_exact_score_matching_of_a_gaussian_finds_the_moments(gaussian_rows):
    # tr P / -1 + |P (x - m)|^2 / 2 is least at the sample's mean and covariance.
    rate = schedules.Cosine(0.05, steps=1500)
    mean, cov = fit_gaussian(gaussian_rows, "exact", learning_rate=rate, max_steps=1500)
    np.testing.assert_allclose(mean, gaussian_rows.mean(0), atol=1e-5)
    np.testing.assert_allclose(cov, np.cov(gaussian_rows.T, ddof=0), atol=1e-5)


def test_the_minimiser_of_denoising_has_the_variance_of_noise_added(gaussian_rows):
    rate, sigma = schedules.Cosine(0.03, steps=4000), 0.7
    for weight in ("one", "sigma2"):
        mean, cov = fit_gaussian(
            gaussian_rows,
            "denoising",
            sigma=sigma,
            weight=weight,
            learning_rate=rate,
            max_steps=4000,
            ema=0.998,
        )
        # Means over noise of 500 steps and more of 1000 rows: a deviation below 0.004.
        want = np.cov(gaussian_rows.T, ddof=0) + sigma**2 * np.eye(2)
        np.testing.assert_allclose(mean, gaussian_rows.mean(0), atol=0.02)
        np.testing.assert_allclose(cov, want, atol=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_learns_a_gaussian(kind, gaussian_rows):
    est = estimators.ScoreMatching(
        networks.MLP((32, 32), "softplus"),
        kind=kind,
        sigma=0.2,
        learning_rate=schedules.Cosine(5e-3, steps=1000),
        max_steps=1000,
        random_state=0,
    ).fit(gaussian_rows)
    cov = np.cov(gaussian_rows.T) + (0.04 * np.eye(2) if kind == "denoising" else 0)
    away = gaussian_rows - gaussian_rows.mean(0)
    slope = away @ np.linalg.inv(cov)
    got = ebm.grad(lambda x: np.sum(est.energy_(x)))(gaussian_rows.astype(np.float32))
    error = np.mean((got - slope) ** 2) / np.mean(slope**2)
    assert error < (0.15 if kind == "curvature" else 0.05), error


# ---- bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_parts_has_the_bits_of_the_whole(kind, gaussian_rows):
    def small(steps):
        return estimators.ScoreMatching(
            networks.MLP((8,)), kind=kind, max_steps=steps, batch_size=32, random_state=0
        )

    whole = small(9).fit(gaussian_rows)
    parts = pickle.loads(pickle.dumps(small(4).fit(gaussian_rows)))
    parts.partial_fit(gaussian_rows, n_steps=5)
    np.testing.assert_array_equal(parts.energy(gaussian_rows), whole.energy(gaussian_rows))
    for name, values in whole.history_.items():
        np.testing.assert_array_equal(parts.history_[name], values)
    assert whole.sample(3).shape == (3, 2)


def test_images(rng):
    x = rng.normal(size=(20, 4, 4, 1)).astype(np.float32)
    network = networks.ConvNet((4,), kernels=(3,), strides=(2,), head=(8,), norm="layer")
    for kind in KINDS:
        est = estimators.ScoreMatching(network, kind=kind, max_steps=3, random_state=0).fit(x)
        assert np.isfinite(est.history_["loss"]).all()
