"""Losses: how far predictions are from targets, one value a sample, and how those become the one number to minimize.

Functions take (y_true, y_pred) and give the loss of each sample: the last dimension is gone, by a mean or a sum as
the formula says. Classes are functions with their options and a `reduction`. Both work on NumPy arrays at once and
on symbolic tensors in a graph. Where a fused kernel exists it is used: it gives the loss and its gradient in one pass.
"""

from typing import NamedTuple

import numpy as np

from fastnn import config, ops
from fastnn.graph import Tensor, mask_of
from fastnn.ops import nn, structured_losses
from fastnn.ops.core import normalize_axis, shape_of
from fastnn.saving import registry
from fastnn.utils import checks
from fastnn.variables import Variable

__all__ = ["deserialize", "get", "kullback_leibler_divergence", "resolve", "serialize"]

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None)


# ---- arguments ----


def is_symbolic(x):
    return isinstance(x, (Tensor, Variable))


def as_real(x, dtype=None):
    """x as a tensor or array of floats: of `dtype` if given, else of its own float type or the default one."""
    if is_symbolic(x):
        return ops.cast(x, dtype or config.floatx()) if x.dtype == "int32" else x
    if dtype is None:
        known = str(getattr(x, "dtype", ""))
        dtype = known if known in ("float32", "float64") else config.floatx()
    return np.asarray(x, dtype=dtype)


def match_ranks(x1, x2, expand_vectors=True):
    """Keras' rule for ranks that differ by one: a last dimension of 1 is dropped, or given to a vector."""
    r1, r2 = len(shape_of(x1)), len(shape_of(x2))
    if r1 == r2 + 1 and shape_of(x1)[-1] == 1:
        if r2 == 1 and expand_vectors:
            return x1, ops.expand_dims(x2, -1)
        return ops.squeeze(x1, -1), x2
    if r2 == r1 + 1 and shape_of(x2)[-1] == 1:
        if r1 == 1 and expand_vectors:
            return ops.expand_dims(x1, -1), x2
        return x1, ops.squeeze(x2, -1)
    return x1, x2


def same_shape(where, y_true, y_pred):
    """(y_true, y_pred) of one float type and one shape."""
    y_pred = as_real(y_pred)
    y_true, y_pred = match_ranks(as_real(y_true, str(y_pred.dtype)), y_pred)
    if tuple(y_true.shape) != tuple(y_pred.shape):
        raise ValueError(
            f"{where}: y_true of shape {tuple(y_true.shape)} and y_pred of shape {tuple(y_pred.shape)} must have one "
            "shape; reshape or repeat the targets"
        )
    return y_true, y_pred


def _rows(kind, y_true, y_pred, parameter=0.0):
    """The fused loss of each row; a vector is one row."""
    if y_pred.ndim == 1:
        rows = nn.row_loss(kind, ops.expand_dims(y_true, -1), ops.expand_dims(y_pred, -1), parameter)
        return ops.mean(rows)
    return nn.row_loss(kind, y_true, y_pred, parameter)


def _classes_last(x, axis, where):
    """x with the dimension `axis` moved to the end."""
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ValueError(f"{where}: axis must be an integer, got {axis!r}")
    axis = normalize_axis(axis, x.ndim, where)
    return ops.transpose(x, (*(j for j in range(x.ndim) if j != axis), axis))


#: Options of losses that are numbers, and their bounds.
_BOUNDS = {
    "label_smoothing": {"least": 0, "most": 1},
    "delta": {"above": 0, "finite": False},
    "q": {"above": 0, "below": 1},
    "alpha": {},
    "beta": {},
    "gamma": {},
    "margin": {},
}


def check_options(where, options, axes=checks.integer):
    """The options of a loss or metric with those that are numbers or axes checked; `axes`: the check of the latter."""
    checked = dict(options)
    for name, value in options.items():
        if name in _BOUNDS:
            checked[name] = checks.number(where, name, value, **_BOUNDS[name])
        elif name == "axis":
            checked[name] = axes(where, name, value)
        elif name == "ignore_class" and value is not None:
            checked[name] = checks.integer(where, name, value)
    return checked


def _check_smoothing(label_smoothing, where):
    check_options(where, {"label_smoothing": label_smoothing})


def _smooth(y_true, label_smoothing, classes):
    """Targets moved towards 1 / classes."""
    if label_smoothing == 0:
        return y_true
    return ops.affine(y_true, 1.0 - label_smoothing, label_smoothing / classes)


