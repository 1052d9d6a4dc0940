"""Matrix products."""

from fastnn.graph import Spec
from fastnn.kernels.products import ACTIVATIONS as CODES
from fastnn.ops import movement as sh
from fastnn.ops.core import Op, apply, broadcast_shapes, is_batched, lead, make, register, shape_of, size

_NS_PER_FLOP = 0.012  # one thread, float32

#: Activations that products apply on their way out, and multiply by the gradients of, with their codes.
ACTIVATIONS = {name: CODES[name] for name in ("relu", "leaky_relu", "sigmoid", "tanh", "elu", "selu")}
#: Up to this many elements of B, a product is cut by samples: B stays in the cache and no barrier is needed.
_ROWS_LIMIT = 16384


@register
class MatMul(Op):
    """y[..., n] = x[..., k] w, w (k, n), or (n, k) when `transpose`; all leading dimensions of x are rows.

    The compiler joins what stands around it: inputs are x, w, then `bias`: b (n,), then `grad`: s, the tensor whose
    activation's gradient the result is multiplied by. `activation` is (name, parameter); with `keep` the value
    before it is a second result.
    """

    name = "matmul"

    def __init__(self, transpose=False, bias=False, activation=None, keep=False, grad=None):
        self.transpose = transpose
        self.bias = bias
        self.activation = activation
        self.keep = keep
        self.grad = grad

    def infer(self, x, w, *rest):
        k, n = w.shape[::-1] if self.transpose else w.shape
        if not x.shape or x.shape[-1] != k:
            raise ValueError(f"matmul: shapes {x.shape} and {w.shape} do not fit: {x.shape[-1:]} against {k}")
        y = Spec((*x.shape[:-1], n), x.dtype)
        return (y, y) if self.keep else y

    def gradient(self, node, dy):
        x, w = node.inputs
        dx = make(MatMul(not self.transpose), dy, w)[0]
        dw = make(WeightGrad(), dy, x)[0] if self.transpose else make(WeightGrad(), x, dy)[0]
        return dx, dw

    def lower(self, b, outs, ins):
        x, w, rest = ins[0], ins[1], list(ins[2:])
        k, n = w.shape[::-1] if self.transpose else w.shape
        rows = lead(x.shape, len(x.shape) - 1)[0]
        bias = rest.pop(0) if self.bias else None
        s = rest.pop(0) if self.grad else None
        code, parameter = (ACTIVATIONS[self.activation[0]], self.activation[1]) if self.activation else (0, 0.0)
        grad_code = 0
        if self.grad:
            grad_code, parameter = ACTIVATIONS[self.grad[0]], self.grad[1]
        ints = (rows, n, k, k, k if self.transpose else n, n, 0, code, grad_code)
        z = outs[1] if self.keep else None
        b.run("matmul_nt" if self.transpose else "matmul_nn", (outs[0], x, w, bias, z, s), ints, (parameter,),
              cost=2.0 * rows * n * k * _NS_PER_FLOP + 0.1 * rows * n, batched=is_batched(x.shape),
              split=0 if k * n <= _ROWS_LIMIT else 1)  # fmt: skip


@register
class WeightGrad(Op):
    """dw (k, n) = sum over all rows of x[row, k] dy[row, n]; with `bias` a second result db (n,) = sum of dy."""

    name = "weight_grad"

    def __init__(self, bias=False):
        self.bias = bias

    def infer(self, x, dy):
        if x.shape[:-1] != dy.shape[:-1]:
            raise ValueError(f"weight_grad: shapes {x.shape} and {dy.shape} differ in their rows")
        dw = Spec((x.shape[-1], dy.shape[-1]), x.dtype)
        return (dw, Spec((dy.shape[-1],), x.dtype)) if self.bias else dw

    def gradient(self, node, g):
        x, dy = node.inputs
        return make(MatMul(True), dy, g)[0], make(MatMul(), x, g)[0]

    def lower(self, b, outs, ins):
        x, dy = ins
        rows, k = lead(x.shape, len(x.shape) - 1)
        n = dy.shape[-1]
        ints = (rows, n, k, k, n, n, 0, 0, 0, 0)
        db = outs[1] if self.bias else None
        b.run("matmul_tn", (outs[0], x, dy, None, None, None, db), ints, cost=2.0 * rows * n * k * _NS_PER_FLOP,
              batched=is_batched(x.shape))  # fmt: skip


