"""Recurrent layers: SimpleRNN (Elman), LSTM, GRU and Jordan. Sequences are (batch, time, features).

The products of the inputs with their weights are one product for all steps; the recurrence is one kernel over the whole
sequence (`fastnn.ops.recurrence`). Cells with an activation that the kernels do not know run step by step instead.
"""

import numpy as np

from fastnn import activations, constraints, graph, initializers, ops, regularizers
from fastnn.layers._check import positive, share
from fastnn.layers.core import random_stream
from fastnn.layers.layer import Layer
from fastnn.ops import nn
from fastnn.ops.core import apply, is_tensor
from fastnn.ops.recurrent import CELLS, sequence_product
from fastnn.utils import checks
from fastnn.variables import Variable

#: Activations that the kernels know, with their parameters.
_KERNEL_ACTIVATIONS = {
    getattr(activations, name): (name, parameter)
    for name, parameter in {
        "linear": 0.0, "relu": 0.0, "leaky_relu": 0.2, "sigmoid": 0.0, "tanh": 0.0, "elu": 1.0, "selu": 0.0,
        "exponential": 0.0, "relu6": 0.0, "hard_sigmoid": 0.0, "softsign": 0.0,
    }.items()
}  # fmt: skip


def zero_state(x, units):
    """Zeros (batch, units) beside a tensor or array x (batch, ...)."""
    if is_tensor(x):
        return ops.broadcast_to(graph.constant(np.zeros((1, units)), x.dtype), (x.shape[0], units))
    return np.zeros((len(x), units), x.dtype)


def keep(mask, new, old):
    """`new` where mask (batch,) is 1, `old` where it is 0."""
    return new if mask is None else ops.where(ops.expand_dims(mask, -1), new, old)


