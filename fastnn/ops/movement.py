"""Operations that move or view elements: reshape, transpose, broadcast, slice, concatenate, gather."""

import math

import numpy as np

from fastnn import graph
from fastnn.graph import Spec, Tensor
from fastnn.ops.core import (
    Op,
    apply,
    broadcast_shapes,
    common_dtype,
    is_batched,
    lead,
    make,
    normalize_axes,
    normalize_axis,
    register,
    shape_of,
    size,
)
from fastnn.variables import Variable

_COST = 0.3  # ns an element


def _strides(shape):
    """Strides in elements of a contiguous array (the batch counts as 1: it is never an inner extent)."""
    strides, step = [], 1
    for d in reversed(shape):
        strides.append(step)
        step *= 1 if d is None else d
    return strides[::-1]


def emit_strided(b, out, x, sizes, strides, offset=0):
    """out (contiguous, of extents `sizes`) <- x read with `strides` from `offset`; sizes[0] may be None."""
    batched = is_batched(sizes)
    sizes, strides = list(sizes), list(strides)
    if not sizes:
        sizes, strides = [1], [0]
    # Join neighbours that lie one behind the other, so that the kernel sees long runs.
    at = 1
    while at < len(sizes) - 1:
        if strides[at] == strides[at + 1] * sizes[at + 1]:
            strides[at] = strides[at + 1]
            sizes[at] *= sizes[at + 1]
            del sizes[at + 1], strides[at + 1]
        else:
            at += 1
    if len(sizes) > 7:
        raise ValueError(f"tensors of more than 7 dimensions cannot be rearranged, got {len(sizes)}")
    kernel = "strided_copy_int" if out.dtype == "int32" else "strided_copy"
    rows = 1 if batched else sizes[0]
    ints = (rows, len(sizes) - 1, *sizes[1:], strides[0], *strides[1:], offset, 0)
    b.run(kernel, (out, x), ints, cost=size(out.shape) * _COST, batched=batched)


def lower_broadcast(b, out, x):
    """out <- x repeated along the dimensions where its extent is 1."""
    ndim = len(out.shape)
    shape = (1,) * (ndim - len(x.shape)) + tuple(x.shape)
    strides = _strides(shape)
    strides = [0 if d == 1 and o != 1 else s for d, o, s in zip(shape, out.shape, strides, strict=True)]
    emit_strided(b, out, x, out.shape, strides)


@register
class Reshape(Op):
    """The same elements under another shape; the batch dimension stays."""

    name = "reshape"
    is_view = True

    def __init__(self, shape):
        self.shape = tuple(None if d is None else int(d) for d in shape)

    def infer(self, x):
        shape = list(self.shape)
        if is_batched(x.shape):
            if not shape or shape[0] not in (None, -1):
                raise ValueError(
                    f"reshape: a batch of shape {x.shape} cannot become {self.shape}: the batch stays first"
                )
            known, inner = size(x.shape), shape[1:]
        else:
            known, inner = size(x.shape), shape
        if inner.count(-1) > 1:
            raise ValueError(f"reshape: only one dimension can be -1, got {self.shape}")
        if None in inner:
            raise ValueError(f"reshape: only the leading dimension can be the batch, got {self.shape}")
        if -1 in inner:
            rest = math.prod(d for d in inner if d != -1)
            if rest == 0 or known % rest:
                raise ValueError(f"reshape: {x.shape} cannot become {self.shape}")
            inner[inner.index(-1)] = known // rest
        if math.prod(inner) != known:
            raise ValueError(
                f"reshape: {x.shape} has {known} elements{' a sample' if is_batched(x.shape) else ''}, "
                f"which cannot become {self.shape}"
            )
        return Spec((None, *inner) if is_batched(x.shape) else tuple(inner), x.dtype)

    def gradient(self, node, dy):
        return (reshape(dy, node.inputs[0].shape),)


