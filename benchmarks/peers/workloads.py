"""The nets, their data and initial weights, and a float64 NumPy reference: the same work for everybody.

A peer gets batches x[i], y[i] (float32; labels int32), weights to start from and the optimizer's numbers. A net is a
list of stages: ("dense", outputs, activation), ("conv", filters, kernel, padding, activation), ("maxpool",),
("flatten",), ("rnn" | "lstm" | "gru", units), and those of residual networks: ("norm_conv", filters, strides), a 3 x 3
convolution with batch normalization and ReLU, ("block", filters, strides), two of them and a shortcut, ("average",),
the mean of all pixels. Kernels are (in, out) and (height, width, in, out), images are NHWC, as in Keras; the moving
statistics of batch normalization are not among the weights.
"""

from dataclasses import dataclass, field
from math import prod

import numpy as np


@dataclass
class Workload:
    name: str
    inputs: tuple
    stages: list
    loss: str  # "softmax" (integer labels), "mse" or "none" (inference)
    optimizer: tuple  # ("adam" | "momentum" | "sgd", learning rate)
    batch: int
    batches: int = 64
    check_steps: int = 64  # steps after which everybody's loss is compared
    decay: float = 0.0  # of all weights, by rate * decay a step
    weights: list = field(default_factory=list)

    def __post_init__(self):
        rng = np.random.RandomState(7)
        self.weights = [w.astype(np.float32) for w in initial_weights(self, rng)]
        rows = self.batch * self.batches
        x = rng.standard_normal((rows, *self.inputs)).astype(np.float32)
        outputs = self.stages[-1][1]
        teacher = rng.standard_normal((prod(self.inputs), outputs)) / np.sqrt(prod(self.inputs))
        score = x.reshape(rows, -1) @ teacher
        if self.loss == "softmax":
            y = score.argmax(axis=1).astype(np.int32)
        elif self.name.startswith("tiny_xor"):
            y = np.sign(x[:, :1] * x[:, 1:]).astype(np.float32)
        else:
            y = np.tanh(score).astype(np.float32)
        self.flat_x, self.flat_y = x, y
        self.x = x.reshape(self.batches, self.batch, *self.inputs)
        self.y = y.reshape(self.batches, self.batch, *y.shape[1:])

    @property
    def inference(self):
        return self.loss == "none"

    @property
    def dense(self):
        return all(stage[0] == "dense" for stage in self.stages)

    def reference_loss(self, weights):
        """Mean loss of the first batch under ``weights``, in float64; for inference the mean output."""
        out = forward(self, [np.asarray(w, dtype=np.float64) for w in weights], self.x[0].astype(np.float64))
        if self.loss == "softmax":
            out = out - out.max(axis=1, keepdims=True)
            log_p = out - np.log(np.exp(out).sum(axis=1, keepdims=True))
            return float(-log_p[np.arange(self.batch), self.y[0]].mean())
        if self.loss == "mse":
            return float(((out - self.y[0]) ** 2).mean())
        return float(np.abs(out).mean())


GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def initial_weights(w, rng):
    """He-scaled kernels and zero biases; the order of Keras' get_weights."""
    shape, out = w.inputs, []
    for stage in w.stages:
        kind = stage[0]
        if kind == "dense":
            out += [rng.standard_normal((shape[0], stage[1])) * np.sqrt(2 / shape[0]), np.zeros(stage[1])]
            shape = (stage[1],)
        elif kind == "conv":
            _, filters, size, padding, _ = stage
            fan_in = size * size * shape[2]
            out += [rng.standard_normal((size, size, shape[2], filters)) * np.sqrt(2 / fan_in), np.zeros(filters)]
            cut = 0 if padding == "same" else size - 1
            shape = (shape[0] - cut, shape[1] - cut, filters)
        elif kind in ("norm_conv", "block"):
            _, filters, strides = stage
            for depth in (shape[2], filters)[: 1 + (kind == "block")]:
                out.append(rng.standard_normal((3, 3, depth, filters)) * np.sqrt(2 / (9 * depth)))
                out += [np.ones(filters), np.zeros(filters)]
            shape = (-(-shape[0] // strides), -(-shape[1] // strides), filters)
        elif kind == "average":
            shape = (shape[2],)
        elif kind == "maxpool":
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        elif kind == "flatten":
            shape = (prod(shape),)
        else:
            units, gates = stage[1], GATES[kind]
            out.append(rng.standard_normal((shape[1], gates * units)) / np.sqrt(shape[1]))
            out.append(rng.standard_normal((units, gates * units)) / np.sqrt(4 * units))
            out.append(np.zeros((2, gates * units) if kind == "gru" else gates * units))
            shape = (units,)
    return out


def activate(name, z):
    return {"relu": lambda: np.maximum(z, 0), "tanh": lambda: np.tanh(z), None: lambda: z}[name]()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(w, weights, x):
    weights = iter(weights)
    for stage in w.stages:
        kind = stage[0]
        if kind == "dense":
            x = activate(stage[2], x @ next(weights) + next(weights))
        elif kind == "conv":
            kernel, bias = next(weights), next(weights)
            size = kernel.shape[0]
            if stage[3] == "same":
                left = (size - 1) // 2
                x = np.pad(x, ((0, 0), (left, size - 1 - left), (left, size - 1 - left), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
            x = activate(stage[4], np.einsum("nhwcij,ijcf->nhwf", windows, kernel, optimize=True) + bias)
        elif kind == "norm_conv":
            x = np.maximum(norm_conv(x, weights, stage[2]), 0)
        elif kind == "block":
            y = norm_conv(np.maximum(norm_conv(x, weights, stage[2]), 0), weights, 1)
            short = x[:, :: stage[2], :: stage[2]]
            y[..., : short.shape[-1]] += short
            x = np.maximum(y, 0)
        elif kind == "average":
            x = x.mean(axis=(1, 2))
        elif kind == "maxpool":
            n, h, v, c = x.shape
            x = x[:, : h // 2 * 2, : v // 2 * 2].reshape(n, h // 2, 2, v // 2, 2, c).max(axis=(2, 4))
        elif kind == "flatten":
            x = x.reshape(len(x), -1)
        else:
            x = recur(kind, stage[1], x, next(weights), next(weights), next(weights))
    return x


NORM_EPSILON = 1e-5


def norm_conv(x, weights, strides):
    """A 3 x 3 convolution ("same", as Keras pads), normalized by the batch's mean and variance."""
    kernel, gamma, beta = (next(weights) for _ in range(3))
    _, h, v, c = x.shape
    pads = [max((-(-size // strides) - 1) * strides + 3 - size, 0) for size in (h, v)]
    x = np.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::strides, ::strides]
    y = windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], 9 * c) @ kernel.reshape(9 * c, -1)
    mean, variance = y.mean(axis=(0, 1, 2)), y.var(axis=(0, 1, 2))
    return (y - mean) / np.sqrt(variance + NORM_EPSILON) * gamma + beta


def recur(kind, units, x, kernel, recurrent, bias):
    h = c = np.zeros((len(x), units))
    for t in range(x.shape[1]):
        if kind == "rnn":
            h = np.tanh(x[:, t] @ kernel + h @ recurrent + bias)
        elif kind == "lstm":
            i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            xz, xr, xh = np.split(x[:, t] @ kernel + bias[0], 3, axis=1)
            hz, hr, hh = np.split(h @ recurrent + bias[1], 3, axis=1)
            z = sigmoid(xz + hz)
            h = z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)
    return h


MNIST = [("dense", 256, "relu"), ("dense", 128, "relu"), ("dense", 10, None)]
LENET = [
    ("conv", 6, 5, "same", "relu"), ("maxpool",), ("conv", 16, 5, "valid", "relu"), ("maxpool",), ("flatten",),
    ("dense", 120, "relu"), ("dense", 84, "relu"), ("dense", 10, None),
]  # fmt: skip
CIFAR = [
    ("conv", 32, 3, "same", "relu"), ("conv", 32, 3, "same", "relu"), ("maxpool",), ("conv", 64, 3, "same", "relu"),
    ("conv", 64, 3, "same", "relu"), ("maxpool",), ("flatten",), ("dense", 256, "relu"), ("dense", 10, None),
]  # fmt: skip
RESNET20 = [
    ("norm_conv", 16, 1), *[("block", 16, 1)] * 3, ("block", 32, 2), *[("block", 32, 1)] * 2, ("block", 64, 2),
    *[("block", 64, 1)] * 2, ("average",), ("dense", 10, None),
]  # fmt: skip
ADAM, MOMENTUM = ("adam", 1e-3), ("momentum", 1e-2)


def recurrent(kind, steps=50, inputs=32, units=64, batch=32, batches=16):
    return lambda: Workload(
        kind, (steps, inputs), [(kind, units), ("dense", 10, None)], "softmax", ADAM, batch, batches
    )


WORKLOADS = {
    "mlp_mnist/32": lambda: Workload("mlp_mnist/32", (784,), MNIST, "softmax", ADAM, 32),
    "mlp_mnist/128": lambda: Workload("mlp_mnist/128", (784,), MNIST, "softmax", ADAM, 128),
    "mlp_mnist/1024": lambda: Workload("mlp_mnist/1024", (784,), MNIST, "softmax", ADAM, 1024, 16),
    "mlp_wide/256": lambda: Workload(
        "mlp_wide/256",
        (1024,),
        [("dense", 2048, "relu"), ("dense", 2048, "relu"), ("dense", 1000, None)],
        "softmax",
        MOMENTUM,
        256,
        4,
        check_steps=8,
    ),
    "tiny_xor/4": lambda: Workload(
        "tiny_xor/4", (2,), [("dense", 16, "tanh"), ("dense", 1, None)], "mse", ("sgd", 0.05), 4
    ),
    "tiny_reg/32": lambda: Workload(
        "tiny_reg/32", (13,), [("dense", 64, "relu"), ("dense", 64, "relu"), ("dense", 1, None)], "mse", ADAM, 32
    ),
    "infer_mlp/1": lambda: Workload("infer_mlp/1", (784,), MNIST, "none", ADAM, 1, 64),
    "infer_mlp/256": lambda: Workload("infer_mlp/256", (784,), MNIST, "none", ADAM, 256, 16),
    "infer_lenet5/1": lambda: Workload("infer_lenet5/1", (28, 28, 1), LENET, "none", ADAM, 1, 64),
    "infer_lenet5/256": lambda: Workload("infer_lenet5/256", (28, 28, 1), LENET, "none", ADAM, 256, 8),
    "lenet5/32": lambda: Workload("lenet5/32", (28, 28, 1), LENET, "softmax", MOMENTUM, 32, 32),
    "lenet5/128": lambda: Workload("lenet5/128", (28, 28, 1), LENET, "softmax", MOMENTUM, 128, 16),
    "cnn_cifar/64": lambda: Workload("cnn_cifar/64", (32, 32, 3), CIFAR, "softmax", ADAM, 64, 8, 16),
    "cnn_cifar/128": lambda: Workload("cnn_cifar/128", (32, 32, 3), CIFAR, "softmax", ADAM, 128, 4, 8),
    "resnet20/128": lambda: Workload(
        "resnet20/128", (32, 32, 3), RESNET20, "softmax", MOMENTUM, 128, 4, check_steps=8, decay=1e-4
    ),
    "rnn_elman/32": recurrent("rnn"),
    "lstm/32": recurrent("lstm"),
    "gru/32": recurrent("gru"),
    "lstm_long/64": recurrent("lstm", 100, 64, 128, 64, 4),
    "gru_long/64": recurrent("gru", 100, 64, 128, 64, 4),
}
