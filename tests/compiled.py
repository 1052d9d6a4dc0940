"""Functions of tensors run as a plan: their values, what they assign, and the gradients of a weighted sum."""

import numpy as np

from fastnn import graph
from fastnn.compiler import Plan, Program, Record, differentiate, fuse


def run(function, arrays, dtype="float64", rows=None, gradient=None, by=None, times=1):
    """(value, gradients) of `function` on batches; gradients, of the sum over all of value * gradient, by the
    arrays at positions `by` (all floats by default), or None without `gradient`. Integer arrays arrive as int32.
    Effects and assignments are carried out."""
    batch = len(arrays[0])
    kinds = ["int32" if a.dtype.kind in "iub" else dtype for a in arrays]
    tensors = [graph.input_tensor((None, *a.shape[1:]), k) for a, k in zip(arrays, kinds, strict=True)]
    with graph.Trace() as trace:
        out = function(*tensors)
        roots = list(trace.updates.values())
        wanted = []
        if out is not None:
            roots.append(out)
        if gradient is not None:
            wanted = [t for j, t in enumerate(tensors) if (kinds[j] == dtype if by is None else j in by)]
            seed = graph.input_tensor(out.shape, dtype)
            found = differentiate([(out, seed)], wanted)
            wanted = [(t, g) for t, g in zip(wanted, found, strict=True) if g is not None]
            roots += [g for _, g in wanted]
            tensors, arrays = [*tensors, seed], [*arrays, np.asarray(gradient)]
    program = Program.from_graph(roots, trace.effects)
    fuse(program)
    values = program.roots
    updates = [
        Record("copy", (v.value, values[j]), (v.value.size, 1), (), 1.0, False, -1) for j, v in enumerate(trace.updates)
    ]
    arrays = [np.ascontiguousarray(a) for a in arrays]
    used = [(program.leaves[t], a) for t, a in zip(tensors, arrays, strict=True) if t in program.leaves]
    plan = Plan([program, updates], batch + 3, dtype, loads=[v for v, _ in used], debug=True)
    for value, array in used:
        plan.load(value, array)
    for _ in range(times):
        plan.core.run(0, batch, rows or batch)
    if out is None:
        return None
    at = len(updates)
    result = plan.array(values[at], batch).copy()
    if gradient is None:
        return result
    return result, [plan.array(values[at + 1 + j], batch).copy() for j in range(len(wanted))]


def central(function, x, weights, step=1e-6):
    """Gradient by x of sum(function(x) * weights), by central differences in float64."""
    g = np.zeros_like(x)
    for j in np.ndindex(*x.shape):
        there, back = x.copy(), x.copy()
        there[j] += step
        back[j] -= step
        g[j] = np.sum((function(there) - function(back)) * weights) / (2 * step)
    return g
