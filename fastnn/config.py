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
    """Sets the default float type of layers, variables, losses and metrics made from here on.

    Args:
        value: "float32" or "float64", or NumPy's type of that name; anything else is a ValueError.
    """
    global _floatx
    _floatx = standardize_dtype(value, "set_floatx: value")


def epsilon():
    """The small number that losses and layers keep away from zero with (1e-7)."""
    return _epsilon


def set_epsilon(value):
    """Sets the number that `epsilon` gives; to be called before models are compiled.

    Args:
        value: in (0, 1): another number is a ValueError, anything else a TypeError.
    """
    from fastnn.utils import checks

    global _epsilon
    _epsilon = checks.number("set_epsilon", "value", value, above=0, below=1)


def matmul_precision():
    """The precision of float32 matrix products where a model's `compile` names none; see `set_matmul_precision`."""
    return _matmul_precision


def set_matmul_precision(level):
    """Sets how float32 matrix products are made, in models that are not compiled with a precision of their own.

    "highest" (default): in float32. "high": three products of bfloat16 parts, 2^-15 of |a||b| off at most. "medium":
    one product of operands rounded to bfloat16, 2^-7 off at most. "highest_split": six products of bfloat16 parts, as
    accurate as float32. Sums are float32 always. Anything but "highest" is a permission, taken where this processor
    gains by it: `fastnn info` says what runs. With "high" and "highest_split" parts below 2^-126 count as 0, and what
    is not finite of the result is made again in float32; with "medium" numbers above 3.39e38 become infinite.
    """
    from fastnn import graph, precision

    global _matmul_precision
    _matmul_precision = precision.check(level, "set_matmul_precision")
    graph.touch()  # plans were made at the old level


def image_data_format():
    """How images lie in arrays: always "channels_last", (batch, rows, columns, channels). Layers that are asked for
    another `data_format` raise ValueError."""
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
