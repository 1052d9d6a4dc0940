"""Models: functional, sequential and subclassed; shared layers, nesting, configurations."""

import json

import numpy as np
import pytest

from fastnn import layers, models, ops
from fastnn.layers import Dense, Dropout, Input, Layer
from fastnn.models import Model, Sequential, clone_model, model_from_json
from fastnn.saving import register_keras_serializable
from fastnn.utils.seeding import set_random_seed


def near(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def relu_net(x, *weights):
    for j in range(0, len(weights), 2):
        x = x @ weights[j] + weights[j + 1]
        if j + 2 < len(weights):
            x = np.maximum(x, 0)
    return x


@pytest.fixture
def x(rng):
    return rng.normal(size=(9, 4)).astype(np.float32)


def test_sequential_is_a_chain(x):
    model = Sequential([Input((4,)), Dense(5, activation="relu"), Dense(2)])
    expected = relu_net(x, *model.get_weights())
    near(model.predict(x, verbose=0), expected)
    near(model(x), expected)
    assert model.input_shape == (None, 4) and model.output_shape == (None, 2)
    assert [w.path.split("/")[1] for w in model.weights] == ["kernel", "bias", "kernel", "bias"]
    assert model.count_params() == 4 * 5 + 5 + 5 * 2 + 2


def test_sequential_builds_when_it_meets_data(x):
    model = Sequential([Dense(5, activation="relu"), Dense(2)])
    assert not model.built and model.weights == []
    with pytest.raises(ValueError, match="not built"):
        _ = model.output_shape
    y = model.predict(x, verbose=0)
    assert model.built and len(model.weights) == 4
    near(y, relu_net(x, *model.get_weights()))

    model = Sequential([Dense(3)])
    model.build((None, 7))
    assert model.weights[0].shape == (7, 3)

    model = Sequential([Dense(3)])
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((9, 3)), verbose=0)
    assert model.weights[0].shape == (4, 3)


def test_sequential_add_and_pop(x):
    model = Sequential()
    model.add(Input((4,)))
    model.add(Dense(5))
    model.add(Dense(2))
    assert model.output_shape == (None, 2)
    last = model.pop()
    assert model.output_shape == (None, 5) and model.predict(x, verbose=0).shape == (9, 5)
    model.add(last)
    assert model.predict(x, verbose=0).shape == (9, 2)
    with pytest.raises(ValueError, match="already"):
        model.add(last)
    with pytest.raises(TypeError, match="only layers"):
        model.add(3)
    with pytest.raises(ValueError, match="no layers"):
        Sequential().pop()
    a = Dense(3, name="same")
    with pytest.raises(ValueError, match="same"):
        Sequential([a, Dense(3, name="same")])


def test_sequential_trains_on_after_add_and_pop(x):
    """Losses and metrics belong to the outputs that the model has now."""
    y = np.zeros((9, 2))
    model = Sequential([Input((4,)), Dense(2), Dense(2)])
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(x, y, verbose=0)
    for change in (model.pop, lambda: model.add(Dense(2))):
        change()
        history = model.fit(x, y, verbose=0).history
        assert list(history) == ["loss", "mae"]
        near(model.evaluate(x, y, verbose=0)[1], np.abs(model.predict(x, verbose=0)).mean())


def test_input_shape_of_the_first_layer(x):
    model = Sequential([Dense(5, input_shape=(4,)), Dense(2)])
    assert model.built and model.predict(x, verbose=0).shape == (9, 2)


def test_functional(x):
    inputs = Input((4,), name="given")
    h = Dense(5, activation="relu")(inputs)
    model = Model(inputs=inputs, outputs=[Dense(2)(h), h])
    y, hidden = model.predict(x, verbose=0)
    w = model.get_weights()
    near(hidden, np.maximum(x @ w[0] + w[1], 0))
    near(y, hidden @ w[2] + w[3])
    assert model.input_names == ["given"] and len(model.outputs) == 2
    for a, b in zip(model(x), (y, hidden), strict=True):
        near(a, b)


def test_operations_between_layers(x):
    inputs = Input((4,))
    y = ops.concatenate([inputs * 2.0, ops.exp(inputs), inputs[:, :1]], axis=-1)
    y = (y - ops.mean(y, axis=-1, keepdims=True)) / 3.0
    model = Model(inputs, y)
    expected = np.concatenate([2 * x, np.exp(x), x[:, :1]], -1)
    near(model.predict(x, verbose=0), (expected - expected.mean(-1, keepdims=True)) / 3)
    near(model(x), model.predict(x, verbose=0))


