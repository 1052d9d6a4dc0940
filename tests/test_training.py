"""fit, evaluate, predict and the calls of single batches against training loops written out in float64 NumPy."""

import os
import signal
import threading
from itertools import pairwise

import numpy as np
import pytest

import fastnn
from fastnn import callbacks, layers, metrics, ops, optimizers
from fastnn.datasets import digits
from fastnn.layers import Dense, Dropout, Input
from fastnn.models import Model, Sequential
from fastnn.utils.seeding import set_random_seed

# float32 kernels against float64: rounding of a few hundred products and updates
NEAR32 = {"rtol": 2e-4, "atol": 2e-5}
NEAR64 = {"rtol": 1e-9, "atol": 1e-11}


def data(rng, rows=50, columns=6, classes=3):
    x = rng.normal(size=(rows, columns)).astype(np.float32)
    return x, rng.integers(0, classes, rows), rng.normal(size=(rows, 2)).astype(np.float32)


def net(outputs=3, activation="softmax", **first):
    return Sequential([Input((6,)), Dense(8, activation="tanh", **first), Dense(outputs, activation=activation)])


class Loop:
    """The same two-layer network in NumPy: tanh, then softmax with crossentropy or linear with squared error."""

    def __init__(self, model, optimizer, loss, l2=0.0):
        self.weights = [w.astype(np.float64) for w in model.get_weights()]
        self.optimizer, self.loss, self.l2 = optimizer, loss, l2
        self.state, self.t = {}, 0

    def forward(self, x):
        w1, b1, w2, b2 = self.weights
        h = np.tanh(x @ w1 + b1)
        z = h @ w2 + b2
        if self.loss == "mse":
            return h, z
        e = np.exp(z - z.max(1, keepdims=True))
        return h, e / e.sum(1, keepdims=True)

    def losses(self, y, t):
        if self.loss == "mse":
            return ((y - t) ** 2).mean(1)
        return -np.log(y[np.arange(len(t)), t])

    def step(self, x, t, weights=None):
        x = x.astype(np.float64)
        w = np.ones(len(x)) if weights is None else weights
        h, y = self.forward(x)
        value = (self.losses(y, t) * w).mean() + self.l2 * (self.weights[0] ** 2).sum()
        if self.loss == "mse":
            dz = 2 * (y - t) / y.shape[1]
        else:
            dz = y - np.eye(y.shape[1])[t]
        dz = dz * w[:, None] / len(x)
        dh = dz @ self.weights[2].T * (1 - h * h)
        self.update([x.T @ dh + 2 * self.l2 * self.weights[0], dh.sum(0), h.T @ dz, dz.sum(0)])
        return value

    def update(self, gradients):
        kind, rate = self.optimizer[0], self.optimizer[1]
        self.t += 1
        for j, g in enumerate(gradients):
            if kind == "sgd":
                self.weights[j] -= rate * g
            elif kind == "momentum":
                v = self.state[j] = self.optimizer[2] * self.state.get(j, 0) - rate * g
                self.weights[j] += v
            else:
                m, v = self.state.get(j, (0, 0))
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                self.state[j] = m, v
                scale = np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
                self.weights[j] -= rate * scale * m / (np.sqrt(v) + 1e-7)

    def epoch(self, x, t, batch, order=None, weights=None):
        """The mean loss of the epoch."""
        order = np.arange(len(x)) if order is None else order
        total = 0
        for at in range(0, len(x), batch):
            rows = order[at : at + batch]
            total += self.step(x[rows], t[rows], None if weights is None else weights[rows]) * len(rows)
        return total / len(x)


OPTIMIZERS = {
    "sgd": (lambda: optimizers.SGD(0.1), ("sgd", 0.1)),
    "momentum": (lambda: optimizers.SGD(0.05, momentum=0.9), ("momentum", 0.05, 0.9)),
    "adam": (lambda: optimizers.Adam(0.01), ("adam", 0.01)),
}


@pytest.mark.parametrize("real", ["float64", "float32"])
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "mse"])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_fit_follows_a_loop(optimizer, loss, real, rng):
    before = fastnn.config.floatx()
    fastnn.config.set_floatx(real)
    try:
        model = net() if loss != "mse" else net(2, None)
    finally:
        fastnn.config.set_floatx(before)
    x, classes, values = data(rng)
    t = values if loss == "mse" else classes
    make, known = OPTIMIZERS[optimizer]
    model.compile(make(), loss)
    loop = Loop(model, known, loss)
    history = model.fit(x, t, batch_size=16, epochs=4, shuffle=False, verbose=0).history
    expected = [loop.epoch(x, t, 16) for _ in range(4)]
    near = NEAR64 if real == "float64" else NEAR32
    np.testing.assert_allclose(history["loss"], expected, **near)
    for w, e in zip(model.get_weights(), loop.weights, strict=True):
        np.testing.assert_allclose(w, e, **near)
    np.testing.assert_allclose(model.predict(x, verbose=0), loop.forward(x.astype(float))[1], **near)
    np.testing.assert_allclose(
        model.evaluate(x, t, verbose=0), loop.losses(loop.forward(x.astype(float))[1], t).mean(), **near
    )


