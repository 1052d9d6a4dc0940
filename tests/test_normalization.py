"""Batch, layer and group normalization against NumPy in float64, and their gradients by central differences."""

import numpy as np
import pytest
from traced import central_differences, compile_and_run

import fastnn
from fastnn import ops, threads
from fastnn.layers import BatchNormalization, GroupNormalization, LayerNormalization
from fastnn.ops.normalization import batch_norm

SHAPES = [(4, 1), (5, 3), (3, 2, 2, 5), (2, 3, 17), (2, 4, 4, 16), (70, 33), (1, 1, 1, 2)]


def normalize(x, axes, epsilon):
    x = x.astype(float)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def group_reference(x, groups, epsilon):
    n, c = x.shape[0], x.shape[-1]
    split = x.reshape(n, -1, groups, c // groups)
    return normalize(split, (1, 3), epsilon).reshape(x.shape)


def forms(shape):
    """name, function of (x, gamma, beta), NumPy twin, groups that divide the channels."""
    c = shape[-1]
    groups = next(g for g in (4, 3, 2, 1) if c % g == 0)
    yield "batch", lambda x, g, b: batch_norm(x, g, b, 1e-2)[0], lambda x: normalize(x, tuple(range(x.ndim - 1)), 1e-2)
    yield "layer", lambda x, g, b: ops.layer_normalization(x, g, b, -1, 1e-2), lambda x: normalize(x, -1, 1e-2)
    yield (
        "group",
        lambda x, g, b: ops.group_normalization(x, groups, g, b, 1e-2),
        lambda x: group_reference(x, groups, 1e-2),
    )


def data(shape, dtype):
    rng = np.random.RandomState(0)
    x = (rng.standard_normal(shape) * 2 + 3).astype(dtype)
    return x, rng.uniform(0.5, 2, shape[-1]).astype(dtype), rng.standard_normal(shape[-1]).astype(dtype), rng


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward(shape, dtype):
    x, gamma, beta, _ = data(shape, dtype)
    tolerance = {"rtol": 1e-4, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-12}
    for name, f, twin in forms(shape):
        want = twin(x)
        for g, b in ((gamma, beta), (None, beta), (gamma, None), (None, None)):
            expected = want * (1 if g is None else g) + (0 if b is None else b)
            np.testing.assert_allclose(f(x, g, b), expected, **tolerance, err_msg=name)
            y, _ = compile_and_run(lambda t, f=f, g=g, b=b: f(t, g, b), [x], [True])
            np.testing.assert_allclose(y, expected, **tolerance, err_msg=name)


@pytest.mark.parametrize("shape", [s for s in SHAPES if np.prod(s) < 200], ids=str)
def test_gradients(shape):
    x, gamma, beta, rng = data(shape, np.float64)
    up = rng.standard_normal(shape)
    for name, f, twin in forms(shape):
        _, found = compile_and_run(f, [x, gamma, beta], [True, False, False], up)
        wanted = central_differences(lambda x, g, b, twin=twin: twin(x) * g + b, [x, gamma, beta], up)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7, err_msg=name)


def test_large_mean_does_not_cancel():
    rng = np.random.RandomState(0)
    x = (rng.standard_normal((4000, 8)) + 1000).astype(np.float32)
    for y in (batch_norm(x, None, None, 0.0)[0], ops.layer_normalization(x, None, None, -1, 0.0)):
        assert np.isfinite(y).all()
    np.testing.assert_allclose(batch_norm(x, None, None, 0.0)[2], x.astype(float).var(0), rtol=1e-4)


def test_moving_statistics():
    rng = np.random.RandomState(0)
    x = rng.standard_normal((64, 4, 4, 5)).astype(np.float32) * 2 + 1
    layer = BatchNormalization(momentum=0.9)
    model = fastnn.Sequential([fastnn.Input((4, 4, 5)), layer, fastnn.layers.Flatten(), fastnn.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((64, 1), np.float32), batch_size=64, epochs=1, verbose=0)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * x.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * x.var((0, 1, 2)), rtol=1e-4)
    for _ in range(2):
        model.train_on_batch(x, np.zeros((64, 1), np.float32))
    np.testing.assert_allclose(layer.moving_mean.numpy(), (1 - 0.9**3) * x.mean((0, 1, 2)), rtol=1e-4)
    before = layer.moving_mean.numpy()
    layer.trainable = False
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((64, 1), np.float32), batch_size=64, epochs=1, verbose=0)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)
    y = layer(x)
    want = (x - before) / np.sqrt(layer.moving_variance.numpy() + 1e-3) * layer.gamma.numpy() + layer.beta.numpy()
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)


def test_same_bits_for_any_threads():
    x, gamma, beta, rng = data((70, 9, 9, 17), np.float32)
    up = rng.standard_normal(x.shape).astype(np.float32)
    before = threads.get_num_threads()
    try:
        for name, f, _ in [("batch", lambda x, g, b: batch_norm(x, g, b)[0], None),
                           ("layer", lambda x, g, b: ops.layer_normalization(x, g, b), None),
                           ("group", lambda x, g, b: ops.group_normalization(x, 17, g, b), None)]:  # fmt: skip
            found = []
            for n in (1, 2, 3, 8):
                threads.set_num_threads(n)
                y, grads = compile_and_run(f, [x, gamma, beta], [True, False, False], up)
                found.append(b"".join(a.tobytes() for a in (y, *grads)))
            assert len(set(found)) == 1, name
    finally:
        threads.set_num_threads(before)


def test_errors():
    x = np.zeros((2, 4, 4, 6), np.float32)
    for call, words in [
        (lambda: GroupNormalization(4, name="norm_a")(x), "norm_a.*divided"),
        (lambda: GroupNormalization(0), "groups"),
        (lambda: BatchNormalization(axis=7, name="norm_b")(x), "norm_b.*axis"),
        (lambda: BatchNormalization(momentum=2.0), "momentum"),
        (lambda: BatchNormalization(renorm=True), "renorm"),
        (lambda: BatchNormalization(epsilon=-1), "epsilon"),
        (lambda: LayerNormalization(axis=1, name="norm_c")(x), "norm_c.*Permute"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


def test_axis_in_the_middle():
    x = np.random.RandomState(0).standard_normal((3, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(
        BatchNormalization(axis=1)(x, training=True), normalize(x, (0, 2), 1e-3), rtol=1e-4, atol=1e-5
    )
