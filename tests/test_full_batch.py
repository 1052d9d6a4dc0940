"""Line searches and L-BFGS: conditions they promise, functions with known minima, models, resuming."""

import numpy as np
import pytest

import fastnn
from fastnn import callbacks, constraints, layers, optimizers, regularizers
from fastnn.optimizers import line_search as searches
from fastnn.utils.seeding import set_random_seed


def rosenbrock(p):
    a, b = p.astype(np.float64)
    return (1 - a) ** 2 + 100 * (b - a * a) ** 2, np.array([2 * (a - 1) - 400 * a * (b - a * a), 200 * (b - a * a)])


def along(t):
    """A function of one variable with several minima."""
    return float(0.1 * t * t - t + np.sin(3 * t)), float(0.2 * t - 1 + 3 * np.cos(3 * t))


def falling(t):
    return float(np.exp(-t) + 0.01 * t * t - t), float(-np.exp(-t) + 0.02 * t - 1)


@pytest.mark.parametrize("rate", [1e-3, 0.1, 1.0, 7.0, 300.0])
@pytest.mark.parametrize("f", [falling, lambda t: ((t - 1) ** 2, 2 * (t - 1)), lambda t: along(t + 3.2)])
def test_strong_wolfe_conditions(f, rate):
    loss, slope = f(0.0)
    assert slope < 0
    t = searches.strong_wolfe(f, loss, slope, rate, most=40)
    value, there = f(t)
    assert value <= loss + 1e-4 * t * slope and abs(there) <= -0.9 * slope


def test_backtracking_halves():
    tried = []

    def f(t):
        tried.append(t)
        return (t - 1) ** 2, 2 * (t - 1)

    assert searches.backtracking(f, 1.0, -2.0, 8.0) == 1.0
    assert tried == [8.0, 4.0, 2.0, 1.0]
    assert searches.backtracking(lambda t: (2.0, 0.0), 1.0, -1.0, 1.0) is None


def test_grid_takes_the_lowest_and_never_a_nan():
    losses = {0.1: 3.0, 1.0: 1.0, 2.0: 2.0, 5.0: np.nan}
    assert searches.grid(lambda t: (losses[t], 0.0), 4.0, -1.0, losses) == 1.0
    assert searches.grid(lambda t: (losses[t], 0.0), 0.5, -1.0, losses) is None


def test_strong_wolfe_steps_back_from_infinity():
    def f(t):
        return (np.inf, np.nan) if t > 1 else (-t, -1.0 + t)

    t = searches.strong_wolfe(f, 0.0, -1.0, 64.0, most=40)
    assert 0 < t <= 1


def test_lbfgs_finds_rosenbrocks_minimum():
    path = optimizers.LBFGS().minimize(rosenbrock, np.array([-1.2, 1.0]))
    assert len(path) < 60 and np.allclose(path[-1], 1, atol=1e-6)
    scipy = pytest.importorskip("scipy.optimize")
    result = scipy.minimize(rosenbrock, [-1.2, 1.0], jac=True, method="L-BFGS-B", options={"gtol": 1e-7})
    assert len(path) <= 1.6 * result.nit


def test_lbfgs_solves_a_quadratic_in_few_updates(rng):
    """With exact curvature n + a few updates reach the minimum of n dimensions."""
    a = rng.normal(size=(8, 8))
    a = a @ a.T + np.eye(8)
    b = rng.normal(size=8)
    path = optimizers.LBFGS(tolerance=1e-8).minimize(lambda x: (x @ a @ x / 2 - b @ x, a @ x - b), np.zeros(8), 60)
    assert len(path) < 40
    np.testing.assert_allclose(path[-1], np.linalg.solve(a, b), rtol=1e-7)


@pytest.mark.parametrize("search", ["grid", "armijo", "strong_wolfe"])
def test_line_search_never_rises(search):
    f = lambda x: (float((x**2 * [1.0, 25.0]).sum()), 2 * x * [1.0, 25.0])  # noqa: E731
    path = optimizers.LineSearch(search).minimize(f, np.array([4.0, 1.0]), 40)
    losses = [f(p)[0] for p in path]
    assert np.all(np.diff(losses) < 0) and losses[-1] < 1e-2 * losses[0]


def data():
    (x, y), _ = fastnn.datasets.digits.load_data()
    return (x[:300].reshape(-1, 64) / 16).astype(np.float32), y[:300]


def net(optimizer, dropout=0.0, **dense):
    set_random_seed(1)
    model = fastnn.Sequential([
        layers.Input((64,)), layers.Dense(12, activation="tanh", **dense), layers.Dropout(dropout),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("make", [optimizers.LBFGS, *(lambda s=s: optimizers.LineSearch(s) for s in
                                                      ("grid", "armijo", "strong_wolfe"))])  # fmt: skip
def test_fit_lowers_the_loss_each_epoch(make):
    x, y = data()
    model = net(make())
    history = model.fit(x, y, epochs=12, verbose=0)
    losses = history.history["loss"]
    assert np.all(np.diff(losses) < 0) and model.optimizer.step_count == 12
    assert losses[-1] == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-5)  # it is that after the update


def test_lbfgs_beats_gradient_descent():
    x, y = data()
    history = net(optimizers.LBFGS()).fit(x, y, epochs=40, verbose=0)
    plain = net(optimizers.SGD(0.5)).fit(x, y, epochs=40, batch_size=300, verbose=0)
    assert history.history["loss"][-1] < 0.01 < plain.history["loss"][-1]


def test_batch_size_only_cuts_the_pass(float64):
    """(In float64: in float32 the last bits differ, and a search makes more of them.)"""
    x, y = data()
    runs = [net(optimizers.LBFGS(), kernel_regularizer=regularizers.L2(1e-3)).fit(x, y, batch_size=b, epochs=5,
            verbose=0).history["loss"] for b in (None, 100, 64)]  # fmt: skip
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-6)
    np.testing.assert_allclose(runs[2], runs[0], rtol=1e-6)


