"""Symbolic tensors and the graph they form.

A `Tensor` stands for a value that exists only while a plan runs: its shape, its dtype and the `Node` that makes it.
The leading entry of a shape is None when it counts the samples of a batch. A `Node` is one operation of `fastnn.ops`
applied to tensors, or a leaf: an input, a variable, a constant. Graphs are built by calling ops on tensors; the
compiler turns them into plans.
"""

import contextlib
import itertools
import threading
import weakref
from typing import NamedTuple

import numpy as np

#: What a model is first built with where an Input leaves a length open.
ANY_LENGTH = 32

_numbers = itertools.count()


class Spec(NamedTuple):
    """What is known of a value before it exists."""

    shape: tuple
    dtype: str


class Tensor:
    """A symbolic value: `shape` (None leads when batched), `dtype`, and the node whose output `index` it is. `mask` is
    a tensor that is 0 for the steps of a sequence that do not count, or None."""

    __array_priority__ = 100  # array + tensor goes to the tensor
    __array_ufunc__ = None

    __slots__ = ("dtype", "index", "mask", "name", "node", "shape")

    def __init__(self, node, index, shape, dtype, name=None):
        self.node = node
        self.index = index
        self.shape = tuple(shape)
        self.dtype = dtype
        self.name = name
        self.mask = None

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def batched(self):
        return len(self.shape) > 0 and self.shape[0] is None

    def __repr__(self):
        return f"<Tensor {self.name or self.node.label} shape={self.shape} dtype={self.dtype}>"

    def __bool__(self):
        raise TypeError(
            f"{self!r} has no value while the graph is built, so it cannot decide an `if`; use fastnn.ops.where"
        )

    def __len__(self):
        if not self.shape or self.shape[0] is None:
            raise TypeError(f"{self!r} has no length before it runs")
        return self.shape[0]

    def __iter__(self):
        raise TypeError(f"{self!r} cannot be iterated over; index it or use fastnn.ops.split")

    def __array__(self, *args, **kwargs):
        raise TypeError(f"{self!r} is symbolic and has no values: use fastnn.ops on it instead of NumPy functions")


_array_masks = {}  # id of an array -> (weak reference to it, its mask)


def mask_of(x):
    """The mask of a tensor or array of sequences: 0 for the steps that do not count; None: all do."""
    if isinstance(x, Tensor):
        return x.mask
    found = _array_masks.get(id(x))
    return found[1] if found is not None and found[0]() is x else None


def set_mask(x, mask):
    """Gives a tensor or array a mask, for the layers that it goes through next."""
    if isinstance(x, Tensor):
        x.mask = mask
    elif isinstance(x, np.ndarray):
        number = id(x)
        _array_masks[number] = weakref.ref(x, lambda _: _array_masks.pop(number, None)), mask


class Node:
    """An operation applied to tensors. `number` orders nodes by creation, which is a topological order."""

    __slots__ = ("inputs", "lowered", "number", "op", "outputs")

    def __init__(self, op, inputs, specs):
        self.number = next(_numbers)
        self.op = op
        self.lowered = is_lowering()
        self.inputs = tuple(inputs)
        self.outputs = tuple(Tensor(self, j, s.shape, s.dtype) for j, s in enumerate(specs))

    @property
    def label(self):
        return self.op.name

    def __repr__(self):
        return f"<Node {self.number} {self.label}>"


class Leaf:
    """The op of a node that computes nothing."""

    name = "leaf"

    def __init__(self, kind, content=None, name=None):
        self.kind = kind  # "input", "variable", "constant"
        self.content = content
        self.name = name or kind

    def __repr__(self):
        return f"<{self.kind} {self.name}>"


def input_tensor(shape, dtype, name=None):
    node = Node(Leaf("input", name=name), (), [Spec(tuple(shape), dtype)])
    node.outputs[0].name = name
    return node.outputs[0]


def constant(value, dtype):
    value = np.require(value, dtype, ("C", "A"))
    return Node(Leaf("constant", value), (), [Spec(value.shape, dtype)]).outputs[0]


def is_constant(tensor):
    return isinstance(tensor.node.op, Leaf) and tensor.node.op.kind == "constant"


class Trace:
    """What a traced function did besides computing its result: variables read, values assigned, losses added.

    Within a trace, layers run their `call` on the tensors they get; outside of one, a layer called on symbolic
    tensors becomes one opaque node of a functional model.
    """

    def __init__(self, training=False, rows=None):
        self.training = training
        self.rows = rows  # the most samples a step can have, where that is known
        self.variables = {}  # Variable -> leaf tensor
        self.updates = {}  # Variable -> tensor assigned to it last
        self.effects = []  # nodes to run for what they do
        self.losses = []  # added by add_loss and activity regularizers
        self.mixture = None  # (weights, partners) of samples that were mixed: their targets count likewise
        self.streams = 0  # random streams handed out

    def __enter__(self):
        _stack().append(self)
        return self

    def __exit__(self, *exc):
        _stack().pop()

    def leaf(self, variable):
        """The tensor of a variable: what was assigned to it in this trace, else its value when the step begins."""
        if variable in self.updates:
            return self.updates[variable]
        if variable not in self.variables:
            node = Node(Leaf("variable", variable, variable.name), (), [Spec(variable.shape, variable.dtype)])
            self.variables[variable] = node.outputs[0]
        return self.variables[variable]

    def next_stream(self):
        """A number for a random stream: the same at every trace of the same model."""
        self.streams += 1
        return self.streams


_local = threading.local()


def _stack():
    if not hasattr(_local, "stack"):
        _local.stack = []
    return _local.stack


@contextlib.contextmanager
def lowering(on):
    """Matrix products that this thread adds to a graph, or runs, within may round their operands to bfloat16."""
    before, _local.lowered = is_lowering(), on
    try:
        yield
    finally:
        _local.lowered = before


def is_lowering():
    return getattr(_local, "lowered", False)


def current_trace():
    """The innermost trace of this thread, or None."""
    stack = _stack()
    return stack[-1] if stack else None


@contextlib.contextmanager
def untraced():
    """As outside of any trace: layers called on symbolic tensors become nodes of a functional model."""
    _stack().append(None)
    try:
        yield
    finally:
        _stack().pop()


_version = itertools.count(1)
_current = 0


def touch():
    """Says that something plans were made from has changed (a layer's setting, where variables live)."""
    global _current
    _current = next(_version)


def version():
    """Changes whenever a plan may be out of date; plans remember theirs."""
    return _current


def topological(outputs):
    """All nodes that the tensors `outputs` depend on, inputs first."""
    seen, stack = {}, [t.node for t in outputs]
    while stack:
        node = stack.pop()
        if node.number not in seen:
            seen[node.number] = node
            stack.extend(t.node for t in node.inputs)
    return [seen[number] for number in sorted(seen)]
