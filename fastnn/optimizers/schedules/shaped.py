"""Schedules that also rise (fastnn's own): cycles, one cycle, warm-up, momentum."""

from itertools import pairwise

import numpy as np

from fastnn.optimizers.schedules.schedule import LearningRateSchedule, deserialize, evaluate, serialize
from fastnn.utils.checks import boolean, number


class CyclicLearningRate(LearningRateSchedule):
    """A triangle wave between two rates (Smith 2017; the same numbers as PyTorch's CyclicLR).

    c = floor(1 + t / (up + down)) counts cycles, s rises from 0 to 1 in `step_size_up` steps and falls back in
    `step_size_down` (default: the same); the rate is base + (max - base) * s * f with f = 1 ("triangular"),
    2^(1 - c) ("triangular2") or gamma^t ("exp_range").
    """

    def __init__(
        self,
        base_learning_rate,
        max_learning_rate,
        step_size_up=2000,
        step_size_down=None,
        mode="triangular",
        gamma=1.0,
        name="CyclicLearningRate",
    ):
        where = "CyclicLearningRate"
        self.base_learning_rate = number(where, "base_learning_rate", base_learning_rate, least=0)
        self.max_learning_rate = number(where, "max_learning_rate", max_learning_rate, least=0)
        self.step_size_up = number(where, "step_size_up", step_size_up, above=0)
        self.step_size_down = (
            step_size_down if step_size_down is None else number(where, "step_size_down", step_size_down, above=0)
        )
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f"{where}: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}")
        self.mode = mode
        self.gamma = number(where, "gamma", gamma, above=0)
        self.name = name

    def compute(self, step):
        up = self.step_size_up
        length = up + (up if self.step_size_down is None else self.step_size_down)
        cycle = np.floor(1 + step / length)
        x, ratio = 1 + step / length - cycle, up / length
        s = np.where(x <= ratio, x / ratio, (x - 1) / (ratio - 1))
        f = {
            "triangular": lambda: 1.0,
            "triangular2": lambda: np.power(2.0, 1 - cycle),
            "exp_range": lambda: np.power(self.gamma, step),
        }[self.mode]()
        return self.base_learning_rate + (self.max_learning_rate - self.base_learning_rate) * s * f

    def get_config(self):
        return {
            "base_learning_rate": self.base_learning_rate,
            "max_learning_rate": self.max_learning_rate,
            "step_size_up": self.step_size_up,
            "step_size_down": self.step_size_down,
            "mode": self.mode,
            "gamma": self.gamma,
            "name": self.name,
        }


class OneCycle(LearningRateSchedule):
    """One rise and one long fall (Smith & Topin 2019; the same numbers as PyTorch's OneCycleLR).

    From max / div_factor up to max at step pct_start * total_steps - 1, then down to
    max / div_factor / final_div_factor at step total_steps - 1, along cosines ("cos") or lines ("linear").
    three_phase: down first to max / div_factor, at step 2 pct_start * total_steps - 2. Constant afterwards.
    """

    def __init__(
        self,
        max_learning_rate,
        total_steps,
        pct_start=0.3,
        anneal="cos",
        div_factor=25.0,
        final_div_factor=1e4,
        name="OneCycle",
        three_phase=False,
    ):
        self.max_learning_rate = number("OneCycle", "max_learning_rate", max_learning_rate, least=0)
        self.total_steps = number("OneCycle", "total_steps", total_steps, least=1)
        self.pct_start = number("OneCycle", "pct_start", pct_start, least=0, most=1)
        if anneal not in ("cos", "linear"):
            raise ValueError(f"OneCycle: anneal must be 'cos' or 'linear', got {anneal!r}")
        self.anneal = anneal
        self.div_factor = number("OneCycle", "div_factor", div_factor, above=0)
        self.final_div_factor = number("OneCycle", "final_div_factor", final_div_factor, above=0)
        self.three_phase = boolean("OneCycle", "three_phase", three_phase)
        if self.three_phase and self.pct_start > 0.5:
            raise ValueError(f"OneCycle: three_phase needs pct_start <= 0.5, got {pct_start}")
        self.name = name

    def compute(self, step):
        top, first = self.max_learning_rate, self.max_learning_rate / self.div_factor
        last, peak = first / self.final_div_factor, self.pct_start * self.total_steps - 1
        corners = [(0.0, first), (peak, top), (2 * peak, first), (self.total_steps - 1, last)]
        if not self.three_phase:
            del corners[2]
        out = np.full_like(step, last)
        for (begin, a), (end, b) in reversed(list(pairwise(corners))):
            part = np.clip((step - begin) / (end - begin), 0, 1) if end > begin else np.ones_like(step)
            line = b + (a - b) / 2 * (1 + np.cos(np.pi * part)) if self.anneal == "cos" else a + (b - a) * part
            out = np.where(step <= end, line, out)
        return out

    def get_config(self):
        return {
            "max_learning_rate": self.max_learning_rate,
            "total_steps": self.total_steps,
            "pct_start": self.pct_start,
            "anneal": self.anneal,
            "div_factor": self.div_factor,
            "final_div_factor": self.final_div_factor,
            "name": self.name,
            "three_phase": self.three_phase,
        }


class WarmUp(LearningRateSchedule):
    """A straight line from `start` to what follows during `warmup_steps`, then `after` from its own step 0.

    after: a float or a schedule. The line ends at after's value at step 0.
    """

    def __init__(self, after, warmup_steps, start=0.0, name="WarmUp"):
        if isinstance(after, dict):
            after = deserialize(after)
        self.after = after if isinstance(after, LearningRateSchedule) else number("WarmUp", "after", after, least=0)
        self.warmup_steps = number("WarmUp", "warmup_steps", warmup_steps, above=0)
        self.start = number("WarmUp", "start", start, least=0)
        self.name = name

    def compute(self, step):
        later = np.maximum(step - self.warmup_steps, 0)
        if isinstance(self.after, LearningRateSchedule):
            target, rest = evaluate(self.after, np.zeros(1))[0], evaluate(self.after, later)
        else:
            target, rest = self.after, np.full_like(step, self.after)
        line = self.start + (target - self.start) * (step / self.warmup_steps)
        return np.where(step < self.warmup_steps, line, rest)

    def get_config(self):
        after = serialize(self.after) if isinstance(self.after, LearningRateSchedule) else self.after
        return {"after": after, "warmup_steps": self.warmup_steps, "start": self.start, "name": self.name}


class MomentumSchedule(LearningRateSchedule):
    """mu_t = min(1 - 2^(-1 - log2(floor(t / period) + 1)), maximum)  (Sutskever et al. 2013, equation 5).

    Rises from 0.5 to `maximum`; the paper took maximum in {0.999, 0.995, 0.99, 0.9, 0} and period 250.
    For `momentum=` of SGD.
    """

    def __init__(self, maximum=0.99, period=250, name="MomentumSchedule"):
        self.maximum = number("MomentumSchedule", "maximum", maximum, least=0, below=1)
        self.period = number("MomentumSchedule", "period", period, above=0)
        self.name = name

    def compute(self, step):
        return np.minimum(1 - np.power(2.0, -1 - np.log2(np.floor(step / self.period) + 1)), self.maximum)

    def get_config(self):
        return {"maximum": self.maximum, "period": self.period, "name": self.name}
