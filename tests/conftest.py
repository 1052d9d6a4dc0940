"""What all tests share: seeds, the number of threads put back, data sets that may be absent."""

import os
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.utils import seeding


@pytest.fixture(autouse=True)
def seeded():
    """Every test begins with the same random state, whatever ran before it."""
    seeding.set_random_seed(1234)
    np.random.seed(1234)
    yield


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture
def threads():
    """A function that sets the number of threads; the old number comes back afterwards."""
    before = fastnn.get_num_threads()
    yield fastnn.set_num_threads
    fastnn.set_num_threads(before)


@pytest.fixture
def float64():
    """New layers are of float64."""
    before = fastnn.config.floatx()
    fastnn.config.set_floatx("float64")
    yield
    fastnn.config.set_floatx(before)


def pytest_collection_modifyitems(items):
    folder = os.environ.get("FASTNN_DATA")
    if folder and Path(folder).is_dir():
        return
    skip = pytest.mark.skip(reason="FASTNN_DATA names no folder of data sets")
    for item in items:
        if item.get_closest_marker("data"):  # keywords hold the names of folders too
            item.add_marker(skip)
