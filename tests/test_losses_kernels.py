"""Losses, their gradients and the per-row metrics against float64 NumPy."""

import functools

import numpy as np
import pytest

from fastnn import _core
from fastnn.kernels import losses as kernels

EPS = 1e-7
COLUMNS = [1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 20, 31, 32, 33, 65, 100, 300]
ROWS = [1, 7, 16, 33]
REALS = [np.float32, np.float64]


# ---- the formulas, in float64; t is what the loss takes ----


def log_softmax(y):
    d = y - y.max(-1, keepdims=True)
    return d - np.log(np.exp(d).sum(-1, keepdims=True))


def one_hot(t, cols):
    return (t[..., None] == np.arange(cols)).astype(np.float64)


def softmax_crossentropy(y, t, e=0.0):
    q = t * (1 - e) + e / y.shape[-1]
    return -(q * log_softmax(y)).sum(-1)


def sparse_softmax_crossentropy(y, t, e=0.0):
    return softmax_crossentropy(y, one_hot(t, y.shape[-1]), e)


def categorical_crossentropy(y, t, e=0.0):
    q = np.clip(y / y.sum(-1, keepdims=True), EPS, 1 - EPS)
    return -((t * (1 - e) + e / y.shape[-1]) * np.log(q)).sum(-1)


def sparse_categorical_crossentropy(y, t):
    return categorical_crossentropy(y, one_hot(t, y.shape[-1]))


def binary_crossentropy(y, t, e=0.0):
    q, t = np.clip(y, EPS, 1 - EPS), t * (1 - e) + e / 2
    return -(t * np.log(q) + (1 - t) * np.log(1 - q)).mean(-1)


def sigmoid_crossentropy(y, t, e=0.0):
    t = t * (1 - e) + e / 2
    return (np.maximum(y, 0) - y * t + np.log1p(np.exp(-np.abs(y)))).mean(-1)


def mean_squared_error(y, t):
    return ((y - t) ** 2).mean(-1)


def mean_absolute_error(y, t):
    return np.abs(y - t).mean(-1)


def huber(y, t, delta=1.0):
    a = np.abs(y - t)
    return np.where(a <= delta, a * a / 2, delta * a - delta * delta / 2).mean(-1)


def log_cosh(y, t):
    a = np.abs(y - t)
    return (a + np.log1p(np.exp(-2 * a)) - np.log(2)).mean(-1)


def mean_absolute_percentage_error(y, t):
    return 100 * np.abs((t - y) / np.maximum(np.abs(t), EPS)).mean(-1)


def mean_squared_logarithmic_error(y, t):
    return ((np.log(np.maximum(y, EPS) + 1) - np.log(np.maximum(t, EPS) + 1)) ** 2).mean(-1)


def poisson(y, t):
    return (y - t * np.log(y + EPS)).mean(-1)


def kl_divergence(y, t):
    y, t = np.clip(y, EPS, 1), np.clip(t, EPS, 1)
    return (t * np.log(t / y)).sum(-1)


def hinge(y, t):
    return np.maximum(1 - (2 * t - 1) * y, 0).mean(-1)


def squared_hinge(y, t):
    return (np.maximum(1 - (2 * t - 1) * y, 0) ** 2).mean(-1)


def categorical_hinge(y, t):
    return np.maximum(((1 - t) * y).max(-1) - (t * y).sum(-1) + 1, 0)


def cosine_similarity(y, t):
    def unit(x):
        return x * np.minimum(1 / np.sqrt((x * x).sum(-1, keepdims=True)), 1 / EPS)

    return -(unit(y) * unit(t)).sum(-1)