class Recurrent(Layer):
    """What the recurrent layers have in common; see `LSTM` for the arguments."""

    cell = ""  # of fastnn.ops.recurrence, or "" where there is no kernel
    supports_masking = True
    _own = ()  # further arguments of a subclass, for get_config

    def __init__(self, units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
                 kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
                 recurrent_constraint, bias_constraint, dropout, recurrent_dropout, seed, return_sequences,
                 return_state, go_backwards, stateful, unroll, zero_output_for_mask=False, **kwargs):  # fmt: skip
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        where = type(self).__name__
        self.units = positive(where, "units", units)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.dropout = share(where, "dropout", dropout)
        self.recurrent_dropout = share(where, "recurrent_dropout", recurrent_dropout)
        self.seed = checks.seed(where, seed)
        self.return_sequences, self.return_state = bool(return_sequences), bool(return_state)
        self.go_backwards, self.stateful, self.unroll = bool(go_backwards), bool(stateful), bool(unroll)
        self.zero_output_for_mask = bool(zero_output_for_mask)
        self.kernel = self.recurrent_kernel = self.bias = None
        object.__setattr__(self, "states", None)
        object.__setattr__(self, "_states_fresh", True)

    # ---- weights ----

    @property
    def state_size(self):
        """Units of each state."""
        return [self.units] * (2 if self.cell == "lstm" else 1)

    def _check_shape(self, shape):
        if shape is None or len(shape) != 3 or shape[1] is None or shape[2] is None:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: expected sequences (batch, time, features), got shape {shape}"
            )
        if shape[1] < 1 or shape[2] < 1:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: sequences of shape {shape} have no steps or features"
            )

    def build(self, input_shape):
        self._check_shape(input_shape)
        gates = CELLS[self.cell]
        self.kernel = self._weight("kernel", (input_shape[-1], gates * self.units))
        self.recurrent_kernel = self._weight("recurrent", (self.units, gates * self.units), "recurrent_kernel")
        if self.use_bias:
            self.bias = self._bias()

    def _weight(self, role, shape, name=None, initializer=None):
        return self.add_weight(
            shape, initializer or getattr(self, f"{role}_initializer"), name=name or role,
            regularizer=getattr(self, f"{role}_regularizer"), constraint=getattr(self, f"{role}_constraint"),
        )  # fmt: skip

    def _bias(self):
        return self._weight("bias", (self.units,))

    def _input_bias(self):
        return self.bias

    # ---- state ----

    def prepare_states(self, rows):
        """The first state of `rows` samples, of a stateful layer. The number of samples may change after
        `reset_state` only."""
        if self.states is not None and len(self.states[0].value) != rows:
            if not self._states_fresh:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r} is stateful and holds the state of "
                    f"{len(self.states[0].value)} samples, so the batch must have as many, got {rows}; reset_state() "
                    "first"
                )
            object.__setattr__(self, "states", None)
        if self.states is None:
            made = [Variable(np.zeros((rows, n)), dtype=self.dtype, trainable=False) for n in self.state_size]
            object.__setattr__(self, "states", made)
            graph.touch()
        object.__setattr__(self, "_states_fresh", False)
        return self.states

    def reset_state(self):
        """Sets the state of a stateful layer back to zeros; after this the number of samples may be another."""
        for state in self.states or ():
            state.value[...] = 0
        object.__setattr__(self, "_states_fresh", True)

    reset_states = reset_state

    def get_initial_state(self, batch_size):
        """Zeros: an array (batch_size, units) for each state."""
        return [np.zeros((batch_size, n), self.dtype) for n in self.state_size]

    # ---- computing ----

    def call(self, sequences, initial_state=None, mask=None, training=False, aligned=False):
        """The result for sequences (batch, time, features), from `initial_state`, zeros by default: an array (batch,
        units) or a list of them, as return_state gives. `mask` (batch, time): where it is 0 the state stays.
        `aligned`: outputs of a layer that goes backwards in the order of the inputs."""
        shape = ops.shape(sequences)
        self._check_shape(shape)
        if self.built and self.kernel is not None and shape[-1] != self.kernel.shape[0]:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: expected sequences of {self.kernel.shape[0]} features, got "
                f"shape {shape}"
            )
        states = self._initial(initial_state, sequences)
        if mask is not None:
            if tuple(ops.shape(mask)) != (shape[0], shape[1]):
                raise ValueError(
                    f"{type(self).__name__} {self.name!r}: mask must have shape {(shape[0], shape[1])} for sequences "
                    f"of shape {shape}, got {tuple(ops.shape(mask))}"
                )
            mask = ops.cast(mask, self.dtype)
        factors = None
        if training and self.dropout:
            one = ops.ones_like(ops.getitem(sequences, (slice(None), slice(0, 1))))
            stream = random_stream(self.seed)
            sequences = ops.multiply(sequences, apply(nn.Dropout(self.dropout, stream), one))
        if training and self.recurrent_dropout:
            stream = random_stream(None if self.seed is None else self.seed + 1)
            one = ops.affine(zero_state(sequences, self.state_size[0]), 1.0, 1.0)
            factors = apply(nn.Dropout(self.recurrent_dropout, stream), one)
        known = [_KERNEL_ACTIVATIONS.get(f) for f in self._activations()]
        if self.cell and None not in known:
            outputs, last, states = self._fused(sequences, states, mask, factors, known, aligned)
        else:
            outputs, last, states = self._unrolled(sequences, states, mask, factors, aligned)
        if initial_state is not None and (rows := self._rows(sequences)) is not None:
            for variable, state in zip(self.prepare_states(rows), states, strict=True):
                variable.assign(state)
        result = outputs if self.return_sequences else last
        return (result, *states) if self.return_state else result

    def _activations(self):
        return [self.activation]

    def _initial(self, given, x):
        """The first state: a list, of None where it is zero."""
        if given is not None:
            given = list(given) if isinstance(given, (list, tuple)) else [given]
            rows = ops.shape(x)[0]
            wanted = [(rows, n) for n in self.state_size]
            if [tuple(ops.shape(s)) for s in given] != wanted:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r}: initial_state must be of shapes {wanted}, got "
                    f"{[tuple(ops.shape(s)) for s in given]}"
                )
            return given
        rows = self._rows(x)
        return [None] * len(self.state_size) if rows is None else self.prepare_states(rows)

    def _rows(self, x):
        """The samples whose state a stateful layer keeps; None of others, and where only shapes are asked for."""
        trace = graph.current_trace()
        if not self.stateful or (is_tensor(x) and trace is None):
            return None
        return trace.rows if is_tensor(x) else len(x)

    def _project(self, x):
        return sequence_product(x, self.kernel, self._input_bias() if self.use_bias else None)

    def _fused(self, x, states, mask, factors, known, aligned):
        first = dict(zip("hc", states, strict=False))
        bias = self._recurrent_bias() if self.use_bias else None
        y, h, c = ops.recurrence(
            self.cell, self._project(x), self.recurrent_kernel, activation=known[0], recurrent_activation=known[-1],
            bias=bias, mask=mask, factors=factors, reverse=self.go_backwards, aligned=aligned and self.go_backwards,
            zeros=self.zero_output_for_mask, stateful=isinstance(states[0], Variable),
            reset_after=getattr(self, "reset_after", True), **first,
        )  # fmt: skip
        last = h
        if mask is not None and (states[0] is not None or self.zero_output_for_mask):
            # a masked step's output is then not always the state
            end = 0 if aligned and self.go_backwards else -1
            last = ops.getitem(y, (slice(None), end))
        return y, last, [h] if c is None else [h, c]

    def _recurrent_bias(self):
        return None

    def _unrolled(self, x, states, mask, factors, aligned):
        """The same step by step, from operations."""
        steps = ops.shape(x)[1]
        projected = self._project(x)
        kept = [s for s in states if isinstance(s, Variable)]
        states = [
            zero_state(x, n) if s is None else nn.sample_rows(s) if isinstance(s, Variable) else s
            for s, n in zip(states, self.state_size, strict=True)
        ]
        order = range(steps)[::-1] if self.go_backwards else range(steps)
        outputs, before = [], None
        for t in order:
            m = None if mask is None else ops.getitem(mask, (slice(None), t))
            y, new = self._step(ops.getitem(projected, (slice(None), t)), states, factors)
            before = ops.zeros_like(y) if before is None else before
            y = keep(m, y, ops.zeros_like(y) if self.zero_output_for_mask else before)
            states = [keep(m, a, b) for a, b in zip(new, states, strict=True)]
            before = y
            outputs.append(y)
        for variable, state in zip(kept, states, strict=False):
            variable.assign(state)
        last = outputs[-1]
        if aligned and self.go_backwards:
            outputs = outputs[::-1]
        return ops.stack(outputs, axis=1) if self.return_sequences else last, last, states

    def _step(self, x, states, factors):
        """(output, new states) from the projected inputs of one step."""
        raise NotImplementedError

    def compute_mask(self, inputs, mask):
        out = mask if self.return_sequences else None
        return [out] + [None] * len(self.state_size) if self.return_state else out

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": initializers.serialize(self.recurrent_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "recurrent_regularizer": regularizers.serialize(self.recurrent_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "recurrent_constraint": constraints.serialize(self.recurrent_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "stateful": self.stateful,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
            **{name: getattr(self, name) for name in self._own},
        }


