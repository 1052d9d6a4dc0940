"""Random changes of images: what is drawn for each sample, and its application; see csrc/kernels/augmentation.inc.c.

`draw_*` functions give the numbers of `rows` samples as a function of (seed, stream, index); the others take such
numbers, or the caller's own. Images are (samples, height, width, channels) of float32 or float64.
"""

import math

import numpy as np

from fastnn import _core
from fastnn.kernels import _check
from fastnn.kernels.random import _counter

FILL_MODES = {"constant": 0, "reflect": 1, "wrap": 2, "nearest": 3}
AFFINE = {"rotation": 0, "translation": 1, "zoom": 2}
MIRRORS = {None: 0, "horizontal": 1, "vertical": 2, "horizontal_and_vertical": 3}


def _draw(name, rows, columns, ints, reals, seed, stream, index, dtype, head=1):
    """Runs a kernel that fills (rows, columns); `ints` has the stream at position `head`."""
    counter = _counter(name, seed, stream, index)
    if not isinstance(rows, int | np.integer) or rows < 0:
        raise ValueError(f"{name}: rows must be an integer of at least 0, got {rows!r}")
    out = _check.out(name, None, (rows, columns), np.dtype(dtype))
    ints = (rows, *ints[: head - 1], stream, *ints[head - 1 :])
    if rows:
        _core.run(name, out.dtype == np.float64, (out,), ints, tuple(map(float, reals)), cost=100.0 * rows, **counter)
    return out


def draw_affine(kind, rows, size, first, second=None, *, seed, stream=0, index=0, dtype=np.float32):
    """(rows, 8) transforms of images of `size` (height, width): kind "rotation" by an angle in the range `first`
    (radians), "translation" by shares of the height (`first`) and width (`second`), "zoom" of height and width
    (`second` None: both alike). A range is (least, most)."""
    if kind not in AFFINE:
        raise ValueError(f"draw_affine: kind must be one of {', '.join(AFFINE)}, got {kind!r}")
    ints = (AFFINE[kind], *map(int, size), int(second is None))
    return _draw("draw_affine", rows, 8, ints, (*first, *(second or (0, 0))), seed, stream, index, dtype, head=2)


def draw_window(rows, tops, lefts, mirror=None, *, seed, stream=0, index=0, dtype=np.float32):
    """(rows, 4): top and left, whole numbers within the ranges (least, most) `tops` and `lefts`; whether columns and
    rows are mirrored."""
    (t0, t1), (l0, l1) = tops, lefts
    if t1 < t0 or l1 < l0:
        raise ValueError(f"draw_window: ranges must be (least, most), got {tops} and {lefts}")
    ints = (t0, t1 - t0 + 1, l0, l1 - l0 + 1, MIRRORS[mirror])
    return _draw("draw_window", rows, 4, ints, (), seed, stream, index, dtype)


def draw_box(rows, size, factor=(0.0, 1.0), scale=(0.02, 0.33), *, seed, stream=0, index=0, dtype=np.float32):
    """(rows, 4): first row, end of rows, first column, end of columns of the box to erase; all 0 where none is."""
    return _draw("draw_box", rows, 4, tuple(size), (*factor, *scale), seed, stream, index, dtype)


def draw_mixture(rows, alpha=0.2, *, seed, stream=0, index=0, dtype=np.float32):
    """(weights, partners) of samples to mix: weights of the beta distribution with both shapes `alpha`, partners an
    order of the samples."""
    counter = _counter("draw_mixture", seed, stream, index)
    if not 0 < alpha < math.inf:
        raise ValueError(f"draw_mixture: alpha must be a positive number, got {alpha!r}")
    weights, partners = np.empty(rows, dtype), np.empty(rows, np.int32)
    if rows:
        _core.run("draw_mixture", weights.dtype == np.float64, (weights, partners), (rows, stream), (float(alpha),),
                  cost=300.0 * rows, **counter)  # fmt: skip
    return weights, partners


def _images(where, x, m=None, columns=0, name="m"):
    x = _check.array(where, "x", x, ndim=4)
    if m is not None:
        m = _check.array(where, name, m)
        _check.same_dtype(where, x=x, **{name: m})
        _check.shape(where, name, m, (len(x), columns) if columns else (len(x),))
    return x, m


