"""fastnn.ops three ways: at once against NumPy, compiled against at once, gradients against central differences."""

import itertools

import numpy as np
import pytest
from reference import LOSSES, UNARY, Call
from traced import central_differences, compile_and_run

from fastnn import graph, ops
from fastnn.ops import nn
from fastnn.variables import Variable

B = "B"  # a dimension that counts samples in the batched form of a case
ROWS = 3


def draw(rng, shape, low=-2.0, high=2.0):
    shape = tuple(ROWS if d == B else d for d in shape)
    x = rng.uniform(low, high, shape)
    return np.where(np.abs(x) < 0.05, x + 0.1, x)  # away from kinks at 0


def check(f, g, shapes, rng, *, low=-2.0, high=2.0, gradient=True, arrays=None):
    """f with fastnn.ops against g with NumPy, in all ways; shapes that lead with B are also tried as batches."""
    arrays = [draw(rng, s, low, high) for s in shapes] if arrays is None else arrays
    expected = np.asarray(g(*arrays))
    for dtype, tolerance in (("float64", 1e-12), ("float32", 3e-6)):
        given = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
        found = f(*given)
        assert found.shape == expected.shape
        near(found, expected, tolerance)
        assert found.dtype == dtype or found.dtype == np.int32
        forms = [[False] * len(shapes)]
        if any(s[:1] == (B,) for s in shapes):
            forms.append([s[:1] == (B,) for s in shapes])
        for batched in forms:
            compiled, _ = compile_and_run(f, given, batched)
            assert np.array_equal(compiled, found), "compiled and immediate results differ"
    if not gradient:
        return
    upstream = rng.uniform(-1, 1, expected.shape)
    expected = central_differences(g, arrays, upstream)
    for batched in forms:
        for fused in (False, True):
            _, found = compile_and_run(f, arrays, batched, upstream, fused=fused)
            for a, e in zip(found, expected, strict=True):
                near(np.zeros_like(e) if a is None else a, e, 1e-6)


def near(found, expected, tolerance):
    scale = max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


# ---- one operand ----

FUNCTIONS = [
    ("relu", "relu", ()), ("leaky_relu", "leaky_relu", (0.3,)), ("elu", "elu", (0.7,)), ("celu", "celu", (0.7,)),
    ("selu", "selu", ()), ("sigmoid", "sigmoid", ()), ("tanh", "tanh", ()), ("relu6", "relu6", ()),
    ("silu", "swish", ()), ("softplus", "softplus", ()), ("softsign", "softsign", ()),
    ("hard_sigmoid", "hard_sigmoid", ()), ("hard_swish", "hard_swish", ()), ("hard_silu", "hard_swish", ()),
    ("hard_tanh", "hard_tanh", ()), ("hard_shrink", "hard_shrink", (0.6,)), ("soft_shrink", "soft_shrink", (0.6,)),
    ("tanh_shrink", "tanh_shrink", ()), ("threshold", "threshold", (0.4, -1.0)), ("mish", "mish", ()),
    ("log_sigmoid", "log_sigmoid", ()), ("squareplus", "squareplus", (3.0,)), ("exp", "exp", ()),
    ("expm1", "expm1", ()), ("square", "square", ()), ("abs", "abs", ()), ("absolute", "abs", ()),
    ("negative", "negative", ()), ("sin", "sin", ()), ("cos", "cos", ()), ("erf", "erf", ()),
    ("affine", "affine", (1.5, -0.5)), ("clip", "clip", (-0.9, 1.1)), ("copy", "copy", ()), ("swish", "swish", (1.3,)),
    ("reciprocal", "reciprocal", ()),
]  # fmt: skip
POSITIVE = [("log", "log", ()), ("log1p", "log1p", ()), ("sqrt", "sqrt", ()), ("rsqrt", "rsqrt", ())]
FLAT = ["sign", "floor", "ceil", "round"]


@pytest.mark.parametrize("shape", [(B, 5), (B, 2, 17), (7,), ()], ids=str)
@pytest.mark.parametrize("name,known,parameters", FUNCTIONS + POSITIVE, ids=lambda v: v if isinstance(v, str) else "")
def test_function(name, known, parameters, shape, rng):
    defaults = {"silu": (1.0,)}
    a, b = (*(parameters or defaults.get(name, ())), 0.0, 0.0)[:2]
    low = 0.2 if (name, known, parameters) in POSITIVE else -2.0
    if name == "relu6":
        low, high = -2.0, 8.0
    else:
        high = 2.0 if "hard_s" not in name else 5.0
    check(lambda x: getattr(ops, name)(x, *parameters), lambda x: UNARY[known][0](x, a, b), [shape], rng, low=low,
          high=high)  # fmt: skip


