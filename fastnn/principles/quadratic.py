"""Early stopping beside L2 on a quadratic loss (Goodfellow et al. 2016, section 7.8)."""

from typing import NamedTuple

import numpy as np


class QuadraticPaths(NamedTuple):
    """`descent` (steps + 1, n): gradient descent from 0; `ridge` (alphas, n): the minima with L2; `alphas`; `nearest`
    (steps + 1,): for each step the number of the alpha whose minimum is nearest."""

    descent: np.ndarray
    ridge: np.ndarray
    alphas: np.ndarray
    nearest: np.ndarray


def early_stopping_and_l2(hessian, minimum, learning_rate, steps, alphas=None):
    """L(w) = (w - w*)' H (w - w*) / 2, looked at in the axes of H = Q Lambda Q':

        after t steps from 0:           Q' w_t = (1 - (1 - rate Lambda)^t) Q' w*
        with alpha |w|^2 / 2 added:     Q' w_a = Lambda / (Lambda + alpha) Q' w*

    The two agree where (1 - rate lambda)^t = alpha / (lambda + alpha): about alpha = 1 / (rate t) for small rate
    lambda. Both leave axes of small lambda near 0.

    Args:
        hessian: H (n, n), symmetric, eigenvalues >= 0; minimum: w* (n,).
        learning_rate: below 2 / the largest eigenvalue, or descent runs away.
        steps: how many.
        alphas: strengths of L2 to look at; None: 1 / (learning_rate t) for t = 1 ... steps.
    """
    h, w = np.asarray(hessian, np.float64), np.asarray(minimum, np.float64).reshape(-1)
    if h.shape != (len(w), len(w)) or not np.allclose(h, h.T):
        raise ValueError(f"early_stopping_and_l2: hessian must be symmetric, ({len(w)}, {len(w)}), got {h.shape}")
    values, axes = np.linalg.eigh(h)
    if values[0] < -1e-12 * max(abs(values[-1]), 1.0):
        raise ValueError(f"early_stopping_and_l2: hessian must have no negative eigenvalue, got {values[0]}")
    if not 0 < learning_rate * max(values[-1], 1e-300) < 2:
        raise ValueError(
            f"early_stopping_and_l2: learning_rate must be in (0, {2 / values[-1]:.3g}) for this hessian, "
            f"got {learning_rate}"
        )
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(f"early_stopping_and_l2: steps must be an integer >= 1, got {steps!r}")
    alphas = 1.0 / (learning_rate * np.arange(1, steps + 1)) if alphas is None else np.asarray(alphas, np.float64)
    if alphas.ndim != 1 or len(alphas) == 0 or not np.all(alphas > 0):
        raise ValueError("early_stopping_and_l2: alphas must be numbers > 0, at least one")
    goal = axes.T @ w
    t = np.arange(steps + 1)[:, None]
    descent = (1 - (1 - learning_rate * values) ** t) * goal @ axes.T
    ridge = values / (values + alphas[:, None]) * goal @ axes.T
    nearest = ((descent[:, None, :] - ridge[None]) ** 2).sum(axis=2).argmin(axis=1)
    return QuadraticPaths(descent, ridge, alphas, nearest)
