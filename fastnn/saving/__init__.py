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
from fastnn.saving.state import load_state, save_state

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
