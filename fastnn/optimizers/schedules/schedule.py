"""What all schedules have in common: evaluation, configuration, plot."""

import numpy as np

from fastnn.saving import registry

_CLASSES = {}


class LearningRateSchedule:
    """A learning rate (or momentum) as a pure function of the step: 0 at the first update.

    Call it with an int or an array of ints; it gives float64 of the same shape. A subclass defines `compute(step)`
    on a float64 array, or, as in Keras, `__call__(step)` for one step; `get_config` makes it serializable.
    """

    def __call__(self, step):
        step = np.asarray(step)
        if step.dtype.kind not in "iuf":
            raise TypeError(f"{type(self).__name__}: step must be an integer or an array of them, got {step.dtype}")
        # one element is computed as an array too: a step has one value, however it is asked for
        out = np.broadcast_to(self.compute(np.atleast_1d(step).astype(np.float64)), np.atleast_1d(step).shape)
        return out.astype(np.float64).reshape(step.shape)[()]

    def compute(self, step):
        """The schedule at a float64 array of steps."""
        raise NotImplementedError(
            f"{type(self).__name__} must define compute(self, step) on an array, or __call__(self, step)"
        )

    def get_config(self):
        raise NotImplementedError(f"{type(self).__name__} must define get_config() to be serializable")

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def plot(self, steps, ax=None, **style):
        """Draws steps 0 .. steps-1 and returns the axes (needs matplotlib: pip install fastnn-cpu[plot])."""
        if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
            raise ValueError(f"{type(self).__name__}.plot: steps must be an integer >= 1, got {steps!r}")
        if ax is None:
            try:
                import matplotlib.pyplot as plt
            except ImportError:
                raise ImportError("plot needs matplotlib; install it with pip install matplotlib") from None
            ax = plt.figure().add_subplot()
        ax.plot(np.arange(steps), evaluate(self, np.arange(steps)), **style)
        ax.set_xlabel("step")
        ax.set_ylabel(type(self).__name__)
        return ax

    def __repr__(self):
        try:
            config = self.get_config()
        except NotImplementedError:
            config = {}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in config.items())})"


def evaluate(schedule, steps):
    """A schedule at an array of steps, float64; one step at a time where the class defines `__call__` itself."""
    if type(schedule).__call__ is LearningRateSchedule.__call__:
        return schedule(steps)
    return np.array([float(schedule(int(step))) for step in steps], np.float64)


def register(cls):
    """Makes a schedule class known to `deserialize` by its name."""
    _CLASSES[cls.__name__] = cls
    return cls


def serialize(learning_rate_schedule):
    """A JSON-able dict from which `deserialize` makes an equal schedule."""
    registered = registry.get_registered_name(type(learning_rate_schedule))
    return {
        "module": "fastnn.optimizers.schedules",
        "class_name": type(learning_rate_schedule).__name__,
        "config": learning_rate_schedule.get_config(),
        "registered_name": registered if registered != type(learning_rate_schedule).__name__ else None,
    }


def deserialize(config, custom_objects=None):
    """The schedule that `serialize` (fastnn's or Keras') described; custom_objects: classes of your own that are
    neither in scope nor registered."""
    if not isinstance(config, dict) or "class_name" not in config:
        raise TypeError(f"schedules.deserialize: expected a dict with 'class_name' and 'config', got {config!r}")
    with registry.CustomObjectScope(custom_objects):  # schedules within it too
        names = (config.get("registered_name"), config["class_name"])
        found = [registry.get_registered_object(name, module_objects=_CLASSES) for name in names if name]
        cls = next((one for one in found if one is not None), None)
        if cls is None:
            raise ValueError(
                f"schedules.deserialize: unknown schedule {config['class_name']!r}; known: "
                f"{', '.join(sorted(_CLASSES))}; pass your own classes as custom_objects={{'Name': Class}}"
            )
        return cls.from_config(dict(config.get("config") or {}))
