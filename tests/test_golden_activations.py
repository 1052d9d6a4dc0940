"""Activations against Keras: values, and gradients; at a kink any of Keras' three backends may be right."""

import numpy as np
import pytest
from golden import cases
from golden.harness import DTYPES, SINGLE, compare, gradients, keras, numpy, precision, squared_error, target_for
from golden.store import load

GOLDEN = load("keras_activations")
BACKENDS = ("tensorflow", "torch", "jax")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", cases.ACTIVATIONS)
def test_value(name, dtype):
    function, kwargs, x = cases.ACTIVATIONS[name]
    with precision(dtype):
        got = numpy(getattr(keras.activations, function)(keras.ops.convert_to_tensor(x.astype(dtype)), **kwargs))
    compare(got, GOLDEN[f"{name}/value"], SINGLE[dtype], name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", cases.ACTIVATIONS)
def test_gradient(name, dtype):
    function, kwargs, x = cases.ACTIVATIONS[name]
    if name == "softmax_axis0":
        pytest.skip("a softmax over the samples of a batch is refused: its result would depend on the batch")
    function = getattr(keras.activations, function)
    with precision(dtype):
        if x.ndim == 1:
            # Mean absolute error far below every value has slope 1/n everywhere, whatever exp(80) does to a square.
            target, loss, rate = np.full((1, x.size), -1e36), keras.losses.MeanAbsoluteError(reduction="sum"), x.size
        else:
            target, loss, rate = target_for(GOLDEN[f"{name}/value"], cases.activation_weight(name)), squared_error(), 1
        (got,), _, _ = gradients(
            lambda t: keras.layers.Activation(lambda v: function(v, **kwargs))(t[0]),
            [np.atleast_2d(x)],
            None,
            target,
            loss,
            learning_rate=float(rate),
        )
    got = got.reshape(x.shape)
    recorded = np.stack([GOLDEN[f"{name}/gradient/{backend}"] for backend in BACKENDS])
    nearest = np.abs(recorded - got).argmin(axis=0)
    # The gradient is read off a weight as large as x, so it carries the roundings of x.
    tolerance = SINGLE[dtype] | ({"atol": 3e-5} if dtype == "float32" else {})
    compare(got, np.take_along_axis(recorded, nearest[None], axis=0)[0], tolerance, name)
