"""Time whole training steps (and predictions) of fastnn beside other libraries: ``python benchmarks/bench_step.py``.

Every peer runs in a process of its own, restricted to ``--threads`` cores, and the processes take turns in short
blocks, so that a change of the machine's speed meets all of them. Before any timing each one trains a number of steps
from the same weights on the same batches, and its loss (evaluated in NumPy, float64) must agree with the others': the
same work, or no figure.

    python benchmarks/bench_step.py --threads 1 --nets mlp_mnist/32,tiny_xor/4 --peers fastnn,torch,jax
    python benchmarks/bench_step.py --peer-python ~/peers/bin/python --peers torch:compile-step+tcm --json out.json
    python benchmarks/bench_step.py --peers fastnn:fit,fastnn:fit-mixed_bfloat16,torch:autocast+tcm --nets mlp_mnist

A peer is NAME, NAME:VARIANT, or NAME:VARIANT+tcm for one under tcmalloc (libtcmalloc_minimal.so.4, if installed).
"""

import argparse
import contextlib
import ctypes.util
import fcntl
import glob
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Every variant worth trying; a worker says at once if its library has no such variant for the net. With tcmalloc where
# a library allocates in every step.
DEFAULTS = {
    "fastnn": ["fit", "train_on_batch", "predict_on_batch", "predict"],
    "numpy": ["numpy"],
    "torch": ["eager+tcm", "compile+tcm", "compile-step+tcm", "trace+tcm", "trace"],
    "jax": ["jit", "jit+tcm", "jit-loop+tcm", "scan64"],
    "tensorflow": ["function+tcm", "function-jit+tcm"],
    "onnxruntime": ["session"],
    "sklearn": ["epoch"],
    "keras": ["fit", "train_on_batch", "predict_on_batch"],
}
# Variants of lower precision, compared with each other alone; --peers names them.
LOWER = ("autocast", "medium", "high", "highest_split", "mixed_bfloat16")
TRAINING_ONLY = {"fit", "train_on_batch", "compile-step", "jit-loop", "scan64", "epoch"}
INFERENCE_ONLY = {"predict_on_batch", "predict", "trace", "session"}
MANY_STEPS_A_CALL = {"scan64", "fit", "epoch", "predict"}  # marked in the table: no Python between the steps


def tcmalloc():
    found = glob.glob("/usr/lib/*/libtcmalloc_minimal.so.4") + glob.glob("/usr/lib*/libtcmalloc_minimal.so.4")
    return found[0] if found else ctypes.util.find_library("tcmalloc_minimal")


def environment(threads, peer, preload):
    env = dict(os.environ)
    for name in ("OMP", "MKL", "OPENBLAS", "BLIS", "NUMEXPR", "VECLIB", "FASTNN"):
        env[f"{name}_NUM_THREADS"] = str(threads)
    env["XLA_FLAGS"] = (
        f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'} intra_op_parallelism_threads={threads}"
    )
    env |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    env |= {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}{os.pathsep}{env.get('PYTHONPATH', '')}"}
    if peer == "keras":
        env |= {"BENCH_KERAS_MODULE": "keras"}
        env.setdefault("KERAS_BACKEND", "jax")
    if preload:
        env["LD_PRELOAD"] = preload
    return env


class Worker:
    def __init__(self, peer, variant, net, threads, python, start_cpus):
        self.name = f"{peer}:{variant}"
        base = variant.removesuffix("+tcm")
        self.many = base.partition("-")[0] in MANY_STEPS_A_CALL
        self.lower = base.rpartition("-")[2] in LOWER
        env = environment(threads, peer, tcmalloc() if variant.endswith("+tcm") else None)
        cpus = ",".join(map(str, start_cpus))
        command = ["taskset", "-c", cpus, python, "-m", "peers.worker", peer, base, net, str(threads)]
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.times = []

    def ask(self, **command):
        """The worker's answer, or a dict with ``error`` if the process has died."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if answer:
            return json.loads(answer)
        error = self.process.stderr.read().strip().splitlines()
        return {"error": error[-1] if error else "the process ended"}

    def move(self, cpus):
        """Every thread to the cores of the timing; a pool's size was fixed when it started."""
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cpus)

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def held(path):
    """Hold the lock file ``path``, if one is given, so that two benchmarks never time at once."""
    if not path:
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def selected(peers, inference):
    for peer in peers:
        name, _, variant = peer.partition(":")
        for v in [variant] if variant else DEFAULTS[name]:
            base = v.removesuffix("+tcm")
            if base not in (TRAINING_ONLY if inference else INFERENCE_ONLY):
                yield name, v


