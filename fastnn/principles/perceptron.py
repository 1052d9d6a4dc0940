"""Rosenblatt's perceptron and its learning rule."""

import numpy as np


class Perceptron:
    """y = 1 where w . x + b >= 0, else 0 (Rosenblatt 1958).

    The learning rule adds a misclassified sample of class 1 to w (and 1 to b) and subtracts one of class 0. With R the
    largest norm of a sample (with the 1 for b) and gamma the margin of some separating unit vector it makes at most
    (R / gamma)^2 mistakes (Novikoff 1962); on classes that no plane separates it never ends.

    After `fit`: `weights` (features,), `bias`, `mistakes` (updates made), `converged`, `errors` (wrong samples before
    each pass), `path` (updates + 1, features + 1: w and b after each update).
    """

    def __init__(self):
        self.weights, self.bias = None, 0.0
        self.mistakes, self.converged, self.errors, self.path = 0, False, [], None

    def fit(self, x, y, passes=1000):
        """Goes round the samples x (rows, features) with classes y (rows,) of 0 and 1, correcting each mistake as it
        is met, until a pass makes none or `passes` are over. Returns itself."""
        x, y = np.asarray(x, np.float64), np.asarray(y).reshape(-1)
        if x.ndim != 2 or len(x) != len(y) or len(x) == 0:
            raise ValueError(f"Perceptron.fit: x must be (rows, features) with a class a row, got {x.shape}, {y.shape}")
        if not np.isin(y, (0, 1)).all() or not np.isfinite(x).all():
            raise ValueError("Perceptron.fit: y must be 0 or 1, and x finite")
        if isinstance(passes, bool) or not isinstance(passes, (int, np.integer)) or passes < 1:
            raise ValueError(f"Perceptron.fit: passes must be an integer >= 1, got {passes!r}")
        signed = np.where(y[:, None] == 1, 1.0, -1.0) * np.c_[x, np.ones(len(x))]
        wanted = np.where(y == 1, 0.0, np.nextafter(0.0, 1.0))  # class 1: >= 0; class 0: < 0
        w, path, self.errors, self.converged = np.zeros(signed.shape[1]), [], [], False
        path.append(w.copy())
        for _ in range(passes):
            wrong = signed @ w < wanted
            self.errors.append(int(wrong.sum()))
            if not wrong.any():
                self.converged = True
                break
            at = 0
            while at < len(x):  # to the next mistake, not to the next sample
                later = np.flatnonzero(signed[at:] @ w < wanted[at:])
                if not len(later):
                    break
                at += later[0]
                w = w + signed[at]
                path.append(w.copy())
                at += 1
        self.weights, self.bias = w[:-1].copy(), float(w[-1])
        self.path, self.mistakes = np.array(path), len(path) - 1
        return self

    def predict(self, x):
        """Classes (rows,) of 0 and 1 for x (rows, features)."""
        if self.weights is None:
            raise RuntimeError("Perceptron.predict: fit it first")
        return (np.asarray(x, np.float64) @ self.weights + self.bias >= 0).astype(np.int64)
