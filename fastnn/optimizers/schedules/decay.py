"""Schedules that fall (Keras 3's, and StepDecay). `t` is the step, `lr` the initial learning rate."""

import numpy as np

from fastnn.optimizers.schedules.schedule import LearningRateSchedule
from fastnn.utils.checks import boolean, number


class ExponentialDecay(LearningRateSchedule):
    """lr * decay_rate^(t / decay_steps); with `staircase` the exponent is rounded down."""

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name="ExponentialDecay"):
        self.initial_learning_rate = number("ExponentialDecay", "initial_learning_rate", initial_learning_rate, least=0)
        self.decay_steps = number("ExponentialDecay", "decay_steps", decay_steps, above=0)
        self.decay_rate = number("ExponentialDecay", "decay_rate", decay_rate, least=0)
        self.staircase = boolean("ExponentialDecay", "staircase", staircase)
        self.name = name

    def compute(self, step):
        p = step / self.decay_steps
        return self.initial_learning_rate * np.power(self.decay_rate, np.floor(p) if self.staircase else p)

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
            "name": self.name,
        }


class StepDecay(LearningRateSchedule):
    """lr * decay_rate^floor(t / decay_steps): by default halved every `decay_steps` steps (fastnn's own).

    For "every k epochs" pass k times the steps of an epoch. PyTorch's StepLR is decay_rate=0.1.
    """

    def __init__(self, initial_learning_rate, decay_steps, decay_rate=0.5, name="StepDecay"):
        self.initial_learning_rate = number("StepDecay", "initial_learning_rate", initial_learning_rate, least=0)
        self.decay_steps = number("StepDecay", "decay_steps", decay_steps, above=0)
        self.decay_rate = number("StepDecay", "decay_rate", decay_rate, least=0)
        self.name = name

    def compute(self, step):
        return self.initial_learning_rate * np.power(self.decay_rate, np.floor(step / self.decay_steps))

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "name": self.name,
        }


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] while t <= boundaries[0], values[k] while boundaries[k-1] < t <= boundaries[k], then values[-1]."""

    def __init__(self, boundaries, values, name="PiecewiseConstant"):
        for argument, given in (("boundaries", boundaries), ("values", values)):
            if not hasattr(given, "__len__"):
                raise TypeError(f"PiecewiseConstantDecay: {argument} must be a list of numbers, got {given!r}")
        if len(boundaries) != len(values) - 1 or len(boundaries) == 0:
            raise ValueError(
                "PiecewiseConstantDecay: values must have one entry more than boundaries, and boundaries at least one; "
                f"got {len(boundaries)} boundaries and {len(values)} values"
            )
        self.boundaries = [number("PiecewiseConstantDecay", "boundaries", b) for b in boundaries]
        self.values = [number("PiecewiseConstantDecay", "values", v, least=0) for v in values]
        if any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"PiecewiseConstantDecay: boundaries must increase, got {list(boundaries)}")
        self.name = name

    def compute(self, step):
        return np.asarray(self.values)[np.searchsorted(self.boundaries, step, side="left")]

    def get_config(self):
        return {"boundaries": self.boundaries, "values": self.values, "name": self.name}


class PolynomialDecay(LearningRateSchedule):
    """(lr - end) * (1 - t / decay_steps)^power + end, constant afterwards.

    With `cycle` decay_steps is taken times the smallest whole number that makes it >= t.
    """

    def __init__(
        self,
        initial_learning_rate,
        decay_steps,
        end_learning_rate=0.0001,
        power=1.0,
        cycle=False,
        name="PolynomialDecay",
    ):
        self.initial_learning_rate = number("PolynomialDecay", "initial_learning_rate", initial_learning_rate, least=0)
        self.decay_steps = number("PolynomialDecay", "decay_steps", decay_steps, above=0)
        self.end_learning_rate = number("PolynomialDecay", "end_learning_rate", end_learning_rate, least=0)
        self.power = number("PolynomialDecay", "power", power, least=0)
        self.cycle = boolean("PolynomialDecay", "cycle", cycle)
        self.name = name

    def compute(self, step):
        length = self.decay_steps
        if self.cycle:
            length = length * np.where(step == 0, 1.0, np.ceil(step / length))
        else:
            step = np.minimum(step, length)
        span = self.initial_learning_rate - self.end_learning_rate
        left = np.maximum(1 - step / length, 0.0)  # rounding can take step a little beyond a length that is no integer
        return span * np.power(left, self.power) + self.end_learning_rate

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "end_learning_rate": self.end_learning_rate,
            "power": self.power,
            "cycle": self.cycle,
            "name": self.name,
        }


class InverseTimeDecay(LearningRateSchedule):
    """lr / (1 + decay_rate * t / decay_steps); with `staircase` t / decay_steps is rounded down.

    decay_steps=1 is the `lr_decay` of PyTorch's Adagrad.
    """

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name="InverseTimeDecay"):
        self.initial_learning_rate = number("InverseTimeDecay", "initial_learning_rate", initial_learning_rate, least=0)
        self.decay_steps = number("InverseTimeDecay", "decay_steps", decay_steps, above=0)
        self.decay_rate = number("InverseTimeDecay", "decay_rate", decay_rate, least=0)
        self.staircase = boolean("InverseTimeDecay", "staircase", staircase)
        self.name = name

    def compute(self, step):
        p = step / self.decay_steps
        return self.initial_learning_rate / (1 + self.decay_rate * (np.floor(p) if self.staircase else p))

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
            "name": self.name,
        }


class CosineDecay(LearningRateSchedule):
    """lr * ((1 - alpha) (1 + cos(pi t / decay_steps)) / 2 + alpha), constant afterwards (Loshchilov & Hutter 2017).

    With `warmup_target` the rate first goes in a straight line from lr to warmup_target during `warmup_steps`,
    and the cosine falls from warmup_target to alpha * warmup_target in the `decay_steps` after that.
    """

    def __init__(
        self, initial_learning_rate, decay_steps, alpha=0.0, name="CosineDecay", warmup_target=None, warmup_steps=0
    ):
        self.initial_learning_rate = number("CosineDecay", "initial_learning_rate", initial_learning_rate, least=0)
        self.decay_steps = number("CosineDecay", "decay_steps", decay_steps, above=0)
        self.alpha = number("CosineDecay", "alpha", alpha, least=0)
        self.warmup_target = (
            warmup_target if warmup_target is None else number("CosineDecay", "warmup_target", warmup_target, least=0)
        )
        self.warmup_steps = number("CosineDecay", "warmup_steps", warmup_steps, least=0)
        self.name = name

    def _cosine(self, step, top):
        cosine = 0.5 * (1 + np.cos(np.pi * (np.clip(step, 0, self.decay_steps) / self.decay_steps)))
        return top * ((1 - self.alpha) * cosine + self.alpha)

    def compute(self, step):
        if self.warmup_target is None:
            return self._cosine(step, self.initial_learning_rate)
        rise = self.warmup_target - self.initial_learning_rate
        rising = rise * (step / max(self.warmup_steps, 1)) + self.initial_learning_rate
        return np.where(step < self.warmup_steps, rising, self._cosine(step - self.warmup_steps, self.warmup_target))

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "alpha": self.alpha,
            "name": self.name,
            "warmup_target": self.warmup_target,
            "warmup_steps": self.warmup_steps,
        }


class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decay that restarts (SGDR, Loshchilov & Hutter 2017).

    Period i takes first_decay_steps * t_mul^i steps; inside it the rate is
    lr * ((1 - alpha) m_mul^i (1 + cos(pi u)) / 2 + alpha) where u in [0, 1) is the part of the period gone by.
    The minimum itself is never reached, because u stays below 1.
    """

    def __init__(self, initial_learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0, name="SGDRDecay"):
        where = "CosineDecayRestarts"
        self.initial_learning_rate = number(where, "initial_learning_rate", initial_learning_rate, least=0)
        self.first_decay_steps = number("CosineDecayRestarts", "first_decay_steps", first_decay_steps, above=0)
        self.t_mul = number("CosineDecayRestarts", "t_mul", t_mul, least=1)
        self.m_mul = number("CosineDecayRestarts", "m_mul", m_mul, least=0)
        self.alpha = number("CosineDecayRestarts", "alpha", alpha, least=0)
        self.name = name

    def compute(self, step):
        first, grow = self.first_decay_steps, self.t_mul
        if grow == 1:
            period = np.floor(step / first)
            start, length = period * first, first
        else:
            # the logarithm may be off by one at a boundary: put it right by comparing steps
            period = np.floor(np.log(1 + step / first * (grow - 1)) / np.log(grow))
            starts = lambda i: first * (np.power(grow, i) - 1) / (grow - 1)  # noqa: E731
            period = np.where(starts(period + 1) <= step, period + 1, period)
            period = np.where(starts(period) > step, period - 1, period)
            start, length = starts(period), first * np.power(grow, period)
        cosine = 0.5 * np.power(self.m_mul, period) * (1 + np.cos(np.pi * ((step - start) / length)))
        return self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha)

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "first_decay_steps": self.first_decay_steps,
            "t_mul": self.t_mul,
            "m_mul": self.m_mul,
            "alpha": self.alpha,
            "name": self.name,
        }
