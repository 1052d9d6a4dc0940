"""The optimizers: formula, settings, and what of them goes to which kernel (csrc/kernels/optimizers.inc.c).

In all formulas g is the gradient after clipping, p the parameter, t = 1, 2, ... the update, lr the learning rate;
slots start at 0 unless said. `*common` and `**settings` are Optimizer's settings in Keras' order: weight_decay,
clipnorm, clipvalue, ..., name. docs/optimizers.md compares the forms of Keras, PyTorch and optax.
"""

import numpy as np

from fastnn.optimizers import schedules
from fastnn.optimizers.optimizer import TORCH, Optimizer
from fastnn.optimizers.schedules.schedule import evaluate

AMSGRAD, CENTERED, MOMENTUM = 4, 8, 16  # FN_UPDATE_*


class SGD(Optimizer):
    """p <- p - lr g; with momentum v <- mu v - lr g, p <- p + v (Sutskever et al. 2013); with nesterov
    p <- p + mu v - lr g.

    fastnn's own:
    momentum may be a schedule (MomentumSchedule, or any LearningRateSchedule).
    nesterov="lookahead": p <- p + mu_(t+1) v - lr g, Nesterov's method exactly for a momentum that changes; the
    parameters are then the points mu_(t+1) v ahead of its iterates. The same as True for a constant momentum.
    form="torch": v <- mu v + (1 - dampening) g (v = g first), p <- p - lr v, or p - lr (g + mu v) with nesterov.
    It differs from Keras' when lr changes during training.
    """

    default_name = "SGD"

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, *common, dampening=0.0, **settings):
        super().__init__(learning_rate, *common, **settings)
        scheduled = isinstance(momentum, schedules.LearningRateSchedule)
        self.momentum = momentum if scheduled else self._number("momentum", momentum, least=0, below=1)
        if nesterov not in (True, False, "lookahead"):
            raise ValueError(f"SGD: nesterov must be True, False or 'lookahead', got {nesterov!r}")
        self.nesterov = nesterov
        self.dampening = self._number("dampening", dampening)
        if self.dampening and self.form != "torch":
            raise ValueError(f"SGD: dampening={dampening} is PyTorch's; it needs form='torch'")
        if nesterov and self.form == "torch" and (self.dampening or self._plain):
            raise ValueError(f"SGD: nesterov needs momentum > 0 and dampening 0, got {momentum} and {dampening}")
        if not self._plain:
            self.slot_names = ("momentum",)
            self.method_columns = ("learning_rate", "momentum", "gain", "next_momentum")

    @property
    def _plain(self):
        return not isinstance(self.momentum, schedules.LearningRateSchedule) and self.momentum == 0

    def _momenta(self, raw):
        if isinstance(self.momentum, schedules.LearningRateSchedule):
            momenta = evaluate(self.momentum, raw)
            return self._within("momentum", momenta, raw, (momenta >= 0) & (momenta < 1), ">= 0 and < 1")
        return np.full(len(raw), self.momentum)

    def _method_hyper(self, raw, t):
        if self._plain:
            return (self._rates(raw),)
        mu = self._momenta(raw)
        following = self._momenta(raw + (self.gradient_accumulation_steps or 1)) if self.nesterov == "lookahead" else mu
        return self._rates(raw), mu, np.where(t == 1, 1.0, 1.0 - self.dampening), following

    def _method(self):
        if self._plain:
            return "sgd", 0, ()
        return "nesterov" if self.nesterov else "momentum", TORCH if self.form == "torch" else 0, ()

    def get_config(self):
        scheduled = isinstance(self.momentum, schedules.LearningRateSchedule)
        momentum = schedules.serialize(self.momentum) if scheduled else self.momentum
        config = {**super().get_config(), "momentum": momentum, "nesterov": self.nesterov}
        return {**config, "dampening": self.dampening} if self.dampening else config


