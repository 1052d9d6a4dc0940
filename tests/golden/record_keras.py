"""Record Keras 3's results: ``python tests/golden/record_keras.py [family ...]``.

With TensorFlow underneath: in the torch and JAX backends the gradient of ``ops.mean`` is rounded to float32 even in
float64. They serve where TensorFlow cannot (grouped convolutions on the CPU) and at the kinks of activations, where the
three differ. See README.md beside this file.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np

from golden import cases, layers, models, sequences
from golden.store import save

BACKEND = keras.backend.backend()
if BACKEND == "jax":
    import jax

    jax.config.update("jax_enable_x64", True)
if BACKEND == "tensorflow":
    import tensorflow as tf
    from keras.src.backend.tensorflow import core

    plain_cast = core.cast

    def cast(x, dtype):
        """A Python number straight to ``dtype``: tf.cast goes by float32, and 0.9 becomes 0.89999998."""
        return tf.constant(x, dtype) if isinstance(x, (int, float)) and "float" in str(dtype) else plain_cast(x, dtype)

    def leaky_relu(x, alpha=0.2):
        """The operation's slope is a float32 attribute."""
        return tf.where(x > 0, x, tf.constant(alpha, x.dtype) * x)

    def gelu(x, approximate=False):
        """The operation's constants are rounded to float32."""
        if approximate:
            return 0.5 * x * (1 + tf.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * (1 + tf.math.erf(x * np.sqrt(0.5)))

    core.cast, tf.nn.leaky_relu, tf.nn.gelu = cast, leaky_relu, gelu
keras.config.set_floatx("float64")
ABOUT = {"library": "keras", "version": keras.__version__, "backend": BACKEND, "dtype": "float64"}


def numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value), dtype=np.float64)


def value_and_gradient(function, x):
    """The value of ``function`` and the gradient of its sum with regard to the float64 array ``x``."""
    if BACKEND == "torch":
        import torch

        tensor = torch.tensor(x, requires_grad=True)
        value = function(tensor)
        value.sum().backward()
        return numpy(value), numpy(tensor.grad)
    if BACKEND == "jax":
        return numpy(function(x)), numpy(jax.grad(lambda t: function(t).sum())(x))
    with tf.GradientTape() as tape:
        tensor = tf.constant(x)
        tape.watch(tensor)
        value = function(tensor)
        total = tf.reduce_sum(value)
    return numpy(value), numpy(tape.gradient(total, tensor))


def activations():
    out = {}
    for name, (function, kwargs, x) in cases.ACTIVATIONS.items():
        function = functools.partial(getattr(keras.activations, function), **kwargs)
        weight = keras.ops.convert_to_tensor(cases.activation_weight(name))
        out[f"{name}/value"] = numpy(function(keras.ops.convert_to_tensor(x)))
        _, out[f"{name}/gradient/{BACKEND}"] = value_and_gradient(lambda t, f=function, w=weight: f(t) * w, x)
    return out


def losses():
    out = {}
    for name, (cls, config, kind) in cases.LOSSES.items():
        y_true, y_pred = cases.labelled(kind, 20)
        y_true = cases.integers(y_true) if "sparse" in kind else y_true
        for weighted in (False, True):
            weights = cases.WEIGHTS if weighted else None
            if weighted and cls in cases.UNWEIGHTED:
                continue
            tag = f"{name}/{'weighted' if weighted else 'plain'}"
            for reduction in cases.REDUCTIONS:
                loss = getattr(keras.losses, cls)(**config, reduction=None if reduction == "none" else reduction)
                out[f"{tag}/{reduction}"] = numpy(loss(y_true, y_pred, sample_weight=weights))
            loss = getattr(keras.losses, cls)(**config)
            _, gradient = value_and_gradient(functools.partial(loss, y_true, sample_weight=weights), y_pred)
            out[f"{tag}/gradient"] = gradient
    return out


def metrics():
    out = {}
    for name, (cls, config, _) in cases.METRICS.items():
        for weighted in (False, True):
            if weighted and cls in cases.UNWEIGHTED:
                continue
            metric = getattr(keras.metrics, cls)(**config)
            for i, (args, kwargs) in enumerate(cases.metric_updates(name, weighted)):
                try:
                    metric.update_state(*args, **kwargs)
                except Exception as error:
                    print(f"{name}: not with {BACKEND}: {type(error).__name__}", file=sys.stderr)
                    break
                out[f"{name}/{'weighted' if weighted else 'plain'}/{i}"] = numpy(metric.result())
    return out


