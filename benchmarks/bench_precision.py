"""What lower matmul precisions gain: products and training steps beside float32 and PyTorch's bfloat16.

    python benchmarks/bench_precision.py [--threads N] [--rounds N] [--only products|steps]

All variants take turns in each round; medians, with the spread (most over least) of the rounds. PyTorch's bfloat16
products get operands that are bfloat16 already, its training step runs under autocast; both in its fastest eager form.
"float32 / level" is the time of fastnn's float32 over that of the level in the same rounds.
"""

import argparse
import os
import statistics
import time
from functools import partial
from itertools import pairwise

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--only", choices=("products", "steps"))
ARGS = parser.parse_args()
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS"):
    os.environ[variable] = str(ARGS.threads)

import numpy as np  # noqa: E402

import fastnn  # noqa: E402
from fastnn import layers, precision  # noqa: E402
from fastnn.kernels.matmul import matmul  # noqa: E402

try:
    import torch

    torch.set_num_threads(ARGS.threads)
except ImportError:
    torch = None

SHAPES = [(256, 256, 256), (1024, 1024, 1024), (128, 784, 256), (1024, 784, 256), (32, 784, 256), (256, 2048, 2048),
          (8192, 576, 64), (32768, 288, 32), (64, 64, 64)]  # fmt: skip
#: (layer widths, batch, optimizer)
STEPS = [((784, 256, 128, 10), 128, "adam"), ((784, 256, 128, 10), 1024, "adam"),
         ((1024, 2048, 2048, 1000), 256, "momentum")]  # fmt: skip
#: Levels that run something of their own here.
LEVELS = ["highest"] + [level for level in precision.PARTS if precision.choose(level)[0]]


def race(calls, seconds=0.1):
    """{name: (median seconds, spread)} of calls that take turns."""
    times, counts = {name: [] for name in calls}, {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        counts[name] = max(1, int(seconds / max(time.perf_counter() - start, 1e-7)))
    for _ in range(ARGS.rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                call()
            times[name].append((time.perf_counter() - start) / counts[name])
    return {name: (statistics.median(t), max(t) / min(t) - 1) for name, t in times.items()}


def show(label, found, flops):
    base = found["highest"][0]
    for name, (seconds, spread) in found.items():
        print(
            f"{label:28} {name:16} {1e6 * seconds:10.1f} us {flops / seconds / 1e9:7.1f} GFLOP/s  "
            f"float32 / this {base / seconds:5.2f}  spread {100 * spread:3.0f}%",
            flush=True,
        )


def products():
    rng = np.random.default_rng(0)
    for m, k, n in SHAPES:
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        out = np.empty((m, n), np.float32)
        calls = {level: partial(matmul, a, b, out, precision=level) for level in LEVELS}
        if torch is not None:
            x, y, z = torch.from_numpy(a), torch.from_numpy(b), torch.empty(m, n)
            calls["torch float32"] = partial(torch.mm, x, y, out=z)
            calls["torch bfloat16"] = partial(torch.mm, x.bfloat16(), y.bfloat16(), out=z.bfloat16())
        show(f"{m}x{k} by {k}x{n}", race(calls), 2 * m * n * k)


def fastnn_step(widths, optimizer, level, x, y, dtype="float32"):
    fastnn.utils.set_random_seed(1)
    hidden = [layers.Dense(n, activation="relu", dtype=dtype) for n in widths[1:-1]]
    model = fastnn.Sequential([fastnn.Input((widths[0],)), *hidden, layers.Dense(widths[-1], dtype=dtype)])
    chosen = fastnn.optimizers.SGD(0.01, momentum=0.9) if optimizer == "momentum" else "adam"
    loss = fastnn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(chosen, loss, matmul_precision=level)
    return lambda: model.train_on_batch(x, y)


def torch_step(widths, optimizer, lower, x, y):
    from torch import nn

    parts = []
    for a, b in pairwise(widths):
        parts += [nn.Linear(a, b), nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    if optimizer == "momentum":
        chosen = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=True)
    else:
        chosen = torch.optim.Adam(model.parameters(), fused=True)
    x, y, loss = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)), nn.CrossEntropyLoss()

    def step():
        chosen.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            value = loss(model(x), y)
        value.backward()
        chosen.step()

    return step


def steps():
    rng = np.random.default_rng(0)
    for widths, batch, optimizer in STEPS:
        x = rng.standard_normal((batch, widths[0]), np.float32)
        y = rng.integers(0, widths[-1], batch).astype(np.int32)
        calls = {level: fastnn_step(widths, optimizer, level, x, y) for level in LEVELS}
        calls["mixed_bfloat16"] = fastnn_step(widths, optimizer, "highest", x, y, "mixed_bfloat16")
        if torch is not None:
            calls["torch float32"] = torch_step(widths, optimizer, False, x, y)
            calls["torch bfloat16"] = torch_step(widths, optimizer, True, x, y)
        terms = sum(a * b for a, b in pairwise(widths))
        show(
            "-".join(map(str, widths)) + f", {batch}", race(calls, 0.3), 2 * batch * (3 * terms - widths[0] * widths[1])
        )


for level in precision.PARTS:
    print(f"{level}: {precision.describe(level)}")
if ARGS.only != "steps":
    products()
if ARGS.only != "products":
    steps()