class SimpleRNN(Recurrent):
    """Elman 1990: h' = activation(x W + h U + b), and h' is the output. Arguments as for `LSTM`.

    Weights: kernel W (features, units), recurrent_kernel U (units, units), bias b (units,).
    """

    cell = "simple_rnn"

    def __init__(self, units, activation="tanh", use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros", kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0,
                 return_sequences=False, return_state=False, go_backwards=False, stateful=False, unroll=False,
                 seed=None, **kwargs):  # fmt: skip
        super().__init__(units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
                         kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer,
                         kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout, seed,
                         return_sequences, return_state, go_backwards, stateful, unroll, **kwargs)  # fmt: skip

    def _step(self, x, states, factors):
        h = states[0] if factors is None else ops.multiply(states[0], factors)
        y = self.activation(ops.add(x, ops.matmul(h, self.recurrent_kernel)))
        return y, [y]


class LSTM(Recurrent):
    """Long short-term memory, Hochreiter and Schmidhuber 1997, with forget gates (Gers et al. 2000):

        i, f, o = recurrent_activation(x W + h U + b) of each gate,  g = activation(x W_g + h U_g + b_g)
        c' = f c + i g,  h' = o activation(c'), and h' is the output

    Weights: kernel W (features, 4 units), recurrent_kernel U (units, 4 units), bias b (4 units,), gates i, f, g, o.
    Call: layer(sequences (batch, time, features), initial_state=[h, c]) gives the last output (batch, units).

    Args:
        units: size of the state and of the output.
        activation, recurrent_activation: names or functions. Step by step, and so slower, with those that the kernels
            do not know: silu, gelu, softplus and your own.
        use_bias: whether b is there; unit_forget_bias: whether it starts at 1 for the forget gate.
        kernel_initializer, recurrent_initializer, bias_initializer and likewise _regularizer, _constraint: of W, U, b.
        dropout: share of the inputs that is zeroed in training, the same in all steps and gates (Gal and Ghahramani
            2016).
        recurrent_dropout: the same of the state where it is multiplied by U; one mask for all gates, where Keras draws
            one for each, and then of the inputs too.
        return_sequences: the outputs of all steps (batch, time, units), not of the last alone.
        return_state: (output, state ...) instead of the output; the states are h and, of an LSTM, c (batch, units).
        go_backwards: from the last step to the first; outputs are then in that order.
        stateful: sample j of a batch goes on where sample j of the batch before ended, until `reset_state`. The states
            are not among the weights.
        unroll, use_cudnn: accepted for Keras' sake; every layer runs as one kernel.
        zero_output_for_mask: masked steps give zeros instead of the output before.
    """

    cell = "lstm"
    _own = ("unit_forget_bias",)

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None,
                 dropout=0.0, recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False,
                 go_backwards=False, stateful=False, unroll=False, use_cudnn="auto", **kwargs):  # fmt: skip
        super().__init__(units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
                         kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer,
                         kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout, seed,
                         return_sequences, return_state, go_backwards, stateful, unroll, **kwargs)  # fmt: skip
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = bool(unit_forget_bias)

    def _activations(self):
        return [self.activation, self.recurrent_activation]

    def _bias(self):
        initializer, units = self.bias_initializer, self.units
        if self.unit_forget_bias:

            def initializer(shape, dtype=None):
                first = self.bias_initializer((units,), dtype=dtype)
                rest = self.bias_initializer((2 * units,), dtype=dtype)
                return np.concatenate([first, np.ones(units, dtype), rest])

        return self._weight("bias", (4 * units,), initializer=initializer)

    def _step(self, x, states, factors):
        h, c = states
        h = h if factors is None else ops.multiply(h, factors)
        i, f, g, o = ops.split(ops.add(x, ops.matmul(h, self.recurrent_kernel)), 4, axis=-1)
        i, f, o = (self.recurrent_activation(gate) for gate in (i, f, o))
        c = ops.add(ops.multiply(f, c), ops.multiply(i, self.activation(g)))
        h = ops.multiply(o, self.activation(c))
        return h, [h, c]

    def get_config(self):
        return {**super().get_config(), "recurrent_activation": activations.serialize(self.recurrent_activation)}


