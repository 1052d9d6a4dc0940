"""Operations of networks: softmax, losses with their fused gradients, accuracies, dropout, running means."""

import numpy as np

from fastnn import graph
from fastnn.graph import Leaf, Spec, Tensor
from fastnn.ops import elementwise as ew
from fastnn.ops import movement as sh
from fastnn.ops.core import (
    NoGradient,
    Op,
    apply,
    as_tensor,
    common_dtype,
    is_batched,
    lead,
    make,
    normalize_axis,
    register,
    shape_of,
    size,
)
from fastnn.variables import Variable

_COST = 0.7  # ns an element


@register
class Softmax(Op):
    """Rows over the last dimension: y = e^x / sum(e^x), or its logarithm."""

    in_place = ((0, 0),)

    def __init__(self, log=False):
        self.log = log

    @property
    def name(self):
        return "log_softmax" if self.log else "softmax"

    def infer(self, x):
        if not x.shape:
            raise ValueError(f"{self.name}: a number has no dimension to normalise")
        return x

    def gradient(self, node, dy):
        return (make(SoftmaxGrad(self.log), dy, node.outputs[0])[0],)

    def lower(self, b, outs, ins):
        rows, columns = lead(ins[0].shape, len(ins[0].shape) - 1)
        b.run(self.name, (*outs, *ins), (rows, columns), cost=rows * columns * _COST, batched=is_batched(ins[0].shape))


@register
class SoftmaxGrad(Op):
    """dx from dy and the output y of softmax or log_softmax."""

    in_place = ((0, 0),)

    def __init__(self, log):
        self.log = log

    @property
    def name(self):
        return "log_softmax_grad" if self.log else "softmax_grad"

    def infer(self, dy, y):
        return dy

    def lower(self, b, outs, ins):
        rows, columns = lead(ins[0].shape, len(ins[0].shape) - 1)
        b.run(self.name, (*outs, *ins), (rows, columns, 0), cost=rows * columns * _COST,
              batched=is_batched(ins[0].shape))  # fmt: skip


# ---- losses ----

#: Losses whose targets are int32 class ids, one a row.
SPARSE = ("sparse_softmax_crossentropy", "sparse_categorical_crossentropy")
_SYMMETRIC = ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh")


@register
class MeanSeed(Op):
    """What a mean over the batch sends back to each of its terms: scale * w / rows (w: weights, or none); a sum's
    (`mean` False) is not divided."""

    name = "mean_seed"

    def __init__(self, shape, dtype, scale=1.0, mean=True):
        self.shape = tuple(shape)
        self.dtype = dtype
        self.scale = scale
        self.mean = mean

    def infer(self, *w):
        return Spec(self.shape, self.dtype)

    def lower(self, b, outs, ins):
        rows = size(self.shape)
        w = ins[0] if ins else None
        b.run(
            "mean_seed",
            (outs[0], w),
            (rows, int(self.mean)),
            (self.scale,),
            cost=rows * 0.2,
            batched=is_batched(self.shape),
        )


@register
class RowLoss(Op):
    """A loss of each row of y (predictions) against t (targets), and its gradient in the same pass.

    Results, as asked: `loss` (rows,) and `dy` = dloss/dy * scale * w / rows. The inputs are y, t and, with `weighted`,
    w (rows,). `mean` says whether to divide by the number of rows; rows whose class id is `ignore` have loss 0.
    """

    def __init__(self, kind, parameter=0.0, loss=True, dy=False, weighted=False, scale=1.0, mean=False, ignore=None):
        self.kind, self.parameter, self.ignore = kind, float(parameter), ignore
        self.loss, self.dy, self.weighted, self.scale, self.mean = loss, dy, weighted, float(scale), mean

    @property
    def name(self):
        return self.kind

    @property
    def key(self):
        """What two operations share that compute the same loss."""
        return self.kind, self.parameter, self.ignore

    def variant(self, **changes):
        """The same loss with other results or weights."""
        return type(self)(**{**self.config(), **changes})

    def infer(self, y, t, *w):
        expected = y.shape[:-1] if self.kind in SPARSE else y.shape
        if not y.shape:
            raise ValueError(f"{self.kind}: predictions must have at least one dimension")
        if t.shape != expected:
            raise ValueError(
                f"{self.kind}: targets must have shape {expected} for predictions {y.shape}, got {t.shape}"
            )
        specs = []
        if self.loss:
            specs.append(Spec(y.shape[:-1], y.dtype))
        if self.dy:
            specs.append(y)
        return tuple(specs)

    def gradient(self, node, g):
        y, t = node.inputs[:2]
        seed = g.node.op
        if isinstance(seed, MeanSeed):
            w = g.node.inputs
            op = self.variant(loss=False, dy=True, weighted=bool(w), scale=seed.scale, mean=seed.mean)
            dy = make(op, y, t, *w)[0]
        else:
            dy = make(self.variant(loss=False, dy=True, weighted=True), y, t, g)[0]
        dt = None
        if not isinstance(t.node.op, Leaf):
            dt = NoGradient(f"{self.kind} has no gradient for its targets; use fastnn.ops.stop_gradient on them")
            if self.kind in _SYMMETRIC:
                dt = ew.negative(dy)
        return dy, dt

    def lower(self, b, outs, ins):
        outs = list(outs)
        loss = outs.pop(0) if self.loss else None
        dy = outs.pop(0) if self.dy else None
        rows, columns = lead(ins[0].shape, len(ins[0].shape) - 1)
        w = ins[2] if self.weighted else None
        ints = (rows, columns, int(self.mean))
        if self.ignore is not None:
            ints += (self.ignore, 1)
        b.run(self.kind, (loss, dy, ins[0], ins[1], w), ints, (self.parameter, self.scale),
              cost=rows * columns * 1.5, batched=is_batched(ins[0].shape))  # fmt: skip


