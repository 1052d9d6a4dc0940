"""Learning-rate schedules against Keras and PyTorch over sixty steps."""

import numpy as np
import pytest
from golden import cases
from golden.harness import compare, keras, numpy
from golden.store import load

KERAS, TORCH = load("keras_schedules"), load("torch_schedules")
# A learning rate may be float32, as Keras' own is by default; a cosine near its end is a difference of ones.
TOLERANCE = {"rtol": 2e-6, "atol": 2e-8}

# PyTorch's schedules in Keras' terms. "cosine" rises again after its 20 steps.
STEPS = {"cosine": 21}
TWINS = {
    "cosine": ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "alpha": 0.1}),
    "step": (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 11, "decay_rate": 0.3, "staircase": True},
    ),
    "multi_step": (
        "PiecewiseConstantDecay",
        {"boundaries": [4, 19, 20], "values": [0.1, 0.1 * 0.3, 0.1 * 0.3**2, 0.1 * 0.3**3]},
    ),
    "exponential": ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 1, "decay_rate": 0.95}),
    "warm_restarts": (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 8, "t_mul": 1.0, "alpha": 0.1},
    ),
    "warm_restarts_2": ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 6, "t_mul": 2.0}),
    "polynomial": (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 30, "end_learning_rate": 0.0, "power": 2.0},
    ),
}
# ... and those that are fastnn's own.
OWN = {
    **{
        f"cyclic_{mode}": (
            "CyclicLearningRate",
            {"base_learning_rate": 0.01, "max_learning_rate": 0.1, "step_size_up": 6, "step_size_down": down,
             "mode": mode, "gamma": 0.97},
        )
        for mode, down in (("triangular", None), ("triangular2", 9), ("exp_range", 4))
    },
    "one_cycle": ("OneCycle", {"max_learning_rate": 0.1, "total_steps": 60}),
    "one_cycle_linear": (
        "OneCycle",
        {"max_learning_rate": 0.1, "total_steps": 60, "pct_start": 0.4, "anneal": "linear", "div_factor": 10.0,
         "three_phase": True},
    ),
}  # fmt: skip


def rates(cls, config):
    schedule = getattr(keras.optimizers.schedules, cls)(**config)
    return np.array([float(numpy(schedule(int(t)))) for t in cases.SCHEDULE_STEPS])


@pytest.mark.parametrize("name", cases.SCHEDULES)
def test_keras(name):
    compare(rates(*cases.SCHEDULES[name]), KERAS[name], TOLERANCE, name)


@pytest.mark.parametrize("name", TWINS)
def test_torch(name):
    got, want = rates(*TWINS[name]), TORCH[name]
    # float32 cosines may land on either side of a restart: the step itself may then show the end or the start.
    steps = STEPS.get(name, len(want))
    compare(got[:steps], want[:steps], TOLERANCE, name)


@pytest.mark.parametrize("name", OWN)
def test_torch_own(name):
    if keras.__name__ != "fastnn":
        pytest.skip("fastnn's own schedules")
    compare(rates(*OWN[name]), TORCH[name], TOLERANCE, name)


def test_every_recorded_schedule_of_torch_is_compared():
    assert set(TWINS) | set(OWN) == set(cases.TORCH_SCHEDULES)
