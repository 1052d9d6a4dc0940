"""The learning-rate range test, and whether its advice is good.

    python examples/learning_rate_range.py [--quick] [--data mnist]

Left: the loss while the rate rises at every step; the suggestion is marked. Right: the training loss after a few epochs
with each of many fixed rates.
"""

import numpy as np
from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import optimizers


def main():
    given = arguments(__doc__, "learning_rate_range")
    (x, y), _, _ = images(given.data, 6000)
    makers = {"SGD": (optimizers.SGD, 1e-4, 30.0), "Adam": (optimizers.Adam, 1e-6, 3.0)}
    figure, (left, right) = panels(1, 2, size=(3.6, 2.5))
    for (name, (make, low, high)), color in zip(makers.items(), ("tab:blue", "tab:orange"), strict=True):
        fastnn.utils.set_random_seed(1)
        model = classifier(x.shape[1], (64,), optimizer=make())
        found = model.find_learning_rate(x, y, lowest=low, highest=high, steps=120)
        left.semilogx(found.rates, found.smooth, color=color, label=f"{name}: {found.suggestion:.2g}")
        left.axvline(found.suggestion, color=color, ls=":")
        rates, ends = np.geomspace(low * 10, high, 10 if given.quick else 20), []
        for rate in rates:
            fastnn.utils.set_random_seed(1)
            model = classifier(x.shape[1], (64,), optimizer=make(float(rate)))
            ends.append(model.fit(x, y, epochs=2, verbose=0).history["loss"][-1])
        right.loglog(rates, ends, ".-", color=color, label=name)
        right.axvline(found.suggestion, color=color, ls=":")
    left.set(xlabel="learning rate", title="range test: running mean of the loss", ylim=(0, 4))
    left.legend(title="suggested")
    right.set(xlabel="learning rate", title="training loss after 2 epochs", ylim=(None, 10))
    right.legend()
    save(figure, given.output)


if __name__ == "__main__":
    main()
