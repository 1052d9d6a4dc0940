"""Functions of each element: activations and their gradients, arithmetic with broadcasting, comparisons.

The functions are made from the tables below: `relu(x, out=None)`, `relu_grad(dy, s, out=None, accumulate=False)`,
`add(a, b, out=None)` and so on. Arrays are float32 or float64 and C-contiguous; `out` may be the input itself.
"""

import math

import numpy as np

from fastnn import _core
from fastnn.kernels import _check

_INT32 = (np.dtype(np.int32),)

#: What `s` of a gradient is: "y", the output of the function, or "x", its input.
GRAD_FROM = {
    **dict.fromkeys(
        "relu leaky_relu elu celu selu sigmoid tanh softplus relu6 exp sqrt".split(),
        "y",
    ),
    **dict.fromkeys(
        "gelu gelu_tanh gelu_sigmoid swish softsign hard_sigmoid hard_swish hard_tanh hard_shrink soft_shrink "
        "tanh_shrink threshold mish log_sigmoid squareplus expm1 log log1p rsqrt square abs negative reciprocal sin "
        "cos erf affine power_scalar clip copy".split(),
        "x",
    ),
}

#: Functions without a gradient kernel, for it is 0 wherever there is one.
NO_GRADIENT = "sign floor ceil round isnan is_finite".split()

#: Parameters of functions of one element, in the order of the kernel's constants: name, default, least value.
PARAMETERS = {
    "leaky_relu": (("negative_slope", 0.2, 0.0),),
    "elu": (("alpha", 1.0, 0.0),),
    "celu": (("alpha", 1.0, 5e-324),),
    "swish": (("beta", 1.0, None),),
    "hard_shrink": (("threshold", 0.5, 0.0),),
    "soft_shrink": (("threshold", 0.5, 0.0),),
    "threshold": (("threshold", None, None), ("default_value", None, None)),
    "squareplus": (("b", 4.0, 0.0),),
    "affine": (("scale", 1.0, None), ("offset", 0.0, None)),
    "power_scalar": (("exponent", None, None),),
    "clip": (("minimum", None, None), ("maximum", None, None)),
}

_FORMULAS = {
    "relu": "max(x, 0)",
    "leaky_relu": "x where x > 0, else negative_slope x",
    "elu": "x where x > 0, else alpha (exp(x) - 1)",
    "celu": "x where x > 0, else alpha (exp(x / alpha) - 1)",
    "selu": "1.0507 elu(x, 1.6733)",
    "gelu": "x P(X < x), X standard normal: x (1 + erf(x / sqrt(2))) / 2",
    "gelu_tanh": "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2",
    "gelu_sigmoid": "x sigmoid(1.702 x)",
    "sigmoid": "1 / (1 + exp(-x))",
    "swish": "x sigmoid(beta x)",
    "softplus": "log(1 + exp(x))",
    "softsign": "x / (1 + |x|)",
    "hard_sigmoid": "relu6(x + 3) / 6",
    "hard_swish": "x hard_sigmoid(x)",
    "hard_tanh": "x within [-1, 1]",
    "hard_shrink": "x where |x| > threshold, else 0",
    "soft_shrink": "sign(x) max(|x| - threshold, 0)",
    "tanh_shrink": "x - tanh(x)",
    "threshold": "x where x > threshold, else default_value",
    "relu6": "x within [0, 6]",
    "mish": "x tanh(softplus(x))",
    "log_sigmoid": "-log(1 + exp(-x))",
    "squareplus": "(x + sqrt(x^2 + b)) / 2",
    "expm1": "exp(x) - 1",
    "log1p": "log(1 + x)",
    "rsqrt": "1 / sqrt(x)",
    "square": "x^2",
    "abs": "|x|",
    "negative": "-x",
    "reciprocal": "1 / x",
    "affine": "scale x + offset",
    "power_scalar": "x^exponent",
    "clip": "x within [minimum, maximum]",
    "copy": "x",
    "sign": "-1, 0 or 1",
    "round": "the nearest integer, ties to even",
    "isnan": "1 where x is NaN, else 0",
    "is_finite": "1 where x is neither NaN nor infinite, else 0",
}