class GRU(Recurrent):
    """Gated recurrent unit, Cho et al. 2014:

        z, r = recurrent_activation(x W + b + h U + b') of each gate
        g = activation(x W_g + b_g + r (h U_g + b'_g)), or without reset_after: activation(x W_g + b_g + (r h) U_g)
        h' = z h + (1 - z) g, and h' is the output

    Weights: kernel W (features, 3 units), recurrent_kernel U (units, 3 units), bias (2, 3 units): b and b'; without
    reset_after (3 units,). Gates z, r, g. Other arguments as for `LSTM`.
    """

    cell = "gru"
    _own = ("reset_after",)

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False, go_backwards=False,
                 stateful=False, unroll=False, reset_after=True, use_cudnn="auto", **kwargs):  # fmt: skip
        super().__init__(units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
                         kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer,
                         kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout, seed,
                         return_sequences, return_state, go_backwards, stateful, unroll, **kwargs)  # fmt: skip
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = bool(reset_after)

    def _activations(self):
        return [self.activation, self.recurrent_activation]

    def _bias(self):
        return self._weight("bias", (2, 3 * self.units) if self.reset_after else (3 * self.units,))

    def _input_bias(self):
        return ops.getitem(self.bias, 0) if self.reset_after else self.bias

    def _recurrent_bias(self):
        return ops.getitem(self.bias, 1) if self.reset_after else None

    def _step(self, x, states, factors):
        (h,), units = states, self.units
        into = h if factors is None else ops.multiply(h, factors)
        bias = self._recurrent_bias() if self.use_bias else None
        xs = ops.split(x, 3, axis=-1)
        if self.reset_after:
            inner = ops.matmul(into, self.recurrent_kernel)
            parts = ops.split(inner if bias is None else ops.add(inner, bias), 3, axis=-1)
        else:
            inner = ops.matmul(into, ops.getitem(self.recurrent_kernel, (slice(None), slice(0, 2 * units))))
            parts = ops.split(inner, 2, axis=-1)
        z, r = (self.recurrent_activation(ops.add(a, b)) for a, b in zip(xs[:2], parts[:2], strict=True))
        if self.reset_after:
            back = ops.multiply(r, parts[2])
        else:
            last = ops.getitem(self.recurrent_kernel, (slice(None), slice(2 * units, None)))
            back = ops.matmul(ops.multiply(r, into), last)
        g = self.activation(ops.add(xs[2], back))
        h = ops.add(ops.multiply(z, h), ops.multiply(ops.affine(z, -1.0, 1.0), g))
        return h, [h]

    def get_config(self):
        return {**super().get_config(), "recurrent_activation": activations.serialize(self.recurrent_activation)}