@pytest.mark.parametrize("approximate,known", [(True, "gelu_tanh"), (False, "gelu"), ("sigmoid", "gelu_sigmoid")])
def test_gelu(approximate, known, rng):
    check(lambda x: ops.gelu(x, approximate), lambda x: UNARY[known][0](x, 0, 0), [(B, 9)], rng)


@pytest.mark.parametrize("name", FLAT)
def test_piecewise_constant(name, rng):
    check(getattr(ops, name), getattr(np, name), [(B, 7)], rng)


def test_predicates():
    x = np.array([1.0, np.nan, np.inf, -np.inf, 0.0])
    assert ops.isnan(x).tolist() == [0, 1, 0, 0, 0]
    assert ops.isfinite(x).tolist() == [1, 0, 0, 0, 1]
    assert ops.logical_not(x).tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("log", [False, True])
def test_softmax(log, axis, rng):
    def plain(x):
        e = np.exp(x - x.max(axis, keepdims=True))
        y = e / e.sum(axis, keepdims=True)
        return np.log(y) if log else y

    f = ops.log_softmax if log else ops.softmax
    check(lambda x: f(x, axis), plain, [(B, 4, 6)], rng)


# ---- two operands ----

BROADCASTS = [
    ((B, 4), (B, 4)), ((B, 4), (4,)), ((4,), (B, 4)), ((B, 1), (B, 4)), ((B, 4), (B, 1)), ((B, 4), ()), ((), (B, 4)),
    ((B, 3, 4), (3, 1)), ((B, 3, 4), (B, 1, 4)), ((B, 1, 4), (3, 1)), ((B, 2, 3, 4), (B, 1, 3, 1)),
    ((B, 2, 3), (B, 1, 1)), ((1,), (B, 4)), ((1, 4), (B, 4)), ((2, 1, 3), (4, 1)), ((B, 1), (1, 5)), ((B,), (B,)),
]  # fmt: skip
BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "squared_difference": lambda a, b: (a - b) ** 2, "power": np.power,
}  # fmt: skip
COMPARISONS = ["equal", "not_equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or"]


@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
@pytest.mark.parametrize("name", list(BINARY))
def test_arithmetic(name, shapes, rng):
    low = 0.3 if name in ("divide", "power") else -2.0
    check(getattr(ops, name), BINARY[name], shapes, rng, low=low)


@pytest.mark.parametrize("shapes", BROADCASTS[:8], ids=str)
@pytest.mark.parametrize("name", [*COMPARISONS, "floor_divide"])
def test_comparisons(name, shapes, rng):
    arrays = [np.round(draw(rng, s)) + (0.0 if name != "floor_divide" else 0.3) for s in shapes]
    check(getattr(ops, name), getattr(np, name), shapes, rng, gradient=False, arrays=arrays)


def test_equal_ones_share_the_gradient_of_maximum():
    x = np.array([1.0, 2.0, 3.0])
    for f in (ops.maximum, ops.minimum):
        _, (a, b) = compile_and_run(f, [x, x.copy()], [False, False], np.ones(3))
        assert a.tolist() == b.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("shapes", [((B, 4), (B, 4), (B, 4)), ((B, 1), (4,), ()), ((B, 4), (), (B, 4)),
                                    ((4,), (B, 4), (B, 1)), ((B, 3, 1), (4,), (B, 1, 4))], ids=str)  # fmt: skip
def test_where(shapes, rng):
    arrays = [draw(rng, s) for s in shapes]
    arrays[0] = (arrays[0] > 0).astype(float)
    upstream_free = arrays[0]

    def plain(c, a, b):
        return np.where(upstream_free != 0, a, b)

    check(ops.where, plain, shapes, rng, arrays=arrays)


def test_operators_of_tensors(rng):
    def f(x, w):
        return (2.0 * x + 1.0 - x / 3.0) @ w * -(x[:, :1] ** 2) + abs(1.0 / (x[:, 1:2] + 4.0)) - (3.0 - w[0])

    def g(x, w):
        return (2.0 * x + 1.0 - x / 3.0) @ w * -(x[:, :1] ** 2) + abs(1.0 / (x[:, 1:2] + 4.0)) - (3.0 - w[0])

    arrays = [draw(rng, (ROWS, 4)), draw(rng, (4, 5))]
    y, _ = compile_and_run(f, arrays, [True, False])
    near(y, g(*arrays), 1e-12)
    upstream = rng.normal(size=y.shape)
    _, found = compile_and_run(f, arrays, [True, False], upstream)
    for a, e in zip(found, central_differences(g, arrays, upstream), strict=True):
        near(a, e, 1e-6)


