"""How often predictions are right."""

from fastnn import ops
from fastnn.metrics.metric import as_real, same_shape
from fastnn.metrics.reduction import Mean, MeanMetricWrapper
from fastnn.ops import nn
from fastnn.ops.core import shape_of
from fastnn.utils import checks


def accuracy(y_true, y_pred):
    """1 where y_true == y_pred, else 0."""
    return ops.equal(*same_shape("accuracy", y_true, y_pred))


def binary_accuracy(y_true, y_pred, threshold=0.5):
    """1 where (y_pred > threshold) is y_true, else 0."""
    y_true, y_pred = same_shape("binary_accuracy", y_true, y_pred)
    return ops.equal(y_true, ops.greater(y_pred, threshold))


def categorical_accuracy(y_true, y_pred):
    """1 where y_true and y_pred have their largest value at one place, else 0."""
    return nn.accuracy("categorical_accuracy", *same_shape("categorical_accuracy", y_true, y_pred))


def sparse_categorical_accuracy(y_true, y_pred):
    """1 where y_pred has its largest value at the class id y_true, else 0."""
    return nn.accuracy("sparse_accuracy", y_true, as_real(y_pred))


def top_k_categorical_accuracy(y_true, y_pred, k=5):
    """1 where the largest value of y_true is among the k largest of y_pred, else 0."""
    return nn.accuracy("categorical_top_k", *same_shape("top_k_categorical_accuracy", y_true, y_pred), k=k)


def sparse_top_k_categorical_accuracy(y_true, y_pred, k=5, from_sorted_ids=False):
    """1 where the class id y_true is among the k largest of y_pred, else 0. With `from_sorted_ids`, y_pred holds class
    ids, the likeliest first."""
    y_pred = as_real(y_pred)
    if not from_sorted_ids:
        return nn.accuracy("top_k", y_true, y_pred, k=k)
    y_true = as_real(y_true, str(y_pred.dtype))
    if y_true.ndim < y_pred.ndim:
        y_true = ops.expand_dims(y_true, -1)
    first = ops.getitem(y_pred, (..., slice(0, k)))
    return ops.max(ops.equal(y_true, first), axis=-1)


class Accuracy(MeanMetricWrapper):
    """See `accuracy`."""

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """See `binary_accuracy`."""

    _options = ("threshold",)

    def __init__(self, name="binary_accuracy", dtype=None, threshold=0.5):
        threshold = checks.number("BinaryAccuracy", "threshold", threshold, least=0, most=1)
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = same_shape(self.name, y_true, as_real(y_pred))
        weights = () if sample_weight is None else tuple(shape_of(sample_weight))
        if y_pred.ndim < 2 or (len(weights) == y_pred.ndim and weights[-1] != 1):  # a weight for each column
            super().update_state(y_true, y_pred, sample_weight)
        else:
            rows = nn.accuracy("binary_accuracy", y_true, y_pred, self.threshold)
            Mean.update_state(self, rows, sample_weight)


class CategoricalAccuracy(MeanMetricWrapper):
    """See `categorical_accuracy`."""

    def __init__(self, name="categorical_accuracy", dtype=None):
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """See `sparse_categorical_accuracy`."""

    def __init__(self, name="sparse_categorical_accuracy", dtype=None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """See `top_k_categorical_accuracy`."""

    _options = ("k",)

    def __init__(self, k=5, name="top_k_categorical_accuracy", dtype=None):
        k = checks.integer("TopKCategoricalAccuracy", "k", k, 1)
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """See `sparse_top_k_categorical_accuracy`."""

    _options = ("k", "from_sorted_ids")

    def __init__(self, k=5, name="sparse_top_k_categorical_accuracy", dtype=None, from_sorted_ids=False):
        k = checks.integer("SparseTopKCategoricalAccuracy", "k", k, 1)
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids)