class Jordan(Recurrent):
    """Jordan 1986: the output is fed back through context units, which remember with the factor `decay`:

        s' = decay s + y,  h = activation(x W + s' U + b),  y' = output_activation(h V + b')

    y is the output of the step before, zeros at first; y' (batch, time, output_units) is the output. fastnn's own:
    Keras has no such layer.

    Weights: kernel W (features, units), recurrent_kernel U (output_units, units), bias b (units,), output_kernel V
    (units, output_units), output_bias b' (output_units,).

    With `teacher` targets (batch, time, output_units) in the call, training feeds the target of the step before
    back instead of the output (teacher forcing, Williams and Zipser 1989); without training they are ignored.
    `initial_state` is [y, s] of the step before the first; `recurrent_dropout` is that of s' where it is multiplied by
    U. Other arguments as for `SimpleRNN`. The layer runs step by step.
    """

    _own = ("output_units", "decay")

    def __init__(self, units, output_units, activation="tanh", output_activation=None, decay=0.0, use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, return_sequences=False, return_state=False, go_backwards=False, stateful=False,
                 unroll=False, seed=None, **kwargs):  # fmt: skip
        super().__init__(units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
                         kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer,
                         kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout, seed,
                         return_sequences, return_state, go_backwards, stateful, unroll, **kwargs)  # fmt: skip
        self.output_units = positive("Jordan", "output_units", output_units)
        self.output_activation = activations.get(output_activation)
        self.decay = float(share("Jordan", "decay", decay))
        self.output_kernel = self.output_bias = None

    @property
    def state_size(self):
        return [self.output_units] * 2

    def build(self, input_shape):
        self._check_shape(input_shape)
        self.kernel = self._weight("kernel", (input_shape[-1], self.units))
        self.recurrent_kernel = self._weight("recurrent", (self.output_units, self.units), "recurrent_kernel")
        if self.use_bias:
            self.bias = self._weight("bias", (self.units,))
        self.output_kernel = self._weight("kernel", (self.units, self.output_units), "output_kernel")
        if self.use_bias:
            self.output_bias = self._weight("bias", (self.output_units,), "output_bias")

    def call(self, sequences, teacher=None, initial_state=None, mask=None, training=False, aligned=False):
        object.__setattr__(self, "_teacher", None)
        if teacher is not None:
            wanted = (*ops.shape(sequences)[:2], self.output_units)
            if tuple(ops.shape(teacher)) != wanted:
                raise ValueError(
                    f"Jordan {self.name!r}: teacher must have shape {wanted}, got {tuple(ops.shape(teacher))}"
                )
            steps = wanted[1]
            if training:  # the targets in the order in which they are fed back
                order = range(steps)[::-1] if self.go_backwards else range(steps)
                fed = [ops.getitem(teacher, (slice(None), t)) for t in order]
                object.__setattr__(self, "_teacher", iter(fed))
        return super().call(sequences, initial_state, mask, training, aligned)

    def _step(self, x, states, factors):
        y, context = states
        context = ops.add(ops.multiply(context, self.decay), y) if self.decay else y
        into = context if factors is None else ops.multiply(context, factors)
        h = self.activation(ops.add(x, ops.matmul(into, self.recurrent_kernel)))
        out = ops.matmul(h, self.output_kernel)
        out = self.output_activation(out if self.output_bias is None else ops.add(out, self.output_bias))
        return out, [out if self._teacher is None else next(self._teacher), context]

    def get_config(self):
        return {**super().get_config(), "output_activation": activations.serialize(self.output_activation)}
