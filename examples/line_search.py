"""Line search: gradient descent that tries several rates at each step, and L-BFGS, against fixed rates.

    python examples/line_search.py [--quick] [--data mnist]

All train on the whole batch. Left: loss by update. Right: by gradients taken, what a search costs.
"""

from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import optimizers


def counted(optimizer):
    """Counts the evaluations of the loss and its gradient."""
    advance, optimizer_counts = optimizer.advance, []

    def counting(objective, *rest):
        calls = [0]

        def one(x):
            calls[0] += 1
            return objective(x)

        result = advance(one, *rest)
        optimizer_counts.append(calls[0])
        return result

    optimizer.advance = counting
    return optimizer_counts


def main():
    given = arguments(__doc__, "line_search", updates=0)
    (x, y), _, _ = images(given.data, 2000)
    updates = given.updates or (40 if given.quick else 80)
    ways = {
        "rate 0.1": optimizers.SGD(0.1),
        "rate 0.5": optimizers.SGD(0.5),
        "rate 3": optimizers.SGD(3.0),
        "grid of 9 rates": optimizers.LineSearch("grid"),
        "Armijo backtracking": optimizers.LineSearch("armijo", learning_rate=4.0),
        "strong Wolfe": optimizers.LineSearch("strong_wolfe"),
        "L-BFGS": optimizers.LBFGS(),
    }
    figure, (left, right) = panels(1, 2, size=(3.6, 2.7))
    for name, optimizer in ways.items():
        fastnn.utils.set_random_seed(1)
        model = classifier(x.shape[1], (32,), activation="tanh", optimizer=optimizer)
        counts = counted(optimizer) if optimizer.full_batch else None
        loss = model.fit(x, y, epochs=updates, batch_size=len(x), verbose=0).history["loss"]
        calls = range(1, len(loss) + 1) if counts is None else [sum(counts[: j + 1]) for j in range(len(loss))]
        left.semilogy(range(1, len(loss) + 1), loss, lw=1, ls=":" if counts is None else "-", label=name)
        right.loglog(calls, loss, lw=1, ls=":" if counts is None else "-")
    left.set(xlabel="updates", title=f"loss, {given.data}, the whole batch", ylim=(1e-3, 4))
    right.set(xlabel="losses and gradients computed", ylim=(1e-3, 4), title="the same by cost")
    left.legend()
    save(figure, given.output)


if __name__ == "__main__":
    main()
