"""Pooling layers. Images are (batch, rows, columns, channels), series (batch, steps, channels)."""

from fastnn import ops
from fastnn.layers.convolution import sizes
from fastnn.layers.layer import Layer
from fastnn.ops.convolution import channels_last


class _Pooling(Layer):
    """One number for each window of each channel.

    Args:
        pool_size: window, an integer or one a dimension.
        strides: from window to window; `pool_size` if None.
        padding: "valid" (windows lie inside) or "same" (ceil(size / stride) windows; what is outside does not count).
        data_format: "channels_last".
    """

    rank = 2

    def __init__(self, pool_size, strides=None, padding="valid", data_format=None, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        where = type(self).__name__
        channels_last(data_format, f"{where} {self.name!r}")
        self.pool_size = sizes(where, "pool_size", pool_size, self.rank)
        self.strides = self.pool_size if strides is None else sizes(where, "strides", strides, self.rank)
        self.padding = str(padding).lower()
        if self.padding not in ("valid", "same"):
            raise ValueError(f"{where}: padding must be 'valid' or 'same', got {padding!r}")
        self.data_format = "channels_last"

    def call(self, inputs):
        where = f"{type(self).__name__} {self.name!r}"
        if len(ops.shape(inputs)) != self.rank + 2:
            names = "(batch, rows, columns, channels)" if self.rank == 2 else "(batch, steps, channels)"
            raise ValueError(f"{where}: expected inputs {names}, got shape {ops.shape(inputs)}")
        return type(self)._operation(inputs, self.pool_size, self.strides, self.padding, where=where)

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": list(self.pool_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
        }


class MaxPooling2D(_Pooling):
    """The largest element of each window of (batch, rows, columns, channels)."""

    _operation = staticmethod(ops.max_pool)

    def __init__(self, pool_size=(2, 2), strides=None, padding="valid", data_format=None, name=None, **kwargs):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


class MaxPooling1D(_Pooling):
    """The largest element of each window of (batch, steps, channels)."""

    rank = 1
    _operation = staticmethod(ops.max_pool)

    def __init__(self, pool_size=2, strides=None, padding="valid", data_format=None, name=None, **kwargs):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


class AveragePooling2D(_Pooling):
    """The mean of each window of (batch, rows, columns, channels), of the elements inside the image."""

    _operation = staticmethod(ops.average_pool)


class AveragePooling1D(_Pooling):
    """The mean of each window of (batch, steps, channels), of the steps that exist."""

    rank = 1
    _operation = staticmethod(ops.average_pool)


class _GlobalPooling(Layer):
    """One number for each channel of each sample; with `keepdims` dimensions of extent 1 stay."""

    rank = 2

    def __init__(self, data_format=None, keepdims=False, **kwargs):
        super().__init__(**kwargs)
        channels_last(data_format, f"{type(self).__name__} {self.name!r}")
        self.data_format = "channels_last"
        self.keepdims = bool(keepdims)

    def call(self, inputs):
        shape = ops.shape(inputs)
        if len(shape) != self.rank + 2:
            raise ValueError(f"{type(self).__name__} {self.name!r}: expected {self.rank + 2} dimensions, got {shape}")
        y = type(self)._operation(inputs, shape[1:-1])
        return y if self.keepdims else ops.reshape(y, (shape[0], shape[-1]))

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format, "keepdims": self.keepdims}


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest element of each channel: (batch, rows, columns, channels) -> (batch, channels)."""

    _operation = staticmethod(ops.max_pool)


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest element of each channel: (batch, steps, channels) -> (batch, channels)."""

    rank = 1
    _operation = staticmethod(ops.max_pool)


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of each channel: (batch, rows, columns, channels) -> (batch, channels)."""

    _operation = staticmethod(ops.average_pool)


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of each channel, over the steps that count: (batch, steps, channels) -> (batch, channels)."""

    rank = 1
    supports_masking = True
    _operation = staticmethod(ops.average_pool)

    def call(self, inputs, mask=None):
        if mask is None:
            return super().call(inputs)
        mask = ops.expand_dims(ops.cast(mask, self.dtype), -1)
        total = ops.sum(ops.multiply(inputs, mask), axis=1, keepdims=self.keepdims)
        return ops.divide(total, ops.sum(mask, axis=1, keepdims=self.keepdims))

    def compute_mask(self, inputs, mask=None):
        return None


MaxPool1D, MaxPool2D, AvgPool1D, AvgPool2D = MaxPooling1D, MaxPooling2D, AveragePooling1D, AveragePooling2D
GlobalMaxPool1D, GlobalMaxPool2D = GlobalMaxPooling1D, GlobalMaxPooling2D
GlobalAvgPool1D, GlobalAvgPool2D = GlobalAveragePooling1D, GlobalAveragePooling2D
