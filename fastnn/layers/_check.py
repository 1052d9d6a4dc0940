"""Checks of numbers that users pass to layers."""

import numpy as np


def positive(where, name, value):
    """`value` as an int; it must be a positive integer."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{where}: {name} must be a positive integer, got {value!r}")
    return int(value)


def share(where, name, value):
    """`value`, which must be in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"{where}: {name} must be in [0, 1), got {value!r}")
    return value
