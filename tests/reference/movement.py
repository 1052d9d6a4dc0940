"""What changes places: slices, joins, rows by their numbers."""

import numpy as np

from .registry import kernel


def _places(c):
    """Positions of the strided side, in the order of the contiguous one."""
    ndim = c.i[1]
    sizes, lead = c.i[2 : 2 + ndim], c.i[2 + ndim]
    strides, offset = c.i[3 + ndim : 3 + 2 * ndim], c.i[3 + 2 * ndim]
    at = offset + np.arange(c.rows) * lead
    for n, stride in zip(sizes, strides, strict=True):
        at = at[..., None] + np.arange(n) * stride
    return at.ravel()


@kernel("strided_copy", "strided_copy_int")
def strided_copy(c):
    c.put(0, c.p[1][_places(c)])


@kernel("strided_scatter")
def strided_scatter(c):
    at = _places(c)
    c.p[0][at] = c.p[1][: at.size]


@kernel("copy_columns")
def copy_columns(c):
    columns, ldy, ldx = c.i[1:4]
    for r in range(c.rows):
        at = r * ldy + c.int(5)
        c.p[0][at : at + columns] = c.p[1][r * ldx : r * ldx + columns]


@kernel("fill")
def fill(c):
    c.put(0, np.full(c.rows * c.i[1], c.real(0)))


@kernel("gather_rows")
def gather_rows(c):
    table = c.p[1][: c.i[2] * c.i[1]].reshape(c.i[2], c.i[1])
    c.put(0, table[c.vector(2)])


@kernel("scatter_add_rows")
def scatter_add_rows(c):
    table = c.p[0][: c.i[2] * c.i[1]].reshape(c.i[2], c.i[1])
    if c.int(3):
        table[c.vector(2)] = 0
    np.add.at(table, c.vector(2), c.matrix(1))


@kernel("store_batch")
def store_batch(c):
    at = c.step.first * c.i[1]
    c.p[0][at : at + c.rows * c.i[1]] = c.matrix(1).ravel()