def test_shuffled_epochs_use_every_sample_once(rng, float64):
    model = net()
    x, t, _ = data(rng)
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    loop = Loop(model, ("sgd", 0.1), "ce")
    history = model.fit(x, t, batch_size=7, epochs=3, verbose=0).history
    orders = [model._shuffled(epoch, len(x)) for epoch in range(3)]
    assert all(sorted(o) == list(range(50)) for o in orders) and (orders[0] != orders[1]).any()
    np.testing.assert_allclose(history["loss"], [loop.epoch(x, t, 7, o) for o in orders], **NEAR64)
    for w, e in zip(model.get_weights(), loop.weights, strict=True):
        np.testing.assert_allclose(w, e, **NEAR64)


@pytest.mark.parametrize("how", ["sample_weight", "class_weight", "both"])
def test_weights_of_samples_and_classes(how, rng, float64):
    model = net()
    x, t, _ = data(rng)
    given = rng.uniform(0, 2, 50)
    by_class = {0: 0.5, 2: 3.0}
    weights = np.ones(50)
    arguments = {}
    if how != "class_weight":
        weights, arguments["sample_weight"] = weights * given, given
    if how != "sample_weight":
        weights = weights * np.array([by_class.get(c, 1.0) for c in t])
        arguments["class_weight"] = by_class
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    loop = Loop(model, ("sgd", 0.1), "ce")
    history = model.fit(x, t, batch_size=16, epochs=3, shuffle=False, verbose=0, **arguments).history
    np.testing.assert_allclose(history["loss"], [loop.epoch(x, t, 16, weights=weights) for _ in range(3)], **NEAR64)
    for w, e in zip(model.get_weights(), loop.weights, strict=True):
        np.testing.assert_allclose(w, e, **NEAR64)


def test_l2_is_in_loss_and_gradient(rng, float64):
    model = net(kernel_regularizer=fastnn.regularizers.L2(0.02))
    x, t, _ = data(rng)
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    loop = Loop(model, ("sgd", 0.1), "ce", l2=0.02)
    history = model.fit(x, t, batch_size=16, epochs=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], [loop.epoch(x, t, 16) for _ in range(3)], **NEAR64)
    expected = loop.losses(loop.forward(x.astype(float))[1], t).mean() + 0.02 * (loop.weights[0] ** 2).sum()
    np.testing.assert_allclose(model.evaluate(x, t, verbose=0), expected, **NEAR64)


def test_loss_scale_changes_no_update(rng):
    x, _, y = data(rng)
    found = []
    for scale in (None, 64.0):
        set_random_seed(5)
        model = net(2, None, kernel_regularizer="l2")
        model.compile(optimizers.SGD(0.1, loss_scale_factor=scale), "mse")
        loss = model.fit(x, y, verbose=0).history["loss"]
        found.append([loss, model.train_on_batch(x, y), *model.get_weights()])
    assert all(np.array_equal(u, v) for u, v in zip(*found, strict=True))


