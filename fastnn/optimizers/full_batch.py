"""Optimizers that look before they step: a line search over the loss of the whole data set, and L-BFGS.

They need the loss at several points for one update, so `fit` makes one update an epoch, from all samples
(`batch_size` then only says how many go through the network at a time), and the loss it logs is the one after the
update. `train_on_batch` makes an update from its batch. Training ends where the gradient is below `tolerance` or no
rate lowers the loss.
"""

from typing import Any, NamedTuple

import numpy as np

from fastnn.optimizers import line_search as searches
from fastnn.optimizers import schedules
from fastnn.optimizers.optimizer import Buffer, Optimizer
from fastnn.utils.checks import number

SEARCHES = ("grid", "armijo", "strong_wolfe")
GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Evaluation(NamedTuple):
    """A function at a point: `x`, `gradient` flat arrays; `logs`: whatever the function wants kept with it."""

    x: np.ndarray
    loss: float
    gradient: np.ndarray
    logs: Any = None


def dot(a, b):
    """The inner product in float64, the same bits on any number of threads."""
    return float(np.multiply(a, b, dtype=np.float64).sum())


class FullBatch(Optimizer):
    """Base class: a direction d from gradients, and a search for the rate t of x <- x + t d.

    line_search: "grid" (the best of `learning_rates`), "armijo" (from learning_rate on, halved until the loss falls
    enough) or "strong_wolfe" (from learning_rate on); None: always learning_rate.
    max_evaluations: of the loss, in one search. tolerance: largest |gradient| that ends the training.
    """

    full_batch = True

    def __init__(self, learning_rate, line_search, learning_rates, max_evaluations, tolerance, name):
        super().__init__(learning_rate, name=name)
        where = type(self).__name__
        if line_search is not None and line_search not in SEARCHES:
            raise ValueError(f"{where}: line_search must be one of {SEARCHES} or None, got {line_search!r}")
        self.line_search = line_search
        if isinstance(learning_rates, (str, int, float)) or not len(learning_rates):
            raise ValueError(f"{where}: learning_rates must list at least one rate, got {learning_rates!r}")
        self.learning_rates = tuple(number(where, "learning_rates", rate, above=0) for rate in learning_rates)
        self.max_evaluations = self._count("max_evaluations", max_evaluations, 1)
        if self.max_evaluations is None:
            raise ValueError(f"{where}: max_evaluations must be an integer >= 1, got None")
        self.tolerance = self._number("tolerance", tolerance, least=0)

    def program(self, ranges, merge=True):
        """No kernels: a step ends with the gradient, and the update is `advance`."""
        return []

    def direction(self, gradient, factors, memory):
        """Where to go from here; a descent direction."""
        raise NotImplementedError(f"{type(self).__name__} must define direction()")

    def remember(self, before, after, memory):
        """Takes note of an update."""

    def first_rate(self, gradient, memory):
        """The rate that a search begins with."""
        return self.learning_rate

    def advance(self, objective, start, memory, factors=None):
        """One update of the function `objective` (x -> Evaluation) from the Evaluation `start`.

        memory: the arrays of `buffers` by role. factors: of the learning rate, one an element, or None.
        Returns the Evaluation after it, or None where the search ends.
        """
        if not np.isfinite(start.loss) or np.abs(start.gradient).max(initial=0.0) <= self.tolerance:
            return None
        direction = self.direction(start.gradient, factors, memory)
        slope = dot(start.gradient, direction)
        kept = {}

        def along(rate):
            point = objective((start.x + rate * direction).astype(start.x.dtype, copy=False))
            # the best and the last one are what a search can end with
            if "best" not in kept or point.loss < kept["best"][1].loss:
                kept["best"] = rate, point
            kept["last"] = rate, point
            return point.loss, dot(point.gradient, direction)

        rate = self._search(along, start, slope, memory)
        if rate is None:
            return None
        after = next((point for tried, point in kept.values() if tried == rate), None)
        if after is None:
            after = objective((start.x + rate * direction).astype(start.x.dtype, copy=False))
        if np.array_equal(after.x, start.x):
            return None  # the step is below the numbers' resolution
        self.remember(start, after, memory)
        return after

    def _search(self, along, start, slope, memory):
        noise = 2 * float(np.finfo(start.x.dtype).eps) * abs(start.loss)
        rate = self.first_rate(start.gradient, memory)
        if self.line_search == "grid":
            return searches.grid(along, start.loss, slope, self.learning_rates)
        if self.line_search == "armijo":
            return searches.backtracking(along, start.loss, slope, rate, most=self.max_evaluations, noise=noise)
        if self.line_search == "strong_wolfe":
            return searches.strong_wolfe(along, start.loss, slope, rate, most=self.max_evaluations, noise=noise)
        along(rate)
        return rate

    def minimize(self, function, x, steps=100):
        """Minimizes a function of one array: function(x) gives (loss, gradient).

        x: the start, any shape, float32 or float64 (left as it is). Returns the points gone through, an array
        (updates + 1, *x.shape): at most `steps` updates, fewer where the search ends.
        """
        x = np.array(x)
        if x.dtype not in (np.float32, np.float64):
            raise TypeError(f"{type(self).__name__}.minimize: x must be float32 or float64, got {x.dtype}")
        from fastnn.optimizers.optimizer import Range

        shape = x.shape
        memory = {role: np.zeros(b.size, x.dtype) for role, b in self.buffers([Range(0, x.size)]).items()}

        def objective(flat):
            loss, gradient = function(flat.reshape(shape))
            return Evaluation(flat, float(loss), np.asarray(gradient, x.dtype).reshape(-1))

        here = objective(x.reshape(-1))
        path = [here.x.reshape(shape)]
        for _ in range(steps):
            here = self.advance(objective, here, memory)
            if here is None:
                break
            self.step_count += 1
            path.append(here.x.reshape(shape))
        return np.stack(path)

    def apply(self, grads, trainable_variables=None):
        raise TypeError(
            f"{type(self).__name__}.apply: this optimizer needs the loss at several points, not gradients; "
            "use minimize(function, x), or a model's fit"
        )

    def get_config(self):
        rate = self._learning_rate
        return {
            "name": self.name,
            "learning_rate": schedules.serialize(rate) if isinstance(rate, schedules.LearningRateSchedule) else rate,
            "line_search": self.line_search,
            "learning_rates": list(self.learning_rates),
            "max_evaluations": self.max_evaluations,
            "tolerance": self.tolerance,
        }


