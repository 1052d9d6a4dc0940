"""Metrics against NumPy formulas, at once and in a plan, over several batches, with and without weights."""

import numpy as np
import pytest
from compiled import run

from fastnn import graph, losses, metrics, ops
from fastnn.layers import Dense, Input
from fastnn.models import Sequential

RNG = np.random.default_rng(11)
N, C = 12, 4
IDS = RNG.integers(0, C, N)
ONE_HOT = np.eye(C)[IDS]
SCORES = RNG.uniform(0.02, 0.98, size=(N, C)).round(2)
BITS = (RNG.uniform(size=N) > 0.4).astype(float)
P = RNG.uniform(size=N).round(2)
P[2], P[5] = 0.5, 1.0
REAL = RNG.normal(size=(2, N, 3))
W = RNG.uniform(size=N).round(2)


def check(make, y_true, y_pred, want, rtol=1e-6):
    """`want(weights)` is the value over all samples; taken in as two batches, at once and in a plan."""
    for weights in (None, W):
        expected = want(np.ones(len(y_true)) if weights is None else weights)
        for dtype in ("float32", "float64"):
            metric = make(dtype)
            for part in (slice(0, 5), slice(5, None)):
                w = None if weights is None else weights[part]
                metric.update_state(y_true[part], y_pred[part].astype(dtype), w)
            np.testing.assert_allclose(metric.result(), expected, rtol=rtol, atol=1e-6)
            metric.reset_state()
            arrays = [y_true, y_pred] if weights is None else [y_true, y_pred, weights]
            # once over the whole batch, then as the short last batch of three, which counts again
            run(lambda *tensors, m=metric: m.update_state(*tensors), arrays, dtype)
            np.testing.assert_allclose(metric.result(), expected, rtol=rtol, atol=1e-6)


def average(values):
    return lambda w: (values.reshape(len(values), -1).mean(1) * w).sum() / w.sum()


def test_accuracies():
    hit = (SCORES.argmax(-1) == IDS).astype(float)
    check(lambda d: metrics.SparseCategoricalAccuracy(dtype=d), IDS, SCORES, average(hit))
    check(lambda d: metrics.SparseCategoricalAccuracy(dtype=d), IDS[:, None], SCORES, average(hit))
    check(lambda d: metrics.CategoricalAccuracy(dtype=d), ONE_HOT, SCORES, average(hit))
    check(lambda d: metrics.BinaryAccuracy(dtype=d), BITS, P[:, None], average(((P > 0.5) == BITS).astype(float)))
    check(lambda d: metrics.BinaryAccuracy(dtype=d, threshold=0.3), ONE_HOT, SCORES,
          average(((SCORES > 0.3) == ONE_HOT).astype(float)))  # fmt: skip
    check(lambda d: metrics.Accuracy(dtype=d), IDS, SCORES.argmax(-1).astype(float), average(hit))
    rank = (SCORES > SCORES[np.arange(N), IDS][:, None]).sum(1)
    check(lambda d: metrics.SparseTopKCategoricalAccuracy(2, dtype=d), IDS, SCORES, average((rank < 2).astype(float)))
    check(lambda d: metrics.TopKCategoricalAccuracy(3, dtype=d), ONE_HOT, SCORES, average((rank < 3).astype(float)))
    order = np.argsort(-SCORES, kind="stable").astype(float)
    found = (order[:, :2] == IDS[:, None]).any(1).astype(float)
    check(lambda d: metrics.SparseTopKCategoricalAccuracy(2, dtype=d, from_sorted_ids=True), IDS, order, average(found))


def test_accuracy_of_positions():
    ids, scores = IDS.reshape(3, 4), SCORES.reshape(3, 4, C)
    metric = metrics.SparseCategoricalAccuracy()
    metric.update_state(ids, scores)
    np.testing.assert_allclose(metric.result(), (scores.argmax(-1) == ids).mean(), rtol=1e-6)
    metric.reset_state()
    weights = W.reshape(3, 4)
    metric.update_state(ids, scores, weights)
    np.testing.assert_allclose(metric.result(), ((scores.argmax(-1) == ids) * weights).sum() / weights.sum(), rtol=1e-6)
    np.testing.assert_allclose(metric.count, weights.mean(1).sum(), rtol=1e-6)


