"""Operations on images (samples, height, width, channels): random changes for training, and resizing.

A random change is two operations: one draws a few numbers a sample (from seed, stream, step and position alone), the
other applies them. Neither has a gradient: augmentation stands before the layers with weights.
"""

import numpy as np

from fastnn.graph import Spec, Tensor
from fastnn.kernels.augmentation import AFFINE, FILL_MODES, MIRRORS
from fastnn.ops import movement as sh
from fastnn.ops.core import NoGradient, Op, apply, common_dtype, is_batched, make, register, size
from fastnn.ops.core import shape_of as _shape
from fastnn.utils import checks

_DRAW = 100.0  # ns a sample


def _rows(shape):
    """Leading rows as kernels count them: 1 a sample, or all."""
    return 1 if is_batched(shape) else shape[0]


class _Draw(Op):
    """Numbers for each sample of x, of which only the shape is used."""

    is_random = True
    stops_gradient = True
    columns = 4

    def infer(self, x):
        return Spec((x.shape[0], self.columns) if self.columns else x.shape[:1], x.dtype)

    def gradient(self, node, *grads):
        return (None,)

    def _run(self, b, outs, shape, ints, reals=()):
        rows = _rows(shape)
        b.run(self.name, outs, (rows, *ints), reals, cost=rows * _DRAW, batched=is_batched(shape))


@register
class DrawUniform(_Draw):
    """One number in [least, most)."""

    name = "random_uniform"
    columns = 0

    def __init__(self, least, most, stream):
        self.least, self.most, self.stream = float(least), float(most), int(stream)

    def lower(self, b, outs, ins):
        self._run(b, outs, ins[0].shape, (1, self.stream), (self.least, self.most))


@register
class DrawAffine(_Draw):
    """Transforms: "rotation", "translation" or "zoom", see fastnn.kernels.draw_affine."""

    name = "draw_affine"
    columns = 8

    def __init__(self, kind, first, second, stream):
        self.kind, self.first, self.stream = kind, tuple(first), int(stream)
        self.second = None if second is None else tuple(second)

    def lower(self, b, outs, ins):
        ints = (AFFINE[self.kind], self.stream, *ins[0].shape[1:3], int(self.second is None))
        self._run(b, outs, ins[0].shape, ints, (*self.first, *(self.second or (0.0, 0.0))))


@register
class DrawWindow(_Draw):
    """Windows: top, left, mirrored columns, mirrored rows."""

    name = "draw_window"

    def __init__(self, tops, lefts, mirror, stream):
        self.tops, self.lefts, self.mirror, self.stream = tuple(tops), tuple(lefts), mirror, int(stream)

    def lower(self, b, outs, ins):
        (t0, t1), (l0, l1) = self.tops, self.lefts
        self._run(b, outs, ins[0].shape, (self.stream, t0, t1 - t0 + 1, l0, l1 - l0 + 1, MIRRORS[self.mirror]))


@register
class DrawBox(_Draw):
    """Boxes to erase."""

    name = "draw_box"

    def __init__(self, factor, scale, stream):
        self.factor, self.scale, self.stream = tuple(factor), tuple(scale), int(stream)

    def lower(self, b, outs, ins):
        self._run(b, outs, ins[0].shape, (self.stream, *ins[0].shape[1:3]), (*self.factor, *self.scale))


@register
class DrawMixture(_Draw):
    """Weights of samples and the partners to mix them with."""

    name = "draw_mixture"

    def __init__(self, alpha, stream):
        self.alpha, self.stream = float(alpha), int(stream)

    def infer(self, x):
        return Spec(x.shape[:1], x.dtype), Spec(x.shape[:1], "int32")

    def lower(self, b, outs, ins):
        self._run(b, outs, ins[0].shape, (self.stream,), (self.alpha,))


class _Change(Op):
    """An image from an image and what was drawn for it."""

    def infer(self, x, *drawn):
        return x

    def gradient(self, node, dy):
        reason = f"{self.name} has no gradient: augmentation must stand before the layers with weights"
        return (NoGradient(reason), *(None for _ in node.inputs[1:]))

    def _run(self, b, operands, shape, ints, reals, ns):
        rows = _rows(shape)
        b.run(self.name, operands, (rows, *ints), reals, cost=rows * size(shape[1:]) * ns, batched=is_batched(shape))


@register
class AffineImage(_Change):
    """Pixels from where the transforms (samples, 8) say."""

    name = "affine_image"

    def __init__(self, fill_mode, bilinear, fill_value=0.0):
        self.fill_mode, self.bilinear, self.fill_value = fill_mode, bool(bilinear), float(fill_value)

    def lower(self, b, outs, ins):
        ints = (*ins[0].shape[1:], FILL_MODES[self.fill_mode], int(self.bilinear))
        self._run(b, (*outs, *ins), ins[0].shape, ints, (self.fill_value,), 2.0)


