"""Convolutional layers. Images are (batch, rows, columns, channels), series (batch, steps, channels)."""

import numpy as np

from fastnn import activations, constraints, initializers, ops, regularizers
from fastnn.layers.layer import Layer
from fastnn.ops import convolution as cv


def sizes(where, name, value, rank, least=1):
    """An integer or `rank` integers, each at least `least`, as a tuple."""
    try:
        found = (int(value),) * rank if isinstance(value, (int, np.integer)) else tuple(int(v) for v in value)
    except (TypeError, ValueError):
        found = ()
    if len(found) != rank or min(found) < least or isinstance(value, bool):
        kind = "an integer" if rank == 1 else f"an integer or {rank} integers"
        raise ValueError(f"{where}: {name} must be {kind} >= {least}, got {value!r}")
    return found


class _Convolution(Layer):
    """What all convolutions share: their options, checks, weights by name, bias and activation.

    `_kernels` names the layer's kernels: each has an initializer, a regularizer and a constraint.
    """

    rank = 2
    paddings = ("valid", "same")
    _kernels = ("kernel",)

    def __init__(self, given, kwargs):
        """given: the arguments of the layer's own constructor by name."""
        super().__init__(activity_regularizer=given["activity_regularizer"], **kwargs)
        where = type(self).__name__
        cv.channels_last(given["data_format"], f"{where} {self.name!r}")
        for name in ("kernel_size", "strides", "dilation_rate"):
            setattr(self, name, sizes(where, name, given[name], self.rank))
        self.padding = str(given["padding"]).lower()
        if self.padding not in self.paddings:
            raise ValueError(f"{where}: padding must be one of {self.paddings}, got {given['padding']!r}")
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{where}: strides > 1 and dilation_rate > 1 cannot be combined, got {self.strides} and "
                f"{self.dilation_rate}"
            )
        self.data_format = "channels_last"
        self.activation = activations.get(given["activation"])
        self.use_bias = bool(given["use_bias"])
        for name, module in self._weight_options():
            setattr(self, name, module.get(given[name]))
        self.bias = None

    @classmethod
    def _weight_options(cls):
        """(name, module) of what is said of each weight."""
        for part in (*cls._kernels, "bias"):
            for module in (initializers, regularizers, constraints):
                kind = module.__name__.rpartition(".")[2].removesuffix("s")
                yield f"{part.removesuffix('_kernel')}_{kind}", module

    @property
    def _where(self):
        return f"{type(self).__name__} {self.name!r}"

    def _channels(self, input_shape):
        if input_shape is None or len(input_shape) != self.rank + 2 or input_shape[-1] is None:
            names = "(batch, rows, columns, channels)" if self.rank == 2 else "(batch, steps, channels)"
            raise ValueError(f"{self._where}: expected inputs {names}, got shape {input_shape}")
        return input_shape[-1]

    def _add(self, name, shape):
        short = name.removesuffix("_kernel")
        return self.add_weight(
            shape, getattr(self, f"{short}_initializer"), name=name, regularizer=getattr(self, f"{short}_regularizer"),
            constraint=getattr(self, f"{short}_constraint"),
        )  # fmt: skip

    def _finish(self, y):
        if self.use_bias:
            y = ops.add(y, self.bias)
        return self.activation(y)

    def _options(self):
        return {
            "strides": self.strides, "padding": self.padding, "dilation_rate": self.dilation_rate, "where": self._where,
        }  # fmt: skip

    def get_config(self):
        config = {
            **super().get_config(),
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": list(self.dilation_rate),
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
        }
        for name, module in self._weight_options():
            config[name] = module.serialize(getattr(self, name))
        return config


def _filters(where, filters, groups=1):
    if isinstance(filters, bool) or not isinstance(filters, (int, np.integer)) or filters < 1:
        raise ValueError(f"{where}: filters must be a positive integer, got {filters!r}")
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1 or filters % groups:
        raise ValueError(f"{where}: groups must be a positive divisor of filters={filters}, got {groups!r}")
    return int(filters)


