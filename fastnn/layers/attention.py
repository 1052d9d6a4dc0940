"""Attention: weighted means of values, the weights from how well queries fit keys."""

import math

import numpy as np

from fastnn import constraints, initializers, ops, regularizers
from fastnn.layers._check import positive, share
from fastnn.layers.core import random_stream
from fastnn.layers.layer import Layer
from fastnn.ops import nn
from fastnn.ops.core import apply, as_tensor, is_tensor
from fastnn.utils import checks

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
    `use_causal_mask`, and `return_attention_scores` for (output, scores (batch, heads, n, m)). There may be more
    dimensions between the batch and the features, see `attention_axes`; n and m are then one number an attended axis,
    and the others come before the heads.

    Weights: query_kernel (d, heads, key_dim), query_bias (heads, key_dim), the same of key, with `use_gate`
    gate_kernel (d, heads, value_dim) and gate_bias, those of value, output_kernel (heads, value_dim, d), output_bias
    (d,).

    Args:
        num_heads, key_dim, value_dim: heads, size of each head's queries and keys, and of its values (key_dim).
        dropout: of the softmax' results in training.
        use_bias: whether the biases are there.
        output_shape: size or sizes of the output's features, those of the query if None.
        attention_axes: axes that are attended over, all between batch and features if None. Along the others query and
            value are of one size, and each position minds its own.
        sliding_window: a query sees only keys less than this many positions before or after it.
        flash_attention: accepted for Keras' sake.
        use_gate: the heads' results times sigmoid(products of query with the gate's weights) (Qiu et al. 2025).
    """

    supports_masking = True

    def __init__(self, num_heads, key_dim, value_dim=None, dropout=0.0, use_bias=True, output_shape=None,
                 attention_axes=None, sliding_window=None, flash_attention=None, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, use_gate=False, seed=None, **kwargs):  # fmt: skip
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        where = "MultiHeadAttention"
        self.num_heads = positive(where, "num_heads", num_heads)
        self.key_dim = positive(where, "key_dim", key_dim)
        self.value_dim = self.key_dim if value_dim is None else positive(where, "value_dim", value_dim)
        self.dropout = share(where, "dropout", dropout)
        self.use_bias, self.use_gate = bool(use_bias), bool(use_gate)
        self.output_sizes = None
        if output_shape is not None:
            sizes = output_shape if isinstance(output_shape, (tuple, list)) else [output_shape]
            self.output_sizes = tuple(positive(where, "output_shape", size) for size in sizes)
        self.attention_axes = None
        if attention_axes is not None:
            axes = attention_axes if isinstance(attention_axes, (tuple, list)) else [attention_axes]
            if not axes or not all(isinstance(axis, int) for axis in axes):
                raise ValueError(f"{where}: attention_axes must be axes, a number or several, got {attention_axes!r}")
            self.attention_axes = tuple(axes)
        self.sliding_window = None if sliding_window is None else positive(where, "sliding_window", sliding_window)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.seed = checks.seed(type(self).__name__, seed)
        self.query_kernel = None

    def build(self, query_shape, value_shape=None, key_shape=None):
        """Makes the weights where the shapes of query and value are given; else the first call does."""
        if value_shape is not None and self.query_kernel is None:
            self._make_weights(*(s[-1] for s in (query_shape, key_shape or value_shape, value_shape)))

    def _make_weights(self, query, key, value):
        """The weights, from the sizes of the features of all three."""
        heads, out = self.num_heads, self.output_sizes or (query,)
        shapes = {"query": (query, heads, self.key_dim), "key": (key, heads, self.key_dim)}
        if self.use_gate:
            shapes["gate"] = (query, heads, self.value_dim)
        shapes |= {"value": (value, heads, self.value_dim), "output": (heads, self.value_dim, *out)}
        for role, shape in shapes.items():
            kernel = self.add_weight(
                shape, self.kernel_initializer, name=f"{role}_kernel", regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
            )  # fmt: skip
            setattr(self, f"{role}_kernel", kernel)
            bias = None
            if self.use_bias:
                bias = self.add_weight(
                    out if role == "output" else shape[1:], self.bias_initializer, name=f"{role}_bias",
                    regularizer=self.bias_regularizer, constraint=self.bias_constraint,
                )  # fmt: skip
            setattr(self, f"{role}_bias", bias)

    def call(self, query, value, key=None, query_mask=None, value_mask=None, key_mask=None, attention_mask=None,
             return_attention_scores=False, training=False, use_causal_mask=False):  # fmt: skip
        key = value if key is None else key
        shapes = [tuple(ops.shape(x)) for x in (query, key, value)]
        free, attended = self._axes(*shapes)
        features = tuple(s[-1] for s in shapes)
        if self.query_kernel is None:
            self._make_weights(*features)
        known = tuple(w.shape[0] for w in (self.query_kernel, self.key_kernel, self.value_kernel))
        if features != known:
            raise ValueError(
                f"MultiHeadAttention {self.name!r}: expected query, key and value of {known} features, got shapes "
                f"{shapes[0]}, {shapes[1]}, {shapes[2]}"
            )
        order = (0, *free, *attended)
        queries, keys = ([s[axis] for axis in attended] for s in shapes[:2])
        mask = self._mask(order, len(free), queries, keys, query_mask, (value_mask, key_mask), attention_mask,
                          use_causal_mask)  # fmt: skip
        q, k, v = (self._heads(x, role, order, len(free)) for x, role in ((query, "query"), (key, "key"),
                                                                         (value, "value")))  # fmt: skip
        scores = masked_softmax(ops.matmul(ops.multiply(q, self.key_dim**-0.5), ops.swapaxes(k, -2, -1)), mask)
        weights = scores
        if training and self.dropout:
            weights = apply(nn.Dropout(self.dropout, random_stream(self.seed)), scores)
        y = ops.matmul(weights, v)
        if self.use_gate:
            y = ops.multiply(y, ops.sigmoid(self._heads(query, "gate", order, len(free))))
        n, others = shapes[0][0], [shapes[0][axis] for axis in free]
        y = ops.reshape(ops.swapaxes(y, -3, -2), (n, *others, *queries, self.num_heads * self.value_dim))
        y = self._project(y, "output", (self.num_heads * self.value_dim, -1))
        y = _permuted(y, [order.index(axis) for axis in range(len(order))])
        if self.output_sizes is not None and len(self.output_sizes) > 1:
            y = ops.reshape(y, (*shapes[0][:-1], *self.output_sizes))
        if not return_attention_scores:
            return y
        return y, ops.reshape(scores, (n, *others, self.num_heads, *queries, *keys))

    def _axes(self, query, key, value):
        """(axes that are not attended over, those that are), from the shapes."""
        rank = len(query)
        axes = range(1, rank - 1) if self.attention_axes is None else self.attention_axes
        axes = tuple(axis + rank if axis < 0 else axis for axis in axes)
        if not axes or len(set(axes)) < len(axes) or not all(0 < axis < rank - 1 for axis in axes):
            raise ValueError(
                f"MultiHeadAttention {self.name!r}: expected query (batch, n, d) and attention_axes between its first "
                f"and last dimensions, got shape {query} and attention_axes={self.attention_axes}"
            )
        free = tuple(axis for axis in range(1, rank - 1) if axis not in axes)
        if (
            len(value) != rank
            or key[:-1] != value[:-1]
            or query[0] != value[0]
            or any(query[axis] != value[axis] for axis in free)
        ):
            raise ValueError(
                f"MultiHeadAttention {self.name!r}: expected query (batch, n, d), value (batch, m, e) and key "
                f"(batch, m, f), got shapes {query}, {value}, {key}"
            )
        if 0 in query[1:] or 0 in value[1:] or key[-1] == 0:
            raise ValueError(
                f"MultiHeadAttention {self.name!r}: query, key and value must have steps and features, got shapes "
                f"{query}, {key}, {value}"
            )
        return free, axes

    def _project(self, x, role, shape):
        """x times the weights of a role as a matrix of `shape`, plus its bias."""
        flat = [
            None if w is None else ops.reshape(as_tensor(w, x.dtype) if is_tensor(x) else w.value, s)
            for w, s in ((getattr(self, f"{role}_kernel"), shape), (getattr(self, f"{role}_bias"), (-1,)))
        ]
        y = ops.matmul(x, flat[0])
        return y if flat[1] is None else ops.add(y, flat[1])

    def _heads(self, x, role, order, free):
        """(batch, ..., features) as (batch, heads, steps, size of the role), with the `free` first axes of `order`
        behind the batch joined to one, if there are any, before the heads."""
        y = _permuted(self._project(x, role, (ops.shape(x)[-1], -1)), order)
        n, *sizes, _ = ops.shape(y)
        return ops.swapaxes(ops.reshape(y, (n, *_joined(sizes, free), self.num_heads, -1)), -3, -2)

    def _mask(self, order, free, queries, keys, query_mask, key_masks, attention_mask, use_causal_mask):
        """(batch or 1, heads or 1, queries, keys), with a dimension for free axes as in `_heads`; or None."""
        n, m = math.prod(queries), math.prod(keys)
        mask = None
        if attention_mask is not None:
            shape = tuple(ops.shape(attention_mask))
            lead, inner = shape[: -2 * len(queries)], shape[-2 * len(queries) :]
            if inner != (*queries, *keys) or len(lead) not in (0, 1, 1 + (free or 1)):
                raise ValueError(
                    f"MultiHeadAttention {self.name!r}: attention_mask must be (batch, n, m), (n, m) or (batch, heads, "
                    f"n, m) for {n} queries and {m} keys, got shape {shape}"
                )
            sizes = (lead[0] if lead else 1, math.prod(lead[1:]), *([1] if free else []), n, m)
            mask = ops.reshape(ops.cast(attention_mask, self.dtype), sizes)
        for one, axes in ((query_mask, (-2, -1)), *((one, (-2, -2)) for one in key_masks)):
            if one is not None:
                if len(ops.shape(one)) != len(order):
                    raise ValueError(
                        f"MultiHeadAttention {self.name!r}: masks of query, value and key need a dimension for each "
                        f"but the last of theirs, got shape {tuple(ops.shape(one))}"
                    )
                one = _permuted(ops.cast(one, self.dtype), order)
                first, *sizes = ops.shape(one)
                one = ops.reshape(one, (first, *_joined(sizes, free)))
                for axis in axes:
                    one = ops.expand_dims(one, axis)
                mask = both(mask, one)
        for wanted, seen in ((use_causal_mask, causal), (self.sliding_window, self._near)):
            if wanted:
                mask = both(mask, seen(n, m, self.dtype)[None])
        return mask

    def _near(self, queries, keys, dtype):
        """(1, queries, keys): 1 where the sliding window lets a query see a key."""
        apart = np.abs(np.arange(queries)[:, None] - np.arange(keys))
        return (apart < self.sliding_window).astype(dtype)[None]

    def compute_output_shape(self, query_shape, value_shape=None, key_shape=None):
        return (*query_shape[:-1], *(self.output_sizes or query_shape[-1:]))

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "output_shape": self.output_sizes,
            "attention_axes": self.attention_axes,
            "sliding_window": self.sliding_window,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "use_gate": self.use_gate,
            "seed": self.seed,
        }


def _permuted(x, order):
    """x with its first axes in another order."""
    rest = range(len(order), len(ops.shape(x)))
    return x if list(order) == sorted(order) else ops.transpose(x, (*order, *rest))


def _joined(sizes, free):
    """Sizes of the axes between batch and features, the `free` first ones made one if there are any, and the others."""
    return (*([math.prod(sizes[:free])] if free else []), math.prod(sizes[free:]))


class Attention(Layer):
    """Luong et al. 2015: softmax of the scores q k^T times the values. Called on [query (batch, n, d), value (batch, m,
    e)] or [query, value, key (batch, m, d)], it gives (batch, n, e), and with `return_attention_scores` the softmax'
    results (batch, n, m) too. `mask` is [that of query (batch, n), that of value (batch, m)]; with `use_causal_mask` a
    query sees no value behind its own position.

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
        self.dropout = share(type(self).__name__, "dropout", dropout)
        self.seed = checks.seed(type(self).__name__, seed)
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
        query, value, key = (*shapes, shapes[1])[:3]
        if query[-1] != key[-1] or key[1] != value[1]:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: query and key must have as many features, key and value as many "
                f"steps, got query {tuple(query)}, value {tuple(value)}, key {tuple(key)}"
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
