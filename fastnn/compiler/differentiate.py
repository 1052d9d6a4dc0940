"""Reverse-mode differentiation: adds to a graph the nodes that compute gradients."""

from fastnn.graph import Leaf, lowering, topological
from fastnn.ops import elementwise as ew
from fastnn.ops.core import NoGradient


def differentiate(seeds, targets):
    """Gradients of a sum of terms.

    Args:
        seeds: pairs (tensor, gradient of the whole with respect to it).
        targets: leaf tensors.

    Returns:
        A list with the gradient tensor of each target, None where the terms do not depend on it.
    """
    nodes = topological([tensor for tensor, _ in seeds])
    wanted = {t.node.number for t in targets}
    for node in nodes:  # a node matters when one of its inputs does
        if any(t.node.number in wanted for t in node.inputs) and not node.op.stops_gradient:
            wanted.add(node.number)

    gradients = {}

    def add(tensor, gradient):
        key = (tensor.node.number, tensor.index)
        gradients[key] = ew.add(gradients[key], gradient) if key in gradients else gradient

    for tensor, gradient in seeds:
        if tensor.node.number in wanted:
            add(tensor, gradient)
    for node in reversed(nodes):
        if node.number not in wanted or isinstance(node.op, Leaf):
            continue
        dys = [gradients.get((node.number, j)) for j in range(len(node.outputs))]
        if all(dy is None for dy in dys):
            continue
        with lowering(node.lowered):  # gradients are computed as what they are of
            found = node.op.gradient(node, *dys)
        for tensor, gradient in zip(node.inputs, found, strict=False):
            if gradient is not None and tensor.node.number in wanted:
                if isinstance(gradient, NoGradient):
                    raise ValueError(gradient.reason)
                add(tensor, gradient)
    return [gradients.get((t.node.number, t.index)) for t in targets]
