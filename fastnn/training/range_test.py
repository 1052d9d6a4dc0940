"""The learning-rate range test: which rates make the loss fall."""

import os
from typing import NamedTuple

import numpy as np

from fastnn.callbacks.monitors import check_int, check_number


class LearningRateRange(NamedTuple):
    """What a range test saw, one entry a step: `rates`, the batch's `losses` and their running mean `smooth`.

    `suggestion` is a tenth of the rate at which the running mean is least: still falling, and well off the edge.
    """

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    suggestion: float

    def plot(self, path=None, title=None, ax=None):
        """Draws the loss over the rate, as `History.plot` draws a fit (needs matplotlib).

        `path` names a file to write (PNG, SVG, PDF by its ending); `ax`: axes to draw into, in place of a figure of
        its own. Returns the matplotlib figure. Works without a display.
        """
        if hasattr(path, "semilogx"):
            raise TypeError("LearningRateRange.plot: path must name a file; pass axes as ax=")
        if ax is None:
            try:
                from matplotlib.backends.backend_agg import FigureCanvasAgg
                from matplotlib.figure import Figure
            except ImportError:
                raise ImportError("LearningRateRange.plot needs matplotlib: pip install matplotlib") from None
            figure = Figure(figsize=(5.5, 3.8), layout="constrained")
            FigureCanvasAgg(figure)
            ax = figure.add_subplot()
        ax.semilogx(self.rates, self.losses, ".", alpha=0.3, label="batch")
        ax.semilogx(self.rates, self.smooth, label="running mean")
        ax.axvline(self.suggestion, color="gray", linestyle=":", label=f"{self.suggestion:.2g}")
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        ax.legend()
        if title:
            ax.set_title(title)
        if path is not None:
            ax.figure.savefig(os.fspath(path), dpi=120)
        return ax.figure


def find_learning_rate(model, x, y, lowest=1e-6, highest=10.0, steps=100, batch_size=32, diverged=4.0):
    """Trains for `steps` batches while the rate rises from `lowest` to `highest` in equal factors (Smith 2017), and
    puts the model and its optimizer back to where they were.

    x, y: as for fit (arrays); the batches go round the data in a fixed random order. Ends early once the running mean
    of the loss (0.9 of it and 0.1 of the new one, unbiased) is above `diverged` times its minimum (where that is
    negative: above it by `diverged` - 1 times its size), or not finite.
    Returns a `LearningRateRange`.
    """
    where = "find_learning_rate"
    model._need_compile(where)
    if check_number(where, "lowest", lowest, 0.0) <= 0 or check_number(where, "highest", highest) <= lowest:
        raise ValueError(f"{where}: rates must satisfy 0 < lowest < highest, got {lowest} and {highest}")
    steps = check_int(where, "steps", steps, 2)
    check_number(where, "diverged", diverged, 1.0)
    optimizer = model.optimizer
    if optimizer.full_batch:
        raise ValueError(f"{where}: {type(optimizer).__name__} searches its rates itself")
    arrays = model._dataset(x, y, None, where)
    batch = model._batch_size(batch_size, arrays.rows, where)
    step = model._step("train", model._form(arrays.x, arrays.y, arrays.weights), batch)
    model.reset_metrics()
    kept, rate, count = model._everything(), optimizer._learning_rate, optimizer.step_count
    order = model._shuffled(0, arrays.rows)
    rates, losses, smooth, mean = np.geomspace(lowest, highest, steps), [], [], 0.0
    try:
        for j, value in enumerate(rates):
            optimizer._learning_rate = float(value)
            model.reset_metrics()
            first = j * batch % (arrays.rows - arrays.rows % batch)
            with step.core:
                step.bind([*arrays.x, *arrays.y, *arrays.weights])
                step.core.run(first, first + batch, batch, order=order, index=optimizer.step_count, seed=model._seed,
                              hyper=optimizer.hyper(optimizer.step_count, 1))  # fmt: skip
            optimizer.step_count += 1
            losses.append(model._logs()["loss"])
            mean = 0.9 * mean + 0.1 * losses[-1]
            smooth.append(mean / (1 - 0.9 ** (j + 1)))
            if not np.isfinite(mean) or smooth[-1] > min(smooth) + (diverged - 1) * abs(min(smooth)):
                break
    finally:
        for array, values in kept:
            array[...] = values
        optimizer._learning_rate, optimizer.step_count = rate, count
    made = rates[: len(losses)]
    best = int(np.argmin(np.where(np.isfinite(smooth), smooth, np.inf)))
    return LearningRateRange(made, np.asarray(losses), np.asarray(smooth), float(made[best] / 10))
