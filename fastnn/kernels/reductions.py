"""Sums, means, products, extremes and their places along any axes; norms."""

import math

import numpy as np

from fastnn import _core
from fastnn.kernels import _check
from fastnn.kernels.movement import strided_copy

_FORMULAS = {
    "sum": "Sum",
    "mean": "Mean",
    "max": "Largest element (NaN if there is one)",
    "min": "Smallest element (NaN if there is one)",
    "prod": "Product",
    "logsumexp": "log of the sum of exp(x), without overflow",
    "argmax": "Index (int32) of the first largest element or NaN",
    "argmin": "Index (int32) of the first smallest element or NaN",
}
_SQUARES_BLOCK = 1 << 14  # of the kernel sum_squares


def _axes(where, axis, ndim):
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    result = set()
    for a in axes:
        if not isinstance(a, int | np.integer) or not -ndim <= a < ndim:
            raise ValueError(f"{where}: axis must be within [{-ndim}, {ndim}), got {a!r}")
        if a % ndim in result:
            raise ValueError(f"{where}: axis {a} is given twice")
        result.add(int(a) % ndim)
    return sorted(result)


def _reduce(name, x, axis, keepdims, out):
    x = _check.array(name, "x", x)
    axes = _axes(name, axis, x.ndim)
    shape = x.shape
    kept = tuple(n for d, n in enumerate(shape) if d not in axes)
    result_shape = tuple(1 if d in axes else n for d, n in enumerate(shape)) if keepdims else kept
    index = name.startswith("arg")
    if index and axis is not None and len(axes) != 1:
        raise ValueError(f"{name}: axis must be one axis or None, got {axis}")
    count = math.prod(shape[d] for d in axes)
    if count == 0 and name not in ("sum", "prod"):
        raise ValueError(f"{name}: nothing to reduce along axis {axis} of shape {shape}")
    out = _check.out(name, out, result_shape, np.dtype(np.int32) if index else x.dtype)
    _check.no_overlap(name, "out", out, x=x)
    results, double, cost = math.prod(kept), x.dtype == np.float64, x.size * x.itemsize * 0.03

    first, last = (axes[0], axes[-1]) if axes else (0, -1)
    together = last - first + 1 == len(axes)
    if together and last < x.ndim - 1 and first == 0 and axes and name in ("sum", "mean"):
        ints = (count, results, 0, name == "mean")
        _core.run("sum_first", double, (out, x), ints, cost=cost)
    elif together and last < x.ndim - 1 and axes and name in ("sum", "max", "min"):
        ints = (math.prod(shape[:first]), count, math.prod(shape[last + 1 :]))
        _core.run(f"{name}_middle", double, (out, x), ints, cost=cost)
    else:
        if axes and (not together or last < x.ndim - 1):
            order = [d for d in range(x.ndim) if d not in axes] + axes
            x = strided_copy(np.transpose(x, order))
        heavy = 10 if name == "logsumexp" else 1
        _core.run(f"{name}_last", double, (out, x), (results, count), cost=cost * heavy)
    return out


def _make(name, formula):
    def function(x, axis=None, *, keepdims=False, out=None):
        return _reduce(name, x, axis, keepdims, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{formula} along `axis` (an int, a tuple of them, or None: all). Returns an array."
    globals()[name] = function


for _name, _formula in _FORMULAS.items():
    _make(_name, _formula)


def accumulate_mean(acc, values, weights=None):
    """Adds to a running weighted mean, acc[0] / acc[1] in the end: acc[0] += sum of values[r, ...] weights[r],
    acc[1] += sum of the weights (ones) times the elements of a row. `acc` is float64 of shape (2,)."""
    values = _check.array("accumulate_mean", "values", values)
    if values.ndim == 0:
        raise ValueError("accumulate_mean: values must have rows, got a scalar")
    if acc is None:
        raise TypeError("accumulate_mean: acc must be a numpy array of float64, got None")
    _check.out("accumulate_mean", acc, (2,), np.dtype(np.float64), "acc")
    if weights is not None:
        weights = _check.array("accumulate_mean", "weights", weights)
        _check.same_dtype("accumulate_mean", values=values, weights=weights)
        _check.shape("accumulate_mean", "weights", weights, values.shape[:1])
    rows = values.shape[0]
    ints = (rows, math.prod(values.shape[1:]))
    _core.run("accumulate_mean", values.dtype == np.float64, (acc, values, weights), ints)
    return acc


def norm(x):
    """Square root of the sum of all squares, a float; summed in double precision."""
    x = _check.array("norm", "x", x)
    blocks = -(-x.size // _SQUARES_BLOCK)
    partials, total = np.empty(blocks), np.empty(1)
    double = x.dtype == np.float64
    _core.run("sum_squares", double, (partials, x), (x.size,), cost=x.size * x.itemsize * 0.03)
    _core.run("norm_total", double, (total, partials), (blocks,))
    return float(total[0])


__all__ = [*_FORMULAS, "accumulate_mean", "norm"]
