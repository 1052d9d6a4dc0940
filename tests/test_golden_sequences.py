"""Recurrent and attention models trained for some epochs, against Keras: history, weights, predictions."""

import pytest
from golden import sequences
from golden.harness import DTYPES, REPEATED, SINGLE_INSIDE, compare, keras, precision
from golden.store import load

GOLDEN = load("keras_sequences")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sequences.CASES)
def test_run(name, dtype):
    with precision(dtype):
        results = sequences.run(keras, name)
    recorded = {key.removeprefix(f"{name}/") for key in GOLDEN if key.startswith(f"{name}/")}
    assert set(results) == recorded
    # Keras holds the factors of penalties and MultiHeadAttention's 1 / sqrt(key_dim) in float32
    inside = dtype == "float64" and (name == "attention" or "regular" in name)
    tolerance = SINGLE_INSIDE if inside else REPEATED[dtype]
    for key, got in results.items():
        compare(got, GOLDEN[f"{name}/{key}"], tolerance, f"{name} {key}")
