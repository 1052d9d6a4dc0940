"""Training runs that are recorded and compared: builders of compiled models and the arguments of their ``fit``."""

import numpy as np

from .store import rand

ROWS, INPUTS, CLASSES = 22, 6, 3
X = rand(1, (ROWS, INPUTS), -2, 2)
LABELS = np.random.RandomState(2).randint(0, CLASSES, ROWS)
ONE_HOT = np.eye(CLASSES)[LABELS]
BINARY = (X[:, :1] * X[:, 1:2] > 0).astype(float)
TARGETS = np.stack([np.sin(X[:, 0]) + X[:, 1], X[:, 2] * X[:, 3]], axis=1)
ROW_WEIGHTS = rand(3, (ROWS,), 0.1, 2.0)
X_VAL, TARGETS_VAL, LABELS_VAL = rand(4, (9, INPUTS), -2, 2), rand(5, (9, 2)), np.arange(9) % CLASSES


def set_weights(model, seed=900):
    """Fixed weights from the shapes alone, scaled like Glorot's, so that they need no recording.

    Seeds and the state of metrics or generators are not among ``model.weights`` of a model without dropout.
    """
    weights = []
    for i, old in enumerate(model.get_weights()):
        limit = np.sqrt(6.0 / (old.shape[0] + old.shape[-1])) if old.ndim > 1 else 0.1
        weights.append(rand(seed + i, old.shape, -limit, limit))
    model.set_weights(weights)
    return model


def mlp(keras, outputs, activation="relu", last=None, **dense):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((INPUTS,)),
            layers.Dense(8, activation=activation, **dense),
            layers.Dense(7, activation=activation),
            layers.Dense(outputs, activation=last),
        ]
    )


def shared(keras):
    layers = keras.layers
    left, right = keras.Input((INPUTS,), name="left"), keras.Input((INPUTS,), name="right")
    encoder = layers.Dense(5, activation="tanh", name="encoder")
    a, b = encoder(left), encoder(right)
    merged = layers.Concatenate()([a, b, layers.Subtract()([a, b]), layers.Multiply()([a, b])])
    hidden = layers.Dense(6, activation="relu", name="hidden")(merged)
    return keras.Model(
        [left, right],
        [layers.Dense(2, name="value")(hidden), layers.Dense(CLASSES, activation="softmax", name="label")(hidden)],
    )


def residual(keras):
    layers = keras.layers
    x = keras.Input((INPUTS,))
    h = layers.Dense(7, activation="relu")(x)
    h = layers.Add()([h, layers.Dense(7, activation="tanh")(h)])
    h = layers.Average()([h, layers.Dense(7, activation="sigmoid")(x)])
    h = layers.Maximum()([h, layers.Dense(7)(h)])
    h = layers.Minimum()([h, layers.Dense(7, activation="elu")(x)])
    h = layers.Concatenate(axis=-1)([h, x])
    h = layers.Dot(axes=1)([h, layers.Dense(13)(h)])
    return keras.Model(x, layers.Dense(2)(layers.Concatenate()([h, x])))


def case(build, loss, optimizer, fit=None, metrics=(), x=X, y=TARGETS, seed=900, **compile_options):
    return {
        "build": build, "loss": loss, "optimizer": optimizer, "fit": fit or {}, "metrics": metrics, "x": x, "y": y,
        "seed": seed, "compile": compile_options,
    }  # fmt: skip


def optimizer_of(keras, name, options):
    options = dict(options)
    if options.pop("scheduled", False):
        options["learning_rate"] = keras.optimizers.schedules.CosineDecay(0.05, decay_steps=10)
    return getattr(keras.optimizers, name)(**options)


SGD = ("SGD", {"learning_rate": 0.05})
MOMENTUM = ("SGD", {"learning_rate": 0.02, "momentum": 0.9})
ADAM = ("Adam", {"learning_rate": 0.01})
ADAMW = ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.05})

CASES = {}
for _name, _optimizer in (
    ("sgd", SGD),
    ("momentum", MOMENTUM),
    ("nesterov", ("SGD", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True})),
    ("adam", ADAM),
    ("adamw", ADAMW),
    ("rmsprop", ("RMSprop", {"learning_rate": 0.005})),
    ("scheduled", ("SGD", {"momentum": 0.9, "scheduled": True})),
    ("global_clip", ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.2})),
    ("accumulate", ("Adam", {"learning_rate": 0.01, "gradient_accumulation_steps": 2})),
    ("ema", ("Adam", {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.9})),
):
    CASES[f"mse_{_name}"] = case(lambda k: mlp(k, 2), "mse", _optimizer, metrics=("mae",))
