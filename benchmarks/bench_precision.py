"""What lower matmul precisions gain: products and convolutions beside float32 and PyTorch's bfloat16.

    python benchmarks/bench_precision.py [--threads N] [--rounds N] [--only products|convolutions]

All variants take turns in each round; medians, with the spread (most over least) of the rounds. PyTorch's bfloat16
products get operands that are bfloat16 already. "float32 / this" is the time of fastnn's float32 over that of the line
in the same rounds. Whole training steps: bench_step.py, peers such as fastnn:fit-medium and torch:autocast+tcm.
"""

import argparse
import os
import statistics
from functools import partial

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--only", choices=("products", "convolutions"))
ARGS = parser.parse_args()
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS"):
    os.environ[variable] = str(ARGS.threads)

import numpy as np  # noqa: E402

from fastnn import precision  # noqa: E402
from fastnn.benchmark import take_turns  # noqa: E402
from fastnn.kernels import convolution as cv  # noqa: E402
from fastnn.kernels.products import matmul  # noqa: E402

try:
    import torch

    torch.set_num_threads(ARGS.threads)
except ImportError:
    torch = None

SHAPES = [(256, 256, 256), (1024, 1024, 1024), (128, 784, 256), (1024, 784, 256), (32, 784, 256), (256, 2048, 2048),
          (8192, 576, 64), (32768, 288, 32), (64, 64, 64)]  # fmt: skip
#: images, size, channels, filters, kernel, stride
CONVOLUTIONS = [(32, 32, 32, 32, 3, 1), (32, 16, 64, 64, 3, 1), (32, 8, 64, 64, 3, 1), (16, 28, 128, 128, 3, 1),
                (64, 16, 32, 64, 3, 2), (32, 56, 64, 64, 3, 2), (64, 16, 64, 64, 1, 1), (64, 14, 256, 64, 1, 1),
                (32, 32, 32, 64, 5, 1)]  # fmt: skip
#: Levels that run something of their own here.
LEVELS = ["highest"] + [level for level in precision.PARTS if precision.choose(level)[0]]


def race(calls):
    """{name: (median seconds, spread)} of calls that take turns."""
    times = take_turns(calls, rounds=ARGS.rounds, block=0.1)
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


def convolutions():
    rng = np.random.default_rng(0)
    for n, size, channels, filters, kernel, stride in CONVOLUTIONS:
        x = rng.standard_normal((n, size, size, channels), np.float32)
        w = rng.standard_normal((kernel, kernel, channels, filters), np.float32)
        how = {"strides": stride, "padding": "same"}
        y = cv.conv2d(x, w, **how)
        dy, dx = rng.standard_normal(y.shape, np.float32), np.empty_like(x)
        dw, db = np.empty_like(w), np.empty(filters, np.float32)
        label = f"{kernel}x{kernel}/{stride} {channels}>{filters}, {n}x{size}x{size}"
        for kind, call in (
            ("", partial(cv.conv2d, x, w, out=y, **how)),
            (" by x", partial(cv.conv2d_grad_input, dy, w, x.shape, out=dx, **how)),
            (" by w", partial(cv.conv2d_grad_kernel, x, dy, kernel, out=dw, bias_out=db, **how)),
        ):
            calls = {level: partial(call, precision=level) for level in LEVELS}
            show(label + kind, race(calls), 2 * y.size * kernel * kernel * channels)


for level in precision.PARTS:
    print(f"{level}: {precision.describe(level)}")
if ARGS.only != "convolutions":
    products()
if ARGS.only != "products":
    convolutions()
