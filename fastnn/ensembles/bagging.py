"""Bagging: members that differ by their samples and their seeds (Breiman 1996)."""

import numpy as np

from fastnn.ensembles.ensemble import Ensemble
from fastnn.ensembles.parallel import Fit, train_side_by_side
from fastnn.utils import checks, seeding


class Bagging(Ensemble):
    """Networks of one kind, each with its own first weights and order of samples, and its own bootstrap sample.

        ensemble = Bagging(make_model, members=8, seed=1)
        ensemble.fit(x, y, epochs=10)
        ensemble.predict(x_test), ensemble.vote(x_test)

    Args:
        make_model: a function without arguments that gives a compiled model; called once for each member, with the
            global seed set from `seed` and the member's number.
        members: how many.
        bootstrap: each member gets its own sample of the data, drawn with replacement; else all of it.
        fraction: the size of that sample over the size of the data.
        seed: of the samples and the members; None: from the global seed.
    """

    def __init__(self, make_model, members=8, bootstrap=True, fraction=1.0, seed=None):
        if not callable(make_model):
            raise TypeError(f"Bagging: make_model must be a function, got {type(make_model).__name__}")
        members = checks.integer("Bagging", "members", members, least=1)
        self.bootstrap = bool(bootstrap)
        self.fraction = checks.number("Bagging", "fraction", fraction, above=0, most=1)
        self.seed = seeding.next_seed() if seed is None else seeding.check_seed("Bagging", seed)
        state, made = seeding.get_state(), []
        try:
            for j in range(members):
                seeding.set_state([seeding.mix(self.seed + (j + 1) * seeding.GOLDEN), 0])
                made.append(make_model())
        finally:
            seeding.set_state(state)
        for one in made:
            if not getattr(one, "compiled", False):
                raise ValueError(f"Bagging: make_model must give compiled models, got {one!r}")
        if len({id(one) for one in made}) < len(made):
            raise ValueError("Bagging: make_model gave one model twice; it must make a new one at every call")
        super().__init__(made)

    def sample(self, member, rows):
        """The rows that a member is trained on: indices (count,), a function of the seed and the member's number."""
        if not self.bootstrap and self.fraction == 1.0:
            return np.arange(rows)
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed, member], np.uint64)))
        count = max(1, round(self.fraction * rows))
        return rng.integers(0, rows, count) if self.bootstrap else rng.permutation(rows)[:count]

    def fit(self, x, y, workers=None, **arguments):
        """Trains all members side by side and returns their Histories.

        x, y: arrays, a row a sample. workers: trainings at a time (None: the number of threads; 1: one after the
        other). arguments: of `Model.fit`; sample_weight is that of the rows of x, verbose is 0, and callbacks must be a
        function of the member's number that gives a list (members must not share any). The result does not depend on
        `workers`.
        """
        x, y = np.asarray(x), np.asarray(y)
        if len(x) != len(y) or len(x) == 0:
            raise ValueError(f"Bagging.fit: x and y need the same number of rows, at least 1, got {len(x)}, {len(y)}")
        weight = arguments.pop("sample_weight", None)
        if weight is not None:
            weight = np.asarray(weight)
            if weight.shape[:1] != x.shape[:1]:
                raise ValueError(
                    f"Bagging.fit: sample_weight must have a weight for each of {len(x)} rows, got shape {weight.shape}"
                )
        callbacks = arguments.pop("callbacks", None)
        if callbacks is not None and not callable(callbacks):
            raise TypeError("Bagging.fit: callbacks must be a function of the member's number that gives a list")
        arguments.setdefault("verbose", 0)
        jobs = []
        for j, member in enumerate(self.members):
            if not member.built:  # first weights are drawn here, one member after the other
                state = seeding.get_state()
                seeding.set_state([seeding.mix(self.seed - (j + 1) * seeding.GOLDEN), 0])
                member.predict(x[:1], verbose=0)
                seeding.set_state(state)
            more = {} if callbacks is None else {"callbacks": callbacks(j)}
            jobs.append(_Member(self, j, x, y, weight, {**arguments, **more}))
        return train_side_by_side(jobs, workers)

    def out_of_bag(self, x, batch_size=None):
        """(outputs, counted): for each row of the training data the average over the members that did not see it, and
        how many those are; rows that every member saw are NaN. An honest estimate without other data."""
        if not self.bootstrap and self.fraction == 1.0:
            raise ValueError("out_of_bag: every member saw all rows; make the ensemble with bootstrap=True")
        outputs = self.predict_members(x, batch_size)
        unseen = np.ones(outputs.shape[:2], bool)
        for j in range(len(self.members)):
            unseen[j, self.sample(j, len(x))] = False
        counted = unseen.sum(axis=0)
        total = np.einsum("mr,mr...->r...", unseen.astype(outputs.dtype), outputs)
        shape = (-1, *(1,) * (total.ndim - 1))
        with np.errstate(invalid="ignore"):
            return total / counted.reshape(shape), counted


class _Member(Fit):
    """Draws a member's sample just before it is trained: only those at work hold copies of the data."""

    def __init__(self, bagging, number, x, y, weight, arguments):
        super().__init__(bagging.members[number], **arguments)
        self.bagging, self.number, self.x, self.y, self.weight = bagging, number, x, y, weight

    def __call__(self):
        rows = self.bagging.sample(self.number, len(self.x))
        self.args = (self.x[rows], self.y[rows])
        self.kwargs["sample_weight"] = None if self.weight is None else self.weight[rows]
        try:
            return super().__call__()
        finally:
            self.args = ()
            self.kwargs["sample_weight"] = None
