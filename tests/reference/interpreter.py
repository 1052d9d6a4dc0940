"""The interpreter, and the comparison of a compiled step with it."""

import numpy as np

from fastnn import _core

from .registry import KERNELS, Call, Step


class Region:
    """A piece of the engine's memory and its float64 twin (int32 stays int32)."""

    def __init__(self, array):
        self.engine = array  # flat
        self.before = array.copy()
        self.twin = array.astype(np.float64) if array.dtype.kind == "f" else array.copy()


class Interpreter:
    """Runs a plan's records in float64.

    Args:
        plan: a Plan made with debug=True.
        sources: {input value: array of samples} that the step loads.
        outputs: {record number: array} that store_batch writes.
    """

    def __init__(self, plan, sources, outputs=()):
        self.plan, self.sources, self.outputs = plan, sources, dict(outputs)
        self.values, self.arrays = {}, {}

    def region(self, operand, position=None):
        """(region, first element) of an operand."""
        if isinstance(operand, np.ndarray):
            base = operand
            while isinstance(base.base, np.ndarray):
                base = base.base
            flat = base.reshape(-1)
            key = flat.ctypes.data
            if key not in self.arrays:
                self.arrays[key] = Region(flat)
            offset = (operand.ctypes.data - key) // flat.itemsize
            return self.arrays[key], offset
        root = self.plan.builder.root(operand)
        if root in self.plan.homes:
            return self.region(self.plan.homes[root])
        if root.kind == "variable":
            return self.region(root.content.value)
        if root not in self.values:
            self.values[root] = Region(self.plan.array(root).reshape(-1))
        return self.values[root], 0

    def operands(self, number, record):
        found = []
        for slot, operand in enumerate(record.operands):
            if operand is None and record.kernel == "store_batch" and slot == 0:
                operand = self.outputs[number]
            found.append(None if operand is None else self.region(operand))
        return found

    def run(self, number, record, step):
        """Executes one record; returns the regions it may have written."""
        found = self.operands(number, record)
        if record.kernel == "load_batch":
            region, at = found[0]
            source = self.sources[record.operands[0]]
            rows = source.reshape(len(source), -1)[step.sources()]
            if region.twin.dtype.kind == "f":
                rows = record.reals[0] * rows.astype(np.float64) + record.reals[1]
            region.twin[at : at + rows.size] = rows.ravel()
            return found[:1]
        p = [None if f is None else f[0].twin[f[1] :] for f in found]
        rows = record.ints[0] * (step.rows if record.batched else 1)
        KERNELS[record.kernel](Call(record.kernel, p, record.ints, record.reals, rows, step))
        return [f for f in found if f is not None]


def check_step(model, x, y=None, weights=None, *, mode="train", batch=7, steps=None, float64=True, order=None):
    """Runs a debug plan record by record beside the interpreter and compares everything each record touches; then the
    plan as a whole, and the plan that shares memory, which must leave the bits that the single records left.

    In float32 the interpreter goes on from the engine's values after each record, so that the tolerance is that of
    one kernel; in float64 it keeps its own to the end.
    """
    from fastnn.training.step import Step as Compiled

    if mode == "predict":
        data = model._input_arrays(x, "test")
        form = model._form(data)
    else:
        arrays = model._dataset(x, y, weights, "test")
        data = [*arrays.x, *arrays.y, *arrays.weights]
        form = model._form(arrays.x, arrays.y, arrays.weights)
    count = len(data[0])
    compiled = Compiled(model, mode, form, batch, debug=True)
    plan = compiled.plan
    compiled.bind(data)
    found = [*compiled.inputs, *compiled.targets, *compiled.weights]
    sources = {v: a for v, a in zip(found, data, strict=False) if v is not None and v in plan.loads}
    results = [np.empty((count, *v.shape[1:]), compiled.dtype) for v in compiled.outputs]
    stores = [j for j, record in enumerate(plan.records) if record.kernel == "store_batch"]
    outputs = dict(zip(stores, results, strict=True))
    number_of_steps = -(-count // batch)
    start = model.optimizer.step_count
    hyper = model.optimizer.hyper(start, number_of_steps) if mode == "train" else None
    seed = model._seed or 0

    interpreter = Interpreter(plan, sources, outputs)
    for index in range(number_of_steps):
        first = index * batch
        step = Step(min(batch, count - first), start + index, seed, None if hyper is None else hyper[index],
                    None if order is None else order[first:], first)  # fmt: skip
        step.float64 = plan.dtype == "float64"
        for number, record in enumerate(plan.records):
            touched = interpreter.run(number, record, step)
            ints = list(record.ints)
            operands = []
            for slot, operand in enumerate(record.operands):
                if operand is None and record.kernel == "store_batch" and slot == 0:
                    operand = outputs[number]
                if operand is None and record.kernel == "load_batch":
                    operand = sources[record.operands[0]]
                    ints[2] = _core.SOURCE_CODES[str(operand.dtype)]
                if operand is not None and not isinstance(operand, np.ndarray):
                    operand = plan.array(operand).ctypes.data
                operands.append(operand)
            _core.run(record.kernel, plan.dtype == "float64", tuple(operands), tuple(ints), record.reals,
                      rows=step.rows if record.batched else 0, split=record.split, seed=seed, index=step.index,
                      hyper=step.hyper, order=step.order, first=first)  # fmt: skip
            for region, _ in touched:
                compare(region, 1e-9 if float64 else 2e-5, f"step {index}, record {number}: {record.kernel}")
                if not float64:
                    region.twin[...] = region.engine
    left = {key: region.engine.copy() for key, region in interpreter.arrays.items()}

    for debug in (True, False):
        for region in interpreter.arrays.values():
            if region.engine.flags.writeable:
                region.engine[...] = region.before
        again = compiled if debug else Compiled(model, mode, form, batch)
        again.bind(data)
        again.bind_outputs(results)
        done = again.core.run(0, count, batch, order=order, index=start, seed=seed, hyper=hyper)
        assert done == count
        for key, region in interpreter.arrays.items():
            same = np.array_equal(region.engine.view(np.uint8), left[key].view(np.uint8))
            assert same, f"debug={debug}: the whole plan and its single records leave other bits"
    return compiled


def compare(region, tolerance, where):
    engine, twin = region.engine, region.twin
    if engine.dtype.kind != "f":
        assert np.array_equal(engine, twin), where
        return
    known = np.isfinite(twin)
    scale = max(1.0, np.abs(twin[known]).max()) if known.any() else 1.0
    near = np.isclose(engine, twin, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    if not near.all():
        at = int(np.argmin(near))
        raise AssertionError(f"{where}: element {at} is {engine[at]!r}, the reference says {twin[at]!r}")