def logits_behind(output, kind):
    """The logits that a symbolic softmax or sigmoid was computed from, or None."""
    if isinstance(output, Tensor):
        op = output.node.op
        if kind == "sigmoid" and isinstance(op, sh.Reshape):
            logits = logits_behind(output.node.inputs[0], kind)
            return None if logits is None else sh.reshape(logits, output.shape)
        if kind == "softmax" and isinstance(op, Softmax) and not op.log:
            return output.node.inputs[0]
        if kind == "sigmoid" and isinstance(op, ew.Unary) and op.function == "sigmoid":
            return output.node.inputs[0]
    return None


def row_loss(kind, target, output, parameter=0.0, ignore=None):
    """The loss of each row (all dimensions but the last) by the fused kernel `kind`; rows of class id `ignore`
    (an integer) have none."""
    dtype = common_dtype((output,), kind)
    if kind in SPARSE:
        target = class_ids(target, shape_of(output), ignore)
        return apply(RowLoss(kind, parameter, ignore=ignore), output, target, dtypes=[dtype, "int32"])
    return apply(RowLoss(kind, parameter), output, target, dtypes=[dtype, dtype])


def class_ids(target, output_shape, ignore=None):
    """Targets of class ids as int32 of the predictions' rows: a last dimension of 1 is dropped."""
    shape = shape_of(target)
    rows = tuple(output_shape[:-1])
    if len(shape) == len(output_shape) and shape[-1] == 1:
        target = sh.squeeze(target, -1) if isinstance(target, (Tensor, Variable)) else np.asarray(target)[..., 0]
    if isinstance(target, (Tensor, Variable)):
        target = target if target.dtype == "int32" else ew.cast(target, "int32")
    else:
        target, classes = np.asarray(target), output_shape[-1]
        if target.dtype.kind == "f":
            fractions = ~np.isfinite(target) | (np.trunc(target) != target)
            if fractions.any():
                raise ValueError(f"class ids must be whole numbers, got {target[fractions].flat[0]}")
        elif target.dtype.kind not in "iu":
            target = target.astype(np.int32)
        wrong = ((target < 0) | (target >= classes)) & (target != (0 if ignore is None else ignore))
        if wrong.any():
            raise ValueError(f"class ids must be in 0..{classes - 1}, got {target[wrong].flat[0]:.0f}")
        target = target.astype(np.int32)
    if shape_of(target) != rows:
        hint = "; for targets of one column a class use the loss or metric without 'sparse', or y.argmax(axis=-1)"
        raise ValueError(
            f"class ids must have shape {rows} for predictions of {tuple(output_shape)}, got {shape}"
            f"{hint if tuple(shape) == tuple(output_shape) else ''}"
        )
    return target


def categorical_crossentropy(target, output, from_logits=False, axis=-1, label_smoothing=0.0):
    """-sum(target * log(output)) of each row. Probabilities straight from a softmax are taken back to its logits,
    which is exact where probabilities would be cut at 1e-7."""
    _last(axis, output, "categorical_crossentropy")
    if not from_logits:
        logits = logits_behind(output, "softmax")
        if logits is None:
            return row_loss("categorical_crossentropy", target, output, label_smoothing)
        output = logits
    return row_loss("softmax_crossentropy", target, output, label_smoothing)


