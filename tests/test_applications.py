"""The ready-made networks: shapes, published numbers of parameters, gradients, a few steps of training, files."""

import numpy as np
import pytest
from compiled import central, run

import fastnn
from fastnn import applications, layers, ops
from fastnn.applications import lenet
from fastnn.utils import seeding


def count(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights)


BUILDERS = {
    "lenet5": (lambda **k: applications.LeNet5(**k), 61_706),
    "lenet5 of 1998": (lambda **k: applications.LeNet5(variant="1998", **k), 60_000),
    "lenet5 of 1998, softmax": (lambda **k: applications.LeNet5(variant="1998", output="softmax", **k), 60_850),
    "lenet5, rbf": (lambda **k: applications.LeNet5(output="rbf", **k), 60_856),
    "cifar_cnn": (lambda **k: applications.CifarCNN(dropout=0.2, **k), 1_116_970),
    "resnet20": (lambda **k: applications.ResNet20(**k), 269_722),
    "resnet20, b": (lambda **k: applications.ResNet20(shortcut="B", **k), 272_474),
    "resnet32": (lambda **k: applications.ResNetCifar(32, **k), 464_154),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_parameters(name):
    """LeCun 1998, section II.B: 60,000 trainable; He et al. 2015, table 6: 0.27M and 0.46M."""
    build, expected = BUILDERS[name]
    model = build()
    assert count(model) == expected
    assert model.output_shape == (None, 10)


def test_parameters_of_each_layer_of_1998():
    model = applications.LeNet5(variant="1998")
    found = {layer.name: layer.count_params() for layer in model.layers if layer.count_params()}
    assert found == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "output": 840}
    assert sum(map(len, lenet.C3_TABLE)) == 60
    shapes = {layer.name: tuple(layer.compute_output_shape((None, *s))) for layer, s in zip(
        [model.get_layer(n) for n in ("frame", "c1", "s2", "c3")], [(28, 28, 1), (32, 32, 1), (28, 28, 6), (14, 14, 6)],
        strict=True)}  # fmt: skip
    assert shapes == {"frame": (None, 32, 32, 1), "c1": (None, 28, 28, 6), "s2": (None, 14, 14, 6),
                      "c3": (None, 10, 10, 16)}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in BUILDERS if n != "resnet32"])
def test_training_of_bytes(name, threads):
    """A few images are learnt by heart, with the same bits for one and two threads."""
    results = []
    for number in (1, 2):
        threads(number)
        seeding.set_random_seed(4)
        model = BUILDERS[name][0]()
        x = np.random.default_rng(0).integers(0, 256, (32, *model.input_shape[1:]), dtype=np.uint8)
        y = np.arange(32) % 10
        rate = 3e-3 if "1998" in name else 1e-3
        rbf = any(isinstance(layer, lenet.RBFOutput) for layer in model.layers)
        loss = lenet.SparseMAPCriterion() if rbf else "sparse_categorical_crossentropy"
        model.compile(fastnn.optimizers.Adam(rate), loss, metrics=["accuracy"])
        history = model.fit(x, y, batch_size=16, epochs=3 if "resnet" in name or "cifar" in name else 25, verbose=0)
        results.append(b"".join(w.tobytes() for w in model.get_weights()))
    losses = history.history["loss"]
    assert losses[-1] < 0.95 * losses[0]
    assert results[0] == results[1]
    p = model.predict(x, verbose=0)
    if rbf:
        assert (p <= 0).all()
    else:
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(p.argmax(axis=1) == y) == pytest.approx(model.evaluate(x, y, verbose=0)[1])


