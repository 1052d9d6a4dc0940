"""How far to go along a direction: by a fixed grid, by backtracking, or by the strong Wolfe conditions.

Each search takes `along`, which gives (loss, slope) at a rate t, i.e. f(x + t d) and its derivative f'(x + t d) . d,
with `loss` and `slope` at t = 0. It returns the rate to take, or None where no rate it tried lowers the loss.
`noise` is the rounding error of the loss: a rise by no more than it counts as none.
"""

import math


def grid(along, loss, slope, rates):
    """The rate of the lowest loss among `rates`, as taught: every rate is tried at every step."""
    found = [(along(rate)[0], rate) for rate in rates]
    found = [pair for pair in found if pair[0] < loss]  # a NaN is never below
    return min(found)[1] if found else None


def backtracking(along, loss, slope, rate, *, decrease=1e-4, shrink=0.5, most=20, noise=0.0):
    """The first of rate, shrink rate, shrink^2 rate, ... with f(t) <= f(0) + decrease t f'(0)  (Armijo 1966)."""
    for _ in range(most):
        if along(rate)[0] <= loss + decrease * rate * slope + noise:
            return rate
        rate *= shrink
    return None


def strong_wolfe(along, loss, slope, rate, *, decrease=1e-4, curvature=0.9, most=20, noise=0.0):
    """A rate with f(t) <= f(0) + decrease t f'(0) and |f'(t)| <= curvature |f'(0)|: algorithms 3.5 and 3.6 of
    Nocedal and Wright 2006, with cubic interpolation. Where `most` evaluations do not suffice, the best rate found
    that meets the first condition."""

    def enough(t, value):
        return value <= loss + decrease * t * slope + noise

    best, before, low, high = None, (0.0, loss, slope), None, None
    for number in range(most):
        point = (rate, *along(rate))
        falls = enough(rate, point[1])  # False for a NaN
        if falls and (best is None or point[1] < best[1]):
            best = point
        if falls and abs(point[2]) <= -curvature * slope:
            return rate
        if low is None:  # still looking for an interval that holds such a rate
            if not falls or (number > 0 and point[1] > before[1] + noise):
                low, high = before, point
            elif point[2] >= 0:
                low, high = point, before
            else:
                before, rate = point, 2.0 * rate
                continue
        elif not falls or point[1] > low[1] + noise:
            high = point
        else:
            if point[2] * (high[0] - low[0]) >= 0:
                high = low
            low = point
        if abs(high[0] - low[0]) <= 1e-12 * max(abs(low[0]), 1e-12):
            break
        rate = between(low, high)
    return best[0] if best is not None else None


def between(a, b):
    """The minimum of the cubic through two points (rate, value, slope), kept off the ends; their middle where there
    is none."""
    middle, margin = 0.5 * (a[0] + b[0]), 0.1 * abs(b[0] - a[0])
    if not all(map(math.isfinite, (*a, *b))):
        return middle
    d1 = a[2] + b[2] - 3 * (a[1] - b[1]) / (a[0] - b[0])
    square = d1 * d1 - a[2] * b[2]
    if square < 0:
        return middle
    d2 = math.copysign(math.sqrt(square), b[0] - a[0])
    width = b[2] - a[2] + 2 * d2
    if width == 0:
        return middle
    t = b[0] - (b[0] - a[0]) * (b[2] + d2 - d1) / width
    return min(max(t, min(a[0], b[0]) + margin), max(a[0], b[0]) - margin)
