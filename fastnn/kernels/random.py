"""Dropout, noise and random fills: functions of (seed, stream, index, position), see csrc/kernels/random.h.

`seed` is the key (64 bits), `stream` tells the uses in one model apart (32 bits), `index` is the number of the step.
"""

import math

import numpy as np

from fastnn import _core
from fastnn.kernels import _check
from fastnn.utils import checks


def _counter(where, seed, stream, index):
    for name, value, bits in (("seed", seed, 64), ("stream", stream, 32), ("index", index, 63)):
        if not isinstance(value, int | np.integer) or not 0 <= value < 1 << bits:
            raise ValueError(f"{where}: {name} must be an integer within [0, 2**{bits}), got {value!r}")
    return {"seed": int(seed), "index": int(index)}


def _rate(where, rate):
    return (checks.number(where, "rate", rate, least=0, most=1),)


def _dropout(name, x, rate, seed, stream, index, out, accumulate, spatial):
    x = _check.array(name, "x", x)
    reals, counter = _rate(name, rate), _counter(name, seed, stream, index)
    accumulate = _check.adding(name, accumulate, out)
    out = _check.out(name, out, x.shape, x.dtype)
    if _core.overlap(out, x) == 1:
        _check.no_overlap(name, "out", out, x=x)
    if spatial:
        if x.ndim < 2:
            raise ValueError(f"{name}: x must have samples and channels, got shape {x.shape}")
        cols, group = x.shape[-1], math.prod(x.shape[1:-1])
        ints = (x.shape[0] * group, cols, stream, accumulate, group)
    else:
        ints = (x.size, 1, stream, accumulate)
    if x.size:
        cost = 0.2 * x.size * x.itemsize / 4
        _core.run(name, x.dtype == np.float64, (out, x), ints, reals, cost=cost, **counter)
    return out


def dropout(x, rate, *, seed, stream=0, index=0, out=None):
    """x / (1 - rate), each element 0 with probability `rate` (met to 1 / 131072). `out` may be x."""
    return _dropout("dropout", x, rate, seed, stream, index, out, False, False)


def dropout_grad(dy, rate, *, seed, stream=0, index=0, out=None, accumulate=False):
    """Gradient of dropout with the same seed, stream and index: dy through the same mask."""
    return _dropout("dropout_grad", dy, rate, seed, stream, index, out, accumulate, False)


def dropout_rows(x, rate, *, seed, stream=0, index=0, out=None):
    """Spatial dropout: x (samples, ..., channels) / (1 - rate), each channel of a sample 0 as a whole."""
    return _dropout("dropout_rows", x, rate, seed, stream, index, out, False, True)


def dropout_rows_grad(dy, rate, *, seed, stream=0, index=0, out=None, accumulate=False):
    """Gradient of dropout_rows with the same seed, stream and index."""
    return _dropout("dropout_rows_grad", dy, rate, seed, stream, index, out, accumulate, True)


def gaussian_noise(x, stddev, *, seed, stream=0, index=0, out=None):
    """x plus normal noise of standard deviation `stddev`. `out` may be x."""
    x = _check.array("gaussian_noise", "x", x)
    if not 0 <= stddev < math.inf:
        raise ValueError(f"gaussian_noise: stddev must be a number of at least 0, got {stddev!r}")
    counter = _counter("gaussian_noise", seed, stream, index)
    out = _check.out("gaussian_noise", out, x.shape, x.dtype)
    if _core.overlap(out, x) == 1:
        _check.no_overlap("gaussian_noise", "out", out, x=x)
    ints = (x.size, 1, stream)
    _core.run("gaussian_noise", x.dtype == np.float64, (out, x), ints, (float(stddev),), cost=x.size * 2.0, **counter)
    return out


def _fill(name, shape, reals, seed, stream, index, dtype, out):
    counter = _counter(name, seed, stream, index)
    dtype = np.dtype(dtype)
    if dtype not in _check.REALS:
        raise TypeError(f"{name}: dtype must be float32 or float64, got {dtype}")
    shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in shape):
        raise ValueError(f"{name}: shape must be a tuple of integers of at least 0, got {shape}")
    for value in reals:
        if not math.isfinite(value):
            raise ValueError(f"{name}: parameters must be finite numbers, got {reals}")
    out = _check.out(name, out, shape, dtype)
    _core.run(name, dtype == np.float64, (out,), (out.size, 1, stream), reals, cost=out.size * 2.0, **counter)
    return out


def random_uniform(shape, minval=0.0, maxval=1.0, *, seed, stream=0, index=0, dtype=np.float32, out=None):
    """Numbers uniform in [minval, maxval)."""
    return _fill("random_uniform", shape, (float(minval), float(maxval)), seed, stream, index, dtype, out)


def random_normal(shape, mean=0.0, stddev=1.0, *, seed, stream=0, index=0, dtype=np.float32, out=None):
    """Normal numbers (Box and Muller's transform)."""
    return _fill("random_normal", shape, (float(mean), float(stddev)), seed, stream, index, dtype, out)


def random_truncated_normal(shape, mean=0.0, stddev=1.0, *, seed, stream=0, index=0, dtype=np.float32, out=None):
    """Normal numbers, those beyond two standard deviations drawn again."""
    return _fill("random_truncated_normal", shape, (float(mean), float(stddev)), seed, stream, index, dtype, out)


def random_bernoulli(shape, p=0.5, *, seed, stream=0, index=0, dtype=np.float32, out=None):
    """1 with probability p, else 0."""
    if not 0 <= p <= 1:
        raise ValueError(f"random_bernoulli: p must be within [0, 1], got {p!r}")
    return _fill("random_bernoulli", shape, (float(p),), seed, stream, index, dtype, out)


__all__ = [
    "dropout", "dropout_grad", "dropout_rows", "dropout_rows_grad", "gaussian_noise", "random_bernoulli",
    "random_normal", "random_truncated_normal", "random_uniform",
]  # fmt: skip
