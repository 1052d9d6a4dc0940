"""Word2Vec's training, written a second time in float64 NumPy: the same draws (csrc/kernels/random.h), the same order
of products and updates as csrc/kernels/words.inc.c, one centre after the other and no vector instructions."""

import numpy as np

CBOW, MEAN, EXACT, FULL_WINDOW = 1, 2, 4, 8


def philox_lanes(seed, index, stream, groups, rounds=7):
    """(groups x 16,) uint64: lanes of Philox4x32 groups `groups` (an array of numbers)."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    draws = (np.asarray(groups, np.uint64)[:, None] * np.uint64(8) + np.arange(8, dtype=np.uint64)).ravel()
    c = [draws & low, draws >> shift, np.full_like(draws, index), np.full_like(draws, stream)]
    k0, k1 = np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)
    for _ in range(rounds):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> shift) ^ c[1] ^ k0, p1 & low, (p0 >> shift) ^ c[3] ^ k1, p0 & low]
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    rows = [(c[0] << shift | c[1]).reshape(-1, 8), (c[2] << shift | c[3]).reshape(-1, 8)]
    return np.stack(rows, 1).ravel()


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
