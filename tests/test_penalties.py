"""Regularizers and constraints on arrays: values against NumPy, names, configs, errors."""

import numpy as np
import pytest

from fastnn import constraints, layers, regularizers
from fastnn.models import Sequential

X = np.array([[3.0, -4.0, 0.0], [1.0, 2.0, -2.0]])


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: regularizers.L1(0.5), 6.0),
        (lambda: regularizers.L2(0.5), 17.0),
        (lambda: regularizers.L1L2(0.5, 0.5), 23.0),
        (lambda: regularizers.L1L2(l2=0.5), 17.0),
        (lambda: regularizers.L1L2(), 0.0),
        (lambda: regularizers.get("l1"), 0.12),
        (lambda: regularizers.get("l2"), 0.34),
        (lambda: regularizers.get("l1_l2"), 0.46),
    ],
)
def test_penalties(make, expected):
    assert float(make()(X)) == pytest.approx(expected)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_orthogonal(mode):
    x = X if mode == "rows" else X.T
    cosine = abs(X[0] @ X[1]) / np.linalg.norm(X[0]) / np.linalg.norm(X[1])
    assert float(regularizers.OrthogonalRegularizer(2.0, mode)(x)) == pytest.approx(2.0 * cosine)
    with pytest.raises(ValueError, match="must have 2 dimensions"):
        regularizers.OrthogonalRegularizer()(X[0])


@pytest.mark.parametrize("where", ["kernel_regularizer", "activity_regularizer"])
def test_penalty_that_is_a_number(where):
    """A matrix of one column has no pair of them."""
    model = Sequential(
        [layers.Input((3,)), layers.Dense(1, **{where: regularizers.OrthogonalRegularizer(1.0, "columns")})]
    )
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), np.float32), np.ones((4, 1), np.float32)
    without = np.square(model.predict(x) - y).mean()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(without)
    assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(without)


def test_regularizer_errors():
    for make, message in [
        (lambda: regularizers.L2(-1), "L2: l2 must be finite and >= 0, got -1"),
        (lambda: regularizers.L1(float("nan")), "must be finite"),
        (lambda: regularizers.Lp(0.5), "Lp: p must be finite and >= 1, got 0.5"),
        (lambda: regularizers.OrthogonalRegularizer(mode="both"), "mode must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="l1 must be a number, got '"):
        regularizers.L1("a")


def norms(w):
    return np.linalg.norm(w, axis=0)


def test_constraints():
    np.testing.assert_allclose(norms(constraints.MaxNorm(2)(X)), np.minimum(norms(X), 2), rtol=1e-6)
    np.testing.assert_allclose(norms(constraints.UnitNorm()(X)), 1, rtol=1e-6)
    np.testing.assert_array_equal(constraints.NonNeg()(X), np.maximum(X, 0))
    strict = constraints.MinMaxNorm(2.5, 3.0)
    np.testing.assert_allclose(norms(strict(X)), np.clip(norms(X), 2.5, 3.0), rtol=1e-6)
    half = constraints.MinMaxNorm(2.5, 3.0, rate=0.5)
    np.testing.assert_allclose(norms(half(X)), 0.5 * np.clip(norms(X), 2.5, 3.0) + 0.5 * norms(X), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(constraints.UnitNorm(axis=1)(X), axis=1), 1, rtol=1e-6)
    assert not np.isnan(constraints.MaxNorm(2)(np.zeros((2, 2)))).any()


def test_constraint_errors():
    for make, message in [
        (lambda: constraints.MaxNorm(-1), "MaxNorm: max_value must be >= 0, got -1"),
        (
            lambda: constraints.MaxNorm(axis="a"),
            "MaxNorm: axis must be an integer, a list of integers or None, got 'a'",
        ),
        (lambda: constraints.MinMaxNorm(axis=[0, "a"]), "MinMaxNorm: axis must be an integer, a list of integers or"),
        (lambda: constraints.UnitNorm(1.5), "UnitNorm: axis must be an integer, a list of integers or None, got 1.5"),
        (lambda: constraints.MinMaxNorm(2, 1), "min_value must not exceed max_value"),
        (lambda: constraints.MinMaxNorm(rate=2), r"rate must be in \[0, 1\], got 2"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            make()


@pytest.mark.parametrize("module", [regularizers, constraints])
def test_names_and_configs(module):
    for name in module.NAMES:
        one = module.get(name)
        back = module.deserialize(module.serialize(one))
        assert type(back) is type(one) and back.get_config() == one.get_config()
    assert module.get(None) is None
    with pytest.raises(ValueError, match="unknown name"):
        module.get("nothing")


@pytest.mark.parametrize("layer", [lambda: layers.ActivityRegularization(),
                                   lambda: layers.Dense(2, kernel_regularizer=regularizers.L1L2())])  # fmt: skip
def test_factors_of_zero_train(layer):
    model = Sequential([layers.Input((3,)), layers.Dense(2), layer()])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3)), np.zeros((4, 2))
    loss = np.mean(model.predict(x, verbose=0) ** 2)
    assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(loss, rel=1e-5)
