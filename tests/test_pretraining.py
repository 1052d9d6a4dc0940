"""Autoencoders, tied weights, greedy pre-training, transfer."""

import numpy as np
import pytest

import fastnn
from fastnn import layers, optimizers, pretraining, regularizers
from fastnn.layers import Dense, Input
from fastnn.pretraining import Autoencoder, Corruption, TiedDense
from fastnn.utils.seeding import set_random_seed


def data(rows=400):
    (x, y), (xt, yt) = fastnn.datasets.digits.load_data()
    flat = lambda a: (a.reshape(-1, 64) / 16).astype(np.float32)  # noqa: E731
    return (flat(x[:rows]), y[:rows]), (flat(xt), yt)


OPTIONS = ({}, {"tied": True}, {"corruption": "mask"}, {"corruption": "gaussian", "tied": True})


@pytest.mark.parametrize("options", OPTIONS)
def test_reconstructs_better_than_the_mean(options):
    (x, _), (xt, _) = data()
    set_random_seed(1)
    auto = Autoencoder(64, [32, 12], activation="tanh", optimizer=optimizers.Adam(5e-3), **options)
    history = auto.fit(x, epochs=25, verbose=0, validation_data=xt)
    assert "val_loss" in history.history
    error = ((auto.reconstruct(xt) - xt) ** 2).mean()
    assert error < 0.6 * ((xt - x.mean(axis=0)) ** 2).mean()
    codes = auto.encode(xt)
    assert codes.shape == (len(xt), 12)
    np.testing.assert_allclose(auto.decode(codes), auto.reconstruct(xt), atol=1e-5)
    assert len(auto.model.weights) == (6 if options.get("tied") else 8)


def test_a_linear_autoencoder_finds_the_principal_components(float64):
    """Its best error is the variance outside of the first k components (Baldi & Hornik 1989)."""
    (x, _), _ = data(200)
    x = x.astype(np.float64) - x.mean(axis=0)
    auto = Autoencoder(64, 4, activation=None, optimizer=optimizers.LBFGS(), tied=True)
    auto.fit(x, epochs=200, verbose=0)
    best = (np.linalg.svd(x, compute_uv=False)[4:] ** 2).sum() / x.size
    assert ((auto.reconstruct(x) - x) ** 2).mean() == pytest.approx(best, rel=1e-3)


def test_tied_gradients(float64, rng):
    """The kernel's gradient is the sum of both uses', against central differences."""
    x = rng.normal(size=(5, 6))
    auto = Autoencoder(6, 3, activation="tanh", tied=True, optimizer=optimizers.SGD(1.0))
    start = auto.model.get_weights()

    def loss(kernel):
        auto.model.set_weights([kernel, *start[1:]])
        return auto.model.evaluate(x, x, verbose=0)

    kernel, numeric = start[0], np.zeros((6, 3))
    for at in np.ndindex(6, 3):
        step = np.zeros((6, 3))
        step[at] = 1e-6
        numeric[at] = (loss(kernel + step) - loss(kernel - step)) / 2e-6
    auto.model.set_weights(start)
    auto.model.train_on_batch(x, x)
    np.testing.assert_allclose(start[0] - auto.model.get_weights()[0], numeric, atol=1e-7)


def test_corruption():
    x = np.ones((200, 50), np.float32)
    assert Corruption("mask", np.float32(0.25)).amount == 0.25
    masked = np.asarray(Corruption("mask", 0.3)(x, training=True))
    assert set(np.unique(masked.round(6))) == {0.0, 1.0} and masked.mean() == pytest.approx(0.7, abs=0.02)
    noisy = np.asarray(Corruption("gaussian", 0.5)(x, training=True))
    assert noisy.std() == pytest.approx(0.5, abs=0.02)
    assert np.array_equal(np.asarray(Corruption("mask", 0.3)(x)), x)
    for arguments in (("salt",), ("mask", 1.0), ("gaussian", -1)):
        with pytest.raises(ValueError, match="Corruption: "):
            Corruption(*arguments)


def net(depth=2, units=24, rate=5e-3):
    set_random_seed(2)
    hidden = [Dense(units, activation="sigmoid") for _ in range(depth)]
    model = fastnn.Sequential([Input((8, 8)), layers.Flatten(), *hidden, Dense(10, activation="softmax")])
    model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_pretraining_helps_a_deep_sigmoid_net():
    """Few labels, five sigmoid layers: from random weights hardly anything is learned in this time."""
    (x, y), (xt, yt) = data(1437)
    images, few, test = x.reshape(-1, 8, 8), 200, xt.reshape(-1, 8, 8)
    plain, model = net(5, 64, 3e-3), net(5, 64, 3e-3)
    plain.fit(images[:few], y[:few], epochs=25, verbose=0)
    before = model.get_weights()
    histories = pretraining.pretrain(model, images, epochs=20, loss="binary_crossentropy", optimizer=slow)
    after = model.get_weights()
    assert len(histories) == 5 and histories[0].history["loss"][-1] < histories[0].history["loss"][0]
    assert all(not np.array_equal(a, b) for a, b in zip(before[:10], after[:10], strict=True))
    assert np.array_equal(before[10], after[10])  # the last layer is for the targets
    model.fit(images[:few], y[:few], epochs=25, verbose=0)
    assert model.evaluate(test, yt, verbose=0)[1] > plain.evaluate(test, yt, verbose=0)[1] + 0.2


