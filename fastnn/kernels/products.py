"""Matrix products on NumPy arrays, with bias and activation in the same pass."""

import numpy as np

from fastnn import _core
from fastnn import precision as levels
from fastnn.kernels import _check

__all__ = ["matmul"]

#: Number of each activation in csrc/kernels/activation_codes.h, for the kernels that apply one as they store.
ACTIVATIONS = {
    None: 0,
    "linear": 0,
    "relu": 1,
    "leaky_relu": 2,
    "sigmoid": 3,
    "tanh": 4,
    "elu": 5,
    "selu": 6,
    "exponential": 7,
    "relu6": 8,
    "hard_sigmoid": 9,
    "softsign": 10,
    "silu": 11,
}
#: Activations whose gradient kernels compute from the input; the others' from the output.
GRADIENT_FROM_INPUT = frozenset({"silu"})
#: alpha (kernel real f[0]) where the caller gives none.
_ALPHA = {"leaky_relu": 0.2, "elu": 1.0}

_WHERE = "matmul"
_NS_PER_FLOP = 0.01


def matmul(a, b, out=None, *, transpose_a=False, transpose_b=False, bias=None, activation=None, accumulate=False,
           precision="highest"):  # fmt: skip
    """act((out +) a @ b + bias) for two matrices, or stacks of matrices with equal leading dimensions.

    a            [..., m, k]; [..., k, m] with transpose_a
    b            [..., k, n]; [..., n, k] with transpose_b
    out          [..., m, n], written and returned; a new array when None
    bias         [n], added to every row
    activation   name of ACTIVATIONS, with Keras' default parameter
    accumulate   add to what `out` holds
    precision    "highest", "high", "medium" or "highest_split": see `fastnn.config.set_matmul_precision`

    All arrays have one dtype, float32 or float64, are C-contiguous, and out overlaps none of the others. transpose_a
    together with transpose_b is not supported: (b @ a).T is the same product.
    """
    code = 0 if activation is None else ACTIVATIONS.get(activation)
    if code is not None and precision in levels.PARTS:
        parts, tiled = (0, False) if precision == "highest" else levels.choose(precision)
        alpha = _ALPHA.get(activation, 0.0) if code else 0.0
        fast = _core.matmul(a, b, out, transpose_a, transpose_b, bias, code, alpha, accumulate, parts, tiled)
        if fast is not None:
            return fast
    return _general(a, b, out, transpose_a, transpose_b, bias, activation, accumulate, precision)


def _general(a, b, out, transpose_a, transpose_b, bias, activation, accumulate, precision):
    levels.check(precision, _WHERE)
    a = _check.array(_WHERE, "a", a)
    b = _check.array(_WHERE, "b", b)
    if bias is not None:
        bias = _check.array(_WHERE, "bias", bias, ndim=1)
    dtype = _check.same_dtype(_WHERE, a=a, b=b, bias=bias)
    if a.ndim < 2 or a.ndim != b.ndim or a.shape[:-2] != b.shape[:-2]:
        raise ValueError(
            f"{_WHERE}: a and b must be matrices, or stacks of matrices with equal leading dimensions, "
            f"got shapes {a.shape} and {b.shape}"
        )
    if transpose_a and transpose_b:
        raise ValueError(
            f"{_WHERE}: transpose_a and transpose_b cannot both be True; compute matmul(b, a) and transpose the result"
        )
    k, m = a.shape[-2:] if transpose_a else a.shape[:-3:-1]
    n, k_b = b.shape[-2:] if transpose_b else b.shape[:-3:-1]
    if k != k_b:
        raise ValueError(
            f"{_WHERE}: a has {k} {'rows' if transpose_a else 'columns'} and b has {k_b} "
            f"{'columns' if transpose_b else 'rows'} to sum over, these must be equal; got shapes {a.shape} and "
            f"{b.shape} with transpose_a={transpose_a}, transpose_b={transpose_b}"
        )
    if bias is not None:
        _check.shape(_WHERE, "bias", bias, (n,))
    if activation not in ACTIVATIONS:
        names = ", ".join(repr(name) for name in ACTIVATIONS)
        raise ValueError(f"{_WHERE}: activation must be one of {names}, got {activation!r}")
    accumulate = _check.adding(_WHERE, accumulate, out)
    out = _check.out(_WHERE, out, (*a.shape[:-2], m, n), dtype)
    _check.no_overlap(_WHERE, "out", out, a=a, b=b, bias=bias)
    count = out.size // (m * n) if m * n else 0
    if count == 0:
        return out
    form = "matmul_tn" if transpose_a else "matmul_nt" if transpose_b else "matmul_nn"
    rows, inner = (k, m) if transpose_a else (m, k)
    flags = (int(accumulate), ACTIVATIONS[activation], 0, 0)
    ints = (rows, n, inner, a.shape[-1], b.shape[-1], n, *flags, count, m * k, k * n, m * n)
    _core.run(
        form,
        dtype == np.float64,
        (out, a, b, bias),
        levels.adjust(form, ints, precision) if dtype == np.float32 else ints,
        (_ALPHA.get(activation, 0.0),),
        cost=2.0 * m * n * k * count * _NS_PER_FLOP,
    )
    return out
