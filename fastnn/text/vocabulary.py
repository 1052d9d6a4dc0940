"""The words that have vectors, and how often they occur."""

import numpy as np

from fastnn.saving.files import atomic_write
from fastnn.text import _check
from fastnn.text.corpus import as_corpus


class Vocabulary:
    """Words by falling count (those of equal count in the order given).

    words    list of str; the number of a word is its place in it
    counts   int64 array
    index    {word: number}
    """

    def __init__(self, counts, min_count=1, max_size=None):
        """counts: {word: occurrences}. Words that occur less than `min_count` times are left out, and the rarest
        beyond `max_size`."""
        min_count = _check.integer("Vocabulary", "min_count", min_count, 1)
        if max_size is not None:
            max_size = _check.integer("Vocabulary", "max_size", max_size, 1)
        if not counts:
            raise ValueError("Vocabulary: there are no words")
        kept = sorted((item for item in counts.items() if item[1] >= min_count), key=lambda item: -item[1])[:max_size]
        if not kept:
            raise ValueError(
                f"Vocabulary: none of the {len(counts)} words occurs min_count={min_count} times; the most frequent "
                f"one occurs {max(counts.values())} times: pass a smaller min_count"
            )
        self.words = [word for word, _ in kept]
        self.counts = np.array([count for _, count in kept], np.int64)
        self.index = {word: number for number, word in enumerate(self.words)}
        self.left_out = len(counts) - len(kept)

    @classmethod
    def build(cls, corpus, min_count=5, max_size=None):
        """The vocabulary of a Corpus, or of anything that Corpus takes."""
        return cls(as_corpus(corpus).counts(), min_count, max_size)

    @property
    def total(self):
        """Occurrences of all words together."""
        return int(self.counts.sum())

    def __len__(self):
        return len(self.words)

    def __contains__(self, word):
        return word in self.index

    def __iter__(self):
        return iter(self.words)

    def __getitem__(self, word):
        """The number of a word; KeyError where it is not in the vocabulary."""
        try:
            return self.index[word]
        except KeyError:
            raise KeyError(f"{word!r} is not one of the {len(self)} words of the vocabulary") from None

    def encode(self, words):
        """The numbers of those of `words` that are in the vocabulary, int32."""
        found = map(self.index.get, words)
        return np.array([number for number in found if number is not None], np.int32)

    def keep_probabilities(self, sample):
        """The probability with which subsampling keeps an occurrence of each word: min(1, sqrt(t / f) + t / f), f the
        word's share of all occurrences, t = sample (word2vec's formula; 0 keeps everything)."""
        sample = _check.real("Vocabulary", "sample", sample, 0)
        if sample == 0:
            return np.ones(len(self))
        ratio = sample * self.total / self.counts
        return np.minimum(1, np.sqrt(ratio) + ratio)

    def noise_distribution(self, exponent=0.75):
        """Probabilities in proportion to count ** exponent."""
        weights = self.counts.astype(np.float64) ** _check.real("Vocabulary", "exponent", exponent)
        return weights / weights.sum()

    def save(self, path):
        """Writes lines of word, tab, count."""
        for word in self.words:
            if not word or word.split() != [word]:
                raise ValueError(f"Vocabulary.save: a word with white space cannot be written: {word!r}")
        with atomic_write(path, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{word}\t{count}\n" for word, count in zip(self.words, self.counts.tolist(), strict=True))

    @classmethod
    def load(cls, path):
        """Reads what save wrote."""
        counts = {}
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                parts = line.rstrip("\n").split("\t")
                if len(parts) != 2 or not parts[0] or not parts[1].isdigit() or parts[0] in counts:
                    raise ValueError(f"{path}: line {number} must be a new word, a tab and its count, got {line!r}")
                counts[parts[0]] = int(parts[1])
        if not counts:
            raise ValueError(f"{path}: the file holds no words")
        return cls(counts)
