"""Greedy layer-wise unsupervised pre-training (Hinton et al. 2006; Bengio et al. 2007)."""

import numpy as np

from fastnn.layers import Dense
from fastnn.layers.core import InputLayer
from fastnn.models import Functional, Sequential
from fastnn.pretraining.autoencoder import Autoencoder


def _chain(model):
    """The layers of a model that is one chain, in order."""
    functional = getattr(model, "_functional", None) if isinstance(model, Sequential) else model
    if not isinstance(functional, Functional):
        raise ValueError("pretrain: the model must be a built Sequential or functional model; give it an Input")
    calls = [node for node in functional._nodes if hasattr(node.op, "layer")]
    single = all(len(node.inputs) == 1 for node in functional._nodes) and len(calls) == len(functional._nodes)
    if not single or len(functional._input_tensors) != 1 or len(functional._outputs) != 1:
        raise ValueError(f"pretrain: model {model.name!r} must be a chain of layers with one input and one output")
    return [node.op.layer for node in calls if not isinstance(node.op.layer, InputLayer)]


def pretrain(model, x, epochs=10, batch_size=32, layers=None, corruption=None, amount=0.3, tied=False, optimizer="adam",
             output_activation=None, loss="mse", verbose=0):  # fmt: skip
    """Gives the hidden Dense layers of `model` first weights learned from inputs alone, one layer after the other.

    Each layer becomes the encoder of an autoencoder that is trained on the output of the layers before it (in
    prediction mode; Flatten, Activation, Dropout, ... stay where they are), and keeps the kernel and bias it found.
    Afterwards train the whole model on the targets with `fit`: fine-tuning.

    Args:
        model: a chain of layers, built.
        x: inputs (rows, ...).
        epochs, batch_size: of each autoencoder's training.
        layers: how many Dense layers to pre-train, None: all but the last one.
        corruption, amount, tied, loss: of the autoencoders, see `Autoencoder`.
        optimizer: a name, or a function that makes an optimizer (each autoencoder needs its own).
        output_activation: of the decoders; None: "sigmoid" with loss "binary_crossentropy", else none.

    Returns the Histories of the autoencoders, the first layer's first.
    """
    chain = _chain(model)
    dense = [layer for layer in chain if isinstance(layer, Dense)]
    most = len(dense) - 1
    count = most if layers is None else layers
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or not 1 <= count <= max(most, len(dense)):
        raise ValueError(f"pretrain: layers must be from 1 to {len(dense)} (the model's Dense layers), got {layers!r}")
    if not (isinstance(optimizer, str) or callable(optimizer)):
        raise TypeError("pretrain: optimizer must be a name or a function that makes one: each layer needs its own")
    if output_activation is None and loss == "binary_crossentropy":
        output_activation = "sigmoid"
    wanted, histories = dense[:count], []
    values = np.asarray(x)
    for layer in chain:
        if layer not in wanted:
            values = np.asarray(_apply(layer, values, batch_size))
            continue
        if values.ndim != 2:
            raise ValueError(
                f"pretrain: Dense layer {layer.name!r} gets inputs of shape {values.shape}, expected (rows, features)"
            )
        if layer.kernel is None or values.shape[1] != layer.kernel.shape[0]:
            fits = "a built model" if layer.kernel is None else f"{layer.kernel.shape[0]} features"
            raise ValueError(
                f"pretrain: Dense layer {layer.name!r} gets inputs of shape {values.shape}, expected {fits}"
            )
        auto = Autoencoder(
            values.shape[1], layer.units, activation=layer.activation, output_activation=output_activation,
            corruption=corruption, amount=amount, tied=tied, loss=loss, use_bias=layer.use_bias,
            optimizer=optimizer if isinstance(optimizer, str) else optimizer(),
        )  # fmt: skip
        histories.append(auto.fit(values, epochs=epochs, batch_size=batch_size, verbose=verbose))
        layer.kernel.assign(auto.layers[0].kernel.value)
        if layer.bias is not None:
            layer.bias.assign(auto.layers[0].bias.value)
        if len(histories) == count:
            break
        values = auto.encode(values)
    return histories


def _apply(layer, values, batch_size):
    """A layer's outputs for arrays, in prediction mode, batch by batch."""
    step = max(batch_size, 1024)
    parts = [np.asarray(layer(values[j : j + step])) for j in range(0, len(values), step)]
    return np.concatenate(parts)
