"""Elementwise, reduction, movement and random kernels: ns an element and share of this machine's copy bandwidth.

    python benchmarks/bench_elementwise.py [--size N] [--torch] [name ...]

One thread, float32, data of `size` elements (2^17: three arrays in a 2 MiB L2). The ceiling is a plain copy of the same
size (8 bytes an element); a function that reads two arrays has a ceiling of 12 / 8 of its time. Ours is the kernel as
a plan runs it; the peers are called from Python, writing to an array that is there where they can. "dropout" draws 24
bits an element with NumPy and by torch.rand, "dropout, 16 bits" (as ours) 16 with NumPy and by F.dropout. Rounds of all
contestants are interleaved; the least time counts.
"""

import argparse
from functools import partial

import numpy as np

from fastnn import _core, kernels
from fastnn.benchmark import take_turns
from fastnn.kernels.elementwise import GRAD_FROM, PARAMETERS


def least(functions):
    """The least nanoseconds of a call of each function, measured in turn."""
    return [1e9 * min(times) for times in take_turns(dict(enumerate(functions)), rounds=7, block=4e-3).values()]


def kernel_alone(function):
    """A function that runs the one kernel that `function` calls 64 times, without what Python costs around it; None
    if it calls several, or one that needs the rows of a batch."""
    calls, run = [], _core.run
    _core.run = lambda *args, **options: calls.append((args, options))
    try:
        function()
    finally:
        _core.run = run
    (kernel, double, operands, ints, *reals), options = calls[0]
    if len(calls) > 1 or "rows" in options:
        return None
    plan = _core.Plan(double, [(kernel, operands, ints, reals[0] if reals else (), 0, 0.0, -1, 0)], operands)
    seed = options.get("seed", 0)
    return lambda: plan.run(0, 64, 1, seed=seed, threads=1)


def aligned(n, fill=0.0):
    x = _core.empty((n,), np.float32)
    x[:] = fill
    return x


