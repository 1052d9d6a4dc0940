"""Nested structures (lists, tuples, dicts) of tensors: flatten them, and put them together again."""


def flatten(structure):
    """The leaves of a structure, in order (dicts by sorted key); None is a leaf."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for part in structure for leaf in flatten(part)]
    return [structure]


def pack(structure, leaves):
    """`leaves` in the form of `structure`."""
    leaves = iter(leaves)
    result = _pack(structure, leaves)
    if next(leaves, leaves) is not leaves:
        raise ValueError("pack: more leaves than the structure holds")
    return result


def _pack(structure, leaves):
    if isinstance(structure, dict):
        return {key: _pack(structure[key], leaves) for key in sorted(structure)}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*[_pack(part, leaves) for part in structure])
    if isinstance(structure, (list, tuple)):
        return type(structure)(_pack(part, leaves) for part in structure)
    return next(leaves)


def map_leaves(function, structure):
    """The structure with function(leaf) in the place of each leaf."""
    return pack(structure, [function(leaf) for leaf in flatten(structure)])
