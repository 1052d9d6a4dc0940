"""Single layers that are recorded and compared: output, gradients of inputs and weights, moving statistics."""

import numpy as np
import pytest

from .store import rand

IMAGE, SERIES, FLAT = (2, 6, 7, 4), (2, 9, 4), (3, 6)

# name -> (class, configuration, shapes of inputs, arguments of the call)
LAYERS = {}


def add(cls, shapes, *configs, call=None, tag=""):
    shapes = [shapes] if isinstance(shapes[0], int) else list(shapes)
    for config in configs or ({},):
        base = tag or cls.lower()
        name = base if base not in LAYERS else next(f"{base}_{i}" for i in range(1, 99) if f"{base}_{i}" not in LAYERS)
        LAYERS[name] = (cls, config, shapes, call or {})


add("Dense", FLAT, {"units": 5}, {"units": 4, "activation": "softmax"}, {"units": 4, "use_bias": False})
add("Dense", SERIES, {"units": 3, "activation": "gelu"}, tag="dense_3d")
add("EinsumDense", SERIES, {"equation": "abc,cd->abd", "output_shape": (None, 5), "bias_axes": "d"})
add("PReLU", IMAGE, {}, {"shared_axes": [1, 2]})
add("LeakyReLU", FLAT)
add("ELU", FLAT, {"alpha": 0.7})
add("ReLU", FLAT, {"max_value": 0.6, "negative_slope": 0.1, "threshold": 0.1})
add("Softmax", SERIES, {}, {"axis": 1})
for _merge in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):
    add(_merge, [SERIES, SERIES])
add("Concatenate", [SERIES, (2, 3, 4)], {"axis": 1})
add("Dot", [SERIES, SERIES], {"axes": (2, 2)}, {"axes": (1, 1)}, {"axes": 2, "normalize": True})
add("Flatten", IMAGE)
add("Reshape", SERIES, {"target_shape": (4, -1)})
add("Permute", IMAGE, {"dims": (3, 1, 2)})
add("RepeatVector", FLAT, {"n": 3})
add("Rescaling", FLAT, {"scale": 2.0, "offset": 0.5})
add("UnitNormalization", FLAT)

