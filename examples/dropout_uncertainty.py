"""Dropout left on in prediction: an ensemble for free that knows what it does not know.

    python examples/dropout_uncertainty.py [--quick] [--data mnist]

Left: a regression with a gap in its data; the band is the spread of Monte-Carlo samples. Right: answers about images,
after training on few: those that the samples agree on are more often right.
"""

import numpy as np
from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import layers, optimizers
from fastnn.ensembles import monte_carlo_predict


def main():
    given = arguments(__doc__, "dropout_uncertainty")
    rng = np.random.default_rng(0)
    x = np.r_[rng.uniform(-3, -0.7, 60), rng.uniform(1.0, 3, 60)].astype(np.float32)[:, None]
    y = (np.sin(2 * x) + 0.3 * x + 0.1 * rng.normal(size=x.shape)).astype(np.float32)
    model = fastnn.Sequential([
        layers.Input((1,)), layers.Dense(128, activation="relu"), layers.Dropout(0.1),
        layers.Dense(128, activation="relu"), layers.Dropout(0.1), layers.Dense(1),
    ])  # fmt: skip
    model.compile(optimizers.Adam(3e-3), "mse")
    model.fit(x, y, epochs=200 if given.quick else 800, verbose=0)
    at = np.linspace(-4.5, 4.5, 200, dtype=np.float32)[:, None]
    found = monte_carlo_predict(model, at, samples=100, batch_size=200, seed=1)
    figure, (left, right) = panels(1, 2, size=(3.6, 2.5))
    mean, std = found.mean[:, 0], found.std[:, 0]
    left.fill_between(at[:, 0], mean - 2 * std, mean + 2 * std, alpha=0.3, lw=0, label="two deviations")
    left.plot(at, mean, label="mean of 100 samples")
    left.plot(x, y, "k.", ms=2)
    left.set(title="a regression with a gap", ylim=(-4, 4))
    left.legend(loc="upper left")

    (x, y), (x_test, y_test), _ = images(given.data, 200)
    model = classifier(x.shape[1], (128, 64), extra=lambda: [layers.Dropout(0.3)])
    model.fit(x, y, epochs=60, verbose=0)
    found = monte_carlo_predict(model, x_test, samples=50, batch_size=500, seed=2)
    right_one = found.mean.argmax(axis=1) == y_test
    kept = np.linspace(0.1, 1, 19)
    ways = {"spread of the samples": found.std.max(axis=1), "mean probability": -found.mean.max(axis=1),
            "probability without dropout": -model.predict(x_test).max(axis=1)}  # fmt: skip
    for name, doubt in ways.items():
        order = np.argsort(doubt, kind="stable")
        right.plot(100 * kept, [100 * right_one[order[: int(k * len(order))]].mean() for k in kept], label=name)
    right.set(xlabel="answers kept, the least doubtful first, %", title=f"right among them, %, {given.data}")
    right.legend(title="doubt by", loc="lower left")
    save(figure, given.output)


if __name__ == "__main__":
    main()
