"""Pooling against NumPy in float64: forward and gradients, eager and compiled, any window, stride and padding."""

import functools
import itertools

import numpy as np
import pytest
from traced import compile_and_run

import fastnn
from fastnn import _core, ops, threads
from fastnn.kernels.convolution import padding_of
from fastnn.layers import (
    AveragePooling1D,
    AveragePooling2D,
    GlobalAveragePooling1D,
    GlobalMaxPooling2D,
    MaxPooling1D,
    MaxPooling2D,
    UpSampling1D,
    UpSampling2D,
)

# shape, pool size, strides, padding
CASES = [
    ((3, 28, 28, 6), (2, 2), (2, 2), "valid"),
    ((2, 8, 8, 32), (2, 2), (2, 2), "valid"),
    ((2, 7, 9, 5), (2, 2), (2, 2), "same"),
    ((2, 7, 9, 17), (3, 3), (2, 2), "same"),
    ((2, 7, 9, 16), (3, 2), (1, 1), "valid"),
    ((2, 9, 9, 1), (2, 2), (3, 4), "valid"),
    ((2, 5, 4, 3), (5, 4), (5, 4), "valid"),
    ((1, 1, 1, 1), (1, 1), (1, 1), "valid"),
    ((1, 1, 1, 3), (2, 2), (2, 2), "same"),
    ((2, 20, 20, 3), (17, 17), (1, 2), "valid"),  # more places in a window than a byte counts
    ((2, 11, 13, 17), (2, 2), (2, 2), "valid"),
    ((3, 3, 5, 1), (2, 2), (2, 2), "same"),
    ((2, 2, 2, 3), (2, 2), (2, 2), "valid"),
    ((2, 13, 12, 33), (3, 3), (2, 2), "valid"),
    ((3, 7, 7, 6), (3, 3), (2, 2), "same"),
    ((2, 1, 9, 5), (1, 2), (1, 2), "valid"),
    ((2, 5, 5, 7), (1, 1), (2, 3), "valid"),
    *(((2, 9, 14, c), (2, 2), (2, 2), "same") for c in (1, 2, 3, 4, 7, 8, 15, 16, 33)),
]


def windows(shape, size, strides, padding):
    """For each output pixel: its index and the slices of its window in the image."""
    spans = []
    for n, k, s in zip(shape[1:3], size, strides, strict=True):
        lo, hi = padding_of(padding, n, k, s, 1)
        count = (n + lo + hi - k) // s + 1
        spans.append([slice(max(o * s - lo, 0), min(o * s - lo + k, n)) for o in range(count)])
    return spans


def reference(x, size, strides, padding, kind):
    rows, columns = windows(x.shape, size, strides, padding)
    y = np.empty((len(x), len(rows), len(columns), x.shape[3]))
    for (p, a), (q, b) in itertools.product(enumerate(rows), enumerate(columns)):
        y[:, p, q] = (np.max if kind == "max" else np.mean)(x[:, a, b].astype(float), axis=(1, 2))
    return y


def reference_gradient(x, dy, size, strides, padding, kind):
    rows, columns = windows(x.shape, size, strides, padding)
    dx = np.zeros(x.shape)
    for (p, a), (q, b) in itertools.product(enumerate(rows), enumerate(columns)):
        window = x[:, a, b]
        n, h, w, c = window.shape
        if kind == "max":
            first = window.reshape(n, h * w, c).argmax(axis=1)
            mask = (np.arange(h * w)[None, :, None] == first[:, None, :]).reshape(window.shape)
            dx[:, a, b] += mask * dy[:, p, q][:, None, None]
        else:
            dx[:, a, b] += dy[:, p, q][:, None, None] / (h * w)
    return dx


def inputs(shape, dtype, ties=False):
    rng = np.random.RandomState(3)
    x = rng.standard_normal(shape)
    return (np.round(x) if ties else x).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_numpy(case, kind, dtype):
    shape, size, strides, padding = case
    x = inputs(shape, dtype, ties=True)
    op = ops.max_pool if kind == "max" else ops.average_pool
    want = reference(x, size, strides, padding, kind)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-13, "atol": 1e-13}
    np.testing.assert_allclose(op(x, size, strides, padding), want, **tolerance)
    dy = np.random.RandomState(4).standard_normal(want.shape).astype(dtype)
    y, (dx,) = compile_and_run(lambda t: op(t, size, strides, padding), [x], [True], dy)
    np.testing.assert_allclose(y, want, **tolerance)
    np.testing.assert_allclose(dx, reference_gradient(x, dy, size, strides, padding, kind), **tolerance)


@pytest.mark.parametrize("function", [ops.relu, ops.tanh, ops.sigmoid])
@pytest.mark.parametrize("size,strides", [((2, 2), (2, 2)), ((3, 3), (2, 2))])
def test_activation_before_max_pool(function, size, strides):
    """The activation's gradient is taken behind the pool: the same numbers as taken before it."""
    x = inputs((2, 8, 8, 6), np.float64)
    dy = np.random.RandomState(4).standard_normal(reference(x, size, strides, "valid", "max").shape)
    results = [
        compile_and_run(lambda t: ops.max_pool(function(t), size, strides), [x], [True], dy, fused=fused)
        for fused in (True, False)
    ]
    for a, b in zip(*((y, *g) for y, g in results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def test_not_a_number_wins():
    x = np.zeros((1, 2, 2, 3), np.float32)
    x[0, 1, 0, 1] = np.nan
    y = ops.max_pool(x, 2)
    assert np.isnan(y[0, 0, 0, 1]) and y[0, 0, 0, 0] == y[0, 0, 0, 2] == 0


@pytest.mark.parametrize("channels", [1, 6, 16, 17])
@pytest.mark.parametrize("size", [2, 3])
def test_gradient_of_not_a_number_goes_to_one_element(channels, size):
    x = inputs((2, 9, 9, channels), np.float32, ties=True)
    x[np.random.RandomState(1).uniform(size=x.shape) < 0.3] = np.nan
    x[0, :size, :size] = np.nan
    x[0, 2:4, 2:4] = -np.inf
    want = reference(x, (size, size), (2, 2), "valid", "max")
    dy = np.random.RandomState(4).randint(1, 100, want.shape).astype(np.float32)
    y, (dx,) = compile_and_run(lambda t: ops.max_pool(t, size, 2), [x], [True], dy)
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(dx.sum((1, 2)), dy.sum((1, 2)))
    if size == 2:  # windows do not overlap: one element gets all
        cells = dx[:, :8, :8].reshape(2, 4, 2, 4, 2, channels)
        np.testing.assert_array_equal((cells != 0).sum((2, 4)), np.ones_like(want))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_place_of_not_a_number_for_any_threads(channels):
    """The last pixels of what a thread does go another way than those between."""
    n, (oh, ow) = 5, (2, 3)
    x, y = np.full((n, 6, 9, channels), np.nan, np.float32), np.empty((n, oh, ow, channels), np.float32)
    found, before = [], threads.get_num_threads()
    try:
        for number in (1, 2, 5):
            threads.set_num_threads(number)
            found.append(np.full(y.shape, 9, np.uint8))
            _core.run("max_pool", False, (y, x, found[-1]), (n, 6, 9, channels, oh, ow, 3, 3, 3, 3, 0, 0, 0), cost=1e9)
    finally:
        threads.set_num_threads(before)
    assert (np.array(found) == found[0][0, 0, 0, 0]).all()


def test_nothing_else_is_written():
    """Stores reach beyond a pixel where channels are few, but never beyond the array."""
    for c in (1, 3, 6, 16, 17):
        for n, ih, iw in ((1, 4, 4), (3, 6, 14), (2, 5, 7)):
            geometry = (ih, iw, c, ih // 2, iw // 2, 2, 2, 2, 2, 0, 0)
            sizes = {"x": n * ih * iw * c, "y": n * (ih // 2) * (iw // 2) * c}
            x, dx = (np.full(sizes["x"] + 128, 7, np.float32) for _ in range(2))
            y, dy = (np.full(sizes["y"] + 128, 7, np.float32) for _ in range(2))
            index = np.full(sizes["y"] + 128, 9, np.uint8)
            for kernel, operands, written in (
                ("max_pool", (y[64:], x[64:], index[64:]), [(y, "y"), (index, "y")]),
                ("max_pool_grad", (dx[64:], dy[64:], index[64:]), [(dx, "x")]),
                ("average_pool", (y[64:], x[64:]), [(y, "y")]),
                ("average_pool_grad", (dx[64:], dy[64:]), [(dx, "x")]),
            ):
                _core.run(kernel, False, operands, (n, *geometry, 0, 0))
                for array, kind in written:
                    mark = 9 if array is index else 7
                    assert (array[:64] == mark).all() and (array[64 + sizes[kind] :] == mark).all(), (kernel, c, n)


def test_same_bits_of_gradients_for_any_threads():
    before = threads.get_num_threads()
    try:
        for c, size, strides in ((6, 2, 2), (17, 2, 2), (3, 3, 2)):
            x = inputs((13, 28, 28, c), np.float32, ties=True)
            dy = inputs((13, 14, 14, c), np.float32)
            found = set()
            for n in (1, 2, 3):
                threads.set_num_threads(n)
                for op in (ops.max_pool, ops.average_pool):
                    pool = functools.partial(op, pool_size=size, strides=strides, padding="same")
                    y, (dx,) = compile_and_run(pool, [x], [True], dy)
                    found.add((op.__name__, y.tobytes(), dx.tobytes()))
            assert len(found) == 2
    finally:
        threads.set_num_threads(before)


def test_same_bits_for_any_threads():
    x = inputs((13, 28, 28, 6), np.float32)
    before = threads.get_num_threads()
    found = []
    try:
        for n in (1, 2, 3, 8):
            threads.set_num_threads(n)
            found.append(ops.max_pool(x, 3, 2, "same").tobytes() + ops.average_pool(x, 3, 2, "same").tobytes())
    finally:
        threads.set_num_threads(before)
    assert len(set(found)) == 1


def test_layers():
    x = inputs((2, 6, 8, 3), np.float32)
    np.testing.assert_allclose(MaxPooling2D()(x), reference(x, (2, 2), (2, 2), "valid", "max"))
    np.testing.assert_allclose(
        AveragePooling2D(2)(x), reference(x, (2, 2), (2, 2), "valid", "mean"), rtol=1e-6, atol=1e-7
    )
    series = x[:, 0]
    np.testing.assert_allclose(MaxPooling1D(3, 2, "same")(series),
                               reference(x[:, :1], (1, 3), (1, 2), "same", "max")[:, 0])  # fmt: skip
    np.testing.assert_allclose(AveragePooling1D(2)(series), series.reshape(2, 4, 2, 3).mean(2), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(GlobalMaxPooling2D(keepdims=True)(x), x.max((1, 2), keepdims=True))
    np.testing.assert_allclose(GlobalAveragePooling1D()(series), series.mean(1), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(UpSampling2D((2, 3))(x), x.repeat(2, 1).repeat(3, 2))
    np.testing.assert_array_equal(UpSampling1D(2)(series), series.repeat(2, 1))


def test_errors():
    x = np.zeros((1, 4, 4, 2), np.float32)
    for call, words in [
        (lambda: MaxPooling2D(5, name="pool_a")(x), "pool_a.*larger"),
        (lambda: MaxPooling2D(0), "pool_size"),
        (lambda: MaxPooling2D(2, strides=-1), "strides"),
        (lambda: MaxPooling2D(2, padding="full"), "padding"),
        (lambda: MaxPooling2D((2, 2, 2)), "pool_size"),
        (lambda: AveragePooling2D(2, data_format="channels_first", name="pool_b"), "pool_b.*channels_last"),
        (lambda: MaxPooling1D(2, name="pool_c")(x), "pool_c.*steps"),
        (lambda: fastnn.layers.GlobalMaxPooling1D(name="pool_d")(x), "pool_d"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
