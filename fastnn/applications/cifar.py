"""A small convolutional network for 32 x 32 colour images, in the manner of VGG (Simonyan and Zisserman 2015)."""

from fastnn import layers, models
from fastnn.applications._start import start


def CifarCNN(input_shape=(32, 32, 3), classes=10, filters=(32, 64), units=256, dropout=0.0, scale=255.0,
             augmentation=(), name=None):  # fmt: skip
    """Pairs of 3 x 3 convolutions ("same", ReLU) with max-pooling behind each pair, a dense layer, a softmax: with 32,
    32, 64 and 64 channels and 256 units 1,116,970 parameters.

    Args:
        input_shape: (height, width, channels).
        classes: number of classes.
        filters: channels of each pair.
        units: of the dense layer.
        dropout: rate before and after the dense layer.
        scale: value of a white pixel. uint8 images go in as they are.
        augmentation: layers for training that stand in front, on images in 0 .. 1.
        name: of the model.
    """
    inputs, x = start("CifarCNN", input_shape, scale, augmentation)
    for count in filters:
        x = layers.Conv2D(count, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
        x = layers.Conv2D(count, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(dropout)(x) if dropout else x
    x = layers.Dense(units, activation="relu", kernel_initializer="he_normal")(x)
    x = layers.Dropout(dropout)(x) if dropout else x
    return models.Model(inputs, layers.Dense(classes, activation="softmax")(x), name=name or "cifar_cnn")
