"""Data sets: `load_data()` as in Keras, and CSV and NPZ files.

`digits` comes with the package; the others are looked for in `path=`, in the folder that `FASTNN_DATA` names and in
the cache (`FASTNN_CACHE`, else ~/.cache/fastnn), and are downloaded there otherwise, checked against their sha256.
"""

from fastnn.datasets import (
    breast_cancer,
    california_housing,
    cifar10,
    digits,
    fashion_mnist,
    iris,
    mnist,
    wine,
)
from fastnn.datasets.tables import Table, load_csv, load_npz

__all__ = [
    "Table",
    "breast_cancer",
    "california_housing",
    "cifar10",
    "digits",
    "fashion_mnist",
    "iris",
    "load_csv",
    "load_npz",
    "mnist",
    "wine",
]
