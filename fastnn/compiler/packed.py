"""Copies of weights as products of bfloat16 want them, kept from step to step.

A product of lower precision reads its weights rounded, split in parts and in the order of its panels. Where the batch
is small, making that copy takes as long as using it. A plan then keeps the copies: they are made before the first of
several steps, for anything may have changed the weights between runs, and what updates the weights in a step writes
them anew while they are near. A step alone makes its own as it goes. The products are the same, to the bit.
"""

from typing import NamedTuple

from fastnn import _core, precision
from fastnn.compiler.emit import Record
from fastnn.ops.core import size

#: Rows of a product up to which its weights are kept packed; beyond, a copy costs little beside the product.
MOST_ROWS = 512
#: Elements (times parts) of weights that are kept packed while they are trained. Larger ones do not stay in the
#: second-level cache: copied after every update they move more bytes than a copy that a product makes and drops.
#: Batch 32, medium, on Zen 4: one thread, 512 x 512 as fast either way, 1024 x 1024 up to 17 % slower; two threads,
#: of which each would make a copy, 784 x 256 1.4 times as fast (benchmarks/bench_packed.py).
MOST_TRAINED = 300_000

_FORMS = {"matmul_nn": False, "matmul_nt": True}
#: Where `packed` stands among a product's operands, and among an update's where the copy and that of the transpose do.
_OPERAND, _WRITTEN = 7, 9
#: Kernels that write copies with the parameters that they update.
_WRITERS = frozenset((
    "sgd", "momentum", "nesterov", "adam", "nadam", "adamax", "rmsprop", "adagrad", "adadelta", "lion", "ftrl",
    "schedule_free",
))  # fmt: skip


class Layout(NamedTuple):
    """How a copy lies: of weights with so many columns, for matmul_nt if `transposed`, in parts, on tiles."""

    columns: int
    transposed: bool
    parts: int
    tiled: bool


class PackedWeights:
    """The copies that a plan keeps.

    Args:
        trained: variables that the optimizer updates in each step.
        changing: variables that a step changes by other means.
    """

    def __init__(self, trained=(), changing=()):
        self.trained, self.changing = frozenset(trained), frozenset(changing)
        self.copies = {}  # variable -> {Layout: array}

    def collect(self, builder, capacity):
        """Gives the products among the builder's records copies of their weights, where that pays."""
        for record in builder.records:
            layout = self._layout(record)
            if layout is None or record.ints[0] * capacity > MOST_ROWS:
                continue
            root = builder.root(record.operands[2])
            n, k = record.ints[1:3]
            if root.kind != "variable" or root.content in self.changing or size(root.shape) != n * k:
                continue
            if root.content in self.trained and n * k * layout.parts > MOST_TRAINED:
                continue
            own = self.copies.setdefault(root.content, {})
            if layout not in own:
                own[layout] = _core.empty((_elements(layout, n, k),), "float32")
            record.operands = put(record.operands, _OPERAND, own[layout])

    @staticmethod
    def _layout(record):
        if record.kernel not in _FORMS or not record.batched:
            return None
        ints, transposed = record.ints, _FORMS[record.kernel]
        parts, tiled = precision.of(record.kernel, ints)
        if not parts:
            return None
        n, k, ldb, several = ints[1], ints[2], ints[4], ints[10] > 1 or ints[14]
        if several or precision.stores_half(record.kernel, ints, 2) or ldb != (k if transposed else n):
            return None
        return Layout(ldb, transposed, parts, tiled)

    def records(self, variables):
        """The records that make the copies of these variables' values."""
        out = []
        for variable in variables:
            for layout, array in self.copies.get(variable, {}).items():
                rows = variable.value.size // layout.columns
                ints = (rows, layout.columns, int(layout.transposed), layout.parts, int(layout.tiled))
                cost = 0.1 * layout.parts * variable.value.size
                out.append(Record("pack_weights", (array, variable.value), ints, (), cost, False, -1))
        return out

    def written_by(self, kernel, variable):
        """Whether an update by this kernel can write the variable's copies itself."""
        alike = {layout._replace(transposed=False) for layout in self.copies.get(variable, ())}
        return kernel in _WRITERS and len(alike) == 1

    def write(self, variable, operands, ints):
        """The operands and parameters of an update that writes the variable's copies too."""
        for layout, array in self.copies[variable].items():
            operands = put(operands, _WRITTEN + layout.transposed, array)
        return operands, put(ints, 6, layout.columns, layout.parts, int(layout.tiled), gap=0)


def put(values, at, *new, gap=None):
    """A tuple with `new` at its place `at`; `gap` where it was shorter."""
    values = (*values, *[gap] * (at - len(values)))
    return (*values[:at], *new, *values[at + len(new) :])


def _elements(layout, n, k):
    """float32 numbers that a copy of B (k, n) takes: see matmul_bfloat16.inc.c."""
    unit = _core.cpu()["vector_width"]["float32"] * (2 if layout.tiled else 1)
    pairs = -(-k // 32) * 16 if layout.tiled else -(-k // 2)
    return layout.parts * -(-n // unit) * unit * pairs
