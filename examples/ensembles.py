"""Ensembles: bagging, votes and averages, snapshots of one training.

    python examples/ensembles.py [--quick] [--data mnist]

Left: test accuracy by the number of members; members train side by side on threads. Right: a snapshot ensemble, the
loss of its one training with warm restarts, and what its snapshots reach alone and together.
"""

import numpy as np
from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import optimizers
from fastnn.ensembles import Bagging, Ensemble, snapshot_ensemble


def main():
    given = arguments(__doc__, "ensembles", members=0)
    (x, y), (x_test, y_test), _ = images(given.data, 300 if given.quick else 1000)
    members, epochs = given.members or (15 if given.quick else 20), 15
    make = lambda: classifier(x.shape[1], (48,), optimizer=optimizers.Adam(3e-3))  # noqa: E731
    bag = Bagging(make, members=members, seed=1)
    bag.fit(x, y, epochs=epochs)
    alone = [100 * Ensemble([one]).accuracy(x_test, y_test) for one in bag.members]
    count = range(1, members + 1)
    together = {how: [100 * Ensemble(bag.members[:n]).accuracy(x_test, y_test, how) for n in count]
                for how in ("average", "vote")}  # fmt: skip
    figure, (left, middle, right) = panels(1, 3)
    left.plot(count, alone, ".", color="gray", label="each member")
    left.axhline(np.mean(alone), color="gray", lw=0.6, ls=":")
    for how, values in together.items():
        left.plot(count, values, label=how)
    outputs, counted = bag.out_of_bag(x)
    seen = counted > 0
    estimate = 100 * (outputs[seen].argmax(axis=1) == y[seen]).mean()
    left.axhline(estimate, color="green", lw=0.6, ls="--", label="out-of-bag estimate")
    left.set(xlabel="members", title=f"bagging: test accuracy, %, {given.data}")
    left.legend()

    fastnn.utils.set_random_seed(2)
    model, cycles = classifier(x.shape[1], (48,), optimizer=optimizers.SGD(0.5, momentum=0.9)), 6
    found, history = snapshot_ensemble(model, x, y, cycles, 8, learning_rate=0.25, verbose=0)
    middle.semilogy(history.history["loss"])
    for end in range(8, 8 * cycles + 1, 8):
        middle.axvline(end - 1, color="gray", lw=0.5, ls=":")
    middle.set(xlabel="epoch", title="one training, warm restarts: loss")
    count = range(1, cycles + 1)
    single = [100 * Ensemble([one]).accuracy(x_test, y_test) for one in found.members]
    last = [100 * Ensemble(found.members[-n:]).accuracy(x_test, y_test) for n in count]
    right.bar(count, single, color="lightgray", label="each snapshot")
    right.plot(count, last, "o-", label="average of the last n")
    right.set(xlabel="snapshot, n", ylim=(min(single) - 3, max(last) + 1), title="snapshots: test accuracy, %")
    right.legend(loc="lower right")
    save(figure, given.output)


if __name__ == "__main__":
    main()
