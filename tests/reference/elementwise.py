"""Functions of one, two and three operands."""

import numpy as np
from scipy.special import erf

from .registry import kernel


def sigmoid(x):
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
    g = sigmoid(beta * s)
    return dy * (g + beta * s * g * (1 - g))


def _mish_grad(dy, s, a, b):
    t = np.tanh(_softplus(s))
    return dy * (t + s * (1 - t * t) * sigmoid(s))


#: name -> (value(x, a, b), gradient(dy, s, a, b))
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
    "gelu_sigmoid": (lambda x, a, b: x * sigmoid(1.702 * x), lambda dy, s, a, b: _swish_grad(dy, s, 1.702)),
    "sigmoid": (lambda x, a, b: sigmoid(x), lambda dy, s, a, b: dy * s * (1 - s)),
    "tanh": (lambda x, a, b: np.tanh(x), lambda dy, s, a, b: dy * (1 - s * s)),
    "swish": (lambda x, a, b: x * sigmoid(a * x), _swish_grad),
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
    "log_sigmoid": (lambda x, a, b: -_softplus(-x), lambda dy, s, a, b: dy * sigmoid(-s)),
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


#: Activations in the order of the codes that fused kernels are given.
ACTIVATION_CODES = [None, "relu", "leaky_relu", "sigmoid", "tanh", "elu", "selu", "exp", "relu6", "hard_sigmoid",
                    "softsign", "swish"]  # fmt: skip


def activate(code, z, alpha):
    """z, or what the activation of a code makes of it."""
    return UNARY[ACTIVATION_CODES[code]][0](z, alpha, 0) if code else z


def slope(code, z, s, alpha):
    """A gradient z through the activation of a code; s: its result, or its argument where the kernel keeps that."""
    return UNARY[ACTIVATION_CODES[code]][1](z, s, alpha, 0) if code else z


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
