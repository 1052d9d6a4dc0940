"""Optimizers against closed-form float64 twins, their table of hyper-parameters, records, state and errors."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import _core, layers, optimizers
from fastnn.optimizers import SGD, Adam, Optimizer, Range, schedules

STEPS = 30
SIZES = [1, 7, 16, 33, 4096 + 19]


# ---- twins: one step each in float64; st holds slots, created as zeros; t = 1, 2, ... ----


def _z(st, k, p):
    return st.setdefault(k, np.zeros_like(p))


def sgd(p, g, t, st, lr=0.01, mu=0.0, nesterov=False):
    if not mu:
        return p - lr * g
    v = st["v"] = mu * _z(st, "v", p) - lr * g
    return p + (mu * v - lr * g if nesterov else v)


def sgd_torch(p, g, t, st, lr=0.01, mu=0.0, damp=0.0, nesterov=False):
    v = st["v"] = g.copy() if t == 1 else mu * st["v"] + (1 - damp) * g
    return p - lr * (g + mu * v if nesterov else v)


def rmsprop(p, g, t, st, lr=0.001, rho=0.9, eps=1e-7, mu=0.0, centered=False, torch=False):
    v = st["v"] = rho * _z(st, "v", p) + (1 - rho) * g * g
    if centered:
        m = st["m"] = rho * _z(st, "m", p) + (1 - rho) * g
        v = v - m * m
    d = g / (np.sqrt(v) + eps if torch else np.sqrt(v + eps))
    if not mu:
        return p - lr * d
    b = st["b"] = mu * _z(st, "b", p) + (d if torch else lr * d)
    return p - (lr * b if torch else b)


def adagrad(p, g, t, st, lr=0.001, acc0=0.1, eps=1e-7, torch=False):
    s = st["s"] = st.get("s", np.full_like(p, acc0)) + g * g
    return p - lr * g / (np.sqrt(s) + eps if torch else np.sqrt(s + eps))


def adadelta(p, g, t, st, lr=0.001, rho=0.95, eps=1e-7):
    s = st["s"] = rho * _z(st, "s", p) + (1 - rho) * g * g
    d = np.sqrt(_z(st, "d", p) + eps) / np.sqrt(s + eps) * g
    st["d"] = rho * st["d"] + (1 - rho) * d * d
    return p - lr * d


def adam(p, g, t, st, lr=0.001, b1=0.9, b2=0.999, eps=1e-7, amsgrad=False, torch=False):
    m = st["m"] = b1 * _z(st, "m", p) + (1 - b1) * g
    v = st["v"] = b2 * _z(st, "v", p) + (1 - b2) * g * g
    if amsgrad:
        v = st["w"] = np.maximum(_z(st, "w", p), v)
    if torch:
        return p - lr / (1 - b1**t) * m / (np.sqrt(v) / math.sqrt(1 - b2**t) + eps)
    return p - lr * math.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)


def adamax(p, g, t, st, lr=0.001, b1=0.9, b2=0.999, eps=1e-7, torch=False):
    m = st["m"] = b1 * _z(st, "m", p) + (1 - b1) * g
    if torch:
        u = st["u"] = np.maximum(b2 * _z(st, "u", p), np.abs(g) + eps)
        return p - lr / (1 - b1**t) * m / u
    u = st["u"] = np.maximum(b2 * _z(st, "u", p), np.abs(g))
    return p - lr * m / ((1 - b1**t) * (u + eps))


def nadam(p, g, t, st, lr=0.001, b1=0.9, b2=0.999, eps=1e-7, psi=1.0):
    mu, mu1 = (b1 if psi is None else b1 * (1 - 0.5 * 0.96 ** (k * psi)) for k in (t, t + 1))
    P = st["P"] = st.get("P", 1.0) * mu
    m = st["m"] = b1 * _z(st, "m", p) + (1 - b1) * g
    v = st["v"] = b2 * _z(st, "v", p) + (1 - b2) * g * g
    return p - lr * ((1 - mu) / (1 - P) * g + mu1 / (1 - P * mu1) * m) / (np.sqrt(v / (1 - b2**t)) + eps)


def nadam_optax(p, g, t, st, lr=0.001, b1=0.9, b2=0.999, eps=1e-7):
    m = st["m"] = b1 * _z(st, "m", p) + (1 - b1) * g
    v = st["v"] = b2 * _z(st, "v", p) + (1 - b2) * g * g
    m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    return p - lr * m_hat / (np.sqrt(v / (1 - b2**t)) + eps)


def lion(p, g, t, st, lr=0.001, b1=0.9, b2=0.99):
    m = _z(st, "m", p)
    st["m"] = b2 * m + (1 - b2) * g
    return p - lr * np.sign(b1 * m + (1 - b1) * g)


def ftrl(p, g, t, st, lr=0.001, power=-0.5, acc0=0.1, l1=0.0, l2=0.0, shrink=0.0, beta=0.0):
    s = st.get("s", np.full_like(p, acc0))
    after = s + g * g
    st["z"] = _z(st, "z", p) + g + 2 * shrink * p - (after**-power - s**-power) / lr * p
    st["s"] = after
    return (np.clip(st["z"], -l1, l1) - st["z"]) / (after**-power / lr + 2 * (l2 + beta / (2 * lr)))


def schedule_free(p, g, t, st, lr=0.0025, b1=0.9, b2=0.999, eps=1e-8, warm=0):
    z = st.get("z", p)
    x = (p - (1 - b1) * z) / b1
    v = st["v"] = b2 * _z(st, "v", p) + (1 - b2) * g * g
    z = st["z"] = z - lr * (min(t / warm, 1) if warm else 1) * g / (np.sqrt(v / (1 - b2**t)) + eps)
    return (1 - b1) * z + b1 * (x + (z - x) / t)


def lamb(p, g, t, st, lr=0.001, b1=0.9, b2=0.999, eps=1e-7):
    m = st["m"] = b1 * _z(st, "m", p) + (1 - b1) * g
    v = st["v"] = b2 * _z(st, "v", p) + (1 - b2) * g * g
    d = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
    a, b = np.linalg.norm(p), np.linalg.norm(d)
    return p - lr * (a / b if a > 0 and b > 0 else 1.0) * d


def adafactor(p, g, t, st, lr=0.001, decay=-0.8, eps1=1e-30, eps2=1e-3, clip=1.0):
    b, square = 1 - t**decay, g * g + eps1
    if p.ndim < 2:
        v = st["v"] = b * _z(st, "v", p) + (1 - b) * square
    else:
        r = st["r"] = b * st.get("r", 0) + (1 - b) * square.mean(-1)
        c = st["c"] = b * st.get("c", 0) + (1 - b) * square.mean(-2)
        v = (r / r.mean(-1, keepdims=True))[..., None] * c[..., None, :]
    d = g / np.sqrt(v)
    d = d / max(1, np.sqrt((d * d).mean()) / clip)
    return p - min(lr, t**-0.5) * max(eps2, np.sqrt((p * p).mean())) * d


def muon(p, g, t, st, lr=0.001, wd=0.004, mu=0.95, steps=5, nesterov=True, rms=0.2, abc=(3.4445, -4.7750, 2.0315)):
    p = p * (1 - lr * wd)
    if p.ndim != 2:
        return adam(p, g, t, st, lr=lr)
    m = st["m"] = mu * _z(st, "m", p) + g
    x = g + mu * m if nesterov else m
    x = x / (np.linalg.norm(x) + 1e-7)
    a, b, c = abc
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return p - lr * (1 if rms is None else rms * math.sqrt(max(p.shape))) * x


CASES = [
    ("SGD", {}, sgd, {}),
    ("SGD", {"momentum": 0.9}, sgd, {"mu": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}, sgd, {"mu": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.9, "nesterov": "lookahead"}, sgd, {"mu": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.9, "form": "torch"}, sgd_torch, {"mu": 0.9}),
    ("SGD", {"momentum": 0.9, "form": "torch", "dampening": 0.3}, sgd_torch, {"mu": 0.9, "damp": 0.3}),
    ("SGD", {"momentum": 0.9, "form": "torch", "nesterov": True}, sgd_torch, {"mu": 0.9, "nesterov": True}),
    *[
        (
            "RMSprop",
            {"momentum": mu, "centered": c, "form": "torch" if torch else "keras", "epsilon": 1e-4},
            rmsprop,
            {"mu": mu, "centered": c, "torch": torch, "eps": 1e-4},
        )
        for mu in (0.0, 0.8)
        for c in (False, True)
        for torch in (False, True)
    ],
    ("Adagrad", {}, adagrad, {}),
    (
        "Adagrad",
        {"form": "torch", "initial_accumulator_value": 0.0, "epsilon": 1e-10},
        adagrad,
        {"torch": True, "acc0": 0.0, "eps": 1e-10},
    ),
    ("Adadelta", {}, adadelta, {}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-6}, adadelta, {"lr": 1.0, "rho": 0.9, "eps": 1e-6}),
    ("Adam", {}, adam, {}),
    ("Adam", {"amsgrad": True}, adam, {"amsgrad": True}),
    ("Adam", {"form": "torch", "epsilon": 1e-2}, adam, {"torch": True, "eps": 1e-2}),
    ("Adam", {"form": "torch", "amsgrad": True}, adam, {"torch": True, "amsgrad": True}),
    ("Adamax", {}, adamax, {}),
    ("Adamax", {"form": "torch", "epsilon": 1e-2}, adamax, {"torch": True, "eps": 1e-2}),
    ("Nadam", {}, nadam, {}),
    ("Nadam", {"momentum_decay": 0.004}, nadam, {"psi": 0.004}),
    ("Nadam", {"momentum_decay": None}, nadam_optax, {}),
    ("Lion", {}, lion, {}),
    ("Ftrl", {"learning_rate": 0.1}, ftrl, {"lr": 0.1}),
    (
        "Ftrl",
        {"learning_rate": 0.1, "learning_rate_power": -0.7, "l1_regularization_strength": 0.1, "beta": 0.1,
         "l2_regularization_strength": 0.02, "l2_shrinkage_regularization_strength": 0.03},
        ftrl,
        {"lr": 0.1, "power": -0.7, "l1": 0.1, "l2": 0.02, "shrink": 0.03, "beta": 0.1},
    ),
    ("ScheduleFreeAdamW", {}, schedule_free, {}),
    ("ScheduleFreeAdamW", {"beta_1": 0.7, "warmup_steps": 5}, schedule_free, {"b1": 0.7, "warm": 5}),
    ("Lamb", {}, lamb, {}),
    ("Adafactor", {"learning_rate": 0.3}, adafactor, {"lr": 0.3}),
    ("Muon", {}, muon, {}),
    ("Adadelta", {"learning_rate": None}, adadelta, {"lr": 1.0}),
]  # fmt: skip
IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in kw.items())}" for name, kw, _, _ in CASES]


def run_both(optimizer, twin, dtype, size, steps=STEPS, rates=None, seed=0):
    """Parameters after `steps`, from fastnn and from the twin in float64, on the same gradients."""
    rng = np.random.default_rng(seed)
    p = rng.standard_normal(size).astype(dtype)
    q = p.astype(np.float64)
    state = {}
    for t in range(1, steps + 1):
        g = rng.standard_normal(size).astype(dtype)
        if rates is not None:
            optimizer.learning_rate = rates(t)
        optimizer.apply([g], [p])
        q = twin(q, g.astype(np.float64), t, state)
    return p, q


def tolerance(dtype, steps=STEPS):
    """Each step rounds slots, update and parameter a few times; the parameters here are of size 1 to 4."""
    return 6 * steps * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name, kwargs, twin, settings", CASES, ids=IDS)
def test_twin(name, kwargs, twin, settings, dtype):
    for size in SIZES:
        optimizer = getattr(optimizers, name)(**kwargs)
        p, q = run_both(optimizer, lambda *a: twin(*a, **settings), dtype, size)
        np.testing.assert_allclose(p, q, rtol=0, atol=tolerance(dtype))


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam", "Lion"])
def test_weight_decay_is_decoupled(name):
    twins = {"AdamW": adam, "SGD": sgd}
    twin = twins.get(name) or globals()[name.lower()]

    def decayed(p, g, t, st):
        return twin(p - p * 0.1 * 0.02, g, t, st, lr=0.02)

    p, q = run_both(getattr(optimizers, name)(learning_rate=0.02, weight_decay=0.1), decayed, np.float64, 37)
    np.testing.assert_allclose(p, q, rtol=0, atol=tolerance(np.float64))


def test_weight_decay_leaves_out_variables_by_name():
    values = [fastnn.Variable(np.ones(3), name=name) for name in ("kernel", "bias")]
    optimizer = SGD(0.5, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([np.zeros(3, np.float32)] * 2, values)
    assert (values[0].value < 1).all() and (values[1].value == 1).all()


def test_a_row_of_hyper_must_be_float64():
    p, g = np.ones(3, np.float32), np.ones(3, np.float32)
    with pytest.raises(ValueError, match="kernel sgd: hyper must be contiguous float64, got float32"):
        _core.run("sgd", False, (p, g), (3, 0, 0), (1.0, 0.0, 1.0, 0.0), hyper=np.ones(1, np.float32))


def test_weight_decay_of_torch_is_added_to_the_gradient():
    def l2(p, g, t, st):
        return adam(p, g + 0.1 * p, t, st, torch=True)

    p, q = run_both(Adam(form="torch", weight_decay=0.1), l2, np.float64, 37)
    np.testing.assert_allclose(p, q, rtol=0, atol=tolerance(np.float64))
    p, q = run_both(
        Adam(weight_decay=0.1, weight_decay_form="l2"), lambda p, g, t, st: adam(p, g + 0.1 * p, t, st), np.float64, 37
    )
    np.testing.assert_allclose(p, q, rtol=0, atol=tolerance(np.float64))


def test_torch_adamw():
    def twin(p, g, t, st):
        return adam(p * (1 - 1e-3 * 0.01), g, t, st, torch=True, eps=1e-8)

    p, q = run_both(optimizers.AdamW(form="torch", weight_decay=0.01, epsilon=1e-8), twin, np.float64, 37)
    np.testing.assert_allclose(p, q, rtol=0, atol=tolerance(np.float64))


def test_exclude_from_weight_decay():
    class Named(np.ndarray):
        name = "bias"

    p = [np.ones(3), np.ones(3).view(Named)]
    optimizer = SGD(weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma"])
    optimizer.apply([np.zeros(3), np.zeros(3)], p)
    assert (p[0] == 1 - 0.5 * 0.01).all() and (p[1] == 1).all()
    optimizer = SGD(weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[p[0]])
    assert not optimizer.decays(p[0]) and optimizer.decays(p[1])


@pytest.mark.parametrize("form", ["keras", "torch"])
def test_forms_of_momentum_differ_when_the_rate_falls(form):
    twin = sgd if form == "keras" else sgd_torch

    def rate(t):
        return 0.1 if t <= 10 else 0.01

    p, q = run_both(
        SGD(0.1, momentum=0.9, form=form),
        lambda p, g, t, st: twin(p, g, t, st, lr=rate(t), mu=0.9),
        np.float64,
        9,
        rates=rate,
    )
    np.testing.assert_allclose(p, q, rtol=0, atol=tolerance(np.float64))


def test_lookahead_is_nesterovs_method_for_a_momentum_that_changes():
    """Textbook: v <- mu v - lr f'(x + mu v), x <- x + v, on f = a x^2 / 2."""
    a, lr, schedule = np.array([1.0, 0.3, 0.01]), 0.3, schedules.MomentumSchedule(0.95, period=3)
    x, v = np.ones(3), np.zeros(3)
    p = np.ones(3)
    optimizer = SGD(lr, momentum=schedule, nesterov="lookahead")
    for t in range(40):
        v = schedule(t) * v - lr * a * (x + schedule(t) * v)
        x = x + v
        optimizer.apply([a * p], [p])
        np.testing.assert_allclose(p, x + schedule(t + 1) * v, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(p - schedule(40) * optimizer.state()["momentum"][0], x, rtol=1e-12, atol=1e-14)


# ---- clipping, averaging, accumulation ----


def clipped(grads, kind, c):
    if kind == "clipvalue":
        return [np.clip(g, -c, c) for g in grads]
    if kind == "clipnorm":
        return [g * c / max(np.sqrt((g * g).sum()), c) for g in grads]
    norm = np.sqrt(sum((g * g).sum() for g in grads))
    return [g * c / max(norm, c) for g in grads]


@pytest.mark.parametrize("kind", ["clipvalue", "clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("limit", [0.5, 1e4])
def test_clipping(kind, limit):
    rng = np.random.default_rng(1)
    shapes = [(70, 70), (3,), (0,), (5, 2)]
    p = [rng.standard_normal(s) for s in shapes]
    q = [x.copy() for x in p]
    optimizer = Adam(**{kind: limit}, weight_decay=0.01)
    state = [{} for _ in shapes]
    for t in range(1, 6):
        g = [rng.standard_normal(s) * 10.0 ** rng.integers(-3, 3) for s in shapes]
        optimizer.apply(g, p)
        for j, gc in enumerate(clipped(g, kind, limit)):
            q[j] = adam(q[j] * (1 - 1e-5), gc, t, state[j])
    for a, b in zip(p, q, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_clip_by_global_norm_as_torch():
    g, p = [np.array([3.0, 4.0])], [np.zeros(2)]
    SGD(1.0, global_clipnorm=1.0, form="torch").apply(g, p)
    np.testing.assert_allclose(p[0], -g[0] / (5 + 1e-6), rtol=1e-15)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_gradient_that_is_not_finite_shows(bad):
    for kwargs in ({"global_clipnorm": 1.0}, {"clipnorm": 1.0}):
        p = [np.zeros(3)]
        SGD(1.0, **kwargs).apply([np.array([1.0, bad, 1.0])], p)
        assert np.isnan(p[0]).all()
    for name in ("SGD", "Adam", "Adamax", "RMSprop", "Lion", "Nadam", "Adagrad", "Adadelta"):
        p = [np.zeros(3, np.float32)]
        getattr(optimizers, name)(clipvalue=1.0).apply([np.array([0, np.nan, 0], np.float32)], p)
        assert np.isnan(p[0][1]) and (p[0][[0, 2]] == 0).all(), name


@pytest.mark.parametrize("every, overwrite", [(None, None), (None, 3), (2, 3)])
def test_moving_average(every, overwrite):
    rng = np.random.default_rng(2)
    optimizer = SGD(
        0.1, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=overwrite, gradient_accumulation_steps=every
    )
    p = rng.standard_normal(5)
    q, average, total = p.copy(), np.zeros(5), np.zeros(5)
    k = every or 1
    for raw in range(13):
        g = rng.standard_normal(5)
        optimizer.apply([g], [p])
        total += g
        if (raw + 1) % k == 0:
            q -= 0.1 * total / k
            total[:] = 0
        mu = 0.7 if raw // k else 0.0
        average = mu * average + (1 - mu) * q
        if overwrite and (raw // k + 1) % overwrite == 0:
            q = average.copy()
        np.testing.assert_allclose(p, q, rtol=1e-13, atol=1e-14)
    optimizer.finalize_variable_values([p])
    np.testing.assert_allclose(p, average, rtol=1e-13, atol=1e-14)


def test_gradient_accumulation():
    """Three micro-steps are one step with the mean gradient; schedules see every micro-step, Adam's t the updates."""
    rng = np.random.default_rng(3)
    rate = schedules.InverseTimeDecay(0.1, 1, 0.5)
    optimizer = Adam(rate, gradient_accumulation_steps=3, global_clipnorm=0.8)
    p = rng.standard_normal(9)
    q, state = p.copy(), {}
    for update in range(5):
        g = [rng.standard_normal(9) for _ in range(3)]
        for j in range(3):
            before = p.copy()
            optimizer.apply([g[j]], [p])
            assert (p == before).all() == (j < 2)
        mean = clipped([sum(g) / 3], "global_clipnorm", 0.8)[0]
        q = adam(q, mean, update + 1, state, lr=rate(3 * update + 2))
        np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-13)
    assert optimizer.iterations == 5 and optimizer.step_count == 15


def test_loss_scale():
    a, b = np.ones(3), np.ones(3)
    SGD(loss_scale_factor=8.0).apply([np.full(3, 8.0)], [a])
    SGD().apply([np.ones(3)], [b])
    assert (a == b).all()


# ---- hyper ----


@pytest.mark.parametrize("name, kwargs, twin, settings", CASES, ids=IDS)
def test_hyper_does_not_depend_on_how_steps_are_cut(name, kwargs, twin, settings):
    def make():
        rate = schedules.CosineDecayRestarts(0.1, 7)
        return getattr(optimizers, name)(
            **{**kwargs, "learning_rate": rate}, use_ema=True, gradient_accumulation_steps=2, ema_overwrite_frequency=3
        )

    whole = make().hyper(0, 100)
    optimizer = make()
    assert whole.shape == (100, optimizer.hyper_width) == (100, len(optimizer.hyper_columns))
    assert whole.dtype == np.float64
    for cut in (1, 3, 64):
        for at in [*range(0, 100, cut), 50, 0]:
            assert np.array_equal(optimizer.hyper(at, min(cut, 100 - at)), whole[at : at + cut])
    assert optimizer.hyper(5, 0).shape == (0, optimizer.hyper_width)


def test_hyper_of_a_late_step():
    row = Adam().hyper(10**9, 1)[0]
    np.testing.assert_allclose(row, [0.001, 1.0, 1e-7])


def test_learning_rate():
    optimizer = SGD(0.1)
    optimizer.learning_rate = 0.25
    assert optimizer.learning_rate == 0.25 and optimizer.hyper(3, 2)[:, 0].tolist() == [0.25, 0.25]
    optimizer.learning_rate = schedules.StepDecay(1.0, 2)
    assert optimizer.hyper(0, 5)[:, 0].tolist() == [1, 1, 0.5, 0.5, 0.25]
    optimizer.step_count = 2
    assert optimizer.learning_rate == 0.5
    with pytest.raises(TypeError, match="SGD: learning_rate is a schedule and cannot be set"):
        optimizer.learning_rate = 0.1
    assert SGD(lambda: 0.125).hyper(0, 1)[0, 0] == 0.125


# ---- records over a flat store ----


def execute(optimizer, arrays, ranges, dtype, step):
    hyper = optimizer.hyper(step, 1)[0]
    for record in optimizer.program(ranges):
        operands = tuple(None if o is None else arrays[o.role][o.offset :] for o in record.operands)
        _core.run(
            record.kernel, dtype == np.float64, operands, record.ints, record.reals, cost=record.cost, hyper=hyper
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (70, 33), (2, 3, 5, 7), (4, 300)])
def test_adafactor_of_matrices(shape, dtype):
    """Matrices, and stacks of them, by their rows and columns."""
    p, q = run_both(optimizers.Adafactor(0.1), lambda *a: adafactor(*a, lr=0.1), dtype, shape)
    np.testing.assert_allclose(p, q, rtol=0, atol=tolerance(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("settings", [{}, {"nesterov": False, "rms": None}, {"steps": 2}, {"steps": 0}])
@pytest.mark.parametrize("shape", [(1, 1), (70, 33), (33, 70), (4, 300), (2, 3, 5)])
def test_muon_of_matrices(shape, settings, dtype):
    names = {"steps": "ns_steps", "rms": "rms_rate", "nesterov": "nesterov"}
    optimizer = optimizers.Muon(0.01, **{names[k]: v for k, v in settings.items()})
    p, q = run_both(optimizer, lambda *a: muon(*a, lr=0.01, **settings), dtype, shape)
    np.testing.assert_allclose(p, q, rtol=0, atol=8 * tolerance(dtype))


def test_muon_takes_adam_for_what_is_named():
    def weights_after(optimizer):
        model = fastnn.Sequential([
            layers.Input((3,), dtype="int32"), layers.Embedding(5, 4, name="embedding"), layers.Flatten(),
            layers.Dense(6, name="hidden"), layers.Dense(2, name="head"),
        ])  # fmt: skip
        rng = np.random.default_rng(1)
        model.set_weights([rng.standard_normal(w.shape) for w in model.get_weights()])
        model.compile(optimizer, "mse")
        model.fit(rng.integers(0, 5, (8, 3)), rng.standard_normal((8, 2)), epochs=3, verbose=0, shuffle=False)
        return dict(zip([w.path for w in model.weights], model.get_weights(), strict=True))

    settings = {"learning_rate": 0.01, "adam_weight_decay": 0.004}
    muon_only = weights_after(optimizers.Muon(**settings, exclude_embeddings=False))
    by_name = weights_after(optimizers.Muon(**settings, exclude_layers=["hidden", "^head/"]))
    by_adam = weights_after(optimizers.AdamW(0.01))
    for path, value in by_adam.items():
        np.testing.assert_allclose(by_name[path], value, rtol=1e-6, atol=1e-6, err_msg=path)
        assert (value.ndim == 2) == bool(np.abs(muon_only[path] - value).max() > 1e-3), path


def test_muon_gives_the_same_bits_for_any_number_of_threads():
    rng, before, results = np.random.default_rng(5), _core.get_threads(), []
    p0, grads = rng.standard_normal((150, 210)).astype(np.float32), rng.standard_normal((3, 150, 210))
    try:
        for threads in (1, 2, 3):
            _core.set_threads(threads)
            optimizer, p = optimizers.Muon(0.1), p0.copy()
            for g in grads.astype(np.float32):
                optimizer.apply([g], [p])
            results.append(p)
    finally:
        _core.set_threads(before)
    assert all(np.array_equal(results[0], p) for p in results[1:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kwargs", [{}, {"clipnorm": 0.1}, {"global_clipnorm": 0.1}, {"use_ema": True}])
@pytest.mark.parametrize(
    "name", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam", "Lion", "Ftrl", "Lamb",
             "Adafactor", "Muon", "ScheduleFreeAdamW"]
)  # fmt: skip
def test_store_and_arrays_agree_and_gaps_stay_zero(name, kwargs, dtype):
    """The same kernels over one flat store with gaps, several ranges and settings, and over separate arrays."""
    cls = getattr(optimizers, name)
    kwargs = {**kwargs, "weight_decay": 0.1}
    shapes = [(5, 3), (4,), (130, 33), (9,)]
    rng = np.random.default_rng(4)
    values = [rng.standard_normal(s).astype(dtype) for s in shapes]
    ranges, at = [], 0
    for j, s in enumerate(shapes):
        ranges.append(Range(at, math.prod(s), 0.5 if j == 3 else 1.0, j < 2, s))
        at += -(-math.prod(s) // 16) * 16
    flat = cls(**kwargs)
    arrays = {"param": _core.empty((at,), dtype), "grad": _core.empty((at,), dtype)}
    for role, buffer in flat.buffers(ranges).items():
        arrays[role] = _core.empty((max(buffer.size, 1),), buffer.dtype or dtype)
        arrays[role][:] = buffer.initial
    used = np.zeros(at, bool)
    for r, value in zip(ranges, values, strict=True):
        arrays["param"][r.offset : r.offset + r.size] = value.ravel()
        used[r.offset : r.offset + r.size] = True
    separate = cls(**kwargs)
    separate.exclude_from_weight_decay(var_list=values[2:])
    for step in range(4):
        grads = [rng.standard_normal(s).astype(dtype) for s in shapes]
        for r, g in zip(ranges, grads, strict=True):
            arrays["grad"][r.offset : r.offset + r.size] = g.ravel()
        execute(flat, arrays, ranges, dtype, step)
        assert not arrays["param"][~used].any()
        before = values[3].copy()
        separate.apply(grads, values)
        for r, value in list(zip(ranges, values, strict=True))[:3]:
            got = arrays["param"][r.offset : r.offset + r.size].reshape(value.shape)
            np.testing.assert_allclose(got, value, rtol=0, atol=8 * np.finfo(dtype).eps * 4)
        r = ranges[3]  # half the learning rate: half the change, as far as the state has not yet parted
        if step == 0 and name not in ("Adadelta", "Ftrl"):
            got = arrays["param"][r.offset : r.offset + r.size]
            np.testing.assert_allclose(
                got - before, (values[3] - before) / 2, rtol=0, atol=16 * np.finfo(dtype).eps * 4
            )


def test_neighbours_with_equal_settings_are_one_range():
    ranges = [Range(0, 10), Range(16, 4), Range(32, 8, 0.5), Range(48, 3, 0.5, False)]
    records = Adam().program(ranges)
    assert [(r.kernel, r.operands[0].offset, r.ints[0]) for r in records] == [
        ("adam", 0, 20),
        ("adam", 32, 8),
        ("adam", 48, 3),
    ]
    assert [r.kernel for r in Adam(clipnorm=1.0).program(ranges[:2])] == [
        "gradient_norm",
        "gradient_norm",
        "clip_factor",
        "clip_factor",
        "adam",
        "adam",
    ]
    assert [r.kernel for r in Adam(global_clipnorm=1.0).program(ranges[:2])] == ["gradient_norm", "clip_factor", "adam"]


@pytest.mark.parametrize("name, kwargs, twin, settings", CASES, ids=IDS)
def test_same_bits_for_any_number_of_threads(name, kwargs, twin, settings):
    rng = np.random.default_rng(5)
    p0 = rng.standard_normal(50_001).astype(np.float32)
    grads = [rng.standard_normal(50_001).astype(np.float32) for _ in range(3)]
    results, before = [], _core.get_threads()
    try:
        for threads in (1, 2, 3, 8):
            _core.set_threads(threads)
            optimizer, p = getattr(optimizers, name)(**kwargs, global_clipnorm=1.0, use_ema=True), p0.copy()
            for g in grads:
                optimizer.apply([g], [p])
            results.append(np.concatenate([p, *(x for v in optimizer.state().values() if v != 3 for x in v)]))
    finally:
        _core.set_threads(before)
    for other in results[1:]:
        assert np.array_equal(results[0].view(np.uint32), other.view(np.uint32))


# ---- state, configuration, errors ----


@pytest.mark.parametrize("name, kwargs, twin, settings", CASES, ids=IDS)
def test_saving_and_resuming_is_as_not_stopping(name, kwargs, twin, settings):
    def make():
        return getattr(optimizers, name)(**kwargs, use_ema=True, gradient_accumulation_steps=2)

    rng = np.random.default_rng(6)
    grads = rng.standard_normal((9, 21)).astype(np.float32)
    p, q = np.ones(21, np.float32), np.ones(21, np.float32)
    whole, first = make(), make()
    for g in grads:
        whole.apply([g], [p])
    for g in grads[:5]:
        first.apply([g], [q])
    second = make()
    second.set_state(first.state(), [q])
    for g in grads[5:]:
        second.apply([g], [q])
    assert np.array_equal(p, q)


@pytest.mark.parametrize("name, kwargs, twin, settings", CASES, ids=IDS)
def test_config_round_trip(name, kwargs, twin, settings):
    optimizer = getattr(optimizers, name)(**kwargs, clipnorm=2.0, weight_decay=0.25)
    again = optimizers.get(optimizers.serialize(optimizer))
    assert type(again) is type(optimizer) and again.get_config() == optimizer.get_config()
    assert repr(again) == repr(optimizer)


def test_config_with_schedules():
    optimizer = SGD(schedules.ExponentialDecay(0.5, 10, 0.9), momentum=schedules.MomentumSchedule(0.9))
    again = optimizers.deserialize(optimizers.serialize(optimizer))
    assert np.array_equal(again.hyper(0, 50), optimizer.hyper(0, 50))


def test_get():
    assert optimizers.get(None) is None
    assert type(optimizers.get("adam")) is Adam and type(optimizers.get("AdamW")) is optimizers.AdamW
    optimizer = SGD()
    assert optimizers.get(optimizer) is optimizer
    keras = {"module": "keras.optimizers", "class_name": "Adam", "config": {"learning_rate": 0.5, "name": "adam"}}
    assert optimizers.get(keras).learning_rate == 0.5
    with pytest.raises(ValueError, match="unknown optimizer 'adan'; known: adadelta, adafactor"):
        optimizers.get("adan")
    with pytest.raises(ValueError, match="expected a name, a config dict or an Optimizer instance, got 3"):
        optimizers.get(3)
    with pytest.raises(TypeError, match="'class_name'"):
        optimizers.get({})

    class Mine(SGD):
        pass

    config = optimizers.serialize(Mine(0.5))
    assert type(optimizers.deserialize(config, custom_objects={"Mine": Mine})) is Mine


def test_defaults_are_keras():
    expected = {
        "SGD": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
        "RMSprop": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
        "Adagrad": {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-7},
        "Adadelta": {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-7},
        "Adam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False},
        "AdamW": {"learning_rate": 0.001, "weight_decay": 0.004, "beta_2": 0.999},
        "Adamax": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
        "Nadam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
        "Lion": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.99},
        "Ftrl": {"learning_rate": 0.001, "learning_rate_power": -0.5, "initial_accumulator_value": 0.1, "beta": 0.0},
        "Lamb": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
        "Adafactor": {"learning_rate": 0.001, "beta_2_decay": -0.8, "epsilon_1": 1e-30, "epsilon_2": 1e-3,
                      "clip_threshold": 1.0, "relative_step": True},
        "Muon": {"learning_rate": 0.001, "adam_beta_1": 0.9, "adam_beta_2": 0.999, "adam_weight_decay": 0.004,
                 "epsilon": 1e-7, "weight_decay": 0.004, "exclude_layers": [], "exclude_embeddings": True,
                 "muon_a": 3.4445, "muon_b": -4.7750, "muon_c": 2.0315, "adam_lr_ratio": 1, "momentum": 0.95,
                 "ns_steps": 5, "nesterov": True, "rms_rate": 0.2},
        "ScheduleFreeAdamW": {"learning_rate": 0.0025, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
    }  # fmt: skip
    for name, settings in expected.items():
        config = getattr(optimizers, name)().get_config()
        assert {k: config[k] for k in settings} == settings
        assert {"form", "weight_decay_form", "dampening", "momentum_decay"}.isdisjoint(config)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: SGD(-0.1), ValueError, "SGD: learning_rate must be finite and >= 0, got -0.1"),
        (lambda: SGD(float("nan")), ValueError, "SGD: learning_rate must be finite"),
        (lambda: SGD("0.1"), TypeError, "SGD: learning_rate must be a number, got '0.1'"),
        (lambda: SGD(momentum=1.0), ValueError, r"SGD: momentum must be in \[0, 1\), got 1.0"),
        (lambda: SGD(nesterov="yes"), ValueError, "SGD: nesterov must be True, False or 'lookahead', got 'yes'"),
        (lambda: SGD(dampening=0.1), ValueError, "SGD: dampening=0.1 is PyTorch's; it needs form='torch'"),
        (lambda: SGD(nesterov=True, form="torch"), ValueError, "nesterov needs momentum > 0 and dampening 0"),
        (lambda: SGD(form="jax"), ValueError, "form must be one of 'keras', 'torch', got 'jax'"),
        (lambda: SGD(decay=0.1), ValueError, r"SGD: unknown argument\(s\) decay; use a schedule"),
        (lambda: SGD(lr=0.1), ValueError, r"SGD: unknown argument\(s\) lr"),
        (lambda: SGD(clipnorm=1.0, clipvalue=1.0), ValueError, "only one of clipnorm, clipvalue and global_clipnorm"),
        (lambda: SGD(clipnorm=-1.0), ValueError, "clipnorm must be finite and >= 0, got -1.0"),
        (lambda: SGD(weight_decay_form="none"), ValueError, "weight_decay_form must be 'decoupled' or 'l2'"),
        (lambda: SGD(gradient_accumulation_steps=1), ValueError, "must be an integer >= 2 or None, got 1"),
        (lambda: SGD(ema_overwrite_frequency=0.5), ValueError, "must be an integer >= 1 or None, got 0.5"),
        (lambda: SGD(ema_momentum=1.5), ValueError, r"ema_momentum must be in \[0, 1\], got 1.5"),
        (lambda: Adam(beta_2=1.5), ValueError, r"Adam: beta_2 must be in \[0, 1\), got 1.5"),
        (lambda: Adam(epsilon=-1), ValueError, "Adam: epsilon must be finite and >= 0, got -1.0"),
        (lambda: Adam(use_ema="no"), TypeError, "Adam: use_ema must be True or False, got 'no'"),
        (lambda: Adam(amsgrad="no"), TypeError, "Adam: amsgrad must be True or False, got 'no'"),
        (lambda: optimizers.AdamW(weight_decay=None), ValueError, "AdamW: weight_decay must be a number, got None"),
        (lambda: optimizers.Lion(beta_1=0.0), ValueError, r"Lion: beta_1 must be in \(0, 1\], got 0.0"),
        (lambda: optimizers.Ftrl(learning_rate_power=0.5), ValueError, "learning_rate_power must be finite and <= 0"),
        (lambda: optimizers.Ftrl(beta=-1), ValueError, "Ftrl: beta must be finite and >= 0, got -1.0"),
        (lambda: optimizers.Adafactor(clip_threshold=0), ValueError, "clip_threshold must be finite and > 0, got 0.0"),
        (lambda: optimizers.ScheduleFreeAdamW(beta_1=0), ValueError, "beta_1 must be finite and > 0, got 0.0"),
        (lambda: optimizers.Muon(momentum=1), ValueError, r"Muon: momentum must be in \[0, 1\), got 1.0"),
        (lambda: optimizers.Muon(exclude_layers="head"), ValueError, "exclude_layers must be a list of expressions"),
        (lambda: optimizers.Muon(exclude_layers=["("]), ValueError, r"exclude_layers: '\(' is no regular expression"),
        (lambda: optimizers.Muon(ns_steps=-1), ValueError, "ns_steps must be an integer >= 0 or None, got -1"),
        (lambda: Optimizer(0.1).program([Range(0, 1)]), NotImplementedError, "Optimizer must define _method"),
    ],
)
def test_errors_of_settings(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Constant(schedules.LearningRateSchedule):
    """A schedule of one's own, without checks."""

    def __init__(self, value):
        self.value = value

    def __call__(self, step):
        return self.value if step > 1 else 0.1


@pytest.mark.parametrize("value", [-0.5, float("nan"), float("inf")])
def test_rates_and_momenta_of_functions_are_checked(value):
    p, g = [np.ones(3)], [np.ones(3)]
    with pytest.raises(ValueError, match="SGD: learning_rate must be finite and >= 0, got"):
        SGD(lambda: value).apply(g, p)
    with pytest.raises(TypeError, match="SGD: learning_rate must be a number, got 'fast'"):
        SGD(lambda: "fast").apply(g, p)
    with pytest.raises(ValueError, match=r"SGD: learning_rate must be >= 0 and finite, got .* at step 2"):
        SGD(Constant(value)).hyper(0, 5)
    with pytest.raises(ValueError, match=r"SGD: momentum must be >= 0 and < 1, got .* at step 2"):
        SGD(0.1, momentum=Constant(value)).hyper(0, 5)
    with pytest.raises(ValueError, match=r"SGD: momentum must be >= 0 and < 1, got 1\.0 at step 2"):
        SGD(0.1, momentum=Constant(1.0)).hyper(0, 5)


def test_a_schedule_need_not_be_right_beyond_the_last_step():
    class Line(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 - 0.01 * step

    model = fastnn.Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile(SGD(Line()), "mse")
    for _ in range(10):
        model.train_on_batch(np.ones((4, 2)), np.ones((4, 1)))
    with pytest.raises(ValueError, match=r"learning_rate must be >= 0 and finite, got -0\.0.* at step 11"):
        for _ in range(3):
            model.train_on_batch(np.ones((4, 2)), np.ones((4, 1)))


def test_errors_of_apply():
    optimizer, f = SGD(), np.zeros(3)
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    for grads, params, error, message in [
        ([f], [], ValueError, "as many gradients as variables are needed, got 1 and 0"),
        ([], [], ValueError, "got 0 and 0"),
        ([[1.0]], [np.zeros(1)], TypeError, "gradient 0 must be a numpy array, got list"),
        ([np.zeros(3, int)], [f], TypeError, "must be float32 or all float64, got int64 for gradient 0"),
        ([np.zeros(3, np.float32)], [f], TypeError, "got float32 for gradient 0 and float64 for variable 0"),
        ([np.zeros(4)], [f], ValueError, r"gradient 0 must have its variable's shape \(3,\), got \(4,\)"),
        ([np.zeros(6)[::2]], [f], ValueError, "gradient 0 must be C-contiguous"),
        ([f], [frozen], ValueError, "variable 0 is read-only"),
        ([f], [f], ValueError, "must not share memory"),
    ]:
        with pytest.raises(error, match=message):
            optimizer.apply(grads, params)
    assert optimizer.step_count == 0
    optimizer.apply([f], [np.zeros(3)])
    with pytest.raises(ValueError, match="use a new optimizer for other variables"):
        optimizer.apply([np.zeros(4)], [np.zeros(4)])
    optimizer.apply_gradients([(f, np.zeros(3))])
    assert optimizer.iterations == 2


def test_zero_epsilon_keeps_zeros():
    for name in ("Adam", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Adamax"):
        for form in ("keras", "torch"):
            kwargs = {"initial_accumulator_value": 0.0} if name == "Adagrad" else {}
            for dtype in (np.float32, np.float64):
                p = [np.zeros(3, dtype)]
                getattr(optimizers, name)(epsilon=0.0, form=form, **kwargs).apply([np.zeros(3, dtype)], p)
                assert (p[0] == 0).all(), (name, form)


@pytest.mark.parametrize("name, kwargs, twin, settings", CASES, ids=IDS)
def test_hyper_changes_no_setting(name, kwargs, twin, settings):
    """Compiled steps are made anew when a setting changes: a table of the next steps must not look like one."""
    optimizer = getattr(optimizers, name)(**kwargs)
    version = optimizer.settings_version
    optimizer.hyper(0, 5)
    optimizer.apply([np.ones(3)], [np.ones(3)])
    assert optimizer.settings_version == version
