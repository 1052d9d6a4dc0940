"""What each optimizer, schedule and regulariser reaches: the same network, the same budget, one table for the docs.

    python benchmarks/table_methods.py [--data fashion_mnist] [--output docs/methods.md] [--quick] [--only Muon MixUp]

784-128-64-10 with ReLU, batches of 64. Optimizers and schedules: 6 epochs of 50,000 samples; an optimizer's rate is the
best of three on 10,000 samples held out. Regularisers: Adam at 0.001, 45 epochs of the first 5,000 samples, where
overfitting hurts; the strength is the best of those listed, on the held-out samples. Then three seeds each: mean and
half the range of the test accuracy. --quick takes the digits that come with the package and one seed, and prints the
table; so does --only, which makes some of its rows.
"""

import argparse

import numpy as np

import fastnn
from fastnn import callbacks, constraints, layers, losses, optimizers, regularizers
from fastnn.optimizers import schedules as s

OPTIMIZERS = {
    "SGD": (lambda r: optimizers.SGD(r), (0.03, 0.1, 0.3)),
    "SGD, momentum 0.9": (lambda r: optimizers.SGD(r, momentum=0.9), (0.01, 0.03, 0.1)),
    "SGD, Nesterov 0.9": (lambda r: optimizers.SGD(r, momentum=0.9, nesterov=True), (0.01, 0.03, 0.1)),
    "SGD, momentum schedule to 0.99, look-ahead": (
        lambda r: optimizers.SGD(r, momentum=s.MomentumSchedule(0.99), nesterov="lookahead"),
        (0.003, 0.01, 0.03),
    ),
    "Adagrad": (lambda r: optimizers.Adagrad(r), (0.01, 0.03, 0.1)),
    "RMSprop": (lambda r: optimizers.RMSprop(r), (3e-4, 1e-3, 3e-3)),
    "RMSprop, centred, momentum 0.9": (
        lambda r: optimizers.RMSprop(r, momentum=0.9, centered=True),
        (1e-4, 3e-4, 1e-3),
    ),
    "Adadelta": (lambda r: optimizers.Adadelta(r), (0.3, 1.0, 3.0)),
    "Adam": (lambda r: optimizers.Adam(r), (3e-4, 1e-3, 3e-3)),
    "Adam, AMSGrad": (lambda r: optimizers.Adam(r, amsgrad=True), (3e-4, 1e-3, 3e-3)),
    "AdamW": (lambda r: optimizers.AdamW(r), (3e-4, 1e-3, 3e-3)),
    "Adamax": (lambda r: optimizers.Adamax(r), (1e-3, 3e-3, 1e-2)),
    "Nadam": (lambda r: optimizers.Nadam(r), (3e-4, 1e-3, 3e-3)),
    "Lion": (lambda r: optimizers.Lion(r), (3e-5, 1e-4, 3e-4)),
    "Lamb": (lambda r: optimizers.Lamb(r), (1e-3, 3e-3, 1e-2)),
    "Adafactor": (lambda r: optimizers.Adafactor(r), (1e-2, 3e-2, 1e-1)),
    "Muon": (lambda r: optimizers.Muon(r, exclude_layers=["output"]), (3e-4, 1e-3, 3e-3)),
    "Ftrl": (lambda r: optimizers.Ftrl(r), (0.01, 0.03, 0.1)),
    "ScheduleFreeAdamW": (lambda r: optimizers.ScheduleFreeAdamW(r), (1e-3, 2.5e-3, 5e-3)),
    "Adam, EMA of the weights": (lambda r: optimizers.Adam(r, use_ema=True), (3e-4, 1e-3, 3e-3)),
}

