"""Matrix products of bfloat16 parts: their errors, special values, epilogues, and how models ask for them.

Where the processor has nothing to make them with, the same calls run in float32, and are held to the same bounds.
"""

import numpy as np
import pytest

import fastnn
from fastnn import _core, config, layers, precision
from fastnn.kernels.matmul import ACTIVATIONS, matmul

LEVELS = tuple(precision.PARTS)
#: Bounds of |C - AB| / |A||B|, and of its root mean square at the sizes below; sums of k terms are rounded besides.
MOST = {"highest": 0, "highest_split": 2.0**-22, "high": 2.0**-15, "medium": 2.0**-7}
RMS = {"highest": 6e-8, "highest_split": 6e-8, "high": 5e-7, "medium": 4e-4}
SHAPES = [(128, 256, 784), (129, 131, 257), (192, 160, 2500), (300, 600, 256), (128, 128, 1025)]
SMALL = [(1, 1, 1), (15, 32, 32), (16, 31, 32), (16, 32, 31), (16, 32, 32), (17, 33, 35), (32, 33, 63), (64, 81, 65)]
#: How operands are made, as in the feasibility studies of such products.
DATA = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.random(shape),
    "wide exponents": lambda rng, shape: rng.standard_normal(shape) * 2.0 ** rng.integers(-20, 20, shape),
    "after ReLU": lambda rng, shape: np.maximum(rng.standard_normal(shape), 0),
    "tiny": lambda rng, shape: rng.standard_normal(shape) * 10.0 ** rng.uniform(-12, -6, shape),
}


