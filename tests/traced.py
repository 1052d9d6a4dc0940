"""A function of fastnn.ops as a compiled plan: its result and its gradients."""

import numpy as np

from fastnn import graph
from fastnn.compiler import Plan, Program, differentiate, fuse
from fastnn.variables import Variable


def compile_and_run(f, arrays, batched, upstream=None, *, fused=True, spare=2, stream=0, wrt=None,
                    kernels=None):  # fmt: skip
    """f(*tensors) in a plan. `batched` says which of the arrays are loaded as samples (the leading dimension); the
    others are variables. The plan has room for `spare` samples more than it gets. Gradients are those by the arrays
    that `wrt` is true for, by default all; the names of the plan's kernels are added to the list `kernels`.

    Returns:
        (result, gradients): gradients of sum(result * upstream) by each array, None without `upstream`.
    """
    dtype = next(str(a.dtype) for a in arrays if a.dtype.kind == "f")
    rows = next((len(a) for a, b in zip(arrays, batched, strict=True) if b), 1)
    capacity = rows + spare
    loads = {}
    with graph.Trace(training=True) as trace:
        tensors = []
        for a, b in zip(arrays, batched, strict=True):
            if b:
                t = graph.input_tensor((None, *a.shape[1:]), str(a.dtype))
                loads[t] = a
            else:
                t = trace.leaf(Variable(a, dtype=str(a.dtype)))
            tensors.append(t)
        y = f(*tensors)
        roots = [y]
        found = []
        if upstream is not None:
            if y.batched:
                g = graph.input_tensor(y.shape, dtype)
                loads[g] = np.ascontiguousarray(upstream, dtype)
            else:
                g = graph.constant(upstream, dtype)
            asked = [True] * len(tensors) if wrt is None else wrt
            targets = [t for t, one in zip(tensors, asked, strict=True) if one and t.dtype == dtype]
            found = differentiate([(y, g)], targets)
            roots += [t for t in found if t is not None]
    program = Program.from_graph(roots)
    if fused:
        fuse(program)
    values = {program.leaves[t]: a for t, a in loads.items() if t in program.leaves}
    plan = Plan([program], capacity, dtype, loads=list(values))
    if kernels is not None:
        kernels += [record.kernel for record in plan.records]
    for value, array in values.items():
        plan.load(value, array)
    assert plan.core.run(0, rows, capacity) == rows
    results = [plan.array(v, rows).copy() for v in program.roots]
    y, rest = results[0], iter(results[1:])
    if upstream is None:
        return y, None
    return y, [next(rest) if t is not None else None for t in found]


def central_differences(f, arrays, upstream, step=1e-6):
    """Gradients of sum(f(*arrays) * upstream) by every float64 array."""
    gradients = []
    for j, a in enumerate(arrays):
        if a.dtype.kind != "f":
            continue
        g = np.zeros_like(a)
        for at in np.ndindex(a.shape):
            values = []
            for sign in (1, -1):
                moved = a.copy()
                moved[at] += sign * step
                values.append(np.sum(f(*arrays[:j], moved, *arrays[j + 1 :]) * upstream))
            g[at] = (values[0] - values[1]) / (2 * step)
        gradients.append(g)
    return gradients
