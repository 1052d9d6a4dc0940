"""Penalties on weights or activations that are added to the loss: Keras' regularizers.

Each is a function of one tensor that returns a scalar, written with `fastnn.ops`: on symbolic tensors it joins the
graph and is differentiated with it, on NumPy arrays it computes at once.
"""

import numpy as np

from fastnn import ops
from fastnn.saving import registry
from fastnn.utils import checks


class Regularizer:
    """Base class: `regularizer(x)` returns the penalty, a scalar."""

    def __call__(self, x):
        return 0.0

    def get_config(self):
        raise NotImplementedError(f"{type(self).__name__} must implement get_config() to be saved")

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class L1L2(Regularizer):
    """l1 * sum |x| + l2 * sum x^2.

    Args:
        l1, l2: the factors, finite and not negative; None is 0.

    Another number is a ValueError, and what is no number a TypeError, here and below.
    """

    def __init__(self, l1=0.0, l2=0.0):
        self.l1 = checks.number(type(self).__name__, "l1", 0.0 if l1 is None else l1, least=0)
        self.l2 = checks.number(type(self).__name__, "l2", 0.0 if l2 is None else l2, least=0)

    def __call__(self, x):
        terms = []
        if self.l1 or not self.l2:  # factors of 0 give a tensor too
            terms.append(ops.sum(ops.abs(x)) * self.l1)
        if self.l2:
            terms.append(ops.sum(ops.square(x)) * self.l2)
        return sum(terms[1:], start=terms[0])

    def get_config(self):
        return {"l1": self.l1, "l2": self.l2}


class L1(Regularizer):
    """l1 * sum |x|.

    Args:
        l1: the factor, finite and not negative; None is 0.01.
    """

    def __init__(self, l1=0.01):
        self.l1 = checks.number("L1", "l1", 0.01 if l1 is None else l1, least=0)

    def __call__(self, x):
        return ops.sum(ops.abs(x)) * self.l1

    def get_config(self):
        return {"l1": self.l1}


class L2(Regularizer):
    """l2 * sum x^2 (no factor 1/2).

    Args:
        l2: the factor, finite and not negative; None is 0.01.
    """

    def __init__(self, l2=0.01):
        self.l2 = checks.number("L2", "l2", 0.01 if l2 is None else l2, least=0)

    def __call__(self, x):
        return ops.sum(ops.square(x)) * self.l2

    def get_config(self):
        return {"l2": self.l2}


class Lp(Regularizer):
    """factor * sum |x|^p for p >= 1: between and beyond L1 and L2 ("bridge" penalties, Frank & Friedman 1993).
    fastnn's own.

    Args:
        p: the power, at least 1.
        factor: finite and not negative.
    """

    def __init__(self, p=1.5, factor=0.01):
        self.factor = checks.number("Lp", "factor", factor, least=0)
        self.p = checks.number("Lp", "p", p, least=1)  # below 1 the slope at 0 is infinite

    def __call__(self, x):
        if self.p == 1:
            return ops.sum(ops.abs(x)) * self.factor
        if self.p == 2:
            return ops.sum(ops.square(x)) * self.factor
        return ops.sum(ops.power(ops.abs(x), self.p)) * self.factor

    def get_config(self):
        return {"p": self.p, "factor": self.factor}


class OrthogonalRegularizer(Regularizer):
    """factor times the mean absolute cosine between different rows or columns of a matrix. Called with anything but
    a matrix it raises ValueError.

    Args:
        factor: finite and not negative.
        mode: "rows" or "columns".
    """

    def __init__(self, factor=0.01, mode="rows"):
        self.factor = checks.number("OrthogonalRegularizer", "factor", factor, least=0)
        if mode not in ("rows", "columns"):
            raise ValueError(f"OrthogonalRegularizer: mode must be 'rows' or 'columns', got {mode!r}")
        self.mode = mode

    def __call__(self, x):
        if len(x.shape) != 2:
            raise ValueError(f"OrthogonalRegularizer: input must have 2 dimensions, got shape {tuple(x.shape)}")
        size = x.shape[0 if self.mode == "rows" else 1]
        if size < 2:
            return 0.0  # no pair of different vectors
        vectors = x if self.mode == "rows" else ops.transpose(x)
        squares = ops.sum(ops.square(vectors), axis=1, keepdims=True)
        vectors = vectors / ops.sqrt(ops.maximum(squares, 1e-12))
        cosines = ops.matmul(vectors, ops.transpose(vectors)) * (1.0 - np.eye(size, dtype=np.dtype(x.dtype)))
        return ops.sum(ops.abs(cosines)) * (self.factor / (size * (size - 1.0)))

    def get_config(self):
        return {"factor": self.factor, "mode": self.mode}


CLASSES = (L1, L2, L1L2, Lp, OrthogonalRegularizer)
NAMES = {**registry.names_of(CLASSES), "l1_l2": L1L2, "L1L2": L1L2}
# "l1_l2" by name is not the class's default of no penalty.
DEFAULTS = {name: {"l1": 0.01, "l2": 0.01} for name in ("l1l2", "l1_l2", "L1L2")}


def get(identifier):
    """The regularizer that `identifier` means: None, a name, a config, a class or a callable."""
    if isinstance(identifier, str) and identifier in DEFAULTS:
        return L1L2(**DEFAULTS[identifier])
    return registry.get("regularizer", identifier, NAMES)


def serialize(regularizer):
    """The config of a regularizer, fit for JSON: what `deserialize` and `get` make an equal one from.

    Args:
        regularizer: a `Regularizer`, or a function registered with `register_keras_serializable`; None stays None.
    """
    return registry.serialize_keras_object(regularizer)


def deserialize(config, custom_objects=None):
    """The regularizer that a name or a config describes.

    Args:
        config: what `serialize` gave, or a name, such as "l2".
        custom_objects: {name: class} of regularizers of one's own.

    A name that is not known is a ValueError, which lists those that are.
    """
    return registry.deserialize_keras_object(config, custom_objects=custom_objects, module_objects=NAMES)


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer
