"""Array helpers for preparing data: to_categorical, normalize, pad_sequences."""

import numpy as np

from fastnn.utils import checks, seeding


def to_categorical(x, num_classes=None):
    """One-hot rows of class ids: shape (...,) or (..., 1) of integers -> (..., num_classes) of float64.

    `num_classes` None means the largest id + 1.
    """
    ids = np.asarray(x)
    if ids.dtype.kind not in "iub":
        rounded = ids.astype(np.int64) if ids.dtype.kind == "f" and np.all(np.isfinite(ids)) else None
        if rounded is None or not np.array_equal(rounded, ids):
            raise TypeError(f"to_categorical: x must hold integer class ids, got {ids.dtype}")
        ids = rounded
    ids = ids.astype(np.int64)
    if ids.ndim > 1 and ids.shape[-1] == 1:
        ids = ids[..., 0]
    if num_classes is None:
        if ids.size == 0:
            raise ValueError("to_categorical: x is empty; pass num_classes")
        num_classes = int(ids.max()) + 1
    if ids.size and not (0 <= ids.min() and ids.max() < num_classes):
        raise ValueError(
            f"to_categorical: class ids must be in 0..{num_classes - 1}, got {int(ids.min())} to {int(ids.max())}"
        )
    out = np.zeros((ids.size, num_classes))
    out[np.arange(ids.size), ids.reshape(-1)] = 1.0
    return out.reshape(*ids.shape, num_classes)


def normalize(x, axis=-1, order=2):
    """x divided by its `order` norm along `axis`; vectors of norm 0 stay 0. Axis None means the whole array's norm."""
    x = np.asarray(x)
    order = checks.number("normalize", "order", order, above=0, finite=False)
    if axis is None:
        norm = np.linalg.norm(x.reshape(-1), order)
        return x / (norm if norm else 1.0)
    axis = checks.integer("normalize", "axis", axis)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"normalize: axis {axis} is out of range for x of {x.ndim} dimensions")
    norm = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(norm == 0, 1.0, norm).astype(norm.dtype)


def pad_sequences(sequences, maxlen=None, dtype="int32", padding="pre", truncating="pre", value=0.0):
    """A list of n sequences as one array (n, maxlen, ...), short ones filled with `value`, long ones cut.

    `maxlen` None means the longest; `padding` and `truncating` say at which end: "pre" or "post".
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in ("pre", "post"):
            raise ValueError(f"pad_sequences: {name} must be 'pre' or 'post', got {side!r}")
    if not hasattr(sequences, "__len__"):
        raise TypeError(f"pad_sequences: sequences must be a list of sequences, got {type(sequences).__name__}")
    for j, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise TypeError(f"pad_sequences: item {j} must be a sequence, got {sequence!r}")
    dtype = np.dtype(dtype)
    if dtype.kind in "iu" and isinstance(value, (float, np.floating)) and value != int(value):
        raise ValueError(f"pad_sequences: value {value} does not fit dtype {dtype}; pass dtype='float32'")
    lengths = [len(sequence) for sequence in sequences]
    maxlen = max(lengths, default=0) if maxlen is None else maxlen
    if maxlen < 0:
        raise ValueError(f"pad_sequences: maxlen must not be negative, got {maxlen}")
    first = next((np.asarray(sequence) for sequence in sequences if len(sequence)), np.zeros(0))
    out = np.full((len(lengths), maxlen, *first.shape[1:]), value, dtype)
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        n = min(length, maxlen)
        if n == 0:
            continue
        values = np.asarray(sequence)
        if values.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"pad_sequences: item {row} has entries of shape {values.shape[1:]}, others {first.shape[1:]}"
            )
        kept = values[length - n :] if truncating == "pre" else values[:n]
        if padding == "pre":
            out[row, maxlen - n :] = kept
        else:
            out[row, :n] = kept
    return out


def noisy_labels(y, rate, num_classes=None, seed=None):
    """A copy of the class ids `y` (integers, any shape) in which each is, with probability `rate`, another class.

    The other class is drawn evenly from the num_classes - 1 others (num_classes: the largest id + 1). For trying out
    how a network bears wrong targets; label smoothing is their expectation.
    """
    y = np.asarray(y)
    if y.dtype.kind not in "iu":
        raise TypeError(f"noisy_labels: y must hold integers, got dtype {y.dtype}")
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)) or not 0 <= rate <= 1:
        raise ValueError(f"noisy_labels: rate must be in [0, 1], got {rate!r}")
    if y.size == 0:
        return y.copy()
    classes = int(y.max()) + 1 if num_classes is None else num_classes
    if classes < 2 or y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"noisy_labels: ids must be in 0..num_classes - 1 with at least 2 classes, got ids from {y.min()} to "
            f"{y.max()} and num_classes={classes}"
        )
    rng = np.random.Generator(np.random.Philox(seeding.next_seed() if seed is None else seed))
    shift = np.where(rng.random(y.shape) < rate, rng.integers(1, classes, y.shape), 0)
    return ((y.astype(np.int64) + shift) % classes).astype(y.dtype)
