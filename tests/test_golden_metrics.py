"""Metrics against Keras: the result after each of a few updates, and after a reset."""

import numpy as np
import pytest
from golden import cases
from golden.harness import DTYPES, SINGLE, compare, keras, numpy, precision
from golden.store import load

# A metric's state may be float32 whatever the data, as it is in some of Keras' own backends.
TOLERANCE = {"float64": {"rtol": 1e-7, "atol": 1e-8}, "float32": SINGLE["float32"]}
GOLDEN = load("keras_metrics")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", cases.METRICS)
def test_updates(name, weighted, dtype):
    cls, config, _ = cases.METRICS[name]
    if weighted and cls in cases.UNWEIGHTED:
        return
    tag = f"{name}/{'weighted' if weighted else 'plain'}"
    with precision(dtype):
        metric = getattr(keras.metrics, cls)(**config)
        for _ in range(2):  # the second round after a reset
            for i, (args, kwargs) in enumerate(cases.metric_updates(name, weighted)):
                args = [a.astype(dtype) if a.dtype == np.float64 else a for a in args]
                metric.update_state(*args, **kwargs)
                # Keras counts a mean IoU in float32
                tolerance = {"rtol": 1e-6, "atol": 1e-6} if name == "mean_iou" else TOLERANCE[dtype]
                compare(numpy(metric.result()), GOLDEN[f"{tag}/{i}"], tolerance, f"{tag} update {i}")
            metric.reset_state()
