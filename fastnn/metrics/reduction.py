"""Sums and means of values, and the metric that a function of (y_true, y_pred) makes."""

import numpy as np

from fastnn import graph, losses, ops
from fastnn.metrics.metric import Metric, accumulate, as_real, is_symbolic, match_ranks, ratio
from fastnn.ops import nn
from fastnn.ops.core import apply, size
from fastnn.saving import registry
from fastnn.utils import checks


def _fit_weights(values, sample_weight, reduce):
    """(values, weights) of one shape: values are reduced over the dimensions that the weights lack."""
    weights = as_real(sample_weight, str(values.dtype))
    values, weights = match_ranks(values, weights)
    if values.ndim > weights.ndim:
        values = reduce(values, axis=tuple(range(weights.ndim, values.ndim)))
    fits = weights.ndim == values.ndim and all(w in (1, v) for w, v in zip(weights.shape, values.shape, strict=True))
    if not fits:
        raise ValueError(f"sample_weight of shape {tuple(weights.shape)} does not fit values of {tuple(values.shape)}")
    return values, ops.broadcast_to(weights, values.shape)


class Sum(Metric):
    """The (weighted) sum of values."""

    def __init__(self, name="sum", dtype=None):
        super().__init__(dtype, name)
        self.total = self.add_variable((), name="total")

    def update_state(self, values, sample_weight=None):
        values = as_real(values)
        if sample_weight is not None:
            values = ops.multiply(*_fit_weights(values, sample_weight, ops.sum))
        accumulate(self.total, ops.sum(values))

    def result(self):
        return float(self.total.value)


class Mean(Metric):
    """The (weighted) mean of values; of each sample first, then over the samples.

    State: one variable of two float64, the total and the count; sums are in double precision.
    """

    def __init__(self, name="mean", dtype=None):
        super().__init__(dtype, name)
        self.total_and_count = self.add_variable((2,), dtype="float64", name="total_and_count")

    @property
    def total(self):
        return float(self.total_and_count.value[0])

    @property
    def count(self):
        return float(self.total_and_count.value[1])

    def update_state(self, values, sample_weight=None):
        values = as_real(values)
        if is_symbolic(values) and graph.current_trace() is None:
            raise ValueError(f"{self.name}: symbolic values can be taken in within a traced call only")
        if sample_weight is None:
            if values.ndim > 1:
                values = ops.mean(values, axis=tuple(range(1, values.ndim)))
            inputs = [values]
        else:
            values, weights = _fit_weights(values, sample_weight, ops.mean)
            if values.ndim > 1:
                weights = ops.affine(weights, 1.0 / max(size(values.shape[1:]), 1))
            inputs = [values, weights]
        dtypes = ["float64", *[str(values.dtype)] * len(inputs)]
        apply(nn.AccumulateMean(), self.total_and_count, *inputs, dtypes=dtypes)

    def result(self):
        return ratio(*self.total_and_count.value)


class MeanMetricWrapper(Mean):
    """The mean of a function f(y_true, y_pred, **options) over all samples."""

    _options = ()  # attributes that hold the options: those a subclass saves
    _axes = staticmethod(checks.integer)  # what checks an axis among them

    def __init__(self, fn, name=None, dtype=None, **kwargs):
        super().__init__(name, dtype)
        if self._options:  # of a class of fastnn's own: the options of other functions are theirs
            kwargs = losses.check_options(type(self).__name__, kwargs, self._axes)
        self._fn = fn
        self._fn_kwargs = kwargs
        for option in self._options:
            setattr(self, option, kwargs[option])

    def update_state(self, y_true, y_pred, sample_weight=None):
        values = self._fn(_floats(y_true, self.dtype), _floats(y_pred, self.dtype), **self._fn_kwargs)
        super().update_state(values, sample_weight)

    def get_config(self):
        base = super().get_config()
        if type(self).__init__ is not MeanMetricWrapper.__init__:
            return {**base, **{option: getattr(self, option) for option in self._options}}
        return {**base, "fn": registry.serialize_keras_object(self._fn), **self._fn_kwargs}

    @classmethod
    def from_config(cls, config):
        if isinstance(config.get("fn"), dict):
            config = {**config, "fn": registry.deserialize_keras_object(config["fn"])}
        return cls(**config)


def _floats(y, dtype):
    """Lists as arrays, floats in `dtype`; tensors and integers as they are."""
    if is_symbolic(y) or isinstance(y, (tuple, dict)):
        return y
    y = np.asarray(y)
    return y.astype(dtype, copy=False) if y.dtype.kind == "f" else y