@register
class BatchMatMul(Op):
    """y[..., m, n] = a[..., m, k] b[..., k, n] for each of the leading indices; `ta`, `tb` transpose the last two."""

    name = "batch_matmul"

    def __init__(self, ta=False, tb=False):
        self.ta, self.tb = ta, tb

    def infer(self, a, b):
        m, k = a.shape[-2:][::-1] if self.ta else a.shape[-2:]
        k2, n = b.shape[-2:][::-1] if self.tb else b.shape[-2:]
        if k != k2 or a.shape[:-2] != b.shape[:-2]:
            raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
        return Spec((*a.shape[:-2], m, n), a.dtype)

    def gradient(self, node, dy):
        a, b = node.inputs
        if self.ta:
            da = make(BatchMatMul(self.tb, True), b, dy)[0]
        else:
            da = make(BatchMatMul(False, not self.tb), dy, b)[0]
        if self.tb:
            db = make(BatchMatMul(True, self.ta), dy, a)[0]
        else:
            db = make(BatchMatMul(not self.ta, False), a, dy)[0]
        return da, db

    def lower(self, b, outs, ins):
        if self.ta and self.tb:
            # a^T b^T: transpose a first, so that one of the three forms is left
            a = b.temporary((*ins[0].shape[:-2], *ins[0].shape[-2:][::-1]), ins[0].dtype)
            axes = [*range(len(a.shape) - 2), len(a.shape) - 1, len(a.shape) - 2]
            sh.Transpose(tuple(axes)).lower(b, (a,), (ins[0],))
            ins, ta = (a, ins[1]), False
        else:
            ta = self.ta
        m, n = outs[0].shape[-2:]
        k = ins[0].shape[-2] if ta else ins[0].shape[-1]
        count = size(outs[0].shape[:-2])
        batched = is_batched(outs[0].shape)
        lda, ldb = ins[0].shape[-1], ins[1].shape[-1]
        strides = (m * k, k * n, m * n)
        kernel = "matmul_tn" if ta else "matmul_nt" if self.tb else "matmul_nn"
        head = (k, n, m) if ta else (m, n, k)
        if batched:
            per_sample = tuple(s * count for s in strides)
            ints = (*head, lda, ldb, n, 0, 0, 0, 0, count, *strides, 1, *per_sample)
        else:
            ints = (*head, lda, ldb, n, 0, 0, 0, 0, count, *strides, 0, 0, 0, 0)
        b.run(kernel, (outs[0], *ins), ints, cost=2.0 * count * m * n * k * _NS_PER_FLOP, batched=batched,
              split=0 if batched else 1)  # fmt: skip


def matmul(x1, x2):
    """The matrix product over the last two dimensions, as NumPy's.

    A two-dimensional x2 (weights) multiplies all rows of x1 at once.
    """
    a, b = shape_of(x1), shape_of(x2)
    if not a or not b:
        raise ValueError(f"matmul: numbers cannot be multiplied as matrices, got shapes {a} and {b}")
    if len(a) == 1:
        y = matmul(sh.expand_dims(x1, 0), x2)
        return sh.squeeze(y, -1 if len(b) == 1 else -2)
    if len(b) == 1:
        return sh.squeeze(matmul(x1, sh.expand_dims(x2, 1)), -1)
    if len(b) == 2 and not is_batched(b):
        return apply(MatMul(), x1, x2)
    head = broadcast_shapes("matmul", a[:-2], b[:-2])
    return apply(BatchMatMul(), sh.broadcast_to(x1, head + a[-2:]), sh.broadcast_to(x2, head + b[-2:]))


def dot(x1, x2):
    """The product over the last dimension of x1 and the last but one of x2."""
    return matmul(x1, x2)


def tensordot_last(x1, x2):
    """sum over the last dimension of x1 * x2, elementwise: (..., n), (..., n) -> (...)."""
    from fastnn.ops.elementwise import multiply
    from fastnn.ops.reductions import sum

    return sum(multiply(x1, x2), axis=-1)
