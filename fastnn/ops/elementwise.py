"""Operations on each element: activations, functions, arithmetic with broadcasting, choices, casts."""

import numpy as np

from fastnn.graph import Spec, Tensor, is_constant
from fastnn.kernels.elementwise import GRAD_FROM, NO_GRADIENT
from fastnn.ops.core import (
    Op,
    apply,
    as_tensor,
    broadcast_shapes,
    common_dtype,
    is_batched,
    lead,
    make,
    register,
    size,
)
from fastnn.variables import Variable

# Rough time of one element on one thread, ns: decides when a second thread is worth waking.
_CHEAP, _MATH = 0.1, 0.5


@register
class Unary(Op):
    """y = f(x), by the kernel of the function's name; `parameters` are its reals."""

    in_place = ((0, 0),)

    def __init__(self, function, parameters=()):
        self.function = function
        self.parameters = tuple(float(p) for p in parameters)

    @property
    def name(self):
        return self.function

    def infer(self, x):
        return x

    def gradient(self, node, dy):
        if self.function in NO_GRADIENT:
            return (None,)
        if self.function == "negative":
            return (negative(dy),)
        if self.function == "affine":
            return (affine(dy, self.parameters[0]),)
        if self.function == "copy":
            return (dy,)
        source = node.outputs[0] if GRAD_FROM[self.function] == "y" else node.inputs[0]
        return make(UnaryGrad(self.function, self.parameters), dy, source)

    def lower(self, b, outs, ins):
        shape = outs[0].shape
        n = size(shape)
        cost = n * (_CHEAP if self.function in ("relu", "copy", "affine", "negative", "abs", "square") else _MATH)
        ints = (1, n) if is_batched(shape) else (n, 1)
        b.run(self.function, (*outs, *ins), ints, self.parameters, cost=cost, batched=is_batched(shape))


@register
class UnaryGrad(Op):
    """dx = dy f'(.), from the function's output or input."""

    in_place = ((0, 0), (0, 1))

    def __init__(self, function, parameters=()):
        self.function = function
        self.parameters = tuple(float(p) for p in parameters)

    @property
    def name(self):
        return self.function + "_grad"

    def infer(self, dy, source):
        return dy

    def lower(self, b, outs, ins):
        shape = outs[0].shape
        n = size(shape)
        ints = (1, n, 0) if is_batched(shape) else (n, 1, 0)
        b.run(self.name, (*outs, *ins), ints, self.parameters, cost=n * _MATH, batched=is_batched(shape))


_FULL, _ROW, _COLUMN, _SCALAR = 0, 1, 2, 3


def _pad(shape, ndim):
    return (1,) * (ndim - len(shape)) + tuple(shape)


def _mode(shape, out, axis):
    """How an operand of `shape` lies against `out` cut into rows and columns before `axis`; None: in no such way."""
    shape = _pad(shape, len(out))
    ahead, behind = shape[:axis] == out[:axis], shape[axis:] == out[axis:]
    ones_ahead, ones_behind = all(d == 1 for d in shape[:axis]), all(d == 1 for d in shape[axis:])
    if ahead and behind:
        return _FULL
    if ones_ahead and ones_behind:
        return _SCALAR
    if ones_ahead and behind:
        return _ROW
    if ahead and ones_behind:
        return _COLUMN
    return None


def broadcast_plan(b, out_shape, values):
    """(rows, columns, modes, values): values broadcast as the kernels can, by a copy where they cannot."""
    best = None
    for axis in range(len(out_shape), -1, -1):
        if is_batched(out_shape) and axis == 0:
            continue
        modes = [_mode(v.shape, out_shape, axis) for v in values]
        if best is None or modes.count(None) < best[1].count(None):
            best = axis, modes
    axis, modes = best
    # A scalar out of one row is a full operand too: prefer whole arrays, so that the columns are long.
    values = list(values)
    for j, mode in enumerate(modes):
        if mode is None:
            from fastnn.ops.movement import lower_broadcast

            full = b.temporary(out_shape, values[j].dtype)
            lower_broadcast(b, full, values[j])
            values[j], modes[j] = full, _FULL
    rows, columns = lead(out_shape, axis)
    if all(m in (_FULL, _SCALAR) for m in modes):
        n = rows * columns
        rows, columns = (1, n) if is_batched(out_shape) else (n, 1)
    return rows, columns, modes, values


