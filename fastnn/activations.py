"""Activation functions, under Keras' names: each takes and gives a tensor or an array of one shape.

`get` turns what layers accept (a name, a function, None) into a function.
"""

import numpy as np

from fastnn import ops
from fastnn.graph import Tensor
from fastnn.ops.core import normalize_axis, shape_of
from fastnn.saving import registry

__all__ = ["deserialize", "get", "serialize"]


def _elementary(name, formula, doc):
    """An activation that is the operation `formula`, kept apart from it so that names and modules are this file's."""

    def f(x):
        return formula(x)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = doc
    return f


sigmoid = _elementary("sigmoid", ops.sigmoid, "1 / (1 + e^-x).")
tanh = _elementary("tanh", ops.tanh, "Hyperbolic tangent.")
relu6 = _elementary("relu6", ops.relu6, "min(max(x, 0), 6).")
selu = _elementary("selu", ops.selu, "Scaled exponential linear unit, Klambauer et al. 2017.")
silu = _elementary("silu", ops.silu, "x * sigmoid(x), also called Swish, Ramachandran et al. 2017.")
softplus = _elementary("softplus", ops.softplus, "log(1 + e^x).")
softsign = _elementary("softsign", ops.softsign, "x / (1 + |x|).")
hard_sigmoid = _elementary("hard_sigmoid", ops.hard_sigmoid, "relu6(x + 3) / 6.")
hard_silu = _elementary("hard_silu", ops.hard_silu, "x * relu6(x + 3) / 6, Howard et al. 2019.")
hard_tanh = _elementary("hard_tanh", ops.hard_tanh, "x cut to [-1, 1].")
exponential = _elementary("exponential", ops.exp, "e^x.")
mish = _elementary("mish", ops.mish, "x * tanh(softplus(x)), Misra 2019.")
log_sigmoid = _elementary("log_sigmoid", ops.log_sigmoid, "log(1 / (1 + e^-x)).")
tanh_shrink = _elementary("tanh_shrink", ops.tanh_shrink, "x - tanh(x).")


def linear(x):
    """x as it is."""
    return x


def relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    """max(x, 0), with options: x below `threshold` gives negative_slope * (x - threshold), and nothing exceeds
    `max_value`."""
    if threshold == 0 and max_value is None:
        return ops.relu(x) if negative_slope == 0 else ops.leaky_relu(x, negative_slope)
    if threshold == 0 and max_value == 6 and negative_slope == 0:
        return ops.relu6(x)
    y = ops.relu(x) if threshold == 0 else ops.threshold(x, threshold, 0.0)
    if max_value is not None:
        y = ops.clip(y, 0.0, max_value)
    if negative_slope != 0:
        y = ops.subtract(y, ops.multiply(ops.relu(ops.affine(x, -1.0, threshold)), negative_slope))
    return y


def leaky_relu(x, negative_slope=0.2):
    """x where positive, else negative_slope * x."""
    return ops.leaky_relu(x, negative_slope)


def elu(x, alpha=1.0):
    """x where positive, else alpha * (e^x - 1), Clevert et al. 2015."""
    return ops.elu(x, alpha)


def celu(x, alpha=1.0):
    """x where positive, else alpha * (e^(x / alpha) - 1), Barron 2017."""
    return ops.celu(x, alpha)


def gelu(x, approximate=False):
    """x * Phi(x), Hendrycks and Gimpel 2016; exact, or with `approximate` by tanh."""
    return ops.gelu(x, approximate)


def glu(x, axis=-1):
    """a * sigmoid(b), a and b the halves of x along `axis`, Dauphin et al. 2016."""
    axis = normalize_axis(axis, len(shape_of(x)), "glu")
    n = shape_of(x)[axis]
    if n is None or n % 2:
        raise ValueError(f"glu: axis {axis} of x must have an even extent, got shape {tuple(shape_of(x))}")
    a, b = ops.split(x, 2, axis)
    return ops.multiply(a, ops.sigmoid(b))


