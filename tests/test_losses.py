"""Losses against NumPy formulas in float64, at once and in a plan; gradients against central differences."""

import itertools

import numpy as np
import pytest
from compiled import central, run

from fastnn import graph, losses, ops, optimizers
from fastnn.layers import Dense, Input
from fastnn.models import Sequential

RNG = np.random.default_rng(7)
ROWS, COLUMNS = 5, 4
REAL = RNG.normal(size=(2, ROWS, COLUMNS))
POSITIVE = RNG.uniform(0.2, 2.0, size=(2, ROWS, COLUMNS))
P = RNG.uniform(0.05, 0.95, size=(ROWS, COLUMNS))
BITS = (RNG.uniform(size=(ROWS, COLUMNS)) > 0.5).astype(float)
IDS = np.array([3, 0, 2, 2, 1])
ONE_HOT = np.eye(COLUMNS)[IDS]
EPSILON = 1e-7


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mean(x):
    return x.mean(axis=-1)


def total(x):
    return x.sum(axis=-1)


def bce(t, p):
    p = np.clip(p, EPSILON, 1 - EPSILON)
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


def cce(t, p):
    return -total(t * np.log(np.clip(p / p.sum(-1, keepdims=True), EPSILON, 1 - EPSILON)))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def huber(t, y, delta):
    e = abs(t - y)
    return mean(np.where(e <= delta, e * e / 2, delta * e - delta * delta / 2))


def focal(t, p, alpha=0.25, gamma=2.0, balance=False):
    p_t = t * p + (1 - t) * (1 - p)
    w = t * alpha + (1 - t) * (1 - alpha) if balance else 1.0
    return mean(w * (1 - p_t) ** gamma * bce(t, p))


def categorical_focal(t, p, alpha=0.25, gamma=2.0):
    p = p / p.sum(-1, keepdims=True)
    return total(-alpha * (1 - p) ** gamma * t * np.log(p))


def smooth(t, s, n):
    return t * (1 - s) + s / n


def tversky(t, y, alpha, beta):
    i = total(t * y)
    return 1 - i / (i + alpha * total(t * (1 - y)) + beta * total(y * (1 - t)) + EPSILON)


def circle(t, x, gamma=80.0, margin=0.4, remove_diagonal=True, others=None, z=None):
    others, z = (t, x) if z is None else (others, z)
    d = np.maximum(1 - x @ z.T, 0)
    same = t[:, None] == others
    positive = same & ~np.eye(*d.shape, dtype=bool) if remove_diagonal else same
    p = np.where(positive, np.exp(-gamma * np.maximum(margin + d, 0) * (margin - d)), 0).sum(-1)
    n = np.where(~same, np.exp(gamma * np.maximum(1 + margin - d, 0) * (1 - margin - d)), 0).sum(-1)
    return np.log1p(p * n)


def ctc(t, y):
    """By all paths."""
    out = []
    for labels, logits in zip(t, y, strict=True):
        p, total = softmax(logits), 0.0
        for path in itertools.product(range(y.shape[2]), repeat=y.shape[1]):
            spelled = [c for c, _ in itertools.groupby(path) if c]
            if spelled == [c for c in labels if c]:
                total += np.prod([p[j, c] for j, c in enumerate(path)])
        out.append(-np.log(total))
    return np.array(out)


UNIT = unit(RNG.normal(size=(7, 3)))
SPELLED = np.array([[1, 2, 0], [2, 2, 0], [1, 1, 0], [2, 0, 0], [0, 0, 0]])

