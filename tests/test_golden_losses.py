"""Losses against Keras: every reduction, sample weights, and the gradient with regard to y_pred."""

import pytest
from golden import cases
from golden.harness import DTYPES, SINGLE, compare, gradients, keras, numpy, precision
from golden.store import load

GOLDEN = load("keras_losses")
TAGS = [
    (name, weighted)
    for name, (cls, _, _) in cases.LOSSES.items()
    for weighted in (False, True)
    if not (weighted and cls in cases.UNWEIGHTED)
]


def data(name, dtype):
    cls, config, kind = cases.LOSSES[name]
    y_true, y_pred = cases.labelled(kind, 20)
    y_true = cases.integers(y_true) if "sparse" in kind else y_true.astype(dtype)
    return getattr(keras.losses, cls), config, y_true, y_pred.astype(dtype)


def tolerance(name, dtype):
    if name == "log_cosh" and dtype == "float64":
        return {"rtol": 1e-7, "atol": 1e-7}  # the recording subtracts log(2) rounded to float32
    if name == "ctc":
        return SINGLE["float32"]  # Keras casts to float32 whatever the dtype
    # y_pred = 0 or 1 exactly is clipped to 1e-7 from the edge, which float32 holds to a few per cent of itself.
    return {"rtol": 2e-2, "atol": 1e-5} if name == "bce_certain" and dtype == "float32" else SINGLE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "weighted"), TAGS)
def test_value(name, weighted, dtype):
    with precision(dtype):
        loss, config, y_true, y_pred = data(name, dtype)
        weights = cases.WEIGHTS.astype(dtype) if weighted else None
        for reduction in cases.REDUCTIONS:
            made = loss(**config, reduction=None if reduction == "none" else reduction)
            key = f"{name}/{'weighted' if weighted else 'plain'}/{reduction}"
            compare(numpy(made(y_true, y_pred, sample_weight=weights)), GOLDEN[key], tolerance(name, dtype), key)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "weighted"), TAGS)
def test_gradient(name, weighted, dtype):
    with precision(dtype):
        loss, config, y_true, y_pred = data(name, dtype)
        weights = cases.WEIGHTS if weighted else None
        (got,), _, _ = gradients(
            lambda t: t[0], [y_pred.astype("float64")], None, y_true, loss(**config), sample_weight=weights
        )
    want = GOLDEN[f"{name}/{'weighted' if weighted else 'plain'}/gradient"]
    compare(got, want, tolerance(name, dtype), name)
