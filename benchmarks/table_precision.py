"""What lower precision costs in accuracy: the table of docs/precision.md.

    python benchmarks/table_precision.py [--data mnist fashion_mnist] [--nets mlp lenet5] [--seeds 10] [--epochs 5]
    python benchmarks/table_precision.py --data cifar10 --nets resnet20 cifar_cnn --images 4000 --epochs 10

Each net is trained from each seed (weights and order of the samples) at each precision that runs something of its own
on this processor; the same seed means the same start and the same batches. Test accuracy in percent, mean and standard
error over the seeds, and the mean difference from float32 on the same seed with its standard error. `--images`: only
the first so many training images. `--levels`: these beside float32, in place of all.
"""

import argparse
import time

import numpy as np

import fastnn
from fastnn import applications, config, datasets, layers, precision

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", nargs="+", default=["mnist", "fashion_mnist"])
parser.add_argument("--nets", nargs="+", choices=("mlp", "lenet5", "resnet20", "cifar_cnn"), default=["mlp", "lenet5"])
parser.add_argument("--seeds", type=int, default=10)
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--images", type=int)
parser.add_argument("--levels", nargs="+", choices=(*precision.PARTS, "mixed_bfloat16"))
ARGS = parser.parse_args()


def mlp():
    """784-256-128-10."""
    return fastnn.Sequential(
        [
            fastnn.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax", dtype="float32"),
        ]
    )


NETS = {
    "mlp": mlp,
    "lenet5": applications.LeNet5,
    "resnet20": applications.ResNet20,
    "cifar_cnn": applications.CifarCNN,
}


def accuracy(net, level, seed, data):
    (x, y), (x_test, y_test) = data
    fastnn.utils.set_random_seed(seed)
    if level == "mixed_bfloat16":
        config.set_dtype_policy(level)
    try:
        model = NETS[net]()
        model.compile(
            "adam",
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            matmul_precision="highest" if level == "mixed_bfloat16" else level,
        )
        model.fit(x, y, epochs=ARGS.epochs, batch_size=128, verbose=0)
    finally:
        config.set_dtype_policy(None)
    return 100 * model.evaluate(x_test, y_test, verbose=0)[1]


def spread(values):
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2f}"


levels = ARGS.levels or [*(level for level in precision.PARTS if precision.choose(level)[0]), "mixed_bfloat16"]
levels = ["highest", *(level for level in levels if level != "highest")]
print("\n".join(f"{level}: {precision.describe(level)}" for level in precision.PARTS), flush=True)
print(f"\n| data | net | precision | test accuracy, % | difference | minutes |\n{'|---' * 6}|")
for name in ARGS.data:
    data = [(x if x.ndim == 4 else x[..., None], y.ravel()) for x, y in getattr(datasets, name).load_data()]
    data[0] = tuple(v[: ARGS.images] for v in data[0])
    for net in ARGS.nets:
        base = None
        for level in levels:
            start = time.perf_counter()
            found = np.array([accuracy(net, level, seed, data) for seed in range(1, ARGS.seeds + 1)])
            base = found if base is None else base
            difference = "" if level == "highest" else spread(found - base)
            minutes = (time.perf_counter() - start) / 60
            print(f"| {name} | {net} | {level} | {spread(found)} | {difference} | {minutes:.1f} |", flush=True)
