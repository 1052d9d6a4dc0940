"""The compiler's own form of a graph: instructions over values, in order, free to be rewritten.

`Program.from_graph` takes what the roots (tensors wanted) and the effects (nodes to run) need and nothing else.
"""

import heapq

from fastnn.graph import Leaf, topological


class Value:
    """A result or a leaf. `maker` is the instruction that computes it, None for a leaf."""

    __slots__ = ("content", "dtype", "kind", "load", "maker", "name", "number", "shape")

    def __init__(self, number, shape, dtype, kind="result", content=None, name=None):
        self.number, self.shape, self.dtype = number, shape, dtype  # "bfloat16" too, where the compiler says so
        self.kind = kind  # "result", "input", "variable", "constant"
        self.content = content
        self.name = name
        self.maker = None
        self.load = (1.0, 0.0)  # of an input: what its data is multiplied by, and what is added, as it is loaded

    def __repr__(self):
        return f"v{self.number}{list(self.shape)}"


class Instruction:
    """An operation on values. `lowered`: its products may round their operands to bfloat16. `replaced`: others do what
    it did, and it is about to leave the program."""

    __slots__ = ("ins", "lowered", "op", "outs", "position", "replaced")

    def __init__(self, op, ins, outs, position, lowered=False):
        self.op, self.ins, self.outs, self.position, self.lowered = op, list(ins), list(outs), position, lowered
        self.replaced = False
        for v in self.outs:
            v.maker = self

    def __repr__(self):
        return f"{self.outs} = {self.op!r} {self.ins}"


class Program:
    """Instructions in order, and the values wanted of them: `roots`."""

    def __init__(self):
        self.instructions = []
        self.roots = []
        self._count = 0

    def value(self, shape, dtype, **more):
        self._count += 1
        return Value(self._count, tuple(shape), dtype, **more)

    @classmethod
    def from_graph(cls, roots, effects=()):
        """`roots`: tensors. The values of the roots, in order, become `program.roots`; `program.leaves` maps each leaf
        tensor to its value."""
        program = cls()
        values = {}
        program.leaves = {}
        ends = list(roots) + [t for node in effects for t in node.inputs]
        nodes = {node.number: node for node in [*topological(ends), *effects]}
        for number in sorted(nodes):
            node = nodes[number]
            outs = []
            for t in node.outputs:
                if isinstance(node.op, Leaf):
                    v = program.value(t.shape, t.dtype, kind=node.op.kind, content=node.op.content, name=node.op.name)
                    program.leaves[t] = v
                else:
                    v = program.value(t.shape, t.dtype)
                values[number, t.index] = v
                outs.append(v)
            if not isinstance(node.op, Leaf):
                ins = [values[t.node.number, t.index] for t in node.inputs]
                program.instructions.append(Instruction(node.op, ins, outs, number, node.lowered))
        program.roots = [values[t.node.number, t.index] for t in roots]
        return program

    def uses(self):
        """value -> instructions that read it (a root counts as None)."""
        found = {}
        for instruction in self.instructions:
            for v in instruction.ins:
                found.setdefault(v, []).append(instruction)
        for v in self.roots:
            found.setdefault(v, []).append(None)
        return found

    def sort(self):
        """Instructions in an order in which every value is made before it is read, the original one where possible."""
        waiting = {id(i): sum(1 for v in set(i.ins) if v.maker is not None) for i in self.instructions}
        readers = {}
        for i in self.instructions:
            for v in set(i.ins):
                readers.setdefault(v, []).append(i)
        ready = [(i.position, j, i) for j, i in enumerate(self.instructions) if waiting[id(i)] == 0]
        heapq.heapify(ready)
        order = []
        while ready:
            _, _, instruction = heapq.heappop(ready)
            order.append(instruction)
            for v in instruction.outs:
                for reader in readers.get(v, ()):
                    waiting[id(reader)] -= 1
                    if waiting[id(reader)] == 0:
                        heapq.heappush(ready, (reader.position, id(reader), reader))
        assert len(order) == len(self.instructions), "the program has a cycle"
        self.instructions = order

    def remove_dead(self):
        """Drops instructions whose results nobody reads."""
        while True:
            used = self.uses()
            kept = [i for i in self.instructions if i.op.has_effect or any(v in used for v in i.outs)]
            if len(kept) == len(self.instructions):
                return
            self.instructions = kept
