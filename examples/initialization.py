"""First weights: how large the activations and gradients of a deep network are, layer by layer, and what it learns.

    python examples/initialization.py [--quick] [--data mnist]

Ten hidden layers, tanh and ReLU. Left: standard deviation of each layer's output before training. Right: training loss.
Batch normalization makes the choice matter less.
"""

import numpy as np
from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import initializers, layers, optimizers

KINDS = {
    "normal 0.01": (initializers.RandomNormal(stddev=0.01), False),
    "normal 0.3": (initializers.RandomNormal(stddev=0.3), False),
    "Glorot": ("glorot_uniform", False),
    "He": ("he_normal", False),
    "normal 0.01, batch norm.": (initializers.RandomNormal(stddev=0.01), True),
}


def main():
    given = arguments(__doc__, "initialization")
    (x, y), _, _ = images(given.data, 4000)
    depth, width, epochs = 10, 64, 6 if given.quick else 12
    figure, grid = panels(2, 2, size=(3.5, 2.0))
    for (left, right), activation in zip(grid, ("tanh", "relu"), strict=True):
        for name, (kernel, normalized) in KINDS.items():
            fastnn.utils.set_random_seed(1)
            if normalized:
                hidden = [part for _ in range(depth) for part in
                          (layers.Dense(width, kernel_initializer=kernel), layers.BatchNormalization(),
                           layers.Activation(activation))]  # fmt: skip
                model = fastnn.Sequential([layers.Input((x.shape[1],)), *hidden, layers.Dense(10, "softmax")])
                model.compile(optimizers.SGD(0.05), "sparse_categorical_crossentropy")
            else:
                model = classifier(x.shape[1], (width,) * depth, activation, optimizers.SGD(0.05),
                                   kernel_initializer=kernel)  # fmt: skip
                values, spread = x[:500], []
                for layer in model.layers[:depth]:
                    values = np.asarray(layer(values))
                    spread.append(max(values.std(), 1e-12))
                left.semilogy(range(1, depth + 1), spread, ".-", label=name)
            loss = model.fit(x, y, epochs=epochs, verbose=0).history["loss"]
            right.plot(range(1, epochs + 1), np.minimum(np.nan_to_num(loss, nan=9), 9), label=name)
        left.set(title=f"{activation}: spread of the layers' outputs", ylim=(1e-10, 1e4))
        right.set(title=f"{activation}: training loss, {given.data}", ylim=(0, 3))
    grid[1, 0].set_xlabel("layer")
    grid[1, 1].set_xlabel("epoch")
    grid[0, 1].legend(fontsize=5.5)
    save(figure, given.output)


if __name__ == "__main__":
    main()