# function: (options, y_true, y_pred, formula)
CASES = {
    "mean_squared_error": ({}, *REAL, lambda t, y: mean((t - y) ** 2)),
    "mean_absolute_error": ({}, *REAL, lambda t, y: mean(abs(t - y))),
    "mean_absolute_percentage_error": ({}, *REAL, lambda t, y: 100 * mean(abs(t - y) / np.maximum(abs(t), EPSILON))),
    "mean_squared_logarithmic_error": ({}, *POSITIVE, lambda t, y: mean((np.log1p(t) - np.log1p(y)) ** 2)),
    "huber": ({"delta": 0.7}, *REAL, lambda t, y: huber(t, y, 0.7)),
    "log_cosh": ({}, *REAL, lambda t, y: mean(np.log(np.cosh(y - t)))),
    "cosine_similarity": ({}, *REAL, lambda t, y: -total(unit(t) * unit(y))),
    "hinge": ({}, 2 * BITS - 1, REAL[1], lambda t, y: mean(np.maximum(1 - t * y, 0))),
    "hinge-bits": ({}, BITS, REAL[1], lambda t, y: mean(np.maximum(1 - (2 * t - 1) * y, 0))),
    "squared_hinge": ({}, BITS, REAL[1], lambda t, y: mean(np.maximum(1 - (2 * t - 1) * y, 0) ** 2)),
    "categorical_hinge": (
        {}, ONE_HOT, REAL[1], lambda t, y: np.maximum(((1 - t) * y).max(-1) - total(t * y) + 1, 0),
    ),
    "kl_divergence": ({}, softmax(REAL[0]), softmax(REAL[1]), lambda t, y: total(t * np.log(t / y))),
    "poisson": ({}, POSITIVE[0].round(), POSITIVE[1], lambda t, y: mean(y - t * np.log(y + EPSILON))),
    "binary_crossentropy": ({}, BITS, P, lambda t, y: mean(bce(t, y))),
    "binary_crossentropy-smooth": ({"label_smoothing": 0.2}, BITS, P, lambda t, y: mean(bce(smooth(t, 0.2, 2), y))),
    "binary_crossentropy-logits": ({"from_logits": True}, BITS, REAL[1], lambda t, y: mean(bce(t, sigmoid(y)))),
    "binary_focal_crossentropy": ({}, BITS, P, focal),
    "binary_focal_crossentropy-all": (
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5, "from_logits": True, "label_smoothing": 0.1},
        BITS, REAL[1], lambda t, y: focal(smooth(t, 0.1, 2), sigmoid(y), 0.3, 1.5, True),
    ),
    "categorical_crossentropy": ({}, ONE_HOT, P, cce),
    "categorical_crossentropy-smooth": (
        {"label_smoothing": 0.2}, ONE_HOT, P, lambda t, y: cce(smooth(t, 0.2, COLUMNS), y),
    ),
    "categorical_crossentropy-logits": (
        {"from_logits": True, "label_smoothing": 0.1}, ONE_HOT, REAL[1],
        lambda t, y: cce(smooth(t, 0.1, COLUMNS), softmax(y)),
    ),
    "categorical_focal_crossentropy": ({}, ONE_HOT, P, categorical_focal),
    "categorical_focal_crossentropy-logits": (
        {"from_logits": True, "gamma": 1.5}, ONE_HOT, REAL[1], lambda t, y: categorical_focal(t, softmax(y), gamma=1.5),
    ),
    "sparse_categorical_crossentropy": ({}, IDS, P, lambda t, y: cce(np.eye(COLUMNS)[t], y)),
    "sparse_categorical_crossentropy-logits": (
        {"from_logits": True}, IDS, REAL[1], lambda t, y: cce(np.eye(COLUMNS)[t], softmax(y)),
    ),
    "sparse_categorical_crossentropy-ignore": (
        {"from_logits": True, "ignore_class": 2}, IDS, REAL[1],
        lambda t, y: np.where(t == 2, 0, cce(np.eye(COLUMNS)[t], softmax(y))),
    ),
    "categorical_generalized_cross_entropy": (
        {"q": 0.6}, IDS, P, lambda t, y: (1 - y[np.arange(ROWS), t] ** 0.6) / 0.6,
    ),
    "dice": ({"axis": -1}, BITS, P, lambda t, y: 1 - 2 * total(t * y) / (total(t) + total(y) + EPSILON)),
    "circle": ({"gamma": 6.0}, np.array([0, 1, 0, 1, 2, 2, 3]), UNIT, lambda t, y: circle(t, y, 6.0)),
    "circle-diagonal": (
        {"gamma": 3.0, "margin": 0.1, "remove_diagonal": False}, np.array([0, 1, 0, 1, 2, 2, 3]), UNIT,
        lambda t, y: circle(t, y, 3.0, 0.1, False),
    ),
    "ctc": ({}, SPELLED, RNG.normal(size=(5, 4, 3)), ctc),
    "tversky": ({"alpha": 0.3, "beta": 0.8, "axis": -1}, BITS, P, lambda t, y: tversky(t, y, 0.3, 0.8)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_functions(name):
    options, y_true, y_pred, formula = CASES[name]
    f = getattr(losses, name.split("-")[0])
    want = formula(y_true, y_pred)
    np.testing.assert_allclose(f(y_true, y_pred, **options), want, rtol=1e-10, atol=1e-12)
    single = f(y_true.astype(np.float32), y_pred.astype(np.float32), **options)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, want, rtol=2e-5, atol=1e-6)
    weights = RNG.normal(size=want.shape)
    for targets in {y_true.dtype.kind: y_true, "i": y_true.astype(int)}.values():
        if np.any(targets != y_true):
            continue
        got, found = run(lambda t, y: f(t, y, **options), [targets, y_pred], gradient=weights, by=[1])
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
        expected = central(lambda y: formula(y_true, y), y_pred, weights)
        np.testing.assert_allclose(found[-1], expected, rtol=2e-6, atol=1e-7)


