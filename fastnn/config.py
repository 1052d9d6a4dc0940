"""Settings of the process: the default float type, epsilon, dtype policies, the precision of matrix products."""

from fastnn import dtype_policies

_floatx = "float32"
_epsilon = 1e-7
_matmul_precision = "highest"
_policy = None  # of new layers; None: that of floatx


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


def matmul_precision():
    """The precision of float32 matrix products where a model's `compile` names none; see `set_matmul_precision`."""
    return _matmul_precision


def set_matmul_precision(level):
    """Sets how float32 matrix products are made, in models that are not compiled with a precision of their own.

    "highest" (default): in float32. "high": three products of bfloat16 parts, 2^-15 of |a||b| off at most. "medium":
    one product of operands rounded to bfloat16, 2^-7 off at most. "highest_split": six products of bfloat16 parts, as
    accurate as float32. Sums are float32 always. Anything but "highest" is a permission, taken where this processor
    gains by it: `fastnn info` says what runs. With "high" and "highest_split" parts below 2^-126 count as 0, and blocks
    of the result that are not finite are made again in float32; with "medium" numbers above 3.39e38 become infinite.
    """
    from fastnn import graph, precision

    global _matmul_precision
    _matmul_precision = precision.check(level, "set_matmul_precision")
    graph.touch()  # plans were made at the old level


def image_data_format():
    return "channels_last"


def standardize_dtype(dtype, where="dtype"):
    """The name of a float type or policy: "float32" or "float64"."""
    name = getattr(dtype, "name", None) or (dtype.__name__ if isinstance(dtype, type) else str(dtype))
    if name not in ("float32", "float64"):
        raise ValueError(f"{where}: must be 'float32' or 'float64', got {dtype!r}")
    return name


def dtype_policy():
    """The `DTypePolicy` of layers that are given none: what `set_dtype_policy` was told, else that of `floatx`."""
    return _policy or dtype_policies.DTypePolicy(_floatx)


def set_dtype_policy(policy):
    """Sets the policy of new layers: "float32", "float64", "mixed_bfloat16" or a `DTypePolicy`; None: that of `floatx`
    again. A float type becomes `floatx` too."""
    global _policy
    _policy = None if policy is None else dtype_policies.get(policy, "set_dtype_policy")
    if _policy is not None and _policy.compute_dtype == _policy.variable_dtype:
        set_floatx(_policy.name)
        _policy = None
