"""fastnn and, by the same code, Keras itself: fit over all the data, train_on_batch, predict_on_batch, predict."""

import importlib
import os

import numpy as np

from .workloads import NORM_EPSILON

NAME = os.environ.get("BENCH_KERAS_MODULE", "fastnn")
keras = importlib.import_module(NAME)


def build(w):
    layer, x = keras.layers, keras.Input(w.inputs)
    inputs = x
    for stage in w.stages:
        kind = stage[0]
        if kind == "dense":
            x = layer.Dense(stage[1], activation=stage[2])(x)
        elif kind == "conv":
            x = layer.Conv2D(stage[1], stage[2], padding=stage[3], activation=stage[4])(x)
        elif kind == "maxpool":
            x = layer.MaxPooling2D()(x)
        elif kind == "flatten":
            x = layer.Flatten()(x)
        elif kind == "average":
            x = layer.GlobalAveragePooling2D()(x)
        elif kind == "norm_conv":
            x = layer.ReLU()(norm_conv(x, *stage[1:]))
        elif kind == "block":
            _, filters, strides = stage
            y = norm_conv(layer.ReLU()(norm_conv(x, filters, strides)), filters, 1)
            if strides > 1:
                x = shortcut(x, filters, strides)
            x = layer.ReLU()(layer.Add()([x, y]))
        else:
            x = {"rnn": layer.SimpleRNN, "lstm": layer.LSTM, "gru": layer.GRU}[kind](stage[1])(x)
    model = keras.Model(inputs, x)
    for variable, value in zip(model.trainable_variables, w.weights, strict=True):
        variable.assign(value)
    return model


def norm_conv(x, filters, strides):
    x = keras.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=NORM_EPSILON)(x)


def shortcut(x, filters, strides):
    """Every second pixel, and zeros for the new channels."""
    if hasattr(keras.applications, "IdentityShortcut"):
        return keras.applications.IdentityShortcut(filters, strides)(x)
    x = x[:, ::strides, ::strides]
    return keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, filters - x.shape[-1]]])


class Fit:
    """Whole epochs by one call of fit, in the order of the data."""

    precision = None  # of matrix products, fastnn's alone; or the policy mixed_bfloat16

    def __init__(self, w):
        mixed = self.precision == "mixed_bfloat16"
        if mixed:
            keras.config.set_dtype_policy(self.precision)
        self.w, self.granule, self.model = w, w.batches, build(w)
        kind, rate = w.optimizer
        if kind == "adam":
            optimizer = keras.optimizers.Adam(rate)
        else:
            momentum = 0.9 if kind == "momentum" else 0.0
            optimizer = keras.optimizers.SGD(rate, momentum=momentum, weight_decay=w.decay or None)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if w.loss == "softmax" else "mse"
        level = {} if mixed or not self.precision else {"matmul_precision": self.precision}
        self.model.compile(optimizer=optimizer, loss=loss, **level)

    def run(self, steps):
        w = self.w
        epochs = steps // w.batches
        self.model.fit(w.flat_x, w.flat_y, batch_size=w.batch, epochs=epochs, shuffle=False, verbose=0)

    def weights(self):
        return [np.asarray(v) for v in self.model.trainable_variables]


class TrainOnBatch(Fit):
    def __init__(self, w):
        super().__init__(w)
        self.granule = 1

    def run(self, steps):
        call, x, y, batches = self.model.train_on_batch, self.w.x, self.w.y, self.w.batches
        for i in range(steps):
            call(x[i % batches], y[i % batches])


class PredictOnBatch:
    def __init__(self, w):
        self.w, self.model = w, build(w)

    def run(self, steps):
        call, x, batches = self.model.predict_on_batch, self.w.x, self.w.batches
        for i in range(steps):
            call(x[i % batches])

    def output(self):
        return np.asarray(self.model.predict_on_batch(self.w.x[0]))


class Predict(PredictOnBatch):
    """One predict over the whole data set, at this batch size."""

    def __init__(self, w):
        super().__init__(w)
        self.granule = w.batches

    def run(self, steps):
        for _ in range(steps // self.granule):
            self.model.predict(self.w.flat_x, batch_size=self.w.batch, verbose=0)


def variants(w):
    if w.inference:
        return {"predict_on_batch": PredictOnBatch, "predict": Predict}
    lower = {}
    if NAME == "fastnn":
        for level in ("medium", "high", "highest_split", "mixed_bfloat16"):
            lower[f"fit-{level}"] = type("FitLower", (Fit,), {"precision": level})
    return {"fit": Fit, "train_on_batch": TrainOnBatch, **lower}


def threads(n):
    if hasattr(keras, "set_num_threads"):
        keras.set_num_threads(n)
