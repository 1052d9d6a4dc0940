"""Universal approximation by hand: sums of sigmoid towers follow any continuous function.

    python examples/towers.py [--quick]

Left: one tower of two sigmoids, steeper and steeper. Middle: a function of one variable by 10 and by 40 towers.
Right: a function of two variables by 12 x 12 towers (each of four sigmoids under a fifth), and the function itself.
"""

import numpy as np
from _common import arguments, panels, save

from fastnn.principles import tower_network_1d, tower_network_2d


def f(x):
    return 0.2 + 0.4 * x**2 + 0.3 * x * np.sin(15 * x) + 0.05 * np.cos(50 * x)


def g(x, y):
    return np.exp(-8 * ((x - 0.3) ** 2 + (y - 0.35) ** 2)) - 0.8 * np.exp(-14 * ((x - 0.7) ** 2 + (y - 0.7) ** 2))


def main():
    given = arguments(__doc__, "towers", data=None)
    x = np.linspace(0, 1, 600)
    figure, (one, line, made, wanted) = panels(1, 4, size=(2.2, 2.2))
    for k in (20, 60, 400):
        one.plot(x, 1 / (1 + np.exp(-k * (x - 0.4))) - 1 / (1 + np.exp(-k * (x - 0.6))), label=f"steepness {k}")
    one.set_title("a tower: two sigmoids")
    one.legend(loc="upper right")
    line.plot(x, f(x), "k", lw=1, label="function")
    for towers in (10, 40):
        model = tower_network_1d(f, towers)
        y = model.predict(x[:, None])[:, 0]
        line.plot(x, y, lw=1, label=f"{towers} towers: error {np.abs(y - f(x)).mean():.3f}")
    line.set(title="in one dimension", ylim=(-0.1, 1.15))
    line.legend(loc="upper left")
    towers = 8 if given.quick else 12
    side = np.linspace(0, 1, 120)
    points = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    model = tower_network_2d(g, towers)
    z = model.predict(points, batch_size=1024).reshape(120, 120)
    exact = g(*points.T).reshape(120, 120)
    for axes, values, title in ((made, z, f"{towers} x {towers} towers"), (wanted, exact, "function")):
        axes.imshow(values.T, origin="lower", extent=(0, 1, 0, 1), cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set(title=title, xticks=[0, 1], yticks=[0, 1])
    save(figure, given.output)


if __name__ == "__main__":
    main()
