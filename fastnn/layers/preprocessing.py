"""Layers that prepare inputs, in training and afterwards alike: rescaling, normalization, sizes of images."""

import numpy as np

from fastnn import config, ops
from fastnn.layers.layer import Layer
from fastnn.ops import image
from fastnn.ops.convolution import channels_last


class Rescaling(Layer):
    """inputs * scale + offset: numbers, or one for each channel. With numbers it costs nothing as a model's first
    layer: it becomes part of loading the batch, integers (uint8 images) included."""

    def __init__(self, scale, offset=0.0, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("scale", scale), ("offset", offset)):
            if np.asarray(value).dtype.kind not in "iuf" or np.ndim(value) > 1:
                raise ValueError(f"Rescaling: {name} must be a number or one for each channel, got {value!r}")
        self.scale, self.offset = scale, offset

    def call(self, inputs):
        if np.ndim(self.scale) == 0 and np.ndim(self.offset) == 0:
            return ops.affine(_floats(inputs, self.dtype), float(self.scale), float(self.offset))
        scale, offset = (np.asarray(v, self.dtype) for v in (self.scale, self.offset))
        return ops.add(ops.multiply(_floats(inputs, self.dtype), scale), offset)

    def get_config(self):
        return {**super().get_config(), "scale": _plain(self.scale), "offset": _plain(self.offset)}


def _plain(value):
    return np.asarray(value, float).tolist()


def _floats(x, dtype):
    if isinstance(x, np.ndarray):
        return x.astype(dtype) if x.dtype.kind in "iub" else x
    return ops.cast(x, dtype) if x.dtype == "int32" else x


