"""Training by optimizers that look at the loss of all samples at several points before each update
(`fastnn.optimizers.full_batch`): updates are driven from Python, loss and gradient come from the compiled step."""

import numpy as np

from fastnn.optimizers.full_batch import Evaluation


class Objective:
    """Loss and gradient of a data set as a function of the model's weights, flat in the layout of its store.

    The compiled training step may end with an update by the optimizer: every evaluation begins by putting the weights
    it is asked for.

    Args:
        model: the Trainer, compiled.
        step: its compiled training step.
        arrays: the data.
        batch: how many samples go through the network at a time.
    """

    def __init__(self, model, step, arrays, batch):
        self.model, self.arrays, self.batch = model, arrays, batch
        self.data = [*arrays.x, *arrays.y, *arrays.weights]
        self.use(step)

    def use(self, step):
        """Takes another compiled step of the same data (the model was changed)."""
        self.step = step
        self.weights, self.gradients = step.store.array, self.model._state_of_optimizer.gradients
        self.changing = np.zeros(step.store.size, bool)
        for v in step.trained:
            step.store.view(self.changing, v)[...] = True

    def put(self, x):
        """Gives the trained weights these values; moving statistics stay as they are."""
        np.copyto(self.weights, x, where=self.changing)

    def evaluate(self, x):
        """Loss and gradient with `x` as the weights."""
        model, step, rows, batch = self.model, self.step, self.arrays.rows, self.batch
        optimizer = model.optimizer
        model.reset_metrics()
        hyper = optimizer.hyper(optimizer.step_count, 1)
        total = np.zeros(len(self.gradients), np.float64)
        self.put(x)
        with step.core:
            step.bind(self.data)
            for first in range(0, rows, batch):
                last = min(first + batch, rows)
                step.core.run(first, last, batch, index=optimizer.step_count, seed=model._seed, hyper=hyper)
                total += self.gradients * ((last - first) / rows)
        total[~self.changing] = 0.0  # frozen weights, and gradients left from when they were not
        logs = model._logs()
        return Evaluation(x, logs["loss"], total.astype(self.weights.dtype), logs)


class FullBatchRun(Objective):
    """Updates by a FullBatch optimizer."""

    def use(self, step):
        super().use(step)
        model, where = self.model, type(self.model.optimizer).__name__
        if any(v.constraint is not None for v in step.trained):
            raise ValueError(
                f"fit: {where} cannot keep constraints on weights: a search goes along a straight line; "
                "use another optimizer, or a regularizer"
            )
        sums = any(one is not None and one.reduction != "sum_over_batch_size" for one in model._losses)
        if self.batch < self.arrays.rows and sums:
            raise ValueError(
                f"fit: with {where} a loss of another reduction than 'sum_over_batch_size' needs all samples at once; "
                "leave out batch_size"
            )
        factors = np.ones(step.store.size, np.float64)
        for v in step.trained:
            step.store.view(factors, v)[...] = v.learning_rate_factor
        self.factors = factors if np.any(factors != 1.0) else None
        self.memory = model._state_of_optimizer.buffers
        for array in self.memory.values():
            array[~self.changing] = 0  # of weights that were not frozen before
        self.here = None

    def update(self):
        """One update. Returns the logs at its end, and whether there was one."""
        optimizer, here = self.model.optimizer, self.here
        moved = here is None or not np.array_equal(here.x[self.changing], self.weights[self.changing])
        if moved or self.step.random:
            here = self.evaluate(self.weights.copy())
        try:
            after = optimizer.advance(self.evaluate, here, self.memory, self.factors)
        except BaseException:  # Ctrl-C in the middle of a search
            self.put(here.x)
            raise
        self.here = here if after is None else after
        self.put(self.here.x)
        if after is not None:
            optimizer.step_count += 1
        return self.here.logs, after is not None

    def epoch(self, step, list_of):
        """One update, with the hooks of callbacks around it; the end of the search ends the training."""
        if step is not self.step:
            self.use(step)
        one_by_one = list_of.has_train_batch_hooks
        if one_by_one:
            list_of.on_train_batch_begin(0)
        logs, moved = self.update()
        if not moved:
            self.model.stop_training = True
        if one_by_one:
            list_of.on_train_batch_end(0, logs)
        else:
            list_of.on_train_chunk_end(0, None)
        return logs
