"""Optimizers racing on one network: the same first weights, the same order of samples, the same number of steps.

    python examples/optimizers_network.py [--quick] [--data mnist]

Left: training loss by epoch. Right: test accuracy at the end.
"""

from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import optimizers


def racers():
    return {
        "SGD": optimizers.SGD(0.1),
        "momentum": optimizers.SGD(0.05, momentum=0.9),
        "Nesterov": optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        "Adagrad": optimizers.Adagrad(0.03),
        "RMSprop": optimizers.RMSprop(1e-3),
        "Adadelta": optimizers.Adadelta(1.0),
        "Adam": optimizers.Adam(2e-3),
        "AdamW": optimizers.AdamW(2e-3),
        "Adamax": optimizers.Adamax(4e-3),
        "Nadam": optimizers.Nadam(2e-3),
        "Lion": optimizers.Lion(3e-4),
    }


def main():
    given = arguments(__doc__, "optimizers_network", epochs=0)
    (x, y), test, _ = images(given.data, 12000)
    epochs = given.epochs or (6 if given.quick else 12)
    figure, (left, right) = panels(1, 2, size=(3.8, 2.8))
    ends = {}
    for j, (name, optimizer) in enumerate(racers().items()):
        fastnn.utils.set_random_seed(1)
        model = classifier(x.shape[1], (64,), optimizer=optimizer)
        history = model.fit(x, y, epochs=epochs, batch_size=64, verbose=0).history
        ends[name] = 100 * model.evaluate(*test, verbose=0)[1]
        left.semilogy(range(1, epochs + 1), history["loss"], lw=1, ls="-" if j < 7 else "--", label=name)
    left.set(xlabel="epoch", title=f"training loss, {given.data}")
    left.legend(ncols=2)
    names = sorted(ends, key=ends.get)
    right.barh(names, [ends[n] for n in names], color="steelblue")
    right.set(xlim=(min(ends.values()) - 3, 100), title="test accuracy, %")
    save(figure, given.output)


if __name__ == "__main__":
    main()
