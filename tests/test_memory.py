"""Memory: where values of a plan are placed, what the store keeps, what is given back."""

import gc
import os
import tracemalloc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn import _core, optimizers
from fastnn.compiler.place import ALIGNMENT, place
from fastnn.compiler.store import Store
from fastnn.layers import Dense, Dropout, Input
from fastnn.models import Model, Sequential
from fastnn.variables import Variable

#: An address sanitizer keeps freed memory aside, and its own books: what is held then says nothing.
counted = pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="memory is not counted under an address sanitizer")


def net(*widths, inputs=5, outputs=3):
    hidden = [Dense(w, activation="relu") for w in widths]
    return Sequential([Input((inputs,)), *hidden, Dense(outputs, activation="softmax")])


def data(rng, rows=40, columns=5, classes=3):
    return rng.normal(size=(rows, columns)).astype(np.float32), rng.integers(0, classes, rows)


# ---- the placer ----

LIFETIMES = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 30), st.integers(0, 30)).map(
        lambda t: (t[0], min(t[1:]), max(t[1:]))
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(LIFETIMES, st.booleans())
def test_values_alive_at_one_time_do_not_overlap(lifetimes, reuse):
    offsets, total = place(lifetimes, reuse)
    blocks = [(at, at + max(n, 1), first, last) for at, (n, first, last) in zip(offsets, lifetimes, strict=True)]
    for j, (lo, hi, first, last) in enumerate(blocks):
        assert lo % ALIGNMENT == 0 and hi <= total
        for lo2, hi2, first2, last2 in blocks[:j]:
            alive_together = not (last < first2 or last2 < first)
            if alive_together or not reuse:
                assert hi <= lo2 or hi2 <= lo, "two values that are alive at one time share memory"


@given(LIFETIMES)
def test_the_total_is_at_least_what_is_alive_at_once(lifetimes):
    _, total = place(lifetimes)
    for moment in range(31):
        assert total >= sum(n for n, first, last in lifetimes if first <= moment <= last)


def test_memory_is_used_again():
    chain = [(1 << 20, j, j + 1) for j in range(50)]
    assert place(chain)[1] == 2 << 20
    assert place(chain, reuse=False)[1] == 50 << 20


def test_a_deep_prediction_needs_the_memory_of_two_layers(rng):
    model = net(*[256] * 10, inputs=256)
    x = rng.normal(size=(64, 256)).astype(np.float32)
    model.predict(x, batch_size=64, verbose=0)
    (step,) = model._steps.values()
    assert step.plan.nbytes <= 4 * 64 * 256 * 4


# ---- the store ----


def test_gaps_of_the_store_stay_zero(rng):
    x, t = data(rng)
    for optimizer in [
        optimizers.SGD(0.1), optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1), optimizers.Adam(0.01),
        optimizers.AdamW(0.01), optimizers.RMSprop(0.01), optimizers.Adagrad(0.1), optimizers.Lion(0.01),
        optimizers.Nadam(0.01), optimizers.Adamax(0.01), optimizers.Adadelta(1.0), optimizers.Adam(0.01, clipnorm=0.1),
        optimizers.Adam(0.01, use_ema=True),
    ]:  # fmt: skip
        model = net(7, 9)
        model.compile(optimizer, "sparse_categorical_crossentropy")
        model.fit(x, t, epochs=3, verbose=0)
        store = model.weights[0].store
        used = np.zeros(store.size, bool)
        for v, offset in store.offsets.items():
            used[offset : offset + v.value.size] = True
        assert not used.all()
        assert not store.array[~used].any(), optimizer.name
        assert np.isfinite(store.array).all()


def test_variables_are_aligned_views_of_one_block(rng):
    model = net(7, 9)
    before = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.train_on_batch(*data(rng))
    store = model.weights[0].store
    for v, old in zip(model.weights, before, strict=True):
        assert v.store is store and v.value.shape == old.shape
        assert v.value.ctypes.data % 64 == 0
        assert np.shares_memory(v.value, store.array)


def test_views_stay_views(rng):
    """Once trained, a weight's array is the weight: later plans, batches and trainings do not move it."""
    x, t = data(rng)
    model = net(7)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, t, verbose=0)
    views = [v.value for v in model.weights]
    model.fit(x, t, batch_size=40, verbose=0)
    model.predict(x, verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, t, epochs=2, verbose=0)
    for view, v in zip(views, model.weights, strict=True):
        assert view is v.value
    views[0][...] = 0
    assert not model.get_weights()[0].any()


def test_a_view_outlives_its_model(rng):
    model = net(7)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*data(rng), verbose=0)
    view, copy = model.weights[0].value, model.get_weights()[0]
    del model
    gc.collect()
    _ = [_core.empty((10000,), "float32") for _ in range(20)]
    assert np.array_equal(view, copy)


