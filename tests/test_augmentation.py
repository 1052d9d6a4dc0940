"""Augmentation: each transform against float64 NumPy given what was drawn, the draws against NumPy's Philox, layers."""

import numpy as np
import pytest
from compiled import run
from scipy import ndimage
from test_random import groups

import fastnn
from fastnn import graph, kernels, layers, ops
from fastnn.layers.core import random_stream
from fastnn.utils import seeding

COUNTER = {"seed": 0x0123456789ABCDEF, "stream": 7, "index": 41}  # those of test_random's reference
DTYPES = [np.float32, np.float64]
SHAPES = [(3, 28, 28, 1), (2, 5, 17, 3), (4, 1, 1, 2), (1, 33, 7, 4), (2, 3, 2, 21), (0, 4, 4, 1)]


def uniform(rows):
    """(rows, 32) numbers: those of samples 0, 1, ..."""
    return (groups(max(rows, 1), 10).reshape(-1, 32)[:rows] + 0.5) * 2.0**-32


def images(shape, dtype, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


# ---- affine ----


def border(k, n, mode):
    """Indices beyond the border brought inside; for "constant", whether they were inside."""
    if mode == "reflect":
        k = k % (2 * n)
        return np.where(k < n, k, 2 * n - 1 - k)
    return k % n if mode == "wrap" else np.clip(k, 0, n - 1)


def affine(x, m, mode, bilinear, value):
    n, h, w, _ = x.shape
    rows, columns = np.mgrid[:h, :w]
    y = np.empty(x.shape)
    for j in range(n):
        a0, a1, a2, b0, b1, b2 = m[j, :6].astype(float)
        at = (b0 * columns + b1 * rows + b2, a0 * columns + a1 * rows + a2)
        low = [np.floor(p) if bilinear else np.rint(p) for p in at]
        y[j] = 0
        for dy in range(1 + bilinear):
            for dx in range(1 + bilinear):
                index = [(low[0] + dy).astype(int), (low[1] + dx).astype(int)]
                weight = np.ones((h, w))
                for p, lo, d in zip(at, low, (dy, dx), strict=True):
                    weight *= (p - lo if d else 1 - (p - lo)) if bilinear else 1
                inside = (index[0] >= 0) & (index[0] < h) & (index[1] >= 0) & (index[1] < w)
                pixel = x[j, border(index[0], h, mode), border(index[1], w, mode)].astype(float)
                if mode == "constant":
                    pixel = np.where(inside[..., None], pixel, value)
                y[j] += weight[..., None] * pixel
    return y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["constant", "reflect", "wrap", "nearest"])
@pytest.mark.parametrize("bilinear", [True, False])
def test_affine_image(mode, bilinear, dtype):
    rng = np.random.default_rng(3)
    for shape in SHAPES:
        x = images(shape, dtype)
        m = np.zeros((shape[0], 8), dtype)
        m[:, [0, 4]] = rng.uniform(0.5, 1.5, (shape[0], 2))
        m[:, [1, 3]] = rng.uniform(-0.5, 0.5, (shape[0], 2))
        m[:, [2, 5]] = rng.uniform(-20, 20, (shape[0], 2))
        y = kernels.affine_image(x, m, mode, bilinear, 0.75)
        wrong = np.abs(y - affine(x, m, mode, bilinear, 0.75)) > (1e-4 if dtype == np.float32 else 1e-11)
        # float32 rounds a position within 1e-6 of the middle between two pixels to either
        assert wrong.mean() <= (0 if bilinear or dtype == np.float64 else 1e-3) if wrong.size else True


def test_affine_image_with_unusual_transforms():
    """Never a pixel from outside of the image, whatever the numbers."""
    x = images((6, 9, 8, 3), np.float32)
    m = np.zeros((6, 8), np.float32)
    m[:, 0] = m[:, 4] = [1, np.nan, np.inf, 1e30, -1e9, 0]
    m[:, 2] = [1e20, 0, 0, 3, 1e9, np.inf]
    for mode in ("constant", "reflect", "wrap", "nearest"):
        for bilinear in (True, False):
            y = kernels.affine_image(x, m, mode, bilinear)
            assert y.shape == x.shape
    one = np.tile(np.array([1, 0, 0, 0, 1, 0, 0, 0], np.float32), (6, 1))
    for mode in ("constant", "reflect", "wrap", "nearest"):
        np.testing.assert_array_equal(kernels.affine_image(x, one, mode), x)


