"""Optimizers against Keras and PyTorch over thirty steps of fixed gradients."""

import numpy as np
import pytest
from golden import cases
from golden.harness import DTYPES, REPEATED, SINGLE_INSIDE, compare, keras, numpy, precision, squared_error, target_for
from golden.store import load

#: Cases with a schedule or a clip, which Keras computes in float32.
ROUNDED = ("sgd_3", "rmsprop_4", "adam_3")
KERAS, TORCH = load("keras_optimizers"), load("torch_optimizers")


def apply_steps(optimizer, golden, name, dtype):
    named = zip(cases.optimizer_variables(), cases.optimizer_names(), strict=True)
    variables = [keras.Variable(value.astype(dtype), name=label) for value, label in named]
    optimizer.build(variables)
    for step in range(1, cases.OPTIMIZER_STEPS + 1):
        gradients = [keras.ops.convert_to_tensor(g.astype(dtype)) for g in cases.optimizer_gradients(step)]
        optimizer.apply(gradients, variables)
        if step in cases.OPTIMIZER_KEPT:
            for i, variable in enumerate(variables):
                tolerance = SINGLE_INSIDE if dtype == "float64" and name in ROUNDED else REPEATED[dtype]
                compare(numpy(variable), golden[f"{name}/{step}/{i}"], tolerance, f"{name} step {step} variable {i}")
    return variables


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_apply(name, dtype):
    with precision(dtype):
        optimizer = cases.make_optimizer(keras, name)
        variables = apply_steps(optimizer, KERAS, name, dtype)
        if "use_ema" in cases.OPTIMIZERS[name][1]:
            optimizer.finalize_variable_values(variables)
            for i, variable in enumerate(variables):
                compare(numpy(variable), KERAS[f"{name}/final/{i}"], REPEATED[dtype], f"{name} average {i}")


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_train(name):
    """The same steps inside a model: the target of a linear layer on the identity is chosen to give the gradient.

    float64 only: in float32 a gradient that is a difference of weights is too coarse for what divides by its size.
    """
    with precision("float64"):
        x = keras.Input((3,))
        named = zip(cases.VARIABLE_SHAPES, cases.optimizer_names(), strict=True)
        heads = [keras.layers.Dense(shape[1], use_bias=False, name=label) for shape, label in named]
        model = keras.Model(x, [head(x) for head in heads])
        for head, value in zip(heads, cases.optimizer_variables(), strict=True):
            head.set_weights([value])
        model.compile(optimizer=cases.make_optimizer(keras, name), loss=[squared_error() for _ in heads])
        for step in range(1, cases.OPTIMIZER_STEPS + 1):
            weights = [head.get_weights()[0] for head in heads]
            gradients = cases.optimizer_gradients(step)
            model.train_on_batch(np.eye(3), [target_for(w, g) for w, g in zip(weights, gradients, strict=True)])
            if step in cases.OPTIMIZER_KEPT:
                for i, head in enumerate(heads):
                    want = KERAS[f"{name}/{step}/{i}"]
                    # Gradients by cancellation: 1e-16 of a weight over the smallest gradient of 1e-5.
                    compare(head.get_weights()[0], want, {"rtol": 1e-6, "atol": 1e-8}, f"{name} step {step} head {i}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", cases.TORCH_OPTIMIZERS)
def test_torch(name, dtype):
    """PyTorch's updates, where Keras' arguments can express them (an epsilon of 1e-30 is the same on either side) and
    by fastnn's form="torch"."""
    cls, config = cases.TORCH_OPTIMIZERS[name][2]
    if "form" in config and keras.__name__ != "fastnn":
        pytest.skip("Keras has no such form")
    rate = config["learning_rate"]
    if isinstance(rate, tuple):
        config = {**config, "learning_rate": getattr(keras.optimizers.schedules, rate[0])(*rate[1])}
    with precision(dtype):
        apply_steps(getattr(keras.optimizers, cls)(**config), TORCH, name, dtype)
