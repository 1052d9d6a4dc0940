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
    "load_state",
    "register_keras_serializable",
    "register_serializable",
    "save_state",
    "serialize_keras_object",
]


def __getattr__(name):
    if name in ("load_state", "save_state"):  # imported when first used: they need json, and layers need this module
        from fastnn.saving import state

        return getattr(state, name)
    raise AttributeError(f"module 'fastnn.saving' has no attribute {name!r}")
