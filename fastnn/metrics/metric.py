"""The base class of metrics: state in variables, changed by every batch, and a result computed from it."""

import numpy as np

from fastnn import config, graph, initializers
from fastnn.graph import Tensor
from fastnn.layers.layer import auto_name, snake_case
from fastnn.losses import as_real, is_symbolic, match_ranks, same_shape, weights_for
from fastnn.variables import Variable

__all__ = ["Metric", "as_real", "is_symbolic", "match_ranks", "ratio", "same_shape", "weights_for"]


class Metric:
    """Base class of metrics. A subclass makes its variables with `add_variable` in `__init__`, changes them with
    `fastnn.ops` and `Variable.assign` or `assign_add` in `update_state`, and computes a number in `result`.

    `update_state` runs on arrays at once; within a training step it is traced once and then runs compiled. `result`
    is plain NumPy.

    Args:
        dtype: float type of the variables; the default one if None.
        name: shown in logs.
    """

    def __init__(self, dtype=None, name=None):
        self._variables = []
        self._metrics = []
        self.name = name or auto_name(snake_case(type(self).__name__))
        self.dtype = config.floatx() if dtype is None else config.standardize_dtype(dtype, f"{self.name}: dtype")

    def __setattr__(self, name, value):
        if isinstance(value, (Variable, Metric)):
            if "_variables" not in vars(self):
                raise RuntimeError(f"{type(self).__name__}: call super().__init__() before setting {name!r}")
            held = self._variables if isinstance(value, Variable) else self._metrics
            if not any(value is other for other in held):
                held.append(value)
        super().__setattr__(name, value)

    def add_variable(self, shape=(), initializer="zeros", dtype=None, aggregation="sum", name=None):
        """A variable of the metric's state. `aggregation` is there for Keras' sake: one process, nothing to join."""
        if "_variables" not in vars(self):
            raise RuntimeError(f"{type(self).__name__}: call super().__init__() before add_variable()")
        initializer = initializers.get("zeros" if initializer is None else initializer)
        variable = Variable(initializer, tuple(shape), dtype or self.dtype, False, name or "variable")
        variable.path = f"{self.name}/{variable.name}"
        self._variables.append(variable)
        return variable

    def add_weight(self, shape=(), initializer=None, dtype=None, name=None):
        """See `add_variable`."""
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self):
        """The state, that of metrics held as attributes included."""
        return self._variables + [v for metric in self._metrics for v in metric.variables]

    def update_state(self, *args, **kwargs):
        """Takes in a batch."""
        raise NotImplementedError(f"{type(self).__name__} must implement update_state()")

    def result(self):
        """The metric's value over all batches since the last `reset_state`."""
        raise NotImplementedError(f"{type(self).__name__} must implement result()")

    def reset_state(self):
        """Back to the state before the first batch: zeros."""
        for variable in self.variables:
            variable.value[...] = 0

    def __call__(self, *args, **kwargs):
        """`update_state`, then `result`."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}>"


def fit(variable, value):
    """A variable takes the float type of the graph that it is used in."""
    if isinstance(value, Tensor) and value.dtype != variable.dtype:
        variable.value = variable.value.astype(value.dtype)
        variable.dtype = value.dtype
        graph.touch()


def accumulate(variable, value):
    """variable += value."""
    fit(variable, value)
    variable.assign_add(value)


def ratio(a, b):
    """a / b in double precision, 0 where b is 0; a float or an array."""
    if isinstance(a, float) and isinstance(b, float):  # np.float64 is one: most metrics, after every epoch
        return float(a) / float(b) if b else 0.0
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return plain(np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b != 0))


def plain(x):
    """A float for a number, else the array."""
    return float(x) if np.ndim(x) == 0 else np.asarray(x)
