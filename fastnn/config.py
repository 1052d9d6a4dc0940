"""Settings of the process: the default float type, epsilon, dtype policies."""

_floatx = "float32"
_epsilon = 1e-7


def floatx():
    """The default float type of new layers and variables: "float32" or "float64"."""
    return _floatx


def set_floatx(value):
    global _floatx
    _floatx = standardize_dtype(value)


def epsilon():
    """The small number that losses and layers keep away from zero with (1e-7)."""
    return _epsilon


def set_epsilon(value):
    global _epsilon
    if not 0 < value < 1:
        raise ValueError(f"set_epsilon: value must be in (0, 1), got {value}")
    _epsilon = float(value)


def image_data_format():
    return "channels_last"


def standardize_dtype(dtype, where="dtype"):
    """The name of a float type or policy: "float32" or "float64"."""
    name = getattr(dtype, "name", None) or (dtype.__name__ if isinstance(dtype, type) else str(dtype))
    if name not in ("float32", "float64"):
        raise ValueError(f"{where}: must be 'float32' or 'float64', got {dtype!r}")
    return name


def dtype_policy():
    return _floatx


set_dtype_policy = set_floatx