# name, keyword arguments, formula, kind of predictions, kind of targets
CASES = [
    ("sparse_softmax_crossentropy", {}, sparse_softmax_crossentropy, "real", "ids"),
    (
        "sparse_softmax_crossentropy",
        {"label_smoothing": 0.1},
        functools.partial(sparse_softmax_crossentropy, e=0.1),
        "real",
        "ids",
    ),
    ("softmax_crossentropy", {}, softmax_crossentropy, "real", "probability"),
    ("softmax_crossentropy", {}, softmax_crossentropy, "real", "one_hot"),
    (
        "softmax_crossentropy",
        {"label_smoothing": 0.2},
        functools.partial(softmax_crossentropy, e=0.2),
        "real",
        "one_hot",
    ),
    ("categorical_crossentropy", {}, categorical_crossentropy, "positive", "probability"),
    (
        "categorical_crossentropy",
        {"label_smoothing": 0.1},
        functools.partial(categorical_crossentropy, e=0.1),
        "positive",
        "one_hot",
    ),
    ("sparse_categorical_crossentropy", {}, sparse_categorical_crossentropy, "positive", "ids"),
    ("binary_crossentropy", {}, binary_crossentropy, "unit", "bits"),
    ("binary_crossentropy", {"label_smoothing": 0.1}, functools.partial(binary_crossentropy, e=0.1), "unit", "bits"),
    ("sigmoid_crossentropy", {}, sigmoid_crossentropy, "real", "bits"),
    ("sigmoid_crossentropy", {"label_smoothing": 0.1}, functools.partial(sigmoid_crossentropy, e=0.1), "real", "bits"),
    ("mean_squared_error", {}, mean_squared_error, "real", "real"),
    ("mean_absolute_error", {}, mean_absolute_error, "real", "real"),
    ("huber", {}, huber, "real", "real"),
    ("huber", {"delta": 2.5}, functools.partial(huber, delta=2.5), "real", "real"),
    ("log_cosh", {}, log_cosh, "real", "real"),
    ("mean_absolute_percentage_error", {}, mean_absolute_percentage_error, "real", "real"),
    ("mean_squared_logarithmic_error", {}, mean_squared_logarithmic_error, "positive", "positive"),
    ("poisson", {}, poisson, "positive", "positive"),
    ("kl_divergence", {}, kl_divergence, "unit", "probability"),
    ("hinge", {}, hinge, "real", "bits"),
    ("squared_hinge", {}, squared_hinge, "real", "bits"),
    ("categorical_hinge", {}, categorical_hinge, "real", "one_hot"),
    ("cosine_similarity", {}, cosine_similarity, "real", "real"),
]
IDS = [f"{name}-{targets}{kwargs or ''}" for name, kwargs, _, _, targets in CASES]


def draw(kind, rows, cols, dtype, seed=0):
    rng = np.random.default_rng([seed, rows, cols])
    shape = (rows, cols)
    return {
        "real": lambda: (rng.standard_normal(shape) * 3).astype(dtype),
        "positive": lambda: rng.uniform(0.05, 2, shape).astype(dtype),
        "unit": lambda: rng.uniform(0.05, 0.95, shape).astype(dtype),
        "bits": lambda: rng.integers(0, 2, shape).astype(dtype),
        "ids": lambda: rng.integers(0, cols, rows),
        "one_hot": lambda: one_hot(rng.integers(0, cols, rows), cols).astype(dtype),
        "probability": lambda: rng.dirichlet(np.ones(cols), rows).astype(dtype),
    }[kind]()


def derivative(formula, y, t):
    """Central differences of the rows' losses, column by column, in float64."""
    y, h = y.astype(np.float64), 1e-6
    out = np.empty_like(y)
    for j in range(y.shape[1]):
        up, down = y.copy(), y.copy()
        up[:, j] += h
        down[:, j] -= h
        out[:, j] = (formula(up, t) - formula(down, t)) / (2 * h)
    return out


def exact(t):
    return t.astype(np.float64) if t.dtype.kind == "f" else t