def test_structures_of_inputs_and_outputs(x):
    a, b = Input((4,), name="a"), Input((4,), name="b")
    model = Model({"a": a, "b": b}, {"sum": layers.Add()([a, b]), "parts": [a * 1.0, b * 2.0]})
    y = model.predict({"b": x, "a": 2 * x}, verbose=0)
    near(y["sum"], 3 * x)
    near(y["parts"][0], 2 * x)
    near(y["parts"][1], 2 * x)
    y = model({"a": x, "b": x})
    near(y["sum"], 2 * x)
    with pytest.raises(ValueError, match="b"):
        model.predict({"a": x}, verbose=0)


def test_shared_layer_has_one_set_of_weights(x):
    shared = Dense(4)
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], layers.Subtract()([shared(a), shared(b)]))
    assert len(model.weights) == 2
    near(model.predict([x, x], verbose=0), np.zeros((9, 4)))
    twice = Model(a, shared(shared(a)))
    w, c = shared.get_weights()
    near(twice.predict(x, verbose=0), (x @ w + c) @ w + c)


def test_gradients_of_shared_layers_add(x, rng):
    shared = Dense(4, use_bias=False)
    inputs = Input((4,))
    model = Model(inputs, shared(shared(inputs)))
    w = shared.get_weights()[0].astype(float)
    target = rng.normal(size=(9, 4))
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 1.0
    model.train_on_batch(x, target)
    h = x @ w
    e = 2 * (h @ w - target) / target.size
    near(shared.get_weights()[0], w - (h.T @ e + x.T @ (e @ w.T)))


def test_models_within_models(x):
    inner = Sequential([Input((4,)), Dense(5, activation="relu"), Dense(3)], name="inner")
    inputs = Input((4,))
    middle = Model(inputs, inner(inputs) * 2.0, name="middle")
    again = Input((4,))
    outer = Model(again, Dense(1)(middle(again)), name="outer")
    assert len(outer.weights) == 6 and len(outer.trainable_weights) == 6
    w = outer.get_weights()
    near(outer.predict(x, verbose=0), 2 * relu_net(x, *w[:4]) @ w[4] + w[5])
    outer.compile("adam", "mse")
    before = inner.get_weights()
    outer.fit(x, np.zeros((9, 1)), epochs=2, verbose=0)
    assert not np.array_equal(before[0], inner.get_weights()[0])
    near(inner.predict(x, verbose=0), relu_net(x, *inner.get_weights()))
    inner.trainable = False
    assert len(outer.trainable_weights) == 2
    before = inner.get_weights()
    outer.fit(x, np.zeros((9, 1)), verbose=0)
    assert np.array_equal(before[0], inner.get_weights()[0])


class Block(Layer):
    """x + f(x), with weights of its own and a layer within."""

    def __init__(self, units, rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.rate = units, rate
        self.dense = Dense(units, activation="tanh")
        self.drop = Dropout(rate)

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), initializer="ones", name="scale")
        self.shift = self.add_weight((input_shape[-1],), trainable=False, name="shift")

    def call(self, x, training=False):
        h = self.drop(self.dense(x), training=training)
        return x * self.scale + self.shift + ops.sum(h, axis=-1, keepdims=True)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "rate": self.rate}


def test_custom_layer(x):
    model = Sequential([Input((4,)), Block(6), Dense(1)])
    block = model.layers[0]
    assert [w.path.split("/")[-1] for w in block.weights] == ["scale", "shift", "kernel", "bias"]
    assert len(model.trainable_weights) == 5 and len(model.non_trainable_weights) == 1
    model.compile("adam", "mse")
    before = block.get_weights()
    model.fit(x, np.ones((9, 1)), verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, block.get_weights(), strict=True)]
    assert changed == [True, False, True, True]
    near(model(x), model.predict(x, verbose=0))


