"""Weights kept packed from step to step: the bits are those of products that make their own copies."""

import numpy as np
import pytest

import fastnn
from fastnn import constraints, layers, optimizers, precision
from fastnn.compiler import packed

#: levels that run something of their own here
LEVELS = tuple(level for level in precision.PARTS if precision.choose(level)[0])
#: more than one block of columns, odd numbers of columns and terms, and less than a vector more than whole ones
SIZES = (70, 290, 33)
BATCH = 130  # enough for every level

pytestmark = pytest.mark.skipif(not LEVELS, reason="nothing here multiplies bfloat16")


def trained(most_rows, monkeypatch, optimizer=None, level="medium", threads=1, calls=1, sizes=SIZES, layer=None):
    """All weights of a net after some epochs, and what it predicts."""
    monkeypatch.setattr(packed, "MOST_ROWS", most_rows)
    monkeypatch.setattr(packed, "MOST_TRAINED", 10**9)
    fastnn.utils.set_random_seed(1)
    before = fastnn.get_num_threads()
    fastnn.set_num_threads(threads)
    layer = layer or (lambda n: layers.Dense(n, activation="relu"))
    try:
        model = fastnn.Sequential([fastnn.Input((sizes[0],)), *map(layer, sizes[1:]), layers.Dense(3)])
        loss = fastnn.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer() if optimizer else "adam", loss, matmul_precision=level)
        rng = np.random.default_rng(0)
        count = 2 * BATCH + 7
        x, y = rng.standard_normal((count, sizes[0]), dtype=np.float32), rng.integers(0, 3, count)
        for _ in range(calls):
            model.fit(x, y, batch_size=BATCH, epochs=2, verbose=0)
            model.set_weights([w * 0.9 for w in model.get_weights()])
        result = [*model.get_weights(), model.predict(x, batch_size=BATCH, verbose=0)]
    finally:
        fastnn.set_num_threads(before)
    return result, model


def same(left, right):
    return all(np.array_equal(a.view(np.uint32), b.view(np.uint32)) for a, b in zip(left, right, strict=True))


def copies(model, mode="train"):
    return [row for row in model.plan(mode, BATCH).rows if row["op"] == "pack_weights"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_bits_are_those_without_copies(level, threads, monkeypatch):
    sizes = {"highest_split": (145, 290, 129), "high": (530, 290, 70), "medium": (1090, 290, 33)}[level]
    plain, model = trained(0, monkeypatch, level=level, sizes=sizes)  # more than one block of terms too
    assert copies(model) == []
    kept, model = trained(512, monkeypatch, level=level, threads=threads, sizes=sizes)
    assert len(copies(model)) >= 2
    assert same(plain, kept)


OPTIMIZERS = {
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "accumulation": lambda: optimizers.SGD(0.1, gradient_accumulation_steps=3),
    "clipped": lambda: optimizers.RMSprop(clipnorm=0.5),
    "decay": lambda: optimizers.AdamW(weight_decay=0.1),
    "average": lambda: optimizers.Adam(use_ema=True, ema_overwrite_frequency=2),
    "direction": optimizers.Lamb,
    "products": optimizers.Muon,
    "schedule-free": optimizers.ScheduleFreeAdamW,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_way_of_updating_keeps_the_copies(name, monkeypatch):
    plain, _ = trained(0, monkeypatch, OPTIMIZERS[name])
    kept, model = trained(512, monkeypatch, OPTIMIZERS[name])
    assert copies(model)
    assert same(plain, kept)


def test_constraints_are_in_the_copies(monkeypatch):
    def layer(n):
        return layers.Dense(n, activation="tanh", kernel_constraint=constraints.MaxNorm(0.5))

    plain, _ = trained(0, monkeypatch, layer=layer)
    kept, model = trained(512, monkeypatch, layer=layer)
    assert copies(model)
    assert same(plain, kept)


def test_weights_may_change_between_runs(monkeypatch):
    plain, _ = trained(0, monkeypatch, calls=3)
    kept, _ = trained(512, monkeypatch, calls=3)
    assert same(plain, kept)


def test_single_steps_make_no_copies_that_could_be_old(monkeypatch):
    """A step alone, a run of several, and another alone, the weights changed by hand before each."""
    found = []
    for rows in (0, 512):
        monkeypatch.setattr(packed, "MOST_ROWS", rows)
        fastnn.utils.set_random_seed(2)
        model = fastnn.Sequential([fastnn.Input((64,)), layers.Dense(96, activation="relu"), layers.Dense(64)])
        model.compile("sgd", "mse", matmul_precision=LEVELS[-1])
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((300, 64), dtype=np.float32), rng.standard_normal((300, 64), dtype=np.float32)
        outs = []
        for k in range(3):
            model.layers[0].kernel.value[k] += 1
            outs.append(model.predict_on_batch(x))
            model.layers[-1].kernel.value[k] -= 1
            outs.append(model.predict(x, batch_size=100, verbose=0))
            model.train_on_batch(x, y)
            model.fit(x, y, batch_size=100, verbose=0)
        found.append([*outs, *model.get_weights()])
    assert same(*found)


def test_large_batches_and_large_trained_weights_keep_none(monkeypatch):
    def rows(batch, mode="train"):
        model = fastnn.Sequential([fastnn.Input((256,)), layers.Dense(256, activation="relu"), layers.Dense(256)])
        model.compile("sgd", "mse", matmul_precision=LEVELS[-1])
        return [row for row in model.plan(mode, batch).rows if row["op"] == "pack_weights"]

    assert len(rows(packed.MOST_ROWS)) == 3
    assert rows(packed.MOST_ROWS + 1) == []
    monkeypatch.setattr(packed, "MOST_TRAINED", 256 * 256 - 1)
    assert rows(packed.MOST_ROWS) == []
    assert len(rows(packed.MOST_ROWS, "predict")) == 2


def test_frozen_and_shared_layers(monkeypatch):
    found = []
    for most in (0, 512):
        monkeypatch.setattr(packed, "MOST_ROWS", most)
        fastnn.utils.set_random_seed(4)
        x = fastnn.Input((96,))
        shared, frozen = layers.Dense(96, activation="relu"), layers.Dense(96, activation="relu", trainable=False)
        model = fastnn.Model(x, layers.Dense(64)(shared(frozen(shared(x)))))
        model.compile("adam", "mse", matmul_precision=LEVELS[-1])
        rng = np.random.default_rng(0)
        data, y = rng.standard_normal((400, 96), dtype=np.float32), rng.standard_normal((400, 64), dtype=np.float32)
        model.fit(data, y, batch_size=130, epochs=2, verbose=0)
        found.append([*model.get_weights(), model.predict(data, batch_size=130, verbose=0)])
    assert len(copies(model)) == 6  # each layer's, forward and backward
    assert same(*found)