@register
class Binary(Op):
    """y = f(a, b) with NumPy's broadcasting, by the kernel of the function's name."""

    in_place = ((0, 0), (0, 1))

    def __init__(self, function):
        self.function = function

    @property
    def name(self):
        return self.function

    def infer(self, a, b):
        return Spec(broadcast_shapes(self.function, a.shape, b.shape), a.dtype)

    def gradient(self, node, dy):
        a, b = node.inputs
        y = node.outputs[0]
        f = self.function
        want_a, want_b = not is_constant(a), not is_constant(b)
        da = db = None
        if f == "add":
            da, db = dy, dy
        elif f == "subtract":
            da, db = dy, negative(dy) if want_b else None
        elif f == "multiply":
            da = multiply(dy, b) if want_a else None
            db = multiply(dy, a) if want_b else None
        elif f == "divide":
            da = divide(dy, b) if want_a else None
            db = negative(divide(multiply(dy, y), b)) if want_b else None
        elif f in ("maximum", "minimum"):
            # the larger (smaller) one takes the gradient; equal ones share it
            first = greater(a, b) if f == "maximum" else less(a, b)
            share = add(first, affine(equal(a, b), 0.5))
            da = multiply(dy, share) if want_a else None
            db = multiply(dy, affine(share, -1.0, 1.0)) if want_b else None
        elif f == "power":
            da = multiply(dy, multiply(b, power(a, affine(b, 1.0, -1.0)))) if want_a else None
            db = multiply(dy, multiply(y, log(a))) if want_b else None
        elif f == "squared_difference":
            da = multiply(dy, affine(subtract(a, b), 2.0))
            db = negative(da) if want_b else None
        elif f in _COMPARISONS:
            return None, None
        else:
            return super().gradient(node, dy)
        from fastnn.ops.movement import sum_to

        return (
            None if da is None else sum_to(da, a.shape),
            None if db is None else sum_to(db, b.shape),
        )

    def lower(self, b, outs, ins):
        rows, columns, modes, ins = broadcast_plan(b, outs[0].shape, ins)
        cost = size(outs[0].shape) * (_CHEAP if self.function in ("add", "subtract", "multiply") else _MATH)
        b.run(self.function, (*outs, *ins), (rows, columns, *modes, 0), cost=cost, batched=is_batched(outs[0].shape))


_COMPARISONS = (
    "equal", "not_equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or", "floor_divide",
)  # fmt: skip


@register
class AddRelu(Op):
    """y = max(a + b, 0), of one shape: what the compiler makes of a sum and a ReLU."""

    name = "add_relu"
    in_place = ((0, 0), (0, 1))

    def infer(self, a, b):
        return a

    def lower(self, b, outs, ins):
        shape = outs[0].shape
        n = size(shape)
        b.run(self.name, (*outs, *ins), (1, n) if is_batched(shape) else (n, 1), cost=n * _CHEAP,
              batched=is_batched(shape))  # fmt: skip


@register
class Where(Op):
    """y = a where c is not zero, else b."""

    name = "where"

    def infer(self, c, a, b):
        return Spec(broadcast_shapes("where", c.shape, a.shape, b.shape), a.dtype)

    def gradient(self, node, dy):
        from fastnn.ops.movement import sum_to

        c, a, b = node.inputs
        zero = 0.0
        return None, sum_to(where(c, dy, zero), a.shape), sum_to(where(c, zero, dy), b.shape)

    def lower(self, b, outs, ins):
        rows, columns, modes, ins = broadcast_plan(b, outs[0].shape, ins)
        b.run("where", (*outs, *ins), (rows, columns, *modes), cost=size(outs[0].shape) * _CHEAP,
              batched=is_batched(outs[0].shape))  # fmt: skip


