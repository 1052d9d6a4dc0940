"""A compiled step, executed a second time in float64 NumPy.

`Interpreter` walks the records of a plan (`Plan.records`) beside the engine: each kernel is a small function here,
registered under its name, which reads and writes flat arrays of the interpreter's own memory. Memory is a set of
regions: one for each value of the plan, and one for each array that records point into (the store, its gradients,
optimizer slots); an operand is the part of a region from its first element on.
"""

import math

import numpy as np
from scipy.special import erf

from fastnn import _core
from fastnn.kernels.convolution import Geometry

EPS = 1e-7
KERNELS = {}


def kernel(*names):
    def add(function):
        for name in names:
            KERNELS[name] = function
        return function

    return add


class Call:
    """What a kernel is given: p operands (flat float64 or int32 arrays, None where unused), i ints, f reals, rows
    (leading rows, those of all samples), and the step."""

    def __init__(self, name, p, i, f, rows, step):
        self.name, self.p, self.i, self.f, self.rows, self.step = name, p, i, f, rows, step

    def int(self, j):
        return self.i[j] if j < len(self.i) else 0

    def real(self, j):
        return self.f[j] if j < len(self.f) else 0.0

    def arg(self, j):
        return self.p[j] if j < len(self.p) else None

    def matrix(self, j, columns=None):
        """Operand j as (rows, columns)."""
        columns = self.i[1] if columns is None else columns
        return None if self.arg(j) is None else self.p[j][: self.rows * columns].reshape(self.rows, columns)

    def vector(self, j):
        return None if self.arg(j) is None else self.p[j][: self.rows]

    def put(self, j, value):
        """Writes operand j from its start on."""
        value = np.asarray(value)
        self.p[j][: value.size] = value.ravel()


class Step:
    """The step that runs: rows of this batch, index, seed, the optimizer's row, source rows."""

    def __init__(self, rows, index=0, seed=0, hyper=None, order=None, first=0):
        self.rows, self.index, self.seed, self.hyper, self.order, self.first = rows, index, seed, hyper, order, first

    def sources(self):
        return self.first + np.arange(self.rows) if self.order is None else np.asarray(self.order[: self.rows])


# ---- activations and functions: name -> (value(x, a, b), gradient(dy, s, a, b)) ----


def _sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_ALPHA, _SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _elu(x, a):
    return np.where(x > 0, x, a * np.expm1(np.minimum(x, 0)))


def _cdf(x):
    return 0.5 * (1 + erf(x / np.sqrt(2)))


def _density(x):
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


_C, _D = np.sqrt(2 / np.pi), 0.044715


def _gelu_tanh_grad(dy, s, a, b):
    t = np.tanh(_C * (s + _D * s**3))
    return dy * (0.5 * (1 + t) + 0.5 * s * (1 - t * t) * _C * (1 + 3 * _D * s * s))


def _swish_grad(dy, s, beta, _=0):
    g = _sigmoid(beta * s)
    return dy * (g + beta * s * g * (1 - g))


def _mish_grad(dy, s, a, b):
    t = np.tanh(_softplus(s))
    return dy * (t + s * (1 - t * t) * _sigmoid(s))


