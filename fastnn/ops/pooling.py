"""Pooling: the largest or the mean element of each channel in windows of NHWC images; one-dimensional inputs are images
of one row."""

from fastnn.graph import Spec
from fastnn.kernels.convolution import padding_of
from fastnn.ops import movement as sh
from fastnn.ops.convolution import _as_image, _spread, channels_last
from fastnn.ops.core import Op, apply, is_batched, make, register, size
from fastnn.ops.core import shape_of as _shape
from fastnn.ops.elementwise import UnaryGrad

_COST = 0.1  # ns an element of the input


class _Pool(Op):
    """`geometry`: ih, iw, channels, oh, ow, kh, kw, sh, sw, top, left."""

    def __init__(self, geometry):
        self.geometry = tuple(geometry)

    def _in(self, n):
        return (n, *self.geometry[:3])

    def _out(self, n):
        return (n, *self.geometry[3:5], self.geometry[2])

    def _run(self, b, kernel, operands, shape, ints):
        images = 1 if is_batched(shape) else shape[0]
        b.run(kernel, operands, (images, *self.geometry, *ints),
              cost=images * size(self.geometry[:3]) * _COST, batched=is_batched(shape))  # fmt: skip

    @property
    def _wide(self):
        """Whether a position in the window needs more than a byte."""
        return self.geometry[5] * self.geometry[6] > 256


@register
class MaxPool(_Pool):
    """y, and where in its window each element was (`index`), which the gradient needs."""

    name = "max_pool"

    def __init__(self, geometry, index=True):
        super().__init__(geometry)
        self.index = index

    def infer(self, x):
        y = Spec(self._out(x.shape[0]), x.dtype)
        return (y, Spec(y.shape, "int32" if self._wide else "int8")) if self.index else y

    def gradient(self, node, dy, _):
        return (make(MaxPoolGrad(self.geometry), dy, node.outputs[1])[0],)

    def lower(self, b, outs, ins):
        index = outs[1] if self.index else None
        self._run(b, "max_pool", (outs[0], ins[0], index), ins[0].shape, (int(self._wide),))


@register
class MaxPoolGrad(_Pool):
    """dx from dy and the index. With `grad` (activation, parameter) a third input, the pooled y, is the tensor whose
    activation's gradient dy is multiplied by first."""

    name = "max_pool_grad"

    def __init__(self, geometry, grad=None):
        super().__init__(geometry)
        self.grad = grad

    def infer(self, dy, *rest):
        return Spec(self._in(dy.shape[0]), dy.dtype)

    def lower(self, b, outs, ins):
        dy, s = ins[0], None
        if self.grad and self.grad[0] == "relu":
            s = ins[2]
        elif self.grad:
            dy = b.temporary(dy.shape, dy.dtype)
            UnaryGrad(self.grad[0], self.grad[1:]).lower(b, (dy,), (ins[0], ins[2]))
        self._run(b, "max_pool_grad", (outs[0], dy, ins[1], s), dy.shape, (int(self._wide),))


@register
class AveragePool(_Pool):
    """The mean of each window; with `total` its sum."""

    name = "average_pool"

    def __init__(self, geometry, total=False):
        super().__init__(geometry)
        self.total = total

    def infer(self, x):
        return Spec(self._out(x.shape[0]), x.dtype)

    def gradient(self, node, dy):
        return (make(AveragePoolGrad(self.geometry, self.total), dy)[0],)

    def lower(self, b, outs, ins):
        self._run(b, "average_pool", (outs[0], ins[0]), ins[0].shape, (int(self.total),))


@register
class AveragePoolGrad(_Pool):
    """Each element of dy spread over its window; with `total` given whole to each element of it."""

    name = "average_pool_grad"

    def __init__(self, geometry, total=False):
        super().__init__(geometry)
        self.total = total

    def infer(self, dy):
        return Spec(self._in(dy.shape[0]), dy.dtype)

    def gradient(self, node, d):
        return (make(AveragePool(self.geometry, self.total), d)[0],)

    def lower(self, b, outs, ins):
        self._run(b, "average_pool_grad", (outs[0], ins[0]), ins[0].shape, (int(self.total),))


# ---- functions for users ----


def _pool(op, inputs, pool_size, strides, padding, data_format, where):
    channels_last(data_format, where)
    x, flat = _as_image(inputs, where)
    n, ih, iw, channels = _shape(x)
    window = _spread(pool_size, flat, "pool_size", where)
    strides = window if strides is None else _spread(strides, flat, "strides", where)
    if min(window) < 1 or min(strides) < 1:
        raise ValueError(f"{where}: pool_size and strides must be positive, got {window} and {strides}")
    if padding not in ("valid", "same"):
        raise ValueError(f"{where}: padding must be 'valid' or 'same', got {padding!r}")
    out, before = [], []
    for length, k, s in zip((ih, iw), window, strides, strict=True):
        lo, hi = padding_of(padding, length, k, s, 1)
        if length + lo + hi < k:
            raise ValueError(
                f"{where}: a window of {k} is larger than the image's {length}; use a smaller pool_size, "
                f"padding='same', or larger images"
            )
        out.append((length + lo + hi - k) // s + 1)
        before.append(lo)
    y = apply(op((ih, iw, channels, *out, *window, *strides, *before)), x)
    y = y[0] if isinstance(y, tuple) else y
    return sh.reshape(y, (n, out[1], channels)) if flat else y


def max_pool(inputs, pool_size, strides=None, padding="valid", data_format=None, *, where="max_pool"):
    """The largest element of each window; `strides` are `pool_size` by default."""
    return _pool(MaxPool, inputs, pool_size, strides, padding, data_format, where)


def average_pool(inputs, pool_size, strides=None, padding="valid", data_format=None, *, where="average_pool"):
    """The mean of each window, of the elements that lie in the image."""
    return _pool(AveragePool, inputs, pool_size, strides, padding, data_format, where)


def repeat_pixels(x, times):
    """Each pixel of (n, rows, columns, channels) `times` (rows, columns) over."""
    _, h, w, channels = _shape(x)
    a, b = times
    geometry = (h * a, w * b, channels, h, w, a, b, a, b, 0, 0)
    return apply(AveragePoolGrad(geometry, True), x)
