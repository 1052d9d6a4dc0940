"""Optimizers that set the length of an update for each variable as a whole: Lamb, Adafactor.

An update is a direction d, the norms of d and of the parameters, and a step of sgd along d times a factor made of them
(direction_ratio in csrc/kernels/optimizers.inc.c). Notation: see fastnn.optimizers.methods.
"""

import math

import numpy as np

from fastnn.optimizers.methods import _Moments
from fastnn.optimizers.optimizer import Buffer, Operand, Optimizer, Record, blocks, cost


class _ByVariable(Optimizer):
    """What they share: the pass that follows the direction."""

    by_variable = True
    scratch_names = ("direction",)
    #: constants of direction_ratio: least rms of the parameters, limit of the direction's
    ratio = (0.0, 0.0)

    def buffers(self, ranges):
        out = super().buffers(ranges)
        most = max((blocks(r.size) for r in ranges), default=0)  # one variable after the other uses them
        out["direction_norms"] = Buffer(2 * most, np.float64, saved=False)
        out["direction_ratio"] = Buffer(1, np.float64, saved=False)
        return out

    def _direction(self, r, grad, factor, ints, reals):
        """Records that take the weight decay off the parameters of a range and leave its direction in "direction"."""
        raise NotImplementedError

    def _update(self, r, grad, factor, ints, reals):
        count, direction = blocks(r.size), Operand("direction", r.offset)
        sums = (Operand("direction_norms", 0), Operand("direction_norms", count))
        ratio = Operand("direction_ratio", 0)
        norms = [
            Record("gradient_norm", (where, what), (r.size, ints[2]), (), cost(r.size, 1))
            for where, what in zip(sums, (Operand("param", r.offset), direction), strict=True)
        ]
        along = self._pass("sgd", r, direction, (), ratio, (r.size, 0, ints[2]), (reals[0], 0.0, 1.0, 0.0))
        return [
            *self._direction(r, grad, factor, ints, reals),
            *norms,
            Record("direction_ratio", (ratio, *sums), (count,), (*self.ratio, float(r.size)), 5.0 + count),
            along,
        ]


class Lamb(_ByVariable, _Moments):
    """m, v as Adam; d = m / (1-b1^t) / (sqrt(v / (1-b2^t)) + epsilon); p <- p - lr |p| / |d| d, norms of a variable
    each, their ratio 1 where one of them is 0  (You et al. 2020, without bounds of the ratio, as Keras)."""

    method_columns = ("learning_rate", "momentum_factor", "correction")

    def _method_hyper(self, raw, t):
        return self._rates(raw), 1 / (1 - np.power(self.beta_1, t)), 1 / (1 - np.power(self.beta_2, t))

    def _method(self):
        return "lamb", 0, (self.beta_1, self.beta_2, self.epsilon)

    def _direction(self, r, grad, factor, ints, reals):
        return [self._pass("lamb", r, grad, (*self.slot_names, "direction"), factor, ints, reals)]


class Adafactor(_ByVariable):
    """The second moment of a matrix by the means of its rows and columns alone (Shazeer & Stern 2018), for variables
    (..., rows, columns):

    b = 1 - t^beta_2_decay; R <- b R + (1-b) (mean of each row of g^2 + epsilon_1), C likewise of each column;
    d = g / sqrt(R C / mean(R)), divided by max(1, rms(d) / clip_threshold);
    p <- p - min(lr, 1 / sqrt(t)) max(epsilon_2, rms(p)) d.

    Vectors: v <- b v + (1-b) (g^2 + epsilon_1), d = g / sqrt(v). relative_step is Keras' and changes nothing: the rate
    is at most 1 / sqrt(t) either way. Slots: "row" (the vectors' v too) and "column", at the start of the variable's
    place.
    """

    slot_names = ("row", "column")
    scratch_names = ("direction", "column_scale")
    method_columns = ("learning_rate", "beta_2", "rate_factor")

    def __init__(
        self, learning_rate=0.001, beta_2_decay=-0.8, epsilon_1=1e-30, epsilon_2=1e-3, clip_threshold=1.0,
        relative_step=True, *common, **settings,
    ):  # fmt: skip
        super().__init__(learning_rate, *common, **settings)
        self.beta_2_decay = self._number("beta_2_decay", beta_2_decay, most=0)
        self.epsilon_1 = self._number("epsilon_1", epsilon_1, least=0)
        self.epsilon_2 = self._number("epsilon_2", epsilon_2, least=0)
        self.clip_threshold = self._number("clip_threshold", clip_threshold, above=0)
        self.relative_step = bool(relative_step)

    @property
    def ratio(self):
        return self.epsilon_2, self.clip_threshold

    def _method_hyper(self, raw, t):
        rates = self._rates(raw)
        factor = np.divide(np.minimum(rates, 1 / np.sqrt(t)), rates, out=np.ones(len(t)), where=rates > 0)
        return rates, 1 - np.power(t, self.beta_2_decay), factor

    def _method(self):
        return "adafactor", 0, (self.epsilon_1,)

    def _direction(self, r, grad, factor, ints, reals):
        if len(r.shape) < 2:
            return [self._pass("adafactor", r, grad, ("row", "direction"), factor, ints, reals)]
        *matrices, rows, columns = r.shape
        count, update, epsilon = math.prod(matrices), ints[2], (self.epsilon_1,)
        row, column, scale, direction = (
            Operand(role, r.offset) for role in ("row", "column", "column_scale", "direction")
        )
        return [
            self._pass("adafactor_gradient", r, grad, ("direction",), factor, ints, reals),
            Record("adafactor_rows", (row, direction), (count * rows, columns, update), epsilon, cost(r.size, 1)),
            Record("adafactor_columns", (column, scale, row, direction), (count, rows, columns, update), epsilon,
                   cost(r.size, 1)),
            Record("adafactor_direction", (direction, row, scale), (count * rows, columns, rows, update), (),
                   cost(r.size, 2)),
        ]  # fmt: skip

    def get_config(self):
        names = ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
