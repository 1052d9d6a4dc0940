"""Callbacks that steer a training: LearningRateScheduler, TerminateOnNaN, BackupAndRestore."""

import inspect
import json
import math
import os
import shutil

import numpy as np

from fastnn.callbacks.base import Callback
from fastnn.callbacks.monitors import check_int
from fastnn.saving.files import atomic_write
from fastnn.utils import seeding


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch to schedule(epoch, rate) or schedule(epoch), epochs from 0.

    Adds "learning_rate" to the logs.
    """

    def __init__(self, schedule, verbose=0):
        super().__init__()
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler: schedule must be a function, got {type(schedule).__name__}")
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes(schedule, 2)

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = self.model.optimizer
        rate = float(optimizer.learning_rate)
        rate = self.schedule(epoch, rate) if self._takes_rate else self.schedule(epoch)
        if not isinstance(rate, (int, float, np.number)) or isinstance(rate, bool):
            raise TypeError(f"LearningRateScheduler: schedule must return a number, got {rate!r} for epoch {epoch}")
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"LearningRateScheduler: schedule returned {rate} for epoch {epoch}")
        optimizer.learning_rate = float(rate)
        if self.verbose > 0:
            print(f"Epoch {epoch + 1}: setting learning rate to {float(rate):.6g}.")

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def _takes(function, count):
    """Whether `function` can be called with `count` positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


class TerminateOnNaN(Callback):
    """Stops a training whose loss became NaN or infinite; with `raise_error` by a RuntimeError.

    The loss is looked at after each chunk of steps (some 50 ms of work), and after every batch when another callback
    wants every batch.
    """

    def __init__(self, raise_error=False):
        super().__init__()
        self.raise_error = raise_error

    def on_train_chunk_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(f"TerminateOnNaN: loss is {loss} at batch {batch}")
        if not self.model.stop_training:
            print(f"Batch {batch}: loss is {loss}, terminating training")
        self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        """For trainers that go through an epoch in one run."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            self.on_train_chunk_end(((self.params or {}).get("steps") or 1) - 1, logs)


class BackupAndRestore(Callback):
    """Keeps what is needed to go on with a training that was cut off, in `backup_dir`.

    fit() called again with the same arguments goes on after the last saved epoch; with `save_freq` a number of batches
    instead of "epoch" after the last saved batch. The training then gives the bits of one that was not cut off.
    `double_checkpoint` keeps the backup before the last one too; `delete_checkpoint` clears the folder when the
    training ends.

    Saved are the model's checkpoint (weights, optimizer slots and step, seed, sums of the running metrics, states of
    stateful layers; see `Model.save_checkpoint`) and the global seed's state; not what other callbacks remember, and
    not the History of the epochs before. Data given as an iterable of batches must give the same batches again, and its
    metrics start anew at the batch the training goes on with. The file that names the newest backup is replaced last,
    so a backup that was cut off itself is never seen.
    """

    STATE = "training_metadata.json"

    def __init__(self, backup_dir, save_freq="epoch", double_checkpoint=False, delete_checkpoint=True):
        super().__init__()
        if not backup_dir:
            raise ValueError("BackupAndRestore: backup_dir is empty")
        if save_freq != "epoch":
            check_int("BackupAndRestore", "save_freq", save_freq, 1)
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._epoch = 0
        self._batches = 0
        self._saved = 0

    def needs_batches(self, mode):
        return mode == "train" and self.save_freq != "epoch"

    @property
    def _state_path(self):
        return os.path.join(self.backup_dir, self.STATE)

    def on_train_begin(self, logs=None):
        self._epoch = self._batches = 0
        states = self._read_states()
        self._saved = max((state["number"] for state in states), default=0)
        for position, state in enumerate(states):
            path = os.path.join(self.backup_dir, state["weights"])
            try:
                getattr(self.model, "load_checkpoint", self.model.load_weights)(path)
            except (OSError, ValueError):
                if position == len(states) - 1:
                    raise
                continue  # damaged: the one before it
            seeding.set_state(state["seed"])
            self.model._initial_epoch = state["epoch"]
            self.model._initial_batch = state["batch"]
            return

    def _read_states(self):
        """The backups that exist, newest first."""
        try:
            with open(self._state_path) as file:
                states = json.load(file)
            for state in states:
                if not {"epoch", "batch", "weights", "seed", "number"} <= set(state):
                    raise ValueError("an entry is incomplete")
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"BackupAndRestore: {self._state_path} is damaged ({error}); delete {self.backup_dir} to start anew"
            ) from None
        return states

    def on_train_batch_end(self, batch, logs=None):
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= self.save_freq:
            self._batches = 0
            self._save(self._epoch, batch + 1)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def _save(self, epoch, batch):
        """Keeps the state after `epoch` whole epochs and `batch` batches."""
        os.makedirs(self.backup_dir, exist_ok=True)
        kept = self._read_states()[: 1 if self.double_checkpoint else 0]
        self._saved += 1
        name = f"backup-{self._saved:06d}.weights.safetensors"
        getattr(self.model, "save_checkpoint", self.model.save_weights)(os.path.join(self.backup_dir, name))
        state = {"epoch": epoch, "batch": batch, "weights": name, "seed": seeding.get_state(),
                 "number": self._saved}  # fmt: skip
        with atomic_write(self._state_path, "w") as file:
            json.dump([state, *kept], file)
        current = {self.STATE, name, *(old["weights"] for old in kept)}
        for old in os.listdir(self.backup_dir):
            if old.startswith("backup-") and old not in current:
                os.unlink(os.path.join(self.backup_dir, old))

    def on_train_end(self, logs=None):
        if self.delete_checkpoint and os.path.isfile(self._state_path):
            shutil.rmtree(self.backup_dir)
