"""Small helpers around training: Keras' `utils`."""

from fastnn.utils import seeding
from fastnn.utils.arrays import noisy_labels, normalize, pad_sequences, to_categorical
from fastnn.utils.plot import plot_history
from fastnn.utils.progress import Progbar
from fastnn.utils.seeding import SeedGenerator, set_random_seed
from fastnn.utils.sequences import (
    Buckets,
    PyDataset,
    Sequence,
    forecast,
    forecasting_windows,
    naive_forecast,
    timeseries_dataset_from_array,
)
from fastnn.utils.vocabulary import Vocabulary

__all__ = [
    "Buckets",
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "SeedGenerator",
    "Sequence",
    "Vocabulary",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "forecast",
    "forecasting_windows",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "naive_forecast",
    "noisy_labels",
    "normalize",
    "pad_sequences",
    "plot_history",
    "register_keras_serializable",
    "seeding",
    "serialize_keras_object",
    "set_random_seed",
    "timeseries_dataset_from_array",
    "to_categorical",
]


def clear_session():
    """Names of new layers start again: dense, dense_1, ... Models that exist are not touched."""
    from fastnn.layers.layer import reset_names

    reset_names()


def __getattr__(name):
    """Keras offers the registry under `utils` too; it lives in fastnn.saving, which uses this package."""
    if name in __all__:
        from fastnn.saving import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
