"""Activations as layers of their own, with their parameters."""

from fastnn import initializers, ops, regularizers
from fastnn.layers._check import positive
from fastnn.layers.layer import Layer
from fastnn.utils import checks


class ReLU(Layer):
    """max(x, 0), with a slope below `threshold` and a ceiling if wanted."""

    supports_masking = True

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **kwargs):
        super().__init__(**kwargs)
        self.max_value = (
            None if max_value is None else checks.number("ReLU", "max_value", max_value, least=0, finite=False)
        )
        self.negative_slope = checks.number("ReLU", "negative_slope", negative_slope, least=0, finite=False)
        self.threshold = checks.number("ReLU", "threshold", threshold, least=0, finite=False)

    def call(self, inputs):
        from fastnn import activations

        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def get_config(self):
        return {
            **super().get_config(),
            "max_value": self.max_value,
            "negative_slope": self.negative_slope,
            "threshold": self.threshold,
        }


class LeakyReLU(Layer):
    """x where positive, else negative_slope * x."""

    supports_masking = True

    def __init__(self, negative_slope=0.3, **kwargs):
        super().__init__(**kwargs)
        self.negative_slope = checks.number("LeakyReLU", "negative_slope", negative_slope, least=0, finite=False)

    def call(self, inputs):
        return ops.leaky_relu(inputs, self.negative_slope)

    def get_config(self):
        return {**super().get_config(), "negative_slope": self.negative_slope}


class ELU(Layer):
    """x where positive, else alpha * (e^x - 1)."""

    supports_masking = True

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = checks.number("ELU", "alpha", alpha, least=0)

    def call(self, inputs):
        return ops.elu(inputs, self.alpha)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}


class Softmax(Layer):
    """e^x / sum(e^x) along `axis`."""

    supports_masking = True

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = checks.integer("Softmax", "axis", axis)

    def call(self, inputs):
        return ops.softmax(inputs, self.axis)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}


class PReLU(Layer):
    """x where positive, else alpha * x with alpha learned (He et al. 2015), one for each element of a sample;
    `shared_axes` share it along dimensions (counted from 1)."""

    supports_masking = True

    def __init__(self, alpha_initializer="zeros", alpha_regularizer=None, shared_axes=None, **kwargs):
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.shared_axes = [shared_axes] if isinstance(shared_axes, int) else shared_axes
        self.alpha = None

    def build(self, input_shape):
        shape = list(input_shape[1:])
        for axis in self.shared_axes or ():
            shape[axis - 1] = 1
        self.alpha = self.add_weight(shape, self.alpha_initializer, name="alpha", regularizer=self.alpha_regularizer)

    def call(self, inputs):
        return ops.add(ops.relu(inputs), ops.multiply(self.alpha, ops.subtract(inputs, ops.relu(inputs))))

    def get_config(self):
        return {
            **super().get_config(),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": regularizers.serialize(self.alpha_regularizer),
            "shared_axes": self.shared_axes,
        }


class Maxout(Layer):
    """The largest of `pieces` linear functions of x for each unit (Goodfellow et al. 2013): x (..., k),
    kernel (k, units * pieces). fastnn's own."""

    def __init__(self, units, pieces=2, kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, **kwargs):  # fmt: skip
        super().__init__(**kwargs)
        self.units, self.pieces = positive("Maxout", "units", units), positive("Maxout", "pieces", pieces)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel = self.bias = None

    def build(self, input_shape):
        columns = self.units * self.pieces
        self.kernel = self.add_weight((input_shape[-1], columns), self.kernel_initializer, name="kernel",
                                      regularizer=self.kernel_regularizer)  # fmt: skip
        self.bias = self.add_weight((columns,), self.bias_initializer, name="bias")

    def call(self, inputs):
        z = ops.add(ops.matmul(inputs, self.kernel), self.bias)
        return ops.max(ops.reshape(z, (*ops.shape(z)[:-1], self.units, self.pieces)), axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "pieces": self.pieces,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
        }
