"""Checks of numbers that users pass to layers."""

import numpy as np

from fastnn.utils import checks


def positive(where, name, value):
    """`value` as an int; it must be a positive integer."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{where}: {name} must be a positive integer, got {value!r}")
    return int(value)


def share(where, name, value):
    """`value` as a float, which must be in [0, 1)."""
    if not checks.is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{where}: {name} must be in [0, 1), got {value!r}")
    return float(value)
