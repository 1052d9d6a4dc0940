"""Families of kernels, and whole training steps, beside pure NumPy (and PyTorch where installed), by pytest-benchmark:

    pytest benchmarks/bench_kernels.py --benchmark-group-by=group --benchmark-columns=min,median,iqr,rounds

Each group is one piece of work; its members do the same on the same data, float32, on one thread. `extra_info` (in the
JSON of --benchmark-json) holds GFLOP/s or GB/s and the share of the ceiling measured when the session begins.
"""

import importlib.util
import itertools

import numpy as np
import pytest

import fastnn
from fastnn import kernels, layers
from fastnn.training.inspection import measure_ceiling

pytest.importorskip("pytest_benchmark")
RNG = np.random.default_rng(0)
TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture(scope="module")
def ceiling():
    before = fastnn.get_num_threads()
    fastnn.set_num_threads(1)
    if TORCH:
        import torch

        torch.set_num_threads(1)
    yield measure_ceiling()
    fastnn.set_num_threads(before)


def floats(*shape):
    return RNG.standard_normal(shape, dtype=np.float32)


def tensors(*arrays):
    import torch

    return [torch.from_numpy(a) for a in arrays]


def matmul(m, n, k):
    a, b, out = floats(m, k), floats(k, n), np.empty((m, n), np.float32)
    return {
        "fastnn": lambda: kernels.matmul(a, b, out),
        "numpy": lambda: np.matmul(a, b, out=out),
        "torch": lambda: (lambda x, y, z: lambda: __import__("torch").mm(x, y, out=z))(*tensors(a, b, out)),
    }, {"flops": 2 * m * n * k}


def elementwise(name):
    def make(n):
        x, out = floats(n), np.empty(n, np.float32)
        reference = {
            "relu": lambda: np.maximum(x, 0, out=out),
            "tanh": lambda: np.tanh(x, out=out),
            "exp": lambda: np.exp(x, out=out),
            "gelu_tanh": lambda: 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x))),
        }[name]
        return {"fastnn": lambda: getattr(kernels, name)(x, out=out), "numpy": reference}, {"bytes": 8 * n}

    return make


def dropout(n):
    x, out = floats(n), np.empty(n, np.float32)
    return {
        "fastnn": lambda: kernels.dropout(x, 0.5, seed=1, out=out),
        "numpy": lambda: np.multiply(x, RNG.random(n, dtype=np.float32) < 0.5, out=out) * 2,
    }, {"bytes": 8 * n}


def crossentropy(rows, classes):
    from fastnn.kernels import losses

    z, labels = floats(rows, classes), RNG.integers(0, classes, rows).astype(np.int32)

    def reference():
        e = np.exp(z - z.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        loss = -np.log(p[np.arange(rows), labels])
        p[np.arange(rows), labels] -= 1
        return loss, p

    return {
        "fastnn": lambda: losses.sparse_softmax_crossentropy(z, labels, return_gradient=True),
        "numpy": reference,
    }, {"bytes": 8 * rows * classes}


def adam(n):
    p, g = floats(n), floats(n)
    optimizer = fastnn.optimizers.Adam()
    m, v, t = np.zeros_like(p), np.zeros_like(p), [0]

    def reference():
        t[0] += 1
        m[...] = 0.9 * m + 0.1 * g
        v[...] = 0.999 * v + 0.001 * g * g
        p[...] -= 1e-3 * np.sqrt(1 - 0.999 ** t[0]) / (1 - 0.9 ** t[0]) * m / (np.sqrt(v) + 1e-7)

    return {"fastnn": lambda: optimizer.apply([g], [p]), "numpy": reference}, {"bytes": 28 * n}


def training_step(*widths, batch):
    """A step of train_on_batch, dense net with ReLU, SGD, mean squared error."""
    x, y = floats(batch, widths[0]), floats(batch, widths[-1])
    hidden = [layers.Dense(w, activation="relu") for w in widths[1:-1]]
    model = fastnn.Sequential([layers.Input((widths[0],)), *hidden, layers.Dense(widths[-1])])
    model.compile(fastnn.optimizers.SGD(1e-4), "mse")
    weights = [w.copy() for w in model.get_weights()]

    def reference():
        hs = [x]
        for w, b in zip(weights[::2], weights[1::2], strict=True):
            z = hs[-1] @ w + b
            hs.append(np.maximum(z, 0) if w is not weights[-2] else z)
        d = 2 * (hs[-1] - y) / y.size
        for j in range(len(weights) - 2, -1, -2):
            dw, db = hs[j // 2].T @ d, d.sum(0)
            d = (d @ weights[j].T) * (hs[j // 2] > 0) if j else None
            weights[j] -= 1e-4 * dw
            weights[j + 1] -= 1e-4 * db

    products = sum(a * b for a, b in itertools.pairwise(widths))
    flops = 2 * batch * (3 * products - widths[0] * widths[1])
    return {"fastnn": lambda: model.train_on_batch(x, y), "numpy": reference}, {"flops": flops}


CASES = {
    "matmul 256x256x256": lambda: matmul(256, 256, 256),
    "matmul 1024x1024x1024": lambda: matmul(1024, 1024, 1024),
    "matmul 32x256x784": lambda: matmul(32, 256, 784),
    "matmul 128x10x128": lambda: matmul(128, 10, 128),
    "relu 64K": lambda: elementwise("relu")(65536),
    "tanh 64K": lambda: elementwise("tanh")(65536),
    "exp 64K": lambda: elementwise("exp")(65536),
    "gelu_tanh 64K": lambda: elementwise("gelu_tanh")(65536),
    "dropout 64K": lambda: dropout(65536),
    "softmax crossentropy 128x10": lambda: crossentropy(128, 10),
    "softmax crossentropy 128x1000": lambda: crossentropy(128, 1000),
    "adam 100K": lambda: adam(100_000),
    "adam 1M": lambda: adam(1_000_000),
    "step 13-64-64-1, 32": lambda: training_step(13, 64, 64, 1, batch=32),
    "step 784-256-128-10, 128": lambda: training_step(784, 256, 128, 10, batch=128),
}


@pytest.mark.parametrize("who", ["fastnn", "numpy", "torch"])
@pytest.mark.parametrize("name", CASES)
def bench_kernel(benchmark, ceiling, name, who):
    candidates, work = CASES[name]()
    if who not in candidates or (who == "torch" and not TORCH):
        pytest.skip(f"{who} does not take part")
    function = candidates[who]() if who == "torch" else candidates[who]
    benchmark.group = name
    benchmark(function)
    kind, amount = next(iter(work.items()))
    rate = amount / (benchmark.stats.stats.min * 1e9)
    benchmark.extra_info["GFLOP/s" if kind == "flops" else "GB/s"] = round(rate, 1)
    benchmark.extra_info["% of ceiling"] = round(100 * rate / ceiling[kind], 1)
