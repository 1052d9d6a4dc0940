"""Weights kept packed at lower precision: training and prediction with the copies and without, in the same rounds.

    python benchmarks/bench_packed.py [--threads N] [--precision medium] [--rounds 9]

Dense nets, Adam; us a step, medians of turns of one call of fit (predict) over several steps. Without copies every
product makes its own, as in a step alone. "trained, all": with copies also of trained weights of any size.
"""

import argparse
import statistics
from functools import partial

import numpy as np

import fastnn
from fastnn import layers
from fastnn.benchmark import take_turns
from fastnn.compiler import packed

#: sizes, batch, steps of a call
NETS = [
    ((784, 256, 128, 10), 32, 256),
    ((784, 256, 128, 10), 128, 64),
    ((512, 512, 512, 10), 32, 64),
    ((1024, 1024, 1024, 10), 32, 32),
    ((1024, 2048, 2048, 1000), 32, 8),
]
#: name: (most rows of a product, most elements of trained weights) that keep copies
WAYS = {
    "none": (0, 0),
    "kept": (packed.MOST_ROWS, packed.MOST_TRAINED),
    "trained, all": (packed.MOST_ROWS, 10**9),
}


def run(way, call):
    packed.MOST_ROWS, packed.MOST_TRAINED = WAYS[way]  # looked at when a step is compiled, be it again
    call()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="medium")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    fastnn.set_num_threads(arguments.threads)
    rng = np.random.default_rng(0)
    for sizes, batch, steps in NETS:
        x = rng.random((batch * steps, sizes[0]), dtype=np.float32)
        y = rng.integers(0, sizes[-1], batch * steps)
        calls = {}
        for way in WAYS:
            hidden = [layers.Dense(n, activation="relu") for n in sizes[1:-1]]
            model = fastnn.Sequential([fastnn.Input((sizes[0],)), *hidden, layers.Dense(sizes[-1])])
            loss = fastnn.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("adam", loss, matmul_precision=arguments.precision)
            fit = partial(model.fit, x, y, batch_size=batch, shuffle=False, verbose=0)
            predict = partial(model.predict, x, batch_size=batch, verbose=0)
            calls["fit", way], calls["predict", way] = partial(run, way, fit), partial(run, way, predict)
        times = take_turns(calls, rounds=arguments.rounds, block=0)
        for kind in ("fit", "predict"):
            shown = "  ".join(f"{way} {statistics.median(times[kind, way]) / steps * 1e6:9.1f}" for way in WAYS)
            print(f"{'-'.join(map(str, sizes)):22} batch {batch:4} {kind:8} {shown}", flush=True)


if __name__ == "__main__":
    main()
