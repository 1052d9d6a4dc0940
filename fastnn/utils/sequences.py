"""Data of sequences: windows over a series, forecasting, series that do not fit in memory, batches of equal lengths."""

import math

import numpy as np

from fastnn.utils.arrays import pad_sequences
from fastnn.utils.checks import integer


class PyDataset:
    """Batches by number, for `fit`, `evaluate` and `predict`: a subclass gives `__len__` (batches an epoch) and
    `__getitem__(index)`, which returns (x, y), (x, y, sample_weight) or x. Each epoch asks for all of them in order and
    then calls `on_epoch_end`. Only one batch at a time is in memory.

    Keras' workers, use_multiprocessing and max_queue_size are accepted and do nothing: batches are made one after the
    other.
    """

    def __init__(self, workers=1, use_multiprocessing=False, max_queue_size=10):
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, use_multiprocessing, max_queue_size

    def __len__(self):
        raise NotImplementedError(f"{type(self).__name__} must implement __len__(): the number of batches")

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} must implement __getitem__(index): a batch")

    def on_epoch_end(self):
        """Called after each pass; a subclass may shuffle here."""

    def __iter__(self):
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()


Sequence = PyDataset


def _whole(where, name, value, least=1):
    return integer(where, name, value, least)


class Windows(PyDataset):
    """Batches of windows over a series, cut out when they are asked for: `data` may be a numpy.memmap larger than the
    memory. See `timeseries_dataset_from_array` for the arguments."""

    def __init__(self, data, targets, sequence_length, sequence_stride=1, sampling_rate=1, batch_size=128,
                 shuffle=False, seed=None, start_index=None, end_index=None):  # fmt: skip
        super().__init__()
        where = "timeseries_dataset_from_array"
        self.length = _whole(where, "sequence_length", sequence_length)
        self.stride = _whole(where, "sequence_stride", sequence_stride)
        self.rate = _whole(where, "sampling_rate", sampling_rate)
        self.batch_size = _whole(where, "batch_size", batch_size)
        data = data if isinstance(data, np.ndarray) else np.asarray(data)
        if data.ndim == 0 or data.dtype.kind not in "iufb":
            raise ValueError(f"{where}: data must be an array of numbers (time, ...), got {data.dtype} of {data.shape}")
        first = 0 if start_index is None else _whole(where, "start_index", start_index, 0)
        last = len(data) if end_index is None else _whole(where, "end_index", end_index, 1)
        if len(data) == 0:
            raise ValueError(f"{where}: data has no steps")
        if not first < last <= len(data):
            raise ValueError(f"{where}: start_index {first} and end_index {last} are no part of {len(data)} steps")
        self.data = data[first:last]
        self.targets = None
        count = last - first - (self.length - 1) * self.rate
        if targets is not None:
            targets = targets if isinstance(targets, np.ndarray) else np.asarray(targets)
            if targets.ndim == 0 or len(targets) <= first:
                raise ValueError(
                    f"{where}: targets[i] belongs to the window that begins at data[i], so there must be some from "
                    f"{first} on, got shape {targets.shape}"
                )
            self.targets = targets[first:last]
            count = min(count, len(self.targets))
        if count < 1:
            raise ValueError(
                f"{where}: {last - first} steps hold no window of {self.length} steps, one in {self.rate}; "
                "shorten sequence_length or give more data"
            )
        self.starts = np.arange(0, count, self.stride)
        self.generator = np.random.default_rng(seed) if shuffle else None
        self.on_epoch_end()

    def on_epoch_end(self):
        if self.generator is not None:
            self.generator.shuffle(self.starts)

    def __len__(self):
        return math.ceil(len(self.starts) / self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} batches, number {index} was asked for")
        starts = self.starts[index * self.batch_size : (index + 1) * self.batch_size]
        x = np.asarray(self.data[starts[:, None] + self.rate * np.arange(self.length)])
        return x if self.targets is None else (x, np.asarray(self.targets[starts]))


def timeseries_dataset_from_array(data, targets, sequence_length, sequence_stride=1, sampling_rate=1, batch_size=128,
                                  shuffle=False, seed=None, start_index=None, end_index=None):  # fmt: skip
    """Batches of windows over a series: (x (batch, sequence_length, ...), y), or x alone without targets.

    data             (time, ...); windows are cut out when asked for, so a numpy.memmap of any size will do
    targets          targets[i] belongs to the window that begins at data[i]; None for none
    sequence_stride  from the start of a window to that of the next
    sampling_rate    steps between neighbours in a window
    shuffle, seed    another order of the windows in each epoch
    start_index, end_index   the part of data (and targets) to use
    """
    return Windows(data, targets, sequence_length, sequence_stride, sampling_rate, batch_size, shuffle, seed,
                   start_index, end_index)  # fmt: skip


def forecasting_windows(series, length, horizon=1, targets=None, stride=1):
    """Windows of a series and what follows each: x (n, length, features) and y (n, horizon, targets), views of `series`
    where they can be.

    series   (time,) or (time, features)
    length   steps that are known
    horizon  steps to be told
    targets  columns to be told, all by default
    stride   from the start of a window to that of the next
    """
    where = "forecasting_windows"
    length, horizon = _whole(where, "length", length), _whole(where, "horizon", horizon)
    stride = _whole(where, "stride", stride)
    series = np.asarray(series)
    series = series[:, None] if series.ndim == 1 else series
    if series.ndim != 2 or series.dtype.kind not in "iufb":
        raise ValueError(f"{where}: series must be (time,) or (time, features), got {series.dtype} of {series.shape}")
    if len(series) < length + horizon:
        raise ValueError(
            f"{where}: {len(series)} steps are too few for {length} known and {horizon} told; shorten one of them"
        )
    if targets is not None:
        targets, columns = np.atleast_1d(targets), series.shape[1]
        inside = targets.dtype.kind in "iu" and np.all((-columns <= targets) & (targets < columns))
        if targets.ndim != 1 or not inside:
            raise ValueError(f"{where}: targets must be columns of {columns}, got {targets.tolist()}")
    view = np.lib.stride_tricks.sliding_window_view(series, length + horizon, axis=0)[::stride].swapaxes(1, 2)
    told = view[:, length:]
    return view[:, :length], told if targets is None else told[..., targets]


