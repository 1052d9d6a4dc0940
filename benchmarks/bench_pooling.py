"""Pooling and batch normalization beside torch: us a call, and the share of a copy that moves as many bytes.

    python benchmarks/bench_pooling.py [--torch] [--threads N] [--rounds N] [name ...]

float32. Ours are the kernels as a plan runs them; torch's are called with results already allocated, on NHWC and on
NCHW tensors. All contestants, and the copy, take turns in one process, in another order each round, for what ran before
decides what the shared cache holds; medians count. A pool's gradient reads the
positions that the forward pass stored (theirs are int64). Bytes are those that must be moved at least: a batch's
statistics need a pass of their own, so training reads x twice.
"""

import argparse
import statistics

import numpy as np

from fastnn import _core, threads
from fastnn.benchmark import take_turns
from fastnn.graph import Spec
from fastnn.ops.core import REGISTRY

POOLS = [  # images, size, channels, window, stride
    (128, 28, 6, 2, 2), (128, 10, 16, 2, 2), (64, 32, 32, 2, 2), (64, 16, 64, 2, 2), (32, 28, 1, 2, 2),
    (32, 28, 3, 2, 2), (32, 33, 17, 2, 2), (16, 32, 128, 2, 2), (16, 56, 64, 3, 2), (32, 28, 6, 3, 2),
]  # fmt: skip
NORMS = [(64 * 32 * 32, 32), (64 * 16 * 16, 64), (32 * 8 * 8, 256), (128 * 28 * 28, 6), (64 * 32 * 32, 17),
         (32 * 28 * 28, 1), (32 * 28 * 28, 3), (1024, 512), (256, 1000)]  # fmt: skip


class Collector:
    """Takes the kernels of an operation as a list for a plan of their own."""

    def __init__(self):
        self.ops = []

    def run(self, kernel, operands, ints, reals=(), *, cost=0.0, batched=False, split=-1):
        self.ops.append((kernel, tuple(operands), tuple(ints), tuple(reals), batched, cost, split, 0))

    def temporary(self, shape, dtype):
        return _core.empty(shape, dtype)


def ours(op, *arrays):
    """A function that runs the operation, and its results."""
    specs = op.infer(*(Spec(a.shape, str(a.dtype)) for a in arrays))
    outs = [_core.empty(s.shape, s.dtype) for s in ([specs] if isinstance(specs, Spec) else specs)]
    builder = Collector()
    op.lower(builder, outs, list(arrays))
    plan = _core.Plan(False, builder.ops, [outs, arrays, builder.ops])
    return lambda: plan.run(0, 1, 1), outs


