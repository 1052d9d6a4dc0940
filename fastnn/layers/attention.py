"""Attention: weighted means of values, the weights from how well queries fit keys."""

import numpy as np

from fastnn import constraints, initializers, ops, regularizers
from fastnn.layers.core import random_stream
from fastnn.layers.layer import Layer
from fastnn.layers.recurrent import positive, share
from fastnn.ops import nn
from fastnn.ops.core import apply, as_tensor, is_tensor

_FAR = -1e9  # a score that softmax makes 0


def causal(queries, keys, dtype):
    """(1, queries, keys): 1 where a query may see a key, not after it."""
    return np.tril(np.ones((1, queries, keys), dtype))


def both(a, b):
    """The product of masks, either of which may be None."""
    return b if a is None else a if b is None else ops.multiply(a, b)


def masked_softmax(scores, mask):
    """Softmax over the last dimension of scores where mask is 1, zeros elsewhere."""
    if mask is None:
        return ops.softmax(scores)
    return ops.multiply(ops.softmax(ops.where(mask, scores, _FAR)), mask)


class MultiHeadAttention(Layer):
    """Vaswani et al. 2017: for each head softmax(q k^T / sqrt(key_dim)) v, with q, k, v products of query, key and
    value with the head's weights; the heads together times output weights.

    Call: layer(query (batch, n, d), value (batch, m, e), key=value), with `attention_mask` (batch, n, m),
    `use_causal_mask`, and `return_attention_scores` for [output, scores (batch, heads, n, m)].

    Weights: query_kernel (d, heads, key_dim), query_bias (heads, key_dim), the same of key and value, output_kernel
    (heads, value_dim, d), output_bias (d,).

    Args:
        num_heads, key_dim, value_dim: heads, size of each head's queries and keys, and of its values (key_dim).
        dropout: of the softmax' results in training.
        use_bias: whether the biases are there.
        output_shape: size of the output, that of the query if None.
        attention_axes, flash_attention, sliding_window, use_gate: of Keras, not supported.
    """

    supports_masking = True

    def __init__(self, num_heads, key_dim, value_dim=None, dropout=0.0, use_bias=True, output_shape=None,
                 attention_axes=None, sliding_window=None, flash_attention=None, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, use_gate=False, seed=None, **kwargs):  # fmt: skip
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        for name, value in (
            ("attention_axes", attention_axes),
            ("sliding_window", sliding_window),
            ("use_gate", use_gate),
        ):
            if value and value not in (1, (1,), [1]):
                raise ValueError(f"MultiHeadAttention: {name}={value!r} is not supported; leave it out")
        self.num_heads = positive("MultiHeadAttention", "num_heads", num_heads)
        self.key_dim = positive("MultiHeadAttention", "key_dim", key_dim)
        self.value_dim = self.key_dim if value_dim is None else positive("MultiHeadAttention", "value_dim", value_dim)
        self.dropout = share("MultiHeadAttention", "dropout", dropout)
        self.use_bias = bool(use_bias)
        if isinstance(output_shape, (tuple, list)) and len(output_shape) == 1:
            (output_shape,) = output_shape
        self.output_size = (
            None if output_shape is None else positive("MultiHeadAttention", "output_shape", output_shape)
        )
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.seed = seed
        self.query_kernel = None

    def _make_weights(self, query, key, value):
        """The weights, once the sizes of all three are known."""
        heads, out = self.num_heads, self.output_size or query
        sizes = (("query", (query, heads, self.key_dim)), ("key", (key, heads, self.key_dim)),
                 ("value", (value, heads, self.value_dim)), ("output", (heads, self.value_dim, out)))  # fmt: skip
        for role, shape in sizes:
            kernel = self.add_weight(
                shape, self.kernel_initializer, name=f"{role}_kernel", regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
            )  # fmt: skip
            setattr(self, f"{role}_kernel", kernel)
            bias = None
            if self.use_bias:
                bias = self.add_weight(
                    (out,) if role == "output" else shape[1:], self.bias_initializer, name=f"{role}_bias",
                    regularizer=self.bias_regularizer, constraint=self.bias_constraint,
                )  # fmt: skip
            setattr(self, f"{role}_bias", bias)

    def call(self, query, value, key=None, query_mask=None, value_mask=None, key_mask=None, attention_mask=None,
             return_attention_scores=False, training=False, use_causal_mask=False):  # fmt: skip
        key = value if key is None else key
        shapes = [tuple(ops.shape(x)) for x in (query, key, value)]
        if any(len(s) != 3 for s in shapes) or shapes[1][1] != shapes[2][1]:
            raise ValueError(
                f"MultiHeadAttention {self.name!r}: expected query (batch, n, d), value (batch, m, e) and key "
                f"(batch, m, f), got shapes {shapes[0]}, {shapes[2]}, {shapes[1]}"
            )
        if self.query_kernel is None:
            self._make_weights(*(s[-1] for s in shapes))
        mask = self._mask(shapes, query_mask, value_mask, key_mask, attention_mask, use_causal_mask)
        q = ops.multiply(self._heads(query, "query"), self.key_dim**-0.5)
        k, v = self._heads(key, "key"), self._heads(value, "value")
        scores = masked_softmax(ops.matmul(q, ops.swapaxes(k, 2, 3)), mask)
        weights = scores
        if training and self.dropout:
            weights = apply(nn.Dropout(self.dropout, random_stream(self.seed)), scores)
        y = ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))
        n, steps = shapes[0][:2]
        y = ops.reshape(y, (n, steps, self.num_heads * self.value_dim))
        y = ops.matmul(y, self._flat("output_kernel", (self.num_heads * self.value_dim, -1), query))
        if self.use_bias:
            y = ops.add(y, self.output_bias)
        return [y, scores] if return_attention_scores else y

    def _flat(self, name, shape, beside):
        weight = getattr(self, name)
        return ops.reshape(as_tensor(weight, beside.dtype) if is_tensor(beside) else weight.value, shape)

    def _heads(self, x, role):
        """(batch, steps, size) as (batch, heads, steps, its size)."""
        n, steps, size = ops.shape(x)
        y = ops.matmul(x, self._flat(f"{role}_kernel", (size, -1), x))
        if self.use_bias:
            y = ops.add(y, self._flat(f"{role}_bias", (-1,), x))
        return ops.transpose(ops.reshape(y, (n, steps, self.num_heads, -1)), (0, 2, 1, 3))

    def _mask(self, shapes, query_mask, value_mask, key_mask, attention_mask, use_causal_mask):
        """(batch or 1, 1, n, m), or None."""
        mask = None
        if attention_mask is not None:
            rank = len(ops.shape(attention_mask))
            if rank not in (2, 3, 4):
                raise ValueError(
                    f"MultiHeadAttention {self.name!r}: attention_mask must be (batch, n, m), got rank {rank}"
                )
            mask = ops.cast(attention_mask, self.dtype)
            mask = mask if rank == 4 else ops.expand_dims(mask, 1) if rank == 3 else mask[None, None]
        for one, axes in ((query_mask, (1, -1)), (value_mask, (1, 1)), (key_mask, (1, 1))):
            if one is not None:
                one = ops.cast(one, self.dtype)
                for axis in axes:
                    one = ops.expand_dims(one, axis)
                mask = both(mask, one)
        if use_causal_mask:
            mask = both(mask, causal(shapes[0][1], shapes[1][1], self.dtype)[None])
        return mask

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "output_shape": self.output_size,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "seed": self.seed,
        }


