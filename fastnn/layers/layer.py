"""The base class of layers: declarations that make tensors of tensors.

Calling a layer means one of three things. On arrays it computes at once. Inside a trace (a step being compiled) its
`call` runs on the tensors. On symbolic tensors outside a trace it becomes one node of a functional model, to be called
again in every trace of that model.
"""

import inspect
import math
import re
import warnings

import numpy as np

from fastnn import config, dtype_policies, graph
from fastnn.graph import Spec, Tensor, mask_of, set_mask
from fastnn.utils import tree
from fastnn.variables import Variable

_names = {}
_TOO_MANY = 2**40  # elements of a sample or a weight
_MISSING = object()


def auto_name(prefix):
    """prefix, prefix_1, prefix_2, ... in this process (see `clear_session`)."""
    count = _names.get(prefix, 0)
    _names[prefix] = count + 1
    return prefix if count == 0 else f"{prefix}_{count}"


def reset_names():
    _names.clear()


def snake_case(name):
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


class LayerCall:
    """The op of a node that stands for one call of a layer in a functional model."""

    has_effect = False

    def __init__(self, layer, args, kwargs, structure):
        self.layer = layer
        self.args = args  # with tensors in their places
        self.kwargs = kwargs
        self.structure = structure  # of the results

    @property
    def name(self):
        return self.layer.name

    def replay(self, tensors):
        """The layer called again, with `tensors` for those of the first call, in order."""
        args, kwargs = tree.pack((self.args, self.kwargs), _substitute((self.args, self.kwargs), tensors))
        return self.layer(*args, **kwargs)


def _substitute(structure, tensors):
    tensors = iter(tensors)
    return [next(tensors) if isinstance(leaf, Tensor) else leaf for leaf in tree.flatten(structure)]


