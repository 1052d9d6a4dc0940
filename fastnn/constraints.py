"""What a weight is mapped to after each update: Keras' constraints, written with `fastnn.ops`.

    norms = sqrt(sum over axis of w^2)

`axis` is 0 for the weight vectors of a Dense kernel (in, out), [0, 1, 2] for the filters of a kernel (kh, kw, in, out).
"""

from fastnn import ops
from fastnn.saving import registry
from fastnn.utils import checks

EPSILON = 1e-7


class Constraint:
    """Base class: `constraint(w)` returns the projected weight, of the same shape."""

    def __call__(self, w):
        raise NotImplementedError(f"{type(self).__name__} must implement __call__(w)")

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def _bound(where, name, value):
    return checks.number(where, name, value, least=0, finite=False)


def _norms(w, axis):
    return ops.sqrt(ops.sum(ops.square(w), axis=axis, keepdims=True))


class MaxNorm(Constraint):
    """w * min(norms, max_value) / norms.

    Args:
        max_value: the largest norm, not negative; infinite for none.
        axis: an integer, a list of them, or None for the norm of all of w.

    What is no number is a TypeError, and a value or an axis that cannot be a ValueError, here and below.
    """

    def __init__(self, max_value=2, axis=0):
        self.max_value = _bound("MaxNorm", "max_value", max_value)
        self.axis = checks.axes("MaxNorm", "axis", axis)

    def __call__(self, w):
        norms = _norms(w, self.axis)
        return w * (ops.minimum(norms, self.max_value) / (norms + EPSILON))

    def get_config(self):
        return {"max_value": self.max_value, "axis": self.axis}


class NonNeg(Constraint):
    """max(w, 0): negative weights become 0."""

    def __call__(self, w):
        return ops.maximum(w, 0.0)


class UnitNorm(Constraint):
    """w / norms.

    Args:
        axis: as for `MaxNorm`.
    """

    def __init__(self, axis=0):
        self.axis = checks.axes("UnitNorm", "axis", axis)

    def __call__(self, w):
        return w / (_norms(w, self.axis) + EPSILON)

    def get_config(self):
        return {"axis": self.axis}


class MinMaxNorm(Constraint):
    """w * (rate * clip(norms, min_value, max_value) + (1 - rate) * norms) / norms.

    Args:
        min_value, max_value: bounds of the norm, neither negative nor in the wrong order (ValueError).
        rate: in [0, 1]; 1 is strict, less moves norms only part of the way into the bounds.
        axis: as for `MaxNorm`.
    """

    def __init__(self, min_value=0.0, max_value=1.0, rate=1.0, axis=0):
        self.min_value = _bound("MinMaxNorm", "min_value", min_value)
        self.max_value = _bound("MinMaxNorm", "max_value", max_value)
        self.rate = checks.number("MinMaxNorm", "rate", rate, least=0, most=1)
        if min_value > max_value:
            raise ValueError(f"MinMaxNorm: min_value must not exceed max_value, got {min_value} and {max_value}")
        self.axis = checks.axes("MinMaxNorm", "axis", axis)

    def __call__(self, w):
        norms = _norms(w, self.axis)
        clipped = ops.minimum(ops.maximum(norms, self.min_value), self.max_value)
        wanted = clipped * self.rate + norms * (1.0 - self.rate)
        return w * (wanted / (norms + EPSILON))

    def get_config(self):
        return {"min_value": self.min_value, "max_value": self.max_value, "rate": self.rate, "axis": self.axis}


CLASSES = (MaxNorm, NonNeg, UnitNorm, MinMaxNorm)
NAMES = {**registry.names_of(CLASSES), "nonneg": NonNeg, "maxnorm": MaxNorm, "unitnorm": UnitNorm}


def get(identifier):
    """The constraint that `identifier` means: None, a name, a config, a class or a callable."""
    return registry.get("constraint", identifier, NAMES)


def serialize(constraint):
    """The config of a constraint, fit for JSON: what `deserialize` and `get` make an equal one from.

    Args:
        constraint: a `Constraint`, or a function registered with `register_keras_serializable`; None stays None.
    """
    return registry.serialize_keras_object(constraint)


def deserialize(config, custom_objects=None):
    """The constraint that a name or a config describes.

    Args:
        config: what `serialize` gave, or a name, such as "max_norm".
        custom_objects: {name: class} of constraints of one's own.

    A name that is not known is a ValueError, which lists those that are.
    """
    return registry.deserialize_keras_object(config, custom_objects=custom_objects, module_objects=NAMES)


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm
