"""One compiled step of a model: what it loads, computes, keeps the books of and writes."""

import numpy as np

from fastnn import graph, ops
from fastnn.compiler import Plan, Program, Record, differentiate, fuse, shrink
from fastnn.compiler.packed import PackedWeights
from fastnn.compiler.store import Store
from fastnn.graph import Spec
from fastnn.ops import core, nn
from fastnn.ops.core import is_batched, make, size
from fastnn.ops.movement import GatherGrad
from fastnn.utils import tree
from fastnn.variables import Variable


class RunningMean:
    """A mean over the samples of an epoch, summed in double precision by the plan itself."""

    def __init__(self, name):
        self.variable = Variable(np.zeros(2), dtype="float64", trainable=False, name=name)

    def add(self, values):
        make(nn.AccumulateMean(), core.as_tensor(self.variable, "float64"), values)

    def add_scalar(self, value):
        make(nn.AccumulateScalar(), core.as_tensor(self.variable, "float64"), value)

    def reset(self):
        self.variable.value[...] = 0

    def result(self):
        total, count = self.variable.value.tolist()
        return total / count if count else 0.0


class Step:
    """A plan for one mode ("train", "test" or "predict") and one form of data.

    Args:
        model: the Trainer.
        mode: what the step does.
        form: `DataForm` of the data.
        capacity: the most samples a step can have.
    """

    def __init__(self, model, mode, form, capacity, debug=False):
        self.mode, self.form, self.capacity = mode, form, capacity
        self.dtype = dtype = model._float_type()
        if mode == "train":
            self.store = Store.of(model.weights, dtype)
        with graph.Trace(training=mode == "train", rows=capacity) as trace:
            self.trace = trace
            x = [
                graph.input_tensor((None, *s.shape), s.dtype, name) for s, name in zip(form.x, form.names, strict=True)
            ]
            predicted = model(model._pack_inputs(x))
            outputs = tree.flatten(predicted)
            y = [graph.input_tensor((None, *s.shape), s.dtype, f"y{j}") for j, s in enumerate(form.y)]
            w = [graph.input_tensor((None,), dtype, f"w{j}") if wanted else None for j, wanted in enumerate(form.w)]
            self.structure = tree.map_leaves(lambda t: None, predicted)
            roots, terms, effects = [], [], []
            if mode == "predict":
                roots = [ops.cast(t, dtype) if t.dtype == "int32" else t for t in outputs]
            else:
                terms = model._add_losses(y, outputs, w, trace)
                model._update_metrics(y, outputs, w)
                effects = trace.effects
            assigned = list(trace.updates.items())
            roots += [t for _, t in assigned]
            gradients = []
            if mode == "train":
                trainable = [v for v in model.trainable_weights if v in trace.variables]
                found = differentiate(terms, [trace.variables[v] for v in trainable])
                gradients = [(v, g) for v, g in zip(trainable, found, strict=True) if g is not None]
                if not gradients:
                    raise ValueError(
                        f"model {model.name!r}: no trainable weight influences the loss; are all layers frozen?"
                    )
                roots += [g for _, g in gradients]
        # Values that the loss reads may be leaves' own (a loss of constants): only results have a program.
        program = Program.from_graph(roots, effects)
        at = len(roots) - len(gradients)
        self.random = any(getattr(i.op, "is_random", False) for i in program.instructions)
        fuse(program)
        shrink(program)
        values = program.roots
        loaded = [program.leaves[t] for t in [*x, *y, *w] if t is not None and t in program.leaves]
        self.inputs = [program.leaves.get(t) for t in x]
        self.targets = [program.leaves.get(t) for t in y]
        self.weights = [program.leaves.get(t) if t is not None else None for t in w]
        stages, homes = [program], {}
        #: variables that the step changes
        self.trained = [v for v, _ in gradients]
        packed = PackedWeights(self.trained, [v for v, _ in assigned])
        first = len(roots) - len(gradients) - len(assigned)
        after = []
        for j, (v, t) in enumerate(assigned):
            n = size(v.shape[1:]) if t.batched else v.value.size
            sizes = (1, n) if t.batched else (n, 1)
            after.append(Record("copy", (v.value, values[first + j]), sizes, (), n * 0.1, t.batched, -1))
        if mode == "train":
            optimizer_state = model._optimizer_state(self.store)
            looked_up = {}
            if optimizer_state.optimizer.skips_zeros:
                looked_up = self._looked_up(program, [v for v, _ in gradients], values[at:])
            for (v, _), value in zip(gradients, values[at:], strict=True):
                view = self.store.view(optimizer_state.gradients, v)
                if value in homes:  # one tensor is the gradient of two variables
                    n = v.value.size
                    after.append(Record("copy", (view, value), (n, 1), (), n * 0.1, False, -1))
                else:
                    homes[value] = view
            stages.append(after)
            fused = set()  # variables whose update writes their packed copies
            stages.append(lambda: optimizer_state.records(self.trained, looked_up, packed, fused))
            stages += self._constraints(self.trained)
            stages.append(lambda: packed.records(v for v in self.trained if v not in fused))
        else:
            stages.append(after)
        self.outputs = []
        if mode == "predict":
            self.outputs = values[: len(outputs)]
            stages.append([
                Record("store_batch", (None, v), (1, size(v.shape)), (), size(v.shape) * 0.1, True, -1)
                for v in self.outputs
            ])  # fmt: skip
        self.plan = Plan(stages, capacity, dtype, loads=loaded, homes=homes, debug=debug,
                         matmul_precision=model.matmul_precision, packed=packed)  # fmt: skip
        self.core = self.plan.core
        self.store_at = len(self.plan.records) - len(self.outputs)
        self.version = graph.version()
        loads = self.plan.loads
        #: records that load x, y, w: what a run must be pointed at; None where the model does not read it
        self.slots = [loads.get(v) for v in [*self.inputs, *self.targets, *self.weights]]
        self._codes = [None] * len(self.slots)

    @staticmethod
    def _looked_up(program, variables, values):
        """{variable: the value of its row numbers} of tables whose gradient is nothing but rows that were looked up.
        Those gradients, `values`, are then made at these rows alone."""
        found, uses = {}, program.uses()
        for variable, value in zip(variables, values, strict=True):
            maker = value.maker
            if maker is not None and isinstance(maker.op, GatherGrad) and uses[value] == [None]:
                maker.op = GatherGrad(maker.op.shape, rows_only=True)
                found[variable] = maker.ins[1]
        return found

    def _constraints(self, variables):
        """Programs that put constrained weights back to where they may be, after the update."""
        wanted = [v for v in variables if v.constraint is not None]
        if not wanted:
            return []
        with graph.Trace() as trace:
            results = [v.constraint(trace.leaf(v)) for v in wanted]
        program = Program.from_graph(results)
        fuse(program)
        copies = [
            Record("copy", (v.value, value), (v.value.size, 1), (), v.value.size * 0.1, False, -1)
            for v, value in zip(wanted, program.roots, strict=True)
        ]
        return [program, copies]

    def bind(self, arrays):
        """Points the step at the arrays of a run: inputs, targets, weights in order."""
        core, codes = self.core, self._codes
        for j, array in enumerate(arrays):
            slot = self.slots[j]
            if slot is None or array is None:
                continue
            if codes[j] != array.dtype.num:
                self.plan.load(self.plan_value(j), array)
                codes[j] = array.dtype.num
            else:
                core.bind(slot, 1, array)

    def plan_value(self, j):
        return [*self.inputs, *self.targets, *self.weights][j]

    def bind_outputs(self, arrays):
        for j, array in enumerate(arrays):
            self.core.bind(self.store_at + j, 0, array)


class DataForm:
    """Shapes (of one sample) and kinds of a step's data: the part of its key that comes from the user's arrays."""

    def __init__(self, x, names, y=(), w=()):
        self.x, self.names, self.y, self.w = tuple(x), tuple(names), tuple(y), tuple(w)
        self.key = (self.x, self.y, self.w)

    @staticmethod
    def spec(array, dtype):
        """Targets: integers arrive as int32 (a loss that wants numbers casts them), the rest as the float type."""
        return Spec(array.shape[1:], "int32" if array.dtype.kind in "iub" else dtype)


class OptimizerState:
    """What an optimizer keeps for the variables of a store: gradients and slots, in the store's layout."""

    def __init__(self, optimizer, store):
        self.optimizer, self.store = optimizer, store
        self.gradients = core_zeros(store.size, store.dtype)
        self.buffers, self._scratch = {}, set()
        self.updated = set()  # variables that a step has been compiled to update

    def records(self, variables, looked_up, packed, fused):
        """The records that update `variables`.

        Args:
            looked_up: {variable: row numbers} of tables of which only these rows are updated.
            packed: `PackedWeights`: copies that are to be kept up to date.
            fused: a set that variables are added to whose update writes their copies too.
        """
        from fastnn.optimizers.optimizer import Range

        optimizer, store, looked_up = self.optimizer, self.store, dict(looked_up)
        self.updated.update(variables)
        ranges = [
            Range(
                store.offsets[v],
                v.value.size,
                v.learning_rate_factor,
                optimizer.decays(v),
                shape=v.shape,
                path=v.path,
                apart=v in packed.copies,
            )
            for v in variables
        ]
        for role, buffer in optimizer.buffers(ranges).items():
            if not buffer.saved:
                self._scratch.add(role)
            dtype = np.dtype(buffer.dtype or store.dtype)
            wanted = max(buffer.size, store.size if buffer.saved else 1)
            old = self.buffers.get(role)
            if old is None or old.size < wanted or old.dtype != dtype:
                new = core_zeros(wanted, dtype)
                if buffer.initial != 0:
                    for v in store.offsets:
                        store.view(new, v)[...] = v.value if buffer.initial is None else buffer.initial
                if old is not None:
                    new[: old.size] = old
                self.buffers[role] = new
        roles = {"param": store.array, "grad": self.gradients, **self.buffers}

        def arrays(record):
            return [None if o is None else roles[o.role][o.offset :] for o in record.operands]

        whole = [r for r, v in zip(ranges, variables, strict=True) if v not in looked_up]
        out = [Record(r.kernel, arrays(r), r.ints, r.reals, r.cost, False, -1) for r in optimizer.program(whole)]
        if not optimizer.use_ema or not optimizer.ema_overwrite_frequency:
            fused |= self._fuse_copies(out, [v for v in variables if v not in looked_up], packed)
        for table, v in zip(ranges, variables, strict=True):
            if v in looked_up:
                (r,), index = optimizer.program([table]), looked_up[v]
                count, columns = size(index.shape), size(v.shape[1:])
                operands = [*arrays(r), *[None] * (7 - len(r.operands)), index]
                ints = (count, *r.ints[1:], columns, v.shape[0])
                out.append(Record(f"{r.kernel}_rows", operands, ints, r.reals, count * columns * 0.5,
                                  is_batched(index.shape), -1))  # fmt: skip
        return out

    def _fuse_copies(self, records, variables, packed):
        """Lets the last record that updates a variable write its copies; the variables for which one does."""
        fused = set()
        for v in variables:
            at = self.store.view(self.store.array, v).ctypes.data
            mine = [r for r in records if r.operands[0] is not None and r.operands[0].ctypes.data == at]
            if v.constraint is None and mine and packed.written_by(mine[-1].kernel, v):
                mine[-1].operands, mine[-1].ints = packed.write(v, mine[-1].operands, mine[-1].ints)
                fused.add(v)
        return fused

    def saved(self):
        """Roles of the arrays that belong to the state, with a view for each variable."""
        return {role: array for role, array in self.buffers.items() if role not in self._scratch}

    def move(self, store):
        """Takes the slots along when the variables moved to another store."""
        new = OptimizerState(self.optimizer, store)
        for role, array in self.saved().items():
            fresh = core_zeros(store.size, array.dtype)
            for v in store.offsets:
                if v in self.store.offsets:
                    store.view(fresh, v)[...] = self.store.view(array, v)
            new.buffers[role] = fresh
        return new


def core_zeros(count, dtype):
    from fastnn import _core

    return _core.empty((max(int(count), 16),), dtype)
