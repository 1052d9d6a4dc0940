"""Sums, means and the like, over the last dimension, the middle ones, the first."""

import numpy as np

from .registry import kernel


def logsumexp(x):
    m = x.max(-1, keepdims=True)
    return (m + np.log(np.exp(x - m).sum(-1, keepdims=True)))[..., 0]


LAST = {
    "sum": lambda x: x.sum(-1), "mean": lambda x: x.mean(-1), "max": lambda x: x.max(-1), "min": lambda x: x.min(-1),
    "prod": lambda x: x.prod(-1), "logsumexp": logsumexp, "argmax": lambda x: x.argmax(-1),
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
