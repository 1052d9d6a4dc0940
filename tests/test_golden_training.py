"""Whole training runs against Keras: weights after fit, history, predictions and evaluation."""

import pytest
from golden import models
from golden.harness import DTYPES, REPEATED, SINGLE_INSIDE, compare, keras, precision
from golden.store import load

GOLDEN = load("keras_training")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", models.CASES)
def test_run(name, dtype):
    with precision(dtype):
        results = models.run(keras, name)
    recorded = {key.removeprefix(f"{name}/") for key in GOLDEN if key.startswith(f"{name}/")}
    assert set(results) == recorded
    for key, got in results.items():
        tolerance = SINGLE_INSIDE if dtype == "float64" and "scheduled" in name else REPEATED[dtype]
        compare(got, GOLDEN[f"{name}/{key}"], tolerance, f"{name} {key}")
