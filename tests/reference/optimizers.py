"""Optimizers in Keras' forms."""

import numpy as np

from .registry import KERNELS, Call, kernel


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


@kernel("sgd_rows", "adagrad_rows")
def update_rows(c):
    columns = c.i[3]
    for index in set(c.p[7][: c.rows].tolist()):
        at = slice(index * columns, (index + 1) * columns)
        p = [None if x is None else x[at] for x in c.p[:7]]
        KERNELS[c.name.removesuffix("_rows")](Call(c.name, p, (columns, *c.i[1:3]), c.f, columns, c.step))
        p[1][...] = 0


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