ERRORS = {
    "MeanSquaredError": lambda t, y: (t - y) ** 2,
    "MeanAbsoluteError": lambda t, y: abs(t - y),
    "MeanAbsolutePercentageError": lambda t, y: 100 * abs(t - y) / np.maximum(abs(t), 1e-7),
    "LogCoshError": lambda t, y: np.log(np.cosh(t - y)),
    "CosineSimilarity": lambda t, y: (
        (t * y).sum(-1, keepdims=True)
        / np.linalg.norm(t, axis=-1, keepdims=True)
        / np.linalg.norm(y, axis=-1, keepdims=True)
    ),
    "Poisson": lambda t, y: y - t * np.log(y + 1e-7),
    "MeanSquaredLogarithmicError": lambda t, y: (np.log1p(t) - np.log1p(y)) ** 2,
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    t, y = abs(REAL) if name in ("Poisson", "MeanSquaredLogarithmicError") else REAL
    check(lambda d: getattr(metrics, name)(dtype=d), t, y, average(ERRORS[name](t, y)), rtol=2e-5)


def test_root_and_relative_errors():
    t, y = REAL
    check(lambda d: metrics.RootMeanSquaredError(dtype=d), t, y, lambda w: average((t - y) ** 2)(w) ** 0.5)
    scale = np.array([1.0, 0.0, 2.0])
    error = np.divide(abs(t - y), scale, out=np.zeros_like(t), where=scale != 0)
    check(lambda d: metrics.MeanRelativeError(scale, dtype=d), t, y, average(error))


@pytest.mark.parametrize("name", ["Hinge", "SquaredHinge", "CategoricalHinge", "KLDivergence", "BinaryCrossentropy",
                                  "CategoricalCrossentropy"])  # fmt: skip
def test_losses_as_metrics(name):
    loss = getattr(losses, name)(reduction=None, dtype="float64")
    check(lambda d: getattr(metrics, name)(dtype=d), ONE_HOT, SCORES, average(loss(ONE_HOT, SCORES)), rtol=2e-5)


def test_sparse_crossentropy_that_ignores_a_class():
    each = losses.sparse_categorical_crossentropy(IDS, SCORES)
    check(lambda d: metrics.SparseCategoricalCrossentropy(dtype=d, ignore_class=1), IDS, SCORES,
          lambda w: (each * w)[IDS != 1].sum() / w[IDS != 1].sum(), rtol=2e-5)  # fmt: skip


def counts(t, y, w, threshold):
    above = y > threshold
    return [(w * c).sum() for c in (t * above, (1 - t) * above, (1 - t) * ~above, t * ~above)]


@pytest.mark.parametrize("thresholds", [None, 0.3, [0.7, 0.2], [0.0, 0.5, 1.0]])
@pytest.mark.parametrize("j", range(4))
def test_counts(j, thresholds):
    name = ("TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives")[j]
    given = 0.5 if thresholds is None else thresholds

    def want(w):
        found = [counts(BITS, P, w, t)[j] for t in np.atleast_1d(given)]
        return found[0] if np.ndim(given) == 0 else found

    check(lambda d: getattr(metrics, name)(thresholds, dtype=d), BITS, P, want)


def share(a, b):
    return a / (a + b) if a + b else 0.0


def test_precision_and_recall():
    def precision(w):
        tp, fp, _, _ = counts(BITS, P, w, 0.5)
        return share(tp, fp)

    def recall(w):
        tp, _, _, fn = counts(BITS, P, w, 0.5)
        return share(tp, fn)

    check(lambda d: metrics.Precision(dtype=d), BITS, P[:, None], precision)
    check(lambda d: metrics.Recall(dtype=d), BITS, P, recall)
    column = lambda w: share(*counts(ONE_HOT[:, 2], SCORES[:, 2], w, 0.4)[:2])  # noqa: E731
    check(lambda d: metrics.Precision(0.4, class_id=2, dtype=d), ONE_HOT, SCORES, column)
    best = np.zeros_like(SCORES)
    np.put_along_axis(best, np.argsort(-SCORES, kind="stable")[:, :2], 1.0, 1)
    top = lambda w: share(*counts(ONE_HOT, best, w[:, None], 0.5)[:2])  # noqa: E731
    check(lambda d: metrics.Precision(top_k=2, dtype=d), ONE_HOT, SCORES, top)
    assert metrics.Precision()(np.zeros(3), np.zeros(3)) == 0.0


def curve(t, y, w, thresholds):
    found = np.array([counts(t, y, w, a) for a in thresholds]).T
    return found


THRESHOLDS = np.array([-1e-7, *(np.arange(1, 49) / 49), 1 + 1e-7])


def roc(w, t=BITS, y=P):
    tp, fp, tn, fn = curve(t, y, w, THRESHOLDS)
    x, h = fp / (fp + tn), tp / (tp + fn)
    return ((x[:-1] - x[1:]) * (h[:-1] + h[1:]) / 2).sum()


def test_auc():
    check(lambda d: metrics.AUC(50, dtype=d), BITS, P, roc)
    check(lambda d: metrics.AUC(50, dtype=d, thresholds=list(THRESHOLDS[1:-1])), BITS, P, roc)
    logits = np.log(P.clip(0.01, 0.99) / (1 - P.clip(0.01, 0.99))) + 0.003
    check(lambda d: metrics.AUC(50, dtype=d, from_logits=True), BITS, logits,
          lambda w: roc(w, y=1 / (1 + np.exp(-logits))))  # fmt: skip
    check(lambda d: metrics.AUC(50, dtype=d, multi_label=True), ONE_HOT, SCORES,
          lambda w: np.mean([roc(w, ONE_HOT[:, k], SCORES[:, k]) for k in range(C)]))  # fmt: skip
    label_weights = np.array([1.0, 0.0, 2.0, 0.5])
    check(lambda d: metrics.AUC(50, dtype=d, multi_label=True, num_labels=C, label_weights=label_weights), ONE_HOT,
          SCORES, lambda w: np.average([roc(w, ONE_HOT[:, k], SCORES[:, k]) for k in range(C)],
                                       weights=label_weights))  # fmt: skip


@pytest.mark.parametrize("method", ["minoring", "majoring"])
def test_auc_by_precision(method):
    def want(w):
        tp, fp, _, fn = curve(BITS, P, w, THRESHOLDS)
        y = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=tp + fp > 0)
        x = tp / (tp + fn)
        h = (np.minimum if method == "minoring" else np.maximum)(y[:-1], y[1:])
        return ((x[:-1] - x[1:]) * h).sum()

    check(lambda d: metrics.AUC(50, "PR", method, dtype=d), BITS, P, want)


