"""Convolutions of NHWC images with HWIO kernels; one-dimensional ones are images of one row."""

from fastnn.graph import Spec
from fastnn.kernels import convolution as cv
from fastnn.kernels.convolution import Geometry
from fastnn.ops import movement as sh
from fastnn.ops.core import Op, apply, as_tensor, is_batched, is_tensor, make, register, shape_of
from fastnn.ops.linear import ACTIVATIONS


def _images(shape):
    """Images of one sample when batched, else in all."""
    return 1 if is_batched(shape) else shape[0]


def _code(activation):
    """(number, parameter) of an activation (name, parameter) or None."""
    return (ACTIVATIONS[activation[0]], activation[1]) if activation else (0, 0.0)


class _Convolution(Op):
    """What the three have in common: a Geometry (as a tuple) and the algorithm, None: chosen."""

    def __init__(self, geometry, algorithm=None):
        self.geometry = tuple(geometry)
        self.algorithm = algorithm

    def _plan(self, dtype):
        g = Geometry(*self.geometry)
        g = g.covered() if self.algorithm is None else g
        return g, cv.usable(self.name, g, self.algorithm, dtype == "float64")

    def _level(self, b):
        """The precision of products; algorithms asked for by name are float32's."""
        return "highest" if self.algorithm else b.level

    def _expect(self, what, shape, expected):
        if tuple(shape[-len(expected) :]) != tuple(expected) or len(shape) != 1 + 3:
            raise ValueError(f"{self.name}: {what} must have shape (n, {', '.join(map(str, expected))}), got {shape}")


@register
class Conv2D(_Convolution):
    """y = convolution of x (n, ih, iw, ci) with w (kh, kw, ci / groups, co). The compiler joins what stands behind it:
    with `bias` a third input (co,) is added; `activation` is (name, parameter)."""

    name = "conv2d"

    def __init__(self, geometry, algorithm=None, bias=False, activation=None):
        super().__init__(geometry, algorithm)
        self.bias, self.activation = bias, activation

    def infer(self, x, w, *rest):
        g = Geometry(*self.geometry)
        self._expect("images", x.shape, (g.ih, g.iw, g.ci))
        return Spec((x.shape[0], g.oh, g.ow, g.co), x.dtype)

    def gradient(self, node, dy):
        x, w = node.inputs
        return (make(Conv2DGradInput(self.geometry, self.algorithm), dy, w)[0],
                make(Conv2DGradKernel(self.geometry, self.algorithm), x, dy)[0])  # fmt: skip

    def lower(self, b, outs, ins):
        g, code = self._plan(outs[0].dtype)
        activation, alpha = _code(self.activation)
        bias = ins[2] if self.bias else None
        cv.emit_forward(b.run, b.temporary, outs[0], ins[0], ins[1], bias, None, _images(ins[0].shape), g, code,
                        is_batched(ins[0].shape), outs[0].dtype, activation, 0, alpha, self._level(b))  # fmt: skip


@register
class Conv2DGradInput(_Convolution):
    """dx from dy and w; also the transposed convolution. With `grad` (activation, parameter) a third input y, of dx's
    shape, is the tensor whose activation's gradient dx is multiplied by."""

    name = "conv2d_grad_input"

    def __init__(self, geometry, algorithm=None, grad=None):
        super().__init__(geometry, algorithm)
        self.grad = grad

    def infer(self, dy, w, *rest):
        g = Geometry(*self.geometry)
        self._expect("dy", dy.shape, (g.oh, g.ow, g.co))
        return Spec((dy.shape[0], g.ih, g.iw, g.ci), dy.dtype)

    def gradient(self, node, d):
        dy, w = node.inputs
        return (make(Conv2D(self.geometry, self.algorithm), d, w)[0],
                make(Conv2DGradKernel(self.geometry, self.algorithm), d, dy)[0])  # fmt: skip

    def lower(self, b, outs, ins):
        g = Geometry(*self.geometry)
        g = g.covered() if self.algorithm is None else g
        code, alpha = _code(self.grad)
        algorithm = cv.ALGORITHMS.get(self.algorithm, self.algorithm)
        cv.emit_grad_input(b.run, b.temporary, outs[0], ins[0], ins[1], ins[2] if self.grad else None,
                           _images(ins[0].shape), g, algorithm, is_batched(ins[0].shape), outs[0].dtype, code, alpha,
                           self._level(b))  # fmt: skip