for _name in ("tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "leaky_relu", "linear", "mish", "relu6"):
    CASES[f"mse_{_name}"] = case(lambda k, a=_name: mlp(k, 2, a), "mse", MOMENTUM)
CASES |= {
    "softmax_adam": case(
        lambda k: mlp(k, CLASSES, last="softmax"), "categorical_crossentropy", ADAM, metrics=("accuracy",), y=ONE_HOT
    ),
    "softmax_sparse": case(
        lambda k: mlp(k, CLASSES, last="softmax"),
        "sparse_categorical_crossentropy",
        SGD,
        metrics=("accuracy",),
        y=LABELS,
    ),
    "logits_sparse": case(
        lambda k: mlp(k, CLASSES, "tanh"),
        lambda k: k.losses.SparseCategoricalCrossentropy(from_logits=True),
        ADAMW,
        metrics=("accuracy", lambda k: k.metrics.SparseCategoricalCrossentropy(from_logits=True)),
        y=LABELS,
    ),
    "logits_smoothed": case(
        lambda k: mlp(k, CLASSES),
        lambda k: k.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        MOMENTUM,
        y=ONE_HOT,
    ),
    "sigmoid_binary": case(
        lambda k: mlp(k, 1, last="sigmoid"), "binary_crossentropy", ADAM, metrics=("accuracy",), y=BINARY
    ),
    "logits_binary": case(
        lambda k: mlp(k, 1), lambda k: k.losses.BinaryCrossentropy(from_logits=True), MOMENTUM, y=BINARY
    ),
    "hinge": case(lambda k: mlp(k, 1, "tanh", "tanh"), "hinge", SGD, y=2 * BINARY - 1),
    "huber": case(lambda k: mlp(k, 2), lambda k: k.losses.Huber(delta=0.4), ADAM),
    "mae": case(lambda k: mlp(k, 2), "mae", SGD),
    "sum_reduction": case(
        lambda k: mlp(k, 2),
        lambda k: k.losses.MeanSquaredError(reduction="sum"),
        ("SGD", {"learning_rate": 0.004}),
    ),
    "no_bias": case(lambda k: mlp(k, 2, use_bias=False), "mse", ADAM),
    "full_batch": case(lambda k: mlp(k, 2), "mse", ADAM, {"batch_size": ROWS}),
    "one_row": case(lambda k: mlp(k, 2), "mse", SGD, {"batch_size": 1, "epochs": 1}),
    "sample_weight": case(
        lambda k: mlp(k, 2), "mse", ADAM, {"sample_weight": ROW_WEIGHTS}, metrics=("mae",), weighted_metrics=["mae"]
    ),
    "class_weight": case(
        lambda k: mlp(k, CLASSES, last="softmax"),
        "sparse_categorical_crossentropy",
        MOMENTUM,
        {"class_weight": {0: 1.0, 1: 2.5, 2: 0.25}},
        metrics=("accuracy",),
        y=LABELS,
    ),
    "validation_data": case(
        lambda k: mlp(k, 2), "mse", MOMENTUM, {"validation_data": (X_VAL, TARGETS_VAL)}, metrics=("mae",)
    ),
    "validation_split": case(
        lambda k: mlp(k, CLASSES, last="softmax"),
        "sparse_categorical_crossentropy",
        ADAM,
        {"validation_split": 0.25, "validation_freq": 2},
        metrics=("accuracy",),
        y=LABELS,
    ),
    "l2": case(lambda k: mlp(k, 2, kernel_regularizer=k.regularizers.L2(0.02)), "mse", MOMENTUM),
    "l1": case(lambda k: mlp(k, 2, kernel_regularizer=k.regularizers.L1(0.01), bias_regularizer="l1"), "mse", MOMENTUM),
    "l1_l2": case(lambda k: mlp(k, 2, kernel_regularizer=k.regularizers.L1L2(0.01, 0.02)), "mse", ADAM),
    "activity": case(lambda k: mlp(k, 2, activity_regularizer=k.regularizers.L2(0.03)), "mse", SGD),
    "max_norm": case(lambda k: mlp(k, 2, kernel_constraint=k.constraints.MaxNorm(0.7)), "mse", MOMENTUM),
    "non_neg": case(lambda k: mlp(k, 2, kernel_constraint="non_neg"), "mse", ADAM),
    "unit_norm": case(lambda k: mlp(k, 2, kernel_constraint=k.constraints.UnitNorm(axis=0)), "mse", SGD),
    "min_max_norm": case(
        lambda k: mlp(k, 2, kernel_constraint=k.constraints.MinMaxNorm(0.5, 0.8, rate=0.7)), "mse", SGD
    ),
    "shared_two_outputs": case(
        shared,
        ["mse", "sparse_categorical_crossentropy"],
        ADAM,
        metrics=(["mae"], ["accuracy"]),
        x=[X, np.roll(X, 1, axis=0)],
        y=[TARGETS, LABELS],
        loss_weights=[1.0, 0.3],
    ),
    "shared_validated": case(
        shared,
        {"value": "mae", "label": "sparse_categorical_crossentropy"},
        MOMENTUM,
        {"validation_data": ([X_VAL, -X_VAL], {"value": TARGETS_VAL, "label": LABELS_VAL})},
        x={"left": X, "right": np.roll(X, 1, axis=0)},
        y={"value": TARGETS, "label": LABELS},
        loss_weights={"value": 0.5, "label": 2.0},
    ),
    "residual_merges": case(residual, "mse", ADAM),
}


def run(keras, name):
    """Build, fit and return everything that is compared: final weights, every list of the history, predictions."""
    c = CASES[name]
    model = set_weights(c["build"](keras), c["seed"])
    loss = c["loss"](keras) if callable(c["loss"]) else c["loss"]
    metrics = [metric(keras) if callable(metric) else metric for metric in c["metrics"]]
    model.compile(optimizer=optimizer_of(keras, *c["optimizer"]), loss=loss, metrics=metrics or None, **c["compile"])
    history = model.fit(c["x"], c["y"], **({"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0} | c["fit"]))
    results = {f"history/{key}": np.asarray(values) for key, values in history.history.items()}
    results |= {f"weights/{i}": w for i, w in enumerate(model.get_weights())}
    outputs = model.predict(c["x"], batch_size=5, verbose=0)
    for i, output in enumerate(outputs if isinstance(outputs, list) else [outputs]):
        results[f"predict/{i}"] = np.asarray(output)
    scores = model.evaluate(c["x"], c["y"], batch_size=7, verbose=0, return_dict=True)
    return results | {f"evaluate/{key}": np.asarray(value) for key, value in scores.items()}