def schedules():
    out = {}
    for name, (cls, config) in cases.SCHEDULES.items():
        schedule = getattr(keras.optimizers.schedules, cls)(**config)
        out[name] = np.array([float(schedule(int(t))) for t in cases.SCHEDULE_STEPS])
    return out


def optimizers():
    out = {}
    for case in cases.OPTIMIZERS:
        optimizer = cases.make_optimizer(keras, case)
        named = zip(cases.optimizer_variables(), cases.optimizer_names(), strict=True)
        variables = [keras.Variable(value, name=name) for value, name in named]
        optimizer.build(variables)
        for step in range(1, cases.OPTIMIZER_STEPS + 1):
            gradients = [keras.ops.convert_to_tensor(g) for g in cases.optimizer_gradients(step)]
            optimizer.apply(gradients, variables)
            if step in cases.OPTIMIZER_KEPT:
                for i, variable in enumerate(variables):
                    out[f"{case}/{step}/{i}"] = numpy(variable)
        if "use_ema" in cases.OPTIMIZERS[case][1]:
            optimizer.finalize_variable_values(variables)
            for i, variable in enumerate(variables):
                out[f"{case}/final/{i}"] = numpy(variable)
    return out


def training():
    if BACKEND == "tensorflow":
        tf.config.run_functions_eagerly(True)  # tracing takes longer than these few steps
    out = {}
    for name in models.CASES:
        keras.utils.clear_session()
        out |= {f"{name}/{key}": value for key, value in models.run(keras, name).items()}
    return out


def trained_sequences():
    if BACKEND == "tensorflow":
        tf.config.run_functions_eagerly(True)
    out = {}
    for name in sequences.CASES:
        keras.utils.clear_session()
        out |= {f"{name}/{key}": value for key, value in sequences.run(keras, name).items()}
    return out


def layer_gradients(layer, name, arrays):
    """(output, gradients of the float inputs, gradients of the trainable weights) for the recorded cotangent."""
    trained = layer.trainable_variables
    if BACKEND == "torch":
        import torch

        tensors = [torch.tensor(a, requires_grad=a.dtype == np.float64) for a in arrays]
        for variable in trained:
            variable.value.grad = None
        output = layers.apply(layer, name, tensors)
        (output * torch.tensor(layers.cotangent(tuple(output.shape)))).sum().backward()
        return output.detach(), [t.grad for t in tensors if t.requires_grad], [v.value.grad for v in trained]
    tensors = [tf.constant(a) for a in arrays]
    with tf.GradientTape() as tape:
        for tensor in tensors:
            tape.watch(tensor)
        output = layers.apply(layer, name, tensors)
        total = tf.reduce_sum(output * layers.cotangent(tuple(output.shape)))
    of_inputs, of_weights = tape.gradient(total, (tensors, [v.value for v in trained]))
    of_inputs = [g for g, a in zip(of_inputs, arrays, strict=True) if a.dtype == np.float64]
    return output, of_inputs, [tf.convert_to_tensor(g) for g in of_weights]


def affine():
    x, transforms = (keras.ops.convert_to_tensor(a) for a in cases.affine_images())
    transform = keras.ops.image.affine_transform
    return {name: numpy(transform(x, transforms, **options)) for name, options in cases.AFFINE.items()}


def layer_family(cls):
    """Files by family, each below the size that a repository should carry."""
    if cls in ("Normalization", "Resizing", "CenterCrop", "Rescaling"):
        return "image"
    if "Conv" in cls:
        return "convolution"
    if any(word in cls for word in ("Pool", "Sampling", "Padding", "Cropping", "Normalization")):
        return "pooling"
    if cls in ("SimpleRNN", "LSTM", "GRU", "Bidirectional", "TimeDistributed", "Embedding") or "Attention" in cls:
        return "sequence"
    return "dense"


