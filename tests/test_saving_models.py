"""Models as files: the same predictions, training that goes on as if it had never stopped, clear refusals."""

import copy
import pickle

import numpy as np
import pytest

from fastnn import layers, losses, metrics, ops, optimizers, saving
from fastnn.layers import Dense, Dropout, Input
from fastnn.models import Model, Sequential, load_model
from fastnn.optimizers import schedules
from fastnn.saving import register_keras_serializable
from fastnn.saving.state import load_state, save_state
from fastnn.utils.seeding import set_random_seed

ENDINGS = [".safetensors", ".npz"]


def data(rng, rows=45):
    return rng.normal(size=(rows, 6)).astype(np.float32), rng.integers(0, 3, rows)


def net():
    return Sequential([Input((6,)), Dense(16, activation="relu"), Dropout(0.3), Dense(3, activation="softmax")])


def same(a, b):
    return all(np.array_equal(u, v) for u, v in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_predictions(ending, tmp_path, rng):
    x, t = data(rng)
    model = net()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, t, epochs=2, verbose=0)
    path = tmp_path / f"model{ending}"
    model.save(path)
    other = load_model(path)
    assert same(model, other)
    assert np.array_equal(model.predict(x, verbose=0), other.predict(x, verbose=0))
    assert model.evaluate(x, t, verbose=0) == other.evaluate(x, t, verbose=0)
    assert other.name == model.name


def test_functional_models_and_shared_layers(tmp_path, rng):
    a, b = Input((6,), name="a"), Input((6,), name="b")
    shared = Dense(4, activation="tanh")
    both = layers.Concatenate()([shared(a), shared(b)])
    model = Model([a, b], [Dense(2, name="one")(both), Dense(1, name="two")(both * 0.5)])
    model.compile("adam", ["mse", "mae"], loss_weights=[1.0, 0.5], metrics=[["mae"], None])
    x, _ = data(rng)
    y = [rng.normal(size=(45, 2)), rng.normal(size=(45, 1))]
    model.fit([x, x], y, verbose=0)
    model.save(tmp_path / "m.safetensors")
    other = load_model(tmp_path / "m.safetensors")
    for u, v in zip(model.predict([x, x], verbose=0), other.predict([x, x], verbose=0), strict=True):
        assert np.array_equal(u, v)
    assert model.evaluate([x, x], y, verbose=0) == other.evaluate([x, x], y, verbose=0)


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, clipnorm=0.5),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.01, centered=True),
    "cosine": lambda: optimizers.Adam(schedules.CosineDecay(0.02, 20, warmup_steps=3, warmup_target=0.05)),
    "exponential": lambda: optimizers.SGD(schedules.ExponentialDecay(0.1, 5, 0.7, staircase=True), momentum=0.5),
    "accumulate": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=3),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_training_goes_on_with_the_same_bits(name, ending, tmp_path, rng):
    x, t = data(rng)

    def fresh():
        set_random_seed(11)
        model = net()
        model.compile(OPTIMIZERS[name](), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    whole = fresh()
    expected = whole.fit(x, t, batch_size=8, epochs=5, verbose=0).history
    half = fresh()
    half.fit(x, t, batch_size=8, epochs=2, verbose=0)
    half.save(tmp_path / f"half{ending}")
    set_random_seed(99)  # the file alone decides
    again = load_model(tmp_path / f"half{ending}")
    history = again.fit(x, t, batch_size=8, epochs=5, initial_epoch=2, verbose=0).history
    assert same(again, whole)
    assert history["loss"] == expected["loss"][2:] and history["accuracy"] == expected["accuracy"][2:]
    assert again.optimizer.iterations == whole.optimizer.iterations
    # the model that was saved goes on likewise
    half.fit(x, t, batch_size=8, epochs=5, initial_epoch=2, verbose=0)
    assert same(half, whole)


def test_averages_of_weights_are_saved(tmp_path, rng):
    """fit ends by putting the averages in the weights' place, so the comparison is with a second fit."""
    x, t = data(rng)
    model = net()
    model.compile(optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=7), "sparse_categorical_crossentropy")
    model.fit(x, t, batch_size=8, epochs=2, verbose=0)
    model.save(tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    for m in (model, again):
        m.fit(x, t, batch_size=8, epochs=4, initial_epoch=2, verbose=0)
    assert same(again, model)


@pytest.mark.parametrize("ending", ENDINGS)
def test_states_of_stateful_layers_are_saved(ending, tmp_path, rng):
    x, t = rng.normal(size=(24, 5, 6)).astype(np.float32), rng.normal(size=(24, 2)).astype(np.float32)
    model = Sequential([
        Input((5, 6)), layers.Bidirectional(layers.GRU(4, return_sequences=True, stateful=True)),
        layers.LSTM(3, stateful=True), Dense(2),
    ])  # fmt: skip
    model.compile("adam", "mse")
    model.save(tmp_path / f"fresh{ending}")
    load_model(tmp_path / f"fresh{ending}").fit(x, t, batch_size=6, verbose=0)
    model.fit(x, t, batch_size=8, verbose=0)
    path = tmp_path / f"m{ending}"
    model.save(path)
    again, trained = load_model(path), load_model(path)
    np.testing.assert_array_equal(again.predict(x, batch_size=8), model.predict(x, batch_size=8))
    model.fit(x, t, batch_size=8, verbose=0)
    again.fit(x, t, batch_size=8, verbose=0)
    assert same(again, model) and not same(again, trained)
    with pytest.raises(ValueError, match="holds the state of 8 samples"):
        trained.predict(x, batch_size=6)
    trained.reset_states()
    trained.predict(x, batch_size=6)
    tensors, metadata = load_state(path)
    save_state(path, {**tensors, "states/2/1": tensors["states/2/1"][:, 1:]}, metadata)
    with pytest.raises(ValueError, match=r"states of 'lstm.*' must have shapes \[\(None, 3\), \(None, 3\)\], got"):
        load_model(path)


def test_saving_a_loaded_model_again(tmp_path, rng):
    """Optimizer state survives even when nothing was trained between loading and saving."""
    x, t = data(rng)
    model = net()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, t, verbose=0)
    model.save(tmp_path / "a.safetensors")
    load_model(tmp_path / "a.safetensors").save(tmp_path / "b.safetensors")
    a, b = (load_model(tmp_path / f"{n}.safetensors") for n in "ab")
    for m in (a, b):
        m.fit(x, t, epochs=2, verbose=0)
    assert same(a, b)


