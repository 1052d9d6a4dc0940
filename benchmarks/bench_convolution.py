"""Convolutions, pooling and batch norm against PyTorch: each pass of each layer, on the machine's measured ceiling.

    python benchmarks/bench_convolution.py [--threads N] [--only TEXT] [--batch 32] [--passes fwd,gradin,gradw]

fastnn and torch (channels last, and NCHW) take turns, in another order each round; the best round of each counts.
"ratio" is torch's better layout over ours: above 1 we are faster. Without torch only our figures are shown.
`--algorithms` times each of our algorithms instead. GFLOP/s are those of the plain sums; Winograd's algorithm makes
fewer multiplications, and may pass the peak.
"""

import argparse
import os

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--only", default="", help="layers whose label contains this text")
parser.add_argument("--passes", default="fwd,gradin,gradw")
parser.add_argument("--seconds", type=float, default=0.25, help="for each line")
parser.add_argument("--algorithms", action="store_true", help="compare our own algorithms")
parser.add_argument("--no-torch", action="store_true")
ARGS = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTNN_NUM_THREADS"):
    os.environ[variable] = str(ARGS.threads)

import numpy as np  # noqa: E402

from fastnn import _core  # noqa: E402
from fastnn.benchmark import ceilings, take_turns  # noqa: E402
from fastnn.kernels import convolution as cv  # noqa: E402

torch = None
if not ARGS.no_torch and not ARGS.algorithms:
    try:
        import torch

        torch.set_num_threads(ARGS.threads)
    except ImportError:
        print("torch is not installed: only fastnn is timed")

# label, image, channels, filters, kernel, stride, padding
LAYERS = [
    ("lenet c1", 28, 1, 6, 5, 1, 2),
    ("lenet c3", 14, 6, 16, 5, 1, 0),
    ("lenet c5", 5, 16, 120, 5, 1, 0),
    ("vgg 3>32 32", 32, 3, 32, 3, 1, 1),
    ("vgg 32>32 32", 32, 32, 32, 3, 1, 1),
    ("vgg 32>64 16", 16, 32, 64, 3, 1, 1),
    ("vgg 64>64 16", 16, 64, 64, 3, 1, 1),
    ("vgg 64>64 32", 32, 64, 64, 3, 1, 1),
    ("resnet 3>16 32", 32, 3, 16, 3, 1, 1),
    ("resnet 16>16 32", 32, 16, 16, 3, 1, 1),
    ("resnet 32>32 16", 16, 32, 32, 3, 1, 1),
    ("resnet 64>64 8", 8, 64, 64, 3, 1, 1),
    ("resnet 16>32 32 s2", 32, 16, 32, 3, 2, 1),
    ("resnet 32>64 16 s2", 16, 32, 64, 3, 2, 1),
    ("resnet 16>32 1x1s2", 32, 16, 32, 1, 2, 0),
    ("resnet 32>64 1x1s2", 16, 32, 64, 1, 2, 0),
    ("1x1 64>64 16", 16, 64, 64, 1, 1, 0),
]


def best_of(functions):
    """The least seconds of a call of each function."""
    return {name: min(times) for name, times in take_turns(functions, rounds=3, seconds=ARGS.seconds).items()}