def layer_results():
    out = {}
    for name in layers.LAYERS:
        layer = layers.make(keras, name)
        arrays = layers.inputs_of(name)
        try:
            layers.apply(layer, name, [keras.ops.convert_to_tensor(a) for a in arrays])  # builds the weights
            layers.set_weights(layer)
            output, of_inputs, of_weights = layer_gradients(layer, name, arrays)
        except Exception as error:
            print(f"{name}: not with {BACKEND}: {type(error).__name__}", file=sys.stderr)
            continue
        out[f"{name}/output"] = numpy(output)
        for kind, values in (("input", of_inputs), ("weight", of_weights)):
            out |= {f"{name}/{kind}/{i}": numpy(value) for i, value in enumerate(values)}
        states = [v for v in layer.non_trainable_variables if "seed" not in v.path]
        out |= {f"{name}/state/{i}": numpy(variable) for i, variable in enumerate(states)}
    return out


def by_backend(backend, what):
    """Results of this script under another backend, from a process of its own."""
    text = subprocess.run(
        [sys.executable, __file__, what],
        env=dict(os.environ, KERAS_BACKEND=backend),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return {key: np.array(value) for key, value in json.loads(text.splitlines()[-1]).items()}


def record_layers():
    other, out = by_backend("torch", "--layers"), layer_results()
    names = {key.split("/")[0] for key in out}
    for key in out.keys() & other.keys():
        if np.abs(out[key] - other[key]).max(initial=0) > 1e-6:
            print(f"{key}: the backends differ by {np.abs(out[key] - other[key]).max():.2g}")
    out = {key: out.get(key, value) for key, value in other.items() if key in out or key.split("/")[0] not in names}
    files = {}
    for key, value in out.items():
        family = layer_family(layers.LAYERS[key.split("/")[0]][0])
        files.setdefault(f"layers_{family}", {})[key] = value
    return files


def record_activations():
    """The values by this backend and the gradients by all three: they differ where the function has a kink."""
    out = activations()
    for backend in ("jax", "torch"):
        out |= {key: value for key, value in by_backend(backend, "--activations").items() if "gradient" in key}
    return out


def penalties():
    """Regularizers' values and what constraints make of a weight."""
    out = {}
    for module, table in ((keras.regularizers, cases.REGULARIZERS), (keras.constraints, cases.CONSTRAINTS)):
        for name, (cls, config, shape) in table.items():
            out[name] = numpy(getattr(module, cls)(**config)(keras.ops.convert_to_tensor(cases.penalized(shape))))
    return out


def record_optimizers():
    """ScheduleFreeAdamW with JAX: where variables change in place its old value of one is the new one."""
    other = by_backend("jax", "--optimizers")
    return optimizers() | {key: value for key, value in other.items() if key.startswith("schedulefree")}


def main(families):
    parts = {
        "--activations": activations, "--affine": affine, "--layers": layer_results, "--metrics": metrics,
        "--optimizers": optimizers, "--penalties": penalties,
    }  # fmt: skip
    if families and families[0] in parts:
        made = parts[families[0]]()
        print(json.dumps({key: value.tolist() for key, value in made.items()}))
        return
    makers = {
        "activations": record_activations,
        "losses": losses,
        "metrics": lambda: by_backend("torch", "--metrics") | metrics(),  # TensorFlow's in_top_k has no float64
        "schedules": schedules,
        "optimizers": record_optimizers,
        "penalties": lambda: by_backend("jax", "--penalties"),  # TensorFlow mixes float32 into float64
        "training": training,
        "sequences": trained_sequences,
        "layers": record_layers,
        "affine": lambda: by_backend("jax", "--affine"),  # TensorFlow computes float64 images with float32 positions
    }
    for family in families or makers:
        made = makers[family]()
        for name, arrays in made.items() if family == "layers" else [(f"keras_{family}", made)]:
            name = name if name.startswith("keras_") else f"keras_{name}"
            bad = [key for key, value in arrays.items() if not np.all(np.isfinite(value))]
            path = save(name, arrays, **ABOUT)
            print(
                f"{path.name}: {len(arrays)} arrays, {path.stat().st_size} bytes", f"not finite: {bad}" if bad else ""
            )


if __name__ == "__main__":
    main(sys.argv[1:])