def test_same_bits_on_any_number_of_threads(threads):
    x, y = data()
    found = []
    for n in (1, 2, 3):
        threads(n)
        model = net(optimizers.LBFGS())
        model.fit(x, y, epochs=6, verbose=0)
        found.append(model.get_weights())
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert np.array_equal(a, b)


def test_resumes_with_the_same_bits(tmp_path):
    x, y = data()
    whole = net(optimizers.LBFGS(memory=3))
    whole.fit(x, y, epochs=9, verbose=0)
    half = net(optimizers.LBFGS(memory=3))
    half.fit(x, y, epochs=5, verbose=0)
    half.save(tmp_path / "half.safetensors")
    loaded = fastnn.models.load_model(tmp_path / "half.safetensors")
    assert isinstance(loaded.optimizer, optimizers.LBFGS) and loaded.optimizer.memory == 3
    loaded.fit(x, y, epochs=9, initial_epoch=5, verbose=0)
    for a, b in zip(whole.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_frozen_layers_stay_and_factors_count():
    x, y = data()
    model = net(optimizers.LBFGS())
    model.fit(x, y, epochs=2, verbose=0)
    model.layers[0].trainable = False
    before = model.get_weights()
    model.fit(x, y, epochs=3, verbose=0)
    after = model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before[:2], after[:2], strict=True))
    assert not np.array_equal(before[2], after[2])
    model = net(optimizers.LineSearch("armijo"), learning_rate_factor=0.0)
    before = model.get_weights()
    model.fit(x, y, epochs=2, verbose=0)
    assert np.array_equal(before[0], model.get_weights()[0])


def test_moving_statistics_are_kept(rng):
    set_random_seed(1)
    x = rng.normal(3.0, 2.0, (60, 4)).astype(np.float32)
    model = fastnn.Sequential([layers.Input((4,)), layers.BatchNormalization(momentum=0.5), layers.Dense(1)])
    model.compile(optimizers.LBFGS(), "mse")
    model.fit(x, x.sum(axis=1), epochs=8, verbose=0)
    np.testing.assert_allclose(model.layers[0].moving_mean.value, x.mean(axis=0), rtol=1e-2)


def test_dropout_keeps_its_mask_within_a_search():
    x, y = data()
    history = net(optimizers.LineSearch("armijo"), dropout=0.3).fit(x, y, epochs=20, verbose=0)
    assert history.history["loss"][-1] < 0.6 * history.history["loss"][0]


def test_the_end_of_the_search_ends_the_training():
    x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(-1, 1)
    model = fastnn.Sequential([layers.Input((1,)), layers.Dense(1)])
    model.compile(optimizers.LBFGS(tolerance=1e-4), "mse")
    history = model.fit(x, 3 * x + 1, epochs=200, verbose=0)
    assert len(history.epoch) < 20
    np.testing.assert_allclose([w.item() for w in model.get_weights()], [3, 1], atol=1e-3)


def test_train_on_batch_and_callbacks():
    x, y = data()
    model = net(optimizers.LineSearch("armijo"))
    first = model.train_on_batch(x[:64], y[:64])
    second = model.train_on_batch(x[:64], y[:64])
    assert second[0] < first[0] and model.optimizer.step_count == 2
    seen = []
    model.fit(x, y, epochs=2, verbose=0, callbacks=[
        callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    ])  # fmt: skip
    assert seen == [0, 0]


def test_what_is_refused():
    x, y = data()
    with pytest.raises(ValueError, match="cannot keep constraints on weights"):
        net(optimizers.LBFGS(), kernel_constraint=constraints.MaxNorm(1.0)).fit(x, y, verbose=0)
    model = fastnn.Sequential([layers.Input((64,)), layers.Dense(1)])
    model.compile(optimizers.LBFGS(), fastnn.losses.MeanSquaredError(reduction="sum"))
    with pytest.raises(ValueError, match="needs all samples at once"):
        model.fit(x, y.astype(np.float32), batch_size=10, verbose=0)
    with pytest.raises(TypeError, match="needs the loss at several points"):
        optimizers.LBFGS().apply([np.zeros(2)], [np.zeros(2)])
    for make, message in (
        (lambda: optimizers.LBFGS(line_search="best"), "line_search must be one of"),
        (lambda: optimizers.LineSearch(None), "for a fixed rate use SGD"),
        (lambda: optimizers.LineSearch(learning_rates=()), "at least one rate"),
        (lambda: optimizers.LineSearch(learning_rates=(0.1, -1.0)), "learning_rates must be finite and > 0"),
        (lambda: optimizers.LBFGS(memory=0), "memory must be an integer >= 1"),
        (lambda: optimizers.LBFGS(learning_rate=-1.0), "learning_rate must be finite and >= 0"),
        (lambda: optimizers.LBFGS(tolerance=-1.0), "tolerance must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_configuration_round_trip():
    for one in (optimizers.LBFGS(memory=4, line_search="armijo"), optimizers.LineSearch("grid", learning_rates=[1.0])):
        again = optimizers.deserialize(optimizers.serialize(one))
        assert again.get_config() == one.get_config() and type(again) is type(one)
    assert isinstance(optimizers.get("lbfgs"), optimizers.LBFGS)