class RMSprop(Optimizer):
    """v <- rho v + (1-rho) g^2; p <- p - lr g / sqrt(v + epsilon)  (Tieleman & Hinton 2012).

    centered: m <- rho m + (1-rho) g, and v - m^2 in the root. momentum: b <- momentum b + lr g / sqrt(...); p <- p - b.
    form="torch": g / (sqrt(v) + epsilon), and b <- momentum b + g / (...), p <- p - lr b.
    """

    def __init__(self, learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False, *common, **settings):
        super().__init__(learning_rate, *common, **settings)
        self.rho = self._number("rho", rho, least=0, below=1)
        self.momentum = self._number("momentum", momentum, least=0, below=1)
        self.epsilon = self._number("epsilon", epsilon, least=0)
        self.centered = self._flag("centered", centered)
        self.slot_names = ("velocity",) + ("momentum",) * (self.momentum > 0) + ("average_gradient",) * self.centered

    def _method(self):
        flags = (MOMENTUM if self.momentum > 0 else 0) | (CENTERED if self.centered else 0)
        return "rmsprop", flags | (TORCH if self.form == "torch" else 0), (self.rho, self.epsilon, self.momentum)

    def get_config(self):
        return {
            **super().get_config(),
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }


class Adagrad(Optimizer):
    """s <- s + g^2; p <- p - lr g / sqrt(s + epsilon), s starts at initial_accumulator_value  (Duchi et al. 2011).

    form="torch": lr g / (sqrt(s) + epsilon). PyTorch's lr_decay is learning_rate=InverseTimeDecay(lr, 1, lr_decay).
    """

    slot_names = ("accumulator",)

    def __init__(self, learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-7, *common, **settings):
        super().__init__(learning_rate, *common, **settings)
        self.initial_accumulator_value = self._number("initial_accumulator_value", initial_accumulator_value, least=0)
        self.epsilon = self._number("epsilon", epsilon, least=0)

    def slot_initial(self, name):
        return self.initial_accumulator_value

    def _method(self):
        return "adagrad", TORCH if self.form == "torch" else 0, (self.epsilon,)

    def get_config(self):
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }


class Adadelta(Optimizer):
    """s <- rho s + (1-rho) g^2; d = sqrt(a + epsilon) / sqrt(s + epsilon) g; a <- rho a + (1-rho) d^2;
    p <- p - lr d  (Zeiler 2012). PyTorch's is the same with lr 1, rho 0.9, epsilon 1e-6.

    learning_rate=None (fastnn's own) is 1, the paper's: the method is made to need no rate. Keras' default is 0.001.
    """

    slot_names = ("accumulated_grad", "accumulated_delta_var")

    def __init__(self, learning_rate=0.001, rho=0.95, epsilon=1e-7, *common, **settings):
        super().__init__(1.0 if learning_rate is None else learning_rate, *common, **settings)
        self.rho = self._number("rho", rho, least=0, below=1)
        self.epsilon = self._number("epsilon", epsilon, least=0)

    def _method(self):
        return "adadelta", 0, (self.rho, self.epsilon)

    def get_config(self):
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}


class _Moments(Optimizer):
    """What Adam and its kin have in common: beta_1, beta_2, epsilon."""

    slot_names = ("momentum", "velocity")

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, *common, **settings):
        super().__init__(learning_rate, *common, **settings)
        self.beta_1 = self._number("beta_1", beta_1, least=0, below=1)
        self.beta_2 = self._number("beta_2", beta_2, least=0, below=1)
        self.epsilon = self._number("epsilon", epsilon, least=0)

    def get_config(self):
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


def adam_hyper(t, beta_1, beta_2, epsilon):
    """Columns 1 and 2 of the kernel adam: correction of the rate, epsilon."""
    return np.sqrt(1 - np.power(beta_2, t)) / (1 - np.power(beta_1, t)), np.full(len(t), epsilon)


