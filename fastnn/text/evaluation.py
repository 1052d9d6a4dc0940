"""How well vectors agree with people: word pairs with similarities (WordSim-353), analogies (questions-words)."""

import numpy as np

from fastnn.text import _check
from fastnn.text.vectors import WordVectors, analogy_scores


def _ranks(x):
    """Ranks from 1 on; equal values share the mean of theirs."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place.reshape(-1)]


def _pearson(where, x, y):
    x, y = x - x.mean(), y - y.mean()
    lengths = np.sqrt((x @ x) * (y @ y))
    if lengths == 0:
        raise ValueError(f"{where}: a correlation needs values that are not all the same")
    return float(np.clip(x @ y / lengths, -1, 1))


def spearman(x, y):
    """Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(f"spearman: x and y must be two 1-D arrays of one length, got shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("spearman: x and y must be finite numbers")
    return _pearson("spearman", _ranks(x), _ranks(y))


def read_word_pairs(path):
    """[(word, word, similarity)] of a file with a pair a line, separated by tabs (or commas, or blanks); lines that
    begin with # are comments, and a first line without a number is a heading."""
    pairs = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            parts = line.split("\t") if "\t" in line else line.split(",") if "," in line else line.split()
            try:
                first, second, value = (part.strip() for part in parts[:3])
                value = float(value)
            except ValueError:
                if not pairs and number == 1:
                    continue
                raise ValueError(
                    f"{path}: line {number} must be two words and a number, separated by tabs, got {line[:60]!r}"
                ) from None
            pairs.append((first, second, value))
    if not pairs:
        raise ValueError(f"{path}: the file holds no word pairs")
    return pairs


def read_analogies(path):
    """[(section, a, b, c, d)] of a file of analogies, a : b = c : d, under headings ": section"."""
    questions, section = [], ""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            parts = line.split()
            if parts and parts[0].startswith(":"):
                section = line.strip()[1:].strip()
            elif len(parts) == 4:
                questions.append((section, *parts))
            elif parts:
                raise ValueError(f"{path}: line {number} must be four words or ': section', got {line.strip()[:60]!r}")
    if not questions:
        raise ValueError(f"{path}: the file holds no analogies")
    return questions


def _finder(where, vectors, ignore_case):
    """The number of a word in `vectors`, or None; where it is not there as it stands, in lower case."""
    if not isinstance(vectors, WordVectors):
        raise TypeError(f"{where}: vectors must be WordVectors, got {type(vectors).__name__}")
    index = vectors.index
    return (lambda word: index.get(word, index.get(word.lower()))) if ignore_case else index.get


def _check_lengths(where, name, rows, form, length):
    for row in rows:
        if not isinstance(row, list | tuple) or len(row) != length:
            raise ValueError(f"{where}: {name} must be a path or a list of {form}, got {row!r} in it")


def evaluate_similarity(vectors, pairs, ignore_case=True):
    """{"spearman", "pearson", "pairs", "unknown"}: correlations of cosines with people's judgments of word pairs (a
    path or what read_word_pairs returns); pairs with a word that has no vector are left out, and counted."""
    pairs = pairs if isinstance(pairs, list) else read_word_pairs(pairs)
    find, unit = _finder("evaluate_similarity", vectors, ignore_case), vectors.normalized()
    _check_lengths("evaluate_similarity", "pairs", pairs, "(word, word, similarity)", 3)
    known = [(find(a), find(b), value) for a, b, value in pairs]
    known = [pair for pair in known if pair[0] is not None and pair[1] is not None]
    if len(known) < 2:
        raise ValueError(f"evaluate_similarity: {len(known)} of {len(pairs)} pairs have vectors; at least 2 are needed")
    first, second, values = zip(*known, strict=True)
    cosines = np.einsum("ij,ij->i", unit[list(first)].astype(np.float64), unit[list(second)].astype(np.float64))
    return {
        "spearman": spearman(cosines, values),
        "pearson": _pearson("evaluate_similarity", cosines, np.asarray(values, np.float64)),
        "pairs": len(known),
        "unknown": len(pairs) - len(known),
    }


def evaluate_analogies(vectors, questions, method="3cosadd", ignore_case=True, restrict=None):
    """{"accuracy", "correct", "questions", "unknown", "sections": {name: (correct, questions)}} of analogies (a path or
    what read_analogies returns): the best scored of the first `restrict` words (all by default), the three given ones
    left out, must be the fourth. Questions with a word that has no vector are left out and counted in "unknown"."""
    questions = questions if isinstance(questions, list) else read_analogies(questions)
    find, count = _finder("evaluate_analogies", vectors, ignore_case), len(vectors)
    if restrict is not None:
        count = min(_check.integer("evaluate_analogies", "restrict", restrict, 1), count)
    _check_lengths("evaluate_analogies", "questions", questions, "(section, a, b, c, d)", 5)
    unit = vectors.normalized()[:count]
    known, sections = [], {}
    for section, *words in questions:
        numbers = [find(word) for word in words]
        if all(number is not None and number < count for number in numbers):
            known.append((section, *numbers))
    if not known:
        raise ValueError(
            f"evaluate_analogies: none of {len(questions)} questions has four words with vectors; at least 1 is needed"
        )
    for first in range(0, len(known), 256):
        part = known[first : first + 256]
        scores = analogy_scores(unit, [[b, c] for _, _, b, c, _ in part], [[a] for _, a, _, _, _ in part], method)
        for row, (section, a, b, c, d) in zip(scores, part, strict=True):
            row[[a, b, c]] = -np.inf
            correct, asked = sections.get(section, (0, 0))
            sections[section] = (correct + int(row.argmax() == d), asked + 1)
    correct = sum(right for right, _ in sections.values())
    return {
        "accuracy": correct / len(known),
        "correct": correct,
        "questions": len(known),
        "unknown": len(questions) - len(known),
        "sections": sections,
    }
