"""Operations that take many elements to one: sums, means, extremes, positions."""

import math

from fastnn.graph import Spec
from fastnn.ops import elementwise as ew
from fastnn.ops import movement as sh
from fastnn.ops.core import Op, apply, is_batched, lead, make, normalize_axes, normalize_axis, register, shape_of, size

_COST = 0.15  # ns an element


@register
class SumFirst(Op):
    """(rows, columns) -> (columns,): the sum over all leading rows, those of every sample included; `mean` divides
    by their number."""

    name = "sum_first"

    def __init__(self, axis, mean=False):
        self.axis = axis  # the first dimension that stays
        self.mean = mean

    def infer(self, x):
        return Spec(x.shape[self.axis :], x.dtype)

    def gradient(self, node, dy):
        return (make(SpreadRows(node.inputs[0].shape, self.axis, self.mean), dy)[0],)

    def lower(self, b, outs, ins):
        rows, columns = lead(ins[0].shape, self.axis)
        b.run("sum_first", (*outs, *ins), (rows, columns, 0, int(self.mean)), cost=rows * columns * _COST,
              batched=is_batched(ins[0].shape))  # fmt: skip


@register
class SpreadRows(Op):
    """(columns,) -> shape: the same for every leading row, divided by their number if `mean`."""

    name = "spread_rows"

    def __init__(self, shape, axis, mean):
        self.shape, self.axis, self.mean = tuple(shape), axis, mean

    def infer(self, x):
        return Spec(self.shape, x.dtype)

    def lower(self, b, outs, ins):
        rows, columns = lead(self.shape, self.axis)
        b.run("spread_rows", (*outs, *ins), (rows, columns, int(self.mean)), cost=rows * columns * _COST,
              batched=is_batched(self.shape))  # fmt: skip


@register
class ReduceLast(Op):
    """(rows, columns) -> (rows,) by sum, mean, max, min, prod or logsumexp over the dimensions from `axis` on."""

    def __init__(self, function, axis):
        self.function, self.axis = function, axis

    @property
    def name(self):
        return self.function + "_last"

    def infer(self, x):
        return Spec(x.shape[: self.axis], x.dtype)

    def gradient(self, node, dy):
        x, y = node.inputs[0], node.outputs[0]
        keep = (*y.shape, *(1,) * (len(x.shape) - self.axis))
        columns = size(x.shape[self.axis :])
        dy, y = sh.reshape(dy, keep), sh.reshape(y, keep)
        if self.function in ("sum", "mean"):
            if self.function == "mean":
                dy = ew.affine(dy, 1.0 / columns)
            return (sh.broadcast_to(dy, x.shape),)
        if self.function in ("max", "min"):
            # equal ones share the gradient
            mask = ew.equal(x, y)
            share = sh.reshape(make(ReduceLast("sum", self.axis), mask)[0], keep)
            return (ew.multiply(mask, ew.divide(dy, share)),)
        if self.function == "logsumexp":
            return (ew.multiply(dy, ew.exp(ew.subtract(x, y))),)
        if self.function == "prod":
            return (ew.divide(ew.multiply(dy, y), x),)
        return super().gradient(node, dy)

    def lower(self, b, outs, ins):
        rows, columns = lead(ins[0].shape, self.axis)
        b.run(self.name, (*outs, *ins), (rows, columns), cost=rows * columns * _COST, batched=is_batched(ins[0].shape))


@register
class ReduceMiddle(Op):
    """(rows, n, inner) -> (rows, inner) by sum, max or min over one dimension `axis`."""

    def __init__(self, function, axis):
        self.function, self.axis = function, axis

    @property
    def name(self):
        return self.function + "_middle"

    def infer(self, x):
        return Spec(x.shape[: self.axis] + x.shape[self.axis + 1 :], x.dtype)

    def gradient(self, node, dy):
        x, y = node.inputs[0], node.outputs[0]
        dy = sh.expand_dims(dy, self.axis)
        if self.function == "sum":
            return (sh.broadcast_to(dy, x.shape),)
        mask = ew.equal(x, sh.expand_dims(y, self.axis))
        share = sum(mask, axis=self.axis, keepdims=True)
        return (ew.multiply(mask, ew.divide(dy, share)),)

    def lower(self, b, outs, ins):
        shape = ins[0].shape
        rows, n, inner = size(shape[: self.axis]), shape[self.axis], size(shape[self.axis + 1 :])
        b.run(self.name, (*outs, *ins), (rows, n, inner), cost=rows * n * inner * _COST, batched=is_batched(shape))


@register
class ArgLast(Op):
    """(..., columns) -> (...) int32: the first position of the largest (smallest)."""

    stops_gradient = True

    def __init__(self, function):
        self.function = function

    @property
    def name(self):
        return self.function + "_last"

    def infer(self, x):
        return Spec(x.shape[:-1], "int32")

    def gradient(self, node, dy):
        return (None,)

    def lower(self, b, outs, ins):
        rows, columns = lead(ins[0].shape, len(ins[0].shape) - 1)
        b.run(self.name, (*outs, *ins), (rows, columns), cost=rows * columns * _COST, batched=is_batched(ins[0].shape))