@register
class Cast(Op):
    """Between the float types' one and int32 (towards zero)."""

    name = "cast"
    stops_gradient = True

    def __init__(self, dtype):
        self.dtype = dtype

    def infer(self, x):
        return Spec(x.shape, self.dtype)

    def gradient(self, node, dy):
        return (None,)

    def lower(self, b, outs, ins):
        n = size(outs[0].shape)
        batched = is_batched(outs[0].shape)
        kernel = "cast_int" if self.dtype == "int32" else "cast_real"
        b.run(kernel, (*outs, *ins), (1, n) if batched else (n, 1), cost=n * _CHEAP, batched=batched)


@register
class OneHot(Op):
    """(..., ) int32 -> (..., classes)."""

    name = "one_hot"
    stops_gradient = True

    def __init__(self, classes, dtype):
        self.classes = classes
        self.dtype = dtype

    def infer(self, x):
        return Spec((*x.shape, self.classes), self.dtype)

    def gradient(self, node, dy):
        return (None,)

    def lower(self, b, outs, ins):
        rows = size(ins[0].shape)
        b.run("one_hot", (*outs, *ins), (rows, self.classes), cost=rows * self.classes * _CHEAP,
              batched=is_batched(ins[0].shape))  # fmt: skip


@register
class EqualInt(Op):
    """1 where two int32 tensors of one shape agree, else 0."""

    name = "equal_int"
    stops_gradient = True

    def __init__(self, dtype):
        self.dtype = dtype

    def infer(self, a, b):
        if a.shape != b.shape:
            raise ValueError(f"equal: integer tensors must have one shape, got {a.shape} and {b.shape}")
        return Spec(a.shape, self.dtype)

    def gradient(self, node, dy):
        return None, None

    def lower(self, b, outs, ins):
        n = size(outs[0].shape)
        batched = is_batched(outs[0].shape)
        b.run("equal_int", (*outs, *ins), (1, n) if batched else (n, 1), cost=n * _CHEAP, batched=batched)


# ---- functions for users ----


def _unary(function, doc, parameters=()):
    def f(x):
        return apply(Unary(function, parameters), x)

    f.__name__ = f.__qualname__ = function
    f.__doc__ = doc
    return f


exp = _unary("exp", "e^x of each element.")
expm1 = _unary("expm1", "e^x - 1, accurate near 0.")
log = _unary("log", "Natural logarithm.")
log1p = _unary("log1p", "log(1 + x), accurate near 0.")
sqrt = _unary("sqrt", "Square root.")
rsqrt = _unary("rsqrt", "1 / sqrt(x).")
square = _unary("square", "x^2.")
absolute = _unary("abs", "|x|; the derivative at 0 is 0.")
negative = _unary("negative", "-x.")
sign = _unary("sign", "-1, 0 or 1.")
reciprocal = _unary("reciprocal", "1 / x.")
sin = _unary("sin", "Sine of radians.")
cos = _unary("cos", "Cosine of radians.")
erf = _unary("erf", "The error function.")
floor = _unary("floor", "Largest integer not above x.")
ceil = _unary("ceil", "Smallest integer not below x.")
round = _unary("round", "Nearest integer, halves to even.")
tanh = _unary("tanh", "Hyperbolic tangent.")
sigmoid = _unary("sigmoid", "1 / (1 + e^-x).")
relu = _unary("relu", "max(x, 0); the derivative at 0 is 0.")
relu6 = _unary("relu6", "min(max(x, 0), 6).")
selu = _unary("selu", "scale * elu(x, alpha), Klambauer et al. 2017: alpha 1.67326, scale 1.0507.")
softplus = _unary("softplus", "log(1 + e^x).")
softsign = _unary("softsign", "x / (1 + |x|).")
hard_sigmoid = _unary("hard_sigmoid", "relu6(x + 3) / 6.")
hard_swish = _unary("hard_swish", "x * relu6(x + 3) / 6.")
hard_tanh = _unary("hard_tanh", "x cut to [-1, 1].")
mish = _unary("mish", "x * tanh(softplus(x)), Misra 2019.")
log_sigmoid = _unary("log_sigmoid", "log(sigmoid(x)).")
tanh_shrink = _unary("tanh_shrink", "x - tanh(x).")
silu = _unary("swish", "x * sigmoid(x), also called Swish.", (1.0,))
isnan = _unary("isnan", "1 where x is not a number, else 0.")
isfinite = _unary("is_finite", "1 where x is finite, else 0.")
hard_silu = hard_swish
abs = absolute