def test_weights_alone(tmp_path, rng):
    a, b = net(), net()
    a.save_weights(tmp_path / "w.safetensors")
    b.load_weights(tmp_path / "w.safetensors")
    assert same(a, b)
    a.save(tmp_path / "whole.npz")
    c = net()
    c.load_weights(tmp_path / "whole.npz")
    assert same(a, c)
    wrong = Sequential([Input((6,)), Dense(5), Dense(3)])
    before = wrong.get_weights()
    with pytest.raises(ValueError, match="does not fit"):
        wrong.load_weights(tmp_path / "w.safetensors")
    assert all(np.array_equal(u, v) for u, v in zip(before, wrong.get_weights(), strict=True))


def test_keras_functions_of_saving(tmp_path):
    a, b = net(), net()
    saving.save_model(a, tmp_path / "m.safetensors")
    assert same(a, saving.load_model(tmp_path / "m.safetensors"))
    saving.save_weights(a, tmp_path / "w.npz")
    saving.load_weights(b, tmp_path / "w.npz")
    assert same(a, b)


def test_weights_of_like_names(tmp_path, rng):
    class Own(layers.Layer):
        def build(self, shape):
            self.all = [self.add_weight((3,), "uniform", name=name) for name in ("w", "w", "w:1", "w")]

        def call(self, x):
            return x + sum(w.value for w in self.all)

    model = Sequential([Input((3,)), Own()])
    other = Sequential([Input((3,)), Own()])
    model.save_weights(tmp_path / "w.safetensors")
    other.load_weights(tmp_path / "w.safetensors")
    assert len(model.weights) == 4 and same(other, model)


def test_without_optimizer_and_without_compile(tmp_path, rng):
    x, t = data(rng)
    model = net()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, t, verbose=0)
    model.save(tmp_path / "m.safetensors", include_optimizer=False)
    assert load_model(tmp_path / "m.safetensors").compiled
    bare = load_model(tmp_path / "m.safetensors", compile=False)
    assert not bare.compiled and same(bare, model)
    with pytest.raises(RuntimeError, match="compile"):
        bare.fit(x, t, verbose=0)


