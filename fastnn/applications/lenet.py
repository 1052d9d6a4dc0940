"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", Proceedings of
the IEEE 86 (11), 1998): as published, and in its modern form."""

import math

import numpy as np

from fastnn import graph, initializers, layers, losses, models, ops
from fastnn.applications._start import start
from fastnn.layers.convolution import sizes
from fastnn.utils import checks

#: Table I: the maps of S2 that each of the 16 maps of C3 sees.
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip


def LeNet5(input_shape=(28, 28, 1), classes=10, variant="modern", output=None, scale=255.0, augmentation=(),
           name=None):  # fmt: skip
    """LeNet-5 for images of some 28 x 28 pixels.

    Args:
        input_shape: (height, width, channels).
        classes: number of classes.
        variant: "modern": 5 x 5 convolutions with 6 ("same") and 16 maps, ReLU, max-pooling, dense layers of 120 and
            84: 61,706 parameters. "1998": as published, with images put into a frame of two pixels, values of -0.1
            (background) to 1.175, 1.7159 tanh(2x/3) after each layer, trainable subsampling, and C3's partial
            connections: 60,000 trainable parameters with the RBF output.
        output: "softmax": probabilities, for (sparse) categorical crossentropy; or "rbf": minus the squared distance to
            each class' fixed code, for the loss SparseMAPCriterion. None: "softmax" for the modern variant, "rbf" for
            that of 1998.
        scale: value of a white pixel. uint8 images go in as they are.
        augmentation: layers for training that stand in front, on images in 0 .. 1.
        name: of the model.
    """
    if variant not in ("modern", "1998"):
        raise ValueError(f"LeNet5: variant must be 'modern' or '1998', got {variant!r}")
    output = output or ("softmax" if variant == "modern" else "rbf")
    if output not in ("softmax", "rbf"):
        raise ValueError(f"LeNet5: output must be 'softmax' or 'rbf', got {output!r}")
    inputs, x = start("LeNet5", input_shape, scale, augmentation)
    x = (_modern if variant == "modern" else _published)(x, output)
    if output == "rbf":
        x = RBFOutput(digit_codes(classes), name="output")(x)
    else:
        x = layers.Dense(classes, activation="softmax", name="output")(x)
    return models.Model(inputs, x, name=name or "lenet5")


def _modern(x, output):
    for part in (
        layers.Conv2D(6, 5, padding="same", activation="relu", name="c1"),
        layers.MaxPooling2D(2, name="s2"),
        layers.Conv2D(16, 5, activation="relu", name="c3"),
        layers.MaxPooling2D(2, name="s4"),
        layers.Flatten(),
        layers.Dense(120, activation="relu", name="c5"),
        layers.Dense(84, activation="tanh" if output == "rbf" else "relu", name="f6"),
    ):
        x = part(x)
    return x


def _published(x, output):
    def start_of(fan_in):  # appendix A: uniform in -2.4 / F .. 2.4 / F, F inputs of a unit
        return initializers.RandomUniform(-2.4 / fan_in, 2.4 / fan_in)

    def squashed(layer):
        return ScaledTanh(name=f"{layer.name}_tanh")(layer(x))

    x = layers.ZeroPadding2D(2, name="frame")(x)
    x = layers.Rescaling(1.275, -0.1, name="levels")(x)
    x = squashed(layers.Conv2D(6, 5, kernel_initializer=start_of(25 * x.shape[-1]), name="c1"))
    x = squashed(Subsampling(name="s2"))
    x = squashed(PartialConv2D(C3_TABLE, 5, name="c3"))
    x = squashed(Subsampling(name="s4"))
    height, width = x.shape[1:3]
    c5 = layers.Conv2D(120, (height, width), kernel_initializer=start_of(16 * height * width), name="c5")
    x = layers.Flatten()(squashed(c5))
    return squashed(layers.Dense(84, kernel_initializer=start_of(120), name="f6"))


class ScaledTanh(layers.Layer):
    """1.7159 tanh(2 x / 3) (appendix A): f(1) = 1, f(-1) = -1, and the slope is largest there."""

    def call(self, inputs):
        return ops.affine(ops.tanh(ops.affine(inputs, 2 / 3)), 1.7159)

    def get_config(self):
        return super().get_config()


class Subsampling(layers.Layer):
    """The sum over windows of 2 x 2, times a trainable coefficient, plus a trainable bias: one of each for a channel.

    Weights: coefficient, bias, each (channels,). The coefficient begins as 1 / 4, a mean.
    """

    def build(self, input_shape):
        channels = (input_shape[-1],)
        self.coefficient = self.add_weight(channels, initializers.Constant(0.25), name="coefficient")
        self.bias = self.add_weight(channels, "zeros", name="bias")

    def call(self, inputs):
        total = ops.affine(ops.average_pool(inputs, 2), 4.0)
        return ops.add(ops.multiply(total, self.coefficient), self.bias)

    def get_config(self):
        return super().get_config()


class PartialConv2D(layers.Layer):
    """A convolution ("valid", strides 1) whose channels see only those of the inputs that a table names.

    Args:
        connections: for each filter, the numbers of the input channels it sees.
        kernel_size: an integer or two.

    Weights: kernel (height, width, connections), the connections of the filters one behind the other; bias (filters,).
    """

    def __init__(self, connections, kernel_size, **kwargs):
        super().__init__(**kwargs)
        try:
            self.connections = tuple(tuple(int(c) for c in row) for row in connections)
        except (TypeError, ValueError):
            self.connections = ()
        if not self.connections or not all(row and min(row) >= 0 for row in self.connections):
            raise ValueError(
                f"PartialConv2D {self.name!r}: connections must name the input channels of each filter, got "
                f"{connections!r}"
            )
        self.kernel_size = sizes("PartialConv2D", "kernel_size", kernel_size, 2)

    def build(self, input_shape):
        seen = 1 + max(map(max, self.connections))
        if len(input_shape) != 4 or input_shape[-1] < seen:
            raise ValueError(
                f"PartialConv2D {self.name!r}: expected inputs (batch, rows, columns, channels) with at least {seen} "
                f"channels, got shape {input_shape}"
            )
        channels, filters, count = input_shape[-1], len(self.connections), sum(map(len, self.connections))
        place = np.zeros((count, channels * filters), self.dtype)
        at, limits = 0, []
        for f, row in enumerate(self.connections):
            for c in row:
                place[at, c * filters + f] = 1
                limits.append(2.4 / (len(row) * math.prod(self.kernel_size)))
                at += 1
        self._place, self._channels = place, channels
        self.kernel = self.add_weight((*self.kernel_size, count), initializers.RandomUniform(-1, 1), name="kernel")
        self.kernel.value *= np.array(limits, self.dtype)
        self.bias = self.add_weight((filters,), "zeros", name="bias")

    def call(self, inputs):
        rows = math.prod(self.kernel_size)
        kernel = ops.matmul(ops.reshape(self.kernel, (rows, len(self._place))), self._place)
        kernel = ops.reshape(kernel, (*self.kernel_size, self._channels, len(self.connections)))
        return ops.add(ops.conv(inputs, kernel), self.bias)

    def get_config(self):
        return {
            **super().get_config(), "connections": [list(row) for row in self.connections],
            "kernel_size": list(self.kernel_size),
        }  # fmt: skip


class RBFOutput(layers.Layer):
    """-|x - code|^2 for the fixed code of each class: the nearest has the largest. See SparseMAPCriterion.

    Weights: codes (classes, features), not trained.
    """

    def __init__(self, codes, **kwargs):
        super().__init__(**kwargs)
        self.start = np.asarray(codes, self.dtype)
        if self.start.ndim != 2:
            raise ValueError(f"RBFOutput {self.name!r}: codes must be (classes, features), got {self.start.shape}")

    def build(self, input_shape):
        if len(input_shape) != 2 or input_shape[-1] != self.start.shape[1]:
            raise ValueError(
                f"RBFOutput {self.name!r}: expected inputs (batch, {self.start.shape[1]}), got shape {input_shape}"
            )
        self.codes = self.add_weight(self.start.shape, lambda shape, dtype: self.start, trainable=False, name="codes")

    def call(self, inputs):
        codes = self.codes
        if graph.current_trace() is not None:
            codes = ops.reshape(codes, codes.shape)
        squares = ops.add(
            ops.sum(ops.square(inputs), axis=-1, keepdims=True), ops.sum(ops.square(codes), axis=-1)
        )  # fmt: skip
        return ops.subtract(ops.affine(ops.matmul(inputs, ops.transpose(codes, (1, 0))), 2.0), squares)

    def get_config(self):
        return {**super().get_config(), "codes": self.start.tolist()}


class SparseMAPCriterion(losses.Loss):
    """distance to the code of the right class + log(e^-j + sum of e^-distance over all classes) (equation 9).

    y_true holds class ids, y_pred what RBFOutput gives. The constant j keeps classes that are far away already from
    being pushed further, so that the distance to the right code counts, and not its lead alone.
    """

    def __init__(self, j=0.1, reduction="sum_over_batch_size", name="sparse_map_criterion", dtype=None):
        super().__init__(name, reduction, dtype)
        self.j = checks.number("SparseMAPCriterion", "j", j)

    def call(self, y_true, y_pred):
        constant = ops.affine(ops.getitem(y_pred, (slice(None), slice(0, 1))), 0.0, -self.j)
        logits = ops.concatenate([y_pred, constant], axis=-1)
        return ops.sparse_categorical_crossentropy(y_true, logits, from_logits=True)

    def get_config(self):
        return {**super().get_config(), "j": self.j}


# Digits of 7 x 12 pixels in the manner of figure 3.
_DIGITS = """
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
..###..  ...#...  .#####.  .#####.  ....##.  #######  ..####.  #######  .#####.  .#####.
.#...#.  ..##...  #.....#  #.....#  ...#.#.  #......  .#.....  ......#  #.....#  #.....#
#.....#  .#.#...  ......#  ......#  ..#..#.  #......  #......  .....#.  #.....#  #.....#
#.....#  ...#...  ......#  ......#  .#...#.  #.####.  #......  .....#.  #.....#  #.....#
#.....#  ...#...  .....#.  ..####.  .#...#.  ##....#  #.####.  ....#..  .#####.  #....##
#.....#  ...#...  ....#..  ......#  #....#.  ......#  ##....#  ....#..  #.....#  .####.#
#.....#  ...#...  ...#...  ......#  #######  ......#  #.....#  ...#...  #.....#  ......#
#.....#  ...#...  ..#....  ......#  .....#.  ......#  #.....#  ...#...  #.....#  ......#
.#...#.  ...#...  .#.....  #.....#  .....#.  #.....#  #.....#  ..#....  #.....#  .....#.
..###..  .#####.  #######  .#####.  .....#.  .#####.  .#####.  ..#....  .#####.  .####..
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


def digit_codes(classes=10):
    """(classes, 84) of +1 and -1: the digits' bitmaps; beyond ten, fixed random codes."""
    lines = [line.split() for line in _DIGITS.split("\n") if line]
    codes = [[1 if p == "#" else -1 for line in lines for p in line[digit]] for digit in range(10)]
    more = np.random.RandomState(1998).choice([-1, 1], (max(classes - 10, 0), 84))
    return np.concatenate([np.array(codes), more])[:classes].astype(float)
