"""Residual networks for CIFAR (He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015, section
4.2)."""

from fastnn import layers, models, ops
from fastnn.applications._start import start
from fastnn.ops.core import apply
from fastnn.ops.movement import SliceGrad


def ResNet20(input_shape=(32, 32, 3), classes=10, shortcut="A", scale=255.0, augmentation=(), name=None):
    """ResNetCifar of 20 layers: 269,722 trainable parameters ("0.27M") with shortcuts of option A."""
    return ResNetCifar(20, input_shape, classes, shortcut, scale, augmentation, name or "resnet20")


def ResNetCifar(depth=20, input_shape=(32, 32, 3), classes=10, shortcut="A", scale=255.0, augmentation=(), name=None):
    """A residual network of `depth` = 6 n + 2 layers: a 3 x 3 convolution, three stages of n blocks with 16, 32 and 64
    channels on images of full, half and a quarter of the size, global average pooling, a softmax.

    A block is two 3 x 3 convolutions without bias, each followed by batch normalization, with ReLU between them and
    after the sum with the shortcut.

    Args:
        depth: 20, 32, 44, 56, 110, ...
        input_shape: (height, width, channels).
        classes: number of classes.
        shortcut: where the size changes: "A": every second pixel, with zeros for the new channels (the paper's choice
            for CIFAR; no parameters); "B": a 1 x 1 convolution with batch normalization.
        scale: value of a white pixel. uint8 images go in as they are.
        augmentation: layers for training that stand in front, on images in 0 .. 1; the paper's are
            RandomCrop(32, 32, padding=4) and RandomFlip("horizontal").
        name: of the model.

    The paper trains 64,000 steps of 128 images by SGD, momentum 0.9, weight decay 1e-4, rate 0.1, a tenth of it after
    32,000 and 48,000 steps.
    """
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 8 or (depth - 2) % 6:
        raise ValueError(f"ResNetCifar: depth must be 6 n + 2 (8, 14, 20, 32, ...), got {depth!r}")
    if shortcut not in ("A", "B"):
        raise ValueError(f"ResNetCifar: shortcut must be 'A' or 'B', got {shortcut!r}")
    inputs, x = start("ResNetCifar", input_shape, scale, augmentation)
    x = layers.Rescaling(4.0, -2.0, name="levels")(x)  # about mean 0 and deviation 1
    x = layers.ReLU()(_convolution(x, 16, 3, 1))
    for stage, filters in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            x = _block(x, filters, 2 if stage and block == 0 else 1, shortcut)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(classes, activation="softmax", kernel_initializer="he_normal")(x)
    return models.Model(inputs, x, name=name or f"resnet{depth}")


def _convolution(x, filters, size, strides):
    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def _block(x, filters, strides, shortcut):
    y = layers.ReLU()(_convolution(x, filters, 3, strides))
    y = _convolution(y, filters, 3, 1)
    if strides > 1:
        x = _convolution(x, filters, 1, strides) if shortcut == "B" else IdentityShortcut(filters, strides)(x)
    return layers.ReLU()(layers.Add()([x, y]))


class IdentityShortcut(layers.Layer):
    """Every `strides`-th pixel in both directions, and zeros for the channels up to `filters` (option A)."""

    def __init__(self, filters, strides=2, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("strides", strides)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"IdentityShortcut: {name} must be a positive integer, got {value!r}")
        self.filters, self.strides = filters, strides

    def build(self, input_shape):
        if len(input_shape) != 4 or input_shape[-1] > self.filters:
            raise ValueError(
                f"IdentityShortcut {self.name!r}: expected (batch, rows, columns, up to {self.filters} channels), got "
                f"{input_shape}"
            )

    def call(self, inputs):
        every = slice(None, None, self.strides)
        y = ops.getitem(inputs, (slice(None), every, every))
        n, h, w, channels = ops.shape(y)
        if channels == self.filters:
            return y
        begin = (0, 0, 0) if n is None else (0, 0, 0, 0)
        return apply(SliceGrad((n, h, w, self.filters), begin, (1,) * len(begin)), y)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}
