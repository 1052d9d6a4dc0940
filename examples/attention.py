"""Attention: three handwritten digits in a row, read one after the other, and where the network looks for each.

    python examples/attention.py [--quick] [--data mnist]

An encoder (a bidirectional GRU) reads the columns of the picture; a decoder asks three times, with a learned question
for each place, and gets the mean of what was read, weighted by attention (Bahdanau et al. 2015). The digits stand
at random places, so that it has to look for them. Left: accuracy by epoch, beside a decoder that is given the plain
mean. Right: test pictures, and below each the weights of its three answers.
"""

import numpy as np
from _common import arguments, images, panels, save

import fastnn
from fastnn import layers, ops, optimizers


def rows_of_digits(x, y, side, count, rng):
    """(count, width, side): pictures of three digits with gaps, by columns; (count, 3): what they are."""
    gap = side // 2
    width = 3 * side + 3 * gap
    out, chosen = np.zeros((count, side, width), np.float32), rng.integers(0, len(x), (count, 3))
    for j in range(count):
        at = 0
        for k in range(3):
            at += rng.integers(0, gap + 1)
            out[j, :, at : at + side] = x[chosen[j, k]].reshape(side, side)
            at += side
    return out.transpose(0, 2, 1).copy(), y[chosen]


def networks(width, side, units, attend):
    """The network, and one that gives its attention too."""
    fastnn.utils.set_random_seed(1)
    picture = layers.Input((width, side))
    places = layers.Input((3,), dtype="int32")
    read = layers.Bidirectional(layers.GRU(units, return_sequences=True))(picture)
    question = layers.Embedding(3, 2 * units)(places)
    attention = layers.MultiHeadAttention(1, units)
    if attend:
        heard, weights = attention(question, read, return_attention_scores=True)
    else:
        heard = ops.multiply(question, layers.Reshape((1, 2 * units))(layers.GlobalAveragePooling1D()(read)))
        weights = question
    hidden = layers.Dense(2 * units, activation="relu")(heard)
    answer = layers.Dense(10, activation="softmax")(hidden)
    return fastnn.Model([picture, places], answer), fastnn.Model([picture, places], weights)


def main():
    given = arguments(__doc__, "attention")
    (x, y), (x_test, y_test), side = images(given.data, 10000)
    rng = np.random.default_rng(1)
    count, epochs, units = (2000, 12, 24) if given.quick else (12000, 10, 32)
    picture, wanted = rows_of_digits(x, y, side, count, rng)
    test, right_answers = rows_of_digits(x_test, y_test, side, 500, rng)
    places = np.tile(np.arange(3), (count, 1))
    figure, (left, right) = panels(1, 2, size=(3.4, 2.6), width_ratios=(1, 1.3))
    for label, attend in (("plain mean", False), ("attention", True)):
        model, looking = networks(picture.shape[1], side, units, attend)
        steps = epochs * -(-count // 32)
        rate = optimizers.schedules.OneCycle(0.004, steps)
        model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit([picture, places], wanted, batch_size=32, epochs=epochs, verbose=0,
                            validation_data=([test, places[:500]], right_answers))  # fmt: skip
        left.plot(range(1, epochs + 1), 100 * np.array(history.history["val_accuracy"]), ".-", label=label)
    left.set(title=f"digits read rightly, %, {given.data}", xlabel="epoch")
    left.legend()
    weights = looking.predict([test[:3], places[:3]])[:, 0]  # (3, places, columns)
    blocks = []
    for j in range(3):
        shown = weights[j] / weights[j].max(axis=1, keepdims=True)
        blocks += [1 - test[j].T, np.repeat(1 - shown, max(side // 8, 1), axis=0), np.ones((2, test.shape[1]))]
    right.imshow(np.concatenate(blocks), cmap="gray", aspect="auto", interpolation="nearest")
    answers = model.predict([test[:3], places[:3]]).argmax(axis=-1)
    said = "; ".join(" ".join(map(str, a)) for a in answers)
    right.set(xticks=[], yticks=[], title=f"where it looks; it reads {said}")
    save(figure, given.output, colors=64)


if __name__ == "__main__":
    main()
