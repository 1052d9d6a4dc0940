"""Dropout as an ensemble: predictions with dropout left on, many times (Gal & Ghahramani 2016)."""

from typing import NamedTuple

import numpy as np

from fastnn.callbacks.monitors import check_int
from fastnn.layers.core import Dropout
from fastnn.utils import seeding


class MonteCarlo(NamedTuple):
    """Of the drawn outputs: `mean` (rows, ...), standard deviation `std` (rows, ...), all of them `samples`
    (count, rows, ...)."""

    mean: np.ndarray
    std: np.ndarray
    samples: np.ndarray


def monte_carlo_predict(model, x, samples=50, batch_size=None, seed=None):
    """`samples` predictions with other dropout masks each; batch normalization and noise layers work as in prediction.

    model: built, with one output and at least one Dropout layer (SpatialDropout, AlphaDropout, ... count). x: as for
    `predict`. seed: of the masks; None: from the global seed. Returns a `MonteCarlo`.
    """
    samples = check_int("monte_carlo_predict", "samples", samples, 1)
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, Dropout)]
    if not any(layer.rate > 0 for layer in layers):
        raise ValueError(f"monte_carlo_predict: model {model.name!r} has no dropout, so all samples would be the same")
    seed = seeding.next_seed() if seed is None else seeding.check_seed("monte_carlo_predict", seed)
    for layer in layers:
        layer.always = True
    try:
        drawn = model._draw(x, samples, batch_size, seed)
    finally:
        for layer in layers:
            layer.always = False
    return MonteCarlo(drawn.mean(axis=0), drawn.std(axis=0), drawn)
