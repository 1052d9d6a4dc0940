"""From a program to a plan: instructions are lowered to kernel records, values get addresses, records are bound."""

import numpy as np

from fastnn import _core, precision
from fastnn.compiler.place import place
from fastnn.compiler.program import Program
from fastnn.ops.core import is_batched, size

ITEM = {"float32": 4, "float64": 8, "int32": 4, "int8": 1, "bfloat16": 2}


class Record:
    """One kernel call of a plan: operands are values (or None, or arrays), outputs first."""

    __slots__ = ("batched", "chunk", "cost", "ints", "kernel", "operands", "reals", "split")

    def __init__(self, kernel, operands, ints, reals, cost, batched, split):
        self.kernel, self.operands, self.ints, self.reals = kernel, tuple(operands), tuple(ints), tuple(reals)
        self.cost, self.batched, self.split, self.chunk = float(cost), bool(batched), split, 0


class PlanBuilder:
    """Collects records; see `fastnn.ops.core.Op.lower` for how operations use it."""

    def __init__(self):
        self.records = []
        self.level = "highest"  # of the matrix products that are emitted now
        self.alias = {}  # value -> value whose memory it is
        self._scratch = Program()

    def run(self, kernel, operands, ints, reals=(), *, cost=0.0, batched=False, split=-1):
        ints = precision.adjust(kernel, tuple(ints), self.level, operands)
        self.records.append(Record(kernel, operands, ints, reals, cost, batched, split))

    def temporary(self, shape, dtype):
        return self._scratch.value(shape, dtype)

    def root(self, value):
        while value in self.alias:
            value = self.alias[value]
        return value


class Plan:
    """A compiled step: its records, the memory of its values, and the bound list that C runs.

    Args:
        stages: what is done in order: a Program (its roots are kept to the end of the step), a list of Records, or a
            function that gives such a list when the programs before it are lowered.
        capacity: the most samples a step can have.
        dtype: the float type.
        loads: input values, filled from the data of a run before anything else.
        homes: {value: array}: where results must be written (gradients).
        debug: no memory is shared between values, and all of it starts as NaN.
        matmul_precision: of the products (see `fastnn.precision`).
        packed: PackedWeights that collects copies of the weights of the programs' products, or None.
    """

    def __init__(self, stages, capacity, dtype, *, loads=(), homes=None, debug=False, matmul_precision="highest",
                 packed=None):  # fmt: skip
        self.capacity, self.dtype, self.matmul_precision = capacity, dtype, matmul_precision
        self.builder = builder = PlanBuilder()
        self.homes = {}
        self.roots = []
        self.loads = {}
        for value in loads:
            columns = size(value.shape)
            self.loads[value] = len(builder.records)
            kind = 1 if value.dtype == "int32" else 0
            builder.run("load_batch", (value, None), (1, columns, 5, kind), value.load, cost=columns * 0.1 + 5,
                        batched=True)  # fmt: skip
        for stage in stages:
            if isinstance(stage, Program):
                self._lower(stage)
                self._settle({v: a for v, a in (homes or {}).items() if v in stage.roots})
                self.roots += stage.roots
                if packed is not None:
                    packed.collect(builder, capacity)
            else:
                builder.records.extend(stage() if callable(stage) else stage)
        first = packed.records(packed.copies) if packed is not None else []
        self.once = len(first)  # records that make copies, in the first of several steps
        self.loads = {value: j + self.once for value, j in self.loads.items()}
        self.records = first + builder.records
        self._bind(debug)

    def _lower(self, program):
        builder, instructions = self.builder, program.instructions
        kept = {builder.root(v) for v in program.roots}
        for instruction in instructions:
            if instruction.op.is_view:
                builder.alias[instruction.outs[0]] = builder.root(instruction.ins[0])
        kept = {builder.root(v) for v in program.roots}
        last = {}  # root -> position of the last instruction that reads it or a view of it
        for j, instruction in enumerate(instructions):
            for v in instruction.ins:
                last[builder.root(v)] = j
        for j, instruction in enumerate(instructions):
            if instruction.op.is_view:
                continue
            self._reuse(instruction, j, last, kept)
            builder.level = precision.level_of(self.dtype, instruction.lowered, self.matmul_precision)
            instruction.op.lower(builder, tuple(instruction.outs), tuple(instruction.ins))

    def _reuse(self, instruction, j, last, kept):
        """Lets a result take the memory of an input that nothing reads afterwards, where the kernel allows it."""
        root_of = self.builder.root
        for o, i in instruction.op.in_place:
            if o >= len(instruction.outs) or i >= len(instruction.ins):
                continue
            out, into = instruction.outs[o], instruction.ins[i]
            root = root_of(into)
            if (
                root.kind == "result"
                and root not in kept
                and root_of(out) not in kept
                and last.get(root) == j
                and sum(root_of(v) is root for v in instruction.ins) == 1
                and size(out.shape) == size(into.shape) == size(root.shape)
                and is_batched(out.shape) == is_batched(into.shape) == is_batched(root.shape)
                and out.dtype == root.dtype
            ):
                mine = root_of(out)
                self.builder.alias[mine] = root
                last[root] = last.get(mine, j)
                return

    def _settle(self, homes):
        """Gives results the places they must be written to; a copy where a value cannot live there."""
        for value, array in homes.items():
            root = self.builder.root(value)
            if root.kind == "result" and root not in self.homes and size(root.shape) == size(value.shape):
                self.homes[root] = array
            else:
                n = size(value.shape)
                self.builder.run("copy", (array, value), (n, 1), cost=n * 0.1)

    def _bytes(self, value):
        return size(value.shape) * ITEM[value.dtype] * (self.capacity if is_batched(value.shape) else 1)

    def _units(self):
        """The number of each record's unit (see fastnn.h): threads go through a unit each at its own pace, so memory
        is given to another value between units only."""
        numbers, number, within = [], -1, None
        for record in self.records:
            split = record.split if record.split >= 0 else _core.SPLITS[record.kernel]
            rows = record.chunk if record.batched and split == _core.ROWS else None
            if rows is None or rows != within:
                number += 1
            within = rows
            numbers.append(number)
        return numbers

    def _bind(self, debug):
        first, last = {}, {}
        units = self._units()
        end = len(self.records)
        for j, record in zip(units, self.records, strict=True):
            for operand in record.operands:
                if operand is None or isinstance(operand, (np.ndarray, int)):
                    continue
                root = self.builder.root(operand)
                first.setdefault(root, j)
                last[root] = j
        for v in self.roots:
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
        self.core = _core.Plan(self.dtype == "float64", bound, self.keep, self.once)

    def array(self, value, rows=None):
        """A view of a value's memory, valid after a step until the next (roots), for `rows` samples."""
        root = self.builder.root(value)
        shape = tuple(self.capacity if d is None else d for d in value.shape)
        if value.dtype == "bfloat16":  # which NumPy does not know: a copy
            bits = np.frombuffer(self.memory, np.uint16, count=int(np.prod(shape)), offset=self.offsets[root])
            array = (bits.astype(np.uint32) << 16).view(np.float32).reshape(shape)
            return array[:rows] if rows is not None and is_batched(value.shape) else array
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
        self.core.set_int(j, 2, _core.SOURCE_CODES[str(array.dtype)])
        self.core.bind(j, 1, array)
