"""Parameter updates: ns a parameter and share of the same-traffic bandwidth ceiling, against torch fused and NumPy.

    taskset -c 1 python benchmarks/bench_optimizers.py [--sizes 10000,1000000] [--threads 1] [--only adam,sgd]

The ceiling is a plain C loop over the same arrays with the same reads and writes and hardly any arithmetic, compiled
here with `cc -O3 -march=native`. All contestants are interleaved in blocks of some 3 ms, so that each finds its own
arrays in the caches (as far as they fit) and not the others'; best of the rounds. "numpy out=" writes into arrays made
once, "numpy plain" is the formula as one writes it down; "in a step" is fastnn's update without the call from Python,
which training does not make. torch and the compiler are optional.
"""

import argparse
import ctypes
import os
import subprocess
import tempfile

import numpy as np

from fastnn import _core, optimizers
from fastnn.benchmark import take_turns

STREAMS = r"""
#include <stddef.h>
void streams(float *restrict p, const float *restrict g, float *restrict a, float *restrict b, float *restrict c,
             ptrdiff_t n, int slots)
{
    const float s = 1e-9f;
    if (slots == 0)
        for (ptrdiff_t j = 0; j < n; j++) p[j] += s * g[j];
    else if (slots == 1)
        for (ptrdiff_t j = 0; j < n; j++) { a[j] += s * g[j]; p[j] += s * a[j]; }
    else if (slots == 2)
        for (ptrdiff_t j = 0; j < n; j++) { a[j] += s * g[j]; b[j] += s * g[j]; p[j] += s * a[j]; }
    else
        for (ptrdiff_t j = 0; j < n; j++) { a[j] += s * g[j]; b[j] += s * g[j]; c[j] += s * g[j]; p[j] += s * a[j]; }
}
"""

IN_A_STEP = 100  # updates of one call of C

CASES = {
    "sgd": (optimizers.SGD(0.01), ("SGD", {"lr": 0.01})),
    "momentum": (optimizers.SGD(0.01, momentum=0.9), ("SGD", {"lr": 0.01, "momentum": 0.9})),
    "nesterov": (
        optimizers.SGD(0.01, momentum=0.9, nesterov=True),
        ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    ),
    "adam": (optimizers.Adam(), ("Adam", {"lr": 0.001})),
    "adamw": (optimizers.AdamW(weight_decay=0.01), ("AdamW", {"lr": 0.001, "weight_decay": 0.01})),
    "amsgrad": (optimizers.Adam(amsgrad=True), ("Adam", {"lr": 0.001, "amsgrad": True})),
    "rmsprop": (optimizers.RMSprop(), ("RMSprop", {"lr": 0.001})),
    "adagrad": (optimizers.Adagrad(), ("Adagrad", {"lr": 0.001})),
    "adadelta": (optimizers.Adadelta(), ("Adadelta", {})),
    "adamax": (optimizers.Adamax(), ("Adamax", {})),
    "nadam": (optimizers.Nadam(), ("NAdam", {})),
    "lion": (optimizers.Lion(), None),
}


def numpy_sgd(p, g, m, v, x, y):
    np.multiply(g, 0.01, out=x)
    np.subtract(p, x, out=p)


def numpy_momentum(p, g, m, v, x, y):
    np.multiply(m, 0.9, out=m)
    np.multiply(g, 0.01, out=x)
    np.subtract(m, x, out=m)
    np.add(p, m, out=p)


def numpy_over_root(p, a, v, x, y, rate):
    """p <- p - rate a / (sqrt(v) + 1e-7)."""
    np.sqrt(v, out=x)
    np.add(x, 1e-7, out=x)
    np.multiply(a, rate, out=y)
    np.divide(y, x, out=y)
    np.subtract(p, y, out=p)


def numpy_average(v, g, x, keep, square):
    """v <- keep v + (1 - keep) g, or g^2; x is lost."""
    np.multiply(g, 1 - keep, out=x)
    if square:
        np.multiply(x, g, out=x)
    np.multiply(v, keep, out=v)
    np.add(v, x, out=v)


def numpy_adam(p, g, m, v, x, y):
    numpy_average(m, g, x, 0.9, False)
    numpy_average(v, g, x, 0.999, True)
    numpy_over_root(p, m, v, x, y, 0.001)


def numpy_adamw(p, g, m, v, x, y):
    np.multiply(p, 1 - 1e-5, out=p)
    numpy_adam(p, g, m, v, x, y)


def numpy_rmsprop(p, g, m, v, x, y):
    numpy_average(v, g, x, 0.9, True)
    numpy_over_root(p, g, v, x, y, 0.001)


def numpy_adagrad(p, g, m, v, x, y):
    np.multiply(g, g, out=x)
    np.add(v, x, out=v)
    numpy_over_root(p, g, v, x, y, 0.001)


def plain_sgd(p, g, m, v, x, y):
    p -= 0.01 * g


def plain_momentum(p, g, m, v, x, y):
    m[...] = 0.9 * m - 0.01 * g
    p += m


def plain_adam(p, g, m, v, x, y):
    m += (1 - 0.9) * (g - m)
    v += (1 - 0.999) * (g * g - v)
    p -= 0.001 * m / (np.sqrt(v) + 1e-7)


