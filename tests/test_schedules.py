"""Schedules against their formulas, written out again one step at a time."""

import math

import numpy as np
import pytest

from fastnn.optimizers import schedules as s

STEPS = [*range(130), 10**6]


def polynomial(t, lr, n, end, power, cycle):
    n = n * (max(1, math.ceil(t / n)) if cycle else 1)
    return (lr - end) * (1 - min(t, n) / n) ** power + end


def warm_cosine(t, lr, n, alpha, target, warm):
    if target is not None and t < warm:
        return lr + (target - lr) * t / warm
    top, t = (lr, t) if target is None else (target, t - warm)
    return top * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * min(t, n) / n)) + alpha)


def restarts(t, lr, first, t_mul, m_mul, alpha):
    period, height = first, 1.0
    while t >= period:
        t, period, height = t - period, period * t_mul, height * m_mul
    return lr * ((1 - alpha) * height * 0.5 * (1 + math.cos(math.pi * t / period)) + alpha)


def cyclic(t, base, peak, up, down=None, mode="triangular", gamma=1.0):
    down = down or up
    n = up + down
    c = math.floor(1 + t / n)
    x = 1 + t / n - c
    r = up / n
    f = {"triangular": 1.0, "triangular2": 2.0 ** (1 - c), "exp_range": gamma**t}[mode]
    return base + (peak - base) * (x / r if x <= r else (x - 1) / (r - 1)) * f


def one_cycle(t, top, total, start, cos, div, final):
    first, last, peak, end = top / div, top / div / final, start * total - 1, total - 1
    a, b, u = (first, top, t / peak) if t <= peak else (top, last, min(1.0, (t - peak) / (end - peak)))
    return b + (a - b) / 2 * (1 + math.cos(math.pi * u)) if cos else a + (b - a) * u


