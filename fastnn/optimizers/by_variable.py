"""Optimizers that look at each variable as a whole: Lamb, Adafactor, Muon.

An update is a direction d, norms of d and of the parameters, and a step of sgd along d times a factor made of them
(direction_ratio in csrc/kernels/optimizers.inc.c). Notation: see fastnn.optimizers.methods.
"""

import math
import re

import numpy as np

from fastnn.optimizers.methods import _Moments, adam_hyper
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
        direction, ratio = Operand("direction", r.offset), Operand("direction_ratio", 0)
        return [
            *self._direction(r, grad, factor, ints, reals),
            *self._norms(r, ints[2], Operand("param", r.offset), direction),
            self._along(r, direction, ratio, ints[2], reals[0]),
        ]

    def _norms(self, r, update, *what):
        """Records that make "direction_ratio" of the norms of two operands."""
        count = blocks(r.size)
        sums = (Operand("direction_norms", 0), Operand("direction_norms", count))
        return [
            *(
                Record("gradient_norm", pair, (r.size, update), (), cost(r.size, 1))
                for pair in zip(sums, what, strict=True)
            ),
            Record("direction_ratio", (Operand("direction_ratio", 0), *sums), (count,), (*self.ratio, float(r.size)),
                   5.0 + count),
        ]  # fmt: skip

    def _along(self, r, direction, ratio, update, rate, length=1.0):
        """The step against a direction, times `length` and what the operand `ratio` holds."""
        return self._pass("sgd", r, direction, (), ratio, (r.size, 0, update), (rate, 0.0, length, 0.0))


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
        self.relative_step = self._flag("relative_step", relative_step)

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


