"""JAX: the whole step jitted with donated buffers, and 64 steps scanned in one call.

Recurrent nets are a scan over time: unrolled ("jit"; compiling a hundred steps of it takes many minutes, so longer
sequences are unrolled by tens), and not unrolled ("jit-loop").
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .workloads import GATES, NORM_EPSILON

SCAN = 64
UNROLL_MOST, UNROLL_LONG = 50, 10


def forward(stages, weights, x, loop=False):
    weights = iter(weights)
    activations = {"relu": jax.nn.relu, "tanh": jnp.tanh, None: lambda z: z}
    for stage in stages:
        kind = stage[0]
        if kind == "dense":
            x = activations[stage[2]](x @ next(weights) + next(weights))
        elif kind == "conv":
            layout = ("NHWC", "HWIO", "NHWC")
            x = lax.conv_general_dilated(x, next(weights), (1, 1), stage[3].upper(), dimension_numbers=layout)
            x = activations[stage[4]](x + next(weights))
        elif kind == "maxpool":  # by reshape: reduce_window's gradient (select-and-scatter) is slow on the CPU
            n, h, v, c = x.shape
            x = x[:, : h // 2 * 2, : v // 2 * 2].reshape(n, h // 2, 2, v // 2, 2, c).max(axis=(2, 4))
        elif kind == "norm_conv":
            x = jax.nn.relu(norm_conv(x, weights, stage[2]))
        elif kind == "block":
            _, filters, strides = stage
            y = norm_conv(jax.nn.relu(norm_conv(x, weights, strides)), weights, 1)
            if strides > 1:
                x = jnp.pad(x[:, ::strides, ::strides], ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1])))
            x = jax.nn.relu(x + y)
        elif kind == "average":
            x = x.mean(axis=(1, 2))
        elif kind == "flatten":
            x = x.reshape(len(x), -1)
        else:
            x = recur(kind, stage[1], x, next(weights), next(weights), next(weights), loop)
    return x


def norm_conv(x, weights, strides):
    """By the batch's statistics; those for inference are left out."""
    layout = ("NHWC", "HWIO", "NHWC")
    x = lax.conv_general_dilated(x, next(weights), (strides, strides), "SAME", dimension_numbers=layout)
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    scale = next(weights) * lax.rsqrt(variance + NORM_EPSILON)
    return x * scale + (next(weights) - mean * scale)


def recur(kind, units, x, kernel, recurrent, bias, loop):
    """The input products of all steps at once, then a scan over time."""
    inputs = jnp.swapaxes(x @ kernel + (bias[0] if kind == "gru" else bias), 0, 1)

    def cell(carry, xt):
        h, c = carry
        if kind == "rnn":
            return (jnp.tanh(xt + h @ recurrent), c), None
        if kind == "lstm":
            i, f, g, o = jnp.split(xt + h @ recurrent, GATES[kind], axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None
        (xz, xr, xh), (hz, hr, hh) = jnp.split(xt, 3, axis=1), jnp.split(h @ recurrent + bias[1], 3, axis=1)
        z = jax.nn.sigmoid(xz + hz)
        return (z * h + (1 - z) * jnp.tanh(xh + jax.nn.sigmoid(xr + hr) * hh), c), None

    zero = jnp.zeros((x.shape[0], units), x.dtype)
    steps = inputs.shape[0]
    unroll = 1 if loop else steps if steps <= UNROLL_MOST else UNROLL_LONG
    return lax.scan(cell, (zero, zero), inputs, unroll=unroll)[0][0]


def make_step(w, loop=False):
    kind, rate = w.optimizer

    def loss(p, x, y):
        out = forward(w.stages, p, x, loop)
        if w.loss == "softmax":
            return -jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], axis=1).mean()
        return ((out - y) ** 2).mean()

    def step(state, batch):
        p, m, v, t = state
        g = jax.grad(loss)(p, *batch)
        t = t + 1
        if w.decay:
            g = [a + w.decay * b for a, b in zip(g, p, strict=True)]
        if kind == "adam":
            scale = rate * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
            v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
            p = [a - scale * b / (jnp.sqrt(c) + 1e-7) for a, b, c in zip(p, m, v, strict=True)]
        elif kind == "momentum":
            m = [0.9 * a - rate * b for a, b in zip(m, g, strict=True)]
            p = [a + b for a, b in zip(p, m, strict=True)]
        else:
            p = [a - rate * b for a, b in zip(p, g, strict=True)]
        return p, m, v, t

    return step


class Jit:
    loop = False

    def __init__(self, w):
        self.w = w
        p = [jnp.array(v) for v in w.weights]
        slots = w.optimizer[0]
        m = [jnp.zeros_like(v) for v in p] if slots != "sgd" else []
        v = [jnp.zeros_like(v) for v in p] if slots == "adam" else []
        self.state = (p, m, v, jnp.zeros((), jnp.float32))
        self.prepare(make_step(w, self.loop))

    def prepare(self, step):
        self.step = jax.jit(step, donate_argnums=0)
        self.batches = [(jnp.array(x), jnp.array(y)) for x, y in zip(self.w.x, self.w.y, strict=True)]

    def run(self, steps):
        state, step, batches, n = self.state, self.step, self.batches, self.w.batches
        for i in range(steps):
            state = step(state, batches[i % n])
        self.state = jax.block_until_ready(state)

    def weights(self):
        return [np.asarray(p) for p in self.state[0]]


class Loop(Jit):
    loop = True


class Scan(Jit):
    granule = SCAN

    def prepare(self, step):
        repeats = SCAN // self.w.batches  # the data set again and again until 64 steps are full
        self.data = (jnp.tile(jnp.array(self.w.x), (repeats, 1, *[1] * len(self.w.inputs))),)
        self.data += (jnp.tile(jnp.array(self.w.y), (repeats, *[1] * (self.w.y.ndim - 1))),)
        many = lambda state, data: lax.scan(lambda s, b: (step(s, b), None), state, data)[0]  # noqa: E731
        self.step = jax.jit(many, donate_argnums=0)

    def run(self, steps):
        for _ in range(steps // SCAN):
            self.state = self.step(self.state, self.data)
        self.state = jax.block_until_ready(self.state)


class Inference:
    def __init__(self, w):
        self.w, self.p = w, [jnp.array(v) for v in w.weights]
        self.f, self.x = jax.jit(lambda p, x: forward(w.stages, p, x)), list(w.x)

    def run(self, steps):
        for i in range(steps):
            np.asarray(self.f(self.p, self.x[i % self.w.batches]))

    def output(self):
        return np.asarray(self.f(self.p, self.x[0]))


def variants(w):
    if w.inference:
        return {"jit": Inference}
    small = sum(p.size for p in w.weights) < 2**20  # else 64 steps take seconds and save nothing
    if any(stage[0] in GATES for stage in w.stages):
        return {"jit": Jit, "jit-loop": Loop}
    return {"jit": Jit, "scan64": Scan} if w.dense and small else {"jit": Jit}