class Attention(Layer):
    """Luong et al. 2015: softmax of the scores q k^T times the values. Called on [query (batch, n, d), value (batch, m,
    d)] or [query, value, key].

    Args:
        use_scale: a weight () that the scores are multiplied by.
        score_mode: "dot", or "concat": a weight () times the sum of tanh(q + k).
        dropout: of the softmax' results in training.
    """

    supports_masking = True

    def __init__(self, use_scale=False, score_mode="dot", dropout=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError(f"Attention: score_mode must be 'dot' or 'concat', got {score_mode!r}")
        self.use_scale, self.score_mode = bool(use_scale), score_mode
        self.dropout, self.seed = share(type(self).__name__, "dropout", dropout), seed
        self.scale = self.concat_score_weight = None

    def build(self, input_shape):
        self._check(input_shape)
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")

    def _check(self, shapes):
        if not isinstance(shapes, (list, tuple)) or len(shapes) not in (2, 3) or any(len(s or ()) != 3 for s in shapes):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: expected [query (batch, n, d), value (batch, m, d)] or "
                f"[query, value, key], got shapes {shapes}"
            )

    def _scores(self, q, k):
        if self.score_mode == "dot":
            scores = ops.matmul(q, ops.swapaxes(k, -2, -1))
            return scores if self.scale is None else ops.multiply(scores, self.scale)
        return ops.multiply(self._sums(q, k, None, self.scale), self.concat_score_weight)

    @staticmethod
    def _sums(q, k, outside, inside):
        """Sums over the features of outside * tanh(inside * (q + k)) for each pair: (batch, n, m)."""
        pairs = ops.add(ops.expand_dims(q, 2), ops.expand_dims(k, 1))
        pairs = ops.tanh(pairs if inside is None else ops.multiply(pairs, inside))
        return ops.sum(pairs if outside is None else ops.multiply(pairs, outside), axis=-1)

    def call(self, inputs, mask=None, training=False, return_attention_scores=False, use_causal_mask=False):
        self._check([tuple(ops.shape(x)) for x in inputs] if isinstance(inputs, (list, tuple)) else ops.shape(inputs))
        q, v = inputs[:2]
        k = inputs[2] if len(inputs) > 2 else v
        scores = self._scores(q, k)
        queries, values = (mask[0], mask[1]) if mask else (None, None)
        allowed = None if values is None else ops.expand_dims(ops.cast(values, self.dtype), 1)
        if use_causal_mask:
            allowed = both(allowed, causal(*ops.shape(scores)[1:], self.dtype))
        if allowed is not None:
            scores = ops.where(allowed, scores, ops.affine(scores, 1.0, _FAR))
        weights = ops.softmax(scores)
        if training and self.dropout:
            weights = apply(nn.Dropout(self.dropout, random_stream(self.seed)), weights)
        y = ops.matmul(weights, v)
        if queries is not None:
            y = ops.multiply(y, ops.expand_dims(ops.cast(queries, self.dtype), -1))
        return (y, weights) if return_attention_scores else y

    def compute_mask(self, inputs, mask=None):
        return mask[0] if mask else None

    def get_config(self):
        return {
            **super().get_config(), "use_scale": self.use_scale, "score_mode": self.score_mode, "dropout": self.dropout,
            "seed": self.seed,
        }  # fmt: skip


class AdditiveAttention(Attention):
    """Bahdanau et al. 2015: `Attention` with the scores sum of scale * tanh(q + k); scale (d,) is a weight unless
    use_scale is False."""

    def __init__(self, use_scale=True, dropout=0.0, seed=None, **kwargs):
        super().__init__(use_scale, "dot", dropout, seed, **kwargs)

    def build(self, input_shape):
        self._check(input_shape)
        if self.use_scale:
            self.scale = self.add_weight((input_shape[0][-1],), "glorot_uniform", name="scale")

    def _scores(self, q, k):
        return self._sums(q, k, self.scale, None)

    def get_config(self):
        config = super().get_config()
        del config["score_mode"]
        return config
