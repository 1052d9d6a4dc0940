"""Skip-gram and CBOW (Mikolov et al. 2013), trained in C: csrc/kernels/words.inc.c has the equations."""

import heapq
import time

import numpy as np

from fastnn import _core, kernels, threads
from fastnn.text import _check
from fastnn.text.corpus import as_corpus
from fastnn.text.vectors import WordVectors
from fastnn.text.vocabulary import Vocabulary

_CBOW, _MEAN, _EXACT, _FULL_WINDOW = 1, 2, 4, 8  # modes of words.inc.c
_MAX_OUTPUTS = 256
_BLOCK = 1 << 16  # words that go to C at a time: some 0.1 s
_LINE = 64  # bytes of a cache line
#: alpha times the updates that the most frequent vector may expect in one deterministic batch, all of them reckoned
#: from the same old values: 32 updates at the usual alpha of 0.025.
_BATCH_STEP = 0.8
#: Products in a batch: their vectors should stay in a core's second cache between product and update.
_BATCH_PRODUCTS = 768


class Word2Vec:
    """Vectors of words that predict each other within a window: CBOW, or skip-gram with sg=True.

    vector_size      numbers in a vector
    window           words to either side, at most; each centre draws 1 .. window unless shrink_windows=False
    min_count, max_vocab_size   of the vocabulary
    sample           subsampling threshold, 0: none
    negative, ns_exponent       negative words drawn for each prediction (5), and the exponent of their distribution
    hs               hierarchical softmax over a Huffman tree instead of negative sampling
    alpha, min_alpha learning rate at the first and after the last word, linear between
    cbow_mean        CBOW predicts from the mean of the window, else from the sum
    exact_gradient   CBOW: word2vec gives each word of a mean the whole gradient of the mean, m times too much for m
                     words, and of a sum one m-th. True: the gradient as it is.
    deterministic    True: same seed, same vectors for any number of threads, on one instruction set. False: threads
                     update the shared vectors without waiting for each other, which is faster; with more than
                     one of them no two runs are alike.
    workers          threads; None: fastnn.get_num_threads()
    batch_size       deterministic: centres whose updates start from the same values; None: as many as is safe for the
                     vocabulary's most frequent word, and fit the cache

    After fit: `vocabulary`, `vectors` (WordVectors), `history` {"loss": mean loss of a prediction, by epoch,
    "words_per_second": words of the text}. All threads' losses are in the mean: deterministic ones are the same for any
    number of threads, lock-free ones differ as little as the vectors do.
    """

    def __init__(self, vector_size=100, window=5, min_count=5, *, sg=False, hs=False, negative=None, sample=1e-3,
                 ns_exponent=0.75, alpha=0.025, min_alpha=1e-4, epochs=5, cbow_mean=True, exact_gradient=False,
                 shrink_windows=True, max_vocab_size=None, seed=1, deterministic=True, workers=None, batch_size=None,
                 dtype="float32"):  # fmt: skip
        where = type(self).__name__
        self.vector_size = _check.integer(where, "vector_size", vector_size, 1, 1 << 20)
        self.window = _check.integer(where, "window", window, 1, 1000)
        self.min_count = _check.integer(where, "min_count", min_count, 1)
        self.max_vocab_size = max_vocab_size
        if max_vocab_size is not None:
            _check.integer(where, "max_vocab_size", max_vocab_size, 1)
        self.sg, self.hs = bool(sg), bool(hs)
        if self.hs and negative:
            raise ValueError(
                f"{where}: hierarchical softmax (hs=True) takes no negative samples, got negative={negative}; "
                f"leave one of the two away"
            )
        negative = (0 if self.hs else 5) if negative is None else negative
        self.negative = _check.integer(where, "negative", negative, 0 if self.hs else 1, _MAX_OUTPUTS - 1)
        self.sample = _check.real(where, "sample", sample, 0)
        self.ns_exponent = _check.real(where, "ns_exponent", ns_exponent)
        self.alpha = _check.real(where, "alpha", alpha, 0)
        self.min_alpha = _check.real(where, "min_alpha", min_alpha, 0)
        self.epochs = _check.integer(where, "epochs", epochs, 1)
        self.cbow_mean, self.exact_gradient = bool(cbow_mean), bool(exact_gradient)
        self.shrink_windows, self.deterministic = bool(shrink_windows), bool(deterministic)
        self.seed = _check.integer(where, "seed", seed, 0, 2**64 - 1)
        self.workers = None if workers is None else _check.integer(where, "workers", workers, 1, _core.MAX_THREADS)
        self.batch_size = None if batch_size is None else _check.integer(where, "batch_size", batch_size, 1, 1 << 16)
        if dtype not in ("float32", "float64", np.float32, np.float64):
            raise ValueError(f"{where}: dtype must be 'float32' or 'float64', got {dtype!r}")
        self.dtype = np.dtype(dtype)
        self.vocabulary = self.vectors = None
        self.history = {"loss": [], "words_per_second": []}
        self._epoch = 0  # passes made since the vectors began: part of every random counter

    # ---- the start ----

    def build_vocab(self, corpus):
        """The vocabulary of the corpus, and vectors to begin with: uniform within 1 / vector_size, those that
        predict 0. Training begins anew."""
        self._begin(Vocabulary.build(corpus, self.min_count, self.max_vocab_size))
        return self

    def _begin(self, vocabulary):
        where = type(self).__name__
        if len(vocabulary) >= 1 << 30:
            raise ValueError(f"{where}: the vocabulary has {len(vocabulary)} words; pass a larger min_count")
        self.vocabulary, self._epoch = vocabulary, 0
        self.history = {"loss": [], "words_per_second": []}
        size, dim = len(vocabulary), self.vector_size
        line = _LINE // self.dtype.itemsize
        self._stride = -(-dim // line) * line
        self._in = _core.empty((size, self._stride), self.dtype)
        self._in[:, :dim] = kernels.random_uniform((size, dim), -1 / dim, 1 / dim, seed=self.seed, dtype=self.dtype)
        self._out = _core.empty((size, self._stride), self.dtype)
        self.vectors = WordVectors(vocabulary.words, self._in[:, :dim])
        if self.hs:
            self._noise, (self._path, self._node, self._code) = None, huffman_paths(vocabulary.counts)
            self._outputs = int(np.diff(self._path).max())
            if self._outputs > _MAX_OUTPUTS:
                raise ValueError(
                    f"{where}: a path of the Huffman tree has {self._outputs} nodes; use negative sampling"
                )
        else:
            self._noise = alias_table(vocabulary.noise_distribution(self.ns_exponent))
            self._path = self._node = self._code = None
            self._outputs = self.negative + 1

    @property
    def output_vectors(self):
        """The vectors that are predicted: of words, or with hs of the tree's inner nodes."""
        return None if self.vocabulary is None else self._out[: len(self._out) - self.hs, : self.vector_size]

    # ---- training ----

    def fit(self, corpus, epochs=None, callback=None):
        """Trains `epochs` passes (those of __init__ by default), and makes the vocabulary if there is none yet.
        `callback(epoch, loss)` is called after each. Returns self. Calling it again goes on training."""
        where = f"{type(self).__name__}.fit"
        corpus = as_corpus(corpus)
        epochs = self.epochs if epochs is None else _check.integer(where, "epochs", epochs, 1)
        if self.vocabulary is None:
            self.build_vocab(corpus)
        keep = self.vocabulary.keep_probabilities(self.sample).astype(np.float32)
        words = done = 0
        for epoch in range(epochs):
            start, losses, predictions, seen = time.perf_counter(), 0.0, 0, 0
            for number, (ids, sentence) in enumerate(corpus.blocks(self.vocabulary, _BLOCK)):
                ends = [self._alpha(at, words, epoch, epochs) for at in (done, done + len(ids))]
                loss, count = self._train_block(number, ids, sentence, keep, ends)
                losses += loss
                predictions += count
                seen += len(ids)
                done += len(ids)
            if seen == 0:
                raise ValueError(f"{where}: the corpus holds none of the vocabulary's {len(self.vocabulary)} words")
            words = seen
            self._epoch += 1
            loss = losses / max(predictions, 1)
            self.history["loss"].append(loss)
            self.history["words_per_second"].append(seen / (time.perf_counter() - start))
            if not np.isfinite(loss):
                raise FloatingPointError(f"{where}: the loss is {loss} in epoch {epoch}; pass a smaller alpha")
            if callback is not None:
                callback(epoch, loss)
        return self

    def _alpha(self, done, words, epoch, epochs):
        """The learning rate after `done` words. In the first pass the corpus may be another than the vocabulary was
        made of: its length is known afterwards."""
        total = epochs * (words or self.vocabulary.total)
        return self.alpha + (self.min_alpha - self.alpha) * min(done / total, 1.0)

    def _train_block(self, number, ids, sentence, keep, ends):
        """(summed loss, predictions) of one block; ends: the learning rates at its two ends."""
        if self.sample > 0:
            drawn = kernels.random_uniform(len(ids), seed=self.seed, stream=2 * self._epoch + 1, index=number)
            kept = drawn < keep[ids]
            ids, sentence = ids[kept], sentence[kept]
        n = len(ids)
        if n == 0:
            return 0.0, 0
        loss, predictions = np.zeros(n), np.zeros(n, np.int32)
        f = (ends[0], (ends[1] - ends[0]) / n)
        threads_asked = self.workers or threads.get_num_threads()
        double = self.dtype == np.float64
        operands = (self._in, self._out, ids, sentence, self._noise, self._path, self._node, self._code, loss,
                    predictions)  # fmt: skip
        if not self.deterministic:
            plan = _core.Plan(double, [("words_lockfree", operands, self._ints(n, 1, 1, number), f, True, 1e4, -1, 0)],
                              operands)  # fmt: skip
            plan.run(0, n, n, seed=self.seed, threads=threads_asked)
            return float(loss.sum()), int(predictions.sum())
        parts, batch = self._parts(), self._batch()
        entries = (1 if not self.sg else 2 * self.window) * self._outputs
        operands += (
            np.zeros((2, batch, 2), np.int32), np.zeros((2, batch, 2 * self.window), np.int32),
            np.zeros((2, batch, entries), np.int32), np.zeros((2, batch, entries), self.dtype),
            np.zeros((parts, batch, entries), self.dtype),
            np.zeros((1 if self.sg else batch, self._stride), self.dtype),
        )  # fmt: skip
        ints = self._ints(n, batch, parts, number)
        cost = self._cost()
        plan = _core.Plan(double, [
            ("words_dot", operands, ints, f, True, 0.4 * cost, -1, 0),
            ("words_gradient", operands, ints, f, True, 0.2 * cost, -1, 0),
            ("words_update", operands, ints, f, True, 0.4 * cost, -1, 0),
        ], operands)  # fmt: skip
        _core.run("words_draw", double, operands, ints, f, rows=min(batch, n), seed=self.seed)
        plan.run(0, n, batch, seed=self.seed, threads=threads_asked)
        return float(loss.sum()), int(predictions.sum())

    def _ints(self, n, batch, parts, number):
        mode = (0 if self.sg else _CBOW) | (_MEAN if self.cbow_mean else 0)
        mode |= (_EXACT if self.exact_gradient else 0) | (0 if self.shrink_windows else _FULL_WINDOW)
        return (1, n, self._stride, len(self.vocabulary), self.window, self.negative, mode, self._outputs, batch, parts,
                number, 2 * self._epoch + 2)  # fmt: skip

    def _parts(self):
        """Into how many parts columns are cut: a function of the vectors' size alone, for results must not depend on
        the number of threads."""
        lines = self._stride * self.dtype.itemsize // _LINE
        return 1 if lines < 4 else 2 if lines < 12 else 4 if lines < 32 else 8

    def _expected(self):
        """Expected words in the window of a centre, and predictions that it makes."""
        window = (self.window + 1) if self.shrink_windows else 2 * self.window
        return window, window if self.sg else 1

    def _batch(self):
        """Centres in a deterministic batch."""
        if self.batch_size is not None:
            return self.batch_size
        counts = self.vocabulary.counts * self.vocabulary.keep_probabilities(self.sample)
        most = counts.max() / counts.sum()
        window, predictions = self._expected()
        noise = 1.0 if self.hs else self.negative * self.vocabulary.noise_distribution(self.ns_exponent).max() + most
        hits = max(predictions * noise, window * most)
        products = predictions * max(self._outputs, 1)
        return int(max(1, min(_BATCH_STEP / (max(self.alpha, 1e-6) * hits), _BATCH_PRODUCTS / products)))

    def _cost(self):
        """Rough nanoseconds for a centre."""
        lines = self._stride * self.dtype.itemsize // _LINE
        return self._expected()[1] * self._outputs * (3 + 2 * lines)


class SkipGram(Word2Vec):
    """Word2Vec with sg=True: each word of the window predicts the centre."""

    def __init__(self, vector_size=100, window=5, min_count=5, **options):
        super().__init__(vector_size, window, min_count, **{**options, "sg": True})


class CBOW(Word2Vec):
    """Word2Vec with sg=False: the mean of the window predicts the centre."""

    def __init__(self, vector_size=100, window=5, min_count=5, **options):
        super().__init__(vector_size, window, min_count, **{**options, "sg": False})


def alias_table(probabilities):
    """Walker's alias table for drawing in constant time (Vose, "A linear algorithm for generating random numbers with a
    given distribution", 1991): (n, 2) uint32; a draw of slot k gives k where another 32 random bits are below [k, 0],
    else [k, 1]."""
    n = len(probabilities)
    scaled = np.asarray(probabilities, np.float64) * n
    threshold, alias = np.ones(n), np.arange(n)
    small = [k for k in range(n) if scaled[k] < 1]
    large = [k for k in range(n) if scaled[k] >= 1]
    left = scaled.tolist()
    while small and large:
        poor, rich = small.pop(), large[-1]
        threshold[poor], alias[poor] = left[poor], rich
        left[rich] -= 1 - left[poor]
        if left[rich] < 1:
            small.append(large.pop())
    bits = np.minimum(np.rint(threshold * 2.0**32), 2.0**32 - 1)
    return np.stack([bits.astype(np.uint32), alias.astype(np.uint32)], 1)


def huffman_paths(counts):
    """(start, nodes, labels) of the words' paths from the root of a Huffman tree: word w has nodes[start[w] :
    start[w + 1]], inner nodes numbered 0 .. n - 2, the root last, and labels 1 where it takes the lighter branch."""
    n = len(counts)
    parent, label = np.zeros(2 * n, np.int64), np.zeros(2 * n, np.uint8)
    heap = [(int(count), k) for k, count in enumerate(counts)]
    heapq.heapify(heap)
    for node in range(n, 2 * n - 1):
        light, heavy = heapq.heappop(heap), heapq.heappop(heap)
        parent[light[1]] = parent[heavy[1]] = node
        label[light[1]] = 1
        heapq.heappush(heap, (light[0] + heavy[0], node))
    root, start, nodes, labels = 2 * n - 2, [0], [], []
    for word in range(n):
        at, path = word, []
        while at != root:
            path.append((parent[at] - n, label[at]))
            at = parent[at]
        nodes += [node for node, _ in reversed(path)]
        labels += [bit for _, bit in reversed(path)]
        start.append(len(nodes))
    return np.array(start, np.int32), np.array(nodes, np.int32), np.array(labels, np.uint8)
