"""Joins instructions that one kernel can do together. Each rule is a function from the program to whether it
changed something; `fuse` applies them in turn."""

import math

from fastnn.compiler.program import Instruction
from fastnn.kernels.convolution import Geometry, pool_joins, pooled_input_fits, pooled_kernel_fits, pooled_pays
from fastnn.ops import elementwise as ew
from fastnn.ops import nn
from fastnn.ops.convolution import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradKernel,
    Conv2DMaxPool,
    Conv2DPooledGradInput,
    Conv2DPooledGradKernel,
)
from fastnn.ops.linear import ACTIVATIONS, MatMul, WeightGrad
from fastnn.ops.normalization import BatchNorm, BatchNormGrad, FoldNorm, Normalize
from fastnn.ops.pooling import MaxPool, MaxPoolGrad
from fastnn.ops.recurrent import Recurrence
from fastnn.ops.reductions import SumFirst


def fuse(program):
    """Rewrites the program in place."""
    for rule in (
        join_load_scale,
        join_bias,
        fold_norm,
        join_activation,
        join_norm_relu_gradient,
        join_add_relu,
        pass_activation_gradient,
        join_activation_gradient,
        join_bias_gradient,
        join_pool_gradient,
        join_loss_gradient,
        drop_pool_index,
        join_pool,
        drop_recurrent_results,
    ):
        rule(program)
        program.instructions = [i for i in program.instructions if not i.replaced]
    program.remove_dead()
    program.sort()


def _replace(program, uses, old, *new):
    """Instructions `new` in the place of `old`, which leave the program when the rule ends. `uses` is kept true; rules
    that do not look at it pass an empty one."""
    lowered = any(i.lowered for i in old)
    for i in old:
        i.replaced = True
        for v in i.ins:
            if left := [user for user in uses.pop(v, ()) if user is not i]:
                uses[v] = left
    for i in new:
        i.lowered = i.lowered or lowered
        for v in i.ins:
            uses.setdefault(v, []).append(i)
    program.instructions.extend(new)


def _changed(op, **changes):
    """An operation like `op` but for some of its parameters."""
    return type(op)(**{**op.config(), **changes})


def _bare(op):
    """Whether nothing has been joined to a product or convolution yet."""
    return not any(getattr(op, name, None) for name in ("bias", "activation", "grad"))


def join_load_scale(program):
    """scale * x + offset of an input, which nothing else reads  ->  done while its data is loaded and converted."""
    uses = program.uses()
    for i in [i for i in program.instructions if isinstance(i.op, ew.Unary) and i.op.function == "affine"]:
        x, y = i.ins[0], i.outs[0]
        if x.kind == "input" and x.dtype != "int32" and uses[x] == [i]:
            (a, b), (scale, offset) = x.load, i.op.parameters
            x.load = (scale * a, scale * b + offset)
            program.instructions.remove(i)
            for other in program.instructions:
                other.ins = [x if v is y else v for v in other.ins]
            program.roots = [x if v is y else v for v in program.roots]
            uses = program.uses()


def join_bias(program):
    """y = x w, then + b  ->  the product adds b."""
    uses = program.uses()
    for add in [i for i in program.instructions if isinstance(i.op, ew.Binary) and i.op.function == "add"]:
        for product, b in (add.ins, add.ins[::-1]):
            made = product.maker
            if (
                made is not None
                and isinstance(made.op, (MatMul, Conv2D))
                and _bare(made.op)
                and uses[product] == [add]
                and b.shape == product.shape[-1:]
                and add.outs[0].shape == product.shape
            ):
                op = _changed(made.op, bias=True)
                _replace(program, uses, [made, add], Instruction(op, [*made.ins, b], add.outs, add.position))
                break


def fold_norm(program):
    """A convolution's result, normalized by given statistics  ->  a convolution whose weights and bias were scaled.

    The weights are scaled in every step, since they may change between steps: only where they are few beside the
    pixels of one image.
    """
    uses = program.uses()
    for norm in [i for i in program.instructions if isinstance(i.op, Normalize) and not i.op.activation]:
        x, statistics = norm.ins[0], norm.ins[1:]
        made = x.maker
        if made is None or not isinstance(made.op, Conv2D) or made.op.activation or uses[x] != [norm]:
            continue
        g = Geometry(*made.op.geometry)
        images, w, *bias = made.ins
        if 4 * g.oh * g.ow * g.co < math.prod(w.shape):
            continue
        op = FoldNorm(norm.op.epsilon, norm.op.scale, norm.op.center, bool(bias))
        folded = [program.value(w.shape, w.dtype), program.value(w.shape[-1:], w.dtype)]
        scaled = Instruction(op, [w, *statistics, *bias], folded, made.position)
        new = Instruction(_changed(made.op, bias=True), [images, *folded], norm.outs, norm.position)
        _replace(program, uses, [made, norm], scaled, new)