def softmax(x, axis=-1):
    """e^x / sum(e^x) along `axis`."""
    return ops.softmax(x, axis)


def log_softmax(x, axis=-1):
    """x - log(sum(e^x)) along `axis`."""
    return ops.log_softmax(x, axis)


def hard_shrink(x, threshold=0.5):
    """x where |x| > threshold, else 0."""
    return ops.hard_shrink(x, threshold)


def soft_shrink(x, threshold=0.5):
    """x moved towards 0 by `threshold`, 0 within it."""
    return ops.soft_shrink(x, threshold)


def threshold(x, threshold, default_value):
    """x where x > threshold, else default_value."""
    return ops.threshold(x, threshold, default_value)


def squareplus(x, b=4):
    """(x + sqrt(x^2 + b)) / 2, Barron 2021."""
    return ops.squareplus(x, b)


def sparse_sigmoid(x):
    """(x + 1) / 2 cut to [0, 1], Blondel et al. 2019."""
    middle = ops.affine(x, 0.5, 0.5)
    return ops.where(ops.less_equal(x, -1.0), 0.0, ops.where(ops.greater_equal(x, 1.0), 1.0, middle))


def sparse_plus(x):
    """0 up to -1, (x + 1)^2 / 4 up to 1, x from there on: the integral of sparse_sigmoid."""
    middle = ops.clip(ops.affine(x, 0.5, 0.5), 0.0, 1.0)
    return ops.add(ops.square(middle), ops.relu(ops.affine(x, 1.0, -1.0)))


def sparsemax(x, axis=-1):
    """max(x - tau, 0) with tau such that the sum along `axis` is 1, Martins and Astudillo 2016.

    Kept are the k elements x_j with sum_i max(x_i - x_j, 0) < 1; tau is (their sum - 1) / k. This takes n^2 values
    for n classes, and no sorting.
    """
    ndim = len(shape_of(x))
    axis = normalize_axis(axis, ndim, "sparsemax")
    if axis != ndim - 1:
        return ops.swapaxes(sparsemax(ops.swapaxes(x, axis, ndim - 1)), axis, ndim - 1)
    distance = ops.relu(ops.subtract(ops.expand_dims(x, -2), ops.expand_dims(x, -1)))  # [..., j, i] = x_i - x_j
    kept = ops.less(ops.sum(distance, axis=-1), 1.0)
    k = ops.sum(kept, axis=-1, keepdims=True)
    tau = ops.divide(ops.affine(ops.sum(ops.multiply(x, kept), axis=-1, keepdims=True), 1.0, -1.0), k)
    return ops.relu(ops.subtract(x, tau))


swish = silu
hard_swish = hard_silu

_FUNCTIONS = (
    celu, elu, exponential, gelu, glu, hard_shrink, hard_sigmoid, hard_silu, hard_tanh, leaky_relu, linear,
    log_sigmoid, log_softmax, mish, relu, relu6, selu, sigmoid, silu, soft_shrink, softmax, softplus, softsign,
    sparse_plus, sparse_sigmoid, sparsemax, squareplus, tanh, tanh_shrink, threshold,
)  # fmt: skip
_NAMES = {f.__name__: f for f in _FUNCTIONS} | {"swish": silu, "hard_swish": hard_silu}
__all__ += sorted(_NAMES)


def get(identifier):
    """The activation that a name, a config, a function or a layer stands for; `linear` for None."""
    if identifier is None:
        return linear
    if isinstance(identifier, (Tensor, np.ndarray)):
        raise TypeError(f"activation: expected a name or a function, got an array or tensor of {identifier.shape}")
    return registry.get("activation", identifier, _NAMES)


def serialize(activation):
    """An activation's name if it is one of fastnn's, else its config."""
    if _NAMES.get(getattr(activation, "__name__", None)) is activation:
        return activation.__name__
    return registry.serialize_keras_object(activation)


def deserialize(config, custom_objects=None):
    """The activation that `serialize` described."""
    return registry.deserialize_keras_object(config, custom_objects, module_objects=_NAMES)
