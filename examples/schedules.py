"""Learning-rate schedules, drawn, and what they reach on one network with the same number of steps.

    python examples/schedules.py [--quick] [--data mnist]

SGD; the rate over the steps, and the test accuracy it leads to.
"""

from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import optimizers
from fastnn.optimizers import schedules as s


def choices(rate, steps):
    return {
        "constant": rate,
        "step decay (halved)": s.StepDecay(rate, steps // 5, 0.5),
        "exponential": s.ExponentialDecay(rate, steps, 0.05),
        "inverse time": s.InverseTimeDecay(rate, steps, 10.0),
        "polynomial": s.PolynomialDecay(rate, steps, rate / 100, power=2.0),
        "piecewise": s.PiecewiseConstantDecay([steps // 2, 3 * steps // 4], [rate, rate / 5, rate / 25]),
        "triangular": s.CyclicLearningRate(rate / 10, rate, steps // 8),
        "triangular2": s.CyclicLearningRate(rate / 10, rate, steps // 8, mode="triangular2"),
        "one cycle": s.OneCycle(2 * rate, steps),
        "cosine": s.CosineDecay(rate, steps),
        "warm restarts": s.CosineDecayRestarts(rate, steps // 7, t_mul=2.0),
        "warm-up, cosine": s.WarmUp(s.CosineDecay(rate, steps - steps // 10), steps // 10),
    }


def main():
    given = arguments(__doc__, "schedules", rate=0.3)
    (x, y), test, _ = images(given.data, 12000)
    epochs, batch = (8, 64) if given.quick else (12, 64)
    steps = epochs * -(-len(x) // batch)
    figure, grid = panels(3, 4, size=(2.0, 1.35))
    for axes, (name, rate) in zip(grid.flat, choices(given.rate, steps).items(), strict=True):
        fastnn.utils.set_random_seed(1)
        model = classifier(x.shape[1], (64,), optimizer=optimizers.SGD(rate))
        model.fit(x, y, epochs=epochs, batch_size=batch, verbose=0)
        if isinstance(rate, float):
            axes.axhline(rate)
        else:
            rate.plot(steps, ax=axes)
        accuracy = 100 * model.evaluate(*test, verbose=0)[1]
        axes.set(title=f"{name}: {accuracy:.1f} %", ylim=(0, 2.1 * given.rate), xlabel="", ylabel="", xticks=[0, steps])
    save(figure, given.output)


if __name__ == "__main__":
    main()