SCHEDULES = {
    "constant": lambda r, n: r,
    "StepDecay, halved 5 times": lambda r, n: s.StepDecay(r, n // 6, 0.5),
    "ExponentialDecay to 1/50": lambda r, n: s.ExponentialDecay(r, n, 0.02),
    "InverseTimeDecay": lambda r, n: s.InverseTimeDecay(r, n, 10.0),
    "PolynomialDecay, power 2": lambda r, n: s.PolynomialDecay(r, n, 0.0, power=2.0),
    "PiecewiseConstantDecay": lambda r, n: s.PiecewiseConstantDecay([n // 2, 3 * n // 4], [r, r / 10, r / 100]),
    "CyclicLearningRate, triangular": lambda r, n: s.CyclicLearningRate(r / 20, r, n // 8),
    "CyclicLearningRate, triangular2": lambda r, n: s.CyclicLearningRate(r / 20, r, n // 8, mode="triangular2"),
    "CyclicLearningRate, exp_range": lambda r, n: s.CyclicLearningRate(
        r / 20, r, n // 8, mode="exp_range", gamma=0.02 ** (1 / n)
    ),
    "OneCycle": lambda r, n: s.OneCycle(r, n),
    "CosineDecay": lambda r, n: s.CosineDecay(r, n),
    "CosineDecayRestarts": lambda r, n: s.CosineDecayRestarts(r, n // 7, t_mul=2.0),
    "WarmUp, then CosineDecay": lambda r, n: s.WarmUp(s.CosineDecay(r, n - n // 10), n // 10),
    "ReduceLROnPlateau (callback)": lambda r, n: r,
}

REGULARISERS = {
    "none": (lambda v: {}, (0,)),
    "L1": (lambda v: {"kernel_regularizer": regularizers.L1(v)}, (1e-5, 1e-4, 1e-3)),
    "L2": (lambda v: {"kernel_regularizer": regularizers.L2(v)}, (1e-4, 1e-3, 1e-2)),
    "Lp, p = 1.5": (lambda v: {"kernel_regularizer": regularizers.Lp(1.5, v)}, (3e-5, 3e-4, 3e-3)),
    "L2 on the activity": (lambda v: {"activity_regularizer": regularizers.L2(v)}, (1e-4, 1e-3)),
    "weight decay (AdamW)": (lambda v: {"optimizer": optimizers.AdamW(1e-3, weight_decay=v)}, (0.03, 0.1, 0.3)),
    "max-norm": (lambda v: {"kernel_constraint": constraints.MaxNorm(v)}, (0.5, 1.0, 2.0)),
    "dropout": (lambda v: {"after": lambda: layers.Dropout(v)}, (0.2, 0.35, 0.5)),
    "Gaussian dropout": (lambda v: {"after": lambda: layers.GaussianDropout(v)}, (0.2, 0.35, 0.5)),
    "alpha dropout, selu": (
        lambda v: {"after": lambda: layers.AlphaDropout(v), "activation": "selu", "kernel_initializer": "lecun_normal"},
        (0.1, 0.2),
    ),
    "Gaussian noise on the inputs": (lambda v: {"first": lambda: layers.GaussianNoise(v)}, (0.1, 0.2, 0.4)),
    "MixUp": (lambda v: {"first": lambda: layers.MixUp(v)}, (0.1, 0.2, 0.4)),
    "batch normalization": (lambda v: {"after": layers.BatchNormalization}, (0,)),
    "label smoothing": (lambda v: {"smooth": v}, (0.1, 0.3)),
    "early stopping": (lambda v: {"patience": v}, (5, 10)),
}


def network(inputs, optimizer=None, activation="relu", after=None, first=None, smooth=0.0, **dense):
    hidden = [first()] if first else []
    for units in (128, 64):
        hidden += [layers.Dense(units, activation=activation, **dense), *([after()] if after else [])]
    model = fastnn.Sequential([layers.Input((inputs,)), *hidden, layers.Dense(10, activation="softmax", name="output")])
    loss = losses.CategoricalCrossentropy(label_smoothing=smooth) if smooth else "sparse_categorical_crossentropy"
    model.compile(optimizer or optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


def reached(make, train, test, epochs, seed, held=None, patience=None, smooth=0.0, plateau=False):
    """(test accuracy, training accuracy) after one training."""
    code = (lambda y: np.eye(10, dtype=np.float32)[y]) if smooth else (lambda y: y)
    fastnn.utils.set_random_seed(seed)
    model = make()
    watch = []
    if patience is not None:
        watch.append(callbacks.EarlyStopping(patience=patience, restore_best_weights=True))
    if plateau:
        watch.append(callbacks.ReduceLROnPlateau(factor=0.3, patience=0, min_delta=0.01))
    more = {"validation_data": (held[0], code(held[1])), "callbacks": watch} if watch else {}
    model.fit(train[0], code(train[1]), epochs=epochs, batch_size=64, verbose=0, **more)
    accuracy = lambda x, y: 100 * float((model.predict(x, batch_size=512).argmax(axis=1) == y).mean())  # noqa: E731
    return accuracy(*test), accuracy(*train)


def row(name, setting, results):
    accuracies, training = (np.array(c) for c in zip(*results, strict=True))
    half = (accuracies.max() - accuracies.min()) / 2
    mean = accuracies.mean()
    print(f"  {name:44} {setting:>8}  {mean:.2f}", flush=True)
    return mean, f"| {name} | {setting} | {mean:.2f} ± {half:.2f} | {training.mean():.2f} |"


def table(title, text, second, rows):
    best_first = [line for _, line in sorted(rows, key=lambda r: -r[0])]
    head = [f"| | {second} | test accuracy, % | training accuracy, % |", "|---|---|---:|---:|"]
    return ["", f"## {title}", "", text, "", *head, *best_first]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="fashion_mnist", choices=("fashion_mnist", "mnist"))
    parser.add_argument("--output", help="the table's file; docs/methods.md unless --quick or --only")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", metavar="ROW")
    given = parser.parse_args()
    unknown = set(given.only or ()) - {*OPTIMIZERS, *SCHEDULES, *REGULARISERS}
    if unknown:
        parser.error(f"there are no rows {sorted(unknown)}")
    name, top = ("digits", 16) if given.quick else (given.data, 255)
    (x, y), (x_test, y_test) = getattr(fastnn.datasets, name).load_data()
    x, x_test = ((a.reshape(len(a), -1) / np.float32(top)).astype(np.float32) for a in (x, x_test))
    cut = len(x) * 5 // 6
    train, held, test = (x[:cut], y[:cut]), (x[cut:], y[cut:]), (x_test, y_test)
    small = (train[0][:5000], train[1][:5000])
    epochs, many, seeds = (2, 3, 1) if given.quick else (6, 45, 3)
    inputs = x.shape[1]

    def section(title, text, second, methods, train, epochs):
        """Rows of a table: methods maps names to (make, settings, what `reached` is told besides)."""
        rows = []
        for label, (make, settings, more) in methods.items():
            if given.only is not None and label not in given.only:
                continue
            one = lambda v, data, seed, make=make, more=more: reached(  # noqa: E731
                lambda: make(v), train, data, epochs, seed, held, **more(v)
            )
            tried = {v: one(v, held, 1)[0] for v in settings}
            best = max(tried, key=tried.get)
            found = [one(best, test, seed) for seed in range(1, seeds + 1)]
            rows.append(row(label, f"{best:g}" if best else "", found))
        return table(title, text, second, rows) if rows else []

    steps = epochs * -(-cut // 64)
    methods = {
        label: (lambda v, make=make: network(inputs, make(v)), rates, lambda v: {})
        for label, (make, rates) in OPTIMIZERS.items()
    }
    text = f"{epochs} epochs of {cut:,} samples. The rate is the best of three on the held-out samples."
    out = section("Optimizers", text, "rate", methods, train, epochs)
    methods = {
        label: (
            lambda v, make=make: network(inputs, optimizers.SGD(make(v, steps), momentum=0.9)),
            (0.03, 0.1),
            lambda v, label=label: {"plateau": "Plateau" in label},
        )
        for label, make in SCHEDULES.items()
    }
    text = (
        f"SGD with momentum 0.9, {epochs} epochs of {cut:,} samples; the highest rate is the better of 0.03 and 0.1 on "
        "the held-out samples."
    )
    out += section("Schedules", text, "highest rate", methods, train, epochs)
    methods = {
        label: (
            lambda v, make=make: network(inputs, **{k: o for k, o in make(v).items() if k != "patience"}),
            strengths,
            lambda v, make=make: {k: o for k, o in make(v).items() if k in ("patience", "smooth")},
        )
        for label, (make, strengths) in REGULARISERS.items()
    }
    text = (
        f"Adam at 0.001, {many} epochs of the first {len(small[0]):,} samples. The strength is the best of those tried "
        "on the held-out samples."
    )
    out += section("Regularisers", text, "strength", methods, small, many)

    head = [
        "# What each method reaches",
        "",
        f"{name.replace('_', '-')}, {inputs}-128-64-10 with ReLU, batches of 64, "
        f"{'one seed' if seeds == 1 else f'{seeds} seeds'}: mean ± half the range, the best first. Differences within "
        "the ranges mean nothing, and another network or budget gives another order. Line searches and L-BFGS work "
        "on the whole batch and are not in this budget: "
        "[gallery](gallery.md). Made by:",
        "",
        f"    python benchmarks/table_methods.py{' --quick' if given.quick else f' --data {name}'}",
    ]
    page = "\n".join([*head, *out]) + "\n"
    path = given.output or (None if given.quick or given.only is not None else "docs/methods.md")
    if path is None:
        print(page)
        return
    with open(path, "w") as file:
        file.write(page)
    print(path)


if __name__ == "__main__":
    main()
