"""What the small tables share: found in a folder `tabular`, never downloaded; split into train and test."""

import os

import numpy as np

from fastnn.datasets import files
from fastnn.utils.seeding import check_seed


def find(name, path):
    """The file `name` in `path` (itself, or its folder) or below FASTNN_DATA."""
    if path is not None and os.path.isfile(path):
        return os.fspath(path)
    found = files.locate("tabular", [name], path) or files.locate("tabular", [f"{name}.gz"], path)
    if found:
        return found[0]
    if path is not None:
        raise FileNotFoundError(f"{os.fspath(path)} does not hold {name}")
    raise FileNotFoundError(
        f"cannot find {name}: pass its folder as path=, or put it into a folder tabular/ below the one that "
        "FASTNN_DATA names"
    )


def split(x, y, test_split, seed):
    """((x_train, y_train), (x_test, y_test)) of the rows in an order drawn with `seed`."""
    if not 0 <= test_split < 1:
        raise ValueError(f"load_data: test_split must be in [0, 1), got {test_split}")
    order = np.random.Generator(np.random.Philox(key=check_seed("load_data", seed))).permutation(len(x))
    x, y = x[order], y[order]
    train = len(x) - int(len(x) * test_split)
    return (x[:train], y[:train]), (x[train:], y[train:])


def classification(name, path, test_split, seed):
    """A table of scikit-learn's form: a line "rows,columns,class names", then features and a class id."""
    path = find(name, path)
    lines = files.read_bytes(path).decode().splitlines()
    try:
        rows, columns = (int(n) for n in lines[0].split(",")[:2])
        table = np.array([line.split(",") for line in lines[1:]], np.float64)
        if table.shape != (rows, columns + 1):
            raise ValueError(f"shape {table.shape}, expected {(rows, columns + 1)}")
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: not a table of the expected form: {error}") from None
    return split(table[:, :-1].astype(np.float32), table[:, -1].astype(np.int32), test_split, seed)
