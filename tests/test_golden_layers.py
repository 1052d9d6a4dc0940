"""Single layers against Keras: output, gradients of inputs and weights, state after the step."""

import pytest
from golden import layers
from golden.harness import (
    DTYPES,
    SINGLE,
    SINGLE_INSIDE,
    compare,
    gradients,
    keras,
    numpy,
    precision,
    squared_error,
    target_for,
)
from golden.store import load

GOLDEN = {}
for _family in ("dense", "convolution", "pooling", "sequence", "image"):
    GOLDEN |= load(f"keras_layers_{_family}")
#: Keras resizes by weights in float32, whatever the dtype, holds given means and variances in it, and multiplies
#: queries by a float32 1 / sqrt(key_dim).
BY_FLOAT32 = {
    "upsampling2d_2",
    *(
        name
        for name in layers.LAYERS
        if name.startswith(("resizing", "centercrop", "normalization", "multiheadattention"))
    ),
}
#: TensorFlow takes bicubic weights from a table of 1024 entries.
BY_TABLE = {"rtol": 2e-3, "atol": 2e-3}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", layers.LAYERS)
def test_output(name, dtype):
    with precision(dtype):
        layer = layers.make(keras, name)
        arrays = [a if a.dtype.kind == "i" else a.astype(dtype) for a in layers.inputs_of(name)]
        tensors = [keras.ops.convert_to_tensor(a) for a in arrays]
        layers.apply(layer, name, tensors)
        layers.set_weights(layer)
        got = numpy(layers.apply(layer, name, tensors))
    tolerance = SINGLE_INSIDE if name in BY_FLOAT32 and dtype == "float64" else SINGLE[dtype]
    if layers.LAYERS[name][1].get("interpolation") == "bicubic":
        tolerance = BY_TABLE
    compare(got, GOLDEN[f"{name}/output"], tolerance, name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", layers.LAYERS)
def test_gradients(name, dtype):
    output = GOLDEN[f"{name}/output"]
    with precision(dtype):
        layer = layers.make(keras, name)
        frozen = layers.LAYERS[name][3].get("training") is False
        if frozen:  # train_on_batch overrides training=False; what is not trainable infers all the same
            layer.trainable = False
        of_inputs, of_weights, states = gradients(
            lambda tensors: layers.apply(layer, name, tensors),
            layers.inputs_of(name),
            layer,
            target_for(output, layers.cotangent(output.shape)),
            squared_error(),
            weights=layers.set_weights,
        )
    # float32: sums over rows and positions of a convolution, read off weights of size one.
    tolerance = SINGLE[dtype] | ({"atol": 5e-5} if dtype == "float32" else {})
    if name in BY_FLOAT32 and dtype == "float64":
        tolerance = SINGLE_INSIDE
    if layers.LAYERS[name][1].get("interpolation") == "bicubic":
        tolerance = BY_TABLE
    kinds = (("input", of_inputs), ("weight", of_weights), ("state", states))
    for kind, values in kinds[:1] if frozen else kinds:
        assert len(values) == sum(key.startswith(f"{name}/{kind}/") for key in GOLDEN)
        for i, value in enumerate(values):
            compare(value, GOLDEN[f"{name}/{kind}/{i}"], tolerance, f"{name} {kind} {i}")
