"""Convolution kernels and layers against NumPy in float64, each other, and central differences."""

import itertools
import sys

import numpy as np
import pytest
from traced import compile_and_run

import fastnn
from fastnn import layers, ops, threads
from fastnn.kernels import convolution as cv

DTYPES = (np.float32, np.float64)
TOLERANCE = {np.float32: {"rtol": 2e-4, "atol": 2e-4}, np.float64: {"rtol": 1e-10, "atol": 1e-10}}


def patches(x, g):
    """(n, oh, ow, kh, kw, ci): what each output pixel sees."""
    n = len(x)
    bottom = max((g.oh - 1) * g.sh + (g.kh - 1) * g.dh + 1 - g.ih - g.top, 0)
    right = max((g.ow - 1) * g.sw + (g.kw - 1) * g.dw + 1 - g.iw - g.left, 0)
    x = np.pad(x, ((0, 0), (g.top, bottom), (g.left, right), (0, 0)))
    out = np.zeros((n, g.oh, g.ow, g.kh, g.kw, g.ci))
    for i, j in itertools.product(range(g.kh), range(g.kw)):
        rows = slice(i * g.dh, i * g.dh + (g.oh - 1) * g.sh + 1, g.sh)
        columns = slice(j * g.dw, j * g.dw + (g.ow - 1) * g.sw + 1, g.sw)
        out[:, :, :, i, j] = x[:, rows, columns]
    return out


def split(g):
    cig, cog = g.ci // g.groups, g.co // g.groups
    for k in range(g.groups):
        yield slice(k * cig, (k + 1) * cig), slice(k * cog, (k + 1) * cog)


def reference(x, w, bias, g):
    p, w = patches(x.astype(float), g), w.astype(float)
    y = np.zeros((len(x), g.oh, g.ow, g.co))
    for c, o in split(g):
        y[..., o] = np.einsum("npqijc,ijco->npqo", p[..., c], w[..., o])
    return y if bias is None else y + bias


def reference_gradients(x, w, dy, g):
    x, w, dy = x.astype(float), w.astype(float), dy.astype(float)
    p = patches(x, g)
    dw, dp = np.zeros(w.shape), np.zeros(p.shape)
    for c, o in split(g):
        dw[..., o] = np.einsum("npqijc,npqo->ijco", p[..., c], dy[..., o])
        dp[..., c] = np.einsum("npqo,ijco->npqijc", dy[..., o], w[..., o])
    height = max((g.oh - 1) * g.sh + (g.kh - 1) * g.dh + 1, g.top + g.ih)
    width = max((g.ow - 1) * g.sw + (g.kw - 1) * g.dw + 1, g.left + g.iw)
    dx = np.zeros((len(x), height, width, g.ci))
    for i, j in itertools.product(range(g.kh), range(g.kw)):
        rows = slice(i * g.dh, i * g.dh + (g.oh - 1) * g.sh + 1, g.sh)
        columns = slice(j * g.dw, j * g.dw + (g.ow - 1) * g.sw + 1, g.sw)
        dx[:, rows, columns] += dp[:, :, :, i, j]
    return dx[:, g.top : g.top + g.ih, g.left : g.left + g.iw], dw, dy.sum((0, 1, 2))


