"""Ensembles: what members see and answer, the same bits side by side and one after the other, Monte-Carlo dropout."""

import threading

import numpy as np
import pytest

import fastnn
from fastnn import callbacks, ensembles, layers, optimizers, pretraining
from fastnn.layers import Dense, Dropout, Input
from fastnn.utils import seeding
from fastnn.utils.seeding import set_random_seed


def data(rows=300):
    (x, y), (xt, yt) = fastnn.datasets.digits.load_data()
    flat = lambda a: (a.reshape(-1, 64) / 16).astype(np.float32)  # noqa: E731
    return (flat(x[:rows]), y[:rows]), (flat(xt), yt)


def make(units=16, built=True):
    def made():
        first = [Input((64,))] if built else []
        model = fastnn.Sequential([*first, Dense(units, activation="relu"), Dense(10, activation="softmax")])
        model.compile(optimizers.Adam(5e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return made


@pytest.mark.parametrize("built", [True, False])
def test_same_bits_side_by_side(built, threads):
    (x, y), _ = data()
    found = []
    for workers, n in ((1, 1), (2, 1), (4, 2), (None, 3)):
        threads(n)
        set_random_seed(workers or 9)  # members depend on the ensemble's seed only
        bag = ensembles.Bagging(make(built=built), members=4, seed=7)
        histories = bag.fit(x, y, workers=workers, epochs=3)
        assert fastnn.get_num_threads() == n and len(histories) == 4
        found.append([w for member in bag.members for w in member.get_weights()])
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))
    assert not np.array_equal(found[0][0], found[0][4])


def test_members_are_bootstrap_samples():
    bag = ensembles.Bagging(make(), members=3, seed=1)
    samples = [bag.sample(j, 1000) for j in range(3)]
    assert all(len(s) == 1000 and len(set(s)) == pytest.approx(632, abs=40) for s in samples)
    assert not np.array_equal(samples[0], samples[1]) and np.array_equal(samples[0], bag.sample(0, 1000))
    half = ensembles.Bagging(make(), members=1, bootstrap=False, fraction=0.5, seed=1).sample(0, 10)
    assert len(set(half)) == 5
    assert np.array_equal(ensembles.Bagging(make(), members=1, bootstrap=False).sample(0, 4), np.arange(4))


def test_weights_go_with_the_rows_of_a_sample():
    def make_line():
        model = fastnn.Sequential([Input((1,)), Dense(1, kernel_initializer="zeros")])
        model.compile("sgd", "mse")
        return model

    x, y = np.ones((20, 1)), np.arange(20.0)[:, None]
    weight = (y[:, 0] < 5) * 1.0
    bag = ensembles.Bagging(make_line, members=3, fraction=0.8, seed=1)
    for j, history in enumerate(bag.fit(x, y, epochs=1, batch_size=20, sample_weight=weight)):
        rows = bag.sample(j, 20)
        assert history.history["loss"][0] == pytest.approx((weight * y[:, 0] ** 2)[rows].mean(), rel=1e-6)
    with pytest.raises(ValueError, match="a weight for each of 20 rows"):
        bag.fit(x, y, sample_weight=weight[:16])


def test_bagging_is_better_than_its_members():
    (x, y), (xt, yt) = data()
    bag = ensembles.Bagging(make(), members=7, seed=2)
    before = seeding.get_state()
    bag.fit(x, y, epochs=12)
    assert seeding.get_state() == before
    single = np.mean([member.evaluate(xt, yt, verbose=0)[1] for member in bag.members])
    assert bag.accuracy(xt, yt) > single and bag.accuracy(xt, yt, "vote") > single
    outputs, counted = bag.out_of_bag(x)
    known = counted > 0
    estimate = (outputs[known].argmax(axis=1) == y[known]).mean()
    assert estimate == pytest.approx(bag.accuracy(xt, yt), abs=0.08) and np.isnan(outputs[~known]).all()
    assert bag.spread(xt).shape == (len(xt), 10)


class Fixed:
    def __init__(self, outputs):
        self.outputs = np.asarray(outputs, np.float32)

    def predict(self, x, **_):
        return self.outputs[: len(x)]


def test_average_and_vote():
    a, b, c = [[0.6, 0.4, 0.0]], [[0.55, 0.45, 0.0]], [[0.0, 0.9, 0.1]]
    x = np.zeros((1, 1))
    one = ensembles.Ensemble([Fixed(a), Fixed(b), Fixed(c)])
    assert one.predict(x).argmax() == 1 and one.vote(x).tolist() == [0]
    np.testing.assert_allclose(one.predict(x), np.mean([a, b, c], axis=0), rtol=1e-6)
    weighted = ensembles.Ensemble([Fixed(a), Fixed(c)], weights=[3, 1])
    np.testing.assert_allclose(weighted.predict(x), [[0.45, 0.525, 0.025]], rtol=1e-6)
    assert weighted.vote(x).tolist() == [0]
    binary = ensembles.Ensemble([Fixed([[0.9]]), Fixed([[0.4]]), Fixed([[0.3]])])
    assert binary.vote(x).tolist() == [0] and binary.accuracy(x, [1]) == 1.0 and binary.accuracy(x, [1], "vote") == 0.0