class LineSearch(FullBatch):
    """Gradient descent whose rate is chosen anew for every update: p <- p - t g with t from a line search.

    "grid": the rate of the lowest loss among `learning_rates`. "armijo": the first of learning_rate, half of it,
    a quarter, ... with f(t) <= f(0) - 1e-4 t |g|^2 (Armijo 1966). "strong_wolfe": also |f'(t)| <= 0.9 |f'(0)|
    (Nocedal & Wright 2006, algorithm 3.5). A layer's learning_rate_factor multiplies its part of the direction.
    """

    def __init__(self, line_search="grid", learning_rate=1.0, learning_rates=GRID, max_evaluations=20, tolerance=1e-7,
                 name="line_search"):  # fmt: skip
        if line_search is None:
            raise ValueError(f"LineSearch: line_search must be one of {SEARCHES}; for a fixed rate use SGD")
        super().__init__(learning_rate, line_search, learning_rates, max_evaluations, tolerance, name)

    def direction(self, gradient, factors, memory):
        return -gradient if factors is None else -gradient * factors


class LBFGS(FullBatch):
    """Limited-memory BFGS (Nocedal 1980; Liu & Nocedal 1989): d = -H g, with H built of the last `memory` pairs
    s = x' - x, y = g' - g by the two-loop recursion, from s.y / y.y times the identity.

    The first search begins at learning_rate min(1, 1 / sum |g|), later ones at learning_rate. Pairs without positive
    curvature s.y are left out. A layer's learning_rate_factor multiplies its part of the initial matrix.
    Slots: step_j and change_j, the pair of the updates j, j + memory, ...
    """

    def __init__(self, learning_rate=1.0, memory=10, line_search="strong_wolfe", learning_rates=GRID,
                 max_evaluations=20, tolerance=1e-7, name="lbfgs"):  # fmt: skip
        super().__init__(learning_rate, line_search, learning_rates, max_evaluations, tolerance, name)
        self.memory = self._count("memory", memory, 1)
        if self.memory is None:
            raise ValueError("LBFGS: memory must be an integer >= 1, got None")

    def buffers(self, ranges):
        size = max((r.offset + r.size for r in ranges), default=0)
        return {f"{role}_{j}": Buffer(size) for j in range(self.memory) for role in ("step", "change")}

    def _pairs(self, memory):
        """(s, y, s.y) from the newest to the oldest."""
        for age in range(1, min(self.memory, self.step_count) + 1):
            j = (self.step_count - age) % self.memory
            s, y = memory[f"step_{j}"], memory[f"change_{j}"]
            curvature = dot(s, y)
            if curvature > 0:
                yield s, y, curvature

    def direction(self, gradient, factors, memory):
        q, used = gradient.astype(np.float64), []
        for s, y, curvature in self._pairs(memory):
            alpha = dot(s, q) / curvature
            q -= alpha * y
            used.append((s, y, curvature, alpha))
        if used:
            _, y, curvature, _ = used[0]
            q *= curvature / dot(y, y)
        if factors is not None:
            q *= factors
        for s, y, curvature, alpha in reversed(used):
            q += s * (alpha - dot(y, q) / curvature)
        if dot(q, gradient) <= 0:  # rounding has spoiled the matrix
            q = gradient.astype(np.float64)
        return -q

    def first_rate(self, gradient, memory):
        if next(self._pairs(memory), None) is None:
            return self.learning_rate * min(1.0, 1.0 / max(float(np.abs(gradient).sum(dtype=np.float64)), 1e-300))
        return self.learning_rate

    def remember(self, before, after, memory):
        j = self.step_count % self.memory
        s, y = after.x - before.x, after.gradient - before.gradient
        good = dot(s, y) > 1e-10 * dot(y, y)
        memory[f"step_{j}"][: s.size] = s if good else 0
        memory[f"change_{j}"][: s.size] = y if good else 0

    def get_config(self):
        return {**super().get_config(), "memory": self.memory}
