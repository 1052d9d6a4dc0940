"""Word2Vec's training, written a second time in float64 NumPy: the same draws (csrc/kernels/random.h), the same order
of products and updates as csrc/kernels/words.inc.c, one centre after the other and no vector instructions."""

import numpy as np

from .randomness import philox

CBOW, MEAN, EXACT, FULL_WINDOW = 1, 2, 4, 8


def philox_lanes(seed, index, stream, groups):
    """(groups x 16,) uint64: lanes of Philox4x32-7 groups `groups` (an array of numbers)."""
    return np.ascontiguousarray(philox(seed, index, stream, groups, 7)).view(np.uint64).ravel()


class Draw:
    """What a centre is dealt: numbers of the words in its window, and (outputs, labels) of each prediction."""

    def __init__(self, at, tokens, sentence, seed, block, stream, window, negative, mode, noise=None, tree=None):
        predictions = 1 if mode & CBOW else 2 * window
        groups = (1 + negative * predictions + 15) // 16
        lanes = iter(philox_lanes(seed, block, stream, np.arange(at * groups, (at + 1) * groups)).tolist())
        reach = 1 + ((next(lanes) >> 32) * window >> 32)
        reach = window if mode & FULL_WINDOW else reach
        near = range(max(at - reach, 0), min(at + reach, len(tokens) - 1) + 1)
        self.context = [int(tokens[j]) for j in near if j != at and sentence[j] == sentence[at]]
        centre = int(tokens[at])
        self.predictions = []
        for _ in range(bool(self.context) if mode & CBOW else len(self.context)):
            if negative:
                outputs, labels = [centre], [1]
                for _ in range(negative):
                    lane = next(lanes)
                    word = (lane >> 32) * len(noise) >> 32
                    found = int(word if lane & 0xFFFFFFFF < noise[word, 0] else noise[word, 1])
                    outputs.append(found)
                    labels.append(-1 if found == centre else 0)
            else:
                start, nodes, code = tree
                outputs = nodes[start[centre] : start[centre + 1]].tolist()
                labels = code[start[centre] : start[centre + 1]].tolist()
            self.predictions.append((np.array(outputs), np.array(labels)))


def prediction(mode, vectors, context, j):
    """The vector that makes prediction j."""
    if not mode & CBOW:
        return vectors[context[j]]
    return vectors[context].sum(axis=0) / (len(context) if mode & MEAN else 1)


def loss_and_gradient(x, labels):
    """Summed loss of the products x, and minus its derivative; labels below 0 do not count."""
    counts, positive = labels >= 0, labels > 0
    loss = (np.logaddexp(0, np.where(positive, -x, x)) * counts).sum()
    return loss, np.where(counts, labels - np.exp(-np.logaddexp(0, -x)), 0)


def train_block(vectors, outputs, tokens, sentence, batch, alpha, slope, mode, **options):
    """Trains in place; (loss, predictions) of each centre."""
    losses, predictions = np.zeros(len(tokens)), np.zeros(len(tokens), int)
    for first in range(0, len(tokens), batch):
        draws = [
            Draw(at, tokens, sentence, mode=mode, **options) for at in range(first, min(first + batch, len(tokens)))
        ]
        gradients = []
        for k, draw in enumerate(draws):
            own = []
            for j, (ids, labels) in enumerate(draw.predictions):
                h = prediction(mode, vectors, draw.context, j)
                loss, g = loss_and_gradient(outputs[ids] @ h, labels)
                losses[first + k] += loss
                own.append((h.copy(), (alpha + slope * (first + k)) * g))
            predictions[first + k] = len(own)
            gradients.append(own)
        for draw, own in zip(draws, gradients, strict=True):
            for j, ((ids, _), (h, g)) in enumerate(zip(draw.predictions, own, strict=True)):
                h = h if mode & CBOW else vectors[draw.context[j]].copy()
                e = np.zeros_like(h)
                for k, factor in zip(ids, g, strict=True):
                    e += factor * outputs[k]
                    outputs[k] += factor * h
                if not mode & CBOW:
                    vectors[draw.context[j]] += e
                    continue
                exact = bool(mode & EXACT)
                share = 1 if bool(mode & MEAN) != exact else 1 / len(draw.context)
                for word in draw.context:
                    vectors[word] += share * e
    return losses, predictions