class _Conv(_Convolution):
    def build(self, input_shape):
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ValueError(f"{self._where}: {channels} channels cannot be divided into groups={self.groups}")
        self.kernel = self._add("kernel", (*self.kernel_size, channels // self.groups, self.filters))
        if self.use_bias:
            self.bias = self._add("bias", (self.filters,))

    def call(self, inputs):
        return self._finish(ops.conv(inputs, self.kernel, groups=self.groups, **self._options()))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "groups": self.groups}


class Conv2D(_Conv):
    """y = activation(x * w + b), the convolution (cross-correlation) of images with `filters` kernels.

        (batch, rows, columns, channels) -> (batch, new rows, new columns, filters)

    Weights: kernel (rows, columns, channels / groups, filters), bias (filters,).

    Args:
        filters: channels of the output.
        kernel_size, strides, dilation_rate: an integer or (rows, columns); strides and dilation not both above 1.
        padding: "valid" (none), or "same": zeros all around, so that without strides the size stays.
        data_format: "channels_last".
        groups: channels and filters are cut into as many groups, each convolved for itself.
        activation: name or function, None: linear.
        use_bias: whether b is there.
        kernel_initializer, bias_initializer: first values.
        kernel_regularizer, bias_regularizer, activity_regularizer: penalties added to the loss.
        kernel_constraint, bias_constraint: what weights are put back to after each update.
    """

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1),
                 groups=1, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):  # fmt: skip
        super().__init__(locals(), kwargs)
        self.filters, self.groups = _filters(type(self).__name__, filters, groups), int(groups)


class Conv1D(Conv2D):
    """`Conv2D` along one dimension: (batch, steps, channels) -> (batch, new steps, filters). padding="causal" puts all
    zeros before the first step, so that a step sees none after it. Weights: kernel (steps, channels / groups, filters),
    bias (filters,)."""

    rank = 1
    paddings = ("valid", "same", "causal")

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1, groups=1,
                 activation=None, use_bias=True, kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, **kwargs):  # fmt: skip
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate, groups, activation,
                         use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
                         activity_regularizer, kernel_constraint, bias_constraint, **kwargs)  # fmt: skip


class DepthwiseConv2D(_Convolution):
    """Each channel convolved with `depth_multiplier` kernels of its own.

        (batch, rows, columns, channels) -> (batch, new rows, new columns, channels * depth_multiplier)

    Weights: kernel (rows, columns, channels, depth_multiplier), bias. Arguments as of `Conv2D`.
    """

    _kernels = ("depthwise_kernel",)

    def __init__(self, kernel_size, strides=(1, 1), padding="valid", depth_multiplier=1, data_format=None,
                 dilation_rate=(1, 1), activation=None, use_bias=True, depthwise_initializer="glorot_uniform",
                 bias_initializer="zeros", depthwise_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 depthwise_constraint=None, bias_constraint=None, **kwargs):  # fmt: skip
        super().__init__(locals(), kwargs)
        (self.depth_multiplier,) = sizes(type(self).__name__, "depth_multiplier", depth_multiplier, 1)

    def build(self, input_shape):
        channels = self._channels(input_shape)
        self.kernel = self.add_weight(
            (*self.kernel_size, channels, self.depth_multiplier), self.depthwise_initializer, name="kernel",
            regularizer=self.depthwise_regularizer, constraint=self.depthwise_constraint,
        )  # fmt: skip
        if self.use_bias:
            self.bias = self._add("bias", (channels * self.depth_multiplier,))

    def call(self, inputs):
        return self._finish(ops.depthwise_conv(inputs, self.kernel, **self._options()))

    def get_config(self):
        return {**super().get_config(), "depth_multiplier": self.depth_multiplier}