def test_circle_against_references():
    """Proxies: references that are weights of their own, of another number; gradients by both."""
    ids, others = np.array([0, 1, 2, 1, 0, 3, 0]), np.array([0, 1, 2, 1])
    proxies = unit(RNG.normal(size=(4, 3)))
    want = circle(ids, UNIT, 5.0, 0.3, True, others, proxies)
    got = losses.circle(ids, UNIT, others, proxies, gamma=5.0, margin=0.3)
    np.testing.assert_allclose(got, want, rtol=1e-10)
    weights = RNG.normal(size=7)

    def both(t, x, z):
        return losses.circle(t, x, t, z, gamma=5.0, margin=0.3)

    others = unit(RNG.normal(size=(7, 3)))
    _, (dx, dz) = run(both, [ids, UNIT, others], gradient=weights, by=[1, 2])
    by_x = central(lambda x: circle(ids, x, 5.0, 0.3, True, ids, others), UNIT, weights)
    by_z = central(lambda z: circle(ids, UNIT, 5.0, 0.3, True, ids, z), others, weights)
    np.testing.assert_allclose(dx, by_x, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(dz, by_z, rtol=2e-6, atol=1e-7)
    with pytest.raises(ValueError, match="ref_labels and ref_embeddings must be given together"):
        losses.circle(ids, UNIT, ref_labels=others)
    with pytest.raises(ValueError, match="one class id a sample"):
        losses.circle(ids[:3], UNIT)


def test_ctc_of_labels_that_do_not_fit_or_exist():
    y = RNG.normal(size=(2, 3, 4))
    assert losses.ctc([[1, 1, 2], [1, 2, 3]], y).tolist()[0] == np.inf
    _, (dy,) = run(losses.ctc, [np.array([[1, 1, 2], [1, 2, 3]]), y], gradient=np.ones(2), by=[1])
    assert not dy[0].any() and dy[1].any()
    with pytest.raises(ValueError, match=r"ctc: labels must be in 0\.\.3 \(0 ends them\), got 4"):
        losses.ctc([[1, 4, 0], [0, 0, 0]], y)
    assert np.isnan(run(losses.ctc, [np.array([[1, 4, 0], [1, 2, 3]]), y])[0])
    with pytest.raises(ValueError, match="y_true must be"):
        losses.ctc([1, 2], y)
    with pytest.raises(ValueError, match="y_pred must be"):
        losses.ctc([[1], [2]], y[:, 0])


def test_ctc_of_long_sequences_in_float32():
    """Five hundred steps: probabilities of e^-1000 and below."""
    rng = np.random.default_rng(0)
    y, t = rng.normal(size=(3, 500, 30)), rng.integers(1, 30, (3, 60))
    t[1, 40:] = 0
    want, (by_y,) = run(losses.ctc, [t, y], gradient=np.ones(3), by=[1])
    got, (single,) = run(losses.ctc, [t, y], dtype="float32", gradient=np.ones(3), by=[1])
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(single, by_y, atol=2e-3)
    np.testing.assert_allclose(by_y.sum(-1), 0, atol=1e-9)


def test_gradient_reaches_targets_where_the_loss_is_symmetric():
    weights = RNG.normal(size=ROWS)

    def loss(t, y):
        return losses.mean_squared_error(ops.affine(t, 2.0), y)

    _, (by_target, _) = run(loss, list(REAL), gradient=weights)
    expected = central(lambda t: mean((2 * t - REAL[1]) ** 2), REAL[0], weights)
    np.testing.assert_allclose(by_target, expected, rtol=2e-6, atol=1e-7)


def test_a_gradient_by_targets_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="stop_gradient"):
        run(lambda t, y: losses.binary_crossentropy(ops.sigmoid(t), y), [REAL[0], P], gradient=np.ones(ROWS))
    stopped = run(
        lambda t, y: losses.binary_crossentropy(ops.stop_gradient(ops.sigmoid(t)), y),
        [REAL[0], P],
        gradient=np.ones(ROWS),
    )  # fmt: skip
    assert len(stopped[1]) == 1


