"""What users pass as data, made into arrays that C can read row by row."""

import math

import numpy as np

from fastnn import _core


def as_rows(x, name, where):
    """x as a C-contiguous array of a dtype that batches can be loaded from."""
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(
            f"{where}: {name} must be an array, or lists of one length each; fastnn.utils.pad_sequences makes them so"
        ) from None
    if array.dtype.kind not in "iufb":
        raise TypeError(f"{where}: {name} must hold numbers, got {type(x).__name__} of dtype {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"{where}: {name} must be an array of samples, got a single number")
    if str(array.dtype) not in _core.SOURCE_CODES:
        # half precision; byte orders of other machines; long doubles
        if array.dtype.kind == "f":
            array = array.astype(np.float32 if array.itemsize <= 4 else np.float64)
        else:
            beyond = array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max
            array = array.astype(np.float64 if beyond else np.int64)
    return np.require(array, requirements=("C", "A"))  # one row behind the other, aligned


def as_list(data, names, kind, where):
    """Data for several inputs or outputs (a list, a dict by name, or one array) as a list in the order of `names`."""
    if isinstance(data, dict):
        unknown = set(data) - set(names)
        missing = [n for n in names if n not in data]
        if unknown or missing:
            raise ValueError(f"{where}: {kind} must be given for {list(names)}, got {sorted(data)}")
        return [data[n] for n in names]
    if isinstance(data, (list, tuple)) and len(names) > 1:
        if len(data) != len(names):
            raise ValueError(f"{where}: {len(names)} arrays of {kind} are needed ({list(names)}), got {len(data)}")
        return list(data)
    if isinstance(data, (list, tuple)) and len(data) == 1:
        whole = isinstance(data[0], np.ndarray) and kind == "targets"  # of an input it may be a sample
        if np.ndim(data[0]) > (0 if whole else 1):
            return list(data)
    if len(names) != 1:
        raise ValueError(f"{where}: {len(names)} arrays of {kind} are needed ({list(names)}), got one")
    return [data]


def with_losses(y, outputs, names):
    """Targets without those of outputs that have no loss: `names` of `outputs` have one."""
    if isinstance(y, dict):
        return {name: a for name, a in y.items() if name in names or name not in outputs}
    if isinstance(y, (list, tuple)) and len(y) == len(outputs) > len(names):
        return [a for a, name in zip(y, outputs, strict=True) if name in names]
    return y


class Arrays:
    """A data set in memory: inputs, targets (or none), sample weights (one for each output, or none)."""

    def __init__(self, x, y, weights, where):
        self.x, self.y, self.weights = x, y, weights
        named = [(f"x[{j}]" if len(x) > 1 else "x", a) for j, a in enumerate(x)]
        named += [(f"y[{j}]" if len(y) > 1 else "y", a) for j, a in enumerate(y)]
        named += [("sample_weight", a) for a in weights if a is not None]
        self.rows = len(x[0])
        for name, a in named:
            if len(a) != self.rows:
                raise ValueError(
                    f"{where}: all arrays need one row a sample; {named[0][0]} has {self.rows}, {name} {len(a)}"
                )
        if self.rows == 0:
            raise ValueError(f"{where}: the data is empty (0 samples)")

    def split(self, fraction, where):
        """(all but the last `fraction` of the samples, the last): Keras' validation_split."""
        if isinstance(fraction, bool) or not isinstance(fraction, (int, float, np.number)) or not 0 < fraction < 1:
            raise ValueError(f"{where}: validation_split must be in (0, 1), got {fraction!r}")
        at = int(self.rows * (1 - fraction))
        if at == 0 or at == self.rows:
            raise ValueError(f"{where}: validation_split={fraction} of {self.rows} samples leaves one part empty")

        def part(lo, hi):
            return Arrays(
                [a[lo:hi] for a in self.x],
                [a[lo:hi] for a in self.y],
                [None if a is None else a[lo:hi] for a in self.weights],
                where,
            )

        return part(0, at), part(at, self.rows)

    def weigh(self, class_weight, where):
        """Multiplies the samples' weights by those of their classes."""
        if class_weight is not None:
            extra = class_weights(class_weight, self.y, where)
            self.weights[0] = extra if self.weights[0] is None else self.weights[0] * extra


def class_weights(class_weight, y, where):
    """Weights of samples from weights of classes (missing classes weigh 1)."""
    if len(y) != 1:
        raise ValueError(f"{where}: class_weight is for models of one output; use sample_weight")
    labels = y[0]
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(axis=-1)
    labels = labels.reshape(len(labels), -1)
    if labels.shape[1] != 1:
        raise ValueError(f"{where}: class_weight needs one class a sample, got targets of shape {y[0].shape}")
    labels = labels[:, 0].astype(np.int64)
    weights = np.ones(len(labels), np.float64)
    if not isinstance(class_weight, dict):
        raise TypeError(f"{where}: class_weight must be a dictionary {{class: weight}}, got {class_weight!r}")
    for label, weight in class_weight.items():
        try:
            label, weight = int(label), float(weight)
        except (TypeError, ValueError):
            weight = math.nan
        if not math.isfinite(weight):
            raise ValueError(f"{where}: class_weight must be {{class: weight}} of finite numbers, got {class_weight}")
        weights[labels == label] = weight
    return weights


def check_targets(y, where):
    """Targets must be numbers: a NaN would spoil every weight."""
    for a in y:
        check_finite(a, "y", where)


def check_finite(a, name, where):
    at = _core.first_not_finite(a) if a.dtype.kind == "f" else -1
    if at >= 0:
        raise ValueError(f"{where}: {name} must be finite, got {a.ravel()[at]} at row {at // max(a[0].size, 1)}")


def is_wide(a):
    """Whether an array's type holds integers beyond int32, as which integer targets go into a step."""
    return a.dtype.kind in "iu" and (a.dtype.itemsize > 4 or a.dtype == np.uint32)


def within_int32(a):
    """Integer targets beyond int32 as float64: they are quantities, not classes."""
    limits = np.iinfo(np.int32)
    outside = is_wide(a) and a.size and (a.max() > limits.max or a.min() < limits.min)
    return a.astype(np.float64) if outside else a


def first_fraction(a):
    """Where the first element that is no whole number is, in an array of floats; -1 where all are whole."""
    fractions = np.trunc(a) != a
    return int(fractions.argmax()) if fractions.any() else -1


def verbosity(verbose, where):
    """`verbose` if it is one of 0, 1, 2 (also as booleans) and "auto"."""
    if isinstance(verbose, (bool, int, np.integer)) and 0 <= verbose <= 2:
        return int(verbose)
    if isinstance(verbose, str) and verbose == "auto":
        return verbose
    raise ValueError(f"{where}: verbose must be 0, 1, 2 or 'auto', got {verbose!r}")