# n, ih, iw, ci, kh, kw, co, strides, padding, dilation, groups
CASES = [
    (2, 6, 7, 4, 3, 3, 3, 1, "valid", 1, 1),
    (3, 28, 28, 1, 5, 5, 6, 1, "same", 1, 1),
    (2, 14, 14, 6, 5, 5, 16, 1, "valid", 1, 1),
    (2, 9, 11, 3, 3, 3, 32, 1, "same", 1, 1),
    (1, 1, 1, 5, 1, 1, 17, 1, "valid", 1, 1),
    (3, 1, 1, 3, 3, 3, 5, 1, "same", 1, 1),
    (4, 5, 5, 16, 5, 5, 20, 1, "valid", 1, 1),
    (2, 5, 4, 1, 5, 4, 1, 1, "valid", 1, 1),
    (2, 8, 9, 16, 3, 3, 16, 2, "same", 1, 1),
    (2, 8, 9, 17, 1, 1, 33, 2, "valid", 1, 1),
    (2, 7, 7, 16, 1, 1, 32, 1, "valid", 1, 1),
    (2, 7, 7, 5, 1, 1, 3, 1, "valid", 1, 1),
    (2, 11, 13, 3, 2, 3, 5, (3, 4), "valid", 1, 1),
    (2, 11, 13, 4, 3, 3, 5, 1, "same", (2, 3), 1),
    (2, 10, 10, 6, 3, 2, 9, 1, "same", 1, 3),
    (2, 10, 9, 32, 3, 3, 64, 2, "same", 1, 2),
    (2, 9, 9, 6, 3, 3, 6, 1, "same", 1, 6),
    (2, 9, 9, 17, 3, 3, 34, 2, "same", 1, 17),
    (2, 9, 9, 4, 2, 2, 12, 1, "valid", 2, 4),
    (2, 1, 30, 3, 1, 5, 7, 1, "same", 1, 1),
    (1, 1, 700, 2, 1, 3, 16, 1, "valid", 1, 1),
    (2, 9, 9, 3, 3, 3, 4, 1, (3, 0, 1, 4), 1, 1),
    (2, 6, 6, 2, 2, 2, 3, 4, "valid", 1, 1),
    (2, 6, 10, 80, 3, 3, 80, 1, "same", 1, 1),
    (1, 5, 9, 200, 3, 3, 130, 1, "same", 1, 1),
    (2, 3, 3, 18, 3, 3, 20, 1, "valid", 1, 1),
    (2, 7, 5, 17, 3, 3, 33, 1, (2, 0, 1, 3), 1, 1),
    (5, 16, 16, 16, 3, 3, 32, 1, "same", 1, 1),
    (2, 9, 8, 16, 5, 5, 17, 2, "same", 1, 1),
    (2, 7, 5, 16, 1, 1, 16, (2, 1), "valid", 1, 1),
    (2, 4, 3, 1, 1, 1, 1, (2, 1), "valid", 1, 1),
    (2, 9, 5, 16, 3, 1, 20, (2, 1), "same", 1, 1),
    (3, 9, 4, 17, 5, 1, 7, (3, 1), (2, 0, 1, 0), 1, 1),
    (2, 2, 6, 16, 2, 1, 16, (2, 1), "valid", 1, 1),
    (2, 5, 9, 16, 1, 3, 20, (1, 2), "same", 1, 1),
    (0, 6, 6, 2, 2, 2, 3, 1, "valid", 1, 1),
    (0, 6, 6, 2, 3, 3, 3, 1, "valid", 1, 1),
]