@register
class Transpose(Op):
    """Dimensions in the order `axes`; the batch stays first."""

    name = "transpose"

    def __init__(self, axes):
        self.axes = tuple(axes)

    def infer(self, x):
        if sorted(self.axes) != list(range(len(x.shape))):
            raise ValueError(f"transpose: axes {self.axes} are no order of the dimensions of {x.shape}")
        if is_batched(x.shape) and self.axes[0] != 0:
            raise ValueError(f"transpose: the batch must stay first, got axes {self.axes} for {x.shape}")
        return Spec(tuple(x.shape[a] for a in self.axes), x.dtype)

    def gradient(self, node, dy):
        return (transpose(dy, tuple(int(a) for a in np.argsort(self.axes))),)

    def lower(self, b, outs, ins):
        strides = _strides(ins[0].shape)
        emit_strided(b, outs[0], ins[0], outs[0].shape, [strides[a] for a in self.axes])


@register
class BroadcastTo(Op):
    """x repeated to `shape`, by NumPy's rule; `shape` may lead with None."""

    name = "broadcast_to"

    def __init__(self, shape):
        self.shape = tuple(shape)

    def infer(self, x):
        shape = tuple(None if d is None else int(d) for d in self.shape)
        if broadcast_shapes("broadcast_to", x.shape, shape) != shape:
            raise ValueError(f"broadcast_to: {x.shape} cannot become {shape}")
        return Spec(shape, x.dtype)

    def gradient(self, node, dy):
        return (sum_to(dy, node.inputs[0].shape),)

    def lower(self, b, outs, ins):
        lower_broadcast(b, outs[0], ins[0])


@register
class Slice(Op):
    """x[begin : begin + size * step : step] along every dimension (of a sample, when batched)."""

    name = "slice"

    def __init__(self, begin, sizes, steps):
        self.begin, self.sizes, self.steps = tuple(begin), tuple(sizes), tuple(steps)

    def infer(self, x):
        head = (None,) if is_batched(x.shape) else ()
        return Spec((*head, *self.sizes), x.dtype)

    def gradient(self, node, dy):
        return (make(SliceGrad(node.inputs[0].shape, self.begin, self.steps), dy)[0],)

    def lower(self, b, outs, ins):
        sizes, strides, offset = _slice_layout(ins[0].shape, self.begin, self.sizes, self.steps)
        emit_strided(b, outs[0], ins[0], sizes, strides, offset)


def _slice_layout(shape, begin, sizes, steps):
    strides = _strides(shape)
    head = 1 if is_batched(shape) else 0
    offset = sum(a * s for a, s in zip(begin, strides[head:], strict=True))
    steps = [a * s for a, s in zip(steps, strides[head:], strict=True)]
    return ([None] if head else []) + list(sizes), strides[:head] + steps, offset


@register
class SliceGrad(Op):
    """`value` everywhere in `shape`, with dy in the slice."""

    name = "slice_grad"

    def __init__(self, shape, begin, steps, value=0.0):
        self.shape, self.begin, self.steps = tuple(shape), tuple(begin), tuple(steps)
        self.value = float(value)

    def infer(self, dy):
        return Spec(self.shape, dy.dtype)

    def gradient(self, node, d):
        shape = node.inputs[0].shape
        inner = shape[1:] if is_batched(shape) else shape
        return (make(Slice(self.begin, inner, self.steps), d)[0],)

    def lower(self, b, outs, ins):
        batched = is_batched(self.shape)
        n = size(self.shape)
        b.run("fill", outs, (1, n) if batched else (n, 1), (self.value,), cost=n * 0.1, batched=batched)
        dy = ins[0]
        inner = dy.shape[1:] if batched else dy.shape
        sizes, strides, offset = _slice_layout(self.shape, self.begin, inner, self.steps)
        if not sizes:
            sizes, strides = [1], [0]
        ints = (1 if batched else sizes[0], len(sizes) - 1, *sizes[1:], strides[0], *strides[1:], offset, 0)
        b.run("strided_scatter", (outs[0], dy), ints, cost=size(dy.shape) * _COST, batched=batched)