def affine_image(x, m, fill_mode="constant", bilinear=True, fill_value=0.0, out=None):
    """Each pixel (column, row) of the result from (m0 column + m1 row + m2, m3 column + m4 row + m5) of x; m (n, 8)."""
    x, m = _images("affine_image", x, m, 8)
    if fill_mode not in FILL_MODES:
        raise ValueError(f"affine_image: fill_mode must be one of {', '.join(FILL_MODES)}, got {fill_mode!r}")
    out = _check.out("affine_image", out, x.shape, x.dtype)
    _check.no_overlap("affine_image", "out", out, x=x)
    if x.size:
        ints = (*x.shape, FILL_MODES[fill_mode], int(bool(bilinear)))
        _core.run("affine_image", x.dtype == np.float64, (out, x, m), ints, (float(fill_value),), cost=3.0 * x.size)
    return out


def window_image(x, m, size, fill_value=0.0, out=None):
    """The windows of `size` (height, width) of x that m (n, 4) gives; see draw_window."""
    x, m = _images("window_image", x, m, 4)
    oh, ow = (int(n) for n in size)
    if oh < 1 or ow < 1:
        raise ValueError(f"window_image: size must be positive, got {size}")
    if not (np.isfinite(m).all() and (np.abs(m) < 2**31).all()):
        raise ValueError("window_image: m must hold finite numbers below 2**31")
    out = _check.out("window_image", out, (len(x), oh, ow, x.shape[3]), x.dtype)
    _check.no_overlap("window_image", "out", out, x=x)
    if out.size:
        ints = (*x.shape, oh, ow)
        _core.run("window_image", x.dtype == np.float64, (out, x, m), ints, (float(fill_value),), cost=0.3 * out.size)
    return out


def adjust_image(x, contrast=None, brightness=None, value_range=(-math.inf, math.inf), out=None):
    """(x - mean) contrast + mean + brightness, cut to the range; the mean is each channel's over the image."""
    x, contrast = _images("adjust_image", x, contrast, name="contrast")
    _, brightness = _images("adjust_image", x, brightness, name="brightness")
    out = _check.out("adjust_image", out, x.shape, x.dtype)
    if x.size:
        ints = (len(x), x.shape[1] * x.shape[2], x.shape[3])
        reals = tuple(map(float, value_range))
        _core.run("adjust_image", x.dtype == np.float64, (out, x, contrast, brightness), ints, reals,
                  cost=1.0 * x.size)  # fmt: skip
    return out


def erase_image(x, m, fill=None, stddev=1.0, value_range=(-math.inf, math.inf), *, seed=0, stream=0, index=0,
                out=None):  # fmt: skip
    """x with the boxes m (n, 4), see draw_box, filled with `fill` (channels,), or normal noise within a range if it is
    None."""
    x, m = _images("erase_image", x, m, 4)
    counter = _counter("erase_image", seed, stream, index)
    if fill is not None:
        fill = _check.shape("erase_image", "fill", _check.array("erase_image", "fill", fill), x.shape[3:])
        _check.same_dtype("erase_image", x=x, fill=fill)
    out = _check.out("erase_image", out, x.shape, x.dtype)
    if x.size:
        reals = (float(stddev), *map(float, value_range))
        _core.run("erase_image", x.dtype == np.float64, (out, x, m, fill), (*x.shape, stream), reals,
                  cost=1.0 * x.size, **counter)  # fmt: skip
    return out


def mix_samples(x, weights, partners, out=None):
    """weights x + (1 - weights) x[partners], sample by sample."""
    x = _check.array("mix_samples", "x", x)
    weights = _check.array("mix_samples", "weights", weights)
    partners = _check.array("mix_samples", "partners", partners, (np.dtype(np.int32),))
    _check.same_dtype("mix_samples", x=x, weights=weights)
    for name, value in (("weights", weights), ("partners", partners)):
        _check.shape("mix_samples", name, value, x.shape[:1])
    if partners.size and not (0 <= partners.min() and partners.max() < len(x)):
        raise ValueError(f"mix_samples: partners must be within [0, {len(x)})")
    out = _check.out("mix_samples", out, x.shape, x.dtype)
    _check.no_overlap("mix_samples", "out", out, x=x)
    if x.size:
        _core.run("mix_samples", x.dtype == np.float64, (out, x, weights, partners), (len(x), x[0].size),
                  cost=0.3 * x.size)  # fmt: skip
    return out


__all__ = [
    "adjust_image", "affine_image", "draw_affine", "draw_box", "draw_mixture", "draw_window", "erase_image",
    "mix_samples", "window_image",
]  # fmt: skip