def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1, ignore=None):
    """-log(output[target]) of each row, from class ids, 0 for the id `ignore`; see `categorical_crossentropy`."""
    _last(axis, output, "sparse_categorical_crossentropy")
    if not from_logits:
        logits = logits_behind(output, "softmax")
        if logits is None:
            return row_loss("sparse_categorical_crossentropy", target, output, ignore=ignore)
        output = logits
    return row_loss("sparse_softmax_crossentropy", target, output, ignore=ignore)


def binary_crossentropy(target, output, from_logits=False):
    """-(t log(p) + (1 - t) log(1 - p)) of each element; see `categorical_crossentropy` for p from a sigmoid."""
    shape = shape_of(output)
    flat = sh.expand_dims(output, -1)
    if not from_logits:
        logits = logits_behind(output, "sigmoid")
        if logits is None:
            return row_loss("binary_crossentropy", sh.reshape(_real(target, output), (*shape, 1)), flat)
        flat = sh.expand_dims(logits, -1)
    return row_loss("sigmoid_crossentropy", sh.reshape(_real(target, output), (*shape, 1)), flat)


def _real(target, output):
    if isinstance(target, (Tensor, Variable)):
        return target
    return np.asarray(target, dtype=common_dtype((output,), "target"))


def _last(axis, x, where):
    if normalize_axis(axis, len(shape_of(x)), where) != len(shape_of(x)) - 1:
        raise ValueError(f"{where}: only the last axis can hold the classes, got axis={axis}; transpose first")


def softmax(x, axis=-1):
    """e^x / sum(e^x) along `axis`."""
    return _softmax(x, axis, False)


def log_softmax(x, axis=-1):
    """x - log(sum(e^x)) along `axis`."""
    return _softmax(x, axis, True)


def _softmax(x, axis, log):
    ndim = len(shape_of(x))
    axis = normalize_axis(axis, ndim, "softmax")
    if axis == ndim - 1:
        return apply(Softmax(log), x)
    return sh.swapaxes(apply(Softmax(log), sh.swapaxes(x, axis, ndim - 1)), axis, ndim - 1)


@register
class Accuracy(Op):
    """1 for each row whose prediction is right, else 0, by the kernel `kind`."""

    stops_gradient = True

    def __init__(self, kind, parameter=0.0, k=1):
        self.kind, self.parameter, self.k = kind, float(parameter), int(k)

    @property
    def name(self):
        return self.kind

    def infer(self, y, t):
        expected = y.shape[:-1] if self.kind in ("sparse_accuracy", "top_k") else y.shape
        if t.shape != expected:
            raise ValueError(
                f"{self.kind}: targets must have shape {expected} for predictions {y.shape}, got {t.shape}"
            )
        return Spec(y.shape[:-1], y.dtype)

    def gradient(self, node, g):
        return None, None

    def lower(self, b, outs, ins):
        rows, columns = lead(ins[0].shape, len(ins[0].shape) - 1)
        b.run(self.kind, (*outs, *ins), (rows, columns, self.k), (self.parameter,), cost=rows * columns * _COST,
              batched=is_batched(ins[0].shape))  # fmt: skip


def accuracy(kind, target, output, parameter=0.0, k=1):
    """1 where the row of `output` says `target`: "sparse_accuracy" and "top_k" (among the k largest) for class ids,
    "categorical_accuracy" and "categorical_top_k" for one-hot targets; or "binary_accuracy", the share of columns that
    are above the threshold `parameter` where the target is 1."""
    dtype = common_dtype((output,), kind)
    logits = logits_behind(output, "softmax")
    if logits is not None and kind != "binary_accuracy":
        output = logits  # the same order, and softmax itself may then not be needed at all
    if kind in ("sparse_accuracy", "top_k"):
        return apply(Accuracy(kind, k=k), output, class_ids(target, shape_of(output)), dtypes=[dtype, "int32"])
    return apply(Accuracy(kind, parameter, k), output, target, dtypes=[dtype, dtype])


# ---- randomness ----