# ---- regression ----


def mean_squared_error(y_true, y_pred):
    """mean((y_true - y_pred)^2)."""
    return _rows("mean_squared_error", *same_shape("mean_squared_error", y_true, y_pred))


def mean_absolute_error(y_true, y_pred):
    """mean(|y_true - y_pred|)."""
    return _rows("mean_absolute_error", *same_shape("mean_absolute_error", y_true, y_pred))


def mean_absolute_percentage_error(y_true, y_pred):
    """100 mean(|y_true - y_pred| / max(|y_true|, 1e-7))."""
    return _rows("mean_absolute_percentage_error", *same_shape("mean_absolute_percentage_error", y_true, y_pred))


def mean_squared_logarithmic_error(y_true, y_pred):
    """mean((log(1 + y_true) - log(1 + y_pred))^2), both kept above 1e-7."""
    return _rows("mean_squared_logarithmic_error", *same_shape("mean_squared_logarithmic_error", y_true, y_pred))


def huber(y_true, y_pred, delta=1.0):
    """mean of e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2; e = y_pred - y_true. Huber 1964."""
    check_options("huber", {"delta": delta})
    return _rows("huber", *same_shape("huber", y_true, y_pred), delta)


def log_cosh(y_true, y_pred):
    """mean(log(cosh(y_pred - y_true))), without overflow."""
    return _rows("log_cosh", *same_shape("log_cosh", y_true, y_pred))


def _unit_length(x, axis):
    """x / |x| along `axis`; zeros stay zeros."""
    square = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(square, config.epsilon() ** 2)))


def cosine_similarity(y_true, y_pred, axis=-1):
    """-sum(y_true y_pred) / (|y_true| |y_pred|): -1 when they point the same way."""
    y_true, y_pred = same_shape("cosine_similarity", y_true, y_pred)
    if normalize_axis(axis, y_pred.ndim, "cosine_similarity") == y_pred.ndim - 1 and y_pred.ndim > 1:
        return _rows("cosine_similarity", y_true, y_pred)
    return ops.negative(ops.sum(ops.multiply(_unit_length(y_true, axis), _unit_length(y_pred, axis)), axis=axis))


# ---- margins ----


def _signs(y_true):
    """Labels 0 and 1 as -1 and 1. As in Keras, labels are taken for such when the whole batch is of 0 and 1."""
    zero_or_one = ops.logical_or(ops.equal(y_true, 0.0), ops.equal(y_true, 1.0))
    others = ops.sum(ops.affine(zero_or_one, -1.0, 1.0))
    return ops.where(ops.equal(others, 0.0), ops.affine(y_true, 2.0, -1.0), y_true)


def hinge(y_true, y_pred):
    """mean(max(1 - y_true y_pred, 0)); targets are -1 or 1 (or 0 and 1, which are turned into those)."""
    y_true, y_pred = same_shape("hinge", y_true, y_pred)
    return _rows("hinge", _signs(y_true), y_pred)


def squared_hinge(y_true, y_pred):
    """mean(max(1 - y_true y_pred, 0)^2); targets as for `hinge`."""
    y_true, y_pred = same_shape("squared_hinge", y_true, y_pred)
    return _rows("squared_hinge", _signs(y_true), y_pred)


def categorical_hinge(y_true, y_pred):
    """max(neg - pos + 1, 0); pos = sum(y_true y_pred), neg = max((1 - y_true) y_pred)."""
    return nn.row_loss("categorical_hinge", *same_shape("categorical_hinge", y_true, y_pred))


# ---- probabilities ----


def kl_divergence(y_true, y_pred):
    """sum(y_true log(y_true / y_pred)), both cut to [1e-7, 1]. Kullback and Leibler 1951."""
    return nn.row_loss("kl_divergence", *same_shape("kl_divergence", y_true, y_pred))


def poisson(y_true, y_pred):
    """mean(y_pred - y_true log(y_pred + 1e-7))."""
    return _rows("poisson", *same_shape("poisson", y_true, y_pred))


def binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """mean(-(t log(p) + (1 - t) log(1 - p))), p cut to [epsilon, 1 - epsilon]; with `from_logits`, p = sigmoid(y_pred)
    is not formed. Symbolic probabilities straight from a sigmoid are taken back to its logits."""
    y_true, y_pred = same_shape("binary_crossentropy", y_true, y_pred)
    _check_smoothing(label_smoothing, "binary_crossentropy")
    if normalize_axis(axis, y_pred.ndim, "binary_crossentropy") != y_pred.ndim - 1:
        return ops.mean(ops.binary_crossentropy(_smooth(y_true, label_smoothing, 2), y_pred, from_logits), axis=axis)
    if not from_logits:
        logits = nn.logits_behind(y_pred, "sigmoid")
        if logits is None:
            return _rows("binary_crossentropy", y_true, y_pred, label_smoothing)
        y_pred = logits
    return _rows("sigmoid_crossentropy", y_true, y_pred, label_smoothing)


def binary_focal_crossentropy(y_true, y_pred, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False,
                              label_smoothing=0.0, axis=-1):  # fmt: skip
    """Binary crossentropy times (1 - p_t)^gamma, p_t the probability given to the target; class balancing weights
    ones by alpha and zeros by 1 - alpha. Lin et al. 2017."""
    y_true, y_pred = same_shape("binary_focal_crossentropy", y_true, y_pred)
    _check_smoothing(label_smoothing, "binary_focal_crossentropy")
    y_true = _smooth(y_true, label_smoothing, 2)
    p = ops.sigmoid(y_pred) if from_logits else y_pred
    bce = ops.binary_crossentropy(y_true, p)
    against = ops.subtract(ops.add(y_true, p), ops.affine(ops.multiply(y_true, p), 2.0))  # 1 - p_t
    value = ops.multiply(ops.power(against, gamma), bce)
    if apply_class_balancing:
        value = ops.multiply(ops.affine(y_true, 2.0 * alpha - 1.0, 1.0 - alpha), value)
    return ops.mean(value, axis=axis)


def categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """-sum(y_true log(y_pred)), y_pred made to sum to 1 and cut to [epsilon, 1 - epsilon]; with `from_logits`,
    -sum(y_true log_softmax(y_pred)). Symbolic probabilities straight from a softmax are taken back to its logits."""
    where = "categorical_crossentropy"
    y_true, y_pred = same_shape(where, y_true, y_pred)
    y_true, y_pred = _classes_last(y_true, axis, where), _classes_last(y_pred, axis, where)
    _check_smoothing(label_smoothing, where)
    return ops.categorical_crossentropy(y_true, y_pred, from_logits, label_smoothing=label_smoothing)


def categorical_focal_crossentropy(y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0,
                                   axis=-1):  # fmt: skip
    """-sum(alpha (1 - p)^gamma y_true log(p)). Lin et al. 2017."""
    where = "categorical_focal_crossentropy"
    y_true, y_pred = same_shape(where, y_true, y_pred)
    _check_smoothing(label_smoothing, where)
    y_true = _smooth(y_true, label_smoothing, y_pred.shape[axis])
    p = ops.softmax(y_pred, axis) if from_logits else y_pred
    p = ops.divide(p, ops.sum(p, axis=axis, keepdims=True))
    p = ops.clip(p, config.epsilon(), 1.0 - config.epsilon())
    weight = ops.affine(ops.power(ops.affine(p, -1.0, 1.0), gamma), -alpha)
    return ops.sum(ops.multiply(weight, ops.multiply(y_true, ops.log(p))), axis=axis)


def _class_ids(y_true, y_pred, axis, where):
    """(ids without, predictions with the class dimension last)."""
    y_true = y_true if is_symbolic(y_true) else np.asarray(y_true)
    y_pred = as_real(y_pred)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[axis] == 1:
        y_true = ops.squeeze(y_true, axis)
    return y_true, _classes_last(y_pred, axis, where)


def _valid(y_true, ignore_class, dtype):
    """1 where a class id is not `ignore_class`."""
    return ops.not_equal(as_real(y_true, dtype), float(ignore_class))


def sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1):
    """-log(y_pred[y_true]) for targets that are class ids; see `categorical_crossentropy`. Where y_true is
    `ignore_class` the loss is 0."""
    y_true, y_pred = _class_ids(y_true, y_pred, axis, "sparse_categorical_crossentropy")
    return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits, ignore=ignore_class)


def categorical_generalized_cross_entropy(y_true, y_pred, q):
    """(1 - y_pred[y_true]^q) / q for targets that are class ids. Zhang and Sabuncu 2018."""
    y_true, y_pred = _class_ids(y_true, y_pred, -1, "categorical_generalized_cross_entropy")
    one_hot = ops.one_hot(y_true, y_pred.shape[-1], dtype=str(y_pred.dtype))
    p = ops.sum(ops.multiply(y_pred, one_hot), axis=-1)
    return ops.affine(ops.power(p, q), -1.0 / q, 1.0 / q)


