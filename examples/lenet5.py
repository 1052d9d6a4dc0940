"""LeNet-5 (LeCun et al. 1998, with ReLU and max-pooling) on handwritten digits or clothing.

    python examples/lenet5.py --data mnist            # files in FASTNN_DATA, or downloaded
    python examples/lenet5.py --data fashion_mnist
    python examples/lenet5.py --quick                 # the built-in digits, enlarged: seconds, no files

Prints the test accuracy; draws the learning curve, the first layer's filters, the confusion matrix and some misread
images into lenet5.png (with matplotlib). MNIST: fgnt/mnist mirror of LeCun and Cortes; Fashion-MNIST: Xiao et al. 2017.
"""

import argparse

import numpy as np

import fastnn
from fastnn import layers


def images(name):
    """((x, y), (x_test, y_test)): float32 (n, 28, 28, 1) in 0..1 and class ids."""
    parts = getattr(fastnn.datasets, name).load_data()
    if name == "digits":  # 8x8 of 0..16, each pixel three by three, in a frame of two
        return [(np.pad(np.kron(x, np.ones((1, 3, 3))) / 16, ((0, 0), (2, 2), (2, 2)))[..., None].astype("float32"), y)
                for x, y in parts]  # fmt: skip
    return [((x / np.float32(255))[..., None].astype("float32"), y) for x, y in parts]


def lenet5():
    return fastnn.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(6, 5, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(16, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="relu"),
        layers.Dense(84, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip


def picture(model, history, x, y, path):
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("no picture: pip install 'fastnn-cpu[plot]'")
        return
    guess = model.predict(x).argmax(axis=1)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (y, guess), 1)
    figure, ((curve, matrix), (filters, wrong)) = plt.subplots(2, 2, figsize=(10, 9))
    for key in ("accuracy", "val_accuracy"):
        curve.plot(np.arange(1, len(history[key]) + 1), history[key], label=key)
    curve.set(title="accuracy by epoch", xlabel="epoch")
    curve.legend()
    matrix.imshow(np.log1p(confusion), cmap="Blues")
    matrix.set(title="confusion (log counts)", xlabel="answered", ylabel="is", xticks=range(10), yticks=range(10))
    kernel = model.layers[0].kernel.value[:, :, 0]
    filters.imshow(np.concatenate(np.pad(kernel, ((1, 1), (1, 1), (0, 0))).transpose(2, 0, 1), axis=1), cmap="gray")
    filters.set(title="the six filters of the first layer", xticks=[], yticks=[])
    misread = np.flatnonzero(guess != y)[:24]
    sheet = np.ones((4 * 28, 6 * 28))
    for j, i in enumerate(misread):
        row, column = divmod(j, 6)
        sheet[row * 28 : (row + 1) * 28, column * 28 : (column + 1) * 28] = x[i, :, :, 0]
    wrong.imshow(sheet, cmap="gray")
    wrong.set(title=f"misread: {len(np.flatnonzero(guess != y))} of {len(y)}", xticks=[], yticks=[])
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(f"picture: {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("mnist", "fashion_mnist", "digits"), default="mnist")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="the built-in digits, a few epochs")
    parser.add_argument("--output", default="lenet5.png")
    arguments = parser.parse_args()
    name = "digits" if arguments.quick else arguments.data

    fastnn.utils.set_random_seed(1)
    (x, y), (x_test, y_test) = images(name)
    model = lenet5()
    steps = -(-len(x) // 64) * arguments.epochs
    rate = fastnn.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(fastnn.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.summary()
    history = model.fit(x, y, batch_size=64, epochs=arguments.epochs, validation_data=(x_test, y_test), verbose=2)
    print(f"test accuracy: {100 * model.evaluate(x_test, y_test, verbose=0)[1]:.2f} %")
    picture(model, history.history, x_test, y_test, arguments.output)


if __name__ == "__main__":
    main()