@register
class Dropout(Op):
    """x / (1 - rate) where kept, else 0; which is kept follows from seed, stream, step and position alone, so the
    gradient makes the same choice again instead of reading a stored mask."""

    name = "dropout"
    is_random = True
    in_place = ((0, 0),)

    def __init__(self, rate, stream, grad=False):
        self.rate, self.stream, self.grad = float(rate), int(stream), grad

    def infer(self, x):
        return x

    def gradient(self, node, dy):
        return (make(Dropout(self.rate, self.stream, True), dy)[0],)

    def lower(self, b, outs, ins):
        n = size(outs[0].shape)
        batched = is_batched(outs[0].shape)
        head = (1, n) if batched else (n, 1)
        ints = (*head, self.stream, 0)
        b.run("dropout_grad" if self.grad else "dropout", (*outs, *ins), ints, (self.rate,), cost=n * 0.3,
              batched=batched)  # fmt: skip


@register
class GaussianNoise(Op):
    """x + std * normal noise."""

    name = "gaussian_noise"
    is_random = True

    def __init__(self, std, stream):
        self.std, self.stream = float(std), int(stream)

    def infer(self, x):
        return x

    def gradient(self, node, dy):
        return (dy,)

    def lower(self, b, outs, ins):
        n = size(outs[0].shape)
        batched = is_batched(outs[0].shape)
        b.run("gaussian_noise", (*outs, *ins), (1, n, self.stream) if batched else (n, 1, self.stream), (self.std,),
              cost=n * 2.0, batched=batched)  # fmt: skip


# ---- states ----


@register
class SampleRows(Op):
    """A variable (samples, ...) as a tensor of the batch, whose samples are its rows. No gradient flows to it."""

    name = "sample_rows"
    stops_gradient = True

    def infer(self, x):
        if not x.shape or x.shape[0] is None:
            raise ValueError(f"sample_rows: expected a variable (samples, ...), got shape {x.shape}")
        return Spec((None, *x.shape[1:]), x.dtype)

    def gradient(self, node, dy):
        return (None,)

    def lower(self, b, outs, ins):
        n = size(outs[0].shape)
        b.run("copy", (*outs, *ins), (1, n), cost=n * 0.1, batched=True)


def sample_rows(variable):
    """The value of a variable (samples, ...): an array, or within a trace a tensor of the batch."""
    if graph.current_trace() is None:
        return variable.value
    leaf = as_tensor(variable, variable.dtype)
    return leaf if leaf.batched else make(SampleRows(), leaf)[0]


# ---- running means ----


@register
class AccumulateMean(Op):
    """acc[0] += sum of w * values, acc[1] += sum of w over all elements; acc: two float64 of a variable, changed in
    place. Values are summed in double precision."""

    name = "accumulate_mean"
    has_effect = True
    float_input = 1

    def infer(self, acc, values, *w):
        if acc.shape != (2,) or acc.dtype != "float64":
            raise ValueError(f"accumulate_mean: acc must be 2 float64, got {acc.shape} {acc.dtype}")
        return ()

    def gradient(self, node, *grads):
        return (None,) * len(node.inputs)

    def lower(self, b, outs, ins):
        acc, values = ins[:2]
        w = ins[2] if len(ins) > 2 else None
        if w is not None:
            rows, columns = size(w.shape), size(values.shape[len(w.shape) :])
        else:
            rows, columns = (1 if is_batched(values.shape) else size(values.shape)), 1
            if is_batched(values.shape):
                columns = size(values.shape)
        b.run("accumulate_mean", (acc, values, w), (rows, columns), cost=rows * columns * 0.3,
              batched=is_batched(values.shape))  # fmt: skip


@register
class AccumulateScalar(Op):
    """acc[0] += rows * value, acc[1] += rows: the running mean, over samples, of a number that belongs to the step."""

    name = "accumulate_scalar"
    has_effect = True
    float_input = 1

    def infer(self, acc, value):
        return ()

    def gradient(self, node, *grads):
        return (None,) * len(node.inputs)

    def lower(self, b, outs, ins):
        b.run("accumulate_scalar", ins[:2], (1,), cost=5.0, batched=True)


@register
class DivideBySamples(Op):
    """x / (samples of the batch), for what was summed over a batch."""

    name = "divide_samples"

    def infer(self, x):
        return x

    def gradient(self, node, dy):
        return (make(DivideBySamples(), dy)[0],)

    def lower(self, b, outs, ins):
        b.run("divide_samples", (*outs, *ins), (1, size(ins[0].shape)), cost=5.0, batched=True)


def divide_by_samples(x):
    """x / (samples of the batch); symbolic only, since an array has no batch beside it."""
    return make(DivideBySamples(), x)[0]
