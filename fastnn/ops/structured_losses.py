"""Losses of more than one row at a time: circle (pairs of samples), ctc (alignments of steps with labels).

Kernels and formulas: csrc/kernels/structured_losses.inc.c.
"""

import numpy as np

from fastnn.graph import Spec, Tensor
from fastnn.ops import elementwise as ew
from fastnn.ops import movement as sh
from fastnn.ops.core import Op, apply, common_dtype, is_batched, make, register, shape_of, size
from fastnn.ops.nn import RowLoss
from fastnn.variables import Variable

_PAIR = 20.0  # ns beside the products


class _Pairs(Op):
    def __init__(self, gamma, margin, apart):
        self.gamma, self.margin, self.apart = float(gamma), float(margin), bool(apart)

    def _run(self, b, outs, ins, x, others, *more):
        """The kernel over the rows of `x`, each with all rows of `others`."""
        batched, columns = is_batched(x.shape), size(x.shape[1:])
        count = 0 if is_batched(others.shape) else others.shape[0]
        rows = 1 if batched else x.shape[0]
        cost = (columns * 0.3 + _PAIR) * (count or 32) * rows
        b.run(self.name, (*outs, *ins), (rows, columns, count, int(self.apart), *more), (self.gamma, self.margin),
              cost=cost, batched=batched)  # fmt: skip


@register
class CircleLoss(_Pairs):
    """x (rows, columns), ids of x, references z (others, columns), ids of z -> loss (rows,), and for the gradient
    (rows, 3)."""

    name = "circle_loss"
    float_input = 0

    def infer(self, x, ids, z, z_ids):
        for what, e, i in (("embeddings", x, ids), ("reference embeddings", z, z_ids)):
            if len(e.shape) != 2 or i.shape != e.shape[:1]:
                raise ValueError(
                    f"circle: {what} must be (samples, features) with one class id a sample, got shapes {e.shape} "
                    f"and {i.shape}"
                )
        if x.shape[1] != z.shape[1]:
            raise ValueError(f"circle: embeddings of {x.shape[1]} features and references of {z.shape[1]} do not fit")
        return Spec(x.shape[:1], x.dtype), Spec((x.shape[0], 3), x.dtype)

    def gradient(self, node, dloss, _):
        x, ids, z, z_ids = node.inputs
        op, parts = CircleGrad(self.gamma, self.margin, self.apart), node.outputs[1]
        dx = make(op, x, ids, z, z_ids, parts, dloss)[0]
        other = CircleGrad(self.gamma, self.margin, self.apart, references=True)
        return dx, None, make(other, z, z_ids, x, ids, parts, dloss)[0], None

    def lower(self, b, outs, ins):
        self._run(b, outs, ins, ins[0], ins[2])


@register
class CircleGrad(_Pairs):
    """Rows, their ids, the others, their ids, parts and dloss of the anchors -> gradient of the rows: the anchors, or
    with `references` what they are compared with."""

    name = "circle_grad"
    float_input = 0

    def __init__(self, gamma, margin, apart, references=False):
        super().__init__(gamma, margin, apart)
        self.references = bool(references)

    def infer(self, x, *others):
        return x

    def lower(self, b, outs, ins):
        self._run(b, outs, ins, ins[0], ins[2], int(self.references))


def circle(ids, x, z_ids, z, gamma, margin, apart):
    """(rows,): the loss of each row of x. Ids are (rows,) or (rows, 1). apart: rows j of x and of z are no pair."""
    dtype = common_dtype((x, z), "circle")
    inputs = (x, _ids(_flat(ids)), z, _ids(_flat(z_ids)))
    return apply(CircleLoss(gamma, margin, apart), *inputs, dtypes=[dtype, "int32"] * 2)[0]


@register
class CtcLoss(RowLoss):
    """The loss of each sample of y (steps, classes) against t, class ids (labels,) that end at their first 0."""

    def infer(self, y, t, *w):
        if len(y.shape) != 3 or y.shape[1] < 1 or y.shape[2] < 2:
            raise ValueError(f"ctc: y_pred must be (samples, steps, classes) with 2 classes or more, got {y.shape}")
        if len(t.shape) != 2 or t.shape[0] != y.shape[0]:
            raise ValueError(f"ctc: y_true must be (samples, labels) for y_pred {y.shape}, got {t.shape}")
        return (*([Spec(y.shape[:1], y.dtype)] if self.loss else ()), *([y] if self.dy else ()))

    def lower(self, b, outs, ins):
        outs = list(outs)
        loss = outs.pop(0) if self.loss else None
        dy = outs.pop(0) if self.dy else None
        y, t = ins[:2]
        batched, (steps, classes), labels = is_batched(y.shape), y.shape[1:], t.shape[1]
        rows = 1 if batched else y.shape[0]
        b.run("ctc", (loss, dy, y, t, ins[2] if self.weighted else None),
              (rows, steps * classes, int(self.mean), classes, labels), (0.0, self.scale),
              cost=rows * steps * (classes * 3.0 + labels * 20.0), batched=batched)  # fmt: skip


def ctc(labels, y):
    """(samples,): the loss of logits y (samples, steps, classes) for labels (samples, most), 0 where there are none."""
    dtype, labels = common_dtype((y,), "ctc"), _ids(labels)
    if not isinstance(labels, (Tensor, Variable)) and len(shape_of(y)) == 3:
        classes = shape_of(y)[-1]
        wrong = (labels < 0) | (labels >= classes)
        if wrong.any():
            raise ValueError(f"ctc: labels must be in 0..{classes - 1} (0 ends them), got {labels[wrong].flat[0]}")
    return apply(CtcLoss("ctc"), y, labels, dtypes=[dtype, "int32"])


def _ids(x):
    """Class ids as int32."""
    if isinstance(x, (Tensor, Variable)):
        return x if x.dtype == "int32" else ew.cast(x, "int32")
    return np.asarray(x).astype(np.int32)


def _flat(x):
    """(samples, 1) as (samples,)."""
    shape = shape_of(x)
    if len(shape) == 2 and shape[1] == 1:
        return sh.squeeze(x, 1) if isinstance(x, (Tensor, Variable)) else np.asarray(x)[:, 0]
    return x