_BINARIES = {
    "add": "a + b",
    "subtract": "a - b",
    "multiply": "a b",
    "divide": "a / b",
    "maximum": "the larger; NaN if one is",
    "minimum": "the smaller; NaN if one is",
    "power": "a^b",
    "squared_difference": "(a - b)^2",
    "floor_divide": "floor(a / b)",
    "mod": "a - b floor(a / b)",
    "equal": "1 where a = b, else 0",
    "not_equal": "1 where a != b, else 0",
    "greater": "1 where a > b, else 0",
    "greater_equal": "1 where a >= b, else 0",
    "less": "1 where a < b, else 0",
    "less_equal": "1 where a <= b, else 0",
    "logical_and": "1 where neither is 0, else 0",
    "logical_or": "1 where one is not 0, else 0",
}

# Rough nanoseconds an element, float32, data in L2: what decides on the number of threads.
_NS = {"power": 1.5, "power_scalar": 1.5, "sin": 0.8, "cos": 0.8, "gelu": 0.5, "erf": 0.5}
_NS_CHEAP = 0.12
_CURVED = set(
    "elu celu selu gelu_tanh gelu_sigmoid sigmoid tanh swish softplus tanh_shrink mish log_sigmoid exp expm1 log "
    "log1p floor_divide mod".split()
)


def _cost(name, x):
    return x.size * x.itemsize / 4 * _NS.get(name, 0.35 if name in _CURVED else _NS_CHEAP)


def _number(where, name, value, least=None):
    try:
        value = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}") from None
    if least is not None and not value >= least:
        bound = "above 0" if 0 < least < 1e-300 else f"at least {least:g}"
        raise ValueError(f"{where}: {name} must be {bound}, got {value:g}")
    return value


def _parameters(where, name, values):
    reals = tuple(_number(where, p[0], v, p[2]) for p, v in zip(PARAMETERS.get(name, ()), values, strict=True))
    if name == "clip" and not reals[0] <= reals[1]:
        raise ValueError(f"{where}: minimum {reals[0]:g} must not be above maximum {reals[1]:g}")
    return reals


def _in_place_or_apart(where, out, **inputs):
    """An output may be an input as a whole, not a shifted part of it."""
    for name, x in inputs.items():
        if out is not x and _core.overlap(out, x) == 1:
            _check.no_overlap(where, "out", out, **{name: x})


def _unary(name, x, values, out):
    x = _check.array(name, "x", x)
    reals = _parameters(name, name, values)
    out = _check.out(name, out, x.shape, x.dtype)
    _in_place_or_apart(name, out, x=x)
    _core.run(name, x.dtype == np.float64, (out, x), (x.size, 1), reals, cost=_cost(name, x))
    return out


def _unary_grad(name, dy, s, values, out, accumulate):
    where = f"{name}_grad"
    dy = _check.array(where, "dy", dy)
    s = _check.array(where, "s", s)
    _check.same_dtype(where, dy=dy, s=s)
    _check.shape(where, "s", s, dy.shape)
    reals = _parameters(where, name, values)
    accumulate = _check.adding(where, accumulate, out)
    out = _check.out(where, out, dy.shape, dy.dtype)
    _in_place_or_apart(where, out, dy=dy, s=s)
    ints = (dy.size, 1, accumulate)
    _core.run(where, dy.dtype == np.float64, (out, dy, s), ints, reals, cost=1.5 * _cost(name, dy))
    return out


def _operands(where, arrays):
    """Arrays of one dtype: plain numbers and lists take that of the first array given as such."""
    typed = [x for x in arrays.values() if isinstance(x, np.ndarray)]
    dtype = typed[0].dtype if typed and typed[0].dtype in _check.REALS else np.dtype(np.float32)
    result = []
    for name, x in arrays.items():
        if not isinstance(x, np.ndarray):
            x = _check.array(where, name, x).astype(dtype)
        result.append(_check.array(where, name, x))
    _check.same_dtype(where, **dict(zip(arrays, result, strict=True)))
    return result


FULL, ROW, COLUMN, SCALAR = range(4)  # how the kernels broadcast an operand


