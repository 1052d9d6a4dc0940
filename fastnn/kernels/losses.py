"""Softmax, losses with their gradients, and per-row metrics on NumPy arrays.

Every loss takes predictions y (..., columns), float32 or float64, and targets, and returns the loss of each row,
shape y.shape[:-1]; with return_gradient=True also dy, the derivative of the rows' losses by y, times weights (one
a row), times scale, and divided by the number of rows when mean=True. Formulas: csrc/kernels/losses.inc.c.
"""

import numpy as np

from fastnn import _core
from fastnn.kernels import _check
from fastnn.utils import checks

_INT32 = np.dtype(np.int32)


def _rows(where, name, x):
    if x.ndim < 1:
        raise ValueError(f"{where}: {name} must have at least one dimension, got a scalar")
    if x.ndim and x.shape[-1] == 0:
        raise ValueError(f"{where}: {name} must have at least one column, got shape {x.shape}")
    return x.size // x.shape[-1], x.shape[-1]


def _run(kernel, dtype, operands, ints, reals=(), ns=1.0):
    if ints[0] > 0:
        _core.run(kernel, dtype == np.float64, operands, ints, reals, cost=10 + ns * ints[0] * ints[1])


# ---- softmax ----


def _softmax(kernel, x, out):
    x = _check.array(kernel, "x", x)
    rows, cols = _rows(kernel, "x", x)
    y = _check.out(kernel, out, x.shape, x.dtype)
    if y is not x and out is not None:
        _check.no_overlap(kernel, "out", y, x=x)
    _run(kernel, x.dtype, (y, x), (rows, cols), ns=0.5)
    return y


def softmax(x, out=None):
    """exp(x) / sum(exp(x)) along the last axis. out may be x."""
    return _softmax("softmax", x, out)


def log_softmax(x, out=None):
    """x - log(sum(exp(x))) along the last axis. out may be x."""
    return _softmax("log_softmax", x, out)


def _softmax_grad(kernel, dy, y, out, accumulate):
    dy, y = _check.array(kernel, "dy", dy), _check.array(kernel, "y", y)
    dtype = _check.same_dtype(kernel, dy=dy, y=y)
    _check.shape(kernel, "dy", dy, y.shape)
    rows, cols = _rows(kernel, "y", y)
    accumulate = _check.adding(kernel, accumulate, out)
    dx = _check.out(kernel, out, y.shape, dtype)
    if dx is not dy or accumulate:
        _check.no_overlap(kernel, "out", dx, dy=dy)
    _check.no_overlap(kernel, "out", dx, y=y)
    _run(kernel, dtype, (dx, dy, y), (rows, cols, accumulate), ns=0.4)
    return dx


def softmax_grad(dy, y, out=None, accumulate=False):
    """dx = y (dy - sum(dy y)) for y = softmax(x); added to out when accumulate. out may be dy otherwise."""
    return _softmax_grad("softmax_grad", dy, y, out, accumulate)


def log_softmax_grad(dy, y, out=None, accumulate=False):
    """dx = dy - exp(y) sum(dy) for y = log_softmax(x); added to out when accumulate. out may be dy otherwise."""
    return _softmax_grad("log_softmax_grad", dy, y, out, accumulate)


# ---- losses ----


def class_ids(where, name, ids, shape, classes, ignore_class=None):
    """Class ids as int32 of `shape`, after the check that each is in 0..classes-1 (or is ignore_class)."""
    if type(ids) is np.ndarray and ids.dtype is _INT32 and ids.shape == shape and ids.flags.carray:
        if _core.first_outside(ids, classes) < 0:
            return ids
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(
            f"{where}: {name} must be integers (class ids), got {ids.dtype}; for one-hot rows use the other form"
        )
    if ids.shape == (*shape, 1) and ids.shape != shape:
        ids = ids.reshape(shape)
    _check.shape(where, name, ids, shape)
    wrong = (ids < 0) | (ids >= classes)
    if ignore_class is not None:
        wrong &= ids != ignore_class
    if wrong.any():
        at = int(np.flatnonzero(wrong.ravel())[0])
        raise ValueError(f"{where}: {name} must be in 0..{classes - 1}, got {ids.ravel()[at]} at row {at}")
    return np.require(ids, np.int32, ("C", "A"))


def targets(where, name, t, shape, dtype):
    """Targets as a C-contiguous array of the predictions' shape and dtype, after the check that none is NaN."""
    t = np.asarray(t)
    if t.dtype.kind not in "iufb":
        raise TypeError(f"{where}: {name} must be numbers, got {t.dtype}")
    _check.shape(where, name, t, shape)
    t = np.require(t, dtype, ("C", "A"))
    if t.dtype.kind == "f" and _core.first_not_finite(t) >= 0 and (bad := np.isnan(t)).any():
        at = np.unravel_index(int(np.flatnonzero(bad.ravel())[0]), shape)
        raise ValueError(f"{where}: {name} must not be NaN, got NaN at {tuple(int(j) for j in at)}")
    return t


