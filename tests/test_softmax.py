"""softmax, log_softmax and their gradients against float64 NumPy."""

import numpy as np
import pytest

from fastnn import _core
from fastnn.kernels import losses as kernels

COLUMNS = [1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 64, 65, 100, 1000]
ROWS = [1, 2, 15, 16, 17, 37]
REALS = [np.float32, np.float64]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def draw(rows, cols, dtype, spread=4.0, seed=0):
    return (np.random.default_rng([seed, rows, cols]).standard_normal((rows, cols)) * spread).astype(dtype)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("cols", COLUMNS)
def test_forward(cols, dtype):
    eps = np.finfo(dtype).eps
    for rows in ROWS:
        x = draw(rows, cols, dtype)
        exact = x.astype(np.float64)
        y = kernels.softmax(x)
        # x - max is off by half an ulp of x, which exp turns into as many ulps of y
        np.testing.assert_allclose(y, softmax(exact), rtol=(8 + np.abs(x).max()) * eps, atol=0)
        y = kernels.log_softmax(x)
        np.testing.assert_allclose(y, log_softmax(exact), rtol=0, atol=4 * np.abs(x).max() * eps + 4 * eps)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("cols", [2, 10, 16, 20, 40])
def test_extremes(cols, dtype):
    x = draw(5, cols, dtype)
    x[0, 1] = -np.inf
    x[1] += 1e30
    x[2] = 1e4
    x[2, 0] = -1e4
    x[3, 0] = np.inf
    x[4, 0] = np.nan
    y, z = kernels.softmax(x), kernels.log_softmax(x)
    assert y[0, 1] == 0 and z[0, 1] == -np.inf
    for row in (0, 1, 2):
        np.testing.assert_allclose(y[row].sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(y[2, 1:], 1 / (cols - 1), rtol=1e-6)
    assert np.isnan(y[3, 0]) and np.isnan(y[4]).all() and np.isnan(z[4]).all()
    assert np.isnan(kernels.softmax(np.full((1, cols), -np.inf, dtype))).all()


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("cols", COLUMNS)
def test_gradient(cols, dtype):
    eps = np.finfo(dtype).eps
    for rows in (1, 17):
        x, dy = draw(rows, cols, dtype), draw(rows, cols, dtype, 1.0, 1)
        y, g = softmax(x.astype(np.float64)), dy.astype(np.float64)
        tol = {"rtol": 0, "atol": 20 * np.sqrt(cols) * eps}
        want = y * (g - (g * y).sum(-1, keepdims=True))
        np.testing.assert_allclose(kernels.softmax_grad(dy, y.astype(dtype)), want, **tol)
        z = log_softmax(x.astype(np.float64))
        want_log = g - y * g.sum(-1, keepdims=True)
        tol["atol"] *= max(1, np.abs(z).max() * np.abs(g.sum(-1)).max())
        np.testing.assert_allclose(kernels.log_softmax_grad(dy, z.astype(dtype)), want_log, **tol)
        out = np.ones_like(x)
        kernels.softmax_grad(dy, y.astype(dtype), out=out, accumulate=True)
        np.testing.assert_allclose(out, 1 + want, **tol)
        same = dy.copy()
        kernels.log_softmax_grad(same, z.astype(dtype), out=same)
        np.testing.assert_allclose(same, want_log, **tol)


def test_gradients_are_derivatives():
    x, dy, h = draw(3, 6, np.float64, 1.0), draw(3, 6, np.float64, 1.0, 1), 1e-6
    for forward, gradient in (
        (kernels.softmax, kernels.softmax_grad),
        (kernels.log_softmax, kernels.log_softmax_grad),
    ):
        got = gradient(dy, forward(x))
        for j in np.ndindex(x.shape):
            up, down = x.copy(), x.copy()
            up[j] += h
            down[j] -= h
            assert abs(((forward(up) - forward(down)) * dy).sum() / (2 * h) - got[j]) < 1e-8


def test_in_place_and_shapes():
    x = draw(12, 10, np.float32).reshape(3, 4, 10)
    want = kernels.softmax(x)
    assert want.shape == x.shape
    assert np.array_equal(kernels.softmax(x[1, 2]), want[1, 2])
    assert np.array_equal(kernels.softmax(x, out=x), want)
    assert kernels.softmax(np.empty((0, 5), np.float32)).shape == (0, 5)


@pytest.mark.parametrize("kernel", ["softmax", "log_softmax"])
def test_rows_do_not_depend_on_threads_or_neighbours(kernel):
    function, before = getattr(kernels, kernel), _core.get_threads()
    try:
        for cols in (10, 20, 100):
            x = draw(3001, cols, np.float32)
            _core.set_threads(1)
            want = function(x)
            for threads in (2, 3, 8):
                _core.set_threads(threads)
                assert np.array_equal(function(x), want)
            for row in (0, 5, 16, 3000):
                assert np.array_equal(function(x[row : row + 1])[0], want[row])
    finally:
        _core.set_threads(before)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: kernels.softmax(np.float32(1)), (ValueError, TypeError), "at least one dimension"),
        (lambda: kernels.softmax(np.zeros((2, 0), np.float32)), ValueError, "at least one column"),
        (lambda: kernels.softmax(np.zeros((2, 2), int)), TypeError, "softmax: x must be float32 or float64, got int64"),
        (lambda: kernels.softmax(np.zeros((4, 4), np.float32).T[:, :2]), ValueError, "C-contiguous"),
        (lambda: kernels.softmax(np.zeros((2, 2)), out=np.zeros((2, 3))), ValueError, r"out must have shape \(2, 2\)"),
        (lambda: kernels.softmax_grad(np.zeros((2, 2)), np.zeros((2, 3))), ValueError, "dy must have shape"),
        (
            lambda: kernels.softmax_grad(np.zeros(2), np.zeros(2), accumulate=True),
            ValueError,
            "pass the array to add to as out=",
        ),
        (lambda: kernels.softmax_grad(np.zeros(2), np.zeros(2, np.float32)), TypeError, "one dtype"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
