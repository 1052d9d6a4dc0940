"""Random changes of images while training: (batch, height, width, channels), the identity otherwise.

What a sample gets follows from the seed, the step and its place in the batch alone, so any number of threads gives the
same bits. These layers stand before those with weights: no gradient passes through them.
"""

import numbers

import numpy as np

from fastnn import graph, ops
from fastnn.kernels.augmentation import FILL_MODES, MIRRORS
from fastnn.layers.core import random_stream
from fastnn.layers.layer import Layer
from fastnn.ops import image
from fastnn.ops.convolution import channels_last
from fastnn.ops.core import apply, common_dtype
from fastnn.utils import checks


def _number(x):
    return isinstance(x, numbers.Real) and not isinstance(x, bool)


def _range(where, name, value, least, most, from_zero=False):
    """(lower, upper): a pair, or a number f for (-f, f), or (0, f) where `from_zero`; within [least, most]."""
    pair = (value, value) if _number(value) else value
    good = isinstance(pair, (tuple, list)) and len(pair) == 2 and all(_number(v) for v in pair)
    if not good or not all(least <= v <= most for v in pair):
        raise ValueError(f"{where}: {name} must be a number or two numbers in [{least}, {most}], got {value!r}")
    if _number(value):
        return (0.0 if from_zero else -abs(float(value)), abs(float(value)))
    return tuple(sorted(map(float, pair)))


class _Augmentation(Layer):
    """Calls `change(images)` while training. A single image (height, width, channels) may be given as an array."""

    def __init__(self, seed=None, data_format=None, **kwargs):
        super().__init__(**kwargs)
        channels_last(data_format, self._where)
        self.seed = checks.seed(self._where, seed)
        self.data_format = "channels_last"

    @property
    def _where(self):
        return f"{type(self).__name__} {self.name!r}"

    def call(self, inputs, training=False):
        shape = ops.shape(inputs)
        if len(shape) == 3 and isinstance(inputs, np.ndarray):
            return self.call(inputs[None], training)[0]
        if len(shape) != 4:
            raise ValueError(f"{self._where}: expected images (batch, height, width, channels), got shape {shape}")
        if isinstance(inputs, np.ndarray) and inputs.dtype.kind in "iub":
            inputs = inputs.astype(self.dtype)
        return self.change(inputs) if training else self.keep(inputs)

    def change(self, images):
        raise NotImplementedError

    def keep(self, images):
        """What is done when not training."""
        return images

    def _stream(self):
        return random_stream(self.seed)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed, "data_format": self.data_format}


class _Affine(_Augmentation):
    def __init__(self, fill_mode, interpolation, fill_value, seed, data_format, kwargs):
        super().__init__(seed, data_format, **kwargs)
        if fill_mode not in FILL_MODES:
            raise ValueError(f"{self._where}: fill_mode must be one of {', '.join(FILL_MODES)}, got {fill_mode!r}")
        if interpolation not in ("bilinear", "nearest"):
            raise ValueError(f"{self._where}: interpolation must be 'bilinear' or 'nearest', got {interpolation!r}")
        if not _number(fill_value):
            raise ValueError(f"{self._where}: fill_value must be a number, got {fill_value!r}")
        self.fill_mode, self.interpolation, self.fill_value = fill_mode, interpolation, fill_value

    def draw(self):
        """The arguments of DrawAffine: kind and ranges."""
        raise NotImplementedError

    def change(self, images):
        transform = apply(image.DrawAffine(*self.draw(), self._stream()), images)
        return ops.image.affine_transform(images, transform, self.interpolation, self.fill_mode, self.fill_value)

    def get_config(self):
        return {
            **super().get_config(), "fill_mode": self.fill_mode, "interpolation": self.interpolation,
            "fill_value": self.fill_value,
        }  # fmt: skip


