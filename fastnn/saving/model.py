"""Models as files: configuration, weights, the optimizer's state and the random state in one safetensors file.

Tensors are named "weights/<path>", "optimizer/<role>/<path>" and "states/<stateful layer>/<state>"; the configuration
is in the metadata (see `fastnn.saving.state`). A loaded model goes on training with the bits of one that never stopped.
"""

import inspect
import os
import tempfile

import numpy as np

from fastnn.graph import Spec
from fastnn.saving.registry import custom_object_scope, deserialize_keras_object, serialize_keras_object
from fastnn.saving.state import load_state, save_state


def _paths(model):
    """A unique name for each variable, the same for every model of this configuration."""
    names, used = {}, set()
    for v in model.weights:
        name, count = v.path, 0
        while name in used:
            count += 1
            name = f"{v.path}:{count}"
        used.add(name)
        names[v] = name
    return names


def _need_built(model, where):
    if not model.built:
        raise ValueError(f"{where}: model {model.name!r} is not built yet: call it on data, or give it an Input")


def _check_path(path, overwrite, where):
    path = os.fspath(path)
    if not path.endswith((".safetensors", ".npz")):
        raise ValueError(f"{where}: the file name must end in .safetensors or .npz, got {path!r}")
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{where}: {path!r} exists; pass overwrite=True to replace it")
    return path


def save_model(model, path, overwrite=True, include_optimizer=True):
    """Writes a model to one file, whole or not at all: `Model.save`.

    Args:
        model: built; compiled or not.
        path: the file, ending in .safetensors or .npz.
        overwrite: whether a file of this name may be replaced.
        include_optimizer: also the optimizer's arrays and step count, with which a training goes on as if it had never
            stopped. What the model was compiled with is kept either way.

    ValueError for another ending and for a model that is not built, FileExistsError where overwrite=False and the file
    is there, FileNotFoundError where its folder is not, NotImplementedError for layers without a configuration.
    """
    path = _check_path(path, overwrite, "save")
    _need_built(model, "save")
    names = _paths(model)
    tensors = {f"weights/{name}": v.value for v, name in names.items()} | states_of(model)
    metadata = {"model": serialize_keras_object(model), "paths": list(names.values()), "seed": model._seed}
    if model._built_for is not None:  # its weights are made by a call, which load_model cannot guess
        specs = [model._built_for] if isinstance(model._built_for, Spec) else model._built_for
        metadata["built_for"] = {
            "several": specs is model._built_for, "inputs": [[list(s.shape), s.dtype] for s in specs]
        }  # fmt: skip
    if model.compiled:
        metadata["compile"] = {
            key: serialize_keras_object(model.optimizer if key == "optimizer" else value)
            for key, value in model.compile_config.items()
        }
        if include_optimizer:
            metadata["step_count"] = model.optimizer.step_count
            state = model._state_of_optimizer
            for role, array in state.saved().items() if state is not None else ():
                for v in state.store.offsets:
                    if v in names:
                        tensors[f"optimizer/{role}/{names[v]}"] = state.store.view(array, v)
    save_state(path, tensors, metadata)


def to_bytes(model):
    """What `save_model` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        save_model(model, path)
        with open(path, "rb") as file:
            return file.read()


def from_bytes(content):
    """The model that `to_bytes` was given."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        with open(path, "wb") as file:
            file.write(content)
        return load_model(path)


def load_model(path, custom_objects=None, compile=True):
    """The model of a file that `save_model` wrote.

    Args:
        path: the file, safetensors or .npz.
        custom_objects: {name: class or function} of what the configuration names beyond fastnn's own and what is
            registered (see `register_keras_serializable`).
        compile: whether to compile it as it was, with the optimizer's arrays and step count where the file has them.

    Returns a model with the weights, the seed and the states of stateful layers it was saved with. No code is loaded
    from a file. FileNotFoundError where there is none; ValueError that names the file where it is damaged, holds no
    configuration, or was written by a newer version; TypeError for a class that is neither fastnn's nor registered nor
    in custom_objects.
    """
    tensors, metadata = load_state(path)
    if "model" not in metadata:
        raise ValueError(f"load_model: {os.fspath(path)!r} holds no model configuration; use model.load_weights(...)")
    with custom_object_scope(custom_objects or {}):
        model = _made(metadata["model"], path)
        if not hasattr(model, "get_weights"):
            raise ValueError(f"load_model: {os.fspath(path)!r}: its configuration is damaged: it describes no model")
        if not model.built and "built_for" in metadata:
            try:
                specs = [Spec(tuple(shape), dtype) for shape, dtype in metadata["built_for"]["inputs"]]
                several = metadata["built_for"]["several"]
            except (KeyError, TypeError, ValueError) as error:
                raise _damaged(path, error) from error
            model._build_by_trial(specs if several else specs[0])
        _set_weights(model, tensors, metadata, path)
        set_states(saved_states(model, tensors, path))
        model._seed = metadata.get("seed")
        if compile and "compile" in metadata:
            given = metadata["compile"]
            missing = [k for k in ("optimizer", "loss", "metrics", "weighted_metrics") if k not in given]
            if missing or not set(given) <= set(inspect.signature(model.compile).parameters):
                raise ValueError(
                    f"load_model: {os.fspath(path)!r}: what it was compiled with is damaged: it names {list(given)}; "
                    "load_model(..., compile=False) does without"
                )
            given = dict(given, optimizer=_made(given["optimizer"], path))
            for key in ("loss", "metrics", "weighted_metrics"):
                given[key] = _restored(given[key])
            model.compile(**given)
            model.optimizer.step_count = int(metadata.get("step_count", 0))
            _set_slots(model, tensors, metadata, path)
    return model


