"""Callbacks, against a model that only pretends to train."""

import csv
import json
import os
import sys
import types

import numpy as np
import pytest

from fastnn import callbacks as cb
from fastnn.callbacks import CallbackList
from fastnn.utils import Progbar, seeding


class Optimizer:
    learning_rate = 0.1


class Model:
    """Weights count the epochs; logs are given."""

    def __init__(self):
        self.weights = [np.zeros(2), np.zeros((1, 1))]
        self.optimizer = Optimizer()
        self.optimizer.learning_rate = 0.1
        self.stop_training = False
        self._initial_epoch = 0
        self.saved = []

    def get_weights(self):
        return self.weights  # views, so that a callback that forgets to copy is found out

    def set_weights(self, weights):
        self.weights = [np.array(weight) for weight in weights]

    def save(self, path):
        self.saved.append(path)
        np.save(path, self.weights[0])
        os.replace(f"{path}.npy", path)

    save_weights = save

    def load_weights(self, path):
        try:
            self.weights[0] = np.load(path)
        except EOFError as error:
            raise ValueError("damaged") from error


def fit(model, given, logs, epochs=None, batches=4, interrupt=None, **params):
    """What a trainer does; `logs` maps names to values, one an epoch. Epoch `interrupt` ends in KeyboardInterrupt."""
    epochs = epochs or len(next(iter(logs.values())))
    many = CallbackList(given, add_history=True, model=model, epochs=epochs, steps=batches, **{"verbose": 0, **params})
    model._initial_epoch = 0
    model.stop_training = False
    many.on_train_begin()
    last = {}
    for epoch in range(model._initial_epoch, epochs):
        many.on_epoch_begin(epoch)
        for batch in range(batches):
            if many.has_train_batch_hooks:
                many.on_train_batch_begin(batch)
            for weight in model.weights:
                weight += 1 / batches
            if many.has_train_batch_hooks:
                many.on_train_batch_end(batch, {"loss": logs["loss"][epoch]})
            else:
                many.on_train_chunk_end(batch, {"loss": logs["loss"][epoch]})
        last = {name: values[epoch] for name, values in logs.items() if values[epoch] is not None}
        many.on_epoch_end(epoch, last)
        if epoch == interrupt:
            raise KeyboardInterrupt
        if model.stop_training:
            break
    many.on_train_end(last)
    return model.history


def test_history():
    model = Model()
    history = fit(model, None, {"loss": [3.0, 2.0], "acc": [0.1, 0.2]})
    assert history.history == {"loss": [3.0, 2.0], "acc": [0.1, 0.2]} and history.epoch == [0, 1]
    assert model.history is history


def test_order_and_hooks():
    calls = []
    names = ("on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end", "on_train_end")
    given = cb.LambdaCallback(**{name: lambda *a, name=name, **k: calls.append(name) for name in names})
    fit(Model(), [given], {"loss": [1.0]}, batches=2)
    assert calls == ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_train_batch_end", "on_epoch_end",
                     "on_train_end"]  # fmt: skip


def test_who_needs_batches():
    class Batches(cb.Callback):
        def on_batch_end(self, batch, logs=None):
            pass

    class Tests(cb.Callback):
        def on_test_batch_end(self, batch, logs=None):
            pass

    quiet = [cb.EarlyStopping(), cb.ModelCheckpoint("x.npz"), cb.CSVLogger("x"), cb.TerminateOnNaN(),
             cb.ProgbarLogger(), cb.History(), cb.BackupAndRestore("x"),
             cb.LambdaCallback(on_epoch_end=print)]  # fmt: skip
    assert not CallbackList(quiet).has_train_batch_hooks
    loud = [Batches(), cb.ModelCheckpoint("x.npz", save_freq=3), cb.BackupAndRestore("x", save_freq=3),
            cb.LambdaCallback(on_train_batch_begin=print)]  # fmt: skip
    for one in loud:
        assert CallbackList([*quiet, one]).has_train_batch_hooks
    assert CallbackList([Tests()]).has_test_batch_hooks and not CallbackList([Tests()]).has_train_batch_hooks
    assert not CallbackList([Tests()]).has_predict_batch_hooks


