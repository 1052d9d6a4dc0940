"""What every operation is, and the two ways to apply one.

An operation is one class: its shape rule (`infer`), its gradient rule (`gradient`) and its lowering to kernels
(`lower`), side by side. `apply` adds it to the graph when an argument is symbolic, and runs the same kernels at once
when all are arrays. To add an operation, write such a class in the module of its family and a function that users
call; nothing else needs to know of it.
"""

import functools
import math

import numpy as np

from fastnn import _core, config, graph, precision
from fastnn.graph import Spec, Tensor
from fastnn.utils import seeding
from fastnn.variables import Variable

REALS = ("float32", "float64")


class Op:
    """One operation. Instances carry the operation's parameters and are immutable.

    `lower(b, outs, ins)` emits kernels through the builder b: `b.run(kernel, operands, ints, ...)`. Values (outs, ins)
    have `shape` and `dtype` only; a leading None in a shape stands for the samples of a batch, and kernels are then
    given the rows of one sample (`lead`).
    """

    name = "op"
    is_view = False  # the result is the first input's memory under another shape
    in_place = ()  # pairs (output, input): the kernel may write over this input's memory
    is_random = False  # draws numbers, as a function of the step's seed and number
    has_effect = False  # runs even when nothing uses its results
    stops_gradient = False  # no gradient flows to any input
    float_input = None  # number of the input whose float type is the operation's, where several float types mix

    def infer(self, *ins):
        """Spec (or tuple of Specs) of the results; raises ValueError on shapes that do not fit."""
        raise NotImplementedError

    def gradient(self, node, *grads):
        """Gradients of the inputs (None: none flows) from those of the outputs."""
        raise ValueError(f"{self.name} has no gradient")

    def lower(self, b, outs, ins):
        raise NotImplementedError

    def config(self):
        """Keyword arguments that make an equal operation (for files and for comparing nodes)."""
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}

    def __repr__(self):
        args = ", ".join(f"{k}={v!r}" for k, v in self.config().items())
        return f"{self.name}({args})"


class NoGradient:
    """Returned by `Op.gradient` for an input that it cannot differentiate by: an error only where that is needed."""

    def __init__(self, reason):
        self.reason = reason


REGISTRY = {}


def register(cls):
    """Class decorator: makes an operation known by its class name, for files."""
    REGISTRY[cls.__name__] = cls
    return cls


# ---- sizes ----


def size(shape):
    """Number of elements; of one sample when batched."""
    return math.prod(d for d in shape if d is not None)


def lead(shape, axis):
    """(rows, columns): the extents before and from `axis` on, rows of one sample when batched."""
    return size(shape[:axis]), size(shape[axis:])


def is_batched(shape):
    return len(shape) > 0 and shape[0] is None


def normalize_axis(axis, ndim, where):
    if not -ndim <= axis < ndim:
        raise ValueError(f"{where}: axis {axis} is out of range for {ndim} dimensions")
    return axis % ndim


def normalize_axes(axis, ndim, where):
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    axes = tuple(sorted(normalize_axis(a, ndim, where) for a in axes))
    if len(set(axes)) != len(axes):
        raise ValueError(f"{where}: axis {axis} names a dimension twice")
    return axes


def broadcast_shapes(where, *shapes):
    """The common shape of NumPy's broadcasting; the batch dimension (None) goes with itself and with 1 only."""
    ndim = max(len(s) for s in shapes)
    out = []
    for j in range(ndim):
        dims = {s[j - ndim + len(s)] for s in shapes if j - ndim + len(s) >= 0} - {1}
        if len(dims) > 1:
            hint = ""
            if None in dims:
                hint = "; None is the batch, which no fixed size fits"
            raise ValueError(f"{where}: shapes {' and '.join(map(str, shapes))} do not fit each other{hint}")
        out.append(dims.pop() if dims else 1)
    if None in out[1:]:
        raise ValueError(f"{where}: shapes {' and '.join(map(str, shapes))}: the batch must be the leading dimension")
    return tuple(out)


# ---- applying ----


def is_tensor(x):
    return isinstance(x, Tensor)


def shape_of(x):
    return x.shape if isinstance(x, (Tensor, Variable, np.ndarray)) else np.shape(x)


def as_tensor(x, dtype):
    """x as a tensor of the graph: a variable's leaf, an array or number as a constant of `dtype`."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, Variable):
        if x.dtype in REALS and dtype in REALS and x.dtype != dtype:
            raise TypeError(
                f"variable {x.path} of {x.dtype} does not mix with tensors of {dtype}; give all layers one dtype"
            )
        trace = graph.current_trace()
        if trace is None:
            node = graph.Node(graph.Leaf("variable", x, x.name), (), [Spec(x.shape, x.dtype)])
            return node.outputs[0]
        return trace.leaf(x)
    array = np.asarray(x)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"expected a tensor, an array or a number, got {type(x).__name__} of {array.dtype}")
    return graph.constant(array, dtype)


@functools.cache
def name_of(dtype):
    """str(dtype), which NumPy composes anew each time, in as long as a small kernel takes."""
    return str(dtype)


def common_dtype(args, where):
    """The float type of an operation's arguments. Plain numbers and integer arrays take that of the others."""
    found = []
    for x in args:
        if isinstance(x, (Tensor, Variable)):
            found.append(x.dtype)
        elif isinstance(x, (np.ndarray, np.generic)):
            found.append(name_of(x.dtype))
    reals = {d for d in found if d in REALS}
    symbolic = {x.dtype for x in args if isinstance(x, Tensor) and x.dtype in REALS}
    if len(symbolic) > 1:
        raise TypeError(f"{where}: tensors of {' and '.join(sorted(symbolic))} do not mix; use fastnn.ops.cast")
    if symbolic:
        return symbolic.pop()
    if not reals:
        return config.floatx()
    return "float64" if "float64" in reals else "float32"


