"""Files and configs: Keras' `saving` names for the registry, and the state files that models are written with."""

from fastnn.saving.registry import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    register_serializable,
    serialize_keras_object,
)

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_state",
    "load_weights",
    "register_keras_serializable",
    "register_serializable",
    "save_model",
    "save_state",
    "save_weights",
    "serialize_keras_object",
]


def __getattr__(name):
    # Imported when first used: they need json and layers, and layers need this module.
    if name in ("load_state", "save_state"):
        from fastnn.saving import state

        return getattr(state, name)
    if name in ("load_model", "save_model"):
        from fastnn import models

        return getattr(models, name)
    if name in ("load_weights", "save_weights"):
        from fastnn.saving import model

        return getattr(model, name)
    raise AttributeError(f"module 'fastnn.saving' has no attribute {name!r}")
