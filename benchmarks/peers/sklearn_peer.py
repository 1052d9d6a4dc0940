"""scikit-learn's MLP: one epoch over the data set by a partial_fit, which is its fastest way."""

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor


class Epoch:
    def __init__(self, w):
        self.w, self.granule = w, w.batches
        kind, rate = w.optimizer
        if w.loss == "mse" and kind != "adam":
            rate *= 2  # its squared error carries a factor of one half
        options = {
            "hidden_layer_sizes": tuple(s[1] for s in w.stages[:-1]),
            "activation": w.stages[0][2],
            "solver": "adam" if kind == "adam" else "sgd",
            "learning_rate_init": rate,
            "momentum": 0.9 if kind == "momentum" else 0.0,
            "nesterovs_momentum": False,
            "alpha": 0.0,
            "epsilon": 1e-7,
            "batch_size": w.batch,
            "shuffle": False,
        }
        self.model = (MLPClassifier if w.loss == "softmax" else MLPRegressor)(**options)
        self.y = w.flat_y if w.loss == "softmax" else w.flat_y.ravel()
        self.extra = {"classes": np.arange(w.stages[-1][1])} if w.loss == "softmax" else {}
        self.run(w.batches)
        for mine, start in zip((p for pair in self.pairs() for p in pair), w.weights, strict=True):
            mine[...] = start
        del self.model._optimizer  # built anew, with empty moments, by the next call

    def pairs(self):
        return zip(self.model.coefs_, self.model.intercepts_, strict=True)

    def run(self, steps):
        for _ in range(steps // self.granule):
            self.model.partial_fit(self.w.flat_x, self.y, **self.extra)

    def weights(self):
        return [p for pair in self.pairs() for p in pair]


def variants(w):
    same = len({s[2] for s in w.stages[:-1]}) == 1
    return {"epoch": Epoch} if w.dense and same and not w.inference else {}
