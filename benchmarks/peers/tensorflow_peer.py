"""TensorFlow: the whole step in one tf.function with the fused update kernels, with and without XLA."""

import numpy as np
import tensorflow as tf

from .workloads import GATES, NORM_EPSILON


def forward(stages, weights, x):
    weights = iter(weights)
    activations = {"relu": tf.nn.relu, "tanh": tf.tanh, None: tf.identity}
    for stage in stages:
        kind = stage[0]
        if kind == "dense":
            x = activations[stage[2]](tf.nn.bias_add(tf.matmul(x, next(weights)), next(weights)))
        elif kind == "conv":
            x = tf.nn.conv2d(x, next(weights), 1, stage[3].upper())
            x = activations[stage[4]](tf.nn.bias_add(x, next(weights)))
        elif kind == "maxpool":
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        elif kind == "norm_conv":
            x = tf.nn.relu(norm_conv(x, weights, stage[2]))
        elif kind == "block":
            _, filters, strides = stage
            y = norm_conv(tf.nn.relu(norm_conv(x, weights, strides)), weights, 1)
            if strides > 1:
                x = tf.pad(x[:, ::strides, ::strides], [[0, 0], [0, 0], [0, 0], [0, filters - x.shape[-1]]])
            x = tf.nn.relu(x + y)
        elif kind == "average":
            x = tf.reduce_mean(x, (1, 2))
        elif kind == "flatten":
            x = tf.reshape(x, (x.shape[0], -1))
        else:
            x = recur(kind, stage[1], x, next(weights), next(weights), next(weights))
    return x


def norm_conv(x, weights, strides):
    """By the batch's statistics; those for inference are left out."""
    x = tf.nn.conv2d(x, next(weights), strides, "SAME")
    return tf.compat.v1.nn.fused_batch_norm(x, next(weights), next(weights), epsilon=NORM_EPSILON)[0]


def recur(kind, units, x, kernel, recurrent, bias):
    """The input products of all steps at once, then time unrolled."""
    inputs = tf.unstack(tf.tensordot(x, kernel, 1) + (bias[0] if kind == "gru" else bias), axis=1)
    h = c = tf.zeros((x.shape[0], units))
    for xt in inputs:
        if kind == "rnn":
            h = tf.tanh(xt + tf.matmul(h, recurrent))
        elif kind == "lstm":
            i, f, g, o = tf.split(xt + tf.matmul(h, recurrent), GATES[kind], axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            h = tf.sigmoid(o) * tf.tanh(c)
        else:
            (xz, xr, xh), (hz, hr, hh) = tf.split(xt, 3, axis=1), tf.split(tf.matmul(h, recurrent) + bias[1], 3, axis=1)
            z = tf.sigmoid(xz + hz)
            h = z * h + (1 - z) * tf.tanh(xh + tf.sigmoid(xr + hr) * hh)
    return h


class Function:
    jit = False

    def __init__(self, w):
        self.w = w
        self.p = [tf.Variable(v) for v in w.weights]
        self.m, self.v = ([tf.Variable(tf.zeros_like(p)) for p in self.p] for _ in range(2))
        self.t = tf.Variable(0.0)
        self.batches = [(tf.constant(x), tf.constant(y)) for x, y in zip(w.x, w.y, strict=True)]
        self.call = tf.function(self.step, jit_compile=self.jit).get_concrete_function(*self.batches[0])

    def step(self, x, y):
        kind, rate = self.w.optimizer
        with tf.GradientTape() as tape:
            out = forward(self.w.stages, self.p, x)
            if self.w.loss == "softmax":
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, out))
            else:
                loss = tf.reduce_mean(tf.math.squared_difference(out, y))
        gradients = tape.gradient(loss, self.p)
        if self.w.decay:
            gradients = [g + self.w.decay * p for g, p in zip(gradients, self.p, strict=True)]
        self.t.assign_add(1.0)
        b1, b2 = 0.9**self.t, 0.999**self.t
        for p, m, v, g in zip(self.p, self.m, self.v, gradients, strict=True):
            if kind == "adam":
                tf.raw_ops.ResourceApplyAdam(
                    var=p.handle, m=m.handle, v=v.handle, beta1_power=b1, beta2_power=b2, lr=rate,
                    beta1=0.9, beta2=0.999, epsilon=1e-7, grad=g,
                )  # fmt: skip
            elif kind == "momentum":
                tf.raw_ops.ResourceApplyKerasMomentum(var=p.handle, accum=m.handle, lr=rate, grad=g, momentum=0.9)
            else:
                tf.raw_ops.ResourceApplyGradientDescent(var=p.handle, alpha=rate, delta=g)

    def run(self, steps):
        call, batches, n = self.call, self.batches, self.w.batches
        for i in range(steps):
            call(*batches[i % n])

    def weights(self):
        return [p.numpy() for p in self.p]


class FunctionJit(Function):
    jit = True


class Inference:
    jit = False

    def __init__(self, w):
        self.w, self.x = w, [tf.constant(b) for b in w.x]
        p = [tf.constant(v) for v in w.weights]
        call = tf.function(lambda x: forward(w.stages, p, x), jit_compile=self.jit)
        self.f = call.get_concrete_function(self.x[0])

    def run(self, steps):
        for i in range(steps):
            self.f(self.x[i % self.w.batches])

    def output(self):
        return np.asarray(self.f(self.x[0]))


class InferenceJit(Inference):
    jit = True


def variants(w):
    if w.inference:
        return {"function": Inference, "function-jit": InferenceJit}
    return {"function": Function, "function-jit": FunctionJit} if w.dense else {"function": Function}


def threads(n):
    tf.config.threading.set_intra_op_parallelism_threads(n)
    tf.config.threading.set_inter_op_parallelism_threads(1)
