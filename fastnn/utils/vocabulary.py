"""Texts as numbers: vocabularies of characters and of words."""

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np

_WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")


class Vocabulary:
    """Tokens and their ids: 0 is padding, 1 stands for every unknown token, the others follow in the order given.

    Args:
        tokens: the known tokens, each once.
        level: "char", or "word": runs of letters and digits, and every other sign by itself.
        lower: whether texts are made lower-case first.
    """

    PADDING, UNKNOWN = 0, 1

    def __init__(self, tokens, level="char", lower=False):
        if level not in ("char", "word"):
            raise ValueError(f"Vocabulary: level must be 'char' or 'word', got {level!r}")
        self.tokens = list(tokens)
        self.level, self.lower = level, bool(lower)
        self._ids = {token: j + 2 for j, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            raise ValueError("Vocabulary: a token occurs twice")

    @classmethod
    def of(cls, texts, level="char", lower=False, max_tokens=None, min_count=1):
        """The vocabulary of a text or of many: the `max_tokens` most frequent tokens that occur at least `min_count`
        times, the most frequent first (equals in alphabetical order)."""
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, Iterable):
            raise TypeError(f"Vocabulary: expected a text (str) or texts, got {type(texts).__name__}")
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"Vocabulary: max_tokens must be at least 1, got {max_tokens}")
        empty, counts = cls((), level, lower), Counter()
        for text in texts:
            counts.update(empty.split(text))
        found = sorted((t for t, n in counts.items() if n >= min_count), key=lambda t: (-counts[t], t))
        if not found:
            raise ValueError(f"Vocabulary: the texts hold no token that occurs {min_count} times or more")
        return cls(found[:max_tokens], level, lower)

    def __len__(self):
        """The number of ids, padding and unknown included: the input_dim of an Embedding."""
        return len(self.tokens) + 2

    def __contains__(self, token):
        return token in self._ids

    def split(self, text):
        """The tokens of a text."""
        if not isinstance(text, str):
            raise TypeError(f"Vocabulary: expected a text (str), got {type(text).__name__}")
        text = text.lower() if self.lower else text
        return list(text) if self.level == "char" else _WORD.findall(text)

    def encode(self, text):
        """The ids of a text's tokens: int32 (tokens,)."""
        get = self._ids.get
        return np.array([get(token, self.UNKNOWN) for token in self.split(text)], dtype=np.int32)

    def decode(self, ids, unknown="?"):
        """The text of ids; padding is left out. Words are put together with blanks."""
        tokens, ids = [], np.asarray(ids)
        if ids.size and ids.dtype.kind not in "iu":
            raise TypeError(f"Vocabulary: ids must be integers, got {ids.dtype}")
        for j in ids.ravel().tolist():
            if not 0 <= j < len(self):
                raise ValueError(f"Vocabulary: ids must be in 0..{len(self) - 1}, got {j}")
            if j != self.PADDING:
                tokens.append(unknown if j == self.UNKNOWN else self.tokens[j - 2])
        return ("" if self.level == "char" else " ").join(tokens)

    def get_config(self):
        """Keyword arguments that make an equal vocabulary: plain values, for a JSON file."""
        return {"tokens": self.tokens, "level": self.level, "lower": self.lower}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