def torch_calls(x, w, bias, dy, stride, padding, kind, layout):
    form = torch.channels_last if layout == "nhwc" else torch.contiguous_format
    t = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=form)
    k = torch.from_numpy(w).permute(3, 2, 0, 1).contiguous(memory_format=form)
    g = torch.from_numpy(dy).permute(0, 3, 1, 2).contiguous(memory_format=form)
    b = torch.from_numpy(bias)
    if kind == "fwd":
        return lambda: torch.conv2d(t, k, b, stride, padding)
    mask = [kind == "gradin", kind == "gradw", kind == "gradw"]
    return lambda: torch.ops.aten.convolution_backward(
        g, t, k, [len(bias)], [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, mask
    )


def convolutions(peak):
    print(f"{'layer':22}{'pass':8}{'GFLOP/s':>9}{'% peak':>8}{'torch nhwc':>12}{'nchw':>8}{'ratio':>8}   us")
    rng = np.random.default_rng(0)
    for label, size, channels, filters, kernel, stride, padding in LAYERS:
        if ARGS.only not in label:
            continue
        x = rng.standard_normal((ARGS.batch, size, size, channels), dtype=np.float32)
        w = rng.standard_normal((kernel, kernel, channels, filters), dtype=np.float32)
        bias = rng.standard_normal(filters, dtype=np.float32)
        pads = (padding,) * 4
        y = cv.conv2d(x, w, bias, stride, pads)
        dy = rng.standard_normal(y.shape, dtype=np.float32)
        dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty_like(bias)
        flops = 2.0 * y.size * kernel * kernel * channels
        for kind in ARGS.passes.split(","):

            def ours(kind, algorithm=None, x=x, w=w, bias=bias, dy=dy, y=y, dx=dx, dw=dw, db=db, s=stride, p=pads):
                if kind == "fwd":
                    return lambda: cv.conv2d(x, w, bias, s, p, algorithm=algorithm, out=y)
                if kind == "gradin":
                    return lambda: cv.conv2d_grad_input(dy, w, x.shape, s, p, algorithm=algorithm, out=dx)
                return lambda: cv.conv2d_grad_kernel(x, dy, w.shape[:2], s, p, algorithm=algorithm, out=dw, bias_out=db)

            if ARGS.algorithms:
                calls = {}
                for name in (None, "im2col", "pointwise", "direct", "direct_small", "winograd"):
                    try:
                        ours(kind, name)()
                    except ValueError:
                        continue
                    calls[str(name)] = ours(kind, name)
                best = best_of(calls)
                print(f"{label:22}{kind:8}" + "".join(f"{n:>14}{flops / t / 1e9:7.1f}" for n, t in best.items()))
                continue
            calls = {"fastnn": ours(kind)}
            if torch:
                for layout in ("nhwc", "nchw"):
                    calls[layout] = torch_calls(x, w, bias, dy, stride, padding, kind, layout)
            best = best_of(calls)
            rate = {n: flops / t / 1e9 for n, t in best.items()}
            line = f"{label:22}{kind:8}{rate['fastnn']:9.1f}{rate['fastnn'] * 1e9 / peak * 100:8.0f}"
            if torch:
                ratio = min(best["nhwc"], best["nchw"]) / best["fastnn"]
                line += f"{rate['nhwc']:12.1f}{rate['nchw']:8.1f}{ratio:8.2f}"
            print(line + f"{best['fastnn'] * 1e6:10.0f}", flush=True)


def others(copy):
    """Pooling and batch norm: GB/s of what must be read and written, against torch."""
    print(f"\n{'operation':34}{'GB/s':>8}{'% L2 copy':>10}{'torch nhwc':>12}{'nchw':>8}{'ratio':>8}   us")
    rng = np.random.default_rng(0)
    for shape in ((ARGS.batch, 28, 28, 6), (ARGS.batch, 32, 32, 32)):
        n, h, w, c = shape
        x = rng.standard_normal(shape, dtype=np.float32)
        y, dx, index = np.empty((n, h // 2, w // 2, c), np.float32), np.empty_like(x), np.empty(x.size // 4, np.int8)
        dy = rng.standard_normal(y.shape, dtype=np.float32)
        geometry = (n, h, w, c, h // 2, w // 2, 2, 2, 2, 2, 0, 0)
        mean, var, parts = np.empty(c, np.float32), np.empty(c, np.float32), np.empty((16, 2, c), np.float32)
        gamma, beta, z = np.ones(c, np.float32), np.zeros(c, np.float32), np.empty_like(x)
        dg, db = np.empty_like(gamma), np.empty_like(gamma)
        rows, cost = n * h * w, x.size * 0.2

        def run(kernel, operands, ints, reals=(), cost=cost):
            _core.run(kernel, False, operands, ints, reals, cost=cost)

        def batch_norm(rows=rows, c=c, x=x, z=z, mean=mean, var=var, parts=parts, gamma=gamma, beta=beta):
            run("batch_norm_parts", (parts, x), (rows, c, 16))
            run("batch_norm_combine", (mean, var, parts), (rows, c, 16))
            run("batch_norm_apply", (z, x, mean, var, gamma, beta), (rows, c, 0), (0.0, 1e-3))

        def batch_norm_grad(
            rows=rows, c=c, x=x, z=z, dx=dx, mean=mean, var=var, parts=parts, gamma=gamma, dg=dg, db=db
        ):
            run("batch_norm_grad_parts", (parts, z, x, mean, var, None), (rows, c, 16, 0), (0.0, 1e-3))
            run("conv2d_sum", (dg, db, parts), (rows, c, c, 16))
            run("batch_norm_grad", (dx, z, x, mean, var, gamma, dg, db, None), (rows, c, 0, 0), (0.0, 1e-3))

        cases = {
            "max_pool 2": (x.nbytes * 1.25, lambda g=geometry, x=x, y=y, i=index: run(
                "max_pool", (y, x, i), (*g, 0, 0))),
            "max_pool 2 grad": (x.nbytes * 1.25, lambda g=geometry, dx=dx, dy=dy, i=index: run(
                "max_pool_grad", (dx, dy, i, None), (*g, 0, 0))),
            "average_pool 2": (x.nbytes * 1.25, lambda g=geometry, x=x, y=y: run("average_pool", (y, x), g)),
            "average_pool 2 grad": (x.nbytes * 1.25, lambda g=geometry, dx=dx, dy=dy: run(
                "average_pool_grad", (dx, dy), g)),
            "batch_norm": (x.nbytes * 3, batch_norm),
            "batch_norm grad": (x.nbytes * 5, batch_norm_grad),
        }  # fmt: skip
        for name, (count, call) in cases.items():
            if ARGS.only not in name:
                continue
            calls = {"fastnn": call}
            if torch:
                for layout in ("nhwc", "nchw"):
                    form = torch.channels_last if layout == "nhwc" else torch.contiguous_format
                    t = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=form)
                    g = torch.from_numpy(dy if "pool" in name else x).permute(0, 3, 1, 2).contiguous(memory_format=form)
                    calls[layout] = torch_other(name, t, g, c)
            best = best_of(calls)
            rate = {k: count / v / 1e9 for k, v in best.items()}
            line = f"{name + ' ' + str(shape):34}{rate['fastnn']:8.1f}{rate['fastnn'] * 1e9 / copy * 100:10.0f}"
            if torch:
                ratio = min(best["nhwc"], best["nchw"]) / best["fastnn"]
                line += f"{rate['nhwc']:12.1f}{rate['nchw']:8.1f}{ratio:8.2f}"
            print(line + f"{best['fastnn'] * 1e6:10.0f}", flush=True)


def torch_other(name, t, g, c):
    aten = torch.ops.aten
    if name.startswith("max_pool"):
        if not name.endswith("grad"):
            return lambda: aten.max_pool2d_with_indices(t, [2, 2], [2, 2])
        index = aten.max_pool2d_with_indices(t, [2, 2], [2, 2])[1]
        return lambda: aten.max_pool2d_with_indices_backward(g, t, [2, 2], [2, 2], [0, 0], [1, 1], False, index)
    if name.startswith("average"):
        if not name.endswith("grad"):
            return lambda: aten.avg_pool2d(t, [2, 2], [2, 2])
        return lambda: aten.avg_pool2d_backward(g, t, [2, 2], [2, 2], [0, 0], False, True, None)
    w, b, m, v = (torch.ones(c), torch.zeros(c), torch.zeros(c), torch.ones(c))
    if not name.endswith("grad"):
        return lambda: aten.native_batch_norm(t, w, b, m, v, True, 0.1, 1e-3)
    _, mean, rstd = aten.native_batch_norm(t, w, b, m, v, True, 0.1, 1e-3)
    return lambda: aten.native_batch_norm_backward(g, t, w, m, v, mean, rstd, True, 1e-3, [True, True, True])


def main():
    limits = ceilings(ARGS.threads)
    print(f"{_core.isa()}, {ARGS.threads} thread(s), batch {ARGS.batch}; multiply-adds {limits['flops'] / 1e9:.0f} "
          f"GFLOP/s, copy in L2 {limits['bytes'] / 1e9:.0f} GB/s")  # fmt: skip
    convolutions(limits["flops"])
    if not ARGS.algorithms:
        others(limits["bytes"])


if __name__ == "__main__":
    main()