UNARY = {
    "relu": (lambda x, a, b: np.maximum(x, 0), lambda dy, s, a, b: dy * (s > 0)),
    "leaky_relu": (lambda x, a, b: np.where(x > 0, x, a * x), lambda dy, s, a, b: np.where(s > 0, dy, a * dy)),
    "elu": (lambda x, a, b: _elu(x, a), lambda dy, s, a, b: np.where(s > 0, dy, dy * (s + a))),
    "celu": (
        lambda x, a, b: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0) / a)),
        lambda dy, s, a, b: np.where(s > 0, dy, dy * (1 + s / a)),
    ),
    "selu": (
        lambda x, a, b: _SCALE * _elu(x, _ALPHA),
        lambda dy, s, a, b: dy * np.where(s > 0, _SCALE, s + _SCALE * _ALPHA),
    ),
    "gelu": (lambda x, a, b: x * _cdf(x), lambda dy, s, a, b: dy * (_cdf(s) + s * _density(s))),
    "gelu_tanh": (lambda x, a, b: 0.5 * x * (1 + np.tanh(_C * (x + _D * x**3))), _gelu_tanh_grad),
    "gelu_sigmoid": (lambda x, a, b: x * _sigmoid(1.702 * x), lambda dy, s, a, b: _swish_grad(dy, s, 1.702)),
    "sigmoid": (lambda x, a, b: _sigmoid(x), lambda dy, s, a, b: dy * s * (1 - s)),
    "tanh": (lambda x, a, b: np.tanh(x), lambda dy, s, a, b: dy * (1 - s * s)),
    "swish": (lambda x, a, b: x * _sigmoid(a * x), _swish_grad),
    "softplus": (lambda x, a, b: _softplus(x), lambda dy, s, a, b: -dy * np.expm1(-s)),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), lambda dy, s, a, b: dy / (1 + np.abs(s)) ** 2),
    "hard_sigmoid": (
        lambda x, a, b: np.clip(x + 3, 0, 6) / 6,
        lambda dy, s, a, b: np.where(np.abs(s) < 3, dy / 6, 0),
    ),
    "hard_swish": (
        lambda x, a, b: x * np.clip(x + 3, 0, 6) / 6,
        lambda dy, s, a, b: dy * np.where(s > 3, 1, np.where(s < -3, 0, s / 3 + 0.5)),
    ),
    "hard_tanh": (lambda x, a, b: np.clip(x, -1, 1), lambda dy, s, a, b: dy * (np.abs(s) < 1)),
    "hard_shrink": (lambda x, a, b: np.where(np.abs(x) <= a, 0, x), lambda dy, s, a, b: dy * (np.abs(s) > a)),
    "soft_shrink": (
        lambda x, a, b: np.where(np.abs(x) <= a, 0, x - np.copysign(a, x)),
        lambda dy, s, a, b: dy * (np.abs(s) > a),
    ),
    "tanh_shrink": (lambda x, a, b: x - np.tanh(x), lambda dy, s, a, b: dy * np.tanh(s) ** 2),
    "threshold": (lambda x, a, b: np.where(x > a, x, b), lambda dy, s, a, b: dy * (s > a)),
    "relu6": (lambda x, a, b: np.clip(x, 0, 6), lambda dy, s, a, b: dy * ((s > 0) & (s < 6))),
    "mish": (lambda x, a, b: x * np.tanh(_softplus(x)), _mish_grad),
    "log_sigmoid": (lambda x, a, b: -_softplus(-x), lambda dy, s, a, b: dy * _sigmoid(-s)),
    "squareplus": (
        lambda x, a, b: (x + np.sqrt(x * x + a)) / 2,
        lambda dy, s, a, b: dy / 2 * (1 + s / np.sqrt(s * s + a)),
    ),
    "exp": (lambda x, a, b: np.exp(x), lambda dy, s, a, b: dy * s),
    "expm1": (lambda x, a, b: np.expm1(x), lambda dy, s, a, b: dy * np.exp(s)),
    "log": (lambda x, a, b: np.log(x), lambda dy, s, a, b: dy / s),
    "log1p": (lambda x, a, b: np.log1p(x), lambda dy, s, a, b: dy / (1 + s)),
    "sqrt": (lambda x, a, b: np.sqrt(x), lambda dy, s, a, b: dy / 2 / s),
    "rsqrt": (lambda x, a, b: 1 / np.sqrt(x), lambda dy, s, a, b: -dy / 2 / (s * np.sqrt(s))),
    "square": (lambda x, a, b: x * x, lambda dy, s, a, b: dy * 2 * s),
    "abs": (lambda x, a, b: np.abs(x), lambda dy, s, a, b: dy * np.sign(s)),
    "negative": (lambda x, a, b: -x, lambda dy, s, a, b: -dy),
    "reciprocal": (lambda x, a, b: 1 / x, lambda dy, s, a, b: -dy / (s * s)),
    "sin": (lambda x, a, b: np.sin(x), lambda dy, s, a, b: dy * np.cos(s)),
    "cos": (lambda x, a, b: np.cos(x), lambda dy, s, a, b: -dy * np.sin(s)),
    "erf": (lambda x, a, b: erf(x), lambda dy, s, a, b: dy * 2 / np.sqrt(np.pi) * np.exp(-s * s)),
    "affine": (lambda x, a, b: a * x + b, lambda dy, s, a, b: a * dy),
    "power_scalar": (lambda x, a, b: np.power(x, a), lambda dy, s, a, b: dy * (a * np.power(s, a - 1) if a else 0 * s)),
    "clip": (lambda x, a, b: np.clip(x, a, b), lambda dy, s, a, b: dy * ((s >= a) & (s <= b))),
    "copy": (lambda x, a, b: x, lambda dy, s, a, b: dy),
}
UNARY.update({name: (f, None) for name, f in {
    "sign": lambda x, a, b: np.sign(x),
    "floor": lambda x, a, b: np.floor(x),
    "ceil": lambda x, a, b: np.ceil(x),
    "round": lambda x, a, b: np.round(x),
    "isnan": lambda x, a, b: np.isnan(x),
    "is_finite": lambda x, a, b: np.isfinite(x),
}.items()})  # fmt: skip


@kernel(*UNARY)
def unary(c):
    c.put(0, UNARY[c.name][0](c.matrix(1), c.real(0), c.real(1)))


@kernel(*(name + "_grad" for name, (_, slope) in UNARY.items() if slope))
def unary_grad(c):
    dx = UNARY[c.name[:-5]][1](c.matrix(1), c.matrix(2), c.real(0), c.real(1))
    c.put(0, dx + c.matrix(0) if c.int(2) else dx)


# ---- two operands ----

BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "power": np.power, "floor_divide": np.floor_divide, "mod": np.mod,
    "squared_difference": lambda a, b: (a - b) ** 2, "equal": np.equal, "not_equal": np.not_equal,
    "greater": np.greater, "greater_equal": np.greater_equal, "less": np.less, "less_equal": np.less_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or,
}  # fmt: skip


def _operand(c, j, mode):
    rows, columns = c.rows, c.i[1]
    if mode == 0:
        return c.matrix(j)
    if mode == 1:
        return c.p[j][:columns].reshape(1, columns)
    if mode == 2:
        return c.p[j][:rows].reshape(rows, 1)
    return c.p[j][:1].reshape(1, 1)


@kernel(*BINARY)
def binary(c):
    y = BINARY[c.name](_operand(c, 1, c.i[2]), _operand(c, 2, c.i[3])) + np.zeros((c.rows, c.i[1]))
    c.put(0, y + c.matrix(0) if c.int(4) else y)


@kernel("add_relu")
def add_relu(c):
    c.put(0, np.maximum(c.matrix(1) + c.matrix(2), 0))