def _modes(shape, operands):
    """Columns, and the operands with the mode of each, so that every one broadcasts to (rows, columns) of `shape`.
    What fits no mode is broadcast to a full array first."""
    split = None  # axes from here on make the columns
    found = []
    for x in operands:
        padded = (1,) * (len(shape) - x.ndim) + x.shape
        same = [p == n for p, n in zip(padded, shape, strict=True)]
        if all(same):
            found.append((x, FULL))
            continue
        if x.size == 1:
            found.append((x, SCALAR))
            continue
        # ones that stand for more, then equal axes (a row), or the other way round (a column)
        starts = [k for k in range(1, len(shape)) if _ones(padded[:k]) and all(same[k:])]
        stops = [k for k in range(1, len(shape)) if all(same[:k]) and _ones(padded[k:])]
        mode, candidates = (ROW, starts) if starts else (COLUMN, stops)
        if candidates and (split is None or split in candidates):
            split = candidates[0] if split is None else split
            found.append((x, mode))
        else:
            from fastnn.kernels.movement import strided_copy

            found.append((strided_copy(np.broadcast_to(x, shape)), FULL))
    return (1 if split is None else math.prod(shape[split:])), found


def _ones(shape):
    return all(n == 1 for n in shape)


def _broadcast(where, arrays):
    try:
        return np.broadcast_shapes(*(x.shape for x in arrays))
    except ValueError:
        shapes = ", ".join(str(x.shape) for x in arrays)
        raise ValueError(f"{where}: shapes {shapes} do not broadcast to one shape") from None


