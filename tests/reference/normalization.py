"""Batch normalization."""

import numpy as np

from .elementwise import activate
from .registry import kernel


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
    c.put(0, activate(c.i[2], (c.matrix(1) - mean) * rstd * gamma + beta, c.real(0)))


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