@pytest.mark.parametrize(("activation", "loss", "y_true"), [
    (ops.softmax, losses.categorical_crossentropy, ONE_HOT),
    (ops.softmax, losses.sparse_categorical_crossentropy, IDS),
    (ops.sigmoid, losses.binary_crossentropy, BITS),
])  # fmt: skip
def test_probabilities_of_certain_predictions_go_back_to_logits(activation, loss, y_true):
    logits = REAL[1] * 200
    want = loss(y_true, logits, from_logits=True)
    got, _ = run(lambda t, z: loss(t, activation(z)), [y_true, logits], gradient=np.ones(ROWS))
    np.testing.assert_allclose(got, want, rtol=1e-10)


def test_logits_are_found_behind_a_squeeze():
    z = REAL[1][..., None] * 100
    got = run(lambda t, z: losses.BinaryCrossentropy().call(t, ops.sigmoid(z)), [BITS, z])
    np.testing.assert_allclose(got, losses.binary_crossentropy(BITS, z[..., 0], from_logits=True), rtol=1e-10)


WEIGHTS = np.array([1.0, 0.5, 0.0, 2.0, 1.5])


@pytest.mark.parametrize("weights", [None, WEIGHTS, WEIGHTS[:, None]])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", None, "none"])
def test_reductions(reduction, weights):
    values = mean((REAL[0] - REAL[1]) ** 2)
    w = np.ones(ROWS) if weights is None else WEIGHTS
    want = {
        "sum": (w * values).sum(), "mean_with_sample_weight": (w * values).sum() / w.sum(),
        None: w * values, "none": w * values,
    }.get(reduction, (w * values).mean())  # fmt: skip
    loss = losses.MeanSquaredError(reduction, dtype="float64")
    np.testing.assert_allclose(loss(*REAL, sample_weight=weights), want, rtol=1e-12)


def test_weights_of_positions():
    t, y, w = RNG.normal(size=(3, 4, 6, 2))
    values = mean((t - y) ** 2)
    loss = losses.MeanSquaredError(dtype="float64")
    np.testing.assert_allclose(loss(t, y, w[..., 0]), (values * w[..., 0]).mean(), rtol=1e-12)
    np.testing.assert_allclose(loss(t, y, w[:, 0, 0]), (values * w[:, :1, 0]).mean(), rtol=1e-12)
    with pytest.raises(ValueError, match=r"sample_weight of shape \(6,\)"):
        loss(t, y, w[0, :, 0])