def away_from_kinks(name, y, t):
    """Predictions whose losses have one derivative within the reach of the differences."""
    if name == "mean_absolute_percentage_error":
        t[np.abs(t) < 0.1] = 0.1
    if name in ("mean_absolute_error", "mean_absolute_percentage_error", "huber"):
        e = np.abs(y - t)
        y[(e < 1e-3) | (np.abs(e - 1) < 1e-3) | (np.abs(e - 2.5) < 1e-3)] += np.asarray(0.01, y.dtype)
    if name in ("hinge", "squared_hinge"):
        y[np.abs(np.abs(y) - 1) < 1e-3] += np.asarray(0.01, y.dtype)
    return y, t


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name, kwargs, formula, ykind, tkind", CASES, ids=IDS)
def test_loss_and_gradient(name, kwargs, formula, ykind, tkind, dtype):
    eps, function = np.finfo(dtype).eps, getattr(kernels, name)
    for cols in COLUMNS:
        if cols == 1 and name in ("categorical_crossentropy", "sparse_categorical_crossentropy", "cosine_similarity"):
            continue  # constant up to the clip: no derivative to compare
        for rows in ROWS if cols in (1, 2, 10, 17) else [19]:
            y, t = draw(ykind, rows, cols, dtype), draw(tkind, rows, cols, dtype, 1)
            if name in ("hinge", "squared_hinge"):
                t.flat[0], t.flat[-1] = 0, 1
            y, t = away_from_kinks(name, y, t)
            want = formula(y.astype(np.float64), exact(t))
            loss, dy = function(y, t, return_gradient=True, **kwargs)
            assert loss.shape == (rows,) and loss.dtype == dtype and dy.shape == y.shape and dy.dtype == dtype
            size = 20 * eps * (np.abs(want).max() + 8 + np.sqrt(cols))
            np.testing.assert_allclose(loss, want, rtol=0, atol=size)
            if rows * cols <= 2000:
                slope = derivative(formula, y, exact(t))
                scale = np.abs(slope).max() + 1
                np.testing.assert_allclose(dy, slope, rtol=0, atol=(40 * eps + 4e-9 * (1 + np.abs(want).max())) * scale)
            assert np.array_equal(function(y, t, **kwargs), loss)  # without a gradient: the same bits


@pytest.mark.parametrize("name, kwargs, formula, ykind, tkind", CASES, ids=IDS)
@pytest.mark.parametrize("cols", [1, 10, 20, 40])
def test_weights_mean_scale_and_aliasing(name, kwargs, formula, ykind, tkind, cols):
    function, rows = getattr(kernels, name), 21
    y, t = draw(ykind, rows, cols, np.float32), draw(tkind, rows, cols, np.float32, 1)
    w = np.random.default_rng(2).uniform(0, 2, rows).astype(np.float32)
    loss, dy = function(y, t, return_gradient=True, **kwargs)
    plain = {**kwargs, "return_gradient": True}
    loss2, dy2 = function(y, t, w, mean=True, scale=4.0, **plain)
    assert np.array_equal(loss, loss2)
    want = dy.astype(np.float64) * w[:, None] * 4 / rows
    np.testing.assert_allclose(dy2, want, rtol=1e-5, atol=2e-6 * np.abs(want).max())
    same = y.copy()
    _, dy3 = function(same, t, w, mean=True, scale=4.0, gradient_out=same, **plain)
    assert dy3 is same and np.array_equal(dy3, dy2)


@pytest.mark.parametrize("name, kwargs, formula, ykind, tkind", CASES, ids=IDS)
def test_rows_do_not_depend_on_threads_or_neighbours(name, kwargs, formula, ykind, tkind):
    function, before = functools.partial(getattr(kernels, name), return_gradient=True, **kwargs), _core.get_threads()
    try:
        for cols in (1, 10, 20, 45):
            y, t = draw(ykind, 2001, cols, np.float32), draw(tkind, 2001, cols, np.float32, 1)
            _core.set_threads(1)
            loss, dy = function(y, t)
            for threads in (2, 3, 8):
                _core.set_threads(threads)
                other = function(y, t)
                assert np.array_equal(other[0], loss) and np.array_equal(other[1], dy)
            if "hinge" not in name:  # a hinge looks at all targets to tell {0, 1} from {-1, 1}
                for r in (0, 17, 2000):
                    one = function(y[r : r + 1], t[r : r + 1])
                    assert np.array_equal(one[0][0], loss[r]) and np.array_equal(one[1][0], dy[r])
    finally:
        _core.set_threads(before)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("cols", [3, 10, 20, 50])
@pytest.mark.parametrize("name", ["sparse_softmax_crossentropy", "sparse_categorical_crossentropy"])
def test_ignore_class(name, cols, dtype):
    y, t = draw("positive", 20, cols, dtype), draw("ids", 20, cols, dtype, 1)
    function = getattr(kernels, name)
    loss, dy = function(y, t, return_gradient=True)
    for ignore in (-1, 255, 1):
        s = t.copy()
        s[[2, 3, 19]] = ignore
        u = y.copy()
        u[3] = np.nan
        loss2, dy2 = function(u, s, return_gradient=True, ignore_class=ignore)
        out = s == ignore
        assert out[[2, 3, 19]].all() and not loss2[out].any() and not dy2[out].any()
        assert np.array_equal(loss2[~out], loss[~out]) and np.array_equal(dy2[~out], dy[~out])


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("cols", [4, 10, 20, 50])
def test_infinite_logits(cols, dtype):
    y = draw("real", 3, cols, dtype)
    y[:, 1] = -np.inf
    loss, dy = kernels.sparse_softmax_crossentropy(y, [0, 2, 1], return_gradient=True)
    assert np.isfinite(loss[:2]).all() and loss[2] == np.inf and np.isfinite(dy).all()
    assert (dy[:2, 1] == 0).all() and dy[2, 1] == -1
    t = np.zeros((3, cols), dtype)
    t[:, 0] = 1
    loss, dy = kernels.softmax_crossentropy(y, t, return_gradient=True)
    assert np.isfinite(loss).all() and np.isfinite(dy).all()
    big = np.zeros((1, cols), dtype)
    big[0, 0] = 1e4
    np.testing.assert_allclose(kernels.sparse_softmax_crossentropy(big, [1]), [1e4])


@pytest.mark.parametrize("dtype", REALS)
def test_clips(dtype):
    y = np.array([[0, 1, 0.5, 2, -1]], dtype)
    t = np.array([[1, 0, 1, 1, 0]], dtype)
    loss, dy = kernels.binary_crossentropy(y, t, return_gradient=True)
    np.testing.assert_allclose(loss, binary_crossentropy(y, t), rtol=1e-5)
    assert (dy[0, [0, 1, 3, 4]] == 0).all() and dy[0, 2] != 0
    loss, dy = kernels.kl_divergence(y, np.full_like(y, 0.2), return_gradient=True)
    assert (dy[0] != 0).tolist() == [False, True, True, False, False]
    loss, dy = kernels.mean_squared_logarithmic_error(
        np.array([[-3.0, 0, 1]], dtype), np.ones((1, 3), dtype), return_gradient=True
    )
    assert (dy[0] != 0).tolist() == [False, False, False] and loss[0] > 0
    p = np.array([[0.0, 1.0, 0.0]], dtype)
    loss, dy = kernels.sparse_categorical_crossentropy(p, [0], return_gradient=True)
    np.testing.assert_allclose(loss, [-np.log(EPS)], rtol=1e-6)
    assert not dy.any()
    for small in (0, 1e-9):
        y = np.full((1, 3), small, dtype)
        loss, dy = kernels.cosine_similarity(y, np.array([[3.0, 0, 4]], dtype), return_gradient=True)
        np.testing.assert_allclose(loss, [-1.4 * small / EPS], atol=1e-6)
        np.testing.assert_allclose(dy, [[-0.6e7, 0, -0.8e7]], rtol=1e-6)


def test_derivatives_at_kinks():
    zero = np.zeros((1, 2))
    assert not kernels.mean_absolute_error(zero, zero, return_gradient=True)[1].any()
    assert not kernels.hinge(np.array([[1.0, -1.0]]), np.array([[1.0, 0.0]]), return_gradient=True)[1].any()
    dy = kernels.categorical_hinge(np.zeros((1, 4)), np.array([[0.0, 1, 0, 0]]), return_gradient=True)[1]
    # the maximum of (1 - t) y is 0 in all four columns; that of the target has the factor 1 - t = 0
    np.testing.assert_allclose(dy, [[0.25, -1, 0.25, 0.25]])


def test_shapes():
    y, t = draw("real", 12, 10, np.float32).reshape(3, 4, 10), draw("ids", 12, 10, np.float32).reshape(3, 4)
    loss = kernels.sparse_softmax_crossentropy(y, t)
    assert loss.shape == (3, 4)
    assert np.array_equal(kernels.sparse_softmax_crossentropy(y, t[..., None]), loss)
    assert kernels.mean_squared_error(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)
    assert kernels.mean_squared_error(np.zeros(3), np.ones(3)).shape == ()