def forecast(model, known, steps):
    """The next `steps` values told by a model of one step, each fed back as the last known one.

    model  predicts (n, features) or (n, 1, features) from (n, length, features)
    known  (n, length, features), or (length, features) for one series
    """
    steps = _whole("forecast", "steps", steps)
    window = np.array(known)
    single = window.ndim == 2
    window = window[None] if single else window
    if window.ndim != 3:
        raise ValueError(f"forecast: known must be (n, length, features) or (length, features), got {window.shape}")
    told = []
    for _ in range(steps):
        y = np.asarray(model.predict(window, verbose=0)).reshape(len(window), -1)
        if y.shape[1] != window.shape[2]:
            raise ValueError(
                f"forecast: the model tells {y.shape[1]} values a step, but {window.shape[2]} are needed to feed "
                "them back"
            )
        told.append(y)
        window = np.concatenate([window[:, 1:], y[:, None]], axis=1)
    told = np.stack(told, axis=1)
    return told[0] if single else told


def naive_forecast(known, horizon, season=1):
    """What a forecast must beat: the last `season` steps of known (n, length, ...) repeated over `horizon` steps."""
    known, horizon = np.asarray(known), _whole("naive_forecast", "horizon", horizon)
    if known.ndim < 2:
        raise ValueError(f"naive_forecast: known must be (n, length, ...), got shape {known.shape}")
    if not 1 <= season <= known.shape[1]:
        raise ValueError(f"naive_forecast: season must be in 1..{known.shape[1]} (the known steps), got {season}")
    return known[:, known.shape[1] - season + np.arange(horizon) % season]


class Buckets(PyDataset):
    """Batches of sequences of like lengths, each padded to the upper bound of its bucket, so that little is computed in
    vain. The model must take sequences of any length: Input((None, ...)).

    sequences    list of arrays (time, ...)
    targets      an array with one row a sequence, or None
    batch_size   sequences a batch
    boundaries   upper bounds of the buckets' lengths; quantiles of the lengths by default, four at most
    padding      "pre" or "post"; value: what is filled in
    dtype        of the batches; by default one that holds the numbers of all sequences
    shuffle, seed   another order of sequences and batches in each epoch
    """

    def __init__(self, sequences, targets=None, batch_size=32, boundaries=None, padding="post", value=0, dtype=None,
                 shuffle=True, seed=None):  # fmt: skip
        super().__init__()
        self.sequences = [np.asarray(s) for s in sequences]
        self.batch_size = _whole("Buckets", "batch_size", batch_size)
        if padding not in ("pre", "post"):
            raise ValueError(f"Buckets: padding must be 'pre' or 'post', got {padding!r}")
        for j, sequence in enumerate(self.sequences):
            if sequence.ndim == 0 or sequence.shape[1:] != self.sequences[0].shape[1:]:
                raise ValueError(
                    f"Buckets: sequences must be arrays (time, ...) alike but in their length, got shapes "
                    f"{self.sequences[0].shape} and, at {j}, {sequence.shape}"
                )
        lengths = np.array([len(s) for s in self.sequences], dtype=np.int64)
        if len(lengths) == 0 or lengths.min() < 1:
            raise ValueError("Buckets: there must be sequences, each of at least one step; take empty ones out")
        self.targets = None if targets is None else np.asarray(targets)
        if self.targets is not None and len(self.targets) != len(lengths):
            raise ValueError(f"Buckets: {len(lengths)} sequences need as many targets, got {len(self.targets)}")
        if boundaries is None:
            boundaries = np.unique(np.ceil(np.quantile(lengths, (0.25, 0.5, 0.75, 1.0))).astype(int))
        boundaries = np.unique(np.asarray(boundaries, dtype=np.int64))
        if len(boundaries) == 0 or boundaries[-1] < lengths.max():
            raise ValueError(f"Buckets: the longest sequence has {lengths.max()} steps, boundaries end at {boundaries}")
        self.padding, self.value = padding, value
        self.dtype = np.dtype(dtype or np.result_type(*{s.dtype for s in self.sequences}))
        self.bounds = boundaries[np.searchsorted(boundaries, lengths)]
        self.generator = np.random.default_rng(seed) if shuffle else None
        self.on_epoch_end()

    def on_epoch_end(self):
        """New batches: sequences shuffled within their bucket, then the batches."""
        batches = []
        for bound in np.unique(self.bounds):
            members = np.flatnonzero(self.bounds == bound)
            if self.generator is not None:
                self.generator.shuffle(members)
            batches += [(bound, members[j : j + self.batch_size]) for j in range(0, len(members), self.batch_size)]
        if self.generator is not None:
            self.generator.shuffle(batches)
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} batches, number {index} was asked for")
        bound, members = self.batches[index]
        x = pad_sequences([self.sequences[j] for j in members], int(bound), self.dtype, self.padding, value=self.value)
        return x if self.targets is None else (x, self.targets[members])
