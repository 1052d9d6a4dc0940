"""A short benchmark: fastnn's kernels and training steps against NumPy and the peers that are installed.

In each case all candidates take turns, so that whatever else the machine does hits them alike; shown
is the minimum of each (interference only ever adds time), the ratio peer / fastnn, and fastnn's share of the ceiling
measured in the same run: multiply-adds from registers for products, copying in L2 for the rest. All work is float32.

    python -m fastnn bench --threads 1
"""

import importlib.util
import itertools
import os
import random
import statistics
import time
import warnings
from typing import NamedTuple

import numpy as np

import fastnn
from fastnn import _core

#: A candidate is repeated within one measurement until it takes about this long.
BLOCK_SECONDS = 2e-3


class Case(NamedTuple):
    """One comparison. `candidates` maps names to functions that make the function to time (None: cannot run)."""

    name: str
    candidates: dict
    work: float  # operations or bytes of one call
    ceiling: str | None  # "flops", "bytes" or None


# ---- measuring ----


def take_turns(functions, *, rounds=1, seconds=0.0, block=BLOCK_SECONDS):
    """Seconds of a call of each function in each round: {name: [of the first round, of the second, ...]}.

    Each has its turn in every round: calls for about `block` seconds, behind one that is not counted. There are at
    least `rounds` rounds, and as many as begin within `seconds`. The order changes from round to round, for what ran
    before decides what is in the caches: in a fixed one kernels have looked up to twice as slow as they were.
    """
    repeats, times = {}, {name: [] for name in functions}
    for name, function in functions.items():
        function()
        start = time.perf_counter()
        function()
        once = time.perf_counter() - start
        repeats[name] = max(1, min(10_000, round(block / max(once, 1e-7))))
    order, shuffle = list(functions), random.Random(0).shuffle
    end = time.perf_counter() + seconds
    while rounds > 0 or time.perf_counter() < end:
        rounds -= 1
        shuffle(order)
        for name in order:
            function, count = functions[name], repeats[name]
            function()
            start = time.perf_counter()
            for _ in range(count):
                function()
            times[name].append((time.perf_counter() - start) / count)
    return times


def ceilings(threads, rounds=15):
    """What this machine can do, float32: {"flops": a second, "bytes": copied within L2 (read + written) a second}."""
    width = _core.cpu()["vector_width"]["float32"]
    l2 = _core.cpu()["caches"][2] or 1 << 20
    chains = 24 if _core.isa() == "avx512" else 12
    fma_rounds, repeats = 20_000, 16
    sink = _core.empty((threads * width,), np.float32)
    elements = l2 // 16 // (8 * width) * (8 * width)  # source and target fill half of L2
    source, target = (_core.empty((threads * elements,), np.float32) for _ in range(2))
    # cost says that each task is worth a thread of its own
    found = take_turns(
        {
            "flops": lambda: _core.run("measure_fma", False, (sink,), (threads, fma_rounds), cost=1e6 * threads),
            "bytes": lambda: _core.run(
                "measure_copy", False, (target, source), (threads, elements, repeats), cost=1e6 * threads
            ),
        },
        rounds=rounds,
    )
    return {
        "flops": threads * 2 * width * chains * fma_rounds / min(found["flops"]),
        "bytes": threads * 2 * 4 * elements * repeats / min(found["bytes"]),
    }


# ---- cases ----


