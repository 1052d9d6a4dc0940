"""Taylor's views of a loss: the line that gradient descent sees, the parabola that Newton's method sees, the loss."""

from typing import NamedTuple

import numpy as np

from fastnn.training.full_batch import Objective


class TaylorViews(NamedTuple):
    """Along the rates `t` (count,), all float64: `loss` L(w + t d), `first` L + t g.d, and `second`
    L + t g.d + t^2/2 d'Hd; with the numbers `value` L, `slope` g.d and `curvature` d'Hd."""

    t: np.ndarray
    loss: np.ndarray
    first: np.ndarray
    second: np.ndarray
    value: float
    slope: float
    curvature: float

    @property
    def best_rate(self):
        """The minimum of the parabola, -slope / curvature; None where it opens downwards."""
        return -self.slope / self.curvature if self.curvature > 0 else None


def taylor_views(model, x, y, rates, direction=None, sample_weight=None):
    """The loss of `model` on all of (x, y) along a direction of its weights, beside its Taylor polynomials of first and
    second order at the weights it has, which it keeps.

    Args:
        model: compiled; without dropout, whose masks would be those of one step.
        x, y, sample_weight: as for fit.
        rates: numbers t to look at.
        direction: arrays shaped like the trainable weights; None: the negative gradient, so that t is the learning
            rate of gradient descent.

    The curvature is the central difference of two gradients, with a step of the cube root of the rounding error;
    float64 models (`config.set_floatx("float64")`) give about ten digits, float32 about three.
    """
    model._need_compile("taylor_views")
    rates = np.asarray(rates, np.float64).reshape(-1)
    if rates.size == 0 or not np.isfinite(rates).all():
        raise ValueError(f"taylor_views: rates must be finite numbers, at least one, got {rates}")
    arrays = model._dataset(x, y, sample_weight, "taylor_views")
    step = model._step("train", model._form(arrays.x, arrays.y, arrays.weights), arrays.rows)
    kept = model._everything()
    try:
        function = Objective(model, step, arrays, arrays.rows)
        w = step.store.array.copy()
        here = function.evaluate(w)
        g = here.gradient.astype(np.float64)
        d = -g if direction is None else _flat(step, direction)
        norm = float(np.sqrt((d * d).sum()))
        if norm == 0:
            raise ValueError("taylor_views: the direction is zero everywhere")
        eps = float(np.finfo(w.dtype).eps)
        h = eps ** (1 / 3) * max(1.0, float(np.abs(w).max())) / norm
        ahead, behind = (function.evaluate((w + s * d).astype(w.dtype)).gradient.astype(np.float64) for s in (h, -h))
        slope, curvature = float((g * d).sum()), float(((ahead - behind) * d).sum() / (2 * h))
        loss = np.array([function.evaluate((w + t * d).astype(w.dtype)).loss for t in rates])
    finally:
        for array, values in kept:
            array[...] = values
    first = here.loss + rates * slope
    return TaylorViews(rates, loss, first, first + rates**2 / 2 * curvature, here.loss, slope, curvature)


def _flat(step, direction):
    """The direction in the layout of the store."""
    direction = [np.asarray(part, np.float64) for part in direction]
    shapes = [v.shape for v in step.trained]
    if [part.shape for part in direction] != shapes:
        raise ValueError(f"taylor_views: direction must have shapes {shapes}, got {[p.shape for p in direction]}")
    out = np.zeros(step.store.size)
    for v, part in zip(step.trained, direction, strict=True):
        step.store.view(out, v)[...] = part
    return out
