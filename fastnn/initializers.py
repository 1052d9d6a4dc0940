"""Initial values of weights: Keras' initializers, with its names, arguments, defaults and definition of fans.

Every draw is a function of the seed and of the element's place alone (Philox, counter-based), so weights do not
depend on threads or on what was drawn before. Values are drawn in float64 and rounded once, so a float32 and a
float64 model with one seed start at the same point. As in Keras, one initializer object gives the same values at
each call; an initializer made without a seed takes one from the global stream when it is made.
"""

import math

import numpy as np

from fastnn import config
from fastnn.saving import registry
from fastnn.utils import checks, seeding

#: Elements drawn at a time: 8 MiB of float64, so that a large embedding is not doubled in memory.
CHUNK = 1 << 20


class Initializer:
    """Base class: `initializer(shape, dtype=None)` returns a NumPy array."""

    def __call__(self, shape, dtype=None):
        raise NotImplementedError(f"{type(self).__name__} must implement __call__(shape, dtype=None)")

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def clone(self):
        return type(self).from_config(self.get_config())

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def _shape(where, shape):
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if any(not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 0 for n in shape):
        raise ValueError(f"{where}: shape must be non-negative integers, got {shape}")
    return tuple(int(n) for n in shape)


def _dtype(where, dtype):
    try:
        return np.dtype(config.floatx() if dtype is None else dtype)
    except TypeError:
        raise TypeError(f"{where}: dtype must name a NumPy dtype, such as 'float32', got {dtype!r}") from None


class Zeros(Initializer):
    """All 0."""

    def __call__(self, shape, dtype=None):
        return np.zeros(_shape("Zeros", shape), _dtype("Zeros", dtype))


class Ones(Initializer):
    """All 1."""

    def __call__(self, shape, dtype=None):
        return np.ones(_shape("Ones", shape), _dtype("Ones", dtype))


class Constant(Initializer):
    """All `value`, a scalar."""

    def __init__(self, value=0.0):
        self.value = value

    def __call__(self, shape, dtype=None):
        return np.full(_shape("Constant", shape), self.value, _dtype("Constant", dtype))

    def get_config(self):
        return {"value": registry.serialize_keras_object(self.value)}

    @classmethod
    def from_config(cls, config):
        return cls(registry.deserialize_keras_object(config["value"]))


class Identity(Initializer):
    """`gain` times the identity matrix; only for two dimensions."""

    def __init__(self, gain=1.0):
        self.gain = checks.number("Identity", "gain", gain)

    def __call__(self, shape, dtype=None):
        shape = _shape("Identity", shape)
        if len(shape) != 2:
            raise ValueError(f"Identity: shape must have 2 dimensions, got {shape}")
        return (self.gain * np.eye(*shape)).astype(_dtype("Identity", dtype))

    def get_config(self):
        return {"gain": self.gain}


class RandomInitializer(Initializer):
    """Base class of those that draw: `seed` is None, an integer or a `SeedGenerator` (new values at each call)."""

    def __init__(self, seed=None):
        if isinstance(seed, dict):
            seed = registry.deserialize_keras_object(seed)
        self._init_seed = seed
        if seed is None:
            self.seed = seeding.next_seed()
        elif isinstance(seed, seeding.SeedGenerator):
            self.seed = seed
        else:
            self.seed = seeding.check_seed(type(self).__name__, seed)

    def get_config(self):
        return {"seed": registry.serialize_keras_object(self._init_seed)}

    def _generator(self):
        seed = self.seed.next() if isinstance(self.seed, seeding.SeedGenerator) else self.seed
        return np.random.Generator(np.random.Philox(key=seed))

    def _fill(self, shape, dtype, draw):
        """An array of `shape` filled with draw(count), a chunk at a time."""
        where = type(self).__name__
        out = np.empty(_shape(where, shape), _dtype(where, dtype))
        flat = out.reshape(-1)
        for start in range(0, flat.size, CHUNK):
            flat[start : start + CHUNK] = draw(min(CHUNK, flat.size - start))
        return out

    def _normal(self, shape, dtype, mean, stddev):
        random = self._generator()
        return self._fill(shape, dtype, lambda count: mean + stddev * random.standard_normal(count))

    def _truncated(self, shape, dtype, mean, stddev):
        """Normal values, those beyond two standard deviations drawn again."""
        random = self._generator()

        def draw(count):
            values = random.standard_normal(count)
            outside = np.flatnonzero(np.abs(values) > 2.0)
            while outside.size:
                values[outside] = random.standard_normal(outside.size)
                outside = outside[np.abs(values[outside]) > 2.0]
            return mean + stddev * values

        return self._fill(shape, dtype, draw)

    def _uniform(self, shape, dtype, low, high):
        random = self._generator()
        return self._fill(shape, dtype, lambda count: low + (high - low) * random.random(count))


