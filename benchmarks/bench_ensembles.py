"""A bagged ensemble trained one member after the other and side by side.

    python benchmarks/bench_ensembles.py [--members 8] [--rounds 5]

Every round trains the same members (same first weights, samples and orders) in three ways, taking turns: one after the
other with one thread, one after the other with all threads in every step, and side by side, a member a thread. The
weights must come out the same. As the ceiling, processes of their own train their share of as many members, with
nothing in common but the machine. Medians of the rounds; "times faster" is the ratio to one after the other with one
thread.
"""

import argparse
import functools
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import fastnn
from fastnn import ensembles, layers, optimizers


def make_model():
    model = fastnn.Sequential(
        [
            layers.Input((64,)),
            layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@functools.cache
def data():
    (x, y), (xt, yt) = fastnn.datasets.digits.load_data()
    return (*((a.reshape(-1, 64) / 16).astype(np.float32) for a in (x, xt)), y, yt)


def share(members, epochs):
    """What a process of its own trains."""
    x, _, y, _ = data()
    train(members, 1, 1, x, y, epochs)


def train(members, workers, threads, x, y, epochs):
    """Seconds of the training, and the ensemble."""
    fastnn.set_num_threads(threads)
    bag = ensembles.Bagging(make_model, members=members, seed=1)
    start = time.perf_counter()
    bag.fit(x, y, workers=workers, epochs=epochs, batch_size=32)
    return time.perf_counter() - start, bag


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    x, xt, y, yt = data()
    ways = {
        "one after the other, 1 thread": (1, 1),
        f"one after the other, {cores} threads": (None, cores),
        f"side by side, {cores} at a time": (cores, cores),
    }
    times, bags = {way: [] for way in ways}, {}
    apart = f"{cores} processes, the ceiling"
    times[apart], shares = [], ([arguments.members // cores] * cores, [arguments.epochs] * cores)
    pool = ProcessPoolExecutor(cores, multiprocessing.get_context("spawn"))
    list(pool.map(share, *shares))  # they have started now
    for _ in range(arguments.rounds):
        for way, (workers, threads) in ways.items():
            if workers is None:  # all threads in every step
                fastnn.set_num_threads(threads)
                bag = ensembles.Bagging(make_model, members=arguments.members, seed=1)
                start = time.perf_counter()
                for j, member in enumerate(bag.members):
                    rows = bag.sample(j, len(x))
                    member.fit(x[rows], y[rows], epochs=arguments.epochs, batch_size=32, verbose=0)
                seconds = time.perf_counter() - start
            else:
                seconds, bag = train(arguments.members, workers, threads, x, y, arguments.epochs)
            times[way].append(seconds)
            bags[way] = bag
        start = time.perf_counter()
        list(pool.map(share, *shares))
        times[apart].append(time.perf_counter() - start)
    pool.shutdown()
    first, *others = bags.values()
    for other in others:
        for a, b in zip(first.members, other.members, strict=True):
            assert all(np.array_equal(v, w) for v, w in zip(a.get_weights(), b.get_weights(), strict=True))
    base = statistics.median(next(iter(times.values())))
    print(f"{fastnn.runtime_info()['name']}, {cores} cores, {arguments.members} members, {arguments.epochs} epochs")
    for way, seconds in times.items():
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.2f} to {max(seconds):.2f} s"
        print(f"{way:36} median {middle:6.2f} s ({spread})  {base / middle:.2f} times faster")
    print(f"test accuracy: members {np.mean([m.evaluate(xt, yt, verbose=0)[1] for m in first.members]):.4f}, "
          f"average {first.accuracy(xt, yt):.4f}, vote {first.accuracy(xt, yt, 'vote'):.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
