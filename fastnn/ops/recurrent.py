"""Recurrences over whole sequences: one operation, and one kernel, each way."""

from fastnn.graph import Spec
from fastnn.kernels.products import ACTIVATIONS as CODES
from fastnn.ops import elementwise as ew
from fastnn.ops import movement as sh
from fastnn.ops.core import Op, apply, is_batched, lead, make, register, shape_of, size
from fastnn.ops.linear import MatMul, WeightGrad

_NS_PER_FLOP = 0.012  # one thread, float32
_NARROW = 64  # up to this many columns, copying them in order takes longer than it saves

#: Gates of each cell.
CELLS = {"simple_rnn": 1, "lstm": 4, "gru": 3}
#: Activations the kernels know, whose gradient follows from their result.
ACTIVATIONS = {name: code for name, code in CODES.items() if name not in (None, "silu")}
_RESULTS = {
    "simple_rnn": ("y", "h", "before"),
    "lstm": ("y", "h", "c", "before", "gates", "extra"),
    "gru": ("y", "h", "before", "gates", "extra"),
}


class _Cell(Op):
    """What a recurrence and its gradient have in common.

    Args:
        cell: "simple_rnn", "lstm" or "gru".
        activation, recurrent_activation: (name, parameter).
        given: which of "bias" (of the recurrent products, gru), "h", "c" (first state), "mask" and "factors" come
            behind the inputs that are always there.
        reverse: from the last step to the first.
        aligned: outputs in the order of the inputs, not of the steps.
        zeros: masked steps give zeros, not the output before.
        stateful: h and c are variables (samples, units) that the last state is written to.
        reset_after: of a gru, whether the reset gate comes after the product.
    """

    def __init__(self, cell, activation=("tanh", 0.0), recurrent_activation=("sigmoid", 0.0), given=(), reverse=False,
                 aligned=False, zeros=False, stateful=False, reset_after=True, **more):  # fmt: skip
        self.cell = cell
        self.activation, self.recurrent_activation = tuple(activation), tuple(recurrent_activation)
        self.given = tuple(given)
        self.reverse, self.aligned, self.zeros = reverse, aligned, zeros
        self.stateful, self.reset_after = stateful, reset_after
        for name, value in more.items():
            setattr(self, name, value)

    def _emit(self, b, kernel, operands, shape, units):
        """shape: of the tensor (batch, time, gates units)."""
        batched = is_batched(shape)
        ints = (1 if batched else shape[0], shape[1], units, CODES[self.activation[0]],
                CODES[self.recurrent_activation[0]], self.reverse, self.aligned, self.zeros, self.stateful,
                self.reset_after)  # fmt: skip
        work = size(shape)
        b.run(kernel, operands, tuple(map(int, ints)), (self.activation[1], self.recurrent_activation[1]),
              cost=work * (2.0 * units * _NS_PER_FLOP + 1.0), batched=batched)  # fmt: skip