def test_rates_at_a_constraint():
    thresholds = np.arange(20) / 19

    def best(wanted, given, value):
        def want(w):
            tp, fp, tn, fn = curve(BITS, P, w, thresholds)
            with np.errstate(invalid="ignore"):
                rates = {
                    "recall": tp / (tp + fn),
                    "precision": np.nan_to_num(tp / (tp + fp)),
                    "specificity": tn / (tn + fp),
                }
            return np.where(rates[given] >= value, rates[wanted], 0).max()

        return want

    for cls, wanted, given in [
        (metrics.SensitivityAtSpecificity, "recall", "specificity"),
        (metrics.SpecificityAtSensitivity, "specificity", "recall"),
        (metrics.PrecisionAtRecall, "precision", "recall"),
        (metrics.RecallAtPrecision, "recall", "precision"),
    ]:
        check(lambda d, cls=cls: cls(0.61, 20, dtype=d), BITS, P, best(wanted, given, 0.61))


@pytest.mark.parametrize("average_", [None, "micro", "macro", "weighted"])
@pytest.mark.parametrize("threshold", [None, 0.6])
def test_f_scores(average_, threshold):
    chosen = SCORES > threshold if threshold else SCORES >= SCORES.max(-1, keepdims=True)

    def want(w):
        w = w[:, None]
        axis = None if average_ == "micro" else 0
        tp, fp, fn = ((w * c).sum(axis) for c in (chosen * ONE_HOT, chosen * (1 - ONE_HOT), ~chosen * ONE_HOT))
        p, r = tp / (tp + fp + 1e-7), tp / (tp + fn + 1e-7)
        f = 5 * p * r / (4 * p + r + 1e-7)
        if average_ == "weighted":
            return np.average(f, weights=(w * ONE_HOT).sum(0))
        return f if average_ is None else f.mean()

    check(lambda d: metrics.FBetaScore(average_, 2.0, threshold, dtype=d), ONE_HOT, SCORES, want)
    assert "beta" not in metrics.F1Score().get_config()