def join_activation(program):
    """y = x w + b or a normalized x, then f(y)  ->  the product or the normalization applies f."""
    uses = program.uses()
    for act in [i for i in program.instructions if isinstance(i.op, ew.Unary) and i.op.function in ACTIVATIONS]:
        z = act.ins[0]
        made = z.maker
        if made is None or uses[z] != [act]:
            continue
        if isinstance(made.op, BatchNorm) and act.op.function == "relu" and not made.op.relu:
            op = _changed(made.op, relu=True)
        elif isinstance(made.op, (MatMul, Conv2D, Normalize)) and not (
            made.op.activation or getattr(made.op, "grad", None)
        ):
            op = _changed(made.op, activation=_activation(act.op))
        else:
            continue
        _replace(program, uses, [made, act], Instruction(op, made.ins, [*act.outs, *made.outs[1:]], act.position))


def join_norm_relu_gradient(program):
    """f'(y) dy, then the gradient of the batch normalization that ReLU was joined to  ->  one instruction, which finds
    the sign of y again from x."""
    uses = program.uses()
    for grad in [i for i in program.instructions if isinstance(i.op, BatchNormGrad) and not i.op.relu]:
        dz, x, mean = grad.ins[:3]
        made, norm = dz.maker, mean.maker
        if (
            made is not None
            and isinstance(made.op, ew.UnaryGrad)
            and made.op.function == "relu"
            and uses[dz] == [grad]
            and norm is not None
            and isinstance(norm.op, BatchNorm)
            and norm.op.relu
            and made.ins[1] is norm.outs[0]
            and norm.ins[0] is x
        ):
            beta = norm.ins[1 + norm.op.scale :]
            op = _changed(grad.op, relu=True)
            new = Instruction(op, [made.ins[0], *grad.ins[1:], *beta], grad.outs, grad.position)
            _replace(program, uses, [made, grad], new)


def join_add_relu(program):
    """a + b of one shape, then a ReLU  ->  one pass."""
    uses = program.uses()
    for act in [i for i in program.instructions if isinstance(i.op, ew.Unary) and i.op.function == "relu"]:
        z = act.ins[0]
        made = z.maker
        if (
            made is not None
            and isinstance(made.op, ew.Binary)
            and made.op.function == "add"
            and uses[z] == [act]
            and made.ins[0].shape == made.ins[1].shape == z.shape
        ):
            _replace(program, uses, [made, act], Instruction(ew.AddRelu(), made.ins, act.outs, act.position))


def _activation(op):
    return op.function, (op.parameters or (0.0,))[0]


def join_activation_gradient(program):
    """dy = dz w^T, then f'(y) dy  ->  the product multiplies by f'(y)."""
    uses = program.uses()
    for grad in [i for i in program.instructions if isinstance(i.op, ew.UnaryGrad) and i.op.function in ACTIVATIONS]:
        dy, y = grad.ins
        made = dy.maker
        if (
            made is not None
            and isinstance(made.op, (MatMul, Conv2DGradInput))
            and _bare(made.op)
            and uses[dy] == [grad]
        ):
            op = _changed(made.op, grad=_activation(grad.op))
            _replace(program, uses, [made, grad], Instruction(op, [*made.ins, y], grad.outs, grad.position))


def join_bias_gradient(program):
    """dw = x^T dy and db = sum of dy over the rows  ->  one instruction with two results."""
    sums = {}
    for i in program.instructions:
        if isinstance(i.op, SumFirst) and not i.op.mean and i.op.axis == len(i.ins[0].shape) - 1:
            sums.setdefault(i.ins[0], i)
    kinds = (WeightGrad, Conv2DGradKernel)
    for product in [i for i in program.instructions if isinstance(i.op, kinds) and not i.op.bias]:
        total = sums.get(product.ins[1])
        if total is not None and not total.replaced:
            op = _changed(product.op, bias=True)
            new = Instruction(op, product.ins, [*product.outs, *total.outs], product.position)
            _replace(program, {}, [product, total], new)


def join_pool_gradient(program):
    """dx of a max-pool, then the gradients of the convolution before it  ->  these, from the pooled dy: the elements
    that were not the largest of their window are never written, nor multiplied."""
    uses = program.uses()
    for grad in [i for i in program.instructions if isinstance(i.op, MaxPoolGrad)]:
        readers = uses.get(grad.outs[0], [])
        found = [_from_pooled(reader, grad) for reader in readers]
        if all(found):
            news = [Instruction(*new, i.outs, i.position) for i, new in zip(readers, found, strict=True)]
            _replace(program, uses, [grad, *readers], *news)
            for new, reader in zip(news, readers, strict=True):
                new.lowered = reader.lowered  # the pool has no products