# ---- overlap ----


def dice(y_true, y_pred, axis=None):
    """1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred) + epsilon), over `axis` (everything by default)."""
    y_true, y_pred = same_shape("dice", y_true, y_pred)
    both = ops.sum(ops.multiply(y_true, y_pred), axis=axis)
    total = ops.add(ops.sum(y_true, axis=axis), ops.sum(y_pred, axis=axis))
    return ops.affine(ops.divide(both, ops.affine(total, 1.0, config.epsilon())), -2.0, 1.0)


def tversky(y_true, y_pred, alpha=0.5, beta=0.5, axis=None):
    """1 - i / (i + alpha * missed + beta * false + epsilon); i = sum(y_true y_pred), missed = sum(y_true (1 - y_pred)),
    false = sum(y_pred (1 - y_true)), over `axis`. Salehi et al. 2017, with Keras' order of the weights."""
    y_true, y_pred = same_shape("tversky", y_true, y_pred)
    both = ops.sum(ops.multiply(y_true, y_pred), axis=axis)
    missed = ops.subtract(ops.sum(y_true, axis=axis), both)
    false = ops.subtract(ops.sum(y_pred, axis=axis), both)
    total = ops.add(both, ops.add(ops.affine(missed, alpha), ops.affine(false, beta)))
    return ops.affine(ops.divide(both, ops.affine(total, 1.0, config.epsilon())), -1.0, 1.0)


# ---- pairs, alignments ----


def circle(y_true, y_pred, ref_labels=None, ref_embeddings=None, remove_diagonal=True, gamma=80, margin=0.4):
    """log(1 + e^(P + N)) for class ids and embeddings of length 1 (a Dense layer, then UnitNormalization); of the
    distances D = max(1 - cosine, 0) to the references (by default to each other)
    P = log sum e^(-gamma max(margin + D, 0) (margin - D)) over those of the sample's class, without itself if
    remove_diagonal, and N = log sum e^(gamma max(1 + margin - D, 0) (1 - margin - D)) over the others.
    0 for a sample without either. Sun et al. 2020, with Keras' weights."""
    if (ref_labels is None) != (ref_embeddings is None):
        raise ValueError("circle: ref_labels and ref_embeddings must be given together")
    y_pred = as_real(y_pred)
    labels, others = (y_true, y_pred) if ref_labels is None else (ref_labels, as_real(ref_embeddings))
    return structured_losses.circle(y_true, y_pred, labels, others, gamma, margin, remove_diagonal)


def ctc(y_true, y_pred):
    """Connectionist temporal classification: -log of the probability that classes drawn step by step from
    softmax(y_pred) give y_true, once runs of one class are made one and blanks (class 0) taken out. Graves et al. 2006.

    y_true: (samples, labels) class ids from 1 on, filled up with 0. y_pred: (samples, steps, classes) logits.
    Infinite, with a gradient of 0, where the labels (and a blank between equal ones) do not fit into the steps."""
    return structured_losses.ctc(y_true, as_real(y_pred))


# ---- classes ----


