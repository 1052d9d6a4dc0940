"""How the recorded numbers are asked of fastnn, through the public API alone.

Gradients come out of one step of plain gradient descent at learning rate one: what a weight lost is its gradient. An
input becomes a weight by a bias-free Dense layer on the identity matrix in front. ``GOLDEN_SUBJECT=keras`` runs the
tests on Keras itself, which checks the tests.
"""

import contextlib
import importlib
import os

import numpy as np

keras = importlib.import_module(os.environ.get("GOLDEN_SUBJECT", "fastnn"))
if keras.__name__ == "keras" and keras.backend.backend() == "jax":
    importlib.import_module("jax").config.update("jax_enable_x64", True)

DTYPES = ("float64", "float32")

# Recorded in float64. A float64 subject differs by the order of its sums and the last bits of exp and log; a float32
# one by some ten roundings of 6e-8 on numbers of size one, and by cancellation where gradients are differences.
SINGLE = {"float64": {"rtol": 1e-9, "atol": 1e-11}, "float32": {"rtol": 3e-5, "atol": 1e-5}}
# Thirty steps, or three epochs: each step adds its roundings and Adam divides small gradients by small numbers.
REPEATED = {"float64": {"rtol": 1e-8, "atol": 1e-9}, "float32": {"rtol": 1e-3, "atol": 1e-4}}


# Keras holds some numbers in float32 whatever the dtype (rates of schedules, thresholds and factors of clipping), so
# float64 recordings that depend on them carry relative errors of some 1e-7.
SINGLE_INSIDE = {"rtol": 1e-6, "atol": 1e-6}


@contextlib.contextmanager
def precision(dtype):
    """Everything built inside computes in ``dtype``."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)  # made from floatx once, at its first use, and then on its own
    try:
        yield np.dtype(dtype)
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value), dtype=np.float64)


def compare(got, want, tolerance, what):
    got = np.asarray(got, dtype=np.float64)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, recorded {want.shape}"
    np.testing.assert_allclose(got, want, **tolerance, err_msg=what)


def gradients(call, arrays, layer, target, loss, learning_rate=1.0, weights=None, sample_weight=None):
    """Gradients of ``loss(target, call(tensors))``, times ``learning_rate``, by one step of descent.

    call: from one symbolic tensor per array to the output; integer arrays are fed, the others are weights.
    layer: the layer with weights in ``call``, or None; weights(layer) sets them once they exist.
    Returns (gradients of the float arrays, gradients of layer.trainable_weights, layer.non_trainable_weights after).
    """
    rows = len(arrays[0])
    identity = keras.Input((rows,))
    inputs, fed, sources, tensors = [identity], [np.eye(rows)], [], []
    for array in arrays:
        if array.dtype.kind == "i":
            tensors.append(keras.Input(array.shape[1:], dtype="int32"))
            inputs.append(tensors[-1])
            fed.append(array)
        else:
            sources.append(keras.layers.Dense(array[0].size, use_bias=False))
            tensors.append(keras.layers.Reshape(array.shape[1:])(sources[-1](identity)))
    if not sources:
        inputs, fed = inputs[1:], fed[1:]
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], call(tensors))
    floats = [array.reshape(rows, -1) for array in arrays if array.dtype.kind != "i"]
    for source, array in zip(sources, floats, strict=True):
        source.set_weights([array])
    if weights is not None:
        weights(layer)
    trained = list(layer.trainable_weights) if layer is not None else []
    before = [numpy(w) for w in trained]
    model.compile(optimizer=keras.optimizers.SGD(learning_rate), loss=loss)
    model.train_on_batch(fed if len(fed) > 1 else fed[0], target, sample_weight=sample_weight)
    of_inputs = [array - source.get_weights()[0] for source, array in zip(sources, floats, strict=True)]
    of_weights = [old - numpy(new) for old, new in zip(before, trained, strict=True)]
    states = [] if layer is None else [numpy(w) for w in layer.non_trainable_weights if "seed" not in w.path]
    shapes = [array.shape for array in arrays if array.dtype.kind != "i"]
    return [g.reshape(s) for g, s in zip(of_inputs, shapes, strict=True)], of_weights, states


def target_for(output, cotangent):
    """The target whose summed mean squared error has ``cotangent`` as its gradient at ``output``."""
    return output - cotangent * output.shape[-1] / 2


def squared_error():
    return keras.losses.MeanSquaredError(reduction="sum")
