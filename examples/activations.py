"""Activations and their derivatives, as the compiled step computes them.

    python examples/activations.py [--quick]

The derivative is read off a training step: of a network that applies the activation to its input plus a bias that
belongs to each point, the bias' gradient is the derivative there.
"""

import numpy as np
from _common import arguments, panels, save

import fastnn
from fastnn import activations, layers, optimizers

NAMES = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "softsign", "celu",
         "hard_sigmoid", "hard_tanh", "hard_silu", "relu6")  # fmt: skip


class Shifted(layers.Layer):
    """activation(x + b)."""

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def build(self, input_shape):
        self.bias = self.add_weight((input_shape[-1],), "zeros", name="bias")

    def call(self, inputs):
        return self.activation(inputs + self.bias)


def derivative(name, x):
    model = fastnn.Sequential([layers.Input((len(x),)), Shifted(name)])
    loss = fastnn.losses.MeanSquaredError()  # (y - t)^2 / n with t = y - n / 2: its gradient in y is 1
    model.compile(optimizers.SGD(1.0), loss)
    row = x[None].astype(np.float32)
    model.train_on_batch(row, model.predict(row).astype(np.float32) - len(x) / 2)
    return -model.get_weights()[0]


def main():
    given = arguments(__doc__, "activations", data=None)
    x = np.linspace(-4, 4, 161)
    figure, grid = panels(2, 8, size=(1.15, 1.25))
    for axes, name in zip(grid.flat, NAMES, strict=True):
        axes.axhline(0, color="lightgray", lw=0.5)
        axes.axvline(0, color="lightgray", lw=0.5)
        axes.plot(x, activations.get(name)(x.astype(np.float32)), lw=1.2)
        axes.plot(x, derivative(name, x), lw=0.9, ls="--", color="crimson")
        axes.set(title=name, ylim=(-1.6, 2.2), xticks=[], yticks=[0, 1])
        axes.tick_params(labelsize=5)
    figure.supxlabel("activation (blue) and its derivative (dashed), x from -4 to 4", fontsize=7)
    save(figure, given.output)


if __name__ == "__main__":
    main()
