"""Layers, under Keras' names. To add one: a class here or in a module of its family, and its name below."""

from fastnn.layers.activation import ELU, LeakyReLU, Maxout, PReLU, ReLU, Softmax
from fastnn.layers.core import (
    Activation,
    ActivityRegularization,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    Input,
    InputLayer,
    Lambda,
    Permute,
    RepeatVector,
    Reshape,
)
from fastnn.layers.layer import Layer
from fastnn.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)

__all__ = [
    "ELU", "Activation", "ActivityRegularization", "Add", "Average", "Concatenate", "Dense", "Dot", "Dropout",
    "Flatten", "GaussianNoise", "Input", "InputLayer", "Lambda", "Layer", "LeakyReLU", "Maximum", "Maxout", "Minimum",
    "Multiply", "PReLU", "Permute", "ReLU", "RepeatVector", "Reshape", "Softmax", "Subtract", "add", "average",
    "concatenate", "dot", "maximum", "minimum", "multiply", "subtract",
]  # fmt: skip


def deserialize(config, custom_objects=None):
    """The layer that `serialize` described."""
    from fastnn.saving import deserialize_keras_object

    return deserialize_keras_object(config, custom_objects)


def serialize(layer):
    """A JSON-able description of a layer."""
    from fastnn.saving import serialize_keras_object

    return serialize_keras_object(layer)
