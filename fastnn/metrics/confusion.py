"""Metrics of true and false positives and negatives at thresholds: precision, recall, AUC and their kin.

All keep one table: how many negatives and positives fell into each interval between neighbouring thresholds. Adding a
batch costs a look-up a value, whatever the number of thresholds; the four counts at each threshold are sums over it.
"""

import numpy as np

from fastnn import config, ops
from fastnn.metrics.metric import Metric, accumulate, ratio, same_shape, weights_for
from fastnn.ops.core import apply
from fastnn.ops.movement import GatherGrad
from fastnn.utils import checks

_BELOW_ALL = -1e10  # what is not among the k largest counts as; above it is any score


def _as_list(x):
    return list(x) if isinstance(x, (list, tuple, np.ndarray)) else [x]


def _even(thresholds):
    """Whether thresholds are 0, 1/n, 2/n, ..., 1."""
    n = len(thresholds)
    return n >= 3 and np.allclose(thresholds, np.arange(n) / (n - 1), atol=config.epsilon())


def _top_k(y, k):
    """1 for the k largest along the last dimension (of equal ones, the first), else 0. Takes n^2 values for n."""
    n = y.shape[-1]
    here, other = ops.expand_dims(y, -1), ops.expand_dims(y, -2)  # [..., j, i]: here y_j, other y_i
    earlier = np.tril(np.ones((n, n), dtype=str(y.dtype)), -1)
    ahead = ops.add(ops.greater(other, here), ops.multiply(ops.equal(other, here), earlier))
    return ops.less(ops.sum(ahead, axis=-1), float(k))


