"""How a plan's matrix products are made: in float32, or of bfloat16 parts where that was asked for and pays here.

| level | each operand is | products | |C - AB| / sum of |a||b| |
|---|---|---|---|
| highest | float32 | 1 | float32's rounding |
| highest_split | three bfloat16 parts | 6 | float32's rounding |
| high | two bfloat16 parts | 3 | 2^-15 at most, some 1e-7 to 5e-7 r.m.s. |
| medium | rounded to bfloat16 | 1 | 2^-7 at most, some 1e-4 r.m.s. |

Sums are float32 in all of them. A level is a permission: where the processor has nothing that makes its products faster
than float32's, or a product is too small to gain, float32 is what runs. Tiles (AMX) serve all levels, vectors that
multiply pairs (AVX512_BF16) medium alone.
"""

import functools

from fastnn import _core

#: level -> parts of each operand
PARTS = {"highest": 0, "highest_split": 3, "high": 2, "medium": 1}
_PRODUCTS = {1: "one bfloat16 product", 2: "three bfloat16 products", 3: "six bfloat16 products"}
#: The least of both sides that are not the batch's, by parts; of the batch's the kernel asks (gemm_in_parts).
_LEAST = {1: 32, 2: 64, 3: 128}
#: (bit, operand): which operands of a product are stored as bfloat16
_HALF = ((4, 0), (1, 1), (2, 2), (8, 5))
#: kernel -> (where its parameters say of how many parts products are, which parameters are the product's sides besides
#: the batch's). Whether on tiles stands behind the first, then the bits of operands that are stored as bfloat16. Who
#: emits a convolution decides itself (no sides): it has other algorithms to weigh.
_SLOTS = {
    **dict.fromkeys(("matmul_nn", "matmul_nt", "matmul_tn"), (18, (1, 2))),
    **dict.fromkeys(("conv2d", "conv2d_parts"), (33, ())),
    "sequence_weight_grad": (7, (1, 2)),
    **dict.fromkeys([cell + way for cell in ("simple_rnn", "lstm", "gru") for way in ("", "_grad")], (10, (2,))),
}


def check(level, where):
    """The level, or an error that names the levels."""
    if level not in PARTS:
        raise ValueError(f"{where}: matmul precision must be one of {', '.join(map(repr, PARTS))}, got {level!r}")
    return level


def level_of(dtype, lowered, asked):
    """The level of an operation of this float type: `lowered` in layers of the policy mixed_bfloat16, else `asked`."""
    return "highest" if dtype != "float32" else "medium" if lowered else asked


@functools.cache
def choose(level):
    """(parts, on tiles) that products of this level have on this processor; (0, False) is float32."""
    parts, units = PARTS[level], _core.bfloat16_units()
    if parts and units["tiles"]:
        return parts, True
    return (1, False) if parts == 1 and units["vectors"] else (0, False)


def describe(level):
    """What runs at this level, in words."""
    parts, tiled = choose(level)
    if parts:
        return f"{_PRODUCTS[parts]} on {'tiles (AMX)' if tiled else 'vectors (AVX512_BF16)'}, large products"
    if level == "highest":
        return "float32"
    refused = "; the operating system refuses tiles (AMX)" if _core.bfloat16_units()["refused"] else ""
    return f"float32: nothing here makes {_PRODUCTS[PARTS[level]]} faster{refused}"


def adjust(kernel, ints, level, operands=()):
    """A product kernel's parameters with the level's in them, and which operands are bfloat16; those of others, and of
    products that are too small whatever the batch, as they are."""
    _, sides = _SLOTS.get(kernel, (0, ()))
    if level == "highest" or not sides:
        return ints
    half = sum(bit for bit, j in _HALF if j < len(operands) and getattr(operands[j], "dtype", None) == "bfloat16")
    return put(kernel, ints, *(choose(level) if half else pays(level, *(ints[j] for j in sides))), half)


def pays(level, *sides):
    """`choose`, but float32's (0, False) where one of the sides that are not the batch's is too small to gain."""
    parts, tiled = choose(level)
    return (parts, tiled) if parts and min(sides) >= _LEAST[parts] else (0, False)


def put(kernel, ints, parts, tiled, half=0):
    """A kernel's parameters with these in their slots."""
    return (*ints, *[0] * (_SLOTS[kernel][0] - len(ints)), parts, int(tiled), half) if parts else ints


def stores_half(kernel, ints, operand):
    """Whether this operand of a product is stored as bfloat16."""
    at = _SLOTS[kernel][0] + 2
    return any(j == operand and len(ints) > at and ints[at] & bit for bit, j in _HALF)


def of(kernel, ints):
    """(parts, on tiles) that a record's parameters ask for."""
    at = _SLOTS[kernel][0] if kernel in _SLOTS else 0
    return (ints[at], bool(ints[at + 1])) if at and len(ints) > at + 1 else (0, False)
