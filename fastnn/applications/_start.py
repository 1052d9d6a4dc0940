"""What all builders begin with."""

from fastnn import layers
from fastnn.utils import checks


def start(where, input_shape, scale, augmentation):
    """(input, images in 0 .. 1 after augmentation): pixels 0 .. `scale` as they are loaded, uint8 too."""
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ValueError(f"{where}: input_shape must be (height, width, channels), got {input_shape!r}")
    scale = checks.number(where, "scale", scale, above=0)
    x = inputs = layers.Input(tuple(input_shape), name="images")
    if scale != 1:
        x = layers.Rescaling(1 / scale)(x)
    for layer in augmentation:
        x = layer(x)
    return inputs, x