@register
class Recurrence(_Cell):
    """A recurrent layer without its input weights: x (batch, time, gates units) is their product with the inputs, for
    all steps at once; U (units, gates units) are the recurrent weights. See csrc/kernels/recurrent.inc.c for the
    equations.

    Results, those named in `results`: "y" (batch, time, units), the outputs; "h" and "c" (batch, units), the last
    state; and what the gradient needs: "before", "gates", "extra" (of a simple cell "before" and the last "h"). The
    compiler drops those that nobody reads.
    """

    def __init__(self, cell, *args, results=None, **kwargs):
        super().__init__(cell, *args, **kwargs)
        self.results = tuple(results or _RESULTS[cell])

    @property
    def name(self):
        return self.cell

    @property
    def has_effect(self):
        return self.stateful

    @property
    def in_place(self):  # the gates may take the memory of x
        return ((self.results.index("gates"), 0),) if "gates" in self.results else ()

    def infer(self, x, u, *rest):
        gates = CELLS[self.cell]
        units = u.shape[0]
        if len(x.shape) != 3 or len(u.shape) != 2 or u.shape[1] != gates * units or x.shape[2] != gates * units:
            raise ValueError(
                f"{self.cell}: x must be (batch, time, {gates} * units) and U (units, {gates} * units), got "
                f"{x.shape} and {u.shape}"
            )
        if x.shape[1] < 1:
            raise ValueError(f"{self.cell}: sequences must have at least one step, got inputs of shape {x.shape}")
        n, time = x.shape[:2]
        expected = {
            "bias": (gates * units,),
            "h": (n, units),
            "c": (n, units),
            "mask": (n, time),
            "factors": (n, units),
        }
        for name, spec in zip(self.given, rest, strict=True):
            fits = spec.shape == expected[name] or (self.stateful and name in "hc" and spec.shape[1:] == (units,))
            if not fits:
                raise ValueError(
                    f"{self.cell}: {name} must have shape {expected[name]} for inputs of shape {x.shape}, got "
                    f"{spec.shape}"
                )
        shapes = {"y": (n, time, units), "h": (n, units), "c": (n, units), "before": (n, time, units),
                  "gates": x.shape, "extra": (n, time, units)}  # fmt: skip
        return tuple(Spec(shapes[name], x.dtype) for name in self.results)

    def lower(self, b, outs, ins):
        out, given = dict(zip(self.results, outs, strict=True)), dict(zip(self.given, ins[2:], strict=True))
        x, u = ins[:2]
        operands = (*(out.get(name) for name in ("y", "h", "c", "before", "gates", "extra")), x, u,
                    *(given.get(name) for name in ("bias", "h", "c", "mask", "factors")))  # fmt: skip
        self._emit(b, self.cell, operands, x.shape, u.shape[0])

    def gradient(self, node, *grads):
        _, u, *rest = node.inputs
        given = dict(zip(self.given, rest, strict=True))
        made = dict(zip(self.results, node.outputs, strict=True))
        coming = {name: g for name, g in zip(self.results, grads, strict=True) if g is not None}
        if set(coming) - {"y", "h", "c"}:
            raise ValueError(f"{self.cell}: what is kept for the gradient has none itself")
        state = [] if self.stateful else [name for name in ("h", "c") if name in given]
        settings = {k: v for k, v in self.config().items() if k not in ("results", "given", "stateful")}
        beside = [name for name in ("mask", "factors") if name in given]
        op = RecurrenceGrad(**settings, given=beside, coming=tuple(coming), by=tuple(state))
        kept = [made[n] for n in (("before", "h") if self.cell == "simple_rnn" else ("before", "gates", "extra"))]
        outs = dict(zip(op.results, make(op, u, *kept, *coming.values(), *(given[n] for n in beside)), strict=True))
        found = {"x": outs["x"], **{name: outs[name] for name in state}}
        before = made["before"]
        if "factors" in given:
            before = ew.multiply(before, sh.expand_dims(given["factors"], 1))
        right = ()
        if self.cell == "gru":
            right = (before, outs["inner"]) if self.reset_after else (made["extra"], outs["x"])
        found["u"], found["bias"] = make(SequenceWeightGrad(), before, outs["x"], *right)
        return (found["x"], found["u"], *(found.get(name) for name in self.given))


@register
class RecurrenceGrad(_Cell):
    """The gradient of a Recurrence from its last step to its first. Inputs: U, what was kept ("before", "gates",
    "extra"; of a simple cell "before" and the last "h"), the gradients `coming` ("y", "h", "c"), then those of `given`.
    Results: "x"; for a gru that resets after the product "inner", by that product; and those of `by` ("h", "c"), by
    the first state."""

    def __init__(self, cell, *args, coming=("y",), by=(), **kwargs):
        super().__init__(cell, *args, **kwargs)
        self.coming, self.by = tuple(coming), tuple(by)

    @property
    def name(self):
        return f"{self.cell}_grad"

    @property
    def results(self):
        return ("x", *(("inner",) if self.cell == "gru" and self.reset_after else ()), *self.by)

    @property
    def in_place(self):  # x over the gates
        return () if self.cell == "simple_rnn" else ((0, 2), *(((1, 3),) if "inner" in self.results else ()))

    def infer(self, u, before, gates, *rest):
        state = (before.shape[0], before.shape[2])
        x = before.shape if self.cell == "simple_rnn" else gates.shape
        shapes = {"x": x, "inner": before.shape, "h": state, "c": state}
        return tuple(Spec(shapes[name], gates.dtype) for name in self.results)

    def lower(self, b, outs, ins):
        out = dict(zip(self.results, outs, strict=True))
        u, before, gates, *rest = ins
        extra = None if self.cell == "simple_rnn" else rest.pop(0)
        coming = dict(zip(self.coming, rest, strict=False))
        given = dict(zip(self.given, rest[len(self.coming) :], strict=True))
        operands = (*(out.get(name) for name in ("x", "inner", "h", "c")), *(coming.get(n) for n in ("y", "h", "c")),
                    u, before, gates, extra, given.get("mask"), given.get("factors"))  # fmt: skip
        self._emit(b, f"{self.cell}_grad", operands, outs[0].shape, u.shape[0])


