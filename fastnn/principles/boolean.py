"""The 2^(2^n) Boolean functions of n inputs, and which of them one perceptron can do.

A function is its truth table: the outputs for the inputs 0 ... 2^n - 1 read as binary numbers, the first input the
highest digit. For n up to 4 every linearly separable function has whole-number weights of at most 3 (Muroga 1971), so
that trying all of them finds every one: 4, 14, 104, 1882 for n = 1, 2, 3, 4.
"""

import functools
import itertools

import numpy as np

MOST = 4  # inputs


def _check(n, where):
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= MOST:
        raise ValueError(f"{where}: n must be an integer from 1 to {MOST}, got {n!r}")


def inputs(n):
    """All inputs, (2^n, n) of 0 and 1."""
    _check(n, "inputs")
    return np.array(list(itertools.product((0, 1), repeat=n)))


def boolean_functions(n):
    """The truth tables of all Boolean functions of n inputs, n from 1 to 4.

    Returns (2^(2^n), 2^n) of int8, 0 and 1: row j is the number j in binary, column k the output for row k of
    `inputs(n)`. For n = 2 row 6, (0, 1, 1, 0), is XOR. With n = 4 there are 65,536. ValueError for another n.
    """
    _check(n, "boolean_functions")
    rows = 2**n
    numbers = np.arange(2**rows, dtype=np.int64)[:, None]
    return ((numbers >> np.arange(rows - 1, -1, -1)) & 1).astype(np.int8)


@functools.lru_cache(MOST)
def separable_functions(n):
    """{truth table: (weights, threshold)} of the functions that one perceptron can do: 1 where w . x >= threshold."""
    _check(n, "separable_functions")
    x, found = inputs(n), {}
    weights = np.array(list(itertools.product(range(-3, 4), repeat=n)))
    weights = weights[np.argsort(np.abs(weights).sum(axis=1), kind="stable")]  # the smallest ones first
    sums = weights @ x.T  # (candidates, 2^n)
    for threshold in np.arange(-3 * n, 3 * n + 2) - 0.5:
        tables, first = np.unique(sums >= threshold, axis=0, return_index=True)
        for table, j in zip(tables, first, strict=True):
            key = tuple(int(v) for v in table)
            if key not in found or np.abs(weights[j]).sum() < sum(map(abs, found[key][0])):
                found[key] = tuple(int(v) for v in weights[j]), float(threshold)
    return found


def count_separable(n):
    """(functions of n inputs, those that one perceptron can do)."""
    return 2**2 ** int(n), len(separable_functions(n))


def is_separable(table):
    """Whether one perceptron can do the function of this truth table (2^n entries of 0 and 1)."""
    table = tuple(np.asarray(table).reshape(-1).tolist())
    n = len(table).bit_length() - 1
    if len(table) != 2**n or not 1 <= n <= MOST or set(table) - {0, 1}:
        raise ValueError(f"is_separable: expected 2, 4, 8 or 16 entries of 0 and 1, got {table}")
    return table in separable_functions(n)
