"""First principles: convergence theorem, counts of Boolean functions, Taylor polynomials, towers, decompositions."""

import itertools

import numpy as np
import pytest

import fastnn
from fastnn import optimizers, principles
from fastnn.layers import Dense, Input
from fastnn.principles import Perceptron
from fastnn.principles.boolean import inputs


def test_perceptron_converges_within_the_bound(rng):
    for _ in range(10):
        x = rng.normal(size=(80, 3))
        w = rng.normal(size=4)
        w /= np.linalg.norm(w)
        signed = x @ w[:3] + w[3]
        x, signed = x[np.abs(signed) > 0.1], signed[np.abs(signed) > 0.1]
        found = Perceptron().fit(x, signed > 0)
        radius, margin = np.sqrt((x**2).sum(axis=1).max() + 1), np.abs(signed).min()
        assert found.converged and found.errors[-1] == 0
        assert found.mistakes <= (radius / margin) ** 2 and len(found.path) == found.mistakes + 1
        assert np.array_equal(found.predict(x), signed > 0)


def test_perceptron_is_the_plain_loop(rng):
    """The same updates, in the same order, as going through the samples one by one."""
    x, y = rng.normal(size=(40, 2)), rng.integers(0, 2, 40)
    w, path = np.zeros(3), [np.zeros(3)]
    for _ in range(5):
        for xi, yi in zip(np.c_[x, np.ones(40)], y, strict=True):
            guess = int(xi @ w >= 0)
            if guess != yi:
                w = w + (yi - guess) * xi
                path.append(w)
    np.testing.assert_allclose(Perceptron().fit(x, y, passes=5).path, path, atol=1e-12)


def test_perceptron_fails_on_xor():
    x = inputs(2)
    for table in itertools.product((0, 1), repeat=4):
        found = Perceptron().fit(x, table, passes=200)
        assert found.converged == principles.is_separable(table)
    assert not Perceptron().fit(x, [0, 1, 1, 0]).converged


def test_separable_boolean_functions():
    """The known counts; every table found is what its weights give; for three inputs the rest defeats the rule."""
    assert [principles.count_separable(n) for n in (1, 2, 3, 4)] == [(4, 4), (16, 14), (256, 104), (65536, 1882)]
    for n in (2, 3):
        found, x = principles.separable_functions(n), inputs(n)
        for table, (weights, threshold) in found.items():
            assert tuple((x @ np.array(weights) >= threshold).astype(int)) == table
        for table in map(tuple, principles.boolean_functions(n).tolist()):
            assert Perceptron().fit(x, table, passes=60).converged == (table in found)
    assert principles.boolean_functions(4).shape == (65536, 16)


def net(float_type=None):
    model = fastnn.Sequential([Input((3,)), Dense(5, activation="tanh"), Dense(1)])
    model.compile(optimizers.Adam(0.01), "mse")
    return model


def test_taylor_views(float64, rng):
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))
    model = net()
    model.fit(x, y, epochs=1, verbose=0)
    before = model.get_weights()
    t = np.array([0.0, 1e-3, -1e-3, 1e-2])
    found = principles.taylor_views(model, x, y, t)
    assert found.loss[0] == found.first[0] == found.second[0] == found.value
    assert found.value == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-12) and found.slope < 0
    one = np.abs(found.loss - found.first)[1:]
    two = np.abs(found.loss - found.second)[1:]
    assert np.all(two < 0.1 * one)
    assert two[2] / two[0] == pytest.approx(1000, rel=0.3)  # what is left is of third order
    numeric = (found.loss[1] + found.loss[2] - 2 * found.loss[0]) / 1e-6
    assert found.curvature == pytest.approx(numeric, rel=1e-4)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_taylor_of_a_quadratic_is_exact(float64, rng):
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    model = fastnn.Sequential([Input((3,)), Dense(1)])
    model.compile(optimizers.SGD(0.1, momentum=0.9), "mse")
    direction = [rng.normal(size=(3, 1)), rng.normal(size=1)]
    found = principles.taylor_views(model, x, y, np.linspace(-2, 2, 9), direction)
    np.testing.assert_allclose(found.second, found.loss, rtol=1e-8)
    kernel, bias = model.get_weights()
    model.set_weights([kernel + found.best_rate * direction[0], bias + found.best_rate * direction[1]])
    again = principles.taylor_views(model, x, y, [0.0], direction)
    assert abs(again.slope) < 1e-8 * abs(found.slope)
    for arguments, message in (
        (([np.nan],), "rates must be finite"),
        (([0.1], [np.zeros((3, 1)), np.zeros(1)]), "direction is zero"),
        (([0.1], [np.zeros(2)]), "direction must have shapes"),
    ):
        with pytest.raises(ValueError, match=message):
            principles.taylor_views(model, x, y, *arguments)


def test_towers_in_one_dimension():
    f = lambda x: 0.2 + 0.4 * x**2 + 0.3 * x * np.sin(15 * x) + 0.05 * np.cos(50 * x)  # noqa: E731
    x = np.linspace(0, 1, 1001)[:, None]
    errors = []
    for towers in (10, 40, 160):
        model = principles.tower_network_1d(f, towers)
        errors.append(np.abs(model.predict(x) - f(x)).mean())
    assert errors[0] > 2.5 * errors[1] > 6 * errors[2] and errors[2] < 0.005
    at = (np.arange(10) + 0.5)[:, None] / 10
    np.testing.assert_allclose(principles.tower_network_1d(f, 10).predict(at), f(at), atol=1e-4)
    assert abs(principles.tower_network_1d(f, 10).predict(np.zeros((1, 1)))[0, 0] - f(0.05)) < 1e-4