class Muon(_ByVariable):
    """Matrices: m <- momentum m + g; u = g + momentum m (nesterov; else m), made orthogonal by ns_steps rounds of
    X <- a X + b (X X^T) X + c (X X^T)^2 X from X = u / |u|; p <- p - lr rms_rate sqrt(max(rows, columns)) X
    (Jordan et al. 2024; the factor: Liu et al. 2025; rms_rate=None: without it).

    All variables that are no matrices, embeddings (exclude_embeddings: "embedding" in their path) and those whose
    path one of the regular expressions exclude_layers is found in: Adam with rate adam_lr_ratio lr and weight decay
    adam_weight_decay. The layer that gives the output should be among them.
    """

    slot_names = ("momentum", "velocity")
    scratch_names = ("direction", "direction_next")
    method_columns = ("learning_rate", "correction", "epsilon")
    ratio = (1e-7, -1.0)

    def __init__(
        self, learning_rate=0.001, adam_beta_1=0.9, adam_beta_2=0.999, adam_weight_decay=0.004, epsilon=1e-7,
        weight_decay=0.004, clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
        ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None, name=None,
        exclude_layers=None, exclude_embeddings=True, muon_a=3.4445, muon_b=-4.7750, muon_c=2.0315, adam_lr_ratio=1,
        momentum=0.95, ns_steps=5, nesterov=True, rms_rate=0.2, **settings,
    ):  # fmt: skip
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name, **settings,
        )  # fmt: skip
        self.adam_beta_1 = self._number("adam_beta_1", adam_beta_1, least=0, below=1)
        self.adam_beta_2 = self._number("adam_beta_2", adam_beta_2, least=0, below=1)
        self.adam_weight_decay = self._optional("adam_weight_decay", adam_weight_decay, least=0)
        self.epsilon = self._number("epsilon", epsilon, least=0)
        if isinstance(exclude_layers, str):
            raise ValueError(f"Muon: exclude_layers must be a list of expressions, got {exclude_layers!r}")
        self.exclude_layers = list(exclude_layers or ())
        for expression in self.exclude_layers:
            try:
                re.compile(expression)
            except (re.error, TypeError) as error:
                raise ValueError(f"Muon: exclude_layers: {expression!r} is no regular expression ({error})") from None
        self.exclude_embeddings = self._flag("exclude_embeddings", exclude_embeddings)
        for key, value in {"muon_a": muon_a, "muon_b": muon_b, "muon_c": muon_c}.items():
            setattr(self, key, self._number(key, value))
        self.adam_lr_ratio = self._number("adam_lr_ratio", adam_lr_ratio, above=0)
        self.momentum = self._number("momentum", momentum, least=0, below=1)
        self.ns_steps = self._count("ns_steps", ns_steps, 0) or 0
        self.nesterov = self._flag("nesterov", nesterov)
        self.rms_rate = self._optional("rms_rate", rms_rate, above=0)

    def decays(self, variable):
        return self._may_decay(variable) and not (self.weight_decay is None and self.adam_weight_decay is None)

    def _method_hyper(self, raw, t):
        return self._rates(raw), *adam_hyper(t, self.adam_beta_1, self.adam_beta_2, self.epsilon)

    def _method(self):
        return "muon", 0, ()

    def _by_adam(self, r):
        return (
            len(r.shape) != 2
            or (self.exclude_embeddings and "embedding" in r.path.lower())
            or any(re.search(expression, r.path) for expression in self.exclude_layers)
        )

    def buffers(self, ranges):
        out = super().buffers(ranges)
        most = max((min(r.shape) ** 2 for r in ranges if not self._by_adam(r)), default=0)
        return out | {name: Buffer(most, saved=False) for name in ("gram", "gram_terms", "gram_sum")}

    def _update(self, r, grad, factor, ints, reals):
        rate, _, *scaling = reals
        decay = (self.adam_weight_decay if self._by_adam(r) else self.weight_decay) or 0.0
        decay = decay if r.weight_decay else 0.0
        if self._by_adam(r):
            constants = (rate * self.adam_lr_ratio, decay / self.adam_lr_ratio, *scaling, self.adam_beta_1,
                         self.adam_beta_2)  # fmt: skip
            return [self._pass("adam", r, grad, self.slot_names, factor, ints, constants)]
        mix = (self.momentum, 1.0) if self.nesterov else (1.0, 0.0)
        constants = (rate, decay, *scaling, self.momentum, *mix)
        direction, ratio = Operand("direction", r.offset), Operand("direction_ratio", 0)
        rounds, direction = self._orthogonal(r, direction)
        length = 1.0 if self.rms_rate is None else self.rms_rate * math.sqrt(max(r.shape))
        return [
            self._pass("muon", r, grad, ("momentum", "direction"), factor, ints, constants),
            *self._norms(r, ints[2], Operand("direction", r.offset), Operand("direction", r.offset)),
            Record("scale", (Operand("direction", r.offset), ratio), (r.size,), (1.0,), cost(r.size, 2)),
            *rounds,
            self._along(r, direction, None, ints[2], rate, length),
        ]

    def _orthogonal(self, r, x):
        """Records of the rounds on the matrix at `x`, and where they leave it. With G = X X^T, or X^T X if that is the
        smaller one: X <- (a I + G (b I + c G)) X."""
        (rows, columns), other = r.shape, Operand("direction_next", r.offset)
        gram, terms, total = (Operand(role, 0) for role in ("gram", "gram_terms", "gram_sum"))
        n, tall, out = min(r.shape), rows > columns, []
        for _ in range(self.ns_steps):
            out.append(_product("matmul_tn" if tall else "matmul_nt", gram, x, x, n, n, max(r.shape), columns, columns))
            constants = (self.muon_a, self.muon_b, self.muon_c)
            out.append(Record("muon_terms", (terms, total, gram), (n, n), constants, cost(n * n, 3)))
            out.append(_product("matmul_nn", total, gram, terms, n, n, n, n, n, add=True))
            a, b = (x, total) if tall else (total, x)
            out.append(_product("matmul_nn", other, a, b, rows, columns, n, n, columns))
            x, other = other, x
        return out, x

    def get_config(self):
        names = (
            "adam_beta_1", "adam_beta_2", "adam_weight_decay", "epsilon", "exclude_layers", "exclude_embeddings",
            "muon_a", "muon_b", "muon_c", "adam_lr_ratio", "momentum", "ns_steps", "nesterov", "rms_rate",
        )  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _product(kernel, out, a, b, m, n, k, lda, ldb, add=False):
    """A record of C[m,n] (+)= A B; csrc/kernels/matmul.inc.c."""
    rows, inner = (k, m) if kernel == "matmul_tn" else (m, k)
    return Record(kernel, (out, a, b), (rows, n, inner, lda, ldb, n, int(add)), (), 0.02 * m * n * k)
