"""MNIST: handwritten digits (LeCun, Cortes and Burges, 1998; usually given as CC BY-SA 3.0)."""

from fastnn.datasets import _idx

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
CLASSES = tuple("0123456789")


def load_data(path=None):
    """((x_train, y_train), (x_test, y_test)): 60,000 and 10,000 images (28, 28) of uint8, labels 0 to 9 of uint8.

    `path`: a folder with the four IDX files (gzipped or not), or Keras' mnist.npz. Default: see `fastnn.datasets`.
    """
    return _idx.load("mnist", FILES, MIRRORS, path)