class Loss:
    """Base class of losses: override `call(y_true, y_pred)`, which gives one value a sample (or a value for each
    further position, or one for the whole batch).

    Args:
        name: shown in logs.
        reduction: what `__call__` makes of the values: "sum_over_batch_size" or "mean" (their mean), "sum",
            "mean_with_sample_weight" (weighted mean), "none" or None (nothing).
        dtype: float type that arrays are taken as; the default one if None. Tensors keep theirs.
    """

    def __init__(self, name=None, reduction="sum_over_batch_size", dtype=None):
        if reduction not in REDUCTIONS:
            raise ValueError(f"{type(self).__name__}: reduction must be one of {REDUCTIONS}, got {reduction!r}")
        self.name = name or registry.to_snake_case(type(self).__name__)
        self.reduction = reduction
        self.dtype = config.floatx() if dtype is None else config.standardize_dtype(dtype, "Loss: dtype")

    def call(self, y_true, y_pred):
        raise NotImplementedError(f"{type(self).__name__} must implement call(y_true, y_pred)")

    def mask(self, y_true, y_pred, values=None):
        """1 for the values that count, 0 for those that do not, of the shape of what `call` gives; None: all do.
        `values`: what it gave, where that is known."""
        return None

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The reduced loss: a number (or symbolic scalar), or the weighted values when `reduction` is None."""
        steps = mask_of(y_pred)
        y_true, y_pred = self._arguments(y_true, y_pred)
        values = self._called(y_true, y_pred)
        mask = self._mask_weight(y_true, y_pred, values, steps)
        weight = None if sample_weight is None else weights_for(sample_weight, values, self.name)
        if mask is not None:
            weight = mask if weight is None else ops.multiply(weight, mask)
        if weight is not None:
            values = ops.multiply(values, weight)
        if self.reduction in (None, "none"):
            return values
        if self.reduction == "sum":
            total = ops.sum(values)
        elif self.reduction == "mean_with_sample_weight" and weight is not None:
            total = weighted_mean(values, ops.multiply(weight, ops.ones_like(values)))
        else:
            total = ops.mean(values)
        return total if is_symbolic(total) else total[()]

    def _called(self, y_true, y_pred):
        values = self.call(y_true, y_pred)
        if not isinstance(values, (Tensor, np.ndarray, np.generic)):
            raise TypeError(
                f"loss {self.name!r} must return a tensor, a value for each sample, computed with fastnn.ops; got "
                f"{values!r}"
            )
        return values

    def per_sample(self, y_true, y_pred):
        """(batch,): the loss of each sample, the mean (for reduction "sum" the sum) over whatever dimensions `call`
        leaves beside the batch. The mean of these over a batch is the loss of reduction "sum_over_batch_size"."""
        return self.samples(y_true, y_pred).values

    def samples(self, y_true, y_pred):
        """`per_sample` with what else a reduction over samples has to know."""
        steps = mask_of(y_pred)
        y_true, y_pred = self._arguments(y_true, y_pred)
        if len(y_pred.shape) == 1:  # one number a sample
            y_pred = ops.expand_dims(y_pred, -1)
        values = self._called(y_true, y_pred)
        mask = self._mask_weight(y_true, y_pred, values, steps)
        if mask is not None:
            values = ops.multiply(values, mask)
        shape, batch = shape_of(values), shape_of(y_pred)[0]
        if len(shape) == 0:
            return Samples(ops.broadcast_to(values, (batch,)), None, True)
        if shape[0] != batch:
            raise ValueError(
                f"{self.name}: gives values of shape {tuple(shape)} for predictions of {tuple(shape_of(y_pred))}; the "
                "first dimension must stay that of the samples"
            )
        share = None if mask is None else ops.multiply(mask, ops.ones_like(values))
        if len(shape) > 1:
            axes = tuple(range(1, len(shape)))
            values = (ops.sum if self.reduction == "sum" else ops.mean)(values, axis=axes)
            share = None if share is None else ops.mean(share, axis=axes)
        return Samples(values, share, False)

    def _arguments(self, y_true, y_pred):
        if not is_symbolic(y_pred):
            y_pred = np.asarray(y_pred, dtype=self.dtype)
        if not is_symbolic(y_true):
            y_true = np.asarray(y_true)
            if y_true.dtype.kind == "f":
                y_true = y_true.astype(y_pred.dtype, copy=False)
        if len(shape_of(y_pred)) == 0:
            raise ValueError(f"{self.name}: y_pred must have a dimension of samples, got a single number")
        return y_true, y_pred

    def _mask_weight(self, y_true, y_pred, values, steps=None):
        """Weights that the mask stands for: for a mean, such that it is one over the values that count. steps: the mask
        that the predictions carry, of sequences' steps that do not count."""
        mask = self.mask(y_true, y_pred, values)
        if steps is not None:
            if 0 < len(shape_of(values)) < len(shape_of(steps)):
                raise ValueError(
                    f"{self.name}: gives values of shape {tuple(shape_of(values))}, but the predictions carry a mask "
                    f"of shape {tuple(shape_of(steps))}, of steps that do not count, which this loss cannot take"
                )
            mask = steps if mask is None else ops.multiply(mask, steps)
        if mask is None or self.reduction not in ("sum_over_batch_size", "mean"):
            return mask
        share = ops.mean(mask)
        return ops.divide(mask, ops.where(ops.equal(share, 0.0), 1.0, share))

    def get_config(self):
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name} reduction={self.reduction}>"


class Samples(NamedTuple):
    """Losses of samples: (batch,) values, already masked; the share of each sample that the mask lets count, (batch,)
    or None; and whether they are one value of the whole batch, repeated."""

    values: object
    share: object
    of_batch: bool


