"""Layers that networks of every kind use: Dense, Activation, Dropout, Flatten, Reshape, Input."""

import math

import numpy as np

from fastnn import activations, config, constraints, graph, initializers, ops, regularizers
from fastnn.layers.layer import Layer, auto_name
from fastnn.ops import nn
from fastnn.ops.core import apply
from fastnn.utils import checks


class InputLayer(Layer):
    """Where data enters a model."""

    def __init__(self, shape=None, batch_size=None, dtype=None, name=None, **kwargs):
        kwargs.pop("batch_shape", None) if shape is not None else None
        if shape is None:
            shape = kwargs.pop("batch_shape")[1:]
        super().__init__(name=name or auto_name("input_layer"), dtype=_float(dtype), **kwargs)
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        if any(d is not None and (not isinstance(d, (int, np.integer)) or d < 0) for d in shape):
            raise ValueError(f"Input: shape (without the batch) must be of sizes or None, got {shape}")
        self.shape = shape = tuple(None if d is None else int(d) for d in shape)
        self.batch_size = batch_size
        self.input_dtype = dtype or config.floatx()
        self.built = True
        # integers other than class ids or indices come in as the float type: the batch loader converts them
        kind = "int32" if self.input_dtype in ("int32", "int64") else self.dtype
        sizes = (graph.ANY_LENGTH if d is None else d for d in shape)
        self.output = graph.input_tensor((None, *sizes), kind, self.name)

    def call(self, inputs):
        return inputs

    def get_config(self):
        return {"name": self.name, "shape": list(self.shape), "dtype": self.input_dtype, "batch_size": self.batch_size}


def _float(dtype):
    return dtype if dtype in ("float32", "float64") else config.floatx()


def Input(shape=None, batch_size=None, dtype=None, name=None, batch_shape=None):
    """A symbolic tensor (None, *shape) where data enters a functional model.

    dtype: "float32" or "float64"; "int32" for class ids and indices; other integer types are converted to the float
    type while batches are loaded, so images go in as uint8.

    A None in shape is a length that may differ from batch to batch, for layers whose weights do not depend on it. Each
    length is compiled once.
    """
    if shape is None and batch_shape is None:
        raise ValueError("Input: shape is needed, e.g. Input(shape=(784,))")
    shape = batch_shape[1:] if shape is None else shape
    layer = InputLayer(shape, batch_size, dtype, name)
    tensor = layer.output
    tensor.node.op.content = layer
    return tensor


class Dense(Layer):
    """y = activation(x W + b): x (..., k), W `kernel` (k, units), b `bias` (units,).

    Args:
        units: size of the last dimension of the output.
        activation: name or function, None: linear.
        use_bias: whether b is there.
        kernel_initializer, bias_initializer: first values.
        kernel_regularizer, bias_regularizer, activity_regularizer: penalties added to the loss.
        kernel_constraint, bias_constraint: what weights are put back to after each update.
    """

    supports_masking = True

    def __init__(self, units, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):  # fmt: skip
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if isinstance(units, bool) or not isinstance(units, (int, np.integer)) or units < 1:
            raise ValueError(f"Dense: units must be a positive integer, got {units!r}")
        self.units = int(units)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.kernel = self.bias = None

    def build(self, input_shape):
        if not input_shape or input_shape[-1] is None:
            raise ValueError(
                f"Dense({self.units}) {self.name!r}: needs inputs with at least one dimension besides the batch, "
                f"got shape {input_shape}"
            )
        self.kernel = self.add_weight(
            (input_shape[-1], self.units), self.kernel_initializer, name="kernel",
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint,
        )  # fmt: skip
        if self.use_bias:
            self.bias = self.add_weight((self.units,), self.bias_initializer, name="bias",
                                        regularizer=self.bias_regularizer, constraint=self.bias_constraint)  # fmt: skip

    def call(self, inputs):
        if ops.shape(inputs)[-1] != self.kernel.shape[0]:
            raise ValueError(
                f"Dense({self.units}) {self.name!r}: expected inputs with last dimension {self.kernel.shape[0]}, "
                f"got shape {ops.shape(inputs)}"
            )
        if inputs.dtype == "int32":
            inputs = ops.cast(inputs, self.dtype)
        y = ops.matmul(inputs, self.kernel)
        if self.use_bias:
            y = y + self.bias if not isinstance(y, np.ndarray) else ops.add(y, self.bias)
        return self.activation(y)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }


