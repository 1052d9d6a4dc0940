"""Callbacks that watch one metric: EarlyStopping, ReduceLROnPlateau, ModelCheckpoint."""

import math
import operator
import os
import re

import numpy as np

from fastnn.callbacks.base import Callback

#: Parts of metric names that say "more is better", for metrics whose class does not tell.
UP = ("acc", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "similarity", "true_")
DOWN = ("loss", "error", "mse", "mae", "mape", "msle", "rmse", "entropy", "divergence", "hinge", "false_", "perplexity",
        "logcosh")  # fmt: skip


def check_int(where, name, value, least):
    """`value` as an integer of at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{where}: {name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{where}: {name} must be at least {least}, got {number}")
    return number


def check_number(where, name, value, least=-math.inf, most=math.inf):
    """`value`, a finite number in [least, most]."""
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    if not (math.isfinite(value) and least <= value <= most):
        raise ValueError(f"{where}: {name} must be a number from {least} to {most}, got {value}")
    return value


class MonitorCallback(Callback):
    """Base class: whether `monitor` became better by more than `min_delta`.

    mode "min": less is better; "max": more is; "auto": told from the metric's name or class. A NaN is never better.
    """

    def __init__(self, monitor="val_loss", mode="auto", baseline=None, min_delta=0):
        super().__init__()
        where = type(self).__name__
        if not isinstance(monitor, str) or not monitor:
            raise TypeError(f"{where}: monitor must be a metric's name, got {monitor!r}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{where}: mode must be 'auto', 'min' or 'max', got {mode!r}")
        if baseline is not None:
            check_number(where, "baseline", baseline)
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(check_number(where, "min_delta", min_delta))
        self._sign = {"min": -1.0, "max": 1.0}.get(mode)
        self._seen = False

    def _direction(self):
        """1.0 when more is better, -1.0 when less is."""
        name = self.monitor.removeprefix("val_")
        if name == "loss" or name.endswith("_loss"):
            return -1.0
        for metric in getattr(self.model, "metrics", None) or []:
            direction = getattr(metric, "_direction", None)
            if getattr(metric, "name", None) == name and direction in ("up", "down"):
                return 1.0 if direction == "up" else -1.0
        if any(part in name for part in DOWN):
            return -1.0
        if any(part in name for part in UP):
            return 1.0
        raise ValueError(
            f"{type(self).__name__}: cannot tell whether {self.monitor!r} should become less or more; "
            "pass mode='min' or mode='max'"
        )

    def _current(self, logs):
        """The monitored value as a float; None on epochs without validation."""
        logs = logs or {}
        if self.monitor in logs:
            if self._sign is None:
                self._sign = self._direction()
            self._seen = True
            value = logs[self.monitor]
            if np.ndim(value):
                raise ValueError(
                    f"{type(self).__name__}: monitor must be one number, but {self.monitor!r} has shape "
                    f"{np.shape(value)}; choose a metric that averages them, such as F1Score(average='macro')"
                )
            return float(value)
        params = self.params or {}
        if self.monitor.startswith("val_") and (self._seen or params.get("validation_freq", 1) != 1):
            return None
        unvalidated = self.monitor.startswith("val_") and not any(name.startswith("val_") for name in logs)
        hint = "; pass validation_data or validation_split to fit()" if unvalidated else ""
        available = ", ".join(logs) or "none"
        raise ValueError(f"{type(self).__name__}: no metric {self.monitor!r} in the logs; there are: {available}{hint}")

    def _is_improvement(self, value, reference):
        if math.isnan(value):
            return False
        if reference is None or math.isnan(reference):
            return True
        return self._sign * value - self.min_delta > self._sign * reference


class EarlyStopping(MonitorCallback):
    """Stops a training whose `monitor` has not become better for `patience` epochs.

    `restore_best_weights` puts back the weights of the best epoch at the end, whether stopped or not. `baseline`: a
    value that has to be beaten as well. `start_from_epoch`: epochs to let pass first. After training: `best` is the
    best value, `best_epoch` its epoch and `stopped_epoch` the epoch it stopped after (0: it did not), from 0.
    """

    def __init__(self, monitor="val_loss", min_delta=0, patience=0, verbose=0, mode="auto", baseline=None,
                 restore_best_weights=False, start_from_epoch=0):  # fmt: skip
        super().__init__(monitor, mode, baseline, min_delta)
        self.patience = check_int("EarlyStopping", "patience", patience, 0)
        self.start_from_epoch = check_int("EarlyStopping", "start_from_epoch", start_from_epoch, 0)
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.best = None
        self._reset()

    def _reset(self):
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_weights = None

    def on_train_begin(self, logs=None):
        self._reset()

    def on_epoch_end(self, epoch, logs=None):
        current = self._current(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep_weights(epoch)  # should no epoch ever be better, the first is the best
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._keep_weights(epoch)
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _keep_weights(self, epoch):
        self.best_weights = [np.array(weight) for weight in self.model.get_weights()]
        self.best_epoch = epoch

    def on_train_end(self, logs=None):
        if self.stopped_epoch > 0 and self.verbose > 0:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` when `monitor` has not become better for `patience` epochs.

    Then waits `cooldown` epochs; never goes below `min_lr`. Adds "learning_rate" to the logs.
    """

    def __init__(self, monitor="val_loss", factor=0.1, patience=10, verbose=0, mode="auto", min_delta=1e-4, cooldown=0,
                 min_lr=0.0):  # fmt: skip
        super().__init__(monitor, mode, min_delta=min_delta)
        if check_number("ReduceLROnPlateau", "factor", factor, 0.0) >= 1.0:
            raise ValueError(f"ReduceLROnPlateau: factor must be in [0, 1), got {factor}")
        self.factor = factor
        self.patience = check_int("ReduceLROnPlateau", "patience", patience, 0)
        self.cooldown = check_int("ReduceLROnPlateau", "cooldown", cooldown, 0)
        self.min_lr = check_number("ReduceLROnPlateau", "min_lr", min_lr, 0.0)
        self.verbose = verbose
        self._reset()

    def _reset(self):
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def in_cooldown(self):
        return self.cooldown_counter > 0

    def on_train_begin(self, logs=None):
        self._reset()

    def on_epoch_end(self, epoch, logs=None):
        rate = float(self.model.optimizer.learning_rate)
        if logs is not None:
            logs["learning_rate"] = rate
        current = self._current(logs)
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch, rate)

    def _reduce(self, epoch, rate):
        if rate <= np.float32(self.min_lr):
            return
        lower = max(rate * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = lower
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose > 0:
            print(f"Epoch {epoch + 1}: reducing learning rate to {lower:.6g}.")


class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights alone, after epochs or every `save_freq` batches.

    `filepath` may hold {epoch} (from 1), {batch} and any metric: "model-{epoch:02d}-{val_loss:.3f}.safetensors",
    and ends in .safetensors or .npz.
    `save_best_only` writes only when `monitor` became better (than `initial_value_threshold`, where given).
    A file is written whole or not at all.
    """

    def __init__(self, filepath, monitor="val_loss", verbose=0, save_best_only=False, save_weights_only=False,
                 mode="auto", save_freq="epoch", initial_value_threshold=None):  # fmt: skip
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath = os.fspath(filepath)
        if not self.filepath:
            raise ValueError("ModelCheckpoint: filepath is empty")
        if not self.filepath.endswith((".safetensors", ".npz")):
            raise ValueError(f"ModelCheckpoint: filepath must end in .safetensors or .npz, got {self.filepath!r}")
        if save_freq != "epoch":
            check_int("ModelCheckpoint", "save_freq", save_freq, 1)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._epoch = 0
        self._batches = 0

    def needs_batches(self, mode):
        return mode == "train" and self.save_freq != "epoch"

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= self.save_freq:
            self._batches = 0
            self._save(self._epoch, batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            self._save(epoch, None, logs)

    def _save(self, epoch, batch, logs):
        logs = logs or {}
        if self.save_best_only:
            current = self._current(logs)
            if current is None or not self._is_improvement(current, self.best):
                return
            before, self.best = self.best, current
        path = self._path(epoch, batch, logs)
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        if self.verbose > 0:
            reason = ""
            if self.save_best_only:
                start = "none" if before is None else f"{before:.5f}"
                reason = f"{self.monitor} improved from {start} to {self.best:.5f}, "
            print(f"Epoch {epoch + 1}: {reason}saving model to {path}")

    def _path(self, epoch, batch, logs):
        fields = {"epoch": epoch + 1, **logs}
        if batch is not None:
            fields["batch"] = batch + 1
        try:
            return self.filepath.format(**fields)
        except (KeyError, IndexError, ValueError) as error:
            wanted = ", ".join(re.findall(r"{(\w+)", self.filepath))
            raise ValueError(
                f"ModelCheckpoint: cannot fill in filepath {self.filepath!r} (fields {wanted}) from "
                f"{', '.join(fields)}: {error}"
            ) from None
