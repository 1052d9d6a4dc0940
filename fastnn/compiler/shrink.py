"""Stores as bfloat16 what only matrix products write and read, in layers of the policy mixed_bfloat16."""

from fastnn import precision
from fastnn.ops.linear import MatMul, WeightGrad

_LEAST = 32  # features: below it products stay float32
_MOST_TERMS = 1024  # of a sum that is written as bfloat16 once and for all: see csrc/kernels/matmul_bfloat16.inc.c


def shrink(program):
    """Changes the dtype of such values in place; nothing where the processor has no bfloat16 products.

    They are rounded as they are stored, where the products that read them would round them anyway.
    """
    if not precision.choose("medium")[0]:
        return
    uses = program.uses()
    for i in program.instructions:
        if not (i.lowered and isinstance(i.op, MatMul)):
            continue
        y = i.outs[0]
        terms = i.ins[1].shape[0 if not i.op.transpose else 1]
        if (
            y.dtype == "float32"
            and y.shape[-1] >= _LEAST
            and terms <= _MOST_TERMS
            and y in uses
            and all(user is not None and _reads(user, y) for user in uses[y])
        ):
            y.dtype = "bfloat16"


def _reads(user, y):
    """Whether an instruction takes y as bfloat16: where it is rounded anyway, or only looked at for its sign."""
    if not user.lowered:
        return False
    if isinstance(user.op, WeightGrad):
        return True
    return isinstance(user.op, MatMul) and all(
        v is not y or j == 0 or (user.op.grad and j == len(user.ins) - 1) for j, v in enumerate(user.ins)
    )