def test_snapshots():
    (x, y), (xt, yt) = data()
    model = make()()
    model.compile(optimizers.SGD(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    rates = []
    watch = callbacks.LambdaCallback(on_epoch_begin=lambda *_, **__: rates.append(model.optimizer.learning_rate))
    found, history = ensembles.snapshot_ensemble(
        model, x, y, cycles=3, epochs_per_cycle=4, learning_rate=0.5, verbose=0,
        callbacks=[watch],
    )  # fmt: skip
    assert len(found) == 3 and len(history.epoch) == 12
    assert [round(r, 6) for r in rates[::4]] == [0.5] * 3 and rates[3] < 0.1
    assert all(np.array_equal(a, b) for a, b in zip(found.members[-1].get_weights(), model.get_weights(), strict=True))
    assert found.accuracy(xt, yt) > 0.8
    with pytest.raises(ValueError, match="cycles begin at step 0"):
        ensembles.snapshot_ensemble(model, x, y)


def test_snapshots_beside_a_validation_split():
    """9 of 11 rows are trained on: 3 batches an epoch."""
    model = fastnn.Sequential([Input((1,)), Dense(1)])
    model.compile(optimizers.SGD(), "mse")
    x, rates = np.ones((11, 1)), []
    watch = callbacks.LambdaCallback(on_epoch_begin=lambda *_, **__: rates.append(model.optimizer.learning_rate))
    ensembles.snapshot_ensemble(model, x, x, 2, 2, learning_rate=0.1, batch_size=3, validation_split=0.1, verbose=0,
                                callbacks=[watch])  # fmt: skip
    assert rates[::2] == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("layer", [Dropout, layers.AlphaDropout, layers.GaussianDropout])
def test_monte_carlo(layer):
    (x, y), _ = data(100)
    model = fastnn.Sequential([Input((64,)), Dense(32, activation="relu"), layer(0.3), Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=2, verbose=0)
    plain = model.predict(x)
    found = ensembles.monte_carlo_predict(model, x, samples=200, batch_size=32, seed=3)
    assert found.samples.shape == (200, 100, 10) and found.std.max() > 0.01
    np.testing.assert_allclose(found.mean, plain, atol=0.06 if layer is Dropout else 0.3)
    assert len({s.tobytes() for s in found.samples}) == 200
    again = ensembles.monte_carlo_predict(model, x, samples=200, batch_size=32, seed=3)
    assert np.array_equal(found.samples, again.samples)
    assert np.array_equal(model.predict(x), plain)  # dropout is off again


def test_jobs_in_order_and_errors(threads):
    threads(2)
    assert ensembles.train_side_by_side([lambda j=j: j for j in range(5)]) == list(range(5))
    assert ensembles.train_side_by_side([]) == []
    ran = []

    def fails():
        raise RuntimeError("job")

    with pytest.raises(RuntimeError, match="job"):
        ensembles.train_side_by_side([fails, *(lambda: ran.append(1) for _ in range(50))], workers=1)
    assert not ran and fastnn.get_num_threads() == 2
    with pytest.raises(ValueError, match="workers must be an integer >= 1"):
        ensembles.train_side_by_side([fails], workers=0)
    with pytest.raises(TypeError, match="jobs must be functions"):
        ensembles.train_side_by_side([3])


def test_several_at_a_time():
    meet = threading.Barrier(3, timeout=20)
    ensembles.train_side_by_side([meet.wait] * 3, workers=3)


def test_what_is_refused():
    (x, y), _ = data(20)
    one = make()()
    plain = fastnn.Sequential([Input((64,)), Dense(2)])
    denoising = fastnn.Sequential([Input((64,)), pretraining.Corruption("mask"), Dense(2)])
    for call, error, message in (
        (lambda: ensembles.Bagging(3), TypeError, "make_model must be a function"),
        (lambda: ensembles.Bagging(lambda: one, 2), ValueError, "gave one model twice"),
        (lambda: ensembles.Bagging(lambda: 3, 2), ValueError, "must give compiled models, got 3"),
        (lambda: ensembles.Bagging(lambda: plain, 1), ValueError, "must give compiled models"),
        (lambda: ensembles.Bagging(make(), 0), ValueError, "members must be an integer of at least 1"),
        (lambda: ensembles.Bagging(make(), fraction=0), ValueError, r"fraction must be in \(0, 1\], got 0"),
        (lambda: ensembles.Bagging(make(), fraction="all"), TypeError, "fraction must be a number, got 'all'"),
        (lambda: ensembles.Bagging(make(), 1).fit(x, y[:5]), ValueError, "same number of rows"),
        (lambda: ensembles.Bagging(make(), 1).fit(x, y, callbacks=[]), TypeError, "function of the member's number"),
        (lambda: ensembles.Bagging(make(), 1, bootstrap=False).out_of_bag(x), ValueError, "every member saw all rows"),
        (lambda: ensembles.Ensemble([]), ValueError, "at least one member"),
        (lambda: ensembles.Ensemble([3]), TypeError, "members must be models"),
        (lambda: ensembles.Ensemble([one], weights=[-1]), ValueError, "weights must be 1 numbers >= 0"),
        (lambda: ensembles.Ensemble([one]).accuracy(x, y, "best"), ValueError, "how must be 'average' or 'vote'"),
        (lambda: ensembles.monte_carlo_predict(one, x), ValueError, "has no dropout"),
        (lambda: ensembles.monte_carlo_predict(denoising, x), ValueError, "has no dropout"),
        (lambda: ensembles.monte_carlo_predict(one, x, samples=0), ValueError, "samples must be at least 1"),
        (lambda: ensembles.Snapshots(0), ValueError, "every must be at least 1"),
        (lambda: ensembles.Snapshots(1).ensemble(one), ValueError, "there are no snapshots"),
        (lambda: ensembles.snapshot_ensemble(plain, x, y), ValueError, "must be built and compiled"),
        (lambda: ensembles.snapshot_ensemble(one, x, y, epochs=3), TypeError, r"cycles \* epochs_per_cycle"),
    ):
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(ValueError, match="outputs of one shape"):
        ensembles.Ensemble([one, plain]).predict(x)
