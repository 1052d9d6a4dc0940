"""Dtype policies: of which type a layer's weights are, and in which it computes."""

#: name -> (type of the variables, type of the computation)
_POLICIES = {
    "float32": ("float32", "float32"),
    "float64": ("float64", "float64"),
    "mixed_bfloat16": ("float32", "bfloat16"),
}


class DTypePolicy:
    """The types of a layer (Keras' `DTypePolicy`).

    "float32" and "float64" are one type throughout. With "mixed_bfloat16" weights stay float32, and so do the sums of
    products, activation functions, normalization, losses, gradients of weights and the optimizer. The operands of
    matrix products are rounded to bfloat16, and what products alone read is stored as bfloat16, in half the memory.
    Where the processor has no bfloat16 products the layer computes in float32 (`fastnn info` says so).
    """

    def __init__(self, name):
        if name not in _POLICIES:
            raise ValueError(f"DTypePolicy: name must be one of {', '.join(map(repr, _POLICIES))}, got {name!r}")
        self.name = name
        self.variable_dtype, self.compute_dtype = _POLICIES[name]

    def get_config(self):
        return {"name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __eq__(self, other):
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self):
        return hash(self.name)

    def __repr__(self):
        return f"<DTypePolicy {self.name!r}>"


def get(identifier, where="dtype"):
    """The policy of a name, a NumPy type, a configuration or a policy."""
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return DTypePolicy.from_config(identifier.get("config", identifier))
    name = getattr(identifier, "name", None) or (
        identifier.__name__ if isinstance(identifier, type) else str(identifier)
    )
    if name not in _POLICIES:
        raise ValueError(f"{where}: must be {', '.join(map(repr, _POLICIES))}, got {identifier!r}")
    return DTypePolicy(name)
