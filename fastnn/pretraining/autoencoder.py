"""Autoencoders: networks that learn to give back their input through a narrower, sparser or noisier middle."""

import numpy as np

from fastnn import activations, initializers, ops
from fastnn.layers import Dense, Input
from fastnn.layers.core import random_stream
from fastnn.layers.layer import Layer
from fastnn.models import Model
from fastnn.ops.core import apply
from fastnn.ops.nn import Dropout, GaussianNoise
from fastnn.utils import checks


class Corruption(Layer):
    """In training, spoils its input: kind "mask" sets elements to 0 with probability `amount` (Vincent et al. 2008,
    nothing is scaled up), "gaussian" adds normal noise of standard deviation `amount`."""

    def __init__(self, kind="mask", amount=0.3, seed=None, **kwargs):
        super().__init__(**kwargs)
        if kind not in ("mask", "gaussian"):
            raise ValueError(f"Corruption: kind must be 'mask' or 'gaussian', got {kind!r}")
        self.kind = kind
        self.amount = checks.number("Corruption", "amount", amount, least=0, below=1 if kind == "mask" else None)
        self.seed = checks.seed("Corruption", seed)

    def call(self, inputs, training=False):
        if not training or self.amount == 0:
            return inputs
        if self.kind == "mask":
            return ops.multiply(apply(Dropout(self.amount, random_stream(self.seed)), inputs), 1 - self.amount)
        return apply(GaussianNoise(self.amount, random_stream(self.seed)), inputs)

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "amount": self.amount, "seed": self.seed}


class TiedDense(Layer):
    """y = activation(x W^T + c), W the kernel of the Dense layer `source`: x (..., units), y (..., inputs of source).

    The bias c (inputs of source,) is its own; gradients of both uses of W add up. It cannot be saved with a model's
    configuration (save_weights works): build it anew from its source.
    """

    def __init__(self, source, activation=None, bias_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        if not isinstance(source, Dense):
            raise TypeError(f"TiedDense: source must be a Dense layer, got {type(source).__name__}")
        self.source = source
        self.activation = activations.get(activation)
        self.bias_initializer = initializers.get(bias_initializer)
        self.bias = None

    def build(self, input_shape):
        if self.source.kernel is None:
            raise ValueError(f"TiedDense {self.name!r}: its source {self.source.name!r} must be called on inputs first")
        if input_shape[-1] != self.source.units:
            raise ValueError(
                f"TiedDense {self.name!r}: expected inputs with last dimension {self.source.units}, got {input_shape}"
            )
        self.bias = self.add_weight((self.source.kernel.shape[0],), self.bias_initializer, name="bias")

    def call(self, inputs):
        product = ops.matmul(inputs, ops.transpose(self.source.kernel))
        return self.activation(ops.add(product, self.bias))

    def get_config(self):
        raise NotImplementedError(f"TiedDense {self.name!r} refers to another layer and cannot be saved; save weights")


class Autoencoder:
    """An encoder of Dense layers of `units` sizes, and a decoder that mirrors it.

        auto = Autoencoder(64, [32, 8], corruption="mask", amount=0.3, tied=True)
        auto.fit(x, epochs=20)
        auto.encode(x), auto.reconstruct(x)

    Args:
        inputs: number of features, x is (rows, inputs).
        units: sizes of the encoder's layers, the last one that of the code.
        activation: of all layers but the last of the decoder.
        output_activation: of that one: None for any numbers, "sigmoid" for inputs in [0, 1].
        corruption: None, "mask" or "gaussian", with its `amount`: a denoising autoencoder (see `Corruption`).
        tied: the decoder uses the encoder's kernels, transposed.
        loss, optimizer: as for `compile`.
        code_regularizer: a penalty on the code, e.g. regularizers.L1 for a sparse one.
        use_bias: whether the encoder's layers have a bias; the decoder's always do.

    `model` (input to reconstruction), `encoder` and `decoder` are Models that share their layers, `layers` the
    encoder's Dense layers.
    """

    def __init__(self, inputs, units, activation="sigmoid", output_activation=None, corruption=None, amount=0.3,
                 tied=False, loss="mse", optimizer="adam", code_regularizer=None, use_bias=True):  # fmt: skip
        units = [units] if isinstance(units, (int, np.integer)) else list(units)
        if isinstance(inputs, bool) or not isinstance(inputs, (int, np.integer)) or inputs < 1:
            raise ValueError(f"Autoencoder: inputs must be an integer >= 1, got {inputs!r}")
        if not units:
            raise ValueError("Autoencoder: units must list at least one size")
        self.layers = [
            Dense(n, activation, use_bias, activity_regularizer=code_regularizer if j == len(units) - 1 else None)
            for j, n in enumerate(units)
        ]
        sizes = [int(inputs), *units]
        x = Input((int(inputs),))
        code = x if corruption is None else Corruption(corruption, amount)(x)
        for layer in self.layers:
            code = layer(code)
        mirrored = []
        for j in reversed(range(len(units))):
            last = output_activation if j == 0 else activation
            layer = self.layers[j]
            mirrored.append(TiedDense(layer, activation=last) if tied else Dense(sizes[j], activation=last))
        y = code
        for layer in mirrored:
            y = layer(y)
        self.model = Model(x, y)
        self.model.compile(optimizer, loss)
        clean = x2 = Input((int(inputs),))
        for layer in self.layers:
            clean = layer(clean)
        self.encoder = Model(x2, clean)
        z = back = Input((units[-1],))
        for layer in mirrored:
            back = layer(back)
        self.decoder = Model(z, back)

    def fit(self, x, **arguments):
        """Trains to give back x (rows, inputs); arguments and result as those of `Model.fit`."""
        if "y" in arguments:
            raise TypeError("Autoencoder.fit: the targets are x itself; leave out y")
        validation = arguments.pop("validation_data", None)
        if validation is not None:
            arguments["validation_data"] = (validation, validation)
        return self.model.fit(x, x, **arguments)

    def encode(self, x, batch_size=None):
        """The codes of x, (rows, units[-1])."""
        return self.encoder.predict(x, batch_size=batch_size)

    def decode(self, codes, batch_size=None):
        """What codes (rows, units[-1]) stand for, (rows, inputs)."""
        return self.decoder.predict(codes, batch_size=batch_size)

    def reconstruct(self, x, batch_size=None):
        """x through encoder and decoder, without corruption."""
        return self.model.predict(x, batch_size=batch_size)
