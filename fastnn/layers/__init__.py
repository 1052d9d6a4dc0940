"""Layers, under Keras' names. To add one: a class in the module of its family, and its name below."""

import importlib

#: The names and the modules they live in, imported when first asked for: `import fastnn` stays quick.
_FAMILIES = {
    "activation": "ELU LeakyReLU Maxout PReLU ReLU Softmax",
    "attention": "AdditiveAttention Attention MultiHeadAttention",
    "augmentation": (
        "MixUp RandomBrightness RandomContrast RandomCrop RandomErasing RandomFlip RandomRotation RandomTranslation "
        "RandomZoom"
    ),
    "convolution": (
        "Conv1D Conv1DTranspose Conv2D Conv2DTranspose DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D"
    ),
    "core": (
        "Activation ActivityRegularization Dense Dropout Flatten GaussianNoise Input InputLayer Lambda Permute "
        "RepeatVector Reshape"
    ),
    "embedding": "Embedding Masking",
    "layer": "Layer",
    "merging": (
        "Add Average Concatenate Dot Maximum Minimum Multiply Subtract add average concatenate dot maximum minimum "
        "multiply subtract"
    ),
    "noise": "AlphaDropout GaussianDropout",
    "normalization": "BatchNormalization GroupNormalization LayerNormalization UnitNormalization",
    "pooling": (
        "AveragePooling1D AveragePooling2D AvgPool1D AvgPool2D GlobalAveragePooling1D GlobalAveragePooling2D "
        "GlobalAvgPool1D GlobalAvgPool2D GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPooling1D GlobalMaxPooling2D "
        "MaxPool1D MaxPool2D MaxPooling1D MaxPooling2D"
    ),
    "preprocessing": "CenterCrop Normalization Rescaling Resizing",
    "recurrent": "GRU LSTM Jordan SimpleRNN",
    "reshaping": (
        "Cropping1D Cropping2D SpatialDropout1D SpatialDropout2D UpSampling1D UpSampling2D ZeroPadding1D ZeroPadding2D"
    ),
    "wrappers": "Bidirectional TimeDistributed",
}
_MODULE_OF = {name: module for module, names in _FAMILIES.items() for name in names.split()}

__all__ = sorted([*_MODULE_OF, "deserialize", "serialize"])


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'fastnn.layers' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fastnn.layers.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})


def deserialize(config, custom_objects=None):
    """The layer that `serialize` described."""
    from fastnn.saving import deserialize_keras_object

    return deserialize_keras_object(config, custom_objects)


def serialize(layer):
    """A JSON-able description of a layer."""
    from fastnn.saving import serialize_keras_object

    return serialize_keras_object(layer)
