"""First-layer filters with and without unsupervised pre-training, and what pre-training gives when labels are few.

    python examples/pretraining_filters.py [--quick] [--data mnist]

Top: the filters of 18 units of the first layer: from random weights after training on few labels, after pre-training as
a denoising autoencoder on all images, and after both. Bottom: training loss and test accuracy of a deep sigmoid network
with few labels, from random weights and pre-trained layer by layer.
"""

import numpy as np
from _common import arguments, classifier, images, panels, save, sheet

import fastnn
from fastnn import optimizers
from fastnn.pretraining import pretrain


def filters(model, side, count=18):
    kernel = model.layers[0].kernel.value
    strongest = np.argsort(-(kernel**2).sum(axis=0))[:count]
    return kernel.T[strongest].reshape(-1, side, side)


def main():
    given = arguments(__doc__, "pretraining_filters", labels=0)
    (x, y), test, side = images(given.data, 5000)
    labels = given.labels or (200 if given.quick else 400)
    units, depth, epochs = (64 if given.quick else 100), 4, 40
    make = lambda: classifier(x.shape[1], (units,) * depth, "sigmoid", optimizers.Adam(3e-3))  # noqa: E731
    few = x[:labels], y[:labels]
    fastnn.utils.set_random_seed(1)
    plain = make()
    without = plain.fit(*few, epochs=epochs, validation_data=test, verbose=0).history
    fastnn.utils.set_random_seed(1)
    model = make()
    pretrain(model, x, epochs=15, loss="binary_crossentropy", corruption="mask", amount=0.2,
             optimizer=lambda: optimizers.Adam(3e-3))  # fmt: skip
    learned = filters(model, side)
    with_it = model.fit(*few, epochs=epochs, validation_data=test, verbose=0).history

    figure, grid = panels(2, 3, size=(2.6, 1.8))
    sheet(grid[0, 0], filters(plain, side), 3, 6, f"trained on {labels} labels only")
    sheet(grid[0, 1], learned, 3, 6, f"pre-trained on {len(x)} images")
    sheet(grid[0, 2], filters(model, side), 3, 6, "pre-trained, then trained")
    for key, axes, title in (("loss", grid[1, 0], "training loss"), ("val_loss", grid[1, 1], "test loss"),
                             ("val_accuracy", grid[1, 2], "test accuracy")):  # fmt: skip
        axes.plot(without[key], label="random weights")
        axes.plot(with_it[key], label="pre-trained")
        axes.set(xlabel="epoch", title=title)
    grid[1, 2].legend()
    save(figure, given.output, colors=40)


if __name__ == "__main__":
    main()