def test_wrong_callbacks():
    with pytest.raises(TypeError, match=r"got the class EarlyStopping; write EarlyStopping\(\)"):
        CallbackList([cb.EarlyStopping])
    with pytest.raises(TypeError, match="got 3 of type int"):
        CallbackList([[cb.History()], 3])
    with pytest.raises(TypeError, match="no hook 'on_nothing'"):
        cb.LambdaCallback(on_nothing=print)


def test_early_stopping_stops_and_restores(capsys):
    model = Model()
    stop = cb.EarlyStopping(patience=2, restore_best_weights=True, verbose=1)
    history = fit(model, [stop], {"loss": [1.0] * 6, "val_loss": [3.0, 1.0, 2.0, 2.0, 0.5, 0.1]})
    assert history.epoch == [0, 1, 2, 3]
    assert (stop.stopped_epoch, stop.best, stop.best_epoch) == (3, 1.0, 1)
    assert model.weights[0].tolist() == [2.0, 2.0]  # as they were after epoch 1
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 4: early stopping",
        "Restoring model weights from the end of the best epoch: 2.",
    ]


def test_early_stopping_restores_when_not_stopped():
    model = Model()
    fit(
        model, [cb.EarlyStopping(patience=9, restore_best_weights=True)], {"loss": [1] * 3, "val_loss": [1.0, 2.0, 3.0]}
    )
    assert model.weights[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "options, values, epochs",
    [
        ({"mode": "max"}, [1.0, 2.0, 1.0], 3),
        ({"min_delta": 0.5}, [3.0, 2.9, 2.8], 2),
        ({"min_delta": -0.5}, [3.0, 2.9, 2.8], 2),
        ({"baseline": 1.0, "patience": 2}, [3.0, 3.0, 3.0, 0.5], 2),
        ({"start_from_epoch": 2}, [1.0, 2.0, 3.0, 4.0, 5.0], 4),
        ({}, [float("nan"), 2.0, 1.0, 1.5, 0.5], 4),
        ({"patience": 1}, [float("nan"), 2.0, 1.0, 1.5], 4),
    ],
)
def test_early_stopping_semantics(options, values, epochs):
    history = fit(Model(), [cb.EarlyStopping("loss", **options)], {"loss": values})
    assert len(history.epoch) == epochs


def test_early_stopping_can_be_used_again():
    stop = cb.EarlyStopping("loss", patience=1)
    for _ in range(2):
        assert len(fit(Model(), [stop], {"loss": [1.0, 2.0, 3.0]}).epoch) == 2


def test_unknown_monitor():
    with pytest.raises(ValueError, match=r"no metric 'val_loss' in the logs; there are: loss, acc; pass val"):
        fit(Model(), [cb.EarlyStopping()], {"loss": [1.0], "acc": [1.0]})
    with pytest.raises(ValueError, match="no metric 'f1' in the logs; there are: loss"):
        fit(Model(), [cb.EarlyStopping("f1")], {"loss": [1.0]})
    with pytest.raises(ValueError, match="no metric 'val_los' in the logs; there are: loss"):
        fit(Model(), [cb.EarlyStopping("val_los")], {"loss": [1.0]})
    with pytest.raises(ValueError, match="cannot tell whether 'wobble' should become less or more"):
        fit(Model(), [cb.EarlyStopping("wobble")], {"loss": [1.0], "wobble": [1.0]})
    with pytest.raises(ValueError, match=r"must be one number, but 'f1_score' has shape \(3,\); choose a metric that"):
        fit(Model(), [cb.EarlyStopping("f1_score")], {"loss": [1.0], "f1_score": [np.ones(3)]})


def test_rare_validation():
    logs = {"loss": [1.0] * 6, "val_loss": [None, 2.0, None, 3.0, None, 1.0]}
    assert len(fit(Model(), [cb.EarlyStopping()], logs, validation_freq=2).epoch) == 4


@pytest.mark.parametrize(
    "name, direction", [("val_accuracy", 1), ("auc", 1), ("mae", -1), ("val_mean_squared_error", -1), ("out_loss", -1)]
)
def test_directions(name, direction):
    watch = cb.EarlyStopping(name)
    assert watch._direction() == direction


