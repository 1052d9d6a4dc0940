"""Batch, layer and group normalization: y = (x - mean) / sqrt(var + epsilon) * gamma + beta."""

import numpy as np

from fastnn.graph import Spec
from fastnn.ops import elementwise as ew
from fastnn.ops.core import Op, apply, is_batched, lead, make, register, shape_of, size
from fastnn.ops.linear import ACTIVATIONS
from fastnn.ops.reductions import SumFirst

_COST = 0.15  # ns an element
_PARTS = 16


def _weights(op, rest):
    """gamma and beta, or None for each that is not there."""
    rest = list(rest)
    gamma = rest.pop(0) if op.scale else None
    beta = rest.pop(0) if op.center else None
    return gamma, beta


class _Norm(Op):
    def __init__(self, epsilon, scale=True, center=True):
        self.epsilon, self.scale, self.center = float(epsilon), bool(scale), bool(center)


@register
class BatchNorm(_Norm):
    """x, gamma, beta -> y, mean, var: normalized by the mean and biased variance of each channel (the last dimension)
    over everything else. The compiler joins a ReLU behind it: with `relu` y is max(y, 0)."""

    name = "batch_norm"

    def __init__(self, epsilon, scale=True, center=True, relu=False):
        super().__init__(epsilon, scale, center)
        self.relu = bool(relu)

    def infer(self, x, *rest):
        c = Spec(x.shape[-1:], x.dtype)
        return x, c, c

    def gradient(self, node, dy, *_):
        x = node.inputs[0]
        gamma, _ = _weights(self, node.inputs[1:])
        op = BatchNormGrad(self.epsilon, self.scale, self.center)
        found = make(op, dy, x, *node.outputs[1:], *([gamma] if self.scale else []))
        return found[0], *found[1 : 1 + self.scale], *found[2 : 2 + self.center]

    def lower(self, b, outs, ins):
        x = ins[0]
        gamma, beta = _weights(self, ins[1:])
        rows, c = lead(x.shape, len(x.shape) - 1)
        batched, cost = is_batched(x.shape), rows * c * _COST
        parts = b.temporary((_PARTS, 2, c), x.dtype)
        b.run("batch_norm_parts", (parts, x), (rows, c, _PARTS), (), cost=cost, batched=batched)
        b.run("batch_norm_combine", (outs[1], outs[2], parts), (rows, c, _PARTS), (), cost=c * 2.0, batched=batched)
        b.run("batch_norm_apply", (outs[0], x, outs[1], outs[2], gamma, beta), (rows, c, int(self.relu)),
              (0.0, self.epsilon), cost=cost, batched=batched)  # fmt: skip


@register
class BatchNormGrad(_Norm):
    """dy, x, mean, var, gamma -> dx, dgamma, dbeta. With `relu`, the gradient through a ReLU behind the normalization:
    then beta follows gamma."""

    name = "batch_norm_grad"

    def __init__(self, epsilon, scale=True, center=True, relu=False):
        super().__init__(epsilon, scale, center)
        self.relu = bool(relu)

    def infer(self, dy, x, *rest):
        c = Spec(x.shape[-1:], x.dtype)
        return x, c, c

    def lower(self, b, outs, ins):
        dy, x, mean, var = ins[:4]
        gamma = ins[4] if self.scale else None
        beta = ins[4 + self.scale] if self.relu and self.center else None
        rows, c = lead(x.shape, len(x.shape) - 1)
        batched, cost = is_batched(x.shape), rows * c * _COST
        parts = b.temporary((_PARTS, 2, c), x.dtype)
        reals, relu = (0.0, self.epsilon), int(self.relu)
        b.run("batch_norm_grad_parts", (parts, dy, x, mean, var, gamma, beta), (rows, c, _PARTS, relu), reals,
              cost=cost, batched=batched)  # fmt: skip
        b.run("conv2d_sum", (outs[1], outs[2], parts), (rows, c, c, _PARTS), (), cost=c * 2.0, batched=batched)
        b.run("batch_norm_grad", (outs[0], dy, x, mean, var, gamma, beta, outs[1], outs[2]), (rows, c, 0, relu), reals,
              cost=cost, batched=batched)  # fmt: skip


