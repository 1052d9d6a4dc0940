"""F scores: precision and recall in one number."""

import numpy as np

from fastnn import config, ops
from fastnn.metrics.metric import Metric, accumulate, plain, same_shape, weights_for


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall) of each class; targets and predictions are
    (batch, classes).

    Args:
        average: None (one score a class), "micro" (all classes counted together), "macro" (their mean) or "weighted"
            (their mean by number of samples).
        beta: weight of recall against precision.
        threshold: predictions above it are positive; None: the largest of each sample is.
    """

    def __init__(self, average=None, beta=1.0, threshold=None, name="fbeta_score", dtype=None):
        super().__init__(dtype, name)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(f"{self.name}: average must be None, 'micro', 'macro' or 'weighted', got {average!r}")
        if not isinstance(beta, float) or beta <= 0:
            raise ValueError(f"{self.name}: beta must be a float above 0, got {beta!r}")
        if threshold is not None and not (isinstance(threshold, float) and 0 < threshold <= 1):
            raise ValueError(f"{self.name}: threshold must be a float in (0, 1] or None, got {threshold!r}")
        self.average, self.beta, self.threshold = average, beta, threshold
        self.true_positives = None  # with the other variables, made when the number of classes is known

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = same_shape(self.name, y_true, y_pred)
        if y_pred.ndim != 2:
            raise ValueError(f"{self.name}: needs y_pred of shape (batch, classes), got {tuple(y_pred.shape)}")
        if self.true_positives is None:
            shape = () if self.average == "micro" else (y_pred.shape[1],)
            self.true_positives, self.false_positives, self.false_negatives, self.intermediate_weights = (
                self.add_variable(shape, name=name)
                for name in ("true_positives", "false_positives", "false_negatives", "intermediate_weights")
            )
        if self.threshold is None:
            largest = ops.greater_equal(y_pred, ops.max(y_pred, axis=-1, keepdims=True))
            chosen = ops.logical_and(largest, ops.greater(ops.absolute(y_pred), 1e-9))
        else:
            chosen = ops.greater(y_pred, self.threshold)
        both = ops.multiply(chosen, y_true)
        weight = None if sample_weight is None else weights_for(sample_weight, y_true, self.name)
        axis = None if self.average == "micro" else 0
        for variable, values in (
            (self.true_positives, both),
            (self.false_positives, ops.subtract(chosen, both)),
            (self.false_negatives, ops.subtract(y_true, both)),
            (self.intermediate_weights, y_true),
        ):
            accumulate(variable, ops.sum(values if weight is None else ops.multiply(values, weight), axis=axis))

    def result(self):
        if self.true_positives is None:
            return 0.0
        names = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")
        tp, fp, fn, weights = (getattr(self, name).value.astype(np.float64) for name in names)
        epsilon = config.epsilon()
        precision, recall = tp / (tp + fp + epsilon), tp / (tp + fn + epsilon)
        b = self.beta**2
        score = (1 + b) * precision * recall / (b * precision + recall + epsilon)
        if self.average == "weighted":
            score = (score * weights).sum() / (weights.sum() + epsilon)
        elif self.average is not None:
            score = score.mean()
        return plain(score)

    def get_config(self):
        mine = {"average": self.average, "beta": self.beta, "threshold": self.threshold}
        return {**super().get_config(), **mine}


class F1Score(FBetaScore):
    """2 precision recall / (precision + recall); see `FBetaScore`."""

    def __init__(self, average=None, threshold=None, name="f1_score", dtype=None):
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self):
        config = super().get_config()
        del config["beta"]
        return config
