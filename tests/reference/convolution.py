"""Convolutions and pooling."""

import math

import numpy as np

from fastnn import _core
from fastnn.kernels.convolution import Geometry

from .elementwise import activate, slope
from .registry import kernel


def _taps(size, out, kernel, stride, before, dilation):
    """(out, kernel): the row or column that a tap meets; `size` for none."""
    at = np.arange(out)[:, None] * stride + np.arange(kernel) * dilation - before
    return np.where((at >= 0) & (at < size), at, size)


def _grid(g):
    rows, columns = _taps(g.ih, g.oh, g.kh, g.sh, g.top, g.dh), _taps(g.iw, g.ow, g.kw, g.sw, g.left, g.dw)
    return rows[:, None, :, None], columns[None, :, None, :]


def _patches(x, g):
    """(n, oh, ow, kh, kw, ci), with zeros outside of the images."""
    return np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, *_grid(g)]


def _unpatch(patches, g):
    """The transpose of `_patches`."""
    x = np.zeros((len(patches), g.ih + 1, g.iw + 1, g.ci))
    np.add.at(x, (slice(None), *_grid(g)), patches)
    return x[:, :-1, :-1]


def _groups(g):
    a, b = g.ci // g.groups, g.co // g.groups
    return [(slice(k * a, (k + 1) * a), slice(k * b, (k + 1) * b)) for k in range(g.groups)]


def _convolve(x, w, g):
    patches, y = _patches(x, g), np.zeros((len(x), g.oh, g.ow, g.co))
    for a, b in _groups(g):
        y[..., b] = np.einsum("npqijc,ijco->npqo", patches[..., a], w[..., b], optimize=True)
    return y


def _images(c, j, *shape):
    return c.p[j][: c.rows * math.prod(shape)].reshape(c.rows, *shape)


def _conv_geometry(c):
    return Geometry(*c.i[1:16])


_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_G_BACK = np.array([[1, 0, 0, 0], [0, 1, -1, 0], [0, 0, 0, 1]])
_WINOGRAD = 6