@pytest.mark.parametrize("name", ["lenet5 of 1998", "resnet20, b"])
def test_files(name, tmp_path):
    model = BUILDERS[name][0]()
    model.compile("adam", lenet.SparseMAPCriterion(0.3) if "1998" in name else "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).integers(0, 256, (3, *model.input_shape[1:]), dtype=np.uint8)
    model.save(tmp_path / "model.safetensors")
    again = fastnn.models.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.evaluate(x, np.arange(3), verbose=0) == pytest.approx(model.evaluate(x, np.arange(3), verbose=0))


def test_map_criterion():
    """Equation 9 in NumPy; class ids out of range are refused."""
    rng = np.random.default_rng(1)
    d, y = rng.uniform(0, 9, (6, 4)), np.array([0, 1, 2, 3, 0, 1])
    expected = d[np.arange(6), y] + np.log(np.exp(-0.5) + np.exp(-d).sum(axis=1))
    loss = lenet.SparseMAPCriterion(0.5, reduction="none", dtype="float64")
    np.testing.assert_allclose(loss(y, -d), expected, rtol=1e-6)
    model = applications.LeNet5(variant="1998")
    model.compile("sgd", lenet.SparseMAPCriterion())
    with pytest.raises(ValueError, match=r"labels must be in 0..9"):
        model.fit(np.zeros((4, 28, 28, 1), np.uint8), np.array([0, 1, 2, 10]), verbose=0)


def test_augmentation_stands_in_front():
    augmentation = [layers.RandomCrop(32, 32, padding=4), layers.RandomFlip("horizontal")]
    model = applications.ResNet20(augmentation=augmentation)
    kinds = [type(layer).__name__ for layer in model.layers if type(layer).__name__ != "InputLayer"]
    assert kinds[:4] == ["Rescaling", "RandomCrop", "RandomFlip", "Rescaling"]
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    model.fit(x, np.arange(8), verbose=0)
    plain = applications.ResNet20()
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(plain.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


LAYERS = {
    "ScaledTanh": (lambda: lenet.ScaledTanh(dtype="float64"), (3, 3, 2)),
    "Subsampling": (lambda: lenet.Subsampling(dtype="float64"), (4, 6, 3)),
    "PartialConv2D": (lambda: lenet.PartialConv2D([(0, 2), (1,), (0, 1, 2)], (2, 3), dtype="float64"), (5, 6, 3)),
    "RBFOutput": (lambda: lenet.RBFOutput(lenet.digit_codes()[:, :7], dtype="float64"), (7,)),
    "IdentityShortcut": (lambda: applications.IdentityShortcut(5, dtype="float64"), (5, 6, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name):
    """By the input, and by each weight, against central differences."""
    build, shape = LAYERS[name]
    layer = build()
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, *shape))
    y = layer(x)
    g = rng.normal(size=y.shape)
    value, (dx, *_) = run(layer, [x], gradient=g)
    np.testing.assert_allclose(value, y, atol=1e-12)
    np.testing.assert_allclose(dx, central(layer, x, g), atol=1e-6)
    for weight in layer.trainable_weights:
        expected = np.zeros(weight.shape)
        for j in np.ndindex(weight.shape):
            kept = weight.value[j]
            sides = []
            for step in (1e-6, -1e-6):
                weight.value[j] = kept + step
                sides.append(np.sum(layer(x) * g))
            weight.value[j] = kept
            expected[j] = (sides[0] - sides[1]) / 2e-6
        found = gradient_of(layer, weight, x, g)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def gradient_of(layer, weight, x, g):
    """By one step of descent with the loss sum(layer(x) g)."""
    inputs = layers.Input(x.shape[1:], dtype="float64")
    model = fastnn.Model(inputs, layer(inputs))
    model.compile(fastnn.optimizers.SGD(1.0), lambda y, p: ops.sum(ops.reshape(y * p, (None, g[0].size)), axis=-1))
    before = weight.numpy()
    model.train_on_batch(x, g)
    return (before - weight.numpy()) * len(x)


def test_partial_convolution_is_a_masked_one():
    layer = lenet.PartialConv2D(lenet.C3_TABLE, 5)
    x = np.random.default_rng(2).normal(size=(2, 14, 14, 6)).astype(np.float32)
    y = layer(x)
    kernel, at = np.zeros((5, 5, 6, 16), np.float32), 0
    for f, row in enumerate(lenet.C3_TABLE):
        for c in row:
            kernel[:, :, c, f] = layer.kernel.value[:, :, at]
            at += 1
    np.testing.assert_allclose(y, ops.conv(x, kernel), atol=1e-5)


def test_rbf_output_is_the_distance():
    codes = lenet.digit_codes()
    assert codes.shape == (10, 84) and set(np.unique(codes)) == {-1, 1}
    assert len({tuple(c) for c in codes}) == 10
    assert lenet.digit_codes(13).shape == (13, 84)
    x = np.random.default_rng(2).normal(size=(5, 84)).astype(np.float32)
    expected = -((x[:, None] - codes) ** 2).sum(axis=-1)
    np.testing.assert_allclose(lenet.RBFOutput(codes)(x), expected, rtol=1e-5)


WRONG = [
    (lambda: applications.LeNet5(variant="1989"), "variant must be 'modern' or '1998', got '1989'"),
    (lambda: applications.LeNet5(output="svm"), "output must be 'softmax' or 'rbf', got 'svm'"),
    (lambda: applications.LeNet5((28, 28)), r"input_shape must be \(height, width, channels\), got \(28, 28\)"),
    (lambda: applications.CifarCNN(scale=0), "scale must be finite and > 0, got 0"),
    (lambda: applications.ResNetCifar(21), r"depth must be 6 n \+ 2 \(8, 14, 20, 32, ...\), got 21"),
    (lambda: applications.ResNet20(shortcut="C"), "shortcut must be 'A' or 'B', got 'C'"),
    (lambda: lenet.PartialConv2D([], 5), "connections must name the input channels of each filter"),
    (lambda: lenet.PartialConv2D([(0, 3)], 2)(np.zeros((1, 4, 4, 3))), "at least 4 channels, got shape"),
    (lambda: lenet.RBFOutput([[1, 2]])(np.zeros((1, 3))), r"expected inputs \(batch, 2\), got shape"),
    (lambda: lenet.SparseMAPCriterion(j="small"), "j must be a number, got 'small'"),
    (lambda: applications.IdentityShortcut(0), "filters must be a positive integer, got 0"),
    (lambda: applications.IdentityShortcut(2)(np.zeros((1, 4, 4, 3))), "up to 2 channels"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_arguments_are_refused(number):
    call, message = WRONG[number]
    with pytest.raises((TypeError, ValueError), match=message):
        call()
