"""Normalization layers: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta; and vectors of length 1."""

from fastnn import constraints, initializers, ops, regularizers
from fastnn.layers.layer import Layer
from fastnn.ops.core import as_tensor, is_tensor
from fastnn.ops.normalization import batch_norm
from fastnn.utils import checks


class _Normalization(Layer):
    supports_masking = True

    def __init__(self, axis, epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
                 gamma_regularizer, beta_constraint, gamma_constraint, kwargs):  # fmt: skip
        super().__init__(**kwargs)
        self.axis = list(axis) if isinstance(axis, (list, tuple)) else int(axis)
        self.epsilon = checks.number(type(self).__name__, "epsilon", epsilon, least=0)
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.gamma = self.beta = None

    def _add_weights(self, shape):
        if self.scale:
            self.gamma = self.add_weight(
                shape, self.gamma_initializer, name="gamma", regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
            )  # fmt: skip
        if self.center:
            self.beta = self.add_weight(shape, self.beta_initializer, name="beta",
                                        regularizer=self.beta_regularizer, constraint=self.beta_constraint)  # fmt: skip

    def _channel_axis(self, input_shape):
        """The axis, counted from 0; its extent must be known."""
        ndim = len(input_shape)
        if not -ndim <= self.axis < ndim or self.axis % ndim == 0:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: axis {self.axis} is no dimension of inputs {tuple(input_shape)} "
                f"besides the batch"
            )
        return self.axis % ndim

    def _last(self, inputs, function):
        """function on the inputs with the axis put last, and its result put back."""
        ndim = len(ops.shape(inputs))
        axis = self.axis % ndim
        if axis == ndim - 1:
            return function(inputs)
        order = [a for a in range(ndim) if a != axis] + [axis]
        back = [order.index(a) for a in range(ndim)]
        return ops.transpose(function(ops.transpose(inputs, order)), back)

    def get_config(self):
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "beta_regularizer": regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
            "beta_constraint": constraints.serialize(self.beta_constraint),
            "gamma_constraint": constraints.serialize(self.gamma_constraint),
        }


class BatchNormalization(_Normalization):
    """Ioffe and Szegedy 2015. In training by the mean and (biased) variance of each channel over the batch and all
    positions; otherwise by their moving averages, which each training step moves by 1 - `momentum`.

    Weights: gamma, beta, moving_mean, moving_variance, each (channels,). A frozen layer (trainable = False) uses the
    moving averages in training too.

    Args:
        axis: the channels' dimension.
        momentum: of the moving averages.
        epsilon: added to the variance.
        center, scale: whether beta and gamma are there.
    """

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", moving_mean_initializer="zeros", moving_variance_initializer="ones",
                 beta_regularizer=None, gamma_regularizer=None, beta_constraint=None, gamma_constraint=None,
                 renorm=False, renorm_clipping=None, renorm_momentum=0.99, synchronized=False, **kwargs):  # fmt: skip
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
                         gamma_regularizer, beta_constraint, gamma_constraint, kwargs)  # fmt: skip
        if renorm:
            raise ValueError(
                "BatchNormalization: renorm=True is not supported; use GroupNormalization for small batches"
            )
        if isinstance(axis, (list, tuple)):
            raise ValueError(f"BatchNormalization: axis must be one integer, got {axis!r}")
        self.momentum = checks.number("BatchNormalization", "momentum", momentum, least=0, most=1)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def build(self, input_shape):
        channels = input_shape[self._channel_axis(input_shape)]
        self._add_weights((channels,))
        self.moving_mean = self.add_weight(
            (channels,), self.moving_mean_initializer, trainable=False, name="moving_mean"
        )
        self.moving_variance = self.add_weight((channels,), self.moving_variance_initializer, trainable=False,
                                               name="moving_variance")  # fmt: skip

    def call(self, inputs, training=None, mask=None):
        if mask is not None:
            raise ValueError(f"BatchNormalization {self.name!r}: mask is not supported")
        if training and self.trainable:
            return self._last(inputs, self._train)
        return self._last(inputs, lambda x: ops.batch_normalization(
            x, self.moving_mean, self.moving_variance, -1, self.beta, self.gamma, self.epsilon))  # fmt: skip

    def _train(self, x):
        y, mean, variance = batch_norm(x, self.gamma, self.beta, self.epsilon)
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            old = as_tensor(moving, self.dtype) if is_tensor(now) else moving
            now = ops.multiply(ops.stop_gradient(now), 1.0 - self.momentum)
            moving.assign(ops.add(ops.multiply(old, self.momentum), now))
        return y

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
        }


class LayerNormalization(_Normalization):
    """Ba et al. 2016: each sample (and position) by the mean and variance over the last dimensions `axis`; gamma and
    beta have their shape."""

    def __init__(self, axis=-1, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", beta_regularizer=None, gamma_regularizer=None, beta_constraint=None,
                 gamma_constraint=None, **kwargs):  # fmt: skip
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
                         gamma_regularizer, beta_constraint, gamma_constraint, kwargs)  # fmt: skip

    def build(self, input_shape):
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        axes = sorted(a % len(input_shape) for a in axes)
        if not axes or axes[0] == 0 or axes != list(range(axes[0], len(input_shape))):
            raise ValueError(
                f"LayerNormalization {self.name!r}: axis must be the last dimensions of inputs {tuple(input_shape)}, "
                f"got {self.axis}; put them there with Permute"
            )
        self._add_weights(tuple(input_shape[a] for a in axes))

    def call(self, inputs):
        return ops.layer_normalization(inputs, self.gamma, self.beta, self.axis, self.epsilon)


class GroupNormalization(_Normalization):
    """Wu and He 2018: the channels of each sample in `groups` groups, each by its own mean and variance over all
    positions; groups=-1 gives each channel its own. Weights: gamma and beta (channels,)."""

    def __init__(self, groups=32, axis=-1, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", beta_regularizer=None, gamma_regularizer=None, beta_constraint=None,
                 gamma_constraint=None, **kwargs):  # fmt: skip
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
                         gamma_regularizer, beta_constraint, gamma_constraint, kwargs)  # fmt: skip
        if not checks.is_integer(groups) or (groups < 1 and groups != -1):
            raise ValueError(f"GroupNormalization: groups must be a positive integer or -1, got {groups!r}")
        self.groups = int(groups)

    def build(self, input_shape):
        channels = input_shape[self._channel_axis(input_shape)]
        groups = channels if self.groups == -1 else self.groups
        if channels % groups:
            raise ValueError(
                f"GroupNormalization {self.name!r}: {channels} channels cannot be divided into {groups} groups; choose "
                f"a divisor of {channels}"
            )
        self._groups = groups
        self._add_weights((channels,))

    def call(self, inputs):
        return self._last(
            inputs, lambda x: ops.group_normalization(x, self._groups, self.gamma, self.beta, self.epsilon)
        )

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


class UnitNormalization(Layer):
    """x / |x|, the norm taken over the dimensions `axis`; zeros stay zeros."""

    supports_masking = True

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = list(axis) if isinstance(axis, (list, tuple)) else axis
        if not all(isinstance(a, int) for a in (self.axis if isinstance(self.axis, list) else [axis])):
            raise TypeError(f"UnitNormalization: axis must be an integer or a list of them, got {axis!r}")

    def call(self, inputs):
        square = ops.sum(ops.square(inputs), axis=self.axis, keepdims=True)
        return ops.multiply(inputs, ops.rsqrt(ops.maximum(square, 1e-24)))

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}
