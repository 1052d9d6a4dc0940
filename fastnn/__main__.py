"""The command line: python -m fastnn train | info | bench | inspect.

A user's mistake ends in one line on stderr and exit code 2; Ctrl-C in 130. Anything else is a bug and shows itself.
"""

import argparse
import os
import sys

import fastnn

#: Sizes of hidden layers, by name.
MODELS = {"linear": (), "small": (64,), "medium": (128, 64), "large": (512, 256, 128)}
IMAGES = {"digits": 16.0, "mnist": 255.0, "fashion_mnist": 255.0}  # largest pixel value


def main(argv=None):
    arguments = _parser().parse_args(argv)
    try:
        from fastnn import _core  # noqa: F401  reads the environment
    except RuntimeError as error:
        print(f"fastnn {arguments.command}: {error}", file=sys.stderr)
        return 2
    try:
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        return 0
    except (ValueError, TypeError, OSError, ImportError, MemoryError, FloatingPointError) as error:
        if os.environ.get("FASTNN_DEBUG"):
            raise
        message = str(error) or type(error).__name__
        print(f"fastnn {arguments.command}: {' '.join(message.split())}", file=sys.stderr)
        return 2


#: What train does when not told otherwise: settings that reach 97 % on the digits and 98 % on MNIST.
DEFAULTS = {"model": "medium", "epochs": 30, "batch_size": 32, "dropout": 0.0}
IMAGE_DEFAULTS = {"model": "512-256", "epochs": 10, "batch_size": 128, "dropout": 0.2}


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line."""

    def error(self, message):
        """One line, without the list of all options."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser():
    parser = Parser(prog="fastnn", description="Neural networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"fastnn {fastnn.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train a dense network on a data set or a table")
    train.set_defaults(run=_train)
    train.add_argument("--data", default="digits", help="digits (built in), mnist, fashion_mnist, FILE.csv or FILE.npz")
    train.add_argument("--label", default="-1", help="the CSV column to predict: number or name (default: the last)")
    train.add_argument("--task", choices=("auto", "classification", "regression"), default="auto")
    train.add_argument("--missing", choices=("error", "drop", "mean"), default="error", help="missing CSV values")
    train.add_argument(
        "--model",
        help=f"hidden sizes, such as 256-128, or {', '.join(MODELS)} "
        "(default: medium; 512-256 for mnist and fashion_mnist)",
    )
    train.add_argument("--activation", default="relu")
    train.add_argument("--epochs", type=_positive, help="default: 30; 10 for mnist and fashion_mnist")
    train.add_argument("--batch-size", type=_positive, help="default: 32; 128 for mnist and fashion_mnist")
    train.add_argument("--optimizer", default="adam")
    train.add_argument("--learning-rate", type=_number, help="default: the optimizer's own")
    train.add_argument(
        "--dropout",
        type=_number,
        help="rate after each hidden layer, in [0, 1) (default: 0; 0.2 for mnist and fashion_mnist)",
    )
    train.add_argument("--validation-split", type=_number, default=0.1, help="fraction of the training data")
    train.add_argument("--test-split", type=_number, default=0.2, help="fraction of data that come without a test part")
    train.add_argument("--patience", type=int, help="stop after so many epochs without a better validation loss")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--threads", type=_positive, help="default: the processors this process may use")
    train.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    train.add_argument("--output", default="fastnn-output", help="folder for the model and the learning curve")
    train.add_argument("--quiet", action="store_true", help="print the result only")

    info = commands.add_parser("info", help="version, instruction sets, threads, caches, processor")
    info.set_defaults(run=_info)

    bench = commands.add_parser("bench", help="a short benchmark against NumPy and other libraries that are there")
    bench.set_defaults(run=_bench)
    bench.add_argument("--threads", type=_positive, default=1)
    bench.add_argument("--only", help="cases whose name holds this text")
    bench.add_argument("--peers", default="numpy,torch,sklearn", help="which libraries (default: all that are there)")
    bench.add_argument("--rounds", type=_positive, default=15)

    inspect = commands.add_parser("inspect", help="what is in a saved model")
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("file")
    return parser


def _positive(text):
    if not text.strip().isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {2**31 - 1}, got {text!r}")
    return int(text)


def _number(text):
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number from 0 on, got {text!r}")
    return value


# ---- train ----


def _train(arguments):
    import numpy as np

    from fastnn import callbacks, utils

    for name, value in (IMAGE_DEFAULTS if arguments.data in ("mnist", "fashion_mnist") else DEFAULTS).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    _check_train(arguments)
    sizes = _sizes(arguments.model)
    if arguments.threads:
        fastnn.set_num_threads(arguments.threads)
    utils.set_random_seed(arguments.seed)
    utils.clear_session()  # the file names layers: the same for every run
    say = (lambda *words: None) if arguments.quiet else print

    (x, y), (x_test, y_test), classes = _load(arguments)
    x, x_test = (np.ascontiguousarray(part, dtype=arguments.dtype) for part in (x, x_test))
    shift, scale = _scaling(arguments.data, x)
    y_shift, y_scale = 0, 1
    if classes is None:
        y = np.asarray(y, arguments.dtype).reshape(len(y), -1)
        y_test = np.asarray(y_test, arguments.dtype).reshape(len(y_test), -1)
        y_shift, y_scale = _scaling(None, y)
    inputs = f"{arguments.data}: {len(x)} training and {len(x_test)} test samples of shape {x.shape[1:]}"
    say(f"{inputs}, {'regression' if classes is None else f'{len(classes)} classes'}")
    # Before the folder is made and time is spent: everything that can be wrong with the arguments.
    model = _build(x.shape[1:], sizes, y.shape[1] if classes is None else len(classes), classes is None, arguments)
    curve = os.path.join(arguments.output, "learning_curve.png")
    if os.path.exists(arguments.output) and not os.path.isdir(arguments.output):
        raise ValueError(f"--output {arguments.output} is not a folder")
    if os.path.isdir(curve):
        raise ValueError(f"--output {arguments.output}: {curve} is a folder; the learning curve goes there")
    os.makedirs(arguments.output, exist_ok=True)
    if not arguments.quiet:
        model.summary()

    watch = []
    if arguments.patience is not None:
        monitor = "val_loss" if arguments.validation_split else "loss"
        watch.append(
            callbacks.EarlyStopping(monitor, patience=arguments.patience, restore_best_weights=True, verbose=1)
        )
    order = np.random.Generator(np.random.Philox(key=arguments.seed)).permutation(len(x))
    history = model.fit(
        (x[order] - shift) / scale,
        y[order] if classes is not None else (y[order] - y_shift) / y_scale,
        batch_size=arguments.batch_size,
        epochs=arguments.epochs,
        validation_split=arguments.validation_split,
        callbacks=watch,
        verbose=0 if arguments.quiet else "auto",
    )
    _fold_scaling(model, shift, scale, y_shift, y_scale)
    results = model.evaluate(x_test, y_test, batch_size=256, verbose=0, return_dict=True)
    path = os.path.join(arguments.output, "model.safetensors")
    model.save(path, include_optimizer=False)
    say(f"model: {path} (takes the data as they are, unscaled)")
    try:
        utils.plot_history(history, curve, title=f"{arguments.data}, {arguments.model}")
        say(f"learning curve: {curve}")
    except ImportError:
        say("learning curve: left out (pip install matplotlib)")
    if classes is None:
        absolute, square = results["mean_absolute_error"], results["loss"] ** 0.5
        print(f"test error: {absolute:.6g} mean absolute, {square:.6g} root mean square")
    else:
        print(f"test accuracy: {100 * results['accuracy']:.2f} %")
    return 0


def _check_train(arguments):
    for name in ("validation_split", "test_split", "dropout"):
        value = getattr(arguments, name)
        if not value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be in [0, 1), got {value:g}")
    if arguments.learning_rate == 0:
        raise ValueError("--learning-rate must be greater than 0")
    if arguments.seed < 0:
        raise ValueError(f"--seed must not be negative, got {arguments.seed}")


def _sizes(text):
    if text in MODELS:
        return MODELS[text]
    try:
        sizes = tuple(int(part) for part in text.split("-"))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise ValueError(f"--model must be hidden sizes, such as 256-128, or one of {', '.join(MODELS)}; got {text!r}")
    return sizes


def _load(arguments):
    """(x, y), (x_test, y_test), class names or None for a regression."""
    import numpy as np

    from fastnn import datasets

    name = arguments.data
    if name in IMAGES:
        module = getattr(datasets, name)
        train, test = module.load_data()
        return _ids(train), _ids(test), module.CLASSES
    if not os.path.isfile(name):
        what = "there is no such file" if name.endswith((".csv", ".gz", ".npz", ".tsv", ".txt")) else "unknown data set"
        raise ValueError(f"--data {name}: {what}; expected {', '.join(IMAGES)}, FILE.csv or FILE.npz")
    if name.endswith(".npz"):
        (x, y), test = datasets.load_npz(name)
        classes = None
        if arguments.task == "classification" or (arguments.task == "auto" and y.dtype.kind in "iubUS"):
            labels = [_labels(name, part) for part in (y, test[1]) if part is not None]
            values = np.unique(np.concatenate(labels))
            classes = tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values)
            y, *rest = (np.searchsorted(values, part).astype(np.int32) for part in labels)
            test = (test[0], *(rest or [None]))
        elif y.dtype.kind not in "iufb":
            raise ValueError(f"--data {name}: labels are of {y.dtype}; a regression needs numbers")
        elif not np.all(np.isfinite(y)):
            raise ValueError(f"--data {name}: the values to predict must be finite")
        if test[0] is not None:
            return (x, y), test, classes
    else:
        try:
            table = datasets.load_csv(name, label=arguments.label, task=arguments.task, missing=arguments.missing)
        except ValueError as error:  # arguments have other names here
            raise ValueError(str(error).replace("missing='", "--missing '").replace("; pass encoding=", "")) from None
        x, y, classes = table.x, table.y, table.classes
    if classes is not None and len(classes) < 2:
        raise ValueError(f"--data {name}: all labels are {classes[0]!r}")
    rows = np.random.Generator(np.random.Philox(key=arguments.seed)).permutation(len(x))
    count = round(len(x) * arguments.test_split)
    if count < 1 or count >= len(x):
        raise ValueError(
            f"--data {name}: {len(x)} samples cannot be split with --test-split {arguments.test_split:g}: "
            "both parts need one at least"
        )
    test, train = rows[:count], rows[count:]
    return (x[train], y[train]), (x[test], y[test]), classes


def _ids(part):
    return part[0], part[1].astype("int32")


def _labels(name, y):
    """The labels of an NPZ file, one a sample: a column as it is, of one-hot rows the places of the ones."""
    import numpy as np

    if y.dtype.kind == "f" and not np.all(np.isfinite(y)):
        raise ValueError(f"--data {name}: labels must be finite")
    if y.ndim == 1 or y.shape[1:] == (1,):
        return y.reshape(len(y))
    if y.ndim == 2 and y.dtype.kind in "iufb" and np.all((y == 0) | (y == 1)) and np.all(y.sum(axis=1) == 1):
        return y.argmax(axis=1)
    raise ValueError(
        f"--data {name}: labels must be one a sample, or one-hot rows; got shape {y.shape} of {y.dtype}"
        " (--task regression predicts several values)"
    )


def _scaling(name, x):
    """(shift, scale): pixels to [0, 1], the columns of a table to mean 0 and standard deviation 1."""
    if name in IMAGES:
        return 0.0, IMAGES[name]
    mean, deviation = x.mean(axis=0, dtype="float64"), x.std(axis=0, dtype="float64")
    deviation[deviation == 0] = 1.0
    return mean.astype(x.dtype), deviation.astype(x.dtype)


def _build(shape, sizes, outputs, regression, arguments):
    """Flatten, hidden layers, and an output of logits or values; compiled."""
    from fastnn import layers, losses, optimizers

    dtype = arguments.dtype
    model = fastnn.Sequential(name="network")
    model.add(fastnn.Input(shape, dtype=dtype))
    if len(shape) > 1:
        model.add(layers.Flatten(dtype=dtype))
    for size in sizes:
        model.add(layers.Dense(size, activation=arguments.activation, dtype=dtype))
        if arguments.dropout:
            model.add(layers.Dropout(arguments.dropout, dtype=dtype))
    model.add(layers.Dense(outputs, dtype=dtype))
    optimizer = optimizers.get(arguments.optimizer)
    if arguments.learning_rate is not None:
        optimizer.learning_rate = arguments.learning_rate
    if regression:
        model.compile(optimizer=optimizer, loss="mean_squared_error", metrics=["mean_absolute_error"])
    else:
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


def _fold_scaling(model, shift, scale, y_shift, y_scale):
    """Puts x -> (x - shift) / scale into the first dense layer and y -> y y_scale + y_shift into the last one, so that
    the saved model takes and gives data as they are.

    w <- w / scale, b <- b - (shift / scale) w;  w <- w y_scale, b <- b y_scale + y_shift.
    """
    import numpy as np

    dense = [layer for layer in model.layers if len(layer.get_weights()) == 2]
    w, b = dense[0].get_weights()
    shift, scale = (np.broadcast_to(np.ravel(value).astype("float64"), w.shape[0]) for value in (shift, scale))
    folded = w / scale[:, None]
    dense[0].set_weights([folded.astype(w.dtype), (b - shift @ folded).astype(b.dtype)])
    w, b = dense[-1].get_weights()
    dense[-1].set_weights([(w * y_scale).astype(w.dtype), (b * y_scale + y_shift).astype(b.dtype)])


# ---- info ----


def _info(arguments):
    import platform

    import numpy as np

    from fastnn import _core, precision

    cpu = _core.cpu()
    caches = ", ".join(f"L{level} {_size(size)}" for level, size in cpu["caches"].items() if size > 0)
    rows = {
        "fastnn": fastnn.__version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "NumPy": np.__version__,
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": cpu["name"] or "unknown",
        "usable processors": cpu["processors"],
        "threads": f"{_core.get_threads()} (FASTNN_NUM_THREADS, fastnn.set_num_threads)",
        "instruction set": f"{_core.isa()} (FASTNN_ISA)",
        "available": ", ".join(_core.isas()),
        "vector width": ", ".join(f"{width} {dtype}" for dtype, width in cpu["vector_width"].items()),
        "caches": caches or "unknown",
        **{f"precision {level}": precision.describe(level) for level in precision.PARTS},
        "compiler": getattr(_core, "COMPILER", "unknown"),
        "kernels": len(_core.KERNELS),
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")


def _size(count):
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}"
        count /= 1024


# ---- bench, inspect ----


def _bench(arguments):
    from fastnn import benchmark

    peers = [name for name in arguments.peers.split(",") if name]
    benchmark.main(threads=arguments.threads, peers=peers, only=arguments.only, rounds=arguments.rounds)


def _inspect(arguments):
    import json
    import math

    from fastnn.saving import safetensors
    from fastnn.saving.state import load_metadata, load_state

    path = arguments.file
    if not os.path.isfile(path):
        raise ValueError(f"there is no file {path}")
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        rows = [(name, str(array.dtype), array.shape) for name, array in load_state(path)[0].items()]
    else:
        rows = [(name, code, shape) for name, (code, shape, _, _) in safetensors.read_header(path)[0].items()]
    metadata = load_metadata(path)
    print(f"{path}: {_size(os.path.getsize(path))}, {len(rows)} arrays")
    config = metadata.get("model") or {}
    if config:
        inner = config.get("config") or {}
        print(f"model: {config.get('class_name')} {inner.get('name', '')!r}")
        for layer in inner.get("layers") or ():
            settings = {
                key: value
                for key, value in (layer.get("config") or {}).items()
                if key != "name" and isinstance(value, (int, float, str, list)) and value not in ([], True)
            }
            print(f"  {layer.get('class_name')}: {json.dumps(settings)}")
    other = sorted(set(metadata) - {"model"})
    if other:
        print(f"also holds: {', '.join(other)}")
    width = max((len(name) for name, _, _ in rows), default=0)
    for name, dtype, shape in sorted(rows):
        print(f"  {name:{width}}  {dtype:8}  {tuple(shape)}")
    weights = sum(math.prod(shape) for name, _, shape in rows if not name.startswith("optimizer/"))
    print(f"parameters: {weights:,}")


if __name__ == "__main__":
    sys.exit(main())