def test_direction_of_the_metric_itself():
    class Metric:
        name, _direction = "wobble", "up"

    model = Model()
    model.metrics = [Metric()]
    watch = cb.EarlyStopping("val_wobble")
    watch.set_model(model)
    assert watch._direction() == 1


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: cb.EarlyStopping(patience=-1), ValueError, "EarlyStopping: patience must be at least 0, got -1"),
        (lambda: cb.EarlyStopping(patience=1.5), TypeError, "patience must be an integer, got 1.5"),
        (lambda: cb.EarlyStopping(mode="up"), ValueError, "mode must be 'auto', 'min' or 'max', got 'up'"),
        (lambda: cb.EarlyStopping(monitor=None), TypeError, "monitor must be a metric's name"),
        (lambda: cb.EarlyStopping(min_delta="x"), TypeError, "min_delta must be a number"),
        (lambda: cb.ReduceLROnPlateau(factor=1.0), ValueError, r"factor must be in \[0, 1\), got 1.0"),
        (lambda: cb.ReduceLROnPlateau(factor=-1), ValueError, "factor"),
        (lambda: cb.ReduceLROnPlateau(cooldown=-1), ValueError, "cooldown"),
        (lambda: cb.ModelCheckpoint(""), ValueError, "filepath is empty"),
        (lambda: cb.ModelCheckpoint("a.h5"), ValueError, "filepath must end in .safetensors or .npz, got 'a.h5'"),
        (lambda: cb.ModelCheckpoint("a.npz", save_freq=0), ValueError, "save_freq must be at least 1"),
        (lambda: cb.ModelCheckpoint("a.npz", save_freq="batch"), TypeError, "save_freq must be an integer"),
        (lambda: cb.BackupAndRestore(""), ValueError, "backup_dir is empty"),
        (lambda: cb.LearningRateScheduler(3), TypeError, "schedule must be a function"),
        (lambda: cb.CSVLogger("a", ""), ValueError, "separator must be one character"),
    ],
)
def test_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_reduce_on_plateau(capsys):
    model = Model()
    watch = cb.ReduceLROnPlateau("loss", factor=0.5, patience=2, cooldown=1, min_lr=0.03, verbose=1)
    history = fit(model, [watch], {"loss": [1.0] * 9})
    rates = history.history["learning_rate"]
    assert rates == [0.1, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03]
    assert capsys.readouterr().out.splitlines()[0] == "Epoch 3: reducing learning rate to 0.05."


def test_learning_rate_scheduler():
    model = Model()
    history = fit(model, [cb.LearningRateScheduler(lambda epoch, rate: rate / 2)], {"loss": [1.0] * 2})
    assert history.history["learning_rate"] == [0.05, 0.025]
    fit(model, [cb.LearningRateScheduler(lambda epoch: 1.0 + epoch)], {"loss": [1.0] * 2})
    assert model.optimizer.learning_rate == 2.0
    with pytest.raises(TypeError, match="must return a number, got None for epoch 0"):
        fit(model, [cb.LearningRateScheduler(lambda epoch: None)], {"loss": [1.0]})
    with pytest.raises(ValueError, match="returned nan"):
        fit(model, [cb.LearningRateScheduler(lambda epoch: np.nan)], {"loss": [1.0]})


def test_terminate_on_nan(capsys):
    model = Model()
    assert len(fit(model, [cb.TerminateOnNaN()], {"loss": [1.0, np.inf, 1.0]}).epoch) == 2
    assert capsys.readouterr().out == "Batch 0: loss is inf, terminating training\n"
    with pytest.raises(RuntimeError, match="loss is nan at batch 0"):
        fit(model, [cb.TerminateOnNaN(raise_error=True)], {"loss": [np.nan]})
    with pytest.raises(RuntimeError, match="loss is nan at batch 3"):  # an epoch in one run: its last batch
        cb_list = cb.CallbackList(cb.TerminateOnNaN(raise_error=True), model=model, steps=4)
        cb_list.on_epoch_end(0, {"loss": np.nan})