def test_reflection_is_scipys():
    x = images((1, 6, 7, 1), np.float64)
    m = np.array([[1.1, 0.2, -9.3, -0.1, 0.9, 5.2, 0, 0]])
    matrix, offset = [[m[0, 4], m[0, 3]], [m[0, 1], m[0, 0]]], [m[0, 5], m[0, 2]]
    for ours, theirs in (("reflect", "reflect"), ("nearest", "nearest"), ("wrap", "grid-wrap")):
        expected = ndimage.affine_transform(x[0, :, :, 0], matrix, offset, order=1, mode=theirs)
        np.testing.assert_allclose(kernels.affine_image(x, m, ours)[0, :, :, 0], expected, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_draw_affine(dtype):
    n, h, w = 50, 20, 30
    u = uniform(n)
    tolerance = {"rtol": 1e-6, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    t = -8 + (7 + 8) * u[:, 0]  # more than a turn each way
    cos, sin, zero, one = np.cos(t), np.sin(t), np.zeros(n), np.ones(n)
    cx, cy = (w - 1) / 2, (h - 1) / 2
    expected = np.stack([cos, -sin, cx - cx * cos + cy * sin, sin, cos, cy - cx * sin - cy * cos, zero, zero], 1)
    m = kernels.draw_affine("rotation", n, (h, w), (-8, 7), dtype=dtype, **COUNTER)
    np.testing.assert_allclose(m, expected, **tolerance)
    a, b = -0.1 + 0.3 * u[:, 0], 0.05 + 0.2 * u[:, 1]
    m = kernels.draw_affine("translation", n, (h, w), (-0.1, 0.2), (0.05, 0.25), dtype=dtype, **COUNTER)
    np.testing.assert_allclose(m, np.stack([one, zero, -b * w, zero, one, -a * h, zero, zero], 1), **tolerance)
    m = kernels.draw_affine("zoom", n, (h, w), (-0.1, 0.2), (0.05, 0.25), dtype=dtype, **COUNTER)
    expected = np.stack([1 + b, zero, -cx * b, zero, 1 + a, -cy * a, zero, zero], 1)
    np.testing.assert_allclose(m, expected, **tolerance)
    m = kernels.draw_affine("zoom", n, (h, w), (-0.1, 0.2), dtype=dtype, **COUNTER)
    np.testing.assert_array_equal(m[:, 0], m[:, 4])


# ---- windows ----


def window(x, m, size, value):
    y = np.full((len(x), *size, x.shape[3]), value, float)
    for j, (top, left, columns, rows) in enumerate(m.astype(int)):
        for r in range(size[0]):
            for c in range(size[1]):
                if 0 <= top + r < x.shape[1] and 0 <= left + c < x.shape[2]:
                    at = (size[0] - 1 - r if rows else r, size[1] - 1 - c if columns else c)
                    y[(j, *at)] = x[j, top + r, left + c]
    return y


@pytest.mark.parametrize("dtype", DTYPES)
def test_window_image(dtype):
    rng = np.random.default_rng(5)
    for shape, size in [((6, 9, 8, 3), (9, 8)), ((5, 4, 6, 1), (7, 3)), ((4, 5, 5, 2), (1, 1)), ((0, 2, 2, 1), (2, 2))]:
        x, n = images(shape, dtype), shape[0]
        m = np.stack([*rng.integers(-6, 7, (2, n)), *rng.integers(0, 2, (2, n))], 1).astype(dtype)
        y = kernels.window_image(x, m, size, 0.5)
        np.testing.assert_array_equal(y, window(x, m, size, dtype(0.5)).astype(dtype))


def test_draw_window():
    n, u = 200, uniform(200)
    m = kernels.draw_window(n, (-4, 4), (0, 10), "horizontal_and_vertical", **COUNTER)
    np.testing.assert_array_equal(m[:, 0], np.floor(-4 + 9 * u[:, 0]))
    np.testing.assert_array_equal(m[:, 1], np.floor(11 * u[:, 1]))
    np.testing.assert_array_equal(m[:, 2], u[:, 2] < 0.5)
    np.testing.assert_array_equal(m[:, 3], m[:, 2])
    assert not kernels.draw_window(n, (0, 0), (0, 0), **COUNTER).any()


# ---- contrast, brightness, boxes, mixtures ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_adjust_image(dtype):
    tolerance = {"atol": 3e-6 if dtype == np.float32 else 1e-13}
    for shape in SHAPES:
        x = images(shape, dtype)
        a, b = images(shape[:1], dtype, 2) + 1, images(shape[:1], dtype, 3)
        mean = x.mean(axis=(1, 2), keepdims=True, dtype=float)
        a4, b4 = a[:, None, None, None].astype(float), b[:, None, None, None].astype(float)
        np.testing.assert_allclose(kernels.adjust_image(x, a, b), (x - mean) * a4 + mean + b4, **tolerance)
        expected = np.clip((x - mean) * a4 + mean, -0.5, 0.4)
        np.testing.assert_allclose(kernels.adjust_image(x, a, value_range=(-0.5, 0.4)), expected, **tolerance)
        expected = np.clip(x + b4, -0.5, 0.4)
        copy = x.copy()
        kernels.adjust_image(copy, brightness=b, value_range=(-0.5, 0.4), out=copy)
        np.testing.assert_allclose(copy, expected, **tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_erase_image(dtype):
    x = images((40, 12, 9, 3), dtype)
    m = kernels.draw_box(40, (12, 9), (0.3, 1.0), (0.01, 0.5), dtype=dtype, **COUNTER)
    u = uniform(40)
    sides = np.sqrt(0.01 + 0.49 * u[:, :2]) * [12, 9]
    start = u[:, 2:4] * ([12, 9] - sides)
    expected = np.stack([start[:, 0], (start + sides)[:, 0], start[:, 1], (start + sides)[:, 1]], 1)
    erased = u[:, 4] < 0.3 + 0.7 * u[:, 5]
    np.testing.assert_allclose(m, np.where(erased[:, None], expected, 0), rtol=1e-5)
    rows, columns = np.mgrid[:12, :9]
    y0, y1, x0, x1 = m.T[:, :, None, None]
    box = ((rows >= y0) & (rows < y1) & (columns >= x0) & (columns < x1))[..., None]
    fill = np.array([0.1, 0.2, 0.3], dtype)
    np.testing.assert_array_equal(kernels.erase_image(x, m, fill), np.where(box, fill, x))
    noise = kernels.gaussian_noise(np.zeros_like(x), 1.0, **COUNTER)
    y = kernels.erase_image(x, m, None, 2.0, (-1.5, 2.5), **COUNTER)
    np.testing.assert_allclose(y, np.where(box, np.clip(2 * noise, -1.5, 2.5), x), rtol=1e-6)
    assert 0.1 < box.mean() < 0.3


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_draw_mixture(alpha):
    n = 20_000
    w, partners = kernels.draw_mixture(n, alpha, dtype=np.float64, **COUNTER)
    np.testing.assert_array_equal(np.sort(partners), np.arange(n))
    assert abs(np.corrcoef(partners, np.arange(n))[0, 1]) < 0.04
    assert w.min() >= 0 and w.max() <= 1
    variance = 1 / (4 * (2 * alpha + 1))  # of the beta distribution with both shapes alpha
    assert abs(w.mean() - 0.5) < 5 * np.sqrt(variance / n)
    assert abs(w.var() / variance - 1) < 0.05
    x = images((50, 4), np.float32)
    w, partners = kernels.draw_mixture(50, alpha, **COUNTER)
    expected = w[:, None] * x + (1 - w[:, None]) * x[partners]
    np.testing.assert_allclose(kernels.mix_samples(x, w, partners), expected, atol=1e-6)


def test_statistics_of_draws():
    """Means and spreads of uniform draws within 5 standard errors, and independence of neighbours."""
    n, error = 20_000, 5 / np.sqrt(20_000 * 12)
    m = kernels.draw_affine("translation", n, (1, 1), (0, 1), (0, 1), seed=1, dtype=np.float64)
    for u in (-m[:, 2], -m[:, 5]):
        assert abs(u.mean() - 0.5) < error and abs(u.var() * 12 - 1) < 0.05
        assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 5 / np.sqrt(n)
    assert abs(np.corrcoef(m[:, 2], m[:, 5])[0, 1]) < 5 / np.sqrt(n)
    flips = kernels.draw_window(n, (0, 0), (0, 0), "horizontal", seed=1)[:, 2]
    assert abs(flips.mean() - 0.5) < 5 * 0.5 / np.sqrt(n)
    for other in ({"seed": 2}, {"seed": 1, "stream": 1}, {"seed": 1, "index": 1}):
        again = kernels.draw_affine("translation", n, (1, 1), (0, 1), (0, 1), dtype=np.float64, **other)
        assert abs(np.corrcoef(m[:, 2], again[:, 2])[0, 1]) < 5 / np.sqrt(n)


# ---- layers ----

RANDOM = {
    "RandomRotation": {"factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": (-0.1, 0.3), "fill_mode": "constant"},
    "RandomZoom": {"height_factor": 0.3, "width_factor": 0.1, "fill_mode": "wrap", "interpolation": "nearest"},
    "RandomFlip": {},
    "RandomCrop": {"height": 6, "width": 5, "padding": 2},
    "RandomContrast": {"factor": 0.4, "value_range": (-1, 1)},
    "RandomBrightness": {"factor": 0.4, "value_range": (-1, 1)},
    "RandomErasing": {"value_range": (-1, 1)},
    "MixUp": {"alpha": 1.0},
    "GaussianNoise": {"stddev": 0.1},
}


def drawn_seeds(count):
    """The next seeds that eager calls will take."""
    state = seeding.get_state()
    seeds = [seeding.next_seed() for _ in range(count)]
    seeding.set_state(state)
    return seeds


def test_layers_apply_what_they_draw():
    x = images((30, 8, 7, 3), np.float32)
    rotation = layers.RandomRotation((-0.1, 0.4), fill_mode="nearest", seed=5)
    (seed,) = drawn_seeds(1)
    stream = random_stream(5)
    m = kernels.draw_affine("rotation", 30, (8, 7), (-0.2 * np.pi, 0.8 * np.pi), seed=seed, stream=stream)
    np.testing.assert_array_equal(rotation(x, training=True), kernels.affine_image(x, m, "nearest"))
    (seed,) = drawn_seeds(1)
    m = kernels.draw_window(30, (-2, 4), (-2, 4), seed=seed)
    y = layers.RandomCrop(6, 5, padding=2)(x, training=True)
    np.testing.assert_array_equal(y, kernels.window_image(x, m, (6, 5)))
    y = layers.RandomFlip("horizontal")(x, training=True)
    flipped = [np.array_equal(b, a[:, ::-1]) for a, b in zip(x, y, strict=True)]
    kept = [np.array_equal(b, a) for a, b in zip(x, y, strict=True)]
    assert all(np.logical_xor(flipped, kept)) and 5 < sum(flipped) < 25
    y = layers.RandomFlip()(x, training=True)
    assert all(np.array_equal(b, a) or np.array_equal(b, a[::-1, ::-1]) for a, b in zip(x, y, strict=True))
    y = layers.RandomErasing(factor=(1, 1), scale=0.5, fill_value=[3, 4, 5], value_range=(0, 9))(x, training=True)
    changed = (y != x).any(axis=(1, 2, 3))
    assert changed.mean() > 0.8 and set(np.unique(y[y > 1])) == {3, 4, 5}
    y = layers.RandomBrightness(0.25, value_range=(-8, 8))(x, training=True)
    b = (y - x).reshape(30, -1)
    np.testing.assert_allclose(b, b[:, :1].repeat(b.shape[1], 1), atol=1e-5)
    assert 2 < b.max() <= 4 and -4 <= b.min() < -2
    y = layers.RandomContrast(1.0, value_range=(-8, 8))(x, training=True)
    np.testing.assert_allclose(y.mean(axis=(1, 2)), x.mean(axis=(1, 2)), atol=1e-5)
    ratio = y.std(axis=(1, 2)) / x.std(axis=(1, 2))
    assert ratio.min() < 0.4 and 1.6 < ratio.max() <= 2


def test_a_rotation_turns_counter_clockwise():
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 2, 4] = 1  # east
    y = layers.RandomRotation((0.25, 0.25))(x, training=True)
    assert y[0, 0, 2, 0] == pytest.approx(1)  # north
    x = np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1)
    y = layers.RandomTranslation(0.0, (0.4, 0.4), fill_mode="constant")(x, training=True)
    np.testing.assert_allclose(y.ravel(), [0, 0, 0, 1, 2], atol=1e-6)  # to the right
    y = layers.RandomZoom(0.0, (1.0, 1.0), fill_mode="constant")(x, training=True)
    np.testing.assert_allclose(y.ravel(), [0, 0, 2, 4, 0], atol=1e-6)  # out


@pytest.mark.parametrize("name", RANDOM)
def test_inference_changes_nothing(name):
    options = {**RANDOM[name], **({"height": 8, "width": 7} if name == "RandomCrop" else {})}
    layer = getattr(layers, name)(**options)
    x = images((4, 8, 7, 3), np.float32)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer(x, training=False), x)
    model = fastnn.Sequential([layers.Input((8, 7, 3)), layer, layers.Flatten()])
    np.testing.assert_array_equal(model.predict(x, verbose=0), x.reshape(4, -1))
    np.testing.assert_array_equal(model.predict_on_batch(x), x.reshape(4, -1))


