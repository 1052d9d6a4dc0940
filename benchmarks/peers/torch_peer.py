"""PyTorch: eager, with a compiled loss, and with the whole step (forward, backward, update) in one compiled graph.

Images run channels-last; optimizers are the fused ones where one exists.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .workloads import NORM_EPSILON


class Recurrent(nn.Module):
    """The last state of a one-layer recurrent net."""

    def __init__(self, kind, inputs, units):
        super().__init__()
        self.net = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind](inputs, units, batch_first=True)

    def forward(self, x):
        return self.net(x)[0][:, -1]


class NHWC(nn.Module):
    """NHWC data as the channels-last view of NCHW: no copy; flattened again in NHWC order."""

    def forward(self, x):
        return x.permute(0, 3, 1, 2)


class NormConv(nn.Module):
    """A 3 x 3 convolution, padded as Keras pads, and batch normalization."""

    def __init__(self, weights, strides):
        super().__init__()
        kernel, gamma, beta = weights
        filters = kernel.shape[3]
        self.pad = (0, 1, 0, 1) if strides == 2 else None  # of even sizes: one pixel behind
        padding = 0 if strides == 2 else 1
        self.conv = nn.Conv2d(kernel.shape[2], filters, 3, strides, padding, bias=False)
        self.conv.weight.data = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(filters, eps=NORM_EPSILON)
        self.norm.weight.data, self.norm.bias.data = gamma, beta

    def forward(self, x):
        return self.norm(self.conv(F.pad(x, self.pad) if self.pad else x))


class Block(nn.Module):
    def __init__(self, weights, strides):
        super().__init__()
        self.first, self.second = NormConv(weights[:3], strides), NormConv(weights[3:], 1)
        self.strides = strides

    def forward(self, x):
        y = self.second(F.relu(self.first(x)))
        if self.strides > 1:
            x = F.pad(x[:, :, :: self.strides, :: self.strides], (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return F.relu(x + y)


class Average(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Flatten(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


def build(w):
    modules, weights, params = [], [torch.tensor(v) for v in w.weights], []
    shape = w.inputs
    if len(shape) == 3:
        modules.append(NHWC())
    index = 0
    for stage in w.stages:
        kind = stage[0]
        if kind in ("dense", "conv"):
            kernel, bias = weights[index : index + 2]
            index += 2
            if kind == "dense":
                layer = nn.Linear(*kernel.shape)
                layer.weight.data = kernel.T.contiguous()
            else:
                layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[0], padding=stage[3])
                layer.weight.data = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
            layer.bias.data = bias
            params += [layer.weight, layer.bias]
            modules.append(layer)
            activation = stage[-1]
            if activation:
                modules.append(nn.ReLU() if activation == "relu" else nn.Tanh())
        elif kind in ("norm_conv", "block"):
            count = 3 if kind == "norm_conv" else 6
            layer = (NormConv if count == 3 else Block)(weights[index : index + count], stage[2])
            index += count
            params += list(layer.parameters())
            modules += [layer, nn.ReLU()] if count == 3 else [layer]
        elif kind == "average":
            modules.append(Average())
        elif kind == "maxpool":
            modules.append(nn.MaxPool2d(2))
        elif kind == "flatten":
            modules.append(Flatten())
        else:
            kernel, recurrent, bias = weights[index : index + 3]
            index += 3
            layer = Recurrent(kind, kernel.shape[0], recurrent.shape[0])
            if kind == "gru":  # Keras orders the gates z, r, h and PyTorch r, z, h
                kernel, recurrent, bias = (swap_gates(v) for v in (kernel, recurrent, bias))
            net = layer.net
            net.weight_ih_l0.data, net.weight_hh_l0.data = kernel.T.contiguous(), recurrent.T.contiguous()
            net.bias_ih_l0.data = (bias[0] if kind == "gru" else bias).clone()
            net.bias_hh_l0.data = bias[1].clone() if kind == "gru" else torch.zeros_like(bias)
            # the others have one bias: two of them would learn twice as fast
            net.bias_hh_l0.requires_grad_(kind == "gru")
            params += [net.weight_ih_l0, net.weight_hh_l0, (net.bias_ih_l0, net.bias_hh_l0)]
            modules.append(layer)
    return nn.Sequential(*modules), params


def swap_gates(v):
    a, b, c = v.chunk(3, dim=-1)
    return torch.cat([b, a, c], dim=-1)


class Eager:
    compiled = False

    def __init__(self, w):
        self.w = w
        self.model, self.params = build(w)
        self.x = [torch.from_numpy(np.ascontiguousarray(b)) for b in w.x]
        self.y = [torch.from_numpy(b.astype(np.int64) if w.loss == "softmax" else b) for b in w.y]
        loss, model = (F.cross_entropy if w.loss == "softmax" else F.mse_loss), self.model
        self.loss = lambda x, y: loss(model(x), y)
        if self.compiled:
            self.loss = torch.compile(self.loss, fullgraph=True)
        kind, rate = w.optimizer
        if kind == "adam":
            self.optimizer = torch.optim.Adam(model.parameters(), lr=rate, eps=1e-7, fused=True)
        else:
            momentum = 0.9 if kind == "momentum" else 0.0
            self.optimizer = torch.optim.SGD(
                model.parameters(), lr=rate, momentum=momentum, weight_decay=w.decay, fused=True
            )

    def run(self, steps):
        loss, optimizer, x, y, batches = self.loss, self.optimizer, self.x, self.y, self.w.batches
        for i in range(steps):
            value = loss(x[i % batches], y[i % batches])
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()

    def weights(self):
        out, params = [], [(q[0] + q[1] if isinstance(q, tuple) else q) for q in self.params]
        kinds = [s[0] for s in self.w.stages]
        for p, old in zip(params, self.w.weights, strict=True):
            p = p.detach()
            if p.ndim == 4:
                p = p.permute(2, 3, 1, 0)
            elif p.ndim == 2:
                p = p.T
            out.append(p.numpy().reshape(old.shape) if "gru" not in kinds else p.numpy())
        if "gru" in kinds:
            net = self.model[kinds.index("gru")].net
            bias = torch.stack([net.bias_ih_l0.detach(), net.bias_hh_l0.detach()])
            out[:3] = [swap_gates(torch.as_tensor(v)).numpy() for v in (out[0], out[1], bias)]
        return out


class Compiled(Eager):
    compiled = True


class Autocast(Eager):
    """Products and convolutions in bfloat16."""

    def run(self, steps):
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            super().run(steps)


class CompiledAutocast(Autocast):
    compiled = True


class CompiledStep(Eager):
    """Forward, backward and update as one compiled function; the parameters are changed in place."""

    def __init__(self, w):
        super().__init__(w)
        names = [n for n, _ in self.model.named_parameters()]
        state = {n: p.detach() for n, p in self.model.named_parameters()}
        m, v = ([torch.zeros_like(p) for p in state.values()] for _ in range(2))
        t = torch.zeros(())
        loss, model = (F.cross_entropy if w.loss == "softmax" else F.mse_loss), self.model
        kind, rate = w.optimizer

        def step(params, m, v, t, x, y):
            grads = torch.func.grad(lambda p: loss(torch.func.functional_call(model, p, (x,)), y))(params)
            t += 1
            scale = rate * torch.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            for name, mi, vi in zip(names, m, v, strict=True):
                p, g = params[name], grads[name]
                if w.decay:
                    g = g + w.decay * p
                if kind == "adam":
                    mi += 0.1 * (g - mi)
                    vi += 0.001 * (g * g - vi)
                    p -= scale * mi / (torch.sqrt(vi) + 1e-7)
                elif kind == "momentum":
                    mi.mul_(0.9).add_(g)
                    p -= rate * mi
                else:
                    p -= rate * g

        self.step, self.state = torch.compile(step, fullgraph=True), (state, m, v, t)

    @torch.no_grad()
    def run(self, steps):
        step, state, x, y, batches = self.step, self.state, self.x, self.y, self.w.batches
        for i in range(steps):
            step(*state, x[i % batches], y[i % batches])


class Trace:
    """Inference with a traced and frozen module."""

    def __init__(self, w):
        self.w = w
        model, _ = build(w)
        self.x = [torch.from_numpy(np.ascontiguousarray(b)) for b in w.x]
        with torch.inference_mode():
            self.f = self.make(model.eval())

    def make(self, model):
        return torch.jit.freeze(torch.jit.trace(model, self.x[0]))

    @torch.inference_mode()
    def run(self, steps):
        f, x, batches = self.f, self.x, self.w.batches
        for i in range(steps):
            f(x[i % batches])

    @torch.inference_mode()
    def output(self):
        return self.f(self.x[0]).numpy()


class EagerInference(Trace):
    def make(self, model):
        return model


class CompiledInference(Trace):
    def make(self, model):
        return torch.compile(model, fullgraph=True)


def variants(w):
    if w.inference:
        return {"trace": Trace, "eager": EagerInference, "compile": CompiledInference}
    steps = {"eager": Eager, "autocast": Autocast}
    if not any(s[0] in ("rnn", "lstm", "gru") for s in w.stages):
        steps |= {"compile": Compiled, "compile-step": CompiledStep, "compile-autocast": CompiledAutocast}
    return steps


def threads(n):
    torch.set_num_threads(n)
    torch.set_num_interop_threads(1)
