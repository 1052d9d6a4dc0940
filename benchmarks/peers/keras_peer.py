"""fastnn and, by the same code, Keras itself: fit over all the data, train_on_batch, predict_on_batch, predict."""

import importlib
import os

import numpy as np

NAME = os.environ.get("BENCH_KERAS_MODULE", "fastnn")
keras = importlib.import_module(NAME)


def build(w):
    layers = [keras.Input(w.inputs)]
    for stage in w.stages:
        kind = stage[0]
        if kind == "dense":
            layers.append(keras.layers.Dense(stage[1], activation=stage[2]))
        elif kind == "conv":
            layers.append(keras.layers.Conv2D(stage[1], stage[2], padding=stage[3], activation=stage[4]))
        elif kind == "maxpool":
            layers.append(keras.layers.MaxPooling2D())
        elif kind == "flatten":
            layers.append(keras.layers.Flatten())
        else:
            layers.append(
                {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[kind](stage[1])
            )
    model = keras.Sequential(layers)
    model.set_weights(w.weights)
    return model


class Fit:
    """Whole epochs by one call of fit, in the order of the data."""

    def __init__(self, w):
        self.w, self.granule, self.model = w, w.batches, build(w)
        kind, rate = w.optimizer
        if kind == "adam":
            optimizer = keras.optimizers.Adam(rate)
        else:
            optimizer = keras.optimizers.SGD(rate, momentum=0.9 if kind == "momentum" else 0.0)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if w.loss == "softmax" else "mse"
        self.model.compile(optimizer=optimizer, loss=loss)

    def run(self, steps):
        w = self.w
        epochs = steps // w.batches
        self.model.fit(w.flat_x, w.flat_y, batch_size=w.batch, epochs=epochs, shuffle=False, verbose=0)

    def weights(self):
        return self.model.get_weights()


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
    return {"fit": Fit, "train_on_batch": TrainOnBatch}


def threads(n):
    if hasattr(keras, "set_num_threads"):
        keras.set_num_threads(n)
