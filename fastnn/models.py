"""Models: layers with inputs and outputs, that can be trained. Functional, Sequential, and subclassed ones."""

import numpy as np

from fastnn import graph
from fastnn.graph import Leaf, Spec, Tensor
from fastnn.layers.core import InputLayer
from fastnn.layers.layer import Layer, LayerCall, auto_name, batch_shape
from fastnn.ops import core
from fastnn.ops.elementwise import Cast
from fastnn.ops.movement import Gather
from fastnn.training.trainer import Trainer
from fastnn.utils import summary as summaries
from fastnn.utils import tree


class Model(Trainer, Layer):
    """A network that can be compiled, trained, evaluated, saved.

    `Model(inputs, outputs)` makes one of symbolic tensors (the functional way; layers may be shared, inputs and
    outputs several). A subclass that defines `call` is traced when it first meets data.
    """

    _keeps_masks = True

    def __new__(cls, *args, **kwargs):
        functional = (len(args) >= 2 or "outputs" in kwargs) and cls is Model
        layer = Layer.__new__(Functional if functional else cls, *args, **kwargs)
        return layer

    def __init__(self, *, name=None, trainable=True, dtype=None, **kwargs):
        Layer.__init__(
            self, name=name or auto_name(_class_prefix(type(self))), trainable=trainable, dtype=dtype, **kwargs
        )
        Trainer.__init__(self)

    def build(self, input_shape):
        """Makes a subclassed model's layers build themselves, by a trial run on tensors of this shape."""

    #: what a model was built for: the Spec of its input, or the list of Specs; None where it is not known
    _built_for = None

    def _ensure_built(self, args):
        if not self.built and args:
            leaves = tree.flatten(args[0])
            if all(isinstance(t, (Tensor, np.ndarray)) for t in leaves):
                specs = [Spec(batch_shape(t), self._type_of(t)) for t in leaves]
                built_for = specs[0] if leaves[0] is args[0] else specs if isinstance(args[0], (list, tuple)) else None
                object.__setattr__(self, "_built_for", built_for)
        super()._ensure_built(args)

    def _array_type(self):
        return self._float_type(mixed=True)

    def _type_of(self, x):
        """The type that an input, a tensor or an array, has in the model."""
        if isinstance(x, Tensor):
            return self._type_within(x.dtype)
        return "int32" if x.dtype.kind == "i" and x.dtype.itemsize > 1 else self._array_type()

    #: what the last trial of a model that is no graph found: the graph's version then, the structure and the Specs of
    #: its outputs, and for each input how many ids it may hold
    _trial = (None, None, None, ())

    def _build_by_trial(self, specs):
        """Builds a model by calling it on symbolic inputs (one Spec, or a list of them)."""
        with graph.Trace():
            single = isinstance(specs, Spec)
            tensors = [graph.input_tensor(s.shape, s.dtype) for s in ([specs] if single else specs)]
            inputs = tensors[0] if single else tensors
            self._ensure_built((inputs,))
            results = self.call(inputs, **({"training": False} if self._takes("training") else {}))
        outputs = tree.flatten(results)
        found = [Spec(t.shape, t.dtype) for t in outputs] if all(isinstance(t, Tensor) for t in outputs) else None
        ids = _row_limits(tensors, outputs) if found else ()
        object.__setattr__(self, "_trial", (graph.version(), tree.map_leaves(lambda t: None, results), found, ids))

    def input_specs(self):
        """Specs of the inputs if they are known before any data is seen, else None."""
        return None

    @property
    def output_names(self):
        structure = self._trial[1]
        if isinstance(structure, dict):
            return sorted(structure)
        count = len(tree.flatten(structure))
        return ["output"] if count == 1 else [f"output_{j + 1}" for j in range(count)]

    @property
    def input_names(self):
        return ["input"]

    def summary(self, line_length=None, print_fn=print, expand_nested=False):
        """Prints (and returns) a table of the layers: output shape, parameters, multiply-adds of one sample."""
        text = summaries.table(self, line_length or 80, expand_nested)
        if print_fn is not None:
            print_fn(text)
        return text

    def get_layer(self, name=None, index=None):
        """A layer by name or index."""
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"get_layer: index {index} is out of range for {len(layers)} layers")
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(f"get_layer: no layer is named {name!r}; there are {[layer.name for layer in layers]}")

    def find_learning_rate(self, x, y, lowest=1e-6, highest=10.0, steps=100, batch_size=32, diverged=4.0):
        """Learning-rate range test (Smith 2017): the loss of `steps` updates with ever larger rates, after which the
        model is as it was. See `fastnn.training.range_test.find_learning_rate`."""
        from fastnn.training.range_test import find_learning_rate

        return find_learning_rate(self, x, y, lowest, highest, steps, batch_size, diverged)

    # ---- files ----

    def save(self, filepath, overwrite=True, include_optimizer=True):
        """Writes the model to one file: configuration, weights, optimizer and random state (see `load_model`)."""
        from fastnn.saving.model import save_model

        save_model(self, filepath, overwrite, include_optimizer)

    def __reduce__(self):
        """For pickle and copy: what `save` would write."""
        from fastnn.saving.model import from_bytes, to_bytes

        return from_bytes, (to_bytes(self),)

    def save_weights(self, filepath, overwrite=True):
        """Writes the weights alone, as safetensors or .npz."""
        from fastnn.saving.model import save_weights

        save_weights(self, filepath, overwrite)

    def load_weights(self, filepath):
        """Takes the weights of a file that `save_weights` or `save` wrote, of a model of the same layers."""
        from fastnn.saving.model import load_weights

        load_weights(self, filepath)

    def save_checkpoint(self, filepath):
        """Writes what an interrupted training needs to go on with the same bits: weights, the optimizer's state and
        rate, the seed, the metrics' sums and the states of stateful layers; not the configuration, which the program
        has (see `save`)."""
        from fastnn.saving.checkpoint import save_checkpoint

        save_checkpoint(self, filepath)

    def load_checkpoint(self, filepath):
        """Takes up what `save_checkpoint` wrote, in a compiled model of the same layers and optimizer."""
        from fastnn.saving.checkpoint import load_checkpoint

        load_checkpoint(self, filepath)

    def to_json(self):
        """The configuration as JSON."""
        import json

        from fastnn.saving import serialize_keras_object

        return json.dumps(serialize_keras_object(self))


