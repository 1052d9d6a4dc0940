"""Kernels on NumPy arrays: `fastnn.kernels.relu(x)`, `fastnn.kernels.losses.mse(...)`. A family is imported when
one of its functions is first asked for."""

import importlib

_OWN_NAMES = ("losses", "optimizers")  # functions of these families are reached through the module only
_FLAT = ("products", "elementwise", "reductions", "movement", "random", "augmentation", "convolution")


def _flat():
    return [importlib.import_module(f"fastnn.kernels.{family}") for family in _FLAT]


def __getattr__(name):
    if name in _FLAT or name in _OWN_NAMES:
        return importlib.import_module(f"fastnn.kernels.{name}")
    if not name.startswith("_"):
        for family in _flat():
            if name in family.__all__:
                globals()[name] = value = getattr(family, name)
                return value
    raise AttributeError(f"module 'fastnn.kernels' has no attribute {name!r}")


def __dir__():
    return sorted({*_FLAT, *_OWN_NAMES, *(name for family in _flat() for name in family.__all__)})
