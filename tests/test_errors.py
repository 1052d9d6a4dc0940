"""What users pass wrong: the exception, the words of its message, and a model that still trains afterwards."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fastnn import activations, kernels, layers, losses, metrics, optimizers
from fastnn.layers import Dense, Dropout, Input
from fastnn.models import Model, Sequential

ROWS = 20
X = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
T = np.random.default_rng(1).integers(0, 3, ROWS)


@pytest.fixture(scope="module")
def model():
    model = Sequential([Input((4,)), Dense(5, activation="relu"), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, T, verbose=0)
    return model


def with_one(a, at, value):
    a = a.astype(np.float64)
    a[at] = value
    return a


FIT = {
    "columns": (lambda m: m.fit(X[:, :3], T), ValueError, r"x must have shape \(None, 4\), got \(20, 3\)"),
    "transposed": (lambda m: m.fit(X.T, T), ValueError, "x must have shape"),
    "flattened": (lambda m: m.fit(X.reshape(10, 2, 4)[:, 0], T[:9]), ValueError, "one row a sample"),
    "reshaped": (lambda m: m.fit(X.reshape(20, 2, 2), T), ValueError, r"reshape\(\(-1, 4\)\) would fit"),
    "one sample": (lambda m: m.predict(X[0]), ValueError, "x must have shape"),
    "number": (lambda m: m.predict(3.0), (ValueError, TypeError), "x"),
    "none": (lambda m: m.fit(None, T), (ValueError, TypeError), "x"),
    "text": (lambda m: m.fit(X.astype(str), T), TypeError, "numbers"),
    "objects": (lambda m: m.fit(X.astype(object), T), TypeError, "numbers"),
    "complex": (lambda m: m.fit(X.astype(complex), T), TypeError, "numbers"),
    "dates": (lambda m: m.fit(X, T.astype("datetime64[s]")), TypeError, "numbers"),
    "rows": (lambda m: m.fit(X, T[:-1]), ValueError, "x has 20, y 19"),
    "no rows": (lambda m: m.fit(X[:0], T[:0]), ValueError, "empty"),
    "no rows to predict": (lambda m: m.predict(X[:0]), ValueError, "empty"),
    "no rows on batch": (lambda m: m.train_on_batch(X[:0], T[:0]), ValueError, "empty"),
    "no rows to predict on batch": (lambda m: m.predict_on_batch(X[:0]), ValueError, "empty"),
    "no targets": (lambda m: m.fit(X), ValueError, "y is missing"),
    "NaN targets": (lambda m: m.fit(X, with_one(T, 5, np.nan)), ValueError, "y must be finite.*row 5"),
    "infinite targets": (lambda m: m.fit(X, with_one(T, 5, np.inf)), ValueError, "y must be finite"),
    "label too large": (lambda m: m.fit(X, with_one(T, 5, 3)), ValueError, r"labels must be in 0\.\.2.*got 3.*row 5"),
    "negative label": (lambda m: m.fit(X, with_one(T, 5, -1)), ValueError, r"0\.\.2.*-1"),
    "label on batch": (lambda m: m.train_on_batch(X, T + 5), ValueError, r"0\.\.2"),
    "label to evaluate": (lambda m: m.evaluate(X, T + 5), ValueError, r"0\.\.2"),
    "two columns of labels": (lambda m: m.fit(X, np.stack([T, T], 1)), ValueError, "shape"),
    "weights rows": (lambda m: m.fit(X, T, sample_weight=np.ones(19)), ValueError, "sample_weight"),
    "weights shape": (lambda m: m.fit(X, T, sample_weight=np.ones((20, 2))), ValueError, "sample_weight"),
    "weights text": (lambda m: m.fit(X, T, sample_weight=["a"] * 20), TypeError, "sample_weight"),
    "batch size": (lambda m: m.fit(X, T, batch_size=0), ValueError, "batch_size must be a positive integer, got 0"),
    "batch fraction": (lambda m: m.fit(X, T, batch_size=2.5), ValueError, "batch_size"),
    "epochs": (lambda m: m.fit(X, T, epochs=-1), ValueError, "epochs"),
    "split": (lambda m: m.fit(X, T, validation_split=1.5), ValueError, r"validation_split must be in \(0, 1\)"),
    "split of few": (lambda m: m.fit(X[:1], T[:1], validation_split=0.5), ValueError, "leaves one part empty"),
    "validation": (lambda m: m.fit(X, T, validation_data=X), ValueError, "validation_data"),
    "validation rows": (lambda m: m.fit(X, T, validation_data=(X, T[:3])), ValueError, "validation_data.*20.*3"),
    "validation shape": (lambda m: m.fit(X, T, validation_data=(X[:, :2], T)), ValueError, "validation_data.*shape"),
    "two inputs": (lambda m: m.fit({"a": X, "b": X}, T), ValueError, "inputs"),
    "callback": (lambda m: m.fit(X, T, callbacks=["stop"]), TypeError, "[Cc]allback"),
    "class weight": (lambda m: m.fit(X, T, class_weight={"a": 1}), (ValueError, TypeError), ""),
    "fraction of an epoch": (lambda m: m.fit(X, T, epochs=1.5), ValueError, "epochs must be an integer .* got 1.5"),
    "epochs as text": (lambda m: m.fit(X, T, epochs="x"), ValueError, "epochs must be an integer"),
    "no step of an epoch": (lambda m: m.fit(X, T, steps_per_epoch=0), ValueError, "steps_per_epoch must be an integer"),
    "fewer than no steps": (lambda m: m.fit(X, T, steps_per_epoch=-1), ValueError, "steps_per_epoch .* got -1"),
    "split as text": (lambda m: m.fit(X, T, validation_split="a"), ValueError, "validation_split .* got 'a'"),
    "fraction of a label": (lambda m: m.fit(X, with_one(T, 3, 0.5)), ValueError, "whole numbers .* got 0.5 at row 3"),
    "one-hot labels": (lambda m: m.fit(X, np.eye(3)[T]), ValueError, "without 'sparse', or y.argmax"),
    "class weights in a list": (lambda m: m.fit(X, T, class_weight=[1, 2, 3]), TypeError, "must be a dictionary"),
    "NaN class weight": (lambda m: m.fit(X, T, class_weight={0: np.nan}), ValueError, "class_weight .* finite"),
    "named class weight": (lambda m: m.fit(X, T, class_weight={"a": 1}), ValueError, "class_weight .* got {'a': 1}"),
    "NaN sample weight": (lambda m: m.fit(X, T, sample_weight=with_one(np.ones(ROWS), 2, np.nan)), ValueError,
                          "sample_weight must be finite, got nan at row 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FIT))
def test_data(name, model):
    call, error, words = FIT[name]
    before = model.get_weights()
    with pytest.raises(error) as caught:
        call(model)
    if words:
        caught.match(words)
    assert all(np.array_equal(u, v) for u, v in zip(before, model.get_weights(), strict=True)), "weights were touched"
    model.fit(X, T, verbose=0)
    assert not np.array_equal(before[0], model.get_weights()[0]), "the model does not train any more"


def no_memory(shape, dtype=None):
    """As an initializer: what NumPy does where a system refuses memory; others would give it and kill the process."""
    raise MemoryError


SETTINGS = {
    "loss": (lambda: Sequential([Dense(1)]).compile("sgd", "mean_sqared_error"), ValueError, "mean_sqared_error"),
    "optimizer": (lambda: Sequential([Dense(1)]).compile("adma", "mse"), ValueError, "adma"),
    "activation": (lambda: Dense(3, activation="rellu"), ValueError, "rellu"),
    "initializer": (lambda: Dense(3, kernel_initializer="he_norml"), ValueError, "he_norml"),
    "regularizer": (lambda: Dense(3, kernel_regularizer="l3"), ValueError, "l3"),
    "constraint": (lambda: Dense(3, kernel_constraint="max"), ValueError, "max"),
    "units": (lambda: Dense(0), ValueError, "units must be a positive integer, got 0"),
    "fraction of a unit": (lambda: Dense(2.5), ValueError, "units"),
    "unknown argument": (lambda: Dense(3, unit=4), TypeError, "unit"),
    "rate": (lambda: Dropout(1.5), ValueError, r"rate must be in \[0, 1\], got 1.5"),
    "negative rate": (lambda: Dropout(-0.1), ValueError, "rate"),
    "learning rate": (lambda: optimizers.SGD(-0.1), ValueError, "learning_rate"),
    "NaN rate": (lambda: optimizers.Adam(float("nan")), ValueError, "learning_rate"),
    "beta": (lambda: optimizers.Adam(beta_1=1.5), ValueError, "beta_1"),
    "momentum": (lambda: optimizers.SGD(momentum=-1), ValueError, "momentum"),
    "two clips": (lambda: optimizers.SGD(clipnorm=1, clipvalue=1), ValueError, "only one"),
    "optimizer's argument": (lambda: optimizers.Adam(lr=0.1), (ValueError, TypeError), "lr"),
    "get activation": (lambda: activations.get("nope"), ValueError, "nope"),
    "get loss": (lambda: losses.get("nope"), ValueError, "nope"),
    "get metric": (lambda: metrics.get("nope"), ValueError, "nope"),
    "dtype": (lambda: Dense(3, dtype="float16"), ValueError, "float16"),
    "reduction": (lambda: losses.MeanSquaredError(reduction="avg"), ValueError, "avg"),
    "number of losses": (lambda: two_outputs(["mse"]), ValueError, "2 outputs"),
    "name of an output": (lambda: two_outputs({"one": "mse", "none": "mse"}), ValueError, "none"),
    "permutation": (lambda: layers.Permute((0, 1)), ValueError, "dims"),
    "fraction of an input": (lambda: Input((2.5,)), ValueError, r"sizes or None, got \(2.5,\)"),
    "size of a weight": (lambda: Dense(2**62)(Input((4,))), ValueError, "Dense 'd.*: a weight 'kernel' of shape"),
    "no memory": (lambda: Dense(7, kernel_initializer=no_memory)(Input((4,))), MemoryError,
                  r"Dense 'd.*: no memory for a weight 'kernel' of shape \(4, 7\)"),
    "filters": (lambda: layers.Conv2D(2**40, 3)(Input((5, 5, 3))), ValueError, "Conv2D 'c.*: a weight 'kernel'"),
    "size of a result": (lambda: layers.RepeatVector(2**60)(Input((5,))), ValueError, "RepeatVector 'r.*a result"),
    "enlarged": (lambda: layers.UpSampling2D(2**31)(Input((5, 5, 3))), ValueError, "UpSampling2D 'u.*a result"),
    "stride of a transpose": (lambda: layers.Conv2DTranspose(3, 3, strides=2**40)(Input((5, 5, 3))), ValueError,
                              "Conv2DTranspose 'c.*a result of shape"),
}  # fmt: skip


def two_outputs(loss):
    inputs = Input((4,))
    model = Model(inputs, [Dense(1, name="one")(inputs), Dense(1, name="two")(inputs)])
    model.compile("sgd", loss)
    model.fit(X, [X[:, :1], X[:, :1]], verbose=0)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_settings(name):
    make, error, words = SETTINGS[name]
    with pytest.raises(error, match=words):
        make()


def test_numbers_of_numpy_are_settings():
    half, two, x = np.float32(0.5), np.int64(2), np.ones((3, 4, 2), "float32")
    for layer in (
        layers.Dropout(half), layers.SpatialDropout1D(half), layers.GaussianNoise(half), layers.LSTM(3, dropout=half),
        layers.Jordan(3, 2, decay=half), layers.BatchNormalization(momentum=half, epsilon=half),
        layers.GroupNormalization(two), layers.Maxout(two, two),
    ):  # fmt: skip
        config = layer.get_config()
        assert np.asarray(type(layer).from_config(config)(x)).shape[0] == 3
        assert not any(isinstance(value, np.generic) for value in config.values())
    with pytest.raises(ValueError, match="epsilon must be finite and >= 0, got nan"):
        layers.LayerNormalization(epsilon=float("nan"))


def test_channels_first_images_are_not_told_to_be_reshaped():
    model = Sequential([Input((8, 9, 3)), layers.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match=r"numpy.moveaxis\(x, 1, -1\)") as caught:
        model.predict(np.zeros((2, 3, 8, 9)), verbose=0)
    assert "reshape" not in str(caught.value)


def test_not_compiled():
    model = Sequential([Input((4,)), Dense(3)])
    for call in (lambda: model.fit(X, T), lambda: model.evaluate(X, T), lambda: model.train_on_batch(X, T)):
        with pytest.raises(RuntimeError, match="compile"):
            call()
    model.compile("sgd")
    with pytest.raises(RuntimeError, match="loss"):
        model.fit(X, T)
    assert model.predict(X, verbose=0).shape == (20, 3)


@pytest.mark.parametrize(
    "given",
    [{"metrics": ["mae", "accurracy"]}, {"weighted_metrics": [["accurracy"]]}, {"metrics": {"out": "accurracy"}}],
)
def test_metric_of_unknown_name_is_refused_by_compile(given, model):
    optimizer = model.optimizer
    with pytest.raises(ValueError, match="accurracy"):
        model.compile("adam", "mse", **given)
    assert model.optimizer is optimizer
    model.fit(X, T, verbose=0)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_plans_are_of_whole_numbers_of_samples(batch_size, model):
    for look in (model.plan, model.profile):
        with pytest.raises(ValueError, match=f"batch_size must be a whole number of samples.*{batch_size}"):
            look(batch_size=batch_size)


def test_weights_that_depend_on_an_open_length_are_explained():
    model = Sequential([Input((None,)), Dense(3)])
    with pytest.raises(ValueError, match="last dimension 32") as caught:
        model.predict(X)
    assert "leaves a length open (None)" in caught.value.__notes__[0]


def test_loss_that_does_not_fit_the_targets():
    model = Sequential([Input((4,)), Dense(3, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy")
    with pytest.raises(ValueError, match="shape"):
        model.fit(X, T, verbose=0)  # class ids: the sparse loss is meant
    model.fit(X, np.eye(3)[T], verbose=0)


def test_everything_frozen():
    model = Sequential([Input((4,)), Dense(3)])
    model.trainable = False
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no trainable weight"):
        model.fit(X, X[:, :3], verbose=0)
    model.trainable = True
    model.fit(X, X[:, :3], verbose=0)


def test_error_in_a_layer_or_loss_leaves_the_model_usable():
    calls = []

    def moody(y_true, y_pred):
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("moody")
        return losses.mean_squared_error(y_true, y_pred)

    model = Sequential([Input((4,)), Dense(3)])
    model.compile("sgd", moody)
    with pytest.raises(ZeroDivisionError):
        model.fit(X, X[:, :3], verbose=0)
    model.fit(X, X[:, :3], verbose=0)


def test_error_in_a_callback_leaves_the_model_usable():
    from fastnn.callbacks import LambdaCallback

    model = Sequential([Input((4,)), Dense(3)])
    model.compile("sgd", "mse")

    def fail(*_):
        raise ZeroDivisionError

    for hook in ("on_epoch_end", "on_train_batch_end", "on_train_begin"):
        with pytest.raises(ZeroDivisionError):
            model.fit(X, X[:, :3], verbose=0, callbacks=[LambdaCallback(**{hook: fail})])
        model.fit(X, X[:, :3], verbose=0)


# ---- what is fine ----


@pytest.mark.parametrize("form", ["read-only", "strided", "reversed", "fortran", "list", "swapped", "unaligned",
                                  "float16", "float64"])  # fmt: skip
def test_forms_of_arrays(form, model):
    expected = model.predict(X, verbose=0)
    if form == "read-only":
        x = X.copy()
        x.flags.writeable = False
    elif form == "strided":
        x = np.repeat(X, 2, axis=1)[:, ::2]
    elif form == "reversed":
        x = X[::-1].copy()[::-1]
    elif form == "fortran":
        x = np.asfortranarray(X)
    elif form == "list":
        x = X.tolist()
    elif form == "swapped":
        x = X.astype(X.dtype.newbyteorder())
    elif form == "unaligned":
        raw = np.zeros(X.nbytes + 1, np.uint8)
        x = raw[1:].view(np.float32).reshape(X.shape)
        x[...] = X
    else:
        x = X.astype(form)
    # half precision keeps 11 bits
    near = {"rtol": 1e-2, "atol": 1e-3} if form == "float16" else {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, **near)
    model.fit(x, T, verbose=0)


def test_doubles_of_other_byte_orders_stay_doubles():
    model = Sequential([Input((4,), dtype="float64"), Dense(3, dtype="float64")])
    x = X + 1e-9 * np.arange(4)
    expected = model.predict(x, verbose=0)
    for form in (x.astype(x.dtype.newbyteorder()), x.astype(np.longdouble)):
        assert np.array_equal(model.predict(form, verbose=0), expected)


@pytest.mark.parametrize("target", [np.full(ROWS, 5_000_000_000), np.full(ROWS, 3_000_000_000, np.uint32),
                                    np.full(ROWS, 2**63, np.uint64), np.full(ROWS, -(2**40))])  # fmt: skip
def test_integer_targets_beyond_int32_keep_their_value(target):
    model = Sequential([Input((4,)), Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mae")
    want = abs(float(target[0]))
    assert model.evaluate(X, target, verbose=0) == pytest.approx(want)
    for small in (True, False, False):  # the short way of a form of data that was seen before
        model.reset_metrics()
        model.set_weights([np.zeros((4, 1)), np.zeros(1)])
        loss = model.train_on_batch(X, np.ones_like(target) if small else target)
        assert loss == pytest.approx(1 if small else want)


def test_a_model_without_weights_has_the_type_of_its_layers():
    model = Sequential([Input((1,), dtype="float64"), layers.Rescaling(3.0, dtype="float64")])
    y = model.predict(np.full((2, 1), 1 / 3), verbose=0)
    assert y.dtype == np.float64 and y[0, 0] == 1.0


def test_layers_of_two_types_serve_arrays_but_not_training():
    model = Sequential([Dense(3, dtype="float64"), Dense(2, dtype="float32")])
    for _ in range(2):  # the first call builds it
        assert model(X).dtype == np.float32
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="one dtype, got float32 and float64"):
        model.fit(X, X[:, :2], verbose=0)


def test_targets_of_one_column(model):
    a = model.evaluate(X, T, verbose=0)
    assert a == model.evaluate(X, T[:, None], verbose=0) == model.evaluate(X, T.astype(np.float32), verbose=0)
    assert a == model.evaluate(X, T.tolist(), verbose=0) == model.evaluate(X, T.astype(np.uint8), verbose=0)


def test_data_is_not_changed(model):
    x, t, w = X.copy(), T.copy(), np.linspace(0, 1, ROWS)
    model.fit(x, t, sample_weight=w, class_weight={0: 2.0}, validation_split=0.3, verbose=0)
    assert np.array_equal(x, X) and np.array_equal(t, T) and np.array_equal(w, np.linspace(0, 1, ROWS))


def test_nan_inputs_are_the_users_choice(model):
    x = X.copy()
    x[3] = np.nan
    y = model.predict(x, verbose=0)
    assert np.isnan(y[3]).all() and np.isfinite(np.delete(y, 3, 0)).all()


# ---- environment ----


def test_unknown_instruction_set():
    done = subprocess.run([sys.executable, "-c", "import fastnn._core"], capture_output=True, text=True,
                          env={**os.environ, "FASTNN_ISA": "sse9"})  # fmt: skip
    assert done.returncode != 0
    assert "FASTNN_ISA='sse9'" in done.stderr and "base" in done.stderr


SQUARE = np.ones((8, 8), np.float32)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: kernels.subtract(SQUARE, SQUARE, accumulate=SQUARE), "subtract: accumulate must be True or False"),
        (lambda: kernels.losses.mean_squared_error(SQUARE, SQUARE, scale=SQUARE), "scale must be a number"),
        (lambda: kernels.losses.mean_squared_error(SQUARE, SQUARE, mean=SQUARE), "mean must be True or False"),
        (lambda: kernels.losses.huber(SQUARE, SQUARE, delta=[1, 2]), "huber: delta must be a number"),
        (lambda: kernels.dropout(SQUARE, np.zeros(3), seed=1), "dropout: rate must be a number"),
        (lambda: kernels.concatenate(False), "concatenate: arrays must be a list"),
        (lambda: kernels.one_hot(np.zeros(2, np.int32), 3, dtype="x"), "one_hot: dtype must be float32 or float64"),
    ],
)
def test_kernels_arguments(call, message):
    with pytest.raises(TypeError, match=message):
        call()