class _Confusion(Metric):
    """Counts at thresholds. `thresholds` may be in any order and may hold one number."""

    def __init__(self, thresholds, name=None, dtype=None, *, top_k=None, class_id=None, even=None, labels=None,
                 label_weights=None):  # fmt: skip
        super().__init__(dtype, name)
        self.thresholds = [float(t) for t in thresholds]
        where = type(self).__name__
        self.top_k = None if top_k is None else checks.integer(where, "top_k", top_k, 1)
        self.class_id = None if class_id is None else checks.integer(where, "class_id", class_id, 0)
        self._even = _even(self.thresholds) if even is None else even
        self._label_weights = None if label_weights is None else np.asarray(label_weights, self.dtype)
        self._order = np.argsort(self.thresholds, kind="stable")
        self._sorted = np.asarray(self.thresholds)[self._order]
        self.counts = None
        self._make_counts(labels)

    def _make_counts(self, labels):
        """(intervals, 2) negatives and positives, for each of `labels` if given."""
        shape = (len(self.thresholds) + 1, 2)
        self.counts = self.add_variable(shape if labels is None else (labels, *shape), name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = same_shape(self.name, y_true, y_pred)
        weight = None if sample_weight is None else weights_for(sample_weight, y_true, self.name)
        if self.top_k is not None:
            y_pred = ops.where(_top_k(y_pred, self.top_k), y_pred, _BELOW_ALL)
        if self.class_id is not None:
            if y_pred.ndim < 2 or not 0 <= self.class_id < y_pred.shape[-1]:
                raise ValueError(f"{self.name}: class_id={self.class_id} needs y_pred of shape (batch, classes) with "
                                 f"more classes, got {tuple(y_pred.shape)}")  # fmt: skip
            one = (..., slice(self.class_id, self.class_id + 1))
            y_true, y_pred = ops.getitem(y_true, one), ops.getitem(y_pred, one)
            if weight is not None and weight.shape[-1] != 1:
                weight = ops.getitem(weight, one)
        positive = ops.not_equal(y_true, 0.0)
        each = [ops.affine(positive, -1.0, 1.0), positive]
        for w in (weight, self._label_weights if self.counts.ndim == 2 else None):
            if w is not None:
                each = [ops.multiply(e, w) for e in each]
        interval = self._interval(y_pred)
        rows = len(self.thresholds) + 1
        if self.counts.ndim == 3:
            labels = self.counts.shape[0]
            interval = ops.add(interval, np.arange(labels, dtype=str(y_pred.dtype)) * rows)
            rows *= labels
        table = GatherGrad((rows, 2))
        new = apply(table, ops.stack(each, -1), ops.cast(interval, "int32"), dtypes=[str(y_pred.dtype), "int32"])
        accumulate(self.counts, ops.reshape(new, self.counts.shape))

    def _interval(self, y_pred):
        """How many thresholds each prediction exceeds."""
        if self._even:  # by arithmetic, with the rounding that Keras has
            below = 1.0 if self._sorted[0] < 0 else 0.0
            at = ops.ceil(ops.affine(ops.clip(y_pred, 0.0, 1.0), len(self._sorted) - 1.0))
            return ops.where(ops.greater_equal(at, 1.0), at, below)
        dtype = str(y_pred.dtype)
        if len(self._sorted) == 1:
            return ops.greater(y_pred, float(self._sorted[0]))
        return ops.sum(ops.greater(ops.expand_dims(y_pred, -1), self._sorted.astype(dtype)), axis=-1)

    def _above(self, column):
        """Weight above each threshold, in the order these were given: (thresholds,) or (thresholds, labels)."""
        counts = self.counts.value[..., column].astype(np.float64)
        above = np.flip(np.cumsum(np.flip(counts, -1), -1), -1)[..., 1:]
        given = np.empty_like(above)
        given[..., self._order] = above
        return np.moveaxis(given, -1, 0)

    def _total(self, column):
        return self.counts.value[..., column].astype(np.float64).sum(axis=-1)

    @property
    def true_positives(self):
        return self._above(1)

    @property
    def false_positives(self):
        return self._above(0)

    @property
    def true_negatives(self):
        return self._total(0) - self._above(0)

    @property
    def false_negatives(self):
        return self._total(1) - self._above(1)


def _checked(where, thresholds, default):
    thresholds = _as_list(default if thresholds is None else thresholds)
    if not thresholds:
        raise ValueError(f"{where}: thresholds must be numbers in [0, 1], got none")
    return [default if t == default else checks.number(where, "thresholds", t, least=0, most=1) for t in thresholds]


class _Count(_Confusion):
    """One of the four counts."""

    def __init__(self, thresholds=None, name=None, dtype=None):
        self.init_thresholds = thresholds
        super().__init__(_checked(type(self).__name__, thresholds, 0.5), name, dtype)

    def result(self):
        return _single(getattr(self, self._count))

    def get_config(self):
        return {**super().get_config(), "thresholds": self.init_thresholds}


def _single(x):
    return float(x[0]) if len(x) == 1 else np.asarray(x)


class TruePositives(_Count):
    """The weight of positives that were predicted as such: y_pred > threshold."""

    _count = "true_positives"


class TrueNegatives(_Count):
    """The weight of negatives that were predicted as such."""

    _count = "true_negatives"


class FalsePositives(_Count):
    """The weight of negatives that were predicted positive."""

    _count = "false_positives"


class FalseNegatives(_Count):
    """The weight of positives that were predicted negative."""

    _count = "false_negatives"


class _TopK(_Confusion):
    def __init__(self, thresholds=None, top_k=None, class_id=None, name=None, dtype=None):
        self.init_thresholds = thresholds
        default = 0.5 if top_k is None else _BELOW_ALL
        super().__init__(_checked(type(self).__name__, thresholds, default), name, dtype, top_k=top_k,
                         class_id=class_id)  # fmt: skip

    def get_config(self):
        mine = {"thresholds": self.init_thresholds, "top_k": self.top_k, "class_id": self.class_id}
        return {**super().get_config(), **mine}


class Precision(_TopK):
    """True positives / predicted positives; 0 when nothing was predicted positive.

    Args:
        thresholds: one number or several in [0, 1]: a prediction above it is positive. Default 0.5.
        top_k: only the k largest predictions of a sample can be positive (the threshold then defaults to none).
        class_id: only this class is looked at.
    """

    def result(self):
        return _single(np.atleast_1d(ratio(self.true_positives, self.true_positives + self.false_positives)))


class Recall(_TopK):
    """True positives / actual positives; see `Precision`."""

    def result(self):
        return _single(np.atleast_1d(ratio(self.true_positives, self.true_positives + self.false_negatives)))


class _AtConstraint(_Confusion):
    """The best of one rate where another is at least `value`."""

    def __init__(self, value, num_thresholds=200, class_id=None, name=None, dtype=None):
        where = type(self).__name__
        self.value = value = checks.number(where, self._constraint, value, least=0, most=1)
        self.num_thresholds = n = checks.integer(where, "num_thresholds", num_thresholds, 1)
        thresholds = [0.5] if n == 1 else [j / (n - 1) for j in range(n)]
        super().__init__(thresholds, name, dtype, class_id=class_id, even=n > 1)
        setattr(self, self._constraint, value)

    def _rate(self, name):
        hits, misses = {
            "recall": ("true_positives", "false_negatives"),
            "sensitivity": ("true_positives", "false_negatives"),
            "specificity": ("true_negatives", "false_positives"),
            "precision": ("true_positives", "false_positives"),
        }[name]
        hits, misses = getattr(self, hits), getattr(self, misses)
        return np.atleast_1d(ratio(hits, hits + misses))

    def result(self):
        return float(np.where(self._rate(self._constraint) >= self.value, self._rate(self._wanted), 0.0).max())

    def get_config(self):
        mine = {"num_thresholds": self.num_thresholds, self._constraint: self.value, "class_id": self.class_id}
        return {**super().get_config(), **mine}


class SensitivityAtSpecificity(_AtConstraint):
    """The best sensitivity (recall) where specificity is at least `specificity`."""

    _constraint, _wanted = "specificity", "sensitivity"

    def __init__(self, specificity, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(specificity, num_thresholds, class_id, name, dtype)


class SpecificityAtSensitivity(_AtConstraint):
    """The best specificity where sensitivity (recall) is at least `sensitivity`."""

    _constraint, _wanted = "sensitivity", "specificity"

    def __init__(self, sensitivity, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)


class PrecisionAtRecall(_AtConstraint):
    """The best precision where recall is at least `recall`."""

    _constraint, _wanted = "recall", "precision"

    def __init__(self, recall, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(recall, num_thresholds, class_id, name, dtype)


class RecallAtPrecision(_AtConstraint):
    """The best recall where precision is at least `precision`."""

    _constraint, _wanted = "precision", "recall"

    def __init__(self, precision, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(precision, num_thresholds, class_id, name, dtype)


class AUC(_Confusion):
    """Area under a curve, from counts at thresholds.

    Args:
        num_thresholds: how many, evenly spaced.
        curve: "ROC", "PR" or "PRGAIN".
        summation_method: "interpolation" (for PR after Davis and Goadrich 2006), "minoring" or "majoring".
        thresholds: inner thresholds in [0, 1] instead of evenly spaced ones.
        multi_label: an AUC for each of `num_labels` columns, averaged (by `label_weights`).
        label_weights: a weight for each column.
        from_logits: whether y_pred are logits: a sigmoid is applied.
    """

    def __init__(self, num_thresholds=200, curve="ROC", summation_method="interpolation", name=None, dtype=None,
                 thresholds=None, multi_label=False, num_labels=None, label_weights=None,
                 from_logits=False):  # fmt: skip
        self.curve = str(curve).upper()
        self.summation_method = str(summation_method).lower()
        if self.curve not in ("ROC", "PR", "PRGAIN"):
            raise ValueError(f"AUC: curve must be 'ROC', 'PR' or 'PRGAIN', got {curve!r}")
        if self.summation_method not in ("interpolation", "minoring", "majoring"):
            raise ValueError(
                f"AUC: summation_method must be 'interpolation', 'minoring' or 'majoring', got {summation_method!r}"
            )
        if num_labels is not None and not multi_label:
            raise ValueError("AUC: num_labels is for multi_label=True only")
        num_labels = None if num_labels is None else checks.integer("AUC", "num_labels", num_labels, 1)
        self._given = thresholds is not None
        if self._given:
            inner = sorted(float(t) for t in _checked("AUC", thresholds, 0.5))
            self.num_thresholds = len(inner) + 2
            even = _even([0.0, *inner, 1.0])
        else:
            self.num_thresholds = num_thresholds = checks.integer("AUC", "num_thresholds", num_thresholds, 2)
            inner = [j / (num_thresholds - 1) for j in range(1, num_thresholds - 1)]
            even = True
        self.multi_label, self.num_labels, self.from_logits = multi_label, num_labels, from_logits
        self.label_weights = None if label_weights is None else np.asarray(label_weights, np.float64)
        ends = (-config.epsilon(), 1.0 + config.epsilon())
        super().__init__([ends[0], *inner, ends[1]], name, dtype, even=even, labels=num_labels,
                         label_weights=None if multi_label else label_weights)  # fmt: skip

    def _make_counts(self, labels):
        if not self.multi_label or labels is not None:  # else made when the number of labels is known
            super()._make_counts(labels)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = same_shape(self.name, y_true, y_pred)
        if self.multi_label:
            if y_pred.ndim != 2:
                raise ValueError(f"{self.name}: multi_label=True needs y_pred of shape (batch, labels), got "
                                 f"{tuple(y_pred.shape)}")  # fmt: skip
            if self.counts is None:
                self._make_counts(y_pred.shape[1])
            if self.counts.shape[0] != y_pred.shape[1]:
                raise ValueError(f"{self.name}: has {self.counts.shape[0]} labels, got y_pred of {tuple(y_pred.shape)}")
        super().update_state(y_true, ops.sigmoid(y_pred) if self.from_logits else y_pred, sample_weight)

    def result(self):
        if self.counts is None:
            return 0.0
        by_label = self._areas().sum(axis=0)
        if not self.multi_label:
            return float(by_label)
        if self.label_weights is None:
            return float(by_label.mean())
        return ratio((by_label * self.label_weights).sum(), self.label_weights.sum())

    def _areas(self):
        """The area between neighbouring thresholds."""
        tp, fp = self.true_positives, self.false_positives
        tn, fn = self.true_negatives, self.false_negatives
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _precision_recall_areas(tp, fp, fn)
        recall = np.asarray(ratio(tp, tp + fn))
        if self.curve == "ROC":
            x, y = np.asarray(ratio(fp, fp + tn)), recall
        elif self.curve == "PR":
            x, y = recall, np.asarray(ratio(tp, tp + fp))
        else:  # Flach and Kull 2015
            scale = np.asarray(ratio(tp + fn, tn + fp))
            some = tp != 0
            x = np.maximum(np.where(some, 1.0 - scale * ratio(fn, tp), 0.0), 0.0)
            y = np.where(some, 1.0 - scale * ratio(fp, tp), 1.0)
        if self.summation_method == "interpolation":
            heights = (y[:-1] + y[1:]) / 2.0
        else:
            heights = (np.minimum if self.summation_method == "minoring" else np.maximum)(y[:-1], y[1:])
        return (x[:-1] - x[1:]) * heights

    def get_config(self):
        weights = None if self.label_weights is None else self.label_weights.tolist()
        mine = {
            "num_thresholds": self.num_thresholds, "curve": self.curve, "summation_method": self.summation_method,
            "multi_label": self.multi_label, "num_labels": self.num_labels, "label_weights": weights,
            "from_logits": self.from_logits,
        }  # fmt: skip
        if self._given:
            mine["thresholds"] = self.thresholds[1:-1]
        return {**super().get_config(), **mine}


def _precision_recall_areas(tp, fp, fn):
    """Between neighbouring thresholds false positives grow in proportion to true ones, so that with p = tp + fp and
    tp = a + s p the precision is s + a / p, whose integral over tp is s (dtp + a log(p_left / p_right))."""
    dtp = tp[:-1] - tp[1:]
    p = tp + fp
    slope = ratio(dtp, np.maximum(p[:-1] - p[1:], 0.0))
    intercept = tp[1:] - slope * p[1:]
    inside = (p[:-1] > 0) & (p[1:] > 0)
    growth = np.where(inside, ratio(p[:-1], np.maximum(p[1:], 0.0)), 1.0)
    return np.asarray(ratio(slope * (dtp + intercept * np.log(growth)), np.maximum(tp[1:] + fn[1:], 0.0)))
