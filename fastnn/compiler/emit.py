"""From a program to a plan: instructions are lowered to kernel records, values get addresses, records are bound."""

import numpy as np

from fastnn import _core
from fastnn.compiler.place import place
from fastnn.ops.core import is_batched, size

ITEM = {"float32": 4, "float64": 8, "int32": 4}

#: Codes of load_batch for the source's dtype.
SOURCE_CODES = {
    "uint8": 0, "int8": 1, "int16": 2, "int32": 3, "int64": 4, "float32": 5, "float64": 6, "bool": 7, "uint16": 8,
    "uint32": 9,
}  # fmt: skip


class Record:
    """One kernel call of a plan: operands are values (or None, or arrays), outputs first."""

    __slots__ = ("batched", "chunk", "cost", "ints", "kernel", "operands", "reals", "split")

    def __init__(self, kernel, operands, ints, reals, cost, batched, split):
        self.kernel, self.operands, self.ints, self.reals = kernel, tuple(operands), tuple(ints), tuple(reals)
        self.cost, self.batched, self.split, self.chunk = float(cost), bool(batched), split, 0


class PlanBuilder:
    """Collects records; see `fastnn.ops.core.Op.lower` for how operations use it."""

    def __init__(self, program):
        self.program = program
        self.records = []
        self.alias = {}  # value -> value whose memory it is

    def run(self, kernel, operands, ints, reals=(), *, cost=0.0, batched=False, split=-1):
        self.records.append(Record(kernel, operands, ints, reals, cost, batched, split))

    def temporary(self, shape, dtype):
        return self.program.value(shape, dtype)

    def view(self, value, shape):
        v = self.program.value(shape, value.dtype)
        self.alias[v] = self.root(value)
        return v

    def constant(self, array):
        return self.program.value(array.shape, str(array.dtype), kind="constant", content=array)

    def root(self, value):
        while value in self.alias:
            value = self.alias[value]
        return value


class Plan:
    """A compiled step: its records, the memory of its values, and the bound list that C runs.

    Args:
        program: instructions in order; `program.roots` are kept until the end.
        capacity: the most samples a step can have.
        dtype: the float type.
        home: {value: array}: where given results must be written (gradients, variables).
        debug: no memory is shared between values, and all of it starts as NaN.
    """

    def __init__(self, program, capacity, dtype, *, loads=(), home=None, after=(), debug=False):
        self.program, self.capacity, self.dtype = program, capacity, dtype
        builder = PlanBuilder(program)
        self.loads = {}
        for value in loads:
            columns = size(value.shape)
            self.loads[value] = len(builder.records)
            kind = 1 if value.dtype == "int32" else 0
            builder.run("load_batch", (value, None), (1, columns, 5, kind), (1.0, 0.0), cost=columns * 0.1 + 5,
                        batched=True)  # fmt: skip
        self._lower(builder)
        self.homes = self._settle(builder, home or {})
        for record in after:
            builder.records.append(record)
        self.records, self.builder = builder.records, builder
        self._bind(debug)

    def _lower(self, builder):
        instructions = self.program.instructions
        last = {}
        for j, instruction in enumerate(instructions):
            for v in instruction.ins:
                last[v] = j
        kept = set(self.program.roots)
        groups = {}  # root -> last use of any view of it
        shared = set()  # roots that must survive, or are written elsewhere
        for j, instruction in enumerate(instructions):
            if instruction.op.is_view:
                builder.alias[instruction.outs[0]] = builder.root(instruction.ins[0])
        for v, j in last.items():
            root = builder.root(v)
            groups[root] = max(groups.get(root, -1), j)
        for v in kept:
            shared.add(builder.root(v))
        for j, instruction in enumerate(instructions):
            if instruction.op.is_view:
                continue
            for o, i in instruction.op.in_place:
                if o >= len(instruction.outs) or i >= len(instruction.ins):
                    continue
                out, root = instruction.outs[o], builder.root(instruction.ins[i])
                free = root.kind == "result" and root not in shared and groups.get(root) == j
                same = size(out.shape) == size(instruction.ins[i].shape) and is_batched(out.shape) == is_batched(
                    instruction.ins[i].shape
                )
                twice = sum(builder.root(v) is root for v in instruction.ins) > 1
                if free and same and not twice and out.dtype == root.dtype and out not in kept:
                    users = groups.pop(out, j)
                    builder.alias[out] = root
                    groups[root] = max(users, j)
                    break
            instruction.op.lower(builder, tuple(instruction.outs), tuple(instruction.ins))

    def _settle(self, builder, home):
        """{root value: array} for results that have a place of their own; a copy where a value cannot live there."""
        homes = {}
        for value, array in home.items():
            root = builder.root(value)
            if root.kind == "result" and root not in homes and size(root.shape) == size(value.shape):
                homes[root] = array
            else:
                n = size(value.shape)
                builder.run("copy", (array, value), (n, 1), cost=n * 0.1)
        return homes

    def _bytes(self, value):
        return size(value.shape) * ITEM[value.dtype] * (self.capacity if is_batched(value.shape) else 1)

    def _bind(self, debug):
        first, last = {}, {}
        end = len(self.records)
        for j, record in enumerate(self.records):
            for operand in record.operands:
                if operand is None or isinstance(operand, (np.ndarray, int)):
                    continue
                root = self.builder.root(operand)
                first.setdefault(root, j)
                last[root] = j
        for v in self.program.roots:
            root = self.builder.root(v)
            if root.kind in ("result", "input"):
                first.setdefault(root, 0)
                last[root] = end
        placed = [v for v in first if v.kind in ("result", "input") and v not in self.homes]
        offsets, self.nbytes = place([(self._bytes(v), first[v], last[v]) for v in placed], reuse=not debug)
        self.memory = _core.Memory(max(self.nbytes, 64))
        if debug:
            np.frombuffer(self.memory, np.uint8)[:] = 0xFF  # NaN in both float types
        base = self.memory.address
        self.offsets = dict(zip(placed, offsets, strict=True))
        self.keep = [self.memory]
        addresses = {v: base + at for v, at in self.offsets.items()}

        def address(operand):
            if operand is None:
                return None
            if isinstance(operand, (np.ndarray, int)):
                self.keep.append(operand)
                return operand
            root = self.builder.root(operand)
            if root in addresses:
                return addresses[root]
            if root in self.homes:
                array = self.homes[root]
            elif root.kind == "variable":
                array = root.content.value
            else:
                array = root.content
            self.keep.append(array)
            return array

        bound = [
            (r.kernel, [address(v) for v in r.operands], r.ints, r.reals, r.batched, r.cost, r.split, r.chunk)
            for r in self.records
        ]
        self.core = _core.Plan(self.dtype == "float64", bound, self.keep)

    def array(self, value, rows=None):
        """A view of a value's memory, valid after a step until the next (roots), for `rows` samples."""
        root = self.builder.root(value)
        shape = tuple(self.capacity if d is None else d for d in value.shape)
        if root in self.offsets:
            n = int(np.prod(shape))
            array = np.frombuffer(self.memory, value.dtype, count=n, offset=self.offsets[root]).reshape(shape)
        elif root in self.homes:
            array = self.homes[root].reshape(shape)
        elif root.kind == "variable":
            array = root.content.value.reshape(shape)
        else:
            array = root.content.reshape(shape)
        return array[:rows] if rows is not None and is_batched(value.shape) else array

    def load(self, value, array):
        """Makes `array` (rows, ...) the source of an input."""
        j = self.loads[value]
        self.core.set_int(j, 2, SOURCE_CODES[str(array.dtype)])
        self.core.bind(j, 1, array)
