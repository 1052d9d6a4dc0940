"""Checks of the settings that users pass: each gives the value back, or says where, what was wanted and what came."""

import math

import numpy as np

_BOUNDS = {
    "least": (">=", lambda value, bound: value >= bound),
    "above": (">", lambda value, bound: value > bound),
    "most": ("<=", lambda value, bound: value <= bound),
    "below": ("<", lambda value, bound: value < bound),
}


def number(where, name, value, *, least=None, above=None, most=None, below=None, finite=True):
    """`value` as a float within the bounds; infinite only where `finite` is False, and never NaN."""
    if not is_number(value):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    value = float(value)
    given = {"least": least, "above": above, "most": most, "below": below}
    given = {bound: limit for bound, limit in given.items() if limit is not None}
    within = all(_BOUNDS[bound][1](value, limit) for bound, limit in given.items())
    if not within or math.isnan(value) or (finite and math.isinf(value)):
        raise ValueError(f"{where}: {name} must be {_wanted(given, finite)}, got {value}")
    return value


def _wanted(given, finite):
    if len(given) == 2:
        (low, least), (high, most) = given.items()
        return f"in {'[' if low == 'least' else '('}{least}, {most}{']' if high == 'most' else ')'}"
    wanted = ["finite"] * finite + [f"{_BOUNDS[bound][0]} {limit}" for bound, limit in given.items()]
    return " and ".join(wanted) or "a number"


def integer(where, name, value, least=None):
    """`value` as an int, of at least `least` if given."""
    if not is_integer(value) or (least is not None and value < least):
        wanted = "an integer" if least is None else f"an integer of at least {least}"
        raise ValueError(f"{where}: {name} must be {wanted}, got {value!r}")
    return int(value)


def seed(where, value):
    """`value`, the seed of a layer's random numbers, as an int, or None: a seed from the global stream."""
    if value is not None and not is_integer(value):
        raise ValueError(f"{where}: seed must be an integer or None, got {value!r}")
    return None if value is None else int(value)


def axes(where, name, value):
    """`value`, dimensions to reduce: an int, a list of ints, or None for all."""
    if value is None:
        return None
    several = isinstance(value, (list, tuple))
    if not all(map(is_integer, value if several else [value])):
        raise ValueError(f"{where}: {name} must be an integer, a list of integers or None, got {value!r}")
    return [int(axis) for axis in value] if several else int(value)


def boolean(where, name, value):
    """`value` as a bool, which it must be: any other text, "no" for one, would count as True."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{where}: {name} must be True or False, got {value!r}")
    return bool(value)


def is_number(value):
    """Whether `value` is a number, of Python or of NumPy; a boolean is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def is_integer(value):
    """Whether `value` is an integer, of Python or of NumPy; a boolean is none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