class RandomNormal(RandomInitializer):
    """Normal values of the given mean and standard deviation."""

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.mean = checks.number("RandomNormal", "mean", mean)
        self.stddev = checks.number("RandomNormal", "stddev", stddev, least=0)
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        return self._normal(shape, dtype, self.mean, self.stddev)

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomInitializer):
    """Normal values, those beyond two standard deviations drawn again."""

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.mean = checks.number("TruncatedNormal", "mean", mean)
        self.stddev = checks.number("TruncatedNormal", "stddev", stddev, least=0)
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        return self._truncated(shape, dtype, self.mean, self.stddev)

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class RandomUniform(RandomInitializer):
    """Uniform values in [minval, maxval)."""

    def __init__(self, minval=-0.05, maxval=0.05, seed=None):
        self.minval = checks.number("RandomUniform", "minval", minval)
        self.maxval = checks.number("RandomUniform", "maxval", maxval)
        if self.minval > self.maxval:
            raise ValueError(f"RandomUniform: minval must not exceed maxval, got {minval} and {maxval}")
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        return self._uniform(shape, dtype, self.minval, self.maxval)

    def get_config(self):
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("uniform", "truncated_normal", "untruncated_normal")
#: Standard deviation of a unit normal truncated at +-2.
TRUNCATED_STDDEV = 0.87962566103423978


class VarianceScaling(RandomInitializer):
    """Values of variance scale / n, n the fan-in, the fan-out or their mean.

    "uniform": in [-limit, limit), limit = sqrt(3 scale / n); "truncated_normal" (of that variance after truncation);
    "untruncated_normal". Fans as in `compute_fans`.
    """

    def __init__(
        self, scale=1.0, mode="fan_in", distribution="truncated_normal", seed=None, input_axes=None, output_axes=None
    ):
        where = type(self).__name__
        mode = str(mode).lower()
        if mode not in MODES:
            raise ValueError(f"{where}: mode must be one of {', '.join(MODES)}, got {mode!r}")
        distribution = str(distribution).lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        if distribution not in DISTRIBUTIONS:
            raise ValueError(f"{where}: distribution must be one of {', '.join(DISTRIBUTIONS)}, got {distribution!r}")
        self.scale = checks.number(where, "scale", scale, above=0)
        self.mode = mode
        self.distribution = distribution
        self.input_axes = input_axes
        self.output_axes = output_axes
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        fan_in, fan_out = compute_fans(_shape(type(self).__name__, shape), self.input_axes, self.output_axes)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "truncated_normal":
            return self._truncated(shape, dtype, 0.0, math.sqrt(variance) / TRUNCATED_STDDEV)
        if self.distribution == "untruncated_normal":
            return self._normal(shape, dtype, 0.0, math.sqrt(variance))
        limit = math.sqrt(3.0 * variance)
        return self._uniform(shape, dtype, -limit, limit)

    def get_config(self):
        own = {"scale": self.scale, "mode": self.mode, "distribution": self.distribution}
        return {**super().get_config(), **own, "input_axes": self.input_axes, "output_axes": self.output_axes}


class _Fixed(VarianceScaling):
    """A VarianceScaling whose scale, mode and distribution are the class's."""

    SETTING = (1.0, "fan_in", "truncated_normal")

    def __init__(self, seed=None, input_axes=None, output_axes=None):
        super().__init__(*self.SETTING, seed=seed, input_axes=input_axes, output_axes=output_axes)

    def get_config(self):
        return {**RandomInitializer.get_config(self), "input_axes": self.input_axes, "output_axes": self.output_axes}