def make(case, dtype, seed=0):
    n, ih, iw, ci, kh, kw, co, strides, padding, dilation, groups = case
    rng = np.random.RandomState(seed)
    x = rng.standard_normal((n, ih, iw, ci)).astype(dtype)
    w = (rng.standard_normal((kh, kw, ci // groups, co)) / np.sqrt(kh * kw * ci / groups)).astype(dtype)
    bias = rng.standard_normal(co).astype(dtype)
    options = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups}
    pair = lambda v: (v, v) if isinstance(v, int) else v  # noqa: E731
    g = cv.geometry("test", x.shape, w.shape, pair(strides), cv._padding("test", padding), pair(dilation), groups)
    dy = rng.standard_normal((n, g.oh, g.ow, co)).astype(dtype)
    return x, w, bias, dy, g, options


def algorithms(g):
    for name, code in cv.ALGORITHMS.items():
        try:
            cv.usable("test", g, name, False)
        except ValueError:
            assert code in (cv._POINTWISE, cv._DEPTHWISE, cv._WINOGRAD)
        else:
            yield name
    yield None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward(case, dtype):
    x, w, bias, _, g, options = make(case, dtype)
    want = reference(x, w, bias, g)
    for name in algorithms(g):
        np.testing.assert_allclose(
            cv.conv2d(x, w, bias, algorithm=name, **options), want, **TOLERANCE[dtype], err_msg=name
        )
        got = cv.conv2d(x, w, algorithm=name, **options)
        np.testing.assert_allclose(got, want - bias, **TOLERANCE[dtype], err_msg=name)
        got = cv.conv2d(x, w, bias, activation="relu", algorithm=name, **options)
        np.testing.assert_allclose(got, np.maximum(want, 0), **TOLERANCE[dtype], err_msg=name)
        got = cv.conv2d(x, w, bias, activation="tanh", algorithm=name, **options)
        np.testing.assert_allclose(got, np.tanh(want), **TOLERANCE[dtype], err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients(case, dtype):
    x, w, _, dy, g, options = make(case, dtype)
    dx, dw, db = reference_gradients(x, w, dy, g)
    for name in [*algorithms(g), *([cv.SCATTER] if g.groups == 1 else [])]:
        got = cv.conv2d_grad_input(dy, w, x.shape, algorithm=name, out=np.full_like(x, np.nan), **options)
        np.testing.assert_allclose(got, dx, **TOLERANCE[dtype], err_msg=name)
        if name == cv.SCATTER:
            continue
        got, got_bias = cv.conv2d_grad_kernel(x, dy, w.shape[:2], algorithm=name, **options)
        scale = np.sqrt(max(len(x) * g.oh * g.ow, 1))
        np.testing.assert_allclose(got / scale, dw / scale, **TOLERANCE[dtype], err_msg=name)
        np.testing.assert_allclose(got_bias / scale, db / scale, **TOLERANCE[dtype], err_msg=name)


@pytest.mark.parametrize("case", [(13, *c[1:]) for c in CASES if c[0]], ids=str)
def test_same_bits_for_any_threads(case):
    x, w, bias, dy, g, options = make(case, np.float32)
    before = threads.get_num_threads()
    results = []
    try:
        for n in (1, 2, 3, 8):
            threads.set_num_threads(n)
            results.append([
                *(cv.conv2d(x, w, bias, activation="relu", algorithm=a, **options) for a in algorithms(g)),
                *(cv.conv2d_grad_input(dy, w, x.shape, algorithm=a, **options) for a in algorithms(g)),
                *itertools.chain.from_iterable(
                    cv.conv2d_grad_kernel(x, dy, w.shape[:2], algorithm=a, **options) for a in algorithms(g)
                ),
            ])  # fmt: skip
    finally:
        threads.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


def test_kernels_are_gradients_of_each_other():
    """<dy, conv(x, w)> is linear in x and in w: its derivatives are the two gradients, by central differences."""
    for case in CASES[:1] + CASES[8:9] + CASES[13:15]:
        x, w, _, dy, _, options = make(case, np.float64)
        dx = cv.conv2d_grad_input(dy, w, x.shape, **options)
        dw, _ = cv.conv2d_grad_kernel(x, dy, w.shape[:2], **options)
        rng = np.random.RandomState(1)
        for array, gradient in ((x, dx), (w, dw)):
            direction = rng.standard_normal(array.shape)
            kept = array.copy()
            values = []
            for step in (1e-5, -1e-5):
                array[...] = kept + step * direction
                values.append(float((cv.conv2d(x, w, **options) * dy).sum()))
            array[...] = kept
            np.testing.assert_allclose((values[0] - values[1]) / 2e-5, (direction * gradient).sum(), rtol=1e-6)


WINOGRAD_SIZES = [
    (n, h, w, ci, co, padding)
    for h in range(1, 10)
    for n, w, ci, co in ((1, h, 3, 16), (3, 10 - h, 17, 1), (2, 2 * h, 16, 33), (1, 5, 1, 17))
    for padding in ("same", "valid", (1, 0, 0, 2), (0, 3, 2, 0))
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_winograd(dtype):
    """Errors are measured on the sums of the terms' sizes: a few roundings."""
    worst = dict.fromkeys(("y", "dx", "dw", "db"), 0.0)
    for n, h, w_, ci, co, padding in WINOGRAD_SIZES:
        try:
            x, w, bias, dy, g, options = make((n, h, w_, ci, 3, 3, co, 1, padding, 1, 1), dtype, h)
        except ValueError:
            continue
        y = cv.conv2d(x, w, bias, algorithm="winograd", **options)
        dx = cv.conv2d_grad_input(dy, w, x.shape, algorithm="winograd", **options)
        dw, db = cv.conv2d_grad_kernel(x, dy, (3, 3), algorithm="winograd", **options)
        sizes = (abs(x), abs(w), abs(dy), g)
        wanted = (reference(x, w, bias, g), *reference_gradients(x, w, dy, g))
        scales = (reference(abs(x), abs(w), abs(bias), g), *reference_gradients(*sizes))
        for name, a, b, scale in zip(worst, (y, dx, dw, db), wanted, scales, strict=True):
            assert a.shape == b.shape
            # where only a few terms meet, the other pixels of the tile set the size of the error
            worst[name] = max(worst[name], float((abs(a - b) / (scale + scale.mean())).max()))
    epsilon = np.finfo(dtype).eps
    for name, error in worst.items():
        assert error < 8 * epsilon, (name, error / epsilon)


def test_winograd_central_differences():
    x, w, _, dy, _, options = make((2, 5, 7, 3, 3, 3, 4, 1, (1, 2, 0, 1), 1, 1), np.float64)
    options["algorithm"] = "winograd"
    dx = cv.conv2d_grad_input(dy, w, x.shape, **options)
    dw, _ = cv.conv2d_grad_kernel(x, dy, w.shape[:2], **options)
    rng = np.random.RandomState(1)
    for array, gradient in ((x, dx), (w, dw)):
        direction = rng.standard_normal(array.shape)
        kept = array.copy()
        values = []
        for step in (1e-5, -1e-5):
            array[...] = kept + step * direction
            values.append(float((cv.conv2d(x, w, **options) * dy).sum()))
        array[...] = kept
        np.testing.assert_allclose((values[0] - values[1]) / 2e-5, (direction * gradient).sum(), rtol=1e-6)


def test_errors():
    x, w = np.zeros((2, 5, 6, 4), np.float32), np.zeros((3, 3, 4, 8), np.float32)
    for call, words in [
        (lambda: cv.conv2d(x, np.zeros((7, 3, 4, 8), np.float32)), "larger than the image"),
        (lambda: cv.conv2d(x, np.zeros((3, 3, 5, 8), np.float32)), "channels"),
        (lambda: cv.conv2d(x, w, strides=0), "positive"),
        (lambda: cv.conv2d(x, w, strides=None), "strides must be an integer or a pair"),
        (lambda: cv.conv2d(x, w, strides=2**70), "strides and dilation_rate must be less than"),
        (lambda: cv.conv2d(x, w, padding="same", dilation_rate=2**61), "strides and dilation_rate must be less than"),
        (lambda: cv.conv2d(x, w, padding=(2**40, 0, 0, 0)), "padding must be less than"),
        (lambda: cv.conv2d(x, w, padding=(0.5, 0, 0, 0)), "padding must be 'valid'"),
        (lambda: cv.conv2d(x, w, padding="causal"), "padding must be 'valid'"),
        (lambda: cv.conv2d(x, w, padding=1), "padding must be 'valid'"),
        (lambda: cv.conv2d(x, w, groups=1.5), "groups must be an integer"),
        (lambda: cv.conv2d(x, w, activation=["relu"]), "activation must be one of"),
        (lambda: cv.conv2d(x, w, algorithm=["direct"]), "algorithm must be one of"),
        (lambda: cv.conv2d_grad_input(x, w, 7), "input_shape must be"),
        (lambda: cv.conv2d_grad_input(x, w, (2, 7.0, 8, 4)), "input_shape must be"),
        (lambda: cv.conv2d_grad_kernel(x, x, 1, bias_out=x.reshape(-1)[:4]), "bias_out must not share memory with x"),
        (lambda: cv.conv2d(x, w, strides=2, dilation_rate=2), "combined"),
        (lambda: cv.conv2d(x, w, padding="full"), "padding"),
        (lambda: cv.conv2d(x, w, padding=(-1, 0, 0, 0)), "negative"),
        (lambda: cv.conv2d(x, w, groups=3), "groups"),
        (lambda: cv.conv2d(x, w, algorithm="pointwise"), "pointwise"),
        (lambda: cv.conv2d(x, w, algorithm="depthwise"), "depthwise"),
        (lambda: cv.conv2d(x, w, algorithm="fft"), "algorithm"),
        (lambda: cv.conv2d(x, w, strides=2, algorithm="winograd"), "winograd.*stride 1"),
        (lambda: cv.conv2d(x, w[:2], algorithm="winograd"), "winograd.*2x3"),
        (lambda: cv.conv2d_grad_input(x, w, (2, 12, 14, 4), 2, algorithm="winograd"), "winograd.*stride 1"),
        (lambda: cv.conv2d_grad_kernel(x, x, (1, 1), algorithm="winograd"), "winograd.*1x1"),
        (lambda: cv.conv2d(x, w, activation="sine"), "activation"),
        (lambda: cv.conv2d(x[0], w), "images"),
        (lambda: cv.conv2d(x, w, out=np.zeros((2, 3, 4, 9), np.float32)), "shape"),
        (lambda: cv.conv2d_grad_input(x, w, (2, 5, 6, 4)), "dy"),
        (lambda: cv.conv2d(np.zeros((2, 4, 8, 6), np.float32), np.zeros((3, 3, 4, 8), np.float32)), "channels-first"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match="dtype"):
        cv.conv2d(x, w.astype(np.float64))


@pytest.mark.parametrize("function", [None, ops.relu, ops.tanh])
@pytest.mark.parametrize("case", [c for c in CASES if c[0] and isinstance(c[8], str)][:18], ids=str)
def test_compiled(case, function):
    """Bias and activation joined to the convolution, activations' gradients to its own: the same as one by one."""
    x, w, bias, _, g, options = make(case, np.float64)
    options = {"strides": (g.sh, g.sw), "padding": case[8], "dilation_rate": (g.dh, g.dw), "groups": g.groups}
    w2 = np.random.RandomState(5).standard_normal((1, 1, g.co, 3))

    def net(x, w, bias, w2):
        y = ops.add(ops.conv(ops.tanh(x), w, **options), bias)
        return ops.conv(y if function is None else function(y), w2)

    up = np.random.RandomState(6).standard_normal((len(x), g.oh, g.ow, 3))
    arrays, batched = [x, w, bias, w2], [True, False, False, False]
    y, found = compile_and_run(net, arrays, batched, up)
    z, plain = compile_and_run(net, arrays, batched, up, fused=False)
    for a, b in zip((y, *found), (z, *plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    dx, dw, db = reference_gradients(np.tanh(x), w, np.zeros((len(x), g.oh, g.ow, g.co)), g)
    assert found[0].shape == dx.shape and found[1].shape == dw.shape and found[2].shape == db.shape


@pytest.mark.parametrize("function", [None, ops.relu, ops.tanh])
def test_compiled_winograd(function):
    """With a bias, activations and their gradients joined to it: the same as the direct algorithm."""
    case = (3, 7, 6, 17, 3, 3, 20, 1, (1, 0, 0, 2), 1, 1)
    x, w, bias, _, g, _ = make(case, np.float64)
    w2 = np.random.RandomState(5).standard_normal((3, 3, g.co, 16)) / 10
    results = []
    for algorithm in ("winograd", "direct"):

        def net(x, w, bias, w2, algorithm=algorithm):
            x = x if function is None else function(x)
            y = ops.add(ops.conv(x, w, padding=((1, 0), (0, 2)), algorithm=algorithm), bias)
            return ops.conv(y if function is None else function(y), w2, padding="same", algorithm=algorithm)

        up = np.random.RandomState(6).standard_normal((len(x), g.oh, g.ow, 16))
        results.append(compile_and_run(net, [x, w, bias, w2], [True, False, False, False], up))
    (y, found), (z, plain) = results
    for a, b in zip((y, *found), (z, *plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("function", [None, ops.relu, ops.tanh])
@pytest.mark.parametrize("size, ci, co, kernel, padding, pool", [
    ((28, 28), 1, 6, 5, "same", (2, "valid")), ((14, 14), 6, 16, 5, "valid", (2, "valid")),
    ((9, 8), 3, 7, 3, ((1, 0), (0, 2)), (2, "valid")), ((7, 11), 20, 33, 3, "same", (2, "valid")),
    ((12, 12), 2, 5, 3, "valid", (3, "same")), ((10, 13), 1, 3, 4, "same", (2, "valid")),
    ((40, 9), 40, 18, 3, "same", (2, "valid")), ((6, 75), 1, 9, 3, "valid", (2, "valid")),
    ((8, 8), 1, 2, 3, "same", (2, "valid")), ((5, 6), 1, 17, 1, "valid", (2, "valid")),
    ((9, 12), 1, 3, 3, "same", (2, "same")), ((8, 35), 1, 5, 3, "same", (2, "same")),
    ((7, 9), 4, 6, 5, "same", (2, "same")),
])  # fmt: skip
def test_pool_behind_a_convolution(size, ci, co, kernel, padding, pool, function, monkeypatch):
    """Both at once, and gradients from the pooled one alone: what the convolution's and the pool's own kernels give."""
    monkeypatch.setattr(sys.modules["fastnn.compiler.fuse"], "pooled_pays", lambda *_, **more: True)
    rng = np.random.RandomState(3)
    x, w, bias = rng.randn(5, *size, ci), rng.randn(kernel, kernel, ci, co), rng.randn(co)

    def net(x, w, bias):
        z = ops.add(ops.conv(ops.tanh(x), w, padding=padding), bias)
        return ops.max_pool(z if function is None else function(z), pool[0], padding=pool[1])

    batched = [True, False, False]
    up = rng.standard_normal(compile_and_run(net, [x, w, bias], batched)[0].shape)
    for wrt in ([False, True, True], [True, True, True]):
        value, expected = compile_and_run(net, [x, w, bias], batched, up, fused=False, wrt=wrt)
        for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-4)):
            names = []
            y, found = compile_and_run(
                net, [a.astype(dtype) for a in (x, w, bias)], batched, up, wrt=wrt, kernels=names
            )
            for a, b in zip((y, *found), (value, *expected), strict=True):
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * abs(b).max())
            image = wrt[0] and kernel in (3, 5) and pool[0] == 2
            assert ("conv2d_pooled_parts" in names) == (image or not wrt[0])
            assert ("conv2d_pooled_input" in names) == image
            assert "conv2d_max_pool" in names or ci >= 20 or kernel == 1  # Winograd's and products are not joined
        y, _ = compile_and_run(net, [a.astype(np.float32) for a in (x, w, bias)], batched)
        np.testing.assert_allclose(y, value, rtol=1e-4, atol=1e-4 * abs(value).max())


def test_pool_behind_a_convolution_not_a_number():
    x, w = np.ones((1, 8, 8, 1), np.float32), np.ones((3, 3, 1, 2), np.float32)
    x[0, 0, 7] = np.nan
    y, _ = compile_and_run(lambda x, w: ops.max_pool(ops.conv(x, w), 2), [x, w], [True, False])
    assert np.isnan(y[0, 0, 2]).all() and np.isfinite(y).sum() == y.size - 2


def test_gradients_behind_a_pool_with_any_threads(threads):
    rng = np.random.RandomState(4)
    x, w = rng.randn(33, 14, 14, 6).astype(np.float32), rng.randn(5, 5, 6, 16).astype(np.float32)
    results = []
    for n in (1, 2, 5):
        threads(n)
        up = np.random.RandomState(5).randn(33, 5, 5, 16)
        results.append(compile_and_run(lambda x, w: ops.max_pool(ops.relu(ops.conv(x, w)), 2), [x, w], [True, False],
                                       up)[1])  # fmt: skip
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.array_equal(a, b)


def test_pooled_gradients_where_they_pay():
    pooled = lambda h, ci, co, k: ((h // 2, h // 2), cv.Geometry(h + k - 1, h + k - 1, ci, h, h, co, k, k))  # noqa: E731
    for (rows, columns), g in (pooled(28, 1, 6, 5), pooled(10, 6, 16, 5), pooled(32, 32, 32, 3), pooled(16, 64, 64, 3)):
        pool = (g.oh, g.ow, g.co, rows, columns, 2, 2, 2, 2, 0, 0)
        assert cv.pooled_kernel_fits(g, pool) and cv.pooled_pays(g, pool)
        assert g.ci == 1 or (cv.pooled_input_fits(g, pool) and cv.pooled_pays(g, pool, image=True))
    (rows, columns), g = pooled(26, 1, 32, 1)
    assert not cv.pooled_pays(g, (g.oh, g.ow, g.co, rows, columns, 2, 2, 2, 2, 0, 0))


def test_choice():
    """Winograd's algorithm where there are channels and pixels to repay its transforms."""
    g = lambda h, ci, co, **more: cv.Geometry(h, h, ci, h, h, co, 3, 3, **{"top": 1, "left": 1, **more})  # noqa: E731
    for size, ci, co in ((32, 32, 32), (16, 32, 64), (16, 64, 64), (32, 16, 16), (16, 32, 32), (8, 64, 64)):
        for float64 in (False, True):
            assert cv.choose(g(size, ci, co), float64) == cv._WINOGRAD
    for other in (g(32, 3, 32), g(32, 32, 1), g(4, 64, 64), g(32, 32, 32, sh=2, sw=2), g(32, 64, 64, groups=2)):
        assert cv.choose(other) != cv._WINOGRAD


def test_layer_errors():
    x = np.zeros((1, 4, 4, 2), np.float32)
    for call, words in [
        (lambda: layers.Conv2D(3, 5, name="edge")(x), "edge.*larger than the image"),
        (lambda: layers.Conv2D(3, 0), "kernel_size"),
        (lambda: layers.Conv2D(3, 3, strides=0), "strides"),
        (lambda: layers.Conv2D(3, -1), "kernel_size"),
        (lambda: layers.Conv2D(0, 3), "filters"),
        (lambda: layers.Conv2D(4, 3, groups=3), "groups"),
        (lambda: layers.Conv2D(3, 3, groups=3, name="edge")(x), "edge.*groups"),
        (lambda: layers.Conv2D(3, 3, padding="causal"), "padding"),
        (lambda: layers.Conv2D(3, 3, data_format="channels_first", name="edge"), "edge.*channels_last"),
        (lambda: layers.Conv2D(3, 3, strides=2, dilation_rate=2), "combined"),
        (lambda: layers.Conv2D(3, 3, name="edge")(x[0]), "edge.*rows"),
        (lambda: layers.Conv1D(3, 3, name="edge")(x), "edge.*steps"),
        (lambda: layers.Conv2DTranspose(3, 3, output_padding=1), "output_padding"),
        (lambda: layers.Cropping2D(2, name="edge")(x), "edge.*nothing"),
        (lambda: layers.ZeroPadding2D(-1), "padding"),
        (lambda: layers.UpSampling2D(2, interpolation="cubic"), "interpolation"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    layer = layers.Conv2D(3, 3, name="edge")
    layer(x)
    with pytest.raises(ValueError, match=r"edge.*channels"):
        layer(np.zeros((1, 4, 4, 5), np.float32))


def test_network_learns():
    """A small net on a task that needs position: which half of the image is brighter."""
    rng = np.random.RandomState(0)
    x = rng.standard_normal((512, 8, 8, 1)).astype(np.float32)
    y = (x[:, :4].mean((1, 2, 3)) > x[:, 4:].mean((1, 2, 3))).astype(np.int32)
    fastnn.utils.set_random_seed(1)
    model = fastnn.Sequential([
        fastnn.Input((8, 8, 1)), layers.Conv2D(8, 3, padding="same", use_bias=False), layers.BatchNormalization(),
        layers.ReLU(), layers.MaxPooling2D(), layers.SeparableConv2D(8, 3, activation="relu"),
        layers.SpatialDropout2D(0.1), layers.Flatten(), layers.Dense(2, activation="softmax"),
    ])  # fmt: skip
    model.compile(fastnn.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=32, epochs=20, verbose=0)
    assert history.history["accuracy"][-1] > 0.9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size, kernel, stride, before, after", [
    (1, 1, 2, 1, 0), (1, 1, 3, 2, 2), (1, 2, 2, 1, 1), (2, 3, 3, 1, 1), (2, 1, 4, 0, 2), (3, 2, 4, 2, 1),
    (5, 1, 2, 0, 0),
])  # fmt: skip
def test_the_gradient_by_the_image_writes_every_pixel(size, kernel, stride, before, after, dtype, rng):
    """Strides longer than the kernel or the image step over pixels, whose gradient is 0."""
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((2, size, size, 17), (kernel, kernel, 17, 5)))
    how = {"strides": stride, "padding": (before, before, after, after)}
    y = cv.conv2d(x, w, **how)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx = cv.conv2d_grad_input(dy, w, x.shape, out=np.full_like(x, np.nan), **how)
    assert np.isclose((y * dy).sum(), (dx * x).sum(), rtol=1e-4, atol=1e-3)