@kernel("where")
def where(c):
    parts = [_operand(c, 1 + k, c.i[2 + k]) for k in range(3)]
    c.put(0, np.where(parts[0] != 0, parts[1], parts[2]) + np.zeros((c.rows, c.i[1])))


@kernel("equal_int")
def equal_int(c):
    c.put(0, c.matrix(1) == c.matrix(2))


@kernel("cast_int")
def cast_int(c):
    c.put(0, np.trunc(c.matrix(1)).astype(np.int32))


@kernel("cast_real")
def cast_real(c):
    c.put(0, c.matrix(1))


@kernel("one_hot")
def one_hot(c):
    c.put(0, c.vector(1)[:, None] == np.arange(c.i[1]))


# ---- reductions ----


def _logsumexp(x):
    m = x.max(-1, keepdims=True)
    return (m + np.log(np.exp(x - m).sum(-1, keepdims=True)))[..., 0]


LAST = {
    "sum": lambda x: x.sum(-1), "mean": lambda x: x.mean(-1), "max": lambda x: x.max(-1), "min": lambda x: x.min(-1),
    "prod": lambda x: x.prod(-1), "logsumexp": _logsumexp, "argmax": lambda x: x.argmax(-1),
    "argmin": lambda x: x.argmin(-1),
}  # fmt: skip


@kernel(*(name + "_last" for name in LAST))
def reduce_last(c):
    c.put(0, LAST[c.name[:-5]](c.matrix(1)))


@kernel("sum_middle", "max_middle", "min_middle")
def reduce_middle(c):
    x = c.p[1][: c.rows * c.i[1] * c.i[2]].reshape(c.rows, c.i[1], c.i[2])
    c.put(0, getattr(x, c.name[:-7])(axis=1))


@kernel("sum_first")
def sum_first(c):
    y = c.matrix(1).sum(0) / (c.rows if c.int(3) else 1)
    c.put(0, y + c.p[0][: y.size] if c.int(2) else y)


@kernel("spread_rows")
def spread_rows(c):
    c.put(0, np.tile(c.p[1][: c.i[1]] / (c.rows if c.int(2) else 1), (c.rows, 1)))


@kernel("accumulate_mean")
def accumulate_mean(c):
    values, w = c.matrix(1), c.vector(2)
    w = np.ones(c.rows) if w is None else w
    c.p[0][0] += (values * w[:, None]).sum()
    c.p[0][1] += w.sum() * c.i[1]


@kernel("accumulate_scalar")
def accumulate_scalar(c):
    c.p[0][0] += c.rows * c.p[1][0]
    c.p[0][1] += c.rows


@kernel("divide_samples")
def divide_samples(c):
    c.put(0, c.p[1][: c.i[1]] / c.rows)


# ---- movement ----


def _places(c):
    """Positions of the strided side, in the order of the contiguous one."""
    ndim = c.i[1]
    sizes, lead = c.i[2 : 2 + ndim], c.i[2 + ndim]
    strides, offset = c.i[3 + ndim : 3 + 2 * ndim], c.i[3 + 2 * ndim]
    at = offset + np.arange(c.rows) * lead
    for n, stride in zip(sizes, strides, strict=True):
        at = at[..., None] + np.arange(n) * stride
    return at.ravel()


@kernel("strided_copy", "strided_copy_int")
def strided_copy(c):
    c.put(0, c.p[1][_places(c)])


@kernel("strided_scatter")
def strided_scatter(c):
    at = _places(c)
    c.p[0][at] = c.p[1][: at.size]


@kernel("copy_columns")
def copy_columns(c):
    columns, ldy, ldx = c.i[1:4]
    for r in range(c.rows):
        at = r * ldy + c.int(5)
        c.p[0][at : at + columns] = c.p[1][r * ldx : r * ldx + columns]


@kernel("fill")
def fill(c):
    c.put(0, np.full(c.rows * c.i[1], c.real(0)))


@kernel("gather_rows")
def gather_rows(c):
    table = c.p[1][: c.i[2] * c.i[1]].reshape(c.i[2], c.i[1])
    c.put(0, table[c.vector(2)])


@kernel("scatter_add_rows")
def scatter_add_rows(c):
    table = c.p[0][: c.i[2] * c.i[1]].reshape(c.i[2], c.i[1])
    np.add.at(table, c.vector(2), c.matrix(1))


@kernel("store_batch")
def store_batch(c):
    at = c.step.first * c.i[1]
    c.p[0][at : at + c.rows * c.i[1]] = c.matrix(1).ravel()


# ---- matrix products ----

ACTIVATION_CODES = [None, "relu", "leaky_relu", "sigmoid", "tanh", "elu", "selu", "exp", "relu6", "hard_sigmoid",
                    "softsign", "swish"]  # fmt: skip


def _strided(x, at, rows, columns, ld):
    return np.lib.stride_tricks.as_strided(x[at:], (rows, columns), (ld * x.itemsize, x.itemsize))