class DepthwiseConv1D(DepthwiseConv2D):
    """`DepthwiseConv2D` along one dimension: (batch, steps, channels)."""

    rank = 1

    def __init__(self, kernel_size, strides=1, padding="valid", depth_multiplier=1, data_format=None, dilation_rate=1,
                 **kwargs):  # fmt: skip
        super().__init__(kernel_size, strides, padding, depth_multiplier, data_format, dilation_rate, **kwargs)


class SeparableConv2D(_Convolution):
    """A depthwise convolution, then one of 1x1 that mixes the channels.

        (batch, rows, columns, channels) -> (batch, new rows, new columns, filters)

    Weights: depthwise_kernel (rows, columns, channels, depth_multiplier), pointwise_kernel (1, 1, channels *
    depth_multiplier, filters), bias (filters,). Arguments as of `Conv2D`.
    """

    _kernels = ("depthwise_kernel", "pointwise_kernel")

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1),
                 depth_multiplier=1, activation=None, use_bias=True, depthwise_initializer="glorot_uniform",
                 pointwise_initializer="glorot_uniform", bias_initializer="zeros", depthwise_regularizer=None,
                 pointwise_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 depthwise_constraint=None, pointwise_constraint=None, bias_constraint=None, **kwargs):  # fmt: skip
        super().__init__(locals(), kwargs)
        self.filters = _filters(type(self).__name__, filters)
        (self.depth_multiplier,) = sizes(type(self).__name__, "depth_multiplier", depth_multiplier, 1)

    def build(self, input_shape):
        channels, m = self._channels(input_shape), self.depth_multiplier
        self.depthwise_kernel = self._add("depthwise_kernel", (*self.kernel_size, channels, m))
        self.pointwise_kernel = self._add("pointwise_kernel", (*(1,) * self.rank, channels * m, self.filters))
        if self.use_bias:
            self.bias = self._add("bias", (self.filters,))

    def call(self, inputs):
        y = ops.separable_conv(inputs, self.depthwise_kernel, self.pointwise_kernel, **self._options())
        return self._finish(y)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "depth_multiplier": self.depth_multiplier}


class SeparableConv1D(SeparableConv2D):
    """`SeparableConv2D` along one dimension: (batch, steps, channels)."""

    rank = 1

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate, **kwargs)


class Conv2DTranspose(_Convolution):
    """The transposed convolution: what the gradient of a `Conv2D` by its input does, as a layer. It enlarges images.

        (batch, rows, columns, channels) -> (batch, rows * stride, columns * stride, filters) with padding="same"

    Weights: kernel (rows, columns, filters, channels), bias (filters,). `output_padding` adds rows and columns at the
    end; the other arguments are those of `Conv2D`.
    """

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", output_padding=None, data_format=None,
                 dilation_rate=(1, 1), activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):  # fmt: skip
        super().__init__(locals(), kwargs)
        where = type(self).__name__
        self.filters = _filters(where, filters)
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = sizes(where, "output_padding", output_padding, self.rank, 0)
            if any(p >= s for p, s in zip(self.output_padding, self.strides, strict=True)):
                raise ValueError(f"{where}: output_padding {output_padding} must be less than strides {self.strides}")

    def build(self, input_shape):
        self.kernel = self._add("kernel", (*self.kernel_size, self.filters, self._channels(input_shape)))
        if self.use_bias:
            self.bias = self._add("bias", (self.filters,))

    def call(self, inputs):
        y = ops.conv_transpose(inputs, self.kernel, output_padding=self.output_padding, **self._options())
        return self._finish(y)

    def get_config(self):
        padding = None if self.output_padding is None else list(self.output_padding)
        return {**super().get_config(), "filters": self.filters, "output_padding": padding}


class Conv1DTranspose(Conv2DTranspose):
    """`Conv2DTranspose` along one dimension: (batch, steps, channels)."""

    rank = 1

    def __init__(self, filters, kernel_size, strides=1, padding="valid", output_padding=None, data_format=None,
                 dilation_rate=1, **kwargs):  # fmt: skip
        super().__init__(filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate, **kwargs)