def _class_prefix(cls):
    from fastnn.layers.layer import snake_case

    return snake_case(cls.__name__)


class Functional(Model):
    """A model made of the graph between symbolic tensors."""

    def __init__(self, inputs, outputs, name=None, trainable=True, **kwargs):
        Model.__init__(self, name=name or auto_name("functional"), trainable=trainable, **kwargs)
        self._make(inputs, outputs)

    def _make(self, inputs, outputs):
        for kind, structure in (("inputs", inputs), ("outputs", outputs)):
            leaves = tree.flatten(structure)
            bad = next((t for t in leaves if not isinstance(t, Tensor)), None)
            if bad is not None or not leaves:
                raise TypeError(f"Model: {kind} must be symbolic tensors (from Input and layers), got {bad!r}")
        object.__setattr__(self, "inputs_structure", inputs)
        object.__setattr__(self, "outputs_structure", outputs)
        self._input_tensors = tree.flatten(inputs)
        self._outputs = tree.flatten(outputs)
        self._nodes = _between(self._input_tensors, self._outputs)
        self._layers.clear()
        for t in self._input_tensors:
            if isinstance(t.node.op, Leaf) and isinstance(t.node.op.content, InputLayer):
                self._track(t.node.op.content)
        for node in self._nodes:
            if isinstance(node.op, LayerCall):
                self._track(node.op.layer)
            for t in node.inputs:
                if isinstance(t.node.op, Leaf) and t.node.op.kind == "variable":
                    self._track(t.node.op.content)
        names = {}
        for layer in self._layers:
            if names.setdefault(layer.name, layer) is not layer:
                raise ValueError(f"Model: two layers are named {layer.name!r}; give them different names")
        self.built = True

    @property
    def inputs(self):
        return self._input_tensors

    @property
    def outputs(self):
        return self._outputs

    @property
    def input(self):
        return self.inputs_structure

    @property
    def output(self):
        return self.outputs_structure

    @property
    def input_shape(self):
        return tree.map_leaves(lambda t: t.shape, self.inputs_structure)

    @property
    def output_shape(self):
        return tree.map_leaves(lambda t: t.shape, self.outputs_structure)

    def input_specs(self):
        return [core.Spec((None, *_open_shape(t)), t.dtype) for t in self._input_tensors]

    @property
    def input_names(self):
        if isinstance(self.inputs_structure, dict):
            return sorted(self.inputs_structure)
        return [t.name for t in self._input_tensors]

    @property
    def output_names(self):
        if isinstance(self.outputs_structure, dict):
            return sorted(self.outputs_structure)
        names = [t.name or t.node.label for t in self._outputs]
        return [n if names.count(n) == 1 else f"{n}_{names[:j].count(n)}" for j, n in enumerate(names)]

    def call(self, inputs, training=None):
        given = self._arrange(inputs)
        if not any(isinstance(x, Tensor) for x in given):
            return self._run_eagerly(given, training)
        values = {(t.node.number, t.index): x for t, x in zip(self._input_tensors, given, strict=True)}

        def value(t):
            key = (t.node.number, t.index)
            if key not in values:  # a constant, or a variable used by itself
                op = t.node.op
                values[key] = core.as_tensor(op.content, t.dtype) if op.kind == "variable" else t
            return values[key]

        for node in self._nodes:
            ins = [value(t) for t in node.inputs]
            if isinstance(node.op, LayerCall):
                outs = tree.flatten(node.op.replay(ins))
            else:
                outs = core.make(node.op, *ins)
            for t, y in zip(node.outputs, outs, strict=True):
                values[t.node.number, t.index] = y
        return tree.pack(self.outputs_structure, [value(t) for t in self._outputs])

    def _run_eagerly(self, given, training):
        """Arrays: layer after layer at once."""
        values = {(t.node.number, t.index): x for t, x in zip(self._input_tensors, given, strict=True)}

        def value(t):
            key = (t.node.number, t.index)
            return values[key] if key in values else t.node.op.content

        for node in self._nodes:
            ins = [value(t) for t in node.inputs]
            if isinstance(node.op, LayerCall):
                layer = node.op.layer
                if layer._takes("training") and training is not None:
                    args, kwargs = tree.pack((node.op.args, node.op.kwargs), _fill(node.op, ins))
                    outs = tree.flatten(layer(*args, **{**kwargs, "training": training}))
                else:
                    outs = tree.flatten(node.op.replay(ins))
            else:
                outs = core.run_samples(node.op, node.inputs, ins)
            for t, y in zip(node.outputs, outs, strict=True):
                values[t.node.number, t.index] = y
        return tree.pack(self.outputs_structure, [value(t) for t in self._outputs])

    def _arrange(self, inputs):
        """The inputs in the order of the model's, each checked against its shape."""
        if isinstance(inputs, dict):
            names = self.input_names
            missing = [n for n in names if n not in inputs]
            if missing:
                raise ValueError(f"model {self.name!r}: no input for {missing}; its inputs are {names}")
            given = [inputs[n] for n in names]
        else:
            given = tree.flatten(inputs)
        if len(given) != len(self._input_tensors):
            raise ValueError(f"model {self.name!r} has {len(self._input_tensors)} inputs, got {len(given)}")
        for t, x in zip(self._input_tensors, given, strict=True):
            shape, wanted = core.shape_of(x), (None, *_open_shape(t))
            if len(shape) != len(wanted) or any(a not in (None, d) for a, d in zip(wanted, shape, strict=True)):
                raise ValueError(f"model {self.name!r}: input {t.name!r} must have shape {wanted}, got {shape}")
        return given

    # ---- configuration ----

    def get_config(self):
        """The graph: layers once, then the calls and operations between them."""
        from fastnn.saving import serialize_keras_object

        layers = [layer for layer in self._layers if not isinstance(layer, InputLayer)]
        numbers, calls = {}, []
        for t in self._input_tensors:
            numbers[t.node.number, t.index] = len(numbers)

        def ref(x):
            if isinstance(x, Tensor):
                key = (x.node.number, x.index)
                if key in numbers:
                    return {"tensor": numbers[key]}
                if graph.is_constant(x):
                    return {"constant": np.asarray(x.node.op.content).tolist(), "dtype": x.dtype}
                raise NotImplementedError(f"model {self.name!r}: {x!r} cannot be saved; put it into a layer")
            return {"value": x}

        for node in self._nodes:
            if isinstance(node.op, LayerCall):
                entry = {
                    "layer": next(j for j, layer in enumerate(layers) if layer is node.op.layer),
                    "args": _encode(node.op.args, ref),
                    "kwargs": _encode(node.op.kwargs, ref),
                }
            else:
                entry = {
                    "op": type(node.op).__name__,
                    "config": _plain(node.op.config()),
                    "args": [ref(t) for t in node.inputs],
                }
            calls.append(entry)
            for t in node.outputs:
                numbers[t.node.number, t.index] = len(numbers)
        return {
            "name": self.name,
            "trainable": self.trainable,
            "inputs": [serialize_keras_object(_input_layer(t)) for t in self._input_tensors],
            "layers": [serialize_keras_object(layer) for layer in layers],
            "calls": calls,
            "input_structure": _encode(self.inputs_structure, ref),
            "output_structure": _encode(self.outputs_structure, ref),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        from fastnn.saving import deserialize_keras_object

        entries = [deserialize_keras_object(c, custom_objects) for c in config["inputs"]]
        for layer in entries:
            layer.output.node.op.content = layer
        tensors = [layer.output for layer in entries]
        layers = [deserialize_keras_object(c, custom_objects) for c in config["layers"]]

        def deref(entry):
            if "tensor" in entry:
                return tensors[entry["tensor"]]
            if "constant" in entry:
                return graph.constant(np.asarray(entry["constant"]), entry["dtype"])
            return entry["value"]

        for entry in config["calls"]:
            if "layer" in entry:
                outs = layers[entry["layer"]](*_decode(entry["args"], deref), **_decode(entry["kwargs"], deref))
                tensors.extend(tree.flatten(outs))
            else:
                op = core.REGISTRY[entry["op"]](**_tuples(entry["config"]))
                tensors.extend(core.make(op, *[deref(a) for a in entry["args"]]))
        inputs = _decode(config["input_structure"], deref)
        outputs = _decode(config["output_structure"], deref)
        return Functional(inputs, outputs, name=config["name"], trainable=config["trainable"])


def _fill(op, tensors):
    tensors = iter(tensors)
    return [next(tensors) if isinstance(leaf, Tensor) else leaf for leaf in tree.flatten((op.args, op.kwargs))]


def _open_shape(t):
    """The shape of an input without the batch, with None where its Input leaves a length open."""
    content = t.node.op.content if isinstance(t.node.op, Leaf) else None
    return content.shape if isinstance(content, InputLayer) else t.shape[1:]


def _input_layer(t):
    content = t.node.op.content if isinstance(t.node.op, Leaf) else None
    return content if isinstance(content, InputLayer) else InputLayer(t.shape[1:], dtype=t.dtype, name=t.name)


def _encode(structure, ref):
    if isinstance(structure, dict):
        return {"dict": {k: _encode(v, ref) for k, v in structure.items()}}
    if isinstance(structure, (list, tuple)):
        return {"tuple" if isinstance(structure, tuple) else "list": [_encode(v, ref) for v in structure]}
    return ref(structure)


def _decode(entry, deref):
    if "dict" in entry:
        return {k: _decode(v, deref) for k, v in entry["dict"].items()}
    if "list" in entry:
        return [_decode(v, deref) for v in entry["list"]]
    if "tuple" in entry:
        return tuple(_decode(v, deref) for v in entry["tuple"])
    return deref(entry)


def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _tuples(config):
    return {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}


def _between(inputs, outputs):
    """Nodes from the inputs to the outputs, in order; an output that needs another input is an error."""
    known = {t.node.number for t in inputs}
    nodes, stack, seen = [], [t.node for t in outputs], set()
    while stack:
        node = stack.pop()
        if node.number in seen or node.number in known:
            continue
        seen.add(node.number)
        if isinstance(node.op, Leaf):
            if node.op.kind == "input":
                raise ValueError(f"Model: the outputs depend on {node.op.name!r}, which is not among the inputs")
            continue
        nodes.append(node)
        stack.extend(t.node for t in node.inputs)
    return sorted(nodes, key=lambda node: node.number)


def _row_limits(inputs, outputs):
    """For each input the number of rows of the smallest table that is read at the rows it names, None where none is."""
    limits = [None] * len(inputs)
    for node in _between(inputs, outputs):
        if isinstance(node.op, Gather):
            table, index = node.inputs
            if isinstance(index.node.op, Cast):
                (index,) = index.node.inputs
            for j, t in enumerate(inputs):
                if t is index:
                    limits[j] = min(table.shape[0], limits[j] or table.shape[0])
    return limits


class Sequential(Model):
    """Layers one behind the other."""

    def __init__(self, layers=None, trainable=True, name=None):
        Model.__init__(self, name=name or auto_name("sequential"), trainable=trainable)
        self._functional = None
        for layer in layers or ():
            self.add(layer, rebuild=False)
        self._rebuild()

    def __setattr__(self, name, value):
        if name == "_functional":  # the same layers as a graph: not a layer of its own
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def add(self, layer, rebuild=True):
        """Appends a layer."""
        if isinstance(layer, Tensor) and isinstance(layer.node.op.content, InputLayer):
            layer = layer.node.op.content
        if not isinstance(layer, Layer):
            raise TypeError(f"Sequential {self.name!r}: only layers can be added, got {layer!r}")
        if any(layer is known for known in self._layers):
            raise ValueError(f"Sequential {self.name!r}: layer {layer.name!r} is in it already")
        if any(layer.name == known.name for known in self._layers):
            raise ValueError(f"Sequential {self.name!r}: it has a layer named {layer.name!r} already")
        if not self._layers and layer.input_spec_shape is not None and not isinstance(layer, InputLayer):
            self._layers.append(InputLayer(layer.input_spec_shape))
        self._layers.append(layer)
        if rebuild:
            self._rebuild()

    def pop(self, rebuild=True):
        """Removes the last layer and returns it."""
        if not self._layers:
            raise ValueError(f"Sequential {self.name!r} has no layers")
        layer = self._layers.pop()
        object.__setattr__(self, "_functional", None)
        self.built = False
        if rebuild:
            self._rebuild()
        return layer

    def _rebuild(self):
        self._forget_outputs()
        if self._layers and isinstance(self._layers[0], InputLayer):
            x = self._layers[0].output
            if not isinstance(x.node.op.content, InputLayer):
                x.node.op.content = self._layers[0]
            self._chain(x)

    def _chain(self, x):
        first = x
        for layer in self._layers:
            if not isinstance(layer, InputLayer):
                x = layer(x)
        if x is not first:
            object.__setattr__(self, "_functional", Functional(first, x, name=self.name))
            self.built = True

    def build(self, input_shape=None):
        """Builds the layers for inputs of this shape (with None for the batch)."""
        if self._functional is None and input_shape is not None:
            if not self._layers:
                raise ValueError(f"Sequential {self.name!r} has no layers")
            self._layers.insert(0, InputLayer(tuple(input_shape)[1:]))
            self._rebuild()

    @property
    def layers(self):
        return [layer for layer in self._layers if not isinstance(layer, InputLayer)]

    def call(self, inputs, training=None):
        if self._functional is None:
            for layer in self.layers:
                inputs = layer(inputs, training=training) if layer._takes("training") else layer(inputs)
            return inputs
        return self._functional.call(inputs, training)

    def input_specs(self):
        return self._functional.input_specs() if self._functional is not None else None

    @property
    def output_names(self):
        return [self._layers[-1].name] if self._layers else ["output"]

    @property
    def inputs(self):
        return self._need_build().inputs

    @property
    def outputs(self):
        return self._need_build().outputs

    @property
    def input_shape(self):
        return self._need_build().input_shape

    @property
    def output_shape(self):
        return self._need_build().output_shape

    def _need_build(self):
        if self._functional is None:
            raise ValueError(f"Sequential {self.name!r} is not built yet: add an Input, or call it on data")
        return self._functional

    def get_config(self):
        from fastnn.saving import serialize_keras_object

        return {
            "name": self.name,
            "trainable": self.trainable,
            "layers": [serialize_keras_object(layer) for layer in self._layers],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        from fastnn.saving import deserialize_keras_object

        layers = [deserialize_keras_object(c, custom_objects) for c in config["layers"]]
        return cls(layers, trainable=config["trainable"], name=config["name"])


def clone_model(model):
    """A model of the same configuration with fresh weights; built, if the model is."""
    clone = type(model).from_config(model.get_config())
    if not clone.built and model._built_for is not None:
        clone._build_by_trial(model._built_for)
    return clone


def model_from_json(text, custom_objects=None):
    """The model that `to_json` described, with fresh weights."""
    import json

    from fastnn.saving import deserialize_keras_object

    return deserialize_keras_object(json.loads(text), custom_objects)


def load_model(filepath, custom_objects=None, compile=True, safe_mode=True):
    """The model that `save` wrote: with its weights, and compiled with its optimizer's state unless `compile` is
    False. Training goes on with the bits of an uninterrupted one."""
    from fastnn.saving.model import load_model as load

    return load(filepath, custom_objects, compile)


def save_model(model, filepath, overwrite=True):
    """model.save(filepath)."""
    model.save(filepath, overwrite=overwrite)