def apply(op, *inputs, dtypes=None):
    """The results of op on `inputs`: tensors when one of them is symbolic, else arrays, computed now.

    `dtypes` gives the dtype each input is taken as; by default all are of the one float type they have in common.
    """
    if dtypes is None:
        dtypes = [common_dtype(inputs, op.name)] * len(inputs)
    # Within a trace a variable is symbolic too: its value now is not the one of the steps to come.
    if any(isinstance(x, Tensor) for x in inputs) or (
        graph.current_trace() is not None and any(isinstance(x, Variable) for x in inputs)
    ):
        tensors = [as_tensor(x, d) for x, d in zip(inputs, dtypes, strict=True)]
        outputs = make(op, *tensors)
    else:
        outputs = run(op, *[_as_array(x, d) for x, d in zip(inputs, dtypes, strict=True)])
    return outputs[0] if len(outputs) == 1 else outputs


def make(op, *tensors):
    """Adds a node to the graph; the tuple of its results."""
    specs = op.infer(*[Spec(t.shape, t.dtype) for t in tensors])
    if isinstance(specs, Spec):
        specs = (specs,)
    node = graph.Node(op, tensors, specs)
    trace = graph.current_trace()
    if op.has_effect and trace is not None:
        trace.effects.append(node)
    return node.outputs


def _as_array(x, dtype):
    value = x.value if isinstance(x, Variable) else np.asarray(x)
    if value.dtype.kind not in "iufb":
        raise TypeError(f"expected an array or a number, got {type(x).__name__} of {value.dtype}")
    if value.flags.carray and name_of(value.dtype) == dtype:
        return value
    return np.require(value, dtype, ("C", "A")).reshape(value.shape)


def run(op, *arrays):
    """Runs op on arrays at once; the tuple of its results."""
    specs = op.infer(*[Spec(a.shape, name_of(a.dtype)) for a in arrays])
    if isinstance(specs, Spec):
        specs = (specs,)
    if op.is_view:
        return (arrays[0].reshape(specs[0].shape),)
    outs = tuple(np.empty(s.shape, s.dtype) for s in specs)
    op.lower(EagerBuilder(op, arrays, specs), outs, arrays)
    return outs


class Samples:
    """An array whose leading dimension counts samples, as an operation of a graph sees it."""

    def __init__(self, array):
        self.array = array
        self.shape = (None, *array.shape[1:])
        self.dtype = name_of(array.dtype)


def run_samples(op, tensors, values):
    """Runs an operation of a graph, made for the symbolic `tensors`, on arrays in their places; the tuple of its
    results. Leading dimensions that the graph calls the batch count samples."""
    arrays = [_as_array(v, t.dtype) for v, t in zip(values, tensors, strict=True)]
    counts = {len(a) for a, t in zip(arrays, tensors, strict=True) if t.batched}
    if not counts:
        return run(op, *arrays)
    if len(counts) > 1:
        raise ValueError(f"{op.name}: all inputs need one number of samples, got {' and '.join(map(str, counts))}")
    (rows,) = counts
    specs = op.infer(*[Spec(t.shape, t.dtype) for t in tensors])
    specs = (specs,) if isinstance(specs, Spec) else specs
    builder = SamplesBuilder(op, arrays, specs, rows)
    if op.is_view:
        return (arrays[0].reshape((rows, *specs[0].shape[1:])),)
    outs = [builder.temporary(s.shape, s.dtype) for s in specs]
    if rows:
        op.lower(
            builder, tuple(outs), tuple(Samples(a) if t.batched else a for a, t in zip(arrays, tensors, strict=True))
        )
    return tuple(getattr(out, "array", out) for out in outs)


class EagerBuilder:
    """Runs each kernel as it is emitted."""

    training = False

    def __init__(self, op, arrays, specs):
        dtypes = [name_of(a.dtype) for a in arrays] + [s.dtype for s in specs]
        if op.float_input is not None:
            dtypes = [dtypes[op.float_input]]
        self.dtype = "float64" if "float64" in dtypes else "float32"
        self.level = precision.level_of(self.dtype, graph.is_lowering(), config.matmul_precision())
        self.seed = seeding.next_seed() if op.is_random else 0  # outside of a step each call draws anew

    def run(self, kernel, operands, ints, reals=(), *, cost=0.0, batched=False, split=-1):
        assert not batched
        ints = precision.adjust(kernel, tuple(ints), self.level)
        _core.run(kernel, self.dtype == "float64", tuple(operands), ints, tuple(reals), cost=cost, split=split,
                  seed=self.seed)  # fmt: skip

    def temporary(self, shape, dtype):
        return np.empty(shape, dtype)

    def view(self, value, shape):
        return value.reshape(shape)

    def constant(self, array):
        return array


class SamplesBuilder(EagerBuilder):
    """The same where values lead with a batch of `rows` samples."""

    def __init__(self, op, arrays, specs, rows):
        super().__init__(op, arrays, specs)
        self.rows = rows

    def run(self, kernel, operands, ints, reals=(), *, cost=0.0, batched=False, split=-1):
        operands = tuple(getattr(v, "array", v) for v in operands)
        ints = precision.adjust(kernel, tuple(ints), self.level)
        _core.run(kernel, self.dtype == "float64", operands, ints, tuple(reals), cost=cost, split=split,
                  rows=self.rows if batched else 0, seed=self.seed)  # fmt: skip

    def temporary(self, shape, dtype):
        if is_batched(shape):
            return Samples(np.zeros((self.rows, *shape[1:]), dtype))
        return np.zeros(shape, dtype)
