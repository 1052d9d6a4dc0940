"""LeNet-5 (LeCun et al. 1998) on handwritten digits or clothing.

    python examples/lenet5.py --data mnist                  # files in FASTNN_DATA or --path, or downloaded
    python examples/lenet5.py --data mnist --augment --epochs 20
    python examples/lenet5.py --data fashion_mnist
    python examples/lenet5.py --variant 1998                # as published; the default is ReLU and max-pooling
    python examples/lenet5.py --quick                       # the built-in digits, enlarged: seconds, no files

Prints the test accuracy; draws learning curves, the confusion matrix, the first layer's filters and misread images into
lenet5.png (with matplotlib). MNIST: fgnt/mnist mirror of LeCun and Cortes; Fashion-MNIST: Xiao et al. 2017.
"""

import argparse

import numpy as np
from _common import load, picture_file
from _pictures import draw

import fastnn
from fastnn import applications, layers


def images(name, path=None):
    """((x, y), (x_test, y_test), names of the classes): uint8 (n, 28, 28, 1) and class ids."""
    module = getattr(fastnn.datasets, name)
    if name == "digits":  # 8 x 8 of 0..16: each pixel three by three, in a frame of two
        parts = [(np.kron(x, np.ones((1, 3, 3))) * 15.9, y) for x, y in module.load_data()]
        parts = [(np.pad(x, ((0, 0), (2, 2), (2, 2))).astype(np.uint8), y) for x, y in parts]
    else:
        parts = load(module.load_data, path)
    return *((x[..., None], y) for x, y in parts), module.CLASSES


def augmentation(name):
    """Layers that change images a little while training."""
    if name == "fashion_mnist":
        return [layers.RandomFlip("horizontal"), layers.RandomCrop(28, 28, padding=1)]
    return [layers.RandomCrop(28, 28, padding=2), layers.RandomRotation(10 / 360, fill_mode="constant")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("mnist", "fashion_mnist", "digits"), default="mnist")
    parser.add_argument("--path", help="the folder of the data set's files")
    parser.add_argument("--variant", choices=("modern", "1998"), default="modern")
    parser.add_argument("--augment", action="store_true", help="shift and turn the training images")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rate", type=float, help="first learning rate (0.002; 0.001 for 1998)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="the built-in digits")
    parser.add_argument("--output", type=picture_file, default="lenet5.png")
    arguments = parser.parse_args()
    name = "digits" if arguments.quick else arguments.data

    fastnn.utils.set_random_seed(arguments.seed)
    (x, y), (x_test, y_test), classes = images(name, arguments.path)
    model = applications.LeNet5(variant=arguments.variant, augmentation=augmentation(name) if arguments.augment else ())
    steps = -(-len(x) // arguments.batch_size) * arguments.epochs
    rate = fastnn.optimizers.schedules.CosineDecay(
        arguments.rate or (0.002 if arguments.variant == "modern" else 0.001), steps
    )
    loss = (
        "sparse_categorical_crossentropy" if arguments.variant == "modern" else applications.SparseMAPCriterion()
    )  # equation 9
    model.compile(fastnn.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.summary()
    history = model.fit(
        x, y, batch_size=arguments.batch_size, epochs=arguments.epochs, validation_data=(x_test, y_test), verbose=2
    )
    accuracy = 100 * model.evaluate(x_test, y_test, batch_size=256, verbose=0)[1]
    print(f"test accuracy: {accuracy:.2f} %")
    title = f"LeNet-5 ({arguments.variant}) on {name}: {accuracy:.2f} % of {len(y_test)} test images"
    draw(arguments.output, title, model, history.history, x_test, y_test, classes)


if __name__ == "__main__":
    main()