def _random(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _torch(threads):
    import torch

    torch.set_num_threads(threads)
    return torch


def matmul(m, n, k, threads):
    """The Case of a product (m, k) x (k, n), written to an array that is there already.

    Against np.matmul and torch.mm; `threads` is what PyTorch is told (fastnn's are set by `main`). Its work is
    2 m n k operations.
    """
    a, b = _random(m, k), _random(k, n)

    def ours():
        from fastnn.kernels.products import matmul as product

        out = np.empty((m, n), np.float32)
        return lambda: product(a, b, out)

    def numpy():
        out = np.empty((m, n), np.float32)
        return lambda: np.matmul(a, b, out=out)

    def torch():
        t = _torch(threads)
        ta, tb, out = t.from_numpy(a), t.from_numpy(b), t.empty(m, n)
        return lambda: t.mm(ta, tb, out=out)

    candidates = {"fastnn": ours, "numpy": numpy, "torch": torch}
    return Case(f"matmul {m}x{n}x{k}", candidates, 2.0 * m * n * k, "flops")


def softmax_crossentropy(rows, classes, threads):
    """Mean loss of logits against class ids, and its gradient."""
    logits = _random(rows, classes)
    ids = np.random.default_rng(1).integers(0, classes, rows).astype(np.int32)

    def ours():
        loss, gradient = np.empty(rows, np.float32), np.empty_like(logits)
        operands, ints = (loss, gradient, logits, ids, None), (1, classes, 1)
        return lambda: _core.run("sparse_softmax_crossentropy", False, operands, ints, (0.0, 1.0), rows=rows,
                                 cost=1.5 * classes)  # fmt: skip

    def numpy():
        at = np.arange(rows)

        def step():
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            loss = -np.log(p[at, ids]).mean()
            p[at, ids] -= 1
            p *= 1 / rows
            return loss, p

        return step

    def torch():
        t = _torch(threads)
        x, y = t.from_numpy(logits).requires_grad_(), t.from_numpy(ids.astype(np.int64))

        def step():
            x.grad = None
            t.nn.functional.cross_entropy(x, y).backward()

        return step

    candidates = {"fastnn": ours, "numpy": numpy, "torch": torch}
    return Case(f"softmax + cross-entropy {rows}x{classes}, with gradient", candidates, 8.0 * rows * classes, "bytes")


def gelu(elements, threads):
    """The Case of GELU by the formula with tanh, of an array (elements,).

    Against the formula in NumPy and torch's gelu; `threads` is what PyTorch is told. Its work is bytes, read and
    written once.
    """
    x = _random(elements)

    def ours():
        y = np.empty_like(x)
        return lambda: _core.run("gelu_tanh", False, (y, x), (1, elements), cost=0.3 * elements)

    def numpy():
        return lambda: 0.5 * x * (1 + np.tanh(np.float32(0.7978845608) * (x + np.float32(0.044715) * x * x * x)))

    def torch():
        t = _torch(threads)
        tx = t.from_numpy(x)
        return lambda: t.nn.functional.gelu(tx, approximate="tanh")

    candidates = {"fastnn": ours, "numpy": numpy, "torch": torch}
    return Case(f"gelu (tanh) {elements}", candidates, 8.0 * elements, "bytes")


def dropout(elements, threads):
    """The Case of dropout at rate 0.5 in training, of an array (elements,), random numbers included.

    Against a mask in NumPy and torch's dropout; `threads` is what PyTorch is told. Its work is bytes, read and written
    once.
    """
    x = _random(elements)

    def ours():
        y = np.empty_like(x)
        return lambda: _core.run("dropout", False, (y, x), (1, elements, 0, 0), (0.5,), cost=0.3 * elements, seed=1)

    def numpy():
        rng = np.random.default_rng(0)
        return lambda: x * ((rng.random(elements, dtype=np.float32) >= 0.5) * np.float32(2))

    def torch():
        t = _torch(threads)
        tx = t.from_numpy(x)
        return lambda: t.nn.functional.dropout(tx, 0.5, training=True)

    candidates = {"fastnn": ours, "numpy": numpy, "torch": torch}
    return Case(f"dropout {elements}", candidates, 8.0 * elements, "bytes")


def adam(elements, threads):
    """The Case of one Adam update of a parameter (elements,) with its two moments.

    Against the formula in NumPy, without the correction of the first steps, and PyTorch's fused Adam; `threads` is what
    PyTorch is told. Its work is bytes: parameter, gradient and moments read, all but the gradient written.
    """
    p0, g = _random(elements), _random(elements)

    def ours():
        p, m, v = p0.copy(), np.zeros_like(p0), np.zeros_like(p0)
        hyper = np.array([1e-3, 1.0, 1e-7])
        reals = (1.0, 0.0, 1.0, 0.0, 0.9, 0.999)
        return lambda: _core.run("adam", False, (p, g, m, v), (elements, 0, 0), reals, hyper=hyper, cost=0.5 * elements)

    def numpy():
        p, m, v = p0.copy(), np.zeros_like(p0), np.zeros_like(p0)

        def step():
            m[...] += 0.1 * (g - m)
            v[...] += 0.001 * (g * g - v)
            p[...] -= 1e-3 * m / (np.sqrt(v) + 1e-7)

        return step

    def torch():
        t = _torch(threads)
        p = t.nn.Parameter(t.from_numpy(p0.copy()))
        p.grad = t.from_numpy(g)
        return t.optim.Adam([p], fused=True).step

    # reads p, g, m, v; writes p, m, v
    return Case(f"adam {elements}", {"fastnn": ours, "numpy": numpy, "torch": torch}, 28.0 * elements, "bytes")


def training(name, sizes, batch, steps, threads):
    """An epoch of `steps` batches of a ReLU network with Adam."""
    x = _random(batch * steps, sizes[0])
    y = np.random.default_rng(1).integers(0, sizes[-1], batch * steps).astype(np.int32)
    flops = steps * batch * sum(2.0 * a * b * (2 if j == 0 else 3) for j, (a, b) in enumerate(_pairs(sizes)))

    def ours():
        from fastnn import layers, losses

        hidden = [layers.Dense(size, activation="relu") for size in sizes[1:-1]]
        model = fastnn.Sequential([fastnn.Input((sizes[0],)), *hidden, layers.Dense(sizes[-1])])
        model.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True))
        return lambda: model.fit(x, y, batch_size=batch, epochs=1, shuffle=False, verbose=0)

    def numpy():
        step = _numpy_network(sizes)

        def epoch():
            for first in range(0, len(x), batch):
                step(x[first : first + batch], y[first : first + batch])

        return epoch

    def torch():
        t = _torch(threads)
        modules = [part for a, b in _pairs(sizes) for part in (t.nn.Linear(a, b), t.nn.ReLU())][:-1]
        net = t.nn.Sequential(*modules)
        optimizer = t.optim.Adam(net.parameters(), fused=True)
        tx, ty = t.from_numpy(x), t.from_numpy(y.astype(np.int64))

        def epoch():
            for first in range(0, len(x), batch):
                optimizer.zero_grad()
                t.nn.functional.cross_entropy(net(tx[first : first + batch]), ty[first : first + batch]).backward()
                optimizer.step()

        return epoch

    def sklearn():
        from sklearn.neural_network import MLPClassifier

        net = MLPClassifier(sizes[1:-1], alpha=0.0, batch_size=batch, shuffle=False)
        classes = np.arange(sizes[-1])
        return lambda: net.partial_fit(x, y, classes=classes)  # one pass over x in batches

    candidates = {"fastnn": ours, "numpy": numpy, "torch": torch, "sklearn": sklearn}
    return Case(f"training epoch of {steps} steps, {name}, batch {batch}", candidates, flops, "flops")