def test_several_outputs(rng, float64):
    inputs = Input((6,))
    h = Dense(5, activation="tanh")(inputs)
    model = Model(inputs, {"kind": Dense(3, activation="softmax", name="kind")(h), "size": Dense(2, name="size")(h)})
    x, t, values = data(rng)
    w = rng.uniform(0.5, 1.5, 50)
    model.compile("sgd", {"kind": "sparse_categorical_crossentropy", "size": "mse"},
                  loss_weights={"kind": 0.3, "size": 2.0}, metrics={"kind": ["accuracy"]})  # fmt: skip
    found = model.evaluate(x, {"kind": t, "size": values}, verbose=0, return_dict=True)
    y = model.predict(x, verbose=0)
    kind = -np.log(y["kind"][np.arange(50), t]).mean()
    size = ((y["size"] - values) ** 2).mean()
    near = pytest.approx
    assert found["kind_loss"] == near(kind) and found["size_loss"] == near(size)
    assert found["loss"] == near(0.3 * kind + 2 * size)
    assert found["kind_accuracy"] == near((y["kind"].argmax(1) == t).mean())
    weighted = model.evaluate(x, {"kind": t, "size": values}, sample_weight={"kind": w, "size": w}, verbose=0,
                              return_dict=True)  # fmt: skip
    assert weighted["kind_loss"] == near((-np.log(y["kind"][np.arange(50), t]) * w).mean())
    history = model.fit(x, {"kind": t, "size": values}, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_single_batches_are_the_steps_of_fit(rng):
    x, t, _ = data(rng)
    models = []
    for _ in range(2):
        set_random_seed(3)
        models.append(net())
        models[-1].compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    a, b = models
    a.fit(x, t, batch_size=16, epochs=2, shuffle=False, verbose=0)
    for _ in range(2):
        for at in range(0, 50, 16):
            b.train_on_batch(x[at : at + 16], t[at : at + 16])
    for u, v in zip(a.get_weights(), b.get_weights(), strict=True):
        assert np.array_equal(u, v)
    assert a.optimizer.iterations == b.optimizer.iterations == 8
    b.reset_metrics()
    first = b.test_on_batch(x[:20], t[:20], return_dict=True)
    both = b.test_on_batch(x[20:], t[20:], return_dict=True)
    whole = a.evaluate(x, t, verbose=0, return_dict=True)
    assert both["loss"] == pytest.approx(whole["loss"], rel=1e-6) and both["accuracy"] == whole["accuracy"]
    assert first != both
    # float32 products of other sizes may be blocked otherwise
    np.testing.assert_allclose(b.predict_on_batch(x), a.predict(x, batch_size=7, verbose=0), rtol=1e-5, atol=1e-6)


def test_history_and_validation(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, t, epochs=3, validation_split=0.2, validation_freq=2, verbose=0)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history.epoch == [0, 1, 2] and len(history.history["val_loss"]) == 1
    assert model.history is history
    value, accuracy = model.evaluate(x[40:], t[40:], verbose=0)
    history = model.fit(x[:40], t[:40], epochs=1, validation_data=(x[40:], t[40:]), verbose=0).history
    after = model.evaluate(x[40:], t[40:], verbose=0)
    assert [history["val_loss"][0], history["val_accuracy"][0]] == after != [value, accuracy]


def test_validation_split_takes_the_end(rng):
    """The last samples never reach the weights."""
    x, t, _ = data(rng)
    weights = []
    for spoil in (1.0, 1000.0):
        set_random_seed(5)
        model = net()
        model.compile("sgd", "sparse_categorical_crossentropy")
        x2 = x.copy()
        x2[40:] *= spoil
        model.fit(x2, t, epochs=2, validation_split=0.2, verbose=0)
        weights.append(model.get_weights())
    for u, v in zip(*weights, strict=True):
        assert np.array_equal(u, v)


def test_class_weights_are_not_for_validation(rng):
    x, t, _ = data(rng)
    weights = {0: 0.5, 1: 2.0, 2: 3.0}
    found = []
    for how in ("split", "data"):
        set_random_seed(3)
        model = net()
        model.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
        given = {"validation_split": 0.3} if how == "split" else {"validation_data": (x[35:], t[35:])}
        rows = 50 if how == "split" else 35
        found.append(model.fit(x[:rows], t[:rows], class_weight=weights, epochs=2, verbose=0, **given).history)
    assert found[0] == found[1]


def test_targets_of_outputs_without_a_loss(rng):
    """Lists and dicts may hold them: they are not read."""
    x, _, y = data(rng)
    a = Input((6,))
    outs = [Dense(2, name=name)(a) for name in "abc"]
    found = []
    for outputs, loss, targets in [
        (outs, ["mse", None, "mse"], [y, y[:7], y]),
        (outs, ["mse", None, "mse"], [y, y]),
        (dict(zip("abc", outs, strict=True)), {"a": "mse", "c": "mse"}, {"a": y, "b": None, "c": y}),
    ]:
        model = Model(a, outputs)
        model.compile("sgd", loss)
        found.append(model.evaluate(x, targets, verbose=0))
    assert found[0] == found[1] == found[2]
    with pytest.raises(ValueError, match="targets must be given for"):
        model.evaluate(x, {"a": y, "z": y, "c": y}, verbose=0)


def test_same_seed_same_training(rng):
    x, t, _ = data(rng)
    found = []
    for seed in (7, 7, 8):
        set_random_seed(seed)
        model = Sequential([Input((6,)), Dense(8, activation="relu"), Dropout(0.5), Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        history = model.fit(x, t, epochs=3, batch_size=8, verbose=0).history["loss"]
        found.append((model.get_weights(), history))
    assert found[0][1] == found[1][1] and found[0][1] != found[2][1]
    for u, v in zip(found[0][0], found[1][0], strict=True):
        assert np.array_equal(u, v)


class Recorder(callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append("train begin")

    def on_train_end(self, logs=None):
        self.calls.append("train end")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch} begin")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch} end")
        assert {"loss", "val_loss"} <= set(logs)

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(f"batch {batch} begin")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(f"batch {batch} end")
        assert "loss" in logs

    def on_test_begin(self, logs=None):
        self.calls.append("test begin")

    def on_test_end(self, logs=None):
        self.calls.append("test end")


def test_order_of_callbacks(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile("sgd", "sparse_categorical_crossentropy")
    recorder = Recorder()
    model.fit(x, t, batch_size=32, epochs=2, validation_data=(x, t), callbacks=[recorder], verbose=0)
    # whether validation announces itself is left open here
    calls = [c for c in recorder.calls if not c.startswith("test")]
    batches = ["batch 0 begin", "batch 0 end", "batch 1 begin", "batch 1 end"]
    assert calls == ["train begin", "epoch 0 begin", *batches, "epoch 0 end", "epoch 1 begin", *batches, "epoch 1 end",
                     "train end"]  # fmt: skip


def test_batch_hooks_change_no_bit(rng):
    x, t, _ = data(rng)
    found = []
    for hooks in (False, True):
        set_random_seed(3)
        model = net()
        model.compile("adam", "sparse_categorical_crossentropy")
        extra = [callbacks.LambdaCallback(on_train_batch_end=lambda b, logs: None)] if hooks else []
        model.fit(x, t, batch_size=8, epochs=3, callbacks=extra, verbose=0)
        found.append(model.get_weights())
    for u, v in zip(*found, strict=True):
        assert np.array_equal(u, v)


def test_early_stopping_and_stop_training(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile(optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    stop = callbacks.EarlyStopping(monitor="loss", patience=2)
    assert len(model.fit(x, t, epochs=20, callbacks=[stop], verbose=0).epoch) == 3

    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    model.fit(x, t, batch_size=8, epochs=5, callbacks=[Stop()], verbose=0)
    assert len(model.history.epoch) == 1


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end"])
def test_a_training_stopped_before_its_first_batch_makes_one(hook, rng):
    """As in Keras: the loss of an epoch without a batch would be 0, the best there is."""
    x, t, _ = data(rng)

    def stop(*_, **__):
        model.stop_training = True

    batches = type("Batches", (), {"__iter__": lambda self: ((x[j : j + 8], t[j : j + 8]) for j in (0, 8))})()
    for given in (
        {"x": x, "y": t, "batch_size": 8},
        {"x": x, "y": t, "batch_size": 8, "steps_per_epoch": 20},
        {"x": batches},
    ):
        model = net()
        model.compile("sgd", "sparse_categorical_crossentropy")
        history = model.fit(**given, epochs=3, verbose=0, callbacks=[callbacks.LambdaCallback(**{hook: stop})]).history
        assert model.optimizer.step_count == 1 and len(history["loss"]) == 1 and history["loss"][0] > 0


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end",
                                  "on_train_chunk_end", "on_epoch_end", "on_train_end"])  # fmt: skip
def test_callbacks_may_train_the_model_themselves(hook, rng):
    x, t, _ = data(rng)
    model = net()
    model.compile(optimizers.SGD(optimizers.schedules.CosineDecay(0.1, 50)), "sparse_categorical_crossentropy")
    within = []

    def train(*_, **__):
        if not within:
            within.append(model.fit(x, t, batch_size=5, epochs=2, verbose=0))

    outer = model.fit(x, t, batch_size=10, epochs=2, verbose=0, callbacks=[callbacks.LambdaCallback(**{hook: train})])
    assert model.optimizer.step_count == 2 * 10 + 2 * 5
    assert outer is model.history and outer is not within[0] and len(outer.history["loss"]) == 2


class Heads(Model):
    def __init__(self, form):
        super().__init__()
        self.form, self.a, self.b = form, Dense(3, activation="softmax"), Dense(2)

    def call(self, x):
        return self.form(self.a(x), self.b(x))


@pytest.mark.parametrize("form, a, b", [
    (lambda a, b: [a, b], "output_1", "output_2"),
    (lambda a, b: (a, b), "output_1", "output_2"),
    (lambda a, b: {"policy": a, "value": b}, "policy", "value"),
])  # fmt: skip
def test_subclassed_models_of_several_outputs(form, a, b, rng):
    x, t, y = data(rng)
    inputs = Input((6,))
    heads = Dense(3, activation="softmax", name=a), Dense(2, name=b)
    graph = Model(inputs, form(*(head(inputs) for head in heads)))
    model = Heads(form)
    loss, targets = {a: "sparse_categorical_crossentropy", b: "mse"}, {a: t, b: y}
    if not isinstance(form(a, b), dict):
        loss, targets = list(loss.values()), list(targets.values())
    found, start = [], graph.get_weights()
    for one in (graph, model):
        one.compile("sgd", loss, loss_weights=[1.0, 0.5], metrics=[["accuracy"], ["mae"]])
        one.predict(x)  # builds it
        one.set_weights(start)
        one._seed = 1
        one.fit(x, targets, epochs=2, validation_split=0.2, verbose=0)
        found.append([one.history.history, one.evaluate(x, targets, verbose=0), one.train_on_batch(x, targets)])
        assert one.output_names == [a, b]
    assert found[0] == found[1]


def test_single_batches_of_several_outputs_without_metrics(rng):
    x, t, y = data(rng)
    inputs = Input((6,))
    model = Model(inputs, [Dense(3, activation="softmax")(inputs), Dense(2)(inputs)])
    model.compile(optimizers.SGD(0.0), ["sparse_categorical_crossentropy", "mse"])
    total, *parts = model.train_on_batch(x, [t, y])
    assert len(parts) == 2 and total == pytest.approx(sum(parts))
    assert model.evaluate(x, [t, y], verbose=0) == pytest.approx([total, *parts])


def test_labels_and_ids_of_models_without_an_input_are_checked(rng):
    class Own(Model):
        def __init__(self, *parts):
            super().__init__()
            self.parts = parts

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    x, t, _ = data(rng)
    ids = rng.integers(0, 10, (50, 4))
    for wrap in (lambda *parts: Sequential(parts), Own):
        for wrong, words in (
            (t + 1, "in 0..2 .the model has 3 outputs., got 3"),
            (t - 1, "got -1"),
            (t + 0.5, "whole"),
        ):
            model = wrap(Dense(3, activation="softmax"))
            model.compile("sgd", "sparse_categorical_crossentropy")
            for call in (model.fit, model.train_on_batch, model.evaluate):
                with pytest.raises(ValueError, match=f"labels must be .*{words}"):
                    call(x, wrong)
        for wrong in (ids + 1, ids - 1):
            model = wrap(layers.Embedding(10, 3), layers.Flatten(), Dense(1))
            model.compile("sgd", "mse")
            for call in (model.fit, model.train_on_batch, model.evaluate):
                with pytest.raises(ValueError, match=r"x must hold ids in 0\.\.9 \(the Embedding's input_dim is 10"):
                    call(wrong, np.zeros(50))
            with pytest.raises(ValueError, match=r"predict: x must hold ids in 0\.\.9"):
                model.predict(wrong)


def test_a_run_needs_a_row_of_settings_for_each_step(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, t, batch_size=10, verbose=0)
    (step,) = model._steps.values()
    with pytest.raises(ValueError, match="hyper has 2 rows; 50 samples in steps of 10 need one a step"):
        step.core.run(0, 50, 10, hyper=model.optimizer.hyper(0, 2))


def test_best_weights_come_back(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile(optimizers.SGD(50.0), "sparse_categorical_crossentropy")  # makes everything worse
    model.fit(x, t, epochs=1, verbose=0)
    stop = callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
    history = model.fit(x, t, epochs=30, validation_data=(x, t), callbacks=[stop], verbose=0).history
    assert model.evaluate(x, t, verbose=0) == pytest.approx(min(history["val_loss"]), rel=1e-6)


# ---- nothing is stale ----


def test_compile_again_with_the_same_optimizer_goes_on(rng):
    """The optimizer keeps its slots with its step count, so that training takes the steps it would have taken."""
    x, t, _ = data(rng)
    weights = []
    for again in (False, True):
        set_random_seed(1)
        model, adam = net(), optimizers.Adam(0.01)
        model.compile(adam, "sparse_categorical_crossentropy")
        model.fit(x, t, verbose=0, shuffle=False)
        if again:
            model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, t, verbose=0, shuffle=False)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_freezing_takes_effect_at_once(rng):
    """Before compile, after compile and between fits: what is frozen does not change, what is thawed does."""
    x, t, _ = data(rng)
    model = net()
    first, second = model.layers
    first.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    before = [w.numpy() for w in model.weights]

    def changed():
        now = [w.numpy() for w in model.weights]
        out = [not np.array_equal(u, v) for u, v in zip(before, now, strict=True)]
        before[:] = now
        return out

    model.fit(x, t, verbose=0)
    assert changed() == [False, False, True, True]
    first.trainable, second.trainable = True, False
    model.fit(x, t, verbose=0)
    assert changed() == [True, True, False, False]
    second.trainable = True
    second.bias.trainable = False
    model.fit(x, t, verbose=0)
    assert changed() == [True, True, True, False]
    model.train_on_batch(x[:8], t[:8])
    assert changed() == [True, True, True, False]


def test_freezing_a_model_freezes_the_layers_within(rng):
    """A batch normalization that is frozen with its model uses its moving statistics and leaves them as they are."""
    x, t, _ = data(rng)
    inner = Sequential([Input((6,)), Dense(5), layers.BatchNormalization()])
    inner.trainable = False
    assert not any(layer.trainable for layer in inner.layers)
    a = Input((6,))
    model = Model(a, Dense(3, activation="softmax")(inner(a)))
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = inner.get_weights()
    model.fit(x, t, verbose=0)
    assert all(np.array_equal(u, v) for u, v in zip(before, inner.get_weights(), strict=True))
    inner.trainable = True
    inner.layers[0].trainable = False
    model.fit(x, t, verbose=0)
    changed = [not np.array_equal(u, v) for u, v in zip(before, inner.get_weights(), strict=True)]
    assert changed == [False, False, True, True, True, True]


def test_freezing_within_fit(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile("sgd", "sparse_categorical_crossentropy")
    kernels = []

    class Freeze(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kernels.append(model.layers[0].kernel.numpy())
            if epoch == 1:
                model.layers[0].trainable = False

    model.fit(x, t, epochs=4, callbacks=[Freeze()], verbose=0)
    assert not np.array_equal(kernels[0], kernels[1])
    assert np.array_equal(kernels[1], kernels[3])


def test_learning_rate_and_dropout_take_effect_at_once(rng):
    x, t, _ = data(rng)
    model = Sequential([Input((6,)), Dropout(0.0), Dense(3, activation="softmax")])
    model.compile(optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    model.fit(x, t, verbose=0)
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.fit(x, t, verbose=0)
    assert all(np.array_equal(u, v) for u, v in zip(before, model.get_weights(), strict=True))
    model.optimizer.learning_rate = 0.1
    model.train_on_batch(x, t)
    assert not np.array_equal(before[0], model.get_weights()[0])
    clean = model.fit(x, t, batch_size=50, verbose=0).history["loss"][0]
    model.layers[0].rate = 1.0 - 1e-9
    noisy = model.fit(x, t, batch_size=50, verbose=0).history["loss"][0]
    assert abs(clean - noisy) > 1e-3


def test_learning_rate_within_fit(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    seen = []

    class Off(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.model.optimizer.learning_rate = 0.0
            seen.append(self.model.layers[0].kernel.numpy())

    model.fit(x, t, batch_size=10, callbacks=[Off()], verbose=0)
    assert not np.array_equal(seen[0], seen[1])
    assert all(np.array_equal(seen[1], s) for s in seen[2:])


def test_learning_rate_set_before_a_batch_is_that_batch_s(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    seen = [model.layers[0].kernel.numpy()]

    class WarmUp(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.1 * (batch > 1)

        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.layers[0].kernel.numpy())

    model.fit(x, t, batch_size=10, callbacks=[WarmUp()], verbose=0)
    assert [np.array_equal(a, b) for a, b in pairwise(seen)] == [True, True, False, False, False]


def test_weights_set_between_and_within_steps(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, t, verbose=0)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    np.testing.assert_allclose(model.predict(x, verbose=0), 1 / 3, rtol=1e-6)
    model.layers[1].bias.value[...] = [5, 0, 0]
    assert (model.predict(x, verbose=0).argmax(1) == 0).all()
    view = model.layers[1].bias.value
    model.fit(x, t, verbose=0)
    assert view is model.layers[1].bias.value and view[0] != 5


def test_adding_a_layer_after_training(rng):
    x, t, _ = data(rng)
    model = Sequential([Input((6,)), Dense(4, activation="tanh")])
    model.compile("sgd", "mse")
    model.fit(x, rng.normal(size=(50, 4)), verbose=0)
    model.add(Dense(3, activation="softmax"))
    assert model.predict(x, verbose=0).shape == (50, 3)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, t, verbose=0)


def test_compiling_again_starts_the_optimizer_anew(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile(optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    model.fit(x, t, epochs=3, verbose=0)
    model.compile(optimizers.SGD(0.0, momentum=0.0), "sparse_categorical_crossentropy")
    before = model.get_weights()
    model.fit(x, t, verbose=0)
    assert all(np.array_equal(u, v) for u, v in zip(before, model.get_weights(), strict=True))


def test_compiling_again_takes_the_new_rate(rng):
    x, t, _ = data(rng)
    model = net()
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.train_on_batch(x, t)
    model.compile(optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    before = model.get_weights()
    model.train_on_batch(x, t)
    assert all(np.array_equal(u, v) for u, v in zip(before, model.get_weights(), strict=True))


def test_averages_of_weights_without_updates(rng):
    x, _, y = data(rng)
    a = Input((6,))
    first, second = Dense(2), Dense(2)
    model = Model(a, [first(a), second(a)])
    model.compile(optimizers.SGD(0.1, use_ema=True), ["mse", None])
    before = model.get_weights()
    model.fit(x, [y], epochs=0, verbose=0)
    assert all(np.array_equal(u, v) for u, v in zip(before, model.get_weights(), strict=True))
    model.fit(x, [y], verbose=0)
    assert not np.array_equal(before[0], first.kernel.numpy())
    assert np.array_equal(before[2], second.kernel.numpy())


@pytest.mark.parametrize("make", [lambda: optimizers.SGD(0.0, use_ema=True), lambda: optimizers.ScheduleFreeAdamW(0.0)])
def test_average_of_a_layer_that_was_frozen(make, rng):
    x, _, y = data(rng)
    model = net(2, None)
    model.layers[0].trainable = False
    model.compile(make(), "mse")
    model.fit(x, y, verbose=0)
    model.layers[0].trainable = True
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    assert all(np.allclose(u, v, rtol=1e-6) for u, v in zip(before, model.get_weights(), strict=True))


# ---- kinds of models and data ----


def test_float64_policy(rng, float64):
    x, t, _ = data(rng)
    model = net()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, t, verbose=0)
    assert model.predict(x, verbose=0).dtype == np.float64
    assert all(w.dtype == np.float64 for w in model.get_weights())


@pytest.mark.parametrize("inputs", ["float32", "float64"])
def test_layers_of_float64_beside_the_default(inputs, rng):
    """A layer takes floats as its own type: the Input's type makes no difference."""
    x, t, _ = data(rng)
    model = Sequential([Input((6,), dtype=inputs), Dense(4, dtype="float64"), Dense(3, "softmax", dtype="float64")])
    weights = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, t, batch_size=50, verbose=0)
    assert model.predict(x, verbose=0).dtype == np.float64
    h = x @ weights[0] + weights[1]
    z = h @ weights[2] + weights[3]
    y = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    dz = (y - np.eye(3)[t]) / 50
    dh = dz @ weights[2].T
    wanted = [w - 0.01 * g for w, g in zip(weights, [x.T @ dh, dh.sum(0), h.T @ dz, dz.sum(0)], strict=True)]
    for found, w in zip(model.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(found, w, **NEAR64)


def test_layers_of_two_float_types_are_refused(rng):
    x, _, y = data(rng)
    model = Sequential([Input((6,)), Dense(4, dtype="float64"), Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="all layers must have one dtype, got float32 and float64"):
        model.fit(x, y, verbose=0)
    with pytest.raises(TypeError, match=r"kernel of float64 does not mix with tensors of float32"):
        ops.matmul(Input((6,)), model.layers[0].kernel)


def test_subclassed_model_with_training_argument(rng):
    class Noisy(Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = Dense(8, activation="relu"), Dense(3, activation="softmax")
            self.drop = Dropout(0.5)

        def call(self, inputs, training=False):
            return self.out(self.drop(self.hidden(inputs), training=training))

    x, t, _ = data(rng)
    model = Noisy()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, t, epochs=30, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))
    np.testing.assert_allclose(model(x), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_add_loss_and_activity(rng):
    class Shrink(layers.Layer):
        def call(self, x):
            self.add_loss(ops.mean(ops.square(x)) * 0.1)
            return x

    model = Sequential([Input((6,)), Dense(4), Shrink(), Dense(2)])
    model.compile("sgd", "mse")
    x, _, values = data(rng)
    plain = ((model.predict(x, verbose=0) - values) ** 2).mean()
    hidden = model.layers[0](x)
    assert model.evaluate(x, values, batch_size=50, verbose=0) == pytest.approx(
        plain + 0.1 * (hidden**2).mean(), rel=1e-5
    )


def test_learns_digits():
    (x, t), (x_test, t_test) = digits.load_data()
    model = Sequential([
        Input(x.shape[1:]), layers.Flatten(), Dense(128, activation="relu"), Dropout(0.2),
        Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile(optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    scale = x.max()
    model.fit(x / scale, t, batch_size=32, epochs=25, verbose=0)
    assert model.evaluate(x_test / scale, t_test, verbose=0)[1] >= 0.97


@pytest.mark.parametrize(
    "outputs, activation, targets, meant",
    [
        (1, "sigmoid", "binary", "binary_crossentropy"),
        (3, "softmax", "ids", "sparse_categorical_crossentropy"),
        (3, "softmax", "one-hot", "categorical_crossentropy"),
    ],
)
def test_crossentropy_is_chosen_by_the_shapes(rng, outputs, activation, targets, meant):
    x, ids, _ = data(rng)
    y = {"binary": (ids > 0).astype("float32"), "ids": ids, "one-hot": np.eye(3, dtype="float32")[ids]}[targets]
    found = []
    for loss in ("crossentropy", meant):
        set_random_seed(0)
        model = net(outputs, activation)
        model.compile(optimizer="sgd", loss=loss)
        found.append(model.fit(x, y, verbose=0).history["loss"])
    assert found[0] == found[1]


@pytest.mark.parametrize("value", [1.0, None])
def test_losses_that_are_no_tensors(value, rng):
    model = net(2, None)
    model.compile("sgd", lambda y, p: value)
    with pytest.raises(TypeError, match=f"must return a tensor, a value for each sample.* got {value}"):
        model.fit(data(rng)[0], data(rng)[2], verbose=0)


@pytest.mark.parametrize("weights", ["a", float("nan"), {"output": "a"}])
def test_loss_weights_that_are_no_numbers(weights):
    with pytest.raises((TypeError, ValueError), match="compile: loss_weights must be"):
        net().compile("sgd", "mse", loss_weights=weights)


def test_metrics_that_were_used_before_begin_anew(rng):
    x, _, y = data(rng)
    metric = metrics.MeanSquaredError()
    metric.update_state(y, y + 10)
    model = net(2, None)
    model.compile("sgd", "mse", metrics=[metric])
    assert model.evaluate(x, y, verbose=0)[1] == model.evaluate(x, y, verbose=0)[1]


@pytest.mark.parametrize("units", [16, 33, 65, 129, 256])
def test_bias_of_a_wide_layer_of_one_input(units, rng):
    x, y = rng.normal(size=(32, 1)).astype(np.float32), rng.normal(size=(32, units)).astype(np.float32)
    model = Sequential([Input((1,)), Dense(units)])
    model.compile(optimizers.SGD(1.0), "mse")
    w, b = model.get_weights()
    model.train_on_batch(x, y)
    d = 2 * (x @ w.astype(np.float64) + b - y) / y.size
    np.testing.assert_allclose(model.get_weights()[0], w - x.T @ d, **NEAR32)
    np.testing.assert_allclose(model.get_weights()[1], b - d.sum(0), **NEAR32)


def test_integers_into_dense(rng):
    x = rng.integers(0, 9, (20, 6)).astype(np.int32)
    a = Input((6,), dtype="int32")
    model = Model(a, Dense(2)(Dense(3)(a)))
    model.compile("sgd", "mse")
    model.fit(x, np.ones((20, 2)), verbose=0)
    np.testing.assert_allclose(model.predict(x), model(x.astype(np.float32)), rtol=1e-5)


def test_wrappers_of_float64_layers(rng):
    """A layer takes the type of the weights within it."""

    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Dense(6, dtype="float64")

        def call(self, x):
            return self.inner(x)

    class Own(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight((6,), "ones", dtype="float64")

        def call(self, x):
            return x * self.scale

    x = rng.normal(size=(8, 5, 6))
    for inputs in ("float32", "float64"):
        a = Input((5, 6), dtype=inputs)
        h = layers.TimeDistributed(Dense(6, dtype="float64"))(a)
        h = layers.Bidirectional(layers.LSTM(3, return_sequences=True, dtype="float64"))(h)
        model = Model(a, Own()(Block()(h)))
        model.compile("sgd", "mse")
        model.fit(x, x, verbose=0)
        assert model.predict(x).dtype == np.float64


def test_steps_before_an_interruption_count():
    """Each update takes 1 from the weight: as many as the optimizer knows of, wherever Ctrl-C comes."""
    model = Sequential([Input((1,)), Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizers.SGD(1.0), lambda y, p: p)
    x = np.ones((1_000_000, 1), np.float32)
    model.fit(x[:4], x[:4], batch_size=1, verbose=0)
    for delay in (0.1, 0.13):
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, x, batch_size=1, epochs=1000, shuffle=False, verbose=0)
        assert -model.get_weights()[0].item() == model.optimizer.step_count > 4