def test_ranks_that_differ_by_one():
    t, y = REAL[:, :, 0]
    want = mean(((t - y) ** 2)[:, None])
    loss = losses.MeanSquaredError(None, dtype="float64")
    np.testing.assert_allclose(loss(t, y[:, None]), want)
    np.testing.assert_allclose(loss(t[:, None], y), want)
    np.testing.assert_allclose(losses.SparseCategoricalCrossentropy(reduction=None)(IDS[:, None], P),
                               cce(ONE_HOT, P), rtol=1e-5)  # fmt: skip


@pytest.mark.parametrize("name", ["mean_squared_error", "binary_crossentropy", "categorical_crossentropy", "dice"])
def test_shapes_that_do_not_fit(name):
    with pytest.raises(ValueError, match=rf"{name}: y_true of shape \(5, 3\)"):
        losses.get(name)(np.zeros((5, 3)), np.zeros((5, 4)))


def test_class_ids_out_of_range():
    with pytest.raises(ValueError, match=r"0\.\.3, got 4"):
        losses.sparse_categorical_crossentropy(np.array([0, 4]), np.full((2, 4), 0.25))
    for wrong in (1.5, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"class ids must be whole numbers, got {wrong}"):
            losses.sparse_categorical_crossentropy(np.array([0, wrong]), np.full((2, 4), 0.25))
    with pytest.raises(ValueError, match=r"0\.\.3, got 3000000000"):
        losses.sparse_categorical_crossentropy(np.array([0, 3e9]), np.full((2, 4), 0.25))


