"""Range test, learning-rate factors, Lp penalties, alpha dropout, noisy labels, plots of histories and schedules."""

import numpy as np
import pytest

import fastnn
from fastnn import optimizers, regularizers
from fastnn.layers import AlphaDropout, Dense, GaussianDropout, Input
from fastnn.optimizers import schedules
from fastnn.saving import deserialize_keras_object, serialize_keras_object
from fastnn.utils import noisy_labels
from fastnn.utils.seeding import set_random_seed


def data(rows=200):
    (x, y), _ = fastnn.datasets.digits.load_data()
    return (x[:rows].reshape(-1, 64) / 16).astype(np.float32), y[:rows]


def net(optimizer="adam", **dense):
    set_random_seed(3)
    model = fastnn.Sequential([Input((64,)), Dense(10, activation="relu", **dense), Dense(10, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_range_test_leaves_everything_as_it_was():
    x, y = data()
    model, twin = net(), net()
    for one in (model, twin):
        one.fit(x, y, epochs=1, verbose=0)
    found = model.find_learning_rate(x, y, steps=60)
    assert model.optimizer.learning_rate == 0.001 and model.optimizer.step_count == twin.optimizer.step_count
    for one in (model, twin):
        one.fit(x, y, epochs=2, initial_epoch=1, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), twin.get_weights(), strict=True))
    assert len(found.rates) == len(found.losses) == len(found.smooth) <= 60
    assert 1e-4 < found.suggestion < 3 and found.rates[0] == pytest.approx(1e-6)


def test_range_test_stops_when_it_diverges():
    x, y = data()
    model = fastnn.Sequential([Input((64,)), Dense(1)])
    model.compile(optimizers.SGD(), "mse")
    found = model.find_learning_rate(x, y.astype(np.float32), highest=1e3, steps=80)
    assert len(found.rates) < 80


def test_range_test_of_a_negative_loss():
    x, _ = data()
    model = fastnn.Sequential([Input((64,)), Dense(64)])
    model.compile(optimizers.SGD(), "cosine_similarity")
    model.layers[0].kernel.assign(np.eye(64))
    assert len(model.find_learning_rate(x, x, highest=1e-3, steps=20).rates) == 20


def test_range_test_arguments():
    x, y = data(20)
    model = net()
    for arguments, message in (
        ({"lowest": 0.0}, "0 < lowest < highest"),
        ({"lowest": 1.0, "highest": 0.1}, "0 < lowest < highest"),
        ({"steps": 1}, "steps must be at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            model.find_learning_rate(x, y, **arguments)
    with pytest.raises(ValueError, match="searches its rates itself"):
        net(optimizers.LBFGS()).find_learning_rate(x, y)


@pytest.mark.parametrize("make", [lambda: optimizers.SGD(0.1), lambda: optimizers.Adam(0.01)])
def test_learning_rate_factor(make):
    """One step changes a layer's weights by `factor` times as much."""
    x, y = data(32)
    changes = {}
    for factor in (1.0, 0.25, 0.0):
        model = net(make(), learning_rate_factor=factor)
        before = model.get_weights()
        model.train_on_batch(x, y)
        changes[factor] = [a - b for a, b in zip(model.get_weights(), before, strict=True)]
    np.testing.assert_allclose(changes[0.25][0], 0.25 * changes[1.0][0], atol=1e-7)
    np.testing.assert_allclose(changes[0.25][2], changes[1.0][2], atol=1e-7)
    assert not changes[0.0][0].any() and changes[1.0][0].any()


def test_learning_rate_factor_is_set_later_and_saved(tmp_path):
    x, y = data(32)
    model = net(optimizers.SGD(0.1))
    model.train_on_batch(x, y)
    model.layers[0].learning_rate_factor = 0.0
    before = model.get_weights()
    model.train_on_batch(x, y)
    assert np.array_equal(before[0], model.get_weights()[0]) and not np.array_equal(before[2], model.get_weights()[2])
    model.save(tmp_path / "m.safetensors")
    loaded = fastnn.models.load_model(tmp_path / "m.safetensors")
    assert [layer.learning_rate_factor for layer in loaded.layers] == [0.0, 1.0]
    assert loaded.layers[0].kernel.learning_rate_factor == 0.0
    model.learning_rate_factor = 0.5
    assert model.layers[0].kernel.learning_rate_factor == 0.5
    for bad, error in ((-1.0, ValueError), (np.inf, ValueError), ("a", TypeError)):
        with pytest.raises(error, match="learning_rate_factor must be"):
            Dense(2, learning_rate_factor=bad)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_lp_penalty(p, float64, rng):
    w = rng.normal(size=(5, 4))
    w[0] = 0
    penalty = regularizers.Lp(p, 0.3)
    assert float(penalty(w)) == pytest.approx(0.3 * (np.abs(w) ** p).sum())
    model = fastnn.Sequential([Input((5,)), Dense(4, use_bias=False, kernel_regularizer=penalty)])
    model.compile(optimizers.SGD(1.0), "mse")
    model.set_weights([w])
    x = np.zeros((3, 5))
    model.train_on_batch(x, np.zeros((3, 4)))
    gradient = 0.3 * p * np.sign(w) * np.abs(w) ** (p - 1)
    np.testing.assert_allclose(model.get_weights()[0], w - gradient, atol=1e-9)
    again = deserialize_keras_object(serialize_keras_object(penalty))
    assert again.get_config() == penalty.get_config() == {"p": p, "factor": 0.3}


def test_lp_arguments():
    with pytest.raises(ValueError, match=r"Lp: p must be finite and >= 1, got 0\.5"):
        regularizers.Lp(0.5)
    with pytest.raises(ValueError, match="Lp: factor must be finite and >= 0, got -1"):
        regularizers.Lp(2, -1)


@pytest.mark.parametrize("layer", [AlphaDropout(0.3), GaussianDropout(0.3)])
def test_noisy_dropouts_keep_the_moments(layer, rng):
    x = rng.normal(size=(400, 100)).astype(np.float32)
    model = fastnn.Sequential([Input((100,)), layer])
    assert np.array_equal(model.predict(x), x)
    y = np.asarray(layer(x, training=True))
    assert abs(y.mean()) < 0.02
    assert y.std() == pytest.approx(1.0 if isinstance(layer, AlphaDropout) else np.sqrt(1 + 0.3 / 0.7), abs=0.02)
    again = deserialize_keras_object(serialize_keras_object(layer))
    assert again.rate == 0.3 and type(again) is type(layer)


def test_alpha_dropout_values(rng):
    x = rng.normal(size=(50, 40)).astype(np.float64)
    y = np.asarray(AlphaDropout(0.4, dtype="float64")(x, training=True))
    c = -1.6732632423543772 * 1.0507009873554805
    a = (0.6 * (1 + 0.4 * c * c)) ** -0.5
    kept, dropped = a * x - a * 0.4 * c, a * c - a * 0.4 * c
    is_kept = np.isclose(y, kept, atol=1e-9)
    assert np.allclose(y[~is_kept], dropped) and 0.5 < is_kept.mean() < 0.7


def test_noisy_labels():
    y = np.arange(3000) % 5
    noisy = noisy_labels(y, 0.3, seed=1)
    assert (
        noisy.dtype == y.dtype and set(noisy) == set(range(5)) and (noisy != y).mean() == pytest.approx(0.3, abs=0.03)
    )
    assert np.array_equal(noisy, noisy_labels(y, 0.3, seed=1))
    assert (noisy_labels(y, 1.0) != y).all() and np.array_equal(noisy_labels(y, 0.0), y)
    for arguments, error, message in (
        ((y.astype(float), 0.1), TypeError, "y must hold integers"),
        ((y, 1.5), ValueError, r"rate must be in \[0, 1\]"),
        ((y, 0.1, 3), ValueError, "ids from 0 to 4 and num_classes=3"),
    ):
        with pytest.raises(error, match=message):
            noisy_labels(*arguments)


def test_plots(tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    x, y = data(64)
    model = net()
    history = model.fit(x, y, epochs=2, verbose=0, validation_split=0.25)
    history.plot(tmp_path / "h.png", title="t")
    assert (tmp_path / "h.png").stat().st_size > 1000
    assert schedules.MomentumSchedule(0.99).plot(100).get_xlabel() == "step"
    with pytest.raises(ValueError, match="steps must be an integer >= 1"):
        schedules.CosineDecay(0.1, 10).plot(0)


def test_plot_of_a_range_test(tmp_path):
    """A file or axes, as for a history."""
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib.figure import Figure

    x, y = data(64)
    found = net().find_learning_rate(x, y, steps=5)
    figure = found.plot(tmp_path / "r.png", title="t")
    assert isinstance(figure, Figure) and (tmp_path / "r.png").stat().st_size > 1000
    assert figure.axes[0].get_xlabel() == "learning rate" and figure.axes[0].get_title() == "t"
    own = Figure()
    left, right = own.subplots(1, 2)
    assert found.plot(ax=right) is own and len(right.lines) == 3 and not left.lines
    assert len(found.plot().axes) == 1
    with pytest.raises(TypeError, match="pass axes as ax="):
        found.plot(left)


def test_frozen_layers_keep_their_bits():
    x, y = data(64)
    model = net()
    model.layers[0].trainable = False
    before = model.get_weights()
    model.fit(x, y, epochs=2, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before[:2], model.get_weights()[:2], strict=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda r: schedules.ExponentialDecay(r, 10, 0.5),
        lambda r: schedules.StepDecay(r, 10, 0.5),
        lambda r: schedules.PiecewiseConstantDecay([5], [0.1, r]),
        lambda r: schedules.PolynomialDecay(r, 10),
        lambda r: schedules.PolynomialDecay(0.1, 10, r),
        lambda r: schedules.InverseTimeDecay(r, 10, 0.5),
        lambda r: schedules.CosineDecay(r, 10),
        lambda r: schedules.CosineDecay(0.0, 10, warmup_target=r, warmup_steps=2),
        lambda r: schedules.CosineDecayRestarts(r, 10),
        lambda r: schedules.CyclicLearningRate(r, 0.1),
        lambda r: schedules.CyclicLearningRate(0.1, r),
        lambda r: schedules.OneCycle(r, 10),
        lambda r: schedules.WarmUp(r, 10),
        lambda r: optimizers.SGD(r),
    ],
)
def test_a_negative_rate_is_refused(make):
    make(0.05)
    for bad in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"must be finite and >= 0"):
            make(bad)


def test_bad_input_is_named():
    x, y = data(20)
    model = net()
    for call, message in (
        (lambda: optimizers.SGD(momentum=1.0), r"momentum must be in \[0, 1\)"),
        (lambda: schedules.PiecewiseConstantDecay([], []), "boundaries at least one"),
        (lambda: fastnn.callbacks.EarlyStopping(patience=-1), "patience must be at least 0"),
        (
            lambda: model.fit(x, y, verbose=0, callbacks=[fastnn.callbacks.EarlyStopping("val_nothing", mode="min")]),
            "no metric 'val_nothing' in the logs",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
