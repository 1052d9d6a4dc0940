"""Principal components, and a linear autoencoder that finds the same plane.

    python examples/principal_components.py [--quick] [--data mnist]

Left: the mean image and the first principal components, by the singular value decomposition, and the columns of a
linear autoencoder's decoder: others, but in the same plane. Middle: error of the images given back from so many
numbers, by both. Right: images from 2, 8 and 32 components.
"""

import numpy as np
from _common import arguments, images, panels, save, sheet

import fastnn
from fastnn import optimizers
from fastnn.pretraining import Autoencoder


def main():
    given = arguments(__doc__, "principal_components")
    (x, _), (x_test, _), side = images(given.data, 5000)
    mean = x.mean(axis=0)
    spread = x - mean
    _, strength, components = np.linalg.svd(spread, full_matrices=False)
    share = np.cumsum(strength**2) / (strength**2).sum()
    counts, found, planes = (1, 2, 4, 8, 16), [], []
    for count in counts:
        fastnn.utils.set_random_seed(1)
        steps = (40 if given.quick else 25) * -(-len(x) // 64)
        rate = optimizers.schedules.CosineDecay(0.01, steps)
        auto = Autoencoder(x.shape[1], [count], activation=None, optimizer=optimizers.Adam(rate))
        auto.fit(spread, epochs=steps // -(-len(x) // 64), batch_size=64, verbose=0)
        found.append(((auto.reconstruct(spread) - spread) ** 2).mean())
        decoder = auto.decoder.layers[-1].kernel.value
        # Cosines of the angles between the two planes: 1 where they agree.
        planes.append(np.linalg.svd(np.linalg.qr(decoder.T)[0].T @ components[:count].T)[1].min())
    print("least cosine between the planes:", ", ".join(f"{n}: {c:.3f}" for n, c in zip(counts, planes, strict=True)))

    figure, (left, middle, right) = panels(1, 3, size=(3.0, 2.1), width_ratios=(1.3, 1, 1))
    sheet(left, np.concatenate([[mean], components[:7], decoder[:8]]).reshape(-1, side, side), 2, 8)
    left.set_title("mean and components; an autoencoder's", loc="left")
    numbers = np.arange(1, 33)
    middle.semilogy(numbers, [(1 - share[n - 1]) * (spread**2).mean() for n in numbers], label="principal components")
    middle.plot(counts, found, "C1o", markersize=4, label="linear autoencoder")
    middle.set(title=f"squared error, {given.data}", xlabel="numbers an image")
    middle.legend()
    rows = [x_test[:6]]
    for n in (32, 8, 2):
        rows.append((x_test[:6] - mean) @ components[:n].T @ components[:n] + mean)
    sheet(right, np.concatenate(rows).reshape(-1, side, side), 4, 6)
    names = ("image", "from 32", "from 8", "from 2")
    right.set_yticks((np.arange(4) + 0.5) * (side + 1) - 1, names, fontsize=6)
    save(figure, given.output, colors=96)


if __name__ == "__main__":
    main()