@pytest.mark.parametrize("aggregation", [None, "uniform_average", "variance_weighted_average"])
def test_r2(aggregation):
    t, y = REAL

    def want(w):
        w = w[:, None]
        center = (w * t).sum(0) / w.sum()
        variance = (w * (t - center) ** 2).sum(0)
        score = 1 - (w * (t - y) ** 2).sum(0) / variance
        if aggregation is None:
            return score
        return score.mean() if aggregation == "uniform_average" else np.average(score, weights=variance)

    check(lambda d: metrics.R2Score(aggregation, dtype=d), t, y, want, rtol=2e-5)


def test_r2_of_targets_without_variance():
    score = metrics.R2Score()
    assert score(np.array([[0.3]], "float32"), np.array([[0.8]], "float32")) == 0
    y = np.full((1000, 2), 0.3, "float32")
    y[:, 1] = 1e4 + RNG.normal(size=1000)  # and of some far from 0
    predicted = y + RNG.normal(0, 0.5, size=y.shape).astype("float32")
    wide, error = y[:, 1].astype(float), (predicted - y)[:, 1].astype(float)
    want = [0, 1 - (error**2).sum() / ((wide - wide.mean()) ** 2).sum()]
    eager = metrics.R2Score(None)
    for start in range(0, 1000, 64):
        eager.update_state(y[start : start + 64], predicted[start : start + 64])
    np.testing.assert_allclose(eager.result(), want, rtol=1e-9)
    model = Sequential([Input((2,)), Dense(2, kernel_initializer="identity")])
    model.compile(loss="mse", metrics=[metrics.R2Score(None)])
    got = model.evaluate(predicted, y, batch_size=64, verbose=0, return_dict=True)["r2_score"]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_intersection_over_union():
    predicted = SCORES.argmax(-1)

    def iou(w, classes, t=IDS, p=predicted, ignore=None):
        w = w * (t != ignore) if ignore is not None else w
        found = []
        for k in classes:
            inter, union = (w * ((t == k) & (p == k))).sum(), (w * ((t == k) | (p == k))).sum()
            if union:
                found.append(inter / union)
        return np.mean(found)

    check(lambda d: metrics.MeanIoU(C, dtype=d), IDS, predicted.astype(float), lambda w: iou(w, range(C)))
    check(lambda d: metrics.IoU(C, [0, 2], dtype=d, sparse_y_pred=False), IDS, SCORES, lambda w: iou(w, [0, 2]))
    check(lambda d: metrics.OneHotMeanIoU(C, dtype=d), ONE_HOT, SCORES, lambda w: iou(w, range(C)))
    check(lambda d: metrics.MeanIoU(C, dtype=d, ignore_class=3), IDS, predicted.astype(float),
          lambda w: iou(w, range(C), ignore=3))  # fmt: skip
    check(lambda d: metrics.BinaryIoU(dtype=d), BITS, P, lambda w: iou(w, (0, 1), BITS, P >= 0.5))


def test_correlations():
    t, y = REAL
    tc, yc = t - t.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    pearson = (tc * yc).mean(-1) / t.std(-1) / y.std(-1)
    check(lambda d: metrics.PearsonCorrelation(dtype=d), t, y, average(pearson), rtol=2e-5)


def test_mean_and_sum():
    mean = metrics.Mean()
    mean.update_state([1, 3, 5, 7])
    assert mean.result() == 4.0
    assert isinstance(mean.result(), float)
    mean.reset_state()
    assert mean.result() == 0.0
    assert mean([1, 3, 5, 7], sample_weight=[1, 1, 0, 0]) == 2.0
    assert (mean.total, mean.count) == (4.0, 2.0)
    assert metrics.Mean()(2.5) == 2.5
    assert metrics.Sum()([1, 3, 5, 7], sample_weight=[1, 1, 0, 2]) == 18.0
    total = metrics.Sum()
    run(lambda x: total.update_state(x), [P], "float32", times=2)
    np.testing.assert_allclose(total.result(), 2 * P.sum(), rtol=1e-6)


