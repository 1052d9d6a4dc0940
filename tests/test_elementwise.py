"""Functions of each element against NumPy in float64, their gradients against central differences."""

import itertools
import math

import numpy as np
import pytest

from fastnn import _core, kernels
from fastnn.kernels.elementwise import GRAD_FROM, PARAMETERS

DTYPES = [np.float32, np.float64]
SIZES = [0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 64, 101]

_phi = np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2, otypes=[np.float64])
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


REFERENCE = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x, a: np.where(x > 0, x, a * x),
    "elu": lambda x, a: np.where(x > 0, x, a * np.expm1(x)),
    "celu": lambda x, a: np.where(x > 0, x, a * np.expm1(x / a)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "gelu": lambda x: x * _phi(x),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_sigmoid": lambda x: x * _sigmoid(1.702 * x),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "swish": lambda x, b: x * _sigmoid(b * x),
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_shrink": lambda x, t: np.where(np.abs(x) > t, x, 0),
    "soft_shrink": lambda x, t: np.sign(x) * np.maximum(np.abs(x) - t, 0),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "threshold": lambda x, t, v: np.where(x > t, x, v),
    "relu6": lambda x: np.clip(x, 0, 6),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "log_sigmoid": lambda x: -_softplus(-x),
    "squareplus": lambda x, b: (x + np.sqrt(x * x + b)) / 2,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "square": np.square,
    "abs": np.abs,
    "negative": np.negative,
    "reciprocal": np.reciprocal,
    "sin": np.sin,
    "cos": np.cos,
    "erf": _erf,
    "affine": lambda x, a, b: a * x + b,
    "power_scalar": lambda x, a: x**a,
    "clip": np.clip,
    "copy": np.copy,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "isnan": lambda x: np.isnan(x) * 1.0,
    "is_finite": lambda x: np.isfinite(x) * 1.0,
}
GIVEN = {"threshold": (0.3, -0.7), "affine": (1.5, -0.25), "power_scalar": (2.5,), "clip": (-0.8, 1.1), "swish": (1.3,)}
POSITIVE = {"log", "log1p", "sqrt", "rsqrt", "reciprocal", "power_scalar"}


def parameters(name):
    return GIVEN.get(name, tuple(default for _, default, _ in PARAMETERS.get(name, ())))


def inputs(name, size, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.1, 5, size) if name in POSITIVE else rng.uniform(-7, 7, size)
    return x.astype(dtype)