def _binary(name, a, b, out, accumulate):
    plain = _core.is_plain(a) and _core.is_plain(b) and a.dtype is b.dtype and a.shape == b.shape
    if not plain:
        a, b = _operands(name, {"a": a, "b": b})
    shape = a.shape if plain else _broadcast(name, (a, b))
    accumulate = _check.adding(name, accumulate, out)
    out = _check.out(name, out, shape, a.dtype)
    _in_place_or_apart(name, out, a=a, b=b)
    for key, x in (("a", a), ("b", b)):
        if x.shape != shape:  # a broadcast operand is read again after its place was written
            _check.no_overlap(name, "out", out, **{key: x})
    cols, ((a, mode_a), (b, mode_b)) = (1, ((a, FULL), (b, FULL))) if plain else _modes(shape, (a, b))
    ints = (out.size // cols if cols else 0, cols, mode_a, mode_b, accumulate)
    _core.run(name, a.dtype == np.float64, (out, a, b), ints, cost=_cost(name, out))
    return out


def where(c, a, b, *, out=None):
    """a where c is not 0, else b, with broadcasting. All are arrays of one dtype."""
    c, a, b = _operands("where", {"c": c, "a": a, "b": b})
    shape = _broadcast("where", (c, a, b))
    out = _check.out("where", out, shape, a.dtype)
    _check.no_overlap("where", "out", out, c=c, a=a, b=b)
    cols, ((c, mode_c), (a, mode_a), (b, mode_b)) = _modes(shape, (c, a, b))
    if cols == 1 and out.ndim:
        cols = shape[-1]  # no operand is cut by rows: let rows be long
    ints = (out.size // cols if cols else 0, cols, mode_c, mode_a, mode_b)
    _core.run("where", a.dtype == np.float64, (out, c, a, b), ints, cost=_cost("where", out))
    return out


def multiply_add(a, b, c, *, out=None):
    """a b + c, all of one shape."""
    a, b, c = _operands("multiply_add", {"a": a, "b": b, "c": c})
    for name, x in (("b", b), ("c", c)):
        _check.shape("multiply_add", name, x, a.shape)
    out = _check.out("multiply_add", out, a.shape, a.dtype)
    _in_place_or_apart("multiply_add", out, a=a, b=b, c=c)
    _core.run("multiply_add", a.dtype == np.float64, (out, a, b, c), (a.size, 1), cost=_cost("add", a))
    return out


def add_relu(a, b, *, out=None):
    """max(a + b, 0), both of one shape."""
    a, b = _operands("add_relu", {"a": a, "b": b})
    _check.shape("add_relu", "b", b, a.shape)
    out = _check.out("add_relu", out, a.shape, a.dtype)
    _in_place_or_apart("add_relu", out, a=a, b=b)
    _core.run("add_relu", a.dtype == np.float64, (out, a, b), (a.size, 1), cost=_cost("add", a))
    return out


def equal_int(a, b, *, dtype=np.float32, out=None):
    """1 where the int32 arrays a and b are equal, else 0."""
    a, b = (_check.array("equal_int", name, x, _INT32) for name, x in (("a", a), ("b", b)))
    _check.shape("equal_int", "b", b, a.shape)
    out = _check.out("equal_int", out, a.shape, _real("equal_int", dtype))
    _core.run("equal_int", out.dtype == np.float64, (out, a, b), (a.size, 1), cost=_cost("equal", out))
    return out


def cast_int(x, *, out=None):
    """x without its fraction, as int32. What int32 cannot hold is undefined."""
    x = _check.array("cast_int", "x", x)
    out = _check.out("cast_int", out, x.shape, np.dtype(np.int32))
    _core.run("cast_int", x.dtype == np.float64, (out, x), (x.size, 1), cost=_cost("copy", x))
    return out


def cast_real(x, *, dtype=np.float32, out=None):
    """The int32 array x as float32 or float64."""
    x = _check.array("cast_real", "x", x, _INT32)
    out = _check.out("cast_real", out, x.shape, _real("cast_real", dtype))
    _core.run("cast_real", out.dtype == np.float64, (out, x), (x.size, 1), cost=_cost("copy", out))
    return out


def one_hot(indices, classes, *, dtype=np.float32, out=None):
    """(..., classes): 1 at the index, else 0; rows of an index out of range are 0."""
    indices = _check.array("one_hot", "indices", indices, _INT32)
    classes = int(_number("one_hot", "classes", classes, 1))
    out = _check.out("one_hot", out, (*indices.shape, classes), _real("one_hot", dtype))
    _core.run("one_hot", out.dtype == np.float64, (out, indices), (indices.size, classes), cost=_cost("copy", out))
    return out


def _real(where, dtype):
    try:
        real = np.dtype(dtype)
    except TypeError:
        real = None
    if real is None or real not in _check.REALS:
        raise TypeError(f"{where}: dtype must be float32 or float64, got {dtype}")
    return real


# ---- the functions that the tables name ----


def _source(name):
    """Source and docstring of a function that the tables name."""
    if name in _BINARIES:
        source = (
            f"def {name}(a, b, *, out=None, accumulate=False):\n    return _binary({name!r}, a, b, out, accumulate)"
        )
        return source, f"{_BINARIES[name]}, with NumPy's broadcasting. With `accumulate` the result is added to `out`."
    function = name.removesuffix("_grad")
    parameters = PARAMETERS.get(function, ())
    declared = "".join(f", {p}" if default is None else f", {p}={default!r}" for p, default, _ in parameters)
    passed = "".join(f"{p}, " for p, _, _ in parameters)
    if name == function:
        source = f"def {name}(x{declared}, *, out=None):\n    return _unary({name!r}, x, ({passed}), out)"
        return source, f"{_FORMULAS.get(name, f'{name}(x)')}, for each element of x. `out` may be x."
    return (
        f"def {name}(dy, s{declared}, *, out=None, accumulate=False):\n"
        f"    return _unary_grad({function!r}, dy, s, ({passed}), out, accumulate)",
        f"dy times the derivative of {function}; s is its {'output' if GRAD_FROM[function] == 'y' else 'input'}. "
        "`out` may be dy or s; with `accumulate` the result is added to it.",
    )


_MADE = frozenset((*GRAD_FROM, *(f"{name}_grad" for name in GRAD_FROM), *NO_GRADIENT, *_BINARIES))


def __getattr__(name):
    """Makes a function when it is first asked for, from source: real signatures and no argument juggling in calls."""
    if name not in _MADE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    source, doc = _source(name)
    space = {"_unary": _unary, "_unary_grad": _unary_grad, "_binary": _binary, "__name__": __name__}
    exec(source, space)
    function = globals()[name] = space[name]
    function.__doc__ = doc
    return function


__all__ = [
    "GRAD_FROM",
    *sorted(_MADE),
    *"where multiply_add add_relu equal_int cast_int cast_real one_hot".split(),
]