def test_mean_is_kept_in_double_precision():
    mean = metrics.Mean()
    for _ in range(3):
        mean.update_state(np.full(2**24 + 8, 1.0, np.float32))
    assert mean.count == 3 * (2**24 + 8)
    assert mean.result() == 1.0


def test_a_short_batch_counts_its_own_samples():
    metric = metrics.MeanSquaredError()
    run(lambda t, y: metric.update_state(t, y), [*REAL], "float32", rows=N)
    run(lambda t, y: metric.update_state(t, y), [*REAL[:, :5]], "float32")
    assert metric.count == N + 5


def test_own_metrics():
    class Hits(metrics.Metric):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hits = self.add_variable((), "zeros", name="hits")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.hits.assign_add(ops.sum(ops.equal(y_true, ops.greater(y_pred, 0.5))))

        def result(self):
            return self.hits

    metric = Hits()
    metric.update_state(BITS.astype(np.float32), P.astype(np.float32))
    assert float(np.asarray(metric.result())) == (BITS == (P > 0.5)).sum()
    metric.reset_state()
    run(lambda t, y: metric.update_state(t, y), [BITS, P], "float32", times=2)
    assert metric.hits.value == 2 * (BITS == (P > 0.5)).sum()

    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse", metrics=[Hits(name="hits")])
    model.fit(REAL[0], REAL[1][:, :1], verbose=0)
    hits = (BITS == (model.predict(REAL[0], verbose=0)[:, 0] > 0.5)).sum()
    assert model.evaluate(REAL[0], BITS[:, None], verbose=0, return_dict=True)["hits"] == hits

    def distance(y_true, y_pred):
        return ops.mean(ops.absolute(y_true - y_pred), axis=-1)

    wrapped = metrics.resolve(distance, (None, 3), "float32", (None, 3))
    assert wrapped.name == "distance"
    check(lambda d: metrics.MeanMetricWrapper(distance, dtype=d), *REAL, average(abs(REAL[0] - REAL[1])))


def test_metric_without_super_init():
    class Forgot(metrics.Metric):
        def __init__(self):
            self.total = self.add_variable(())

    with pytest.raises(RuntimeError, match=r"super\(\).__init__"):
        Forgot()


def test_symbolic_values_outside_of_a_trace():
    with pytest.raises(ValueError, match="traced"):
        metrics.Mean().update_state(graph.input_tensor((None,), "float32"))


def test_resolve():
    for shapes, accuracy, crossentropy in [
        (((None, 1), (None, 1)), metrics.BinaryAccuracy, metrics.BinaryCrossentropy),
        (((None,), (None, 3)), metrics.SparseCategoricalAccuracy, metrics.SparseCategoricalCrossentropy),
        (((None, 1), (None, 3)), metrics.SparseCategoricalAccuracy, metrics.SparseCategoricalCrossentropy),
        (((None, 3), (None, 3)), metrics.CategoricalAccuracy, metrics.CategoricalCrossentropy),
    ]:
        t, y = shapes
        for name, cls in [("accuracy", accuracy), ("acc", accuracy), ("crossentropy", crossentropy)]:
            metric = metrics.resolve(name, t, "int32", y)
            assert type(metric) is cls
            assert metric.name == name
    logits = metrics.resolve("ce", (None,), "int32", (None, 3), losses.SparseCategoricalCrossentropy(from_logits=True))
    assert logits.from_logits
    assert metrics.resolve("mse", (None, 1), "float32", (None, 1)).name == "mse"
    assert isinstance(metrics.resolve(metrics.AUC, (None, 1), "float32", (None, 1)), metrics.AUC)
    with pytest.raises(ValueError, match=r"does not fit.*\(None, 4\)"):
        metrics.resolve("accuracy", (None, 4), "float32", (None, 3))
    with pytest.raises(ValueError, match="unknown name"):
        metrics.resolve("acuracy", (None, 1), "float32", (None, 1))