def _from_pooled(reader, grad):
    """(operation, inputs) that do what `reader` does with the result of `grad`, a max-pool's gradient, without it; None
    where there are none or they do not pay."""
    if reader is None or not isinstance(reader.op, (Conv2DGradKernel, Conv2DGradInput)) or reader.op.algorithm:
        return None
    g, dy, pool = Geometry(*reader.op.geometry), grad.outs[0], grad.op.geometry
    more, float64 = {"pool": pool, "pool_grad": grad.op.grad}, dy.dtype == "float64"
    a, b, *rest = reader.ins
    if isinstance(reader.op, Conv2DGradKernel):
        if a is dy or not pooled_kernel_fits(g, pool) or not pooled_pays(g, pool, float64):
            return None
        return Conv2DPooledGradKernel(g, bias=reader.op.bias, **more), [a, *grad.ins]
    if b is dy or not pooled_input_fits(g, pool) or not pooled_pays(g, pool, float64, image=True):
        return None
    return Conv2DPooledGradInput(g, grad=reader.op.grad, **more), [*grad.ins[:2], b, *grad.ins[2:], *rest]


def join_loss_gradient(program):
    """A loss and its gradient, computed from the same predictions  ->  one pass."""
    values = {}
    for i in program.instructions:
        if isinstance(i.op, nn.RowLoss) and i.op.loss and not i.op.dy:
            values[i.op.key, *map(id, i.ins[:2])] = i
    for grad in [i for i in program.instructions if isinstance(i.op, nn.RowLoss) and not i.op.loss]:
        loss = values.get((grad.op.key, *map(id, grad.ins[:2])))
        # the weights must not come after the loss itself
        if loss is None or any(v.maker is not None for v in grad.ins[2:]):
            continue
        _replace(
            program,
            {},
            [loss, grad],
            Instruction(grad.op.variant(loss=True), grad.ins, [*loss.outs, *grad.outs], loss.position),
        )


def pass_activation_gradient(program):
    """dx of a max-pool, then f'(x) dx, x the pooled tensor and result of f  ->  f'(y) dy before the pool, on a fraction
    of the elements: each that gets a gradient is the largest of its window, so y there."""
    uses = program.uses()
    for grad in [i for i in program.instructions if isinstance(i.op, ew.UnaryGrad) and i.op.function in ACTIVATIONS]:
        dx, x = grad.ins
        made = dx.maker
        if made is None or not isinstance(made.op, MaxPoolGrad) or made.op.grad or uses[dx] != [grad]:
            continue
        pool = made.ins[1].maker
        if pool.ins[0] is x:
            op = _changed(made.op, grad=_activation(grad.op))
            _replace(program, uses, [made, grad], Instruction(op, [*made.ins, pool.outs[0]], grad.outs, grad.position))


def drop_pool_index(program):
    """A max-pool whose gradient nobody asks for stores no positions."""
    uses = program.uses()
    for pool in [i for i in program.instructions if isinstance(i.op, MaxPool) and i.op.index]:
        if pool.outs[1] not in uses:
            new = Instruction(_changed(pool.op, index=False), pool.ins, pool.outs[:1], pool.position)
            _replace(program, uses, [pool], new)


def join_pool(program):
    """A convolution's result that only a max-pool reads  ->  one instruction, and it is never written."""
    uses = program.uses()
    for pool in [i for i in program.instructions if isinstance(i.op, MaxPool)]:
        z, made = pool.ins[0], pool.ins[0].maker
        if made is None or not isinstance(made.op, Conv2D) or made.op.algorithm or uses[z] != [pool]:
            continue
        g = Geometry(*made.op.geometry)
        if pool_joins(g, pool.op.geometry, z.dtype == "float64"):
            op = Conv2DMaxPool(g, pool.op.geometry, pool.op.index, made.op.bias, made.op.activation)
            _replace(program, uses, [made, pool], Instruction(op, made.ins, pool.outs, pool.position))


def drop_recurrent_results(program):
    """A recurrence stores only what somebody reads."""
    uses = program.uses()
    for i in [i for i in program.instructions if isinstance(i.op, Recurrence)]:
        kept = [(name, v) for name, v in zip(i.op.results, i.outs, strict=True) if v in uses]
        if kept and len(kept) < len(i.outs):
            op = _changed(i.op, results=tuple(name for name, _ in kept))
            _replace(program, uses, [i], Instruction(op, i.ins, [v for _, v in kept], i.position))
