"""Words a second of skip-gram training, against gensim: 2 million words of a Zipf distribution, 100 dimensions,
window 5, 5 negatives, subsampling 1e-3.

    taskset -c 1 python benchmarks/bench_words.py --peer-python ~/peers/bin/python      # 1 worker
    python benchmarks/bench_words.py --threads 2 --peer-python ~/peers/bin/python

Every contestant trains one epoch a round, in a process of its own and in turns with the others; words are those of the
text, before subsampling; making the vocabulary is not timed. gensim trains from a list of sentences and from a file
(corpus_file, its faster way where several workers are used). Best and median of the rounds; ratios are to gensim's
better way. With one worker the clock is the process's CPU time, which a busy machine disturbs less; with more it is the
wall's. Without gensim fastnn is timed alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np

OPTIONS = {"vector_size": 100, "window": 5, "negative": 5, "sample": 1e-3, "min_count": 5, "seed": 1}

FASTNN = """
import json, sys, time
from fastnn import text
clock = time.perf_counter if json.loads(sys.argv[1])[1] > 1 else time.process_time
path, workers, deterministic, options = json.loads(sys.argv[1])
corpus = text.Corpus(path)
model = text.SkipGram(**options, workers=workers, deterministic=deterministic, epochs=1).build_vocab(corpus)
for line in sys.stdin:
    start = clock()
    model.fit(corpus)
    print(model.vocabulary.total / (clock() - start), flush=True)
"""

GENSIM = """
import json, sys, time
from gensim.models import Word2Vec
clock = time.perf_counter if json.loads(sys.argv[1])[1] > 1 else time.process_time
path, workers, from_file, options = json.loads(sys.argv[1])
model = Word2Vec(**options, sg=1, hs=0, workers=workers, epochs=1)
source = {"corpus_file": path} if from_file else {"corpus_iterable": [line.split() for line in open(path)]}
model.build_vocab(**source)
for line in sys.stdin:
    start = clock()
    _, words = model.train(**source, total_words=model.corpus_total_words, total_examples=model.corpus_count, epochs=1)
    print(words / (clock() - start), flush=True)
"""


def zipf_text(path, words, vocabulary, seed=0):
    """Sentences of 20 words, word k with probability in proportion to 1 / k."""
    p = 1 / np.arange(1, vocabulary + 1)
    drawn = np.random.default_rng(seed).choice(vocabulary, words, p=p / p.sum())
    with open(path, "w") as file:
        for first in range(0, words, 20):
            file.write(" ".join(f"w{k}" for k in drawn[first : first + 20]) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--words", type=int, default=2_000_000)
    parser.add_argument("--vocabulary", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has gensim")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "zipf.txt")
        zipf_text(path, arguments.words, arguments.vocabulary)
        peer = arguments.peer_python
        contestants = {
            "fastnn, lock-free": (sys.executable, FASTNN, False),
            "fastnn, deterministic": (sys.executable, FASTNN, True),
        }
        if subprocess.run([peer, "-c", "import gensim"], capture_output=True).returncode == 0:
            contestants["gensim, sentences"] = (peer, GENSIM, False)
            contestants["gensim, corpus_file"] = (peer, GENSIM, True)
        runs = {}
        for name, (python, code, flag) in contestants.items():
            what = json.dumps([path, arguments.threads, flag, OPTIONS])
            runs[name] = subprocess.Popen(
                [python, "-c", code, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        rates = {name: [] for name in runs}
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                run.stdin.write("go\n")
                run.stdin.flush()
                rates[name].append(float(run.stdout.readline()))
        for run in runs.values():
            run.communicate()
    best = {name: max(found) for name, found in rates.items()}
    rival = max((rate for name, rate in best.items() if name.startswith("gensim")), default=None)
    middle = max((statistics.median(f) for name, f in rates.items() if name.startswith("gensim")), default=None)
    print(f"{'words a second':24} {'best':>10} {'median':>10} {'best / gensim':>14} {'median / gensim':>16}")
    for name, found in rates.items():
        median, ratios = statistics.median(found), ("-", "-")
        if rival is not None:
            ratios = f"{best[name] / rival:.2f}", f"{median / middle:.2f}"
        print(f"{name:24} {best[name]:10,.0f} {median:10,.0f} {ratios[0]:>14} {ratios[1]:>16}")


if __name__ == "__main__":
    main()
