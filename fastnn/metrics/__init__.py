"""Metrics: numbers that judge predictions, summed up over batches. See `Metric` for how to write one."""

from fastnn.losses import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kind_of_targets,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from fastnn.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from fastnn.metrics.confusion import (
    AUC,
    FalseNegatives,
    FalsePositives,
    Precision,
    PrecisionAtRecall,
    Recall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
)
from fastnn.metrics.fscore import F1Score, FBetaScore
from fastnn.metrics.iou import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from fastnn.metrics.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    Hinge,
    KLDivergence,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from fastnn.metrics.metric import Metric
from fastnn.metrics.reduction import Mean, MeanMetricWrapper, Sum
from fastnn.metrics.regression import (
    ConcordanceCorrelation,
    CosineSimilarity,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanRelativeError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    PearsonCorrelation,
    R2Score,
    RootMeanSquaredError,
    concordance_correlation,
    pearson_correlation,
)
from fastnn.saving import registry

_CLASSES = (
    AUC, Accuracy, BinaryAccuracy, BinaryCrossentropy, BinaryIoU, CategoricalAccuracy, CategoricalCrossentropy,
    CategoricalHinge, ConcordanceCorrelation, CosineSimilarity, F1Score, FBetaScore, FalseNegatives, FalsePositives,
    Hinge, IoU, KLDivergence, LogCoshError, Mean, MeanAbsoluteError, MeanAbsolutePercentageError, MeanIoU,
    MeanMetricWrapper, MeanRelativeError, MeanSquaredError, MeanSquaredLogarithmicError, Metric, OneHotIoU,
    OneHotMeanIoU, PearsonCorrelation, Poisson, Precision, PrecisionAtRecall, R2Score, Recall, RecallAtPrecision,
    RootMeanSquaredError, SensitivityAtSpecificity, SparseCategoricalAccuracy, SparseCategoricalCrossentropy,
    SparseTopKCategoricalAccuracy, SpecificityAtSensitivity, SquaredHinge, Sum, TopKCategoricalAccuracy, TrueNegatives,
    TruePositives,
)  # fmt: skip
_FUNCTIONS = (
    binary_accuracy, binary_crossentropy, binary_focal_crossentropy, categorical_accuracy, categorical_crossentropy,
    categorical_focal_crossentropy, categorical_hinge, concordance_correlation, hinge, huber, kl_divergence, log_cosh,
    mean_absolute_error, mean_absolute_percentage_error, mean_squared_error, mean_squared_logarithmic_error,
    pearson_correlation, poisson, sparse_categorical_accuracy, sparse_categorical_crossentropy,
    sparse_top_k_categorical_accuracy, squared_hinge, top_k_categorical_accuracy,
)  # fmt: skip
_NAMES = {f.__name__: f for f in _FUNCTIONS} | registry.names_of(_CLASSES)  # a name both have is the class
_NAMES |= {
    "bce": BinaryCrossentropy, "BCE": BinaryCrossentropy, "mse": MeanSquaredError, "MSE": MeanSquaredError,
    "mae": MeanAbsoluteError, "MAE": MeanAbsoluteError, "mape": MeanAbsolutePercentageError,
    "MAPE": MeanAbsolutePercentageError, "msle": MeanSquaredLogarithmicError, "MSLE": MeanSquaredLogarithmicError,
    "rmse": RootMeanSquaredError, "RMSE": RootMeanSquaredError,
}  # fmt: skip

__all__ = ["deserialize", "get", "resolve", "serialize"]
__all__ += [obj.__name__ for obj in (*_CLASSES, *_FUNCTIONS)]


def get(identifier):
    """The metric that a name, a config, a class or a callable stands for; None for None."""
    return registry.get("metric", identifier, _NAMES)


def serialize(metric):
    """The config of a metric."""
    return registry.serialize_keras_object(metric)


def deserialize(config, custom_objects=None):
    """The metric that a name or a config describes."""
    return registry.deserialize_keras_object(config, custom_objects, module_objects=_NAMES)


#: Names that stand for one of several metrics, as the shapes of targets and predictions have it.
_BY_SHAPE = frozenset(("accuracy", "acc", "crossentropy", "ce"))


def is_by_shape(identifier):
    """Whether this names a metric that `resolve` chooses by the shapes."""
    return isinstance(identifier, str) and identifier.lower() in _BY_SHAPE


def resolve(identifier, y_true_shape, y_true_dtype, y_pred_shape, loss=None):
    """A `Metric` for `compile(metrics=[...])`: as `get`, with "accuracy" ("acc") and "crossentropy" ("ce") chosen by
    the shapes of targets and predictions. A metric given by name is shown by that name, a function by its own.

    Args:
        identifier: a name, a config, a Metric or its class, or a function f(y_true, y_pred).
        y_true_shape, y_pred_shape: shapes of targets and predictions, None for the batch.
        y_true_dtype: dtype of the targets, for the error message.
        loss: the model's loss: its `from_logits` is taken over by "crossentropy".
    """
    if identifier is None:
        raise ValueError("compile: a metric must be a name, a Metric or a function, got None")
    if isinstance(identifier, Metric):
        return identifier
    if is_by_shape(identifier):
        short = identifier.lower()
        kind = kind_of_targets(y_true_shape, y_pred_shape)
        if kind == "categorical" and tuple(y_true_shape[1:]) != tuple(y_pred_shape[1:]):
            raise ValueError(
                f"compile: metric {identifier!r} does not fit targets of shape {tuple(y_true_shape)} ({y_true_dtype}) "
                f"and predictions of shape {tuple(y_pred_shape)}"
            )
        if short in ("accuracy", "acc"):
            cls = {"binary": BinaryAccuracy, "sparse": SparseCategoricalAccuracy, "categorical": CategoricalAccuracy}
            return cls[kind](name=identifier)
        cls = {"binary": BinaryCrossentropy, "sparse": SparseCategoricalCrossentropy,
               "categorical": CategoricalCrossentropy}  # fmt: skip
        return cls[kind](name=identifier, from_logits=bool(getattr(loss, "from_logits", False)))
    found = get(identifier)
    if isinstance(found, Metric):
        if isinstance(identifier, str):
            found.name = identifier
        return found
    name = identifier if isinstance(identifier, str) else getattr(found, "__name__", type(found).__name__)
    return MeanMetricWrapper(found, name)
