"""Checkpoints: everything that changes while a model trains, so that a training goes on with the bits of one that was
never interrupted. Variables are known by their position: a model made anew by the same program may carry other names.
"""

import os

import numpy as np

from fastnn.compiler.store import Store
from fastnn.saving.model import _check_path, saved_states, set_states, states_of
from fastnn.saving.state import load_state, save_state
from fastnn.training.step import core_zeros


def _form(model):
    """What a checkpoint's model is recognised by."""
    return {
        "layers": [type(layer).__name__ for layer in model._flatten_layers()[1:]],
        "shapes": [[*v.shape] for v in model.weights],
        "optimizer": type(model.optimizer).__name__,
    }


def _sums(model):
    """Variables of the running loss and metrics, in order."""
    trackers = [*model._trackers.values(), model._penalty] if model._trackers else []
    return [t.variable for t in trackers] + [v for m in model.metrics for v in m.variables]


def save_checkpoint(model, path):
    """Writes what a training needs to go on with the same bits, whole or not at all: weights, the optimizer's arrays,
    step count and rate, the seed, the sums of loss and metrics, the states of stateful layers. Not the configuration:
    see `save_model`.

    Args:
        model: built and compiled.
        path: the file, ending in .safetensors or .npz; one that is there is replaced.

    ValueError for another ending, and for a model that is not built and compiled.
    """
    path = _check_path(path, True, "save_checkpoint")
    if not (model.built and model.compiled):
        raise ValueError(f"save_checkpoint: model {model.name!r} must be built and compiled; for weights: save_weights")
    optimizer, state = model.optimizer, model._state_of_optimizer
    tensors = {f"weights/{j}": v.value for j, v in enumerate(model.weights)} | states_of(model)
    tensors.update({f"metrics/{j}": np.asarray(v.value) for j, v in enumerate(_sums(model))})
    if state is not None:
        numbers = {id(v): j for j, v in enumerate(model.weights)}
        for role, array in state.saved().items():
            for v in state.store.offsets:
                if id(v) in numbers:
                    tensors[f"optimizer/{role}/{numbers[id(v)]}"] = state.store.view(array, v)
    rate = optimizer._learning_rate
    metadata = {
        "checkpoint": _form(model),
        "seed": model._seed,
        "step_count": optimizer.step_count,
        "learning_rate": rate if isinstance(rate, float) else None,
    }
    save_state(path, tensors, metadata)


def load_checkpoint(model, path):
    """Takes up what `save_checkpoint` wrote.

    Args:
        model: built and compiled, with the layers, shapes and optimizer of the one that was saved; names may differ.
        path: the file.

    A rate that is a number is taken from the file, a schedule stays the model's own. FileNotFoundError where there is
    no file; ValueError where it is damaged or no checkpoint, or was written by another model or with other settings of
    the optimizer, with what differs; the weights are then as they were.
    """
    path = os.fspath(path)
    if not (model.built and model.compiled):
        raise ValueError(f"load_checkpoint: model {model.name!r} must be built and compiled first")
    tensors, metadata = load_state(path)
    found, wanted = metadata.get("checkpoint"), _form(model)
    if not isinstance(found, dict):
        raise ValueError(f"load_checkpoint: {path!r} is no checkpoint; use load_weights or load_model")
    for part, own in wanted.items():
        if found.get(part) != own:
            raise ValueError(
                f"load_checkpoint: {path!r} was written by another model: its {part}: {found.get(part)}; of "
                f"{model.name!r}: {own}"
            )
    roles = {key.split("/")[1] for key in tensors if key.startswith("optimizer/")}
    own = {role for role, buffer in model.optimizer.buffers([]).items() if buffer.saved}
    if roles and roles != own:
        raise ValueError(
            f"load_checkpoint: {path!r} was written with other settings of {type(model.optimizer).__name__}: it keeps "
            f"{sorted(roles)}, that of {model.name!r} {sorted(own)}"
        )
    states = saved_states(model, tensors, path)
    weights = model.weights
    store = Store.of(weights, model._float_type())
    state = model._optimizer_state(store)
    sums = _sums(model)
    placed = []
    for key, array in tensors.items():
        kind, *role, j = key.split("/")
        place = None
        if kind == "weights":
            place = weights[int(j)].value
        elif kind == "metrics":
            place = sums[int(j)].value if int(j) < len(sums) else None
        elif kind == "optimizer" and (role[0] in state.buffers or weights[int(j)] in store.offsets):
            buffer = state.buffers.setdefault(role[0], core_zeros(store.size, array.dtype))
            place = store.view(buffer, weights[int(j)])
        if place is not None:
            if place.shape != array.shape:
                raise ValueError(f"load_checkpoint: {path!r} is damaged: {key} has shape {array.shape}")
            placed.append((place, array))
    for place, array in placed:
        place[...] = array
    set_states(states)
    model._seed = metadata["seed"]
    model.optimizer.step_count = int(metadata["step_count"])
    if metadata["learning_rate"] is not None and isinstance(model.optimizer._learning_rate, float):
        model.optimizer.learning_rate = metadata["learning_rate"]