def slow():
    return optimizers.Adam(3e-3)


def test_pretrained_layers_are_the_autoencoders():
    (x, _), _ = data(100)
    model = fastnn.Sequential([Input((64,)), Dense(20, activation="tanh"), Dense(3)])
    pretraining.pretrain(model, x, epochs=30, layers=1)
    hidden = np.tanh(x @ model.layers[0].kernel.value + model.layers[0].bias.value)
    found, *_ = np.linalg.lstsq(np.c_[hidden, np.ones(100)], x, rcond=None)
    assert ((np.c_[hidden, np.ones(100)] @ found - x) ** 2).mean() < 0.3 * x.var(axis=0).mean()


def test_layers_without_a_bias_are_pretrained_without(monkeypatch):
    """The second layer learns from what the first one gives in the model."""
    (x, _), _ = data(100)
    seen, fit = [], pretraining.Autoencoder.fit
    monkeypatch.setattr(
        pretraining.Autoencoder, "fit", lambda self, x, **more: (seen.append(x), fit(self, x, **more))[1]
    )
    model = fastnn.Sequential([Input((64,)), Dense(20, "sigmoid", use_bias=False), Dense(9, "sigmoid"), Dense(3)])
    pretraining.pretrain(model, x, epochs=5)
    np.testing.assert_allclose(seen[1], np.asarray(model.layers[0](x)), atol=1e-6)


def test_transfer():
    (x, y), _ = data()
    source = net()
    source.fit(x.reshape(-1, 8, 8), y, epochs=2, verbose=0)
    target = fastnn.Sequential([Input((8, 8)), layers.Flatten(), Dense(24), Dense(24), Dense(2, activation="softmax")])
    target.compile("adam", "sparse_categorical_crossentropy")
    given = pretraining.copy_weights(source, target)
    assert [layer.name for layer in given] == [layer.name for layer in target.layers[1:3]]
    frozen = pretraining.freeze(target, 2)
    assert frozen == given and len(target.trainable_weights) == 2
    target.fit(x.reshape(-1, 8, 8), y % 2, epochs=2, verbose=0)
    for a, b in zip(source.get_weights()[:4], target.get_weights()[:4], strict=True):
        assert np.array_equal(a, b)
    pretraining.unfreeze(target, [given[1].name])
    assert len(target.trainable_weights) == 4
    pretraining.freeze(target, -1)
    assert len(target.trainable_weights) == 2
    pretraining.unfreeze(target)
    assert len(target.trainable_weights) == 6


def test_what_is_refused():
    (x, _), _ = data(20)
    model, other = net(), fastnn.Sequential([Input((64,)), Dense(3)])
    a = Input((64,))
    branched = fastnn.Model(a, layers.add([Dense(64)(a), a]))
    for call, error, message in (
        (lambda: Autoencoder(0, 3), ValueError, "inputs must be an integer >= 1"),
        (lambda: Autoencoder(4, []), ValueError, "at least one size"),
        (lambda: Autoencoder(4, 2).fit(x, y=x), TypeError, "targets are x itself"),
        (lambda: TiedDense(layers.Flatten()), TypeError, "source must be a Dense layer"),
        (lambda: TiedDense(Dense(3)).build((None, 3)), ValueError, "must be called on inputs first"),
        (lambda: Autoencoder(4, 2, tied=True).model.to_json(), NotImplementedError, "refers to another layer"),
        (lambda: pretraining.pretrain(branched, x), ValueError, "must be a chain of layers"),
        (lambda: pretraining.pretrain(fastnn.Sequential([Dense(3)]), x), ValueError, "give it an Input"),
        (
            lambda: pretraining.pretrain(model, x[:, :3]),
            ValueError,
            r"gets inputs of shape \(20, 3\), expected 64 features",
        ),
        (lambda: pretraining.pretrain(model, x, layers=9), ValueError, "layers must be from 1 to 3"),
        (lambda: pretraining.pretrain(model, x, optimizer=3), TypeError, "a name or a function"),
        (lambda: pretraining.copy_weights(model, other, 1), ValueError, "layer 0 does not fit"),
        (lambda: pretraining.copy_weights(model, other, 4), ValueError, "layers must be from 1 to 1"),
        (lambda: pretraining.freeze(model, 7), ValueError, "3 layers with weights"),
        (lambda: pretraining.freeze(model, [other.layers[0]]), ValueError, "is not a layer of"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_sparse_code():
    (x, _), _ = data(100)
    found = []
    for penalty in (None, regularizers.L1(1e-2)):
        set_random_seed(1)
        auto = Autoencoder(64, 20, activation="relu", code_regularizer=penalty, optimizer=optimizers.Adam(1e-2))
        auto.fit(x, epochs=40, verbose=0)
        found.append((auto.encode(x) > 1e-3).mean())
    assert found[1] < 0.6 * found[0]
