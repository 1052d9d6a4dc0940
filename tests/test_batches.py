"""Training, evaluation and prediction on iterables of batches, and epochs of some batches of the arrays."""

import numpy as np
import pytest

from fastnn import callbacks, utils
from fastnn.layers import Dense, Input
from fastnn.models import Sequential
from fastnn.utils.seeding import set_random_seed


def data(rng):
    return rng.normal(size=(50, 6)).astype(np.float32), rng.integers(0, 3, 50)


def net(seed=3):
    set_random_seed(seed)
    model = Sequential([Input((6,)), Dense(8, activation="tanh"), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Dataset(utils.PyDataset):
    def __init__(self, x, y, size=10):
        super().__init__()
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return -(-len(self.x) // self.size)

    def __getitem__(self, j):
        part = slice(j * self.size, (j + 1) * self.size)
        return self.x[part], self.y[part]


def forever(x, y):
    while True:
        yield x, y


class Calls(callbacks.Callback):
    """Writes down which hooks were called."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(("train", batch))

    def on_test_begin(self, logs=None):
        self.seen.append("test begin")

    def on_test_batch_end(self, batch, logs=None):
        self.seen.append(("test", batch, sorted(logs)))

    def on_test_end(self, logs=None):
        self.seen.append("test end")

    def on_predict_batch_end(self, batch, logs=None):
        self.seen.append(("predict", batch))


def test_iterables_of_batches(rng):
    x, t = data(rng)

    class Batches:
        def __len__(self):
            return 4

        def __iter__(self):
            for at in range(0, 50, 16):
                yield x[at : at + 16], t[at : at + 16]

    found = []
    for source in ("arrays", "iterable", "generator"):
        model = net()
        if source == "arrays":
            model.fit(x, t, batch_size=16, epochs=2, shuffle=False, verbose=0)
        elif source == "iterable":
            model.fit(Batches(), epochs=2, verbose=0)
        else:

            def forever():
                while True:
                    yield from Batches()

            model.fit(forever(), epochs=2, steps_per_epoch=4, verbose=0)
        found.append((model.get_weights(), model.history.history["loss"]))
    for weights, losses in found[1:]:
        np.testing.assert_allclose(losses, found[0][1], rtol=1e-12)
        for u, v in zip(weights, found[0][0], strict=True):
            assert np.array_equal(u, v)
    assert model.evaluate(Batches(), verbose=0) == pytest.approx(
        model.evaluate(x, t, batch_size=16, verbose=0), rel=1e-6
    )


def test_class_weights_with_batches(rng):
    x, t = data(rng)
    weights = {0: 100.0, 1: 0.5}
    histories = []
    for given in ((x, t), (Dataset(x, t),), (iter(Dataset(x, t)),)):
        histories.append(net().fit(*given, class_weight=weights, batch_size=10, shuffle=False, verbose=0).history)
    assert histories[0] == histories[1] == histories[2]


@pytest.mark.parametrize("given", [{"sample_weight": np.ones(50)}, {"validation_split": 0.5}])
def test_what_is_for_arrays_is_refused_with_batches(given, rng):
    model = net()
    with pytest.raises(ValueError, match=f"{next(iter(given))} is for arrays"):
        model.fit(Dataset(*data(rng)), verbose=0, **given)
    if "sample_weight" in given:
        with pytest.raises(ValueError, match="sample_weight is for arrays"):
            model.evaluate(Dataset(*data(rng)), verbose=0, **given)


def test_stopping_within_an_epoch_of_batches(rng):
    x, t = data(rng)

    class Stop(Calls):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    for steps in (6, None):
        stop = Stop()
        net().fit(forever(x[:10], t[:10]), steps_per_epoch=steps, epochs=2, callbacks=[stop], verbose=0)
        assert stop.seen == [("train", 0), ("train", 1), ("train", 2)]


def test_hooks_of_evaluation(rng):
    """Validation calls them as evaluation does, on arrays and on batches."""
    x, t = data(rng)
    model = net()
    batches = [("test", j, ["accuracy", "loss"]) for j in range(5)]
    for run in (
        lambda c: model.evaluate(x, t, batch_size=10, callbacks=[c], verbose=0),
        lambda c: model.evaluate(Dataset(x, t), callbacks=[c], verbose=0),
        lambda c: model.evaluate(forever(x, t), steps=5, callbacks=[c], verbose=0),
        lambda c: model.fit(x[:0:-1], t[:0:-1], batch_size=49, validation_data=(x, t), validation_batch_size=10,
                            callbacks=[c], verbose=0),
        lambda c: model.fit(x[:0:-1], t[:0:-1], batch_size=49, validation_data=Dataset(x, t), callbacks=[c],
                            verbose=0),
    ):  # fmt: skip
        calls = Calls()
        run(calls)
        seen = [one for one in calls.seen if one[0] != "train"]
        assert seen == ["test begin", *batches, "test end"]


def test_predicting_some_batches(rng):
    x, t = data(rng)
    model, calls = net(), Calls()
    found = model.predict(forever(x, t), steps=2, callbacks=[calls])
    assert np.array_equal(found, np.tile(model.predict(x), (2, 1)))
    assert calls.seen == [("predict", 0), ("predict", 1)]


def test_no_batches(rng):
    model = net()
    for call in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match="the iterable of batches gave none"):
            call(iter([]))


def test_epochs_of_some_batches_go_on(rng):
    """steps_per_epoch: the next epoch goes on where the last one ended, past the end of the data with a new pass."""
    x, t = data(rng)
    model, calls = net(), Calls()
    model.fit(x, t, batch_size=16, steps_per_epoch=3, epochs=4, shuffle=False, callbacks=[calls], verbose=0)
    assert calls.seen == [("train", j) for _ in range(4) for j in range(3)]
    passes = [slice(at, at + 16) for _ in range(3) for at in (0, 16, 32, 48)]
    one = net()
    for part in passes:
        one.train_on_batch(x[part], t[part])
    for u, v in zip(model.get_weights(), one.get_weights(), strict=True):
        assert np.array_equal(u, v)


def test_epochs_of_some_batches_in_parts(rng):
    """Shuffled, stopped and gone on with: the bits of one fit; whole passes are those of plain epochs."""
    x, t = data(rng)
    found = []
    for way in ("whole", "parts", "passes"):
        model = net()
        if way == "whole":
            model.fit(x, t, batch_size=16, steps_per_epoch=6, epochs=4, verbose=0)
        elif way == "parts":
            model.fit(x, t, batch_size=16, steps_per_epoch=6, epochs=3, verbose=0)
            model.fit(x, t, batch_size=16, steps_per_epoch=6, initial_epoch=3, epochs=4, verbose=0)
        else:
            model.fit(x, t, batch_size=16, epochs=6, verbose=0)
        found.append(model.get_weights())
    for weights in found[1:]:
        assert all(np.array_equal(u, v) for u, v in zip(found[0], weights, strict=True))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"validation_freq": 0}, "validation_freq must be an integer of at least 1, got 0"),
        ({"validation_freq": 1.5}, "validation_freq must be an integer of at least 1, got 1.5"),
        ({"validation_freq": [1, "a"]}, r"validation_freq \(an epoch of the list\) must be an integer"),
        ({"verbose": "x"}, "verbose must be 0, 1, 2 or 'auto', got 'x'"),
        ({"verbose": None}, "verbose must be 0, 1, 2 or 'auto', got None"),
        ({"sample_weight": {"other": np.ones(50)}}, "sample weights must be given for"),
    ],
)
def test_mistakes(given, message, rng):
    x, t = data(rng)
    model = net()
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(x, t, **given)
    assert all(np.array_equal(u, v) for u, v in zip(before, model.get_weights(), strict=True))
