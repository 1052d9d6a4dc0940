"""Networks of sigmoids put together by hand: towers side by side approximate any continuous function on an interval or
a square (the constructive view of Cybenko 1989 and Hornik et al. 1989; as drawn by Nielsen 2015, chapter 4)."""

import numpy as np

from fastnn.layers import Dense, Input
from fastnn.models import Sequential


def _check(where, towers, steepness, interval):
    if isinstance(towers, bool) or not isinstance(towers, (int, np.integer)) or towers < 1:
        raise ValueError(f"{where}: towers must be an integer >= 1, got {towers!r}")
    if not (np.isfinite(steepness) and steepness > 0):
        raise ValueError(f"{where}: steepness must be a finite number > 0, got {steepness!r}")
    low, high = map(float, interval)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"{where}: interval must be (low, high) with low < high, got {interval!r}")
    return low, high


def tower_network_1d(function, towers=20, steepness=50.0, interval=(0.0, 1.0)):
    """A network 1 - 2 towers - 1 whose sum of towers follows `function` (arrays to arrays) on `interval`.

    A tower on [a, b] is sigmoid(k (x - a)) - sigmoid(k (x - b)), of the height of the function at the middle; k is
    `steepness` over the width of a tower. Left and right of the interval the outermost towers stand on.
    """
    low, high = _check("tower_network_1d", towers, steepness, interval)
    edges = np.linspace(low, high, towers + 1)
    heights = np.asarray(function((edges[:-1] + edges[1:]) / 2), np.float64).reshape(-1)
    if heights.shape != (towers,) or not np.isfinite(heights).all():
        raise ValueError(f"tower_network_1d: function must give one finite number for each of {towers} points")
    k = steepness * towers / (high - low)
    left, right = edges[:-1].copy(), edges[1:].copy()
    left[0] -= high - low
    right[-1] += high - low
    model = Sequential([Input((1,)), Dense(2 * towers, activation="sigmoid"), Dense(1)])
    starts = np.c_[left, right].reshape(-1)
    out = np.c_[heights, -heights].reshape(-1, 1)
    model.set_weights([np.full((1, 2 * towers), k), -k * starts, out, np.zeros(1)])
    return model


def tower_network_2d(function, towers=8, steepness=50.0, interval=(0.0, 1.0)):
    """A network 2 - 4 towers^2 - towers^2 - 1 for a function of two variables on the square interval x interval.

    Four sigmoids make the ridges [a, b] of x and [c, d] of y, whose sum is 2 where they cross, and at most 1
    elsewhere; a sigmoid of the second layer, with its threshold at 1.5, keeps the crossing alone: a tower.
    function(x, y): arrays to arrays.
    """
    low, high = _check("tower_network_2d", towers, steepness, interval)
    edges = np.linspace(low, high, towers + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    x, y = (grid.reshape(-1) for grid in np.meshgrid(middle, middle, indexing="ij"))
    heights = np.asarray(function(x, y), np.float64).reshape(-1)
    count = towers * towers
    if heights.shape != (count,) or not np.isfinite(heights).all():
        raise ValueError(f"tower_network_2d: function must give one finite number for each of {count} points")
    half, k = (high - low) / towers / 2, steepness * towers / (high - low)
    kernel, bias, join = np.zeros((2, 4 * count)), np.zeros(4 * count), np.zeros((4 * count, count))
    for side, (centre, axis, at) in enumerate(((x, 0, -1), (x, 0, 1), (y, 1, -1), (y, 1, 1))):
        columns = 4 * np.arange(count) + side
        edge = centre + at * half
        outermost = np.isclose(edge, low if at < 0 else high)
        kernel[axis, columns] = k
        bias[columns] = -k * np.where(outermost, edge + at * (high - low), edge)
        join[columns, np.arange(count)] = -at * steepness
    model = Sequential([
        Input((2,)), Dense(4 * count, activation="sigmoid"), Dense(count, activation="sigmoid"), Dense(1),
    ])  # fmt: skip
    model.set_weights([kernel, bias, join, np.full(count, -1.5 * steepness), heights[:, None], np.zeros(1)])
    return model