def weighted_mean(values, weight):
    """sum(values) / sum(weight), of values that are weighted already; 0 where nothing weighs anything."""
    norm = ops.sum(weight)
    return ops.divide(ops.sum(values), ops.where(ops.equal(norm, 0.0), 1.0, norm))


def weights_for(sample_weight, values, where):
    """Sample weights shaped so that they multiply `values` from the samples' dimension on."""
    shape = tuple(shape_of(values))
    weight = as_real(sample_weight, str(values.dtype))
    at = tuple(weight.shape)
    if len(at) == len(shape) + 1 and at[-1] == 1:
        weight = ops.squeeze(weight, -1)
        at = at[:-1]
    fits = len(at) <= len(shape) and all(w in (1, v) for w, v in zip(at, shape, strict=False))
    if not fits:
        raise ValueError(
            f"{where}: sample_weight of shape {at} does not fit values of shape {shape}: give one weight a sample, "
            "or one for each of the leading dimensions"
        )
    return ops.reshape(weight, at + (1,) * (len(shape) - len(at))) if len(at) < len(shape) else weight


class LossFunctionWrapper(Loss):
    """A function f(y_true, y_pred, **options) as a Loss."""

    _options = ()  # attributes that hold the options: those a subclass saves

    def __init__(self, fn, reduction="sum_over_batch_size", name=None, dtype=None, **kwargs):
        super().__init__(name or getattr(fn, "__name__", None), reduction, dtype)
        if fn in _FUNCTIONS:  # the options of other functions are theirs
            several = fn in (dice, tversky)
            kwargs = check_options(type(self).__name__, kwargs, checks.axes if several else checks.integer)
        self.fn = fn
        self._fn_kwargs = kwargs
        for option in self._options:
            setattr(self, option, kwargs[option])

    def call(self, y_true, y_pred):
        if not isinstance(y_pred, (list, tuple, dict)):
            y_true, y_pred = match_ranks(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self):
        base = super().get_config()
        if type(self) is not LossFunctionWrapper and not _takes_function(type(self)):
            return {**base, **{option: getattr(self, option) for option in self._options}}
        return {**base, "fn": registry.serialize_keras_object(self.fn), **self._fn_kwargs}

    @classmethod
    def from_config(cls, config):
        if isinstance(config.get("fn"), dict):
            config = {**config, "fn": registry.deserialize_keras_object(config["fn"])}
        return cls(**config)


def _takes_function(cls):
    return "fn" in cls.__init__.__code__.co_varnames[1 : cls.__init__.__code__.co_argcount]


class MeanSquaredError(LossFunctionWrapper):
    """See `mean_squared_error`."""

    def __init__(self, reduction="sum_over_batch_size", name="mean_squared_error", dtype=None):
        super().__init__(mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(LossFunctionWrapper):
    """See `mean_absolute_error`."""

    def __init__(self, reduction="sum_over_batch_size", name="mean_absolute_error", dtype=None):
        super().__init__(mean_absolute_error, reduction, name, dtype)


class MeanAbsolutePercentageError(LossFunctionWrapper):
    """See `mean_absolute_percentage_error`."""

    def __init__(self, reduction="sum_over_batch_size", name="mean_absolute_percentage_error", dtype=None):
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """See `mean_squared_logarithmic_error`."""

    def __init__(self, reduction="sum_over_batch_size", name="mean_squared_logarithmic_error", dtype=None):
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


class CosineSimilarity(LossFunctionWrapper):
    """See `cosine_similarity`."""

    _options = ("axis",)

    def __init__(self, axis=-1, reduction="sum_over_batch_size", name="cosine_similarity", dtype=None):
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)


class Huber(LossFunctionWrapper):
    """See `huber`."""

    _options = ("delta",)

    def __init__(self, delta=1.0, reduction="sum_over_batch_size", name="huber_loss", dtype=None):
        super().__init__(huber, reduction, name, dtype, delta=delta)


class LogCosh(LossFunctionWrapper):
    """See `log_cosh`."""

    def __init__(self, reduction="sum_over_batch_size", name="log_cosh", dtype=None):
        super().__init__(log_cosh, reduction, name, dtype)


class Hinge(LossFunctionWrapper):
    """See `hinge`."""

    def __init__(self, reduction="sum_over_batch_size", name="hinge", dtype=None):
        super().__init__(hinge, reduction, name, dtype)


