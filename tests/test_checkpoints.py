"""BackupAndRestore and checkpoints: a training that was cut off, anywhere, goes on with the same bits."""

import numpy as np
import pytest

import fastnn
from fastnn import callbacks, layers, optimizers
from fastnn.optimizers import schedules
from fastnn.utils.seeding import set_random_seed


class Cut(Exception):
    pass


class CutOff(callbacks.Callback):
    """Raises after so many batches in all."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Cut


OPTIMIZERS = {
    "adam": lambda: optimizers.Adam(2e-3),
    "sgd": lambda: optimizers.SGD(schedules.CosineDecay(0.1, 60), momentum=0.9),
    "accumulated": lambda: optimizers.Adam(2e-3, gradient_accumulation_steps=4, use_ema=True),
    "clipped": lambda: optimizers.RMSprop(1e-3, momentum=0.5, centered=True, global_clipnorm=1.0),
    "by_variable": lambda: optimizers.Adafactor(1e-2, gradient_accumulation_steps=2),
}


def data(rows=200):
    (x, y), _ = fastnn.datasets.digits.load_data()
    return (x[:rows].reshape(-1, 64) / 16).astype(np.float32), y[:rows]


def net(make=OPTIMIZERS["adam"], units=12):
    set_random_seed(5)
    model = fastnn.Sequential([
        layers.Input((64,)), layers.Dense(units, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile(make(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("save_freq, cut", [("epoch", 17), (3, 17), (1, 14), (2, 2), (7, 7)])
def test_same_bits_as_without_interruption(tmp_path, name, save_freq, cut):
    x, y = data()
    whole = net(OPTIMIZERS[name])
    history = whole.fit(x, y, epochs=4, validation_split=0.2, verbose=0)
    after = fastnn.utils.seeding.next_seed()
    backup = callbacks.BackupAndRestore(tmp_path / "backup", save_freq=save_freq)
    with pytest.raises(Cut):
        net(OPTIMIZERS[name]).fit(x, y, epochs=4, validation_split=0.2, verbose=0, callbacks=[backup, CutOff(cut)])
    again = net(OPTIMIZERS[name])
    again._seed += 1  # as in another process without a fixed seed
    backup = callbacks.BackupAndRestore(tmp_path / "backup", save_freq=save_freq)
    resumed = again.fit(x, y, epochs=4, validation_split=0.2, verbose=0, callbacks=[backup])
    assert same(whole, again) and again.optimizer.step_count == whole.optimizer.step_count
    for key, values in resumed.history.items():
        assert values == history.history[key][-len(values) :]
    assert fastnn.utils.seeding.next_seed() == after
    assert not (tmp_path / "backup").exists()


def test_iterables_of_batches_resume(tmp_path):
    x, y = data(100)
    batches = [(x[j : j + 20], y[j : j + 20]) for j in range(0, 100, 20)]

    class Source:
        def __iter__(self):
            return iter(batches)

    whole = net()
    whole.fit(Source(), epochs=3, verbose=0)
    with pytest.raises(Cut):
        net().fit(Source(), epochs=3, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path, 2), CutOff(8)])
    again = net()
    again.fit(Source(), epochs=3, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path, 2)])
    assert same(whole, again)


@pytest.mark.parametrize("save_freq", ["epoch", 2])
def test_states_of_stateful_layers_are_restored(tmp_path, save_freq):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(24, 5, 3)).astype(np.float32), rng.normal(size=(24, 2)).astype(np.float32)

    def stateful():
        set_random_seed(5)
        model = fastnn.Sequential([layers.Input((5, 3)), layers.LSTM(4, stateful=True), layers.Dense(2)])
        model.compile("adam", "mse")
        return model

    whole, again = stateful(), stateful()
    whole.fit(x, y, batch_size=4, epochs=3, verbose=0)
    backup = callbacks.BackupAndRestore(tmp_path, save_freq)
    with pytest.raises(Cut):
        stateful().fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[backup, CutOff(9)])
    again.predict(x[:7])
    again.reset_states()
    again.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path, save_freq)])
    assert same(whole, again)


def test_the_rate_is_restored(tmp_path):
    x, y = data(40)
    model = net()
    model.optimizer.learning_rate = 0.123
    model.fit(x, y, verbose=0)
    model.save_checkpoint(tmp_path / "a.safetensors")
    other = net()
    other.load_checkpoint(tmp_path / "a.safetensors")
    assert other.optimizer.learning_rate == 0.123
    model.fit(x, y, verbose=0, initial_epoch=1, epochs=2)
    other.fit(x, y, verbose=0, initial_epoch=1, epochs=2)
    assert same(model, other)


def test_another_models_checkpoint_is_refused(tmp_path):
    x, y = data(40)
    model = net()
    model.fit(x, y, verbose=0)
    path = tmp_path / "a.safetensors"
    model.save_checkpoint(path)
    for other, what in ((net(units=13), "shapes"), (net(OPTIMIZERS["sgd"]), "optimizer")):
        before = other.get_weights()
        with pytest.raises(ValueError, match=f"was written by another model: its {what}"):
            other.load_checkpoint(path)
        assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True))
    with pytest.raises(ValueError, match=r"other settings of Adam: it keeps \['momentum', 'velocity'\], that of"):
        net(lambda: optimizers.Adam(amsgrad=True)).load_checkpoint(path)
    model.save_weights(tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="is no checkpoint; use load_weights"):
        model.load_checkpoint(tmp_path / "w.safetensors")
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        model.load_checkpoint(path)
    fresh = fastnn.Sequential([layers.Dense(2)])
    with pytest.raises(ValueError, match="must be built and compiled"):
        fresh.save_checkpoint(path)
    with pytest.raises(ValueError, match="must be built and compiled"):
        fresh.load_checkpoint(path)
    backup = tmp_path / "backup"
    with pytest.raises(Cut):
        net().fit(x, y, epochs=3, verbose=0, callbacks=[callbacks.BackupAndRestore(backup), CutOff(3)])
    with pytest.raises(ValueError, match="was written by another model"):
        net(units=13).fit(x, y, verbose=0, callbacks=[callbacks.BackupAndRestore(backup)])


def test_an_interrupted_resume_leaves_no_trace():
    x, y = data(64)
    model = net()
    model._initial_epoch, model._initial_batch = 2, 1
    assert model.fit(x, y, epochs=3, verbose=0).epoch == [2]
    assert model.fit(x, y, epochs=2, verbose=0).epoch == [0, 1]
