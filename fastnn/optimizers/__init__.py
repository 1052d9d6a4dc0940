"""Optimizers: Keras 3's names, arguments, defaults and numbers; PyTorch's forms by option (docs/optimizers.md)."""

from fastnn.optimizers import schedules
from fastnn.optimizers.by_variable import Adafactor, Lamb, Muon
from fastnn.optimizers.full_batch import LBFGS, LineSearch
from fastnn.optimizers.methods import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lion,
    Nadam,
    RMSprop,
    ScheduleFreeAdamW,
)
from fastnn.optimizers.optimizer import Optimizer, Range, Record

_CLASSES = {
    cls.__name__.lower(): cls
    for cls in (
        *(SGD, RMSprop, Adagrad, Adadelta, Adam, AdamW, Adamax, Nadam, Lion, Ftrl, Lamb, Adafactor, Muon),
        *(ScheduleFreeAdamW, LBFGS, LineSearch),
    )
}

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "LineSearch",
    "Lion",
    "Muon",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "Range",
    "Record",
    "ScheduleFreeAdamW",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]


def serialize(optimizer):
    """A JSON-able dict from which `deserialize` makes an equal optimizer, without its state."""
    return {
        "module": "fastnn.optimizers",
        "class_name": type(optimizer).__name__,
        "config": optimizer.get_config(),
        "registered_name": None,
    }


def deserialize(config, custom_objects=None):
    """The optimizer that `serialize` (fastnn's or Keras') described. Names of classes in any case."""
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise TypeError(f"optimizers.deserialize: expected a dict with 'class_name' and 'config', got {config!r}")
    known = {**_CLASSES, **{name.lower(): cls for name, cls in (custom_objects or {}).items()}}
    cls = known.get(config["class_name"].lower())
    if cls is None:
        raise ValueError(
            f"optimizers.deserialize: unknown optimizer {config['class_name']!r}; known: {', '.join(sorted(known))}"
        )
    return cls.from_config(dict(config.get("config") or {}), custom_objects=custom_objects)


def get(identifier):
    """An optimizer from its name ("adam"), its config, or itself; None stays None."""
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        return deserialize({"class_name": identifier, "config": {}})
    if isinstance(identifier, dict):
        return deserialize(identifier)
    raise ValueError(f"optimizers.get: expected a name, a config dict or an Optimizer instance, got {identifier!r}")
