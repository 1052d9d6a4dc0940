"""One peer, one variant, one net, in a process of its own: ``python -m peers.worker PEER VARIANT NET THREADS``.

Reads one JSON command a line from stdin and answers with one JSON line. Whatever a library prints goes to stderr.
"""

import importlib
import json
import os
import sys
import time

import numpy as np

from .workloads import WORKLOADS

MODULES = {"fastnn": "keras_peer", "keras": "keras_peer"}


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    peer, variant, net, threads = sys.argv[1:]
    module = importlib.import_module(f".{MODULES.get(peer, f'{peer}_peer')}", __package__)
    getattr(module, "threads", lambda n: None)(int(threads))
    workload = WORKLOADS[net]()
    adapter = subject = None
    steps, granule = 1, 1
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "check":
            available = module.variants(workload)
            if variant not in available:
                answers.write(json.dumps({"absent": True}) + "\n")
                continue
            adapter = available[variant]
            subject = adapter(workload)
            granule = getattr(subject, "granule", 1)
            if workload.inference:
                check = float(np.abs(subject.output()).mean()) if hasattr(subject, "output") else None
            else:
                subject.run(workload.check_steps)
                check = workload.reference_loss(subject.weights())
            answers.write(json.dumps({"check": check}) + "\n")
        elif command["do"] == "warm":  # finds how many steps fill a block
            steps, seconds = granule, 0.0
            while True:
                start = time.perf_counter()
                subject.run(steps)
                seconds = time.perf_counter() - start
                if seconds > command["seconds"] / 4:
                    break
                steps *= 2
            steps = max(granule, round(steps * command["seconds"] / seconds / granule) * granule)
            answers.write(json.dumps({"steps": steps}) + "\n")
        elif command["do"] == "run":
            start = time.perf_counter()
            subject.run(steps)
            answers.write(json.dumps({"seconds": time.perf_counter() - start, "steps": steps}) + "\n")


if __name__ == "__main__":
    main()
