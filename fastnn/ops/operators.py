"""Python's operators on tensors and variables: each is the operation of its name."""

from fastnn.graph import Tensor
from fastnn.ops import elementwise as ew
from fastnn.ops import linear, movement
from fastnn.variables import Variable


def _swap(f):
    return lambda self, other: f(other, self)


_OPERATORS = {
    "__add__": ew.add, "__radd__": _swap(ew.add), "__sub__": ew.subtract, "__rsub__": _swap(ew.subtract),
    "__mul__": ew.multiply, "__rmul__": _swap(ew.multiply), "__truediv__": ew.divide, "__rtruediv__": _swap(ew.divide),
    "__pow__": ew.power, "__rpow__": _swap(ew.power), "__neg__": ew.negative, "__abs__": ew.absolute,
    "__matmul__": linear.matmul, "__rmatmul__": _swap(linear.matmul), "__floordiv__": ew.floor_divide,
    "__gt__": ew.greater, "__ge__": ew.greater_equal, "__lt__": ew.less, "__le__": ew.less_equal,
    "__getitem__": movement.getitem,
}  # fmt: skip

for _cls in (Tensor, Variable):
    for _name, _function in _OPERATORS.items():
        setattr(_cls, _name, (lambda f: lambda self, *args: f(self, *args))(_function))