def _loss(
    kernel,
    y,
    t,
    weights,
    mean,
    scale,
    return_gradient,
    gradient_out,
    *,
    sparse=False,
    parameter=0.0,
    ints=(),
    ignore=None,
    name="y",
    target="t",
    ns=1.0,
):
    mean, scale = checks.boolean(kernel, "mean", mean), checks.number(kernel, "scale", scale)
    y = _check.array(kernel, name, y)
    rows, cols = _rows(kernel, name, y)
    shape = y.shape[:-1]
    if sparse:
        t = class_ids(kernel, target, t, shape, cols, ignore)
    else:
        t = targets(kernel, target, t, y.shape, y.dtype)
    if weights is not None:
        weights = targets(kernel, "weights", weights, shape, y.dtype)
    loss = np.empty(shape, y.dtype)
    dy = None
    if return_gradient:
        dy = _check.out(kernel, gradient_out, y.shape, y.dtype, "gradient_out")
        if dy is not y:
            _check.no_overlap(kernel, "gradient_out", dy, **{name: y})
        _check.no_overlap(kernel, "gradient_out", dy, **{target: t, "weights": weights})
    elif gradient_out is not None:
        raise ValueError(f"{kernel}: gradient_out needs return_gradient=True")
    _run(kernel, y.dtype, (loss, dy, y, t, weights), (rows, cols, int(mean), *ints), (parameter, scale), ns)
    return (loss, dy) if return_gradient else loss


def _smoothing(where, value):
    return checks.number(where, "label_smoothing", value, least=0, most=1)


def sparse_softmax_crossentropy(
    logits,
    labels,
    weights=None,
    label_smoothing=0.0,
    return_gradient=False,
    *,
    ignore_class=None,
    mean=False,
    scale=1.0,
    gradient_out=None,
):
    """log(sum(exp(y))) - y[label] of each row; rows whose label is ignore_class have loss and gradient 0."""
    return _loss(
        "sparse_softmax_crossentropy",
        logits,
        labels,
        weights,
        mean,
        scale,
        return_gradient,
        gradient_out,
        sparse=True,
        parameter=_smoothing("sparse_softmax_crossentropy", label_smoothing),
        ints=(-1 if ignore_class is None else int(ignore_class), int(ignore_class is not None)),
        ignore=ignore_class,
        name="logits",
        target="labels",
    )


def softmax_crossentropy(
    logits,
    targets,
    weights=None,
    label_smoothing=0.0,
    return_gradient=False,
    *,
    mean=False,
    scale=1.0,
    gradient_out=None,
):
    """-sum(t log_softmax(y)) of each row, t one-hot or any weights of classes."""
    return _loss(
        "softmax_crossentropy",
        logits,
        targets,
        weights,
        mean,
        scale,
        return_gradient,
        gradient_out,
        parameter=_smoothing("softmax_crossentropy", label_smoothing),
        name="logits",
        target="targets",
    )


def sparse_categorical_crossentropy(
    y, labels, weights=None, return_gradient=False, *, ignore_class=None, mean=False, scale=1.0, gradient_out=None
):
    """-log(clip(y[label] / sum(y), 1e-7, 1 - 1e-7)) of each row of probabilities."""
    return _loss(
        "sparse_categorical_crossentropy",
        y,
        labels,
        weights,
        mean,
        scale,
        return_gradient,
        gradient_out,
        sparse=True,
        ints=(-1 if ignore_class is None else int(ignore_class), int(ignore_class is not None)),
        ignore=ignore_class,
        target="labels",
    )


def _smoothed(kernel, doc):
    def loss(
        y, t, weights=None, label_smoothing=0.0, return_gradient=False, *, mean=False, scale=1.0, gradient_out=None
    ):
        parameter = _smoothing(kernel, label_smoothing)
        return _loss(kernel, y, t, weights, mean, scale, return_gradient, gradient_out, parameter=parameter, ns=1.5)

    loss.__name__ = loss.__qualname__ = kernel
    loss.__doc__ = doc
    return loss


def _plain(kernel, doc, ns=0.5):
    def loss(y, t, weights=None, return_gradient=False, *, mean=False, scale=1.0, gradient_out=None):
        return _loss(kernel, y, t, weights, mean, scale, return_gradient, gradient_out, ns=ns)

    loss.__name__ = loss.__qualname__ = kernel
    loss.__doc__ = doc
    return loss