def test_stores_of_shared_variables():
    a, b, c = (Variable(np.full(5, v), name=n) for v, n in ((1.0, "a"), (2.0, "b"), (3.0, "c")))
    first = Store.of([a, b], "float32")
    assert Store.of([a], "float32") is first and Store.of([a, b], "float32") is first
    second = Store.of([b, c], "float32")
    assert second is not first and b.store is second and np.array_equal(b.value, np.full(5, 2.0))


def test_models_that_share_layers_train_side_by_side(rng):
    x, t = data(rng)
    shared = Dense(6, activation="relu")
    one = Sequential([Input((5,)), shared, Dense(3, activation="softmax")])
    two = Sequential([Input((5,)), shared, Dense(3, activation="softmax")])
    for model in (one, two):
        model.compile(optimizers.SGD(0.1, momentum=0.5), "sparse_categorical_crossentropy")
    for _ in range(3):
        for model in (one, two):
            before = shared.kernel.numpy()
            model.train_on_batch(x, t)
            assert not np.array_equal(before, shared.kernel.numpy())
            np.testing.assert_allclose(model(x), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


# ---- plans and batches ----


def test_a_short_batch_reads_nothing_of_the_batch_before(rng):
    x, t = data(rng, 23)
    model = net(8)
    model.compile("sgd", "sparse_categorical_crossentropy")
    whole = model.predict(x, batch_size=23, verbose=0)
    np.testing.assert_allclose(model.predict(x, batch_size=10, verbose=0), whole, rtol=1e-5, atol=1e-6)
    assert model.evaluate(x, t, batch_size=10, verbose=0) == pytest.approx(
        model.evaluate(x, t, batch_size=23, verbose=0)
    )
    # a batch of NaN leaves no trace in the next one
    model.predict(np.full((10, 5), np.nan, np.float32), batch_size=10, verbose=0)
    assert np.isfinite(model.predict(x, batch_size=10, verbose=0)).all()


def test_larger_batches_make_larger_plans(rng):
    x, t = data(rng, 64)
    model = net(8)
    model.compile("sgd", "sparse_categorical_crossentropy")
    for rows in (1, 3, 64, 2, 32):
        before = model.get_weights()
        model.train_on_batch(x[:rows], t[:rows])
        assert not np.array_equal(before[0], model.get_weights()[0])
        assert model.predict_on_batch(x[:rows]).shape == (rows, 3)
    capacities = {key[0]: step.capacity for key, step in model._steps.items()}
    assert capacities == {"train": 64, "predict": 64}


# ---- nothing leaks ----


def trained(rng):
    model = Sequential([Input((5,)), Dense(8, activation="relu"), Dropout(0.1), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, t = data(rng)
    model.fit(x, t, verbose=0, validation_data=(x, t))
    model.predict(x, verbose=0)
    return model


def test_a_deleted_model_is_freed(rng):
    model = trained(rng)
    parts = [weakref.ref(model), weakref.ref(model.layers[0]), weakref.ref(model.weights[0])]
    parts += [weakref.ref(s.plan) for s in model._steps.values()]
    del model
    gc.collect()
    assert [p() for p in parts] == [None] * len(parts)


@counted
def test_training_again_and_again_takes_no_more_memory(rng):
    model = trained(rng)
    x, t = data(rng)

    def work():
        model.fit(x, t, epochs=2, verbose=0)
        model.evaluate(x, t, verbose=0)
        model.predict(x, verbose=0)
        model.train_on_batch(x[:9], t[:9])
        gc.collect()

    work()
    tracemalloc.start()
    try:
        work()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            work()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


@counted
def test_making_models_takes_no_more_memory(rng):
    """Plans and stores live outside Python's allocator: the process itself must not grow."""

    def work():
        model = net(512, 512, inputs=512)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.train_on_batch(*data(rng, 64, 512))
        del model
        gc.collect()

    for _ in range(5):
        work()
    before = resident()
    for _ in range(15):
        work()
    assert resident() - before < 30e6  # each model is 10 MB


def test_subclassed_and_functional_models_are_freed(rng):
    class Own(Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = Dense(4), Dense(3)

        def call(self, x):
            return self.b(self.a(x))

    inputs = Input((5,))
    models = [Own(), Model(inputs, Dense(3)(Dense(4)(inputs)))]
    del inputs
    for model in models:
        model.compile("sgd", "mse")
        model.fit(rng.normal(size=(20, 5)), rng.normal(size=(20, 3)), verbose=0)
    parts = [weakref.ref(m) for m in models]
    del model, models
    gc.collect()
    assert [p() for p in parts] == [None, None]


def test_no_memory_is_an_error():
    with pytest.raises(MemoryError):
        _core.empty((1 << 60,), "float64")