def _made(config, path):
    """The object of a configuration; one that lacks parts is a damaged file."""
    try:
        return deserialize_keras_object(config)
    except (KeyError, IndexError, AttributeError) as error:
        raise _damaged(path, error) from error


def _damaged(path, error):
    return ValueError(f"load_model: {os.fspath(path)!r}: its configuration is damaged ({error!r})")


def _restored(value):
    """Losses and metrics in a compile configuration: objects from their configs, names as they are."""
    if isinstance(value, dict) and "class_name" in value:
        return deserialize_keras_object(value)
    if isinstance(value, dict):
        return {k: _restored(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_restored(v) for v in value]
    return value


def _set_weights(model, tensors, metadata, path):
    names = _paths(model)
    found = {k[len("weights/") :]: a for k, a in tensors.items() if k.startswith("weights/")}
    order = metadata.get("paths", ())
    if isinstance(order, list) and sorted(map(str, order)) == sorted(found):
        found = {name: found[name] for name in order}  # files may hold tensors in another order
    missing = [n for n in names.values() if n not in found]
    extra = [n for n in found if n not in set(names.values())]
    if missing or extra:
        # layers of an equal model made in the same process carry other numbers in their names: match by position
        plain = list(found.values())
        if len(plain) != len(names):
            raise ValueError(
                f"{os.fspath(path)!r} does not fit model {model.name!r}: missing {missing[:3]}, unexpected {extra[:3]}"
            )
        found = dict(zip(names.values(), plain, strict=True))
    for v, name in names.items():
        if found[name].shape != v.shape:
            raise ValueError(
                f"{os.fspath(path)!r} does not fit model {model.name!r}: {name} must have shape {v.shape}, "
                f"got {found[name].shape}"
            )
    for v, name in names.items():
        v.assign(found[name])


def _set_slots(model, tensors, metadata, path):
    """Fills the optimizer's arrays, in a store made for the purpose."""
    from fastnn.compiler.store import Store
    from fastnn.training.step import core_zeros

    found = {k: a for k, a in tensors.items() if k.startswith("optimizer/")}
    if not found:
        return
    store = Store.of(model.weights, model._float_type())
    state = model._optimizer_state(store)
    names = {name: v for v, name in _paths(model).items()}
    saved = metadata.get("paths")
    if isinstance(saved, list) and len(saved) == len(names) and not set(map(str, saved)) == set(names):
        names = dict(zip(map(str, saved), names.values(), strict=True))  # numbered in another way, as for the weights
    for key, array in found.items():
        _, role, name = key.split("/", 2)
        if name not in names or names[name] not in store.offsets or array.shape != names[name].shape:
            raise ValueError(f"{os.fspath(path)!r}: optimizer state {key!r} does not fit model {model.name!r}")
        if role not in state.buffers:
            state.buffers[role] = core_zeros(store.size, array.dtype)
        store.view(state.buffers[role], names[name])[...] = array


def states_of(model):
    """The states of stateful layers by name; none of a layer whose states are zeros for any number of samples."""
    return {
        f"states/{i}/{j}": state.value
        for i, layer in enumerate(model._stateful_layers()) if not layer._states_fresh
        for j, state in enumerate(layer.states)
    }  # fmt: skip


def saved_states(model, tensors, path):
    """[(stateful layer, the arrays of its states in a file, [] for none)], checked."""
    found = []
    for i, layer in enumerate(model._stateful_layers()):
        arrays = [a for j in range(len(layer.state_size)) if (a := tensors.get(f"states/{i}/{j}")) is not None]
        wanted = [(len(arrays[0]), n) for n in layer.state_size] if arrays and arrays[0].ndim else []
        if [a.shape for a in arrays] != wanted:
            raise ValueError(
                f"{os.fspath(path)!r} does not fit model {model.name!r}: the states of {layer.name!r} must have shapes "
                f"{[(None, n) for n in layer.state_size]}, got {[a.shape for a in arrays]}"
            )
        found.append((layer, arrays))
    return found


def set_states(found):
    """Gives stateful layers the states that `saved_states` found."""
    for layer, arrays in found:
        layer.reset_state()
        for state, array in zip(layer.prepare_states(len(arrays[0])) if arrays else (), arrays, strict=True):
            state.value[...] = array


def save_weights(model, path, overwrite=True):
    """Writes the weights of a model, without its configuration and optimizer, whole or not at all.

    Args:
        model: built.
        path: the file, ending in .safetensors or .npz; a tensor "weights/<path>" for each variable.
        overwrite: whether a file of this name may be replaced.

    ValueError for another ending, FileExistsError where overwrite=False and the file is there.
    """
    path = _check_path(path, overwrite, "save_weights")
    _need_built(model, "save_weights")
    names = _paths(model)
    save_state(path, {f"weights/{name}": v.value for v, name in names.items()}, {"paths": list(names.values())})


def load_weights(model, path):
    """Gives a model the weights of a file: of `save_weights`, of `save_model`, or another program's tensors.

    Args:
        model: built, with as many variables as the file has, of the same shapes.
        path: the file, safetensors or .npz. Tensors are known by the variables' names; where these differ, by their
            order.

    ValueError where the model is not built, where the file is damaged, and where number or shapes do not fit; the model
    then keeps the weights it had.
    """
    tensors, metadata = load_state(path)
    if not any(k.startswith("weights/") for k in tensors):
        tensors = {f"weights/{k}": np.asarray(a) for k, a in tensors.items()}
    if not model.built:
        raise ValueError(f"load_weights: model {model.name!r} is not built yet: call it on data, or give it an Input")
    _set_weights(model, tensors, metadata, path)