@pytest.mark.parametrize("make, message", [
    (lambda: losses.Huber(-1), "Huber: delta must be > 0, got -1"),
    (lambda: losses.Huber("a"), "Huber: delta must be a number, got 'a'"),
    (lambda: losses.huber([1.0], [2.0], delta="a"), "huber: delta must be a number, got 'a'"),
    (lambda: losses.Tversky("a"), "Tversky: alpha must be a number, got 'a'"),
    (lambda: losses.Tversky(axis="a"), "Tversky: axis must be an integer, a list of integers or None, got 'a'"),
    (lambda: losses.BinaryFocalCrossentropy(gamma="a"), "BinaryFocalCrossentropy: gamma must be a number, got 'a'"),
    (lambda: losses.BinaryFocalCrossentropy(alpha=np.nan), "BinaryFocalCrossentropy: alpha must be finite, got nan"),
    (lambda: losses.CosineSimilarity("a"), "CosineSimilarity: axis must be an integer, got 'a'"),
    (lambda: losses.BinaryCrossentropy(label_smoothing="a"), "BinaryCrossentropy: label_smoothing must be a number"),
    (lambda: losses.BinaryCrossentropy(label_smoothing=2), r"label_smoothing must be in \[0, 1\], got 2"),
    (lambda: losses.CategoricalGeneralizedCrossEntropy("a"), "CrossEntropy: q must be a number, got 'a'"),
    (lambda: losses.CategoricalGeneralizedCrossEntropy(1), r"CrossEntropy: q must be in \(0, 1\), got 1"),
    (lambda: losses.SparseCategoricalCrossentropy(ignore_class=1.5), "ignore_class must be an integer, got 1.5"),
    (lambda: losses.LossFunctionWrapper(losses.huber, delta=0), "LossFunctionWrapper: delta must be > 0, got 0"),
])  # fmt: skip
def test_errors_of_options(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_options_of_other_functions_are_theirs():
    loss = losses.LossFunctionWrapper(lambda y_true, y_pred, alpha: y_pred[:, 0], alpha="a")
    assert loss([[1.0]], [[2.0]]) == 2.0


def test_public_names():
    names = {}
    exec("from fastnn.losses import *", names)
    assert {"Huber", "mse", "get"} <= names.keys() and not {"is_symbolic", "shape_of", "ops", "np"} & names.keys()


def test_per_sample():
    t, y = RNG.normal(size=(2, 5, 3, 2))
    loss = losses.MeanSquaredError(dtype="float64")
    want = ((t - y) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(loss.per_sample(t, y), want)
    np.testing.assert_allclose(run(loss.per_sample, [t, y]), want)
    np.testing.assert_allclose(run(loss.per_sample, [t[:, 0, 0], y[:, 0, 0]]), (t[:, 0, 0] - y[:, 0, 0]) ** 2)
    overlap = losses.Dice(dtype="float64")
    whole = 1 - 2 * (BITS * P).sum() / (BITS.sum() + P.sum() + EPSILON)
    weights = RNG.normal(size=ROWS)
    got, (_, gradient) = run(overlap.per_sample, [BITS, P], gradient=weights)
    np.testing.assert_allclose(got, np.full(ROWS, whole))

    def formula(p):
        return np.full(ROWS, 1 - 2 * (BITS * p).sum() / (BITS.sum() + p.sum() + EPSILON))

    np.testing.assert_allclose(gradient, central(formula, P, weights), rtol=2e-6, atol=1e-7)


def test_a_mean_leaves_ignored_classes_out():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=2, dtype="float64")
    each = cce(ONE_HOT, P)
    want = each[IDS != 2].mean()
    np.testing.assert_allclose(loss(IDS, P), want)
    np.testing.assert_allclose(run(loss.per_sample, [IDS, P]).mean(), want)
    weights = RNG.normal(size=ROWS)
    scale = ROWS / (IDS != 2).sum()
    _, (gradient,) = run(loss.per_sample, [IDS, P], gradient=weights)
    expected = central(lambda p: np.where(IDS == 2, 0, cce(ONE_HOT, p)) * scale, P, weights)
    np.testing.assert_allclose(gradient, expected, rtol=2e-6, atol=1e-7)
    outside = np.where(IDS == 2, 255, IDS)
    np.testing.assert_allclose(
        losses.SparseCategoricalCrossentropy(ignore_class=255, dtype="float64")(outside, P), want
    )
    everything = losses.SparseCategoricalCrossentropy(ignore_class=0)
    assert everything(np.zeros(ROWS, int), P) == 0


@pytest.mark.parametrize("axis", [1, -2])
def test_classes_on_another_axis(axis):
    y = P[:, :, None] * np.array([1.0, 0.7, 0.5])
    t = np.broadcast_to(ONE_HOT[:, :, None], y.shape).copy()
    want = np.stack([cce(ONE_HOT, y[:, :, j]) for j in range(3)], -1)
    np.testing.assert_allclose(losses.categorical_crossentropy(t, y, axis=axis), want, rtol=1e-10)
    ids = np.broadcast_to(IDS[:, None], (ROWS, 3))
    np.testing.assert_allclose(losses.sparse_categorical_crossentropy(ids, y, axis=axis), want, rtol=1e-10)


def test_own_loss():
    class Fourth(losses.Loss):
        def call(self, y_true, y_pred):
            return ops.mean(ops.square(ops.square(y_true - y_pred)), axis=-1)

    loss = Fourth(dtype="float64")
    assert loss.name == "fourth"
    want = mean((REAL[0] - REAL[1]) ** 4)
    np.testing.assert_allclose(loss(*REAL), want.mean())
    weights = RNG.normal(size=ROWS)
    got, (_, gradient) = run(loss.per_sample, list(REAL), gradient=weights)
    np.testing.assert_allclose(got, want)
    expected = central(lambda y: mean((REAL[0] - y) ** 4), REAL[1], weights)
    np.testing.assert_allclose(gradient, expected, rtol=2e-6, atol=1e-7)


def test_symbolic_call_gives_the_reduced_loss():
    loss = losses.MeanSquaredError()
    t, y = (graph.input_tensor((None, 3), "float32") for _ in range(2))
    assert loss(t, y).shape == ()
    assert loss.per_sample(t, y).shape == (None,)


def test_by_name():
    assert losses.get(None) is None
    assert losses.get("mse") is losses.mean_squared_error
    assert isinstance(losses.get("MeanSquaredError"), losses.MeanSquaredError)
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy"):
        losses.get("categorial_crossentropy")
    with pytest.raises(ValueError, match="reduction"):
        losses.Huber(reduction="average")


@pytest.mark.parametrize("loss", [
    losses.MeanSquaredError("sum"), losses.Huber(0.3), losses.BinaryCrossentropy(True, 0.1),
    losses.SparseCategoricalCrossentropy(True, 3), losses.Tversky(0.2, 0.9), losses.CosineSimilarity(axis=1),
    losses.BinaryFocalCrossentropy(True, 0.4, 1.0), losses.LossFunctionWrapper(losses.huber, delta=0.2),
], ids=lambda loss: type(loss).__name__)  # fmt: skip
def test_saved_and_loaded(loss):
    again = losses.deserialize(losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


def test_resolve():
    assert losses.resolve(None, (None,), (None, 1)) is None
    for shapes, f in [
        (((None,), (None, 1)), losses.binary_crossentropy),
        (((None,), (None, 3)), losses.sparse_categorical_crossentropy),
        (((None, 1), (None, 3)), losses.sparse_categorical_crossentropy),
        (((None, 3), (None, 3)), losses.categorical_crossentropy),
    ]:
        assert losses.resolve("crossentropy", *shapes).fn is f
    assert losses.resolve("mse", (None, 1), (None, 1)).name == "mse"


def compiled(loss, x, y, weights=None):
    """Loss and gradient by the weights (4, 3) of a linear model, from one step of SGD."""
    model = Sequential([Input((4,)), Dense(3, use_bias=False, kernel_initializer="orthogonal", dtype="float64")])
    model.set_weights([np.linspace(-1, 1, 12).reshape(4, 3)])
    model.compile(optimizers.SGD(1.0), loss)
    before = model.get_weights()[0]
    value = model.evaluate(x, y, sample_weight=weights, batch_size=len(x), verbose=0)
    model.train_on_batch(x, y, sample_weight=weights)
    return value, before - model.get_weights()[0]


@pytest.mark.parametrize("weights", [None, np.arange(6.0), np.zeros(6), np.array([0, 0, 0, 1, 1, 0.0])])
@pytest.mark.parametrize(
    "loss",
    [
        losses.MeanSquaredError,
        losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1),
        losses.Dice,
        losses.Tversky,
    ],
    ids=str,
)
@pytest.mark.parametrize("reduction", ["sum", "mean", "sum_over_batch_size", "mean_with_sample_weight"])
def test_reductions_compiled(loss, reduction, weights, rng):
    """Value and gradient in a step are those of the loss called on arrays, masked and weighted."""
    x = rng.normal(size=(6, 4))
    sparse = isinstance(loss, losses.Loss)
    y = np.array([0, 1, 2, -1, -1, 1]) if sparse else rng.random((6, 3))
    if sparse:
        loss = losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=-1, reduction=reduction, dtype="float64"
        )
    else:
        loss = loss(reduction=reduction, dtype="float64")
    of_batch = isinstance(loss, (losses.Dice, losses.Tversky))
    if of_batch and weights is not None:
        pytest.skip("one value for the whole batch: there are no samples to weigh")
    value, gradient = compiled(loss, x, y, weights)
    w = np.linspace(-1, 1, 12).reshape(4, 3)

    def called(w):
        return float(loss(y, x @ w, sample_weight=weights))

    assert value == pytest.approx(called(w), rel=1e-9, abs=1e-12)
    for at in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[at] = 1e-5
        slope = (called(w + step) - called(w - step)) / 2e-5
        assert gradient[at] == pytest.approx(slope, rel=1e-5, abs=1e-8)
