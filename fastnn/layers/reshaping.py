"""Layers that enlarge, pad and cut images and series, and dropout of whole channels."""

import numpy as np

from fastnn import ops
from fastnn.layers.convolution import sizes
from fastnn.layers.core import Dropout
from fastnn.layers.layer import Layer
from fastnn.ops.convolution import channels_last
from fastnn.ops.core import apply
from fastnn.ops.movement import SliceGrad
from fastnn.ops.pooling import repeat_pixels


class UpSampling2D(Layer):
    """(batch, rows, columns, channels) enlarged by `size`: each pixel repeated ("nearest") or a linear blend of the
    four around ("bilinear")."""

    def __init__(self, size=(2, 2), data_format=None, interpolation="nearest", **kwargs):
        super().__init__(**kwargs)
        channels_last(data_format, f"UpSampling2D {self.name!r}")
        self.size = sizes("UpSampling2D", "size", size, 2)
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"UpSampling2D: interpolation must be 'nearest' or 'bilinear', got {interpolation!r}")
        self.data_format, self.interpolation = "channels_last", interpolation

    def call(self, inputs):
        if len(ops.shape(inputs)) != 4:
            raise ValueError(
                f"UpSampling2D {self.name!r}: expected (batch, rows, columns, channels), got {ops.shape(inputs)}"
            )
        if self.interpolation == "nearest":
            return repeat_pixels(inputs, self.size)
        y = inputs
        for axis, times in zip((1, 2), self.size, strict=True):
            blend = _linear(ops.shape(inputs)[axis], times).T.astype(self.dtype)
            y = ops.swapaxes(ops.matmul(ops.swapaxes(y, axis, 3), blend), axis, 3)
        return y

    def get_config(self):
        return {
            **super().get_config(), "size": list(self.size), "data_format": self.data_format,
            "interpolation": self.interpolation,
        }  # fmt: skip


def _linear(n, times):
    """(n * times, n): linear interpolation between pixels' centers, the border repeated."""
    at = np.clip((np.arange(n * times) + 0.5) / times - 0.5, 0, n - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(n)), 0)


class UpSampling1D(Layer):
    """(batch, steps, channels) with each step repeated `size` times."""

    def __init__(self, size=2, **kwargs):
        super().__init__(**kwargs)
        (self.size,) = sizes("UpSampling1D", "size", size, 1)

    def call(self, inputs):
        n, steps, channels = ops.shape(inputs)
        y = repeat_pixels(ops.reshape(inputs, (n, 1, steps, channels)), (1, self.size))
        return ops.reshape(y, (n, steps * self.size, channels))

    def get_config(self):
        return {**super().get_config(), "size": self.size}


def _pairs(where, name, value, rank):
    """Sizes before and after along each dimension: an integer, one a dimension, or pairs."""
    try:
        if isinstance(value, (int, np.integer)):
            found = ((int(value),) * 2,) * rank
        elif rank == 1:
            found = (tuple(int(v) for v in value),)
        else:
            found = tuple(
                (int(v),) * 2 if isinstance(v, (int, np.integer)) else tuple(int(w) for w in v) for v in value
            )
    except (TypeError, ValueError):
        found = ()
    if len(found) != rank or any(len(p) != 2 or min(p) < 0 for p in found):
        kind = (
            "an integer or (before, after)" if rank == 1 else "an integer, two integers, or two pairs (before, after)"
        )
        raise ValueError(f"{where}: {name} must be {kind}, none negative, got {value!r}")
    return found


class _Padding(Layer):
    rank = 2

    def __init__(self, padding, data_format=None, **kwargs):
        super().__init__(**kwargs)
        channels_last(data_format, f"{type(self).__name__} {self.name!r}")
        self.padding = _pairs(type(self).__name__, "padding", padding, self.rank)

    def call(self, inputs):
        shape = ops.shape(inputs)
        if len(shape) != self.rank + 2:
            raise ValueError(f"{type(self).__name__} {self.name!r}: expected {self.rank + 2} dimensions, got {shape}")
        inner = tuple(n + a + b for n, (a, b) in zip(shape[1:-1], self.padding, strict=True))
        begin = (*(a for a, _ in self.padding), 0)
        if shape[0] is not None:
            begin = (0, *begin)
        return apply(SliceGrad((shape[0], *inner, shape[-1]), begin, (1,) * len(begin)), inputs)

    def get_config(self):
        padding = [list(p) for p in self.padding]
        return {**super().get_config(), "padding": padding if self.rank == 2 else padding[0]}


class ZeroPadding2D(_Padding):
    """Zeros around (batch, rows, columns, channels): `padding` all around, (rows, columns), or ((top, bottom), (left,
    right))."""

    def __init__(self, padding=(1, 1), data_format=None, **kwargs):
        super().__init__(padding, data_format, **kwargs)


class ZeroPadding1D(_Padding):
    """Zeros before and after the steps of (batch, steps, channels)."""

    rank = 1

    def __init__(self, padding=1, data_format=None, **kwargs):
        super().__init__(padding, data_format, **kwargs)


class _Cropping(Layer):
    rank = 2

    def __init__(self, cropping, data_format=None, **kwargs):
        super().__init__(**kwargs)
        channels_last(data_format, f"{type(self).__name__} {self.name!r}")
        self.cropping = _pairs(type(self).__name__, "cropping", cropping, self.rank)

    def call(self, inputs):
        shape = ops.shape(inputs)
        if len(shape) != self.rank + 2 or any(
            n - a - b < 1 for n, (a, b) in zip(shape[1:-1], self.cropping, strict=True)
        ):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: cropping {self.cropping} leaves nothing of inputs of shape "
                f"{shape}"
            )
        cuts = [slice(a, n - b) for n, (a, b) in zip(shape[1:-1], self.cropping, strict=True)]
        return ops.getitem(inputs, (slice(None), *cuts))

    def get_config(self):
        cropping = [list(p) for p in self.cropping]
        return {**super().get_config(), "cropping": cropping if self.rank == 2 else cropping[0]}


class Cropping2D(_Cropping):
    """Rows and columns cut off: `cropping` all around, (rows, columns), or ((top, bottom), (left, right))."""

    def __init__(self, cropping=((0, 0), (0, 0)), data_format=None, **kwargs):
        super().__init__(cropping, data_format, **kwargs)


class Cropping1D(_Cropping):
    """Steps cut off before and after."""

    rank = 1

    def __init__(self, cropping=(1, 1), **kwargs):
        super().__init__(cropping, **kwargs)


class _SpatialDropout(Dropout):
    """`Dropout` of whole channels of a sample."""

    rank = 2

    def __init__(self, rate, data_format=None, seed=None, name=None, dtype=None, **kwargs):
        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)
        channels_last(data_format, f"{type(self).__name__} {self.name!r}")

    def call(self, inputs, training=False):
        if not self.drops(training):
            return inputs
        shape = ops.shape(inputs)
        one = ops.ones_like(ops.getitem(inputs, (slice(None), *(slice(0, 1),) * (len(shape) - 2))))
        return ops.multiply(inputs, super().call(one, training=True))


class SpatialDropout1D(_SpatialDropout):
    """`Dropout` of whole channels of (batch, steps, channels)."""

    rank = 1

    def __init__(self, rate, seed=None, name=None, dtype=None, **kwargs):
        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)


class SpatialDropout2D(_SpatialDropout):
    """`Dropout` of whole channels of (batch, rows, columns, channels)."""