def test_crop_is_resized_when_not_training():
    x = images((2, 12, 12, 3), np.float32)
    y = layers.RandomCrop(6, 6)(x)
    np.testing.assert_allclose(y, ops.image.resize(x, (6, 6)))


def test_draws_differ_between_calls_and_follow_the_seed():
    x = images((8, 8, 7, 3), np.float32)
    for name, options in RANDOM.items():
        layer = getattr(layers, name)(**options)
        seeding.set_random_seed(3)
        first, second = layer(x, training=True), layer(x, training=True)
        seeding.set_random_seed(3)
        np.testing.assert_array_equal(layer(x, training=True), first)
        assert (first != second).any(), name


def network(name, options, seed=2):
    seeding.set_random_seed(seed)
    return fastnn.Sequential([
        layers.Input((8, 7, 3)),
        getattr(layers, name)(**options),
        layers.Conv2D(4, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


@pytest.mark.parametrize("name", RANDOM)
def test_training_gives_the_same_bits_for_any_number_of_threads(name, threads):
    x, y = images((150, 8, 7, 3), np.float32), np.arange(150) % 3
    results = []
    for count in (1, 2, 3):
        threads(count)
        model = network(name, RANDOM[name])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=64, epochs=2, verbose=0)
        results.append(b"".join(w.tobytes() for w in model.get_weights()))
    assert len(set(results)) == 1
    plain = network("Rescaling", {"scale": 1.0})
    plain.compile("sgd", "sparse_categorical_crossentropy")
    plain.fit(x, y, batch_size=64, epochs=2, verbose=0)
    if name != "RandomCrop":  # its results have another size
        assert b"".join(w.tobytes() for w in plain.get_weights()) != results[0]


@pytest.mark.parametrize("name", RANDOM)
def test_configurations_survive(name, tmp_path):
    layer = getattr(layers, name)(**RANDOM[name], seed=9)
    again = layers.deserialize(layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    model = network(name, RANDOM[name])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.save(tmp_path / "model.safetensors")
    x = images((4, 8, 7, 3), np.float32)
    other = fastnn.models.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))


def test_functional_and_single_images():
    inputs = layers.Input((8, 7, 3))
    shifted = layers.RandomTranslation(0.3, 0.3)(layers.Rescaling(1 / 255)(inputs))
    model = fastnn.Model(inputs, layers.RandomFlip()(shifted))
    x = np.random.default_rng(1).integers(0, 256, (5, 8, 7, 3), dtype=np.uint8)
    np.testing.assert_allclose(model.predict(x, verbose=0), x / 255, rtol=1e-6)
    assert not np.array_equal(model(x, training=True), model(x))
    assert layers.RandomFlip()(x[0]).shape == (8, 7, 3)
    assert layers.RandomCrop(4, 4)(x[0], training=True).shape == (4, 4, 3)
    assert layers.CenterCrop(4, 4)(x[0]).shape == (4, 4, 3)


def test_mixup_of_arrays_and_of_targets():
    x, labels = images((6, 4, 4, 1), np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    layer = layers.MixUp(0.5)
    (seed,) = drawn_seeds(1)
    w, partners = kernels.draw_mixture(6, 0.5, seed=seed)
    mixed = layer({"images": x, "labels": labels}, training=True)
    np.testing.assert_allclose(mixed["images"], kernels.mix_samples(x, w, partners))
    np.testing.assert_allclose(mixed["labels"], w[:, None] * labels + (1 - w[:, None]) * labels[partners], rtol=1e-6)
    assert layer({"images": x, "labels": labels})["images"] is x


@pytest.mark.parametrize("sparse", [True, False])
def test_mixup_within_a_model_mixes_the_losses(sparse, float64):
    """One step of descent moves the weights by the gradient of the loss against mixed one-hot targets."""
    n, classes = 20, 4
    x = images((n, 3, 3, 1), np.float64)
    labels = np.arange(n) % classes
    one_hot = np.eye(classes)[labels]
    seeding.set_random_seed(1)
    model = fastnn.Sequential([
        layers.Input((3, 3, 1)), layers.MixUp(0.7, seed=4), layers.Flatten(), layers.Dense(classes, "softmax"),
    ])  # fmt: skip
    kind = "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"
    model.compile(fastnn.optimizers.SGD(1.0), kind)
    kernel, bias = model.get_weights()
    w, partners = kernels.draw_mixture(n, 0.7, seed=model._seed, stream=random_stream(4), dtype=np.float64)
    loss = model.train_on_batch(x, labels if sparse else one_hot)
    flat = kernels.mix_samples(x.reshape(n, -1), w, partners)
    target = w[:, None] * one_hot + (1 - w[:, None]) * one_hot[partners]
    z = flat @ kernel + bias
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-(target * np.log(p)).sum(axis=1).mean())
    np.testing.assert_allclose(kernel - model.get_weights()[0], flat.T @ (p - target) / n, atol=1e-12)


def test_mixup_of_vectors():
    x = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    layer = layers.MixUp(0.5)
    (seed,) = drawn_seeds(1)
    w, partners = kernels.draw_mixture(9, 0.5, seed=seed)
    np.testing.assert_allclose(layer(x, training=True), w[:, None] * x + (1 - w[:, None]) * x[partners], rtol=1e-5)
    assert layer(x) is x


def test_no_gradient_passes_through():
    model = fastnn.Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.RandomRotation(0.1), layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="augmentation must stand before the layers with weights"):
        model.fit(np.zeros((4, 8, 8, 1)), np.zeros((4, 1)), verbose=0)


