"""Affine transforms of images against Keras' ops.image.affine_transform."""

import pytest
from golden import cases
from golden.harness import DTYPES, SINGLE, compare, keras, numpy, precision
from golden.store import load

GOLDEN = load("keras_affine")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", cases.AFFINE)
def test_affine_transform(name, dtype):
    with precision(dtype):
        x, transforms = (keras.ops.convert_to_tensor(a.astype(dtype)) for a in cases.affine_images())
        got = numpy(keras.ops.image.affine_transform(x, transforms, **cases.AFFINE[name]))
    compare(got, GOLDEN[name], SINGLE[dtype], name)
