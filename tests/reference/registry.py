"""Kernels of the interpreter: their table, and what each is given."""

import numpy as np

KERNELS = {}


def kernel(*names):
    def add(function):
        for name in names:
            KERNELS[name] = function
        return function

    return add


class Call:
    """What a kernel is given: p operands (flat float64 or int32 arrays, None where unused), i ints, f reals, rows
    (leading rows, those of all samples), and the step."""

    def __init__(self, name, p, i, f, rows, step):
        self.name, self.p, self.i, self.f, self.rows, self.step = name, p, i, f, rows, step

    def int(self, j):
        return self.i[j] if j < len(self.i) else 0

    def real(self, j):
        return self.f[j] if j < len(self.f) else 0.0

    def arg(self, j):
        return self.p[j] if j < len(self.p) else None

    def matrix(self, j, columns=None):
        """Operand j as (rows, columns)."""
        columns = self.i[1] if columns is None else columns
        return None if self.arg(j) is None else self.p[j][: self.rows * columns].reshape(self.rows, columns)

    def vector(self, j):
        return None if self.arg(j) is None else self.p[j][: self.rows]

    def put(self, j, value):
        """Writes operand j from its start on."""
        value = np.asarray(value)
        self.p[j][: value.size] = value.ravel()


class Step:
    """The step that runs: rows of this batch, index, seed, the optimizer's row, source rows."""

    def __init__(self, rows, index=0, seed=0, hyper=None, order=None, first=0):
        self.rows, self.index, self.seed, self.hyper, self.order, self.first = rows, index, seed, hyper, order, first

    def sources(self):
        return self.first + np.arange(self.rows) if self.order is None else np.asarray(self.order[: self.rows])