def cases(n, torch):
    """name: bytes an element, our call, NumPy's, torch's (or None)."""
    rng = np.random.default_rng(1)
    x, y, z, dy = (aligned(n) for _ in range(4))
    x[:] = rng.uniform(0.1, 4, n) * rng.choice([1, -1], n)
    z[:] = np.abs(x)
    dy[:] = rng.normal(size=n)
    tx, tz = (torch.from_numpy(x), torch.from_numpy(z)) if torch else (None, None)
    given = {"threshold": (0.3, -0.7), "power_scalar": (1.7,), "clip": (-0.8, 1.1)}
    positive = {"log", "log1p", "sqrt", "rsqrt", "power_scalar"}
    same_in_numpy = set("exp expm1 log log1p sqrt square abs negative reciprocal sin cos tanh".split())
    nn = torch.nn.functional if torch else None
    in_torch, slopes_in_torch = {}, {}
    if torch:
        tdy, ty = torch.from_numpy(dy), torch.empty(n)
        aten = torch.ops.aten
        for name, form in (("gelu", "none"), ("gelu_tanh", "tanh")):
            in_torch[name] = partial(aten.gelu.out, approximate=form, out=ty)
            slopes_in_torch[name] = partial(aten.gelu_backward.grad_input, tdy, tx, approximate=form, grad_input=ty)
    in_torch |= {
        "swish": lambda v: nn.silu(v), "elu": lambda v: nn.elu(v), "selu": lambda v: nn.selu(v),
        "softplus": lambda v: nn.softplus(v), "mish": lambda v: nn.mish(v), "relu6": lambda v: nn.relu6(v),
        "leaky_relu": lambda v: nn.leaky_relu(v, 0.2),
    }  # fmt: skip
    for name in GRAD_FROM:
        ours, slope = getattr(kernels, name), getattr(kernels, f"{name}_grad")
        values = given.get(name, tuple(p[1] for p in PARAMETERS.get(name, ())))
        source, tsource = (z, tz) if name in positive else (x, tx)
        numpy_call = torch_call = None
        if name in same_in_numpy:
            numpy_call = partial(getattr(np, name), source, out=y)
        if torch and (name in in_torch or hasattr(torch, name)) and name not in PARAMETERS | {"copy": 0}.keys():
            torch_call = partial(in_torch.get(name) or getattr(torch, name), tsource)
        elif torch and name in in_torch:
            torch_call = partial(in_torch[name], tsource)
        yield name, 8, partial(ours, source, *values, out=y), numpy_call, torch_call
        yield f"{name}_grad", 12, partial(slope, dy, source, *values, out=y), None, slopes_in_torch.get(name)
    for name in ("add", "multiply", "divide", "maximum", "power"):
        b = z if name == "power" else dy
        torch_call = (
            partial(getattr(torch, {"divide": "div", "power": "pow"}.get(name, name)), tz, tz) if torch else None
        )
        yield (
            name,
            12,
            partial(getattr(kernels, name), z, b, out=y),
            partial(getattr(np, name), z, b, out=y),
            torch_call,
        )
    grid = x.reshape(-1, 512)
    square, wide = y.reshape(512, -1), y.reshape(-1, 512)
    row = aligned(512, 1)
    total, each = aligned(512), aligned(len(grid))
    yield "add a row", 8, lambda: kernels.add(grid, row, out=wide), lambda: np.add(grid, row, out=wide), None
    yield "transpose", 8, lambda: kernels.transpose(grid, out=square), lambda: np.copyto(square, grid.T), None
    yield "sum_first", 4, lambda: kernels.sum(grid, 0, out=total), lambda: np.sum(grid, 0, out=total), None
    yield "sum_last", 4, lambda: kernels.sum(grid, 1, out=each), lambda: np.sum(grid, 1, out=each), None
    yield "max_last", 4, lambda: kernels.max(grid, 1, out=each), lambda: np.max(grid, 1, out=each), None
    yield "logsumexp_last", 4, lambda: kernels.logsumexp(grid, 1, out=each), None, None
    yield "norm", 4, lambda: kernels.norm(x), lambda: np.linalg.norm(x), None
    generator = np.random.default_rng(1)
    yield (
        "dropout", 8, lambda: kernels.dropout(x, 0.5, seed=1, out=y),
        lambda: np.multiply(x, generator.random(n, np.float32) >= 0.5, out=y),
        (lambda: torch.mul(tx, torch.rand(n, out=ty) >= 0.5, out=ty)) if torch else None,
    )  # fmt: skip
    yield (
        "dropout, 16 bits", 8, lambda: kernels.dropout(x, 0.5, seed=1, out=y),
        lambda: np.multiply(x, generator.integers(0, 65536, n, np.uint16) >= 32768, out=y),
        (lambda: nn.dropout(tx, 0.5)) if torch else None,
    )  # fmt: skip
    yield "random_uniform", 4, lambda: kernels.random_uniform(n, seed=1, out=y), lambda: generator.random(n, "f4"), None
    yield (
        "random_normal", 4, lambda: kernels.random_normal(n, seed=1, out=y),
        lambda: generator.standard_normal(n, "f4"), None,
    )  # fmt: skip
    data = rng.integers(0, 256, (len(grid), 512), dtype=np.uint8)
    order = rng.permutation(len(grid)).astype(np.int64)
    yield (
        "load_batch uint8", 5, lambda: kernels.load_batch(data, len(grid), order=order, scale=1 / 255, out=wide),
        lambda: np.multiply(data[order], np.float32(1 / 255), out=wide), None,
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1 << 17, help="elements, a multiple of 512")
    parser.add_argument("--torch", action="store_true", help="compare with torch")
    parser.add_argument("names", nargs="*", help="only these")
    arguments = parser.parse_args()
    torch = None
    if arguments.torch:
        import torch

        torch.set_num_threads(1)
    _core.set_threads(1)
    n = arguments.size
    source, target = aligned(n, 1), aligned(n)
    print(f"{_core.isa()}, {n} elements, 1 thread; ns an element")
    print(f"{'kernel':20} {'fastnn':>8} {'numpy':>8} {'torch':>8} {'% of copy':>10}")
    for name, size, ours, numpy_call, torch_call in cases(n, torch):
        if arguments.names and name not in arguments.names:
            continue
        alone = kernel_alone(ours)
        contestants = [lambda: np.copyto(target, source), alone or ours, numpy_call, torch_call]
        times = iter(least([f for f in contestants if f is not None]))
        copy, mine, *others = (next(times) / n if f is not None else None for f in contestants)
        mine /= 64 if alone else 1
        shown = " ".join(f"{t:8.3f}" if t is not None else f"{'':8}" for t in (mine, *others))
        print(f"{name:20} {shown} {copy * size / 8 / mine * 100:9.0f}", flush=True)


if __name__ == "__main__":
    main()