def test_every_function_has_a_reference():
    assert set(REFERENCE) == set(GRAD_FROM) | {"sign", "floor", "ceil", "round", "isnan", "is_finite"}
    for name in REFERENCE:
        assert name in _core.KERNELS and (name not in GRAD_FROM or f"{name}_grad" in _core.KERNELS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_value(name, dtype):
    """Within 10 eps of the largest magnitude met on the way (tanh_shrink, selu and others subtract)."""
    for size in SIZES:
        x = inputs(name, size, dtype)
        expected = REFERENCE[name](x.astype(np.float64), *parameters(name))
        y = getattr(kernels, name)(x, *parameters(name))
        assert y.dtype == dtype
        scale = np.maximum(np.abs(expected), np.minimum(np.abs(x.astype(np.float64)), 1))
        assert np.all(np.abs(y - expected) <= 10 * np.finfo(dtype).eps * scale), name
        same = x.copy()
        assert getattr(kernels, name)(same, *parameters(name), out=same) is same
        np.testing.assert_array_equal(same, y)


@pytest.mark.parametrize("name", sorted(GRAD_FROM))
def test_gradient_is_the_central_difference(name):
    """float64, h = 1e-6: truncation 1e-12 and rounding 1e-10 of the values. Away from kinks."""
    x = inputs(name, 200, np.float64, 1)
    for kink in (0, 1, -1, 3, -3, 6, 0.5, -0.5, *parameters(name)):
        x = x[np.abs(x - kink) > 1e-4]
    function, h = REFERENCE[name], 1e-6
    slope = (function(x + h, *parameters(name)) - function(x - h, *parameters(name))) / (2 * h)
    dy = np.random.default_rng(2).normal(size=x.size)
    s = function(x, *parameters(name)) if GRAD_FROM[name] == "y" else x
    dx = getattr(kernels, f"{name}_grad")(dy, s, *parameters(name))
    np.testing.assert_allclose(dx, dy * slope, rtol=1e-6, atol=3e-8)


@pytest.mark.parametrize("name", sorted(GRAD_FROM))
def test_gradient_in_float32_accumulates_and_works_in_place(name):
    for size in SIZES:
        x = inputs(name, size, np.float32, 3)
        s = getattr(kernels, name)(x, *parameters(name)) if GRAD_FROM[name] == "y" else x
        gradient, dy = getattr(kernels, f"{name}_grad"), np.random.default_rng(4).normal(size=size).astype(np.float32)
        dx = gradient(dy, s, *parameters(name))
        exact = gradient(dy.astype(np.float64), s.astype(np.float64), *parameters(name))
        # 1 - s of sigmoid and tanh, sums in the slopes of gelu and swish: absolute, not relative, precision
        np.testing.assert_allclose(dx, exact, rtol=2e-5, atol=2e-6)
        total = np.ones_like(dy)
        gradient(dy, s, *parameters(name), out=total, accumulate=True)
        np.testing.assert_allclose(total, 1 + dx, rtol=1e-6, atol=1e-6)
        in_place = dy.copy()
        gradient(in_place, s, *parameters(name), out=in_place)
        np.testing.assert_array_equal(in_place, dx)


@pytest.mark.parametrize(
    "name, s, slope",
    [
        ("relu", 0, 0), ("leaky_relu", 0, 0.2), ("elu", 0, 1), ("selu", 0, 1.7580993408473766), ("celu", 0, 1),
        ("abs", 0, 0), ("hard_tanh", 0, 1), ("hard_tanh", 1, 0), ("hard_tanh", -1, 0), ("relu6", 6, 0),
        ("hard_sigmoid", 3, 0), ("hard_swish", -3, 0), ("hard_shrink", 0.5, 0), ("soft_shrink", -0.5, 0),
    ],
)  # fmt: skip
def test_derivative_at_kinks(name, s, slope):
    result = getattr(kernels, f"{name}_grad")(np.ones(3), np.full(3, float(s)))
    np.testing.assert_allclose(result, slope, rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits(dtype):
    x = np.array([-np.inf, np.inf, np.nan], dtype)
    for name, low, high in [
        ("relu", 0, np.inf), ("elu", -1, np.inf), ("gelu", 0, np.inf), ("gelu_tanh", 0, np.inf), ("sigmoid", 0, 1),
        ("tanh", -1, 1), ("swish", 0, np.inf), ("softplus", 0, np.inf), ("mish", 0, np.inf), ("exp", 0, np.inf),
        ("log_sigmoid", -np.inf, 0), ("relu6", 0, 6), ("hard_sigmoid", 0, 1), ("hard_swish", 0, np.inf),
        ("erf", -1, 1), ("sign", -1, 1),
    ]:  # fmt: skip
        np.testing.assert_array_equal(getattr(kernels, name)(x), [low, high, np.nan], err_msg=name)
    np.testing.assert_array_equal(kernels.isnan(x), [0, 0, 1])
    np.testing.assert_array_equal(kernels.is_finite(np.append(x, dtype(3))), [0, 0, 0, 1])
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1e10, -0.0], dtype)
    for name in ("round", "floor", "ceil"):
        expected = getattr(np, name)(halves)
        np.testing.assert_array_equal(getattr(kernels, name)(halves), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_squareplus_of_any_size(dtype):
    """Neither its square's overflow nor the cancellation below 0 shows."""
    root = np.finfo(dtype).max ** 0.5
    x = np.array([-np.inf, -4 * root, -5000, 4 * root, np.inf, np.nan], dtype)
    expected = np.array([0, 1 / (4 * root), 1 / 5000, 4 * root, np.inf, np.nan], dtype)
    np.testing.assert_allclose(kernels.squareplus(x), expected, rtol=1e-6)
    np.testing.assert_allclose(kernels.squareplus_grad(np.ones(6, dtype), x), [0, 0, 4e-8, 1, 1, np.nan], atol=1e-7)
    zero = np.zeros(1, dtype)
    assert kernels.squareplus(zero, 0) == 0 and kernels.squareplus_grad(zero + 1, zero, 0) == 0.5


BINARIES = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "squared_difference": lambda a, b: (a - b) ** 2, "floor_divide": np.floor_divide,
    "mod": np.mod, "equal": np.equal, "not_equal": np.not_equal, "greater": np.greater,
    "greater_equal": np.greater_equal, "less": np.less, "less_equal": np.less_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "power": lambda a, b: np.power(np.abs(a), b),
}  # fmt: skip
SHAPES = [
    ((), ()), ((1,), (17,)), ((17,), ()), ((5, 17), (17,)), ((5, 17), (5, 1)), ((5, 1), (1, 17)), ((17,), (5, 17)),
    ((3, 4, 5), (4, 5)), ((3, 4, 5), (3, 1, 1)), ((3, 4, 5), (1, 4, 1)), ((3, 1, 5), (4, 1)), ((0, 3), (3,)),
    ((2, 3, 4, 5), (2, 3, 1, 1)), ((16, 33), (16, 33)), ((7, 1), (7, 1)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(BINARIES))
def test_binary(name, dtype):
    rng = np.random.default_rng(5)
    for shape_a, shape_b in SHAPES:
        a = np.array(rng.integers(-4, 5, shape_a) + rng.integers(0, 2, shape_a) * 0.25, dtype)
        b = np.array(rng.integers(-3, 4, shape_b) + rng.integers(0, 2, shape_b) * 0.5, dtype)
        if name == "power":
            a = np.array(np.abs(a), dtype)
        with np.errstate(all="ignore"):
            expected = BINARIES[name](a.astype(np.float64), b.astype(np.float64))
        y = getattr(kernels, name)(a, b)
        np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(dtype).eps, err_msg=f"{shape_a} {shape_b}")
        total = np.ones(y.shape, dtype)
        getattr(kernels, name)(a, b, out=total, accumulate=True)
        np.testing.assert_allclose(total, y + dtype(1), rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


def test_nan_wins_in_maximum_and_minimum():
    special = [0.0, 1.0, np.nan, np.inf, -np.inf]
    a, b = (np.array(v) for v in zip(*itertools.product(special, special), strict=True))
    np.testing.assert_array_equal(kernels.maximum(a, b), np.maximum(a, b))
    np.testing.assert_array_equal(kernels.minimum(a, b), np.minimum(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
def test_mod_and_floor_divide_are_exact(dtype):
    rng = np.random.default_rng(6)
    a, b = rng.normal(0, 1e4, 5000).astype(dtype), rng.normal(0, 3, 5000).astype(dtype)
    a = np.append(a, np.array([1, -1, 0, 5, -5, 1, 1], dtype))
    b = np.append(b, np.array([np.inf, np.inf, 3, -np.inf, -np.inf, 0, np.nan], dtype))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(kernels.mod(a, b), np.mod(a, b))
        np.testing.assert_array_equal(kernels.floor_divide(a, b), np.floor_divide(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_and_the_rest(dtype):
    rng = np.random.default_rng(7)
    for shapes in [((5, 17),) * 3, ((5, 1), (17,), ()), ((17,), (5, 17), (5, 1)), ((3, 1, 2), (4, 1), (3, 4, 2))]:
        c, a, b = (np.array(rng.normal(size=s), dtype) for s in shapes)
        c = np.array(c > 0, dtype)
        np.testing.assert_array_equal(kernels.where(c, a, b), np.where(c != 0, a, b))
    a, b, c = (rng.normal(size=(5, 33)).astype(dtype) for _ in range(3))
    np.testing.assert_allclose(kernels.multiply_add(a, b, c), a * b + c, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(kernels.add_relu(a, b), np.maximum(a + b, 0))
    i, j = (rng.integers(0, 3, (4, 19), dtype=np.int32) for _ in range(2))
    np.testing.assert_array_equal(kernels.equal_int(i, j, dtype=dtype), i == j)
    np.testing.assert_array_equal(kernels.cast_int((a * 9).astype(dtype)), (a * 9).astype(dtype).astype(np.int32))
    np.testing.assert_array_equal(kernels.cast_real(i, dtype=dtype), i.astype(dtype))
    np.testing.assert_array_equal(kernels.one_hot(i, 3, dtype=dtype), np.eye(3)[i])
    assert not kernels.one_hot(np.array([-1, 3], np.int32), 3).any()


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh"])
def test_same_bits_for_any_number_of_threads(name):
    x, results = inputs(name, 200_003, np.float32), []
    before = _core.get_threads()
    try:
        for threads in (1, 2, 3, 8):
            _core.set_threads(threads)
            results.append(getattr(kernels, name)(x).tobytes() + kernels.add(x, x[:1]).tobytes())
    finally:
        _core.set_threads(before)
    assert len(set(results)) == 1


def test_wrong_arguments_are_refused():
    x = np.ones((4, 6), np.float32)
    with pytest.raises(TypeError, match="relu: x must be float32 or float64, got int64"):
        kernels.relu(np.ones(3, np.int64))
    with pytest.raises(ValueError, match="C-contiguous"):
        kernels.relu(x.T)
    with pytest.raises(ValueError, match=r"relu: out must have shape \(4, 6\)"):
        kernels.relu(x, out=np.ones((6, 4), np.float32))
    with pytest.raises(ValueError, match="negative_slope must be at least 0"):
        kernels.leaky_relu(x, -1)
    with pytest.raises(TypeError, match="one dtype"):
        kernels.add(x, x.astype(np.float64))
    with pytest.raises(ValueError, match="do not broadcast"):
        kernels.add(x, np.ones(5, np.float32))
    with pytest.raises(ValueError, match="must not share memory"):
        flat = np.ones(10, np.float32)
        kernels.relu(flat[:-1], out=flat[1:])
    with pytest.raises(ValueError, match="pass the array to add to"):
        kernels.relu_grad(x, x, accumulate=True)
    with pytest.raises(ValueError, match="minimum 2 must not be above maximum 1"):
        kernels.clip(x, 2, 1)
    with pytest.raises(TypeError, match="alpha must be a number"):
        kernels.elu(x, "a")