def swish(x, beta=1.0):
    """x * sigmoid(beta x), Ramachandran et al. 2017."""
    return apply(Unary("swish", (beta,)), x)


def leaky_relu(x, negative_slope=0.2):
    """x where positive, else negative_slope * x."""
    return apply(Unary("leaky_relu", (negative_slope,)), x)


def elu(x, alpha=1.0):
    """x where positive, else alpha * (e^x - 1), Clevert et al. 2015."""
    return apply(Unary("elu", (alpha,)), x)


def celu(x, alpha=1.0):
    """max(x, 0) + min(alpha * (e^(x / alpha) - 1), 0), Barron 2017."""
    return apply(Unary("celu", (alpha,)), x)


def gelu(x, approximate=True):
    """x * Phi(x), Hendrycks and Gimpel 2016. `approximate`: True or "tanh", False or "none" (exact, by erf), or
    "sigmoid" (x * sigmoid(1.702 x))."""
    names = {True: "gelu_tanh", "tanh": "gelu_tanh", False: "gelu", "none": "gelu", "sigmoid": "gelu_sigmoid"}
    if approximate not in names:
        raise ValueError(f"gelu: approximate must be True, False, 'tanh', 'none' or 'sigmoid', got {approximate!r}")
    return apply(Unary(names[approximate]), x)


def hard_shrink(x, threshold=0.5):
    """x where |x| > threshold, else 0."""
    return apply(Unary("hard_shrink", (threshold,)), x)


def soft_shrink(x, threshold=0.5):
    """x moved towards 0 by threshold, 0 within it."""
    return apply(Unary("soft_shrink", (threshold,)), x)


def threshold(x, threshold, default_value):
    """x where x > threshold, else default_value."""
    return apply(Unary("threshold", (threshold, default_value)), x)


def squareplus(x, b=4):
    """(x + sqrt(x^2 + b)) / 2, Barron 2021."""
    return apply(Unary("squareplus", (b,)), x)


def affine(x, scale, shift=0.0):
    """scale * x + shift, two numbers."""
    return apply(Unary("affine", (scale, shift)), x)


def copy(x):
    """x in memory of its own."""
    return apply(Unary("copy"), x)


def clip(x, x_min, x_max):
    """x cut to [x_min, x_max]; the derivative is 1 inside and at the ends, 0 outside."""
    if x_min > x_max:
        raise ValueError(f"clip: x_min must not be above x_max, got {x_min} and {x_max}")
    return apply(Unary("clip", (x_min, x_max)), x)


def _number(x):
    """x as a float if it is a plain number, else None."""
    if isinstance(x, (bool, int, float, np.integer, np.floating)):
        return float(x)
    return None


def _symbolic(*xs):
    return any(isinstance(x, (Tensor, Variable)) for x in xs)


def add(x1, x2):
    """x1 + x2."""
    if _symbolic(x1, x2):
        if _number(x2) is not None:
            return affine(x1, 1.0, _number(x2))
        if _number(x1) is not None:
            return affine(x2, 1.0, _number(x1))
    return apply(Binary("add"), x1, x2)


def subtract(x1, x2):
    """x1 - x2."""
    if _symbolic(x1, x2):
        if _number(x2) is not None:
            return affine(x1, 1.0, -_number(x2))
        if _number(x1) is not None:
            return affine(x2, -1.0, _number(x1))
    return apply(Binary("subtract"), x1, x2)


def multiply(x1, x2):
    """x1 * x2."""
    if _symbolic(x1, x2):
        if _number(x2) is not None:
            return affine(x1, _number(x2))
        if _number(x1) is not None:
            return affine(x2, _number(x1))
    return apply(Binary("multiply"), x1, x2)


