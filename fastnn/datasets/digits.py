"""1,797 handwritten digits of 8 x 8 pixels, within the package: README.md beside this file says where from.

Source: UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998; CC BY 4.0), as shipped with
scikit-learn (BSD 3-clause).
"""

import importlib.resources

import numpy as np

CLASSES = tuple("0123456789")


def load_data():
    """((x_train, y_train), (x_test, y_test)): 1,437 and 360 images (8, 8) of uint8 0 to 16, labels 0 to 9 of uint8.

    The split is fixed and stratified.
    """
    with importlib.resources.files("fastnn.datasets").joinpath("digits.npz").open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
