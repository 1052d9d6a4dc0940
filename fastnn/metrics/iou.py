"""Intersection over union of classes, from a confusion matrix."""

import numpy as np

from fastnn import config, ops
from fastnn.metrics.metric import Metric, accumulate, as_real, is_symbolic, weights_for
from fastnn.ops.core import apply
from fastnn.ops.movement import GatherGrad
from fastnn.utils import checks


class IoU(Metric):
    """The mean over `target_class_ids` of true positives / (true positives + false positives + false negatives),
    classes without any sample left out.

    Args:
        num_classes: number of classes.
        target_class_ids: the classes that count; None: all.
        ignore_class: targets of this id are left out.
        sparse_y_true, sparse_y_pred: whether these hold class ids, or a value a class along `axis`.
        axis: dimension of the classes.
    """

    def __init__(self, num_classes, target_class_ids, name=None, dtype=None, ignore_class=None, sparse_y_true=True,
                 sparse_y_pred=True, axis=-1):  # fmt: skip
        super().__init__(None if dtype in ("int", "int32") else dtype, name)
        where = type(self).__name__
        num_classes = checks.integer(where, "num_classes", num_classes, 1)
        if target_class_ids is None:
            target_class_ids = range(num_classes)
        if not np.iterable(target_class_ids):
            raise TypeError(f"{where}: target_class_ids must be a list of class ids, got {target_class_ids!r}")
        target_class_ids = [checks.integer(where, "target_class_ids", k) for k in target_class_ids]
        if not target_class_ids or min(target_class_ids) < 0 or max(target_class_ids) >= num_classes:
            raise ValueError(
                f"{where}: target_class_ids must be in 0..{num_classes - 1} for num_classes={num_classes}, got "
                f"{target_class_ids}"
            )
        self.num_classes, self.target_class_ids = num_classes, target_class_ids
        self.ignore_class = None if ignore_class is None else checks.integer(where, "ignore_class", ignore_class)
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        self.axis = checks.integer(where, "axis", axis)
        self.total_cm = self.add_variable((num_classes, num_classes), name="total_confusion_matrix")

    def update_state(self, y_true, y_pred, sample_weight=None):
        like = str(getattr(y_pred, "dtype", ""))
        dtype = like if is_symbolic(y_pred) and like != "int32" else self.dtype
        ids = []
        for y, sparse in ((y_true, self.sparse_y_true), (y_pred, self.sparse_y_pred)):
            y = as_real(y, dtype) if sparse else ops.cast(ops.argmax(as_real(y, dtype), axis=self.axis), dtype)
            ids.append(y)
        y_true, y_pred = ids
        if y_true.shape != y_pred.shape and y_true.ndim == y_pred.ndim + 1:
            y_true = ops.squeeze(y_true, -1)
        elif y_true.shape != y_pred.shape and y_pred.ndim == y_true.ndim + 1:
            y_pred = ops.squeeze(y_pred, -1)
        if tuple(y_true.shape) != tuple(y_pred.shape):
            raise ValueError(f"{self.name}: class ids must have one shape, got {y_true.shape} and {y_pred.shape}")
        counted = 1.0
        for y in (y_true, y_pred):  # casting cuts towards 0, so that -0.5 is class 0, as in Keras
            counted = ops.multiply(ops.multiply(ops.greater(y, -1.0), ops.less(y, float(self.num_classes))), counted)
        if self.ignore_class is not None:
            counted = ops.multiply(counted, ops.not_equal(y_true, float(self.ignore_class)))
        zero = ops.cast(ops.where(counted, y_true, 0.0), "int32"), ops.cast(ops.where(counted, y_pred, 0.0), "int32")
        y_true, y_pred = (as_real(y, dtype) for y in zero)
        cell = ops.cast(ops.add(ops.affine(y_true, float(self.num_classes)), y_pred), "int32")
        if sample_weight is not None:
            counted = ops.multiply(counted, weights_for(sample_weight, counted, self.name))
        table = GatherGrad((self.num_classes**2, 1))
        counts = apply(table, ops.expand_dims(counted, -1), cell, dtypes=[dtype, "int32"])
        accumulate(self.total_cm, ops.reshape(counts, (self.num_classes, self.num_classes)))

    def result(self):
        matrix = self.total_cm.value.astype(np.float64)
        hit = np.diag(matrix)[self.target_class_ids]
        union = (matrix.sum(axis=0) + matrix.sum(axis=1))[self.target_class_ids] - hit
        some = union > 1e-9
        epsilon = config.epsilon()
        return float((hit[some] / (union[some] + epsilon)).sum() / (some.sum() + epsilon))

    def get_config(self):
        mine = {
            "num_classes": self.num_classes, "target_class_ids": self.target_class_ids,
            "ignore_class": self.ignore_class, "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred, "axis": self.axis,
        }  # fmt: skip
        return {**super().get_config(), **mine}

    def _config_without(self, *names):
        config = IoU.get_config(self)
        return {key: value for key, value in config.items() if key not in names}


class BinaryIoU(IoU):
    """`IoU` of predictions that are 1 where at least `threshold`, else 0, with targets of 0 and 1."""

    def __init__(self, target_class_ids=(0, 1), threshold=0.5, name=None, dtype=None):
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = checks.number(type(self).__name__, "threshold", threshold)

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, ops.greater_equal(as_real(y_pred), self.threshold), sample_weight)

    def get_config(self):
        return {"target_class_ids": self.target_class_ids, "threshold": self.threshold, **Metric.get_config(self)}


class MeanIoU(IoU):
    """`IoU` over all classes."""

    def __init__(self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_true=True, sparse_y_pred=True,
                 axis=-1):  # fmt: skip
        super().__init__(num_classes, None, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)

    def get_config(self):
        return self._config_without("target_class_ids")


class OneHotIoU(IoU):
    """`IoU` of one-hot targets."""

    def __init__(self, num_classes, target_class_ids, name=None, dtype=None, ignore_class=None, sparse_y_pred=False,
                 axis=-1):  # fmt: skip
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self):
        return self._config_without("sparse_y_true")


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of one-hot targets."""

    def __init__(self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_pred=False, axis=-1):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self):
        return self._config_without("sparse_y_true", "target_class_ids")