# ---- reductions ----

REDUCTIONS = {
    "sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod, "var": np.var, "std": np.std,
    "logsumexp": lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims)),
    "norm": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)),
}  # fmt: skip
AXES = [None, *(c for n in range(1, 5) for c in itertools.combinations(range(4), n))]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", list(REDUCTIONS))
def test_reductions(name, keepdims, rng):
    x = draw(rng, (2, 3, 2, 4), 0.2)
    for axis in AXES:

        def f(x, axis=axis):
            return getattr(ops, name)(x, axis=axis, keepdims=keepdims)

        def g(x, axis=axis):
            return REDUCTIONS[name](x, axis=axis, keepdims=keepdims)

        expected = np.asarray(g(x))
        near(f(x), expected, 1e-12)
        near(f(x.astype(np.float32)), expected, 1e-5)
        upstream = rng.uniform(-1, 1, expected.shape)
        slopes = central_differences(g, [x], upstream)[0]
        for batched in (False, True):
            over_batch = axis is None or 0 in axis
            if batched and over_batch and name not in ("sum", "mean"):
                if name in ("var", "std", "norm"):
                    continue
                with pytest.raises(ValueError, match="over the batch"):
                    compile_and_run(f, [x], [True])
                continue
            y, (dx,) = compile_and_run(f, [x], [batched], upstream)
            near(y, expected, 1e-12)
            near(dx, slopes, 1e-6)


@pytest.mark.parametrize("name", ["argmax", "argmin", "any", "all"])
@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_positions_and_truth(name, axis, rng):
    x = np.round(draw(rng, (4, 3, 5)))
    expected = getattr(np, name)(x, axis=axis)
    assert np.array_equal(getattr(ops, name)(x, axis=axis), expected)
    for batched in (False, True):
        y, _ = compile_and_run(lambda x: getattr(ops, name)(x, axis=axis), [x], [batched])
        assert np.array_equal(y, expected)


# ---- movement ----

