"""Recurrent layers: where a training step's time goes beside the machine's ceiling, and whole steps beside peers.

    python benchmarks/bench_recurrent.py                                           # the table of operations alone
    python benchmarks/bench_recurrent.py --peers numpy,torch,jax,tensorflow --peer-python ~/peers/bin/python

The nets are those of bench_step.py, which measures the peers: an Elman net (32 inputs, 64 units, 50 steps, batch 32),
and LSTM and GRU (64 inputs, 128 units, 100 steps, batch 64), each with a softmax of 10 classes behind it and Adam. The
share of the ceiling is of all multiply-adds of the products, forward and back, at the peak measured in the same run.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

import fastnn
from fastnn import layers

# layer, batch, steps, inputs, units
NETS = {
    "rnn_elman/32": ("SimpleRNN", 32, 50, 32, 64),
    "lstm_long/64": ("LSTM", 64, 100, 64, 128),
    "gru_long/64": ("GRU", 64, 100, 64, 128),
}
GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}


def operations(net, rounds):
    cell, batch, steps, inputs, units = NETS[net]
    rng = np.random.default_rng(0)
    model = fastnn.Sequential([layers.Input((steps, inputs)), getattr(layers, cell)(units), layers.Dense(10)])
    loss = fastnn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(fastnn.optimizers.Adam(1e-3), loss)
    model.train_on_batch(rng.normal(size=(batch, steps, inputs)).astype("float32"), rng.integers(0, 10, batch))
    profile = model.profile(batch_size=batch, steps=rounds)
    text = str(profile)
    print(f"{net}: {cell}\n{text}")
    # forward x W and h U; backward by both weights and by h (the inputs need no gradient)
    flops = 2.0 * batch * steps * GATES[cell] * units * (2 * inputs + 3 * units)
    print(f"products: {flops / 1e6:.0f} MFLOP\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peers", default="", help="as in bench_step.py")
    parser.add_argument("--peer-python", default=sys.executable)
    args, more = parser.parse_known_args()
    fastnn.set_num_threads(args.threads)
    for net in args.nets.split(","):
        operations(net, args.rounds)
    if args.peers:
        command = [sys.executable, Path(__file__).with_name("bench_step.py"), "--nets", args.nets, "--threads",
                   str(args.threads), "--peers", f"fastnn,{args.peers}", "--peer-python", args.peer_python,
                   *more]  # fmt: skip
        sys.exit(subprocess.run(command).returncode)


if __name__ == "__main__":
    main()