WRONG = [
    (lambda: layers.RandomRotation(2), r"factor must be a number or two numbers in \[-1, 1\], got 2"),
    (lambda: layers.RandomRotation((0.1, 0.2, 0.3)), "factor must be a number or two numbers"),
    (lambda: layers.RandomRotation(0.1, fill_mode="mirror"), "fill_mode must be one of constant, reflect, wrap, neare"),
    (lambda: layers.RandomZoom(0.1, interpolation="cubic"), "interpolation must be 'bilinear' or 'nearest', got 'cubi"),
    (lambda: layers.RandomZoom((-1, 0.1)), "height_factor must be above -1"),
    (lambda: layers.RandomTranslation(0.1, "wide"), "width_factor must be a number or two numbers"),
    (lambda: layers.RandomFlip("diagonal"), "mode must be 'horizontal', 'vertical' or 'horizontal_and_vertical'"),
    (lambda: layers.RandomCrop(0, 4), r"height and width must be positive integers, got \(0, 4\)"),
    (lambda: layers.RandomCrop(4, 4, padding=-1), "padding must be an integer of at least 0, got -1"),
    (lambda: layers.RandomContrast(-0.1), r"factor must be a number or two numbers in \[0, 1\], got -0.1"),
    (lambda: layers.RandomBrightness(0.1, value_range=3), "value_range must be two numbers"),
    (lambda: layers.RandomErasing(fill_value="red"), "fill_value must be a number"),
    (lambda: layers.MixUp()(np.zeros(3, np.float32), training=True), r"expected a batch of samples, got shape \(3,\)"),
    (lambda: layers.MixUp(0), "alpha must be a positive number, got 0"),
    (lambda: layers.RandomFlip(data_format="channels_first"), "channels_first' is not supported"),
    (lambda: layers.RandomFlip()(np.zeros((3, 4))), r"expected images \(batch, height, width, channels\), got shape"),
    (lambda: layers.RandomErasing(fill_value=[1, 2])(np.zeros((1, 3, 3, 3)), training=True), "each of 3 channels, got"),
    (lambda: layers.MixUp()({"labels": 1}, training=True), "expected the keys images and labels"),
    (lambda: layers.Resizing(4, 4, interpolation="area"), "interpolation must be one of bilinear, bicubic"),
    (lambda: layers.Resizing(4, 4, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True), "only one of crop_to_aspect"),
    (lambda: layers.CenterCrop(4, 0), "height and width must be positive integers"),
    (lambda: layers.Rescaling("big"), "scale must be a number"),
    (lambda: layers.Normalization(mean=1.0), "mean and variance must be given both or neither"),
    (lambda: layers.Normalization(axis=0)(np.zeros((3, 4))), "names the batch"),
    (lambda: layers.Normalization(axis=5)(np.zeros((3, 4))), "axis .* is out of range"),
    (lambda: layers.Normalization(mean=0, variance=1).adapt(np.zeros((3, 4))), "so adapt cannot set them"),
    (lambda: layers.Normalization().adapt([]), "adapt got no data"),
    (lambda: kernels.draw_affine("shear", 1, (2, 2), (0, 1), seed=1), "kind must be one of rotation, translation, zoo"),
    (lambda: kernels.affine_image(np.zeros((1, 2, 2, 1)), np.zeros((2, 8))), r"m must have shape \(1, 8\)"),
    (lambda: kernels.mix_samples(np.zeros((2, 3)), np.zeros(2), np.array([0, 2], np.int32)), "partners must be within"),
    (lambda: ops.image.affine_transform(np.zeros((1, 2, 2, 1)), np.zeros(6)), r"transform must have shape \(1, 8\)"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_arguments_are_refused(number):
    call, message = WRONG[number]
    with pytest.raises(ValueError, match=message):
        call()


def test_shapes_are_refused_when_the_model_is_built():
    with pytest.raises(ValueError, match="expected images"):
        fastnn.Sequential([layers.Input((8, 8)), layers.RandomFlip()])
    with graph.Trace(training=True) as trace, pytest.raises(ValueError, match="a model can have one MixUp"):
        x = graph.input_tensor((None, 4, 4, 1), "float32")
        assert trace.training
        layers.MixUp()(layers.MixUp()(x))


# ---- preprocessing ----


@pytest.mark.parametrize("interpolation", ops.image.INTERPOLATIONS)
@pytest.mark.parametrize("antialias", [False, True])
def test_resize_is_two_matrices_and_its_gradient_their_transposes(interpolation, antialias):
    for shape, (height, width) in [((2, 7, 9, 3), (4, 20)), ((3, 1, 33, 1), (5, 2)), ((2, 6, 5, 17), (6, 1))]:
        x = images(shape, np.float64)
        a = ops.image.resize_matrix(shape[1], height, interpolation, antialias)
        b = ops.image.resize_matrix(shape[2], width, interpolation, antialias)
        np.testing.assert_allclose(a.sum(axis=1), 1)
        expected = np.einsum("kh,lw,nhwc->nklc", a, b, x)
        g = images(expected.shape, np.float64, 2)
        y, (dx,) = run(lambda t: ops.image.resize(t, (height, width), interpolation, antialias), [x], gradient=g)  # noqa: B023
        np.testing.assert_allclose(y, expected, atol=1e-12)
        np.testing.assert_allclose(dx, np.einsum("kh,lw,nklc->nhwc", a, b, g), atol=1e-12)
        single = ops.image.resize(x.astype(np.float32), (height, width), interpolation, antialias)
        np.testing.assert_allclose(single, expected, atol=1e-5)


def test_the_nearest_of_two_pixels_equally_near_is_the_later():
    """Between them rounding decided: the middle of 47 pixels is the border of 6 in the middle."""
    for n, m in ((6, 47), (120, 11), (7, 3), (1, 5)):
        expected = [(2 * j + 1) * n // (2 * m) for j in range(m)]
        assert ops.image.resize_matrix(n, m, "nearest").argmax(axis=1).tolist() == expected


@pytest.mark.parametrize("value", [0.0, 255.0, -1e9])
def test_padding_to_an_aspect_ratio_leaves_the_pixels(value):
    x = images((2, 4, 2, 3), np.float32)
    y = run(lambda t: ops.image.resize(t, (4, 4), pad_to_aspect_ratio=True, fill_value=value), [x], "float32")
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)), constant_values=value))
    with pytest.raises(TypeError, match="fill_value must be a number, got 'white'"):
        ops.image.resize(x, (4, 4), pad_to_aspect_ratio=True, fill_value="white")
    with pytest.raises(ValueError, match=r"resize: images must have at least one pixel, got shape \(2, 0, 2, 3\)"):
        ops.image.resize(x[:, :0], (4, 4))


