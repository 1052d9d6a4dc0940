"""The sixteen Boolean functions of two inputs, each with the line of a perceptron, where there is one.

    python examples/boolean_functions.py [--quick]

Fourteen are linearly separable; XOR and its negation are not, and a hidden layer of two units does them.
"""

import numpy as np
from _common import arguments, panels, save

import fastnn
from fastnn import layers
from fastnn.principles import boolean_functions, separable_functions
from fastnn.principles.boolean import inputs


def hidden_layer(table):
    """A 2-2-1 network trained on the four rows of a truth table."""
    x, y = inputs(2).astype(np.float32), np.asarray(table, np.float32)
    for seed in range(20):  # two hidden units can get stuck: try again
        fastnn.utils.set_random_seed(seed)
        model = fastnn.Sequential([
            layers.Input((2,)), layers.Dense(2, activation="tanh"), layers.Dense(1, activation="sigmoid"),
        ])  # fmt: skip
        model.compile(fastnn.optimizers.LBFGS(), "binary_crossentropy")
        model.fit(x, y, epochs=100, verbose=0)
        if np.array_equal(model.predict(x)[:, 0] > 0.5, y > 0.5):
            return model
    raise RuntimeError("no start led to a solution")


def main():
    given = arguments(__doc__, "boolean_functions", data=None)
    found, x = separable_functions(2), inputs(2)
    figure, grid = panels(2, 8, size=(1.0, 1.15))
    a = np.linspace(-0.5, 1.5, 81)
    points = np.stack(np.meshgrid(a, a), axis=-1).reshape(-1, 2)
    for axes, table in zip(grid.flat, map(tuple, boolean_functions(2).tolist()), strict=True):
        if table in found:
            weights, threshold = found[table]
            value = (points @ np.array(weights) >= threshold).astype(float)
            axes.set_title(f"{weights[0]:+d}a {weights[1]:+d}b ≥ {threshold:g}", fontsize=5.5)
        else:
            value = hidden_layer(table).predict(points.astype(np.float32))[:, 0]
            axes.set_title("two hidden units", fontsize=5.5, color="crimson")
        axes.contourf(a, a, value.reshape(81, 81), levels=[-0.5, 0.25, 0.5, 0.75, 1.5], cmap="Blues", alpha=0.6)
        for (p, q), v in zip(x, table, strict=True):
            axes.plot(p, q, "o", color="navy" if v else "white", mec="navy", ms=5)
        axes.set(xticks=[], yticks=[], aspect="equal")
    save(figure, given.output)


if __name__ == "__main__":
    main()