@kernel("matmul_nn", "matmul_nt", "matmul_tn")
def matmul(c):
    form = c.name[-2:]
    products, own = max(c.int(10), 1), c.int(14)
    lead = c.i[0] if own else c.rows
    m, k = (c.i[2], lead) if form == "tn" else (lead, c.i[2])
    n, lda, ldb, ldc = c.i[1], c.i[3], c.i[4], c.i[5]
    a_shape = (k, m) if form == "tn" else (m, k)
    b_shape = (n, k) if form == "nt" else (k, n)
    alpha = c.real(0)
    for sample in range(c.step.rows if own else 1):
        for j in range(products):
            at = [sample * c.int(15 + q) * bool(own) + j * c.int(11 + q) for q in range(3)]
            a = _strided(c.p[1], at[0], *a_shape, lda)
            b = _strided(c.p[2], at[1], *b_shape, ldb)
            y = (a.T if form == "tn" else a) @ (b.T if form == "nt" else b)
            out = _strided(c.p[0], at[2], m, n, ldc)
            z = y + out if c.int(6) else y
            if c.int(8):
                s = _strided(c.p[5], at[2], m, n, ldc)
                z = UNARY[ACTIVATION_CODES[c.int(8)]][1](z, s, alpha, 0)
            if c.arg(3) is not None:
                z = z + c.p[3][:n]
            if c.arg(4) is not None:
                _strided(c.p[4], at[2], m, n, ldc)[...] = z
            out[...] = UNARY[ACTIVATION_CODES[c.int(7)]][0](z, alpha, 0) if c.int(7) else z
            if c.arg(6) is not None:
                c.put(6, b.sum(0) + (c.p[6][:n] if c.int(9) else 0))


# ---- convolutions, pooling, batch normalization ----


def _activate(code, z, alpha):
    return UNARY[ACTIVATION_CODES[code]][0](z, alpha, 0) if code else z


def _slope(code, z, s, alpha):
    return UNARY[ACTIVATION_CODES[code]][1](z, s, alpha, 0) if code else z


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
        z = _slope(c.i[17], z, c.p[4][at], c.real(0))
    if len(c.i) > 35:
        c.p[0][: c.rows * image].reshape(c.rows, image)[:, : c.i[35]] = 0
    c.p[0][at] = _activate(c.i[16], z if c.p[3] is None else z + c.p[3][: g.co], c.real(0))


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
    c.put(0, _slope(c.i[17], dx, None if not c.i[17] else _images(c, 3, g.ih, g.iw, g.ci), c.real(0)))


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
    y, index = w.largest(_activate(c.i[16], z if c.p[3] is None else z + c.p[3][: g.co], c.real(0)))
    c.put(0, y)
    if c.arg(4) is not None:
        c.put(4, index)


@kernel("conv2d_pooled_parts")
def conv2d_pooled_parts(c):
    g, w = _pool_behind(c)
    dy = _slope(c.i[17], _images(c, 2, *w.pooled), _images(c, 4, *w.pooled) if c.i[17] else None, c.real(0))
    _kernel_parts(c, g, _images(c, 1, g.ih, g.iw, g.ci), w.spread(dy, _images(c, 3, *w.pooled)))


@kernel("conv2d_pooled_input")
def conv2d_pooled_input(c):
    g, w = _pool_behind(c)
    dy = _slope(c.i[17], _images(c, 1, *w.pooled), _images(c, 4, *w.pooled) if c.i[17] else None, c.real(0))
    filters = c.p[3][: math.prod(g.kernel_shape)].reshape(g.kernel_shape)
    dy = w.spread(dy, _images(c, 2, *w.pooled))
    dx = _unpatch(np.einsum("npqo,ijco->npqijc", dy, filters, optimize=True), g)
    c.put(0, _slope(c.i[32], dx, _images(c, 5, g.ih, g.iw, g.ci) if c.i[32] else None, c.real(1)))


