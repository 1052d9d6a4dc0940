"""Texts as sentences of words, read as often as training needs them."""

import array
import contextlib
import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from fastnn.text import _check


class _Numbers(dict):
    """Words to numbers in the order of their first appearance."""

    def __missing__(self, word):
        if not isinstance(word, str):
            raise TypeError(f"Corpus: words must be str, got {type(word).__name__}: {word!r}")
        self[word] = number = len(self)
        return number


class Corpus:
    """Sentences of words.

    source          a path, or a list of pathlib.Path, of text files with a sentence a line, gzipped or not; or an
                    iterable of sentences, each a str or a list of words; or a function that returns one
    tokenize        makes words of a str; by default splits at white space
    lowercase       turns what is read from a str to lower case first
    encoding        of files
    max_sentence_length   longer sentences are cut, as word2vec does
    streaming       False: the first pass keeps the numbers of all words (4 bytes each), later ones need no reading,
                    and an iterator that can be read only once will do. True: every pass reads anew.
    """

    def __init__(self, source, *, tokenize=None, lowercase=False, encoding="utf-8", max_sentence_length=10_000,
                 streaming=False):  # fmt: skip
        self._length = _check.integer("Corpus", "max_sentence_length", max_sentence_length, 1)
        if tokenize is not None and not callable(tokenize):
            raise TypeError(f"Corpus: tokenize must be a function of a str, got {tokenize!r}")
        self._split = tokenize or str.split
        self._lowercase, self._encoding, self.streaming = bool(lowercase), encoding, bool(streaming)
        self._paths = _paths(source)
        self._source = source
        self._words = self._ids = self._ends = None
        if self._paths is not None:
            for path in self._paths:
                if not os.path.isfile(path):
                    raise FileNotFoundError(f"Corpus: there is no file {path}; pass a list of sentences as [text]")
        elif not isinstance(source, Iterable) and not isinstance(source, Callable):
            raise TypeError(
                f"Corpus: source must be a path, paths, an iterable of sentences or a function that returns one, "
                f"got {type(source).__name__}"
            )
        elif self.streaming and isinstance(source, Iterator):
            raise TypeError(
                "Corpus: streaming reads the source once for the vocabulary and once an epoch, but an iterator can be "
                "read only once; pass a function that returns a new one, or streaming=False"
            )

    # ---- reading ----

    def __iter__(self):
        """The sentences, as lists of words: a new pass over the source."""
        for number, sentence in enumerate(self._lines()):
            if isinstance(sentence, str):
                words = self._split(sentence.lower() if self._lowercase else sentence)
            elif isinstance(sentence, list | tuple):
                words = sentence
            else:
                raise TypeError(
                    f"Corpus: sentence {number} must be a str or a list of words, got {type(sentence).__name__}"
                )
            for first in range(0, len(words), self._length):
                yield words[first : first + self._length]

    def _lines(self):
        if self._paths is None:
            yield from self._source() if callable(self._source) else self._source
            return
        for path in self._paths:
            with _open(path, self._encoding) as file:
                yield from file

    # ---- as numbers ----

    def counts(self):
        """{word: occurrences}, in the order of first appearance."""
        if self.streaming:
            numbers, total = _Numbers(), np.zeros(0, np.int64)
            for ids, _ in self._chunks(numbers.__getitem__):
                found = np.bincount(ids, minlength=len(numbers))
                found[: len(total)] += total
                total = found
            words = list(numbers)
        else:
            self._load()
            words, total = self._words, np.bincount(self._ids, minlength=len(self._words))
        if not words:
            raise ValueError("Corpus: the source holds no words")
        return dict(zip(words, total.tolist(), strict=True))

    def _load(self):
        if self._ids is not None:
            return
        numbers, ids, lengths = _Numbers(), [], []
        for chunk, sizes in self._chunks(numbers.__getitem__):
            ids.append(chunk)
            lengths.append(sizes)
        self._words = list(numbers)
        self._ids = np.concatenate(ids) if ids else np.zeros(0, np.int32)
        self._ends = np.cumsum(np.concatenate(lengths)) if lengths else np.zeros(0, np.int64)

    def _chunks(self, number, size=1 << 18):
        """(ids, sentence lengths) of some `size` words at a time."""
        ids, lengths = array.array("i"), array.array("q")
        for words in self:
            ids.extend(map(number, words))
            lengths.append(len(words))
            if len(ids) >= size:
                yield np.array(ids, np.int32), np.array(lengths, np.int64)
                ids, lengths = array.array("i"), array.array("q")
        if len(lengths):
            yield np.array(ids, np.int32), np.array(lengths, np.int64)

    def blocks(self, vocabulary, size=1 << 16):
        """(ids int32, sentence of each int32) of whole sentences with at least `size` known words together; words
        that the vocabulary lacks are left out. What a block holds depends on the text alone."""
        lookup = vocabulary.index
        if self.streaming:
            chunks = self._chunks(lambda word: lookup.get(word, -1), size)
        else:
            self._load()
            table = np.array([lookup.get(word, -1) for word in self._words] or [0], np.int32)
            chunks = self._kept_chunks(table)
        held, held_sentence, count, sentences = [], [], 0, 0
        for ids, lengths in chunks:
            sentence = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
            known = ids >= 0
            ids, sentence = ids[known], sentence[known]
            ends = np.searchsorted(sentence, np.arange(len(lengths)), side="right")  # known words up to each sentence
            first = 0
            while first < len(ids):
                last = np.searchsorted(ends, first + size - count)
                end = int(ends[last]) if last < len(ends) else len(ids)
                held.append(ids[first:end])
                held_sentence.append(sentence[first:end] + np.int32(sentences))
                count += end - first
                first = end
                if count >= size:
                    yield np.concatenate(held), np.concatenate(held_sentence)
                    held, held_sentence, count = [], [], 0
            sentences = 0 if not held else (sentences + len(lengths)) & 0x3FFFFFFF
        if count:
            yield np.concatenate(held), np.concatenate(held_sentence)

    def _kept_chunks(self, table, size=1 << 20):
        """The kept numbers through `table`, in whole sentences."""
        ends, first, sentence = self._ends, 0, 0
        while sentence < len(ends):
            last = max(int(np.searchsorted(ends, first + size)), sentence) + 1
            last = min(last, len(ends))
            end = int(ends[last - 1])
            lengths = np.diff(ends[sentence:last], prepend=first)
            yield table[self._ids[first:end]], lengths
            first, sentence = end, last


def as_corpus(source):
    """source as a Corpus."""
    return source if isinstance(source, Corpus) else Corpus(source)


def _paths(source):
    if isinstance(source, str | os.PathLike):
        return [os.fspath(source)]
    if isinstance(source, list | tuple) and source and all(isinstance(s, os.PathLike) for s in source):
        return [os.fspath(path) for path in source]
    return None


@contextlib.contextmanager
def _open(path, encoding):
    """The lines of a text file, gzipped or not; ValueError where it is damaged or in another encoding."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rt", encoding=encoding) if packed else open(path, encoding=encoding) as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip file ({error}); get it again") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not {encoding} text ({error}); pass Corpus(..., encoding=) what it is") from None
