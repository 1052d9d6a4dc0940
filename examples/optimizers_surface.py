"""Optimizers racing down one loss surface.

    python examples/optimizers_surface.py [--quick]

Left: a long curved valley (Rosenbrock's function). Right: a plain that falls away gently beside a steep slope, as the
loss of a sigmoid neuron does. Every optimizer starts at the same point and makes the same number of steps; L-BFGS
looks before it steps.
"""

import numpy as np
from _common import arguments, panels, save

from fastnn import optimizers


def valley(p):
    x, y = p
    return np.log1p((1 - x) ** 2 + 20 * (y - x * x) ** 2)


def valley_gradient(p):
    x, y = p
    inside = 1 + (1 - x) ** 2 + 20 * (y - x * x) ** 2
    return np.array([-2 * (1 - x) - 80 * x * (y - x * x), 40 * (y - x * x)]) / inside


def plain(p):
    x, y = p
    return 1 / (1 + np.exp(x - 0.3 * y)) + 0.02 * (y - 1) ** 2 + 0.003 * x * x


def plain_gradient(p):
    x, y = p
    s = 1 / (1 + np.exp(x - 0.3 * y))
    return np.array([-s * (1 - s) + 0.006 * x, 0.3 * s * (1 - s) + 0.04 * (y - 1)])


RACES = (
    (valley, valley_gradient, (-1.4, 1.8), (-2, 2, -1, 3), 0.03, 150, (1, 1)),
    (plain, plain_gradient, (-5.5, -3.0), (-7, 6, -4.5, 4.5), 0.5, 60, None),
)


def racers(rate):
    return {
        "SGD": optimizers.SGD(rate),
        "momentum": optimizers.SGD(rate, momentum=0.9),
        "Nesterov": optimizers.SGD(rate, momentum=0.9, nesterov=True),
        "Adagrad": optimizers.Adagrad(8 * rate, initial_accumulator_value=0.0),
        "RMSprop": optimizers.RMSprop(rate),
        "Adam": optimizers.Adam(3 * rate),
        "L-BFGS": optimizers.LBFGS(),
    }


def run(optimizer, function, gradient, start, steps):
    if optimizer.full_batch:
        return optimizer.minimize(lambda p: (function(p), gradient(p)), np.array(start), steps)
    point, path = np.array(start), [np.array(start)]
    for _ in range(steps):
        optimizer.apply([gradient(point)], [point])
        path.append(point.copy())
    return np.array(path)


def main():
    given = arguments(__doc__, "optimizers_surface", data=None)
    figure, grid = panels(1, 2, size=(3.9, 3.0))
    for axes, (function, gradient, start, box, rate, steps, goal) in zip(grid, RACES, strict=True):
        x, y = np.meshgrid(np.linspace(*box[:2], 160), np.linspace(*box[2:], 140))
        axes.contour(x, y, function((x, y)), levels=18, colors="silver", linewidths=0.5)
        for name, optimizer in racers(rate).items():
            path = run(optimizer, function, gradient, start, steps)
            end = function(path[-1])
            axes.plot(*path.T, lw=1.1, marker=".", ms=2, label=f"{name}: {len(path) - 1} steps, {end:.2g}")
        axes.plot(*start, "ko", ms=4)
        if goal is not None:
            axes.plot(*goal, "r*", ms=8)
        axes.set(xlim=box[:2], ylim=box[2:], xticks=[], yticks=[], title=f"{function.__name__}: loss at the end")
        axes.legend(loc="lower left" if goal is None else "upper center", ncols=2, fontsize=5.5)
    save(figure, given.output)


if __name__ == "__main__":
    main()