@register
class Concatenate(Op):
    """Tensors one behind the other along `axis`."""

    name = "concatenate"

    def __init__(self, axis):
        self.axis = axis

    def infer(self, *xs):
        first = xs[0].shape
        for x in xs[1:]:
            fits = len(x.shape) == len(first) and all(
                a == c for j, (a, c) in enumerate(zip(x.shape, first, strict=True)) if j != self.axis
            )
            if not fits:
                raise ValueError(
                    f"concatenate: shapes {' and '.join(str(x.shape) for x in xs)} differ outside axis {self.axis}"
                )
        if first[self.axis] is None:
            raise ValueError("concatenate: samples cannot be concatenated along the batch (axis 0)")
        total = sum(x.shape[self.axis] for x in xs)
        return Spec((*first[: self.axis], total, *first[self.axis + 1 :]), xs[0].dtype)

    def gradient(self, node, dy):
        grads, at = [], 0
        for x in node.inputs:
            n = x.shape[self.axis]
            index = [slice(None)] * len(x.shape)
            index[self.axis] = slice(at, at + n)
            grads.append(getitem(dy, tuple(index)))
            at += n
        return tuple(grads)

    def lower(self, b, outs, ins):
        rows, columns = lead(outs[0].shape, self.axis)
        batched, at = is_batched(outs[0].shape), 0
        for x in ins:
            n = lead(x.shape, self.axis)[1]
            b.run("copy_columns", (outs[0], x), (rows, n, columns, n, 0, at), cost=rows * n * _COST, batched=batched)
            at += n


@register
class Gather(Op):
    """Rows of a table by int32 index: (n, d), (...) -> (..., d)."""

    name = "gather"

    def infer(self, table, index):
        return Spec((*index.shape, *table.shape[1:]), table.dtype)

    def gradient(self, node, dy):
        table, index = node.inputs
        return make(GatherGrad(table.shape), dy, index)[0], None

    def lower(self, b, outs, ins):
        table, index = ins
        rows, columns = size(index.shape), size(table.shape[1:])
        b.run("gather_rows", (outs[0], table, index), (rows, columns, table.shape[0]), cost=rows * columns * _COST,
              batched=is_batched(index.shape))  # fmt: skip


@register
class GatherGrad(Op):
    """Zeros of the table's shape with dy added at each index. `rows_only`: just the rows at the indices are made; the
    others hold what was in memory before."""

    name = "gather_grad"

    def __init__(self, shape, rows_only=False):
        self.shape, self.rows_only = tuple(shape), rows_only

    def infer(self, dy, index):
        return Spec(self.shape, dy.dtype)

    def lower(self, b, outs, ins):
        dy, index = ins
        n, columns = size(self.shape), size(self.shape[1:])
        if not self.rows_only:
            b.run("fill", outs, (n, 1), (0.0,), cost=n * 0.1)
        rows = size(index.shape)
        b.run("scatter_add_rows", (outs[0], dy, index), (rows, columns, self.shape[0], int(self.rows_only)),
              cost=rows * columns, batched=is_batched(index.shape))  # fmt: skip


# ---- functions for users ----


def _rank(x):
    return len(shape_of(x))


def _dtypes(x, count=1):
    """int32 tensors are moved as they are; everything else is of the float type."""
    dtype = str(getattr(x, "dtype", ""))
    return [dtype if dtype == "int32" else common_dtype((x,), "shape")] * count


def reshape(x, newshape):
    """x under another shape; -1 stands for what is left, the batch stays the leading dimension."""
    shape = shape_of(x)
    newshape = tuple(newshape) if not isinstance(newshape, int) else (newshape,)
    if newshape == shape:
        return x
    return apply(Reshape(newshape), x, dtypes=_dtypes(x))


