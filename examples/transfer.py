"""Transfer by freezing: a network that can read digits learns from few samples which of them have a closed loop.

    python examples/transfer.py [--quick] [--data mnist]

Test accuracy (loop: 0, 6, 8, 9) by the number of samples of each of the two classes: from random weights, with the
hidden layers of the first network frozen, with them trained on at a tenth of the rate, and trained on like the rest.
"""

import numpy as np
from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import optimizers
from fastnn.pretraining import copy_weights, freeze

UNITS = (128, 64)


def main():
    given = arguments(__doc__, "transfer")
    (x, y), (x_test, y_test), _ = images(given.data, 20000)
    fastnn.utils.set_random_seed(1)
    source = classifier(x.shape[1], UNITS, optimizer=optimizers.Adam(2e-3))
    source.fit(x, y, epochs=15 if given.quick else 5, verbose=0)
    y, y_test = (np.isin(a, (0, 6, 8, 9)).astype(np.int64) for a in (y, y_test))
    counts = (2, 5, 10, 20, 50, 100)

    def reached(kind, count):
        scores = []
        for seed in range(2 if given.quick else 5):
            fastnn.utils.set_random_seed(seed)
            model = classifier(x.shape[1], UNITS, optimizer=optimizers.Adam(2e-3), classes=2)
            if kind != "random weights":
                copied = copy_weights(source, model, 2)
                if kind == "frozen":
                    freeze(model, copied)
                elif kind == "a tenth of the rate":
                    for layer in copied:
                        layer.learning_rate_factor = 0.1
            rng = np.random.default_rng(seed)
            rows = np.concatenate([rng.choice(np.flatnonzero(y == c), count, replace=False) for c in range(2)])
            model.fit(x[rows], y[rows], epochs=max(20, 400 // count), batch_size=16, verbose=0)
            scores.append(100 * model.evaluate(x_test, y_test, verbose=0)[1])
        return np.mean(scores)

    figure, axes = panels(1, 1, size=(4.2, 2.7))
    for kind in ("random weights", "frozen", "a tenth of the rate", "trained on"):
        axes.semilogx(counts, [reached(kind, count) for count in counts], "o-", ms=3, label=kind)
    axes.set_xticks(counts, counts)
    axes.set(xlabel="samples a class", title=f"a loop or none: test accuracy, %, {given.data}")
    axes.legend()
    save(figure, given.output)


if __name__ == "__main__":
    main()
