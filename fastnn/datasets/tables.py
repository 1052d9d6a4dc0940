"""Tables from CSV and NPZ files, as features and target."""

import csv
import io
import os
from typing import NamedTuple

import numpy as np

from fastnn.datasets.files import read_bytes
from fastnn.saving.files import read_npz

#: Cells that mean "no value".
MISSING = frozenset(("", "?", "na", "n/a", "nan", "null", "none"))
#: Integer targets with at most this many values are taken for classes.
MAX_CLASSES = 100
#: Array names that NPZ files are known to use.
NPZ_PAIRS = (("x_train", "y_train"), ("x", "y"), ("X", "y"), ("data", "target"), ("images", "labels"),
             ("features", "labels"))  # fmt: skip


class Table(NamedTuple):
    """Features x (n, d) of float32 and target y (n,): class ids of int32, or values of float32 for a regression.

    `features` are the columns' names, `classes` the labels in order of their id; None for a regression.
    """

    x: np.ndarray
    y: np.ndarray
    features: tuple
    classes: tuple | None


def load_csv(path, label=-1, task="auto", header="auto", delimiter=None, missing="error", encoding="utf-8-sig"):
    """Table of a CSV file (also gzipped): numbers as features, one column as target.

    label       the target's column: its number from 0 (negative: from the end) or its name
    task        "classification", "regression", or "auto": text is classes, and so are integers of at most 100 different
                values of which each occurs twice on average (two values always)
    header      whether the first line names the columns; "auto": when it has a cell that is no number and the second
                line has a number in the same column
    delimiter   "auto" when None: the one of comma, semicolon, tab and bar that the first line has most of
    missing     empty cells and "?", "NA", "N/A", "nan", "null", "none", in any case and any column: "error", "drop"
                (the line) or "mean" (the column's)

    A ragged line, a cell that is no number and a missing value are errors that name line and column.
    """
    path = os.fspath(path)
    for name, value, known in (
        ("task", task, ("auto", "classification", "regression")),
        ("missing", missing, ("error", "drop", "mean")),
        ("header", header, ("auto", True, False)),
    ):
        if value not in known:
            raise ValueError(f"load_csv: {name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    rows, lines = _rows(path, delimiter, encoding)
    names = None
    if header is True or (header == "auto" and _has_header(rows)):
        names, rows, lines = [cell.strip() for cell in rows[0]], rows[1:], lines[1:]
    if not rows or (len(rows) == 1 and header == "auto" and not any(_is_number(cell) for cell in rows[0])):
        raise ValueError(f"{path}: has no data" + (", only a line of names" if rows or names else ""))
    width = len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise ValueError(f"{path}, line {line}: has {len(row)} cells, the first line of data has {width}")
    if names is not None and len(names) != width:
        raise ValueError(f"{path}, line 1: names {len(names)} columns, the data have {width}")
    if width < 2:
        how = f"with delimiter {delimiter!r}" if delimiter else "with comma, semicolon, tab or bar between"
        raise ValueError(f"{path}: has {width} column; expected features and a label, {how}")
    names = names or [f"column {j}" for j in range(width)]
    target = _column(path, label, names)
    cells = np.array([[cell.strip() for cell in row] for row in rows])
    gaps = np.isin(np.char.lower(cells), list(MISSING))
    lines = np.array(lines)
    if gaps.any():
        row, column = np.argwhere(gaps)[0]
        drop = gaps.any(axis=1) if missing == "drop" else gaps[:, target]
        if missing == "error" or (missing == "mean" and drop.any()):
            if missing == "mean":
                row, column = int(np.flatnonzero(drop)[0]), target
            raise ValueError(
                f"{path}, line {lines[row]}, {_named(names, column)}: missing value {str(cells[row, column])!r}; "
                "pass missing='drop'" + ("" if column == target else " or missing='mean'")
            )
        cells, gaps, lines = cells[~drop], gaps[~drop], lines[~drop]
        if not len(cells):
            raise ValueError(f"{path}: has no line without missing values")
    chosen = [j for j in range(width) if j != target]
    x = np.empty((len(cells), width - 1), np.float32)
    for position, j in enumerate(chosen):
        x[:, position] = _numbers(path, names, j, cells[:, j], gaps[:, j], lines)
    y, classes = _target(path, names, target, cells[:, target], lines, task)
    return Table(x, y, tuple(names[j] for j in chosen), classes)


def _rows(path, delimiter, encoding):
    """The rows that are not empty, and their line numbers from 1."""
    try:
        text = read_bytes(path).decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not {encoding} text (byte {error.start}); pass encoding=") from None
    if delimiter is None:
        first = text.partition("\n")[0]
        delimiter = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise ValueError(f"{path}: is empty")
    return rows, lines


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _has_header(rows):
    """A line of names above numbers: a column whose first cell is text and whose second is a number."""
    first, second = rows[0], rows[1] if len(rows) > 1 else []
    return any(
        not _is_number(name) and name.strip().lower() not in MISSING and _is_number(cell)
        for name, cell in zip(first, second, strict=False)
    )


def _named(names, column):
    return names[column] if names[column] == f"column {column}" else f"column {column} ({names[column]})"


def _column(path, label, names):
    if isinstance(label, str):
        if label in names:
            return names.index(label)
        if not label.lstrip("-").isdigit():
            raise ValueError(f"{path}: has no column {label!r}; there are {', '.join(names)}")
        label = int(label)
    if not -len(names) <= label < len(names):
        raise ValueError(f"{path}: has no column {label}; it has {len(names)}")
    return label % len(names)


def _numbers(path, names, column, cells, gaps, lines):
    values = np.full(len(cells), np.nan)
    try:
        values[~gaps] = cells[~gaps].astype(np.float64)
    except ValueError:
        row = next(row for row in np.flatnonzero(~gaps) if not _is_number(cells[row]))
        raise ValueError(
            f"{path}, line {lines[row]}, {_named(names, column)}: {str(cells[row])!r} is not a number; "
            "encode text columns as numbers first"
        ) from None
    # float32 would turn a larger one into infinity.
    huge = np.flatnonzero(~gaps & ~(np.abs(values) <= np.finfo(np.float32).max))
    if huge.size:
        row = huge[0]
        raise ValueError(
            f"{path}, line {lines[row]}, {_named(names, column)}: {str(cells[row])!r} does not fit float32"
        )
    if gaps.any():
        if gaps.all():
            raise ValueError(f"{path}, {_named(names, column)}: has no values")
        values[gaps] = values[~gaps].mean()
    return values


def _target(path, names, column, cells, lines, task):
    """(y, classes) of the target's cells."""
    try:
        values = cells.astype(np.float64)
    except ValueError:
        values = None
    if task == "regression" or (task == "auto" and values is not None and not _looks_like_classes(values)):
        return _numbers(path, names, column, cells, np.zeros(len(cells), bool), lines).astype(np.float32), None
    if values is not None and np.all(values == np.round(values)):
        ids, y = np.unique(values.astype(np.int64), return_inverse=True)
        return y.astype(np.int32), tuple(str(value) for value in ids)
    classes, y = np.unique(cells, return_inverse=True)
    return y.astype(np.int32), tuple(str(name) for name in classes)


def _looks_like_classes(values):
    whole = np.all(np.isfinite(values)) and np.all(values == np.round(values))
    return bool(whole) and len(np.unique(values)) <= min(MAX_CLASSES, max(2, len(values) // 2))


def load_npz(path, x=None, y=None):
    """((x_train, y_train), (x_test, y_test)) of an .npz file; (None, None) for the test part where there is none.

    `x` and `y` name the arrays; by default x_train and y_train, x and y, X and y, data and target, images and labels
    or features and labels. The test part is x_test and y_test. x holds finite numbers, samples first, of the same shape
    in both parts; else ValueError.
    """
    path = os.fspath(path)
    arrays = read_npz(path)
    if (x is None) != (y is None):
        raise ValueError("load_npz: pass both x and y, or neither")
    pair = (x, y) if x is not None else next((p for p in NPZ_PAIRS if all(name in arrays for name in p)), None)
    if pair is None or not all(name in arrays for name in pair):
        wanted = " and ".join(pair) if pair else "x_train and y_train, or x and y"
        raise ValueError(f"{path}: holds {', '.join(arrays) or 'nothing'}; expected {wanted}")
    test = ("x_test", "y_test") if {"x_test", "y_test"} <= set(arrays) else None
    parts = [tuple(arrays[name] for name in names) if names else (None, None) for names in (pair, test)]
    for names, (features, target) in zip((pair, test), parts, strict=True):
        if names is None:
            continue
        if features.ndim < 2 or features.dtype.kind not in "iufb":
            raise ValueError(
                f"{path}: {names[0]} must hold numbers of at least 2 dimensions (samples first), got shape "
                f"{features.shape} of {features.dtype}"
            )
        if target.ndim == 0 or len(features) != len(target):
            raise ValueError(f"{path}: {names[0]} has shape {features.shape}, {names[1]} {target.shape}")
        if len(features) == 0:
            raise ValueError(f"{path}: {names[0]} has no samples")
        if not np.all(np.isfinite(features)):
            sample = int(np.argwhere(~np.isfinite(features))[0][0])
            raise ValueError(f"{path}: {names[0]} must be finite, sample {sample} is not")
        if features.shape[1:] != parts[0][0].shape[1:]:
            raise ValueError(f"{path}: samples of {names[0]} have shape {features.shape[1:]}, of {pair[0]} "
                             f"{parts[0][0].shape[1:]}")  # fmt: skip
    return tuple(parts)