def divide(x1, x2):
    """x1 / x2."""
    if _symbolic(x1, x2) and _number(x1) is not None:
        return affine(reciprocal(x2), _number(x1))
    return apply(Binary("divide"), x1, x2)


def power(x1, x2):
    """x1 to the power of x2."""
    if _symbolic(x1, x2) and _number(x2) is not None:
        exponent = _number(x2)
        return square(x1) if exponent == 2 else apply(Unary("power_scalar", (exponent,)), x1)
    return apply(Binary("power"), x1, x2)


def _binary(function, doc):
    def f(x1, x2):
        return apply(Binary(function), x1, x2)

    f.__name__ = f.__qualname__ = function
    f.__doc__ = doc
    return f


maximum = _binary("maximum", "The larger of two; equal ones share the gradient.")
minimum = _binary("minimum", "The smaller of two; equal ones share the gradient.")
squared_difference = _binary("squared_difference", "(x1 - x2)^2.")
floor_divide = _binary("floor_divide", "Largest integer not above x1 / x2.")
greater = _binary("greater", "1 where x1 > x2, else 0.")
greater_equal = _binary("greater_equal", "1 where x1 >= x2, else 0.")
less = _binary("less", "1 where x1 < x2, else 0.")
less_equal = _binary("less_equal", "1 where x1 <= x2, else 0.")
not_equal = _binary("not_equal", "1 where x1 != x2, else 0.")
logical_and = _binary("logical_and", "1 where neither is 0, else 0.")
logical_or = _binary("logical_or", "1 where one is not 0, else 0.")
true_divide = divide


def equal(x1, x2):
    """1 where x1 == x2, else 0."""
    dtypes = [str(getattr(x, "dtype", "")) for x in (x1, x2)]
    if dtypes == ["int32", "int32"]:
        from fastnn import config

        return apply(EqualInt(config.floatx()), x1, x2, dtypes=["int32", "int32"])
    return apply(Binary("equal"), x1, x2)


def logical_not(x):
    """1 where x is 0, else 0."""
    return equal(x, 0.0)


def where(condition, x1, x2):
    """x1 where condition is not 0, else x2."""
    return apply(Where(), condition, x1, x2, dtypes=[common_dtype((condition, x1, x2), "where")] * 3)


def cast(x, dtype):
    """x as "float32", "float64" (the type the rest of the graph has) or "int32"."""
    from fastnn import config

    dtype = str(np.dtype(dtype)) if not isinstance(dtype, str) else dtype
    if dtype in ("int64", "int16", "int8", "uint8"):
        dtype = "int32"
    if dtype == "bool":
        return not_equal(x, 0.0)
    if dtype not in ("float32", "float64", "int32"):
        raise ValueError(f"cast: dtype must be float32, float64 or int32, got {dtype!r}")
    if not isinstance(x, (Tensor, Variable)):
        return np.asarray(x).astype(dtype)
    if x.dtype == dtype:
        return x
    if "int32" not in (dtype, x.dtype):
        raise TypeError(f"cast: a graph has one float type; {x!r} cannot become {dtype} ({config.floatx()} is default)")
    return apply(Cast(dtype), x, dtypes=[x.dtype])


def one_hot(x, num_classes, axis=-1, dtype=None):
    """1 at each class id along a new last axis, else 0. x: int32 ids."""
    from fastnn import config

    if axis != -1:
        raise ValueError(f"one_hot: only axis=-1 is supported, got {axis}; transpose the result")
    if not isinstance(x, (Tensor, Variable)):
        x = np.asarray(x).astype(np.int32)
    elif x.dtype != "int32":
        x = cast(x, "int32")
    return apply(OneHot(num_classes, dtype or config.floatx()), x, dtypes=["int32"])


def stop_gradient(x):
    """x, through which no gradient flows."""
    if isinstance(x, (Tensor, Variable)):
        return make(StopGradient(), as_tensor(x, x.dtype))[0]
    return x


@register
class StopGradient(Op):
    """y = x without a gradient."""

    name = "stop_gradient"
    is_view = True
    stops_gradient = True

    def infer(self, x):
        return x

    def gradient(self, node, dy):
        return (None,)
