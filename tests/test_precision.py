"""Matrix products of bfloat16 parts: their errors, special values, epilogues, and how models ask for them.

Where the processor has nothing to make them with, the same calls run in float32, and are held to the same bounds.
"""

import numpy as np
import pytest

import fastnn
from fastnn import _core, config, layers, precision
from fastnn.kernels.convolution import conv2d, conv2d_grad_input, conv2d_grad_kernel
from fastnn.kernels.products import ACTIVATIONS, matmul

LEVELS = tuple(precision.PARTS)
#: Bounds of |C - AB| / |A||B|, and of its root mean square at the sizes below; sums of k terms are rounded besides.
MOST = {"highest": 0, "highest_split": 2.0**-22, "high": 2.0**-15, "medium": 2.0**-7}
RMS = {"highest": 6e-8, "highest_split": 6e-8, "high": 5e-7, "medium": 4e-4}
SHAPES = [(128, 256, 784), (129, 131, 257), (128, 129, 1300), (130, 600, 270)]
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
    given, how, a, b = product(130, 140, 784, data=data)
    assert abs(relative(matmul(*given, **how, precision=level), a, b)).max() <= MOST[level] + rounding(784)


@pytest.mark.parametrize("level", LEVELS)
def test_cancelling_terms(level, rng):
    x, w = rng.standard_normal((130, 392)), rng.standard_normal((392, 140))
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
    given, how, _, _ = product(129, 290, 130, form)
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        results.append(matmul(*given, **how, precision=level))
    assert all(np.array_equal(results[0], c) for c in results[1:])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", ["nn", "nt", "tn"])
def test_an_infinity_changes_no_bits_of_other_rows(level, form):
    """Which rows are multiplied together depends on the number of threads."""
    (a, b), how, _, _ = product(130, 140, 200, form)
    plain = matmul(a, b, **how, precision=level)
    a[(3, 4) if form != "tn" else (4, 3)] = np.inf
    assert np.array_equal(np.delete(matmul(a, b, **how, precision=level), 3, 0), np.delete(plain, 3, 0))


@pytest.fixture
def process():
    """config.set_matmul_precision, put back afterwards."""
    yield config.set_matmul_precision
    config.set_matmul_precision("highest")


# ---- convolutions ----

#: images, size, channels, filters, kernel, stride, padding, dilation, groups
CONVOLUTIONS = [
    (2, 9, 32, 32, 3, 1, "same", 1, 1),  # Winograd's where nothing has tiles
    (3, 10, 33, 65, 3, 1, "valid", 1, 1),
    (3, 13, 64, 48, 1, 1, "valid", 1, 1),
    (2, 8, 32, 64, 1, 2, "same", 1, 1),
    (2, 9, 48, 40, 3, 2, "same", 1, 1),
    (1, 7, 130, 300, 3, 2, "valid", 1, 1),
    (2, 11, 64, 128, 5, 1, "same", 1, 1),
    (2, 10, 128, 128, 3, 1, "same", 2, 2),
    (3, 5, 16, 31, 3, 1, "same", 1, 1),  # too small to gain
]


