"""The store: a model's variables in one flat block, each a view of it."""

from fastnn import _core, graph

ALIGN = 16  # elements: 64 bytes of float32; gaps are zero and stay zero under every optimizer


class Store:
    """One aligned array of a float type that holds variables one behind the other; never grows, never moves.

    `offsets` maps each variable to its first element. Gradients and optimizer slots are arrays of the same layout.
    """

    def __init__(self, variables, dtype):
        self.dtype = dtype
        self.offsets = {}
        at = 0
        for v in variables:
            self.offsets[v] = at
            at += -(-max(v.value.size, 1) // ALIGN) * ALIGN
        self.size = at
        self.array = _core.empty((max(at, ALIGN),), dtype)
        for v, offset in self.offsets.items():
            view = self.array[offset : offset + v.value.size].reshape(v.shape)
            view[...] = v.value
            v.value = view
            v.store = self
        graph.touch()  # plans that point to the old places are out of date

    def view(self, flat, variable):
        """The part of `flat`, an array of the store's layout, that belongs to a variable."""
        offset = self.offsets[variable]
        return flat[offset : offset + variable.value.size].reshape(variable.shape)

    @classmethod
    def of(cls, variables, dtype):
        """The store that holds all these variables: theirs if they share one, else a new one."""
        variables = [v for v in variables if v.dtype == dtype]
        stores = {id(v.store): v.store for v in variables}
        if len(stores) == 1:
            (store,) = stores.values()
            if store is not None:
                return store
        return cls(variables, dtype)
