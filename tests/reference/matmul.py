"""Matrix products, and what is fused with them."""

import numpy as np

from .elementwise import activate, slope
from .registry import kernel


def _strided(x, at, rows, columns, ld):
    return np.lib.stride_tricks.as_strided(x[at:], (rows, columns), (ld * x.itemsize, x.itemsize))


@kernel("matmul_nn", "matmul_nt", "matmul_tn")
def matmul(c):
    form = c.name[-2:]
    products, own = max(c.int(10), 1), c.int(14)
    lead = c.i[0] if own else c.rows
    m, k = (c.i[2], lead) if form == "tn" else (lead, c.i[2])
    n, lda, ldb, ldc = c.i[1], c.i[3], c.i[4], c.i[5]
    a_shape = (k, m) if form == "tn" else (m, k)
    b_shape = (n, k) if form == "nt" else (k, n)
    alpha = c.real(0)
    for sample in range(c.step.rows if own else 1):
        for j in range(products):
            at = [sample * c.int(15 + q) * bool(own) + j * c.int(11 + q) for q in range(3)]
            a = _strided(c.p[1], at[0], *a_shape, lda)
            b = _strided(c.p[2], at[1], *b_shape, ldb)
            y = (a.T if form == "tn" else a) @ (b.T if form == "nt" else b)
            out = _strided(c.p[0], at[2], m, n, ldc)
            z = y + out if c.int(6) else y
            if c.int(8):
                s = _strided(c.p[5], at[2], m, n, ldc)
                z = slope(c.int(8), z, s, alpha)
            if c.arg(3) is not None:
                z = z + c.p[3][:n]
            if c.arg(4) is not None:
                _strided(c.p[4], at[2], m, n, ldc)[...] = z
            out[...] = activate(c.int(7), z, alpha)
            if c.arg(6) is not None:
                c.put(6, b.sum(0) + (c.p[6][:n] if c.int(9) else 0))
