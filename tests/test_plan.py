"""Compiled steps against the float64 interpreter of their records (tests/reference), value by value."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import check_step

import fastnn
from fastnn import constraints, layers, losses, metrics, ops, optimizers, regularizers
from fastnn.layers import Dense, Dropout, Input
from fastnn.models import Model, Sequential

ROWS, BATCH = 19, 7  # the last batch is short
REALS = ["float64", "float32"]

FUSED = ["relu", "leaky_relu", "sigmoid", "tanh", "elu", "selu"]
OTHER = ["linear", "gelu", "silu", "softplus", "softsign", "hard_sigmoid", "hard_silu", "relu6", "exponential", "mish",
         "log_sigmoid", "celu", "softmax", "log_softmax", "hard_tanh", "squareplus", "tanh_shrink", "hard_shrink",
         "soft_shrink"]  # fmt: skip


@pytest.fixture(params=REALS)
def real(request):
    before = fastnn.config.floatx()
    fastnn.config.set_floatx(request.param)
    yield request.param
    fastnn.config.set_floatx(before)


def check(
    model, x, y=None, weights=None, *, modes=("train", "test", "predict"), batch=BATCH, order=None, **compile_with
):
    if compile_with:
        model.compile(**compile_with)
    double = model._float_type() == "float64"
    for mode in modes:
        if mode == "predict":
            check_step(model, x, mode=mode, batch=batch, float64=double)
        else:
            check_step(model, x, y, weights, mode=mode, batch=batch, float64=double, order=order)


def numbers(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("activation", FUSED + OTHER)
def test_dense_net(activation, rng, real):
    model = Sequential([Input((5,)), Dense(9, activation=activation), Dense(3)])
    check(model, numbers(rng, ROWS, 5), numbers(rng, ROWS, 3), order=rng.permutation(ROWS),
          optimizer=optimizers.SGD(0.005), loss="mse")  # fmt: skip


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_dense_net_with_the_activation_apart(activation, rng, real):
    """Activation layers behind a product used twice cannot be joined to it."""
    x = Input((6,))
    z = Dense(8, use_bias=False)(x)
    a = layers.Activation(activation)(z)
    y = Dense(2)(layers.Add()([a, z]))
    check(Model(x, y), numbers(rng, ROWS, 6), numbers(rng, ROWS, 2), optimizer="adam", loss="mae")


@pytest.mark.parametrize("widths", [(1,), (1, 1), (64, 33), (17, 1, 16), (130, 70)])
def test_widths(widths, rng, real):
    model = Sequential([Input((widths[0],)), *[Dense(w, activation="tanh") for w in widths], Dense(1)])
    check(model, numbers(rng, ROWS, widths[0]), numbers(rng, ROWS, 1), optimizer="sgd", loss="mse")


@pytest.mark.parametrize("optimizer", [
    optimizers.SGD(0.1), optimizers.Adagrad(0.1, clipvalue=0.01), optimizers.SGD(0.1, momentum=0.9), optimizers.Adam()
], ids=["sgd", "adagrad", "momentum", "adam"])  # fmt: skip
def test_tables(optimizer, rng, real):
    model = Sequential([Input((3,), dtype="int32"), layers.Embedding(30, 5), layers.Flatten(), Dense(2)])
    optimizer = type(optimizer).from_config(optimizer.get_config())
    check(model, rng.integers(0, 9, (ROWS, 3)), numbers(rng, ROWS, 2), optimizer=optimizer, loss="mse")


@pytest.mark.parametrize("batch", [1, 2, 16, 19])
def test_batch_sizes(batch, rng, real):
    model = Sequential([Input((5,)), Dense(9, activation="relu"), Dense(3, activation="softmax")])
    check(model, numbers(rng, ROWS, 5), rng.integers(0, 3, ROWS), batch=batch, optimizer="adam",
          loss="sparse_categorical_crossentropy", metrics=["accuracy"])  # fmt: skip


CLASSES = {
    "sparse_categorical_crossentropy": ("softmax", "ids"), "categorical_crossentropy": ("softmax", "one_hot"),
    "binary_crossentropy": ("sigmoid", "bits"), "binary_focal_crossentropy": ("sigmoid", "bits"),
    "categorical_focal_crossentropy": ("softmax", "one_hot"), "mse": (None, "numbers"), "mae": (None, "numbers"),
    "huber": (None, "numbers"), "log_cosh": (None, "numbers"), "cosine_similarity": (None, "numbers"),
    "mean_absolute_percentage_error": (None, "numbers"), "hinge": (None, "bits"), "squared_hinge": (None, "bits"),
    "mean_squared_logarithmic_error": ("softplus", "positive"), "poisson": ("softplus", "positive"),
    "categorical_hinge": (None, "one_hot"), "kl_divergence": ("softmax", "distribution"),
    "dice": ("sigmoid", "bits"), "tversky": ("sigmoid", "bits"),
}  # fmt: skip


def targets(kind, rng, rows=ROWS, n=4):
    if kind == "ids":
        return rng.integers(0, n, rows)
    if kind == "one_hot":
        return np.eye(n, dtype=np.float32)[rng.integers(0, n, rows)]
    if kind == "bits":
        return rng.integers(0, 2, (rows, n)).astype(np.float32)
    if kind == "positive":
        return rng.integers(0, 5, (rows, n)).astype(np.float32)
    if kind == "distribution":
        return rng.dirichlet(np.ones(n), rows).astype(np.float32)
    return numbers(rng, rows, n)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", list(CLASSES))
def test_losses(loss, weighted, rng, real):
    if weighted and loss in ("dice", "tversky"):
        pytest.skip("one value for the whole batch: there are no samples to weigh")
    activation, kind = CLASSES[loss]
    model = Sequential([Input((5,)), Dense(6, activation="tanh"), Dense(4, activation=activation)])
    weights = rng.uniform(0.2, 2, ROWS).astype(np.float32) if weighted else None
    check(model, numbers(rng, ROWS, 5), targets(kind, rng), weights, optimizer="sgd", loss=loss)


@pytest.mark.parametrize("loss", [
    losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    losses.SparseCategoricalCrossentropy(from_logits=True),
    losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1),
    losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2),
    losses.Huber(delta=0.4),
    losses.MeanSquaredError(reduction="sum"),
    losses.MeanSquaredError(reduction="mean_with_sample_weight"),
], ids=lambda loss: f"{loss.name}-{loss.reduction}")  # fmt: skip
def test_losses_with_settings(loss, rng, real):
    kind = {"Sparse": "ids", "Catego": "one_hot", "Binary": "bits"}.get(type(loss).__name__[:6], "numbers")
    model = Sequential([Input((5,)), Dense(6, activation="relu"), Dense(4)])
    check(model, numbers(rng, ROWS, 5), targets(kind, rng), rng.uniform(0.1, 2, ROWS), optimizer="sgd", loss=loss)


def test_shared_layers_and_several_inputs_and_outputs(rng, real):
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = Dense(5, activation="relu", name="shared")
    left, right = shared(a), shared(b)
    both = layers.Concatenate()([left, right])
    one = Dense(3, activation="softmax", name="one")(both)
    two = Dense(1, name="two")(layers.Subtract()([left, right]))
    model = Model([a, b], [one, two])
    check(model, [numbers(rng, ROWS, 4), numbers(rng, ROWS, 4)], [rng.integers(0, 3, ROWS), numbers(rng, ROWS, 1)],
          optimizer="adam", loss=["sparse_categorical_crossentropy", "mse"], loss_weights=[0.7, 2.0],
          metrics=[["accuracy"], ["mae"]])  # fmt: skip


@pytest.mark.parametrize("merge", [layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum,
                                   layers.Minimum, layers.Concatenate])  # fmt: skip
def test_merging_layers(merge, rng, real):
    x = Input((5,))
    y = merge()([Dense(4, activation="tanh")(x), Dense(4)(x)])
    check(Model(x, Dense(2)(y)), numbers(rng, ROWS, 5), numbers(rng, ROWS, 2), optimizer="sgd", loss="mse")


def test_dot(rng, real):
    x = Input((6,))
    y = layers.Dot(axes=1)([Dense(4)(x), Dense(4)(x)])
    check(Model(x, y), numbers(rng, ROWS, 6), numbers(rng, ROWS, 1), optimizer="sgd", loss="mse")


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_masks_are_philox(rate, rng, real):
    model = Sequential([Input((13,)), Dropout(rate), Dense(40, activation="relu"), Dropout(rate), Dense(2)])
    check(model, numbers(rng, ROWS, 13), numbers(rng, ROWS, 2), optimizer="sgd", loss="mse")


def test_noise(rng, real):
    model = Sequential([Input((13,)), layers.GaussianNoise(0.3), Dense(4), Dense(1)])
    check(model, numbers(rng, ROWS, 13), numbers(rng, ROWS, 1), optimizer="sgd", loss="mse")


@pytest.mark.parametrize("penalty", [regularizers.L1(0.02), regularizers.L2(0.03), regularizers.L1L2(0.01, 0.02),
                                     regularizers.OrthogonalRegularizer(0.1)])  # fmt: skip
def test_regularizers(penalty, rng, real):
    model = Sequential([
        Input((5,)),
        Dense(7, activation="relu", kernel_regularizer=penalty, bias_regularizer="l2", activity_regularizer="l1"),
        Dense(2),
    ])  # fmt: skip
    check(model, numbers(rng, ROWS, 5), numbers(rng, ROWS, 2), optimizer="sgd", loss="mse")


@pytest.mark.parametrize("constraint", [constraints.MaxNorm(0.5), constraints.NonNeg(), constraints.UnitNorm(),
                                        constraints.MinMaxNorm(0.3, 0.6, rate=0.5)])  # fmt: skip
def test_constraints(constraint, rng, real):
    model = Sequential([Input((5,)), Dense(6, activation="tanh", kernel_constraint=constraint), Dense(2)])
    check(model, numbers(rng, ROWS, 5), numbers(rng, ROWS, 2), optimizer="sgd", loss="mse")


@pytest.mark.parametrize("optimizer", [
    optimizers.SGD(0.1, momentum=0.9), optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    optimizers.SGD(0.1, weight_decay=0.01), optimizers.SGD(0.1, clipvalue=0.01), optimizers.SGD(0.1, clipnorm=0.05),
    optimizers.SGD(0.1, global_clipnorm=0.05), optimizers.Adam(0.01), optimizers.Adam(0.01, amsgrad=True),
    optimizers.AdamW(0.01, weight_decay=0.1), optimizers.RMSprop(0.01),
    optimizers.RMSprop(0.01, momentum=0.5, centered=True), optimizers.Adagrad(0.1), optimizers.Lion(0.001),
    optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=2),
    optimizers.SGD(0.1, gradient_accumulation_steps=2),
], ids=lambda o: f"{o.name}")  # fmt: skip
def test_optimizers(optimizer, rng, real):
    model = Sequential([Input((5,)), Dense(6, activation="tanh"), Dense(2)])
    check(model, numbers(rng, ROWS, 5), numbers(rng, ROWS, 2), modes=("train",), optimizer=optimizer, loss="mse")


def test_frozen_layers(rng, real):
    model = Sequential([Input((5,)), Dense(6, activation="tanh"), Dense(6, activation="relu"), Dense(2)])
    model.layers[1].trainable = False
    check(model, numbers(rng, ROWS, 5), numbers(rng, ROWS, 2), optimizer="adam", loss="mse")


class Gate(layers.Layer):
    """x sigmoid(x w + b) with weights of its own."""

    def build(self, shape):
        self.w = self.add_weight((shape[-1], shape[-1]), name="w")
        self.b = self.add_weight((shape[-1],), name="b")

    def call(self, x):
        return x * ops.sigmoid(x @ self.w + self.b)


def skewed(y_true, y_pred):
    e = y_true - y_pred
    return ops.mean(ops.where(e > 0, ops.square(e), 0.3 * ops.abs(e)), axis=-1)


def largest_error(y_true, y_pred):
    return ops.max(ops.abs(y_true - y_pred), axis=-1)


def test_custom_layer_loss_and_metric(rng, real):
    model = Sequential([Input((5,)), Dense(6), Gate(), Dense(2)])
    check(model, numbers(rng, ROWS, 5), numbers(rng, ROWS, 2), optimizer="sgd", loss=skewed, metrics=[largest_error])


class Attention(layers.Layer):
    """softmax(q k^T) v of each sample."""

    def call(self, inputs):
        q, k, v = inputs
        return ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))) * 0.5) @ v


def test_products_of_each_sample(rng, real):
    x = Input((3, 4))
    y = Attention()([Dense(4)(x), Dense(4)(x), Dense(5)(x)])
    model = Model(x, Dense(2)(layers.Flatten()(y)))
    check(model, numbers(rng, ROWS, 3, 4), numbers(rng, ROWS, 2), optimizer="sgd", loss="mse")


def test_shapes_of_three_dimensions(rng, real):
    x = Input((3, 4))
    y = layers.Permute((2, 1))(Dense(6, activation="relu")(x))
    y = layers.Reshape((9, 2))(y)
    y = Dense(3)(layers.Flatten()(y))
    y = layers.RepeatVector(4)(y)
    model = Model(x, Dense(1, activation="sigmoid")(y))
    check(model, numbers(rng, ROWS, 3, 4), numbers(rng, ROWS, 4, 1), optimizer="sgd", loss="mse")


def test_metrics(rng, real):
    model = Sequential([Input((5,)), Dense(4, activation="softmax")])
    check(model, numbers(rng, ROWS, 5), targets("one_hot", rng), rng.uniform(0.1, 1, ROWS), modes=("test",),
          optimizer="sgd", loss="categorical_crossentropy",
          metrics=["accuracy", "mse", metrics.TopKCategoricalAccuracy(2), "cosine_similarity"],
          weighted_metrics=["accuracy", metrics.CategoricalCrossentropy()])  # fmt: skip


@pytest.mark.parametrize("source", ["uint8", "int8", "int16", "int32", "int64", "float32", "float64", "bool", "uint16",
                                    "uint32"])  # fmt: skip
def test_every_type_of_data(source, rng, real):
    model = Sequential([Input((5,)), Dense(4, activation="tanh"), Dense(1)])
    x = rng.integers(0, 2 if source == "bool" else 100, (ROWS, 5)).astype(source)
    check(model, x, rng.integers(0, 5, (ROWS, 1)).astype(source), optimizer="sgd", loss="mse", modes=("test",))


# ---- random models ----

LAYERS = st.sampled_from(["dense", "dropout", "activation", "residual", "gate", "branch", "normalize"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(LAYERS, min_size=1, max_size=5),
    width=st.sampled_from([1, 3, 8, 17]),
    activation=st.sampled_from(FUSED + OTHER[:8]),
    loss=st.sampled_from(sorted(set(CLASSES) - {"dice", "tversky"})),
    optimizer=st.sampled_from(["sgd", "adam", "rmsprop", "adamw"]),
    rows=st.integers(1, 12),
    batch=st.integers(1, 12),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_random_models(kinds, width, activation, loss, optimizer, rows, batch, weighted, seed, float64):
    rng = np.random.default_rng(seed)
    inputs = x = Input((4,))
    for kind in kinds:
        if kind == "dense":
            x = Dense(width, activation=activation, kernel_regularizer="l2" if seed % 3 == 0 else None)(x)
        elif kind == "dropout":
            x = Dropout(0.4)(x)
        elif kind == "activation":
            x = layers.Activation(activation)(x)
        elif kind == "residual":
            x = layers.Add()([x, Dense(x.shape[-1], activation=activation)(x)])
        elif kind == "gate":
            x = Gate()(x)
        elif kind == "branch":
            x = layers.Concatenate()([Dense(width)(x), x * 0.5])
        else:
            mean = ops.mean(x, axis=-1, keepdims=True)
            x = (x - mean) / ops.sqrt(ops.var(x, axis=-1, keepdims=True) + 0.1)
    activation_of_loss, kind = CLASSES[loss]
    # bounded, so that poisson and its like stay well-conditioned whatever came before
    x = Dense(4, activation=activation_of_loss)(ops.tanh(x))
    model = Model(inputs, x)
    check(model, numbers(rng, rows, 4), targets(kind, rng, rows), rng.uniform(0.1, 2, rows) if weighted else None,
          batch=min(batch, rows), modes=("train", "test"), optimizer=optimizer, loss=loss)  # fmt: skip


def pictures(*stages, size=(9, 8), channels=3, classes=4):
    return Sequential([Input((*size, channels)), *stages, layers.Flatten(), Dense(classes, activation="softmax")])


CONVOLUTIONS = {
    "lenet": lambda: pictures(layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(),
                              layers.Conv2D(16, 5, activation="tanh"), layers.MaxPooling2D(),
                              size=(16, 18), channels=1),
    "winograd": lambda: pictures(layers.Conv2D(24, 3, padding="same"), layers.ReLU(),
                                 layers.Conv2D(17, 3, padding="same", activation="elu"), layers.MaxPooling2D(),
                                 size=(12, 12), channels=20),
    "pools": lambda: pictures(layers.Conv2D(5, 3, activation="sigmoid"), layers.AveragePooling2D(2, padding="same"),
                              layers.MaxPooling2D(3, 2, padding="same"), layers.GlobalAveragePooling2D()),
    "strides": lambda: pictures(layers.Conv2D(7, 3, strides=2, padding="same", activation="relu"),
                                layers.Conv2D(20, 1, strides=(1, 2)), layers.Conv2D(6, 1), layers.UpSampling2D(2)),
    "groups": lambda: pictures(layers.SeparableConv2D(8, 3, depth_multiplier=2), layers.DepthwiseConv2D(3),
                               layers.Conv2D(6, 2, groups=2, dilation_rate=2, padding="same")),
    "transposed": lambda: pictures(layers.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu"),
                                   layers.MaxPooling2D(2)),
    "normalized": lambda: pictures(layers.Conv2D(8, 3, use_bias=False), layers.BatchNormalization(), layers.ReLU(),
                                   layers.Conv2D(17, 3), layers.BatchNormalization(scale=False),
                                   layers.MaxPooling2D(2)),
}  # fmt: skip


@pytest.mark.parametrize("net", list(CONVOLUTIONS))
def test_convolutions(net, rng, real):
    fastnn.utils.set_random_seed(3)  # of chance weights, windows of a pool may hold two pixels too near for one order
    model = CONVOLUTIONS[net]()
    check(model, numbers(rng, ROWS, *model.input_shape[1:]), rng.integers(0, 4, ROWS),
          optimizer=optimizers.SGD(0.01, momentum=0.9), loss="sparse_categorical_crossentropy")  # fmt: skip


def test_residual_net(rng, real):
    model = fastnn.applications.ResNetCifar(8, (8, 8, 3), classes=4)
    check(model, numbers(rng, 5, 8, 8, 3), rng.integers(0, 4, 5), batch=3, optimizer=optimizers.SGD(0.01),
          loss="sparse_categorical_crossentropy")  # fmt: skip
