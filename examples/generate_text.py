"""A recurrent net that writes text letter by letter (Karpathy 2015), trained on Shakespeare.

    python examples/generate_text.py --text tinyshakespeare.txt.gz    # a path, or a name in FASTNN_DATA
    python examples/generate_text.py --quick                          # a sonnet from this file: seconds, no files

Prints bits a character on text kept back, beside those of two baselines (letter and letter-pair frequencies), then a
text. With the defaults, on the million letters of tiny Shakespeare: 2.33 bits (letters 4.83, pairs 3.58), some eight
minutes on one core.
"""

import argparse
import gzip
import os
from pathlib import Path

import numpy as np
from _common import load, stop

import fastnn
from fastnn import layers

SONNET = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe or eyes can see,
So long lives this, and this gives life to thee.
"""


def read(name):
    path = Path(name)
    if not path.exists():
        path = Path(os.environ.get("FASTNN_DATA", ".")) / "text" / name
    if not path.exists():
        stop(f"{path} is not there: pass --text, set FASTNN_DATA, or try --quick")
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def network(size, units, length=None, stateful=False):
    return fastnn.Sequential([
        layers.Input((length,), dtype="int32"),
        layers.Embedding(size, 64),
        layers.LSTM(units, return_sequences=True, stateful=stateful),
        layers.LSTM(units, return_sequences=True, stateful=stateful),
        layers.Dense(size),
    ])  # fmt: skip


def baselines(train, held, size):
    """Bits a character by the frequencies of letters, and of letters given the one before."""
    single = np.bincount(train, minlength=size) + 1.0
    pairs = np.ones((size, size))
    np.add.at(pairs, (train[:-1], train[1:]), 1.0)
    one = -np.log2(single / single.sum())[held[1:]].mean()
    two = -np.log2(pairs / pairs.sum(axis=1, keepdims=True))[held[:-1], held[1:]].mean()
    return one, two


def write(model, vocabulary, start, length, temperature, seed):
    """A text that begins with `start`, by a stateful copy of the net that takes one letter at a time."""
    writer = network(len(vocabulary), model.layers[1].units, 1, stateful=True)
    writer.set_weights(model.get_weights())
    rng, text = np.random.default_rng(seed), list(vocabulary.encode(start))
    for j in range(len(start) + length - 1):
        logits = writer.predict_on_batch(np.array([[text[j]]], dtype=np.int32))[0, 0].astype(float) / temperature
        if j == len(text) - 1:
            logits[:2] = -np.inf  # padding and unknown
            p = np.exp(logits - logits.max())
            text.append(rng.choice(len(p), p=p / p.sum()))
    return vocabulary.decode(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", default="tinyshakespeare.txt.gz")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--units", type=int, default=192)
    parser.add_argument("--window", type=int, default=100, help="letters that are trained on together")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--length", type=int, default=500, help="letters to write")
    parser.add_argument("--quick", action="store_true", help="a sonnet, few units, some seconds")
    args = parser.parse_args()
    if args.quick:
        args.units, args.window, args.epochs, args.length = 64, 20, 25, 120
    fastnn.utils.set_random_seed(0)
    text = SONNET if args.quick else load(read, args.text)
    vocabulary = fastnn.utils.Vocabulary.of(text)
    ids = vocabulary.encode(text)
    cut = int(0.9 * len(ids))
    window = args.window + 1
    train = fastnn.utils.forecasting_windows(ids[:cut], window - 1, 1, stride=3 if args.quick else args.window)
    train = np.concatenate(train, axis=1)[..., 0]
    held = ids[cut : cut + (len(ids) - cut) // window * window].reshape(-1, window)
    model = network(len(vocabulary), args.units)
    batch = 32 if args.quick else 64
    rate = fastnn.optimizers.schedules.CosineDecay(3e-3, args.epochs * -(-len(train) // batch))
    model.compile(fastnn.optimizers.Adam(rate, clipnorm=1.0),
                  fastnn.losses.SparseCategoricalCrossentropy(from_logits=True))  # fmt: skip
    model.fit(train[:, :-1], train[:, 1:], batch_size=batch, epochs=args.epochs,
              validation_data=(held[:, :-1], held[:, 1:]), verbose=2)  # fmt: skip
    bits = model.evaluate(held[:, :-1], held[:, 1:], verbose=0) / np.log(2)
    one, two = baselines(ids[:cut], ids[cut:], len(vocabulary))
    print(f"bits a character on text kept back: {bits:.2f} (letters alone {one:.2f}, letter pairs {two:.2f})")
    print(write(model, vocabulary, text[:20], args.length, args.temperature, 1))


if __name__ == "__main__":
    main()
