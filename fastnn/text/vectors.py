"""Words with vectors: nearest neighbours, analogies, word2vec's file formats."""

import numpy as np

from fastnn.saving.files import atomic_write
from fastnn.text import _check


class WordVectors:
    """words (list of str) and matrix (words, dimensions), a float array; row k is the vector of words[k]."""

    def __init__(self, words, matrix):
        self.words = list(words)
        matrix = np.asarray(matrix)
        if matrix.ndim != 2 or matrix.dtype.kind != "f":
            raise ValueError(
                f"WordVectors: matrix must be a float array of (words, dimensions), got shape {matrix.shape} of "
                f"{matrix.dtype}"
            )
        if len(self.words) != len(matrix):
            raise ValueError(f"WordVectors: there are {len(self.words)} words, but matrix has {len(matrix)} rows")
        self.matrix = matrix
        self.index = {word: number for number, word in enumerate(self.words)}
        if len(self.index) < len(self.words):
            seen = set()
            twice = next(word for word in self.words if word in seen or seen.add(word))
            raise ValueError(f"WordVectors: {twice!r} occurs twice in words")

    @property
    def vector_size(self):
        return self.matrix.shape[1]

    def __len__(self):
        return len(self.words)

    def __contains__(self, word):
        return word in self.index

    def _number(self, word):
        if not isinstance(word, str):
            raise TypeError(f"WordVectors: a word must be a str, got {type(word).__name__}: {word!r}")
        try:
            return self.index[word]
        except KeyError:
            raise KeyError(f"{word!r} is not one of the {len(self)} words that have vectors") from None

    def __getitem__(self, words):
        """The vector of a word, or the vectors (n, dimensions) of a list of words."""
        if isinstance(words, list | tuple):
            return self.matrix[[self._number(word) for word in words]]
        return self.matrix[self._number(words)]

    def normalized(self):
        """The matrix with rows of length 1 (those of length 0 stay so), float32 where it is float16."""
        # squares of float16 and float32 fit a double
        length = np.sqrt(np.einsum("ij,ij->i", self.matrix, self.matrix, dtype=np.float64))[:, None]
        return self.matrix / np.where(length > 0, length, 1).astype(np.result_type(self.matrix, np.float32))

    def similarity(self, a, b):
        """Cosine of the angle between the vectors of two words."""
        x, y = self[a].astype(np.float64), self[b].astype(np.float64)
        lengths = np.linalg.norm(x) * np.linalg.norm(y)
        return float(x @ y / lengths) if lengths > 0 else 0.0

    # ---- neighbours ----

    def nearest(self, vector, topn=10, exclude=()):
        """[(word, cosine)] of the words nearest to a vector, best first."""
        vector = np.asarray(vector, np.float64)
        if vector.shape != (self.vector_size,):
            raise ValueError(f"WordVectors.nearest: vector must have shape ({self.vector_size},), got {vector.shape}")
        length = np.linalg.norm(vector)
        if not (np.isfinite(length) and length > 0):
            raise ValueError(f"WordVectors.nearest: vector must have a positive finite length, got {length}")
        unit = self.normalized()
        return self._best(unit @ (vector / length).astype(unit.dtype), topn, exclude)

    def most_similar(self, positive=(), negative=(), topn=10, method="3cosadd"):
        """[(word, score)] of the words nearest to all of `positive` and farthest from all of `negative`, best first;
        the words given are left out.

        "3cosadd" (Mikolov et al. 2013): cosine with the sum of the unit vectors, those of `negative` subtracted.
        "3cosmul" (Levy and Goldberg, "Linguistic regularities in sparse and explicit word representations", 2014):
        product of the similarities to `positive` over that to `negative` (+ 0.001), each (1 + cosine) / 2.
        """
        positive = [positive] if isinstance(positive, str) else list(positive)
        negative = [negative] if isinstance(negative, str) else list(negative)
        if not positive and not negative:
            raise ValueError("WordVectors.most_similar: give at least one positive or negative word")
        unit = self.normalized()
        plus, minus = ([self._number(word) for word in words] for words in (positive, negative))
        return self._best(analogy_scores(unit, [plus], [minus], method)[0], topn, [*positive, *negative])

    def analogy(self, a, b, c, topn=1, method="3cosadd"):
        """What is to c as b is to a: most_similar([b, c], [a])."""
        return self.most_similar([b, c], [a], topn, method)

    def _best(self, scores, topn, exclude):
        topn = _check.integer("WordVectors", "topn", topn, 1)
        out = {self.index[word] for word in exclude if word in self.index}
        count = min(topn + len(out), len(scores))
        found = np.argpartition(-scores, count - 1)[:count]
        found = found[np.lexsort((found, -scores[found]))]
        return [(self.words[k], float(scores[k])) for k in found.tolist() if k not in out][:topn]

    # ---- files ----

    def save(self, path, binary=False):
        """Writes word2vec's text or binary format (float32), which gensim and others read."""
        for word in self.words:
            if not word or word.split() != [word]:
                raise ValueError(f"WordVectors.save: a word with white space cannot be written: {word!r}")
        rows = np.ascontiguousarray(self.matrix, dtype="<f4")
        if not np.isfinite(rows).all():
            raise ValueError("WordVectors.save: the vectors are not all finite numbers of float32")
        with atomic_write(path) as file:
            file.write(f"{len(self)} {self.vector_size}\n".encode())
            for word, row in zip(self.words, rows, strict=True):
                if binary:
                    file.write(word.encode() + b" " + row.tobytes() + b"\n")
                else:
                    file.write((word + " " + " ".join(map(str, row)) + "\n").encode())

    @classmethod
    def load(cls, path, binary=None):
        """Reads a file in word2vec's text or binary format; binary=None finds out which."""
        with open(path, "rb") as file:
            data = file.read()
        end = data.find(b"\n", 0, 100)
        sizes = data[: max(end, 0)].split()
        if len(sizes) != 2 or not all(size.isdigit() for size in sizes):
            raise ValueError(
                f"{path}: not a word2vec file: its first line must be two numbers, words and dimensions; it begins "
                f"with {data[:40]!r}"
            )
        count, size = map(int, sizes)
        if count < 1 or size < 1:
            raise ValueError(f"{path}: the first line speaks of {count} words and {size} dimensions")
        if len(data) - end - 1 < count * (size + 2):  # text: a digit and a blank; binary: four bytes a number
            raise ValueError(
                f"{path}: damaged: {count} words of {size} dimensions were announced, the file has {len(data)} bytes"
            )
        if binary is None:
            binary = not _is_text(data, end + 1, size)
        return cls(*(_binary if binary else _text)(path, data, end + 1, count, size))