# ---- custom objects ----


@register_keras_serializable("test_saving")
class Scale(layers.Layer):
    def __init__(self, power=1.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def build(self, shape):
        self.w = self.add_weight((shape[-1],), initializer="ones", name="w")

    def call(self, x):
        return x * ops.power(ops.abs(self.w) + 0.1, self.power)

    def get_config(self):
        return {**super().get_config(), "power": self.power}


@register_keras_serializable("test_saving")
def cubic(y_true, y_pred):
    return ops.mean(ops.power(ops.abs(y_true - y_pred), 3.0), axis=-1)


def test_registered_objects(tmp_path, rng):
    x, _ = data(rng)
    y = rng.normal(size=(45, 2))
    model = Sequential([Input((6,)), Scale(2.0), Dense(2)])
    model.compile("adam", cubic, metrics=[cubic, metrics.MeanAbsoluteError(name="mine")])
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.safetensors")
    other = load_model(tmp_path / "m.safetensors")
    assert other.layers[0].power == 2.0
    assert other.evaluate(x, y, verbose=0, return_dict=True) == model.evaluate(x, y, verbose=0, return_dict=True)


class Unregistered(layers.Layer):
    def call(self, x):
        return ops.square(x)


class Harmonic(schedules.LearningRateSchedule):
    def compute(self, step):
        return 0.1 / (1 + step)

    def get_config(self):
        return {}


@register_keras_serializable("test_saving")
class RegisteredHarmonic(Harmonic):
    pass


@pytest.mark.parametrize("make", [Harmonic, RegisteredHarmonic, lambda: schedules.WarmUp(Harmonic(), 3)])
def test_own_schedules(make, tmp_path, rng):
    x, t = data(rng)
    model = net()
    model.compile(optimizers.SGD(make()), "sparse_categorical_crossentropy")
    model.fit(x, t, verbose=0)
    model.save(tmp_path / "m.safetensors")
    custom = None if make is RegisteredHarmonic else {"Harmonic": Harmonic}
    other = load_model(tmp_path / "m.safetensors", custom_objects=custom)
    assert other.optimizer.learning_rate == model.optimizer.learning_rate


def test_custom_objects_by_argument(tmp_path, rng):
    x, _ = data(rng)
    model = Sequential([Input((6,)), Dense(2), Unregistered()])
    model.save(tmp_path / "m.safetensors")
    with pytest.raises((ValueError, TypeError), match="Unregistered"):
        load_model(tmp_path / "m.safetensors")
    other = load_model(tmp_path / "m.safetensors", custom_objects={"Unregistered": Unregistered})
    assert np.array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))


def test_losses_and_metrics_with_settings(tmp_path, rng):
    x, t = data(rng)
    model = Sequential([Input((6,)), Dense(3)])
    model.compile(optimizers.SGD(0.1), losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=[metrics.SparseTopKCategoricalAccuracy(k=2, name="top2")],
                  weighted_metrics=["accuracy"])  # fmt: skip
    model.fit(x, t, verbose=0)
    model.save(tmp_path / "m.npz")
    other = load_model(tmp_path / "m.npz")
    assert other.evaluate(x, t, verbose=0, return_dict=True) == model.evaluate(x, t, verbose=0, return_dict=True)


# ---- refusals ----


@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_files(ending, tmp_path, rng):
    """Every cut and a change of every part is refused with a ValueError that names the file, or read unchanged."""
    x, t = data(rng)
    model = net()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, t, verbose=0)
    path = tmp_path / f"m{ending}"
    model.save(path)
    whole = path.read_bytes()
    for cut in {0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="m\\" + ending):
            load_model(path)
        with pytest.raises(ValueError, match="m\\" + ending):
            model.load_weights(path)
    for at in range(0, 600, 13):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        path.write_bytes(bytes(damaged))
        try:
            load_model(path)
        except (ValueError, TypeError, KeyError, NotImplementedError) as error:
            assert not isinstance(error, KeyError), f"byte {at}: {error!r}"
    path.write_bytes(whole)
    model.fit(x, t, verbose=0)
    assert load_model(path).built