def test_checkpoint_names_and_best(tmp_path, capsys):
    model = Model()
    path = tmp_path / "new" / "m-{epoch:02d}-{val_loss:.1f}.npz"
    keep = cb.ModelCheckpoint(path, save_best_only=True, verbose=1)
    fit(model, [keep], {"loss": [1] * 4, "val_loss": [3.0, 2.0, 2.5, 1.0]})
    assert sorted(os.listdir(tmp_path / "new")) == ["m-01-3.0.npz", "m-02-2.0.npz", "m-04-1.0.npz"]
    assert keep.best == 1.0
    assert f"Epoch 2: val_loss improved from 3.00000 to 2.00000, saving model to {tmp_path}" in capsys.readouterr().out


def test_checkpoint_threshold_and_batches(tmp_path):
    model = Model()
    keep = cb.ModelCheckpoint(tmp_path / "a.npz", "loss", save_best_only=True, initial_value_threshold=1.5)
    fit(model, [keep], {"loss": [2.0, 1.0]})
    assert len(model.saved) == 1
    model.saved.clear()
    keep = cb.ModelCheckpoint(tmp_path / "{epoch}-{batch}.npz", save_freq=3, save_weights_only=True)
    fit(model, [keep], {"loss": [1.0, 1.0]}, batches=4)
    assert [os.path.basename(path) for path in model.saved] == ["1-3.npz", "2-2.npz"]


def test_checkpoint_unknown_field(tmp_path):
    with pytest.raises(ValueError, match=r"cannot fill in filepath .* \(fields f1\) from epoch, loss"):
        fit(Model(), [cb.ModelCheckpoint(tmp_path / "{f1}.npz")], {"loss": [1.0]})


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    fit(Model(), [cb.CSVLogger(path)], {"loss": [1.0, 2.0]})
    assert rows(path) == [["epoch", "loss"], ["0", "1.0"], ["1", "2.0"]]
    fit(Model(), [cb.CSVLogger(path, append=True)], {"loss": [3.0]})
    assert rows(path)[3:] == [["0", "3.0"]]
    with pytest.raises(ValueError, match="has columns epoch, loss, not 'acc'"):
        fit(Model(), [one := cb.CSVLogger(path, append=True)], {"loss": [3.0], "acc": [1.0]})
    one.on_train_end()


def test_csv_logger_of_a_metric_of_several_numbers(tmp_path):
    fit(Model(), [cb.CSVLogger(tmp_path / "a")], {"loss": [1.0], "f1_score": [np.arange(30) / 4]})
    assert rows(tmp_path / "a")[1] == ["0", "1.0", str([j / 4 for j in range(30)])]


def test_csv_logger_rare_validation(tmp_path):
    logs = {"loss": [1.0, 2.0], "val_loss": [None, 3.0]}
    fit(Model(), [cb.CSVLogger(tmp_path / "a")], logs, validation_freq=2)
    assert rows(tmp_path / "a") == [["epoch", "loss", "val_loss"], ["0", "1.0", "NA"], ["1", "2.0", "3.0"]]


@pytest.mark.parametrize("double", [False, True])
def test_backup_and_restore(tmp_path, double):
    folder = tmp_path / "backup"
    seeding.set_random_seed(3)
    with pytest.raises(KeyboardInterrupt):
        fit(Model(), [cb.BackupAndRestore(folder, double_checkpoint=double)], {"loss": [1.0] * 5}, interrupt=2)
    expected = seeding.next_seed()
    assert len(os.listdir(folder)) == (3 if double else 2)
    model = Model()
    history = fit(model, [cb.BackupAndRestore(folder, delete_checkpoint=False)], {"loss": [1.0] * 3}, epochs=3)
    assert history.epoch == [] and model.weights[0].tolist() == [3.0, 3.0]
    assert seeding.next_seed() == expected
    history = fit(model, [cb.BackupAndRestore(folder)], {"loss": [1.0] * 5})
    assert history.epoch == [3, 4] and not folder.exists()