@pytest.mark.parametrize("metric", [
    metrics.Mean("m"), metrics.Precision([0.2, 0.6], class_id=1), metrics.AUC(30, "PR"),
    metrics.AUC(thresholds=[0.5, 0.2]), metrics.PrecisionAtRecall(0.7), metrics.MeanIoU(3), metrics.F1Score("micro"),
    metrics.TopKCategoricalAccuracy(3), metrics.BinaryCrossentropy(from_logits=True), metrics.R2Score(None),
    metrics.OneHotIoU(3, [1]), metrics.BinaryIoU((1,), 0.4), metrics.MeanMetricWrapper(losses.huber, "h", delta=0.5),
    metrics.MeanRelativeError([1.0, 2.0]), metrics.CosineSimilarity(axis=1), metrics.TrueNegatives(0.3),
], ids=lambda m: type(m).__name__)  # fmt: skip
def test_saved_and_loaded(metric):
    again = metrics.deserialize(metrics.serialize(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()


def test_wrong_arguments():
    for make in (
        lambda: metrics.Precision(1.5), lambda: metrics.AUC(curve="ROCK"), lambda: metrics.AUC(num_labels=3),
        lambda: metrics.PrecisionAtRecall(2.0), lambda: metrics.F1Score("all"), lambda: metrics.IoU(2, [2]),
        lambda: metrics.R2Score("mean"), lambda: metrics.BinaryAccuracy(threshold=3),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"must be|is for"):
            make()
    for make, message in [
        (lambda: metrics.Precision(top_k=0), "Precision: top_k must be an integer of at least 1, got 0"),
        (lambda: metrics.Recall(top_k="a"), "Recall: top_k must be an integer of at least 1, got 'a'"),
        (lambda: metrics.Recall(top_k=1.5), "Recall: top_k must be an integer of at least 1, got 1.5"),
        (lambda: metrics.Precision(class_id="a"), "Precision: class_id must be an integer of at least 0, got 'a'"),
        (lambda: metrics.Precision(class_id=-1), "Precision: class_id must be an integer of at least 0, got -1"),
        (lambda: metrics.Precision("a"), "Precision: thresholds must be a number, got 'a'"),
        (lambda: metrics.TopKCategoricalAccuracy(0), "^TopKCategoricalAccuracy: k must be an integer of at least 1"),
        (lambda: metrics.TopKCategoricalAccuracy(1.9), "k must be an integer of at least 1, got 1.9"),
        (lambda: metrics.SparseTopKCategoricalAccuracy("a"), "SparseTopKCategoricalAccuracy: k must be an integer"),
        (lambda: metrics.R2Score(num_regressors=1.5), "R2Score: num_regressors must be an integer of at least 0"),
        (lambda: metrics.R2Score(num_regressors="a"), "R2Score: num_regressors must be an integer of at least 0"),
        (lambda: metrics.BinaryAccuracy(threshold=None), "BinaryAccuracy: threshold must be a number, got None"),
        (lambda: metrics.BinaryAccuracy(threshold="a"), "BinaryAccuracy: threshold must be a number, got 'a'"),
        (lambda: metrics.BinaryIoU(threshold="a"), "BinaryIoU: threshold must be a number, got 'a'"),
        (lambda: metrics.SensitivityAtSpecificity("a"), "SensitivityAtSpecificity: specificity must be a number"),
        (lambda: metrics.AUC("a"), "AUC: num_thresholds must be an integer of at least 2, got 'a'"),
        (lambda: metrics.AUC(2.5), "AUC: num_thresholds must be an integer of at least 2, got 2.5"),
        (lambda: metrics.MeanIoU("a"), "MeanIoU: num_classes must be an integer of at least 1, got 'a'"),
        (lambda: metrics.IoU(2.5, [0]), "IoU: num_classes must be an integer of at least 1, got 2.5"),
        (lambda: metrics.IoU(0, [0]), "IoU: num_classes must be an integer of at least 1, got 0"),
        (lambda: metrics.IoU(2, 0), "IoU: target_class_ids must be a list of class ids, got 0"),
        (lambda: metrics.CosineSimilarity(axis="a"), "CosineSimilarity: axis must be an integer, got 'a'"),
        (lambda: metrics.BinaryCrossentropy(label_smoothing="a"), "label_smoothing must be a number, got 'a'"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            make()
    with pytest.raises(ValueError, match=r"y_true of shape \(3, 2\)"):
        metrics.AUC().update_state(np.zeros((3, 2)), np.zeros((3, 4)))


def test_nan_predictions_are_counted_somewhere():
    for metric in (metrics.AUC(), metrics.Precision(), metrics.Precision([0.2, 0.7])):
        metric.update_state([1.0, 0.0], [np.nan, 0.7])
        assert metric.counts.value.sum() == 2
