"""Embedding, and masks of steps that do not count."""

import numpy as np

from fastnn import constraints, initializers, ops, regularizers
from fastnn.graph import set_mask
from fastnn.layers._check import positive
from fastnn.layers.layer import Layer
from fastnn.ops.core import is_tensor


class Embedding(Layer):
    """Class ids (batch, ...) to their rows of a table: (batch, ..., output_dim). Weight: embeddings (input_dim,
    output_dim).

    Where a gradient of zeros is no update (SGD without momentum and Adagrad, without weight decay, norm clipping,
    accumulation and averages), a step touches only the rows that it looks up, however large the table. Other optimizers
    see zeros for the rest, as in Keras.

    Args:
        input_dim: number of ids, 0 .. input_dim - 1; others are an error.
        output_dim: size of the vectors.
        embeddings_initializer, embeddings_regularizer, embeddings_constraint: of the table.
        mask_zero: whether the id 0 is padding, which later layers that know masks skip.
        weights: the table's first values.
        input_length: accepted for the sake of older code.
    """

    def __init__(self, input_dim, output_dim, embeddings_initializer="uniform", embeddings_regularizer=None,
                 embeddings_constraint=None, mask_zero=False, weights=None, input_length=None, **kwargs):  # fmt: skip
        super().__init__(**kwargs)
        self.input_dim = positive("Embedding", "input_dim", input_dim)
        self.output_dim = positive("Embedding", "output_dim", output_dim)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = bool(mask_zero)
        self.supports_masking = self.mask_zero
        self.embeddings = None
        if weights is not None:
            self.build()
            self.built = True
            self.set_weights([np.asarray(weights[0] if isinstance(weights, list) and len(weights) == 1 else weights)])

    def build(self, input_shape=None):
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim), self.embeddings_initializer, name="embeddings",
            regularizer=self.embeddings_regularizer, constraint=self.embeddings_constraint,
        )  # fmt: skip

    @property
    def ids(self):
        """Number of ids that inputs may hold: what a model checks its data against."""
        return self.input_dim

    def check_ids(self, ids, where=None):
        """Raises unless all of an array's ids have a row."""
        ids = np.asarray(ids)
        if ids.dtype.kind not in "iufb":
            raise TypeError(f"{where or f'Embedding {self.name!r}'}: ids must be numbers, got {ids.dtype}")
        wrong = ~((ids >= 0) & (ids < self.input_dim))
        if wrong.any():
            raise ValueError(
                f"{where or f'Embedding {self.name!r}'}: ids must be in 0..{self.input_dim - 1} (input_dim is "
                f"{self.input_dim}), got {ids[wrong].flat[0]}"
            )

    def call(self, inputs):
        if is_tensor(inputs):
            return ops.take(self.embeddings, inputs if inputs.dtype == "int32" else ops.cast(inputs, "int32"))
        self.check_ids(inputs)
        return ops.take(self.embeddings, np.asarray(inputs).astype(np.int32))

    def compute_mask(self, inputs, mask=None):
        if not self.mask_zero:
            return None
        return ops.not_equal(ops.cast(inputs, self.dtype), 0.0)

    def get_config(self):
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": regularizers.serialize(self.embeddings_regularizer),
            "embeddings_constraint": constraints.serialize(self.embeddings_constraint),
            "mask_zero": self.mask_zero,
        }


class Masking(Layer):
    """Steps of (batch, time, features) whose features all equal `mask_value` are set to 0 and skipped by later layers
    that know masks."""

    supports_masking = True

    def __init__(self, mask_value=0.0, **kwargs):
        super().__init__(**kwargs)
        if isinstance(mask_value, bool) or not isinstance(mask_value, (int, float, np.number)):
            raise TypeError(f"Masking: mask_value must be a number, got {mask_value!r}")
        self.mask_value = float(mask_value)

    def compute_mask(self, inputs, mask=None):
        return ops.max(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs):
        if len(ops.shape(inputs)) < 3:
            raise ValueError(f"Masking {self.name!r}: expected (batch, time, ...), got shape {ops.shape(inputs)}")
        mask = self.compute_mask(inputs)
        y = ops.multiply(inputs, ops.expand_dims(mask, -1))
        set_mask(y, mask)
        return y

    def get_config(self):
        return {**super().get_config(), "mask_value": self.mask_value}
