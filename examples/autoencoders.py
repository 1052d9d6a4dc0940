"""Autoencoders: plain, denoising, with tied weights; what they give back, and a code of two numbers.

    python examples/autoencoders.py [--quick] [--data mnist]

Left: test images, spoiled ones, and what three autoencoders make of the spoiled ones. Right: the two-number codes of
the test images, coloured by class, which the network never saw.
"""

import numpy as np
from _common import arguments, images, panels, save, sheet

import fastnn
from fastnn import optimizers
from fastnn.pretraining import Autoencoder


def main():
    given = arguments(__doc__, "autoencoders")
    (x, _), (x_test, y_test), side = images(given.data, 5000)
    epochs, units = (60 if given.quick else 20), (32 if given.quick else 128)
    keep = np.random.default_rng(0).random((10, x.shape[1])) > 0.35
    shown = x_test[:10] * keep
    common = dict(activation="relu", output_activation="sigmoid", loss="binary_crossentropy")
    kinds = {
        "plain": dict(),
        "denoising": dict(corruption="mask", amount=0.35),
        "denoising, tied": dict(corruption="mask", amount=0.35, tied=True),
    }
    rows, errors = [x_test[:10], shown], []
    for options in kinds.values():
        fastnn.utils.set_random_seed(1)
        auto = Autoencoder(x.shape[1], [units], optimizer=optimizers.Adam(3e-3), **common, **options)
        auto.fit(x, epochs=epochs, batch_size=64, verbose=0)
        rows.append(auto.reconstruct(shown.astype(np.float32)))
        errors.append(((rows[-1] - x_test[:10]) ** 2).mean())
    fastnn.utils.set_random_seed(3)
    deep = Autoencoder(x.shape[1], [2 * units, units, 2], activation="elu", output_activation="sigmoid",
                       loss="binary_crossentropy", optimizer=optimizers.Adam(2e-3))  # fmt: skip
    deep.fit(x, epochs=epochs, batch_size=64, verbose=0)
    code = deep.encode(x_test)

    figure, (left, right) = panels(1, 2, size=(4.0, 2.8), width_ratios=(1.5, 1))
    sheet(left, np.concatenate(rows).reshape(-1, side, side), 5, 10, "what they make of spoiled images")
    made = (f"{name}\nerror {e:.3f}" for name, e in zip(kinds, errors, strict=True))
    names = ("image", "spoiled", *made)
    left.set_yticks((np.arange(5) + 0.5) * (side + 1) - 1, names, fontsize=6)
    right.scatter(*code[:1500].T, c=y_test[:1500], s=4, cmap="tab10")
    limits = np.percentile(code, (1, 97), axis=0)
    right.set(xticks=[], yticks=[], title=f"codes of two numbers, {given.data}", xlim=limits[:, 0], ylim=limits[:, 1])
    save(figure, given.output, colors=96)


if __name__ == "__main__":
    main()
