"""Initializers: fans, distributions, seeds, names."""

import math

import numpy as np
import pytest

from fastnn import initializers
from fastnn.utils import SeedGenerator, set_random_seed

NAN = float("nan")


@pytest.mark.parametrize(
    "shape, fans",
    [((), (1, 1)), ((7,), (7, 7)), ((3, 5), (3, 5)), ((3, 3, 4, 8), (36, 72)), ((5, 4, 8), (20, 40))],
)
def test_fans(shape, fans):
    assert initializers.compute_fans(shape) == fans


def test_fans_of_axes():
    assert initializers.compute_fans((2, 3, 5), [0, 1], [2]) == (6, 5)


VARIANCES = {
    "glorot_uniform": 2 / 700, "glorot_normal": 2 / 700, "he_uniform": 2 / 300, "he_normal": 2 / 300,
    "lecun_uniform": 1 / 300, "lecun_normal": 1 / 300, "random_normal": 0.05**2, "random_uniform": 0.1**2 / 12,
    "truncated_normal": (0.05 * 0.87962566103423978) ** 2, "orthogonal": 1 / 400,
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANCES)
def test_moments(name):
    set_random_seed(0)
    x = initializers.get(name)((300, 400))
    assert x.dtype == np.float32 and x.shape == (300, 400)
    # 120,000 draws: the mean's standard error is std / 346, the variance's below 0.5 %.
    assert abs(x.mean()) < 5 * math.sqrt(VARIANCES[name]) / 346
    assert x.var() == pytest.approx(VARIANCES[name], rel=0.02)


@pytest.mark.parametrize("name, limit", [("glorot_uniform", math.sqrt(6 / 700)), ("random_uniform", 0.05),
                                         ("truncated_normal", 0.1)])  # fmt: skip
def test_limits(name, limit):
    x = initializers.get(name)((300, 400), "float64")
    assert 0.999 * limit < np.abs(x).max() <= limit


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 2, 5)])
def test_orthogonal(shape):
    q = initializers.Orthogonal(gain=2.0, seed=1)(shape, "float64").reshape(-1, shape[-1])
    product = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        initializers.Orthogonal()((3,))


def test_constants():
    assert initializers.Zeros()((2,)).tolist() == [0, 0] and initializers.Ones()((2,)).tolist() == [1, 1]
    assert initializers.Constant(3)((2,), "float64").tolist() == [3, 3]
    assert initializers.Identity(2.0)((2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]
    with pytest.raises(ValueError, match="must have 2 dimensions"):
        initializers.Identity()((2,))


def test_both_float_types_start_at_one_point(monkeypatch):
    for name in ("he_normal", "truncated_normal", "glorot_uniform", "orthogonal"):
        one = initializers.get({"class_name": name, "config": {"seed": 5}})
        np.testing.assert_array_equal(one((7, 9)), one((7, 9), "float64").astype(np.float32))


def test_seeds():
    set_random_seed(1)
    first = initializers.GlorotUniform()((3, 3)), initializers.GlorotUniform()((3, 3))
    set_random_seed(1)
    again = initializers.GlorotUniform()((3, 3)), initializers.GlorotUniform()((3, 3))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(*first)
    fixed = initializers.GlorotUniform(seed=3)
    np.testing.assert_array_equal(fixed((3, 3)), initializers.GlorotUniform(seed=3)((3, 3)))
    np.testing.assert_array_equal(fixed((3, 3)), fixed((3, 3)))
    stream = initializers.GlorotUniform(SeedGenerator(3))
    assert not np.array_equal(stream((3, 3)), stream((3, 3)))
    back = initializers.deserialize(initializers.serialize(initializers.HeNormal(SeedGenerator(3))))
    np.testing.assert_array_equal(back((2, 2)), initializers.HeNormal(SeedGenerator(3))((2, 2)))


def test_large_arrays_are_drawn_in_chunks(monkeypatch):
    whole = initializers.RandomNormal(seed=1)((1000,))
    monkeypatch.setattr(initializers, "CHUNK", 64)
    np.testing.assert_array_equal(initializers.RandomNormal(seed=1)((1000,)), whole)


@pytest.mark.parametrize("name", sorted(initializers.NAMES))
def test_names_and_configs(name):
    one = initializers.get(name)
    assert type(initializers.deserialize(initializers.serialize(one))) is type(one)
    assert isinstance(repr(one), str)


def test_get():
    assert initializers.get(None) is None
    assert isinstance(initializers.get(initializers.Zeros), initializers.Zeros)
    values = np.arange(4.0).reshape(2, 2)
    assert initializers.get(values)((2, 2)).dtype == np.float32
    with pytest.raises(ValueError, match=r"given array has shape \(2, 2\), the weight \(3,\)"):
        initializers.get(values)((3,))
    with pytest.raises(ValueError, match="unknown name 'glorot'; known are .*glorot_uniform"):  # noqa: RUF043
        initializers.get("glorot")
    with pytest.raises(TypeError, match="got 3 of type int"):
        initializers.get(3)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: initializers.VarianceScaling(0), "VarianceScaling: scale must be finite and > 0, got 0"),
        (lambda: initializers.VarianceScaling(NAN), "VarianceScaling: scale must be finite and > 0, got nan"),
        (lambda: initializers.VarianceScaling(math.inf), "VarianceScaling: scale must be finite and > 0, got inf"),
        (lambda: initializers.RandomNormal(stddev=-1), "RandomNormal: stddev must be finite and >= 0, got -1"),
        (lambda: initializers.RandomNormal(stddev=NAN), "RandomNormal: stddev must be finite and >= 0, got nan"),
        (lambda: initializers.RandomNormal("a"), "RandomNormal: mean must be a number, got 'a'"),
        (lambda: initializers.TruncatedNormal(stddev=-1), "TruncatedNormal: stddev must be finite and >= 0, got -1"),
        (lambda: initializers.TruncatedNormal("a"), "TruncatedNormal: mean must be a number, got 'a'"),
        (lambda: initializers.RandomUniform(2, 1), "RandomUniform: minval must not exceed maxval, got 2 and 1"),
        (lambda: initializers.RandomUniform("a"), "RandomUniform: minval must be a number, got 'a'"),
        (lambda: initializers.Orthogonal("a"), "Orthogonal: gain must be a number, got 'a'"),
        (lambda: initializers.Identity("a"), "Identity: gain must be a number, got 'a'"),
        (lambda: initializers.VarianceScaling(1, "fan"), "mode must be one of"),
        (lambda: initializers.VarianceScaling(1, "fan_in", "cauchy"), "distribution must be one of"),
        (lambda: initializers.HeNormal(seed=-1), "seed must be in"),
        (lambda: initializers.Zeros()((-1,)), "shape must be non-negative integers"),
    ],
)
def test_errors(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
