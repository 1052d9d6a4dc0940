"""Learning-rate and momentum schedules: pure functions of the step.

Keras': ExponentialDecay, PiecewiseConstantDecay, PolynomialDecay, InverseTimeDecay, CosineDecay,
CosineDecayRestarts. fastnn's own: StepDecay, CyclicLearningRate, OneCycle, WarmUp, MomentumSchedule.
"""

from fastnn.optimizers.schedules.decay import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
    StepDecay,
)
from fastnn.optimizers.schedules.schedule import LearningRateSchedule, deserialize, register, serialize
from fastnn.optimizers.schedules.shaped import CyclicLearningRate, MomentumSchedule, OneCycle, WarmUp

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "CyclicLearningRate",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "MomentumSchedule",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "StepDecay",
    "WarmUp",
    "deserialize",
    "serialize",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        register(globals()[_name])