def analogy_scores(unit, plus, minus, method):
    """(queries, words) scores of 3cosadd or 3cosmul for lists of positive and negative words' numbers."""
    if method == "3cosadd":
        query = np.stack([unit[p].sum(axis=0) - unit[m].sum(axis=0) for p, m in zip(plus, minus, strict=True)])
        length = np.linalg.norm(query, axis=1, keepdims=True)
        return (query / np.where(length > 0, length, 1).astype(unit.dtype)) @ unit.T
    if method != "3cosmul":
        raise ValueError(f"most_similar: method must be '3cosadd' or '3cosmul', got {method!r}")
    scores = np.empty((len(plus), len(unit)), unit.dtype)
    for row, p, m in zip(scores, plus, minus, strict=True):
        row[:] = ((1 + unit[p] @ unit.T) / 2).prod(axis=0) / (((1 + unit[m] @ unit.T) / 2).prod(axis=0) + 1e-3)
    return scores


def _is_text(data, start, size):
    """Whether the first vector is written in digits; one of 16 bytes or more without a control character is too,
    damaged perhaps."""
    end = data.find(b"\n", start)
    parts = data[start : end if end > 0 else len(data)].split()
    try:
        if len(parts) == size + 1 and all(np.isfinite(float(x)) for x in parts[1:]):
            return True
    except ValueError:
        pass
    blank = data.find(b" ", start) + 1
    return size >= 4 and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in data[blank : blank + 4 * size])


def _text(path, data, start, count, size):
    lines = data[start:].split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if len(lines) != count:
        raise ValueError(f"{path}: damaged: {count} words were announced, {len(lines)} lines follow")
    words, matrix = [], np.empty((count, size), np.float32)
    for number, line in enumerate(lines):
        word, _, numbers = line.strip(b" \r").partition(b" ")
        parts = numbers.split()
        if not word or len(parts) != size:
            raise ValueError(f"{path}: damaged: line {number + 2} must be a word and {size} numbers, got {line[:60]!r}")
        try:
            matrix[number] = [float(x) for x in parts]
        except (ValueError, OverflowError):
            raise ValueError(f"{path}: damaged: line {number + 2} holds what is no number: {line[:60]!r}") from None
        words.append(_decode(path, word))
    return words, _finite(path, words, matrix)


def _binary(path, data, at, count, size):
    words, matrix = [], np.empty((count, size), np.float32)
    for number in range(count):
        blank = data.find(b" ", at, at + 10_000)
        if blank < 0 or blank + 1 + 4 * size > len(data):
            raise ValueError(f"{path}: damaged: it ends, or makes no sense, at word {number + 1} of {count}")
        words.append(_decode(path, data[at:blank].lstrip(b"\n")))
        matrix[number] = np.frombuffer(data, "<f4", size, blank + 1)
        at = blank + 1 + 4 * size
    if data[at:].strip(b"\n"):
        raise ValueError(f"{path}: damaged: {len(data) - at} bytes follow the last of {count} words")
    return words, _finite(path, words, matrix)


def _decode(path, word):
    try:
        return word.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: damaged: a word is not UTF-8 text: {word[:40]!r}") from None


def _finite(path, words, matrix):
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        raise ValueError(f"{path}: damaged: the vector of {words[bad[0]]!r} is not finite")
    if len(set(words)) < len(words):
        raise ValueError(f"{path}: damaged: a word occurs twice")
    return matrix