class Adam(_Moments):
    """m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2; p <- p - lr sqrt(1-b2^t)/(1-b1^t) m / (sqrt(v) + epsilon)
    (Kingma & Ba 2015, the form at the end of their section 2).

    amsgrad: the largest v so far in the root (Reddi et al. 2018).
    form="torch": lr / (1-b1^t) m / (sqrt(v / (1-b2^t)) + epsilon), the paper's Algorithm 1.
    """

    method_columns = ("learning_rate", "correction", "epsilon")

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False, *common, **settings):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, *common, **settings)
        self.amsgrad = self._flag("amsgrad", amsgrad)
        if self.amsgrad:
            self.slot_names = ("momentum", "velocity", "velocity_hat")

    def _method_hyper(self, raw, t):
        correction, epsilon = adam_hyper(t, self.beta_1, self.beta_2, self.epsilon)
        if self.form == "torch":
            epsilon = epsilon * np.sqrt(1 - np.power(self.beta_2, t))
        return self._rates(raw), correction, epsilon

    def _method(self):
        return "adam", AMSGRAD if self.amsgrad else 0, (self.beta_1, self.beta_2)

    def get_config(self):
        return {**super().get_config(), "amsgrad": self.amsgrad}


class AdamW(Adam):
    """Adam with decoupled weight decay, p <- p - lr weight_decay p first (Loshchilov & Hutter 2019; there the decay is
    not multiplied by lr, but by the schedule alone)."""

    default_name = "adamw"

    def __init__(
        self, learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False, *common,
        **settings,
    ):  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, *common, **settings)
        if weight_decay is None:
            raise ValueError("AdamW: weight_decay must be a number, got None; use Adam for none")

    @property
    def weight_decay_form(self):
        return self._weight_decay_form or "decoupled"


class Adamax(_Moments):
    """m <- b1 m + (1-b1) g; w <- max(b2 w, |g|); p <- p - lr / (1-b1^t) m / (w + epsilon)
    (Kingma & Ba 2015, section 7.1).

    form="torch": w <- max(b2 w, |g| + epsilon); p <- p - lr / (1-b1^t) m / w.
    """

    slot_names = ("momentum", "norm")
    method_columns = ("learning_rate", "correction")

    def _method_hyper(self, raw, t):
        return self._rates(raw), 1 / (1 - np.power(self.beta_1, t))

    def _method(self):
        return "adamax", TORCH if self.form == "torch" else 0, (self.beta_1, self.beta_2, self.epsilon)


class Nadam(_Moments):
    """mu_t = b1 (1 - 0.5 * 0.96^(t psi)), P_t = mu_1 ... mu_t; m, v as Adam;
    p <- p - lr (mu_(t+1) m / (1 - P_(t+1)) + (1 - mu_t) g / (1 - P_t)) / (sqrt(v / (1-b2^t)) + epsilon)  (Dozat 2016).

    momentum_decay (fastnn's own) is psi: 1 in Keras, 0.004 in PyTorch; None: mu_t = b1 throughout, as optax.
    """

    method_columns = ("learning_rate", "momentum_factor", "gradient_factor", "correction")

    def __init__(
        self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, *common, momentum_decay=1.0, **settings
    ):  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, *common, **settings)
        self.momentum_decay = self._optional("momentum_decay", momentum_decay, least=0)
        # settings, t, P_t where the last table began; changed in place, because it is no setting
        self._product = [None, 0, 1.0]

    def _momenta(self, t):
        if self.momentum_decay is None:
            return np.full(len(t), self.beta_1)
        return self.beta_1 * (1 - 0.5 * np.power(0.96, t * self.momentum_decay))

    def _products(self, last):
        """P_0 .. P_last from some start on: (start, array). Always multiplied in order of t: one value for a t."""
        settings, start, product = self._product
        if settings != (self.beta_1, self.momentum_decay) or start > last:
            start, product = 0, 1.0
        factors = self._momenta(np.arange(start + 1.0, last + 1.0))
        return start, np.cumprod(np.concatenate([[product], factors]))

    def _method_hyper(self, raw, t):
        if len(t) == 0:
            return (np.zeros(0),) * 4
        first, last = int(t[0]), int(t[-1])
        start, products = self._products(first)
        self._product[:] = (self.beta_1, self.momentum_decay), first, products[-1]
        start, products = self._products(last)
        product = products[t.astype(np.int64) - start]
        mu, following = self._momenta(t), self._momenta(t + 1)
        return (
            self._rates(raw),
            following / (1 - product * following),
            (1 - mu) / (1 - product),
            1 / (1 - np.power(self.beta_2, t)),
        )

    def _method(self):
        return "nadam", 0, (self.beta_1, self.beta_2, self.epsilon)

    def get_config(self):
        config = super().get_config()
        return config if self.momentum_decay == 1 else {**config, "momentum_decay": self.momentum_decay}