# ---- functions for users ----


def _reduce(function, x, axis, keepdims):
    shape = shape_of(x)
    axes = normalize_axes(axis, len(shape), function)
    kept = tuple(1 if j in axes else d for j, d in enumerate(shape))
    y = x
    if 0 in axes and is_batched(shape):
        # over the batch: first what can be reduced within each sample, then the samples
        inner = tuple(a for a in axes if a != 0)
        if function not in ("sum", "mean"):
            raise ValueError(f"{function}: over the batch (axis 0) only sum and mean are possible")
        if inner == tuple(range(1, len(inner) + 1)):
            y = apply(SumFirst(len(inner) + 1, function == "mean"), y)
        else:
            y = apply(SumFirst(1, function == "mean"), _reduce(function, y, inner, False))
    else:
        for group in reversed(_runs(axes)):
            y = _reduce_run(function, y, group)
    if keepdims:
        y = sh.reshape(y, kept)
    return y


def _runs(axes):
    """Neighbouring axes together: (0, 1, 3) -> [(0, 1), (3,)]."""
    runs = []
    for a in axes:
        if runs and runs[-1][-1] == a - 1:
            runs[-1].append(a)
        else:
            runs.append([a])
    return [tuple(r) for r in runs]


def _reduce_run(function, x, axes):
    shape = shape_of(x)
    if axes[-1] == len(shape) - 1 and (axes[0] > 0 or function not in ("sum", "mean") or len(axes) == len(shape)):
        return apply(ReduceLast(function, axes[0]), x)
    if axes[0] == 0 and function in ("sum", "mean"):
        return apply(SumFirst(axes[-1] + 1, function == "mean"), x)
    if function not in ("sum", "mean", "max", "min"):
        rest = tuple(j for j in range(len(shape)) if j not in axes)
        return _reduce_run(function, sh.transpose(x, rest + axes), tuple(range(len(rest), len(shape))))
    n = math.prod(shape[a] for a in axes)
    flat = sh.reshape(x, (*shape[: axes[0]], n, *shape[axes[-1] + 1 :]))
    if axes[0] == 0:
        flat, at = sh.expand_dims(flat, 0), 1
    else:
        at = axes[0]
    y = apply(ReduceMiddle("sum" if function == "mean" else function, at), flat)
    if axes[0] == 0:
        y = sh.squeeze(y, 0)
    return ew.affine(y, 1.0 / n) if function == "mean" else y


def sum(x, axis=None, keepdims=False):
    """Sum over `axis` (all dimensions by default)."""
    return _reduce("sum", x, axis, keepdims)


def mean(x, axis=None, keepdims=False):
    """Mean over `axis`; over the batch: over the samples that this step has."""
    return _reduce("mean", x, axis, keepdims)


def max(x, axis=None, keepdims=False):
    """Largest over `axis`; equal ones share the gradient."""
    return _reduce("max", x, axis, keepdims)


def min(x, axis=None, keepdims=False):
    """Smallest over `axis`; equal ones share the gradient."""
    return _reduce("min", x, axis, keepdims)


def prod(x, axis=None, keepdims=False):
    """Product over `axis`."""
    return _reduce("prod", x, axis, keepdims)


def logsumexp(x, axis=None, keepdims=False):
    """log(sum(e^x)) over `axis`, without overflow."""
    return _reduce("logsumexp", x, axis, keepdims)


def var(x, axis=None, keepdims=False):
    """Mean squared distance from the mean over `axis`."""
    return mean(ew.square(ew.subtract(x, mean(x, axis, keepdims=True))), axis, keepdims)


def std(x, axis=None, keepdims=False):
    """Square root of the variance."""
    return ew.sqrt(var(x, axis, keepdims))


def norm(x, axis=None, keepdims=False):
    """Euclidean length over `axis`."""
    return ew.sqrt(sum(ew.square(x), axis, keepdims))


def _arg(function, x, axis):
    ndim = len(shape_of(x))
    axis = normalize_axis(axis, ndim, function)
    if axis != ndim - 1:
        x = sh.transpose(x, (*[j for j in range(ndim) if j != axis], axis))
    return apply(ArgLast(function), x)


def argmax(x, axis=-1):
    """Position of the first largest along `axis`, int32."""
    return _arg("argmax", x, axis)


def argmin(x, axis=-1):
    """Position of the first smallest along `axis`, int32."""
    return _arg("argmin", x, axis)


def any(x, axis=None, keepdims=False):
    """1 where some element along `axis` is not 0."""
    return max(ew.not_equal(x, 0.0), axis, keepdims)


def all(x, axis=None, keepdims=False):
    """1 where no element along `axis` is 0."""
    return min(ew.not_equal(x, 0.0), axis, keepdims)