class RandomRotation(_Affine):
    """Rotates each image around its middle.

    Args:
        factor: range of the angle as a share of a whole turn, in [-1, 1]: (lower, upper), or f for (-f, f). Positive
            angles turn counter-clockwise.
        fill_mode: what lies beyond the border: "reflect" (d c b a | a b c d | d c b a), "constant" (`fill_value`),
            "wrap" or "nearest".
        interpolation: "bilinear" or "nearest".
        seed: gives the layer a random stream of its own.
    """

    def __init__(self, factor, fill_mode="reflect", interpolation="bilinear", seed=None, fill_value=0.0,
                 data_format=None, **kwargs):  # fmt: skip
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, kwargs)
        self.factor = _range(self._where, "factor", factor, -1, 1)

    def draw(self):
        return "rotation", tuple(2 * np.pi * f for f in self.factor), None

    def get_config(self):
        return {**super().get_config(), "factor": list(self.factor)}


class RandomTranslation(_Affine):
    """Shifts each image down by a share of its height and right by a share of its width.

    Args:
        height_factor, width_factor: ranges in [-1, 1]: (lower, upper), or f for (-f, f).
        fill_mode, interpolation, seed, fill_value: see RandomRotation.
    """

    def __init__(self, height_factor, width_factor, fill_mode="reflect", interpolation="bilinear", seed=None,
                 fill_value=0.0, data_format=None, **kwargs):  # fmt: skip
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, kwargs)
        self.height_factor = _range(self._where, "height_factor", height_factor, -1, 1)
        self.width_factor = _range(self._where, "width_factor", width_factor, -1, 1)

    def draw(self):
        return "translation", self.height_factor, self.width_factor

    def get_config(self):
        return {
            **super().get_config(), "height_factor": list(self.height_factor), "width_factor": list(self.width_factor),
        }  # fmt: skip


class RandomZoom(_Affine):
    """Zooms each image around its middle.

    Args:
        height_factor: range in (-1, 1]: (lower, upper), or f for (-f, f); 0.2 shows 1.2 times the height (zooms out),
            -0.2 shows 0.8 of it (zooms in).
        width_factor: likewise; None: as the height, so that the aspect ratio stays.
        fill_mode, interpolation, seed, fill_value: see RandomRotation.
    """

    def __init__(self, height_factor, width_factor=None, fill_mode="reflect", interpolation="bilinear", seed=None,
                 fill_value=0.0, data_format=None, **kwargs):  # fmt: skip
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, kwargs)
        self.height_factor = _range(self._where, "height_factor", height_factor, -1, 1)
        self.width_factor = (
            None if width_factor is None else _range(self._where, "width_factor", width_factor, -1, 1)
        )  # fmt: skip
        for name, value in (("height_factor", self.height_factor), ("width_factor", self.width_factor)):
            if value is not None and value[0] == -1:
                raise ValueError(f"{self._where}: {name} must be above -1, which would show nothing, got {value}")

    def draw(self):
        return "zoom", self.height_factor, self.width_factor

    def get_config(self):
        return {
            **super().get_config(), "height_factor": list(self.height_factor),
            "width_factor": None if self.width_factor is None else list(self.width_factor),
        }  # fmt: skip


