"""Variables: arrays that outlive a step (weights, moving statistics, metric state)."""

import numpy as np

from fastnn import graph


class Variable:
    """An array that layers, metrics and optimizers keep. `value` is a NumPy view of it: writing into the view
    changes the variable.

    A model gathers its variables into one flat block (see `fastnn.compiler.store`); `value` is a view of that block
    from then on.

    Args:
        initializer: array of the first values, or a callable (shape, dtype) -> array.
        shape: needed with a callable.
        dtype: "float32", "float64" or "int32"; None: the default float type.
        trainable: whether the optimizer changes it.
        name: shown in summaries and files.
    """

    __array_priority__ = 100
    __array_ufunc__ = None

    def __init__(self, initializer, shape=None, dtype=None, trainable=True, name="variable", *, regularizer=None,
                 constraint=None, learning_rate_factor=1.0):  # fmt: skip
        from fastnn import config

        if callable(initializer):
            if shape is None:
                raise ValueError(f"Variable {name!r}: a callable initializer needs `shape`")
            dtype = dtype or config.floatx()
            value = np.asarray(initializer(tuple(shape), dtype=dtype))
        else:
            value = np.asarray(initializer)
            if dtype is None:
                dtype = config.floatx() if value.dtype.kind in "fiub" else str(value.dtype)
            if shape is not None and tuple(shape) != value.shape:
                raise ValueError(f"Variable {name!r}: shape {tuple(shape)} was asked for, got values of {value.shape}")
        if dtype not in ("float32", "float64", "int32"):
            raise TypeError(f"Variable {name!r}: dtype must be float32, float64 or int32, got {dtype}")
        self.value = np.array(value, dtype=dtype, order="C")
        self.shape = self.value.shape
        self.dtype = dtype
        self.name = name
        self.path = name
        self._trainable = bool(trainable)
        self.regularizer = regularizer
        self.constraint = constraint
        self.learning_rate_factor = learning_rate_factor
        self.store = None  # the Store whose block `value` lies in

    @property
    def trainable(self):
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._trainable = bool(value)
        graph.touch()

    @property
    def ndim(self):
        return len(self.shape)

    def numpy(self):
        """A copy of the values."""
        return self.value.copy()

    def __array__(self, dtype=None, copy=None):
        return np.array(self.value, dtype=dtype, copy=True if copy is None else copy)

    def assign(self, value):
        """Sets all values; on a symbolic value, the step being traced will, after its gradients are made. A tensor of
        the batch sets the rows of its samples. Returns the variable."""
        trace = graph.current_trace()
        if isinstance(value, graph.Tensor):
            if trace is None:
                raise ValueError(f"{self.path}: a symbolic value can be assigned inside a traced call only")
            if value.shape != self.shape and not (value.batched and value.shape[1:] == self.shape[1:]):
                raise ValueError(f"{self.path}: cannot assign a value of shape {value.shape}, expected {self.shape}")
            trace.updates[self] = value
            return self
        value = np.asarray(value.value if isinstance(value, Variable) else value)
        if value.shape != self.shape:
            raise ValueError(f"{self.path}: cannot assign an array of shape {value.shape}, expected {self.shape}")
        self.value[...] = value
        return self

    def assign_add(self, value):
        return self.assign(self + value)

    def assign_sub(self, value):
        return self.assign(self - value)

    def __repr__(self):
        return f"<Variable {self.path} shape={self.shape} dtype={self.dtype} trainable={self.trainable}>"
