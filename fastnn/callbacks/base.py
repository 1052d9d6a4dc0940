"""Callback, the list that a trainer calls, History and LambdaCallback.

What a trainer does with a list:

    callbacks = CallbackList(given, add_history=True, add_progbar=verbose != 0, model=model,
                             epochs=..., steps=..., verbose=..., metrics=[...], validation_freq=...)
    callbacks.on_train_begin()
    for epoch in range(model._initial_epoch or initial_epoch, epochs):     # BackupAndRestore sets it
        callbacks.on_epoch_begin(epoch)
        if callbacks.has_train_batch_hooks:       on_train_batch_begin and _end around every batch
        else:                                     on_train_chunk_end(last batch, logs so far) after each run of steps
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training: break
    callbacks.on_train_end(logs)

`has_train_batch_hooks` tells whether any callback asks for every single batch; when none does, the trainer may run
whole stretches of an epoch in C. `on_train_chunk_end` (fastnn's own) is for callbacks that only look in now and then,
such as a progress bar. The same holds for test and predict.
"""

MODES = ("train", "test", "predict")


class Callback:
    """Base class; override what you need.

    `self.model` is the model, `self.params` what the trainer told. `logs` of an epoch's end hold the metrics, those of
    validation with the prefix "val_".
    """

    def __init__(self):
        self.params = {}
        self._model = None

    def set_params(self, params):
        self.params = params

    def set_model(self, model):
        self._model = model

    @property
    def model(self):
        return self._model

    def on_epoch_begin(self, epoch, logs=None):
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch, logs=None):
        """After an epoch and its validation."""

    def on_batch_begin(self, batch, logs=None):
        """Older name of `on_train_batch_begin`."""

    def on_batch_end(self, batch, logs=None):
        """Older name of `on_train_batch_end`."""

    def on_train_batch_begin(self, batch, logs=None):
        """Before a training step."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch, logs=None):
        """After a training step; logs hold the metrics of the epoch so far."""
        self.on_batch_end(batch, logs=logs)

    def on_test_batch_begin(self, batch, logs=None):
        """Before a batch of evaluation or validation."""

    def on_test_batch_end(self, batch, logs=None):
        """After a batch of evaluation or validation."""

    def on_predict_batch_begin(self, batch, logs=None):
        """Before a batch of prediction."""

    def on_predict_batch_end(self, batch, logs=None):
        """After a batch of prediction."""

    def on_train_chunk_end(self, batch, logs=None):
        """After some training steps, `batch` being the last: as often as the trainer comes up for air."""

    def on_test_chunk_end(self, batch, logs=None):
        """After some batches of evaluation."""

    def on_predict_chunk_end(self, batch, logs=None):
        """After some batches of prediction."""

    def on_train_begin(self, logs=None):
        """Before the first epoch."""

    def on_train_end(self, logs=None):
        """After the last epoch."""

    def on_test_begin(self, logs=None):
        """Before evaluation or validation."""

    def on_test_end(self, logs=None):
        """After evaluation or validation."""

    def on_predict_begin(self, logs=None):
        """Before prediction."""

    def on_predict_end(self, logs=None):
        """After prediction."""

    def needs_batches(self, mode):
        """Whether this callback wants to be called around every single batch of "train", "test" or "predict"."""
        names = [f"on_{mode}_batch_begin", f"on_{mode}_batch_end"]
        if mode == "train":
            names += ["on_batch_begin", "on_batch_end"]
        return any(_overrides(self, name) for name in names)


def _overrides(callback, name):
    method = getattr(callback, name, None)
    return method is not None and getattr(method, "__func__", method) is not getattr(Callback, name)


def check_callback(callback):
    if isinstance(callback, type):
        raise TypeError(f"callbacks: expected objects, got the class {callback.__name__}; write {callback.__name__}()")
    if not isinstance(callback, Callback):
        raise TypeError(
            f"callbacks: expected fastnn.callbacks.Callback objects, got {callback!r} of type {type(callback).__name__}"
        )
    return callback


def _flatten(callbacks):
    if callbacks is None:
        return []
    if isinstance(callbacks, (list, tuple)):
        return [one for item in callbacks for one in _flatten(item)]
    return [check_callback(callbacks)]


class CallbackList:
    """Calls a list of callbacks as one; see the head of this file."""

    def __init__(self, callbacks=None, add_history=False, add_progbar=False, model=None, **params):
        from fastnn.callbacks.logging import ProgbarLogger

        self.callbacks = _flatten(callbacks)
        self.model = None
        self.params = {}
        if add_history and not any(isinstance(callback, History) for callback in self.callbacks):
            self.callbacks.append(History())
        if add_progbar and not any(isinstance(callback, ProgbarLogger) for callback in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def append(self, callback):
        self.callbacks.append(check_callback(callback))

    @property
    def history(self):
        """The list's `History`, or None."""
        return next((callback for callback in self.callbacks if isinstance(callback, History)), None)

    def set_params(self, params):
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model):
        self.model = model
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    @property
    def has_train_batch_hooks(self):
        """Whether any callback wants every training batch."""
        return any(callback.needs_batches("train") for callback in self.callbacks)

    @property
    def has_test_batch_hooks(self):
        return any(callback.needs_batches("test") for callback in self.callbacks)

    @property
    def has_predict_batch_hooks(self):
        return any(callback.needs_batches("predict") for callback in self.callbacks)

    def _each(self, hook, *arguments):
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)

    def on_epoch_begin(self, epoch, logs=None):
        self._each("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._each("on_epoch_end", epoch, {} if logs is None else logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._each("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._each("on_train_batch_end", batch, logs)
        self._each("on_train_chunk_end", batch, logs)

    def on_train_chunk_end(self, batch, logs=None):
        self._each("on_train_chunk_end", batch, logs)

    def on_test_batch_begin(self, batch, logs=None):
        self._each("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self._each("on_test_batch_end", batch, logs)
        self._each("on_test_chunk_end", batch, logs)

    def on_test_chunk_end(self, batch, logs=None):
        self._each("on_test_chunk_end", batch, logs)

    def on_predict_batch_begin(self, batch, logs=None):
        self._each("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch, logs=None):
        self._each("on_predict_batch_end", batch, logs)
        self._each("on_predict_chunk_end", batch, logs)

    def on_predict_chunk_end(self, batch, logs=None):
        self._each("on_predict_chunk_end", batch, logs)

    def on_train_begin(self, logs=None):
        self._each("on_train_begin", logs)

    def on_train_end(self, logs=None):
        self._each("on_train_end", logs)

    def on_test_begin(self, logs=None):
        self._each("on_test_begin", logs)

    def on_test_end(self, logs=None):
        self._each("on_test_end", logs)

    def on_predict_begin(self, logs=None):
        self._each("on_predict_begin", logs)

    def on_predict_end(self, logs=None):
        self._each("on_predict_end", logs)


class History(Callback):
    """What fit() returns: `history` maps each metric to its values, one an epoch; `epoch` lists the epochs."""

    def __init__(self):
        super().__init__()
        self.history = {}
        self.epoch = []

    def on_train_begin(self, logs=None):
        self.epoch = []
        self.history = {}

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        if self.model is not None and getattr(self.model, "history", None) is not self:
            self.model.history = self

    def plot(self, path=None, title=None):
        """Draws the learning curves (see `fastnn.utils.plot_history`); returns the matplotlib figure."""
        from fastnn.utils.plot import plot_history

        return plot_history(self, path, title)


class LambdaCallback(Callback):
    """A callback of functions: `LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))`."""

    def __init__(self, on_epoch_begin=None, on_epoch_end=None, on_train_begin=None, on_train_end=None,
                 on_train_batch_begin=None, on_train_batch_end=None, **kwargs):  # fmt: skip
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, function in hooks.items():
            if not hasattr(Callback, name) or not name.startswith("on_"):
                raise TypeError(f"LambdaCallback: there is no hook {name!r}")
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"LambdaCallback: {name} must be callable, got {type(function).__name__}")
            setattr(self, name, function)
