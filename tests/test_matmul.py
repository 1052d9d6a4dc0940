"""Matrix products against NumPy in float64, at the sizes where tiles, panels and blocks end."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn import _core
from fastnn.kernels.products import ACTIVATIONS, GRADIENT_FROM_INPUT, matmul

FORMS = ("nn", "nt", "tn")
DTYPES = (np.float32, np.float64)
ALPHA = 0.3
SELU_SCALE, SELU_ALPHA = 1.05070098735548049342, 1.67326324235437728481


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# name: (value of z, derivative as a function of the output y, or of the input where matmul says so)
REFERENCE = {
    "relu": (lambda z: np.maximum(z, 0), lambda y: y > 0),
    "leaky_relu": (lambda z: np.where(z > 0, z, ALPHA * z), lambda y: np.where(y > 0, 1, ALPHA)),
    "sigmoid": (sigmoid, lambda y: y * (1 - y)),
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "elu": (lambda z: np.where(z > 0, z, ALPHA * np.expm1(z)), lambda y: np.where(y > 0, 1, y + ALPHA)),
    "selu": (
        lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(z)),
        lambda y: np.where(y > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA),
    ),
    "exponential": (np.exp, lambda y: y),
    "relu6": (lambda z: np.clip(z, 0, 6), lambda y: (y > 0) & (y < 6)),
    "hard_sigmoid": (lambda z: np.clip(z / 6 + 0.5, 0, 1), lambda y: np.where((y > 0) & (y < 1), 1 / 6, 0)),
    "softsign": (lambda z: z / (1 + abs(z)), lambda y: (1 - abs(y)) ** 2),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
}


def bound(magnitude, k, dtype):
    """Largest error allowed: `magnitude` is the sum of the terms' magnitudes. Rounding errors of a chain of k terms add
    up like a random walk, so sqrt(k) of them; 2 more for bias and accumulation."""
    return 2 * np.finfo(dtype).eps * (np.sqrt(k) + 2) * magnitude + np.finfo(dtype).tiny


class Problem:
    """Operands of one product with chosen leading dimensions, its reference and its run as a kernel."""

    def __init__(self, form, m, n, k, dtype=np.float32, seed=0, pad=(0, 0, 0), count=1):
        rng = np.random.default_rng(seed)
        self.form, self.m, self.n, self.k, self.dtype = form, m, n, k, np.dtype(dtype)
        shape_a = (k, m) if form == "tn" else (m, k)
        shape_b = (n, k) if form == "nt" else (k, n)
        self.a = self.padded(rng, (count, *shape_a), pad[0])
        self.b = self.padded(rng, (count, *shape_b), pad[1])
        self.pad_c, self.count = pad[2], count
        self.c = self.padded(rng, (count, m, n), pad[2])
        self.bias = rng.standard_normal(n).astype(dtype)

    def padded(self, rng, shape, pad):
        """Rows with `pad` elements behind each but the last of all, which must be neither needed nor changed."""
        *outer, rows, columns = shape
        whole = np.full((*outer, rows, columns + pad), np.nan, self.dtype)
        whole[..., :columns] = rng.standard_normal(shape)
        return whole

    def true(self):
        a = self.a[..., : self.m if self.form == "tn" else self.k].astype(np.float64)
        b = self.b[..., : self.k if self.form == "nt" else self.n].astype(np.float64)
        a = a.swapaxes(-1, -2) if self.form == "tn" else a
        b = b.swapaxes(-1, -2) if self.form == "nt" else b
        return a @ b, abs(a) @ abs(b)

    def ints(self, accumulate=0, activation=0, gradient=0, accumulate_sums=0):
        rows, inner = (self.k, self.m) if self.form == "tn" else (self.m, self.k)
        return (rows, self.n, inner, self.a.shape[-1], self.b.shape[-1], self.n + self.pad_c,
                accumulate, activation, gradient, accumulate_sums)  # fmt: skip

    def run(self, c, ints, *, bias=None, z=None, s=None, sums=None, alpha=ALPHA, cost=1e9, **more):
        operands = (c, self.a, self.b, bias, z, s, sums)
        _core.run("matmul_" + self.form, self.dtype == np.float64, operands, ints, (alpha,), cost=cost, **more)
        return c


@pytest.fixture(autouse=True)
def restore_threads():
    threads = _core.get_threads()
    yield
    _core.set_threads(threads)


def awkward(dtype):
    width = _core.cpu()["vector_width"][np.dtype(dtype).name]
    return sorted({1, 2, 3, 5, 7, 13, width - 1, width, width + 1, 4 * width + 1, 97} - {0})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_awkward_sizes(form, dtype):
    for m, n, k in itertools.product(awkward(dtype), repeat=3):
        p = Problem(form, m, n, k, dtype, seed=m + n + k)
        c = np.full((m, n), np.nan, dtype)
        p.run(c, p.ints(), cost=0)
        true, magnitude = p.true()
        assert (abs(c - true[0]) <= bound(magnitude[0], k, dtype)).all(), (m, n, k)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "m,n,k",
    [
        (49, 257, 513), (50, 300, 1025), (1, 1000, 1100), (1000, 1, 1100), (2, 520, 600), (9, 260, 130), (8, 33, 70),
        (300, 290, 10), (97, 130, 255), (130, 6, 2000), (257, 65, 256), (24, 66, 511), (25, 1030, 64),
    ],
)  # fmt: skip
def test_block_edges(form, dtype, m, n, k):
    p = Problem(form, m, n, k, dtype)
    true, magnitude = p.true()
    assert (abs(p.run(np.empty((m, n), dtype), p.ints()) - true[0]) <= bound(magnitude[0], k, dtype)).all()


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(FORMS), st.integers(0, 140), st.integers(0, 140), st.integers(0, 600), st.sampled_from(DTYPES),
    st.tuples(*[st.integers(0, 20)] * 3), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_random(form, m, n, k, dtype, pad, accumulate, with_bias, seed):
    p = Problem(form, m, n, k, dtype, seed, pad)
    before = p.c.copy()
    p.run(p.c, p.ints(accumulate), bias=p.bias if with_bias else None)
    true, magnitude = p.true()
    extra = np.zeros((m, n))
    if with_bias:
        extra = extra + p.bias
        magnitude = magnitude + abs(p.bias)
    if accumulate:
        extra = extra + before[0, :, :n]
        magnitude = magnitude + abs(before[0, :, :n])
    assert (abs(p.c[0, :, :n] - true[0] - extra) <= bound(magnitude[0], k, dtype)).all()
    np.testing.assert_array_equal(p.c[..., n:], before[..., n:])


SHAPES = [(5, 7, 9), (1, 300, 40), (300, 1, 40), (33, 70, 600), (60, 140, 20), (4, 40, 100)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", REFERENCE)
def test_activation(form, name, dtype):
    value, _ = REFERENCE[name]
    for m, n, k in SHAPES:
        for accumulate in (0, 1):
            p = Problem(form, m, n, k, dtype, pad=(1, 2, 3))
            p.a *= 1 / np.sqrt(k)
            before, z = p.c.copy(), np.full_like(p.c, 9)
            p.run(p.c, p.ints(accumulate, ACTIVATIONS[name]), bias=p.bias, z=z)
            true, magnitude = p.true()
            true = true[0] + p.bias + accumulate * before[0, :, :n]
            magnitude = magnitude[0] + abs(p.bias) + abs(before[0, :, :n])
            allowed = bound(magnitude, k, dtype)
            assert (abs(z[0, :, :n] - true) <= allowed).all(), (m, n, k)
            # activations have slopes up to max(1, exp(z)) and a few roundings of their own
            slope = np.maximum(1.1, np.exp(true)) if name == "exponential" else SELU_SCALE * SELU_ALPHA
            got = p.c[0, :, :n]
            allowed = slope * allowed + 16 * np.finfo(dtype).eps * (1 + abs(value(true)))
            assert (abs(got - value(true)) <= allowed).all(), (m, n, k)
            assert (z[..., n:] == 9).all()


@pytest.mark.parametrize("form", FORMS)
def test_relu_without_z_and_nan(form):
    for m, n, k in SHAPES:
        p = Problem(form, m, n, k)
        true, magnitude = p.true()
        c = p.run(np.full((m, n), np.nan, np.float32), p.ints(0, ACTIVATIONS["relu"]), bias=p.bias)
        allowed = bound(magnitude[0] + abs(p.bias), k, np.float32)
        assert (abs(c - np.maximum(true[0] + p.bias, 0)) <= allowed).all()
        p.bias[0] = np.nan  # goes on, is not hidden as 0
        assert np.isnan(p.run(c, p.ints(0, ACTIVATIONS["relu"]), bias=p.bias)[:, 0]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", REFERENCE)
def test_activation_gradient(form, name, dtype):
    value, derivative = REFERENCE[name]
    for m, n, k in SHAPES:
        for accumulate in (0, 1):
            p = Problem(form, m, n, k, dtype, pad=(0, 0, 2))
            s = np.random.default_rng(1).standard_normal(p.c.shape)
            s = (s if name in GRADIENT_FROM_INPUT else value(s)).astype(dtype)
            before = p.c.copy()
            p.run(p.c, p.ints(accumulate, 0, ACTIVATIONS[name]), s=s)
            true, magnitude = p.true()
            slope = derivative(s[0, :, :n].astype(np.float64))
            want = true[0] * slope + accumulate * before[0, :, :n]
            allowed = bound(magnitude[0] * (1 + abs(slope)) + abs(before[0, :, :n]), k + 16, dtype)
            assert (abs(p.c[0, :, :n] - want) <= allowed).all(), (m, n, k)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("accumulate", [0, 1])
def test_column_sums(dtype, accumulate):
    sizes = [(5, 7, 9), (60, 300, 700), (3, 1, 100), (70, 1, 2000), (1, 400, 30), (9, 9, 0)]
    sizes += [(1, n, k) for n in (1, 15, 17, 33, 64, 65, 127, 129, 260, 520) for k in (1, 2, 33)]
    for (m, n, k), apart in itertools.product(sizes, (0, 1)):
        p = Problem("tn", m, n, k, dtype, pad=(apart, 0 if n == 1 else 4 * apart, 0))
        sums = np.ones(n, dtype) if accumulate else np.full(n, np.nan, dtype)
        p.run(np.empty((m, n), dtype), p.ints(accumulate_sums=accumulate), sums=sums)
        b = p.b[0, :, :n].astype(np.float64)
        allowed = bound(abs(b).sum(0) + accumulate, k, dtype)
        assert (abs(sums - accumulate - b.sum(0)) <= allowed).all(), (m, n, k)


@pytest.mark.parametrize("form", FORMS)
def test_sizes_of_zero(form):
    for m, n, k in itertools.product((0, 3), repeat=3):
        p = Problem(form, m, n, k)
        c = np.full((m, n), np.nan, np.float32)
        p.run(c, p.ints(), bias=p.bias)
        true, _ = p.true()
        np.testing.assert_allclose(c, true[0] + p.bias, rtol=1e-5)


AT_THE_END = """
import ctypes, itertools, mmap
import numpy as np
from fastnn import _core