def convolution(n, size, ci, co, k, stride, padding, dilation, groups, seed=0):
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((n, size, size, ci)), rng.standard_normal((k, k, ci // groups, co))
    return x, w, {"strides": stride, "padding": padding, "dilation_rate": dilation, "groups": groups}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sizes", CONVOLUTIONS)
def test_convolutions_and_their_gradients(level, sizes):
    x, w, how = convolution(*sizes)
    dy = np.random.default_rng(1).standard_normal(conv2d(x, w, **how).shape)
    x32, w32, dy32 = (v.astype(np.float32) for v in (x, w, dy))
    for low, call, a, b in (
        (conv2d(x32, w32, precision=level, **how), conv2d, (x32, w32), ()),
        (conv2d_grad_input(dy32, w32, x.shape, out=np.full_like(x32, np.nan), precision=level, **how),
         conv2d_grad_input, (dy32, w32), (x.shape,)),
        (conv2d_grad_kernel(x32, dy32, w.shape[:2], precision=level, **how)[0], conv2d_grad_kernel, (x32, dy32),
         (w.shape[:2],)),
    ):  # fmt: skip
        exact, terms = (call(*(f(v.astype(np.float64)) for v in a), *b, **how) for f in (lambda v: v, abs))
        if call is conv2d_grad_kernel:
            exact, terms = exact[0], terms[0]
        error = (low - exact) / terms.max()  # an error of Winograd's is one of the tile
        assert abs(error).max() <= MOST[level] + rounding(x.size // 2)
        assert np.sqrt((error**2).mean()) <= RMS[level] + 1e-7


@pytest.mark.parametrize("level", LEVELS)
def test_what_rides_along_with_convolutions(level, rng):
    x, w, how = (v.astype(np.float32) if isinstance(v, np.ndarray) else v for v in convolution(*CONVOLUTIONS[4]))
    bias = rng.standard_normal(w.shape[3]).astype(np.float32)
    plain = conv2d(x, w, precision=level, **how)
    assert np.allclose(conv2d(x, w, bias, activation="tanh", precision=level, **how), np.tanh(plain + bias), atol=2e-5)
    dy = rng.standard_normal(plain.shape).astype(np.float32)
    _, db = conv2d_grad_kernel(x, dy, w.shape[:2], precision=level, **how)
    assert np.allclose(db, dy.sum((0, 1, 2), dtype=np.float64), atol=1e-4)


@pytest.mark.parametrize("level", LEVELS)
def test_infinities_and_nan_in_convolutions(level):
    x, w, how = (v.astype(np.float32) if isinstance(v, np.ndarray) else v for v in convolution(*CONVOLUTIONS[4]))
    x[0, 3, 4, 5], x[1, 6, 2, 7] = np.inf, np.nan
    wanted, c = (conv2d(x, w, **how, **more) for more in ({"algorithm": "im2col"}, {"precision": level}))
    for kind in (np.isnan, np.isposinf, np.isneginf):
        assert np.array_equal(kind(c), kind(wanted))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sizes", [CONVOLUTIONS[0], CONVOLUTIONS[4]])
def test_convolutions_have_the_same_bits_for_any_number_of_threads(level, sizes, threads):
    x, w, how = (v.astype(np.float32) if isinstance(v, np.ndarray) else v for v in convolution(5, *sizes[1:]))
    dy = conv2d(x, w, **how)
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        results.append((
            conv2d(x, w, precision=level, **how),
            conv2d_grad_input(dy, w, x.shape, precision=level, **how),
            *conv2d_grad_kernel(x, dy, w.shape[:2], precision=level, **how),
        ))  # fmt: skip
    assert all(np.array_equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.skipif(not _core.bfloat16_units()["vectors"], reason="nothing here multiplies bfloat16")
@pytest.mark.parametrize("sizes", CONVOLUTIONS)
def test_large_convolutions_are_lowered(sizes):
    x, w, how = (v.astype(np.float32) if isinstance(v, np.ndarray) else v for v in convolution(*sizes))
    small = sizes is CONVOLUTIONS[-1]
    assert np.array_equal(conv2d(x, w, precision="medium", **how), conv2d(x, w, **how)) == small


def test_a_named_algorithm_is_float32():
    x, w, how = (v.astype(np.float32) if isinstance(v, np.ndarray) else v for v in convolution(*CONVOLUTIONS[0]))
    for name in ("im2col", "winograd"):
        assert np.array_equal(
            conv2d(x, w, algorithm=name, precision="medium", **how), conv2d(x, w, algorithm=name, **how)
        )


# ---- recurrences ----


def recurrent_step(layer, level, units, steps=7):
    """A prediction, and what one step of gradient descent changes."""
    fastnn.utils.set_random_seed(1)
    inputs = fastnn.Input((steps, 40))
    model = fastnn.Model(inputs, layers.Dense(1)(layer(units)(inputs)))
    model.compile(fastnn.optimizers.SGD(1.0), "mse", matmul_precision=level)
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((50, steps, 40)).astype(np.float32), rng.standard_normal((50, 1)).astype(np.float32)
    before = [w.copy() for w in model.get_weights()]
    predicted = model.predict(x, verbose=0)
    model.train_on_batch(x, y)
    return predicted, [b - a for a, b in zip(model.get_weights(), before, strict=True)]


RECURRENT = {
    "simple": layers.SimpleRNN,
    "lstm": layers.LSTM,
    "gru": layers.GRU,
    "gru, reset before": lambda units: layers.GRU(units, reset_after=False),
    "recurrent dropout": lambda units: layers.LSTM(units, recurrent_dropout=0.3, seed=1),
    "bidirectional": lambda units: layers.Bidirectional(layers.GRU(units)),
    "masked": lambda units: lambda x: layers.LSTM(units)(layers.Masking()(x)),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("units", [31, 32, 33, 64, 129])
@pytest.mark.parametrize("cell", RECURRENT)
def test_recurrent_layers_are_near_float32(cell, units, level):
    exact, wanted = recurrent_step(RECURRENT[cell], "highest", units)
    predicted, gradients = recurrent_step(RECURRENT[cell], level, units)
    bound = {"medium": 2e-2, "high": 2e-4}.get(level, 5e-6)
    assert abs(predicted - exact).max() <= bound
    for a, b in zip(wanted, gradients, strict=True):
        assert abs(a - b).max() <= 2 * bound * abs(a).max()
    if units >= {"medium": 32, "high": 64, "highest_split": 128}.get(level, 999) and precision.choose(level)[0]:
        assert not np.array_equal(predicted, exact)


@pytest.mark.parametrize("level", LEVELS)
def test_infinities_in_recurrences_are_those_of_float32(level, process):
    """A state that grows without bound: a later product meets an infinity."""
    fastnn.utils.set_random_seed(1)
    layer = layers.SimpleRNN(128, activation="linear", return_sequences=True)
    x = np.random.default_rng(3).standard_normal((40, 5, 32)).astype(np.float32)
    x[7, 1, 3], x[9, 0, 2] = np.inf, -np.inf
    wanted = layer(x)
    process(level)
    with np.errstate(invalid="ignore"):
        found = layer(x)
    for kind in (np.isnan, np.isposinf, np.isneginf):
        assert np.array_equal(kind(found), kind(wanted))
    assert np.isinf(found[7, 1]).all() and np.isnan(found[7, 4]).any()
    x[[7, 9]] = 0
    assert np.array_equal(np.delete(layer(x), (7, 9), 0), np.delete(found, (7, 9), 0))


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru", "gru, reset before"])
def test_recurrent_layers_have_the_same_bits_for_any_number_of_threads(cell, threads):
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        results.append(recurrent_step(RECURRENT[cell], "medium", 48))
    for predicted, gradients in results[1:]:
        assert np.array_equal(predicted, results[0][0])
        assert all(np.array_equal(a, b) for a, b in zip(gradients, results[0][1], strict=True))


def test_float64_is_never_lowered():
    a = np.random.default_rng(0).standard_normal((64, 64))
    assert np.array_equal(matmul(a, a, precision="medium"), matmul(a, a))


# ---- models ----


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


# ---- operands stored as bfloat16, and the policy that asks for them ----

units = pytest.mark.skipif(not _core.bfloat16_units()["vectors"], reason="nothing here multiplies bfloat16")


def rounded(x):
    """The nearest bfloat16 of each element, as float32."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((u + 0x7FFF + (u >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def stored(x):
    return (rounded(x).view(np.uint32) >> 16).astype(np.uint16)


def loaded(x):
    return (x.astype(np.uint32) << 16).view(np.float32)


@units
@pytest.mark.parametrize("form", ["nn", "nt", "tn"])
@pytest.mark.parametrize("m, n, k", [(1, 300, 40), (5, 33, 1), (16, 10, 64), (97, 131, 257), (64, 600, 1000)])
@pytest.mark.parametrize("a_half, b_half, c_half, s_half", [(1, 0, 0, 0), (0, 1, 1, 0), (1, 1, 1, 1), (0, 0, 1, 1)])
def test_products_of_stored_bfloat16(form, m, n, k, a_half, b_half, c_half, s_half, rng):
    if form == "nt":
        b_half = 0  # weights: never stored so
    a = rng.standard_normal((k, m) if form == "tn" else (m, k)).astype(np.float32)
    b = rng.standard_normal((n, k) if form == "nt" else (k, n)).astype(np.float32)
    s = rng.standard_normal((m, n)).astype(np.float32)
    c = np.zeros((m, n), np.uint16 if c_half else np.float32)
    sums = np.full(n, np.nan, np.float32) if form == "tn" else None
    parts, tiled = precision.choose("medium")
    bits = a_half + 2 * b_half + 4 * c_half + 8 * s_half
    rows, inner = (k, m) if form == "tn" else (m, k)
    ints = (rows, n, inner, a.shape[1], b.shape[1], n, 0, 0, ACTIVATIONS["relu"], 0, *[0] * 8, parts, int(tiled), bits)
    operands = (c, stored(a) if a_half else a, stored(b) if b_half else b, None, None, stored(s) if s_half else s, sums)
    _core.run(f"matmul_{form}", False, operands, ints, (0.0,))
    x, y = rounded(a).astype(np.float64), rounded(b).astype(np.float64)
    x, y = (x.T if form == "tn" else x), (y.T if form == "nt" else y)
    wanted = (x @ y) * (s > 0)
    error = abs((loaded(c) if c_half else c) - wanted)
    assert (error <= rounding(k) * (abs(x) @ abs(y)) + c_half * 2.0**-8 * abs(wanted) + 1e-30).all()
    if sums is not None:
        terms = rounded(b) if b_half else b
        assert np.allclose(sums, terms.sum(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5 * np.sqrt(k))


@pytest.fixture
def policy():
    yield config.set_dtype_policy
    config.set_dtype_policy(None)


def mixed(widths=(64, 96, 64, 40, 10), activation="relu", **how):
    fastnn.utils.set_random_seed(3)
    hidden = [layers.Dense(n, activation=activation, dtype="mixed_bfloat16") for n in widths[1:-1]]
    model = fastnn.Sequential([fastnn.Input((widths[0],)), *hidden, layers.Dense(widths[-1], **how)])
    model.compile("adam", fastnn.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


@units
def test_the_policys_forward_pass_is_that_of_rounded_operands():
    x, _, _, _ = digits()
    model = mixed()
    h = x[:100]
    for layer in model.layers[:-1]:
        w, b = layer.get_weights()
        h = rounded(np.maximum(rounded(h).astype(np.float64) @ rounded(w) + b, 0).astype(np.float32))
    w, b = model.layers[-1].get_weights()
    assert np.allclose(model.predict(x[:100], verbose=0), h.astype(np.float64) @ w + b, atol=2e-2)
    assert np.allclose(model(x[:100]), model.predict(x[:100], verbose=0), atol=2e-2)


@units
def test_layers_called_on_arrays_round_like_compiled_ones():
    x = digits()[0][:64]
    low, high = (layers.Dense(64, dtype=dtype) for dtype in ("mixed_bfloat16", "float32"))
    y = low(x)
    high.build(x.shape)
    high.set_weights(low.get_weights())
    w, b = low.get_weights()
    assert not np.array_equal(y, high(x))
    assert abs(y - (rounded(x).astype(np.float64) @ rounded(w) + b)).max() < 1e-5


@units
@pytest.mark.parametrize("features", [31, 32])
def test_the_plan_says_what_is_too_small(features):
    """A product that says it is of bfloat16 has other bits than float32's; one that does not has the same."""
    found = {}
    for level in ("highest", "medium"):
        fastnn.utils.set_random_seed(1)
        model = fastnn.Sequential([fastnn.Input((40,)), layers.Dense(features)])
        model.compile("sgd", "mse", matmul_precision=level)
        found[level] = model.predict(np.random.default_rng(0).random((64, 40), np.float32), batch_size=64, verbose=0)
    lowered = any(r["precision"] for r in model.plan("predict", 64).rows)
    assert lowered == (features == 32)
    assert np.array_equal(*found.values()) == (not lowered)


@units
def test_activations_take_half_the_memory():
    x, y, _, _ = digits()
    half = mixed()
    half.fit(x[:256], y[:256], batch_size=256, verbose=0)
    plan = half._any_step("train", None, "test").plan
    values = {o for record in plan.records for o in record.operands if getattr(o, "dtype", None) == "bfloat16"}
    assert len(values) >= 4  # two activations and their gradients
    assert all(plan._bytes(v) == 2 * 256 * v.shape[-1] for v in values)
    assert sum(r["precision"].startswith("bfloat16") for r in half.plan().rows) >= 5


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "linear"])
def test_the_policy_learns_and_repeats_its_bits(activation, threads):
    x, y, x_test, y_test = digits()
    weights = []
    for n in (1, 2):
        threads(n)
        model = mixed(activation=activation)
        model.fit(x, y, epochs=8, batch_size=50, verbose=0)  # the last batch has 37 rows
        assert model.evaluate(x_test, y_test, verbose=0)[1] > 0.9
        assert all(v.dtype == "float32" for v in model.weights)
        weights.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    assert np.allclose(model.predict(x[:1], verbose=0), model.predict(x[:64], verbose=0)[:1], atol=5e-2)


def test_a_float32_layer_among_mixed_ones_stays_float32(policy):
    x, _, _, _ = digits()
    policy("mixed_bfloat16")
    model = fastnn.Sequential([fastnn.Input((64,)), layers.Dense(64), layers.Dense(64, dtype="float32")])
    policy(None)
    table = None
    model.compile("sgd", "mse")
    model.fit(x[:64], x[:64], verbose=0)
    table = model.plan("predict", 64)
    found = [r["precision"] for r in table.rows if r["op"].startswith("matmul")]
    assert found == (["bfloat16" + " tiles" * precision.choose("medium")[1], ""] if precision.choose("medium")[0] else
                     ["", ""])  # fmt: skip


def test_policies(policy, tmp_path):
    assert config.dtype_policy() == fastnn.DTypePolicy("float32")
    policy("mixed_bfloat16")
    layer = layers.Dense(3)
    assert (layer.dtype, layer.variable_dtype, layer.compute_dtype) == ("float32", "float32", "bfloat16")
    assert config.floatx() == "float32"
    assert layer.get_config()["dtype"] == "mixed_bfloat16"
    assert layers.Dense.from_config(layer.get_config()).dtype_policy == config.dtype_policy()
    policy(fastnn.DTypePolicy("float32"))
    assert layers.Dense(3).compute_dtype == "float32"
    policy(None)
    model = mixed()
    model.save(tmp_path / "m.safetensors")
    again = fastnn.models.load_model(tmp_path / "m.safetensors")
    assert [layer.dtype_policy.name for layer in again.layers] == ["mixed_bfloat16"] * 3 + ["float32"]
    x = digits()[0][:64]
    assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("name", ["bfloat16", "float16", "mixed_float16", "int8"])
def test_unknown_policies(name):
    for call in (fastnn.DTypePolicy, config.set_dtype_policy, lambda name: layers.Dense(2, dtype=name)):
        with pytest.raises(ValueError, match=f"must be .*'mixed_bfloat16'.*got '{name}'"):
            call(name)