@register
class Conv2DGradKernel(_Convolution):
    """dw from x and dy; with `bias` a second result, db."""

    name = "conv2d_grad_kernel"

    def __init__(self, geometry, algorithm=None, bias=False):
        super().__init__(geometry, algorithm)
        self.bias = bias

    def infer(self, x, dy):
        g = Geometry(*self.geometry)
        dw = Spec(g.kernel_shape, x.dtype)
        return (dw, Spec((g.co,), x.dtype)) if self.bias else dw

    def gradient(self, node, d):
        x, dy = node.inputs
        return (make(Conv2DGradInput(self.geometry, self.algorithm), dy, d)[0],
                make(Conv2D(self.geometry, self.algorithm), x, d)[0])  # fmt: skip

    def lower(self, b, outs, ins):
        g, code = self._plan(outs[0].dtype)
        db = outs[1] if self.bias else None
        cv.emit_grad_kernel(b.run, b.temporary, outs[0], db, ins[0], ins[1], _images(ins[0].shape), g, code,
                            is_batched(ins[0].shape), outs[0].dtype, self._level(b))  # fmt: skip


@register
class Conv2DMaxPool(_Convolution):
    """`MaxPool(pool)` of a `Conv2D` with its bias and activation, and with `index` its second result too. The compiler
    makes it of both."""

    name = "conv2d_max_pool"

    def __init__(self, geometry, pool, index=True, bias=False, activation=None):
        super().__init__(geometry)
        self.pool, self.index, self.bias, self.activation = tuple(pool), index, bias, activation

    def infer(self, x, *rest):
        y = Spec((x.shape[0], *self.pool[3:5], self.pool[2]), x.dtype)
        return (y, Spec(y.shape, "int8")) if self.index else y

    def lower(self, b, outs, ins):
        x, w, bias = (*ins, None)[:3]
        cv.emit_forward_pool(b.run, outs[0], outs[1] if self.index else None, x, w, bias, _images(x.shape),
                             Geometry(*self.geometry), self.pool, is_batched(x.shape), outs[0].dtype,
                             *_code(self.activation))  # fmt: skip


@register
class Conv2DPooledGradKernel(_Convolution):
    """dw from x and what `MaxPoolGrad(pool, pool_grad)` takes: dy, index (and y). The compiler makes it of both."""

    name = "conv2d_pooled_grad_kernel"

    def __init__(self, geometry, pool, pool_grad=None, bias=False):
        super().__init__(geometry)
        self.pool, self.pool_grad, self.bias = tuple(pool), pool_grad, bias

    def infer(self, x, *rest):
        return Conv2DGradKernel(self.geometry, bias=self.bias).infer(x, None)

    def lower(self, b, outs, ins):
        x, dy, index, s = (*ins, None)[:4]
        cv.emit_pooled_grad_kernel(b.run, b.temporary, outs[0], outs[1] if self.bias else None, x, dy, index, s,
                                   _images(x.shape), Geometry(*self.geometry), self.pool, is_batched(x.shape),
                                   outs[0].dtype, *_code(self.pool_grad))  # fmt: skip


@register
class Conv2DPooledGradInput(_Convolution):
    """dx from w and what `MaxPoolGrad(pool, pool_grad)` takes: dy, index (and y). With `grad` as `Conv2DGradInput`."""

    name = "conv2d_pooled_grad_input"

    def __init__(self, geometry, pool, pool_grad=None, grad=None):
        super().__init__(geometry)
        self.pool, self.pool_grad, self.grad = tuple(pool), pool_grad, grad

    def infer(self, dy, *rest):
        g = Geometry(*self.geometry)
        return Spec((dy.shape[0], g.ih, g.iw, g.ci), dy.dtype)

    def lower(self, b, outs, ins):
        dy, index, w, *rest = ins
        s, z = rest.pop(0) if self.pool_grad else None, rest.pop(0) if self.grad else None
        cv.emit_pooled_grad_input(b.run, outs[0], dy, index, w, s, z, _images(dy.shape), Geometry(*self.geometry),
                                  self.pool, is_batched(dy.shape), *_code(self.pool_grad),
                                  *_code(self.grad))  # fmt: skip


# ---- functions for users ----


def _as_image(x, where):
    """(n, steps, channels) as (n, 1, steps, channels), and whether it was one-dimensional."""
    shape = shape_of(x)
    if len(shape) == 3:
        return sh.reshape(x, (shape[0], 1, *shape[1:])), True
    if len(shape) != 4:
        raise ValueError(
            f"{where}: expected (batch, rows, columns, channels) or (batch, steps, channels), got shape {tuple(shape)}"
        )
    return x, False


def _beside(inputs, kernel):
    """The kernel as a tensor where the inputs are one, so that it can be reshaped like one."""
    return as_tensor(kernel, inputs.dtype) if is_tensor(inputs) else kernel


def _spread(value, flat, name, where):
    """An integer or tuple as (along rows, along columns)."""
    pair = (value,) if isinstance(value, int) else tuple(value)
    wanted = 1 if flat else 2
    if len(pair) == 1 and not flat:
        pair *= 2
    if len(pair) != wanted:
        raise ValueError(f"{where}: {name} must have {wanted} entries, got {value!r}")
    return (1, *pair) if flat else pair


def conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1, groups=1, *, where="conv",
         algorithm=None):  # fmt: skip
    """Convolution of (n, rows, columns, channels) with (rows, columns, channels / groups, filters), or the same without
    rows. `padding`: "valid", "same", "causal" (along columns), or ((top, bottom), (left, right))."""
    channels_last(data_format, where)
    x, flat = _as_image(inputs, where)
    w_shape = tuple(shape_of(kernel))
    if len(w_shape) != (3 if flat else 4):
        raise ValueError(f"{where}: a kernel for inputs of shape {tuple(shape_of(inputs))} needs {3 if flat else 4} "
                         f"dimensions, got {w_shape}")  # fmt: skip
    if flat:
        kernel, w_shape = sh.reshape(_beside(inputs, kernel), (1, *w_shape)), (1, *w_shape)
    if padding == "causal":
        padding = ("valid", "causal")
    g = cv.geometry(where, shape_of(x), w_shape, _spread(strides, flat, "strides", where), padding,
                    _spread(dilation_rate, flat, "dilation_rate", where), groups)  # fmt: skip
    y = apply(Conv2D(g, algorithm), x, kernel)
    return sh.reshape(y, (shape_of(inputs)[0], g.ow, g.co)) if flat else y


def depthwise_conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1, *,
                   where="depthwise_conv"):  # fmt: skip
    """Each channel convolved with filters of its own: kernel (rows, columns, channels, multiplier), or without rows."""
    *size, channels, multiplier = shape_of(kernel)
    if shape_of(inputs)[-1] != channels:
        raise ValueError(f"{where}: inputs of shape {tuple(shape_of(inputs))} must have {channels} channels")
    kernel = sh.reshape(_beside(inputs, kernel), (*size, 1, channels * multiplier))
    return conv(inputs, kernel, strides, padding, data_format, dilation_rate, channels, where=where)


def separable_conv(inputs, depthwise_kernel, pointwise_kernel, strides=1, padding="valid", data_format=None,
                   dilation_rate=1, *, where="separable_conv"):  # fmt: skip
    """A depthwise convolution, then one of 1x1."""
    x = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate, where=where)
    return conv(x, pointwise_kernel, where=where)


def conv_transpose(inputs, kernel, strides=1, padding="valid", output_padding=None, data_format=None, dilation_rate=1,
                   *, where="conv_transpose"):  # fmt: skip
    """The transposed convolution: what the gradient of a convolution by its input does. kernel (rows, columns, filters,
    channels), or without rows."""
    channels_last(data_format, where)
    x, flat = _as_image(inputs, where)
    shape, w_shape = shape_of(x), tuple(shape_of(kernel))
    if flat:
        kernel, w_shape = sh.reshape(_beside(inputs, kernel), (1, *w_shape)), (1, *w_shape)
    if shape[-1] != w_shape[-1]:
        raise ValueError(f"{where}: inputs of shape {tuple(shape_of(inputs))} must have {w_shape[-1]} channels")
    if padding not in ("valid", "same"):
        raise ValueError(f"{where}: padding must be 'valid' or 'same', got {padding!r}")
    strides = _spread(strides, flat, "strides", where)
    dilation = _spread(dilation_rate, flat, "dilation_rate", where)
    if min(strides) < 1 or min(dilation) < 1:
        raise ValueError(f"{where}: strides and dilation_rate must be positive, got {strides} and {dilation}")
    if max(strides) > 1 and max(dilation) > 1:
        raise ValueError(f"{where}: strides {strides} > 1 and dilation_rate {dilation} > 1 cannot be combined")
    extra = (None, None) if output_padding is None else _spread(output_padding, flat, "output_padding", where)
    extra = (None, extra[1]) if flat else extra
    sizes, before = [], []
    for size, kernel_size, s, d, more in zip(shape[1:3], w_shape[:2], strides, dilation, extra, strict=True):
        span = (kernel_size - 1) * d + 1
        if padding == "valid":
            left, right = span - 1, span - 1 + (max(span, s) - span if more is None else more)
        else:
            total = s + span - 2 if more is None else span + span % 2 - 2 + more
            left = min(total // 2 + total % 2, span - 1)
            right = total - left
        sizes.append((size - 1) * s + 2 - span + left + right)
        before.append(span - 1 - left)
    if min(sizes) < 1:
        raise ValueError(f"{where}: inputs of {shape[1:3]} with these options would give {tuple(sizes)}")
    g = Geometry(*sizes, w_shape[2], *shape[1:], *w_shape[:2], *strides, *before, *dilation)
    y = apply(Conv2DGradInput(g), x, kernel)
    return sh.reshape(y, (shape[0], g.iw, g.ci)) if flat else y


def channels_last(data_format, where):
    """Raises unless images are (rows, columns, channels)."""
    if data_format == "channels_first":
        raise ValueError(
            f"{where}: data_format='channels_first' is not supported; use 'channels_last' and put the channels behind, "
            f"with Permute((2, 3, 1)) or numpy.moveaxis(x, 1, -1)"
        )
    if data_format not in (None, "channels_last"):
        raise ValueError(f"{where}: data_format must be 'channels_last', got {data_format!r}")