INDICES = [
    (slice(None), 1), (slice(None), slice(1, 3)), (slice(None), slice(None, None, -1)),
    (slice(None), slice(None, None, 2)),
    (slice(None), slice(-1, None), None), (..., 0), (..., None, slice(1, 4, 2)),
    (slice(None), 2, slice(None, None, -2)),
    (slice(None), None, slice(0, 0)), (slice(None),),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing(index, rng):
    check(lambda x: ops.getitem(x, index), lambda x: x[index], [(B, 4, 5)], rng)


def test_indexing_without_a_batch(rng):
    for index in [0, -1, slice(1, None), (1, slice(None, None, -1)), (..., 2)]:
        x = draw(rng, (3, 4))
        y, (dx,) = compile_and_run(lambda x, i=index: x[i], [x], [False], np.ones_like(x[index]))
        expected = np.zeros_like(x)
        expected[index] = 1
        assert np.array_equal(y, x[index]) and np.array_equal(dx, expected)


@pytest.mark.parametrize("f,g", [
    (lambda x: ops.reshape(x, (-1, 6)), None), (lambda x: ops.flatten(x), None),
    (lambda x: ops.transpose(x, (0, 2, 1)), lambda x: x.transpose(0, 2, 1)),
    (lambda x: ops.swapaxes(x, 1, -1), lambda x: x.swapaxes(1, -1)),
    (lambda x: ops.expand_dims(x, 1), lambda x: x[:, None]), (lambda x: ops.expand_dims(x, -1), lambda x: x[..., None]),
    (lambda x: ops.squeeze(x[:, :1], 1), lambda x: x[:, 0]), (lambda x: ops.flip(x, -1), lambda x: x[..., ::-1]),
    (lambda x: ops.flip(x, (1, 2)), lambda x: x[:, ::-1, ::-1]),
    (lambda x: ops.stack([x, x * x], axis=1), lambda x: np.stack([x, x * x], 1)),
    (lambda x: ops.stack([x, x], axis=-1), lambda x: np.stack([x, x], -1)),
    (lambda x: ops.concatenate([x, x * x, x[:, :1]], axis=1), lambda x: np.concatenate([x, x * x, x[:, :1]], 1)),
    (lambda x: ops.concatenate([x, x * x], axis=-1), lambda x: np.concatenate([x, x * x], -1)),
    (lambda x: ops.split(x, 3, axis=2)[1], lambda x: x[:, :, 1:2]),
    (lambda x: ops.split(x, [1], axis=1)[1], lambda x: x[:, 1:]),
    (lambda x: ops.zeros_like(x) + x, lambda x: x), (lambda x: ops.ones_like(x) * x, lambda x: x),
    (lambda x: ops.add(ops.stop_gradient(x) * 0.0, x), lambda x: x),
], ids=lambda f: "")  # fmt: skip
def test_movement(f, g, rng):
    g = g or (lambda x: x.reshape(ROWS, 6))
    check(f, g, [(B, 2, 3)], rng)


@pytest.mark.parametrize("before,after", [((B, 1), (B, 4)), ((4,), (2, 3, 4)), ((B, 1, 3), (B, 2, 3)), ((), (2, 2)),
                                          ((1, 3, 1), (5, 3, 2))], ids=str)  # fmt: skip
def test_broadcast_to(before, after, rng):
    shape = tuple(ROWS if d == B else d for d in after)

    def f(x):
        batched = isinstance(x, graph.Tensor) and x.batched
        return ops.broadcast_to(x, (None, *shape[1:]) if batched else shape)

    check(f, lambda x: np.broadcast_to(x, shape), [before], rng)


def test_transposes_of_many_dimensions(rng):
    for axes in itertools.permutations(range(1, 5)):
        order = (0, *axes)
        x = draw(rng, (2, 2, 3, 4, 5))
        y, (dx,) = compile_and_run(lambda x, o=order: ops.transpose(x, o), [x], [True], x.transpose(order))
        assert np.array_equal(y, x.transpose(order)) and np.array_equal(dx, x)
    assert np.array_equal(ops.transpose(x), x.T)


@pytest.mark.parametrize("ids", [[0, 2, 2, 1], [[1, 1], [3, 0]]])
def test_take(ids, rng):
    table, ids = draw(rng, (4, 3)), np.array(ids, np.int32)
    for batched in (False, True):
        upstream = rng.normal(size=(*ids.shape, 3))
        y, (dtable,) = compile_and_run(ops.take, [table, ids], [False, batched], upstream)
        expected = np.zeros_like(table)
        np.add.at(expected, ids, upstream)
        assert np.array_equal(y, table[ids]) and np.array_equal(ops.take(table, ids), table[ids])
        near(dtable, expected, 1e-12)


def test_casts_and_one_hot(rng):
    x = np.array([-1.7, 0.2, 3.9])
    assert ops.cast(x, "int32").tolist() == [-1, 0, 3]
    y, _ = compile_and_run(lambda x: ops.cast(ops.cast(x, "int32"), "float64"), [x], [True])
    assert y.tolist() == [-1, 0, 3]
    ids = np.array([2, 0, 1])
    assert np.array_equal(ops.one_hot(ids, 4), np.eye(4)[ids])
    y, _ = compile_and_run(lambda x: ops.one_hot(x, 4, dtype="float64"), [ids.astype(float)], [True])
    assert np.array_equal(y, np.eye(4)[ids])


# ---- products ----

PRODUCTS = [
    ((B, 4), (4, 5)), ((B, 2, 4), (4, 5)), ((B, 2, 3, 4), (4, 2)), ((B, 2, 4), (B, 4, 3)),
    ((B, 2, 3, 4), (B, 2, 4, 5)), ((B, 4, 2, 3), (B, 1, 3, 2)), ((B, 1, 4), (B, 4, 1)), ((2, 4), (4,)), ((4,), (4, 3)),
    ((2, 3, 4), (2, 4, 2)), ((1, 3, 4), (5, 4, 2)), ((2, 3, 3, 4), (2, 3, 4, 2)), ((B, 4), (4,)), ((B, 2, 3), (3, 1)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", PRODUCTS, ids=str)
def test_matmul(shapes, rng):
    check(ops.matmul, np.matmul, shapes, rng)


@pytest.mark.parametrize("shapes", [((B, 2, 4), (B, 3, 4)), ((B, 2, 3, 4), (B, 2, 5, 4))], ids=str)
def test_transposed_products_of_each_sample(shapes, rng):
    """The gradients of a product are products with transposes: a second derivative meets all their forms."""

    def f(a, b):
        axes = (*range(len(a.shape) - 2), len(a.shape) - 1, len(a.shape) - 2)
        return ops.matmul(a, ops.transpose(b, axes))

    check(f, lambda a, b: a @ b.swapaxes(-1, -2), shapes, rng)


def test_vector_products(rng):
    x = draw(rng, (4,))
    near(ops.matmul(x, x), np.asarray(x @ x), 1e-12)
    check(ops.tensordot_last, lambda a, b: (a * b).sum(-1), [(B, 3, 4), (B, 3, 4)], rng)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh", "elu", "selu"])
def test_fused_products_are_the_plain_ones(activation, rng):
    """Bias, activation and their gradients joined to products against each on its own."""

    def f(x, w, b, v):
        return ops.matmul(getattr(ops, activation)(ops.matmul(x, w) + b), v)

    arrays = [draw(rng, s) for s in ((5, 3), (3, 6), (6,), (6, 2))]
    upstream = rng.normal(size=(5, 2))
    plain = compile_and_run(f, arrays, [True, False, False, False], upstream, fused=False)
    fused = compile_and_run(f, arrays, [True, False, False, False], upstream)
    near(fused[0], plain[0], 1e-13)
    for a, b in zip(fused[1], plain[1], strict=True):
        near(a, b, 1e-13)


# ---- losses ----


@pytest.mark.parametrize("kind", list(LOSSES))
def test_row_losses(kind, rng):
    columns, parameter = 5, {"huber": 0.8, "softmax_crossentropy": 0.1}.get(kind, 0.0)
    y = rng.uniform(0.1, 0.9, (4, columns))
    if kind in nn.SPARSE:
        t = rng.integers(0, columns, 4).astype(np.int32)
        full = np.eye(columns)[t]
    else:
        t = full = rng.uniform(0.05, 1, (4, columns))
        if "hinge" in kind:
            t = full = np.eye(columns)[rng.integers(0, columns, 4)]
    call = Call(kind, [], (4, columns, 0), (parameter,), 4, None)

    def g(y):
        return LOSSES[kind](y, full, parameter, call)[0]

    near(nn.row_loss(kind, t, y, parameter), g(y), 1e-12)
    upstream = rng.normal(size=4)
    for batched in (False, True):
        f = lambda y, t: nn.row_loss(kind, t, y, parameter)  # noqa: E731
        value, found = compile_and_run(f, [y, t], [batched, batched], upstream)
        near(value, g(y), 1e-12)
        near(found[0], central_differences(g, [y], upstream)[0], 1e-5)


def test_probabilities_are_taken_back_to_their_logits(rng):
    """The loss of a softmax (sigmoid) is that of its logits: no cut at 1e-7, however sure the model is."""
    z = np.array([[60.0, 0.0, -60.0]])
    t = np.array([[0.0, 0.0, 1.0]])
    y, (dz,) = compile_and_run(lambda z: ops.sparse_categorical_crossentropy(np.array([2]), ops.softmax(z)), [z],
                               [False], np.ones(1))  # fmt: skip
    near(y, np.array([120.0]), 1e-12)
    near(dz, np.array([[1.0, 0.0, -1.0]]), 1e-12)
    y, (dz,) = compile_and_run(lambda z: ops.binary_crossentropy(t, ops.sigmoid(z)), [z], [False], np.ones((1, 3)))
    near(y, np.array([[60.0, np.log(2), 60.0]]), 1e-12)
    near(dz, np.array([[1.0, 0.5, -1.0]]), 1e-12)


# ---- errors ----


def tensor(*shape, dtype="float32"):
    return graph.input_tensor(shape, dtype)


ERRORS = [
    (lambda: ops.matmul(np.ones((2, 3)), np.ones((4, 5))), ValueError, "matmul.*(2, 3).*(4, 5)"),
    (lambda: ops.matmul(1.0, np.ones((4, 5))), ValueError, "matmul"),
    (lambda: ops.matmul(tensor(None, 2, 3), tensor(None, 4, 5)), ValueError, "matmul"),
    (lambda: ops.add(np.ones(3), np.ones(4)), ValueError, "add.*do not fit"),
    (lambda: ops.add(tensor(None, 3), np.ones((5, 3))), ValueError, "batch"),
    (lambda: tensor(None, 3) + tensor(3, None), ValueError, "batch"),
    (lambda: ops.sum(np.ones((2, 3)), axis=2), ValueError, "sum.*axis 2"),
    (lambda: ops.sum(np.ones((2, 3)), axis=(0, 0)), ValueError, "twice"),
    (lambda: ops.max(tensor(None, 3)), ValueError, "over the batch"),
    (lambda: ops.softmax(np.ones(()), axis=-1), ValueError, "axis"),
    (lambda: ops.reshape(tensor(None, 6), (None, 4)), ValueError, "reshape.*6 elements a sample"),
    (lambda: ops.reshape(np.ones(6), (-1, -1)), ValueError, "only one"),
    (lambda: ops.reshape(tensor(None, 6), (6,)), ValueError, "batch stays first"),
    (lambda: ops.transpose(tensor(None, 2, 3), (1, 0, 2)), ValueError, "batch must stay first"),
    (lambda: ops.transpose(np.ones((2, 3)), (0, 0)), ValueError, "no order"),
    (lambda: ops.expand_dims(tensor(None, 2), 0), ValueError, "before the batch"),
    (lambda: ops.squeeze(np.ones((2, 3)), 1), ValueError, "is not 1"),
    (lambda: ops.broadcast_to(np.ones((2, 3)), (2, 4)), ValueError, "broadcast_to"),
    (lambda: ops.concatenate([np.ones((2, 3)), np.ones((3, 3))], axis=1), ValueError, "differ outside axis 1"),
    (lambda: ops.concatenate([tensor(None, 3), tensor(None, 3)], axis=0), ValueError, "along the batch"),
    (lambda: ops.concatenate([]), ValueError, "at least one"),
    (lambda: ops.split(np.ones((2, 5)), 2, axis=1), ValueError, "2 equal pieces"),
    (lambda: ops.take(np.ones((3, 2)), [3]), ValueError, r"0\.\.2"),
    (lambda: ops.take(np.ones((3, 2)), [0], axis=1), ValueError, "only axis=0"),
    (lambda: ops.clip(np.ones(3), 2, 1), ValueError, "x_min"),
    (lambda: ops.gelu(np.ones(3), approximate="fast"), ValueError, "approximate"),
    (lambda: ops.cast(np.ones(3), "complex64"), ValueError, "dtype"),
    (lambda: ops.cast(tensor(None, 3), "float64"), TypeError, "one float type"),
    (lambda: ops.one_hot(np.array([1]), 3, axis=0), ValueError, "axis=-1"),
    (lambda: ops.exp(np.array(["a"])), TypeError, "number"),
    (lambda: ops.exp(None), TypeError, "number"),
    (lambda: ops.add(tensor(None, 3), tensor(None, 3, dtype="float64")), TypeError, "do not mix"),
    (lambda: tensor(None, 4)[0], IndexError, "along the batch"),
    (lambda: tensor(None, 4)[:, 4], IndexError, "out of range"),
    (lambda: tensor(None, 4)[:, 1, 2], IndexError, "too many"),
    (lambda: tensor(None, 4)[:, [1, 2]], TypeError, "indexed by"),
    (lambda: bool(tensor(None, 4) > 0), TypeError, "where"),
    (lambda: np.exp(tensor(None, 4)), TypeError, "ufunc|symbolic"),
    (lambda: len(tensor(None, 4)), TypeError, "length"),
    (lambda: list(tensor(None, 4)), TypeError, "iterated"),
    (lambda: ops.categorical_crossentropy(np.ones((2, 3)), np.ones((2, 4))), ValueError, "targets must have shape"),
    (lambda: ops.sparse_categorical_crossentropy([0, 3], np.ones((2, 3))), ValueError, r"0\.\.2"),
    (lambda: ops.sparse_categorical_crossentropy([0, 1, 2], np.ones((2, 3))), ValueError, "class ids must have shape"),
    (lambda: Variable(np.ones(3)).assign(np.ones(4)), ValueError, "shape"),
    (lambda: Variable(np.array(["a"])), TypeError, "dtype"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors(number):
    f, error, words = ERRORS[number]
    with pytest.raises(error, match=words):
        f()


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4)])
def test_no_elements(shape):
    x = np.ones(shape)
    assert ops.exp(x).shape == shape
    assert ops.add(x, 1.0).shape == shape
    assert ops.sum(x) == 0
    assert ops.concatenate([x, x], axis=0).shape == (2 * shape[0], *shape[1:])
    assert np.array_equal(ops.sum(x, axis=-1), np.zeros(shape[:-1]))
