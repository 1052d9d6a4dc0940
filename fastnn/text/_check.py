"""Checks of numbers that users pass to fastnn.text."""

import math

import numpy as np


def integer(where, name, value, low, high=None):
    """value as an int within [low, high]."""
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{where}: {name} must be an integer {bounds}, got {value!r}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{where}: {name} must be an integer {bounds}, got {value}")
    return int(value)


def real(where, name, value, low=-math.inf, high=math.inf):
    """value as a finite float within [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{where}: {name} must be a number within [{low}, {high}], got {value}")
    return float(value)
