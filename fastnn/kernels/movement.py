"""Elements from one place to another: transposes, slices, flips, broadcasts, joins, rows by index, batches."""

import math

import numpy as np

from fastnn import _core
from fastnn.kernels import _check
from fastnn.utils import checks

_INT32 = np.dtype(np.int32)
_MOVED = (*_check.REALS, _INT32)
_MAX_DIMS = 7
_NS_BYTE = 0.05  # rough nanoseconds a byte moved

#: Source types of load_batch, by NumPy name.
BATCH_TYPES = {
    name: code for code, name in enumerate("uint8 int8 int16 int32 int64 float32 float64 bool uint16 uint32".split())
}


def _view(where, name, x, dtypes):
    """x as an array of any strides; its strides in elements."""
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{where}: {name} must be a numpy array, got {type(x).__name__}")
    if x.dtype not in dtypes:
        expected = ", ".join(str(d) for d in dtypes)
        raise TypeError(f"{where}: {name} must be one of {expected}, got {x.dtype}")
    if x.ndim > _MAX_DIMS:
        raise ValueError(f"{where}: {name} must have at most {_MAX_DIMS} dimensions, got shape {x.shape}")
    strides = [s // x.itemsize for s in x.strides]
    if any(s % x.itemsize for s in x.strides) or not x.flags.aligned:
        raise ValueError(f"{where}: {name} has elements at odd addresses (strides {x.strides}); copy it first")
    return [int(s) for s in strides]


def _layout(shape, strides, accumulate):
    """Ints of strided_copy and strided_scatter."""
    if not shape:
        shape, strides = (1,), [0]
    return (shape[0], len(shape) - 1, *shape[1:], *strides, 0, bool(accumulate))


def strided_copy(x, *, out=None, accumulate=False):
    """A contiguous copy of any NumPy view x: transposed, sliced, flipped, broadcast. With `accumulate` it is added to
    `out`. float32, float64 or int32."""
    strides = _view("strided_copy", "x", x, _MOVED)
    if _check.adding("strided_copy", accumulate, out) and x.dtype == _INT32:
        raise ValueError("strided_copy: accumulate=True is for floats, got int32")
    out = _check.out("strided_copy", out, x.shape, x.dtype)
    _check.no_overlap("strided_copy", "out", out, x=x)
    kernel = "strided_copy_int" if x.dtype == _INT32 else "strided_copy"
    ints = _layout(x.shape, strides, accumulate)
    _core.run(kernel, x.dtype == np.float64, (out, x), ints, cost=out.nbytes * _NS_BYTE)
    return out


def strided_scatter(y, x, *, accumulate=False):
    """y[...] = x (+= with `accumulate`) for any writable view y without repeated elements and contiguous x."""
    strides = _view("strided_scatter", "y", y, _check.REALS)
    accumulate = _check.adding("strided_scatter", accumulate, y)
    x = _check.array("strided_scatter", "x", x)
    _check.same_dtype("strided_scatter", y=y, x=x)
    _check.shape("strided_scatter", "x", x, y.shape)
    if not y.flags.writeable:
        raise ValueError("strided_scatter: y is read-only; pass a writable array")
    if any(s == 0 and n > 1 for s, n in zip(strides, y.shape, strict=True)):
        raise ValueError(f"strided_scatter: y repeats elements (strides {y.strides}); pass a view that does not")
    _check.no_overlap("strided_scatter", "y", y, x=x)
    ints = _layout(y.shape, strides, accumulate)
    _core.run("strided_scatter", x.dtype == np.float64, (y, x), ints, cost=x.nbytes * _NS_BYTE)
    return y


def transpose(x, axes=None, *, out=None):
    """x with its axes in another order (reversed by default), contiguous."""
    try:
        view = np.transpose(x, axes)
    except ValueError as error:
        raise ValueError(f"transpose: axes {axes} do not fit shape {np.shape(x)}: {error}") from None
    return strided_copy(view, out=out)


def flip(x, axis=None, *, out=None):
    """x in reverse order along `axis` (all by default), contiguous."""
    return strided_copy(np.flip(x, axis), out=out)


def broadcast_to(x, shape, *, out=None):
    """x repeated to `shape` by NumPy's rules, contiguous."""
    return strided_copy(np.broadcast_to(x, shape), out=out)


def concatenate(arrays, axis=-1, *, out=None):
    """Arrays joined along `axis`."""
    if not isinstance(arrays, (tuple, list, np.ndarray)):
        raise TypeError(f"concatenate: arrays must be a list of arrays, got {type(arrays).__name__}")
    axis = checks.integer("concatenate", "axis", axis)
    arrays = [_check.array("concatenate", f"arrays[{k}]", x) for k, x in enumerate(arrays)]
    if not arrays:
        raise ValueError("concatenate: arrays must hold at least one array, got none")
    first = arrays[0]
    _check.same_dtype("concatenate", **{f"arrays[{k}]": x for k, x in enumerate(arrays)})
    if not -first.ndim <= axis < first.ndim:
        raise ValueError(f"concatenate: axis must be within [{-first.ndim}, {first.ndim}), got {axis}")
    axis %= first.ndim
    for k, x in enumerate(arrays):
        if x.ndim != first.ndim or x.shape[:axis] + x.shape[axis + 1 :] != first.shape[:axis] + first.shape[axis + 1 :]:
            raise ValueError(f"concatenate: arrays[{k}] of shape {x.shape} does not fit {first.shape} but for {axis}")
    shape = (*first.shape[:axis], sum(x.shape[axis] for x in arrays), *first.shape[axis + 1 :])
    out = _check.out("concatenate", out, shape, first.dtype)
    _check.no_overlap("concatenate", "out", out, **{f"arrays[{k}]": x for k, x in enumerate(arrays)})
    rows, wide, at = math.prod(shape[:axis]), math.prod(shape[axis:]), 0
    for x in arrays:
        cols = math.prod(x.shape[axis:])
        place = out.ctypes.data + at * out.itemsize
        ints = (rows, cols, wide, cols, 0)
        _core.run("copy_columns", out.dtype == np.float64, (place, x), ints, cost=x.nbytes * _NS_BYTE)
        at += cols
    return out


def copy_columns(x, columns, *, out=None, accumulate=False):
    """Columns columns[0] to columns[1] of x (rows, columns), contiguous: a split along the last axis."""
    x = _check.array("copy_columns", "x", x, ndim=2)
    if not isinstance(columns, (tuple, list)) or len(columns) != 2:
        raise ValueError(f"copy_columns: columns must be (start, stop), got {columns!r}")
    start, stop = (checks.integer("copy_columns", "columns", j) for j in columns)
    if not 0 <= start <= stop <= x.shape[1]:
        raise ValueError(f"copy_columns: columns must be within [0, {x.shape[1]}], got {start} to {stop}")
    accumulate = _check.adding("copy_columns", accumulate, out)
    cols = stop - start
    out = _check.out("copy_columns", out, (x.shape[0], cols), x.dtype)
    _check.no_overlap("copy_columns", "out", out, x=x)
    place = x.ctypes.data + start * x.itemsize
    ints = (x.shape[0], cols, cols, x.shape[1], accumulate)
    _core.run("copy_columns", x.dtype == np.float64, (out, place), ints, cost=out.nbytes * _NS_BYTE)
    return out


def fill(out, value):
    """All elements of out become value."""
    if not isinstance(out, np.ndarray) or out.dtype not in _check.REALS:
        raise TypeError(f"fill: out must be an array of float32 or float64, got {getattr(out, 'dtype', type(out))}")
    _check.out("fill", out, out.shape, out.dtype)
    cost = out.nbytes * _NS_BYTE
    _core.run("fill", out.dtype == np.float64, (out,), (out.size, 1), (float(value),), cost=cost)
    return out


def gather_rows(table, indices, *, out=None):
    """table[indices]: (rows, columns) by int32 indices of any shape; all must be within the table."""
    table = _check.array("gather_rows", "table", table, ndim=2)
    indices = _indices("gather_rows", indices, table.shape[0])
    out = _check.out("gather_rows", out, (*indices.shape, table.shape[1]), table.dtype)
    _check.no_overlap("gather_rows", "out", out, table=table)
    ints = (indices.size, table.shape[1], table.shape[0])
    _core.run("gather_rows", table.dtype == np.float64, (out, table, indices), ints, cost=out.nbytes * _NS_BYTE)
    return out


def scatter_add_rows(table, x, indices):
    """table[indices[r]] += x[r] in the order of r, in place."""
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.dtype not in _check.REALS:
        raise TypeError("scatter_add_rows: table must be a 2-dimensional array of float32 or float64")
    _check.out("scatter_add_rows", table, table.shape, table.dtype, "table")
    indices = _indices("scatter_add_rows", indices, table.shape[0])
    x = _check.array("scatter_add_rows", "x", x)
    _check.same_dtype("scatter_add_rows", table=table, x=x)
    _check.shape("scatter_add_rows", "x", x, (*indices.shape, table.shape[1]))
    _check.no_overlap("scatter_add_rows", "table", table, x=x)
    ints = (indices.size, table.shape[1], table.shape[0])
    _core.run("scatter_add_rows", x.dtype == np.float64, (table, x, indices), ints, cost=2 * x.nbytes * _NS_BYTE)
    return table


def _indices(where, indices, rows):
    indices = _check.array(where, "indices", indices, (_INT32,))
    if indices.size and not (0 <= indices.min() and indices.max() < rows):
        raise ValueError(
            f"{where}: indices must be within [0, {rows}), got {int(indices.min())} to {int(indices.max())}"
        )
    return indices


def load_batch(source, rows, *, order=None, first=0, scale=1.0, offset=0.0, dtype=np.float32, out=None):
    """`rows` rows of source (samples, ...) times scale plus offset as dtype (float32, float64 or int32): those of
    order[:rows] (int64), else those from `first` on."""
    if not isinstance(source, np.ndarray) or source.dtype.name not in BATCH_TYPES or source.ndim == 0:
        raise TypeError(f"load_batch: source must be an array of one of {', '.join(BATCH_TYPES)}")
    if not (source.flags.c_contiguous and source.flags.aligned):
        raise ValueError(
            "load_batch: source must be C-contiguous and aligned; copy it once with numpy.ascontiguousarray(source)"
        )
    dtype = np.dtype(dtype)
    if dtype not in _MOVED:
        raise TypeError(f"load_batch: dtype must be float32, float64 or int32, got {dtype}")
    samples = source.shape[0]
    if order is not None:
        order = _check.array("load_batch", "order", order, (np.dtype(np.int64),), ndim=1)[:rows]
        if order.size < rows or (rows and not (0 <= order.min() and order.max() < samples)):
            raise ValueError(f"load_batch: order must hold {rows} indices within [0, {samples})")
    elif not 0 <= first <= first + rows <= samples:
        raise ValueError(f"load_batch: rows {first} to {first + rows} are not all among {samples} samples")
    out = _check.out("load_batch", out, (rows, *source.shape[1:]), dtype)
    if rows:
        cols = math.prod(source.shape[1:])
        ints = (1, cols, BATCH_TYPES[source.dtype.name], dtype == _INT32)
        _core.run(
            "load_batch", dtype == np.float64, (out, source), ints, (float(scale), float(offset)),
            rows=rows, order=order, first=first, cost=cols * dtype.itemsize * _NS_BYTE,
        )  # fmt: skip
    return out


def store_batch(y, x, first=0):
    """y[first + r] = x[r] for all rows of x, in place."""
    x = _check.array("store_batch", "x", x)
    if not isinstance(y, np.ndarray) or x.ndim == 0 or y.shape[1:] != x.shape[1:]:
        raise ValueError(f"store_batch: y must be an array with rows as those of x, {x.shape[1:]}")
    _check.out("store_batch", y, y.shape, x.dtype, "y")
    if not 0 <= first <= first + x.shape[0] <= y.shape[0]:
        raise ValueError(f"store_batch: rows {first} to {first + x.shape[0]} are not all among {y.shape[0]}")
    _check.no_overlap("store_batch", "y", y, x=x)
    if x.shape[0]:
        cols = math.prod(x.shape[1:])
        cost = cols * x.itemsize * _NS_BYTE
        _core.run("store_batch", x.dtype == np.float64, (y, x), (1, cols), rows=x.shape[0], first=first, cost=cost)
    return y


__all__ = [
    "broadcast_to", "concatenate", "copy_columns", "fill", "flip", "gather_rows", "load_batch", "scatter_add_rows",
    "store_batch", "strided_copy", "strided_scatter", "transpose",
]  # fmt: skip