class SquaredHinge(LossFunctionWrapper):
    """See `squared_hinge`."""

    def __init__(self, reduction="sum_over_batch_size", name="squared_hinge", dtype=None):
        super().__init__(squared_hinge, reduction, name, dtype)


class CategoricalHinge(LossFunctionWrapper):
    """See `categorical_hinge`."""

    def __init__(self, reduction="sum_over_batch_size", name="categorical_hinge", dtype=None):
        super().__init__(categorical_hinge, reduction, name, dtype)


class KLDivergence(LossFunctionWrapper):
    """See `kl_divergence`."""

    def __init__(self, reduction="sum_over_batch_size", name="kl_divergence", dtype=None):
        super().__init__(kl_divergence, reduction, name, dtype)


class Poisson(LossFunctionWrapper):
    """See `poisson`."""

    def __init__(self, reduction="sum_over_batch_size", name="poisson", dtype=None):
        super().__init__(poisson, reduction, name, dtype)


class BinaryCrossentropy(LossFunctionWrapper):
    """See `binary_crossentropy`."""

    _options = ("from_logits", "label_smoothing", "axis")

    def __init__(self, from_logits=False, label_smoothing=0.0, axis=-1, reduction="sum_over_batch_size",
                 name="binary_crossentropy", dtype=None):  # fmt: skip
        super().__init__(binary_crossentropy, reduction, name, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing, axis=axis)  # fmt: skip


class BinaryFocalCrossentropy(LossFunctionWrapper):
    """See `binary_focal_crossentropy`."""

    _options = ("apply_class_balancing", "alpha", "gamma", "from_logits", "label_smoothing", "axis")

    def __init__(self, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0,
                 axis=-1, reduction="sum_over_batch_size", name="binary_focal_crossentropy", dtype=None):  # fmt: skip
        super().__init__(binary_focal_crossentropy, reduction, name, dtype, apply_class_balancing=apply_class_balancing,
                         alpha=alpha, gamma=gamma, from_logits=from_logits, label_smoothing=label_smoothing,
                         axis=axis)  # fmt: skip


class CategoricalCrossentropy(LossFunctionWrapper):
    """See `categorical_crossentropy`."""

    _options = ("from_logits", "label_smoothing", "axis")

    def __init__(self, from_logits=False, label_smoothing=0.0, axis=-1, reduction="sum_over_batch_size",
                 name="categorical_crossentropy", dtype=None):  # fmt: skip
        super().__init__(categorical_crossentropy, reduction, name, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing, axis=axis)  # fmt: skip


class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """See `categorical_focal_crossentropy`."""

    _options = ("alpha", "gamma", "from_logits", "label_smoothing", "axis")

    def __init__(self, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1,
                 reduction="sum_over_batch_size", name="categorical_focal_crossentropy", dtype=None):  # fmt: skip
        super().__init__(categorical_focal_crossentropy, reduction, name, dtype, alpha=alpha, gamma=gamma,
                         from_logits=from_logits, label_smoothing=label_smoothing, axis=axis)  # fmt: skip


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """See `sparse_categorical_crossentropy`. Ignored positions do not count in a mean either."""

    _options = ("from_logits", "ignore_class", "axis")

    def __init__(self, from_logits=False, ignore_class=None, reduction="sum_over_batch_size", axis=-1,
                 name="sparse_categorical_crossentropy", dtype=None):  # fmt: skip
        super().__init__(sparse_categorical_crossentropy, reduction, name, dtype, from_logits=from_logits,
                         ignore_class=ignore_class, axis=axis)  # fmt: skip

    def mask(self, y_true, y_pred, values=None):
        if self.ignore_class is None:
            return None
        y_true, y_pred = _class_ids(*match_ranks(y_true, y_pred), self.axis, self.name)
        return _valid(y_true, self.ignore_class, str(y_pred.dtype))


class CategoricalGeneralizedCrossEntropy(LossFunctionWrapper):
    """See `categorical_generalized_cross_entropy`."""

    _options = ("q",)

    def __init__(self, q=0.5, reduction="sum_over_batch_size", name="categorical_generalized_cross_entropy",
                 dtype=None):  # fmt: skip
        super().__init__(categorical_generalized_cross_entropy, reduction, name, dtype, q=q)


class Dice(LossFunctionWrapper):
    """See `dice`."""

    _options = ("axis",)

    def __init__(self, reduction="sum_over_batch_size", name="dice", axis=None, dtype=None):
        super().__init__(dice, reduction, name, dtype, axis=axis)