def measure(net, args, timing_cpus):
    workers, rows = [], {}
    try:
        for peer, variant in selected(args.peers, net.startswith("infer")):
            own = peer == "fastnn"
            python = sys.executable if own else args.peer_python
            worker = Worker(peer, variant, net, args.threads, python, args.start_cpus)
            answer = worker.ask(do="check")
            if "check" in answer:
                worker.check = answer["check"]
                answer = worker.ask(do="warm", seconds=args.block)
            if "steps" in answer:
                workers.append(worker)
            else:
                if "error" in answer:
                    print(f"{net:16} {worker.name:28} failed: {answer['error']}", flush=True)
                worker.stop()
        for worker in workers:
            worker.move(timing_cpus)
        with held(args.lock):
            for worker in workers:
                worker.ask(do="warm", seconds=args.block)
            turns, shuffle = workers.copy(), random.Random(0).shuffle
            for _ in range(args.rounds):
                shuffle(turns)
                for worker in turns:
                    answer = worker.ask(do="run")
                    worker.times.append(answer["seconds"] / answer["steps"])
                    time.sleep(args.pause)
    finally:
        for worker in workers:
            worker.stop()
    if not workers:
        return {}
    agreed = statistics.median([w.check for w in workers if w.check is not None] or [0.0])
    batch = int(net.split("/")[1])
    for w in workers:
        same = w.check is None or abs(w.check - agreed) <= 2e-3 + 0.02 * abs(agreed)
        median, least = statistics.median(w.times), min(w.times)
        rows[w.name] = {
            "median_us": 1e6 * median,
            "min_us": 1e6 * least,
            "spread": max(w.times) / least - 1,
            "rows_per_s": batch / median,
            "check": w.check,
            "same_work": same,
            "many_steps_a_call": w.many,
            "lower_precision": w.lower,
        }
    report(net, rows)
    return rows


def report(net, rows):
    print(f"\n{net:16} {'peer':28} {'median us':>11} {'min us':>11} {'spread':>7} {'rows/s':>11}  check")
    for name, r in sorted(rows.items(), key=lambda item: item[1]["median_us"]):
        note = ("" if r["same_work"] else "  NOT THE SAME WORK") + (
            "  (many steps a call)" if r["many_steps_a_call"] else ""
        )
        check = "" if r["check"] is None else f"{r['check']:.5f}"
        print(
            f"{'':16} {name:28} {r['median_us']:11.2f} {r['min_us']:11.2f} {r['spread']:6.0%} {r['rows_per_s']:11.0f}  "
            f"{check}{note}"
        )
    for lower, what in ((False, "best peer / fastnn"), (True, "lower precision: best peer / fastnn")):
        honest = {n: r["median_us"] for n, r in rows.items() if r["same_work"] and r["lower_precision"] == lower}
        ours = [v for n, v in honest.items() if n.startswith("fastnn")]
        others = {n: v for n, v in honest.items() if not n.startswith("fastnn")}
        if ours and others:
            best = min(others, key=others.get)
            print(f"{'':16} {what} = {others[best] / min(ours):.2f} ({best})")
    sys.stdout.flush()


def main():
    sys.path.insert(0, str(HERE))
    from peers.workloads import WORKLOADS

    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    split = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nets", type=split, default=[n for n in WORKLOADS if n.split("/")[0] not in LATER])
    parser.add_argument("--peers", type=split, default=["fastnn", "numpy", "torch", "jax", "tensorflow", "onnxruntime"])
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--block", type=float, default=0.3, help="seconds of a timed block")
    parser.add_argument(
        "--pause", type=float, default=0.02, help="seconds between blocks, for spinning threads to sleep"
    )
    parser.add_argument("--cpus", type=lambda t: [int(c) for c in t.split(",")], help="cores that are timed on")
    parser.add_argument("--lock", help="a file to lock while timing")
    parser.add_argument("--json", help="write the figures here")
    args = parser.parse_args()
    args.start_cpus = cores[: args.threads]
    known = [net for net in WORKLOADS for prefix in args.nets if net == prefix or net.startswith(f"{prefix}/")]
    if not known:
        parser.error(f"no net of {','.join(WORKLOADS)} is named by {','.join(args.nets)}")
    results = {net: measure(net, args, args.cpus or cores[-args.threads :]) for net in known}
    if args.json:
        Path(args.json).write_text(json.dumps({"threads": args.threads, "results": results}, indent=1))


# Nets beyond dense ones, asked for by name.
LATER = {"infer_lenet5", "lenet5", "cnn_cifar", "resnet20", "rnn_elman", "lstm", "gru", "lstm_long", "gru_long"}

if __name__ == "__main__":
    main()