# ---- metrics ----


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("cols", COLUMNS)
def test_accuracy(cols, dtype):
    rng = np.random.default_rng(cols)
    y = rng.integers(0, 4, (57, cols)).astype(dtype)  # many ties
    t = rng.integers(0, cols, 57)
    hits = y.argmax(-1) == t
    assert np.array_equal(kernels.sparse_accuracy(y, t), hits)
    assert np.array_equal(kernels.categorical_accuracy(y, one_hot(t, cols)), hits)
    larger = (y > np.take_along_axis(y, t[:, None], 1)).sum(-1)
    for k in (1, 2, 5):
        assert np.array_equal(kernels.top_k(y, t, k), larger < k)
        assert np.array_equal(kernels.categorical_top_k(y, one_hot(t, cols), k), larger < k)
    p, b = rng.uniform(0, 1, (57, cols)).astype(dtype), rng.integers(0, 2, (57, cols))
    for threshold in (0.5, 0.2):
        want = ((p > np.asarray(threshold, dtype)) == b).mean(-1)
        np.testing.assert_allclose(kernels.binary_accuracy(p, b, threshold), want, rtol=1e-6)


def test_accuracy_of_nan():
    y = np.array([[np.nan, 1.0, 2.0], [1.0, 2.0, np.nan]], np.float32)
    assert kernels.sparse_accuracy(y, [0, 2]).tolist() == [0, 0]
    assert kernels.top_k(y, [0, 2], 3).tolist() == [0, 0]


# ---- errors ----

Y = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: kernels.sparse_softmax_crossentropy(Y, [0, 3]),
            ValueError,
            r"sparse_softmax_crossentropy: labels must be in 0\.\.2, got 3 at row 1",
        ),
        (lambda: kernels.sparse_softmax_crossentropy(Y, [-1, 0]), ValueError, "got -1 at row 0"),
        (lambda: kernels.sparse_softmax_crossentropy(Y, [0.0, 1.0]), TypeError, "labels must be integers"),
        (lambda: kernels.sparse_softmax_crossentropy(Y, [0]), ValueError, r"labels must have shape \(2,\), got \(1,\)"),
        (lambda: kernels.sparse_softmax_crossentropy(Y.astype(int), [0, 1]), TypeError, "logits must be float32"),
        (lambda: kernels.sparse_softmax_crossentropy(Y, [0, 1], label_smoothing=2), ValueError, r"in \[0, 1\], got 2"),
        (lambda: kernels.softmax_crossentropy(Y, np.zeros((2, 4))), ValueError, r"must have shape \(2, 3\)"),
        (
            lambda: kernels.mean_squared_error(Y, [[0, 1, 2], [0, np.nan, 1]]),
            ValueError,
            r"t must not be NaN, got NaN at \(1, 1\)",
        ),
        (lambda: kernels.mean_squared_error(Y, Y, weights=[1.0]), ValueError, r"weights must have shape \(2,\)"),
        (lambda: kernels.mean_squared_error(Y, Y, gradient_out=Y.copy()), ValueError, "needs return_gradient=True"),
        (
            lambda: kernels.mean_squared_error(Y, Y.copy(), return_gradient=True, gradient_out=np.zeros((2, 3))),
            TypeError,
            "gradient_out must be float32",
        ),
        (lambda: kernels.huber(Y, Y, delta=0), ValueError, "delta must be > 0, got 0"),
        (lambda: kernels.mean_squared_error(np.zeros((2, 0)), np.zeros((2, 0))), ValueError, "at least one column"),
        (lambda: kernels.top_k(Y, [0, 1], k=0), ValueError, "k must be an integer >= 1, got 0"),
        (lambda: kernels.sparse_accuracy(Y, [0, 9]), ValueError, r"t must be in 0\.\.2, got 9 at row 1"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_gradient_out_must_not_be_the_targets():
    t = Y.copy()
    with pytest.raises(ValueError, match="gradient_out must not share memory with t"):
        kernels.mean_squared_error(Y, t, return_gradient=True, gradient_out=t)