class GlorotUniform(_Fixed):
    """Uniform, limit sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""

    SETTING = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Fixed):
    """Truncated normal, variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""

    SETTING = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Fixed):
    """Uniform, limit sqrt(6 / fan_in) (He et al., 2015)."""

    SETTING = (2.0, "fan_in", "uniform")


class HeNormal(_Fixed):
    """Truncated normal, variance 2 / fan_in (He et al., 2015)."""

    SETTING = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Fixed):
    """Uniform, limit sqrt(3 / fan_in) (LeCun et al., 1998)."""

    SETTING = (1.0, "fan_in", "uniform")


class LecunNormal(_Fixed):
    """Truncated normal, variance 1 / fan_in (LeCun et al., 1998); the one for SELU (Klambauer et al., 2017)."""

    SETTING = (1.0, "fan_in", "truncated_normal")


class Orthogonal(RandomInitializer):
    """`gain` times a matrix with orthonormal columns, or rows where there are fewer rows (Saxe et al., 2014).

    More than two dimensions are taken as a matrix of shape (product of all but the last, last).
    """

    def __init__(self, gain=1.0, seed=None):
        self.gain = checks.number("Orthogonal", "gain", gain)
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        shape = _shape("Orthogonal", shape)
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: shape must have at least 2 dimensions, got {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = self._generator().standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        # QR is unique up to the signs of R's diagonal: fixing them makes Q uniform over the orthogonal matrices.
        q *= np.where(np.diagonal(r) < 0.0, -1.0, 1.0)
        if rows < columns:
            q = q.T
        return np.ascontiguousarray(self.gain * q.reshape(shape), dtype=_dtype("Orthogonal", dtype))

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}


def compute_fans(shape, input_axes=None, output_axes=None):
    """(fan_in, fan_out) of a weight of `shape`.

    Two dimensions: (rows, columns). More: a convolution kernel (..., in, out), both fans times the window's size.
    `input_axes` and `output_axes`, given together, name the axes whose product each fan is.
    """
    shape = tuple(shape)
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        fan = shape[0] if shape else 1
        return fan, fan
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


CLASSES = (
    Zeros, Ones, Constant, Identity, RandomNormal, TruncatedNormal, RandomUniform, VarianceScaling, GlorotUniform,
    GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal, Orthogonal,
)  # fmt: skip
NAMES = {
    **registry.names_of(CLASSES),
    "zero": Zeros,
    "one": Ones,
    "normal": RandomNormal,
    "uniform": RandomUniform,
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
}


def get(identifier):
    """The initializer that `identifier` means: None, a name, a config, a class, a callable, or an array of values."""
    if isinstance(identifier, (np.ndarray, np.generic)):
        values = np.asarray(identifier)

        def given(shape, dtype=None):
            if tuple(shape) != values.shape:
                raise ValueError(f"initializer: the given array has shape {values.shape}, the weight {tuple(shape)}")
            return values.astype(_dtype("initializer", dtype))

        return given
    return registry.get("initializer", identifier, NAMES)


def serialize(initializer):
    """The config of an initializer, fit for JSON: what `deserialize` and `get` make an equal one from.

    Args:
        initializer: an `Initializer`, or a function registered with `register_keras_serializable`; None stays None.
    """
    return registry.serialize_keras_object(initializer)


def deserialize(config, custom_objects=None):
    """The initializer that a name or a config describes.

    Args:
        config: what `serialize` gave, or a name, such as "glorot_uniform".
        custom_objects: {name: class} of initializers of one's own.

    A name that is not known is a ValueError, which lists those that are.
    """
    return registry.deserialize_keras_object(config, custom_objects=custom_objects, module_objects=NAMES)


# Keras' lower-case names of the classes.
zeros, ones, constant, identity = Zeros, Ones, Constant, Identity
random_normal, truncated_normal, random_uniform = RandomNormal, TruncatedNormal, RandomUniform
variance_scaling, orthogonal = VarianceScaling, Orthogonal
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal
