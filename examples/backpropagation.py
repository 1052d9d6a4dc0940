"""Backpropagation checked and watched: gradients beside central differences, and their way back through the layers.

    python examples/backpropagation.py [--quick] [--data mnist]

Left: every weight's gradient, as the compiled step has it, against the difference of two losses. Middle: what such a
difference is off by, for steps of many sizes: too large, and the loss is no line; too small, and roundings show. Right:
the size of the gradient that reaches each of eight layers, for three activations.
"""

import numpy as np
from _common import arguments, classifier, images, panels, save

import fastnn
from fastnn import optimizers


def gradients(model, x, y):
    """The gradient of each weight: what a step of descent at rate 1 takes from it."""
    model.compile(optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    before = model.get_weights()
    model.train_on_batch(x, y)
    found = [old - new for old, new in zip(before, model.get_weights(), strict=True)]
    model.set_weights(before)
    return found


def differences(model, x, y, step, places):
    """(loss at w + step - loss at w - step) / (2 step), for weights (number, index)."""
    weights, out = model.get_weights(), []
    for number, index in places:
        sides = []
        for sign in (1, -1):
            moved = [w.copy() for w in weights]
            moved[number][index] += sign * step
            model.set_weights(moved)
            sides.append(model.evaluate(x, y, batch_size=len(x), verbose=0))
        out.append((sides[0] - sides[1]) / (2 * step))
    model.set_weights(weights)
    return np.array(out)


def main():
    given = arguments(__doc__, "backpropagation")
    fastnn.config.set_floatx("float64")  # differences of losses need the digits
    (x, y), _, _ = images(given.data, 256)
    x = x.astype(np.float64)
    model = classifier(x.shape[1], (12, 12), "tanh")
    found = gradients(model, x, y)
    rng = np.random.default_rng(1)
    places = [(n, tuple(rng.integers(0, s) for s in w.shape)) for n, w in enumerate(found) for _ in range(20)]
    exact = np.array([found[n][i] for n, i in places])
    steps = 10.0 ** np.arange(-11, 0.1, 1)
    errors = [np.abs(differences(model, x, y, h, places[::4]) - exact[::4]).max() for h in steps]

    figure, (left, middle, right) = panels(1, 3, size=(2.7, 2.4))
    left.plot(exact, differences(model, x, y, 1e-5, places), ".", markersize=3)
    left.set(title="gradients of 120 weights", xlabel="by backpropagation", ylabel="by differences")
    middle.loglog(steps, errors, ".-")
    middle.set(title="largest error of a difference", xlabel="step")
    depth = 8
    for activation in ("sigmoid", "tanh", "relu"):
        fastnn.utils.set_random_seed(2)
        start = "he_normal" if activation == "relu" else "glorot_uniform"
        deep = classifier(x.shape[1], (30,) * depth, activation, kernel_initializer=start)
        kernels = gradients(deep, x, y)[0 : 2 * depth : 2]
        right.semilogy(range(1, depth + 1), [np.sqrt((k**2).mean()) for k in kernels], ".-", label=activation)
    right.set(title="root mean square gradient at the start", xlabel="layer")
    right.legend()
    save(figure, given.output)


if __name__ == "__main__":
    main()
