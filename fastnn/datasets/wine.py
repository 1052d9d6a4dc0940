"""178 wines: 13 chemical measurements, 3 growers (UCI, CC BY 4.0)."""

from fastnn.datasets import _tabular

CLASSES = ("class_0", "class_1", "class_2")


def load_data(path=None, test_split=0.2, seed=113):
    """((x_train, y_train), (x_test, y_test)): features (n, d) of float32, class ids of int32.

    Read from wine_data.csv of scikit-learn in `path` or FASTNN_DATA; the order is drawn with `seed`.
    """
    return _tabular.classification("wine_data.csv", path, test_split, seed)