def test_normalization_adapts():
    rng = np.random.default_rng(2)
    x = rng.integers(0, 256, (5000, 4, 3), dtype=np.uint8)
    for axis, reduced in ((-1, (0, 1)), (None, (0, 1, 2)), ((1, 2), (0,))):
        layer = layers.Normalization(axis=axis)
        layer.adapt(x)
        mean, deviation = x.mean(axis=reduced), x.std(axis=reduced)
        expected = (x - mean) / deviation
        np.testing.assert_allclose(layer(x), expected, atol=1e-5)
        batched = layers.Normalization(axis=axis)
        batched.adapt([x[:1000], (x[1000:1700], None), x[1700:]])
        np.testing.assert_allclose(batched.adapt_variance, deviation**2, rtol=1e-5)
        back = layers.Normalization(axis=axis, mean=mean, variance=deviation**2, invert=True)
        np.testing.assert_allclose(back(layer(x)), x, atol=1e-3)
        model = fastnn.Sequential([layers.Input((4, 3)), layer])
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
        again = fastnn.models.model_from_json(model.to_json())
        again.set_weights(model.get_weights())
        np.testing.assert_allclose(again.predict(x, verbose=0), expected, atol=1e-5)


def test_rescaling_is_part_of_loading(monkeypatch):
    x = np.random.default_rng(1).integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)
    y = np.arange(50) % 3

    def model(first):
        seeding.set_random_seed(1)
        return fastnn.Sequential([
            layers.Input((4, 4, 3)), *first, layers.Flatten(), layers.Dense(3, activation="softmax"),
        ])  # fmt: skip

    own = model([layers.Rescaling(1 / 127.5, -1)])
    own.compile("sgd", "sparse_categorical_crossentropy")
    table = str(own.plan("train"))
    assert "load_batch" in table and "affine" not in table
    own.fit(x, y, epochs=2, verbose=0)
    other = model([])
    other.compile("sgd", "sparse_categorical_crossentropy")
    other.fit(x.astype(np.float32) / np.float32(127.5) - 1, y, epochs=2, verbose=0)
    for a, b in zip(own.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    scaled = fastnn.Sequential([layers.Input((4, 4, 3)), layers.Rescaling(1 / 255), layers.Rescaling(2.0, 1.0)])
    np.testing.assert_allclose(scaled.predict(x, verbose=0), x / 255 * 2 + 1, rtol=1e-6)
    alone = fastnn.Sequential([layers.Input((4, 4, 3)), layers.Rescaling(1 / 255)])
    np.testing.assert_allclose(alone.predict(x, verbose=0), x / 255, rtol=1e-6)
    channels = layers.Rescaling([1.0, 0.5, 0.25], [0, 1, 2])
    np.testing.assert_allclose(channels(x), x * [1, 0.5, 0.25] + [0, 1, 2], rtol=1e-6)


def test_bytes_are_not_copied():
    """fit, evaluate and predict of uint8 images allocate far less than a float copy."""
    import tracemalloc

    x = np.zeros((20_000, 28, 28, 1), np.uint8)
    y = np.zeros(20_000, np.uint8)
    model = fastnn.Sequential([
        layers.Input((28, 28, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2, activation="softmax"),
    ])  # fmt: skip
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x[:64], y[:64], verbose=0)
    tracemalloc.start()
    try:
        model.fit(x, y, batch_size=500, verbose=0)
        model.evaluate(x, y, batch_size=500, verbose=0)
        model.predict(x, batch_size=500, verbose=0)
        assert tracemalloc.get_traced_memory()[1] < x.nbytes / 4  # a float copy is 4 times x.nbytes
    finally:
        tracemalloc.stop()