def copying(count):
    source, target = _core.empty((count // 8 // 64 * 64 + 64,), np.float32), None
    target = _core.empty(source.shape, np.float32)
    plan = _core.Plan(False, [("copy", (target, source), (source.size, 1), (), 0, 0.1 * source.size, -1, 0)],
                      [source, target])  # fmt: skip
    return lambda: plan.run(0, 1, 1)


def random(*shape):
    x = _core.empty(shape, np.float32)
    x[...] = np.random.default_rng(0).standard_normal(shape, np.float32)
    return x


def pools(torch):
    aten = torch and torch.ops.aten
    for n, size, c, k, s in POOLS:
        out = (size - k) // s + 1
        geometry = (size, size, c, out, out, k, k, s, s, 0, 0)
        x, dy = random(n, size, size, c), random(n, out, out, c)
        label = f"{n}x{size}x{size}x{c} {k}x{k}/{s}"
        forward, (y, index) = ours(REGISTRY["MaxPool"](geometry), x)
        backward, _ = ours(REGISTRY["MaxPoolGrad"](geometry), dy, index)
        forward()
        average, _ = ours(REGISTRY["AveragePool"](geometry), x)
        average_grad, _ = ours(REGISTRY["AveragePoolGrad"](geometry), dy)
        peers = {name: {} for name in ("max", "max grad", "avg", "avg grad")}
        if torch:
            for layout, form in (("nhwc", torch.channels_last), ("nchw", torch.contiguous_format)):
                tx = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=form)
                tdy = torch.from_numpy(dy).permute(0, 3, 1, 2).contiguous(memory_format=form)
                window = ([k, k], [s, s], [0, 0])
                ty, ti = aten.max_pool2d_with_indices(tx, *window)
                tg = torch.empty_like(tx)
                peers["max"][layout] = lambda tx=tx, ty=ty, ti=ti, w=window: aten.max_pool2d_with_indices.out(
                    tx, *w, out=ty, indices=ti)  # fmt: skip
                peers["max grad"][layout] = (
                    lambda tx=tx, d=tdy, ti=ti, tg=tg, w=window: aten.max_pool2d_with_indices_backward.grad_input(
                        d, tx, *w, [1, 1], False, ti, grad_input=tg))  # fmt: skip
                ta = torch.empty_like(ty)
                peers["avg"][layout] = lambda tx=tx, ta=ta, w=window: aten.avg_pool2d.out(tx, *w, out=ta)
                peers["avg grad"][layout] = lambda tx=tx, d=tdy, tg=tg, w=window: (
                    aten.avg_pool2d_backward.grad_input(d, tx, *w, False, True, None, grad_input=tg))  # fmt: skip
        yield f"max {label}", forward, x.nbytes + y.nbytes + index.nbytes, peers["max"]
        yield f"max grad {label}", backward, x.nbytes + y.nbytes + index.nbytes, peers["max grad"]
        yield f"avg {label}", average, x.nbytes + y.nbytes, peers["avg"]
        yield f"avg grad {label}", average_grad, x.nbytes + y.nbytes, peers["avg grad"]


def norms(torch):
    aten = torch and torch.ops.aten
    for rows, c in NORMS:
        x, dy, gamma, beta = random(rows, c), random(rows, c), random(c), random(c)
        forward, (_, mean, var) = ours(REGISTRY["BatchNorm"](1e-3), x, gamma, beta)
        forward()
        backward, _ = ours(REGISTRY["BatchNormGrad"](1e-3), dy, x, mean, var, gamma)
        given, _ = ours(REGISTRY["Normalize"](1e-3), x, mean, var, gamma, beta)
        peers = {name: {} for name in ("bn", "bn grad", "bn predict")}
        if torch:
            tm, tv, tg, tb = map(torch.from_numpy, (mean, var, gamma, beta))
            pixels = next(p for p in (64, 16, 1) if rows % p == 0)
            for layout in ("nhwc", "nchw"):

                def shaped(a, layout=layout, pixels=pixels):
                    t = torch.from_numpy(a).reshape(-1, 1, pixels, a.shape[1]).permute(0, 3, 1, 2)
                    form = torch.channels_last if layout == "nhwc" else torch.contiguous_format
                    return t.contiguous(memory_format=form)

                tx, td = shaped(x), shaped(dy)
                ty, sm, sr = aten.native_batch_norm(tx, tg, tb, tm.clone(), tv.clone(), True, 0.1, 1e-3)
                rm, rv = tm.clone(), tv.clone()
                dx, dg, db = torch.empty_like(tx), torch.empty_like(tg), torch.empty_like(tb)
                peers["bn"][layout] = lambda tx=tx, ty=ty, sm=sm, sr=sr, rm=rm, rv=rv, tg=tg, tb=tb: (
                    aten.native_batch_norm.out(tx, tg, tb, rm, rv, True, 0.1, 1e-3, out=ty, save_mean=sm,
                                               save_invstd=sr))  # fmt: skip
                peers["bn grad"][layout] = lambda tx=tx, td=td, sm=sm, sr=sr, rm=rm, rv=rv, tg=tg, o=(dx, dg, db): (
                    aten.native_batch_norm_backward.out(td, tx, tg, rm, rv, sm, sr, True, 1e-3, [True] * 3,
                                                        out0=o[0], out1=o[1], out2=o[2]))  # fmt: skip
                empty = torch.empty(0)
                peers["bn predict"][layout] = lambda tx=tx, ty=ty, rm=rm, rv=rv, tg=tg, tb=tb, e=empty: (
                    aten.native_batch_norm.out(tx, tg, tb, rm, rv, False, 0.1, 1e-3, out=ty, save_mean=e,
                                               save_invstd=e.clone()))  # fmt: skip
        yield f"bn {rows}x{c}", forward, 3 * x.nbytes, peers["bn"]
        yield f"bn grad {rows}x{c}", backward, 5 * x.nbytes, peers["bn grad"]
        yield f"bn predict {rows}x{c}", given, 2 * x.nbytes, peers["bn predict"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", action="store_true", help="compare with torch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("names", nargs="*", help="only cases whose names begin with one of these")
    arguments = parser.parse_args()
    torch = None
    if arguments.torch:
        import torch

        torch.set_num_threads(arguments.threads)
    threads.set_num_threads(arguments.threads)
    print(
        f"{_core.isa()}, {arguments.threads} threads; us a call, % of a copy of as many bytes, peers in times of ours"
    )
    for make in (pools, norms):
        for name, f, count, peers in make(torch):
            if arguments.names and not any(name.startswith(n) for n in arguments.names):
                continue
            times = take_turns({"fastnn": f, "copy": copying(count), **peers}, rounds=arguments.rounds, block=1e-3)
            found = {who: statistics.median(t) for who, t in times.items()}
            ours = found["fastnn"]
            ratios = "  ".join(f"{layout} {found[layout] / ours:5.2f}" for layout in peers)
            print(f"{name:32} {1e6 * ours:8.1f} us {100 * found['copy'] / ours:5.0f} %  {ratios}", flush=True)


if __name__ == "__main__":
    main()
