"""What mnist and fashion_mnist share: four IDX files, or one .npz with Keras' names."""

import os

from fastnn.datasets import files
from fastnn.saving.files import read_npz

NAMES = ("x_train", "y_train", "x_test", "y_test")


def load(name, sums, mirrors, path):
    """((x_train, y_train), (x_test, y_test)); `sums` maps the four files, in the order of NAMES, to their sha256."""
    if path is not None and os.path.isfile(path):
        arrays = read_npz(path)
        missing = [key for key in NAMES if key not in arrays]
        if missing:
            raise ValueError(f"{name}: {os.fspath(path)} does not hold {', '.join(missing)}")
        x_train, y_train, x_test, y_test = (arrays[key] for key in NAMES)
        return (x_train, y_train), (x_test, y_test)
    paths = files.fetch(name, sums, mirrors, path)
    parts = []
    for images, labels in (paths[:2], paths[2:]):
        x = files.read_idx(images, (None, 28, 28), "uint8")
        y = files.check_labels(labels, files.read_idx(labels, (None,), "uint8"), 10)
        if len(x) != len(y):
            raise ValueError(f"{name}: {images} holds {len(x)} images, {labels} {len(y)} labels")
        parts.append((x, y))
    return tuple(parts)