def flatten(x):
    """Each sample as one row: (n, ...) -> (n, size)."""
    shape = shape_of(x)
    return reshape(x, (shape[0], size(shape[1:])))


def transpose(x, axes=None):
    """Dimensions in another order (reversed by default)."""
    ndim = _rank(x)
    axes = tuple(range(ndim))[::-1] if axes is None else tuple(normalize_axis(a, ndim, "transpose") for a in axes)
    if axes == tuple(range(ndim)):
        return x
    return apply(Transpose(axes), x, dtypes=_dtypes(x))


def swapaxes(x, axis1, axis2):
    """Two dimensions exchanged."""
    axes = list(range(_rank(x)))
    a, b = (normalize_axis(v, len(axes), "swapaxes") for v in (axis1, axis2))
    axes[a], axes[b] = axes[b], axes[a]
    return transpose(x, axes)


def expand_dims(x, axis):
    """A dimension of extent 1 put in at `axis`."""
    shape = list(shape_of(x))
    axis = normalize_axis(axis, len(shape) + 1, "expand_dims")
    if axis == 0 and is_batched(shape):
        raise ValueError("expand_dims: no dimension can be put before the batch")
    shape.insert(axis, 1)
    return reshape(x, shape)


def squeeze(x, axis=None):
    """Dimensions of extent 1 taken out."""
    shape = shape_of(x)
    axes = [j for j, d in enumerate(shape) if d == 1] if axis is None else normalize_axes(axis, len(shape), "squeeze")
    for a in axes:
        if shape[a] != 1:
            raise ValueError(f"squeeze: dimension {a} of {shape} is not 1")
    return reshape(x, tuple(d for j, d in enumerate(shape) if j not in axes))


def broadcast_to(x, shape):
    """x repeated to `shape`, by NumPy's rule."""
    return x if tuple(shape_of(x)) == tuple(shape) else apply(BroadcastTo(shape), x, dtypes=_dtypes(x))


def concatenate(xs, axis=0):
    """Tensors one behind the other along `axis`."""
    xs = list(xs)
    if not xs:
        raise ValueError("concatenate: at least one tensor is needed")
    axis = normalize_axis(axis, _rank(xs[0]), "concatenate")
    return xs[0] if len(xs) == 1 else apply(Concatenate(axis), *xs)


def stack(xs, axis=0):
    """Tensors of one shape along a new dimension."""
    return concatenate([expand_dims(x, axis) for x in xs], axis)