@pytest.mark.parametrize("word", ["loss", "weighted_metrics", "optimizer"])
def test_damaged_words_of_what_a_model_was_compiled_with(word, tmp_path):
    model = net()
    model.compile("adam", "sparse_categorical_crossentropy")
    path = tmp_path / "m.safetensors"
    model.save(path)
    tensors, metadata = load_state(path)
    metadata["compile"][word + "s"] = metadata["compile"].pop(word)
    save_state(path, tensors, metadata)
    with pytest.raises(ValueError, match=r"m.safetensors.*compiled with is damaged"):
        load_model(path)
    assert not load_model(path, compile=False).compiled


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(100), b"PK\x03\x04" + bytes(50),
                                     b"\x93NUMPY" + bytes(100), (2**62).to_bytes(8, "little") + b"{}"])  # fmt: skip
def test_foreign_files(content, tmp_path):
    path = tmp_path / "f.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"f\.safetensors"):
        load_model(path)
    model = net()
    with pytest.raises(ValueError, match=r"f\.safetensors"):
        model.load_weights(path)


def test_names_and_places(tmp_path):
    model = net()
    with pytest.raises(ValueError, match="safetensors"):
        model.save(tmp_path / "m.h5")
    model.save(tmp_path / "m.npz")
    with pytest.raises(FileExistsError, match="overwrite"):
        model.save(tmp_path / "m.npz", overwrite=False)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "none" / "m.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.npz"]
    with pytest.raises(ValueError, match="not built"):
        Sequential([Dense(3)]).save(tmp_path / "n.npz")
    model.save_weights(tmp_path / "w.npz")
    with pytest.raises(ValueError, match="load_weights"):
        load_model(tmp_path / "w.npz")


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_copies_train_as_the_model_would(way):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 5)).astype(np.float32), rng.standard_normal((64, 1)).astype(np.float32)
    set_random_seed(1)
    model = Sequential([Input((5,)), Dense(7, activation="tanh"), Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, y, epochs=2, verbose=0)
    copied = pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)
    for m in (model, copied):
        m.fit(x, y, epochs=4, initial_epoch=2, verbose=0)
    for a, b in zip(model.get_weights(), copied.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_a_flipped_bit_is_found(tmp_path):
    set_random_seed(1)
    model = Sequential([Input((5,)), Dropout(0.25), Dense(3)])
    path = tmp_path / "model.safetensors"
    model.save(path)
    content = path.read_bytes()
    start = content.index(b"fastnn_crc32")
    for at in [*range(start, len(content), 7), content.index(b"0.25") + 2]:
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        if bytes(damaged[start : start + 12]) == b"fastnn_crc32":  # else there is no checksum to compare
            with pytest.raises(ValueError, match=r"checksum|not a valid"):
                load_model(path)
    path.write_bytes(content)
    assert load_model(path).get_weights()[0].shape == (5, 3)


@register_keras_serializable()
class Subclassed(Model):
    """A model whose layers are made in __init__ and built by its first call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.drop, self.out = Dense(4, activation="relu"), Dropout(0.3), Dense(3, activation="softmax")

    def call(self, x, training=None):
        return self.out(self.drop(self.hidden(x), training=training))

    def get_config(self):
        return {"name": self.name}


@pytest.mark.parametrize("built_by", ["fit", "call", "predict"])
def test_subclassed_models_are_built_again(built_by, tmp_path, rng):
    x, t = data(rng)
    model = Subclassed()
    model.compile("adam", "sparse_categorical_crossentropy")
    {"fit": lambda: model.fit(x, t, verbose=0), "call": lambda: model(x), "predict": lambda: model.predict(x)}[
        built_by
    ]()
    model.save(tmp_path / "a.safetensors")
    other = load_model(tmp_path / "a.safetensors")
    assert same(model, other)
    for one in (model, other):
        one.fit(x, t, initial_epoch=1, epochs=3, verbose=0)
    assert same(model, other)


def test_models_without_weights_yet(tmp_path):
    for save in (Sequential([Dense(3)]).save, Sequential([Dense(3)]).save_weights):
        with pytest.raises(ValueError, match="is not built yet"):
            save(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())
