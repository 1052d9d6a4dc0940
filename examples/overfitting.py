"""Overfitting, and each cure: a large network, few samples, some wrong labels.

    python examples/overfitting.py [--quick] [--data mnist]

Left: training and validation accuracy of the plain network and of three cures. Right: test accuracy with each cure.
"""

import numpy as np
from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import callbacks, constraints, layers, losses, optimizers, regularizers
from fastnn.ensembles import Bagging


def shifted(x, y, side):
    """The images, and each moved by a pixel to one of four sides: augmentation."""
    pictures = x.reshape(-1, side, side)
    moved = [np.roll(pictures, step, axis=axis) for axis in (1, 2) for step in (-1, 1)]
    return np.concatenate([pictures, *moved]).reshape(-1, side * side), np.tile(y, 5)


def main():
    given = arguments(__doc__, "overfitting", samples=300)
    (x, y), test, side = images(given.data, given.samples)
    held, (x_test, y_test) = (test[0][:150], test[1][:150]), (test[0][150:], test[1][150:])
    y = fastnn.utils.noisy_labels(y, 0.15, 10, seed=1)
    epochs, units = (60 if given.quick else 150), (256, 256)
    dropout = lambda: [layers.Dropout(0.5)]  # noqa: E731
    cures = {
        "none": {},
        "L1": {"kernel_regularizer": regularizers.L1(1e-3)},
        "L2": {"kernel_regularizer": regularizers.L2(1e-2)},
        "max-norm": {"kernel_constraint": constraints.MaxNorm(0.4)},
        "dropout": {"extra": dropout},
        "noise on hidden": {"extra": lambda: [layers.GaussianNoise(0.8)]},
        "early stopping": {"early": True},
        "label smoothing": {"smooth": 0.3},
        "augmentation": {"augment": True},
        "fewer units": {"units": (12,)},
        "bagging (5)": {"bag": 5},
    }
    figure, (left, right) = panels(1, 2, size=(4.0, 2.9))
    ends = {}
    for name, options in cures.items():
        options = {"units": units, **options}
        early, smooth = options.pop("early", False), options.pop("smooth", 0.0)
        augment, bag = options.pop("augment", False), options.pop("bag", 0)

        def make(options=options, smooth=smooth):
            model = classifier(x.shape[1], optimizer=optimizers.Adam(1e-3), **options)
            if smooth:
                model.compile(optimizers.Adam(1e-3), losses.CategoricalCrossentropy(label_smoothing=smooth),
                              metrics=["accuracy"])  # fmt: skip
            return model

        fastnn.utils.set_random_seed(1)
        if bag:
            ensemble = Bagging(make, members=bag, seed=1)
            ensemble.fit(x, y, epochs=epochs)
            ends[name] = 100 * ensemble.accuracy(x_test, y_test)
            continue
        model = make()
        xs, ys = shifted(x, y, side) if augment else (x, y)
        code = (lambda a: np.eye(10, dtype=np.float32)[a]) if smooth else (lambda a: a)
        stop = [callbacks.EarlyStopping(patience=15, restore_best_weights=True)] if early else None
        history = model.fit(xs, code(ys), epochs=epochs // 5 if augment else epochs, verbose=0, callbacks=stop,
                            validation_data=(held[0], code(held[1]))).history  # fmt: skip
        ends[name] = 100 * model.evaluate(x_test, code(y_test), verbose=0)[1]
        if name in ("none", "L2", "dropout", "early stopping"):
            line = left.plot(history["val_accuracy"], lw=1.2, label=name)
            left.plot(history["accuracy"], lw=0.8, ls=":", color=line[0].get_color())
    left.set(xlabel="epoch", ylim=(0.5, 1),
             title=f"accuracy: validation, and dotted training; {given.data}, {given.samples} samples")  # fmt: skip
    left.legend()
    names = sorted(ends, key=ends.get)
    right.barh(names, [ends[n] for n in names], color=["crimson" if n == "none" else "steelblue" for n in names])
    right.set(xlim=(min(ends.values()) - 3, max(ends.values()) + 1), title="test accuracy, %; 15 % of labels wrong")
    save(figure, given.output)


if __name__ == "__main__":
    main()