def split(x, indices_or_sections, axis=0):
    """A list of pieces along `axis`: so many equal ones, or cut at the given places."""
    axis = normalize_axis(axis, _rank(x), "split")
    n = shape_of(x)[axis]
    if isinstance(indices_or_sections, int):
        if n is None or n % indices_or_sections:
            raise ValueError(f"split: {n} cannot be cut into {indices_or_sections} equal pieces")
        cuts = [n // indices_or_sections * j for j in range(1, indices_or_sections)]
    else:
        cuts = list(indices_or_sections)
    pieces = []
    for lo, hi in zip([0, *cuts], [*cuts, n], strict=True):
        index = [slice(None)] * _rank(x)
        index[axis] = slice(lo, hi)
        pieces.append(getitem(x, tuple(index)))
    return pieces


def getitem(x, index):
    """x[index] with integers, slices, None and `...`; the batch can only be taken whole."""
    if not isinstance(x, (Tensor, Variable)):
        return np.asarray(x)[index]
    index = index if isinstance(index, tuple) else (index,)
    shape = x.shape
    used = sum(1 for v in index if v is not None and v is not Ellipsis)
    if used > len(shape):
        raise IndexError(f"too many indices for a tensor of shape {shape}: {index}")
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = index[:at] + (slice(None),) * (len(shape) - used) + index[at + 1 :]
    else:
        index = index + (slice(None),) * (len(shape) - used)
    begin, sizes, steps, result, dim = [], [], [], [], 0
    for v in index:
        if v is None:
            result.append(1)
            continue
        n = shape[dim]
        dim += 1
        if n is None:
            if v != slice(None):
                raise IndexError(f"a tensor of shape {shape} cannot be indexed along the batch: got {v!r}")
            result.append(None)
            continue
        if isinstance(v, (int, np.integer)):
            if not -n <= v < n:
                raise IndexError(f"index {v} is out of range for dimension {dim - 1} of {shape}")
            begin.append(int(v) % n)
            sizes.append(1)
            steps.append(1)
        elif isinstance(v, slice):
            start, stop, step = v.indices(n)
            count = len(range(start, stop, step))
            begin.append(start)
            sizes.append(count)
            steps.append(step)
            result.append(count)
        else:
            raise TypeError(f"a symbolic tensor is indexed by integers, slices, None and ..., got {type(v).__name__}")
    inner = shape[1:] if is_batched(shape) else shape
    if tuple(sizes) == tuple(inner) and all(s == 1 for s in steps):
        return reshape(x, tuple(result))
    return reshape(apply(Slice(begin, sizes, steps), x, dtypes=_dtypes(x)), tuple(result))


def flip(x, axis=None):
    """Elements in reverse order along the dimensions `axis`."""
    axes = normalize_axes(axis, _rank(x), "flip")
    return getitem(x, tuple(slice(None, None, -1) if j in axes else slice(None) for j in range(_rank(x))))


def take(x, indices, axis=0):
    """Rows of x by integer index (axis 0), differentiable in x."""
    if axis != 0:
        raise ValueError(f"take: only axis=0 is supported, got {axis}")
    if not isinstance(indices, (Tensor, Variable)):
        indices = np.asarray(indices)
        n = shape_of(x)[0]
        if indices.size and (indices.min() < 0 or indices.max() >= n):
            raise ValueError(f"take: indices must be in 0..{n - 1}, got {indices.min()} to {indices.max()}")
        indices = indices.astype(np.int32)
    return apply(Gather(), x, indices, dtypes=[common_dtype((x,), "take"), "int32"])


def sum_to(x, shape):
    """x summed over the dimensions along which a tensor of `shape` was repeated: the gradient of broadcasting."""
    from fastnn.ops.reductions import sum

    shape = tuple(shape)
    if x.shape == shape:
        return x
    extra = len(x.shape) - len(shape)
    padded = (1,) * extra + shape
    axes = tuple(j for j, (a, c) in enumerate(zip(x.shape, padded, strict=True)) if c == 1 and a != 1)
    if axes or extra:
        x = sum(x, axis=tuple(sorted({*axes, *range(extra)})), keepdims=False)
    return reshape(x, shape)


def zeros_like(x, dtype=None):
    """Zeros of x's shape."""
    return _full_like(x, 0.0) if isinstance(x, Tensor) else np.zeros_like(x, dtype=dtype)


def ones_like(x, dtype=None):
    """Ones of x's shape."""
    return _full_like(x, 1.0) if isinstance(x, Tensor) else np.ones_like(x, dtype=dtype)


def _full_like(x, value):
    return broadcast_to(graph.constant(value, x.dtype), x.shape)


def shape(x):
    """The shape, as a tuple; None stands for the batch."""
    return tuple(shape_of(x))


def ndim(x):
    """The number of dimensions."""
    return _rank(x)


def convert_to_tensor(x, dtype=None):
    """x as an array of the default float type (or `dtype`); tensors and variables as they are."""
    from fastnn import config

    if isinstance(x, (Tensor, Variable)):
        return x
    x = np.asarray(x)
    return x.astype(dtype or (config.floatx() if x.dtype.kind == "f" else x.dtype))


def convert_to_numpy(x):
    """x as a NumPy array."""
    return np.asarray(x.value if isinstance(x, Variable) else x)
