"""Softmax, losses with their gradients, accuracies."""

import numpy as np

from .elementwise import sigmoid
from .reductions import logsumexp
from .registry import kernel

EPS = 1e-7


def _log_softmax(x):
    return x - logsumexp(x)[..., None]


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
        lambda y, t, a: sigmoid(y) - _smooth(t, a),
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
