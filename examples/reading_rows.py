"""Recurrent nets read images row by row: what each kind learns, and how far back its gradient reaches.

    python examples/reading_rows.py [--quick] [--data mnist]

Left: accuracy on the test images by epoch. Right: the size of the loss' gradient at each row of an image, before
training (dashed) and after it. The answer is given after the last row: where the line falls to the left, little is
learned from the first ones.
"""

import numpy as np
from _common import arguments, images, panels, save

import fastnn
from fastnn import layers, optimizers


class Shift(layers.Layer):
    """x + w, w (rows, columns) of zeros: the gradient of w is that of the input."""

    def build(self, input_shape):
        self.w = self.add_weight(input_shape[1:], initializer="zeros", name="w")

    def call(self, inputs):
        return inputs + self.w


def network(kind, side, units):
    fastnn.utils.set_random_seed(1)
    return fastnn.Sequential([
        layers.Input((side, side)), Shift(), getattr(layers, kind)(units), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip


def reach(model, x, y):
    """Root mean square gradient at each row, over single images."""
    shift, total = next(layer for layer in model.layers if isinstance(layer, Shift)), 0.0
    for layer in model.layers:
        layer.trainable = layer is shift
    model.compile(optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    for j in range(len(x)):
        shift.w.assign(np.zeros(shift.w.shape))
        model.train_on_batch(x[j : j + 1], y[j : j + 1])
        total = total + (shift.w.value**2).mean(axis=1)
    return np.sqrt(total / len(x))


def main():
    given = arguments(__doc__, "reading_rows")
    (x, y), (x_test, y_test), side = images(given.data, 10000)
    x, x_test = (a.reshape(-1, side, side) for a in (x, x_test))
    epochs, units = (12, 24) if given.quick else (8, 48)
    figure, (left, right) = panels(1, 2, size=(3.2, 2.5))
    for kind in ("SimpleRNN", "GRU", "LSTM"):
        (line,) = right.semilogy(range(1, side + 1), reach(network(kind, side, units), x[:100], y[:100]), "--")
        model = network(kind, side, units)
        next(layer for layer in model.layers if isinstance(layer, Shift)).trainable = False
        model.compile(optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(x, y, batch_size=64, epochs=epochs, verbose=0, validation_data=(x_test, y_test))
        left.plot(range(1, epochs + 1), 100 * np.array(history.history["val_accuracy"]), ".-", label=kind)
        right.plot(range(1, side + 1), reach(model, x[:100], y[:100]), color=line.get_color(), label=kind)
    left.set(title=f"test accuracy in %, {given.data}", xlabel="epoch")
    right.set(title="root mean square gradient at each row", xlabel="row")
    left.legend()
    right.legend()
    save(figure, given.output)


if __name__ == "__main__":
    main()
