"""The perceptron: it finds a plane between separable classes, and never settles on XOR.

    python examples/perceptron.py [--quick]

Left: Rosenblatt's rule on zeros and ones, told apart by two measures of their ink; a line for every correction.
Middle: mistakes in each pass, on them and on XOR. Right: how few of the Boolean functions of n inputs it can do.
"""

import numpy as np
from _common import arguments, panels, save, zeros_and_ones

from fastnn.principles import Perceptron, count_separable


def main():
    given = arguments(__doc__, "perceptron", data=None)
    rng = np.random.default_rng(3)
    x, y = zeros_and_ones()
    x = x[:, :2]
    names = "ink in the hole", "ink on the left", "digits 0 and 1"
    order = rng.permutation(len(x))
    x, y = x[order], y[order]
    digits = Perceptron().fit(x, y)
    xor = Perceptron().fit([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], passes=30)

    figure, (left, middle, right) = panels(1, 3)
    for c, marker in ((0, "o"), (1, "^")):
        left.plot(*x[y == c].T, marker, ms=3, label=f"class {c}")
    at = np.array([x[:, 0].min() - 0.5, x[:, 0].max() + 0.5])
    for j, (a, b, c) in enumerate(digits.path[1:], 1):
        if abs(b) > 1e-9:
            last = j == digits.mistakes
            left.plot(at, -(c + a * at) / b, color="black" if last else "gray", lw=1.5 if last else 0.5,
                      alpha=1 if last else 0.2 + 0.6 * j / digits.mistakes)  # fmt: skip
    left.set(xlabel=names[0], ylabel=names[1], title=f"{names[2]}: {digits.mistakes} corrections", xlim=at,
             ylim=(x[:, 1].min() - 0.5, x[:, 1].max() + 0.5))  # fmt: skip
    middle.plot(range(1, len(digits.errors) + 1), digits.errors, ".-", label=f"{names[2]}: converged")
    middle.plot(range(1, len(xor.errors) + 1), xor.errors, ".-", label="XOR: never")
    middle.set(xlabel="pass", title="samples on the wrong side")
    middle.legend()
    inputs = [1, 2, 3, 4]
    counts = np.array([count_separable(n) for n in inputs])
    right.bar(inputs, counts[:, 0], color="lightgray", label="Boolean functions")
    right.bar(inputs, counts[:, 1], width=0.5, label="a perceptron can do")
    for n, (whole, some) in zip(inputs, counts, strict=True):
        right.annotate(f"{some}\nof {whole}", (n, whole * 1.15), ha="center", fontsize=6.5)
    right.set(yscale="log", ylim=(1, 3e6), xticks=inputs, xlabel="inputs n", title="$2^{2^n}$ functions")
    right.legend(loc="upper left")
    save(figure, given.output)


if __name__ == "__main__":
    main()
