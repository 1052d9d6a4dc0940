"""Dropout by other means: alpha dropout, which keeps mean and variance, and multiplicative normal noise."""

import math

from fastnn import ops
from fastnn.layers.core import Dropout, random_stream
from fastnn.ops.core import apply
from fastnn.ops.nn import GaussianNoise

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


class AlphaDropout(Dropout):
    """In training a (x m + c (1 - m)) + b, where m is 0 with probability `rate`, else 1 (Klambauer et al. 2017).

    c = -scale alpha is SELU's value at minus infinity; a = ((1 - rate)(1 + rate c^2))^(-1/2) and b = -a rate c keep
    mean 0 and variance 1. For networks of selu with lecun_normal kernels.
    """

    def call(self, inputs, training=False):
        if not self.drops(training):
            return inputs
        if self.rate == 1:
            return ops.zeros_like(inputs)
        c = -SELU_ALPHA * SELU_SCALE
        a = ((1 - self.rate) * (1 + self.rate * c * c)) ** -0.5
        kept = ops.multiply(super().call(ops.ones_like(inputs), training=True), 1 - self.rate)
        mixed = ops.add(ops.multiply(ops.subtract(inputs, c), kept), c)
        return ops.affine(mixed, a, -a * self.rate * c)


class GaussianDropout(Dropout):
    """In training x (1 + e), e normal with standard deviation sqrt(rate / (1 - rate)) (Srivastava et al. 2014,
    section 10)."""

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(rate, seed=seed, **kwargs)
        if rate == 1:
            raise ValueError("GaussianDropout: rate must be below 1, got 1")

    def call(self, inputs, training=False):
        if not self.drops(training):
            return inputs
        std = math.sqrt(self.rate / (1 - self.rate))
        return ops.multiply(inputs, apply(GaussianNoise(std, random_stream(self.seed)), ops.ones_like(inputs)))
