"""Every optimizer, schedule, loss, metric, regularizer and constraint that Keras has is among the recorded cases."""

import inspect

import pytest
from golden import cases

import fastnn
from fastnn import constraints, losses, metrics, optimizers, regularizers

#: Base classes, and what Keras does not have.
OTHERS = {
    "optimizers": {"Optimizer", "LBFGS", "LineSearch"},
    "schedules": {
        *("LearningRateSchedule", "CyclicLearningRate", "MomentumSchedule", "OneCycle", "StepDecay", "WarmUp"),
    },
    "losses": {"Loss", "LossFunctionWrapper"},
    "metrics": {"Metric", "MeanMetricWrapper", "MeanRelativeError"},
    "regularizers": {"Regularizer", "Lp"},
    "constraints": {"Constraint"},
}
FAMILIES = {
    "optimizers": (optimizers, optimizers.Optimizer, cases.OPTIMIZERS),
    "schedules": (optimizers.schedules, optimizers.schedules.LearningRateSchedule, cases.SCHEDULES),
    "losses": (losses, losses.Loss, cases.LOSSES),
    "metrics": (metrics, metrics.Metric, cases.METRICS),
    "regularizers": (regularizers, regularizers.Regularizer, cases.REGULARIZERS),
    "constraints": (constraints, constraints.Constraint, cases.CONSTRAINTS),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_class_is_recorded(family):
    module, base, table = FAMILIES[family]
    public = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    ours = {x.__name__ for x in public.values() if inspect.isclass(x) and issubclass(x, base)}
    assert OTHERS[family] <= ours
    assert ours - OTHERS[family] == {row[0] for row in table.values()}


def test_every_activation_is_recorded():
    names = {name for name, _, _ in cases.ACTIVATIONS.values()}
    public = {n for n, f in vars(fastnn.activations).items() if inspect.isfunction(f) and not n.startswith("_")}
    others = {"get", "serialize", "deserialize", "normalize_axis", "shape_of"}
    assert public - others - names == {"sparsemax"}  # by its formula: test_activations.py
