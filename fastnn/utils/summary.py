"""The table that `model.summary()` shows."""

import math

from fastnn import precision
from fastnn.graph import Leaf
from fastnn.layers.layer import LayerCall


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
            rows.append((f"{layer.name} ({type(layer).__name__})", shape, count, _multiply_adds(layer, node)))
        else:
            rows.append((node.op.name, shape, 0, 0))
    return rows


def _multiply_adds(layer, node):
    """Of one sample, counted for layers that are one product of their kernel with every row or position."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None or len(node.outputs) != 1:
        return 0
    positions = math.prod(d for d in node.outputs[0].shape[1:-1])
    return positions * math.prod(kernel.shape)


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
