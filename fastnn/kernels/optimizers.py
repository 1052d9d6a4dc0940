"""Kernels of parameter updates on NumPy arrays, in place. fastnn.optimizers is what training uses.

Contract of the update kernels (operands, flags, constants, table of the step): csrc/kernels/optimizers.inc.c.
"""

import numpy as np

from fastnn import _core
from fastnn.kernels import _check

#: slots, columns of `hyper` and constants of each update
UPDATES = {
    "sgd": (0, 1, 0),
    "momentum": (1, 3, 0),
    "nesterov": (1, 4, 0),
    "adam": (2, 3, 2),
    "nadam": (2, 4, 3),
    "adamax": (2, 2, 3),
    "rmsprop": (1, 1, 3),
    "adagrad": (1, 1, 1),
    "adadelta": (2, 1, 2),
    "lion": (1, 1, 2),
}
L2, TORCH, AMSGRAD, CENTERED, MOMENTUM = 1, 2, 4, 8, 16


def update(
    kernel,
    param,
    grad,
    slots=(),
    *,
    hyper,
    constants=(),
    flags=0,
    learning_rate_factor=1.0,
    weight_decay=0.0,
    gradient_scale=1.0,
    clip_value=0.0,
):
    """One step of `kernel` on one array, in place (param and slots). hyper: the step's row, learning rate first."""
    if kernel not in UPDATES:
        raise ValueError(f"update: unknown kernel {kernel!r}; known: {', '.join(UPDATES)}")
    count, width, reals = UPDATES[kernel]
    count += bool(flags & AMSGRAD and kernel == "adam")
    count += (bool(flags & CENTERED) + bool(flags & MOMENTUM)) * (kernel == "rmsprop")
    if len(slots) != count or len(hyper) < width or len(constants) != reals:
        raise ValueError(
            f"{kernel}: needs {count} slots, {width} numbers in hyper and {reals} constants, got {len(slots)}, "
            f"{len(hyper)} and {len(constants)}"
        )
    param = _check.array(kernel, "param", param)
    arrays = {"grad": grad, **{f"slots[{j}]": s for j, s in enumerate(slots)}}
    for name, x in arrays.items():
        _check.shape(kernel, name, _check.array(kernel, name, x), param.shape)
    _check.same_dtype(kernel, param=param, **arrays)
    for name, x in {"param": param, **{k: v for k, v in arrays.items() if k != "grad"}}.items():
        _check.out(kernel, x, param.shape, param.dtype, name)
        _check.no_overlap(kernel, name, x, **{k: v for k, v in {"param": param, **arrays}.items() if v is not x})
    real = (learning_rate_factor, weight_decay, gradient_scale, clip_value, *constants)
    _core.run(
        kernel,
        param.dtype == np.float64,
        (param, grad, *slots),
        (param.size, flags, 0),
        real,
        cost=10 + 0.06 * param.size * (3 + 2 * count),
        hyper=np.asarray(hyper, np.float64),
    )


def global_norm(arrays):
    """sqrt of the sum of all squares, in float64, in an order that does not depend on the number of threads."""
    arrays = [_check.array("global_norm", f"arrays[{j}]", x) for j, x in enumerate(arrays)]
    total = 0.0
    for x in arrays:
        if x.size:
            partials = np.empty(-(-x.size // 4096))
            _core.run("gradient_norm", x.dtype == np.float64, (partials, x), (x.size, 0), (), cost=0.06 * x.size)
            total += float(sum(partials))
    return float(np.sqrt(total))


def _in_place(kernel, name, x, value):
    x = _check.array(kernel, name, x)
    _check.out(kernel, x, x.shape, x.dtype, name)
    _core.run(kernel, x.dtype == np.float64, (x, None), (x.size,), (float(value),), cost=10 + 0.1 * x.size)
    return x


def gradient_clip_value(grad, limit):
    """grad <- min(max(grad, -limit), limit), in place."""
    if not limit >= 0:
        raise ValueError(f"gradient_clip_value: limit must be >= 0, got {limit}")
    return _in_place("gradient_clip_value", "grad", grad, limit)


def scale(x, factor):
    """x <- factor x, in place."""
    return _in_place("scale", "x", x, factor)


def add_scaled(y, x, factor=1.0):
    """y <- y + factor x, in place."""
    y, x = _check.array("add_scaled", "y", y), _check.array("add_scaled", "x", x)
    dtype = _check.same_dtype("add_scaled", y=y, x=x)
    _check.shape("add_scaled", "x", x, y.shape)
    _check.out("add_scaled", y, y.shape, dtype, "y")
    _check.no_overlap("add_scaled", "y", y, x=x)
    _core.run("add_scaled", dtype == np.float64, (y, x), (y.size,), (float(factor),), cost=10 + 0.2 * y.size)
    return y
