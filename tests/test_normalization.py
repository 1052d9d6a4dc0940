"""Batch, layer and group normalization against NumPy in float64, and their gradients by central differences."""

import numpy as np
import pytest
from traced import central_differences, compile_and_run

import fastnn
from fastnn import graph, ops, threads
from fastnn.compiler import Program, fuse
from fastnn.layers import BatchNormalization, GroupNormalization, LayerNormalization
from fastnn.ops.normalization import batch_norm

SHAPES = [(4, 1), (5, 3), (3, 2, 2, 5), (2, 3, 17), (2, 4, 4, 16), (70, 33), (1, 1, 1, 2),
          (2000, 1), (700, 3), (67, 5, 6), (1100, 17), (2300, 33), (300, 64), (50, 100)]  # fmt: skip


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


def relu_of_batch_norm(x, gamma, beta):
    return ops.relu(batch_norm(x, gamma, beta, 1e-2)[0])


@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 2, 5), (200, 3), (150, 17), (60, 16)], ids=str)
def test_relu_behind_batch_norm(shape):
    x, gamma, beta, rng = data(shape, np.float64)
    up = rng.standard_normal(shape)
    for g, b in ((gamma, beta), (None, beta), (gamma, None), (None, None)):
        weights = [w for w in (g, b) if w is not None]

        def f(x, *weights, g=g, b=b):
            rest = list(weights)
            g = rest.pop(0) if g is not None else None
            return relu_of_batch_norm(x, g, rest.pop(0) if b is not None else None)

        found = [
            compile_and_run(f, [x, *weights], [True, *[False] * len(weights)], up, fused=fused)
            for fused in (True, False)
        ]
        for a, b in zip(*((y, *grads) for y, grads in found), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def program_of(f, *arrays):
    """The kernels that f comes to, the arrays being samples."""
    with graph.Trace():
        y = f(*(graph.input_tensor((None, *a.shape[1:]), str(a.dtype)) for a in arrays))
    program = Program.from_graph([y])
    fuse(program)
    return [i.op.name for i in program.instructions]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_folded_into_a_convolution(dtype):
    rng = np.random.RandomState(0)
    x = rng.standard_normal((3, 9, 8, 5)).astype(dtype)
    w = rng.standard_normal((3, 3, 5, 17)).astype(dtype)
    bias, mean, gamma, beta = (rng.standard_normal(17).astype(dtype) for _ in range(4))
    var = rng.uniform(0.1, 2, 17).astype(dtype)
    for b, g, t in ((bias, gamma, beta), (None, None, None), (None, gamma, None), (bias, None, beta)):

        def f(x, b=b, g=g, t=t):
            y = ops.conv(x, w, padding="same")
            y = y if b is None else ops.add(y, b)
            return ops.relu(ops.batch_normalization(y, mean, var, -1, t, g, 1e-3))

        assert program_of(f, x) == ["batch_norm_fold", "conv2d"]
        tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-12}
        results = [compile_and_run(f, [x], [True], fused=fused)[0] for fused in (True, False)]
        np.testing.assert_allclose(*results, **tolerance)


def test_not_folded_into_more_weights_than_pixels():
    x, w = np.zeros((1, 2, 2, 64), np.float32), np.zeros((3, 3, 64, 8), np.float32)
    one = np.ones(8, np.float32)
    names = program_of(lambda x: ops.relu(ops.batch_normalization(ops.conv(x, w, padding="same"), one, one)), x)
    assert names == ["conv2d", "normalize"]


def test_predictions_follow_the_weights():
    """A plan whose convolution normalizes too sees new weights and statistics."""
    model = fastnn.Sequential([
        fastnn.Input((8, 8, 3)), fastnn.layers.Conv2D(4, 3, use_bias=False), BatchNormalization(),
        fastnn.layers.Activation("relu"),
    ])  # fmt: skip
    x = np.random.RandomState(0).standard_normal((5, 8, 8, 3)).astype(np.float32)
    for seed in range(3):
        rng = np.random.RandomState(seed)
        _, gamma, beta, mean, var = weights = [
            (rng.uniform(0.5, 2, a.shape)).astype(np.float32) for a in model.get_weights()
        ]
        model.set_weights(weights)
        z = model.layers[0](x)
        want = np.maximum((z - mean) / np.sqrt(var + 1e-3) * gamma + beta, 0)
        np.testing.assert_allclose(model.predict(x, verbose=0), want, rtol=1e-4, atol=1e-4)


def test_add_and_relu():
    rng = np.random.RandomState(0)
    a, b, up = (rng.standard_normal((4, 3, 5)) for _ in range(3))
    assert program_of(lambda a, b: ops.relu(ops.add(a, b)), a, b) == ["add_relu"]
    y, (da, db) = compile_and_run(lambda a, b: ops.relu(ops.add(a, b)), [a, b], [True, True], up)
    np.testing.assert_array_equal(y, np.maximum(a + b, 0))
    np.testing.assert_array_equal(da, up * (a + b > 0))
    np.testing.assert_array_equal(db, da)


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


@pytest.mark.parametrize("groups", [0, -1, 2, 4, 1.0, True])
def test_groups_that_do_not_divide_the_channels(groups):
    with pytest.raises(ValueError, match=f"positive divisor of the 3 channels, got {groups}"):
        ops.group_normalization(np.ones((2, 5, 3), np.float32), groups)


def test_a_row_has_no_groups():
    with pytest.raises(ValueError, match=r"expected \(samples, ..., channels\), got shape \(40,\)"):
        ops.group_normalization(np.ones(40, np.float32), 1)
    with pytest.raises(ValueError, match="axis must be the last dimensions"):
        ops.layer_normalization(np.float32(3))