def _hinge(kernel, doc):
    def loss(y, t, weights=None, return_gradient=False, *, mean=False, scale=1.0, gradient_out=None):
        t = np.asarray(t)
        convert = int(bool(((t == 0) | (t == 1)).all()))
        return _loss(kernel, y, t, weights, mean, scale, return_gradient, gradient_out, ints=(convert,))

    loss.__name__ = loss.__qualname__ = kernel
    loss.__doc__ = doc
    return loss


categorical_crossentropy = _smoothed(
    "categorical_crossentropy", "-sum(t log(clip(y / sum(y), 1e-7, 1 - 1e-7))) of each row of probabilities."
)
binary_crossentropy = _smoothed(
    "binary_crossentropy", "-mean(t log(y) + (1 - t) log(1 - y)) of each row, y clipped to [1e-7, 1 - 1e-7]."
)
sigmoid_crossentropy = _smoothed(
    "sigmoid_crossentropy", "mean(max(y, 0) - y t + log1p(exp(-|y|))) of each row: binary cross-entropy of logits."
)
mean_squared_error = _plain("mean_squared_error", "mean((y - t)^2) of each row.", 0.2)
mean_absolute_error = _plain("mean_absolute_error", "mean(|y - t|) of each row; derivative 0 at y = t.", 0.2)
log_cosh = _plain("log_cosh", "mean(log(cosh(y - t))) of each row.", 2.0)
mean_absolute_percentage_error = _plain(
    "mean_absolute_percentage_error", "100 mean(|t - y| / max(|t|, 1e-7)) of each row."
)
mean_squared_logarithmic_error = _plain(
    "mean_squared_logarithmic_error", "mean((log(max(y, 1e-7) + 1) - log(max(t, 1e-7) + 1))^2) of each row.", 2.0
)
poisson = _plain("poisson", "mean(y - t log(y + 1e-7)) of each row.", 1.0)
kl_divergence = _plain("kl_divergence", "sum(t log(t / y)) of each row, both clipped to [1e-7, 1].", 1.5)
categorical_hinge = _plain("categorical_hinge", "max(max((1 - t) y) - sum(t y) + 1, 0) of each row.")
cosine_similarity = _plain("cosine_similarity", "-sum(t y) / (|t| |y|) of each row, norms at least 1e-7.")
hinge = _hinge("hinge", "mean(max(1 - t y, 0)) of each row; targets all in {0, 1} become 2 t - 1.")
squared_hinge = _hinge("squared_hinge", "mean(max(1 - t y, 0)^2) of each row; targets all in {0, 1} become 2 t - 1.")


def huber(y, t, weights=None, delta=1.0, return_gradient=False, *, mean=False, scale=1.0, gradient_out=None):
    """mean(e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2) of each row, e = y - t."""
    delta = checks.number("huber", "delta", delta, above=0, finite=False)
    return _loss("huber", y, t, weights, mean, scale, return_gradient, gradient_out, parameter=delta)


# ---- metrics ----


def _metric(kernel, y, t, *, sparse, ints=(), reals=()):
    y = _check.array(kernel, "y", y)
    rows, cols = _rows(kernel, "y", y)
    if sparse:
        t = class_ids(kernel, "t", t, y.shape[:-1], cols)
    else:
        t = targets(kernel, "t", t, y.shape, y.dtype)
    out = np.empty(y.shape[:-1], y.dtype)
    _run(kernel, y.dtype, (out, y, t), (rows, cols, *ints), reals, 0.3)
    return out


def sparse_accuracy(y, t):
    """1 where argmax(y) is the class id t, else 0."""
    return _metric("sparse_accuracy", y, t, sparse=True)


def categorical_accuracy(y, t):
    """1 where argmax(y) is argmax(t), else 0."""
    return _metric("categorical_accuracy", y, t, sparse=False)


def binary_accuracy(y, t, threshold=0.5):
    """mean((y > threshold) == t) of each row."""
    threshold = checks.number("binary_accuracy", "threshold", threshold)
    return _metric("binary_accuracy", y, t, sparse=False, reals=(threshold,))


def _k(where, k):
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"{where}: k must be an integer >= 1, got {k!r}")
    return int(k)


def top_k(y, t, k=5):
    """1 where fewer than k entries of the row are larger than that of the class id t, else 0."""
    return _metric("top_k", y, t, sparse=True, ints=(_k("top_k", k),))


def categorical_top_k(y, t, k=5):
    """top_k with the class argmax(t)."""
    return _metric("categorical_top_k", y, t, sparse=False, ints=(_k("categorical_top_k", k),))
