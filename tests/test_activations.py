"""Activations against NumPy formulas in float64, at once and in a plan, and their gradients."""

import numpy as np
import pytest
from compiled import central, run
from scipy import special

from fastnn import activations, layers, ops, saving

X = np.array([[-9.3, -4.2, -3.1, -1.7, -0.8, -0.31, -0.02], [0.04, 0.33, 0.71, 1.2, 2.4, 3.3, 8.9]])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(x, 0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sparsemax(x):
    rows = []
    for row in x:
        z = np.sort(row)[::-1]
        total = np.cumsum(z)
        k = np.flatnonzero(1 + np.arange(1, len(z) + 1) * z > total)[-1] + 1
        rows.append(np.maximum(row - (total[k - 1] - 1) / k, 0))
    return np.array(rows)


def relu(x, slope, largest, threshold):
    y = np.where(x >= largest, largest, np.where(x > threshold, x, slope * (x - threshold)))
    return y


CASES = {
    "relu": ({}, lambda x: np.maximum(x, 0)),
    "relu-slope": ({"negative_slope": 0.1}, lambda x: np.where(x > 0, x, 0.1 * x)),
    "relu-max": ({"max_value": 2.0}, lambda x: np.clip(x, 0, 2)),
    "relu-6": ({"max_value": 6}, lambda x: np.clip(x, 0, 6)),
    "relu-threshold": ({"threshold": 0.5}, lambda x: np.where(x > 0.5, x, 0)),
    "relu-all": ({"negative_slope": 0.2, "max_value": 3.0, "threshold": 0.6}, lambda x: relu(x, 0.2, 3.0, 0.6)),
    "leaky_relu": ({}, lambda x: np.where(x > 0, x, 0.2 * x)),
    "relu6": ({}, lambda x: np.clip(x, 0, 6)),
    "elu": ({"alpha": 0.7}, lambda x: np.where(x > 0, x, 0.7 * np.expm1(x))),
    "celu": ({"alpha": 0.7}, lambda x: np.where(x > 0, x, 0.7 * np.expm1(x / 0.7))),
    "selu": ({}, lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    "sigmoid": ({}, sigmoid),
    "tanh": ({}, np.tanh),
    "tanh_shrink": ({}, lambda x: x - np.tanh(x)),
    "softplus": ({}, softplus),
    "softsign": ({}, lambda x: x / (1 + abs(x))),
    "soft_shrink": ({}, lambda x: np.sign(x) * np.maximum(abs(x) - 0.5, 0)),
    "hard_shrink": ({}, lambda x: np.where(abs(x) > 0.5, x, 0)),
    "hard_sigmoid": ({}, lambda x: np.clip(x + 3, 0, 6) / 6),
    "hard_silu": ({}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "hard_tanh": ({}, lambda x: np.clip(x, -1, 1)),
    "silu": ({}, lambda x: x * sigmoid(x)),
    "gelu": ({}, lambda x: x * special.ndtr(x)),
    "gelu-tanh": (
        {"approximate": True},
        lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    ),
    "exponential": ({}, np.exp),
    "mish": ({}, lambda x: x * np.tanh(softplus(x))),
    "log_sigmoid": ({}, lambda x: -softplus(-x)),
    "linear": ({}, lambda x: x),
    "squareplus": ({}, lambda x: (x + np.sqrt(x * x + 4)) / 2),
    "threshold": ({"threshold": 0.5, "default_value": -2.0}, lambda x: np.where(x > 0.5, x, -2.0)),
    "sparse_plus": ({}, lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4))),
    "sparse_sigmoid": ({}, lambda x: np.clip((x + 1) / 2, 0, 1)),
    "sparsemax": ({}, sparsemax),
    "softmax": ({}, softmax),
    "log_softmax": ({}, lambda x: np.log(softmax(x))),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    options, formula = CASES[name]
    f = getattr(activations, name.split("-")[0])
    want = formula(X)
    np.testing.assert_allclose(f(X, **options), want, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(f(X.astype(np.float32), **options), want, rtol=3e-6, atol=1e-6)
    weights = np.random.default_rng(0).normal(size=want.shape)
    if name == "linear":
        return
    got, (gradient,) = run(lambda x: f(x, **options), [X], gradient=weights)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(gradient, central(formula, X, weights), rtol=1e-6, atol=1e-7)


def test_glu():
    x = np.arange(12.0).reshape(2, 6) / 5 - 1
    want = x[:, :3] * sigmoid(x[:, 3:])
    np.testing.assert_allclose(activations.glu(x), want, rtol=1e-12)
    np.testing.assert_allclose(run(activations.glu, [x]), want, rtol=1e-12)
    with pytest.raises(ValueError, match="even extent"):
        activations.glu(x[:, :5])


def test_axis():
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    np.testing.assert_allclose(activations.softmax(x, axis=1).sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(activations.sparsemax(x, axis=1).sum(axis=1), 1.0, rtol=1e-12)


def test_by_name():
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.silu
    assert activations.get("relu") is activations.relu
    own = abs
    assert activations.get(own) is own
    for name in ("relu", "gelu", "silu", "softmax"):
        f = activations.get(name)
        assert activations.serialize(f) == name
        assert activations.deserialize(name) is f
    with pytest.raises(ValueError, match=r"rleu.*relu"):
        activations.get("rleu")
    with pytest.raises(TypeError, match="activation"):
        activations.get(3)


def test_own_activation_is_saved_by_its_registered_name():
    @saving.register_keras_serializable("tests", "twice")
    def twice(x):
        return 2 * x

    assert activations.deserialize(activations.serialize(twice)) is twice


# ---- layers with kinks of their own ----


def slopes(layer, x):
    """Value and derivative of a layer of one number at each of x."""
    x = np.asarray(x, np.float64)[:, None]
    value, (slope,) = run(lambda t: layer(t), [x], gradient=np.ones((len(x), 1)))
    return value[:, 0], slope[:, 0]


@pytest.mark.parametrize("make, message", [
    (lambda: layers.ELU("a"), "ELU: alpha must be a number, got 'a'"),
    (lambda: layers.Softmax("a"), "Softmax: axis must be an integer, got 'a'"),
    (lambda: layers.ReLU(max_value=-1), "ReLU: max_value must be >= 0, got -1"),
    (lambda: layers.LeakyReLU(np.nan), "LeakyReLU: negative_slope must be >= 0, got nan"),
    (lambda: layers.Dropout(0.5, seed="a"), "Dropout: seed must be an integer or None, got 'a'"),
    (lambda: layers.GaussianNoise(0.1, seed=1.5), "GaussianNoise: seed must be an integer or None, got 1.5"),
    (lambda: layers.LSTM(3, seed="a"), "LSTM: seed must be an integer or None, got 'a'"),
    (lambda: layers.MultiHeadAttention(2, 2, seed=True), "MultiHeadAttention: seed must be an integer or None"),
    (lambda: layers.RandomFlip(seed="a"), "seed must be an integer or None, got 'a'"),
    (lambda: layers.GaussianDropout(2), r"GaussianDropout: rate must be in \[0, 1\], got 2"),
    (lambda: layers.AlphaDropout("a"), r"AlphaDropout: rate must be in \[0, 1\], got 'a'"),
    (lambda: layers.SpatialDropout1D(-1), r"SpatialDropout1D: rate must be in \[0, 1\], got -1"),
])  # fmt: skip
def test_errors_of_settings(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_prelu_at_and_around_its_kink(float64):
    layer = layers.PReLU()
    layer(np.zeros((1, 1)))
    layer.alpha.assign(np.array([0.25]))
    x = [-2, -1e-9, 0, 1e-9, 2]
    value, slope = slopes(layer, x)
    np.testing.assert_allclose(value, np.where(np.array(x) > 0, x, 0.25 * np.array(x)), rtol=1e-12)
    assert slope.tolist() == [0.25, 0.25, 0.25, 1, 1]  # at 0 that of the left, as PyTorch


def test_maxout_at_and_around_its_kinks(float64):
    """max(-x - 1, 0, 2 x - 2): kinks at -1 and 1, where the slope is one of the two sides', or between them."""
    layer = layers.Maxout(1, 3)
    layer(np.zeros((1, 1)))
    layer.kernel.assign(np.array([[-1.0, 0.0, 2.0]]))
    layer.bias.assign(np.array([-1.0, 0.0, -2.0]))
    x = np.array([-3, -1 - 1e-9, -1, -1 + 1e-9, 0, 1 - 1e-9, 1, 1 + 1e-9, 3])
    value, slope = slopes(layer, x)
    np.testing.assert_allclose(value, np.maximum(np.maximum(-x - 1, 0), 2 * x - 2), atol=1e-15)
    assert slope[[0, 1, 3, 4, 5, 7, 8]].tolist() == [-1, -1, 0, 0, 0, 2, 2]
    assert -1 <= slope[2] <= 0 <= slope[6] <= 2


def test_glu_and_mish_are_smooth(float64):
    x = np.array([-20, -1.2, -1e-9, 0, 1e-9, 1.2, 20])
    for name, formula in (("mish", lambda v: v * np.tanh(np.log1p(np.exp(v)))), ("glu", lambda v: v * sigmoid(v))):

        def f(t, name=name):
            return activations.mish(t) if name == "mish" else activations.glu(ops.concatenate([t, t], axis=-1))

        _, (slope,) = run(f, [x[:, None]], gradient=np.ones((len(x), 1)))
        np.testing.assert_allclose(slope[:, 0], central(formula, x, np.ones(len(x))), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_celu_at_and_around_its_kink(alpha):
    """Of slope 1 from either side, whatever alpha."""
    x = np.array([-30.0, -1.0, -1e-9, 0, 1e-9, 3.0])
    _, (slope,) = run(lambda t: activations.celu(t, alpha), [x], gradient=np.ones(len(x)))
    np.testing.assert_allclose(slope, np.where(x > 0, 1, np.exp(np.minimum(x, 0) / alpha)), rtol=1e-8, atol=1e-15)