add(
    "Conv2D",
    IMAGE,
    {"filters": 3, "kernel_size": 3},
    {"filters": 5, "kernel_size": 3, "padding": "same", "activation": "relu"},
    {"filters": 3, "kernel_size": (3, 2), "strides": 2, "padding": "same"},
    {"filters": 3, "kernel_size": 2, "strides": (2, 3)},
    {"filters": 3, "kernel_size": 3, "dilation_rate": 2, "padding": "same"},
    {"filters": 3, "kernel_size": 2, "dilation_rate": (2, 3)},
    {"filters": 6, "kernel_size": 3, "groups": 2, "padding": "same"},
    {"filters": 4, "kernel_size": 2, "groups": 4, "use_bias": False},
    {"filters": 9, "kernel_size": 1},
    {"filters": 3, "kernel_size": 1, "strides": 2},
)
add(
    "Conv1D",
    SERIES,
    {"filters": 3, "kernel_size": 3},
    {"filters": 3, "kernel_size": 4, "padding": "same", "strides": 2},
    {"filters": 3, "kernel_size": 3, "padding": "causal"},
    {"filters": 3, "kernel_size": 2, "padding": "causal", "dilation_rate": 3},
    {"filters": 4, "kernel_size": 3, "groups": 2, "padding": "same"},
)
add("Conv3D", (2, 4, 4, 3, 2), {"filters": 3, "kernel_size": 2}, {"filters": 2, "kernel_size": 3, "padding": "same"})
add(
    "DepthwiseConv2D",
    IMAGE,
    {"kernel_size": 3},
    {"kernel_size": 3, "depth_multiplier": 2, "padding": "same"},
    {"kernel_size": 3, "strides": 2, "padding": "same"},
    {"kernel_size": 2, "dilation_rate": 2},
)
add("DepthwiseConv1D", SERIES, {"kernel_size": 3, "depth_multiplier": 2})
add(
    "SeparableConv2D",
    IMAGE,
    {"filters": 5, "kernel_size": 3},
    {"filters": 5, "kernel_size": 3, "depth_multiplier": 2, "padding": "same", "strides": 2},
)
add("SeparableConv1D", SERIES, {"filters": 5, "kernel_size": 3, "padding": "same"})
add(
    "Conv2DTranspose",
    (2, 3, 4, 3),
    {"filters": 4, "kernel_size": 3},
    {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"},
    {"filters": 4, "kernel_size": 2, "strides": 2},
    {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "valid", "output_padding": 1},
)
add("Conv1DTranspose", SERIES, {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"})
for _pool in ("MaxPooling2D", "AveragePooling2D"):
    add(
        _pool,
        IMAGE,
        {"pool_size": 2},
        {"pool_size": 3, "strides": 2, "padding": "same"},
        {"pool_size": (2, 3), "strides": 1},
        {"pool_size": 3, "strides": 3, "padding": "same"},
    )
for _pool in ("MaxPooling1D", "AveragePooling1D"):
    add(_pool, SERIES, {"pool_size": 2}, {"pool_size": 3, "strides": 2, "padding": "same"})
for _pool in ("GlobalMaxPooling2D", "GlobalAveragePooling2D"):
    add(_pool, IMAGE, {}, {"keepdims": True})
for _pool in ("GlobalMaxPooling1D", "GlobalAveragePooling1D"):
    add(_pool, SERIES)
add("UpSampling2D", (2, 3, 4, 2), {}, {"size": (2, 3)}, {"interpolation": "bilinear"})
add("UpSampling1D", SERIES)
add("ZeroPadding2D", IMAGE, {}, {"padding": ((1, 0), (2, 1))})
add("ZeroPadding1D", SERIES, {"padding": (2, 1)})
add("Cropping2D", IMAGE, {"cropping": ((1, 0), (2, 1))})
add("Cropping1D", SERIES, {"cropping": (2, 1)})

for _call in ({"training": True}, {"training": False}):
    for _shape in (FLAT, IMAGE):
        add("BatchNormalization", _shape, {}, {"momentum": 0.7, "epsilon": 1e-2, "center": False}, call=_call)
add("BatchNormalization", FLAT, {"scale": False}, call={"training": True})
add("LayerNormalization", SERIES, {}, {"axis": [1, 2], "epsilon": 1e-5}, {"center": False}, {"scale": False})
add("GroupNormalization", IMAGE, {"groups": 2}, {"groups": 4}, {"groups": -1})
add("RMSNormalization", SERIES, {})

add("Rescaling", IMAGE, {"scale": 0.5, "offset": -1.0}, tag="rescaling_image")
add(
    "Normalization",
    IMAGE,
    {"mean": [0.1, -0.2, 0.3, 0.0], "variance": [0.5, 1.0, 2.0, 0.25]},
    {"axis": None, "mean": 0.2, "variance": 0.7},
    {"mean": [0.1, -0.2, 0.3, 0.0], "variance": [0.5, 1.0, 2.0, 0.25], "invert": True},
)
add(
    "Resizing",
    IMAGE,
    {"height": 9, "width": 11},
    {"height": 4, "width": 5},
    {"height": 4, "width": 3, "antialias": True},
    {"height": 9, "width": 5, "interpolation": "nearest"},
    {"height": 13, "width": 4, "interpolation": "bicubic"},
    {"height": 8, "width": 4, "crop_to_aspect_ratio": True},
    {"height": 8, "width": 4, "pad_to_aspect_ratio": True, "fill_value": 0.5},
)
add("CenterCrop", IMAGE, {"height": 3, "width": 4}, {"height": 6, "width": 7}, {"height": 5, "width": 9})

_cells = {
    "SimpleRNN": [{}, {"activation": "relu", "use_bias": False}],
    "LSTM": [{}, {"unit_forget_bias": False, "activation": "relu", "recurrent_activation": "hard_sigmoid"}],
    "GRU": [{}, {"reset_after": False}, {"use_bias": False}],
}
for _cell, _options in _cells.items():
    for _option in _options:
        add(_cell, SERIES, {"units": 3} | _option, {"units": 3, "return_sequences": True} | _option)
    add(_cell, SERIES, {"units": 3, "return_sequences": True, "go_backwards": True})
    add(
        _cell,
        [SERIES] + [(2, 3)] * (2 if _cell == "LSTM" else 1),
        {"units": 3},
        tag=f"{_cell.lower()}_initial_state",
        call={"initial_state": True},
    )
    for _mode in ("concat", "sum", "mul", "ave"):
        if _mode == "concat" or _cell == "GRU":
            add(
                "Bidirectional",
                SERIES,
                {"layer": (_cell, {"units": 3, "return_sequences": True}), "merge_mode": _mode},
            )
add("TimeDistributed", SERIES, {"layer": ("Dense", {"units": 3, "activation": "tanh"})})
add("Embedding", (3, 5), {"input_dim": 7, "output_dim": 4})
add(
    "MultiHeadAttention",
    [SERIES, (2, 5, 4)],
    {"num_heads": 2, "key_dim": 3},
    {"num_heads": 2, "key_dim": 3, "value_dim": 2},
)
add(
    "MultiHeadAttention",
    [SERIES, SERIES],
    {"num_heads": 1, "key_dim": 4, "use_bias": False},
    call={"use_causal_mask": True},
)
add(
    "MultiHeadAttention",
    [SERIES, (2, 5, 4)],
    {"num_heads": 2, "key_dim": 3, "use_gate": True},
    {"num_heads": 2, "key_dim": 3, "output_shape": (2, 3), "sliding_window": 6},
    tag="multiheadattention_more",
)
add(
    "MultiHeadAttention",
    [(2, 3, 5, 4), (2, 3, 5, 4)],
    {"num_heads": 2, "key_dim": 3, "attention_axes": 2},
    {"num_heads": 2, "key_dim": 3, "attention_axes": (-3,), "use_gate": True},
    {"num_heads": 2, "key_dim": 3},
    tag="multiheadattention_axes",
)
add("Attention", [SERIES, (2, 5, 4)], {}, {"use_scale": True}, {"score_mode": "concat", "use_scale": True})
add("AdditiveAttention", [SERIES, (2, 5, 4)], {}, {"use_scale": False})

SEPARATE = {"MultiHeadAttention"}  # inputs are arguments of the call, not one list


def inputs_of(name):
    cls, config, shapes, _ = LAYERS[name]
    if cls == "Embedding":
        return [np.random.RandomState(40).randint(0, config["input_dim"], shapes[0]).astype("int32")]
    return [rand(40 + i, shape, -1.5, 1.5) for i, shape in enumerate(shapes)]


def make(keras, name, **extra):
    cls, config, _, _ = LAYERS[name]
    config = dict(config) | extra
    for missing in (c for c in (cls, (config.get("layer") or (cls,))[0]) if not hasattr(keras.layers, c)):
        pytest.skip(f"there is no {missing} yet")
    if isinstance(config.get("layer"), tuple):
        inner, options = config["layer"]
        config["layer"] = getattr(keras.layers, inner)(**options, **extra)
    return getattr(keras.layers, cls)(**config)


def apply(layer, name, tensors):
    """Call the layer on symbolic or eager tensors, in the way its case asks."""
    cls, _, _, call = LAYERS[name]
    if call.get("initial_state"):
        states = list(tensors[1:])
        return layer(tensors[0], initial_state=states if len(states) > 1 else states[0])
    if cls in SEPARATE:
        return layer(*tensors, **call)
    return layer(tensors[0] if len(tensors) == 1 else list(tensors), **call)


def set_weights(layer):
    """Fixed weights; a moving variance (and any scale beside it) must be positive."""
    weights = []
    for i, old in enumerate(layer.weights):
        positive = "variance" in old.path or "gamma" in old.path
        weights.append(rand(600 + i, tuple(old.shape), 0.5 if positive else -0.8, 1.5 if positive else 0.8))
    layer.set_weights(weights)


def cotangent(shape):
    """What the output is multiplied with before summing: the gradient that arrives from above."""
    return rand(700, shape)
