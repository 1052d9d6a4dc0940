"""California housing: 20,640 districts of the 1990 census, 8 features, median house value (Pace and Barry, 1997)."""

import csv
import io

import numpy as np

from fastnn.datasets import _tabular, files

FEATURES = ("longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population", "households",
            "median_income")  # fmt: skip
TARGET = "median_house_value"


def load_data(path=None, test_split=0.2, seed=113):
    """((x_train, y_train), (x_test, y_test)): features (n, 8) and value in dollars (n,), float32.

    Read from california_housing.csv(.gz) in `path` or FASTNN_DATA; blanks of total_bedrooms become its median, the
    text column ocean_proximity is left out. The order is drawn with `seed`.
    """
    file = _tabular.find("california_housing.csv", path)
    rows = list(csv.DictReader(io.StringIO(files.read_bytes(file).decode())))
    try:
        columns = np.array([[row[name] or "nan" for name in (*FEATURES, TARGET)] for row in rows], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: not the table expected: {error}") from None
    x, y = columns[:, :-1], columns[:, -1]
    x = np.where(np.isnan(x), np.nanmedian(x, axis=0), x)
    return _tabular.split(x.astype(np.float32), y.astype(np.float32), test_split, seed)
