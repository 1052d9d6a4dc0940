"""Layers around layers: both directions of a sequence, and one layer for each of its steps."""

from fastnn import ops
from fastnn.layers.activation import ELU, LeakyReLU, ReLU
from fastnn.layers.core import Activation, Dense, Dropout
from fastnn.layers.layer import Layer
from fastnn.layers.recurrent import Recurrent

_MERGE_MODES = ("concat", "sum", "mul", "ave", None)


def _copied(layer, **changes):
    return type(layer).from_config({**layer.get_config(), **changes})


class Bidirectional(Layer):
    """A recurrent layer from the first step to the last beside one from the last to the first (Schuster and Paliwal
    1997), their outputs of each step merged: (batch, units of both) or, where they return sequences, (batch, time,
    units of both). The first state of a call is that of the forward layer, then that of the backward one; so are the
    states that it returns.

    Args:
        layer: a recurrent layer; both directions are fresh copies of it.
        merge_mode: "concat", "sum", "mul", "ave", or None: a tuple of both.
        backward_layer: the layer for the other direction, with go_backwards=True.
    """

    supports_masking = True

    def __init__(self, layer, merge_mode="concat", weights=None, backward_layer=None, **kwargs):
        for one in (layer, backward_layer):
            if one is not None and not isinstance(one, Recurrent):
                raise ValueError(f"Bidirectional: expected a recurrent layer, got {one!r}")
        if merge_mode not in _MERGE_MODES:
            raise ValueError(f"Bidirectional: merge_mode must be one of {_MERGE_MODES}, got {merge_mode!r}")
        super().__init__(**kwargs)
        plain = layer.name.removeprefix("forward_")
        self.forward_layer = _copied(layer, name=f"forward_{plain}")
        if backward_layer is None:
            plain = layer.name.removeprefix("backward_")
            backward_layer = _copied(layer, name=f"backward_{plain}", go_backwards=not layer.go_backwards)
        self.backward_layer = backward_layer
        pair = (self.forward_layer, self.backward_layer)
        if pair[0].go_backwards == pair[1].go_backwards:
            raise ValueError("Bidirectional: the two layers must go in different directions (go_backwards)")
        for name in ("stateful", "return_sequences", "return_state"):
            if getattr(pair[0], name) != getattr(pair[1], name):
                raise ValueError(f"Bidirectional: {name} must be the same in both layers")
        if merge_mode in ("sum", "mul", "ave") and pair[0].state_size[0] != pair[1].state_size[0]:
            raise ValueError(
                f"Bidirectional: merge_mode {merge_mode!r} needs outputs of one size, got {pair[0].state_size[0]} and "
                f"{pair[1].state_size[0]}; pass 'concat' or None"
            )
        for one in pair:
            one.zero_output_for_mask = one.return_sequences
        self.merge_mode = merge_mode
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        self.stateful = False  # its layers are
        self._first_weights = weights

    def build(self, input_shape):
        for one in (self.forward_layer, self.backward_layer):
            one.build(input_shape)
            one.built = True
            for v in one._variables:
                v.path = f"{self.name}/{one.name}/{v.name}"
        if self._first_weights is not None:
            self.set_weights(self._first_weights)

    def call(self, sequences, initial_state=None, mask=None, training=False):
        first = [None, None]
        if initial_state is not None:
            half = len(self.forward_layer.state_size)
            count = half + len(self.backward_layer.state_size)
            if not isinstance(initial_state, (list, tuple)) or len(initial_state) != count:
                raise ValueError(
                    f"Bidirectional {self.name!r}: initial_state must be a list of {count} states, those of the "
                    f"forward layer first, got {initial_state!r:.80}"
                )
            first = [initial_state[:half], initial_state[half:]]
        results = [
            one(sequences, initial_state=state, mask=mask, training=training, aligned=True)
            for one, state in zip((self.forward_layer, self.backward_layer), first, strict=True)
        ]
        states = []
        if self.return_state:
            states = [s for result in results for s in result[1:]]
            results = [result[0] for result in results]
        y, z = results
        if self.merge_mode == "concat":
            merged = ops.concatenate([y, z], axis=-1)
        elif self.merge_mode == "sum":
            merged = ops.add(y, z)
        elif self.merge_mode == "ave":
            merged = ops.multiply(ops.add(y, z), 0.5)
        elif self.merge_mode == "mul":
            merged = ops.multiply(y, z)
        else:
            return (y, z, *states)
        return (merged, *states) if self.return_state else merged

    def compute_mask(self, inputs, mask):
        out = mask if self.return_sequences else None
        outputs = [out, out] if self.merge_mode is None else [out]
        if self.return_state:
            outputs += [None] * (len(self.forward_layer.state_size) * 2)
        return outputs if len(outputs) > 1 else out

    def reset_state(self):
        """Sets the states of both layers back to zeros."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def get_config(self):
        from fastnn.saving import serialize_keras_object

        return {
            **super().get_config(),
            "layer": serialize_keras_object(self.forward_layer),
            "backward_layer": serialize_keras_object(self.backward_layer),
            "merge_mode": self.merge_mode,
        }

    @classmethod
    def from_config(cls, config):
        from fastnn.saving import deserialize_keras_object

        config = dict(config)
        for name in ("layer", "backward_layer"):
            if config.get(name) is not None:
                config[name] = deserialize_keras_object(config[name])
        return cls(**config)


class TimeDistributed(Layer):
    """A layer applied to each step of (batch, time, ...); its results lie along axis 1. A mask (batch, time, ...) that
    says what counts within a step is the layer's mask of that step."""

    supports_masking = True
    #: Layers that treat every step alike when given all at once.
    _at_once = (Dense, Activation, Dropout, ReLU, LeakyReLU, ELU)

    def __init__(self, layer, **kwargs):
        if not isinstance(layer, Layer):
            raise ValueError(f"TimeDistributed: expected a layer, got {layer!r}")
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape):
        if input_shape is None or len(input_shape) < 3 or input_shape[1] is None:
            raise ValueError(
                f"TimeDistributed {self.name!r}: expected inputs (batch, time, ...), got shape {input_shape}"
            )
        if not self.layer.built:
            self.layer.build((input_shape[0], *input_shape[2:]))
            self.layer.built = True
            for v in self.layer._variables:
                v.path = f"{self.name}/{v.name}"

    def call(self, inputs, training=None, mask=None):
        shape = ops.shape(inputs)
        if len(shape) < 3 or shape[1] == 0:
            raise ValueError(f"TimeDistributed {self.name!r}: expected inputs (batch, time, ...), got shape {shape}")
        if mask is not None and tuple(ops.shape(mask)[:2]) != tuple(shape[:2]):
            raise ValueError(
                f"TimeDistributed {self.name!r}: mask must begin with the shape {tuple(shape[:2])} for inputs of shape "
                f"{shape}, got {tuple(ops.shape(mask))}"
            )
        kwargs = {"training": training} if self.layer._takes("training") else {}
        if type(self.layer) in self._at_once:
            return self.layer(inputs, **kwargs)
        outputs = []
        for t in range(shape[1]):
            at = (slice(None), t)
            if self._masks_within(mask) and self.layer._takes("mask"):
                kwargs["mask"] = ops.getitem(mask, at)
            outputs.append(self.layer(ops.getitem(inputs, at), **kwargs))
        return ops.stack(outputs, axis=1)

    @staticmethod
    def _masks_within(mask):
        """Whether a mask says more than which steps count: what counts within each."""
        return mask is not None and len(ops.shape(mask)) > 2

    def compute_mask(self, inputs, mask=None):
        """A mask (batch, time, ...) is passed on where the layer keeps what counts within a step; else a step counts
        if anything in it does."""
        if not self._masks_within(mask):
            return mask
        first = (slice(None), 0)
        if self.layer.compute_mask(ops.getitem(inputs, first), ops.getitem(mask, first)) is not None:
            return mask
        return ops.max(mask, axis=tuple(range(2, len(ops.shape(mask)))))

    def get_config(self):
        from fastnn.saving import serialize_keras_object

        return {**super().get_config(), "layer": serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        from fastnn.saving import deserialize_keras_object

        return cls(**{**config, "layer": deserialize_keras_object(config["layer"])})