def test_functions_of_weights_alone(x):
    """What a layer computes from its variables alone belongs to the step too: it follows them and is differentiated."""

    class Positive(Layer):
        def build(self, shape):
            self.raw = self.add_weight((shape[-1] * 2,), initializer="ones")
            self.count = self.add_weight((), initializer="zeros", trainable=False)

        def call(self, x, training=False):
            if training:
                self.count.assign_add(1.0)
            return ops.matmul(x, ops.softplus(ops.reshape(self.raw, (-1, 2))) * 0.5)

    model = Sequential([Input((4,)), Positive()])
    model.compile("sgd", "mse")
    layer = model.layers[0]
    model.predict(x, verbose=0)
    before = layer.raw.numpy()
    model.fit(x, np.ones((9, 2)), batch_size=9, epochs=3, verbose=0)
    assert layer.count.value == 3 and not np.array_equal(before, layer.raw.value)
    layer.raw.assign(np.arange(8.0))
    near(model.predict(x, verbose=0), x @ (0.5 * np.log1p(np.exp(np.arange(8.0).reshape(4, 2)))))
    near(model(x), model.predict(x, verbose=0))


def test_state_that_a_layer_keeps(x):
    class Counter(Layer):
        def build(self, shape):
            self.seen = self.add_weight((shape[-1],), initializer="zeros", trainable=False)

        def call(self, x, training=False):
            if training:
                self.seen.assign_add(ops.mean(x, axis=0))
            return x

    model = Sequential([Input((4,)), Counter(), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, np.ones((9, 1)), batch_size=9, epochs=3, verbose=0)
    near(model.layers[0].seen.numpy(), 3 * x.mean(0))
    model.predict(x, verbose=0)
    model.evaluate(x, np.ones((9, 1)), verbose=0)
    near(model.layers[0].seen.numpy(), 3 * x.mean(0))


class Within(Layer):
    """Makes a model when it is built."""

    def build(self, shape):
        inputs = Input(shape[1:])
        self.net = Model(inputs, trained_otherwise()(inputs))

    def call(self, x):
        return self.net(x)


class Around(Model):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.head = inner, Dense(1)

    def call(self, x):
        return self.head(self.inner(x))


def trained_otherwise():
    """Layers that do something else in training than in prediction."""
    return Sequential([Dense(6, activity_regularizer="l2"), Dropout(0.5), layers.BatchNormalization()])


@pytest.mark.parametrize("make", [
    lambda: Sequential([Dense(6, activity_regularizer="l2"), Dropout(0.5), layers.BatchNormalization(), Dense(1)]),
    lambda: Sequential([trained_otherwise(), Dense(1)]),
    lambda: Sequential([Within(), Dense(1)]),
    lambda: Around(trained_otherwise()),
    lambda: Around(Within()),
])  # fmt: skip
def test_models_built_by_data_train_as_those_with_an_input(make, x):
    """Built while a step is traced, their layers are still called anew in every step, of training or not."""
    found = []
    for build in (lambda model: None, lambda model: model.build((None, 4)), lambda model: model(x)):
        set_random_seed(1)
        model = make()
        model.compile("sgd", "mse")
        build(model)
        history = model.fit(x, np.ones((9, 1)), batch_size=4, epochs=3, verbose=0).history
        found.append([*model.get_weights(), history["loss"]])
        assert any("moving_mean" in v.path and np.any(v.value != 0) for v in model.weights)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


class Own(Model):
    def __init__(self, units=5):
        super().__init__()
        self.hidden = [Dense(units, activation="relu"), Dense(units, activation="relu")]
        self.heads = {"a": Dense(2), "b": Dense(1)}

    def call(self, inputs):
        for layer in self.hidden:
            inputs = layer(inputs)
        return self.heads["a"](inputs)


def test_subclassed_model_finds_layers_in_lists(x):
    model = Own()
    y = model.predict(x, verbose=0)
    assert len(model.weights) == 6 and y.shape == (9, 2)
    near(y, relu_net(x, *model.get_weights()))
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((9, 2)), verbose=0)


def test_subclassed_model_of_several_inputs(x):
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = Dense(3), Dense(3)

        def call(self, inputs):
            return self.a(inputs[0]) + self.b(inputs[1])

    model = Two()
    model.compile("sgd", "mse")
    model.fit([x, x], np.zeros((9, 3)), verbose=0)
    w = model.get_weights()
    near(model.predict([x, 2 * x], verbose=0), x @ w[0] + w[1] + 2 * x @ w[2] + w[3])


# ---- configurations ----


def built():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = Dense(5, activation="relu", kernel_regularizer="l2", name="shared")
    h = layers.Concatenate()([shared(a), shared(b), a * 0.5 + 1.0])
    inner = Sequential([Input((14,)), Dense(3, activation=layers.LeakyReLU(negative_slope=0.1)), Dropout(0.1)])
    return Model([a, b], {"y": Dense(2, name="y")(inner(h)), "sum": ops.sum(h, axis=-1, keepdims=True)})


