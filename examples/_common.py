"""What the examples share: arguments, data, what is said of mistakes, and how a picture is written."""

import argparse
import os
import sys

import numpy as np

import fastnn

#: How a picture's name may end.
KINDS = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp")


def stop(message):
    """Ends the example with a message on stderr and exit code 2."""
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr)
    raise SystemExit(2)


def load(read, *arguments):
    """What read(*arguments) gives; where the files are missing or damaged, the end with what it says of them."""
    try:
        return read(*arguments)
    except (OSError, ValueError, ImportError) as error:  # ImportError: pictures without Pillow
        stop(f"{error}\nWithout files: --quick")


def picture_file(path):
    """The type of --output: a file that a picture can be written to."""
    folder, kind = os.path.dirname(path) or ".", os.path.splitext(path)[1].lower()
    if os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{path} is a folder, expected a file such as picture.png")
    if kind not in KINDS:
        raise argparse.ArgumentTypeError(f"{path} must end in one of {', '.join(KINDS)}")
    if not os.path.isdir(folder):
        raise argparse.ArgumentTypeError(f"there is no folder {folder}")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written to")
    return path


def _prepare_matplotlib():
    try:
        import matplotlib
    except ImportError:
        stop("the examples draw with matplotlib: pip install 'fastnn-cpu[plot]'")
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 8, "axes.titlesize": 8, "legend.fontsize": 6.5, "axes.grid": False})


def arguments(doc, name, data="mnist", **extra):
    """The command line: --quick (embedded data, seconds), --data, --output; `extra`: further options, name=default."""
    parser = argparse.ArgumentParser(description=doc.strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="embedded data and few epochs: seconds")
    if data is not None:
        parser.add_argument("--data", choices=("digits", "mnist", "fashion_mnist"), default=None)
    parser.add_argument("--output", type=picture_file, default=f"{name}.png", help="the picture's file")
    for key, default in extra.items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=type(default), default=default)
    given = parser.parse_args()
    _prepare_matplotlib()
    given.quick = given.quick or os.environ.get("FASTNN_QUICK") == "1"
    if data is not None:
        given.data = given.data or ("digits" if given.quick else data)
    fastnn.utils.set_random_seed(1)
    return given


def images(name, train=None):
    """((x, y), (x_test, y_test)), flat float32 images in [0, 1], and the side of one; the first `train` samples."""
    parts = load(getattr(fastnn.datasets, name).load_data)
    top = 16.0 if name == "digits" else 255.0
    (x, y), (x_test, y_test) = (((a.reshape(len(a), -1) / top).astype(np.float32), b) for a, b in parts)
    return (x[:train], y[:train]), (x_test, y_test), int(np.sqrt(x.shape[1]))


def zeros_and_ones():
    """Handwritten zeros and ones by three measures, (n, 3): ink in the hole, on the left and in the middle columns,
    standardised; classes 0 and 1."""
    (x, y), _ = fastnn.datasets.digits.load_data()
    x, y = x[y < 2].astype(np.float64), y[y < 2].astype(np.int64)
    parts = x[:, 3:5, 3:5], x[:, 2:6, 1:3], x[:, :, 3:5]
    measures = np.stack([part.mean(axis=(1, 2)) for part in parts], axis=1)
    return (measures - measures.mean(axis=0)) / measures.std(axis=0), y


def classifier(inputs, units=(64,), activation="relu", optimizer="adam", extra=list, classes=10, **dense):
    """A compiled network of Dense layers; `extra` makes layers to put after each hidden one."""
    from fastnn import layers

    hidden = []
    for n in units:
        hidden += [layers.Dense(n, activation=activation, **dense), *extra()]
    model = fastnn.Sequential([layers.Input((inputs,)), *hidden, layers.Dense(classes, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def panels(rows=1, columns=1, size=(2.6, 2.3), **options):
    """A figure and its axes, as plt.subplots."""
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=(size[0] * columns, size[1] * rows), layout="constrained", **options)


def sheet(axes, pictures, rows, columns, title=None):
    """Draws (n, side, side) pictures as one, each scaled by itself."""
    side = pictures.shape[1]
    out = np.ones((rows * (side + 1) - 1, columns * (side + 1) - 1))
    for j, one in enumerate(pictures[: rows * columns]):
        r, c = divmod(j, columns)
        low, high = one.min(), one.max()
        part = (one - low) / max(high - low, 1e-12)
        out[r * (side + 1) : r * (side + 1) + side, c * (side + 1) : c * (side + 1) + side] = part
    axes.imshow(out, cmap="gray", interpolation="nearest")
    axes.set(xticks=[], yticks=[], title=title)


def save(figure, path, colors=128):
    """Writes the picture; a PNG small, with a palette of so many colors."""
    import io

    from PIL import Image

    if path.lower().endswith(".png"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100)
        buffer.seek(0)
        Image.open(buffer).convert("RGB").quantize(colors).save(path, optimize=True)
    else:
        figure.savefig(path, dpi=100)
    print(f"picture: {path}")