def test_towers_in_two_dimensions():
    f = lambda x, y: np.sin(3 * x) * np.cos(4 * y)  # noqa: E731
    middle = (np.arange(6) + 0.5) / 6 * 2 - 1
    x, y = (g.reshape(-1) for g in np.meshgrid(middle, middle))
    model = principles.tower_network_2d(f, 6, interval=(-1, 1))
    np.testing.assert_allclose(model.predict(np.c_[x, y])[:, 0], f(x, y), atol=1e-4)
    grid = np.random.default_rng(0).uniform(-1, 1, (2000, 2))
    errors = [np.abs(principles.tower_network_2d(f, n, interval=(-1, 1)).predict(grid)[:, 0] - f(*grid.T)).mean()
              for n in (4, 16)]  # fmt: skip
    assert errors[1] < 0.35 * errors[0]


def test_bias_and_variance_of_polynomials():
    points = np.linspace(0, 1, 50)
    truth = np.sin(2 * np.pi * points)

    def sample(rng):
        x = rng.uniform(0, 1, 25)
        return x, np.sin(2 * np.pi * x) + 0.2 * rng.normal(size=25)

    def polynomial(degree):
        def fit(x, y, points, seed):
            p = np.polynomial.Polynomial.fit(x, y, degree, domain=(0, 1))
            return p(points), p(x)

        return fit

    found = [principles.bias_variance(polynomial(d), sample, points, truth, repeats=60) for d in (1, 3, 11)]
    for one in found:
        assert one.error == pytest.approx(one.bias2 + one.variance, rel=1e-10)
    assert found[0].bias2 > 10 * found[1].bias2 and found[2].variance > 5 * found[1].variance
    assert found[1].error < min(found[0].error, found[2].error)  # the U
    assert found[0].training_error > found[1].training_error > found[2].training_error
    with pytest.raises(ValueError, match="repeats must be an integer >= 2"):
        principles.bias_variance(polynomial(1), sample, points, truth, repeats=1)
    with pytest.raises(ValueError, match="fit gave 50 predictions, truth has 3"):
        principles.bias_variance(polynomial(1), sample, points, truth[:3])


def test_early_stopping_is_like_l2(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    h, w = q @ np.diag([3.0, 0.5, 0.02]) @ q.T, np.array([1.0, -2.0, 0.5])
    found = principles.early_stopping_and_l2(h, w, 0.05, 400)
    point = np.zeros(3)
    for t in range(401):
        np.testing.assert_allclose(found.descent[t], point, atol=1e-10)
        point = point - 0.05 * h @ (point - w)
    for a, r in zip(found.alphas[::50], found.ridge[::50], strict=True):
        np.testing.assert_allclose(r, np.linalg.solve(h + a * np.eye(3), h @ w), atol=1e-10)
    gaps = np.linalg.norm(found.descent[1:] - found.ridge, axis=1)  # alpha = 1 / (rate t) at step t
    assert gaps.max() < 0.4 * np.linalg.norm(w)
    best = np.linalg.norm(found.descent[1:] - found.ridge[found.nearest[1:]], axis=1)
    assert best.max() < 0.25 * np.linalg.norm(w) and np.all(np.diff(found.nearest) >= 0)


def test_what_is_refused():
    h = np.eye(2)
    for call, message in (
        (lambda: Perceptron().fit(np.zeros((3, 2)), [0, 1]), "a class a row"),
        (lambda: Perceptron().fit(np.zeros((2, 2)), [0, 2]), "y must be 0 or 1"),
        (lambda: Perceptron().fit(np.zeros((2, 2)), [0, 1], passes=0), "passes must be an integer >= 1"),
        (lambda: principles.boolean_functions(5), "n must be an integer from 1 to 4"),
        (lambda: principles.is_separable([0, 1, 2, 0]), "entries of 0 and 1"),
        (lambda: principles.is_separable([0, 0.9]), r"entries of 0 and 1, got \(0.0, 0.9\)"),
        (lambda: principles.tower_network_1d(np.sin, 0), "towers must be an integer >= 1"),
        (lambda: principles.tower_network_1d(np.sin, 3, -1.0), "steepness must be"),
        (lambda: principles.tower_network_2d(np.hypot, 3, interval=(1, 0)), "low < high"),
        (lambda: principles.tower_network_1d(lambda x: 1.0, 3), "one finite number for each of 3 points"),
        (lambda: principles.early_stopping_and_l2(h, [1, 1], 3.0, 5), r"learning_rate must be in \(0, 2\)"),
        (lambda: principles.early_stopping_and_l2(-h, [1, 1], 0.1, 5), "no negative eigenvalue"),
        (lambda: principles.early_stopping_and_l2(h, [1, 1, 1], 0.1, 5), "must be symmetric"),
        (lambda: principles.early_stopping_and_l2(h, [1, 1], 0.1, 0), "steps must be an integer >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="sample must be a function, got NoneType"):
        principles.bias_variance(np.polyfit, None, h, h)
    with pytest.raises(TypeError, match=r"fit must give \(predictions at points, at x\), got 3"):
        principles.bias_variance(lambda *a: 3, lambda rng: (h, h), h, h)
    with pytest.raises(RuntimeError, match="fit it first"):
        Perceptron().predict(h)
