"""Regularizers and constraints against Keras."""

import pytest
from golden import cases
from golden.harness import DTYPES, SINGLE, compare, keras, numpy, precision
from golden.store import load

KERAS = load("keras_penalties")
CASES = [
    *[("regularizers", name, *case) for name, case in cases.REGULARIZERS.items()],
    *[("constraints", name, *case) for name, case in cases.CONSTRAINTS.items()],
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("module, name, cls, config, shape", CASES, ids=[case[1] for case in CASES])
def test_value(module, name, cls, config, shape, dtype):
    with precision(dtype):
        weight = keras.ops.convert_to_tensor(cases.penalized(shape).astype(dtype))
        got = getattr(getattr(keras, module), cls)(**config)(weight)
        compare(numpy(got), KERAS[name], SINGLE[dtype], name)
