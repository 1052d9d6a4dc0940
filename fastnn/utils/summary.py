"""The table that `model.summary()` shows."""

import math

from fastnn import precision
from fastnn.graph import Leaf
from fastnn.layers.layer import LayerCall
from fastnn.layers.recurrent import Recurrent
from fastnn.layers.wrappers import Bidirectional, TimeDistributed


def _rows(model):
    """(label, output shape, parameters, multiply-adds) of each layer."""
    graph = getattr(model, "_functional", None) or (model if hasattr(model, "_nodes") else None)
    rows, seen = [], set()
    if graph is None:
        for layer in model.layers:
            rows.append((f"{layer.name} ({type(layer).__name__})", "?", layer.count_params(), None))
        return rows
    for t in graph.inputs:
        if isinstance(t.node.op, Leaf):
            rows.append((f"{t.name} (InputLayer)", t.shape, 0, 0))
    for node in graph._nodes:
        shape = node.outputs[0].shape if len(node.outputs) == 1 else [t.shape for t in node.outputs]
        if isinstance(node.op, LayerCall):
            layer = node.op.layer
            count = layer.count_params() if id(layer) not in seen else 0
            seen.add(id(layer))
            inputs = [t.shape[1:] for t in node.inputs]
            work = _multiply_adds(layer, inputs[0], node.outputs[0].shape[1:]) if inputs else 0
            rows.append((f"{layer.name} ({type(layer).__name__})", shape, count, work))
        else:
            rows.append((node.op.name, shape, 0, 0))
    return rows


def _multiply_adds(layer, x, y):
    """Of one sample, its shapes x before and y behind the layer: counted for layers that are products of their kernels
    with every row, position or step."""
    if isinstance(layer, Bidirectional):
        return sum(_multiply_adds(one, x, y) for one in (layer.forward_layer, layer.backward_layer))
    if isinstance(layer, TimeDistributed):
        return x[0] * _multiply_adds(layer.layer, x[1:], y[1:])
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    if isinstance(layer, Recurrent):
        kernels = [kernel, layer.recurrent_kernel, getattr(layer, "output_kernel", None)]
        return x[0] * sum(math.prod(k.shape) for k in kernels if k is not None)
    return math.prod(y[:-1]) * math.prod(kernel.shape)


def table(model, width=80, expand_nested=False):
    """The summary as text."""
    rows = _rows(model)
    heads = ("Layer (type)", "Output Shape", "Param #", "MACs")
    cells = [(a, str(b), f"{c:,}", "" if d is None else f"{d:,}") for a, b, c, d in rows]
    widths = [max(len(r[j]) for r in [heads, *cells]) for j in range(4)]
    spare = max(width - sum(widths) - 9, 0)
    widths[0] += spare
    line = "-+-".join("-" * w for w in widths)

    def row(r):
        return " | ".join(c.ljust(w) if j < 2 else c.rjust(w) for j, (c, w) in enumerate(zip(r, widths, strict=True)))

    trainable = sum(math.prod(v.shape) for v in model.trainable_weights)
    total = model.count_params()
    size = sum(math.prod(v.shape) * (8 if v.dtype == "float64" else 4) for v in model.weights)
    lines = [f'Model: "{model.name}"', line, row(heads), line, *map(row, cells), line]
    lines.append(f"Total params: {total:,} ({_bytes(size)})")
    lines.append(f"Trainable params: {trainable:,}")
    lines.append(f"Non-trainable params: {total - trainable:,}")
    if getattr(model, "matmul_precision", "highest") != "highest":
        level = model.matmul_precision
        lines.append(f"Matmul precision: {level} ({precision.describe(level)})")
    return "\n".join(s.rstrip() for s in lines)


def _bytes(n):
    for unit in ("B", "KB", "MB", "GB"):
        if n < 1024 or unit == "GB":
            return f"{n:.2f} {unit}"
        n /= 1024
    return ""