class RandomFlip(_Augmentation):
    """Mirrors half of the images.

    mode: "horizontal" (left and right change places), "vertical", or "horizontal_and_vertical": both at once, as Keras
    3 does it.
    """

    def __init__(self, mode="horizontal_and_vertical", seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        if mode is None or mode not in MIRRORS:
            raise ValueError(
                f"{self._where}: mode must be 'horizontal', 'vertical' or 'horizontal_and_vertical', got {mode!r}"
            )
        self.mode = mode

    def change(self, images):
        drawn = apply(image.DrawWindow((0, 0), (0, 0), self.mode, self._stream()), images)
        return apply(image.WindowImage(ops.shape(images)[1:3]), images, drawn)

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


class RandomCrop(_Augmentation):
    """Cuts a window of (height, width) out of each image, everywhere equally likely.

    When not training, and where the image is smaller than the window, the largest part of the window's aspect ratio is
    taken from the middle and resized (bilinear).

    Args:
        height, width: of the window.
        padding: zeros put around the image first, while training only (an addition to Keras): RandomCrop(32, 32,
            padding=4) is the shift of He et al. 2015 for CIFAR.
        seed: gives the layer a random stream of its own.

    Each image has its own window; Keras gives all images of a batch the same one.
    """

    def __init__(self, height, width, seed=None, data_format=None, padding=0, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.height, self.width = image._size(self._where, (height, width))
        if isinstance(padding, bool) or not isinstance(padding, (int, np.integer)) or padding < 0:
            raise ValueError(f"{self._where}: padding must be an integer of at least 0, got {padding!r}")
        self.padding = int(padding)

    def change(self, images):
        h, w = ops.shape(images)[1:3]
        pad = self.padding
        if h + 2 * pad < self.height or w + 2 * pad < self.width:
            return self.keep(images)
        tops, lefts = (-pad, h + pad - self.height), (-pad, w + pad - self.width)
        drawn = apply(image.DrawWindow(tops, lefts, None, self._stream()), images)
        return apply(image.WindowImage((self.height, self.width)), images, drawn)

    def keep(self, images):
        return image.resize(images, (self.height, self.width), crop_to_aspect_ratio=True, where=self._where)

    def get_config(self):
        config = {**super().get_config(), "height": self.height, "width": self.width}
        return {**config, "padding": self.padding} if self.padding else config


class _Adjustment(_Augmentation):
    def __init__(self, value_range, seed, kwargs):
        super().__init__(seed, kwargs.pop("data_format", None), **kwargs)
        self.value_range = _value_range(self._where, value_range)

    def _adjust(self, images, part, least, most):
        drawn = apply(image.DrawUniform(least, most, self._stream()), images)
        return apply(image.AdjustImage((part,), *self.value_range), images, drawn)

    def get_config(self):
        return {**super().get_config(), "value_range": list(self.value_range)}


def _value_range(where, value):
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not all(_number(v) for v in value):
        raise ValueError(f"{where}: value_range must be two numbers (least, most), got {value!r}")
    return tuple(sorted(map(float, value)))


class RandomContrast(_Adjustment):
    """(x - mean) c + mean, cut to `value_range`; mean of the channel over the image.

    factor: (lower, upper) or one number for both, in [0, 1]: c is uniform in [1 - lower, 1 + upper).
    """

    def __init__(self, factor, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range, seed, kwargs)
        pair = factor if isinstance(factor, (tuple, list)) else (factor, factor)
        if len(pair) != 2 or not all(_number(v) and 0 <= v <= 1 for v in pair):
            raise ValueError(f"{self._where}: factor must be a number or two numbers in [0, 1], got {factor!r}")
        self.factor = tuple(map(float, pair))

    def change(self, images):
        return self._adjust(images, "contrast", 1 - self.factor[0], 1 + self.factor[1])

    def get_config(self):
        return {**super().get_config(), "factor": list(self.factor)}


class RandomBrightness(_Adjustment):
    """x + b, cut to `value_range`; b is a share of the range, uniform in (lower, upper) or, for one number f, (-f, f),
    in [-1, 1]."""

    def __init__(self, factor, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range, seed, kwargs)
        self.factor = _range(self._where, "factor", factor, -1, 1)

    def change(self, images):
        width = self.value_range[1] - self.value_range[0]
        return self._adjust(images, "brightness", *(f * width for f in self.factor))

    def get_config(self):
        return {**super().get_config(), "factor": list(self.factor)}


class RandomErasing(_Augmentation):
    """Fills a box of an image (Zhong et al. 2017; cutout: DeVries and Taylor 2017).

    Args:
        factor: range of the probability that an image gets a box, in [0, 1]: (lower, upper), or f for (0, f).
        scale: range of the square of each side's share, likewise.
        fill_value: a number, or one for each channel; None: normal noise times the upper end of `value_range`.
        value_range: what the filling is cut to.
        seed: gives the layer a random stream of its own.
    """

    def __init__(self, factor=1.0, scale=(0.02, 0.33), fill_value=None, value_range=(0, 255), seed=None,
                 data_format=None, **kwargs):  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.factor = _range(self._where, "factor", factor, 0, 1, from_zero=True)
        self.scale = _range(self._where, "scale", scale, 0, 1, from_zero=True)
        self.value_range = _value_range(self._where, value_range)
        values = fill_value if isinstance(fill_value, (tuple, list)) else (0 if fill_value is None else fill_value,)
        if not all(_number(v) for v in values):
            raise ValueError(f"{self._where}: fill_value must be a number, a list of them or None, got {fill_value!r}")
        self.fill_value = fill_value

    def change(self, images):
        drawn = apply(image.DrawBox(self.factor, self.scale, self._stream()), images)
        op = image.EraseImage(self.value_range[1], *self.value_range, self._stream())
        if self.fill_value is None:
            return apply(op, images, drawn)
        channels = ops.shape(images)[3]
        fill = np.clip(np.asarray(self.fill_value, float), *self.value_range)
        if fill.ndim and len(fill) != channels:
            raise ValueError(
                f"{self._where}: fill_value must have one number for each of {channels} channels, got {len(fill)}"
            )
        fill = np.ascontiguousarray(np.broadcast_to(fill, (channels,)), common_dtype((images,), self._where))
        return apply(op, images, drawn, fill)

    def get_config(self):
        return {
            **super().get_config(), "factor": list(self.factor), "scale": list(self.scale),
            "fill_value": self.fill_value, "value_range": list(self.value_range),
        }  # fmt: skip


class MixUp(_Augmentation):
    """w x + (1 - w) x' (Zhang et al. 2018): x' another image of the batch, w of the beta distribution of both shapes
    `alpha`. Samples of any shape will do (an addition to Keras).

    Within a model that is trained by `fit`, the targets need no care: the loss of a mixed sample becomes
    w loss(y) + (1 - w) loss(y'), for class ids as for one-hot targets (an addition to Keras). Metrics compare with the
    sample's own target. Called on {"images": x, "labels": y} with arrays, both are mixed, as in Keras.
    """

    def __init__(self, alpha=0.2, data_format=None, seed=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        if not _number(alpha) or not 0 < alpha < float("inf"):
            raise ValueError(f"{self._where}: alpha must be a positive number, got {alpha!r}")
        self.alpha = float(alpha)

    def call(self, inputs, training=False):
        if not isinstance(inputs, dict):
            shape = ops.shape(inputs)
            if len(shape) < 2:
                raise ValueError(f"{self._where}: expected a batch of samples, got shape {shape}")
            if isinstance(inputs, np.ndarray) and inputs.dtype.kind in "iub":
                inputs = inputs.astype(self.dtype)
            return self.change(inputs) if training else inputs
        if "images" not in inputs or set(inputs) - {"images", "labels"}:
            raise ValueError(f"{self._where}: expected the keys images and labels, got {sorted(inputs)}")
        if not training:
            return inputs
        images = inputs["images"]
        if len(ops.shape(images)) < 2:
            raise ValueError(f"{self._where}: expected a batch of samples, got shape {ops.shape(images)}")
        drawn = self._draw(images)
        mixed = {"images": self._mix(images, drawn)}
        if "labels" in inputs:
            labels = inputs["labels"]
            if len(ops.shape(labels)) < 2:
                raise ValueError(f"{self._where}: labels must be one-hot (batch, classes), got shape {labels.shape}")
            mixed["labels"] = self._mix(labels, drawn)
        return mixed

    def change(self, images):
        drawn = self._draw(images)
        trace = graph.current_trace()
        if trace is not None:
            if trace.mixture is not None:
                raise ValueError(f"{self._where}: a model can have one MixUp")
            trace.mixture = drawn
        return self._mix(images, drawn)

    def _draw(self, images):
        return apply(image.DrawMixture(self.alpha, self._stream()), images)

    @staticmethod
    def _mix(x, drawn):
        dtype = common_dtype((x, drawn[0]), "MixUp")
        return apply(image.MixSamples(), x, *drawn, dtypes=[dtype, dtype, "int32"])

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}