class Layer:
    """A piece of a network: weights, and a function of tensors.

    A subclass makes its weights in `build(input_shape)` by `add_weight` and computes in `call(inputs)` with
    `fastnn.ops`; it is then differentiated, compiled and saved (given `get_config`) like a built-in one.

    Args:
        name: shown in summaries and files; made from the class' name by default.
        trainable: whether its weights are changed in training; setting it later sets it for the layers within too.
        dtype: "float32", "float64" or "mixed_bfloat16" (see `fastnn.DTypePolicy`); the process' policy if None.
        activity_regularizer: a function of the output whose value is added to the loss.
        learning_rate_factor: multiplies the learning rate of its weights (fastnn's own); may be set later, and then
            holds for the layers within it too.
    """

    def __new__(cls, *args, **kwargs):
        layer = object.__new__(cls)
        object.__setattr__(layer, "_variables", [])
        object.__setattr__(layer, "_layers", [])
        object.__setattr__(layer, "_metrics", [])
        object.__setattr__(layer, "_arguments", (args, kwargs))
        return layer

    def __init__(self, *, name=None, trainable=True, dtype=None, activity_regularizer=None, input_shape=None,
                 learning_rate_factor=1.0, **kwargs):  # fmt: skip
        if kwargs:
            raise TypeError(f"{type(self).__name__}: unknown argument {next(iter(kwargs))!r}")
        from fastnn import regularizers

        self.name = name or auto_name(snake_case(type(self).__name__))
        self.trainable = bool(trainable)
        self.dtype_policy = (
            dtype_policies.get(dtype, f"{self.name}: dtype") if dtype is not None else config.dtype_policy()
        )
        self.built = False
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.input_spec_shape = tuple(input_shape) if input_shape is not None else None  # without the batch
        self.learning_rate_factor = learning_rate_factor

    @property
    def dtype(self):
        """The type of the weights."""
        return self.dtype_policy.variable_dtype

    variable_dtype = dtype

    @property
    def compute_dtype(self):
        """The type that matrix products round their operands to."""
        return self.dtype_policy.compute_dtype

    @property
    def trainable(self):
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._trainable = bool(value)
        for layer in self._layers:  # which may behave in another way when frozen, as BatchNormalization does
            layer.trainable = value

    @property
    def learning_rate_factor(self):
        return self._learning_rate_factor

    @learning_rate_factor.setter
    def learning_rate_factor(self, value):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise TypeError(f"{self.name}: learning_rate_factor must be a number, got {value!r}")
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{self.name}: learning_rate_factor must be finite and not negative, got {value}")
        self._learning_rate_factor = float(value)
        for v in self._variables:
            v.learning_rate_factor = self._learning_rate_factor
        for layer in self._layers:
            layer.learning_rate_factor = value

    # ---- what a layer holds ----

    def __setattr__(self, name, value):
        if not hasattr(self, "_layers"):  # a subclass made without __new__'s lists cannot be tracked
            raise RuntimeError(f"{type(self).__name__}: attributes can be set after object creation only")
        if name not in self._quiet and self.__dict__.get(name, _MISSING) is not value:
            graph.touch()
        self._track(value)
        object.__setattr__(self, name, value)

    #: attributes that no compiled step depends on
    _quiet = frozenset()

    def _track(self, value):
        from fastnn.metrics import Metric

        if isinstance(value, Variable):
            if not any(v is value for v in self._variables):
                self._variables.append(value)
        elif isinstance(value, Layer):
            if not any(v is value for v in self._layers):
                self._layers.append(value)
        elif isinstance(value, Metric):
            if not any(v is value for v in self._metrics):
                self._metrics.append(value)
        elif isinstance(value, (list, tuple)):
            for part in value:
                self._track(part)
        elif isinstance(value, dict):
            for part in value.values():
                self._track(part)

    def add_weight(self, shape=None, initializer=None, dtype=None, trainable=True, regularizer=None, constraint=None,
                   name=None):  # fmt: skip
        """A new variable of the layer. Defaults: glorot_uniform for matrices and larger, zeros otherwise."""
        from fastnn import constraints, initializers, regularizers

        shape = tuple(shape) if shape is not None else ()
        if any(d is None or d < 0 for d in shape):
            raise ValueError(f"{self.name}: a weight needs a shape of known sizes, got {shape}")
        self._check_extent(f"a weight {name or 'variable'!r} of shape {shape}", shape)
        if initializer is None:
            initializer = "glorot_uniform" if len(shape) > 1 else "zeros"
        try:
            variable = Variable(
                initializers.get(initializer), shape, dtype or self.dtype, trainable, name or "variable",
                regularizer=regularizers.get(regularizer), constraint=constraints.get(constraint),
                learning_rate_factor=self.learning_rate_factor,
            )  # fmt: skip
        except MemoryError:
            raise MemoryError(
                f"{type(self).__name__} {self.name!r}: no memory for a weight {name or 'variable'!r} of shape {shape} "
                f"({math.prod(shape) * np.dtype(dtype or self.dtype).itemsize / 2**30:.1f} GiB); choose smaller sizes"
            ) from None
        variable.path = f"{self.name}/{variable.name}"
        self._track(variable)
        return variable

    def _check_extent(self, what, shape):
        """Sizes that no memory holds are a mistake, and would overflow further on."""
        count = math.prod(d for d in shape if d is not None)
        if count >= _TOO_MANY:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: {what} has {count:.3g} elements, more than any memory holds; "
                "choose smaller sizes"
            )

    @property
    def layers(self):
        return list(self._layers)

    def _flatten_layers(self):
        found, stack = {}, [self]
        while stack:
            layer = stack.pop()
            if id(layer) not in found:
                found[id(layer)] = layer
                stack.extend(reversed(layer._layers))
        return list(found.values())

    @property
    def weights(self):
        """All variables: trainable ones of the layer, then its others, then those of the layers within it."""
        found = {}
        for layer in self._flatten_layers():
            own = layer._variables
            for v in [v for v in own if v.trainable] + [v for v in own if not v.trainable]:
                found[id(v)] = v
        return list(found.values())

    variables = weights

    @property
    def trainable_weights(self):
        """Variables that training changes."""
        found = {}
        self._collect_trainable(found)
        return list(found.values())

    trainable_variables = trainable_weights

    def _collect_trainable(self, found):
        if not self.trainable:
            return
        for v in self._variables:
            if v.trainable:
                found[id(v)] = v
        for layer in self._layers:
            layer._collect_trainable(found)

    @property
    def non_trainable_weights(self):
        trainable = {id(v) for v in self.trainable_weights}
        return [v for v in self.weights if id(v) not in trainable]

    non_trainable_variables = non_trainable_weights

    def count_params(self):
        """Number of elements of all variables."""
        return sum(int(np.prod(v.shape)) for v in self.weights)

    def get_weights(self):
        """Copies of all variables' values, as a list of arrays."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights):
        """Sets all variables from a list of arrays, in the order of `weights`."""
        own = self.weights
        if len(weights) != len(own):
            hint = "" if self.built else "; it is not built yet: call it on data first"
            raise ValueError(f"{self.name}: set_weights needs {len(own)} arrays, got {len(weights)}{hint}")
        arrays = [np.asarray(w) for w in weights]
        for v, w in zip(own, arrays, strict=True):
            if v.shape != w.shape:
                raise ValueError(f"{self.name}: weight {v.path} must have shape {v.shape}, got {w.shape}")
        for v, w in zip(own, arrays, strict=True):
            v.assign(w)

    # ---- building and calling ----

    def build(self, input_shape):
        """Makes the weights; a subclass with weights overrides it. `input_shape` leads with None for the batch."""

    def call(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} must implement call()")

    def _ensure_built(self, args):
        if self.built:
            return
        shapes = [
            tree.map_leaves(lambda t: batch_shape(t), arg) for arg in args if _holds_tensors(arg)
        ]  # fmt: skip
        shape = shapes[0] if shapes else None
        with graph.untraced():  # models made here are for every step, not for the one being traced
            self.build(shape)
        self.built = True
        for v in self._variables:
            if "/" not in v.path:
                v.path = f"{self.name}/{v.path}"

    def _takes(self, name):
        if not hasattr(self, "_call_parameters"):
            object.__setattr__(self, "_call_parameters", set(inspect.signature(self.call).parameters))
        return name in self._call_parameters

    def __call__(self, *args, **kwargs):
        leaves = tree.flatten((args, kwargs))
        trace = graph.current_trace()
        if any(isinstance(leaf, Tensor) for leaf in leaves):
            if trace is None:
                return self._record(args, kwargs)
            self._ensure_built(args)
            return self._traced(trace, args, kwargs)
        args, kwargs = tree.map_leaves(self._as_array, (args, kwargs))
        self._ensure_built(args)
        return self._eager(args, kwargs)

    def _traced(self, trace, args, kwargs):
        if self._takes("training") and kwargs.get("training") is None:
            kwargs = {**kwargs, "training": trace.training}
        outputs = self._masked_call(args, kwargs)
        if self.activity_regularizer is not None:
            from fastnn.ops.core import as_tensor
            from fastnn.ops.nn import divide_by_samples

            for y in tree.flatten(outputs):
                penalty = as_tensor(self.activity_regularizer(y), y.dtype)  # it may be a mere number
                trace.losses.append(divide_by_samples(penalty) if y.batched else penalty)
        return outputs

    def _eager(self, args, kwargs):
        training = kwargs.pop("training", None)
        if self._takes("training"):
            kwargs["training"] = bool(training)
        return self._masked_call(args, kwargs)

    #: whether a mask of the inputs (steps of sequences that do not count) holds for the outputs too
    supports_masking = False

    def compute_mask(self, inputs, mask=None):
        """The mask of the outputs from that of the inputs; each may be a structure of masks."""
        return mask if self.supports_masking else None

    def _masked_call(self, args, kwargs):
        """call(), with the mask of its first argument if it takes one, and the outputs given theirs."""
        masks = tree.map_leaves(mask_of, args[0]) if args else None
        masked = any(m is not None for m in tree.flatten(masks))
        for name in self._mask_arguments() if args else ():
            if name == "mask" and kwargs.get("initial_state") is not None:
                continue  # beside a first state Keras takes a mask that is passed, not the one that the inputs carry
            if kwargs.get(name) is None:
                source = masks if name == "mask" else self._argument_mask(name, args, kwargs)
                if any(m is not None for m in tree.flatten(source)):
                    kwargs = {**kwargs, name: source}
        with graph.lowering(self.compute_dtype == "bfloat16"):
            outputs = self.call(*args, **kwargs)
        if masked and not self.supports_masking and not self._keeps_masks:
            warnings.warn(
                f"{type(self).__name__} {self.name!r} does not support masking: the layers behind it do not see the "
                "mask of its inputs",
                stacklevel=4,
            )
        if (masked or type(self).compute_mask is not Layer.compute_mask) and not self._keeps_masks:
            given = kwargs.get("mask")
            found = tree.flatten(self.compute_mask(args[0] if args else None, masks if given is None else given))
            leaves = tree.flatten(outputs)
            if len(found) == len(leaves):
                for y, m in zip(leaves, found, strict=True):
                    if m is not None and mask_of(y) is None:
                        set_mask(y, m)
        return outputs

    #: whether call() goes through other layers, which give the outputs their masks
    _keeps_masks = False

    def _mask_arguments(self):
        if not hasattr(self, "_mask_parameters"):
            names = [n for n in inspect.signature(self.call).parameters if n == "mask" or n.endswith("_mask")]
            object.__setattr__(self, "_mask_parameters", [n for n in names if n != "attention_mask"])
        return self._mask_parameters

    def _argument_mask(self, name, args, kwargs):
        """The mask of the argument that `name`, as in "query_mask", speaks of."""
        names = list(inspect.signature(self.call).parameters)
        bound = {**dict(zip(names, args, strict=False)), **kwargs}
        x = bound.get(name.removesuffix("_mask"))
        return None if x is None else mask_of(x)

    def _as_array(self, x):
        if isinstance(x, (np.ndarray, np.generic)):
            x = np.asarray(x)
            if x.dtype.kind == "f" and str(x.dtype) != (dtype := self._array_type()):
                x = x.astype(dtype)
        return x

    def _array_type(self):
        """The type that floats become when arrays are passed."""
        return self.dtype

    def _type_within(self, dtype):
        """The type of an input in the layer: floats take that of its weights; where there are none (yet), of the layers
        within, if they have one; else its own."""
        if dtype not in ("float32", "float64"):
            return dtype
        found = {v.dtype for v in self.weights} & {"float32", "float64"}
        found = found or {layer.dtype for layer in self._layers} or {self._array_type()}
        return found.pop() if len(found) == 1 else dtype

    def _record(self, args, kwargs):
        """One node for this call; the shapes of its results come from a trial run on fresh inputs."""
        self._ensure_built(args)
        with graph.Trace() as trial:
            fresh = [
                graph.input_tensor(leaf.shape, self._type_within(leaf.dtype)) if isinstance(leaf, Tensor) else leaf
                for leaf in tree.flatten((args, kwargs))
            ]
            trial_args, trial_kwargs = tree.pack((args, kwargs), fresh)
            results = self._traced(trial, trial_args, trial_kwargs)
        op = LayerCall(self, args, kwargs, results)
        tensors = [leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, Tensor)]
        specs = [Spec(t.shape, t.dtype) for t in tree.flatten(results)]
        for spec in specs:
            self._check_extent(f"a result of shape {spec.shape}", spec.shape)
        node = graph.Node(op, tensors, specs)
        op.structure = tree.map_leaves(lambda t: None, results)
        for t in node.outputs:
            t.name = self.name
        return tree.pack(results, node.outputs)

    def compute_output_shape(self, input_shape):
        """Shape of the result for inputs of `input_shape`."""
        several = bool(input_shape) and isinstance(input_shape[0], (list, tuple))
        x = [graph.input_tensor(s, self.dtype) for s in (input_shape if several else [input_shape])]
        x = x if several else x[0]
        self._ensure_built((x,))
        with graph.Trace() as trace:
            return tree.map_leaves(lambda t: t.shape, self._traced(trace, (x,), {}))

    def add_loss(self, loss):
        """Adds a scalar tensor to the loss of the step being traced."""
        trace = graph.current_trace()
        if trace is not None:
            trace.losses.extend(tree.flatten(loss))

    # ---- files ----

    def get_config(self):
        """Keyword arguments that make an equal layer."""
        base = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype_policy.name}
        if self.learning_rate_factor != 1.0:
            base["learning_rate_factor"] = self.learning_rate_factor
        if type(self).get_config is Layer.get_config and type(self).__init__ is not Layer.__init__:
            args, kwargs = self._arguments
            simple = (str, int, float, bool, type(None))
            if args or not all(isinstance(v, simple) for v in kwargs.values()):
                raise NotImplementedError(
                    f"{type(self).__name__} must implement get_config() to be saved: its arguments are not plain values"
                )
            base.update(kwargs)
        return base

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _holds_tensors(arg):
    return any(isinstance(leaf, (Tensor, np.ndarray, Variable)) for leaf in tree.flatten(arg))


def batch_shape(t):
    """The shape with None for the batch."""
    if isinstance(t, Tensor):
        return t.shape
    shape = np.shape(t)
    return (None, *shape[1:]) if shape else ()
