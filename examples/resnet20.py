"""ResNet-20 (He et al. 2015), or a small VGG-like network, on CIFAR-10.

    python examples/resnet20.py --augment --epochs 30        # files in FASTNN_DATA or --path, or downloaded
    python examples/resnet20.py --model cnn
    python examples/resnet20.py --quick                      # a smaller one on the built-in digits: seconds, no files

Prints the test accuracy; draws learning curves, the confusion matrix, the first layer's filters and misread images into
resnet20.png (with matplotlib). CIFAR-10: Krizhevsky 2009.
"""

import argparse

import numpy as np
from _common import load, picture_file
from _pictures import draw
from lenet5 import images as digits

import fastnn
from fastnn import layers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("resnet20", "cnn"), default="resnet20")
    parser.add_argument("--path", help="the folder (or file) of the data set")
    parser.add_argument("--augment", action="store_true", help="shift and mirror the training images, as in the paper")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="8 layers, the built-in digits, 5 epochs")
    parser.add_argument("--output", type=picture_file, default="resnet20.png")
    arguments = parser.parse_args()

    fastnn.utils.set_random_seed(arguments.seed)
    if arguments.quick:
        (x, y), (x_test, y_test), classes = digits("digits")
        arguments.epochs = min(arguments.epochs, 5)
    else:
        module = fastnn.datasets.cifar10
        parts, classes = load(module.load_data, arguments.path), module.CLASSES
        (x, y), (x_test, y_test) = ((x, y[:, 0]) for x, y in parts)
    size = x.shape[1:3]
    front = [layers.RandomCrop(*size, padding=4), layers.RandomFlip("horizontal")] if arguments.augment else []
    steps = -(-len(x) // arguments.batch_size) * arguments.epochs
    if arguments.model == "cnn":
        model = fastnn.applications.CifarCNN(x.shape[1:], dropout=0.4, augmentation=front)
        optimizer = fastnn.optimizers.Adam(fastnn.optimizers.schedules.CosineDecay(1e-3, steps))
    else:
        model = fastnn.applications.ResNetCifar(8 if arguments.quick else 20, x.shape[1:], augmentation=front)
        rate = fastnn.optimizers.schedules.CosineDecay(0.1, steps)
        optimizer = fastnn.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=1e-4)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_weights)
    print(f"{model.name}: {parameters} parameters; {len(x)} training and {len(x_test)} test images")
    history = model.fit(
        x, y, batch_size=arguments.batch_size, epochs=arguments.epochs, validation_data=(x_test, y_test), verbose=2
    )
    accuracy = 100 * model.evaluate(x_test, y_test, batch_size=256, verbose=0)[1]
    print(f"test accuracy: {accuracy:.2f} %")
    title = f"{model.name}: {accuracy:.2f} % of {len(y_test)} test images"
    draw(arguments.output, title, model, history.history, x_test, y_test, classes)


if __name__ == "__main__":
    main()