class Normalization(Layer):
    """(inputs - mean) / sqrt(variance); with `invert` back again.

    Args:
        axis: the dimensions that keep statistics of their own; None: one mean and variance for all. The batch cannot be
            among them.
        mean, variance: known values; otherwise `adapt(data)` computes them before training.
    """

    def __init__(self, axis=-1, mean=None, variance=None, invert=False, **kwargs):
        super().__init__(**kwargs)
        axes = () if axis is None else (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
        if not all(isinstance(a, (int, np.integer)) for a in axes):
            raise ValueError(f"Normalization: axis must be None, an integer or several, got {axis!r}")
        if (mean is None) != (variance is None):
            raise ValueError("Normalization: mean and variance must be given both or neither")
        if np.shape(mean) != np.shape(variance):
            raise ValueError(
                f"Normalization: mean and variance must have one shape, got {np.shape(mean)} and {np.shape(variance)}"
            )
        self.axis, self.invert = tuple(int(a) for a in axes), bool(invert)
        self.input_mean = None if mean is None else np.asarray(mean, float)
        self.input_variance = None if variance is None else np.asarray(variance, float)
        self.adapt_mean = self.adapt_variance = self.count = None

    def build(self, input_shape):
        ndim = len(input_shape)
        if any(not -ndim <= a < ndim for a in self.axis):
            raise ValueError(f"Normalization {self.name!r}: axis {self.axis} is out of range for inputs {input_shape}")
        keep = sorted({a % ndim for a in self.axis})
        if any(input_shape[a] is None for a in keep):
            raise ValueError(f"Normalization {self.name!r}: axis {self.axis} names the batch, which has no fixed size")
        self._keep = tuple(keep)
        self._shape = tuple(input_shape[a] for a in keep)
        self._wide = tuple(input_shape[a] if a in keep else 1 for a in range(1, ndim))
        if self.input_mean is None:
            self.adapt_mean = self.add_weight(self._shape, "zeros", trainable=False, name="mean")
            self.adapt_variance = self.add_weight(self._shape, "ones", trainable=False, name="variance")
            self.count = self.add_weight((), "zeros", dtype="int32", trainable=False, name="count")
        elif self.input_mean.ndim > len(keep):
            raise ValueError(
                f"Normalization {self.name!r}: mean of shape {self.input_mean.shape} has more dimensions than axis "
                f"{self.axis} keeps"
            )

    def adapt(self, data):
        """Sets mean and variance to those of `data`: an array, or an iterable of batches (x, or tuples that begin with
        x). Call it before the model is trained."""
        total = mean = variance = 0
        for batch in [data] if isinstance(data, np.ndarray) else data:
            batch = np.asarray(batch[0] if isinstance(batch, (tuple, list)) else batch)
            if batch.dtype.kind not in "iufb" or batch.ndim == 0 or batch.size == 0:
                raise ValueError(f"Normalization {self.name!r}: adapt needs samples of numbers, got {batch!r:.80}")
            if not self.built:
                self.build((None, *batch.shape[1:]))
                self.built = True
            if self.input_mean is not None:
                raise ValueError(f"Normalization {self.name!r}: mean and variance were given, so adapt cannot set them")
            if tuple(batch.shape[a] for a in self._keep) != self._shape:
                raise ValueError(
                    f"Normalization {self.name!r}: adapt expected {self._shape} along axis {self.axis}, got data of "
                    f"shape {batch.shape}"
                )
            reduced = tuple(a for a in range(batch.ndim) if a not in self._keep)
            n = np.prod([batch.shape[a] for a in reduced])
            m = batch.mean(axis=reduced, dtype=np.float64)
            v = _variance(batch, m, reduced, n)
            share = n / (total + n)
            middle = mean + (m - mean) * share
            variance = (variance + (mean - middle) ** 2) * (1 - share) + (v + (m - middle) ** 2) * share
            mean, total = middle, total + n
        if not total:
            raise ValueError(f"Normalization {self.name!r}: adapt got no data")
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(variance)

    def call(self, inputs):
        inputs = _floats(inputs, self.dtype)
        if self.input_mean is not None:
            mean = self.input_mean
            deviation = np.maximum(np.sqrt(self.input_variance), config.epsilon())
            if mean.ndim == 0:
                m, d = float(mean), float(deviation)
                return ops.affine(inputs, d, m) if self.invert else ops.affine(inputs, 1 / d, -m / d)
            shape = [1] * len(self._wide)
            for a, n in zip(self._keep[-mean.ndim :], mean.shape, strict=True):
                shape[a - 1] = n
            mean, deviation = (v.reshape(shape).astype(self.dtype) for v in (mean, deviation))
        else:
            mean = ops.reshape(self.adapt_mean, self._wide)
            deviation = ops.maximum(ops.sqrt(ops.reshape(self.adapt_variance, self._wide)), config.epsilon())
        if self.invert:
            return ops.add(mean, ops.multiply(inputs, deviation))
        return ops.divide(ops.subtract(inputs, mean), deviation)

    def get_config(self):
        return {
            **super().get_config(), "axis": list(self.axis), "invert": self.invert,
            "mean": None if self.input_mean is None else self.input_mean.tolist(),
            "variance": None if self.input_variance is None else self.input_variance.tolist(),
        }  # fmt: skip


def _variance(x, mean, reduced, n, block=4096):
    """The variance of x around its mean, block by block: no copy of the whole data set."""
    mean = np.expand_dims(mean, reduced) if reduced else mean
    if 0 not in reduced:
        return ((x - mean) ** 2).sum(axis=reduced) / n
    return sum(((x[j : j + block] - mean) ** 2).sum(axis=reduced) for j in range(0, len(x), block)) / n


class _Sized(Layer):
    def __init__(self, height, width, data_format, kwargs):
        super().__init__(**kwargs)
        self._where = f"{type(self).__name__} {self.name!r}"
        channels_last(data_format, self._where)
        self.height, self.width = image._size(self._where, (height, width))
        self.data_format = "channels_last"

    def call(self, inputs):
        shape = ops.shape(inputs)
        if len(shape) == 3 and isinstance(inputs, np.ndarray):
            return self.call(inputs[None])[0]
        if len(shape) != 4:
            raise ValueError(f"{self._where}: expected images (batch, height, width, channels), got shape {shape}")
        return self.resized(_floats(inputs, self.dtype))

    def get_config(self):
        return {
            **super().get_config(), "height": self.height, "width": self.width, "data_format": self.data_format,
        }  # fmt: skip


class Resizing(_Sized):
    """Images of (height, width).

    Args:
        height, width: of the results.
        interpolation: "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio: cuts the middle of the new aspect ratio out first, so that nothing is distorted.
        pad_to_aspect_ratio: puts `fill_value` around first instead.
        antialias: whether a pixel of a smaller image comes from all that it covers.
    """

    def __init__(self, height, width, interpolation="bilinear", crop_to_aspect_ratio=False, pad_to_aspect_ratio=False,
                 fill_mode="constant", fill_value=0.0, antialias=False, data_format=None, **kwargs):  # fmt: skip
        super().__init__(height, width, data_format, kwargs)
        if interpolation not in image.INTERPOLATIONS:
            known = ", ".join(image.INTERPOLATIONS)
            raise ValueError(f"{self._where}: interpolation must be one of {known}, got {interpolation!r}")
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError(f"{self._where}: only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be True")
        self._options = {
            "interpolation": interpolation, "crop_to_aspect_ratio": bool(crop_to_aspect_ratio),
            "pad_to_aspect_ratio": bool(pad_to_aspect_ratio), "fill_mode": fill_mode, "fill_value": fill_value,
            "antialias": bool(antialias),
        }  # fmt: skip

    def resized(self, images):
        return image.resize(images, (self.height, self.width), **self._options, where=self._where)

    def get_config(self):
        return {**super().get_config(), **self._options}


class CenterCrop(_Sized):
    """The middle (height, width) of images; of smaller ones the largest part of that aspect ratio, resized."""

    def __init__(self, height, width, data_format=None, **kwargs):
        super().__init__(height, width, data_format, kwargs)

    def resized(self, images):
        h, w = ops.shape(images)[1:3]
        if h >= self.height and w >= self.width:
            return image.center(images, self.height, self.width)
        return image.resize(images, (self.height, self.width), crop_to_aspect_ratio=True, where=self._where)
