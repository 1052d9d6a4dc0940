"""How often words stand near each other, and pointwise mutual information made of it."""

import math

import numpy as np

from fastnn.text import _check
from fastnn.text.corpus import as_corpus
from fastnn.text.sparse import CSRMatrix, add_equal
from fastnn.text.vocabulary import Vocabulary

WEIGHTINGS = {
    "flat": lambda distance, window: 1.0,
    "harmonic": lambda distance, window: 1 / distance,
    "linear": lambda distance, window: (window - distance + 1) / window,
}


def cooccurrence(corpus, vocabulary, window=5, weighting="flat", symmetric=True):
    """CSRMatrix (words, words) of float64: entry (i, j) is the weighted number of times that word j stands up to
    `window` words after word i in a sentence, or with `symmetric` before or after. Words that the vocabulary lacks are
    taken out of the text first.

    weighting: "flat" 1; "harmonic" 1 / distance (GloVe); "linear" (window - distance + 1) / window (what word2vec's
    shrinking windows come to on average).
    """
    window = _check.integer("cooccurrence", "window", window, 1)
    if not isinstance(vocabulary, Vocabulary):
        raise TypeError(f"cooccurrence: vocabulary must be a Vocabulary, got {type(vocabulary).__name__}")
    if weighting not in WEIGHTINGS:
        raise ValueError(f"cooccurrence: weighting must be one of {', '.join(WEIGHTINGS)}, got {weighting!r}")
    n = len(vocabulary)
    keys, values, held = [], [], 0
    for ids, sentence in as_corpus(corpus).blocks(vocabulary, 1 << 20):
        ids = ids.astype(np.int64)
        for distance in range(1, min(window, len(ids) - 1) + 1):
            same = sentence[distance:] == sentence[:-distance]
            key, count = np.unique((ids[:-distance] * n + ids[distance:])[same], return_counts=True)
            keys.append(key)
            values.append(count * WEIGHTINGS[weighting](distance, window))
            held += len(key)
        if held > 1 << 26:
            keys, values = ([x] for x in add_equal(np.concatenate(keys), np.concatenate(values)))
            held = len(keys[0])
    if not sum(map(len, keys)):
        raise ValueError(f"cooccurrence: the corpus holds no two of the vocabulary's {n} words in a sentence")
    key, value = np.concatenate(keys), np.concatenate(values)
    row, column = key // n, key % n
    if symmetric:
        row, column, value = np.concatenate([row, column]), np.concatenate([column, row]), np.tile(value, 2)
    return CSRMatrix.from_entries(row, column, value, (n, n))


def pmi(counts, smoothing=1.0, shift=1.0):
    """Pointwise mutual information of the entries that are not 0:

        log(N_ij N / (N_i N_j)) - log(shift)

    N_i sums of rows, N_j of columns; with `smoothing` below 1 the columns' share N_j / N becomes N_j^smoothing / sum
    N_j^smoothing, which keeps rare contexts from winning (0.75: Levy, Goldberg and Dagan, "Improving distributional
    similarity with lessons learned from word embeddings", 2015). `shift` is the k of shifted PMI, what skip-gram with k
    negatives factorizes (Levy and Goldberg 2014).
    """
    _check.real("pmi", "smoothing", smoothing, 0)
    if not _check.real("pmi", "shift", shift, 0) > 0:
        raise ValueError(f"pmi: shift must be positive, got {shift}")
    if not isinstance(counts, CSRMatrix):
        raise TypeError(f"pmi: counts must be a CSRMatrix, got {type(counts).__name__}")
    if counts.nnz == 0:
        raise ValueError("pmi: there are no counts")
    if not counts.values.min() > 0:
        raise ValueError(f"pmi: counts must be positive, got {counts.values.min()}")
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    share = columns**smoothing / (columns[columns > 0] ** smoothing).sum()
    values = np.log(counts.values) - np.log(rows[counts.row]) - np.log(share[counts.column]) - math.log(shift)
    return CSRMatrix(counts.start, counts.column, values, counts.shape)


def ppmi(counts, smoothing=0.75, shift=1.0):
    """max(0, pmi): only the positive entries are kept."""
    full = pmi(counts, smoothing, shift)
    kept = full.values > 0
    start = np.concatenate([[0], np.cumsum(kept)])[full.start]
    return CSRMatrix(start, full.column[kept], full.values[kept], full.shape)