class Tversky(LossFunctionWrapper):
    """See `tversky`."""

    _options = ("alpha", "beta", "axis")

    def __init__(self, alpha=0.5, beta=0.5, reduction="sum_over_batch_size", name="tversky", axis=None, dtype=None):
        super().__init__(tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)


class Circle(LossFunctionWrapper):
    """See `circle`. Samples of loss 0, without another of their class, do not count in a mean either."""

    _options = ("gamma", "margin", "remove_diagonal")

    def __init__(self, gamma=80.0, margin=0.4, remove_diagonal=True, reduction="sum_over_batch_size", name="circle",
                 dtype=None):  # fmt: skip
        super().__init__(circle, reduction, name, dtype, gamma=gamma, margin=margin, remove_diagonal=remove_diagonal)

    def mask(self, y_true, y_pred, values=None):
        return ops.greater(self.call(y_true, y_pred) if values is None else values, 0.0)


class CTC(LossFunctionWrapper):
    """See `ctc`."""

    def __init__(self, reduction="sum_over_batch_size", name="ctc", dtype=None):
        super().__init__(ctc, reduction, name, dtype)


# ---- by name ----

_CLASSES = (
    Loss, LossFunctionWrapper, MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError, CosineSimilarity, Huber, LogCosh, Hinge, SquaredHinge, CategoricalHinge, KLDivergence,
    Poisson, BinaryCrossentropy, BinaryFocalCrossentropy, CategoricalCrossentropy, CategoricalFocalCrossentropy,
    SparseCategoricalCrossentropy, CategoricalGeneralizedCrossEntropy, Dice, Tversky, Circle, CTC,
)  # fmt: skip
_FUNCTIONS = (
    mean_squared_error, mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error,
    cosine_similarity, huber, log_cosh, hinge, squared_hinge, categorical_hinge, kl_divergence, poisson,
    binary_crossentropy, binary_focal_crossentropy, categorical_crossentropy, categorical_focal_crossentropy,
    sparse_categorical_crossentropy, categorical_generalized_cross_entropy, dice, tversky, circle, ctc,
)  # fmt: skip

mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kullback_leibler_divergence = kl_divergence
bce = BCE = binary_crossentropy
logcosh = log_cosh

_NAMES = {obj.__name__: obj for obj in (*_CLASSES, *_FUNCTIONS)}
_NAMES |= {
    "mse": mse, "MSE": mse, "mae": mae, "MAE": mae, "mape": mape, "MAPE": mape, "msle": msle, "MSLE": msle,
    "kld": kld, "KLD": kld, "bce": bce, "BCE": bce, "logcosh": logcosh,
}  # fmt: skip
__all__ += sorted(_NAMES)


def get(identifier):
    """The loss that a name, a config, a class or a callable stands for; None for None."""
    return registry.get("loss", identifier, _NAMES)


def serialize(loss):
    """The config of a loss, or the name and module of a loss function."""
    return registry.serialize_keras_object(loss)


def deserialize(name, custom_objects=None):
    """The loss that a name or a config describes."""
    return registry.deserialize_keras_object(name, custom_objects, module_objects=_NAMES)


def is_by_shape(identifier):
    """Whether `identifier` names a loss that only the shapes of targets and predictions decide on."""
    return isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce")


def resolve(identifier, y_true_shape, y_pred_shape):
    """A `Loss` for `compile(loss=...)`: as `get`, and "crossentropy" ("ce") by the shapes, by Keras' rule.

    None stays None: an output without a loss.
    """
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    if is_by_shape(identifier):
        kind = kind_of_targets(y_true_shape, y_pred_shape)
        found = {"binary": binary_crossentropy, "sparse": sparse_categorical_crossentropy,
                 "categorical": categorical_crossentropy}[kind]  # fmt: skip
    else:
        found = get(identifier)
    if isinstance(found, Loss):
        return found
    return LossFunctionWrapper(found, name=identifier if isinstance(identifier, str) else None)


def kind_of_targets(y_true_shape, y_pred_shape):
    """ "binary" (one prediction a sample), "sparse" (class ids) or "categorical" (a column a class)."""
    if len(y_pred_shape) == 0 or y_pred_shape[-1] == 1:
        return "binary"
    if len(y_true_shape) < len(y_pred_shape) or y_true_shape[-1] == 1:
        return "sparse"
    return "categorical"
