"""150 iris flowers: 4 lengths in cm, 3 species (Fisher, 1936; UCI, CC BY 4.0)."""

from fastnn.datasets import _tabular

CLASSES = ("setosa", "versicolor", "virginica")


def load_data(path=None, test_split=0.2, seed=113):
    """((x_train, y_train), (x_test, y_test)): features (n, d) of float32, class ids of int32.

    Read from iris.csv of scikit-learn in `path` or FASTNN_DATA; the order is drawn with `seed`.
    """
    return _tabular.classification("iris.csv", path, test_split, seed)
