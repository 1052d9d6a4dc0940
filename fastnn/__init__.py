"""fastnn: neural networks on the CPU. Keras 3's API over hand-written C kernels; `import fastnn as keras` runs the
ordinary Keras example."""

import importlib

__version__ = "0.1.0"

#: Public names and the modules they live in, imported when first asked for: `import fastnn` itself stays quick.
_NAMES = {
    "DTypePolicy": "fastnn.dtype_policies",
    "Input": "fastnn.layers",
    "Layer": "fastnn.layers",
    "Model": "fastnn.models",
    "Sequential": "fastnn.models",
    "Variable": "fastnn.variables",
    "Loss": "fastnn.losses",
    "Metric": "fastnn.metrics",
    "Optimizer": "fastnn.optimizers",
    "Initializer": "fastnn.initializers",
    "Regularizer": "fastnn.regularizers",
    "get_num_threads": "fastnn.threads",
    "set_num_threads": "fastnn.threads",
    "runtime_info": "fastnn.threads",
}
_MODULES = (
    "activations", "applications", "benchmark", "callbacks", "config", "constraints", "datasets", "ensembles",
    "initializers", "kernels", "layers", "losses", "metrics", "models", "ops", "optimizers", "pretraining",
    "principles", "regularizers", "saving", "text", "utils",
)  # fmt: skip

__all__ = sorted([*_NAMES, *_MODULES])


def __getattr__(name):
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"fastnn.{name}")
    else:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
