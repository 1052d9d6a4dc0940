"""Memory for the values of a plan: each lives at an offset of one block while it is needed."""

ALIGNMENT = 64


def place(lifetimes, reuse=True):
    """Offsets for blocks of memory.

    Args:
        lifetimes: list of (bytes, first, last): needed from the record `first` to the record `last`, both included.
        reuse: whether blocks that are not needed at one time may share memory.

    Returns:
        (offsets, total bytes). The largest are placed first, each at the lowest offset that is free while it lives.
    """
    offsets = [0] * len(lifetimes)
    placed = []  # (offset, end, first, last)
    total = 0
    for j in sorted(range(len(lifetimes)), key=lambda j: (-lifetimes[j][0], lifetimes[j][1])):
        count, first, last = lifetimes[j]
        count = max(-(-count // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        at = 0
        for lo, hi, begin, end in sorted(placed):
            if reuse and (end < first or last < begin):
                continue
            if at + count <= lo:
                break
            at = max(at, hi)
        offsets[j] = at
        placed.append((at, at + count, first, last))
        total = max(total, at + count)
    return offsets, total
