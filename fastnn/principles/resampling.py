"""Bias and variance, measured: the same fit on many samples of the same world."""

from typing import NamedTuple

import numpy as np


class BiasVariance(NamedTuple):
    """Means over the points: squared bias (mean fit - truth)^2, variance of the fits, error against the truth
    (their sum), and over their own samples `training_error`; `fits` (repeats, points)."""

    bias2: float
    variance: float
    error: float
    training_error: float
    fits: np.ndarray


def bias_variance(fit, sample, points, truth, repeats=50, seed=0):
    """Fits `repeats` samples and takes the error at `points` apart:

        mean (f - truth)^2 = (mean f - truth)^2 + mean (f - mean f)^2.

    Args:
        fit: (x, y, points, seed) -> (predictions at points, predictions at x); seed is another one for each sample.
        sample: a function of a numpy Generator that draws (x, y).
        points: where to look.
        truth: the true values there, without noise; (points,).
        repeats: how many samples, at least 2.
        seed: of the samples; repeat r is the same for every kind of fit.
    """
    if isinstance(repeats, bool) or not isinstance(repeats, (int, np.integer)) or repeats < 2:
        raise ValueError(f"bias_variance: repeats must be an integer >= 2, got {repeats!r}")
    for name, function in (("fit", fit), ("sample", sample)):
        if not callable(function):
            raise TypeError(f"bias_variance: {name} must be a function, got {type(function).__name__}")
    truth, fits, training = np.asarray(truth, np.float64).reshape(-1), [], []
    for r in range(repeats):
        x, y = sample(np.random.default_rng([seed, r]))
        fitted = fit(x, y, points, 1000 * seed + r)
        if not isinstance(fitted, tuple) or len(fitted) != 2:
            raise TypeError(f"bias_variance: fit must give (predictions at points, at x), got {fitted!r:.80}")
        at_points, at_x = fitted
        fits.append(np.asarray(at_points, np.float64).reshape(-1))
        training.append(((np.asarray(at_x, np.float64).reshape(-1) - np.asarray(y).reshape(-1)) ** 2).mean())
        if fits[-1].shape != truth.shape:
            raise ValueError(f"bias_variance: fit gave {fits[-1].shape[0]} predictions, truth has {truth.shape[0]}")
    fits = np.array(fits)
    mean = fits.mean(axis=0)
    return BiasVariance(
        float(((mean - truth) ** 2).mean()),
        float(fits.var(axis=0).mean()),
        float(((fits - truth) ** 2).mean()),
        float(np.mean(training)),
        fits,
    )