def test_backup_survives_damage(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(Model(), [cb.BackupAndRestore(tmp_path, double_checkpoint=True)], {"loss": [1.0] * 5}, interrupt=2)
    newest = json.loads((tmp_path / "training_metadata.json").read_text())[0]["weights"]
    (tmp_path / newest).write_bytes(b"")
    assert fit(Model(), [cb.BackupAndRestore(tmp_path)], {"loss": [1.0] * 5}).epoch == [2, 3, 4]
    os.makedirs(tmp_path)
    (tmp_path / "training_metadata.json").write_text("[{}]")
    with pytest.raises(ValueError, match=r"is damaged .* delete"):
        fit(Model(), [cb.BackupAndRestore(tmp_path)], {"loss": [1.0] * 5})


def test_backup_within_an_epoch(tmp_path):
    model = Model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, [cb.BackupAndRestore(tmp_path, save_freq=3)], {"loss": [1.0] * 2}, interrupt=0)
    assert fit(Model(), [cb.BackupAndRestore(tmp_path)], {"loss": [1.0] * 2}).epoch == [0, 1]


def test_backup_leaves_other_folders_alone(tmp_path):
    (tmp_path / "mine").write_text("")
    one = cb.BackupAndRestore(tmp_path)
    one.set_model(Model())
    one.on_train_end()
    assert (tmp_path / "mine").exists()


def test_tensorboard_missing():
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install tensorboardX"):
            cb.TensorBoard()


def test_tensorboard(monkeypatch, tmp_path):
    seen = {}

    class SummaryWriter:
        def __init__(self, folder):
            self.run = os.path.basename(folder)

        def add_scalar(self, tag, value, epoch):
            seen[self.run, tag, epoch] = float(value)

        def flush(self):
            pass

        close = flush

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    fit(Model(), [cb.TensorBoard(tmp_path)], {"loss": [1.0, 2.0], "val_f1": [np.array([3.0, 4.0]), None]})
    assert seen == {
        ("train", "epoch_loss", 0): 1.0, ("train", "epoch_loss", 1): 2.0,
        ("validation", "epoch_f1_0", 0): 3.0, ("validation", "epoch_f1_1", 0): 4.0,
    }  # fmt: skip


class Terminal:
    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("verbose", ["auto", 1, 2])
def test_progress_in_a_file_is_one_line_an_epoch(monkeypatch, verbose):
    monkeypatch.setattr(sys, "stdout", out := Terminal(False))
    fit(Model(), [cb.ProgbarLogger()], {"loss": [1.0, 2e-5]}, verbose=verbose)
    lines = out.text.splitlines()
    assert len(lines) == 2 and lines[0].startswith("Epoch 1/2 - ") and lines[0].endswith(" - loss: 1.0000")
    assert lines[1].endswith(" - loss: 2.0000e-05") and "\r" not in out.text


def test_progress_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", out := Terminal(True))
    fit(Model(), [cb.ProgbarLogger()], {"loss": [1.0], "acc": [0.5]}, verbose="auto")
    assert "1/4 [=====...............]" in out.text
    assert out.text.count("\n") == 2 and "loss: 1.0000 - acc: 0.5000\n" in out.text
    out.text = ""
    fit(Model(), [cb.ProgbarLogger()], {"loss": [1.0]}, verbose=2)
    assert "\r" not in out.text and out.text.count("\n") == 1
    out.text = ""
    fit(Model(), [cb.ProgbarLogger()], {"loss": [1.0]}, verbose=0)
    assert out.text == ""


def test_progress_of_evaluation(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := Terminal(False))
    many = CallbackList([cb.ProgbarLogger()], model=Model(), steps=3, verbose=1)
    many.on_test_begin()
    many.on_test_chunk_end(1, {"loss": 2.0})
    many.on_test_end({"loss": 3.0})
    assert out.text.count("\n") == 1 and out.text.endswith(" - loss: 3.0000\n")


def test_progbar():
    out = Terminal(False)
    bar = Progbar(10, stream=out)
    bar.update(4, [("loss", 1.0)])
    bar.add(6, [("loss", 2.0)])
    assert out.text.count("\n") == 1 and "loss: 1.6000" in out.text
    out = Terminal(False)
    Progbar(None, stream=out, verbose=0).add(3)
    assert out.text == ""
