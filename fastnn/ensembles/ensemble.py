"""Answers of several models put together."""

import numpy as np


class Ensemble:
    """Built models of one input and one output of the same shapes, that answer together.

    Args:
        members: the models.
        weights: how much each counts in the average, None: all the same. They are divided by their sum.
    """

    def __init__(self, members, weights=None):
        self.members = list(members)
        if not self.members:
            raise ValueError(f"{type(self).__name__}: at least one member is needed")
        for member in self.members:
            if not hasattr(member, "predict"):
                raise TypeError(f"{type(self).__name__}: members must be models, got {member!r}")
        self.weights = np.full(len(self.members), 1.0 / len(self.members))
        if weights is not None:
            given = np.asarray(weights, np.float64)
            if given.shape != (len(self.members),) or not np.all(given >= 0) or not given.sum() > 0:
                raise ValueError(
                    f"{type(self).__name__}: weights must be {len(self.members)} numbers >= 0, not all 0, "
                    f"got {weights!r}"
                )
            self.weights = given / given.sum()

    def __len__(self):
        return len(self.members)

    def predict_members(self, x, batch_size=None):
        """The members' outputs, (members, rows, ...)."""
        found = [np.asarray(member.predict(x, batch_size=batch_size, verbose=0)) for member in self.members]
        if len({f.shape for f in found}) != 1:
            shapes = [f.shape for f in found]
            raise ValueError(f"{type(self).__name__}: members must give outputs of one shape, got {shapes}")
        return np.stack(found)

    def predict(self, x, batch_size=None):
        """The (weighted) average of the members' outputs, (rows, ...)."""
        outputs = self.predict_members(x, batch_size)
        return np.tensordot(self.weights, outputs, axes=1).astype(outputs.dtype)

    def vote(self, x, batch_size=None):
        """The class that most members (by weight) give, (rows,) of int64; of several, the one of the lowest number.

        Outputs (rows, classes) vote by their largest entry, outputs (rows, 1) by whether they are above 1/2.
        """
        outputs = self.predict_members(x, batch_size)
        if outputs.ndim != 3:
            raise ValueError(f"vote: outputs must be (rows, classes), got {outputs.shape[1:]} for each member")
        binary = outputs.shape[2] == 1
        choices = (outputs[..., 0] > 0.5).astype(np.int64) if binary else outputs.argmax(axis=2)
        classes = 2 if binary else outputs.shape[2]
        counts = np.zeros((outputs.shape[1], classes))
        for weight, choice in zip(self.weights, choices, strict=True):
            counts[np.arange(len(choice)), choice] += weight
        return counts.argmax(axis=1)

    def accuracy(self, x, y, how="average", batch_size=None):
        """The share of rows whose class (ids `y`, (rows,) or (rows, 1)) the "average" or the "vote" finds."""
        if how not in ("average", "vote"):
            raise ValueError(f"accuracy: how must be 'average' or 'vote', got {how!r}")
        if how == "vote":
            guess = self.vote(x, batch_size)
        else:
            mean = self.predict(x, batch_size)
            guess = (mean[:, 0] > 0.5).astype(np.int64) if mean.shape[1] == 1 else mean.argmax(axis=1)
        return float((guess == np.asarray(y).reshape(-1)).mean())

    def spread(self, x, batch_size=None):
        """The standard deviation of the members' outputs, (rows, ...): how much they disagree."""
        return self.predict_members(x, batch_size).std(axis=0)