def product(m, n, k, form="nn", data="normal", seed=0):
    """Operands as the form wants them, with the plain matrices."""
    rng = np.random.default_rng(seed)
    a, b = (DATA[data](rng, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    given = np.ascontiguousarray(a.T) if form == "tn" else a, np.ascontiguousarray(b.T) if form == "nt" else b
    return given, {"transpose_a": form == "tn", "transpose_b": form == "nt"}, a, b


def relative(c, a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = abs(a) @ abs(b)
    return (c - a @ b) / np.where(size > 0, size, 1)


def rounding(k):
    return 2 * np.finfo(np.float32).eps * (np.sqrt(k) + 2)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", ["nn", "nt", "tn"])
@pytest.mark.parametrize("m, n, k", SHAPES)
def test_the_error_of_each_level(level, form, m, n, k):
    given, how, a, b = product(m, n, k, form)
    error = relative(matmul(*given, **how, precision=level), a, b)
    assert abs(error).max() <= MOST[level] + rounding(k)
    assert np.sqrt((error**2).mean()) <= RMS[level]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("data", DATA)
def test_the_bound_holds_for_other_data(level, data):
    given, how, a, b = product(192, 160, 784, data=data)
    assert abs(relative(matmul(*given, **how, precision=level), a, b)).max() <= MOST[level] + rounding(784)


@pytest.mark.parametrize("level", LEVELS)
def test_cancelling_terms(level, rng):
    x, w = rng.standard_normal((192, 392)), rng.standard_normal((392, 160))
    a = np.hstack([x, -x]).astype(np.float32)
    b = np.vstack([w, w * (1 + 1e-5 * rng.standard_normal(w.shape))]).astype(np.float32)
    assert abs(relative(matmul(a, b, precision=level), a, b)).max() <= MOST[level] + rounding(784)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", ["nn", "nt", "tn"])
@pytest.mark.parametrize("m, n, k", SMALL)
def test_sizes_around_the_smallest(level, form, m, n, k):
    given, how, a, b = product(m, n, k, form)
    assert abs(relative(matmul(*given, **how, precision=level), a, b)).max() <= MOST[level] + rounding(k)


@pytest.mark.skipif(not _core.bfloat16_units()["vectors"], reason="nothing here multiplies bfloat16")
def test_medium_rounds_operands_to_nearest_even():
    """With operands that bfloat16 holds exactly the product is float32's; others give that of the rounded ones."""
    (a, b), _, _, _ = product(64, 64, 128)
    bits = [x.view(np.uint32) for x in (a, b)]
    rounded = [((u + 0x7FFF + (u >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32) for u in bits]
    c = matmul(a, b, precision="medium")
    assert np.array_equal(c, matmul(*rounded, precision="medium"))
    assert abs(relative(c, *rounded)).max() <= rounding(128)
    assert not np.array_equal(c, matmul(a, b))


@pytest.mark.parametrize("level", LEVELS)
def test_infinities_and_nan_are_those_of_float32(level):
    (a, b), _, _, _ = product(130, 140, 200)
    a[3, 4], a[7, 9], b[8, 8] = np.inf, np.nan, -np.inf
    if level != "medium":  # which rounds such numbers to infinity
        b[11, 77], a[:, 11] = 3.4e38, 0.5
    with np.errstate(invalid="ignore"):
        wanted, c = a @ b, matmul(a, b, precision=level)
    for kind in (np.isnan, np.isposinf, np.isneginf):
        assert np.array_equal(kind(c), kind(wanted))
    assert np.isfinite(c).sum() == 128 * 139


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name])
def test_what_rides_along(level, activation):
    given, _, _, _ = product(130, 135, 200)
    rng = np.random.default_rng(5)
    bias, out = rng.standard_normal(135).astype(np.float32), rng.standard_normal((130, 135)).astype(np.float32)
    plain = matmul(*given, precision=level)
    wanted = matmul(np.eye(130, dtype=np.float32), plain + out, bias=bias, activation=activation)
    c = matmul(*given, out=out.copy(), bias=bias, activation=activation, accumulate=True, precision=level)
    assert np.allclose(c, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", ["nn", "nt", "tn"])
def test_the_same_bits_for_any_number_of_threads(level, form, threads):
    given, how, _, _ = product(257, 300, 700, form)
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        results.append(matmul(*given, **how, precision=level))
    assert all(np.array_equal(results[0], c) for c in results[1:])


def test_float64_is_never_lowered():
    a = np.random.default_rng(0).standard_normal((64, 64))
    assert np.array_equal(matmul(a, a, precision="medium"), matmul(a, a))


# ---- models ----


@pytest.fixture
def process():
    """config.set_matmul_precision, put back afterwards."""
    yield config.set_matmul_precision
    config.set_matmul_precision("highest")


def net(level=None, seed=3):
    fastnn.utils.set_random_seed(seed)
    model = fastnn.Sequential(
        [
            fastnn.Input((64,)),
            layers.Dense(96, activation="relu"),
            layers.Dense(64, activation="tanh"),
            layers.Dense(40, activation="gelu"),
            layers.Dense(10),
        ]
    )
    loss = fastnn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], matmul_precision=level)
    return model


def digits():
    (x, y), test = fastnn.datasets.digits.load_data()
    return (x.reshape(-1, 64) / 16).astype(np.float32), y, (test[0].reshape(-1, 64) / 16).astype(np.float32), test[1]


@pytest.mark.parametrize("level", LEVELS)
def test_models_learn_at_every_level(level):
    x, y, x_test, y_test = digits()
    model = net(level)
    model.fit(x, y, epochs=8, batch_size=32, verbose=0)
    assert model.evaluate(x_test, y_test, verbose=0)[1] > 0.93
    again = net(level)
    again.fit(x, y, epochs=8, batch_size=32, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))


def test_gradients_of_a_step_are_near_those_of_float32():
    x, y, _, _ = digits()
    found = {}
    for level in LEVELS:
        model = net(level)
        model.compile(fastnn.optimizers.SGD(1.0), model.loss, matmul_precision=level)
        before = model.get_weights()
        model.train_on_batch(x[:256], y[:256])
        found[level] = [a - b for a, b in zip(before, model.get_weights(), strict=True)]
    for level, most in (("highest_split", 1e-5), ("high", 1e-4), ("medium", 2e-2)):
        for g, exact in zip(found[level], found["highest"], strict=True):
            assert np.linalg.norm(g - exact) <= most * np.linalg.norm(exact) + 1e-7


def test_the_process_setting_and_the_models_own(process):
    x, _, _, _ = digits()
    assert config.matmul_precision() == "highest"
    free, own = net(), net("highest")
    plain = free.predict(x[:128], verbose=0)
    process("medium")
    assert (free.matmul_precision, own.matmul_precision) == ("medium", "highest")
    assert np.array_equal(own.predict(x[:128], verbose=0), plain)
    lowered = free.predict(x[:128], verbose=0)
    assert np.array_equal(lowered, plain) != _core.bfloat16_units()["vectors"]
    assert np.allclose(lowered, plain, atol=0.05)


def test_it_is_shown_and_saved(tmp_path, process):
    x, y, _, _ = digits()
    model = net("medium")
    model.fit(x[:64], y[:64], verbose=0)
    assert "Matmul precision: medium" in model.summary(print_fn=None)
    table = model.plan()
    assert "matmul precision medium" in str(table)
    lowered = any(r["precision"] for r in table.rows)
    assert lowered == (precision.choose("medium")[0] > 0)
    model.save(tmp_path / "m.safetensors")
    assert fastnn.models.load_model(tmp_path / "m.safetensors").matmul_precision == "medium"


@pytest.mark.parametrize("level", LEVELS)
def test_what_runs_is_said(level):
    text = precision.describe(level)
    assert ("bfloat16 product" in text and "on" in text) or text.startswith("float32")
    if precision.choose(level)[0] == 0 and level != "highest":
        assert "nothing here" in text


def test_unknown_levels():
    a = np.zeros((2, 2), np.float32)
    for call in (
        lambda: config.set_matmul_precision("low"),
        lambda: net("fast"),
        lambda: matmul(a, a, precision="bf16"),
    ):
        with pytest.raises(ValueError, match=r"must be one of 'highest', 'highest_split', 'high', 'medium', got"):
            call()
