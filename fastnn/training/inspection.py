"""Looking at a compiled step: what it does (`model.plan()`) and where its time goes (`model.profile()`)."""

import numpy as np

from fastnn import _core, precision
from fastnn.compiler.emit import ITEM
from fastnn.compiler.program import Value
from fastnn.ops.core import is_batched, size

_SPLITS = ("rows", "blocks", "serial")


def _flops(record, rows):
    """Multiplications and additions of a product or convolution; None for other kernels (bound by their bytes)."""
    if record.kernel.startswith("matmul"):
        leading = record.ints[0] * (rows if record.batched else 1)
        count = max(record.ints[10], 1) if len(record.ints) > 10 else 1
        return 2 * leading * record.ints[1] * record.ints[2] * count
    if record.kernel in _CONVOLUTIONS:  # Winograd's too: as if multiplied one by one
        return record.cost * (rows if record.batched else 1) / _NS_PER_FLOP
    return None


_NS_PER_FLOP = 0.012
_CONVOLUTIONS = frozenset(("conv2d", "conv2d_max_pool", "conv2d_parts", "conv2d_scatter"))
#: How many times as fast as float32's are multiplications of each precision, all products of parts counted.
_RATE = {"": 1, "bfloat16": 2, "bfloat16 tiles": 16, "3 bfloat16 tiles": 16 / 3, "6 bfloat16 tiles": 16 / 6}


def _precision(record):
    """Of what a product is made if not of float32."""
    parts, tiled = precision.of(record.kernel, record.ints)
    return ("", "bfloat16", "3 bfloat16", "6 bfloat16")[parts] + " tiles" * tiled


def _name(row):
    return f"{row['op']} ({row['precision']})" if row["precision"] else row["op"]


def _bytes(record, rows):
    """Bytes of the operands, each counted once: what must be moved at least."""
    if record.kernel in ("load_batch", "store_batch"):  # one operand is the user's array
        value = next(o for o in record.operands if o is not None)
        return 2 * size(value.shape) * rows * ITEM[value.dtype]
    if record.kernel == "pack_weights":
        return sum(operand.nbytes for operand in record.operands)
    total = 0
    for operand in record.operands:
        if isinstance(operand, Value):
            total += size(operand.shape) * ITEM[operand.dtype] * (rows if is_batched(operand.shape) else 1)
        elif isinstance(operand, np.ndarray):
            total += min(operand.nbytes, record.ints[0] * operand.itemsize)
    return total


class PlanTable:
    """The records of a compiled step; printing it gives the table, `rows` the same as dictionaries."""

    def __init__(self, step, samples):
        self.step, self.samples = step, samples
        plan = step.plan
        self.rows = []
        for number, record in enumerate(plan.records):
            self.rows.append({
                "number": number,
                "op": record.kernel,
                "precision": _precision(record),
                "outputs": [_describe(plan, o) for o in record.operands[:1]],
                "inputs": [_describe(plan, o) for o in record.operands[1:] if o is not None],
                "split": _SPLITS[record.split if record.split >= 0 else _core.SPLITS[record.kernel]],
                "flops": _flops(record, samples),
                "bytes": _bytes(record, samples),
            })  # fmt: skip

    def __str__(self):
        plan = self.step.plan
        level = plan.matmul_precision
        head = (
            f"{self.step.mode} step, {plan.dtype}, {_core.isa()}, matmul precision {level} "
            f"({precision.describe(level)}): {len(self.rows)} operations, {plan.nbytes:,} bytes of values for "
            f"{plan.capacity} samples; figures for {self.samples} samples"
        )
        cells = [("#", "operation", "result", "operands", "split", "MFLOP", "KB")]
        for r in self.rows:
            flops = "" if r["flops"] is None else f"{r['flops'] / 1e6:.3f}"
            cells.append((str(r["number"]), _name(r), " ".join(r["outputs"]), " ".join(r["inputs"]), r["split"], flops,
                          f"{r['bytes'] / 1024:.1f}"))  # fmt: skip
        return head + "\n" + _align(cells)

    __repr__ = __str__


class Profile:
    """Time of each operation of a step, with its share of the machine's measured ceiling."""

    def __init__(self, step, samples, nanoseconds, ceiling):
        self.ceiling = ceiling
        self.rows = []
        for row, ns in zip(PlanTable(step, samples).rows, nanoseconds.tolist(), strict=True):
            bound = row["bytes"] / ceiling["bytes"]
            if row["flops"] is not None:
                bound = max(bound, row["flops"] / (ceiling["flops"] * _RATE[row["precision"]]))
            self.rows.append({**row, "ns": ns, "share": bound / ns if ns > 0 else 0.0})
        self.total = float(nanoseconds.sum())
        self.mode, self.samples = step.mode, samples

    def __str__(self):
        head = (
            f"{self.mode} step of {self.samples} samples on one thread: {self.total / 1e3:.1f} us; measured ceiling "
            f"{self.ceiling['flops']:.1f} GFLOP/s, {self.ceiling['bytes']:.1f} GB/s"
        )
        cells = [("#", "operation", "result", "us", "% of step", "GFLOP/s", "GB/s", "% of ceiling")]
        for r in self.rows:
            ns = max(r["ns"], 1e-9)
            cells.append((
                str(r["number"]), _name(r), " ".join(r["outputs"]), f"{ns / 1e3:.2f}", f"{100 * ns / self.total:.1f}",
                "" if r["flops"] is None else f"{r['flops'] / ns:.1f}", f"{r['bytes'] / ns:.1f}",
                f"{100 * r['share']:.0f}",
            ))  # fmt: skip
        return head + "\n" + _align(cells)

    __repr__ = __str__


def _describe(plan, operand):
    if operand is None:
        return "-"
    if isinstance(operand, np.ndarray):
        return "x".join(map(str, operand.shape))
    if not isinstance(operand, Value):
        return "data"
    shape = "x".join("n" if d is None else str(d) for d in operand.shape) or "1"
    root = plan.builder.root(operand)
    if root.kind == "variable":
        return f"{root.content.path}[{shape}]"
    place = f"@{plan.offsets[root]}" if root in plan.offsets else "grad" if root in plan.homes else root.kind
    return f"{shape}{place}"


def _align(cells):
    widths = [max(len(row[j]) for row in cells) for j in range(len(cells[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def measure_ceiling(dtype="float32"):
    """{"flops": most operations a nanosecond from registers, "bytes": most bytes a nanosecond read from L2}, one
    thread: the best of several short runs."""
    import time

    width = _core.cpu()["vector_width"][dtype]
    chains = 12 if _core.isa() in ("avx2", "base") and _core.cpu()["name"].find("aarch64") < 0 else 24
    float64 = dtype == "float64"
    sink = _core.empty((64,), dtype)
    rounds, best = 20000, 0.0
    for _ in range(7):
        start = time.perf_counter_ns()
        _core.run("measure_fma", float64, (sink,), (1, rounds))
        best = max(best, 2 * width * chains * rounds / (time.perf_counter_ns() - start))
    source = _core.empty((32768,), dtype)  # 128 KiB of float32: in L2
    moved = 0.0
    for _ in range(7):
        start = time.perf_counter_ns()
        _core.run("measure_read", float64, (sink, source), (1, source.size, 20))
        moved = max(moved, 20 * source.nbytes / (time.perf_counter_ns() - start))
    return {"flops": best, "bytes": moved}