@register
class WindowImage(_Change):
    """Windows of `window` (height, width)."""

    name = "window_image"

    def __init__(self, window, fill_value=0.0):
        self.window, self.fill_value = tuple(window), float(fill_value)

    def infer(self, x, drawn):
        return Spec((x.shape[0], *self.window, x.shape[3]), x.dtype)

    def lower(self, b, outs, ins):
        self._run(b, (*outs, *ins), ins[0].shape, (*ins[0].shape[1:], *self.window), (self.fill_value,), 0.3)


@register
class AdjustImage(_Change):
    """Contrast and brightness, cut to [least, most]; `parts` names those of them that are given."""

    name = "adjust_image"
    in_place = ((0, 0),)

    def __init__(self, parts, least, most):
        self.parts, self.least, self.most = tuple(parts), float(least), float(most)

    def lower(self, b, outs, ins):
        given = dict(zip(self.parts, ins[1:], strict=True))
        shape = ins[0].shape
        ints = (shape[1] * shape[2], shape[3])
        operands = (*outs, ins[0], given.get("contrast"), given.get("brightness"))
        self._run(b, operands, shape, ints, (self.least, self.most), 0.7)


@register
class EraseImage(_Change):
    """Boxes filled with a third input (channels,), or with normal noise of `stddev` cut to [least, most]."""

    name = "erase_image"
    is_random = True
    in_place = ((0, 0),)

    def __init__(self, stddev, least, most, stream):
        self.stddev, self.least, self.most, self.stream = float(stddev), float(least), float(most), int(stream)

    def lower(self, b, outs, ins):
        operands = (*outs, *ins, *(() if len(ins) > 2 else (None,)))
        reals = (self.stddev, self.least, self.most)
        self._run(b, operands, ins[0].shape, (*ins[0].shape[1:], self.stream), reals, 0.5)


@register
class MixSamples(_Change):
    """w x + (1 - w) x[partners]."""

    name = "mix_samples"

    def lower(self, b, outs, ins):
        self._run(b, (*outs, *ins), ins[0].shape, (size(ins[0].shape[1:]),), (), 0.3)


@register
class TakeSamples(_Change):
    """x[partners], the samples of a batch in another order."""

    name = "take_samples"

    def lower(self, b, outs, ins):
        columns = size(ins[0].shape[1:])
        self._run(b, (*outs, *ins), ins[0].shape, (columns * np.dtype(ins[0].dtype).itemsize,), (), 0.2)


@register
class ResizeImage(Op):
    """Images of `to` (height, width) by `resize_matrix` along both sides; with `back` the gradient, by its transpose,
    from images of `to` to those of `size`."""

    name = "resize_image"

    def __init__(self, size, to, interpolation, antialias, back=False):
        self.size, self.to, self.interpolation = tuple(size), tuple(to), interpolation
        self.antialias, self.back = antialias, back

    def infer(self, x):
        return Spec((x.shape[0], *(self.size if self.back else self.to), x.shape[3]), x.dtype)

    def gradient(self, node, dy):
        back = ResizeImage(self.size, self.to, self.interpolation, self.antialias, not self.back)
        return (make(back, dy)[0],)

    def lower(self, b, outs, ins):
        tables, counts = [], []
        for n, m in zip(self.size, self.to, strict=True):
            matrix = resize_matrix(n, m, self.interpolation, self.antialias)
            first, weights = _bands(matrix.T if self.back else matrix)
            tables += [first, weights.astype(ins[0].dtype)]
            counts.append(weights.shape[1])
        shape, out = ins[0].shape, outs[0].shape
        rows = _rows(shape)
        cost = rows * (size(shape[1:]) + size(out[1:])) * sum(counts) * 0.3
        b.run(self.name, (*outs, *ins, *tables), (rows, *shape[1:], *out[1:3], *counts), cost=cost,
              batched=is_batched(shape))  # fmt: skip


def _bands(matrix):
    """(first, weights): of each row of a banded matrix the column where its band begins, and the band."""
    used = matrix != 0
    last = matrix.shape[1] - 1 - used[:, ::-1].argmax(axis=1)
    width = int(max((last - used.argmax(axis=1)).max() + 1, 1)) if used.any() else 1
    first = np.minimum(used.argmax(axis=1), matrix.shape[1] - width)
    weights = np.take_along_axis(matrix, first[:, None] + np.arange(width), axis=1)
    return first.astype(np.int32), np.ascontiguousarray(weights)


# ---- functions for users ----


def _rank_4(where, images):
    if len(_shape(images)) != 4:
        raise ValueError(f"{where}: expected images (samples, height, width, channels), got shape {_shape(images)}")


