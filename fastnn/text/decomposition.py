"""Singular value decompositions of sparse and dense matrices, and word vectors made of them."""

import numpy as np

from fastnn import kernels
from fastnn.text import _check
from fastnn.text.sparse import CSRMatrix
from fastnn.text.vectors import WordVectors


def _matrix(where, a):
    """a, checked: a CSRMatrix or a dense array (rows, columns)."""
    if not isinstance(a, CSRMatrix):
        a = np.asarray(a)
        if a.ndim != 2 or a.dtype not in (np.float32, np.float64):
            raise ValueError(f"{where}: a must be a CSRMatrix or a 2-D float array, got shape {a.shape} of {a.dtype}")
    if not np.isfinite(a.values if isinstance(a, CSRMatrix) else a).all():
        raise ValueError(f"{where}: a must hold finite numbers")
    return a


def dense_svd(a, rank=None):
    """(u (rows, rank), s (rank,) falling, vt (rank, columns)) of the whole decomposition a = u diag(s) vt, cut to the
    `rank` largest values, all of them if None; a: CSRMatrix or array (rows, columns). Signs as in randomized_svd."""
    a = _matrix("dense_svd", a)
    if rank is not None:
        rank = _check.integer("dense_svd", "rank", rank, 1, min(a.shape))
    u, s, vt = np.linalg.svd(a.toarray() if isinstance(a, CSRMatrix) else a, full_matrices=False)
    return _fix_signs(u[:, :rank], s[:rank], vt[:rank])


def randomized_svd(a, rank, oversampling=10, iterations=5, seed=1):
    """(u (rows, rank), s (rank,) falling, vt (rank, columns)): about the `rank` largest singular values of a (CSRMatrix
    or array (rows, columns)) and their vectors.

    Halko, Martinsson and Tropp, "Finding structure with randomness", 2011: an orthonormal basis of a's product with
    rank + oversampling random vectors, after `iterations` subspace iterations, and the decomposition of a in it. The
    largest element of each column of u is positive.
    """
    a = _matrix("randomized_svd", a)
    rank = _check.integer("randomized_svd", "rank", rank, 1, min(a.shape))
    oversampling = _check.integer("randomized_svd", "oversampling", oversampling, 0)
    iterations = _check.integer("randomized_svd", "iterations", iterations, 0)
    size = min(rank + oversampling, min(a.shape))
    dtype = a.values.dtype if isinstance(a, CSRMatrix) else a.dtype
    back = a.T
    basis, _ = np.linalg.qr(a @ kernels.random_normal((a.shape[1], size), seed=seed, dtype=dtype))
    for _ in range(iterations):
        basis, _ = np.linalg.qr(back @ basis)
        basis, _ = np.linalg.qr(a @ basis)
    right = back @ basis  # (columns, size): the transposed matrix in the basis
    v, s, ut = np.linalg.svd(right, full_matrices=False)
    return _fix_signs((basis @ ut.T)[:, :rank], s[:rank], v.T[:rank])


def _fix_signs(u, s, vt):
    """The signs of the vectors made a function of the matrix."""
    sign = np.sign(u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])])
    sign[sign == 0] = 1
    return u * sign, s, vt * sign[:, None]


def svd_vectors(words, a, vector_size=100, eigenvalue_weight=0.0, dense=False, **options):
    """WordVectors u s^eigenvalue_weight from the decomposition of a (words, contexts), a ppmi matrix say.
    eigenvalue_weight 0 or 0.5 serve similarities better than the 1 of theory (Levy, Goldberg and Dagan 2015).
    `dense` takes dense_svd, which needs words x contexts numbers of memory; `options` are those of randomized_svd
    (by default oversampling=vector_size, iterations=8)."""
    weight = _check.real("svd_vectors", "eigenvalue_weight", eigenvalue_weight, 0)
    a = _matrix("svd_vectors", a)
    if not np.any(a.values if isinstance(a, CSRMatrix) else a):
        raise ValueError("svd_vectors: a holds nothing but zeros; pass a smaller shift, or counts of more text")
    vector_size = _check.integer("svd_vectors", "vector_size", vector_size, 1, min(a.shape))
    # a PPMI matrix's values fall slowly: with randomized_svd's own defaults the vectors vary much from seed to seed
    options = {"oversampling": vector_size, "iterations": 8, **options}
    u, s, _ = dense_svd(a, vector_size) if dense else randomized_svd(a, vector_size, **options)
    words = list(words)
    if len(words) != len(u):
        raise ValueError(f"svd_vectors: there are {len(words)} words, but a has {len(u)} rows")
    return WordVectors(words, u * s**weight)