def _pairs(sizes):
    return list(itertools.pairwise(sizes))


def _numpy_network(sizes):
    """step(x, y): a training step as one would write it by hand, with every array reused where NumPy allows."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(pair, dtype=np.float32) * np.float32(np.sqrt(2 / pair[0])) for pair in _pairs(sizes)]
    parameters = [*weights, *(np.zeros(size, np.float32) for size in sizes[1:])]
    first, second = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    depth, count = len(weights), 0

    def step(x, y):
        nonlocal count
        count += 1
        activations = [x]
        for j in range(depth):
            z = activations[-1] @ parameters[j]
            z += parameters[depth + j]
            activations.append(np.maximum(z, 0, out=z) if j < depth - 1 else z)
        delta = activations[-1]
        delta -= delta.max(axis=1, keepdims=True)
        np.exp(delta, out=delta)
        delta /= delta.sum(axis=1, keepdims=True)
        delta[np.arange(len(y)), y] -= 1
        delta *= np.float32(1 / len(y))
        gradients = [None] * (2 * depth)
        for j in reversed(range(depth)):
            gradients[j], gradients[depth + j] = activations[j].T @ delta, delta.sum(axis=0)
            if j:
                delta = (delta @ parameters[j].T) * (activations[j] > 0)
        rate = np.float32(1e-3 * np.sqrt(1 - 0.999**count) / (1 - 0.9**count))
        for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
            m += np.float32(0.1) * (g - m)
            v += np.float32(0.001) * (g * g - v)
            p -= rate * m / (np.sqrt(v) + np.float32(1e-7))

    return step


def cases(threads):
    """The default list: products of a first layer, of a hidden layer and a large one; elementwise work; training."""
    return [
        matmul(128, 256, 784, threads),
        matmul(128, 10, 128, threads),
        matmul(1024, 1024, 1024, threads),
        softmax_crossentropy(128, 10, threads),
        softmax_crossentropy(128, 1000, threads),
        gelu(65_536, threads),
        dropout(65_536, threads),
        adam(100_000, threads),
        adam(1_000_000, threads),
        training("network 4-16-3", (4, 16, 3), 32, 64, threads),
        training("network 64-128-64-10", (64, 128, 64, 10), 32, 32, threads),
        training("network 784-256-128-10", (784, 256, 128, 10), 128, 16, threads),
    ]


# ---- the table ----


def run(case, peers, rounds):
    """{name: (minimum, median)} of the candidates that can run."""
    functions = {}
    for name, make in case.candidates.items():
        if name == "fastnn" or (name in peers and importlib.util.find_spec(name)):
            functions[name] = make()
    times = take_turns(functions, rounds=rounds)
    return {name: (min(found), statistics.median(found)) for name, found in times.items()}


def main(threads=1, peers=("numpy", "torch", "sklearn"), only=None, rounds=15):
    """Prints the table."""
    unknown = set(peers) - {"numpy", "torch", "sklearn"}
    if unknown:
        raise ValueError(f"unknown peers {', '.join(sorted(unknown))}; known are numpy, torch, sklearn")
    chosen = [case for case in cases(threads) if only is None or only in case.name]
    if not chosen:
        raise ValueError(f"no case has {only!r} in its name")
    before = fastnn.get_num_threads()
    fastnn.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, about convergence
            _table(chosen, peers, rounds, threads)
    finally:
        fastnn.set_num_threads(before)


def _table(chosen, peers, rounds, threads):
    limits = ceilings(threads)
    cpu = _core.cpu()
    print(f"{cpu['name']}, {_core.isa()}, {threads} thread{'s' * (threads > 1)}, load {os.getloadavg()[0]:.1f}")
    print(f"ceilings: {limits['flops'] / 1e9:.0f} GFLOP/s, copy in L2 {limits['bytes'] / 1e9:.0f} GB/s")
    if threads < cpu["processors"]:
        print("NumPy's products use as many threads as OPENBLAS_NUM_THREADS or MKL_NUM_THREADS said at the start")
    print(f"{'':54} {'fastnn':>10} {'ceiling':>8}   time of others (times fastnn's)")
    for case in chosen:
        found = run(case, peers, rounds)
        best = found.pop("fastnn")[0]
        share = f"{100 * case.work / best / limits[case.ceiling]:.0f} %" if case.ceiling else ""
        others = "   ".join(f"{name} {_time(seconds)} ({seconds / best:.2f}x)" for name, (seconds, _) in found.items())
        print(f"{case.name:54} {_time(best):>10} {share:>8}   {others}", flush=True)


def _time(seconds):
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
