"""Taylor's views of a loss: the line that gradient descent trusts, the parabola that Newton's method trusts, the loss.

    python examples/taylor.py [--quick]

Along the negative gradient of a small network on the digits, at three moments of its training.
"""

import numpy as np
from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import optimizers
from fastnn.principles import taylor_views


def main():
    given = arguments(__doc__, "taylor", data=None)
    fastnn.config.set_floatx("float64")
    (x, y), _, _ = images("digits", 500)
    x = x.astype(np.float64)
    model = classifier(x.shape[1], (16,), activation="tanh", optimizer=optimizers.SGD(0.5))
    figure, grid = panels(1, 3)
    done = 0
    for axes, updates in zip(grid, (0, 20, 200), strict=True):
        model.fit(x, y, batch_size=len(x), epochs=updates, initial_epoch=done, verbose=0)
        done = updates
        best = taylor_views(model, x, y, [0.0]).best_rate or 1.0
        found = taylor_views(model, x, y, np.linspace(0, 3 * best, 60))
        axes.plot(found.t, found.loss, "k", label="loss")
        axes.plot(found.t, found.first, label="first order")
        axes.plot(found.t, found.second, label="second order")
        axes.axvline(best, color="gray", ls=":", lw=0.8)
        low, high = found.loss.min(), found.loss.max()
        axes.set(ylim=(low - 0.5 * (high - low) - 1e-3, high + 0.3 * (high - low)))
        axes.set(xlabel="learning rate", title=f"after {updates} updates: best for the parabola {best:.3g}")
    grid[0].legend()
    save(figure, given.output)


if __name__ == "__main__":
    main()
