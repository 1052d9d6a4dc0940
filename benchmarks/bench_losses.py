"""Losses with their gradients: us a call, against NumPy and torch (autograd and by hand).

    taskset -c 1 python benchmarks/bench_losses.py [--threads 1]

Each call gives the loss of every row and the gradient of their mean. Interleaved round by round; best of the rounds.
"numpy copy" is one addition of the same arrays, a lower bound from their bytes.
"""

import argparse

import numpy as np

from fastnn import _core
from fastnn.benchmark import take_turns

SHAPES = [(128, 10), (128, 100), (128, 1000), (1024, 10), (32, 30000)]


def sparse_softmax_crossentropy(rows, cols):
    rng = np.random.default_rng(0)
    y, t = rng.standard_normal((rows, cols)).astype(np.float32), rng.integers(0, cols, rows).astype(np.int32)
    loss, dy, index = np.empty(rows, np.float32), np.empty_like(y), np.arange(rows)

    def fastnn():
        _core.run(
            "sparse_softmax_crossentropy",
            False,
            (loss, dy, y, t, None),
            (rows, cols, 1, -1, 0),
            (0.0, 1.0),
            cost=0.5 * rows * cols,
        )

    def numpy():
        e = np.exp(y - y.max(1, keepdims=True))
        s = e.sum(1, keepdims=True)
        e /= s
        out = -np.log(e[index, t])
        e[index, t] -= 1
        e /= rows
        return out, e

    functions = {"fastnn": fastnn, "numpy": numpy}
    try:
        import torch
    except ImportError:
        return functions
    torch.set_num_threads(_core.get_threads())
    ty, tt = torch.from_numpy(y.copy()).requires_grad_(), torch.from_numpy(t.astype(np.int64))
    plain = ty.detach()
    ids = torch.arange(rows)

    def autograd():
        ty.grad = None
        torch.nn.functional.cross_entropy(ty, tt).backward()

    def by_hand():
        logp = torch.log_softmax(plain, 1)
        grad = torch.exp(logp)
        grad[ids, tt] -= 1
        grad /= rows
        return -logp[ids, tt], grad

    return {**functions, "torch autograd": autograd, "torch by hand": by_hand}


def elementwise(kernel, torch_name):
    def make(rows, cols):
        rng = np.random.default_rng(0)
        y, t = rng.standard_normal((rows, cols)).astype(np.float32), rng.integers(0, 2, (rows, cols)).astype(np.float32)
        loss, dy, copy = np.empty(rows, np.float32), np.empty_like(y), np.empty_like(y)

        def fastnn():
            _core.run(kernel, False, (loss, dy, y, t, None), (rows, cols, 1), (0.0, 1.0), cost=0.3 * rows * cols)

        functions = {"fastnn": fastnn, "numpy copy": lambda: np.add(y, t, out=copy)}
        try:
            import torch
        except ImportError:
            return functions
        ty, tt = torch.from_numpy(y.copy()).requires_grad_(), torch.from_numpy(t)
        function = getattr(torch.nn.functional, torch_name)

        def autograd():
            ty.grad = None
            function(ty, tt).backward()

        return {**functions, "torch autograd": autograd}

    return make


CASES = {
    "sparse_softmax_crossentropy": sparse_softmax_crossentropy,
    "mean_squared_error": elementwise("mean_squared_error", "mse_loss"),
    "sigmoid_crossentropy": elementwise("sigmoid_crossentropy", "binary_cross_entropy_with_logits"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default=",".join(CASES))
    args = parser.parse_args()
    _core.set_threads(args.threads)
    print(f"{_core.cpu()['name']}, {_core.isa()}, {args.threads} thread(s), float32; us a call")
    for name in args.only.split(","):
        for rows, cols in SHAPES:
            times = take_turns(CASES[name](rows, cols), rounds=3, seconds=0.6, block=2e-4)
            best = {label: min(found) for label, found in times.items()}
            parts = [f"{label} {seconds * 1e6:9.2f}" for label, seconds in best.items()]
            others = [s for label, s in best.items() if label not in ("fastnn", "numpy copy")]
            if others:
                parts.append(f"{min(others) / best['fastnn']:.1f} x the best other")
            print(f"{name:28} {rows:5} x {cols:<6} " + "  ".join(parts), flush=True)


if __name__ == "__main__":
    main()