@register
class Normalize(_Norm):
    """x, mean, var, gamma, beta -> y, by a given mean and variance of each channel. The compiler joins an `activation`
    (name, parameter) behind it."""

    name = "normalize"
    in_place = ((0, 0),)

    def __init__(self, epsilon, scale=True, center=True, activation=None):
        super().__init__(epsilon, scale, center)
        self.activation = activation

    def infer(self, x, *rest):
        return x

    def gradient(self, node, dy):
        x, mean, var = node.inputs[:3]
        gamma, _ = _weights(self, node.inputs[3:])
        rstd = ew.rsqrt(ew.affine(var, 1.0, self.epsilon))
        scale = rstd if gamma is None else ew.multiply(rstd, gamma)
        axis = len(x.shape) - 1
        xhat = ew.multiply(ew.subtract(x, mean), rstd)
        grads = [ew.multiply(dy, scale), None, None]
        if self.scale:
            grads.append(make(SumFirst(axis), ew.multiply(dy, xhat))[0])
        if self.center:
            grads.append(make(SumFirst(axis), dy)[0])
        return tuple(grads)

    def lower(self, b, outs, ins):
        x, mean, var = ins[:3]
        gamma, beta = _weights(self, ins[3:])
        rows, c = lead(x.shape, len(x.shape) - 1)
        code, alpha = (ACTIVATIONS[self.activation[0]], self.activation[1]) if self.activation else (0, 0.0)
        b.run("batch_norm_apply", (outs[0], x, mean, var, gamma, beta), (rows, c, code), (alpha, self.epsilon),
              cost=rows * c * _COST, batched=is_batched(x.shape))  # fmt: skip


@register
class FoldNorm(_Norm):
    """w, mean, var, gamma, beta, bias -> w', b': the weights and the bias with which a product or convolution gives
    what `Normalize` would make of its result."""

    name = "batch_norm_fold"

    def __init__(self, epsilon, scale=True, center=True, bias=False):
        super().__init__(epsilon, scale, center)
        self.bias = bool(bias)

    def infer(self, w, *rest):
        return w, Spec(w.shape[-1:], w.dtype)

    def lower(self, b, outs, ins):
        w, mean, var, *rest = ins
        gamma, beta = _weights(self, rest)
        bias = rest[-1] if self.bias else None
        rows, c = lead(w.shape, len(w.shape) - 1)
        b.run("batch_norm_fold", (*outs, w, mean, var, gamma, beta, bias), (rows, c), (0.0, self.epsilon),
              cost=rows * c * _COST)  # fmt: skip


@register
class LayerNorm(_Norm):
    """x, gamma, beta -> y, statistics: normalized over the dimensions from `axis` on, the shape of gamma and beta."""

    name = "layer_norm"

    def __init__(self, epsilon, scale=True, center=True, axis=-1):
        super().__init__(epsilon, scale, center)
        self.axis = axis  # counted from the end

    def infer(self, x, *rest):
        return x, Spec((*x.shape[: self.axis], 2), x.dtype)

    def gradient(self, node, dy, _):
        x, stats = node.inputs[0], node.outputs[1]
        gamma, _ = _weights(self, node.inputs[1:])
        dx, dgamma, dbeta = make(LayerNormGrad(self.epsilon, self.scale, self.center, self.axis), dy, x, stats,
                                 *([gamma] if self.scale else []))  # fmt: skip
        return dx, *([dgamma] if self.scale else []), *([dbeta] if self.center else [])

    def lower(self, b, outs, ins):
        x = ins[0]
        gamma, beta = _weights(self, ins[1:])
        rows, n = lead(x.shape, self.axis)
        b.run("layer_norm", (*outs, x, gamma, beta), (rows, n), (self.epsilon,), cost=rows * n * 2 * _COST,
              batched=is_batched(x.shape))  # fmt: skip


@register
class LayerNormGrad(LayerNorm):
    """dy, x, statistics, gamma -> dx, dgamma, dbeta."""

    name = "layer_norm_grad"

    def infer(self, dy, x, *rest):
        c = Spec(x.shape[self.axis :], x.dtype)
        return x, c, c

    def gradient(self, node, *grads):
        return Op.gradient(self, node, *grads)

    def lower(self, b, outs, ins):
        dy, x, stats = ins[:3]
        gamma = ins[3] if self.scale else None
        rows, n = lead(x.shape, self.axis)
        batched = is_batched(x.shape)
        if self.scale or self.center:
            parts = b.temporary((_PARTS, 2, n), x.dtype)
            b.run("layer_norm_parts", (parts, dy, x, stats), (rows, n, _PARTS), (), cost=rows * n * _COST,
                  batched=batched)  # fmt: skip
            b.run("conv2d_sum", (outs[1], outs[2], parts), (rows, n, n, _PARTS), (), cost=n * 2.0, batched=batched)
        b.run("layer_norm_grad", (outs[0], dy, x, stats, gamma), (rows, n), (), cost=rows * n * 2 * _COST,
              batched=batched)  # fmt: skip