class Activation(Layer):
    """An activation by name or function."""

    supports_masking = True

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs):
        return self.activation(inputs)

    def get_config(self):
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class Dropout(Layer):
    """In training, sets each element to 0 with probability `rate` and divides the others by 1 - rate (Srivastava et
    al. 2014, inverted); otherwise the identity. Which elements are dropped follows from the seed, the step and the
    position alone. `noise_shape` is not supported; `seed` gives the layer a stream of its own."""

    supports_masking = True

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        where = type(self).__name__
        if not checks.is_number(rate) or not 0 <= rate <= 1:
            raise ValueError(f"{where}: rate must be in [0, 1], got {rate!r}")
        if noise_shape is not None:
            raise ValueError(f"{where}: noise_shape is not supported; use SpatialDropout1D/2D or fastnn.ops")
        self.rate = float(rate)
        self.seed = checks.seed(where, seed)
        self.always = False  # in prediction too: fastnn.ensembles.monte_carlo_predict

    def drops(self, training):
        """Whether anything is dropped."""
        return bool(training or self.always) and self.rate > 0

    def call(self, inputs, training=False):
        if not self.drops(training):
            return inputs
        if self.rate == 1:
            return ops.zeros_like(inputs)
        return apply(nn.Dropout(self.rate, random_stream(self.seed)), inputs)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def random_stream(seed=None):
    """The number of a random stream: from the layer's own seed, else the next of the trace."""
    if seed is not None:
        return (int(seed) & 0x3FFFFFFF) | 0x40000000
    trace = graph.current_trace()
    return trace.next_stream() if trace is not None else 0


class Flatten(Layer):
    """(batch, ...) -> (batch, size)."""

    def call(self, inputs):
        return ops.flatten(inputs)

    def get_config(self):
        return super().get_config()


class Reshape(Layer):
    """(batch, ...) -> (batch, *target_shape); one dimension may be -1."""

    def __init__(self, target_shape, **kwargs):
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)

    def call(self, inputs):
        shape = ops.shape(inputs)
        target = self.target_shape
        if -1 in target:
            known = math.prod(d for d in target if d != -1)
            total = math.prod(shape[1:])
            if target.count(-1) > 1 or known == 0 or total % known:
                raise ValueError(f"Reshape {self.name!r}: {shape[1:]} cannot become {target}")
            target = tuple(total // known if d == -1 else d for d in target)
        elif math.prod(shape[1:]) != math.prod(target):
            raise ValueError(
                f"Reshape {self.name!r}: a sample of shape {shape[1:]} has {math.prod(shape[1:])} elements, which "
                f"cannot become {target}"
            )
        return ops.reshape(inputs, (shape[0], *target))

    def get_config(self):
        return {**super().get_config(), "target_shape": list(self.target_shape)}


class Permute(Layer):
    """Dimensions of a sample in another order, counted from 1."""

    def __init__(self, dims, **kwargs):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(dims) != list(range(1, len(dims) + 1)):
            raise ValueError(f"Permute: dims must be an order of 1..{len(dims)}, got {self.dims}")

    def call(self, inputs):
        return ops.transpose(inputs, (0, *self.dims))

    def get_config(self):
        return {**super().get_config(), "dims": list(self.dims)}


class RepeatVector(Layer):
    """(batch, features) -> (batch, n, features)."""

    def __init__(self, n, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(n, (int, np.integer)) or n < 1:
            raise ValueError(f"RepeatVector: n must be a positive integer, got {n!r}")
        self.n = int(n)

    def call(self, inputs):
        shape = ops.shape(inputs)
        if len(shape) != 2:
            raise ValueError(f"RepeatVector {self.name!r}: expected inputs (batch, features), got shape {shape}")
        return ops.broadcast_to(ops.expand_dims(inputs, 1), (shape[0], self.n, shape[1]))

    def get_config(self):
        return {**super().get_config(), "n": self.n}


class Lambda(Layer):
    """A function of `fastnn.ops` as a layer. It is saved by its registered name only."""

    supports_masking = True

    def __init__(self, function, output_shape=None, mask=None, arguments=None, **kwargs):
        super().__init__(**kwargs)
        self.function = function
        self.arguments = dict(arguments or {})

    def call(self, inputs):
        return self.function(inputs, **self.arguments)

    def get_config(self):
        from fastnn.saving import serialize_keras_object

        return {
            **super().get_config(),
            "function": serialize_keras_object(self.function),
            "arguments": self.arguments,
        }

    @classmethod
    def from_config(cls, config):
        from fastnn.saving import deserialize_keras_object

        return cls(**{**config, "function": deserialize_keras_object(config["function"])})


class ActivityRegularization(Layer):
    """The identity, with l1 * sum |x| + l2 * sum x^2 (the mean over the batch) added to the loss."""

    supports_masking = True

    def __init__(self, l1=0.0, l2=0.0, **kwargs):
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **kwargs)
        self.l1, self.l2 = l1, l2

    def call(self, inputs):
        return inputs

    def get_config(self):
        return {**super().get_config(), "l1": self.l1, "l2": self.l2}


class GaussianNoise(Layer):
    """In training, adds normal noise of standard deviation `stddev`."""

    supports_masking = True

    def __init__(self, stddev, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.stddev = checks.number("GaussianNoise", "stddev", stddev, least=0, most=1)
        self.seed = checks.seed(type(self).__name__, seed)

    def call(self, inputs, training=False):
        if not training or self.stddev == 0:
            return inputs
        return apply(nn.GaussianNoise(self.stddev, random_stream(self.seed)), inputs)

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}