class Lion(Optimizer):
    """p <- p - lr sign(b1 m + (1-b1) g); m <- b2 m + (1-b2) g  (Chen et al. 2023)."""

    slot_names = ("momentum",)

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.99, *common, **settings):
        super().__init__(learning_rate, *common, **settings)
        self.beta_1 = self._number("beta_1", beta_1, above=0, most=1)
        self.beta_2 = self._number("beta_2", beta_2, least=0, below=1)

    def _method(self):
        return "lion", 0, (self.beta_1, self.beta_2)

    def get_config(self):
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2}


class Ftrl(Optimizer):
    """z <- z + g + 2 shrinkage p - ((s + g^2)^q - s^q) / lr p; s <- s + g^2, with q = -learning_rate_power;
    p <- (clip(z, -l1, l1) - z) / (s^q / lr + 2 l2 + beta / lr)  (McMahan et al. 2013). s starts at
    initial_accumulator_value. Weights whose |z| stays below l1 are exactly 0."""

    slot_names = ("accumulator", "linear")
    method_columns = ("learning_rate", "l2")

    def __init__(
        self, learning_rate=0.001, learning_rate_power=-0.5, initial_accumulator_value=0.1,
        l1_regularization_strength=0.0, l2_regularization_strength=0.0, l2_shrinkage_regularization_strength=0.0,
        beta=0.0, *common, **settings,
    ):  # fmt: skip
        super().__init__(learning_rate, *common, **settings)
        self.learning_rate_power = self._number("learning_rate_power", learning_rate_power, most=0)
        for name, value in {
            "initial_accumulator_value": initial_accumulator_value,
            "l1_regularization_strength": l1_regularization_strength,
            "l2_regularization_strength": l2_regularization_strength,
            "l2_shrinkage_regularization_strength": l2_shrinkage_regularization_strength,
            "beta": beta,
        }.items():
            setattr(self, name, self._number(name, value, least=0))

    def slot_initial(self, name):
        return self.initial_accumulator_value if name == "accumulator" else 0.0

    def _method_hyper(self, raw, t):
        rates = self._rates(raw)
        smoothed = np.divide(self.beta, 2 * rates, out=np.zeros(len(t)), where=rates > 0)
        return rates, self.l2_regularization_strength + smoothed

    def _method(self):
        power = -self.learning_rate_power
        return "ftrl", 0, (power, self.l1_regularization_strength, self.l2_shrinkage_regularization_strength)

    def get_config(self):
        names = (
            "learning_rate_power", "initial_accumulator_value", "l1_regularization_strength",
            "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta",
        )  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class ScheduleFreeAdamW(_Moments):
    """v <- b2 v + (1-b2) g^2; z <- z - lr g / (sqrt(v / (1-b2^t)) + epsilon); x <- x + (z - x) / t;
    p <- (1-b1) z + b1 x  (Defazio et al. 2024, with Keras' weight 1 / t of the average). z starts at p.

    p is where gradients are taken; the average is x = (p - (1-b1) z) / b1. The rate rises along a line during
    warmup_steps updates.
    """

    default_name = "schedule_free_adam_w"
    method_columns = ("learning_rate", "weight", "correction")

    def __init__(
        self, learning_rate=0.0025, beta_1=0.9, beta_2=0.999, epsilon=1e-8, warmup_steps=0, *common, **settings
    ):  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, *common, **settings)
        self._number("beta_1", beta_1, above=0)
        self.warmup_steps = self._number("warmup_steps", warmup_steps, least=0)

    def slot_initial(self, name):
        return None if name == "momentum" else 0.0

    def _method_hyper(self, raw, t):
        warm = np.minimum(t / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        return self._rates(raw) * warm, 1 / t, 1 / (1 - np.power(self.beta_2, t))

    def _method(self):
        return "schedule_free", 0, (self.beta_1, self.beta_2, self.epsilon)

    def get_config(self):
        return {**super().get_config(), "warmup_steps": self.warmup_steps}
