"""A compiled step, executed a second time in float64 NumPy.

`Interpreter` walks the records of a plan (`Plan.records`) beside the engine: each kernel is a small function in the
module of its family, registered under its name, which reads and writes flat arrays of the interpreter's own memory.
Memory is a set of regions: one for each value of the plan, and one for each array that records point into (the store,
its gradients, optimizer slots); an operand is the part of a region from its first element on. `words` is training of
word vectors, which has no plan of layers.
"""

from . import convolution, matmul, movement, normalization, optimizers, randomness, reductions  # fill the table
from .elementwise import UNARY
from .interpreter import Interpreter, check_step
from .losses import LOSSES
from .registry import Call

__all__ = [
    "LOSSES", "UNARY", "Call", "Interpreter", "check_step", "convolution", "matmul", "movement", "normalization",
    "optimizers", "randomness", "reductions",
]  # fmt: skip
