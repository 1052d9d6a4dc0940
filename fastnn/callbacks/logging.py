"""Callbacks that tell: ProgbarLogger, CSVLogger, TensorBoard."""

import csv
import os
import sys
import time

import numpy as np

from fastnn.callbacks.base import Callback
from fastnn.utils.progress import Progbar, format_logs, format_time, is_terminal


class ProgbarLogger(Callback):
    """The progress of fit(), evaluate() and predict().

    verbose 1 or "auto": a bar redrawn in place on a terminal, one line an epoch in a file; 2: one line an epoch;
    0: nothing. Looks in after each chunk of steps and never makes a training run batch by batch.
    """

    def __init__(self):
        super().__init__()
        self.verbose = 1
        self._bar = None
        self._training = False
        self._epoch_start = 0.0
        self._prefix = ""

    def set_params(self, params):
        super().set_params(params)
        verbose = params.get("verbose", 1)
        self.verbose = 1 if verbose == "auto" else int(verbose)

    @property
    def _live(self):
        return self.verbose == 1 and is_terminal(sys.stdout)

    def on_train_begin(self, logs=None):
        self._training = True

    def on_train_end(self, logs=None):
        self._training = False

    def on_epoch_begin(self, epoch, logs=None):
        if not self.verbose:
            return
        self._epoch_start = time.perf_counter()
        total = self.params.get("epochs")
        self._prefix = f"Epoch {epoch + 1}" + (f"/{total}" if total else "")
        if self._live:
            print(self._prefix)
        self._bar = Progbar(self.params.get("steps"), verbose=self.verbose if self._live else 0)

    def on_train_chunk_end(self, batch, logs=None):
        if self._bar is not None:
            self._update(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        if not self.verbose:
            return
        logs = logs or {}
        if self._live:
            self._finish(logs, self.params.get("steps"))
        else:
            seconds = time.perf_counter() - self._epoch_start
            print(f"{self._prefix} - {format_time(seconds)}{format_logs(logs)}", flush=True)
        self._bar = None

    def _update(self, batch, logs, finalize=False):
        logs = logs or {}
        self._bar.stateful_metrics = set(logs)  # they are means of the epoch so far already
        self._bar.update(batch + 1, logs, finalize=finalize)

    def _finish(self, logs, steps):
        steps = steps or max(self._bar._seen, 1)
        self._update(steps - 1, logs, finalize=True)

    def _begin(self):
        """Of an evaluation or prediction of its own; validation inside fit() is silent."""
        if self.verbose and not self._training:
            self._bar = Progbar(self.params.get("steps"), verbose=self.verbose)

    def _end(self, logs):
        if self.verbose and not self._training and self._bar is not None:
            self._finish(logs or {}, self.params.get("steps"))
            self._bar = None

    def on_test_begin(self, logs=None):
        self._begin()

    def on_test_chunk_end(self, batch, logs=None):
        if self._bar is not None and not self._training:
            self._update(batch, logs)

    def on_test_end(self, logs=None):
        self._end(logs)

    def on_predict_begin(self, logs=None):
        self._begin()

    def on_predict_chunk_end(self, batch, logs=None):
        if self._bar is not None and not self._training:
            self._update(batch, None)

    def on_predict_end(self, logs=None):
        self._end(None)


class CSVLogger(Callback):
    """Writes the metrics of each epoch as a line of a CSV file, at once. `append` goes on with an existing file."""

    def __init__(self, filename, separator=",", append=False):
        super().__init__()
        self.filename = os.fspath(filename)
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"CSVLogger: separator must be one character, got {separator!r}")
        self.separator = separator
        self.append = append
        self._file = None
        self._columns = None

    def on_train_begin(self, logs=None):
        self._columns = None
        if self.append and os.path.exists(self.filename):
            with open(self.filename, newline="") as file:
                self._columns = next(csv.reader(file, delimiter=self.separator), None)
        self._file = open(self.filename, "a" if self.append else "w", newline="")

    def on_epoch_end(self, epoch, logs=None):
        if self._file is None:
            return
        logs = logs or {}
        writer = csv.writer(self._file, delimiter=self.separator)
        if self._columns is None:
            names = list(logs)
            # Without validation in the first epoch its columns would be lost for all later ones.
            if self.params.get("validation_freq", 1) != 1 and not any(name.startswith("val_") for name in names):
                names += [f"val_{name}" for name in logs if name != "learning_rate"]
            self._columns = ["epoch", *names]
            writer.writerow(self._columns)
        row = {"epoch": epoch, **logs}
        unknown = [name for name in row if name not in self._columns]
        if unknown:
            raise ValueError(f"CSVLogger: {self.filename} has columns {', '.join(self._columns)}, not {unknown[0]!r}")
        writer.writerow([np.asarray(row[name]).tolist() if name in row else "NA" for name in self._columns])
        self._file.flush()

    def on_train_end(self, logs=None):
        if self._file is not None:
            self._file.close()
            self._file = None


class TensorBoard(Callback):
    """Writes the metrics of each epoch to `log_dir`, as runs "train" and "validation" (needs tensorboardX).

    A metric of several numbers gets a curve for each, "epoch_f1_score_0" and so on. With `histogram_freq` also
    histograms of the weights, every so many epochs.
    """

    def __init__(self, log_dir="logs", histogram_freq=0):
        super().__init__()
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError("TensorBoard needs tensorboardX: pip install tensorboardX") from None
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = histogram_freq
        self._make = SummaryWriter
        self._writers = {}

    def _writer(self, name):
        if name not in self._writers:
            self._writers[name] = self._make(os.path.join(self.log_dir, name))
        return self._writers[name]

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            run = "validation" if name.startswith("val_") else "train"
            tag = f"epoch_{name.removeprefix('val_')}"
            for j, number in enumerate(np.ravel(value)):
                self._writer(run).add_scalar(f"{tag}_{j}" if np.ndim(value) else tag, number, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for weight in getattr(self.model, "weights", []):
                path = getattr(weight, "path", weight.name)
                self._writer("train").add_histogram(path, weight.numpy(), epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