page, pages = mmap.PAGESIZE, 16
memory = mmap.mmap(-1, (pages + 1) * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + pages * page), page, 0) == 0
for form, m, n, k, pad in itertools.product(("nn", "nt", "tn"), (3, 17, 47), (1, 5, 17), (9, 35), (3, 7)):
    (rows, a), b = ((k, m), n) if form == "tn" else ((m, k), k if form == "nt" else n)
    c, other = np.empty((m, n), np.float32), np.ones((n if form == "nt" else k) * (b + pad), np.float32)
    at_end = start + pages * page - 4 * ((rows - 1) * (a + pad) + a)
    _core.run("matmul_" + form, False, (c, at_end, other, None, None, None, None), (rows, n, m if form == "tn" else k,
              a + pad, b + pad, n, 0, 0, 0, 0), (0.0,))
    at_end = start + pages * page - 4 * ((len(other) // (b + pad) - 1) * (b + pad) + b)
    other = np.ones(rows * (a + pad), np.float32)
    _core.run("matmul_" + form, False, (c, other, at_end, None, None, None, None), (rows, n, m if form == "tn" else k,
              a + pad, b + pad, n, 0, 0, 0, 0), (0.0,))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="protects a page of memory")
@pytest.mark.parametrize("isa", _core.isas())
def test_nothing_is_read_behind_the_last_row(isa):
    """The last row of an operand ends where memory does, however far apart its rows are."""
    done = subprocess.run([sys.executable, "-c", AT_THE_END], env={**os.environ, "FASTNN_ISA": isa})
    assert done.returncode == 0


THREADED = [(513, 513, 300), (25, 600, 520), (2000, 6, 25), (1, 2000, 600), (2000, 1, 300), (100, 100, 2000)]


@pytest.mark.parametrize("form", FORMS)
def test_same_bits_for_any_number_of_threads(form):
    for m, n, k in THREADED:
        p = Problem(form, m, n, k)
        sums = np.empty(n, np.float32) if form == "tn" else None
        results = []
        for threads in (1, 2, 3, 8):
            _core.set_threads(threads)
            c = p.run(np.empty((m, n), np.float32), p.ints(), sums=sums)
            results.append((c, None if sums is None else sums.copy()))
        for c, d in results[1:]:
            np.testing.assert_array_equal(c, results[0][0])
            np.testing.assert_array_equal(d, results[0][1])


@pytest.mark.parametrize("form", ["nn", "nt"])
@pytest.mark.parametrize("n,k", [(70, 600), (1, 70), (300, 9), (40, 64)])
def test_same_bits_for_any_chunk_of_rows(form, n, k):
    """A plan takes a batched product's samples in chunks; each sample has 3 rows here."""
    samples, rows = 41, 3
    p = Problem(form, samples * rows, n, k)
    ints = (rows, *p.ints(0, ACTIVATIONS["relu"])[1:])
    want = p.run(np.empty((p.m, n), np.float32), ints, bias=p.bias, rows=samples)
    for chunk, threads in itertools.product((0, 1, 2, 7, 40), (1, 3)):
        c = np.full((p.m, n), np.nan, np.float32)
        op = ("matmul_" + form, (c, p.a, p.b, p.bias), ints, (), True, 1e6, _core.ROWS, chunk)
        _core.set_threads(threads)
        assert _core.Plan(False, [op], None).run(0, samples, samples) == samples
        np.testing.assert_array_equal(c, want)


def test_short_batch():
    """A batched product with fewer samples than capacity touches no other rows."""
    p = Problem("nn", 12, 5, 6)
    c = np.full((12, 5), 9, np.float32)
    p.run(c, (2, *p.ints()[1:]), rows=3)
    np.testing.assert_allclose(c[:6], p.true()[0][0][:6], rtol=1e-4, atol=1e-5)
    assert (c[6:] == 9).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("m,n,k", [(3, 5, 7), (60, 300, 20), (1, 200, 30)])
def test_stacked_products(form, m, n, k):
    p = Problem(form, m, n, k, count=5)
    strides = (m * k, k * n, m * n)
    true, magnitude = p.true()
    for threads in (1, 3):
        _core.set_threads(threads)
        c = p.run(np.full((5, m, n), np.nan, np.float32), (*p.ints(), 5, *strides))
        assert (abs(c - true) <= bound(magnitude, k, np.float32)).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("split", [_core.ROWS, _core.BLOCKS])
def test_products_of_each_sample(form, split):
    """Attention-like: 4 samples of 3 heads each, every head a product of its own."""
    m, n, k, samples, heads = 6, 9, 10, 4, 3
    p = Problem(form, m, n, k, count=samples * heads)
    strides = (m * k, k * n, m * n)
    ints = (*p.ints(), heads, *strides, 1, *(heads * s for s in strides))
    true, magnitude = p.true()
    for threads in (1, 3):
        _core.set_threads(threads)
        c = p.run(np.full((samples * heads, m, n), np.nan, np.float32), ints, rows=samples, split=split)
        assert (abs(c - true) <= bound(magnitude, k, np.float32)).all()


def test_long_sums_stay_accurate():
    """Partial sums: the error of a weight gradient over 1e5 rows stays near that of a short product."""
    k = 100_000
    p = Problem("tn", 7, 20, k)
    p.a, p.b = abs(p.a), abs(p.b)
    true, _ = p.true()
    relative = abs(p.run(np.empty((7, 20), np.float32), p.ints()) / true[0] - 1).max()
    assert relative < 2e-5


# ---- on arrays ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_function(dtype):
    rng = np.random.default_rng(0)
    a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((9, 5), (5, 7), (7,)))
    tolerance = {"rtol": 100 * np.finfo(dtype).eps, "atol": 100 * np.finfo(dtype).eps}
    np.testing.assert_allclose(matmul(a, b), a @ b, **tolerance)
    np.testing.assert_allclose(matmul(a.T.copy(), b, transpose_a=True), a @ b, **tolerance)
    np.testing.assert_allclose(matmul(a, b.T.copy(), transpose_b=True), a @ b, **tolerance)
    out = np.ones((9, 7), dtype)
    assert matmul(a, b, out, accumulate=True, bias=bias, activation="relu") is out
    np.testing.assert_allclose(out, np.maximum(a @ b + 1 + bias, 0), **tolerance)
    stack_a, stack_b = np.stack([a, 2 * a]), np.stack([b, b])
    np.testing.assert_allclose(matmul(stack_a, stack_b, bias=bias), stack_a @ stack_b + bias, **tolerance)
    assert matmul(a, b).dtype == dtype
    assert matmul([[1, 2]], [[3], [4]]).item() == 11
    assert matmul(np.zeros((0, 3, 4), dtype), np.zeros((0, 4, 2), dtype)).shape == (0, 3, 2)


