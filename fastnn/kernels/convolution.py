"""Two-dimensional convolutions of NHWC images with HWIO kernels on NumPy arrays, and their gradients.

`Geometry` holds the sizes that every kernel is given; `emit_*` say which kernels make up an operation, for the
functions here and for the compiler alike.
"""

import math
from typing import NamedTuple

import numpy as np

from fastnn import _core
from fastnn import precision as levels
from fastnn.kernels import _check
from fastnn.kernels.products import _ALPHA, ACTIVATIONS
from fastnn.utils import checks

__all__ = ["conv2d", "conv2d_grad_input", "conv2d_grad_kernel"]

#: Algorithms and their numbers in csrc/kernels/convolution.inc.c. "direct" and "indirect" are one: patches are read
#: where they lie.
ALGORITHMS = {
    "im2col": 1, "pointwise": 2, "direct": 3, "indirect": 3, "direct_small": 4, "depthwise": 5, "winograd": 6,
}  # fmt: skip
#: The gradient by the image knows one more: products whose rows are patches, added up where the patches lie.
SCATTER = "scatter"
_IM2COL, _POINTWISE, _DIRECT, _SMALL, _DEPTHWISE, _WINOGRAD = 1, 2, 3, 4, 5, 6
_PLANAR = 7  # of conv2d_max_pool alone
_CLEAR = 36  # place of a parameter of conv2d
_TRANSFORM = 80
_TOO_FAR = 2**16  # pixels: for strides, dilation and padding, whose products must not overflow
_NS_PER_FLOP = 0.012  # one thread, float32
_WIDTHS = _core.cpu()["vector_width"]  # asked once: CPUID takes tens of us in a virtual machine


