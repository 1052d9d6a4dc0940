"""569 breast tumours: 30 measurements of cell nuclei, malignant or benign (Wolberg et al., 1995; UCI, CC BY 4.0)."""

from fastnn.datasets import _tabular

CLASSES = ("malignant", "benign")


def load_data(path=None, test_split=0.2, seed=113):
    """((x_train, y_train), (x_test, y_test)): features (n, d) of float32, class ids of int32.

    Read from breast_cancer.csv of scikit-learn in `path` or FASTNN_DATA; the order is drawn with `seed`.
    """
    return _tabular.classification("breast_cancer.csv", path, test_split, seed)
