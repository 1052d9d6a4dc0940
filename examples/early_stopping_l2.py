"""Early stopping does what L2 does: both leave the directions of little curvature near zero.

    python examples/early_stopping_l2.py [--quick]

Left: on a quadratic, the path of gradient descent from 0 and that of the minima as L2 grows weaker. Middle: each axis
of the curvature by itself. Right: the same on a network with some wrong labels: the norm of its weights and its test
loss, by epochs of training and by the strength of L2.
"""

import numpy as np
from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import callbacks, optimizers, regularizers
from fastnn.principles import early_stopping_and_l2


def norm(model):
    return float(np.sqrt(sum((v.value**2).sum() for v in model.weights if v.name == "kernel")))


def main():
    given = arguments(__doc__, "early_stopping_l2")
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    h, goal = turn @ np.diag([1.0, 0.06]) @ turn.T, np.array([1.4, 1.6])
    found = early_stopping_and_l2(h, goal, 0.2, 400, np.geomspace(1e-3, 30, 200))
    figure, (left, middle, right) = panels(1, 3)
    w = np.stack(np.meshgrid(np.linspace(-0.5, 3, 100), np.linspace(-0.5, 3, 100)), axis=-1) - goal
    side = np.linspace(-0.5, 3, 100)
    left.contour(side, side, np.einsum("...i,ij,...j", w, h, w), levels=10, colors="lightgray", linewidths=0.6)
    left.plot(*found.descent.T, label="gradient descent")
    left.plot(*found.ridge.T, "--", label="L2, weaker and weaker")
    left.plot(*goal, "r*")
    left.set(title="a quadratic", xticks=[], yticks=[])
    left.legend(loc="upper left")
    curvature = np.geomspace(1e-3, 10, 200)
    for t, color in ((5, "tab:blue"), (50, "tab:orange"), (500, "tab:green")):
        middle.semilogx(curvature, 1 - (1 - 0.1 * curvature) ** t, color=color, label=f"{t} steps")
        middle.semilogx(curvature, curvature / (curvature + 1 / (0.1 * t)), "--", color=color)
    middle.set(xlabel="curvature of the axis", title="part of the way to the minimum\n(dashed: L2 of 1 / (rate steps))")
    middle.legend()

    (x, y), test, _ = images(given.data, 300)
    y = fastnn.utils.noisy_labels(y, 0.2, 10, seed=1)
    norms, epochs = [], 60 if given.quick else 120
    fastnn.utils.set_random_seed(1)
    model = classifier(x.shape[1], (64,), activation="tanh", optimizer=optimizers.Adam(2e-3))
    watch = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: norms.append(norm(model)))
    losses = model.fit(x, y, epochs=epochs, verbose=0, validation_data=test, callbacks=[watch]).history["val_loss"]
    right.plot(norms, losses, ".-", ms=3, label="by epoch")
    points = []
    for strength in np.geomspace(3e-4, 3e-2, 7):
        fastnn.utils.set_random_seed(1)
        model = classifier(x.shape[1], (64,), activation="tanh", optimizer=optimizers.Adam(2e-3),
                           kernel_regularizer=regularizers.L2(strength))  # fmt: skip
        model.fit(x, y, epochs=epochs, verbose=0)
        guess = model.predict(test[0])
        points.append((norm(model), float(-np.log(guess[np.arange(len(guess)), test[1]] + 1e-9).mean())))
    right.plot(*np.array(points).T, "s--", ms=3, label="by strength of L2")
    right.set(xlabel="norm of the kernels", title=f"test loss, {given.data}")
    right.legend()
    save(figure, given.output)


if __name__ == "__main__":
    main()