@kernel("batch_norm_parts")
def batch_norm_parts(c):
    x, parts = c.matrix(1), min(c.i[2], c.rows)
    for j in range(parts):
        some = x[c.rows * j // parts : c.rows * (j + 1) // parts]
        both = np.concatenate([some.mean(0), ((some - some.mean(0)) ** 2).sum(0)])
        c.p[0][j * both.size : (j + 1) * both.size] = both


@kernel("batch_norm_combine")
def batch_norm_combine(c):
    parts = min(c.i[2], c.rows)
    mean, m2 = c.p[2][: parts * 2 * c.i[1]].reshape(parts, 2, c.i[1]).swapaxes(0, 1)
    sizes = np.diff([c.rows * j // parts for j in range(parts + 1)])[:, None]
    total = (mean * sizes).sum(0) / c.rows
    c.put(0, total)
    c.put(1, (m2 + sizes * (mean - total) ** 2).sum(0) / c.rows)


def _norm(c, mean, var, gamma, beta):
    """(1 / standard deviation, gamma, beta) of each column, with ones and zeros for what is not there."""
    n = c.i[1]
    return (1 / np.sqrt(c.p[var][:n] + c.real(1)), np.ones(n) if c.arg(gamma) is None else c.p[gamma][:n],
            np.zeros(n) if c.arg(beta) is None else c.p[beta][:n], c.p[mean][:n])  # fmt: skip


@kernel("batch_norm_apply")
def batch_norm_apply(c):
    rstd, gamma, beta, mean = _norm(c, 2, 3, 4, 5)
    c.put(0, _activate(c.i[2], (c.matrix(1) - mean) * rstd * gamma + beta, c.real(0)))


@kernel("batch_norm_fold")
def batch_norm_fold(c):
    rstd, gamma, beta, mean = _norm(c, 3, 4, 5, 6)
    c.put(0, c.matrix(2) * rstd * gamma)
    c.put(1, ((0 if c.arg(7) is None else c.p[7][: c.i[1]]) - mean) * rstd * gamma + beta)


def _norm_dz(c, x, rstd, gamma, beta):
    """What reaches the normalized x: dy, where ReLU let it through."""
    return c.matrix(1) * (x * rstd * gamma + beta > 0) if c.i[3] else c.matrix(1)


@kernel("batch_norm_grad_parts")
def batch_norm_grad_parts(c):
    rstd, gamma, beta, mean = _norm(c, 3, 4, 5, 6)
    x, parts = c.matrix(2) - mean, min(c.i[2], c.rows)
    dz = _norm_dz(c, x, rstd, gamma, beta)
    for j in range(parts):
        some = slice(c.rows * j // parts, c.rows * (j + 1) // parts)
        both = np.concatenate([(dz * x * rstd)[some].sum(0), dz[some].sum(0)])
        c.p[0][j * both.size : (j + 1) * both.size] = both


@kernel("batch_norm_grad")
def batch_norm_grad(c):
    rstd, gamma, beta, mean = _norm(c, 3, 4, 5, 6)
    x = c.matrix(2) - mean
    dgamma, dbeta = c.p[7][: c.i[1]], c.p[8][: c.i[1]]
    c.put(0, gamma * rstd * (_norm_dz(c, x, rstd, gamma, beta) - dbeta / c.rows - x * rstd * dgamma / c.rows))


# ---- softmax and losses ----


def _log_softmax(x):
    return x - _logsumexp(x)[..., None]


@kernel("softmax", "log_softmax")
def softmax(c):
    y = _log_softmax(c.matrix(1))
    c.put(0, y if c.name[0] == "l" else np.exp(y))


@kernel("softmax_grad", "log_softmax_grad")
def softmax_grad(c):
    dy, y = c.matrix(1), c.matrix(2)
    if c.name[0] == "l":
        c.put(0, dy - np.exp(y) * dy.sum(1, keepdims=True))
    else:
        c.put(0, y * (dy - (dy * y).sum(1, keepdims=True)))


@kernel("mean_seed")
def mean_seed(c):
    scale = c.f[0] / (c.rows if c.int(1) else 1)
    c.put(0, np.full(c.rows, scale) if c.arg(1) is None else c.vector(1) * scale)


def _each(loss, slope):
    """A mean over the columns, from a loss and its derivative of each element."""
    return lambda y, t, a, c: (loss(y, t, a).mean(1), slope(y, t, a) / y.shape[1])


def _inside(y):
    return (y >= EPS) & (y <= 1 - EPS)


def _smooth(t, a):
    return t * (1 - a) + a / 2


def _crossentropy_of_logits(y, t, a, c):
    t = t * (1 - a) + a / y.shape[1]
    p = np.exp(_log_softmax(y))
    return -(t * _log_softmax(y)).sum(1), t.sum(1, keepdims=True) * p - t


def _crossentropy(y, t, a, c):
    t = t * (1 - a) + a / y.shape[1]
    total = y.sum(1, keepdims=True)
    q = y / total
    inside = _inside(q)
    g = np.where(inside, t / q, 0)
    return -(t * np.log(np.clip(q, EPS, 1 - EPS))).sum(1), ((t * inside).sum(1, keepdims=True) - g) / total


def _kl(y, t, a, c):
    u, v = np.clip(y, EPS, 1), np.clip(t, EPS, 1)
    return (v * np.log(v / u)).sum(1), np.where((y >= EPS) & (y <= 1), -v / u, 0)


def _margins(c, t):
    return 2 * t - 1 if c.int(3) else t


def _hinge(y, t, a, c):
    t = _margins(c, t)
    u = 1 - t * y
    return np.maximum(u, 0).mean(1), np.where(u > 0, -t, 0) / y.shape[1]


def _squared_hinge(y, t, a, c):
    t = _margins(c, t)
    u = np.maximum(1 - t * y, 0)
    return (u * u).mean(1), -2 * u * t / y.shape[1]


def _categorical_hinge(y, t, a, c):
    u = (1 - t) * y
    wrong = u.max(1, keepdims=True)
    h = wrong[:, 0] - (t * y).sum(1) + 1
    top = u == wrong
    g = top * (1 - t) / top.sum(1, keepdims=True) - t
    return np.maximum(h, 0), g * (h > 0)[:, None]


def _cosine(y, t, a, c):
    ny = np.maximum(np.sqrt((y * y).sum(1, keepdims=True)), EPS)
    nt = np.maximum(np.sqrt((t * t).sum(1, keepdims=True)), EPS)
    cosine = (y * t).sum(1, keepdims=True) / ny / nt
    return -cosine[:, 0], (y / ny * cosine - t / nt) / ny


LOSSES = {
    "mean_squared_error": _each(lambda y, t, a: (y - t) ** 2, lambda y, t, a: 2 * (y - t)),
    "mean_absolute_error": _each(lambda y, t, a: np.abs(y - t), lambda y, t, a: np.sign(y - t)),
    "huber": _each(
        lambda y, t, a: np.where(np.abs(y - t) <= a, (y - t) ** 2 / 2, a * np.abs(y - t) - a * a / 2),
        lambda y, t, a: np.clip(y - t, -a, a),
    ),
    "log_cosh": _each(
        lambda y, t, a: np.logaddexp(y - t, t - y) - np.log(2),
        lambda y, t, a: np.tanh(y - t),
    ),
    "mean_absolute_percentage_error": _each(
        lambda y, t, a: 100 * np.abs(t - y) / np.maximum(np.abs(t), EPS),
        lambda y, t, a: 100 * np.sign(y - t) / np.maximum(np.abs(t), EPS),
    ),
    "mean_squared_logarithmic_error": _each(
        lambda y, t, a: (np.log1p(np.maximum(y, EPS)) - np.log1p(np.maximum(t, EPS))) ** 2,
        lambda y, t, a: np.where(
            y < EPS, 0, 2 * (np.log1p(np.maximum(y, EPS)) - np.log1p(np.maximum(t, EPS))) / (1 + np.maximum(y, EPS))
        ),
    ),
    "poisson": _each(lambda y, t, a: y - t * np.log(y + EPS), lambda y, t, a: 1 - t / (y + EPS)),
    "binary_crossentropy": _each(
        lambda y, t, a: -(_smooth(t, a) * np.log(np.clip(y, EPS, 1 - EPS))
                          + (1 - _smooth(t, a)) * np.log(1 - np.clip(y, EPS, 1 - EPS))),
        lambda y, t, a: np.where(_inside(y), (1 - _smooth(t, a)) / (1 - y) - _smooth(t, a) / y, 0),
    ),
    "sigmoid_crossentropy": _each(
        lambda y, t, a: np.maximum(y, 0) - y * _smooth(t, a) + np.log1p(np.exp(-np.abs(y))),
        lambda y, t, a: _sigmoid(y) - _smooth(t, a),
    ),
    "softmax_crossentropy": _crossentropy_of_logits,
    "sparse_softmax_crossentropy": _crossentropy_of_logits,
    "categorical_crossentropy": _crossentropy,
    "sparse_categorical_crossentropy": _crossentropy,
    "kl_divergence": _kl,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
    "categorical_hinge": _categorical_hinge,
    "cosine_similarity": _cosine,
}  # fmt: skip


@kernel(*LOSSES)
def row_loss(c):
    sparse = c.name.startswith("sparse")
    y = c.matrix(2)
    ignored = np.zeros(c.rows, bool)
    if sparse:
        ids = c.vector(3)
        if c.int(4):
            ignored = ids == c.int(3)
        t = (np.where(ignored, 0, ids)[:, None] == np.arange(c.i[1])).astype(float)
    else:
        t = c.matrix(3)
    loss, dy = LOSSES[c.name](y, t, c.f[0], c)
    scale = np.full(c.rows, c.f[1] / (c.rows if c.int(2) else 1))
    if c.arg(4) is not None:
        scale = scale * c.vector(4)
    if c.arg(0) is not None:
        c.put(0, np.where(ignored, 0, loss))
    if c.arg(1) is not None:
        c.put(1, np.where(ignored[:, None], 0, dy * scale[:, None]))


def _in_top(y, ids, k):
    at = y[np.arange(len(y)), ids][:, None]
    return (y > at).sum(1) < k


@kernel("sparse_accuracy", "categorical_accuracy", "binary_accuracy", "top_k", "categorical_top_k")
def accuracy(c):
    y = c.matrix(1)
    if c.name == "binary_accuracy":
        right = ((y > c.f[0]) == c.matrix(2)).mean(1)
    elif c.name == "sparse_accuracy":
        right = y.argmax(1) == c.vector(2)
    elif c.name == "categorical_accuracy":
        right = y.argmax(1) == c.matrix(2).argmax(1)
    else:
        ids = c.vector(2) if c.name == "top_k" else c.matrix(2).argmax(1)
        right = _in_top(y, ids, c.i[2])
    c.put(0, right)


# ---- randomness: Philox4x32, see random.h ----


def philox(seed, index, stream, groups, rounds):
    """(groups, 32 words of 32 bits), in the order of a group's memory."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    number = (np.asarray(groups, np.uint64)[:, None] * np.uint64(8) + np.arange(8, dtype=np.uint64)).ravel()
    c0, c1 = number & low, number >> half
    c2 = np.full_like(c0, index & 0xFFFFFFFF)
    c3 = np.full_like(c0, stream & 0xFFFFFFFF)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(rounds):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = (p1 >> half) ^ c1 ^ np.uint64(k0), p1 & low
        c2, c3 = (p0 >> half) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    shape = (len(groups), 8)
    row0 = np.stack([c1.reshape(shape), c0.reshape(shape)], axis=-1).reshape(len(groups), 16)
    row1 = np.stack([c3.reshape(shape), c2.reshape(shape)], axis=-1).reshape(len(groups), 16)
    return np.concatenate([row0, row1], axis=1).astype(np.uint32)


def dropout_mask(seed, index, stream, count, rate):
    """1 where an element is kept."""
    words = philox(seed, index, stream, np.arange(-(-count // 64)), 7).reshape(-1, 2, 1, 16)
    bits = np.concatenate([words & 0xFFFF, words >> 16], axis=2).reshape(-1)[:count]
    cut = int(rate * 65536 + 0.5)
    return bits >= min(cut, 0xFFFF)


@kernel("dropout", "dropout_grad")
def dropout(c):
    x = c.matrix(1)
    rate = c.f[0]
    keep = dropout_mask(c.step.seed, c.step.index, c.i[2], x.size, rate).reshape(x.shape)
    y = np.where(keep, x / (1 - rate) if rate < 1 else 0, 0)
    c.put(0, y + c.matrix(0) if c.int(3) else y)


def normal_numbers(seed, index, stream, count, float64):
    if float64:
        words = philox(seed, index, stream, np.arange(-(-count // 16)), 10)
        lanes = np.ascontiguousarray(words).view(np.uint64).reshape(-1, 2, 8)
        u, w = np.moveaxis((lanes >> np.uint64(11)) * 2.0**-53, 1, 0)
    else:
        words = philox(seed, index, stream, np.arange(-(-count // 32)), 10).reshape(-1, 2, 16)
        u, w = np.moveaxis((words >> 8) * 2.0**-24, 1, 0)
    radius = np.sqrt(-2 * np.log(1 - u))
    parts = [radius * np.cos(2 * np.pi * w), radius * np.sin(2 * np.pi * w)]
    return np.stack(parts, axis=1).reshape(-1)[:count]


@kernel("gaussian_noise")
def gaussian_noise(c):
    x = c.matrix(1)
    z = normal_numbers(c.step.seed, c.step.index, c.i[2], x.size, c.step.float64)
    c.put(0, x + c.f[0] * z.reshape(x.shape))


# ---- optimizers (Keras' forms) ----


def _update(c):
    """(gradient as the rule sees it, learning rate), after decoupled decay; None when the step makes no update."""
    n, flags, column = c.i[0], c.int(1), c.int(2)
    hyper = c.step.hyper
    if column and hyper[column] == 0:
        return None
    factor, decay, scale, clip = c.f[:4]
    p, g = c.p[0][:n], c.p[1][:n]
    g = g * scale * (c.p[8][0] if c.arg(8) is not None else 1)
    if clip:
        g = np.clip(g, -clip, clip)
    rate = hyper[0] * factor
    if decay and flags & 1:
        g = g + decay * p
    elif decay:
        c.p[0][:n] -= rate * decay * p
    return g, rate


def rule(name):
    def add(function):
        def run(c):
            found = _update(c)
            if found is not None:
                n = c.i[0]
                slots = [c.p[j][:n] for j in range(2, len(c.p)) if c.p[j] is not None and j < 8]
                function(c.p[0][:n], *found, slots, c)

        KERNELS[name] = run
        return function

    return add


@rule("sgd")
def sgd(p, g, rate, slots, c):
    p -= rate * g


@rule("momentum")
def momentum(p, g, rate, slots, c):
    (v,) = slots
    v[...] = c.step.hyper[1] * v - rate * g
    p += v


@rule("nesterov")
def nesterov(p, g, rate, slots, c):
    (v,) = slots
    v[...] = c.step.hyper[1] * v - rate * g
    p += c.step.hyper[3] * v - rate * g


@rule("adam")
def adam(p, g, rate, slots, c):
    m, v = slots[:2]
    m += (1 - c.f[4]) * (g - m)
    v += (1 - c.f[5]) * (g * g - v)
    w = v
    if c.int(1) & 4:
        w = slots[2]
        w[...] = np.maximum(w, v)
    p -= rate * c.step.hyper[1] * m / (np.sqrt(w) + c.step.hyper[2])


@rule("rmsprop")
def rmsprop(p, g, rate, slots, c):
    v = slots[0]
    v[...] = c.f[4] * v + (1 - c.f[4]) * g * g
    d = v
    if c.int(1) & 8:
        m = slots[-1]
        m[...] = c.f[4] * m + (1 - c.f[4]) * g
        d = v - m * m
    step = rate * g / np.sqrt(d + c.f[5])
    if c.int(1) & 16:
        b = slots[1]
        b[...] = c.f[6] * b + step
        step = b
    p -= step


@rule("adagrad")
def adagrad(p, g, rate, slots, c):
    (s,) = slots
    s += g * g
    p -= rate * g / np.sqrt(s + c.f[4])


@rule("lion")
def lion(p, g, rate, slots, c):
    (m,) = slots
    p -= rate * np.sign(c.f[4] * m + (1 - c.f[4]) * g)
    m[...] = c.f[5] * m + (1 - c.f[5]) * g


@kernel("gradient_norm")
def gradient_norm(c):
    g = c.p[1][: c.i[0]]
    c.put(0, [np.sum(g[j : j + 4096] ** 2) for j in range(0, c.i[0], 4096)])


@kernel("clip_factor")
def clip_factor(c):
    norm = c.f[1] * np.sqrt(c.p[1][: c.i[0]].sum())
    c.put(0, [c.f[0] / norm if norm > c.f[0] else 1, norm])


@kernel("ema")
def ema(c):
    n, hyper = c.i[0], c.step.hyper
    a, p = c.p[0][:n], c.p[1][:n]
    mu = hyper[c.i[1]]
    a[...] = mu * a + (1 - mu) * p
    if c.i[2] and hyper[c.i[2]]:
        p[...] = a


@kernel("accumulate")
def accumulate(c):
    n = c.i[0]
    g = c.p[1][:n]
    c.put(0, g if c.step.hyper[c.i[1]] else c.p[0][:n] + g)


# ---- the interpreter ----


class Region:
    """A piece of the engine's memory and its float64 twin (int32 stays int32)."""

    def __init__(self, array):
        self.engine = array  # flat
        self.before = array.copy()
        self.twin = array.astype(np.float64) if array.dtype.kind == "f" else array.copy()


class Interpreter:
    """Runs a plan's records in float64.

    Args:
        plan: a Plan made with debug=True.
        sources: {input value: array of samples} that the step loads.
        outputs: {record number: array} that store_batch writes.
    """

    def __init__(self, plan, sources, outputs=()):
        self.plan, self.sources, self.outputs = plan, sources, dict(outputs)
        self.values, self.arrays = {}, {}

    def region(self, operand, position=None):
        """(region, first element) of an operand."""
        if isinstance(operand, np.ndarray):
            base = operand
            while isinstance(base.base, np.ndarray):
                base = base.base
            flat = base.reshape(-1)
            key = flat.ctypes.data
            if key not in self.arrays:
                self.arrays[key] = Region(flat)
            offset = (operand.ctypes.data - key) // flat.itemsize
            return self.arrays[key], offset
        root = self.plan.builder.root(operand)
        if root in self.plan.homes:
            return self.region(self.plan.homes[root])
        if root.kind == "variable":
            return self.region(root.content.value)
        if root not in self.values:
            self.values[root] = Region(self.plan.array(root).reshape(-1))
        return self.values[root], 0

    def operands(self, number, record):
        found = []
        for slot, operand in enumerate(record.operands):
            if operand is None and record.kernel == "store_batch" and slot == 0:
                operand = self.outputs[number]
            found.append(None if operand is None else self.region(operand))
        return found

    def run(self, number, record, step):
        """Executes one record; returns the regions it may have written."""
        found = self.operands(number, record)
        if record.kernel == "load_batch":
            region, at = found[0]
            source = self.sources[record.operands[0]]
            rows = source.reshape(len(source), -1)[step.sources()]
            if region.twin.dtype.kind == "f":
                rows = record.reals[0] * rows.astype(np.float64) + record.reals[1]
            region.twin[at : at + rows.size] = rows.ravel()
            return found[:1]
        p = [None if f is None else f[0].twin[f[1] :] for f in found]
        rows = record.ints[0] * (step.rows if record.batched else 1)
        KERNELS[record.kernel](Call(record.kernel, p, record.ints, record.reals, rows, step))
        return [f for f in found if f is not None]


def check_step(model, x, y=None, weights=None, *, mode="train", batch=7, steps=None, float64=True, order=None):
    """Runs a debug plan record by record beside the interpreter and compares everything each record touches; then the
    plan as a whole, and the plan that shares memory, which must leave the bits that the single records left.

    In float32 the interpreter goes on from the engine's values after each record, so that the tolerance is that of
    one kernel; in float64 it keeps its own to the end.
    """
    from fastnn.training.step import Step as Compiled

    if mode == "predict":
        data = model._input_arrays(x, "test")
        form = model._form(data)
    else:
        arrays = model._dataset(x, y, weights, "test")
        data = [*arrays.x, *arrays.y, *arrays.weights]
        form = model._form(arrays.x, arrays.y, arrays.weights)
    count = len(data[0])
    compiled = Compiled(model, mode, form, batch, debug=True)
    plan = compiled.plan
    compiled.bind(data)
    found = [*compiled.inputs, *compiled.targets, *compiled.weights]
    sources = {v: a for v, a in zip(found, data, strict=False) if v is not None and v in plan.loads}
    results = [np.empty((count, *v.shape[1:]), compiled.dtype) for v in compiled.outputs]
    stores = [j for j, record in enumerate(plan.records) if record.kernel == "store_batch"]
    outputs = dict(zip(stores, results, strict=True))
    number_of_steps = -(-count // batch)
    start = model.optimizer.step_count
    hyper = model.optimizer.hyper(start, number_of_steps) if mode == "train" else None
    seed = model._seed or 0

    interpreter = Interpreter(plan, sources, outputs)
    for index in range(number_of_steps):
        first = index * batch
        step = Step(min(batch, count - first), start + index, seed, None if hyper is None else hyper[index],
                    None if order is None else order[first:], first)  # fmt: skip
        step.float64 = plan.dtype == "float64"
        for number, record in enumerate(plan.records):
            touched = interpreter.run(number, record, step)
            ints = list(record.ints)
            operands = []
            for slot, operand in enumerate(record.operands):
                if operand is None and record.kernel == "store_batch" and slot == 0:
                    operand = outputs[number]
                if operand is None and record.kernel == "load_batch":
                    operand = sources[record.operands[0]]
                    ints[2] = _core.SOURCE_CODES[str(operand.dtype)]
                if operand is not None and not isinstance(operand, np.ndarray):
                    operand = plan.array(operand).ctypes.data
                operands.append(operand)
            _core.run(record.kernel, plan.dtype == "float64", tuple(operands), tuple(ints), record.reals,
                      rows=step.rows if record.batched else 0, split=record.split, seed=seed, index=step.index,
                      hyper=step.hyper, order=step.order, first=first)  # fmt: skip
            for region, _ in touched:
                compare(region, 1e-9 if float64 else 2e-5, f"step {index}, record {number}: {record.kernel}")
                if not float64:
                    region.twin[...] = region.engine
    left = {key: region.engine.copy() for key, region in interpreter.arrays.items()}

    for debug in (True, False):
        for region in interpreter.arrays.values():
            if region.engine.flags.writeable:
                region.engine[...] = region.before
        again = compiled if debug else Compiled(model, mode, form, batch)
        again.bind(data)
        again.bind_outputs(results)
        done = again.core.run(0, count, batch, order=order, index=start, seed=seed, hyper=hyper)
        assert done == count
        for key, region in interpreter.arrays.items():
            same = np.array_equal(region.engine.view(np.uint8), left[key].view(np.uint8))
            assert same, f"debug={debug}: the whole plan and its single records leave other bits"
    return compiled


def compare(region, tolerance, where):
    engine, twin = region.engine, region.twin
    if engine.dtype.kind != "f":
        assert np.array_equal(engine, twin), where
        return
    known = np.isfinite(twin)
    scale = max(1.0, np.abs(twin[known]).max()) if known.any() else 1.0
    near = np.isclose(engine, twin, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    if not near.all():
        at = int(np.argmin(near))
        raise AssertionError(f"{where}: element {at} is {engine[at]!r}, the reference says {twin[at]!r}")
