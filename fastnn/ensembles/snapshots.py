"""Snapshot ensembles: the weights at the end of each cycle of a cyclic learning rate (Huang et al. 2017)."""

from fastnn.callbacks.base import Callback
from fastnn.callbacks.monitors import check_int
from fastnn.ensembles.ensemble import Ensemble
from fastnn.models import clone_model
from fastnn.optimizers.schedules import CosineDecayRestarts


class Snapshots(Callback):
    """Keeps a copy of the weights after every `every` epochs: `weights`, a list of lists of arrays."""

    def __init__(self, every):
        super().__init__()
        self.every = check_int("Snapshots", "every", every, 1)
        self.weights = []

    def on_train_begin(self, logs=None):
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            self.weights.append([w.copy() for w in self.model.get_weights()])

    def ensemble(self, model=None, last=None):
        """An `Ensemble` of the snapshots (the last `last` of them), each a model like `model` (the trained one)."""
        chosen = self.weights[-last:] if last is not None else self.weights
        if not chosen:
            raise ValueError("Snapshots.ensemble: there are no snapshots; train for at least `every` epochs")
        members = []
        for weights in chosen:
            member = clone_model(self.model if model is None else model)
            member.set_weights(weights)
            members.append(member)
        return Ensemble(members)


def snapshot_ensemble(model, x, y, cycles=5, epochs_per_cycle=10, learning_rate=0.1, batch_size=32, **arguments):
    """Trains `model` (compiled, built) for `cycles` cycles, in each of which the rate falls from `learning_rate` along
    half a cosine to almost 0, and returns (Ensemble of the weights at the cycles' ends, History).

    The model's optimizer keeps that schedule. arguments: of `Model.fit`.
    """
    cycles = check_int("snapshot_ensemble", "cycles", cycles, 1)
    epochs_per_cycle = check_int("snapshot_ensemble", "epochs_per_cycle", epochs_per_cycle, 1)
    batch_size = check_int("snapshot_ensemble", "batch_size", batch_size, 1)
    if not (model.built and model.compiled):
        raise ValueError("snapshot_ensemble: the model must be built and compiled")
    if model.optimizer.step_count:
        raise ValueError("snapshot_ensemble: cycles begin at step 0; compile the model with a new optimizer")
    if "epochs" in arguments:
        raise TypeError("snapshot_ensemble: epochs are cycles * epochs_per_cycle")
    rows = max(1, int(len(x) * (1 - (arguments.get("validation_split") or 0))))  # those that fit trains on
    steps = epochs_per_cycle * -(-rows // min(batch_size, rows))
    model.optimizer.learning_rate = CosineDecayRestarts(learning_rate, steps, t_mul=1.0)
    snapshots = Snapshots(epochs_per_cycle)
    callbacks = [*(arguments.pop("callbacks", None) or ()), snapshots]
    history = model.fit(
        x, y, batch_size=batch_size, epochs=cycles * epochs_per_cycle,
        callbacks=callbacks, **arguments,
    )  # fmt: skip
    return snapshots.ensemble(), history