@register
class SequenceWeightGrad(Op):
    """dw (m, n) = a^T b and db (n,) = sum of b over all samples and steps, of a (batch, time, m) and b (batch, time,
    n). With c (batch, time, m) and d as well (a gru): the last third of the columns is c^T d's last columns instead."""

    name = "sequence_weight_grad"

    def infer(self, a, b, *rest):
        if a.shape[:-1] != b.shape[:-1]:
            raise ValueError(f"sequence_weight_grad: shapes {a.shape} and {b.shape} differ in their rows")
        return Spec((a.shape[-1], b.shape[-1]), b.dtype), Spec((b.shape[-1],), b.dtype)

    def lower(self, b, outs, ins):
        rows, m = lead(ins[0].shape, 2)
        n = ins[1].shape[-1]
        if len(ins) == 2 and n <= _NARROW:
            WeightGrad(bias=True).lower(b, outs, ins)
            return
        other, ldd = (n // 3, ins[3].shape[-1]) if len(ins) > 2 else (0, 0)
        b.run("sequence_weight_grad", (*outs, *ins), (rows, m, n - other, n, other, ldd, ldd - other),
              cost=2.0 * rows * m * n * _NS_PER_FLOP, batched=is_batched(ins[0].shape))  # fmt: skip


@register
class SequenceProduct(Op):
    """y (batch, time, n) = x (batch, time, m) w + b: the products of all steps' inputs at once. Inputs x, w (m, n) and,
    where there is one, b (n,)."""

    name = "sequence_product"

    def infer(self, x, w, *bias):
        if len(x.shape) != 3 or len(w.shape) != 2 or x.shape[2] != w.shape[0]:
            raise ValueError(f"sequence_product: shapes {x.shape} and {w.shape} do not fit")
        return Spec((*x.shape[:2], w.shape[1]), x.dtype)

    def gradient(self, node, dy):
        x, w, *bias = node.inputs
        dw, db = make(SequenceWeightGrad(), x, dy)
        return (make(MatMul(True), dy, w)[0], dw, *[db for _ in bias])

    def lower(self, b, outs, ins):
        x, w, *bias = ins
        MatMul(bias=bool(bias)).lower(b, outs, (x, w, *bias))


def recurrence(cell, x, recurrent_kernel, *, activation=("tanh", 0.0), recurrent_activation=("sigmoid", 0.0), bias=None,
               h=None, c=None, mask=None, factors=None, reverse=False, aligned=False, zeros=False, stateful=False,
               reset_after=True):  # fmt: skip
    """(outputs (batch, time, units), last h, last c or None) of a recurrent cell.

    cell                   "simple_rnn", "lstm" or "gru"
    x                      (batch, time, gates units): the inputs times their weights, plus biases; the gates as in
                           Keras
    recurrent_kernel       (units, gates units)
    activation             (name of ACTIVATIONS, parameter); recurrent_activation likewise
    bias                   (3 units,) of a gru: added to its recurrent products
    h, c                   (batch, units) first state, zeros by default; with `stateful` variables (samples, units)
                           that also take the last one
    mask                   (batch, time): where it is 0 the state stays, and the output repeats the one before
                           (zeros when nothing was before, or with `zeros`)
    factors                (batch, units): h is multiplied by these in all products (recurrent dropout)
    reverse                from the last step to the first; outputs are in the order of the steps unless `aligned`
    reset_after            of a gru, whether the reset gate comes after the product
    """
    if cell not in CELLS:
        raise ValueError(f"recurrence: cell must be one of {', '.join(CELLS)}, got {cell!r}")
    for name, value in (("activation", activation), ("recurrent_activation", recurrent_activation)):
        if value[0] not in ACTIVATIONS:
            raise ValueError(f"recurrence: {name} must be one of {', '.join(ACTIVATIONS)}, got {value[0]!r}")
    if len(shape_of(x)) != 3:
        raise ValueError(f"recurrence: x must be (batch, time, gates * units), got shape {tuple(shape_of(x))}")
    beside = {"bias": bias, "h": h, "c": c, "mask": mask, "factors": factors}
    given = tuple(name for name, value in beside.items() if value is not None)
    op = Recurrence(cell, activation, recurrent_activation, given, reverse, aligned, zeros, stateful, reset_after)
    found = dict(zip(op.results, apply(op, x, recurrent_kernel, *(beside[n] for n in given)), strict=True))
    return found["y"], found["h"], found.get("c")


def sequence_product(x, w, bias=None):
    """x w + bias of sequences x (batch, time, m): (batch, time, n), for weights w (m, n) and a bias (n,) or None."""
    return apply(SequenceProduct(), x, w, *([] if bias is None else [bias]))
