"""Layers that make one tensor of several."""

from functools import reduce

from fastnn import ops
from fastnn.layers.layer import Layer
from fastnn.ops.core import normalize_axis


class Merge(Layer):
    """Base class: `merge(inputs)` of a list of at least two tensors, broadcast to each other. The steps that count for
    any of them count for the result."""

    supports_masking = True

    def compute_mask(self, inputs, mask=None):
        return None if mask is None or any(m is None for m in mask) else reduce(ops.maximum, mask)

    def call(self, inputs):
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ValueError(f"{type(self).__name__} {self.name!r}: must be called on a list of at least two tensors")
        return self.merge(list(inputs))

    def merge(self, inputs):
        raise NotImplementedError

    def get_config(self):
        return super().get_config()


class Add(Merge):
    """The sum."""

    def merge(self, inputs):
        return reduce(ops.add, inputs)


class Subtract(Merge):
    """The first less the second."""

    def merge(self, inputs):
        if len(inputs) != 2:
            raise ValueError(f"Subtract {self.name!r}: must be called on two tensors, got {len(inputs)}")
        return ops.subtract(*inputs)


class Multiply(Merge):
    """The product, element by element."""

    def merge(self, inputs):
        return reduce(ops.multiply, inputs)


class Average(Merge):
    """The mean."""

    def merge(self, inputs):
        return reduce(ops.add, inputs) * (1.0 / len(inputs))


class Maximum(Merge):
    """The largest."""

    def merge(self, inputs):
        return reduce(ops.maximum, inputs)


class Minimum(Merge):
    """The smallest."""

    def merge(self, inputs):
        return reduce(ops.minimum, inputs)


class Concatenate(Merge):
    """One behind the other along `axis`."""

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def merge(self, inputs):
        axis = normalize_axis(self.axis, ops.ndim(inputs[0]), f"Concatenate {self.name!r}")
        if axis == 0:
            raise ValueError(f"Concatenate {self.name!r}: axis 0 is the batch")
        return ops.concatenate(inputs, axis)

    def compute_mask(self, inputs, mask=None):
        ndim = ops.ndim(inputs[0])
        if mask is None or ndim < 3 or self.axis % ndim != 1 or all(m is None for m in mask):
            return super().compute_mask(inputs, mask)
        # along the steps: an input without a mask has none that does not count
        whole = [ops.ones_like(ops.getitem(x, (slice(None), slice(None), *(0,) * (ops.ndim(x) - 2)))) for x in inputs]
        return ops.concatenate([w if m is None else m for w, m in zip(whole, mask, strict=True)], axis=1)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}


class Dot(Merge):
    """The product of two tensors summed over one axis of each; `normalize` makes it the cosine."""

    def __init__(self, axes, normalize=False, **kwargs):
        super().__init__(**kwargs)
        self.axes = axes
        self.normalize = normalize

    def merge(self, inputs):
        if len(inputs) != 2:
            raise ValueError(f"Dot {self.name!r}: must be called on two tensors, got {len(inputs)}")
        a, b = inputs
        axes = (self.axes, self.axes) if isinstance(self.axes, int) else tuple(self.axes)
        i, j = (normalize_axis(axis, ops.ndim(x), f"Dot {self.name!r}") for axis, x in zip(axes, inputs, strict=True))
        if ops.shape(a)[i] != ops.shape(b)[j]:
            raise ValueError(f"Dot {self.name!r}: shapes {ops.shape(a)} and {ops.shape(b)} differ along axes {axes}")
        if self.normalize:
            a = a / ops.sqrt(ops.maximum(ops.sum(ops.square(a), axis=i, keepdims=True), 1e-12))
            b = b / ops.sqrt(ops.maximum(ops.sum(ops.square(b), axis=j, keepdims=True), 1e-12))
        if ops.ndim(a) == 2 and ops.ndim(b) == 2:
            return ops.sum(a * b if not hasattr(a, "dtype") else ops.multiply(a, b), axis=-1, keepdims=True)
        a = ops.swapaxes(a, i, ops.ndim(a) - 1)
        b = ops.swapaxes(b, j, ops.ndim(b) - 2)
        return ops.matmul(a, b)

    def compute_mask(self, inputs, mask=None):
        return None

    def get_config(self):
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def _function(cls):
    def f(inputs, **kwargs):
        return cls(**kwargs)(inputs)

    f.__name__ = cls.__name__.lower()
    f.__doc__ = f"{cls.__name__}(...) called on a list of tensors."
    return f


add, subtract, multiply, average = _function(Add), _function(Subtract), _function(Multiply), _function(Average)
maximum, minimum, concatenate = _function(Maximum), _function(Minimum), _function(Concatenate)


def dot(inputs, axes=-1, **kwargs):
    """Dot(axes, ...) called on two tensors."""
    return Dot(axes, **kwargs)(inputs)