@register
class GroupNorm(_Norm):
    """x (n, ..., channels), gamma, beta (channels,) -> y, statistics: normalized by group of channels and sample."""

    name = "group_norm"

    def __init__(self, epsilon, scale=True, center=True, groups=32):
        super().__init__(epsilon, scale, center)
        self.groups = groups

    def infer(self, x, *rest):
        return x, Spec((x.shape[0], self.groups, 2), x.dtype)

    def gradient(self, node, dy, _):
        x, stats = node.inputs[0], node.outputs[1]
        gamma, _ = _weights(self, node.inputs[1:])
        op = GroupNormGrad(self.epsilon, self.scale, self.center, self.groups)
        dx, dgamma, dbeta = make(op, dy, x, stats, *([gamma] if self.scale else []))
        return dx, *([dgamma] if self.scale else []), *([dbeta] if self.center else [])

    def _ints(self, x):
        samples = 1 if is_batched(x.shape) else x.shape[0]
        return samples, size(x.shape[1:-1]), x.shape[-1], self.groups

    def lower(self, b, outs, ins):
        x = ins[0]
        gamma, beta = _weights(self, ins[1:])
        b.run("group_norm", (*outs, x, gamma, beta), self._ints(x), (self.epsilon,), cost=size(x.shape) * 3 * _COST,
              batched=is_batched(x.shape))  # fmt: skip


@register
class GroupNormGrad(GroupNorm):
    """dy, x, statistics, gamma -> dx, dgamma, dbeta."""

    name = "group_norm_grad"

    def infer(self, dy, x, *rest):
        c = Spec(x.shape[-1:], x.dtype)
        return x, c, c

    def gradient(self, node, *grads):
        return Op.gradient(self, node, *grads)

    def lower(self, b, outs, ins):
        dy, x, stats = ins[:3]
        gamma = ins[3] if self.scale else None
        c, batched = x.shape[-1], is_batched(x.shape)
        shares = b.temporary((x.shape[0], 2 * c), x.dtype)
        b.run("group_norm_grad", (outs[0], shares, dy, x, stats, gamma), self._ints(x), (),
              cost=size(x.shape) * 4 * _COST, batched=batched)  # fmt: skip
        both = b.temporary((2 * c,), x.dtype)
        samples = 1 if batched else x.shape[0]
        b.run("sum_first", (both, shares), (samples, 2 * c, 0, 0), (), cost=c, batched=batched)
        b.run("conv2d_sum", (outs[1], outs[2], both), (1, c, c, 1), (), cost=c * 1.0, batched=False)


# ---- functions for users ----


def _check(where, x, **weights):
    shape = shape_of(x)
    for name, w in weights.items():
        if w is not None and tuple(shape_of(w)) != tuple(shape[-1:]):
            raise ValueError(f"{where}: {name} must have shape {tuple(shape[-1:])}, got {tuple(shape_of(w))}")
    return [w for w in weights.values() if w is not None]


def batch_normalization(x, mean, variance, axis=-1, offset=None, scale=None, epsilon=1e-3):
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, one of each for a channel (the last dimension)."""
    if axis not in (-1, len(shape_of(x)) - 1):
        raise ValueError(f"batch_normalization: axis must be the last, got {axis}; transpose the inputs")
    rest = _check("batch_normalization", x, scale=scale, offset=offset)
    _check("batch_normalization", x, mean=mean, variance=variance)
    return apply(Normalize(epsilon, scale is not None, offset is not None), x, mean, variance, *rest)


def batch_norm(x, gamma=None, beta=None, epsilon=1e-3):
    """(y, mean, variance): x normalized by its own statistics of each channel."""
    rest = _check("batch_norm", x, gamma=gamma, beta=beta)
    return apply(BatchNorm(epsilon, gamma is not None, beta is not None), x, *rest)


def layer_normalization(x, gamma=None, beta=None, axis=-1, epsilon=1e-3):
    """x with each row, the dimensions from `axis` on, normalized by its own mean and variance."""
    ndim = len(shape_of(x))
    axes = [axis] if isinstance(axis, int) else list(axis)
    axes = sorted(a % ndim for a in axes) if ndim else []
    if not axes or axes != list(range(ndim - len(axes), ndim)) or 0 in axes:
        raise ValueError(f"layer_normalization: axis must be the last dimensions, got {axis}; transpose the inputs")
    rest = [w for w in (gamma, beta) if w is not None]
    for w in rest:
        if tuple(shape_of(w)) != tuple(shape_of(x)[axes[0] :]):
            raise ValueError(f"layer_normalization: weights must have shape {tuple(shape_of(x)[axes[0] :])}, got "
                             f"{tuple(shape_of(w))}")  # fmt: skip
    return apply(LayerNorm(epsilon, gamma is not None, beta is not None, axes[0] - ndim), x, *rest)[0]


def group_normalization(x, groups, gamma=None, beta=None, epsilon=1e-3):
    """x with each of `groups` groups of channels of each sample normalized by its own mean and variance."""
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"group_normalization: expected (samples, ..., channels), got shape {tuple(shape)}")
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1 or shape[-1] % groups:
        raise ValueError(
            f"group_normalization: groups must be a positive divisor of the {shape[-1]} channels, got {groups!r}"
        )
    rest = _check("group_normalization", x, gamma=gamma, beta=beta)
    return apply(GroupNorm(epsilon, gamma is not None, beta is not None, int(groups)), x, *rest)[0]
