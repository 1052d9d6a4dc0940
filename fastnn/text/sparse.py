"""A sparse matrix in compressed rows: as much as PMI and SVD need."""

import numpy as np

from fastnn import _core


class CSRMatrix:
    """Compressed rows: row r holds values[start[r]:start[r + 1]] in columns column[start[r]:start[r + 1]], ascending.

    start (rows + 1) int64, column int32, values float32 or float64, shape (rows, columns).
    """

    def __init__(self, start, column, values, shape):
        start, column, values = np.asarray(start, np.int64), np.asarray(column, np.int32), np.asarray(values)
        rows, columns = (int(n) for n in shape)
        if values.dtype not in (np.float32, np.float64):
            raise TypeError(f"CSRMatrix: values must be float32 or float64, got {values.dtype}")
        if start.shape != (rows + 1,) or column.ndim != 1 or column.shape != values.shape:
            raise ValueError(
                f"CSRMatrix: for shape {(rows, columns)} start must have {rows + 1} entries, and column and values one "
                f"length, got shapes {start.shape}, {column.shape}, {values.shape}"
            )
        if start[0] != 0 or start[-1] != len(values) or (np.diff(start) < 0).any():
            raise ValueError(f"CSRMatrix: start must rise from 0 to {len(values)}")
        if len(column) and (column.min() < 0 or column.max() >= columns):
            raise ValueError(f"CSRMatrix: columns must be in 0..{columns - 1}, got {column.min()} to {column.max()}")
        self.start, self.column, self.values = (np.ascontiguousarray(x) for x in (start, column, values))
        self.shape = (rows, columns)

    @classmethod
    def from_entries(cls, row, column, values, shape):
        """From entries in any order; those at one place are added up."""
        rows, columns = (int(n) for n in shape)
        row, column, values = np.asarray(row, np.int64), np.asarray(column, np.int64), np.asarray(values)
        for name, x, n in (("rows", row, rows), ("columns", column, columns)):
            if len(x) and (x.min() < 0 or x.max() >= n):
                raise ValueError(f"CSRMatrix: {name} must be in 0..{n - 1}, got {x.min()} to {x.max()}")
        key, values = add_equal(row * columns + column, values)
        start = np.searchsorted(key, np.arange(rows + 1) * columns)
        return cls(start, (key % max(columns, 1)).astype(np.int32), values, shape)

    @property
    def nnz(self):
        return len(self.values)

    @property
    def row(self):
        """The row of each value."""
        return np.repeat(np.arange(self.shape[0], dtype=np.int64), np.diff(self.start))

    def sum(self, axis):
        """Sums along rows (axis=1) or down columns (axis=0), float64."""
        row_or_column, n = (self.column, self.shape[1]) if axis == 0 else (self.row, self.shape[0])
        return np.bincount(row_or_column, self.values, n)

    @property
    def T(self):
        """The transposed matrix."""
        order = np.argsort(self.column, kind="stable")
        start = np.zeros(self.shape[1] + 1, np.int64)
        np.cumsum(np.bincount(self.column, minlength=self.shape[1]), out=start[1:])
        return CSRMatrix(start, self.row[order].astype(np.int32), self.values[order], self.shape[::-1])

    def toarray(self):
        """The dense array."""
        out = np.zeros(self.shape, self.values.dtype)
        out[self.row, self.column] = self.values
        return out

    def to_scipy(self):
        """The same as a scipy.sparse.csr_array (with SciPy installed)."""
        from scipy.sparse import csr_array

        return csr_array((self.values, self.column, self.start), self.shape)

    def __matmul__(self, x):
        """Product with a dense matrix (columns, n), of values' dtype."""
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[0] != self.shape[1]:
            raise ValueError(f"CSRMatrix @ x: x must have shape ({self.shape[1]}, n), got {x.shape}")
        x = np.ascontiguousarray(x, self.values.dtype)
        out = np.zeros((self.shape[0], x.shape[1]), self.values.dtype)
        if out.size and self.nnz:
            ints = (self.shape[0], x.shape[1], x.shape[1], x.shape[1])
            _core.run("csr_matmul", self.values.dtype == np.float64, (out, self.values, self.column, self.start, x),
                      ints, cost=0.1 * self.nnz * x.shape[1])  # fmt: skip
        return out


def add_equal(key, values):
    """(keys ascending without repetition, sum of the values of each)."""
    order = np.argsort(key, kind="stable")
    key, values = key[order], values[order]
    if len(key) == 0:
        return key, values
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    return key[first], np.add.reduceat(values, first)
