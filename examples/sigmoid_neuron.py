"""One sigmoid neuron learns: its loss surface, and how descent crosses it with a small, a good and a large rate.

    python examples/sigmoid_neuron.py [--quick]

y = sigmoid(w x + b) tells ones from zeros by the ink in their middle columns, by full-batch gradient descent on the
squared error. Left: the fits. Right: the surface of the error over w and b, with the paths.
"""

import numpy as np
from _common import arguments, panels, save, zeros_and_ones

import fastnn
from fastnn import layers


def main():
    given = arguments(__doc__, "sigmoid_neuron", data=None, steps=400)
    fastnn.config.set_floatx("float64")
    x, y = zeros_and_ones()
    x, y = x[:, 2], y.astype(np.float64)
    centred = x - x.mean()
    model = fastnn.Sequential([layers.Input((1,)), layers.Dense(1, activation="sigmoid")])
    figure, (left, right) = panels(1, 2, size=(3.6, 2.6))
    left.plot(x, y + np.random.default_rng(0).uniform(-0.02, 0.02, len(y)), "k.", ms=3, alpha=0.5)
    at = np.linspace(x.min() - 0.2, x.max() + 0.2, 200)

    w, b = np.meshgrid(np.linspace(-6, 14, 90), np.linspace(-6, 6, 80))
    output = 1 / (1 + np.exp(-(w[..., None] * centred + b[..., None])))
    surface = ((output - y) ** 2).mean(axis=-1)
    right.contourf(w, b, surface, levels=24, cmap="viridis")
    for rate, color in ((1.0, "orange"), (10.0, "red"), (60.0, "white")):
        model.compile(fastnn.optimizers.SGD(rate), "mse")
        model.set_weights([np.array([[-4.0]]), np.array([-4.0])])
        path = [(-4.0, -4.0)]
        for _ in range(given.steps):
            model.train_on_batch(centred[:, None], y)
            path.append(tuple(float(v.item()) for v in model.get_weights()))
        path = np.array(path)
        right.plot(*path.T, ".-", color=color, ms=2, lw=0.8, label=f"rate {rate:g}")
        left.plot(at, model.predict((at - x.mean())[:, None])[:, 0], color={"white": "gray"}.get(color, color),
                  label=f"rate {rate:g}: {((model.predict(centred[:, None])[:, 0] - y) ** 2).mean():.3f}")  # fmt: skip
    left.set(xlabel="ink in the middle columns", title=f"after {given.steps} steps, and the error")
    left.legend()
    right.set(xlim=(-6, 14), ylim=(-6, 6), xlabel="w", ylabel="b", title="mean squared error over w and b")
    right.legend(facecolor="lightgray")
    save(figure, given.output)


if __name__ == "__main__":
    main()