def affine_transform(images, transform, interpolation="bilinear", fill_mode="constant", fill_value=0,
                     data_format=None):  # fmt: skip
    """Each pixel (column x, row y) of the result from (a0 x + a1 y + a2, b0 x + b1 y + b2) of its image.

    transform: (samples, 8) or (8,): a0, a1, a2, b0, b1, b2, 0, 0. fill_mode: "constant" (`fill_value`), "nearest",
    "wrap" or "reflect" (d c b a | a b c d | d c b a). interpolation: "bilinear" or "nearest".
    """
    from fastnn.ops.convolution import channels_last

    where = "affine_transform"
    channels_last(data_format, where)
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(f"{where}: interpolation must be 'bilinear' or 'nearest', got {interpolation!r}")
    if fill_mode not in FILL_MODES:
        raise ValueError(f"{where}: fill_mode must be one of {', '.join(FILL_MODES)}, got {fill_mode!r}")
    fill_value = checks.number(where, "fill_value", fill_value)
    if len(_shape(images)) == 3 and not isinstance(images, Tensor):
        return affine_transform(np.asarray(images)[None], transform, interpolation, fill_mode, fill_value)[0]
    _rank_4(where, images)
    rows = _shape(images)[0]
    if not isinstance(transform, Tensor):
        transform = np.asarray(transform, common_dtype((images,), where))
        if transform.shape == (8,) and rows is not None:
            transform = np.tile(transform, (rows, 1))
    if _shape(transform) != (rows, 8):
        raise ValueError(f"{where}: transform must have shape {(rows, 8)}, got {_shape(transform)}")
    return apply(AffineImage(fill_mode, interpolation == "bilinear", fill_value), images, transform)


def take_samples(x, partners):
    """x[partners] along the batch."""
    dtype = "int32" if str(getattr(x, "dtype", "")) == "int32" else common_dtype((x,), "take_samples")
    return apply(TakeSamples(), x, partners, dtypes=[dtype, "int32"])


def _cubic(x):
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))


def _lanczos(radius):
    return lambda x: np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0)


_KERNELS = {
    "bilinear": lambda x: np.maximum(1 - x, 0), "bicubic": _cubic, "lanczos3": _lanczos(3), "lanczos5": _lanczos(5),
}  # fmt: skip
INTERPOLATIONS = (*_KERNELS, "nearest")


def resize_matrix(n, m, interpolation="bilinear", antialias=False):
    """(m, n): the weights of n pixels in each of m; the pixels' centers divide the side evenly."""
    at = (np.arange(m) + 0.5) * n / m
    if interpolation == "nearest":
        return (np.minimum(np.floor(at), n - 1)[:, None] == np.arange(n)).astype(float)
    scale = max(n / m, 1) if antialias else 1
    weights = _KERNELS[interpolation](np.abs(at[:, None] - 0.5 - np.arange(n)) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


def resize(images, size, interpolation="bilinear", antialias=False, crop_to_aspect_ratio=False,
           pad_to_aspect_ratio=False, fill_mode="constant", fill_value=0.0, data_format=None, *,
           where="resize"):  # fmt: skip
    """Images of `size` (height, width).

    interpolation: "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5", with `antialias` over as many pixels as
    become one. The middle of the aspect ratio of `size` is cut out first, or `fill_value` put around, where asked.
    """
    from fastnn.ops.convolution import channels_last

    channels_last(data_format, where)
    height, width = _size(where, size)
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"{where}: interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
    if fill_mode != "constant":
        raise ValueError(f"{where}: fill_mode must be 'constant', got {fill_mode!r}")
    fill_value = checks.number(where, "fill_value", fill_value)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(f"{where}: only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be True")
    _rank_4(where, images)
    h, w = _shape(images)[1:3]
    if 0 in (h, w):
        raise ValueError(f"{where}: images must have at least one pixel, got shape {_shape(images)}")
    if crop_to_aspect_ratio:
        images = center(images, max(min(h, int(w * height / width)), 1), max(min(w, int(h * width / height)), 1))
    elif pad_to_aspect_ratio:
        tall, wide = max(h, int(w * height / width)), max(w, int(h * width / height))
        images = _pad(images, (tall - h) // 2, (wide - w) // 2, fill_value)
    found = _shape(images)[1:3]
    if found == (height, width):
        return images
    return apply(ResizeImage(found, (height, width), interpolation, bool(antialias)), images)


def _size(where, size):
    size = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    if len(size) != 2 or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in size):
        raise ValueError(f"{where}: height and width must be positive integers, got {size}")
    return int(size[0]), int(size[1])


def center(images, height, width):
    """The middle of images."""
    h, w = _shape(images)[1:3]
    top, left = (h - height) // 2, (w - width) // 2
    if (h, w) == (height, width):
        return images
    return sh.getitem(images, (slice(None), slice(top, top + height), slice(left, left + width)))


def _pad(images, top, left, value):
    """`value` around images: `top` rows above and below, `left` columns on both sides."""
    n, h, w, channels = _shape(images)
    begin = (top, left, 0) if n is None else (0, top, left, 0)
    return apply(sh.SliceGrad((n, h + 2 * top, w + 2 * left, channels), begin, (1,) * len(begin), value), images)
