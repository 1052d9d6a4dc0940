"""Windows over series, forecasts, data that do not fit in memory, vocabularies."""

import numpy as np
import pytest

import fastnn
from fastnn import layers, utils


@pytest.mark.parametrize("stride, rate, batch", [(1, 1, 3), (2, 1, 4), (3, 2, 128)])
def test_windows(stride, rate, batch):
    data, targets = np.arange(40.0).reshape(20, 2), np.arange(20)
    windows = utils.timeseries_dataset_from_array(data, targets, 4, stride, rate, batch)
    starts = range(0, 20 - 3 * rate, stride)
    x, y = (np.concatenate(parts) for parts in zip(*windows, strict=True))
    assert len(windows) == -(-len(starts) // batch)
    np.testing.assert_array_equal(x, [data[s : s + 4 * rate : rate] for s in starts])
    np.testing.assert_array_equal(y, targets[list(starts)])


def test_windows_in_part_and_shuffled():
    data = np.arange(30.0)
    windows = utils.timeseries_dataset_from_array(data, None, 3, shuffle=True, seed=1, start_index=5, end_index=15)
    first, second = (np.concatenate(list(windows)) for _ in range(2))
    assert sorted(first[:, 0]) == list(range(5, 13)) and list(first[:, 0]) != list(second[:, 0])
    np.testing.assert_array_equal(np.diff(first, axis=1), 1)


def test_a_series_on_disk(tmp_path):
    series = np.lib.format.open_memmap(tmp_path / "series.npy", "w+", np.float32, (5000, 2))
    series[:] = np.sin(np.arange(5000)[:, None] * [0.1, 0.03])
    series.flush()
    data = np.load(tmp_path / "series.npy", mmap_mode="r")
    train = utils.timeseries_dataset_from_array(data[:-1], data[12:, :1], 12, 5, batch_size=64, shuffle=True, seed=2)
    model = fastnn.Sequential([layers.Input((12, 2)), layers.GRU(8), layers.Dense(1)])
    model.compile(fastnn.optimizers.Adam(0.01), "mse")
    history = model.fit(train, epochs=4, verbose=0, validation_data=train).history
    assert history["val_loss"][-1] < 0.05


def test_forecasting():
    series = np.arange(10.0)
    x, y = utils.forecasting_windows(series, 4, 2)
    assert x.shape == (5, 4, 1) and y.shape == (5, 2, 1)
    np.testing.assert_array_equal(x[2, :, 0], [2, 3, 4, 5])
    np.testing.assert_array_equal(y[2, :, 0], [6, 7])
    both = np.stack([series, -series], axis=1)
    np.testing.assert_array_equal(utils.forecasting_windows(both, 4, 1, targets=1, stride=3)[1], [[[-4]], [[-7]]])
    np.testing.assert_array_equal(utils.naive_forecast(x, 3, 2)[0, :, 0], [2, 3, 2])

    class Next:
        def predict(self, window, verbose=0):
            return window[:, -1] + 1

    np.testing.assert_array_equal(utils.forecast(Next(), x[0], 3)[:, 0], [4, 5, 6])
    assert utils.forecast(Next(), x, 3).shape == (5, 3, 1)


@pytest.mark.parametrize("call, message", [
    (lambda: utils.timeseries_dataset_from_array(np.zeros(3), None, 4), "hold no window"),
    (lambda: utils.timeseries_dataset_from_array(np.zeros(3), None, 0), "sequence_length"),
    (lambda: utils.timeseries_dataset_from_array(np.zeros(3), None, 1, start_index=3), "no part"),
    (lambda: utils.timeseries_dataset_from_array(["a"], None, 1), "array of numbers"),
    (lambda: utils.timeseries_dataset_from_array([], None, 1), "no steps"),
    (lambda: utils.timeseries_dataset_from_array(np.zeros(9), 5, 3), r"targets\[i\] belongs to the window"),
    (lambda: utils.forecasting_windows(np.zeros((9, 2)), 3, targets=2), "targets must be columns of 2"),
    (lambda: utils.naive_forecast(np.zeros(5), 1), "known must be"),
    (lambda: utils.naive_forecast(np.zeros((1, 3)), 0), "horizon must be"),
    (lambda: utils.Buckets([3, 4]), r"must be arrays \(time, ...\)"),
    (lambda: utils.Buckets([np.zeros((2, 3)), np.zeros((2, 4))]), "alike but in their length"),
    (lambda: utils.Buckets([np.zeros(3)], padding="both"), "padding must be"),
    (lambda: utils.Vocabulary.of("ab", max_tokens=0), "max_tokens"),
    (lambda: utils.forecasting_windows(np.zeros(5), 4, 2), "too few"),
    (lambda: utils.naive_forecast(np.zeros((1, 3)), 1, 4), "season"),
    (lambda: utils.Buckets([]), "there must be sequences"),
    (lambda: utils.Buckets([np.zeros(0)]), "at least one step"),
    (lambda: utils.Buckets([np.zeros(3)], [1, 2]), "as many targets"),
    (lambda: utils.Buckets([np.zeros(3)], boundaries=[2]), "longest sequence"),
    (lambda: utils.Vocabulary.of(""), "no token"),
    (lambda: utils.Vocabulary("aa"), "twice"),
    (lambda: utils.Vocabulary("ab", "byte"), "level"),
    (lambda: utils.Vocabulary("ab").decode([4]), "must be in"),
])  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_vocabularies():
    chars = utils.Vocabulary.of("hello")
    assert chars.tokens == ["l", "e", "h", "o"] and len(chars) == 6
    np.testing.assert_array_equal(chars.encode("hex"), [4, 3, 1])
    assert chars.decode([0, 4, 3, 1]) == "he?"
    words = utils.Vocabulary.of(["It's a cat.", "A dog"], "word", lower=True, max_tokens=3)
    assert words.tokens == ["a", ".", "cat"] and "dog" not in words
    assert words.decode(words.encode("A cat!")) == "a cat ?"
    again = utils.Vocabulary.from_config(words.get_config())
    np.testing.assert_array_equal(again.encode("a cat."), words.encode("a cat."))


def test_buckets_hold_the_numbers_of_all_sequences():
    x = utils.Buckets([[1, 2], [0.5, 1.5]], batch_size=2, shuffle=False)[0]
    np.testing.assert_array_equal(x, [[1, 2], [0.5, 1.5]])