def plain_adamw(p, g, m, v, x, y):
    p *= 1 - 1e-5
    plain_adam(p, g, m, v, x, y)


def plain_rmsprop(p, g, m, v, x, y):
    v += (1 - 0.9) * (g * g - v)
    p -= 0.001 * g / (np.sqrt(v) + 1e-7)


def plain_adagrad(p, g, m, v, x, y):
    v += g * g
    p -= 0.001 * g / (np.sqrt(v) + 1e-7)


#: The same as expressions, with the arrays that NumPy makes for their parts.
PLAIN = {
    "sgd": plain_sgd, "momentum": plain_momentum, "adam": plain_adam, "adamw": plain_adamw, "rmsprop": plain_rmsprop,
    "adagrad": plain_adagrad,
}  # fmt: skip
IN_NUMPY = {
    "sgd": numpy_sgd, "momentum": numpy_momentum, "adam": numpy_adam, "adamw": numpy_adamw, "rmsprop": numpy_rmsprop,
    "adagrad": numpy_adagrad,
}  # fmt: skip


def compile_streams():
    """The ceiling's loop as a ctypes function, or None without a compiler."""
    folder = tempfile.mkdtemp()
    source, library = os.path.join(folder, "streams.c"), os.path.join(folder, "streams.so")
    with open(source, "w") as f:
        f.write(STREAMS)
    command = ["cc", "-O3", "-march=native", "-mprefer-vector-width=512", "-shared", "-fPIC", source, "-o", library]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    function = ctypes.CDLL(library).streams
    function.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_ssize_t, ctypes.c_int]
    return function


def contestants(name, size, streams):
    """(label, function of no arguments) for one optimizer and size, each on arrays of its own."""
    optimizer, torch_form = CASES[name]
    rng = np.random.default_rng(0)

    def arrays(count):
        out = [_core.empty((size,), np.float32) for _ in range(count)]
        out[0][:] = rng.standard_normal(size)
        out[1][:] = rng.standard_normal(size)
        for x in out[2:]:
            x[:] = 0.1
        return out

    slots = optimizer.slot_names
    data = dict(zip(("param", "grad", *slots), arrays(2 + len(slots)), strict=True))
    (record,) = optimizer.program([optimizers.Range(0, size)])
    operands = tuple(data[o.role] for o in record.operands)
    hyper = optimizer.hyper(10, 1)[0]

    def fastnn():
        _core.run(record.kernel, False, operands, record.ints, record.reals, cost=record.cost, hyper=hyper)

    yield "fastnn", fastnn
    if size <= 100_000:
        # As training has it: a record of the compiled step, which C runs many times in one call.
        plan = _core.Plan(False, [(*record[:1], operands, *record[2:4], False, record.cost, -1, 0)], data)
        table = np.tile(hyper, (IN_A_STEP, 1))
        yield "in a step", lambda: plan.run(0, IN_A_STEP, 1, hyper=table)
    if streams:
        own = arrays(5)
        addresses = [x.ctypes.data for x in own]
        yield "ceiling", lambda own=own: streams(*addresses, size, len(slots))
    try:
        import torch
    except ImportError:
        torch = None
    if torch and torch_form:
        torch.set_num_threads(_core.get_threads())
        p, g = (torch.from_numpy(x) for x in arrays(2))
        p = torch.nn.Parameter(p)
        p.grad = g
        cls, kwargs = getattr(torch.optim, torch_form[0]), torch_form[1]
        try:
            theirs = cls([p], fused=True, **kwargs)
            label = "torch fused"
        except (TypeError, RuntimeError):
            theirs = cls([p], foreach=True, **kwargs)
            label = "torch foreach"
        yield label, theirs.step
    if name in IN_NUMPY:
        own = arrays(6)
        yield "numpy out=", lambda own=own: IN_NUMPY[name](*own)
        yield "numpy plain", lambda own=own: PLAIN[name](*own)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000,1000000,10000000")
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each optimizer and size")
    args = parser.parse_args()
    _core.set_threads(args.threads)
    streams = compile_streams() if args.threads == 1 else None
    print(f"{_core.cpu()['name']}, {_core.isa()}, {args.threads} thread(s), float32; us a step")
    for name in args.only.split(","):
        for size in (int(s) for s in args.sizes.split(",")):
            times = take_turns(dict(contestants(name, size, streams)), rounds=3, seconds=args.seconds, block=3e-3)
            best = {label: min(found) / (IN_A_STEP if label == "in a step" else 1) for label, found in times.items()}
            parts = [f"{label} {seconds * 1e6:10.2f}" for label, seconds in best.items()]
            if "ceiling" in best:
                parts.append(f"{100 * best['ceiling'] / best['fastnn']:4.0f} % of the ceiling")
            for other in best:
                if other not in ("fastnn", "in a step", "ceiling"):
                    parts.append(f"{best[other] / best['fastnn']:.2f} x {other}")
            print(f"{name:9} {size:9}  " + "  ".join(parts), flush=True)


if __name__ == "__main__":
    main()