class Geometry(NamedTuple):
    """Sizes of a convolution: input, output, kernel, strides, zeros before the first row and column, dilation, groups.

    With negative `top` or `left`, rows or columns are left out instead.
    """

    ih: int
    iw: int
    ci: int
    oh: int
    ow: int
    co: int
    kh: int
    kw: int
    sh: int = 1
    sw: int = 1
    top: int = 0
    left: int = 0
    dh: int = 1
    dw: int = 1
    groups: int = 1

    @property
    def cost(self):
        """Rough ns of one image on one thread."""
        return self.flops * _NS_PER_FLOP + 0.2 * self.oh * self.ow * self.co + 20

    @property
    def flops(self):
        """Multiplications and additions for one image, as the direct algorithm counts."""
        return 2 * self.oh * self.ow * self.co * self.kh * self.kw * (self.ci // self.groups)

    @property
    def kernel_shape(self):
        return self.kh, self.kw, self.ci // self.groups, self.co

    @property
    def plain_3x3(self):
        """Whether Winograd's F(2x2, 3x3) applies: 3x3 taps, one after the other."""
        return (self.kh, self.kw, self.sh, self.sw, self.dh, self.dw, self.groups) == (3, 3, 1, 1, 1, 1, 1)

    def covered(self):
        """An equal 1x1 convolution of one pixel where the kernel covers the image whole, else itself."""
        whole = (self.oh, self.ow, self.kh, self.kw) == (1, 1, self.ih, self.iw)
        if whole and self.groups == self.dh == self.dw == 1 and self.top == self.left == 0:
            return Geometry(1, 1, self.ih * self.iw * self.ci, 1, 1, self.co, 1, 1)
        return self


def padding_of(padding, size, kernel, stride, dilation):
    """(before, after) along one dimension: "valid" has none; "same" keeps ceil(size / stride) pixels, the odd zero
    last; "causal" has all zeros before; a pair is taken as it is."""
    span = (kernel - 1) * dilation + 1
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return span - 1, 0
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
        return total // 2, total - total // 2
    return padding


def geometry(where, x_shape, w_shape, strides, padding, dilation, groups):
    """The Geometry of a convolution of images (..., ih, iw, ci) with a kernel (kh, kw, ci / groups, co); raises
    ValueError where there is none. `padding` is a name of `padding_of` or ((top, bottom), (left, right))."""
    ih, iw, ci = x_shape[-3:]
    kh, kw, cig, co = w_shape
    if min(kh, kw, cig, co) < 1:
        raise ValueError(f"{where}: the kernel's sizes must be positive, got shape {tuple(w_shape)}")
    if groups < 1 or co % groups:
        raise ValueError(f"{where}: {co} filters cannot be divided into {groups} groups; choose a divisor of {co}")
    if ci != cig * groups:
        hint = ""
        if x_shape[-3] == cig * groups:
            hint = "; these look like channels-first images: transpose them to (rows, columns, channels)"
        raise ValueError(
            f"{where}: images of shape {tuple(x_shape[-3:])} have {ci} channels, but a kernel of shape "
            f"{tuple(w_shape)} with groups={groups} needs {cig * groups}{hint}"
        )
    if min(strides) < 1 or min(dilation) < 1:
        raise ValueError(f"{where}: strides and dilation_rate must be positive, got {strides} and {dilation}")
    if max(strides) > 1 and max(dilation) > 1:
        raise ValueError(f"{where}: strides {strides} > 1 and dilation_rate {dilation} > 1 cannot be combined")
    if max(*strides, *dilation) >= _TOO_FAR:
        raise ValueError(
            f"{where}: strides and dilation_rate must be less than {_TOO_FAR}, got {strides} and {dilation}"
        )
    names = (padding, padding) if isinstance(padding, str) else padding
    out, before = [], []
    for size, kernel, s, d, p, axis in zip(
        (ih, iw), (kh, kw), strides, dilation, names, ("rows", "columns"), strict=True
    ):
        if isinstance(p, str) and p not in ("valid", "same", "causal"):
            raise ValueError(f"{where}: padding must be 'valid', 'same' or pairs of sizes, got {p!r}")
        lo, hi = padding_of(p, size, kernel, s, d)
        if lo < 0 or hi < 0:
            raise ValueError(f"{where}: padding must not be negative, got {padding}")
        if lo >= _TOO_FAR or hi >= _TOO_FAR:
            raise ValueError(f"{where}: padding must be less than {_TOO_FAR} pixels, got {lo} before and {hi} after")
        span = (kernel - 1) * d + 1
        if span > size + lo + hi:
            spread = f" spread by dilation_rate {d}" if d > 1 else ""
            padded = f" with {lo + hi} of padding" if lo + hi else ""
            raise ValueError(
                f"{where}: a kernel of {kernel} {axis}{spread} is larger than the image's {size}{padded}; use a "
                f"smaller kernel, padding='same', or larger images"
            )
        out.append((size + lo + hi - span) // s + 1)
        before.append(lo)
    g = Geometry(ih, iw, ci, *out, co, kh, kw, *strides, *before, *dilation, groups)
    if math.prod((ih, iw, ci)) >= 2**40 or math.prod((*out, co)) >= 2**40 or math.prod(g.kernel_shape) >= 2**40:
        raise ValueError(f"{where}: sizes overflow: image {(ih, iw, ci)}, kernel {tuple(w_shape)}, result {(*out, co)}")
    return g


def _winograd_pays(g, float64):
    """Whether 16 multiplications for each 2x2 pixels, and the transforms, are clearly less than 36. A transform costs
    about as much as _TRANSFORM multiplications of each element of a tile's channel; vectors are whole there."""
    lanes = _WIDTHS["float64" if float64 else "float32"]
    ci, co = -(-g.ci // lanes) * lanes, -(-g.co // lanes) * lanes
    tiles = -(-g.oh // 2) * -(-g.ow // 2)
    return tiles >= 9 and g.oh * g.ow * 9 * g.ci * g.co > 1.3 * tiles * (16 * g.ci * co + _TRANSFORM * (ci + co))


def choose(g, float64=False):
    """The number of the algorithm that is fastest for a geometry."""
    if g.groups == g.ci and g.groups > 1:
        return _DEPTHWISE
    if g.kh == g.kw == g.sh == g.sw == g.groups == 1 and g.top == g.left == 0 and (g.oh, g.ow) == (g.ih, g.iw):
        return _POINTWISE
    if g.plain_3x3 and _winograd_pays(g, float64):
        return _WINOGRAD
    if g.groups == 1 and g.ow < 4:
        return _IM2COL
    if g.groups == 1 and g.dw == 1 and g.co % _WIDTHS["float64" if float64 else "float32"]:
        return _SMALL
    return _DIRECT


def usable(where, g, algorithm, float64):
    """The number of an algorithm asked for by name (None: chosen); ValueError where it cannot do this geometry."""
    if algorithm is None:
        return choose(g, float64)
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise ValueError(f"{where}: algorithm must be one of {', '.join(map(repr, ALGORITHMS))}, got {algorithm!r}")
    code = ALGORITHMS[algorithm]
    if (
        code == _POINTWISE
        and choose(g) != _POINTWISE
        and not (g.kh == g.kw == g.sh == g.sw == g.groups == 1 and (g.oh, g.ow, g.top, g.left) == (g.ih, g.iw, 0, 0))
    ):
        raise ValueError(f"{where}: algorithm 'pointwise' is for kernels of 1x1 with stride 1, no padding, groups=1")
    if code == _WINOGRAD and not g.plain_3x3:
        raise ValueError(
            f"{where}: algorithm 'winograd' is for kernels of 3x3 with stride 1, dilation_rate 1 and groups=1, got "
            f"{g.kh}x{g.kw} with strides {(g.sh, g.sw)}, dilation_rate {(g.dh, g.dw)} and groups={g.groups}"
        )
    if code == _DEPTHWISE and g.groups != g.ci:
        raise ValueError(f"{where}: algorithm 'depthwise' needs groups={g.ci}, the number of channels, got {g.groups}")
    return code


def in_parts(g, algorithm, level, dtype):
    """(algorithm, parts, on tiles) of a convolution at a level of precision, where `algorithm` is what float32 would
    take; parts 0 is float32."""
    if level == "highest" or str(dtype) != "float32" or algorithm == _DEPTHWISE:
        return algorithm, 0, False
    if algorithm == _WINOGRAD and not levels.choose(level)[1]:  # fewer multiplications, then in pairs
        return algorithm, *levels.pays(level, g.ci, g.co)
    parts, tiled = levels.pays(level, g.kh * g.kw * g.ci // g.groups, g.co // g.groups)
    return _IM2COL if parts else algorithm, parts, tiled


# ---- which kernels an operation is ----


def ints_of(images, g, activation, gradient, algorithm, place=None):
    """The ints of conv2d; `place` (first, pixel, row, image) says where in y the pixels go."""
    place = place or (0, g.co, g.ow * g.co, g.oh * g.ow * g.co)
    return (images, *g, activation, gradient, algorithm, *place)


def _cleared(ints, n):
    """conv2d's ints, with n elements of each image of y becoming 0 first."""
    return (*ints, *[0] * (_CLEAR - len(ints)), n)


def _kernel_of(run, temporary, w, g, algorithm, dtype, parts):
    """The kernel as the algorithm takes it."""
    if algorithm != _WINOGRAD:
        return w
    lanes = _WIDTHS[str(dtype)]
    rows = -(-g.ci // 2) if parts else g.ci
    u = temporary((16, rows, -(-g.co // lanes) * lanes), dtype)
    run("conv2d_winograd_kernel", (u, w), (1, g.ci, g.co, parts), (), cost=g.ci * g.co * 4.0, batched=False)
    return u


def _emit_conv(run, temporary, operands, images, g, algorithm, level, batched, dtype, activation=0, gradient=0,
               alpha=0.0, place=None, clear=0):  # fmt: skip
    """conv2d with what it needs before: operands y, x, w, bias, s. `clear` elements of each image of y become 0 before
    any is written."""
    y, x, w, *rest = operands
    algorithm, parts, tiled = in_parts(g, algorithm, level, dtype)
    w = _kernel_of(run, temporary, w, g, algorithm, dtype, parts)
    ints = levels.put("conv2d", ints_of(images, g, activation, gradient, algorithm, place), parts, tiled)
    run("conv2d", (y, x, w, *rest), _cleared(ints, clear) if clear else ints, (alpha,), cost=g.cost * images,
        batched=batched)  # fmt: skip


def emit_forward(run, temporary, y, x, w, bias, s, images, g, algorithm, batched, dtype, activation=0, gradient=0,
                 alpha=0.0, level="highest"):  # fmt: skip
    """y = act(conv(x, w) * act'(s) + bias)."""
    _emit_conv(run, temporary, (y, x, w, bias, s), images, g, algorithm, level, batched, dtype, activation, gradient,
               alpha)  # fmt: skip


def phases(g):
    """The convolutions of dy that make up the gradient by the image, [(Geometry, taps, place)], and whether they write
    every pixel: a stride may step over some.

    taps (ti, tj, i0, j0, si, sj) are conv2d_flip's ints; place is where in dx the pixels go.
    """

    def along(size, kernel, stride, before, dilation):
        if stride == 1:
            return [(size, kernel, 0, 1, 0, (kernel - 1) * dilation - before, dilation)]
        found = []
        for r in range(min(stride, kernel)):
            first = (r - before) % stride  # first pixel that meets the taps r, r + stride, ...
            if first < size:
                taps, q0 = -(-(kernel - r) // stride), (first + before - r) // stride
                found.append((-(-(size - first) // stride), taps, r, stride, first, taps - 1 - q0, 1))
        return found

    result = []
    for rows, ti, i0, si, y0, top, dh in along(g.ih, g.kh, g.sh, g.top, g.dh):
        for columns, tj, j0, sj, x0, left, dw in along(g.iw, g.kw, g.sw, g.left, g.dw):
            part = Geometry(g.oh, g.ow, g.co, rows, columns, g.ci, ti, tj, 1, 1, top, left, dh, dw, g.groups)
            place = ((y0 * g.iw + x0) * g.ci, sj * g.ci, si * g.iw * g.ci, g.ih * g.iw * g.ci)
            result.append((part, (ti, tj, i0, j0, si, sj), place))
    return result, sum(part.oh * part.ow for part, _, _ in result) == g.ih * g.iw


def emit_grad_input(run, temporary, dx, dy, w, s, images, g, algorithm, batched, dtype, gradient=0, alpha=0.0,
                    level="highest"):  # fmt: skip
    """dx = the gradient of a convolution by its input, times act'(s). `algorithm` None: chosen for each phase."""
    if algorithm == SCATTER or (algorithm is None and g.groups == 1 and g.ci < _WIDTHS[str(dtype)] and g.co >= 8):
        k = g.kh * g.kw * g.ci
        turned = temporary((g.co, k), dtype)
        run("strided_copy", (turned, w), (g.co, 1, k, 1, g.co, 0, 0), (), cost=k * g.co * 0.3, batched=False)
        run("conv2d_scatter", (dx, dy, turned, s), ints_of(images, g, 0, gradient, _IM2COL), (alpha,),
            cost=g.cost * images, batched=batched)  # fmt: skip
        return
    found, whole = phases(g)
    clear = 0 if whole else g.ih * g.iw * g.ci
    if not found:
        ints = ints_of(images, g._replace(oh=0), 0, 0, _IM2COL, (0, 0, 0, clear))
        run("conv2d", (dx, dy, w, None, None), _cleared(ints, clear), (), cost=clear * images * 0.1, batched=batched)
    for part, taps, place in found:
        flipped = temporary((taps[0], taps[1], g.co // g.groups, g.ci), dtype)
        n = part.kh * part.kw * g.co * g.ci / g.groups
        run("conv2d_flip", (flipped, w), (1, g.kw, g.ci, g.co, g.groups, *taps), (), cost=n * 0.3, batched=False)
        code = choose(part, dtype == "float64") if algorithm is None else algorithm
        # Pixels, rows or images of dx that do not follow each other.
        spaced = place[1:] != (part.co, part.ow * part.co, part.oh * part.ow * part.co)
        if (spaced and code in (_POINTWISE, _SMALL)) or (code == _DEPTHWISE and part.groups != part.ci):
            code = _DIRECT
        _emit_conv(run, temporary, (dx, dy, flipped, None, s), images, part, code, level, batched, dtype, 0, gradient,
                   alpha, place, clear)  # fmt: skip
        clear = 0


def parts_of(g):
    """Into how many parts the images of a kernel's gradient are cut: many for small kernels, few where the sums of
    each part are as large as the images."""
    n = math.prod(g.kernel_shape)
    return 16 if n <= 8192 else 8 if n <= 1 << 17 else 4


def emit_grad_kernel(run, temporary, dw, db, x, dy, images, g, algorithm, batched, dtype, level="highest"):
    """dw and db (or None): the gradients of a convolution by its kernel and its bias."""
    n, parts = math.prod(g.kernel_shape), parts_of(g)
    sums = temporary((parts, n + g.co), dtype)
    algorithm, *how = in_parts(g, algorithm, level, dtype)
    ints = levels.put("conv2d_parts", (*ints_of(images, g, 0, 0, algorithm), parts), *how)
    run("conv2d_parts", (sums, x, dy), ints, (), cost=g.cost * images, batched=batched)
    run("conv2d_sum", (dw, db, sums), (images, n, g.co, parts), (), cost=n * parts * 0.1 / (16 if batched else 1),
        batched=batched)  # fmt: skip


# ---- a max-pool behind a convolution (conv_max_pool.inc.c, conv_pooled.inc.c) ----


def pool_joins(g, pool, float64=False):
    """Whether a convolution's result is better max-pooled image by image, as soon as it is there. `pool`: the pool's
    geometry (ih, iw, channels, oh, ow, kh, kw, sh, sw, top, left)."""
    return choose(g, float64) in (_DIRECT, _SMALL) and pool[5] * pool[6] <= 256


def emit_forward_pool(run, y, index, x, w, bias, images, g, pool, batched, dtype, activation=0, alpha=0.0):
    """y = max_pool(act(conv(x, w) + bias)), and its index or None."""
    code = choose(g, dtype == "float64")
    plain = g.ci == g.sh == g.sw == g.dh == g.dw == 1 and tuple(pool[5:]) == (2, 2, 2, 2, 0, 0)
    inside = 2 * pool[3] <= g.oh and 2 * pool[4] <= g.ow
    if code == _SMALL and plain and inside and activation <= ACTIVATIONS["relu"]:
        code = _PLANAR
    run("conv2d_max_pool", (y, x, w, bias, index), (*ints_of(images, g, activation, 0, code), 0, *pool[3:]), (alpha,),
        cost=g.cost * images, batched=batched)  # fmt: skip


def pooled_kernel_fits(g, pool):
    """Whether the kernel's gradient can be made from the pooled dy, element by element, and windows do not overlap."""
    _, _, _, _, _, kh, kw, sh, sw, _, _ = pool
    return g.groups == g.dh == g.dw == 1 and kh * kw <= 256 and sh >= kh and sw >= kw


def pooled_input_fits(g, pool):
    """The same of the image's gradient."""
    plain = g.groups == g.dh == g.dw == g.sh == g.sw == 1 and g.kh in (3, 5)
    return plain and tuple(pool[5:]) == (2, 2, 2, 2, 0, 0)


def pooled_pays(g, pool, float64=False, image=False):
    """Whether that takes less than the pool's gradient and then the kernel's (or the `image`'s): vectors that are
    multiplied, and about six times as long for each element as for one of them."""
    lanes = _WIDTHS["float64" if float64 else "float32"]
    code, taps = choose(g, float64), g.kh * g.kw * g.ci
    pooled = pool[3] * pool[4] * g.co * (g.kh * -(-g.kw * g.ci // lanes) + 6)
    if image:
        vectors = g.co * -(-taps // lanes)
    else:
        vectors = taps * (g.co / (0.6 * lanes) if code == _SMALL else -(-g.co // lanes))
    return pooled < 1.3 * g.oh * g.ow * vectors / (1.8 if code == _WINOGRAD else 1)


def _pooled_ints(images, g, gradient, parts, pool, last=0):
    return (*ints_of(images, g, 0, gradient, _DIRECT), parts, *pool[3:], last)


def emit_pooled_grad_kernel(run, temporary, dw, db, x, dy, index, s, images, g, pool, batched, dtype, gradient=0,
                            alpha=0.0):  # fmt: skip
    """dw and db of a convolution whose max-pooled result's gradient is dy act'(s)."""
    n, parts = math.prod(g.kernel_shape), parts_of(g)
    sums = temporary((parts, n + g.co), dtype)
    run("conv2d_pooled_parts", (sums, x, dy, index, s), _pooled_ints(images, g, gradient, parts, pool), (alpha,),
        cost=g.cost * images / 3, batched=batched)  # fmt: skip
    run("conv2d_sum", (dw, db, sums), (images, n, g.co, parts), (), cost=n * parts * 0.1 / (16 if batched else 1),
        batched=batched)  # fmt: skip


def emit_pooled_grad_input(run, dx, dy, index, w, s, z, images, g, pool, batched, gradient=0, alpha=0.0, last=0,
                           last_alpha=0.0):  # fmt: skip
    """dx of a convolution whose max-pooled result's gradient is dy act'(s), times act'(z)."""
    run("conv2d_pooled_input", (dx, dy, index, w, s, z), _pooled_ints(images, g, gradient, 0, pool, last),
        (alpha, last_alpha), cost=g.cost * images / 3, batched=batched)  # fmt: skip


# ---- on arrays ----


def _pair(where, name, value):
    pair = (value, value) if checks.is_integer(value) else value
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(map(checks.is_integer, pair)):
        raise ValueError(f"{where}: {name} must be an integer or a pair of integers, got {value!r}")
    return int(pair[0]), int(pair[1])


def _padding(where, padding):
    if isinstance(padding, str) and padding in ("valid", "same"):
        return padding
    flat = tuple(padding) if isinstance(padding, (tuple, list)) else ()
    if len(flat) == 4:  # top, left, bottom, right
        flat = ((flat[0], flat[2]), (flat[1], flat[3]))
    if len(flat) != 2 or not all(
        isinstance(p, (tuple, list)) and len(p) == 2 and all(map(checks.is_integer, p)) for p in flat
    ):
        raise ValueError(
            f"{where}: padding must be 'valid', 'same', (top, left, bottom, right) or ((top, bottom), (left, right)), "
            f"got {padding!r}"
        )
    return tuple((int(a), int(b)) for a, b in flat)


def _runner(dtype):
    def run(kernel, operands, ints, reals, *, cost, batched):
        _core.run(kernel, dtype == np.float64, operands, ints, reals, cost=cost)

    return run


def _level(where, precision, algorithm):
    """The level of products: algorithms asked for by name are float32's."""
    levels.check(precision, where)
    return "highest" if algorithm else precision


def _common(where, x, w, x_shape, w_shape, strides, padding, dilation_rate, groups, dtype, algorithm):
    if len(x_shape) != 4 or len(w_shape) != 4:
        raise ValueError(
            f"{where}: needs images (n, rows, columns, channels) and a kernel (rows, columns, channels, filters), got "
            f"shapes {tuple(x_shape)} and {tuple(w_shape)}"
        )
    if not checks.is_integer(groups):
        raise ValueError(f"{where}: groups must be an integer, got {groups!r}")
    g = geometry(where, x_shape, w_shape, _pair(where, "strides", strides), _padding(where, padding),
                 _pair(where, "dilation_rate", dilation_rate), int(groups))  # fmt: skip
    if algorithm is None:
        g = g.covered()
    return g, usable(where, g, algorithm, dtype == np.float64)


def conv2d(x, w, bias=None, strides=1, padding="valid", dilation_rate=1, groups=1, activation=None, algorithm=None,
           out=None, precision="highest"):  # fmt: skip
    """act(convolution + bias): y[n, p, q, o] = sum over i, j, c of x[n, p s + i d, q s + j d, c] w[i, j, c, o].

    x              (n, rows, columns, channels)
    w              (rows, columns, channels / groups, filters)
    bias           (filters,) or None
    strides, dilation_rate   an integer or a pair; not both above 1
    padding        "valid", "same" or (top, left, bottom, right)
    activation     a name of fastnn.kernels.products.ACTIVATIONS
    algorithm      "im2col", "pointwise", "direct" (also "indirect"), "direct_small", "depthwise", "winograd", or None:
                   the fastest. "winograd" (3x3, stride 1) rounds as much in the mean as the others, 0.1 to 0.25 epsilon
                   of the sum of |x| |w|, but spreads the error of a 2x2 tile of pixels, and a NaN, to all four
    out            the result, written and returned; a new array when None
    precision      of the products: see `fastnn.config.set_matmul_precision`; algorithms asked for by name are float32
    """
    where = "conv2d"
    x, w = _check.array(where, "x", x), _check.array(where, "w", w)
    if bias is not None:
        bias = _check.array(where, "bias", bias)
    dtype = _check.same_dtype(where, x=x, w=w, bias=bias)
    g, code = _common(where, x, w, x.shape, w.shape, strides, padding, dilation_rate, groups, dtype, algorithm)
    if bias is not None:
        _check.shape(where, "bias", bias, (g.co,))
    if not isinstance(activation, (str, type(None))) or activation not in ACTIVATIONS:
        raise ValueError(f"{where}: activation must be one of {', '.join(map(repr, ACTIVATIONS))}, got {activation!r}")
    out = _check.out(where, out, (len(x), g.oh, g.ow, g.co), dtype)
    _check.no_overlap(where, "out", out, x=x, w=w, bias=bias)
    alpha, level = _ALPHA.get(activation, 0.0), _level(where, precision, algorithm)
    emit_forward(_runner(dtype), np.empty, out, x, w, bias, None, len(x), g, code, False, dtype,
                 ACTIVATIONS[activation], 0, alpha, level)  # fmt: skip
    return out


def conv2d_grad_input(
    dy, w, input_shape, strides=1, padding="valid", dilation_rate=1, groups=1, algorithm=None, out=None,
    precision="highest"
):  # fmt: skip
    """The gradient of `conv2d` by x, an array of `input_shape` (n, rows, columns, channels), from dy, that by y.
    `algorithm` is one of `conv2d`'s (of the convolutions of dy that make it up) or "scatter"; `precision` as there."""
    where = "conv2d_grad_input"
    dy, w = _check.array(where, "dy", dy), _check.array(where, "w", w)
    dtype = _check.same_dtype(where, dy=dy, w=w)
    if not isinstance(input_shape, (tuple, list)) or not all(checks.is_integer(n) and n >= 0 for n in input_shape):
        raise ValueError(
            f"{where}: input_shape must be (n, rows, columns, channels), integers from 0 on, got {input_shape!r}"
        )
    input_shape = tuple(map(int, input_shape))
    known = algorithm if algorithm == "winograd" else None
    g, _ = _common(where, dy, w, input_shape, w.shape, strides, padding, dilation_rate, groups, dtype, known)
    _check.shape(where, "dy", dy, (input_shape[0], g.oh, g.ow, g.co))
    if algorithm not in (None, SCATTER, *ALGORITHMS):
        names = ", ".join(map(repr, (*ALGORITHMS, SCATTER)))
        raise ValueError(f"{where}: algorithm must be one of {names}, got {algorithm!r}")
    if algorithm == SCATTER and g.groups > 1:
        raise ValueError(f"{where}: algorithm 'scatter' needs groups=1, got {g.groups}")
    out = _check.out(where, out, input_shape, dtype)
    _check.no_overlap(where, "out", out, dy=dy, w=w)
    code = ALGORITHMS.get(algorithm, algorithm)
    if code == _POINTWISE:
        usable(where, g, algorithm, False)
    emit_grad_input(_runner(dtype), np.empty, out, dy, w, None, len(dy), g, code, False, str(dtype),
                    level=_level(where, precision, algorithm))  # fmt: skip
    return out


def conv2d_grad_kernel(x, dy, kernel_size, strides=1, padding="valid", dilation_rate=1, groups=1, algorithm=None,
                       out=None, bias_out=None, precision="highest"):  # fmt: skip
    """(dw, db): the gradients of `conv2d` by its kernel, whose (rows, columns) are `kernel_size`, and by its bias;
    `precision` as there."""
    where = "conv2d_grad_kernel"
    x, dy = _check.array(where, "x", x, ndim=4), _check.array(where, "dy", dy, ndim=4)
    dtype = _check.same_dtype(where, x=x, dy=dy)
    per_group = x.shape[3] // max(groups, 1) if checks.is_integer(groups) else x.shape[3]
    w_shape = (*_pair(where, "kernel_size", kernel_size), per_group, dy.shape[3])
    g, code = _common(where, x, None, x.shape, w_shape, strides, padding, dilation_rate, groups, dtype, algorithm)
    _check.shape(where, "dy", dy, (len(x), g.oh, g.ow, g.co))
    out = _check.out(where, out, w_shape, dtype)
    bias_out = _check.out(where, bias_out, (g.co,), dtype, "bias_out")
    _check.no_overlap(where, "out", out, x=x, dy=dy, bias_out=bias_out)
    _check.no_overlap(where, "bias_out", bias_out, x=x, dy=dy)
    if len(x) == 0:
        out[...] = 0
        bias_out[...] = 0
        return out, bias_out
    emit_grad_kernel(_runner(dtype), np.empty, out, bias_out, x, dy, len(x), g, code, False, str(dtype),
                     _level(where, precision, algorithm))  # fmt: skip
    return out, bias_out