CASES = [
    (s.ExponentialDecay(0.1, 10, 0.9), lambda t: 0.1 * 0.9 ** (t / 10)),
    (s.ExponentialDecay(0.1, 10, 0.9, staircase=True), lambda t: 0.1 * 0.9 ** (t // 10)),
    (s.StepDecay(0.1, 7), lambda t: 0.1 * 0.5 ** (t // 7)),
    (s.PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.1]), lambda t: 1.0 if t <= 10 else 0.5 if t <= 20 else 0.1),
    (s.PolynomialDecay(0.1, 50), lambda t: polynomial(t, 0.1, 50, 1e-4, 1.0, False)),
    (s.PolynomialDecay(0.1, 20, 0.01, 0.5, cycle=True), lambda t: polynomial(t, 0.1, 20, 0.01, 0.5, True)),
    (s.InverseTimeDecay(0.1, 5, 0.5), lambda t: 0.1 / (1 + 0.5 * t / 5)),
    (s.InverseTimeDecay(0.1, 5, 0.5, staircase=True), lambda t: 0.1 / (1 + 0.5 * (t // 5))),
    (s.CosineDecay(0.1, 50, 0.1), lambda t: warm_cosine(t, 0.1, 50, 0.1, None, 0)),
    (s.CosineDecay(0.0, 50, 0.1, warmup_target=0.2, warmup_steps=12), lambda t: warm_cosine(t, 0, 50, 0.1, 0.2, 12)),
    (s.CosineDecay(0.0, 50, warmup_target=0.2), lambda t: warm_cosine(t, 0, 50, 0, 0.2, 0)),
    (s.CosineDecayRestarts(0.1, 10), lambda t: restarts(t, 0.1, 10, 2.0, 1.0, 0.0)),
    (s.CosineDecayRestarts(0.1, 10, 1.0, 0.5, 0.1), lambda t: restarts(t, 0.1, 10, 1.0, 0.5, 0.1)),
    (s.CosineDecayRestarts(0.1, 7, 3.0, 0.9, 0.1), lambda t: restarts(t, 0.1, 7, 3.0, 0.9, 0.1)),
    (s.CyclicLearningRate(0.1, 0.5, 10), lambda t: cyclic(t, 0.1, 0.5, 10)),
    (s.CyclicLearningRate(0.1, 0.5, 10, 5, "triangular2"), lambda t: cyclic(t, 0.1, 0.5, 10, 5, "triangular2")),
    (
        s.CyclicLearningRate(0.1, 0.5, 4, 12, "exp_range", 0.99),
        lambda t: cyclic(t, 0.1, 0.5, 4, 12, "exp_range", 0.99),
    ),
    (s.OneCycle(0.1, 100), lambda t: one_cycle(t, 0.1, 100, 0.3, True, 25, 1e4)),
    (s.OneCycle(0.1, 60, 0.5, "linear", 10, 100), lambda t: one_cycle(t, 0.1, 60, 0.5, False, 10, 100)),
    (
        s.OneCycle(0.1, 60, 0.25, "linear", 10, 100, three_phase=True),
        lambda t: float(np.interp(t, [0, 14, 28, 59], [0.01, 0.1, 0.01, 1e-4])),
    ),
    (s.WarmUp(0.1, 10), lambda t: 0.1 * min(1, t / 10)),
    (
        s.WarmUp(s.StepDecay(0.4, 5), 8, start=0.1),
        lambda t: 0.1 + 0.3 * t / 8 if t < 8 else 0.4 * 0.5 ** ((t - 8) // 5),
    ),
    (s.MomentumSchedule(0.99, 25), lambda t: min(1 - 2 ** (-1 - math.log2(t // 25 + 1)), 0.99)),
]
IDS = [repr(schedule) for schedule, _ in CASES]


@pytest.mark.parametrize("schedule, formula", CASES, ids=IDS)
def test_formula(schedule, formula):
    got = schedule(np.array(STEPS))
    assert got.dtype == np.float64 and got.shape == (len(STEPS),)
    np.testing.assert_allclose(got, [formula(t) for t in STEPS], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("schedule, formula", CASES, ids=IDS)
def test_one_step_and_many_give_the_same_bits(schedule, formula):
    together = schedule(np.array(STEPS).reshape(1, -1))
    assert together.shape == (1, len(STEPS))
    alone = [schedule(t) for t in STEPS]
    assert all(isinstance(x, np.float64) for x in alone)
    assert np.array_equal(together[0], alone)
    assert schedule(np.arange(0)).shape == (0,)


@pytest.mark.parametrize("schedule, formula", CASES, ids=IDS)
def test_config_round_trip(schedule, formula):
    again = s.deserialize(s.serialize(schedule))
    assert type(again) is type(schedule) and np.array_equal(again(np.array(STEPS)), schedule(np.array(STEPS)))


def test_momentum_of_sutskever():
    assert s.MomentumSchedule(0.9)([0, 249, 250, 500, 10**6]).tolist() == pytest.approx([0.5, 0.5, 0.75, 5 / 6, 0.9])


def test_boundaries_of_restarts_are_exact():
    schedule = s.CosineDecayRestarts(1.0, 3)
    starts = [3 * (2**i - 1) for i in range(1, 40)]
    assert (schedule(np.array(starts)) == 1.0).all()
    assert (schedule(np.array(starts) - 1) < 0.26).all()


def test_polynomial_cycles_of_no_whole_number_of_steps():
    """125 / 19 * 19 is below 125."""
    for power in (1.0, 0.5):
        assert s.PolynomialDecay(0.1, 125 / 19, end_learning_rate=0.0, power=power, cycle=True)(125) == 0.0


def test_own_schedules():
    class Halving(s.LearningRateSchedule):
        def __call__(self, step):
            return 1.0 if step < 2 else 0.5

    from fastnn.optimizers import SGD

    assert SGD(Halving()).hyper(0, 4)[:, 0].tolist() == [1.0, 1.0, 0.5, 0.5]
    with pytest.raises(NotImplementedError, match="Halving must define get_config"):
        s.serialize(Halving())
    with pytest.raises(NotImplementedError, match="must define compute"):
        s.LearningRateSchedule()(3)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: s.ExponentialDecay(0.1, 0, 0.9), ValueError, "decay_steps must be finite and > 0, got 0.0"),
        (lambda: s.ExponentialDecay("a", 1, 0.9), TypeError, "initial_learning_rate must be a number, got 'a'"),
        (lambda: s.PiecewiseConstantDecay([1], [1.0]), ValueError, "values must have one entry more than boundaries"),
        (lambda: s.PiecewiseConstantDecay(3, [1, 2]), TypeError, "boundaries must be a list of numbers, got 3"),
        (lambda: s.PiecewiseConstantDecay([3], 1), TypeError, "values must be a list of numbers, got 1"),
        (lambda: s.ExponentialDecay(1, 1, 0.9, "no"), TypeError, "staircase must be True or False, got 'no'"),
        (lambda: s.PiecewiseConstantDecay([2, 1], [1.0, 2.0, 3.0]), ValueError, "boundaries must increase"),
        (lambda: s.CyclicLearningRate(0.1, 0.2, mode="saw"), ValueError, "mode must be 'triangular'"),
        (lambda: s.OneCycle(0.1, 10, anneal="exp"), ValueError, "anneal must be 'cos' or 'linear', got 'exp'"),
        (lambda: s.MomentumSchedule(1.0), ValueError, r"maximum must be in \[0, 1\), got 1.0"),
        (lambda: s.CosineDecayRestarts(0.1, 10, 0.5), ValueError, "t_mul must be finite and >= 1, got 0.5"),
        (lambda: s.WarmUp(0.1, 0), ValueError, "warmup_steps must be finite and > 0"),
        (lambda: s.StepDecay(0.1, 5)("3"), TypeError, "step must be an integer or an array of them"),
        (lambda: s.deserialize({"class_name": "Cosine"}), ValueError, "unknown schedule 'Cosine'; known: CosineDecay,"),
        (lambda: s.deserialize("CosineDecay"), TypeError, "expected a dict"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    axes = s.OneCycle(0.1, 50).plot(60)
    assert len(axes.lines[0].get_ydata()) == 60
    matplotlib.pyplot.close("all")
