"""Transfer: weights of one model as the first weights of another, and layers that training leaves alone."""

from fastnn.layers.layer import Layer


def _own_layers(model):
    return [layer for layer in model.layers if layer.weights]


def copy_weights(source, target, layers=None):
    """Copies the weights of the first `layers` layers that have any (None: as many as fit in shape, one after the
    other) from a model to another, which must be built. Returns the layers of `target` that were given weights.
    """
    pairs = list(zip(_own_layers(source), _own_layers(target), strict=False))
    shapes = [([v.shape for v in a.weights], [v.shape for v in b.weights]) for a, b in pairs]
    fitting = 0
    while fitting < len(pairs) and shapes[fitting][0] == shapes[fitting][1]:
        fitting += 1
    count = fitting if layers is None else layers
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(pairs):
        raise ValueError(
            f"copy_weights: layers must be from 1 to {len(pairs)} (those with weights in both models), got "
            f"{layers!r}; {fitting} fit in shape"
        )
    if count > fitting:
        a, b = pairs[fitting]
        raise ValueError(
            f"copy_weights: layer {fitting} does not fit: {a.name!r} has weights of {shapes[fitting][0]}, "
            f"{b.name!r} of {shapes[fitting][1]}"
        )
    for a, b in pairs[:count]:
        b.set_weights(a.get_weights())
    return [b for _, b in pairs[:count]]


def freeze(model, layers=None):
    """Makes training leave layers alone: the first `layers` that have weights (negative: all but the last ones), the
    listed ones (objects or names), or None: all. Returns them."""
    return _set_trainable(model, layers, False, "freeze")


def unfreeze(model, layers=None):
    """Makes training change layers again that `freeze` made it leave alone, or that never were trainable.

    Args:
        model: any model with layers.
        layers: as for `freeze`: the first so many that have weights (negative: all but the last ones), a list of layers
            or their names, or None: all.

    Returns the layers, which are now trainable. The next `fit` sees the change: there is no need to compile again.
    ValueError for a number that the model has too few layers for, for 0, and for layers that are not its own.
    """
    return _set_trainable(model, layers, True, "unfreeze")


def _set_trainable(model, layers, value, where):
    own = _own_layers(model)
    if layers is None:
        chosen = own
    elif isinstance(layers, int) and not isinstance(layers, bool):
        if not -len(own) < layers <= len(own) or layers == 0:
            raise ValueError(f"{where}: the model has {len(own)} layers with weights, got layers={layers}")
        chosen = own[:layers]
    else:
        chosen = [layer if isinstance(layer, Layer) else model.get_layer(layer) for layer in layers]
        for layer in chosen:
            if not any(layer is one for one in model._flatten_layers()):
                raise ValueError(f"{where}: {layer.name!r} is not a layer of model {model.name!r}")
    for layer in chosen:
        layer.trainable = value
    return chosen
