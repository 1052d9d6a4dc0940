"""Careful NumPy: every buffer allocated once, products into ``out=``, the optimizer over one flat array."""

from itertools import pairwise

import numpy as np


class Dense:
    def __init__(self, w):
        self.w = w
        sizes = [p.size for p in w.weights]
        self.flat, self.grad = np.concatenate([p.ravel() for p in w.weights]), np.zeros(sum(sizes), np.float32)
        cuts = np.cumsum([0, *sizes]).tolist()
        spans = [slice(a, b) for a, b in pairwise(cuts)]
        self.params = [self.flat[s].reshape(p.shape) for s, p in zip(spans, w.weights, strict=True)]
        self.grads = [self.grad[s].reshape(p.shape) for s, p in zip(spans, w.weights, strict=True)]
        self.out = [np.empty((w.batch, stage[1]), np.float32) for stage in w.stages]
        self.delta = [np.empty_like(o) for o in self.out]
        self.m, self.v, self.tmp = (np.zeros_like(self.flat) for _ in range(3))
        self.rows, self.t = np.arange(w.batch), 0

    def forward(self, x):
        for i, (_, _, activation) in enumerate(self.w.stages):
            out = self.out[i]
            np.matmul(x, self.params[2 * i], out=out)
            out += self.params[2 * i + 1]
            if activation == "relu":
                np.maximum(out, 0, out=out)
            elif activation == "tanh":
                np.tanh(out, out=out)
            x = out
        return x

    def step(self, x, y):
        w, last = self.w, len(self.w.stages) - 1
        out, delta = self.forward(x), self.delta[last]
        if w.loss == "softmax":
            np.subtract(out, out.max(axis=1, keepdims=True), out=delta)
            np.exp(delta, out=delta)
            delta /= delta.sum(axis=1, keepdims=True)
            delta[self.rows, y] -= 1
            delta *= 1 / w.batch
        else:
            np.subtract(out, y, out=delta)
            delta *= 2 / out.size
        for i in range(last, -1, -1):
            source = self.out[i - 1] if i else x
            np.matmul(source.T, self.delta[i], out=self.grads[2 * i])
            np.add.reduce(self.delta[i], axis=0, out=self.grads[2 * i + 1])
            if i:
                below = self.delta[i - 1]
                np.matmul(self.delta[i], self.params[2 * i].T, out=below)
                if w.stages[i - 1][2] == "relu":
                    below *= source > 0
                elif w.stages[i - 1][2] == "tanh":
                    below *= 1 - source * source
        self.update(*w.optimizer)

    def update(self, kind, rate):
        self.t += 1
        p, g, m, v, tmp = self.flat, self.grad, self.m, self.v, self.tmp
        if kind == "adam":
            np.subtract(g, m, out=tmp)
            tmp *= 0.1
            m += tmp
            g *= g
            g -= v
            g *= 0.001
            v += g
            np.sqrt(v, out=tmp)
            tmp += 1e-7
            np.divide(m, tmp, out=tmp)
            tmp *= rate * np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
            p -= tmp
        elif kind == "momentum":
            m *= 0.9
            g *= rate
            m -= g
            p += m
        else:
            g *= rate
            p -= g

    def run(self, steps):
        x, y, batches = self.w.x, self.w.y, self.w.batches
        if self.w.inference:
            for i in range(steps):
                self.forward(x[i % batches])
        else:
            for i in range(steps):
                self.step(x[i % batches], y[i % batches])

    def output(self):
        return self.forward(self.w.x[0])

    def weights(self):
        return self.params


def variants(w):
    return {"numpy": Dense} if w.dense else {}