@pytest.mark.parametrize("how", ["config", "json", "clone"])
def test_configurations_make_equal_models(how, x):
    model = built()
    if how == "config":
        other = Model.from_config(model.get_config()) if False else type(model).from_config(model.get_config())
    elif how == "json":
        other = model_from_json(json.dumps(json.loads(model.to_json())))
    else:
        other = clone_model(model)
    assert [w.shape for w in other.weights] == [w.shape for w in model.weights]
    assert not np.array_equal(other.get_weights()[0], model.get_weights()[0])
    other.set_weights(model.get_weights())
    expected, found = model.predict([x, 2 * x], verbose=0), other.predict([x, 2 * x], verbose=0)
    for key in expected:
        assert np.array_equal(expected[key], found[key])
    assert [layer.name for layer in other.layers] == [layer.name for layer in model.layers]


def test_clones_of_subclassed_models_are_built(x):
    class Two(Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.a, self.b = Dense(3), Dense(3)

        def call(self, inputs):
            return self.a(inputs[0]) + self.b(inputs[1])

    model = Two()
    model.predict([x, 2 * x])
    other = clone_model(model)
    assert not np.array_equal(other.get_weights()[0], model.get_weights()[0])
    other.set_weights(model.get_weights())
    near(model.predict([x, x]), other.predict([x, x]))
    with pytest.raises(ValueError, match="needs 0 arrays, got 4; it is not built yet: call it on data first"):
        clone_model(Two()).set_weights(model.get_weights())


def test_configuration_of_custom_layers(x):
    register_keras_serializable("tests")(Block)
    model = Sequential([Input((4,)), Block(6, rate=0.2, name="block"), Dense(1)])
    other = model_from_json(model.to_json())
    assert other.layers[0].rate == 0.2 and other.layers[0].name == "block"
    other.set_weights(model.get_weights())
    near(model.predict(x, verbose=0), other.predict(x, verbose=0))


def test_get_layer_and_summary(capsys):
    model = Sequential([Input((4,)), Dense(5, name="first"), Dropout(0.5), Dense(2, name="last")])
    assert model.get_layer("last") is model.layers[-1] is model.get_layer(index=2)
    with pytest.raises(ValueError, match="first"):
        model.get_layer("none")
    with pytest.raises(ValueError, match="out of range"):
        model.get_layer(index=7)
    model.summary()
    text = capsys.readouterr().out
    assert "first" in text and "last" in text and "37" in text


def test_weights_are_set_whole_or_not_at_all(x):
    model = Sequential([Input((4,)), Dense(5), Dense(2)])
    before = model.get_weights()
    with pytest.raises(ValueError, match="needs 4 arrays, got 3"):
        model.set_weights(before[:3])
    with pytest.raises(ValueError, match="shape"):
        model.set_weights([before[0] + 1, before[1], before[2].T, before[3]])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("f,words", [
    (lambda: Model(Input((4,)), Input((4,)) * 1.0), "not among the inputs"),
    (lambda: Model([], []), "inputs must be symbolic"),
    (lambda: Model(np.ones(3), Input((4,))), "symbolic"),
    (lambda: layers.Add()([Input((4,)), Input((5,))]), "do not fit|shape"),
    (lambda: Dense(3)(Input(())), "at least one dimension"),
    (lambda: Input(), "shape is needed"),
    (lambda: Input((-1, 3)), "sizes or None"),
    (lambda: Model((i := Input((4,))), Dense(3, name="d")(Dense(4, name="d")(i))), "named 'd'"),
    (lambda: Sequential([Input((4,)), layers.Reshape((3,))]), "cannot"),
])  # fmt: skip
def test_impossible_models(f, words):
    with pytest.raises((ValueError, TypeError), match=words):
        f()


def test_public_names():
    assert models.Model is Model


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_arrays_called_on_a_float64_model_stay_doubles(kind, rng):
    inputs, dense = Input((4,), dtype="float64"), Dense(3, dtype="float64")
    model = Sequential([inputs, dense]) if kind == "sequential" else Model(inputs, dense(inputs))
    x = rng.normal(size=(5, 4))
    np.testing.assert_allclose(np.asarray(model(x)), x @ model.get_weights()[0], rtol=1e-13)
    np.testing.assert_allclose(model.predict(x, verbose=0), np.asarray(model(x)), rtol=1e-13)
