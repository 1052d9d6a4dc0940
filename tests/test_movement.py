"""Copies, transposes, joins, rows by index and batches: every element where NumPy puts it."""

import itertools

import numpy as np
import pytest

from fastnn import _core, kernels

DTYPES = [np.float32, np.float64, np.int32]


def numbers(shape, dtype=np.float32):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 5), (16, 16), (17, 33), (64, 48), (2, 3, 4), (3, 17, 16), (2, 19, 3, 18)]
)
def test_transpose_in_every_order(shape, dtype):
    x = numbers(shape, dtype)
    for axes in itertools.permutations(range(len(shape))):
        np.testing.assert_array_equal(kernels.transpose(x, axes), x.transpose(axes))


@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_copy_of_any_view(dtype):
    x = numbers((9, 20, 33), dtype)
    views = [
        x, x[2:5], x[:, 3:17], x[..., 4:9], x[::2, ::3, ::4], x[::-1], x[:, ::-1], x[..., ::-1], x[::-2, 1:, ::-3],
        x[3], x[3, 4], x[3, 4, 5:6], x[:0], x[:, :0], np.broadcast_to(x[0, 0], (5, 33)),
        np.broadcast_to(x[:, :1, :1], (9, 4, 5)), x.transpose(2, 0, 1)[::2, ::-1], x[..., 0], x[2, 3, 4],
        x[None, :, None, :3, None, :, None][:, 1:2],
    ]  # fmt: skip
    for view in views:
        view = np.asarray(view)
        np.testing.assert_array_equal(kernels.strided_copy(view), view)
        if dtype != np.int32:
            total = np.ones(view.shape, dtype)
            kernels.strided_copy(view, out=total, accumulate=True)
            np.testing.assert_array_equal(total, view + 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strided_scatter_into_any_view(dtype):
    for index in [np.s_[:], np.s_[2:5], np.s_[:, 3:17], np.s_[::2, ::3, ::4], np.s_[..., ::-1], np.s_[:, 4]]:
        for order in ((0, 1, 2), (2, 0, 1), (0, 2, 1)):
            y = numbers((9, 20, 33), dtype).transpose(order)
            expected = y.copy()
            x = np.random.default_rng(1).normal(size=y[index].shape).astype(dtype)
            expected[index] = x
            np.testing.assert_array_equal(kernels.strided_scatter(y[index], x), x)
            np.testing.assert_array_equal(y, expected)
            kernels.strided_scatter(y[index], x, accumulate=True)
            np.testing.assert_array_equal(y[index], x + x)
    with pytest.raises(ValueError, match="repeats elements"):
        kernels.strided_scatter(np.lib.stride_tricks.as_strided(np.ones(3), (3, 3), (8, 0)), np.ones((3, 3)))


def test_flip_and_broadcast():
    x = numbers((3, 4, 5))
    for axis in (None, 0, 1, -1, (0, 2)):
        np.testing.assert_array_equal(kernels.flip(x, axis), np.flip(x, axis))
    np.testing.assert_array_equal(kernels.broadcast_to(x[0], (2, 4, 5)), np.broadcast_to(x[0], (2, 4, 5)))


def test_concatenate_and_split():
    for axis in (0, 1, 2, -1):
        parts = []
        for n in (1, 0, 7, 19):
            shape = [3, 4, 5]
            shape[axis] = n
            parts.append(np.random.default_rng(n).normal(size=shape))
        np.testing.assert_array_equal(kernels.concatenate(parts, axis), np.concatenate(parts, axis))
    x = numbers((5, 40))
    np.testing.assert_array_equal(kernels.copy_columns(x, (3, 37)), x[:, 3:37])
    total = np.ones((5, 2), np.float32)
    np.testing.assert_array_equal(kernels.copy_columns(x, (1, 3), out=total, accumulate=True), 1 + x[:, 1:3])
    with pytest.raises(ValueError, match=r"arrays\[1\] of shape \(4, 2\) does not fit"):
        kernels.concatenate([np.ones((3, 2)), np.ones((4, 2))])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_by_index(dtype):
    table, rng = numbers((11, 70), dtype), np.random.default_rng(2)
    for shape in ((0,), (1,), (5, 3)):
        indices = rng.integers(0, 11, shape, dtype=np.int32)
        np.testing.assert_array_equal(kernels.gather_rows(table, indices), table[indices])
        x = rng.integers(-9, 9, (*shape, 70)).astype(dtype)
        expected = table.copy()
        np.add.at(expected, indices, x)
        np.testing.assert_array_equal(kernels.scatter_add_rows(table.copy(), x, indices), expected)
    with pytest.raises(ValueError, match=r"indices must be within \[0, 11\), got 0 to 11"):
        kernels.gather_rows(table, np.array([0, 11], np.int32))


def test_fill():
    for n in (0, 1, 17, 1000):
        np.testing.assert_array_equal(kernels.fill(np.empty(n), 2.5), np.full(n, 2.5))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("source", "uint8 int8 int16 int32 int64 float32 float64 bool uint16 uint32".split())
def test_load_batch(source, dtype):
    data = (numbers((23, 37)) % 120).astype(source)
    order = np.random.default_rng(3).permutation(23).astype(np.int64)
    np.testing.assert_array_equal(kernels.load_batch(data, 7, order=order, dtype=dtype), data[order[:7]].astype(dtype))
    np.testing.assert_array_equal(kernels.load_batch(data, 9, first=5, dtype=dtype), data[5:14].astype(dtype))
    if dtype != np.int32:
        scaled = kernels.load_batch(data, 23, scale=0.5, offset=-1, dtype=dtype)
        np.testing.assert_array_equal(scaled, data * dtype(0.5) - 1)


def test_store_batch():
    y = np.zeros((10, 4))
    kernels.store_batch(y, np.ones((3, 4)), first=5)
    np.testing.assert_array_equal(y[:, 0], [0, 0, 0, 0, 0, 1, 1, 1, 0, 0])
    with pytest.raises(ValueError, match="rows 8 to 11 are not all among 10"):
        kernels.store_batch(y, np.ones((3, 4)), first=8)


def test_same_for_any_number_of_threads():
    x, indices = numbers((500, 700)), np.arange(5000, dtype=np.int32) % 500
    rows = np.random.default_rng(4).normal(size=(5000, 700)).astype(np.float32)
    before, results = _core.get_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            _core.set_threads(threads)
            results.append(kernels.transpose(x).tobytes() + kernels.scatter_add_rows(x.copy(), rows, indices).tobytes())
    finally:
        _core.set_threads(before)
    assert len(set(results)) == 1
