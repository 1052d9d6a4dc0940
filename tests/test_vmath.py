"""The elementary functions of vmath.h against long double and mpmath, in units in the last place, on one ISA a run.

The limits are those the heads in vmath.h state. Kernels treat denormals as 0.
"""

import itertools

import mpmath
import numpy as np
import pytest

from fastnn import kernels

LONG = np.longdouble
LIMITS = {  # ulp, float32 and float64
    "exp": (1.0, 1.0),
    "expm1": (1.5, 2.0),
    "log": (0.8, 0.9),
    "log1p": (1.5, 1.5),
    "tanh": (2.3, 2.6),
    "sigmoid": (2.3, 2.3),
    "softplus": (1.9, 1.9),
    "erf": (1.5, 1.5),
    "sin": (1.5, 2.5),
    "cos": (1.5, 2.5),
    "sqrt": (0.5, 0.5),
    "rsqrt": (1.5, 1.5),
    "reciprocal": (0.5, 0.5),
}


def _log(x):
    return np.where(x < 0, LONG(np.nan), np.log(np.abs(x)))


REFERENCE = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": _log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "sin": np.sin,
    "cos": np.cos,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
}


def by_mpmath(function, *arguments):
    """Exact values as long double (twice the digits of a double)."""
    result = []
    with mpmath.workprec(160):
        for values in zip(*arguments, strict=True):
            exact = function(*(mpmath.mpf(float(v)) for v in values))
            high = float(exact)
            result.append(LONG(high) + LONG(float(exact - high)) if np.isfinite(high) else LONG(high))
    return np.array(result, LONG)


def samples(dtype, count, rng):
    """Every order of magnitude of both signs, the ranges where something happens, edges."""
    info = np.finfo(dtype)
    bits = np.int32 if dtype == np.float32 else np.int64
    smallest, largest = (np.array([v], dtype).view(bits)[0] for v in (info.tiny, info.max))
    magnitudes = rng.integers(smallest, largest, count, dtype=bits, endpoint=True).view(dtype)
    wide = 100 if dtype == np.float32 else 750
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, info.max, -info.max, info.tiny, -info.tiny, 88.72, 88.73]
    edges += [-87.33, -87.34, -103, 709.78, 709.79, -708.39, -708.4, 2 / 3, 4 / 3, -1 / 3, 1 / 3, 1 + info.eps]
    return np.concatenate([
        magnitudes,
        -magnitudes,
        rng.uniform(-wide, wide, count).astype(dtype),
        rng.uniform(-1, 1, count).astype(dtype),
        rng.uniform(-10, 10, count).astype(dtype),
        (1 + rng.uniform(-1e-3, 1e-3, count)).astype(dtype),
        (rng.integers(-2000, 2000, count) * np.pi / 4).astype(dtype),
        np.array(edges, dtype),
    ])  # fmt: skip


def ulps(y, exact):
    """Distances from the exact values; 0 where a denormal became 0, or the largest numbers infinite, as they should."""
    info = np.finfo(y.dtype)
    size = np.maximum(np.abs(exact), LONG(info.tiny))
    with np.errstate(all="ignore"):
        ulp = np.exp2(np.floor(np.log2(size))) * LONG(info.eps)
        error = np.abs(y.astype(LONG) - exact) / ulp
    error[(np.abs(exact) < LONG(info.tiny) * (1 + 1e-6)) & (y == 0)] = 0
    overflow = np.abs(exact) >= LONG(info.max) * (1 + LONG(info.eps) / 4)
    error[overflow & np.isinf(y) & (np.sign(y) == np.sign(exact))] = 0
    error[(y == exact) | (np.isnan(y) & np.isnan(exact))] = 0
    error[np.isnan(error)] = np.inf
    return error


def check(y, exact, limit, *arguments):
    error = ulps(y, exact)
    worst = int(np.argmax(error))
    assert error[worst] <= limit, (
        f"{error[worst]:.3g} ulp at {[a[worst] for a in arguments]}: {y[worst]!r}, not {exact[worst]!r}"
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_error_in_ulp(name, dtype):
    x = samples(dtype, 40_000, np.random.default_rng(1))
    with np.errstate(all="ignore"):
        exact = REFERENCE[name](x.astype(LONG))
    check(getattr(kernels, name)(x), exact, LIMITS[name][dtype == np.float64], x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf(dtype):
    x = samples(dtype, 1500, np.random.default_rng(2))
    x = x[np.isfinite(x) & ((np.abs(x) > 8.5 * np.finfo(dtype).tiny) | (x == 0))]
    check(kernels.erf(x), by_mpmath(mpmath.erf, x), LIMITS["erf"][dtype == np.float64], x)
    edges = kernels.erf(np.array([np.inf, -np.inf, np.nan, -0.0], dtype))
    np.testing.assert_array_equal(edges, [1, -1, np.nan, 0])
    assert np.signbit(edges[3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_keeps_its_relative_precision_in_the_tail(dtype):
    low = -12.5 if dtype == np.float32 else -37.0
    x = np.random.default_rng(3).uniform(low, 5, 4000).astype(dtype)
    exact = by_mpmath(lambda t: t * mpmath.erfc(-t / mpmath.sqrt(2)) / 2, x)
    check(kernels.gelu(x), exact, 8.0 if dtype == np.float64 else 6.0, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sin", "erf"])
def test_odd_functions_keep_the_sign_of_zero(name, dtype):
    y = getattr(kernels, name)(np.array([0.0, -0.0], dtype))
    np.testing.assert_array_equal(np.signbit(y), [False, True])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sine_and_cosine_of_huge_arguments(dtype):
    """sin(2^k) for all k: the reduction needs up to a thousand digits of 2 / pi."""
    x = np.ldexp(1.0, np.arange(0, 127 if dtype == np.float32 else 1023)).astype(dtype)
    with mpmath.workprec(1200):
        sines = np.array([LONG(str(mpmath.sin(mpmath.mpf(float(v))))) for v in x])
        cosines = np.array([LONG(str(mpmath.cos(mpmath.mpf(float(v))))) for v in x])
    check(kernels.sin(x), sines, 2.5, x)
    check(kernels.cos(x), cosines, 2.5, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_power(dtype):
    rng, n = np.random.default_rng(4), 2500
    x = np.concatenate([np.exp(rng.uniform(-20, 20, n)), rng.uniform(0.5, 2, n), 1 + rng.uniform(-0.01, 0.01, n)])
    y = np.concatenate([rng.uniform(-5, 5, n), rng.uniform(-125, 125, n), rng.uniform(-8000, 8000, n)])
    x, y = x.astype(dtype), y.astype(dtype)
    exact = by_mpmath(mpmath.power, x, y)
    check(kernels.power(x, y), exact, 20 if dtype == np.float64 else 4, x, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_power_special_cases(dtype):
    """The table of C's pow(); NumPy follows it."""
    special = [0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e10, -1e10]
    x, y = (np.array(v, dtype) for v in zip(*itertools.product(special, special), strict=True))
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    expected[np.abs(expected) < np.finfo(dtype).tiny] *= 0
    result = kernels.power(x, y)
    np.testing.assert_allclose(result, expected, rtol=4 * np.finfo(dtype).eps)
    finite = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result)[finite], np.signbit(expected)[finite])