@pytest.mark.parametrize(
    "change,error,message",
    [
        ({"a": np.ones((2, 3), np.float16)}, TypeError, "a must be float32 or float64, got float16"),
        ({"a": np.ones((2, 3))}, TypeError, "one dtype"),
        ({"a": np.ones((3, 2), np.float32)}, ValueError, "a has 2 columns and b has 3 rows"),
        ({"a": np.ones((3, 2), np.float32).T}, ValueError, "a must be C-contiguous"),
        ({"a": np.ones(3, np.float32)}, ValueError, "matrices"),
        ({"bias": np.ones(3, np.float32)}, ValueError, r"bias must have shape \(4,\)"),
        ({"bias": np.ones(4)}, TypeError, "one dtype"),
        ({"out": np.ones((3, 4), np.float32)}, ValueError, r"out must have shape \(2, 4\), got \(3, 4\)"),
        ({"out": np.ones((2, 4))}, TypeError, "out must be float32"),
        ({"out": [[1.0] * 4] * 2}, TypeError, "out must be a numpy array"),
        ({"out": np.ones((4, 2), np.float32).T}, ValueError, "out must be C-contiguous"),
        ({"out": np.broadcast_to(np.float32(1), (2, 4))}, ValueError, "out"),
        ({"activation": "gulp"}, ValueError, "activation must be one of"),
        ({"accumulate": True}, ValueError, "pass the array to add to as out="),
        ({"transpose_a": True, "transpose_b": True}, ValueError, "cannot both be True"),
        ({"a": "text"}, TypeError, "a must be an array"),
    ],
)
def test_wrong_arguments(change, error, message):
    arguments = {"a": np.ones((2, 3), np.float32), "b": np.ones((3, 4), np.float32), **change}
    with pytest.raises(error, match=f"matmul: .*{message}"):
        matmul(**arguments)


def test_overlap_and_read_only():
    whole = np.zeros((6, 4), np.float32)
    with pytest.raises(ValueError, match="out must not share memory with a"):
        matmul(whole[:4], np.ones((4, 4), np.float32), whole[2:])
    out = np.zeros((4, 4), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        matmul(whole[:4], np.ones((4, 4), np.float32), out)


def test_ceiling_kernels():
    for float64, dtype in enumerate(DTYPES):
        width = _core.cpu()["vector_width"][np.dtype(dtype).name]
        sink, source = np.zeros(2 * width, dtype), np.arange(16 * width, dtype=dtype)
        _core.run("measure_fma", float64, (sink,), (2, 10))
        assert np.isfinite(sink).all() and sink.any()
        _core.run("measure_read", float64, (sink, source), (2, 8 * width, 3))
        assert sink.sum() == 3 * source.sum()
        target = np.zeros_like(source)
        _core.run("measure_copy", float64, (target, source), (2, 8 * width, 2))
        np.testing.assert_array_equal(target, source)
