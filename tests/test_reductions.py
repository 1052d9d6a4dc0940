"""Reductions against NumPy in float64."""

import itertools
import math

import numpy as np
import pytest

from fastnn import _core, kernels

DTYPES = [np.float32, np.float64]
REFERENCE = {
    "sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod, "argmax": np.argmax,
    "argmin": np.argmin, "logsumexp": lambda x, axis: np.log(np.sum(np.exp(x), axis=axis)),
}  # fmt: skip
SHAPES = [(1,), (7,), (16,), (17,), (33,), (129,), (5, 1), (3, 17), (40, 10), (4, 5, 6), (2, 65, 3), (2, 3, 4, 65)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_along_every_choice_of_axes(name, dtype):
    """Sums of up to 1560 terms of size 1: within 20 eps of the sum of the magnitudes."""
    rng = np.random.default_rng(1)
    for shape in SHAPES:
        x = (rng.normal(size=shape) * (0.3 if name == "prod" else 1) + (name == "prod")).astype(dtype)
        n = len(shape)
        choices = [None, *range(-n, n)]
        if not name.startswith("arg"):
            choices += [c for k in range(2, n + 1) for c in itertools.combinations(range(n), k)]
        for axis in choices:
            exact = x.astype(np.float64)
            expected = REFERENCE[name](exact, axis=axis)
            y = getattr(kernels, name)(x, axis)
            if name.startswith("arg"):
                assert y.dtype == np.int32
                np.testing.assert_array_equal(y, expected)
                continue
            assert y.dtype == dtype and y.shape == np.shape(expected)
            size = np.sum(np.abs(exact), axis=axis) if name == "sum" else np.abs(expected) + 1
            terms = math.sqrt(x.size) if name == "prod" else 1
            assert np.all(np.abs(y - expected) <= 20 * terms * np.finfo(dtype).eps * size), (name, shape, axis)
            kept = getattr(kernels, name)(x, axis, keepdims=True)
            np.testing.assert_array_equal(kept.reshape(y.shape), y)
            assert kept.ndim == n


def test_long_sums_stay_accurate():
    """A million terms of 0.1: one float32 chain would be off by 1 %."""
    x = np.full((1_000_003, 1), 0.1, np.float32)
    exact = x.astype(np.float64).sum()
    for y in (kernels.sum(x), kernels.sum(x, 0)[0], kernels.sum(x.reshape(1, -1, 1), 1)[0, 0]):
        assert abs(float(y) - exact) <= 20 * np.finfo(np.float32).eps * exact


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinities(dtype):
    x = np.zeros((3, 40), dtype)
    x[0, 33] = np.nan
    x[1, 5] = np.inf
    x[2] = -np.inf
    np.testing.assert_array_equal(kernels.max(x, 1), [np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(kernels.min(x, 1), [np.nan, 0, -np.inf])
    np.testing.assert_array_equal(kernels.max(x[:, :, None].copy(), 1)[:, 0], [np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(kernels.logsumexp(x, 1), [np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(kernels.argmax(x, 1), [33, 5, 0])
    np.testing.assert_array_equal(kernels.logsumexp(np.array([1000.0, 1000.0], dtype)), dtype(1000 + math.log(2)))


def test_empty():
    assert kernels.sum(np.ones((0, 3))).item() == 0
    np.testing.assert_array_equal(kernels.sum(np.ones((0, 3)), 0), [0, 0, 0])
    assert kernels.sum(np.ones((0, 3)), 1).shape == (0,)
    with pytest.raises(ValueError, match="max: nothing to reduce"):
        kernels.max(np.ones((0, 3)), 0)
    with pytest.raises(ValueError, match=r"sum: axis must be within \[-2, 2\), got 2"):
        kernels.sum(np.ones((2, 3)), 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_accumulate_mean(dtype):
    rng = np.random.default_rng(2)
    acc, top, bottom = np.zeros(2), 0.0, 0.0
    for rows, cols in [(1, 1), (13, 1), (5, 7), (64, 100)]:
        values, weights = rng.normal(size=(rows, cols)).astype(dtype), rng.uniform(0, 2, rows).astype(dtype)
        kernels.accumulate_mean(acc, values, weights)
        kernels.accumulate_mean(acc, values)
        top += (values.astype(float) * weights[:, None]).sum() + values.sum(dtype=float)
        bottom += weights.sum(dtype=float) * cols + rows * cols
    np.testing.assert_allclose(acc, [top, bottom], rtol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm(dtype):
    rng = np.random.default_rng(3)
    for n in (0, 1, 17, 16384, 16385, 100_003):
        x = rng.normal(size=n).astype(dtype)
        assert kernels.norm(x) == pytest.approx(np.sqrt(np.sum(x.astype(float) ** 2)), rel=1e-12, abs=0)
    assert kernels.norm(np.full(100, 1e30, np.float32)) == pytest.approx(1e31)


def test_same_bits_for_any_number_of_threads():
    x, results = np.random.default_rng(4).normal(size=(3001, 333)).astype(np.float32), []
    before = _core.get_threads()
    try:
        for threads in (1, 2, 3, 8):
            _core.set_threads(threads)
            parts = [kernels.sum(x, 0), kernels.sum(x, 1), kernels.mean(x, 0), np.float64(kernels.norm(x))]
            results.append(b"".join(p.tobytes() for p in parts))
    finally:
        _core.set_threads(before)
    assert len(set(results)) == 1
