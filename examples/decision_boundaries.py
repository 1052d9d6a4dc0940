"""Decision boundaries: what more units and more layers can enclose.

    python examples/decision_boundaries.py [--quick]

Two spirals, and networks of growing width and depth trained on them in the same way; shaded is the probability of the
second class.
"""

import numpy as np
from _common import arguments, panels, save

import fastnn
from fastnn import layers


def spirals(n, noise=0.12, seed=0):
    rng = np.random.default_rng(seed)
    t = np.sqrt(rng.uniform(0.05, 1, n)) * 2.6 * np.pi
    c = rng.integers(0, 2, n)
    x = np.c_[np.cos(t + np.pi * c), np.sin(t + np.pi * c)] * t[:, None] / 4 + rng.normal(0, noise, (n, 2))
    return x.astype(np.float32), c


def main():
    given = arguments(__doc__, "decision_boundaries", data=None)
    x, y = spirals(600)
    nets = [("no hidden layer", ()), ("4", (4,)), ("32", (32,)), ("4, 4, 4", (4, 4, 4)), ("16, 16", (16, 16)),
            ("32, 32, 32", (32, 32, 32))]  # fmt: skip
    side = np.linspace(-2.6, 2.6, 110, dtype=np.float32)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    figure, grid = panels(2, 3, size=(2.0, 2.0))
    for axes, (name, units) in zip(grid.flat, nets, strict=True):
        fastnn.utils.set_random_seed(4)
        hidden = [layers.Dense(n, activation="tanh") for n in units]
        model = fastnn.Sequential([layers.Input((2,)), *hidden, layers.Dense(1, activation="sigmoid")])
        model.compile(fastnn.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
        model.fit(x, y.astype(np.float32), epochs=120 if given.quick else 500, verbose=0)
        accuracy = model.evaluate(*spirals(2000, seed=1), verbose=0)[1]
        shade = model.predict(points, batch_size=2048).reshape(110, 110)
        axes.contourf(side, side, shade, levels=np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.8)
        axes.scatter(*x[:250].T, c=np.where(y[:250], "darkred", "navy"), s=2)
        axes.set(xticks=[], yticks=[], title=f"{name}: {100 * accuracy:.0f} %")
    save(figure, given.output)


if __name__ == "__main__":
    main()
