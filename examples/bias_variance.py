"""Bias and variance measured: models of growing size, each fitted to many samples of the same world.

    python examples/bias_variance.py [--quick]

Left: fits of a small, a middling and a large model (a linear unit on Legendre polynomials), one line a sample, their
mean dashed. Right: the U of the error against the truth, its two parts, and the training error, which only falls.
"""

import numpy as np
from _common import arguments, panels, save

import fastnn
from fastnn import layers, optimizers
from fastnn.principles import bias_variance


def truth(x):
    return np.sin(1.6 * np.pi * x)


def sample(rng):
    x = rng.uniform(-1, 1, 30)
    return x, truth(x) + 0.3 * rng.normal(size=30)


def model_of(degree):
    def features(x):
        return np.polynomial.legendre.legvander(x, degree)[:, 1:]

    def fit(x, y, points, seed):
        fastnn.utils.set_random_seed(seed)
        model = fastnn.Sequential([layers.Input((degree,)), layers.Dense(1, kernel_initializer="zeros")])
        model.compile(optimizers.LBFGS(tolerance=1e-6), "mse")
        model.fit(features(x), y, epochs=200, verbose=0)
        return model.predict(features(points)), model.predict(features(x))

    return fit


def main():
    given = arguments(__doc__, "bias_variance", data=None, repeats=0)
    fastnn.config.set_floatx("float64")
    repeats = given.repeats or (15 if given.quick else 60)
    points = np.linspace(-0.85, 0.85, 80)
    sizes = (1, 2, 3, 4, 5, 7, 9, 12)
    found = {n: bias_variance(model_of(n), sample, points, truth(points), repeats) for n in sizes}
    figure, grid = panels(1, 4, size=(2.1, 2.2), width_ratios=(1, 1, 1, 1.5))
    for axes, n in zip(grid, (1, 5, 12), strict=False):
        axes.plot(points, found[n].fits.T, color="steelblue", lw=0.4, alpha=0.6)
        axes.plot(points, truth(points), "k", lw=1)
        axes.plot(points, found[n].fits.mean(axis=0), "r--", lw=1)
        axes.set(title=f"degree {n}", ylim=(-2.2, 2.2), xticks=[], yticks=[])
    curves = {"error": "k-", "bias2": "r--", "variance": "b--", "training_error": "g:"}
    for name, style in curves.items():
        grid[3].semilogy(sizes, [getattr(found[n], name) for n in sizes], style, label=name.replace("_", " "))
    grid[3].set(xticks=sizes, xlabel="degree", title=f"means over {repeats} samples", ylim=(5e-3, 3))
    grid[3].legend()
    save(figure, given.output)


if __name__ == "__main__":
    main()
