"""Checks of the arrays that fastnn.kernels is given: nothing unchecked goes on to C.

Each check names the function, the argument, what came, what was expected and how to mend it.
"""

import numpy as np

from fastnn import _core

REALS = (np.dtype(np.float32), np.dtype(np.float64))


def array(where, name, x, dtypes=REALS, ndim=None):
    """x as a C-contiguous array of one of `dtypes`; lists and scalars are converted, arrays never silently."""
    if dtypes is REALS and ndim is None and _core.is_plain(x):
        return x
    if not isinstance(x, np.ndarray):
        x = np.asarray(x)
        if x.dtype not in dtypes:
            if x.dtype.kind not in "iufb":
                raise TypeError(
                    f"{where}: {name} must be an array of {_names(dtypes)}, got {type(x).__name__} of {x.dtype}"
                )
            x = x.astype(dtypes[0])
    if x.dtype not in dtypes:
        raise TypeError(
            f"{where}: {name} must be {_names(dtypes)}, got {x.dtype}; "
            f"convert once with {name}.astype(numpy.{dtypes[0]})"
        )
    if ndim is not None and x.ndim != ndim:
        raise ValueError(f"{where}: {name} must have {ndim} dimensions, got shape {x.shape}")
    if not x.flags.aligned:
        raise ValueError(f"{where}: {name} must be aligned to its dtype; copy it once with {name}.copy()")
    if not x.flags.c_contiguous:
        raise ValueError(
            f"{where}: {name} must be C-contiguous, got shape {x.shape} with strides {x.strides}; "
            f"copy it once with numpy.ascontiguousarray({name})"
        )
    return x


def same_dtype(where, /, **arrays):
    """The one dtype of all given arrays (None is skipped)."""
    given = [x for x in arrays.values() if x is not None]
    if all(x.dtype is given[0].dtype for x in given):
        return given[0].dtype
    found = {name: x.dtype for name, x in arrays.items() if x is not None}
    if len(set(found.values())) > 1:
        raise TypeError(f"{where}: arrays must have one dtype, got " + ", ".join(f"{k} {v}" for k, v in found.items()))
    return next(iter(found.values()))


def shape(where, name, x, expected):
    """x's shape must be `expected`."""
    if x.shape != tuple(expected):
        raise ValueError(f"{where}: {name} must have shape {tuple(expected)}, got {x.shape}")
    return x


def out(where, x, expected, dtype, name="out"):
    """The array to write to: a new one when x is None, else x after checks."""
    if x is None:
        return np.empty(expected, dtype)
    if _core.is_plain(x) and x.dtype is dtype and x.shape == expected and x.flags.writeable:
        return x
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{where}: {name} must be a numpy array, got {type(x).__name__}")
    if x.dtype != dtype:
        raise TypeError(f"{where}: {name} must be {dtype}, got {x.dtype}")
    shape(where, name, x, expected)
    if not x.flags.c_contiguous:
        raise ValueError(f"{where}: {name} must be C-contiguous, got strides {x.strides}")
    if not x.flags.aligned:
        raise ValueError(f"{where}: {name} must be aligned to its dtype")
    if not x.flags.writeable:
        raise ValueError(f"{where}: {name} is read-only; pass a writable array")
    return x


def no_overlap(where, name, x, /, **others):
    """x (an output) must not share memory with the named inputs."""
    for other, y in others.items():
        if y is not None and _core.overlap(x, y):
            raise ValueError(f"{where}: {name} must not share memory with {other}; pass a separate array")


def adding(where, accumulate, out):
    """`accumulate` as a bool; what is added to must be passed as `out`."""
    if accumulate is False:
        return False
    if not isinstance(accumulate, (bool, np.bool_)):
        raise TypeError(f"{where}: accumulate must be True or False, got {type(accumulate).__name__}")
    if accumulate and out is None:
        raise ValueError(f"{where}: accumulate=True adds to out; pass the array to add to as out=")
    return bool(accumulate)


def _names(dtypes):
    return " or ".join(str(np.dtype(d)) for d in dtypes)
