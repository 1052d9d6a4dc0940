"""Fashion-MNIST: pictures of clothing (Xiao, Rasul and Vollgraf, 2017; MIT licence)."""

from fastnn.datasets import _idx

MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
FILES = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def load_data(path=None):
    """((x_train, y_train), (x_test, y_test)): 60,000 and 10,000 images (28, 28) of uint8, labels 0 to 9 of uint8.

    `path`: a folder with the four IDX files (gzipped or not), or an .npz. Default: see `fastnn.datasets`.
    """
    return _idx.load("fashion-mnist", FILES, MIRRORS, path)