def _whole_vectors(c, n):
    lanes = _core.cpu()["vector_width"]["float64" if c.step.float64 else "float32"]
    return -(-n // lanes) * lanes


@kernel("conv2d")
def conv2d(c):
    g = _conv_geometry(c)
    if c.i[18] == _WINOGRAD:
        ld = _whole_vectors(c, g.co)
        u = c.p[2][: 16 * g.ci * ld].reshape(4, 4, g.ci, ld)[..., : g.co]
        w = np.einsum("ia,abco,jb->ijco", _G_BACK, u, _G_BACK)
    else:
        w = c.p[2][: math.prod(g.kernel_shape)].reshape(g.kernel_shape) if c.p[2] is not None else None
    z = _convolve(_images(c, 1, g.ih, g.iw, g.ci), w, g) if g.kh * g.kw else np.zeros((c.rows, g.oh, g.ow, g.co))
    first, pixel, row, image = c.i[19:23]
    n, p, q, o = np.ogrid[: c.rows, : g.oh, : g.ow, : g.co]
    at = first + n * image + p * row + q * pixel + o
    if c.i[17]:
        z = slope(c.i[17], z, c.p[4][at], c.real(0))
    if len(c.i) > 36:
        c.p[0][: c.rows * image].reshape(c.rows, image)[:, : c.i[36]] = 0
    c.p[0][at] = activate(c.i[16], z if c.p[3] is None else z + c.p[3][: g.co], c.real(0))


@kernel("conv2d_winograd_kernel")
def conv2d_winograd_kernel(c):
    ci, co = c.i[1:3]
    u = np.zeros((4, 4, ci, _whole_vectors(c, co)))
    u[..., :co] = np.einsum("ai,ijco,bj->abco", _G, c.p[1][: 9 * ci * co].reshape(3, 3, ci, co), _G)
    c.put(0, u)


@kernel("conv2d_flip")
def conv2d_flip(c):
    kw, ci, co, groups, ti, tj, i0, j0, si, sj = c.i[1:11]
    a, b = ci // groups, co // groups
    w = c.p[1][: c.p[1].size // (a * co) * (a * co)].reshape(-1, a, co)
    out = np.zeros((ti, tj, b, ci))
    for i in range(ti):
        for j in range(tj):
            tap = w[(i0 + (ti - 1 - i) * si) * kw + j0 + (tj - 1 - j) * sj]
            for k in range(groups):
                out[i, j, :, k * a : (k + 1) * a] = tap[:, k * b : (k + 1) * b].T
    c.put(0, out)


@kernel("conv2d_scatter")
def conv2d_scatter(c):
    g = _conv_geometry(c)
    w = c.p[2][: math.prod(g.kernel_shape)].reshape(g.co, g.kh, g.kw, g.ci)
    dx = _unpatch(np.einsum("npqo,oijc->npqijc", _images(c, 1, g.oh, g.ow, g.co), w, optimize=True), g)
    c.put(0, slope(c.i[17], dx, None if not c.i[17] else _images(c, 3, g.ih, g.iw, g.ci), c.real(0)))


def _kernel_parts(c, g, x, dy):
    parts = min(c.i[23], c.rows)
    for j in range(parts):
        some = slice(c.rows * j // parts, c.rows * (j + 1) // parts)
        patches, dw = _patches(x[some], g), np.zeros(g.kernel_shape)
        for a, b in _groups(g):
            dw[..., b] = np.einsum("npqijc,npqo->ijco", patches[..., a], dy[some][..., b], optimize=True)
        both = np.concatenate([dw.ravel(), dy[some].sum((0, 1, 2))])
        c.p[0][j * both.size : (j + 1) * both.size] = both


@kernel("conv2d_parts")
def conv2d_parts(c):
    g = _conv_geometry(c)
    _kernel_parts(c, g, _images(c, 1, g.ih, g.iw, g.ci), _images(c, 2, g.oh, g.ow, g.co))


@kernel("conv2d_sum")
def conv2d_sum(c):
    _, columns, co, most = c.i[:4]
    count = min(most, c.rows)
    total = c.p[2][: count * (columns + co)].reshape(count, -1).sum(0)
    c.put(0, total[:columns])
    if c.arg(1) is not None:
        c.put(1, total[columns:])


class _Windows:
    """Of a pool: ints ih, iw, channels, oh, ow, kh, kw, sh, sw, top, left."""

    def __init__(self, ints):
        ih, iw, n, oh, ow, kh, kw, sh, sw, top, left = ints
        self.g = Geometry(ih, iw, n, oh, ow, n, kh, kw, sh, sw, top, left)
        self.pooled = (oh, ow, n)
        rows, columns = _grid(self.g)
        self.inside = ((rows < ih) & (columns < iw))[..., None]  # of the patches

    def largest(self, x):
        """(y, index)"""
        patches = np.where(self.inside, _patches(x, self.g), -np.inf)
        patches = patches.reshape(*patches.shape[:3], -1, patches.shape[-1])
        return patches.max(3), patches.argmax(3)

    def spread(self, dy, index):
        """dx of the largest."""
        taps = np.arange(self.g.kh * self.g.kw).reshape(self.g.kh, self.g.kw, 1)
        return _unpatch(dy[:, :, :, None, None] * (index[:, :, :, None, None] == taps), self.g)


@kernel("max_pool")
def max_pool(c):
    w = _Windows(c.i[1:12])
    y, index = w.largest(_images(c, 1, *c.i[1:4]))
    c.put(0, y)
    if c.arg(2) is not None:
        c.put(2, index)


@kernel("max_pool_grad")
def max_pool_grad(c):
    w = _Windows(c.i[1:12])
    dy = _images(c, 1, *w.pooled)
    if c.arg(3) is not None:
        dy = dy * (_images(c, 3, *w.pooled) > 0)
    c.put(0, w.spread(dy, _images(c, 2, *w.pooled)))


@kernel("average_pool", "average_pool_grad")
def average_pool(c):
    w = _Windows(c.i[1:12])
    count = 1 if c.int(12) else w.inside.sum((2, 3))
    if c.name == "average_pool":
        c.put(0, _patches(_images(c, 1, *c.i[1:4]), w.g).sum((3, 4)) / count)
    else:
        c.put(0, _unpatch((_images(c, 1, *w.pooled) / count)[:, :, :, None, None] * w.inside, w.g))


def _pool_behind(c):
    """The geometry of a convolution, and the windows of the pool behind it."""
    g = _conv_geometry(c)
    return g, _Windows((g.oh, g.ow, g.co, *c.i[24:32]))


@kernel("conv2d_max_pool")
def conv2d_max_pool(c):
    g, w = _pool_behind(c)
    z = _convolve(_images(c, 1, g.ih, g.iw, g.ci), c.p[2][: math.prod(g.kernel_shape)].reshape(g.kernel_shape), g)
    y, index = w.largest(activate(c.i[16], z if c.p[3] is None else z + c.p[3][: g.co], c.real(0)))
    c.put(0, y)
    if c.arg(4) is not None:
        c.put(4, index)


@kernel("conv2d_pooled_parts")
def conv2d_pooled_parts(c):
    g, w = _pool_behind(c)
    dy = slope(c.i[17], _images(c, 2, *w.pooled), _images(c, 4, *w.pooled) if c.i[17] else None, c.real(0))
    _kernel_parts(c, g, _images(c, 1, g.ih, g.iw, g.ci), w.spread(dy, _images(c, 3, *w.pooled)))


@kernel("conv2d_pooled_input")
def conv2d_pooled_input(c):
    g, w = _pool_behind(c)
    dy = slope(c.i[17], _images(c, 1, *w.pooled), _images(c, 4, *w.pooled) if c.i[17] else None, c.real(0))
    filters = c.p[3][: math.prod(g.kernel_shape)].reshape(g.kernel_shape)
    dy = w.spread(dy, _images(c, 2, *w.pooled))
    dx = _unpatch(np.einsum("npqo,ijco->npqijc", dy, filters, optimize=True), g)
    c.put(0, slope(c.i[32], dx, _images(c, 5, g.ih, g.iw, g.ci) if c.i[32] else None, c.real(1)))
