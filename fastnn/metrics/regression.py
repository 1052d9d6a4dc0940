"""Errors and correlations of predicted numbers."""

import warnings

import numpy as np

from fastnn import config, losses, ops
from fastnn.metrics.metric import Metric, accumulate, fit, is_symbolic, plain, same_shape, weights_for
from fastnn.metrics.reduction import Mean, MeanMetricWrapper
from fastnn.utils import checks


class MeanSquaredError(MeanMetricWrapper):
    """See `fastnn.losses.mean_squared_error`."""

    def __init__(self, name="mean_squared_error", dtype=None):
        super().__init__(losses.mean_squared_error, name, dtype)


class MeanAbsoluteError(MeanMetricWrapper):
    """See `fastnn.losses.mean_absolute_error`."""

    def __init__(self, name="mean_absolute_error", dtype=None):
        super().__init__(losses.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(MeanMetricWrapper):
    """See `fastnn.losses.mean_absolute_percentage_error`."""

    def __init__(self, name="mean_absolute_percentage_error", dtype=None):
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """See `fastnn.losses.mean_squared_logarithmic_error`."""

    def __init__(self, name="mean_squared_logarithmic_error", dtype=None):
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(MeanMetricWrapper):
    """See `fastnn.losses.log_cosh`."""

    def __init__(self, name="logcosh", dtype=None):
        super().__init__(losses.log_cosh, name, dtype)


def cosine_similarity(y_true, y_pred, axis=-1):
    """sum(y_true y_pred) / (|y_true| |y_pred|): 1 when they point the same way (the loss has the opposite sign)."""
    return ops.negative(losses.cosine_similarity(y_true, y_pred, axis))


class CosineSimilarity(MeanMetricWrapper):
    """See `cosine_similarity`."""

    _options = ("axis",)

    def __init__(self, name="cosine_similarity", dtype=None, axis=-1):
        super().__init__(cosine_similarity, name, dtype, axis=axis)


class RootMeanSquaredError(Mean):
    """sqrt(mean((y_true - y_pred)^2)), the root taken once, over all samples."""

    def __init__(self, name="root_mean_squared_error", dtype=None):
        super().__init__(name, dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = same_shape(self.name, y_true, y_pred)
        super().update_state(ops.square(ops.subtract(y_pred, y_true)), sample_weight)

    def result(self):
        return super().result() ** 0.5


class MeanRelativeError(Mean):
    """mean(|y_true - y_pred| / normalizer), 0 where the normalizer is 0. Keras had it up to version 2."""

    def __init__(self, normalizer, name=None, dtype=None):
        super().__init__(name or "mean_relative_error", dtype)
        self.normalizer = np.asarray(normalizer, self.dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = same_shape(self.name, y_true, y_pred)
        inverse = np.divide(1.0, self.normalizer, out=np.zeros_like(self.normalizer), where=self.normalizer != 0)
        error = ops.absolute(ops.subtract(y_true, y_pred))
        super().update_state(ops.multiply(error, inverse), sample_weight)

    def get_config(self):
        return {**super().get_config(), "normalizer": self.normalizer.tolist()}


class R2Score(Metric):
    """1 - sum((y_true - y_pred)^2) / sum((y_true - mean(y_true))^2) of each output, the coefficient of determination.

    Args:
        class_aggregation: "uniform_average" over the outputs, "variance_weighted_average", or None: one score each.
        num_regressors: number of independent regressors for the adjusted score; 0: not adjusted.

    The score of targets without variance is 0, as in Keras. Sums are of y_true - shift, shift the first batch's mean,
    so that rounding takes little from the variance; they are float64, but in a compiled step of the model's float type.
    """

    def __init__(self, class_aggregation="uniform_average", num_regressors=0, name="r2_score", dtype=None):
        super().__init__(dtype, name)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ValueError(
                "R2Score: class_aggregation must be 'uniform_average', 'variance_weighted_average' or None, got "
                f"{class_aggregation!r}"
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = checks.integer("R2Score", "num_regressors", num_regressors, 0)
        self.num_samples = self.add_variable((), dtype="float64", name="num_samples")
        self.sum = None  # with the other variables, made when the number of outputs is known

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = same_shape(self.name, y_true, y_pred)
        if y_pred.ndim != 2:
            raise ValueError(f"{self.name}: needs y_pred of shape (batch, outputs), got {tuple(y_pred.shape)}")
        if self.sum is None:
            outputs = (y_pred.shape[1],)
            self.shift, self.sum, self.squared_sum, self.residual, self.count = (
                self.add_variable(outputs, dtype="float64", name=name)
                for name in ("shift", "sum", "squared_sum", "residual", "count")
            )
        if not is_symbolic(y_pred):
            y_true, y_pred = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
        for variable in (self.shift, self.num_samples):
            fit(variable, y_pred)
        first = ops.where(ops.equal(self.num_samples, 0.0), ops.mean(y_true, axis=0), self.shift)
        self.shift.assign(first)
        deviation = ops.subtract(y_true, first)
        ones = ops.ones_like(y_true)
        weights = ones if sample_weight is None else ops.multiply(ones, weights_for(sample_weight, y_true, self.name))
        weighted = ops.multiply(deviation, weights)
        accumulate(self.sum, ops.sum(weighted, axis=0))
        accumulate(self.squared_sum, ops.sum(ops.multiply(deviation, weighted), axis=0))
        error = ops.multiply(ops.square(ops.subtract(y_true, y_pred)), weights)
        accumulate(self.residual, ops.sum(error, axis=0))
        accumulate(self.count, ops.sum(weights, axis=0))
        accumulate(self.num_samples, ops.sum(ones))

    def result(self):
        if self.sum is None:
            return float("nan")
        names = ("shift", "sum", "squared_sum", "residual", "count")
        shift, total, squares, residual, count = (getattr(self, n).value.astype(np.float64) for n in names)
        epsilon = np.finfo(self.sum.dtype).eps
        rounding = 4 * epsilon * squares + count * (epsilon / 2 * shift) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = squares - total * (total / count)
            variance = np.where(variance <= rounding, 0.0, variance)
            score = 1.0 - residual / variance
            score = np.where(np.isinf(score), 0.0, score)
            if self.class_aggregation == "uniform_average":
                score = score.mean()
            elif self.class_aggregation == "variance_weighted_average":
                score = (variance * score).sum() / variance.sum()
        n, p = float(self.num_samples.value), self.num_regressors
        if p > 0:
            if p >= n - 1:
                warnings.warn(
                    f"R2Score: {p} regressors need more than {p + 1} values for an adjusted score, got {n:.0f}; "
                    "the plain score is given",
                    stacklevel=2,
                )
            else:
                score = 1.0 - (1.0 - score) * (n - 1.0) / (n - p - 1.0)
        return plain(score)

    def get_config(self):
        mine = {"class_aggregation": self.class_aggregation, "num_regressors": self.num_regressors}
        return {**super().get_config(), **mine}


def pearson_correlation(y_true, y_pred, axis=-1):
    """mean((y_true - its mean) (y_pred - its mean)) / (both standard deviations), along `axis`."""
    y_true, y_pred = same_shape("pearson_correlation", y_true, y_pred)
    standard = []
    for y in (y_true, y_pred):
        y = ops.subtract(y, ops.mean(y, axis=axis, keepdims=True))
        standard.append(ops.divide(y, ops.std(y, axis=axis, keepdims=True)))
    return ops.mean(ops.multiply(*standard), axis=axis)


def concordance_correlation(y_true, y_pred, axis=-1):
    """2 mean((y_true - m) (y_pred - m)) / (both variances + (difference of the means)^2 + epsilon) along `axis`, m the
    mean of y_pred. Lin 1989."""
    y_true, y_pred = same_shape("concordance_correlation", y_true, y_pred)
    m_true, m_pred = (ops.mean(y, axis=axis, keepdims=True) for y in (y_true, y_pred))
    v_true, v_pred = (ops.var(y, axis=axis, keepdims=True) for y in (y_true, y_pred))
    product = ops.multiply(ops.subtract(y_true, m_pred), ops.subtract(y_pred, m_pred))
    norm = ops.affine(ops.add(ops.add(v_true, v_pred), ops.square(ops.subtract(m_true, m_pred))), 1.0, config.epsilon())
    return ops.mean(ops.affine(ops.divide(product, norm), 2.0), axis=axis)


class PearsonCorrelation(MeanMetricWrapper):
    """See `pearson_correlation`."""

    _options = ("axis",)
    _axes = staticmethod(checks.axes)

    def __init__(self, name="pearson_correlation", dtype=None, axis=-1):
        super().__init__(pearson_correlation, name, dtype, axis=axis)


class ConcordanceCorrelation(MeanMetricWrapper):
    """See `concordance_correlation`."""

    _options = ("axis",)
    _axes = staticmethod(checks.axes)

    def __init__(self, name="concordance_correlation", dtype=None, axis=-1):
        super().__init__(concordance_correlation, name, dtype, axis=axis)
